//! Conformance kits: one public function per trait that checks its `# Contract` on fresh instances.
//!
//! Kits panic with the sentence that does not hold, so that they can be called from any test. Every `Flaky…` wrapper
//! injects failures around an implementation, for tests of compositions.

mod artifact;
mod run;
mod trainer;
mod version;

pub use artifact::{FlakyArtifacts, artifact_store};
pub use run::{FlakyRuns, run_store};
pub use trainer::trainer;
pub use version::{FlakyVersions, model_registry};

use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Result};

/// Counts calls and fails every `n`-th of them, so that the same calls always fail.
#[derive(Debug)]
struct Schedule {
    every: u64,
    calls: AtomicU64,
}

impl Schedule {
    fn new(every: u64) -> Self {
        Self { every, calls: AtomicU64::new(0) }
    }

    fn call(&self) -> Result<()> {
        let call = self.calls.fetch_add(1, Ordering::Relaxed) + 1;
        if self.every > 0 && call.is_multiple_of(self.every) {
            return Err(Error::external("flaky", format!("call {call} was made to fail")));
        }
        Ok(())
    }
}
