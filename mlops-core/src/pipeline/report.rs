//! How a run came out.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::store::{RunDir, Stored};
use super::{Artifact, ArtifactKind, Skip};
use crate::time::EventTime;
use crate::{Digest, Error, Name, Result};

/// How one step came out.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// It ran, and its output is stored.
    Ran {
        /// Why it had to.
        because: Rerun,
    },
    /// Its output was there already.
    Cached,
    /// It failed.
    Failed {
        /// What the last try said.
        error: String,
    },
    /// It was not tried.
    Skipped {
        /// Why.
        because: Skip,
    },
}

/// Why a step ran although runs are remembered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Rerun {
    /// The last run that came to its end did not have this step.
    New,
    /// Its settings or its code changed.
    Fingerprint,
    /// These inputs changed, came or went.
    Inputs(Vec<Name>),
    /// It did not finish before.
    Unfinished,
    /// What was stored cannot be used.
    Damaged(String),
    /// The caller asked for it.
    Asked,
}

/// One step of a [`RunReport`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepReport {
    /// The step.
    pub step: Name,
    /// How it came out.
    pub outcome: Outcome,
    /// Digest of its settings and code version; `None` where it was not asked for.
    pub fingerprint: Option<Digest>,
    /// Digests of its inputs, by step.
    pub inputs: BTreeMap<Name, Digest>,
    /// What it made, where it has an output.
    pub output: Option<Output>,
    /// Tries in this run.
    pub attempts: u32,
    /// When the output was begun, in this run or the one that made it.
    pub started: Option<EventTime>,
    /// When it was done.
    pub finished: Option<EventTime>,
    /// Time spent on it in this run, in microseconds.
    pub took_us: u64,
}

/// The output of a step, by content.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Output {
    /// Its kind.
    pub kind: ArtifactKind,
    /// Digest of the artifact, as [`Artifact::digest`] gives it.
    pub digest: Digest,
    /// Digest of the content alone: for a data set that of its [`Dataset`](crate::Dataset).
    pub content: Digest,
    /// Bytes on disk.
    pub bytes: u64,
    /// Rows of a data set.
    pub rows: Option<u64>,
}

/// How every step of a run came out, in the order of the pipeline.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunReport {
    /// The pipeline.
    pub pipeline: Name,
    /// When the run began.
    pub started: EventTime,
    /// How long it took, in microseconds.
    pub took_us: u64,
    /// The steps; those that were not wanted are left out.
    pub steps: Vec<StepReport>,
}

impl RunReport {
    /// The report on `step`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the run did not have it.
    pub fn step(&self, step: &str) -> Result<&StepReport> {
        self.steps.iter().find(|s| s.step.as_str() == step).ok_or_else(|| Error::not_found("step", step))
    }

    /// Number of steps that ran and finished.
    pub fn ran(&self) -> usize {
        self.steps.iter().filter(|s| matches!(s.outcome, Outcome::Ran { .. })).count()
    }

    /// Whether every step has an output.
    pub fn succeeded(&self) -> bool {
        self.steps.iter().all(|s| s.output.is_some())
    }
}

/// A run that came to its end, with its outputs at hand.
///
/// Failed steps do not fail a run: [`ok`](Self::ok) turns them into an error.
#[derive(Debug)]
#[must_use]
pub struct Run {
    pub(super) report: RunReport,
    pub(super) stored: BTreeMap<Name, Stored>,
    pub(super) failures: BTreeMap<Name, Error>,
    pub(super) dir: RunDir,
}

impl Run {
    /// The last run in `dir` that came to its end, to read its outputs without running anything.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none, [`Error::Corrupt`] when what was stored of it is damaged,
    /// [`Error::InvalidData`] when another version wrote it.
    pub fn last(dir: impl AsRef<Path>) -> Result<Self> {
        let dir = RunDir::existing(dir.as_ref())?;
        let last = dir.last_run()?.ok_or_else(|| Error::not_found("run", dir.path().display().to_string()))?;
        Ok(Self { report: last.report, stored: last.stored, failures: BTreeMap::new(), dir })
    }

    /// How every step came out.
    pub fn report(&self) -> &RunReport {
        &self.report
    }

    /// The output of `step`, verified against its digest. A data set is scanned from disk as it is read.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the run did not have the step, [`Error::Stage`] when the step has no output,
    /// [`Error::Corrupt`] when the output was damaged since.
    pub fn artifact(&self, step: &str) -> Result<Artifact> {
        let report = self.report.step(step)?;
        match (self.stored.get(&report.step), &report.outcome) {
            (Some(stored), _) => self.dir.load(stored),
            (None, Outcome::Failed { error }) => Err(Error::stage(step, error.clone())),
            (None, Outcome::Skipped { because: Skip::Needs(missing) }) => {
                Err(Error::stage(step, format!("step `{missing}` has no output")))
            }
            (None, _) => Err(Error::Cancelled { stage: step.to_owned() }),
        }
    }

    /// The run, when every step has an output.
    ///
    /// # Errors
    /// [`Error::Stage`] around the failure of the first step that failed; [`Error::Cancelled`] naming the first step
    /// that the host stopped.
    pub fn ok(mut self) -> Result<Self> {
        for step in &self.report.steps {
            match &step.outcome {
                Outcome::Failed { error } => {
                    return Err(match self.failures.remove(&step.step) {
                        Some(Error::Cancelled { stage }) => Error::Cancelled { stage },
                        Some(cause) => Error::stage(step.step.as_str(), cause),
                        None => Error::stage(step.step.as_str(), error.clone()),
                    });
                }
                Outcome::Skipped { because: Skip::Cancelled } => {
                    return Err(Error::Cancelled { stage: step.step.to_string() });
                }
                _ => {}
            }
        }
        Ok(self)
    }
}
