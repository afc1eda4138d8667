//! The contract of [`Model`].

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, NullArray, RecordBatch};
use arrow::compute::concat;

use super::cuts::{names_a_column, rearranged, singles, without};
use crate::model::{Model, ValueType};
use crate::{Dataset, Digest, Result};

/// Threads that predict at once.
const THREADS: usize = 4;

/// Places at which the bytes of a model are cut off.
const CUTS: usize = 64;

/// Checks the contract of [`Model`] on `subject` with `features`, a small table with rows that it can judge; `read` is
/// the reader of its flavor.
///
/// # Panics
/// With the sentence that does not hold.
pub fn model(subject: &dyn Model, read: impl Fn(&[u8]) -> Result<Box<dyn Model>>, features: &RecordBatch) {
    let expected = predict(subject, features);
    let found = ValueType::of(expected.data_type());
    assert_eq!(found, Some(subject.signature().output_type), "the output has the type that the signature states");
    same(&predict(subject, features), &expected, "predicting twice gives the same output");
    same(&predict(subject, &rearranged(features)), &expected, "columns are looked at by name, others are ignored");
    assert_eq!(predict(subject, &features.slice(0, 0)).len(), 0, "no rows have no outputs");
    a_row_alone_gets_the_same_output(subject, features, &expected);
    threads_do_not_disturb_each_other(subject, features, &expected);
    columns_that_do_not_fit_are_named(subject, features);
    explanations_have_one_column_per_input(subject, features);
    bytes_rebuild_an_equal_model(subject, &read, features, &expected);
    damaged_bytes_do_no_harm(subject, &read);
}

fn predict(subject: &dyn Model, features: &RecordBatch) -> ArrayRef {
    let output = subject.predict(features).expect("rows of the signature are predicted");
    assert_eq!(output.len(), features.num_rows(), "there is one output per row");
    output
}

fn a_row_alone_gets_the_same_output(subject: &dyn Model, features: &RecordBatch, expected: &ArrayRef) {
    let alone: Vec<ArrayRef> = singles(features).map(|row| predict(subject, &row)).collect();
    let together = concat(&alone.iter().map(AsRef::as_ref).collect::<Vec<_>>()).expect("outputs of one type");
    same(&together, expected, "a row alone gets the same output as in a table");
    let tail = features.num_rows() / 2;
    let slice = predict(subject, &features.slice(tail, features.num_rows() - tail));
    same(&slice, &expected.slice(tail, expected.len() - tail), "a slice gets the same output as in a table");
}

fn threads_do_not_disturb_each_other(subject: &dyn Model, features: &RecordBatch, expected: &ArrayRef) {
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| same(&predict(subject, features), expected, "any number of threads may predict at once"));
        }
    });
}

fn columns_that_do_not_fit_are_named(subject: &dyn Model, features: &RecordBatch) {
    for name in subject.signature().names() {
        let lacking = without(features, name);
        let error = subject.predict(&lacking).expect_err("a missing column is refused");
        assert!(names_a_column(&error) && error.to_string().contains(name), "a missing column is named: {error}");
        let nulls: ArrayRef = Arc::new(NullArray::new(features.num_rows()));
        let columns = lacking.schema().fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
        let columns = columns.into_iter().zip(lacking.columns().iter().cloned()).chain([(name.to_owned(), nulls)]);
        let retyped = RecordBatch::try_from_iter(columns).expect("columns of one length make a batch");
        let error = subject.predict(&retyped).expect_err("a column of another type is refused");
        assert!(names_a_column(&error), "a column of another type is named: {error}");
    }
}

fn explanations_have_one_column_per_input(subject: &dyn Model, features: &RecordBatch) {
    let Some(explained) = subject.explain(features).expect("rows of the signature are explained") else { return };
    assert_eq!(explained.num_rows(), features.num_rows(), "there is one explanation per row");
    let schema = explained.schema();
    let found: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let expected: Vec<&str> = subject.signature().names().chain(["bias"]).collect();
    assert_eq!(found, expected, "an explanation has one column per input, in order, then `bias`");
    for field in schema.fields() {
        assert!(field.data_type().is_floating(), "an explanation is made of floats: `{}`", field.name());
    }
}

fn bytes_rebuild_an_equal_model(
    subject: &dyn Model,
    read: &impl Fn(&[u8]) -> Result<Box<dyn Model>>,
    features: &RecordBatch,
    expected: &ArrayRef,
) {
    let bytes = subject.to_bytes().expect("a model has bytes");
    let rebuilt = read(&bytes).expect("the reader of the flavor takes them");
    assert_eq!(rebuilt.signature(), subject.signature(), "what was rebuilt has the same signature");
    assert_eq!(rebuilt.flavor(), subject.flavor(), "what was rebuilt has the same flavor");
    assert_eq!(rebuilt.to_bytes().expect("a model has bytes"), bytes, "what was rebuilt has the same bytes");
    same(&predict(rebuilt.as_ref(), features), expected, "what was rebuilt gives the same output, bit for bit");
}

/// Cut off anywhere, bytes are refused; with one byte changed they are refused or make some model, and nothing panics.
fn damaged_bytes_do_no_harm(subject: &dyn Model, read: &impl Fn(&[u8]) -> Result<Box<dyn Model>>) {
    let bytes = subject.to_bytes().expect("a model has bytes");
    assert!(read(b"").is_err(), "no bytes are refused");
    assert!(read(b"\x80\x04\x95 testkit: not a model").is_err(), "bytes of something else are refused");
    // Text formats may end in white space that carries nothing.
    let content = bytes.trim_ascii_end().len();
    let step = content.div_ceil(CUTS).max(1);
    for at in (0..content).step_by(step) {
        assert!(read(&bytes[..at]).is_err(), "bytes that end after {at} of {content} are refused");
        let mut changed = bytes.clone();
        changed[at] ^= 0x55;
        let _ = read(&changed);
    }
}

fn same(found: &ArrayRef, expected: &ArrayRef, law: &str) {
    let digest = |array: &ArrayRef| -> Result<Digest> {
        Dataset::from_batches([RecordBatch::try_from_iter([("output", array.clone())])?])?.digest()
    };
    assert_eq!(found.len(), expected.len(), "{law}");
    assert_eq!(digest(found).expect("readable"), digest(expected).expect("readable"), "{law}");
}
