//! Steps that need no type of their own.

use std::fmt;

use super::{Artifact, Inputs, Step, StepContext};
use crate::{Digest, Name, Result};

type Body = dyn Fn(&Inputs, &StepContext) -> Result<Artifact> + Send + Sync;

/// A step written as a closure.
///
/// The closure's code cannot be digested, so the caller states a version: whoever changes the code or a captured setting
/// changes the version too, or the old output is taken for the new one.
///
/// # Examples
/// ```
/// use mlops_core::pipeline::{Artifact, FnStep, Inputs, Step, StepContext};
///
/// let limit = 3;
/// let step = FnStep::new("count", format!("v1 limit={limit}"), move |_, _| Ok(serde_json::json!(limit).into()))?;
/// let output = step.run(&Inputs::default(), &StepContext::default())?;
/// assert_eq!(output.as_json()?, 3);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub struct FnStep {
    name: Name,
    version: String,
    body: Box<Body>,
}

impl FnStep {
    /// A step that runs `body`; `version` stands for its code and its settings.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) when `name` is not a [`Name`].
    pub fn new(
        name: impl AsRef<str>,
        version: impl Into<String>,
        body: impl Fn(&Inputs, &StepContext) -> Result<Artifact> + Send + Sync + 'static,
    ) -> Result<Self> {
        Ok(Self { name: Name::new(name)?, version: version.into(), body: Box::new(body) })
    }
}

impl Step for FnStep {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fingerprint(&self) -> Result<Digest> {
        Ok(Digest::of_parts([b"fn".as_slice(), self.version.as_bytes()]))
    }

    fn run(&self, inputs: &Inputs, context: &StepContext) -> Result<Artifact> {
        (self.body)(inputs, context)
    }
}

impl fmt::Debug for FnStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnStep").field("name", &self.name).field("version", &self.version).finish_non_exhaustive()
    }
}

/// A step whose output is there already: how a host hands data to a pipeline.
///
/// Its fingerprint is the digest of the artifact, so that what follows runs again exactly when the content changes. A
/// data set is copied into the run directory once per content.
#[derive(Clone, Debug)]
pub struct Given {
    name: Name,
    artifact: Artifact,
}

impl Given {
    /// A step that answers with `artifact`.
    ///
    /// # Errors
    /// [`Error::Invalid`](crate::Error::Invalid) when `name` is not a [`Name`].
    pub fn new(name: impl AsRef<str>, artifact: impl Into<Artifact>) -> Result<Self> {
        Ok(Self { name: Name::new(name)?, artifact: artifact.into() })
    }
}

impl Step for Given {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fingerprint(&self) -> Result<Digest> {
        self.artifact.digest()
    }

    fn run(&self, _inputs: &Inputs, _context: &StepContext) -> Result<Artifact> {
        Ok(self.artifact.clone())
    }
}
