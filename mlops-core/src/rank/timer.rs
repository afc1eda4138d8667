//! Where the request path gets its time from.

use std::fmt::Debug;
use std::pin::Pin;
use std::time::{Duration, Instant};

/// A wait that a host's runtime ends.
pub type Sleep = Pin<Box<dyn Future<Output = ()> + Send + 'static>>;

/// Time as the request path sees it.
///
/// A host that runs tokio lends its timer like this:
/// ```ignore
/// impl Timer for TokioTimer {
///     fn now(&self) -> Duration { self.start.elapsed() }
///     fn sleep(&self, duration: Duration) -> Option<Sleep> { Some(Box::pin(tokio::time::sleep(duration))) }
/// }
/// ```
///
/// # Contract
/// * `now` never goes back, and answers without blocking.
/// * `sleep` ends no sooner than asked, and wakes whoever polls it.
pub trait Timer: Debug + Send + Sync + 'static {
    /// Time since some fixed start.
    fn now(&self) -> Duration;

    /// A wait of `duration`; `None` where there is nothing that could end one.
    fn sleep(&self, duration: Duration) -> Option<Sleep>;
}

/// The standard library's monotonic clock, which cannot sleep without blocking.
///
/// Deadlines are looked at whenever a stage wakes the request. A stage that waits and is never woken is not cut off: a
/// host whose stages wait lends a [`Timer`] that can sleep.
#[derive(Debug, Clone, Copy)]
pub struct StdTimer {
    start: Instant,
}

impl Default for StdTimer {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Timer for StdTimer {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep(&self, _duration: Duration) -> Option<Sleep> {
        None
    }
}
