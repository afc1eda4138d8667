//! What a pass changed, so that nothing is lost in silence.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

/// What happened to a cell, or to a row because of a cell.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Change {
    /// A missing value was filled.
    Imputed,
    /// A value was moved to its fence.
    Clipped,
    /// A value was made null.
    Nulled,
    /// A value was marked in a column beside it and kept.
    Flagged,
    /// The row was dropped; a row that several columns condemn counts in each of them.
    RowDropped,
    /// A number was rescaled.
    Scaled,
    /// A value was written in another type.
    Cast,
    /// A category was written as numbers.
    Encoded,
    /// A category was not there at the fit.
    Unknown,
    /// A number was replaced by the bin that it lies in.
    Binned,
    /// Columns were made of a value.
    Derived,
}

impl Change {
    fn word(self) -> &'static str {
        match self {
            Self::Imputed => "imputed",
            Self::Clipped => "clipped",
            Self::Nulled => "made null",
            Self::Flagged => "flagged",
            Self::RowDropped => "dropped with their rows",
            Self::Scaled => "rescaled",
            Self::Cast => "cast",
            Self::Encoded => "encoded",
            Self::Unknown => "of an unknown category",
            Self::Binned => "put into bins",
            Self::Derived => "turned into columns",
        }
    }
}

/// What one step changed; holds no value of any cell.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepChanges {
    /// Kind of the step, such as `impute`.
    pub step: String,
    /// Rows that came in.
    pub rows_in: u64,
    /// Rows that went out or will go out after the last batch.
    pub rows_out: u64,
    /// Cells changed, by column; columns without any are left out.
    pub cells: BTreeMap<String, BTreeMap<Change, u64>>,
    /// Columns of the input that are not in the output.
    pub columns_dropped: BTreeSet<String>,
    /// Columns under a new name: old name, new name.
    pub columns_renamed: BTreeMap<String, String>,
}

impl StepChanges {
    /// Nothing yet.
    pub fn new(step: impl Into<String>) -> Self {
        Self { step: step.into(), ..Self::default() }
    }

    /// Adds `count` cells of `column`; none leaves no trace.
    pub fn count(&mut self, column: &str, change: Change, count: u64) {
        if count == 0 {
            return;
        }
        if !self.cells.contains_key(column) {
            self.cells.insert(column.to_owned(), BTreeMap::new());
        }
        if let Some(cells) = self.cells.get_mut(column) {
            *cells.entry(change).or_default() += count;
        }
    }

    /// Cells of `column` that had `change` done to them.
    pub fn cells(&self, column: &str, change: Change) -> u64 {
        self.cells.get(column).and_then(|cells| cells.get(&change)).copied().unwrap_or(0)
    }

    /// Rows that came in and did not go out.
    pub fn rows_dropped(&self) -> u64 {
        self.rows_in.saturating_sub(self.rows_out)
    }

    fn merge(&mut self, other: &Self) {
        self.rows_in += other.rows_in;
        self.rows_out += other.rows_out;
        for (column, cells) in &other.cells {
            for (change, count) in cells {
                self.count(column, *change, *count);
            }
        }
        self.columns_dropped.extend(other.columns_dropped.iter().cloned());
        self.columns_renamed.extend(other.columns_renamed.iter().map(|(old, new)| (old.clone(), new.clone())));
    }
}

/// What a pass changed, step by step in the order in which they were applied.
///
/// Its text form is one line per finding, for people.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Changes {
    /// One entry per step; a [`Chain`](super::Chain) has those of all its stages.
    pub steps: Vec<StepChanges>,
}

impl Changes {
    /// Rows that came into the first step.
    pub fn rows_in(&self) -> u64 {
        self.steps.first().map_or(0, |step| step.rows_in)
    }

    /// Rows that went out of the last step.
    pub fn rows_out(&self) -> u64 {
        self.steps.last().map_or(0, |step| step.rows_out)
    }

    /// Rows dropped in all steps.
    pub fn rows_dropped(&self) -> u64 {
        self.steps.iter().map(StepChanges::rows_dropped).sum()
    }

    /// Cells of `column` that had `change` done to them, in all steps; a cell changed twice counts twice.
    pub fn cells(&self, column: &str, change: Change) -> u64 {
        self.steps.iter().map(|step| step.cells(column, change)).sum()
    }

    /// Adds the counts of another pass of the same transform, such as those of the next request. Steps that do not match
    /// by place and kind are appended.
    pub fn merge(&mut self, other: &Self) {
        for (place, step) in other.steps.iter().enumerate() {
            match self.steps.get_mut(place).filter(|own| own.step == step.step) {
                Some(own) => own.merge(step),
                None => self.steps.push(step.clone()),
            }
        }
    }
}

impl From<StepChanges> for Changes {
    fn from(step: StepChanges) -> Self {
        Self { steps: vec![step] }
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            writeln!(f, "{}: {} rows in, {} out", step.step, step.rows_in, step.rows_out)?;
            for (column, cells) in &step.cells {
                for (change, count) in cells {
                    writeln!(f, "  {column:?}: {count} cells {}", change.word())?;
                }
            }
            for column in &step.columns_dropped {
                writeln!(f, "  {column:?}: left out")?;
            }
            for (old, new) in &step.columns_renamed {
                writeln!(f, "  {old:?}: now {new:?}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(rows_in: u64, imputed: u64) -> StepChanges {
        let mut step = StepChanges { rows_in, rows_out: rows_in - 1, ..StepChanges::new("impute") };
        step.count("age", Change::Imputed, imputed);
        step
    }

    #[test]
    fn counts_of_two_passes_add_up_step_by_step() {
        let mut all = Changes { steps: vec![step(10, 2), step(9, 0)] };
        all.merge(&Changes { steps: vec![step(4, 1), step(3, 5)] });
        assert_eq!((all.rows_in(), all.rows_out(), all.rows_dropped()), (14, 10, 4));
        assert_eq!(all.cells("age", Change::Imputed), 8);
        assert_eq!(all.steps[1].cells("age", Change::Imputed), 5);
    }

    #[test]
    fn the_text_tells_what_was_done_and_survives_json() {
        let changes = Changes::from(step(10, 2));
        assert_eq!(changes.to_string(), "impute: 10 rows in, 9 out\n  \"age\": 2 cells imputed\n");
        let back: Changes = serde_json::from_str(&serde_json::to_string(&changes).unwrap()).unwrap();
        assert_eq!(back, changes);
    }
}
