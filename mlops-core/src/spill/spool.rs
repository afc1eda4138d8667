//! Blocks of Arrow IPC in a file without a name, by partition.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, AsArray, GenericByteViewArray, RecordBatch, RecordBatchOptions};
use arrow::buffer::Buffer;
use arrow::datatypes::{ByteViewType, DataType, SchemaRef};
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;

use crate::file::nameless;
use crate::source::{BatchStream, DataSource, ScanRequest, SourceInfo};
use crate::{Dataset, Error, Result, Schema};

/// What stands in errors for a file without a name.
const WHAT: &str = "a file of spilled rows";

/// Takes batches of one schema, each for one partition; keeps where they are, and nothing else, in memory.
///
/// # Examples
/// ```
/// use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// use mlops_core::spill::Spool;
///
/// let ids = |ids: Vec<i64>| RecordBatch::try_from_iter([("id", std::sync::Arc::new(Int64Array::from(ids)) as ArrayRef)]);
/// let (even, odd) = (ids(vec![2, 4])?, ids(vec![1, 3])?);
/// let mut spool = Spool::create(&std::env::temp_dir(), even.schema(), 2)?;
/// spool.write(0, &even)?;
/// spool.write(1, &odd)?;
/// let spooled = spool.close();
/// assert_eq!(spooled.read(1).collect::<Result<Vec<_>, _>>()?, [odd]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Spool {
    folder: PathBuf,
    file: File,
    schema: SchemaRef,
    /// The schema as each block begins with it, kept once.
    head: Vec<u8>,
    end: u64,
    blocks: Vec<Vec<Block>>,
    encoded: Vec<u8>,
}

/// Where a batch is in the file.
#[derive(Clone, Copy, Debug)]
struct Block {
    start: u64,
    bytes: usize,
    rows: usize,
}

impl Spool {
    /// Makes the file, in `folder`, for partitions `0..partitions`.
    ///
    /// # Errors
    /// [`Error::Io`] when no file can be made in `folder`.
    pub fn create(folder: &Path, schema: SchemaRef, partitions: usize) -> Result<Self> {
        let mut head = Vec::new();
        StreamWriter::try_new(&mut head, &schema)?;
        let (file, blocks) = (nameless(folder)?, vec![Vec::new(); partitions]);
        Ok(Self { folder: folder.to_owned(), file, schema, head, end: 0, blocks, encoded: Vec::new() })
    }

    /// Appends `batch`, which has the schema of the spool, to a partition; one without rows leaves no trace.
    ///
    /// # Errors
    /// [`Error::Io`] when the disk is full or fails.
    ///
    /// # Panics
    /// When there is no such partition.
    pub fn write(&mut self, partition: usize, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.encoded.clear();
        let mut writer = StreamWriter::try_new(&mut self.encoded, &self.schema)?;
        writer.write(&compact(batch)?)?;
        writer.finish()?;
        drop(writer);
        let encoded = &self.encoded[self.head.len()..];
        self.file.write_all(encoded).map_err(|e| Error::io(&self.folder, e))?;
        let block = Block { start: self.end, bytes: encoded.len(), rows: batch.num_rows() };
        self.end += block.bytes as u64;
        self.blocks[partition].push(block);
        Ok(())
    }

    /// What was written, to be read.
    pub fn close(self) -> Spooled {
        let Self { folder, file, schema, head, blocks, .. } = self;
        Spooled(Arc::new(Closed { folder, file: Mutex::new(file), schema, head: head.into(), blocks }))
    }
}

/// `batch` without bytes that no row of it shows: views would bring all that they were cut from.
fn compact(batch: &RecordBatch) -> Result<RecordBatch> {
    fn shown<T: ByteViewType>(views: &GenericByteViewArray<T>) -> ArrayRef {
        let bytes: usize = views.data_buffers().iter().map(Buffer::len).sum();
        // A quarter that is not shown costs less than the copy.
        if bytes * 3 <= views.total_buffer_bytes_used() * 4 { Arc::new(views.clone()) } else { Arc::new(views.gc()) }
    }
    let columns = batch.columns().iter().map(|column| match column.data_type() {
        DataType::Utf8View => shown(column.as_string_view()),
        DataType::BinaryView => shown(column.as_binary_view()),
        _ => column.clone(),
    });
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    Ok(RecordBatch::try_new_with_options(batch.schema(), columns.collect(), &options)?)
}

/// A full [`Spool`], to be read as often as wanted. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Spooled(Arc<Closed>);

#[derive(Debug)]
struct Closed {
    folder: PathBuf,
    file: Mutex<File>,
    schema: SchemaRef,
    head: Buffer,
    blocks: Vec<Vec<Block>>,
}

impl Spooled {
    /// Schema of every batch.
    pub fn schema(&self) -> &SchemaRef {
        &self.0.schema
    }

    /// Number of partitions.
    pub fn partitions(&self) -> usize {
        self.0.blocks.len()
    }

    /// Batches of one partition, in the order in which they were written.
    pub fn read(&self, partition: usize) -> SpooledBatches {
        SpooledBatches { spooled: self.clone(), partition, next: 0, decoder: None }
    }

    /// The rows of one partition as a data set.
    ///
    /// # Errors
    /// As [`Schema::new`], for a schema that is not one of a data set.
    pub fn dataset(&self, partition: usize) -> Result<Dataset> {
        let schema = Schema::new(self.0.schema.clone())?;
        Dataset::from_source(Arc::new(SpooledPart { spooled: self.clone(), partition, schema }))
    }

    fn bytes(&self, block: Block) -> Result<Buffer> {
        let io = |e| Error::io(&self.0.folder, e);
        let mut bytes = vec![0; block.bytes];
        let mut file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(block.start)).map_err(io)?;
        file.read_exact(&mut bytes).map_err(io)?;
        Ok(Buffer::from_vec(bytes))
    }
}

/// Batches of one partition of a [`Spooled`]: [`Error::Io`] when they cannot be read, [`Error::Corrupt`] when they are not
/// those that were written.
pub struct SpooledBatches {
    spooled: Spooled,
    partition: usize,
    next: usize,
    /// Knows the schema.
    decoder: Option<Box<StreamDecoder>>,
}

impl fmt::Debug for SpooledBatches {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpooledBatches")
            .field("partition", &self.partition)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

impl SpooledBatches {
    fn block(&mut self, block: Block) -> Result<RecordBatch> {
        let damaged = |reason: String| Error::corrupt(WHAT, reason);
        let mut bytes = self.spooled.bytes(block)?;
        let decoder = match &mut self.decoder {
            Some(decoder) => decoder,
            none => {
                let decoder = none.insert(Box::default());
                decoder.decode(&mut self.spooled.0.head.clone()).map_err(|e| damaged(e.to_string()))?;
                decoder
            }
        };
        let batch = decoder.decode(&mut bytes).map_err(|e| damaged(e.to_string()))?;
        batch.filter(|batch| batch.num_rows() == block.rows).ok_or_else(|| damaged("rows are missing".to_owned()))
    }
}

impl Iterator for SpooledBatches {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let block = *self.spooled.0.blocks[self.partition].get(self.next)?;
        self.next += 1;
        Some(self.block(block))
    }
}

/// One partition as a source.
#[derive(Debug)]
struct SpooledPart {
    spooled: Spooled,
    partition: usize,
    schema: Schema,
}

impl DataSource for SpooledPart {
    fn info(&self) -> Result<SourceInfo> {
        Ok(SourceInfo::new("arrow_ipc", "a file without a name"))
    }

    fn schema(&self) -> Result<Schema> {
        Ok(self.schema.clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        request.finish(BatchStream::new(self.schema.clone(), self.spooled.read(self.partition)))
    }
}

/// Takes rows of one partition a number at a time, across its batches.
#[derive(Debug)]
pub struct SpooledRows {
    batches: SpooledBatches,
    current: Option<RecordBatch>,
}

impl SpooledRows {
    /// From the first row of a partition on.
    pub fn new(spooled: &Spooled, partition: usize) -> Self {
        Self { batches: spooled.read(partition), current: None }
    }

    /// Appends the next `rows` rows to `out`.
    ///
    /// # Errors
    /// [`Error::Io`] when they cannot be read, [`Error::Corrupt`] when there are not so many.
    pub fn take(&mut self, mut rows: usize, out: &mut Vec<RecordBatch>) -> Result<()> {
        while rows > 0 {
            let batch = match self.current.take() {
                Some(batch) => batch,
                None => self.batches.next().ok_or_else(|| Error::corrupt(WHAT, "it ends early"))??,
            };
            let count = rows.min(batch.num_rows());
            out.push(batch.slice(0, count));
            if count < batch.num_rows() {
                self.current = Some(batch.slice(count, batch.num_rows() - count));
            }
            rows -= count;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{DictionaryArray, Int64Array, NullArray, StringArray, StringViewArray};
    use arrow::datatypes::{Int32Type, Schema as ArrowSchema};

    use super::*;

    fn batch(first: i64, rows: i64) -> RecordBatch {
        let ids: ArrayRef = Arc::new((first..first + rows).map(|i| (i % 7 != 0).then_some(i)).collect::<Int64Array>());
        let texts: ArrayRef = Arc::new(StringArray::from_iter_values((0..rows).map(|i| format!("row {i}"))));
        let plan = format!("plan {first}");
        let plans: DictionaryArray<Int32Type> = (0..rows).map(|_| plan.as_str()).collect();
        RecordBatch::try_from_iter_with_nullable([
            ("id", ids, true),
            ("text", texts, true),
            ("plan", Arc::new(plans) as ArrayRef, true),
        ])
        .unwrap()
    }

    #[test]
    fn batches_come_back_by_partition_in_the_order_written() {
        let batches: Vec<_> = (0..12).map(|i| batch(i * 100, 50).slice(3, 40)).collect();
        let mut spool = Spool::create(&std::env::temp_dir(), batches[0].schema(), 3).unwrap();
        for (at, batch) in batches.iter().enumerate() {
            spool.write(at % 3, batch).unwrap();
        }
        let spooled = spool.close();
        for partition in 0..3 {
            let expected: Vec<_> = batches.iter().skip(partition).step_by(3).cloned().collect();
            let read = || spooled.read(partition).collect::<Result<Vec<_>>>().unwrap();
            assert_eq!(read(), expected);
            assert_eq!(read(), expected, "a second reading gives the same");
        }
    }

    #[test]
    fn rows_are_taken_across_batches() {
        let mut spool = Spool::create(&std::env::temp_dir(), batch(0, 1).schema(), 1).unwrap();
        [(0, 5), (5, 1), (6, 4)].iter().for_each(|(first, rows)| spool.write(0, &batch(*first, *rows)).unwrap());
        let mut rows = SpooledRows::new(&spool.close(), 0);
        for (count, pieces) in [(3, 1), (0, 0), (4, 3), (3, 1)] {
            let mut out = Vec::new();
            rows.take(count, &mut out).unwrap();
            assert_eq!((out.iter().map(RecordBatch::num_rows).sum::<usize>(), out.len()), (count, pieces));
        }
        assert!(matches!(rows.take(1, &mut Vec::new()), Err(Error::Corrupt { .. })));
    }

    #[test]
    fn what_a_batch_was_cut_from_is_not_written() {
        let text = |n: usize| format!("a text of more than twelve bytes, number {n}");
        let whole: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..10_000).map(text)));
        let whole = RecordBatch::try_from_iter([("text", whole)]).unwrap();
        let mut spool = Spool::create(&std::env::temp_dir(), whole.schema(), 2).unwrap();
        spool.write(0, &whole).unwrap();
        let all = spool.end;
        spool.write(1, &whole.slice(100, 100)).unwrap();
        assert!(spool.end - all < all / 50, "{} of {all} bytes", spool.end - all);
        let spooled = spool.close();
        assert_eq!(spooled.read(0).next().unwrap().unwrap(), whole);
        assert_eq!(spooled.read(1).next().unwrap().unwrap(), whole.slice(100, 100));
    }

    #[test]
    fn batches_without_columns_or_values_keep_their_rows() {
        let options = RecordBatchOptions::new().with_row_count(Some(3));
        let bare = RecordBatch::try_new_with_options(Arc::new(ArrowSchema::empty()), vec![], &options).unwrap();
        let nulls = RecordBatch::try_from_iter([("n", Arc::new(NullArray::new(3)) as ArrayRef)]).unwrap();
        for batch in [bare, nulls] {
            let mut spool = Spool::create(&std::env::temp_dir(), batch.schema(), 1).unwrap();
            [batch.clone(), batch.slice(0, 0), batch.clone()].iter().for_each(|batch| spool.write(0, batch).unwrap());
            let read = spool.close().read(0).collect::<Result<Vec<_>>>().unwrap();
            assert_eq!(read, [batch.clone(), batch]);
        }
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let error = Spool::create(&missing, batch(0, 1).schema(), 1).unwrap_err();
        assert!(matches!(&error, Error::Io { path, .. } if *path == missing), "{error}");
    }
}
