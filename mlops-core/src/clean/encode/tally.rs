//! What is learned of each category of a column.

use std::collections::HashMap;

use arrow::array::{Array, StringArray};
use foldhash::fast::FixedState;

use super::super::{MODE_BYTES_MAX, MODE_VALUES_MAX};
use crate::{Error, Result};

/// Count, mean and squared distances of the labels of some rows, by Welford's recurrence; rows without a label only count.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Labels {
    pub(super) rows: u64,
    pub(super) labelled: u64,
    pub(super) mean: f64,
    pub(super) squares: f64,
}

impl Labels {
    fn update(&mut self, label: f64) {
        self.rows += 1;
        if label.is_finite() {
            self.labelled += 1;
            let delta = label - self.mean;
            self.mean += delta / self.labelled as f64;
            self.squares += delta * (label - self.mean);
        }
    }

    /// Chan, Golub and LeVeque 1979.
    pub(super) fn merge(&mut self, other: &Self) {
        let (n, m) = (self.labelled as f64, other.labelled as f64);
        self.rows += other.rows;
        self.labelled += other.labelled;
        if other.labelled > 0 {
            let delta = other.mean - self.mean;
            self.mean += delta * m / (n + m);
            self.squares += other.squares + delta * delta * n * m / (n + m);
        }
    }

    pub(super) fn sum(&self) -> f64 {
        self.mean * self.labelled as f64
    }
}

/// The labels of every category, in each of some folds of the rows.
#[derive(Debug)]
pub(super) struct Tally {
    folds: usize,
    slots: HashMap<Box<str>, usize, FixedState>,
    bytes: usize,
    /// Of slot `s` and fold `f` at `s · folds + f`; slot 0 is that of nulls.
    labels: Vec<Labels>,
    rows: u64,
}

impl Tally {
    pub(super) fn new(folds: usize) -> Self {
        let labels = vec![Labels::default(); folds];
        Self { folds, slots: HashMap::default(), bytes: 0, labels, rows: 0 }
    }

    /// Adds the rows of a part of `column` with their labels, if there are any.
    pub(super) fn update(&mut self, column: &str, texts: &StringArray, labels: Option<&[f64]>) -> Result<()> {
        for row in 0..texts.len() {
            let slot = if texts.is_null(row) { 0 } else { self.slot(column, texts.value(row))? };
            let fold = (self.rows % self.folds as u64) as usize;
            self.labels[slot * self.folds + fold].update(labels.map_or(f64::NAN, |labels| labels[row]));
            self.rows += 1;
        }
        Ok(())
    }

    fn slot(&mut self, column: &str, text: &str) -> Result<usize> {
        if let Some(slot) = self.slots.get(text) {
            return Ok(*slot);
        }
        if self.slots.len() >= MODE_VALUES_MAX || self.bytes + text.len() > MODE_BYTES_MAX {
            let limit = format!("at most {MODE_VALUES_MAX} different values of {MODE_BYTES_MAX} bytes together");
            return Err(Error::schema(column, limit, "more of them: `hash` needs no list"));
        }
        let slot = self.slots.len() + 1;
        self.bytes += text.len();
        self.slots.insert(text.into(), slot);
        self.labels.resize(self.labels.len() + self.folds, Labels::default());
        Ok(slot)
    }

    /// Categories in order, each with the labels of all rows but those of fold `without`; nulls last.
    pub(super) fn finish(&self, is_whole_number: bool, without: Option<usize>) -> (Vec<(String, Labels)>, Labels) {
        let of = |slot: usize| {
            let mut all = Labels::default();
            for fold in (0..self.folds).filter(|fold| Some(*fold) != without) {
                all.merge(&self.labels[slot * self.folds + fold]);
            }
            all
        };
        let mut categories: Vec<_> = self.slots.iter().map(|(text, &slot)| (text.to_string(), of(slot))).collect();
        if is_whole_number {
            categories.sort_by_cached_key(|(text, _)| text.parse::<i128>().unwrap_or(i128::MAX));
        } else {
            categories.sort_by(|a, b| a.0.cmp(&b.0));
        }
        categories.retain(|(_, labels)| labels.rows > 0);
        (categories, of(0))
    }
}
