//! Every rule passes the kit of checks, and the kits catch what breaks a contract.

use std::sync::Arc;

use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use mlops_core::profile::{ProfileOptions, Profiler};
use mlops_core::validate::{
    Columns, Drift, NullRatio, OneOf, Pattern, Range, RowCount, Rule, RuleCheck, RuleSpec, Severity, Unique,
};
use mlops_core::{Dataset, Name, testkit};

fn table(ids: Vec<Option<i64>>, prices: Vec<Option<f64>>, plans: Vec<Option<&str>>) -> Dataset {
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int64Array::from(ids)) as ArrayRef, true),
        ("price", Arc::new(Float64Array::from(prices)), true),
        ("plan", Arc::new(StringArray::from(plans)), true),
    ])
    .unwrap();
    Dataset::from_batches([batch]).unwrap()
}

fn good() -> Dataset {
    let plans = vec![Some("prepaid"), Some("postpaid"), Some("prepaid"), Some("business")];
    table(vec![Some(1), Some(2), Some(3), Some(4)], vec![Some(1.0), Some(2.0), Some(0.0), Some(3.5)], plans)
}

/// Every rule below finds something here.
fn bad() -> Dataset {
    let plans = vec![Some("prepaid"), None, Some("Prepaid!"), Some("something-else"), None, Some("prepaid")];
    let prices = vec![Some(1.0), Some(f64::NAN), Some(-1.0), None, Some(f64::INFINITY), Some(2.0)];
    table(vec![Some(1), Some(2), None, Some(1), Some(4), Some(1)], prices, plans)
}

fn rule(rule: impl Into<Rule>) {
    let rule = rule.into();
    let make = || {
        let spec = RuleSpec { id: Name::new("rule").unwrap(), severity: Severity::Warning, rule: rule.clone() };
        RuleCheck::new(spec).unwrap()
    };
    testkit::check(make, &good(), &bad());
}

#[test]
fn null_ratio_keeps_the_contract() {
    rule(NullRatio::of("plan"));
    rule(NullRatio::of("plan").max(0.2));
}

#[test]
fn range_keeps_the_contract() {
    rule(Range::of("price").at_least(0).at_most(100));
    rule(Range::of("price").above(-0.5).below(1e300).allow_nan());
}

#[test]
fn one_of_keeps_the_contract() {
    rule(OneOf::of("plan", ["prepaid", "postpaid", "business"]));
}

#[test]
fn pattern_keeps_the_contract() {
    rule(Pattern::of("plan", "[a-z]+"));
}

#[test]
fn unique_keeps_the_contract() {
    rule(Unique::of(["id"]));
    rule(Unique::of(["id", "plan"]));
}

#[test]
fn row_count_keeps_the_contract() {
    rule(RowCount::between(0, 5));
}

#[test]
fn columns_keep_the_contract() {
    let spec = RuleSpec {
        id: Name::new("columns").unwrap(),
        severity: Severity::Error,
        rule: Columns::like(good().schema()).ordered().exact().into(),
    };
    let lacking = Dataset::from_batches([bad().to_batch().unwrap().project(&[0, 2]).unwrap()]).unwrap();
    testkit::check(|| RuleCheck::new(spec.clone()).unwrap(), &good(), &lacking);
}

#[test]
fn drift_keeps_the_contract() {
    let rows = |count: usize, step: usize| {
        let id = |row: usize| Some((row * step % 100) as i64);
        let plan = |row: usize| Some(if row.is_multiple_of(3) { "postpaid" } else { "prepaid" });
        let prices = (0..count).map(|row| Some((row % 10) as f64)).collect();
        table((0..count).map(id).collect(), prices, (0..count).map(plan).collect())
    };
    let reference = rows(600, 1);
    let mut profiler = Profiler::new(reference.schema().arrow(), &ProfileOptions::default()).unwrap();
    profiler.update(&reference.to_batch().unwrap()).unwrap();
    let drift = Drift::from_reference(profiler.finish());
    let make = || {
        let spec = RuleSpec { id: Name::new("drift").unwrap(), severity: Severity::Error, rule: drift.clone().into() };
        RuleCheck::new(spec).unwrap()
    };
    testkit::check(make, &rows(300, 1), &rows(300, 50));
}
