//! Stores of definitions keep their contract, are not spoilt by a kill, notice damage, and read what was written before.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use mlops_core::catalog::Revision;
use mlops_core::{Error as Core, Name};
use mlops_features::definitions::{
    ApplyOptions, DefinitionStore, DefinitionStoreExt, Definitions, DefinitionsBuilder, FileDefinitions,
    MemoryDefinitions, ModelLink, SqliteDefinitions,
};
use mlops_features::testkit::definition_store;
use mlops_features::window::{Op, TimeWindow, WindowView};
use mlops_features::{
    BatchOrigin, Entity, Error, Feature, FeatureService, FeatureView, KeyType, OnDemandView, StatusPolicy,
    StreamOrigin, ValueType,
};

use crate::builder;

#[test]
fn memory_is_a_definition_store() {
    definition_store(MemoryDefinitions::new, Clone::clone);
}

#[test]
fn a_folder_is_a_definition_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = crate::kits::paths(&folder);
    definition_store(|| FileDefinitions::open(path()).unwrap(), |store| FileDefinitions::open(store.root()).unwrap());
}

#[test]
fn a_sqlite_file_is_a_definition_store() {
    let folder = tempfile::tempdir().unwrap();
    let path = crate::kits::paths(&folder);
    definition_store(
        || SqliteDefinitions::open(path()).unwrap(),
        |store| SqliteDefinitions::open(store.path()).unwrap(),
    );
}

/// Views `v0` to `v<count - 1>`.
fn views(count: u64) -> Definitions {
    let views = (0..count).map(|number| builder(&format!("v{number}"), "user_id").build().unwrap());
    views.fold(Definitions::builder(), DefinitionsBuilder::with).build().unwrap()
}

/// Where a child process applies until it is killed; see `apply_for_ever`.
const CHILD: &str = "MLOPS_TEST_DEFINITIONS_CHILD";

fn open(path: &Path) -> Box<dyn DefinitionStore> {
    match path.extension() {
        Some(_) => Box::new(SqliteDefinitions::open(path).unwrap()),
        None => Box::new(FileDefinitions::open(path).unwrap()),
    }
}

fn apply_for_ever(path: &Path) {
    let store = open(path);
    loop {
        let (_, revision) = store.load().unwrap();
        let wanted = views(revision.0 % 50 + 1);
        let applied = store.apply(&wanted, revision, &ApplyOptions::new().remove(true)).unwrap();
        println!("applied {applied}");
    }
}

#[test]
fn a_killed_applier_leaves_all_that_it_acknowledged_and_nothing_half() {
    if let Some(path) = std::env::var_os(CHILD) {
        return apply_for_ever(Path::new(&path));
    }
    let folder = tempfile::tempdir().unwrap();
    for path in [folder.path().join("folder"), folder.path().join("definitions.db")] {
        for round in 0..8 {
            let acknowledged = run_and_kill(&path, 1 + round % 3);
            let store = open(&path);
            let (found, revision) = store.load().unwrap();
            assert!(revision >= acknowledged, "{path:?}: {acknowledged} was acknowledged, {revision} is there");
            assert_eq!(*found.definitions(), views((revision.0 - 1) % 50 + 1));
            let earlier = store.at(Revision(1)).unwrap();
            assert_eq!(*earlier.definitions(), views(1));
        }
    }
}

/// Starts a child, kills it when it told of `lines` applies, and gives the last revision that it told of.
fn run_and_kill(path: &Path, lines: usize) -> Revision {
    let test = "definitions::a_killed_applier_leaves_all_that_it_acknowledged_and_nothing_half";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let told = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut told = told.filter_map(|line| line.strip_prefix("applied ")?.parse().ok().map(Revision));
    let acknowledged = told.by_ref().take(lines).last().expect("the child applies");
    child.kill().unwrap();
    child.wait().unwrap();
    // What was told between the last look and the kill counts, too.
    told.last().unwrap_or(acknowledged)
}

fn revision_file(root: &Path, number: u64) -> PathBuf {
    root.join(format!("revisions/{number:08}.json"))
}

#[test]
fn damage_is_noticed_and_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileDefinitions::open(folder.path()).unwrap();
    store.apply_now(&views(1)).unwrap();
    store.apply_now(&views(2)).unwrap();
    let file = revision_file(folder.path(), 2);
    let whole = fs::read(&file).unwrap();
    for at in (0..whole.len()).step_by(41) {
        let mut flipped = whole.clone();
        flipped[at] ^= 1;
        fs::write(&file, flipped).unwrap();
        // White space does not count; everything else is noticed.
        match store.load() {
            Ok((found, _)) => assert_eq!(*found.definitions(), views(2), "byte {at}"),
            Err(error) => assert!(error.to_string().contains("00000002.json"), "byte {at}: {error}"),
        }
        fs::write(&file, &whole[..at]).unwrap();
        let error = store.load().unwrap_err();
        assert!(matches!(&error, Error::Core(Core::Corrupt { what, .. }) if what.contains("00000002.json")), "{error}");
    }
    let later = String::from_utf8(whole.clone()).unwrap().replacen("\"format\": 1", "\"format\": 2", 1);
    fs::write(&file, later).unwrap();
    assert!(matches!(store.load(), Err(Error::Core(Core::InvalidData { .. }))));
    fs::copy(revision_file(folder.path(), 1), &file).unwrap();
    let moved = store.load().unwrap_err().to_string();
    assert!(moved.contains("it holds revision 1"), "{moved}");
    fs::write(&file, &whole).unwrap();
    fs::remove_file(revision_file(folder.path(), 1)).unwrap();
    assert!(matches!(store.load(), Err(Error::Core(Core::Corrupt { .. }))));
}

#[test]
fn what_a_killed_process_left_behind_is_not_looked_at() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileDefinitions::open(folder.path()).unwrap();
    store.apply_now(&views(1)).unwrap();
    fs::write(folder.path().join("revisions/.mlops-abc.tmp"), b"{\"form").unwrap();
    assert_eq!(store.load().unwrap().1, Revision(1));
    assert_eq!(store.apply_now(&views(2)).unwrap(), Revision(2));
}

#[test]
fn folders_and_files_of_others_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let full = folder.path().join("full");
    fs::create_dir(&full).unwrap();
    fs::write(full.join("letter.txt"), b"dear").unwrap();
    assert!(matches!(FileDefinitions::open(&full), Err(Error::Core(Core::InvalidData { .. }))));
    assert_eq!(fs::read_dir(&full).unwrap().count(), 1, "nothing is added");
    let catalog = folder.path().join("catalog");
    mlops_core::catalog::FileCatalog::open(&catalog).unwrap();
    assert!(FileDefinitions::open(&catalog).is_err());
    let file = folder.path().join("file.db");
    fs::write(&file, vec![7; 4_096]).unwrap();
    assert!(matches!(SqliteDefinitions::open(&file), Err(Error::Core(Core::Corrupt { .. }))));
    let other = folder.path().join("other.db");
    mlops_core::catalog::SqliteCatalog::open(&other).unwrap();
    assert!(matches!(SqliteDefinitions::open(&other), Err(Error::Core(Core::InvalidData { .. }))));
}

#[test]
fn a_damaged_row_of_sqlite_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let store = SqliteDefinitions::open(folder.path().join("definitions.db")).unwrap();
    store.apply_now(&views(1)).unwrap();
    let connection = rusqlite::Connection::open(store.path()).unwrap();
    connection.execute("UPDATE revisions SET document = replace(document, 'v0', 'v9')", []).unwrap();
    let error = store.load().unwrap_err();
    assert!(matches!(&error, Error::Core(Core::Corrupt { what, .. }) if what.contains("revision 1")), "{error}");
    connection.execute("UPDATE revisions SET revision = 2", []).unwrap();
    assert!(matches!(store.load(), Err(Error::Core(Core::Corrupt { .. }))));
}

/// What the fixture of format 1 was written from, at its first and at its last revision.
fn written() -> [Definitions; 2] {
    let customer = || Entity::builder("customer").key("customer_id", KeyType::Int64).key("shop", KeyType::Utf8);
    let customer = customer().description("who buys where").build().unwrap();
    let clicks = FeatureView::builder("clicks", customer.clone())
        .with(Feature::new("ctr", ValueType::Float64).unwrap().default_value(0.5).describe("rate of clicks"))
        .with(Feature::new("age", ValueType::Int32).unwrap().sensitivity(mlops_core::schema::Sensitivity::Personal))
        .ttl(Duration::from_hours(7 * 24))
        .created("computed_at")
        .policy(StatusPolicy::Default)
        .freshness(Duration::from_hours(1))
        .batch(BatchOrigin::file(mlops_core::source::FileFormat::Parquet, "lake/clicks").unwrap())
        .stream(StreamOrigin::push("clicks").unwrap())
        .owner("growth")
        .tag("tier", "gold")
        .description("what customers click")
        .build()
        .unwrap();
    let day = TimeWindow::exact(Duration::from_hours(24));
    let orders = WindowView::builder("orders", customer).column("amount", ValueType::Float64);
    let orders = orders.aggregates("amount", [Op::Sum, Op::LastN { n: 3 }], [day]).build().unwrap();
    let share = OnDemandView::builder("share")
        .input("sum", ValueType::Float64, "orders:amount_sum_1d")
        .column("budget", ValueType::Float64)
        .feature("of_budget", "sum / budget")
        .build()
        .unwrap();
    let ranker = FeatureService::builder("ranker").feature("clicks:ctr").feature("share:of_budget").owner("search");
    let first = Definitions::builder().with(clicks.clone()).with(builder("old", "user_id").build().unwrap());
    let last = Definitions::builder().with(clicks).with(orders).with(share).with(ranker.build().unwrap());
    [first.build().unwrap(), last.build().unwrap()]
}

#[test]
fn a_folder_of_format_1_is_read() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/definitions_1");
    let store = FileDefinitions::open(folder).unwrap();
    let [first, last] = written();
    assert_eq!(*store.at(Revision(1)).unwrap().definitions(), first);
    let (found, revision) = store.load().unwrap();
    assert_eq!((found.definitions(), revision), (&last, Revision(3)));
    assert_eq!(found.models()[0].model, Name::new("ctr_model").unwrap());
    assert_eq!(found.models()[0].features, last.service_version("ranker").unwrap(), "fingerprints stay as they were");
    // The name of what was removed is remembered.
    let old = builder("old", "user_id").ttl(Duration::from_secs(1)).build().unwrap();
    let wanted = Definitions::builder().with(old).build().unwrap();
    assert!(store.plan(&wanted).unwrap().broken().any(|change| change.name.as_str() == "old"));
}

/// Files of `folder` and below, by path.
fn contents(folder: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(contents(&path).into_iter().map(|(below, text)| (path.join(below), text)));
        } else {
            found.insert(path.clone(), fs::read_to_string(&path).unwrap());
        }
    }
    found.into_iter().map(|(path, text)| (path.strip_prefix(folder).unwrap().to_owned(), text)).collect()
}

#[test]
fn what_is_written_is_format_1_to_the_letter() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileDefinitions::open(folder.path()).unwrap();
    let [first, last] = written();
    store.apply_now(&first).unwrap();
    store.apply(&last, Revision(1), &ApplyOptions::new().remove(true)).unwrap();
    let features = store.service_version("ranker").unwrap();
    store.link(&ModelLink { features, model: Name::new("ctr_model").unwrap(), version: "7".to_owned() }).unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/definitions_1");
    assert_eq!(contents(folder.path()), contents(&fixture));
}
