//! Feature vectors for requests: a service, compiled once, read in one round trip, with a truthful status per value.

mod answer;
mod hydrator;
mod metrics;
mod plan;
mod resolve;
mod server;
mod status;
mod training;
mod vectors;

pub use self::hydrator::FeatureServiceHydrator;
pub use self::metrics::{ServiceMetrics, StatusCounts};
pub use self::plan::{Reader, ServingPlan};
pub use self::server::{FeatureServer, Request};
pub use self::status::Status;
pub use self::vectors::FeatureVectors;
