//! Stores that fail and dawdle on purpose.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use mlops_core::Dataset;

use crate::error::{Core, Result};
use crate::offline::{Appended, AsOfOptions, HistoryRequest, HistoryStream, OfflineStore, TrainingSet, Watermark};
use crate::online::{OnlineRead, OnlineRows, OnlineStore, WriteSummary};
use crate::{FeatureView, Keys, ViewJoin};

/// When a flaky store fails, and how slow it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Every call whose number is a multiple of this fails; 0 for none. Calls are counted from 1.
    pub fail_every: u64,
    /// Whether a failing call does its work first: the answer is lost, not the deed.
    pub after_the_work: bool,
    /// How long each call takes at least.
    pub delay: Duration,
}

#[derive(Debug)]
struct Injector {
    faults: Faults,
    calls: AtomicU64,
}

impl Injector {
    fn new(faults: Faults) -> Self {
        Self { faults, calls: AtomicU64::new(0) }
    }

    /// Whether this call fails.
    fn fails(&self) -> bool {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        self.faults.fail_every > 0 && call.is_multiple_of(self.faults.fail_every)
    }

    fn error<T>() -> Result<T> {
        Err(Core::external("flaky", "injected failure").into())
    }

    async fn run<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let fails = self.fails();
        if !self.faults.delay.is_zero() {
            Sleep::new(self.faults.delay).await;
        }
        if fails && !self.faults.after_the_work {
            return Self::error();
        }
        let done = work.await;
        if fails { Self::error() } else { done }
    }

    fn run_sync<T>(&self, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let fails = self.fails();
        std::thread::sleep(self.faults.delay);
        if fails && !self.faults.after_the_work {
            return Self::error();
        }
        let done = work();
        if fails { Self::error() } else { done }
    }
}

/// A delay that any executor can wait for: a thread sleeps and wakes it.
struct Sleep(Arc<Mutex<(bool, Option<Waker>)>>);

impl Sleep {
    fn new(delay: Duration) -> Self {
        let state = Arc::new(Mutex::new((false, None::<Waker>)));
        let shared = state.clone();
        std::thread::spawn(move || {
            std::thread::sleep(delay);
            let mut state = shared.lock().unwrap_or_else(PoisonError::into_inner);
            state.0 = true;
            if let Some(waker) = state.1.take() {
                waker.wake();
            }
        });
        Self(state)
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.0 {
            return Poll::Ready(());
        }
        state.1 = Some(context.waker().clone());
        Poll::Pending
    }
}

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
        self.injector.calls.load(Ordering::Relaxed)
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
        self.injector.run(self.inner.write(view, rows, checkpoint)).await
    }

    async fn read(&self, reads: &[OnlineRead<'_>]) -> Result<Vec<OnlineRows>> {
        self.injector.run(self.inner.read(reads)).await
    }

    async fn delete(&self, view: &FeatureView, keys: &Keys) -> Result<u64> {
        self.injector.run(self.inner.delete(view, keys)).await
    }

    async fn watermark(&self, view: &FeatureView) -> Result<Option<Watermark>> {
        self.injector.run(self.inner.watermark(view)).await
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
        self.injector.calls.load(Ordering::Relaxed)
    }
}

impl<S: OfflineStore> OfflineStore for FlakyOfflineStore<S> {
    fn append(&self, view: &FeatureView, rows: &Dataset) -> Result<Appended> {
        self.injector.run_sync(|| self.inner.append(view, rows))
    }

    fn scan(&self, view: &FeatureView, request: &HistoryRequest) -> Result<HistoryStream> {
        let stream = self.injector.run_sync(|| self.inner.scan(view, request))?;
        let injector = self.injector.clone();
        Ok(HistoryStream::new(stream.schema().clone(), stream.map(move |batch| injector.run_sync(|| batch))))
    }

    fn as_of(&self, spine: &Dataset, joins: &[ViewJoin], options: &AsOfOptions) -> Result<TrainingSet> {
        self.injector.run_sync(|| self.inner.as_of(spine, joins, options))
    }
}
