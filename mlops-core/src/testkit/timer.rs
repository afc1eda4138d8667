//! Ways to run futures in tests without a runtime.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use crate::rank::{Sleep, Timer};

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs `future` to its end on this thread, which sleeps while the future waits.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match future.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

/// A timer whose time passes only while everybody waits: seconds of deadlines are tested in no time, and always with the
/// same outcome.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use mlops_core::rank::Timer;
/// use mlops_core::testkit::VirtualTimer;
///
/// let timer = Arc::new(VirtualTimer::default());
/// timer.run(async { timer.sleep(Duration::from_secs(60)).unwrap().await });
/// assert_eq!(timer.now(), Duration::from_secs(60));
/// ```
#[derive(Debug, Default)]
pub struct VirtualTimer(Arc<Mutex<Moment>>);

#[derive(Debug, Default)]
struct Moment {
    now: Duration,
    sleepers: Vec<(Duration, Waker)>,
}

impl VirtualTimer {
    /// Lets `duration` pass, as if something had computed for so long.
    pub fn advance(&self, duration: Duration) {
        let mut moment = lock(&self.0);
        let now = moment.now.saturating_add(duration);
        pass(&mut moment, now);
    }

    /// Runs `future` to its end. Whenever it waits, time jumps to the next moment that somebody sleeps for.
    ///
    /// # Panics
    /// When the future waits and nobody sleeps: it would wait for ever.
    pub fn run<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let flag = Arc::new(Flag::default());
        let waker = Waker::from(flag.clone());
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                return value;
            }
            if !flag.0.swap(false, Ordering::AcqRel) {
                let mut moment = lock(&self.0);
                let next = moment.sleepers.iter().map(|(at, _)| *at).min();
                let next = next.expect("somebody sleeps, or the future waits for ever");
                pass(&mut moment, next);
            }
        }
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

fn lock(moment: &Mutex<Moment>) -> std::sync::MutexGuard<'_, Moment> {
    moment.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pass(moment: &mut Moment, now: Duration) {
    moment.now = now;
    let (due, later) = std::mem::take(&mut moment.sleepers).into_iter().partition(|(at, _)| *at <= now);
    moment.sleepers = later;
    let due: Vec<(Duration, Waker)> = due;
    due.into_iter().for_each(|(_, waker)| waker.wake());
}

impl Timer for VirtualTimer {
    fn now(&self) -> Duration {
        lock(&self.0).now
    }

    fn sleep(&self, duration: Duration) -> Option<Sleep> {
        let until = self.now().saturating_add(duration);
        Some(Box::pin(VirtualSleep { until, moment: self.0.clone() }))
    }
}

struct VirtualSleep {
    until: Duration,
    moment: Arc<Mutex<Moment>>,
}

impl Future for VirtualSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let mut moment = lock(&self.moment);
        if moment.now >= self.until {
            return Poll::Ready(());
        }
        moment.sleepers.push((self.until, context.waker().clone()));
        Poll::Pending
    }
}
