//! Effect sizes of one column, whether it comes from a profile or from its values.

use arrow::array::{Array, ArrayRef};

use super::categories::{Categories, shares};
use super::numbers::{Numbers, kolmogorov_smirnov, number_shares};
use super::{DriftMethod, DriftRule, EffectInterval, robust};
use crate::Result;
use crate::profile::{ColumnKind, ColumnProfile};
use crate::stats::chi2::chi2_two_sample;
use crate::stats::psi::psi_test_of;

/// A size, what chance alone would give, and the probability of that much by chance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Effect {
    pub(super) size: f64,
    pub(super) expected_by_chance: f64,
    pub(super) p_value: f64,
    pub(super) interval: Option<EffectInterval>,
    /// Rows that were compared, of the reference and now.
    pub(super) rows: (u64, u64),
}

impl Effect {
    /// Nothing was measured.
    pub(super) const NONE: Self =
        Self { size: 0.0, expected_by_chance: 0.0, p_value: 1.0, interval: None, rows: (0, 0) };
}

/// What is known of a column on one side.
pub(super) enum Column<'a> {
    Numbers(Numbers),
    Categories(Categories<'a>),
}

impl<'a> Column<'a> {
    pub(super) fn of_profile(profile: &'a ColumnProfile) -> Self {
        match Numbers::of_profile(profile) {
            Some(numbers) => Self::Numbers(numbers),
            None => Self::Categories(Categories::of_profile(profile)),
        }
    }

    /// Of all pieces of one kind; without a piece, a column without rows.
    pub(super) fn of_pieces(pieces: &'a [ArrayRef]) -> Result<Self> {
        match pieces.first().map(|piece| ColumnKind::of(piece.data_type())) {
            Some(ColumnKind::Number | ColumnKind::Time) => Ok(Self::Numbers(Numbers::of_pieces(pieces)?)),
            _ => Ok(Self::Categories(Categories::of_pieces(pieces)?)),
        }
    }

    pub(super) fn rows(&self) -> u64 {
        match self {
            Self::Numbers(numbers) => numbers.rows,
            Self::Categories(categories) => categories.rows,
        }
    }

    /// Nulls and NaN.
    pub(super) fn missing(&self) -> u64 {
        match self {
            Self::Numbers(numbers) => numbers.missing,
            Self::Categories(categories) => categories.missing,
        }
    }
}

/// Both columns have rows and are of one kind.
pub(super) fn measure(reference: &Column<'_>, current: &Column<'_>, rule: &DriftRule) -> Result<Effect> {
    let rows = (reference.rows(), current.rows());
    let present = (rows.0 - reference.missing(), rows.1 - current.missing());
    match (reference, current, rule.method()) {
        (Column::Numbers(r), Column::Numbers(c), DriftMethod::Psi) => {
            Ok(index(&number_shares(r, c, rule.bins()), rows))
        }
        (Column::Numbers(r), Column::Numbers(c), DriftMethod::Ks) => Ok(kolmogorov_smirnov(r, c)),
        (Column::Numbers(r), Column::Numbers(c), DriftMethod::Robust) => Ok(robust::numbers(r, c)),
        (Column::Categories(r), Column::Categories(c), DriftMethod::Robust) => {
            if r.is_unknown() || c.is_unknown() || present.0 == 0 || present.1 == 0 {
                return Ok(Effect::NONE);
            }
            robust::categories(&shares(Some((r, c)), rows, present, false), present)
        }
        (_, _, DriftMethod::Robust) => Ok(Effect::NONE),
        (Column::Categories(r), Column::Categories(c), method) => {
            by_counts(&shares(Some((r, c)), rows, present, true), rows, method)
        }
        (_, _, method) => by_counts(&shares(None, rows, present, true), rows, method),
    }
}

fn by_counts(shares: &[(f64, f64)], rows: (u64, u64), method: DriftMethod) -> Result<Effect> {
    match method {
        DriftMethod::Psi => Ok(index(shares, rows)),
        DriftMethod::Ks | DriftMethod::Robust => total_variation(shares, rows),
    }
}

fn index(shares: &[(f64, f64)], rows: (u64, u64)) -> Effect {
    let test = psi_test_of(shares, rows.0, rows.1);
    Effect {
        size: test.psi.max(0.0),
        expected_by_chance: test.expected_by_chance,
        p_value: test.p_value,
        interval: None,
        rows,
    }
}

/// Total variation distance, with the p-value of the χ² test.
pub(super) fn total_variation(shares: &[(f64, f64)], rows: (u64, u64)) -> Result<Effect> {
    let (n, m) = rows;
    let scale = 1.0 / n as f64 + 1.0 / m as f64;
    let pooled = |&(r, c): &(f64, f64)| (r * n as f64 + c * m as f64) / (n as f64 + m as f64);
    let counts = |rows: u64, share: &dyn Fn(&(f64, f64)) -> f64| {
        shares.iter().map(|both| (share(both) * rows as f64).round() as u64).collect::<Vec<_>>()
    };
    let test = chi2_two_sample(&counts(n, &|both| both.0), &counts(m, &|both| both.1))?;
    Ok(Effect {
        size: shares.iter().map(|(r, c)| (c - r).abs()).sum::<f64>() / 2.0,
        // A share's difference is about normal with variance p(1 − p)(1/n + 1/m); its mean size is √(2/π) of the deviation.
        expected_by_chance: shares
            .iter()
            .map(|both| (pooled(both) * (1.0 - pooled(both)).max(0.0) * scale * std::f64::consts::FRAC_2_PI).sqrt())
            .sum::<f64>()
            / 2.0,
        p_value: test.p_value,
        interval: None,
        rows,
    })
}
