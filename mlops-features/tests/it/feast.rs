//! The store over Feast's hashes on Redis: its own laws, and a real Feast on the other side.

use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use mlops_core::Error as Core;
use mlops_core::arrow::array::types::{Float32Type, Float64Type, Int64Type};
use mlops_core::arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array,
    Int64Array, ListArray, ListBuilder, RecordBatch, StringArray, StringBuilder,
};
use mlops_features::offline::Watermark;
use mlops_features::online::{FeastRedisStore, OnlineRead, OnlineRows, OnlineStore, RedisStore, WriteSummary};
use mlops_features::testkit::block_on;
use mlops_features::{Entity, Error, FeatureView, Item, KeyType, Keys, ValueType};

use crate::redis::{prefix, url};
use crate::{builder, ints, rows, times};

fn open(url: &str, project: &str) -> FeastRedisStore {
    RedisStore::builder(url).prefix(project).open_feast(project).unwrap()
}

fn read(store: &FeastRedisStore, view: &FeatureView, ids: &[i64]) -> Result<OnlineRows, Error> {
    let keys = Keys::new(view.entity(), &[ints(ids)]).unwrap();
    let all: Vec<usize> = (0..view.features().len()).collect();
    Ok(store.read_sync(&[OnlineRead { view, features: &all, keys: &keys }])?.remove(0))
}

fn values(store: &FeastRedisStore, view: &FeatureView, ids: &[i64]) -> Vec<Option<f64>> {
    read(store, view, ids).unwrap().columns[0].as_primitive::<Float64Type>().iter().collect()
}

/// The view of `feast_redis.py`.
fn stats() -> FeatureView {
    let user = Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
    let features = [
        ("flag", ValueType::Bool),
        ("small", ValueType::Int32),
        ("big", ValueType::Int64),
        ("short", ValueType::Float32),
        ("real", ValueType::Float64),
        ("text", ValueType::Utf8),
        ("raw", ValueType::Binary),
        ("seen", ValueType::Timestamp),
        ("whole", ValueType::List(Item::Int64)),
        ("reals", ValueType::List(Item::Float64)),
        ("texts", ValueType::List(Item::Utf8)),
        ("point", ValueType::Vector(2)),
        ("none", ValueType::Int64),
    ];
    features
        .iter()
        .fold(FeatureView::builder("stats", user), |view, (name, of)| view.feature(*name, *of))
        .build()
        .unwrap()
}

/// The row that `feast_redis.py` writes for `key`, but for its times.
fn columns(key: i64) -> Vec<ArrayRef> {
    let reals = ListArray::from_iter_primitive::<Float64Type, _, _>([Some(vec![Some(key as f64 + 0.5)])]);
    let whole = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(key), Some(-key)])]);
    let point = [Some(vec![Some(key as f32), Some(-key as f32)])];
    let point = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(point, 2);
    let mut texts = ListBuilder::new(StringBuilder::new());
    texts.append_value(["a", "", &key.to_string()].map(Some));
    vec![
        Arc::new(BooleanArray::from(vec![key % 2 == 1])),
        Arc::new(Int32Array::from(vec![-key as i32])),
        ints(&[key + i64::MIN]),
        Arc::new(Float32Array::from(vec![key as f32 + 0.5])),
        Arc::new(Float64Array::from(vec![key as f64 + 0.25])),
        Arc::new(StringArray::from(vec![format!("é{key}")])),
        Arc::new(BinaryArray::from(vec![&[0, 255, key as u8][..]])),
        times(&[-key * 1_000_000]),
        Arc::new(whole),
        Arc::new(reals),
        Arc::new(texts.finish()),
        Arc::new(point),
        Arc::new(Int64Array::from(vec![None])),
    ]
}

fn time(key: i64) -> i64 {
    (1_700_000_000 + key) * 1_000_000 + 123_456
}

fn batch(key: i64) -> RecordBatch {
    let view = stats();
    let mut all =
        vec![("user_id".to_owned(), ints(&[key]), true), ("event_timestamp".to_owned(), times(&[time(key)]), true)];
    all.extend(
        view.features().iter().zip(columns(key)).map(|(feature, array)| (feature.name.to_string(), array, true)),
    );
    RecordBatch::try_from_iter_with_nullable(all).unwrap()
}

fn is_row(found: &OnlineRows, position: usize, key: i64) {
    assert_eq!(found.event_time(position).map(mlops_core::EventTime::as_micros), Some(time(key)));
    for ((feature, expected), column) in stats().features().iter().zip(columns(key)).zip(&found.columns) {
        assert_eq!(&column.slice(position, 1), &expected, "`{}` of {key}", feature.name);
    }
}

#[test]
fn every_type_comes_back_and_views_share_the_hash_of_their_entity() {
    let Some(url) = url() else { return };
    let project = prefix();
    let (store, view) = (open(&url, &project), stats());
    for key in [1, 2] {
        store.write_sync(&view, &batch(key), None).unwrap();
    }
    let ctr = builder("ctr", "user_id").build().unwrap();
    store.write_sync(&ctr, &rows(&ctr, &[(2, 5_000_000, Some(0.5))]), None).unwrap();
    let found = read(&store, &view, &[2, 9, 1]).unwrap();
    is_row(&found, 0, 2);
    is_row(&found, 2, 1);
    assert!(!found.found(1) && found.columns.iter().all(|column| column.is_null(1)));
    assert_eq!(values(&store, &ctr, &[1, 2]), [None, Some(0.5)]);
    let keys = Keys::new(view.entity(), &[ints(&[2, 2, 9])]).unwrap();
    assert_eq!(block_on(store.delete(&view, &keys)).unwrap(), 1);
    assert!(!read(&store, &view, &[2]).unwrap().found(0));
    assert_eq!(values(&store, &ctr, &[2]), [Some(0.5)], "the other view of the entity stays");
}

#[test]
fn the_latest_row_wins_whatever_the_order_and_whoever_writes() {
    let Some(url) = url() else { return };
    let project = prefix();
    let (store, view) = (open(&url, &project), builder("ctr", "user_id").created("created").build().unwrap());
    let row = |time: i64, created: Option<i64>, value: f64| {
        let batch = rows(&view, &[(1, time * 1_000, Some(value))]);
        let created: ArrayRef =
            Arc::new(mlops_core::arrow::array::TimestampMicrosecondArray::from(vec![created]).with_timezone("UTC"));
        let mut all: Vec<_> =
            batch.schema().fields().iter().map(|f| f.name().clone()).zip(batch.columns().to_vec()).collect();
        all.push(("created".to_owned(), created));
        RecordBatch::try_from_iter_with_nullable(all.into_iter().map(|(name, array)| (name, array, true))).unwrap()
    };
    let write = |batch: RecordBatch| store.write_sync(&view, &batch, None).unwrap();
    let won = WriteSummary { written: 1, superseded: 0 };
    let lost = WriteSummary { written: 0, superseded: 1 };
    assert_eq!(write(row(0, None, 1.0)), won, "an instant of no bytes is one, too");
    assert_eq!(write(row(0, None, 2.0)), won, "of equal times the last write wins");
    assert_eq!(write(row(-5, None, 3.0)), lost);
    assert_eq!(write(row(0, Some(-9), 4.0)), won, "no created time is lowest");
    assert_eq!(write(row(0, Some(-10), 5.0)), lost);
    assert_eq!(write(row(7, None, 6.0)), won);
    assert_eq!(values(&store, &view, &[1]), [Some(6.0)]);
    assert!(read(&store, &view, &[1]).unwrap().created.is_null(0));

    let shared = builder("shared", "user_id").build().unwrap();
    let at = |writer: i64, round: i64, key: i64| (round * 7 + writer * 13 + key) % 101;
    thread::scope(|scope| {
        for writer in 0..3 {
            let (url, project, view) = (&url, &project, &shared);
            scope.spawn(move || {
                let store = open(url, project);
                for round in 0..8 {
                    let row = |key| (key, at(writer, round, key), Some(at(writer, round, key) as f64));
                    // Where three fight for a row, one may be outrun so often that it is told to come back.
                    while let Err(error) =
                        store.write_sync(view, &rows(view, &(0..20).map(row).collect::<Vec<_>>()), None)
                    {
                        assert!(matches!(error, Error::Core(Core::Busy { .. })), "{error:?}");
                    }
                }
            });
        }
    });
    let latest = |key| (0..8).flat_map(|round| (0..3).map(move |writer| at(writer, round, key))).max();
    let expected: Vec<_> = (0..20).map(|key| latest(key).map(|time| time as f64)).collect();
    assert_eq!(values(&store, &shared, &(0..20).collect::<Vec<_>>()), expected);
}

#[test]
fn what_the_layout_cannot_hold_is_refused_and_nothing_is_written() {
    let Some(url) = url() else { return };
    let project = prefix();
    let store = open(&url, &project);
    let ctr = builder("ctr", "user_id").build().unwrap();
    for beyond in [i64::MIN, i64::MAX, -62_135_596_800_000_001] {
        let error =
            store.write_sync(&ctr, &rows(&ctr, &[(1, 5, Some(1.0)), (2, beyond, Some(1.0))]), None).unwrap_err();
        assert!(matches!(&error, Error::Core(Core::InvalidData { what, .. }) if what.contains("`ctr`")), "{error:?}");
    }
    assert_eq!(values(&store, &ctr, &[1]), [None]);
    let user = ctr.entity().clone();
    let seen = FeatureView::builder("seen", user.clone()).feature("seen", ValueType::Timestamp).build().unwrap();
    let half = [("user_id", ints(&[1])), ("event_timestamp", times(&[5])), ("seen", times(&[500_000]))];
    let error = store.write_sync(&seen, &RecordBatch::try_from_iter(half).unwrap(), None).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::InvalidData { what, .. }) if what == "`seen:seen`"), "{error:?}");

    store.write_sync(&ctr, &rows(&ctr, &[(1, 5, Some(1.0))]), None).unwrap();
    let retyped = FeatureView::builder("ctr", user).feature("ctr", ValueType::Utf8).build().unwrap();
    let error = read(&store, &retyped, &[1]).unwrap_err();
    assert!(matches!(&error, Error::Changed { what, .. } if what == "ctr"), "{error:?}");
    assert!(RedisStore::builder(&url).open_feast("").is_err());
    let beyond = Keys::new(ctr.entity(), &[ints(&[1])]).unwrap();
    assert!(store.read_sync(&[OnlineRead { view: &ctr, features: &[1], keys: &beyond }]).is_err());
}

#[test]
fn a_position_is_kept_and_hashes_expire_as_a_whole_when_told() {
    let Some(url) = url() else { return };
    let project = prefix();
    let store = open(&url, &project).expiring_after(Duration::from_secs(1));
    let ctr = builder("ctr", "user_id").build().unwrap();
    let reached = Watermark { sequence: 3, rows: 7 };
    store.write_sync(&ctr, &rows(&ctr, &[(1, 5, Some(1.0))]), Some(reached)).unwrap();
    assert_eq!(values(&store, &ctr, &[1]), [Some(1.0)]);
    assert_eq!(block_on(store.watermark(&ctr)).unwrap(), Some(reached));
    thread::sleep(Duration::from_millis(1_200));
    assert_eq!(values(&store, &ctr, &[1]), [None]);
}

/// Runs `feast_redis.py`, which is Feast's own store.
fn feast(python: &str, url: &str, verb: &str, project: &str, keys: &[&str]) -> Vec<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/feast_redis.py");
    let place = url.trim_start_matches("redis://");
    let said = Command::new(python)
        .args(["-W", "ignore", script, verb, place, project])
        .args(keys)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    String::from_utf8(said.stdout).unwrap().lines().filter(|line| line.starts_with('{')).map(str::to_owned).collect()
}

#[test]
fn what_feast_wrote_is_read_and_what_is_written_feast_reads() {
    let Some(url) = url() else { return };
    let Ok(python) = std::env::var("MLOPS_TEST_FEAST_PYTHON") else {
        eprintln!("SKIPPED: set MLOPS_TEST_FEAST_PYTHON to a Python with feast[redis] to run this test");
        return;
    };
    let project = prefix().replace('-', "_");
    let (store, view) = (open(&url, &project), stats());
    feast(&python, &url, "write", &project, &["1", "2"]);
    let found = read(&store, &view, &[1, 2, 3]).unwrap();
    is_row(&found, 0, 1);
    is_row(&found, 1, 2);
    assert!(!found.found(2));
    for key in [3, 4] {
        store.write_sync(&view, &batch(key), None).unwrap();
    }
    let said = feast(&python, &url, "read", &project, &["1", "3", "2", "4"]);
    // What Feast finds in our rows is what it finds in its own, but for the numbers.
    let theirs = |key: i64| {
        let number = |text: &str| text.parse::<serde_json::Value>().unwrap();
        let real = format!("{:016x}", (key as f64 + 0.25).to_bits());
        let raw = ["AP8B", "AP8C", "AP8D", "AP8E"][key as usize - 1];
        serde_json::json!({"time": time(key), "values": {
            "flag": key % 2 == 1, "small": -key, "big": key + i64::MIN, "short": key as f64 + 0.5, "real": real,
            "text": format!("é{key}"), "raw": raw, "seen": -key, "whole": [key, -key], "reals": [key as f64 + 0.5],
            "texts": ["a", "", key.to_string()], "point": [number(&format!("{key}.0")), number(&format!("-{key}.0"))], "none": null,
        }})
    };
    for (line, key) in said.iter().zip([1, 3, 2, 4]) {
        assert_eq!(serde_json::from_str::<serde_json::Value>(line).unwrap(), theirs(key), "key {key}");
    }
    assert_eq!(said.len(), 4);
    // Feast's later row replaces ours, and ours a later one of Feast's.
    let older = RecordBatch::try_new(batch(1).schema(), {
        let mut columns = batch(1).columns().to_vec();
        columns[1] = times(&[time(1) - 1]);
        columns
    });
    assert_eq!(store.write_sync(&view, &older.unwrap(), None).unwrap().superseded, 1);
}
