//! Writes Parquet.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Fields, IntervalUnit, Schema as ArrowSchema};
use parquet::arrow::{ArrowSchemaConverter, ArrowWriter};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::file::AtomicFile;
use crate::source::guard::{guard, guard_write};
use crate::source::spoilt::Spoilt;
use crate::source::stored::in_types_of;
use crate::source::{DataSink, SinkWriter, Written};
use crate::{Error, Result, Schema};

/// Rows of one row group, where nothing was said.
const GROUP_ROWS_DEFAULT: usize = 256 * 1024;

/// Encoded bytes of one row group at which it is written out early.
const GROUP_BYTES_MAX: usize = 64 << 20;

/// A Parquet file, compressed with zstd at level 1.
///
/// Keeps Arrow types, annotations and metadata. Dictionaries of string views, which polars makes of categories, are
/// stored as dictionaries of plain strings. NaN and infinities are kept.
#[derive(Clone, Debug)]
pub struct ParquetSink {
    path: PathBuf,
    group_rows: usize,
}

/// Settings of a [`ParquetSink`].
#[derive(Clone, Debug)]
pub struct ParquetSinkBuilder(ParquetSink);

impl ParquetSinkBuilder {
    /// Rows of a row group, the unit that a scan can skip and that the writer holds in memory. Default 262,144.
    pub fn group_rows(mut self, rows: usize) -> Self {
        self.0.group_rows = rows;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `group_rows` is 0.
    pub fn build(self) -> Result<ParquetSink> {
        if self.0.group_rows == 0 {
            return Err(Error::invalid("group_rows", 0, "at least 1"));
        }
        Ok(self.0)
    }
}

impl ParquetSink {
    /// The file at `path`.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), group_rows: GROUP_ROWS_DEFAULT }
    }

    /// Settings for the file at `path`.
    pub fn builder(path: impl Into<PathBuf>) -> ParquetSinkBuilder {
        ParquetSinkBuilder(Self::new(path))
    }

    fn properties(&self) -> WriterProperties {
        WriterProperties::builder()
            .set_max_row_group_row_count(Some(self.group_rows))
            .set_compression(Compression::ZSTD(ZstdLevel::default()))
            .build()
    }
}

impl DataSink for ParquetSink {
    fn begin(&self, schema: &Schema) -> Result<Box<dyn SinkWriter>> {
        if schema.is_empty() {
            // The format counts rows by their columns.
            return Err(Error::schema("*", "at least one column", "none"));
        }
        let fields: Fields = schema.arrow().fields().iter().map(storable).collect();
        for field in &fields {
            let alone = ArrowSchema::new(vec![field.clone()]);
            let converted = guard(&self.path, || ArrowSchemaConverter::new().convert(&alone));
            if converted.is_err() || has_calendar_span(field.data_type()) {
                return Err(Error::schema(field.name(), "a type that Parquet holds", field.data_type()));
            }
        }
        let stored = Arc::new(ArrowSchema::new_with_metadata(fields, schema.arrow().metadata().clone()));
        let file = AtomicFile::create_and_sweep(&self.path)?;
        let writer = guard(&self.path, || ArrowWriter::try_new(file, stored.clone(), Some(self.properties())))?;
        let (path, schema) = (self.path.clone(), schema.clone());
        Ok(Box::new(Writer {
            parquet: writer,
            path,
            schema,
            stored: Schema::new(stored)?,
            rows: 0,
            spoilt: Spoilt::default(),
        }))
    }
}

struct Writer {
    parquet: ArrowWriter<AtomicFile>,
    path: PathBuf,
    schema: Schema,
    stored: Schema,
    rows: u64,
    spoilt: Spoilt,
}

impl SinkWriter for Writer {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.spoilt.writing()?;
        let stored = in_types_of(&self.stored, &self.schema.attach(batch)?)?;
        let writer = &mut self.parquet;
        guard_write(&self.path, || {
            writer.write(&stored)?;
            if writer.in_progress_size() >= GROUP_BYTES_MAX { writer.flush() } else { Ok(()) }
        })?;
        self.rows += stored.num_rows() as u64;
        self.spoilt.done();
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<Written> {
        let Self { parquet: writer, path, rows, spoilt, .. } = *self;
        spoilt.ensure_whole()?;
        let file = guard_write(&path, || writer.into_inner())?;
        Ok(Written { rows, size_bytes: file.commit()? })
    }
}

/// `field` in a type that the Parquet writer takes: it stops at views inside of dictionaries, and at lists and structs
/// that hold such.
fn storable(field: &Arc<Field>) -> Arc<Field> {
    let stored = match field.data_type() {
        DataType::Dictionary(keys, values) => {
            let plain = match values.as_ref() {
                DataType::Utf8View => DataType::Utf8,
                DataType::BinaryView => DataType::Binary,
                other => other.clone(),
            };
            DataType::Dictionary(keys.clone(), Box::new(plain))
        }
        DataType::List(item) => DataType::List(storable(item)),
        DataType::LargeList(item) => DataType::LargeList(storable(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(storable(item), *size),
        DataType::Struct(members) => DataType::Struct(members.iter().map(storable).collect()),
        _ => return field.clone(),
    };
    if stored == *field.data_type() { field.clone() } else { Arc::new(field.as_ref().clone().with_data_type(stored)) }
}

/// Whether there are intervals of months, days and nanoseconds in a type: the writer takes them for a column and then
/// refuses every value.
fn has_calendar_span(data_type: &DataType) -> bool {
    match data_type {
        DataType::Interval(unit) => *unit == IntervalUnit::MonthDayNano,
        DataType::Dictionary(_, values) => has_calendar_span(values),
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => has_calendar_span(item.data_type()),
        DataType::Struct(members) => members.iter().any(|member| has_calendar_span(member.data_type())),
        _ => false,
    }
}
