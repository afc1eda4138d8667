use arrow::array::{AsArray, BooleanArray, Float64Array, Int64Array, StringArray};
use arrow::datatypes::Int64Type;
use proptest::prelude::*;

use super::super::fixture::{clean, column, data, floats, near, pass, recut};
use super::super::{Change, FittedTransformExt};
use super::*;
use crate::schema::Sensitivity;

const CATEGORIES: [&str; 12] = ["a", "b", "a", "c", "b", "a", "c", "b", "a", "a", "b", "d"];
const LABELS: [i64; 12] = [1, 0, 1, 0, 1, 0, 0, 0, 1, 1, 1, 1];
const AMOUNTS: [f64; 12] = [1.5, 0.2, 2.5, 0.1, 1.1, -0.4, 3.0, 0.6, 1.2, 0.9, 2.2, 5.0];

fn table() -> Dataset {
    data([
        ("c", column(StringArray::from(CATEGORIES.to_vec()))),
        ("y", column(Int64Array::from(LABELS.to_vec()))),
        ("amount", column(Float64Array::from(AMOUNTS.to_vec()))),
    ])
}

fn encode(encoding: Encoding, label: &str) -> EncodeBuilder {
    Encode::builder().column("c", encoding).label(label)
}

fn texts_of(values: Vec<Option<&str>>) -> Dataset {
    data([("c", column(StringArray::from(values)))])
}

/// What each of the categories `names` becomes.
#[track_caller]
fn numbers(encoding: Encoding, label: &str, expected: &[f64]) {
    let encode = encode(encoding, label).build().unwrap();
    let (treated, _) = clean(&encode, &table());
    let place = |name: &str| ["a", "b", "c", "d"].iter().position(|other| *other == name).unwrap();
    let expected: Vec<_> = CATEGORIES.iter().map(|name| Some(expected[place(name)])).collect();
    near(&floats(&treated, "c"), &expected);
}

#[test]
fn target_means_are_those_of_scikit_learn() {
    // scikit-learn 1.9.1: TargetEncoder(smooth=…, target_type=…).encodings_ for a, b, c, d.
    let auto = Encoding::Target { smooth: Smooth::Auto };
    numbers(auto, "y", &[0.7747929711169461, 0.5170454545454546, 0.0, 1.0]);
    numbers(auto, "amount", &[1.1678025773269003, 1.0548475134977036, 1.5302630696676425, 5.0]);
    let five = Encoding::Target { smooth: Smooth::Rows(5.0) };
    numbers(five, "y", &[0.6916666666666667, 0.5462962962962963, 0.4166666666666667, 0.6527777777777778]);
    numbers(five, "amount", &[1.3158333333333332, 1.2842592592592592, 1.508333333333333, 2.076388888888889]);
}

#[test]
fn out_of_fold_rows_are_those_of_scikit_learn_whatever_the_cut() {
    // scikit-learn 1.9.1: TargetEncoder(cv=PredefinedSplit(arange(12) % 3)).fit_transform. Category d has one row, which its
    // own fold alone knows: the mean of the others stands for it.
    let encode = encode(Encoding::Target { smooth: Smooth::Auto }, "amount").unknown(Unknown::Missing).build().unwrap();
    let expected = [
        1.1708317791868705,
        1.725,
        1.2,
        1.55,
        1.725,
        1.2,
        1.55,
        1.725,
        1.2,
        1.1708317791868705,
        1.725,
        1.2000000000000002,
    ]
    .map(Some);
    for data in [table(), recut(&table(), 5), recut(&table(), 1)] {
        let train = encode.out_of_fold(&data, 3).unwrap();
        near(&floats(&train.to_batch().unwrap(), "c"), &expected);
    }
    assert!(encode.out_of_fold(&table(), 1).is_err());
}

#[test]
fn weights_of_evidence_are_those_of_their_formula() {
    // 7 positives, 5 negatives, r = 1. a: 4 and 1, b: 2 and 2, c: 0 and 2, d: 1 and 0.
    let woe = |p: f64, n: f64| ((p + 1.0) / 9.0).ln() - ((n + 1.0) / 7.0).ln();
    let expected = [woe(4.0, 1.0), woe(2.0, 2.0), woe(0.0, 2.0), woe(1.0, 0.0)];
    numbers(Encoding::WeightOfEvidence { regularization: 1.0 }, "y", &expected);
    let amounts = encode(Encoding::WeightOfEvidence { regularization: 1.0 }, "amount").build().unwrap();
    let error = amounts.fit(&table()).unwrap_err();
    assert!(error.to_string().contains("a label of 0 and 1"), "{error}");
}

#[test]
fn frequencies_and_places_follow_the_order_of_categories() {
    numbers(Encoding::Frequency, "y", &[5.0 / 12.0, 4.0 / 12.0, 2.0 / 12.0, 1.0 / 12.0]);
    let numbers = data([("c", column(Int64Array::from(vec![Some(10), Some(9), None, Some(-1)])))]);
    let encode = Encode::builder().column("c", Encoding::Ordinal).build().unwrap();
    let (treated, changes) = clean(&encode, &numbers);
    let found: Vec<_> = treated["c"].as_primitive::<Int64Type>().iter().collect();
    assert_eq!(found, [Some(2), Some(1), None, Some(0)], "integers are in the order of their values");
    assert_eq!(changes.cells("c", Change::Encoded), 3);
    let flags = data([("c", column(BooleanArray::from(vec![true, false])))]);
    assert_eq!(clean(&encode, &flags).0["c"].as_primitive::<Int64Type>().values(), &[1, 0]);
}

fn names(batch: &arrow::array::RecordBatch) -> Vec<String> {
    batch.schema().fields().iter().map(|field| field.name().clone()).collect()
}

#[test]
fn one_hot_columns_come_last_and_rare_categories_share_one() {
    let one_hot = |drop_first| encode(Encoding::OneHot { drop_first }, "y");
    let (treated, changes) = clean(&one_hot(false).build().unwrap(), &table());
    assert_eq!(names(&treated), ["y", "amount", "c_a", "c_b", "c_c", "c_d"]);
    let counts: Vec<_> = (2..6).map(|at| treated.column(at).as_boolean().true_count()).collect();
    assert_eq!(counts, [5, 4, 2, 1]);
    assert!(changes.steps[0].columns_dropped.contains("c"));
    assert_eq!(names(&clean(&one_hot(true).build().unwrap(), &table()).0), ["y", "amount", "c_b", "c_c", "c_d"]);
    let grouped = one_hot(false).unknown(Unknown::Other).rows_min(2).categories_max(2).null_category(true);
    let fitted = grouped.build().unwrap().fit(&table()).unwrap();
    let (treated, changes) = pass(fitted.as_ref(), &data_of_new_rows());
    assert_eq!(names(&treated), ["y", "amount", "c_a", "c_b", "c_other", "c_null"]);
    let counts: Vec<_> = (2..6).map(|at| treated.column(at).as_boolean().true_count()).collect();
    assert_eq!(counts, [1, 0, 2, 1], "c is rare, x is unknown, and one is missing");
    assert_eq!(changes.cells("c", Change::Unknown), 2);
}

fn data_of_new_rows() -> Dataset {
    data([
        ("c", column(StringArray::from(vec![Some("a"), Some("c"), Some("x"), None]))),
        ("y", column(Int64Array::from(vec![0; 4]))),
        ("amount", column(Float64Array::from(vec![0.0; 4]))),
    ])
}

#[test]
fn an_unknown_category_is_refused_without_its_name_or_counts_as_missing() {
    let target = Encoding::Target { smooth: Smooth::Rows(0.0) };
    let fitted = encode(target, "y").build().unwrap().fit(&table()).unwrap();
    let error = fitted.apply_batch(&data_of_new_rows().to_batch().unwrap()).unwrap_err().to_string();
    assert!(error.contains("`c`") && error.contains("1 rows") && !error.contains("\"x\""), "{error}");
    let fitted = encode(target, "y").unknown(Unknown::Missing).build().unwrap().fit(&table()).unwrap();
    let (treated, changes) = pass(fitted.as_ref(), &data_of_new_rows());
    near(&floats(&treated, "c"), &[Some(0.8), Some(0.0), Some(7.0 / 12.0), Some(7.0 / 12.0)]);
    assert_eq!(changes.cells("c", Change::Unknown), 1);
}

#[test]
fn hashes_pick_the_columns_of_scikit_learn() {
    // murmurhash3_32: basic 558074401 (1 of 8), gold −261723427 (3 of 8), as FeatureHasher(8) of scikit-learn 1.9.1 does.
    let encode = Encode::builder().column("c", Encoding::Hash { columns: 8 }).build().unwrap();
    let rows = texts_of(vec![Some("basic"), Some("gold"), None]);
    let secret = rows.with_schema(rows.schema().with_sensitivity("c", Sensitivity::Secret).unwrap()).unwrap();
    let (treated, _) = clean(&encode, &secret);
    assert_eq!(treated.num_columns(), 8);
    near(&floats(&treated, "c_hash_1"), &[Some(1.0), Some(0.0), Some(0.0)]);
    near(&floats(&treated, "c_hash_3"), &[Some(0.0), Some(-1.0), Some(0.0)]);
    let mut hostile = encode.fit(&secret).unwrap().state().unwrap();
    hostile.body["columns"][0]["code"]["hash"]["columns"] = serde_json::json!(0);
    assert!(super::super::restore(&hostile).unwrap().begin(secret.schema()).is_err());
    let schema = Schema::new(treated.schema()).unwrap();
    assert_eq!(schema.sensitivity("c_hash_0").unwrap(), Sensitivity::Secret);
    let learning = Encode::builder().column("c", Encoding::Ordinal).build().unwrap();
    assert!(matches!(learning.fit(&secret), Err(Error::Schema { column, .. }) if column == "c"));
}

#[test]
fn a_row_without_a_label_teaches_nothing() {
    let rows = data([
        ("c", column(StringArray::from(vec!["a", "a", "a"]))),
        ("y", column(Float64Array::from(vec![Some(1.0), None, Some(f64::NAN)]))),
    ]);
    let fitted = encode(Encoding::Target { smooth: Smooth::Rows(0.0) }, "y").build().unwrap().fit(&rows).unwrap();
    near(&floats(&pass(fitted.as_ref(), &rows).0, "c"), &[Some(1.0); 3]);
    let none =
        data([("c", column(StringArray::from(vec!["a"]))), ("y", column(Float64Array::from(vec![None::<f64>])))]);
    assert!(encode(Encoding::Target { smooth: Smooth::Auto }, "y").build().unwrap().fit(&none).is_err());
}

#[test]
fn settings_out_of_their_domain_are_refused() {
    let bad = [
        encode(Encoding::Hash { columns: 0 }, "y"),
        encode(Encoding::WeightOfEvidence { regularization: 0.0 }, "y"),
        encode(Encoding::Target { smooth: Smooth::Rows(-1.0) }, "y"),
        encode(Encoding::Ordinal, "y").rows_min(2),
        Encode::builder(),
    ];
    assert!(bad.into_iter().all(|builder| builder.build().is_err()));
    let floats = data([("c", column(Float64Array::from(vec![1.0])))]);
    assert!(Encode::builder().column("c", Encoding::Ordinal).build().unwrap().fit(&floats).is_err());
    let many: Vec<String> = (0..=ENCODED_COLUMNS_MAX).map(|i| i.to_string()).collect();
    let many = data([("c", column(StringArray::from(many)))]);
    let error = encode(Encoding::OneHot { drop_first: false }, "c").build().unwrap().fit(&many).unwrap_err();
    assert!(error.to_string().contains("group the rare ones"), "{error}");
    let text =
        r#"{"rules": [{"columns": {"columns": ["c"]}, "encoding": {"target": {"smooth": "auto"}}}], "label": "y"}"#;
    let made = encode(Encoding::Target { smooth: Smooth::Auto }, "y").build().unwrap();
    assert_eq!(serde_json::from_str::<Encode>(text).unwrap(), made);
}

proptest! {
    #[test]
    fn each_row_has_one_hot_column_and_every_target_lies_between_the_labels(
        rows in prop::collection::vec((prop::option::of("[a-d]{1,2}"), 0_i64..2), 1..200),
        cut in 1_usize..50,
    ) {
        let (texts, labels): (Vec<_>, Vec<_>) = rows.into_iter().unzip();
        let present = texts.iter().flatten().count();
        let table = data([
            ("c", column(StringArray::from(texts))),
            ("y", column(Int64Array::from(labels))),
        ]);
        let (treated, _) = clean(&encode(Encoding::OneHot { drop_first: false }, "y").build().unwrap(), &table);
        let hot: usize = treated.columns()[1..].iter().map(|column| column.as_boolean().true_count()).sum();
        prop_assert_eq!(hot, present);
        let target = encode(Encoding::Target { smooth: Smooth::Auto }, "y").build().unwrap();
        let fitted = target.fit(&table).unwrap();
        prop_assert_eq!(fitted.state().unwrap(), target.fit(&recut(&table, cut)).unwrap().state().unwrap());
        for number in floats(&pass(fitted.as_ref(), &table).0, "c") {
            prop_assert!((-1e-12..=1.0 + 1e-12).contains(&number.unwrap()));
        }
    }
}
