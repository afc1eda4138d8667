//! Counts per bin over fixed edges.

use arrow::array::Array;
use serde::{Deserialize, Serialize};

use super::bytes::check_format;
use super::values;
use crate::{Error, Result};

/// Counts of numbers in bins with fixed edges; merging is exact.
///
/// Bin `i` is `[edges[i], edges[i+1])`; the last one also holds its upper edge (numpy's rule). Values
/// outside, NaN and nulls have counts of their own, so no row is lost.
///
/// # Examples
/// ```
/// let mut histogram = mlops_core::stats::Histogram::new(vec![0.0, 1.0, 2.0])?;
/// [0.0, 1.0, 2.0, 7.0].iter().for_each(|&value| histogram.update(value));
/// assert_eq!((histogram.counts(), histogram.above()), (&[1, 2][..], 1));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Histogram {
    edges: Vec<f64>,
    counts: Vec<u64>,
    below: u64,
    above: u64,
    nulls: u64,
    nan: u64,
}

/// Bins that one histogram may have.
const BINS_MAX: usize = 65_536;

impl Histogram {
    /// Empty bins between `edges`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there are fewer than 2 or more than 65537 edges, or they are not finite and strictly increasing.
    pub fn new(edges: Vec<f64>) -> Result<Self> {
        if !(2..=BINS_MAX + 1).contains(&edges.len()) {
            return Err(Error::invalid("number of edges", edges.len(), "in 2..=65537"));
        }
        if let Some(edge) = edges.iter().find(|edge| !edge.is_finite()) {
            return Err(Error::invalid("edge", edge, "finite"));
        }
        if let Some(pair) = edges.windows(2).find(|pair| pair[0] >= pair[1]) {
            return Err(Error::invalid("edge", pair[1], "above the edge before it"));
        }
        let counts = vec![0; edges.len() - 1];
        Ok(Self { edges, counts, below: 0, above: 0, nulls: 0, nan: 0 })
    }

    /// `bins` equally wide bins from `low` to `high`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `bins` is 0 or above 65536, or the range is empty, not finite, or too narrow for so many bins.
    pub fn equal_width(low: f64, high: f64, bins: usize) -> Result<Self> {
        if !(1..=BINS_MAX).contains(&bins) {
            return Err(Error::invalid("bins", bins, "in 1..=65536"));
        }
        let width = (high - low) / bins as f64;
        let mut edges: Vec<f64> = (0..=bins).map(|i| low + width * i as f64).collect();
        if let Some(last) = edges.last_mut() {
            *last = high;
        }
        Self::new(edges)
    }

    /// Adds one number.
    pub fn update(&mut self, value: f64) {
        self.update_count(value, 1);
    }

    /// Adds `value` seen `count` times.
    pub fn update_count(&mut self, value: f64, count: u64) {
        if value.is_nan() {
            self.nan += count;
            return;
        }
        let at_or_below = self.edges.partition_point(|&edge| edge <= value);
        let place = match at_or_below.checked_sub(1) {
            None => &mut self.below,
            Some(bin) if bin < self.counts.len() => &mut self.counts[bin],
            Some(bin) if value == self.edges[bin] => &mut self.counts[bin - 1],
            Some(_) => &mut self.above,
        };
        *place += count;
    }

    /// Adds one null.
    pub fn update_null(&mut self) {
        self.nulls += 1;
    }

    /// Adds the values and nulls of `array`, read as [`super::Moments::update_array`] reads them.
    ///
    /// # Errors
    /// [`Error::Invalid`] for types that are not numbers, times or booleans; nothing is added then.
    pub fn update_array(&mut self, array: &dyn Array) -> Result<()> {
        values::numbers(array, &mut |values, _| values.iter().for_each(|&value| self.update(value)))?;
        self.nulls += values::null_count(array);
        Ok(())
    }

    /// Adds the counts of `other`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the edges differ; nothing is added then.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.edges != other.edges {
            return Err(Error::invalid("edges of a merged histogram", format!("{:?}", other.edges), "equal"));
        }
        for (mine, theirs) in self.counts.iter_mut().zip(&other.counts) {
            *mine += theirs;
        }
        self.below += other.below;
        self.above += other.above;
        self.nulls += other.nulls;
        self.nan += other.nan;
        Ok(())
    }

    /// The edges, one more than bins.
    pub fn edges(&self) -> &[f64] {
        &self.edges
    }

    /// Counts per bin.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Values below the first edge, −∞ included.
    pub fn below(&self) -> u64 {
        self.below
    }

    /// Values above the last edge, +∞ included.
    pub fn above(&self) -> u64 {
        self.above
    }

    /// Nulls.
    pub fn nulls(&self) -> u64 {
        self.nulls
    }

    /// NaN.
    pub fn nan(&self) -> u64 {
        self.nan
    }

    /// Numbers seen, those out of range included, nulls and NaN left out.
    pub fn total(&self) -> u64 {
        self.below + self.counts.iter().sum::<u64>() + self.above
    }

    /// Counts from below the first edge to above the last, for distances between two histograms.
    pub fn open_counts(&self) -> Vec<u64> {
        let inner = self.counts.iter().copied();
        std::iter::once(self.below).chain(inner).chain([self.above]).collect()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    format: u32,
    edges: Vec<f64>,
    counts: Vec<u64>,
    below: u64,
    above: u64,
    nulls: u64,
    nan: u64,
}

impl From<Histogram> for Wire {
    fn from(h: Histogram) -> Self {
        let Histogram { edges, counts, below, above, nulls, nan } = h;
        Self { format: 1, edges, counts, below, above, nulls, nan }
    }
}

impl TryFrom<Wire> for Histogram {
    type Error = Error;

    fn try_from(wire: Wire) -> Result<Self> {
        check_format("histogram", wire.format, 1)?;
        let empty = Self::new(wire.edges)?;
        if wire.counts.len() != empty.counts.len() {
            return Err(Error::corrupt("histogram", "as many counts as bins expected"));
        }
        let all = wire.counts.iter().chain([&wire.below, &wire.above, &wire.nulls, &wire.nan]);
        if all.fold(0_u64, |sum, &count| sum.saturating_add(count)) > 1 << 56 {
            return Err(Error::corrupt("histogram", "counts out of range"));
        }
        let Wire { counts, below, above, nulls, nan, .. } = wire;
        Ok(Self { counts, below, above, nulls, nan, ..empty })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_is_in_exactly_one_count() {
        let mut histogram = Histogram::new(vec![0.0, 1.0, 2.0]).unwrap();
        for value in [-1.0, f64::NEG_INFINITY, 0.0, 0.5, 1.0, 2.0, 2.5, f64::INFINITY, f64::NAN] {
            histogram.update(value);
        }
        histogram.update_null();
        // numpy 2.4.6: np.histogram([0, .5, 1, 2], [0, 1, 2])[0] == [2, 2]
        assert_eq!(histogram.counts(), [2, 2]);
        assert_eq!((histogram.below(), histogram.above(), histogram.nan(), histogram.nulls()), (2, 2, 1, 1));
        assert_eq!(histogram.open_counts(), [2, 2, 2, 2]);
    }

    #[test]
    fn edges_that_do_not_grow_are_refused() {
        for edges in [vec![], vec![1.0], vec![1.0, 1.0], vec![2.0, 1.0], vec![0.0, f64::NAN], vec![0.0, f64::INFINITY]]
        {
            assert!(Histogram::new(edges.clone()).is_err(), "{edges:?}");
        }
        assert!(Histogram::equal_width(1.0, 1.0, 3).is_err());
        assert!(Histogram::equal_width(0.0, 1.0, 0).is_err());
    }

    #[test]
    fn merging_needs_equal_edges_and_adds() {
        let mut left = Histogram::equal_width(0.0, 1.0, 2).unwrap();
        left.update(0.2);
        let mut right = left.clone();
        right.update(0.9);
        left.merge(&right).unwrap();
        assert_eq!(left.counts(), [2, 1]);
        assert!(left.merge(&Histogram::equal_width(0.0, 2.0, 2).unwrap()).is_err());
    }

    #[test]
    fn json_comes_back_and_a_newer_format_is_refused() {
        let mut histogram = Histogram::equal_width(0.0, 1.0, 3).unwrap();
        histogram.update(0.4);
        let json = serde_json::to_string(&histogram).unwrap();
        assert_eq!(serde_json::from_str::<Histogram>(&json).unwrap(), histogram);
        let newer = json.replace("\"format\":1", "\"format\":2");
        assert!(serde_json::from_str::<Histogram>(&newer).unwrap_err().to_string().contains("format 2"));
    }
}
