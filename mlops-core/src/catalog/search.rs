//! Finding entries by words and by what they are.

use std::cmp::Reverse;

use super::{Catalog, Entry, Freshness, Seen, Words};
use crate::Result;
use crate::schema::Sensitivity;
use crate::time::EventTime;

/// Hits of one search, where nothing was said.
pub const HITS_DEFAULT: usize = 50;
/// Hits of one search at the most.
pub const HITS_MAX: usize = 1_000;

/// What to look for. Everything that is set must hold.
///
/// # Examples
/// ```
/// use mlops_core::catalog::{CatalogExt, Entry, MemoryCatalog, Query};
/// # use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// # use mlops_core::{Dataset, EventTime, Name};
/// # let ids = std::sync::Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
/// # let data = Dataset::from_batches([RecordBatch::try_from_iter([("customer_id", ids)])?])?;
/// let catalog = MemoryCatalog::new();
/// let entry = Entry::of(Name::new("calls.daily")?, "billing", &data, EventTime::EPOCH)?.with_tag("gold");
/// catalog.register(&entry)?;
/// let hits = catalog.search_as(&Query::new("daily customer")?.tag("gold"), "mina")?;
/// assert_eq!(hits[0].found.name().as_str(), "calls.daily");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Query {
    words: Words,
    tags: Vec<String>,
    owner: Option<String>,
    column: Option<String>,
    sensitivity: Option<Sensitivity>,
    in_time: Option<(bool, EventTime)>,
    limit: Option<usize>,
}

/// An entry that was found.
#[derive(Clone, PartialEq, Debug)]
pub struct Hit {
    /// How well the words fit, dimensionless: greater is better. 0 for a query without words.
    pub score: u32,
    /// What the reader may know of it.
    pub found: Seen,
}

impl Query {
    /// Entries that have every word of `text` in their name, owner, tags, column names or description, whole or as a part
    /// of another word, whatever its case. No words: all entries.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) when the text is longer than [`QUERY_BYTES_MAX`](super::QUERY_BYTES_MAX).
    pub fn new(text: &str) -> Result<Self> {
        Ok(Self { words: Words::new(text)?, ..Self::default() })
    }

    /// Only those with this tag, to the letter; several calls demand several tags.
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// Only those of this owner, to the letter.
    pub fn owner(mut self, owner: impl Into<String>) -> Self {
        self.owner = Some(owner.into());
        self
    }

    /// Only those with a column of this name, to the letter.
    pub fn column(mut self, column: impl Into<String>) -> Self {
        self.column = Some(column.into());
        self
    }

    /// Only those with a column that is at least this sensitive.
    pub fn at_least(mut self, sensitivity: Sensitivity) -> Self {
        self.sensitivity = Some(sensitivity);
        self
    }

    /// Only those whose content is late at `now`.
    pub fn late_at(mut self, now: EventTime) -> Self {
        self.in_time = Some((false, now));
        self
    }

    /// Only those whose content came in time, as of `now`; those that promised nothing are none of them.
    pub fn fresh_at(mut self, now: EventTime) -> Self {
        self.in_time = Some((true, now));
        self
    }

    /// At most so many hits, the best of all. Default [`HITS_DEFAULT`]; more than [`HITS_MAX`] count as so many.
    pub fn limit(mut self, hits: usize) -> Self {
        self.limit = Some(hits.min(HITS_MAX));
        self
    }

    /// How well `seen` fits; none where it does not.
    fn score(&self, seen: &Seen) -> Option<u32> {
        let (name, owner) = match seen {
            Seen::Whole { entry, .. } => return self.score_whole(entry),
            Seen::Sealed { name, owner } => (name, owner),
        };
        let asks_inside =
            !self.tags.is_empty() || self.column.is_some() || self.sensitivity.is_some() || self.in_time.is_some();
        if asks_inside || self.owner.as_ref().is_some_and(|wanted| wanted != owner) {
            return None;
        }
        self.words.score(&[(name.as_str(), NAME), (owner, OWNER)])
    }

    fn score_whole(&self, entry: &Entry) -> Option<u32> {
        let tagged = self.tags.iter().all(|tag| entry.tags.contains(tag));
        let owned = self.owner.as_ref().is_none_or(|owner| *owner == entry.owner);
        let has = |name: &String| entry.columns.iter().any(|column| column.name == *name);
        let has_column = self.column.as_ref().is_none_or(has);
        let sensitive = |least| entry.columns.iter().any(|column| column.sensitivity >= least);
        let is_sensitive = self.sensitivity.is_none_or(sensitive);
        let in_time = self.in_time.is_none_or(|(fresh, now)| match entry.freshness(now) {
            Freshness::Fresh { .. } => fresh,
            Freshness::Late { .. } => !fresh,
            Freshness::Unknown | Freshness::Ahead { .. } => false,
        });
        if !(tagged && owned && has_column && is_sensitive && in_time) {
            return None;
        }
        let mut fields = vec![(entry.name.as_str(), NAME), (&entry.owner, OWNER), (&entry.description, DESCRIPTION)];
        fields.extend(entry.tags.iter().map(|tag| (tag.as_str(), TAG)));
        fields.extend(entry.columns.iter().map(|column| (column.name.as_str(), COLUMN)));
        self.words.score(&fields)
    }
}

/// What a word is worth by where it stands.
const NAME: u32 = 8;
const TAG: u32 = 4;
const COLUMN: u32 = 3;
const OWNER: u32 = 2;
const DESCRIPTION: u32 = 1;

/// Looks at the latest revision of every entry of `catalog`, holding at most twice the limit of them.
pub(super) fn run<C: Catalog + ?Sized>(catalog: &C, query: &Query, reader: &str) -> Result<Vec<Hit>> {
    let limit = query.limit.unwrap_or(HITS_DEFAULT);
    let mut hits = Vec::new();
    for name in catalog.list()? {
        let (entry, revision) = catalog.get(&name)?;
        let found = Seen::by(reader, entry, revision);
        if let Some(score) = query.score(&found) {
            hits.push(Hit { score, found });
        }
        if hits.len() > 2 * limit {
            keep_best(&mut hits, limit);
        }
    }
    keep_best(&mut hits, limit);
    Ok(hits)
}

/// Names come sorted and the sort is stable, so that equal scores stay in the order of names.
fn keep_best(hits: &mut Vec<Hit>, limit: usize) {
    hits.sort_by_key(|hit| Reverse(hit.score));
    hits.truncate(limit);
}

#[cfg(test)]
mod tests;
