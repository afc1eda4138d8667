//! Statistics that are computed in one pass and merge: over a table, a batch or a monitoring window.
//!
//! * Summaries: [`Moments`], [`Quantiles`], [`Distinct`], [`FrequentItems`], [`Histogram`], [`CategoryCounts`]. Each has
//!   `update…`, `update_array` over Arrow arrays, `merge`, and serde with a format number. `merge(a, b)` equals one pass over
//!   both, and the order of rows does not matter, to the error that each type states.
//! * Of several columns together: [`CoMoments`], [`Contingency`], [`spearman`].
//! * Distances and tests over counts or samples: [`psi()`], [`psi_test`], [`chi2_two_sample`], [`ks_two_sample`],
//!   [`ks_of_quantiles`], [`js_divergence`], [`wasserstein_1d`], [`total_variation`], [`hellinger`], [`kl_divergence`].
//! * Verdicts: [`drift`].

mod association;
pub(crate) mod bytes;
mod categories;
mod chi2;
mod comoments;
mod distance;
mod distinct;
pub mod drift;
mod frequent;
pub(crate) mod hash;
mod histogram;
mod kll;
mod kolmogorov;
mod ks;
mod moments;
mod number;
mod psi;
mod quantiles;
pub(crate) mod values;

pub use association::{Contingency, spearman};
pub use categories::CategoryCounts;
pub use chi2::{Chi2Test, chi2_two_sample};
pub use comoments::CoMoments;
pub use distance::{hellinger, js_distance, js_divergence, kl_divergence, total_variation, wasserstein_1d};
pub use distinct::{Distinct, Estimate};
pub use drift::{ColumnDrift, DriftMethod, DriftRule, Verdict};
pub(crate) use frequent::cut;
pub use frequent::{FrequentItem, FrequentItems};
pub use histogram::Histogram;
pub use ks::{KsEstimate, KsTest, ks_of_histograms, ks_of_quantiles, ks_two_sample};
pub use moments::Moments;
pub use psi::{PsiTest, psi, psi_test};
pub use quantiles::{Quantiles, Ranks};
