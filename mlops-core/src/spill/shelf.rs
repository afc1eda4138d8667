//! Batches that wait: in memory while they are few, in a file without a name beyond.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::ipc::reader::StreamReader;
use arrow::ipc::writer::StreamWriter;

use crate::Result;
use crate::file::{nameless, nameless_error};

/// Takes batches of one schema and gives them back in order.
///
/// The file vanishes with the process, whatever becomes of it.
pub(crate) struct Shelf {
    schema: SchemaRef,
    bytes_max: u64,
    bytes: u64,
    held: Vec<RecordBatch>,
    file: Option<StreamWriter<BufWriter<File>>>,
}

impl Shelf {
    pub(crate) fn new(schema: SchemaRef, bytes_max: u64) -> Self {
        Self { schema, bytes_max, bytes: 0, held: Vec::new(), file: None }
    }

    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        if let Some(file) = &mut self.file {
            return Ok(file.write(batch)?);
        }
        self.held.push(batch.clone());
        self.bytes += batch.get_array_memory_size() as u64;
        if self.bytes > self.bytes_max {
            let file = nameless()?;
            let mut writer = StreamWriter::try_new(BufWriter::with_capacity(1 << 16, file), &self.schema)?;
            for batch in self.held.drain(..) {
                writer.write(&batch)?;
            }
            self.file = Some(writer);
        }
        Ok(())
    }

    /// Everything that was pushed, in order.
    pub(crate) fn open(self) -> Result<Shelved> {
        self.close()?.open()
    }

    /// What was pushed, to be opened as often as wanted.
    pub(crate) fn close(self) -> Result<Closed> {
        let Some(mut writer) = self.file else { return Ok(Closed { held: self.held, file: None }) };
        writer.finish()?;
        let file = writer.into_inner()?.into_inner().map_err(|error| nameless_error(error.into_error()))?;
        Ok(Closed { held: Vec::new(), file: Some(Arc::new(Mutex::new(file))) })
    }
}

/// A full [`Shelf`].
#[derive(Clone, Debug)]
pub(crate) struct Closed {
    held: Vec<RecordBatch>,
    file: Option<Arc<Mutex<File>>>,
}

impl Closed {
    pub(crate) fn open(&self) -> Result<Shelved> {
        let Some(file) = &self.file else { return Ok(Shelved::Held(self.held.clone().into_iter())) };
        let reader = BufReader::with_capacity(1 << 16, Reader { file: file.clone(), at: 0 });
        Ok(Shelved::File(Box::new(StreamReader::try_new(reader, None)?)))
    }
}

/// Reads a file that others read at the same time, each from its own place.
pub(crate) struct Reader {
    file: Arc<Mutex<File>>,
    at: u64,
}

impl Read for Reader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.seek(SeekFrom::Start(self.at))?;
        let read = file.read(buffer)?;
        self.at += read as u64;
        Ok(read)
    }
}

/// An opened [`Shelf`].
pub(crate) enum Shelved {
    Held(std::vec::IntoIter<RecordBatch>),
    File(Box<StreamReader<BufReader<Reader>>>),
}

impl Iterator for Shelved {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Held(batches) => batches.next().map(Ok),
            Self::File(batches) => batches.next().map(|batch| Ok(batch?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, DictionaryArray, Int64Array, StringViewArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    fn batch(first: i64) -> RecordBatch {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + 100));
        let texts: ArrayRef = Arc::new(StringViewArray::from_iter_values((0..100).map(|i| format!("text number {i}"))));
        let plan = format!("plan {first}");
        let plans: DictionaryArray<Int32Type> = (0..100).map(|_| plan.as_str()).collect();
        RecordBatch::try_from_iter([("id", ids), ("text", texts), ("plan", Arc::new(plans))]).unwrap()
    }

    #[test]
    fn batches_come_back_in_order_from_memory_and_from_disk() {
        for bytes_max in [u64::MAX, 0, 20_000] {
            let batches: Vec<_> = (0..10).map(|i| batch(i * 100).slice(3, 90)).collect();
            let mut shelf = Shelf::new(batches[0].schema(), bytes_max);
            batches.iter().try_for_each(|batch| shelf.push(batch)).unwrap();
            assert_eq!(shelf.file.is_some(), bytes_max < u64::MAX);
            let closed = shelf.close().unwrap();
            // Two readers in turn, each from the start.
            for (place, pair) in closed.open().unwrap().zip(closed.open().unwrap()).enumerate() {
                assert_eq!((&pair.0.unwrap(), &pair.1.unwrap()), (&batches[place], &batches[place]));
            }
            assert_eq!(closed.open().unwrap().count(), 10);
        }
    }
}
