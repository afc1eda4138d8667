//! The contract of `DataSource`, for a plan.

use polars::prelude::{DataType, IntoLazy, PolarsError, col, lit, when};

use super::*;
use crate::schema::Role;
use crate::source::{Comparison, DataSource, Predicate};

fn numbers(rows: i64) -> LazyFrame {
    polars::df!("n" => (0..rows).collect::<Vec<_>>()).unwrap().lazy()
}

fn data(plan: LazyFrame) -> Dataset {
    Dataset::from_source(Arc::new(LazyFrameSource::new("numbers", plan).unwrap())).unwrap()
}

#[test]
fn two_scans_give_the_same_rows_and_the_digest_of_the_collected_frame() {
    let plan = numbers(100_000).with_column((col("n") * lit(2_i64)).alias("twice")).filter(col("n").gt(lit(10_i64)));
    let collected = Dataset::from_polars(plan.clone().collect().unwrap()).unwrap().digest().unwrap();
    let (first, second) = (data(plan.clone()).digest().unwrap(), data(plan).digest().unwrap());
    assert_eq!((first, second), (collected, collected));
}

#[test]
fn a_request_is_honoured_whole() {
    let (plan, rows) = plan_and_rows();
    let small = Predicate::new("int", Comparison::Lt, 6);
    let tricky = Predicate::new("real", Comparison::LtEq, 0.0);
    let requests = [
        ScanRequest::all(),
        ScanRequest::all().columns(["text", "int"]),
        ScanRequest::all().columns(["flag"]).filter(small.clone()),
        ScanRequest::all().columns(["flag"]).filter(tricky.clone()).filter(small.clone()).limit(1),
        ScanRequest::all().filter(tricky).limit(3),
        ScanRequest::all().limit(0),
        ScanRequest::all().limit(4).batch_rows(3),
        ScanRequest::all().limit(u64::MAX).batch_rows(1),
    ];
    for request in requests {
        let (from_plan, from_rows) = (plan.scan(&request).unwrap(), rows.scan(&request).unwrap());
        assert_eq!(from_plan.schema(), from_rows.schema());
        let batches: Vec<_> = from_plan.map(Result::unwrap).collect();
        assert!(batches.iter().all(|b| b.num_rows() <= request.rows_per_batch() && b.num_rows() > 0), "{request:?}");
        let schema = from_rows.schema().clone();
        let found = Dataset::held(schema, batches).unwrap();
        assert_eq!(found.digest().unwrap(), Dataset::collect(from_rows).unwrap().digest().unwrap(), "{request:?}");
    }
}

#[test]
fn rows_can_be_counted_without_columns() {
    let (plan, _) = plan_and_rows();
    let none: [&str; 0] = [];
    let count = |request: ScanRequest| -> usize {
        plan.scan(&request.columns(none)).unwrap().map(|batch| batch.unwrap().num_rows()).sum()
    };
    assert_eq!(count(ScanRequest::all()), 9);
    assert_eq!(count(ScanRequest::all().filter(Predicate::new("int", Comparison::Eq, 5))), 2);
    assert_eq!(count(ScanRequest::all().filter(Predicate::new("real", Comparison::Gt, 1.0))), 3);
}

#[test]
fn no_batch_is_larger_than_asked_for_and_none_is_needlessly_small() {
    let data = data(numbers(50_000).filter((col("n") % lit(7_i64)).eq(lit(0_i64))));
    let request = ScanRequest::all().batch_rows(1_000);
    let sizes: Vec<usize> = data.scan(&request).unwrap().map(|b| b.unwrap().num_rows()).collect();
    // 0, 7, … 49,994: 7,143 rows.
    assert_eq!(sizes, [1_000, 1_000, 1_000, 1_000, 1_000, 1_000, 1_000, 143]);
}

#[test]
fn batches_carry_the_annotations_that_were_laid_over() {
    let batch = RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(vec![1])) as ArrayRef)]).unwrap();
    let annotated = Schema::new(batch.schema()).unwrap().with_role("n", Role::Key).unwrap();
    let source = LazyFrameSource::new("numbers", numbers(3)).unwrap().annotated_like(&annotated).unwrap();
    assert_eq!(source.schema().unwrap().with(Role::Key), ["n"]);
    let mut stream = source.scan(&ScanRequest::all()).unwrap();
    assert_eq!(stream.schema().clone(), source.schema().unwrap());
    assert_eq!(stream.next().unwrap().unwrap().schema(), *source.schema().unwrap().arrow());
}

#[test]
fn an_empty_plan_has_its_schema_and_no_batch() {
    let nothing = data(numbers(10).filter(lit(false)));
    assert_eq!(nothing.batches().unwrap().count(), 0);
    assert_eq!(nothing.schema().names().collect::<Vec<_>>(), ["n"]);
    assert_eq!(nothing.num_rows().unwrap(), 0);
    let source = LazyFrameSource::new("no columns", DataFrame::empty().lazy()).unwrap();
    assert!(source.schema().unwrap().is_empty());
    assert_eq!(source.scan(&ScanRequest::all()).unwrap().count(), 0);
}

#[test]
fn unknown_columns_and_doubled_ones_are_errors() {
    let (plan, _) = plan_and_rows();
    let scan = |columns: [&str; 2]| plan.scan(&ScanRequest::all().columns(columns)).map(|_| ()).unwrap_err();
    assert!(matches!(scan(["int", "nowhere"]), Error::NotFound { name, .. } if name == "nowhere"));
    assert!(matches!(scan(["int", "int"]), Error::AlreadyExists { name, .. } if name == "int"));
}

#[test]
fn a_plan_that_does_not_resolve_is_refused_at_once() {
    let error = LazyFrameSource::new("broken", numbers(3).select([col("m")])).map(|_| ()).unwrap_err();
    assert!(matches!(&error, Error::NotFound { kind: "column", name } if name == "m"), "{error:?}");
}

/// Fails in the row that holds `at`.
fn failing(rows: i64, at: i64, fail: fn() -> Result<(), PolarsError>) -> LazyFrame {
    let check = move |column: Column| {
        let met = column.i64()?.iter().any(|n| n == Some(at));
        if met {
            fail()?;
        }
        Ok(column)
    };
    numbers(rows).with_column(col("n").map(check, |_, field| Ok(field.clone())))
}

#[test]
fn an_error_in_mid_plan_ends_the_stream_with_an_error() {
    let refuse = || Err(PolarsError::ComputeError("no such number".into()));
    let outcome: Vec<_> = data(failing(300_000, 299_999, refuse)).batches().unwrap().collect();
    let error = outcome.last().unwrap().as_ref().unwrap_err();
    assert!(error.to_string().contains("no such number"), "{error}");
    assert!(outcome[..outcome.len() - 1].iter().all(Result::is_ok));
}

#[test]
fn a_panic_inside_of_a_plan_is_an_error_and_never_the_end_of_the_rows() {
    let panics = || panic!("this panic is part of a test");
    let outcome: Vec<_> = data(failing(300_000, 299_999, panics)).batches().unwrap().collect();
    let error = outcome.last().unwrap().as_ref().unwrap_err();
    assert!(matches!(error, Error::External { system: "polars", .. }), "{error:?}");
}

#[test]
fn a_stream_that_is_dropped_early_stops_its_plan() {
    let held = Arc::new(());
    let kept = held.clone();
    let counting = move |column: Column| {
        assert!(Arc::strong_count(&kept) > 0);
        Ok(column)
    };
    let plan = numbers(2_000_000).with_column(col("n").map(counting, |_, field| Ok(field.clone())));
    let source = LazyFrameSource::new("long", plan).unwrap();
    let mut stream = source.scan(&ScanRequest::all().batch_rows(10)).unwrap();
    assert_eq!(stream.next().unwrap().unwrap().num_rows(), 10);
    drop(stream);
    drop(source);
    // The plan owns the closure: when nothing else holds it any more, the plan has ended.
    while Arc::strong_count(&held) > 1 {
        std::thread::yield_now();
    }
}

#[test]
fn many_scans_can_be_read_in_turn() {
    let data = data(numbers(5_000));
    let request = ScanRequest::all().batch_rows(100);
    let mut streams: Vec<_> = (0..16).map(|_| data.scan(&request).unwrap()).collect();
    for _ in 0..50 {
        for stream in &mut streams {
            assert_eq!(stream.next().unwrap().unwrap().num_rows(), 100);
        }
    }
    assert!(streams.iter_mut().all(|stream| stream.next().is_none()));
}

#[test]
fn a_stream_that_is_never_read_starts_nothing() {
    let panics = || panic!("a plan ran that nobody reads");
    let stream = data(failing(10, 3, panics)).batches().unwrap();
    drop(stream);
}

#[test]
fn feature_work_on_a_plan_gives_what_it_says() {
    let band = when(col("n").lt(lit(2_i64))).then(lit("new")).otherwise(lit("old")).alias("band");
    let made = data(numbers(4)).map_lazy(|plan| plan.with_columns([band, col("n").cast(DataType::Float64)])).unwrap();
    let batch = made.to_batch().unwrap();
    let bands = arrow::compute::cast(batch.column(1), &arrow::datatypes::DataType::Utf8).unwrap();
    assert_eq!(bands.as_ref(), &StringArray::from(vec!["new", "new", "old", "old"]));
    assert_eq!(batch.column(0).as_ref(), &Float64Array::from(vec![0.0, 1.0, 2.0, 3.0]));
}
