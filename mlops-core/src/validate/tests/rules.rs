use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float32Array, Float64Array, Int8Array,
    Int64Array, ListArray, StringArray, StringViewArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Int32Type, Int64Type};

use super::{column, fails, finding, refusal, run, table};
use crate::source::Scalar;
use crate::time::EventTime;
use crate::validate::{Columns, NullRatio, OneOf, Pattern, Range, RowCount, Unique};
use crate::{Dataset, Error, Schema};

fn dictionary(values: &[Option<&str>], keys: &[Option<i32>]) -> DictionaryArray<Int32Type> {
    let values: StringArray = values.iter().copied().collect();
    DictionaryArray::new(keys.iter().copied().collect(), Arc::new(values))
}

#[test]
fn a_null_ratio_counts_nulls_and_nothing_else() {
    let data = column(Float64Array::from(vec![Some(1.0), None, Some(f64::NAN), None]));
    fails(NullRatio::of("x"), &data, &[1, 3]);
    let half = finding(NullRatio::of("x").max(0.5), &data);
    assert!(half.passed && half.observed == Some(0.5) && half.failed_rows == 0);
    assert!(!finding(NullRatio::of("x").max(0.49), &data).passed);
}

#[test]
fn a_key_that_points_to_a_null_is_a_null() {
    let data = column(dictionary(&[Some("a"), None], &[Some(0), Some(1), None]));
    fails(NullRatio::of("x"), &data, &[1, 2]);
    fails(OneOf::of("x", ["a"]), &data, &[]);
    fails(Unique::of(["x"]), &data, &[]);
}

#[test]
fn an_empty_table_passes_all_but_a_row_count() {
    let data = column(Float64Array::from(Vec::<f64>::new()));
    let ratio = finding(NullRatio::of("x"), &data);
    assert!(ratio.passed && ratio.observed.is_none());
    assert!(finding(Range::of("x").at_least(0), &data).passed);
    assert!(finding(Unique::of(["x"]), &data).passed);
    assert!(!finding(RowCount::at_least(1), &data).passed);
    assert!(finding(RowCount::between(0, 0), &data).passed);
    let no_columns = Dataset::empty(Schema::new(arrow::datatypes::Schema::empty()).unwrap());
    assert!(finding(RowCount::between(0, 5), &no_columns).passed);
}

#[test]
fn bounds_are_inclusive_or_exclusive_and_nulls_pass() {
    let data = column(Int64Array::from(vec![Some(0), Some(1), None, Some(10), Some(11)]));
    fails(Range::of("x").at_least(1).at_most(10), &data, &[0, 4]);
    fails(Range::of("x").above(1).below(10), &data, &[0, 1, 3, 4]);
    fails(Range::of("x").above(0.5).below(10.5), &data, &[0, 4]);
    fails(Range::of("x").at_least(0.5).at_most(10.5), &data, &[0, 4]);
}

#[test]
fn bounds_outside_of_a_type_let_through_all_or_nothing() {
    let data = column(Int8Array::from(vec![-128, 0, 127]));
    fails(Range::of("x").at_least(-1_000).at_most(1_000), &data, &[]);
    fails(Range::of("x").at_least(128), &data, &[0, 1, 2]);
    fails(Range::of("x").at_most(-129), &data, &[0, 1, 2]);
    fails(Range::of("x").at_least(1e300), &data, &[0, 1, 2]);
    fails(Range::of("x").above(127), &data, &[0, 1, 2]);
    fails(Range::of("x").above(-1e300), &data, &[]);
    let unsigned = column(UInt64Array::from(vec![0, u64::MAX]));
    fails(Range::of("x").at_least(0), &unsigned, &[]);
    fails(Range::of("x").at_most(i64::MAX), &unsigned, &[1]);
    fails(Range::of("x").at_most(-1), &unsigned, &[0, 1]);
}

#[test]
fn large_integers_and_floats_are_compared_without_rounding() {
    // 2^53 + 1 has no float; as a float it would be 2^53.
    let odd = (1_i64 << 53) + 1;
    let whole = column(Int64Array::from(vec![odd]));
    fails(Range::of("x").at_most(9_007_199_254_740_992.0), &whole, &[0]);
    let real = column(Float64Array::from(vec![9_007_199_254_740_992.0, 9_007_199_254_740_994.0]));
    fails(Range::of("x").at_least(odd), &real, &[0]);
    fails(Range::of("x").at_most(odd), &real, &[1]);
    fails(Range::of("x").above(odd - 1), &real, &[0]);
    fails(Range::of("x").below(odd + 1), &real, &[1]);
    // 0.1 as a 32-bit float is 0.100000001490116…
    fails(Range::of("x").at_most(0.1), &column(Float32Array::from(vec![0.1])), &[0]);
}

#[test]
fn nan_fails_unless_allowed_and_infinities_are_numbers() {
    let data = column(Float64Array::from(vec![0.0, -0.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY]));
    fails(Range::of("x").at_least(0), &data, &[2, 4]);
    fails(Range::of("x").at_least(0).allow_nan(), &data, &[4]);
    fails(Range::of("x").above(0), &data, &[0, 1, 2, 4]);
    fails(Range::of("x").at_most(1).allow_nan(), &data, &[3]);
}

#[test]
fn decimals_are_compared_by_their_text() {
    let cents = Decimal128Array::from(vec![Some(-11), Some(-10), Some(10), Some(11), None]);
    let data = column(cents.with_precision_and_scale(10, 2).unwrap()); // -0.11, -0.10, 0.10, 0.11
    fails(Range::of("x").at_most(0.1), &data, &[3]);
    fails(Range::of("x").at_least(-0.1), &data, &[0]);
    fails(Range::of("x").below(0.105), &data, &[3]);
    fails(Range::of("x").above(-0.105), &data, &[0]);
    fails(Range::of("x").above(0), &data, &[0, 1]);
    fails(Range::of("x").at_most(1e300), &data, &[]);
    fails(Range::of("x").at_most(-1e300), &data, &[0, 1, 2, 3]);
    let thousands = column(Decimal128Array::from(vec![1, 2]).with_precision_and_scale(10, -3).unwrap()); // 1000, 2000
    fails(Range::of("x").at_most(1999), &thousands, &[1]);
    fails(Range::of("x").at_least(1000.5), &thousands, &[0]);
}

#[test]
fn times_are_compared_in_every_unit() {
    let bound = EventTime::from_micros(1_500_000); // 1.5 s
    let at_least = || Range::of("x").at_least(bound);
    fails(at_least(), &column(TimestampSecondArray::from(vec![1, 2])), &[0]);
    fails(at_least(), &column(TimestampMillisecondArray::from(vec![1499, 1500]).with_timezone("+07:00")), &[0]);
    fails(at_least(), &column(TimestampNanosecondArray::from(vec![1_499_999_999, 1_500_000_000])), &[0]);
    fails(
        Range::of("x").above(bound),
        &column(TimestampNanosecondArray::from(vec![1_500_000_000, 1_500_000_001])),
        &[0],
    );
    fails(Range::of("x").below(bound), &column(TimestampSecondArray::from(vec![1, 2])), &[1]);
    fails(at_least(), &column(Date32Array::from(vec![0, 1])), &[0]);
    let ends = Range::of("x").at_least(EventTime::MIN).at_most(EventTime::MAX);
    fails(ends, &column(TimestampSecondArray::from(vec![i64::MIN, 0, i64::MAX])), &[0, 2]);
}

#[test]
fn ranges_that_make_no_sense_are_refused_by_setting() {
    let data = column(Int64Array::from(vec![1]));
    let bad = [
        Range::of("x"),
        Range::of("x").at_least(f64::NAN),
        Range::of("x").at_least(f64::INFINITY),
        Range::of("x").at_least("a"),
        Range::of("x").at_least(2).at_most(1),
        Range::of("x").at_least(1).below(1.0),
        Range::of("x").at_least(1).at_most(EventTime::EPOCH),
    ];
    for rule in bad {
        let error = refusal(rule, &data).to_string();
        assert!(error.starts_with("check `my_rule`: bound"), "{error}");
    }
    assert!(matches!(refusal(NullRatio::of("x").max(1.5), &data), Error::Stage { .. }));
    assert!(matches!(refusal(RowCount::between(2, 1), &data), Error::Stage { .. }));
}

#[test]
fn sets_hold_text_integers_floats_or_booleans() {
    fails(OneOf::of("x", ["a", ""]), &column(StringArray::from(vec![Some("a"), Some("A"), Some(""), None])), &[1]);
    fails(OneOf::of("x", ["a"]), &column(StringViewArray::from(vec!["a", "a string beyond the inline length"])), &[1]);
    fails(OneOf::of("x", ["b"]), &column(dictionary(&[Some("a"), Some("b")], &[Some(1), None, Some(0)])), &[2]);
    // More values than rows: judged row by row instead of value by value.
    fails(OneOf::of("x", ["b"]), &column(dictionary(&[Some("a"), Some("b"), Some("c")], &[Some(1), None])), &[]);
    fails(OneOf::of("x", [1_i64, 2]), &column(Int8Array::from(vec![1, 3])), &[1]);
    fails(OneOf::of("x", [-1_i64]), &column(UInt64Array::from(vec![u64::MAX])), &[0]);
    let floats = vec![0.0, -0.0, 0.5, f64::NAN, 9.3e18];
    fails(OneOf::of("x", [0_i64]), &column(Float64Array::from(floats.clone())), &[2, 3, 4]);
    fails(OneOf::of("x", [i64::MAX]), &column(Float64Array::from(floats.clone())), &[0, 1, 2, 3, 4]);
    fails(OneOf::of("x", [-0.0, 0.5]), &column(Float64Array::from(floats)), &[3, 4]);
    fails(OneOf::of("x", [true]), &column(BooleanArray::from(vec![Some(true), Some(false), None])), &[1]);
}

#[test]
fn sets_that_are_empty_mixed_or_endless_are_refused() {
    let data = column(Int64Array::from(vec![1]));
    let mixed = [Scalar::Int(1), Scalar::Text("a".into())];
    let endless = (0..=100_000_i64).collect::<Vec<_>>();
    let bad = [
        OneOf::of("x", Vec::<i64>::new()),
        OneOf::of("x", mixed),
        OneOf::of("x", endless),
        OneOf::of("x", [f64::NAN]),
        OneOf::of("x", ["a".repeat(5_000)]),
    ];
    for rule in bad {
        let error = refusal(rule, &data).to_string();
        assert!(error.starts_with("check `my_rule`: values"), "{error}");
        assert!(error.len() < 200, "{error}");
    }
}

#[test]
fn a_pattern_matches_from_end_to_end() {
    let data = column(StringArray::from(vec![Some("a"), Some("ab"), Some("xa"), Some("a\n"), None, Some("")]));
    fails(Pattern::of("x", "a|b"), &data, &[1, 2, 3, 5]);
    fails(Pattern::of("x", ".*a.*"), &data, &[3, 5]);
    fails(Pattern::of("x", "(?s).*"), &data, &[]);
    // An alternative that is shorter is not preferred when only the longer one covers all.
    fails(Pattern::of("x", "a|ab|xa|a\n|"), &data, &[]);
}

#[test]
fn patterns_that_do_not_compile_or_explode_are_refused() {
    let data = column(StringArray::from(vec!["a"]));
    let long = "a".repeat(5_000);
    for pattern in ["a)|(b", "(", r"(?:\pL{1000}){1000}", "(?=a)", &long] {
        let error = refusal(Pattern::of("x", pattern), &data).to_string();
        assert!(error.starts_with("check `my_rule`: pattern") && error.len() < 400, "{error}");
    }
}

#[test]
fn both_ways_of_counting_duplicates_are_given() {
    // Keys 1 ×3, 2 ×2, 3 ×1, null ×2: five rows in groups, three in excess.
    let data = column(Int64Array::from(vec![Some(1), Some(2), None, Some(1), Some(3), Some(2), None, Some(1)]));
    fails(Unique::of(["x"]), &data, &[3, 5, 7]);
    let found = finding(Unique::of(["x"]), &data);
    let measure = |name: &str| found.measures[name];
    assert_eq!(measure("rows_in_duplicate_groups"), 5.0);
    assert_eq!(measure("excess_rows"), 3.0);
    assert_eq!((measure("distinct"), measure("without_key")), (3.0, 2.0));
}

#[test]
fn composite_keys_keep_their_borders_and_null_is_no_key() {
    let texts = |values: Vec<Option<&str>>| Arc::new(StringArray::from(values)) as ArrayRef;
    let data = table([
        ("a", texts(vec![Some("ab"), Some("a"), Some("ab"), None, None])),
        ("b", texts(vec![Some("c"), Some("bc"), Some("c"), Some("c"), Some("c")])),
    ]);
    fails(Unique::of(["a", "b"]), &data, &[2]);
    fails(Unique::of(["b"]), &data, &[2, 3, 4]);
}

#[test]
fn floats_of_one_value_are_one_key() {
    let other_nan = f64::from_bits(f64::NAN.to_bits() ^ 1);
    fails(Unique::of(["x"]), &column(Float64Array::from(vec![0.0, -0.0, f64::NAN, other_nan, 1.0])), &[1, 3]);
    fails(Unique::of(["x"]), &column(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)])), &[3]);
}

#[test]
fn too_many_distinct_keys_are_an_error_and_not_a_crash() {
    let data = column(Int64Array::from_iter_values(0..5_000));
    assert!(finding(Unique::of(["x"]).distinct_max(5_000), &data).passed);
    let error = refusal(Unique::of(["x"]).distinct_max(4_999), &data).to_string();
    assert!(error.contains("my_rule") && error.contains("distinct_max"), "{error}");
    let few = column(Int64Array::from_iter_values((0..5_000).map(|i| i % 10)));
    assert_eq!(finding(Unique::of(["x"]).distinct_max(10), &few).measures["excess_rows"], 4_990.0);
}

#[test]
fn columns_are_missing_retyped_extra_or_out_of_order() {
    let data = table([
        ("a", Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("b", Arc::new(StringViewArray::from(vec!["x"]))),
        ("c", Arc::new(dictionary(&[Some("x")], &[Some(0)]))),
    ]);
    assert!(finding(Columns::of(["b", "a"]), &data).passed);
    assert!(finding(Columns::like(data.schema()).ordered().exact(), &data).passed);
    assert!(finding(Columns::of(["a"]).typed("b", &DataType::Utf8).typed("c", &DataType::LargeUtf8), &data).passed);
    let turned = finding(Columns::of(["b", "a"]).ordered(), &data);
    assert!(!turned.passed && turned.detail == "`a` is out of order", "{turned:?}");
    let extra = finding(Columns::of(["a", "b"]).exact(), &data);
    assert!(!extra.passed && extra.detail == "`c` is extra", "{extra:?}");
    let wrong = finding(Columns::of(["z"]).typed("a", &DataType::Utf8), &data);
    assert_eq!(wrong.detail, "`z` is missing; `a` is Int64, not Utf8");
    assert_eq!((wrong.measures["missing"], wrong.measures["retyped"], wrong.observed), (1.0, 1.0, Some(2.0)));
}

#[test]
fn every_arrow_type_of_a_schema_survives_storage() {
    let list = ListArray::from_iter_primitive::<Int64Type, _, _>([Some(vec![Some(1)])]);
    let data = table([
        ("time", Arc::new(TimestampSecondArray::from(vec![1]).with_timezone("UTC")) as ArrayRef),
        ("money", Arc::new(Decimal128Array::from(vec![1]).with_precision_and_scale(20, 4).unwrap())),
        ("list", Arc::new(list)),
    ]);
    assert!(finding(Columns::like(data.schema()).exact(), &data).passed);
    assert!(matches!(refusal(Columns::of(["a", "a"]), &data), Error::Stage { .. }));
    let unknown = r#"{"format": 1, "rules": [{"id": "c", "rule": {"kind": "columns",
        "columns": [{"name": "a", "data_type": "Integer"}]}}]}"#;
    assert!(crate::validate::Suite::from_json(unknown).unwrap_err().to_string().contains("`Int64`"));
}

#[test]
fn a_rule_that_cannot_run_names_itself_and_the_column() {
    let text = column(StringArray::from(vec!["a"]));
    let number = column(Int64Array::from(vec![1]));
    let cases = [
        refusal(NullRatio::of("gone"), &text),
        refusal(Range::of("x").at_least(1), &text),
        refusal(Range::of("x").at_least(EventTime::EPOCH), &number),
        refusal(OneOf::of("x", ["a"]), &number),
        refusal(Pattern::of("x", "a"), &number),
        refusal(Unique::of(["x", "gone"]), &number),
    ];
    for error in cases {
        let text = error.to_string();
        assert!(text.contains("check `my_rule`: column `"), "{text}");
        let Error::Stage { source, .. } = error else { panic!("{text}") };
        let cause = source.downcast_ref::<Error>();
        assert!(matches!(cause, Some(Error::NotFound { .. } | Error::Schema { .. })), "{text}");
    }
}

#[test]
fn findings_count_nulls_without_marking_them() {
    let report = run(Range::of("x").at_least(0), &column(Int64Array::from(vec![None, Some(-1), None])));
    assert_eq!(report.findings[0].measures["nulls"], 2.0);
    assert_eq!(report.findings[0].rows, 3);
    assert_eq!(report.findings[0].observed, Some(1.0 / 3.0));
}

#[test]
fn slices_are_judged_by_what_they_show() {
    let whole = StringArray::from(vec![Some("bad"), Some("a"), None, Some("a"), Some("bad")]);
    let data = column(whole.slice(1, 3));
    fails(OneOf::of("x", ["a"]), &data, &[]);
    fails(Pattern::of("x", "a"), &data, &[]);
    fails(NullRatio::of("x"), &data, &[1]);
    fails(Unique::of(["x"]), &data, &[2]);
    let keys = dictionary(&[Some("bad"), Some("a")], &[Some(0), Some(1), None, Some(1), Some(0)]);
    fails(OneOf::of("x", ["a"]), &column(keys.slice(1, 3)), &[]);
}
