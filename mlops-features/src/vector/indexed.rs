//! An online store whose vectors can be searched.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;

use super::rows::Rows;
use super::store::VectorStore;
use super::turn::Turn;
use crate::error::Result;
use crate::key::Keys;
use crate::offline::Watermark;
use crate::online::{OnlineRead, OnlineRows, OnlineStore, WriteSummary};
use crate::view::FeatureView;

/// An online store, and vector stores that follow what is written to it and deleted from it.
///
/// Put it where the online store would be: materializations, pushes, streams and servers write through it as they write to any
/// other. Views without a vector store pass by.
///
/// * Rows are checked first: a vector that cannot be compared fails the write, and nothing is written.
/// * Writes and deletions of views that have vector stores come one after the other, so that store and index agree on which
///   of two rows was the last.
/// * What other processes write to the same store does not come by here:
///   [fill](VectorStore::fill_from_history) the vector stores from history from time to time.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use mlops_features::online::MemoryStore;
/// use mlops_features::vector::{ExactIndex, IndexedStore, Metric, VectorStore};
/// use mlops_features::{Entity, FeatureView, KeyType, ValueType};
///
/// let item = Entity::builder("item").key("item_id", KeyType::Int64).build()?;
/// let view = FeatureView::builder("items", item).feature("embedding", ValueType::Vector(64)).build()?;
/// let vectors = VectorStore::new(view, "embedding", Arc::new(ExactIndex::new(Metric::Cosine, 64)?))?;
/// let vectors = Arc::new(vectors);
/// let online = IndexedStore::new(Arc::new(MemoryStore::new()), [vectors.clone()]);
/// # let _ = online;
/// # Ok::<(), mlops_features::Error>(())
/// ```
#[derive(Debug)]
pub struct IndexedStore {
    store: Arc<dyn OnlineStore>,
    vectors: Vec<Arc<VectorStore>>,
    turn: Turn,
}

impl IndexedStore {
    /// `store`, followed by `vectors`.
    pub fn new(store: Arc<dyn OnlineStore>, vectors: impl IntoIterator<Item = Arc<VectorStore>>) -> Self {
        Self { store, vectors: vectors.into_iter().collect(), turn: Turn::default() }
    }

    /// The online store.
    pub fn store(&self) -> &Arc<dyn OnlineStore> {
        &self.store
    }

    /// The vector stores.
    pub fn vectors(&self) -> &[Arc<VectorStore>] {
        &self.vectors
    }

    fn of(&self, view: &FeatureView) -> impl Iterator<Item = &Arc<VectorStore>> {
        self.vectors.iter().filter(move |store| store.view().name() == view.name())
    }
}

/// Rows on their way to the online store, which follow even when nobody waits for the answer any more: whether they are in
/// the store is not known then, and rows that are in both are better than rows that are only in one.
struct Following<'a>(Vec<(&'a Arc<VectorStore>, Rows)>);

impl Following<'_> {
    fn apply(&mut self) -> Result<()> {
        let mut outcome = Ok(());
        for (store, rows) in self.0.drain(..) {
            if let Err(failure) = store.apply(&rows) {
                store.set_behind(true);
                outcome = Err(failure);
            }
        }
        outcome
    }
}

impl Drop for Following<'_> {
    fn drop(&mut self) {
        // A failure is noted in the store, which tells it to the next search.
        let _ = self.apply();
    }
}

#[async_trait]
impl OnlineStore for IndexedStore {
    async fn write(
        &self,
        view: &FeatureView,
        rows: &RecordBatch,
        checkpoint: Option<Watermark>,
    ) -> Result<WriteSummary> {
        let checked = self.of(view).map(|store| Ok((store, store.check(rows)?))).collect::<Result<Vec<_>>>()?;
        if checked.is_empty() {
            return self.store.write(view, rows, checkpoint).await;
        }
        let _turn = self.turn.take().await;
        let mut following = Following(checked);
        match self.store.write(view, rows, checkpoint).await {
            Ok(summary) => following.apply().map(|()| summary),
            Err(failure) => {
                // The caller is told, and writes again what it wants to be there.
                following.0.clear();
                Err(failure)
            }
        }
    }

    async fn read(&self, reads: &[OnlineRead<'_>]) -> Result<Vec<OnlineRows>> {
        self.store.read(reads).await
    }

    async fn delete(&self, view: &FeatureView, keys: &Keys) -> Result<u64> {
        if self.of(view).next().is_none() {
            return self.store.delete(view, keys).await;
        }
        let _turn = self.turn.take().await;
        // Not to be found comes first: nobody is led to a key that is gone.
        for store in self.of(view) {
            store.delete(keys)?;
        }
        self.store.delete(view, keys).await
    }

    async fn watermark(&self, view: &FeatureView) -> Result<Option<Watermark>> {
        self.store.watermark(view).await
    }
}
