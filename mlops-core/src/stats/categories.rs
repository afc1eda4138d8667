//! Counts per category, with a bound on how many categories are held.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use arrow::array::Array;
use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use super::bytes::check_format;
use super::values;
use crate::{Error, Result};

/// Exact counts of up to `limit` categories; all rows of further ones go to `other`.
///
/// When there are more categories than `limit`, those with the smallest hash stay: which ones that are
/// depends on the set of categories only, so every held count is exact, and merging equals one pass whatever the
/// order of rows. To find the most frequent of very many values, use [`super::FrequentItems`].
///
/// # Examples
/// ```
/// let mut counts = mlops_core::stats::CategoryCounts::new(100)?;
/// ["a", "b", "a"].iter().for_each(|text| counts.update(text));
/// assert_eq!(counts.iter().collect::<Vec<_>>(), [("a", 2), ("b", 1)]);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct CategoryCounts {
    limit: usize,
    counts: HashMap<String, u64, FixedState>,
    /// Held categories by hash: the greatest goes first.
    order: BTreeSet<(u64, String)>,
    other: u64,
    nulls: u64,
}

const LIMIT_MAX: usize = 1 << 20;

impl PartialEq for CategoryCounts {
    fn eq(&self, other: &Self) -> bool {
        (self.limit, self.other, self.nulls) == (other.limit, other.other, other.nulls) && self.counts == other.counts
    }
}

impl CategoryCounts {
    /// No counts yet, at most `limit` categories.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `limit` is not in `1..=1048576`.
    pub fn new(limit: usize) -> Result<Self> {
        if !(1..=LIMIT_MAX).contains(&limit) {
            return Err(Error::invalid("limit", limit, "in 1..=1048576"));
        }
        Ok(Self { limit, counts: HashMap::default(), order: BTreeSet::new(), other: 0, nulls: 0 })
    }

    /// Adds one row.
    pub fn update(&mut self, category: &str) {
        self.update_count(category, 1);
    }

    /// Adds `count` rows of `category`.
    pub fn update_count(&mut self, category: &str, count: u64) {
        if count == 0 {
            return;
        }
        if let Some(held) = self.counts.get_mut(category) {
            *held += count;
            return;
        }
        let hash = stable_hash(category);
        if self.counts.len() == self.limit {
            match self.order.last() {
                Some((greatest, text)) if (hash, category) < (*greatest, text.as_str()) => {}
                _ => {
                    self.other += count;
                    return;
                }
            }
            if let Some((_, evicted)) = self.order.pop_last() {
                self.other += self.counts.remove(&evicted).unwrap_or(0);
            }
        }
        self.counts.insert(category.to_owned(), count);
        self.order.insert((hash, category.to_owned()));
    }

    /// Adds one null.
    pub fn update_null(&mut self) {
        self.nulls += 1;
    }

    /// Adds the texts and nulls of a string array or a dictionary of strings.
    ///
    /// # Errors
    /// [`Error::Invalid`] for other types; nothing is added then.
    pub fn update_array(&mut self, array: &dyn Array) -> Result<()> {
        values::texts(array, &mut |text, count| self.update_count(text, count))?;
        self.nulls += values::null_count(array);
        Ok(())
    }

    /// Adds the counts of `other`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the limits differ; nothing is added then.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.limit != other.limit {
            return Err(Error::invalid("limit of merged counts", other.limit, "equal"));
        }
        for (category, count) in other.iter() {
            self.update_count(category, count);
        }
        self.other += other.other;
        self.nulls += other.nulls;
        Ok(())
    }

    /// Held categories and their counts, in order of text.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.counts.iter().map(|(text, &count)| (text.as_str(), count)).collect::<BTreeMap<_, _>>().into_iter()
    }

    /// Rows of `category`; 0 when it is not held.
    pub fn count(&self, category: &str) -> u64 {
        self.counts.get(category).copied().unwrap_or(0)
    }

    /// Rows of categories that are not held.
    pub fn other(&self) -> u64 {
        self.other
    }

    /// Nulls.
    pub fn nulls(&self) -> u64 {
        self.nulls
    }

    /// Rows with a category.
    pub fn total(&self) -> u64 {
        self.counts.values().sum::<u64>() + self.other
    }

    /// Counts of two columns over the categories of both, in order of text, then `other`, then null.
    ///
    /// Categories that only one side holds count 0 on the other side.
    pub fn aligned(&self, other: &Self) -> (Vec<u64>, Vec<u64>) {
        let names: BTreeSet<&str> = self.counts.keys().chain(other.counts.keys()).map(String::as_str).collect();
        let side = |counts: &Self| {
            names.iter().map(|name| counts.count(name)).chain([counts.other, counts.nulls]).collect::<Vec<u64>>()
        };
        (side(self), side(other))
    }
}

/// FNV-1a with a final mix: the same on every machine and in every version, for it decides what is held.
fn stable_hash(text: &str) -> u64 {
    let fnv = text
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: u32,
    limit: usize,
    counts: BTreeMap<String, u64>,
    other: u64,
    nulls: u64,
}

impl From<CategoryCounts> for Wire {
    fn from(c: CategoryCounts) -> Self {
        let CategoryCounts { limit, counts, other, nulls, .. } = c;
        Self { format: 1, limit, counts: counts.into_iter().collect(), other, nulls }
    }
}

impl TryFrom<Wire> for CategoryCounts {
    type Error = Error;

    fn try_from(wire: Wire) -> Result<Self> {
        check_format("category counts", wire.format, 1)?;
        let mut counts = Self::new(wire.limit)?;
        if wire.counts.len() > wire.limit {
            return Err(Error::corrupt("category counts", "more categories than the limit"));
        }
        let all = wire.counts.values().chain([&wire.other, &wire.nulls]);
        if all.fold(0_u64, |sum, &count| sum.saturating_add(count)) > 1 << 56 {
            return Err(Error::corrupt("category counts", "counts out of range"));
        }
        for (category, count) in &wire.counts {
            counts.update_count(category, *count);
        }
        (counts.other, counts.nulls) = (wire.other, wire.nulls);
        Ok(counts)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(limit: usize, texts: &[String]) -> CategoryCounts {
        let mut counts = CategoryCounts::new(limit).unwrap();
        texts.iter().for_each(|text| counts.update(text));
        counts
    }

    #[test]
    fn no_row_is_lost_beyond_the_limit() {
        let texts: Vec<String> = (0..100).map(|i| format!("c{}", i % 10)).collect();
        let counts = of(4, &texts);
        assert_eq!(counts.iter().map(|(_, count)| count).collect::<Vec<_>>(), [10; 4]);
        assert_eq!((counts.other(), counts.total()), (60, 100));
    }

    #[test]
    fn aligned_counts_name_every_category_of_both() {
        let texts = |all: &str| all.chars().map(String::from).collect::<Vec<_>>();
        let (a, b) = (of(9, &texts("aab")), of(9, &texts("bc")));
        assert_eq!(a.aligned(&b), (vec![2, 1, 0, 0, 0], vec![0, 1, 1, 0, 0]));
    }

    #[test]
    fn json_comes_back() {
        let counts = of(2, &["x".into(), "y".into(), "z".into(), "x".into()]);
        let json = serde_json::to_string(&counts).unwrap();
        assert_eq!(serde_json::from_str::<CategoryCounts>(&json).unwrap(), counts);
    }

    proptest! {
        #[test]
        fn merging_is_one_pass_and_order_does_not_matter(
            mut texts in prop::collection::vec("[a-f]{1,2}", 0..200), at in 0_usize..200, limit in 1_usize..12,
        ) {
            let whole = of(limit, &texts);
            let at = at.min(texts.len());
            let (left, right) = texts.split_at(at);
            let mut merged = of(limit, right);
            merged.merge(&of(limit, left)).unwrap();
            prop_assert_eq!(&merged, &whole);
            texts.reverse();
            prop_assert_eq!(of(limit, &texts), whole);
        }
    }
}
