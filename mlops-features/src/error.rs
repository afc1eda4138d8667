//! What can go wrong in a feature store, sorted by what the caller does next.

/// Result of everything that can fail in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Failures of `mlops-features`, and of its traits wherever they are implemented.
///
/// A key that is not known or a value that is too old is an answer, never an error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A failure that the whole family shares.
    #[error(transparent)]
    Core(#[from] mlops_core::Error),
    /// Two columns of one output would have the same name: ask for full names or give a view an alias.
    #[error("column `{column}` comes from both {first} and {second}")]
    Collision {
        /// The name.
        column: String,
        /// The first of its origins.
        first: String,
        /// The second of its origins.
        second: String,
    },
    /// What is stored was written under a definition that this one cannot follow: give the view a new name.
    #[error("view `{view}`: {what} is stored as {stored}, but declared as {declared}")]
    Changed {
        /// The view.
        view: String,
        /// The feature or key that differs.
        what: String,
        /// What the store holds.
        stored: String,
        /// What the definition says.
        declared: String,
    },
    /// A view whose policy is to fail had no valid row for some of the keys: serve the request without these features, or
    /// not at all.
    #[error("view `{view}`: {not_found} of {keys} keys have no row, {outside_max_age} have one that is too old")]
    NoValidRow {
        /// The view, or its alias.
        view: String,
        /// Keys that were asked for.
        keys: usize,
        /// Those without a row.
        not_found: usize,
        /// Those whose row is older than the ttl.
        outside_max_age: usize,
    },
}

impl From<arrow::error::ArrowError> for Error {
    fn from(error: arrow::error::ArrowError) -> Self {
        Self::Core(error.into())
    }
}

impl From<Error> for mlops_core::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Core(core) => core,
            Error::Collision { column, first, second } => {
                Self::schema(column, "one origin", format!("{first} and {second}"))
            }
            Error::NoValidRow { view, .. } => Self::not_found("valid row of every key in view", view),
            Error::Changed { view, what, stored, declared } => Self::schema(format!("{view}:{what}"), declared, stored),
        }
    }
}

/// The variants of core's error, one call away.
pub(crate) use mlops_core::Error as Core;
