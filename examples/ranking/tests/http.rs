//! The service, its client and the load meter over real sockets.

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
async fn bad_bodies_are_problems_that_name_the_thing() {
    use ProblemCode::{BadField, BadValue, BodyTooLong, MissingField, NotJson};
    let running = start(plain().body_bytes_max(16 * 1024)).await;
    let long = "x".repeat(10_000);
    let deep = format!("{{\"limit\":1,\"context\":{}{}}}", "{\"customer\":".repeat(800), "}".repeat(800));
    let cases: [(&str, ProblemCode, Option<&str>); 16] = [
        ("", NotJson, None),
        ("{\"limit\":3,\"context\":{\"customer\":", NotJson, None),
        ("{\"limit\":3,\"context\":{\"customer\":NaN}}", NotJson, None),
        ("{\"limit\":3,\"context\":{\"customer\":7}} {}", NotJson, None),
        ("[]", BadField, Some("body")),
        ("{\"limit\":\"3\",\"context\":{\"customer\":7}}", BadField, Some("limit")),
        ("{\"limit\":3,\"k\":3,\"context\":{\"customer\":7}}", BadField, Some("k")),
        ("{\"limit\":3,\"context\":{\"customer\":\"7\"}}", BadField, Some("context.customer")),
        ("{\"limit\":3,\"context\":{\"user\":7}}", BadField, Some("context.user")),
        ("{\"limit\":0,\"context\":{\"customer\":7}}", BadValue, Some("limit")),
        ("{\"limit\":1001,\"context\":{\"customer\":7}}", BadValue, Some("limit")),
        ("{\"limit\":3,\"context\":{}}", MissingField, Some("context.customer")),
        ("{\"context\":{\"customer\":7}}", MissingField, Some("limit")),
        ("{\"limit\":3,\"context\":{\"customer\":7,\"cell\":\"a\\u0000\"}}", BadValue, Some("context.cell")),
        (
            &format!("{{\"limit\":3,\"context\":{{\"customer\":7,\"cell\":\"{long}\"}}}}"),
            BadValue,
            Some("context.cell"),
        ),
        (&deep, BadField, Some("context.customer")),
    ];
    for (body, code, name) in cases {
        problem(&raw(running.addr(), &post(JSON, body)).await, code, name);
    }
    problem(&raw(running.addr(), &post(JSON, &"x".repeat(17 * 1024))).await, BodyTooLong, None);
    let chunk = format!("{:x}\r\n{}\r\n", 9 * 1024, " ".repeat(9 * 1024));
    let chunked = format!(
        "POST /rank HTTP/1.1\r\nhost: localhost\r\n{JSON}transfer-encoding: chunked\r\n\r\n{chunk}{chunk}0\r\n\r\n"
    );
    problem(&raw(running.addr(), chunked.as_bytes()).await, BodyTooLong, None);
    let stats = running.stats();
    assert_eq!((stats.answered, stats.refused, stats.failed), (0, 18, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_heads_are_problems_that_name_the_thing() {
    use ProblemCode::{BadField, ContentType, ForeignHost, ForeignOrigin, UnknownRoute, WrongMethod};
    let running = start(plain()).await;
    let addr = running.addr();
    let body = "{\"limit\":3,\"context\":{\"customer\":7}}";
    problem(&raw(addr, &post("", body)).await, ContentType, Some("content-type"));
    problem(&raw(addr, &post("content-type: text/plain\r\n", body)).await, ContentType, Some("content-type"));
    assert_eq!(raw(addr, &post("content-type: Application/JSON; charset=utf-8\r\n", body)).await.0, 200);
    let foreign = format!("{JSON}origin: https://evil.example\r\n");
    problem(&raw(addr, &post(&foreign, body)).await, ForeignOrigin, Some("origin"));
    let get = |path: &str, host: &str| format!("GET {path} HTTP/1.1\r\nconnection: close\r\n{host}\r\n").into_bytes();
    problem(&raw(addr, &get("/nothing", "host: localhost\r\n")).await, UnknownRoute, Some("/nothing"));
    problem(&raw(addr, &get("/metrics", "host: localhost\r\n")).await, UnknownRoute, Some("/metrics"));
    problem(&raw(addr, &get("/rank", "host: localhost\r\n")).await, WrongMethod, Some("/rank"));
    problem(&raw(addr, &get("/healthz", "host: evil.example\r\n")).await, ForeignHost, Some("host"));
    problem(&raw(addr, &get("/healthz", "")).await, BadField, Some("host"));
    let healthy = raw(addr, &get("/healthz", "host: [::1]:9\r\n")).await;
    assert_eq!((healthy.0, healthy.2.as_str()), (200, "{\"status\":\"alive\"}"));
    assert!(healthy.1.contains("x-content-type-options: nosniff"), "{}", healthy.1);
    // Refused before there is a request.
    assert_eq!(raw(addr, b"\x16\x03\x01\x00\x05hello\r\n\r\n").await.0, 400);
    let big = format!("host: localhost\r\nx: {}\r\n", "y".repeat(20_000));
    assert_eq!(raw(addr, &get("/healthz", &big)).await.0, 431);
    let many = "x: 1\r\n".repeat(80);
    assert_eq!(raw(addr, &get("/healthz", &format!("host: localhost\r\n{many}"))).await.0, 431);
    assert_eq!(client(&running).rank(&request(7)).await.unwrap().items.len(), 3);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dawdlers_are_cut_off() {
    let running =
        start(plain().header_timeout(Duration::from_millis(50)).body_timeout(Duration::from_millis(50))).await;
    // Nothing at all, half a head, and half a head after a whole request: the connection is closed, nobody is answered.
    assert_eq!(raw(running.addr(), b"").await.0, 0);
    assert_eq!(raw(running.addr(), b"POST /rank HTTP/1.1\r\nhost: loc").await.0, 0);
    let mut drip = TcpStream::connect(running.addr()).await.unwrap();
    let mut sent = 0;
    let head = "GET /healthz HTTP/1.1\r\nhost: localhost\r\nx: ".to_owned() + &"y".repeat(10_000);
    for byte in head.as_bytes() {
        if drip.write_all(&[*byte]).await.is_err() {
            break;
        }
        sent += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(sent < head.len(), "the service read on for {sent} bytes");
    let short = raw(
        running.addr(),
        format!("POST /rank HTTP/1.1\r\nhost: localhost\r\n{JSON}content-length: 9\r\n\r\n{{").as_bytes(),
    )
    .await;
    problem(&short, ProblemCode::BodyTimeout, None);
    assert_eq!(client(&running).rank(&request(7)).await.unwrap().items.len(), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_who_does_not_read_is_given_up() {
    let running = start(plain().write_timeout(Duration::from_millis(50))).await;
    // A small window, so that little needs to be answered until it is full.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(running.addr()).await.unwrap();
    let body = RankRequest::new(20).context("customer", 7).to_json();
    let head = format!("POST /rank HTTP/1.1\r\nhost: localhost\r\n{JSON}content-length: {}\r\n\r\n", body.len());
    let one = [head.as_bytes(), &body].concat();
    let many = one.repeat(100);
    // Answers fill the sockets, then requests do; the service hangs up and writing fails.
    loop {
        let written = tokio::time::timeout(Duration::from_secs(30), stream.write_all(&many)).await;
        if written.expect("the service gives up").is_err() {
            break;
        }
    }
    while running.stats().open > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_beyond_the_limit_are_told_so() {
    let gate = Gate::new();
    let running = start(service(stages(gate.clone()).build().unwrap()).connections_max(2)).await;
    let addr = running.addr();
    let asked: Vec<_> = (0..2)
        .map(|_| tokio::spawn(async move { Client::builder(addr).build().unwrap().rank(&request(7)).await }))
        .collect();
    gate.until_waiting(2).await;
    let full = raw(addr, &post(JSON, "{}")).await;
    problem(&full, ProblemCode::Overloaded, None);
    assert!(full.1.contains("retry-after: 1"), "{}", full.1);
    gate.open.add_permits(2);
    for answer in asked {
        assert_eq!(answer.await.unwrap().unwrap().items.len(), 3);
    }
    while running.stats().open > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(client(&running).rank(&request(7)).await.unwrap().items.len(), 3);
    let stats = running.stats();
    assert_eq!((stats.accepted, stats.turned_away), (3, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_answers_what_was_begun() {
    let gate = Gate::new();
    let running = start(service(stages(gate.clone()).build().unwrap())).await;
    let addr = running.addr();
    let asked: Vec<_> = (0..40)
        .map(|_| tokio::spawn(async move { Client::builder(addr).build().unwrap().rank(&request(7)).await }))
        .collect();
    gate.until_waiting(40).await;
    let ended = tokio::spawn(running.shutdown());
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!ended.is_finished(), "requests are under way");
    assert!(matches!(Client::builder(addr).build().unwrap().rank(&request(7)).await, Err(ClientError::Connect { .. })));
    gate.open.add_permits(40);
    for answer in asked {
        assert_eq!(answer.await.unwrap().unwrap().items.len(), 3);
    }
    assert_eq!(ended.await.unwrap().cut_off, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_under_load_loses_no_answer() {
    let pipeline = Arc::new(stages(Margin::new()).build().unwrap());
    let running = start(Service::builder(pipeline.clone()).context(context())).await;
    let client = Arc::new(client(&running));
    let callers: Vec<_> = (0..16)
        .map(|_| {
            let client = client.clone();
            tokio::spawn(async move {
                let mut answered = 0_u64;
                loop {
                    match client.rank(&request(7)).await {
                        Ok(_) => answered += 1,
                        Err(error) => return (answered, error),
                    }
                }
            })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(running.shutdown().await.cut_off, 0);
    let mut answered = 0;
    for caller in callers {
        let (count, error) = caller.await.unwrap();
        assert!(matches!(error, ClientError::Connect { .. }), "{error:?}");
        answered += count;
    }
    // Every request that reached the pipeline reached its caller.
    assert_eq!(pipeline.counters()[0].calls, answered);
    assert!(answered > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shutting_down_does_not_wait_for_ever() {
    let gate = Gate::new();
    let running =
        start(service(stages(gate.clone()).build().unwrap()).shutdown_grace(Duration::from_millis(100))).await;
    let addr = running.addr();
    let stuck = tokio::spawn(async move { Client::builder(addr).build().unwrap().rank(&request(7)).await });
    gate.until_waiting(1).await;
    assert_eq!(running.shutdown().await.cut_off, 1);
    assert!(matches!(stuck.await.unwrap(), Err(ClientError::Lost { .. })));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swap_under_load_fails_nothing_and_each_answer_has_one_version() {
    let margin = Margin::new();
    let running = start(service(stages(margin.clone()).build().unwrap())).await;
    let client = Arc::new(client(&running));
    let asked = Arc::new(AtomicU64::new(0));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let (client, asked) = (client.clone(), asked.clone());
            tokio::spawn(async move {
                let mut answers = Vec::new();
                while asked.fetch_add(1, Ordering::Relaxed) < 2_000 {
                    answers.push(client.rank(&request(7)).await);
                }
                answers
            })
        })
        .collect();
    for version in 2..=20_u32 {
        while asked.load(Ordering::Relaxed) < u64::from(version) * 95 {
            tokio::task::yield_now().await;
        }
        margin.swap(f64::from(version), &version.to_string());
    }
    let (mut count, mut versions) = (0, BTreeSet::new());
    for caller in callers {
        for answer in caller.await.unwrap() {
            let answer = answer.unwrap();
            let version: f64 = answer.versions["margin"].parse().unwrap();
            // The best margin is 19: scores and version are of one model.
            assert_eq!(answer.items[0].score, Some(19.0 * version));
            assert_eq!(answer.versions.len(), 2);
            versions.insert(answer.versions["margin"].clone());
            count += 1;
        }
    }
    assert_eq!(count, 2_000);
    assert!(versions.len() > 10, "{versions:?}");
    assert_eq!((running.stats().failed, running.stats().refused), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_replaces_connections_that_were_closed() {
    let running = start(plain().header_timeout(Duration::from_millis(30))).await;
    let client = client(&running);
    for _ in 0..3 {
        client.rank(&request(7)).await.unwrap();
        while running.stats().open > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert_eq!(running.stats().accepted, 3);
    drop(running);
    let gone = client.rank(&request(7)).await;
    assert!(matches!(gone, Err(ClientError::Connect { .. } | ClientError::Lost { .. })), "{gone:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_does_not_wait_or_read_without_end() {
    let gate = Gate::new();
    let running = start(service(stages(gate).build().unwrap())).await;
    let hasty = Client::builder(running.addr()).answer_timeout(Duration::from_millis(20)).build().unwrap();
    assert!(matches!(hasty.rank(&request(7)).await, Err(ClientError::Timeout { what: "answer", .. })));
    let plain = start(plain()).await;
    let small = Client::builder(plain.addr()).answer_bytes_max(10).build().unwrap();
    assert!(matches!(small.rank(&request(7)).await, Err(ClientError::BadAnswer { status: 200, .. })));
    assert!(Client::builder(plain.addr()).answer_timeout(Duration::ZERO).build().is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_load_meter_counts_what_it_asks() {
    let pipeline = Arc::new(stages(Margin::new()).build().unwrap());
    let running = start(Service::builder(pipeline.clone()).context(context())).await;
    let load = Load::builder().connections(4).warm_up(Duration::ZERO).requests(500);
    let report = load.build().unwrap().run(running.addr(), &[request(1), request(2)]).await.unwrap();
    assert_eq!((report.connections, report.requests, report.failed()), (4, 500, 0));
    assert_eq!(pipeline.counters()[0].calls, 500);
    let order = [report.p50_us, report.p90_us, report.p99_us, report.max_us];
    assert!(order.is_sorted() && order[0] > 0.0, "{order:?}");
    assert!(report.requests_per_s > 0.0);
    let bad = Load::builder().warm_up(Duration::ZERO).requests(5).build().unwrap();
    let bad = bad.run(running.addr(), &[RankRequest::new(0)]).await.unwrap();
    assert_eq!((bad.requests, bad.failures.clone()), (5, [("422".to_owned(), 5)].into()));
    running.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn load_is_for_loopback_only() {
    let load = Load::builder().requests(1).build().unwrap();
    let refused = load.run("192.0.2.1:80".parse().unwrap(), &[request(1)]).await;
    assert!(matches!(refused, Err(Error::Invalid { setting: "addr", .. })));
    let nothing = load.run("127.0.0.1:1".parse().unwrap(), &[]).await;
    assert!(matches!(nothing, Err(Error::Invalid { setting: "requests", .. })));
    // Port 1 of loopback: nobody listens there.
    let nobody = Load::builder().requests(2).warm_up(Duration::ZERO).build().unwrap();
    let nobody = nobody.run("127.0.0.1:1".parse().unwrap(), &[request(1)]).await.unwrap();
    assert_eq!(nobody.failures, [("connect".to_owned(), 2)].into());
    assert!(Load::builder().connections(0).build().is_err());
    assert!(Load::builder().duration(Duration::ZERO).build().is_err());
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    let refused = |builder: ServiceBuilder, setting: &str| match builder.build() {
        Err(Error::Invalid { setting: found, .. }) => assert_eq!(found, setting),
        other => panic!("{setting}: {other:?}"),
    };
    refused(plain().bind("0.0.0.0:0".parse().unwrap()), "bind");
    assert!(plain().bind("0.0.0.0:0".parse().unwrap()).allow_unauthenticated().build().is_ok());
    refused(plain().host("http://evil.example"), "host");
    refused(plain().connections_max(0), "connections_max");
    refused(plain().body_bytes_max(0), "body_bytes_max");
    refused(plain().limit_max(0), "limit_max");
    refused(plain().header_timeout(Duration::ZERO), "header_timeout");
    let dates = plain().context([Field::new("born", DataType::Date32, true)]);
    assert!(matches!(dates.build(), Err(Error::Schema { column, .. }) if column == "born"));
}
