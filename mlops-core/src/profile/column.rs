//! The profile of one column.

use arrow::array::Array;
use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use super::few::ValueCount;
use super::number::{Hidden, Numbers};
use super::options::ProfileOptions;
use super::text::{LengthStats, Texts};
use crate::stats::values::{self, KeyKind};
use crate::stats::{Distinct, Estimate, FrequentItem, FrequentItems, Histogram, Moments, Quantiles};
use crate::{Error, EventTime, Result};

/// What a column's values are, whatever their physical type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Integers, floats and `Decimal128` (as doubles).
    Number,
    /// Dates and timestamps, as µs since the epoch in UTC.
    Time,
    /// Booleans.
    Boolean,
    /// Strings and dictionaries of strings.
    Text,
    /// Everything else: only rows and nulls are counted.
    Other,
}

impl ColumnKind {
    /// The kind of a physical type.
    pub fn of(data_type: &DataType) -> Self {
        if values::is_text(data_type) {
            Self::Text
        } else if values::is_number(data_type) {
            Self::Number
        } else if values::is_time(data_type) {
            Self::Time
        } else if data_type == &DataType::Boolean {
            Self::Boolean
        } else {
            Self::Other
        }
    }
}

/// Statistics of one column.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnProfile {
    name: String,
    data_type: String,
    kind: ColumnKind,
    rows: u64,
    nulls: u64,
    detail: Detail,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Detail {
    /// Numbers and times.
    Numbers(Box<Numbers>),
    /// Numbers and times that must not be shown.
    Hidden(Box<Hidden>),
    /// How many are true.
    Booleans(u64),
    Texts(Box<Texts>),
    /// Other types, and booleans that must not be shown.
    Nothing,
}

impl ColumnProfile {
    pub(crate) fn new(name: &str, data_type: &DataType, options: &ProfileOptions) -> Result<Self> {
        let kind = ColumnKind::of(data_type);
        let is_hidden = options.is_hidden(name);
        let detail = match kind {
            ColumnKind::Number | ColumnKind::Time if is_hidden => Detail::Hidden(Box::default()),
            ColumnKind::Number | ColumnKind::Time => {
                Detail::Numbers(Box::new(Numbers::new(KeyKind::of(data_type), options.quantile_size())?))
            }
            ColumnKind::Boolean if !is_hidden => Detail::Booleans(0),
            ColumnKind::Text => {
                let frequent = if is_hidden { None } else { Some(FrequentItems::new(options.top_values())?) };
                Detail::Texts(Box::new(Texts::new(frequent)))
            }
            ColumnKind::Boolean | ColumnKind::Other => Detail::Nothing,
        };
        Ok(Self { name: name.to_owned(), data_type: data_type.to_string(), kind, rows: 0, nulls: 0, detail })
    }

    pub(crate) fn from_parts(
        (name, data_type, kind): (String, String, ColumnKind),
        (rows, nulls): (u64, u64),
        detail: Detail,
    ) -> Self {
        Self { name, data_type, kind, rows, nulls, detail }
    }

    /// Adds `array`, which has the type that the column was made for.
    pub(crate) fn update(&mut self, array: &dyn Array) -> Result<()> {
        match &mut self.detail {
            Detail::Numbers(numbers) => values::numbers(array, &mut |values, keys| numbers.update(values, keys))?,
            Detail::Hidden(hidden) => values::numbers(array, &mut |values, keys| hidden.update(values, keys))?,
            Detail::Booleans(count) => *count += values::count_true(array),
            Detail::Texts(texts) => texts.update(array)?,
            Detail::Nothing => {}
        }
        self.rows += array.len() as u64;
        self.nulls += values::null_count(array);
        Ok(())
    }

    pub(crate) fn check_mergeable(&self, other: &Self) -> Result<()> {
        if self.name != other.name {
            return Err(Error::schema(
                &self.name,
                "the same columns in the same order",
                format_args!("`{}`", other.name),
            ));
        }
        let keys = |column: &Self| match &column.detail {
            Detail::Numbers(numbers) => Some(numbers.keys),
            _ => None,
        };
        let is_same = self.kind == other.kind
            && (keys(self) == keys(other) || keys(self).is_none() || keys(other).is_none())
            && self.rows.checked_add(other.rows).is_some_and(|rows| rows <= 1 << 55);
        if is_same { Ok(()) } else { Err(Error::schema(&self.name, &self.data_type, &other.data_type)) }
    }

    /// Adds a column for which [`Self::check_mergeable`] was fine.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        self.rows += other.rows;
        self.nulls += other.nulls;
        match (&mut self.detail, &other.detail) {
            (Detail::Numbers(mine), Detail::Numbers(theirs)) => mine.merge(theirs),
            (Detail::Texts(mine), Detail::Texts(theirs)) => mine.merge(theirs),
            (Detail::Booleans(mine), Detail::Booleans(theirs)) => {
                *mine += theirs;
                Ok(())
            }
            (Detail::Hidden(mine), Detail::Hidden(theirs)) => {
                mine.nan += theirs.nan;
                mine.distinct.merge(&theirs.distinct)
            }
            (Detail::Numbers(_), Detail::Hidden(_)) | (Detail::Hidden(_), Detail::Numbers(_)) => {
                let (mut mine, theirs) = (self.hidden(), other.hidden());
                mine.nan += theirs.nan;
                mine.distinct.merge(&theirs.distinct)?;
                self.detail = Detail::Hidden(Box::new(mine));
                Ok(())
            }
            _ => {
                self.detail = Detail::Nothing;
                Ok(())
            }
        }
    }

    /// What a hidden column would hold.
    fn hidden(&self) -> Hidden {
        match &self.detail {
            Detail::Hidden(hidden) => (**hidden).clone(),
            Detail::Numbers(numbers) => {
                let mut distinct = Distinct::default();
                match (&numbers.values, numbers.values.counts()) {
                    (super::few::Few::Many(many), _) => distinct = many.clone(),
                    (_, counts) => counts.into_iter().flatten().for_each(|(key, _)| distinct.update_key(key)),
                }
                Hidden { nan: numbers.moments.nan(), distinct }
            }
            _ => Hidden::default(),
        }
    }

    /// What every state has that came from data.
    pub(crate) fn check(&self) -> Result<()> {
        let corrupt = |reason: &str| Err(Error::corrupt(format!("profile of column `{}`", self.name), reason));
        let Some(present) = self.rows.checked_sub(self.nulls).filter(|_| self.rows <= 1 << 55) else {
            return corrupt("counts out of range");
        };
        match (&self.detail, self.kind) {
            (Detail::Numbers(numbers), ColumnKind::Number | ColumnKind::Time) => numbers.check(present),
            (Detail::Hidden(hidden), ColumnKind::Number | ColumnKind::Time) if hidden.nan <= present => Ok(()),
            (Detail::Booleans(yes), ColumnKind::Boolean) if *yes <= present => Ok(()),
            (Detail::Texts(texts), ColumnKind::Text) => texts.check(present),
            (Detail::Nothing, ColumnKind::Boolean | ColumnKind::Other) => Ok(()),
            _ => corrupt("the state is not that of its kind"),
        }
    }

    pub(crate) fn detail(&self) -> &Detail {
        &self.detail
    }

    fn numbers(&self) -> Option<&Numbers> {
        match &self.detail {
            Detail::Numbers(numbers) => Some(numbers),
            _ => None,
        }
    }

    /// Name of the column.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Arrow type, as Arrow prints it.
    pub fn data_type(&self) -> &str {
        &self.data_type
    }

    /// What the values are.
    pub fn kind(&self) -> ColumnKind {
        self.kind
    }

    /// Rows seen, nulls included.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Nulls, those inside of dictionaries included.
    pub fn nulls(&self) -> u64 {
        self.nulls
    }

    /// Nulls over rows; `None` without rows.
    pub fn null_ratio(&self) -> Option<f64> {
        (self.rows > 0).then(|| self.nulls as f64 / self.rows as f64)
    }

    /// NaN; 0 where there can be none.
    pub fn nan(&self) -> u64 {
        match &self.detail {
            Detail::Numbers(numbers) => numbers.moments.nan(),
            Detail::Hidden(hidden) => hidden.nan,
            _ => 0,
        }
    }

    /// Whether the values were hidden.
    pub fn is_hidden(&self) -> bool {
        match &self.detail {
            Detail::Hidden(_) => true,
            Detail::Texts(texts) => texts.shown.is_none(),
            Detail::Nothing => self.kind == ColumnKind::Boolean,
            Detail::Numbers(_) | Detail::Booleans(_) => false,
        }
    }

    /// Number of different values, nulls and NaN left out; `None` for kinds that are only counted.
    pub fn distinct(&self) -> Option<Estimate> {
        match &self.detail {
            Detail::Numbers(numbers) => Some(numbers.distinct()),
            Detail::Hidden(hidden) => Some(hidden.distinct.estimate()),
            Detail::Texts(texts) => Some(texts.distinct.estimate()),
            Detail::Booleans(yes) => {
                let no = self.rows - self.nulls - yes;
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
        match &self.detail {
            Detail::Booleans(yes) => Some(*yes),
            _ => None,
        }
    }

    /// Frequent values of a text column.
    pub fn frequent(&self) -> Option<&FrequentItems> {
        match &self.detail {
            Detail::Texts(texts) => texts.shown.as_ref().map(|shown| &shown.frequent),
            _ => None,
        }
    }

    /// Lengths of texts.
    pub fn lengths(&self) -> Option<&LengthStats> {
        match &self.detail {
            Detail::Texts(texts) => Some(&texts.lengths),
            _ => None,
        }
    }

    /// The `most` most frequent values as text, most frequent first; numbers only where they repeat enough to be told
    /// from the sketch's error. Empty for times and hidden columns.
    pub fn top_values(&self, most: usize) -> Vec<FrequentItem> {
        let item = |(value, count)| FrequentItem { value, count };
        match &self.detail {
            Detail::Numbers(numbers) if self.kind == ColumnKind::Number => {
                numbers.top(most).into_iter().map(item).collect()
            }
            Detail::Booleans(yes) => {
                let no = self.rows - self.nulls - yes;
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
        match &self.detail {
            Detail::Numbers(numbers) => {
                let value = number(&numbers.moments)?;
                Some(if self.kind == ColumnKind::Time {
                    EventTime::from_micros(value as i64).to_string()
                } else {
                    value.to_string()
                })
            }
            Detail::Texts(texts) => text(texts),
            _ => None,
        }
    }

    /// Counts in `bins` equally wide bins, for display: between the 0.5 % and 99.5 % quantiles, so that a far outlier does not
    /// squeeze all others into one bin; the tails are counted below and above. Approximate as the quantiles are.
    ///
    /// `None` without numbers. A column of one value has one bin around it.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `bins` is not in `1..=65536`.
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
