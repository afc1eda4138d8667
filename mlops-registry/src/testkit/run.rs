//! Kit of [`RunStore`].

use std::collections::BTreeMap;

use mlops_core::{Digest, EventTime, Name};

use crate::run::{LOG_ITEMS_MAX, Metric, NewRun, RunId, RunInput, RunLog, RunQuery, RunStatus, RunStore};

/// Checks the contract of [`RunStore`] on fresh stores made by `make`.
///
/// # Panics
/// When the contract does not hold.
pub fn run_store<S: RunStore>(make: impl Fn() -> S) {
    keeps_what_a_run_says(&make());
    never_changes_a_parameter(&make());
    refuses_a_log_whole(&make());
    ends_a_run_once(&make());
    keeps_every_point(&make());
    pages_from_the_newest(&make());
    takes_writers_at_once(&make());
}

fn new_run(experiment: &str, started: i64) -> NewRun {
    NewRun {
        experiment: Name::new(experiment).expect("a plain name"),
        name: format!("run {started}"),
        parent: None,
        inputs: vec![RunInput { role: Name::new("train").expect("a plain name"), digest: Digest::of("rows") }],
        code_version: "abc".to_owned(),
        started: EventTime::from_secs(started),
    }
}

fn point(key: &str, value: f64, step: i64) -> Metric {
    Metric { key: key.to_owned(), value, step, at: EventTime::from_secs(step) }
}

fn texts(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn keeps_what_a_run_says(store: &dyn RunStore) {
    let begun = new_run("offers", 1);
    let id = store.begin(&begun).expect("a run begins");
    let log = RunLog {
        metrics: vec![point("auc", 0.7, 1), point("auc", 0.8, 2)],
        params: texts(&[("rounds", "10")]),
        tags: texts(&[("who", "me")]),
    };
    store.log(&id, &log).expect("a log is kept");
    store.log(&id, &RunLog { tags: texts(&[("who", "you")]), ..RunLog::default() }).expect("a tag may change");
    let run = store.run(&id).expect("the run is found");
    assert_eq!(run.begun, begun);
    assert_eq!(run.status, RunStatus::Running);
    assert_eq!(run.metrics["auc"], point("auc", 0.8, 2), "the latest point is of the greatest step");
    assert_eq!((run.params["rounds"].as_str(), run.tags["who"].as_str()), ("10", "you"));
    let child = NewRun { parent: Some(id), ..new_run("offers", 2) };
    store.begin(&child).expect("a run may have a parent");
    let orphan = NewRun { parent: Some(RunId::generate()), ..new_run("offers", 3) };
    assert!(store.begin(&orphan).is_err(), "a parent that is not there is refused");
}

fn never_changes_a_parameter(store: &dyn RunStore) {
    let id = store.begin(&new_run("offers", 1)).expect("a run begins");
    let log = |value| RunLog { params: texts(&[("rounds", value)]), ..RunLog::default() };
    store.log(&id, &log("10")).expect("the first value is kept");
    store.log(&id, &log("10")).expect("the same value again is fine");
    assert!(store.log(&id, &log("11")).is_err(), "another value is refused");
    assert_eq!(store.run(&id).expect("the run is found").params["rounds"], "10");
}

fn refuses_a_log_whole(store: &dyn RunStore) {
    let id = store.begin(&new_run("offers", 1)).expect("a run begins");
    store.log(&id, &RunLog { params: texts(&[("z", "1")]), ..RunLog::default() }).expect("a log is kept");
    let mixed =
        RunLog { metrics: vec![point("auc", 0.5, 1)], params: texts(&[("a", "1"), ("z", "2")]), ..RunLog::default() };
    assert!(store.log(&id, &mixed).is_err(), "a log with a changed parameter is refused");
    let run = store.run(&id).expect("the run is found");
    assert!(run.metrics.is_empty() && !run.params.contains_key("a"), "nothing of a refused log is kept");
    let many =
        RunLog { metrics: (0..=LOG_ITEMS_MAX as i64).map(|i| point("m", 0.0, i)).collect(), ..RunLog::default() };
    assert!(store.log(&id, &many).is_err(), "a log above the limit is refused");
    let long = RunLog { params: texts(&[("k", &"v".repeat(10_000))]), ..RunLog::default() };
    assert!(store.log(&id, &long).is_err(), "a value above the limit is refused");
    for key in ["", "a\0b", "a\nb", &"k".repeat(10_000)] {
        assert!(
            store.log(&id, &RunLog { tags: texts(&[(key, "v")]), ..RunLog::default() }).is_err(),
            "bad key {key:?}"
        );
    }
}

fn ends_a_run_once(store: &dyn RunStore) {
    let id = store.begin(&new_run("offers", 1)).expect("a run begins");
    let at = EventTime::from_secs(9);
    assert!(store.end(&id, RunStatus::Running, at).is_err(), "running is not an end");
    store.end(&id, RunStatus::Finished, at).expect("a run ends");
    store.end(&id, RunStatus::Finished, at).expect("ending it so again is fine");
    assert!(store.end(&id, RunStatus::Failed, at).is_err(), "it does not end otherwise");
    assert!(
        store.log(&id, &RunLog { metrics: vec![point("auc", 1.0, 1)], ..RunLog::default() }).is_err(),
        "it takes no more logs"
    );
    let run = store.run(&id).expect("the run is found");
    assert_eq!((run.status, run.ended), (RunStatus::Finished, Some(at)));
    assert!(store.run(&RunId::generate()).is_err(), "an unknown run is not found");
}

fn keeps_every_point(store: &dyn RunStore) {
    let id = store.begin(&new_run("offers", 1)).expect("a run begins");
    let values = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MIN_POSITIVE, 1.0];
    let metrics: Vec<Metric> = values.iter().enumerate().map(|(i, v)| point("loss", *v, i as i64)).collect();
    store.log(&id, &RunLog { metrics: metrics.clone(), ..RunLog::default() }).expect("any float is kept");
    store
        .log(&id, &RunLog { metrics: metrics.clone(), ..RunLog::default() })
        .expect("the same points again are a no-op");
    let found = store.history(&id, "loss").expect("history");
    let bits = |points: &[Metric]| points.iter().map(|m| (m.step, m.value.to_bits())).collect::<Vec<_>>();
    assert_eq!(bits(&found), bits(&metrics), "every point comes back once, bit for bit, by step");
    assert!(store.history(&id, "unknown").expect("history").is_empty());
}

fn pages_from_the_newest(store: &dyn RunStore) {
    for second in 0..5 {
        store.begin(&new_run(if second % 2 == 0 { "even" } else { "odd" }, second)).expect("a run begins");
    }
    let mut seen = Vec::new();
    let mut query = RunQuery { limit: 2, ..RunQuery::default() };
    loop {
        let page = store.search(&query).expect("search");
        let Some(last) = page.last() else { break };
        query.after = Some((last.begun.started, last.id.clone()));
        seen.extend(page.iter().map(|run| run.begun.started));
    }
    let newest_first: Vec<EventTime> = (0..5).rev().map(EventTime::from_secs).collect();
    assert_eq!(seen, newest_first, "pages neither repeat nor leave out a run");
    let odd = RunQuery { experiment: Some(Name::new("odd").expect("a plain name")), ..RunQuery::default() };
    assert_eq!(store.search(&odd).expect("search").len(), 2);
    assert!(store.search(&RunQuery { limit: 0, ..RunQuery::default() }).is_err(), "a limit of 0 is refused");
}

fn takes_writers_at_once(store: &dyn RunStore) {
    let id = store.begin(&new_run("offers", 1)).expect("a run begins");
    std::thread::scope(|scope| {
        for writer in 0..4 {
            let id = &id;
            scope.spawn(move || {
                for step in 0..25 {
                    let metrics = vec![point(&format!("m{writer}"), step as f64, step)];
                    store.log(id, &RunLog { metrics, ..RunLog::default() }).expect("writers do not refuse each other");
                }
            });
        }
    });
    for writer in 0..4 {
        assert_eq!(store.history(&id, &format!("m{writer}")).expect("history").len(), 25, "no point is lost");
    }
}
