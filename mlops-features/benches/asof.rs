//! `cargo bench -p mlops-features --bench asof`: as-of join of entity rows with one view, in memory.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mlops_core::Dataset;
use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use mlops_features::offline::{AsOfOptions, as_of_join};
use mlops_features::{Entity, FeatureView, KeyType, ValueType, ViewJoin};

const ROWS: usize = 100_000;
const FEATURES: usize = 8;

/// Repeatable numbers below `limit`.
fn numbers(seed: u64, limit: u64) -> impl Iterator<Item = i64> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 33) % limit) as i64
    })
}

fn data(seed: u64, keys: u64, features: usize) -> Dataset {
    let ints = |seed, limit| Arc::new(Int64Array::from_iter_values(numbers(seed, limit).take(ROWS))) as ArrayRef;
    let times = TimestampMicrosecondArray::from_iter_values(numbers(seed + 1, 1 << 30).take(ROWS)).with_timezone("UTC");
    let mut columns =
        vec![("user_id".to_owned(), ints(seed, keys)), ("event_timestamp".to_owned(), Arc::new(times) as _)];
    for feature in 0..features {
        let values = numbers(seed + 2 + feature as u64, 1_000).map(|v| v as f64).take(ROWS);
        columns.push((format!("f{feature}"), Arc::new(Float64Array::from_iter_values(values)) as ArrayRef));
    }
    Dataset::from_batches([RecordBatch::try_from_iter(columns).unwrap()]).unwrap()
}

fn join(c: &mut Criterion) {
    let user = Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
    let builder = FeatureView::builder("stats", user).ttl(Duration::from_mins(10));
    let view = (0..FEATURES).fold(builder, |b, i| b.feature(format!("f{i}"), ValueType::Float64)).build().unwrap();
    let mut group = c.benchmark_group("as_of_join");
    group.throughput(Throughput::Elements(ROWS as u64)).sample_size(20);
    for keys in [10_u64, 1_000, 100_000] {
        let (spine, history) = (data(1, keys, 0), data(99, keys, FEATURES));
        let views = [(ViewJoin::new(&view), history)];
        group.bench_function(BenchmarkId::new("keys", keys), |b| {
            b.iter(|| as_of_join(black_box(&spine), &views, &AsOfOptions::new()).unwrap());
        });
        // Partitions, files and their reading: what it costs when nothing fits.
        group.bench_function(BenchmarkId::new("keys, in 1 MiB", keys), |b| {
            let options = AsOfOptions::new().memory_bytes(1 << 20);
            b.iter(|| {
                let set = as_of_join(black_box(&spine), &views, &options).unwrap();
                set.dataset.batches().unwrap().map(|batch| batch.unwrap().num_rows()).sum::<usize>()
            });
        });
    }
    group.finish();
}

criterion_group!(benches, join);
criterion_main!(benches);
