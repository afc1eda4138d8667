//! What was done, in numbers.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Kind;

/// What was done, in numbers; holds no value.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Rows read.
    pub rows: u64,
    /// Per column with findings: how many of each kind were treated; values of no known kind count as `other`.
    pub treated: BTreeMap<String, Treated>,
    /// Columns left out.
    pub dropped: BTreeSet<String>,
    /// Columns that could not be looked into: nested or binary.
    pub unscanned: BTreeSet<String>,
}

/// Numbers of one column.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Treated {
    /// Cells that changed or were removed.
    pub cells: u64,
    /// Values treated, per kind.
    pub kinds: BTreeMap<Kind, u64>,
    /// Values treated whose kind is not known.
    pub other: u64,
    /// Values that the action cannot be done on, such as a date that is none: redacted, or null where the column is not text.
    #[serde(default)]
    pub unfit: u64,
}

impl Audit {
    /// Adds the numbers of `other`, such as of the next batch.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        for (column, numbers) in &other.treated {
            let own = self.treated.entry(column.clone()).or_default();
            own.cells += numbers.cells;
            own.other += numbers.other;
            own.unfit += numbers.unfit;
            for (kind, count) in &numbers.kinds {
                *own.kinds.entry(*kind).or_default() += count;
            }
        }
        self.dropped.extend(other.dropped.iter().cloned());
        self.unscanned.extend(other.unscanned.iter().cloned());
    }
}

impl Treated {
    pub(super) fn count(&mut self, kind: Option<Kind>) {
        match kind {
            Some(kind) => *self.kinds.entry(kind).or_default() += 1,
            None => self.other += 1,
        }
    }
}
