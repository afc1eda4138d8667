//! Trainers, runs, artifacts, model versions, promotion and model serving.

pub mod error;
pub mod forest;
pub mod gbdt;

pub use error::{Error, Result};
