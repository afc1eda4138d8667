//! Bad input to sources and sinks is a typed error that names the thing, and nothing is half-written.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use mlops_core::arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use mlops_core::arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use mlops_core::source::{
    COLUMNS_MAX, CsvSink, CsvSource, DataSink, DataSource, ExtraColumns, JsonSink, JsonSource, NonFinite, ParquetSink,
    ParquetSource, RECORD_BYTES_MAX, ScanRequest,
};
use mlops_core::{Dataset, Error, Result, Schema};

use crate::sources::{flat, listing};

const FORMATS: [&str; 3] = ["csv", "jsonl", "parquet"];

fn open(path: &Path, schema: Option<&Schema>) -> Result<Dataset> {
    let source: Arc<dyn DataSource> = match (path.extension().and_then(|e| e.to_str()), schema) {
        (Some("csv"), None) => Arc::new(CsvSource::open(path)?),
        (Some("csv"), Some(schema)) => Arc::new(CsvSource::builder(path).schema(schema.clone()).build()?),
        (Some("jsonl"), None) => Arc::new(JsonSource::open(path)?),
        (Some("jsonl"), Some(schema)) => Arc::new(JsonSource::builder(path).schema(schema.clone()).build()?),
        (_, None) => Arc::new(ParquetSource::open(path)?),
        (_, Some(schema)) => Arc::new(ParquetSource::builder(path).schema(schema.clone()).build()?),
    };
    Dataset::from_source(source)
}

/// Opens and reads all rows.
fn read(path: &Path, schema: Option<&Schema>) -> Result<u64> {
    open(path, schema)?.num_rows()
}

fn sink(path: &Path) -> Box<dyn DataSink> {
    match path.extension().and_then(|e| e.to_str()) {
        Some("csv") => Box::new(CsvSink::new(path)),
        Some("jsonl") => Box::new(JsonSink::new(path)),
        _ => Box::new(ParquetSink::new(path)),
    }
}

fn schema(columns: &[(&str, DataType)]) -> Schema {
    let fields = columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true));
    Schema::new(ArrowSchema::new(fields.collect::<Vec<_>>())).unwrap()
}

fn table(name: &str, values: impl mlops_core::arrow::array::Array + 'static) -> Dataset {
    let array: ArrayRef = Arc::new(values);
    Dataset::from_batches([RecordBatch::try_from_iter_with_nullable([(name, array, true)]).unwrap()]).unwrap()
}

#[test]
fn places_without_a_readable_file_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for format in FORMATS {
        let missing = folder.path().join("no").join(format!("such.{format}"));
        let error = read(&missing, None).unwrap_err();
        assert!(matches!(&error, Error::NotFound { kind: "file", name } if name.ends_with(format)), "{error:?}");

        let directory = folder.path().join(format!("directory.{format}"));
        fs::create_dir(&directory).unwrap();
        for place in [directory.clone(), directory.join(".."), directory.join(".")] {
            let error = match format {
                "csv" => CsvSource::open(&place).err(),
                "jsonl" => JsonSource::open(&place).err(),
                _ => ParquetSource::open(&place).err(),
            };
            assert!(matches!(&error, Some(Error::Invalid { setting: "path", .. })), "{place:?} {error:?}");
        }
        let below = directory.join(format!("../directory.{format}/../t.{format}"));
        let other = folder.path().join(format!("t.{format}"));
        flat().write_to(sink(&below).as_ref()).unwrap();
        assert_eq!(read(&other, Some(flat().schema())).unwrap(), 8, "`..` in a path is where the system says");

        for odd in [format!("a\0b.{format}"), format!("{}.{format}", "n".repeat(10_000))] {
            let error = read(&folder.path().join(&odd), None).unwrap_err();
            assert!(matches!(&error, Error::Io { path, .. } if path.ends_with(&odd)), "{error:?}");
        }
        let through_a_file = other.join(format!("t.{format}"));
        assert!(matches!(read(&through_a_file, None), Err(Error::Io { .. })));
    }
}

#[test]
fn files_without_content_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let cases: [(&str, &[u8], &str); 11] = [
        ("empty.csv", b"", "empty"),
        ("mark.csv", b"\xEF\xBB\xBF", "empty"),
        ("wide.csv", b"\xFF\xFEa\0\n\0", "UTF-16"),
        ("empty.jsonl", b"", "no object"),
        ("blank.jsonl", b"\n  \r\n\t\n", "no object"),
        ("words.jsonl", b"1\n\"x\"\n[1]\nnull\n", "no object"),
        ("keyless.jsonl", b"{}\n{}\n", "no object"),
        ("wide.jsonl", b"\xFF\xFE{\0", "UTF-16"),
        ("empty.parquet", b"", ""),
        ("short.parquet", b"PAR1", ""),
        ("text.parquet", b"id,price\n1,2\n3,4\n", ""),
    ];
    for (name, content, word) in cases {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let error = read(&path, None).unwrap_err();
        let named =
            matches!(&error, Error::InvalidData { what, reason } if what.contains(name) && reason.contains(word));
        assert!(named, "{name}: {error:?}");
    }
    let path = folder.path().join("header.csv");
    for text in ["id,price", "id,price\n", "id,price\r\n\r\n"] {
        fs::write(&path, text).unwrap();
        let data = open(&path, None).unwrap();
        assert_eq!((data.num_rows().unwrap(), data.schema().names().collect::<Vec<_>>()), (0, vec!["id", "price"]));
    }
}

/// A file, its content, the error, and words of its message.
type Case<'a> = (&'a str, &'a [u8], fn(&Error) -> bool, &'a [&'a str]);

#[test]
fn cells_and_columns_that_do_not_fit_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let wanted = schema(&[("id", DataType::Int64), ("price", DataType::Float64)]);
    let data = |e: &Error| matches!(e, Error::InvalidData { .. });
    let shape = |e: &Error| matches!(e, Error::Schema { .. });
    let cases: [Case<'_>; 20] = [
        ("type.csv", b"id,price\n1,2\nx,3\n", data, &["type.csv", "line 3", "`id`", "Int64"]),
        ("range.csv", b"id,price\n9223372036854775808,1\n", data, &["range.csv", "line 2", "`id`"]),
        ("inf.csv", b"id,price\n1,1e999\n", data, &["inf.csv", "line 2", "`price`"]),
        ("short.csv", b"id,price\n1\n", data, &["short.csv", "line 2", "1 fields"]),
        ("long.csv", b"id,price\n1,2,3\n", data, &["long.csv", "line 2", "3 fields"]),
        ("quote.csv", b"id,price\n1,\"2\n", data, &["quote.csv", "line 2", "quote"]),
        ("after.csv", b"id,price\n\"1\"x,2\n", data, &["after.csv", "line 2", "quote"]),
        ("utf8.csv", b"id,price\n1,\xC3\x28\n", data, &["utf8.csv", "line 2", "`price`", "UTF-8"]),
        ("head.csv", b"id,pri\xFFce\n1,2\n", data, &["head.csv", "line 1", "UTF-8"]),
        ("twice.csv", b"id,price,id\n1,2,3\n", data, &["twice.csv", "line 1", "`id`", "twice"]),
        ("extra.csv", b"id,price,more\n1,2,3\n", shape, &["extra.csv", "`more`"]),
        ("lack.csv", b"id,cost\n1,2\n", shape, &["lack.csv", "`price`"]),
        (
            "type.jsonl",
            b"{\"id\":1,\"price\":2}\n{\"id\":\"1\",\"price\":3}\n",
            data,
            &["type.jsonl", "line 2", "`id`"],
        ),
        ("half.jsonl", b"{\"id\":1.5}\n", data, &["half.jsonl", "line 1", "`id`", "Int64"]),
        ("nan.jsonl", b"{\"id\":1,\"price\":NaN}\n", data, &["nan.jsonl", "line 1", "not JSON"]),
        ("huge.jsonl", b"{\"id\":1,\"price\":1e999}\n", data, &["huge.jsonl", "line 1"]),
        ("twice.jsonl", b"{\"id\":1,\"id\":2}\n", data, &["twice.jsonl", "line 1", "twice"]),
        ("extra.jsonl", b"{\"id\":1,\"more\":2}\n", data, &["extra.jsonl", "line 1", "`more`"]),
        ("utf8.jsonl", b"{\"id\":1,\"price\":\"\xC3\x28\"}\n", data, &["utf8.jsonl", "line 1", "UTF-8"]),
        ("cut.jsonl", b"{\"id\":1}\n{\"id\":", data, &["cut.jsonl", "line 2", "cut off"]),
    ];
    for (name, content, variant, words) in cases {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let error = read(&path, Some(&wanted)).unwrap_err();
        let text = error.to_string();
        assert!(variant(&error) && words.iter().all(|word| text.contains(word)), "{name}: {error:?}");
    }
    let parquet = folder.path().join("t.parquet");
    table("id", StringArray::from(vec!["1"])).write_to(&ParquetSink::new(&parquet)).unwrap();
    for (columns, column) in [(wanted.clone(), "id"), (schema(&[("price", DataType::Float64)]), "price")] {
        let error = open(&parquet, Some(&columns)).unwrap_err();
        assert!(matches!(&error, Error::Schema { column: named, .. } if named == column), "{error:?}");
    }
    let no_nulls = Schema::new(ArrowSchema::new(vec![Field::new("id", DataType::Int64, false)])).unwrap();
    for (name, content) in [("null.csv", "id\n1\n\n"), ("null.jsonl", "{\"id\":1}\n{}\n")] {
        let path = folder.path().join(name);
        fs::write(&path, content).unwrap();
        let error = read(&path, Some(&no_nulls)).unwrap_err().to_string();
        assert!(error.contains(name) && error.contains("`id`") && error.contains("null"), "{error}");
    }
    for name in ["extra.csv", "extra.jsonl"] {
        let path = folder.path().join(name);
        let rows = if name.ends_with("csv") {
            let source =
                CsvSource::builder(&path).schema(wanted.clone()).extra_columns(ExtraColumns::Ignore).build().unwrap();
            Dataset::collect(source.scan(&ScanRequest::all()).unwrap())
        } else {
            let source =
                JsonSource::builder(&path).schema(wanted.clone()).extra_columns(ExtraColumns::Ignore).build().unwrap();
            Dataset::collect(source.scan(&ScanRequest::all()).unwrap())
        };
        assert_eq!(rows.unwrap().num_rows().unwrap(), 1, "extra columns are not read when that was said");
    }
}

#[test]
fn two_columns_of_one_name_in_parquet_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("twice.parquet");
    let fields = vec![Field::new("id", DataType::Int64, true), Field::new("id", DataType::Int64, true)];
    let arrow = Arc::new(ArrowSchema::new(fields));
    let array: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let batch = RecordBatch::try_new(arrow.clone(), vec![array.clone(), array]).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(File::create(&path).unwrap(), arrow, None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let error = read(&path, None).unwrap_err().to_string();
    assert!(error.contains("twice.parquet") && error.contains("`id`"), "{error}");
}

#[test]
fn parquet_that_is_cut_off_anywhere_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    flat().write_to(&ParquetSink::builder(&path).group_rows(3).build().unwrap()).unwrap();
    let whole = fs::read(&path).unwrap();
    let opened = ParquetSource::open(&path).unwrap();
    let step = (whole.len() / 400).max(1);
    for length in (0..whole.len()).step_by(step).chain(whole.len() - 20..whole.len()) {
        fs::write(&path, &whole[..length]).unwrap();
        let errors = [read(&path, None).unwrap_err(), {
            let stream = opened.scan(&ScanRequest::all());
            stream.and_then(Dataset::collect).unwrap_err()
        }];
        for error in errors {
            let named = matches!(&error, Error::InvalidData { what, .. } if what.contains("t.parquet"));
            assert!(named, "cut at {length} of {}: {error:?}", whole.len());
        }
    }
}

#[test]
fn parquet_with_a_changed_byte_gives_rows_or_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    flat().write_to(&ParquetSink::builder(&path).group_rows(5).build().unwrap()).unwrap();
    let whole = fs::read(&path).unwrap();
    std::panic::set_hook(Box::new(|_| {})); // panics of the parquet library, which the source turns into errors
    let outcomes: Vec<_> = (0..whole.len())
        .step_by((whole.len() / 1_000).max(1))
        .map(|at| {
            let mut changed = whole.clone();
            changed[at] ^= 0xFF;
            fs::write(&path, &changed).unwrap();
            (at, std::panic::catch_unwind(|| read(&path, None)))
        })
        .collect();
    let _ = std::panic::take_hook();
    for (at, outcome) in outcomes {
        match outcome.unwrap_or_else(|_| panic!("byte {at} makes it panic")) {
            Ok(rows) => assert_eq!(rows, 8, "byte {at}"),
            Err(error) => {
                let column = matches!(&error, Error::Schema { .. });
                assert!(column || error.to_string().contains("t.parquet"), "byte {at}: {error:?}");
            }
        }
    }
}

const CHILD: &str = "MLOPS_CORE_LONG_LINE_CHILD";

/// Memory of a process is measured, so each format has one of its own.
#[test]
fn a_line_of_200_megabytes_is_refused_in_bounded_memory() {
    if let Some(path) = std::env::var_os(CHILD) {
        let text = schema(&[("a", DataType::Utf8)]);
        for schema in [None, Some(&text)] {
            let error = read(Path::new(&path), schema).unwrap_err();
            println!("REFUSED {error}");
        }
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or("0 kB");
        println!("PEAK {}", peak.trim().trim_end_matches(" kB"));
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let cases = [("plain.csv", "a\n"), ("quoted.csv", "a\n\""), ("plain.jsonl", ""), ("string.jsonl", "{\"a\":\"")];
    for (name, start) in cases {
        let path = folder.path().join(name);
        let mut file = File::create(&path).unwrap();
        file.write_all(start.as_bytes()).unwrap();
        file.set_len(200 << 20).unwrap(); // zero bytes, which take no room on disk
        let said = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "bad_input::a_line_of_200_megabytes_is_refused_in_bounded_memory", "--nocapture"])
            .env(CHILD, &path)
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let line = if name.ends_with("csv") { "line 2" } else { "line 1" };
        let refusals: Vec<_> = said.lines().filter(|l| l.starts_with("REFUSED")).collect();
        assert_eq!(refusals.len(), 2, "{said}");
        for refusal in refusals {
            let named =
                refusal.contains(name) && refusal.contains(line) && refusal.contains(&RECORD_BYTES_MAX.to_string());
            assert!(named, "{refusal}");
        }
        let peak = said.lines().find_map(|l| l.strip_prefix("PEAK ")).and_then(|kb| kb.parse::<u64>().ok()).unwrap();
        println!("{name}: peak {peak} kB");
        assert!(peak < 128 << 10, "{name}: {peak} kB");
    }
}

#[test]
fn a_record_of_exactly_the_most_bytes_is_read_and_one_more_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (name, start, end) in [("t.csv", "a\n", "\n"), ("t.jsonl", "", "\n")] {
        let path = folder.path().join(name);
        let record = |bytes: usize| match name {
            "t.csv" => "x".repeat(bytes),
            _ => format!("{{\"a\":\"{}\"}}", "x".repeat(bytes - 8)),
        };
        let write = |bytes| fs::write(&path, format!("{start}{}{end}", record(bytes))).unwrap();
        let text = schema(&[("a", DataType::Utf8)]);
        // The line end counts for JSON lines.
        let most = if name == "t.csv" { RECORD_BYTES_MAX } else { RECORD_BYTES_MAX - 1 };
        write(most);
        assert_eq!(read(&path, Some(&text)).unwrap(), 1);
        write(most + 1);
        let error = read(&path, Some(&text)).unwrap_err();
        assert!(matches!(&error, Error::InvalidData { what, .. } if what.contains(name)), "{error}");
    }
}

#[test]
fn more_columns_than_a_text_file_may_have_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let csv = folder.path().join("t.csv");
    fs::write(&csv, ",".repeat(COLUMNS_MAX)).unwrap();
    let error = read(&csv, None).unwrap_err().to_string();
    assert!(error.contains("t.csv") && error.contains("65536"), "{error}");
    fs::write(&csv, format!("a,b\n{}\n", ",".repeat(8 << 20))).unwrap();
    let error = read(&csv, None).unwrap_err().to_string();
    assert!(error.contains("line 2") && error.contains("65536"), "{error}");

    let json = folder.path().join("t.jsonl");
    let keys: Vec<String> = (0..=COLUMNS_MAX).map(|key| format!("\"k{key}\":1")).collect();
    fs::write(&json, format!("{{{}}}\n", keys.join(","))).unwrap();
    let error = read(&json, None).unwrap_err().to_string();
    assert!(error.contains("t.jsonl") && error.contains("65536"), "{error}");
    fs::write(&json, format!("{{\"deep\":{{{}}}}}\n", keys.join(",")).repeat(2)).unwrap();
    assert_eq!(read(&json, None).unwrap(), 2, "members of an object are no columns, and are found in no time");
}

#[test]
fn names_of_columns_are_data() {
    let folder = tempfile::tempdir().unwrap();
    let long = "n".repeat(10_000);
    let names = ["../../etc/passwd", "/", "a\0b", "..", long.as_str(), "a,\"b\"\r\n", "\u{feff}c", " ", "đ.e", "x.y.z"];
    let value: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    let batch = RecordBatch::try_from_iter(names.map(|name| (name, value.clone()))).unwrap();
    let data = Dataset::from_batches([batch]).unwrap();
    for format in FORMATS {
        let path = folder.path().join(format!("t.{format}"));
        data.write_to(sink(&path).as_ref()).unwrap();
        let found = open(&path, Some(data.schema())).unwrap();
        assert_eq!(found.digest().unwrap(), data.digest().unwrap(), "{format}");
        let inferred = open(&path, None).unwrap();
        assert!(inferred.schema().names().eq(names), "{format}: {:?}", inferred.schema());
    }
    assert_eq!(listing(folder.path()), ["t.csv", "t.jsonl", "t.parquet"]);
}

#[test]
fn places_that_cannot_be_written_to_are_named_and_left_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let data = flat();
    for format in FORMATS {
        let directory = folder.path().join(format!("directory.{format}"));
        fs::create_dir(&directory).unwrap();
        let file = folder.path().join(format!("file.{format}"));
        fs::write(&file, "old").unwrap();
        let before = listing(folder.path());
        let refused = |path: PathBuf, variant: fn(&Error) -> bool| {
            let sink: Box<dyn DataSink> = match format {
                "csv" => Box::new(CsvSink::new(&path)),
                "jsonl" => Box::new(JsonSink::new(&path)),
                _ => Box::new(ParquetSink::new(&path)),
            };
            let error = data.write_to(sink.as_ref()).unwrap_err();
            assert!(variant(&error), "{path:?}: {error:?}");
        };
        let io = |e: &Error| matches!(e, Error::Io { .. });
        let invalid = |e: &Error| matches!(e, Error::Invalid { setting: "path", .. });
        refused(directory.clone(), invalid);
        refused(directory.join(".."), invalid);
        refused(PathBuf::new(), invalid);
        refused(PathBuf::from("/"), invalid);
        refused(folder.path().join("no/such/folder"), io);
        refused(file.join("below"), io);
        refused(folder.path().join("a\0b"), io);
        refused(folder.path().join("n".repeat(10_000)), io);
        assert_eq!(listing(folder.path()), before);
        assert!(listing(&directory).is_empty());
        assert_eq!(fs::read(&file).unwrap(), b"old");
    }
}

#[test]
fn values_that_a_format_cannot_hold_end_the_write_and_leave_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // Past the rows that a sink turns into text at once, so that some of them are in the file already.
    let floats =
        table("x", Float64Array::from_iter_values((0..9_000).map(|i| if i == 8_500 { f64::NAN } else { 1.0 })));
    let beyond = i64::MAX / 2;
    let micros = (0..9_000).map(|i| if i == 8_500 { beyond } else { 0 });
    let times = table("x", TimestampMicrosecondArray::from_iter_values(micros).with_timezone("UTC"));
    for (file, data) in [("t.jsonl", &floats), ("t.jsonl", &times), ("t.csv", &times)] {
        let path = folder.path().join(file);
        for old in [None, Some("old")] {
            if let Some(old) = old {
                fs::write(&path, old).unwrap();
            }
            let before = listing(folder.path());
            let sink = sink(&path);
            let mut writer = sink.begin(data.schema()).unwrap();
            let error = writer.write(&data.to_batch().unwrap()).unwrap_err();
            let text = error.to_string();
            let named = text.contains(file) && text.contains("row 8500") && text.contains("`x`");
            assert!(matches!(error, Error::InvalidData { .. }) && named, "{text}");
            let again = writer.write(&data.to_batch().unwrap().slice(0, 1)).unwrap_err();
            assert!(matches!(again, Error::Invalid { .. }), "{again:?}");
            assert!(matches!(writer.commit(), Err(Error::Invalid { .. })), "some rows are in the file, others are not");
            assert_eq!(listing(folder.path()), before);
            assert_eq!(old.is_some(), path.exists());
        }
        assert_eq!(fs::read(&path).unwrap(), b"old");
        fs::remove_file(&path).unwrap();
    }
    let path = folder.path().join("t.jsonl");
    floats.write_to(&JsonSink::new(&path).non_finite(NonFinite::Null)).unwrap();
    assert_eq!(open(&path, None).unwrap().to_batch().unwrap().column(0).null_count(), 1);
}

#[test]
fn nan_and_infinities_are_kept_where_the_format_spells_them() {
    let folder = tempfile::tempdir().unwrap();
    let data = table("x", Float64Array::from(vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1.5]));
    for format in ["csv", "parquet"] {
        let path = folder.path().join(format!("t.{format}"));
        data.write_to(sink(&path).as_ref()).unwrap();
        assert_eq!(open(&path, None).unwrap().digest().unwrap(), data.digest().unwrap(), "{format}");
    }
}

#[test]
fn files_that_change_under_an_open_source_are_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (one, other) = (table("a", Int64Array::from(vec![1])), table("b", Int64Array::from(vec![1])));
    for format in ["csv", "parquet"] {
        let path = folder.path().join(format!("t.{format}"));
        one.write_to(sink(&path).as_ref()).unwrap();
        let opened = open(&path, None).unwrap();
        other.write_to(sink(&path).as_ref()).unwrap();
        let error = opened.batches().map(|_| ()).unwrap_err();
        assert!(matches!(&error, Error::InvalidData { reason, .. } if reason.contains("changed")), "{error}");
    }
}
