//! Jobs: steps in a directed acyclic graph, run once per content.
//!
//! A [`Step`] turns [`Artifact`]s into one artifact. A step whose fingerprint and input digests were seen before is not
//! run again; one that was cut off is. Entry points: [`Pipeline::builder`], [`Pipeline::run`], [`FnStep`] for steps
//! written inline; [`Pipeline::plan`] shows the graph to people and other tools.

mod engine;
mod event;
mod graph;
mod options;
mod plan;
mod report;
mod step;
mod store;

pub use event::{RunEvent, Skip};
pub use graph::{Pipeline, PipelineBuilder};
pub use options::{ATTEMPTS_MAX, Retry, RunOptions};
pub use plan::{Plan, PlanStep};
pub use report::{Outcome, Output, Rerun, Run, RunReport, StepReport};
pub use step::{FnStep, Given};

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::time::{Clock, SystemClock};
use crate::{Dataset, Digest, Error, Name, Result};

/// The three kinds of [`Artifact`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ArtifactKind {
    /// Rows.
    Dataset,
    /// Small structured facts.
    Json,
    /// Anything else.
    Bytes,
}

impl ArtifactKind {
    /// The digest of an artifact of this kind whose content has the digest `content`.
    pub fn digest(self, content: Digest) -> Digest {
        let kind: &[u8] = match self {
            Self::Dataset => b"dataset",
            Self::Json => b"json",
            Self::Bytes => b"bytes",
        };
        Digest::of_parts([kind, content.as_bytes()])
    }
}

/// What flows between steps.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Artifact {
    /// Rows.
    Dataset(Dataset),
    /// Small structured facts: metrics, reports, references to registered things.
    Json(serde_json::Value),
    /// Anything else, such as a model.
    Bytes(Arc<[u8]>),
}

impl Artifact {
    /// Which kind this is.
    pub fn kind(&self) -> ArtifactKind {
        match self {
            Self::Dataset(_) => ArtifactKind::Dataset,
            Self::Json(_) => ArtifactKind::Json,
            Self::Bytes(_) => ArtifactKind::Bytes,
        }
    }

    /// Content digest; the kind counts. That of a data set covers schema and rows, not the provenance.
    ///
    /// # Errors
    /// What [`Dataset::digest`] says.
    pub fn digest(&self) -> Result<Digest> {
        let content = match self {
            Self::Dataset(data) => data.digest()?,
            Self::Json(value) => Digest::of_json(value)?,
            Self::Bytes(bytes) => Digest::of(bytes),
        };
        Ok(self.kind().digest(content))
    }

    /// The rows.
    ///
    /// # Errors
    /// [`Error::Schema`] when this is not a data set.
    pub fn as_dataset(&self) -> Result<&Dataset> {
        if let Self::Dataset(data) = self { Ok(data) } else { Err(self.is_not("a data set")) }
    }

    /// The facts.
    ///
    /// # Errors
    /// [`Error::Schema`] when this is not JSON.
    pub fn as_json(&self) -> Result<&serde_json::Value> {
        if let Self::Json(value) = self { Ok(value) } else { Err(self.is_not("JSON")) }
    }

    /// The bytes.
    ///
    /// # Errors
    /// [`Error::Schema`] when this is not bytes.
    pub fn as_bytes(&self) -> Result<&[u8]> {
        if let Self::Bytes(bytes) = self { Ok(bytes) } else { Err(self.is_not("bytes")) }
    }

    fn is_not(&self, expected: &str) -> Error {
        let found = match self {
            Self::Dataset(_) => "a data set",
            Self::Json(_) => "JSON",
            Self::Bytes(_) => "bytes",
        };
        Error::schema("artifact", expected, found)
    }
}

impl From<Dataset> for Artifact {
    fn from(data: Dataset) -> Self {
        Self::Dataset(data)
    }
}

impl From<serde_json::Value> for Artifact {
    fn from(value: serde_json::Value) -> Self {
        Self::Json(value)
    }
}

impl From<Vec<u8>> for Artifact {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}

/// Named inputs of one run of a step.
#[derive(Clone, Debug, Default)]
pub struct Inputs(BTreeMap<Name, Artifact>);

impl Inputs {
    /// Inputs from pairs of step name and artifact.
    pub fn new(inputs: impl IntoIterator<Item = (Name, Artifact)>) -> Self {
        Self(inputs.into_iter().collect())
    }

    /// The output of the step `name`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the step does not depend on it.
    pub fn get(&self, name: &str) -> Result<&Artifact> {
        self.0.get(name).ok_or_else(|| Error::not_found("input", name))
    }

    /// All inputs, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Artifact)> {
        self.0.iter()
    }
}

/// What a step may use besides its inputs.
#[derive(Clone)]
pub struct StepContext {
    /// Where "now" comes from.
    pub clock: Arc<dyn Clock>,
    /// Whether the host wants to stop: long steps ask now and then.
    pub cancelled: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Where progress goes: a fraction from 0 to 1.
    pub progress: Arc<dyn Fn(f64) + Send + Sync>,
}

impl StepContext {
    /// A context for one call outside of a pipeline: never cancelled, progress goes nowhere.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, cancelled: Arc::new(|| false), progress: Arc::new(|_| {}) }
    }
}

impl Default for StepContext {
    /// As [`new`](Self::new), with the system's clock.
    fn default() -> Self {
        Self::new(Arc::new(SystemClock))
    }
}

impl Debug for StepContext {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StepContext").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// One node of a pipeline.
///
/// # Contract
/// * `fingerprint` covers every setting and the version of the code: equal fingerprints and equal inputs give equal
///   outputs, or outputs that are as good.
/// * `run` may be cut off at any point and run again; what it does outside of its output is idempotent.
/// * `run` reads only its inputs, its settings and the context.
/// * A step that stops because the host wants to answers with [`Error::Cancelled`], never with half an output.
///
/// `testkit::step` checks these; run it on your own step.
pub trait Step: Debug + Send + Sync + 'static {
    /// Name in the pipeline.
    fn name(&self) -> &Name;

    /// Digest of settings and code version.
    ///
    /// # Errors
    /// [`Error::InvalidData`] when a setting has no canonical form.
    fn fingerprint(&self) -> Result<Digest>;

    /// Makes the output.
    ///
    /// # Errors
    /// Whatever keeps the step from its output; the pipeline wraps it in [`Error::Stage`].
    fn run(&self, inputs: &Inputs, context: &StepContext) -> Result<Artifact>;
}

impl<S: Step + ?Sized> Step for Arc<S> {
    fn name(&self) -> &Name {
        (**self).name()
    }

    fn fingerprint(&self) -> Result<Digest> {
        (**self).fingerprint()
    }

    fn run(&self, inputs: &Inputs, context: &StepContext) -> Result<Artifact> {
        (**self).run(inputs, context)
    }
}
