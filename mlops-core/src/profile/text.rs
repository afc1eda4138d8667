//! The state of a column of texts.

use serde::{Deserialize, Serialize};

use super::characters::CharacterStats;
use super::semantic::Shapes;
use crate::stats::bytes::{Reader, Writer};
use crate::stats::{Distinct, FrequentItems, cut, hash};
use crate::{Error, Result};

/// Lengths of texts in Unicode scalar values (`char`s), exactly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LengthStats {
    count: u64,
    sum: u64,
    squares: u64,
    min: u64,
    max: u64,
}

impl Default for LengthStats {
    fn default() -> Self {
        Self { count: 0, sum: 0, squares: 0, min: u64::MAX, max: 0 }
    }
}

impl LengthStats {
    fn update(&mut self, length: u64, count: u64) {
        self.count += count;
        self.sum = self.sum.saturating_add(length.saturating_mul(count));
        self.squares = self.squares.saturating_add(length.saturating_mul(length).saturating_mul(count));
        self.min = self.min.min(length);
        self.max = self.max.max(length);
    }

    fn merge(&mut self, other: &Self) {
        self.count += other.count;
        self.sum = self.sum.saturating_add(other.sum);
        self.squares = self.squares.saturating_add(other.squares);
        self.min = self.min.min(other.min);
        self.max = self.max.max(other.max);
    }

    /// Texts seen.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Shortest length; `None` without texts.
    pub fn min(&self) -> Option<u64> {
        (self.count > 0).then_some(self.min)
    }

    /// Greatest length; `None` without texts.
    pub fn max(&self) -> Option<u64> {
        (self.count > 0).then_some(self.max)
    }

    /// Mean length; `None` without texts.
    pub fn mean(&self) -> Option<f64> {
        (self.count > 0).then(|| self.sum as f64 / self.count as f64)
    }

    /// Standard deviation of the lengths (divisor `count`); `None` without texts.
    pub fn standard_deviation(&self) -> Option<f64> {
        let mean = self.mean()?;
        Some((self.squares as f64 / self.count as f64 - mean * mean).max(0.0).sqrt())
    }
}

/// Bytes of the least and greatest text that are held.
const EXTREME_MAX: usize = 256;
/// Slots that catch repeated texts of a batch before they cost a hash and a search.
const SLOTS: usize = 128;
/// Batches from which on the slots pay.
const SLOTS_FROM: usize = 64;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Texts {
    pub(crate) lengths: LengthStats,
    pub(crate) distinct: Distinct,
    /// `None` in what format 1 held.
    #[serde(default)]
    pub(crate) characters: Option<CharacterStats>,
    /// Nothing of it where the column is hidden.
    pub(crate) shown: Option<Shown>,
}

/// What shows values.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Shown {
    pub(crate) frequent: FrequentItems,
    pub(crate) min: Option<String>,
    pub(crate) max: Option<String>,
    /// `None` in what format 1 held.
    #[serde(default)]
    pub(crate) shapes: Option<Shapes>,
}

impl Texts {
    pub(crate) fn new(frequent: Option<FrequentItems>) -> Self {
        let shapes = Some(Shapes::default());
        let shown = frequent.map(|frequent| Shown { frequent, min: None, max: None, shapes });
        let characters = Some(CharacterStats::default());
        Self { lengths: LengthStats::default(), distinct: Distinct::default(), characters, shown }
    }

    /// Adds the texts of `array`.
    pub(crate) fn update(&mut self, array: &dyn arrow::array::Array) -> Result<()> {
        if array.len() < SLOTS_FROM {
            return crate::stats::values::texts(array, &mut |text, count| self.add(text, count));
        }
        let mut slots = [("", 0_u64); SLOTS];
        crate::stats::values::texts(array, &mut |text, count| {
            let slot = &mut slots[slot_of(text)];
            if slot.0 == text {
                slot.1 += count;
            } else {
                if slot.1 > 0 {
                    self.add(slot.0, slot.1);
                }
                *slot = (text, count);
            }
        })?;
        slots.iter().filter(|slot| slot.1 > 0).for_each(|&(text, count)| self.add(text, count));
        Ok(())
    }

    fn add(&mut self, text: &str, count: u64) {
        let length = match &mut self.characters {
            Some(characters) => characters.update(text, count),
            None => text.chars().count() as u64,
        };
        self.lengths.update(length, count);
        let Some(shown) = &mut self.shown else { return self.distinct.update_text(text) };
        let hash = hash::of_text(text);
        // A text that is held was there before: what depends on the set of texts knows it.
        if !shown.frequent.update_hashed(hash, text, count) {
            self.distinct.update_text(text);
            shown.extremes(cut(text, EXTREME_MAX));
        }
        if let Some(shapes) = &mut shown.shapes {
            shapes.update(hash, text, count);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        self.lengths.merge(&other.lengths);
        self.distinct.merge(&other.distinct)?;
        match (&mut self.characters, &other.characters) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            _ => self.characters = None,
        }
        match (&mut self.shown, &other.shown) {
            (Some(mine), Some(theirs)) => {
                mine.frequent.merge(&theirs.frequent)?;
                theirs.min.iter().chain(&theirs.max).for_each(|text| mine.extremes(text));
                match (&mut mine.shapes, &theirs.shapes) {
                    (Some(mine), Some(theirs)) => mine.merge(theirs),
                    _ => mine.shapes = None,
                }
            }
            _ => self.shown = None,
        }
        Ok(())
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        let LengthStats { count, sum, squares, min, max } = self.lengths;
        for field in [count, sum, squares, min, max] {
            out.u64(field);
        }
        out.bytes(&self.distinct.to_bytes());
        out.u8(u8::from(self.shown.is_some()));
        if let Some(shown) = &self.shown {
            out.bytes(&shown.frequent.to_bytes());
            for extreme in [&shown.min, &shown.max] {
                out.u8(u8::from(extreme.is_some()));
                out.bytes(extreme.as_deref().unwrap_or_default().as_bytes());
            }
        }
        out.u8(u8::from(self.characters.is_some()));
        if let Some(characters) = &self.characters {
            characters.write(out);
        }
        let shapes = self.shown.as_ref().and_then(|shown| shown.shapes.as_ref());
        out.u8(u8::from(shapes.is_some()));
        if let Some(shapes) = shapes {
            shapes.write(out);
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>, format: u32) -> Result<Self> {
        let lengths = LengthStats {
            count: from.u64()?,
            sum: from.u64()?,
            squares: from.u64()?,
            min: from.u64()?,
            max: from.u64()?,
        };
        let distinct = Distinct::from_bytes(from.bytes()?)?;
        let mut shown = None;
        if from.u8()? == 1 {
            let frequent = FrequentItems::from_bytes(from.bytes()?)?;
            let mut extreme = || -> Result<Option<String>> {
                let is_present = from.u8()? == 1;
                let text = from.text()?;
                Ok(is_present.then(|| text.to_owned()))
            };
            shown = Some(Shown { frequent, min: extreme()?, max: extreme()?, shapes: None });
        }
        let mut texts = Self { lengths, distinct, characters: None, shown };
        if format > 1 && from.u8()? == 1 {
            texts.characters = Some(CharacterStats::read(from)?);
        }
        if format > 1 && from.u8()? == 1 {
            let shapes = Shapes::read(from)?;
            match &mut texts.shown {
                Some(shown) => shown.shapes = Some(shapes),
                None => return Err(from.corrupt("a sample of hidden texts")),
            }
        }
        Ok(texts)
    }

    /// What every state has that came from `present` texts.
    pub(crate) fn check(&self, present: u64) -> Result<()> {
        if let Some(characters) = &self.characters {
            characters.check(present)?;
        }
        let sane = self.lengths.count == present
            && (present == 0 || self.lengths.min <= self.lengths.max)
            && self.shown.as_ref().is_none_or(|shown| {
                let extremes = [&shown.min, &shown.max];
                shown.frequent.total() == present
                    && extremes.iter().all(|text| text.is_some() == (present > 0))
                    && extremes.iter().all(|text| text.as_ref().is_none_or(|text| text.len() <= EXTREME_MAX))
            });
        if sane { Ok(()) } else { Err(Error::corrupt("column of texts", "counts contradict each other")) }
    }
}

impl Shown {
    fn extremes(&mut self, text: &str) {
        if self.min.as_deref().is_none_or(|min| text < min) {
            self.min = Some(text.to_owned());
        }
        if self.max.as_deref().is_none_or(|max| text > max) {
            self.max = Some(text.to_owned());
        }
    }
}

/// A cheap hash of a text's length and a few of its bytes.
fn slot_of(text: &str) -> usize {
    let bytes = text.as_bytes();
    let at = |place: usize| bytes.get(place).map_or(0, |&byte| usize::from(byte));
    let ends = at(0) ^ at(bytes.len() / 2) << 2 ^ at(bytes.len().wrapping_sub(1)) << 4;
    (ends ^ at(bytes.len().wrapping_sub(2)) << 1 ^ bytes.len() << 3).wrapping_mul(0x9E37_79B1) >> 16 & (SLOTS - 1)
}
