//! One hash of texts and numbers for everything that is stored by hash: samples, row fingerprints.
//!
//! It is written down here rather than taken from a crate because stored samples of two machines and two versions must
//! agree. It is fast and spreads well; it is not meant to resist someone who looks for collisions.

/// What SplitMix64 adds to its state at each step.
pub(crate) const SEED: u64 = 0x9E37_79B9_7F4A_7C15;
const ODD: u64 = 0xD6E8_FEB8_6659_FD93;

/// High and low half of the product: every bit of either side reaches the result.
fn fold(a: u64, b: u64) -> u64 {
    let product = u128::from(a) * u128::from(b);
    product as u64 ^ (product >> 64) as u64
}

/// One round of SplitMix64 (Vigna, public domain).
pub(crate) fn mix(state: u64) -> u64 {
    spread(state.wrapping_add(SEED))
}

/// `z` spread over all 64 bits: what SplitMix64 does to its state.
pub(crate) fn spread(z: u64) -> u64 {
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Hash of a number's key.
pub(crate) fn of_key(key: u64) -> u64 {
    fold(key ^ SEED, ODD) ^ key.rotate_left(32)
}

/// Hash of a text's bytes.
pub(crate) fn of_text(text: &str) -> u64 {
    let bytes = text.as_bytes();
    let mut state = SEED ^ (bytes.len() as u64).wrapping_mul(ODD);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        state = fold(state ^ u64::from_le_bytes(*word), ODD);
    }
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    mix(state ^ u64::from_le_bytes(last))
}

/// Hash of a row of which `so_far` was seen, and then `cell`.
pub(crate) fn chain(so_far: u64, cell: u64) -> u64 {
    fold(so_far.rotate_left(5) ^ cell, ODD) ^ cell
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_hashes_stay_what_they_are() {
        // SplitMix64 from state 0: 0xE220A8397B1DCDAF (Vigna's splitmix64.c).
        assert_eq!(mix(0), 0xE220_A839_7B1D_CDAF);
        let texts = ["", "a", "abcdefgh", "abcdefghi", "0912345678"].map(of_text);
        let mut different = texts.to_vec();
        different.sort_unstable();
        different.dedup();
        assert_eq!(different.len(), texts.len());
    }

    #[test]
    fn close_values_are_far_apart() {
        for bit in 0..64 {
            let far = (of_key(7) ^ of_key(7 ^ 1 << bit)).count_ones();
            assert!((10..55).contains(&far), "bit {bit} changes {far} bits");
        }
        assert_ne!(chain(chain(0, 1), 2), chain(chain(0, 2), 1));
    }
}
