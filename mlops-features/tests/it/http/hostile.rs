//! What callers should not send, and what stores should not answer.

use super::*;

/// A server whose only view has features of these types, under the names `f0`, `f1` …, and no ttl.
fn wide(types: &[ValueType], store: Arc<dyn OnlineStore>) -> Running {
    let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build().unwrap();
    let view = types.iter().enumerate().fold(FeatureView::builder("wide", customer), |view, (at, value_type)| {
        view.feature(format!("f{at}"), *value_type)
    });
    let folder = tempfile::tempdir().unwrap();
    let http = FeatureHttp::builder(store, Arc::new(ManualClock::at(EventTime::from_micros(NOW))))
        .views([view.build().unwrap()])
        .history(Arc::new(ParquetStore::open(folder.path()).unwrap()))
        .push_source("wide", "wide");
    Running::host(&http.build().unwrap(), folder)
}

fn written(server: &Running, rows: &Value) -> (u16, String) {
    let body = json!({"feature_view_name": "wide", "df": rows}).to_string();
    server.ask("POST", "/write-to-online-store", &body)
}

fn read(server: &Running, features: &[&str], ids: Value) -> Value {
    let features: Vec<_> = features.iter().map(|feature| format!("wide:{feature}")).collect();
    server.features(&json!({"features": features, "entities": {"customer_id": ids}}))["results"].clone()
}

#[test]
fn keys_values_and_instants_at_the_ends_of_their_types_come_back() {
    let server = wide(&[ValueType::Int64, ValueType::Timestamp, ValueType::Float64], Arc::new(MemoryStore::new()));
    let times = ["0001-01-01T00:00:00Z", "1969-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"];
    let ids = json!([i64::MIN, 0, i64::MAX]);
    let rows = json!({
        "customer_id": ids,
        "event_timestamp": times,
        "f0": [i64::MAX, i64::MIN, 0],
        "f1": times,
        "f2": [f64::MAX, f64::MIN_POSITIVE, -0.0],
    });
    assert_eq!(written(&server, &rows), (200, "null".to_owned()));
    let found = read(&server, &["f0", "f1", "f2"], ids.clone());
    assert_eq!(found[0]["values"], ids);
    for (at, feature) in ["f0", "f1", "f2"].iter().enumerate() {
        assert_eq!(found[at + 1]["values"], rows[feature], "{feature}");
        assert_eq!(found[at + 1]["event_timestamps"], json!(times));
        assert_eq!(found[at + 1]["statuses"], json!(vec!["PRESENT"; 3]));
    }
    assert_eq!(found[3]["values"][2].to_string(), "-0.0");
}

#[test]
fn seconds_that_no_instant_has_are_refused_and_not_read_as_microseconds() {
    let server = wide(&[ValueType::Timestamp], Arc::new(MemoryStore::new()));
    for seconds in [json!(i64::MAX), json!(i64::MIN), json!(9_300_000_000_000_i64), json!(u64::MAX), json!(1.5)] {
        for rows in [
            json!({"customer_id": [1], "event_timestamp": [seconds], "f0": [1]}),
            json!({"customer_id": [1], "event_timestamp": [1], "f0": [seconds]}),
        ] {
            let (status, text) = written(&server, &rows);
            assert_eq!(status, 422, "{rows}: {text}");
            assert!(text.contains("row 0"), "{text}");
        }
    }
    let rows = json!({"customer_id": [1], "event_timestamp": [-1], "f0": [9_200_000_000_000_i64]});
    assert_eq!(written(&server, &rows).0, 200);
    let found = read(&server, &["f0"], json!([1]));
    assert_eq!(found[1]["event_timestamps"], json!(["1969-12-31T23:59:59Z"]));
}

#[test]
fn bodies_that_are_no_request_are_refused_and_the_server_goes_on() {
    let server = start();
    let (deep, deeper) = ("[".repeat(100_000), "{\"df\":".repeat(50_000));
    let endless = format!("{{\"features\":[\"clicks:ctr\"],\"entities\":{{\"customer_id\":[{deep}");
    let bodies = ["", "null", "[]", "7", "\u{feff}{}", "{\"features\":\0}", &deep, &deeper, &endless];
    for path in ["/get-online-features", "/push", "/write-to-online-store", "/materialize", "/materialize-incremental"]
    {
        for body in bodies {
            let (status, text) = server.ask("POST", path, body);
            assert_eq!(status, 422, "{path} {}: {text}", &body[..body.len().min(40)]);
            assert!(text.contains("the body is not"), "{text}");
        }
    }
    let beyond = r#"{"features":["clicks:ctr"],"entities":{"customer_id":[1e400]}}"#;
    assert_eq!(server.ask("POST", "/get-online-features", beyond).0, 422);
    // Not a text at all; a body that ends before its announced length; a head that never ends.
    for bytes in [
        &b"POST /push HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 4\r\n\r\n\xff\xfe\x80\x00"[..],
        b"POST /push HTTP/1.1\r\nhost: x\r\ncontent-length: 4000\r\n\r\n{",
        b"POST /push HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
    ] {
        let mut stream = TcpStream::connect(server.address).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        assert!(!said.starts_with(b"HTTP/1.1 2"), "{}", String::from_utf8_lossy(&said));
    }
    assert_eq!(server.ask("GET", "/health", "").0, 200);
}

#[test]
fn no_rows_and_no_entities_are_answered_with_none() {
    let server = start();
    let none = json!({"customer_id": [], "event_timestamp": [], "ctr": [], "plan": []});
    let push = |rows: &Value| json!({"push_source_name": "click_stream", "df": rows, "to": "online_and_offline"});
    assert_eq!(server.post("/push", &push(&none)).0, 200);
    let history = ParquetStore::open(server.folder.path()).unwrap();
    let all = mlops_features::offline::HistoryRequest::all();
    assert_eq!(history.scan(&clicks(), &all).unwrap().count(), 0, "no rows are no append");
    assert_eq!(server.post("/push", &push(&json!({}))).0, 422);
    let answer = server.features(&json!({"features": ["clicks:ctr"], "entities": {"customer_id": []}}));
    assert_eq!(answer["metadata"]["feature_names"], json!(["customer_id", "ctr"]));
    assert_eq!(answer["results"][1], json!({"values": [], "statuses": [], "event_timestamps": []}));
}

#[test]
fn a_push_with_one_bad_row_writes_none() {
    let server = start();
    let good = json!({"customer_id": [1, 2], "event_timestamp": [60, 60], "ctr": [0.5, 0.5], "plan": ["a", "b"]});
    let bad = [
        ("customer_id", json!([1, null]), "null"),
        ("customer_id", json!([1, 2.5]), "row 1"),
        ("customer_id", json!([1, 9_223_372_036_854_775_808_u64]), "row 1"),
        ("event_timestamp", json!([60, null]), "event_timestamp"),
        ("event_timestamp", json!([60, "2024-13-45"]), "row 1"),
        ("ctr", json!([0.5, "0.5"]), "row 1"),
        ("ctr", json!([0.5, {"a": 1}]), "row 1"),
        ("plan", json!(["a", 7]), "row 1"),
        ("plan", json!(["a"]), "as long"),
    ];
    for (column, values, word) in bad {
        let mut rows = good.clone();
        rows[column] = values;
        let body = json!({"push_source_name": "click_stream", "df": rows, "to": "online_and_offline"});
        let (status, text) = server.ask("POST", "/push", &body.to_string());
        assert_eq!(status, 422, "{body}: {text}");
        assert!(text.contains(word), "{body}: {text}");
    }
    let answer = server.features(&json!({"features": ["clicks:ctr"], "entities": {"customer_id": [1, 2]}}));
    assert_eq!(answer["results"][1]["statuses"], json!(["NOT_FOUND", "NOT_FOUND"]));
    let history = ParquetStore::open(server.folder.path()).unwrap();
    assert_eq!(history.scan(&clicks(), &mlops_features::offline::HistoryRequest::all()).unwrap().count(), 0);
}

#[test]
fn five_thousand_entities_and_ten_thousand_features_are_one_request_each() {
    let server = wide(&vec![ValueType::Float64; 10_000], Arc::new(MemoryStore::new()));
    let ids: Vec<i64> = (0..5_000).collect();
    let mut rows = json!({"customer_id": ids, "event_timestamp": vec![60; 5_000]});
    for at in 0..3 {
        rows[format!("f{at}")] = json!(ids);
    }
    let missing = written(&server, &rows);
    assert!(missing.0 == 422 && missing.1.contains("`f3`"), "{missing:?}");
    let mut one = json!({"customer_id": [7], "event_timestamp": [60]});
    for at in 0..10_000 {
        one[format!("f{at}")] = json!([at]);
    }
    assert_eq!(written(&server, &one).0, 200);
    let names: Vec<String> = (0..10_000).map(|at| format!("f{at}")).collect();
    let found = read(&server, &names.iter().map(String::as_str).collect::<Vec<_>>(), json!([7]));
    assert_eq!(found.as_array().unwrap().len(), 10_001);
    assert!((0..10_000).all(|at| found[at + 1]["values"] == json!([at as f64])));

    let server = wide(&[ValueType::Float64; 3], Arc::new(MemoryStore::new()));
    assert_eq!(written(&server, &rows).0, 200);
    let asked: Vec<i64> = ids.iter().rev().map(|id| id * 2).collect();
    let found = read(&server, &["f2", "f0"], json!(asked));
    assert_eq!(found[0]["values"], json!(asked));
    for (row, id) in asked.iter().enumerate() {
        let (value, status) = if *id < 5_000 { (json!(*id as f64), "PRESENT") } else { (Value::Null, "NOT_FOUND") };
        assert_eq!((&found[1]["values"][row], &found[2]["values"][row]), (&value, &value), "entity {id}");
        assert_eq!(found[1]["statuses"][row], status, "entity {id}");
    }
    let (status, text) = server.ask(
        "POST",
        "/get-online-features",
        &json!({"features": ["wide:f0"], "entities": {"customer_id": vec![1; 100_001]}}).to_string(),
    );
    assert_eq!(status, 422);
    assert!(text.contains("100001 entities"), "{text}");
}

#[test]
fn a_view_that_was_declared_anew_over_its_rows_is_refused_and_nothing_is_lost() {
    let store = Arc::new(MemoryStore::new());
    let before = wide(&[ValueType::Float64], store.clone());
    let rows = json!({"customer_id": [1], "event_timestamp": [60], "f0": [0.5]});
    assert_eq!(written(&before, &rows).0, 200);
    let after = wide(&[ValueType::Utf8], store);
    let asked = json!({"features": ["wide:f0"], "entities": {"customer_id": [1]}});
    let (status, text) = after.ask("POST", "/get-online-features", &asked.to_string());
    assert!(status == 422 && text.contains("`wide`") && text.contains("f0"), "{status} {text}");
    let (status, text) = written(&after, &json!({"customer_id": [1], "event_timestamp": [70], "f0": ["0912345678"]}));
    assert!(status == 422 && text.contains("`wide`") && !text.contains("0912345678"), "{status} {text}");
    assert_eq!(read(&before, &["f0"], json!([1]))[1]["values"], json!([0.5]));
}

#[test]
fn lists_without_end_and_repeated_names_leave_the_server_as_it_was() {
    let server = start();
    let ask = |features: &[String]| {
        let body = json!({"features": features, "entities": {"customer_id": [1]}}).to_string();
        server.ask("POST", "/get-online-features", &body)
    };
    let (status, text) = ask(&vec!["clicks:ctr".to_owned(); 50_000]);
    assert!(status == 422 && text.contains("`clicks:ctr`"), "{status} {text}");
    // More lists than are kept: each is compiled, none is answered with the plan of another.
    for turn in 0..300 {
        let order = if turn % 2 == 0 { ["clicks:ctr", "clicks:plan"] } else { ["clicks:plan", "clicks:ctr"] };
        let alias: Vec<String> = order[..=usize::from(turn % 3 == 0)].iter().map(|name| (*name).to_owned()).collect();
        let (status, text) = ask(&alias);
        assert_eq!(status, 200, "{text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        let names: Vec<&str> = alias.iter().map(|name| name.trim_start_matches("clicks:")).collect();
        assert_eq!(answer["metadata"]["feature_names"].as_array().unwrap()[1..], names[..]);
    }
}

#[test]
fn one_materialization_of_a_view_runs_at_a_time() {
    let faults = Faults { delay: Duration::from_millis(500), ..Faults::default() };
    let server = run(Arc::new(FlakyOnlineStore::new(MemoryStore::new(), faults)), Reader::host());
    let history = ParquetStore::open(server.folder.path()).unwrap();
    let rows = crate::rows(&crate::builder("clicks", "customer_id").build().unwrap(), &[(1, 60_000_000, Some(0.5))]);
    let columns = [rows.column(0).clone(), rows.column(1).clone(), rows.column(1).clone(), rows.column(2).clone()];
    let named = ["customer_id", "event_timestamp", "known_at", "ctr"].into_iter().zip(columns);
    let plan: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    let rows = RecordBatch::try_from_iter(named.chain([("plan", plan)])).unwrap();
    history.append(&clicks(), &Dataset::from_batches([rows]).unwrap()).unwrap();
    let ask = json!({"end_ts": "1970-01-02T00:00:00Z", "feature_views": ["clicks"]});
    assert_eq!(server.post("/materialize-incremental?async=true", &ask).0, 202);
    let (status, answer) = server.post("/materialize-incremental", &ask);
    assert_eq!(status, 409, "{answer}");
    assert!(answer["detail"].as_str().unwrap().contains("`clicks`"));
    let other = json!({"feature_views": ["tastes"]});
    assert_eq!(server.post("/materialize-incremental", &other).0, 200, "another view is free");
}

#[test]
fn a_caller_that_drips_its_body_is_let_go() {
    let folder = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::at(EventTime::from_micros(NOW)));
    let http = FeatureHttp::builder(Arc::new(MemoryStore::new()), clock).views([clicks()]);
    let server = Running::host(&http.body_timeout(Duration::from_millis(300)).build().unwrap(), folder);
    let mut slow = TcpStream::connect(server.address).unwrap();
    slow.write_all(b"POST /get-online-features HTTP/1.1\r\nhost: x\r\ncontent-length: 4000\r\n\r\n{").unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut said = String::new();
    slow.read_to_string(&mut said).unwrap();
    assert!(said.starts_with("HTTP/1.1 408") && said.contains("in time"), "{said}");
    assert_eq!(server.ask("GET", "/health", "").0, 200);
}
