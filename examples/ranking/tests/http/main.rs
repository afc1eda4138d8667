//! The service, its client and the load meter over real sockets.

mod caller;
mod ending;
mod input;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use mlops_core::arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch};
use mlops_core::arrow::datatypes::{DataType, Field, Float64Type, Int64Type};
use mlops_core::rank::{
    Budget, ContextColumns, FixedCandidates, OnError, Query, RankPipeline, RankPipelineBuilder, RequestId, Scored,
    Scorer, Slate, Weights,
};
use mlops_core::testkit::FlakyStage;
use mlops_core::{Clock, Error, EventTime, ManualClock, Name, Result, Schema};
use ranking::http::{
    Client, ClientError, Key, Load, Problem, ProblemCode, RankRequest, Running, Service, ServiceBuilder, TokioTimer,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Scores `margin · factor`, where the factor is that of the version in place, which can be swapped.
#[derive(Debug)]
struct Margin {
    name: Name,
    current: RwLock<(f64, Arc<str>)>,
}

impl Margin {
    fn new() -> Arc<Self> {
        Arc::new(Self { name: name("margin"), current: RwLock::new((1.0, "1".into())) })
    }

    fn swap(&self, factor: f64, version: &str) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = (factor, version.into());
    }
}

#[async_trait]
impl Scorer for Margin {
    fn name(&self) -> &Name {
        &self.name
    }

    fn check(&self, columns: &Schema) -> Result<()> {
        columns.field("margin").map(|_| ())
    }

    async fn score(&self, query: &Query, slate: &Slate, _budget: Budget) -> Result<Scored> {
        let customer = query.context().column(0).as_primitive::<Int64Type>().value(0);
        assert_ne!(customer, -1, "a customer who breaks the scorer");
        let margin = slate.column("margin")?.as_primitive::<Float64Type>();
        let (factor, version) = self.current.read().unwrap_or_else(PoisonError::into_inner).clone();
        Ok(Scored { scores: margin.values().iter().map(|margin| margin * factor).collect(), version })
    }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn offers() -> RecordBatch {
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values((1..=20).map(|offer| offer * 10)));
    let margin: ArrayRef = Arc::new(Float64Array::from_iter_values((1..=20).map(|offer| f64::from(offer * 7 % 20))));
    RecordBatch::try_from_iter([("offer", keys), ("margin", margin)]).unwrap()
}

fn context() -> [Field; 2] {
    [Field::new("customer", DataType::Int64, false), Field::new("cell", DataType::Utf8, true)]
}

fn stages(scorer: Arc<dyn Scorer>) -> RankPipelineBuilder {
    RankPipeline::builder("offers")
        .source(Arc::new(FixedCandidates::new("all", offers()).unwrap()), 100)
        .hydrator(Arc::new(ContextColumns::new("who", context().map(|f| f.with_nullable(true))).unwrap()))
        .scorer(scorer, 1.0)
        .timer(Arc::new(TokioTimer::default()))
}

fn service(pipeline: RankPipeline) -> ServiceBuilder {
    Service::builder(Arc::new(pipeline)).context(context())
}

fn plain() -> ServiceBuilder {
    service(stages(Margin::new()).build().unwrap())
}

async fn start(builder: ServiceBuilder) -> Running {
    builder.build().unwrap().serve().await.unwrap()
}

fn client(running: &Running) -> Client {
    Client::builder(running.addr()).build().unwrap()
}

fn request(customer: i64) -> RankRequest {
    RankRequest::new(3).context("customer", customer)
}

/// What a raw caller reads until the service hangs up: status, headers in lower case, body.
async fn raw(addr: SocketAddr, bytes: &[u8]) -> (u16, String, String) {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    read(stream).await
}

async fn read(mut stream: TcpStream) -> (u16, String, String) {
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((answer.as_str(), ""));
    let status = head.split(' ').nth(1).map_or(0, |status| status.parse().unwrap());
    (status, head.to_lowercase(), body.to_owned())
}

fn post(headers: &str, body: &str) -> Vec<u8> {
    let head = format!("POST /rank HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}");
    format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

const JSON: &str = "content-type: application/json\r\n";

#[track_caller]
fn problem(answer: &(u16, String, String), code: ProblemCode, name: Option<&str>) {
    let (status, head, body) = answer;
    let problem: Problem = serde_json::from_str(body).unwrap_or_else(|e| panic!("{e}: {head} {body}"));
    assert_eq!((problem.code, problem.name.as_deref()), (code, name), "{problem}");
    assert_eq!((*status, problem.status), (code.status().as_u16(), code.status().as_u16()));
    assert!(head.contains("content-type: application/problem+json"), "{head}");
    assert!(body.len() < 2_000, "{body}");
}

fn refused(answer: std::result::Result<impl std::fmt::Debug, ClientError>) -> Problem {
    match answer {
        Err(ClientError::Refused(problem)) => problem,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_is_answered_as_the_pipeline_would() {
    let clock = Arc::new(ManualClock::at(EventTime::from_secs(5)));
    let running = start(plain().clock(clock).id_start(9)).await;
    let client = client(&running);
    let asked = request(7).id(RequestId(77)).at(EventTime::from_secs(1)).context("cell", "Hà Nội");
    let answer = client.rank(&asked).await.unwrap();
    // Margins are 7·i mod 20: 19 for i = 17, 18 for i = 14, 17 for i = 11.
    let items: Vec<_> = answer.items.iter().map(|item| (item.key.clone(), item.score)).collect();
    assert_eq!(items, [(Key::Int(170), Some(19.0)), (Key::Int(140), Some(18.0)), (Key::Int(110), Some(17.0))]);
    assert_eq!(answer.request_id, RequestId(77));
    assert_eq!(
        answer.versions.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect::<Vec<_>>(),
        [("blend", "initial"), ("margin", "1")]
    );
    assert!(answer.degraded.is_empty() && answer.filtered.is_empty());
    // Without an id: time above, the count below.
    let unnamed = client.rank(&request(7)).await.unwrap();
    assert_eq!(unnamed.request_id, RequestId((5_000_000 << 64) + 9));
    assert_eq!(client.rank(&request(7)).await.unwrap().request_id, RequestId((5_000_000 << 64) + 10));
    let stats = running.stats();
    assert_eq!((stats.accepted, stats.open, stats.answered, stats.refused), (1, 1, 3, 0));
    drop(client);
    assert_eq!(running.shutdown().await.cut_off, 0);
}

#[derive(Debug)]
struct Seen(Name, Mutex<Vec<(RequestId, EventTime)>>);

impl mlops_core::rank::Observer for Seen {
    fn name(&self) -> &Name {
        &self.0
    }

    fn observe(&self, served: &Arc<mlops_core::rank::Served>) {
        self.1.lock().unwrap_or_else(PoisonError::into_inner).push((served.query.id(), served.query.at()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_time_of_a_request_is_its_own_or_the_clocks() {
    let seen = Arc::new(Seen(name("seen"), Mutex::new(Vec::new())));
    let clock = Arc::new(ManualClock::at(EventTime::from_secs(40)));
    let pipeline = stages(Margin::new()).observer(seen.clone()).build().unwrap();
    let running = start(service(pipeline).clock(clock.clone())).await;
    let client = client(&running);
    client.rank(&request(1).id(RequestId(1)).at(EventTime::from_secs(-3))).await.unwrap();
    client.rank(&request(1).id(RequestId(2))).await.unwrap();
    let expected = [(RequestId(1), EventTime::from_secs(-3)), (RequestId(2), clock.now())];
    assert_eq!(*seen.1.lock().unwrap(), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn weights_of_a_request_count_where_they_are_allowed() {
    let running = start(plain().allow_weights()).await;
    let client = client(&running);
    let weights = |objective| Weights::new("arm-b", [(objective, -1.0)]).unwrap();
    let answer = client.rank(&request(1).weights(weights("margin"))).await.unwrap();
    assert_eq!((answer.versions["blend"].as_str(), answer.items[0].score), ("arm-b", Some(0.0)));
    let unfit = refused(client.rank(&request(1).weights(weights("clicks"))).await);
    assert_eq!((unfit.code, unfit.name.as_deref()), (ProblemCode::BadValue, Some("weights.by_objective.clicks")));

    let closed = start(plain()).await;
    let unasked =
        refused(Client::builder(closed.addr()).build().unwrap().rank(&request(1).weights(weights("margin"))).await);
    assert_eq!((unasked.code, unasked.name.as_deref()), (ProblemCode::BadField, Some("weights")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readiness_names_the_models_and_metrics_have_their_type() {
    let there = Arc::new(AtomicU64::new(0));
    let models = there.clone();
    let builder = plain().metrics(Arc::new(|| "# EOF\n".to_owned())).models(Arc::new(move || {
        match models.load(Ordering::Relaxed) {
            0 => Err(Error::not_found("model", "margin")),
            version => Ok(vec![(name("margin"), version.to_string().into())]),
        }
    }));
    let running = start(builder).await;
    let client = client(&running);
    let early = refused(client.ready().await);
    assert_eq!((early.code, early.name.as_deref()), (ProblemCode::NotReady, Some("margin")));
    there.store(4, Ordering::Relaxed);
    assert_eq!(client.ready().await.unwrap().models["margin"], "4");
    assert_eq!(client.metrics().await.unwrap(), "# EOF\n");
    let raw = raw(running.addr(), b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    assert!(raw.1.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"), "{}", raw.1);
}

/// A scorer that waits until it is told to go on.
#[derive(Debug)]
struct Gate {
    inner: Arc<Margin>,
    waiting: AtomicU64,
    open: tokio::sync::Semaphore,
}

impl Gate {
    fn new() -> Arc<Self> {
        Arc::new(Self { inner: Margin::new(), waiting: AtomicU64::new(0), open: tokio::sync::Semaphore::new(0) })
    }

    async fn until_waiting(&self, requests: u64) {
        while self.waiting.load(Ordering::Relaxed) < requests {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

#[async_trait]
impl Scorer for Gate {
    fn name(&self) -> &Name {
        self.inner.name()
    }

    fn check(&self, columns: &Schema) -> Result<()> {
        self.inner.check(columns)
    }

    async fn score(&self, query: &Query, slate: &Slate, budget: Budget) -> Result<Scored> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let _pass = self.open.acquire().await.map_err(|e| Error::external("gate", e))?;
        self.inner.score(query, slate, budget).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stages_that_fail_are_reported_and_their_cause_stays_here() {
    let stage = |every| {
        Arc::new(
            FlakyStage::new(ContextColumns::new("who", context().map(|f| f.with_nullable(true))).unwrap())
                .fail_every(every),
        )
    };
    let build = |policy| {
        RankPipeline::builder("offers")
            .source(Arc::new(FixedCandidates::new("all", offers()).unwrap()), 100)
            .hydrator(stage(1))
            .scorer(Margin::new(), 1.0)
            .on_error("who", policy)
            .build()
            .unwrap()
    };
    let skipping = start(service(build(OnError::Skip))).await;
    let answer = client(&skipping).rank(&request(7)).await.unwrap();
    assert_eq!((answer.degraded.as_slice(), answer.items.len()), (["who".to_owned()].as_slice(), 3));

    let causes = Arc::new(Mutex::new(Vec::new()));
    let kept = causes.clone();
    let hook = move |id: RequestId, error: &Error| kept.lock().unwrap().push((id, error.to_string()));
    let failing = start(service(build(OnError::Fail)).on_failure(Arc::new(hook))).await;
    let failure = refused(client(&failing).rank(&request(7).id(RequestId(3))).await);
    assert_eq!((failure.code, failure.name.as_deref()), (ProblemCode::StageFailed, Some("who")));
    assert_eq!(failure.detail, "who: failed");
    assert_eq!(*causes.lock().unwrap(), [(RequestId(3), "who: flaky stage: call 1 fails".to_owned())]);
    assert_eq!(failing.stats().failed, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_pipelines_deadline_is_kept() {
    let gate = Gate::new();
    let strict = stages(gate.clone()).deadline(Duration::from_millis(20)).build().unwrap();
    let late = refused(client(&start(service(strict)).await).rank(&request(7)).await);
    assert_eq!((late.code, late.name.as_deref()), (ProblemCode::DeadlinePassed, Some("margin")));
    let lenient = stages(gate).deadline(Duration::from_millis(20)).on_error("margin", OnError::Prior(0.5));
    let running = start(service(lenient.build().unwrap())).await;
    let answer = client(&running).rank(&request(7)).await.unwrap();
    assert_eq!((answer.degraded.as_slice(), answer.items[0].score), (["margin".to_owned()].as_slice(), Some(0.5)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_a_stage_fails_its_request_only() {
    let running = start(plain()).await;
    let client = client(&running);
    let broken = refused(client.rank(&request(-1)).await);
    assert_eq!((broken.status, broken.code), (500, ProblemCode::Internal));
    assert_eq!(broken.detail, "the request could not be answered");
    assert_eq!(client.rank(&request(7)).await.unwrap().items.len(), 3);
    let stats = running.stats();
    assert_eq!((stats.accepted, stats.answered, stats.failed, stats.panicked), (1, 1, 1, 1));
}
