use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float32Array, ListArray, StructArray};
use arrow::datatypes::{DataType, Field, Float32Type, Float64Type, Int64Type, Schema as ArrowSchema};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::Dataset;
use crate::schema::Sensitivity;
use crate::source::DataSink;
use crate::source::random::tables;
use crate::time::EventTime;

fn file(text: impl AsRef<[u8]>) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl");
    fs::write(&path, text).unwrap();
    (folder, path)
}

fn schema(columns: &[(&str, DataType)]) -> Schema {
    let fields = columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    Schema::new(ArrowSchema::new(fields.collect::<Vec<_>>())).unwrap()
}

fn rows(source: &JsonSource) -> Result<RecordBatch> {
    Dataset::collect(source.scan(&ScanRequest::all())?)?.to_batch()
}

fn types(text: &str) -> Vec<(String, DataType)> {
    let (_folder, path) = file(text);
    let source = JsonSource::open(&path).unwrap();
    source.schema.arrow().fields().iter().map(|f| (f.name().clone(), f.data_type().clone())).collect()
}

#[track_caller]
fn check(text: &str, expected: &[(&str, DataType)]) {
    let expected: Vec<_> = expected.iter().map(|(name, data_type)| ((*name).to_owned(), data_type.clone())).collect();
    assert_eq!(types(text), expected, "{text}");
}

fn list(of: DataType) -> DataType {
    DataType::List(Arc::new(Field::new("item", of, true)))
}

fn object(members: &[(&str, DataType)]) -> DataType {
    let members = members.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    DataType::Struct(members.collect::<Vec<_>>().into())
}

#[test]
fn columns_are_in_the_order_of_their_first_appearance() {
    use DataType::{Boolean, Float64, Int64, Utf8};
    check("{\"b\":1,\"a\":2}\n{\"c\":true,\"a\":0.5}", &[("b", Int64), ("a", Float64), ("c", Boolean)]);
    check("{\"a\":null}\n{\"a\":null}", &[("a", Utf8)]);
    check("{\"a\":\"1\"}\n{\"a\":\"2\"}", &[("a", Utf8)]);
    check("{\"a\":\"2024-01-01\"}", &[("a", DataType::Date32)]);
    check("{\"a\":\"2024-01-01\"}\n{\"a\":\"2024-01-01T01:02:03+07:00\"}", &[("a", EventTime::data_type())]);
    check("{\"a\":\"2024-01-01\"}\n{\"a\":\"soon\"}", &[("a", Utf8)]);
    check("\u{feff}{\"\":1}\r\n", &[("", Int64)]);
}

#[test]
fn lists_and_objects_are_columns_too() {
    use DataType::{Float64, Int64, Utf8};
    check("{\"a\":[1,2.5]}\n{\"a\":[]}\n{\"a\":null}", &[("a", list(Float64))]);
    check("{\"a\":[]}", &[("a", list(Utf8))]);
    check("{\"a\":{\"x\":1}}\n{\"a\":{\"y\":\"t\",\"x\":2}}", &[("a", object(&[("x", Int64), ("y", Utf8)]))]);
    check("{\"a\":[{\"x\":[1]},{\"z\":null}]}", &[("a", list(object(&[("x", list(Int64)), ("z", Utf8)])))]);
    for clash in [
        "{\"a\":1}\n{\"a\":[1]}",
        "{\"a\":[1]}\n{\"a\":{}}",
        "{\"a\":[1,[2]]}",
        "{\"a\":{\"x\":1}}\n{\"a\":{\"x\":{}}}",
    ] {
        let (_folder, path) = file(clash);
        let error = JsonSource::open(&path).unwrap_err();
        assert!(
            matches!(&error, Error::InvalidData { what, .. } if what.contains("t.jsonl") && what.contains("`a`")),
            "{error}"
        );
    }
}

#[test]
fn a_column_of_several_kinds_is_text_that_says_so() {
    let (_folder, path) =
        file("{\"a\":1}\n{\"a\":\"x\"}\n{\"a\":true}\n{\"a\":18446744073709551615}\n{\"a\":0.25}\n{}\n");
    let source = JsonSource::open(&path).unwrap();
    assert!(source.inference().unwrap().columns[0].mixed);
    let batch = rows(&source).unwrap();
    let cells: Vec<_> = batch.column(0).as_string::<i32>().iter().collect();
    assert_eq!(cells, [Some("1"), Some("x"), Some("true"), Some("18446744073709551615"), Some("0.25"), None]);
    // A schema that was given takes nothing for something else.
    let strict = JsonSource::builder(&path).schema(schema(&[("a", DataType::Utf8)])).build().unwrap();
    let error = rows(&strict).unwrap_err().to_string();
    assert!(error.contains("line 1") && error.contains("not text"), "{error}");
}

#[test]
fn numbers_must_fit_their_type_exactly() {
    let fits = |text: &str, data_type: &DataType| {
        let (_folder, path) = file(format!("{{\"a\":{text}}}"));
        rows(&JsonSource::builder(&path).schema(schema(&[("a", data_type.clone())])).build().unwrap()).is_ok()
    };
    for (data_type, good, bad) in [
        (DataType::Int8, ["-128", "127", "1.0"], ["128", "1.5", "\"1\""]),
        (DataType::UInt64, ["0", "18446744073709551615", "9007199254740992.0"], ["-1", "18446744073709551616", "true"]),
        (DataType::Int64, ["-9223372036854775808", "0", "1e3"], ["9223372036854775808", "1e300", "[1]"]),
        (DataType::Float32, ["3.4028235e38", "1", "-0.0"], ["3.5e38", "\"NaN\"", "{}"]),
        (DataType::Boolean, ["true", "false", "null"], ["1", "\"true\"", "0"]),
        (DataType::Date32, ["\"2024-02-29\"", "null", "\"0001-01-01\""], ["\"2023-02-29\"", "19782", "\"2024-1-1\""]),
    ] {
        assert!(good.iter().all(|text| fits(text, &data_type)), "{data_type}: {good:?}");
        assert!(!bad.iter().any(|text| fits(text, &data_type)), "{data_type}: {bad:?}");
    }
}

#[test]
fn lines_that_do_not_fit_go_to_the_quarantine() {
    let text = b"{\"a\":1}\n[1]\n{\"a\":\"x\"}\n{\"a\":1,\"b\":2}\n{\"a\":2\n\n{\"a\":\xFF}\n{\"a\":1,\"a\":1}\n{}\n";
    let (_folder, path) = file(text);
    let aside = Quarantine::keeping(100);
    let source =
        JsonSource::builder(&path).schema(schema(&[("a", DataType::Int64)])).quarantine(aside.clone()).build().unwrap();
    for _ in 0..2 {
        let batch = rows(&source).unwrap();
        assert_eq!(batch.column(0).as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), [Some(1), None]);
        let met: Vec<_> =
            aside.rows().iter().map(|r| (r.line, r.column.clone().unwrap_or_default(), r.reason.clone())).collect();
        let expected = [
            (2, "", "not a JSON object"),
            (3, "a", "`x` is not of type Int64"),
            (4, "b", "no column of the schema"),
            (5, "", "the JSON object is cut off"),
            (7, "", "not UTF-8"),
            (8, "", "a key is there twice"),
        ];
        assert_eq!(met, expected.map(|(line, column, reason)| (line, column.to_owned(), reason.to_owned())));
    }
    assert_eq!(aside.rows()[0].raw, "[1]");
}

#[test]
fn values_are_not_quoted_where_any_column_is_personal() {
    let (_folder, path) = file("{\"phone\":\"x\",\"id\":\"0901234567\"}\n0901234567 {\"oops\"\n");
    let columns = schema(&[("id", DataType::Int64), ("phone", DataType::Utf8)]);
    let columns = columns.with_sensitivity("phone", Sensitivity::Personal).unwrap();
    let aside = Quarantine::keeping(9);
    let source = JsonSource::builder(&path).schema(columns).quarantine(aside.clone()).build().unwrap();
    rows(&source).unwrap();
    assert_eq!(aside.count(), 2);
    assert!(aside.rows().iter().all(|row| !row.reason.contains("0901234567")), "{:?}", aside.rows());
}

#[test]
fn nesting_is_bounded() {
    let deep = format!("{{\"a\":{}1{}}}\n", "[".repeat(200), "]".repeat(200));
    let (_folder, path) = file("{\"a\":1}\n".to_owned() + &deep);
    let error = rows(&JsonSource::open(&path).unwrap()).unwrap_err().to_string();
    assert!(error.contains("line 2"), "{error}");
}

#[test]
fn keys_may_come_in_any_order_and_number() {
    let names: Vec<String> = (0..300).map(|i| format!("k{i}")).collect();
    let line = |order: &mut dyn Iterator<Item = usize>| {
        let members: Vec<_> = order.map(|i| format!("\"{}\":{i}", names[i])).collect();
        format!("{{{}}}\n", members.join(","))
    };
    let text = line(&mut (0..300)) + &line(&mut (0..300).rev()) + &line(&mut (0..300).step_by(7));
    let (_folder, path) = file(text);
    let batch = rows(&JsonSource::open(&path).unwrap()).unwrap();
    for (index, array) in batch.columns().iter().enumerate() {
        let third = (index % 7 == 0).then_some(index as i64);
        let expected = [Some(index as i64), Some(index as i64), third];
        assert_eq!(array.as_primitive::<Int64Type>().iter().collect::<Vec<_>>(), expected, "k{index}");
    }
}

#[test]
fn objects_whose_members_have_one_name_are_refused() {
    let (folder, path) = file("{}");
    let twice = schema(&[("a", object(&[("x", DataType::Int64), ("x", DataType::Int64)]))]);
    for refused in [
        JsonSink::new(&path).begin(&twice).map(|_| ()),
        JsonSource::builder(&path).schema(twice.clone()).build().map(|_| ()),
    ] {
        assert!(matches!(&refused, Err(Error::Schema { column, .. }) if column == "a"), "{refused:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn floats_of_32_bits_are_read_back_by_way_of_64() {
    let odd = [7.038531e-26_f32, f32::MAX, f32::MIN, 1e-45, 0.1];
    let (_folder, path) = file("");
    let batch = RecordBatch::try_from_iter([("x", Arc::new(Float32Array::from(odd.to_vec())) as ArrayRef)]).unwrap();
    let data = Dataset::from_batches([batch]).unwrap();
    data.write_to(&JsonSink::new(&path)).unwrap();
    assert!(fs::read_to_string(&path).unwrap().contains("{\"x\":0.1}"), "the others are as short as can be");
    let source = JsonSource::builder(&path).schema(data.schema().clone()).build().unwrap();
    assert_eq!(rows(&source).unwrap().column(0).as_primitive::<Float32Type>().values(), &odd);
}

#[test]
fn floats_as_other_programs_spell_them() {
    let (_folder, path) = file("{\"x\":1E+2}\n{\"x\":-0}\n{\"x\":0.1e-2}\n{\"x\":3}\n");
    let batch = rows(&JsonSource::builder(&path).schema(schema(&[("x", DataType::Float64)])).build().unwrap()).unwrap();
    assert_eq!(batch.column(0).as_primitive::<Float64Type>().values(), &[100.0, 0.0, 0.001, 3.0]);
}

/// A list and an object of the columns of `batch`, and the text alone.
fn nested(batch: &RecordBatch) -> RecordBatch {
    let fields = batch.schema().fields().clone();
    let valid = (0..batch.num_rows()).map(|row| row % 3 != 1).collect::<Vec<_>>();
    let object =
        StructArray::try_new_with_length(fields, batch.columns().to_vec(), Some(valid.into()), batch.num_rows());
    let texts: Vec<Option<&str>> = batch.column_by_name("text").unwrap().as_string::<i32>().iter().collect();
    let mut lists = arrow::array::ListBuilder::new(arrow::array::StringBuilder::new());
    for (row, text) in texts.iter().enumerate() {
        if row % 4 == 3 {
            lists.append_null();
        } else {
            lists.append_value(std::iter::repeat_n(*text, row % 4));
        }
    }
    let lists: ListArray = lists.finish();
    RecordBatch::try_from_iter_with_nullable([
        ("list", Arc::new(lists) as ArrayRef, true),
        ("object", Arc::new(object.unwrap()), true),
    ])
    .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_written_is_read_back_exactly(batch in tables(true), batch_rows in 1_usize..8) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.jsonl");
        for batch in [nested(&batch), batch] {
            let data = Dataset::from_batches([batch]).unwrap();
            data.write_to(&JsonSink::new(&path)).unwrap();
            let source = JsonSource::builder(&path).schema(data.schema().clone()).build().unwrap();
            let read = Dataset::collect(source.scan(&ScanRequest::all().batch_rows(batch_rows)).unwrap()).unwrap();
            prop_assert_eq!(read.digest().unwrap(), data.digest().unwrap());
        }
    }

    #[test]
    fn no_bytes_make_it_panic(pieces in proptest::collection::vec(prop_oneof![
        Just("{"), Just("}"), Just("\"a\""), Just(":"), Just(","), Just("["), Just("]"), Just("\n"), Just("1"), Just("-"), Just("\u{1}"),
    ], 0..30)) {
        let (_folder, path) = file(pieces.concat());
        if let Ok(source) = JsonSource::open(&path) {
            let _ = rows(&source);
        }
    }
}
