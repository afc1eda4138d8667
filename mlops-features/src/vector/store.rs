//! Vectors of one feature by key.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arrow::array::RecordBatch;

use super::index::VectorIndex;
use super::rows::{Rows, Unusable};
use super::table::Table;
use crate::define::ValueType;
use crate::error::{Core, Result};
use crate::feature::Feature;
use crate::key::Keys;
use crate::online::WriteSummary;
use crate::view::FeatureView;

/// The latest vector of every key of one view, and which of them are nearest to others.
///
/// It is an index, not a place to keep things: it lives in memory and is filled from what is kept, see
/// [`fill_from_history`](Self::fill_from_history). From then on it follows what is written: behind an
/// [`IndexedStore`](super::IndexedStore) by itself, otherwise by [`write`](Self::write).
///
/// * Of several rows of a key the one with the greatest (event time, created time, order of writing) counts, whatever the
///   order of arrival, as in every online store. A row whose vector is null has no neighbours, and an older row
///   with a vector does not take its place.
/// * Rows past the view's ttl at the instant of a search are not found, as they are not served; a row whose age is exactly the
///   ttl is.
/// * A search sees each key as it was before a write or after it. It waits for a write only while keys change over, not
///   while vectors are put into the index.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use mlops_core::EventTime;
/// use mlops_core::arrow::array::{ArrayRef, FixedSizeListArray, Int64Array, RecordBatch, TimestampMicrosecondArray};
/// use mlops_core::arrow::datatypes::Float32Type;
/// use mlops_features::vector::{ExactIndex, Metric, Search, VectorStore};
/// use mlops_features::{Entity, FeatureView, KeyType, ValueType};
///
/// let vectors = |all: Vec<[f32; 2]>| -> ArrayRef {
///     let rows = all.into_iter().map(|one| Some(one.map(Some)));
///     Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows, 2))
/// };
/// let item = Entity::builder("item").key("item_id", KeyType::Int64).build()?;
/// let view = FeatureView::builder("items", item).feature("embedding", ValueType::Vector(2)).build()?;
/// let store = VectorStore::new(view, "embedding", Arc::new(ExactIndex::new(Metric::Cosine, 2)?))?;
/// store.write(&RecordBatch::try_from_iter([
///     ("item_id", Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef),
///     ("event_timestamp", Arc::new(TimestampMicrosecondArray::from(vec![10, 10]).with_timezone("UTC")) as ArrayRef),
///     ("embedding", vectors(vec![[1.0, 0.0], [0.0, 1.0]])),
/// ])?)?;
///
/// let near = store.nearest(&vectors(vec![[0.9, 0.1]]), &Search::new(1, EventTime::from_secs(1)))?;
/// assert_eq!(near.entities().column(0).as_ref(), &Int64Array::from(vec![1]));
/// assert!(near.distances().value(0) < 0.01);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct VectorStore {
    pub(super) view: FeatureView,
    /// The view with no other feature.
    pub(super) narrow: FeatureView,
    pub(super) index: Arc<dyn VectorIndex>,
    unusable: Unusable,
    table: RwLock<Table>,
    /// Held by the one who writes.
    writing: Mutex<()>,
    /// A write went past it.
    behind: AtomicBool,
}

impl VectorStore {
    /// The vectors of `feature` of `view`, found by `index`, which must be empty.
    ///
    /// # Errors
    /// `Core(NotFound)` when the view has no such feature, `Core(Schema)` when that is no vector of as many numbers as the index
    /// takes, `Core(Invalid)` when the index is not empty.
    pub fn new(view: FeatureView, feature: &str, index: Arc<dyn VectorIndex>) -> Result<Self> {
        let wanted = view.features()[view.feature_index(feature)?].clone();
        let takes = ValueType::Vector(index.dimensions());
        if wanted.value_type != takes {
            let column = format!("{}:{feature}", view.name());
            return Err(Core::schema(column, takes, wanted.value_type).into());
        }
        if index.vectors() > 0 {
            return Err(Core::invalid("vectors of a new index", index.vectors(), "none").into());
        }
        let narrow = narrowed(&view, wanted)?;
        let (table, writing, behind) = (RwLock::default(), Mutex::default(), AtomicBool::new(false));
        Ok(Self { view, narrow, index, unusable: Unusable::default(), table, writing, behind })
    }

    /// What becomes of vectors that cannot be compared. Default [`Unusable::Refuse`].
    pub fn unusable(mut self, what: Unusable) -> Self {
        self.unusable = what;
        self
    }

    /// The view.
    pub fn view(&self) -> &FeatureView {
        &self.view
    }

    /// The feature.
    pub fn feature(&self) -> &Feature {
        &self.narrow.features()[0]
    }

    /// The index.
    pub fn index(&self) -> &Arc<dyn VectorIndex> {
        &self.index
    }

    /// How many keys have a vector, those that are too old to be found included.
    pub fn len(&self) -> usize {
        self.table().live()
    }

    /// Whether no key has a vector.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes `rows`, which have at least the key columns, the times and the vector of the view.
    ///
    /// # Errors
    /// `Core(Schema)` for a missing column, one of another type or vectors of another length, `Core(InvalidData)` for a null
    /// key or event time and for a vector that cannot be [compared](super::Metric::refusal), unless these are
    /// [left out](Unusable::LeaveOut): nothing is written then.
    pub fn write(&self, rows: &RecordBatch) -> Result<WriteSummary> {
        self.apply(&self.check(rows)?)
    }

    /// Forgets `keys`; says how many it knew. The next row that is written for one of them is taken whatever its times.
    ///
    /// # Errors
    /// `Core(Invalid)` when `keys` are of another entity; whatever keeps the index from forgetting.
    pub fn delete(&self, keys: &Keys) -> Result<u64> {
        ensure_entity(&self.view, keys)?;
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut known, mut gone, mut key) = (0, Vec::new(), Vec::new());
        {
            let mut table = self.table_mut();
            for row in 0..keys.len() {
                key.clear();
                if keys.encode(row, &mut key) {
                    let (knew, id) = table.forget(&key);
                    known += u64::from(knew);
                    gone.extend(id);
                }
            }
        }
        self.take_out(gone)?;
        Ok(known)
    }

    /// `rows`, if they can be taken.
    pub(super) fn check(&self, rows: &RecordBatch) -> Result<Rows> {
        Rows::read(&self.narrow, rows, self.index.metric(), self.unusable)
    }

    /// Takes rows that were checked.
    pub(super) fn apply(&self, rows: &Rows) -> Result<WriteSummary> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let winners = self.table().winners(rows);
        let vectors: Vec<&[f32]> = winners.iter().filter_map(|row| rows.vector(*row)).collect();
        let ids = self.table_mut().reserve(vectors.len())?;
        if let Err(refused) = self.index.put(&ids, &vectors.concat()) {
            // Some may be in: their numbers are given again only if they can be taken out.
            let _ = self.take_out(ids);
            return Err(refused);
        }
        let gone = self.table_mut().change_over(rows, &winners, &ids);
        self.take_out(gone)?;
        let written = winners.len() as u64;
        Ok(WriteSummary { written, superseded: rows.len() as u64 - written })
    }

    fn take_out(&self, ids: Vec<u32>) -> Result<()> {
        if !ids.is_empty() {
            self.index.remove(&ids)?;
            self.table_mut().release(ids);
        }
        Ok(())
    }

    pub(super) fn table(&self) -> RwLockReadGuard<'_, Table> {
        self.table.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn table_mut(&self) -> RwLockWriteGuard<'_, Table> {
        self.table.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes whether a write went past it.
    pub(super) fn set_behind(&self, behind: bool) {
        self.behind.store(behind, Ordering::Release);
    }

    pub(super) fn ensure_not_behind(&self) -> Result<()> {
        if !self.behind.load(Ordering::Acquire) {
            return Ok(());
        }
        let what = format!("index of `{}:{}`", self.view.name(), self.feature().name);
        Err(Core::corrupt(what, "a write did not reach it; fill it again").into())
    }
}

/// Refuses keys of another entity.
pub(super) fn ensure_entity(view: &FeatureView, keys: &Keys) -> Result<()> {
    if keys.entity().keys() == view.entity().keys() {
        return Ok(());
    }
    Err(Core::invalid("keys", keys.entity().name(), "of the entity of the view").into())
}

/// `view` with `feature` as its only one.
fn narrowed(view: &FeatureView, feature: Feature) -> Result<FeatureView> {
    let feature = Feature { default: None, ..feature };
    let mut narrow = FeatureView::builder(view.name().as_str(), view.entity().clone());
    narrow = narrow.with(feature).event_time(view.event_time());
    if let Some(created) = view.created() {
        narrow = narrow.created(created);
    }
    if let Some(ttl) = view.ttl() {
        narrow = narrow.ttl(ttl);
    }
    narrow.build()
}

impl fmt::Debug for VectorStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("VectorStore");
        shown.field("view", self.view.name()).field("feature", &self.feature().name);
        shown.field("index", &self.index).field("len", &self.len()).finish_non_exhaustive()
    }
}
