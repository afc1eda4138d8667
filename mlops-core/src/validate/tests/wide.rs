//! Rules that look at lengths, other columns, other data sets, groups, order, time, shares and statistics.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, DictionaryArray, Float64Array, Int32Array, Int64Array, StringArray,
    StringViewArray, TimestampSecondArray, UInt64Array,
};
use arrow::datatypes::Int32Type;

use super::{column, fails, finding, refusal, run, table};
use crate::expr::Expr;
use crate::source::Comparison;
use crate::time::EventTime;
use crate::validate::{
    Compare, Decision, Freshness, GroupMeasure, Groups, Holds, Measure, Monotonic, Mostly, NullRatio, OneOf, Range,
    Refers, RunOptions, Severity, Statistic, Suite, TextLength, Unique, When,
};
use crate::{Dataset, Error};

#[test]
fn lengths_are_counted_in_characters_and_both_ends_fit() {
    let texts = || vec![Some("ab"), Some("Hà Nội"), None, Some(""), Some("abc")];
    let dictionary: DictionaryArray<Int32Type> = texts().into_iter().collect();
    for data in [column(StringArray::from(texts())), column(StringViewArray::from(texts())), column(dictionary)] {
        fails(TextLength::between("x", 2, 3), &data, &[1, 3]);
        fails(TextLength::between("x", 3, 6), &data, &[0, 3]);
        fails(TextLength::at_least("x", 1), &data, &[3]);
    }
    let plain = column(StringArray::from(vec!["ab", "abc", "a"]).slice(1, 2));
    fails(TextLength::between("x", 3, 3), &plain, &[1]);
    assert!(matches!(refusal(TextLength::between("x", 3, 2), &plain), Error::Stage { .. }));
    assert!(refusal(TextLength::at_least("x", 1), &column(Int64Array::from(vec![1]))).to_string().contains("text"));
}

fn orders() -> Dataset {
    table([
        ("start", Arc::new(Int64Array::from(vec![Some(1), Some(5), Some(3), None])) as ArrayRef),
        ("end", Arc::new(Int32Array::from(vec![Some(2), Some(4), Some(3), Some(1)]))),
        ("status", Arc::new(StringArray::from(vec![Some("REFUND"), Some("PAID"), Some("REFUND"), None]))),
        ("reason", Arc::new(StringArray::from(vec![Some("late"), None, None, None]))),
    ])
}

#[test]
fn columns_of_one_row_are_compared_and_nulls_pass() {
    fails(Compare::columns("end", Comparison::GtEq, "start"), &orders(), &[1]);
    fails(Compare::columns("end", Comparison::Gt, "start"), &orders(), &[1, 2]);
    fails(Compare::columns("end", Comparison::Eq, "start"), &orders(), &[0, 1]);
    let error = refusal(Compare::columns("end", Comparison::Eq, "status"), &orders());
    assert!(error.to_string().contains("my_rule") && error.to_string().contains("status"), "{error}");
}

#[test]
fn a_row_of_which_an_expression_is_false_is_marked() {
    fails(Holds::parse("status != 'REFUND' or reason is not null").unwrap(), &orders(), &[2]);
    fails(Holds::parse("start + end < 7").unwrap(), &orders(), &[1]);
    let error = refusal(Holds::parse("start + end").unwrap(), &orders()).to_string();
    assert!(error.contains("true or false") && error.contains("start"), "{error}");
    let json = serde_json::to_string(&crate::validate::Rule::from(Holds::parse("start>1").unwrap())).unwrap();
    assert_eq!(json, r#"{"kind":"holds","expr":"start > 1"}"#);
}

#[test]
fn a_rule_under_a_condition_sees_only_its_rows() {
    let refunds = || Expr::parse("status = 'REFUND'").unwrap();
    fails(When::holds(refunds(), NullRatio::of("reason")), &orders(), &[2]);
    let half = finding(When::holds(refunds(), NullRatio::of("reason").max(0.5)), &orders());
    assert!(half.passed && half.observed == Some(0.5) && half.rows == 4);
    fails(When::holds(Expr::parse("true").unwrap(), NullRatio::of("reason")), &orders(), &[1, 2, 3]);
    fails(When::holds(Expr::parse("end = 3 or start = 3").unwrap(), Unique::of(["status"])), &orders(), &[]);
    let wrap = |rule: crate::validate::Rule, _| When::holds(refunds(), rule).into();
    let deep: crate::validate::Rule = (0..4).fold(NullRatio::of("reason").into(), wrap);
    assert!(refusal(deep, &orders()).to_string().contains("at most 4 deep"));
}

#[test]
fn a_share_of_rows_may_break_a_rule() {
    let data = column(Int64Array::from_iter_values(0..20));
    let fit = || Range::of("x").at_least(1);
    let finding = |rule: Mostly| super::finding(rule, &data);
    assert!(finding(Mostly::of(fit(), 0.95)).passed);
    let failed = finding(Mostly::of(fit(), 0.96));
    assert!(!failed.passed && failed.failed_rows == 1 && failed.observed == Some(0.05));
    assert_eq!(finding(Mostly::of(fit(), 0.95).confidence(0.95)).decision(), Decision::Undecided);
    // 1 of 20: the upper bound of scipy's beta.ppf(0.95, 2, 19) is 0.216; of 20 of 20 the lower one is 0.861.
    assert_eq!(finding(Mostly::of(fit(), 0.78).confidence(0.95)).decision(), Decision::Passed);
    let never = Mostly::of(Range::of("x").at_least(100), 0.2).confidence(0.95);
    assert_eq!(finding(never).decision(), Decision::Failed);
    assert!(refusal(Mostly::of(NullRatio::of("x").max(0.1), 0.5), &data).to_string().contains("marks rows"));
    assert!(matches!(refusal(Mostly::of(fit(), 1.5), &data), Error::Stage { .. }));
}

#[test]
fn a_null_ratio_with_a_confidence_can_be_undecided() {
    let nulls =
        |nulls: usize, rows: usize| column((0..rows).map(|row| (row >= nulls).then_some(1)).collect::<Int64Array>());
    let rule = || NullRatio::of("x").max(0.8).confidence(0.95);
    let found = |few: usize, rows: usize| finding(rule(), &nulls(few, rows));
    assert_eq!(found(7, 10).decision(), Decision::Undecided);
    assert!(found(7, 10).passed && found(7, 10).detail.contains("undecided"));
    assert_eq!(found(700, 1000).decision(), Decision::Passed);
    assert_eq!(found(900, 1000).decision(), Decision::Failed);
    assert!((found(700, 1000).measures["upper"] - 0.7238772288409887).abs() < 1e-9, "scipy, see the bounds' own test");
}

#[test]
fn keys_are_looked_up_in_another_data_set() {
    let products = table([
        ("id", Arc::new(Int64Array::from(vec![Some(1), Some(2), None])) as ArrayRef),
        ("shop", Arc::new(StringArray::from(vec!["a", "b", "c"]))),
    ]);
    let sales = table([
        ("product", Arc::new(Int32Array::from(vec![Some(1), Some(3), None, Some(2)])) as ArrayRef),
        ("shop", Arc::new(StringViewArray::from(vec!["a", "a", "x", "a"]))),
    ]);
    let single = Refers::of(["product"], "products", ["id"]).unwrap();
    let both = Refers::of(["product", "shop"], "products", ["id", "shop"]).unwrap();
    let suite = Suite::new().rule("single", single.clone()).and_then(|s| s.rule("both", both)).unwrap();
    assert!(suite.run(&sales).unwrap_err().to_string().contains("`products` not found"));
    assert!(matches!(suite.clone().refer("shops", &products), Err(Error::NotFound { .. })));
    let suite = suite.refer("products", &products).unwrap();
    let report = suite.run(&sales).unwrap();
    let rows = |check: &str| -> Vec<u64> {
        report.samples.iter().filter(|s| s.check.as_str() == check).map(|s| s.row).collect()
    };
    assert_eq!((rows("single"), rows("both")), (vec![1], vec![1, 3]));
    let verdicts = suite.check_row(&sales.to_batch().unwrap()).unwrap();
    assert_eq!(verdicts.failed(3).count(), 1, "the same on the request path");
    let text = table([("product", Arc::new(StringArray::from(vec!["1"])) as ArrayRef)]);
    let error = Suite::new().rule("r", single).and_then(|s| s.refer("products", &products)).unwrap().run(&text);
    assert!(matches!(error, Err(Error::Stage { .. })));
}

#[test]
fn one_dip_is_one_mark() {
    let data = column(Int64Array::from(vec![Some(1), Some(3), None, Some(2), Some(2), Some(5)]));
    fails(Monotonic::rising("x"), &data, &[3]);
    fails(Monotonic::rising("x").strict(), &data, &[3, 4]);
    fails(Monotonic::falling("x"), &data, &[1, 5]);
    fails(Monotonic::rising("x"), &column(TimestampSecondArray::from(vec![5, 5, 4, 6])), &[2]);
    fails(Monotonic::falling("x").strict(), &column(Date32Array::from(vec![5, 5, 4])), &[1]);
    fails(Monotonic::rising("x"), &column(Float64Array::from(vec![1.0, f64::NAN, 0.5])), &[2]);
    fails(Monotonic::rising("x"), &column(UInt64Array::from(vec![1, u64::MAX, 2])), &[2]);
    assert!(matches!(refusal(Monotonic::rising("x"), &column(BooleanArray::from(vec![true]))), Error::Stage { .. }));
}

#[test]
fn order_is_kept_within_each_group() {
    let data = table([
        ("x", Arc::new(Int64Array::from(vec![5, 1, 6, 0, 5])) as ArrayRef),
        ("user", Arc::new(StringArray::from(vec![Some("a"), Some("b"), Some("a"), Some("b"), None]))),
    ]);
    fails(Monotonic::rising("x").per(["user"]), &data, &[3]);
}

#[test]
fn the_newest_row_is_not_too_old() {
    let day = |age: u64| Freshness::of("x", Duration::from_secs(age));
    let data = column(TimestampSecondArray::from(vec![Some(100), None, Some(50)]));
    let judge = |rule: Freshness, now: i64| {
        let suite = Suite::new().rule("fresh", rule).unwrap().at(EventTime::from_secs(now));
        suite.run(&data).unwrap().findings.remove(0)
    };
    assert!(judge(day(10), 110).passed);
    assert!(!judge(day(10), 111).passed);
    assert_eq!(judge(day(10), 111).observed, Some(11.0));
    assert!(judge(day(10), 50).passed);
    assert!(!judge(day(10).ahead(Duration::from_secs(49)), 50).passed);
    assert!(refusal(day(1), &data).to_string().contains("Suite::at"));
    let empty = column(TimestampSecondArray::from(Vec::<i64>::new()));
    let suite = Suite::new().rule("fresh", day(1)).unwrap().at(EventTime::EPOCH);
    assert!(!suite.run(&empty).unwrap().passed(Severity::Error));
}

#[test]
fn groups_are_measured_by_key() {
    let data = table([
        ("k", Arc::new(StringArray::from(vec![Some("a"), Some("b"), Some("a"), None, Some("a")])) as ArrayRef),
        ("v", Arc::new(Float64Array::from(vec![Some(1.0), Some(10.0), Some(3.0), Some(99.0), Some(f64::NAN)]))),
        ("w", Arc::new(Int64Array::from(vec![Some(1), None, Some(1), Some(2), Some(2)]))),
    ]);
    let group = |measure| Groups::of(["k"], measure);
    let v = || "v".to_owned();
    // Of a: 3 rows, values 1 and 3, two different w. Of b: 1 row, 10, none.
    let ok = |rule: Groups| finding(rule, &data).passed;
    assert!(ok(group(GroupMeasure::Count).at_least(1.0).at_most(3.0)));
    assert!(ok(group(GroupMeasure::Sum(v())).at_least(4.0).at_most(10.0)));
    assert!(ok(group(GroupMeasure::Mean(v())).at_least(2.0).at_most(10.0)));
    assert!(ok(group(GroupMeasure::Min(v())).at_least(1.0).at_most(10.0)));
    assert!(ok(group(GroupMeasure::Max(v())).at_least(3.0).at_most(10.0)));
    assert!(ok(group(GroupMeasure::Distinct("w".into())).at_least(0.0).at_most(2.0)));
    let failed = finding(group(GroupMeasure::Count).at_least(2.0), &data);
    assert!(!failed.passed && failed.observed == Some(0.5));
    assert_eq!(failed.detail, "1 in the group that starts at row 1");
    let measure = |name: &str| failed.measures[name];
    assert_eq!((measure("groups"), measure("failing_groups"), measure("without_key")), (2.0, 1.0, 1.0));
    assert_eq!((measure("least"), measure("greatest")), (1.0, 3.0));
    assert!(refusal(group(GroupMeasure::Count), &data).to_string().contains("bound"));
    assert!(refusal(group(GroupMeasure::Sum("k".into())).at_least(0.0), &data).to_string().contains("a number"));
}

#[test]
fn statistics_lie_between_bounds() {
    let data = column(Float64Array::from(vec![Some(1.0), Some(2.0), Some(3.0), Some(4.0), None, Some(f64::NAN)]));
    let found = |measure| finding(Statistic::of("x", measure).at_least(0.0), &data).observed.unwrap();
    assert_eq!(found(Measure::Mean), 2.5);
    assert!((found(Measure::StandardDeviation) - 1.2909944487358056).abs() < 1e-15, "numpy 2: std(ddof=1)");
    assert_eq!(found(Measure::Quantile(1.0)), 4.0);
    assert!(!finding(Statistic::of("x", Measure::Mean).at_most(2.4), &data).passed);
    assert!(finding(Statistic::of("x", Measure::Mean).at_least(2.5).at_most(2.5), &data).passed);
    assert!(refusal(Statistic::of("x", Measure::Quantile(1.5)).at_least(0.0), &data).to_string().contains("quantile"));
    assert!(refusal(Statistic::of("x", Measure::Mean).at_least(f64::NAN), &data).to_string().contains("bounds"));
}

#[test]
fn more_than_64_checks_set_bits_in_several_words() {
    let data = column(Int64Array::from_iter_values([1, 70, 200]));
    let suite = (0..70).try_fold(Suite::new(), |suite, i| suite.rule(format!("r{i:02}"), Range::of("x").at_least(i)));
    let folder = tempfile::tempdir().unwrap();
    let sink = crate::source::ParquetSink::new(folder.path().join("bad.parquet"));
    let outcome = suite.unwrap().run_with(&data, &RunOptions::new().quarantine(&sink)).unwrap();
    assert_eq!(outcome.report.mark_bits.len(), 70);
    let source = crate::source::ParquetSource::open(folder.path().join("bad.parquet")).unwrap();
    let back = Dataset::from_source(Arc::new(source)).unwrap().to_batch().unwrap();
    assert_eq!(back.num_rows(), 1, "1 fails r02 to r69; 70 and 200 fail none");
    let marks = arrow::array::AsArray::as_fixed_size_binary(&back["failed_checks"]).value(0).to_vec();
    let bits: Vec<usize> = (0..marks.len() * 8).filter(|bit| marks[bit / 8] >> (bit % 8) & 1 == 1).collect();
    assert_eq!(bits, (2..70).collect::<Vec<_>>());
    assert_eq!(marks.len(), 16);
}

#[test]
fn sensitive_values_stand_in_no_finding_of_any_rule() {
    let secret = table([
        ("x", Arc::new(StringArray::from(vec!["0987654321", "0987654321"])) as ArrayRef),
        ("n", Arc::new(Int64Array::from(vec![987654321, 7]))),
    ]);
    let hide = |name| move |schema: crate::Schema| schema.with_sensitivity(name, crate::schema::Sensitivity::Personal);
    let schema = hide("x")(secret.schema().clone()).and_then(hide("n")).unwrap();
    let secret = secret.with_schema(schema).unwrap();
    let suite = Suite::new()
        .rule("length", TextLength::between("x", 1, 2))
        .and_then(|s| s.rule("holds", Holds::parse("length(x) < 3").unwrap()))
        .and_then(|s| s.rule("groups", Groups::of(["x"], GroupMeasure::Count).at_most(1.0)))
        .and_then(|s| s.rule("unique", Unique::of(["x"])))
        .and_then(|s| s.rule("set", OneOf::of("x", ["a"])))
        .and_then(|s| s.rule("order", Monotonic::rising("n")))
        .unwrap();
    let report = suite.run(&secret).unwrap();
    assert_eq!(report.failures(Severity::Error).count(), 6);
    for text in [report.to_html(), report.to_string(), serde_json::to_string(&report).unwrap()] {
        assert!(!text.contains("987654321"), "{text}");
    }
    assert!(
        run(Unique::of(["x"]), &secret)
            .samples
            .iter()
            .all(|s| s.cells.iter().all(|c| c.value.to_string() == "(hidden)"))
    );
}
