//! Partial aggregates: what is kept of events so that features can be read from it, and how it is combined.
//!
//! Adding is free of order, and merging two partials gives what one would be that saw the events of both; for KLL and
//! frequent-items sketches to their stated error, for all others exactly. Where a partial can also take events out again
//! (an abelian group: sums and counts), sliding windows run; the others are combined in two stacks.

use std::collections::BTreeMap;

use mlops_core::stats::{Distinct, FrequentItems, Quantiles};

use super::op::Op;
use super::sum::ExactSum;
use super::value::{Cell, Value};
use crate::error::Result;

/// A kind of partial aggregate.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Measure {
    /// Number of events or values.
    Count,
    /// Number and sum of whole numbers.
    Ints,
    /// Number and sum of doubles.
    Reals,
    /// Number, sum and sum of squares.
    Spread,
    Min,
    Max,
    /// The earliest so many.
    First(u32),
    /// The latest so many.
    Last(u32),
    /// The so many different values that occurred last.
    Recent(u32),
    /// How often each value occurred.
    Counts,
    /// Number of different values, of this precision.
    Sketch(u8),
    /// KLL of this size.
    Quantiles(u16),
    /// Frequent items of this capacity.
    Items(u32),
    /// Counts between these edges, and on both sides of them.
    Bins(Vec<f64>),
}

/// What was kept of some events.
#[derive(Clone, Debug)]
pub(crate) enum Partial {
    Count(u64),
    Ints {
        n: u64,
        sum: i128,
    },
    Reals {
        n: u64,
        sum: ExactSum,
    },
    Spread(Box<Spread>),
    Extreme(Option<Value>),
    /// In the order of the measure: ascending for the earliest, descending for the latest.
    Ends(Vec<(i64, Value)>),
    /// Each value once, with its last time, descending.
    Recent(Vec<(i64, Value)>),
    Counts(BTreeMap<Value, u64>),
    Sketch(Box<Distinct>),
    Quantiles(Box<Quantiles>),
    Items(Box<FrequentItems>),
    Bins(Box<[u64]>),
}

/// What a variance is made of.
#[derive(Clone, PartialEq, Debug, Default)]
pub(crate) struct Spread {
    pub(crate) n: u64,
    pub(crate) sum: ExactSum,
    pub(crate) squares: ExactSum,
    /// Values whose squares are beyond the doubles.
    pub(crate) beyond: u64,
}

impl Measure {
    pub(crate) fn empty(&self) -> Result<Partial> {
        Ok(match self {
            Self::Count => Partial::Count(0),
            Self::Ints => Partial::Ints { n: 0, sum: 0 },
            Self::Reals => Partial::Reals { n: 0, sum: ExactSum::default() },
            Self::Spread => Partial::Spread(Box::default()),
            Self::Min | Self::Max => Partial::Extreme(None),
            Self::First(_) | Self::Last(_) => Partial::Ends(Vec::new()),
            Self::Recent(_) => Partial::Recent(Vec::new()),
            Self::Counts => Partial::Counts(BTreeMap::new()),
            Self::Sketch(precision) => Partial::Sketch(Box::new(Distinct::new(*precision)?)),
            Self::Quantiles(k) => Partial::Quantiles(Box::new(Quantiles::new(*k)?)),
            Self::Items(capacity) => Partial::Items(Box::new(FrequentItems::new(*capacity as usize)?)),
            Self::Bins(edges) => Partial::Bins(vec![0; edges.len() + 1].into()),
        })
    }

    /// Whether events can be taken out again.
    pub(crate) fn is_invertible(&self) -> bool {
        matches!(self, Self::Count | Self::Ints | Self::Reals | Self::Spread | Self::Counts | Self::Bins(_))
    }

    /// Adds the value of an event at `time`. A value of another kind than the column's is left out, for none comes in.
    pub(crate) fn add(&self, partial: &mut Partial, time: i64, value: &Value) {
        match (partial, value) {
            (Partial::Count(n), _) => *n += 1,
            (Partial::Ints { n, sum }, Value::Int(value)) => {
                *n += 1;
                *sum += i128::from(*value);
            }
            (Partial::Reals { n, sum }, Value::Real(value)) => {
                *n += 1;
                sum.add(*value);
            }
            (Partial::Spread(spread), value) => value.number().into_iter().for_each(|value| spread.add(value)),
            (Partial::Extreme(held), value) => {
                let wins =
                    held.as_ref().is_none_or(|held| if *self == Self::Min { value < held } else { value > held });
                if wins {
                    *held = Some(value.clone());
                }
            }
            (Partial::Ends(ends), value) => self.add_end(ends, time, value),
            (Partial::Recent(recent), value) => self.add_recent(recent, time, value),
            (Partial::Counts(counts), value) => match counts.get_mut(value) {
                Some(count) => *count += 1,
                None => {
                    counts.insert(value.clone(), 1);
                }
            },
            (Partial::Sketch(sketch), value) => match value {
                Value::Int(value) => sketch.update_integer(*value),
                Value::Real(value) => sketch.update_number(*value),
                Value::Text(text) => sketch.update_text(text),
            },
            (Partial::Quantiles(quantiles), value) => value.number().into_iter().for_each(|x| quantiles.update(x)),
            (Partial::Items(items), Value::Text(text)) => items.update(text),
            (Partial::Bins(bins), value) => {
                value.number().into_iter().for_each(|value| bins[self.bin(value)] += 1);
            }
            _ => {}
        }
    }

    /// Takes an event out again that was added; only where [`is_invertible`](Self::is_invertible).
    pub(crate) fn remove(&self, partial: &mut Partial, value: &Value) {
        debug_assert!(self.is_invertible());
        match (partial, value) {
            (Partial::Count(n), _) => *n -= 1,
            (Partial::Ints { n, sum }, Value::Int(value)) => {
                *n -= 1;
                *sum -= i128::from(*value);
            }
            (Partial::Reals { n, sum }, Value::Real(value)) => {
                *n -= 1;
                sum.remove(*value);
            }
            (Partial::Spread(spread), value) => value.number().into_iter().for_each(|value| spread.remove(value)),
            (Partial::Counts(counts), value) => match counts.get_mut(value) {
                Some(count) if *count > 1 => *count -= 1,
                _ => {
                    counts.remove(value);
                }
            },
            (Partial::Bins(bins), value) => {
                value.number().into_iter().for_each(|value| bins[self.bin(value)] -= 1);
            }
            _ => {}
        }
    }

    /// Adds what `from` has seen.
    ///
    /// # Errors
    /// `Core(Invalid)` beyond 2^55 values in one sketch.
    pub(crate) fn merge(&self, into: &mut Partial, from: &Partial) -> Result<()> {
        match (into, from) {
            (Partial::Count(n), Partial::Count(more)) => *n += more,
            (Partial::Ints { n, sum }, Partial::Ints { n: more, sum: further }) => {
                *n += more;
                *sum += further;
            }
            (Partial::Reals { n, sum }, Partial::Reals { n: more, sum: further }) => {
                *n += more;
                sum.merge(further);
            }
            (Partial::Spread(spread), Partial::Spread(other)) => spread.merge(other),
            (into @ Partial::Extreme(_), Partial::Extreme(Some(value))) => self.add(into, 0, value),
            (Partial::Ends(ends), Partial::Ends(other)) => {
                other.iter().for_each(|(time, value)| self.add_end(ends, *time, value));
            }
            (Partial::Recent(recent), Partial::Recent(other)) => {
                other.iter().for_each(|(time, value)| self.add_recent(recent, *time, value));
            }
            (Partial::Counts(counts), Partial::Counts(other)) => {
                for (value, more) in other {
                    *counts.entry(value.clone()).or_default() += more;
                }
            }
            (Partial::Sketch(sketch), Partial::Sketch(other)) => sketch.merge(other)?,
            (Partial::Quantiles(quantiles), Partial::Quantiles(other)) => quantiles.merge(other)?,
            (Partial::Items(items), Partial::Items(other)) => items.merge(other)?,
            (Partial::Bins(bins), Partial::Bins(other)) => {
                bins.iter_mut().zip(other).for_each(|(bin, more)| *bin += more);
            }
            _ => {}
        }
        Ok(())
    }

    /// How many values the list of ends keeps.
    fn keeps(&self) -> usize {
        match self {
            Self::First(n) | Self::Last(n) | Self::Recent(n) => *n as usize,
            _ => 0,
        }
    }

    fn add_end(&self, ends: &mut Vec<(i64, Value)>, time: i64, value: &Value) {
        let goes_before = |held: &(i64, Value)| {
            let held = (held.0, &held.1);
            if matches!(self, Self::First(_)) { held <= (time, value) } else { held >= (time, value) }
        };
        let at = ends.partition_point(goes_before);
        if at < self.keeps() {
            ends.insert(at, (time, value.clone()));
            ends.truncate(self.keeps());
        }
    }

    fn add_recent(&self, recent: &mut Vec<(i64, Value)>, time: i64, value: &Value) {
        if let Some(held) = recent.iter().position(|held| held.1 == *value) {
            if recent[held].0 >= time {
                return;
            }
            recent.remove(held);
        }
        let at = recent.partition_point(|held| (held.0, &held.1) > (time, value));
        if at < self.keeps() {
            recent.insert(at, (time, value.clone()));
            recent.truncate(self.keeps());
        }
    }

    /// The place of `x` among the counts: 0 below the first edge, the last one above the last; numpy's rule, as in
    /// [`Histogram`](mlops_core::stats::Histogram).
    fn bin(&self, x: f64) -> usize {
        let Self::Bins(edges) = self else { return 0 };
        let at_or_below = edges.partition_point(|edge| *edge <= x);
        if at_or_below == edges.len() && edges.last() == Some(&x) { at_or_below - 1 } else { at_or_below }
    }
}

impl Spread {
    fn add(&mut self, x: f64) {
        self.n += 1;
        self.sum.add(x);
        match square(x) {
            Some((high, low)) => {
                self.squares.add(high);
                self.squares.add(low);
            }
            None => self.beyond += 1,
        }
    }

    fn remove(&mut self, x: f64) {
        self.n -= 1;
        self.sum.remove(x);
        match square(x) {
            Some((high, low)) => {
                self.squares.remove(high);
                self.squares.remove(low);
            }
            None => self.beyond -= 1,
        }
    }

    fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.sum.merge(&other.sum);
        self.squares.merge(&other.squares);
        self.beyond += other.beyond;
    }

    /// Variance with divisor `n − ddof`: `(n Σx² − (Σx)²) / (n (n − ddof))`, whose difference is taken before anything is rounded.
    fn variance(&self, ddof: u8) -> Option<f64> {
        let ddof = u64::from(ddof);
        if self.n <= ddof || self.beyond > 0 {
            return None;
        }
        let (sum, squares) = (self.sum.parts()?, self.squares.parts()?);
        let n = self.n as f64;
        let mut difference = ExactSum::default();
        let products = squares.iter().map(|square| product(n, *square));
        let taken = sum.iter().flat_map(|a| sum.iter().map(|b| product(-*a, *b)));
        for (high, low) in products.chain(taken).collect::<Option<Vec<_>>>()? {
            difference.add(high);
            difference.add(low);
        }
        let variance = difference.value().max(0.0) / n / (n - ddof as f64);
        variance.is_finite().then_some(variance)
    }
}

/// `a · b` as the sum of two doubles; `None` where it is beyond them.
fn product(a: f64, b: f64) -> Option<(f64, f64)> {
    let high = a * b;
    high.is_finite().then(|| (high, a.mul_add(b, -high)))
}

fn square(x: f64) -> Option<(f64, f64)> {
    product(x, x)
}

impl Op {
    /// The value of the feature.
    ///
    /// # Errors
    /// None in practice: parameters were checked when the view was built.
    pub(crate) fn read(&self, partial: &Partial) -> Result<Cell> {
        Ok(match (self, partial) {
            (Self::Count, Partial::Count(n) | Partial::Ints { n, .. } | Partial::Reals { n, .. }) => Cell::count(*n),
            (_, Partial::Ints { n: 0, .. } | Partial::Reals { n: 0, .. }) => Cell::Null,
            (Self::Sum, Partial::Ints { sum, .. }) => {
                Cell::One(Value::Int((*sum).clamp(i64::MIN.into(), i64::MAX.into()) as i64))
            }
            (Self::Sum, Partial::Reals { sum, .. }) => Cell::real(Some(sum.value())),
            (Self::Mean, Partial::Ints { n, sum }) => Cell::real(Some(*sum as f64 / *n as f64)),
            (Self::Mean, Partial::Reals { n, sum }) => Cell::real(Some(sum.mean(*n))),
            (Self::Variance { ddof }, Partial::Spread(spread)) => Cell::real(spread.variance(*ddof)),
            (Self::StandardDeviation { ddof }, Partial::Spread(spread)) => {
                Cell::real(spread.variance(*ddof).map(f64::sqrt))
            }
            (Self::Min | Self::Max, Partial::Extreme(held)) => held.clone().map_or(Cell::Null, Cell::One),
            (Self::First | Self::Last, Partial::Ends(ends)) => {
                ends.first().map_or(Cell::Null, |(_, value)| Cell::One(value.clone()))
            }
            (_, Partial::Ends(held) | Partial::Recent(held)) => Cell::list(held.iter().map(|(_, value)| value.clone())),
            (Self::TopK { k }, Partial::Counts(counts)) => Cell::list(top(counts, *k as usize)),
            (_, Partial::Counts(counts)) => Cell::count(counts.len() as u64),
            (_, Partial::Sketch(sketch)) => Cell::count(sketch.estimate().value),
            (Self::Quantiles { shares, .. }, Partial::Quantiles(quantiles)) => {
                let found = quantiles.quantiles(shares)?;
                Cell::list(found.into_iter().flatten().map(Value::Real))
            }
            (Self::TopKSketch { k, .. }, Partial::Items(items)) => {
                Cell::list(items.top(*k as usize).into_iter().map(|item| Value::Text(item.value.into())))
            }
            (_, Partial::Bins(bins)) if bins.iter().any(|bin| *bin > 0) => {
                Cell::list(bins.iter().map(|bin| Value::Int(*bin as i64)))
            }
            _ => Cell::Null,
        })
    }
}

/// The `k` most frequent, then the smaller.
fn top(counts: &BTreeMap<Value, u64>, k: usize) -> impl Iterator<Item = Value> {
    let mut order: Vec<(&Value, u64)> = counts.iter().map(|(value, count)| (value, *count)).collect();
    order.sort_by(|a, b| b.1.cmp(&a.1));
    order.into_iter().take(k).map(|(value, _)| value.clone()).collect::<Vec<_>>().into_iter()
}
