//! Reads of 100 entities, 20 features in 3 views, from Redis, beside one plain `MGET` for as many bytes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use mlops_features::online::{OnlineRead, OnlineStore, RedisStore};
use mlops_features::testkit::block_on;
use mlops_features::{FeatureView, Keys};
use serde_json::{Map, json};

use crate::Outcome;
use crate::as_of_join::{VIEWS, view};

const KEYS: i64 = 10_000;
const ENTITIES: i64 = 100;
const ROUNDS: i64 = 4_000;

fn rows(view: &FeatureView) -> Result<RecordBatch, Box<dyn std::error::Error>> {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..KEYS));
    let times: ArrayRef = Arc::new(TimestampMicrosecondArray::from_iter_values(0..KEYS).with_timezone("UTC"));
    let mut columns =
        vec![("user_id".to_owned(), ids), ("event_timestamp".to_owned(), times.clone()), ("created".to_owned(), times)];
    for (at, feature) in view.features().iter().enumerate() {
        let values: Float64Array = (0..KEYS).map(|key| Some(key as f64 + at as f64 * 0.5)).collect();
        columns.push((feature.name.to_string(), Arc::new(values)));
    }
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// The ids of one request: other ones each time.
fn ids(round: i64) -> Vec<i64> {
    (0..ENTITIES).map(|at| (round * 7_919 + at * 104_729) % KEYS).collect()
}

/// The plainest client there is: sends bytes and waits until as many have come back as must.
struct Plain(TcpStream);

impl Plain {
    fn connect(url: &str) -> std::io::Result<Self> {
        let place = url.trim_start_matches("redis://").split('/').next().unwrap_or_default();
        let stream = TcpStream::connect(place)?;
        stream.set_nodelay(true)?;
        Ok(Self(stream))
    }

    fn ask(&mut self, request: &[u8], answer: &mut [u8]) -> std::io::Result<()> {
        self.0.write_all(request)?;
        self.0.read_exact(answer)
    }
}

fn command(parts: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        bytes.extend(format!("${}\r\n", part.len()).into_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

/// Median and 99th percentile, in microseconds.
fn percentiles(mut times: Vec<f64>) -> (f64, f64) {
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    (at(0.5), at(0.99))
}

/// What one round asks for, in every way.
struct Round {
    keys: Keys,
    /// The rows that the store asks for, and how many bytes the answer has.
    rows: (Vec<u8>, usize),
    /// One packed value per entity.
    packed: (Vec<u8>, usize),
}

impl Round {
    fn new(round: i64, prefix: &str, views: &[FeatureView]) -> Result<Self, Box<dyn std::error::Error>> {
        let ids = ids(round);
        let keys = Keys::new(views[0].entity(), &[Arc::new(Int64Array::from(ids.clone())) as ArrayRef])?;
        let mut parts = vec![b"MGET".to_vec()];
        let mut bytes = format!("*{}\r\n", 3 * ENTITIES).len();
        for (view, (_, features, _)) in views.iter().zip(VIEWS) {
            for row in 0..keys.len() {
                let mut key = format!("{prefix}:row:{}:", view.name()).into_bytes();
                keys.encode(row, &mut key);
                parts.push(key);
            }
            let row = 21 + (features + 1).div_ceil(8) + 8 * features + 4;
            bytes += ENTITIES as usize * (format!("${row}\r\n").len() + row + 2);
        }
        let rows = (command(&parts), bytes);
        let mut parts = vec![b"MGET".to_vec()];
        parts.extend(ids.iter().map(|id| format!("{prefix}:plain:{id}").into_bytes()));
        let packed = (command(&parts), format!("*{ENTITIES}\r\n").len() + ENTITIES as usize * (6 + 160 + 2));
        Ok(Self { keys, rows, packed })
    }
}

/// Measures one after the other, in an order that turns with each round and each for keys that nobody asked for just before, so
/// that whatever else the machine does and whatever lies in the caches of both sides falls on all of them alike.
pub(crate) fn run(_folder: &Path, url: &str) -> Result<Outcome, Box<dyn std::error::Error>> {
    let prefix = format!("bench-{}", std::process::id());
    let store = RedisStore::builder(url).prefix(&prefix).open()?;
    let views = VIEWS.map(|(name, features, ttl_s)| view(name, features, ttl_s));
    let views = views.into_iter().collect::<Result<Vec<_>, _>>()?;
    let features: Vec<Vec<usize>> = views.iter().map(|view| (0..view.features().len()).collect()).collect();
    for view in &views {
        store.write_sync(view, &rows(view)?, None)?;
    }
    let mut plain = Plain::connect(url)?;
    let value = vec![0x55_u8; 160];
    for key in 0..KEYS {
        let set = command(&[b"SET".to_vec(), format!("{prefix}:plain:{key}").into_bytes(), value.clone()]);
        plain.ask(&set, &mut [0; 5])?;
    }
    let mut times: [Vec<f64>; 4] = Default::default();
    for round in 0..ROUNDS {
        for step in 0..times.len() {
            let turn = if round % 2 == 0 { step } else { times.len() - step };
            let way = (round as usize + turn) % times.len();
            let asked = Round::new(round + way as i64 * ROUNDS / 4, &prefix, &views)?;
            let read = |at: usize| OnlineRead { view: &views[at], features: &features[at], keys: &asked.keys };
            let reads = [read(0), read(1), read(2)];
            let started = Instant::now();
            let whole = match way {
                0 => store.read_sync(&reads)?[2].found(99),
                1 => block_on(store.read(&reads))?[2].found(99),
                _ => {
                    // As the store, it makes room for each answer.
                    let (request, bytes) = if way == 2 { &asked.rows } else { &asked.packed };
                    let mut answer = vec![0; *bytes];
                    plain.ask(request, &mut answer)?;
                    answer.ends_with(b"\r\n")
                }
            };
            times[way].push(started.elapsed().as_secs_f64() * 1e6);
            assert!(whole, "every key is there, and an answer is as long as it should be");
        }
    }
    let mut figures = Map::new();
    let names = ["read_sync", "read_async", "plain_mget_300_rows", "plain_mget_100_packed"];
    let mut medians = Vec::new();
    for (name, times) in names.into_iter().zip(times) {
        let (p50, p99) = percentiles(times);
        medians.push(p50);
        figures.insert(name.into(), json!({"p50_us": p50, "p99_us": p99}));
    }
    figures.insert("sync_over_mget_300".into(), json!(medians[0] / medians[2]));
    figures.insert("async_over_mget_300".into(), json!(medians[1] / medians[2]));
    figures.insert("sync_over_mget_100_packed".into(), json!(medians[0] / medians[3]));
    Ok(Outcome { rows: (ROUNDS * ENTITIES) as u64, figures })
}
