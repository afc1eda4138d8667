//! JSON lines: one object per line.

mod sink;
mod value;

pub use sink::{JsonSink, NonFinite};
pub(super) use value::{Json, Members};

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;

use super::cells::{Misfit, Rows, ensure_textual};
use super::compression::{Input, read_failed};
use super::infer::{Guess, SAMPLE_BYTES_MAX, Sample, advice};
use super::local::shown;
use super::medium::{StandIn, info};
use super::quarantine::{Fault, Gate};
use super::{
    BatchStream, COLUMNS_MAX, DataSource, ExtraColumns, InferenceReport, Quarantine, RECORD_BYTES_MAX,
    SAMPLE_ROWS_DEFAULT, ScanRequest, SourceInfo,
};
use crate::{Error, Result, Schema};

/// Rows of a JSON-lines file: one object per line (UTF-8; blank lines are skipped).
///
/// * A name that ends in `.gz` or `.zst` is of packed text, which is unpacked as it is read.
/// * A key that a line leaves out is null. Columns may be lists and objects.
/// * Text is never taken for a number, nor a number for text; numbers that do not fit the column's type do not fit the
///   row. Times are RFC 3339 text, read to the microsecond, naive ones as UTC; dates are `YYYY-MM-DD`.
/// * Where types are inferred, columns are in the order of their first appearance, and one whose values are of several kinds is text
///   that keeps each value as it is spelt; the report says so.
/// * A line that does not fit (syntax, a key twice, an unknown key, type, null) is [`Error::InvalidData`] naming file, line and column, or
///   goes to a [`Quarantine`]. Values stand in messages only when no column is personal.
///
/// # Examples
/// ```
/// use mlops_core::source::{DataSource, JsonSource, ScanRequest};
/// use mlops_core::Dataset;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("clicks.jsonl");
/// std::fs::write(&path, "{\"offer\":1,\"at\":\"2024-01-01T08:00:00+07:00\"}\n{\"offer\":2}\n")?;
/// let clicks = Dataset::collect(JsonSource::open(&path)?.scan(&ScanRequest::all())?)?;
/// assert_eq!(clicks.to_batch()?.column(1).null_count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct JsonSource {
    settings: JsonSourceBuilder,
    schema: Schema,
    report: Option<InferenceReport>,
}

/// Settings of a [`JsonSource`].
#[derive(Clone, Debug)]
pub struct JsonSourceBuilder {
    path: PathBuf,
    stand_in: StandIn,
    schema: Option<Schema>,
    extra_columns: ExtraColumns,
    sample_rows: usize,
    quarantine: Option<Quarantine>,
}

impl JsonSourceBuilder {
    /// Reads what `medium` holds in place of the file, whose path is for messages then.
    pub(super) fn stand_in(mut self, medium: std::sync::Arc<dyn super::medium::Medium>) -> Self {
        self.stand_in = Some(medium);
        self
    }

    /// The schema that rows must fit. Default: inferred from a sample.
    pub fn schema(mut self, schema: Schema) -> Self {
        self.schema = Some(schema);
        self
    }

    /// What becomes of keys that the schema does not name. Default [`ExtraColumns::Refuse`].
    pub fn extra_columns(mut self, extra: ExtraColumns) -> Self {
        self.extra_columns = extra;
        self
    }

    /// Rows to infer types from, at the most; at least 1. Default [`SAMPLE_ROWS_DEFAULT`].
    pub fn sample_rows(mut self, rows: usize) -> Self {
        self.sample_rows = rows;
        self
    }

    /// Where rows go that do not fit. Default: nowhere, they are errors.
    pub fn quarantine(mut self, quarantine: Quarantine) -> Self {
        self.quarantine = Some(quarantine);
        self
    }

    /// Checks the settings, and reads a sample when no schema is given.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a sample of 0 rows, [`Error::NotFound`] when there is no file, [`Error::InvalidData`] when there is
    /// nothing to infer columns from, [`Error::Schema`] when the schema has a type that JSON lines cannot hold.
    pub fn build(self) -> Result<JsonSource> {
        if self.sample_rows == 0 {
            return Err(Error::invalid("sample_rows", 0, "at least 1"));
        }
        let mut lines = LineReader::new(Input::open(&self.path, &self.stand_in)?, &self.path);
        let (schema, report) = if let Some(schema) = self.schema.clone() {
            schema.arrow().fields().iter().try_for_each(|f| ensure_textual(f, true))?;
            (schema, None)
        } else {
            let (schema, report) = self.infer(&mut lines)?;
            (schema, Some(report))
        };
        Ok(JsonSource { settings: self, schema, report })
    }

    fn infer(&self, lines: &mut LineReader) -> Result<(Schema, InferenceReport)> {
        let (mut sample, mut places) = (Sample::default(), BTreeMap::new());
        let (mut bytes, mut wrong, mut complete) = (0, 0, false);
        while sample.rows + wrong < self.sample_rows as u64 && bytes < SAMPLE_BYTES_MAX {
            let Some(line) = lines.next()? else {
                complete = true;
                break;
            };
            bytes += line.len();
            // Lines that are no objects fit no schema; the scan will name them.
            let Ok(Json::Object(members)) = serde_json::from_slice(line) else {
                wrong += 1;
                continue;
            };
            sample.rows += 1;
            for (key, value) in members {
                let next = places.len();
                let index = *places.entry(key.clone()).or_insert(next);
                if index == next {
                    sample.columns.push((key, Guess::Nothing, 0));
                }
                sample.add(index, Guess::of_json(&value));
            }
            if places.len() > COLUMNS_MAX {
                return Err(Error::invalid_data(
                    shown(&self.path),
                    format!("more than {COLUMNS_MAX} keys to make columns of"),
                ));
            }
        }
        if sample.columns.is_empty() {
            return Err(Error::invalid_data(shown(&self.path), "there is no object to infer columns from"));
        }
        sample.finish(&shown(&self.path), complete)
    }
}

impl JsonSource {
    /// A source with inferred types.
    ///
    /// # Errors
    /// What [`JsonSourceBuilder::build`] says.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        Self::builder(path).build()
    }

    /// Settings for the file at `path`.
    pub fn builder(path: impl Into<PathBuf>) -> JsonSourceBuilder {
        JsonSourceBuilder {
            path: path.into(),
            stand_in: None,
            schema: None,
            extra_columns: ExtraColumns::default(),
            sample_rows: SAMPLE_ROWS_DEFAULT,
            quarantine: None,
        }
    }

    /// What the types were inferred from; `None` when the schema was given.
    pub fn inference(&self) -> Option<&InferenceReport> {
        self.report.as_ref()
    }
}

impl DataSource for JsonSource {
    fn info(&self) -> Result<SourceInfo> {
        info(&self.settings.path, "json_lines", &self.settings.stand_in)
    }

    fn schema(&self) -> Result<Schema> {
        self.info()?;
        Ok(self.schema.clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        let JsonSourceBuilder { path, stand_in, quarantine, extra_columns, .. } = &self.settings;
        let wanted = request.columns_to_read(&self.schema)?;
        let read = if quarantine.is_some() { self.schema.clone() } else { self.schema.project(&wanted)? };
        let mixed = self.report.iter().flat_map(|r| &r.columns).filter(|c| c.mixed).map(|c| c.name.clone());
        let scan = Scan {
            lines: LineReader::new(Input::open(path, stand_in)?, path),
            gate: Gate::new(shown(path), &self.schema, quarantine.as_ref(), advice(self.report.as_ref())),
            rows: Rows::new(read.clone(), &mixed.collect::<Vec<_>>())?,
            known: (*extra_columns == ExtraColumns::Refuse).then(|| self.schema.names().map(str::to_owned).collect()),
            batch_rows: request.rows_per_batch(),
        };
        request.finish(BatchStream::new(read, scan))
    }
}

struct Scan {
    lines: LineReader,
    gate: Gate,
    rows: Rows,
    /// The keys that may occur, if others may not.
    known: Option<BTreeSet<String>>,
    batch_rows: usize,
}

impl Iterator for Scan {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let ended = match self.fill() {
                Ok(ended) => ended,
                Err(error) => return Some(Err(error)),
            };
            match self.rows.take() {
                Ok(batch) if batch.num_rows() == 0 && ended => return None,
                Ok(batch) if batch.num_rows() == 0 => {}
                batch => return Some(batch),
            }
        }
    }
}

impl Scan {
    /// Reads rows until a batch is full; true at the end of the file.
    fn fill(&mut self) -> Result<bool> {
        while !self.rows.is_full(self.batch_rows) {
            if self.lines.next()?.is_none() {
                return Ok(true);
            }
            let (raw, line) = (self.lines.text.as_slice(), self.lines.number);
            let fault = |column, reason, value| Fault { line, column, reason, value, raw };
            let members = match object(raw) {
                Ok(members) => members,
                Err(reason) => {
                    self.gate.refuse(&fault(None, &reason, None))?;
                    continue;
                }
            };
            if let Some(known) = &self.known
                && let Some((key, _)) = members.iter().find(|(key, _)| !known.contains(key))
            {
                self.gate.refuse(&fault(Some(key), "no column of the schema", None))?;
                continue;
            }
            let mut misfit: Option<(usize, &Json, Misfit)> = None;
            let members = Members::of(&members);
            for (column, cells) in self.rows.cells.iter_mut().enumerate() {
                let value = members.value(column, cells.name()).unwrap_or(&Json::Null);
                if let Err(reason) = cells.append_json(value) {
                    misfit = Some((column, value, reason));
                    break;
                }
            }
            let filled = misfit.as_ref().map_or(self.rows.cells.len(), |(column, ..)| column + 1);
            self.rows.end_row(filled, misfit.is_none(), raw.len());
            if let Some((column, value, reason)) = misfit {
                let name = self.rows.cells[column].name();
                self.gate.refuse(&fault(Some(name), &reason, Some(&value.to_string())))?;
            }
        }
        Ok(false)
    }
}

/// The object on a line. What serde says beyond the position may quote the line, so it is left out.
fn object(line: &[u8]) -> Result<Vec<(String, Json)>, Misfit> {
    match serde_json::from_slice(line) {
        Ok(Json::Object(members)) => Ok(members),
        Ok(_) => Err("not a JSON object".into()),
        Err(_) if std::str::from_utf8(line).is_err() => Err("not UTF-8".into()),
        Err(e) if e.is_eof() => Err("the JSON object is cut off".into()),
        Err(e) if e.to_string().starts_with("a key is there twice") => Err("a key is there twice".into()),
        Err(e) => Err(format!("not JSON at column {}", e.column()).into()),
    }
}

/// Lines with something on them.
struct LineReader {
    reader: BufReader<Input>,
    path: PathBuf,
    text: Vec<u8>,
    number: u64,
}

impl LineReader {
    fn new(file: Input, path: &Path) -> Self {
        Self { reader: BufReader::with_capacity(1 << 16, file), path: path.to_owned(), text: Vec::new(), number: 0 }
    }

    /// The next line that is not blank.
    fn next(&mut self) -> Result<Option<&[u8]>> {
        loop {
            self.text.clear();
            let mut bounded = self.reader.by_ref().take(RECORD_BYTES_MAX as u64 + 1);
            let bytes = bounded.read_until(b'\n', &mut self.text).map_err(|e| read_failed(&self.path, e))?;
            if bytes == 0 {
                return Ok(None);
            }
            self.number += 1;
            let place = || format!("{}, line {}", shown(&self.path), self.number);
            if bytes > RECORD_BYTES_MAX {
                return Err(Error::invalid_data(place(), format!("a line of more than {RECORD_BYTES_MAX} bytes")));
            }
            if self.number == 1 {
                if self.text.starts_with(&[0xEF, 0xBB, 0xBF]) {
                    self.text.drain(..3);
                } else if self.text.starts_with(&[0xFF, 0xFE]) || self.text.starts_with(&[0xFE, 0xFF]) {
                    return Err(Error::invalid_data(shown(&self.path), "UTF-16 text; convert it to UTF-8"));
                }
            }
            while self.text.last().is_some_and(u8::is_ascii_whitespace) {
                self.text.pop();
            }
            if !self.text.is_empty() {
                return Ok(Some(&self.text));
            }
        }
    }
}

#[cfg(test)]
mod tests;
