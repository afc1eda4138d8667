//! Work on connections to one server: on a thread of its own, tried again where that may help.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use tokio_postgres::Client;

use super::session::{Idle, Session};
use crate::postgres::{Failure, SYSTEM, Server};
use crate::{Error, Result};

const PAUSE_MAX: Duration = Duration::from_secs(5);

/// Connections to one server, one of which may be kept for the next scan.
#[derive(Clone)]
pub(super) struct Connections {
    pub(super) server: Server,
    /// The connection for the next scan, unless each is to have a new one.
    idle: Option<Arc<Idle>>,
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.server.fmt(f)
    }
}

impl Connections {
    pub(super) fn new(server: Server, keep: bool) -> Self {
        Self { server, idle: keep.then(Arc::default) }
    }

    /// A connection that works: the one that was kept, or a new one.
    pub(super) fn session(&self) -> Result<Session, Failure> {
        if let Some(kept) = self.idle.as_ref().and_then(|idle| idle.take()) {
            return Ok(kept);
        }
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Session::open(runtime.map_err(|e| Error::external(SYSTEM, e))?, &self.server)
    }

    /// Keeps a connection, whose transaction has ended, for the next scan.
    pub(super) fn keep(&self, session: Session) {
        if let Some(idle) = &self.idle {
            idle.put(session);
        }
    }

    /// Why a connection ended, for a failure that says no more than that it did.
    pub(super) fn explained(&self, failure: Failure, session: &mut Session) -> Failure {
        match session.broken() {
            Some(error) if failure.closed => self.server.judge(&error),
            _ => failure,
        }
    }

    /// Runs `work` on a connection, on a thread of its own, and waits for its answer: the connection blocks on a runtime, which
    /// must not be done on a thread that runs one already, and may wait for ever on a server that says nothing.
    pub(super) fn apart<T: Send + 'static>(
        &self,
        patience: Patience,
        work: impl AsyncFn(&Server, &Client) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let (send, receive) = sync_channel(1);
        let connections = self.clone();
        spawn(move || {
            let mut failures = 0;
            let answer = loop {
                match connections.once(&work) {
                    Err(failure) if failure.passing && failures < patience.retries => {
                        thread::sleep(patience.pause(failures));
                        failures += 1;
                    }
                    other => break other.map_err(|failure| failure.error),
                }
            };
            // Nobody may be waiting any more.
            let _ = send.send(answer);
        })?;
        receive.recv_timeout(patience.wait).unwrap_or_else(|e| Err(self.silent(patience, e)))
    }

    fn once<T>(&self, work: impl AsyncFn(&Server, &Client) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut session = self.session()?;
        let answer = session.run(async |client| work(&self.server, client).await);
        match answer {
            Ok(answer) => {
                self.keep(session);
                Ok(answer)
            }
            Err(failure) => Err(self.explained(failure, &mut session)),
        }
    }

    /// Nothing came from the thread that talks with the server.
    pub(super) fn silent(&self, patience: Patience, why: RecvTimeoutError) -> Error {
        let text = match why {
            RecvTimeoutError::Timeout => format!("no answer within {:?}", patience.wait),
            RecvTimeoutError::Disconnected => "its reader stopped".to_owned(),
        };
        self.server.failed(&text)
    }
}

pub(super) fn spawn(work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = thread::Builder::new().name("mlops-postgres".to_owned());
    thread.spawn(work).map(|_| ()).map_err(|e| Error::external(SYSTEM, e))
}

/// How long and how often a server is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Failures in a row after which no new try is made.
    pub(super) retries: u32,
    /// Before the first new try; doubles with each.
    pub(super) first_pause: Duration,
    /// For the next answer, tries included.
    pub(super) wait: Duration,
}

impl Patience {
    /// The pause after `failures` failed tries before.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        self.first_pause.saturating_mul(1 << failures.min(16)).min(PAUSE_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let patience = Patience { retries: 3, first_pause: Duration::from_millis(100), wait: Duration::from_secs(1) };
        let pauses = [0, 1, 2, 10, 1_000].map(|failures| patience.pause(failures).as_millis());
        assert_eq!(pauses, [100, 200, 400, 5_000, 5_000]);
    }
}
