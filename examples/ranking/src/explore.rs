//! Lets a share of the requests try what the model is unsure of, so that the next model has something to learn from.

use mlops_core::rank::{Query, Selector, Slate, TopK};
use mlops_core::{Digest, Error, Name, Result};

/// Orders most requests by score, and a fixed share of them by score with noise.
///
/// A noisy request draws without replacement in proportion to `e^{score / temperature}` (Plackett and Luce), by adding Gumbel noise to
/// the scores. The request id and the place among the candidates decide the noise, so that a logged request replays exactly.
///
/// # Source
/// Yellott, *The relationship between Luce's choice axiom, Thurstone's theory of comparative judgment, and the double exponential
/// distribution*, Journal of Mathematical Psychology, 1977.
#[derive(Debug)]
pub struct Explore {
    best: TopK,
    share: f64,
    temperature: f64,
}

impl Explore {
    /// Adds noise to `share` of the requests.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `share` is outside 0 to 1 or `temperature` is not above 0.
    pub fn new(name: &str, share: f64, temperature: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&share) {
            return Err(Error::invalid("share of exploration", share, "in 0..=1"));
        }
        if !(temperature > 0.0 && temperature.is_finite()) {
            return Err(Error::invalid("temperature", temperature, "above 0"));
        }
        Ok(Self { best: TopK::new(name)?, share, temperature })
    }

    /// Whether the request gets noise.
    pub fn explores(&self, query: &Query) -> bool {
        unit(&[&query.id().0.to_le_bytes()]) < self.share
    }
}

/// A number in (0, 1) that is a function of `parts`.
fn unit(parts: &[&[u8]]) -> f64 {
    let digest = Digest::of_parts(parts.iter().copied());
    let first = digest.as_bytes().first_chunk::<8>().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    ((first >> 12) as f64 + 0.5) / (1_u64 << 52) as f64
}

impl Selector for Explore {
    fn name(&self) -> &Name {
        self.best.name()
    }

    fn select(&self, query: &Query, slate: &Slate, scores: &[f64], limit: usize) -> Result<Vec<usize>> {
        if !self.explores(query) {
            return self.best.select(query, slate, scores, limit);
        }
        let id = query.id().0.to_le_bytes();
        let noisy = scores.iter().zip(0_u64..).map(|(score, place)| {
            let gumbel = -(-unit(&[&id, &place.to_le_bytes()]).ln()).ln();
            score / self.temperature + gumbel
        });
        self.best.select(query, slate, &noisy.collect::<Vec<_>>(), limit)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use mlops_core::EventTime;
    use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use mlops_core::rank::RequestId;

    use super::*;

    fn ids(ids: Vec<i64>) -> RecordBatch {
        RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(ids)) as ArrayRef)]).unwrap()
    }

    fn query(id: u128) -> Query {
        Query::new(RequestId(id), EventTime::EPOCH, ids(vec![1]), 2).unwrap()
    }

    #[test]
    fn the_stated_share_of_requests_is_noisy_and_the_rest_is_the_best_first() {
        let explore = Explore::new("page", 0.2, 0.05).unwrap();
        let slate = Slate::new(ids(vec![7, 8, 9])).unwrap();
        let noisy = (0..2_000).filter(|id| explore.explores(&query(*id))).count();
        assert!((340..=460).contains(&noisy), "{noisy} of 2000");
        for id in 0..200 {
            let chosen = explore.select(&query(id), &slate, &[0.1, 0.3, 0.2], 2).unwrap();
            assert!(explore.explores(&query(id)) || chosen == [1, 2]);
            assert_eq!(chosen, explore.select(&query(id), &slate, &[0.1, 0.3, 0.2], 2).unwrap(), "replays exactly");
        }
    }

    #[test]
    fn noise_draws_in_proportion_to_the_scores() {
        // Two candidates, scores ln 3 and 0 at temperature 1: the first is drawn three times of four.
        let explore = Explore::new("page", 1.0, 1.0).unwrap();
        let slate = Slate::new(ids(vec![7, 8])).unwrap();
        let first = |id| explore.select(&query(id), &slate, &[3_f64.ln(), 0.0], 1).unwrap() == [0];
        let drawn = (0..4_000).filter(|id| first(*id)).count();
        assert!((2_890..=3_110).contains(&drawn), "{drawn} of 4000");
    }

    #[test]
    fn senseless_settings_are_refused() {
        assert!(Explore::new("page", 1.5, 1.0).is_err());
        assert!(Explore::new("page", f64::NAN, 1.0).is_err());
        assert!(Explore::new("page", 0.5, 0.0).is_err());
    }
}
