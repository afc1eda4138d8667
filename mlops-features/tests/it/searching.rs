//! Feast's search over HTTP.

use std::sync::Arc;

use mlops_core::schema::Sensitivity;
use mlops_core::{EventTime, ManualClock};
use mlops_features::online::MemoryStore;
use mlops_features::server::FeatureHttp;
use mlops_features::vector::{ExactIndex, IndexedStore, Metric, VectorStore};
use mlops_features::{Entity, FeatureView, KeyType, Reader, ValueType};
use serde_json::json;

use crate::http::Running;

fn documents() -> FeatureView {
    let document = Entity::builder("document").key("document_id", KeyType::Int64).build().unwrap();
    FeatureView::builder("documents", document)
        .sensitive("embedding", ValueType::Vector(2), Sensitivity::Personal)
        .feature("title", ValueType::Utf8)
        .build()
        .unwrap()
}

/// Two documents, and a view without vectors.
fn start(reader: Reader) -> Running {
    let index = Arc::new(ExactIndex::new(Metric::L2, 2).unwrap());
    let vectors = Arc::new(VectorStore::new(documents(), "embedding", index).unwrap());
    let store = Arc::new(IndexedStore::new(Arc::new(MemoryStore::new()), [vectors.clone()]));
    let http = FeatureHttp::builder(store, Arc::new(ManualClock::at(EventTime::from_secs(9))))
        .views([documents(), crate::builder("plain", "plain_id").build().unwrap()])
        .vectors([vectors])
        .reader(reader)
        .build()
        .unwrap();
    let running = Running::host(&http, tempfile::tempdir().unwrap());
    let written = json!({ "feature_view_name": "documents", "df": {
        "document_id": [1, 2], "event_timestamp": [1, 2], "embedding": [[0.0, 0.0], [3.0, 4.0]], "title": ["near", null],
    }});
    assert_eq!(running.post("/write-to-online-store", &written).0, 200);
    running
}

#[test]
fn what_is_written_is_found_with_features_and_distances() {
    let running = start(Reader::host());
    // The body is that of feast 0.67's remote online store.
    let body = json!({
        "features": ["documents:embedding", "documents:title"], "query": [0.0, 1.0], "top_k": 5, "distance_metric": "L2",
        "query_string": null, "api_version": 2,
    });
    for path in ["/search", "/retrieve-online-documents"] {
        let (status, answer) = running.post(path, &body);
        assert_eq!(status, 200, "{answer}");
        assert_eq!(answer["metadata"]["feature_names"], json!(["document_id", "embedding", "title", "distance"]));
        let column = |at: usize| &answer["results"][at]["values"];
        assert_eq!(column(0), &json!([1, 2]));
        assert_eq!(column(1), &json!([[0.0, 0.0], [3.0, 4.0]]));
        assert_eq!(column(2), &json!(["near", null]));
        assert_eq!(column(3)[0], json!(1.0));
        assert_eq!(answer["results"][3]["statuses"], json!(["PRESENT", "PRESENT"]));
        assert_eq!(answer["results"][2]["statuses"], json!(["PRESENT", "NULL_VALUE"]));
        assert_eq!(answer["results"][2]["event_timestamps"][0], json!("1970-01-01T00:00:01Z"));
    }
}

#[test]
fn wrong_searches_are_told_what_is_wrong() {
    let running = start(Reader::host());
    let good = json!({ "features": ["documents:title"], "query": [0.0, 1.0], "top_k": 1 });
    let with = |name: &str, value: serde_json::Value| {
        let mut body = good.clone();
        body[name] = value;
        let (status, answer) = running.post("/search", &body);
        (status, answer.to_string())
    };
    assert_eq!(running.post("/search", &good).0, 200);
    for (name, value, status, told) in [
        ("top_k", json!(null), 422, "`top_k` must be given"),
        ("top_k", json!(0), 422, "k = 0 is not 1 to 16384"),
        ("top_k", json!(1_000_000_000), 422, "k = 1000000000"),
        ("query", json!(null), 422, "`query` must be given"),
        ("query", json!([]), 422, "vectors of 2 numbers, the query 0"),
        ("query", json!([1.0, 2.0, 3.0]), 422, "the query 3"),
        ("query", json!(["a", "b"]), 422, "embedding"),
        ("query", json!([null, 1.0]), 422, "embedding"),
        ("query", json!(["NaN", 1.0]), 422, "NaN"),
        ("query", json!("text"), 422, "`query` must be given"),
        ("features", json!([]), 422, "`features` must be given"),
        ("features", json!(["documents:title", "plain:plain"]), 422, "of one view"),
        ("features", json!(["plain:plain"]), 422, "no vectors that can be searched"),
        ("features", json!(["nothing:title"]), 404, "nothing"),
        ("features", json!(["documents:nothing"]), 404, "nothing"),
        ("features", json!(["title"]), 422, "title"),
        ("query_string", json!("words"), 422, "not searched by"),
        ("filters", json!({ "type": "eq", "key": "title", "value": "x" }), 422, "not searched by"),
        ("feature_service", json!("all"), 422, "not searched by"),
    ] {
        let (found, answer) = with(name, value.clone());
        assert_eq!(found, status, "{name} = {value}: {answer}");
        assert!(answer.contains(told), "{name} = {value}: {answer}");
    }
    assert_eq!(start(Reader::new("outside", Sensitivity::Public)).post("/search", &good).0, 403);
}
