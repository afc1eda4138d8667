//! What is known of jobs, and of owners.

use serde::{Deserialize, Serialize};

use super::{Facet, facet};

/// What is known of a job.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobFacets {
    /// What kind of job it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_type: Option<Facet<JobType>>,
    /// Where its code is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_code_location: Option<Facet<SourceCodeLocation>>,
}

/// What kind of job it is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JobType {
    /// `BATCH` or `STREAMING`.
    pub processing_type: String,
    /// The system that it runs in.
    pub integration: String,
    /// Such as `DAG` or `TASK`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_type: Option<String>,
}

/// Where the code of a job is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SourceCodeLocation {
    /// Such as `git`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Its URL.
    pub url: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
}

/// Who answers for a data set.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Ownership {
    /// All of them.
    pub owners: Vec<Owner>,
}

/// One who answers.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Owner {
    /// Name of the person, team or service.
    pub name: String,
    /// For what, such as `OWNER`.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
}

facet! {
    JobType: "2-0-4/JobTypeJobFacet",
    SourceCodeLocation: "1-1-0/SourceCodeLocationJobFacet",
    Ownership: "1-0-1/OwnershipDatasetFacet",
}
