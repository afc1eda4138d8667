//! What went wrong, as a status and a body.

use axum::Json;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use crate::error::{Core, Error};

/// An answer that is no result.
#[derive(Debug)]
pub(super) struct Problem {
    status: StatusCode,
    detail: String,
    /// The exception that Feast's client raises for it.
    class: Option<&'static str>,
}

/// Reads a body as what it should be.
pub(super) fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Problem> {
    // An array would be taken for the members in their order.
    if body.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        return Err(Problem::unprocessable("the body is not a JSON object"));
    }
    // The parser tells what was expected and where; values of a wrong kind are quoted by it, so only the place is told.
    serde_json::from_slice(body).map_err(|e| {
        let (line, column) = (e.line(), e.column());
        let what = if e.is_data() { "is not a request of this path" } else { "is not JSON" };
        Problem::new(StatusCode::UNPROCESSABLE_ENTITY, format!("the body {what}: line {line}, column {column}"))
    })
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self { status, detail: detail.into(), class: None }
    }

    pub(super) fn unprocessable(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
    }

    /// A name that nothing has, with the class that Feast's client knows it by.
    pub(super) fn unknown(class: &'static str, detail: impl Into<String>) -> Self {
        Self { status: StatusCode::NOT_FOUND, detail: detail.into(), class: Some(class) }
    }
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        let detail = error.to_string();
        let Error::Core(core) = &error else { return Self::unprocessable(detail) };
        let status = match core {
            Core::NotFound { .. } => return Self::unknown("FeatureViewNotFoundException", detail),
            Core::Forbidden { .. } => StatusCode::FORBIDDEN,
            Core::Conflict { .. } => StatusCode::CONFLICT,
            Core::Busy { .. } | Core::External { .. } => StatusCode::SERVICE_UNAVAILABLE,
            Core::Io { .. } | Core::Corrupt { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::UNPROCESSABLE_ENTITY,
        };
        Self::new(status, detail)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let Some(class) = self.class else {
            return (self.status, Json(json!({ "detail": self.detail }))).into_response();
        };
        // A text of JSON within JSON, which is what Feast's client takes apart.
        let told = json!({ "module": "feast.errors", "class": class, "message": self.detail }).to_string();
        let body = serde_json::Value::String(told).to_string();
        (self.status, [(CONTENT_TYPE, "application/json")], body).into_response()
    }
}
