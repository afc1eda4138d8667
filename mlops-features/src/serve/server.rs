//! Answers requests from one store, by plans that can be exchanged while requests run.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use arrow::array::RecordBatch;
use mlops_core::{EventTime, Name};

use super::ServingPlan;
use super::answer::{Answer, Brought};
use super::metrics::{Metrics, ServiceMetrics, StatusCounts};
use super::plan::{CallerColumn, KeyColumns, Plan, Read, Reader};
use super::status::Part;
use super::vectors::FeatureVectors;
use crate::error::{Core, Error, Result};
use crate::key::Keys;
use crate::online::{OnlineRead, OnlineStore};
use crate::skew::VectorLogger;

/// Most values in one answer where nothing was said: 2^24, 128 MiB of numbers.
const VALUES_MAX_DEFAULT: usize = 1 << 24;

/// Answers feature vectors of services from one store, and counts what they were made of.
///
/// It holds the plans of all services that it answers for. [`swap`](Self::swap) exchanges all of them at once: a request
/// that runs ends by the plan that it began with, the next one uses the new plan, and neither waits nor looks up a definition.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use mlops_core::EventTime;
/// use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// use mlops_features::online::MemoryStore;
/// use mlops_features::{Entity, FeatureServer, FeatureService, FeatureView, KeyType, ServingPlan, Status, ValueType};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
/// let views = [FeatureView::builder("clicks", customer).feature("ctr", ValueType::Float64).build()?];
/// let service = FeatureService::builder("ranker").feature("clicks:ctr").build()?;
/// let server = FeatureServer::new(ServingPlan::compile(&service, &views)?, Arc::new(MemoryStore::new()));
///
/// let asked = RecordBatch::try_from_iter([("customer_id", Arc::new(Int64Array::from(vec![7])) as ArrayRef)])?;
/// let vectors = server.get(&asked, EventTime::from_secs(1)).await?;
/// assert_eq!(vectors.statuses(0), [Status::NotFound]);
/// # Ok(())
/// # }
/// ```
pub struct FeatureServer {
    store: Arc<dyn OnlineStore>,
    plans: ArcSwap<Plans>,
    values_max: usize,
    loggers: Vec<Arc<VectorLogger>>,
}

/// All plans, by service.
struct Plans {
    /// The service of a request that names none.
    first: Arc<Served>,
    by_name: BTreeMap<Name, Arc<Served>>,
}

/// One plan, and what was counted of it.
pub(super) struct Served {
    pub(super) plan: ServingPlan,
    pub(super) metrics: Arc<Metrics>,
}

/// One question to a [`FeatureServer`].
#[derive(Clone, Debug)]
pub struct Request<'a> {
    service: Option<&'a str>,
    reader: Option<&'a Reader>,
    entities: &'a RecordBatch,
    now: EventTime,
}

impl<'a> Request<'a> {
    /// Asks the server's first service, as the [host](Reader::host).
    ///
    /// * `entities`: at least the [key columns](ServingPlan::key_columns) and the
    ///   [columns of computed features](ServingPlan::request_columns).
    pub fn new(entities: &'a RecordBatch, now: EventTime) -> Self {
        Self { service: None, reader: None, entities, now }
    }

    /// Asks this service.
    pub fn service(mut self, name: &'a str) -> Self {
        self.service = Some(name);
        self
    }

    /// Asks in the name of `reader`, who must be cleared for every column.
    pub fn reader(mut self, reader: &'a Reader) -> Self {
        self.reader = Some(reader);
        self
    }
}

impl Plans {
    /// Those of `plans`; counters of a plan that `before` had, too, go on.
    fn new(plans: impl IntoIterator<Item = ServingPlan>, before: Option<&Self>) -> Result<Self> {
        let mut by_name = BTreeMap::new();
        let mut first = None;
        for plan in plans {
            let known = before.and_then(|before| before.by_name.get(plan.service()));
            let same = known.filter(|served| served.plan.fingerprint() == plan.fingerprint());
            let served = same.map_or_else(|| Served::new(plan.clone()), |served| served.with(plan.clone()));
            first.get_or_insert_with(|| served.clone());
            let name = served.plan.service().clone();
            if by_name.insert(name.clone(), served).is_some() {
                return Err(Core::AlreadyExists { kind: "service", name: name.to_string() }.into());
            }
        }
        let first = first.ok_or_else(|| Core::invalid("services of a server", 0, "at least one"))?;
        Ok(Self { first, by_name })
    }
}

impl Served {
    fn new(plan: ServingPlan) -> Arc<Self> {
        let metrics = Arc::new(Metrics::new(plan.plan()));
        Arc::new(Self { plan, metrics })
    }

    /// `plan`, which gives the same values, under the same counters: who may see them, what was promised and where they are
    /// read from may be other than before.
    fn with(&self, plan: ServingPlan) -> Arc<Self> {
        if !self.metrics.fits(plan.plan()) {
            return Self::new(plan);
        }
        Arc::new(Self { plan, metrics: self.metrics.clone() })
    }
}

impl FeatureServer {
    /// Serves `plan` from `store`.
    pub fn new(plan: ServingPlan, store: Arc<dyn OnlineStore>) -> Self {
        let first = Served::new(plan);
        let by_name = [(first.plan.service().clone(), first.clone())].into();
        Self {
            store,
            plans: ArcSwap::from_pointee(Plans { first, by_name }),
            values_max: VALUES_MAX_DEFAULT,
            loggers: Vec::new(),
        }
    }

    /// Serves several services from `store`; requests that name none get the first.
    ///
    /// # Errors
    /// `Core(Invalid)` when there is none, `Core(AlreadyExists)` when two have one name.
    pub fn of(plans: impl IntoIterator<Item = ServingPlan>, store: Arc<dyn OnlineStore>) -> Result<Self> {
        let plans = ArcSwap::from_pointee(Plans::new(plans, None)?);
        Ok(Self { store, plans, values_max: VALUES_MAX_DEFAULT, loggers: Vec::new() })
    }

    /// Most values, entities by columns read and computed, in one call. Default 2^24.
    pub fn values_max(mut self, values: usize) -> Self {
        self.values_max = values;
        self
    }

    /// Shows to `logger` what is answered by the plan that it was made for, save for what a hydrator asks.
    pub fn log_to(mut self, logger: Arc<VectorLogger>) -> Self {
        self.loggers.push(logger);
        self
    }

    /// Serves `plans` from now on, all at once, and nothing else. Counters of plans that give the same values as before go on.
    ///
    /// # Errors
    /// As [`of`](Self::of); what was served before is served on then.
    pub fn swap(&self, plans: impl IntoIterator<Item = ServingPlan>) -> Result<()> {
        let next = Plans::new(plans, Some(&self.plans.load()))?;
        self.plans.store(Arc::new(next));
        Ok(())
    }

    /// What it serves to a request that names no service.
    pub fn plan(&self) -> ServingPlan {
        self.plans.load().first.plan.clone()
    }

    /// The plan of a service.
    ///
    /// # Errors
    /// `Core(NotFound)` when it is not served.
    pub fn plan_of(&self, service: &str) -> Result<ServingPlan> {
        Ok(self.served(Some(service))?.plan.clone())
    }

    /// All plans, by name.
    pub fn plans(&self) -> Vec<ServingPlan> {
        self.plans.load().by_name.values().map(|served| served.plan.clone()).collect()
    }

    pub(super) fn served(&self, service: Option<&str>) -> Result<Arc<Served>> {
        let plans = self.plans.load();
        let Some(name) = service else { return Ok(plans.first.clone()) };
        // Names hash and order as text does, but only a checked one can be looked up.
        let found = Name::new(name).ok().and_then(|name| plans.by_name.get(&name).cloned());
        Ok(found.ok_or_else(|| Core::not_found("service", name.chars().take(128).collect::<String>()))?)
    }

    /// Feature vectors as of `now`, one per row of `entities`, in their order; of the first service, for the
    /// [host](Reader::host).
    ///
    /// A value older than its view's ttl has [`Status::OutsideMaxAge`](super::Status::OutsideMaxAge); an age of exactly the ttl
    /// is not too old. What is served then, and where there is no row, is for the view's
    /// [policy](crate::StatusPolicy) to say: null by default. The store holds one row per key, so one whose event time
    /// is after `now` cannot be exchanged for the one before: it is served, has a negative age, and is counted as `ahead`.
    ///
    /// A computed value is `Present`, or `NullValue` where it is null; it is made of what was known, so of nulls where
    /// there was no valid row, whatever the policy.
    ///
    /// * `entities`: at least the [key columns](ServingPlan::key_columns) and the
    ///   [columns of computed features](ServingPlan::request_columns); null keys are answered with `NotFound`.
    ///
    /// # Errors
    /// `Core(Schema)` for a missing column or one of another type, `Core(Invalid)` for too many values,
    /// `Core(Forbidden)` for a service with secret columns; [`Error::NoValidRow`](crate::Error::NoValidRow) where a view's
    /// policy is to fail; whatever [`OnlineStore::read`] says.
    pub async fn get(&self, entities: &RecordBatch, now: EventTime) -> Result<FeatureVectors> {
        let mut answers = self.answer(&[Request::new(entities, now)]).await?;
        Ok(answers.swap_remove(0))
    }

    /// Answers several requests, of one or several services, in one round trip to the store: one answer each, in order.
    ///
    /// # Errors
    /// As [`get`](Self::get), and `Core(NotFound)` for a service that is not served; all requests fail with the first that does.
    pub async fn answer(&self, requests: &[Request<'_>]) -> Result<Vec<FeatureVectors>> {
        let start = Instant::now();
        let served = requests.iter().map(|request| self.served(request.service)).collect::<Result<Vec<_>>>()?;
        let done = self.answer_all(requests, &served).await;
        let took = start.elapsed();
        for (request, served) in requests.iter().zip(&served) {
            match &done {
                Ok(_) => served.metrics.answered(request.entities.num_rows(), took),
                Err(Error::Core(Core::Forbidden { .. })) => served.metrics.forbidden(),
                Err(_) => served.metrics.failed(),
            }
        }
        done
    }

    async fn answer_all(&self, requests: &[Request<'_>], served: &[Arc<Served>]) -> Result<Vec<FeatureVectors>> {
        let host = Reader::host();
        let ask = |(request, served): (&Request<'_>, &Arc<Served>)| {
            served.plan.ensure_readable_by(request.reader.unwrap_or(&host))?;
            Asked::by_entities(served.clone(), request.entities, request.now)
        };
        let asked = requests.iter().zip(served).map(ask).collect::<Result<Vec<_>>>()?;
        let answers = self.read(&asked).await?;
        let vectors = answers.into_iter().zip(&asked).zip(requests).map(|((answer, asked), request)| {
            let vectors = answer.into_vectors(&asked.served.plan, asked.rows)?;
            for logger in self.loggers.iter().filter(|logger| logger.wants(&asked.served.plan)) {
                logger.observe(request.entities, &vectors, request.now)?;
            }
            Ok(vectors)
        });
        vectors.collect()
    }

    /// Reads and computes what is asked for, in one round trip to the store.
    pub(super) async fn read(&self, asked: &[Asked]) -> Result<Vec<Answer>> {
        asked.iter().try_for_each(|asked| asked.ensure_at_most(self.values_max))?;
        let all = || asked.iter().flat_map(|asked| asked.plan().reads.iter().map(move |read| (asked, read)));
        let reads = all().map(|(asked, read)| {
            let keys = &asked.keys[read.keys].0;
            let stored = || OnlineRead { view: read.join.view(), features: read.join.feature_indices(), keys };
            read.live.as_ref().map_or_else(stored, |states| states.read(keys))
        });
        let reads: Vec<OnlineRead<'_>> = reads.collect();
        let answers = self.store.read(&reads).await?;
        if answers.len() != reads.len() {
            let found = format!("{} answers to {} reads", answers.len(), reads.len());
            return Err(Core::schema("online store", "one answer per read", found).into());
        }
        let mut answers = answers.into_iter();
        let answer = |asked: &Asked| {
            let judge = |(read, rows): (&Read, _)| {
                let (keys, shared) = &asked.keys[read.keys];
                let rows = match &read.live {
                    Some(states) => states.answer(&rows, keys, read.join.feature_indices(), asked.now)?,
                    None => rows,
                };
                Part::judge(read, rows, keys.len(), *shared, asked.now)
            };
            let reads = &asked.plan().reads;
            let parts = reads.iter().zip(answers.by_ref()).map(judge).collect::<Result<Vec<_>>>()?;
            let answer = Answer::compute(asked.plan(), parts, &asked.brought, asked.now, asked.rows)?;
            asked.served.count(&answer);
            Ok(answer)
        };
        asked.iter().map(answer).collect()
    }

    /// Statuses so far of the first service: per stored view in the order of the plan, then per on-demand view.
    pub fn counts(&self) -> Vec<StatusCounts> {
        let served = self.plans.load().first.clone();
        served.metrics.counts(served.plan.plan())
    }

    /// What every service was asked so far, by name.
    ///
    /// # Errors
    /// None at present.
    pub fn metrics(&self) -> Result<Vec<ServiceMetrics>> {
        let plans = self.plans.load();
        plans.by_name.values().map(|served| served.metrics.snapshot(served.plan.plan())).collect()
    }
}

impl Served {
    fn count(&self, answer: &Answer) {
        let tallies = answer.parts.iter().map(|part| &part.tally).chain(answer.computed.iter().map(|step| &step.tally));
        tallies.enumerate().for_each(|(position, tally)| self.metrics.add(position, tally));
    }
}

/// A request whose columns were found and checked.
pub(super) struct Asked {
    pub(super) served: Arc<Served>,
    /// Per [`KeyColumns`](super::plan::KeyColumns) of the plan; true where one key stands for all entities.
    pub(super) keys: Vec<(Keys, bool)>,
    pub(super) brought: Vec<Brought>,
    pub(super) now: EventTime,
    pub(super) rows: usize,
}

impl Asked {
    fn by_entities(served: Arc<Served>, entities: &RecordBatch, now: EventTime) -> Result<Self> {
        let plan = served.plan.plan();
        let key = |keys: &KeyColumns| Ok((Keys::named(&keys.entity, &keys.columns, entities)?, false));
        let keys = plan.keys.iter().map(key).collect::<Result<Vec<_>>>()?;
        let bring = |column: &CallerColumn| {
            let array = entities.column_by_name(column.name.as_str()).ok_or_else(|| column.missing())?;
            Brought::new(column, array, false)
        };
        let brought = plan.columns.iter().map(bring).collect::<Result<Vec<_>>>()?;
        Ok(Self { keys, brought, now, rows: entities.num_rows(), served })
    }

    pub(super) fn plan(&self) -> &Plan {
        self.served.plan.plan()
    }

    fn ensure_at_most(&self, values_max: usize) -> Result<()> {
        let width = self.plan().width;
        if self.rows.saturating_mul(width) <= values_max {
            return Ok(());
        }
        let asked = format!("{} entities by {width} columns", self.rows);
        Err(Core::invalid("values of one request", asked, "at most what the server is set to").into())
    }
}

impl fmt::Debug for FeatureServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeatureServer")
            .field("services", &self.plans.load().by_name.keys().collect::<Vec<_>>())
            .field("store", &self.store)
            .finish_non_exhaustive()
    }
}
