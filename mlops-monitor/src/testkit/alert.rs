//! The contract of [`AlertSink`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mlops_core::validate::Severity;
use mlops_core::{Digest, EventTime, Name};

use crate::alert::{Alert, AlertSink, AlertState};
use crate::{Error, Result};

/// Alerts that [`alert_sink`] sends to one sink at most, those that are sent again left out.
pub const ALERTS_MAX: usize = 512;

/// How long one check may take before the sink counts as one that does not answer.
pub const ANSWER_MAX: Duration = Duration::from_mins(1);

/// How often a group is sent again before the kit gives up.
const ATTEMPTS_MAX: usize = 20;
const THREADS: i64 = 4;
const GROUPS: i64 = 20;
const TOGETHER: i64 = 3;

/// Checks the contract of [`AlertSink`] on fresh sinks made by `make`, which hold at least [`ALERTS_MAX`] alerts. `taken` gives
/// what one of them has taken over so far, oldest first, as a receiver would see it.
///
/// A sink may fail now and then: what fails is sent again, as the contract says.
///
/// # Panics
/// With the sentence that does not hold.
pub fn alert_sink<S: AlertSink>(make: impl Fn() -> S, taken: impl Fn(&S) -> Vec<Alert>) {
    assert_eq!(make().name(), make().name(), "the name does not change");
    takes_everything_over_in_order(Arc::new(make()), &taken);
    takes_nothing_for_nothing(Arc::new(make()), &taken);
    keeps_what_an_alert_says(Arc::new(make()), &taken);
    keeps_the_alerts_of_a_call_together(&Arc::new(make()), &taken);
}

fn takes_everything_over_in_order<S: AlertSink>(sink: Arc<S>, taken: &impl Fn(&S) -> Vec<Alert>) {
    let mut sent = Vec::new();
    for (group, size) in [1, 2, 7, 50].into_iter().enumerate() {
        let alerts = group_of(group as i64, size);
        deliver(sink.clone(), alerts.clone());
        let now = taken(&sink);
        assert!(now.ends_with(&alerts), "`Ok` means that every alert was taken over, in order");
        sent.extend(alerts);
        let first: Vec<Alert> = once_each(now);
        assert_eq!(first, sent, "receivers that drop what they know by its id have every alert once, in order");
    }
    let again = sent.clone();
    deliver(sink.clone(), again);
    assert_eq!(once_each(taken(&sink)), sent, "alerts that are sent again are told by their id");
}

fn takes_nothing_for_nothing<S: AlertSink>(sink: Arc<S>, taken: &impl Fn(&S) -> Vec<Alert>) {
    deliver(sink.clone(), Vec::new());
    assert!(taken(&sink).is_empty(), "no alerts are fine, and change nothing");
    deliver(sink.clone(), group_of(1, 2));
    let before = taken(&sink);
    deliver(sink.clone(), Vec::new());
    assert_eq!(taken(&sink), before, "no alerts are fine, and change nothing");
}

fn keeps_what_an_alert_says<S: AlertSink>(sink: Arc<S>, taken: &impl Fn(&S) -> Vec<Alert>) {
    let plain = alert(0);
    let odd = vec![
        Alert { value: f64::INFINITY, state: AlertState::Resolved, ..alert(1) },
        Alert { value: f64::NEG_INFINITY, threshold: -0.0, severity: Severity::Info, ..alert(2) },
        Alert { value: 0.1 + 0.2, threshold: f64::MIN_POSITIVE, ..alert(3) },
        Alert { text: "line\nbreak, \"quote\", \\ and \u{1f525} ệ \u{0}".to_owned(), ..alert(4) },
        Alert { labels: BTreeMap::new(), text: String::new(), at: EventTime::from_micros(-1), ..alert(5) },
        Alert { text: "long ".repeat(2_000), ..plain },
    ];
    deliver(sink.clone(), odd.clone());
    assert!(taken(&sink).ends_with(&odd), "an alert is taken over as it is");
}

fn keeps_the_alerts_of_a_call_together<S: AlertSink>(sink: &Arc<S>, taken: &impl Fn(&S) -> Vec<Alert>) {
    let groups = |thread: i64| (0..GROUPS).map(move |group| group_of(thread * GROUPS + group, TOGETHER));
    let senders: Vec<JoinHandle<()>> = (0..THREADS)
        .map(|thread| {
            let sink = sink.clone();
            thread::spawn(move || groups(thread).for_each(|group| send(sink.as_ref(), &group)))
        })
        .collect();
    answered(senders);
    let all = taken(sink);
    for group in (0..THREADS).flat_map(groups) {
        let is_there = all.windows(group.len()).any(|run| run == group);
        assert!(is_there, "any number of threads may send at once; the alerts of one call stay together");
    }
    let count = (THREADS * GROUPS * TOGETHER) as usize;
    assert_eq!(once_each(all).len(), count, "what many threads send is all taken over");
}

/// Sends on another thread, so that a sink that never answers is noticed.
fn deliver<S: AlertSink>(sink: Arc<S>, alerts: Vec<Alert>) {
    answered(vec![thread::spawn(move || send(sink.as_ref(), &alerts))]);
}

/// Sends until the sink says `Ok`.
fn send(sink: &dyn AlertSink, alerts: &[Alert]) {
    let is_taken = |answer: Result<()>| match answer {
        Ok(()) => true,
        Err(Error::Delivery { sink: named, .. }) => {
            assert_eq!(&named, sink.name(), "a failure names the sink");
            assert!(!alerts.is_empty(), "no alerts are fine, and change nothing");
            false
        }
        Err(other) => panic!("a sink that cannot take alerts over answers with `Error::Delivery`: {other}"),
    };
    let done = (0..ATTEMPTS_MAX).any(|_| is_taken(sink.send(alerts)));
    assert!(done, "a sink takes alerts over when they are sent again, at most {ATTEMPTS_MAX} times");
}

/// Waits for `senders`, and hands on what they panic with.
fn answered(senders: Vec<JoinHandle<()>>) {
    let (tell, told) = channel();
    let waiting = thread::spawn(move || {
        let outcomes: Vec<_> = senders.into_iter().map(JoinHandle::join).collect();
        // Nobody listens any more when the time was up.
        let _ = tell.send(outcomes);
    });
    let outcomes = match told.recv_timeout(ANSWER_MAX) {
        Ok(outcomes) => outcomes,
        Err(RecvTimeoutError::Timeout) => panic!("a sink answers in bounded time: not within {ANSWER_MAX:?}"),
        Err(RecvTimeoutError::Disconnected) => panic!("the senders of the kit went away"),
    };
    waiting.join().expect("only waits");
    for outcome in outcomes {
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    }
}

fn once_each(alerts: Vec<Alert>) -> Vec<Alert> {
    let mut known: BTreeSet<Digest> = BTreeSet::new();
    alerts.into_iter().filter(|alert| known.insert(alert.id())).collect()
}

fn group_of(group: i64, size: i64) -> Vec<Alert> {
    (0..size).map(|place| alert(group * 100 + place)).collect()
}

fn alert(number: i64) -> Alert {
    let name = |text: &str| Name::new(text).expect("a good name");
    Alert {
        name: name("drift"),
        severity: Severity::Warning,
        state: if number % 2 == 0 { AlertState::Firing } else { AlertState::Resolved },
        at: EventTime::from_secs(1_700_000_000 + number),
        value: number as f64 / 8.0,
        threshold: 0.25,
        labels: BTreeMap::from([(name("column"), format!("c{number}")), (name("model"), "offers".to_owned())]),
        text: format!("column c{number} has drifted"),
    }
}
