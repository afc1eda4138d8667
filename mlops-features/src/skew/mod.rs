//! Whether requests were answered what training rows of the same instants hold: the audit of online/offline skew.
//!
//! A [`VectorLogger`] keeps a sample of what was served, as known and without what is too sensitive, in a [`VectorLog`].
//! [`audit`] puts the logged keys and instants through the offline join of the same [`ServingPlan`](crate::ServingPlan) and
//! compares every value bit for bit. What differs is either explained by the order in which things became known, or it is
//! skew: two paths that compute different things.

mod audit;
mod compare;
mod log;
mod logger;
mod parquet;
mod report;

pub use self::audit::{AuditOptions, audit, audit_with};
pub use self::log::VectorLog;
pub use self::logger::{VectorLogger, VectorLoggerBuilder};
pub use self::parquet::ParquetVectorLog;
pub use self::report::{FeatureSkew, SkewExample, SkewReport};
