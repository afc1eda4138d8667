//! What is different between two profiles.

use serde::Serialize;

use super::{ColumnProfile, Profile, Semantic};
use crate::stats::{Estimate, FrequentItem, KsEstimate, ks_of_quantiles, total_variation};

/// A figure before and after.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Pair<T> {
    /// In the first profile.
    pub before: T,
    /// In the second one.
    pub after: T,
}

impl<T> Pair<T> {
    fn of<S>(before: &S, after: &S, figure: impl Fn(&S) -> T) -> Self {
        Self { before: figure(before), after: figure(after) }
    }
}

/// What is different between two profiles: columns, counts, distributions. It states and does not judge; for a verdict
/// see [`Profile::compare`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ProfileDiff {
    /// Rows.
    pub rows: Pair<u64>,
    /// Columns of the second profile only.
    pub added: Vec<String>,
    /// Columns of the first profile only.
    pub removed: Vec<String>,
    /// Whether the common columns stand in another order.
    pub is_reordered: bool,
    /// Columns of both, in the order of the first.
    pub columns: Vec<ColumnDiff>,
}

/// One column of two profiles; what is not known on both sides is `None`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnDiff {
    /// Name of the column.
    pub name: String,
    /// The Arrow types, where they differ.
    pub retyped: Option<Pair<String>>,
    /// What the values mean, where that differs.
    pub remeant: Option<Pair<Option<Semantic>>>,
    /// Shares of nulls.
    pub null_ratio: Option<Pair<f64>>,
    /// Numbers of different values.
    pub distinct: Option<Pair<Estimate>>,
    /// Means of numbers and of times in µs.
    pub mean: Option<Pair<f64>>,
    /// Standard deviations, with divisor `n − 1`.
    pub standard_deviation: Option<Pair<f64>>,
    /// Quantiles at 5, 25, 50, 75 and 95 %.
    pub quantiles: Option<Pair<Vec<f64>>>,
    /// Greatest difference of the distribution functions of numbers and times.
    pub ks: Option<KsEstimate>,
    /// Total variation over the most frequent values of texts and booleans, all others being one: 0 for equal shares, 1 for
    /// nothing in common.
    pub total_variation: Option<f64>,
    /// Frequent values of the first profile (1 % and more) that the second one has not seen.
    pub lost: Vec<String>,
    /// Frequent values of the second profile (1 % and more) that the first one has not seen.
    pub new: Vec<String>,
}

const SHARES: [f64; 5] = [0.05, 0.25, 0.5, 0.75, 0.95];
const TOP: usize = 50;
const FREQUENT: f64 = 0.01;

impl ProfileDiff {
    pub(crate) fn of(before: &Profile, after: &Profile) -> Self {
        let missing = |from: &Profile, of: &Profile| {
            let names = from.columns().iter().map(ColumnProfile::name);
            names.filter(|name| of.column(name).is_none()).map(str::to_owned).collect::<Vec<_>>()
        };
        let common = |from: &Profile, of: &Profile| {
            let names = from.columns().iter().map(ColumnProfile::name);
            names.filter(|name| of.column(name).is_some()).map(str::to_owned).collect::<Vec<_>>()
        };
        let pairs = before.columns().iter().filter_map(|column| Some((column, after.column(column.name())?)));
        Self {
            rows: Pair::of(before, after, Profile::rows),
            added: missing(after, before),
            removed: missing(before, after),
            is_reordered: common(before, after) != common(after, before),
            columns: pairs.map(|(before, after)| ColumnDiff::of(before, after)).collect(),
        }
    }
}

/// A figure that is known on both sides.
fn both<T>(
    before: &ColumnProfile,
    after: &ColumnProfile,
    figure: impl Fn(&ColumnProfile) -> Option<T>,
) -> Option<Pair<T>> {
    Some(Pair { before: figure(before)?, after: figure(after)? })
}

impl ColumnDiff {
    fn of(before: &ColumnProfile, after: &ColumnProfile) -> Self {
        let semantic = |column: &ColumnProfile| column.meaning().map(|meaning| meaning.semantic);
        let retyped = Pair::of(before, after, |column| column.data_type().to_owned());
        let remeant = Pair::of(before, after, semantic);
        let quantiles = |column: &ColumnProfile| {
            column.quantiles().and_then(|quantiles| quantiles.quantiles(&SHARES).ok().flatten())
        };
        let sketches = before.quantiles().zip(after.quantiles());
        let moments = |column: &ColumnProfile, figure: fn(&crate::stats::Moments) -> Option<f64>| {
            column.moments().and_then(figure)
        };
        Self {
            name: before.name().to_owned(),
            retyped: (retyped.before != retyped.after).then_some(retyped),
            remeant: (remeant.before != remeant.after).then_some(remeant),
            null_ratio: both(before, after, ColumnProfile::null_ratio),
            distinct: both(before, after, ColumnProfile::distinct),
            mean: both(before, after, |column| moments(column, crate::stats::Moments::mean)),
            standard_deviation: both(before, after, |column| moments(column, |m| m.standard_deviation(1))),
            quantiles: both(before, after, quantiles),
            ks: sketches.and_then(|(before, after)| ks_of_quantiles(before, after).ok()),
            total_variation: variation(before, after),
            lost: unseen(before, after),
            new: unseen(after, before),
        }
    }
}

/// Most frequent values of a column of categories that may be shown.
fn top(column: &ColumnProfile) -> Vec<FrequentItem> {
    if column.quantiles().is_some() || column.is_sensitive() { Vec::new() } else { column.top_values(TOP) }
}

fn count_of(column: &ColumnProfile, value: &str) -> Estimate {
    match column.frequent() {
        Some(frequent) => frequent.count(value),
        None => {
            column.top_values(2).iter().find(|item| item.value == value).map_or(Estimate::exact(0), |item| item.count)
        }
    }
}

fn variation(before: &ColumnProfile, after: &ColumnProfile) -> Option<f64> {
    let mut values: Vec<String> = top(before).into_iter().chain(top(after)).map(|item| item.value).collect();
    values.sort_unstable();
    values.dedup();
    if values.is_empty() || before.quantiles().is_some() != after.quantiles().is_some() {
        return None;
    }
    let counts = |column: &ColumnProfile| {
        let mut counts: Vec<u64> = values.iter().map(|value| count_of(column, value).value).collect();
        let present = column.rows() - column.nulls();
        counts.push(present.saturating_sub(counts.iter().sum()));
        counts
    };
    total_variation(&counts(before), &counts(after)).ok()
}

/// Frequent values of `seen` that `other` surely has not.
fn unseen(seen: &ColumnProfile, other: &ColumnProfile) -> Vec<String> {
    if other.quantiles().is_some() || other.is_sensitive() {
        return Vec::new();
    }
    let is_frequent = |item: &FrequentItem| item.count.low as f64 >= FREQUENT * seen.rows() as f64;
    let frequent = top(seen).into_iter().filter(is_frequent);
    frequent.filter(|item| count_of(other, &item.value).high == 0).map(|item| item.value).collect()
}

#[cfg(test)]
mod tests;
