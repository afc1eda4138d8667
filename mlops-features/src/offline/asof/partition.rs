//! Rows by the hash of their key, so that what belongs together is joined together and the rest can wait.

use std::hash::BuildHasher;

use arrow::array::{Array, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, take_record_batch};
use foldhash::fast::RandomState;

use super::group::{each, each_bytes};
use super::options::Room;
use crate::error::Result;
use crate::key::{KeyColumn, Keys};
use mlops_core::spill::{Spool, Spooled};

/// Most partitions: their numbers are bytes.
pub(in crate::offline) const PARTITIONS_MAX: usize = 256;

/// Numbers keys from 0 to below the number of partitions; equal keys alike.
#[derive(Clone, Debug)]
pub(crate) struct Partitioner {
    hasher: RandomState,
    partitions: usize,
}

impl Partitioner {
    pub(in crate::offline) fn new(partitions: usize) -> Self {
        debug_assert!((1..=PARTITIONS_MAX).contains(&partitions));
        Self { hasher: RandomState::default(), partitions }
    }

    pub(in crate::offline) fn partitions(&self) -> usize {
        self.partitions
    }

    /// The partition of each key; that of a null key is 0.
    pub(in crate::offline) fn number(&self, keys: &Keys) -> Vec<u8> {
        let mut out = Vec::with_capacity(keys.len());
        let number = |hash: u64| ((u128::from(hash) * self.partitions as u128) >> 64) as u8;
        match keys.columns() {
            [KeyColumn::Integer(values)] => {
                each(values, |value| out.push(value.map_or(0, |value| number(self.hasher.hash_one(value)))));
            }
            _ => each_bytes(keys, |key| out.push(key.map_or(0, |key| number(self.hasher.hash_one(key))))),
        }
        out
    }
}

/// Writes rows to the partitions that they belong to, each in the order in which they come.
pub(in crate::offline) struct Scatter {
    spool: Spool,
    waiting: Vec<Vec<RecordBatch>>,
    waiting_bytes: Vec<u64>,
    bytes_max: u64,
}

impl Scatter {
    /// For `spool`, holding about an eighth of the room.
    pub(in crate::offline) fn new(spool: Spool, partitions: usize, room: &Room) -> Self {
        /// Beyond this, larger pieces cost less time no more.
        const PIECE_BYTES_MAX: u64 = 1 << 20;
        let bytes_max = (room.bytes / 8 / partitions as u64).min(PIECE_BYTES_MAX);
        Self { spool, waiting: vec![Vec::new(); partitions], waiting_bytes: vec![0; partitions], bytes_max }
    }

    /// Takes the rows of `batch`, each for its partition in `numbers`.
    pub(in crate::offline) fn push(&mut self, batch: &RecordBatch, numbers: &[u8]) -> Result<()> {
        let mut rows: Vec<Vec<u32>> = vec![Vec::new(); self.waiting.len()];
        for (row, number) in numbers.iter().enumerate() {
            rows[usize::from(*number)].push(row as u32);
        }
        for (number, rows) in rows.into_iter().enumerate().filter(|(_, rows)| !rows.is_empty()) {
            let piece = take_record_batch(batch, &UInt32Array::from(rows))?;
            self.waiting_bytes[number] += bytes(&piece)?;
            self.waiting[number].push(piece);
            if self.waiting_bytes[number] > self.bytes_max {
                self.flush(number)?;
            }
        }
        Ok(())
    }

    fn flush(&mut self, number: usize) -> Result<()> {
        self.waiting_bytes[number] = 0;
        let pieces = std::mem::take(&mut self.waiting[number]);
        match pieces.as_slice() {
            [] => Ok(()),
            [one] => Ok(self.spool.write(number, one)?),
            many => Ok(self.spool.write(number, &concat_batches(many[0].schema_ref(), many)?)?),
        }
    }

    pub(in crate::offline) fn close(mut self) -> Result<Spooled> {
        (0..self.waiting.len()).try_for_each(|number| self.flush(number))?;
        Ok(self.spool.close())
    }
}

fn bytes(batch: &RecordBatch) -> Result<u64> {
    let mut sum = 0;
    for column in batch.columns() {
        sum += column.to_data().get_slice_memory_size()? as u64;
    }
    Ok(sum)
}
