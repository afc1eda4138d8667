//! tokio's clock for the request path.

use std::time::{Duration, Instant};

use mlops_core::rank::{Sleep, Timer};

/// Ends the waits of a pipeline's stages where tokio runs, so that a deadline cuts off a stage that never answers.
#[derive(Debug, Clone, Copy)]
pub struct TokioTimer {
    start: Instant,
}

impl Default for TokioTimer {
    fn default() -> Self {
        Self { start: Instant::now() }
    }
}

impl Timer for TokioTimer {
    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// # Panics
    /// When it is polled outside of a tokio runtime.
    fn sleep(&self, duration: Duration) -> Option<Sleep> {
        Some(Box::pin(tokio::time::sleep(duration)))
    }
}
