//! Feature values as small integers: what histograms are made of.

use super::matrix::TrainingMatrix;
use super::params::GbdtParamsBuilder;
use super::random::SplitMix64;

/// Bin of missing values, in every feature.
pub(super) const MISSING: u8 = u8::MAX;

/// One feature that can be split.
pub(super) struct BinnedFeature {
    /// Column in the matrix, and feature in the forest.
    pub(super) column: usize,
    /// Greatest value of each bin but the last: a row is in the first bin whose edge is not below its value.
    pub(super) edges: Vec<f64>,
    /// Bin of each row.
    pub(super) bins: Vec<u8>,
    pub(super) has_missing: bool,
}

impl BinnedFeature {
    /// Number of bins for values.
    pub(super) fn value_bins(&self) -> usize {
        self.edges.len() + 1
    }

    /// Number of histogram cells.
    pub(super) fn cells(&self) -> usize {
        self.value_bins() + usize::from(self.has_missing)
    }
}

/// The splittable features of a training matrix; constant columns are left out.
pub(super) struct Binned {
    pub(super) features: Vec<BinnedFeature>,
    pub(super) rows: usize,
}

impl Binned {
    pub(super) fn fit(matrix: &TrainingMatrix, settings: &GbdtParamsBuilder, random: &mut SplitMix64) -> Self {
        let (rows, sample) = (matrix.rows(), settings.bin_sample_rows as usize);
        let sampled = (sample < rows).then(|| random.choose(sample, rows));
        let mut features = Vec::new();
        for (at, column) in matrix.columns().iter().enumerate() {
            let mut values: Vec<f64> = match &sampled {
                Some(sampled) => sampled.iter().map(|&row| column[row as usize]).collect(),
                None => column.clone(),
            };
            values.retain(|value| !value.is_nan());
            for value in &mut values {
                *value = bounded(*value);
            }
            values.sort_unstable_by(f64::total_cmp);
            let edges = edges(&values, settings.bins_max as usize);
            let bins = bin_column(column, &edges);
            let has_missing = bins.contains(&MISSING);
            let has_value = bins.iter().any(|&bin| bin != MISSING);
            if !edges.is_empty() || (has_missing && has_value) {
                features.push(BinnedFeature { column: at, edges, bins, has_missing });
            }
        }
        Self { features, rows }
    }

    /// The rows of another matrix with the same columns, in the bins of this one; one column per feature.
    pub(super) fn apply(&self, matrix: &TrainingMatrix) -> Vec<Vec<u8>> {
        self.features.iter().map(|feature| bin_column(&matrix.columns()[feature.column], &feature.edges)).collect()
    }
}

/// Infinities as the extreme finite values, one zero for both; edges between such values are finite.
fn bounded(value: f64) -> f64 {
    value.clamp(f64::MIN, f64::MAX) + 0.0
}

fn bin_column(column: &[f64], edges: &[f64]) -> Vec<u8> {
    let bin = |value: &f64| if value.is_nan() { MISSING } else { edges.partition_point(|edge| edge < value) as u8 };
    column.iter().map(bin).collect()
}

/// At most `bins_max - 1` edges that cut ascending `values` into bins of about the same number of rows.
///
/// With few distinct values each gets a bin. Otherwise a value that alone fills a bin gets one, and the others share what
/// is left; an edge is in the middle between two values.
fn edges(values: &[f64], bins_max: usize) -> Vec<f64> {
    let distinct: Vec<(f64, usize)> = values.chunk_by(|a, b| a == b).map(|same| (same[0], same.len())).collect();
    let cuts = if distinct.len() <= bins_max { (1..distinct.len()).collect() } else { cuts(&distinct, bins_max) };
    cuts.into_iter().map(|cut| between(distinct[cut - 1].0, distinct[cut].0)).collect()
}

/// Where bins start among more than `bins_max` distinct values, without the first.
fn cuts(distinct: &[(f64, usize)], bins_max: usize) -> Vec<usize> {
    let rows: usize = distinct.iter().map(|value| value.1).sum();
    let fills_alone = |value: &(f64, usize)| value.1 * bins_max >= rows;
    let alone: usize = distinct.iter().filter(|value| fills_alone(value)).count();
    // Rows and bins that the values which do not fill a bin have yet to share.
    let mut rows_left: usize = distinct.iter().filter(|value| !fills_alone(value)).map(|value| value.1).sum();
    let mut bins_left = bins_max - alone;
    let mut cuts = Vec::with_capacity(bins_max - 1);
    let mut size = 0;
    for (at, pair) in distinct.windows(2).enumerate() {
        let share = rows_left as f64 / bins_left.max(1) as f64;
        let own = fills_alone(&pair[0]);
        size += pair[0].1;
        let next_alone = fills_alone(&pair[1]);
        if own || size as f64 >= share || (next_alone && size as f64 >= (share / 2.0).max(1.0)) {
            cuts.push(at + 1);
            if !own {
                rows_left -= size;
                bins_left = bins_left.saturating_sub(1);
            }
            size = 0;
            if cuts.len() == bins_max - 1 {
                break;
            }
        }
    }
    cuts
}

/// The middle of `low < high`, at least `low` and below `high`.
fn between(low: f64, high: f64) -> f64 {
    let middle = low / 2.0 + high / 2.0;
    if middle >= low && middle < high { middle } else { low }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_values_get_a_bin_each() {
        assert_eq!(edges(&[1.0, 1.0, 2.0, 4.0], 255), [1.5, 3.0]);
        assert!(edges(&[3.0; 9], 255).is_empty());
        assert!(edges(&[], 255).is_empty());
    }

    #[test]
    fn many_values_share_bins_evenly() {
        let values: Vec<f64> = (0..1_000).map(f64::from).collect();
        let edges = edges(&values, 10);
        assert_eq!(edges, [99.5, 199.5, 299.5, 399.5, 499.5, 599.5, 699.5, 799.5, 899.5]);
    }

    #[test]
    fn a_frequent_value_has_a_bin_of_its_own() {
        let mut values: Vec<f64> = (1..=400).map(f64::from).chain([0.0; 600]).collect();
        values.sort_unstable_by(f64::total_cmp);
        let edges = edges(&values, 5);
        // Zero alone; 400 values in the four bins that are left.
        assert_eq!(edges, [0.5, 100.5, 200.5, 300.5]);
    }

    #[test]
    fn never_more_bins_than_asked() {
        for bins in 2..40 {
            for step in 1..30_usize {
                let mut values: Vec<f64> = (0..500_usize).map(|at| (at * at / step % 97) as f64).collect();
                values.sort_unstable_by(f64::total_cmp);
                let edges = edges(&values, bins);
                assert!(edges.len() < bins, "{bins} bins, step {step}: {} edges", edges.len());
                assert!(edges.is_sorted_by(|a, b| a < b));
            }
        }
    }

    #[test]
    fn an_edge_separates_its_neighbours() {
        let pairs = [(0.0, 5e-324), (-5e-324, 0.0), (f64::MIN, f64::MAX), (1.0, 1.0 + f64::EPSILON), (-2.0, 3.0)];
        for (low, high) in pairs {
            let edge = between(low, high);
            assert!(low <= edge && edge < high && edge.is_finite(), "{edge} between {low} and {high}");
        }
    }

    #[test]
    fn infinities_are_extreme_values_and_nan_is_missing() {
        let edges = edges(&[f64::MIN, 0.0, f64::MAX], 255);
        let column = [f64::NEG_INFINITY, f64::MIN, -0.0, 0.0, f64::MAX, f64::INFINITY, f64::NAN];
        assert_eq!(bin_column(&column, &edges), [0, 0, 1, 1, 2, 2, MISSING]);
    }
}
