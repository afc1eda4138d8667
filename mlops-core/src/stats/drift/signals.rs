//! What changed beside the distance.

use serde::{Deserialize, Serialize};

use super::effect::Column;
use super::robust::tails;

/// Changes that a distance hides or must not decide: each to be looked at for itself, never part of a verdict.
///
/// Shares are in `0..=1`; `None` where the column is of another kind, has no present values on a side, or a sketch cannot tell.
/// From profiles, the shares of numbers are as exact as the quantile sketches are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Signals {
    /// Nulls and NaN among the rows of the reference.
    pub null_share_reference: Option<f64>,
    /// Nulls and NaN among the current rows.
    pub null_share_current: Option<f64>,
    /// Current numbers below the reference's smallest or above its greatest.
    pub outside_range: Option<f64>,
    /// The reference's numbers beyond its own 0.1 % and 99.9 % quantiles: about 0.002, less where values repeat.
    pub tail_mass_reference: Option<f64>,
    /// Current numbers beyond those quantiles of the reference.
    pub tail_mass_current: Option<f64>,
    /// Categories that only the current rows have.
    pub new_categories: Option<CategoryShare>,
    /// Categories that only the reference has.
    pub lost_categories: Option<CategoryShare>,
}

/// Some categories, and how many of a side's present values they hold.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CategoryShare {
    /// Different categories.
    pub categories: u64,
    /// Their share of the present values of the side that has them.
    pub share: f64,
}

pub(super) fn between(reference: &Column<'_>, current: &Column<'_>) -> Signals {
    let null_share = |column: &Column<'_>| (column.rows() > 0).then(|| column.missing() as f64 / column.rows() as f64);
    let mut signals = Signals {
        null_share_reference: null_share(reference),
        null_share_current: null_share(current),
        ..Signals::default()
    };
    let is_present = |column: &Column<'_>| column.rows() > column.missing();
    if !is_present(reference) || !is_present(current) {
        return signals;
    }
    match (reference, current) {
        (Column::Numbers(r), Column::Numbers(c)) => {
            signals.outside_range = r.range().map(|(low, high)| c.outside(low, high));
            if let Some((low, high)) = tails(&r.ranks) {
                signals.tail_mass_reference = Some(r.outside(low, high));
                signals.tail_mass_current = Some(c.outside(low, high));
            }
        }
        (Column::Categories(r), Column::Categories(c)) => {
            let of = |column: &Column<'_>, found: Option<(u64, u64)>| {
                let present = (column.rows() - column.missing()) as f64;
                found.map(|(categories, rows)| CategoryShare { categories, share: rows as f64 / present })
            };
            signals.new_categories = of(current, c.unseen_by(r));
            signals.lost_categories = of(reference, r.unseen_by(c));
        }
        _ => {}
    }
    signals
}
