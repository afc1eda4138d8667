//! Latest feature rows by entity key, read on the request path.
//!
//! History lives in the offline store; this one keeps a single row per key and view. Entry point:
//! [`OnlineStore::read`]. A [`StateStore`] can replace a row by comparing, too, as states that several writers change need it.
//! Implementations: [`MemoryStore`], [`RedbStore`] and, behind features, `SqliteStore` for several
//! processes of one machine, `RedisStore` and `PostgresStore` for many machines.

mod batch;
#[cfg(feature = "redis")]
mod crew;
#[cfg(any(feature = "sqlite", feature = "redis", feature = "postgres"))]
mod known;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "redis")]
mod redis;
mod registered;
pub(crate) mod row;
#[cfg(any(feature = "redb", feature = "sqlite", feature = "redis", feature = "postgres"))]
mod sealed;
#[cfg(feature = "sqlite")]
mod sqlite;
mod state;

pub use memory::MemoryStore;
#[cfg(feature = "postgres")]
pub use postgres::{PostgresStore, PostgresStoreBuilder};
#[cfg(feature = "redb")]
pub use redb::{RedbStore, RedbStoreBuilder};
#[cfg(feature = "redis")]
pub use redis::{FeastRedisStore, RedisStore, RedisStoreBuilder};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteStore, SqliteStoreBuilder};
pub use state::{RowTimes, StateStore};

use std::fmt::Debug;

use arrow::array::{Array, ArrayRef, RecordBatch, TimestampMicrosecondArray};
use async_trait::async_trait;
use mlops_core::EventTime;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::key::Keys;
use crate::offline::Watermark;
use crate::view::FeatureView;

/// Latest feature rows by entity key.
///
/// # Contract
/// * `write` keeps, per key, the row with the greatest (event time, created time, order of writing), whatever the order of
///   arrival; no created time is lowest. Writing the same rows again changes nothing.
/// * A checkpoint is stored no earlier than the rows that it comes with, and never moves back. A write that returned
///   survives whatever the store promises to survive.
/// * `read` answers in the order asked, one row per key; a key that is null or unknown has no row. A view that was
///   never written has no rows and is no error.
/// * Reads see whole rows: never half of one, never one that differs from what was written.
/// * A row that was written before a feature was added reads as null there. A feature whose type changed, or a key that did,
///   is [`Error::Changed`](crate::Error::Changed).
/// * After `delete` the key is unknown; the next row that is written for it is taken whatever its times.
/// * Safe to drop at any await point.
///
/// `testkit::online_store` checks these; run it on your own store.
#[async_trait]
pub trait OnlineStore: Debug + Send + Sync + 'static {
    /// Upserts `rows`, which have the columns of the view's [schema](FeatureView::schema), and with them where a
    /// materialization stands.
    ///
    /// # Errors
    /// `Core(Schema)` for a missing column, `Core(InvalidData)` for a null key or event time; nothing is written then.
    /// Whatever keeps the store from writing; rows written before the failure stay.
    async fn write(
        &self,
        view: &FeatureView,
        rows: &RecordBatch,
        checkpoint: Option<Watermark>,
    ) -> Result<WriteSummary>;

    /// Reads several views in one round trip: one answer per element of `reads`, in order.
    ///
    /// # Errors
    /// `Core(Corrupt)` when stored bytes are not those that were written; whatever keeps the store from reading.
    async fn read(&self, reads: &[OnlineRead<'_>]) -> Result<Vec<OnlineRows>>;

    /// Forgets `keys` of `view`; says how many it knew.
    ///
    /// # Errors
    /// Whatever keeps the store from writing.
    async fn delete(&self, view: &FeatureView, keys: &Keys) -> Result<u64>;

    /// The checkpoint that was stored last, if there is one.
    ///
    /// # Errors
    /// Whatever keeps the store from reading.
    async fn watermark(&self, view: &FeatureView) -> Result<Option<Watermark>>;
}

/// What is read of one view.
#[derive(Clone, Copy, Debug)]
pub struct OnlineRead<'a> {
    /// The view.
    pub view: &'a FeatureView,
    /// Positions of the features wanted, in the order wanted.
    pub features: &'a [usize],
    /// Whose.
    pub keys: &'a Keys,
}

/// What a store has for the keys of one [`OnlineRead`], in their order.
///
/// Columns of one call may share memory: whoever keeps one of them for long should copy it.
#[derive(Clone, Debug)]
pub struct OnlineRows {
    /// One column per feature, in the order wanted, null where there is no row or no value.
    pub columns: Vec<ArrayRef>,
    /// When each row became true; null where there is no row.
    pub event_time: TimestampMicrosecondArray,
    /// When each row became known; null where there is no row or it was not said.
    pub created: TimestampMicrosecondArray,
}

impl OnlineRows {
    /// Whether there is a row for the key at `position`.
    pub fn found(&self, position: usize) -> bool {
        position < self.event_time.len() && self.event_time.is_valid(position)
    }

    /// When the row for the key at `position` became true.
    pub fn event_time(&self, position: usize) -> Option<EventTime> {
        self.found(position).then(|| EventTime::from_micros(self.event_time.value(position)))
    }
}

/// What a write did. The two sum to the number of rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteSummary {
    /// Rows that are now the latest of their key.
    pub written: u64,
    /// Rows that lost to a later one, stored or in the same call.
    pub superseded: u64,
}

impl std::ops::AddAssign for WriteSummary {
    fn add_assign(&mut self, other: Self) {
        self.written += other.written;
        self.superseded += other.superseded;
    }
}
