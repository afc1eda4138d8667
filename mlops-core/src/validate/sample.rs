//! Failing rows shown in reports: few, short, and without what must not be seen.

use std::fmt::{self, Write};

use arrow::array::{Array, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::util::display::{ArrayFormatter, FormatOptions};
use serde::{Deserialize, Serialize};

use super::Check;
use super::kernel::printable;
use crate::schema::Role;
use crate::{Name, Result, Schema};

/// Most characters of one shown value.
pub const SAMPLE_TEXT_MAX: usize = 80;

/// Most columns of one shown row.
const COLUMNS_MAX: usize = 32;

/// A row that did not fit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sample {
    /// The check that it did not fit.
    pub check: Name,
    /// Its place in the table, from 0, in the order of the scan.
    pub row: u64,
    /// The keys of the row and what the check looked at, in the order of the schema.
    pub cells: Vec<Cell>,
}

/// One value of a shown row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// The column.
    pub column: String,
    /// What may be shown of the value.
    pub value: Shown,
}

/// What is shown of a value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shown {
    /// There is none.
    Null,
    /// The column is sensitive; not even whether there is a value is told.
    Hidden,
    /// The value as text, at most [`SAMPLE_TEXT_MAX`] characters of it, control characters escaped.
    Text(String),
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Hidden => "(hidden)",
            Self::Text(text) => text,
        })
    }
}

/// Names of the columns that samples of `check` show: the keys of the table and what the check reads.
pub(super) fn shown_columns(schema: &Schema, check: &dyn Check) -> Vec<String> {
    let read = check.columns();
    let keys = schema.with(Role::Key);
    let wanted = |name: &&str| read.contains(name) || keys.contains(name);
    schema.names().filter(wanted).take(COLUMNS_MAX).map(str::to_owned).collect()
}

/// Takes the first failing rows of one check.
#[derive(Debug)]
pub(super) struct Sampler {
    check: Name,
    columns: Vec<(String, bool)>,
    left: usize,
    taken: Vec<Sample>,
}

impl Sampler {
    pub(super) fn new(schema: &Schema, check: &dyn Check, samples: usize) -> Self {
        let hidden = schema.hidden();
        let columns = shown_columns(schema, check).into_iter().map(|name| {
            let hide = hidden.contains(&name.as_str());
            (name, hide)
        });
        Self { check: check.id().clone(), columns: columns.collect(), left: samples, taken: Vec::new() }
    }

    /// Looks at the rows of `batch` that `failing` marks; `first_row` is the place of its first row in the table.
    pub(super) fn take(&mut self, batch: &RecordBatch, failing: &BooleanBuffer, first_row: u64) -> Result<()> {
        if self.left == 0 {
            return Ok(());
        }
        for row in failing.set_indices().take(self.left) {
            let cells = self.columns.iter().map(|(name, hide)| cell(batch, name, *hide, row)).collect::<Result<_>>()?;
            self.taken.push(Sample { check: self.check.clone(), row: first_row + row as u64, cells });
            self.left -= 1;
        }
        Ok(())
    }

    /// Columns that it shows.
    pub(super) fn columns(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|(name, _)| name.as_str())
    }

    /// Rows that it has room for.
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// The first of those that it and `other` took, of the same check.
    pub(super) fn finish(self, other: Self) -> Vec<Sample> {
        let samples = self.left + self.taken.len();
        let mut taken = self.taken;
        taken.extend(other.taken);
        taken.sort_by_key(|sample| sample.row);
        taken.truncate(samples);
        taken
    }
}

fn cell(batch: &RecordBatch, name: &str, hide: bool, row: usize) -> Result<Cell> {
    let value = match batch.column_by_name(name) {
        Some(array) if !hide => shown(array.as_ref(), row)?,
        _ => Shown::Hidden,
    };
    Ok(Cell { column: name.to_owned(), value })
}

fn shown(array: &dyn Array, row: usize) -> Result<Shown> {
    let one = array.slice(row, 1);
    if one.logical_null_count() == 1 {
        return Ok(Shown::Null);
    }
    let formatter = ArrayFormatter::try_new(one.as_ref(), &FormatOptions::default().with_display_error(true))?;
    let mut text = Short { text: String::new(), left: SAMPLE_TEXT_MAX };
    // It stops writing when the room is used up, which is not a failure.
    let _ = write!(text, "{}", formatter.value(0));
    Ok(Shown::Text(text.text))
}

/// Takes so many characters and then says stop, so that a value of a gigabyte costs no more than a short one.
struct Short {
    text: String,
    left: usize,
}

impl Write for Short {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            if self.left == 0 {
                self.text.push('…');
                return Err(fmt::Error);
            }
            self.text.extend(printable(c));
            self.left -= 1;
        }
        Ok(())
    }
}
