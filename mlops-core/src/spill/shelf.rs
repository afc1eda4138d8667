//! Batches that wait: in memory while they are few, in a file without a name beyond.

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::{Spool, Spooled, SpooledBatches};
use crate::Result;

/// Takes batches of one schema and gives them back in order.
pub(crate) struct Shelf {
    schema: SchemaRef,
    bytes_max: u64,
    bytes: u64,
    held: Vec<RecordBatch>,
    spool: Option<Spool>,
}

impl Shelf {
    pub(crate) fn new(schema: SchemaRef, bytes_max: u64) -> Self {
        Self { schema, bytes_max, bytes: 0, held: Vec::new(), spool: None }
    }

    pub(crate) fn push(&mut self, batch: &RecordBatch) -> Result<()> {
        if let Some(spool) = &mut self.spool {
            return spool.write(0, batch);
        }
        self.held.push(batch.clone());
        self.bytes += batch.get_array_memory_size() as u64;
        if self.bytes > self.bytes_max {
            let mut spool = Spool::create(&std::env::temp_dir(), self.schema.clone(), 1)?;
            self.held.drain(..).try_for_each(|batch| spool.write(0, &batch))?;
            self.spool = Some(spool);
        }
        Ok(())
    }

    /// Everything that was pushed, in order.
    pub(crate) fn open(self) -> Shelved {
        self.close().open()
    }

    /// What was pushed, to be opened as often as wanted.
    pub(crate) fn close(self) -> Closed {
        match self.spool {
            Some(spool) => Closed::Filed(spool.close()),
            None => Closed::Held(self.held),
        }
    }
}

/// A full [`Shelf`].
#[derive(Clone, Debug)]
pub(crate) enum Closed {
    Held(Vec<RecordBatch>),
    Filed(Spooled),
}

impl Closed {
    pub(crate) fn open(&self) -> Shelved {
        match self {
            Self::Held(batches) => Shelved::Held(batches.clone().into_iter()),
            Self::Filed(spooled) => Shelved::Filed(spooled.read(0)),
        }
    }
}

/// An opened [`Shelf`].
pub(crate) enum Shelved {
    Held(std::vec::IntoIter<RecordBatch>),
    Filed(SpooledBatches),
}

impl Iterator for Shelved {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Held(batches) => batches.next().map(Ok),
            Self::Filed(batches) => batches.next(),
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
            assert_eq!(shelf.spool.is_some(), bytes_max < u64::MAX);
            let closed = shelf.close();
            // Two readers in turn, each from the start.
            for (place, pair) in closed.open().zip(closed.open()).enumerate() {
                assert_eq!((&pair.0.unwrap(), &pair.1.unwrap()), (&batches[place], &batches[place]));
            }
            assert_eq!(closed.open().count(), 10);
        }
    }
}
