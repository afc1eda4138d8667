//! What went wrong, and whether it may pass.

use std::io;

use tokio_postgres::error::{DbError, SqlState};

use crate::Error;

/// Why something did not work.
#[derive(Debug)]
pub struct Failure<E = Error> {
    /// What the caller is told.
    pub error: E,
    /// Whether a new connection may well do better.
    pub passing: bool,
    /// Whether all that is known is that the connection ended: its [`Link`](super::Link) may know why.
    pub closed: bool,
}

impl<E> Failure<E> {
    /// The same failure, told otherwise.
    pub fn map<F>(self, told: impl FnOnce(E) -> F) -> Failure<F> {
        Failure { error: told(self.error), passing: self.passing, closed: self.closed }
    }
}

impl<E> From<E> for Failure<E> {
    fn from(error: E) -> Self {
        Self { error, passing: false, closed: false }
    }
}

/// Whether the two sides did not agree on TLS, or this one does not trust the other.
pub(super) fn is_of_tls(error: &tokio_postgres::Error) -> bool {
    let io = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    io.and_then(io::Error::get_ref).is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}

pub(super) fn is_refusal(code: &SqlState) -> bool {
    code.code().starts_with("28") || *code == SqlState::INSUFFICIENT_PRIVILEGE
}

/// Whether a server that says `code` may say something else in a moment.
pub(super) fn is_passing(code: &SqlState) -> bool {
    code.code().starts_with("08")
        || [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::TOO_MANY_CONNECTIONS,
            // A replica had to choose between this query and the changes that it replays.
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
        ]
        .contains(code)
}

/// What the server said, without what may quote a value of a row or who asked.
pub(super) fn words(told: &DbError) -> String {
    let code = told.code().code();
    let about_the_query = ["08", "0A", "25", "3D", "3F", "40", "42", "53", "54", "55", "57", "58"];
    if about_the_query.iter().any(|class| code.starts_with(class)) {
        format!("{} ({code})", told.message())
    } else {
        format!("error {code}; its message may quote what it must not and is not shown")
    }
}
