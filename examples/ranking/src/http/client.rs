//! Asks a ranking service over connections that are kept alive.

mod link;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::http::StatusCode;
use mlops_core::Error;
use serde::Deserialize;

pub(super) use link::{Bounds, Link, Trouble};

use super::problem::Problem;
use super::wire::{RankAnswer, RankRequest};

/// What a client meets.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// Nobody listens, or there is no way there.
    #[error("{addr}: {source}")]
    Connect {
        /// Who was called.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// It took too long.
    #[error("no {what} within {} ms", after.as_millis())]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        after: Duration,
    },
    /// The connection broke before the answer was whole. Whether the request was answered is not known.
    #[error("{addr}: {source}")]
    Lost {
        /// Who was called.
        addr: SocketAddr,
        /// How it broke.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The service said no, and why.
    #[error(transparent)]
    Refused(#[from] Problem),
    /// The answer is not that of a ranking service.
    #[error("status {status}: {reason}")]
    BadAnswer {
        /// Its HTTP status.
        status: u16,
        /// What is wrong with it.
        reason: String,
    },
}

/// What `/readyz` answers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Ready {
    /// Versions of the models that answer, by name.
    pub models: BTreeMap<String, String>,
}

/// Asks one service; shared by any number of tasks.
///
/// Connections are kept for a while. One that the service closed meanwhile is replaced, and the request asked on the new
/// one, as long as nothing of it was sent; what may have been answered already is never asked twice.
#[derive(Debug)]
pub struct Client {
    addr: SocketAddr,
    bounds: Bounds,
    idle_max: usize,
    idle_for: Duration,
    idle: Mutex<Vec<(Link, Instant)>>,
}

/// Settings on their way to a [`Client`].
#[derive(Debug, Clone)]
pub struct ClientBuilder {
    addr: SocketAddr,
    bounds: Bounds,
    idle_max: usize,
    idle_for: Duration,
}

impl ClientBuilder {
    /// How long a connection may take to be made. Default 1 s.
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.bounds.connect_timeout = limit;
        self
    }

    /// How long an answer may take once there is a connection. Default 5 s.
    pub fn answer_timeout(mut self, limit: Duration) -> Self {
        self.bounds.answer_timeout = limit;
        self
    }

    /// Longest answer in bytes. Default 4 MiB.
    pub fn answer_bytes_max(mut self, bytes: usize) -> Self {
        self.bounds.answer_bytes_max = bytes;
        self
    }

    /// Most connections that are kept while nobody uses them. Default 16.
    pub fn idle_max(mut self, connections: usize) -> Self {
        self.idle_max = connections;
        self
    }

    /// How long one is kept. Default 2 s: less than a service waits for a head, so that it is rarely closed just when it
    /// is used.
    pub fn idle_for(mut self, limit: Duration) -> Self {
        self.idle_for = limit;
        self
    }

    /// Checks the settings; nothing is connected yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a time or an answer of nothing.
    pub fn build(self) -> mlops_core::Result<Client> {
        let times = [("connect_timeout", self.bounds.connect_timeout), ("answer_timeout", self.bounds.answer_timeout)];
        if let Some((setting, _)) = times.into_iter().find(|(_, limit)| limit.is_zero()) {
            return Err(Error::invalid(setting, "0 s", "longer than nothing"));
        }
        if self.bounds.answer_bytes_max == 0 {
            return Err(Error::invalid("answer_bytes_max", 0, "at least 1"));
        }
        let Self { addr, bounds, idle_max, idle_for } = self;
        Ok(Client { addr, bounds, idle_max, idle_for, idle: Mutex::new(Vec::new()) })
    }
}

impl Client {
    /// Starts a client of the service at `addr`.
    pub fn builder(addr: SocketAddr) -> ClientBuilder {
        let bounds = Bounds {
            connect_timeout: Duration::from_secs(1),
            answer_timeout: Duration::from_secs(5),
            answer_bytes_max: 4 * 1024 * 1024,
        };
        ClientBuilder { addr, bounds, idle_max: 16, idle_for: Duration::from_secs(2) }
    }

    /// Asks for a ranking.
    ///
    /// # Errors
    /// [`ClientError::Refused`] with the service's problem, and whatever keeps the answer from coming.
    pub async fn rank(&self, request: &RankRequest) -> Result<RankAnswer, ClientError> {
        let body = request.to_json();
        read(self.send(|link| link.post("/rank", body.clone())).await?)
    }

    /// Asks whether the service is ready, and with which models.
    ///
    /// # Errors
    /// [`ClientError::Refused`] while it is not, and whatever keeps the answer from coming.
    pub async fn ready(&self) -> Result<Ready, ClientError> {
        read(self.send(|link| link.get("/readyz")).await?)
    }

    /// Asks for the service's metrics, in the OpenMetrics format.
    ///
    /// # Errors
    /// [`ClientError::Refused`] where it gives none, and whatever keeps the answer from coming.
    pub async fn metrics(&self) -> Result<String, ClientError> {
        let (status, body) = self.send(|link| link.get("/metrics")).await?;
        if status != StatusCode::OK {
            return Err(refusal(status, &body));
        }
        String::from_utf8(body.into()).map_err(|e| bad(status, e))
    }

    async fn send(
        &self,
        request: impl Fn(&Link) -> axum::http::Request<http_body_util::Full<Bytes>>,
    ) -> Result<(StatusCode, Bytes), ClientError> {
        // Every turn takes a connection out of the bounded store, or is the last.
        while let Some(mut link) = self.kept() {
            match link.exchange(request(&link)).await {
                Ok(answer) => {
                    self.keep(link);
                    return Ok(answer);
                }
                Err(Trouble::Unsent(_)) => {}
                Err(Trouble::Lost(error)) => return Err(error),
            }
        }
        let mut link = Link::open(self.addr, self.bounds).await?;
        let answer = link.exchange(request(&link)).await.map_err(Trouble::into_error)?;
        self.keep(link);
        Ok(answer)
    }

    fn kept(&self) -> Option<Link> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        // The last in is the first out: those that are not needed grow old at the bottom.
        while let Some((link, since)) = idle.pop() {
            if since.elapsed() < self.idle_for {
                return Some(link);
            }
            idle.clear();
        }
        None
    }

    fn keep(&self, link: Link) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if link.is_open() && idle.len() < self.idle_max {
            idle.push((link, Instant::now()));
        }
    }
}

fn read<T: for<'de> Deserialize<'de>>((status, body): (StatusCode, Bytes)) -> Result<T, ClientError> {
    if status != StatusCode::OK {
        return Err(refusal(status, &body));
    }
    serde_json::from_slice(&body).map_err(|e| bad(status, e))
}

/// The service's problem, or that it gave none.
fn refusal(status: StatusCode, body: &[u8]) -> ClientError {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => problem.into(),
        Err(error) => bad(status, error),
    }
}

fn bad(status: StatusCode, reason: impl std::fmt::Display) -> ClientError {
    ClientError::BadAnswer { status: status.as_u16(), reason: reason.to_string() }
}
