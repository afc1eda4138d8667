//! Tables of odd shapes go through every format whole, or are refused before anything can be seen.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use mlops_core::arrow::array::{
    Array, ArrayRef, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int64Array, RecordBatch,
    RecordBatchOptions, StringArray, TimestampMicrosecondArray, TimestampNanosecondArray, UInt64Array, new_null_array,
};
use mlops_core::arrow::datatypes::{DataType, Field, Schema as ArrowSchema, TimeUnit};
use mlops_core::source::{
    self, CsvSource, DataSource, FileFormat, FilesSink, FilesSource, IpcSource, JsonSource, Quarantine, ScanRequest,
};
use mlops_core::{Dataset, Error, Result, Schema};

use crate::sources::listing;

const NAMES: [&str; 5] = ["t.csv", "t.jsonl.zst", "t.parquet", "t.arrow", "t.arrows"];

fn table(columns: impl IntoIterator<Item = (String, ArrayRef)>) -> Dataset {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    Dataset::from_batches([RecordBatch::try_from_iter_with_nullable(columns).unwrap()]).unwrap()
}

fn one(array: impl Array + 'static) -> Dataset {
    table([("x".to_owned(), Arc::new(array) as ArrayRef)])
}

/// Opens `path` with the schema of `data`, which text does not keep.
fn open(path: &Path, data: &Dataset) -> Result<Dataset> {
    let (name, schema) = (path.file_name().unwrap().to_str().unwrap(), data.schema().clone());
    let source: Arc<dyn DataSource> = match FileFormat::of(name)? {
        FileFormat::Csv => Arc::new(CsvSource::builder(path).schema(schema).build()?),
        FileFormat::Tsv => Arc::new(CsvSource::builder(path).delimiter(b'\t').schema(schema).build()?),
        FileFormat::JsonLines => Arc::new(JsonSource::builder(path).schema(schema).build()?),
        _ => source::open(path)?,
    };
    Dataset::from_source(source)
}

/// What may become of a table in a format.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fate {
    Whole,
    /// A type that the format has no words for.
    Schema,
    /// A value that it has no words for.
    Value,
}

use Fate::{Schema as NoType, Value, Whole};

/// Every table with what becomes of it as CSV, as JSON lines, as Parquet and as Arrow IPC.
fn tables() -> Vec<(&'static str, Dataset, [Fate; 4])> {
    let types = [
        DataType::Boolean,
        DataType::Int64,
        DataType::Float64,
        DataType::Utf8,
        DataType::Date32,
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())),
    ];
    let nulls = types.iter().map(|data_type| (format!("{data_type}"), new_null_array(data_type, 3)));
    let constant = [
        ("a".to_owned(), Arc::new(Int64Array::from(vec![7; 5_000])) as ArrayRef),
        ("b".to_owned(), Arc::new(StringArray::from(vec!["same"; 5_000]))),
        ("c".to_owned(), Arc::new(BooleanArray::from(vec![true; 5_000]))),
    ];
    let decimals = |values: Vec<i128>, precision, scale| {
        one(Decimal128Array::from(values).with_precision_and_scale(precision, scale).unwrap())
    };
    // 10^38 - 1 is the greatest number of 38 digits.
    let nines = 10_i128.pow(38) - 1;
    let year = |micros: i64| one(TimestampMicrosecondArray::from(vec![Some(micros), None]).with_timezone("UTC"));
    vec![
        ("nulls alone", table(nulls), [Whole; 4]),
        ("a null type", one(mlops_core::arrow::array::NullArray::new(3)), [NoType, NoType, Whole, Whole]),
        ("one value over and over", table(constant), [Whole; 4]),
        ("no rows", one(Int64Array::from(Vec::<i64>::new())), [Whole; 4]),
        ("infinities", one(Float64Array::from(vec![f64::INFINITY, f64::NEG_INFINITY])), [Whole, Value, Whole, Whole]),
        ("NaN", one(Float32Array::from(vec![f32::NAN, 1.0])), [Whole, Value, Whole, Whole]),
        ("the ends of floats", one(Float64Array::from(vec![f64::MAX, f64::MIN, 5e-324, -0.0])), [Whole; 4]),
        ("the ends of whole numbers", one(Int64Array::from(vec![i64::MIN, i64::MAX])), [Whole; 4]),
        ("the end of natural numbers", one(UInt64Array::from(vec![u64::MAX, 0])), [Whole; 4]),
        ("decimals of 38 digits", decimals(vec![nines, -nines, 0], 38, 10), [NoType, NoType, Whole, Whole]),
        ("decimals of all places", decimals(vec![nines, -1], 38, 38), [NoType, NoType, Whole, Whole]),
        ("days beyond the calendar", one(Date32Array::from(vec![i32::MIN, i32::MAX])), [Value, Value, Whole, Whole]),
        ("times beyond the calendar", year(i64::MAX), [Value, Value, Whole, Whole]),
        ("times before the calendar", year(i64::MIN), [Value, Value, Whole, Whole]),
        (
            "nanoseconds to the end",
            one(TimestampNanosecondArray::from(vec![i64::MIN, i64::MAX, 1])),
            [Value, Value, Whole, Whole],
        ),
        ("a text of a megabyte", one(StringArray::from(vec!["é".repeat(1 << 19)])), [Whole; 4]),
        (
            "a text of every letter below 128",
            one(StringArray::from(vec![(0..128).map(char::from).collect::<String>()])),
            [Whole; 4],
        ),
    ]
}

#[test]
fn odd_tables_come_back_whole_or_leave_nothing() {
    let mut others = Vec::new();
    for (what, data, fates) in tables() {
        for name in NAMES {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join(name);
            let fate = fates[match FileFormat::of(name).unwrap() {
                FileFormat::Csv | FileFormat::Tsv => 0,
                FileFormat::JsonLines => 1,
                FileFormat::Parquet => 2,
                _ => 3,
            }];
            let found = match data.write_to(source::create(&path).unwrap().as_ref()) {
                Err(Error::Schema { .. }) => NoType,
                Err(Error::InvalidData { what, .. }) if what.contains(name) => Value,
                Err(error) => panic!("{what} as {name}: {error:?}"),
                Ok(_) => {
                    let back = open(&path, &data).unwrap_or_else(|error| panic!("{what} as {name}: {error:?}"));
                    assert_eq!(back.digest().unwrap(), data.digest().unwrap(), "{what} as {name}");
                    Whole
                }
            };
            if found != fate {
                others.push(format!("{what} as {name}: {found:?}, not {fate:?}"));
            }
            assert_eq!(listing(folder.path()).len(), usize::from(found == Whole), "{what} as {name}");
        }
    }
    assert!(others.is_empty(), "{others:#?}");
}

/// CSV of as many columns is read in `hostile`.
#[test]
fn ten_thousand_columns_come_back() {
    let columns = (0..10_000).map(|n| (format!("c{n}"), Arc::new(Int64Array::from(vec![Some(n), None])) as ArrayRef));
    let data = table(columns);
    let folder = tempfile::tempdir().unwrap();
    for name in ["t.jsonl.zst", "t.parquet", "t.arrow"] {
        let path = folder.path().join(name);
        data.write_to(source::create(&path).unwrap().as_ref()).unwrap();
        assert_eq!(open(&path, &data).unwrap().digest().unwrap(), data.digest().unwrap(), "{name}");
    }
}

#[test]
fn a_table_without_columns_is_refused_where_its_rows_could_not_be_counted() {
    let options = RecordBatchOptions::new().with_row_count(Some(3));
    let empty = Arc::new(ArrowSchema::empty());
    let batch = RecordBatch::try_new_with_options(empty, vec![], &options).unwrap();
    let data = Dataset::from_batches([batch]).unwrap();
    for name in NAMES {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        match data.write_to(source::create(&path).unwrap().as_ref()) {
            Err(error) => assert!(matches!(error, Error::Schema { .. }), "{name}: {error:?}"),
            Ok(_) => assert_eq!(open(&path, &data).unwrap().num_rows().unwrap(), 3, "{name}"),
        }
    }
}

#[test]
fn two_columns_of_one_name_are_named_in_every_format() {
    let folder = tempfile::tempdir().unwrap();
    let arrow = Arc::new(ArrowSchema::new(vec![Field::new("id", DataType::Int64, true); 2]));
    let ids = Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    let twice = RecordBatch::try_new(arrow.clone(), vec![ids.clone(), ids]).unwrap();
    let path = |name: &str| folder.path().join(name);
    let file = |name: &str| fs::File::create(path(name)).unwrap();
    let mut writer = mlops_core::arrow::ipc::writer::FileWriter::try_new(file("t.arrow"), &arrow).unwrap();
    writer.write(&twice).and_then(|()| writer.finish()).unwrap();
    let mut writer = mlops_core::arrow::ipc::writer::StreamWriter::try_new(file("t.arrows"), &arrow).unwrap();
    writer.write(&twice).and_then(|()| writer.finish()).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file("t.parquet"), arrow, None).unwrap();
    writer.write(&twice).unwrap();
    writer.close().unwrap();
    fs::write(path("t.csv"), "id,id\n1,2\n").unwrap();
    fs::write(path("t.jsonl"), "{\"id\":1,\"id\":2}\n").unwrap();
    for name in ["t.arrow", "t.arrows", "t.parquet", "t.csv", "t.jsonl"] {
        let source = match name {
            // The sniffer behind `open` takes such a line for rows and not for names.
            "t.csv" => CsvSource::builder(path(name)).build().map(|source| Arc::new(source) as Arc<dyn DataSource>),
            _ => source::open(path(name)),
        };
        let error = source.and_then(Dataset::from_source).and_then(|data| data.num_rows()).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::InvalidData { .. }) && text.contains(name), "{name}: {error:?}");
        assert!(name == "t.jsonl" || text.contains("`id`"), "{text}");
    }
}

#[test]
fn other_encodings_are_named_and_rows_between_them_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    // Windows-1258 and UTF-8 in one file, as two exports that were put together.
    fs::write(&path, b"id,city\n1,H\xE0 N\xF4i\n2,\xC4\x90\xC3\xA0 N\xE1\xBA\xB5ng\n3,Hu\xEA\xF2\n").unwrap();
    let schema = Schema::new(ArrowSchema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("city", DataType::Utf8, true),
    ]));
    let aside = Quarantine::keeping(9);
    let settings = CsvSource::builder(&path).schema(schema.unwrap()).quarantine(aside.clone());
    let rows = Dataset::collect(settings.build().unwrap().scan(&ScanRequest::all()).unwrap()).unwrap();
    assert_eq!(rows.num_rows().unwrap(), 1);
    let kept: Vec<_> = aside.rows().into_iter().map(|row| (row.line, row.reason.contains("not UTF-8"))).collect();
    assert_eq!(kept, [(2, true), (4, true)]);
    for (name, mark) in [("t.csv", b"\xFF\xFE".as_slice()), ("t.csv", b"\xFE\xFF"), ("t.jsonl", b"\xFF\xFE")] {
        fs::write(folder.path().join(name), [mark, b"i\0d\0\n\0"].concat()).unwrap();
        let error = source::open(folder.path().join(name)).map(|_| ()).unwrap_err();
        assert!(error.to_string().contains("UTF-16"), "{name}: {error}");
    }
}

#[test]
fn folders_are_named_after_values_that_look_like_paths_and_nothing_leaves_the_place() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("table");
    let tricks = ["../../x", "/etc/passwd", ".", "..", "", "a/b", "a\\b", "a\0b", "%2e%2e", "C:", "~", "-rf"];
    let data = table([
        ("id".to_owned(), Arc::new(Int64Array::from_iter_values(0..tricks.len() as i64)) as ArrayRef),
        ("../by".to_owned(), Arc::new(StringArray::from(tricks.to_vec()))),
    ]);
    let sink = FilesSink::builder(&place).partition_by(["../by"]).build().unwrap();
    data.write_to(&sink).unwrap();
    assert_eq!(listing(folder.path()), ["table"]);
    let back = FilesSource::builder(&place).schema(data.schema().clone()).build().unwrap();
    let back = Dataset::from_source(Arc::new(back)).unwrap().to_batch().unwrap();
    let named = back.column_by_name("../by").unwrap();
    let mut found: Vec<_> = mlops_core::arrow::array::AsArray::as_string::<i32>(named).iter().flatten().collect();
    found.sort_unstable();
    let mut expected = tricks;
    expected.sort_unstable();
    assert_eq!(found, expected);
    let long = table([
        ("id".to_owned(), Arc::new(Int64Array::from(vec![1])) as ArrayRef),
        ("by".to_owned(), Arc::new(StringArray::from(vec!["x".repeat(10_000)]))),
    ]);
    let error = long.write_to(&FilesSink::builder(folder.path().join("u")).partition_by(["by"]).build().unwrap());
    assert!(matches!(error, Err(Error::InvalidData { .. })), "{error:?}");
    assert_eq!(listing(folder.path()), ["table"]);
}

#[test]
fn arrow_that_is_cut_off_anywhere_gives_whole_batches_or_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = one(Int64Array::from_iter_values(0..1_000));
    for name in ["t.arrow", "t.arrows"] {
        let path = folder.path().join(name);
        data.write_to(source::create(&path).unwrap().as_ref()).unwrap();
        let whole = fs::read(&path).unwrap();
        for length in (0..whole.len()).step_by((whole.len() / 300).max(1)) {
            fs::write(&path, &whole[..length]).unwrap();
            match IpcSource::open(&path).and_then(|source| Dataset::from_source(Arc::new(source))?.num_rows()) {
                Ok(rows) => assert!(rows == 0 || rows == 1_000, "{name} cut at {length}: {rows} rows"),
                Err(Error::InvalidData { what, .. }) => assert!(what.contains(name), "{what}"),
                Err(error) => panic!("{name} cut at {length}: {error:?}"),
            }
        }
    }
}
