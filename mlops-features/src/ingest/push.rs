//! Rows that a caller brings.

use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use mlops_core::Dataset;
use serde::{Deserialize, Serialize};

use super::gate::Gate;
use crate::error::{Core, Result};
use crate::key::Keys;
use crate::offline::{AppendOnce, Once, Watermark};
use crate::online::{OnlineStore, WriteSummary};
use crate::view::FeatureView;
use crate::wait::block_on;

/// Where pushed rows go.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Target {
    /// To the online store only: history does not know them, and no training set will.
    Online,
    /// To history only; the next materialization brings them online.
    Offline,
    /// To history, then online.
    #[default]
    OnlineAndOffline,
}

/// What a push did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PushReport {
    /// Rows that came.
    pub rows: u64,
    /// Those of them that failed a check and were set aside.
    pub set_aside: u64,
    /// Position of the rest in history; `None` when nothing went there.
    pub history: Option<Watermark>,
    /// What became of the rest online.
    pub online: WriteSummary,
}

/// Takes rows of one view from callers and brings them to history, online or both.
///
/// A push that returned has survived: history and the store have both acknowledged its rows. One that failed may have
/// reached history and not the online store: push it again. The same rows are the same append: they stand in history once.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
/// use mlops_features::ingest::{Push, Target};
/// use mlops_features::online::MemoryStore;
/// use mlops_features::{Entity, FeatureView, KeyType, ValueType};
///
/// let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
/// let clicks = FeatureView::builder("clicks", customer).feature("ctr", ValueType::Float64).build()?;
/// let push = Push::builder(clicks).online(Arc::new(MemoryStore::new())).build()?;
/// let rows = RecordBatch::try_from_iter([
///     ("customer_id", Arc::new(Int64Array::from(vec![7])) as ArrayRef),
///     ("event_timestamp", Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("UTC")) as ArrayRef),
///     ("ctr", Arc::new(Float64Array::from(vec![0.1])) as ArrayRef),
/// ])?;
/// assert_eq!(push.push(&rows, Target::Online)?.online.written, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct Push {
    view: FeatureView,
    offline: Option<Arc<dyn AppendOnce>>,
    online: Option<Arc<dyn OnlineStore>>,
    gate: Gate,
}

impl Push {
    /// Starts a door for rows of `view`.
    pub fn builder(view: FeatureView) -> PushBuilder {
        PushBuilder(Self { view, offline: None, online: None, gate: Gate::new() })
    }

    /// The view.
    pub fn view(&self) -> &FeatureView {
        &self.view
    }

    /// Brings `rows`, which have at least the columns of the view's [schema](FeatureView::schema), to `target`.
    ///
    /// This is a plain call that waits for the stores: on an async runtime, run it on a thread for blocking work.
    ///
    /// # Errors
    /// `Core(NotFound)` when `target` asks for a store that was not given; `Core(Schema)` for a missing column or one of another
    /// type; `Core(InvalidData)` for a null event time, or a null key on the way online; `Core(Rejected)` when rows fail
    /// checks and are not set aside: nothing was written then. Whatever keeps a store from writing.
    pub fn push(&self, rows: &RecordBatch, target: Target) -> Result<PushReport> {
        let offline = self.offline.as_ref().filter(|_| target != Target::Online);
        let online = self.online.as_ref().filter(|_| target != Target::Offline);
        let missing = |store: &'static str| Core::not_found(store, self.view.name().as_str());
        if offline.is_none() && target != Target::Online {
            return Err(missing("offline store of view").into());
        }
        if online.is_none() && target != Target::Offline {
            return Err(missing("online store of view").into());
        }
        let conformed = self.view.conform(rows)?;
        if online.is_some() {
            ensure_keys(&self.view, &conformed)?;
        }
        let mut report = PushReport { rows: rows.num_rows() as u64, ..PushReport::default() };
        let (rows, set_aside) = self.gate.admit(&self.view, conformed)?;
        report.set_aside = set_aside;
        if rows.num_rows() == 0 {
            return Ok(report);
        }
        if let Some(offline) = offline {
            let data = Dataset::held(self.view.schema().clone(), [rows.clone()])?;
            report.history = match offline.append_once(&self.view, &data.digest()?, &data)? {
                Once::Now(appended) | Once::Before(appended) => appended.end,
            };
        }
        if let Some(online) = online {
            report.online = block_on(online.write(&self.view, &rows, None))?;
        }
        self.gate.came_in(&self.view, &rows)?;
        Ok(report)
    }
}

/// Refuses null keys before anything is written.
fn ensure_keys(view: &FeatureView, rows: &RecordBatch) -> Result<()> {
    let keys = Keys::of(view.entity(), rows)?;
    match (0..keys.len()).find(|row| keys.is_null(*row)) {
        None => Ok(()),
        Some(row) => {
            let what = format!("key of `{}`", view.entity().name());
            Err(Core::invalid_data(what, format!("null in row {row}")).into())
        }
    }
}

impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push").field("view", self.view.name()).finish_non_exhaustive()
    }
}

/// Collects the settings of a [`Push`].
#[derive(Clone, Debug)]
pub struct PushBuilder(Push);

impl PushBuilder {
    /// Where history is kept. Default nowhere.
    pub fn offline(mut self, store: Arc<dyn AppendOnce>) -> Self {
        self.0.offline = Some(store);
        self
    }

    /// Where the latest rows are kept. Default nowhere.
    pub fn online(mut self, store: Arc<dyn OnlineStore>) -> Self {
        self.0.online = Some(store);
        self
    }

    /// What rows pass on their way. Default an open gate.
    pub fn gate(mut self, gate: Gate) -> Self {
        self.0.gate = gate;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// `Core(Invalid)` when neither store was given.
    pub fn build(self) -> Result<Push> {
        if self.0.offline.is_none() && self.0.online.is_none() {
            return Err(Core::invalid("stores of a push", "none", "an offline store, an online store or both").into());
        }
        Ok(self.0)
    }
}
