//! What can go wrong, sorted by what the caller does next.

use mlops_core::Name;
use mlops_core::error::Cause;

/// Result of everything that can fail in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Failures of `mlops-monitor`.
///
/// Findings (a drifted column, a worse model, a group that is passed over) are values, never errors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting, a column, a file: see the inner error.
    #[error(transparent)]
    Core(#[from] mlops_core::Error),
    /// Alerts could not be handed over; they are still to be delivered: try again later.
    #[error("alert sink `{sink}`: {source}")]
    Delivery {
        /// The sink that failed.
        sink: Name,
        /// Why.
        source: Cause,
    },
    /// A metric family would make a scraper refuse the whole page: fix its name, labels or values.
    #[error("metric `{metric}`: {reason}")]
    Exposition {
        /// The family or series.
        metric: String,
        /// What the format forbids.
        reason: String,
    },
}

impl Error {
    /// `sink` did not take alerts.
    pub fn delivery(sink: &Name, source: impl Into<Cause>) -> Self {
        Self::Delivery { sink: sink.clone(), source: source.into() }
    }

    /// The text format forbids `metric`.
    pub fn exposition(metric: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Exposition { metric: metric.into(), reason: reason.to_string() }
    }
}

impl From<Error> for mlops_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Core(inner) => inner,
            // Not `External`: what the format forbids today it forbids tomorrow.
            Error::Exposition { metric, reason } => Self::invalid_data(format!("metric `{metric}`"), reason),
            delivery @ Error::Delivery { .. } => Self::external("alert sink", delivery),
        }
    }
}

impl From<mlops_core::arrow::error::ArrowError> for Error {
    fn from(error: mlops_core::arrow::error::ArrowError) -> Self {
        Self::Core(error.into())
    }
}
