//! One at a time, where the one at work may wait for a server.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// A lock that can be held while a future waits; whoever gives it back wakes those who want it.
#[derive(Debug, Default)]
pub(super) struct Turn(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    taken: bool,
    waiting: VecDeque<Waker>,
}

/// The turn of one; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Taken<'a>(&'a Turn);

impl Turn {
    /// Waits until nobody has it. Safe to drop while waiting.
    pub(super) async fn take(&self) -> Taken<'_> {
        poll_fn(|context| {
            let mut state = self.state();
            if !state.taken {
                state.taken = true;
                return Poll::Ready(Taken(self));
            }
            if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                state.waiting.push_back(context.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let waiting = {
            let mut state = self.0.state();
            state.taken = false;
            std::mem::take(&mut state.waiting)
        };
        // All of them: one that was dropped meanwhile must not keep the others asleep.
        waiting.into_iter().for_each(Waker::wake);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::wait::block_on;

    #[test]
    fn threads_take_turns() {
        let (turn, within, turns) = (Turn::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..200 {
                        let _taken = block_on(turn.take());
                        assert_eq!(within.fetch_add(1, Ordering::SeqCst), 0);
                        std::thread::yield_now();
                        within.fetch_sub(1, Ordering::SeqCst);
                        turns.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(turns.into_inner(), 800);
    }

    #[test]
    fn one_that_gives_up_does_not_keep_the_others_waiting() {
        let turn = Turn::default();
        let first = block_on(turn.take());
        {
            let mut given_up = Box::pin(turn.take());
            let mut context = std::task::Context::from_waker(Waker::noop());
            assert!(given_up.as_mut().poll(&mut context).is_pending());
        }
        drop(first);
        drop(block_on(turn.take()));
    }
}
