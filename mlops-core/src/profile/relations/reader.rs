//! Rows of record batches as numbers and hashes, in blocks that do not depend on where batches end.

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::DataType;

use super::{Related, RelatedKind};
use crate::profile::{ColumnKind, ColumnProfile};
use crate::stats::{hash, values};
use crate::{Error, Result};

/// Which columns of a batch are read, and as what.
#[derive(Debug, Clone)]
pub(crate) struct RowReader {
    /// Columns that tell rows apart.
    hashed: Vec<usize>,
    /// Of those, the ones that are related with each other: places in `hashed`.
    related: Vec<usize>,
}

/// Rows that wait until there are enough of them for one block.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Pending {
    pub(crate) hashes: Vec<u64>,
    /// One list of cells for each related column, NaN where one is missing.
    pub(crate) cells: Vec<Vec<f64>>,
}

/// Rows of one block.
pub(crate) const BLOCK: usize = 1024;
/// Stands for a missing cell in the hash of a row.
const MISSING: u64 = 0x6E75_6C6C;

impl RowReader {
    /// Reads the columns that may be shown; the first `most` of them are related with each other.
    pub(crate) fn new(columns: &[ColumnProfile], most: usize) -> (Self, Vec<Related>) {
        let is_read = |column: &ColumnProfile| column.kind() != ColumnKind::Other && !column.is_hidden();
        let hashed: Vec<usize> = (0..columns.len()).filter(|&place| is_read(&columns[place])).collect();
        let related: Vec<usize> = (0..hashed.len().min(most)).collect();
        let names = related.iter().map(|&place| Related::of(&columns[hashed[place]])).collect();
        (Self { hashed, related }, names)
    }

    /// Adds the rows `from..from + len` of `batch` to `pending`.
    pub(crate) fn read(&self, batch: &RecordBatch, from: usize, len: usize, pending: &mut Pending) -> Result<()> {
        let start = pending.hashes.len();
        pending.hashes.resize(start + len, 0);
        pending.cells.resize_with(self.related.len(), Vec::new);
        let (mut hashes, mut spare) = (vec![MISSING; len], Vec::new());
        for (place, &column) in self.hashed.iter().enumerate() {
            let array = batch.column(column).slice(from, len);
            hashes.fill(MISSING);
            let cells = pending.cells.get_mut(place).unwrap_or(&mut spare);
            let first = cells.len();
            cells.resize(first + len, f64::NAN);
            read_column(array.as_ref(), &mut cells[first..], &mut hashes)?;
            spare.clear();
            for (row, cell) in pending.hashes[start..].iter_mut().zip(&hashes) {
                *row = hash::chain(*row, *cell);
            }
        }
        Ok(())
    }
}

/// Writes the present values of `array` to their rows: numbers as they are, categories as 32 bits of their hash.
fn read_column(array: &dyn Array, cells: &mut [f64], hashes: &mut [u64]) -> Result<()> {
    let mut put = |row: usize, cell: f64, hash: u64| (cells[row], hashes[row]) = (cell, hash);
    let mut put_text = |row: usize, hash: u64| put(row, f64::from(hash as u32), hash);
    match array.data_type() {
        DataType::Boolean => {
            let values = array.as_boolean().iter().enumerate();
            values.for_each(|(row, value)| {
                if let Some(value) = value {
                    put(row, f64::from(u8::from(value)), hash::of_key(u64::from(value)));
                }
            });
        }
        DataType::Utf8 => each_text(array.as_string::<i32>().iter(), &mut put_text),
        DataType::LargeUtf8 => each_text(array.as_string::<i64>().iter(), &mut put_text),
        DataType::Utf8View => each_text(array.as_string_view().iter(), &mut put_text),
        DataType::Dictionary(..) if values::is_text(array.data_type()) => read_dictionary(array, &mut put_text)?,
        _ => {
            let mut next = 0;
            let nulls = array.nulls().filter(|nulls| nulls.null_count() > 0);
            values::numbers(array, &mut |values, keys| {
                for (&value, &key) in values.iter().zip(keys) {
                    while nulls.is_some_and(|nulls| nulls.is_null(next)) {
                        next += 1;
                    }
                    put(next, value, hash::of_key(key));
                    next += 1;
                }
            })?;
        }
    }
    Ok(())
}

fn each_text<'a>(texts: impl Iterator<Item = Option<&'a str>>, put: &mut dyn FnMut(usize, u64)) {
    for (row, text) in texts.enumerate() {
        if let Some(text) = text {
            put(row, hash::of_text(text));
        }
    }
}

fn read_dictionary(array: &dyn Array, put: &mut dyn FnMut(usize, u64)) -> Result<()> {
    let Some(dictionary) = array.as_any_dictionary_opt() else {
        return Err(Error::invalid("array type", array.data_type(), "a dictionary"));
    };
    let (keys, values) = (dictionary.keys(), dictionary.values());
    if values.is_empty() {
        return Ok(());
    }
    for (row, place) in dictionary.normalized_keys().into_iter().enumerate() {
        if keys.is_valid(row)
            && let Some(text) = values::text_at(values, place)
        {
            put(row, hash::of_text(text));
        }
    }
    Ok(())
}

impl Related {
    fn of(column: &ColumnProfile) -> Self {
        let kind = match column.kind() {
            ColumnKind::Number | ColumnKind::Time => RelatedKind::Number,
            _ => RelatedKind::Category,
        };
        Self { name: column.name().to_owned(), kind }
    }
}
