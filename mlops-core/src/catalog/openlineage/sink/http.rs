//! Events sent to a server.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ureq::Agent;
use zeroize::Zeroizing;

use super::{EventSink, line};
use crate::catalog::openlineage::Event;
use crate::{Error, Result};

/// Tries of one event at the most.
pub const ATTEMPTS_MAX: u32 = 10;

/// Longest pause between two tries.
const PAUSE_MAX: Duration = Duration::from_secs(30);

type Sleeper = Arc<dyn Fn(Duration) + Send + Sync>;

/// Posts each event to the lineage endpoint of a server, such as `https://marquez.example/api/v1/lineage`.
///
/// `emit` waits for the answer: 200 to 299 is success. Failures on the way, 408, 425, 429 and 500 to 599 are tried again
/// after a pause that doubles; a server that took an event and whose answer was lost gets it again. Redirects are not
/// followed, proxies of the environment not used, and the token stands in no error and in no debug output. Needs the
/// feature `http`.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use mlops_core::catalog::openlineage::HttpSink;
///
/// let sink = HttpSink::builder("https://lineage.example/api/v1/lineage")
///     .token("s3cret")
///     .timeout(Duration::from_secs(2))
///     .build()?;
/// assert!(!format!("{sink:?}").contains("s3cret"));
/// assert!(HttpSink::builder("http://lineage.example/api").token("s3cret").build().is_err());
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub struct HttpSink {
    url: String,
    authorization: Option<Zeroizing<String>>,
    attempts: u32,
    pause: Duration,
    sleeper: Sleeper,
    agent: Agent,
}

/// Settings of an [`HttpSink`].
pub struct HttpSinkBuilder {
    url: String,
    token: Option<Zeroizing<String>>,
    timeout: Duration,
    attempts: u32,
    pause: Duration,
    sleeper: Sleeper,
}

impl HttpSink {
    /// Posts to `url`, which is the whole address.
    pub fn builder(url: impl Into<String>) -> HttpSinkBuilder {
        HttpSinkBuilder {
            url: url.into(),
            token: None,
            timeout: Duration::from_secs(5),
            attempts: 3,
            pause: Duration::from_millis(200),
            sleeper: Arc::new(std::thread::sleep),
        }
    }

    /// One try.
    fn post(&self, body: &[u8]) -> Result<(), Refusal> {
        let mut request = self.agent.post(&self.url).content_type("application/json");
        if let Some(authorization) = &self.authorization {
            request = request.header("Authorization", authorization.as_str());
        }
        match request.send(body).map(|answer| answer.status().as_u16()) {
            Ok(200..=299) => Ok(()),
            Ok(status @ (408 | 425 | 429 | 500..=599)) => Err(Refusal::Passing(format!("status {status}"))),
            Ok(status @ 300..=399) => Err(Refusal::Final(format!("status {status}: redirects are not followed"))),
            Ok(status) => Err(Refusal::Final(format!("status {status}"))),
            Err(error) => Err(passing(&error)),
        }
    }
}

/// Why a try failed.
enum Refusal {
    /// Another try may succeed.
    Passing(String),
    /// None will.
    Final(String),
}

fn passing(error: &ureq::Error) -> Refusal {
    use ureq::Error as Http;
    match error {
        Http::Timeout(_) | Http::Io(_) | Http::HostNotFound | Http::ConnectionFailed | Http::Protocol(_) => {
            Refusal::Passing(error.to_string())
        }
        _ => Refusal::Final(error.to_string()),
    }
}

impl EventSink for HttpSink {
    fn emit(&self, event: &Event) -> Result<()> {
        let body = line(event)?;
        let mut pause = self.pause;
        for attempt in 1.. {
            let reason = match self.post(body.trim_ascii_end()) {
                Ok(()) => break,
                Err(Refusal::Passing(_)) if attempt < self.attempts => {
                    (self.sleeper)(pause);
                    pause = pause.saturating_mul(2).min(PAUSE_MAX);
                    continue;
                }
                Err(Refusal::Passing(reason) | Refusal::Final(reason)) => reason,
            };
            return Err(Error::external("lineage server", format!("{}: {reason}", self.url)));
        }
        Ok(())
    }
}

impl HttpSinkBuilder {
    /// Sends `Authorization: Bearer <token>`; only over `https`, or to this machine. Default: none.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(Zeroizing::new(token.into()));
        self
    }

    /// Longest time of one try, from looking up the name to the end of the answer. Default 5 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Tries of one event. Default 3.
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// Pause after the first try; it doubles after each, up to 30 s. Default 200 ms.
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// What pauses. Default: the thread sleeps.
    pub fn sleeper(mut self, sleeper: impl Fn(Duration) + Send + Sync + 'static) -> Self {
        self.sleeper = Arc::new(sleeper);
        self
    }

    /// Checks the settings; connects to nothing.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the address is not one of HTTP, holds a user or a password or a query, when a token would
    /// travel in the open or has characters that a header cannot hold, or when there are no tries or no time.
    pub fn build(self) -> Result<HttpSink> {
        let invalid = |domain| Err(Error::invalid("url", "the lineage address", domain));
        let (scheme, rest) = self.url.split_once("://").unwrap_or_default();
        let host = rest.split('/').next().unwrap_or_default();
        if !matches!(scheme, "http" | "https") || host.is_empty() || !self.url.bytes().all(|b| b.is_ascii_graphic()) {
            return invalid("an http or https address");
        }
        if rest.contains(['@', '?', '#']) {
            return invalid("an address without user, query and fragment: secrets go into the token");
        }
        if let Some(token) = &self.token {
            if scheme == "http" && !is_local(host) {
                return invalid("an https address, as there is a token");
            }
            if token.is_empty() || !token.bytes().all(|b| b.is_ascii_graphic()) {
                return Err(Error::invalid("token", "what was given", "visible ASCII"));
            }
        }
        if !(1..=ATTEMPTS_MAX).contains(&self.attempts) {
            return Err(Error::invalid("attempts", self.attempts, "in 1..=10"));
        }
        if self.timeout.is_zero() {
            return Err(Error::invalid("timeout", "0", "longer"));
        }
        let config = Agent::config_builder()
            .timeout_global(Some(self.timeout))
            .max_redirects(0)
            .max_redirects_will_error(false)
            .http_status_as_error(false)
            .max_response_header_size(1 << 16)
            .proxy(None)
            .user_agent(concat!("mlops-core/", env!("CARGO_PKG_VERSION")))
            .build();
        let authorization = self.token.map(|token| Zeroizing::new(format!("Bearer {}", token.as_str())));
        let (url, attempts, pause, sleeper) = (self.url, self.attempts, self.pause.min(PAUSE_MAX), self.sleeper);
        Ok(HttpSink { url, authorization, attempts, pause, sleeper, agent: config.into() })
    }
}

fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

impl fmt::Debug for HttpSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSink").field("url", &self.url).field("attempts", &self.attempts).finish_non_exhaustive()
    }
}

impl fmt::Debug for HttpSinkBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSinkBuilder").field("attempts", &self.attempts).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
