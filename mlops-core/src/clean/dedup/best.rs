//! Keeping a row that is only known when all were seen.

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use foldhash::fast::FixedState;

use super::super::pick::is_number;
use super::super::rows::admit;
use super::super::{Changes, Pass, StepChanges};
use super::key::KeyReader;
use super::{KIND, Limits, too_many};
use crate::spill::{Shelf, Shelved};
use crate::stats::values::is_time;
use crate::{Error, Result, Schema};

/// The row of a key that is kept so far.
struct Winner {
    row: u64,
    rank: Option<u64>,
}

/// Sets all rows aside, knows which of them are kept, and hands those on when it is drained.
pub(super) struct Best {
    input: Schema,
    reader: KeyReader,
    /// The column whose greatest value is kept; without one the last row is.
    ranked: Option<usize>,
    keys_max: u64,
    winners: HashMap<u128, Winner, FixedState>,
    kept: Bits,
    shelf: Option<Shelf>,
    shelved: Option<Shelved>,
    drained: u64,
    changes: StepChanges,
}

impl Best {
    pub(super) fn begin(input: &Schema, reader: KeyReader, ranked: Option<usize>, limits: Limits) -> Result<Self> {
        if let Some(position) = ranked {
            let field = input.arrow().field(position);
            ensure_ranks(field.name(), field.data_type())?;
        }
        Ok(Self {
            input: input.clone(),
            reader,
            ranked,
            keys_max: limits.keys_max,
            winners: HashMap::default(),
            kept: Bits::default(),
            shelf: Some(Shelf::new(input.arrow().clone(), limits.held_bytes_max)),
            shelved: None,
            drained: 0,
            changes: StepChanges::new(KIND),
        })
    }

    fn see(&mut self, row: u64, key: Option<u128>, rank: Option<u64>) {
        let Some(key) = key else {
            self.kept.set(row);
            self.changes.rows_out += 1;
            return;
        };
        let last = self.ranked.is_none();
        match self.winners.get_mut(&key) {
            None => {
                self.winners.insert(key, Winner { row, rank });
                self.kept.set(row);
                self.changes.rows_out += 1;
            }
            Some(winner) if last || rank > winner.rank => {
                self.kept.unset(winner.row);
                self.kept.set(row);
                *winner = Winner { row, rank };
            }
            Some(_) => {}
        }
    }
}

impl Pass for Best {
    fn apply(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let batch = admit(&self.input, batch)?;
        let Some(shelf) = &mut self.shelf else {
            return Err(Error::invalid("pass", "drained", "one that was not drained yet"));
        };
        if batch.num_rows() > 0 {
            shelf.push(&batch)?;
        }
        let ranks = self.ranked.map(|position| ranks(batch.column(position))).transpose()?;
        for (place, key) in self.reader.keys(&batch)?.into_iter().enumerate() {
            let rank = ranks.as_ref().and_then(|ranks| ranks[place]);
            self.see(self.changes.rows_in + place as u64, key, rank);
        }
        if self.winners.len() as u64 > self.keys_max {
            return Err(too_many(self.keys_max));
        }
        self.changes.rows_in += batch.num_rows() as u64;
        Ok(batch.slice(0, 0))
    }

    fn drain(&mut self) -> Result<Option<RecordBatch>> {
        if let Some(shelf) = self.shelf.take() {
            self.winners = HashMap::default();
            self.shelved = Some(shelf.open());
        }
        let Some(shelved) = &mut self.shelved else { return Ok(None) };
        for batch in shelved {
            let batch = batch?;
            let first = self.drained;
            self.drained += batch.num_rows() as u64;
            let keep = BooleanBuffer::collect_bool(batch.num_rows(), |row| self.kept.is_set(first + row as u64));
            let kept = filter_record_batch(&batch, &BooleanArray::new(keep, None))?;
            if kept.num_rows() > 0 {
                return self.input.attach(&kept).map(Some);
            }
        }
        Ok(None)
    }

    fn changes(&self) -> Changes {
        self.changes.clone().into()
    }
}

/// One bit per row.
#[derive(Default)]
struct Bits(Vec<u64>);

impl Bits {
    fn set(&mut self, row: u64) {
        let word = (row / 64) as usize;
        if word >= self.0.len() {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (row % 64);
    }

    fn unset(&mut self, row: u64) {
        if let Some(word) = self.0.get_mut((row / 64) as usize) {
            *word &= !(1 << (row % 64));
        }
    }

    fn is_set(&self, row: u64) -> bool {
        self.0.get((row / 64) as usize).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }
}

fn ensure_ranks(name: &str, data_type: &DataType) -> Result<()> {
    if is_number(data_type) || is_time(data_type) || data_type == &DataType::Boolean {
        return Ok(());
    }
    Err(Error::schema(name, "numbers, times or booleans, of which one is the greatest", data_type))
}

/// Numbers that order as the values do; `None` for null and NaN.
fn ranks(array: &ArrayRef) -> Result<Vec<Option<u64>>> {
    const SIGN: u64 = 1 << 63;
    let of_float = |value: f64| {
        let bits = (value + 0.0).to_bits();
        (!value.is_nan()).then_some(if bits & SIGN == 0 { bits | SIGN } else { !bits })
    };
    Ok(match array.data_type() {
        unsigned if unsigned.is_unsigned_integer() => {
            cast(array, &DataType::UInt64)?.as_primitive::<UInt64Type>().iter().collect()
        }
        DataType::Float32 | DataType::Float64 => {
            let wide = cast(array, &DataType::Float64)?;
            wide.as_primitive::<Float64Type>().iter().map(|value| value.and_then(of_float)).collect()
        }
        _ => {
            let wide = cast(array, &DataType::Int64)?;
            wide.as_primitive::<Int64Type>().iter().map(|value| value.map(|v| v.cast_unsigned() ^ SIGN)).collect()
        }
    })
}
