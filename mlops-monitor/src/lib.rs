//! Windows over mergeable statistics, drift, performance, fairness, alerts and retraining policy.

pub mod alert;
pub mod drift;
pub mod error;
pub mod export;
pub mod fairness;
mod format;
mod latency;
pub mod log;
pub mod performance;
pub mod report;
pub mod retrain;
#[cfg(test)]
mod samples;
pub mod steps;
#[cfg(feature = "testkit")]
pub mod testkit;
mod tumbling;
pub mod window;

pub use drift::{DriftMonitor, DriftReport};
pub use error::{Error, Result};
pub use fairness::{FairnessMonitor, FairnessReport};
pub use latency::{LATENCY_BOUNDS_US, Latency};
pub use performance::{PerformanceMonitor, PerformanceReport};
pub use retrain::{RetrainPolicy, RetrainRequest, RetrainSignals};
pub use tumbling::{WindowCounters, WindowRule, WindowRuleBuilder};
pub use window::{WindowStats, Windows};
