//! A predicate inside of a plan keeps the rows that Arrow keeps.

use arrow::array::{
    Date32Array, DictionaryArray, Float32Array, Int8Array, TimestampMicrosecondArray, TimestampMillisecondArray,
    UInt64Array,
};
use arrow::datatypes::Int32Type;
use polars::prelude::{PlRefPath, ScanArgsParquet};

use super::*;
use crate::source::{Comparison, ParquetSink, Predicate, Scalar};
use crate::time::EventTime;

const COMPARISONS: [Comparison; 6] =
    [Comparison::Eq, Comparison::NotEq, Comparison::Lt, Comparison::LtEq, Comparison::Gt, Comparison::GtEq];

/// Every comparison of `column` with every value, in a plan and on held rows, without and with a limit.
#[track_caller]
fn check(batch: RecordBatch, column: &str, values: impl IntoIterator<Item = impl Into<Scalar>>) {
    let plan = LazyFrameSource::new("plan", held(batch).lazy().unwrap()).unwrap();
    let plan = Dataset::from_source(Arc::new(plan)).unwrap();
    let rows = plan.hold().unwrap();
    let mut predicates =
        vec![Predicate::IsNull { column: column.to_owned() }, Predicate::IsNotNull { column: column.to_owned() }];
    for value in values {
        let value = value.into();
        predicates.extend(COMPARISONS.map(|comparison| Predicate::new(column, comparison, value.clone())));
    }
    for predicate in predicates {
        for request in [ScanRequest::all(), ScanRequest::all().limit(2)] {
            let request = request.filter(predicate.clone());
            let digest = |data: &Dataset| Dataset::collect(data.scan(&request).unwrap()).unwrap().digest().unwrap();
            assert_eq!(digest(&plan), digest(&rows), "{request:?}");
        }
    }
}

fn one(name: &str, array: impl arrow::array::Array + 'static) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable([(name, Arc::new(array) as ArrayRef, true)]).unwrap()
}

#[test]
fn whole_numbers() {
    check(table(), "int", [0_i64, 5, -1, i64::MAX, i64::MIN, 4]);
    check(table(), "int", [0.0, -0.0, 4.5, f64::NAN, f64::INFINITY, 9_223_372_036_854_775_807.0]);
    check(one("x", Int8Array::from(vec![Some(-128), None, Some(127), Some(0)])), "x", [0_i64, 127, 128, -128, -129]);
    let large = vec![Some(0), None, Some(7), Some(u64::MAX), Some(i64::MAX as u64), Some(i64::MAX as u64 + 1)];
    check(one("x", UInt64Array::from(large)), "x", [0_i64, 7, -1, i64::MAX]);
}

#[test]
fn real_numbers_with_both_zeros_and_nans_of_both_signs() {
    let values = [0.0, -0.0, 1.5, -7.25, 2.0, f64::NAN, -f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE];
    check(table(), "real", values);
    check(table(), "real", [0_i64, 1, i64::MIN]);
    let singles = vec![Some(0.1_f32), None, Some(-0.0), Some(f32::NAN), Some(-f32::NAN), Some(0.0)];
    check(one("x", Float32Array::from(singles)), "x", [0.1, f64::from(0.1_f32), 0.0, -0.0, f64::NAN]);
}

#[test]
fn texts_and_categories() {
    check(table(), "text", ["", "a", "b", "B", "đồng", "zzz"]);
    let categories: DictionaryArray<Int32Type> =
        vec![Some("b"), None, Some("a"), Some("c"), Some("b")].into_iter().collect();
    check(one("x", categories), "x", ["a", "b", "d", ""]);
}

#[test]
fn flags() {
    check(table(), "flag", [true, false]);
}

#[test]
fn times() {
    let values = [EventTime::EPOCH, EventTime::from_micros(86_400_000_000), EventTime::from_micros(-1)];
    let micros = vec![Some(0), None, Some(86_400_000_000), Some(-1), Some(1)];
    check(one("x", TimestampMicrosecondArray::from(micros.clone()).with_timezone("UTC")), "x", values);
    check(one("x", TimestampMicrosecondArray::from(micros.clone()).with_timezone("Asia/Ho_Chi_Minh")), "x", values);
    check(one("x", TimestampMicrosecondArray::from(micros)), "x", values);
    check(one("x", TimestampMillisecondArray::from(vec![Some(0), None, Some(86_400_000), Some(-1)])), "x", values);
    check(one("x", Date32Array::from(vec![Some(0), None, Some(1), Some(-1)])), "x", values);
}

fn explained(request: &ScanRequest) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("table.parquet");
    held(table()).write_to(&ParquetSink::new(&path)).unwrap();
    let plan = LazyFrame::scan_parquet(PlRefPath::new(path.to_str().unwrap()), ScanArgsParquet::default()).unwrap();
    let source = LazyFrameSource::new("file", plan).unwrap();
    source.narrowed(request).unwrap().0.explain(true).unwrap()
}

#[test]
fn projection_predicates_and_limit_reach_the_reader_of_a_file() {
    let positive = Predicate::new("int", Comparison::Gt, 0);
    let narrow = explained(&ScanRequest::all().columns(["text"]).filter(positive.clone()));
    assert!(narrow.contains("PROJECT 2/4 COLUMNS") || narrow.contains("PROJECT 1/4 COLUMNS"), "{narrow}");
    assert!(narrow.contains("SELECTION"), "{narrow}");
    let limited = explained(&ScanRequest::all().limit(3));
    assert!(limited.contains("SLICE"), "{limited}");
    // Arrow and polars disagree on this one, so rows have to be looked at again and counted after that.
    let inexact = explained(&ScanRequest::all().filter(Predicate::new("real", Comparison::Gt, 0.0)).limit(3));
    assert!(inexact.contains("SELECTION") && !inexact.contains("SLICE"), "{inexact}");
}

#[test]
fn a_predicate_that_does_not_fit_its_column_is_named() {
    let (plan, _) = plan_and_rows();
    let scan = |predicate| plan.scan(&ScanRequest::all().filter(predicate)).map(|_| ()).unwrap_err();
    let error = scan(Predicate::new("text", Comparison::Eq, 1));
    assert!(matches!(&error, Error::Schema { column, .. } if column == "text"), "{error:?}");
    let error = scan(Predicate::new("nowhere", Comparison::Eq, 1));
    assert!(matches!(&error, Error::NotFound { name, .. } if name == "nowhere"), "{error:?}");
}
