//! Questions for feature vectors.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field};
use serde::Deserialize;
use serde_json::Value;

use super::FeatureHttp;
use super::answer;
use super::problem::Problem;
use crate::error::Result;
use crate::json;
use crate::serve::{Request, ServingPlan};

/// Most entities of one request.
const ENTITIES_MAX: usize = 100_000;

#[derive(Debug, Deserialize)]
pub(super) struct FeaturesRequest {
    #[serde(default)]
    feature_service: Option<String>,
    #[serde(default)]
    features: Option<Vec<String>>,
    entities: BTreeMap<String, Vec<Value>>,
    #[serde(default)]
    full_feature_names: bool,
    /// Asks for versions of views in the metadata, of which there are none to tell.
    #[serde(default, rename = "include_feature_view_version_metadata")]
    _versions: bool,
}

impl FeaturesRequest {
    /// The answer as JSON.
    pub(super) async fn answer(&self, http: &FeatureHttp) -> Result<Vec<u8>, Problem> {
        let (server, plan) = match (&self.feature_service, &self.features) {
            (Some(name), None) => http.service(name)?,
            (None, Some(features)) if !features.is_empty() => {
                let server = http.list(features, self.full_feature_names)?;
                let plan = server.plan();
                (server, plan)
            }
            _ => return Err(Problem::unprocessable("either `features` or `feature_service` must be given")),
        };
        let entities = self.entities(&plan)?;
        let now = http.0.clock.now();
        let mut request = Request::new(&entities, now).reader(&http.0.reader);
        if let Some(name) = &self.feature_service {
            request = request.service(name);
        }
        let vectors = server.answer(&[request]).await?;
        let Some(vectors) = vectors.first() else { return Err(Problem::unprocessable("no answer")) };
        let full_names = (self.feature_service.is_some() && self.full_feature_names).then_some(&plan);
        Ok(answer::json(&entities, vectors, full_names, now)?)
    }

    /// The columns that `plan` asks a caller for, keys first.
    fn entities(&self, plan: &ServingPlan) -> Result<RecordBatch, Problem> {
        let schema = plan.caller_schema();
        let rows = self.entities.values().next().map_or(0, Vec::len);
        if rows > ENTITIES_MAX {
            return Err(Problem::unprocessable(format!("{rows} entities in one request, at most {ENTITIES_MAX}")));
        }
        if let Some((name, _)) = self.entities.iter().find(|(_, values)| values.len() != rows) {
            return Err(Problem::unprocessable(format!("entity column `{name}` is not as long as the others")));
        }
        let column = |field: &Field| -> Result<ArrayRef, Problem> {
            let missing = || Problem::unprocessable(format!("entity column `{}` is missing", field.name()));
            let values = self.entities.get(field.name()).ok_or_else(missing)?;
            Ok(typed(field.name(), field.data_type(), values)?)
        };
        let columns = schema.fields().iter().map(|field| column(field)).collect::<Result<Vec<_>, _>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(schema.clone(), columns, &options);
        Ok(batch.map_err(crate::Error::from)?)
    }
}

/// A column from what came over the wire, where numbers for instants are seconds since the epoch.
///
/// # Errors
/// As [`json::column`]; so many seconds that microseconds cannot hold them are no instant.
pub(super) fn typed(name: &str, target: &DataType, values: &[Value]) -> Result<ArrayRef> {
    let DataType::Timestamp(..) = target else { return json::column(name, target, values.iter().map(Some)) };
    let micros = |value: &Value| match value {
        Value::Number(seconds) => {
            let micros = seconds.as_i64().and_then(|seconds| seconds.checked_mul(1_000_000));
            // Truth values are no instants either, and refused with their row.
            micros.map_or(Value::Bool(false), Value::from)
        }
        other => other.clone(),
    };
    let values: Vec<Value> = values.iter().map(micros).collect();
    json::column(name, target, values.iter().map(Some))
}
