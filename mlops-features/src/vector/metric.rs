//! How far two vectors are apart.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Numbers that are summed side by side, so that the compiler can use the widest registers there are.
const LANES: usize = 16;

/// How far two vectors are apart; the smaller, the nearer.
///
/// Distances are computed in single precision by one kernel, whatever the index: a vector has the same distance, bit for bit,
/// in an exact answer and in an approximate one.
///
/// | metric | distance of a and b | range |
/// |---|---|---|
/// | `Cosine` | `1 − a·b / (‖a‖ ‖b‖)` | 0 (same direction) to 2 (opposite) |
/// | `Dot` | `−a·b` | all real numbers |
/// | `L2` | `√Σ(aᵢ − bᵢ)²` | 0 and above |
///
/// No vector is compared that has a NaN or an infinity in it. For `Cosine` none may be zero everywhere, since it has no
/// direction; for `Dot` and `L2` the sum of squares must be a number of single precision (a length below 1.8·10¹⁹), so that
/// no distance is NaN.
///
/// # Examples
/// ```
/// use mlops_features::vector::Metric;
///
/// let (a, b) = ([3.0, 4.0], [4.0, 3.0]);
/// assert!((Metric::Cosine.distance(&a, &b) - 0.04).abs() < 1e-6);
/// assert_eq!(Metric::Dot.distance(&a, &b), -24.0);
/// assert_eq!(Metric::L2.distance(&a, &[0.0, 0.0]), 5.0);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// Angle: lengths do not matter.
    Cosine,
    /// Inner product, negated: greater products are nearer. It is no metric of mathematics; a long vector is near to all.
    Dot,
    /// Euclidean distance.
    L2,
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cosine => "cosine",
            Self::Dot => "dot",
            Self::L2 => "l2",
        })
    }
}

impl Metric {
    /// Distance of `a` and `b`, as far as the shorter of them goes; NaN where one of them cannot be
    /// [compared](Self::refusal).
    pub fn distance(self, a: &[f32], b: &[f32]) -> f32 {
        if self.refusal(a).or(self.refusal(b)).is_some() {
            return f32::NAN;
        }
        let (mut first, mut second) = (Vec::new(), Vec::new());
        self.prepare(a, &mut first);
        self.prepare(b, &mut second);
        self.finish(self.score(&first, &second))
    }

    /// Why `vector` cannot be compared; `None` where it can.
    pub fn refusal(self, vector: &[f32]) -> Option<&'static str> {
        let squares: f64 = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        match self {
            _ if !squares.is_finite() => Some("a number that is NaN or infinite"),
            Self::Cosine if squares == 0.0 => Some("no direction: it is zero everywhere"),
            Self::Dot | Self::L2 if squares > f64::from(f32::MAX) => Some("a length of 1.8e19 or more"),
            _ => None,
        }
    }

    /// Appends what is stored of `vector`: of a cosine its direction, which has length 1.
    pub(super) fn prepare(self, vector: &[f32], out: &mut Vec<f32>) {
        if self != Self::Cosine {
            out.extend_from_slice(vector);
            return;
        }
        let squares: f64 = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        let length = squares.sqrt();
        out.extend(vector.iter().map(|x| (f64::from(*x) / length) as f32));
    }

    /// What orders prepared vectors as their distances do.
    #[inline]
    pub(super) fn score(self, a: &[f32], b: &[f32]) -> f32 {
        match self {
            Self::Cosine => cosine(a, b),
            Self::Dot => -dot(a, b),
            Self::L2 => squares(a, b),
        }
    }

    /// The distance that a score stands for.
    pub(super) fn finish(self, score: f32) -> f32 {
        // A sum that comes out as -0 is 0 to everybody who reads it.
        if self == Self::L2 { score.sqrt() } else { score + 0.0 }
    }
}

/// Of directions; rounding leads out of the range by a few units in the last place.
#[inline]
pub(super) fn cosine(a: &[f32], b: &[f32]) -> f32 {
    (1.0 - dot(a, b)).clamp(0.0, 2.0)
}

/// `Σ aᵢ bᵢ`, in an order that depends on the length only.
#[inline]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    sum_of(a, b, |a, b| a * b)
}

/// `Σ (aᵢ − bᵢ)²`, in an order that depends on the length only.
#[inline]
pub(super) fn squares(a: &[f32], b: &[f32]) -> f32 {
    sum_of(a, b, |a, b| (a - b) * (a - b))
}

#[inline]
fn sum_of(a: &[f32], b: &[f32], term: impl Fn(f32, f32) -> f32) -> f32 {
    let length = a.len().min(b.len());
    let (a, b) = (a[..length].as_chunks::<LANES>(), b[..length].as_chunks::<LANES>());
    let mut sums = [0.0_f32; LANES];
    for (a, b) in a.0.iter().zip(b.0) {
        for lane in 0..LANES {
            sums[lane] += term(a[lane], b[lane]);
        }
    }
    for (lane, (a, b)) in a.1.iter().zip(b.1).enumerate() {
        sums[lane] += term(*a, *b);
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            sums[lane] += sums[lane + width];
        }
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Printed by scipy 1.17.1 (`spatial.distance.cosine`, `.euclidean`) and numpy 2.4.6 (`-numpy.dot`) in double precision.
    #[test]
    fn distances_are_those_of_scipy() {
        let a = [0.5, -1.25, 2.0, 0.125, -3.5];
        let b = [1.5, 0.75, -0.5, 4.0, 2.25];
        let check = |metric: Metric, expected: f32| {
            let found = metric.distance(&a, &b);
            assert!((found - expected).abs() < 2e-6 * expected.abs().max(1.0), "{metric}: {found}, not {expected}");
        };
        check(Metric::Cosine, 1.410_006);
        check(Metric::Dot, 8.5625);
        check(Metric::L2, 7.702_475);
    }

    #[test]
    fn what_cannot_be_compared_says_why() {
        for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
            for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                assert_eq!(metric.refusal(&[1.0, bad]), Some("a number that is NaN or infinite"));
                assert!(metric.distance(&[1.0, bad], &[1.0, 1.0]).is_nan());
            }
            assert_eq!(metric.refusal(&[1e-30, 0.0]), None);
        }
        assert_eq!(Metric::Cosine.refusal(&[0.0, -0.0]), Some("no direction: it is zero everywhere"));
        assert_eq!(Metric::L2.refusal(&[0.0, 0.0]), None);
        assert_eq!(Metric::Cosine.refusal(&[3e38, 3e38]), None, "a direction has no length");
        assert!(Metric::Dot.refusal(&[3e38]).is_some());
    }

    #[test]
    fn directions_do_not_depend_on_lengths() {
        for scale in [1e-38, 1.0, 3e37] {
            assert!(Metric::Cosine.distance(&[scale, scale], &[1.0, 1.0]) < 1e-6);
            assert!((Metric::Cosine.distance(&[scale, scale], &[-1.0, -1.0]) - 2.0).abs() < 1e-6);
        }
    }

    proptest! {
        #[test]
        fn no_distance_is_nan_and_none_depends_on_the_order(
            (a, b) in (1_usize..70).prop_flat_map(|n| {
                let one = || proptest::collection::vec(-1e18_f32..1e18, n);
                (one(), one())
            })
        ) {
            for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
                let there = metric.distance(&a, &b);
                prop_assert_eq!(there.to_bits(), metric.distance(&b, &a).to_bits());
                prop_assert!(!there.is_nan());
            }
            prop_assert!(Metric::Cosine.distance(&a, &a) < 1e-5);
            prop_assert_eq!(Metric::L2.distance(&a, &a), 0.0);
        }
    }
}
