use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, StringArray, TimestampMicrosecondArray};
use arrow::datatypes::Float64Type;
use mlops_core::interop::polars::polars::prelude::{IntoLazy, lit};
use mlops_core::schema::{Role, Sensitivity};
use mlops_core::source::ScanRequest;

use super::*;
use crate::define::{KeyType, ValueType};
use crate::entity::Entity;
use crate::error::Error;

fn view() -> FeatureView {
    let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build().unwrap();
    let view =
        FeatureView::builder("spend", customer).sensitive("thousands", ValueType::Float64, Sensitivity::Personal);
    view.build().unwrap()
}

fn payments() -> Dataset {
    let times = TimestampMicrosecondArray::from(vec![1, 2]).with_timezone("UTC");
    let columns = [
        ("note", Arc::new(StringArray::from(vec!["a", "b"])) as ArrayRef),
        ("event_timestamp", Arc::new(times)),
        ("amount", Arc::new(Float64Array::from(vec![Some(500.0), None]))),
        ("customer_id", Arc::new(Int64Array::from(vec![7, 8]))),
    ];
    Dataset::from_batches([RecordBatch::try_from_iter(columns).unwrap()]).unwrap()
}

fn thousands(frame: LazyFrame) -> LazyFrame {
    frame.with_columns([(col("amount") / lit(1_000.0)).alias("thousands")])
}

#[track_caller]
fn check(history: &Dataset) {
    assert_eq!(history.schema().names().collect::<Vec<_>>(), ["customer_id", "event_timestamp", "thousands"]);
    assert_eq!(history.schema().with(Role::Key), ["customer_id"]);
    assert_eq!(history.schema().sensitivity("thousands").unwrap(), Sensitivity::Personal);
    for batch in history.scan(&ScanRequest::all()).unwrap() {
        let batch = view().conform(&batch.unwrap()).unwrap();
        let values: Vec<Option<f64>> = batch.column(2).as_primitive::<Float64Type>().iter().collect();
        assert_eq!(values, [Some(0.5), None]);
    }
}

#[test]
fn a_closure_makes_history_of_rows_and_of_plans() {
    let spend = PolarsView::new(view(), "1", thousands).unwrap();
    check(&spend.history(&payments()).unwrap());
    check(&spend.history_of(payments().to_polars().unwrap().lazy()).unwrap());
}

#[test]
fn a_closure_that_does_not_make_the_view_is_refused_by_column() {
    let less = PolarsView::new(view(), "1", |frame| frame).unwrap();
    let error = less.history(&payments()).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::NotFound { name, .. }) if name == "thousands"), "{error}");
    let text = PolarsView::new(view(), "1", |frame| frame.with_columns([col("note").alias("thousands")])).unwrap();
    let error = text.history(&payments()).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::Schema { column, .. }) if column == "thousands"), "{error}");
}

#[test]
fn the_view_tells_of_which_code_its_history_is() {
    let spend = PolarsView::new(view(), "1", thousands).unwrap();
    assert_eq!(spend.view().batch(), Some(&BatchOrigin::code("spend", "1").unwrap()));
    assert_eq!(spend.view().fingerprint(), view().fingerprint());
    assert!(PolarsView::new(spend.view().clone(), "1", thousands).is_ok());
    assert!(PolarsView::new(spend.view().clone(), "2", thousands).is_err());
    assert!(PolarsView::new(view(), "", thousands).is_err());
}
