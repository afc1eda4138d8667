//! Connections that are used again, and replaced when they break.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::server::{Failure, Server, Session};
use crate::error::{Core, Result};

/// Connections that are kept for the next call.
const RESTING_MAX: usize = 8;

/// Pause before a second try; doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// What jobs on the store's thread share.
pub(super) struct Sessions {
    pub(super) server: Server,
    retries: u32,
    resting: Mutex<Vec<Session>>,
}

impl Sessions {
    pub(super) fn new(server: Server, retries: u32) -> Self {
        Self { server, retries, resting: Mutex::default() }
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
        let mut failures = 0;
        loop {
            let attempt = async {
                let rested = self.resting().pop().filter(|session| !session.client.is_closed());
                let session = match rested {
                    Some(session) => session,
                    None => self.server.connect().await?,
                };
                // One that failed in the middle is closed, which undoes what it had begun.
                let done = work(&self.server, &session).await?;
                let mut resting = self.resting();
                if resting.len() < RESTING_MAX {
                    resting.push(session);
                }
                Ok(done)
            };
            let late = || Core::Deadline { stage: format!("a call to {}", self.server.place()) }.into();
            let failure: Failure = match tokio::time::timeout_at(deadline, attempt).await {
                Err(_) => return Err(late()),
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(failure)) => failure,
            };
            let pause = FIRST_PAUSE * (1 << failures.min(10));
            if !failure.passing || failures >= self.retries || Instant::now() + pause >= deadline {
                return Err(failure.error);
            }
            // What broke this one broke the others that rested beside it.
            self.resting().clear();
            failures += 1;
            tokio::time::sleep(pause).await;
        }
    }
}
