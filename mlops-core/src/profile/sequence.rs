//! What is told by the order in which values come: whether they rise or fall, and the gaps between them.

use serde::{Deserialize, Serialize};

use crate::stats::bytes::{Reader, Writer};
use crate::{Error, Result};

/// Steps from each finite value to the next one, in the order of arrival; nulls, NaN and infinities are passed over.
///
/// The one part of a profile that depends on the order of rows: merging puts the rows of the other side behind.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sequence {
    count: u64,
    rises: u64,
    falls: u64,
    first: f64,
    last: f64,
    gap_max: f64,
}

impl Default for Sequence {
    fn default() -> Self {
        Self { count: 0, rises: 0, falls: 0, first: 0.0, last: 0.0, gap_max: 0.0 }
    }
}

impl Sequence {
    /// Adds finite values.
    pub(crate) fn update(&mut self, values: &[f64]) {
        let (Some(&first), Some(&last)) = (values.first(), values.last()) else { return };
        if self.count == 0 {
            self.first = first;
        } else {
            self.step(first);
        }
        let (mut rises, mut falls, mut gap_max) = (0_u64, 0_u64, self.gap_max);
        for pair in values.windows(2) {
            rises += u64::from(pair[1] > pair[0]);
            falls += u64::from(pair[1] < pair[0]);
            let gap = pair[1] - pair[0];
            gap_max = if gap > gap_max { gap } else { gap_max };
        }
        self.rises += rises;
        self.falls += falls;
        self.gap_max = gap_max.min(f64::MAX);
        self.last = last;
        self.count += values.len() as u64;
    }

    fn step(&mut self, to: f64) {
        self.rises += u64::from(to > self.last);
        self.falls += u64::from(to < self.last);
        self.gap_max = self.gap_max.max(to - self.last).min(f64::MAX);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        if other.count == 0 {
            return;
        }
        if self.count == 0 {
            *self = *other;
            return;
        }
        self.step(other.first);
        self.rises += other.rises;
        self.falls += other.falls;
        self.gap_max = self.gap_max.max(other.gap_max);
        self.last = other.last;
        self.count += other.count;
    }

    /// Steps upwards.
    pub fn rises(&self) -> u64 {
        self.rises
    }

    /// Steps downwards.
    pub fn falls(&self) -> u64 {
        self.falls
    }

    /// Steps between equal values.
    pub fn repeats(&self) -> u64 {
        self.count.saturating_sub(1 + self.rises + self.falls)
    }

    /// Whether no value is below the one before it; `None` with fewer than two values.
    pub fn is_ascending(&self) -> Option<bool> {
        (self.count > 1).then_some(self.falls == 0)
    }

    /// Whether no value is above the one before it; `None` with fewer than two values.
    pub fn is_descending(&self) -> Option<bool> {
        (self.count > 1).then_some(self.rises == 0)
    }

    /// Whether every value is above, or every value below the one before it: then no two are equal.
    pub fn is_strict(&self) -> bool {
        let steps = self.count.saturating_sub(1);
        steps > 0 && (self.rises == steps || self.falls == steps)
    }

    /// The greatest step upwards, 0 without any; µs for times.
    pub fn gap_max(&self) -> f64 {
        self.gap_max
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        [self.count, self.rises, self.falls].into_iter().for_each(|count| out.u64(count));
        [self.first, self.last, self.gap_max].into_iter().for_each(|value| out.f64(value));
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self> {
        let (count, rises, falls) = (from.u64()?, from.u64()?, from.u64()?);
        Ok(Self { count, rises, falls, first: from.f64()?, last: from.f64()?, gap_max: from.f64()? })
    }

    /// What every state has that came from `count` values.
    pub(crate) fn check(&self, count: u64) -> Result<()> {
        let steps = self.rises.checked_add(self.falls).is_some_and(|steps| steps <= self.count.saturating_sub(1));
        let sane = self.count == count
            && steps
            && [self.first, self.last, self.gap_max].iter().all(|value| value.is_finite())
            && self.gap_max >= 0.0;
        if sane { Ok(()) } else { Err(Error::corrupt("sequence of values", "fields contradict each other")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Sequence {
        let mut sequence = Sequence::default();
        sequence.update(values);
        sequence
    }

    #[test]
    fn steps_are_counted_across_blocks_and_parts() {
        let values = [1.0, 2.0, 2.0, 7.0, 3.0];
        let whole = of(&values);
        assert_eq!((whole.rises(), whole.falls(), whole.repeats(), whole.gap_max()), (2, 1, 1, 5.0));
        for cut in 0..=values.len() {
            let (mut blocks, mut parts) = (of(&values[..cut]), of(&values[..cut]));
            blocks.update(&values[cut..]);
            parts.merge(&of(&values[cut..]));
            assert_eq!((blocks, parts), (whole, whole), "{cut}");
        }
    }

    #[test]
    fn rising_values_are_told_from_strictly_rising_ones() {
        assert_eq!((of(&[1.0, 1.0, 2.0]).is_ascending(), of(&[1.0, 1.0, 2.0]).is_strict()), (Some(true), false));
        assert_eq!((of(&[3.0, 2.0]).is_descending(), of(&[3.0, 2.0]).is_strict()), (Some(true), true));
        assert_eq!((of(&[1.0]).is_ascending(), of(&[]).is_strict()), (None, false));
        assert_eq!(of(&[-1.7e308, 1.7e308]).gap_max(), f64::MAX);
        assert!(of(&[1.0, 2.0]).check(2).is_ok() && of(&[1.0, 2.0]).check(3).is_err());
    }
}
