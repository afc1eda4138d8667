//! Comma-separated values: a source with types given or inferred, and a sink that it reads back exactly.

mod records;
mod sink;
mod sniff;

pub use records::{COLUMNS_MAX, RECORD_BYTES_MAX};
pub use sink::{CsvSink, CsvSinkBuilder};
pub use sniff::SniffReport;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use arrow::array::RecordBatch;

use self::records::{Dialect, Record, Records};
use super::cells::{Misfit, Rows, ensure_textual, shorten};
use super::compression::Input;
use super::infer::{Guess, SAMPLE_BYTES_MAX, Sample, advice};
use super::local::{in_file, shown};
use super::medium::{StandIn, info};
use super::quarantine::{Fault, Gate};
use super::{
    BatchStream, DataSource, ExtraColumns, InferenceReport, Quarantine, SAMPLE_ROWS_DEFAULT, ScanRequest, SourceInfo,
};
use crate::{Error, Result, Schema};

/// Rows of a CSV file (RFC 4180; UTF-8 with or without a byte-order mark; lines end in LF or CRLF).
///
/// * With a header, columns are matched by name; an empty header name becomes `column_N`. Without one they are matched by
///   position and named `column_1`, `column_2` … when no schema is given.
/// * A cell without quotes that equals a null text is null; a quoted one is text, and null in a column that is not text.
/// * Times are RFC 3339, read to the microsecond, naive ones as UTC; dates are `YYYY-MM-DD`; booleans `true`, `false`, `1`, `0`.
/// * A row that does not fit (field count, type, null, UTF-8, quotes) is [`Error::InvalidData`] naming file, line and column, or goes
///   to a [`Quarantine`]. Values stand in messages only when no column is personal.
/// * A name that ends in `.gz` or `.zst` is of packed text, which is unpacked as it is read.
/// * A blank line is a null row of a one-column file and skipped in a wider one.
///
/// A projected scan reads only the cells it needs, unless there is a quarantine, which judges whole rows.
///
/// # Examples
/// ```
/// use mlops_core::source::{CsvSource, DataSource, ScanRequest};
/// use mlops_core::Dataset;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("offers.csv");
/// std::fs::write(&path, "offer;price;since\n1;9.5;2024-01-01\n2;;2024-02-01\n")?;
///
/// let source = CsvSource::builder(&path).delimiter(b';').build()?;
/// let prices = Dataset::collect(source.scan(&ScanRequest::all().columns(["price"]))?)?;
/// assert_eq!(prices.num_rows()?, 2);
/// let report = source.inference().expect("no schema was given");
/// assert_eq!((report.rows, report.columns[1].nulls), (2, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct CsvSource {
    settings: CsvSourceBuilder,
    dialect: Dialect,
    schema: Schema,
    /// For each field of the file, the column of the schema.
    columns: Vec<Option<usize>>,
    header: Option<Vec<String>>,
    report: Option<InferenceReport>,
    sniffed: Option<SniffReport>,
}

/// Settings of a [`CsvSource`].
#[derive(Clone, Debug)]
pub struct CsvSourceBuilder {
    path: PathBuf,
    stand_in: StandIn,
    schema: Option<Schema>,
    delimiter: u8,
    quote: Option<u8>,
    header: bool,
    sniff: bool,
    null_texts: Vec<String>,
    extra_columns: ExtraColumns,
    sample_rows: usize,
    quarantine: Option<Quarantine>,
}

impl CsvSourceBuilder {
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

    /// The byte between fields. Default `,`.
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self
    }

    /// The byte around fields, doubled inside of them; `None` when quotes are plain text. Default `"`.
    pub fn quote(mut self, quote: Option<u8>) -> Self {
        self.quote = quote;
        self
    }

    /// Whether the first record names the columns. Default true.
    pub fn header(mut self, header: bool) -> Self {
        self.header = header;
        self
    }

    /// Finds delimiter, quote and header by looking at the beginning of the file, whatever else was said of them;
    /// [`CsvSource::sniffed`] tells what was found and how surely. Default: they are as set.
    pub fn sniff(mut self) -> Self {
        self.sniff = true;
        self
    }

    /// The texts that stand for null, compared as they are. Default: the empty text only.
    pub fn null_texts(mut self, texts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.null_texts = texts.into_iter().map(Into::into).collect();
        self
    }

    /// What becomes of columns that a given schema does not name. Default [`ExtraColumns::Refuse`].
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

    /// Checks the settings and reads the header, and a sample when no schema is given.
    ///
    /// # Errors
    /// [`Error::Invalid`] for settings that contradict each other, [`Error::NotFound`] when there is no file,
    /// [`Error::InvalidData`] when it is empty or its header names a column twice, [`Error::Schema`] when the schema has a type that CSV cannot
    /// hold, or header and schema differ.
    pub fn build(mut self) -> Result<CsvSource> {
        let sniffed = if self.sniff { Some(sniff::sniff(&self.path, &self.stand_in)?) } else { None };
        if let Some(found) = &sniffed {
            (self.delimiter, self.quote, self.header) = (found.delimiter, Some(found.quote), found.header);
        }
        let usable = |b: u8| b.is_ascii() && b != b'\n' && b != b'\r';
        if !usable(self.delimiter) {
            return Err(Error::invalid("delimiter", self.delimiter, "an ASCII byte other than line ends"));
        }
        if self.quote.is_some_and(|q| !usable(q) || q == self.delimiter) {
            return Err(Error::invalid(
                "quote",
                self.quote.unwrap_or(0),
                "an ASCII byte other than line ends and delimiter",
            ));
        }
        if self.sample_rows == 0 {
            return Err(Error::invalid("sample_rows", 0, "at least 1"));
        }
        if let Some(schema) = &self.schema {
            schema.arrow().fields().iter().try_for_each(|f| ensure_textual(f, false))?;
            if schema.is_empty() {
                return Err(Error::invalid("schema", "without columns", "a schema with at least one column"));
            }
        }
        let dialect = Dialect { delimiter: self.delimiter, quote: self.quote };
        let mut records = Records::new(Input::open(&self.path, &self.stand_in)?, self.path.clone(), dialect.clone())?;
        let header = if self.header { Some(read_header(&mut records, &self.path)?) } else { None };
        let (schema, report) = if let Some(schema) = self.schema.clone() {
            (schema, None)
        } else {
            let (schema, report) = self.infer(&mut records, header.as_deref())?;
            (schema, Some(report))
        };
        let columns = match &header {
            Some(names) => self.match_columns(names, &schema)?,
            None => (0..schema.len()).map(Some).collect(),
        };
        Ok(CsvSource { settings: self, dialect, schema, columns, header, report, sniffed })
    }

    fn match_columns(&self, names: &[String], schema: &Schema) -> Result<Vec<Option<usize>>> {
        let known: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        for name in schema.names() {
            if !known.contains(name) {
                let found = format!("no such column in {}", shown(&self.path));
                return Err(Error::schema(name, schema.field(name)?.data_type(), found));
            }
        }
        let places: BTreeMap<&str, usize> = schema.names().zip(0..).collect();
        let columns: Vec<_> = names.iter().map(|name| places.get(name.as_str()).copied()).collect();
        match names.iter().zip(&columns).find(|(_, column)| column.is_none()) {
            Some((extra, _)) if self.extra_columns == ExtraColumns::Refuse => {
                let found = format!("a further column in {}", shown(&self.path));
                Err(Error::schema(shorten(extra), "only the columns of the schema", found))
            }
            _ => Ok(columns),
        }
    }

    fn is_null(&self, text: &str) -> bool {
        self.null_texts.iter().any(|null| null == text)
    }

    fn infer(&self, records: &mut Records<Input>, header: Option<&[String]>) -> Result<(Schema, InferenceReport)> {
        let named = |name: String| (name, Guess::Nothing, 0);
        let mut sample = Sample { columns: header.unwrap_or_default().iter().cloned().map(named).collect(), rows: 0 };
        let (mut bytes, mut wrong) = (0, 0);
        while sample.rows + wrong < self.sample_rows as u64 && bytes < SAMPLE_BYTES_MAX {
            let Some(record) = records.next()? else { break };
            if sample.columns.is_empty() {
                sample.columns = (1..=record.fields.len()).map(|n| named(format!("column_{n}"))).collect();
            }
            if record.is_blank() && sample.columns.len() > 1 {
                continue;
            }
            bytes += record.raw.len();
            // Rows that no schema would fit say nothing about types; the scan will name them.
            let text = std::str::from_utf8(record.raw).ok().filter(|_| record.malformed.is_none());
            let Some(text) = text.filter(|_| record.fields.len() == sample.columns.len()) else {
                wrong += 1;
                continue;
            };
            sample.rows += 1;
            for (index, span) in record.fields.iter().enumerate() {
                let cell = span.of(text);
                let null = self.is_null(cell);
                let guess = match (null, span.quoted) {
                    (true, false) => Guess::Nothing,
                    (true, true) if cell.is_empty() => continue, // null or empty text, as the other cells decide
                    _ if span.doubled => Guess::Text,
                    _ => Guess::of_text(cell),
                };
                sample.add(index, guess);
            }
        }
        if sample.columns.is_empty() {
            return Err(Error::invalid_data(shown(&self.path), "empty: there is no row to infer columns from"));
        }
        sample.finish(&shown(&self.path), records.is_exhausted()).map_err(|e| in_file(&self.path, e))
    }
}

fn read_header(records: &mut Records<Input>, path: &Path) -> Result<Vec<String>> {
    let refuse = |reason: String| Error::invalid_data(format!("{}, line 1", shown(path)), reason);
    let Some(record) = records.next()? else {
        return Err(Error::invalid_data(shown(path), "empty: there is no header"));
    };
    if let Some(reason) = record.malformed {
        return Err(refuse(reason.to_owned()));
    }
    let text = std::str::from_utf8(record.raw).map_err(|_| refuse("the header is not UTF-8".to_owned()))?;
    let mut names: Vec<String> = Vec::with_capacity(record.fields.len());
    let mut seen = BTreeSet::new();
    for (index, span) in record.fields.iter().enumerate() {
        let name = match unquoted(span, text) {
            name if name.is_empty() => format!("column_{}", index + 1),
            name => name.into_owned(),
        };
        if !seen.insert(name.clone()) {
            return Err(refuse(format!("the header names column `{}` twice", shorten(&name))));
        }
        names.push(name);
    }
    Ok(names)
}

/// A field without the doubling of its quotes. The quote is the first byte before it.
fn unquoted<'a>(span: &records::Span, record: &'a str) -> Cow<'a, str> {
    let field = span.of(record);
    if !span.doubled {
        return Cow::Borrowed(field);
    }
    // Only doubled quotes occur inside, so any quote byte that follows itself is one too many.
    let quote = span.quote(record);
    let mut kept = String::with_capacity(field.len());
    let mut skip = false;
    for c in field.chars() {
        skip = Some(c) == quote && !skip;
        if !skip {
            kept.push(c);
        }
    }
    Cow::Owned(kept)
}

impl CsvSource {
    /// A source with a header, commas and inferred types.
    ///
    /// # Errors
    /// What [`CsvSourceBuilder::build`] says.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        Self::builder(path).build()
    }

    /// Settings for the file at `path`.
    pub fn builder(path: impl Into<PathBuf>) -> CsvSourceBuilder {
        CsvSourceBuilder {
            path: path.into(),
            stand_in: None,
            schema: None,
            delimiter: b',',
            quote: Some(b'"'),
            header: true,
            sniff: false,
            null_texts: vec![String::new()],
            extra_columns: ExtraColumns::default(),
            sample_rows: SAMPLE_ROWS_DEFAULT,
            quarantine: None,
        }
    }

    /// What the dialect was found to be; `None` when it was not looked for.
    pub fn sniffed(&self) -> Option<&SniffReport> {
        self.sniffed.as_ref()
    }

    /// What the types were inferred from; `None` when the schema was given.
    pub fn inference(&self) -> Option<&InferenceReport> {
        self.report.as_ref()
    }
}

impl DataSource for CsvSource {
    fn info(&self) -> Result<SourceInfo> {
        info(&self.settings.path, "csv", &self.settings.stand_in)
    }

    fn schema(&self) -> Result<Schema> {
        info(&self.settings.path, "csv", &self.settings.stand_in)?;
        Ok(self.schema.clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        let path = &self.settings.path;
        let wanted = request.columns_to_read(&self.schema)?;
        let quarantine = self.settings.quarantine.as_ref();
        let read = if quarantine.is_some() { self.schema.clone() } else { self.schema.project(&wanted)? };
        let mut records =
            Records::new(Input::open(path, &self.settings.stand_in)?, path.clone(), self.dialect.clone())?;
        if let Some(expected) = &self.header
            && read_header(&mut records, path)? != *expected
        {
            let place = format!("{}, line 1", shown(path));
            return Err(Error::invalid_data(place, "the header has changed since the source was opened"));
        }
        let mut fields = vec![None; self.schema.len()];
        for (field, column) in self.columns.iter().enumerate().filter_map(|(field, column)| Some((field, (*column)?))) {
            fields[column].get_or_insert(field);
        }
        let mut plan = Vec::with_capacity(read.len());
        for name in read.names() {
            plan.extend(fields[self.schema.index_of(name)?]);
        }
        let scan = Scan {
            gate: Gate::new(shown(path), &self.schema, quarantine, advice(self.report.as_ref())),
            rows: Rows::new(read.clone(), &[])?,
            fields: self.columns.len(),
            batch_rows: request.rows_per_batch(),
            settings: self.settings.clone(),
            records,
            plan,
        };
        request.finish(BatchStream::new(read, scan))
    }
}

struct Scan {
    settings: CsvSourceBuilder,
    records: Records<Input>,
    /// For each column that is built, the field that it comes from.
    plan: Vec<usize>,
    fields: usize,
    rows: Rows,
    gate: Gate,
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
            let Some(record) = self.records.next()? else { return Ok(true) };
            if record.is_blank() && self.fields > 1 {
                continue;
            }
            let fault = |column, reason, value| Fault { line: record.line, column, reason, value, raw: record.raw };
            let text = match whole_row(&record, self.fields) {
                Ok(text) => text,
                Err((field, reason)) => {
                    let header = field.and_then(|f| self.plan.iter().position(|p| *p == f));
                    let name = header.map(|c| self.rows.cells[c].name().to_owned());
                    self.gate.refuse(&fault(name.as_deref(), &reason, None))?;
                    continue;
                }
            };
            let mut misfit: Option<(usize, Misfit)> = None;
            for (column, (cells, field)) in self.rows.cells.iter_mut().zip(&self.plan).enumerate() {
                let span = &record.fields[*field];
                let cell = unquoted(span, text);
                let appended = if self.settings.is_null(&cell) && !(span.quoted && cells.is_text()) {
                    cells.append_null()
                } else {
                    cells.append_text(&cell)
                };
                if let Err(reason) = appended {
                    misfit = Some((column, reason));
                    break;
                }
            }
            let filled = misfit.as_ref().map_or(self.plan.len(), |(column, _)| column + 1);
            self.rows.end_row(filled, misfit.is_none(), record.raw.len());
            if let Some((column, reason)) = misfit {
                let value = unquoted(&record.fields[self.plan[column]], text);
                self.gate.refuse(&fault(Some(self.rows.cells[column].name()), &reason, Some(&value)))?;
            }
        }
        Ok(false)
    }
}

/// The text of a record that is whole: UTF-8, quotes in order, as many fields as there are columns.
fn whole_row<'a>(record: &Record<'a>, fields: usize) -> Result<&'a str, (Option<usize>, Misfit)> {
    if let Some(reason) = record.malformed {
        return Err((None, reason.into()));
    }
    if record.fields.len() != fields {
        return Err((None, format!("{} fields where there should be {fields}", record.fields.len()).into()));
    }
    std::str::from_utf8(record.raw).map_err(|e| {
        let field = record.fields.iter().position(|span| span.contains(e.valid_up_to()));
        (field, "not UTF-8".into())
    })
}

#[cfg(test)]
mod tests;
