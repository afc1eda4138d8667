//! Alerts: rules turn measured values into transitions, sinks take them to people.
//!
//! [`AlertRules::evaluate`] says what began and what ended; [`Outbox`] keeps it until an [`AlertSink`] has taken it.

mod callback;
mod json_lines;
mod memory;
mod outbox;
mod rules;

use std::collections::BTreeMap;
use std::fmt::Debug;

use mlops_core::validate::Severity;
use mlops_core::{Digest, EventTime, Name};
use serde::{Deserialize, Serialize};

use crate::Result;

pub use callback::CallbackAlerts;
pub use json_lines::JsonLinesAlerts;
pub use memory::MemoryAlerts;
pub use outbox::Outbox;
pub use rules::{AlertRule, AlertRuleBuilder, AlertRules, Bound, Signal};

/// Whether something began or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertState {
    /// The value crossed its threshold and stayed there.
    Firing,
    /// It came back.
    Resolved,
}

/// One transition: something began to be wrong, or ceased to be.
///
/// Holds numbers and names of things (models, columns, windows), never values of rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alert {
    /// The rule.
    pub name: Name,
    /// How bad it is.
    pub severity: Severity,
    /// Whether it began or ended.
    pub state: AlertState,
    /// When it was noticed.
    pub at: EventTime,
    /// The value that was judged; an infinity is written as text.
    #[serde(with = "crate::format::number")]
    pub value: f64,
    /// The threshold of the rule.
    pub threshold: f64,
    /// What it is about, such as the model and the column.
    pub labels: BTreeMap<Name, String>,
    /// In words.
    pub text: String,
}

impl Alert {
    /// Identity of the transition: equal for the same alert delivered twice, so that receivers can tell.
    pub fn id(&self) -> Digest {
        let mut parts: Vec<Vec<u8>> = vec![
            self.name.as_str().into(),
            vec![u8::from(self.state == AlertState::Firing)],
            self.at.as_micros().to_le_bytes().into(),
        ];
        for (name, value) in &self.labels {
            parts.push(name.as_str().into());
            parts.push(value.as_bytes().into());
        }
        Digest::of_parts(parts.iter().map(Vec::as_slice))
    }
}

/// Where alerts go.
///
/// # Contract
/// * `Ok` means that every alert was taken over, in order: it survives whatever the sink promises to survive.
/// * On an error any number of them may have been taken: the caller sends all of them again, and receivers tell by [`Alert::id`].
/// * No alerts are fine, and change nothing.
/// * Any number of threads may send at once; the alerts of one call stay together.
/// * Answers in bounded time: a sink behind a network has a timeout.
///
/// `testkit::alert_sink` checks these; run it on your own sink.
pub trait AlertSink: Debug + Send + Sync + 'static {
    /// Name in errors and counters.
    fn name(&self) -> &Name;

    /// Takes over `alerts`.
    ///
    /// # Errors
    /// [`Error::Delivery`](crate::Error::Delivery) when they could not be taken over.
    fn send(&self, alerts: &[Alert]) -> Result<()>;
}
