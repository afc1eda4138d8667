//! Trainers, runs, artifacts, model versions, promotion and model serving.

pub mod artifact;
pub mod error;
pub mod flavor;
pub mod forest;
pub mod gbdt;
mod numbers;
pub mod run;
pub mod serve;
#[cfg(feature = "sqlite")]
mod sqlite;
pub mod steps;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod train;
pub mod version;

pub use error::{Error, Result};
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteStore;
