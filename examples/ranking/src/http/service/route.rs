//! What each route answers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use mlops_core::rank::{Query, RankOptions, RankPipeline, RequestId};
use mlops_core::{Clock, Error};

use super::answer;
use super::parse::Parser;
use super::{FailureHook, MetricsText, ModelInfo};
use crate::http::problem::{Problem, ProblemCode, shown};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
const OPEN_METRICS: HeaderValue =
    HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");

/// What all requests share.
pub(super) struct Shared {
    pub(super) pipeline: Arc<RankPipeline>,
    pub(super) parser: Parser,
    pub(super) body_bytes_max: usize,
    pub(super) body_timeout: Duration,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) ids: Ids,
    pub(super) metrics: Option<MetricsText>,
    pub(super) models: Option<ModelInfo>,
    pub(super) on_failure: Option<FailureHook>,
}

/// Ids of requests that bring none: time in the upper half, a count from a random start in the lower one.
#[derive(Debug)]
pub(super) struct Ids {
    next: AtomicU64,
}

impl Ids {
    pub(super) fn from(start: u64) -> Self {
        Self { next: AtomicU64::new(start) }
    }

    fn next(&self, clock: &dyn Clock) -> RequestId {
        let time = u128::from(clock.now().as_micros().cast_unsigned());
        RequestId(time << 64 | u128::from(self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

pub(super) fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/rank", post(rank))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .with_state(shared)
}

async fn rank(State(shared): State<Arc<Shared>>, request: Request) -> Response {
    match shared.rank(request).await {
        Ok(body) => ([(header::CONTENT_TYPE, JSON)], body).into_response(),
        Err(problem) => problem.into_response(),
    }
}

async fn health() -> Response {
    ([(header::CONTENT_TYPE, JSON)], r#"{"status":"alive"}"#).into_response()
}

async fn ready(State(shared): State<Arc<Shared>>) -> Response {
    let models = match shared.models.as_ref().map(|models| models()).transpose() {
        Ok(models) => models.unwrap_or_default(),
        Err(error) => {
            let name = match &error {
                Error::NotFound { name, .. } | Error::Stage { stage: name, .. } => name,
                _ => "model",
            };
            return Problem::named(ProblemCode::NotReady, name, "not there yet").into_response();
        }
    };
    let models: BTreeMap<&str, &str> = models.iter().map(|(name, version)| (name.as_str(), &**version)).collect();
    let body = serde_json::json!({ "status": "ready", "models": models });
    ([(header::CONTENT_TYPE, JSON)], body.to_string()).into_response()
}

async fn metrics(State(shared): State<Arc<Shared>>, uri: Uri) -> Response {
    match &shared.metrics {
        Some(metrics) => ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics()).into_response(),
        None => unknown(uri).await,
    }
}

async fn unknown(uri: Uri) -> Response {
    Problem::named(ProblemCode::UnknownRoute, uri.path(), "no such route").into_response()
}

async fn wrong_method(method: Method, uri: Uri) -> Response {
    let reason = format!("not under {}", shown(method.as_str()));
    Problem::named(ProblemCode::WrongMethod, uri.path(), reason).into_response()
}

impl Shared {
    async fn rank(&self, request: Request) -> Result<Vec<u8>, Problem> {
        let (head, body) = request.into_parts();
        check_type(&head.headers)?;
        let body = self.read(&head.headers, body).await?;
        let asked = self.parser.parse(&body)?;
        drop(body);
        let id = asked.id.unwrap_or_else(|| self.ids.next(&*self.clock));
        let at = asked.at.unwrap_or_else(|| self.clock.now());
        let query = Query::new(id, at, asked.context, asked.limit);
        let query = query.map_err(|e| Problem::named(ProblemCode::BadValue, "limit", e))?;
        let options = RankOptions { weights: asked.weights, deadline: None };
        // Stages that only compute are done in the first poll: nothing is handed over, no timer is set.
        let served = self.pipeline.rank_with(query, &options).await;
        let body = served.and_then(|served| answer::write(&served));
        body.map_err(|error| self.failed(id, &error, options.weights.is_some()))
    }

    async fn read(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
        let too_long = || {
            let detail = format!("the body is longer than {} bytes", self.body_bytes_max);
            Problem::new(ProblemCode::BodyTooLong, detail)
        };
        let declared = headers.get(header::CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        if declared.is_some_and(|length: usize| length > self.body_bytes_max) {
            return Err(too_long());
        }
        let read = Limited::new(body, self.body_bytes_max).collect();
        match tokio::time::timeout(self.body_timeout, read).await {
            Ok(Ok(body)) => Ok(body.to_bytes()),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_long()),
            Ok(Err(_)) => Err(Problem::new(ProblemCode::NotJson, "the body broke off")),
            Err(_) => {
                let detail = format!("the body did not come within {} ms", self.body_timeout.as_millis());
                Err(Problem::new(ProblemCode::BodyTimeout, detail))
            }
        }
    }

    fn failed(&self, id: RequestId, error: &Error, own_weights: bool) -> Problem {
        if let Error::NotFound { kind: kind @ ("objective" | "weight"), name } = error
            && own_weights
        {
            let reason = if *kind == "weight" { "needed and not given" } else { "no such objective" };
            return Problem::named(ProblemCode::BadValue, &format!("weights.by_objective.{name}"), reason);
        }
        if let Some(hook) = &self.on_failure {
            hook(id, error);
        }
        match error {
            Error::Deadline { stage } => Problem::named(ProblemCode::DeadlinePassed, stage, "late"),
            Error::Stage { stage, .. } => Problem::named(ProblemCode::StageFailed, stage, "failed"),
            _ => Problem::new(ProblemCode::Internal, "the request could not be answered"),
        }
    }
}

/// A body that is not declared as JSON is refused: a page of another site cannot send one that is without asking first.
fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let declared = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media = declared.map(|value| value.split_once(';').map_or(value, |(media, _)| media).trim());
    if media.is_some_and(|media| media.eq_ignore_ascii_case("application/json")) {
        return Ok(());
    }
    Err(Problem::named(ProblemCode::ContentType, "content-type", "expected application/json"))
}

/// Headers that every answer has.
pub(super) fn finish(mut response: Response, closing: bool) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if closing || response.status() == StatusCode::PAYLOAD_TOO_LARGE {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    response
}
