//! Rows that cannot be learned from: empty, one class, NaN and infinities, torn queries, unknown and repeated columns.

use std::ops::ControlFlow;
use std::sync::Arc;

use mlops_core::arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch};
use mlops_core::arrow::datatypes::Float64Type;
use mlops_core::{Dataset, Error as Core};
use mlops_registry::gbdt::Objective;
use mlops_registry::train::{TrainData, TrainDataBuilder, Trained, Trainer};
use mlops_registry::{Error, Result};

use crate::training::gbdt;

fn rows(x: Vec<f64>, y: Vec<f64>) -> Dataset {
    let (count, float) = (x.len() as i64, |values: Vec<f64>| Arc::new(Float64Array::from(values)) as ArrayRef);
    let query = Arc::new(Int64Array::from_iter_values((0..count).map(|row| row / 5))) as ArrayRef;
    let weight = float(vec![1.0; x.len()]);
    let columns = [("x", float(x)), ("y", float(y)), ("query", query), ("weight", weight)];
    Dataset::from_batches([RecordBatch::try_from_iter(columns).unwrap()]).unwrap()
}

fn data(rows: Dataset) -> TrainDataBuilder {
    TrainData::builder(rows).features(["x"]).label("y")
}

fn fit(objective: Objective, data: TrainDataBuilder) -> Result<Trained> {
    let data = if objective == Objective::LambdaRank { data.group("query") } else { data };
    gbdt(objective).train(&data.build()?, &mut |_| ControlFlow::Continue(()))
}

const OBJECTIVES: [Objective; 3] = [Objective::Binary, Objective::Regression, Objective::LambdaRank];

fn ramp() -> Vec<f64> {
    (0..60).map(f64::from).collect()
}

fn steps() -> Vec<f64> {
    ramp().iter().map(|x| f64::from(*x > 30.0)).collect()
}

#[track_caller]
fn refused(outcome: Result<Trained>, words: &[&str]) {
    let error = outcome.unwrap_err();
    assert!(
        matches!(&error, Error::Core(Core::InvalidData { .. } | Core::NotFound { .. } | Core::Invalid { .. })),
        "{error:?}"
    );
    let shown = error.to_string();
    assert!(words.iter().all(|word| shown.contains(word)), "{shown}");
}

#[test]
fn no_rows_are_refused() {
    for objective in OBJECTIVES {
        refused(fit(objective, data(rows(vec![], vec![]))), &["no rows"]);
        refused(fit(objective, data(rows(ramp(), steps())).valid(rows(vec![], vec![]))), &["no rows"]);
    }
}

#[test]
fn labels_that_are_no_numbers_are_named_with_their_row() {
    for objective in OBJECTIVES {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut labels = steps();
            labels[7] = bad;
            refused(fit(objective, data(rows(ramp(), labels.clone()))), &["label `y` of row 7"]);
            refused(fit(objective, data(rows(ramp(), steps())).valid(rows(ramp(), labels))), &["label `y` of row 7"]);
        }
    }
    let mut labels = steps();
    labels[3] = 0.5;
    refused(fit(Objective::Binary, data(rows(ramp(), labels.clone()))), &["row 3"]);
    refused(fit(Objective::LambdaRank, data(rows(ramp(), labels.clone()))), &["row 3"]);
    labels[3] = -1.0;
    refused(fit(Objective::LambdaRank, data(rows(ramp(), labels.clone()))), &["row 3"]);
    labels[3] = 1e300;
    refused(fit(Objective::Regression, data(rows(ramp(), labels))), &["row 3"]);
}

#[test]
fn weights_that_are_no_weights_are_named_with_their_row() {
    for bad in [f64::NAN, f64::INFINITY, -1.0] {
        let float = |values: Vec<f64>| Arc::new(Float64Array::from(values)) as ArrayRef;
        let mut weights = vec![1.0; 60];
        weights[11] = bad;
        let columns = [("x", float(ramp())), ("y", float(steps())), ("w", float(weights))];
        let rows = Dataset::from_batches([RecordBatch::try_from_iter(columns).unwrap()]).unwrap();
        refused(fit(Objective::Binary, data(rows).weight("w")), &["weight `w` of row 11"]);
    }
}

#[test]
fn features_without_numbers_are_missing_or_extreme_and_scores_stay_finite() {
    let mut x = ramp();
    (x[0], x[1], x[2]) = (f64::NAN, f64::INFINITY, f64::NEG_INFINITY);
    for objective in OBJECTIVES {
        for x in [x.clone(), vec![f64::NAN; 60], vec![f64::INFINITY; 60], vec![1.0; 60]] {
            let rows = rows(x, steps());
            let trained = fit(objective, data(rows.clone())).unwrap();
            let scores = trained.model.predict(&rows.to_batch().unwrap()).unwrap();
            assert!(
                scores.as_primitive::<Float64Type>().values().iter().all(|score| score.is_finite()),
                "{objective:?}"
            );
        }
    }
}

#[test]
fn one_class_gives_a_constant_that_is_that_class() {
    for class in [0.0, 1.0] {
        let rows = rows(ramp(), vec![class; 60]);
        let trained = fit(Objective::Binary, data(rows.clone())).unwrap();
        let scores = trained.model.predict(&rows.to_batch().unwrap()).unwrap();
        let scores = scores.as_primitive::<Float64Type>();
        assert!(scores.values().iter().all(|score| *score == scores.value(0) && (score - class).abs() < 1e-9));
    }
}

#[test]
fn queries_that_are_not_together_are_named() {
    let float = |values: Vec<f64>| Arc::new(Float64Array::from(values)) as ArrayRef;
    let query = Arc::new(Int64Array::from_iter_values((0..60).map(|row| row % 7))) as ArrayRef;
    let columns = [("x", float(ramp())), ("y", float(steps())), ("query", query)];
    let rows = Dataset::from_batches([RecordBatch::try_from_iter(columns).unwrap()]).unwrap();
    refused(fit(Objective::LambdaRank, data(rows)), &["`query`", "sort"]);
    let alone = data(self::rows(ramp(), steps())).build().unwrap();
    let error = gbdt(Objective::LambdaRank).train(&alone, &mut |_| ControlFlow::Continue(())).unwrap_err();
    assert!(error.to_string().contains("quer"), "ranking without queries: {error}");
}

#[test]
fn unknown_and_repeated_columns_are_named() {
    let fit = |data: TrainDataBuilder| fit(Objective::Binary, data);
    let rows = || rows(ramp(), steps());
    refused(fit(TrainData::builder(rows()).features(["x", "nope"]).label("y")), &["`nope`"]);
    refused(fit(TrainData::builder(rows()).features(["x"]).label("nope")), &["`nope`"]);
    refused(fit(data(rows()).weight("nope")), &["`nope`"]);
    refused(fit(data(rows()).group("nope")), &["`nope`"]);
    let twice = fit(TrainData::builder(rows()).features(["x", "x"]).label("y")).unwrap_err().to_string();
    assert!(twice.contains("`x`") || twice.contains("twice"), "{twice}");
    let narrow = rows().to_batch().unwrap().project(&[1, 2, 3]).unwrap();
    let missing = fit(data(rows()).valid(Dataset::from_batches([narrow]).unwrap())).unwrap_err();
    assert!(matches!(&missing, Error::Core(Core::Schema { column, .. }) if column == "x"), "{missing:?}");
}

#[cfg(feature = "linfa")]
#[test]
fn the_linfa_trainers_refuse_the_same_rows() {
    use mlops_registry::train::linfa::{DecisionTreeTrainer, ElasticNetTrainer, LogisticTrainer};
    let trainers: [Box<dyn Trainer>; 3] = [
        Box::new(LogisticTrainer::builder().build().unwrap()),
        Box::new(ElasticNetTrainer::builder().penalty(0.01).build().unwrap()),
        Box::new(DecisionTreeTrainer::builder().build().unwrap()),
    ];
    for trainer in trainers {
        let fit = |data: TrainDataBuilder| trainer.train(&data.build().unwrap(), &mut |_| ControlFlow::Continue(()));
        refused(fit(data(rows(vec![], vec![]))), &["no rows"]);
        let mut labels = steps();
        labels[7] = f64::INFINITY;
        refused(fit(data(rows(ramp(), labels))), &["label `y` of row 7"]);
        for bad in [f64::NAN, f64::INFINITY] {
            let mut x = ramp();
            x[5] = bad;
            refused(fit(data(rows(x, steps()))), &["feature `x` of row 5"]);
        }
    }
    let one_class = data(rows(ramp(), vec![1.0; 60])).build().unwrap();
    let logistic = LogisticTrainer::builder().build().unwrap();
    refused(logistic.train(&one_class, &mut |_| ControlFlow::Continue(())), &["label `y`", "one class"]);
}
