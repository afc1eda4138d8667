//! Nouns, contracts and engines of the mlops family.

pub mod catalog;
pub mod clean;
pub mod dataset;
pub mod digest;
pub mod document;
pub mod error;
pub mod expr;
pub mod file;
pub mod html;
pub mod interop;
pub mod metrics;
pub mod model;
pub mod name;
pub mod pipeline;
#[cfg(feature = "postgres")]
pub mod postgres;
pub mod privacy;
pub mod profile;
pub mod rank;
mod rowkey;
pub mod schema;
pub mod source;
pub mod spill;
#[cfg(feature = "sqlite")]
pub mod sqlite;
pub mod stats;
#[cfg(feature = "testkit")]
pub mod testkit;
pub mod time;
#[cfg(feature = "tls")]
pub mod tls;
pub mod validate;

pub use arrow;
/// Makes the async methods of ranking stages object-safe: stages are implemented under it.
pub use async_trait::async_trait;

pub use dataset::Dataset;
pub use digest::Digest;
pub use error::{Error, Result};
pub use name::Name;
pub use schema::Schema;
pub use time::{Clock, EventTime, ManualClock, SystemClock, Window};
