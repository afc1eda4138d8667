//! How a pipeline runs.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::RunEvent;
use crate::time::{Clock, SystemClock};
use crate::{Error, Result};

/// Most tries that a [`Retry`] allows.
pub const ATTEMPTS_MAX: u32 = 32;

/// How often a step is tried, and how long is waited in between.
///
/// Only failures that may pass are tried again: [`Error::External`], [`Error::Io`], [`Error::Busy`],
/// [`Error::Conflict`], [`Error::Deadline`], and [`Error::Stage`] around one of them or around a foreign error. The wait
/// doubles from try to try up to a bound.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retry {
    attempts: u32,
    first_wait: Duration,
    wait_max: Duration,
}

impl Retry {
    /// One try.
    pub const fn none() -> Self {
        Self { attempts: 1, first_wait: Duration::ZERO, wait_max: Duration::ZERO }
    }

    /// Up to `attempts` tries, the first wait being `first_wait` and none longer than `wait_max`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `attempts` is outside `1..=32` or `wait_max` is shorter than `first_wait`.
    pub fn new(attempts: u32, first_wait: Duration, wait_max: Duration) -> Result<Self> {
        if !(1..=ATTEMPTS_MAX).contains(&attempts) {
            return Err(Error::invalid("attempts", attempts, "in 1..=32"));
        }
        if wait_max < first_wait {
            return Err(Error::invalid("wait_max", format!("{wait_max:?}"), "at least the first wait"));
        }
        Ok(Self { attempts, first_wait, wait_max })
    }

    /// Tries at most.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// How long to wait after try number `attempt` (from 1) failed.
    pub fn wait_after(&self, attempt: u32) -> Duration {
        let doublings = attempt.saturating_sub(1).min(ATTEMPTS_MAX - 1);
        self.first_wait.saturating_mul(1_u32 << doublings).min(self.wait_max)
    }

    pub(super) fn is_worth_it(error: &Error) -> bool {
        match error {
            Error::External { .. }
            | Error::Io { .. }
            | Error::Busy { .. }
            | Error::Conflict { .. }
            | Error::Deadline { .. } => true,
            Error::Stage { source, .. } => source.downcast_ref::<Error>().is_none_or(Self::is_worth_it),
            _ => false,
        }
    }
}

pub(super) type Listener = Arc<dyn Fn(&RunEvent) + Send + Sync>;
pub(super) type Sleeper = Arc<dyn Fn(Duration) + Send + Sync>;

/// What one run is to do. The default runs everything that is not finished, once, with the system's clock.
#[derive(Clone)]
pub struct RunOptions {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) cancelled: Arc<dyn Fn() -> bool + Send + Sync>,
    pub(super) listener: Listener,
    pub(super) sleeper: Sleeper,
    pub(super) retry: Retry,
    pub(super) only_to: BTreeSet<String>,
    pub(super) refresh: BTreeSet<String>,
    pub(super) lock_wait: Duration,
}

impl Default for RunOptions {
    fn default() -> Self {
        Self {
            clock: Arc::new(SystemClock),
            cancelled: Arc::new(|| false),
            listener: Arc::new(|_| {}),
            sleeper: Arc::new(std::thread::sleep),
            retry: Retry::none(),
            only_to: BTreeSet::new(),
            refresh: BTreeSet::new(),
            lock_wait: Duration::from_secs(5),
        }
    }
}

impl RunOptions {
    /// Where "now" comes from. Default: the system's clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Asked before every step, while waiting for a retry, and by long steps: whether to stop. Default: never.
    pub fn cancelled(mut self, cancelled: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.cancelled = Arc::new(cancelled);
        self
    }

    /// Called with everything that happens, as it happens. Default: nobody listens.
    pub fn on_event(mut self, listener: impl Fn(&RunEvent) + Send + Sync + 'static) -> Self {
        self.listener = Arc::new(listener);
        self
    }

    /// How to wait, in pieces of at most a second. Default: [`std::thread::sleep`].
    pub fn sleeper(mut self, sleeper: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        self.sleeper = Arc::new(sleeper);
        self
    }

    /// How often a step is tried for which the pipeline says nothing else. Default: once.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Runs only `step` and what it depends on; call again for more steps. Default: all.
    pub fn only_to(mut self, step: impl Into<String>) -> Self {
        self.only_to.insert(step.into());
        self
    }

    /// Runs `step` even where its output is there; call again for more steps. Default: none.
    pub fn refresh(mut self, step: impl Into<String>) -> Self {
        self.refresh.insert(step.into());
        self
    }

    /// How long to wait for another run in the same directory to end. Default: 5 s.
    pub fn lock_wait(mut self, lock_wait: Duration) -> Self {
        self.lock_wait = lock_wait;
        self
    }

    /// Waits in pieces of at most a second; false when the host wants to stop.
    pub(super) fn sleep(&self, mut left: Duration) -> bool {
        while !left.is_zero() && !(self.cancelled)() {
            let piece = left.min(Duration::from_secs(1));
            (self.sleeper)(piece);
            left -= piece;
        }
        !(self.cancelled)()
    }
}

impl fmt::Debug for RunOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunOptions")
            .field("clock", &self.clock)
            .field("retry", &self.retry)
            .field("only_to", &self.only_to)
            .field("refresh", &self.refresh)
            .field("lock_wait", &self.lock_wait)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_bound() {
        let retry = Retry::new(5, Duration::from_secs(1), Duration::from_secs(3)).unwrap();
        let waits: Vec<u64> = (1..=4).map(|attempt| retry.wait_after(attempt).as_secs()).collect();
        assert_eq!(waits, [1, 2, 3, 3]);
        assert_eq!(Retry::new(32, Duration::MAX, Duration::MAX).unwrap().wait_after(u32::MAX), Duration::MAX);
    }

    #[test]
    fn senseless_retries_are_refused() {
        assert!(Retry::new(0, Duration::ZERO, Duration::ZERO).is_err());
        assert!(Retry::new(33, Duration::ZERO, Duration::ZERO).is_err());
        assert!(Retry::new(2, Duration::from_secs(2), Duration::from_secs(1)).is_err());
    }

    #[test]
    fn only_failures_that_may_pass_are_tried_again() {
        let busy = Error::Busy { what: "disk".to_owned() };
        assert!(Retry::is_worth_it(&Error::stage("inner", busy)));
        assert!(Retry::is_worth_it(&Error::stage("inner", "a foreign cause")));
        assert!(!Retry::is_worth_it(&Error::stage("inner", Error::not_found("column", "x"))));
        assert!(!Retry::is_worth_it(&Error::invalid("bins", 0, "above 0")));
    }
}
