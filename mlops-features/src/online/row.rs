//! Rows as bytes: what stores keep per key and view.
//!
//! ```text
//! [format u8 = 1][schema id u32][event time i64][created i64][presence bits][fixed slots][tail]
//! ```
//! Integers are little endian. Presence bit 0 says whether there is a created time, bit `i + 1` whether feature `i` is
//! not null. Each feature has a slot of its width; text, binary and lists have a `u32` slot with the end of their bytes in
//! the tail, where values follow each other in the order of features: numbers of a list one after the other, texts of a
//! list each behind a `u32` with its length. Stores on disk add a CRC-32C of key and row.

mod columns;
mod list;
mod write;

pub(crate) use self::columns::{ColumnsBuilder, Filling};
pub(crate) use self::write::{RowBlock, RowWriter, Stamps};

use std::collections::BTreeMap;

use mlops_core::{Digest, Name};
use serde::{Deserialize, Serialize};

use crate::define::ValueType;
use crate::error::{Core, Error, Result};

/// First byte of every row of this layout.
pub(crate) const FORMAT: u8 = 1;

/// Format, schema id, event time, created time.
const HEADER: usize = 1 + 4 + 8 + 8;

/// Width of the slot of a value whose bytes are in the tail.
const END: usize = 4;

/// Where the values of one list of features are in a row.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct RowLayout {
    fields: Vec<(Name, ValueType)>,
    slots: Vec<usize>,
    /// For text and binary: the slot of the value before it in the tail.
    before: Vec<Option<usize>>,
    tail: usize,
    schema_id: u32,
}

/// A layout as stores write it down.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct StoredFields(pub(crate) Vec<(Name, ValueType)>);

impl RowLayout {
    pub(crate) fn new(fields: Vec<(Name, ValueType)>) -> Self {
        let mut at = HEADER + (fields.len() + 1).div_ceil(8);
        let slots = fields.iter().map(|(_, value_type)| {
            let slot = at;
            at += value_type.width().unwrap_or(END);
            slot
        });
        let slots: Vec<usize> = slots.collect();
        let mut last = None;
        let before = fields.iter().zip(&slots).map(|((_, value_type), slot)| match value_type.width() {
            Some(_) => None,
            None => last.replace(*slot),
        });
        let before = before.collect();
        let words: Vec<String> = fields.iter().map(|(name, value_type)| format!("{name}:{value_type}")).collect();
        let digest = Digest::of_parts(words.iter().map(String::as_bytes));
        let [a, b, c, d, ..] = *digest.as_bytes();
        Self { fields, slots, before, tail: at, schema_id: u32::from_le_bytes([a, b, c, d]) }
    }

    pub(crate) fn schema_id(&self) -> u32 {
        self.schema_id
    }

    /// Bytes of a row without values of variable length.
    pub(crate) fn bytes_min(&self) -> usize {
        self.tail
    }

    pub(crate) fn fields(&self) -> &[(Name, ValueType)] {
        &self.fields
    }

    pub(crate) fn stored(&self) -> StoredFields {
        StoredFields(self.fields.clone())
    }

    /// Appends a row of nulls; says where it begins.
    #[cfg(feature = "redis")]
    fn begin(&self, stamp: Stamp, out: &mut Vec<u8>) -> usize {
        let start = out.len();
        out.resize(start + self.tail, 0);
        self.put_header(stamp, &mut out[start..]);
        start
    }

    /// Writes what stands before the values of a row.
    fn put_header(&self, stamp: Stamp, out: &mut [u8]) {
        out[0] = FORMAT;
        out[1..5].copy_from_slice(&self.schema_id.to_le_bytes());
        out[5..13].copy_from_slice(&stamp.event_time.to_le_bytes());
        out[13..HEADER].copy_from_slice(&stamp.created.unwrap_or_default().to_le_bytes());
        out[HEADER] |= u8::from(stamp.created.is_some());
    }

    /// Notes in `slot` where the tail of the row at `start` ends by now.
    #[cfg(feature = "redis")]
    fn end_value(&self, start: usize, slot: usize, out: &mut [u8]) -> Result<()> {
        let end = tail_end(out.len() - start - self.tail)?;
        out[slot..slot + END].copy_from_slice(&end.to_le_bytes());
        Ok(())
    }

    /// Appends a row of `values`, each as [`RowBytes::value`] gives it.
    ///
    /// # Errors
    /// `Core(Invalid)` when its tail exceeds 4 GiB.
    #[cfg(feature = "redis")]
    pub(crate) fn assemble<'v>(
        &self,
        stamp: Stamp,
        values: impl Iterator<Item = Option<&'v [u8]>>,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let start = self.begin(stamp, out);
        for (index, value) in values.take(self.fields.len()).enumerate() {
            let slot = start + self.slots[index];
            if let Some(value) = value {
                out[start + HEADER + (index + 1) / 8] |= 1 << ((index + 1) % 8);
                match self.fields[index].1.width() {
                    Some(_) => out[slot..slot + value.len()].copy_from_slice(value),
                    None => out.extend_from_slice(value),
                }
            }
            if self.fields[index].1.width().is_none() {
                self.end_value(start, slot, out)?;
            }
        }
        Ok(())
    }

    /// For each feature of `wanted`, its position here; `None` where rows of this layout do not have it.
    ///
    /// # Errors
    /// [`Error::Changed`] when it has another type here.
    pub(crate) fn positions(&self, view: &str, wanted: &RowLayout) -> Result<Vec<Option<usize>>> {
        let known: BTreeMap<&Name, usize> = self.fields.iter().enumerate().map(|(i, (name, _))| (name, i)).collect();
        let find = |(name, declared): &(Name, ValueType)| match known.get(name) {
            None => Ok(None),
            Some(at) if self.fields[*at].1 == *declared => Ok(Some(*at)),
            Some(at) => Err(Error::Changed {
                view: view.to_owned(),
                what: name.to_string(),
                stored: self.fields[*at].1.to_string(),
                declared: declared.to_string(),
            }),
        };
        wanted.fields.iter().map(find).collect()
    }
}

/// Where a value in the tail ends, as its slot says it.
fn tail_end(bytes: usize) -> Result<u32> {
    Ok(u32::try_from(bytes).map_err(|_| Core::invalid("bytes of one row", bytes, "at most 4 GiB"))?)
}

/// When a row became true and known: what decides which of two rows stays. Ordered; no created time is lowest.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Stamp {
    pub(crate) event_time: i64,
    pub(crate) created: Option<i64>,
}

/// A stored row, whose header was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RowBytes<'a> {
    pub(crate) schema_id: u32,
    pub(crate) stamp: Stamp,
    bytes: &'a [u8],
}

impl<'a> RowBytes<'a> {
    /// Reads the header of `bytes`; `None` when they are no row.
    pub(crate) fn parse(bytes: &'a [u8]) -> Option<Self> {
        if bytes.len() <= HEADER || bytes[0] != FORMAT {
            return None;
        }
        let schema_id = u32::from_le_bytes(bytes[1..5].try_into().ok()?);
        let event_time = i64::from_le_bytes(bytes[5..13].try_into().ok()?);
        let created = i64::from_le_bytes(bytes[13..21].try_into().ok()?);
        let created = (bytes[HEADER] & 1 == 1).then_some(created);
        Some(Self { schema_id, stamp: Stamp { event_time, created }, bytes })
    }

    /// Whether feature `index` is not null; false beyond the end.
    fn has(&self, index: usize) -> bool {
        let bit = index + 1;
        self.bytes.get(HEADER + bit / 8).is_some_and(|flags| flags >> (bit % 8) & 1 == 1)
    }

    /// The first `N` bytes of the slot at `slot`.
    fn slot<const N: usize>(&self, slot: usize) -> std::result::Result<&'a [u8; N], Torn> {
        self.bytes.get(slot..).and_then(|rest| rest.first_chunk()).ok_or(Torn)
    }

    /// The bytes of the value of feature `index`, empty for a text or binary value that is; `None` when it is null.
    /// Fails when the row is cut off.
    #[cfg(feature = "redis")]
    pub(crate) fn value(&self, layout: &RowLayout, index: usize) -> std::result::Result<Option<&'a [u8]>, Torn> {
        if self.bytes.len() < layout.tail {
            return Err(Torn);
        }
        if !self.has(index) {
            return Ok(None);
        }
        match layout.fields[index].1.width() {
            Some(width) => {
                self.bytes.get(layout.slots[index]..).and_then(|rest| rest.get(..width)).map(Some).ok_or(Torn)
            }
            None => self.in_tail(layout, index).map(Some),
        }
    }

    /// The bytes of feature `index`, which is one of those in the tail.
    fn in_tail(&self, layout: &RowLayout, index: usize) -> std::result::Result<&'a [u8], Torn> {
        let end = self.end(layout.slots[index])?;
        let start = layout.before[index].map_or(Ok(0), |slot| self.end(slot))?;
        self.bytes.get(layout.tail + start..layout.tail + end).ok_or(Torn)
    }

    fn end(&self, slot: usize) -> std::result::Result<usize, Torn> {
        self.slot(slot).map(|bytes| u32::from_le_bytes(*bytes) as usize)
    }
}

/// A row that is shorter than its layout says, or holds what no writer writes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Torn;

#[cfg(test)]
mod tests;
