//! One connection, and the one that is kept between scans.

use std::sync::{Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio_postgres::Client;

use crate::postgres::{Failure, Link, Server};

/// How long a connection may have lain idle before a new one is surer.
const IDLE_MAX: Duration = Duration::from_mins(1);

/// How long a connection that lay idle may take to answer.
const CHECK_WAIT: Duration = Duration::from_secs(2);

/// One connection, with the runtime that moves its bytes whenever there is something to wait for.
pub(super) struct Session {
    runtime: Runtime,
    client: Client,
    /// Ends with the connection.
    link: Option<Link>,
    /// Why it ended.
    broken: Option<tokio_postgres::Error>,
    used: Instant,
}

impl Session {
    pub(super) fn open(runtime: Runtime, server: &Server) -> Result<Self, Failure> {
        let (client, link) = runtime.block_on(server.connect())?;
        Ok(Self { runtime, client, link: Some(link), broken: None, used: Instant::now() })
    }

    /// Runs `work` on the connection.
    pub(super) fn run<T>(&mut self, work: impl AsyncFnOnce(&mut Client) -> T) -> T {
        let Self { runtime, client, link, broken, .. } = self;
        runtime.block_on(async {
            let mut work = std::pin::pin!(work(client));
            std::future::poll_fn(|cx| {
                // What came before the connection ended is still there for `work`, which then is told that it ended.
                if let Some(alive) = link
                    && let Poll::Ready(ended) = alive.as_mut().poll(cx)
                {
                    *link = None;
                    *broken = ended.err();
                }
                work.as_mut().poll(cx)
            })
            .await
        })
    }

    /// Why the connection ended by itself, once.
    pub(super) fn broken(&mut self) -> Option<tokio_postgres::Error> {
        self.broken.take()
    }

    /// Whether the server still answers on it.
    fn is_fresh(&mut self) -> bool {
        self.used.elapsed() < IDLE_MAX
            && self.run(async |client| {
                matches!(tokio::time::timeout(CHECK_WAIT, client.check_connection()).await, Ok(Ok(())))
            })
    }

    /// Says goodbye, as far as that can be done without waiting: the caller may be on a runtime's thread.
    fn leave(self) {
        let Self { runtime, client, link, .. } = self;
        drop(client);
        if let Some(mut link) = link {
            let _here = runtime.enter();
            let _ = link.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
        runtime.shutdown_background();
    }
}

/// The connection that is kept for the next scan.
#[derive(Default)]
pub(super) struct Idle(Mutex<Option<Session>>);

impl Idle {
    /// The connection that was kept, when the server still answers on it.
    pub(super) fn take(&self) -> Option<Session> {
        let mut session = self.swap(None)?;
        if session.is_fresh() {
            return Some(session);
        }
        session.leave();
        None
    }

    /// Keeps `session` in place of the one that is kept.
    pub(super) fn put(&self, mut session: Session) {
        session.used = Instant::now();
        if let Some(before) = self.swap(Some(session)) {
            before.leave();
        }
    }

    fn swap(&self, session: Option<Session>) -> Option<Session> {
        // One assignment under the lock: there is no half-done state to fear.
        std::mem::replace(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), session)
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        if let Some(session) = self.swap(None) {
            session.leave();
        }
    }
}
