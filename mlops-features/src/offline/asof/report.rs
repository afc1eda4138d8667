//! What became of the entity rows of a join.

use mlops_core::Name;
use serde::{Deserialize, Serialize};

/// What became of the entity rows at one view. `matched`, `expired`, `future_only`, `unknown_key` and `null_key` sum to
/// `rows`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinReport {
    /// The view, or its alias.
    pub view: Name,
    /// Entity rows.
    pub rows: u64,
    /// Those that got a feature row.
    pub matched: u64,
    /// Those whose latest feature row was older than the ttl.
    pub expired: u64,
    /// Those whose key has feature rows, but none at or before their instant (or, with `as_known`, none known by then).
    pub future_only: u64,
    /// Those whose key has no feature row at all.
    pub unknown_key: u64,
    /// Those with a null in their key.
    pub null_key: u64,
    /// Those whose latest valid feature row, by event time, was created only after their instant: a model trained on it
    /// would know what nobody knew. Without `as_known` they got it all the same; with it they got an older one or none.
    pub leaked: u64,
    /// Age of the feature rows that were chosen; `None` when none was.
    pub age: Option<AgeQuantiles>,
    /// Rows of the view's history.
    pub history_rows: u64,
    /// Those of them with a null in their key, which never match.
    pub history_null_keys: u64,
}

/// Time from event to entity row, in microseconds: exact order statistics (nearest rank).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgeQuantiles {
    /// Least.
    pub min_us: u64,
    /// Median.
    pub p50_us: u64,
    /// 90th percentile.
    pub p90_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// Greatest.
    pub max_us: u64,
}

impl AgeQuantiles {
    fn of(ages: &mut [u64]) -> Option<Self> {
        let rank = |percent: usize| (ages.len() * percent).div_ceil(100).max(1) - 1;
        let (p50, p90, p99) = (rank(50), rank(90), rank(99));
        let min_us = *ages.iter().min()?;
        let max_us = *ages.iter().max()?;
        let mut nth = |at: usize| *ages.select_nth_unstable(at).1;
        Some(Self { min_us, p50_us: nth(p50), p90_us: nth(p90), p99_us: nth(p99), max_us })
    }
}

/// A report in the making.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) expired: u64,
    pub(crate) future_only: u64,
    pub(crate) unknown_key: u64,
    pub(crate) null_key: u64,
    pub(crate) leaked: u64,
    /// One per match.
    pub(crate) ages: Vec<u64>,
}

impl Tally {
    pub(crate) fn finish(mut self, view: &Name, history_rows: u64, history_null_keys: u64) -> JoinReport {
        let matched = self.ages.len() as u64;
        JoinReport {
            view: view.clone(),
            rows: matched + self.expired + self.future_only + self.unknown_key + self.null_key,
            matched,
            expired: self.expired,
            future_only: self.future_only,
            unknown_key: self.unknown_key,
            null_key: self.null_key,
            leaked: self.leaked,
            age: AgeQuantiles::of(&mut self.ages),
            history_rows,
            history_null_keys,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_the_nearest_rank() {
        let mut ages: Vec<u64> = (1..=200).rev().collect();
        let expected = AgeQuantiles { min_us: 1, p50_us: 100, p90_us: 180, p99_us: 198, max_us: 200 };
        assert_eq!(AgeQuantiles::of(&mut ages), Some(expected));
        assert_eq!(AgeQuantiles::of(&mut [7]).map(|age| (age.min_us, age.p99_us)), Some((7, 7)));
        assert_eq!(AgeQuantiles::of(&mut []), None);
    }
}
