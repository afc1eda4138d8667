//! A random sample of the different rows of a table, each with how often it stands there.

use std::collections::BTreeMap;

use crate::stats::bytes::{Reader, Writer, serde_by_bytes};
use crate::{Error, Result};

/// The rows with the smallest hashes: which ones these are depends on the set of rows only, neither on their order nor
/// on how they were split and merged. A row that is held has been from its first copy on, so its count is exact.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct RowSample {
    width: usize,
    rows: BTreeMap<u64, Row>,
    /// Rows with a hash above this are not held; all are while the sample is not full.
    limit: Option<u64>,
}

serde_by_bytes!(RowSample);

#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) count: u64,
    /// One number for each related column, NaN where it is missing.
    pub(crate) cells: Box<[f64]>,
}

impl PartialEq for Row {
    /// Bit by bit: what is missing on both sides is equal.
    fn eq(&self, other: &Self) -> bool {
        let bits = |row: &Self| row.cells.iter().map(|cell| cell.to_bits()).collect::<Vec<_>>();
        self.count == other.count && bits(self) == bits(other)
    }
}

impl RowSample {
    /// Different rows that are held.
    pub(crate) const SIZE: usize = 1024;

    pub(crate) fn new(width: usize) -> Self {
        Self { width, rows: BTreeMap::new(), limit: None }
    }

    #[inline]
    pub(crate) fn offer(&mut self, hash: u64, cells: impl FnOnce() -> Box<[f64]>) {
        if self.limit.is_none_or(|limit| hash <= limit) {
            self.rows.entry(hash).or_insert_with(|| Row { count: 0, cells: cells() }).count += 1;
            self.trim();
        }
    }

    fn trim(&mut self) {
        while self.rows.len() > Self::SIZE {
            self.rows.pop_last();
            self.limit = self.rows.last_key_value().map(|(&hash, _)| hash);
        }
    }

    /// Adds a sample of rows of the same width.
    pub(crate) fn merge(&mut self, other: &Self) {
        for (&hash, row) in &other.rows {
            self.rows.entry(hash).and_modify(|mine| mine.count += row.count).or_insert_with(|| row.clone());
        }
        if let Some(limit) = self.limit.into_iter().chain(other.limit).min() {
            self.limit = Some(limit);
            self.rows.retain(|&hash, _| hash <= limit);
        }
        self.trim();
    }

    /// Whether every row is held.
    pub(crate) fn is_whole(&self) -> bool {
        self.limit.is_none()
    }

    /// Hashes and rows.
    pub(crate) fn rows(&self) -> impl ExactSizeIterator<Item = (u64, &Row)> {
        self.rows.iter().map(|(&hash, row)| (hash, row))
    }

    /// Leaves out the cells of the columns that are not `kept`.
    pub(crate) fn keep(&mut self, kept: &[bool]) {
        for row in self.rows.values_mut() {
            row.cells = row.cells.iter().zip(kept).filter(|(_, kept)| **kept).map(|(cell, _)| *cell).collect();
        }
        self.width = kept.iter().filter(|kept| **kept).count();
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// A format number, hashes and counts, and the cells column by column.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u32(1);
        out.u64(self.width as u64);
        out.u64(self.limit.unwrap_or(u64::MAX));
        out.u64(self.rows.len() as u64);
        for (&hash, row) in &self.rows {
            out.u64(hash);
            out.u64(row.count);
        }
        for column in 0..self.width {
            self.rows.values().for_each(|row| out.f64(row.cells[column]));
        }
        out.finish()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut from = Reader::new(bytes, "sample of rows");
        crate::stats::bytes::check_format("sample of rows", from.u32()?, 1)?;
        let width = usize::try_from(from.u64()?).ok().filter(|&width| width <= super::RELATED_MAX);
        let Some(width) = width else { return Err(from.corrupt("too many columns")) };
        let limit = Some(from.u64()?).filter(|&limit| limit < u64::MAX);
        let count = from.count(16 + 8 * width)?;
        let mut rows = BTreeMap::new();
        for _ in 0..count {
            let (hash, count) = (from.u64()?, from.u64()?);
            rows.insert(hash, Row { count, cells: vec![f64::NAN; width].into() });
        }
        // Written in order of hash, which is that of the map.
        for column in 0..width {
            for row in rows.values_mut() {
                row.cells[column] = from.f64()?;
            }
        }
        from.end()?;
        let sample = Self { width, rows, limit };
        let is_full = sample.rows.len() == Self::SIZE;
        let sane = sample.rows.len() == count
            && count <= Self::SIZE
            && sample.rows.values().all(|row| (1..=1 << 56).contains(&row.count))
            && limit
                .is_none_or(|limit| is_full && sample.rows.last_key_value().is_some_and(|(&last, _)| last <= limit));
        if sane { Ok(sample) } else { Err(Error::corrupt("sample of rows", "fields contradict each other")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::hash::mix;

    fn of(rows: impl IntoIterator<Item = u64>) -> RowSample {
        let mut sample = RowSample::new(1);
        rows.into_iter().for_each(|row| sample.offer(mix(row), || [row as f64].into()));
        sample
    }

    #[test]
    fn order_and_split_do_not_change_the_sample() {
        let whole = of((0..9000).map(|i| i % 4000));
        assert_eq!(of((0..9000).rev().map(|i| i % 4000)), whole);
        let mut parts = of((0..5000).map(|i| i % 4000));
        parts.merge(&of((5000..9000).map(|i| i % 4000)));
        assert_eq!(parts, whole);
        assert_eq!((whole.rows().len(), whole.is_whole(), of(0..1024).is_whole()), (1024, false, true));
        let copies = |value: f64| if value < 1000.0 { 3 } else { 2 };
        assert!(whole.rows().all(|(_, row)| row.count == copies(row.cells[0])));
    }

    #[test]
    fn bytes_come_back_and_damaged_ones_do_not() {
        let sample = of(0..2000);
        let bytes = sample.to_bytes();
        assert_eq!(RowSample::from_bytes(&bytes).unwrap(), sample);
        for len in (0..bytes.len()).step_by(97) {
            assert!(RowSample::from_bytes(&bytes[..len]).is_err(), "{len}");
        }
        let mut wide = bytes;
        wide[4..12].fill(0xFF);
        assert!(matches!(RowSample::from_bytes(&wide), Err(Error::Corrupt { .. })));
    }
}
