//! What is known of runs.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Facet, facet, rfc3339};
use crate::catalog::openlineage::RunId;
use crate::time::EventTime;

/// Settings of one run that are told at the most.
pub const EXECUTION_PARAMETERS_MAX: usize = 256;

/// What is known of a run.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct RunFacets {
    /// The run that it is a part of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Facet<Parent>>,
    /// The time that it is about, whenever it runs.
    #[serde(rename = "nominalTime", default, skip_serializing_if = "Option::is_none")]
    pub nominal_time: Option<Facet<NominalTime>>,
    /// What ran it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processing_engine: Option<Facet<ProcessingEngine>>,
    /// The settings that it ran with.
    #[serde(rename = "executionParameters", default, skip_serializing_if = "Option::is_none")]
    pub execution_parameters: Option<Facet<ExecutionParameters>>,
    /// Why it failed.
    #[serde(rename = "errorMessage", default, skip_serializing_if = "Option::is_none")]
    pub error_message: Option<Facet<ErrorMessage>>,
}

/// The run that another is a part of.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Parent {
    /// The run.
    pub run: ParentRun,
    /// What was run.
    pub job: ParentJob,
}

/// A run, by its id alone.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRun {
    /// Which one.
    pub run_id: RunId,
}

/// A job, by its name alone.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ParentJob {
    /// Its namespace.
    pub namespace: String,
    /// Its name in there.
    pub name: String,
}

/// The time that a run is about, such as the day whose data it makes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NominalTime {
    /// Its begin.
    #[serde(with = "rfc3339")]
    pub nominal_start_time: EventTime,
    /// Its end, exclusive.
    #[serde(default, with = "rfc3339::option", skip_serializing_if = "Option::is_none")]
    pub nominal_end_time: Option<EventTime>,
}

/// What runs jobs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ProcessingEngine {
    /// Its version.
    pub version: String,
    /// Its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
}

/// The settings of a run.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ExecutionParameters {
    /// One by one.
    pub parameters: Vec<ExecutionParameter>,
}

/// One setting of a run.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ExecutionParameter {
    /// The way to it, with dots.
    pub key: String,
    /// As text, or as JSON where it is more than one value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<String>,
}

impl ExecutionParameters {
    /// The members of `settings`, at any depth, in order of their keys; lists are one setting. At most
    /// [`EXECUTION_PARAMETERS_MAX`] of them; one that is not an object has the key `parameters`.
    pub fn of(settings: &Value) -> Self {
        let mut parameters = Vec::new();
        gather("", settings, &mut parameters);
        Self { parameters }
    }
}

fn gather(way: &str, value: &Value, into: &mut Vec<ExecutionParameter>) {
    if let Value::Object(members) = value {
        let way = |name: &str| if way.is_empty() { name.to_owned() } else { format!("{way}.{name}") };
        return members.iter().for_each(|(name, member)| gather(&way(name), member, into));
    }
    if into.len() < EXECUTION_PARAMETERS_MAX && !value.is_null() {
        let key = if way.is_empty() { "parameters" } else { way }.to_owned();
        into.push(ExecutionParameter {
            key,
            value: Some(value.as_str().map_or_else(|| value.to_string(), str::to_owned)),
        });
    }
}

/// Why a run failed.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorMessage {
    /// The message.
    pub message: String,
    /// What the program is written in.
    pub programming_language: String,
}

facet! {
    Parent: "1-2-0/ParentRunFacet",
    NominalTime: "1-0-1/NominalTimeRunFacet",
    ProcessingEngine: "1-1-1/ProcessingEngineRunFacet",
    ExecutionParameters: "1-0-0/ExecutionParametersRunFacet",
    ErrorMessage: "1-0-1/ErrorMessageRunFacet",
}
