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
//!
//! # Streams
//! Views say which stream feeds them, and window views whose history has their events. So what a stream does, what a request
//! is answered with and what a training set is made of follow from the definitions alone:
//!
//! ```
//! use std::sync::Arc;
//! use mlops_core::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, TimestampSecondArray};
//! use mlops_core::arrow::datatypes::Int64Type;
//! use mlops_core::{Dataset, EventTime};
//! use mlops_features::FeatureServer;
//! use mlops_features::definitions::Definitions;
//! use mlops_features::offline::{AppendOnce, AsOfOptions, OfflineStore, ParquetStore};
//! use mlops_features::online::{MemoryStore, StateStore};
//! use mlops_features::stream::channel;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let definitions = Definitions::from_json(r#"{
//!     "format": 1,
//!     "entities": [{"name": "customer", "keys": [{"name": "customer_id", "type": "int64"}]}],
//!     "views": [{
//!         "name": "order_events", "entity": "customer", "event_time": "at",
//!         "features": [{"name": "order_id", "type": "int64"}, {"name": "amount", "type": "int64"}],
//!         "stream": {"kind": "stream", "name": "orders"}
//!     }],
//!     "window_views": [{
//!         "name": "orders", "entity": "customer", "event_time": "at", "event_id": "order_id",
//!         "columns": [{"name": "amount", "type": "int64"}],
//!         "aggregates": [{"column": "amount", "op": "sum", "window": {"mode": "exact", "length_us": 3600000000}}],
//!         "stream": {"kind": "stream", "name": "orders"}, "batch": {"kind": "history", "view": "order_events"}
//!     }],
//!     "services": [{"name": "ranker", "views": [{"view": "orders"}]}]
//! }"#)?;
//! let folder = tempfile::tempdir()?;
//! let history = Arc::new(ParquetStore::open(folder.path())?);
//! let online: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
//!
//! // What comes in goes to history and into the windows of its customer, each event once.
//! let ingest = definitions.stream_ingest("orders", &online, &(history.clone() as Arc<dyn AppendOnce>))?.build()?;
//! let (sender, mut source) = channel(100);
//! let column = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as ArrayRef;
//! let at = |seconds: Vec<i64>| Arc::new(TimestampSecondArray::from(seconds)) as ArrayRef;
//! let orders = [("order_id", column(vec![1, 2])), ("amount", column(vec![30, 12]))];
//! let whose = [("customer_id", column(vec![7, 7])), ("at", at(vec![10, 20]))];
//! sender.send(RecordBatch::try_from_iter(whose.into_iter().chain(orders))?)?;
//! drop(sender);
//! ingest.run(&mut source, &mut |_| true)?;
//!
//! // A request is answered with the windows of its instant …
//! let server = FeatureServer::new(definitions.serving_plan("ranker")?, online);
//! let asked = RecordBatch::try_from_iter([("customer_id", column(vec![7]))])?;
//! let served = server.get(&asked, EventTime::from_secs(30)).await?;
//! assert_eq!(served.columns()[0].as_primitive::<Int64Type>().values(), &[42]);
//!
//! // … and a training row of that instant holds the same.
//! let offline: Arc<dyn OfflineStore> = history;
//! let spine = RecordBatch::try_from_iter([("customer_id", column(vec![7])), ("at", at(vec![30]))])?;
//! let events = definitions.window_events("ranker", &offline)?;
//! let set = server.plan().training_set_with(
//!     &*offline,
//!     &Dataset::from_batches([spine])?,
//!     &events,
//!     &AsOfOptions::new(),
//! )?;
//! assert_eq!(set.dataset.to_batch()?["amount_sum_1h"].as_primitive::<Int64Type>().values(), &[42]);
//! # Ok(())
//! # }
//! # mlops_features::testkit::block_on(example())?;
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
mod streams;
mod strict;
mod trained;

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
