//! A ranking pipeline as an HTTP service.

mod answer;
mod connections;
mod context;
mod guard;
mod parse;
mod patience;
mod route;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Field, Schema};
use mlops_core::rank::{RankPipeline, RequestId};
use mlops_core::{Clock, Error, Name, Result, SystemClock};
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub use connections::{Running, ServiceStats, ShutDown};

use connections::{Counts, Door, Limits};
use context::ContextReader;
use guard::{Hosts, host_name};
use parse::Parser;
use route::{Ids, Shared, router};

/// Longest time that a service waits for anything.
const TIME_MAX: Duration = Duration::from_hours(1);

/// Makes the text of `/metrics`, in the OpenMetrics format.
pub type MetricsText = Arc<dyn Fn() -> String + Send + Sync>;

/// Says which models answer, by name and version; an error while there is none.
pub type ModelInfo = Arc<dyn Fn() -> Result<Vec<(Name, Arc<str>)>> + Send + Sync>;

/// Gets the cause of every request that failed on our side: callers are told the stage only.
pub type FailureHook = Arc<dyn Fn(RequestId, &Error) + Send + Sync>;

/// A ranking pipeline behind HTTP, ready to listen.
///
/// | route | answers |
/// |---|---|
/// | `POST /rank` | a [`RankAnswer`](super::RankAnswer) to a [`RankRequest`](super::RankRequest) |
/// | `GET /healthz` | `{"status":"alive"}` while requests are answered at all |
/// | `GET /readyz` | `{"status":"ready","models":{..}}`, or 503 while there is no model |
/// | `GET /metrics` | the host's OpenMetrics text, where it gives any |
///
/// Whatever is not answered is a [`Problem`](super::Problem) that names the thing. Heads that are no HTTP, are too long
/// or come too late are refused by hyper, without a body.
pub struct Service {
    shared: Arc<Shared>,
    bind: SocketAddr,
    hosts: Vec<String>,
    limits: Limits,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.shared.pipeline.name();
        f.debug_struct("Service").field("pipeline", name).field("bind", &self.bind).finish_non_exhaustive()
    }
}

/// Settings on their way to a [`Service`].
pub struct ServiceBuilder {
    pipeline: Arc<RankPipeline>,
    context: Vec<Field>,
    bind: SocketAddr,
    hosts: Vec<String>,
    unauthenticated: bool,
    takes_weights: bool,
    body_bytes_max: usize,
    body_timeout: Duration,
    text_bytes_max: usize,
    limit_max: usize,
    limits: Limits,
    clock: Arc<dyn Clock>,
    id_start: u64,
    metrics: Option<MetricsText>,
    models: Option<ModelInfo>,
    on_failure: Option<FailureHook>,
}

impl fmt::Debug for ServiceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.pipeline.name();
        f.debug_struct("ServiceBuilder").field("pipeline", name).field("bind", &self.bind).finish_non_exhaustive()
    }
}

impl Service {
    /// Starts a service of `pipeline`, whose deadline is that of every request.
    pub fn builder(pipeline: Arc<RankPipeline>) -> ServiceBuilder {
        ServiceBuilder {
            pipeline,
            context: Vec::new(),
            bind: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            hosts: Vec::new(),
            unauthenticated: false,
            takes_weights: false,
            body_bytes_max: 64 * 1024,
            body_timeout: Duration::from_secs(10),
            text_bytes_max: 1_024,
            limit_max: 1_000,
            limits: Limits {
                connections_max: 1_024,
                header_timeout: Duration::from_secs(5),
                header_bytes_max: 16 * 1024,
                headers_max: 64,
                write_timeout: Duration::from_secs(10),
                shutdown_grace: Duration::from_secs(10),
            },
            clock: Arc::new(SystemClock),
            id_start: RandomState::new().hash_one(0),
            metrics: None,
            models: None,
            on_failure: None,
        }
    }

    /// Listens, and answers on the runtime that this is called on.
    ///
    /// # Errors
    /// [`Error::External`] when the address cannot be had.
    pub async fn serve(self) -> Result<Running> {
        let unable = |error: std::io::Error| Error::external("socket", format!("{}: {error}", self.bind));
        let listener = TcpListener::bind(self.bind).await.map_err(unable)?;
        let addr = listener.local_addr().map_err(unable)?;
        let counts = Arc::new(Counts::default());
        let hosts = Hosts::new(addr, &self.hosts);
        let door = Door { listener, router: router(self.shared), hosts, limits: self.limits, counts: counts.clone() };
        let (stop, stopped) = oneshot::channel();
        Ok(Running { addr, counts, stop, door: tokio::spawn(door.run(stopped)) })
    }
}

impl ServiceBuilder {
    /// Columns of a request's context: booleans, integers, floats, text, or timestamps in microseconds since the epoch.
    /// One that is nullable may be left out. Default: none.
    pub fn context(mut self, columns: impl IntoIterator<Item = Field>) -> Self {
        self.context = columns.into_iter().collect();
        self
    }

    /// Where to listen; port 0 is any free one. Default: `127.0.0.1:0`.
    pub fn bind(mut self, addr: SocketAddr) -> Self {
        self.bind = addr;
        self
    }

    /// Lets the service listen on an address that others can reach, although it asks nobody who they are.
    pub fn allow_unauthenticated(mut self) -> Self {
        self.unauthenticated = true;
        self
    }

    /// Adds a name or address under which the service is asked. Default: `localhost`, the loopback addresses and the
    /// one that is listened on.
    pub fn host(mut self, name: impl Into<String>) -> Self {
        self.hosts.push(name.into());
        self
    }

    /// Lets requests bring weights of their own. Default: they may not.
    pub fn allow_weights(mut self) -> Self {
        self.takes_weights = true;
        self
    }

    /// Longest body in bytes. Default 64 KiB.
    pub fn body_bytes_max(mut self, bytes: usize) -> Self {
        self.body_bytes_max = bytes;
        self
    }

    /// How long a body may take. Default 10 s.
    pub fn body_timeout(mut self, limit: Duration) -> Self {
        self.body_timeout = limit;
        self
    }

    /// Longest text of the context in bytes. Default 1 KiB.
    pub fn text_bytes_max(mut self, bytes: usize) -> Self {
        self.text_bytes_max = bytes;
        self
    }

    /// Most candidates that one request may ask for. Default 1,000.
    pub fn limit_max(mut self, candidates: usize) -> Self {
        self.limit_max = candidates;
        self
    }

    /// Most connections at one time; others are told to come back. Default 1,024.
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.limits.connections_max = connections;
        self
    }

    /// How long a head may take, from the moment that a connection is free for it: an idle connection ends after this
    /// too. Default 5 s.
    pub fn header_timeout(mut self, limit: Duration) -> Self {
        self.limits.header_timeout = limit;
        self
    }

    /// How long a caller may leave an answer unread. Default 10 s.
    pub fn write_timeout(mut self, limit: Duration) -> Self {
        self.limits.write_timeout = limit;
        self
    }

    /// How long requests may still take once the service is shut down. Default 10 s.
    pub fn shutdown_grace(mut self, limit: Duration) -> Self {
        self.limits.shutdown_grace = limit;
        self
    }

    /// Time of requests that bring none. Default: the system's clock.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Where the count begins that makes ids of requests that bring none. Default: anywhere.
    pub fn id_start(mut self, start: u64) -> Self {
        self.id_start = start;
        self
    }

    /// What `/metrics` answers. Default: there is no such route.
    pub fn metrics(mut self, text: MetricsText) -> Self {
        self.metrics = Some(text);
        self
    }

    /// What `/readyz` answers. Default: ready, without a model.
    pub fn models(mut self, models: ModelInfo) -> Self {
        self.models = Some(models);
        self
    }

    /// Who gets to know why requests failed. It is called on the request's way and must not block. Default: nobody.
    pub fn on_failure(mut self, hook: FailureHook) -> Self {
        self.on_failure = Some(hook);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// * [`Error::Invalid`] for a limit of nothing, a time of nothing or of more than an hour, for a host that is no name, and for an address that others
    ///   can reach without [`allow_unauthenticated`](Self::allow_unauthenticated).
    /// * [`Error::Schema`] or [`Error::AlreadyExists`] naming a column of the context that JSON cannot fill or that comes
    ///   twice, or the candidate key when it is neither an integer nor text.
    pub fn build(self) -> Result<Service> {
        self.check()?;
        let hosts = self.hosts.iter().map(|host| {
            host_name(host)
                .ok_or_else(|| Error::invalid("host", host.escape_debug(), "a name or address without a port"))
        });
        let hosts = hosts.collect::<Result<_>>()?;
        let context = ContextReader::new(Arc::new(Schema::new(self.context)), self.text_bytes_max)?;
        let shared = Shared {
            pipeline: self.pipeline,
            parser: Parser { context, limit_max: self.limit_max, takes_weights: self.takes_weights },
            body_bytes_max: self.body_bytes_max,
            body_timeout: self.body_timeout,
            clock: self.clock,
            ids: Ids::from(self.id_start),
            metrics: self.metrics,
            models: self.models,
            on_failure: self.on_failure,
        };
        Ok(Service { shared: Arc::new(shared), bind: self.bind, hosts, limits: self.limits })
    }

    fn check(&self) -> Result<()> {
        if !self.bind.ip().is_loopback() && !self.unauthenticated {
            return Err(Error::invalid("bind", self.bind, "a loopback address, and nothing asks callers who they are"));
        }
        let key = self.pipeline.columns().field(0);
        answer::check_key(key.name(), key.data_type())?;
        // More places than this and the semaphore that counts them could not.
        let connections_max = self.limits.connections_max;
        if !(1..=1_000_000).contains(&connections_max) {
            return Err(Error::invalid("connections_max", connections_max, "in 1..=1000000"));
        }
        let sizes = [("body_bytes_max", self.body_bytes_max), ("limit_max", self.limit_max)];
        if let Some((setting, _)) = sizes.into_iter().find(|(_, size)| *size == 0) {
            return Err(Error::invalid(setting, 0, "at least 1"));
        }
        let times = [
            ("body_timeout", self.body_timeout),
            ("header_timeout", self.limits.header_timeout),
            ("write_timeout", self.limits.write_timeout),
            ("shutdown_grace", self.limits.shutdown_grace),
        ];
        match times.into_iter().find(|(_, time)| time.is_zero() || *time > TIME_MAX) {
            Some((setting, time)) => Err(Error::invalid(setting, format!("{time:?}"), "above 0 s and at most 1 h")),
            None => Ok(()),
        }
    }
}
