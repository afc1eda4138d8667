//! What becomes of roles, sensitivities and units, and of polars' messages about personal data.

use polars::prelude::{DataType, IntoLazy, col, lit};

use super::*;
use crate::schema::{Role, Sensitivity};

fn customers() -> Dataset {
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef),
        ("phone", Arc::new(StringArray::from(vec!["0901234567", "12"]))),
        ("fee", Arc::new(StringArray::from(vec!["1.5", " "]))),
    ]);
    let batch = batch.unwrap();
    let schema = Schema::new(batch.schema())
        .and_then(|s| s.with_role("id", Role::Key))
        .and_then(|s| s.with_sensitivity("phone", Sensitivity::Personal))
        .and_then(|s| s.with_unit("fee", "USD"))
        .unwrap();
    Dataset::held(schema, [batch]).unwrap()
}

#[test]
fn a_column_that_keeps_its_name_keeps_its_annotations_whatever_its_type() {
    let fee = col("fee").cast(DataType::Float64);
    let made = customers().map_lazy(|plan| plan.with_columns([fee, col("phone").alias("copy")])).unwrap();
    let schema = made.schema();
    assert_eq!(schema.with(Role::Key), ["id"]);
    assert_eq!(schema.hidden(), ["phone"], "a copy has no annotation until it gets one");
    assert_eq!(schema.unit("fee").unwrap(), Some("USD"));
    assert_eq!(*schema.field("fee").unwrap().data_type(), arrow::datatypes::DataType::Float64);
    assert_eq!(made.to_batch().unwrap().schema(), *schema.arrow());
}

#[test]
fn from_polars_knows_no_annotations_and_takes_those_of_a_schema() {
    let bare = Dataset::from_polars(customers().to_polars().unwrap()).unwrap();
    assert!(bare.schema().hidden().is_empty() && bare.schema().with(Role::Key).is_empty());
    let again = bare.with_schema(bare.schema().annotated_like(customers().schema()).unwrap()).unwrap();
    assert_eq!(again.schema().hidden(), ["phone"]);
    assert_eq!(again.schema().with(Role::Key), ["id"]);
}

#[test]
fn provenance_goes_along() {
    let provenance = crate::dataset::Provenance {
        parents: vec![],
        operation: crate::Name::new("load").unwrap(),
        parameters: serde_json::Value::Null,
        code_version: "1".into(),
        at: crate::EventTime::EPOCH,
    };
    let made = customers().with_provenance(provenance.clone()).map_lazy(|plan| plan).unwrap();
    assert_eq!(made.provenance(), Some(&provenance));
    let (data, at) = (customers(), crate::EventTime::from_secs(3));
    let told = data.map_lazy_as(crate::Name::new("fees").unwrap(), "2", at, |plan| plan).unwrap();
    let told = told.provenance().unwrap();
    assert_eq!((&told.parents, told.code_version.as_str(), told.at), (&vec![data.digest().unwrap()], "2", at));
}

#[test]
fn values_of_a_personal_column_stay_out_of_messages() {
    let strict = || col("phone").strict_cast(DataType::Int8);
    let private = customers().map_lazy(|plan| plan.with_column(strict())).unwrap();
    let error = private.to_batch().unwrap_err();
    assert!(matches!(error, Error::External { system: "polars", .. }), "{error:?}");
    for shown in [error.to_string(), format!("{error:?}")] {
        assert!(!shown.contains("0901234567") && shown.contains("withheld"), "{shown}");
    }
    let open = LazyFrameSource::new("open", customers().lazy().unwrap().with_column(strict())).unwrap();
    let told = Dataset::from_source(Arc::new(open.clone())).unwrap().to_batch().unwrap_err().to_string();
    assert!(told.contains("phone"), "{told}");
    let annotated = open.annotated_like(customers().schema()).unwrap();
    let told = Dataset::from_source(Arc::new(annotated)).unwrap().to_batch().unwrap_err().to_string();
    assert!(told.contains("withheld"), "{told}");
}

#[test]
fn a_source_does_not_print_the_literals_of_its_plan() {
    let plan = polars::df!("phone" => ["x"]).unwrap().lazy().filter(col("phone").eq(lit("0901234567")));
    let shown = format!("{:?}", LazyFrameSource::new("one", plan).unwrap());
    assert!(!shown.contains("0901234567") && shown.contains("phone"), "{shown}");
}
