//! Names and texts that are too long, empty or hostile.

use std::collections::BTreeMap;

use mlops_core::model::{Input, Signature, ValueType};
use mlops_core::{Digest, Error as Core, EventTime, Name};
use mlops_registry::artifact::Sha256;
use mlops_registry::run::{NewRun, RunId, RunLog, RunQuery, RunStore};
use mlops_registry::version::{AliasMove, ModelRegistry, NewVersion};
use mlops_registry::{Error, SqliteStore};

fn store() -> SqliteStore {
    SqliteStore::open(tempfile::tempdir().unwrap().keep().join("registry.db")).unwrap()
}

fn new_run(name: &str) -> NewRun {
    NewRun {
        experiment: Name::new("offers").unwrap(),
        name: name.to_owned(),
        parent: None,
        inputs: vec![],
        code_version: "1".to_owned(),
        started: EventTime::EPOCH,
    }
}

fn new_version(content: &str) -> NewVersion {
    let input = Input { name: "x".to_owned(), value_type: ValueType::Float, nullable: true };
    NewVersion {
        model: Name::new("offers").unwrap(),
        manifest: Sha256::of(content.as_bytes()),
        flavor: "linear".to_owned(),
        signature: Signature { inputs: vec![input], output: "score".to_owned(), output_type: ValueType::Float },
        run: None,
        trained_on: vec![],
        metrics: BTreeMap::new(),
        tags: BTreeMap::new(),
        by: "test".to_owned(),
        at: EventTime::EPOCH,
    }
}

#[track_caller]
fn is_invalid<T: std::fmt::Debug>(outcome: Result<T, Error>) {
    let error = outcome.unwrap_err();
    assert!(matches!(&error, Error::Core(Core::Invalid { .. })), "{error:?}");
    assert!(error.to_string().len() < 1_000, "a message stays short: {} bytes", error.to_string().len());
}

/// What a path, a terminal or a buffer could stumble over.
fn hostile() -> [String; 8] {
    ["", "..", "../../etc/passwd", "/etc/passwd", "a\0b", "a\nb", "a\\b", &"n".repeat(10_000)].map(str::to_owned)
}

#[test]
fn models_aliases_and_experiments_have_checked_names() {
    for bad in hostile() {
        assert!(Name::new(&bad).is_err(), "{bad:?}");
        let json = serde_json::to_string(&new_version("a")).unwrap();
        let renamed = json.replace("\"offers\"", &serde_json::to_string(&bad).unwrap());
        assert!(serde_json::from_str::<NewVersion>(&renamed).is_err(), "{bad:?}");
        assert!(RunId::try_from(bad).is_err());
    }
}

#[test]
fn names_of_runs_are_lines_of_text_and_never_more() {
    let store = store();
    for bad in ["a\0b", "a\nb", "\u{1b}[2J", &"n".repeat(10_000)] {
        is_invalid(store.begin(&new_run(bad)));
        is_invalid(store.begin(&NewRun { code_version: bad.to_owned(), ..new_run("fine") }));
    }
    assert!(store.search(&RunQuery::default()).unwrap().is_empty(), "nothing of them was stored");
    // A name is data: what would be dangerous as a path is only text here.
    for odd in ["", "..", "../../etc/passwd", "Thử nghiệm 1", "'; DROP TABLE runs; --"] {
        let id = store.begin(&new_run(odd)).unwrap();
        assert_eq!(store.run(&id).unwrap().begun.name, odd);
    }
    let input = mlops_registry::run::RunInput { role: Name::new("train").unwrap(), digest: Digest::of("rows") };
    is_invalid(store.begin(&NewRun { inputs: vec![input; 1_001], ..new_run("wide") }));
}

#[test]
fn keys_and_values_of_logs_are_bounded_and_nothing_of_a_bad_log_stays() {
    let store = store();
    let run = store.begin(&new_run("a")).unwrap();
    let good = ("rounds".to_owned(), "10".to_owned());
    for bad in ["", "a\0b", "a\nb", &"k".repeat(10_000)] {
        let params = BTreeMap::from([good.clone(), (bad.to_owned(), "v".to_owned())]);
        is_invalid(store.log(&run, &RunLog { params, ..RunLog::default() }));
    }
    let params = BTreeMap::from([good, ("long".to_owned(), "v".repeat(10_000))]);
    is_invalid(store.log(&run, &RunLog { params, ..RunLog::default() }));
    assert!(store.run(&run).unwrap().params.is_empty());
}

#[test]
fn texts_of_versions_and_alias_moves_are_bounded() {
    let store = store();
    let long = "n".repeat(10_000);
    is_invalid(store.add(&NewVersion { by: long.clone(), ..new_version("a") }));
    is_invalid(store.add(&NewVersion { flavor: "a\0b".to_owned(), ..new_version("a") }));
    is_invalid(store.add(&NewVersion { tags: [(long.clone(), String::new())].into(), ..new_version("a") }));
    is_invalid(store.add(&NewVersion { tags: [("k".to_owned(), long.clone())].into(), ..new_version("a") }));
    is_invalid(store.add(&NewVersion { metrics: [(String::new(), 1.0)].into(), ..new_version("a") }));
    is_invalid(store.add(&NewVersion { trained_on: vec![Digest::of("x"); 1_001], ..new_version("a") }));
    assert!(store.models().unwrap().is_empty());
    store.add(&new_version("a")).unwrap();
    let step = AliasMove {
        model: Name::new("offers").unwrap(),
        alias: Name::new("production").unwrap(),
        expected: None,
        to: 1,
        by: "test".to_owned(),
        why: serde_json::Value::Null,
        at: EventTime::EPOCH,
    };
    is_invalid(store.move_alias(&AliasMove { by: "a\nb".to_owned(), ..step.clone() }));
    is_invalid(store.move_alias(&AliasMove { why: "y".repeat(2 << 20).into(), ..step.clone() }));
    assert_eq!(store.alias(&step.model, &step.alias).unwrap(), None);
    store.move_alias(&step).unwrap();
}

#[test]
fn a_metric_that_is_no_number_does_not_make_a_model_unreadable() {
    let store = store();
    let metrics = BTreeMap::from([("auc".to_owned(), f64::NAN), ("lift".to_owned(), f64::INFINITY)]);
    store.add(&NewVersion { metrics, ..new_version("a") }).unwrap();
    store.add(&new_version("b")).unwrap();
    let all = store.versions(&Name::new("offers").unwrap()).unwrap();
    assert_eq!(all.len(), 2);
    assert!(all[0].made.metrics["auc"].is_nan() && all[0].made.metrics["lift"] == f64::INFINITY);
}
