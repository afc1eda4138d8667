//! Events, as they stand on the wire.

use serde::{Deserialize, Serialize};

use super::facet::{DatasetFacets, InputFacets, JobFacets, OutputFacets, RunFacets, rfc3339};
use super::{Origin, RunId};
use crate::time::EventTime;

const SPEC: &str = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/";

/// Anything that is told. Of events that others wrote, what has no place here is not kept.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Event {
    /// Something happened to a run.
    Run(Box<RunEvent>),
    /// Something is known of a data set, whatever made it.
    Dataset(Box<DatasetEvent>),
}

/// What happened to a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum EventType {
    /// It began.
    Start,
    /// It goes on.
    Running,
    /// It came to its end.
    Complete,
    /// It was stopped.
    Abort,
    /// It failed.
    Fail,
    /// Something else, at any time.
    Other,
}

impl EventType {
    /// Whether it is the last of its run but for [`Other`](Self::Other).
    pub fn is_last(self) -> bool {
        matches!(self, Self::Complete | Self::Abort | Self::Fail)
    }
}

/// Something happened to a run. A run has one `START` first and one of `COMPLETE`, `ABORT` and `FAIL`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunEvent {
    /// When.
    #[serde(with = "rfc3339")]
    pub event_time: EventTime,
    /// What.
    pub event_type: EventType,
    /// Who says so: a URI.
    pub producer: String,
    /// The schema of the event.
    #[serde(rename = "schemaURL")]
    pub schema_url: String,
    /// The run.
    pub run: Run,
    /// What was run.
    pub job: Job,
    /// What it reads.
    #[serde(default)]
    pub inputs: Vec<InputDataset>,
    /// What it writes.
    #[serde(default)]
    pub outputs: Vec<OutputDataset>,
}

impl RunEvent {
    /// `event_type` happened to `run` of `job` at `event_time`; no data sets yet.
    pub fn new(origin: &Origin, event_type: EventType, event_time: EventTime, run: Run, job: Job) -> Self {
        let (producer, schema_url) = (origin.producer().to_owned(), format!("{SPEC}RunEvent"));
        Self { event_time, event_type, producer, schema_url, run, job, inputs: Vec::new(), outputs: Vec::new() }
    }
}

impl From<RunEvent> for Event {
    fn from(event: RunEvent) -> Self {
        Self::Run(Box::new(event))
    }
}

/// Something is known of a data set.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatasetEvent {
    /// When.
    #[serde(with = "rfc3339")]
    pub event_time: EventTime,
    /// Who says so: a URI.
    pub producer: String,
    /// The schema of the event.
    #[serde(rename = "schemaURL")]
    pub schema_url: String,
    /// The data set.
    pub dataset: Dataset,
}

impl DatasetEvent {
    /// `dataset` was so at `event_time`.
    pub fn new(origin: &Origin, event_time: EventTime, dataset: Dataset) -> Self {
        let (producer, schema_url) = (origin.producer().to_owned(), format!("{SPEC}DatasetEvent"));
        Self { event_time, producer, schema_url, dataset }
    }
}

impl From<DatasetEvent> for Event {
    fn from(event: DatasetEvent) -> Self {
        Self::Dataset(Box::new(event))
    }
}

/// One run of a job.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Which one.
    pub run_id: RunId,
    /// More about it.
    #[serde(default)]
    pub facets: RunFacets,
}

/// What is run, again and again.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Its namespace.
    pub namespace: String,
    /// Its name in there.
    pub name: String,
    /// More about it.
    #[serde(default)]
    pub facets: JobFacets,
}

/// A data set.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Dataset {
    /// Its namespace.
    pub namespace: String,
    /// Its name in there.
    pub name: String,
    /// More about it.
    #[serde(default)]
    pub facets: DatasetFacets,
}

impl Dataset {
    /// A data set of which nothing but its name is told.
    pub fn named(origin: &Origin, name: impl Into<String>) -> Self {
        Self { namespace: origin.namespace().to_owned(), name: name.into(), facets: DatasetFacets::default() }
    }
}

/// A data set that is read.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InputDataset {
    /// The data set.
    #[serde(flatten)]
    pub dataset: Dataset,
    /// What was read of it.
    #[serde(default)]
    pub input_facets: InputFacets,
}

/// A data set that is written.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputDataset {
    /// The data set.
    #[serde(flatten)]
    pub dataset: Dataset,
    /// What was written of it.
    #[serde(default)]
    pub output_facets: OutputFacets,
}

impl From<Dataset> for InputDataset {
    fn from(dataset: Dataset) -> Self {
        Self { dataset, input_facets: InputFacets::default() }
    }
}

impl From<Dataset> for OutputDataset {
    fn from(dataset: Dataset) -> Self {
        Self { dataset, output_facets: OutputFacets::default() }
    }
}
