use arrow::array::{AsArray, Float64Array, Int64Array, StringArray, TimestampSecondArray};

use super::super::super::fixture::{column, data, floats, near, pass, recut};
use super::super::super::{FittedTransformExt, restore, restore_rows};
use super::*;
use crate::schema::Sensitivity;

fn table(ids: Vec<Option<i64>>, at: Vec<i64>, x: Vec<Option<f64>>) -> Dataset {
    let notes = x.iter().map(|x| x.filter(|x| !x.is_nan()).map(|x| format!("note {x}")));
    let rows = data([
        ("id", column(Int64Array::from(ids))),
        ("at", column(TimestampSecondArray::from(at))),
        ("note", column(notes.collect::<StringArray>())),
        ("x", column(Float64Array::from(x))),
    ]);
    let schema = rows.schema().with_role("id", Role::Key).and_then(|s| s.with_role("at", Role::EventTime)).unwrap();
    rows.with_schema(schema).unwrap()
}

fn history() -> Dataset {
    let ids = vec![Some(1), Some(2), Some(1), Some(1), Some(2), None, None];
    let x = vec![Some(1.0), None, Some(f64::NAN), Some(3.0), None, Some(9.0), None];
    table(ids, vec![10, 10, 20, 30, 40, 50, 60], x)
}

fn fill() -> FillForward {
    FillForward::builder(["x", "note"]).indicator(true).build().unwrap()
}

#[test]
fn gaps_are_filled_from_the_rows_before_whatever_the_cut() {
    for data in [history(), recut(&history(), 1), recut(&history(), 3)] {
        let fitted = fill().fit(&data).unwrap();
        let (treated, changes) = pass(fitted.as_ref(), &data);
        // Group 2 has no value, and rows without a key have no group.
        near(&floats(&treated, "x"), &[Some(1.0), None, Some(1.0), Some(3.0), None, Some(9.0), None]);
        assert_eq!(treated["note"].as_string::<i32>().value(2), "note 1");
        assert_eq!(treated["x_missing"].as_boolean().true_count(), 4);
        assert_eq!(changes.cells("x", Change::Imputed), 1);
    }
}

#[test]
fn a_later_table_goes_on_where_the_first_ended_and_nothing_flows_back() {
    let fitted = fill().fit(&history()).unwrap();
    let later = table(vec![Some(1), Some(1), Some(1), Some(2)], vec![20, 30, 31, 50], vec![None; 4]);
    let (treated, _) = pass(fitted.as_ref(), &later);
    // The last value of group 1 is from second 30: it fills what comes after that.
    near(&floats(&treated, "x"), &[None, None, Some(3.0), None]);
    let state = fitted.state().unwrap();
    assert!(!state.body.to_string().contains("\"1\""), "groups are named by digest");
    for rows in [fitted.for_rows().unwrap(), restore_rows(&state).unwrap().into()] {
        assert_eq!(rows.scope(), Scope::Row);
        let alone = rows.apply_batch(&later.to_batch().unwrap().slice(2, 1)).unwrap();
        near(&floats(&alone, "x"), &[Some(3.0)]);
        assert_eq!(alone["note"].as_string::<i32>().value(0), "note 3");
    }
    assert_eq!(restore(&state).unwrap().scope(), Scope::Table);
}

#[test]
fn rows_out_of_order_and_too_many_groups_are_refused() {
    let turned = table(vec![Some(1), Some(1)], vec![20, 10], vec![Some(1.0), None]);
    let error = fill().fit(&turned).unwrap_err();
    assert!(matches!(&error, Error::Schema { column, .. } if column == "at"), "{error}");
    let few = FillForward::builder("x").groups_max(1).build().unwrap();
    assert!(matches!(few.fit(&history()), Err(Error::Invalid { setting: "groups_max", .. })));
    assert!(FillForward::builder("id").build().unwrap().fit(&history()).is_err());
    assert!(FillForward::builder("x").time("x").build().unwrap().fit(&history()).is_err());
    let own = history().schema().with_sensitivity("note", Sensitivity::Personal).unwrap();
    assert!(fill().fit(&history().with_schema(own).unwrap()).is_err());
    assert!(FillForward::builder("x").groups_max(0).build().is_err());
}
