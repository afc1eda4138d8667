//! Jobs: steps in a directed acyclic graph, run once per content.
//!
//! A [`Step`] turns [`Artifact`]s into one artifact. A step whose fingerprint and input digests were seen before is not
//! run again; one that was cut off is.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use crate::time::Clock;
use crate::{Dataset, Digest, Error, Name, Result};

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
    /// Content digest; the kind counts.
    ///
    /// # Errors
    /// What [`Dataset::digest`] says.
    pub fn digest(&self) -> Result<Digest> {
        let (kind, digest) = match self {
            Self::Dataset(data) => ("dataset", data.digest()?),
            Self::Json(value) => ("json", Digest::of_json(value)?),
            Self::Bytes(bytes) => ("bytes", Digest::of(bytes)),
        };
        Ok(Digest::of_parts([kind.as_bytes(), digest.as_bytes()]))
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
