//! Feature views, offline and online stores, point-in-time joins and feature serving.
//!
//! A [`FeatureView`] says what is known of an [`Entity`] over time. Its history is appended to an
//! [`OfflineStore`](offline::OfflineStore); [`as_of`](offline::OfflineStore::as_of) joins to each training row what was
//! known at its instant and reports what matched, expired, lay in the future or would have leaked.
//! [`materialize()`] brings the latest rows to an [`OnlineStore`](online::OnlineStore), from which a [`FeatureServer`]
//! answers requests with a status and an age per value. A [`FeatureService`] names what one model is fed with, and both
//! sides read the same definition. An [`OnDemandView`] computes features of others when they are asked for, in requests and
//! in training rows alike; [`skew::audit`] proves of what was served that the two are the same. A team keeps all of these as
//! [`definitions`]: checked together, planned, applied, and traced from source to model.
//!
//! ```
//! use std::sync::Arc;
//!
//! use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
//! use mlops_core::Dataset;
//! use mlops_features::offline::{AsOfOptions, OfflineStore, ParquetStore};
//! use mlops_features::online::{MemoryStore, OnlineStore};
//! use mlops_features::{Entity, FeatureService, FeatureView, KeyType, MaterializeOptions, ValueType, materialize};
//!
//! let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
//! let clicks = FeatureView::builder("clicks", customer).feature("ctr", ValueType::Float64).build()?;
//! let service = FeatureService::builder("ranker").feature("clicks:ctr").build()?;
//!
//! // History: customer 7 had a rate of 0.1 from second 1 on, and of 0.2 from second 5 on.
//! let folder = tempfile::tempdir()?;
//! let offline = ParquetStore::open(folder.path())?;
//! let time = |micros: Vec<i64>| Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC")) as ArrayRef;
//! let history = RecordBatch::try_from_iter([
//!     ("customer_id", Arc::new(Int64Array::from(vec![7, 7])) as ArrayRef),
//!     ("event_timestamp", time(vec![1_000_000, 5_000_000])),
//!     ("ctr", Arc::new(Float64Array::from(vec![0.1, 0.2]))),
//! ])?;
//! offline.append(&clicks, &Dataset::from_batches([history])?)?;
//!
//! // Training: what was known at second 3?
//! let spine = RecordBatch::try_from_iter([
//!     ("customer_id", Arc::new(Int64Array::from(vec![7, 8])) as ArrayRef),
//!     ("event_timestamp", time(vec![3_000_000, 3_000_000])),
//! ])?;
//! let views = [clicks.clone()];
//! let joined = offline.as_of(&Dataset::from_batches([spine])?, &service.joins(&views)?, &AsOfOptions::new())?;
//! assert_eq!(joined.reports[0].matched, 1);
//! assert_eq!(joined.reports[0].unknown_key, 1);
//!
//! // Serving: the latest row.
//! let online = Arc::new(MemoryStore::new());
//! let report = materialize(&offline, &*online, &clicks, &MaterializeOptions::default(), &mut |_| true)?;
//! assert_eq!(report.online.written, 1);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod about;
mod columns;
mod define;
pub mod definitions;
mod entity;
mod error;
mod feature;
pub mod ingest;
mod json;
mod key;
mod materialize;
pub mod offline;
pub mod online;
mod origin;
mod places;
#[cfg(feature = "polars")]
mod polars;
mod policy;
mod serve;
#[cfg(feature = "server")]
pub mod server;
mod service;
pub mod skew;
pub mod stream;
#[cfg(feature = "testkit")]
pub mod testkit;
mod transform;
pub mod vector;
mod version;
mod view;
mod wait;
pub mod window;

pub use define::{DIMENSIONS_MAX, FeatureRef, Item, KeyType, ValueType};
pub use entity::{Entity, EntityBuilder, KeyField};
pub use error::{Error, Result};
pub use feature::Feature;
pub use key::Keys;
pub use materialize::{
    MaterializeOptions, MaterializeOptionsBuilder, MaterializeReport, MaterializeStep, Materializer, Range, materialize,
};
pub use origin::{BatchOrigin, StreamOrigin};
#[cfg(feature = "polars")]
pub use polars::PolarsView;
pub use policy::StatusPolicy;
pub use serve::{
    FeatureServer, FeatureServiceHydrator, FeatureVectors, Reader, Request, ServiceMetrics, ServingPlan, Status,
    StatusCounts,
};
pub use service::{FeatureService, FeatureServiceBuilder, ViewJoin, ViewUse};
pub use transform::{Derived, DerivedFeature, DerivedView, Input, InputSource, OnDemandView, OnDemandViewBuilder};
pub use version::family_and_version;
pub use view::{FEATURES_MAX, FeatureView, FeatureViewBuilder};
