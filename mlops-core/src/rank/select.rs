//! Picks the answer from scores.

use std::cmp::Ordering;

use arrow::array::Array;

use super::merge::first_seen;
use super::{Query, Selector, Slate};
use crate::{Error, Name, Result};

/// The highest scores, best first. NaN comes last, ties keep the order of the slate.
#[derive(Clone, Debug)]
pub struct TopK {
    name: Name,
}

impl TopK {
    /// A selector of this name.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `name` is not a [`Name`].
    pub fn new(name: impl AsRef<str>) -> Result<Self> {
        Ok(Self { name: Name::new(name)? })
    }
}

impl Selector for TopK {
    fn name(&self) -> &Name {
        &self.name
    }

    fn select(&self, _query: &Query, _slate: &Slate, scores: &[f64], limit: usize) -> Result<Vec<usize>> {
        Ok(top(scores, limit))
    }
}

/// Positions of the `limit` highest scores, best first.
pub(super) fn top(scores: &[f64], limit: usize) -> Vec<usize> {
    let better = |a: &usize, b: &usize| best_first(scores[*a], scores[*b]).then(a.cmp(b));
    let mut positions: Vec<usize> = (0..scores.len()).collect();
    if limit < positions.len() {
        positions.select_nth_unstable_by(limit, better);
        positions.truncate(limit);
    }
    positions.sort_unstable_by(better);
    positions
}

/// Greater first, NaN last; the two zeros are equal.
fn best_first(a: f64, b: f64) -> Ordering {
    b.partial_cmp(&a).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

/// Maximal marginal relevance: trades score against having many of one category.
///
/// Picks, again and again, the candidate with the greatest `λ · s − (1 − λ) · r`, where `s` is its score scaled to
/// `[0, 1]` over the slate (NaN counts as 0 and stays last) and `r` is 1 when its category was picked already, else 0.
/// A null category is like no other. λ = 1 is the order of [`TopK`]; ties go to the higher score, then to the order of
/// the slate. The first pick is always the best one.
///
/// # Source
/// Carbonell and Goldstein, *The use of MMR, diversity-based reranking for reordering documents and producing
/// summaries*, SIGIR 1998, with equality of category as the similarity.
#[derive(Clone, Debug)]
pub struct Mmr {
    name: Name,
    category: String,
    lambda: f64,
}

impl Mmr {
    /// A selector that spreads over the values of the slate column `category`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `name` is not a [`Name`] or `lambda` is outside `0..=1`.
    pub fn new(name: impl AsRef<str>, category: impl Into<String>, lambda: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&lambda) {
            return Err(Error::invalid("lambda", lambda, "in 0..=1"));
        }
        Ok(Self { name: Name::new(name)?, category: category.into(), lambda })
    }
}

/// Values this close are equal but for rounding: the better score goes first then.
const TIE: f64 = 1e-12;

impl Selector for Mmr {
    fn name(&self) -> &Name {
        &self.name
    }

    fn select(&self, _query: &Query, slate: &Slate, scores: &[f64], limit: usize) -> Result<Vec<usize>> {
        let column = slate.column(&self.category)?;
        let category = first_seen(column)?;
        let mut waiting = top(scores, scores.len());
        let scaled = scale(scores);
        let mut picked_category = vec![false; scores.len()];
        let mut picked = Vec::with_capacity(limit.min(waiting.len()));
        while picked.len() < limit && !waiting.is_empty() {
            // Best first: the best of each sort, one whose category is new and one of any, are the only ones that count.
            let is_new = |p: &usize| column.is_null(*p) || !picked_category[category[*p] as usize];
            let fresh = waiting.iter().position(is_new);
            let at = match fresh {
                Some(fresh) if fresh > 0 => {
                    let gain = self.lambda * (scaled[waiting[0]] - scaled[waiting[fresh]]);
                    if scores[waiting[fresh]].is_nan() || gain >= 1.0 - self.lambda - TIE { 0 } else { fresh }
                }
                _ => 0,
            };
            let position = waiting.remove(at);
            picked_category[category[position] as usize] |= column.is_valid(position);
            picked.push(position);
        }
        Ok(picked)
    }
}

/// Finite scores scaled to `[0, 1]`, infinite ones at the ends, NaN at 0; all 0 where they are equal.
fn scale(scores: &[f64]) -> Vec<f64> {
    let finite = || scores.iter().copied().filter(|s| s.is_finite());
    let (low, high) = (finite().fold(f64::INFINITY, f64::min), finite().fold(f64::NEG_INFINITY, f64::max));
    let span = high - low;
    let scaled = |score: &f64| match *score {
        s if s.is_nan() => 0.0,
        s if s.is_infinite() => f64::from(s > 0.0),
        s if span > 0.0 && span.is_finite() => (s - low) / span,
        s if span > 0.0 => (s / 2.0 - low / 2.0) / (high / 2.0 - low / 2.0),
        _ => 0.0,
    };
    scores.iter().map(scaled).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
    use proptest::prelude::*;

    use super::*;
    use crate::EventTime;
    use crate::rank::RequestId;

    fn pick(selector: &dyn Selector, categories: &[Option<&str>], scores: &[f64], limit: usize) -> Vec<usize> {
        let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..scores.len() as i64));
        let categories: ArrayRef = Arc::new(StringArray::from(categories.to_vec()));
        let rows = RecordBatch::try_from_iter_with_nullable([("id", keys, false), ("category", categories, true)]);
        let user: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let context = RecordBatch::try_from_iter([("user", user)]).unwrap();
        let query = Query::new(RequestId(1), EventTime::EPOCH, context, limit).unwrap();
        selector.select(&query, &Slate::new(rows.unwrap()).unwrap(), scores, limit).unwrap()
    }

    #[test]
    fn the_best_come_first_nan_last_and_ties_keep_their_order() {
        let scores = [0.0, f64::NAN, 2.0, -0.0, 2.0, f64::NEG_INFINITY, f64::INFINITY];
        assert_eq!(top(&scores, 7), [6, 2, 4, 0, 3, 5, 1]);
        assert_eq!(top(&scores, 3), [6, 2, 4]);
        assert_eq!(top(&scores, 100).len(), 7);
        assert!(top(&[], 5).is_empty());
    }

    #[test]
    fn mmr_spreads_over_categories_as_far_as_lambda_says() {
        // By hand, scaled scores 1, 0.9, 0.8, 0.
        let (categories, scores) = ([Some("a"), Some("a"), Some("b"), Some("c")], [10.0, 9.0, 8.0, 0.0]);
        let picked = |lambda| pick(&Mmr::new("mmr", "category", lambda).unwrap(), &categories, &scores, 4);
        // λ = 0.5: after 0, candidate 1 has 0.45 − 0.5, 2 has 0.4, 3 has 0; after 2, 1 has −0.05 against 0.
        assert_eq!(picked(0.5), [0, 2, 3, 1]);
        // λ = 0.9: 1 has 0.81 − 0.1 = 0.71 against 0.72 of 2; then 1 has 0.71 against 0 of 3.
        assert_eq!(picked(0.9), [0, 2, 1, 3]);
        assert_eq!(picked(1.0), [0, 1, 2, 3]);
        assert_eq!(picked(0.0), [0, 2, 3, 1]);
    }

    #[test]
    fn null_categories_are_like_no_other_and_nan_stays_last() {
        let scores = [3.0, 2.0, 1.0, f64::NAN];
        let picked = pick(&Mmr::new("mmr", "category", 0.5).unwrap(), &[None, None, None, Some("a")], &scores, 4);
        assert_eq!(picked, [0, 1, 2, 3]);
        let picked =
            pick(&Mmr::new("mmr", "category", 0.0).unwrap(), &[Some("a"), Some("a"), Some("a"), Some("b")], &scores, 4);
        assert_eq!(picked, [0, 1, 2, 3]);
    }

    #[test]
    fn lambda_outside_of_its_domain_is_refused() {
        assert!(Mmr::new("mmr", "category", 1.1).is_err());
        assert!(Mmr::new("mmr", "category", f64::NAN).is_err());
    }

    proptest! {
        #[test]
        fn a_partial_sort_is_the_head_of_a_full_one(
            scores in proptest::collection::vec(prop_oneof![Just(f64::NAN), (-3_i32..3).prop_map(f64::from)], 0..40),
            limit in 0_usize..45,
        ) {
            let mut stable: Vec<usize> = (0..scores.len()).collect();
            stable.sort_by(|a, b| best_first(scores[*a], scores[*b]));
            stable.truncate(limit);
            prop_assert_eq!(top(&scores, limit), stable);
        }

        #[test]
        fn mmr_picks_what_the_definition_says(
            rows in proptest::collection::vec((proptest::option::of(0_usize..4), -4_i32..5), 1..25),
            lambda in 0_u8..=8,
        ) {
            let lambda = f64::from(lambda) / 8.0;
            let names = ["a", "b", "c", "d"];
            let categories: Vec<Option<&str>> = rows.iter().map(|(c, _)| c.map(|c| names[c])).collect();
            let scores: Vec<f64> = rows.iter().map(|(_, s)| f64::from(*s)).collect();
            let scaled = scale(&scores);
            let (mut left, mut expected) = (top(&scores, scores.len()), Vec::<usize>::new());
            while !left.is_empty() {
                let value = |p: usize| {
                    let seen = categories[p].is_some() && expected.iter().any(|e| categories[*e] == categories[p]);
                    lambda * scaled[p] - (1.0 - lambda) * f64::from(seen)
                };
                let best = left.iter().copied().map(value).fold(f64::NEG_INFINITY, f64::max);
                let at = left.iter().position(|p| value(*p) >= best - 1e-12).unwrap();
                expected.push(left.remove(at));
            }
            let picked = pick(&Mmr::new("mmr", "category", lambda).unwrap(), &categories, &scores, rows.len());
            let values = |order: &[usize]| order.iter().map(|p| (categories[*p], rows[*p].1)).collect::<Vec<_>>();
            prop_assert_eq!(values(&picked), values(&expected));
        }
    }
}
