//! Bad input is a typed error that names the thing; damage is noticed; nothing panics.

use std::fs;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use mlops_core::arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use mlops_core::arrow::datatypes::Float64Type;
use mlops_core::{Dataset, Error as Core};
use mlops_features::offline::{HistoryBatch, HistoryRequest, OfflineStore, ParquetStore};
use mlops_features::online::{MemoryStore, OnlineRead, RedbStore};
use mlops_features::{
    Entity, Error, FeatureService, FeatureView, KeyType, Keys, ServingPlan, ValueType, ViewJoin, ViewUse,
};

use crate::{builder, data, ints, rows, times};

#[test]
fn definitions_outside_of_their_domain_are_refused_by_name() {
    let user = || Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
    let view = |name: &str| FeatureView::builder(name, user());
    let long = "x".repeat(10_000);
    for name in ["", "..", "a/b", "a\0b", "a:b", long.as_str()] {
        assert!(view(name).feature("f", ValueType::Bool).build().is_err(), "view {name:?}");
        assert!(view("v").feature(name, ValueType::Bool).build().is_err(), "feature {name:?}");
        assert!(Entity::builder("e").key(name, KeyType::Utf8).build().is_err(), "key {name:?}");
        assert!(FeatureService::builder("s").feature(format!("v:{name}")).build().is_err(), "reference to {name:?}");
    }
    let refused = |outcome: Result<FeatureView, Error>, word: &str| {
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    };
    refused(view("v").build(), "features = 0");
    refused(view("v").feature("f", ValueType::Bool).ttl(Duration::ZERO).build(), "ttl = 0");
    refused(view("v").feature("f", ValueType::Bool).ttl(Duration::from_nanos(999)).build(), "ttl = 0");
    refused(view("v").feature("f", ValueType::Bool).feature("f", ValueType::Int64).build(), "`v:f`");
    refused(view("v").feature("user_id", ValueType::Bool).build(), "`v:user_id`");
    refused(view("v").feature("t", ValueType::Bool).event_time("t").build(), "`v:t`");
    assert!(Entity::builder("e").build().is_err());
    assert!(Entity::builder("e").key("k", KeyType::Utf8).key("k", KeyType::Utf8).build().is_err());
    assert!(FeatureService::builder("s").build().is_err());
    assert!(FeatureService::builder("s").feature("no colon").build().is_err());
    let twice = FeatureService::builder("s").using(ViewUse::all("v").unwrap()).using(ViewUse::all("v").unwrap());
    assert!(twice.build().is_err());
}

#[test]
fn definitions_survive_json_and_json_is_checked() {
    let view =
        builder("ctr", "user_id").created("made").ttl(Duration::from_secs(9)).owner("o").tag("k", "v").build().unwrap();
    let text = serde_json::to_string(&view).unwrap();
    let read: FeatureView = serde_json::from_str(&text).unwrap();
    assert_eq!((&read, read.fingerprint()), (&view, view.fingerprint()));
    assert!(serde_json::from_str::<FeatureView>(&text.replace("ttl_us", "ttl")).is_err());
    assert!(serde_json::from_str::<FeatureView>(&text.replace("9000000", "0")).is_err());
    assert!(serde_json::from_str::<FeatureView>(&text.replace("\"ctr\"", "\"../ctr\"")).is_err());
    let described =
        builder("ctr", "user_id").created("made").ttl(Duration::from_secs(9)).description("new").build().unwrap();
    assert_eq!(described.fingerprint(), view.fingerprint(), "words for people do not count");
    assert_ne!(builder("ctr", "user_id").created("made").build().unwrap().fingerprint(), view.fingerprint());
}

#[test]
fn a_service_that_does_not_fit_its_views_is_refused() {
    let views = [builder("ctr", "user_id").build().unwrap()];
    let error = |service: FeatureService| ServingPlan::compile(&service, &views).unwrap_err().to_string();
    let one = |used: ViewUse| FeatureService::builder("s").using(used).build().unwrap();
    assert!(error(one(ViewUse::all("other").unwrap())).contains("`other`"));
    assert!(error(one(ViewUse::of("ctr", ["nope"]).unwrap())).contains("`ctr:nope`"));
    assert!(error(one(ViewUse::of("ctr", ["ctr", "ctr"]).unwrap())).contains("`ctr:ctr`"));
    assert!(error(one(ViewUse::all("ctr").and_then(|u| u.key("offer_id", "x")).unwrap())).contains("offer_id"));
    let clash = FeatureService::builder("s")
        .using(ViewUse::all("ctr").unwrap())
        .using(ViewUse::all("ctr").and_then(|used| used.alias("again")).unwrap());
    let message = error(clash.clone().build().unwrap());
    assert!(message.contains("`ctr:ctr`") && message.contains("`again:ctr`"), "{message}");
    assert!(ServingPlan::compile(&clash.full_names(true).build().unwrap(), &views).is_ok());
}

#[test]
fn ten_thousand_features_are_stored_and_joined() {
    let user = Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
    let names: Vec<String> = (0..10_000).map(|i| format!("f{i}")).collect();
    let view =
        names.iter().fold(FeatureView::builder("wide", user), |b, n| b.feature(n, ValueType::Float64)).build().unwrap();
    let mut columns = vec![("user_id".to_owned(), ints(&[1, 2])), ("event_timestamp".to_owned(), times(&[1, 1]))];
    columns.extend(
        names
            .iter()
            .enumerate()
            .map(|(i, name)| (name.clone(), Arc::new(Float64Array::from(vec![i as f64, -1.0])) as ArrayRef)),
    );
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let store = MemoryStore::new();
    store.write_sync(&view, &batch, None).unwrap();
    let keys = Keys::new(view.entity(), &[ints(&[1])]).unwrap();
    let rows = store.read_sync(&[OnlineRead { view: &view, features: &[9_999, 0], keys: &keys }]).unwrap();
    let value = |at: usize| rows[0].columns[at].as_primitive::<Float64Type>().value(0);
    assert_eq!((value(0), value(1)), (9_999.0, 0.0));
    let spine = batch.project(&[0, 1]).unwrap();
    let views = [(ViewJoin::new(&view), Dataset::from_batches([batch]).unwrap())];
    let options = mlops_features::offline::AsOfOptions::new();
    let joined =
        mlops_features::offline::as_of_join(&Dataset::from_batches([spine]).unwrap(), &views, &options).unwrap();
    assert_eq!(joined.dataset.schema().len(), 10_002);
}

fn redb(path: &Path) -> Result<RedbStore, Error> {
    RedbStore::builder(path).wait(Duration::ZERO).open()
}

#[test]
fn files_that_are_no_store_are_corrupt_or_unreadable_and_stay_as_they_are() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.redb");
    for content in [b"not a database".to_vec(), vec![0; 100_000], b"redb".repeat(4_096)] {
        fs::write(&path, &content).unwrap();
        let error = redb(&path).unwrap_err();
        assert!(matches!(error, Error::Core(Core::Corrupt { .. })), "{error:?}");
        assert!(error.to_string().contains("online.redb"));
        assert_eq!(fs::read(&path).unwrap(), content);
    }
    let missing = redb(&folder.path().join("no/such/folder.redb")).unwrap_err();
    assert!(matches!(missing, Error::Core(Core::Io { .. })), "{missing:?}");
    assert!(matches!(redb(folder.path()).unwrap_err(), Error::Core(Core::Io { .. } | Core::Corrupt { .. })));
}

fn content() -> Vec<(i64, i64, Option<f64>)> {
    (0..200).map(|i| (i, i, Some(i as f64 + 0.25))).collect()
}

/// Reads all keys of the view `ctr`.
fn read_all(store: &RedbStore) -> Result<Vec<Option<f64>>, Error> {
    let view = builder("ctr", "user_id").build().unwrap();
    let ids: Vec<i64> = (0..200).collect();
    let keys = Keys::new(view.entity(), &[ints(&ids)]).unwrap();
    let rows = store.read_sync(&[OnlineRead { view: &view, features: &[0], keys: &keys }])?;
    Ok(rows[0].columns[0].as_primitive::<Float64Type>().iter().collect())
}

#[test]
fn a_flipped_byte_is_noticed_or_harmless_but_never_another_value() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.redb");
    let view = builder("ctr", "user_id").build().unwrap();
    {
        let store = RedbStore::open(&path).unwrap();
        store.write_sync(&view, &rows(&view, &content()), None).unwrap();
    }
    let whole = fs::read(&path).unwrap();
    // Values are found by their bits: flip inside of rows, where no check of the database looks.
    let mut noticed = 0;
    for (key, _, value) in content().into_iter().step_by(9) {
        let needle = value.unwrap().to_le_bytes();
        let at = whole.windows(8).position(|bytes| bytes == needle).unwrap();
        for offset in [0, 3, 7, 8, 11] {
            let mut damaged = whole.clone();
            damaged[at + offset] ^= 1 << (key % 8);
            fs::write(&path, &damaged).unwrap();
            let outcome = redb(&path).and_then(|store| read_all(&store));
            match outcome {
                Err(error) => {
                    assert!(matches!(error, Error::Core(Core::Corrupt { .. })), "{error:?}");
                    noticed += 1;
                }
                Ok(values) => assert_eq!(values, content().iter().map(|row| row.2).collect::<Vec<_>>()),
            }
        }
    }
    assert!(noticed >= 100, "{noticed} of 115 flips noticed");
}

#[test]
fn flips_anywhere_in_the_file_never_panic_and_never_change_a_value() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.redb");
    let view = builder("ctr", "user_id").build().unwrap();
    {
        let store = RedbStore::open(&path).unwrap();
        store.write_sync(&view, &rows(&view, &content()), None).unwrap();
    }
    let whole = fs::read(&path).unwrap();
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap() as u64;
    for _ in 0..150 {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (state >> 20) % used;
        let mut file = fs::OpenOptions::new().read(true).write(true).truncate(true).create(true).open(&path).unwrap();
        file.write_all(&whole).unwrap();
        let mut byte = [0];
        file.seek(SeekFrom::Start(at)).unwrap();
        file.read_exact(&mut byte).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(&[byte[0] ^ (1 << (state >> 61))]).unwrap();
        drop(file);
        match redb(&path).and_then(|store| read_all(&store)) {
            Err(Error::Core(Core::Corrupt { .. } | Core::Io { .. } | Core::External { .. })) => {}
            Err(other) => panic!("flip at {at}: {other:?}"),
            Ok(values) => {
                let expected = content();
                let wrong = values.iter().zip(&expected).find(|(found, row)| found.is_some() && **found != row.2);
                assert!(wrong.is_none(), "flip at {at}: {wrong:?}");
            }
        }
    }
}

#[test]
fn a_file_that_is_checked_when_opened_shows_any_damage_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.redb");
    let view = builder("ctr", "user_id").build().unwrap();
    {
        let store = RedbStore::open(&path).unwrap();
        store.write_sync(&view, &rows(&view, &content()), None).unwrap();
    }
    assert!(RedbStore::builder(&path).verify_on_open(true).open().is_ok());
    let mut whole = fs::read(&path).unwrap();
    let needle = content()[9].2.unwrap().to_le_bytes();
    let at = whole.windows(8).position(|bytes| bytes == needle).unwrap();
    whole[at] ^= 1;
    fs::write(&path, &whole).unwrap();
    let error = RedbStore::builder(&path).verify_on_open(true).open().unwrap_err();
    assert!(matches!(error, Error::Core(Core::Corrupt { .. })), "{error:?}");
}

/// Set in the process that only holds the store open.
const HOLD: &str = "MLOPS_FEATURES_TEST_HOLD";

#[test]
fn a_second_process_is_told_that_the_store_is_busy_and_gets_it_once_it_is_free() {
    if let Some(path) = std::env::var_os(HOLD) {
        let _store = RedbStore::open(path).unwrap();
        println!("held");
        let _ = std::io::stdin().read(&mut [0]);
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.redb");
    let name = "bad_input::a_second_process_is_told_that_the_store_is_busy_and_gets_it_once_it_is_free";
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(HOLD, &path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = String::new();
    let mut out = std::io::BufReader::new(other.stdout.take().unwrap());
    while !said.contains("held") {
        assert!(std::io::BufRead::read_line(&mut out, &mut said).unwrap() > 0, "{said}");
    }
    let error = RedbStore::builder(&path).wait(Duration::from_millis(50)).open().unwrap_err();
    assert!(matches!(&error, Error::Core(Core::Busy { what }) if what.contains("online.redb")), "{error:?}");
    let waiting = std::thread::spawn({
        let path = path.clone();
        move || RedbStore::builder(path).wait(Duration::from_mins(1)).open().map(drop)
    });
    drop(other.stdin.take());
    other.wait().unwrap();
    waiting.join().unwrap().unwrap();
}

#[test]
fn what_was_written_is_there_after_a_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("online.redb");
    let view = builder("ctr", "user_id").build().unwrap();
    for _ in 0..2 {
        let store = RedbStore::open(&path).unwrap();
        store.write_sync(&view, &rows(&view, &content()), None).unwrap();
    }
    let values = read_all(&RedbStore::open(&path).unwrap()).unwrap();
    assert_eq!(values, content().iter().map(|row| row.2).collect::<Vec<_>>());
}

#[test]
fn a_damaged_history_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let store = ParquetStore::open(folder.path()).unwrap();
    let view = builder("ctr", "user_id").build().unwrap();
    store.append(&view, &data(&view, &content())).unwrap();
    let of_view = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
    let file = fs::read_dir(&of_view).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&file).unwrap();
    let read = || store.scan(&view, &HistoryRequest::all()).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    for cut in [0, 3, 12, whole.len() / 2, whole.len() - 1] {
        fs::write(&file, &whole[..cut]).unwrap();
        let error = read().unwrap_err();
        assert!(matches!(error, Error::Core(Core::Corrupt { .. })), "{error:?}");
        assert!(error.to_string().contains(".parquet"), "{error}");
    }
    let rows = |batches: Vec<HistoryBatch>| batches.into_iter().map(|batch| batch.rows).collect::<Vec<_>>();
    fs::write(&file, &whole).unwrap();
    let expected = rows(read().unwrap());
    for at in (0..whole.len()).step_by(7) {
        let mut damaged = whole.clone();
        damaged[at] ^= 1 << (at % 8);
        fs::write(&file, &damaged).unwrap();
        match read() {
            Ok(batches) => assert_eq!(rows(batches), expected, "byte {at} of {}", whole.len()),
            Err(Error::Core(Core::Corrupt { what, .. })) => assert!(what.contains(".parquet"), "{what}"),
            Err(other) => panic!("byte {at}: {other:?}"),
        }
    }
    fs::write(&file, &whole).unwrap();
    assert_eq!(read().unwrap().iter().map(|batch| batch.rows.num_rows()).sum::<usize>(), 200);
    // What an interrupted append leaves behind, and what others put there, is not history.
    for stray in [".append-x", "notes.txt", "1.parquet", "+0000000000000000001.parquet"] {
        fs::write(of_view.join(stray), b"stray").unwrap();
    }
    assert_eq!(read().unwrap().len(), 1);
}

#[test]
fn rows_of_the_wrong_types_are_refused_by_column() {
    let view = builder("ctr", "user_id").build().unwrap();
    let good = rows(&view, &[(1, 1, Some(0.5))]);
    let text: ArrayRef = Arc::new(StringArray::from(vec!["x"]));
    for (at, column) in ["user_id", "event_timestamp", "ctr"].into_iter().enumerate() {
        let with = |array: ArrayRef| {
            let mut columns: Vec<_> =
                good.schema().fields().iter().map(|f| f.name().clone()).zip(good.columns().to_vec()).collect();
            columns[at].1 = array;
            RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap()
        };
        let error = MemoryStore::new().write_sync(&view, &with(text.clone()), None).unwrap_err();
        assert!(matches!(&error, Error::Core(Core::Schema { column: named, .. }) if named == column), "{error:?}");
    }
}
