//! Every store of ours passes the kit of its trait, also behind a wrapper.

use std::sync::atomic::{AtomicU64, Ordering};

use mlops_features::offline::{NativeEngine, ParquetStore};
use mlops_features::online::{MemoryStore, RedbStore, SqliteStore};
use mlops_features::testkit::{
    Faults, FlakyOfflineStore, FlakyOnlineStore, NestedLoopEngine, append_once, as_of_engine, block_on, offline_store,
    online_store,
};

/// Makes a fresh path each time it is called.
fn paths(folder: &tempfile::TempDir) -> impl Fn() -> std::path::PathBuf {
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
fn parquet_is_an_offline_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = paths(&folder);
    offline_store(|| ParquetStore::open(path()).unwrap());
    append_once(|| ParquetStore::open(path()).unwrap());
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
