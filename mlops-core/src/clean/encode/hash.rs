//! Texts as columns by their hash.

/// MurmurHash3, 32 bits, as scikit-learn's `murmurhash3_32` calls it (Appleby, `MurmurHash3_x86_32`, public domain).
pub(in crate::clean) fn murmur3(bytes: &[u8], seed: u32) -> i32 {
    let scramble = |k: u32| k.wrapping_mul(0xcc9e_2d51).rotate_left(15).wrapping_mul(0x1b87_3593);
    let mut hash = seed;
    let mut blocks = bytes.chunks_exact(4);
    for block in &mut blocks {
        let k = block.iter().rev().fold(0, |k, byte| k << 8 | u32::from(*byte));
        hash = (hash ^ scramble(k)).rotate_left(13).wrapping_mul(5).wrapping_add(0xe654_6b64);
    }
    let rest = blocks.remainder();
    if !rest.is_empty() {
        hash ^= scramble(rest.iter().rev().fold(0, |k, byte| k << 8 | u32::from(*byte)));
    }
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ hash >> 13).wrapping_mul(0xc2b2_ae35);
    (hash ^ hash >> 16).cast_signed()
}

/// Column of `text` among `columns`, and the sign that it counts with: scikit-learn's `FeatureHasher`.
pub(in crate::clean) fn place(text: &str, columns: usize) -> (usize, f64) {
    let hash = murmur3(text.as_bytes(), 0);
    (hash.unsigned_abs() as usize % columns, if hash < 0 { -1.0 } else { 1.0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_scikit_learn() {
        // scikit-learn 1.9.1: murmurhash3_32(text, seed=0).
        let expected = [
            ("basic", 558074401),
            ("plus", 1200021954),
            ("gold", -261723427),
            ("", 0),
            ("a", 1009084850),
            ("xin chào", 1091475055),
            ("hello, world of hash", 1525774485),
        ];
        for (text, hash) in expected {
            assert_eq!(murmur3(text.as_bytes(), 0), hash, "{text}");
        }
    }
}
