//! What a table looks like: one pass over its batches, bounded memory, mergeable, comparable.
//!
//! [`Profiler`] takes record batches, [`RowProfiler`] single rows, and both give a [`Profile`]; profiles merge. A
//! profile is at once a report ([`Profile::to_html`], [`Profile::summary`], [`Profile::alerts`]), the reference of a
//! drift check ([`Profile::compare`]), one side of a comparison ([`Profile::diff`]) and the state of a monitoring
//! window. It is stored as JSON (serde) or as compact bytes ([`Profile::to_bytes`]), both versioned.
//!
//! * Exact, whatever the split: rows, nulls, NaN, infinities, zeros, negatives, extremes, lengths, words and classes of
//!   characters, hours of the week. Exact to rounding: moments and Pearson's correlations.
//! * Sketches beyond a size that is set: different values, quantiles, frequent values. Each says its error.
//! * Samples by smallest hash, the same for every order and split: what texts mean, personal data, rank correlations,
//!   associations, copies of rows. They hold no text.
//! * Of the order of rows tells [`Sequence`] alone.

mod alert;
mod answers;
mod calendar;
mod characters;
mod codec;
mod column;
mod diff;
mod few;
mod html;
mod number;
mod options;
mod personal;
mod profiler;
mod relations;
mod rows;
mod semantic;
mod sequence;
mod summary;
mod text;

use serde::{Deserialize, Serialize};

pub use alert::{Alert, AlertKind};
pub use calendar::WeekHours;
pub use characters::CharacterStats;
pub use column::{ColumnKind, ColumnProfile};
pub use diff::{ColumnDiff, Pair, ProfileDiff};
pub(crate) use few::LIMIT as FEW_MAX;
pub use few::ValueCount;
pub use options::{ProfileOptions, ProfileOptionsBuilder};
pub use personal::Personal;
pub use profiler::Profiler;
pub use relations::{Interval, Related, RelatedKind, Relations};
pub use rows::{Cell, RowProfiler};
pub use semantic::{Meaning, Semantic};
pub use sequence::Sequence;
pub use summary::{ColumnSummary, TopValue};
pub use text::LengthStats;

use crate::stats::bytes::check_format;
use crate::stats::drift::{self, ColumnDrift, DriftRule};
use crate::{Error, Result};

/// Statistics of every column of a table, from one pass.
///
/// * Counts (rows, nulls, NaN), extremes and moments are exact; the number of different values, quantiles and
///   top values are approximate beyond the sizes that [`ProfileOptions`] sets, and say their error.
/// * `merge` equals one pass over both tables, to the errors that the members of [`crate::stats`] state.
/// * Of hidden columns ([`ProfileOptionsBuilder::hide`]) no value is held, nor anything from which one could be read.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Profile {
    rows: u64,
    columns: Vec<ColumnProfile>,
    relations: Option<Relations>,
}

/// Columns that one profile may have.
pub(crate) const COLUMNS_MAX: usize = 100_000;

impl Profile {
    /// The format that is written, in JSON and in bytes. Format 1 is still read: it knows no signs, order, hours,
    /// classes of characters, forms and relations.
    pub const FORMAT: u32 = 2;

    /// Rows seen.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Profiles of all columns, in the order of the schema.
    pub fn columns(&self) -> &[ColumnProfile] {
        &self.columns
    }

    /// The profile of one column.
    pub fn column(&self, name: &str) -> Option<&ColumnProfile> {
        self.columns.iter().find(|column| column.name() == name)
    }

    /// What the columns have to do with each other, and how many rows are copies: a copy, to be asked more than once.
    /// `None` where [`ProfileOptionsBuilder::related`] did not ask for it, or two merged profiles had different columns
    /// related or hidden.
    pub fn relations(&self) -> Option<Relations> {
        self.relations.as_ref().and_then(|relations| relations.settled().ok())
    }

    /// What is striking about the table, the worst first.
    pub fn alerts(&self) -> Vec<Alert> {
        alert::of(self)
    }

    /// What is different in `other`: columns, counts and distributions.
    pub fn diff(&self, other: &Self) -> ProfileDiff {
        ProfileDiff::of(self, other)
    }

    /// Adds what `other` has seen. A column that is hidden on one side is hidden in the result.
    ///
    /// # Errors
    /// [`Error::Schema`] when the columns or their kinds differ; nothing is added then.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.columns.len() != other.columns.len() {
            let (expected, found) = (self.columns.len(), other.columns.len());
            return Err(Error::schema("*", format_args!("{expected} columns"), format_args!("{found}")));
        }
        for (mine, theirs) in self.columns.iter().zip(&other.columns) {
            mine.check_mergeable(theirs)?;
        }
        let mut pairs = self.columns.iter().zip(&other.columns);
        let shows_the_same = pairs.all(|(mine, theirs)| mine.is_hidden() == theirs.is_hidden());
        for (mine, theirs) in self.columns.iter_mut().zip(&other.columns) {
            mine.merge(theirs)?;
        }
        self.merge_relations(other, shows_the_same)?;
        self.rows += other.rows;
        Ok(())
    }

    /// Rows of which other columns were shown have other hashes: their samples do not go together.
    fn merge_relations(&mut self, other: &Self, shows_the_same: bool) -> Result<()> {
        match (&mut self.relations, &other.relations) {
            (Some(mine), Some(theirs)) if shows_the_same && mine.is_mergeable(theirs) => mine.merge(theirs),
            _ => {
                self.relations = None;
                Ok(())
            }
        }
    }

    /// Lets go of all values of the column at `place`, in which a detector found personal data.
    fn hide(&mut self, place: usize, personal: Personal) {
        self.columns[place].hide(personal);
        let name = self.columns[place].name();
        // Rows that cannot be settled are not kept either: better no relations than a value that should be hidden.
        let forgotten = self.relations.as_mut().map(|relations| relations.retain(|other| other != name));
        if forgotten.is_some_and(|result| result.is_err()) {
            self.relations = None;
        }
    }

    /// Verdict on every column of `self`, the reference, and `current`: see [`drift::compare_profiles`].
    ///
    /// # Errors
    /// [`Error::Schema`] when a column has another kind in `current`.
    pub fn compare(&self, current: &Self, rule: &DriftRule) -> Result<Vec<ColumnDrift>> {
        drift::compare_profiles(self, current, rule)
    }

    /// Plain numbers of every column, for people and for other programs.
    pub fn summary(&self) -> Vec<ColumnSummary> {
        self.columns.iter().map(ColumnSummary::of).collect()
    }

    /// A report in one file: no scripts, nothing loaded from elsewhere, every text escaped.
    pub fn to_html(&self, title: &str) -> String {
        html::page(self, title)
    }

    /// The compact form: a format number, a checksum, and sketches in the byte formats of Apache DataSketches.
    pub fn to_bytes(&self) -> Vec<u8> {
        codec::to_bytes(self)
    }

    /// Reads [`Profile::to_bytes`].
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the bytes are damaged, [`Error::InvalidData`] when they are of a newer format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        codec::from_bytes(bytes)
    }

    fn check_format(found: u32) -> Result<()> {
        if found == 1 { Ok(()) } else { check_format("profile", found, Self::FORMAT) }
    }

    fn check(rows: u64, columns: Vec<ColumnProfile>, relations: Option<Relations>) -> Result<Self> {
        let corrupt = |reason: String| Err(Error::corrupt("profile", reason));
        if columns.len() > COLUMNS_MAX {
            return corrupt(format!("{} columns", columns.len()));
        }
        for column in &columns {
            if column.rows() != rows {
                return corrupt(format!("column `{}` has {} of {rows} rows", column.name(), column.rows()));
            }
            column.check()?;
        }
        if let Some(relations) = &relations {
            relations.check(rows)?;
        }
        Ok(Self { rows, columns, relations })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: u32,
    rows: u64,
    columns: Vec<ColumnProfile>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    relations: Option<Relations>,
}

impl From<Profile> for Wire {
    fn from(profile: Profile) -> Self {
        let Profile { rows, columns, relations } = profile;
        Self { format: Profile::FORMAT, rows, columns, relations }
    }
}

impl TryFrom<Wire> for Profile {
    type Error = Error;

    fn try_from(wire: Wire) -> Result<Self> {
        Self::check_format(wire.format)?;
        Self::check(wire.rows, wire.columns, wire.relations)
    }
}

#[cfg(test)]
mod tests;
