//! Why a request was not answered, as `application/problem+json`.

use std::borrow::Cow;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// Content type of a problem.
pub(super) const PROBLEM_JSON: &str = "application/problem+json";

/// Longest piece of what a caller sent that is repeated to it, in characters.
const SHOWN_MAX: usize = 64;

/// Why a request was not answered (RFC 9457), with a code for programs and the name of the thing.
///
/// Says nothing of paths, queries or causes inside of a stage: those go to the host's
/// [`FailureHook`](super::FailureHook).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{status} {title}: {detail}")]
pub struct Problem {
    /// The status in words.
    pub title: Cow<'static, str>,
    /// The HTTP status.
    pub status: u16,
    /// What kind of problem it is.
    pub code: ProblemCode,
    /// The field, header, stage or route.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What is wrong with it and what would have been accepted.
    pub detail: String,
}

/// Kinds of problems, by what the caller does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProblemCode {
    /// 400: the body is not JSON.
    NotJson,
    /// 400: a field is unknown, comes twice or is of the wrong JSON type; or a header is missing.
    BadField,
    /// 403: a page of another site sent this.
    ForeignOrigin,
    /// 404: there is no such route.
    UnknownRoute,
    /// 405: the route is there, under another method.
    WrongMethod,
    /// 408: the body did not come in time.
    BodyTimeout,
    /// 413: the body is too long.
    BodyTooLong,
    /// 415: the body is not declared as JSON.
    ContentType,
    /// 421: the request is for another host.
    ForeignHost,
    /// 422: a field that is needed is missing.
    MissingField,
    /// 422: a field has the right type and a value that is not accepted.
    BadValue,
    /// 500: the service is at fault.
    Internal,
    /// 503: a stage of the pipeline failed: try again later.
    StageFailed,
    /// 503: a stage of the pipeline was late: try again later.
    DeadlinePassed,
    /// 503: all connections are taken: try again later.
    Overloaded,
    /// 503: there is nothing to rank with yet.
    NotReady,
}

impl ProblemCode {
    /// The HTTP status of a problem of this kind.
    pub fn status(self) -> StatusCode {
        match self {
            Self::NotJson | Self::BadField => StatusCode::BAD_REQUEST,
            Self::ForeignOrigin => StatusCode::FORBIDDEN,
            Self::UnknownRoute => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::ContentType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::ForeignHost => StatusCode::MISDIRECTED_REQUEST,
            Self::MissingField | Self::BadValue => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::StageFailed | Self::DeadlinePassed | Self::Overloaded | Self::NotReady => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }
}

impl Problem {
    /// A problem of this kind.
    pub fn new(code: ProblemCode, detail: impl Into<String>) -> Self {
        let status = code.status();
        let title = Cow::Borrowed(status.canonical_reason().unwrap_or("Error"));
        Self { title, status: status.as_u16(), code, name: None, detail: detail.into() }
    }

    /// A problem with the thing `name`: the detail reads `name: reason`.
    pub(super) fn named(code: ProblemCode, name: &str, reason: impl std::fmt::Display) -> Self {
        let name = shown(name);
        Self { name: Some(name.clone()), ..Self::new(code, format!("{name}: {reason}")) }
    }

    /// The problem as a body.
    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("text and numbers are always JSON")
    }
}

/// The head of `text`, without anything that could harm a terminal or a log.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text.chars().take(SHOWN_MAX).flat_map(char::escape_default).collect();
    if text.chars().nth(SHOWN_MAX).is_some() {
        shown.push('…');
    }
    shown
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.code.status(), self.to_json()).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_the_thing_without_repeating_ten_kilobytes() {
        let problem = Problem::named(ProblemCode::BadField, &"é\0".repeat(10_000), "unknown");
        let text = String::from_utf8(problem.to_json()).unwrap();
        assert!(text.len() < 2_000 && text.is_ascii() || text.contains('…'), "{text}");
        assert!(!text.contains('\0'));
        assert_eq!(serde_json::from_str::<Problem>(&text).unwrap(), problem);
    }

    #[test]
    fn codes_are_written_in_snake_case_beside_their_status() {
        let text = String::from_utf8(Problem::new(ProblemCode::BodyTooLong, "9 bytes").to_json()).unwrap();
        let expected = r#"{"title":"Payload Too Large","status":413,"code":"body_too_long","detail":"9 bytes"}"#;
        assert_eq!(text, expected);
    }
}
