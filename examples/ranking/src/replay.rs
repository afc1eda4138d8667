//! A day of requests, sent to the service as a client would.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use indicatif::ProgressBar;
use mlops_core::rank::RequestId;
use tokio::task::JoinSet;

use crate::Result;
use crate::http::{Client, Key, RankRequest};
use crate::service::OBJECTIVE;
use crate::world::Ask;

/// One request as it was answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// Offers shown, best first.
    pub page: Vec<i64>,
    /// The model version that made the page.
    pub version: String,
    /// Time from the first byte sent to the last byte read, in microseconds.
    pub took_us: u64,
}

/// A day as it was answered.
#[derive(Debug, Default)]
pub struct Day {
    /// One entry per request, in their order; `None` for a request that failed.
    pub answers: Vec<Option<Answered>>,
    /// What went wrong, the first few times.
    pub failures: Vec<String>,
}

impl Day {
    /// Requests that failed.
    pub fn failed(&self) -> u64 {
        self.answers.iter().filter(|answer| answer.is_none()).count() as u64
    }
}

/// How far a replay has come, for whoever acts in the middle of it.
#[derive(Debug, Default)]
pub struct Pace {
    answered: AtomicU64,
}

impl Pace {
    /// Requests answered so far.
    pub fn answered(&self) -> u64 {
        self.answered.load(Ordering::Acquire)
    }
}

/// The request for `ask`.
pub fn request(ask: &Ask, page: usize) -> RankRequest {
    let candidates: Vec<String> = ask.candidates.iter().map(i64::to_string).collect();
    RankRequest::new(page)
        .id(RequestId(u128::from(ask.id)))
        .at(ask.at)
        .context("customer_id", ask.customer_id)
        .context("candidates", candidates.join(","))
}

/// Failures that are kept in words.
const FAILURES_KEPT: usize = 5;

/// Sends `asks` over `connections` at one time, each waiting for its answer before it sends the next.
///
/// # Errors
/// When a task of the replay panics; requests that fail are counted, not raised.
pub async fn replay(
    client: Arc<Client>,
    asks: Arc<Vec<Ask>>,
    page: usize,
    connections: usize,
    pace: Arc<Pace>,
    bar: ProgressBar,
) -> Result<Day> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut senders = JoinSet::new();
    for _ in 0..connections.max(1) {
        let (client, asks, pace, next, bar) = (client.clone(), asks.clone(), pace.clone(), next.clone(), bar.clone());
        senders.spawn(async move {
            let mut answers = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::Relaxed);
                let Some(ask) = asks.get(place) else { break answers };
                answers.push((place, send(&client, ask, page).await));
                pace.answered.fetch_add(1, Ordering::Release);
                bar.inc(1);
            }
        });
    }
    let mut day = Day { answers: vec![None; asks.len()], failures: Vec::new() };
    while let Some(answers) = senders.join_next().await {
        for (place, answer) in answers? {
            match answer {
                Ok(answer) => day.answers[place] = Some(answer),
                Err(failure) if day.failures.len() < FAILURES_KEPT => day.failures.push(failure),
                Err(_) => {}
            }
        }
    }
    Ok(day)
}

/// Sends one request and reads its answer.
///
/// # Errors
/// What went wrong, in words.
pub async fn send(client: &Client, ask: &Ask, page: usize) -> Result<Answered, String> {
    let started = Instant::now();
    let answer = client.rank(&request(ask, page)).await.map_err(|failure| failure.to_string())?;
    let took_us = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
    let page = answer.items.iter().map(|item| match item.key {
        Key::Int(id) => Ok(id),
        ref other => Err(format!("an offer with the key {other:?}")),
    });
    let page = page.collect::<Result<_, String>>()?;
    Ok(Answered { page, version: answer.versions.get(OBJECTIVE).cloned().unwrap_or_default(), took_us })
}
