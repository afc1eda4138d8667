//! Feast's HTTP interface over our stores, as a router that a host mounts.
//!
//! | path | does |
//! |---|---|
//! | `POST /get-online-features` | feature vectors, column by column, with statuses and event times |
//! | `POST /push` | rows of a push source, to history, online or both |
//! | `POST /write-to-online-store` | rows of a view, online only |
//! | `POST /materialize` | history whose event time lies in a window, both ends included, brought online |
//! | `POST /materialize-incremental` | what arrived in history since the last time, brought online |
//! | `POST /search`, `POST /retrieve-online-documents` | the keys whose vectors are nearest to one, with their features and distances |
//! | `GET /health` | 200 |
//! | `GET /metrics` | OpenMetrics: requests, latencies, statuses per view |
//!
//! Requests and answers have the shapes of Feast 0.67, whose SDK reads and writes through its remote online store. What
//! that server answers with 500 because the request is wrong (a missing key column, a value of another type) is 422 here,
//! with a sentence in `detail`; unknown names are 404, what a reader may not see is 403, work that goes on already is 409,
//! a store that does not answer is 503, a body that does not come in time 408. Whole numbers are JSON numbers; NaN and infinities are the texts `NaN`, `Infinity`,
//! `-Infinity`; bytes are base 64; instants are RFC 3339 text (as numbers, seconds since the epoch).
//!
//! The router knows no one: put the host's own layers for authentication around it, and bind it to the loopback interface
//! or behind a proxy. [`serve`] adds the time limits that bare `axum::serve` lacks.

mod answer;
mod ask;
mod listen;
mod metrics;
mod problem;
mod search;
mod work;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, FromRequest, Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use mlops_core::{Clock, Name};
use serde::Deserialize;

pub use self::listen::{ListenOptions, serve};
use self::problem::Problem;
use crate::error::{Core, Result};
use crate::ingest::{Gate, Push};
use crate::offline::{AppendOnce, OfflineStore};
use crate::online::OnlineStore;
use crate::serve::{FeatureServer, Reader, ServingPlan};
use crate::service::FeatureService;
use crate::transform::OnDemandView;
use crate::vector::VectorStore;
use crate::view::FeatureView;
use crate::window::WindowView;

/// Longest request body where nothing was said: 16 MiB.
const BODY_BYTES_DEFAULT: usize = 16 << 20;

/// How long the body of a request may take where nothing was said.
const BODY_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);

/// Plans of requests that list features, kept for the next request of the same list.
const LISTS_MAX: usize = 256;

/// Most features of all kept plans together.
const LISTED_MAX: usize = 1 << 16;

/// Feast's HTTP interface over one set of definitions and stores.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use mlops_core::SystemClock;
/// use mlops_features::online::MemoryStore;
/// use mlops_features::server::FeatureHttp;
/// use mlops_features::{Entity, FeatureService, FeatureView, KeyType, ValueType};
///
/// let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
/// let clicks = FeatureView::builder("clicks", customer).feature("ctr", ValueType::Float64).build()?;
/// let service = FeatureService::builder("ranker").feature("clicks:ctr").build()?;
/// let http = FeatureHttp::builder(Arc::new(MemoryStore::new()), Arc::new(SystemClock))
///     .views([clicks])
///     .services([service])
///     .build()?;
/// let router: axum::Router = http.router();
/// # Ok::<(), mlops_features::Error>(())
/// ```
#[derive(Clone)]
pub struct FeatureHttp(Arc<House>);

/// Features as a request lists them, and whether names are full.
type List = (Vec<String>, bool);

struct House {
    store: Arc<dyn OnlineStore>,
    offline: Option<Arc<dyn OfflineStore>>,
    clock: Arc<dyn Clock>,
    reader: Reader,
    views: Vec<FeatureView>,
    on_demand: Vec<OnDemandView>,
    windows: Vec<WindowView>,
    /// Of all services; none where there is no service.
    services: Option<Arc<FeatureServer>>,
    lists: Mutex<BTreeMap<List, Arc<FeatureServer>>>,
    pushes: BTreeMap<String, Push>,
    vectors: Vec<Arc<VectorStore>>,
    gate: Gate,
    /// Views that are being materialized.
    busy: Mutex<BTreeSet<Name>>,
    body_bytes_max: usize,
    body_timeout: Duration,
}

/// Collects the settings of a [`FeatureHttp`].
pub struct FeatureHttpBuilder {
    house: House,
    services: Vec<FeatureService>,
    history: Option<Arc<dyn AppendOnce>>,
    push_sources: Vec<(String, String)>,
}

impl FeatureHttp {
    /// Starts an interface over `store`. `clock` says what "now" is.
    pub fn builder(store: Arc<dyn OnlineStore>, clock: Arc<dyn Clock>) -> FeatureHttpBuilder {
        let house = House {
            store,
            offline: None,
            clock,
            reader: Reader::host(),
            views: Vec::new(),
            on_demand: Vec::new(),
            windows: Vec::new(),
            services: None,
            lists: Mutex::default(),
            pushes: BTreeMap::new(),
            vectors: Vec::new(),
            gate: Gate::new(),
            busy: Mutex::default(),
            body_bytes_max: BODY_BYTES_DEFAULT,
            body_timeout: BODY_TIMEOUT_DEFAULT,
        };
        FeatureHttpBuilder { house, services: Vec::new(), history: None, push_sources: Vec::new() }
    }

    /// The routes.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/get-online-features", post(features))
            .route("/push", post(push))
            .route("/write-to-online-store", post(write))
            .route("/materialize", post(materialize))
            .route("/materialize-incremental", post(materialize_incremental))
            .route("/search", post(search))
            .route("/retrieve-online-documents", post(search))
            .route("/health", get(|| async {}))
            .route("/metrics", get(scrape))
            .layer(DefaultBodyLimit::max(self.0.body_bytes_max))
            .with_state(self.clone())
    }

    /// What answers for a service, and by which plan.
    fn service(&self, name: &str) -> Result<(Arc<FeatureServer>, ServingPlan), Problem> {
        let missing =
            || Problem::unknown("FeatureServiceNotFoundException", format!("feature service `{name}` not found"));
        let server = self.0.services.as_ref().ok_or_else(missing)?;
        let plan = server.plan_of(name).map_err(|_| missing())?;
        Ok((server.clone(), plan))
    }

    /// What answers for a list of features, compiled when it is first asked for.
    fn list(&self, features: &[String], full_names: bool) -> Result<Arc<FeatureServer>, Problem> {
        let key = (features.to_vec(), full_names);
        let lock = || self.0.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = lock().get(&key) {
            return Ok(known.clone());
        }
        let service = features.iter().fold(FeatureService::builder("features"), |all, one| all.feature(one.as_str()));
        let plan = self.0.compile(&service.full_names(full_names).build()?)?;
        let server = Arc::new(FeatureServer::new(plan, self.0.store.clone()));
        let mut lists = lock();
        let listed = lists.keys().map(|(features, _)| features.len()).sum::<usize>();
        if lists.len() >= LISTS_MAX || listed + features.len() > LISTED_MAX {
            // Whoever asks for ever new lists compiles each time; the others find theirs again soon.
            lists.clear();
        }
        lists.insert(key, server.clone());
        Ok(server)
    }
}

impl House {
    fn compile(&self, service: &FeatureService) -> Result<ServingPlan> {
        let plan = ServingPlan::compile_with(service, &self.views, &self.on_demand)?;
        let read: BTreeSet<&str> = plan.joins().iter().map(|join| join.view().name().as_str()).collect();
        let live = self.windows.iter().filter(|view| read.contains(view.name().as_str())).cloned();
        plan.live(&live.collect::<Vec<_>>())
    }

    fn view(&self, name: &str) -> Result<&FeatureView, Problem> {
        let found = self.views.iter().find(|view| view.name().as_str() == name);
        found
            .ok_or_else(|| Problem::unknown("FeatureViewNotFoundException", format!("feature view `{name}` not found")))
    }
}

impl FeatureHttpBuilder {
    /// Stored views.
    pub fn views(mut self, views: impl IntoIterator<Item = FeatureView>) -> Self {
        self.house.views.extend(views);
        self
    }

    /// Views that are computed when they are asked for.
    pub fn on_demand(mut self, views: impl IntoIterator<Item = OnDemandView>) -> Self {
        self.house.on_demand.extend(views);
        self
    }

    /// Window views that a stream keeps: read from its states at the instant of each request.
    pub fn windows(mut self, views: impl IntoIterator<Item = WindowView>) -> Self {
        self.house.windows.extend(views);
        self
    }

    /// Services that can be asked for by name.
    pub fn services(mut self, services: impl IntoIterator<Item = FeatureService>) -> Self {
        self.services.extend(services);
        self
    }

    /// Where history is kept: what pushes append to and materializations read. Default none.
    pub fn history<S: AppendOnce>(mut self, store: Arc<S>) -> Self {
        self.house.offline = Some(store.clone());
        self.history = Some(store);
        self
    }

    /// Rows pushed to the source `name` are rows of `view`.
    pub fn push_source(mut self, name: impl Into<String>, view: impl Into<String>) -> Self {
        self.push_sources.push((name.into(), view.into()));
        self
    }

    /// Vectors that can be searched. Give the interface an [`IndexedStore`](crate::vector::IndexedStore) of the same, and they
    /// follow what is written through it.
    pub fn vectors(mut self, stores: impl IntoIterator<Item = Arc<VectorStore>>) -> Self {
        self.house.vectors.extend(stores);
        self
    }

    /// What pushed and materialized rows pass on their way. Default an open gate.
    pub fn gate(mut self, gate: Gate) -> Self {
        self.house.gate = gate;
        self
    }

    /// In whose name features are read. Default [`Reader::host`].
    pub fn reader(mut self, reader: Reader) -> Self {
        self.house.reader = reader;
        self
    }

    /// Longest request body in bytes. Default 16 MiB.
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.house.body_bytes_max = bytes;
        self
    }

    /// How long the body of a request may take to come, from its headers on; 408 beyond. Default 30 s.
    pub fn body_timeout(mut self, timeout: Duration) -> Self {
        self.house.body_timeout = timeout;
        self
    }

    /// Compiles everything.
    ///
    /// # Errors
    /// As [`ServingPlan::compile_with`] and [`ServingPlan::live`]; `Core(NotFound)` for a push source of an unknown view,
    /// `Core(AlreadyExists)` when two have one name.
    pub fn build(self) -> Result<FeatureHttp> {
        let Self { mut house, services, history, push_sources } = self;
        let stored = house.windows.iter().map(|view| view.feature_view().clone());
        let missing: Vec<_> = stored.filter(|view| !house.views.iter().any(|v| v.name() == view.name())).collect();
        house.views.extend(missing);
        for (name, view) in push_sources {
            let found = house.views.iter().find(|known| known.name().as_str() == view);
            let view = found.ok_or_else(|| Core::not_found("view", view.as_str()))?.clone();
            let mut push = Push::builder(view).online(house.store.clone()).gate(house.gate.clone());
            if let Some(history) = &history {
                push = push.offline(history.clone());
            }
            if house.pushes.insert(name.clone(), push.build()?).is_some() {
                return Err(Core::AlreadyExists { kind: "push source", name }.into());
            }
        }
        if !services.is_empty() {
            let plans = services.iter().map(|service| house.compile(service)).collect::<Result<Vec<_>>>()?;
            house.services = Some(Arc::new(FeatureServer::of(plans, house.store.clone())?));
        }
        Ok(FeatureHttp(Arc::new(house)))
    }
}

/// What may stand behind the question mark.
#[derive(Debug, Default, Deserialize)]
struct Switches {
    #[serde(default, rename = "async")]
    background: bool,
}

/// A body that came in time: callers that drip would hold connections for ever.
struct Sent(Bytes);

impl FromRequest<FeatureHttp> for Sent {
    type Rejection = Response;

    async fn from_request(request: Request, http: &FeatureHttp) -> Result<Self, Response> {
        let whole = tokio::time::timeout(http.0.body_timeout, Bytes::from_request(request, http)).await;
        let late = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "the body did not come in time").into_response();
        whole.map_err(late)?.map(Self).map_err(IntoResponse::into_response)
    }
}

async fn features(State(http): State<FeatureHttp>, Sent(body): Sent) -> Result<Response, Problem> {
    let asked: ask::FeaturesRequest = problem::read(&body)?;
    let json = asked.answer(&http).await?;
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}

async fn search(State(http): State<FeatureHttp>, Sent(body): Sent) -> Result<Response, Problem> {
    let asked: search::SearchRequest = problem::read(&body)?;
    let json = asked.answer(&http).await?;
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}

async fn push(State(http): State<FeatureHttp>, Sent(body): Sent) -> Result<Response, Problem> {
    let asked: work::PushRequest = problem::read(&body)?;
    work::off_the_runtime(move || asked.run(&http)).await?;
    Ok(().into_response())
}

async fn write(State(http): State<FeatureHttp>, Sent(body): Sent) -> Result<Response, Problem> {
    let asked: work::WriteRequest = problem::read(&body)?;
    work::off_the_runtime(move || asked.run(&http)).await?;
    Ok(([(CONTENT_TYPE, "application/json")], "null").into_response())
}

async fn materialize(
    State(http): State<FeatureHttp>,
    Query(switches): Query<Switches>,
    Sent(body): Sent,
) -> Result<Response, Problem> {
    let asked: work::MaterializeRequest = problem::read(&body)?;
    let range = asked.range()?;
    work::materialize(http, asked.views(), range, switches.background).await
}

async fn materialize_incremental(
    State(http): State<FeatureHttp>,
    Query(switches): Query<Switches>,
    Sent(body): Sent,
) -> Result<Response, Problem> {
    let asked: work::IncrementalRequest = problem::read(&body)?;
    work::materialize(http, asked.views(), crate::Range::New, switches.background).await
}

async fn scrape(State(http): State<FeatureHttp>) -> Result<Response, Problem> {
    let servers = http.0.services.iter();
    let mut services = Vec::new();
    for server in servers {
        services.extend(server.metrics()?);
    }
    let lists: Vec<_> = http.0.lists.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
    let mut of_lists = Vec::new();
    for server in lists {
        of_lists.extend(server.metrics()?);
    }
    let text = metrics::text(&services, &of_lists);
    Ok(([(CONTENT_TYPE, metrics::CONTENT)], text).into_response())
}

impl fmt::Debug for FeatureHttp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let views: Vec<_> = self.0.views.iter().map(FeatureView::name).collect();
        f.debug_struct("FeatureHttp").field("views", &views).finish_non_exhaustive()
    }
}

impl fmt::Debug for FeatureHttpBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeatureHttpBuilder").finish_non_exhaustive()
    }
}
