use arrow::array::{
    BooleanArray, DictionaryArray, Float32Array, Float64Array, Int8Array, Int64Array, StringArray, StringViewArray,
    TimestampSecondArray, UInt8Array,
};
use arrow::datatypes::{Int8Type, Int32Type, Int64Type, TimestampSecondType, UInt8Type};
use proptest::prelude::{Just, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use proptest::strategy::Strategy as _;

use super::super::fixture::{batch, clean, column, data, floats, near, pass, recut};
use super::super::{FittedTransformExt, restore};
use super::*;
use crate::schema::{Role, Sensitivity};
use crate::time::EventTime;

const NAN: f64 = f64::NAN;

fn impute(column: &str, strategy: Strategy) -> Impute {
    Impute::builder().fill(column, strategy).build().unwrap()
}

fn seven() -> Dataset {
    let values = vec![Some(7.0), Some(2.0), None, Some(3.5), Some(-1.0), Some(2.0), Some(1e6), Some(NAN), Some(0.1)];
    data([("x", column(Float64Array::from(values)))])
}

#[track_caller]
fn fills(strategy: Strategy, expected: f64) {
    let (treated, changes) = clean(&impute("x", strategy), &seven());
    let mut whole: Vec<_> = [7.0, 2.0, expected, 3.5, -1.0, 2.0, 1e6, expected, 0.1].map(Some).to_vec();
    near(&floats(&treated, "x"), &whole);
    assert_eq!(changes.cells("x", Change::Imputed), 2);
    assert!(!treated.schema().field(0).is_nullable());
    whole.clear();
}

#[test]
fn values_are_those_of_scikit_learn() {
    // scikit-learn 1.9.1, SimpleImputer(strategy=…).fit(x).statistics_
    fills(Strategy::Mean, 142859.08571429);
    fills(Strategy::Median, 2.0);
    fills(Strategy::MostFrequent, 2.0);
    fills(Strategy::constant(-9.0), -9.0);
}

#[test]
fn nan_as_a_value_stays_and_teaches_nothing() {
    let impute = Impute::builder().fill("x", Strategy::Median).nan(Nan::Value).build().unwrap();
    let (treated, changes) = clean(&impute, &seven());
    let expected = [7.0, 2.0, 2.0, 3.5, -1.0, 2.0, 1e6, NAN, 0.1].map(Some);
    near(&floats(&treated, "x"), &expected);
    assert_eq!(changes.cells("x", Change::Imputed), 1);
}

#[test]
fn integers_stay_integers_where_the_value_is_one() {
    // scikit-learn 1.9.1: mean 4 and median 3 of [1, 2, 4, 9].
    let whole = data([("x", column(Int8Array::from(vec![Some(1), Some(2), Some(4), Some(9), None])))]);
    let (treated, _) = clean(&impute("x", Strategy::Mean), &whole);
    assert_eq!(treated["x"].as_primitive::<Int8Type>().values(), &[1, 2, 4, 9, 4]);
    let half = data([("x", column(UInt8Array::from(vec![Some(1), Some(2), None])))]);
    let (treated, _) = clean(&impute("x", Strategy::Mean), &half);
    near(&floats(&treated, "x"), &[1.0, 2.0, 1.5].map(Some));
    let (treated, _) = clean(&impute("x", Strategy::constant(3.0)), &half);
    assert_eq!(treated["x"].as_primitive::<UInt8Type>().values(), &[1, 2, 3]);
}

#[test]
fn booleans_texts_and_times_are_filled_by_frequency_or_a_constant() {
    let plans: DictionaryArray<Int32Type> = [Some("a"), None, Some("b"), Some("b")].into_iter().collect();
    let rows = data([
        ("flag", column(BooleanArray::from(vec![Some(true), None, Some(true), Some(false)]))),
        ("city", column(StringArray::from(vec![None, Some("hue"), None, Some("hanoi")]))),
        (
            "view",
            column(StringViewArray::from(vec![None, Some("x"), Some("x"), Some("a long text that is no inline one")])),
        ),
        ("plan", column(plans)),
        ("at", column(TimestampSecondArray::from(vec![Some(1), None, Some(3), Some(4)]))),
    ]);
    let impute = Impute::builder()
        .fill(["flag", "view", "plan"], Strategy::MostFrequent)
        .fill("city", Strategy::constant("unknown"))
        .fill("at", Strategy::constant(EventTime::from_secs(9)))
        .build()
        .unwrap();
    let (treated, changes) = clean(&impute, &rows);
    let texts = |name: &str| {
        let plain = cast(&treated[name], &DataType::Utf8).unwrap();
        plain.as_string::<i32>().iter().map(|text| text.unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(treated["flag"].as_boolean(), &BooleanArray::from(vec![true, true, true, false]));
    assert_eq!(texts("city"), ["unknown", "hue", "unknown", "hanoi"]);
    assert_eq!(texts("view")[..2], ["x", "x"]);
    assert_eq!(texts("plan"), ["a", "b", "b", "b"]);
    assert_eq!(treated["at"].as_primitive::<TimestampSecondType>().values(), &[1, 9, 3, 4]);
    assert_eq!(changes.steps[0].cells.len(), 5);
    assert_eq!(treated["plan"].data_type(), rows.schema().field("plan").unwrap().data_type());
}

#[test]
fn a_column_without_values_is_an_error_or_gets_its_fallback() {
    let rows = data([("x", column(Float64Array::from(vec![None, Some(NAN)])))]);
    for strategy in [Strategy::Mean, Strategy::Median, Strategy::MostFrequent] {
        let error = impute("x", strategy.clone()).fit(&rows).unwrap_err().to_string();
        assert!(error.contains("`x`") && error.contains("2 rows"), "{error}");
        let fallback = Impute::builder().fill_or("x", strategy, 0.5).build().unwrap();
        near(&floats(&clean(&fallback, &rows).0, "x"), &[Some(0.5), Some(0.5)]);
    }
}

#[test]
fn what_does_not_fit_its_column_is_refused_by_name() {
    let rows = data([("x", column(StringArray::from(vec!["secret"]))), ("n", column(Int8Array::from(vec![1])))]);
    for (name, strategy) in [
        ("x", Strategy::Mean),
        ("x", Strategy::constant(1)),
        ("n", Strategy::constant("text")),
        ("n", Strategy::constant(1000)),
        ("nope", Strategy::Median),
    ] {
        let error = impute(name, strategy.clone()).fit(&rows).unwrap_err();
        assert!(matches!(error, Error::Schema { .. } | Error::NotFound { .. }), "{strategy:?}: {error}");
        assert!(error.to_string().contains(name) && !error.to_string().contains("secret"), "{error}");
    }
    assert!(Impute::builder().build().is_err());
    assert!(Impute::builder().fill("x", Strategy::constant(f64::INFINITY)).build().is_err());
    let fitted = impute("n", Strategy::Median).fit(&rows).unwrap();
    let other = batch([("n", column(Int64Array::from(vec![1])))]);
    assert!(matches!(fitted.apply_batch(&other), Err(Error::Schema { .. })));
}

#[test]
fn indicators_come_last_and_take_over_sensitivity_and_role() {
    let rows = data([
        ("age", column(Int64Array::from(vec![Some(1), None]))),
        ("income", column(Float32Array::from(vec![None, Some(2.5)]))),
        ("z", column(Int64Array::from(vec![1, 2]))),
    ]);
    let schema = rows.schema().with_role("income", Role::Feature).unwrap();
    let schema = schema.with_sensitivity("income", Sensitivity::Personal).unwrap().with_unit("income", "VND").unwrap();
    let rows = rows.with_schema(schema).unwrap();
    let impute = Impute::builder().fill(["income", "age"], Strategy::Mean).indicator(true).build().unwrap();
    let fitted = impute.fit(&rows).unwrap();
    let output = fitted.output_schema(rows.schema()).unwrap();
    let names: Vec<_> = output.names().collect();
    assert_eq!(names, ["age", "income", "z", "age_missing", "income_missing"]);
    assert_eq!(output.role("income_missing").unwrap(), Role::Feature);
    assert_eq!(output.sensitivity("income_missing").unwrap(), Sensitivity::Personal);
    assert_eq!((output.unit("income").unwrap(), output.unit("income_missing").unwrap()), (Some("VND"), None));
    let (treated, _) = pass(fitted.as_ref(), &rows);
    assert_eq!(treated["age_missing"].as_boolean(), &BooleanArray::from(vec![false, true]));
    assert_eq!(treated["age"].as_primitive::<Int64Type>().values(), &[1, 1]);
    let twice = clean(&impute, &rows).0;
    let again = impute.fit(&Dataset::from_batches([twice]).unwrap()).unwrap_err();
    assert!(matches!(again, Error::AlreadyExists { .. }), "{again}");
}

#[test]
fn what_one_person_has_is_not_given_to_others() {
    let rows = data([
        ("phone", column(StringArray::from(vec![Some("0912345678"), None]))),
        ("sick", column(BooleanArray::from(vec![Some(true), None]))),
    ]);
    let hide = |schema: Schema, name| schema.with_sensitivity(name, Sensitivity::Personal).unwrap();
    let schema = hide(hide(rows.schema().clone(), "phone"), "sick");
    let rows = rows.with_schema(schema).unwrap();
    let error = impute("phone", Strategy::MostFrequent).fit(&rows).unwrap_err().to_string();
    assert!(error.contains("`phone`") && !error.contains("0912"), "{error}");
    assert!(impute("phone", Strategy::constant("")).fit(&rows).is_ok());
    assert!(impute("sick", Strategy::MostFrequent).fit(&rows).is_ok());
}

#[test]
fn settings_come_from_files_and_unknown_ones_are_refused() {
    let text = r#"{"rules": [{"columns": "numbers", "strategy": "median"},
        {"columns": {"columns": ["plan"]}, "strategy": {"constant": {"text": "none"}}}], "indicator": true}"#;
    let read: Impute = serde_json::from_str(text).unwrap();
    let made = Impute::builder()
        .fill(Pick::Numbers, Strategy::Median)
        .fill("plan", Strategy::constant("none"))
        .indicator(true);
    assert_eq!(read, made.build().unwrap());
    assert!(serde_json::from_str::<Impute>(r#"{"rules": []}"#).is_err());
    assert!(serde_json::from_str::<Impute>(&text.replace("indicator", "indicators")).is_err());
}

#[test]
fn a_state_that_contradicts_itself_is_an_error_and_no_panic() {
    let rows = data([("n", column(Int64Array::from(vec![1])))]);
    let mut state = impute("n", Strategy::Median).fit(&rows).unwrap().state().unwrap();
    state.body["columns"][0]["value"] = serde_json::json!({ "text": "x" });
    let restored = restore(&state).unwrap();
    assert!(matches!(restored.begin(rows.schema()), Err(Error::Schema { .. })));
}

fn cells() -> impl proptest::strategy::Strategy<Value = Vec<Option<f64>>> {
    let value = prop_oneof![Just(None), Just(Some(NAN)), Just(Some(f64::INFINITY)), (-1e9..1e9).prop_map(Some)];
    prop::collection::vec(value, 1..200)
}

proptest! {
    #[test]
    fn nothing_is_missing_after_and_a_second_time_changes_nothing(cells in cells(), rows in 1_usize..50) {
        let table = data([("x", column(Float64Array::from(cells.clone())))]);
        let impute = Impute::builder().fill_or("x", Strategy::Median, 0.0).build().unwrap();
        let fitted = impute.fit(&table).unwrap();
        let recut_state = impute.fit(&recut(&table, rows)).unwrap().state().unwrap();
        prop_assert_eq!(fitted.state().unwrap(), recut_state);
        let (once, changes) = pass(fitted.as_ref(), &table);
        let lacking = cells.iter().filter(|cell| cell.is_none_or(f64::is_nan)).count();
        prop_assert_eq!(changes.cells("x", Change::Imputed), lacking as u64);
        let again = Dataset::from_batches([once.clone()]).unwrap();
        let (twice, changes) = pass(fitted.as_ref(), &again);
        prop_assert!(changes.steps[0].cells.is_empty());
        prop_assert_eq!(twice, once);
    }
}
