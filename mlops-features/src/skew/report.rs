//! What an audit found.

use std::fmt;

use mlops_core::{Digest, EventTime, Name};
use serde::{Deserialize, Serialize};

/// What an audit found, per returned column.
///
/// `Display` writes it as a table for people; serde as JSON. [`outcomes`](Self::outcomes) gives the numbers for scrapers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkewReport {
    /// The service.
    pub service: Name,
    /// The plan that was audited.
    pub plan: Digest,
    /// Logged rows that were looked at.
    pub rows: u64,
    /// Instants of the first and the last of them; none where there was no row.
    pub span: Option<(EventTime, EventTime)>,
    /// One per returned column that was logged.
    pub features: Vec<FeatureSkew>,
    /// Returned columns that are too sensitive to be logged, and so not audited.
    pub masked: Vec<String>,
}

/// How the values of one column compare. `equal`, `late`, `behind`, `ahead` and `differing` sum to `compared`.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeatureSkew {
    /// The column.
    pub feature: String,
    /// Values compared, nulls among them.
    pub compared: u64,
    /// Those that are equal in every bit.
    pub equal: u64,
    /// Those that are equal to what was known at the instant, while the training row has a value that was created after
    /// it: a late arrival or a correction.
    pub late: u64,
    /// Those that are equal to an earlier feature row: the online store had not been told of the latest one.
    pub behind: u64,
    /// Those that are equal to a feature row whose event time lies after the instant.
    pub ahead: u64,
    /// Those that nothing explains: skew.
    pub differing: u64,
    /// Some of those that differ.
    pub examples: Vec<SkewExample>,
}

/// Where to look for a value that differs; never the value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkewExample {
    /// Digest of the row's keys, by [`VectorLogger`](super::VectorLogger)'s reading of them: see [`audit`](super::audit).
    pub key: Digest,
    /// When the value was served.
    pub served_at: EventTime,
}

impl FeatureSkew {
    /// Share of the compared values that nothing explains; 0 where none was compared.
    pub fn rate(&self) -> f64 {
        if self.compared == 0 { 0.0 } else { self.differing as f64 / self.compared as f64 }
    }
}

impl SkewReport {
    /// Values that nothing explains, over all columns.
    pub fn differing(&self) -> u64 {
        self.features.iter().map(|feature| feature.differing).sum()
    }

    /// Column, outcome and number of values, for each column and each of `equal`, `late`, `behind`, `ahead` and
    /// `differing`: one counter of a scrape each.
    pub fn outcomes(&self) -> impl Iterator<Item = (&str, &'static str, u64)> {
        self.features.iter().flat_map(|feature| {
            let name = feature.feature.as_str();
            [
                (name, "equal", feature.equal),
                (name, "late", feature.late),
                (name, "behind", feature.behind),
                (name, "ahead", feature.ahead),
                (name, "differing", feature.differing),
            ]
        })
    }
}

impl fmt::Display for SkewReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "service {}: {} rows", self.service, self.rows)?;
        if let Some((first, last)) = self.span {
            write!(f, " served from {first} to {last}")?;
        }
        writeln!(f, ", {} values differ without a reason", self.differing())?;
        let width = self.features.iter().map(|feature| feature.feature.len()).max().unwrap_or(0).max("feature".len());
        let head = ["compared", "equal", "late", "behind", "ahead", "differing"];
        write!(f, "{:width$}", "feature")?;
        head.iter().try_for_each(|name| write!(f, " {name:>10}"))?;
        writeln!(f)?;
        for feature in &self.features {
            write!(f, "{:width$}", feature.feature)?;
            let FeatureSkew { compared, equal, late, behind, ahead, differing, .. } = feature;
            for count in [compared, equal, late, behind, ahead, differing] {
                write!(f, " {count:>10}")?;
            }
            writeln!(f)?;
            for example in &feature.examples {
                writeln!(f, "  differs: key {} at {}", example.key, example.served_at)?;
            }
        }
        if !self.masked.is_empty() {
            writeln!(f, "not logged, since too sensitive: {}", self.masked.join(", "))?;
        }
        Ok(())
    }
}
