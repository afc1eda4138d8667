//! Alerts that wait until a sink has taken them.

use std::collections::VecDeque;

use mlops_core::Error as CoreError;

use super::{Alert, AlertSink};
use crate::Result;

/// A bounded queue in front of an [`AlertSink`], for at least one delivery of each alert.
#[derive(Debug)]
pub struct Outbox {
    waiting: VecDeque<Alert>,
    most: usize,
    dropped: u64,
}

impl Outbox {
    /// Holds up to `most` alerts; beyond, the oldest are dropped and counted, for the newest tell how things stand.
    ///
    /// # Errors
    /// [`mlops_core::Error::Invalid`] when `most` is 0.
    pub fn new(most: usize) -> Result<Self> {
        if most == 0 {
            return Err(CoreError::invalid("alerts that wait", 0, "at least 1").into());
        }
        Ok(Self { waiting: VecDeque::new(), most, dropped: 0 })
    }

    /// Adds alerts to be delivered.
    pub fn push(&mut self, alerts: impl IntoIterator<Item = Alert>) {
        for alert in alerts {
            if self.waiting.len() >= self.most {
                self.waiting.pop_front();
                self.dropped += 1;
            }
            self.waiting.push_back(alert);
        }
    }

    /// Sends everything that waits, in order, and says how many alerts it were.
    ///
    /// # Errors
    /// What the sink says; everything still waits then, and is sent again by the next call.
    pub fn deliver(&mut self, sink: &dyn AlertSink) -> Result<usize> {
        if self.waiting.is_empty() {
            return Ok(0);
        }
        sink.send(self.waiting.make_contiguous())?;
        let sent = self.waiting.len();
        self.waiting.clear();
        Ok(sent)
    }

    /// Alerts that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Alerts that were dropped because too many waited.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}
