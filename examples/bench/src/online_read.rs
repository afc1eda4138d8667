//! Reads of 20 features in 3 views, for 1 and for 100 entities, from the stores that live in this process.

use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::Float64Type;
use mlops_core::EventTime;
use mlops_features::online::{MemoryStore, OnlineStore, RedbStore};
use mlops_features::{
    Entity, FeatureServer, FeatureService, FeatureServiceBuilder, FeatureVectors, FeatureView, KeyType, ServingPlan,
    ValueType, ViewUse,
};
use serde_json::{Map, Value, json};

use crate::Outcome;

type Failure = Box<dyn std::error::Error>;

const KEYS: i64 = 10_000;

/// Requests that differ, asked in turn.
const REQUESTS: i64 = 512;

/// Reads that are timed, of one and of many entities.
const TIMED: [(i64, usize); 2] = [(1, 200_000), (100, 20_000)];

pub(crate) fn views() -> mlops_features::Result<Vec<FeatureView>> {
    let view = |(name, features): (&str, usize)| {
        let user = Entity::builder("user").key("user_id", KeyType::Int64).build()?;
        let view = FeatureView::builder(name, user);
        (0..features).fold(view, |view, i| view.feature(format!("{name}_f{i}"), ValueType::Float64)).build()
    };
    [("fv_a", 8), ("fv_b", 8), ("fv_c", 4)].into_iter().map(view).collect()
}

/// One row per key, at the instant `at`; every 20th value is null.
pub(crate) fn rows(view: &FeatureView, at: i64) -> Result<RecordBatch, Failure> {
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..KEYS));
    let times = TimestampMicrosecondArray::from(vec![at; KEYS as usize]).with_timezone("UTC");
    let mut columns = vec![("user_id".to_owned(), keys), ("event_timestamp".to_owned(), Arc::new(times) as ArrayRef)];
    for (i, feature) in view.features().iter().enumerate() {
        let value = |key: i64| ((key + i as i64) % 20 != 0).then_some(key as f64 / 7.0);
        columns.push((feature.name.to_string(), Arc::new((0..KEYS).map(value).collect::<Float64Array>())));
    }
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// All features of `views`, as the service `all`.
pub(crate) fn service(views: &[FeatureView]) -> mlops_features::Result<FeatureService> {
    let used = views.iter().map(|view| ViewUse::all(view.name().as_str()));
    let used = used.collect::<mlops_features::Result<Vec<_>>>()?.into_iter();
    used.fold(FeatureService::builder("all"), FeatureServiceBuilder::using).build()
}

/// Stores in this process answer at once.
fn get(server: &FeatureServer, entities: &RecordBatch) -> Result<FeatureVectors, Failure> {
    let mut reading = pin!(server.get(entities, EventTime::from_secs(1)));
    match reading.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(vectors) => Ok(vectors?),
        Poll::Pending => Err("a store in this process made its reader wait".into()),
    }
}

fn requests(entities: i64) -> Result<Vec<RecordBatch>, Failure> {
    let request = |i: i64| {
        let keys = (0..entities).map(|k| (i * 7_919 + k * 104_729) % KEYS);
        Ok(RecordBatch::try_from_iter([("user_id", Arc::new(Int64Array::from_iter_values(keys)) as ArrayRef)])?)
    };
    (0..REQUESTS).map(request).collect()
}

/// Times reads one by one and tells their quantiles in nanoseconds under `name`.
fn time(
    name: &str,
    server: &FeatureServer,
    entities: i64,
    reads: usize,
    told: &mut Map<String, Value>,
) -> Result<(), Failure> {
    let requests = requests(entities)?;
    let mut nanos = Vec::with_capacity(reads);
    for request in requests.iter().cycle().take(reads / 10 + reads) {
        let start = Instant::now();
        std::hint::black_box(get(server, request)?);
        nanos.push(start.elapsed().as_nanos() as u64);
    }
    // The first tenth warms up.
    let mut nanos = nanos.split_off(reads / 10);
    nanos.sort_unstable();
    for (quantile, at) in [("p50", reads / 2), ("p99", reads * 99 / 100)] {
        told.insert(format!("{name}_{entities}x20_{quantile}_ns"), json!(nanos[at]));
    }
    Ok(())
}

/// Reads from both stores, and from memory while another thread writes all rows again and again. The checksum is the number
/// and the sum of the values of one hundred entities.
pub(crate) fn run(folder: &Path) -> Result<Outcome, Failure> {
    let views = views()?;
    let path = folder.join(format!("online-read-{}.redb", std::process::id()));
    let memory = Arc::new(MemoryStore::new());
    let redb = Arc::new(RedbStore::open(&path)?);
    for view in &views {
        memory.write_sync(view, &rows(view, 0)?, None)?;
        redb.write_sync(view, &rows(view, 0)?, None)?;
    }
    let service = service(&views)?;
    let plan = ServingPlan::compile(&service, &views)?;
    let mut figures = Map::new();
    let stores: [(&str, Arc<dyn OnlineStore>); 2] = [("memory", memory.clone()), ("redb", redb)];
    for (name, store) in stores {
        let server = FeatureServer::new(plan.clone(), store);
        for (entities, reads) in TIMED {
            time(name, &server, entities, reads, &mut figures)?;
        }
    }
    std::fs::remove_file(&path)?;
    let server = FeatureServer::new(plan, memory.clone());
    let batches = views.iter().map(|view| rows(view, 1)).collect::<Result<Vec<_>, _>>()?;
    let done = AtomicBool::new(false);
    let written = std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> mlops_features::Result<u64> {
            let mut written = 0;
            while !done.load(Ordering::Relaxed) {
                for (view, batch) in views.iter().zip(&batches) {
                    written += memory.write_sync(view, batch, None)?.written;
                }
            }
            Ok(written)
        });
        let timed =
            TIMED.into_iter().try_for_each(|(n, reads)| time("memory_written", &server, n, reads, &mut figures));
        done.store(true, Ordering::Relaxed);
        timed.and(writer.join().map_err(|_| "the writer panicked")?.map_err(Failure::from))
    })?;
    figures.insert("rows_written_meanwhile".into(), json!(written));
    let vectors = get(&server, &requests(100)?[0])?;
    let columns = || vectors.columns().iter().map(AsArray::as_primitive::<Float64Type>);
    figures.insert("nonnull".into(), json!(columns().map(|c| c.len() - c.null_count()).sum::<usize>()));
    figures.insert("sum".into(), json!((columns().flatten().flatten().sum::<f64>() * 1_000.0).round() / 1_000.0));
    Ok(Outcome { rows: vectors.rows() as u64, figures })
}
