//! Training, registration and promotion as steps of a pipeline.
//!
//! [`Train`] → [`Register`] → [`Promote`]. Each may be cut off and run again: training repeats its bytes, registering the
//! same bytes gives the known version, and an alias that already points at the candidate stays.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use mlops_core::model::Model;
use mlops_core::pipeline::{Artifact, Inputs, Step, StepContext};
use mlops_core::{Digest, Name};
use serde::{Deserialize, Serialize};

use crate::flavor::Flavors;
use crate::train::{TrainData, Trainer};
use crate::version::{Gate, NewModel, PromotionRequest, Registry};

/// Which columns a [`Train`] step learns from; `None` leaves it to the roles of the schema.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Columns {
    /// Feature columns, in order.
    pub features: Option<Vec<String>>,
    /// The label column.
    pub label: Option<String>,
    /// The weight column.
    pub weight: Option<String>,
    /// The column whose equal, adjacent values make one query of a ranking.
    pub group: Option<String>,
}

/// Trains on the data set of one step, judged by that of another. Gives the model's flavor and bytes.
#[derive(Debug)]
pub struct Train {
    name: Name,
    trainer: Arc<dyn Trainer>,
    columns: Columns,
    rows: Name,
    valid: Option<Name>,
}

impl Train {
    /// Trains on the output of step `rows`.
    pub fn new(name: Name, trainer: Arc<dyn Trainer>, rows: Name, columns: Columns) -> Self {
        Self { name, trainer, columns, rows, valid: None }
    }

    /// Judges each round by the output of step `valid`.
    pub fn valid(mut self, valid: Name) -> Self {
        self.valid = Some(valid);
        self
    }

    fn data(&self, inputs: &Inputs) -> mlops_core::Result<TrainData> {
        let Columns { features, label, weight, group } = self.columns.clone();
        let mut data = TrainData::builder(inputs.get(self.rows.as_str())?.as_dataset()?.clone());
        if let Some(features) = features {
            data = data.features(features);
        }
        if let Some(label) = label {
            data = data.label(label);
        }
        if let Some(weight) = weight {
            data = data.weight(weight);
        }
        if let Some(group) = group {
            data = data.group(group);
        }
        if let Some(valid) = &self.valid {
            data = data.valid(inputs.get(valid.as_str())?.as_dataset()?.clone());
        }
        Ok(data.build()?)
    }
}

impl Step for Train {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fingerprint(&self) -> mlops_core::Result<Digest> {
        let version = env!("CARGO_PKG_VERSION");
        Digest::of_json(&(
            version,
            self.trainer.algorithm(),
            self.trainer.settings()?,
            &self.columns,
            &self.rows,
            &self.valid,
        ))
    }

    fn run(&self, inputs: &Inputs, context: &StepContext) -> mlops_core::Result<Artifact> {
        let trained = self.trainer.train(&self.data(inputs)?, &mut |round| {
            (context.progress)(f64::from(round.round) / f64::from(round.rounds_max.max(1)));
            if (context.cancelled)() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        Ok(Artifact::Bytes(pack(trained.model.flavor(), &trained.model.to_bytes()?).into()))
    }
}

/// `flavor`, a zero byte, then the model: what [`Train`] hands on.
fn pack(flavor: &str, model: &[u8]) -> Vec<u8> {
    [flavor.as_bytes(), b"\0", model].concat()
}

/// The model that a [`Train`] step made, for steps that measure it before it is registered.
///
/// # Errors
/// [`mlops_core::Error::InvalidData`] when `trained` is no output of such a step, and what [`Flavors::read`] says.
pub fn trained_model(trained: &Artifact, flavors: &Flavors) -> mlops_core::Result<Box<dyn Model>> {
    let (flavor, bytes) = unpack(trained.as_bytes()?)?;
    Ok(flavors.read(flavor, bytes)?)
}

/// Splits what [`pack`] put together.
fn unpack(bytes: &[u8]) -> mlops_core::Result<(&str, &[u8])> {
    let refuse = || mlops_core::Error::invalid_data("output of a training step", "it does not begin with a flavor");
    let end = bytes.iter().position(|byte| *byte == 0).ok_or_else(refuse)?;
    let flavor = std::str::from_utf8(&bytes[..end]).map_err(|_| refuse())?;
    Ok((flavor, &bytes[end + 1..]))
}

/// Registers the model of a [`Train`] step with metrics from another step. Gives `{"model", "version"}`.
#[derive(Debug)]
pub struct Register {
    name: Name,
    registry: Registry,
    model: Name,
    trained: Name,
    metrics: Name,
    by: String,
}

impl Register {
    /// Registers the output of step `trained` under `model`; step `metrics` gives a JSON object of numbers.
    pub fn new(
        name: Name,
        registry: Registry,
        model: Name,
        trained: Name,
        metrics: Name,
        by: impl Into<String>,
    ) -> Self {
        Self { name, registry, model, trained, metrics, by: by.into() }
    }
}

impl Step for Register {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fingerprint(&self) -> mlops_core::Result<Digest> {
        Digest::of_json(&(env!("CARGO_PKG_VERSION"), &self.model, &self.trained, &self.metrics, &self.by))
    }

    fn run(&self, inputs: &Inputs, context: &StepContext) -> mlops_core::Result<Artifact> {
        let model = trained_model(inputs.get(self.trained.as_str())?, self.registry.flavors())?;
        let metrics = inputs.get(self.metrics.as_str())?.as_json()?;
        let metrics: BTreeMap<String, f64> = serde_json::from_value(metrics.clone())
            .map_err(|e| mlops_core::Error::invalid_data("metrics of the model", e))?;
        let mut trained_on = Vec::new();
        for (_, artifact) in inputs.iter() {
            if let Artifact::Dataset(data) = artifact {
                trained_on.push(data.digest()?);
            }
        }
        let version = self.registry.register(NewModel {
            name: self.model.clone(),
            model: model.as_ref(),
            run: None,
            trained_on,
            metrics,
            files: BTreeMap::new(),
            tags: BTreeMap::new(),
            by: self.by.clone(),
            at: context.clock.now(),
        })?;
        Ok(Artifact::Json(serde_json::json!({"model": self.model, "version": version.number})))
    }
}

/// Moves an alias to the version of a [`Register`] step when the gate lets it pass. Gives the
/// [`Promotion`](crate::version::Promotion).
#[derive(Debug)]
pub struct Promote {
    name: Name,
    registry: Registry,
    model: Name,
    alias: Name,
    registered: Name,
    evidence: Option<Name>,
    gate: Gate,
    by: String,
}

impl Promote {
    /// Promotes the output of step `registered`, a version of `model`, to `alias`.
    pub fn new(
        name: Name,
        registry: Registry,
        model: Name,
        alias: Name,
        registered: Name,
        gate: Gate,
        by: impl Into<String>,
    ) -> Self {
        Self { name, registry, model, alias, registered, evidence: None, gate, by: by.into() }
    }

    /// Judges by the output of step `evidence`, an [`Evidence`](crate::version::Evidence) as JSON, instead of by what the
    /// versions were registered with.
    pub fn evidence(mut self, evidence: Name) -> Self {
        self.evidence = Some(evidence);
        self
    }
}

impl Step for Promote {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fingerprint(&self) -> mlops_core::Result<Digest> {
        let settings = (&self.model, &self.alias, &self.registered, &self.evidence, &self.gate, &self.by);
        Digest::of_json(&(env!("CARGO_PKG_VERSION"), settings))
    }

    fn run(&self, inputs: &Inputs, context: &StepContext) -> mlops_core::Result<Artifact> {
        let registered = inputs.get(self.registered.as_str())?.as_json()?;
        let number = registered.get("version").and_then(serde_json::Value::as_u64).and_then(|n| u32::try_from(n).ok());
        let number = number
            .ok_or_else(|| mlops_core::Error::invalid_data("output of a registration step", "no version in it"))?;
        let evidence = self.evidence.as_ref().map(|step| inputs.get(step.as_str())?.as_json()).transpose()?;
        let evidence = evidence.map(|json| serde_json::from_value(json.clone())).transpose();
        let promotion = self.registry.promote(&PromotionRequest {
            model: self.model.clone(),
            alias: self.alias.clone(),
            candidate: number,
            gate: self.gate.clone(),
            evidence: evidence.map_err(|e| mlops_core::Error::invalid_data("evidence", e))?,
            by: self.by.clone(),
            at: context.clock.now(),
        })?;
        let value = serde_json::to_value(promotion).map_err(|e| mlops_core::Error::invalid_data("promotion", e))?;
        Ok(Artifact::Json(value))
    }
}
