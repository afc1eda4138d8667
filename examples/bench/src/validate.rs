//! Twenty-five rules over one table of orders in one pass, with the rows that fail captured.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use mlops_core::Dataset;
use mlops_core::expr::Expr;
use mlops_core::source::{Comparison, ParquetSource};
use mlops_core::time::EventTime;
use mlops_core::validate::{
    Columns, Compare, Finding, Holds, Measure, Monotonic, NullRatio, OneOf, Pattern, Range, RowCount, Rule, RunOptions,
    Statistic, Suite, TextLength, Unique, When,
};
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Map, Value, json};

use crate::Outcome;

const COLUMNS: [&str; 14] = [
    "order_id",
    "customer_id",
    "product_id",
    "ts",
    "start_s",
    "end_s",
    "amount",
    "tax",
    "total",
    "phone",
    "status",
    "email",
    "refund_reason",
    "score",
];

/// The rules by the names that the peers give them; `rows` is how many there are to be, give or take 2 %.
pub(crate) fn rules(rows: u64) -> mlops_core::Result<Vec<(&'static str, Rule)>> {
    let refund = Expr::parse("status = 'REFUND'")?;
    let start = EventTime::parse("2020-09-01T00:00:00Z")?;
    Ok(vec![
        ("r01_order_id_not_null", NullRatio::of("order_id").into()),
        ("r02_order_id_unique", Unique::of(["order_id"]).into()),
        ("r03_order_ts_unique", Unique::of(["order_id", "ts"]).into()),
        ("r04_customer_range", Range::of("customer_id").at_least(1).at_most(1_000_000).into()),
        ("r05_product_ref", OneOf::of("product_id", 1..=10_000_i64).into()),
        ("r06_ts_not_null", NullRatio::of("ts").into()),
        ("r07_ts_min", Range::of("ts").at_least(start).into()),
        ("r08_ts_monotonic", Monotonic::rising("ts").into()),
        ("r09_end_ge_start", Compare::columns("end_s", Comparison::GtEq, "start_s").into()),
        ("r10_amount_null_ratio", NullRatio::of("amount").max(0.05).into()),
        ("r11_amount_nonneg", Range::of("amount").at_least(0).into()),
        ("r12_amount_max", Range::of("amount").below(10_000).into()),
        ("r13_tax_min", Range::of("tax").at_least(-1000).into()),
        ("r14_total_eq", Holds::parse("abs(total - amount - tax) <= 0.011")?.into()),
        ("r15_phone_null_ratio", NullRatio::of("phone").max(0.05).into()),
        ("r16_phone_regex", Pattern::of("phone", "0[35789][0-9]{8}").into()),
        ("r17_phone_len", TextLength::between("phone", 10, 10).into()),
        ("r18_status_set", OneOf::of("status", ["NEW", "PAID", "FAILED", "REFUND"]).into()),
        ("r19_status_not_null", NullRatio::of("status").into()),
        ("r20_email_regex", Pattern::of("email", r"[^@\s]+@[^@\s]+\.[^@\s]+").into()),
        ("r21_refund_reason", When::holds(refund, NullRatio::of("refund_reason")).into()),
        ("r22_score_range", Range::of("score").at_least(0).at_most(1).into()),
        ("r23_mean_amount", Statistic::of("amount", Measure::Mean).at_least(70.0).at_most(90.0).into()),
        ("r24_row_count", RowCount::between(rows * 98 / 100, rows * 102 / 100).into()),
        ("r25_schema", Columns::of(COLUMNS).ordered().exact().into()),
    ])
}

/// Rows that do not fit; 1 for what does not fit as a whole.
pub(crate) fn failing(finding: &Finding) -> u64 {
    if finding.failed_rows == 0 { (!finding.passed).into() } else { finding.failed_rows }
}

/// Checks `valid.parquet` in `folder`. The checksum is the count of each rule, and whether all are those of the peers
/// where `valid_expected.json` says them.
pub(crate) fn run(folder: &Path) -> Result<Outcome, Box<dyn std::error::Error>> {
    let path = folder.join("valid.parquet");
    // From the footer: the data set itself would read everything to count.
    let footer = SerializedFileReader::new(File::open(&path)?)?;
    let rules = rules(footer.metadata().file_metadata().num_rows().unsigned_abs())?;
    let data = Dataset::from_source(Arc::new(ParquetSource::open(path)?))?;
    let names: Vec<&str> = rules.iter().map(|(name, _)| *name).collect();
    let suite = rules.into_iter().try_fold(Suite::new(), |suite, (name, rule)| suite.rule(name, rule))?;
    let report = suite.run_with(&data, &RunOptions::new().samples(100))?.report;
    let mut counts = Map::new();
    for finding in &report.findings {
        counts.insert(finding.check.to_string(), json!(failing(finding)));
    }
    let mut figures = Map::new();
    if let Ok(expected) = std::fs::read_to_string(folder.join("valid_expected.json")) {
        let expected: Map<String, Value> = serde_json::from_str(&expected)?;
        let equal = names.iter().all(|name| counts.get(*name) == expected.get(*name));
        figures.insert("equal".into(), json!(equal));
    }
    figures.insert("samples".into(), json!(report.samples.len()));
    figures.insert("failing".into(), Value::Object(counts));
    Ok(Outcome { rows: report.rows, figures })
}
