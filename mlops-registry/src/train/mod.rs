//! Training: settings and data in, a model and what was measured out.
//!
//! A [`Trainer`] is checked settings; [`TrainData`] says which columns of which rows are features, label, weight and
//! group. Entry point: [`Trainer::train`]. Default: [`GbdtTrainer`].

mod data;
mod gbdt;
#[cfg(feature = "linfa")]
pub mod linfa;
mod split;

pub use data::{TrainData, TrainDataBuilder};
pub use gbdt::GbdtTrainer;
pub use split::{split_at, split_by_key};

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::ops::ControlFlow;

use mlops_core::model::Model;

use crate::Result;

/// How far a training has come.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Round {
    /// Number of the round, from 1.
    pub round: u32,
    /// Most rounds that there will be.
    pub rounds_max: u32,
    /// Metric on the training rows, where the trainer measures one.
    pub train_metric: Option<f64>,
    /// Metric on the validation rows, where there are any.
    pub valid_metric: Option<f64>,
}

/// What came out of a training.
#[derive(Debug)]
pub struct Trained {
    /// The model.
    pub model: Box<dyn Model>,
    /// What the trainer measured, by name.
    pub metrics: BTreeMap<String, f64>,
    /// How much each feature matters to the model, greatest first; empty when it cannot tell.
    pub importance: Vec<(String, f64)>,
}

/// Settings of one way to train.
///
/// # Contract
/// * The same settings on the same rows in the same order give a model with the same bytes.
/// * The model's signature has the data's features by name and in order.
/// * `on_round` is called after each round, for trainers that have rounds; `Break` ends the training with
///   [`Cancelled`](mlops_core::Error::Cancelled).
/// * Rows that cannot be learned from (a label that does not suit, a text feature) are a typed error that names the column.
///
/// `testkit::trainer` checks these; run it on your own trainer.
pub trait Trainer: Debug + Send + Sync + 'static {
    /// Name of the algorithm, such as `gbdt`.
    fn algorithm(&self) -> &'static str;

    /// Every setting: what a run logs and a fingerprint covers.
    ///
    /// # Errors
    /// [`InvalidData`](mlops_core::Error::InvalidData) when a setting has no JSON form.
    fn settings(&self) -> Result<serde_json::Value>;

    /// Trains on `data`.
    ///
    /// # Errors
    /// [`Schema`](mlops_core::Error::Schema) or [`InvalidData`](mlops_core::Error::InvalidData) naming what cannot be
    /// learned from, [`Cancelled`](mlops_core::Error::Cancelled) when `on_round` said so.
    fn train(&self, data: &TrainData, on_round: &mut dyn FnMut(Round) -> ControlFlow<()>) -> Result<Trained>;
}

/// Features by descending weight.
fn by_weight(weights: impl Iterator<Item = (String, f64)>) -> Vec<(String, f64)> {
    let mut sorted: Vec<_> = weights.collect();
    sorted.sort_by(|a, b| b.1.total_cmp(&a.1));
    sorted
}
