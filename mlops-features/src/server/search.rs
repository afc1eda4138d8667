//! Neighbours of a vector.

use std::sync::Arc;

use mlops_core::EventTime;
use serde::Deserialize;
use serde_json::{Value, json};

use super::FeatureHttp;
use super::answer;
use super::problem::Problem;
use super::work::off_the_runtime;
use crate::define::FeatureRef;
use crate::error::Core;
use crate::serve::Request;
use crate::vector::{Neighbours, Search, VectorStore};

/// What Feast's client sends. The metric is that of the index whatever it asks for, as in Feast where the field names one.
#[derive(Debug, Deserialize)]
pub(super) struct SearchRequest {
    #[serde(default)]
    features: Vec<String>,
    #[serde(default)]
    feature_service: Option<String>,
    #[serde(default)]
    query: Option<Value>,
    #[serde(default)]
    top_k: Option<usize>,
    #[serde(default)]
    query_string: Option<String>,
    #[serde(default)]
    filters: Option<Value>,
}

impl SearchRequest {
    /// The answer as JSON: the features asked for, column by column, and the `distance` of each neighbour.
    pub(super) async fn answer(self, http: &FeatureHttp) -> Result<Vec<u8>, Problem> {
        if self.feature_service.is_some() || self.query_string.is_some() || self.filters.is_some() {
            let detail =
                "`feature_service`, `query_string` and `filters` are not searched by; give `features` and `query`";
            return Err(Problem::unprocessable(detail));
        }
        let missing = |what: &str| Problem::unprocessable(format!("`{what}` must be given"));
        let query = self.query.as_ref().filter(|query| query.is_array()).ok_or_else(|| missing("query"))?;
        let k = self.top_k.ok_or_else(|| missing("top_k"))?;
        let store = self.store(http, query.as_array().map_or(0, Vec::len))?;
        let feature = store.feature();
        let queries =
            crate::json::column(feature.name.as_str(), &feature.value_type.data_type(), std::iter::once(Some(query)))?;
        let now = http.0.clock.now();
        let house = http.clone();
        let near = off_the_runtime(move || {
            let search = Search::new(k, now).reader(&house.0.reader);
            Ok(store.nearest(&queries, &search)?)
        });
        self.told(http, &near.await?, now).await
    }

    async fn told(&self, http: &FeatureHttp, near: &Neighbours, now: EventTime) -> Result<Vec<u8>, Problem> {
        let server = http.list(&self.features, false)?;
        let request = Request::new(near.entities(), now).reader(&http.0.reader);
        let answers = server.answer(&[request]).await?;
        let Some(vectors) = answers.first() else { return Err(Problem::unprocessable("no answer")) };
        let told = answer::json(near.entities(), vectors, None, now)?;
        let broken = |e| Problem::from(crate::Error::from(Core::invalid_data("answer", e)));
        let mut told: Value = serde_json::from_slice(&told).map_err(broken)?;
        let event_times: Vec<String> =
            near.event_times().values().iter().map(|at| EventTime::from_micros(*at).to_string()).collect();
        let distances = json!({
            "values": near.distances().values().as_ref() as &[f32],
            "statuses": vec!["PRESENT"; event_times.len()],
            "event_timestamps": event_times,
        });
        if let Some(names) = told["metadata"]["feature_names"].as_array_mut() {
            names.push("distance".into());
        }
        if let Some(results) = told["results"].as_array_mut() {
            results.push(distances);
        }
        serde_json::to_vec(&told).map_err(broken)
    }

    /// The vectors of the one view that features are asked of.
    fn store(&self, http: &FeatureHttp, dimensions: usize) -> Result<Arc<VectorStore>, Problem> {
        let features = self.features.iter().map(|text| text.parse()).collect::<Result<Vec<FeatureRef>, _>>()?;
        let Some(first) = features.first() else { return Err(Problem::unprocessable("`features` must be given")) };
        if features.iter().any(|other| other.view != first.view) {
            return Err(Problem::unprocessable("the features of one search are of one view"));
        }
        http.0.view(first.view.as_str())?;
        let of_view = || http.0.vectors.iter().filter(|store| store.view().name() == &first.view);
        let is_named = |store: &Arc<VectorStore>| features.iter().any(|one| one.feature == store.feature().name);
        let fits = |store: &Arc<VectorStore>| usize::from(store.index().dimensions()) == dimensions;
        let by_name = of_view().find(|store| is_named(store) && fits(store));
        let found = by_name.or_else(|| of_view().find(|store| fits(store)));
        found.cloned().ok_or_else(|| {
            let all: Vec<String> = of_view().map(|store| store.index().dimensions().to_string()).collect();
            let has = if all.is_empty() {
                "no vectors that can be searched".to_owned()
            } else {
                format!("vectors of {} numbers", all.join(", "))
            };
            Problem::unprocessable(format!("feature view `{}` has {has}, the query {dimensions}", first.view))
        })
    }
}
