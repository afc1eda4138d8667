//! Scoring and training of tree ensembles on generated data, one thread.
//!
//! `cargo bench -p mlops-registry --bench forest`

use std::hint::black_box;
use std::ops::ControlFlow;

use criterion::{Criterion, criterion_group, criterion_main};
use mlops_registry::forest::Forest;
use mlops_registry::gbdt::{GbdtParams, Objective, TrainingMatrix, train};

const FEATURES: usize = 20;

/// Uniform features with a rough target, from a fixed stream.
fn generate(rows: usize) -> TrainingMatrix {
    let mut state = 1_u64;
    let mut uniform = || {
        // xorshift64*, Vigna 2016.
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 11) as f64 / (1_u64 << 53) as f64
    };
    let columns: Vec<Vec<f64>> = (0..FEATURES).map(|_| (0..rows).map(|_| uniform()).collect()).collect();
    let target = |row: usize| {
        let wave: f64 = columns.iter().enumerate().map(|(at, column)| (column[row] * (at + 2) as f64).sin()).sum();
        wave + 4.0 * (columns[0][row] - 0.5) * (columns[1][row] - 0.5)
    };
    let labels = (0..rows).map(|row| f64::from(target(row) + 2.0 * uniform() > 9.0)).collect();
    let names = (0..FEATURES).map(|at| format!("f{at}")).collect();
    TrainingMatrix::new(names, columns, labels).expect("generated data is sound")
}

fn fit(data: &TrainingMatrix) -> Forest {
    let params = GbdtParams::builder(Objective::Binary).build().expect("defaults are sound");
    train(&params, data, None, &mut |_| ControlFlow::Continue(())).expect("generated data is sound").forest
}

fn forest(criterion: &mut Criterion) {
    let data = generate(20_000);
    let forest = fit(&data);
    let columns: Vec<&[f64]> = data.columns().iter().map(|column| &column[..100]).collect();
    let row: Vec<f64> = data.columns().iter().map(|column| column[0]).collect();
    let mut scores = vec![0.0; 100];
    criterion.bench_function("score 100 rows, 100 trees of 31 leaves", |bencher| {
        bencher.iter(|| forest.raw_scores(black_box(&columns), &mut scores));
    });
    criterion.bench_function("score 1 row, 100 trees of 31 leaves", |bencher| {
        bencher.iter(|| forest.raw_score(black_box(&row)));
    });
    criterion.bench_function("explain 1 row, 100 trees of 31 leaves", |bencher| {
        bencher.iter(|| forest.contributions(black_box(&row)));
    });
    let mut slow = criterion.benchmark_group("train");
    slow.sample_size(10);
    slow.bench_function("20,000 rows, 20 features, 100 trees of 31 leaves", |bencher| {
        bencher.iter(|| fit(black_box(&data)));
    });
    slow.finish();
}

criterion_group!(benches, forest);
criterion_main!(benches);
