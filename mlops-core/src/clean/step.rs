//! Cleaning as a step of a pipeline.

use std::sync::Arc;

use super::encode::folds::check_folds;
use super::{Encode, FittedTransform, FittedTransformExt, Pass, Transform, TransformState, Watch, restore};
use crate::dataset::Provenance;
use crate::pipeline::{Artifact, Inputs, Step, StepContext};
use crate::{Dataset, Digest, Error, Name, Result};

/// Fits a transform, applies what was fitted, or tells what it changes: three steps, so that what was learned on the
/// training rows is applied to all others.
///
/// [`Clean::fit`] gives a [`TransformState`] as JSON, [`Clean::apply`] a data set, [`Clean::report`] the
/// [`Changes`](super::Changes) as JSON; [`Clean::out_of_fold`] gives training rows whose encoding does not know their label. Equal inputs give equal outputs, to the last bit. A run that is to stop does so
/// between two batches, whether they are read from the input or held between the stages of a chain, and while its output is
/// written.
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
    OutOfFold(Box<Encode>, usize),
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

    /// Encodes the data set of step `rows`, each fold by what the others teach: training rows that do not know their own label.
    /// See [`Encode::out_of_fold`]; all other rows go through [`fit`](Self::fit) and [`apply`](Self::apply) of the same settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `folds` is outside `2..=100`, [`Error::InvalidData`] when a setting has no JSON form.
    pub fn out_of_fold(name: Name, encode: Encode, folds: usize, rows: Name) -> Result<Self> {
        check_folds(folds)?;
        encode.settings()?;
        Ok(Self { name, job: Job::OutOfFold(Box::new(encode), folds), rows })
    }

    /// Steps that this one depends on, in the order in which a pipeline wants them named.
    pub fn inputs(&self) -> Vec<&str> {
        match &self.job {
            Job::Fit(_) | Job::OutOfFold(..) => vec![self.rows.as_str()],
            Job::Apply(fitted) | Job::Report(fitted) => vec![fitted.as_str(), self.rows.as_str()],
        }
    }
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
            Job::OutOfFold(encode, folds) => {
                Digest::of_json(&(version, "out_of_fold", encode.settings()?, folds, &self.rows))
            }
        }
    }

    fn run(&self, inputs: &Inputs, context: &StepContext) -> Result<Artifact> {
        let rows = inputs.get(self.rows.as_str())?.as_dataset()?;
        let cancelled = context.cancelled.clone();
        let watch = Watch::new(self.name.as_str(), move || cancelled());
        watch.check()?;
        match &self.job {
            Job::Fit(transform) => json("state", &transform.fit_watched(rows, &watch)?.state()?),
            Job::Apply(fitted) => {
                let fitted: Arc<dyn FittedTransform> = state_of(inputs, fitted)?.into();
                Ok(watch.over(&fitted.apply(rows, context.clock.now())?)?.into())
            }
            Job::Report(fitted) => {
                let mut pass = state_of(inputs, fitted)?.begin(rows.schema())?;
                walk(pass.as_mut(), rows, &watch)?;
                json("changes", &pass.changes())
            }
            Job::OutOfFold(encode, folds) => {
                let parameters = serde_json::json!({ "settings": encode.settings()?, "folds": folds });
                let made = Provenance::of_crate(&[rows], Name::new("out_of_fold")?, &parameters, context.clock.now())?;
                Ok(encode.out_of_fold(&watch.over(rows)?, *folds)?.with_provenance(made).into())
            }
        }
    }
}

fn walk(pass: &mut dyn Pass, rows: &Dataset, watch: &Watch) -> Result<()> {
    for batch in rows.batches()? {
        watch.check()?;
        pass.apply(&batch?)?;
    }
    while pass.drain()?.is_some() {
        watch.check()?;
    }
    Ok(())
}

fn json(what: &'static str, value: &impl serde::Serialize) -> Result<Artifact> {
    serde_json::to_value(value).map(Artifact::Json).map_err(|e| Error::invalid_data(what, e))
}
