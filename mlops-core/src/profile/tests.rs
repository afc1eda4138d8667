use std::sync::Arc;

use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray, Float16Array, Float32Array,
    Float64Array, Int8Array, Int64Array, LargeStringArray, NullArray, RecordBatch, StringArray, StringViewArray,
    TimestampSecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field, Int32Type, Schema};
use proptest::prelude::*;

use super::*;
use crate::stats::Estimate;

pub(super) fn batch(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter(columns).unwrap()
}

pub(super) fn profile_with(batches: &[RecordBatch], options: &ProfileOptions) -> Profile {
    let mut profiler = Profiler::new(&batches[0].schema(), options).unwrap();
    batches.iter().for_each(|batch| profiler.update(batch).unwrap());
    profiler.finish()
}

pub(super) fn profile(batches: &[RecordBatch]) -> Profile {
    profile_with(batches, &ProfileOptions::default())
}

/// One column of each kind, `rows` rows from row `start` on.
pub(super) fn mixed(start: usize, rows: usize) -> RecordBatch {
    let range = || start..start + rows;
    let number: Float64Array = range().map(|i| (i % 7 > 0).then_some((i * 37 % 1001) as f64 / 3.0)).collect();
    let code: Int64Array = range().map(|i| Some((i % 5) as i64)).collect();
    let text: StringArray = range().map(|i| (i % 11 > 0).then(|| format!("tên {}", i % 40))).collect();
    let flag: BooleanArray = range().map(|i| (i % 13 > 0).then_some(i % 3 == 0)).collect();
    let time: TimestampSecondArray = range().map(|i| Some(i as i64 * 3600)).collect();
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("number", Arc::new(number)),
        ("code", Arc::new(code)),
        ("text", Arc::new(text)),
        ("flag", Arc::new(flag)),
        ("time", Arc::new(time)),
    ];
    let fields: Vec<Field> =
        columns.iter().map(|(name, array)| Field::new(*name, array.data_type().clone(), true)).collect();
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns.into_iter().map(|(_, array)| array).collect()).unwrap()
}

#[track_caller]
fn alike(a: &Profile, b: &Profile) {
    assert_eq!(a.rows(), b.rows());
    for (mine, theirs) in a.summary().into_iter().zip(b.summary()) {
        let plain =
            |s: &ColumnSummary| (s.rows, s.nulls, s.nan, s.distinct, s.min.clone(), s.max.clone(), s.length_range);
        assert_eq!(plain(&mine), plain(&theirs), "{}", mine.name);
        let near = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => assert!((a - b).abs() <= 1e-9 * a.abs().max(1.0), "{}: {a} is not {b}", mine.name),
            (a, b) => assert_eq!(a, b),
        };
        near(mine.mean, theirs.mean);
        near(mine.standard_deviation, theirs.standard_deviation);
        near(mine.skew, theirs.skew);
        near(mine.length_mean, theirs.length_mean);
        assert_eq!(mine.top, theirs.top);
    }
}

/// What is exact in whatever order rows come: zeros, negatives, characters, meaning, hours.
type Exact = (Option<u64>, Option<u64>, Option<CharacterStats>, Option<Meaning>, Option<WeekHours>);

fn exact(profile: &Profile) -> Vec<Exact> {
    let columns = profile.columns().iter();
    columns
        .map(|column| {
            let (characters, hours) = (column.characters().copied(), column.week_hours().cloned());
            (column.zeros(), column.negatives(), characters, column.meaning(), hours)
        })
        .collect()
}

#[test]
fn every_supported_type_is_profiled_and_others_are_counted() {
    let dictionary: DictionaryArray<Int32Type> = vec![Some("a"), None, Some("a")].into_iter().collect();
    let decimal = Decimal128Array::from(vec![Some(100), None, Some(300)]).with_precision_and_scale(10, 2).unwrap();
    let halves: Float16Array = [1.0_f32, 2.0, 3.0].into_iter().map(|v| Some(half_of(v))).collect();
    let profile = profile(&[batch(vec![
        ("i8", Arc::new(Int8Array::from(vec![Some(-1), None, Some(3)]))),
        ("u64", Arc::new(UInt64Array::from(vec![Some(u64::MAX), None, Some(0)]))),
        ("f16", Arc::new(halves)),
        ("f32", Arc::new(Float32Array::from(vec![Some(0.5), None, Some(f32::NAN)]))),
        ("decimal", Arc::new(decimal)),
        ("bool", Arc::new(BooleanArray::from(vec![Some(true), None, Some(true)]))),
        ("large", Arc::new(LargeStringArray::from(vec![Some("b"), None, Some("é")]))),
        ("view", Arc::new(StringViewArray::from(vec![Some("b"), None, Some("é")]))),
        ("dictionary", Arc::new(dictionary)),
        ("date", Arc::new(Date32Array::from(vec![Some(0), None, Some(1)]))),
        ("time", Arc::new(TimestampSecondArray::from(vec![Some(0), None, Some(60)]).with_timezone("+07:00"))),
        ("binary", Arc::new(BinaryArray::from(vec![Some(&b"x"[..]), None, None]))),
        ("null", Arc::new(NullArray::new(3))),
    ])]);
    let column = |name: &str| profile.column(name).unwrap();
    let mean = |name: &str| column(name).moments().unwrap().mean();
    assert_eq!((mean("i8"), mean("f16"), mean("decimal")), (Some(1.0), Some(2.0), Some(2.0)));
    assert_eq!((column("f32").nan(), column("f32").distinct()), (1, Some(Estimate::exact(1))));
    assert_eq!(column("u64").top_values(1)[0].value, "0");
    assert_eq!(column("u64").top_values(2)[1].value, u64::MAX.to_string());
    assert_eq!((column("bool").true_count(), column("bool").top_values(9).len()), (Some(2), 1));
    for name in ["large", "view"] {
        assert_eq!((column(name).min_text().as_deref(), column(name).max_text().as_deref()), (Some("b"), Some("é")));
        assert_eq!(column(name).lengths().unwrap().max(), Some(1));
    }
    assert_eq!((column("dictionary").nulls(), column("dictionary").top_values(1)[0].count.value), (1, 2));
    assert_eq!(column("date").max_text().unwrap(), "1970-01-02T00:00:00.000000Z");
    assert_eq!(column("time").max_text().unwrap(), "1970-01-01T00:01:00.000000Z");
    assert_eq!((column("binary").kind(), column("binary").nulls()), (ColumnKind::Other, 2));
    assert_eq!((column("null").nulls(), column("null").distinct()), (3, None));
    for name in ["i8", "u64", "decimal", "bool", "large", "view", "date", "time"] {
        assert_eq!((column(name).rows(), column(name).nulls()), (3, 1), "{name}");
    }
    let again = Profile::from_bytes(&profile.to_bytes()).unwrap();
    assert!(again.to_bytes() == profile.to_bytes());
}

fn half_of(value: f32) -> <arrow::datatypes::Float16Type as arrow::datatypes::ArrowPrimitiveType>::Native {
    <arrow::datatypes::Float16Type as arrow::datatypes::ArrowPrimitiveType>::Native::from_f32(value)
}

#[test]
fn merged_parts_equal_one_pass() {
    let whole = profile(&[mixed(0, 3000)]);
    let mut merged = profile(&[mixed(2000, 1000)]);
    merged.merge(&profile(&[mixed(0, 1), mixed(1, 1999)])).unwrap();
    alike(&merged, &whole);
    let mut empty = profile(&[mixed(0, 0)]);
    empty.merge(&whole).unwrap();
    alike(&empty, &whole);
}

#[test]
fn many_different_numbers_are_estimated_alike_on_every_path() {
    let column =
        |range: std::ops::Range<i64>| profile(&[batch(vec![("x", Arc::new(Int64Array::from_iter_values(range)))])]);
    let whole = column(0..5000).columns()[0].distinct().unwrap();
    assert!(whole.low <= 5000 && 5000 <= whole.high);
    for cut in [0, 10, 64, 65, 2500, 4990] {
        let mut merged = column(cut..5000);
        merged.merge(&column(0..cut)).unwrap();
        assert_eq!(merged.columns()[0].distinct(), Some(whole), "{cut}");
    }
}

#[test]
fn a_heavy_number_among_many_is_found_in_the_sketch() {
    let values = (0..50_000).map(|i| if i % 4 == 0 { 0.0 } else { f64::from(i) });
    let profile = profile(&[batch(vec![("x", Arc::new(Float64Array::from_iter_values(values)))])]);
    let column = &profile.columns()[0];
    assert_eq!(column.value_counts(), None);
    let top = column.top_values(5);
    assert_eq!((top.len(), top[0].value.as_str()), (1, "0"));
    assert!(top[0].count.low <= 12_500 && 12_500 <= top[0].count.high, "{top:?}");
}

#[test]
fn hidden_columns_hold_no_value_in_any_form() {
    let secret = ["0912345678", "079085001234", "Nguyễn Văn A"];
    let numbers = [912_345_678_i64, 79_085_001_234, 555_666_777];
    let table = batch(vec![
        ("phone", Arc::new(Int64Array::from(numbers.to_vec()))),
        ("name", Arc::new(StringArray::from(secret.to_vec()))),
        ("is_ill", Arc::new(BooleanArray::from(vec![true, false, true]))),
        ("score", Arc::new(Float64Array::from(vec![1.0, f64::NAN, 3.0]))),
    ]);
    let options = ["phone", "name", "is_ill", "score"]
        .into_iter()
        .fold(ProfileOptions::builder(), ProfileOptionsBuilder::hide)
        .build()
        .unwrap();
    let hidden = profile_with(std::slice::from_ref(&table), &options);
    assert!(hidden.columns().iter().all(ColumnProfile::is_hidden));
    assert_eq!(hidden.column("name").unwrap().distinct(), Some(Estimate::exact(3)));
    assert_eq!(hidden.column("name").unwrap().lengths().unwrap().max(), Some(12));
    assert_eq!(hidden.column("score").unwrap().nan(), 1);
    let mut merged = profile(&[table]);
    merged.merge(&hidden).unwrap();
    for profile in [hidden, merged] {
        assert!(profile.columns().iter().all(|column| column.is_hidden() && column.top_values(9).is_empty()));
        let bytes = profile.to_bytes();
        let texts = [
            serde_json::to_string(&profile).unwrap(),
            profile.to_html("t"),
            format!("{profile:?}"),
            format!("{:?}", profile.summary()),
        ];
        for text in secret.map(str::to_owned).into_iter().chain(numbers.map(|number| number.to_string())) {
            assert!(texts.iter().all(|form| !form.contains(&text)), "{text}");
            assert!(!bytes.windows(text.len()).any(|window| window == text.as_bytes()), "{text}");
        }
        for number in numbers {
            for form in [number.to_le_bytes(), (number as f64).to_le_bytes()] {
                assert!(!bytes.windows(8).any(|window| window == form), "{number}");
            }
        }
    }
}

#[test]
fn json_and_bytes_come_back() {
    let profile = profile(&[mixed(0, 5000)]);
    let json = serde_json::to_string(&profile).unwrap();
    let from_json: Profile = serde_json::from_str(&json).unwrap();
    let from_bytes = Profile::from_bytes(&profile.to_bytes()).unwrap();
    for back in [&from_json, &from_bytes] {
        alike(back, &profile);
        assert!(back.to_bytes() == profile.to_bytes());
    }
    for other in [0, 3] {
        let odd = json.replacen("\"format\":2", &format!("\"format\":{other}"), 1);
        let refused = serde_json::from_str::<Profile>(&odd).unwrap_err().to_string();
        assert!(refused.contains(&format!("format {other}")), "{refused}");
    }
    let longer = json.replacen("\"rows\":5000", "\"rows\":5001", 1);
    assert!(serde_json::from_str::<Profile>(&longer).is_err());
}

#[test]
fn damaged_bytes_are_errors_and_never_panics() {
    let good = profile(&[mixed(0, 300)]).to_bytes();
    for len in (0..good.len()).step_by(101) {
        assert!(Profile::from_bytes(&good[..len]).is_err(), "{len}");
    }
    for place in (0..good.len()).step_by(13) {
        let mut bytes = good.clone();
        bytes[place] ^= 0x41;
        assert!(Profile::from_bytes(&bytes).is_err(), "{place}");
        // With a checksum that matches, each field's own checks stand alone.
        let checksum = blake3::hash(&bytes[16..]);
        bytes[8..16].copy_from_slice(&checksum.as_bytes()[..8]);
        if let Ok(mut profile) = Profile::from_bytes(&bytes) {
            let again = profile.clone();
            let _ = profile.merge(&again);
            let _ = profile.to_html("t");
            let _ = profile.compare(&again, &DriftRule::default());
        }
    }
}

#[test]
fn format_1_still_opens_and_merges() {
    let whole = profile(&[mixed(0, 700)]);
    let bytes = Profile::from_bytes(include_bytes!("fixtures/format-1.bin")).unwrap();
    let json: Profile = serde_json::from_str(include_str!("fixtures/format-1.json")).unwrap();
    for old in [bytes, json] {
        alike(&old, &whole);
        let number = old.column("number").unwrap();
        assert_eq!((number.zeros(), number.sequence(), old.relations()), (None, None, None));
        assert_eq!(old.column("text").unwrap().characters(), None);
        let mut merged = whole.clone();
        merged.merge(&old).unwrap();
        assert_eq!((merged.rows(), merged.column("number").unwrap().zeros()), (1400, None));
        let again = Profile::from_bytes(&old.to_bytes()).unwrap();
        alike(&again, &old);
        assert!(again.to_html("old").contains("700"));
    }
    let hidden = Profile::from_bytes(include_bytes!("fixtures/format-1-hidden.bin")).unwrap();
    assert!(hidden.columns().iter().all(ColumnProfile::is_hidden) && hidden.rows() == 700);
}

#[test]
fn the_same_table_gives_the_same_bytes() {
    assert!(profile(&[mixed(0, 4000)]).to_bytes() == profile(&[mixed(0, 4000)]).to_bytes());
}

#[test]
fn html_is_escaped_and_has_no_scripts() {
    let bad = "<script>alert(1)</script>\"'&\u{202e}\u{7}";
    let profile = profile(&[batch(vec![
        (bad, Arc::new(StringArray::from(vec![bad, bad, "ok"])) as ArrayRef),
        ("x", Arc::new(Float64Array::from(vec![1.0, 2.0, 1e6]))),
    ])]);
    let html = profile.to_html(bad);
    assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>\n"));
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&#39;&amp;\\u{202e}\\u{7}"));
    for forbidden in ["<script", "href", "src=", "http:", "https:", "\u{202e}", "\u{7}", "url("] {
        assert!(!html.contains(forbidden), "{forbidden:?}");
    }
    assert!(html.contains("<svg") && html.contains("<path"));
}

#[test]
fn display_bins_hold_every_row_and_an_outlier_does_not_squeeze_them() {
    let mut values: Vec<f64> = (0..10_000).map(|i| f64::from(i) / 100.0).collect();
    values.push(1e9);
    let profile = profile(&[batch(vec![("x", Arc::new(Float64Array::from(values)))])]);
    let histogram = profile.columns()[0].histogram(20).unwrap().unwrap();
    assert_eq!(histogram.total(), 10_001);
    assert!(histogram.edges()[20] < 101.0 && histogram.above() >= 1);
    assert!(histogram.counts().iter().all(|&count| (300..700).contains(&count)), "{histogram:?}");
    for values in [vec![0.0; 5], vec![7.5; 5], vec![-1.7e308, 1.7e308], vec![1e-320, 2e-320]] {
        let n = values.len() as u64;
        let one = super::tests::profile(&[batch(vec![("x", Arc::new(Float64Array::from(values)))])]);
        assert_eq!(one.columns()[0].histogram(10).unwrap().unwrap().total(), n);
    }
}

#[test]
fn batches_of_another_schema_are_refused_and_leave_the_profile_as_it_was() {
    let table = mixed(0, 10);
    let mut profiler = Profiler::new(&table.schema(), &ProfileOptions::default()).unwrap();
    profiler.update(&table).unwrap();
    let before = profiler.profile().to_bytes();
    let renamed = batch(vec![("other", table.column(0).clone())]);
    assert!(matches!(profiler.update(&renamed), Err(Error::Schema { .. })));
    let schema = table.schema();
    let columns = schema.fields().iter().map(|field| field.name().clone()).zip(table.columns().iter().cloned());
    let text: ArrayRef = Arc::new(StringArray::from(vec!["1"; 10]));
    let retyped = RecordBatch::try_from_iter(columns.map(|(name, array)| {
        let array = if name == "number" { text.clone() } else { array };
        (name, array)
    }))
    .unwrap();
    assert_eq!(profiler.update(&retyped).unwrap_err().to_string(), "column `number`: expected Float64, found Utf8");
    assert!(profiler.profile().to_bytes() == before);
    let twice = Schema::new(vec![Field::new("a", DataType::Int8, true), Field::new("a", DataType::Int8, true)]);
    assert!(matches!(Profiler::new(&twice, &ProfileOptions::default()), Err(Error::AlreadyExists { .. })));
}

#[test]
fn a_profile_of_nothing_has_no_numbers() {
    let profile = profile(&[mixed(0, 0)]);
    assert_eq!(profile.column("number").unwrap().null_ratio(), None);
    assert!(profile.summary().iter().all(|summary| summary.mean.is_none() && summary.min.is_none()));
    assert!(profile.to_html("empty").contains("<b>0</b><span>rows"));
    assert_eq!(Profile::from_bytes(&profile.to_bytes()).unwrap().rows(), 0);
}

#[test]
fn dictionaries_larger_than_the_batch_and_nulls_inside_them_are_read() {
    let values: StringArray = (0..1000).map(|i| (i != 3).then(|| format!("v{i}"))).collect();
    let keys = arrow::array::Int32Array::from(vec![Some(5), Some(3), None, Some(5)]);
    let dictionary = DictionaryArray::<Int32Type>::try_new(keys, Arc::new(values)).unwrap();
    let profile = profile(&[batch(vec![("x", Arc::new(dictionary) as ArrayRef)])]);
    let column = &profile.columns()[0];
    assert_eq!((column.nulls(), column.rows()), (2, 4));
    assert_eq!((column.top_values(9).len(), column.top_values(1)[0].count.value), (1, 2));
    assert!(Profile::from_bytes(&profile.to_bytes()).is_ok());
}

proptest! {
    #[test]
    fn any_split_and_order_of_batches_gives_one_profile(cuts in prop::collection::vec(0_usize..600, 0..6), turn in 0_usize..6) {
        let mut cuts = cuts;
        cuts.extend([0, 600]);
        cuts.sort_unstable();
        let mut batches: Vec<RecordBatch> = cuts.windows(2).map(|ends| mixed(ends[0], ends[1] - ends[0])).collect();
        let whole = profile(&[mixed(0, 600)]);
        alike(&profile(&batches), &whole);
        prop_assert_eq!(exact(&profile(&batches)), exact(&whole));
        let in_order = profile(&batches);
        prop_assert_eq!(in_order.columns()[4].sequence(), whole.columns()[4].sequence());
        let turn = turn % batches.len();
        batches.rotate_left(turn);
        alike(&profile(&batches), &whole);
        let mut merged = profile(&batches[..1]);
        for batch in &batches[1..] {
            merged.merge(&profile(std::slice::from_ref(batch))).unwrap();
        }
        alike(&merged, &whole);
        prop_assert_eq!(exact(&merged), exact(&whole));
    }
}
