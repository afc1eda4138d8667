//! Names of features as Feast shortens them.

/// MurmurHash3 for 32 bits, with seed 0.
///
/// # Source
/// Appleby, *MurmurHash3*, 2011, public domain; the constants are part of the function.
fn murmur3(bytes: &[u8]) -> u32 {
    let scramble = |word: u32| word.wrapping_mul(0xCC9E_2D51).rotate_left(15).wrapping_mul(0x1B87_3593);
    let (words, rest) = bytes.as_chunks::<4>();
    let mut hash = words.iter().fold(0_u32, |hash, word| {
        (hash ^ scramble(u32::from_le_bytes(*word))).rotate_left(13).wrapping_mul(5).wrapping_add(0xE654_6B64)
    });
    if !rest.is_empty() {
        hash ^= scramble(rest.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte)));
    }
    hash ^= bytes.len() as u32;
    hash = (hash ^ hash >> 16).wrapping_mul(0x85EB_CA6B);
    hash = (hash ^ hash >> 13).wrapping_mul(0xC2B2_AE35);
    hash ^ hash >> 16
}

/// The field of a feature in the hash of an entity.
pub(super) fn field(view: &str, feature: &str) -> [u8; 4] {
    murmur3(format!("{view}:{feature}").as_bytes()).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Printed by feast 0.67.0, `feast.infra.online_stores.helpers._mmh3`.
    #[test]
    fn fields_are_those_of_feast() {
        assert_eq!(field("fv_b", "fv_b_f1"), [0xE8, 0xA1, 0xA4, 0x52]);
        for (text, expected) in [
            ("", [0, 0, 0, 0]),
            ("a", [0xB2, 0x69, 0x25, 0x3C]),
            ("ab", [0x5F, 0xD7, 0xBF, 0x9B]),
            ("abc", [0xFA, 0x93, 0xDD, 0xB3]),
            ("abcd", [0x6A, 0x67, 0xED, 0x43]),
            ("stats:été", [0xC4, 0x84, 0xCD, 0x71]),
        ] {
            assert_eq!(murmur3(text.as_bytes()).to_le_bytes(), expected, "{text}");
        }
    }
}
