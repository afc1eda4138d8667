use std::fs;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Float64Array, Int32Array, Int64Array, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Int64Type, IntervalUnit, Schema as ArrowSchema, UnionFields, UnionMode};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::Dataset;
use crate::schema::{Role, Sensitivity};
use crate::source::random::tables;
use crate::source::{Comparison, DataSink, Predicate, Scalar};
use crate::time::EventTime;

fn stored(data: &Dataset, group_rows: usize) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.parquet");
    data.write_to(&ParquetSink::builder(&path).group_rows(group_rows).build().unwrap()).unwrap();
    (folder, path)
}

fn table(columns: Vec<(&str, ArrayRef)>) -> Dataset {
    let columns = columns.into_iter().map(|(name, array)| (name, array, true));
    Dataset::from_batches([RecordBatch::try_from_iter_with_nullable(columns).unwrap()]).unwrap()
}

/// Groups of two rows: 0 1 | 2 3 | 4 null | null null, as whole numbers, floats (with a NaN beside the 3) and texts.
fn groups() -> Dataset {
    let ints = Int64Array::from(vec![Some(0), Some(1), Some(2), Some(3), Some(4), None, None, None]);
    let floats = [Some(0.0), Some(1.0), Some(f64::NAN), Some(3.0), Some(4.0), None, None, None];
    let texts = StringArray::from(vec![Some("0"), Some("1"), Some("2"), Some("3"), Some("4"), None, None, None]);
    table(vec![("i", Arc::new(ints)), ("f", Arc::new(Float64Array::from(floats.to_vec()))), ("t", Arc::new(texts))])
}

fn kept(path: &Path, predicates: &[Predicate]) -> Vec<usize> {
    prune::row_groups(&Footer::read(path).unwrap().builder, predicates)
}

#[test]
fn groups_without_a_row_that_is_asked_for_are_skipped() {
    use Comparison::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    let (_folder, path) = stored(&groups(), 2);
    let cases: [(&str, Comparison, Scalar, &[usize]); 14] = [
        ("i", Eq, 2.into(), &[1]),
        ("i", Lt, 2.into(), &[0]),
        ("i", LtEq, 2.into(), &[0, 1]),
        ("i", Gt, 3.into(), &[2]),
        ("i", GtEq, 3.into(), &[1, 2]),
        ("i", Gt, Scalar::Float(3.5), &[2]),
        ("i", Eq, 9.into(), &[]),
        // A group without values has no bounds, so nothing is known of it; which rows differ is not told by bounds.
        ("i", NotEq, 9.into(), &[0, 1, 2, 3]),
        ("t", Eq, "3".into(), &[1]),
        ("t", Gt, "35".into(), &[2]),
        ("f", Eq, Scalar::Float(0.0), &[0]),
        ("f", Lt, Scalar::Float(2.0), &[0]),
        // NaN is above all else and not in the bounds.
        ("f", Gt, Scalar::Float(3.5), &[0, 1, 2, 3]),
        ("f", Eq, Scalar::Float(f64::NAN), &[0, 1, 2, 3]),
    ];
    for (column, comparison, value, expected) in cases {
        let predicate = Predicate::new(column, comparison, value);
        let mut expected = expected.to_vec();
        // No bounds at all where all is null: kept, and the rows are filtered after.
        if expected != [0, 1, 2, 3] {
            expected.push(3);
        }
        assert_eq!(kept(&path, std::slice::from_ref(&predicate)), expected, "{predicate:?}");
    }
    let null = |column: &str| Predicate::IsNull { column: column.to_owned() };
    let not_null = |column: &str| Predicate::IsNotNull { column: column.to_owned() };
    assert_eq!(kept(&path, &[null("i")]), [2, 3]);
    assert_eq!(kept(&path, &[not_null("t")]), [0, 1, 2]);
    assert_eq!(kept(&path, &[null("t"), not_null("i"), Predicate::new("i", GtEq, 4)]), [2]);
    assert_eq!(kept(&path, &[]), [0, 1, 2, 3]);
}

#[test]
fn skipped_groups_are_not_read() {
    let (_folder, path) = stored(&groups(), 2);
    let source = ParquetSource::open(&path).unwrap();
    let start = {
        let footer = Footer::read(&path).unwrap();
        let range = footer.builder.metadata().row_group(1).column(0).byte_range();
        usize::try_from(range.0).unwrap()
    };
    let mut bytes = fs::read(&path).unwrap();
    bytes[start..start + 8].fill(0xFF);
    fs::write(&path, bytes).unwrap();
    let low = ScanRequest::all().filter(Predicate::new("i", Comparison::Lt, 2));
    assert_eq!(Dataset::collect(source.scan(&low).unwrap()).unwrap().num_rows().unwrap(), 2);
    let texts = ScanRequest::all().columns(["t"]);
    assert_eq!(Dataset::collect(source.scan(&texts).unwrap()).unwrap().num_rows().unwrap(), 8);
    let all = Dataset::collect(source.scan(&ScanRequest::all()).unwrap());
    assert!(matches!(&all, Err(Error::InvalidData { what, .. }) if what.contains("t.parquet")), "{all:?}");
}

#[test]
fn unsigned_numbers_beyond_the_signed_ones_are_found() {
    let data = table(vec![("u", Arc::new(UInt64Array::from(vec![1, u64::MAX, 5, u64::MAX - 1])))]);
    let (_folder, path) = stored(&data, 1);
    let source = ParquetSource::open(&path).unwrap();
    let above = ScanRequest::all().filter(Predicate::new("u", Comparison::Gt, 4));
    assert_eq!(Dataset::collect(source.scan(&above).unwrap()).unwrap().num_rows().unwrap(), 3);
}

#[test]
fn annotations_units_and_metadata_come_back() {
    let data = groups();
    let schema = data.schema().with_role("i", Role::Key).and_then(|s| s.with_sensitivity("t", Sensitivity::Secret));
    let schema = schema.and_then(|s| s.with_unit("f", "VND")).unwrap();
    let data = data.with_schema(schema.clone()).unwrap();
    let (_folder, path) = stored(&data, 3);
    let source = ParquetSource::open(&path).unwrap();
    assert_eq!(source.schema().unwrap(), schema);
    assert_eq!(Dataset::from_source(Arc::new(source)).unwrap().digest().unwrap(), data.digest().unwrap());
}

#[test]
fn a_given_schema_chooses_columns_and_adapts_encodings() {
    let data = groups();
    let (_folder, path) = stored(&data, 3);
    let fields = vec![Field::new("t", DataType::Utf8View, true), Field::new("i", DataType::Int64, true)];
    let wanted = Schema::new(ArrowSchema::new(fields)).unwrap().with_role("i", Role::Label).unwrap();
    let source = ParquetSource::builder(&path).schema(wanted.clone()).build().unwrap();
    let batch = Dataset::from_source(Arc::new(source)).unwrap().to_batch().unwrap();
    assert_eq!(batch.schema_ref(), wanted.arrow());
    assert_eq!(batch.column(0).as_string_view().value(4), "4");
    let strict = Schema::new(ArrowSchema::new(vec![Field::new("i", DataType::Int64, false)])).unwrap();
    let nulls = ParquetSource::builder(&path).schema(strict).build().unwrap();
    let error = Dataset::collect(nulls.scan(&ScanRequest::all()).unwrap()).unwrap_err();
    assert!(matches!(error, Error::Schema { .. }), "{error}");
}

#[test]
fn files_of_other_writers_are_read() {
    // As a plain Arrow writer leaves them: no annotations, no compression, another width.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("plain.parquet");
    let batch = RecordBatch::try_from_iter([("n", Arc::new(Int32Array::from(vec![7, 8])) as ArrayRef)]).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(File::create(&path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    let source = ParquetSource::open(&path).unwrap();
    assert_eq!(source.schema().unwrap().role("n").unwrap(), Role::Other);
    let request = ScanRequest::all().filter(Predicate::new("n", Comparison::Gt, 7));
    assert_eq!(Dataset::collect(source.scan(&request).unwrap()).unwrap().num_rows().unwrap(), 1);
}

#[test]
fn groups_are_written_out_as_they_fill() {
    let data = table(vec![("i", Arc::new(Int64Array::from_iter_values(0..10)))]);
    let (_folder, path) = stored(&data, 4);
    let rows: Vec<i64> = Footer::read(&path)
        .unwrap()
        .builder
        .metadata()
        .row_groups()
        .iter()
        .map(parquet::file::metadata::RowGroupMetaData::num_rows)
        .collect();
    assert_eq!(rows, [4, 4, 2]);
    assert!(matches!(
        ParquetSink::builder("x").group_rows(0).build(),
        Err(Error::Invalid { setting: "group_rows", .. })
    ));
    let batches: Vec<_> = ParquetSource::open(&path)
        .unwrap()
        .scan(&ScanRequest::all().batch_rows(3).limit(5))
        .unwrap()
        .map(|batch| batch.unwrap().column(0).as_primitive::<Int64Type>().values().to_vec())
        .collect();
    assert_eq!(batches.concat(), [0, 1, 2, 3, 4]);
}

#[test]
fn types_that_parquet_does_not_hold_are_named_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let span = DataType::Interval(IntervalUnit::MonthDayNano);
    let item = Arc::new(Field::new_list_field(span.clone(), true));
    let member = Field::new("member", DataType::List(item), true);
    let union = DataType::Union(UnionFields::empty(), UnionMode::Sparse);
    for unfit in [span, DataType::Struct(vec![member].into()), union] {
        let fields = vec![Field::new("ok", DataType::Int64, true), Field::new("unfit", unfit.clone(), true)];
        let schema = Schema::new(ArrowSchema::new(fields)).unwrap();
        let begun = ParquetSink::new(folder.path().join("t.parquet")).begin(&schema).map(|_| ());
        assert!(matches!(&begun, Err(Error::Schema { column, .. }) if column == "unfit"), "{unfit} {begun:?}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

/// A predicate over one of the columns of `random::tables`.
fn predicates() -> impl Strategy<Value = Predicate> {
    use Comparison::{Eq, Gt, GtEq, Lt, LtEq, NotEq};
    let comparison = prop_oneof![Just(Eq), Just(NotEq), Just(Lt), Just(LtEq), Just(Gt), Just(GtEq)];
    let number = prop_oneof![
        any::<i64>().prop_map(Scalar::Int),
        (-9_i64..9).prop_map(Scalar::Int),
        any::<u64>().prop_map(|bits| Scalar::Float(f64::from_bits(bits))),
        Just(Scalar::Float(0.0)),
        Just(Scalar::Float(-0.0)),
    ];
    let numeric = prop_oneof![Just("id"), Just("short"), Just("unsigned"), Just("double"), Just("single")];
    let times = prop_oneof![Just("day"), Just("time"), Just("nanos")];
    let all = prop_oneof![Just("id"), Just("double"), Just("flag"), Just("day"), Just("nanos"), Just("text")];
    prop_oneof![
        (numeric, comparison.clone(), number).prop_map(|(c, how, v)| Predicate::new(c, how, v)),
        (times, comparison.clone(), any::<i64>()).prop_map(|(c, how, t)| Predicate::new(
            c,
            how,
            EventTime::from_micros(t / 100)
        )),
        (comparison.clone(), ".{0,3}").prop_map(|(how, text)| Predicate::new("text", how, text)),
        (comparison, any::<bool>()).prop_map(|(how, flag)| Predicate::new("flag", how, flag)),
        all.clone().prop_map(|column| Predicate::IsNull { column: column.to_owned() }),
        all.prop_map(|column| Predicate::IsNotNull { column: column.to_owned() }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_written_is_read_back_exactly_and_skipping_changes_nothing(
        batch in tables(false),
        group_rows in 1_usize..9,
        predicates in proptest::collection::vec(predicates(), 0..3),
    ) {
        let data = Dataset::from_batches([batch]).unwrap();
        let (_folder, path) = stored(&data, group_rows);
        let source = ParquetSource::open(&path).unwrap();
        let read = Dataset::collect(source.scan(&ScanRequest::all()).unwrap()).unwrap();
        prop_assert_eq!(read.digest().unwrap(), data.digest().unwrap());
        let request = predicates.into_iter().fold(ScanRequest::all(), ScanRequest::filter);
        let skipped = Dataset::collect(source.scan(&request).unwrap()).unwrap();
        let filtered = Dataset::collect(data.scan(&request).unwrap()).unwrap();
        prop_assert_eq!(skipped.digest().unwrap(), filtered.digest().unwrap(), "{:?}", request);
    }
}
