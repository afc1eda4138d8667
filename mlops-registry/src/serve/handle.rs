//! A model behind a pointer that can be exchanged without a lock.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use mlops_core::arrow::array::AsArray;
use mlops_core::arrow::compute::cast;
use mlops_core::arrow::datatypes::{DataType, Float64Type};
use mlops_core::model::Signature;
use mlops_core::rank::{Budget, Query, Scored, Scorer, Slate};
use mlops_core::{Error as CoreError, Name};

use crate::version::Loaded;
use crate::{Error, Result};

/// A model version in service: scores candidates, and is swapped for another while requests run.
///
/// Reading the present version takes no lock; a request that has begun ends on the version that it began with.
///
/// As a [`Scorer`] it answers with the model's float output per candidate and names the version as `model/number`.
#[derive(Debug)]
pub struct ServedModel {
    objective: Name,
    inputs: Vec<String>,
    present: ArcSwap<Present>,
}

#[derive(Debug)]
struct Present {
    loaded: Loaded,
    label: Arc<str>,
}

impl Present {
    fn new(loaded: Loaded) -> Self {
        let label = format!("{}/{}", loaded.version.made.model, loaded.version.number).into();
        Self { loaded, label }
    }
}

impl ServedModel {
    /// Serves `loaded` as the scorer of `objective`.
    pub fn new(objective: Name, loaded: Loaded) -> Self {
        let inputs = loaded.version.made.signature.names().map(str::to_owned).collect();
        Self { objective, inputs, present: ArcSwap::from_pointee(Present::new(loaded)) }
    }

    /// The version in service.
    pub fn current(&self) -> Loaded {
        self.present.load().loaded.clone()
    }

    /// Puts `next` into service and gives what served before. Requests that run now end on the old version.
    ///
    /// # Errors
    /// [`Schema`](mlops_core::Error::Schema) when `next` wants an input that the service does not make, or wants one of
    /// another type; the old version stays.
    pub fn swap(&self, next: Loaded) -> Result<Loaded> {
        fits(&self.current().version.made.signature, &next.version.made.signature)?;
        Ok(self.present.swap(Arc::new(Present::new(next))).loaded.clone())
    }
}

fn fits(serving: &Signature, next: &Signature) -> Result<()> {
    for input in &next.inputs {
        let known = serving.inputs.iter().find(|i| i.name == input.name);
        let found =
            known.map_or_else(|| "an input that the service does not make".to_owned(), |i| i.value_type.to_string());
        if found != input.value_type.to_string() {
            return Err(Error::Core(CoreError::schema(&input.name, input.value_type, found)));
        }
    }
    Ok(())
}

#[async_trait]
impl Scorer for ServedModel {
    fn name(&self) -> &Name {
        &self.objective
    }

    fn inputs(&self) -> Vec<String> {
        self.inputs.clone()
    }

    async fn score(&self, _: &Query, slate: &Slate, _: Budget) -> mlops_core::Result<Scored> {
        let present = self.present.load_full();
        let output = cast(&present.loaded.model.predict(slate.rows())?, &DataType::Float64)?;
        let scores = output.as_primitive::<Float64Type>().iter().map(|score| score.unwrap_or(f64::NAN)).collect();
        Ok(Scored { scores, version: present.label.clone() })
    }
}
