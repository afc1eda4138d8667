//! Runs: what was tried, with which settings and data, and what came out.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Debug;

use mlops_core::{Digest, EventTime, Name};
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Most metric points, parameters and tags in one [`RunLog`] together.
pub const LOG_ITEMS_MAX: usize = 1_000;
/// Longest key in bytes.
pub const KEY_BYTES_MAX: usize = 250;
/// Longest value of a parameter or tag in bytes.
pub const VALUE_BYTES_MAX: usize = 8_000;
/// Longest name, version or person in bytes.
pub const LINE_BYTES_MAX: usize = 1_000;
/// Most runs in one page of a search.
pub const PAGE_MAX: usize = 1_000;

/// Identifies a run: 32 lower-case hex digits, of which the first are its time of creation.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId(String);

impl RunId {
    /// A new id.
    pub fn generate() -> Self {
        Self(uuid::Uuid::now_v7().simple().to_string())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RunId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        if text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(Self(text));
        }
        let shown: String = text.chars().take(64).flat_map(char::escape_default).collect();
        Err(Error::invalid("run id", format!("`{shown}`"), "32 lower-case hex digits"))
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.0
    }
}

/// Where a run stands.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunStatus {
    /// Begun and not ended.
    Running,
    /// Ended as planned.
    Finished,
    /// Ended by an error.
    Failed,
    /// Ended by somebody.
    Killed,
}

/// One data set that a run read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunInput {
    /// What it was read for, such as `train`.
    pub role: Name,
    /// Digest of its whole content.
    pub digest: Digest,
}

/// What is known when a run begins.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRun {
    /// The experiment that it belongs to; made when it is new.
    pub experiment: Name,
    /// Name for people, one line of at most 1000 bytes; need not be unique.
    pub name: String,
    /// The run that this one is part of.
    pub parent: Option<RunId>,
    /// Data that it reads.
    pub inputs: Vec<RunInput>,
    /// Version of the code.
    pub code_version: String,
    /// When it began.
    pub started: EventTime,
}

impl NewRun {
    /// Checks counts and lengths.
    ///
    /// # Errors
    /// [`Invalid`](mlops_core::Error::Invalid) naming the limit that is broken.
    pub fn check(&self) -> Result<()> {
        check_line("name of the run", &self.name, LINE_BYTES_MAX)?;
        check_line("code version of the run", &self.code_version, LINE_BYTES_MAX)?;
        if self.inputs.len() > LOG_ITEMS_MAX {
            return Err(Error::invalid("inputs of one run", self.inputs.len(), "at most 1000"));
        }
        Ok(())
    }
}

/// One point of one metric.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// Which metric.
    pub key: String,
    /// Its value; NaN and infinities are kept.
    pub value: f64,
    /// Step of training, from 0.
    pub step: i64,
    /// When it was measured.
    pub at: EventTime,
}

/// What a run says in one go: all of it is kept, or none.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunLog {
    /// Points of metrics; the same point again is a no-op.
    pub metrics: Vec<Metric>,
    /// Settings; a setting never changes once it is logged.
    pub params: BTreeMap<String, String>,
    /// Labels; the last value wins.
    pub tags: BTreeMap<String, String>,
}

impl RunLog {
    /// Checks counts and lengths.
    ///
    /// # Errors
    /// [`Invalid`](mlops_core::Error::Invalid) naming the limit that is broken.
    pub fn check(&self) -> Result<()> {
        let items = self.metrics.len() + self.params.len() + self.tags.len();
        if items > LOG_ITEMS_MAX {
            return Err(Error::invalid("items in one log", items, "at most 1000"));
        }
        let mut keys = self.metrics.iter().map(|m| &m.key).chain(self.params.keys()).chain(self.tags.keys());
        keys.try_for_each(|key| check_key(key))?;
        self.params.iter().chain(&self.tags).try_for_each(|(key, value)| check_value(key, value))
    }
}

/// Checks the name of a metric, a parameter or a tag.
pub(crate) fn check_key(key: &str) -> Result<()> {
    let allowed = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | ' ' | '/' | ':' | '@');
    if key.is_empty() || key.len() > KEY_BYTES_MAX || !key.chars().all(allowed) {
        return Err(Error::invalid("key", shown(key), "1 to 250 bytes of letters, digits and _-. /:@"));
    }
    Ok(())
}

/// Checks the value of a parameter or a tag.
pub(crate) fn check_value(key: &str, value: &str) -> Result<()> {
    if value.len() > VALUE_BYTES_MAX {
        let found = format!("{} bytes under `{key}`", value.len());
        return Err(Error::invalid("value", found, "at most 8000 bytes"));
    }
    Ok(())
}

/// Checks free text that people read in lists and logs.
pub(crate) fn check_line(setting: &'static str, text: &str, bytes_max: usize) -> Result<()> {
    if text.len() > bytes_max || text.chars().any(char::is_control) {
        return Err(Error::invalid(setting, shown(text), "a short line: at most 1000 bytes, no control characters"));
    }
    Ok(())
}

/// The beginning of `text` in a form that fits into a message.
fn shown(text: &str) -> String {
    let shown: String = text.chars().take(64).flat_map(char::escape_default).collect();
    format!("`{shown}`")
}

/// A run with everything that was logged; of each metric the point of the greatest step, then the latest.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Its identity.
    pub id: RunId,
    /// What was known at the start.
    pub begun: NewRun,
    /// Where it stands.
    pub status: RunStatus,
    /// When it ended.
    pub ended: Option<EventTime>,
    /// Latest point of each metric.
    pub metrics: BTreeMap<String, Metric>,
    /// Settings.
    pub params: BTreeMap<String, String>,
    /// Labels.
    pub tags: BTreeMap<String, String>,
}

/// Which runs are wanted, newest first.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunQuery {
    /// Only of this experiment.
    pub experiment: Option<Name>,
    /// Only in this state.
    pub status: Option<RunStatus>,
    /// Only those that began before this run (its start, then its id): the last run of the page before.
    pub after: Option<(EventTime, RunId)>,
    /// Most runs in the answer, 1 to [`PAGE_MAX`]. Default 100.
    pub limit: usize,
}

impl Default for RunQuery {
    fn default() -> Self {
        Self { experiment: None, status: None, after: None, limit: 100 }
    }
}

/// Experiments and runs.
///
/// # Contract
/// * What returned survives a crash; a [`RunLog`] is kept whole or not at all.
/// * A parameter never changes: the same value again is a no-op, another one is
///   [`AlreadyExists`](mlops_core::Error::AlreadyExists) and the whole log is refused.
/// * A run that has ended takes no more logs: [`Invalid`](mlops_core::Error::Invalid).
/// * Any number of threads and processes may write at once; nobody is told "locked" within five seconds.
///
/// `testkit::run_store` checks these; run it on your own store.
pub trait RunStore: Debug + Send + Sync + 'static {
    /// Begins a run.
    ///
    /// # Errors
    /// What [`NewRun::check`] says,
    /// [`NotFound`](mlops_core::Error::NotFound) when the parent is not a run.
    fn begin(&self, new: &NewRun) -> Result<RunId>;

    /// Adds to a run.
    ///
    /// # Errors
    /// [`NotFound`](mlops_core::Error::NotFound), [`Invalid`](mlops_core::Error::Invalid) or
    /// [`AlreadyExists`](mlops_core::Error::AlreadyExists) as the contract says.
    fn log(&self, run: &RunId, log: &RunLog) -> Result<()>;

    /// Ends a run.
    ///
    /// # Errors
    /// [`NotFound`](mlops_core::Error::NotFound), or [`Invalid`](mlops_core::Error::Invalid) when `status` is
    /// [`RunStatus::Running`] or the run has ended otherwise.
    fn end(&self, run: &RunId, status: RunStatus, at: EventTime) -> Result<()>;

    /// A run with everything that was logged.
    ///
    /// # Errors
    /// [`NotFound`](mlops_core::Error::NotFound).
    fn run(&self, id: &RunId) -> Result<Run>;

    /// Every point of one metric, by step, then time.
    ///
    /// # Errors
    /// [`NotFound`](mlops_core::Error::NotFound) when there is no such run; an unknown metric has no points.
    fn history(&self, run: &RunId, metric: &str) -> Result<Vec<Metric>>;

    /// Runs, newest first.
    ///
    /// # Errors
    /// [`Invalid`](mlops_core::Error::Invalid) when the limit is outside 1 to [`PAGE_MAX`].
    fn search(&self, query: &RunQuery) -> Result<Vec<Run>>;
}
