//! What the rules of this crate have in common: finding their column, looking through dictionaries, counting.

use std::collections::BTreeMap;
use std::fmt::Debug;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::buffer::{BooleanBuffer, NullBuffer};
use arrow::compute::cast;
use arrow::datatypes::DataType;

use super::Scope;
use super::given::{Given, Shared};
use super::ratio::{Decision, Limit};
use crate::expr::Expr;
use crate::rowkey::RowSet;
use crate::schema::column;
use crate::{Error, Result, Schema};

/// A rule whose settings were checked.
pub(super) trait Kernel: Debug + Send + Sync + 'static {
    fn demand(&self) -> String;
    fn scope(&self) -> Scope;
    fn columns(&self) -> Vec<&str>;

    /// Expressions that it works out over whole batches.
    fn expressions(&self) -> Vec<&Expr> {
        Vec::new()
    }

    fn begin(&self, schema: &Schema, given: &Given) -> Result<Box<dyn KernelRun>>;
}

/// One run of a kernel.
pub(super) trait KernelRun: Send {
    fn update(&mut self, batch: &Shared<'_>) -> Result<Option<BooleanBuffer>>;

    /// Whether rows that were not marked may still turn out not to fit: only where [`Given::may_wait`] says so.
    fn waits(&self) -> bool {
        false
    }

    /// Called once after the last batch where rows wait: those that do not fit and were not marked.
    fn settle(&mut self) -> Result<RowSet> {
        Ok(RowSet::default())
    }

    fn finish(self: Box<Self>) -> Result<Verdict>;
}

/// What a run found.
#[derive(Debug, Default)]
pub(super) struct Verdict {
    pub(super) passed: bool,
    pub(super) failed_rows: u64,
    pub(super) observed: Option<f64>,
    pub(super) measures: BTreeMap<String, f64>,
    pub(super) detail: String,
}

/// Measures by name.
pub(super) fn measures<const N: usize>(named: [(&str, f64); N]) -> BTreeMap<String, f64> {
    named.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// `part / whole`, `None` for an empty whole.
pub(super) fn ratio(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Text that is safe in a line of a report: at most `chars_max` characters, control characters escaped.
pub(super) fn shorten(text: &str, chars_max: usize) -> String {
    let mut short: String = text.chars().take(chars_max).flat_map(printable).collect();
    if text.chars().nth(chars_max).is_some() {
        short.push('…');
    }
    short
}

/// A column's name as text of a report.
pub(super) fn quoted(column: &str) -> String {
    format!("`{}`", shorten(column, 80))
}

/// `c`, or how it is written where it would not be seen.
pub(super) fn printable(c: char) -> impl Iterator<Item = char> {
    let escaped = c.is_control().then(|| c.escape_default());
    let plain = escaped.is_none().then_some(c);
    escaped.into_iter().flatten().chain(plain)
}

/// A column that was found in the schema that a run began with.
#[derive(Clone, Debug)]
pub(super) struct Column {
    name: String,
    /// Where it was, and most likely is.
    place: usize,
    data_type: DataType,
}

impl Column {
    pub(super) fn find(schema: &Schema, name: &str) -> Result<Self> {
        let place = schema.index_of(name)?;
        Ok(Self { name: name.to_owned(), place, data_type: schema.arrow().field(place).data_type().clone() })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The column without a dictionary around its values.
    pub(super) fn plain(&self, batch: &RecordBatch) -> Result<ArrayRef> {
        let array = self.of(batch)?;
        match &self.data_type {
            DataType::Dictionary(_, values) => Ok(cast(array, values)?),
            _ => Ok(array.clone()),
        }
    }

    /// Type of the values, dictionaries looked through.
    pub(super) fn value_type(&self) -> &DataType {
        match &self.data_type {
            DataType::Dictionary(_, values) => values,
            plain => plain,
        }
    }

    /// The column cannot be judged; `expected` says what could.
    pub(super) fn unfit(&self, expected: &str) -> Error {
        Error::schema(&self.name, expected, &self.data_type)
    }

    pub(super) fn of<'a>(&self, batch: &'a RecordBatch) -> Result<&'a ArrayRef> {
        let found = column(batch, self.place, &self.name);
        let array = found.ok_or_else(|| Error::schema(&self.name, &self.data_type, "no column"))?;
        if array.data_type() != &self.data_type {
            return Err(Error::schema(&self.name, &self.data_type, array.data_type()));
        }
        Ok(array)
    }
}

/// Judges the values of a plain array (never a dictionary); what it says of nulls does not count.
pub(super) trait ValueTest: Send {
    fn failing(&self, values: &dyn Array) -> Result<BooleanBuffer>;
}

/// Counts of a run that judges rows one by one; nulls fit.
#[derive(Debug, Default)]
pub(super) struct Tally {
    rows: u64,
    failed: u64,
    nulls: u64,
}

impl Tally {
    /// Counts one value per row, true where it does not fit, and gives the marks without those of nulls.
    pub(super) fn take(&mut self, failing: BooleanBuffer, nulls: Option<NullBuffer>) -> BooleanBuffer {
        let failing = match nulls.filter(|nulls| nulls.null_count() > 0) {
            Some(nulls) => {
                self.nulls += nulls.null_count() as u64;
                &failing & nulls.inner()
            }
            None => failing,
        };
        self.rows += failing.len() as u64;
        self.failed += failing.count_set_bits() as u64;
        failing
    }

    pub(super) fn verdict(&self) -> Verdict {
        let passed = self.failed == 0;
        let failures = || format!("misfits in {} of {} rows", self.failed, self.rows);
        Verdict {
            passed,
            failed_rows: self.failed,
            observed: ratio(self.failed, self.rows),
            measures: measures([("nulls", self.nulls as f64)]),
            detail: if passed { String::new() } else { failures() },
        }
    }
}

/// The verdict on `part` of `rows` by `limit`.
pub(super) fn ratio_verdict(limit: Limit, part: u64, rows: u64, what: &str) -> Verdict {
    let judged = limit.judge(part, rows);
    let told = || format!("{what} in {part} of {rows} rows");
    let bounds = || format!("between {:.6} and {:.6} of all", judged.lower, judged.upper);
    let mut verdict =
        Verdict { passed: judged.decision != Decision::Failed, observed: ratio(part, rows), ..Verdict::default() };
    if limit.confidence.is_some() {
        let undecided = judged.decision == Decision::Undecided;
        let bits = [("lower", judged.lower), ("upper", judged.upper), (UNDECIDED, f64::from(u8::from(undecided)))];
        verdict.measures = measures(bits);
        verdict.detail = match judged.decision {
            Decision::Passed => String::new(),
            Decision::Failed => format!("{}, {}", told(), bounds()),
            Decision::Undecided => format!("undecided: {}, {}", told(), bounds()),
        };
    } else if !verdict.passed {
        verdict.detail = told();
    }
    verdict
}

/// Measure that is 1 where there are too few rows to say whether a share holds.
pub(super) const UNDECIDED: &str = "undecided";

/// A run that judges the values of one column, each on its own; nulls fit.
pub(super) struct ValueRun {
    column: Column,
    test: Box<dyn ValueTest>,
    tally: Tally,
}

impl ValueRun {
    pub(super) fn new(column: Column, test: impl ValueTest + 'static) -> Self {
        Self { column, test: Box::new(test), tally: Tally::default() }
    }
}

impl KernelRun for ValueRun {
    fn update(&mut self, batch: &Shared<'_>) -> Result<Option<BooleanBuffer>> {
        let array = self.column.of(batch)?;
        let failing = failing(self.test.as_ref(), array)?;
        Ok(Some(self.tally.take(failing, array.logical_nulls())))
    }

    fn finish(self: Box<Self>) -> Result<Verdict> {
        Ok(self.tally.verdict())
    }
}

/// Rows that fail `test`, nulls excepted. A dictionary is judged once per value unless it holds more than the rows.
fn failing(test: &dyn ValueTest, array: &dyn Array) -> Result<BooleanBuffer> {
    let Some(dictionary) = array.as_any_dictionary_opt() else {
        let failing = test.failing(array)?;
        return Ok(match array.nulls().filter(|nulls| nulls.null_count() > 0) {
            Some(nulls) => &failing & nulls.inner(),
            None => failing,
        });
    };
    let values = dictionary.values();
    if values.len() > array.len() {
        return failing(test, &cast(array, values.data_type())?);
    }
    let bad = failing(test, values)?;
    if bad.count_set_bits() == 0 {
        return Ok(BooleanBuffer::new_unset(array.len()));
    }
    let keys = dictionary.normalized_keys();
    let failing = BooleanBuffer::collect_bool(array.len(), |row| bad.value(keys[row]));
    Ok(match dictionary.keys().nulls() {
        Some(nulls) => &failing & nulls.inner(),
        None => failing,
    })
}

/// Judges text of any layout with one closure.
pub(super) fn failing_text(values: &dyn Array, fits: impl Fn(&str) -> bool) -> Option<BooleanBuffer> {
    let len = values.len();
    Some(match values.data_type() {
        DataType::Utf8 => {
            let values = values.as_string::<i32>();
            BooleanBuffer::collect_bool(len, |row| !fits(values.value(row)))
        }
        DataType::LargeUtf8 => {
            let values = values.as_string::<i64>();
            BooleanBuffer::collect_bool(len, |row| !fits(values.value(row)))
        }
        DataType::Utf8View => {
            let values = values.as_string_view();
            BooleanBuffer::collect_bool(len, |row| !fits(values.value(row)))
        }
        _ => return None,
    })
}
