use arrow::array::{Float64Array, StringArray};
use proptest::prelude::*;

use super::super::fixture::{clean, column, data, pass, recut};
use super::*;

fn table() -> Dataset {
    let x = (0..9).map(f64::from).chain([100.0]);
    let y = [0, 0, 1, 1, 1, 0, 0, 0, 5, 5];
    data([("x", column(Float64Array::from_iter_values(x))), ("y", column(Int64Array::from_iter_values(y)))])
}

#[track_caller]
fn binned(bins: Bins, edges: &[f64], expected: [i64; 10]) {
    let bin = Bin::builder().column("x", bins).label("y").build().unwrap();
    let (treated, changes) = clean(&bin, &table());
    assert_eq!(treated["x"].as_primitive::<arrow::datatypes::Int64Type>().values(), &expected);
    assert_eq!(changes.cells("x", Change::Binned), 10);
    let state = bin.fit(&table()).unwrap().state().unwrap();
    assert_eq!(bin.fit(&recut(&table(), 3)).unwrap().state().unwrap(), state);
    let fitted: FittedBin = serde_json::from_value(state.body).unwrap();
    assert_eq!(fitted.edges("x").unwrap(), edges);
}

#[test]
fn bins_are_those_of_scikit_learn() {
    // scikit-learn 1.9.1: KBinsDiscretizer(4, encode="ordinal", strategy="uniform"), and strategy="quantile",
    // quantile_method="linear".
    binned(Bins::Width(4), &[0.0, 25.0, 50.0, 75.0, 100.0], [0, 0, 0, 0, 0, 0, 0, 0, 0, 3]);
    binned(Bins::Quantile(4), &[0.0, 2.25, 4.5, 6.75, 100.0], [0, 0, 0, 1, 1, 2, 2, 3, 3, 3]);
    binned(Bins::Edges(vec![0.0, 3.0, 8.0]), &[0.0, 3.0, 8.0], [0, 0, 0, 1, 1, 1, 1, 1, 1, 1]);
}

#[test]
fn supervised_bins_are_the_leaves_of_a_regression_tree() {
    // scikit-learn 1.9.1: DecisionTreeRegressor(max_leaf_nodes=k).fit(x, y).tree_.threshold: 7.5 (k = 2); then 4.5 and 1.5
    // (k = 4).
    binned(Bins::Supervised(2), &[0.0, 7.5, 100.0], [0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    binned(Bins::Supervised(4), &[0.0, 1.5, 4.5, 7.5, 100.0], [0, 0, 1, 1, 1, 2, 2, 2, 3, 3]);
    binned(Bins::Supervised(9), &[0.0, 1.5, 4.5, 7.5, 100.0], [0, 0, 1, 1, 1, 2, 2, 2, 3, 3]);
}

#[test]
fn what_lies_outside_is_in_the_first_and_last_bin_and_nan_is_in_none() {
    let bin = Bin::builder().column("x", Bins::Edges(vec![0.0, 1.0, 2.0])).build().unwrap();
    let values = vec![Some(f64::NEG_INFINITY), Some(1.0), Some(f64::INFINITY), Some(f64::NAN), None, Some(2.0)];
    let table = data([("x", column(Float64Array::from(values)))]);
    let (treated, _) = clean(&bin, &table);
    let found: Vec<_> = treated["x"].as_primitive::<arrow::datatypes::Int64Type>().iter().collect();
    assert_eq!(found, [Some(0), Some(1), Some(1), None, None, Some(1)]);
}

#[test]
fn a_constant_has_one_bin_and_a_column_without_values_is_refused() {
    let constant = data([("x", column(Float64Array::from(vec![3.0, 3.0])))]);
    for bins in [Bins::Width(3), Bins::Quantile(3)] {
        let bin = Bin::builder().column("x", bins).build().unwrap();
        let (treated, _) = pass(bin.fit(&constant).unwrap().as_ref(), &table());
        assert!(treated["x"].as_primitive::<arrow::datatypes::Int64Type>().values().iter().all(|bin| *bin == 0));
        let empty = data([("x", column(Float64Array::from(vec![None, Some(f64::NAN)])))]);
        assert!(matches!(bin.fit(&empty), Err(Error::Schema { column, .. }) if column == "x"));
    }
    let text = data([("x", column(StringArray::from(vec!["a"])))]);
    assert!(Bin::builder().column("x", Bins::Width(3)).build().unwrap().fit(&text).is_err());
}

#[test]
fn settings_out_of_their_domain_are_refused() {
    for bins in [Bins::Width(1), Bins::Quantile(10_001), Bins::Edges(vec![1.0]), Bins::Edges(vec![2.0, 1.0])] {
        assert!(Bin::builder().column("x", bins).build().is_err());
    }
    assert!(Bin::builder().build().is_err());
    let text = r#"{"rules": [{"columns": {"columns": ["x"]}, "bins": {"quantile": 4}}]}"#;
    assert_eq!(
        serde_json::from_str::<Bin>(text).unwrap(),
        Bin::builder().column("x", Bins::Quantile(4)).build().unwrap()
    );
}

proptest! {
    #[test]
    fn every_number_lies_between_the_edges_of_its_bin(
        values in prop::collection::vec(-1e9..1e9_f64, 1..500),
        later in prop::collection::vec(-2e9..2e9_f64, 1..50),
        bins in 2_u32..20,
        by_quantile in any::<bool>(),
    ) {
        let bins = if by_quantile { Bins::Quantile(bins) } else { Bins::Width(bins) };
        let bin = Bin::builder().column("x", bins).build().unwrap();
        let fitted = bin.fit(&data([("x", column(Float64Array::from(values)))])).unwrap();
        let known: FittedBin = serde_json::from_value(fitted.state().unwrap().body).unwrap();
        let edges = known.edges("x").unwrap();
        prop_assert!(edges.is_sorted_by(|a, b| a < b));
        let (treated, _) = pass(fitted.as_ref(), &data([("x", column(Float64Array::from(later.clone())))]));
        let found = treated["x"].as_primitive::<arrow::datatypes::Int64Type>();
        let last = edges.len().saturating_sub(2);
        for (x, bin) in later.iter().zip(found.values()) {
            let bin = usize::try_from(*bin).unwrap();
            prop_assert!(bin <= last);
            prop_assert!(bin == 0 || edges[bin] <= *x);
            prop_assert!(bin == last || *x < edges[bin + 1]);
        }
    }
}
