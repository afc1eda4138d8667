use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, StringArray, TimestampSecondArray};

use crate::privacy::{Detector, Kind};
use crate::profile::tests::{batch, profile};
use crate::profile::{AlertKind, Profile, ProfileOptions, Profiler, Semantic};

fn texts(values: impl IntoIterator<Item = String>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn numbers(values: impl IntoIterator<Item = f64>) -> ArrayRef {
    Arc::new(Float64Array::from_iter_values(values))
}

fn integers(values: impl IntoIterator<Item = i64>) -> ArrayRef {
    Arc::new(Int64Array::from_iter_values(values))
}

fn alerts(profile: &Profile, column: &str) -> Vec<String> {
    let own = profile.alerts().into_iter().filter(|alert| alert.column.as_deref() == Some(column));
    own.map(|alert| alert.kind.to_string()).collect()
}

#[test]
fn columns_are_told_by_what_their_values_mean() {
    let rows = 0..600_i64;
    let table = batch(vec![
        ("mail", texts(rows.clone().map(|i| format!("u{i}@mail.vn")))),
        ("page", texts(rows.clone().map(|i| format!("https://a.vn/{}", i % 7)))),
        ("key", texts(rows.clone().map(|i| format!("KH{i:06}")))),
        ("city", texts(rows.clone().map(|i| format!("city {}", i % 9)))),
        ("note", texts(rows.clone().map(|i| format!("asked about roaming {}", i % 500)))),
        ("amount_text", texts(rows.clone().map(|i| format!("{i}.5")))),
        ("code", texts(rows.clone().map(|i| format!("{:03}", i % 90)))),
        ("id", integers(rows.clone())),
        ("stars", integers(rows.clone().map(|i| i % 5))),
        ("flag", integers(rows.clone().map(|i| i % 2))),
        ("visits", integers(rows.clone().map(|i| i * i % 301))),
        ("price", numbers(rows.clone().map(|i| i as f64 / 3.0))),
        ("at", Arc::new(TimestampSecondArray::from_iter_values(rows))),
    ]);
    let profile = profile(&[table]);
    let meaning = |name: &str| profile.column(name).unwrap().meaning().map(|meaning| meaning.semantic);
    let expected = [
        ("mail", Some(Semantic::Email)),
        ("page", Some(Semantic::Url)),
        ("key", Some(Semantic::Identifier)),
        ("city", Some(Semantic::Category)),
        ("note", Some(Semantic::FreeText)),
        ("amount_text", Some(Semantic::Number)),
        ("code", None),
        ("id", Some(Semantic::Identifier)),
        ("stars", Some(Semantic::Category)),
        ("flag", Some(Semantic::Boolean)),
        ("visits", Some(Semantic::Measure)),
        ("price", Some(Semantic::Measure)),
        ("at", Some(Semantic::Time)),
    ];
    for (name, semantic) in expected {
        assert_eq!(meaning(name), semantic, "{name}");
    }
    assert_eq!(alerts(&profile, "amount_text"), ["texts that are numbers", "unique"]);
    assert_eq!(alerts(&profile, "mail"), ["possible personal data: e-mail addresses", "unique"]);
    let mail = profile.column("mail").unwrap();
    assert!(mail.is_sensitive() && !mail.is_hidden());
    let summary = profile.summary().into_iter().find(|summary| summary.name == "mail").unwrap();
    assert!(summary.hidden && summary.top.is_empty() && summary.min.is_none());
}

#[test]
fn signs_order_and_hours_are_counted() {
    let profile = profile(&[batch(vec![
        ("x", numbers([0.0, -0.0, -1.0, f64::NEG_INFINITY, f64::NAN, 4.0])),
        ("up", integers([1, 3, 3, 9, 10, 11])),
        // Thursday 1970-01-01, an hour apart.
        ("at", Arc::new(TimestampSecondArray::from_iter_values((0..6).map(|i| i * 3600)))),
    ])]);
    let column = |name: &str| profile.column(name).unwrap();
    assert_eq!((column("x").zeros(), column("x").negatives()), (Some(2), Some(2)));
    let up = column("up").sequence().unwrap();
    assert_eq!((up.is_ascending(), up.is_strict(), up.repeats(), up.gap_max()), (Some(true), false, 1, 6.0));
    let at = column("at");
    assert_eq!(
        (at.week_hours().unwrap().weekdays()[3], at.sequence().unwrap().gap_max(), at.zeros()),
        (6, 3.6e9, None)
    );
    assert_eq!((at.looks_unique(), column("up").looks_unique()), (Some(true), Some(false)));
}

#[test]
fn what_is_striking_is_said_once_and_the_worst_first() {
    let profile = profile(&[batch(vec![
        ("constant", integers(vec![7; 100])),
        ("mostly_null", Arc::new((0..100).map(|i| (i < 3).then(|| f64::from(i))).collect::<Float64Array>())),
        ("empty", Arc::new(Float64Array::from(vec![None; 100]))),
        ("blank", texts((0..100).map(|i| if i % 2 == 0 { " ".to_owned() } else { format!("v{}", i % 5) }))),
        ("skewed", numbers((0..100).map(|i| f64::from(i).powi(9) + 1.0))),
        ("odd", numbers((0..100).map(|i| if i == 0 { f64::INFINITY } else { 0.0 }))),
    ])]);
    assert_eq!(alerts(&profile, "constant"), ["constant"]);
    assert_eq!(alerts(&profile, "mostly_null")[0], "97.0 % missing");
    assert_eq!(alerts(&profile, "empty"), ["no values"]);
    assert_eq!(alerts(&profile, "blank"), ["50.0 % blank"]);
    assert!(alerts(&profile, "skewed")[0].starts_with("skewed ("));
    assert_eq!(alerts(&profile, "odd"), ["1 infinite", "one value in 99.0 % of rows", "99.0 % zeros"]);
    let ranks: Vec<u8> = profile.alerts().iter().map(|alert| alert.kind.rank()).collect();
    assert!(ranks.is_sorted(), "{ranks:?}");
}

#[test]
fn personal_data_is_hidden_from_everything_that_a_profile_gives() {
    let detector = Arc::new(Detector::builder().today(2026).build().unwrap());
    let phones = (0..300).map(|i| format!("09123{i:05}"));
    let notes = (0..300).map(|i| format!("khách {i} gọi lại số 0987 654 {i:03} sau giờ làm"));
    let part = |from: usize, to: usize| {
        let table = batch(vec![
            ("contact", texts(phones.clone())),
            ("note", texts(notes.clone())),
            ("amount", integers((0..300).map(|i| i * 37))),
        ]);
        let options = ProfileOptions::report();
        let mut profiler = Profiler::new(&table.schema(), &options).unwrap().detect(detector.clone());
        profiler.update(&table.slice(from, to - from)).unwrap();
        profiler
    };
    let mut merged = part(0, 120);
    merged.merge(&part(120, 300)).unwrap();
    for profile in [part(0, 300).finish(), merged.finish()] {
        for name in ["contact", "note"] {
            let column = profile.column(name).unwrap();
            assert_eq!(column.personal().map(|personal| personal.kind), Some(Kind::Phone), "{name}");
            assert!(column.is_hidden() && matches!(profile.alerts()[0].kind, AlertKind::Personal(_)));
        }
        assert!(!profile.column("amount").unwrap().is_sensitive());
        let related = profile.relations().unwrap();
        assert_eq!(related.columns().iter().map(|column| column.name.as_str()).collect::<Vec<_>>(), ["amount"]);
        let again = Profile::from_bytes(&profile.to_bytes()).unwrap();
        assert_eq!(again.column("contact").unwrap().personal(), profile.column("contact").unwrap().personal());
        let texts = [serde_json::to_string(&profile).unwrap(), profile.to_html("t"), format!("{profile:?}")];
        for text in texts {
            assert!(!text.contains("0912300") && !text.contains("654 0") && !text.contains("khách"));
        }
    }
}

#[test]
fn a_profiler_that_detects_prints_no_value() {
    let detector = Arc::new(Detector::builder().today(2026).build().unwrap());
    let table = batch(vec![("contact", integers([912_345_678]))]);
    let options = ProfileOptions::builder().hide("contact").build().unwrap();
    let mut profiler = Profiler::new(&table.schema(), &options).unwrap().detect(detector.clone());
    profiler.update(&table).unwrap();
    assert!(!format!("{profiler:?}").contains("912345678"));
}
