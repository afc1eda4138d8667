use arrow::array::{AsArray, Date32Array, Float32Array, StringArray, UInt16Array};
use arrow::compute::cast;
use arrow::datatypes::Int32Type;

use super::*;
use crate::profile::tests::{batch, profile};

fn schema() -> Schema {
    Schema::new(vec![
        Field::new("day", DataType::Date32, true),
        Field::new("count", DataType::UInt16, true),
        Field::new("price", DataType::Float32, true),
        Field::new("city", DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8)), true),
    ])
}

#[test]
fn rows_one_by_one_give_the_profile_of_the_table() {
    let rows = 2500_u16;
    let present = |i: u16| !i.is_multiple_of(7);
    let cities = ["Huế", "Vinh", "Đà Lạt"];
    let city: StringArray = (0..rows).map(|i| present(i).then(|| cities[usize::from(i % 3)])).collect();
    let dictionary = cast(&city, schema().field(3).data_type()).unwrap();
    assert_eq!(dictionary.as_dictionary::<Int32Type>().len(), usize::from(rows));
    let table = batch(vec![
        ("day", Arc::new((0..rows).map(|i| present(i).then(|| i32::from(i) - 100)).collect::<Date32Array>())),
        ("count", Arc::new((0..rows).map(|i| present(i).then_some(i * 13)).collect::<UInt16Array>())),
        ("price", Arc::new((0..rows).map(|i| present(i).then(|| f32::from(i) / 4.0)).collect::<Float32Array>())),
        ("city", dictionary),
    ]);
    let mut pushed = RowProfiler::new(&schema(), &ProfileOptions::default()).unwrap();
    for i in 0..rows {
        let cell = |cell| if present(i) { cell } else { Cell::Null };
        let midnight = EventTime::from_micros((i64::from(i) - 100) * 86_400_000_000 + 5);
        pushed
            .push(&[
                cell(Cell::Time(midnight)),
                cell(Cell::Integer(i64::from(i * 13))),
                cell(Cell::Number(f64::from(i) / 4.0)),
                cell(Cell::Text(cities[usize::from(i % 3)])),
            ])
            .unwrap();
    }
    assert_eq!(pushed.profile().unwrap().rows(), u64::from(rows));
    let (pushed, whole) = (pushed.finish().unwrap(), profile(&[table]));
    for (mine, theirs) in pushed.summary().into_iter().zip(whole.summary()) {
        assert_eq!(
            (mine.nulls, mine.distinct, &mine.min, &mine.max),
            (theirs.nulls, theirs.distinct, &theirs.min, &theirs.max),
            "{}",
            mine.name
        );
        assert_eq!((mine.zeros, mine.ascending, &mine.quantiles), (theirs.zeros, theirs.ascending, &theirs.quantiles));
        assert_eq!(mine.top, theirs.top);
    }
    let mut merged = whole.clone();
    merged.merge(&pushed).unwrap();
    assert_eq!(merged.rows(), 2 * u64::from(rows));
}

#[test]
fn a_row_that_does_not_fit_adds_nothing() {
    let mut rows = RowProfiler::new(&schema(), &ProfileOptions::default()).unwrap();
    let good = [Cell::Null, Cell::Integer(1), Cell::Integer(2), Cell::Text("a")];
    rows.push(&good).unwrap();
    for (place, bad) in [
        (1, Cell::Integer(-1)),
        (1, Cell::Integer(70_000)),
        (3, Cell::Number(1.0)),
        (0, Cell::Integer(1)),
        (2, Cell::Boolean(true)),
    ] {
        let mut row = good;
        row[place] = bad;
        assert!(matches!(rows.push(&row), Err(Error::Schema { .. })), "{bad:?}");
    }
    assert!(matches!(rows.push(&good[..3]), Err(Error::Schema { .. })));
    rows.push(&[Cell::Null; 4]).unwrap();
    rows.push(&[good[0], good[1], good[2], Cell::Text("bc")]).unwrap();
    let profile = rows.finish().unwrap();
    let nulls: Vec<u64> = profile.columns().iter().map(crate::profile::ColumnProfile::nulls).collect();
    assert_eq!((profile.rows(), nulls), (3, vec![3, 1, 1, 1]));
    assert_eq!(profile.column("city").unwrap().lengths().unwrap().mean(), Some(1.5));
    let binary = Schema::new(vec![Field::new("blob", DataType::Binary, true)]);
    let refused = RowProfiler::new(&binary, &ProfileOptions::default()).unwrap_err();
    assert_eq!(refused.to_string(), "column `blob`: expected numbers, times, booleans or strings, found Binary");
}

#[test]
fn long_texts_fill_a_block_before_its_rows_do() {
    let schema = Schema::new(vec![Field::new("text", DataType::Utf8, true)]);
    let mut rows = RowProfiler::new(&schema, &ProfileOptions::default()).unwrap();
    let text = "x".repeat(TEXT_BYTES / 4);
    for _ in 0..6 {
        rows.push(&[Cell::Text(&text)]).unwrap();
    }
    assert_eq!(rows.waiting, 1);
    assert_eq!(rows.finish().unwrap().column("text").unwrap().lengths().unwrap().count(), 6);
}
