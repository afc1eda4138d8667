use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, StringArray, TimestampSecondArray};

use crate::profile::tests::{batch, profile_with};
use crate::profile::{Profile, ProfileOptions};

/// 200 columns of numbers, texts and times.
fn wide() -> Profile {
    let names: Vec<String> = (0..200).map(|i| format!("column_{i:03}")).collect();
    let column = |place: usize| -> ArrayRef {
        let value = move |row: usize| (row * (place + 7) * 37 % 1009) as f64;
        match place % 4 {
            0 => Arc::new(StringArray::from_iter_values(
                (0..1500).map(|row| format!("value {}", value(row) as i64 % 300)),
            )),
            1 => Arc::new(TimestampSecondArray::from_iter_values((0..1500).map(|row| value(row) as i64 * 3601))),
            _ => Arc::new((0..1500).map(|row| (row % 9 > 0).then(|| value(row).sqrt())).collect::<Float64Array>()),
        }
    };
    let columns = names.iter().enumerate().map(|(place, name)| (name.as_str(), column(place))).collect();
    profile_with(&[batch(columns)], &ProfileOptions::report())
}

#[test]
fn a_page_of_two_hundred_columns_stays_below_a_megabyte() {
    let html = wide().to_html("wide");
    assert!(html.len() < 1_000_000, "{} bytes", html.len());
    assert_eq!(html.matches("<section").count(), 200);
    assert_eq!(html.matches("<svg").count(), html.matches("</svg>").count());
    for (tag, end) in
        [("<table", "</table>"), ("<section", "</section>"), ("<details", "</details>"), ("<div", "</div>")]
    {
        assert_eq!(html.matches(tag).count(), html.matches(end).count(), "{tag}");
    }
}

#[test]
fn addresses_are_told_of_and_never_shown() {
    let mails: StringArray = (0..50).map(|i| Some(format!("secret{i}@mail.vn"))).collect();
    let table = batch(vec![("mail", Arc::new(mails) as ArrayRef)]);
    let html = profile_with(&[table], &ProfileOptions::report()).to_html("mails");
    assert!(html.contains("possible personal data: e-mail addresses") && html.contains("values are not shown"));
    assert!(!html.contains("secret"));
}
