//! Sorting of doubles by the upper half of their bits, eleven at a time.
//!
//! A comparison sort of half a million doubles mispredicts a branch or moves every value some nineteen times; this moves each
//! three times. What then shares its upper half, a handful of values at random and equal ones otherwise, is sorted by comparison.

/// Bits of one digit: its counters for all digits stay in the second cache.
const DIGIT: u32 = 11;
const BUCKETS: usize = 1 << DIGIT;
const DIGITS: usize = 3;
/// Bits below all digits.
const LOWER: u32 = 64 - DIGIT * DIGITS as u32;
/// Below this many values the counters cost more than comparisons do.
const SMALL: usize = 1024;

/// Sorts numbers without NaN in the order of [`f64::total_cmp`]; `O(n)` for values that spread, never worse than
/// `O(n log n)`, with twice as much memory again beyond 1024 values.
pub(crate) fn sort(values: &mut [f64]) {
    debug_assert!(values.iter().all(|value| !value.is_nan()));
    if values.len() < SMALL || u32::try_from(values.len()).is_err() {
        values.sort_unstable_by(f64::total_cmp);
        return;
    }
    let mut keys: Vec<u64> = values.iter().map(|&value| key(value)).collect();
    let mut spare = vec![0_u64; keys.len()];
    let mut counts = vec![[0_u32; BUCKETS]; DIGITS];
    for &key in &keys {
        for (digit, counts) in counts.iter_mut().enumerate() {
            counts[bucket(key, digit)] += 1;
        }
    }
    for (digit, counts) in counts.iter_mut().enumerate() {
        if counts[bucket(keys[0], digit)] as usize == keys.len() {
            continue;
        }
        let mut start = 0;
        for count in counts.iter_mut() {
            (*count, start) = (start, start + *count);
        }
        for &key in &keys {
            let place = &mut counts[bucket(key, digit)];
            spare[*place as usize] = key;
            *place += 1;
        }
        std::mem::swap(&mut keys, &mut spare);
    }
    keys.chunk_by_mut(|a, b| a >> LOWER == b >> LOWER).filter(|run| run.len() > 1).for_each(<[u64]>::sort_unstable);
    for (value, key) in values.iter_mut().zip(keys) {
        *value = number(key);
    }
}

fn bucket(key: u64, digit: usize) -> usize {
    (key >> (LOWER + digit as u32 * DIGIT)) as usize % BUCKETS
}

/// Grows as the number does: negative numbers with all bits turned, the others above them.
fn key(value: f64) -> u64 {
    let bits = value.to_bits();
    bits ^ ((bits.cast_signed() >> 63).cast_unsigned() | 1 << 63)
}

fn number(key: u64) -> f64 {
    f64::from_bits(key ^ (((!key).cast_signed() >> 63).cast_unsigned() | 1 << 63))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(mut values: Vec<f64>) {
        let mut expected = values.clone();
        expected.sort_by(f64::total_cmp);
        sort(&mut values);
        let bits = |values: &[f64]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&values), bits(&expected));
    }

    #[test]
    fn signs_zeros_and_infinities_lie_where_the_total_order_puts_them() {
        let odd = [0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, -5e-324, 5e-324, f64::MAX, f64::MIN];
        check(odd.iter().copied().cycle().take(4 * SMALL).collect());
        check(vec![7.5; 2 * SMALL]);
        check((0..3 * SMALL).map(|i| -(i as f64)).collect());
        check(Vec::new());
    }

    #[test]
    fn values_that_differ_in_their_last_bits_alone_are_told_apart() {
        check((0..4 * SMALL as u64).map(|i| f64::from_bits(1.5_f64.to_bits() + i * 7_919 % 4_096)).collect());
        check((0..4 * SMALL as u64).map(|i| -f64::from_bits(i * 7_919 % 4_096)).collect());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn any_numbers_are_sorted_as_by_comparisons(bits in prop::collection::vec(any::<u64>(), SMALL..3 * SMALL)) {
            check(bits.into_iter().map(f64::from_bits).filter(|value| !value.is_nan()).collect());
        }
    }
}
