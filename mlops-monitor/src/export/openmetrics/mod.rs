//! Metrics as OpenMetrics 1.0 text.
//!
//! A [`Family`] is one metric with its series, an [`Exposition`] the page that a scraper reads. What the monitor measures
//! goes in by one call each, such as [`Exposition::traffic`]; what the host measures, as families of its own. Names,
//! labels and values are checked where they come in, so that one bad value cannot spoil the whole page.
//!
//! # Names
//! `mlops_…`, base units (seconds, ratios from 0 to 1), `_total` on counters. Labels hold names of things (models, columns,
//! stages, groups), never values of hidden columns.
//!
//! # Bounds
//! At most [`SERIES_MAX`] series a family and [`FAMILIES_MAX`] families; what is left out is counted in
//! `mlops_export_series_left_out`. Of a drift report the [`DRIFT_COLUMNS_MAX`] columns with the greatest effect have
//! series of their own, and all columns are counted by verdict.
//!
//! # Source
//! *OpenMetrics 1.0*, <https://prometheus.io/docs/specs/om/open_metrics_spec/>; names by
//! <https://prometheus.io/docs/practices/naming/>.

mod family;
mod findings;
mod labels;
mod measured;
mod number;
mod page;

pub use family::{Buckets, Family, Kind, SERIES_MAX};
pub use findings::DRIFT_COLUMNS_MAX;
pub use labels::{LABEL_BYTES_MAX, LABELS_MAX, Labels, metric_name};
pub use number::Number;
pub use page::{CONTENT_TYPE, Exposition, FAMILIES_MAX};

#[cfg(test)]
mod tests;
