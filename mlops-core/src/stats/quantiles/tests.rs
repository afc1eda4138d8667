use datasketches::common::SearchCriteria;
use datasketches::kll::{KllFloat, KllSketch};
use proptest::prelude::*;

use super::*;

fn of(k: u16, values: &[f64]) -> Quantiles {
    let mut quantiles = Quantiles::new(k).unwrap();
    quantiles.update_slice(values);
    quantiles
}

/// Values that look random and are all different.
fn scattered(count: u64, seed: u64) -> Vec<f64> {
    (0..count)
        .map(|i| {
            let z = (i ^ seed << 32).wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
            let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            (z >> 11) as f64 / (1_u64 << 53) as f64
        })
        .collect()
}

/// Greatest difference of the sketch's ranks to the true ones.
fn rank_error(quantiles: &Quantiles, values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let ranks = quantiles.ranks();
    let probes = sorted.iter().step_by((sorted.len() / 500).max(1));
    let true_rank = |x: f64| sorted.partition_point(|&v| v <= x) as f64 / sorted.len() as f64;
    probes.map(|&x| (ranks.at_or_below(x) - true_rank(x)).abs()).fold(0.0, f64::max)
}

#[test]
fn few_values_give_the_quantiles_of_numpy() {
    // numpy 2.4.6: np.quantile(x, [0, .1, .25, .5, .9, 1])
    let quantiles = of(200, &[1.0, 2.0, 2.0, 3.0, 7.0, -4.0, 0.5]);
    let found = quantiles.quantiles(&[0.0, 0.1, 0.25, 0.5, 0.9, 1.0]).unwrap().unwrap();
    for (found, expected) in found.iter().zip([-4.0, -1.3, 0.75, 2.0, 4.6, 7.0]) {
        assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
    }
    assert_eq!((quantiles.rank(2.0), quantiles.ranks().below(2.0)), (5.0 / 7.0, 3.0 / 7.0));
    assert_eq!(quantiles.rank_error(), 0.0);
}

#[test]
fn many_values_stay_within_the_rank_error() {
    for (k, seed) in [(64, 1), (200, 2), (1024, 3)] {
        let values = scattered(100_000, seed);
        let quantiles = of(k, &values);
        let (found, bound) = (rank_error(&quantiles, &values), quantiles.rank_error());
        assert!(found <= bound, "k {k}: {found} above {bound}");
        assert!(quantiles.ranks().values.len() <= 3 * usize::from(k) + 8 * 17);
        assert_eq!(quantiles.count(), 100_000);
    }
}

#[test]
fn sorted_reversed_and_repeated_values_stay_within_the_rank_error() {
    let up: Vec<f64> = (0..50_000).map(f64::from).collect();
    let down: Vec<f64> = up.iter().rev().copied().collect();
    let waves: Vec<f64> = (0..50_000).map(|i| f64::from(i % 1000)).collect();
    for values in [up, down, waves] {
        let quantiles = of(200, &values);
        assert!(rank_error(&quantiles, &values) <= quantiles.rank_error());
    }
}

#[test]
fn many_merged_windows_stay_within_the_rank_error() {
    let values = scattered(60_000, 9);
    let mut merged = Quantiles::new(200).unwrap();
    for window in values.chunks(300) {
        merged.merge(&of(200, window)).unwrap();
    }
    assert_eq!(merged.count(), 60_000);
    assert!(rank_error(&merged, &values) <= merged.rank_error());
}

#[test]
fn merging_a_coarser_sketch_takes_its_error() {
    let mut fine = of(1024, &scattered(10_000, 1));
    let coarse = of(64, &scattered(10_000, 2));
    fine.merge(&coarse).unwrap();
    assert_eq!(fine.rank_error(), coarse.rank_error());
}

#[test]
fn the_same_values_give_the_same_bytes() {
    let values = scattered(20_000, 4);
    let whole = of(200, &values).to_bytes();
    assert!(of(200, &values).to_bytes() == whole);
    let mut in_pieces = Quantiles::new(200).unwrap();
    values.chunks(7).for_each(|chunk| in_pieces.update_slice(chunk));
    assert!(in_pieces.to_bytes() == whole);
    let mut resumed = Quantiles::from_bytes(&of(200, &values[..9_999]).to_bytes()).unwrap();
    resumed.update_slice(&values[9_999..]);
    assert!(resumed.to_bytes() == whole);
}

#[test]
fn apache_datasketches_reads_our_bytes_and_we_read_its() {
    for count in [0_u64, 1, 2, 100, 600, 5_000, 100_000] {
        let values = scattered(count, 5);
        let ours = of(200, &values);
        let theirs = KllSketch::<KllFloat<f64>>::deserialize(&ours.to_bytes()).unwrap();
        assert_eq!(theirs.n(), count);
        assert!(theirs.serialize() == ours.to_bytes(), "{count}");
        for x in [0.1, 0.5, 0.9] {
            let rank = theirs.rank(&KllFloat::<f64>::new(x).unwrap(), SearchCriteria::Inclusive).unwrap_or(0.0);
            assert!((rank - ours.rank(x)).abs() < 1e-12);
        }
        let mut written = KllSketch::<KllFloat<f64>>::new(128).unwrap();
        values.iter().for_each(|&value| written.update(KllFloat::<f64>::new(value).unwrap()));
        let read = Quantiles::from_bytes(&written.serialize()).unwrap();
        assert_eq!((read.count(), read.k()), (count, 128));
        assert!(read.to_bytes() == written.serialize(), "{count}");
    }
}

#[test]
fn infinities_nan_and_negative_zero_do_not_disturb() {
    let mut quantiles = of(8, &[f64::NAN, -0.0, f64::INFINITY, 0.0, f64::NEG_INFINITY]);
    quantiles.update(f64::NAN);
    assert_eq!((quantiles.count(), quantiles.rank(0.0), quantiles.ranks().below(0.0)), (2, 1.0, 0.0));
    let huge = of(8, &[-1.7e308, 1.7e308]);
    assert_eq!(huge.quantile(0.5).unwrap(), Some(0.0));
    assert_eq!(of(8, &[]).quantile(0.5).unwrap(), None);
    assert!(huge.quantile(1.5).is_err() && huge.quantile(f64::NAN).is_err());
}

#[test]
fn damaged_bytes_are_errors() {
    let good = of(200, &scattered(5_000, 6)).to_bytes();
    for len in (0..good.len()).step_by(17) {
        assert!(matches!(Quantiles::from_bytes(&good[..len]), Err(Error::Corrupt { .. })), "{len}");
    }
    for place in 0..good.len().min(400) {
        for bit in [1, 0x80] {
            let mut bytes = good.clone();
            bytes[place] ^= bit;
            // Whatever can be read must also work.
            if let Ok(mut sketch) = Quantiles::from_bytes(&bytes) {
                sketch.update_slice(&vec![1.0; 3000]);
                sketch.merge(&of(200, &[1.0; 700])).unwrap();
                let _ = sketch.quantiles(&[0.0, 0.3, 1.0]).unwrap();
            }
        }
    }
    let infinite = KllFloat::<f64>::new(f64::INFINITY).unwrap();
    let mut theirs = KllSketch::new(200).unwrap();
    theirs.update(infinite);
    assert!(Quantiles::from_bytes(&theirs.serialize()).is_err());
}

#[test]
fn json_comes_back() {
    let quantiles = of(200, &scattered(3_000, 7));
    let json = serde_json::to_string(&quantiles).unwrap();
    assert!(json.starts_with("{\"format\":1,"));
    assert_eq!(serde_json::from_str::<Quantiles>(&json).unwrap(), quantiles);
}

proptest! {
    #[test]
    fn order_and_merging_do_not_matter_while_exact(
        mut values in prop::collection::vec(-100..100_i32, 1..150), at in 0_usize..150, p in 0.0..=1.0_f64,
    ) {
        let numbers = |values: &[i32]| values.iter().copied().map(f64::from).collect::<Vec<_>>();
        let whole = of(200, &numbers(&values)).quantile(p).unwrap();
        let at = at.min(values.len());
        let mut merged = of(200, &numbers(&values[..at]));
        merged.merge(&of(200, &numbers(&values[at..]))).unwrap();
        prop_assert_eq!(merged.quantile(p).unwrap(), whole);
        values.reverse();
        prop_assert_eq!(of(200, &numbers(&values)).quantile(p).unwrap(), whole);
    }

    #[test]
    fn merged_parts_stay_within_three_times_the_error(seed in 0_u64..1000, at in 0_usize..20_000) {
        let values = scattered(20_000, seed);
        let mut merged = of(64, &values[..at]);
        merged.merge(&of(64, &values[at..])).unwrap();
        prop_assert_eq!(merged.count(), 20_000);
        prop_assert!(rank_error(&merged, &values) <= 3.0 * merged.rank_error());
        prop_assert_eq!(&Quantiles::from_bytes(&merged.to_bytes()).unwrap(), &merged);
    }
}
