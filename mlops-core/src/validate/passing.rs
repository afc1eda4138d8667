//! The rows that fit, read again on each scan.

use std::sync::Arc;

use super::Suite;
use super::lanes::Lanes;
use super::pass::{Pass, Wants};
use super::route::keep;
use crate::source::{BatchStream, DataSource, ScanRequest, SourceInfo};
use crate::{Dataset, Result, Schema};

impl Suite {
    /// The rows of `data` that no check of [`Severity::Error`](super::Severity::Error) marks, judged anew whenever they
    /// are scanned: in bounded memory, without a copy, in two readings where [`Unique`](super::Unique) has more keys than it
    /// may hold. Errors of checks come out of the scan.
    ///
    /// # Errors
    /// As [`run`](Self::run) for checks that cannot be applied to such a table.
    pub fn passing(&self, data: &Dataset) -> Result<Dataset> {
        Lanes::begin(self, data.schema(), 0)?;
        Dataset::from_source(Arc::new(Passing { suite: self.clone(), data: data.clone() }))
    }
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
        let wants = Wants { batches: true, ..Wants::default() };
        let mut pass = Pass::begin(&self.suite, &self.data, ScanRequest::all(), wants)?;
        let fitting = std::iter::from_fn(move || {
            let next = pass.next().transpose()?;
            Some(next.and_then(|(batch, judged)| keep(&batch, &judged.rejected)))
        });
        request.finish(BatchStream::new(self.data.schema().clone(), fitting))
    }
}
