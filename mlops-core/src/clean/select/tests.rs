use arrow::array::{Float64Array, Int64Array, StringArray};
use arrow::datatypes::DataType;

use super::super::FittedTransformExt;
use super::super::fixture::{clean, column, data, pass};
use super::*;
use crate::schema::Sensitivity;

const NAN: f64 = f64::NAN;

fn table() -> Dataset {
    let rows = data([
        ("id", column(Int64Array::from(vec![7, 7, 7, 7]))),
        ("age", column(Int64Array::from(vec![Some(1), None, Some(3), Some(4)]))),
        ("phone", column(StringArray::from(vec!["a", "b", "c", "d"]))),
        ("same", column(Float64Array::from(vec![0.0, -0.0, 0.0, 0.0]))),
        ("nan", column(Float64Array::from(vec![Some(NAN), None, Some(NAN), Some(1.0)]))),
        ("half", column(Int64Array::from(vec![Some(5), None, Some(5), None]))),
        ("never", column(Int64Array::from(vec![None, None, None, None]))),
    ]);
    let schema = rows.schema().with_role("id", Role::Key).and_then(|s| s.with_role("age", Role::Feature));
    let schema = schema.and_then(|s| s.with_sensitivity("phone", Sensitivity::Personal)).unwrap();
    rows.with_schema(schema.with_unit("age", "years").unwrap()).unwrap()
}

#[track_caller]
fn stays(select: SelectBuilder, expected: &[&str]) -> RecordBatch {
    let (treated, changes) = clean(&select.build().unwrap(), &table());
    let schema = treated.schema();
    assert_eq!(schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(), expected);
    assert_eq!((changes.rows_in(), changes.rows_out()), (4, 4));
    treated
}

#[test]
fn columns_stay_and_go_by_name_role_and_sensitivity() {
    stays(Select::builder().keep(["age", "id"]), &["id", "age"]);
    stays(Select::builder().keep(Role::Feature).keep("same"), &["age", "same"]);
    stays(
        Select::builder().drop(Pick::Sensitivity(Sensitivity::Personal)).drop(["nan", "never", "half"]),
        &["id", "age", "same"],
    );
    stays(Select::builder().keep(["age", "id"]).drop("id"), &["age"]);
    stays(Select::builder().drop(Pick::All), &[]);
}

#[test]
fn columns_that_tell_nothing_go_but_keys_stay() {
    stays(Select::builder().drop_constant(true), &["id", "age", "phone", "nan", "half"]);
    stays(Select::builder().missing_max(0.5), &["id", "age", "phone", "same", "half"]);
    stays(Select::builder().missing_max(0.0), &["id", "phone", "same"]);
    let none = table().to_batch().unwrap().slice(0, 0);
    let empty = Dataset::from_batches([none]).unwrap();
    let select = Select::builder().drop_constant(true).missing_max(0.0).build().unwrap();
    assert_eq!(clean(&select, &empty).0.num_columns(), 7);
}

#[test]
fn order_and_names_are_set_and_annotations_go_along() {
    let select = Select::builder().keep(["id", "age", "phone"]).first(["phone", "never"]).rename("age", "years");
    let treated = stays(select.clone(), &["phone", "id", "years"]);
    let schema = Schema::new(treated.schema()).unwrap();
    assert_eq!((schema.role("years").unwrap(), schema.unit("years").unwrap()), (Role::Feature, Some("years")));
    assert_eq!(schema.hidden(), ["phone"]);
    let (_, changes) = clean(&select.build().unwrap(), &table());
    let step = &changes.steps[0];
    assert_eq!(step.columns_dropped.iter().map(String::as_str).collect::<Vec<_>>(), ["half", "nan", "never", "same"]);
    assert_eq!(step.columns_renamed["age"], "years");
}

#[test]
fn columns_are_brought_to_the_order_of_a_schema() {
    let wanted = table().schema().project(&["same", "id"]).unwrap();
    stays(Select::builder().like(&wanted), &["same", "id"]);
    let foreign =
        Schema::new(ArrowSchema::new(vec![arrow::datatypes::Field::new("x", DataType::Int64, true)])).unwrap();
    let error = Select::builder().like(&foreign).build().unwrap().fit(&table()).unwrap_err();
    assert!(matches!(error, Error::NotFound { name, .. } if name == "x"));
}

#[test]
fn later_tables_give_the_same_columns_whatever_they_hold() {
    let fitted = Select::builder().keep(["age", "same"]).build().unwrap().fit(&table()).unwrap();
    let whole = table().to_batch().unwrap();
    let turned = Dataset::from_batches([whole.project(&[3, 2, 1]).unwrap()]).unwrap();
    let (treated, changes) = pass(fitted.as_ref(), &turned);
    assert_eq!(treated.schema().field(0).name(), "age");
    assert!(changes.steps[0].columns_dropped.contains("phone"));
    let lacking = whole.project(&[1]).unwrap();
    assert!(matches!(fitted.apply_batch(&lacking), Err(Error::NotFound { name, .. }) if name == "same"));
    let retyped = arrow::compute::cast(&whole["age"], &DataType::Int32).unwrap();
    let retyped = data([("age", retyped), ("same", whole["same"].clone())]).to_batch().unwrap();
    assert!(matches!(fitted.apply_batch(&retyped), Err(Error::Schema { .. })));
}

#[test]
fn settings_that_name_nothing_or_one_name_twice_are_refused() {
    let fit = |select: SelectBuilder| select.build().unwrap().fit(&table()).map(|_| ());
    assert!(matches!(fit(Select::builder().keep("nope")), Err(Error::NotFound { .. })));
    assert!(matches!(fit(Select::builder().first(["nope"])), Err(Error::NotFound { .. })));
    assert!(matches!(fit(Select::builder().rename("nope", "x")), Err(Error::NotFound { .. })));
    assert!(matches!(fit(Select::builder().rename("age", "id")), Err(Error::AlreadyExists { .. })));
    assert!(fit(Select::builder().drop("id").rename("age", "id")).is_ok());
    assert!(Select::builder().missing_max(NAN).build().is_err());
    assert!(serde_json::from_str::<Select>(r#"{"keeps": []}"#).is_err());
}
