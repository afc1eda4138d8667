//! A profile as plain numbers.

use serde::Serialize;

use super::{CharacterStats, ColumnKind, ColumnProfile, Meaning, Personal};
use crate::stats::{Estimate, FrequentItem};

/// Plain numbers of one column; what does not apply to its kind is `None` or empty, and so is what would show values of a
/// column that is sensitive: see [`ColumnProfile::is_sensitive`].
#[derive(Debug, Clone, Serialize)]
pub struct ColumnSummary {
    /// Name of the column.
    pub name: String,
    /// The Arrow type.
    pub data_type: String,
    /// What the values are.
    pub kind: ColumnKind,
    /// What the values mean, and how sure that is.
    pub meaning: Option<Meaning>,
    /// What a detector of personal data found.
    pub personal: Option<Personal>,
    /// Whether the values were hidden, here or already when the profile was taken.
    pub hidden: bool,
    /// Rows, nulls included.
    pub rows: u64,
    /// Nulls.
    pub nulls: u64,
    /// NaN.
    pub nan: u64,
    /// Positive and negative infinities.
    pub infinite: u64,
    /// Zeros of numbers.
    pub zeros: Option<u64>,
    /// Numbers below zero.
    pub negatives: Option<u64>,
    /// Whether no number or time is below the one before it.
    pub ascending: Option<bool>,
    /// Number of different values.
    pub distinct: Option<Estimate>,
    /// Smallest value.
    pub min: Option<String>,
    /// Greatest value.
    pub max: Option<String>,
    /// Mean of numbers.
    pub mean: Option<f64>,
    /// Standard deviation of numbers, with divisor `n − 1`.
    pub standard_deviation: Option<f64>,
    /// Skewness of numbers.
    pub skew: Option<f64>,
    /// Excess kurtosis of numbers.
    pub kurtosis: Option<f64>,
    /// Pairs of a share and its quantile, for 1, 5, 25, 50, 75, 95 and 99 %; times in µs since the epoch.
    pub quantiles: Vec<(f64, f64)>,
    /// By how much the rank of a quantile may be off.
    pub rank_error: f64,
    /// Mean length of texts.
    pub length_mean: Option<f64>,
    /// Shortest and longest length of texts.
    pub length_range: Option<(u64, u64)>,
    /// Words and classes of characters of texts.
    pub characters: Option<CharacterStats>,
    /// The ten most frequent values.
    pub top: Vec<TopValue>,
}

/// A frequent value of a column.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TopValue {
    /// The value as text.
    pub value: String,
    /// How often it was seen.
    pub count: Estimate,
    /// Share of all rows.
    pub share: f64,
}

const SHARES: [f64; 7] = [0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99];
const TOP: usize = 10;

impl ColumnSummary {
    pub(crate) fn of(column: &ColumnProfile) -> Self {
        let all = Self::of_all(column);
        if column.is_sensitive() && !column.is_hidden() { all.without_values() } else { all }
    }

    fn without_values(self) -> Self {
        let (mean, standard_deviation, skew, kurtosis, quantiles) = (None, None, None, None, Vec::new());
        Self {
            hidden: true,
            min: None,
            max: None,
            mean,
            standard_deviation,
            skew,
            kurtosis,
            quantiles,
            top: Vec::new(),
            ..self
        }
    }

    fn of_all(column: &ColumnProfile) -> Self {
        // A mean of times is a time; its variance and skew tell nobody anything.
        let moments = column.moments().filter(|_| column.kind() == ColumnKind::Number);
        let quantiles = column.quantiles().and_then(|quantiles| quantiles.quantiles(&SHARES).ok().flatten());
        let lengths = column.lengths();
        let share = |item: FrequentItem| TopValue {
            share: item.count.value as f64 / column.rows().max(1) as f64,
            value: item.value,
            count: item.count,
        };
        Self {
            name: column.name().to_owned(),
            data_type: column.data_type().to_owned(),
            kind: column.kind(),
            meaning: column.meaning(),
            personal: column.personal(),
            hidden: column.is_hidden(),
            rows: column.rows(),
            nulls: column.nulls(),
            nan: column.nan(),
            infinite: moments.map_or(0, |moments| moments.positive_infinite() + moments.negative_infinite()),
            zeros: column.zeros(),
            negatives: column.negatives(),
            ascending: column.sequence().and_then(super::Sequence::is_ascending),
            distinct: column.distinct(),
            min: column.min_text(),
            max: column.max_text(),
            mean: moments.and_then(crate::stats::Moments::mean),
            standard_deviation: moments.and_then(|moments| moments.standard_deviation(1)),
            skew: moments.and_then(crate::stats::Moments::skew),
            kurtosis: moments.and_then(crate::stats::Moments::kurtosis),
            quantiles: SHARES.into_iter().zip(quantiles.into_iter().flatten()).collect(),
            rank_error: column.quantiles().map_or(0.0, crate::stats::Quantiles::rank_error),
            length_mean: lengths.and_then(super::LengthStats::mean),
            length_range: lengths.and_then(|lengths| lengths.min().zip(lengths.max())),
            characters: column.characters().copied(),
            top: column.top_values(TOP).into_iter().map(share).collect(),
        }
    }
}
