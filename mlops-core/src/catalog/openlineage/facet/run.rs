//! What is known of runs.

use serde::{Deserialize, Serialize};

use super::{Facet, facet, rfc3339};
use crate::catalog::openlineage::RunId;
use crate::time::EventTime;

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
    ErrorMessage: "1-0-1/ErrorMessageRunFacet",
}
