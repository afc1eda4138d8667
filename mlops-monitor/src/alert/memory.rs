//! Alerts in memory, for tests and for a page that shows the latest.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use mlops_core::{Error as CoreError, Name};

use super::{Alert, AlertSink};
use crate::Result;

/// The latest alerts, oldest first; older ones than `most` are forgotten and counted.
#[derive(Debug)]
pub struct MemoryAlerts {
    name: Name,
    most: usize,
    held: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    alerts: VecDeque<Alert>,
    forgotten: u64,
}

impl MemoryAlerts {
    /// Holds up to `most` alerts.
    ///
    /// # Errors
    /// [`mlops_core::Error::Invalid`] when `most` is 0.
    pub fn new(name: Name, most: usize) -> Result<Self> {
        if most == 0 {
            return Err(CoreError::invalid("alerts held", 0, "at least 1").into());
        }
        Ok(Self { name, most, held: Mutex::default() })
    }

    /// The alerts held, oldest first.
    pub fn alerts(&self) -> Vec<Alert> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).alerts.iter().cloned().collect()
    }

    /// Alerts that were forgotten for newer ones.
    pub fn forgotten(&self) -> u64 {
        self.held.lock().unwrap_or_else(PoisonError::into_inner).forgotten
    }
}

impl AlertSink for MemoryAlerts {
    fn name(&self) -> &Name {
        &self.name
    }

    fn send(&self, alerts: &[Alert]) -> Result<()> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.alerts.extend(alerts.iter().cloned());
        while held.alerts.len() > self.most {
            held.alerts.pop_front();
            held.forgotten += 1;
        }
        Ok(())
    }
}
