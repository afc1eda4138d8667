use arrow::array::{Float32Array, Int64Array, StringArray};
use arrow::datatypes::Float32Type;
use proptest::prelude::*;

use super::super::fixture::{clean, column, data, floats, near, pass, recut};
use super::*;

const NAN: f64 = f64::NAN;

fn six() -> Dataset {
    let values = vec![Some(1.5), Some(-2.0), Some(NAN), Some(7.25), Some(3.0), Some(0.1), None];
    data([("x", column(Float64Array::from(values)))])
}

#[track_caller]
fn scaled(method: Method, expected: [f64; 6]) {
    let scale = Scale::builder().method("x", method).build().unwrap();
    let (treated, changes) = clean(&scale, &six());
    let expected: Vec<_> = expected.map(Some).into_iter().chain([None]).collect();
    near(&floats(&treated, "x"), &expected);
    assert_eq!(changes.cells("x", Change::Scaled), 6);
}

#[test]
fn values_are_those_of_scikit_learn() {
    // scikit-learn 1.9.1 on [1.5, -2, nan, 7.25, 3, 0.1]: StandardScaler, MinMaxScaler(), MinMaxScaler((-1, 1)),
    // RobustScaler(), RobustScaler(quantile_range=(10, 90)), MaxAbsScaler.
    let standard =
        [-0.15103563890657798, -1.2757691201257757, NAN, 1.6967407945249615, 0.33099299590164966, -0.6009290313942571];
    scaled(Method::Standard, standard);
    let unit = [0.3783783783783784, 0.0, NAN, 1.0, 0.5405405405405406, 0.22702702702702704];
    scaled(Method::MinMax { low: 0.0, high: 1.0 }, unit);
    let both = [-0.2432432432432432, -1.0, NAN, 1.0, 0.08108108108108114, -0.5459459459459459];
    scaled(Method::MinMax { low: -1.0, high: 1.0 }, both);
    let robust = [0.0, -1.206896551724138, NAN, 1.9827586206896552, 0.5172413793103449, -0.48275862068965514];
    scaled(Method::Robust { low: 0.25, high: 0.75 }, robust);
    let wide = [0.0, -0.5216095380029806, NAN, 0.8569299552906109, 0.22354694485842025, -0.2086438152011922];
    scaled(Method::Robust { low: 0.1, high: 0.9 }, wide);
    let most = [0.20689655172413793, -0.27586206896551724, NAN, 1.0, 0.41379310344827586, 0.013793103448275864];
    scaled(Method::MaxAbs, most);
}

#[test]
fn a_constant_is_divided_by_one() {
    // scikit-learn 1.9.1: scale_ 1 for each of them.
    let table = data([("x", column(Float64Array::from(vec![0.1; 3000])))]);
    let methods = [Method::Standard, Method::MinMax { low: 0.0, high: 1.0 }, Method::Robust { low: 0.25, high: 0.75 }];
    for method in methods {
        let scale = Scale::builder().method("x", method).build().unwrap();
        assert!(floats(&clean(&scale, &table).0, "x").iter().all(|value| *value == Some(0.0)), "{method:?}");
    }
    let zeros = data([("x", column(Int64Array::from(vec![0, 0])))]);
    let scale = Scale::builder().max_abs("x").build().unwrap();
    near(&floats(&clean(&scale, &zeros).0, "x"), &[Some(0.0), Some(0.0)]);
}

#[test]
fn single_precision_stays_and_infinities_stay() {
    let values = vec![1.0, 3.0, f32::INFINITY, f32::NAN];
    let table = data([("x", column(Float32Array::from(values)))]);
    let (treated, _) = clean(&Scale::builder().standard("x").build().unwrap(), &table);
    let values = treated["x"].as_primitive::<Float32Type>().values();
    assert_eq!(values[..3], [-1.0, 1.0, f32::INFINITY]);
    assert!(values[3].is_nan());
}

#[test]
fn what_cannot_be_scaled_is_refused_by_name() {
    let lacking = data([("x", column(Float64Array::from(vec![None, Some(NAN), Some(f64::INFINITY)])))]);
    let wide = data([("x", column(Float64Array::from(vec![f64::MIN, f64::MAX])))]);
    let text = data([("x", column(StringArray::from(vec!["a"])))]);
    for table in [lacking, wide, text] {
        for method in [Method::Standard, Method::MinMax { low: 0.0, high: 1.0 }] {
            let error = Scale::builder().method("x", method).build().unwrap().fit(&table).unwrap_err();
            assert!(matches!(&error, Error::Schema { column, .. } if column == "x"), "{error}");
        }
    }
    assert!(Scale::builder().method("x", Method::MinMax { low: 1.0, high: 1.0 }).build().is_err());
    assert!(Scale::builder().method("x", Method::Robust { low: 0.5, high: 0.2 }).build().is_err());
    assert!(Scale::builder().build().is_err());
}

#[test]
fn methods_have_a_form_in_files() {
    let text = r#"{"rules": [{"columns": "numbers", "method": "standard"},
        {"columns": {"columns": ["x"]}, "method": {"min_max": {"low": -1.0, "high": 1.0}}}]}"#;
    let made = Scale::builder().standard(Pick::Numbers).method("x", Method::MinMax { low: -1.0, high: 1.0 });
    assert_eq!(serde_json::from_str::<Scale>(text).unwrap(), made.build().unwrap());
}

proptest! {
    #[test]
    fn moments_are_zero_and_one_after_and_cuts_do_not_matter(
        values in prop::collection::vec(-1e6..1e6_f64, 2..3000),
        rows in 1_usize..700,
    ) {
        let table = data([("x", column(Float64Array::from(values.clone())))]);
        let scale = Scale::builder().standard("x").build().unwrap();
        let fitted = scale.fit(&table).unwrap();
        prop_assert_eq!(fitted.state().unwrap(), scale.fit(&recut(&table, rows)).unwrap().state().unwrap());
        let scaled: Vec<f64> = floats(&pass(fitted.as_ref(), &table).0, "x").into_iter().flatten().collect();
        let n = scaled.len() as f64;
        let mean = scaled.iter().sum::<f64>() / n;
        prop_assert!(mean.abs() < 1e-6, "{mean}");
        let variance = scaled.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n;
        prop_assert!((variance - 1.0).abs() < 1e-6 || values.iter().all(|v| *v == values[0]), "{variance}");
    }
}

#[track_caller]
fn close(found: &[Option<f64>], expected: &[f64], error: f64) {
    let found: Vec<f64> = found.iter().flatten().copied().collect();
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        let both = found.is_nan() && expected.is_nan();
        assert!(both || (found - expected).abs() < error, "{found} is not {expected}");
    }
}

#[test]
fn quantile_shares_are_those_of_scikit_learn() {
    // scikit-learn 1.9.1 on [1.5, -2, nan, 7.25, 3, 0.1]: QuantileTransformer(n_quantiles=4, subsample=None), and with
    // output_distribution="normal".
    let uniform = [0.49425287356321845, 0.0, NAN, 1.0, 0.7017543859649122, 0.27272727272727276];
    scaled(Method::Quantile { quantiles: 4, output: Distribution::Uniform }, uniform);
    let normal =
        [-0.014406407937473156, -5.199337582605575, NAN, 5.19933758270342, 0.5294530175447887, -0.604585346583237];
    let scale = Scale::builder().method("x", Method::Quantile { quantiles: 4, output: Distribution::Normal });
    close(&floats(&clean(&scale.build().unwrap(), &six()).0, "x"), &normal, 1e-9);
}

#[test]
fn a_value_that_several_quantiles_have_gets_the_middle_of_their_shares() {
    // scikit-learn 1.9.1: QuantileTransformer(n_quantiles=8, subsample=None).
    let train = data([("x", column(Int64Array::from(vec![1, 1, 1, 2, 3, 3, 4, 10])))]);
    let fitted = Scale::builder().quantile("x").build().unwrap();
    let fitted = fitted.fit(&train.with_schema(train.schema().clone()).unwrap()).unwrap();
    let (treated, _) = pass(fitted.as_ref(), &data([("x", column(Int64Array::from(vec![0, 1, 2, 3, 10, 11])))]));
    close(&floats(&treated, "x"), &[0.0, 0.0, 0.42857142857142855, 0.6428571428571428, 1.0, 1.0], 1e-12);
}

#[test]
fn powers_are_those_of_scikit_learn() {
    // scikit-learn 1.9.1, scipy 1.17.1: PowerTransformer() on [1.5, -2, nan, 7.25, 3, 0.1], λ 0.7210072192501706; with
    // method="box-cox" on [1.5, 2, nan, 7.25, 3, 0.1], λ 0.3797795885243714.
    let scale = Scale::builder().power("x").build().unwrap();
    let expected =
        [0.012635589898659162, -1.5053444698820386, NAN, 1.515177988262906, 0.4566124306392413, -0.47908153891876765];
    close(&floats(&clean(&scale, &six()).0, "x"), &expected, 1e-6);
    let positive = vec![Some(1.5), Some(2.0), Some(NAN), Some(7.25), Some(3.0), Some(0.1), None];
    let positive = data([("x", column(Float64Array::from(positive)))]);
    let scale = Scale::builder().method("x", Method::Power(Power::BoxCox)).build().unwrap();
    let expected =
        [-0.25100408984286215, -0.006784415496952597, NAN, 1.4817891231049254, 0.386038557367595, -1.6100391751327057];
    close(&floats(&clean(&scale, &positive).0, "x"), &expected, 1e-6);
    let error = scale.fit(&six()).unwrap_err();
    assert!(matches!(&error, Error::Schema { column, .. } if column == "x"), "{error}");
}

#[test]
fn a_constant_becomes_zero_by_any_curve() {
    let table = data([("x", column(Float64Array::from(vec![2.5; 10])))]);
    let quantile = Method::Quantile { quantiles: 5, output: Distribution::Uniform };
    for method in [Method::Power(Power::YeoJohnson), Method::Power(Power::BoxCox), quantile] {
        let scale = Scale::builder().method("x", method).build().unwrap();
        assert!(floats(&clean(&scale, &table).0, "x").iter().all(|value| *value == Some(0.0)), "{method:?}");
    }
    assert!(
        Scale::builder().method("x", Method::Quantile { quantiles: 1, output: Distribution::Uniform }).build().is_err()
    );
}
