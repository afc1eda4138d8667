//! Numbers that look random and repeat.

/// One step of SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
pub fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    /// The first outputs for seed 1234567 as printed by the reference implementation, splitmix64.c of Sebastiano Vigna.
    #[test]
    fn the_sequence_is_that_of_the_reference() {
        let mut state = 1_234_567_u64;
        let mut next = || {
            let out = super::mix(state);
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            out
        };
        assert_eq!([next(), next(), next()], [6457827717110365317, 3203168211198807973, 9817491932198370423]);
    }
}
