//! The contract of [`Check`].

use arrow::array::{Array, RecordBatch};
use arrow::util::display::array_value_to_string;

use super::cuts::{cuts, names_a_column, rearranged, schema, singles, whole, without};
use crate::schema::Sensitivity;
use crate::validate::{Check, Finding, Scope};
use crate::{Dataset, Schema};

/// Values shorter than this may stand in a finding by chance.
const TELLING_CHARS_MIN: usize = 6;

/// Checks the contract of [`Check`] on checks made by `make`, all with the same settings.
///
/// `good` must pass and `bad` must fail; both are small tables (up to some thousand rows) that the check can be applied to.
///
/// # Panics
/// With the sentence that does not hold.
pub fn check<C: Check>(make: impl Fn() -> C, good: &Dataset, bad: &Dataset) {
    assert_eq!(make().id(), make().id(), "the id is stable");
    let subject = make();
    for (data, expected) in [(good, true), (bad, false)] {
        let (finding, _) = run(&subject, &schema(&whole(data)), &[whole(data)]);
        assert_eq!(finding.passed, expected, "good data pass and bad data fail: {finding:?}");
        assert_eq!(&finding.check, subject.id(), "a finding carries the id of its check");
        assert_eq!(finding.severity, subject.severity(), "a finding carries the severity of its check");
        cuts_do_not_matter(&subject, data);
        only_named_columns_are_read(&subject, data);
        sensitive_values_are_not_quoted(&subject, data);
        if subject.scope() == Scope::Row {
            a_row_alone_is_judged_like_in_a_table(&subject, data);
        }
    }
    runs_do_not_share_anything(&subject, good, bad);
    an_empty_table_has_a_verdict(&subject, good);
    a_missing_column_is_named(&subject, good);
}

/// One run over `batches`: the finding, and the marks of all rows.
fn run(check: &dyn Check, schema: &Schema, batches: &[RecordBatch]) -> (Finding, Vec<bool>) {
    let mut run = check.begin(schema).expect("a run begins on a table that fits");
    let mut all = Vec::new();
    for batch in batches {
        let marks = run.update(batch).expect("a batch of the schema is taken");
        let marked = check.scope() != Scope::Table;
        assert_eq!(marks.is_some(), marked, "rows are marked exactly when the scope says so");
        if let Some(marks) = marks {
            assert_eq!(marks.len(), batch.num_rows(), "there is one mark per row");
            all.extend(marks.iter().map(|mark| mark == Some(true)));
        }
    }
    let finding = run.finish().expect("a run ends with a finding");
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(finding.rows, rows as u64, "a finding counts the rows that it saw");
    assert!(finding.observed.is_none_or(f64::is_finite), "what was observed is finite");
    assert!(finding.measures.values().all(|value| value.is_finite()), "measures are finite");
    if check.scope() != Scope::Table {
        let marked = all.iter().filter(|mark| **mark).count();
        assert_eq!(finding.failed_rows, marked as u64, "a finding counts the rows that it marked");
    }
    (finding, all)
}

fn cuts_do_not_matter(check: &dyn Check, data: &Dataset) {
    let batch = whole(data);
    let (expected, expected_marks) = run(check, &schema(&batch), std::slice::from_ref(&batch));
    for cut in cuts(&batch) {
        let (finding, marks) = run(check, &schema(&batch), &cut);
        assert_eq!(marks, expected_marks, "marks do not depend on how rows are cut");
        let verdict = |finding: &Finding| (finding.passed, finding.failed_rows);
        assert_eq!(verdict(&finding), verdict(&expected), "the verdict does not depend on how rows are cut");
    }
}

fn only_named_columns_are_read(check: &dyn Check, data: &Dataset) {
    let batch = whole(data);
    let full = schema(&batch);
    let (expected, expected_marks) = run(check, &full, std::slice::from_ref(&batch));
    let mut needed = batch.clone();
    for name in full.names().filter(|name| !check.columns().contains(name)) {
        needed = without(&needed, name);
    }
    let (finding, marks) = run(check, &full, &[needed]);
    assert_eq!((finding.passed, marks), (expected.passed, expected_marks), "only the columns named are read");
}

fn sensitive_values_are_not_quoted(check: &dyn Check, data: &Dataset) {
    let batch = whole(data);
    let hide = |schema: Schema, name: &str| schema.with_sensitivity(name, Sensitivity::Secret).expect("it exists");
    let plain = schema(&batch);
    let secret = plain.names().fold(plain.clone(), hide);
    let attached = secret.attach(&batch).expect("the same columns");
    let (finding, _) = run(check, &secret, &[attached]);
    for (name, array) in plain.names().zip(batch.columns()) {
        for row in 0..array.len() {
            let value = array_value_to_string(array, row).expect("a value has a text");
            let quoted = value.chars().count() >= TELLING_CHARS_MIN && finding.detail.contains(&value);
            assert!(!quoted, "a value of the sensitive column `{name}` is not quoted");
        }
    }
}

fn a_row_alone_is_judged_like_in_a_table(check: &dyn Check, data: &Dataset) {
    let batch = whole(data);
    let (_, expected) = run(check, &schema(&batch), std::slice::from_ref(&batch));
    for (row, expected) in singles(&batch).zip(expected) {
        let (_, marks) = run(check, &schema(&row), std::slice::from_ref(&row));
        assert_eq!(marks, [expected], "a row alone is judged like in a table");
    }
}

fn runs_do_not_share_anything(check: &dyn Check, good: &Dataset, bad: &Dataset) {
    let (good, bad) = (whole(good), whole(bad));
    let mut first = check.begin(&schema(&bad)).expect("a run begins");
    first.update(&bad).expect("a batch of the schema is taken");
    let (finding, _) = run(check, &schema(&good), &[good]);
    assert!(finding.passed, "one run does not see what another one saw");
    assert!(!first.finish().expect("a run ends with a finding").passed, "two runs can be open at once");
}

fn an_empty_table_has_a_verdict(check: &dyn Check, data: &Dataset) {
    let batch = whole(data);
    let empty = schema(&batch);
    let (none, _) = run(check, &empty, &[]);
    let (zero, _) = run(check, &empty, &[batch.slice(0, 0)]);
    assert_eq!(none.passed, zero.passed, "no batch and an empty batch are the same");
}

fn a_missing_column_is_named(check: &dyn Check, data: &Dataset) {
    let batch = whole(data);
    for name in check.columns() {
        let lacking = without(&batch, name);
        let Err(error) = check.begin(&schema(&lacking)) else {
            panic!("a run does not begin on a table without `{name}`");
        };
        assert!(names_a_column(&error), "a missing column is `NotFound` or `Schema`: {error}");
        let mut run = check.begin(&schema(&batch)).expect("a run begins");
        assert!(run.update(&lacking).is_err(), "a batch without `{name}` is refused");
    }
    let turned = rearranged(&batch);
    let (as_it_was, _) = run(check, &schema(&batch), &[batch]);
    if check.columns().is_empty() {
        return;
    }
    let (after, _) = run(check, &schema(&turned), &[turned]);
    assert_eq!(after.passed, as_it_was.passed, "columns are found by name");
}
