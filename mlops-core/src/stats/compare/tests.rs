use std::slice::from_ref;
use std::sync::Arc;

use arrow::array::{BinaryArray, BooleanArray, Float64Array, Int32Array, StringArray};
use proptest::prelude::*;

use super::super::two_sample::tests::{samples as untied, tied};
use super::*;
use crate::stats::{
    cramer_von_mises, energy_distance, js_evidently, ks_two_sample, mann_whitney_u, psi_evidently, wasserstein_1d,
};

fn of(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

fn texts(all: &str) -> ArrayRef {
    Arc::new(all.chars().map(|c| (c != '_').then(|| c.to_string())).collect::<StringArray>())
}

fn one(a: &ArrayRef, b: &ArrayRef, method: Method) -> Comparison {
    compare_columns(from_ref(a), from_ref(b), &[method]).unwrap()[0]
}

#[test]
fn numbers_go_through_the_function_of_the_method() {
    let (a, b) = untied();
    // What is not finite is left out, and pieces are one column.
    let odd: ArrayRef = Arc::new(Float64Array::from(vec![None, Some(f64::NAN), Some(f64::INFINITY)]));
    let pieces = [of(&a[..40]), odd, of(&a[40..])];
    let found = |method: Method| compare_columns(&pieces, &[of(&b)], &[method]).unwrap()[0];
    let ks = ks_two_sample(&a, &b).unwrap();
    assert_eq!(found(Method::KolmogorovSmirnov), Comparison::test(Method::KolmogorovSmirnov, ks.statistic, ks.p_value));
    assert_eq!(
        found(Method::CramerVonMises),
        Comparison::of(Method::CramerVonMises, cramer_von_mises(&a, &b).unwrap())
    );
    assert_eq!(found(Method::MannWhitneyU), Comparison::of(Method::MannWhitneyU, mann_whitney_u(&a, &b).unwrap()));
    assert_eq!(found(Method::Energy).statistic, energy_distance(&a, &b).unwrap());
    assert_eq!(found(Method::Wasserstein).statistic, wasserstein_1d(&a, &b).unwrap());
    assert_eq!(found(Method::PsiEvidently).statistic, psi_evidently(&a, &b).unwrap());
    assert!((found(Method::JsEvidently).statistic - js_evidently(&a, &b).unwrap()).abs() < 1e-15);
}

#[test]
fn every_method_answers_on_what_it_is_for_and_in_the_order_asked() {
    let (a, b) = untied();
    let all: Vec<Method> = Method::for_numbers().iter().chain(Method::for_counts()).copied().collect();
    assert_eq!(all.len() + 2, 26);
    let found = compare_columns(&[of(&a)], &[of(&b)], &all).unwrap();
    assert_eq!(found.iter().map(|found| found.method).collect::<Vec<_>>(), all);
    assert!(found.iter().all(|found| found.statistic.is_finite()));
    let found = compare_columns(&[texts("aab")], &[texts("abb")], Method::for_counts()).unwrap();
    assert!(
        found.iter().all(|found| found.statistic.is_finite() && found.statistic > 0.0 || found.p_value == Some(1.0))
    );
    for &method in Method::for_numbers() {
        let error = compare_columns(&[texts("a")], &[texts("a")], &[method]).unwrap_err().to_string();
        assert!(error.contains("one over counts"), "{error}");
    }
}

#[test]
fn texts_are_counted_with_their_nulls() {
    // Counts a, b, null: 2, 1, 1 of 4 and 1, 1, 2 of 4.
    let found = one(&texts("aab_"), &texts("ab__"), Method::TotalVariation);
    assert!((found.statistic - 0.25).abs() < 1e-12);
    // Evidently's leave nulls out: 2/3, 1/3 and 1/2, 1/2.
    let by_hand = (2.0_f64 / 3.0 - 0.5) * (4.0_f64 / 3.0).ln() + (1.0_f64 / 3.0 - 0.5) * (2.0_f64 / 3.0).ln();
    assert!((one(&texts("aab_"), &texts("ab__"), Method::PsiEvidently).statistic - by_hand).abs() < 1e-12);
    let disjoint = (texts("aa"), texts("bb"));
    assert_eq!(one(&disjoint.0, &disjoint.1, Method::JsDivergenceBits).statistic, 1.0);
    assert!((one(&disjoint.0, &disjoint.1, Method::JsDivergenceNats).statistic - 2_f64.ln()).abs() < 1e-15);
    assert!((one(&disjoint.0, &disjoint.1, Method::JsDistanceNats).statistic - 2_f64.ln().sqrt()).abs() < 1e-15);
    let infinite = one(&disjoint.0, &disjoint.1, Method::KullbackLeibler);
    assert_eq!(infinite.statistic, f64::INFINITY);
    let json = serde_json::to_string(&infinite).unwrap();
    assert_eq!(serde_json::from_str::<Comparison>(&json).unwrap(), infinite);
}

#[test]
fn two_values_are_a_table_of_two_by_two_whatever_their_type() {
    let booleans =
        |yes: usize, no: usize| Arc::new((0..yes + no).map(|i| Some(i < yes)).collect::<BooleanArray>()) as ArrayRef;
    let numbers = |yes: usize, no: usize| {
        Arc::new((0..yes + no).map(|i| Some(i32::from(i < yes))).collect::<Int32Array>()) as ArrayRef
    };
    for (a, b) in [(booleans(8, 2), booleans(1, 5)), (numbers(8, 2), numbers(1, 5))] {
        // scipy 1.17.1: fisher_exact([[8, 2], [1, 5]])
        let found = one(&a, &b, Method::FisherExact);
        assert!((found.statistic - 20.0).abs() < 1e-12);
        assert!((found.p_value.unwrap() - 0.034_965_034_965_034_94).abs() < 1e-9);
        assert!(one(&a, &b, Method::ProportionsZ).statistic > 0.0);
    }
    let error = compare_columns(&[texts("abc")], &[texts("a")], &[Method::FisherExact]).unwrap_err().to_string();
    assert!(error.contains("more than two values"), "{error}");
    let (a, b) = tied();
    assert!(compare_columns(&[of(&a)], &[of(&b)], &[Method::ProportionsZ]).is_err());
}

#[test]
fn what_cannot_be_compared_is_named() {
    assert!(compare_columns(&[], &[], &[Method::Psi]).is_err());
    let error = compare_columns(&[of(&[1.0])], &[texts("a")], &[Method::Psi]).unwrap_err().to_string();
    assert_eq!(error, "column `compared`: expected Float64, found Utf8");
    let binary: ArrayRef = Arc::new(BinaryArray::from(vec![&b"x"[..]]));
    assert!(
        compare_columns(from_ref(&binary), from_ref(&binary), &[Method::Psi])
            .unwrap_err()
            .to_string()
            .contains("Binary")
    );
    let empty = of(&[]);
    for &method in Method::for_numbers().iter().chain(Method::for_counts()) {
        assert!(compare_columns(&[of(&[1.0; 9])], from_ref(&empty), &[method]).is_err(), "{method:?}");
        assert!(compare_columns(from_ref(&empty), &[], &[method]).is_err(), "{method:?}");
    }
}

fn sample() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(prop_oneof![-50.0..50.0_f64, (-4..4_i32).prop_map(f64::from)], 5..60)
}

proptest! {
    #[test]
    fn laws_of_distances_and_tests((a, b) in (sample(), sample())) {
        let symmetric = [
            Method::KolmogorovSmirnov, Method::CramerVonMises, Method::Kuiper, Method::Energy, Method::Wasserstein,
        ];
        let bounded = [
            Method::JsDivergenceBits, Method::JsDistanceBits, Method::Hellinger, Method::TotalVariation,
            Method::KolmogorovSmirnov,
        ];
        let mut shuffled = a.clone();
        shuffled.reverse();
        shuffled.rotate_left(a.len() / 3);
        for &method in Method::for_numbers().iter().chain(Method::for_counts()) {
            // Without spread or variety some have nothing to say.
            let Ok(found) = compare_columns(&[of(&a)], &[of(&b)], &[method]) else { continue };
            let found = found[0];
            prop_assert!(found.p_value.is_none_or(|p| (0.0..=1.0).contains(&p)), "{found:?}");
            prop_assert_eq!(one(&of(&shuffled), &of(&b), method), found);
            if symmetric.contains(&method) {
                let turned = one(&of(&b), &of(&a), method);
                prop_assert!((turned.statistic - found.statistic).abs() < 1e-9, "{found:?} {turned:?}");
                prop_assert!((turned.p_value.unwrap_or(0.0) - found.p_value.unwrap_or(0.0)).abs() < 1e-9);
            }
            if bounded.contains(&method) {
                prop_assert!((0.0..=1.0).contains(&found.statistic), "{found:?}");
            }
            if let Ok(equal) = compare_columns(&[of(&a)], &[of(&shuffled)], &[method]) {
                prop_assert!(equal[0].p_value.unwrap_or(1.0) > 0.2, "{equal:?}");
                let is_distance = equal[0].p_value.is_none();
                prop_assert!(!is_distance || equal[0].statistic.abs() < 1e-7, "{equal:?}");
            }
        }
    }
}
