//! Sinks that fail and dawdle on purpose.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mlops_core::Name;

use crate::alert::{Alert, AlertSink};
use crate::{Error, Result};

/// A sink around another: every n-th call fails with [`Error::Delivery`], after the sink inside has taken some of the
/// alerts or all of them, and calls take longer.
#[derive(Debug)]
pub struct FlakyAlerts<S> {
    inner: S,
    fail_every: u64,
    taken_first: usize,
    delay: Duration,
    calls: AtomicU64,
}

impl<S: AlertSink> FlakyAlerts<S> {
    /// `inner` as it is.
    pub fn new(inner: S) -> Self {
        Self { inner, fail_every: 0, taken_first: 0, delay: Duration::ZERO, calls: AtomicU64::new(0) }
    }

    /// Fails call number `n`, `2n`, `3n` …; 1 fails all, 0 none. Calls without alerts are not counted. Default 0.
    pub fn fail_every(mut self, n: u64) -> Self {
        self.fail_every = n;
        self
    }

    /// How many alerts of a failing call the sink inside takes first: the answer is lost then, not the deed. Default 0.
    pub fn taken_first(mut self, alerts: usize) -> Self {
        self.taken_first = alerts;
        self
    }

    /// How long each call takes at least. Default: nothing.
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// The sink inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Calls with alerts so far.
    pub fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }
}

impl<S: AlertSink> AlertSink for FlakyAlerts<S> {
    fn name(&self) -> &Name {
        self.inner.name()
    }

    fn send(&self, alerts: &[Alert]) -> Result<()> {
        if alerts.is_empty() {
            return self.inner.send(alerts);
        }
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if !self.delay.is_zero() {
            std::thread::sleep(self.delay);
        }
        if self.fail_every == 0 || !call.is_multiple_of(self.fail_every) {
            return self.inner.send(alerts);
        }
        if self.taken_first > 0 {
            self.inner.send(&alerts[..self.taken_first.min(alerts.len())])?;
        }
        Err(Error::delivery(self.name(), format!("call {call} fails")))
    }
}
