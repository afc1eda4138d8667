//! Cleaning as a step of a pipeline.

use std::sync::Arc;

use super::{FittedTransform, FittedTransformExt, Pass, Transform, TransformState, restore};
use crate::pipeline::{Artifact, Inputs, Step, StepContext};
use crate::source::{BatchStream, DataSource, ScanRequest, SourceInfo};
use crate::{Dataset, Digest, Error, Name, Result, Schema};

/// Fits a transform, applies what was fitted, or tells what it changes: three steps, so that what was learned on the
/// training rows is applied to all others.
///
/// [`Clean::fit`] gives a [`TransformState`] as JSON, [`Clean::apply`] a data set, [`Clean::report`] the
/// [`Changes`](super::Changes) as JSON. Equal inputs give equal outputs, to the last bit. A run that is to stop does so
/// between two batches of the rows that it reads; what a chain holds of them it goes through without a stop.
///
/// # Examples
/// ```
/// use mlops_core::clean::{Clean, Impute, Strategy};
/// use mlops_core::Name;
///
/// let impute = Impute::builder().fill("age", Strategy::Median).build()?;
/// let name = |name| Name::new(name);
/// let fit = Clean::fit(name("fit")?, impute, name("train_rows")?)?;
/// let train = Clean::apply(name("train")?, name("fit")?, name("train_rows")?);
/// let test = Clean::apply(name("test")?, name("fit")?, name("test_rows")?);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Clean {
    name: Name,
    job: Job,
    rows: Name,
}

#[derive(Debug)]
enum Job {
    Fit(Arc<dyn Transform>),
    Apply(Name),
    Report(Name),
}

impl Clean {
    /// Fits `transform` on the data set of step `rows`.
    ///
    /// # Errors
    /// [`Error::InvalidData`] when a setting has no JSON form.
    pub fn fit(name: Name, transform: impl Transform, rows: Name) -> Result<Self> {
        transform.settings()?;
        Ok(Self { name, job: Job::Fit(Arc::new(transform)), rows })
    }

    /// Applies the state of step `fitted` to the data set of step `rows`.
    pub fn apply(name: Name, fitted: Name, rows: Name) -> Self {
        Self { name, job: Job::Apply(fitted), rows }
    }

    /// Tells what the state of step `fitted` changes in the data set of step `rows`.
    pub fn report(name: Name, fitted: Name, rows: Name) -> Self {
        Self { name, job: Job::Report(fitted), rows }
    }

    /// Steps that this one depends on, in the order in which a pipeline wants them named.
    pub fn inputs(&self) -> Vec<&str> {
        match &self.job {
            Job::Fit(_) => vec![self.rows.as_str()],
            Job::Apply(fitted) | Job::Report(fitted) => vec![fitted.as_str(), self.rows.as_str()],
        }
    }
}

fn stopped(name: &Name, context: &StepContext) -> Result<()> {
    if (context.cancelled)() { Err(Error::Cancelled { stage: name.to_string() }) } else { Ok(()) }
}

fn state_of(inputs: &Inputs, fitted: &Name) -> Result<Box<dyn FittedTransform>> {
    let json = inputs.get(fitted.as_str())?.as_json()?;
    let state: TransformState = serde_json::from_value(json.clone())
        .map_err(|e| Error::invalid_data(format!("output of step `{fitted}`"), e))?;
    restore(&state)
}

impl Step for Clean {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fingerprint(&self) -> Result<Digest> {
        let version = env!("CARGO_PKG_VERSION");
        match &self.job {
            Job::Fit(transform) => Digest::of_json(&(version, "fit", transform.settings()?, &self.rows)),
            Job::Apply(fitted) => Digest::of_json(&(version, "apply", fitted, &self.rows)),
            Job::Report(fitted) => Digest::of_json(&(version, "report", fitted, &self.rows)),
        }
    }

    fn run(&self, inputs: &Inputs, context: &StepContext) -> Result<Artifact> {
        let rows = inputs.get(self.rows.as_str())?.as_dataset()?;
        stopped(&self.name, context)?;
        match &self.job {
            Job::Fit(transform) => {
                let watched = Watched { data: rows.clone(), step: self.name.clone(), context: context.clone() };
                json("state", &transform.fit(&Dataset::from_source(Arc::new(watched))?)?.state()?)
            }
            Job::Apply(fitted) => {
                let fitted: Arc<dyn FittedTransform> = state_of(inputs, fitted)?.into();
                Ok(fitted.apply(rows, context.clock.now())?.into())
            }
            Job::Report(fitted) => {
                let mut pass = state_of(inputs, fitted)?.begin(rows.schema())?;
                self.walk(pass.as_mut(), rows, context)?;
                json("changes", &pass.changes())
            }
        }
    }
}

/// Rows whose scans end as soon as the host wants to stop.
#[derive(Debug)]
struct Watched {
    data: Dataset,
    step: Name,
    context: StepContext,
}

impl DataSource for Watched {
    fn info(&self) -> Result<SourceInfo> {
        self.data.info()
    }

    fn schema(&self) -> Result<Schema> {
        Ok(self.data.schema().clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        let (step, context) = (self.step.clone(), self.context.clone());
        let stream = self.data.scan(request)?;
        let schema = stream.schema().clone();
        Ok(BatchStream::new(schema, stream.map(move |batch| stopped(&step, &context).and(batch))))
    }
}

impl Clean {
    fn walk(&self, pass: &mut dyn Pass, rows: &Dataset, context: &StepContext) -> Result<()> {
        for batch in rows.batches()? {
            stopped(&self.name, context)?;
            pass.apply(&batch?)?;
        }
        while pass.drain()?.is_some() {
            stopped(&self.name, context)?;
        }
        Ok(())
    }
}

fn json(what: &'static str, value: &impl serde::Serialize) -> Result<Artifact> {
    serde_json::to_value(value).map(Artifact::Json).map_err(|e| Error::invalid_data(what, e))
}
