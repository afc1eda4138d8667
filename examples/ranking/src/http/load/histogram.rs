//! Durations in bounded memory, to one part in 128.

use std::time::Duration;

/// Buckets per doubling, as a power of two.
const FINE_BITS: u32 = 7;
const FINE: u64 = 1 << FINE_BITS;
/// Durations below [`FINE`] nanoseconds have a bucket each, those above [`FINE`] per doubling.
const BUCKETS: usize = ((u64::BITS - FINE_BITS + 1) as usize) << FINE_BITS;

/// A log-linear histogram of nanoseconds: 58 KiB, whatever it counts.
///
/// A quantile is the upper end of its bucket and never above the longest duration: at most 1/128 (0.8 %) too long.
#[derive(Debug, Clone)]
pub(super) struct Histogram {
    buckets: Vec<u64>,
    count: u64,
    max: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, max: 0 }
    }
}

impl Histogram {
    pub(super) fn update(&mut self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.buckets[bucket(nanos)] += 1;
        self.count += 1;
        self.max = self.max.max(nanos);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(mine, theirs)| *mine += theirs);
        self.count += other.count;
        self.max = self.max.max(other.max);
    }

    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Nanoseconds that a share `p` of the durations did not exceed; 0 without durations.
    pub(super) fn quantile(&self, p: f64) -> u64 {
        let rank = ((p * self.count as f64).ceil() as u64).clamp(1, self.count.max(1));
        let mut below = 0;
        for (i, count) in self.buckets.iter().enumerate() {
            below += count;
            if below >= rank {
                return upper(i).min(self.max);
            }
        }
        self.max
    }
}

fn bucket(nanos: u64) -> usize {
    if nanos < FINE {
        return nanos as usize;
    }
    let shift = nanos.ilog2() - FINE_BITS;
    // The leading FINE_BITS + 1 bits: the top one is always set.
    let leading = nanos >> shift;
    (((u64::from(shift) + 1) << FINE_BITS) + (leading - FINE)) as usize
}

/// The longest duration of a bucket.
fn upper(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let Some(shift) = (bucket >> FINE_BITS).checked_sub(1) else { return bucket };
    let leading = FINE + (bucket & (FINE - 1));
    // The very last bucket ends with the type.
    ((leading + 1).wrapping_shl(shift as u32)).wrapping_sub(1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for i in 0..BUCKETS {
            assert_eq!(bucket(upper(i)), i, "{i}");
            if i + 1 < BUCKETS {
                assert_eq!(bucket(upper(i) + 1), i + 1, "{i}");
            }
        }
        assert_eq!(upper(BUCKETS - 1), u64::MAX);
    }

    #[test]
    fn an_empty_one_has_no_time() {
        assert_eq!(Histogram::default().quantile(0.99), 0);
    }

    proptest! {
        #[test]
        fn quantiles_are_those_of_the_sorted_durations_to_one_part_in_128(
            nanos in proptest::collection::vec(0_u64..10_000_000, 1..300),
            p in 0.0_f64..=1.0,
            cut in 0_usize..300,
        ) {
            let (mut one, mut other) = (Histogram::default(), Histogram::default());
            let cut = cut.min(nanos.len());
            nanos[..cut].iter().for_each(|n| one.update(Duration::from_nanos(*n)));
            nanos[cut..].iter().for_each(|n| other.update(Duration::from_nanos(*n)));
            one.merge(&other);
            let mut sorted = nanos.clone();
            sorted.sort_unstable();
            let rank = ((p * sorted.len() as f64).ceil() as usize).clamp(1, sorted.len());
            let (exact, found) = (sorted[rank - 1], one.quantile(p));
            prop_assert!(found >= exact && found - exact <= exact / 128, "{found} for {exact}");
            prop_assert_eq!(one.count(), nanos.len() as u64);
            prop_assert_eq!(one.quantile(1.0), *sorted.last().unwrap());
        }
    }
}
