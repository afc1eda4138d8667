use arrow::array::{Date32Array, StringArray, TimestampSecondArray};
use arrow::datatypes::Int64Type;
use proptest::prelude::*;

use super::super::fixture::{clean, column, data, floats, near};
use super::*;

/// 2024-02-29 23:30, 1969-12-31 00:00:01 and 2026-11-25 17:05, all UTC, and a gap.
fn table() -> Dataset {
    let at = vec![Some(1_709_249_400), Some(-86_399), Some(1_795_626_300), None];
    data([("at", column(TimestampSecondArray::from(at)))])
}

fn all(offset: i32) -> Dates {
    use DatePart::{Day, DayOfYear, Hour, IsWeekend, Minute, Month, Quarter, Weekday, Year};
    let parts = [Year, Quarter, Month, Day, DayOfYear, Weekday, Hour, Minute, IsWeekend];
    parts.into_iter().fold(Dates::builder("at"), DatesBuilder::part).offset_minutes(offset).build().unwrap()
}

fn whole(batch: &arrow::array::RecordBatch, name: &str) -> Vec<Option<i64>> {
    batch[name].as_primitive::<Int64Type>().iter().collect()
}

#[test]
fn parts_are_those_of_pandas_in_vietnam() {
    // pandas 3.1.1: Series.dt.tz_convert("Asia/Ho_Chi_Minh").dt.…; but for the hour of 1969, when Saigon was at +8.
    let (treated, changes) = clean(&all(VIETNAM_OFFSET_MINUTES), &table());
    let expected = [
        ("at_year", [2024, 1969, 2026]),
        ("at_quarter", [1, 4, 4]),
        ("at_month", [3, 12, 11]),
        ("at_day", [1, 31, 26]),
        ("at_day_of_year", [61, 365, 330]),
        ("at_weekday", [4, 2, 3]),
        ("at_hour", [6, 7, 0]),
        ("at_minute", [30, 0, 5]),
    ];
    for (name, [a, b, c]) in expected {
        assert_eq!(whole(&treated, name), [Some(a), Some(b), Some(c), None], "{name}");
    }
    assert_eq!(changes.cells("at", Change::Derived), 3);
    assert!(treated["at_is_weekend"].as_boolean().iter().flatten().all(|weekend| !weekend));
    assert_eq!(treated.num_columns(), 10);
}

#[test]
fn a_date_is_not_moved_by_the_clock() {
    // 1970-01-03 was a Saturday.
    let days = data([("at", column(Date32Array::from(vec![2])))]);
    let (treated, _) = clean(&all(VIETNAM_OFFSET_MINUTES), &days);
    assert_eq!((whole(&treated, "at_day"), whole(&treated, "at_hour")), (vec![Some(3)], vec![Some(0)]));
    assert_eq!(treated["at_is_weekend"].as_boolean().true_count(), 1);
}

#[test]
fn cycles_close_and_days_are_counted_from_the_reference() {
    let noon = 43_200;
    let table = data([("at", column(TimestampSecondArray::from(vec![0, noon, noon / 2])))]);
    let dates = Dates::builder("at").part(DatePart::HourCycle).part(DatePart::DaysSince);
    let dates = dates.reference(EventTime::from_secs(noon)).drop_source(true).build().unwrap();
    let (treated, changes) = clean(&dates, &table);
    near(&floats(&treated, "at_hour_sin"), &[Some(0.0), Some(0.0), Some(1.0)]);
    near(&floats(&treated, "at_hour_cos"), &[Some(1.0), Some(-1.0), Some(0.0)]);
    near(&floats(&treated, "at_days_since"), &[Some(-0.5), Some(0.0), Some(-0.25)]);
    assert!(changes.steps[0].columns_dropped.contains("at"));
}

#[test]
fn settings_and_columns_that_do_not_fit_are_refused() {
    assert!(Dates::builder("at").build().is_err());
    assert!(Dates::builder("at").part(DatePart::Day).part(DatePart::Day).build().is_err());
    assert!(Dates::builder("at").part(DatePart::Day).offset_minutes(1441).build().is_err());
    let text = data([("at", column(StringArray::from(vec!["2024-01-01"])))]);
    let error = all(0).fit(&text).unwrap_err();
    assert!(matches!(&error, Error::Schema { column, .. } if column == "at"), "{error}");
    let far = data([("at", column(TimestampSecondArray::from(vec![i64::MAX])))]);
    let fitted = all(0).fit(&far).unwrap();
    assert!(super::super::FittedTransformExt::apply_batch(fitted.as_ref(), &far.to_batch().unwrap()).is_err());
    let text = r#"{"columns": {"columns": ["at"]}, "parts": ["hour_cycle"], "offset_minutes": 420}"#;
    let made = Dates::builder("at").part(DatePart::HourCycle).offset_minutes(VIETNAM_OFFSET_MINUTES).build().unwrap();
    assert_eq!(serde_json::from_str::<Dates>(text).unwrap(), made);
}

proptest! {
    #[test]
    fn days_follow_one_another(day in -800_000_i64..3_000_000) {
        let at = |day: i64| Civil::of(day * 86_400_000_000, 0);
        let (today, tomorrow) = (at(day), at(day + 1));
        prop_assert_eq!((today.weekday + 1) % 7, tomorrow.weekday);
        if tomorrow.month == today.month {
            prop_assert_eq!(today.day + 1, tomorrow.day);
        } else {
            prop_assert_eq!(tomorrow.day, 1);
            prop_assert!((28..=31).contains(&today.day));
        }
        let next = if tomorrow.year == today.year { today.day_of_year + 1 } else { 1 };
        prop_assert_eq!(tomorrow.day_of_year, next);
        prop_assert!((1..=12).contains(&today.month));
    }
}
