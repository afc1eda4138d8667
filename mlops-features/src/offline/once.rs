//! Appends that happen once, however often they are tried.

use mlops_core::{Dataset, Digest};
use serde::{Deserialize, Serialize};

use super::{Appended, OfflineStore};
use crate::error::Result;
use crate::view::FeatureView;

/// What became of an append that was to happen once.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Once {
    /// It happened now.
    Now(Appended),
    /// It had happened before; nothing was added.
    Before(Appended),
}

/// Offline stores whose appends can carry an id, so that a job that was cut off can be run again.
///
/// # Contract
/// * Of any number of `append_once` with one id and view, from any number of threads and processes, one adds its rows and the
///   others say what it did, also across a crash at any point. The id is stored with the rows, in one step.
/// * An append of no rows is no append: it leaves no id.
/// * Ids of one view say nothing of another.
///
/// `testkit::append_once` checks these; run it on your own store.
pub trait AppendOnce: OfflineStore {
    /// The append of `view` with this id, if it happened.
    ///
    /// # Errors
    /// Whatever keeps the store from reading.
    fn appended(&self, view: &FeatureView, id: &Digest) -> Result<Option<Appended>>;

    /// [`append`](OfflineStore::append)s `rows`, unless that happened before.
    ///
    /// # Errors
    /// As [`append`](OfflineStore::append); `Core(Busy)` when others keep the store to themselves for too long.
    fn append_once(&self, view: &FeatureView, id: &Digest, rows: &Dataset) -> Result<Once>;
}
