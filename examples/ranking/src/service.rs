//! The ranking pipeline of the service: asked candidates, their features, a click model, exploration, and the log.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use mlops_core::arrow::array::{Array, AsArray, Int64Array, RecordBatch, StringArray};
use mlops_core::arrow::datatypes::{DataType, Field};
use mlops_core::rank::{Budget, CandidateSource, Query, RankPipeline};
use mlops_core::{Error, Name, async_trait};
use mlops_features::FeatureServiceHydrator;
use mlops_monitor::log::PredictionLog;
use mlops_registry::serve::ServedModel;

use crate::Result;
use crate::derive::DerivedFeatures;
use crate::explore::Explore;
use crate::features::Features;
use crate::history::Catalogue;

/// Most candidates of one request.
pub const CANDIDATES_MAX: usize = 1_000;

/// The objective that is scored.
pub const OBJECTIVE: &str = "click";

/// What the context of a request holds: who asks, and what may be shown, as ids separated by commas.
pub fn context() -> [Field; 2] {
    [Field::new("customer_id", DataType::Int64, false), Field::new("candidates", DataType::Utf8, false)]
}

/// The candidates that the caller names: who may be offered what is decided elsewhere.
#[derive(Debug)]
pub struct Asked {
    name: Name,
    catalogue: Catalogue,
}

impl Asked {
    /// A source of offers of `catalogue`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `name` is not a [`Name`].
    pub fn new(name: &str, catalogue: Catalogue) -> mlops_core::Result<Self> {
        Ok(Self { name: Name::new(name)?, catalogue })
    }
}

#[async_trait]
impl CandidateSource for Asked {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fields(&self) -> Vec<Field> {
        vec![
            Field::new("offer_id", DataType::Int64, false),
            Field::new("category", DataType::Utf8, false),
            Field::new("maker", DataType::Utf8, false),
        ]
    }

    /// Offers that are not in the catalogue, and repetitions, are left out; what is no list of ids is an error.
    async fn retrieve(&self, query: &Query, limit: usize, _: Budget) -> mlops_core::Result<RecordBatch> {
        let column = query.context().column_by_name("candidates");
        let column = column.ok_or_else(|| Error::not_found("context column", "candidates"))?;
        let texts = column.as_string_opt::<i32>().filter(|texts| texts.len() == 1 && texts.is_valid(0));
        let text =
            texts.ok_or_else(|| Error::schema("candidates", "ids separated by commas", column.data_type()))?.value(0);
        let (mut seen, mut ids) = (BTreeSet::new(), Vec::new());
        let (mut categories, mut makers) = (Vec::new(), Vec::new());
        for part in text.split(',').filter(|part| !part.is_empty()) {
            let id: i64 =
                part.parse().map_err(|_| Error::schema("candidates", "ids separated by commas", "another text"))?;
            let Some((category, maker)) = self.catalogue.of(id) else { continue };
            if ids.len() < limit && seen.insert(id) {
                ids.push(id);
                categories.push(category);
                makers.push(maker);
            }
        }
        let schema = mlops_core::arrow::datatypes::Schema::new(CandidateSource::fields(self));
        let columns = vec![
            Arc::new(Int64Array::from(ids)) as _,
            Arc::new(StringArray::from(categories)) as _,
            Arc::new(StringArray::from(makers)) as _,
        ];
        Ok(RecordBatch::try_new(Arc::new(schema), columns)?)
    }
}

/// A log of every answer, with the features as they were used.
///
/// # Errors
/// None in practice: the columns are fixed.
pub fn log(features: &Features) -> Result<PredictionLog> {
    let log = PredictionLog::builder(Name::new("impressions")?, Field::new("offer_id", DataType::Int64, false))
        .objective(Name::new(OBJECTIVE)?)
        .feature(Field::new("category", DataType::Utf8, true))
        .feature(Field::new("maker", DataType::Utf8, true))
        .context(Field::new("customer_id", DataType::Int64, true))
        .requests_max(65_536);
    Ok(features.logged().into_iter().fold(log, mlops_monitor::log::PredictionLogBuilder::feature).build()?)
}

/// How the page is made.
#[derive(Clone, Copy, Debug)]
pub struct PageSettings {
    /// Share of the requests that explore.
    pub explore: f64,
    /// Temperature of their noise.
    pub temperature: f64,
    /// When an answer must be out.
    pub deadline: Duration,
}

/// The pipeline of the service.
///
/// # Errors
/// When the model wants what the features do not make.
pub fn pipeline(
    features: &Features,
    model: Arc<ServedModel>,
    log: Arc<PredictionLog>,
    page: PageSettings,
) -> Result<RankPipeline> {
    let derived = DerivedFeatures::new(Name::new("derived")?, features.at_request());
    let stored = FeatureServiceHydrator::new(Name::new("features")?, Arc::new(features.server()));
    let asked = Asked::new("asked", features.history().catalogue().clone())?;
    Ok(RankPipeline::builder("offers")
        .source(Arc::new(asked), CANDIDATES_MAX)
        .hydrator(Arc::new(stored))
        .hydrator(Arc::new(derived))
        .scorer(model, 1.0)
        .selector(Arc::new(Explore::new("page", page.explore, page.temperature)?))
        .observer(log)
        .deadline(page.deadline)
        .build()?)
}

#[cfg(test)]
mod tests {
    use mlops_core::EventTime;
    use mlops_core::arrow::array::ArrayRef;
    use mlops_core::rank::RequestId;

    use super::*;

    fn retrieve(text: &str, limit: usize) -> mlops_core::Result<Vec<i64>> {
        let mut catalogue = Catalogue::default();
        [3, 5, 8].into_iter().for_each(|id| catalogue.add(id, "data", "own"));
        let source = Asked::new("asked", catalogue)?;
        let context =
            RecordBatch::try_from_iter([("candidates", Arc::new(StringArray::from(vec![text])) as ArrayRef)])?;
        let query = Query::new(RequestId(1), EventTime::EPOCH, context, 10)?;
        let retrieved = pollster(source.retrieve(&query, limit, Budget { left: None }))?;
        Ok(retrieved.column(0).as_primitive::<mlops_core::arrow::datatypes::Int64Type>().values().to_vec())
    }

    fn pollster<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    #[test]
    fn known_candidates_come_once_in_the_order_asked() {
        assert_eq!(retrieve("5,3,5,99,8", 10).unwrap(), [5, 3, 8]);
        assert_eq!(retrieve("5,3,8", 2).unwrap(), [5, 3]);
        assert_eq!(retrieve("", 10).unwrap(), [0_i64; 0]);
    }

    #[test]
    fn what_is_no_list_of_ids_is_refused_by_name() {
        for bad in ["x", "1;2", "1, 2", "9223372036854775808"] {
            assert!(retrieve(bad, 10).unwrap_err().to_string().contains("candidates"), "{bad}");
        }
    }
}
