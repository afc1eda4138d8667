//! Brings the chosen values to the entity rows.

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, OffsetSizeTrait, UInt32Array, new_null_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use arrow::compute::{FilterBuilder, concat, take};
use arrow::datatypes::DataType;
use arrow::util::bit_util;
use mlops_core::Dataset;

use super::group::NONE;
use super::scan;
use crate::columns::cast_exactly;
use crate::error::{Core, Result};
use crate::feature::Feature;
use crate::service::ViewJoin;

/// Guess of the bytes of one text, binary value or list.
const VALUE_BYTES_GUESS: usize = 32;

/// Most bytes of one column that is put in place as a whole: offsets of texts end at 2 GiB.
const COLUMN_BYTES_MAX: usize = 1 << 30;

/// Bytes of the values of one entity row, as far as types tell.
pub(super) fn row_bytes<'a>(features: impl IntoIterator<Item = &'a Feature>) -> usize {
    features.into_iter().map(|feature| feature.value_type.width().unwrap_or(VALUE_BYTES_GUESS)).sum()
}

/// How many of `features` are read together, so that `rows` values of each take at most `bytes`; at least one.
pub(super) fn fitting(features: &[&Feature], rows: usize, bytes: usize) -> usize {
    let mut sum = 0_usize;
    let fits = |feature: &&&Feature| {
        sum = sum.saturating_add(rows.saturating_mul(row_bytes([**feature])));
        sum <= bytes
    };
    features.iter().take_while(fits).count().max(1)
}

/// Values of some features, and the history that they are in.
pub(super) struct Values<'a> {
    pub(super) join: &'a ViewJoin,
    pub(super) history: &'a Dataset,
    pub(super) history_rows: usize,
    pub(super) features: &'a [&'a Feature],
    pub(super) block_rows: usize,
}

impl Values<'_> {
    /// The values of the rows in `chosen`, each once; `None` when they take more than `bytes`.
    pub(super) fn pick(&self, chosen: &[u32], bytes: usize) -> Result<Option<Picked>> {
        let plan = Plan::new(chosen, self.history_rows);
        let mut parts = vec![Vec::new(); self.features.len()];
        if plan.kept > 0 && !self.read(&plan, bytes, &mut parts)? {
            return Ok(None);
        }
        let types = self.features.iter().map(|feature| feature.value_type.data_type()).collect();
        let names = self.features.iter().map(|feature| feature.name.to_string()).collect();
        Ok(Some(Picked { parts, types, names, indices: plan.indices }))
    }

    /// Puts the values of `chosen` in place piece by piece, holding at most `bytes` of them at once.
    pub(super) fn place_all(
        &self,
        chosen: &[u32],
        bytes: usize,
        write: &mut dyn FnMut(Vec<ArrayRef>) -> Result<()>,
    ) -> Result<()> {
        // A single row is taken whatever its size.
        let bytes = if chosen.len() <= 1 { usize::MAX } else { bytes };
        if let Some(picked) = self.pick(chosen, bytes)? {
            return picked.place_blocks(self.block_rows, write);
        }
        let (first, second) = chosen.split_at(chosen.len() / 2);
        self.place_all(first, bytes, write)?;
        self.place_all(second, bytes, write)
    }

    fn read(&self, plan: &Plan, bytes: usize, parts: &mut [Vec<ArrayRef>]) -> Result<bool> {
        let names: Vec<&str> = self.features.iter().map(|feature| feature.name.as_str()).collect();
        let (mut rows, mut held) = (0, 0);
        for batch in scan(self.history, &names, self.block_rows)? {
            let batch = batch?;
            if rows + batch.num_rows() > self.history_rows {
                return Err(self.changed(rows + batch.num_rows()));
            }
            let mask = plan.keep.slice(rows, batch.num_rows());
            rows += batch.num_rows();
            let count = mask.count_set_bits();
            if count == 0 {
                continue;
            }
            let filter = FilterBuilder::new(&BooleanArray::new(mask, None)).optimize().build();
            for ((feature, column), parts) in self.features.iter().zip(batch.columns()).zip(&mut *parts) {
                let values = if count == column.len() { column.clone() } else { filter.filter(column)? };
                let values = cast_exactly(&values, &feature.value_type.data_type(), feature.name.as_str())?;
                held += values.to_data().get_slice_memory_size()?;
                parts.push(values);
            }
            if held > bytes {
                return Ok(false);
            }
        }
        if rows != self.history_rows {
            return Err(self.changed(rows));
        }
        Ok(true)
    }

    fn changed(&self, found: usize) -> crate::Error {
        let name = self.join.view().name().to_string();
        let expected = format!("{} rows", self.history_rows);
        Core::Conflict { kind: "history of view", name, expected, found: format!("{found} rows") }.into()
    }
}

/// Which rows of the history to keep, and where they go.
struct Plan {
    keep: BooleanBuffer,
    kept: usize,
    /// Per entity row the position among the kept rows.
    indices: UInt32Array,
}

impl Plan {
    fn new(chosen: &[u32], history_rows: usize) -> Self {
        let mut bits = vec![0_u8; history_rows.div_ceil(8)];
        for row in chosen.iter().filter(|row| **row != NONE) {
            bit_util::set_bit(&mut bits, *row as usize);
        }
        let keep = BooleanBuffer::new(Buffer::from_vec(bits), 0, history_rows);
        let kept = keep.count_set_bits();
        let indices: Vec<u32> = if kept == history_rows {
            chosen.iter().map(|row| if *row == NONE { 0 } else { *row }).collect()
        } else {
            let ranks = Ranks::new(&keep);
            chosen.iter().map(|row| if *row == NONE { 0 } else { ranks.before(*row as usize) }).collect()
        };
        let nulls: NullBuffer = chosen.iter().map(|row| *row != NONE).collect::<BooleanBuffer>().into();
        let indices = UInt32Array::new(ScalarBuffer::from(indices), Some(nulls).filter(|n| n.null_count() > 0));
        Self { keep, kept, indices }
    }
}

/// Values that were picked, and where they go.
pub(super) struct Picked {
    /// Per feature; none when no entity row has a value.
    parts: Vec<Vec<ArrayRef>>,
    types: Vec<DataType>,
    names: Vec<String>,
    indices: UInt32Array,
}

impl Picked {
    /// About how many bytes they take in place; `None` when one column is too long to be one array.
    pub(super) fn placed_bytes(&self) -> Result<Option<usize>> {
        let mut all = 0_usize;
        for parts in &self.parts {
            let kept: usize = parts.iter().map(|part| part.len()).sum();
            let mut bytes = 0;
            for part in parts {
                bytes += part.to_data().get_slice_memory_size()?;
            }
            let placed = (bytes as u128 * self.indices.len() as u128 / kept.max(1) as u128) as usize;
            if placed > COLUMN_BYTES_MAX {
                return Ok(None);
            }
            all = all.saturating_add(placed);
        }
        Ok(Some(all))
    }

    /// One column per feature, for all entity rows.
    pub(super) fn place(self) -> Result<Vec<ArrayRef>> {
        let Self { parts, types, names, indices } = self;
        let columns = parts.into_iter().zip(&types).zip(&names);
        columns.map(|((parts, data_type), name)| place(&together(&parts, data_type, name)?, &indices, name)).collect()
    }

    pub(super) fn place_blocks(
        self,
        block_rows: usize,
        write: &mut dyn FnMut(Vec<ArrayRef>) -> Result<()>,
    ) -> Result<()> {
        /// Bytes of the values of one column in one piece.
        const PIECE_BYTES: usize = 64 << 20;
        let Self { parts, types, names, indices } = self;
        let columns = parts.into_iter().zip(&types).zip(&names);
        let columns = columns.map(|((parts, data_type), name)| together(&parts, data_type, name));
        let columns = columns.collect::<Result<Vec<_>>>()?;
        let widest = columns.iter().map(widest).max().unwrap_or(0);
        let rows = (PIECE_BYTES / widest.max(1)).clamp(1, block_rows);
        for start in (0..indices.len()).step_by(rows) {
            let indices = indices.slice(start, rows.min(indices.len() - start));
            write(columns.iter().zip(&names).map(|(c, name)| place(c, &indices, name)).collect::<Result<_>>()?)?;
        }
        Ok(())
    }
}

/// One array of all parts.
fn together(parts: &[ArrayRef], data_type: &DataType, name: &str) -> Result<ArrayRef> {
    let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
    if parts.is_empty() {
        // Indices of nulls are 0, which must be in bounds.
        return Ok(new_null_array(data_type, 1));
    }
    concat(&parts).map_err(|e| too_long(data_type, name, e))
}

fn place(values: &ArrayRef, indices: &UInt32Array, name: &str) -> Result<ArrayRef> {
    let placed = take(values, indices, None).map_err(|e| too_long(values.data_type(), name, e))?;
    Ok(if placed.null_count() == 0 { without_nulls(placed) } else { placed })
}

/// Columns with offsets end at 2 GiB.
fn too_long(data_type: &DataType, name: &str, error: arrow::error::ArrowError) -> crate::Error {
    match data_type.primitive_width() {
        None => Core::invalid_data(format!("column `{name}`"), error).into(),
        Some(_) => error.into(),
    }
}

/// Bytes of the longest value.
fn widest(array: &ArrayRef) -> usize {
    fn longest<O: OffsetSizeTrait>(offsets: &OffsetBuffer<O>) -> usize {
        offsets.lengths().max().unwrap_or(0)
    }
    match array.data_type() {
        DataType::Utf8 => longest(array.as_string::<i32>().offsets()),
        DataType::Binary => longest(array.as_binary::<i32>().offsets()),
        DataType::List(_) => {
            let lists = array.as_list::<i32>();
            longest(lists.offsets()).saturating_mul(widest(lists.values()).max(1))
        }
        DataType::FixedSizeList(_, length) => {
            let inner = array.as_fixed_size_list().values();
            (*length as usize).saturating_mul(widest(inner).max(1))
        }
        other => other.primitive_width().unwrap_or(1),
    }
}

/// Drops a null buffer that says nothing.
fn without_nulls(array: ArrayRef) -> ArrayRef {
    if array.nulls().is_none() {
        return array;
    }
    let data = array.to_data().into_builder().nulls(None);
    data.build().map_or(array, arrow::array::make_array)
}

/// How many bits are set before a position, in constant time.
struct Ranks {
    words: Vec<u64>,
    before: Vec<u32>,
}

impl Ranks {
    fn new(bits: &BooleanBuffer) -> Self {
        let chunks = bits.bit_chunks();
        let words: Vec<u64> = chunks.iter_padded().collect();
        let mut sum = 0;
        let before = words.iter().map(|word| {
            let before = sum;
            sum += word.count_ones();
            before
        });
        Self { before: before.collect(), words }
    }

    fn before(&self, at: usize) -> u32 {
        let word = self.words[at / 64] & ((1 << (at % 64)) - 1);
        self.before[at / 64] + word.count_ones()
    }
}
