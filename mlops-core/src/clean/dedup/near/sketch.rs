//! Texts as sets of shingles, and what tells which sets are alike.

use super::super::super::encode::murmur3;
use super::super::super::learn::Random;
use super::Shingles;
use crate::stats::hash::spread;

/// Hash functions of a signature.
const HASHES: usize = 128;

/// Least probability with which two texts that are just alike enough meet in a band.
const RECALL: f64 = 0.99;

/// The shingles of `text` as rising hashes, each once; empty for a text of white space.
pub(super) fn shingles(text: &str, by: Shingles) -> Vec<u64> {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split_whitespace().collect();
    if words.is_empty() {
        return Vec::new();
    }
    // Runs of white space do not tell texts apart.
    let plain = words.join(" ");
    let mut hashes: Vec<u64> = match by {
        Shingles::Words(n) => {
            let n = (n as usize).min(words.len());
            words.windows(n).map(|window| hash(&window.join(" "))).collect()
        }
        Shingles::Chars(n) => {
            let mut starts: Vec<usize> = plain.char_indices().map(|(at, _)| at).collect();
            starts.push(plain.len());
            let n = (n as usize).min(starts.len() - 1);
            starts.windows(n + 1).map(|window| hash(&plain[window[0]..window[n]])).collect()
        }
    };
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

fn hash(text: &str) -> u64 {
    let half = |seed| u64::from(murmur3(text.as_bytes(), seed).cast_unsigned());
    half(0) << 32 | half(1)
}

/// `|a ∩ b| / |a ∪ b|` of two rising lists.
pub(super) fn jaccard(a: &[u64], b: &[u64]) -> f64 {
    let (mut i, mut j, mut shared) = (0, 0, 0);
    while i < a.len() && j < b.len() {
        match a[i].cmp(&b[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => (i, j, shared) = (i + 1, j + 1, shared + 1),
        }
    }
    f64::from(shared) / (a.len() + b.len() - shared as usize).max(1) as f64
}

/// Hashes a set so that two sets meet in a band with a probability that rises steeply with their likeness.
#[derive(Debug)]
pub(super) struct Bands {
    /// Factors and summands of the hash functions.
    functions: Vec<(u64, u64)>,
    rows: usize,
}

impl Bands {
    /// The longest bands in which sets as alike as `threshold` still meet with a probability of 0.99: with `b` bands of `r`
    /// rows that is `1 − (1 − t^r)^b`.
    pub(super) fn new(threshold: f64, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let functions = (0..HASHES).map(|_| (random.next() | 1, random.next())).collect();
        let recall = |rows: usize| {
            let bands = (HASHES / rows) as f64;
            1.0 - (1.0 - threshold.powi(rows as i32)).powf(bands)
        };
        let rows = (1..=HASHES).rev().find(|rows| recall(*rows) >= RECALL).unwrap_or(1);
        Self { functions, rows }
    }

    /// One key per band; the place of the band is part of it.
    pub(super) fn keys(&self, set: &[u64]) -> Vec<u64> {
        let least = |(factor, summand): &(u64, u64)| {
            set.iter().map(|x| x.wrapping_mul(*factor).wrapping_add(*summand) >> 32).min().unwrap_or(0)
        };
        let signature: Vec<u64> = self.functions.iter().map(least).collect();
        let key =
            |(band, rows): (usize, &[u64])| rows.iter().fold(band as u64, |key, row| spread(key ^ row).rotate_left(17));
        signature.chunks_exact(self.rows).enumerate().map(key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shingles_are_windows_of_words_or_characters() {
        assert_eq!(shingles("a b c", Shingles::Words(2)).len(), 2);
        assert_eq!(shingles("A  b\tc", Shingles::Words(2)), shingles("a b c", Shingles::Words(2)));
        assert_eq!(shingles("chào", Shingles::Chars(3)).len(), 2);
        assert_eq!(shingles("ab", Shingles::Chars(3)).len(), 1, "a short text is one shingle");
        assert!(shingles(" \n", Shingles::Words(1)).is_empty());
    }

    #[test]
    fn likeness_is_that_of_sets() {
        assert_eq!(jaccard(&[1, 2, 3], &[2, 3, 4]), 0.5);
        assert_eq!(jaccard(&[], &[]), 0.0);
    }

    #[test]
    fn bands_are_as_long_as_recall_allows() {
        // 1 − (1 − 0.8^r)^b: 0.998 with 6 rows in 21 bands, 0.986 with 7 in 18.
        assert_eq!(Bands::new(0.8, 0).rows, 6);
        assert_eq!(Bands::new(1.0, 0).rows, 128);
    }

    #[test]
    fn sets_meet_in_as_many_bands_as_their_likeness_says() {
        // The share of equal hashes estimates the likeness: 128 of them with a standard error of 0.04.
        let bands = Bands { rows: 1, ..Bands::new(0.5, 9) };
        let sets: Vec<Vec<u64>> =
            [0..300, 100..400].into_iter().map(|of| of.map(|i| spread(i + 1)).collect()).collect();
        let (a, b) = (bands.keys(&sets[0]), bands.keys(&sets[1]));
        let equal = a.iter().zip(&b).filter(|(a, b)| a == b).count() as f64 / 128.0;
        assert!((equal - 0.5).abs() < 0.13, "{equal}");
    }
}
