//! Sources and sinks: the kits on ours, and what a crash leaves.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use mlops_core::arrow::array::{
    ArrayRef, BooleanArray, Date32Array, DictionaryArray, Float32Array, Float64Array, Int8Array, Int64Array, ListArray,
    RecordBatch, StringArray, StringViewArray, StructArray, TimestampMicrosecondArray, TimestampMillisecondArray,
    UInt64Array,
};
use mlops_core::arrow::datatypes::{DataType, Field, Fields, Int32Type, Int64Type, Schema as ArrowSchema, UnionMode};
use mlops_core::schema::{Role, Sensitivity};
use mlops_core::source::{
    self, CsvSink, CsvSource, DataSink, DataSource, FileFormat, FilesSink, FilesSource, IpcCompression, IpcLayout,
    IpcSink, IpcSource, JsonSink, JsonSource, MemorySink, MemorySource, ParquetSink, ParquetSource, Quarantine,
    ScanRequest,
};
use mlops_core::testkit::{self, FlakySink, FlakySource};
use mlops_core::{Dataset, Error, Result, Schema};

fn column<A: mlops_core::arrow::array::Array + 'static>(
    name: &str,
    array: A,
    nullable: bool,
) -> (String, ArrayRef, bool) {
    (name.to_owned(), Arc::new(array), nullable)
}

/// Eight rows of everything that text can hold, with annotations.
pub(crate) fn flat() -> Dataset {
    let texts =
        [Some("An, \"Bình\""), Some(""), None, Some("NULL"), Some("a\r\nb"), Some(" x "), Some("\u{feff}é"), Some("1")];
    let micros = [0, 1, -1, 1_704_067_200_000_000, 253_402_300_799_999_999, -62_135_596_800_000_000, 999_999, 5];
    let floats =
        [Some(0.5), Some(-0.0), None, Some(1e300), Some(f64::MIN_POSITIVE), Some(0.1 + 0.2), Some(0.0), Some(-7.0)];
    let columns = [
        column("id", Int64Array::from(vec![3, 1, i64::MAX, i64::MIN, 0, -1, 2, 3]), false),
        column(
            "count",
            UInt64Array::from(vec![Some(0), None, Some(u64::MAX), Some(5), Some(5), None, Some(1), Some(2)]),
            true,
        ),
        column("small", Int8Array::from(vec![-128, 127, 0, 1, 2, 3, 4, 5]), false),
        column("price", Float64Array::from(floats.to_vec()), true),
        column(
            "single",
            Float32Array::from(vec![f32::MAX, f32::MIN_POSITIVE, 0.1, -0.0, 7.038531e-26, 1e-45, 3.5, 0.0]),
            false,
        ),
        column(
            "flag",
            BooleanArray::from(vec![Some(true), Some(false), None, None, Some(true), None, None, Some(false)]),
            true,
        ),
        column(
            "day",
            Date32Array::from(vec![Some(0), Some(19_782), Some(-1), None, None, Some(2), Some(3), Some(-700_000)]),
            true,
        ),
        column("seen", TimestampMicrosecondArray::from(micros.to_vec()).with_timezone("UTC"), false),
        column(
            "naive",
            TimestampMillisecondArray::from(vec![Some(-1), None, Some(0), Some(1), None, None, None, Some(9)]),
            true,
        ),
        column("name", StringArray::from(texts.to_vec()), true),
        column("view", StringViewArray::from(vec!["a"; 8]), false),
    ];
    let batch = RecordBatch::try_from_iter_with_nullable(columns).unwrap();
    let schema = Schema::new(batch.schema())
        .and_then(|s| s.with_role("id", Role::Key))
        .and_then(|s| s.with_role("seen", Role::EventTime))
        .and_then(|s| s.with_sensitivity("name", Sensitivity::Personal))
        .and_then(|s| s.with_unit("price", "VND"))
        .unwrap();
    Dataset::held(schema, [batch]).unwrap()
}

/// The same with a column of NaN and infinities.
fn with_nan() -> Dataset {
    let values =
        [Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY), None, Some(1.0), Some(-0.0), Some(0.0), None];
    add(&flat(), column("wild", Float64Array::from(values.to_vec()), true))
}

/// The same with lists and objects.
pub(crate) fn nested() -> Dataset {
    let items = [Some(vec![Some(1), None]), None, Some(vec![]), Some(vec![Some(-5)])];
    let lists = ListArray::from_iter_primitive::<Int64Type, _, _>(items.iter().cycle().take(8).cloned());
    let x: ArrayRef = Arc::new(Float64Array::from(vec![Some(1.5), None, Some(2.0), None, None, None, None, Some(0.0)]));
    let y: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some(""), None, None, None, None, Some("b")]));
    let fields = Fields::from(vec![Field::new("x", DataType::Float64, true), Field::new("y", DataType::Utf8, true)]);
    let valid = vec![true, true, true, false, true, true, true, true];
    let objects = StructArray::new(fields, vec![x, y], Some(valid.into()));
    add(&add(&flat(), column("list", lists, true)), column("object", objects, true))
}

fn add(data: &Dataset, (name, array, nullable): (String, ArrayRef, bool)) -> Dataset {
    let batch = data.to_batch().unwrap();
    let mut fields: Vec<_> = batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(name, array.data_type().clone(), nullable)));
    let columns = batch.columns().iter().cloned().chain([array]).collect();
    Dataset::from_batches([RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).unwrap()]).unwrap()
}

/// Writes `data` to `sink` in batches of three rows.
fn write(data: &Dataset, sink: &dyn DataSink) {
    let mut writer = sink.begin(data.schema()).unwrap();
    for batch in data.scan(&ScanRequest::all().batch_rows(3)).unwrap() {
        writer.write(&batch.unwrap()).unwrap();
    }
    writer.commit().unwrap();
}

/// Names of what is in `folder`.
pub(crate) fn listing(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn csv_passes_the_kit_of_sources() {
    let folder = tempfile::tempdir().unwrap();
    let (path, data) = (folder.path().join("t.csv"), with_nan());
    write(&data, &CsvSink::new(&path));
    let builder = || CsvSource::builder(&path).schema(data.schema().clone());
    testkit::data_source(&builder().build().unwrap(), &data);
    testkit::data_source(&builder().quarantine(Quarantine::keeping(9)).build().unwrap(), &data);

    write(&data, &CsvSink::builder(&path).delimiter(b';').header(false).null_text("NULL").build().unwrap());
    let other = builder().delimiter(b';').header(false).null_texts(["NULL"]).build().unwrap();
    testkit::data_source(&other, &data);
    fs::write(&path, "1;2\n").unwrap();
    testkit::unreadable_source(&other);
    fs::remove_file(&path).unwrap();
    testkit::missing_source(&other);
}

#[test]
fn json_passes_the_kit_of_sources() {
    let folder = tempfile::tempdir().unwrap();
    let (path, data) = (folder.path().join("t.jsonl"), nested());
    write(&data, &JsonSink::new(&path));
    let builder = || JsonSource::builder(&path).schema(data.schema().clone());
    let source = builder().build().unwrap();
    testkit::data_source(&source, &data);
    testkit::data_source(&builder().quarantine(Quarantine::keeping(9)).build().unwrap(), &data);
    let text = fs::read_to_string(&path).unwrap();
    fs::write(&path, format!("{text}{{\"id\":1")).unwrap();
    testkit::unreadable_source(&source);
    fs::remove_file(&path).unwrap();
    testkit::missing_source(&source);
}

#[test]
fn parquet_passes_the_kit_of_sources() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let dictionary: DictionaryArray<Int32Type> =
        [Some("a"), None, Some("b"), Some("a"), None, None, Some("c"), Some("a")].into_iter().collect();
    let data = add(&add(&nested(), column("kind", dictionary, true)), {
        let wild = [f64::NAN, f64::INFINITY, 1.0, f64::NAN, f64::NAN, f64::NAN, -0.0, 0.0];
        column("wild", Float64Array::from(wild.to_vec()), false)
    });
    for group_rows in [1, 3, 1_000] {
        write(&data, &ParquetSink::builder(&path).group_rows(group_rows).build().unwrap());
        testkit::data_source(&ParquetSource::open(&path).unwrap(), &data);
    }
    let few = data.schema().project(&["name", "id"]).unwrap();
    let source = ParquetSource::builder(&path).schema(few).build().unwrap();
    testkit::data_source(
        &source,
        &Dataset::collect(data.scan(&ScanRequest::all().columns(["name", "id"])).unwrap()).unwrap(),
    );

    let mut bytes = fs::read(&path).unwrap();
    bytes[4..400].fill(0xA5);
    fs::write(&path, &bytes).unwrap();
    testkit::unreadable_source(&source);
    fs::remove_file(&path).unwrap();
    testkit::missing_source(&source);
}

#[test]
fn ipc_passes_the_kit_of_sources() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.arrow");
    let wild = [f64::NAN, f64::INFINITY, 1.0, f64::NAN, f64::NAN, f64::NAN, -0.0, 0.0];
    let data = add(&nested(), column("wild", Float64Array::from(wild.to_vec()), false));
    for layout in [IpcLayout::File, IpcLayout::Stream] {
        for compression in [IpcCompression::None, IpcCompression::Zstd] {
            write(&data, &IpcSink::builder(&path).layout(layout).compression(compression).build().unwrap());
            testkit::data_source(&IpcSource::open(&path).unwrap(), &data);
        }
    }
    let few = data.schema().project(&["name", "id"]).unwrap();
    let source = IpcSource::builder(&path).schema(few).build().unwrap();
    let two = ScanRequest::all().columns(["name", "id"]);
    testkit::data_source(&source, &Dataset::collect(data.scan(&two).unwrap()).unwrap());

    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() * 2 / 3]).unwrap();
    testkit::unreadable_source(&source);
    fs::remove_file(&path).unwrap();
    testkit::missing_source(&source);
}

/// The rows of `flat` with a column in front whose values sort as the folders do that are named after them.
fn partitioned() -> Dataset {
    let data = flat();
    let kinds = [Some("a"), Some("a"), Some("b/%2F"), Some("c"), Some("c"), Some("c"), Some("x y"), Some("é")];
    let batch = data.to_batch().unwrap();
    let fields = std::iter::once(Arc::new(Field::new("kind", DataType::Utf8, true)));
    let fields: Vec<_> = fields.chain(batch.schema().fields().iter().cloned()).collect();
    let kind: ArrayRef = Arc::new(StringArray::from(kinds.to_vec()));
    let columns = std::iter::once(kind).chain(batch.columns().iter().cloned()).collect();
    let batch = RecordBatch::try_new(Arc::new(ArrowSchema::new(fields)), columns).unwrap();
    Dataset::from_batches([batch]).unwrap()
}

const FORMATS: [FileFormat; 5] =
    [FileFormat::Csv, FileFormat::Tsv, FileFormat::JsonLines, FileFormat::Parquet, FileFormat::ArrowIpc];

#[test]
fn folders_of_files_pass_the_kits() {
    for format in FORMATS {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("t");
        let data = partitioned();
        let sink = FilesSink::builder(&place).partition_by(["kind"]).format(format).build().unwrap();
        let duration = DataType::Duration(mlops_core::arrow::datatypes::TimeUnit::Second);
        let unfit = Schema::new(ArrowSchema::new(vec![
            Field::new("kind", duration, true),
            Field::new("id", DataType::Int64, true),
        ]));
        testkit::refusing_sink(&sink, || read(FilesSource::open(&place)), &unfit.unwrap());
        testkit::data_sink(&sink, || read(FilesSource::open(&place)), &data);
        assert_eq!(listing(folder.path()), ["t"]);

        write(&data, &sink);
        let source = FilesSource::open(&place).unwrap();
        testkit::data_source(&source, &data);
        testkit::data_source(source::open(&place).unwrap().as_ref(), &data);
        let last = source.files().last().unwrap().to_owned();
        let bytes = fs::read(&last).unwrap();
        fs::write(&last, &bytes[..bytes.len() / 2]).unwrap();
        testkit::unreadable_source(&source);
        fs::remove_dir_all(&place).unwrap();
        testkit::missing_source(&source);
    }
}

#[test]
fn every_format_converts_into_every_other_and_back() {
    let folder = tempfile::tempdir().unwrap();
    let names =
        ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.arrow", "a.arrows", "b.csv.gz", "b.jsonl.zst", "b.ndjson"];
    let data = flat();
    for from in names {
        let first = folder.path().join(from);
        write(&data, source::create(&first).unwrap().as_ref());
        for to in names {
            let second = folder.path().join(format!("2{to}"));
            let options = source::ConvertOptions::new().schema(data.schema().clone());
            let opened: Arc<dyn DataSource> = match FileFormat::of(&first).unwrap() {
                // Text has no schema of its own.
                FileFormat::Csv => Arc::new(CsvSource::builder(&first).schema(data.schema().clone()).build().unwrap()),
                FileFormat::Tsv => {
                    Arc::new(CsvSource::builder(&first).delimiter(b'\t').schema(data.schema().clone()).build().unwrap())
                }
                FileFormat::JsonLines => {
                    Arc::new(JsonSource::builder(&first).schema(data.schema().clone()).build().unwrap())
                }
                _ => source::open(&first).unwrap(),
            };
            let sink = source::create(&second).unwrap();
            let converted = source::convert(opened.as_ref(), sink.as_ref(), options).unwrap();
            assert_eq!(converted.digest, data.digest().unwrap(), "{from} to {to}");
            assert_eq!(
                (converted.written.rows, converted.written.size_bytes),
                (8, fs::metadata(&second).unwrap().len())
            );
        }
    }
}

#[test]
fn a_conversion_is_watched_and_can_be_stopped_without_a_trace() {
    use std::sync::Mutex;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.arrow");
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    let request = || ScanRequest::all().batch_rows(3);
    let options = source::ConvertOptions::new()
        .request(request())
        .on_progress(move |p| log.lock().unwrap().push((p.rows, p.batches)));
    source::convert(&flat(), &IpcSink::new(&path), options).unwrap();
    assert_eq!(*told.lock().unwrap(), [(3, 1), (6, 2), (8, 3)]);

    let other = folder.path().join("other.parquet");
    let asked = Mutex::new(0);
    let third = move || {
        let mut asked = asked.lock().unwrap();
        *asked += 1;
        *asked == 3
    };
    let options = source::ConvertOptions::new().request(request()).cancelled(third);
    let error = source::convert(&flat(), &ParquetSink::new(&other), options).unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
    assert_eq!(listing(folder.path()), ["t.arrow"]);
}

#[test]
fn memory_passes_the_kit_of_sources() {
    let data = nested();
    testkit::data_source(&data, &data);
    testkit::data_source(&MemorySource::new("rows", &data).unwrap(), &data);
    testkit::data_source(&FlakySource::new(data.clone()), &data);
    testkit::missing_source(&MemorySink::new("nothing yet").source());

    // The same rows under other annotations, scanned from a source.
    let plain = Dataset::from_batches([data.to_batch().unwrap()]).unwrap();
    let schema = plain.schema().with_sensitivity("price", Sensitivity::Secret).unwrap();
    let annotated = Dataset::from_source(Arc::new(plain)).unwrap().with_schema(schema).unwrap();
    testkit::data_source(&annotated, &annotated.hold().unwrap());
}

fn read<S: DataSource>(source: Result<S>) -> Result<Dataset> {
    Dataset::from_source(Arc::new(source?))
}

#[test]
fn our_sinks_pass_the_kit() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (csv, json, parquet) = (path("t.csv"), path("t.jsonl"), path("t.parquet"));
    let data = with_nan();
    let read_csv = || read(CsvSource::builder(&csv).schema(data.schema().clone()).build());
    let lists = nested().schema().clone();
    testkit::refusing_sink(&CsvSink::new(&csv), read_csv, &lists);
    testkit::data_sink(&CsvSink::new(&csv), read_csv, &data);
    assert_eq!(listing(folder.path()), ["t.csv"]);

    let data = nested();
    let read_json = || read(JsonSource::builder(&json).schema(data.schema().clone()).build());
    let duration = DataType::Duration(mlops_core::arrow::datatypes::TimeUnit::Second);
    let unfit = |data_type| Schema::new(ArrowSchema::new(vec![Field::new("unfit", data_type, true)])).unwrap();
    testkit::refusing_sink(&JsonSink::new(&json), read_json, &unfit(duration));
    testkit::data_sink(&JsonSink::new(&json), read_json, &data);
    assert_eq!(listing(folder.path()), ["t.csv", "t.jsonl"]);

    let read_parquet = || read(ParquetSource::open(&parquet));
    let union = DataType::Union(mlops_core::arrow::datatypes::UnionFields::empty(), UnionMode::Sparse);
    testkit::refusing_sink(&ParquetSink::new(&parquet), read_parquet, &unfit(union));
    testkit::data_sink(&ParquetSink::new(&parquet), read_parquet, &data);
    assert_eq!(listing(folder.path()), ["t.csv", "t.jsonl", "t.parquet"]);

    let packed = [path("p.csv.gz"), path("p.csv.zst")];
    for place in &packed {
        let typed = || read(CsvSource::builder(place).schema(with_nan().schema().clone()).build());
        testkit::data_sink(&CsvSink::new(place), typed, &with_nan());
    }
    for layout in [IpcLayout::File, IpcLayout::Stream] {
        let folder = tempfile::tempdir().unwrap();
        let arrow = folder.path().join("t.arrow");
        let sink = IpcSink::builder(&arrow).layout(layout).compression(IpcCompression::Lz4).build().unwrap();
        let words = DataType::Dictionary(DataType::Int32.into(), DataType::Utf8.into());
        let entry = vec![Field::new("keys", DataType::Utf8, false), Field::new("values", words, true)];
        let map = DataType::Map(Field::new_struct("entries", entry, false).into(), false);
        testkit::refusing_sink(&sink, || read(IpcSource::open(&arrow)), &unfit(map));
        testkit::data_sink(&sink, || read(IpcSource::open(&arrow)), &data);
        assert_eq!(listing(folder.path()), ["t.arrow"]);
    }

    let memory = MemorySink::new("place");
    testkit::data_sink(&memory, || memory.dataset(), &data);
    let memory = MemorySink::new("place");
    testkit::data_sink(&FlakySink::new(memory.clone()), || memory.dataset(), &data);
}

#[test]
fn trouble_in_the_middle_of_a_write_leaves_what_was_there() {
    let (old, new) = (flat(), with_nan());
    let memory = MemorySink::new("place");
    old.write_to(&memory).unwrap();
    let unchanged = || assert_eq!(memory.dataset().unwrap().digest().unwrap(), old.digest().unwrap());
    let sinks = [
        FlakySink::new(memory.clone()).fail_every(1),
        FlakySink::new(memory.clone()).fail_write_every(1),
        FlakySink::new(memory.clone()).fail_commit_every(1),
    ];
    for sink in sinks {
        assert!(matches!(new.write_to(&sink), Err(Error::External { .. })));
        unchanged();
    }
    let sink = FlakySink::new(memory.clone()).fail_write_every(2);
    let mut writer = sink.begin(new.schema()).unwrap();
    let batch = new.to_batch().unwrap();
    assert!(writer.write(&batch).is_ok() && writer.write(&batch).is_err());
    assert!(writer.commit().is_err(), "a writer of which a write failed commits nothing");
    unchanged();

    let sink = FlakySink::new(memory.clone()).lose_commit_every(1);
    assert!(new.write_to(&sink).is_err());
    assert_eq!(memory.dataset().unwrap().digest().unwrap(), new.digest().unwrap(), "the answer was lost, not the deed");
    assert_eq!(sink.calls(), 1);
}

#[test]
fn trouble_in_the_middle_of_a_stream_reaches_whoever_reads() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    let rows = |source| Dataset::from_source(Arc::new(source)).unwrap();
    let fails = |source: FlakySource<Dataset>| {
        let data = rows(source);
        let error = data.write_to(&ParquetSink::new(&path)).unwrap_err();
        assert!(matches!(error, Error::External { system: "flaky stream", .. }), "{error}");
        assert!(data.digest().is_err() && data.to_batch().is_err());
    };
    fails(FlakySource::new(flat()).fail_batch_every(1));
    assert!(listing(folder.path()).is_empty());

    let pieces =
        Dataset::from_batches(flat().scan(&ScanRequest::all().batch_rows(2)).unwrap().map(Result::unwrap)).unwrap();
    let source = FlakySource::new(pieces).fail_batch_every(3);
    let mut stream = source.scan(&ScanRequest::all()).unwrap();
    assert_eq!(stream.by_ref().map(|batch| batch.is_ok()).collect::<Vec<_>>(), [true, true, false]);

    let source = FlakySource::new(flat()).fail_every(3);
    let calls = [source.info().is_ok(), source.schema().is_ok(), source.scan(&ScanRequest::all()).is_ok()];
    assert_eq!((calls, source.calls()), ([true, true, false], 3));
}

const CHILD: &str = "MLOPS_CORE_SINK_CHILD";

/// A process that writes one file of each format and dies without cleaning up: after the commits, or before.
#[test]
fn a_commit_survives_a_crash_and_an_open_write_leaves_nothing_to_be_read() {
    let sinks = |folder: &Path| -> [(&str, Box<dyn DataSink>); 5] {
        [
            ("t", Box::new(FilesSink::new(folder.join("t")))),
            ("t.arrow", Box::new(IpcSink::new(folder.join("t.arrow")))),
            ("t.csv", Box::new(CsvSink::new(folder.join("t.csv")))),
            ("t.jsonl", Box::new(JsonSink::new(folder.join("t.jsonl")))),
            ("t.parquet", Box::new(ParquetSink::new(folder.join("t.parquet")))),
        ]
    };
    let data = flat();
    if let Some(task) = std::env::var_os(CHILD) {
        let (commits, folder) = task.to_str().and_then(|task| task.split_once(':')).unwrap();
        let mut open = Vec::new();
        for (_, sink) in sinks(Path::new(folder)) {
            let mut writer = sink.begin(data.schema()).unwrap();
            writer.write(&data.to_batch().unwrap()).unwrap();
            if commits == "true" {
                writer.commit().unwrap();
            } else {
                open.push(writer);
            }
        }
        std::process::abort();
    }
    for commits in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let name = "sources::a_commit_survives_a_crash_and_an_open_write_leaves_nothing_to_be_read";
        let status = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(CHILD, format!("{commits}:{}", folder.path().display()))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .unwrap();
        assert!(!status.success(), "the process crashed");
        let found = listing(folder.path());
        if commits {
            assert_eq!(found, ["t", "t.arrow", "t.csv", "t.jsonl", "t.parquet"]);
            let schema = || data.schema().clone();
            let sets = [
                read(FilesSource::open(folder.path().join("t"))),
                read(IpcSource::open(folder.path().join("t.arrow"))),
                read(CsvSource::builder(folder.path().join("t.csv")).schema(schema()).build()),
                read(JsonSource::builder(folder.path().join("t.jsonl")).schema(schema()).build()),
                read(ParquetSource::open(folder.path().join("t.parquet"))),
            ];
            for set in sets {
                assert_eq!(set.unwrap().digest().unwrap(), data.digest().unwrap());
            }
        } else {
            assert!(found.iter().all(|name| mlops_core::file::is_temporary(name)), "{found:?}");
            assert_eq!(found.len(), 5);
            swept_by_the_next_sink(folder.path(), &found);
        }
    }
}

/// What a killed process left is there until it is old, and then goes when somebody writes beside it.
fn swept_by_the_next_sink(folder: &Path, left: &[String]) {
    if !cfg!(unix) {
        return;
    }
    let begin = || CsvSink::new(folder.join("u.csv")).begin(flat().schema()).unwrap();
    drop(begin());
    assert_eq!(listing(folder), left, "it might be that of a writer that has only just begun");
    let day_ago = std::time::SystemTime::now() - std::time::Duration::from_hours(24);
    for name in left {
        fs::File::open(folder.join(name)).unwrap().set_modified(day_ago).unwrap();
    }
    drop(begin());
    assert!(listing(folder).is_empty());
}
