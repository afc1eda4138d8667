//! The one thread with a runtime that a store's client runs on.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::SYSTEM;
use crate::{Error, Result};

type Job = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs futures on a thread of its own, which starts with the first and ends with the last handle. Callers block on a channel
/// and not on a runtime, so they may themselves run on one.
pub(super) struct Runner {
    jobs: Mutex<Option<UnboundedSender<Job>>>,
    /// For one answer.
    wait: Duration,
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("wait", &self.wait).finish_non_exhaustive()
    }
}

impl Runner {
    pub(super) fn new(wait: Duration) -> Self {
        Self { jobs: Mutex::default(), wait }
    }

    /// Starts `work`; its answer comes later.
    ///
    /// # Errors
    /// [`Error::External`] when the thread cannot be started.
    pub(super) fn start<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<Answer<T>> {
        let (send, receive) = sync_channel(1);
        let job: Job = Box::pin(async move {
            // Nobody may be waiting any more.
            let _ = send.send(work.await);
        });
        self.sender()?.send(job).map_err(|_| Error::external(SYSTEM, "its thread stopped"))?;
        Ok(Answer { receive, wait: self.wait })
    }

    /// Runs `work` to its end.
    ///
    /// # Errors
    /// [`Error::External`] when there is no answer in time.
    pub(super) fn run<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T> {
        self.start(work)?.get()
    }

    /// Runs `work` of many requests to its end, however long that takes: each of them has a limit of its own.
    ///
    /// # Errors
    /// [`Error::External`] when the thread cannot be started.
    pub(super) fn run_long<T: Send + 'static>(&self, work: impl Future<Output = T> + Send + 'static) -> Result<T> {
        let answer = self.start(work)?;
        answer.receive.recv().map_err(|_| broken_off())
    }

    fn sender(&self) -> Result<UnboundedSender<Job>> {
        // One assignment under the lock: there is no half-done state to fear.
        let mut jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = &*jobs {
            return Ok(sender.clone());
        }
        let failed = |e: std::io::Error| Error::external(SYSTEM, e);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (sender, receiver) = unbounded_channel();
        let thread = thread::Builder::new().name("mlops-object-store".to_owned());
        thread.spawn(move || runtime.block_on(serve(receiver))).map_err(failed)?;
        *jobs = Some(sender.clone());
        Ok(sender)
    }
}

async fn serve(mut jobs: UnboundedReceiver<Job>) {
    while let Some(job) = jobs.recv().await {
        tokio::spawn(job);
    }
}

/// What will come of a future that was started.
#[derive(Debug)]
pub(super) struct Answer<T> {
    receive: std::sync::mpsc::Receiver<T>,
    wait: Duration,
}

impl<T> Answer<T> {
    pub(super) fn get(self) -> Result<T> {
        self.receive.recv_timeout(self.wait).map_err(|e| match e {
            RecvTimeoutError::Timeout => Error::external(SYSTEM, format!("no answer within {:?}", self.wait)),
            RecvTimeoutError::Disconnected => broken_off(),
        })
    }
}

fn broken_off() -> Error {
    Error::external(SYSTEM, "its work was broken off")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_runs_within_a_runtime_too_and_is_given_up_in_time() {
        let runner = Runner::new(Duration::from_mins(1));
        assert_eq!(runner.run(async { 1 }).unwrap(), 1);
        let outer = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(outer.block_on(async { runner.run(async { 2 }).unwrap() }), 2);
        assert!(runner.run(async { panic!("a job that breaks") }).is_err());
        assert_eq!(runner.run(async { 3 }).unwrap(), 3, "and the next one is answered");
        let hasty = Runner::new(Duration::from_millis(10));
        let silent = hasty.run(std::future::pending::<()>()).unwrap_err().to_string();
        assert!(silent.contains("no answer within 10ms"), "{silent}");
    }
}
