//! Conformance kits: one public function per trait that checks its `# Contract` on fresh instances.
//!
//! Kits panic with the sentence that does not hold, so that they can be called from any test. Every `Flaky…` wrapper
//! injects failures and delays around an implementation, for tests of compositions.

mod catalog;
mod check;
mod cuts;
mod faults;
mod flaky;
mod model;
mod rank;
mod sink;
mod source;
mod step;
mod timer;
mod transform;

pub use catalog::catalog;
pub use check::check;
pub use faults::{Faults, Injector};
pub use flaky::{FlakyCatalog, FlakySink, FlakySource, FlakyStage};
pub use model::model;
pub use rank::{candidate_source, filter, hydrator, observer, scorer, selector};
pub use sink::{data_sink, refusing_sink};
pub use source::{data_source, missing_source, unreadable_source};
pub use step::{repeatable_step, step};
pub use timer::{VirtualTimer, block_on};
pub use transform::transform;
