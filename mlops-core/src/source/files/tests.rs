use std::fs;
use std::sync::Mutex;

use arrow::array::{Array, ArrayRef, AsArray, Date32Array, Int32Array, Int64Array, StringArray};
use arrow::datatypes::Int64Type;

use super::*;
use crate::Dataset;
use crate::schema::{Role, Sensitivity};
use crate::source::{Comparison, DataSink, Predicate};

fn put(folder: &Path, name: &str, text: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn read(source: &FilesSource, request: &ScanRequest) -> Result<RecordBatch> {
    Dataset::collect(source.scan(request)?)?.to_batch()
}

fn ints(batch: &RecordBatch, column: &str) -> Vec<Option<i64>> {
    batch.column_by_name(column).unwrap().as_primitive::<Int64Type>().iter().collect()
}

fn column(name: &str, array: impl Array + 'static) -> (String, ArrayRef, bool) {
    (name.to_owned(), Arc::new(array), true)
}

fn data(columns: impl IntoIterator<Item = (String, ArrayRef, bool)>) -> Dataset {
    Dataset::from_batches([RecordBatch::try_from_iter_with_nullable(columns).unwrap()]).unwrap()
}

#[test]
fn folders_are_columns_and_files_come_in_the_order_of_their_paths() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    put(root, "year=2026/month=02/b.csv", "id\n5\n");
    put(root, "year=2026/month=02/a.csv.gz", zipped("id\n4\n"));
    put(root, "year=2025/month=12/a.csv", "id\n2\n1\n");
    put(root, "year=__HIVE_DEFAULT_PARTITION__/month=1/a.csv", "id\n9\n");
    for hidden in ["_SUCCESS", "year=2025/.a.csv.crc", ".mlops-x.tmp/a.csv", "_delta_log/0.json"] {
        put(root, hidden, "nothing");
    }
    let source = FilesSource::open(root).unwrap();
    assert_eq!(source.partition_columns().collect::<Vec<_>>(), ["year", "month"]);
    let batch = read(&source, &ScanRequest::all()).unwrap();
    assert_eq!(ints(&batch, "id"), [2, 1, 4, 5, 9].map(Some));
    assert_eq!(ints(&batch, "year"), [Some(2025), Some(2025), Some(2026), Some(2026), None]);
    assert_eq!(ints(&batch, "month"), [12, 12, 2, 2, 1].map(Some));
    let pattern = FilesSource::open(root.join("year=202*/**/*.csv*")).unwrap();
    assert_eq!(ints(&read(&pattern, &ScanRequest::all()).unwrap(), "id"), [2, 1, 4, 5].map(Some));
    let folders = FilesSource::open(root.join("*=2026")).unwrap();
    assert_eq!(folders.files().count(), 2);
}

fn zipped(text: &str) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(text.as_bytes()).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn predicates_on_folders_rule_out_files_that_are_never_opened() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "day=1/a.csv", "id\n1\n");
    put(folder.path(), "day=2/a.csv", "id\n2\n3\n");
    put(folder.path(), "day=__HIVE_DEFAULT_PARTITION__/a.csv", "id\n4\n");
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    let source = FilesSource::builder(folder.path()).on_progress(move |p| log.lock().unwrap().push(p)).build().unwrap();
    fs::write(folder.path().join("day=1/a.csv"), "another\nheader\n").unwrap();
    let request = ScanRequest::all().filter(Predicate::new("day", Comparison::Gt, 1)).columns(["id"]);
    assert_eq!(ints(&read(&source, &request).unwrap(), "id"), [2, 3].map(Some));
    let seen = std::mem::take(&mut *seen.lock().unwrap());
    let told: Vec<_> = seen.iter().map(|p| (p.files_done, p.files, p.bytes_done, p.bytes)).collect();
    assert_eq!(told, [(0, 1, 0, 7), (1, 1, 7, 7)]);

    let null = ScanRequest::all().filter(Predicate::IsNull { column: "day".to_owned() });
    assert_eq!(ints(&read(&source, &null).unwrap(), "id"), [Some(4)]);
    assert!(read(&source, &ScanRequest::all()).is_err(), "the changed file is met when it is read");
}

#[test]
fn files_that_grew_are_read_through_one_schema() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, data: &Dataset| {
        data.write_to(&crate::source::ParquetSink::new(folder.path().join(name))).unwrap();
    };
    write(
        "1.parquet",
        &data([column("id", Int32Array::from(vec![1, 2])), column("old", Int64Array::from(vec![7, 8]))]),
    );
    write(
        "2.parquet",
        &data([column("note", StringArray::from(vec!["x"])), column("id", Int64Array::from(vec![1 << 40]))]),
    );
    let source = FilesSource::open(folder.path()).unwrap();
    assert!(source.schema().unwrap().names().eq(["id", "old", "note"]));
    let batch = read(&source, &ScanRequest::all()).unwrap();
    assert_eq!(ints(&batch, "id"), [Some(1), Some(2), Some(1 << 40)]);
    assert_eq!(ints(&batch, "old"), [Some(7), Some(8), None]);
    assert_eq!(batch.column_by_name("note").unwrap().null_count(), 2);
    let wide = ScanRequest::all().filter(Predicate::new("id", Comparison::LtEq, 2)).columns(["old"]).limit(1);
    assert_eq!(ints(&read(&source, &wide).unwrap(), "old"), [Some(7)]);

    write("3.parquet", &data([column("id", StringArray::from(vec!["a"]))]));
    let error = FilesSource::open(folder.path()).unwrap_err();
    assert!(matches!(&error, Error::Schema { column, .. } if column == "id"), "{error:?}");
}

#[test]
fn text_files_are_read_straight_into_the_types_of_all() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "1.csv", "id,price,note\n1,,a\n");
    put(folder.path(), "2.csv", "note,price\nb,2.5\n");
    put(folder.path(), "3.csv", "id,price\n3,4\n");
    let source = FilesSource::open(folder.path()).unwrap();
    let schema = source.schema().unwrap();
    assert_eq!(schema.field("price").unwrap().data_type(), &DataType::Float64, "empty, float and whole are floats");
    let batch = read(&source, &ScanRequest::all()).unwrap();
    assert_eq!(ints(&batch, "id"), [Some(1), None, Some(3)]);
    let prices = batch.column_by_name("price").unwrap().as_primitive::<arrow::datatypes::Float64Type>();
    assert_eq!(prices.iter().collect::<Vec<_>>(), [None, Some(2.5), Some(4.0)]);

    let lines = tempfile::tempdir().unwrap();
    put(lines.path(), "1.jsonl", "{\"id\":1}\n");
    put(lines.path(), "2.jsonl", "{\"id\":2.5,\"tag\":\"x\"}\n");
    let batch = read(&FilesSource::open(lines.path()).unwrap(), &ScanRequest::all()).unwrap();
    assert_eq!((batch.num_rows(), batch.column(0).data_type()), (2, &DataType::Float64));
}

#[test]
fn what_does_not_belong_together_is_refused_by_name() {
    let cases: [(&[(&str, &str)], &str); 8] = [
        (&[("a.csv", "id\n1\n"), ("b.jsonl", "{\"id\":1}\n")], "beside"),
        (&[("a.csv", "id\n1\n"), ("README.md", "x")], "no format"),
        (&[("x=1/a.csv", "id\n1\n"), ("b.csv", "id\n1\n")], "folders name the columns"),
        (&[("x=1/y=2/a.csv", "id\n1\n"), ("y=1/x=2/b.csv", "id\n1\n")], "folders name the columns"),
        (&[("x=1/x=2/a.csv", "id\n1\n")], "two folders"),
        (&[("=1/a.csv", "id\n1\n")], "without the name"),
        (&[("id=1/a.csv", "id\n1\n")], "in the name of its folder"),
        (&[("x=%ff/a.csv", "id\n1\n")], "UTF-8"),
    ];
    for (files, word) in cases {
        let folder = tempfile::tempdir().unwrap();
        files.iter().for_each(|(name, text)| put(folder.path(), name, text));
        let error = FilesSource::open(folder.path()).unwrap_err();
        assert!(matches!(&error, Error::InvalidData { reason, .. } if reason.contains(word)), "{files:?}: {error:?}");
    }
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(FilesSource::open(folder.path()), Err(Error::InvalidData { .. })), "an empty folder");
    let none = FilesSource::open(folder.path().join("*.csv")).unwrap_err();
    assert!(matches!(none, Error::NotFound { .. }), "{none:?}");
    let missing = FilesSource::open(folder.path().join("no")).unwrap_err();
    assert!(matches!(missing, Error::NotFound { kind: "folder", .. }), "{missing:?}");
    let bad = FilesSource::open(folder.path().join("a***[")).unwrap_err();
    assert!(matches!(bad, Error::Invalid { setting: "path", .. }), "{bad:?}");
}

#[cfg(unix)]
#[test]
fn links_to_folders_and_things_that_are_no_files_are_refused() {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "a.csv", "id\n1\n");
    symlink(folder.path().join("a.csv"), folder.path().join("b.csv")).unwrap();
    assert_eq!(FilesSource::open(folder.path()).unwrap().files().count(), 2, "links to files are files");
    symlink("..", folder.path().join("up")).unwrap();
    let error = FilesSource::open(folder.path()).unwrap_err();
    assert!(matches!(&error, Error::InvalidData { reason, .. } if reason.contains("link")), "{error:?}");
    fs::remove_file(folder.path().join("up")).unwrap();
    let _socket = UnixListener::bind(folder.path().join("c.csv")).unwrap();
    let error = FilesSource::open(folder.path()).unwrap_err();
    assert!(matches!(&error, Error::InvalidData { what, .. } if what.contains("c.csv")), "{error:?}");
}

#[test]
fn given_types_hold_for_folders_too() {
    let folder = tempfile::tempdir().unwrap();
    put(folder.path(), "day=2026-01-02/code=007/a.csv", "id\n1\n");
    let fields =
        [("code", DataType::Utf8), ("id", DataType::Int64), ("day", DataType::Date32), ("new", DataType::Utf8)];
    let schema = Schema::new(ArrowSchema::new(fields.map(|(n, t)| Field::new(n, t, true)).to_vec())).unwrap();
    let source = FilesSource::builder(folder.path()).schema(schema.clone()).build().unwrap();
    let batch = read(&source, &ScanRequest::all()).unwrap();
    assert_eq!(batch.schema_ref(), schema.arrow());
    assert_eq!(batch.column(0).as_string::<i32>().value(0), "007");
    assert_eq!(batch.column(2).as_ref(), &Date32Array::from(vec![20_455]) as &dyn Array); // date -ud 2026-01-02 +%s / 86400
    put(folder.path(), "day=soon/code=1/a.csv", "id\n1\n");
    let error = FilesSource::builder(folder.path()).schema(schema).build().unwrap_err();
    assert!(matches!(&error, Error::InvalidData { reason, .. } if reason.contains("day=soon")), "{error:?}");
}

fn sales() -> Dataset {
    let data = data([
        column("region", StringArray::from(vec![Some("a/../b"), Some("a/../b"), Some("hà nội"), None])),
        column("amount", Int64Array::from(vec![Some(1), None, Some(3), Some(4)])),
        column("year", Int32Array::from(vec![2024, 2025, 2025, 2025])),
    ]);
    let schema = data.schema().with_role("amount", Role::Label).unwrap();
    data.with_schema(schema.with_sensitivity("region", Sensitivity::Personal).unwrap()).unwrap()
}

#[test]
fn a_partitioned_table_comes_back_with_types_order_and_annotations() {
    for format in [FileFormat::Parquet, FileFormat::Csv, FileFormat::Tsv, FileFormat::JsonLines, FileFormat::ArrowIpc] {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("sales");
        let sink = FilesSink::builder(&place).partition_by(["year", "region"]).format(format).build().unwrap();
        let written = sales().write_to(&sink).unwrap();
        assert_eq!(written.rows, 4);
        let source = FilesSource::open(&place).unwrap();
        assert_eq!(source.files().count(), 4);
        let names: Vec<_> =
            source.files().map(|p| p.strip_prefix(&place).unwrap().parent().unwrap().to_owned()).collect();
        assert_eq!(names[0], Path::new("year=2024/region=a%2F..%2Fb"));
        let back = Dataset::from_source(Arc::new(source)).unwrap();
        assert_eq!(back.schema().fingerprint(), sales().schema().fingerprint(), "{format}");
        let rows = back.to_batch().unwrap();
        let amounts = [Some(1), Some(4), None, Some(3)]; // `_` of the null folder sorts before `a`
        assert_eq!(ints(&rows, "amount"), amounts, "{format}");
        let again = FilesSource::open(&place).unwrap();
        let one = ScanRequest::all().filter(Predicate::new("region", Comparison::Eq, "hà nội"));
        assert_eq!(ints(&read(&again, &one).unwrap(), "amount"), [Some(3)]);
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(left.len(), 1, "nothing but the folder is left");
    }
}

#[test]
fn few_open_files_make_more_files_and_the_same_rows() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("t");
    let sink = FilesSink::builder(&place).partition_by(["k"]).open_files(2).format(FileFormat::Csv).build().unwrap();
    let mut writer = sink
        .begin(data([column("k", Int64Array::from(vec![0])), column("v", Int64Array::from(vec![0]))]).schema())
        .unwrap();
    for round in 0..3 {
        for k in 0..4 {
            let rows =
                data([column("k", Int64Array::from(vec![k])), column("v", Int64Array::from(vec![round * 10 + k]))]);
            writer.write(&rows.to_batch().unwrap()).unwrap();
        }
    }
    assert_eq!(writer.commit().unwrap().rows, 12);
    let source = FilesSource::open(&place).unwrap();
    assert_eq!(source.files().count(), 12);
    let values = ints(&read(&source, &ScanRequest::all()).unwrap(), "v");
    assert_eq!(values, (0..4).flat_map(|k| (0..3).map(move |round| Some(round * 10 + k))).collect::<Vec<_>>());
}

#[test]
fn only_what_a_sink_wrote_is_replaced_and_bad_columns_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("mine");
    put(&place, "precious.txt", "keep");
    let error = sales().write_to(&FilesSink::new(&place)).unwrap_err();
    assert!(matches!(&error, Error::AlreadyExists { kind: "folder", .. }), "{error:?}");
    assert_eq!(fs::read(place.join("precious.txt")).unwrap(), b"keep");
    let file = place.join("precious.txt");
    assert!(matches!(sales().write_to(&FilesSink::new(&file)), Err(Error::Invalid { .. })));

    let open = |sink: FilesSinkBuilder| sink.build().and_then(|sink| sink.begin(sales().schema()).map(drop));
    let new = || FilesSink::builder(folder.path().join("new"));
    assert!(matches!(open(new().partition_by(["no"])), Err(Error::NotFound { .. })));
    assert!(matches!(open(new().partition_by(["year", "year"])), Err(Error::Invalid { .. })));
    assert!(matches!(open(new().open_files(0)), Err(Error::Invalid { .. })));
    assert!(matches!(open(new().partition_by(["region", "amount", "year"])), Err(Error::Schema { .. })));
    let floats =
        data([column("f", arrow::array::Float64Array::from(vec![0.5])), column("v", Int64Array::from(vec![1]))]);
    let by_float = new().partition_by(["f"]).build().unwrap();
    assert!(matches!(floats.write_to(&by_float), Err(Error::Schema { column, .. }) if column == "f"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was left behind");
}
