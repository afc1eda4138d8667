//! When a wrapper fails on purpose, and how slow it is.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::Error;

/// When a flaky wrapper fails, and how slow it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// Every call whose number is a multiple of this fails, so that the same calls always fail; 0 for none. Calls are
    /// counted from 1.
    pub fail_every: u64,
    /// Whether a failing call does its work first: the answer is lost, not the deed.
    pub after_the_work: bool,
    /// How long each call takes at least.
    pub delay: Duration,
}

impl Faults {
    /// Fails every `n`-th call before it does anything.
    pub fn every(n: u64) -> Self {
        Self { fail_every: n, ..Self::default() }
    }
}

/// Counts calls and makes them fail as [`Faults`] say: what a wrapper of a trait is written with.
///
/// # Examples
/// ```
/// use mlops_core::testkit::{Faults, Injector};
///
/// let injector = Injector::new(Faults::every(2));
/// let call = || injector.run(|| Ok::<_, mlops_core::Error>(7));
/// assert_eq!(call()?, 7);
/// assert!(call().unwrap_err().to_string().contains("call 2"));
/// assert_eq!(injector.calls(), 2);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Injector {
    faults: Faults,
    calls: AtomicU64,
}

impl Injector {
    /// No call was made yet.
    pub fn new(faults: Faults) -> Self {
        Self { faults, calls: AtomicU64::new(0) }
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Makes one call, on this thread, which sleeps for the delay.
    ///
    /// # Errors
    /// Those of `work`, and [`Error::External`] of the system `flaky` when it is a call that fails.
    pub fn run<T, E: From<Error>>(&self, work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
        let fails = self.strike();
        if !self.faults.delay.is_zero() {
            std::thread::sleep(self.faults.delay);
        }
        match fails {
            None => work(),
            Some(error) if self.faults.after_the_work => work().and(Err(error.into())),
            Some(error) => Err(error.into()),
        }
    }

    /// Makes one call that may wait; the delay blocks no thread of the caller's.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_async<T, E: From<Error>>(&self, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let fails = self.strike();
        if !self.faults.delay.is_zero() {
            Sleep::new(self.faults.delay).await;
        }
        match fails {
            None => work.await,
            Some(error) if self.faults.after_the_work => work.await.and(Err(error.into())),
            Some(error) => Err(error.into()),
        }
    }

    fn strike(&self) -> Option<Error> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        let fails = self.faults.fail_every > 0 && call.is_multiple_of(self.faults.fail_every);
        fails.then(|| Error::external("flaky", format!("call {call} was made to fail")))
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
