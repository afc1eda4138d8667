//! The KLL compactor: levels of values, each worth twice the one below, in the byte format of Apache DataSketches.
//!
//! Why not the sketch of the `datasketches` crate: it draws its coins from a thread-local seeded anew in
//! every process, so the same data would give other bytes, another digest and now and then another verdict in
//! each run. Here the coin is a hash of what is compacted, and updates come in blocks. The bytes are the
//! crate's own (and those of the Java and C++ libraries), and the crate checks what is read.

use std::cmp::Ordering;

use datasketches::kll::{KllFloat, KllSketch};

use super::bytes::{Reader, Writer};
use super::hash::mix;
use crate::{Error, Result};

/// Smallest capacity of a level.
const LEVEL_MIN: usize = 8;
/// Values that one sketch may stand for; far above any table, far below an overflow of weights.
const COUNT_MAX: u64 = 1 << 55;
const FAMILY: u8 = 15;
const EMPTY: u8 = 1;
const SINGLE: u8 = 4;

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Kll {
    k: u16,
    /// The smallest `k` of what was merged in: it sets the error.
    k_min: u16,
    count: u64,
    retained: usize,
    /// Values of each level at which it is full, and of all together.
    full: Vec<usize>,
    capacity: usize,
    /// Level 0 in order of arrival, the others sorted; an item of level `l` stands for `2^l` values.
    levels: Vec<Vec<f64>>,
    min: f64,
    max: f64,
}

impl Kll {
    /// `k` must be at least [`LEVEL_MIN`].
    pub(crate) fn new(k: u16) -> Self {
        Self {
            k,
            k_min: k,
            count: 0,
            retained: 0,
            full: vec![level_capacity(k, 0)],
            capacity: level_capacity(k, 0),
            levels: vec![Vec::new()],
            min: f64::INFINITY,
            max: f64::NEG_INFINITY,
        }
    }

    pub(crate) fn k(&self) -> u16 {
        self.k
    }

    pub(crate) fn k_min(&self) -> u16 {
        self.k_min
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Whether every value is still held.
    pub(crate) fn is_exact(&self) -> bool {
        self.levels.iter().skip(1).all(Vec::is_empty)
    }

    pub(crate) fn min(&self) -> f64 {
        self.min
    }

    pub(crate) fn max(&self) -> f64 {
        self.max
    }

    /// Adds finite values.
    pub(crate) fn extend(&mut self, mut values: &[f64]) {
        debug_assert!(values.iter().all(|v| v.is_finite()));
        for &value in values {
            self.min = if value < self.min { value } else { self.min };
            self.max = if value > self.max { value } else { self.max };
        }
        while !values.is_empty() {
            if self.retained >= self.capacity {
                self.compact();
            }
            let (now, later) = values.split_at(values.len().min(self.capacity - self.retained));
            // Adding zero makes the negative zero positive, so that the order of equal values is one.
            self.levels[0].extend(now.iter().map(|v| v + 0.0));
            self.retained += now.len();
            self.count += now.len() as u64;
            values = later;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        if other.count == 0 {
            return Ok(());
        }
        let count = self.count.saturating_add(other.count);
        if count > COUNT_MAX {
            return Err(Error::invalid("values in a merged sketch", count, "at most 2^55"));
        }
        if self.levels.len() < other.levels.len() {
            self.levels.resize_with(other.levels.len(), Vec::new);
        }
        self.levels[0].extend_from_slice(&other.levels[0]);
        for (mine, theirs) in self.levels.iter_mut().zip(&other.levels).skip(1) {
            *mine = merge_sorted(mine, theirs);
        }
        self.count = count;
        self.retained += other.retained;
        self.resize();
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
        if !other.is_exact() {
            self.k_min = self.k_min.min(other.k_min);
        }
        while self.retained > self.capacity {
            self.compact();
        }
        Ok(())
    }

    /// Halves the lowest level that is full, which frees room for at least four values. Nothing is allocated but room for
    /// levels to grow: a full sketch does this every few values.
    fn compact(&mut self) {
        let depth = self.levels.len();
        let full = |&level: &usize| self.levels[level].len() >= self.full[level];
        let Some(level) = (0..depth).find(full) else {
            debug_assert!(false, "no level is full though the sketch is");
            return;
        };
        if level + 1 == depth {
            self.levels.push(Vec::new());
            self.resize();
        }
        let (lower, upper) = self.levels.split_at_mut(level + 1);
        let (items, next) = (&mut lower[level], &mut upper[0]);
        // Of level 0, the last arrival waits, of others the least value.
        let waits = (items.len() % 2 == 1).then(|| if level == 0 { items.pop() } else { Some(items.remove(0)) });
        if level == 0 {
            // Values are finite, and no zero is negative unless another library held it: quicker than the order of all values.
            items.sort_unstable_by(|a, b| a.partial_cmp(b).unwrap_or(Ordering::Equal));
        }
        let first = coin(self.count, level, items);
        self.retained -= items.len() / 2;
        merge_half(next, items, first);
        items.clear();
        items.extend(waits.flatten());
    }

    /// Takes note that the number of levels has changed.
    fn resize(&mut self) {
        let depth = self.levels.len();
        self.full.clear();
        self.full.extend((0..depth).rev().map(|below| level_capacity(self.k, below)));
        self.capacity = self.full.iter().sum();
    }

    /// All held values in order, each with its weight.
    pub(crate) fn weighted(&self) -> Vec<(f64, u64)> {
        let mut out = Vec::with_capacity(self.retained);
        for (level, items) in self.levels.iter().enumerate() {
            out.extend(items.iter().map(|&value| (value, 1_u64 << level)));
        }
        out.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        out
    }

    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        let (words, version, flags) = match self.count {
            0 => (2, 1, EMPTY),
            1 => (2, 2, SINGLE),
            _ => (5, 1, 0),
        };
        out.raw(&[words, version, FAMILY, flags]);
        out.raw(&self.k.to_le_bytes());
        out.raw(&[LEVEL_MIN as u8, 0]);
        if self.count > 1 {
            out.u64(self.count);
            out.raw(&self.k_min.to_le_bytes());
            out.raw(&[self.levels.len() as u8, 0]);
            let mut offset = self.capacity - self.retained;
            for level in &self.levels {
                out.u32(offset as u32);
                offset += level.len();
            }
            out.f64(self.min);
            out.f64(self.max);
        }
        for (number, level) in self.levels.iter().enumerate() {
            if number == 0 {
                for &value in level.iter().rev() {
                    out.f64(value);
                }
            } else {
                for &value in level {
                    out.f64(value);
                }
            }
        }
        out.finish()
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<Self> {
        KllSketch::<KllFloat<f64>>::deserialize(bytes).map_err(|error| Error::corrupt("quantile sketch", error))?;
        Self::parse(bytes)
    }

    /// Reads bytes that the crate has found consistent.
    fn parse(bytes: &[u8]) -> Result<Self> {
        let mut from = Reader::new(bytes, "quantile sketch");
        let header = from.raw(4)?;
        let (is_empty, is_single) = (header[3] & EMPTY != 0, header[3] & SINGLE != 0);
        let sorted = header[3] & 2 != 0;
        let mut sketch = Self::new(from.u16()?);
        from.raw(2)?;
        if is_empty {
            return Ok(sketch);
        }
        let mut depth = 1;
        if !is_single {
            sketch.count = from.u64()?;
            sketch.k_min = from.u16()?;
            depth = usize::from(from.u8()?);
            from.u8()?;
        }
        let total = capacity(sketch.k, depth);
        let mut offsets = vec![total - 1; depth];
        if !is_single {
            for offset in &mut offsets {
                *offset = from.u32()? as usize;
            }
            (sketch.min, sketch.max) = (from.f64()?, from.f64()?);
        }
        offsets.push(total);
        sketch.levels = offsets
            .windows(2)
            .map(|ends| (ends[0]..ends[1]).map(|_| from.f64()).collect())
            .collect::<Result<Vec<Vec<f64>>>>()?;
        from.end()?;
        if !sorted {
            sketch.levels[0].reverse();
        }
        if is_single {
            sketch.count = 1;
            (sketch.min, sketch.max) = (sketch.levels[0][0], sketch.levels[0][0]);
        }
        sketch.retained = sketch.levels.iter().map(Vec::len).sum();
        sketch.resize();
        if sketch.count > COUNT_MAX || !(sketch.min.is_finite() && sketch.max.is_finite()) {
            return Err(from.corrupt("counts or values out of range"));
        }
        // What another library calls sorted may order the two zeros either way.
        for level in sketch.levels.iter_mut().skip(1) {
            level.sort_by(f64::total_cmp);
        }
        Ok(sketch)
    }
}

/// 0 or 1: which half of `items` goes up. A hash of them, so that runs repeat and sketches of different data err
/// independently.
fn coin(count: u64, level: usize, items: &[f64]) -> usize {
    let ends = [items.first(), items.get(items.len() / 2), items.last()];
    let seed = count ^ (level as u64) << 58;
    let hash = ends.into_iter().flatten().fold(seed, |hash, v| mix(hash ^ v.to_bits()));
    (mix(hash) >> 63) as usize
}

/// Values that all levels may hold together.
fn capacity(k: u16, depth: usize) -> usize {
    (0..depth).map(|below| level_capacity(k, below)).sum()
}

/// Values that the level `below` the top may hold: `k · (2/3)^below`, rounded as the format does.
fn level_capacity(k: u16, below: usize) -> usize {
    let shrink = |k: u64, by: usize| (((k << (by + 1)) / 3_u64.pow(by as u32)) + 1) >> 1;
    let k = u64::from(k);
    let shrunk = if below <= 30 { shrink(k, below) } else { shrink(shrink(k, below / 2), below - below / 2) };
    (shrunk as usize).max(LEVEL_MIN)
}

/// Merges every second of `items`, an even number, into `into`; both are sorted.
fn merge_half(into: &mut Vec<f64>, items: &[f64], first: usize) {
    let (mut old, mut new) = (into.len(), items.len() / 2);
    into.resize(old + new, 0.0);
    // From the greatest down: what is written has been read.
    while old > 0 && new > 0 {
        let (mine, theirs) = (into[old - 1], items[first + 2 * (new - 1)]);
        let is_mine = mine > theirs;
        into[old + new - 1] = if is_mine { mine } else { theirs };
        old -= usize::from(is_mine);
        new -= usize::from(!is_mine);
    }
    for place in 0..new {
        into[place] = items[first + 2 * place];
    }
}

fn merge_sorted(a: &[f64], b: &[f64]) -> Vec<f64> {
    let mut out = Vec::with_capacity(a.len() + b.len());
    let (mut i, mut j) = (0, 0);
    while i < a.len() && j < b.len() {
        if a[i].total_cmp(&b[j]) == Ordering::Less {
            out.push(a[i]);
            i += 1;
        } else {
            out.push(b[j]);
            j += 1;
        }
    }
    out.extend_from_slice(&a[i..]);
    out.extend_from_slice(&b[j..]);
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn half_of_the_values_is_merged_in_order(
            mut old in proptest::collection::vec(-9.0..9.0, 0..40), mut items in proptest::collection::vec(-9.0..9.0, 0..20),
            first in 0_usize..2,
        ) {
            items.truncate(items.len() / 2 * 2);
            [&mut old, &mut items].into_iter().for_each(|values: &mut Vec<f64>| values.sort_by(f64::total_cmp));
            let half: Vec<f64> = items.iter().copied().skip(first).step_by(2).collect();
            let mut expected = [old.clone(), half].concat();
            expected.sort_by(f64::total_cmp);
            merge_half(&mut old, &items, first);
            prop_assert_eq!(old, expected);
        }
    }
}
