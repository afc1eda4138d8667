//! Metrics of one ranked list, and their mean over queries.
//!
//! Conventions, here and in [`super::RankingTotals`]:
//! * A list is sorted by score, greatest first; equal scores stay in input order.
//! * An item is relevant when its label is above 0. `k` beyond the list means the whole list.
//! * A list without relevant items counts as LightGBM counts it in NDCG and MAP, 1.0 (any order is the best one);
//!   in the other metrics it counts 0.0, for nothing was found.

use super::check;
use crate::{Error, Result};

/// A checked list in the order of its scores.
pub(crate) struct Ranked {
    /// Labels, best score first.
    pub(crate) labels: Vec<f64>,
    pub(crate) relevant: usize,
}

impl Ranked {
    pub(crate) fn new(labels: &[f64], scores: &[f64]) -> Result<Self> {
        check::same_length(labels.len(), scores.len())?;
        check::not_negative("label", labels)?;
        check::finite("score", scores)?;
        let mut order: Vec<usize> = (0..labels.len()).collect();
        // Adding zero makes the two zeros equal, as they are.
        order.sort_by(|&a, &b| (scores[b] + 0.0).total_cmp(&(scores[a] + 0.0)));
        let labels: Vec<f64> = order.into_iter().map(|place| labels[place]).collect();
        let relevant = labels.iter().filter(|&&label| label > 0.0).count();
        Ok(Self { labels, relevant })
    }

    fn hits(&self, k: usize) -> usize {
        self.labels.iter().take(k).filter(|&&label| label > 0.0).count()
    }

    pub(crate) fn ndcg(&self, k: usize) -> f64 {
        if self.relevant == 0 {
            return 1.0;
        }
        // Gains of large grades are taken relative to the greatest, so that they do not overflow; those of small ones to the
        // last digit, so that they do not all become 0.
        let top = self.labels.iter().copied().fold(0.0, f64::max);
        let gain = |label: f64| {
            if top > 32.0 { (label - top).exp2() - (-top).exp2() } else { (label * std::f64::consts::LN_2).exp_m1() }
        };
        let dcg = |labels: &[f64]| -> f64 {
            let discounted = labels.iter().take(k).enumerate();
            discounted.map(|(place, &label)| gain(label) / (place as f64 + 2.0).log2()).sum()
        };
        let mut ideal = self.labels.clone();
        ideal.sort_unstable_by(|a, b| b.total_cmp(a));
        dcg(&self.labels) / dcg(&ideal)
    }

    pub(crate) fn reciprocal_rank(&self) -> f64 {
        self.labels.iter().position(|&label| label > 0.0).map_or(0.0, |place| 1.0 / (place as f64 + 1.0))
    }

    pub(crate) fn average_precision(&self, k: usize) -> f64 {
        if self.relevant == 0 {
            return 1.0;
        }
        let mut hits = 0.0;
        let mut sum = 0.0;
        for (place, _) in self.labels.iter().take(k).enumerate().filter(|&(_, &label)| label > 0.0) {
            hits += 1.0;
            sum += hits / (place as f64 + 1.0);
        }
        sum / self.relevant.min(k) as f64
    }

    pub(crate) fn precision(&self, k: usize) -> f64 {
        self.hits(k) as f64 / k as f64
    }

    pub(crate) fn recall(&self, k: usize) -> f64 {
        if self.relevant == 0 { 0.0 } else { self.hits(k) as f64 / self.relevant as f64 }
    }

    pub(crate) fn hit(&self, k: usize) -> f64 {
        f64::from(u8::from(self.hits(k) > 0))
    }
}

pub(crate) fn check_k(k: usize) -> Result<()> {
    if k == 0 { Err(Error::invalid("k", k, "at least 1")) } else { Ok(()) }
}

/// Normalised discounted cumulative gain of the first `k` items, in `0..=1`.
///
/// `DCG = Σ (2^label − 1) / log₂(place + 1)` with places from 1, divided by that of the best order; equal scores
/// stay in input order, and a list without relevant items counts 1.0 (LightGBM's convention).
///
/// * `labels`: relevance grades of at least 0; `scores`: any finite numbers, greater is better.
///
/// # Errors
/// [`Error::Invalid`] when the lengths differ, the list is empty or `k` is 0; [`Error::InvalidData`] for a NaN score or a negative label.
///
/// # Source
/// Järvelin, Kekäläinen, *Cumulated gain-based evaluation of IR techniques*, TOIS 20, 2002, with the exponential gain of
/// Burges et al. 2005.
///
/// # Examples
/// ```
/// let ndcg = mlops_core::metrics::ndcg_at_k(&[1.0, 0.0], &[0.3, 0.7], 10)?;
/// assert!((ndcg - 1.0 / 3_f64.log2()).abs() < 1e-12);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn ndcg_at_k(labels: &[f64], scores: &[f64], k: usize) -> Result<f64> {
    check_k(k)?;
    Ok(Ranked::new(labels, scores)?.ndcg(k))
}

/// Reciprocal rank of the first relevant item: 1 when it leads, 0 when there is none. Its mean over queries is the MRR.
///
/// # Errors
/// As [`ndcg_at_k`].
pub fn mrr(labels: &[f64], scores: &[f64]) -> Result<f64> {
    Ok(Ranked::new(labels, scores)?.reciprocal_rank())
}

/// Average precision of the first `k` items, in `0..=1`; its mean over queries is MAP@k.
///
/// `Σ precision@i over relevant places i ≤ k, divided by min(relevant, k)`. A list without relevant items counts 1.0, as in LightGBM.
///
/// # Errors
/// As [`ndcg_at_k`].
pub fn average_precision(labels: &[f64], scores: &[f64], k: usize) -> Result<f64> {
    check_k(k)?;
    Ok(Ranked::new(labels, scores)?.average_precision(k))
}

/// Share of the first `k` places with a relevant item; places beyond the end of the list count as misses.
///
/// # Errors
/// As [`ndcg_at_k`].
pub fn precision_at_k(labels: &[f64], scores: &[f64], k: usize) -> Result<f64> {
    check_k(k)?;
    Ok(Ranked::new(labels, scores)?.precision(k))
}

/// Share of the relevant items that are among the first `k`; 0 when there are none.
///
/// # Errors
/// As [`ndcg_at_k`].
pub fn recall_at_k(labels: &[f64], scores: &[f64], k: usize) -> Result<f64> {
    check_k(k)?;
    Ok(Ranked::new(labels, scores)?.recall(k))
}

/// 1 when a relevant item is among the first `k`, else 0.
///
/// # Errors
/// As [`ndcg_at_k`].
pub fn hit_at_k(labels: &[f64], scores: &[f64], k: usize) -> Result<f64> {
    check_k(k)?;
    Ok(Ranked::new(labels, scores)?.hit(k))
}

/// Mean of `metric` over queries that lie one after another; `sizes` are the lengths of their lists.
///
/// Empty lists are left out.
///
/// # Errors
/// [`Error::Invalid`] when the sizes do not sum to the number of rows or all are 0, [`Error::Stage`] with the number of the query
/// when `metric` fails.
///
/// # Examples
/// ```
/// use mlops_core::metrics::{mean_per_query, mrr};
///
/// let mean = mean_per_query(&[1.0, 0.0, 0.0, 1.0], &[0.9, 0.1, 0.8, 0.2], &[2, 2], mrr)?;
/// assert_eq!(mean, 0.75);
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn mean_per_query(
    labels: &[f64],
    scores: &[f64],
    sizes: &[usize],
    metric: impl Fn(&[f64], &[f64]) -> Result<f64>,
) -> Result<f64> {
    check::same_length(labels.len(), scores.len())?;
    let total = sizes.iter().fold(0_usize, |sum, &size| sum.saturating_add(size));
    if total != labels.len() {
        return Err(Error::invalid("sum of query sizes", total, "the number of rows"));
    }
    let (mut sum, mut queries, mut start) = (0.0, 0_u64, 0);
    for (query, &size) in sizes.iter().enumerate().filter(|&(_, &size)| size > 0) {
        let rows = start..start + size;
        let value = metric(&labels[rows.clone()], &scores[rows])
            .map_err(|error| Error::stage(format!("query {query} (rows from {start})"), error))?;
        (sum, queries, start) = (sum + value, queries + 1, start + size);
    }
    Ok(sum / queries as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LABELS: [f64; 6] = [3.0, 2.0, 3.0, 0.0, 1.0, 2.0];
    const SCORES: [f64; 6] = [0.6, 0.5, 0.4, 0.3, 0.2, 0.1];

    #[track_caller]
    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }

    #[test]
    fn ndcg_agrees_with_a_calculation_by_hand() {
        // gains 7 3 7 0 1 3; ideal 7 7 3 3 1 0
        let discount = |place: f64| 1.0 / (place + 1.0).log2();
        let dcg = 7.0 + 3.0 * discount(2.0) + 7.0 * discount(3.0);
        let ideal = 7.0 + 7.0 * discount(2.0) + 3.0 * discount(3.0);
        close(ndcg_at_k(&LABELS, &SCORES, 3).unwrap(), dcg / ideal);
        // scikit-learn 1.9.1: ndcg_score([[7, 3, 7, 0, 1, 3]], [scores])
        close(ndcg_at_k(&LABELS, &SCORES, 100).unwrap(), 0.9488107485678984);
    }

    #[test]
    fn equal_scores_stay_in_input_order() {
        close(mrr(&[0.0, 1.0, 0.0], &[0.5; 3]).unwrap(), 0.5);
        close(mrr(&[1.0, 0.0], &[-0.0, 0.0]).unwrap(), 1.0);
    }

    #[test]
    fn a_list_without_relevant_items_follows_the_convention() {
        let (labels, scores) = ([0.0, 0.0], [0.2, 0.1]);
        close(ndcg_at_k(&labels, &scores, 5).unwrap(), 1.0);
        close(average_precision(&labels, &scores, 5).unwrap(), 1.0);
        close(mrr(&labels, &scores).unwrap(), 0.0);
        close(recall_at_k(&labels, &scores, 5).unwrap(), 0.0);
        close(hit_at_k(&labels, &scores, 5).unwrap(), 0.0);
    }

    #[test]
    fn binary_metrics_of_one_list() {
        // places 1 and 3 of 4 are relevant
        let (labels, scores) = ([1.0, 0.0, 1.0, 0.0], [4.0, 3.0, 2.0, 1.0]);
        close(average_precision(&labels, &scores, 4).unwrap(), f64::midpoint(1.0, 2.0 / 3.0));
        close(average_precision(&labels, &scores, 1).unwrap(), 1.0);
        close(precision_at_k(&labels, &scores, 3).unwrap(), 2.0 / 3.0);
        close(precision_at_k(&labels, &scores, 8).unwrap(), 2.0 / 8.0);
        close(recall_at_k(&labels, &scores, 2).unwrap(), 0.5);
        close(hit_at_k(&labels, &scores, 1).unwrap(), 1.0);
    }

    #[test]
    fn large_grades_do_not_overflow() {
        close(ndcg_at_k(&[2000.0, 0.0], &[0.0, 1.0], 2).unwrap(), 1.0 / 3_f64.log2());
    }

    #[test]
    fn bad_input_names_its_position() {
        let error = ndcg_at_k(&[1.0, 0.0], &[0.1, f64::NAN], 5).unwrap_err().to_string();
        assert_eq!(error, "score at position 1: NaN is not a finite number");
        let error = mrr(&[0.0, -1.0], &[0.1, 0.2]).unwrap_err().to_string();
        assert!(error.starts_with("label at position 1"), "{error}");
        assert!(ndcg_at_k(&[1.0], &[0.1, 0.2], 5).is_err());
        assert!(ndcg_at_k(&[], &[], 5).is_err());
        assert!(ndcg_at_k(&[1.0], &[0.1], 0).is_err());
    }

    #[test]
    fn the_mean_over_queries_names_the_query_that_fails() {
        let labels = [1.0, 0.0, 1.0];
        assert!(mean_per_query(&labels, &[0.1; 3], &[1, 1], mrr).is_err());
        let error = mean_per_query(&labels, &[0.1, 0.2, f64::NAN], &[1, 0, 2], mrr).unwrap_err().to_string();
        assert!(error.contains("query 2 (rows from 1)"), "{error}");
        close(mean_per_query(&labels, &[0.1, 0.2, 0.1], &[1, 0, 2], mrr).unwrap(), 0.75);
    }
}
