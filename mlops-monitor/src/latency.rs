//! A histogram of durations with fixed buckets.

use std::time::Duration;

use mlops_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// Upper bounds of the buckets in µs, inclusive as Prometheus has them; one more bucket takes what is above.
pub const LATENCY_BOUNDS_US: [u64; 18] = [
    25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    2_500_000, 5_000_000, 10_000_000,
];

/// Durations counted in the buckets of [`LATENCY_BOUNDS_US`]; merging is exact.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    buckets: [u64; LATENCY_BOUNDS_US.len() + 1],
    sum_us: u64,
    max_us: u64,
}

impl Latency {
    /// Counts one duration.
    pub fn update(&mut self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = LATENCY_BOUNDS_US.partition_point(|bound| *bound < us);
        self.buckets[bucket] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
        self.max_us = self.max_us.max(us);
    }

    /// Adds what `other` has counted.
    pub fn merge(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(mine, theirs)| *mine += theirs);
        self.sum_us = self.sum_us.saturating_add(other.sum_us);
        self.max_us = self.max_us.max(other.max_us);
    }

    /// Durations counted.
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Sum of all durations in seconds.
    pub fn sum_seconds(&self) -> f64 {
        self.sum_us as f64 / 1e6
    }

    /// Longest duration in µs; 0 without any.
    pub fn max_us(&self) -> u64 {
        self.max_us
    }

    /// Counts per bucket, not cumulated; the last one is above all bounds.
    pub fn buckets(&self) -> &[u64] {
        &self.buckets
    }

    /// The `p` quantile in µs, linear inside of its bucket as `histogram_quantile` has it, and never above the longest
    /// duration; `None` without durations. The error is at most the width of the bucket.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `p` is not in `[0, 1]`.
    pub fn quantile_us(&self, p: f64) -> Result<Option<f64>> {
        if !(0.0..=1.0).contains(&p) {
            return Err(Error::invalid("quantile", p, "in [0, 1]"));
        }
        let count = self.count();
        if count == 0 {
            return Ok(None);
        }
        let rank = p * count as f64;
        let mut below = 0.0;
        for (i, &bucket) in self.buckets.iter().enumerate() {
            let inside = bucket as f64;
            if bucket > 0 && below + inside >= rank {
                let low = i.checked_sub(1).and_then(|i| LATENCY_BOUNDS_US.get(i)).map_or(0.0, |us| *us as f64);
                let high = LATENCY_BOUNDS_US.get(i).map_or(self.max_us as f64, |us| *us as f64);
                let value = low + (high - low) * ((rank - below) / inside).clamp(0.0, 1.0);
                return Ok(Some(value.min(self.max_us as f64)));
            }
            below += inside;
        }
        Ok(Some(self.max_us as f64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(us: &[u64]) -> Latency {
        let mut latency = Latency::default();
        us.iter().for_each(|us| latency.update(Duration::from_micros(*us)));
        latency
    }

    #[test]
    fn bounds_are_inclusive_and_the_last_bucket_is_open() {
        let latency = of(&[25, 26, 10_000_000, 10_000_001]);
        assert_eq!(latency.buckets()[0], 1);
        assert_eq!(latency.buckets()[1], 1);
        assert_eq!(latency.buckets()[17..], [1, 1]);
        assert_eq!(latency.count(), 4);
    }

    #[test]
    fn quantiles_are_linear_inside_of_a_bucket() {
        // Four of (50, 100]: the median is half way, 75 µs; the longest was 90.
        let latency = of(&[60, 70, 80, 90]);
        assert_eq!(latency.quantile_us(0.5).unwrap(), Some(75.0));
        assert_eq!(latency.quantile_us(1.0).unwrap(), Some(90.0));
        assert_eq!(of(&[]).quantile_us(0.5).unwrap(), None);
        assert!(latency.quantile_us(f64::NAN).is_err());
    }

    #[test]
    fn merging_is_one_pass_over_both() {
        let mut merged = of(&[1, 2_000]);
        merged.merge(&of(&[30_000_000]));
        assert_eq!(merged, of(&[1, 2_000, 30_000_000]));
    }

    #[test]
    fn the_longest_duration_does_not_overflow() {
        let mut latency = of(&[]);
        latency.update(Duration::MAX);
        latency.update(Duration::MAX);
        assert_eq!((latency.count(), latency.max_us()), (2, u64::MAX));
    }
}
