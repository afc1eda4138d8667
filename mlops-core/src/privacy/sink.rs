//! A sink that raw values never reach.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{RecordBatch, RecordBatchOptions};
use arrow::datatypes::{FieldRef, Schema as ArrowSchema, SchemaRef};

use super::{Audit, Detector, Plan, PseudonymKey};
#[cfg(doc)]
use crate::Error;
use crate::schema::Finder;
use crate::source::{DataSink, SinkWriter, Spoilt, Written};
use crate::validate::MARKS_METADATA;
use crate::{Result, Schema};

/// A [`DataSink`] that rows reach only as a plan leaves them: for what is set aside of data that is not masked yet, such as the
/// quarantine of a suite.
///
/// The marks of a quarantine ([`MARKS_COLUMN`](crate::validate::MARKS_COLUMN), told by its metadata) pass, for they name checks;
/// every other column must be one that the plan knows. Rows of a [`Guard`](super::Guard) are treated already and need none of
/// this. What a text source sets aside ([`Quarantine::to_dataset`](crate::source::Quarantine::to_dataset)) has columns of its own:
/// make a plan for those.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use mlops_core::Dataset;
/// use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
/// use mlops_core::privacy::{Detector, GuardedSink, Policy};
/// use mlops_core::source::MemorySink;
/// use mlops_core::validate::{Range, RunOptions, Suite};
///
/// let rows = RecordBatch::try_from_iter([
///     ("age", Arc::new(Int64Array::from(vec![30, 999])) as ArrayRef),
///     ("note", Arc::new(StringArray::from(vec!["không", "gọi 0912345678"]))),
/// ])?;
/// let detector = Arc::new(Detector::builder().today(2026).build()?);
/// let plan = Policy::builder().build()?.plan(&detector, &rows)?;
/// let place = MemorySink::new("quarantine");
/// let aside = GuardedSink::new(Arc::new(place.clone()), plan, detector, None)?;
///
/// let suite = Suite::new().rule("age_sane", Range::of("age").at_most(130))?;
/// suite.run_with(&Dataset::from_batches([rows])?, &RunOptions::new().quarantine(&aside))?;
/// let kept = format!("{:?}", place.dataset()?.to_batch()?);
/// assert!(kept.contains("gọi [phone]") && kept.contains("failed_checks"));
/// assert_eq!(aside.audit().treated["note"].cells, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct GuardedSink {
    sink: Arc<dyn DataSink>,
    treater: Arc<Treater>,
    audit: Arc<Mutex<Audit>>,
}

#[derive(Debug)]
struct Treater {
    plan: Plan,
    detector: Arc<Detector>,
    key: Option<Arc<PseudonymKey>>,
}

impl GuardedSink {
    /// `sink` behind `plan`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the plan needs a key and there is none.
    pub fn new(
        sink: Arc<dyn DataSink>,
        plan: Plan,
        detector: Arc<Detector>,
        key: Option<Arc<PseudonymKey>>,
    ) -> Result<Self> {
        plan.ensure_key(key.as_deref())?;
        Ok(Self { sink, treater: Arc::new(Treater { plan, detector, key }), audit: Arc::default() })
    }

    /// What was done in all writes that were committed so far, in numbers.
    pub fn audit(&self) -> Audit {
        self.audit.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Treater {
    /// `batch` as the plan leaves it, marks aside.
    fn treat(&self, batch: &RecordBatch) -> Result<(RecordBatch, Audit)> {
        let schema = batch.schema();
        let marks = |field: &FieldRef| field.metadata().contains_key(MARKS_METADATA);
        let personal: Vec<usize> = (0..schema.fields().len()).filter(|at| !marks(&schema.fields()[*at])).collect();
        let (treated, audit) = self.plan.apply(&self.detector, &batch.project(&personal)?, self.key.as_deref())?;
        let mut finder = Finder::of(treated.schema_ref().fields());
        let (mut fields, mut columns) = (Vec::new(), Vec::new());
        for (place, field) in schema.fields().iter().enumerate() {
            if marks(field) {
                fields.push(field.clone());
                columns.push(batch.column(place).clone());
            } else if let Some(place) = finder.find(field.name()) {
                fields.push(treated.schema_ref().fields()[place].clone());
                columns.push(treated.column(place).clone());
            }
        }
        let schema = Arc::new(ArrowSchema::new_with_metadata(fields, schema.metadata().clone()));
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok((RecordBatch::try_new_with_options(schema, columns, &options)?, audit))
    }
}

impl DataSink for GuardedSink {
    /// Besides what the sink says, [`Error::Schema`] for a column that the plan does not know.
    fn begin(&self, schema: &Schema) -> Result<Box<dyn SinkWriter>> {
        let (treated, _) = self.treater.treat(&RecordBatch::new_empty(schema.arrow().clone()))?;
        Ok(Box::new(Writer {
            schema: schema.arrow().clone(),
            below: self.sink.begin(&Schema::new(treated.schema())?)?,
            treater: self.treater.clone(),
            done: Audit::default(),
            audit: self.audit.clone(),
            spoilt: Spoilt::default(),
        }))
    }
}

struct Writer {
    schema: SchemaRef,
    below: Box<dyn SinkWriter>,
    treater: Arc<Treater>,
    done: Audit,
    audit: Arc<Mutex<Audit>>,
    spoilt: Spoilt,
}

impl SinkWriter for Writer {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.spoilt.writing()?;
        let batch = Schema::new(self.schema.clone())?.attach(batch)?;
        let (treated, done) = self.treater.treat(&batch)?;
        self.below.write(&treated)?;
        self.done.merge(&done);
        self.spoilt.done();
        Ok(())
    }

    fn commit(self: Box<Self>) -> Result<Written> {
        self.spoilt.ensure_whole()?;
        let written = self.below.commit()?;
        self.audit.lock().unwrap_or_else(PoisonError::into_inner).merge(&self.done);
        Ok(written)
    }
}
