//! Partial aggregates over many stretches of one list of events, each stretch no further back than the one before: every
//! event is looked at a fixed number of times, however many stretches it lies in.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::measure::{Measure, Partial};
use super::op::Op;
use super::value::{Cell, Value};
use crate::error::Result;

/// Events that are added one by one where a sketch stands for more of them: copying a sketch costs as much.
const SKETCH_BLOCK: usize = 64;

/// A present value, and when.
pub(crate) type Timed = (i64, Value);

/// Reads `ops` off `measure` for each of `ranges` (positions in `events`, whose ends and beginnings never decrease), and
/// calls `emit` with the position of the range, the position of the op, and the value.
///
/// `events` must be in the order of time, then value.
pub(crate) fn slide(
    measure: &Measure,
    ops: &[&Op],
    events: &[Timed],
    ranges: &[Range<usize>],
    mut emit: impl FnMut(usize, usize, Cell),
) -> Result<()> {
    debug_assert!(events.is_sorted());
    debug_assert!(ranges.is_sorted_by(|a, b| a.start <= b.start && a.end <= b.end));
    let mut window = Sliding::new(measure, ops, events)?;
    let mut cells: Vec<Cell> = Vec::new();
    let mut last = None;
    for (at, range) in ranges.iter().enumerate() {
        if last != Some(range) {
            cells = window.read(ops, range.clone())?;
            last = Some(range);
        }
        cells.iter().enumerate().for_each(|(op, cell)| emit(at, op, cell.clone()));
    }
    Ok(())
}

/// The way that suits a measure.
enum Sliding<'a> {
    /// The first or last of the list are the first or last of the stretch.
    Ends {
        events: &'a [Timed],
        first: bool,
        n: usize,
    },
    Recent(Recent<'a>),
    Ranking(Ranking<'a>),
    Running(Running<'a>),
    Stacks(Stacks<'a>),
}

impl<'a> Sliding<'a> {
    fn new(measure: &'a Measure, ops: &[&Op], events: &'a [Timed]) -> Result<Self> {
        Ok(match measure {
            Measure::First(n) => Self::Ends { events, first: true, n: *n as usize },
            Measure::Last(n) => Self::Ends { events, first: false, n: *n as usize },
            Measure::Recent(n) => Self::Recent(Recent::new(events, *n as usize)),
            Measure::Counts if ops.iter().any(|op| matches!(op, Op::TopK { .. })) => {
                Self::Ranking(Ranking { events, done: 0..0, counts: BTreeMap::new(), order: BTreeSet::new() })
            }
            _ if measure.is_invertible() => {
                Self::Running(Running { measure, events, done: 0..0, partial: measure.empty()? })
            }
            _ => Self::Stacks(Stacks::new(measure, events)?),
        })
    }

    fn read(&mut self, ops: &[&Op], range: Range<usize>) -> Result<Vec<Cell>> {
        let of = |partial: &Partial| ops.iter().map(|op| op.read(partial)).collect();
        match self {
            Self::Ends { events, first, n } => {
                let held = &events[range];
                let n = held.len().min(*n);
                let ends = if *first { held[..n].to_vec() } else { held.iter().rev().take(n).cloned().collect() };
                of(&Partial::Ends(ends))
            }
            Self::Recent(recent) => of(&Partial::Recent(recent.read(range))),
            Self::Ranking(ranking) => {
                ranking.move_to(range);
                Ok(ops.iter().map(|op| ranking.read(op)).collect())
            }
            Self::Running(running) => of(running.move_to(range)),
            Self::Stacks(stacks) => of(&stacks.read(range)?),
        }
    }
}

/// Adds what comes in and takes out what goes.
struct Running<'a> {
    measure: &'a Measure,
    events: &'a [Timed],
    done: Range<usize>,
    partial: Partial,
}

impl Running<'_> {
    fn move_to(&mut self, range: Range<usize>) -> &Partial {
        for (time, value) in &self.events[self.done.end..range.end] {
            self.measure.add(&mut self.partial, *time, value);
        }
        for (_, value) in &self.events[self.done.start..range.start] {
            self.measure.remove(&mut self.partial, value);
        }
        self.done = range;
        &self.partial
    }
}

/// Counts per value, and the values in the order of their counts.
struct Ranking<'a> {
    events: &'a [Timed],
    done: Range<usize>,
    counts: BTreeMap<&'a Value, u64>,
    order: BTreeSet<(Reverse<u64>, &'a Value)>,
}

impl Ranking<'_> {
    fn move_to(&mut self, range: Range<usize>) {
        for at in self.done.end..range.end {
            self.change(at, |count| count + 1);
        }
        for at in self.done.start..range.start {
            self.change(at, |count| count - 1);
        }
        self.done = range;
    }

    fn change(&mut self, at: usize, change: impl Fn(u64) -> u64) {
        let value = &self.events[at].1;
        let before = self.counts.get(value).copied().unwrap_or(0);
        let after = change(before);
        if before > 0 {
            self.order.remove(&(Reverse(before), value));
        }
        if after > 0 {
            self.order.insert((Reverse(after), value));
            self.counts.insert(value, after);
        } else {
            self.counts.remove(value);
        }
    }

    fn read(&self, op: &Op) -> Cell {
        match op {
            Op::TopK { k } => Cell::list(self.order.iter().take(*k as usize).map(|(_, value)| (*value).clone())),
            _ => Cell::count(self.counts.len() as u64),
        }
    }
}

/// Different values by their last occurrence. Nothing is ever taken out: what occurred last before a stretch began
/// comes after all that occurred in it.
struct Recent<'a> {
    events: &'a [Timed],
    n: usize,
    end: usize,
    last: BTreeMap<&'a Value, i64>,
    order: BTreeSet<(i64, &'a Value)>,
}

impl<'a> Recent<'a> {
    fn new(events: &'a [Timed], n: usize) -> Self {
        Self { events, n, end: 0, last: BTreeMap::new(), order: BTreeSet::new() }
    }

    fn read(&mut self, range: Range<usize>) -> Vec<Timed> {
        for (time, value) in &self.events[self.end..range.end] {
            if let Some(before) = self.last.insert(value, *time) {
                self.order.remove(&(before, value));
            }
            self.order.insert((*time, value));
        }
        self.end = range.end;
        let Some((start, _)) = self.events.get(range.start).filter(|_| !range.is_empty()) else { return Vec::new() };
        let within = self.order.iter().rev().take(self.n).take_while(|(time, _)| time >= start);
        within.map(|(time, value)| (*time, (*value).clone())).collect()
    }
}

/// Two stacks: one holds, for each block up to a middle, what that block and all later ones up to the middle give; the other
/// what all blocks from the middle on give. What is asked for is one of the first together with the second.
struct Stacks<'a> {
    measure: &'a Measure,
    events: &'a [Timed],
    block: usize,
    /// Of the blocks `middle − 1`, `middle − 2`, … on up to the middle.
    front: Vec<Partial>,
    middle: usize,
    back: Partial,
    end: usize,
}

impl<'a> Stacks<'a> {
    fn new(measure: &'a Measure, events: &'a [Timed]) -> Result<Self> {
        let block = if matches!(measure, Measure::Min | Measure::Max) { 1 } else { SKETCH_BLOCK };
        Ok(Self { measure, events, block, front: Vec::new(), middle: 0, back: measure.empty()?, end: 0 })
    }

    fn read(&mut self, range: Range<usize>) -> Result<Partial> {
        let (first, last) = (range.start.div_ceil(self.block), range.end / self.block);
        if first >= last {
            let mut partial = self.measure.empty()?;
            self.add(&mut partial, range);
            return Ok(partial);
        }
        if first >= self.middle {
            self.turn(first, last)?;
        }
        while self.end < last {
            add_events(self.measure, &mut self.back, &self.events[self.end * self.block..(self.end + 1) * self.block]);
            self.end += 1;
        }
        let mut partial = self.front[self.middle - 1 - first].clone();
        self.measure.merge(&mut partial, &self.back)?;
        self.add(&mut partial, range.start..first * self.block);
        self.add(&mut partial, last * self.block..range.end);
        Ok(partial)
    }

    /// Puts the middle at `last`.
    fn turn(&mut self, first: usize, last: usize) -> Result<()> {
        self.front.clear();
        let mut partial = self.measure.empty()?;
        for block in (first..last).rev() {
            self.add(&mut partial, block * self.block..(block + 1) * self.block);
            self.front.push(partial.clone());
        }
        (self.middle, self.end, self.back) = (last, last, self.measure.empty()?);
        Ok(())
    }

    fn add(&self, partial: &mut Partial, range: Range<usize>) {
        add_events(self.measure, partial, &self.events[range]);
    }
}

fn add_events(measure: &Measure, partial: &mut Partial, events: &[Timed]) {
    events.iter().for_each(|(time, value)| measure.add(partial, *time, value));
}

#[cfg(test)]
mod tests;
