//! Connections that are used again, and replaced when they break.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::server::{Failure, Server, Session};
use crate::error::{Core, Result};

/// Pause before a second try; doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// What jobs on the store's thread share.
pub(super) struct Sessions {
    pub(super) server: Server,
    retries: u32,
    /// As many as there may be connections.
    turns: Semaphore,
    resting: Mutex<Vec<Session>>,
}

impl Sessions {
    pub(super) fn new(server: Server, retries: u32, connections: usize) -> Self {
        Self { server, retries, turns: Semaphore::new(connections), resting: Mutex::default() }
    }

    fn resting(&self) -> MutexGuard<'_, Vec<Session>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` in a session, in a new one if that breaks, until `deadline`.
    pub(super) async fn run<T>(
        &self,
        deadline: Instant,
        work: impl AsyncFn(&Server, &Session) -> Result<T, Failure>,
    ) -> Result<T> {
        let late = || Core::Deadline { stage: format!("a call to {}", self.server.place()) }.into();
        // Nobody closes the semaphore.
        let Ok(Ok(_turn)) = tokio::time::timeout_at(deadline, self.turns.acquire()).await else { return Err(late()) };
        let mut failures = 0;
        loop {
            let began = Instant::now();
            let failure = match tokio::time::timeout_at(deadline, self.attempt(&work)).await {
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(failure)) => failure,
                Err(_) => {
                    // A way that swallows what is sent may be that of others, too, unless they were answered meanwhile.
                    self.resting().retain(|session| session.answered > began);
                    return Err(late());
                }
            };
            if !failure.passing {
                return Err(failure.error);
            }
            // What broke this one broke the others that rested beside it.
            self.resting().clear();
            let pause = FIRST_PAUSE * (1 << failures.min(10));
            if failures >= self.retries || Instant::now() + pause >= deadline {
                return Err(failure.error);
            }
            failures += 1;
            tokio::time::sleep(pause).await;
        }
    }

    /// Does `work` once. A session that fails in the middle is closed, which undoes what it had begun.
    async fn attempt<T>(&self, work: &impl AsyncFn(&Server, &Session) -> Result<T, Failure>) -> Result<T, Failure> {
        let rested = self.resting().pop().filter(|session| !session.client.is_closed());
        let mut session = match rested {
            Some(session) => session,
            None => self.server.connect().await?,
        };
        match work(&self.server, &session).await {
            Ok(done) => {
                session.answered = Instant::now();
                self.resting().push(session);
                Ok(done)
            }
            Err(failure) => match session.broken() {
                Some(error) if failure.closed => Err(self.server.judge(error)),
                _ => Err(failure),
            },
        }
    }
}
