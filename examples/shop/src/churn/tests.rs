use arrow::array::AsArray;
use arrow::datatypes::{Float64Type, Int64Type};

use std::fs;

use mlops_core::Error;

use super::*;

/// Area under the ROC curve: share of (positive, negative) pairs in the right order, ties half.
fn auc(scored: &mut [(f64, bool)]) -> f64 {
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = scored.iter().filter(|(_, label)| *label).count() as f64;
    let (mut below, mut wins) = (0.0, 0.0);
    for group in scored.chunk_by(|a, b| a.0 == b.0) {
        let hits = group.iter().filter(|(_, label)| *label).count() as f64;
        let misses = group.len() as f64 - hits;
        wins += hits * (below + misses / 2.0);
        below += misses;
    }
    wins / (positives * (scored.len() as f64 - positives))
}

#[test]
fn the_best_classifier_has_an_auc_of_about_085_and_a_quarter_leaves() {
    let mut scored: Vec<(f64, bool)> =
        (0..40_000).map(|index| Row::at(11, index)).map(|row| (row.probability(), row.leaves)).collect();
    let rate = scored.iter().filter(|(_, leaves)| *leaves).count() as f64 / scored.len() as f64;
    assert!((0.25..0.285).contains(&rate), "{rate}");
    let auc = auc(&mut scored);
    assert!((0.84..0.86).contains(&auc), "{auc}");
}

#[test]
fn shares_are_close_to_those_of_the_public_file() {
    let rows: Vec<Row> = (0..20_000).map(|index| Row::at(5, index)).collect();
    let share = |holds: fn(&Row) -> bool| rows.iter().filter(|row| holds(row)).count() as f64 / rows.len() as f64;
    // Shares counted in the public file (7 043 rows).
    for (name, found, expected) in [
        ("fiber", share(|r| r.internet == Internet::Fiber), 0.440),
        ("no internet", share(|r| r.internet == Internet::Without), 0.217),
        ("electronic check", share(|r| r.payment == 0), 0.336),
        ("paperless", share(|r| r.paperless), 0.592),
        ("dependents", share(|r| r.dependents), 0.300),
        ("online security", share(|r| r.extras[0]), 0.287),
        ("films", share(|r| r.extras[5]), 0.388),
        ("month to month", share(|r| r.contract == 0), 0.550),
    ] {
        assert!((found - expected).abs() < 0.03, "{name}: {found} for {expected}");
    }
}

#[test]
fn a_prefix_of_a_larger_table_is_the_smaller_table() {
    let small = Churn::new(100, 3).next().unwrap().unwrap();
    let mut large = Churn::new(9_000, 3);
    assert_eq!(large.next().unwrap().unwrap().slice(0, 100), small);
    assert_eq!(large.next().unwrap().unwrap().num_rows(), 9_000 - 8_192);
    assert!(large.next().is_none() && Churn::new(0, 3).next().is_none());
    assert_ne!(Churn::new(100, 4).next().unwrap().unwrap(), small);
}

#[test]
fn the_first_months_have_a_blank_for_the_total_and_the_rest_a_number() {
    for batch in Churn::new(20_000, 1) {
        let batch = batch.unwrap();
        let total = batch["TotalCharges"].as_string::<i32>();
        let tenure = batch["tenure"].as_primitive::<Int64Type>();
        let monthly = batch["MonthlyCharges"].as_primitive::<Float64Type>();
        for row in 0..batch.num_rows() {
            assert_eq!(total.value(row) == " ", tenure.value(row) == 0);
            assert!(tenure.value(row) == 0 || total.value(row).parse::<f64>().unwrap() > 0.0);
            assert!((0..=72).contains(&tenure.value(row)) && monthly.value(row) >= 18.0);
        }
    }
}

#[test]
fn the_file_has_the_public_header_and_appears_whole() {
    let dir = std::env::temp_dir().join(format!("shop-churn-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let path = dir.join("churn.csv");
    write_churn_csv(&path, 50, 9).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    let header = "customerID,gender,SeniorCitizen,Partner,Dependents,tenure,PhoneService,MultipleLines,InternetService,\
        OnlineSecurity,OnlineBackup,DeviceProtection,TechSupport,StreamingTV,StreamingMovies,Contract,PaperlessBilling,\
        PaymentMethod,MonthlyCharges,TotalCharges,Churn";
    assert_eq!(text.lines().next(), Some(header));
    assert_eq!(text.lines().count(), 51);
    assert!(text.lines().all(|line| line.split(',').count() == 21));
    write_churn_csv(&path, 0, 9).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap().trim_end(), header);
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
    assert!(matches!(write_churn_csv(dir.join("missing/churn.csv"), 1, 9), Err(Error::Io { .. })));
    fs::remove_dir_all(&dir).unwrap();
}

#[test]
fn ids_look_like_those_of_the_public_file() {
    assert_eq!(customer_id(0), "0000-AAAAA");
    assert_eq!(customer_id(10_000 * LETTERS - 1), "9999-ZZZZZ");
}
