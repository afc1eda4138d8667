//! Neighbours as candidates of a ranking.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use async_trait::async_trait;
use mlops_core::Name;
use mlops_core::rank::{Budget, CandidateSource, Query};

use super::Metric;
use super::nearest::{NEIGHBOURS_MAX, Search};
use super::rows::{self, vectors};
use super::store::VectorStore;
use crate::columns::cast_exactly;
use crate::error::{Core, Result};
use crate::key::{Keys, pick};
use crate::online::{OnlineRead, OnlineStore};
use crate::view::FeatureView;

/// Candidates near the vector of who asks: the retrieval stage of a ranking with two towers.
///
/// The vector is a column of the request's context, or a feature of the asker that is read from the online store by the key
/// columns of the context. Who has no vector (none known, null, or past its view's ttl) gets no candidates from here.
///
/// Columns: the key of the candidates, and their `distance`. As many as the pipeline asks for, at most
/// [`NEIGHBOURS_MAX`](super::NEIGHBOURS_MAX).
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use mlops_core::rank::CandidateSource;
/// use mlops_features::online::MemoryStore;
/// use mlops_features::vector::{ExactIndex, Metric, NearestCandidates, VectorStore};
/// use mlops_features::{Entity, FeatureView, KeyType, ValueType};
///
/// let tower = |name: &str, key: &str| -> mlops_features::Result<FeatureView> {
///     let entity = Entity::builder(name).key(key, KeyType::Int64).build()?;
///     FeatureView::builder(format!("{name}_tower"), entity).feature("embedding", ValueType::Vector(64)).build()
/// };
/// let (items, users) = (tower("item", "item_id")?, tower("user", "user_id")?);
/// let index = Arc::new(ExactIndex::new(Metric::Dot, 64)?);
/// let store = Arc::new(VectorStore::new(items, "embedding", index)?);
/// let online = Arc::new(MemoryStore::new());
/// let stage = NearestCandidates::of_feature("two_towers", store, online, users, "embedding")?;
/// assert_eq!(stage.fields()[0].name(), "item_id");
/// # Ok::<(), mlops_features::Error>(())
/// ```
#[derive(Debug)]
pub struct NearestCandidates {
    name: Name,
    store: Arc<VectorStore>,
    asker: Asker,
    effort: Option<usize>,
    /// The key of the candidates.
    key: Field,
}

/// Whose neighbours.
#[derive(Debug)]
enum Asker {
    Context(Name),
    Feature { online: Arc<dyn OnlineStore>, view: FeatureView, feature: usize },
}

impl NearestCandidates {
    /// Candidates near the vector in the column `column` of the request's context.
    ///
    /// # Errors
    /// `Core(Invalid)` for a bad name, and where the keys of the store's view have not exactly one column.
    pub fn new(name: impl AsRef<str>, store: Arc<VectorStore>, column: impl AsRef<str>) -> Result<Self> {
        Self::make(name.as_ref(), store, Asker::Context(Name::new(column)?))
    }

    /// Candidates near the vector that `feature` of `view` is in `online` for the key in the request's context.
    ///
    /// # Errors
    /// As [`new`](Self::new); `Core(NotFound)` when the view has no such feature, `Core(Schema)` when it is no vector of as many
    /// numbers as those of the store.
    pub fn of_feature(
        name: impl AsRef<str>,
        store: Arc<VectorStore>,
        online: Arc<dyn OnlineStore>,
        view: FeatureView,
        feature: &str,
    ) -> Result<Self> {
        let at = view.feature_index(feature)?;
        let (found, wanted) = (view.features()[at].value_type, store.feature().value_type);
        if found != wanted {
            return Err(Core::schema(format!("{}:{feature}", view.name()), wanted, found).into());
        }
        Self::make(name.as_ref(), store, Asker::Feature { online, view, feature: at })
    }

    fn make(name: &str, store: Arc<VectorStore>, asker: Asker) -> Result<Self> {
        let [key] = store.view().entity().keys() else {
            let keys = store.view().entity().keys().len();
            return Err(Core::invalid("key columns of candidates", keys, "exactly one").into());
        };
        let key = Field::new(key.name.as_str(), key.key_type.data_type(), false);
        Ok(Self { name: Name::new(name)?, store, asker, effort: None, key })
    }

    /// Looks at this many vectors where the index is approximate. Default what the index was built with.
    pub fn effort(mut self, candidates: usize) -> Self {
        self.effort = Some(candidates);
        self
    }

    /// The vectors that candidates come from.
    pub fn store(&self) -> &Arc<VectorStore> {
        &self.store
    }

    /// One vector, null where there is none.
    async fn vector(&self, query: &Query) -> Result<ArrayRef> {
        match &self.asker {
            Asker::Context(column) => {
                let found = query.context().column_by_name(column.as_str());
                Ok(found.ok_or_else(|| Core::not_found("context column", column.as_str()))?.clone())
            }
            Asker::Feature { online, view, feature } => {
                let names: Vec<Name> = view.entity().keys().iter().map(|key| key.name.clone()).collect();
                let keys = Keys::new(view.entity(), &pick(query.context(), &names)?)?;
                let missing = || Core::schema("online store", "one row of one column", "none");
                let read = OnlineRead { view, features: &[*feature], keys: &keys };
                let mut rows = online.read(&[read]).await?.pop().ok_or_else(missing)?;
                let oldest = view.ttl().map_or(i64::MIN, |ttl| query.at().minus(ttl).as_micros());
                let valid = rows.event_time(0).is_some_and(|at| at.as_micros() >= oldest);
                let vector = rows.columns.pop().ok_or_else(missing)?;
                Ok(if valid { vector } else { vector.slice(0, 0) })
            }
        }
    }

    async fn candidates(&self, query: &Query, limit: usize) -> Result<RecordBatch> {
        let feature = self.store.feature();
        let vector = cast_exactly(&self.vector(query).await?, &feature.value_type.data_type(), feature.name.as_str())?;
        let numbers = vectors(&vector);
        // A vector of zeros has no direction to look into: somebody whom the model has not met yet.
        let directed = |row: usize| {
            self.store.index().metric() != Metric::Cosine || rows::numbers(&numbers, row).iter().any(|one| *one != 0.0)
        };
        let known = !vector.is_empty() && vector.is_valid(0) && directed(0);
        let wanted = vector.slice(0, usize::from(known));
        let mut search = Search::new(limit.clamp(1, NEIGHBOURS_MAX), query.at());
        search = self.effort.into_iter().fold(search, Search::effort);
        let near = self.store.nearest(&wanted, &search)?;
        let near_rows = near.entities().num_rows().min(limit);
        let columns: Vec<ArrayRef> = vec![near.entities().column(0).clone(), Arc::new(near.distances().clone())];
        let options = RecordBatchOptions::new().with_row_count(Some(near.entities().num_rows()));
        let schema = Arc::new(ArrowSchema::new(self.fields()));
        Ok(RecordBatch::try_new_with_options(schema, columns, &options)?.slice(0, near_rows))
    }
}

#[async_trait]
impl CandidateSource for NearestCandidates {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fields(&self) -> Vec<Field> {
        vec![self.key.clone(), Field::new("distance", DataType::Float32, false)]
    }

    async fn retrieve(&self, query: &Query, limit: usize, _budget: Budget) -> mlops_core::Result<RecordBatch> {
        Ok(self.candidates(query, limit).await?)
    }
}
