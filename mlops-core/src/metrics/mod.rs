//! How good predictions are: ranking, classification, calibration, regression, fairness.
//!
//! Functions take slices of equal length: labels first, then scores or predictions. A NaN, an infinity or a label out of its
//! domain is an [`crate::Error::InvalidData`] that names the position; lengths that differ are an [`crate::Error::Invalid`].
//!
//! For a stream, the `…Totals` structs hold sums that merge: [`RankingTotals`], [`BinaryTotals`], [`RegressionTotals`], [`Confusion`],
//! [`GroupRates`]. They equal the functions over all rows, to rounding or to the error that they state.

mod binary;
mod binary_totals;
mod calibration;
mod check;
mod confusion;
mod fairness;
mod ranking;
mod ranking_totals;
mod regression;

pub use binary::{accuracy, auc, brier, log_loss};
pub use binary_totals::BinaryTotals;
pub use calibration::{CalibrationBin, calibration_bins, ece};
pub use confusion::Confusion;
pub use fairness::{GroupCounts, GroupRates};
pub use ranking::{average_precision, hit_at_k, mean_per_query, mrr, ndcg_at_k, precision_at_k, recall_at_k};
pub use ranking_totals::{RankingMeans, RankingTotals};
pub use regression::{RegressionTotals, mae, r2, rmse};
