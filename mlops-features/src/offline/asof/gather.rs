//! Brings the chosen values to the entity rows.

use arrow::array::{Array, ArrayRef, BooleanArray, UInt32Array, new_null_array};
use arrow::buffer::{BooleanBuffer, Buffer, NullBuffer, ScalarBuffer};
use arrow::compute::{FilterBuilder, concat, take};
use arrow::util::bit_util;
use mlops_core::Dataset;

use super::scan;
use super::spine::NONE;
use crate::columns::cast_exactly;
use crate::define::ValueType;
use crate::error::{Core, Result};
use crate::feature::Feature;
use crate::service::ViewJoin;

/// Values that are held at once, before they are put in place.
const GROUP_BYTES: usize = 32 << 20;

/// Guess of the bytes of one text, binary value or list.
const VALUE_BYTES_GUESS: usize = 32;

/// Columns of the features of `join`: for each entity row the value in the history row `chosen` for it.
pub(super) fn columns(
    join: &ViewJoin,
    history: &Dataset,
    chosen: &[u32],
    history_rows: usize,
) -> Result<Vec<ArrayRef>> {
    let plan = Plan::new(chosen, history_rows);
    if plan.kept == 0 {
        return Ok(join.features().map(|f| new_null_array(&f.value_type.data_type(), chosen.len())).collect());
    }
    let features: Vec<&Feature> = join.features().collect();
    let mut columns = Vec::with_capacity(features.len());
    let mut rest = features.as_slice();
    while !rest.is_empty() {
        let count = if history.is_held() { rest.len() } else { fitting(rest, plan.kept) };
        let (group, later) = rest.split_at(count);
        columns.extend(plan.read(join, history, group)?);
        rest = later;
    }
    Ok(columns)
}

/// How many of `features` are read together.
fn fitting(features: &[&Feature], rows: usize) -> usize {
    let mut bytes = 0;
    let fits = |feature: &&&Feature| {
        bytes += rows * feature.value_type.width().unwrap_or(VALUE_BYTES_GUESS);
        bytes <= GROUP_BYTES
    };
    features.iter().take_while(fits).count().max(1)
}

/// Which rows of the history to keep, and where they go.
struct Plan {
    keep: BooleanBuffer,
    kept: usize,
    /// Per entity row the position among the kept rows.
    indices: UInt32Array,
    history_rows: usize,
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
        Self { keep, kept, indices, history_rows }
    }

    /// The columns of `features`, in place.
    fn read(&self, join: &ViewJoin, history: &Dataset, features: &[&Feature]) -> Result<Vec<ArrayRef>> {
        let names: Vec<&str> = features.iter().map(|feature| feature.name.as_str()).collect();
        let mut kept: Vec<Vec<ArrayRef>> = vec![Vec::new(); features.len()];
        let mut rows = 0;
        for batch in scan(history, &names)? {
            let batch = batch?;
            if rows + batch.num_rows() > self.history_rows {
                return Err(self.changed(join, rows + batch.num_rows()));
            }
            let mask = self.keep.slice(rows, batch.num_rows());
            rows += batch.num_rows();
            let count = mask.count_set_bits();
            if count == 0 {
                continue;
            }
            let filter = FilterBuilder::new(&BooleanArray::new(mask, None)).optimize().build();
            for ((feature, column), kept) in features.iter().zip(batch.columns()).zip(&mut kept) {
                let values = if count == column.len() { column.clone() } else { filter.filter(column)? };
                kept.push(cast_exactly(&values, &feature.value_type.data_type(), feature.name.as_str())?);
            }
        }
        if rows != self.history_rows {
            return Err(self.changed(join, rows));
        }
        kept.into_iter().zip(features).map(|(parts, feature)| self.place(parts, feature)).collect()
    }

    fn place(&self, parts: Vec<ArrayRef>, feature: &Feature) -> Result<ArrayRef> {
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        let together = concat(&parts).map_err(|e| too_long(feature, e))?;
        let placed = take(&together, &self.indices, None).map_err(|e| too_long(feature, e))?;
        Ok(if placed.null_count() == 0 { without_nulls(placed) } else { placed })
    }

    fn changed(&self, join: &ViewJoin, found: usize) -> crate::Error {
        let name = join.view().name().to_string();
        let expected = format!("{} rows", self.history_rows);
        Core::Conflict { kind: "history of view", name, expected, found: format!("{found} rows") }.into()
    }
}

/// Columns of text, bytes and lists end at 2 GiB.
fn too_long(feature: &Feature, error: arrow::error::ArrowError) -> Core {
    match feature.value_type {
        ValueType::Utf8 | ValueType::Binary | ValueType::List(_) => {
            Core::invalid_data(format!("column `{}`", feature.name), error)
        }
        _ => error.into(),
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
