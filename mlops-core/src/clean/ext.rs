//! Applying what was fitted: to data sets, to single requests, into sinks.

use std::sync::Arc;

use arrow::array::RecordBatch;

use super::{Changes, FittedTransform, Pass, Scope, Transform};
use crate::dataset::Provenance;
use crate::source::{BatchStream, DataSink, DataSource, ScanRequest, SourceInfo, Written};
use crate::time::EventTime;
use crate::{Dataset, Digest, Error, Name, Result, Schema};

/// Conveniences of every [`Transform`].
pub trait TransformExt: Transform {
    /// As [`Transform::fit`], shared so that it can stand behind a lazy data set.
    ///
    /// # Errors
    /// What [`Transform::fit`] says.
    fn fit_shared(&self, data: &Dataset) -> Result<Arc<dyn FittedTransform>> {
        self.fit(data).map(Into::into)
    }

    /// What was made of `data` at `at` by fitting this to it and applying it, where what was fitted is not at hand, such as
    /// [`Encode::out_of_fold`](super::Encode::out_of_fold): the operation is `fit_apply`, its parameters are the settings.
    /// Costs a scan of `data` unless its digest is known.
    ///
    /// # Errors
    /// What [`Transform::settings`] and [`Dataset::digest`] say.
    fn fit_provenance(&self, data: &Dataset, at: EventTime) -> Result<Provenance> {
        let parameters = serde_json::json!({ "settings": self.settings()? });
        Provenance::of_crate(&[data], Name::new("fit_apply")?, &parameters, at)
    }
}

impl<T: Transform + ?Sized> TransformExt for T {}

/// Conveniences of every [`FittedTransform`].
pub trait FittedTransformExt: FittedTransform {
    /// Digest of the state: two transforms with one digest give the same output.
    ///
    /// # Errors
    /// What [`FittedTransform::state`] says.
    fn digest(&self) -> Result<Digest> {
        self.state()?.digest()
    }

    /// The rows of `data`, treated again at every scan; `at` is when that was decided.
    ///
    /// It has the [`provenance`](Self::provenance) of this, which names the digest of `data` and costs a scan unless that is
    /// known.
    ///
    /// # Errors
    /// What [`FittedTransform::begin`] and [`Dataset::digest`] say; errors of a pass come out of the scans.
    fn apply(&self, data: &Dataset, at: EventTime) -> Result<Dataset>
    where
        Self: Clone + Sized,
    {
        let provenance = self.provenance(data, at)?;
        Ok(treated(data, Arc::new(self.clone()))?.with_provenance(provenance))
    }

    /// What `data`, treated at `at`, was made from and by what: for rows that were [written](Self::write_to) or that came
    /// with [a fit](super::Chain::fit_apply).
    ///
    /// The operation is the kind of the state. The parameters are the `format` of its layout, the `settings` that it was
    /// fitted with, and the digest of the whole `state`; of learned values there is no more than that digest. Costs a scan of
    /// `data` unless its digest is known.
    ///
    /// # Errors
    /// What [`FittedTransform::state`] and [`Dataset::digest`] say.
    fn provenance(&self, data: &Dataset, at: EventTime) -> Result<Provenance> {
        let state = self.state()?;
        let parameters =
            serde_json::json!({ "format": state.format, "settings": state.settings, "state": state.digest()? });
        Provenance::of_crate(&[data], Name::new(&state.kind)?, &parameters, at)
    }

    /// The rows of one request, treated. For many requests of one schema, [`FittedTransform::begin`] once per thread and
    /// [`Pass::apply`] per request save the checks.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a transform of [`Scope::Table`]: its
    /// [`row-wise part`](super::restore_rows) can be applied; and what [`Pass::apply`] says.
    fn apply_batch(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        if self.scope() == Scope::Table {
            return Err(Error::invalid("scope", "table", "row: single rows cannot be treated by this transform"));
        }
        self.begin(&Schema::new(batch.schema())?)?.apply(batch)
    }

    /// What a pass over `data` changes: one scan, the rows go nowhere.
    ///
    /// # Errors
    /// The first error of the scan or of the pass.
    fn changes_of(&self, data: &Dataset) -> Result<Changes> {
        let mut pass = self.begin(data.schema())?;
        for batch in data.batches()? {
            pass.apply(&batch?)?;
        }
        while pass.drain()?.is_some() {}
        Ok(pass.changes())
    }

    /// Writes the rows of `data`, treated, to `sink` and commits: rows and report from one scan.
    ///
    /// # Errors
    /// The first error of the scan, of the pass or of the sink; nothing is visible then.
    fn write_to(&self, data: &Dataset, sink: &dyn DataSink) -> Result<(Written, Changes)> {
        let mut pass = self.begin(data.schema())?;
        let mut writer = sink.begin(&self.output_schema(data.schema())?)?;
        for batch in data.batches()? {
            let treated = pass.apply(&batch?)?;
            if treated.num_rows() > 0 {
                writer.write(&treated)?;
            }
        }
        while let Some(batch) = pass.drain()? {
            writer.write(&batch)?;
        }
        let changes = pass.changes();
        Ok((writer.commit()?, changes))
    }
}

impl<T: FittedTransform + ?Sized> FittedTransformExt for T {}

impl<T: FittedTransform + ?Sized> FittedTransform for Arc<T> {
    fn scope(&self) -> Scope {
        (**self).scope()
    }

    fn output_schema(&self, input: &Schema) -> Result<Schema> {
        (**self).output_schema(input)
    }

    fn begin(&self, input: &Schema) -> Result<Box<dyn Pass>> {
        (**self).begin(input)
    }

    fn for_rows(&self) -> Option<Arc<dyn FittedTransform>> {
        (**self).for_rows()
    }

    fn state(&self) -> Result<super::TransformState> {
        (**self).state()
    }
}

/// `data` as `transform` leaves it, without a provenance.
pub(super) fn treated(data: &Dataset, transform: Arc<dyn FittedTransform>) -> Result<Dataset> {
    let schema = transform.output_schema(data.schema())?;
    Dataset::from_source(Arc::new(Treated { data: data.clone(), schema, transform }))
}

/// Rows that are treated whenever they are read.
#[derive(Debug)]
struct Treated {
    data: Dataset,
    schema: Schema,
    transform: Arc<dyn FittedTransform>,
}

impl DataSource for Treated {
    fn info(&self) -> Result<SourceInfo> {
        let info = self.data.info()?;
        Ok(SourceInfo { modified: info.modified, ..SourceInfo::new("cleaned", info.location) })
    }

    fn schema(&self) -> Result<Schema> {
        Ok(self.schema.clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        let stream = self.data.batches()?;
        let pass = self.transform.begin(stream.schema())?;
        let treating = Treating { stream, pass, ended: false };
        request.finish(BatchStream::new(self.schema.clone(), treating))
    }
}

/// One scan of a [`Treated`].
struct Treating {
    stream: BatchStream,
    pass: Box<dyn Pass>,
    ended: bool,
}

impl Iterator for Treating {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.ended {
            match self.stream.next() {
                Some(Ok(batch)) => return Some(self.pass.apply(&batch)),
                Some(Err(error)) => return Some(Err(error)),
                None => self.ended = true,
            }
        }
        self.pass.drain().transpose()
    }
}
