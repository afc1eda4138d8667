//! Stages that run side by side until they are done or late, polled inline.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{Sleep, Timer};
use crate::Result;

/// One call of a stage.
pub(super) type Call<'a, T> = Pin<Box<dyn Future<Output = Result<T>> + Send + 'a>>;

/// A call and how it came out.
pub(super) enum Slot<'a, T> {
    /// Still going, until the time given.
    Running(Call<'a, T>, Option<Duration>),
    /// Answered at the time given.
    Done(Result<T>, Duration),
    /// Cut off at the time given.
    Late(Duration),
    /// It waits, and nobody is allowed to.
    Waits,
}

/// Whether a request may wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Patience {
    Waits,
    Never,
}

/// Polls every slot until none is running. Each is polled at least once, however late it is: a call that only computes
/// is never lost to the deadline.
pub(super) async fn settle<T>(timer: &dyn Timer, patience: Patience, slots: &mut [Slot<'_, T>]) {
    let mut alarm: Option<(Duration, Sleep)> = None;
    let mut reached = Duration::ZERO;
    poll_fn(move |context| {
        loop {
            let (running, next) = poll_once(timer, patience, reached, slots, context);
            let Some(next) = next.filter(|_| running) else {
                return if running { Poll::Pending } else { Poll::Ready(()) };
            };
            if alarm.as_ref().is_none_or(|(set_to, _)| *set_to != next) {
                alarm = timer.sleep(next.saturating_sub(timer.now())).map(|sleep| (next, sleep));
            }
            let rang = alarm.as_mut().is_some_and(|(_, sleep)| sleep.as_mut().poll(context).is_ready());
            if !rang {
                return Poll::Pending;
            }
            reached = next; // whatever the clock says: a timer that ends too soon must not make this spin
            alarm = None;
        }
    })
    .await;
}

/// Whether any slot is still running, and when the first of those ends.
fn poll_once<T>(
    timer: &dyn Timer,
    patience: Patience,
    reached: Duration,
    slots: &mut [Slot<'_, T>],
    context: &mut Context<'_>,
) -> (bool, Option<Duration>) {
    let (mut running, mut next) = (false, None);
    for slot in slots {
        let Slot::Running(call, ends) = slot else { continue };
        let ends = *ends;
        match call.as_mut().poll(context) {
            Poll::Ready(result) => *slot = Slot::Done(result, timer.now()),
            Poll::Pending if patience == Patience::Never => *slot = Slot::Waits,
            Poll::Pending => {
                let now = timer.now().max(reached);
                if ends.is_some_and(|ends| ends <= now) {
                    *slot = Slot::Late(now);
                } else {
                    running = true;
                    next = [next, ends].into_iter().flatten().min();
                }
            }
        }
    }
    (running, next)
}
