//! The rows that fit, read again on each scan.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Suite;
use super::route::keep;
use super::suite::Lanes;
use crate::dataset::Provenance;
use crate::source::{BatchStream, DataSource, ScanRequest, SourceInfo};
use crate::time::EventTime;
use crate::{Dataset, Name, Result, Schema};

impl Suite {
    /// The rows of `data` that no check of [`Severity::Error`](super::Severity::Error) marks, judged anew whenever they
    /// are scanned: in bounded memory, without a copy. Errors of checks come out of the scan.
    ///
    /// # Errors
    /// As [`run`](Self::run) for checks that cannot be applied to such a table.
    pub fn passing(&self, data: &Dataset) -> Result<Dataset> {
        Lanes::begin(self, data.schema(), 0)?;
        Dataset::from_source(Arc::new(Passing { suite: self.clone(), data: data.clone() }))
    }
}

impl Suite {
    /// What the rows of `data` that passed, or those in quarantine, were made from at `at`, and by what: the operation is
    /// `validate`, its parameters are the rules and which `rows` these are. Costs a scan of `data` unless its digest is known.
    ///
    /// # Errors
    /// What [`settings`](Self::settings) and [`Dataset::digest`] say.
    ///
    /// # Examples
    /// ```
    /// use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
    /// use mlops_core::validate::{NullRatio, Route, Suite};
    /// use mlops_core::{Dataset, EventTime};
    ///
    /// let ids = std::sync::Arc::new(Int64Array::from(vec![Some(1), None])) as ArrayRef;
    /// let data = Dataset::from_batches([RecordBatch::try_from_iter([("id", ids)])?])?;
    /// let suite = Suite::new().rule("id_known", NullRatio::of("id"))?;
    /// let made = suite.provenance(&data, Route::Passed, EventTime::EPOCH)?;
    /// let fitting = suite.passing(&data)?.with_provenance(made);
    /// assert_eq!(fitting.provenance().unwrap().parents, [data.digest()?]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn provenance(&self, data: &Dataset, rows: Route, at: EventTime) -> Result<Provenance> {
        let parameters = serde_json::json!({ "rows": rows, "suite": self.settings()? });
        Provenance::of_crate(&[data], Name::new("validate")?, &parameters, at)
    }
}

/// Where a suite puts rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Route {
    /// No check of [`Severity::Error`](super::Severity::Error) marked them.
    Passed,
    /// At least one did.
    Quarantined,
}

#[derive(Debug)]
struct Passing {
    suite: Suite,
    data: Dataset,
}

impl DataSource for Passing {
    fn info(&self) -> Result<SourceInfo> {
        Ok(SourceInfo { size_bytes: None, ..self.data.info()? })
    }

    fn schema(&self) -> Result<Schema> {
        Ok(self.data.schema().clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        // Checks come before predicates: what is a duplicate must not depend on what was asked for.
        let mut lanes = Lanes::begin(&self.suite, self.data.schema(), 0)?;
        let fitting = self.data.batches()?.map(move |batch| {
            let batch = batch?;
            let judged = lanes.judge(&batch)?;
            keep(&batch, &judged.rejected)
        });
        request.finish(BatchStream::new(self.data.schema().clone(), fitting))
    }
}
