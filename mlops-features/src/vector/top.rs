//! The few best of many.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::{Hit, Metric};

/// A vector and its score; ordered by score, then id.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Scored {
    pub(super) score: f32,
    pub(super) id: u32,
}

impl Eq for Scored {}

impl PartialOrd for Scored {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Scored {
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(self.id.cmp(&other.id))
    }
}

/// Keeps the `k` least of what is pushed, in memory for `k`.
#[derive(Debug)]
pub(super) struct Top {
    k: usize,
    /// The greatest on top.
    best: BinaryHeap<Scored>,
}

impl Top {
    pub(super) fn new(k: usize) -> Self {
        // Room is made as it is needed: who asks for many of few gets few.
        Self { k, best: BinaryHeap::with_capacity(k.min(256)) }
    }

    #[inline]
    pub(super) fn push(&mut self, score: f32, id: u32) {
        let next = Scored { score, id };
        if self.best.len() < self.k {
            self.best.push(next);
        } else if let Some(mut worst) = self.best.peek_mut()
            && next < *worst
        {
            *worst = next;
        }
    }

    /// What was kept, the least first.
    pub(super) fn into_sorted(self) -> Vec<Scored> {
        self.best.into_sorted_vec()
    }

    /// What was kept as hits, the nearest first.
    pub(super) fn into_hits(self, metric: Metric) -> Vec<Hit> {
        let hit = |Scored { score, id }| Hit { id, distance: metric.finish(score) };
        let mut hits: Vec<Hit> = self.into_sorted().into_iter().map(hit).collect();
        // Two squares may have one root.
        hits.sort_by(|a, b| a.distance.total_cmp(&b.distance).then(a.id.cmp(&b.id)));
        hits
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_least_are_kept_and_ties_go_to_the_smaller_id(
            scores in proptest::collection::vec(-3_i32..3, 0..80), k in 0_usize..20
        ) {
            let all = scores.iter().zip(0_u32..).map(|(score, id)| Scored { score: *score as f32, id });
            let mut expected: Vec<Scored> = all.clone().collect();
            expected.sort_unstable();
            expected.truncate(k);
            for reversed in [false, true] {
                let mut top = Top::new(k);
                let mut pushed: Vec<Scored> = all.clone().collect();
                if reversed {
                    pushed.reverse();
                }
                pushed.iter().for_each(|one| top.push(one.score, one.id));
                prop_assert_eq!(top.into_sorted(), expected.clone());
            }
        }
    }
}
