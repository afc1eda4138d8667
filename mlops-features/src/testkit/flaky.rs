//! Stores that fail and dawdle on purpose.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use mlops_core::testkit::{Faults, Injector};
use mlops_core::{Dataset, Digest};

use crate::Result;
use crate::offline::{
    AppendOnce, Appended, AsOfOptions, HistoryRequest, HistoryStream, OfflineStore, Once, TrainingSet, Watermark,
};
use crate::online::{OnlineRead, OnlineRows, OnlineStore, RowTimes, StateStore, WriteSummary};
use crate::{FeatureView, Keys, ViewJoin};

/// An online store that fails and dawdles as told, and otherwise does what the store inside does.
#[derive(Debug)]
pub struct FlakyOnlineStore<S> {
    inner: S,
    injector: Injector,
}

impl<S: OnlineStore> FlakyOnlineStore<S> {
    /// Wraps `inner`.
    pub fn new(inner: S, faults: Faults) -> Self {
        Self { inner, injector: Injector::new(faults) }
    }

    /// The store inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.injector.calls()
    }
}

#[async_trait]
impl<S: OnlineStore> OnlineStore for FlakyOnlineStore<S> {
    async fn write(
        &self,
        view: &FeatureView,
        rows: &RecordBatch,
        checkpoint: Option<Watermark>,
    ) -> Result<WriteSummary> {
        self.injector.run_async(self.inner.write(view, rows, checkpoint)).await
    }

    async fn read(&self, reads: &[OnlineRead<'_>]) -> Result<Vec<OnlineRows>> {
        self.injector.run_async(self.inner.read(reads)).await
    }

    async fn delete(&self, view: &FeatureView, keys: &Keys) -> Result<u64> {
        self.injector.run_async(self.inner.delete(view, keys)).await
    }

    async fn watermark(&self, view: &FeatureView) -> Result<Option<Watermark>> {
        self.injector.run_async(self.inner.watermark(view)).await
    }
}

#[async_trait]
impl<S: StateStore> StateStore for FlakyOnlineStore<S> {
    async fn replace(&self, view: &FeatureView, rows: &RecordBatch, seen: &[Option<RowTimes>]) -> Result<Vec<bool>> {
        self.injector.run_async(self.inner.replace(view, rows, seen)).await
    }
}

/// An offline store that fails and dawdles as told, and otherwise does what the store inside does. Batches of a scan
/// count as calls.
#[derive(Debug)]
pub struct FlakyOfflineStore<S> {
    inner: S,
    injector: Arc<Injector>,
}

impl<S: OfflineStore> FlakyOfflineStore<S> {
    /// Wraps `inner`.
    pub fn new(inner: S, faults: Faults) -> Self {
        Self { inner, injector: Arc::new(Injector::new(faults)) }
    }

    /// The store inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.injector.calls()
    }
}

impl<S: OfflineStore> OfflineStore for FlakyOfflineStore<S> {
    fn append(&self, view: &FeatureView, rows: &Dataset) -> Result<Appended> {
        self.injector.run(|| self.inner.append(view, rows))
    }

    fn scan(&self, view: &FeatureView, request: &HistoryRequest) -> Result<HistoryStream> {
        let stream = self.injector.run(|| self.inner.scan(view, request))?;
        let injector = self.injector.clone();
        Ok(HistoryStream::new(stream.schema().clone(), stream.map(move |batch| injector.run(|| batch))))
    }

    fn as_of(&self, spine: &Dataset, joins: &[ViewJoin], options: &AsOfOptions) -> Result<TrainingSet> {
        self.injector.run(|| self.inner.as_of(spine, joins, options))
    }
}

impl<S: AppendOnce> AppendOnce for FlakyOfflineStore<S> {
    fn appended(&self, view: &FeatureView, id: &Digest) -> Result<Option<Appended>> {
        self.injector.run(|| self.inner.appended(view, id))
    }

    fn append_once(&self, view: &FeatureView, id: &Digest, rows: &Dataset) -> Result<Once> {
        self.injector.run(|| self.inner.append_once(view, id, rows))
    }
}
