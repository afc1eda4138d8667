//! Conformance kits: one public function per trait that checks its `# Contract` on fresh instances.
//!
//! Kits panic with the sentence that does not hold, so that they can be called from any test. Every `Flaky…` wrapper
//! injects failures and delays around an implementation, for tests of compositions.

mod check;
mod cuts;
mod flaky;
mod model;
mod rank;
mod step;
mod timer;
mod transform;

pub use check::check;
pub use flaky::FlakyStage;
pub use model::model;
pub use rank::{candidate_source, filter, hydrator, observer, scorer, selector};
pub use step::{repeatable_step, step};
pub use timer::{VirtualTimer, block_on};
pub use transform::transform;
