//! What was found does not depend on how rows are cut into batches or laid out.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use proptest::prelude::*;

use crate::Dataset;
use crate::expr::Expr;
use crate::source::Comparison;
use crate::validate::{
    Columns, Compare, GroupMeasure, Groups, Holds, Monotonic, Mostly, NullRatio, OneOf, Pattern, Range, RowCount,
    RunOptions, Suite, TextLength, Unique, When,
};

type Row = (Option<i64>, Option<f64>, Option<String>);

fn batch(rows: &[Row], text: &DataType) -> RecordBatch {
    let ids: Int64Array = rows.iter().map(|row| row.0).collect();
    let reals: Float64Array = rows.iter().map(|row| row.1).collect();
    let texts: StringArray = rows.iter().map(|row| row.2.as_deref()).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(ids) as ArrayRef, true),
        ("real", Arc::new(reals), true),
        ("text", cast(&texts, text).unwrap(), true),
    ])
    .unwrap()
}

fn suite() -> Suite {
    Suite::new()
        .rule("nulls", NullRatio::of("id"))
        .and_then(|s| s.rule("null_share", NullRatio::of("text").max(0.3)))
        .and_then(|s| s.rule("id_range", Range::of("id").at_least(-2).below(3)))
        .and_then(|s| s.rule("real_range", Range::of("real").above(-0.5).at_most(0.5)))
        .and_then(|s| s.rule("set", OneOf::of("text", ["a", "b", "ab"])))
        .and_then(|s| s.rule("form", Pattern::of("text", "a?b*")))
        .and_then(|s| s.rule("key", Unique::of(["id"])))
        .and_then(|s| s.rule("keys", Unique::of(["id", "text", "real"])))
        .and_then(|s| s.rule("length", TextLength::between("text", 1, 1)))
        .and_then(|s| s.rule("compare", Compare::columns("id", Comparison::Gt, "real")))
        .and_then(|s| s.rule("holds", Holds::parse("length(text) + id > 1 or real is null").unwrap()))
        .and_then(|s| s.rule("order", Monotonic::rising("real")))
        .and_then(|s| s.rule("orders", Monotonic::falling("id").strict().per(["text"])))
        .and_then(|s| s.rule("groups", Groups::of(["text"], GroupMeasure::Distinct("id".into())).at_most(1.0)))
        .and_then(|s| s.rule("mostly", Mostly::of(Range::of("id").at_least(0), 0.5)))
        .and_then(|s| s.rule("when", When::holds(Expr::parse("text = 'a'").unwrap(), NullRatio::of("real"))))
        .and_then(|s| s.rule("whens", When::holds(Expr::parse("id > 0").unwrap(), Unique::of(["text"]))))
        .and_then(|s| s.rule("columns", Columns::of(["id", "real", "text"]).ordered().exact()))
        .and_then(|s| s.rule("rows", RowCount::between(5, 20)))
        .unwrap()
}

fn real() -> impl Strategy<Value = f64> {
    prop_oneof![Just(f64::NAN), Just(-0.0), Just(0.0), Just(f64::INFINITY), -1.0..1.0]
}

fn layout() -> impl Strategy<Value = DataType> {
    let dictionary = DataType::Dictionary(Box::new(DataType::Int8), Box::new(DataType::Utf8));
    prop_oneof![Just(DataType::Utf8), Just(DataType::LargeUtf8), Just(DataType::Utf8View), Just(dictionary)]
}

/// What the first rules should find, row by row and without Arrow.
fn expected(rows: &[Row]) -> Vec<u64> {
    let count = |fails: &dyn Fn(&Row) -> bool| rows.iter().filter(|row| fails(row)).count() as u64;
    let bits = |v: f64| if v.is_nan() { u64::MAX } else { (v + 0.0).to_bits() };
    let (mut ids, mut keys) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    let id_again = rows.iter().filter_map(|row| row.0).filter(|id| !ids.insert(*id)).count() as u64;
    let whole = rows.iter().filter_map(|row| Some((row.0?, bits(row.1?), row.2.clone()?)));
    let key_again = whole.filter(|key| !keys.insert(key.clone())).count() as u64;
    let form = |text: &str| text.strip_prefix('a').unwrap_or(text).chars().all(|c| c == 'b');
    vec![
        count(&|row| row.0.is_none()),
        0,
        count(&|row| row.0.is_some_and(|id| !(-2..3).contains(&id))),
        count(&|row| row.1.is_some_and(|v| v.is_nan() || v <= -0.5 || v > 0.5)),
        count(&|row| row.2.as_deref().is_some_and(|t| !["a", "b", "ab"].contains(&t))),
        count(&|row| row.2.as_deref().is_some_and(|t| !form(t))),
        id_again,
        key_again,
        count(&|row| row.2.as_deref().is_some_and(|t| t.len() != 1)),
        count(&|row| row.0.zip(row.1).is_some_and(|(id, real)| id as f64 <= real || real.is_nan())),
        count(&|row| {
            let known = row.0.zip(row.2.as_deref()).filter(|_| row.1.is_some());
            known.is_some_and(|(id, text)| text.len() as i64 + id <= 1)
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_found_depends_neither_on_cuts_nor_on_layout(
        rows in proptest::collection::vec(
            (proptest::option::of(-3_i64..4), proptest::option::of(real()), proptest::option::of("[ab]{0,3}")), 0..30),
        cuts in proptest::collection::vec(0_usize..30, 0..5),
        layout in layout(),
    ) {
        let plain = Dataset::from_batches([batch(&rows, &DataType::Utf8)]).unwrap();
        let all = RunOptions::new().samples(100);
        let one = suite().run_with(&plain, &all).unwrap().report;
        let counts: Vec<u64> = one.findings.iter().map(|finding| finding.failed_rows).collect();
        let expected = expected(&rows);
        prop_assert_eq!(&counts[..expected.len()], expected);
        let when = rows.iter().filter(|row| row.2.as_deref() == Some("a") && row.1.is_none()).count() as u64;
        prop_assert_eq!(one.finding("when").unwrap().failed_rows, when);

        let laid_out = batch(&rows, &layout);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rows.len())).collect();
        cuts.extend([0, rows.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|ends| laid_out.slice(ends[0], ends[1] - ends[0]));
        let cut = Dataset::from_batches(pieces).unwrap();
        let other = suite().run_with(&cut, &all).unwrap().report;
        prop_assert_eq!(&other.findings, &one.findings);
        prop_assert_eq!(&other.samples, &one.samples);
        prop_assert_eq!(other.rejected_rows, one.rejected_rows);
        prop_assert_eq!(suite().passing(&cut).unwrap().num_rows().unwrap(), one.rows - one.rejected_rows);

        let verdicts = suite().check_row(&laid_out).unwrap();
        for row in 0..rows.len() {
            let sampled = |check: &str| one.samples.iter().any(|s| s.check.as_str() == check && s.row == row as u64);
            for check in ["nulls", "id_range", "real_range", "set", "form", "length", "compare", "holds", "when"] {
                let failed = verdicts.failed(row).any(|(id, _)| id.as_str() == check);
                prop_assert_eq!(failed, sampled(check), "{} at {}", check, row);
            }
        }
    }
}
