//! Rows that wait on disk: blocks of Arrow IPC in a file without a name, by partition.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, AsArray, RecordBatch};
use arrow::buffer::Buffer;
use arrow::datatypes::{DataType, SchemaRef};
use arrow::ipc::reader::StreamDecoder;
use arrow::ipc::writer::StreamWriter;
use mlops_core::source::{BatchStream, DataSource, ScanRequest, SourceInfo};
use mlops_core::{Dataset, Schema};

use crate::error::{Core, Result};

/// Opens a file that nobody can name: it is gone with the process, whatever becomes of that.
pub(super) fn nameless(folder: &Path) -> Result<File> {
    Ok(tempfile::tempfile_in(folder).map_err(|e| Core::io(folder, e))?)
}

/// Takes batches of one schema, each for one partition.
#[derive(Debug)]
pub(crate) struct Spool {
    folder: PathBuf,
    file: File,
    schema: SchemaRef,
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
    /// # Errors
    /// `Core(Io)` when no file can be made in `folder`.
    pub(crate) fn create(folder: &Path, schema: SchemaRef, partitions: usize) -> Result<Self> {
        let blocks = vec![Vec::new(); partitions];
        Ok(Self { folder: folder.to_owned(), file: nameless(folder)?, schema, end: 0, blocks, encoded: Vec::new() })
    }

    /// # Errors
    /// `Core(Io)` when the disk is full or fails.
    pub(crate) fn write(&mut self, partition: usize, batch: &RecordBatch) -> Result<()> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        self.encoded.clear();
        let mut writer = StreamWriter::try_new(&mut self.encoded, &self.schema)?;
        writer.write(&compact(batch)?)?;
        writer.finish()?;
        drop(writer);
        self.file.write_all(&self.encoded).map_err(|e| Core::io(&self.folder, e))?;
        let block = Block { start: self.end, bytes: self.encoded.len(), rows: batch.num_rows() };
        self.end += block.bytes as u64;
        self.blocks[partition].push(block);
        Ok(())
    }

    pub(crate) fn close(self) -> Spooled {
        let Self { folder, file, schema, blocks, .. } = self;
        Spooled(Arc::new(Closed { folder, file: Mutex::new(file), schema, blocks }))
    }
}

/// `batch` without bytes that no row of it shows: views would bring all that they were cut from.
fn compact(batch: &RecordBatch) -> Result<RecordBatch> {
    let columns = batch.columns().iter().map(|column| match column.data_type() {
        DataType::Utf8View => Arc::new(column.as_string_view().gc()) as ArrayRef,
        DataType::BinaryView => Arc::new(column.as_binary_view().gc()) as ArrayRef,
        _ => column.clone(),
    });
    Ok(RecordBatch::try_new(batch.schema(), columns.collect())?)
}

/// A full [`Spool`], to be read as often as wanted. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) struct Spooled(Arc<Closed>);

#[derive(Debug)]
struct Closed {
    folder: PathBuf,
    file: Mutex<File>,
    schema: SchemaRef,
    blocks: Vec<Vec<Block>>,
}

impl Spooled {
    pub(super) fn schema(&self) -> &SchemaRef {
        &self.0.schema
    }

    pub(super) fn partitions(&self) -> usize {
        self.0.blocks.len()
    }

    /// Batches of one partition, in the order in which they were written.
    pub(super) fn read(&self, partition: usize) -> SpooledBatches {
        SpooledBatches { spooled: self.clone(), partition, next: 0 }
    }

    /// The rows of one partition as a data set.
    ///
    /// # Errors
    /// None that its own schema could cause.
    pub(super) fn dataset(&self, partition: usize) -> Result<Dataset> {
        let schema = Schema::new(self.0.schema.clone())?;
        Ok(Dataset::from_source(Arc::new(SpooledPart { spooled: self.clone(), partition, schema }))?)
    }

    fn block(&self, block: Block) -> mlops_core::Result<RecordBatch> {
        let io = |e| Core::io(&self.0.folder, e);
        let mut bytes = vec![0; block.bytes];
        {
            let mut file = self.0.file.lock().unwrap_or_else(PoisonError::into_inner);
            file.seek(SeekFrom::Start(block.start)).map_err(io)?;
            file.read_exact(&mut bytes).map_err(io)?;
        }
        let damaged = |reason: String| Core::corrupt("a file of spilled rows", reason);
        let mut decoder = StreamDecoder::new();
        let mut bytes = Buffer::from_vec(bytes);
        let batch = decoder.decode(&mut bytes).map_err(|e| damaged(e.to_string()))?;
        batch.filter(|batch| batch.num_rows() == block.rows).ok_or_else(|| damaged("rows are missing".to_owned()))
    }
}

/// Batches of one partition of a [`Spooled`].
#[derive(Debug)]
pub(super) struct SpooledBatches {
    spooled: Spooled,
    partition: usize,
    next: usize,
}

impl Iterator for SpooledBatches {
    type Item = mlops_core::Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let block = *self.spooled.0.blocks[self.partition].get(self.next)?;
        self.next += 1;
        Some(self.spooled.block(block))
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
    fn info(&self) -> mlops_core::Result<SourceInfo> {
        Ok(SourceInfo::new("arrow_ipc", "a file without a name"))
    }

    fn schema(&self) -> mlops_core::Result<Schema> {
        Ok(self.schema.clone())
    }

    fn scan(&self, request: &ScanRequest) -> mlops_core::Result<BatchStream> {
        request.finish(BatchStream::new(self.schema.clone(), self.spooled.read(self.partition)))
    }
}

/// Takes rows of one partition a number at a time, across its batches.
#[derive(Debug)]
pub(super) struct SpooledRows {
    batches: SpooledBatches,
    current: Option<RecordBatch>,
}

impl SpooledRows {
    pub(super) fn new(spooled: &Spooled, partition: usize) -> Self {
        Self { batches: spooled.read(partition), current: None }
    }

    /// Appends the next `rows` rows to `out`.
    pub(super) fn take(&mut self, mut rows: usize, out: &mut Vec<RecordBatch>) -> mlops_core::Result<()> {
        while rows > 0 {
            let batch = match self.current.take() {
                Some(batch) => batch,
                None => {
                    self.batches.next().ok_or_else(|| Core::corrupt("a file of spilled rows", "it ends early"))??
                }
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
    use arrow::array::{ArrayRef, DictionaryArray, Int64Array, StringArray};
    use arrow::datatypes::Int32Type;

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
            let read = || spooled.read(partition).collect::<mlops_core::Result<Vec<_>>>().unwrap();
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
        assert!(matches!(rows.take(1, &mut Vec::new()), Err(Core::Corrupt { .. })));
    }

    #[test]
    fn a_folder_that_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing");
        let error = Spool::create(&missing, batch(0, 1).schema(), 1).unwrap_err();
        assert!(matches!(&error, crate::Error::Core(Core::Io { path, .. }) if *path == missing), "{error}");
    }
}
