//! Events from a NATS server, where there is one: `MLOPS_TEST_NATS_URL`.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream;
use mlops_core::arrow::array::{AsArray, RecordBatch};
use mlops_core::arrow::datatypes::{DataType, Field, Int64Type, Schema as ArrowSchema};
use mlops_core::{Error as Core, EventTime, Schema};
use mlops_features::Error;
use mlops_features::online::MemoryStore;
use mlops_features::stream::{NatsSource, Polled, StreamIngest, StreamSource};
use mlops_features::testkit::stream_source;
use mlops_features::window::{TimeWindow, WindowView};
use mlops_features::{Entity, KeyType};

fn server() -> Option<String> {
    let url = std::env::var("MLOPS_TEST_NATS_URL").ok();
    if url.is_none() {
        eprintln!("SKIPPED: no NATS server, MLOPS_TEST_NATS_URL is not set");
    }
    url
}

fn schema() -> Schema {
    let fields = vec![
        Field::new("customer_id", DataType::Int64, true),
        Field::new("event_timestamp", EventTime::data_type(), false),
        Field::new("order_id", DataType::Int64, true),
    ];
    Schema::new(ArrowSchema::new(fields)).unwrap()
}

/// A JetStream stream of its own, and a way to publish to it.
struct Stream {
    runtime: tokio::runtime::Runtime,
    context: jetstream::Context,
    name: String,
}

impl Stream {
    fn make(url: &str) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let name = format!("test-{:032x}", rand());
        let context = runtime.block_on(async {
            let context = jetstream::new(async_nats::connect(url).await.unwrap());
            let subjects = vec![format!("{name}.>")];
            let config = jetstream::stream::Config { name: name.clone(), subjects, ..Default::default() };
            context.create_stream(config).await.unwrap();
            context
        });
        Self { runtime, context, name }
    }

    fn publish(&self, payload: &str) {
        let subject = format!("{}.orders", self.name);
        self.runtime.block_on(async {
            self.context.publish(subject, payload.to_owned().into()).await.unwrap().await.unwrap();
        });
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        let _ = self.runtime.block_on(self.context.delete_stream(&self.name));
    }
}

/// A number that no other test has.
fn rand() -> u128 {
    use std::hash::{BuildHasher, RandomState};
    u128::from(RandomState::new().hash_one(1)) << 64 | u128::from(RandomState::new().hash_one(2))
}

#[test]
fn jetstream_is_a_stream_source() {
    let Some(url) = server() else { return };
    stream_source(|| {
        let stream = Stream::make(&url);
        let source = NatsSource::builder(url.as_str(), stream.name.as_str(), "kit", schema()).build().unwrap();
        let send = move |events: &RecordBatch| {
            for id in events.column_by_name("customer_id").unwrap().as_primitive::<Int64Type>().values() {
                stream.publish(&format!(r#"{{"customer_id": {id}, "event_timestamp": {id}, "order_id": {id}}}"#));
            }
        };
        (source, Box::new(send))
    });
}

#[test]
fn windows_count_the_events_of_a_server_once_and_tell_what_is_none() {
    let Some(url) = server() else { return };
    let stream = Stream::make(&url);
    let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build().unwrap();
    let view = WindowView::builder("orders", customer)
        .event_id("order_id")
        .lateness(Duration::from_hours(1))
        .count(TimeWindow::lifetime())
        .build()
        .unwrap();
    for payload in [
        r#"{"customer_id": 7, "event_timestamp": "2026-01-01T00:00:00Z", "order_id": 1}"#,
        r#"{"customer_id": 7, "event_timestamp": "2026-01-01T00:00:00Z", "order_id": 1, "more": [1]}"#,
        r#"{"customer_id": "0912345678", "event_timestamp": "2026-01-01T00:00:00Z", "order_id": 2}"#,
        "no JSON 0912345678",
        r#"{"customer_id": 7, "event_timestamp": "2026-01-01T00:00:01Z", "order_id": 3}"#,
    ] {
        stream.publish(payload);
    }
    let store = Arc::new(MemoryStore::new());
    let ingest = StreamIngest::builder("orders").unwrap().windows(&view, store).unwrap().build().unwrap();
    let mut source = NatsSource::builder(url.as_str(), stream.name.as_str(), "orders", schema()).build().unwrap();
    let report = ingest.run(&mut source, &mut |report| report.events + report.unreadable < 5).unwrap();
    assert_eq!((report.counted, report.duplicates, report.unreadable), (2, 1, 2), "{report:?}");
    assert!(report.reasons.iter().all(|reason| !reason.contains("0912345678")), "{:?}", report.reasons);
    // All of them are settled: another consumer of the same name gets nothing.
    drop(source);
    let mut again = NatsSource::builder(url.as_str(), stream.name.as_str(), "orders", schema()).build().unwrap();
    assert!(matches!(again.poll(10, Duration::from_millis(200)).unwrap(), Polled::Idle));
}

#[test]
fn a_missing_stream_and_a_missing_server_are_told_apart() {
    let nobody = NatsSource::builder("nats://127.0.0.1:1", "orders", "x", schema()).timeout(Duration::from_millis(300));
    assert!(matches!(nobody.build(), Err(Error::Core(Core::External { .. }))));
    let Some(url) = server() else { return };
    let missing = NatsSource::builder(url, "nothing-of-this-name", "x", schema()).build();
    assert!(matches!(missing, Err(Error::Core(Core::NotFound { .. }))), "{missing:?}");
}
