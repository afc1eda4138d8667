//! How good pages truly are, by what the world knows and no model sees.

use mlops_core::metrics::ndcg_at_k;

use crate::Result;
use crate::history::History;
use crate::world::{Ask, Reaction, World};

/// Cut of all rankings that are judged.
pub const CUT: usize = 10;

/// Means over requests.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Tally {
    /// Requests that were judged.
    pub requests: u64,
    ndcg: f64,
    revenue: f64,
    clicks: f64,
}

impl Tally {
    /// Adds one page.
    pub fn add(&mut self, ndcg: f64, revenue: f64, clicks: f64) {
        self.requests += 1;
        self.ndcg += ndcg;
        self.revenue += revenue;
        self.clicks += clicks;
    }

    /// Adds the pages of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.ndcg += other.ndcg;
        self.revenue += other.revenue;
        self.clicks += other.clicks;
    }

    /// Mean NDCG at [`CUT`] by true relevance; NaN without requests.
    pub fn ndcg(&self) -> f64 {
        self.ndcg / self.requests as f64
    }

    /// Mean revenue per request in VND; NaN without requests.
    pub fn revenue(&self) -> f64 {
        self.revenue / self.requests as f64
    }

    /// Mean clicks per request; NaN without requests.
    pub fn clicks(&self) -> f64 {
        self.clicks / self.requests as f64
    }
}

/// NDCG at [`CUT`] of `page` among all candidates; `None` when nothing is relevant, so that no page is better than another.
///
/// # Errors
/// When a metric refuses its input.
pub fn ndcg_of_page(ask: &Ask, page: &[i64], grades: &[u8]) -> Result<Option<f64>> {
    // What was not shown stands below what was.
    let score = |offer: &i64| page.iter().position(|shown| shown == offer).map_or(-1.0, |place| (page.len() - place) as f64);
    ndcg(grades, &ask.candidates.iter().map(score).collect::<Vec<_>>())
}

fn ndcg(grades: &[u8], scores: &[f64]) -> Result<Option<f64>> {
    if grades.iter().all(|grade| *grade == 0) {
        return Ok(None);
    }
    let labels: Vec<f64> = grades.iter().map(|grade| f64::from(*grade)).collect();
    Ok(Some(ndcg_at_k(&labels, scores, CUT)?))
}

/// What a request came to, beside what simple rankers would have made of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Verdicts {
    /// What was served.
    pub served: Tally,
    /// The most popular first.
    pub popularity: Tally,
    /// By the mean of who asks, which is the same for every candidate: any order, so the mean over all orders.
    pub user_mean: Tally,
}

impl Verdicts {
    /// Judges one answered request.
    ///
    /// # Errors
    /// When the world does not know what was asked.
    pub fn add(&mut self, world: &dyn World, history: &History, ask: &Ask, page: &[i64], came: &[Reaction]) -> Result<()> {
        let grades = world.grades(ask)?;
        let popularity: Vec<f64> = ask.candidates.iter().map(|offer| world.popularity(history, *offer)).collect();
        let (Some(served), Some(popular)) = (ndcg_of_page(ask, page, &grades)?, ndcg(&grades, &popularity)?) else {
            return Ok(());
        };
        let shown = came.iter().filter(|reaction| reaction.position.is_some());
        let clicks = shown.clone().filter(|reaction| reaction.clicked_at.is_some()).count() as f64;
        self.served.add(served, shown.map(|reaction| reaction.revenue).sum(), clicks);
        self.popularity.add(popular, 0.0, 0.0);
        self.user_mean.add(expected_ndcg(&grades), 0.0, 0.0);
        Ok(())
    }

    /// Adds the requests of `other`.
    pub fn merge(&mut self, other: &Self) {
        self.served.merge(&other.served);
        self.popularity.merge(&other.popularity);
        self.user_mean.merge(&other.user_mean);
    }
}

/// Mean NDCG at [`CUT`] over all orders of the candidates: each place gains the mean gain.
fn expected_ndcg(grades: &[u8]) -> f64 {
    let mut gains: Vec<f64> = grades.iter().map(|grade| f64::from(*grade).exp2() - 1.0).collect();
    let mean = gains.iter().sum::<f64>() / gains.len() as f64;
    gains.sort_by(|a, b| b.total_cmp(a));
    let discounts = (0..gains.len().min(CUT)).map(|place| 1.0 / (place as f64 + 2.0).log2());
    let (expected, ideal) = discounts.zip(&gains).fold((0.0, 0.0), |(expected, ideal), (discount, gain)| {
        (expected + mean * discount, ideal + gain * discount)
    });
    expected / ideal
}

#[cfg(test)]
mod tests {
    use mlops_core::EventTime;

    use super::*;

    fn ask(candidates: Vec<i64>) -> Ask {
        Ask { id: 1, customer_id: 1, at: EventTime::EPOCH, candidates }
    }

    #[test]
    fn a_page_is_judged_among_all_candidates() {
        let ask = ask(vec![1, 2, 3]);
        let best = ndcg_of_page(&ask, &[2, 1], &[1, 2, 0]).unwrap().unwrap();
        assert!((best - 1.0).abs() < 1e-12);
        // Gains 1 and 3; ideal 3 + 1/log2(3). Shown: the offer of grade 0, then that of grade 1; grade 2 comes after.
        let worse = ndcg_of_page(&ask, &[3, 1], &[1, 2, 0]).unwrap().unwrap();
        let log3 = 3_f64.log2();
        assert!((worse - (1.0 / log3 + 3.0 / 2.0) / (3.0 + 1.0 / log3)).abs() < 1e-12);
        assert_eq!(ndcg_of_page(&ask, &[1], &[0, 0, 0]).unwrap(), None);
    }

    #[test]
    fn the_mean_over_all_orders_is_that_of_all_orders() {
        let grades = [0_u8, 1, 3];
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let ask = ask(vec![0, 1, 2]);
        let all = orders.map(|order| ndcg_of_page(&ask, &order.map(i64::from), &grades).unwrap().unwrap());
        assert!((expected_ndcg(&grades) - all.iter().sum::<f64>() / 6.0).abs() < 1e-12);
    }
}
