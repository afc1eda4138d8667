//! Every rule passes the kit of checks, and the kits catch what breaks a contract.

use std::sync::Arc;
use std::time::Duration;

use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampSecondArray};
use mlops_core::expr::Expr;
use mlops_core::profile::{ProfileOptions, Profiler};
use mlops_core::source::Comparison;
use mlops_core::validate::{
    Columns, Compare, Drift, Freshness, GroupMeasure, Groups, Holds, Measure, Monotonic, Mostly, NullRatio, OneOf,
    Pattern, Range, Refers, RowCount, Rule, RuleCheck, RuleSpec, Severity, Statistic, TextLength, Unique, When,
};
use mlops_core::{Dataset, EventTime, Name, testkit};

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
fn text_length_keeps_the_contract() {
    rule(TextLength::between("plan", 7, 8));
}

#[test]
fn comparisons_and_expressions_keep_the_contract() {
    rule(Compare::columns("price", Comparison::LtEq, "id"));
    rule(Holds::parse("price >= 0 and (length(plan) < 9 or id is null)").unwrap());
}

#[test]
fn order_keeps_the_contract() {
    rule(Monotonic::rising("id"));
    rule(Monotonic::rising("id").strict().per(["plan"]));
}

#[test]
fn groups_keep_the_contract() {
    rule(Groups::of(["id"], GroupMeasure::Count).at_most(1.0));
    rule(Groups::of(["plan"], GroupMeasure::Min("price".to_owned())).at_least(0.0));
    rule(Groups::of(["id"], GroupMeasure::Distinct("plan".to_owned())).at_most(1.0));
}

#[test]
fn statistics_keep_the_contract() {
    rule(Statistic::of("id", Measure::Mean).at_least(2.0));
    rule(Statistic::of("id", Measure::Quantile(0.5)).at_least(2.0));
}

#[test]
fn shares_keep_the_contract() {
    rule(Mostly::of(Range::of("price").at_least(0), 0.9));
    rule(Mostly::of(Range::of("price").at_least(0), 0.99).confidence(0.6));
    rule(NullRatio::of("plan").max(0.05).confidence(0.9));
}

#[test]
fn conditions_keep_the_contract() {
    let prepaid = || Expr::parse("plan = 'prepaid'").unwrap();
    rule(When::holds(prepaid(), Unique::of(["id"])));
    rule(When::holds(Expr::parse("id > 0").unwrap(), NullRatio::of("plan").max(0.2)));
}

#[test]
fn references_keep_the_contract() {
    let plans = StringArray::from(vec!["prepaid", "postpaid", "business"]);
    let plans = RecordBatch::try_from_iter([("name", Arc::new(plans) as ArrayRef)]).unwrap();
    let plans = Dataset::from_batches([plans]).unwrap();
    let rule: Rule = Refers::of(["plan"], "plans", ["name"]).unwrap().into();
    let make = || {
        let spec = RuleSpec { id: Name::new("plan").unwrap(), severity: Severity::Error, rule: rule.clone() };
        RuleCheck::new(spec).unwrap().refer("plans", &plans).unwrap()
    };
    testkit::check(make, &good(), &bad());
}

#[test]
fn freshness_keeps_the_contract() {
    let times = |seconds: Vec<i64>| {
        let batch = RecordBatch::try_from_iter([("at", Arc::new(TimestampSecondArray::from(seconds)) as ArrayRef)]);
        Dataset::from_batches([batch.unwrap()]).unwrap()
    };
    let rule: Rule = Freshness::of("at", Duration::from_mins(1)).into();
    let make = || {
        let spec = RuleSpec { id: Name::new("fresh").unwrap(), severity: Severity::Error, rule: rule.clone() };
        RuleCheck::new(spec).unwrap().at(EventTime::from_secs(100))
    };
    testkit::check(make, &times(vec![1, 40, 7]), &times(vec![1, 39, 7]));
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
