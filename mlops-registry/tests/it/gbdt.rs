//! Training on public sets, beside the figures that LightGBM reaches on them.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use mlops_registry::forest::Forest;
use mlops_registry::gbdt::{GbdtParams, GbdtParamsBuilder, Objective, Trained, TrainingMatrix, train};

/// The folder of data set `name`, or a loud word that the test was skipped.
fn data_set(name: &str) -> Option<PathBuf> {
    let shared = std::env::var_os("MLOPS_SHARED_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared"), PathBuf::from);
    let folder = shared.join("data").join(name);
    if folder.is_dir() {
        return Some(folder);
    }
    eprintln!("SKIPPED: {} is not there; set MLOPS_SHARED_DIR to run this test", folder.display());
    None
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|at| format!("column_{at}")).collect()
}

/// Tab-separated numbers, the label first.
fn read_tsv(path: &Path) -> TrainingMatrix {
    let text = fs::read_to_string(path).unwrap();
    let rows: Vec<Vec<f64>> =
        text.lines().map(|line| line.split('\t').map(|cell| cell.trim().parse().unwrap()).collect()).collect();
    let column = |at: usize| rows.iter().map(|row| row[at]).collect();
    let columns: Vec<Vec<f64>> = (1..rows[0].len()).map(column).collect();
    TrainingMatrix::new(names(columns.len()), columns, column(0)).unwrap()
}

/// `label index:value …` lines with indices below `features`, and the sizes of the queries beside them.
fn read_letor(path: &Path, features: usize) -> TrainingMatrix {
    let (mut labels, mut columns) = (Vec::new(), vec![Vec::new(); features]);
    for line in fs::read_to_string(path).unwrap().lines() {
        let mut cells = line.split_whitespace();
        labels.push(cells.next().unwrap().parse().unwrap());
        columns.iter_mut().for_each(|column| column.push(0.0));
        for cell in cells {
            let (index, value) = cell.split_once(':').unwrap();
            *columns[index.parse::<usize>().unwrap()].last_mut().unwrap() = value.parse().unwrap();
        }
    }
    let sizes = fs::read_to_string(format!("{}.query", path.display())).unwrap();
    let groups = sizes.lines().map(|line| line.trim().parse().unwrap()).collect();
    TrainingMatrix::new(names(features), columns, labels).unwrap().with_groups(groups).unwrap()
}

fn fit(settings: GbdtParamsBuilder, data: &TrainingMatrix, valid: Option<&TrainingMatrix>) -> Trained {
    train(&settings.build().unwrap(), data, valid, &mut |_| ControlFlow::Continue(())).unwrap()
}

fn scores(forest: &Forest, data: &TrainingMatrix) -> Vec<f64> {
    let columns: Vec<&[f64]> = data.columns().iter().map(Vec::as_slice).collect();
    let mut scores = vec![0.0; data.rows()];
    forest.raw_scores(&columns, &mut scores).unwrap();
    scores
}

/// Share of pairs of a positive and a negative row that are in the right order; equal scores count half.
fn area_under_roc(scores: &[f64], labels: &[f64]) -> f64 {
    let side = |label: f64| scores.iter().zip(labels).filter(move |row| *row.1 == label).map(|row| *row.0);
    let (mut right, mut pairs) = (0.0, 0.0);
    for positive in side(1.0) {
        for negative in side(0.0) {
            right += if positive > negative { 1.0 } else { 0.5 * f64::from(u8::from(positive == negative)) };
            pairs += 1.0;
        }
    }
    right / pairs
}

/// LightGBM 4.7.0 with the same settings: AUC 0.8321 and logloss 0.504.
#[test]
fn binary_example_is_as_good_as_lightgbm() {
    let Some(folder) = data_set("lgbm-binary") else { return };
    let (data, test) = (read_tsv(&folder.join("binary.train")), read_tsv(&folder.join("binary.test")));
    let trained = fit(GbdtParams::builder(Objective::Binary), &data, Some(&test));
    let auc = area_under_roc(&scores(&trained.forest, &test), test.labels());
    let logloss = trained.report.rounds[99].valid_metric.unwrap();
    eprintln!("binary example: AUC {auc:.4}, logloss {logloss:.4}");
    assert!(auc >= 0.82, "AUC {auc}");
    assert!(logloss < 0.53, "logloss {logloss}");
}

/// LightGBM 4.7.0 with the same settings: NDCG@10 0.740; random order: 0.582. The test set has 50 queries, so one run
/// says little; the mean over seeds is judged.
#[test]
fn ranking_example_is_as_good_as_lightgbm() {
    let Some(folder) = data_set("lgbm-lambdarank") else { return };
    let (data, test) = (read_letor(&folder.join("rank.train"), 301), read_letor(&folder.join("rank.test"), 301));
    let seeds = 4;
    let settings = GbdtParams::builder(Objective::LambdaRank).rows_leaf_min(50).hessian_leaf_min(5.0).row_fraction(0.9);
    let ndcg = |seed| {
        let trained = fit(settings.clone().seed(seed), &data, Some(&test));
        trained.report.rounds[99].valid_metric.unwrap()
    };
    let mean = (0..seeds).map(ndcg).sum::<f64>() / seeds as f64;
    eprintln!("ranking example: NDCG@10 {mean:.4}, mean of {seeds} seeds");
    assert!(mean > 0.70, "NDCG@10 {mean}");
}
