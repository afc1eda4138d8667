//! What a window view computes: each partial aggregate and each window once, however many features share them.

use super::measure::Measure;
use super::op::Op;
use super::span::TimeWindow;
use super::value::Kind;

/// The parts of a view that its features are read from.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Plan {
    /// Per event column.
    pub(crate) kinds: Vec<Kind>,
    pub(crate) windows: Vec<TimeWindow>,
    pub(crate) slots: Vec<Slot>,
    /// Per feature, in order.
    pub(crate) parts: Vec<Part>,
}

/// One partial aggregate of one column.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Slot {
    /// `None` for whole events.
    pub(crate) column: Option<usize>,
    pub(crate) measure: Measure,
    /// Those that features read it over, ascending.
    pub(crate) windows: Vec<usize>,
}

/// Where a feature is read from.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Part {
    pub(crate) slot: usize,
    pub(crate) window: usize,
    pub(crate) op: Op,
}

impl Plan {
    pub(crate) fn new(kinds: Vec<Kind>, aggregates: Vec<(Option<usize>, Op, TimeWindow)>) -> Self {
        let mut windows: Vec<TimeWindow> = aggregates.iter().map(|(.., window)| *window).collect();
        windows.sort_unstable();
        windows.dedup();
        let mut slots: Vec<Slot> = Vec::new();
        let parts = aggregates.into_iter().map(|(column, op, window)| {
            let window = windows.partition_point(|known| *known < window);
            let measure = op.measure(column.map(|at| kinds[at]));
            let known = slots.iter().position(|slot| slot.column == column && slot.measure == measure);
            let slot = known.unwrap_or_else(|| {
                slots.push(Slot { column, measure, windows: Vec::new() });
                slots.len() - 1
            });
            if let Err(at) = slots[slot].windows.binary_search(&window) {
                slots[slot].windows.insert(at, window);
            }
            Part { slot, window, op }
        });
        let parts = parts.collect();
        Self { kinds, windows, slots, parts }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn features_share_what_they_have_in_common() {
        let hour = TimeWindow::exact(Duration::from_secs(3_600));
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
        let slots: Vec<_> = plan.slots.iter().map(|s| (s.column, s.measure.clone(), s.windows.clone())).collect();
        let expected =
            [(Some(0), Measure::Reals, vec![0, 1]), (Some(0), Measure::Max, vec![0]), (None, Measure::Count, vec![0])];
        assert_eq!(slots, expected);
        assert_eq!(
            plan.parts.iter().map(|p| (p.slot, p.window)).collect::<Vec<_>>(),
            [(0, 0), (0, 1), (0, 0), (1, 0), (2, 0)]
        );
    }
}
