//! States of window views in an online store: one row per key, like features.

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, RecordBatch, TimestampMicrosecondArray};
use std::sync::Arc;

use crate::define::ValueType;
use crate::error::{Core, Result};
use crate::key::Keys;
use crate::online::{OnlineRead, OnlineRows};
use crate::view::FeatureView;
use crate::window::{WindowState, WindowView};

const FEATURE: &str = "state";

/// Where the states of one window view are kept: under its name and `.state`.
///
/// A state is a row whose event time is the moment that it was advanced to. One ingest at a time may write the states of a
/// key: what it read must be what it replaces.
#[derive(Clone, Debug)]
pub(crate) struct StatesOf {
    windows: WindowView,
    stored: FeatureView,
}

impl StatesOf {
    pub(crate) fn new(windows: &WindowView) -> Result<Self> {
        let name = format!("{}.state", windows.name());
        let stored = FeatureView::builder(name, windows.entity().clone()).feature(FEATURE, ValueType::Binary).build()?;
        Ok(Self { windows: windows.clone(), stored })
    }

    pub(crate) fn windows(&self) -> &WindowView {
        &self.windows
    }

    /// The view that states are rows of.
    pub(crate) fn stored(&self) -> &FeatureView {
        &self.stored
    }

    /// What is read for `keys`.
    pub(crate) fn read<'a>(&'a self, keys: &'a Keys) -> OnlineRead<'a> {
        OnlineRead { view: &self.stored, features: &[0], keys }
    }

    /// The states in what was read, `None` for a key that has none.
    pub(crate) fn parse(&self, rows: &OnlineRows) -> Result<Vec<Option<WindowState>>> {
        let found = || Core::schema(self.stored.name().as_str(), "one column of bytes", "something else");
        let states = rows.columns.first().and_then(|column| column.as_binary_opt::<i32>()).ok_or_else(found)?;
        let state = |bytes: Option<&[u8]>| bytes.map(|bytes| WindowState::from_bytes(&self.windows, bytes)).transpose();
        states.iter().map(state).collect()
    }

    /// Rows of [`stored`](Self::stored): `keys`, one array per key column, each with its state.
    pub(crate) fn rows(&self, keys: &[ArrayRef], states: &[WindowState]) -> Result<RecordBatch> {
        let times = states.iter().map(|state| state.latest().as_micros());
        let times = TimestampMicrosecondArray::from_iter_values(times).with_timezone("UTC");
        let bytes = BinaryArray::from_iter_values(states.iter().map(WindowState::to_bytes));
        let names = self.windows.entity().keys().iter().map(|key| key.name.as_str());
        let names = names.chain([self.stored.event_time(), FEATURE]);
        let columns = keys.iter().cloned().chain([Arc::new(times) as ArrayRef, Arc::new(bytes)]);
        let named = names.zip(columns).map(|(name, column)| (name, column, true));
        Ok(RecordBatch::try_from_iter_with_nullable(named)?)
    }
}
