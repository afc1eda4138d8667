//! Sums of ranking metrics over a stream of queries.

use serde::{Deserialize, Serialize};

use super::ranking::{Ranked, check_k};
use crate::{Error, Result};

/// Sums of per-query metrics at one `k`; merging adds them, to rounding.
///
/// The conventions on ties and on queries without relevant items are those of [`super::ndcg_at_k`] and its siblings.
///
/// # Examples
/// ```
/// let mut totals = mlops_core::metrics::RankingTotals::new(10)?;
/// totals.update(&[0.0, 1.0], &[0.9, 0.1])?;
/// assert_eq!(totals.means().unwrap().mrr, 0.5);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct RankingTotals {
    k: usize,
    queries: u64,
    without_relevant: u64,
    sums: RankingMeans,
}

/// Means over queries, each in `0..=1`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RankingMeans {
    /// Normalised discounted cumulative gain at `k`.
    pub ndcg: f64,
    /// Mean reciprocal rank, over the whole list.
    pub mrr: f64,
    /// Mean average precision at `k`.
    pub map: f64,
    /// Precision at `k`.
    pub precision: f64,
    /// Recall at `k`.
    pub recall: f64,
    /// Share of queries with a relevant item among the first `k`.
    pub hit: f64,
}

impl RankingMeans {
    fn combine(self, other: Self, f: impl Fn(f64, f64) -> f64) -> Self {
        Self {
            ndcg: f(self.ndcg, other.ndcg),
            mrr: f(self.mrr, other.mrr),
            map: f(self.map, other.map),
            precision: f(self.precision, other.precision),
            recall: f(self.recall, other.recall),
            hit: f(self.hit, other.hit),
        }
    }
}

impl RankingTotals {
    /// No queries yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `k` is 0.
    pub fn new(k: usize) -> Result<Self> {
        check_k(k)?;
        Ok(Self { k, queries: 0, without_relevant: 0, sums: RankingMeans::default() })
    }

    /// Adds the ranked list of one query.
    ///
    /// # Errors
    /// As [`super::ndcg_at_k`]; nothing is added then.
    pub fn update(&mut self, labels: &[f64], scores: &[f64]) -> Result<()> {
        let ranked = Ranked::new(labels, scores)?;
        let values = RankingMeans {
            ndcg: ranked.ndcg(self.k),
            mrr: ranked.reciprocal_rank(),
            map: ranked.average_precision(self.k),
            precision: ranked.precision(self.k),
            recall: ranked.recall(self.k),
            hit: ranked.hit(self.k),
        };
        self.queries += 1;
        self.without_relevant += u64::from(ranked.relevant == 0);
        self.sums = self.sums.combine(values, |sum, value| sum + value);
        Ok(())
    }

    /// Adds the queries of `other`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the `k` differ; nothing is added then.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.k != other.k {
            return Err(Error::invalid("k of merged totals", other.k, "equal"));
        }
        self.queries += other.queries;
        self.without_relevant += other.without_relevant;
        self.sums = self.sums.combine(other.sums, |a, b| a + b);
        Ok(())
    }

    /// The cut.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Queries seen.
    pub fn queries(&self) -> u64 {
        self.queries
    }

    /// Queries without a relevant item: their NDCG and MAP are 1.0 by convention, which lifts the means.
    pub fn without_relevant(&self) -> u64 {
        self.without_relevant
    }

    /// Means over all queries; `None` without any.
    pub fn means(&self) -> Option<RankingMeans> {
        let queries = self.queries as f64;
        (self.queries > 0).then(|| self.sums.combine(RankingMeans::default(), |sum, _| sum / queries))
    }

    /// Means over the queries with a relevant item; `None` without any.
    pub fn means_of_answerable(&self) -> Option<RankingMeans> {
        let (empty, answerable) = (self.without_relevant as f64, (self.queries - self.without_relevant) as f64);
        let by_convention = RankingMeans { ndcg: empty, map: empty, ..RankingMeans::default() };
        (answerable > 0.0).then(|| self.sums.combine(by_convention, |sum, given| (sum - given) / answerable))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: u32,
    k: usize,
    queries: u64,
    without_relevant: u64,
    sums: RankingMeans,
}

impl From<RankingTotals> for Wire {
    fn from(totals: RankingTotals) -> Self {
        let RankingTotals { k, queries, without_relevant, sums } = totals;
        Self { format: 1, k, queries, without_relevant, sums }
    }
}

impl TryFrom<Wire> for RankingTotals {
    type Error = Error;

    fn try_from(wire: Wire) -> Result<Self> {
        crate::stats::bytes::check_format("ranking totals", wire.format, 1)?;
        check_k(wire.k)?;
        if wire.without_relevant > wire.queries || wire.queries > 1 << 56 {
            return Err(Error::corrupt("ranking totals", "counts contradict each other"));
        }
        let Wire { k, queries, without_relevant, sums, .. } = wire;
        Ok(Self { k, queries, without_relevant, sums })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_equal_the_mean_of_the_functions_whatever_the_split() {
        let queries: Vec<(Vec<f64>, Vec<f64>)> = (0_u32..20)
            .map(|q| {
                let rows = 0..(3 + q % 5);
                (
                    rows.clone().map(|i| f64::from((i * 7 + q) % 3)).collect(),
                    rows.map(|i| f64::from((i * 5 + q) % 4)).collect(),
                )
            })
            .collect();
        let of = |part: &[(Vec<f64>, Vec<f64>)]| {
            let mut totals = RankingTotals::new(3).unwrap();
            part.iter().for_each(|(labels, scores)| totals.update(labels, scores).unwrap());
            totals
        };
        let mut merged = of(&queries[..7]);
        merged.merge(&of(&queries[7..])).unwrap();
        let mean = queries.iter().map(|(l, s)| super::super::ndcg_at_k(l, s, 3).unwrap()).sum::<f64>() / 20.0;
        assert!((merged.means().unwrap().ndcg - mean).abs() < 1e-12);
        assert!((of(&queries).means().unwrap().map - merged.means().unwrap().map).abs() < 1e-12);
    }

    #[test]
    fn queries_without_relevant_items_can_be_left_out() {
        let mut totals = RankingTotals::new(2).unwrap();
        totals.update(&[0.0, 0.0], &[0.2, 0.1]).unwrap();
        totals.update(&[0.0, 1.0], &[0.2, 0.1]).unwrap();
        let second = 1.0 / 3_f64.log2();
        assert!((totals.means().unwrap().ndcg - f64::midpoint(1.0, second)).abs() < 1e-12);
        assert!((totals.means_of_answerable().unwrap().ndcg - second).abs() < 1e-12);
        assert_eq!(RankingTotals::new(2).unwrap().means(), None);
        assert!(totals.merge(&RankingTotals::new(3).unwrap()).is_err());
    }

    #[test]
    fn json_comes_back_and_contradictions_are_refused() {
        let mut totals = RankingTotals::new(5).unwrap();
        totals.update(&[0.0, 1.0], &[0.2, 0.1]).unwrap();
        let json = serde_json::to_string(&totals).unwrap();
        assert_eq!(serde_json::from_str::<RankingTotals>(&json).unwrap(), totals);
        let broken = json.replace("\"without_relevant\":0", "\"without_relevant\":7");
        assert!(serde_json::from_str::<RankingTotals>(&broken).is_err());
    }
}
