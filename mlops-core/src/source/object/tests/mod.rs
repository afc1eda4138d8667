mod fake;
mod servers;

use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, BinaryArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};

use self::fake::FakeS3;
use super::*;
use crate::source::{Comparison, DataSink, DataSource, ParquetSink, Predicate, Quarantine, ScanRequest, local::shown};
use crate::testkit::{data_sink, data_source, missing_source, refusing_sink, unreadable_source};
use crate::{Dataset, Error, Result, Schema};

const KEYS: [&str; 6] = ["a/t.parquet", "a/t.csv", "a/t.tsv.gz", "a/t.jsonl", "a/t.jsonl.zst", "a/t.arrow"];

/// A small table of what every format gives back as it was.
fn table() -> Dataset {
    let columns = [
        ("id", Arc::new(Int64Array::from(vec![3, 1, 2])) as ArrayRef),
        ("name", Arc::new(StringArray::from(vec![Some("An, \"Bình\""), None, Some("é\tx")]))),
        ("price", Arc::new(Float64Array::from(vec![Some(1.5), Some(-0.25), None]))),
    ];
    Dataset::from_batches([RecordBatch::try_from_iter_with_nullable(columns.map(|(n, a)| (n, a, true))).unwrap()])
        .unwrap()
}

/// The source at `key` with the schema of the table, which text does not keep.
fn source(store: &ObjectStore, key: &str) -> Result<ObjectStoreSource> {
    let schema = table().schema().clone();
    match key {
        _ if key.contains(".csv") => store.csv(key, |settings| settings.schema(schema)),
        _ if key.contains(".tsv") => store.csv(key, |settings| settings.delimiter(b'\t').schema(schema)),
        _ if key.contains(".jsonl") => store.json(key, |settings| settings.schema(schema)),
        _ => store.source(key),
    }
}

fn read(store: &ObjectStore, key: &str) -> Result<Dataset> {
    Dataset::from_source(Arc::new(source(store, key)?))
}

fn rows(source: &dyn DataSource, request: &ScanRequest) -> Result<RecordBatch> {
    Dataset::collect(source.scan(request)?)?.to_batch()
}

fn folder() -> (tempfile::TempDir, ObjectStore) {
    let folder = tempfile::tempdir().unwrap();
    let store = ObjectStore::open(format!("file://{}", folder.path().display())).unwrap();
    (folder, store)
}

#[test]
fn every_format_keeps_the_contracts_in_memory_and_in_a_folder() {
    let (_folder, local) = folder();
    for store in [ObjectStore::memory("kit"), local] {
        for key in KEYS {
            data_sink(&store.sink(key).unwrap(), || read(&store, key), &table());
            table().write_to(&store.sink(key).unwrap()).unwrap();
            data_source(&source(&store, key).unwrap(), &table());
        }
        let binary = Field::new("b", DataType::Binary, true);
        let schema = Schema::new(ArrowSchema::new(vec![binary])).unwrap();
        refusing_sink(&store.sink("b/t.csv").unwrap(), || read(&store, "b/t.csv"), &schema);
    }
}

#[test]
fn objects_of_s3_are_written_and_read_by_its_protocol() {
    let server = FakeS3::new();
    let store = server.store(0);
    for key in KEYS {
        data_sink(&store.sink(key).unwrap(), || read(&store, key), &table());
        table().write_to(&store.sink(key).unwrap()).unwrap();
        let found = source(&store, key).unwrap();
        assert_eq!(rows(&found, &ScanRequest::all()).unwrap(), table().to_batch().unwrap(), "{key}");
        let info = found.info().unwrap();
        assert_eq!(info.location, format!("s3://bucket/{key}"));
        // `date -u -d 2026-01-01 +%s` is 1767225600.
        assert_eq!(info.modified.unwrap().as_micros(), 1_767_225_600_000_000);
        server.state.lock().unwrap().objects.clear();
        missing_source(&found);
        assert!(matches!(source(&store, key), Err(Error::NotFound { kind: "object", .. })));
    }
}

#[test]
fn objects_of_google_are_written_and_read_by_its_protocol() {
    let server = FakeS3::new();
    let store = server.google();
    for key in KEYS {
        data_sink(&store.sink(key).unwrap(), || read(&store, key), &table());
        table().write_to(&store.sink(key).unwrap()).unwrap();
        assert!(server.has(key), "{key}");
        let found = source(&store, key).unwrap();
        assert_eq!(rows(&found, &ScanRequest::all()).unwrap(), table().to_batch().unwrap(), "{key}");
        assert_eq!(found.info().unwrap().location, format!("gs://bucket/{key}"));
    }
    long_text().write_to(&store.sink("long.arrow").unwrap()).unwrap();
    assert!(server.state.lock().unwrap().requests.iter().any(|line| line.contains("partNumber=4")));
    let found = Dataset::from_source(Arc::new(store.source("long.arrow").unwrap())).unwrap();
    assert_eq!(found.digest().unwrap(), long_text().digest().unwrap());
}

#[test]
fn a_scan_of_parquet_fetches_only_what_it_needs() {
    let server = FakeS3::new();
    let store = server.store(0);
    // Bytes that do not pack: digests of the row's number.
    let noise = |row: i64| {
        (0..64_u8).flat_map(move |part| *blake3::hash(&[&row.to_le_bytes()[..], &[part]].concat()).as_bytes())
    };
    let noise: Vec<Vec<u8>> = (0..2_000).map(|row| noise(row).collect()).collect();
    let batch = RecordBatch::try_from_iter([
        ("id", Arc::new(Int64Array::from_iter_values(0..2_000)) as ArrayRef),
        ("noise", Arc::new(BinaryArray::from_iter_values(noise))),
    ])
    .unwrap();
    let whole = Dataset::from_batches([batch.clone()]).unwrap();
    let groups =
        |path: &std::path::Path| Ok(Box::new(ParquetSink::builder(path).group_rows(500).build()?) as Box<dyn DataSink>);
    let size = whole.write_to(&store.sink_by("big.parquet", groups).unwrap()).unwrap().size_bytes as usize;
    assert!(size > 4_000_000, "{size}");
    let source = store.source("big.parquet").unwrap();
    let fetched = |request: &ScanRequest| {
        server.state.lock().unwrap().sent_bytes = 0;
        let found = rows(&source, request).unwrap();
        (found, server.state.lock().unwrap().sent_bytes)
    };
    let (found, bytes) = fetched(&ScanRequest::all());
    assert!(found == batch && bytes >= size, "{bytes} of {size}");
    let (found, bytes) = fetched(&ScanRequest::all().columns(["id"]));
    assert_eq!(found.num_rows(), 2_000);
    assert!(bytes < 100_000, "one column of whole numbers takes {bytes} of {size}");
    let (found, bytes) = fetched(&ScanRequest::all().filter(Predicate::new("id", Comparison::GtEq, 1_900)));
    assert_eq!(found, batch.slice(1_900, 100));
    assert!(bytes < size / 3, "one group of four takes {bytes} of {size}");
    let (found, bytes) = fetched(&ScanRequest::all().limit(3));
    assert_eq!(found, batch.slice(0, 3));
    assert!(bytes < size / 3, "the first group takes {bytes} of {size}");
}

/// More text than two blocks of a reader, and more than one part of an upload.
fn long_text() -> Dataset {
    let text = "x".repeat(1_000);
    let texts = StringArray::from_iter_values((0..27_000).map(|row| format!("{row}{text}")));
    let batch = RecordBatch::try_from_iter_with_nullable([("text", Arc::new(texts) as ArrayRef, true)]);
    Dataset::from_batches([batch.unwrap()]).unwrap()
}

#[test]
fn large_objects_go_up_in_parts_and_come_down_in_blocks() {
    let server = FakeS3::new();
    let store = server.store(0);
    for key in ["long.csv", "long.arrow"] {
        long_text().write_to(&store.sink(key).unwrap()).unwrap();
        let parts = server.state.lock().unwrap().requests.iter().filter(|line| line.contains("partNumber=")).count();
        assert!(parts >= 4, "{parts} parts of 8 MiB");
        let found = Dataset::from_source(Arc::new(store.source(key).unwrap())).unwrap();
        assert_eq!(found.digest().unwrap(), long_text().digest().unwrap(), "{key}");
        server.state.lock().unwrap().requests.clear();
    }
}

#[test]
fn an_object_that_is_replaced_while_it_is_read_is_noticed() {
    let server = FakeS3::new();
    let store = server.store(0);
    long_text().write_to(&store.sink("long.csv").unwrap()).unwrap();
    let source = store.source("long.csv").unwrap();
    let mut stream = source.scan(&ScanRequest::all().batch_rows(100)).unwrap();
    assert!(stream.next().unwrap().is_ok());
    server.put("long.csv", b"text\nother\n");
    let error = stream.find_map(Result::err).unwrap();
    assert!(matches!(&error, Error::InvalidData { reason, .. } if reason.contains("replaced")), "{error}");
}

#[test]
fn failures_that_pass_are_tried_anew_and_others_are_told() {
    let server = FakeS3::new();
    for key in ["t.parquet", "t.csv", "t.jsonl.zst", "t.arrow"] {
        server.fail(|_, _| None);
        table().write_to(&server.store(0).sink(key).unwrap()).unwrap();
        // Every second request fails.
        server.fail(|_, before| (before % 2 == 0).then_some(503));
        let patient = source(&server.store(3), key).unwrap();
        assert_eq!(rows(&patient, &ScanRequest::all()).unwrap(), table().to_batch().unwrap(), "{key}");
        // Every read of content fails.
        server.fail(|line, _| line.starts_with("GET").then_some(500));
        let failing = source(&server.store(1), key).and_then(|found| rows(&found, &ScanRequest::all()));
        let error = failing.unwrap_err();
        assert!(matches!(error, Error::External { system: "object store", .. }), "{key}: {error}");
        assert!(error.to_string().contains("s3://bucket/"), "{error}");
        assert!(!format!("{error} {error:?}").contains("secret-word"), "{error:?}");
        unreadable_source(&patient);
        server.fail(|_, _| Some(403));
        let refused = source(&server.store(1), key).map(|_| ()).unwrap_err();
        assert!(refused.to_string().contains("permission denied"), "{refused}");
    }
}

#[test]
fn an_upload_that_fails_leaves_what_was_there_and_no_parts() {
    let server = FakeS3::new();
    let store = server.store(0);
    table().write_to(&store.sink("t.csv").unwrap()).unwrap();
    server.fail(|line, _| line.starts_with("PUT").then_some(500));
    assert!(matches!(table().write_to(&store.sink("t.csv").unwrap()), Err(Error::External { .. })));
    assert!(matches!(table().write_to(&store.sink("new.csv").unwrap()), Err(Error::External { .. })));
    server.fail(|line, _| line.contains("partNumber=3").then_some(500));
    assert!(matches!(long_text().write_to(&store.sink("t.csv").unwrap()), Err(Error::External { .. })));
    assert_eq!(server.count("DELETE"), 1, "the upload is aborted");
    server.fail(|line, _| (line.starts_with("POST") && line.contains("uploadId")).then_some(500));
    assert!(matches!(long_text().write_to(&store.sink("t.csv").unwrap()), Err(Error::External { .. })));
    assert_eq!(server.count("DELETE"), 1, "one that cannot be completed, too");
    server.fail(|_, _| None);
    assert_eq!(read(&store, "t.csv").unwrap().digest().unwrap(), table().digest().unwrap());
    assert!(!server.has("new.csv"));
    let mut writer = store.sink("new.csv").unwrap().begin(table().schema()).unwrap();
    writer.write(&table().to_batch().unwrap()).unwrap();
    drop(writer);
    assert_eq!(server.count("PUT") + server.count("POST"), 0, "a write that is dropped makes no request");
}

#[test]
fn damaged_objects_are_named() {
    let server = FakeS3::new();
    let store = server.store(0);
    for key in ["t.parquet", "t.arrow", "t.tsv.gz", "t.jsonl.zst"] {
        table().write_to(&store.sink(key).unwrap()).unwrap();
        let whole = server.state.lock().unwrap().objects[&format!("/bucket/{key}")].clone();
        for length in (0..whole.len()).step_by(whole.len() / 9) {
            server.put(key, &whole[..length]);
            let error = source(&store, key).and_then(|found| rows(&found, &ScanRequest::all())).err();
            match error {
                Some(Error::InvalidData { what, .. }) => {
                    assert!(what.contains(&format!("s3://bucket/{key}")), "{what}");
                }
                // Nothing at all is a packed text of no lines.
                other => assert!(length == 0 && other.is_none(), "{key} cut at {length}: {other:?}"),
            }
        }
        // A footer that claims to be larger than the object, or than memory.
        if key == "t.parquet" {
            for claim in [u32::MAX, 1 << 30, whole.len() as u32] {
                let mut lying = whole.clone();
                let at = lying.len() - 8;
                lying[at..at + 4].copy_from_slice(&claim.to_le_bytes());
                server.put(key, &lying);
                assert!(matches!(store.source(key), Err(Error::InvalidData { .. })), "{claim}");
            }
        }
    }
    server.put("t.csv", b"id,name,price\n1,x,1.5\n2,y,dear\n");
    unreadable_source(&source(&store, "t.csv").unwrap());
    let aside = Quarantine::keeping(10);
    let schema = table().schema().clone();
    let tolerant = store.csv("t.csv", |settings| settings.schema(schema).quarantine(aside.clone())).unwrap();
    assert_eq!(rows(&tolerant, &ScanRequest::all()).unwrap().num_rows(), 1);
    assert_eq!((aside.rows()[0].location.as_str(), aside.rows()[0].line), ("s3://bucket/t.csv", 3));
}

#[test]
fn places_with_tricks_or_secrets_are_refused_without_being_quoted() {
    let store = ObjectStore::memory("m");
    for key in ["../t.csv", "a/../t.csv", "/etc/t.csv", "a//t.csv", "a/./t.csv", "a\\t.csv", "a/t.csv/", "t.exe", ""] {
        assert!(matches!(store.source(key), Err(Error::Invalid { .. })), "{key}");
        assert!(matches!(store.sink(key), Err(Error::Invalid { .. })), "{key}");
    }
    for url in [
        "s3://id:secret-word@bucket/x",
        "s3://bucket/x?key=secret-word",
        "s3://bucket/x#secret-word",
        "https://secret-word.example/x",
        "s3://",
        "file://secret-word/x",
        "secret-word",
        "s3://bucket/../secret-word",
    ] {
        let error = ObjectStore::open(url).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{url}: {error}");
        assert!(url.contains("..") || !error.to_string().contains("secret-word"), "{error}");
    }
    assert!(matches!(ObjectStore::open("file:///no/such/folder"), Err(Error::NotFound { kind: "folder", .. })));
    let az =
        ObjectStore::builder("az://box/p/").credentials("account", "c2VjcmV0LXdvcmQ=").option("use_emulator", "false");
    let az = az.build().unwrap();
    assert_eq!((az.url(), format!("{az:?}").contains("c2Vj")), ("az://box/p", false));
    let wrong = ObjectStore::builder("s3://b").option("no_such_option", "secret-word").build().unwrap_err();
    assert!(matches!(&wrong, Error::Invalid { setting: "option", .. }) && !wrong.to_string().contains("secret-word"));
    let builder = ObjectStore::builder("s3://b").credentials("an-id", "secret-word").option("x", "secret-word");
    assert!(!format!("{builder:?}").contains("secret-word"), "{builder:?}");
    assert!(matches!(
        ObjectStore::builder("gs://b").region("r").build(),
        Err(Error::Invalid { setting: "region", .. })
    ));
    let (folder, store) = folder();
    let sink = format!("{:?}", store.sink("x/t.csv").unwrap());
    assert!(sink.contains(&shown(folder.path())), "{sink}");
}

#[test]
fn plain_http_leaves_this_machine_only_when_asked_for() {
    let request = |endpoint: &str, option: bool| {
        let store = ObjectStore::builder("s3://b").endpoint(endpoint).credentials("an-id", "secret-word");
        let store = if option { store.option("allow_http", "true") } else { store };
        let store = store.retries(0).timeout(Duration::from_millis(300)).build().unwrap();
        store.source("t.csv").unwrap_err().to_string()
    };
    // A name that never resolves (RFC 2606).
    let refused = request("http://store.invalid", false);
    let tried = request("http://store.invalid", true);
    assert_ne!(refused, tried);
    assert!(refused.contains("scheme") || refused.contains("builder"), "{refused}");
    assert!(
        request("http://127.0.0.1.store.invalid", false).contains("builder"),
        "a name that only begins like loopback"
    );
}

#[test]
fn keys_are_listed_by_patterns() {
    let (_folder, local) = folder();
    for store in [ObjectStore::memory("m"), local] {
        for key in ["a/1.csv", "a/2.csv", "a/b/3.csv", "a/4.jsonl", "5.csv"] {
            table().write_to(&store.sink(key).unwrap()).unwrap();
        }
        assert_eq!(store.list("a/*.csv").unwrap(), ["a/1.csv", "a/2.csv"]);
        assert_eq!(store.list("**/*.csv").unwrap(), ["5.csv", "a/1.csv", "a/2.csv", "a/b/3.csv"]);
        assert_eq!(store.list("a/[24].*").unwrap(), ["a/2.csv", "a/4.jsonl"]);
        assert!(store.list("none/*").unwrap().is_empty());
        assert!(matches!(store.list("a/[").unwrap_err(), Error::Invalid { setting: "pattern", .. }));
    }
}

#[test]
fn many_objects_are_one_source_with_the_columns_of_their_folders() {
    let (_folder, local) = folder();
    for store in [ObjectStore::memory("m"), local] {
        for ending in ["parquet", "csv", "tsv.gz", "jsonl", "jsonl.zst", "arrow"] {
            for (month, day) in [(1, 1), (1, 2), (2, 1)] {
                let key = format!("{ending}/month={month}/{day}.{ending}");
                table().write_to(&store.sink(&key).unwrap()).unwrap();
            }
            for hidden in ["_SUCCESS.csv".to_owned(), format!("_tmp/3.{ending}"), format!(".old/month=3/1.{ending}")] {
                table().write_to(&store.sink(&format!("{ending}/{hidden}")).unwrap()).unwrap();
            }
            let make = || store.files(ending).unwrap().build().unwrap();
            let all = Dataset::from_source(Arc::new(make())).unwrap().hold().unwrap();
            data_source(&make(), &all);
            assert!(make().info().unwrap().size_bytes.is_some_and(|bytes| bytes > 0));
            assert_eq!(make().partition_columns().collect::<Vec<_>>(), ["month"]);
            assert_eq!(rows(&make(), &ScanRequest::all()).unwrap().num_rows(), 9);
            let first = ScanRequest::all().filter(Predicate::new("month", Comparison::Eq, 1));
            assert_eq!(rows(&make(), &first).unwrap().num_rows(), 6);
            let pattern = store.files(&format!("{ending}/*/1.*")).unwrap().build().unwrap();
            assert_eq!(pattern.files().count(), 2);
            let single = store.files(&format!("{ending}/month=2/1.{ending}")).unwrap().build().unwrap();
            assert_eq!(rows(&single, &ScanRequest::all()).unwrap().num_rows(), 3);
        }
        assert!(matches!(store.files("nowhere").unwrap().build(), Err(Error::NotFound { .. })));
        assert!(matches!(store.files("a/../b").err(), Some(Error::Invalid { setting: "key", .. })));
        let mixed = store.files("").unwrap().build().unwrap_err().to_string();
        assert!(mixed.contains("one source is of one format"), "{mixed}");
    }
}

#[test]
fn urls_of_objects_open_them_and_async_callers_do_not_matter() {
    let (folder, store) = folder();
    let url = format!("file://{}/a/t.parquet", folder.path().display());
    std::fs::create_dir(folder.path().join("a")).unwrap();
    let memory = ObjectStore::memory("m");
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        table().write_to(&ObjectStoreSink::open(&url).unwrap()).unwrap();
        let found = ObjectStoreSource::open(&url).unwrap();
        assert_eq!(rows(&found, &ScanRequest::all()).unwrap(), table().to_batch().unwrap());
        table().write_to(&memory.sink("t.arrow").unwrap()).unwrap();
        assert_eq!(read(&memory, "t.arrow").unwrap().num_rows().unwrap(), 3);
    });
    assert_eq!(store.list("a/*").unwrap(), ["a/t.parquet"]);
    assert!(ObjectStoreSource::open("s3://bucket/").is_err());
}
