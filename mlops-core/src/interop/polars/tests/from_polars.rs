//! polars → Arrow → polars.

use polars::prelude::{
    Categories, DataType, FrozenCategories, IntoSeries, NamedFrom, Series, StructChunked, TimeUnit, TimeZone,
};

use super::*;
use crate::source::{CsvSink, ParquetSink, ParquetSource};

fn zone(name: &'static str) -> Option<TimeZone> {
    TimeZone::opt_try_new(Some(name)).unwrap()
}

fn categorical() -> DataType {
    DataType::from_categories(Categories::global())
}

fn enumeration() -> DataType {
    DataType::from_frozen_categories(FrozenCategories::new(["low", "mid", "high"]).unwrap())
}

fn cast(name: &'static str, values: Series, data_type: &DataType) -> Series {
    values.cast(data_type).unwrap().with_name(name.into())
}

/// One column per type of polars that the features of this workspace turn on, three rows each.
fn columns() -> Vec<Series> {
    let ints = || Series::new("".into(), [Some(1_i64), None, Some(3)]);
    let texts = || Series::new("".into(), [Some("low"), None, Some("high")]);
    let lists = || {
        Series::new(
            "".into(),
            [Series::new("".into(), [1_i64, 2]), Series::new("".into(), [0_i64; 0]), Series::new("".into(), [5_i64])],
        )
    };
    let member = |name: &'static str, values: Series| values.with_name(name.into());
    let members = [member("n", ints()), member("t", texts()), cast("c", texts(), &categorical())];
    let times = DataType::Datetime;
    vec![
        cast("i8", ints(), &DataType::Int8),
        cast("i16", ints(), &DataType::Int16),
        cast("i32", ints(), &DataType::Int32),
        cast("i64", ints(), &DataType::Int64),
        cast("u8", ints(), &DataType::UInt8),
        cast("u16", ints(), &DataType::UInt16),
        cast("u32", ints(), &DataType::UInt32),
        cast("u64", ints(), &DataType::UInt64),
        cast("f32", ints(), &DataType::Float32),
        Series::new("f64".into(), [Some(f64::NAN), None, Some(-0.0)]),
        Series::new("flag".into(), [Some(true), None, Some(false)]),
        Series::new("text".into(), [Some("nợ"), None, Some("một chuỗi dài hơn mười hai byte")]),
        cast("bytes", texts(), &DataType::Binary),
        cast("date", ints(), &DataType::Date),
        cast("ms", ints(), &times(TimeUnit::Milliseconds, None)),
        cast("us", ints(), &times(TimeUnit::Microseconds, zone("Asia/Ho_Chi_Minh"))),
        cast("ns", ints(), &times(TimeUnit::Nanoseconds, zone("UTC"))),
        cast("span", ints(), &DataType::Duration(TimeUnit::Microseconds)),
        cast("clock", ints(), &DataType::Time),
        cast("price", ints(), &DataType::Decimal(10, 2)),
        cast("category", texts(), &categorical()),
        cast("level", texts(), &enumeration()),
        member("list", lists()),
        cast("texts", lists(), &DataType::List(Box::new(DataType::String))),
        cast(
            "array",
            Series::new(
                "".into(),
                [
                    Series::new("".into(), [1_i64, 2]),
                    Series::new("".into(), [3_i64, 4]),
                    Series::new("".into(), [5_i64, 6]),
                ],
            ),
            &DataType::Array(Box::new(DataType::Int64), 2),
        ),
        StructChunked::from_series("struct".into(), 3, members.iter()).unwrap().into_series(),
        Series::new_null("nothing".into(), 3),
    ]
}

fn every_type() -> DataFrame {
    DataFrame::new(3, columns().into_iter().map(Column::from).collect()).unwrap()
}

#[track_caller]
fn check(frame: &DataFrame) {
    let data = Dataset::from_polars(frame.clone()).unwrap();
    assert_eq!(data.num_rows().unwrap(), frame.height() as u64);
    let back = data.to_polars().unwrap();
    assert_eq!(back.schema(), frame.schema());
    assert!(back.equals_missing(frame), "{back} is not {frame}");
}

#[test]
fn every_type_comes_back_equal() {
    check(&every_type());
}

#[test]
fn slices_empty_frames_and_several_chunks_come_back_equal() {
    let whole = every_type();
    check(&whole.slice(1, 2));
    check(&whole.slice(0, 0));
    check(&whole.vstack(&whole).unwrap().vstack(&whole.slice(1, 1)).unwrap());
    check(&DataFrame::empty());
    check(&DataFrame::empty_with_height(4));
}

#[test]
fn columns_cut_into_different_chunks_come_back_equal() {
    let mut left = Series::new("a".into(), [1_i64, 2]);
    left.append(&Series::new("a".into(), [3_i64])).unwrap();
    let frame = DataFrame::new(3, vec![left.into(), Series::new("b".into(), ["x", "y", "z"]).into()]).unwrap();
    check(&frame);
    assert_eq!(Dataset::from_polars(frame).unwrap().batches().unwrap().count(), 1);
}

#[test]
fn chunks_become_batches() {
    let frame = every_type();
    let twice = frame.vstack(&frame).unwrap();
    let sizes = |data: Dataset| data.batches().unwrap().map(|b| b.unwrap().num_rows()).collect::<Vec<_>>();
    assert_eq!(sizes(Dataset::from_polars(twice).unwrap()), [3, 3]);
}

#[test]
fn a_scalar_column_is_spelled_out() {
    let scalar = Column::new_scalar("one".into(), polars::prelude::Scalar::from(7_i64), 3);
    let frame = DataFrame::new(3, vec![Series::new("a".into(), [1_i64, 2, 3]).into(), scalar]).unwrap();
    let back = Dataset::from_polars(frame).unwrap().to_batch().unwrap();
    assert_eq!(back.column(1).as_ref(), &Int64Array::from(vec![7, 7, 7]));
}

#[test]
fn categories_can_be_written_by_every_sink() {
    let folder = tempfile::tempdir().unwrap();
    let nested = cast(
        "nested",
        Series::new("".into(), [Series::new("".into(), ["low"]), Series::new("".into(), ["mid", "low"])]),
        &DataType::List(Box::new(categorical())),
    );
    let flat = cast("flat", Series::new("".into(), [Some("high"), None]), &categorical());
    let level = cast("level", Series::new("".into(), ["low", "high"]), &enumeration());
    let data = Dataset::from_polars(DataFrame::new(2, vec![flat.clone().into(), level.into(), nested.into()]).unwrap())
        .unwrap();
    let path = folder.path().join("categories.parquet");
    data.write_to(&ParquetSink::new(&path)).unwrap();
    let read = Dataset::from_source(Arc::new(ParquetSource::open(&path).unwrap())).unwrap();
    assert!(read.to_polars().unwrap().equals_missing(&data.to_polars().unwrap()));
    let flat = Dataset::from_polars(one_column(flat)).unwrap();
    flat.write_to(&CsvSink::new(folder.path().join("flat.csv"))).unwrap();
}

#[test]
fn an_enumeration_that_no_longer_holds_its_values_is_refused_by_name() {
    let level = cast("level", Series::new("".into(), ["low", "high"]), &enumeration());
    let data = Dataset::from_polars(one_column(level)).unwrap();
    let keys = arrow::array::UInt8Array::from(vec![0, 1]);
    let masked = arrow::array::DictionaryArray::new(keys, Arc::new(StringArray::from(vec!["***", "low"])));
    let batch = RecordBatch::try_new(data.schema().arrow().clone(), vec![Arc::new(masked)]).unwrap();
    let outcome = held(batch).to_polars();
    assert!(matches!(&outcome, Err(Error::InvalidData { what, .. }) if what.contains("`level`")), "{outcome:?}");
}

#[test]
fn what_is_nested_and_has_no_twin_comes_back_as_its_neighbour() {
    let lists = |inner: Series| Series::new("x".into(), [inner.clone(), inner.slice(0, 0)]);
    let nulls = one_column(lists(Series::new_null("".into(), 2)));
    let back = Dataset::from_polars(nulls).unwrap().to_polars().unwrap();
    assert_eq!(*back.column("x").unwrap().dtype(), DataType::List(Box::new(DataType::Boolean)));
    assert_eq!(back.column("x").unwrap().list().unwrap().get_as_series(0).unwrap().null_count(), 2);
    let levels = lists(cast("", Series::new("".into(), ["high", "low"]), &enumeration()));
    let back = Dataset::from_polars(one_column(levels)).unwrap().to_polars().unwrap();
    assert_eq!(*back.column("x").unwrap().dtype(), DataType::List(Box::new(categorical())));
    let texts = back.column("x").unwrap().cast(&DataType::List(Box::new(DataType::String))).unwrap();
    let first = texts.list().unwrap().get_as_series(0).unwrap();
    assert_eq!(first.str().unwrap().iter().collect::<Vec<_>>(), [Some("high"), Some("low")]);
}

#[test]
fn a_wide_integer_that_arrow_lacks_is_refused_by_name() {
    let frame = one_column(Series::new_null("wide".into(), 1));
    let wide = frame.lazy().select([pl::col("wide").cast(DataType::Int128)]).collect();
    // Without polars' feature for it the cast itself is refused, which is as good.
    if let Ok(frame) = wide {
        assert!(Dataset::from_polars(frame).is_err());
    }
}
