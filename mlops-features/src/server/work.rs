//! Pushes, writes and materializations.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::datatypes::{Field, Schema as ArrowSchema};
use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use mlops_core::schema::Role;
use mlops_core::{EventTime, Name, Window};
use serde::Deserialize;
use serde_json::{Value, json};

use super::FeatureHttp;
use super::ask::typed;
use super::problem::Problem;
use crate::error::Core;
use crate::ingest::{Push, Target};
use crate::materialize::{MaterializeOptions, Materializer, Range};
use crate::view::FeatureView;

/// Columns as they are sent.
type Columns = BTreeMap<String, Vec<Value>>;

/// Runs `work`, which waits for stores, on a thread that may wait.
pub(super) async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|_| Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the work did not come to its end")))
}

#[derive(Debug, Deserialize)]
pub(super) struct PushRequest {
    push_source_name: String,
    df: Columns,
    #[serde(default = "online")]
    to: Target,
    #[serde(default, rename = "allow_registry_cache")]
    _cache: bool,
    #[serde(default, rename = "transform_on_write")]
    _transform: bool,
}

fn online() -> Target {
    Target::Online
}

impl PushRequest {
    pub(super) fn run(&self, http: &FeatureHttp) -> Result<(), Problem> {
        let name = &self.push_source_name;
        let missing = || Problem::unknown("PushSourceNotFoundException", format!("push source `{name}` not found"));
        let push = http.0.pushes.get(name).ok_or_else(missing)?;
        push.push(&rows(push.view(), &self.df)?, self.to)?;
        Ok(())
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct WriteRequest {
    feature_view_name: String,
    df: Columns,
    #[serde(default, rename = "allow_registry_cache")]
    _cache: bool,
    #[serde(default, rename = "transform_on_write")]
    _transform: bool,
}

impl WriteRequest {
    pub(super) fn run(&self, http: &FeatureHttp) -> Result<(), Problem> {
        let view = http.0.view(&self.feature_view_name)?.clone();
        let push = Push::builder(view).online(http.0.store.clone()).gate(http.0.gate.clone()).build()?;
        push.push(&rows(push.view(), &self.df)?, Target::Online)?;
        Ok(())
    }
}

/// Columns as rows of `view`. Times may have the names that Feast's client gives them; columns of other names are left out, and
/// a created time that is missing is null.
fn rows(view: &FeatureView, columns: &Columns) -> Result<RecordBatch, Problem> {
    let count = columns.values().next().map_or(0, Vec::len);
    if let Some((name, _)) = columns.iter().find(|(_, values)| values.len() != count) {
        return Err(Problem::unprocessable(format!("column `{name}` of `df` is not as long as the others")));
    }
    let schema = view.schema();
    let column = |field: &Arc<Field>| -> Result<ArrayRef, Problem> {
        let role = schema.role(field.name()).map_err(crate::Error::from)?;
        let feast = match role {
            Role::EventTime => columns.get("event_timestamp"),
            Role::CreatedTime => columns.get("created"),
            _ => None,
        };
        match columns.get(field.name()).or(feast) {
            Some(values) => Ok(typed(field.name(), field.data_type(), values)?),
            None if role == Role::CreatedTime => Ok(new_null_array(field.data_type(), count)),
            None => Err(Problem::unprocessable(format!("column `{}` of `df` is missing", field.name()))),
        }
    };
    let fields = schema.arrow().fields();
    let arrays = fields.iter().map(column).collect::<Result<Vec<_>, _>>()?;
    let fields: Vec<Field> = fields.iter().map(|field| field.as_ref().clone().with_nullable(true)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    let batch = RecordBatch::try_new_with_options(Arc::new(ArrowSchema::new(fields)), arrays, &options);
    Ok(batch.map_err(crate::Error::from)?)
}

#[derive(Debug, Deserialize)]
pub(super) struct MaterializeRequest {
    start_ts: Option<String>,
    end_ts: Option<String>,
    #[serde(default)]
    feature_views: Option<Vec<String>>,
}

impl MaterializeRequest {
    pub(super) fn views(&self) -> Option<Vec<String>> {
        self.feature_views.clone()
    }

    /// From the beginning, or from `start_ts`, up to `end_ts` and with it.
    pub(super) fn range(&self) -> Result<Range, Problem> {
        let time =
            |text: &Option<String>| text.as_deref().map(EventTime::parse).transpose().map_err(crate::Error::from);
        let start = time(&self.start_ts)?.unwrap_or(EventTime::from_micros(i64::MIN));
        let end = time(&self.end_ts)?.unwrap_or(EventTime::from_micros(i64::MAX));
        let end = EventTime::from_micros(end.as_micros().saturating_add(1));
        Ok(Range::Window(Window::new(start, end).map_err(crate::Error::from)?))
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct IncrementalRequest {
    /// Not needed: what arrived counts, whatever its event time.
    #[serde(default, rename = "end_ts")]
    _end: Option<String>,
    #[serde(default)]
    feature_views: Option<Vec<String>>,
}

impl IncrementalRequest {
    pub(super) fn views(&self) -> Option<Vec<String>> {
        self.feature_views.clone()
    }
}

/// Brings `names`, or all stored views, online; answers at once when it is to go on in the background.
pub(super) async fn materialize(
    http: FeatureHttp,
    names: Option<Vec<String>>,
    range: Range,
    background: bool,
) -> Result<Response, Problem> {
    let live = |view: &&FeatureView| !http.0.windows.iter().any(|window| window.name() == view.name());
    let views: Vec<FeatureView> = match &names {
        Some(names) => names.iter().map(|name| http.0.view(name).cloned()).collect::<Result<_, _>>()?,
        None => http.0.views.iter().filter(live).cloned().collect(),
    };
    if http.0.offline.is_none() {
        return Err(crate::Error::from(Core::not_found("history", "of this service")).into());
    }
    let told: Vec<String> = views.iter().map(|view| view.name().to_string()).collect();
    let claim = Claim::take(&http, views.iter().map(|view| view.name().clone()).collect())?;
    let work = move || {
        let http = &claim.http;
        views.iter().try_for_each(|view| {
            let Some(offline) = &http.0.offline else { return Ok(()) };
            let options = MaterializeOptions::builder().range(range).build()?;
            let materializer = Materializer::new(&**offline, &*http.0.store, view).options(options);
            materializer.gate(http.0.gate.clone()).run(&mut |_| true)?;
            Ok(())
        })
    };
    if background {
        drop(tokio::task::spawn_blocking(work));
        let accepted = json!({ "status": "accepted", "feature_views": told });
        return Ok((StatusCode::ACCEPTED, Json(accepted)).into_response());
    }
    off_the_runtime(work).await?;
    Ok(().into_response())
}

/// Views that nobody else materializes as long as this is there.
struct Claim {
    http: FeatureHttp,
    views: Vec<Name>,
}

impl Claim {
    fn take(http: &FeatureHttp, views: Vec<Name>) -> Result<Self, Problem> {
        let mut busy = http.0.busy.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(taken) = views.iter().find(|view| busy.contains(*view)) {
            let detail = format!("feature view `{taken}` is being materialized");
            return Err(Problem::new(StatusCode::CONFLICT, detail));
        }
        busy.extend(views.iter().cloned());
        Ok(Self { http: http.clone(), views })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        let mut busy = self.http.0.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.retain(|view| !self.views.contains(view));
    }
}
