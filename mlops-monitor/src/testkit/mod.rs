//! Conformance kits: one public function per trait that checks its `# Contract` on fresh instances.
//!
//! Kits panic with the sentence that does not hold, so that they can be called from any test. Every `Flaky…` wrapper
//! injects failures and delays around an implementation, for tests of compositions.

mod alert;
mod flaky;

pub use alert::{ALERTS_MAX, ANSWER_MAX, alert_sink};
pub use flaky::FlakyAlerts;
