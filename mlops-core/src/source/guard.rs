//! Foreign decoders of foreign bytes, fenced in.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use arrow::error::ArrowError;
use parquet::errors::ParquetError;

use super::local::shown;
use crate::{Error, Result};

/// Runs a piece of a decoder and names the file in whatever goes wrong.
///
/// The libraries check most of what a damaged file can do to them, but not all: some index past the end of short data,
/// and a panic there must not end a process that reads other people's files. The state that a panic may leave torn is
/// the reader's own, which is dropped and never used again; hence [`AssertUnwindSafe`].
pub(super) fn guard<T, E: Into<Failure>>(path: &Path, run: impl FnOnce() -> Result<T, E>) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(match error.into() {
            Failure::Cause(cause) => match cause.downcast::<std::io::Error>() {
                Ok(io) if io.kind() != std::io::ErrorKind::UnexpectedEof => Error::io(path, *io),
                Ok(io) => Error::invalid_data(shown(path), io),
                Err(other) => Error::invalid_data(shown(path), other),
            },
            Failure::Core(error) => error,
        }),
        Err(_panic) => Err(Error::invalid_data(shown(path), "damaged: it does not hold what its headers say")),
    }
}

/// As [`guard`], but for writing: what goes wrong lies with the storage, not with the content.
pub(super) fn guard_write<T, E: Into<Failure>>(path: &Path, run: impl FnOnce() -> Result<T, E>) -> Result<T> {
    guard(path, run).map_err(|error| match error {
        Error::InvalidData { reason, .. } => Error::io(path, std::io::Error::other(reason)),
        other => other,
    })
}

/// What a guarded piece of code may fail with.
pub(super) enum Failure {
    Cause(crate::error::Cause),
    Core(Error),
}

impl From<ParquetError> for Failure {
    fn from(error: ParquetError) -> Self {
        match error {
            ParquetError::External(cause) => Self::Cause(cause),
            error => Self::Cause(Box::new(error)),
        }
    }
}

impl From<ArrowError> for Failure {
    fn from(error: ArrowError) -> Self {
        match error {
            ArrowError::IoError(_, cause) => Self::Cause(Box::new(cause)),
            ArrowError::ExternalError(cause) => Self::Cause(cause),
            error => Self::Cause(Box::new(error)),
        }
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Cause(Box::new(error))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Core(error)
    }
}
