//! Writes Arrow IPC.

use std::path::PathBuf;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::can_cast_types;
use arrow::datatypes::{DataType, Field, Fields, Schema as ArrowSchema};
use arrow::ipc::CompressionType;
use arrow::ipc::writer::{FileWriter, IpcWriteOptions, StreamWriter};

use crate::file::AtomicFile;
use crate::source::guard::guard_write;
use crate::source::spoilt::Spoilt;
use crate::source::stored::in_types_of;
use crate::source::{DataSink, SinkWriter, Written};
use crate::{Error, Result, Schema};

/// Rows that become one record batch of the file at the most: what a reader must hold at once.
const BLOCK_ROWS_MAX: usize = 1 << 16;

/// Which of the two layouts of Arrow IPC is written. Readers tell them apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum IpcLayout {
    /// With a footer that lists the record batches: Feather 2, `.arrow`.
    #[default]
    File,
    /// Messages one after the other: `.arrows`, for pipes and sockets.
    Stream,
}

/// How the buffers of an IPC file are packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum IpcCompression {
    /// Not at all: readers can map the file into memory.
    #[default]
    None,
    /// LZ4 frames: fast.
    Lz4,
    /// zstd at its default level: small.
    Zstd,
}

/// An Arrow IPC file.
///
/// Keeps Arrow types, annotations and metadata, but for dictionaries: they are stored as the plain values, since an IPC file holds a
/// single dictionary per column and rows come with several. Dictionaries inside of maps, unions and run-length encodings are refused.
#[derive(Clone, Debug)]
pub struct IpcSink {
    path: PathBuf,
    layout: IpcLayout,
    compression: IpcCompression,
}

/// Settings of an [`IpcSink`].
#[derive(Clone, Debug)]
pub struct IpcSinkBuilder(IpcSink);

impl IpcSinkBuilder {
    /// File or stream. Default [`IpcLayout::File`].
    pub fn layout(mut self, layout: IpcLayout) -> Self {
        self.0.layout = layout;
        self
    }

    /// How buffers are packed. Default [`IpcCompression::None`].
    pub fn compression(mut self, compression: IpcCompression) -> Self {
        self.0.compression = compression;
        self
    }

    /// The sink.
    ///
    /// # Errors
    /// None at present; reserved for settings that contradict each other.
    pub fn build(self) -> Result<IpcSink> {
        Ok(self.0)
    }
}

impl IpcSink {
    /// The file at `path`, in the file format, not packed.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), layout: IpcLayout::default(), compression: IpcCompression::default() }
    }

    /// Settings for the file at `path`.
    pub fn builder(path: impl Into<PathBuf>) -> IpcSinkBuilder {
        IpcSinkBuilder(Self::new(path))
    }

    fn options(&self) -> Result<IpcWriteOptions> {
        let packed = match self.compression {
            IpcCompression::None => None,
            IpcCompression::Lz4 => Some(CompressionType::LZ4_FRAME),
            IpcCompression::Zstd => Some(CompressionType::ZSTD),
        };
        Ok(IpcWriteOptions::default().try_with_compression(packed)?)
    }
}

impl DataSink for IpcSink {
    fn begin(&self, schema: &Schema) -> Result<Box<dyn SinkWriter>> {
        let fields: Fields = schema.arrow().fields().iter().map(plain).collect();
        for (field, stored) in schema.arrow().fields().iter().zip(&fields) {
            let (from, to) = (field.data_type(), stored.data_type());
            if has_dictionary(to) || (from != to && !can_cast_types(from, to)) {
                return Err(Error::schema(field.name(), "a type without dictionaries in maps and unions", from));
            }
        }
        let stored = ArrowSchema::new_with_metadata(fields, schema.arrow().metadata().clone());
        let file = AtomicFile::create_and_sweep(&self.path)?;
        let options = self.options()?;
        let layout = guard_write(&self.path, || match self.layout {
            IpcLayout::File => FileWriter::try_new_with_options(file, &stored, options).map(Layout::File),
            IpcLayout::Stream => StreamWriter::try_new_with_options(file, &stored, options).map(Layout::Stream),
        })?;
        Ok(Box::new(Writer {
            path: self.path.clone(),
            layout,
            schema: schema.clone(),
            stored: Schema::new(stored)?,
            rows: 0,
            spoilt: Spoilt::default(),
        }))
    }
}

enum Layout {
    File(FileWriter<AtomicFile>),
    Stream(StreamWriter<AtomicFile>),
}

struct Writer {
    path: PathBuf,
    layout: Layout,
    schema: Schema,
    stored: Schema,
    rows: u64,
    spoilt: Spoilt,
}

impl SinkWriter for Writer {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.spoilt.writing()?;
        let stored = in_types_of(&self.stored, &self.schema.attach(batch)?)?;
        let layout = &mut self.layout;
        for start in (0..stored.num_rows()).step_by(BLOCK_ROWS_MAX) {
            let piece = stored.slice(start, BLOCK_ROWS_MAX.min(stored.num_rows() - start));
            guard_write(&self.path, || match layout {
                Layout::File(writer) => writer.write(&piece),
                Layout::Stream(writer) => writer.write(&piece),
            })?;
        }
        self.rows += stored.num_rows() as u64;
        self.spoilt.done();
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<Written> {
        let Self { path, layout, rows, spoilt, .. } = *self;
        spoilt.ensure_whole()?;
        // Both finish what is open before they give the file back.
        let file = guard_write(&path, || match layout {
            Layout::File(writer) => writer.into_inner(),
            Layout::Stream(writer) => writer.into_inner(),
        })?;
        Ok(Written { rows, size_bytes: file.commit()? })
    }
}

/// `field` with plain values in place of dictionaries.
fn plain(field: &Arc<Field>) -> Arc<Field> {
    let stored = match field.data_type() {
        DataType::Dictionary(_, values) => values.as_ref().clone(),
        DataType::List(item) => DataType::List(plain(item)),
        DataType::LargeList(item) => DataType::LargeList(plain(item)),
        DataType::FixedSizeList(item, size) => DataType::FixedSizeList(plain(item), *size),
        DataType::Struct(members) => DataType::Struct(members.iter().map(plain).collect()),
        _ => return field.clone(),
    };
    if stored == *field.data_type() { field.clone() } else { Arc::new(field.as_ref().clone().with_data_type(stored)) }
}

fn has_dictionary(data_type: &DataType) -> bool {
    match data_type {
        DataType::Dictionary(..) => true,
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::ListView(item)
        | DataType::LargeListView(item)
        | DataType::FixedSizeList(item, _)
        | DataType::Map(item, _) => has_dictionary(item.data_type()),
        DataType::RunEndEncoded(_, values) => has_dictionary(values.data_type()),
        DataType::Struct(members) => members.iter().any(|member| has_dictionary(member.data_type())),
        DataType::Union(members, _) => members.iter().any(|(_, member)| has_dictionary(member.data_type())),
        _ => false,
    }
}
