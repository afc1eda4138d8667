//! Every store of ours passes the kit of its trait, also behind a wrapper.

use std::sync::atomic::{AtomicU64, Ordering};

use mlops_core::{Dataset, Digest, EventTime};
use mlops_features::offline::{
    AppendOnce, Appended, AsOfOptions, CompactOptions, HistoryRequest, HistoryStream, NativeEngine, OfflineStore, Once,
    ParquetStore, TrainingSet,
};
use mlops_features::online::{MemoryStore, RedbStore, SqliteStore};
use mlops_features::testkit::{
    Faults, FlakyOfflineStore, FlakyOnlineStore, NestedLoopEngine, append_once, as_of_engine, block_on, offline_store,
    online_store, state_store,
};
use mlops_features::{FeatureView, Result, ViewJoin};

/// Makes a fresh path each time it is called.
pub(crate) fn paths(folder: &tempfile::TempDir) -> impl Fn() -> std::path::PathBuf {
    let (folder, next) = (folder.path().to_owned(), AtomicU64::new(0));
    move || folder.join(next.fetch_add(1, Ordering::Relaxed).to_string())
}

#[test]
fn memory_is_an_online_store() {
    block_on(online_store(MemoryStore::new));
}

#[test]
fn redb_is_an_online_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = paths(&folder);
    block_on(online_store(|| RedbStore::open(path()).unwrap()));
}

#[test]
fn sqlite_is_an_online_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = paths(&folder);
    block_on(online_store(|| SqliteStore::open(path()).unwrap()));
}

#[test]
fn embedded_stores_keep_states() {
    let folder = tempfile::tempdir().unwrap();
    let path = paths(&folder);
    state_store(MemoryStore::new);
    state_store(|| RedbStore::open(path()).unwrap());
    state_store(|| SqliteStore::open(path()).unwrap());
    state_store(|| FlakyOnlineStore::new(MemoryStore::new(), Faults::default()));
}

#[test]
fn parquet_is_an_offline_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = paths(&folder);
    offline_store(|| ParquetStore::open(path()).unwrap());
    append_once(|| ParquetStore::open(path()).unwrap());
}

/// A store that is compacted before each reading.
#[derive(Debug)]
struct Compacted(ParquetStore);

impl Compacted {
    fn compacted(&self, view: &FeatureView) -> Result<&ParquetStore> {
        let options = CompactOptions { rows_max: 1_000, files_min: 2, grace_us: 0 };
        self.0.compact(view, &options, EventTime::MAX)?;
        Ok(&self.0)
    }
}

impl OfflineStore for Compacted {
    fn append(&self, view: &FeatureView, rows: &Dataset) -> Result<Appended> {
        self.0.append(view, rows)
    }

    fn scan(&self, view: &FeatureView, request: &HistoryRequest) -> Result<HistoryStream> {
        self.compacted(view)?.scan(view, request)
    }

    fn as_of(&self, spine: &Dataset, joins: &[ViewJoin], options: &AsOfOptions) -> Result<TrainingSet> {
        joins.iter().try_for_each(|join| self.compacted(join.view()).map(|_| ()))?;
        self.0.as_of(spine, joins, options)
    }
}

impl AppendOnce for Compacted {
    fn appended(&self, view: &FeatureView, id: &Digest) -> Result<Option<Appended>> {
        self.0.appended(view, id)
    }

    fn append_once(&self, view: &FeatureView, id: &Digest, rows: &Dataset) -> Result<Once> {
        self.0.append_once(view, id, rows)
    }
}

#[test]
fn parquet_is_one_too_while_it_is_compacted() {
    let folder = tempfile::tempdir().unwrap();
    let path = paths(&folder);
    offline_store(|| Compacted(ParquetStore::open(path()).unwrap()));
    append_once(|| Compacted(ParquetStore::open(path()).unwrap()));
}

#[test]
fn flaky_stores_without_faults_are_what_they_wrap() {
    let folder = tempfile::tempdir().unwrap();
    let path = paths(&folder);
    block_on(online_store(|| FlakyOnlineStore::new(MemoryStore::new(), Faults::default())));
    offline_store(|| FlakyOfflineStore::new(ParquetStore::open(path()).unwrap(), Faults::default()));
}

#[test]
fn our_own_engine_obeys_the_law_and_so_does_the_law() {
    as_of_engine(&NativeEngine);
    as_of_engine(&NestedLoopEngine);
}

#[cfg(feature = "polars")]
#[test]
fn polars_obeys_the_law() {
    as_of_engine(&mlops_features::offline::PolarsEngine);
}
