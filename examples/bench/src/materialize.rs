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
    for batch in history.scan(view, &HistoryRequest::all())? {
        keys.extend(batch?.rows.column(0).as_primitive::<Int64Type>().iter().flatten());
    }
    Ok(keys.len())
}

/// Materializes the files of the data folder. What is measured per view is the whole job, reading of history included.
pub(crate) fn run(options: &Options) -> Result<Outcome, Box<dyn std::error::Error>> {
    let work = tempfile::tempdir()?;
    let history = ParquetStore::open(work.path().join("history"))?;
    let online = open(options, work.path())?;
    let chunks = MaterializeOptions::builder().chunk_rows(options.chunk_rows).build()?;
    let (mut figures, mut rows) = (Map::new(), 0);
    let (mut all_keys, mut all_cpu_s) = (0, 0.0);
    for (name, features, ttl_s) in VIEWS {
        let view = view(name, features, ttl_s)?;
        let source = ParquetSource::open(options.data.join(format!("{name}.parquet")))?;
        history.append(&view, &Dataset::from_source(Arc::new(source))?)?;
        let start = Usage::now()?;
        let report = materialize(&history, &*online, &view, &chunks, &mut |_| true)?;
        let used = Usage::now()?.since(&start);
        let keys = keys(&history, &view)?;
        let figure: Value = json!({
            "rows": report.rows, "written": report.online.written, "keys": keys, "cpu_s": used.cpu_s, "wall_s": used.wall_s,
            "keys_per_cpu_s": (keys as f64 / used.cpu_s).round(), "rows_per_cpu_s": (report.rows as f64 / used.cpu_s).round(),
        });
        figures.insert(name.into(), figure);
        rows += report.rows;
        all_keys += keys;
        all_cpu_s += used.cpu_s;
    }
    figures.insert("keys".into(), json!(all_keys));
    figures.insert("materialize_cpu_s".into(), json!(all_cpu_s));
    figures.insert("keys_per_cpu_s".into(), json!((all_keys as f64 / all_cpu_s).round()));
    Ok(Outcome { rows, figures })
}
