//! States of window views in an online store: one row per key, like features.

use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BinaryArray, RecordBatch, TimestampMicrosecondArray};
use mlops_core::EventTime;

use crate::define::ValueType;
use crate::error::{Core, Result};
use crate::key::Keys;
use crate::online::{OnlineRead, OnlineRows, OnlineStore, RowTimes};
use crate::view::FeatureView;
use crate::window::{Cell, WindowState, WindowView, column};

const FEATURE: &str = "state";

/// The column that says how often a state was written.
const WRITTEN: &str = "written";

/// The states of one window view in an online store, and the features that are read from them.
///
/// A state is a row of the view [`stored`](Self::stored), whose event time is the moment that it was advanced to, and whose
/// created time counts how often it was written. So a [`StreamIngest`](super::StreamIngest) can tell whether it still is the
/// one that was read, and replaces no other: see [`StateStore`](crate::online::StateStore). Anyone may read.
#[derive(Clone, Debug)]
pub struct WindowStates {
    windows: WindowView,
    stored: FeatureView,
}

impl WindowStates {
    /// The states of `windows`.
    ///
    /// # Errors
    /// `Core(Invalid)` when the name of the view is too long to have `.state` appended.
    pub fn new(windows: &WindowView) -> Result<Self> {
        let name = format!("{}.state", windows.name());
        let stored = FeatureView::builder(name, windows.entity().clone()).created(WRITTEN);
        let stored = stored.feature(FEATURE, ValueType::Binary).build()?;
        Ok(Self { windows: windows.clone(), stored })
    }

    /// The window view.
    pub fn windows(&self) -> &WindowView {
        &self.windows
    }

    /// The view that states are rows of: the name of the window view and `.state`.
    pub fn stored(&self) -> &FeatureView {
        &self.stored
    }

    /// Values of the features at positions `features` of the window view's
    /// [`feature_view`](WindowView::feature_view) as of `now`, one per key of `keys`.
    ///
    /// A key without a state has empty windows: counts are 0, all else is null, and it has no event time. A null key has
    /// nulls only. A state that was
    /// advanced beyond `now`, because clocks differ, is read at the moment that it was advanced to.
    ///
    /// # Errors
    /// `Core(Corrupt)` when a stored state is not what was written, [`Error::Changed`](crate::Error::Changed) when the view was
    /// defined differently then; whatever keeps the store from reading.
    pub async fn get(
        &self,
        store: &dyn OnlineStore,
        keys: &Keys,
        features: &[usize],
        now: EventTime,
    ) -> Result<OnlineRows> {
        let read = store.read(&[self.read(keys)]).await?;
        let read = read.into_iter().next();
        let read = read.ok_or_else(|| Core::schema("online store", "one answer per read", "none"))?;
        self.answer(&read, keys, features, now)
    }

    /// What is read for `keys`.
    pub(crate) fn read<'a>(&'a self, keys: &'a Keys) -> OnlineRead<'a> {
        OnlineRead { view: &self.stored, features: &[0], keys }
    }

    /// The features in what was [read](Self::read), as if they had been stored.
    pub(crate) fn answer(
        &self,
        read: &OnlineRows,
        keys: &Keys,
        features: &[usize],
        now: EventTime,
    ) -> Result<OnlineRows> {
        let view = self.windows.feature_view();
        let mut cells: Vec<Vec<Cell>> = vec![Vec::with_capacity(read.event_time.len()); features.len()];
        for (row, state) in self.parse(read)?.into_iter().enumerate() {
            let state = state.unwrap_or_else(|| WindowState::new(&self.windows));
            let values =
                if keys.is_null(row) { Vec::new() } else { state.read(now.max(state.latest()).as_micros())? };
            for (column, feature) in cells.iter_mut().zip(features) {
                column.push(values.get(*feature).cloned().unwrap_or(Cell::Null));
            }
        }
        let columns = cells.iter().zip(features).map(|(cells, feature)| {
            let declared = view.features().get(*feature);
            let beyond = || Core::invalid("feature index", feature, "below the number of features of the view");
            let declared = declared.ok_or_else(beyond)?;
            column(cells, declared.value_type, declared.name.as_str())
        });
        let columns = columns.collect::<Result<_>>()?;
        Ok(OnlineRows { columns, event_time: read.event_time.clone(), created: read.created.clone() })
    }

    /// The states in what was read, `None` for a key that has none.
    pub(crate) fn parse(&self, rows: &OnlineRows) -> Result<Vec<Option<WindowState>>> {
        let found = || Core::schema(self.stored.name().as_str(), "one column of bytes", "something else");
        let states = rows.columns.first().and_then(|column| column.as_binary_opt::<i32>()).ok_or_else(found)?;
        let state = |bytes: Option<&[u8]>| bytes.map(|bytes| WindowState::from_bytes(&self.windows, bytes)).transpose();
        states.iter().map(state).collect()
    }

    /// Rows of [`stored`](Self::stored): `keys`, one array per key column, each with its state and what that was read from.
    pub(crate) fn rows(
        &self,
        keys: &[ArrayRef],
        states: &[WindowState],
        seen: &[Option<RowTimes>],
    ) -> Result<RecordBatch> {
        let times = |values: Vec<i64>| TimestampMicrosecondArray::from(values).with_timezone("UTC");
        let moments = times(states.iter().map(|state| state.latest().as_micros()).collect());
        let before = |seen: &Option<RowTimes>| seen.and_then(|seen| seen.created).map_or(0, EventTime::as_micros);
        let written = times(seen.iter().map(|seen| before(seen).saturating_add(1)).collect());
        let bytes = BinaryArray::from_iter_values(states.iter().map(WindowState::to_bytes));
        let names = self.windows.entity().keys().iter().map(|key| key.name.as_str());
        let names = names.chain([self.stored.event_time(), WRITTEN, FEATURE]);
        let columns: [ArrayRef; 3] = [Arc::new(moments), Arc::new(written), Arc::new(bytes)];
        let columns = keys.iter().cloned().chain(columns);
        let named = names.zip(columns).map(|(name, column)| (name, column, true));
        Ok(RecordBatch::try_from_iter_with_nullable(named)?)
    }
}
