//! Keys that wait on disk change nothing of what is found.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use proptest::prelude::*;

use super::suites::Kept;
use super::{column, finding};
use crate::expr::Expr;
use crate::source::{BatchStream, DataSource, ScanRequest, SourceInfo};
use crate::validate::{Mostly, NullRatio, Outcome, Range, RunOptions, Severity, Suite, Unique, When};
use crate::{Dataset, Error, Result, Schema};

type Row = (Option<i64>, Option<u8>);

fn batch(rows: &[Row]) -> RecordBatch {
    let ids: Int64Array = rows.iter().map(|row| row.0).collect();
    let texts: StringArray = rows.iter().map(|row| row.1.map(|text| format!("text {text}"))).collect();
    RecordBatch::try_from_iter_with_nullable([("id", Arc::new(ids) as ArrayRef, true), ("text", Arc::new(texts), true)])
        .unwrap()
}

fn suite(held_bytes_max: u64) -> Suite {
    let unique = |columns: &[&str]| Unique::of(columns.iter().copied()).held_bytes_max(held_bytes_max);
    let odd = || Expr::parse("id % 2 = 1").unwrap();
    let late = || Expr::parse("id > 500").unwrap();
    Suite::new()
        .rule("known", NullRatio::of("id"))
        .and_then(|s| s.rule("id", unique(&["id"])))
        .and_then(|s| s.rule("both", unique(&["id", "text"])))
        .and_then(|s| s.rule_at(Severity::Warning, "again", unique(&["text", "id"])))
        .and_then(|s| s.rule("small", Range::of("id").at_most(1_900)))
        .and_then(|s| s.rule("odd", When::holds(odd(), unique(&["id"]))))
        .and_then(|s| s.rule("odds", When::holds(odd(), When::holds(late(), unique(&["id", "text"])))))
        .and_then(|s| s.rule("mostly", Mostly::of(unique(&["id"]), 0.9)))
        .unwrap()
}

/// A run with both sinks, their rows, and the rows that pass when they are asked for.
fn judged(held_bytes_max: u64, data: &Dataset, samples: usize) -> (Outcome, [RecordBatch; 3]) {
    let (bad, good) = (Kept::default(), Kept::default());
    let options = RunOptions::new().samples(samples).digest().quarantine(&bad).passed(&good);
    let outcome = suite(held_bytes_max).run_with(data, &options).unwrap();
    let passing = suite(held_bytes_max).passing(data).unwrap().to_batch().unwrap();
    (outcome, [bad.rows(), good.rows(), passing])
}

fn row() -> impl Strategy<Value = Row> {
    (proptest::option::weighted(0.95, 0_i64..2_000), proptest::option::weighted(0.9, 0_u8..2))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]
    #[test]
    fn keys_that_wait_change_neither_findings_nor_samples_nor_where_rows_go(
        rows in proptest::collection::vec(row(), 2_000..4_000),
        cuts in proptest::collection::vec(0_usize..4_000, 0..20),
        samples in 0_usize..12,
    ) {
        let whole = batch(&rows);
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(rows.len())).collect();
        cuts.extend([0, rows.len()]);
        cuts.sort_unstable();
        let pieces = cuts.windows(2).map(|ends| whole.slice(ends[0], ends[1] - ends[0]));
        let data = Dataset::from_batches(pieces).unwrap();

        let held = judged(u64::MAX, &data, samples);
        prop_assert_eq!(&judged(0, &data, samples), &held);
        let (report, [bad, good, passing]) = (held.0.report, held.1);
        prop_assert_eq!(report.dataset, Some(data.digest().unwrap()));
        prop_assert_eq!(bad.num_rows() as u64, report.rejected_rows);
        prop_assert_eq!(good.num_rows() as u64, report.rows - report.rejected_rows);
        prop_assert_eq!(good, passing);

        // Without a sink, what waits is counted and shown all the same.
        let alone = suite(0).run_with(&data, &RunOptions::new().samples(samples)).unwrap().report;
        prop_assert_eq!(&alone.findings, &report.findings);
        prop_assert_eq!(&alone.samples, &report.samples);
        prop_assert_eq!(alone.rejected_rows, report.rejected_rows);
    }
}

#[test]
fn first_rows_stay_and_excess_rows_are_shown_wherever_their_key_waited() {
    // 768 keys are held; key 5 is one of them, key 1 000 is not, and each comes three times.
    let keys = (0..2_000).chain([1_000, 5, 1_000, 5]);
    let data = column(Int64Array::from_iter_values(keys));
    let rule = Unique::of(["x"]).held_bytes_max(0);
    super::fails(rule.clone(), &data, &[2_000, 2_001, 2_002, 2_003]);
    let found = finding(rule, &data);
    assert_eq!(found.measures["rows_in_duplicate_groups"], 6.0);
    assert_eq!((found.measures["distinct"], found.measures["excess_rows"]), (2_000.0, 4.0));
}

#[test]
fn rows_are_read_once_where_nothing_that_waited_is_asked_for() {
    let unique = || Suite::new().rule("key", Unique::of(["x"]).held_bytes_max(0)).unwrap();
    let scans = |keys: Vec<i64>, options: RunOptions<'_>| {
        let counted = Arc::new(Changing { scans: AtomicUsize::new(0), keys, lost: 0 });
        unique().run_with(&Dataset::from_source(counted.clone()).unwrap(), &options).unwrap();
        counted.scans.load(Ordering::Relaxed)
    };
    let (keys, twice) = ((0..5_000).collect::<Vec<_>>(), (0..5_000).chain([4_000]).collect::<Vec<_>>());
    assert_eq!(scans(keys.clone(), RunOptions::new()), 1);
    assert_eq!(scans(twice.clone(), RunOptions::new().samples(0)), 1);
    assert_eq!(scans(twice, RunOptions::new()), 2);
    let sink = Kept::default();
    assert_eq!(scans((0..700).collect(), RunOptions::new().passed(&sink)), 1);
    assert_eq!(scans(keys, RunOptions::new().passed(&sink)), 2);
}

#[test]
fn data_that_changes_between_two_readings_is_refused_and_nothing_is_written() {
    let unique = || Suite::new().rule("key", Unique::of(["x"]).held_bytes_max(0)).unwrap();
    for lost in [-1, 1] {
        let keys = (0..5_000).chain([4_999]).collect();
        let source = Arc::new(Changing { scans: AtomicUsize::new(0), keys, lost });
        let data = Dataset::from_source(source.clone()).unwrap();
        let sink = Kept::default();
        let error = unique().run_with(&data, &RunOptions::new().passed(&sink)).unwrap_err();
        assert!(matches!(error, Error::Conflict { .. }), "{error}");
        assert!(sink.is_empty());
    }
}

/// A source that counts how often it is scanned, and has `lost` rows less from the second scan on.
#[derive(Debug)]
struct Changing {
    scans: AtomicUsize,
    keys: Vec<i64>,
    lost: i64,
}

impl DataSource for Changing {
    fn info(&self) -> Result<SourceInfo> {
        Ok(SourceInfo::new("memory", "memory"))
    }

    fn schema(&self) -> Result<Schema> {
        Ok(column(Int64Array::from_iter_values([0])).schema().clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        let again = self.scans.fetch_add(1, Ordering::Relaxed) > 0;
        let rows = self.keys.len() as i64 - if again { self.lost } else { 0 };
        let keys = self.keys.iter().copied().chain([1 << 40]).take(rows as usize);
        let whole = column(Int64Array::from_iter_values(keys)).to_batch()?;
        let cut = move |row: usize| Ok(whole.slice(row, (rows as usize - row).min(1_024)));
        request.finish(BatchStream::new(self.schema()?, (0..rows as usize).step_by(1_024).map(cut)))
    }
}
