//! How much columns tell about one another; missing values are NaN.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use crate::Result;
use crate::metrics::auc;
use crate::stats::{self, Contingency};

/// Groups that a column is cut into at most before what it tells is measured.
const GROUPS_MAX: usize = 32;

/// Pearson's coefficient over the rows that have both; `None` where one of them does not vary, or there are fewer than two.
pub(super) fn pearson(a: &[f64], b: &[f64]) -> Option<f64> {
    let (a, b): (Vec<f64>, Vec<f64>) = both(a, b).unzip();
    stats::pearson(&a, &b, &vec![1.0; a.len()])
}

/// Spearman's coefficient over the rows that have both.
pub(super) fn spearman(a: &[f64], b: &[f64]) -> Result<Option<f64>> {
    let (a, b): (Vec<f64>, Vec<f64>) = both(a, b).unzip();
    stats::spearman(&a, &b, &vec![1; a.len()])
}

fn both<'v>(a: &'v [f64], b: &'v [f64]) -> impl Iterator<Item = (f64, f64)> + 'v {
    a.iter().copied().zip(b.iter().copied()).filter(|(a, b)| a.is_finite() && b.is_finite())
}

/// Rows by group: one per value while those are few; else the most frequent categories and all others, or stretches of as many
/// numbers each. Missing ones are a group of their own.
pub(super) fn groups(values: &[f64], is_number: bool) -> Vec<u32> {
    let mut counts: HashMap<u64, u64, FixedState> = HashMap::default();
    for value in values.iter().filter(|value| !value.is_nan()) {
        *counts.entry((value + 0.0).to_bits()).or_default() += 1;
    }
    let mut group_of: HashMap<u64, u32, FixedState> = HashMap::default();
    let mut order: Vec<(u64, u64)> = counts.into_iter().collect();
    if order.len() <= GROUPS_MAX || !is_number {
        order.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        for (place, (bits, _)) in order.iter().enumerate() {
            group_of.insert(*bits, place.min(GROUPS_MAX - 1) as u32);
        }
    } else {
        order.sort_by(|a, b| f64::from_bits(a.0).total_cmp(&f64::from_bits(b.0)));
        let total = order.iter().map(|(_, count)| count).sum::<u64>();
        let mut before = 0;
        for (bits, count) in order {
            group_of.insert(bits, (before * GROUPS_MAX as u64 / total) as u32);
            before += count;
        }
    }
    let missing = GROUPS_MAX as u32;
    let group = |value: &f64| if value.is_nan() { missing } else { group_of[&(value + 0.0).to_bits()] };
    values.iter().map(group).collect()
}

/// What two groupings of the same rows tell about each other.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Shared {
    /// Mutual information in nats.
    pub(super) information: f64,
    /// Entropy of the second grouping in nats.
    pub(super) entropy: f64,
    /// What chance brings about on average.
    pub(super) bias: f64,
}

impl Shared {
    pub(super) fn of(a: &[u32], b: &[u32]) -> Result<Self> {
        let width = GROUPS_MAX + 1;
        let (mut cells, mut columns) = (vec![0_u64; width * width], vec![0_u64; width]);
        for (a, b) in a.iter().zip(b) {
            cells[*a as usize * width + *b as usize] += 1;
            columns[*b as usize] += 1;
        }
        let table = Contingency::new(&cells, width)?;
        let n = a.len() as f64;
        let entropy = columns.iter().filter(|count| **count > 0).map(|count| {
            let share = *count as f64 / n;
            -share * share.ln()
        });
        let (information, bias) = (table.mutual_information(), table.information_bias());
        Ok(Self { information, entropy: entropy.sum(), bias })
    }

    /// Share of the second grouping's entropy that the first explains, beyond chance; 0..=1.
    pub(super) fn share(&self) -> f64 {
        let known = (self.information - self.bias).max(0.0);
        if self.entropy > 0.0 { (known / self.entropy).min(1.0) } else { 0.0 }
    }
}

/// How well the order of `values` alone tells a label of 0 and 1: `|2 AUC − 1|`; 0 for other labels.
pub(super) fn order(values: &[f64], labels: &[f64]) -> f64 {
    let (values, labels): (Vec<f64>, Vec<f64>) = both(values, labels).unzip();
    if labels.iter().any(|label| *label != 0.0 && *label != 1.0) {
        return 0.0;
    }
    // One class alone has no order.
    auc(&labels, &values, None).map_or(0.0, |auc| (2.0 * auc - 1.0).abs())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;

    #[test]
    fn coefficients_are_those_of_pandas() {
        // pandas 3.1.1: DataFrame.corr() and corr("spearman") of a = [1, 2, 3, 4, None, 6], b = [2, 1, 4, 3, 7, 9].
        let (a, b) = ([1.0, 2.0, 3.0, 4.0, NAN, 6.0], [2.0, 1.0, 4.0, 3.0, 7.0, 9.0]);
        assert!((pearson(&a, &b).unwrap() - 0.884686).abs() < 1e-6);
        assert!((spearman(&a, &b).unwrap().unwrap() - 0.8).abs() < 1e-12);
        assert_eq!(pearson(&[1.0, 1.0], &[1.0, 2.0]), None);
    }

    #[test]
    fn information_is_that_of_scikit_learn() {
        // scikit-learn 1.9.1: mutual_info_score([0, 0, 1, 1, 2, 2, 2, 0], [0, 0, 1, 1, 1, 1, 0, 0]).
        let a = groups(&[0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 2.0, 0.0], false);
        let b = groups(&[0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 0.0], false);
        let shared = Shared::of(&a, &b).unwrap();
        assert!((shared.information - 0.4544543674493905).abs() < 1e-12, "{shared:?}");
        assert!((shared.entropy - 2_f64.ln()).abs() < 1e-12);
        // (3 − 1)(2 − 1) / 16.
        assert_eq!(shared.bias, 0.125);
        assert_eq!(Shared::of(&b, &b).unwrap().information, 2_f64.ln());
    }

    #[test]
    fn many_values_become_few_groups() {
        let values: Vec<f64> = (0..1000).map(f64::from).chain([NAN]).collect();
        let numbers = groups(&values, true);
        assert_eq!((numbers[0], numbers[999], numbers[1000]), (0, 31, 32));
        assert!(numbers[..1000].is_sorted());
        let categories = groups(&values, false);
        assert!(categories.iter().all(|group| *group <= 32));
    }
}
