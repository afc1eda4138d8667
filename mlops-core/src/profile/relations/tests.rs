use std::sync::Arc;

use arrow::array::{BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use proptest::prelude::*;

use super::*;
use crate::profile::tests::{batch, profile_with};
use crate::profile::{Profile, ProfileOptions};
use crate::stats::hash::mix;

/// Rows `from..to`: `y` follows `x`, `group` follows the sign of `x`, `noise` follows nothing; `x` lacks some values.
fn table(from: u64, to: u64) -> RecordBatch {
    let unit = |row: u64, salt: u64| (mix(row * 8 + salt) >> 11) as f64 / (1_u64 << 53) as f64;
    let x = move |row: u64| unit(row, 0) - 0.5;
    batch(vec![
        ("id", Arc::new(Int64Array::from_iter_values((from..to).map(|row| row as i64)))),
        ("x", Arc::new((from..to).map(|row| (!row.is_multiple_of(10)).then(|| x(row))).collect::<Float64Array>())),
        ("y", Arc::new(Float64Array::from_iter_values((from..to).map(|row| 3.0 * x(row) + unit(row, 1))))),
        (
            "group",
            Arc::new(StringArray::from_iter_values((from..to).map(|row| if x(row) < 0.0 { "low" } else { "high" }))),
        ),
        ("noise", Arc::new((from..to).map(|row| Some(unit(row, 2) < 0.5)).collect::<BooleanArray>())),
    ])
}

fn profile(batches: &[RecordBatch]) -> Profile {
    profile_with(batches, &ProfileOptions::report())
}

#[test]
fn relations_are_found_and_noise_is_not() {
    let relations = profile(&[table(0, 20_000)]).relations().unwrap();
    // Variances 9/12 and 1/12: a correlation of √(9/10) = 0.9487 in the limit.
    let pearson = relations.pearson("x", "y").unwrap();
    assert!((pearson - 0.9_f64.sqrt()).abs() < 0.005, "{pearson}");
    // Not exact, for it comes from 1024 rows; the interval tells.
    let ranks = relations.spearman("x", "y").unwrap();
    assert!(ranks.low < 0.945 && 0.945 < ranks.high && ranks.high - ranks.low < 0.05, "{ranks:?}");
    let told = relations.cramers_v("x", "group").unwrap();
    assert!(told.value > 0.97, "{told:?}");
    let noise = relations.cramers_v("noise", "group").unwrap();
    assert!(noise.low < 0.05 && noise.value < 0.12, "{noise:?}");
    // The group is one fair coin that `x` tells, ln 2, but for the bin of `x` in which both sides meet.
    let information = relations.mutual_information("x", "group").unwrap();
    assert!((information.value - std::f64::consts::LN_2).abs() < 0.09, "{information:?}");
    assert_eq!(
        (relations.pearson("x", "group"), relations.spearman("noise", "x"), relations.pearson("x", "none")),
        (None, None, None)
    );
    assert_eq!((relations.examined(), relations.is_exact(), relations.duplicates().value), (1024, false, 0));
    assert!((30..=100).contains(&relations.duplicates().high));
}

#[test]
fn few_rows_are_told_exactly_and_copies_are_counted() {
    let rows = table(0, 300);
    let relations = profile(&[rows.clone(), rows.slice(0, 100), rows.slice(50, 1)]).relations().unwrap();
    assert!(relations.is_exact());
    assert_eq!(relations.duplicates(), Estimate::exact(101));
    let ranks = relations.spearman("id", "y").unwrap();
    assert_eq!((ranks.low, ranks.high), (ranks.value, ranks.value));
}

#[test]
fn the_share_of_copies_is_estimated_with_its_error() {
    let rows = table(0, 20_000);
    let relations = profile(&[rows.clone(), rows.slice(0, 5_000)]).relations().unwrap();
    let copies = relations.duplicates();
    assert!(copies.low <= 5000 && 5000 <= copies.high && copies.high - copies.low < 2500, "{copies:?}");
}

#[test]
fn rows_that_differ_in_a_null_only_are_no_copies() {
    let table = batch(vec![
        ("a", Arc::new(Float64Array::from(vec![Some(0.0), None, Some(f64::NAN), Some(-0.0)]))),
        ("b", Arc::new(Float64Array::from(vec![None, Some(0.0), None, None]))),
    ]);
    assert_eq!(profile(&[table]).relations().unwrap().duplicates(), Estimate::exact(1));
}

#[test]
fn bytes_and_json_come_back_and_what_does_not_go_together_is_none() {
    let whole = profile(&[table(0, 3000)]);
    let relations = whole.relations().unwrap();
    let from_bytes = Profile::from_bytes(&whole.to_bytes()).unwrap();
    let from_json: Profile = serde_json::from_str(&serde_json::to_string(&whole).unwrap()).unwrap();
    assert_eq!(from_bytes.relations(), Some(relations.clone()));
    assert_eq!(from_json.relations(), Some(relations.clone()));
    assert!(from_bytes.to_bytes() == whole.to_bytes());
    let hidden = ProfileOptions::builder().hide("x").related(64).build().unwrap();
    let mut merged = profile_with(&[table(3000, 3100)], &hidden);
    merged.merge(&whole).unwrap();
    assert_eq!(merged.relations(), None);
    let mut other = profile(&[table(0, 10)]);
    other.merge(&profile_with(&[table(0, 10)], &ProfileOptions::default())).unwrap();
    assert_eq!(other.relations(), None);
}

#[test]
fn too_many_related_columns_are_refused() {
    assert!(ProfileOptions::builder().related(513).build().is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn batches_do_not_matter_to_the_bit_and_merging_to_a_billionth(cuts in prop::collection::vec(0_u64..2600, 0..5), at in 0_u64..2600) {
        let mut cuts = cuts;
        cuts.extend([0, 2600]);
        cuts.sort_unstable();
        let batches: Vec<RecordBatch> = cuts.windows(2).map(|ends| table(ends[0], ends[1])).collect();
        let whole = profile(&[table(0, 2600)]).relations().unwrap();
        prop_assert_eq!(profile(&batches).relations().unwrap(), whole.clone());
        let mut merged = profile(&[table(at, 2600)]);
        merged.merge(&profile(&[table(0, at)])).unwrap();
        let merged = merged.relations().unwrap();
        prop_assert_eq!(merged.spearman("x", "y"), whole.spearman("x", "y"));
        prop_assert_eq!(merged.cramers_v("noise", "group"), whole.cramers_v("noise", "group"));
        prop_assert_eq!(merged.duplicates(), whole.duplicates());
        let (mine, theirs) = (merged.pearson("x", "y").unwrap(), whole.pearson("x", "y").unwrap());
        prop_assert!((mine - theirs).abs() < 1e-9, "{} is not {}", mine, theirs);
    }
}
