//! Statistics that are computed in one pass and merge: over a table, a batch or a monitoring window.
//!
//! * Summaries: [`Moments`], [`Quantiles`], [`Distinct`], [`FrequentItems`], [`Histogram`], [`CategoryCounts`]. Each has
//!   `update…`, `update_array` over Arrow arrays, `merge`, and serde with a format number. `merge(a, b)` equals one pass over
//!   both, and the order of rows does not matter, to the error that each type states.
//! * Of several columns together: [`CoMoments`], [`Contingency`], [`spearman`].
//! * Distances and tests over counts: [`psi()`], [`psi_test`], [`chi2_test`], [`g_test`], [`fisher_exact`],
//!   [`proportions_z`], [`js_divergence`], [`kl_divergence`], [`hellinger`], [`total_variation`].
//! * Distances and tests over samples: [`ks_test`], [`cramer_von_mises`], [`anderson_darling`], [`kuiper`],
//!   [`mann_whitney_u`], [`t_test`], [`epps_singleton`], [`energy_distance`], [`wasserstein_1d`], [`mmd_unbiased`]; over
//!   sketches, [`ks_of_quantiles`] and [`ks_of_histograms`]. As Evidently computes them: [`psi_evidently`],
//!   [`psi_evidently_of_counts`], [`js_evidently`], [`wasserstein_evidently`].
//! * All of them by name over Arrow columns: [`compare_columns`]. For many tests at once: [`benjamini_hochberg`], [`holm`].
//! * Verdicts: [`drift`].

mod anderson_darling;
mod association;
pub(crate) mod bytes;
mod categories;
mod chi2;
mod comoments;
mod compare;
mod correction;
mod cramer_von_mises;
mod distance;
mod distinct;
pub mod drift;
mod energy;
mod epps_singleton;
mod evidently;
mod fisher;
mod frequent;
mod g_test;
pub(crate) mod hash;
mod histogram;
mod kll;
mod kolmogorov;
mod ks;
mod kuiper;
mod mann_whitney;
mod mmd;
mod moments;
mod number;
mod proportions;
mod psi;
mod quantiles;
mod radix;
mod t_test;
mod two_sample;
pub(crate) mod values;

pub use anderson_darling::anderson_darling;
pub(crate) use association::pearson;
pub use association::{Contingency, spearman};
pub use categories::CategoryCounts;
pub use chi2::{Chi2Test, RareCategories, chi2_test, chi2_two_sample};
pub use comoments::CoMoments;
pub use compare::{Comparison, Method, compare_columns};
pub use correction::{benjamini_hochberg, holm};
pub use cramer_von_mises::cramer_von_mises;
pub use distance::{hellinger, js_distance, js_divergence, kl_divergence, total_variation, wasserstein_1d};
pub use distinct::{Distinct, Estimate};
pub use drift::{ColumnDrift, DriftMethod, DriftRule, Verdict};
pub use energy::energy_distance;
pub use epps_singleton::epps_singleton;
pub use evidently::{js_evidently, psi_evidently, psi_evidently_of_counts, wasserstein_evidently};
pub use fisher::fisher_exact;
pub(crate) use frequent::cut;
pub use frequent::{FrequentItem, FrequentItems};
pub use g_test::g_test;
pub use histogram::Histogram;
pub use ks::{KsEstimate, KsPValue, KsTest, ks_of_histograms, ks_of_quantiles, ks_test, ks_two_sample};
pub use kuiper::kuiper;
pub use mann_whitney::mann_whitney_u;
pub use mmd::mmd_unbiased;
pub use moments::Moments;
pub use proportions::proportions_z;
pub use psi::{PsiTest, psi, psi_test};
pub use quantiles::{Quantiles, Ranks};
pub use t_test::{TTest, Variances, t_test};
pub use two_sample::TwoSampleTest;
