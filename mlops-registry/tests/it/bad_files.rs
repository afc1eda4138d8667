//! Files that are locked, damaged, foreign or missing: a typed error that names them, and nothing else changed.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlops_core::{Error as Core, EventTime, Name};
use mlops_registry::artifact::{ArtifactStore, ArtifactStoreExt, FileArtifacts, Manifest, Sha256};
use mlops_registry::flavor::Flavors;
use mlops_registry::run::{NewRun, RunQuery, RunStore};
use mlops_registry::version::{ModelRegistry, NewModel, Registry};
use mlops_registry::{Error, Result, SqliteStore};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::training::step_model;

fn begin(store: &SqliteStore, name: &str) -> Result<mlops_registry::run::RunId> {
    store.begin(&NewRun {
        experiment: Name::new("offers").unwrap(),
        name: name.to_owned(),
        parent: None,
        inputs: vec![],
        code_version: "1".to_owned(),
        started: EventTime::EPOCH,
    })
}

#[track_caller]
fn names(error: &Error, file: &str) {
    assert!(error.to_string().contains(file), "{error} does not name {file}");
}

#[test]
fn a_registry_that_another_connection_holds_is_busy_after_a_bounded_wait() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("registry.db");
    let store = SqliteStore::open_within(&path, Duration::from_millis(100)).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let started = Instant::now();
    for error in [
        SqliteStore::open_within(&path, Duration::from_millis(100)).unwrap_err(),
        begin(&store, "locked out").unwrap_err(),
    ] {
        assert!(matches!(&error, Error::Core(Core::Busy { .. })), "{error:?}");
        names(&error, "registry.db");
    }
    // Each of the few statements of an open may wait once; without a bound this would never come back.
    assert!(started.elapsed() < Duration::from_mins(1));
    other.execute_batch("ROLLBACK").unwrap();
    begin(&store, "free again").unwrap();
    assert_eq!(store.search(&RunQuery::default()).unwrap().len(), 1, "nothing of the refused run is there");
}

#[test]
fn a_writer_waits_for_another_that_lets_go_in_time() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("registry.db");
    let store = SqliteStore::open_within(&path, Duration::from_mins(1)).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| begin(&store, "patient"));
        std::thread::sleep(Duration::from_millis(30));
        other.execute_batch("ROLLBACK").unwrap();
        waiting.join().unwrap().unwrap();
    });
}

#[test]
fn many_openers_of_one_new_file_all_get_it() {
    for _ in 0..10 {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("registry.db");
        std::thread::scope(|scope| {
            let open = |name: String| begin(&SqliteStore::open(&path)?, &name);
            let openers: Vec<_> = (0..8).map(|i| scope.spawn(move || open(i.to_string()))).collect();
            openers.into_iter().for_each(|opener| drop(opener.join().unwrap().unwrap()));
        });
        assert_eq!(SqliteStore::open(&path).unwrap().search(&RunQuery::default()).unwrap().len(), 8);
    }
}

#[test]
fn a_file_of_another_program_is_refused_and_stays_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    for (name, sql) in [
        ("notes.db", "CREATE TABLE notes (text TEXT); INSERT INTO notes VALUES ('mine')"),
        ("numbered.db", "CREATE TABLE notes (text TEXT); PRAGMA user_version = 1"),
        ("newer.db", "CREATE TABLE notes (text TEXT); PRAGMA user_version = 7"),
        ("signed.db", "CREATE TABLE notes (text TEXT); PRAGMA application_id = 77"),
        ("alike.db", "CREATE TABLE runs (id TEXT); CREATE TABLE versions (model TEXT); PRAGMA user_version = 1"),
    ] {
        let path = root.path().join(name);
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let before = fs::read(&path).unwrap();
        let error = SqliteStore::open(&path).unwrap_err();
        assert!(matches!(&error, Error::Core(Core::InvalidData { .. })), "{name}: {error:?}");
        names(&error, name);
        assert_eq!(fs::read(&path).unwrap(), before, "{name} was changed");
        assert_eq!(fs::read_dir(root.path()).unwrap().count(), 1, "{name}: something was left beside it");
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn a_registry_of_a_newer_version_is_named_with_its_number_and_stays_as_it_is() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("registry.db");
    begin(&SqliteStore::open(&path).unwrap(), "kept").unwrap();
    let raw = Connection::open(&path).unwrap();
    // A newer version may also have renamed tables.
    raw.execute_batch("ALTER TABLE aliases RENAME TO pointers; PRAGMA user_version = 2").unwrap();
    drop(raw);
    let before = fs::read(&path).unwrap();
    let error = SqliteStore::open(&path).unwrap_err();
    assert!(matches!(error, Error::Format { found: 2, known: 1, .. }), "{error:?}");
    assert_eq!(fs::read(&path).unwrap(), before);
}

/// A registry file with a page or two of every table.
fn filled(root: &TempDir) -> Vec<u8> {
    let path = root.path().join("whole.db");
    let store = SqliteStore::open(&path).unwrap();
    for i in 0..40 {
        begin(&store, &format!("run {i} {}", "x".repeat(300))).unwrap();
    }
    drop(store);
    fs::read(&path).unwrap()
}

/// Opens and reads everything.
fn read_all(path: &Path) -> Result<usize> {
    let store = SqliteStore::open_within(path, Duration::from_millis(50))?;
    let runs = store.search(&RunQuery::default())?;
    for run in &runs {
        RunStore::history(&store, &run.id, "loss").map(drop)?;
    }
    Ok(runs.len() + store.models()?.len())
}

#[test]
fn a_cut_registry_is_corrupt_wherever_it_was_cut() {
    let root = tempfile::tempdir().unwrap();
    let whole = filled(&root);
    let path = root.path().join("cut.db");
    let pages = (1..whole.len() / 4096).map(|page| page * 4096);
    for length in pages.chain([1, 15, 16, 99, 100, 511, 4095, 5000, whole.len() - 1]) {
        fs::write(&path, &whole[..length]).unwrap();
        let error = read_all(&path).expect_err("a cut file is noticed");
        let typed = matches!(&error, Error::Core(Core::Corrupt { .. } | Core::InvalidData { .. }));
        assert!(typed, "cut to {length}: {error:?}");
        names(&error, "cut.db");
    }
}

#[test]
fn flipped_bits_of_a_registry_never_panic_and_are_typed_where_they_are_noticed() {
    let root = tempfile::tempdir().unwrap();
    let whole = filled(&root);
    let path = root.path().join("flipped.db");
    let mut noticed = 0;
    for at in (0..whole.len()).step_by(whole.len() / 400) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&path, damaged).unwrap();
        if let Err(error) = read_all(&path) {
            let known = matches!(
                &error,
                Error::Format { .. }
                    | Error::Core(
                        Core::Corrupt { .. }
                            | Core::InvalidData { .. }
                            | Core::Invalid { .. }
                            | Core::NotFound { .. }
                            | Core::Io { .. }
                            | Core::External { .. }
                    )
            );
            assert!(known, "flip at {at}: {error:?}");
            noticed += 1;
        }
    }
    assert!(noticed > 20, "only {noticed} of 400 flips were noticed");
}

#[test]
fn places_that_are_no_files_are_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let error = SqliteStore::open(root.path()).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::Io { .. })), "{error:?}");
    let error = SqliteStore::open(root.path().join("no/such/registry.db")).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::Io { .. })), "{error:?}");
    names(&error, "no/such/registry.db");
    let error = SqliteStore::open("a\0b.db").unwrap_err();
    assert!(matches!(&error, Error::Core(Core::Invalid { .. })), "{error:?}");
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let error = FileArtifacts::open(file.join("below")).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::Io { .. })), "{error:?}");
    assert!(FileArtifacts::open(root.path().join("a\0b")).is_err());
}

/// A registry over files, with one model.
struct Filed {
    root: TempDir,
    registry: Registry,
    model: Name,
    alias: Name,
}

impl Filed {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let rows = Arc::new(SqliteStore::open(root.path().join("registry.db")).unwrap());
        let artifacts = Arc::new(FileArtifacts::open(root.path().join("artifacts")).unwrap());
        let registry = Registry::new(rows, artifacts, Flavors::all());
        Self { root, registry, model: Name::new("offers").unwrap(), alias: Name::new("production").unwrap() }
    }

    fn register(&self, cut: f64) -> Result<u32> {
        self.register_with(cut, BTreeMap::from([("report.html".to_owned(), b"<p>fine</p>".to_vec())]))
    }

    fn register_with(&self, cut: f64, files: BTreeMap<String, Vec<u8>>) -> Result<u32> {
        let trained = step_model(cut);
        let version = self.registry.register(NewModel {
            name: self.model.clone(),
            model: trained.model.as_ref(),
            run: None,
            trained_on: vec![],
            metrics: BTreeMap::new(),
            files,
            tags: BTreeMap::new(),
            by: "test".to_owned(),
            at: EventTime::EPOCH,
        })?;
        Ok(version.number)
    }

    fn promote(&self, number: u32) -> Result<mlops_registry::version::Promotion> {
        self.registry.promote(&mlops_registry::version::PromotionRequest {
            model: self.model.clone(),
            alias: self.alias.clone(),
            candidate: number,
            gate: mlops_registry::version::Gate::new(),
            evidence: None,
            by: "test".to_owned(),
            at: EventTime::EPOCH,
        })
    }

    fn manifest(&self, number: u32) -> (Sha256, Manifest) {
        let digest = self.registry.versions().version(&self.model, number).unwrap().made.manifest;
        (digest, self.registry.artifacts().manifest(&digest).unwrap())
    }

    fn path(&self, digest: &Sha256) -> std::path::PathBuf {
        let hex = digest.to_string();
        self.root.path().join("artifacts").join(&hex[..2]).join(&hex[2..])
    }
}

#[test]
fn a_version_whose_bytes_were_changed_on_disk_is_neither_loaded_nor_promoted() {
    for entry in ["model", "report.html", "the manifest itself"] {
        let filed = Filed::new();
        let (good, bad) = (filed.register(50.0).unwrap(), filed.register(60.0).unwrap());
        assert!(filed.promote(good).unwrap().promoted());
        // The report is shared by both versions, so it is the candidate alone that is given another one.
        let (digest, manifest) = filed.manifest(bad);
        let damaged = manifest.entry(entry).map_or(digest, |entry| entry.digest);
        let path = filed.path(&damaged);
        let mut bytes = fs::read(&path).unwrap();
        bytes[0] ^= 1;
        fs::write(&path, &bytes).unwrap();
        let error = filed.promote(bad).unwrap_err();
        assert!(matches!(&error, Error::Core(Core::Corrupt { .. })), "{entry}: {error:?}");
        names(&error, &damaged.to_string());
        if entry != "report.html" {
            let error = filed.registry.load(&filed.model, bad).unwrap_err();
            assert!(matches!(&error, Error::Core(Core::Corrupt { .. })), "{entry}: {error:?}");
        }
        assert_eq!(filed.registry.versions().alias(&filed.model, &filed.alias).unwrap(), Some(good));
        assert_eq!(filed.registry.load_alias(&filed.model, &filed.alias).unwrap().version.number, good);
    }
}

#[test]
fn registering_the_same_bytes_again_mends_what_was_damaged() {
    let filed = Filed::new();
    let number = filed.register(50.0).unwrap();
    let digest = filed.manifest(number).1.entry("model").unwrap().digest;
    let mut bytes = fs::read(filed.path(&digest)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(filed.path(&digest), &bytes).unwrap();
    assert!(filed.registry.load(&filed.model, number).is_err());
    assert_eq!(filed.register(50.0).unwrap(), number, "the same manifest is the same version");
    assert!(filed.registry.load(&filed.model, number).is_ok());
    assert!(filed.promote(number).unwrap().promoted());
}

#[test]
fn a_manifest_without_a_model_or_with_a_missing_file_is_named() {
    let filed = Filed::new();
    let number = filed.register(50.0).unwrap();
    let (_, manifest) = filed.manifest(number);
    let artifacts = filed.registry.artifacts();
    let report = manifest.entry("report.html").unwrap();
    let blob = mlops_registry::artifact::Blob { digest: report.digest, size: report.size };
    let headless = artifacts.put_manifest(&Manifest::new([("report.html".to_owned(), blob)]).unwrap()).unwrap();
    let mut made = filed.registry.versions().version(&filed.model, number).unwrap().made;
    made.manifest = headless.digest;
    let second = filed.registry.versions().add(&made).unwrap().number;
    for error in [filed.promote(second).unwrap_err(), filed.registry.load(&filed.model, second).unwrap_err()] {
        assert!(matches!(&error, Error::Core(Core::NotFound { kind: "manifest entry", .. })), "{error:?}");
        names(&error, "`model`");
    }

    fs::remove_file(filed.path(&report.digest)).unwrap();
    let error = filed.promote(number).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::NotFound { .. })), "{error:?}");
    names(&error, &report.digest.to_string());
    assert_eq!(filed.registry.versions().alias(&filed.model, &filed.alias).unwrap(), None);
}

#[test]
fn a_registration_that_is_refused_leaves_no_version() {
    let filed = Filed::new();
    let long = "n".repeat(10_000);
    for bad in ["", "..", "../model", "a/../b", "/etc/passwd", "a\\b", "a\0b", "model", long.as_str()] {
        let error = filed.register_with(50.0, BTreeMap::from([(bad.to_owned(), vec![1])])).unwrap_err();
        assert!(matches!(&error, Error::Core(Core::Invalid { .. })), "{bad:?}: {error:?}");
        assert!(error.to_string().len() < 1_000, "a message stays short");
    }
    assert!(filed.registry.versions().models().unwrap().is_empty());
    let outside: Vec<_> = fs::read_dir(filed.root.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    let known = |name: &str| name.starts_with("registry.db") || name == "artifacts";
    assert!(outside.iter().all(|name| known(name.to_str().unwrap())), "{outside:?}");
}

#[test]
fn a_put_over_something_strange_replaces_it() {
    let root = tempfile::tempdir().unwrap();
    let store = FileArtifacts::open(root.path()).unwrap();
    let hex = Sha256::of(b"secret").to_string();
    let place = root.path().join(&hex[..2]).join(&hex[2..]);
    fs::create_dir(root.path().join(&hex[..2])).unwrap();
    let target = root.path().join("target");
    fs::write(&target, b"do not touch").unwrap();
    std::os::unix::fs::symlink(&target, &place).unwrap();
    let error = store.open(&Sha256::of(b"secret")).map(drop).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::Corrupt { .. })), "a link is not followed: {error:?}");
    let blob = store.put_bytes(b"secret").unwrap();
    assert_eq!(store.get(&blob.digest, 100).unwrap(), b"secret");
    assert_eq!(fs::read(&target).unwrap(), b"do not touch");
    fs::remove_file(&place).unwrap();
    fs::create_dir(&place).unwrap();
    assert!(matches!(store.put_bytes(b"secret").unwrap_err(), Error::Core(Core::Io { .. })), "a folder stays");
    assert_eq!(fs::read_dir(root.path().join("incoming")).unwrap().count(), 0, "nothing half-written stays");
}
