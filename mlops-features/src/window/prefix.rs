//! Counts and sums of every beginning of a list of values: those of any stretch are a difference of two.

use std::ops::Range;

use super::column::Column;
use super::measure::Measure;
use super::op::Op;
use super::output::Output;
use super::sum::{ExactSum, decompose};

/// Bits of the sums: one short of an `i128`, for its sign.
const BITS: i32 = 127;

/// Of one list.
#[derive(Debug, Default)]
pub(super) struct Prefix {
    /// How many of the first `i` values are present.
    counts: Vec<u32>,
    /// Their sum, in units of `2^exponent`.
    sums: Vec<i128>,
    exponent: i32,
    whole: bool,
    /// What the sums are of, so that several measures share them.
    has_sums: bool,
    /// Units and exponent of each value.
    parts: Vec<(i64, i32)>,
}

impl Prefix {
    /// Counts the present values of `column` at `places`.
    pub(super) fn count(&mut self, column: &Column, places: Range<usize>) {
        self.has_sums = false;
        let mut count = 0;
        let mut add = |present: bool| {
            count += u32::from(present);
            count
        };
        self.counts.clear();
        self.counts.push(0);
        match column {
            Column::Reals(values) => self.counts.extend(values[places].iter().map(|value| add(!value.is_nan()))),
            Column::Ints { present, .. } => self.counts.extend(present[places].iter().map(|present| add(*present))),
            Column::Texts { codes, dictionary } => {
                self.counts.extend(codes[places].iter().map(|code| add((*code as usize) < dictionary.len())));
            }
        }
    }

    /// How many of the first `at` values are present.
    pub(super) fn before(&self, at: u32) -> usize {
        self.counts[at as usize] as usize
    }

    /// Sums them up, if that is what `measure` needs and they fit over one power of two; says whether it can be read from here.
    pub(super) fn sum(&mut self, measure: &Measure, column: &Column, places: Range<usize>) -> bool {
        match (measure, column) {
            (Measure::Count, _) => true,
            (Measure::Ints, Column::Ints { values, .. }) => {
                let mut sum = 0;
                self.sums.clear();
                self.sums.push(0);
                // Values that are not present are 0.
                self.sums.extend(values[places].iter().map(|value| {
                    sum += i128::from(*value);
                    sum
                }));
                (self.exponent, self.whole, self.has_sums) = (0, true, true);
                true
            }
            (Measure::Reals, Column::Reals(values)) => self.sum_reals(&values[places]),
            _ => false,
        }
    }

    fn sum_reals(&mut self, values: &[f64]) -> bool {
        self.parts.clear();
        self.parts.extend(values.iter().map(|value| if value.is_nan() { (0, 0) } else { decompose(*value) }));
        let (mut least, mut top) = (i32::MAX, i32::MIN);
        for (units, exponent) in self.parts.iter().filter(|(units, _)| *units != 0) {
            least = least.min(*exponent);
            top = top.max(*exponent + 64 - units.unsigned_abs().leading_zeros() as i32);
        }
        let room = 64 - (values.len() as u64).leading_zeros() as i32;
        if least < top && top - least + room > BITS {
            return false;
        }
        let mut sum = 0;
        self.sums.clear();
        self.sums.push(0);
        self.sums.extend(self.parts.iter().map(|(units, exponent)| {
            if *units != 0 {
                sum += i128::from(*units) << (exponent - least);
            }
            sum
        }));
        self.exponent = if least == i32::MAX { 0 } else { least };
        (self.whole, self.has_sums) = (false, true);
        true
    }

    /// Writes the value of `op` over each of `rows`, an entity row and its stretch, to `output`.
    pub(super) fn read(&self, op: &Op, rows: impl Iterator<Item = (usize, (u32, u32))>, output: &mut Output) {
        let count = |(start, end): (u32, u32)| self.counts[end as usize] - self.counts[start as usize];
        let sum = |(start, end): (u32, u32)| self.sums[end as usize] - self.sums[start as usize];
        match (op, output) {
            (Op::Count, Output::Ints(numbers)) => rows.for_each(|(row, range)| numbers.set(row, count(range).into())),
            (Op::Sum, Output::Ints(numbers)) if self.whole => {
                let held = |sum: i128| sum.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
                let rows = rows.filter(|(_, range)| count(*range) > 0);
                rows.for_each(|(row, range)| numbers.set(row, held(sum(range))));
            }
            (Op::Mean, Output::Reals(numbers)) if self.whole => {
                for (row, range) in rows.filter(|(_, range)| count(*range) > 0) {
                    numbers.set(row, sum(range) as f64 / f64::from(count(range)));
                }
            }
            (_, Output::Reals(numbers)) if self.has_sums => {
                let exact = |range| ExactSum::Narrow { units: sum(range), exponent: self.exponent };
                for (row, range) in rows.filter(|(_, range)| count(*range) > 0) {
                    let sum = exact(range);
                    numbers.set(row, if *op == Op::Mean { sum.mean(count(range).into()) } else { sum.value() });
                }
            }
            _ => debug_assert!(false, "{op:?} is not read from sums"),
        }
    }
}
