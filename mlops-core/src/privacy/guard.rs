//! A source whose raw values never pass.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;

use super::{Audit, Detector, Plan, Policy, PseudonymKey};
use crate::dataset::Provenance;
use crate::schema::Finder;
use crate::source::{BatchStream, DataSource, ScanRequest, SourceInfo};
use crate::time::EventTime;
use crate::{Dataset, Error, Result, Schema};

/// Rows that a policy is decided by.
pub const SAMPLE_ROWS: u64 = 10_000;

/// A [`DataSource`] that treats every batch of another one by a plan before anything else sees it.
///
/// Predicates are judged on the treated values: filtering cannot tell what treating hides, and a token can be looked for.
/// Messages of the source below are [scrubbed](Detector::scrub), for readers of files like to quote what they cannot read.
/// What the plan says of a column is fixed when the guard is made, so that all batches have one schema; values of a kind
/// that the sample of a column did not show are treated where they are found inside of texts.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use mlops_core::Dataset;
/// use mlops_core::privacy::{Detector, Policy};
/// use mlops_core::source::{CsvSource, DataSource, ScanRequest};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("people.csv");
/// std::fs::write(&path, "id,note\n1,gọi 0912345678\n2,không\n")?;
/// let raw = Arc::new(CsvSource::builder(&path).build()?);
/// let detector = Arc::new(Detector::builder().today(2026).build()?);
/// let guarded = Policy::builder().build()?.guard(raw, detector, None)?;
/// let rows = Dataset::collect(guarded.scan(&ScanRequest::all())?)?;
/// assert!(format!("{:?}", rows.to_batch()?).contains("gọi [phone]"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Guard {
    source: Arc<dyn DataSource>,
    plan: Arc<Plan>,
    detector: Arc<Detector>,
    key: Option<Arc<PseudonymKey>>,
    schema: Schema,
    audit: Arc<Mutex<Audit>>,
}

impl Policy {
    /// `source` behind this policy, decided by its first 10 000 rows.
    ///
    /// # Errors
    /// Those of [`plan`](Self::plan), of reading the sample, and of [`Guard::new`].
    pub fn guard(
        &self,
        source: Arc<dyn DataSource>,
        detector: Arc<Detector>,
        key: Option<Arc<PseudonymKey>>,
    ) -> Result<Guard> {
        let scrub = |e| scrubbed(e, &detector);
        let sample = source.scan(&ScanRequest::all().limit(SAMPLE_ROWS)).and_then(Dataset::collect);
        let sample = sample.and_then(|rows| rows.to_batch()).map_err(scrub)?;
        let plan = self.plan(&detector, &sample)?;
        Guard::new(source, plan, detector, key)
    }
}

impl Guard {
    /// `source` behind a plan that was made before.
    ///
    /// # Errors
    /// [`Error::Schema`] for a column that the plan does not know, [`Error::Invalid`] when a key is needed and there is
    /// none, and whatever the source says of its schema.
    pub fn new(
        source: Arc<dyn DataSource>,
        plan: Plan,
        detector: Arc<Detector>,
        key: Option<Arc<PseudonymKey>>,
    ) -> Result<Self> {
        let raw = source.schema().map_err(|e| scrubbed(e, &detector))?;
        let empty = RecordBatch::new_empty(raw.arrow().clone());
        let (treated, _) = plan.apply(&detector, &empty, key.as_deref())?;
        let schema = Schema::new(treated.schema())?;
        Ok(Self { source, plan: Arc::new(plan), detector, key, schema, audit: Arc::default() })
    }

    /// What is done with each column.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What was done in all scans so far, in numbers.
    pub fn audit(&self) -> Audit {
        self.audit.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The treated rows as a data set that tells what it was made from, and by which plan, at `at`. Costs a scan of the raw
    /// rows, for their digest.
    ///
    /// # Errors
    /// The first error of that scan, [scrubbed](Detector::scrub).
    pub fn dataset(self: &Arc<Self>, at: EventTime) -> Result<Dataset> {
        Ok(Dataset::from_source(self.clone())?.with_provenance(self.provenance(at)?))
    }

    /// The [provenance of the plan](Plan::provenance) on the rows below.
    ///
    /// # Errors
    /// The first error of their scan, [scrubbed](Detector::scrub).
    pub fn provenance(&self, at: EventTime) -> Result<Provenance> {
        let raw = Dataset::from_source(self.source.clone()).and_then(|raw| self.plan.provenance(&raw, at));
        raw.map_err(|e| scrubbed(e, &self.detector))
    }

    fn request_below(&self, request: &ScanRequest) -> Result<ScanRequest> {
        let mut columns = request.columns_to_read(&self.schema)?;
        if let Some(subject) = self.plan.subject().filter(|subject| !columns.iter().any(|c| c == subject)) {
            columns.push(subject.to_owned());
        }
        let below = ScanRequest::all().columns(columns).batch_rows(request.rows_per_batch());
        Ok(match request.limit_rows().filter(|_| request.predicates().is_empty()) {
            Some(rows) => below.limit(rows),
            None => below,
        })
    }
}

impl DataSource for Guard {
    fn info(&self) -> Result<SourceInfo> {
        self.source.info().map_err(|e| scrubbed(e, &self.detector))
    }

    fn schema(&self) -> Result<Schema> {
        Ok(self.schema.clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        let below = self.request_below(request)?;
        let raw = self.source.scan(&below).map_err(|e| scrubbed(e, &self.detector))?;
        let wanted = request.columns_to_read(&self.schema)?;
        let schema = self.schema.project(&wanted)?;
        let (plan, detector, key, audit) =
            (self.plan.clone(), self.detector.clone(), self.key.clone(), self.audit.clone());
        let shape = schema.clone();
        let treated = raw.map(move |batch| {
            let batch = batch.map_err(|e| scrubbed(e, &detector))?;
            let (batch, done) = plan.apply(&detector, &batch, key.as_deref())?;
            audit.lock().unwrap_or_else(PoisonError::into_inner).merge(&done);
            let mut finder = Finder::of(batch.schema_ref().fields());
            let place = |name| finder.find(name).ok_or_else(|| Error::not_found("column", name));
            let indices = shape.names().map(place).collect::<Result<Vec<_>>>()?;
            shape.attach(&batch.project(&indices)?)
        });
        request.finish(BatchStream::new(schema, treated))
    }
}

/// The same error without the personal data that its words hold.
fn scrubbed(error: Error, detector: &Detector) -> Error {
    let clean = |text: &str| detector.scrub(text).into_owned();
    match error {
        Error::InvalidData { what, reason } => Error::InvalidData { what: clean(&what), reason: clean(&reason) },
        Error::Corrupt { what, reason } => Error::Corrupt { what: clean(&what), reason: clean(&reason) },
        Error::Invalid { setting, value, domain } => Error::Invalid { setting, value: clean(&value), domain },
        Error::Schema { column, expected, found } => {
            Error::Schema { column, expected: clean(&expected), found: clean(&found) }
        }
        Error::External { system, source } => Error::external(system, clean(&causes(source.as_ref()))),
        Error::Stage { stage, source } => Error::stage(stage, clean(&causes(source.as_ref()))),
        other => other,
    }
}

/// An error and what caused it, as one line.
fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
