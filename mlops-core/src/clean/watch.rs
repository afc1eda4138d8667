//! Stopping in the middle of a fit.

use std::fmt;
use std::sync::Arc;

use crate::source::{BatchStream, DataSource, ScanRequest, SourceInfo};
use crate::{Dataset, Error, Result, Schema};

/// Whether a host still wants what it asked for: looked at between two batches, wherever rows are read.
///
/// # Examples
/// ```
/// use mlops_core::arrow::array::{ArrayRef, Float64Array, RecordBatch};
/// use mlops_core::clean::{Scale, Transform, Watch};
/// use mlops_core::{Dataset, Error};
///
/// let x = std::sync::Arc::new(Float64Array::from(vec![1.0, 2.0])) as ArrayRef;
/// let data = Dataset::from_batches([RecordBatch::try_from_iter([("x", x)])?])?;
/// let stopped = Scale::builder().standard("x").build()?.fit_watched(&data, &Watch::new("nightly", || true));
/// assert!(matches!(stopped, Err(Error::Cancelled { stage }) if stage == "nightly"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Watch {
    stop: Option<Arc<dyn Fn() -> bool + Send + Sync>>,
    stage: String,
}

impl Watch {
    /// Stops as soon as `stop` says true, with an error that names `stage`.
    pub fn new(stage: impl Into<String>, stop: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self { stop: Some(Arc::new(stop)), stage: stage.into() }
    }

    /// Nothing stops.
    pub fn never() -> Self {
        Self::default()
    }

    /// Whether to go on.
    ///
    /// # Errors
    /// [`Error::Cancelled`] when the host wants to stop.
    pub fn check(&self) -> Result<()> {
        match &self.stop {
            Some(stop) if stop() => Err(Error::Cancelled { stage: self.stage.clone() }),
            _ => Ok(()),
        }
    }

    /// `data`, whose scans end as soon as the host wants to stop; the same provenance.
    ///
    /// # Errors
    /// What [`Dataset::from_source`] says.
    pub fn over(&self, data: &Dataset) -> Result<Dataset> {
        if self.stop.is_none() {
            return Ok(data.clone());
        }
        let watched = Dataset::from_source(Arc::new(Watched { data: data.clone(), watch: self.clone() }))?;
        Ok(match data.provenance() {
            Some(provenance) => watched.with_provenance(provenance.clone()),
            None => watched,
        })
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("stage", &self.stage).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Watched {
    data: Dataset,
    watch: Watch,
}

impl DataSource for Watched {
    fn info(&self) -> Result<SourceInfo> {
        self.data.info()
    }

    fn schema(&self) -> Result<Schema> {
        Ok(self.data.schema().clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        self.watch.check()?;
        let (watch, stream) = (self.watch.clone(), self.data.scan(request)?);
        let schema = stream.schema().clone();
        Ok(BatchStream::new(schema, stream.map(move |batch| watch.check().and(batch))))
    }
}
