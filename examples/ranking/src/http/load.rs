//! How many requests a service answers, and how fast: a closed loop on loopback.

mod histogram;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::StatusCode;
use mlops_core::{Error, Result};
use serde::{Deserialize, Serialize};

use self::histogram::Histogram;
use super::client::{Bounds, ClientError, Link, Trouble};
use super::wire::RankRequest;

/// Most connections of one measurement.
const CONNECTIONS_MAX: usize = 1_024;
/// Longest time that a measurement takes for anything.
const TIME_MAX: Duration = Duration::from_hours(1);
/// Rest after a failure, so that a service that is gone is not called without end.
const REST: Duration = Duration::from_millis(5);

/// Asks again and again over so many connections, each waiting for its answer before it asks the next.
///
/// Time is measured from the first byte that is handed to the system to the last byte of the answer, in the process of
/// the caller: where that is also the service's, the two share its cores. Answers are read and not parsed.
#[derive(Debug, Clone)]
pub struct Load {
    connections: usize,
    warm_up: Duration,
    until: Until,
    bounds: Bounds,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Until {
    Requests(u64),
    Passed(Duration),
}

/// Settings on their way to a [`Load`].
#[derive(Debug, Clone)]
pub struct LoadBuilder(Load);

impl LoadBuilder {
    /// How many connections ask at one time, in `1..=1024`. Default 1.
    pub fn connections(mut self, connections: usize) -> Self {
        self.0.connections = connections;
        self
    }

    /// How long is asked before anything is counted. Default 1 s.
    pub fn warm_up(mut self, warm_up: Duration) -> Self {
        self.0.warm_up = warm_up;
        self
    }

    /// Ends after so many requests.
    pub fn requests(mut self, requests: u64) -> Self {
        self.0.until = Until::Requests(requests);
        self
    }

    /// Ends after so long. Default 5 s.
    pub fn duration(mut self, duration: Duration) -> Self {
        self.0.until = Until::Passed(duration);
        self
    }

    /// How long one answer may take. Default 5 s.
    pub fn answer_timeout(mut self, limit: Duration) -> Self {
        self.0.bounds.answer_timeout = limit;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when one of them is nothing, or a time is longer than an hour.
    pub fn build(self) -> Result<Load> {
        let load = self.0;
        if !(1..=CONNECTIONS_MAX).contains(&load.connections) {
            return Err(Error::invalid("connections", load.connections, "in 1..=1024"));
        }
        if load.until == Until::Requests(0) {
            return Err(Error::invalid("requests", 0, "at least 1"));
        }
        let lasts = match load.until {
            Until::Passed(duration) => duration,
            Until::Requests(_) => TIME_MAX,
        };
        // There is no warm-up where none is wanted; the others take their time.
        let times = [
            ("warm_up", load.warm_up.max(Duration::from_nanos(1))),
            ("duration", lasts),
            ("answer_timeout", load.bounds.answer_timeout),
        ];
        match times.into_iter().find(|(_, time)| time.is_zero() || *time > TIME_MAX) {
            Some((setting, time)) => Err(Error::invalid(setting, format!("{time:?}"), "above 0 s and at most 1 h")),
            None => Ok(load),
        }
    }
}

/// What was measured, the warm-up left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoadReport {
    /// Connections that asked at one time.
    pub connections: usize,
    /// Requests that were asked.
    pub requests: u64,
    /// Seconds from the first to the last of them.
    pub elapsed_s: f64,
    /// Answered requests per second.
    pub requests_per_s: f64,
    /// Time that half of the answered requests did not exceed, in µs, at most 0.8 % too long.
    pub p50_us: f64,
    /// Likewise for nine of ten.
    pub p90_us: f64,
    /// Likewise for 99 of 100.
    pub p99_us: f64,
    /// The longest time, in µs.
    pub max_us: f64,
    /// Requests without an answer, by what was wrong: `connect`, `timeout`, `lost`, or the status.
    pub failures: BTreeMap<String, u64>,
}

impl LoadReport {
    /// Requests without an answer.
    pub fn failed(&self) -> u64 {
        self.failures.values().sum()
    }
}

impl Load {
    /// Starts a measurement.
    pub fn builder() -> LoadBuilder {
        let bounds = Bounds {
            connect_timeout: Duration::from_secs(1),
            answer_timeout: Duration::from_secs(5),
            answer_bytes_max: 16 * 1024 * 1024,
        };
        LoadBuilder(Self {
            connections: 1,
            warm_up: Duration::from_secs(1),
            until: Until::Passed(Duration::from_secs(5)),
            bounds,
        })
    }

    /// Asks `requests`, in their order and again from the front, of the service at `addr`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `addr` is not on loopback or there is nothing to ask; a service that fails is a finding.
    pub async fn run(&self, addr: SocketAddr, requests: &[RankRequest]) -> Result<LoadReport> {
        if !addr.ip().is_loopback() {
            return Err(Error::invalid("addr", addr, "on loopback: load is for one's own services"));
        }
        if requests.is_empty() {
            return Err(Error::invalid("requests", 0, "at least one to ask"));
        }
        let begins = Instant::now() + self.warm_up;
        let shared = Arc::new(Course {
            addr,
            bodies: requests.iter().map(RankRequest::to_json).collect(),
            begins,
            until: self.until,
            bounds: self.bounds,
            asked: AtomicU64::new(0),
        });
        // Tasks that are dropped with the set are aborted: a measurement that is given up leaves nobody asking.
        let mut lanes = tokio::task::JoinSet::new();
        for lane in 0..self.connections {
            let first = lane * requests.len() / self.connections;
            lanes.spawn(ask(shared.clone(), first));
        }
        let mut all = Lane { ended: begins, ..Lane::default() };
        while let Some(lane) = lanes.join_next().await {
            all.merge(&lane.map_err(|e| Error::external("load", e))?);
        }
        Ok(all.report(self.connections, begins))
    }
}

/// What all connections share.
#[derive(Debug)]
struct Course {
    addr: SocketAddr,
    bodies: Vec<Bytes>,
    begins: Instant,
    until: Until,
    bounds: Bounds,
    asked: AtomicU64,
}

impl Course {
    /// Whether one more request is to be asked, and if so, whether it counts.
    fn next(&self, now: Instant) -> Option<bool> {
        if now < self.begins {
            return Some(false);
        }
        let goes_on = match self.until {
            Until::Requests(requests) => self.asked.fetch_add(1, Ordering::Relaxed) < requests,
            Until::Passed(duration) => now < self.begins + duration,
        };
        goes_on.then_some(true)
    }
}

/// What one connection saw.
#[derive(Debug)]
struct Lane {
    took: Histogram,
    failures: BTreeMap<String, u64>,
    ended: Instant,
}

impl Default for Lane {
    fn default() -> Self {
        Self { took: Histogram::default(), failures: BTreeMap::new(), ended: Instant::now() }
    }
}

impl Lane {
    fn merge(&mut self, other: &Self) {
        self.took.merge(&other.took);
        for (kind, count) in &other.failures {
            *self.failures.entry(kind.clone()).or_default() += count;
        }
        self.ended = self.ended.max(other.ended);
    }

    fn report(&self, connections: usize, begins: Instant) -> LoadReport {
        let elapsed_s = self.ended.saturating_duration_since(begins).as_secs_f64();
        let micros = |p| self.took.quantile(p) as f64 / 1e3;
        let answered = self.took.count();
        LoadReport {
            connections,
            requests: answered + self.failures.values().sum::<u64>(),
            elapsed_s,
            requests_per_s: if elapsed_s > 0.0 { answered as f64 / elapsed_s } else { 0.0 },
            p50_us: micros(0.5),
            p90_us: micros(0.9),
            p99_us: micros(0.99),
            max_us: micros(1.0),
            failures: self.failures.clone(),
        }
    }
}

async fn ask(course: Arc<Course>, first: usize) -> Lane {
    let mut lane = Lane { ended: course.begins, ..Lane::default() };
    let mut link = None;
    let bodies = course.bodies.iter().cycle().skip(first);
    let mut begun = Instant::now();
    for body in bodies {
        let Some(counts) = course.next(begun) else { break };
        let answer = exchange(&course, &mut link, body).await;
        let ended = Instant::now();
        if counts {
            match &answer {
                Ok(()) => lane.took.update(ended - begun),
                Err(kind) => *lane.failures.entry(kind.clone()).or_default() += 1,
            }
            lane.ended = ended;
        }
        begun = ended;
        if answer.is_err() {
            tokio::time::sleep(REST).await;
            begun = Instant::now();
        }
    }
    lane
}

async fn exchange(course: &Course, link: &mut Option<Link>, body: &Bytes) -> Result<(), String> {
    let mut open = match link.take() {
        Some(open) => open,
        None => Link::open(course.addr, course.bounds).await.map_err(|e| kind(&e))?,
    };
    let request = open.post("/rank", body.clone());
    let (status, _) = open.exchange(request).await.map_err(|e| kind(&Trouble::into_error(e)))?;
    if open.is_open() {
        *link = Some(open);
    }
    if status == StatusCode::OK { Ok(()) } else { Err(status.as_u16().to_string()) }
}

fn kind(error: &ClientError) -> String {
    match error {
        ClientError::Connect { .. } => "connect",
        ClientError::Timeout { .. } => "timeout",
        _ => "lost",
    }
    .to_owned()
}
