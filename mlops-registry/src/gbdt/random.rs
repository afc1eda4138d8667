//! The trainer's own stream of random numbers, so that a seed means the same in every release.

/// SplitMix64 (Steele, Lea, Flood, *Fast splittable pseudorandom number generators*, OOPSLA 2014).
#[derive(Debug, Clone)]
pub(super) struct SplitMix64(u64);

impl SplitMix64 {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Uniform in `0..bound`, to within `bound / 2^64`; `bound` is above 0.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// `wanted` of the numbers `0..of`, ascending, every choice equally likely.
    pub(super) fn choose(&mut self, wanted: usize, of: usize) -> Vec<u32> {
        let mut chosen = Vec::with_capacity(wanted);
        for at in 0..of {
            if self.below((of - at) as u64) < (wanted - chosen.len()) as u64 {
                chosen.push(at as u32);
            }
        }
        chosen
    }

    /// As [`Self::choose`] for a share in `(0, 1]`, at least one number where there is one; without a draw for all.
    pub(super) fn choose_share(&mut self, share: f64, of: usize) -> Vec<u32> {
        let wanted = ((share * of as f64).round() as usize).clamp(1.min(of), of);
        if wanted == of { (0..of as u32).collect() } else { self.choose(wanted, of) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stream_is_the_published_one() {
        // First outputs for seed 1234567 of the reference implementation (Vigna, prng.di.unimi.it/splitmix64.c).
        let mut random = SplitMix64::new(1_234_567);
        assert_eq!([random.next(), random.next()], [6_457_827_717_110_365_317, 3_203_168_211_198_807_973]);
    }

    #[test]
    fn a_choice_is_ascending_distinct_and_fair() {
        let mut random = SplitMix64::new(1);
        let mut seen = [0_u32; 10];
        for _ in 0..5_000 {
            let chosen = random.choose(3, 10);
            assert!(chosen.len() == 3 && chosen.is_sorted_by(|a, b| a < b));
            for at in chosen {
                seen[at as usize] += 1;
            }
        }
        // 1,500 each in the mean, standard deviation √(5000 · 0.3 · 0.7) = 32.
        assert!(seen.iter().all(|&count| (1_350..=1_650).contains(&count)), "{seen:?}");
        assert_eq!(random.choose_share(0.01, 10).len(), 1);
        assert_eq!(random.choose_share(1.0, 4), [0, 1, 2, 3]);
        assert!(random.choose_share(0.5, 0).is_empty());
    }
}
