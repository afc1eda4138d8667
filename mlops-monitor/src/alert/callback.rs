//! Alerts to a function of the host: a pager, a chat, a log.

use std::fmt;

use mlops_core::Name;
use mlops_core::error::Cause;

use super::{Alert, AlertSink};
use crate::{Error, Result};

type Callback = dyn Fn(&[Alert]) -> Result<(), Cause> + Send + Sync;

/// Hands alerts to a closure; its error becomes [`Error::Delivery`].
pub struct CallbackAlerts {
    name: Name,
    callback: Box<Callback>,
}

impl CallbackAlerts {
    /// Calls `callback` with each group of alerts. It must keep the contract of [`AlertSink`].
    pub fn new(name: Name, callback: impl Fn(&[Alert]) -> Result<(), Cause> + Send + Sync + 'static) -> Self {
        Self { name, callback: Box::new(callback) }
    }
}

impl AlertSink for CallbackAlerts {
    fn name(&self) -> &Name {
        &self.name
    }

    fn send(&self, alerts: &[Alert]) -> Result<()> {
        if alerts.is_empty() {
            return Ok(());
        }
        (self.callback)(alerts).map_err(|cause| Error::delivery(&self.name, cause))
    }
}

impl fmt::Debug for CallbackAlerts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallbackAlerts").field("name", &self.name).finish_non_exhaustive()
    }
}
