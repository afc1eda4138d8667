//! What can go wrong, sorted by what the caller does next.

use std::fmt::Display;

/// Result of everything that can fail in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Failures of `mlops-registry`.
///
/// Findings about a model (a gate that refuses, a metric that fell) are values, never errors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A failure that every crate of the family knows: see [`mlops_core::Error`].
    #[error(transparent)]
    Core(#[from] mlops_core::Error),
    /// The thing was written in a format that this version does not read: read it with the version that wrote it.
    #[error("{what} is of format {found}, this version reads format {known}")]
    Format {
        /// The stored thing.
        what: &'static str,
        /// The format number that it carries.
        found: u32,
        /// The newest format number that is known here.
        known: u32,
    },
}

impl Error {
    /// `value` of `setting` is outside `domain`.
    pub fn invalid(setting: &'static str, value: impl Display, domain: &'static str) -> Self {
        Self::Core(mlops_core::Error::invalid(setting, value, domain))
    }

    /// Content of `what` cannot be read as what it should be.
    pub fn invalid_data(what: impl Into<String>, reason: impl Display) -> Self {
        Self::Core(mlops_core::Error::invalid_data(what, reason))
    }

    /// The named thing does not exist.
    pub fn not_found(kind: &'static str, name: impl Into<String>) -> Self {
        Self::Core(mlops_core::Error::not_found(kind, name))
    }

    /// Stored bytes of `what` are damaged.
    pub fn corrupt(what: impl Into<String>, reason: impl Display) -> Self {
        Self::Core(mlops_core::Error::corrupt(what, reason))
    }

    /// An outside `system` failed.
    pub fn external(system: &'static str, source: impl Into<mlops_core::error::Cause>) -> Self {
        Self::Core(mlops_core::Error::external(system, source))
    }
}

impl From<mlops_core::arrow::error::ArrowError> for Error {
    fn from(error: mlops_core::arrow::error::ArrowError) -> Self {
        Self::Core(error.into())
    }
}

/// So that implementations of core's traits can use `?` on failures of this crate.
impl From<Error> for mlops_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Core(core) => core,
            other => Self::external("registry", other),
        }
    }
}
