//! Writes CSV that [`CsvSource`](super::CsvSource) reads back exactly.

use std::path::PathBuf;

use arrow::array::RecordBatch;

use crate::source::cells::{date, ensure_textual, float};
use crate::source::compression::Output;
use crate::source::local::{LineWriter, Lines, shown};
use crate::source::print::Printer;
use crate::source::spoilt::Spoilt;
use crate::source::{DataSink, SinkWriter};
use crate::time::EventTime;
use crate::{Error, Result, Schema};

/// A CSV file with a header, lines that end in LF, quotes where they are needed.
///
/// Null is the null text, empty text is `""`; floats are the shortest text that reads back equal, `NaN`, `inf` and `-inf`
/// among them. Times are written in UTC to the microsecond. Roles and sensitivities are not kept: give
/// the schema again when reading. A name that ends in `.gz` or `.zst` makes packed text.
///
/// # Examples
/// ```
/// use mlops_core::arrow::array::{ArrayRef, RecordBatch, StringArray};
/// use mlops_core::source::{CsvSink, DataSink};
/// use mlops_core::Dataset;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("names.csv");
/// let names = StringArray::from(vec![Some("An, Bình"), Some(""), None]);
/// let batch = RecordBatch::try_from_iter([("name", std::sync::Arc::new(names) as ArrayRef)])?;
/// Dataset::from_batches([batch])?.write_to(&CsvSink::new(&path))?;
/// assert_eq!(std::fs::read_to_string(&path)?, "name\n\"An, Bình\"\n\"\"\n\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct CsvSink {
    path: PathBuf,
    delimiter: u8,
    header: bool,
    null_text: String,
}

/// Settings of a [`CsvSink`].
#[derive(Clone, Debug)]
pub struct CsvSinkBuilder(CsvSink);

impl CsvSinkBuilder {
    /// The byte between fields. Default `,`.
    pub fn delimiter(mut self, delimiter: u8) -> Self {
        self.0.delimiter = delimiter;
        self
    }

    /// Whether the first line names the columns. Default true.
    pub fn header(mut self, header: bool) -> Self {
        self.0.header = header;
        self
    }

    /// The text that stands for null. Default empty.
    pub fn null_text(mut self, text: impl Into<String>) -> Self {
        self.0.null_text = text.into();
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a delimiter that is not ASCII, a line end or a quote, and for a null text that is a number, a boolean, a
    /// date or a time, or would itself need quotes.
    pub fn build(self) -> Result<CsvSink> {
        let sink = self.0;
        if !sink.delimiter.is_ascii() || matches!(sink.delimiter, b'\n' | b'\r' | b'"') {
            return Err(Error::invalid("delimiter", sink.delimiter, "an ASCII byte other than line ends and quotes"));
        }
        let null = &sink.null_text;
        let number = null.parse::<f64>().is_ok() || float(null).is_some();
        let day = date(null).is_some() || EventTime::parse(null).is_ok();
        let value = number || day || matches!(null.as_str(), "true" | "false");
        if value || needs_quotes(null, sink.delimiter) {
            return Err(Error::invalid(
                "null_text",
                format!("`{null}`"),
                "a text that is no value and needs no quotes",
            ));
        }
        Ok(sink)
    }
}

impl CsvSink {
    /// The file at `path`, with commas, a header and empty nulls.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), delimiter: b',', header: true, null_text: String::new() }
    }

    /// Settings for the file at `path`.
    pub fn builder(path: impl Into<PathBuf>) -> CsvSinkBuilder {
        CsvSinkBuilder(Self::new(path))
    }
}

impl DataSink for CsvSink {
    fn begin(&self, schema: &Schema) -> Result<Box<dyn SinkWriter>> {
        schema.arrow().fields().iter().try_for_each(|f| ensure_textual(f, false))?;
        if schema.is_empty() {
            return Err(Error::schema("*", "at least one column", "none"));
        }
        if self.header && schema.names().any(str::is_empty) {
            return Err(Error::schema("", "a name to put into the header", "an empty one"));
        }
        let mut text = String::new();
        if self.header {
            for (index, name) in schema.names().enumerate() {
                self.separate(index, &mut text);
                self.field(name, &mut text);
            }
            text.push('\n');
        }
        let file = Output::create(&self.path)?;
        let mut writer =
            LineWriter { file, schema: schema.clone(), lines: self.clone(), rows: 0, text, spoilt: Spoilt::default() };
        writer.flush()?;
        Ok(Box::new(writer))
    }
}

impl CsvSink {
    fn separate(&self, index: usize, out: &mut String) {
        if index > 0 {
            out.push(char::from(self.delimiter));
        }
    }

    fn field(&self, text: &str, out: &mut String) {
        if text == self.null_text || text.is_empty() || needs_quotes(text, self.delimiter) {
            out.push('"');
            for piece in text.split_inclusive('"') {
                out.push_str(piece);
                if piece.ends_with('"') {
                    out.push('"');
                }
            }
            out.push('"');
        } else {
            out.push_str(text);
        }
    }
}

/// A byte-order mark at the start of a file would be taken for one, and dropped.
fn needs_quotes(text: &str, delimiter: u8) -> bool {
    text.bytes().any(|b| b == delimiter || matches!(b, b'"' | b'\n' | b'\r')) || text.starts_with('\u{feff}')
}

impl Lines for CsvSink {
    fn lines(&mut self, batch: &RecordBatch, first_row: u64, out: &mut String) -> Result<()> {
        let columns = batch.columns().iter().map(Printer::new).collect::<Result<Vec<_>>>()?;
        let mut cell = String::new();
        for row in 0..batch.num_rows() {
            for (index, column) in columns.iter().enumerate() {
                self.separate(index, out);
                if column.is_null(row) {
                    out.push_str(&self.null_text);
                } else if let Some(text) = column.text(row) {
                    self.field(text, out);
                } else {
                    cell.clear();
                    column.write(row, &mut cell).map_err(|reason| {
                        let name = batch.schema_ref().field(index).name().clone();
                        let place = format!("{}, row {}, column `{name}`", shown(&self.path), first_row + row as u64);
                        Error::invalid_data(place, reason)
                    })?;
                    if needs_quotes(&cell, self.delimiter) { self.field(&cell, out) } else { out.push_str(&cell) }
                }
            }
            out.push('\n');
        }
        Ok(())
    }
}
