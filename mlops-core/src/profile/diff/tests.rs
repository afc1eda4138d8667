use std::sync::Arc;

use arrow::array::{Float64Array, Int32Array, Int64Array, StringArray};

use crate::profile::tests::{batch, mixed, profile};
use crate::stats::Estimate;

#[test]
fn columns_counts_and_distributions_are_compared() {
    let city = |odd: &str| -> StringArray { (0..100).map(|i| Some(if i % 4 == 0 { odd } else { "Huế" })).collect() };
    let before = profile(&[batch(vec![
        ("x", Arc::new(Float64Array::from_iter_values((0..100).map(f64::from)))),
        ("city", Arc::new(city("Vinh"))),
        ("gone", Arc::new(Int32Array::from(vec![1; 100]))),
        ("code", Arc::new(Int32Array::from(vec![1; 100]))),
    ])]);
    let after = profile(&[batch(vec![
        ("code", Arc::new(Int64Array::from(vec![1; 100]))),
        ("city", Arc::new(city("Đà Lạt"))),
        ("x", Arc::new((0..100).map(|i| (i >= 50).then(|| f64::from(i) + 25.0)).collect::<Float64Array>())),
        ("fresh", Arc::new(Int32Array::from(vec![1; 100]))),
    ])]);
    let diff = before.diff(&after);
    assert_eq!(
        (diff.added.clone(), diff.removed.clone(), diff.is_reordered),
        (vec!["fresh".to_owned()], vec!["gone".to_owned()], true)
    );
    let of = |name: &str| diff.columns.iter().find(|column| column.name == name).unwrap();
    let x = of("x");
    assert_eq!(x.null_ratio.map(|pair| (pair.before, pair.after)), Some((0.0, 0.5)));
    // Means of 0..=99 and of 75..=124; 75 % of the first lie below all of the second.
    assert_eq!(x.mean.map(|pair| (pair.before, pair.after)), Some((49.5, 99.5)));
    assert!((x.ks.unwrap().statistic - 0.75).abs() < 1e-12);
    assert_eq!(x.distinct.map(|pair| pair.after), Some(Estimate::exact(50)));
    let city = of("city");
    assert_eq!((city.lost.clone(), city.new.clone()), (vec!["Vinh".to_owned()], vec!["Đà Lạt".to_owned()]));
    assert!((city.total_variation.unwrap() - 0.25).abs() < 1e-12);
    assert_eq!(of("code").retyped.as_ref().map(|pair| pair.after.as_str()), Some("Int64"));
    assert!(serde_json::to_string(&diff).is_ok());
}

#[test]
fn a_profile_differs_in_nothing_from_itself() {
    let profile = profile(&[mixed(0, 500)]);
    let diff = profile.diff(&profile);
    assert!(diff.added.is_empty() && diff.removed.is_empty() && !diff.is_reordered);
    for column in &diff.columns {
        assert!(
            column.retyped.is_none() && column.remeant.is_none() && column.lost.is_empty() && column.new.is_empty()
        );
        assert_eq!(column.ks.map_or(0.0, |ks| ks.statistic), 0.0);
        assert_eq!(column.total_variation.unwrap_or(0.0), 0.0);
    }
}
