use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StringArray, TimestampMicrosecondArray};

use super::{finding, refusal, table};
use crate::profile::{Profile, ProfileOptions, Profiler};
use crate::schema::Sensitivity;
use crate::stats::DriftRule;
use crate::validate::{Drift, Suite};
use crate::{Dataset, Error};

/// Prices 0..1000 over and over, moved by `shift`; every `rare`-th plan is another one; times that move on with `shift`.
fn offers(rows: usize, shift: f64, rare: usize) -> Dataset {
    let prices = (0..rows).map(|row| ((row * 7919) % 1000) as f64 + shift);
    let plans = (0..rows).map(|row| if row.is_multiple_of(rare) { "postpaid" } else { "prepaid" });
    table([
        ("price", Arc::new(prices.collect::<Float64Array>()) as ArrayRef),
        ("plan", Arc::new(plans.map(Some).collect::<StringArray>())),
        ("at", Arc::new((0..rows).map(|row| Some(row as i64 + shift as i64)).collect::<TimestampMicrosecondArray>())),
    ])
}

fn profile(data: &Dataset) -> Profile {
    let mut profiler = Profiler::new(data.schema().arrow(), &ProfileOptions::default()).unwrap();
    for batch in data.batches().unwrap() {
        profiler.update(&batch.unwrap()).unwrap();
    }
    profiler.finish()
}

#[test]
fn the_same_distribution_passes_and_another_one_does_not() {
    let reference = profile(&offers(4_000, 0.0, 10));
    let same = finding(Drift::from_reference(reference.clone()), &offers(3_000, 0.0, 10));
    assert!(same.passed && same.observed.unwrap() < 0.05, "{same:?}");
    assert_eq!((same.measures["compared"], same.measures["drifted"]), (2.0, 0.0));
    let moved = finding(Drift::from_reference(reference.clone()), &offers(3_000, 300.0, 10));
    assert!(!moved.passed && moved.detail.starts_with("`price` by "), "{moved:?}");
    let mixed = finding(Drift::from_reference(reference), &offers(3_000, 0.0, 2));
    assert!(!mixed.passed && mixed.detail.starts_with("`plan` by "), "{mixed:?}");
}

#[test]
fn psi_is_that_of_a_hand_calculation() {
    // Shares of postpaid 0.1 and 0.5: (0.5 − 0.1)·ln(0.5 / 0.1) + (0.5 − 0.9)·ln(0.5 / 0.9) = 0.878890
    let rule = DriftRule::builder().except("price").build().unwrap();
    let found = finding(Drift::from_reference(profile(&offers(4_000, 0.0, 10))).rule(rule), &offers(3_000, 0.0, 2));
    assert!((found.observed.unwrap() - 0.878_890).abs() < 1e-4, "{found:?}");
}

#[test]
fn few_rows_give_no_verdict_and_no_alarm() {
    let reference = profile(&offers(4_000, 0.0, 10));
    for rows in [0, 50] {
        let found = finding(Drift::from_reference(reference.clone()), &offers(rows, 900.0, 1));
        assert!(found.passed && found.observed.is_none(), "{found:?}");
        assert_eq!(found.measures["inconclusive"], 2.0);
        assert_eq!(found.detail, "too few rows for 2");
    }
}

#[test]
fn a_drift_check_is_stored_with_its_reference() {
    let drift = Drift::from_reference(profile(&offers(4_000, 0.0, 10)));
    let suite = Suite::new().rule("drift", drift).unwrap();
    let again = Suite::from_json(&suite.to_json().unwrap()).unwrap();
    assert_eq!(again.settings().unwrap(), suite.settings().unwrap());
    let data = offers(3_000, 300.0, 10);
    assert_eq!(again.run(&data).unwrap(), suite.run(&data).unwrap());
}

#[test]
fn what_cannot_be_compared_is_refused_by_name() {
    let reference = profile(&offers(400, 0.0, 10));
    let drift = || Drift::from_reference(reference.clone());
    let lacking = Dataset::from_batches([offers(400, 0.0, 10).to_batch().unwrap().project(&[0]).unwrap()]).unwrap();
    assert_eq!(refusal(drift(), &lacking).to_string(), "check `my_rule`: column `plan` not found");
    let retyped = table([
        ("price", Arc::new(StringArray::from(vec!["1"])) as ArrayRef),
        ("plan", Arc::new(StringArray::from(vec!["1"]))),
    ]);
    let error = refusal(drift(), &retyped);
    assert!(error.to_string().contains("column `price`: expected the kind of Float64, found Utf8"), "{error}");
    let nothing = DriftRule::builder().except("price").except("plan").build().unwrap();
    assert!(matches!(refusal(drift().rule(nothing), &lacking), Error::Stage { .. }));
}

#[test]
fn values_of_sensitive_columns_are_not_compared() {
    let reference = profile(&offers(4_000, 0.0, 10));
    let data = offers(3_000, 0.0, 2);
    let schema = data.schema().with_sensitivity("plan", Sensitivity::Personal).unwrap();
    let found = finding(Drift::from_reference(reference), &data.with_schema(schema).unwrap());
    assert!(found.passed, "{found:?}");
}
