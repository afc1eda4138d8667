//! Definitions as data: checked together, planned, applied, searched, and traced from source to model.
//!
//! A team keeps its [`Definitions`] in code or in a file. [`plan`](DefinitionStoreExt::plan) compares them with what a
//! [`DefinitionStore`] holds, and [`apply`](DefinitionStoreExt::apply) brings the store there. What is served is immutable: a
//! change that somebody could notice is refused, and the new definition gets the next [version](crate::family_and_version) of
//! its name beside the old one; see [`Effect`] for what that is, exactly. A [`ServiceVersion`] proves that a training set, a
//! model and a serving plan are about the same features. Default: [`FileDefinitions`].
//!
//! ```
//! use mlops_features::definitions::{ApplyOptions, Definitions, DefinitionQuery, DefinitionStoreExt, FileDefinitions, ModelLink, Node};
//! use mlops_features::{BatchOrigin, Entity, Error, FeatureService, FeatureView, KeyType, StatusPolicy, ValueType};
//! use mlops_core::Name;
//!
//! let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
//! let clicks = |name: &str, policy| {
//!     FeatureView::builder(name, customer.clone())
//!         .feature("ctr", ValueType::Float64)
//!         .policy(policy)
//!         .batch(BatchOrigin::catalog("clicks.daily")?)
//!         .owner("growth")
//!         .build()
//! };
//! let ranker = |name: &str, feature: &str| FeatureService::builder(name).feature(feature).build();
//! let first = Definitions::builder()
//!     .with(clicks("clicks", StatusPolicy::Null)?)
//!     .with(ranker("ranker", "clicks:ctr")?)
//!     .build()?;
//!
//! let folder = tempfile::tempdir()?;
//! let store = FileDefinitions::open(folder.path())?;
//! let plan = store.plan(&first)?;
//! assert_eq!(plan.to_string(), "+ entity `customer`\n+ view `clicks`\n+ service `ranker`\n0 as it was\n");
//! store.apply(&first, plan.base, &ApplyOptions::new())?;
//!
//! // A model is trained, and says on what.
//! let features = store.service_version("ranker")?;
//! store.link(&ModelLink { features, model: Name::new("ctr_model")?, version: "7".to_owned() })?;
//!
//! // Its features do not change under it …
//! let other = Definitions::builder()
//!     .with(clicks("clicks", StatusPolicy::Stale)?)
//!     .with(ranker("ranker", "clicks:ctr")?)
//!     .build()?;
//! assert!(matches!(store.apply_now(&other), Err(Error::Breaking { .. })));
//! // … but get a new version beside it.
//! let both = Definitions::builder()
//!     .with(clicks("clicks", StatusPolicy::Null)?)
//!     .with(ranker("ranker", "clicks:ctr")?)
//!     .with(clicks("clicks.v2", StatusPolicy::Stale)?)
//!     .with(ranker("ranker.v2", "clicks.v2:ctr")?)
//!     .build()?;
//! store.apply_now(&both)?;
//!
//! let hits = both.search(&DefinitionQuery::new("ctr")?.owner("growth"));
//! assert_eq!(hits.iter().map(|hit| hit.name.as_str()).collect::<Vec<_>>(), ["clicks", "clicks.v2"]);
//! let fed = store.lineage()?.downstream(&Node::Batch(BatchOrigin::catalog("clicks.daily")?))?;
//! assert!(fed.nodes().contains(&Node::Model { model: Name::new("ctr_model")?, version: "7".to_owned() }));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod apply;
mod definition;
mod deployment;
mod diff;
mod fingerprint;
mod form;
mod lineage;
mod plan;
mod search;
mod set;
mod store;

pub use apply::{ApplyOptions, CONFLICT_TRIES_MAX, DefinitionStoreExt};
pub use definition::{Definition, Kind};
pub use deployment::{Deployment, MODELS_MAX, ModelLink};
pub use diff::{Effect, FieldChange};
pub use fingerprint::ServiceVersion;
pub(crate) use fingerprint::{AnyView, service_fingerprint};
pub use form::{DEFINITIONS_BYTES_MAX, DEFINITIONS_FORMAT};
pub use lineage::{DefinitionLineage, LineageEdge, Node};
pub use plan::{Action, Change, Plan};
pub use search::{DefinitionHit, DefinitionQuery};
pub use set::{DEFINITIONS_MAX, Definitions, DefinitionsBuilder};
#[cfg(feature = "sqlite")]
pub use store::SqliteDefinitions;
pub use store::{DefinitionStore, FileDefinitions, MemoryDefinitions};

use store::ensure_unchanged;

#[cfg(test)]
mod tests;
