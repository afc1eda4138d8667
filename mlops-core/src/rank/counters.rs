//! What every stage of a pipeline did so far.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::OnError;
use crate::Name;

/// Buckets of the time histogram: up to 1 µs, 2 µs, 4 µs … 2²⁰ µs (1.05 s), and above.
const BUCKETS: usize = 22;

/// The parts of a ranking pipeline.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum StageKind {
    /// A whole request.
    Request,
    /// Finds candidates.
    Source,
    /// Adds columns.
    Hydrator,
    /// Takes candidates out.
    Filter,
    /// Judges by one objective.
    Scorer,
    /// Picks and orders.
    Selector,
    /// Sees what was served.
    Observer,
}

/// What one stage did since the pipeline was built.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageStats {
    /// The stage; the pipeline's name for whole requests.
    pub stage: Name,
    /// What it is.
    pub kind: StageKind,
    /// Calls, whatever came of them.
    pub calls: u64,
    /// Calls that failed. A request fails when a stage fails it.
    pub errors: u64,
    /// Calls that were cut off; for requests, those that were answered after their deadline.
    pub late: u64,
    /// Failed or late calls that were stood in for; for requests, those that were answered with any such stage.
    pub degraded: u64,
    /// Time of all calls together, in nanoseconds.
    pub nanos: u64,
    /// Calls by time: an upper bound in microseconds (inclusive; `None` for the last) and how many took no longer, but
    /// longer than the bound before.
    pub buckets: Vec<(Option<u64>, u64)>,
}

/// A stage's name, its policy and its counters.
#[derive(Debug)]
pub(super) struct Meta {
    pub(super) name: Name,
    pub(super) kind: StageKind,
    pub(super) on_error: OnError,
    pub(super) time_limit: Option<Duration>,
    calls: AtomicU64,
    errors: AtomicU64,
    late: AtomicU64,
    degraded: AtomicU64,
    nanos: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Meta {
    pub(super) fn new(name: Name, kind: StageKind) -> Self {
        Self {
            name,
            kind,
            on_error: OnError::default_of(kind),
            time_limit: None,
            calls: AtomicU64::default(),
            errors: AtomicU64::default(),
            late: AtomicU64::default(),
            degraded: AtomicU64::default(),
            nanos: AtomicU64::default(),
            buckets: Default::default(),
        }
    }

    pub(super) fn called(&self, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        self.calls.fetch_add(1, Ordering::Relaxed);
        self.nanos.fetch_add(nanos, Ordering::Relaxed);
        self.buckets[bucket(nanos)].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn was_late(&self) {
        self.late.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn was_degraded(&self) {
        self.degraded.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn stats(&self) -> StageStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let bound = |i: usize| (i + 1 < BUCKETS).then(|| 1_u64 << i);
        StageStats {
            stage: self.name.clone(),
            kind: self.kind,
            calls: load(&self.calls),
            errors: load(&self.errors),
            late: load(&self.late),
            degraded: load(&self.degraded),
            nanos: load(&self.nanos),
            buckets: self.buckets.iter().enumerate().map(|(i, count)| (bound(i), load(count))).collect(),
        }
    }
}

/// The first bucket whose bound is not below `nanos`.
fn bucket(nanos: u64) -> usize {
    let micros = nanos.div_ceil(1_000).max(1);
    let exponent = u64::BITS - (micros - 1).leading_zeros();
    (exponent as usize).min(BUCKETS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_inclusive_powers_of_two_microseconds() {
        let cases = [(0, 0), (1_000, 0), (1_001, 1), (2_000, 1), (2_001, 2), (4_000, 2), (4_001, 3)];
        for (nanos, expected) in cases {
            assert_eq!(bucket(nanos), expected, "{nanos} ns");
        }
        assert_eq!(bucket((1 << 20) * 1_000), 20);
        assert_eq!(bucket((1 << 20) * 1_000 + 1), 21);
        assert_eq!(bucket(u64::MAX), 21);
    }
}
