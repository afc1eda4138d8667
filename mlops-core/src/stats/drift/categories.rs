//! What a comparison needs of a column of texts or booleans, and of one of which only nulls are known.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use arrow::array::{Array, ArrayRef};
use arrow::datatypes::DataType;
use foldhash::fast::FixedState;

use crate::Result;
use crate::profile::ColumnProfile;
use crate::stats::{FrequentItems, values};

/// Categories of a text column that have a bin of their own.
const BINS: usize = 63;
/// Rows of the reference below which a category has none: among many rare ones, those that happen to be the most frequent
/// are less so the next time, without any drift.
const ROWS_MIN: u64 = 5;

/// Counts of one side.
pub(in crate::stats) struct Categories<'a> {
    pub(in crate::stats) rows: u64,
    /// Nulls, and NaN of hidden numbers.
    pub(in crate::stats) missing: u64,
    counts: Counts<'a>,
}

enum Counts<'a> {
    Exact(HashMap<&'a str, u64, FixedState>),
    Sketch(&'a FrequentItems),
    Unknown,
}

/// A category, and bounds on how often it was seen.
type Bounds<'a> = (Cow<'a, str>, u64, u64);

impl<'a> Categories<'a> {
    pub(super) fn of_profile(profile: &'a ColumnProfile) -> Self {
        let (rows, missing) = (profile.rows(), profile.nulls() + profile.nan());
        let counts = match (profile.true_count(), profile.frequent()) {
            (Some(yes), _) => booleans(rows - missing - yes, yes),
            (_, Some(frequent)) => Counts::Sketch(frequent),
            _ => Counts::Unknown,
        };
        Self { rows, missing, counts }
    }

    /// Of pieces of one kind that is not a number.
    pub(in crate::stats) fn of_pieces(pieces: &'a [ArrayRef]) -> Result<Self> {
        let rows = pieces.iter().map(|piece| piece.len() as u64).sum();
        let missing = pieces.iter().map(|piece| values::null_count(piece)).sum();
        let data_type = pieces.first().map(Array::data_type);
        let counts = if data_type == Some(&DataType::Boolean) {
            let yes = pieces.iter().map(|piece| values::count_true(piece)).sum();
            booleans(rows - missing - yes, yes)
        } else if data_type.is_some_and(values::is_text) {
            Counts::Exact(counted(pieces)?)
        } else {
            Counts::Unknown
        };
        Ok(Self { rows, missing, counts })
    }

    /// Whether only nulls are known.
    pub(super) fn is_unknown(&self) -> bool {
        matches!(self.counts, Counts::Unknown)
    }

    /// Exact counts of both sides over the categories of either, in order of text.
    pub(in crate::stats) fn aligned(&self, other: &Self) -> Vec<(u64, u64)> {
        let mut both: BTreeMap<Cow<'_, str>, (u64, u64)> = BTreeMap::new();
        for (category, count, _) in self.top(usize::MAX) {
            both.entry(category).or_default().0 = count;
        }
        for (category, count, _) in other.top(usize::MAX) {
            both.entry(category).or_default().1 = count;
        }
        both.into_values().collect()
    }

    fn error(&self) -> u64 {
        match &self.counts {
            Counts::Sketch(sketch) => sketch.error_max(),
            Counts::Exact(_) | Counts::Unknown => 0,
        }
    }

    fn count(&self, category: &str) -> (u64, u64) {
        match &self.counts {
            Counts::Exact(counts) => counts.get(category).map_or((0, 0), |&count| (count, count)),
            Counts::Sketch(sketch) => {
                let count = sketch.count(category);
                (count.low, count.high)
            }
            Counts::Unknown => (0, 0),
        }
    }

    /// The most frequent first, then in order of text.
    fn top(&self, most: usize) -> Vec<Bounds<'_>> {
        match &self.counts {
            Counts::Exact(counts) => {
                let mut all: Vec<(&str, u64)> = counts.iter().map(|(&text, &count)| (text, count)).collect();
                all.sort_unstable_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(b.0)));
                all.into_iter().take(most).map(|(text, count)| (Cow::Borrowed(text), count, count)).collect()
            }
            Counts::Sketch(sketch) => {
                let items = sketch.top(most).into_iter();
                items.map(|item| (Cow::Owned(item.value), item.count.low, item.count.high)).collect()
            }
            Counts::Unknown => Vec::new(),
        }
    }

    /// How many categories and rows of `self` the other side has not seen; `None` where a sketch cannot tell.
    pub(super) fn unseen_by(&self, other: &Self) -> Option<(u64, u64)> {
        if self.is_unknown() || other.is_unknown() || self.error() > 0 || other.error() > 0 {
            return None;
        }
        let unseen = self.top(usize::MAX).into_iter().filter(|(category, ..)| other.count(category).1 == 0);
        Some(unseen.fold((0, 0), |(categories, rows), (_, count, _)| (categories + 1, rows + count)))
    }
}

fn booleans<'a>(no: u64, yes: u64) -> Counts<'a> {
    Counts::Exact([("false", no), ("true", yes)].into_iter().filter(|(_, count)| *count > 0).collect())
}

fn counted(pieces: &[ArrayRef]) -> Result<HashMap<&str, u64, FixedState>> {
    let mut counts: HashMap<&str, u64, FixedState> = HashMap::default();
    for piece in pieces {
        values::texts(piece, &mut |text, count| *counts.entry(text).or_insert(0) += count)?;
    }
    Ok(counts)
}

/// Shares over the reference's most frequent categories and all others; with missing values last where they count.
pub(super) fn shares(
    both: Option<(&Categories<'_>, &Categories<'_>)>,
    rows: (u64, u64),
    present: (u64, u64),
    count_missing: bool,
) -> Vec<(f64, f64)> {
    let of = if count_missing { rows } else { present };
    let share = |r: u64, c: u64| (r as f64 / of.0 as f64, c as f64 / of.1 as f64);
    let mut shares = Vec::new();
    let mut known = (0, 0);
    for (r, c) in both.map(|(r, c)| paired(r, c)).unwrap_or_default() {
        known = (known.0 + r, known.1 + c);
        shares.push(share(r, c));
    }
    shares.push(share(present.0.saturating_sub(known.0), present.1.saturating_sub(known.1)));
    if count_missing {
        shares.push(share(rows.0 - present.0, rows.1 - present.1));
    }
    shares
}

/// Counts of the reference's most frequent categories. Where a sketch is not exact, categories that its error could have
/// made are left to the others, and a count is the middle of its bounds. None where one side is hidden.
fn paired(reference: &Categories<'_>, current: &Categories<'_>) -> Vec<(u64, u64)> {
    if reference.is_unknown() || current.is_unknown() {
        return Vec::new();
    }
    let middle = |low: u64, high: u64| if low == 0 { 0 } else { u64::midpoint(low, high) };
    let error = reference.error().max(current.error());
    let known =
        reference.top(BINS).into_iter().filter(|(_, low, _)| *low >= ROWS_MIN && (error == 0 || *low > 2 * error));
    let current = |category: &str| {
        let (low, high) = current.count(category);
        middle(low, high)
    };
    known.map(|(category, low, high)| (middle(low, high), current(&category))).collect()
}
