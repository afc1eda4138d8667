//! Are groups treated alike? Rates per group and their differences.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::confusion::ratio;
use crate::{Error, Result};

/// Counts of decisions per group; merging adds them exactly.
///
/// Names and definitions are those of Fairlearn. Groups with fewer rows than the minimum have no rate, and a
/// difference over fewer than two groups with a rate is `None`: "too few to say" is never a number.
///
/// # Examples
/// ```
/// use mlops_core::metrics::GroupRates;
///
/// let mut rates = GroupRates::new(2)?;
/// for (group, is_selected) in [("a", true), ("a", true), ("b", true), ("b", false), ("c", false)] {
///     rates.update(group, is_selected, None)?;
/// }
/// assert_eq!(rates.selection_rate("a"), Some(1.0));
/// assert_eq!(rates.demographic_parity_difference(), Some(0.5)); // "c" is too small
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct GroupRates {
    rows_min: u64,
    groups: BTreeMap<String, GroupCounts>,
}

/// Decisions about one group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupCounts {
    /// Rows.
    pub rows: u64,
    /// Rows that were selected.
    pub selected: u64,
    /// Rows that are known to be positive.
    pub positives: u64,
    /// Rows that are known to be positive and were selected.
    pub true_positives: u64,
}

/// Groups that are counted apart.
const GROUPS_MAX: usize = 1000;

impl GroupRates {
    /// No rows yet; rates are given from `rows_min` rows on.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `rows_min` is 0.
    pub fn new(rows_min: u64) -> Result<Self> {
        if rows_min == 0 {
            return Err(Error::invalid("smallest group", rows_min, "at least 1"));
        }
        Ok(Self { rows_min, groups: BTreeMap::new() })
    }

    /// Adds one decision; `is_positive` is the label where it is known.
    ///
    /// # Errors
    /// [`Error::Invalid`] when this would be group number 1001: the attribute is no group then. Nothing is added.
    pub fn update(&mut self, group: &str, is_selected: bool, is_positive: Option<bool>) -> Result<()> {
        let counts = self.group(group)?;
        counts.rows += 1;
        counts.selected += u64::from(is_selected);
        counts.positives += u64::from(is_positive == Some(true));
        counts.true_positives += u64::from(is_positive == Some(true) && is_selected);
        Ok(())
    }

    fn group(&mut self, group: &str) -> Result<&mut GroupCounts> {
        if !self.groups.contains_key(group) {
            if self.groups.len() == GROUPS_MAX {
                return Err(Error::invalid("number of groups", GROUPS_MAX + 1, "at most 1000"));
            }
            self.groups.insert(group.to_owned(), GroupCounts::default());
        }
        self.groups.get_mut(group).ok_or_else(|| Error::not_found("group", group))
    }

    /// Adds the counts of `other`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the minima differ or both together have more than 1000 groups; nothing is added then.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.rows_min != other.rows_min {
            return Err(Error::invalid("smallest group of merged rates", other.rows_min, "equal"));
        }
        let new = other.groups.keys().filter(|group| !self.groups.contains_key(*group)).count();
        if self.groups.len() + new > GROUPS_MAX {
            return Err(Error::invalid("number of groups", self.groups.len() + new, "at most 1000"));
        }
        for (group, theirs) in &other.groups {
            let mine = self.group(group)?;
            mine.rows += theirs.rows;
            mine.selected += theirs.selected;
            mine.positives += theirs.positives;
            mine.true_positives += theirs.true_positives;
        }
        Ok(())
    }

    /// Counts of all groups, in order of name.
    pub fn groups(&self) -> impl Iterator<Item = (&str, &GroupCounts)> {
        self.groups.iter().map(|(group, counts)| (group.as_str(), counts))
    }

    /// Share of the group that is selected; `None` when the group is too small.
    pub fn selection_rate(&self, group: &str) -> Option<f64> {
        self.groups.get(group).and_then(|counts| self.rate(counts.selected, counts.rows))
    }

    /// Share of the group's positive rows that is selected; `None` when there are too few of them.
    pub fn true_positive_rate(&self, group: &str) -> Option<f64> {
        self.groups.get(group).and_then(|counts| self.rate(counts.true_positives, counts.positives))
    }

    /// Greatest less smallest selection rate, in `0..=1`; 0 is parity.
    pub fn demographic_parity_difference(&self) -> Option<f64> {
        self.range(|counts| (counts.selected, counts.rows)).map(|(low, high)| high - low)
    }

    /// Smallest over greatest selection rate, in `0..=1`; 1 is parity. `None` also when nobody is selected.
    pub fn demographic_parity_ratio(&self) -> Option<f64> {
        self.range(|counts| (counts.selected, counts.rows))
            .filter(|&(_, high)| high > 0.0)
            .map(|(low, high)| low / high)
    }

    /// Greatest less smallest true-positive rate, in `0..=1`; 0 is equal opportunity.
    pub fn equal_opportunity_difference(&self) -> Option<f64> {
        self.range(|counts| (counts.true_positives, counts.positives)).map(|(low, high)| high - low)
    }

    fn rate(&self, part: u64, whole: u64) -> Option<f64> {
        ratio(part, whole).filter(|_| whole >= self.rows_min)
    }

    /// Smallest and greatest rate over the groups that have one.
    fn range(&self, cells: impl Fn(&GroupCounts) -> (u64, u64)) -> Option<(f64, f64)> {
        let rates: Vec<f64> = self
            .groups
            .values()
            .filter_map(|counts| {
                let (part, whole) = cells(counts);
                self.rate(part, whole)
            })
            .collect();
        let ends = |ends: (f64, f64), &rate: &f64| (ends.0.min(rate), ends.1.max(rate));
        (rates.len() >= 2).then(|| rates.iter().fold((f64::INFINITY, f64::NEG_INFINITY), ends))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: u32,
    rows_min: u64,
    groups: BTreeMap<String, GroupCounts>,
}

impl From<GroupRates> for Wire {
    fn from(GroupRates { rows_min, groups }: GroupRates) -> Self {
        Self { format: 1, rows_min, groups }
    }
}

impl TryFrom<Wire> for GroupRates {
    type Error = Error;

    fn try_from(wire: Wire) -> Result<Self> {
        crate::stats::bytes::check_format("group rates", wire.format, 1)?;
        let is_sane = |c: &GroupCounts| {
            c.rows <= 1 << 45
                && c.selected.max(c.positives) <= c.rows
                && c.true_positives <= c.selected.min(c.positives)
        };
        if wire.groups.len() > GROUPS_MAX || !wire.groups.values().all(is_sane) {
            return Err(Error::corrupt("group rates", "counts contradict each other"));
        }
        Ok(Self { groups: wire.groups, ..Self::new(wire.rows_min)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(rows_min: u64, rows: &[(&str, bool, bool)]) -> GroupRates {
        let mut rates = GroupRates::new(rows_min).unwrap();
        rows.iter().for_each(|&(group, selected, positive)| rates.update(group, selected, Some(positive)).unwrap());
        rates
    }

    const ROWS: [(&str, bool, bool); 7] = [
        ("f", true, true),
        ("f", false, true),
        ("f", false, false),
        ("f", true, false),
        ("m", true, true),
        ("m", true, true),
        ("m", false, false),
    ];

    #[test]
    fn differences_are_those_of_the_rates() {
        // selection rates 2/4 and 2/3, true-positive rates 1/2 and 2/2
        let rates = of(1, &ROWS);
        assert!((rates.demographic_parity_difference().unwrap() - 1.0 / 6.0).abs() < 1e-12);
        assert!((rates.demographic_parity_ratio().unwrap() - 0.75).abs() < 1e-12);
        assert_eq!(rates.equal_opportunity_difference(), Some(0.5));
    }

    #[test]
    fn small_groups_have_no_rate() {
        let rates = of(4, &ROWS);
        assert_eq!((rates.selection_rate("f"), rates.selection_rate("m")), (Some(0.5), None));
        assert_eq!(rates.demographic_parity_difference(), None);
        assert_eq!(rates.equal_opportunity_difference(), None);
    }

    #[test]
    fn merging_is_one_pass() {
        let mut left = of(1, &ROWS[..3]);
        left.merge(&of(1, &ROWS[3..])).unwrap();
        assert_eq!(left, of(1, &ROWS));
        assert!(left.merge(&of(2, &[])).is_err());
        let json = serde_json::to_string(&left).unwrap();
        assert_eq!(serde_json::from_str::<GroupRates>(&json).unwrap(), left);
    }

    #[test]
    fn an_attribute_with_endless_values_is_refused() {
        let mut rates = GroupRates::new(1).unwrap();
        (0..GROUPS_MAX).for_each(|i| rates.update(&i.to_string(), true, None).unwrap());
        assert!(rates.update("one more", true, None).is_err());
        assert!(rates.update("7", true, None).is_ok());
    }
}
