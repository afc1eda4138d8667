//! Questions to the profile of a column.

use super::calendar::WeekHours;
use super::characters::CharacterStats;
use super::column::Detail;
use super::few::ValueCount;
use super::number::{Numbers, Traits};
use super::semantic::Semantic;
use super::sequence::Sequence;
use super::text::{LengthStats, Texts};
use super::{ColumnKind, ColumnProfile, Meaning};
use crate::stats::values::KeyKind;
use crate::stats::{Estimate, FrequentItem, FrequentItems, Histogram, Moments, Quantiles};
use crate::{EventTime, Result};

/// Rows from which on a column of different values is called a key.
const KEY_ROWS_MIN: u64 = 20;
/// Rows that each value of a category has in the mean, at least.
const CATEGORY_ROWS_MIN: u64 = 10;
/// Values of a category, at most.
const CATEGORIES_MAX: u64 = 1000;
/// Words that sentences have in the mean, at least.
const SENTENCE_WORDS_MIN: f64 = 3.0;

impl ColumnProfile {
    fn numbers(&self) -> Option<&Numbers> {
        match self.detail() {
            Detail::Numbers(numbers) => Some(numbers),
            _ => None,
        }
    }

    /// Nulls over rows; `None` without rows.
    pub fn null_ratio(&self) -> Option<f64> {
        (self.rows() > 0).then(|| self.nulls() as f64 / self.rows() as f64)
    }

    /// NaN; 0 where there can be none.
    pub fn nan(&self) -> u64 {
        match self.detail() {
            Detail::Numbers(numbers) => numbers.moments.nan(),
            Detail::Hidden(hidden) => hidden.nan,
            _ => 0,
        }
    }

    /// Whether the values were hidden.
    pub fn is_hidden(&self) -> bool {
        match self.detail() {
            Detail::Hidden(_) => true,
            Detail::Texts(texts) => texts.shown.is_none(),
            Detail::Nothing => self.kind() == ColumnKind::Boolean,
            Detail::Numbers(_) | Detail::Booleans(_) => false,
        }
    }

    /// Number of different values, nulls and NaN left out; `None` for kinds that are only counted.
    pub fn distinct(&self) -> Option<Estimate> {
        match self.detail() {
            Detail::Numbers(numbers) => Some(numbers.distinct()),
            Detail::Hidden(hidden) => Some(hidden.distinct.estimate()),
            Detail::Texts(texts) => Some(texts.distinct.estimate()),
            Detail::Booleans(yes) => {
                let no = self.rows() - self.nulls() - yes;
                Some(Estimate::exact(u64::from(*yes > 0) + u64::from(no > 0)))
            }
            Detail::Nothing => None,
        }
    }

    /// Mean, variance and so on of numbers, and of times in µs.
    pub fn moments(&self) -> Option<&Moments> {
        self.numbers().map(|numbers| &numbers.moments)
    }

    /// Quantiles of numbers, and of times in µs.
    pub fn quantiles(&self) -> Option<&Quantiles> {
        self.numbers().map(|numbers| &numbers.quantiles)
    }

    /// All different numbers with their exact counts, in order, while there are at most 64 of them.
    pub fn value_counts(&self) -> Option<Vec<ValueCount>> {
        self.numbers().and_then(Numbers::value_counts)
    }

    /// How many of a boolean column are true.
    pub fn true_count(&self) -> Option<u64> {
        match self.detail() {
            Detail::Booleans(yes) => Some(*yes),
            _ => None,
        }
    }

    /// Zeros, of both signs; `None` for what is not a number, is hidden, or comes from a profile of format 1.
    pub fn zeros(&self) -> Option<u64> {
        self.traits().filter(|_| self.kind() == ColumnKind::Number).map(|traits| traits.zeros)
    }

    /// Numbers below zero, −∞ included; `None` where [`ColumnProfile::zeros`] is.
    pub fn negatives(&self) -> Option<u64> {
        self.traits().filter(|_| self.kind() == ColumnKind::Number).map(|traits| traits.negatives)
    }

    /// Whether numbers or times rise or fall from row to row.
    pub fn sequence(&self) -> Option<&Sequence> {
        self.traits().map(|traits| &traits.sequence)
    }

    /// The hours of the week in which times lie.
    pub fn week_hours(&self) -> Option<&WeekHours> {
        self.traits().and_then(|traits| traits.hours.as_ref())
    }

    /// Words and classes of characters of texts.
    pub fn characters(&self) -> Option<&CharacterStats> {
        match self.detail() {
            Detail::Texts(texts) => texts.characters.as_ref(),
            _ => None,
        }
    }

    fn traits(&self) -> Option<&Traits> {
        self.numbers().and_then(|numbers| numbers.traits.as_ref())
    }

    /// Values that are neither null nor NaN.
    fn present(&self) -> u64 {
        self.rows() - self.nulls() - self.nan()
    }

    /// Whether no value stands twice, as far as the profile can tell: surely where numbers strictly rise or fall or the
    /// values are few, else within the error of [`ColumnProfile::distinct`]. `None` for hidden and unread columns, and
    /// without values.
    pub fn looks_unique(&self) -> Option<bool> {
        let (present, distinct) = (self.present(), self.distinct()?);
        if present == 0 || self.is_hidden() {
            return None;
        }
        if self.sequence().is_some_and(Sequence::is_strict) {
            return Some(true);
        }
        let may_be = distinct.high >= present;
        Some(match self.detail() {
            Detail::Texts(texts) => {
                let shapes = texts.shown.as_ref().and_then(|shown| shown.shapes.as_ref());
                may_be && shapes.is_none_or(super::semantic::Shapes::is_unique)
            }
            _ => may_be,
        })
    }

    /// What the values mean; `None` where that cannot be told: for hidden and unread columns, and for texts of no known
    /// form.
    pub fn meaning(&self) -> Option<Meaning> {
        let by_count = |semantic| Some(Meaning { semantic, share: 1.0, examined: self.present() });
        if self.is_hidden() || self.present() == 0 {
            return None;
        }
        match self.detail() {
            Detail::Booleans(_) => by_count(Semantic::Boolean),
            Detail::Numbers(_) if self.kind() == ColumnKind::Time => by_count(Semantic::Time),
            Detail::Numbers(numbers) => by_count(self.meaning_of_numbers(numbers)),
            Detail::Texts(texts) => {
                let shapes = texts.shown.as_ref().and_then(|shown| shown.shapes.as_ref())?;
                if let Some((semantic, share)) = shapes.form() {
                    return Some(Meaning { semantic, share, examined: shapes.examined() });
                }
                self.meaning_of_texts(texts).and_then(by_count)
            }
            Detail::Hidden(_) | Detail::Nothing => None,
        }
    }

    fn is_key(&self) -> bool {
        self.present() >= KEY_ROWS_MIN && self.looks_unique() == Some(true)
    }

    fn is_category(&self) -> bool {
        let most = self.distinct().map_or(u64::MAX, |distinct| distinct.high);
        most <= CATEGORIES_MAX && most.saturating_mul(CATEGORY_ROWS_MIN) <= self.present()
    }

    fn meaning_of_numbers(&self, numbers: &Numbers) -> Semantic {
        let values = numbers.value_counts();
        let is_flag = |values: &[ValueCount]| matches!(values, [zero, one] if zero.value == 0.0 && one.value == 1.0);
        if values.as_deref().is_some_and(is_flag) {
            return Semantic::Boolean;
        }
        match numbers.keys {
            KeyKind::Signed | KeyKind::Unsigned if self.is_key() => Semantic::Identifier,
            KeyKind::Signed | KeyKind::Unsigned if values.is_some() && self.is_category() => Semantic::Category,
            _ => Semantic::Measure,
        }
    }

    fn meaning_of_texts(&self, texts: &Texts) -> Option<Semantic> {
        let words = texts.characters.map_or(0.0, |characters| characters.words as f64 / self.present() as f64);
        if self.is_category() {
            Some(Semantic::Category)
        } else if words >= SENTENCE_WORDS_MIN {
            Some(Semantic::FreeText)
        } else {
            self.is_key().then_some(Semantic::Identifier)
        }
    }

    /// Whether values must not be shown to people: the column is hidden, a detector found personal data, or its texts are
    /// e-mail addresses.
    pub fn is_sensitive(&self) -> bool {
        self.is_hidden()
            || self.personal().is_some()
            || self.meaning().is_some_and(|meaning| meaning.semantic == Semantic::Email)
    }

    /// Frequent values of a text column.
    pub fn frequent(&self) -> Option<&FrequentItems> {
        match self.detail() {
            Detail::Texts(texts) => texts.shown.as_ref().map(|shown| &shown.frequent),
            _ => None,
        }
    }

    /// Lengths of texts.
    pub fn lengths(&self) -> Option<&LengthStats> {
        match self.detail() {
            Detail::Texts(texts) => Some(&texts.lengths),
            _ => None,
        }
    }

    /// The `most` most frequent values as text, most frequent first; numbers only where they repeat enough to be told
    /// from the sketch's error. Empty for times and hidden columns.
    pub fn top_values(&self, most: usize) -> Vec<FrequentItem> {
        let item = |(value, count)| FrequentItem { value, count };
        match self.detail() {
            Detail::Numbers(numbers) if self.kind() == ColumnKind::Number => {
                numbers.top(most).into_iter().map(item).collect()
            }
            Detail::Booleans(yes) => {
                let no = self.rows() - self.nulls() - yes;
                let mut top = [("true".to_owned(), Estimate::exact(*yes)), ("false".to_owned(), Estimate::exact(no))];
                top.sort_by_key(|(_, count)| std::cmp::Reverse(count.value));
                top.into_iter().filter(|(_, count)| count.value > 0).take(most).map(item).collect()
            }
            Detail::Texts(texts) => texts.shown.as_ref().map(|shown| shown.frequent.top(most)).unwrap_or_default(),
            _ => Vec::new(),
        }
    }

    /// Smallest value as text: a number, a time in ISO 8601 (UTC), or the first 256 bytes of a text.
    pub fn min_text(&self) -> Option<String> {
        self.extreme_text(Moments::min, |texts| texts.shown.as_ref().and_then(|shown| shown.min.clone()))
    }

    /// Greatest value as text: see [`ColumnProfile::min_text`].
    pub fn max_text(&self) -> Option<String> {
        self.extreme_text(Moments::max, |texts| texts.shown.as_ref().and_then(|shown| shown.max.clone()))
    }

    fn extreme_text(
        &self,
        number: impl Fn(&Moments) -> Option<f64>,
        text: impl Fn(&Texts) -> Option<String>,
    ) -> Option<String> {
        match self.detail() {
            Detail::Numbers(numbers) => {
                let value = number(&numbers.moments)?;
                Some(if self.kind() == ColumnKind::Time {
                    EventTime::from_micros(value as i64).to_string()
                } else {
                    value.to_string()
                })
            }
            Detail::Texts(texts) => text(texts),
            _ => None,
        }
    }

    /// Counts in `bins` equally wide bins, for display: between the 0.5 % and 99.5 % quantiles, so that a far outlier
    /// does not squeeze all others into one bin; the tails are counted below and above. Approximate as the quantiles are.
    ///
    /// `None` without numbers. A column of one value has one bin around it.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) when `bins` is not in `1..=65536`.
    pub fn histogram(&self, bins: usize) -> Result<Option<Histogram>> {
        let Some(numbers) = self.numbers().filter(|numbers| numbers.moments.count() > 0) else { return Ok(None) };
        let ranks = numbers.quantiles.ranks();
        let (mut low, mut high) = (ranks.quantile(0.005), ranks.quantile(0.995));
        if high - low <= f64::EPSILON * 1e3 * low.abs().max(high.abs()) {
            let margin = if low == 0.0 { 0.5 } else { low.abs() / 2.0 };
            (low, high) = (low - margin, high + margin);
        }
        if !(high - low).is_finite() {
            (low, high) = (low / 4.0, high / 4.0);
        }
        let mut histogram = Histogram::equal_width(low, high, bins)?;
        let n = numbers.moments.count();
        let mut seen = 0;
        // Each bin takes what its upper edge adds to the rank, so that the counts sum to all values.
        for bin in 0..=bins + 1 {
            let (edges, point) = (histogram.edges(), bin.min(bins));
            let share = match bin {
                _ if bin > bins => 1.0,
                _ if bin == bins => ranks.at_or_below(edges[point]),
                _ => ranks.below(edges[point]),
            };
            let rank = (share * n as f64).round() as u64;
            let inside = match bin {
                0 => f64::NEG_INFINITY,
                _ if bin > bins => f64::INFINITY,
                _ => edges[bin - 1],
            };
            histogram.update_count(inside, rank.saturating_sub(seen));
            seen = seen.max(rank);
        }
        Ok(Some(histogram))
    }
}

#[cfg(test)]
mod tests;
