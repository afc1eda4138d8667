//! Addressable randomness: every draw is a function of the seed and of what it is for.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// What a draw is for; two purposes never share random numbers.
#[derive(Clone, Copy)]
pub(crate) enum Stream {
    Person = 1,
    Hidden,
    Identity,
    Flaws,
    Copies,
    Usage,
    Upgrade,
    Catalogue,
    Arrival,
    Candidates,
    Logging,
    Outcome,
    Delay,
    Churn,
}

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64's finalizer: a bijection of 64-bit words that spreads every input bit.
/// Steele, Lea, Flood, *Fast splittable pseudorandom number generators*, OOPSLA 2014.
pub(crate) const fn mix(word: u64) -> u64 {
    let word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    word ^ (word >> 31)
}

/// The key of `stream` under `seed`.
pub(crate) const fn stream_key(seed: u64, stream: Stream) -> u64 {
    mix(mix(seed.wrapping_add(GOLDEN)) ^ (stream as u64).wrapping_mul(GOLDEN))
}

/// 64 random bits for item `index` of the stream with this key.
pub(crate) const fn bits(key: u64, index: u64) -> u64 {
    mix(key ^ index.wrapping_add(1).wrapping_mul(GOLDEN))
}

/// A generator for item `index` of `stream`.
pub(crate) fn rng(seed: u64, stream: Stream, index: u64) -> SmallRng {
    SmallRng::seed_from_u64(bits(stream_key(seed, stream), index))
}

/// A number strictly between 0 and 1.
pub(crate) const fn unit(bits: u64) -> f64 {
    ((bits >> 12) as f64 + 0.5) * (1.0 / 4_503_599_627_370_496.0)
}

/// Two independent standard normals (Box and Muller, 1958).
pub(crate) fn normals(rng: &mut SmallRng) -> (f64, f64) {
    let radius = (-2.0 * unit(rng.r#gen()).ln()).sqrt();
    let (sin, cos) = (std::f64::consts::TAU * unit(rng.r#gen())).sin_cos();
    (radius * cos, radius * sin)
}

/// One standard normal.
pub(crate) fn normal(rng: &mut SmallRng) -> f64 {
    normals(rng).0
}

/// Whether an event of this probability happens.
pub(crate) fn chance(rng: &mut SmallRng, probability: f64) -> bool {
    unit(rng.r#gen()) < probability
}

/// Index drawn with probability proportional to `weights`; the last one when rounding leaves nothing.
pub(crate) fn pick(rng: &mut SmallRng, weights: impl Iterator<Item = f64> + Clone) -> usize {
    let mut left = unit(rng.r#gen()) * weights.clone().sum::<f64>();
    let mut last = 0;
    for (index, weight) in weights.enumerate() {
        last = index;
        left -= weight;
        if left < 0.0 {
            break;
        }
    }
    last
}

/// `1 / (1 + e^-x)`.
pub(crate) fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `(index × factor + offset) mod size`, a permutation of `0..size`: the factor is raised until it is coprime to `size`.
#[derive(Debug)]
pub(crate) struct Permutation {
    size: u64,
    factor: u64,
    offset: u64,
}

impl Permutation {
    pub(crate) fn new(size: u64, key: u64) -> Self {
        let size = size.max(1);
        let mut factor = (size as f64 * 0.618) as u64 + bits(key, 0) % (size / 8 + 1);
        while gcd(factor, size) != 1 {
            factor += 1;
        }
        Self { size, factor, offset: bits(key, 1) % size }
    }

    pub(crate) fn at(&self, index: u64) -> u64 {
        let product = u128::from(index) * u128::from(self.factor) + u128::from(self.offset);
        (product % u128::from(self.size)) as u64
    }
}

fn gcd(mut a: u64, mut b: u64) -> u64 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permutation_visits_every_place_once() {
        for size in [1, 2, 10, 97, 300, 1024] {
            let permutation = Permutation::new(size, 5);
            let mut seen: Vec<u64> = (0..size).map(|i| permutation.at(i)).collect();
            seen.sort_unstable();
            assert_eq!(seen, (0..size).collect::<Vec<_>>());
        }
    }

    #[test]
    fn unit_draws_stay_inside_the_open_interval() {
        assert!(unit(0) > 0.0 && unit(u64::MAX) < 1.0);
    }

    #[test]
    fn picks_follow_their_weights() {
        let mut rng = rng(1, Stream::Person, 0);
        let mut counts = [0; 3];
        (0..40_000).for_each(|_| counts[pick(&mut rng, [1.0, 0.0, 3.0].into_iter())] += 1);
        assert_eq!(counts[1], 0);
        assert!((counts[2] - 30_000i32).abs() < 600, "{counts:?}"); // six standard deviations are 520
    }
}
