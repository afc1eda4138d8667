use std::fs;

use arrow::array::{Array, AsArray, Float32Array, StringArray};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type, Schema as ArrowSchema};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::Dataset;
use crate::schema::Sensitivity;
use crate::source::random::tables;
use crate::source::{Comparison, DataSink, Predicate};

/// A file with `text`, which lives as long as the folder.
fn file(text: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn schema(columns: &[(&str, DataType)]) -> Schema {
    let fields = columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    Schema::new(ArrowSchema::new(fields.collect::<Vec<_>>())).unwrap()
}

fn rows(source: &CsvSource) -> Result<RecordBatch> {
    Dataset::collect(source.scan(&ScanRequest::all())?)?.to_batch()
}

fn texts(batch: &RecordBatch, column: &str) -> Vec<Option<String>> {
    let array = batch.column_by_name(column).unwrap();
    array.as_string::<i32>().iter().map(|text| text.map(str::to_owned)).collect()
}

/// Reads `text` as text columns in the dialect that `set` makes, and shows every cell; a null is `-`.
#[track_caller]
fn check(text: &str, set: impl Fn(CsvSourceBuilder) -> CsvSourceBuilder, expected: &[&[&str]]) {
    let (_folder, path) = file(text);
    let names = set(CsvSource::builder(&path)).build().unwrap().schema;
    let all_text = schema(&names.names().map(|name| (name, DataType::Utf8)).collect::<Vec<_>>());
    let source = set(CsvSource::builder(&path)).schema(all_text).build().unwrap();
    let batch = rows(&source).unwrap();
    let columns: Vec<_> = names.names().map(|name| texts(&batch, name)).collect();
    let found: Vec<Vec<String>> = (0..batch.num_rows())
        .map(|row| columns.iter().map(|cells| cells[row].clone().unwrap_or_else(|| "-".to_owned())).collect())
        .collect();
    assert_eq!(found, expected, "{text:?}");
}

#[test]
fn dialects_set_fields_apart() {
    let plain = |b: CsvSourceBuilder| b;
    check("a,b\n1,x y\n", plain, &[&["1", "x y"]]);
    check("a,b\n,\"\"\n", plain, &[&["-", ""]]);
    check("a;b\n1,5;\"x;y\"\n", |b| b.delimiter(b';'), &[&["1,5", "x;y"]]);
    check("a\tb\n1\t2\n", |b| b.delimiter(b'\t'), &[&["1", "2"]]);
    check("a|b\n'x|y'|'it''s'\n", |b| b.delimiter(b'|').quote(Some(b'\'')), &[&["x|y", "it's"]]);
    check("a,b\n\"x,y\n", |b| b.quote(None), &[&["\"x", "y"]]);
    check("1,2\n3,4\n", |b| b.header(false), &[&["1", "2"], &["3", "4"]]);
    check("a,b\nNA,NULL\n\"NA\",\n", |b| b.null_texts(["NA", "NULL"]), &[&["-", "-"], &["NA", ""]]);
    check("a,b\n\"say \"\"hi\"\"\",\"\"\"\"\n", plain, &[&["say \"hi\"", "\""]]);
    check("a,b\n\"two\r\nlines\",\" x \"\n", plain, &[&["two\r\nlines", " x "]]);
    check("a,b\nit\"s,5\" tall\n", plain, &[&["it\"s", "5\" tall"]]);
}

#[test]
fn marks_line_ends_and_blank_lines_are_no_content() {
    let plain = |b: CsvSourceBuilder| b;
    check("\u{feff}a,b\r\n1,2\r\n\r\n3,4", plain, &[&["1", "2"], &["3", "4"]]);
    check("\u{feff}\"a\",b\n\n1,2\n", plain, &[&["1", "2"]]);
    check("a\nx\n\ny\n", plain, &[&["x"], &["-"], &["y"]]);
    check("a,b\n1,\r\n", plain, &[&["1", "-"]]);
    check("a,b\n1,x\ry\n", plain, &[&["1", "x\ry"]]);
    check("a,,b\n1,2,3\n", plain, &[&["1", "2", "3"]]);
    let (_folder, path) = file("a,,b\n1,2,3\n");
    assert!(CsvSource::open(&path).unwrap().schema.names().eq(["a", "column_2", "b"]));
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let (_folder, path) = file("a\n1\n");
    let error = |builder: CsvSourceBuilder| builder.build().unwrap_err();
    let builder = || CsvSource::builder(&path);
    for bad in [b'\n', b'\r', 0x80, 0xFF] {
        assert!(matches!(error(builder().delimiter(bad)), Error::Invalid { setting: "delimiter", .. }));
        assert!(matches!(error(builder().quote(Some(bad))), Error::Invalid { setting: "quote", .. }));
    }
    assert!(matches!(error(builder().delimiter(b'"')), Error::Invalid { setting: "quote", .. }));
    assert!(matches!(error(builder().sample_rows(0)), Error::Invalid { setting: "sample_rows", .. }));
    assert!(matches!(error(builder().schema(schema(&[]))), Error::Invalid { setting: "schema", .. }));
    let binary = schema(&[("a", DataType::Binary)]);
    assert!(matches!(error(builder().schema(binary)), Error::Schema { column, .. } if column == "a"));
    let sink = |delimiter, null: &str| CsvSink::builder(&path).delimiter(delimiter).null_text(null).build();
    for null in
        ["0", "1e5", "NaN", "-inf", "true", "2024-01-01", "2024-01-01T00:00:00Z", "a,b", "\"", "x\n", "\u{feff}"]
    {
        assert!(matches!(sink(b',', null), Err(Error::Invalid { setting: "null_text", .. })), "{null}");
    }
    assert!(sink(b',', "NULL").is_ok() && sink(b'"', "").is_err() && sink(0xC3, "").is_err());
}

#[test]
fn a_column_without_a_name_is_not_put_into_a_header() {
    let (_folder, path) = file("old");
    let nameless = schema(&[("a", DataType::Int64), ("", DataType::Int64)]);
    assert!(matches!(CsvSink::new(&path).begin(&nameless).map(|_| ()), Err(Error::Schema { .. })));
    assert!(CsvSink::builder(&path).header(false).build().unwrap().begin(&nameless).is_ok());
    assert_eq!(fs::read(&path).unwrap(), b"old");
}

#[test]
fn types_are_inferred_from_a_bounded_sample_and_the_report_says_so() {
    let (_folder, path) = file("id,price,mixed,none,code\n1,1,true,,007\n2,2.5,3,,008\nx,3,4,,9\n");
    let source = CsvSource::builder(&path).sample_rows(2).build().unwrap();
    let types: Vec<_> = source.schema.arrow().fields().iter().map(|f| f.data_type().clone()).collect();
    assert_eq!(types, [DataType::Int64, DataType::Float64, DataType::Utf8, DataType::Utf8, DataType::Utf8]);
    let report = source.inference().unwrap();
    assert_eq!((report.rows, report.complete), (2, false));
    assert_eq!(report.undetermined(), ["none"]);
    assert_eq!(report.columns.iter().map(|c| c.mixed).collect::<Vec<_>>(), [false, false, true, false, false]);
    let error = rows(&source).unwrap_err().to_string();
    for word in ["line 4", "column `id`", "`x` is not of type Int64", "inferred from the first 2 rows"] {
        assert!(error.contains(word), "{error}");
    }
    let all = CsvSource::open(&path).unwrap();
    assert_eq!(all.inference().map(|r| (r.rows, r.complete)), Some((3, true)));
    assert_eq!(rows(&all).unwrap().num_rows(), 3);
}

#[test]
fn rows_that_fit_no_schema_do_not_spoil_the_inference() {
    let (_folder, path) = file(b"id,price\n1,2\n3\n\"x\"y,4\n\xFF,5\n6,7\n");
    let source = CsvSource::open(&path).unwrap();
    assert_eq!(source.schema.field("id").unwrap().data_type(), &DataType::Int64);
    assert_eq!(source.inference().unwrap().rows, 2);
    let aside = Quarantine::keeping(10);
    let source = CsvSource::builder(&path).quarantine(aside.clone()).build().unwrap();
    assert_eq!(rows(&source).unwrap().column(0).as_primitive::<Int64Type>().values(), &[1, 6]);
    let met: Vec<_> =
        aside.rows().iter().map(|r| (r.line, r.column.clone(), r.reason.clone(), r.raw.clone())).collect();
    let row = |line, column: Option<&str>, reason: &str, raw: &str| {
        (line, column.map(str::to_owned), reason.to_owned(), raw.to_owned())
    };
    let expected = [
        row(3, None, "1 fields where there should be 2", "3"),
        row(4, None, "text follows a closing quote", "\"x\"y,4"),
        row(5, Some("id"), "not UTF-8", "\u{fffd},5"),
    ];
    assert_eq!(met, expected);
}

#[test]
fn a_quarantine_keeps_counts_and_gives_up() {
    let text: String = (0..100).map(|i| if i % 10 == 3 { "x,y\n".to_owned() } else { format!("{i},{i}\n") }).collect();
    let (_folder, path) = file("a,b\n".to_owned() + &text);
    let ints = schema(&[("a", DataType::Int64), ("b", DataType::Int64)]);
    let open =
        |aside: &Quarantine| CsvSource::builder(&path).schema(ints.clone()).quarantine(aside.clone()).build().unwrap();
    let aside = Quarantine::keeping(4);
    let source = open(&aside);
    for _ in 0..2 {
        assert_eq!(rows(&source).unwrap().num_rows(), 90);
        assert_eq!((aside.count(), aside.rows().len()), (10, 4), "a scan begins to count anew");
    }
    let kept = aside.to_dataset().unwrap();
    assert_eq!(kept.schema().sensitivity("raw").unwrap(), Sensitivity::Secret);
    assert_eq!(kept.to_batch().unwrap().num_rows(), 4);
    assert!(!format!("{:?}", aside.rows()).contains("x,y"), "raw text is not shown");

    let strict = Quarantine::keeping(4).fail_above(3);
    let error = rows(&open(&strict)).unwrap_err().to_string();
    assert!(error.contains("line 35") && error.contains("more than 3 rows"), "{error}");

    // A quarantine judges whole rows, whatever the projection.
    let only_a = ScanRequest::all().columns(["a"]).filter(Predicate::new("a", Comparison::GtEq, 50));
    assert_eq!(Dataset::collect(source.scan(&only_a).unwrap()).unwrap().num_rows().unwrap(), 45);
    assert_eq!(aside.count(), 10);
}

#[test]
fn values_are_not_quoted_where_any_column_is_personal() {
    let (_folder, path) = file("id,phone\n0901234567,x\n");
    let personal = schema(&[("id", DataType::Boolean), ("phone", DataType::Utf8)]);
    let open = |schema: Schema| CsvSource::builder(&path).schema(schema).build().unwrap();
    assert!(rows(&open(personal.clone())).unwrap_err().to_string().contains("0901234567"));
    let personal = personal.with_sensitivity("phone", Sensitivity::Personal).unwrap();
    let error = rows(&open(personal)).unwrap_err().to_string();
    assert!(!error.contains("0901234567") && error.contains("`id`"), "{error}");
}

#[test]
fn cells_that_are_not_asked_for_are_not_judged() {
    let (_folder, path) = file("a,b\n1,x\n2,3\n");
    let ints = schema(&[("a", DataType::Int64), ("b", DataType::Int64)]);
    let source = CsvSource::builder(&path).schema(ints).build().unwrap();
    let only_a = Dataset::collect(source.scan(&ScanRequest::all().columns(["a"])).unwrap()).unwrap();
    assert_eq!(only_a.num_rows().unwrap(), 2);
    assert!(rows(&source).is_err());
}

#[test]
fn columns_are_found_by_name_and_by_place_without_a_header() {
    let (_folder, path) = file("b,a\n1,x\n");
    let turned = schema(&[("a", DataType::Utf8), ("b", DataType::Int64)]);
    let batch = rows(&CsvSource::builder(&path).schema(turned.clone()).build().unwrap()).unwrap();
    assert_eq!((texts(&batch, "a"), batch.num_columns()), (vec![Some("x".to_owned())], 2));
    fs::write(&path, "x,1\n").unwrap();
    let batch = rows(&CsvSource::builder(&path).schema(turned).header(false).build().unwrap()).unwrap();
    assert_eq!(batch.column(1).as_primitive::<Int64Type>().value(0), 1);
}

#[test]
fn floats_of_32_bits_are_rounded_once() {
    // 7.038531e-26 by way of 64 bits is the float after it; the greatest float is above itself as 64 bits spell it.
    let odd = [7.038531e-26_f32, f32::MAX, f32::MIN, f32::MIN_POSITIVE, 1e-45, 0.1];
    assert_ne!("7.038531e-26".parse::<f64>().unwrap() as f32, 7.038531e-26_f32);
    let (_folder, path) = file("");
    let batch =
        RecordBatch::try_from_iter([("x", std::sync::Arc::new(Float32Array::from(odd.to_vec())) as _)]).unwrap();
    Dataset::from_batches([batch]).unwrap().write_to(&CsvSink::new(&path)).unwrap();
    let floats = CsvSource::builder(&path).schema(schema(&[("x", DataType::Float32)])).build().unwrap();
    assert_eq!(rows(&floats).unwrap().column(0).as_primitive::<Float32Type>().values(), &odd);
    fs::write(&path, "x\n7.038531e-26\n1e39\n").unwrap();
    let aside = Quarantine::keeping(1);
    let source =
        CsvSource::builder(&path).schema(schema(&[("x", DataType::Float32)])).quarantine(aside.clone()).build();
    assert_eq!(rows(&source.unwrap()).unwrap().column(0).as_primitive::<Float32Type>().values(), &[7.038531e-26_f32]);
    assert_eq!(aside.rows()[0].line, 3, "what overflows is refused");
}

#[test]
fn a_null_text_never_swallows_a_value() {
    let (_folder, path) = file("");
    let values = StringArray::from(vec![Some("NULL"), None, Some(""), Some("null")]);
    let data = Dataset::from_batches([RecordBatch::try_from_iter_with_nullable([(
        "t",
        std::sync::Arc::new(values) as _,
        true,
    )])
    .unwrap()]);
    let data = data.unwrap();
    data.write_to(&CsvSink::builder(&path).null_text("NULL").build().unwrap()).unwrap();
    assert_eq!(fs::read_to_string(&path).unwrap(), "t\n\"NULL\"\nNULL\n\"\"\nnull\n");
    let source = CsvSource::builder(&path).null_texts(["NULL"]).schema(data.schema().clone()).build().unwrap();
    assert_eq!(rows(&source).unwrap().column(0), data.to_batch().unwrap().column(0));
}

#[test]
fn infinities_are_spelt_out_or_refused() {
    let (_folder, path) = file("x\ninf\n-Infinity\nNaN\n1e308\n");
    let batch = rows(&CsvSource::builder(&path).schema(schema(&[("x", DataType::Float64)])).build().unwrap()).unwrap();
    let values = batch.column(0).as_primitive::<Float64Type>();
    assert_eq!((values.value(0), values.value(1), values.value(3)), (f64::INFINITY, f64::NEG_INFINITY, 1e308));
    assert!(values.value(2).is_nan() && values.null_count() == 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_written_is_read_back_exactly(
        batch in tables(false),
        delimiter in prop_oneof![Just(b','), Just(b';'), Just(b'\t'), Just(b' '), Just(b'-'), Just(b'0'), Just(b'e'), Just(b':')],
        null in prop_oneof![Just(""), Just("NULL"), Just("\\N"), Just("_")],
        header in any::<bool>(),
        batch_rows in 1_usize..8,
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.csv");
        let data = Dataset::from_batches([batch]).unwrap();
        let sink = CsvSink::builder(&path).delimiter(delimiter).null_text(null).header(header).build();
        prop_assume!(sink.is_ok()); // a null text may hold the delimiter
        data.write_to(&sink.unwrap()).unwrap();
        let source = CsvSource::builder(&path).delimiter(delimiter).null_texts([null]).header(header);
        let source = source.schema(data.schema().clone()).build().unwrap();
        let read = Dataset::collect(source.scan(&ScanRequest::all().batch_rows(batch_rows)).unwrap()).unwrap();
        prop_assert_eq!(read.digest().unwrap(), data.digest().unwrap());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), Just(b','), Just(b'"'), Just(b'\n')], 0..60)) {
        let (_folder, path) = file(&bytes);
        if let Ok(source) = CsvSource::open(&path) {
            let _ = rows(&source);
        }
    }
}
