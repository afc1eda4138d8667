//! Conformance kits: one public function per trait that checks its `# Contract` on fresh instances.
//!
//! Kits panic with the sentence that does not hold, so that they can be called from any test. Every `Flaky…` wrapper
//! injects failures and delays around an implementation, for tests of compositions.

mod artifact;
mod flaky;
mod run;
mod trainer;
mod version;

pub use artifact::artifact_store;
pub use flaky::{FlakyArtifacts, FlakyRuns, FlakyTrainer, FlakyVersions};
pub use mlops_core::testkit::Faults;
pub use run::run_store;
pub use trainer::trainer;
pub use version::model_registry;
