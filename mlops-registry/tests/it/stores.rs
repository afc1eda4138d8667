//! The kits on every store, and what they make of bad input.

use std::fs;
use std::time::Duration;

use mlops_registry::artifact::{ArtifactStore, ArtifactStoreExt, FileArtifacts, MemoryArtifacts, Sha256};
use mlops_registry::testkit::{
    Faults, FlakyArtifacts, FlakyRuns, FlakyVersions, artifact_store, model_registry, run_store,
};
use mlops_registry::version::ModelRegistry;
use mlops_registry::{Error, SqliteStore};
use tempfile::TempDir;

/// A store that keeps its folder alive.
fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn sqlite() -> SqliteStore {
    // The folder is left to the operating system: the store must outlive this function.
    SqliteStore::open(folder().keep().join("registry.db")).unwrap()
}

fn files() -> FileArtifacts {
    FileArtifacts::open(folder().keep()).unwrap()
}

#[test]
fn artifacts_in_memory_keep_the_contract() {
    artifact_store(MemoryArtifacts::new);
    artifact_store(|| FlakyArtifacts::new(MemoryArtifacts::new(), Faults::default()));
}

#[test]
fn artifacts_in_files_keep_the_contract() {
    artifact_store(files);
}

#[test]
fn runs_in_sqlite_keep_the_contract() {
    run_store(sqlite);
    run_store(|| FlakyRuns::new(sqlite(), Faults::default()));
}

#[test]
fn versions_in_sqlite_keep_the_contract() {
    model_registry(sqlite);
    model_registry(|| FlakyVersions::new(sqlite(), Faults::default()));
}

#[test]
fn every_flipped_byte_of_a_stored_artifact_is_noticed() {
    let root = folder();
    let store = FileArtifacts::open(root.path()).unwrap();
    let blob = store.put_bytes(&(0..=255).collect::<Vec<u8>>()).unwrap();
    let hex = blob.digest.to_string();
    let path = root.path().join(&hex[..2]).join(&hex[2..]);
    let good = fs::read(&path).unwrap();
    for position in 0..good.len() {
        let mut bad = good.clone();
        bad[position] ^= 1;
        fs::write(&path, bad).unwrap();
        let error = store.get(&blob.digest, 1 << 20).unwrap_err();
        assert!(matches!(error, Error::Core(mlops_core::Error::Corrupt { .. })), "byte {position}: {error}");
    }
    fs::write(&path, &good[..100]).unwrap();
    assert!(store.verify(&blob.digest).is_err(), "a cut file is noticed");
}

#[test]
fn a_link_in_the_place_of_an_artifact_is_not_followed() {
    let root = folder();
    let store = FileArtifacts::open(root.path()).unwrap();
    let hex = Sha256::of(b"secret").to_string();
    fs::create_dir(root.path().join(&hex[..2])).unwrap();
    std::os::unix::fs::symlink("/etc/hostname", root.path().join(&hex[..2]).join(&hex[2..])).unwrap();
    assert!(store.size(&Sha256::of(b"secret")).is_err());
}

#[test]
fn a_file_that_is_not_a_registry_is_refused_by_name() {
    let root = folder();
    let path = root.path().join("registry.db");
    fs::write(&path, vec![b'x'; 4096]).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(
        matches!(error, Error::Core(mlops_core::Error::Corrupt { .. })) && error.to_string().contains("registry.db"),
        "{error}"
    );
    assert!(SqliteStore::open(root.path().join("no/such/folder/registry.db")).is_err());
}

#[test]
fn a_registry_of_a_newer_version_is_refused() {
    let root = folder();
    let path = root.path().join("registry.db");
    drop(SqliteStore::open(&path).unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(SqliteStore::open(&path), Err(Error::Format { found: 99, .. })));
}

#[test]
fn a_locked_registry_is_busy_after_the_stated_wait() {
    let root = folder();
    let path = root.path().join("registry.db");
    let store = SqliteStore::open_within(&path, Duration::from_millis(50)).unwrap();
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = SqliteStore::open_within(&path, Duration::from_millis(50)).unwrap_err();
    assert!(matches!(error, Error::Core(mlops_core::Error::Busy { .. })), "{error}");
    assert!(store.models().is_ok(), "readers go on while somebody writes");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(SqliteStore::open(&path).is_ok());
}
