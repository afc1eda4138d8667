//! Kit of [`Trainer`].

use std::ops::ControlFlow;
use std::sync::Arc;

use mlops_core::Dataset;
use mlops_core::arrow::array::{Array, ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};

use crate::train::{TrainData, TrainDataBuilder, Trainer};

/// Checks the contract of [`Trainer`] on trainers made by `make`, which must learn 0/1 labels in `y`, with `query` as
/// group where it ranks.
///
/// # Panics
/// When the contract does not hold.
pub fn trainer<T: Trainer>(make: impl Fn() -> T, group: Option<&str>) {
    repeats_its_bytes(&make(), group);
    signs_with_the_features(&make(), group);
    learns_what_is_plain_to_see(&make(), group);
    names_what_it_cannot_learn_from(&make(), group);
}

fn rows(count: usize) -> Dataset {
    let x: Vec<f64> = (0..count).map(|i| (i * 7_919 % count) as f64 / count as f64).collect();
    let noise: Vec<f64> = (0..count).map(|i| (i * 104_729 % 97) as f64 / 97.0).collect();
    let y: Vec<f64> = x.iter().map(|x| f64::from(*x > 0.6)).collect();
    let query: Vec<i64> = (0..count).map(|i| (i / 10) as i64).collect();
    let float = |values| Arc::new(Float64Array::from(values)) as ArrayRef;
    let columns = [
        ("noise", float(noise)),
        ("x", float(x)),
        ("text", Arc::new(StringArray::from(vec!["a"; count])) as ArrayRef),
        ("y", float(y)),
        ("query", Arc::new(Int64Array::from(query)) as ArrayRef),
    ];
    let batch = RecordBatch::try_from_iter(columns).expect("columns of one length");
    Dataset::from_batches([batch]).expect("one batch")
}

fn data(rows: Dataset, features: &[&str], group: Option<&str>) -> TrainData {
    let builder = TrainData::builder(rows).features(features.iter().copied()).label("y");
    group.into_iter().fold(builder, TrainDataBuilder::group).build().expect("the columns exist")
}

fn repeats_its_bytes(trainer: &dyn Trainer, group: Option<&str>) {
    let data = data(rows(400), &["noise", "x"], group);
    let bytes = || {
        let trained = trainer.train(&data, &mut |_| ControlFlow::Continue(())).expect("plain rows train");
        trained.model.to_bytes().expect("a trained model has bytes")
    };
    assert_eq!(bytes(), bytes(), "the same settings on the same rows give the same bytes");
}

fn signs_with_the_features(trainer: &dyn Trainer, group: Option<&str>) {
    let data = data(rows(400), &["x", "noise"], group);
    let trained = trainer.train(&data, &mut |_| ControlFlow::Continue(())).expect("plain rows train");
    assert!(trained.model.signature().names().eq(["x", "noise"]), "the signature has the features in order");
    assert!(trainer.settings().expect("settings have a JSON form").is_object(), "settings are a JSON object");
}

fn learns_what_is_plain_to_see(trainer: &dyn Trainer, group: Option<&str>) {
    let rows = rows(400);
    let trained = trainer.train(&data(rows.clone(), &["noise", "x"], group), &mut |_| ControlFlow::Continue(()));
    let trained = trained.expect("plain rows train");
    let batch = rows.to_batch().expect("rows in memory");
    let scores = trained.model.predict(&batch).expect("its own rows");
    let scores = scores.as_any().downcast_ref::<Float64Array>().expect("a float output");
    assert_eq!(scores.len(), batch.num_rows(), "one output per row");
    let mean = |label: f64| {
        let labels = batch.column_by_name("y").and_then(|y| y.as_any().downcast_ref::<Float64Array>()).expect("labels");
        let of_label: Vec<f64> =
            (0..scores.len()).filter(|i| labels.value(*i) == label).map(|i| scores.value(i)).collect();
        of_label.iter().sum::<f64>() / of_label.len() as f64
    };
    assert!(mean(1.0) > mean(0.0), "rows of label 1 score higher, whichever class is more frequent");
    let most = trained.importance.first().map(|(name, _)| name.as_str());
    assert!(most.is_none_or(|name| name == "x"), "what decides the label matters most");
}

fn names_what_it_cannot_learn_from(trainer: &dyn Trainer, group: Option<&str>) {
    let text = data(rows(40), &["x", "text"], group);
    let error = trainer.train(&text, &mut |_| ControlFlow::Continue(())).expect_err("a text feature is refused");
    assert!(error.to_string().contains("`text`"), "the error names the column: {error}");
}
