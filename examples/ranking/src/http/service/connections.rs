//! Accepts connections, drives them, and lets them end.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::response::{IntoResponse, Response};
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::guard::Hosts;
use super::patience::Patient;
use super::route::finish;
use crate::http::problem::{PROBLEM_JSON, Problem, ProblemCode};

/// Most connections that are told at one time that there is no room; those beyond are closed without a word.
const TURNED_AWAY_MAX: usize = 64;
/// How long somebody who is turned away may take to read it.
const TURNED_AWAY_FOR: Duration = Duration::from_secs(1);
/// Rest after the system had no socket to give.
const ACCEPT_REST: Duration = Duration::from_millis(50);
/// How long nothing must come on connections that wait for their next request before they are closed when the service
/// ends, so that a request which is on its way is answered.
const LINGER: Duration = Duration::from_millis(50);
/// Room for what was read ahead and what is to be written, in bytes per connection.
const BUFFER_BYTES: usize = 64 * 1024;

/// Bounds of the connections of one service.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) connections_max: usize,
    pub(super) header_timeout: Duration,
    pub(super) header_bytes_max: usize,
    pub(super) headers_max: usize,
    pub(super) write_timeout: Duration,
    pub(super) shutdown_grace: Duration,
}

/// What happened at the door so far.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) accepted: AtomicU64,
    pub(super) turned_away: AtomicU64,
    pub(super) open: AtomicU64,
    pub(super) answered: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) panicked: AtomicU64,
}

impl Counts {
    fn count(&self, response: &Response) {
        let counter = match response.status().as_u16() {
            ..400 => &self.answered,
            400..500 => &self.refused,
            _ => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until nothing is answered for [`LINGER`].
    async fn quiet(&self) {
        let answers = || [&self.answered, &self.refused, &self.failed].map(|counter| counter.load(Ordering::Relaxed));
        let mut before = answers();
        loop {
            tokio::time::sleep(LINGER).await;
            let now = answers();
            if now == before {
                return;
            }
            before = now;
        }
    }
}

/// Where a service is on its way to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    /// Requests are answered.
    Open,
    /// No connection is accepted, and each is closed after the answer that comes next.
    Closing,
    /// Connections that wait for a request are closed.
    Draining,
    /// Every connection is closed.
    Over,
}

/// How a service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShutDown {
    /// Connections that were closed in the middle of a request, because the time for shutting down was over.
    pub cut_off: usize,
}

/// The listening end of a service.
pub(super) struct Door {
    pub(super) listener: TcpListener,
    pub(super) router: Router,
    pub(super) hosts: Hosts,
    pub(super) limits: Limits,
    pub(super) counts: Arc<Counts>,
}

impl Door {
    /// Accepts until `stop` is told to stop, then lets what was accepted end; closes everything at once when whoever
    /// holds the other end of `stop` is gone.
    pub(super) async fn run(self, mut stop: oneshot::Receiver<()>) -> ShutDown {
        let Self { listener, router, hosts, limits, counts } = self;
        let (phase, watched) = watch::channel(Phase::Open);
        let room = Arc::new(Semaphore::new(limits.connections_max));
        let shelf = Arc::new(Semaphore::new(TURNED_AWAY_MAX));
        let visit = Arc::new(Visit { router: TowerToHyperService::new(router), hosts, counts, phase: watched });
        let mut http = http1::Builder::new();
        http.timer(hyper_util::rt::TokioTimer::new())
            .header_read_timeout(limits.header_timeout)
            .max_header_size(limits.header_bytes_max)
            .max_headers(limits.headers_max)
            .max_buf_size(BUFFER_BYTES);
        let admit = |stream: TcpStream| match room.clone().try_acquire_owned() {
            Ok(place) => visit.admit(&http, stream, limits.write_timeout, place),
            Err(_) => visit.turn_away(&shelf, stream),
        };
        loop {
            tokio::select! {
                biased;
                told = &mut stop => match told {
                    Ok(()) => break,
                    Err(_) => return ShutDown { cut_off: limits.connections_max - room.available_permits() },
                },
                accepted = listener.accept() => match accepted {
                    Ok((stream, _)) => admit(stream),
                    Err(error) if is_of_one_connection(&error) => {}
                    Err(_) => tokio::time::sleep(ACCEPT_REST).await,
                },
            }
        }
        for stream in waiting(&listener).await {
            admit(stream);
        }
        drop(listener);
        wind_down(&phase, &room, &visit.counts, limits).await
    }
}

/// Connections that the system took on and nobody has accepted yet: their requests may be under way.
async fn waiting(listener: &TcpListener) -> Vec<TcpStream> {
    let mut streams = Vec::new();
    std::future::poll_fn(|context| {
        // As many as the system's queue holds, and not those that come meanwhile.
        while streams.len() < 1_024
            && let Poll::Ready(Ok((stream, _))) = listener.poll_accept(context)
        {
            streams.push(stream);
        }
        Poll::Ready(())
    })
    .await;
    streams
}

async fn wind_down(phase: &watch::Sender<Phase>, room: &Semaphore, counts: &Counts, limits: Limits) -> ShutDown {
    let places = u32::try_from(limits.connections_max).unwrap_or(u32::MAX);
    let empty = async {
        phase.send_replace(Phase::Closing);
        tokio::select! {
            _all = room.acquire_many(places) => return,
            () = counts.quiet() => {}
        }
        phase.send_replace(Phase::Draining);
        let _all = room.acquire_many(places).await;
    };
    let cut_off = match tokio::time::timeout(limits.shutdown_grace, empty).await {
        Ok(()) => 0,
        Err(_) => limits.connections_max - room.available_permits(),
    };
    phase.send_replace(Phase::Over);
    let _all = room.acquire_many(places).await;
    ShutDown { cut_off }
}

/// Whether accepting failed for the one that was accepted only.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionRefused | ConnectionAborted | ConnectionReset)
}

/// What every connection of a service shares.
struct Visit {
    router: TowerToHyperService<Router>,
    hosts: Hosts,
    counts: Arc<Counts>,
    phase: watch::Receiver<Phase>,
}

impl Visit {
    fn admit(
        self: &Arc<Self>,
        http: &http1::Builder,
        stream: TcpStream,
        write_timeout: Duration,
        place: OwnedSemaphorePermit,
    ) {
        self.counts.accepted.fetch_add(1, Ordering::Relaxed);
        // Answers are written whole; where the system refuses, they are only later.
        let _ = stream.set_nodelay(true);
        let connection = http.serve_connection(Patient::new(stream, write_timeout), Requests(self.clone()));
        let mut phase = self.phase.clone();
        let open = Open::new(self.counts.clone(), place);
        tokio::spawn(async move {
            let _open = open;
            let mut connection = pin!(connection);
            let reached = tokio::select! {
                biased;
                // What goes wrong on a connection is the other end's: it hung up, dawdled or does not speak HTTP.
                _ = connection.as_mut() => return,
                reached = phase.wait_for(|phase| *phase >= Phase::Draining) => reached.map(|phase| *phase),
            };
            if !matches!(reached, Ok(Phase::Draining)) {
                return;
            }
            connection.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                _ = connection.as_mut() => {}
                _ = phase.wait_for(|phase| *phase >= Phase::Over) => {}
            }
        });
    }

    fn turn_away(&self, shelf: &Arc<Semaphore>, mut stream: TcpStream) {
        self.counts.turned_away.fetch_add(1, Ordering::Relaxed);
        let Ok(place) = shelf.clone().try_acquire_owned() else { return };
        tokio::spawn(tokio::time::timeout(TURNED_AWAY_FOR, async move {
            let _place = place;
            let body = Problem::new(ProblemCode::Overloaded, "all connections are taken").to_json();
            let head = format!(
                "HTTP/1.1 503 Service Unavailable\r\ncontent-type: {PROBLEM_JSON}\r\ncontent-length: {}\r\n\
                 retry-after: 1\r\nconnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes()).await?;
            stream.write_all(&body).await?;
            stream.shutdown().await?;
            // Closing with unread bytes would reset the connection, and the answer might never be seen.
            let mut ignored = [0; 1_024];
            while stream.read(&mut ignored).await? > 0 {}
            io::Result::Ok(())
        }));
    }
}

/// A connection's place, given back when it ends, whatever ends it.
struct Open {
    counts: Arc<Counts>,
    place: Option<OwnedSemaphorePermit>,
}

impl Open {
    fn new(counts: Arc<Counts>, place: OwnedSemaphorePermit) -> Self {
        counts.open.fetch_add(1, Ordering::Relaxed);
        Self { counts, place: Some(place) }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // Whoever sees the count go down finds the place free.
        self.place = None;
        self.counts.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Answers the requests of one connection.
struct Requests(Arc<Visit>);

type Routed = <TowerToHyperService<Router> as hyper::service::Service<Request<Incoming>>>::Future;

impl hyper::service::Service<Request<Incoming>> for Requests {
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn call(&self, request: Request<Incoming>) -> Answering {
        let answer = match self.0.hosts.check(request.uri(), request.headers()) {
            Ok(()) => Step::Routed(Box::pin(self.0.router.call(request))),
            Err(problem) => Step::Refused(ready(problem.into_response())),
        };
        Answering { visit: self.0.clone(), step: answer }
    }
}

enum Step {
    Routed(Pin<Box<Routed>>),
    Refused(Ready<Response>),
}

/// An answer under way; a panic in a stage or a hook is a problem of this request only.
struct Answering {
    visit: Arc<Visit>,
    step: Step,
}

impl Future for Answering {
    type Output = Result<Response, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let response = match &mut self.step {
            Step::Refused(response) => Pin::new(response).poll(context),
            // After a panic the future is dropped and not polled again.
            Step::Routed(routed) => match catch_unwind(AssertUnwindSafe(|| routed.as_mut().poll(context))) {
                Ok(poll) => poll.map(|Ok(response)| response),
                Err(_panic) => {
                    self.visit.counts.panicked.fetch_add(1, Ordering::Relaxed);
                    Poll::Ready(
                        Problem::new(ProblemCode::Internal, "the request could not be answered").into_response(),
                    )
                }
            },
        };
        response.map(|response| {
            self.visit.counts.count(&response);
            let closing = *self.visit.phase.borrow() > Phase::Open;
            Ok(finish(response, closing))
        })
    }
}

/// A service that is listening. Dropping it closes everything at once.
#[derive(Debug)]
pub struct Running {
    pub(super) addr: SocketAddr,
    pub(super) counts: Arc<Counts>,
    pub(super) stop: oneshot::Sender<()>,
    pub(super) door: tokio::task::JoinHandle<ShutDown>,
}

/// What a service did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ServiceStats {
    /// Connections that were let in.
    pub accepted: u64,
    /// Connections that were turned away because there was no room.
    pub turned_away: u64,
    /// Connections that are open now.
    pub open: u64,
    /// Requests that were answered with what they asked for.
    pub answered: u64,
    /// Requests that were refused (4xx). A head that is no HTTP or comes too late is not counted.
    pub refused: u64,
    /// Requests that failed (5xx).
    pub failed: u64,
    /// Those of them in which something panicked.
    pub panicked: u64,
}

impl Running {
    /// The address that is listened on, with the port that the system chose.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What the service did so far.
    pub fn stats(&self) -> ServiceStats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        ServiceStats {
            accepted: load(&self.counts.accepted),
            turned_away: load(&self.counts.turned_away),
            open: load(&self.counts.open),
            answered: load(&self.counts.answered),
            refused: load(&self.counts.refused),
            failed: load(&self.counts.failed),
            panicked: load(&self.counts.panicked),
        }
    }

    /// Accepts nothing from now on, answers every request that has come in on what was accepted, and returns when the
    /// last connection is closed, or when the time for that is over.
    ///
    /// Each connection is closed after its next answer; those that wait for a request, once nothing was answered for
    /// 50 ms.
    ///
    /// # Panics
    /// When it is called on a runtime whose tasks were cancelled already.
    pub async fn shutdown(self) -> ShutDown {
        // The door listens as long as it runs: when it does not, there is nobody to tell.
        let _ = self.stop.send(());
        self.door.await.expect("the door neither panics nor is cancelled while its runtime lives")
    }
}
