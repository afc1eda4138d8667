//! Feast's HTTP interface, over a socket.

mod hostile;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use mlops_core::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use mlops_core::schema::Sensitivity;
use mlops_core::{Dataset, EventTime, ManualClock};
use mlops_features::offline::{OfflineStore, ParquetStore};
use mlops_features::online::{MemoryStore, OnlineStore};
use mlops_features::server::{FeatureHttp, ListenOptions, serve};
use mlops_features::testkit::{Faults, FlakyOnlineStore};
use mlops_features::{Entity, FeatureService, FeatureView, Item, KeyType, Reader, ValueType};
use serde_json::{Value, json};
use tokio::sync::oneshot;

const NOW: i64 = 100_000_000;

/// A running server.
pub(crate) struct Running {
    runtime: tokio::runtime::Runtime,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    done: Option<tokio::task::JoinHandle<mlops_features::Result<()>>>,
    folder: tempfile::TempDir,
}

fn clicks() -> FeatureView {
    let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build().unwrap();
    FeatureView::builder("clicks", customer)
        .feature("ctr", ValueType::Float64)
        .feature("plan", ValueType::Utf8)
        .created("known_at")
        .ttl(Duration::from_secs(50))
        .build()
        .unwrap()
}

fn tastes() -> FeatureView {
    let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build().unwrap();
    FeatureView::builder("tastes", customer)
        .feature("last", ValueType::List(Item::Int64))
        .sensitive("income", ValueType::Float64, Sensitivity::Personal)
        .build()
        .unwrap()
}

fn run(store: Arc<dyn OnlineStore>, reader: Reader) -> Running {
    let folder = tempfile::tempdir().unwrap();
    let history = Arc::new(ParquetStore::open(folder.path()).unwrap());
    let service = |name: &str, feature: &str| FeatureService::builder(name).feature(feature).build().unwrap();
    let http = FeatureHttp::builder(store, Arc::new(ManualClock::at(EventTime::from_micros(NOW))))
        .views([clicks(), tastes()])
        .services([service("ranker", "clicks:ctr"), service("private", "tastes:income")])
        .history(history)
        .push_source("click_stream", "clicks")
        .reader(reader)
        .body_bytes_max(1 << 20)
        .build()
        .unwrap();
    Running::host(&http, folder)
}

impl Running {
    /// Serves `http` on a free port.
    pub(crate) fn host(http: &FeatureHttp, folder: tempfile::TempDir) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let options = ListenOptions::new().header_timeout(Duration::from_millis(400));
        let done = runtime.spawn(serve(listener, http.router(), options, async {
            let _ = stopped.await;
        }));
        Self { runtime, address, stop: Some(stop), done: Some(done), folder }
    }
}

fn start() -> Running {
    run(Arc::new(MemoryStore::new()), Reader::host())
}

impl Running {
    fn ask(&self, method: &str, path: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let head =
            format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n");
        stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let status = text.split(' ').nth(1).unwrap().parse().unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(!head.contains("chunked"));
        (status, body.to_owned())
    }

    pub(crate) fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, text) = self.ask("POST", path, &body.to_string());
        (status, if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap() })
    }

    fn features(&self, body: &Value) -> Value {
        let (status, answer) = self.post("/get-online-features", body);
        assert_eq!(status, 200, "{answer}");
        answer
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.stop.take().map(|stop| stop.send(()));
        if let Some(done) = self.done.take() {
            self.runtime.block_on(done).unwrap().unwrap();
        }
    }
}

#[test]
fn what_is_pushed_is_read_column_by_column_with_statuses_and_times() {
    let server = start();
    let rows = json!({
        "customer_id": [1, 2, 3],
        "event_timestamp": ["1970-01-01T00:01:00Z", "1970-01-01T00:01:00.5", "1970-01-01T00:00:10Z"],
        "ctr": [0.5, null, "Infinity"],
        "plan": ["é\"", "b", "c"],
    });
    let push = json!({"push_source_name": "click_stream", "df": rows, "to": "online_and_offline", "allow_registry_cache": true});
    assert_eq!(server.post("/push", &push), (200, Value::Null));
    let answer = server.features(&json!({
        "features": ["clicks:ctr", "clicks:plan"], "entities": {"customer_id": [1, 2, 3, 9]}, "full_feature_names": true,
    }));
    assert_eq!(answer["metadata"]["feature_names"], json!(["customer_id", "clicks__ctr", "clicks__plan"]));
    let never = "1970-01-01T00:00:00Z";
    let times = ["1970-01-01T00:01:00Z", "1970-01-01T00:01:00.500000Z", "1970-01-01T00:00:10Z", never];
    let expected = json!([
        {"values": [1, 2, 3, 9], "statuses": ["PRESENT", "PRESENT", "PRESENT", "PRESENT"], "event_timestamps": [never, never, never, never]},
        {"values": [0.5, null, null, null], "statuses": ["PRESENT", "NULL_VALUE", "OUTSIDE_MAX_AGE", "NOT_FOUND"], "event_timestamps": times},
        {"values": ["é\"", "b", null, null], "statuses": ["PRESENT", "PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"], "event_timestamps": times},
    ]);
    assert_eq!(answer["results"], expected);
    let by_name = server.features(&json!({"feature_service": "ranker", "entities": {"customer_id": [1]}}));
    assert_eq!(by_name["metadata"]["feature_names"], json!(["customer_id", "ctr"]));
    let full = server
        .features(&json!({"feature_service": "ranker", "entities": {"customer_id": [1]}, "full_feature_names": true}));
    assert_eq!(full["metadata"]["feature_names"], json!(["customer_id", "clicks__ctr"]));
    // History knows them too.
    let history = ParquetStore::open(server.folder.path()).unwrap();
    let rows: usize = history
        .scan(&clicks(), &mlops_features::offline::HistoryRequest::all())
        .unwrap()
        .map(|b| b.unwrap().rows.num_rows())
        .sum();
    assert_eq!(rows, 3);
}

#[test]
fn the_client_of_feast_writes_rows_with_its_own_names_of_times() {
    let server = start();
    let rows = json!({
        "customer_id": [7], "event_timestamp": ["1970-01-01T00:01:00"], "created": [null], "ctr": ["NaN"], "plan": [null],
    });
    assert_eq!(server.post("/write-to-online-store", &json!({"feature_view_name": "clicks", "df": rows})).0, 200);
    let rows =
        json!({"customer_id": [7], "event_timestamp": ["1970-01-01T00:01:00"], "last": [[3, 1]], "income": [1.0]});
    assert_eq!(server.post("/write-to-online-store", &json!({"feature_view_name": "tastes", "df": rows})).0, 200);
    let answer =
        server.features(&json!({"features": ["clicks:ctr", "tastes:last"], "entities": {"customer_id": [7, null]}}));
    assert_eq!(answer["results"][1]["values"], json!(["NaN", null]));
    assert_eq!(answer["results"][2]["values"], json!([[3, 1], null]));
    assert_eq!(answer["results"][0]["statuses"], json!(["PRESENT", "NULL_VALUE"]));
    assert_eq!(answer["results"][1]["statuses"], json!(["PRESENT", "NOT_FOUND"]));
}

#[test]
fn history_comes_online_when_it_is_asked_to() {
    let server = start();
    let history = ParquetStore::open(server.folder.path()).unwrap();
    let batch = |times: &[i64]| {
        let keys: Vec<i64> = (0..times.len() as i64).collect();
        RecordBatch::try_from_iter_with_nullable([
            ("customer_id", crate::ints(&keys), true),
            ("event_timestamp", crate::times(times), true),
            ("known_at", crate::times(times), true),
            ("ctr", Arc::new(Float64Array::from(vec![0.25; times.len()])) as ArrayRef, true),
            ("plan", Arc::new(StringArray::from(vec!["x"; times.len()])), true),
        ])
        .unwrap()
    };
    history.append(&clicks(), &Dataset::from_batches([batch(&[60_000_000, 70_000_000, 80_000_000])]).unwrap()).unwrap();
    let window =
        json!({"start_ts": "1970-01-01T00:01:00Z", "end_ts": "1970-01-01T00:01:10Z", "feature_views": ["clicks"]});
    assert_eq!(server.post("/materialize", &window).0, 200);
    let statuses = || {
        let asked = json!({"features": ["clicks:ctr"], "entities": {"customer_id": [0, 1, 2]}});
        server.features(&asked)["results"][1]["statuses"].clone()
    };
    assert_eq!(statuses(), json!(["PRESENT", "PRESENT", "NOT_FOUND"]), "both ends are included");
    assert_eq!(server.post("/materialize-incremental", &json!({"end_ts": "1970-01-02T00:00:00Z"})).0, 200);
    assert_eq!(statuses(), json!(["PRESENT", "PRESENT", "PRESENT"]));
    let (status, accepted) = server.post("/materialize?async=true", &window);
    assert_eq!((status, accepted), (202, json!({"status": "accepted", "feature_views": ["clicks"]})));
    let backwards = json!({"start_ts": "1970-01-02T00:00:00Z", "end_ts": "1970-01-01T00:00:00Z"});
    assert_eq!(server.post("/materialize", &backwards).0, 422);
}

#[test]
fn wrong_requests_are_told_why_and_never_quoted() {
    let server = start();
    let get = |features: Value, entities: Value| json!({"features": features, "entities": entities});
    let table = [
        (get(json!(["clicks:ctr"]), json!({})), 422, "customer_id"),
        (get(json!(["clicks:ctr"]), json!({"customer_id": ["0912345678"]})), 422, "row 0"),
        (get(json!(["clicks:ctr"]), json!({"customer_id": [1], "x": [1, 2]})), 422, "as long"),
        (get(json!([]), json!({"customer_id": [1]})), 422, "features"),
        (get(json!(["clicks"]), json!({"customer_id": [1]})), 422, "view:feature"),
        (get(json!(["nothing:ctr"]), json!({"customer_id": [1]})), 404, "nothing"),
        (get(json!(["clicks:nothing"]), json!({"customer_id": [1]})), 404, "nothing"),
        (json!({"feature_service": "nobody", "entities": {}}), 404, "nobody"),
        (json!({"feature_service": "ranker", "features": ["clicks:ctr"], "entities": {}}), 422, "either"),
        (json!({"features": 7}), 422, "body"),
    ];
    for (body, status, word) in table {
        let (found, text) = server.ask("POST", "/get-online-features", &body.to_string());
        assert_eq!(found, status, "{body}: {text}");
        assert!(text.contains(word) && !text.contains("0912345678"), "{body}: {text}");
    }
    // What Feast's client takes apart: JSON within a JSON text.
    let (_, text) =
        server.ask("POST", "/get-online-features", &json!({"feature_service": "nobody", "entities": {}}).to_string());
    let inner: Value = serde_json::from_str(serde_json::from_str::<Value>(&text).unwrap().as_str().unwrap()).unwrap();
    assert_eq!(
        (inner["module"].as_str(), inner["class"].as_str()),
        (Some("feast.errors"), Some("FeatureServiceNotFoundException"))
    );
    for (path, body, status) in [
        ("/push", json!({"push_source_name": "none", "df": {}}), 404),
        ("/push", json!({"push_source_name": "click_stream", "df": {"customer_id": [1]}}), 422),
        ("/push", json!({"push_source_name": "click_stream", "df": {"customer_id": [1], "ctr": []}}), 422),
        ("/write-to-online-store", json!({"feature_view_name": "none", "df": {}}), 404),
        ("/materialize", json!({"feature_views": ["none"]}), 404),
        ("/materialize", json!({"start_ts": "yesterday"}), 422),
    ] {
        assert_eq!(server.post(path, &body).0, status, "{path} {body}");
    }
    assert_eq!(server.ask("POST", "/get-online-features", "{").0, 422);
    assert_eq!(server.ask("POST", "/get-online-features", &" ".repeat(2 << 20)).0, 413);
    assert_eq!(server.ask("GET", "/get-online-features", "").0, 405);
}

#[test]
fn what_a_reader_may_not_see_is_forbidden() {
    let server = run(Arc::new(MemoryStore::new()), Reader::new("reports", Sensitivity::Internal));
    for body in [
        json!({"feature_service": "private", "entities": {"customer_id": [1]}}),
        json!({"features": ["tastes:income"], "entities": {"customer_id": [1]}}),
    ] {
        let (status, answer) = server.post("/get-online-features", &body);
        assert_eq!(status, 403, "{answer}");
    }
}

#[test]
fn a_store_that_fails_is_no_fault_of_the_caller() {
    let faults = Faults { fail_every: 1, ..Faults::default() };
    let server = run(Arc::new(FlakyOnlineStore::new(MemoryStore::new(), faults)), Reader::host());
    let (status, _) =
        server.post("/get-online-features", &json!({"feature_service": "ranker", "entities": {"customer_id": [1]}}));
    assert!((500..600).contains(&status), "{status}");
}

#[test]
fn health_and_counters_can_be_scraped() {
    let server = start();
    assert_eq!(server.ask("GET", "/health", "").0, 200);
    server.features(&json!({"feature_service": "ranker", "entities": {"customer_id": [1, 2]}}));
    server.features(&json!({"features": ["clicks:plan"], "entities": {"customer_id": [1]}}));
    let (status, text) = server.ask("GET", "/metrics", "");
    assert_eq!(status, 200);
    for line in [
        "features_requests_total{service=\"ranker\",outcome=\"answered\"} 1",
        "features_requests_total{service=\"(list)\",outcome=\"answered\"} 1",
        "features_entities_total{service=\"ranker\"} 2",
        "features_values_total{service=\"ranker\",view=\"clicks\",status=\"NOT_FOUND\"} 2",
        "features_latency_seconds_count{service=\"ranker\"} 1",
        "features_latency_seconds_bucket{service=\"ranker\",le=\"+Inf\"} 1",
    ] {
        assert!(text.lines().any(|found| found == line), "no `{line}` in\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
}

#[test]
fn a_caller_that_never_ends_its_headers_is_let_go() {
    let server = start();
    let mut slow = TcpStream::connect(server.address).unwrap();
    slow.write_all(b"POST /push HTTP/1.1\r\nhost: x\r\n").unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).unwrap();
    assert_eq!(server.ask("GET", "/health", "").0, 200);
}
