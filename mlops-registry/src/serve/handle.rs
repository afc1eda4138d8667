//! A model behind a pointer that can be exchanged without a lock.

use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use mlops_core::arrow::array::AsArray;
use mlops_core::arrow::compute::cast;
use mlops_core::arrow::datatypes::{DataType, Float64Type};
use mlops_core::model::Signature;
use mlops_core::rank::{Budget, Query, Scored, Scorer, Slate};
use mlops_core::{Error as CoreError, Name, Schema};

use crate::version::{Loaded, Promotion, PromotionRequest, Registry};
use crate::{Error, Result};

/// A model version in service: scores candidates, and is swapped for another while requests run.
///
/// Reading the present version takes no lock; a request that has begun ends on the version that it began with.
///
/// As a [`Scorer`] it answers with the model's float output per candidate and names the version as `model/number`.
#[derive(Debug)]
pub struct ServedModel {
    objective: Name,
    /// Of the version that the service was built for: what every later one is held against.
    signature: Signature,
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
    /// Serves `loaded` as the scorer of `objective`. Its signature says what the service makes for every later version.
    pub fn new(objective: Name, loaded: Loaded) -> Self {
        let signature = loaded.version.made.signature.clone();
        Self { objective, signature, present: ArcSwap::from_pointee(Present::new(loaded)) }
    }

    /// The version in service.
    pub fn current(&self) -> Loaded {
        self.present.load().loaded.clone()
    }

    /// Puts `next` into service and gives what served before. Requests that run now end on the old version.
    ///
    /// # Errors
    /// As [`ensure_fits`](Self::ensure_fits); the old version stays.
    pub fn swap(&self, next: Loaded) -> Result<Loaded> {
        self.ensure_fits(&next)?;
        Ok(self.present.swap(Arc::new(Present::new(next))).loaded.clone())
    }

    /// Checks that `next` could serve in the place of what serves now.
    ///
    /// # Errors
    /// [`Schema`](mlops_core::Error::Schema) when it wants an input that the version that the service was built for does
    /// not have, wants one of another type, or gives something else.
    pub fn ensure_fits(&self, next: &Loaded) -> Result<()> {
        fits(&self.signature, &next.version.made.signature)
    }

    /// Moves an alias as [`Registry::promote`] does and puts the candidate into service, or does neither: a candidate that
    /// this service cannot feed would keep the next start from coming up.
    ///
    /// # Errors
    /// As [`ensure_fits`](Self::ensure_fits) and [`Registry::promote`]; the alias and the old version stay.
    pub fn promote(&self, registry: &Registry, request: &PromotionRequest) -> Result<Promotion> {
        let candidate = registry.load(&request.model, request.candidate)?;
        self.ensure_fits(&candidate)?;
        let promotion = registry.promote(request)?;
        if promotion.promoted() {
            self.swap(candidate)?;
        }
        Ok(promotion)
    }
}

fn fits(serving: &Signature, next: &Signature) -> Result<()> {
    let output = |signature: &Signature| format!("{} `{}`", signature.output_type, signature.output);
    if output(serving) != output(next) {
        return Err(Error::Core(CoreError::schema("output of the model", output(serving), output(next))));
    }
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

    fn check(&self, columns: &Schema) -> mlops_core::Result<()> {
        self.present.load().loaded.version.made.signature.check(columns)
    }

    async fn score(&self, _: &Query, slate: &Slate, _: Budget) -> mlops_core::Result<Scored> {
        let present = self.present.load_full();
        let output = cast(&present.loaded.model.predict(slate.rows())?, &DataType::Float64)?;
        let scores = output.as_primitive::<Float64Type>().iter().map(|score| score.unwrap_or(f64::NAN)).collect();
        Ok(Scored { scores, version: present.label.clone() })
    }
}
