//! Ranking: LambdaMART's gradients, and the NDCG that they raise.

use std::ops::Range;

use super::grow::Gradient;
use super::matrix::TrainingMatrix;
use super::params::GbdtParamsBuilder;

/// Keeps a pair of near-equal scores from weighing without bound.
const SCORE_GAP_FLOOR: f64 = 0.01;

/// Gain of a relevance grade.
fn gain(label: f64) -> f64 {
    label.exp2() - 1.0
}

/// Weight of the zero-based rank.
fn discount(rank: usize) -> f64 {
    1.0 / (rank as f64 + 2.0).log2()
}

/// Sorts row offsets `0..scores.len()` by score, best first; equal scores keep their order.
fn sort_by_score(scores: &[f64], order: &mut Vec<u32>) {
    order.clear();
    order.extend(0..scores.len() as u32);
    // Adding 0 makes one zero of both.
    order.sort_by(|&a, &b| (scores[b as usize] + 0.0).total_cmp(&(scores[a as usize] + 0.0)));
}

/// The rows of each query and the greatest DCG that an order of them can have at `cut`.
struct Queries {
    rows: Vec<Range<usize>>,
    ideal: Vec<f64>,
    /// By rank, for the longest query.
    discounts: Vec<f64>,
}

impl Queries {
    fn new(matrix: &TrainingMatrix, cut: usize) -> Self {
        let mut start = 0;
        let sizes = matrix.groups().unwrap_or_default().iter();
        let rows: Vec<Range<usize>> = sizes
            .map(|&size| {
                let range = start..start + size as usize;
                start = range.end;
                range
            })
            .collect();
        let longest = rows.iter().map(Range::len).max().unwrap_or(0);
        let discounts: Vec<f64> = (0..longest).map(discount).collect();
        let ideal = rows.iter().map(|rows| {
            let mut labels = matrix.labels()[rows.clone()].to_vec();
            labels.sort_unstable_by(|a, b| b.total_cmp(a));
            labels.iter().zip(&discounts).take(cut).map(|(&label, discount)| gain(label) * discount).sum()
        });
        Self { ideal: ideal.collect(), rows, discounts }
    }
}

/// Mean NDCG over the queries of a matrix.
pub(super) struct Ndcg {
    queries: Queries,
    cut: usize,
    order: Vec<u32>,
}

impl Ndcg {
    pub(super) fn new(matrix: &TrainingMatrix, cut: usize) -> Self {
        Self { queries: Queries::new(matrix, cut), cut, order: Vec::new() }
    }

    pub(super) fn mean(&mut self, matrix: &TrainingMatrix, scores: &[f64]) -> f64 {
        let Self { queries, cut, order } = self;
        let mut sum = 0.0;
        for (rows, &ideal) in queries.rows.iter().zip(&queries.ideal) {
            if ideal <= 0.0 {
                sum += 1.0;
                continue;
            }
            sort_by_score(&scores[rows.clone()], order);
            let labels = &matrix.labels()[rows.clone()];
            let ranked = order.iter().zip(&queries.discounts).take(*cut);
            sum += ranked.map(|(&at, discount)| gain(labels[at as usize]) * discount).sum::<f64>() / ideal;
        }
        sum / queries.rows.len() as f64
    }
}

/// Gradients of one training matrix.
pub(super) struct LambdaRank {
    queries: Queries,
    sigmoid: f64,
    truncation: usize,
    normalise: bool,
    order: Vec<u32>,
    /// The rows of one query from best to worst: score, label, gain.
    ranked: Vec<(f64, f64, f64)>,
    sums: Vec<Gradient>,
}

impl LambdaRank {
    pub(super) fn new(matrix: &TrainingMatrix, settings: &GbdtParamsBuilder) -> Self {
        let truncation = settings.rank_truncation as usize;
        Self {
            queries: Queries::new(matrix, truncation),
            sigmoid: settings.sigmoid,
            truncation,
            normalise: settings.rank_normalise,
            order: Vec::new(),
            ranked: Vec::new(),
            sums: Vec::new(),
        }
    }

    /// LambdaMART: pairs of different grade pull apart, each as hard as swapping the two would change NDCG.
    ///
    /// For rows `i` (higher grade) and `j` of one query, at least one of them among the first `truncation` by score:
    ///
    /// ```text
    /// ΔNDCG = (2^lᵢ - 2^lⱼ) · |1/log2(rᵢ + 1) - 1/log2(rⱼ + 1)| / idealDCG@truncation        (ranks from 1)
    /// ρ     = 1 / (1 + exp(σ (sᵢ - sⱼ)))
    /// λ     = σ · ΔNDCG · ρ                   gᵢ -= λ,  gⱼ += λ
    /// η     = σ² · ΔNDCG · ρ (1 - ρ)          hᵢ += η,  hⱼ += η
    /// ```
    ///
    /// With normalisation, as LightGBM does it: `ΔNDCG` of a pair is divided by `0.01 + |sᵢ - sⱼ|` unless all scores of
    /// the query are equal, and all of a query's sums are scaled by `log2(1 + Λ) / Λ` with `Λ = Σ 2λ`, so that a query
    /// with many pairs does not drown the others. At the end each row is multiplied by its weight.
    ///
    /// Takes time in proportion to `truncation` times the rows.
    ///
    /// # Source
    /// Burges, *From RankNet to LambdaRank to LambdaMART: an overview*, MSR-TR-2010-82, 2010.
    pub(super) fn gradients(&mut self, matrix: &TrainingMatrix, scores: &[f64], out: &mut [Gradient]) {
        for query in 0..self.queries.rows.len() {
            let rows = self.queries.rows[query].clone();
            let ideal = self.queries.ideal[query];
            out[rows.clone()].fill([0.0; 2]);
            if ideal <= 0.0 {
                continue;
            }
            sort_by_score(&scores[rows.clone()], &mut self.order);
            self.rank(&matrix.labels()[rows.clone()], &scores[rows.clone()]);
            let scale = self.sum_pairs(ideal);
            for (&at, [gradient, hessian]) in self.order.iter().zip(&self.sums) {
                let row = rows.start + at as usize;
                let weight = scale * matrix.weights().map_or(1.0, |weights| weights[row]);
                out[row] = [gradient * weight, hessian * weight];
            }
        }
    }

    fn rank(&mut self, labels: &[f64], scores: &[f64]) {
        self.ranked.clear();
        self.ranked.extend(self.order.iter().map(|&at| {
            let at = at as usize;
            (scores[at], labels[at], gain(labels[at]))
        }));
        self.sums.clear();
        self.sums.resize(labels.len(), [0.0; 2]);
    }

    /// Sums the pairs of one query by rank; returns what the sums are to be multiplied by.
    fn sum_pairs(&mut self, ideal: f64) -> f64 {
        let Self { queries, sigmoid, truncation, normalise, ranked, sums, .. } = self;
        let (discounts, sigmoid) = (&queries.discounts, *sigmoid);
        let by_gap = *normalise && ranked.first().map(|row| row.0) != ranked.last().map(|row| row.0);
        let mut pull = 0.0;
        for upper in 0..ranked.len().saturating_sub(1).min(*truncation) {
            for lower in upper + 1..ranked.len() {
                if ranked[upper].1 == ranked[lower].1 {
                    continue;
                }
                let (high, low) = if ranked[upper].1 > ranked[lower].1 { (upper, lower) } else { (lower, upper) };
                let gap = ranked[high].0 - ranked[low].0;
                let mut delta = (ranked[high].2 - ranked[low].2) * (discounts[upper] - discounts[lower]) / ideal;
                if by_gap {
                    delta /= SCORE_GAP_FLOOR + gap.abs();
                }
                let rho = 1.0 / (1.0 + (sigmoid * gap).exp());
                let lambda = sigmoid * delta * rho;
                let eta = sigmoid * sigmoid * delta * rho * (1.0 - rho);
                sums[high] = [sums[high][0] - lambda, sums[high][1] + eta];
                sums[low] = [sums[low][0] + lambda, sums[low][1] + eta];
                pull += 2.0 * lambda;
            }
        }
        if *normalise && pull > 0.0 { (1.0 + pull).log2() / pull } else { 1.0 }
    }
}
