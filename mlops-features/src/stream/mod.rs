//! Events as they come: where they are taken from, and what they do to features.
//!
//! A [`StreamSource`] delivers every event at least once. A [`StreamIngest`] takes them: rows of a view go where a
//! [`Push`](crate::ingest::Push) brings them, events of a window view change the state of their key. Both forgive
//! repetition, so that each event has its effect exactly once, whatever dies in between and whoever else takes events of the
//! same keys. [`Definitions::stream_ingest`](crate::definitions::Definitions::stream_ingest) makes the ingest of a stream from what
//! the views say. Sources: [`channel`] within the process; NATS JetStream with the feature `nats`.

mod channel;
mod ingest;
#[cfg(feature = "nats")]
mod nats;
mod states;

use std::fmt::Debug;
use std::time::Duration;

use arrow::array::RecordBatch;

pub use self::channel::{ChannelSource, EventSender, channel};
pub use self::ingest::{StreamIngest, StreamIngestBuilder, StreamReport};
#[cfg(feature = "nats")]
pub use self::nats::{NatsSource, NatsSourceBuilder};
pub use self::states::WindowStates;
use crate::error::Result;

/// Events in the order of delivery.
///
/// # Contract
/// * Every event is delivered at least once. One that was not acknowledged is delivered again after a
///   [`resume`](Self::resume), to this consumer or the next.
/// * Positions of one source ascend. Acknowledging one acknowledges all before it; one that returned survives whatever the
///   source promises to survive.
/// * `poll` returns within about `wait`, and never more than `most` events.
///
/// `testkit::stream_source` checks these; run it on your own source.
pub trait StreamSource: Debug + Send {
    /// Waits up to `wait` for events, and takes at most `most`, at least 1, of them.
    ///
    /// # Errors
    /// Whatever keeps the source from delivering; a later call may succeed.
    fn poll(&mut self, most: usize, wait: Duration) -> Result<Polled>;

    /// Says that all events up to `position` have had their effect and need not come again.
    ///
    /// # Errors
    /// Whatever keeps the source from noting it; they may come again then.
    fn acknowledge(&mut self, position: u64) -> Result<()>;

    /// Starts over with the first event that was not acknowledged.
    ///
    /// # Errors
    /// Whatever keeps the source from delivering.
    fn resume(&mut self) -> Result<()>;
}

/// What a poll gave.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Polled {
    /// Some events.
    Events(Events),
    /// None so far.
    Idle,
    /// None, and none will come.
    Ended,
}

/// Some events of a stream.
#[derive(Clone, Debug)]
pub struct Events {
    /// One row per event; there may be none, where none could be read.
    pub rows: RecordBatch,
    /// To be acknowledged once they have had their effect.
    pub position: u64,
    /// Why others could not be read, in words without their values. They are acknowledged with the rest.
    pub unreadable: Vec<String>,
}
