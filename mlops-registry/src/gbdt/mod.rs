//! Gradient boosting on histograms: our own trainer, which writes the [`Forest`] that is served.
//!
//! Trees grow leaf by leaf where the loss falls most; features are cut into at most 255 bins; a split learns on which side
//! missing values do better; one of two sibling histograms is got by subtraction. One thread, no global state: the same
//! seed, settings and data give the same forest, byte for byte (on one platform: `exp` and `log2` are the system's).
//! Entry point: [`train`].
//!
//! # Source
//! Friedman, *Greedy function approximation: a gradient boosting machine*, Annals of Statistics, 2001; Ke et al.,
//! *LightGBM: a highly efficient gradient boosting decision tree*, NIPS 2017; for ranking Burges, MSR-TR-2010-82.

mod bins;
mod grow;
mod lambdarank;
mod loss;
mod matrix;
mod params;
mod random;
mod run;

pub use loss::Metric;
pub use matrix::{LABEL_MAX, TrainingMatrix, WEIGHT_MAX};
pub use params::{BINS_MAX, GRADE_MAX, GbdtParams, GbdtParamsBuilder, Objective, TREE_LEAVES_MAX};
pub use run::{RoundReport, Stopped, Trained, TrainingReport, train};

#[cfg(doc)]
use crate::forest::Forest;

#[cfg(test)]
mod tests;
