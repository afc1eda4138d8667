//! What a window view computes: each partial aggregate and each window once, however many features share them.

use std::collections::BTreeMap;

use mlops_core::time::DAY_US;

use super::measure::Measure;
use super::op::Op;
use super::span::{FIVE_MINUTES_US, HOUR_US, Mode, TimeWindow, round_down};
use super::value::Kind;

/// Lengths of the tiles that a state keeps partial aggregates of, each a multiple of the next.
pub(crate) const HOPS: [i64; 3] = [DAY_US, HOUR_US, FIVE_MINUTES_US];

/// The parts of a view that its features are read from.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Plan {
    /// Per event column.
    pub(crate) kinds: Vec<Kind>,
    pub(crate) windows: Vec<TimeWindow>,
    pub(crate) slots: Vec<Slot>,
    /// What each feature is computed with, in order.
    pub(crate) ops: Vec<Op>,
}

/// One partial aggregate of one column.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Slot {
    /// `None` for whole events.
    pub(crate) column: Option<usize>,
    pub(crate) measure: Measure,
    /// What it is read over, by window, ascending.
    pub(crate) readings: Vec<Reading>,
}

/// One window of one partial aggregate.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Reading {
    /// Position of the window.
    pub(crate) window: usize,
    /// Positions of the features that are read from it.
    pub(crate) features: Vec<usize>,
}

impl Plan {
    pub(crate) fn new(kinds: Vec<Kind>, aggregates: Vec<(Option<usize>, Op, TimeWindow)>) -> Self {
        let mut windows: Vec<TimeWindow> = aggregates.iter().map(|(.., window)| *window).collect();
        windows.sort_unstable();
        windows.dedup();
        let mut slots: Vec<Slot> = Vec::new();
        let mut of_column: BTreeMap<Option<usize>, Vec<usize>> = BTreeMap::new();
        let mut ops = Vec::with_capacity(aggregates.len());
        for (feature, (column, op, window)) in aggregates.into_iter().enumerate() {
            let window = windows.partition_point(|known| *known < window);
            let measure = op.measure(column.map(|at| kinds[at]));
            let same = of_column.entry(column).or_default();
            let slot = same.iter().copied().find(|at| slots[*at].measure == measure).unwrap_or_else(|| {
                slots.push(Slot { column, measure, readings: Vec::new() });
                same.push(slots.len() - 1);
                slots.len() - 1
            });
            let readings = &mut slots[slot].readings;
            match readings.binary_search_by_key(&window, |reading| reading.window) {
                Ok(at) => readings[at].features.push(feature),
                Err(at) => readings.insert(at, Reading { window, features: vec![feature] }),
            }
            ops.push(op);
        }
        Self { kinds, windows, slots, ops }
    }
}

/// What a state must keep so that a window can be read.
impl TimeWindow {
    /// Length of what its beginning is a multiple of; 0 where it can be anything.
    fn grain_us(&self) -> i64 {
        match self.mode() {
            Mode::Sawtooth => self.hop_us(),
            Mode::Tumbling if self.length_us() % FIVE_MINUTES_US == 0 => FIVE_MINUTES_US,
            Mode::Lifetime => DAY_US,
            Mode::Exact | Mode::Tumbling => 0,
        }
    }

    /// Whether tiles of the length `HOPS[level]` are of use to it.
    pub(crate) fn uses(&self, level: usize) -> bool {
        let hop = HOPS[level];
        let fits = match self.mode() {
            Mode::Tumbling => self.length_us() >= hop,
            _ => self.length_us() / 2 >= hop,
        };
        fits || (hop <= self.grain_us() && self.mode() != Mode::Tumbling)
    }

    /// From when on it may use tiles of the length `HOPS[level]` at `t` and later.
    pub(crate) fn tiles_from(&self, level: usize, t: i64) -> i64 {
        let (start, end) = self.bounds(t);
        match (0..level).rev().find(|coarser| self.uses(*coarser)) {
            _ if self.mode() == Mode::Lifetime && level == 0 => round_down(end, DAY_US),
            Some(coarser) if HOPS[level] < self.grain_us() => round_down(end, HOPS[coarser]),
            _ => start,
        }
    }

    /// From when on it may use raw events at `t` and later; the end of time where it never does.
    pub(crate) fn raw_from(&self, t: i64) -> i64 {
        let (start, end) = self.bounds(t);
        match self.mode() {
            Mode::Sawtooth | Mode::Lifetime => round_down(end, FIVE_MINUTES_US),
            Mode::Tumbling if self.grain_us() > 0 => i64::MAX,
            Mode::Exact | Mode::Tumbling => start,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn features_share_what_they_have_in_common() {
        let hour = TimeWindow::exact(Duration::from_hours(1));
        let all = TimeWindow::lifetime();
        let aggregates = vec![
            (Some(0), Op::Sum, hour),
            (Some(0), Op::Mean, all),
            (Some(0), Op::Count, hour),
            (Some(0), Op::Max, hour),
            (None, Op::Count, hour),
        ];
        let plan = Plan::new(vec![Kind::Real], aggregates);
        assert_eq!(plan.windows, [hour, all]);
        let readings = |slot: &Slot| slot.readings.iter().map(|r| (r.window, r.features.clone())).collect::<Vec<_>>();
        let slots: Vec<_> = plan.slots.iter().map(|s| (s.column, s.measure.clone(), readings(s))).collect();
        let expected = [
            (Some(0), Measure::Reals, vec![(0, vec![0, 2]), (1, vec![1])]),
            (Some(0), Measure::Max, vec![(0, vec![3])]),
            (None, Measure::Count, vec![(0, vec![4])]),
        ];
        assert_eq!(slots, expected);
    }
}
