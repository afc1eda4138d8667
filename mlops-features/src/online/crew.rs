//! Threads that wait for a server, so that no caller's executor has to.

use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::thread;

use crate::error::{Core, Result};

/// Most jobs that wait at a time; beyond them the server does not keep up.
const QUEUE_MAX: usize = 65_536;

type Job = Box<dyn FnOnce() + Send>;

/// Up to a number of threads, each started when a job finds the others at work, which end with the crew.
///
/// Jobs begin in the order in which they came. Where every job ends within the same time, each one is done by its own
/// deadline: when a thread is free for it, no job before it has more time left.
pub(super) struct Crew {
    shared: Arc<Shared>,
    system: &'static str,
    threads_max: usize,
}

#[derive(Default)]
struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
}

#[derive(Default)]
struct Queue {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self) {
        loop {
            let mut queue = self.queue();
            let job = loop {
                if let Some(job) = queue.jobs.pop_front() {
                    break job;
                }
                if queue.closed {
                    return;
                }
                queue.idle += 1;
                queue = self.ready.wait(queue).unwrap_or_else(PoisonError::into_inner);
                queue.idle -= 1;
            };
            drop(queue);
            // Whoever waits for a job that panicked is told so when its sender is dropped.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }
}

impl Crew {
    /// For jobs that talk with `system`.
    pub(super) fn new(system: &'static str, threads_max: usize) -> Self {
        Self { shared: Arc::default(), system, threads_max }
    }

    /// Does `work` on a thread of the crew.
    ///
    /// # Errors
    /// `Core(Busy)` when too many jobs wait already, `Core(External)` when no thread can be started or `work` panics.
    pub(super) async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Result<T> {
        let (sender, receiver) = reply();
        self.push(Box::new(move || {
            if !sender.is_given_up() {
                sender.send(work());
            }
        }))?;
        let stopped = || Core::external(self.system, "the thread that asked it stopped").into();
        receiver.await.ok_or_else(stopped)
    }

    fn push(&self, job: Job) -> Result<()> {
        let mut queue = self.shared.queue();
        if queue.jobs.len() >= QUEUE_MAX {
            return Err(Core::Busy { what: self.system.to_owned() }.into());
        }
        if queue.idle <= queue.jobs.len() && queue.threads < self.threads_max {
            let shared = self.shared.clone();
            let started = thread::Builder::new().name(format!("mlops-{}", self.system)).spawn(move || shared.work());
            match started {
                Ok(_) => queue.threads += 1,
                Err(error) if queue.threads == 0 => return Err(Core::external(self.system, error).into()),
                Err(_) => {} // those that run will come to it
            }
        }
        queue.jobs.push_back(job);
        drop(queue);
        self.shared.ready.notify_one();
        Ok(())
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.ready.notify_all();
    }
}

/// What one thread hands to one future, on whatever executor that is polled.
struct Slot<T> {
    value: Option<T>,
    done: bool,
    waker: Option<Waker>,
}

struct Sender<T>(Arc<Mutex<Slot<T>>>);

struct Receiver<T>(Arc<Mutex<Slot<T>>>);

fn reply<T>() -> (Sender<T>, Receiver<T>) {
    let slot = Arc::new(Mutex::new(Slot { value: None, done: false, waker: None }));
    (Sender(slot.clone()), Receiver(slot))
}

impl<T> Sender<T> {
    /// Whether nobody waits any more.
    fn is_given_up(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }

    fn send(self, value: T) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).value = Some(value);
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.done = true;
        let waker = slot.waker.take();
        drop(slot);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Receiver<T> {
    /// `None` when the sender went without a value.
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if slot.done {
            return Poll::Ready(slot.value.take());
        }
        if !slot.waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            slot.waker = Some(context.waker().clone());
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;
    use crate::wait::block_on;

    #[test]
    fn jobs_run_on_at_most_so_many_threads_at_once() {
        let crew = Crew::new("test", 2);
        let (begun, seen) = channel();
        let mut gates = Vec::new();
        let mut waits = Vec::new();
        for job in 0..4 {
            let (open, gate) = channel::<()>();
            let begun = begun.clone();
            gates.push(open);
            let mut run = Box::pin(crew.run(move || {
                begun.send(job).unwrap();
                let _ = gate.recv();
                job
            }));
            let _ = run.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            waits.push(run);
        }
        let mut first = [seen.recv().unwrap(), seen.recv().unwrap()];
        first.sort_unstable();
        assert_eq!(first, [0, 1], "in the order in which they came");
        assert!(seen.try_recv().is_err(), "the third waits for a thread");
        drop(gates);
        let done: Vec<i32> = waits.into_iter().map(|run| block_on(run).unwrap()).collect();
        assert_eq!(done, [0, 1, 2, 3]);
    }

    #[test]
    fn a_job_that_panics_is_an_error_and_its_thread_goes_on() {
        let crew = Crew::new("test", 1);
        let failed = block_on(crew.run(|| panic!("on purpose"))).map(|()| ()).unwrap_err();
        assert!(matches!(failed, crate::Error::Core(Core::External { system: "test", .. })), "{failed:?}");
        assert_eq!(block_on(crew.run(|| 7)).unwrap(), 7);
    }

    #[test]
    fn a_job_that_nobody_waits_for_is_not_begun() {
        let crew = Crew::new("test", 1);
        let (open, gate) = channel::<()>();
        let mut first = Box::pin(crew.run(move || gate.recv().is_ok()));
        let _ = first.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let (tell, told) = channel();
        let mut given_up = Box::pin(crew.run(move || tell.send(()).is_ok()));
        let _ = given_up.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        drop(given_up);
        open.send(()).unwrap();
        assert!(block_on(first).unwrap());
        assert!(block_on(crew.run(|| true)).unwrap(), "after all that came before");
        assert!(told.recv().is_err(), "its sender was dropped unused");
    }
}
