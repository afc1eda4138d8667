//! Stages, sources, sinks and catalogs that fail and dawdle on purpose.

mod catalog;
mod data;
mod fault;

pub use catalog::FlakyCatalog;
pub use data::{FlakySink, FlakySource};

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::Field;
use async_trait::async_trait;

use crate::rank::{Budget, CandidateSource, Filter, Hydrator, Query, Scored, Scorer, Slate, Timer};
use crate::{Error, Name, Result, Schema};

/// A ranking stage around another: every n-th call fails with [`Error::External`], and calls take longer.
#[derive(Debug)]
pub struct FlakyStage<S> {
    inner: S,
    fail_every: u64,
    delay: Option<(Duration, Arc<dyn Timer>)>,
    calls: AtomicU64,
}

impl<S> FlakyStage<S> {
    /// `inner` as it is.
    pub fn new(inner: S) -> Self {
        Self { inner, fail_every: 0, delay: None, calls: AtomicU64::new(0) }
    }

    /// Fails call number `n`, `2n`, `3n` …; 1 fails all, 0 none.
    pub fn fail_every(mut self, n: u64) -> Self {
        self.fail_every = n;
        self
    }

    /// Waits for `delay` before each call, where `timer` can sleep.
    pub fn delay(mut self, delay: Duration, timer: Arc<dyn Timer>) -> Self {
        self.delay = Some((delay, timer));
        self
    }

    /// Calls so far, those that were dropped included.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    async fn trouble(&self) -> Result<()> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if let Some((delay, timer)) = &self.delay
            && let Some(sleep) = timer.sleep(*delay)
        {
            sleep.await;
        }
        match self.fail_every {
            n if n > 0 && call.is_multiple_of(n) => Err(Error::external("flaky stage", format!("call {call} fails"))),
            _ => Ok(()),
        }
    }
}

#[async_trait]
impl<S: CandidateSource> CandidateSource for FlakyStage<S> {
    fn name(&self) -> &Name {
        self.inner.name()
    }

    fn fields(&self) -> Vec<Field> {
        self.inner.fields()
    }

    async fn retrieve(&self, query: &Query, limit: usize, budget: Budget) -> Result<RecordBatch> {
        self.trouble().await?;
        self.inner.retrieve(query, limit, budget).await
    }
}

#[async_trait]
impl<S: Hydrator> Hydrator for FlakyStage<S> {
    fn name(&self) -> &Name {
        self.inner.name()
    }

    fn fields(&self) -> Vec<Field> {
        self.inner.fields()
    }

    async fn hydrate(&self, query: &Query, slate: &Slate, budget: Budget) -> Result<Vec<ArrayRef>> {
        self.trouble().await?;
        self.inner.hydrate(query, slate, budget).await
    }
}

#[async_trait]
impl<S: Filter> Filter for FlakyStage<S> {
    fn name(&self) -> &Name {
        self.inner.name()
    }

    fn check(&self, columns: &Schema) -> Result<()> {
        self.inner.check(columns)
    }

    async fn keep(&self, query: &Query, slate: &Slate, budget: Budget) -> Result<BooleanArray> {
        self.trouble().await?;
        self.inner.keep(query, slate, budget).await
    }
}

#[async_trait]
impl<S: Scorer> Scorer for FlakyStage<S> {
    fn name(&self) -> &Name {
        self.inner.name()
    }

    fn check(&self, columns: &Schema) -> Result<()> {
        self.inner.check(columns)
    }

    async fn score(&self, query: &Query, slate: &Slate, budget: Budget) -> Result<Scored> {
        self.trouble().await?;
        self.inner.score(query, slate, budget).await
    }
}
