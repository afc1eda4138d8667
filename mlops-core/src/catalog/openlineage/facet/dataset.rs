//! What is known of data sets, and of reading and writing them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Facet, Ownership, facet};
use crate::catalog::openlineage::ColumnLineage;

/// What is known of a data set.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DatasetFacets {
    /// Its columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Facet<SchemaFacet>>,
    /// Which content it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<Facet<Version>>,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_source: Option<Facet<DataSource>>,
    /// How its bytes are laid out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<Facet<Storage>>,
    /// Who answers for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ownership: Option<Facet<Ownership>>,
    /// What it is, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation: Option<Facet<Documentation>>,
    /// Its other names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symlinks: Option<Facet<Symlinks>>,
    /// What the run did to it as a whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lifecycle_state_change: Option<Facet<LifecycleStateChange>>,
    /// Which column came from which.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub column_lineage: Option<Facet<ColumnLineage>>,
    /// Numbers of its columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_quality_metrics: Option<Facet<DataQualityMetrics>>,
}

/// What was read.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InputFacets {
    /// How much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_statistics: Option<Facet<InputStatistics>>,
    /// Numbers of its columns.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_quality_metrics: Option<Facet<InputMetrics>>,
    /// What was checked, and how it came out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_quality_assertions: Option<Facet<DataQualityAssertions>>,
}

/// What was written.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputFacets {
    /// How much.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_statistics: Option<Facet<OutputStatistics>>,
}

/// Columns.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SchemaFacet {
    /// In order.
    pub fields: Vec<SchemaField>,
}

/// A column.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct SchemaField {
    /// Its name.
    pub name: String,
    /// Its Arrow type as text.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub data_type: Option<String>,
    /// Role, unit and sensitivity, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its place, from 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ordinal_position: Option<u64>,
}

/// Which content a data set has.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Version {
    /// Its content digest.
    pub dataset_version: String,
}

/// Where a data set is.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DataSource {
    /// Name of the place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Its URI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

/// How bytes are laid out.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Storage {
    /// What keeps them, such as `file` or `s3`.
    pub storage_layer: String,
    /// Their format.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_format: Option<String>,
}

/// What a data set is, in words.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Documentation {
    /// The words.
    pub description: String,
}

/// Other names of a data set.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Symlinks {
    /// All of them.
    pub identifiers: Vec<Symlink>,
}

/// Another name.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Symlink {
    /// Its namespace.
    pub namespace: String,
    /// Its name in there.
    pub name: String,
    /// What kind of name, such as `LOCATION`.
    #[serde(rename = "type")]
    pub kind: String,
}

/// What a run did to a data set as a whole.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LifecycleStateChange {
    /// The deed.
    pub lifecycle_state_change: Lifecycle,
}

/// What can be done to a data set as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Lifecycle {
    /// Its schema was changed.
    Alter,
    /// It was made.
    Create,
    /// It was removed.
    Drop,
    /// All of its content was replaced.
    Overwrite,
    /// It was renamed.
    Rename,
    /// Its content was removed.
    Truncate,
}

/// Numbers of a data set and of its columns.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DataQualityMetrics {
    /// Rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_count: Option<u64>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// By column.
    pub column_metrics: BTreeMap<String, ColumnMetrics>,
}

/// The same for what a run reads.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct InputMetrics(pub DataQualityMetrics);

/// Numbers of a column.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ColumnMetrics {
    /// Nulls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub null_count: Option<u64>,
    /// Different values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distinct_count: Option<u64>,
    /// Values that are not null.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Smallest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    /// Greatest value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
    /// By share, such as `0.25`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub quantiles: BTreeMap<String, f64>,
}

/// What was checked.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DataQualityAssertions {
    /// All checks.
    pub assertions: Vec<Assertion>,
}

/// A check, and how it came out.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Assertion {
    /// The check.
    pub assertion: String,
    /// Whether it holds.
    pub success: bool,
    /// `error`, `warn` or `info`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// What it demands, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// What was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actual: Option<String>,
}

/// How much was read.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InputStatistics {
    /// Rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_count: Option<u64>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

/// How much was written.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OutputStatistics {
    /// Rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_count: Option<u64>,
    /// Bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
}

facet! {
    SchemaFacet: "1-2-0/SchemaDatasetFacet",
    Version: "1-0-1/DatasetVersionDatasetFacet",
    DataSource: "1-0-1/DatasourceDatasetFacet",
    Storage: "1-0-1/StorageDatasetFacet",
    Documentation: "1-1-0/DocumentationDatasetFacet",
    Symlinks: "1-0-1/SymlinksDatasetFacet",
    LifecycleStateChange: "1-0-1/LifecycleStateChangeDatasetFacet",
    ColumnLineage: "1-2-0/ColumnLineageDatasetFacet",
    DataQualityMetrics: "1-0-0/DataQualityMetricsDatasetFacet",
    InputMetrics: "1-0-3/DataQualityMetricsInputDatasetFacet",
    DataQualityAssertions: "1-1-0/DataQualityAssertionsDatasetFacet",
    InputStatistics: "1-0-0/InputStatisticsInputDatasetFacet",
    OutputStatistics: "1-0-2/OutputStatisticsOutputDatasetFacet",
}
