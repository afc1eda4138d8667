//! The one thread with a runtime that the client runs on.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::thread;

use mlops_core::postgres::SYSTEM;
use tokio::runtime::Builder;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use crate::error::{Core, Result};

/// Begins a future on the thread.
type Job = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()>>> + Send>;

/// Runs futures on a thread of its own, which starts with the first one and ends with the runner. What waits for them may be
/// polled by any executor.
#[derive(Default)]
pub(super) struct Runner(Mutex<Option<UnboundedSender<Job>>>);

impl Runner {
    /// Runs the future that `work` makes to its end.
    ///
    /// # Errors
    /// `Core(External)` when the thread cannot be started, or `work` panics.
    pub(super) async fn run<T, F>(&self, work: impl FnOnce() -> F + Send + 'static) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
    {
        let (send, receive) = oneshot::channel();
        let job: Job = Box::new(move || {
            let future = work();
            Box::pin(async move {
                // Nobody may be waiting any more.
                let _ = send.send(future.await);
            })
        });
        let stopped = || Core::external(SYSTEM, "the thread that asked it stopped");
        self.sender()?.send(job).map_err(|_| stopped())?;
        Ok(receive.await.map_err(|_| stopped())?)
    }

    fn sender(&self) -> Result<UnboundedSender<Job>> {
        // One assignment under the lock: there is no half-done state to fear.
        let mut jobs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = &*jobs {
            return Ok(sender.clone());
        }
        let failed = |e: std::io::Error| Core::external(SYSTEM, e);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let (sender, receiver) = unbounded_channel();
        let thread = thread::Builder::new().name("mlops-postgres".to_owned());
        thread.spawn(move || LocalSet::new().block_on(&runtime, serve(receiver))).map_err(failed)?;
        *jobs = Some(sender.clone());
        Ok(sender)
    }
}

async fn serve(mut jobs: UnboundedReceiver<Job>) {
    while let Some(job) = jobs.recv().await {
        tokio::task::spawn_local(job());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::block_on;

    #[test]
    fn futures_run_for_any_executor_and_one_that_panics_is_an_error() {
        let runner = Runner::default();
        assert_eq!(block_on(runner.run(|| async { 1 })).unwrap(), 1);
        let outer = Builder::new_current_thread().build().unwrap();
        assert_eq!(outer.block_on(runner.run(|| async { 2 })).unwrap(), 2);
        let broken = block_on(runner.run::<(), _>(|| async { panic!("on purpose") }));
        assert!(broken.unwrap_err().to_string().contains("stopped"));
        assert_eq!(block_on(runner.run(|| async { 3 })).unwrap(), 3);
    }
}
