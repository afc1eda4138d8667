use proptest::prelude::*;

use super::*;

const NAN: f64 = f64::NAN;

#[track_caller]
fn close(value: Option<f64>, expected: f64) {
    let value = value.unwrap();
    assert!((value - expected).abs() <= 1e-12 * expected.abs().max(1.0), "{value} is not {expected}");
}

#[test]
fn a_pair_is_correlated_over_its_common_rows() {
    let mut moments = CoMoments::new(3).unwrap();
    let (a, b) = ([1.0, 2.0, NAN, 4.0, 5.5, -1.0], [2.0, NAN, 1.0, 3.5, 7.0, f64::INFINITY]);
    let c = [0.5, -0.25, 3.0, 1.0, 2.0, 0.0];
    moments.update(&[&a, &b, &c]).unwrap();
    // numpy 2.4.6: np.corrcoef([1, 4, 5.5], [2, 3.5, 7])[0, 1], np.corrcoef([1, 2, 4, 5.5, -1], [.5, -.25, 1, 2, 0])[0, 1]
    close(moments.pearson(0, 1), 0.914_272_999_459_508_9);
    close(moments.pearson(2, 0), 0.828_174_133_762_539_8);
    assert_eq!((moments.count(0, 1), moments.count(0, 2), moments.count(1, 1)), (3, 5, 0));
    assert_eq!((moments.pearson(1, 1), moments.pearson(0, 3)), (None, None));
    // (1, 2), (4, 3.5), (5.5, 7): means 3.5 and 25/6, products 5.416.. + -0.333.. + 5.666.. = 10.75
    close(moments.covariance(0, 1, 1), 5.375);
}

#[test]
fn one_value_and_one_row_have_no_correlation() {
    let mut moments = CoMoments::new(2).unwrap();
    moments.update(&[&[1.0], &[2.0]]).unwrap();
    assert_eq!((moments.pearson(0, 1), moments.covariance(0, 1, 1)), (None, None));
    moments.update(&[&vec![0.1; 5000], &vec![3.0; 5000]]).unwrap();
    let mut flat = CoMoments::new(2).unwrap();
    let rising: Vec<f64> = (0..5000).map(f64::from).collect();
    flat.update(&[&vec![0.1; 5000], &rising]).unwrap();
    assert_eq!(flat.pearson(0, 1), None);
}

#[test]
fn a_far_mean_costs_no_digits() {
    let x: Vec<f64> = (0..3000).map(|i| 1e9 + f64::from(i % 17)).collect();
    let y: Vec<f64> = (0..3000).map(|i| -1e9 + 2.0 * f64::from(i % 17)).collect();
    let mut moments = CoMoments::new(2).unwrap();
    moments.update(&[&x, &y]).unwrap();
    close(moments.pearson(0, 1), 1.0);
}

#[test]
fn wrong_shapes_and_bytes_are_refused() {
    let mut moments = CoMoments::new(2).unwrap();
    assert!(matches!(moments.update(&[&[1.0]]), Err(Error::Invalid { .. })));
    assert!(matches!(moments.update(&[&[1.0], &[]]), Err(Error::Invalid { .. })));
    assert!(matches!(moments.merge(&CoMoments::new(3).unwrap()), Err(Error::Invalid { .. })));
    assert!(matches!(CoMoments::new(513), Err(Error::Invalid { .. })));
    moments.update(&[&[1.0, 2.0], &[3.0, 5.0]]).unwrap();
    let bytes = moments.to_bytes();
    assert_eq!(CoMoments::from_bytes(&bytes).unwrap(), moments);
    for len in 0..bytes.len() {
        assert!(CoMoments::from_bytes(&bytes[..len]).is_err(), "{len}");
    }
    let mut many = bytes.clone();
    many[4..12].fill(255);
    assert!(matches!(CoMoments::from_bytes(&many), Err(Error::Corrupt { .. })));
}

proptest! {
    #[test]
    fn any_split_gives_one_pass(rows in prop::collection::vec((prop::option::of(-1e3..1e3_f64), prop::option::of(-1e3..1e3_f64)), 0..80), cut in 0_usize..80) {
        let a: Vec<f64> = rows.iter().map(|row| row.0.unwrap_or(NAN)).collect();
        let b: Vec<f64> = rows.iter().map(|row| row.1.unwrap_or(NAN)).collect();
        let cut = cut.min(a.len());
        let (mut whole, mut left, mut right) =
            (CoMoments::new(2).unwrap(), CoMoments::new(2).unwrap(), CoMoments::new(2).unwrap());
        whole.update(&[&a, &b]).unwrap();
        left.update(&[&a[..cut], &b[..cut]]).unwrap();
        right.update(&[&a[cut..], &b[cut..]]).unwrap();
        right.merge(&left).unwrap();
        prop_assert_eq!(right.count(0, 1), whole.count(0, 1));
        match (right.covariance(0, 1, 1), whole.covariance(0, 1, 1)) {
            (Some(x), Some(y)) => prop_assert!((x - y).abs() <= 1e-9 * (1.0 + y.abs()) * 1e3, "{} is not {}", x, y),
            (x, y) => prop_assert_eq!(x, y),
        }
    }
}
