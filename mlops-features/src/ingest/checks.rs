//! What incoming rows must be.

use std::path::PathBuf;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use mlops_core::file::create_dir_all_synced;
use mlops_core::source::{MemorySink, ParquetSink};
use mlops_core::validate::{RunOptions, Severity, Suite};
use mlops_core::{Dataset, Digest, Name, Schema};

use crate::error::{Core, Result};

/// A suite that incoming rows must pass, and what becomes of those that do not.
///
/// Cloning is cheap.
///
/// # Examples
/// ```
/// use mlops_core::validate::{Range, Suite};
/// use mlops_features::ingest::Checks;
/// let suite = Suite::new().rule("rate", Range::of("ctr").at_least(0).at_most(1))?;
/// let checks = Checks::refuse(suite);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Checks {
    suite: Suite,
    /// Folder for rows that are set aside.
    quarantine: Option<PathBuf>,
}

/// Rows that may come in.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) rows: RecordBatch,
    pub(crate) set_aside: u64,
}

impl Checks {
    /// Rows come in together or not at all: one that fails a check of [`Severity::Error`] keeps out those beside it.
    pub fn refuse(suite: Suite) -> Self {
        Self { suite, quarantine: None }
    }

    /// Rows that fail a check of [`Severity::Error`] are written to `folder` and the others come in. What the schema says of
    /// sensitivity is written with them; who may read the folder is the host's to say.
    ///
    /// One Parquet file per batch that had such rows, named by view and content: a batch that comes again is not set
    /// aside twice.
    pub fn set_aside(suite: Suite, folder: impl Into<PathBuf>) -> Self {
        Self { suite, quarantine: Some(folder.into()) }
    }

    /// The suite.
    pub fn suite(&self) -> &Suite {
        &self.suite
    }

    /// The rows of a batch of `schema`, on their way to `name`, that pass.
    pub(crate) fn pass(&self, name: &Name, schema: &Schema, rows: RecordBatch) -> Result<Passed> {
        let data = Dataset::held(schema.clone(), [rows.clone()])?;
        let report = self.suite.run(&data)?;
        let (Some(folder), true) = (&self.quarantine, report.rejected_rows > 0) else {
            report.gate(Severity::Error)?;
            return Ok(Passed { rows, set_aside: 0 });
        };
        let folder = folder.join(Digest::of(name.as_str()).to_string());
        create_dir_all_synced(&folder)?;
        let aside = ParquetSink::new(folder.join(format!("{}.parquet", data.digest()?)));
        let good = MemorySink::new("rows that passed");
        self.suite.run_with(&data, &RunOptions::new().quarantine(&aside).passed(&good))?;
        let passed = good.dataset()?;
        // Checks of the batch as a whole mark no rows: what is left must pass them, too.
        self.suite.run(&passed)?.gate(Severity::Error)?;
        let batches = passed.batches()?.collect::<Result<Vec<_>, Core>>()?;
        let left = concat_batches(schema.arrow(), batches.iter())?;
        Ok(Passed { set_aside: (rows.num_rows() - left.num_rows()) as u64, rows: left })
    }
}
