//! What can go wrong, sorted by what the caller does next.

use std::path::PathBuf;

/// A cause from another library, boxed so that no foreign type shows.
pub type Cause = Box<dyn std::error::Error + Send + Sync + 'static>;

/// Result of everything that can fail in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Failures of `mlops-core`, and of its traits wherever they are implemented.
///
/// Findings about data (a failed check, a drifted column) are values, never errors.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The named thing does not exist: create it or fix the name.
    #[error("{kind} `{name}` not found")]
    NotFound {
        /// What was looked for, such as `column` or `data set`.
        kind: &'static str,
        /// The name that was asked for.
        name: String,
    },
    /// The named thing exists and must not be replaced: choose another name.
    #[error("{kind} `{name}` already exists")]
    AlreadyExists {
        /// What was to be created.
        kind: &'static str,
        /// The name that is taken.
        name: String,
    },
    /// A setting or argument is outside its domain: fix the call.
    #[error("{setting} = {value} is not {domain}")]
    Invalid {
        /// The setting or argument.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What would have been accepted.
        domain: &'static str,
    },
    /// Data does not have the shape that was promised: fix the data or the schema.
    #[error("column `{column}`: expected {expected}, found {found}")]
    Schema {
        /// The column that differs.
        column: String,
        /// The shape that was promised.
        expected: String,
        /// The shape that is there.
        found: String,
    },
    /// Content from outside cannot be read as what it should be: fix or drop the input.
    #[error("{what}: {reason}")]
    InvalidData {
        /// The file, row or message.
        what: String,
        /// Why it was refused.
        reason: String,
    },
    /// Stored bytes are not those that were written: restore or rebuild them.
    #[error("{what} is corrupt: {reason}")]
    Corrupt {
        /// The stored thing.
        what: String,
        /// How it was noticed.
        reason: String,
    },
    /// Checks or gates did not hold: look at their report, then fix the thing or keep what is there.
    #[error("{what} did not pass: {}", failed.join(", "))]
    Rejected {
        /// What was judged.
        what: String,
        /// Ids of what did not hold.
        failed: Vec<String>,
    },
    /// The caller may not do this: ask the owner.
    #[error("{who} may not {action} {what}")]
    Forbidden {
        /// Who asked.
        who: String,
        /// The verb that was refused.
        action: &'static str,
        /// The thing it was refused on.
        what: String,
    },
    /// Somebody else changed the thing meanwhile: read it again and retry.
    #[error("{kind} `{name}` changed: expected revision {expected}, found {found}")]
    Conflict {
        /// What was to be changed.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The revision that the caller knew.
        expected: String,
        /// The revision that is there.
        found: String,
    },
    /// The thing is in use by another process: try later.
    #[error("{what} is in use")]
    Busy {
        /// The file or service.
        what: String,
    },
    /// The time that the caller allowed is over: retry with more time or answer without.
    #[error("deadline passed in {stage}")]
    Deadline {
        /// What was running when time was up.
        stage: String,
    },
    /// The caller asked to stop.
    #[error("cancelled in {stage}")]
    Cancelled {
        /// What was running.
        stage: String,
    },
    /// A file operation failed; `path` says where.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// An outside system failed; the cause is in `source`.
    #[error("{system}: {source}")]
    External {
        /// Which system.
        system: &'static str,
        /// What it said.
        source: Cause,
    },
    /// A step of a composition failed; the cause is in `source`.
    #[error("{stage}: {source}")]
    Stage {
        /// The step or stage, by the name that the host gave it.
        stage: String,
        /// What it said.
        source: Cause,
    },
}

impl Error {
    /// The named thing does not exist.
    pub fn not_found(kind: &'static str, name: impl Into<String>) -> Self {
        Self::NotFound { kind, name: name.into() }
    }

    /// `value` of `setting` is outside `domain`.
    pub fn invalid(setting: &'static str, value: impl std::fmt::Display, domain: &'static str) -> Self {
        Self::Invalid { setting, value: value.to_string(), domain }
    }

    /// A column is not of the type that was promised.
    pub fn schema(column: impl Into<String>, expected: impl std::fmt::Display, found: impl std::fmt::Display) -> Self {
        Self::Schema { column: column.into(), expected: expected.to_string(), found: found.to_string() }
    }

    /// Content of `what` cannot be read.
    pub fn invalid_data(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::InvalidData { what: what.into(), reason: reason.to_string() }
    }

    /// Stored bytes of `what` are damaged.
    pub fn corrupt(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Corrupt { what: what.into(), reason: reason.to_string() }
    }

    /// A file operation on `path` failed.
    pub fn io(path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Self::Io { path: path.into(), source }
    }

    /// An outside `system` failed.
    pub fn external(system: &'static str, source: impl Into<Cause>) -> Self {
        Self::External { system, source: source.into() }
    }

    /// A `stage` of a composition failed.
    pub fn stage(stage: impl Into<String>, source: impl Into<Cause>) -> Self {
        Self::Stage { stage: stage.into(), source: source.into() }
    }
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::External { system: "arrow", source: Box::new(error) }
    }
}
