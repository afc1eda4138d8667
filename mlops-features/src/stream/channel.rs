//! A stream within the process.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;

use super::{Events, Polled, StreamSource};
use crate::error::{Core, Result};

/// A stream that holds at most `capacity` events, at least 1, which were sent and not acknowledged yet.
///
/// Senders wait when it is full, so that a consumer that falls behind slows them down and memory stays bounded.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// use mlops_features::stream::{Polled, StreamSource, channel};
///
/// let (sender, mut source) = channel(1_000);
/// sender.send(RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef)])?)?;
/// drop(sender);
/// let Polled::Events(events) = source.poll(10, Duration::ZERO)? else { panic!("two were sent") };
/// source.acknowledge(events.position)?;
/// assert!(matches!(source.poll(10, Duration::ZERO)?, Polled::Ended));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn channel(capacity: usize) -> (EventSender, ChannelSource) {
    let shared = Arc::new(Shared {
        capacity: capacity.max(1),
        queue: Mutex::new(Queue { senders: 1, ..Queue::default() }),
        filled: Condvar::new(),
        emptied: Condvar::new(),
    });
    (EventSender { shared: shared.clone() }, ChannelSource { shared })
}

struct Shared {
    capacity: usize,
    queue: Mutex<Queue>,
    filled: Condvar,
    emptied: Condvar,
}

/// Positions are numbers of events since the channel was made.
#[derive(Default)]
struct Queue {
    /// Events that were not acknowledged, each batch with the position of its first.
    batches: VecDeque<(u64, RecordBatch)>,
    acknowledged: u64,
    delivered: u64,
    sent: u64,
    senders: usize,
    receiver_gone: bool,
}

impl Queue {
    fn held(&self) -> usize {
        (self.sent - self.acknowledged) as usize
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Every change of the queue is whole before a panic could come.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts events into a [`channel`]. Clones feed the same one.
pub struct EventSender {
    shared: Arc<Shared>,
}

impl EventSender {
    /// Adds `events`, one per row; waits while the channel is full. A batch larger than the capacity goes in parts.
    ///
    /// # Errors
    /// `Core(NotFound)` when the source is gone; a part may have been taken before.
    pub fn send(&self, events: RecordBatch) -> Result<()> {
        let mut start = 0;
        let mut queue = self.shared.lock();
        while start < events.num_rows() {
            while queue.held() >= self.shared.capacity && !queue.receiver_gone {
                queue = self.shared.emptied.wait(queue).unwrap_or_else(PoisonError::into_inner);
            }
            if queue.receiver_gone {
                return Err(Core::not_found("consumer of stream", "channel").into());
            }
            let rows = (events.num_rows() - start).min(self.shared.capacity - queue.held());
            let first = queue.sent;
            queue.batches.push_back((first, events.slice(start, rows)));
            queue.sent += rows as u64;
            start += rows;
            self.shared.filled.notify_one();
        }
        Ok(())
    }

    /// Adds `events` if there is room for all of them.
    ///
    /// # Errors
    /// `Core(Busy)` when there is not, `Core(NotFound)` when the source is gone; nothing was added then.
    pub fn try_send(&self, events: RecordBatch) -> Result<()> {
        let mut queue = self.shared.lock();
        if queue.receiver_gone {
            return Err(Core::not_found("consumer of stream", "channel").into());
        }
        if queue.held() + events.num_rows() > self.shared.capacity {
            return Err(Core::Busy { what: "channel of events".to_owned() }.into());
        }
        if events.num_rows() > 0 {
            let first = queue.sent;
            queue.sent += events.num_rows() as u64;
            queue.batches.push_back((first, events));
            self.shared.filled.notify_one();
        }
        Ok(())
    }
}

impl Clone for EventSender {
    fn clone(&self) -> Self {
        self.shared.lock().senders += 1;
        Self { shared: self.shared.clone() }
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        self.shared.lock().senders -= 1;
        self.shared.filled.notify_all();
    }
}

impl fmt::Debug for EventSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventSender").field("capacity", &self.shared.capacity).finish_non_exhaustive()
    }
}

/// Takes events from a [`channel`]. Nothing survives the process.
pub struct ChannelSource {
    shared: Arc<Shared>,
}

impl StreamSource for ChannelSource {
    fn poll(&mut self, most: usize, wait: Duration) -> Result<Polled> {
        let until = Instant::now() + wait;
        let mut queue = self.shared.lock();
        while queue.delivered == queue.sent {
            if queue.senders == 0 {
                return Ok(Polled::Ended);
            }
            let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else {
                return Ok(Polled::Idle);
            };
            queue = self.shared.filled.wait_timeout(queue, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        let from = queue.delivered;
        let at = queue.batches.partition_point(|(first, batch)| first + batch.num_rows() as u64 <= from);
        let Some((first, batch)) = queue.batches.get(at) else { return Ok(Polled::Idle) };
        let skipped = (from - first) as usize;
        let rows = batch.slice(skipped, (batch.num_rows() - skipped).min(most.max(1)));
        queue.delivered += rows.num_rows() as u64;
        Ok(Polled::Events(Events { rows, position: queue.delivered, unreadable: Vec::new() }))
    }

    fn acknowledge(&mut self, position: u64) -> Result<()> {
        let mut queue = self.shared.lock();
        queue.acknowledged = position.clamp(queue.acknowledged, queue.delivered);
        let acknowledged = queue.acknowledged;
        let is_done = |(first, batch): &(u64, RecordBatch)| first + batch.num_rows() as u64 <= acknowledged;
        while queue.batches.front().is_some_and(is_done) {
            queue.batches.pop_front();
        }
        self.shared.emptied.notify_all();
        Ok(())
    }

    fn resume(&mut self) -> Result<()> {
        let mut queue = self.shared.lock();
        queue.delivered = queue.acknowledged;
        Ok(())
    }
}

impl Drop for ChannelSource {
    fn drop(&mut self) {
        self.shared.lock().receiver_gone = true;
        self.shared.emptied.notify_all();
    }
}

impl fmt::Debug for ChannelSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelSource").field("held", &self.shared.lock().held()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;

    fn batch(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(ids));
        RecordBatch::try_from_iter([("id", ids)]).unwrap()
    }

    fn ids(polled: &Polled) -> (Vec<i64>, u64) {
        let Polled::Events(events) = polled else { panic!("no events: {polled:?}") };
        (events.rows.column(0).as_primitive::<Int64Type>().values().to_vec(), events.position)
    }

    #[test]
    fn what_was_not_acknowledged_comes_again_from_the_very_event() {
        let (sender, mut source) = channel(10);
        sender.send(batch(0..5)).unwrap();
        sender.send(batch(5..7)).unwrap();
        assert_eq!(ids(&source.poll(3, Duration::ZERO).unwrap()), (vec![0, 1, 2], 3));
        assert_eq!(ids(&source.poll(9, Duration::ZERO).unwrap()), (vec![3, 4], 5));
        source.acknowledge(3).unwrap();
        source.resume().unwrap();
        assert_eq!(ids(&source.poll(9, Duration::ZERO).unwrap()), (vec![3, 4], 5));
        assert_eq!(ids(&source.poll(9, Duration::ZERO).unwrap()), (vec![5, 6], 7));
        assert!(matches!(source.poll(9, Duration::ZERO).unwrap(), Polled::Idle));
        source.acknowledge(99).unwrap();
        drop(sender);
        assert!(matches!(source.poll(9, Duration::ZERO).unwrap(), Polled::Ended));
    }

    #[test]
    fn a_full_channel_holds_senders_back_until_events_are_acknowledged() {
        let (sender, mut source) = channel(4);
        assert!(matches!(sender.try_send(batch(0..5)), Err(crate::Error::Core(Core::Busy { .. }))));
        let feeder = std::thread::spawn(move || sender.send(batch(0..100)));
        let mut seen: Vec<i64> = Vec::new();
        loop {
            match source.poll(3, Duration::from_secs(10)).unwrap() {
                Polled::Events(events) => {
                    assert!(source.shared.lock().held() <= 4);
                    seen.extend(events.rows.column(0).as_primitive::<Int64Type>().values());
                    source.acknowledge(events.position).unwrap();
                }
                Polled::Ended => break,
                Polled::Idle => panic!("the sender is alive"),
            }
        }
        feeder.join().unwrap().unwrap();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn a_sender_without_a_consumer_is_told() {
        let (sender, source) = channel(1);
        sender.send(batch(0..1)).unwrap();
        drop(source);
        assert!(matches!(sender.send(batch(1..2)), Err(crate::Error::Core(Core::NotFound { .. }))));
    }
}
