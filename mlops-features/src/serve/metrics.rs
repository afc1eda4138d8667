//! What a server did so far, counted without a lock and ready to be scraped.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mlops_core::Name;
use mlops_core::stats::Histogram;
use serde::{Deserialize, Serialize};

use super::plan::Plan;
use super::status::Tally;
use crate::error::Result;

/// Bounds per doubling of time.
const STEPS: u64 = 4;

/// The first bound is 2^FIRST ns (128 ns), the last 2^LAST ns (34 s).
const FIRST: u32 = 7;
const LAST: u32 = 35;

/// How many values of one view had which status since the server was made.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusCounts {
    /// The view, or its alias.
    pub view: Name,
    /// [`Status::Present`](super::Status::Present).
    pub present: u64,
    /// [`Status::NullValue`](super::Status::NullValue).
    pub null_value: u64,
    /// [`Status::NotFound`](super::Status::NotFound).
    pub not_found: u64,
    /// [`Status::OutsideMaxAge`](super::Status::OutsideMaxAge).
    pub outside_max_age: u64,
    /// Values, whatever their status, whose row was older than the view's
    /// [freshness promise](crate::FeatureView::freshness).
    #[serde(default)]
    pub overdue: u64,
    /// Rows, not values, whose event time was after the request's instant. Their values are served.
    pub ahead: u64,
}

/// What one service was asked since the server was made, or since its definition changed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceMetrics {
    /// The service.
    pub service: Name,
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that failed, for whatever reason.
    pub failed: u64,
    /// Requests that were refused because the reader may not see a column. They are no failures.
    pub forbidden: u64,
    /// Entities of the requests that were answered.
    pub entities: u64,
    /// Time of all answered requests together.
    pub nanos: u64,
    /// Seconds of answered requests; four bins per doubling, from 128 ns to 34 s. Merges with that of other servers.
    pub latency: Histogram,
    /// Statuses per stored view, in the order of [`joins`](super::ServingPlan::joins), then per on-demand view.
    pub views: Vec<StatusCounts>,
}

impl ServiceMetrics {
    /// The time that this share of answered requests did not exceed: the upper bound of a bin, so at most a quarter too
    /// long; `None` when nothing was answered.
    pub fn latency_quantile(&self, share: f64) -> Option<Duration> {
        let total = self.latency.total();
        let wanted = (share.clamp(0.0, 1.0) * total as f64).ceil().max(1.0) as u64;
        let mut seen = self.latency.below();
        let edges = self.latency.edges();
        if total == 0 {
            return None;
        }
        if seen >= wanted {
            return edges.first().map(|edge| Duration::from_secs_f64(*edge));
        }
        for (bin, count) in self.latency.counts().iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return Some(Duration::from_secs_f64(edges[bin + 1]));
            }
        }
        edges.last().map(|edge| Duration::from_secs_f64(*edge))
    }
}

/// Counters of one service.
#[derive(Debug)]
pub(super) struct Metrics {
    answered: AtomicU64,
    failed: AtomicU64,
    forbidden: AtomicU64,
    entities: AtomicU64,
    nanos: AtomicU64,
    bins: Box<[AtomicU64]>,
    views: Box<[Counters]>,
}

#[derive(Debug, Default)]
struct Counters {
    present: AtomicU64,
    null_value: AtomicU64,
    not_found: AtomicU64,
    outside_max_age: AtomicU64,
    overdue: AtomicU64,
    ahead: AtomicU64,
}

impl Metrics {
    pub(super) fn new(plan: &Plan) -> Self {
        Self {
            answered: AtomicU64::default(),
            failed: AtomicU64::default(),
            forbidden: AtomicU64::default(),
            entities: AtomicU64::default(),
            nanos: AtomicU64::default(),
            bins: (0..bins() + 2).map(|_| AtomicU64::default()).collect(),
            views: (0..plan.reads.len() + plan.steps.len()).map(|_| Counters::default()).collect(),
        }
    }

    /// Whether they count the views of `plan`.
    pub(super) fn fits(&self, plan: &Plan) -> bool {
        self.views.len() == plan.reads.len() + plan.steps.len()
    }

    pub(super) fn answered(&self, entities: usize, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        add(&self.answered, 1);
        add(&self.entities, entities as u64);
        add(&self.nanos, nanos);
        add(&self.bins[bin(nanos)], 1);
    }

    pub(super) fn failed(&self) {
        add(&self.failed, 1);
    }

    pub(super) fn forbidden(&self) {
        add(&self.forbidden, 1);
    }

    /// Adds what became of the values of the view at `position`: reads first, then steps.
    pub(super) fn add(&self, position: usize, tally: &Tally) {
        let counters = &self.views[position];
        add(&counters.present, tally.present);
        add(&counters.null_value, tally.null_value);
        add(&counters.not_found, tally.not_found);
        add(&counters.outside_max_age, tally.outside_max_age);
        add(&counters.overdue, tally.overdue);
        add(&counters.ahead, tally.ahead);
    }

    pub(super) fn counts(&self, plan: &Plan) -> Vec<StatusCounts> {
        let reads = plan.reads.iter().map(|read| read.join.label());
        let labels = reads.chain(plan.steps.iter().map(|step| &step.label));
        let counts = labels.zip(&self.views).map(|(label, counters)| StatusCounts {
            view: label.clone(),
            present: load(&counters.present),
            null_value: load(&counters.null_value),
            not_found: load(&counters.not_found),
            outside_max_age: load(&counters.outside_max_age),
            overdue: load(&counters.overdue),
            ahead: load(&counters.ahead),
        });
        counts.collect()
    }

    pub(super) fn snapshot(&self, plan: &Plan) -> Result<ServiceMetrics> {
        let edges: Vec<f64> = (0..=bins()).map(|edge| edge_nanos(edge) as f64 / 1e9).collect();
        let mut latency = Histogram::new(edges.clone())?;
        for (at, count) in self.bins.iter().enumerate().map(|(at, count)| (at, load(count))).filter(|(_, n)| *n > 0) {
            // Any value of the bin stands for it; its lower bound is one, and the first lies below all bounds.
            let value = at.checked_sub(1).map_or(0.0, |bin| edges[bin.min(bins())]);
            latency.update_count(if at == bins() + 1 { f64::MAX } else { value }, count);
        }
        Ok(ServiceMetrics {
            service: plan.service.name().clone(),
            answered: load(&self.answered),
            failed: load(&self.failed),
            forbidden: load(&self.forbidden),
            entities: load(&self.entities),
            nanos: load(&self.nanos),
            latency,
            views: self.counts(plan),
        })
    }
}

fn add(counter: &AtomicU64, more: u64) {
    if more > 0 {
        counter.fetch_add(more, Ordering::Relaxed);
    }
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Bins between the first and the last bound.
const fn bins() -> usize {
    (LAST - FIRST) as usize * STEPS as usize
}

/// Lower bound of bin `edge`, exact.
fn edge_nanos(edge: usize) -> u64 {
    let (octave, step) = (edge as u64 / STEPS, edge as u64 % STEPS);
    (STEPS + step) << (u64::from(FIRST) + octave - u64::from(STEPS.trailing_zeros()))
}

/// 0 below the first bound, then one per bin, then one for all above.
fn bin(nanos: u64) -> usize {
    if nanos < 1 << FIRST {
        return 0;
    }
    let octave = nanos.ilog2();
    if octave >= LAST {
        return bins() + 1;
    }
    let step = (nanos >> (octave - STEPS.trailing_zeros())) & (STEPS - 1);
    1 + (octave - FIRST) as usize * STEPS as usize + step as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_lies_between_the_bounds_of_its_bin() {
        for nanos in (0..64).flat_map(|shift| [1_u64 << shift, (1 << shift) + 1, (1 << shift) - 1, 3 << shift >> 1]) {
            match bin(nanos) {
                0 => assert!(nanos < edge_nanos(0)),
                above if above == bins() + 1 => assert!(nanos >= edge_nanos(bins()), "{nanos}"),
                at => assert!((edge_nanos(at - 1)..edge_nanos(at)).contains(&nanos), "{nanos}"),
            }
        }
        assert_eq!((edge_nanos(0), edge_nanos(1), edge_nanos(4)), (128, 160, 256));
    }
}
