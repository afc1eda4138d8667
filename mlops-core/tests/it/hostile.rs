//! Whatever bytes a file holds, reading it ends in rows or in an error that says what is wrong with the data.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
use mlops_core::source::{
    self, CsvSource, DataSource, FileFormat, FilesSource, JsonSource, Quarantine, RECORD_BYTES_MAX, ScanRequest,
};
use mlops_core::{Dataset, Error, Result};
use proptest::prelude::*;

use crate::sources::{flat, nested};

/// One change to the bytes of a file; places are taken modulo its length.
#[derive(Clone, Debug)]
enum Mutation {
    Set(usize, u8),
    Flip(usize, u8),
    Cut(usize),
    Drop(usize, usize),
    Double(usize, usize),
    Number(usize, u64),
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let at = any::<usize>;
    let odd =
        prop_oneof![Just(b'"'), Just(b','), Just(b'\n'), Just(0), Just(0xFF), Just(b'{'), Just(b'-'), any::<u8>()];
    let numbers = prop_oneof![Just(u64::MAX), Just(i64::MAX as u64), Just(1 << 31), Just(0), any::<u64>()];
    prop_oneof![
        (at(), odd).prop_map(|(at, byte)| Mutation::Set(at, byte)),
        (at(), 0..8_u8).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        at().prop_map(Mutation::Cut),
        (at(), 1..40_usize).prop_map(|(at, length)| Mutation::Drop(at, length)),
        (at(), 1..40_usize).prop_map(|(at, length)| Mutation::Double(at, length)),
        (at(), numbers).prop_map(|(at, number)| Mutation::Number(at, number)),
    ]
}

fn apply(bytes: &mut Vec<u8>, mutation: &Mutation) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    let range = |at: usize, n: usize| at % length..(at % length + n).min(length);
    match *mutation {
        Mutation::Set(at, byte) => bytes[at % length] = byte,
        Mutation::Flip(at, bit) => bytes[at % length] ^= 1 << bit,
        Mutation::Cut(at) => bytes.truncate(at % length),
        Mutation::Drop(at, n) => drop(bytes.drain(range(at, n))),
        Mutation::Double(at, n) => {
            let piece = bytes[range(at, n)].to_vec();
            bytes.splice(at % length..at % length, piece);
        }
        Mutation::Number(at, number) => {
            let place = range(at, 8);
            let size = place.len();
            bytes[place].copy_from_slice(&number.to_le_bytes()[..size]);
        }
    }
}

/// Reads everything there is, and counts it.
fn read(path: &Path) -> Result<u64> {
    let mut rows = 0;
    for batch in source::open(path)?.scan(&ScanRequest::all())? {
        rows += batch?.num_rows() as u64;
    }
    Ok(rows)
}

/// Writes what `mutations` make of `whole`, and reads it.
fn survives(name: &str, whole: &[u8], mutations: &[Mutation]) -> Result<(), TestCaseError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    let mut bytes = whole.to_vec();
    mutations.iter().for_each(|mutation| apply(&mut bytes, mutation));
    fs::write(&path, &bytes).unwrap();
    if let Err(error) = read(&path) {
        let about_data = matches!(&error, Error::InvalidData { what, .. } if what.contains(name));
        prop_assert!(about_data || matches!(error, Error::Schema { .. }), "{}: {:?}", name, error);
    }
    Ok(())
}

fn written(name: &str, data: &Dataset) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    data.write_to(source::create(&path).unwrap().as_ref()).unwrap();
    fs::read(&path).unwrap()
}

macro_rules! any_damage_is_survived {
    ($($test:ident: $name:literal of $data:expr;)*) => {$(
        #[test]
        fn $test() {
            let whole = written($name, &$data);
            let config = ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() };
            proptest!(config, |(mutations in prop::collection::vec(mutation(), 1..6))| {
                survives($name, &whole, &mutations)?;
            });
        }
    )*};
}

any_damage_is_survived! {
    damaged_csv_is_rows_or_an_error: "t.csv" of flat();
    damaged_packed_csv_is_rows_or_an_error: "t.csv.gz" of flat();
    damaged_zstd_is_rows_or_an_error: "t.tsv.zst" of flat();
    damaged_json_lines_are_rows_or_an_error: "t.jsonl" of nested();
    damaged_parquet_is_rows_or_an_error: "t.parquet" of nested();
    damaged_arrow_files_are_rows_or_an_error: "t.arrow" of nested();
    damaged_arrow_streams_are_rows_or_an_error: "t.arrows" of nested();
}

#[test]
fn any_bytes_at_all_are_rows_or_an_error_in_every_format() {
    let config = ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(bytes in prop::collection::vec(any::<u8>(), 0..300))| {
        for name in ["t.csv", "t.csv.gz", "t.csv.zst", "t.jsonl", "t.parquet", "t.arrow"] {
            survives(name, &bytes, &[])?;
        }
        let after_magic = [b"ARROW1\0\0".as_slice(), &bytes, b"ARROW1"].concat();
        survives("t.arrow", &after_magic, &[])?;
        let stream = [[0xFF; 4].as_slice(), &bytes].concat();
        survives("t.arrow", &stream, &[])?;
        survives("t.parquet", &[b"PAR1".as_slice(), &bytes, b"PAR1"].concat(), &[])?;
    });
}

/// Lines that no row can be made of, each with the reason that is given.
fn bad_lines() -> Vec<(String, &'static str)> {
    let deep = |open: &str, close: &str| format!("{{\"id\":{}1{}}}", open.repeat(100_000), close.repeat(100_000));
    vec![
        (deep("[", "]"), "not JSON"),
        (deep("{\"a\":", "}"), "not JSON"),
        ("[".repeat(100_000), "not JSON"),
        (format!("{{\"id\":{}}}", "9".repeat(400)), "not JSON"),
        ("{\"id\":1e999999}".to_owned(), "not JSON"),
        ("{\"id\":18446744073709551616}".to_owned(), "is not of type"),
        ("{\"id\":1,\"id\":2}".to_owned(), "a key is there twice"),
        ("{\"id\":NaN}".to_owned(), "not JSON"),
        ("{\"id\":1".to_owned(), "cut off"),
        ("{\"id\":\"\\ud800\"}".to_owned(), "not JSON"),
    ]
}

#[test]
fn hostile_json_goes_to_quarantine_and_the_rows_around_it_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.jsonl");
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(1)]));
    let schema = RecordBatch::try_from_iter_with_nullable([("id", ids, true)]).unwrap().schema();
    let schema = mlops_core::Schema::new(schema).unwrap();
    for (line, reason) in bad_lines() {
        fs::write(&path, format!("{{\"id\":1}}\n{line}\n{{\"id\":2}}\n")).unwrap();
        let aside = Quarantine::keeping(10);
        let builder = || JsonSource::builder(&path).schema(schema.clone());
        let source = builder().quarantine(aside.clone()).build().unwrap();
        let rows = Dataset::collect(source.scan(&ScanRequest::all()).unwrap()).unwrap();
        assert_eq!(rows.num_rows().unwrap(), 2, "{}", &line[..line.len().min(40)]);
        let kept = aside.rows();
        assert_eq!((kept.len(), kept[0].line), (1, 2));
        assert!(kept[0].reason.contains(reason), "{}: {}", &line[..line.len().min(40)], kept[0].reason);
        let error = Dataset::collect(builder().build().unwrap().scan(&ScanRequest::all()).unwrap()).unwrap_err();
        assert!(matches!(&error, Error::InvalidData { what, .. } if what.contains("line 2")), "{error:?}");
    }
}

#[test]
fn hostile_csv_goes_to_quarantine_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    let long = "9".repeat(1 << 16);
    let bytes = [
        b"id,name\r\n1,a\n2\n3,\"b\"x\n4,\xFF\n5,e,f\n,\n".as_slice(),
        format!("{long},g\n").as_bytes(),
        b"x,h\r\n8,\0\r\n9,\"never closed\n",
    ]
    .concat();
    fs::write(&path, &bytes).unwrap();
    let aside = Quarantine::keeping(100);
    let ids: ArrayRef = Arc::new(Int64Array::from(vec![Some(1)]));
    let names: ArrayRef = Arc::new(mlops_core::arrow::array::StringArray::from(vec!["a"]));
    let schema =
        RecordBatch::try_from_iter_with_nullable([("id", ids, false), ("name", names, true)]).unwrap().schema();
    let builder = CsvSource::builder(&path).schema(mlops_core::Schema::new(schema).unwrap());
    let source = builder.quarantine(aside.clone()).build().unwrap();
    let rows = Dataset::collect(source.scan(&ScanRequest::all()).unwrap()).unwrap();
    assert_eq!(rows.num_rows().unwrap(), 2, "rows 1 and 8: a NUL byte is text as any other");
    let kept: Vec<_> = aside.rows().into_iter().map(|row| (row.line, row.reason)).collect();
    let told = [
        (3, "1 fields where there should be 2"),
        (4, "text follows a closing quote"),
        (5, "not UTF-8"),
        (6, "3 fields"),
        (7, "null in a column without nulls"),
        (8, "is not of type Int64"),
        (9, "`x` is not of type Int64"),
        (11, "a quote is left open at the end of the file"),
    ];
    assert_eq!(kept.len(), told.len(), "{kept:?}");
    for ((line, reason), (told_line, word)) in kept.iter().zip(told) {
        assert!(*line == told_line && reason.contains(word), "{line}: {reason}, not {told_line}: {word}");
    }
}

#[test]
fn wide_tables_and_columns_without_a_value_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.csv");
    let wide = 10_000;
    let header: Vec<String> = (0..wide).map(|n| format!("c{n}")).collect();
    let row: Vec<String> = (0..wide).map(|n| if n % 2 == 0 { n.to_string() } else { String::new() }).collect();
    fs::write(&path, format!("{}\n{}\n{}\n", header.join(","), row.join(","), row.join(","))).unwrap();
    let source = CsvSource::open(&path).unwrap();
    assert_eq!(source.inference().unwrap().undetermined().len(), wide / 2);
    let batch = Dataset::collect(source.scan(&ScanRequest::all()).unwrap()).unwrap().to_batch().unwrap();
    assert_eq!((batch.num_rows(), batch.num_columns()), (2, wide));
    assert_eq!((batch.column(1).null_count(), batch.column(2).null_count()), (2, 0));
}

#[test]
fn a_line_without_end_is_refused_before_it_fills_the_memory() {
    let folder = tempfile::tempdir().unwrap();
    for (name, start) in [("t.csv", "a,b\n1,\""), ("t.jsonl", "{\"a\":1}\n{\"a\":\"")] {
        let path = folder.path().join(name);
        let mut bytes = start.as_bytes().to_vec();
        bytes.resize(RECORD_BYTES_MAX + 1_000, b'x');
        fs::write(&path, &bytes).unwrap();
        let error = read(&path).unwrap_err();
        let named = matches!(&error, Error::InvalidData { what, reason } if what.contains("line 2") && reason.contains("more than"));
        assert!(named, "{name}: {error:?}");
    }
}

#[test]
fn a_format_that_is_said_wins_over_the_name_of_the_file() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("export.dat"), "id\tname\n1\ta\n").unwrap();
    let source = FilesSource::builder(folder.path()).format(FileFormat::Tsv).build().unwrap();
    assert!(source.schema().unwrap().names().eq(["id", "name"]));
}
