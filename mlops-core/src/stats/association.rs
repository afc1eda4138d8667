//! How much two columns have to do with each other: by ranks, and by counts of pairs of categories.

use super::comoments::root_of_product;
use crate::{Error, Result};

/// Spearman's rank correlation of weighted rows; ties get their mean rank.
///
/// * `x`, `y`, `weights`: same length; rows where either value is NaN are left out, infinities are ranked at the ends.
///   A row of weight `w` counts as `w` equal rows.
/// * `None` with fewer than two rows, or where a side has one value only.
///
/// # Errors
/// [`Error::Invalid`] when the lengths differ.
///
/// # Source
/// Spearman, *The proof and measurement of association between two things*, American Journal of Psychology 15, 1904.
///
/// # Examples
/// ```
/// let rho = mlops_core::stats::spearman(&[1.0, 2.0, 3.0], &[1.0, 4.0, 9.0], &[1, 1, 1])?;
/// assert_eq!(rho, Some(1.0));
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn spearman(x: &[f64], y: &[f64], weights: &[u64]) -> Result<Option<f64>> {
    if x.len() != y.len() || x.len() != weights.len() {
        return Err(Error::invalid("rows of `y` and weights", y.len().max(weights.len()), "as many as of `x`"));
    }
    let rows: Vec<(f64, f64, f64)> = (x.iter().zip(y).zip(weights))
        .filter(|((x, y), weight)| !x.is_nan() && !y.is_nan() && **weight > 0)
        .map(|((&x, &y), &weight)| (x, y, weight as f64))
        .collect();
    let weights: Vec<f64> = rows.iter().map(|row| row.2).collect();
    let ranks = |value: fn(&(f64, f64, f64)) -> f64| mean_ranks(&rows.iter().map(value).collect::<Vec<_>>(), &weights);
    Ok(pearson(&ranks(|row| row.0), &ranks(|row| row.1), &weights))
}

/// Rank of each value, the mean of those that its equals share.
fn mean_ranks(values: &[f64], weights: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|&a, &b| values[a].total_cmp(&values[b]));
    let (mut ranks, mut before, mut from) = (vec![0.0; values.len()], 0.0, 0);
    while from < order.len() {
        // The two zeros are one value.
        let equal = order[from..].iter().take_while(|&&row| values[row] == values[order[from]]).count().max(1);
        let group = &order[from..from + equal];
        let weight: f64 = group.iter().map(|&row| weights[row]).sum();
        group.iter().for_each(|&row| ranks[row] = before + f64::midpoint(weight, 1.0));
        before += weight;
        from += equal;
    }
    ranks
}

/// Pearson's correlation of weighted rows; `None` with fewer than two, or where a side has one value only.
///
/// * `x`, `y`, `weights`: same length, all finite.
pub(crate) fn pearson(x: &[f64], y: &[f64], weights: &[f64]) -> Option<f64> {
    let total: f64 = weights.iter().sum();
    let mean = |values: &[f64]| values.iter().zip(weights).map(|(v, w)| v * w).sum::<f64>() / total;
    let (mean_x, mean_y) = (mean(x), mean(y));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for ((x, y), w) in x.iter().zip(y).zip(weights) {
        let (dx, dy) = (x - mean_x, y - mean_y);
        xx += w * dx * dx;
        yy += w * dy * dy;
        xy += w * dx * dy;
    }
    (total >= 2.0 && xx > 0.0 && yy > 0.0).then(|| (xy / root_of_product(xx, yy)).clamp(-1.0, 1.0))
}

/// Counts of pairs of categories; rows and columns without any are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct Contingency {
    counts: Vec<f64>,
    rows: Vec<f64>,
    columns: Vec<f64>,
    total: f64,
}

impl Contingency {
    /// Cells that a table may have.
    pub const CELLS_MAX: usize = 1 << 20;

    /// Of `counts`, row after row of `columns` cells each.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the counts do not fill rows of `columns` cells, or are more than [`Contingency::CELLS_MAX`].
    pub fn new(counts: &[u64], columns: usize) -> Result<Self> {
        if columns == 0 || !counts.len().is_multiple_of(columns) || counts.len() > Self::CELLS_MAX {
            return Err(Error::invalid("cells of a table", counts.len(), "whole rows, at most 1048576 cells"));
        }
        let row_sums: Vec<u64> = counts.chunks(columns).map(|row| row.iter().sum()).collect();
        let column_sums: Vec<u64> = (0..columns).map(|c| counts.iter().skip(c).step_by(columns).sum()).collect();
        let kept = |sums: &[u64]| sums.iter().filter(|&&sum| sum > 0).map(|&sum| sum as f64).collect::<Vec<f64>>();
        let cells = counts.iter().enumerate();
        let cells = cells.filter(|(cell, _)| row_sums[cell / columns] > 0 && column_sums[cell % columns] > 0);
        Ok(Self {
            counts: cells.map(|(_, &count)| count as f64).collect(),
            rows: kept(&row_sums),
            columns: kept(&column_sums),
            total: row_sums.iter().sum::<u64>() as f64,
        })
    }

    /// Each cell with the sums of its row and its column.
    fn cells(&self) -> impl Iterator<Item = (f64, f64, f64)> + '_ {
        let width = self.columns.len().max(1);
        self.counts.iter().enumerate().map(move |(cell, &n)| (n, self.rows[cell / width], self.columns[cell % width]))
    }

    /// Degrees of freedom: `(rows − 1) · (columns − 1)`, of those that hold anything.
    fn freedom(&self) -> f64 {
        (self.rows.len().saturating_sub(1) * self.columns.len().saturating_sub(1)) as f64
    }

    /// Cramér's V, corrected for the association that chance alone gives: 0 for independent columns, 1 where each tells
    /// the other.
    ///
    /// `None` with fewer than two rows, or where a side has one category only.
    ///
    /// # Source
    /// Bergsma, *A bias-correction for Cramér's V and Tschuprow's T*, Journal of the Korean Statistical Society 42, 2013.
    pub fn cramers_v(&self) -> Option<f64> {
        if self.freedom() == 0.0 || self.total < 2.0 {
            return None;
        }
        let chi2: f64 = self
            .cells()
            .map(|(n, row, column)| (n - row * column / self.total).powi(2) * self.total / (row * column))
            .sum();
        let spare = self.total - 1.0;
        let phi2 = (chi2 / self.total - self.freedom() / spare).max(0.0);
        let corrected = |groups: usize| groups as f64 - (groups as f64 - 1.0).powi(2) / spare;
        let fewest = corrected(self.rows.len()).min(corrected(self.columns.len())) - 1.0;
        Some(if fewest > 0.0 { (phi2 / fewest).sqrt().min(1.0) } else { 0.0 })
    }

    /// Mutual information in nats, as counted: never below 0, above the truth by [`Contingency::information_bias`] on
    /// average.
    pub fn mutual_information(&self) -> f64 {
        let part = |(n, row, column): (f64, f64, f64)| {
            if n > 0.0 { n / self.total * (n * self.total / (row * column)).ln() } else { 0.0 }
        };
        self.cells().map(part).sum::<f64>().max(0.0)
    }

    /// What independent columns of this shape have on average: `(rows − 1)(columns − 1) / 2n` nats.
    ///
    /// # Source
    /// Miller, *Note on the bias of information estimates*, in Quastler, Information Theory in Psychology, 1955.
    pub fn information_bias(&self) -> f64 {
        if self.total > 0.0 { self.freedom() / (2.0 * self.total) } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn close(value: Option<f64>, expected: f64) {
        let value = value.unwrap();
        assert!((value - expected).abs() <= 1e-12, "{value} is not {expected}");
    }

    #[test]
    fn ties_share_their_ranks_and_missing_rows_are_left_out() {
        let x = [1.0, 2.0, 2.0, 5.0, f64::NAN, 7.0, -0.0, 0.0];
        let y = [3.0, 1.0, 1.0, 8.0, 4.0, f64::INFINITY, 2.0, 2.5];
        // scipy 1.17.1: spearmanr of the seven rows without NaN, 1e9 for the infinity
        close(spearman(&x, &y, &[1; 8]).unwrap(), 0.44038550605054433);
    }

    #[test]
    fn a_weight_is_that_many_equal_rows() {
        let weighted = spearman(&[1.0, 2.0, 4.0], &[5.0, 3.0, 9.0], &[3, 1, 2]).unwrap();
        let repeated = spearman(&[1.0, 1.0, 1.0, 2.0, 4.0, 4.0], &[5.0, 5.0, 5.0, 3.0, 9.0, 9.0], &[1; 6]).unwrap();
        close(weighted, repeated.unwrap());
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0], &[1, 1]).unwrap(), None);
        assert_eq!(spearman(&[], &[], &[]).unwrap(), None);
        assert!(matches!(spearman(&[1.0], &[], &[1]), Err(Error::Invalid { .. })));
    }

    #[test]
    fn association_is_that_of_the_formula() {
        let table = Contingency::new(&[10, 20, 30, 6, 9, 17, 25, 3, 8], 3).unwrap();
        // scipy 1.17.1: chi2_contingency(correction=False) = 32.772302, n = 128, then Bergsma's equations by hand
        close(table.cramers_v(), 0.3377352139150118);
        // scikit-learn 1.9.1: mutual_info_score
        close(Some(table.mutual_information()), 0.12496506323830386);
        close(Some(table.information_bias()), 4.0 / 256.0);
        // Each tells the other: V is 1 and the information is that of one fair coin.
        let same = Contingency::new(&[50, 0, 0, 0, 0, 50], 3).unwrap();
        close(same.cramers_v(), 1.0);
        close(Some(same.mutual_information()), std::f64::consts::LN_2);
        let independent = Contingency::new(&[10, 20, 30, 60], 2).unwrap();
        close(independent.cramers_v(), 0.0);
        close(Some(independent.mutual_information()), 0.0);
    }

    #[test]
    fn one_category_has_no_association_and_odd_tables_are_refused() {
        assert_eq!(Contingency::new(&[5, 6], 2).unwrap().cramers_v(), None);
        assert_eq!(Contingency::new(&[], 2).unwrap().cramers_v(), None);
        assert_eq!(Contingency::new(&[], 1).unwrap().mutual_information(), 0.0);
        for (counts, columns) in [(&[1, 2, 3][..], 2), (&[1][..], 0)] {
            assert!(matches!(Contingency::new(counts, columns), Err(Error::Invalid { .. })));
        }
    }
}
