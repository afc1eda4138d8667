//! Keys that exist in another data set.

use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use serde::{Deserialize, Serialize};

use super::Scope;
use super::given::{Given, Known, Shared, find_all};
use super::kernel::{Column, Kernel, KernelRun, Tally, Verdict, quoted};
use crate::rowkey::keyless;
use crate::{Error, Name, Result, Schema};

/// Most columns of one key.
const COLUMNS_MAX: usize = 64;

/// Every key of `columns` exists in another data set, which [`Suite::refer`](super::Suite::refer) gives by name.
///
/// * A row with a null in any column of its key passes, as a foreign key in SQL does.
/// * Types must be equal, save that integers of up to 63 bits are one type, and so are floats, and all layouts of text.
/// * Keys are compared as those of [`Unique`](super::Unique); of the other data set 18 to 40 bytes per key are held, at most
///   50 million keys. `observed` is the share of rows without a match.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refers {
    columns: Vec<String>,
    to: Name,
    to_columns: Vec<String>,
}

impl Refers {
    /// `columns` hold what `to_columns` of the data set `to` hold somewhere.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `to` is not a name.
    pub fn of(
        columns: impl IntoIterator<Item = impl Into<String>>,
        to: impl AsRef<str>,
        to_columns: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self> {
        Ok(Self {
            columns: columns.into_iter().map(Into::into).collect(),
            to: Name::new(to)?,
            to_columns: to_columns.into_iter().map(Into::into).collect(),
        })
    }

    pub(super) fn compile(&self) -> Result<Arc<dyn Kernel>> {
        if self.columns.is_empty() || self.columns.len() > COLUMNS_MAX || self.columns.len() != self.to_columns.len() {
            let found = format!("{} and {} columns", self.columns.len(), self.to_columns.len());
            return Err(Error::invalid("columns", found, "as many columns on both sides, 1 to 64"));
        }
        Ok(Arc::new(self.clone()))
    }

    /// The other data set and its columns.
    pub(super) fn target(&self) -> (&str, &[String]) {
        (self.to.as_str(), &self.to_columns)
    }
}

impl Kernel for Refers {
    fn demand(&self) -> String {
        let list = |names: &[String]| names.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(", ");
        format!("{} exists in {} of `{}`", list(&self.columns), list(&self.to_columns), self.to)
    }

    fn scope(&self) -> Scope {
        Scope::Row
    }

    fn columns(&self) -> Vec<&str> {
        self.columns.iter().map(String::as_str).collect()
    }

    fn begin(&self, schema: &Schema, given: &Given) -> Result<Box<dyn KernelRun>> {
        let columns = find_all(schema, &self.columns)?;
        let known = given.known(self.to.as_str(), &self.to_columns)?;
        columns.iter().enumerate().try_for_each(|(position, column)| known.check(position, column))?;
        Ok(Box::new(Run { columns, known, tally: Tally::default() }))
    }
}

struct Run {
    columns: Vec<Column>,
    known: Arc<Known>,
    tally: Tally,
}

impl KernelRun for Run {
    fn update(&mut self, batch: &Shared<'_>) -> Result<Option<BooleanBuffer>> {
        let arrays = self.columns.iter().map(|column| column.of(batch)).collect::<Result<Vec<_>>>()?;
        let keys = self.known.hashes(&arrays)?;
        let failing = BooleanBuffer::collect_bool(keys.len(), |row| !self.known.holds(keys[row]));
        Ok(Some(self.tally.take(failing, keyless(&arrays))))
    }

    fn finish(self: Box<Self>) -> Result<Verdict> {
        Ok(self.tally.verdict())
    }
}
