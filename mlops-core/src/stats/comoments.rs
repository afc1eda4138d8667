//! Means, variances and covariances of every pair of several columns, in one mergeable pass.

use super::bytes::{Reader, Writer, serde_by_bytes};
use crate::{Error, Result};

/// Second moments of all pairs of up to [`CoMoments::COLUMNS_MAX`] columns, over the rows where both sides are finite.
///
/// `merge` equals one pass over both sides to about `1e-12` relative (while means are below a million standard deviations).
/// Memory: 48 bytes for each pair.
///
/// # Source
/// Pébay, *Formulas for robust, one-pass parallel computation of covariances and arbitrary-order statistical moments*,
/// Sandia report SAND2008-6212, 2008.
///
/// # Examples
/// ```
/// let mut moments = mlops_core::stats::CoMoments::new(2)?;
/// moments.update(&[&[1.0, 2.0, 3.0, f64::NAN], &[2.0, 4.0, 6.0, 8.0]])?;
/// assert_eq!((moments.count(0, 1), moments.pearson(0, 1)), (3, Some(1.0)));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct CoMoments {
    columns: usize,
    /// (0, 1), (0, 2), …, (1, 2), …
    pairs: Vec<Pair>,
}

serde_by_bytes!(CoMoments);

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Pair {
    count: f64,
    mean: [f64; 2],
    squares: [f64; 2],
    product: f64,
}

/// Rows that are looked at together: two columns of them fit the first cache.
const BLOCK: usize = 1024;

/// A column of a block, shifted to its own mean; what is missing is 0 in both.
struct Centred {
    mean: f64,
    values: Vec<f64>,
    present: Vec<f64>,
    count: f64,
    squares: f64,
}

impl Centred {
    fn of(block: &[f64]) -> Self {
        let present: Vec<f64> = block.iter().map(|v| f64::from(u8::from(v.is_finite()))).collect();
        let count: f64 = present.iter().sum();
        let rough = block.iter().filter(|v| v.is_finite()).map(|v| v / count.max(1.0)).sum::<f64>();
        let shifted =
            |mean: f64| -> Vec<f64> { block.iter().map(|v| if v.is_finite() { v - mean } else { 0.0 }).collect() };
        // The rounding of a long sum is as large as the spread of values that are nearly equal: sum what is left of it.
        let mean = rough + shifted(rough).iter().sum::<f64>() / count.max(1.0);
        let values = shifted(mean);
        let squares = dot(&values, &values);
        Self { mean, values, present, count, squares }
    }

    fn is_whole(&self) -> bool {
        self.count == self.present.len() as f64
    }
}

/// `√(a·b)`, by one root where the product allows it: columns that are multiples of each other then correlate with
/// exactly 1.
pub(super) fn root_of_product(a: f64, b: f64) -> f64 {
    let product = a * b;
    if product.is_normal() { product.sqrt() } else { a.sqrt() * b.sqrt() }
}

/// Sum of products in eight lanes, so that the additions do not wait for each other.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f64>() + rest
}

/// Sum of `x² · m`.
fn squares_where(x: &[f64], m: &[f64]) -> f64 {
    let mut lanes = [0.0; 8];
    let ((x, x_rest), (m, m_rest)) = (x.as_chunks::<8>(), m.as_chunks::<8>());
    for (x, m) in x.iter().zip(m) {
        for ((lane, x), m) in lanes.iter_mut().zip(x).zip(m) {
            *lane += x * x * m;
        }
    }
    lanes.iter().sum::<f64>() + x_rest.iter().zip(m_rest).map(|(x, m)| x * x * m).sum::<f64>()
}

impl Pair {
    /// Of one block.
    fn of(a: &Centred, b: &Centred) -> Self {
        let product = dot(&a.values, &b.values);
        if a.is_whole() && b.is_whole() {
            return Self { count: a.count, mean: [a.mean, b.mean], squares: [a.squares, b.squares], product };
        }
        let count = dot(&a.present, &b.present);
        if count == 0.0 {
            return Self::default();
        }
        // Sums over the common rows, still around the means of all rows; then moved to the common means.
        let (sum_a, sum_b) = (dot(&a.values, &b.present), dot(&b.values, &a.present));
        let (square_a, square_b) = (squares_where(&a.values, &b.present), squares_where(&b.values, &a.present));
        let (shift_a, shift_b) = (sum_a / count, sum_b / count);
        Self {
            count,
            mean: [a.mean + shift_a, b.mean + shift_b],
            squares: [(square_a - sum_a * shift_a).max(0.0), (square_b - sum_b * shift_b).max(0.0)],
            product: product - sum_a * shift_b,
        }
    }

    fn merge(&mut self, other: &Self) {
        if other.count == 0.0 {
            return;
        }
        if self.count == 0.0 {
            *self = *other;
            return;
        }
        let count = self.count + other.count;
        let share = other.count / count;
        let weight = self.count * share;
        let [dx, dy] = [other.mean[0] - self.mean[0], other.mean[1] - self.mean[1]];
        self.squares[0] += other.squares[0] + dx * dx * weight;
        self.squares[1] += other.squares[1] + dy * dy * weight;
        self.product += other.product + dx * dy * weight;
        self.mean[0] += dx * share;
        self.mean[1] += dy * share;
        self.count = count;
    }

    fn fields(&self) -> [f64; 6] {
        [self.count, self.mean[0], self.mean[1], self.squares[0], self.squares[1], self.product]
    }
}

impl CoMoments {
    /// Columns that can be told apart: 130 816 pairs, 6 MiB.
    pub const COLUMNS_MAX: usize = 512;

    /// No rows of `columns` columns yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there are more than [`CoMoments::COLUMNS_MAX`].
    pub fn new(columns: usize) -> Result<Self> {
        if columns > Self::COLUMNS_MAX {
            return Err(Error::invalid("columns", columns, "at most 512"));
        }
        Ok(Self { columns, pairs: vec![Pair::default(); columns * columns.saturating_sub(1) / 2] })
    }

    /// Adds rows, given as one slice of equal length per column; NaN and infinities are missing.
    ///
    /// Cost: one multiplication for each row and pair, five where one of both columns has something missing.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there are other than `columns` slices or their lengths differ; nothing is added then.
    pub fn update(&mut self, columns: &[&[f64]]) -> Result<()> {
        if columns.len() != self.columns {
            return Err(Error::invalid("columns of an update", columns.len(), "as many as the moments have"));
        }
        let rows = columns.first().map_or(0, |column| column.len());
        if let Some(other) = columns.iter().find(|column| column.len() != rows) {
            return Err(Error::invalid("rows of a column", other.len(), "as many as the first column has"));
        }
        for start in (0..rows).step_by(BLOCK) {
            let end = rows.min(start + BLOCK);
            self.update_block(&columns.iter().map(|column| Centred::of(&column[start..end])).collect::<Vec<_>>());
        }
        Ok(())
    }

    fn update_block(&mut self, columns: &[Centred]) {
        let mut pairs = self.pairs.iter_mut();
        for (place, a) in columns.iter().enumerate() {
            for (b, pair) in columns[place + 1..].iter().zip(&mut pairs) {
                pair.merge(&Pair::of(a, b));
            }
        }
    }

    /// Adds what `other` has seen.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the numbers of columns differ; nothing is added then.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.columns != other.columns {
            return Err(Error::invalid("columns of merged moments", other.columns, "equal"));
        }
        for (mine, theirs) in self.pairs.iter_mut().zip(&other.pairs) {
            mine.merge(theirs);
        }
        Ok(())
    }

    /// The moments of the columns that are `kept`, one flag each.
    pub(crate) fn keep(&self, kept: &[bool]) -> Result<Self> {
        let places: Vec<usize> = (0..self.columns).filter(|&place| kept.get(place) == Some(&true)).collect();
        let mut moments = Self::new(places.len())?;
        let pairs = places.iter().enumerate().flat_map(|(i, &a)| places[i + 1..].iter().map(move |&b| (a, b)));
        for (pair, (a, b)) in moments.pairs.iter_mut().zip(pairs) {
            *pair = self.pair(a, b).copied().unwrap_or_default();
        }
        Ok(moments)
    }

    /// Number of columns.
    pub fn columns(&self) -> usize {
        self.columns
    }

    fn pair(&self, a: usize, b: usize) -> Option<&Pair> {
        let (low, high) = (a.min(b), a.max(b));
        if low == high || high >= self.columns {
            return None;
        }
        self.pairs.get(low * (2 * self.columns - low - 1) / 2 + high - low - 1)
    }

    /// Rows where both columns are finite; 0 for a column with itself.
    pub fn count(&self, a: usize, b: usize) -> u64 {
        self.pair(a, b).map_or(0, |pair| pair.count as u64)
    }

    /// Covariance with divisor `count − ddof`; `None` where that is not above 0, and for a column with itself.
    pub fn covariance(&self, a: usize, b: usize, ddof: u64) -> Option<f64> {
        let pair = self.pair(a, b)?;
        let value = pair.product / (pair.count - ddof as f64);
        (pair.count > ddof as f64 && value.is_finite()).then_some(value)
    }

    /// Pearson's correlation over the rows where both are finite (pandas' `corr`); `None` with fewer than two of them or
    /// where a side has one value only.
    pub fn pearson(&self, a: usize, b: usize) -> Option<f64> {
        let pair = self.pair(a, b)?;
        let scale = root_of_product(pair.squares[0], pair.squares[1]);
        // Below this, what is left of the squares is the rounding of equal values.
        let noise = |square: f64, mean: f64| square <= pair.count * (16.0 * f64::EPSILON * mean).powi(2);
        let is_flat = noise(pair.squares[0], pair.mean[0]) || noise(pair.squares[1], pair.mean[1]);
        let value = pair.product / scale;
        (pair.count >= 2.0 && !is_flat && value.is_finite()).then(|| value.clamp(-1.0, 1.0))
    }

    /// A format number, the number of columns, and six doubles for each pair.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        out.u32(1);
        out.u64(self.columns as u64);
        for pair in &self.pairs {
            pair.fields().into_iter().for_each(|field| out.f64(field));
        }
        out.finish()
    }

    /// Reads [`CoMoments::to_bytes`].
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the bytes are damaged, [`Error::InvalidData`] when they are of a newer format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let mut from = Reader::new(bytes, "comoments");
        super::bytes::check_format("comoments", from.u32()?, 1)?;
        let columns = usize::try_from(from.u64()?).ok().filter(|&columns| columns <= Self::COLUMNS_MAX);
        let Some(columns) = columns else { return Err(from.corrupt("too many columns")) };
        let pairs = (0..columns * columns.saturating_sub(1) / 2)
            .map(|_| {
                let mut fields = [0.0; 6];
                for field in &mut fields {
                    *field = from.f64()?;
                }
                let [count, mean_a, mean_b, square_a, square_b, product] = fields;
                let sane = (0.0..=72_057_594_037_927_936.0).contains(&count) && !(square_a < 0.0 || square_b < 0.0);
                let pair = Pair { count, mean: [mean_a, mean_b], squares: [square_a, square_b], product };
                if sane { Ok(pair) } else { Err(from.corrupt("fields contradict each other")) }
            })
            .collect::<Result<Vec<_>>>()?;
        from.end()?;
        Ok(Self { columns, pairs })
    }
}

#[cfg(test)]
mod tests;
