//! The latest rows of three views from history into an online store.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use mlops_core::Dataset;
use mlops_core::source::ParquetSource;
use mlops_features::offline::{HistoryRequest, OfflineStore, ParquetStore};
use mlops_features::online::{MemoryStore, OnlineStore, RedbStore, RedisStore, SqliteStore};
use mlops_features::{FeatureView, MaterializeOptions, materialize};
use serde_json::{Map, Value, json};

use crate::as_of_join::{VIEWS, view};
use crate::usage::Usage;
use crate::{Options, Outcome};

/// Which store the rows are brought to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Store {
    /// In this process.
    Memory,
    /// One file, one process.
    Redb,
    /// One file, several processes.
    Sqlite,
    /// The server of `--redis`.
    Redis,
}

/// Opens an empty store.
fn open(options: &Options, folder: &Path) -> mlops_features::Result<Arc<dyn OnlineStore>> {
    Ok(match options.store {
        Store::Memory => Arc::new(MemoryStore::new()),
        Store::Redb => {
            let store = RedbStore::builder(folder.join("online.redb")).cache_bytes(options.cache_mb << 20);
            Arc::new(store.open()?)
        }
        Store::Sqlite => Arc::new(SqliteStore::open(folder.join("online.db"))?),
        Store::Redis => {
            let prefix = format!("bench-{}", std::process::id());
            Arc::new(RedisStore::builder(&options.redis).prefix(prefix).open()?)
        }
    })
}

/// How many different keys the history of `view` has.
fn keys(history: &ParquetStore, view: &FeatureView) -> mlops_features::Result<usize> {
    let mut keys = HashSet::new();
    for batch in history.scan(view, &HistoryRequest::all().features([]))? {
        keys.extend(batch?.rows.column(0).as_primitive::<Int64Type>().iter().flatten());
    }
    Ok(keys.len())
}

/// Processor seconds of reading all of the history of `view`, and nothing else: below them no materialization comes.
fn read_cpu_s(history: &ParquetStore, view: &FeatureView) -> Result<f64, Box<dyn std::error::Error>> {
    let start = Usage::now()?;
    for batch in history.scan(view, &HistoryRequest::all())? {
        std::hint::black_box(batch?);
    }
    Ok(Usage::now()?.since(&start).cpu_s)
}

fn settings(options: &Options) -> mlops_features::Result<MaterializeOptions> {
    let mut settings = MaterializeOptions::builder();
    if let Some(rows) = options.chunk_rows {
        settings = settings.chunk_rows(rows);
    }
    if let Some(memory_mb) = options.memory_mb {
        settings = settings.memory_bytes((memory_mb as usize) << 20);
    }
    settings.build()
}

/// Materializes the files of the data folder. What is measured per view is the whole job, reading of history included;
/// `again` is the same history once more, which finds every key stored.
pub(crate) fn run(options: &Options) -> Result<Outcome, Box<dyn std::error::Error>> {
    let work = tempfile::tempdir()?;
    let history = ParquetStore::open(work.path().join("history"))?;
    let online = open(options, work.path())?;
    let settings = settings(options)?;
    let (mut figures, mut rows) = (Map::new(), 0);
    let (mut all_keys, mut all_cpu_s, mut again_cpu_s) = (0, 0.0, 0.0);
    for (name, features, ttl_s) in VIEWS {
        let view = view(name, features, ttl_s)?;
        let source =
            Dataset::from_source(Arc::new(ParquetSource::open(options.data.join(format!("{name}.parquet")))?))?;
        history.append(&view, &source)?;
        let read_cpu_s = read_cpu_s(&history, &view)?;
        let start = Usage::now()?;
        let report = materialize(&history, &*online, &view, &settings, &mut |_| true)?;
        let used = Usage::now()?.since(&start);
        let keys = keys(&history, &view)?;
        history.append(&view, &source)?;
        let start = Usage::now()?;
        let again = materialize(&history, &*online, &view, &settings, &mut |_| true)?;
        let used_again = Usage::now()?.since(&start);
        let figure: Value = json!({
            "rows": report.rows, "written": report.online.written, "chunks": report.chunks, "keys": keys,
            "read_cpu_s": read_cpu_s, "cpu_s": used.cpu_s, "wall_s": used.wall_s,
            "keys_per_cpu_s": (keys as f64 / used.cpu_s).round(), "rows_per_cpu_s": (report.rows as f64 / used.cpu_s).round(),
            "again_written": again.online.written, "again_cpu_s": used_again.cpu_s,
        });
        figures.insert(name.into(), figure);
        rows += report.rows;
        all_keys += keys;
        all_cpu_s += used.cpu_s;
        again_cpu_s += used_again.cpu_s;
    }
    figures.insert("keys".into(), json!(all_keys));
    figures.insert("materialize_cpu_s".into(), json!(all_cpu_s));
    figures.insert("keys_per_cpu_s".into(), json!((all_keys as f64 / all_cpu_s).round()));
    figures.insert("rows_per_cpu_s".into(), json!((rows as f64 / all_cpu_s).round()));
    figures.insert("again_keys_per_cpu_s".into(), json!((all_keys as f64 / again_cpu_s).round()));
    Ok(Outcome { rows, figures })
}
