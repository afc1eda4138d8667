//! Nouns, contracts and engines of the mlops family.

pub mod digest;
pub mod error;
pub mod metrics;
pub mod name;
pub mod profile;
pub mod stats;
pub mod time;

pub use arrow;

pub use digest::Digest;
pub use error::{Error, Result};
pub use name::Name;
pub use time::{Clock, EventTime, ManualClock, SystemClock, Window};
