//! The ranking pipeline behind HTTP, a client that replays requests against it, and a load meter.
//!
//! A [`Service`] turns `POST /rank` into a [`Query`](mlops_core::rank::Query) and answers with what the pipeline served;
//! `/healthz`, `/readyz` and `/metrics` stand beside it. It listens on loopback, cuts off who dawdles, and finishes what
//! it has begun when it is shut down. A [`Client`] keeps connections alive; [`Load`] measures many of them at once.
//!
//! A pipeline whose stages wait is given the [`TokioTimer`], so that its deadline is kept. One whose stages only compute
//! needs none: such a request is answered in one poll, on the worker that read it.
//!
//! # Examples
//! ```
//! use std::sync::Arc;
//!
//! use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
//! use mlops_core::arrow::datatypes::{DataType, Field};
//! use mlops_core::rank::{Budget, FixedCandidates, Query, RankPipeline, Scored, Scorer, Slate};
//! use mlops_core::{Name, Result, Schema};
//! use ranking::http::{Client, Key, RankRequest, Service};
//!
//! #[derive(Debug)]
//! struct Margin(Name);
//!
//! #[async_trait::async_trait]
//! impl Scorer for Margin {
//!     fn name(&self) -> &Name {
//!         &self.0
//!     }
//!     fn check(&self, columns: &Schema) -> Result<()> {
//!         columns.field("margin").map(|_| ())
//!     }
//!     async fn score(&self, _query: &Query, slate: &Slate, _budget: Budget) -> Result<Scored> {
//!         use mlops_core::arrow::array::AsArray;
//!         use mlops_core::arrow::datatypes::Float64Type;
//!         let margin = slate.column("margin")?.as_primitive::<Float64Type>();
//!         Ok(Scored { scores: margin.values().to_vec(), version: "1".into() })
//!     }
//! }
//!
//! # fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
//! let offers = RecordBatch::try_from_iter([
//!     ("offer", Arc::new(Int64Array::from(vec![10, 20])) as ArrayRef),
//!     ("margin", Arc::new(Float64Array::from(vec![1.0, 9.0])) as ArrayRef),
//! ])?;
//! let pipeline = RankPipeline::builder("offers")
//!     .source(Arc::new(FixedCandidates::new("all", offers)?), 100)
//!     .scorer(Arc::new(Margin(Name::new("margin")?)), 1.0)
//!     .build()?;
//!
//! # let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
//! # runtime.block_on(async {
//! let service = Service::builder(Arc::new(pipeline))
//!     .context([Field::new("customer", DataType::Int64, false)])
//!     .build()?;
//! let running = service.serve().await?;
//! let client = Client::builder(running.addr()).build()?;
//! let answer = client.rank(&RankRequest::new(1).context("customer", 7)).await?;
//! assert_eq!(answer.items[0].key, Key::Int(20));
//! assert_eq!(answer.versions["margin"], "1");
//! assert_eq!(running.shutdown().await.cut_off, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! # })
//! # }
//! ```

mod client;
mod load;
mod problem;
mod service;
mod timer;
mod wire;

pub use client::{Client, ClientBuilder, ClientError, Ready};
pub use load::{Load, LoadBuilder, LoadReport};
pub use problem::{Problem, ProblemCode};
pub use service::{FailureHook, MetricsText, ModelInfo, Running, Service, ServiceBuilder, ServiceStats, ShutDown};
pub use timer::TokioTimer;
pub use wire::{Item, Key, RankAnswer, RankRequest};
