//! Rows that are replaced only where they still are what was read: states that several writers change.

use arrow::array::RecordBatch;
use async_trait::async_trait;
use mlops_core::EventTime;

use super::batch::Batch;
use super::row::Stamp;
use super::{OnlineRows, OnlineStore};
use crate::error::{Core, Result};
use crate::key::Keys;
use crate::view::FeatureView;

/// When a row became true and known: what tells it from the one that is put in its place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RowTimes {
    /// When it became true.
    pub event_time: EventTime,
    /// When it became known; `None` where that was not said.
    pub created: Option<EventTime>,
}

impl RowTimes {
    fn stamp(self) -> Stamp {
        Stamp { event_time: self.event_time.as_micros(), created: self.created.map(EventTime::as_micros) }
    }
}

impl OnlineRows {
    /// The times of the row for the key at `position`; `None` where there is no row.
    pub fn times(&self, position: usize) -> Option<RowTimes> {
        let created = self.created.iter().nth(position).flatten().map(EventTime::from_micros);
        Some(RowTimes { event_time: self.event_time(position)?, created })
    }
}

/// An online store whose rows can be replaced by comparing: read, changed and written back by several writers, no change is
/// lost.
///
/// # Contract
/// * A row is put exactly where the stored one has the times that were seen, and where there is none if none was seen: whether
///   it is greater does not matter. Looking and putting are one step: of several who saw the same row, one puts his.
/// * The answer says for each row whether it was put; one that was not has changed nothing.
/// * Rows have other times than those that they replace. Then a call that failed can be repeated: a row that was put already
///   is not what was seen any more.
/// * What is put is durable, and read, as what is [written](OnlineStore::write).
///
/// `testkit::state_store` checks these; run it on your own store.
#[async_trait]
pub trait StateStore: OnlineStore {
    /// Puts each row of `rows` in the place of the one that was seen under its key, and says for each whether it did.
    ///
    /// * `rows`: as for [`write`](OnlineStore::write), at most one of each key.
    /// * `seen`: per row, the [times](OnlineRows::times) of the row that was read; none where there was no row.
    ///
    /// # Errors
    /// `Core(Schema)` for a missing column or another number of times, `Core(InvalidData)` for a null or repeated key or a null
    /// event time; nothing is put then. Whatever keeps the store from writing; some rows may be put then.
    async fn replace(&self, view: &FeatureView, rows: &RecordBatch, seen: &[Option<RowTimes>]) -> Result<Vec<bool>>;
}

/// Rows that are to be put, each with what was seen under its key.
#[derive(Debug)]
pub(super) struct Swaps {
    batch: Batch,
    /// By ascending key: position among the rows, and what was seen.
    order: Vec<(usize, Option<Stamp>)>,
}

/// One row to put.
pub(super) struct Swap<'a> {
    /// Among the rows of the call.
    pub(super) position: usize,
    pub(super) key: &'a [u8],
    pub(super) seen: Option<Stamp>,
    #[cfg_attr(not(any(feature = "redis", feature = "postgres")), expect(dead_code, reason = "for servers"))]
    pub(super) stamp: Stamp,
    pub(super) bytes: &'a mut Vec<u8>,
}

impl Swaps {
    /// Checks what was given to [`StateStore::replace`].
    pub(super) fn new(view: &FeatureView, rows: &RecordBatch, seen: &[Option<RowTimes>]) -> Result<Self> {
        if seen.len() != rows.num_rows() {
            let expected = format!("times seen for {} rows", rows.num_rows());
            return Err(Core::schema(view.name().as_str(), expected, format!("{} of them", seen.len())).into());
        }
        let batch = Batch::new(view, rows)?;
        let keys = Keys::of(view.entity(), rows)?;
        let encoded = (0..keys.len()).map(|row| {
            let mut key = Vec::new();
            keys.encode(row, &mut key);
            key
        });
        let mut order: Vec<(Vec<u8>, usize)> = encoded.zip(0..).collect();
        order.sort_unstable();
        if let Some([(_, first), (_, second)]) = order.array_windows().find(|[a, b]| a.0 == b.0) {
            let what = format!("keys of `{}` to replace", view.name());
            return Err(Core::invalid_data(what, format!("one key in row {first} and in row {second}")).into());
        }
        let order = order.into_iter().map(|(_, row)| (row, seen[row].map(RowTimes::stamp))).collect();
        Ok(Self { batch, order })
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    /// Calls `put` with each row, by ascending key.
    pub(super) fn for_each<E: From<Core>>(
        &self,
        view: &FeatureView,
        mut put: impl FnMut(Swap<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut order = self.order.iter();
        self.batch.for_each(view, |key, stamp, bytes| match order.next() {
            Some(&(position, seen)) => put(Swap { position, key, seen, stamp, bytes }),
            None => Ok(()),
        })
    }
}
