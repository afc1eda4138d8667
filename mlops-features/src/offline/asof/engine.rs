//! Who runs the join.

use std::fmt::Debug;

use mlops_core::Dataset;

use super::{AsOfOptions, TrainingSet, native};
use crate::error::Result;
use crate::service::ViewJoin;

/// Runs as-of joins.
///
/// # Contract
/// * `join` obeys the law that [`as_of_join`](super::as_of_join) states: same rows, same order, same values, bit for bit.
/// * The reports are exact, too.
/// * Bad input is a typed error that names the column, and never a panic.
///
/// `testkit::as_of_engine` checks these against the law read aloud; run it on your own engine.
pub trait AsOfEngine: Debug + Send + Sync + 'static {
    /// Joins to each row of `spine` the feature row of each view that was valid at its instant.
    ///
    /// # Errors
    /// As [`as_of_join`](super::as_of_join).
    fn join(&self, spine: &Dataset, views: &[(ViewJoin, Dataset)], options: &AsOfOptions) -> Result<TrainingSet>;
}

/// The engine that everything uses unless told otherwise: our own, in bounded memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct NativeEngine;

impl AsOfEngine for NativeEngine {
    fn join(&self, spine: &Dataset, views: &[(ViewJoin, Dataset)], options: &AsOfOptions) -> Result<TrainingSet> {
        Ok(native::join(spine, views, options)?.made_of(spine, views, options))
    }
}
