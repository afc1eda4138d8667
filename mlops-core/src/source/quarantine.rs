//! Rows that do not fit, set aside instead of ending the scan.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{ArrayRef, RecordBatch, StringArray, UInt64Array};

use super::cells::shorten;
use crate::schema::Sensitivity;
use crate::{Dataset, Error, Result, Schema};

/// Bytes that are kept of one row.
const RAW_BYTES_MAX: usize = 64 << 10;

/// Takes the rows of text sources that do not fit their schema, so that the others can be used.
///
/// Clones share one state. For each source it holds what the latest scan met so far: every row is counted, the first
/// `rows_max` are kept with line, column, reason and raw text. The raw text may hold anything, so it is
/// [`Sensitivity::Secret`] in [`to_dataset`](Self::to_dataset) and not shown by `Debug`.
///
/// # Examples
/// ```
/// use mlops_core::source::{CsvSource, DataSource, Quarantine};
/// use mlops_core::Dataset;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("prices.csv");
/// std::fs::write(&path, "offer,price\n1,100\n2\n3,300\n")?;
/// let aside = Quarantine::keeping(100).fail_above(10);
/// let source = CsvSource::builder(&path).quarantine(aside.clone()).build()?;
/// assert_eq!(Dataset::collect(source.scan(&Default::default())?)?.num_rows()?, 2);
/// assert_eq!((aside.count(), aside.rows()[0].line), (1, 3));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Quarantine {
    rows_max: usize,
    fail_above: Option<u64>,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    scans: u64,
    sources: BTreeMap<String, Scan>,
}

#[derive(Debug, Default)]
struct Scan {
    number: u64,
    count: u64,
    rows: Vec<SetAside>,
}

/// One row that did not fit.
#[derive(Clone, PartialEq, Eq)]
pub struct SetAside {
    /// The file.
    pub location: String,
    /// Its line, counted from 1, where the row starts.
    pub line: u64,
    /// The column that did not fit, where it was a single one.
    pub column: Option<String>,
    /// What was wrong.
    pub reason: String,
    /// The row as it stands in the file, invalid UTF-8 replaced, the first 64 KiB of it.
    pub raw: String,
}

impl fmt::Debug for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("SetAside");
        shown.field("location", &self.location).field("line", &self.line).field("column", &self.column);
        shown.field("reason", &self.reason).finish_non_exhaustive()
    }
}

impl Quarantine {
    /// Keeps the first `rows_max` rows of each source and counts the others.
    pub fn keeping(rows_max: usize) -> Self {
        Self { rows_max, fail_above: None, state: Arc::default() }
    }

    /// Fails a scan that meets more than `rows` unfitting rows. Default: no limit.
    pub fn fail_above(mut self, rows: u64) -> Self {
        self.fail_above = Some(rows);
        self
    }

    /// Unfitting rows that the latest scan of each source has met so far.
    pub fn count(&self) -> u64 {
        self.lock().sources.values().map(|scan| scan.count).sum()
    }

    /// The rows that were kept, by source and line.
    pub fn rows(&self) -> Vec<SetAside> {
        self.lock().sources.values().flat_map(|scan| scan.rows.iter().cloned()).collect()
    }

    /// The rows that were kept as data: `location`, `line`, `column`, `reason` and `raw`, the last one secret. Write
    /// it to any sink.
    ///
    /// # Errors
    /// None at present; reserved for annotations that do not fit.
    pub fn to_dataset(&self) -> Result<Dataset> {
        let rows = self.rows();
        let texts = |text: fn(&SetAside) -> Option<&str>| Arc::new(rows.iter().map(text).collect::<StringArray>());
        let lines: UInt64Array = rows.iter().map(|row| Some(row.line)).collect();
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("location", texts(|row| Some(&row.location)) as ArrayRef, false),
            ("line", Arc::new(lines), false),
            ("column", texts(|row| row.column.as_deref()), true),
            ("reason", texts(|row| Some(&row.reason)), false),
            ("raw", texts(|row| Some(&row.raw)), false),
        ])?;
        let schema = Schema::new(batch.schema())?
            .with_sensitivity("reason", Sensitivity::Personal)?
            .with_sensitivity("raw", Sensitivity::Secret)?;
        Dataset::held(schema, [batch])
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Counting and pushing leave the state whole at every point, so a panic elsewhere does not spoil it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, location: &str) -> u64 {
        let mut state = self.lock();
        state.scans += 1;
        let number = state.scans;
        state.sources.insert(location.to_owned(), Scan { number, ..Scan::default() });
        number
    }

    /// Adds a row to scan `number`, unless a later scan of the same source has begun.
    fn add(&self, number: u64, row: SetAside) {
        let mut state = self.lock();
        if let Some(scan) = state.sources.get_mut(&row.location).filter(|scan| scan.number == number) {
            scan.count += 1;
            if scan.rows.len() < self.rows_max {
                scan.rows.push(row);
            }
        }
    }
}

/// Decides what becomes of unfitting rows in one scan: an error that names the place, or quarantine.
#[derive(Debug)]
pub(super) struct Gate {
    location: String,
    hide: bool,
    advice: String,
    quarantine: Option<(Quarantine, u64)>,
    met: u64,
}

/// What is wrong with a row, and where.
pub(super) struct Fault<'a> {
    pub(super) line: u64,
    pub(super) column: Option<&'a str>,
    pub(super) reason: &'a str,
    pub(super) value: Option<&'a str>,
    pub(super) raw: &'a [u8],
}

impl Gate {
    /// Values are shown in messages only if no column of `schema` is personal: in a row that does not fit, any
    /// value can be in any column. `advice` ends each message.
    pub(super) fn new(location: String, schema: &Schema, quarantine: Option<&Quarantine>, advice: String) -> Self {
        let quarantine = quarantine.map(|q| (q.clone(), q.begin(&location)));
        Self { location, hide: !schema.hidden().is_empty(), advice, quarantine, met: 0 }
    }

    /// # Errors
    /// [`Error::InvalidData`] when there is no quarantine, or more rows than it allows.
    pub(super) fn refuse(&mut self, fault: &Fault<'_>) -> Result<()> {
        let reason = match fault.value.filter(|_| !self.hide) {
            Some(value) => format!("`{}` is {}", shorten(value), fault.reason),
            None => fault.reason.to_owned(),
        };
        self.met += 1;
        let full = |allowed: u64| format!("{reason}; more than {allowed} rows do not fit");
        let reason = match &self.quarantine {
            None => format!("{reason}{}", self.advice),
            Some((q, _)) if q.fail_above.is_some_and(|allowed| self.met > allowed) => {
                full(q.fail_above.unwrap_or_default())
            }
            Some((quarantine, number)) => {
                let raw = &fault.raw[..fault.raw.len().min(RAW_BYTES_MAX)];
                quarantine.add(
                    *number,
                    SetAside {
                        location: self.location.clone(),
                        line: fault.line,
                        column: fault.column.map(str::to_owned),
                        reason,
                        raw: String::from_utf8_lossy(raw).into_owned(),
                    },
                );
                return Ok(());
            }
        };
        let place = match fault.column {
            Some(column) => format!("{}, line {}, column `{}`", self.location, fault.line, shorten(column)),
            None => format!("{}, line {}", self.location, fault.line),
        };
        Err(Error::invalid_data(place, reason))
    }
}
