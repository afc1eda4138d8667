//! Arrow → polars → Arrow.

use arrow::array::{
    Array, AsArray, BinaryArray, BinaryViewArray, Date32Array, Date64Array, Decimal64Array, Decimal128Array,
    Decimal256Array, DictionaryArray, DurationSecondArray, FixedSizeBinaryArray, FixedSizeListArray, Float16Array,
    Float32Array, Int8Array, Int16Array, Int32Array, IntervalDayTimeArray, LargeBinaryArray, LargeStringArray,
    ListArray, MapArray, NullArray, RunArray, StringViewArray, StructArray, Time32SecondArray, Time64MicrosecondArray,
    Time64NanosecondArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray, UInt8Array, UInt16Array, UInt32Array, UInt64Array, new_null_array,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Fields, Int8Type, Int32Type, TimeUnit, i256};
use proptest::prelude::*;

use super::*;

/// There and back, whole and as a slice with an offset, in one batch and in two.
#[track_caller]
fn check(array: ArrayRef, expected: &DataType) {
    let expected = cast(&array, expected).unwrap();
    let batch = RecordBatch::try_from_iter_with_nullable([("x", array.clone(), true)]).unwrap();
    let rows = array.len();
    for cuts in [vec![batch.clone()], vec![batch.slice(0, 1), batch.slice(1, rows - 1)], vec![batch.slice(1, rows - 2)]]
    {
        let skipped = usize::from(cuts.len() == 1 && cuts[0].num_rows() < rows);
        let data = Dataset::from_batches(cuts).unwrap();
        let back = Dataset::from_polars(data.to_polars().unwrap()).unwrap().to_batch().unwrap();
        let found = back.column(0);
        assert_eq!(found.data_type(), expected.data_type());
        assert_eq!(found.as_ref(), expected.slice(skipped, back.num_rows()).as_ref());
    }
    let none = Dataset::empty(Schema::new(batch.schema()).unwrap());
    let back = Dataset::from_polars(none.to_polars().unwrap()).unwrap();
    assert_eq!((back.num_rows().unwrap(), back.schema().field("x").unwrap().data_type()), (0, expected.data_type()));
    let nulls = RecordBatch::try_from_iter([("x", new_null_array(array.data_type(), 3))]).unwrap();
    let back = Dataset::from_polars(held(nulls).to_polars().unwrap()).unwrap().to_batch().unwrap();
    assert_eq!(back.column(0).logical_null_count(), 3);
}

#[track_caller]
fn same(array: impl Array + 'static) {
    let data_type = array.data_type().clone();
    check(Arc::new(array), &data_type);
}

#[test]
fn plain_types_come_back_as_they_went() {
    same(Int8Array::from(vec![Some(i8::MIN), None, Some(i8::MAX)]));
    same(Int16Array::from(vec![Some(i16::MIN), None, Some(i16::MAX)]));
    same(Int32Array::from(vec![Some(i32::MIN), None, Some(i32::MAX)]));
    same(Int64Array::from(vec![Some(i64::MIN), None, Some(i64::MAX)]));
    same(UInt8Array::from(vec![Some(0), None, Some(u8::MAX)]));
    same(UInt16Array::from(vec![Some(0), None, Some(u16::MAX)]));
    same(UInt32Array::from(vec![Some(0), None, Some(u32::MAX)]));
    same(UInt64Array::from(vec![Some(0), None, Some(u64::MAX)]));
    same(Float32Array::from(vec![Some(f32::MIN), None, Some(f32::INFINITY)]));
    same(BooleanArray::from(vec![Some(true), None, Some(false), Some(true)]));
    same(Date32Array::from(vec![Some(-1), None, Some(19_000)]));
    same(StringViewArray::from(vec![Some(""), None, Some("một chuỗi dài hơn mười hai byte")]));
    same(BinaryViewArray::from(vec![Some(&b"\0\xff"[..]), None, Some(b"more than twelve bytes")]));
    same(Decimal128Array::from(vec![Some(-1), None, Some(12_345)]).with_precision_and_scale(10, 2).unwrap());
    same(Time64NanosecondArray::from(vec![Some(0), None, Some(86_399_999_999_999)]));
    same(TimestampMillisecondArray::from(vec![Some(-1), None, Some(1)]));
    same(TimestampMicrosecondArray::from(vec![Some(i64::MIN), None, Some(i64::MAX)]).with_timezone("UTC"));
    same(TimestampNanosecondArray::from(vec![Some(-1), None, Some(1)]).with_timezone("Asia/Ho_Chi_Minh"));
    let nulls = RecordBatch::try_from_iter([("x", Arc::new(NullArray::new(4)) as ArrayRef)]).unwrap();
    let back = Dataset::from_polars(held(nulls.clone()).to_polars().unwrap()).unwrap().to_batch().unwrap();
    assert_eq!(back.column(0), nulls.column(0));
}

#[test]
fn floats_keep_their_bits() {
    let bits = [0.0, -0.0, f64::NAN, -f64::NAN, f64::from_bits(0x7ff8_0000_0000_1234), f64::MIN_POSITIVE, -1.5];
    let batch = RecordBatch::try_from_iter([("x", Arc::new(Float64Array::from(bits.to_vec())) as ArrayRef)]).unwrap();
    let back = Dataset::from_polars(held(batch).to_polars().unwrap()).unwrap().to_batch().unwrap();
    let found = back.column(0).as_primitive::<arrow::datatypes::Float64Type>().values().to_vec();
    assert_eq!(found.iter().map(|v| v.to_bits()).collect::<Vec<_>>(), bits.map(f64::to_bits));
}

#[test]
fn what_polars_lacks_crosses_as_what_it_has() {
    let text = DataType::Utf8View;
    check(Arc::new(StringArray::from(vec![Some("a"), None, Some("một chuỗi dài hơn")])), &text);
    check(Arc::new(LargeStringArray::from(vec![Some("a"), None, Some("một chuỗi dài hơn")])), &text);
    check(Arc::new(BinaryArray::from(vec![Some(&b"a"[..]), None, Some(b"")])), &DataType::BinaryView);
    check(Arc::new(LargeBinaryArray::from(vec![Some(&b"a"[..]), None, Some(b"")])), &DataType::BinaryView);
    let fixed = FixedSizeBinaryArray::try_from_sparse_iter_with_size([Some(b"ab"), None, Some(b"cd")].into_iter(), 2);
    check(Arc::new(fixed.unwrap()), &DataType::BinaryView);
    let half = Float32Array::from(vec![Some(0.5), None, Some(-2.0)]);
    check(cast(&half, &DataType::Float16).unwrap(), &DataType::Float32);
    let days = Date64Array::from(vec![Some(86_400_000), None, Some(-86_400_000)]);
    check(Arc::new(days), &DataType::Timestamp(TimeUnit::Millisecond, None));
    let nanos = DataType::Time64(TimeUnit::Nanosecond);
    check(Arc::new(Time32SecondArray::from(vec![Some(1), None, Some(86_399)])), &nanos);
    check(Arc::new(Time64MicrosecondArray::from(vec![Some(1), None, Some(2)])), &nanos);
    let seconds = TimestampSecondArray::from(vec![Some(-5), None, Some(7)]).with_timezone("UTC");
    check(Arc::new(seconds), &DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())));
    check(
        Arc::new(DurationSecondArray::from(vec![Some(-5), None, Some(7)])),
        &DataType::Duration(TimeUnit::Millisecond),
    );
    let narrow = Decimal64Array::from(vec![Some(-1), None, Some(7)]).with_precision_and_scale(9, 3).unwrap();
    check(Arc::new(narrow), &DataType::Decimal128(9, 3));
    let wide = Decimal256Array::from(vec![Some(i256::from_i128(-1)), None, Some(i256::from_i128(7))]);
    check(Arc::new(wide.with_precision_and_scale(30, 3).unwrap()), &DataType::Decimal128(30, 3));
    let zero_offset = TimestampMicrosecondArray::from(vec![1, 2, 3]).with_timezone("+00:00");
    check(Arc::new(zero_offset), &DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())));
    let hanoi = TimestampMicrosecondArray::from(vec![1, 2, 3]).with_timezone("+07:00");
    check(Arc::new(hanoi), &DataType::Timestamp(TimeUnit::Microsecond, Some("Etc/GMT-7".into())));
}

#[test]
fn dictionaries_of_text_stay_dictionaries_and_others_are_decoded() {
    let text: DictionaryArray<Int8Type> = vec![Some("b"), None, Some("a"), Some("b")].into_iter().collect();
    let expected = DataType::Dictionary(Box::new(DataType::UInt32), Box::new(DataType::Utf8));
    let batch = RecordBatch::try_from_iter([("x", Arc::new(text.clone()) as ArrayRef)]).unwrap();
    let back = Dataset::from_polars(held(batch).to_polars().unwrap()).unwrap().to_batch().unwrap();
    assert_eq!(*back.column(0).data_type(), expected);
    let plain = |array: &ArrayRef| cast(array, &DataType::Utf8).unwrap();
    assert_eq!(plain(back.column(0)).as_ref(), plain(&(Arc::new(text) as ArrayRef)).as_ref());
    let keys = Int8Array::from(vec![Some(1), None, Some(0)]);
    let numbers = DictionaryArray::new(keys, Arc::new(Int64Array::from(vec![10, 20])));
    check(Arc::new(numbers), &DataType::Int64);
}

fn list_of(values: ArrayRef) -> ListArray {
    let rows = values.len();
    let lengths = [0, 2, rows - 3, 1];
    let field = Arc::new(Field::new("item", values.data_type().clone(), true));
    let nulls = NullBuffer::from(vec![true, true, false, true]);
    ListArray::new(field, OffsetBuffer::from_lengths(lengths), values, Some(nulls))
}

#[test]
fn lists_and_structs_cross_with_what_is_in_them() {
    let large = |item: DataType| DataType::LargeList(Arc::new(Field::new("item", item, true)));
    let ints: ArrayRef = Arc::new(Int64Array::from(vec![Some(1), None, Some(3), Some(4), Some(5)]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), None, Some("c"), Some("d"), Some("e")]));
    let days: ArrayRef = Arc::new(Date32Array::from(vec![Some(1), None, Some(3), Some(4), Some(5)]));
    check(Arc::new(list_of(ints.clone())), &large(DataType::Int64));
    check(Arc::new(list_of(texts.clone())), &large(DataType::Utf8View));
    check(Arc::new(list_of(days)), &large(DataType::Date32));
    let narrow = cast(&ints, &DataType::Decimal64(12, 2)).unwrap();
    check(Arc::new(list_of(narrow)), &large(DataType::Decimal128(12, 2)));
    check(Arc::new(list_of(Arc::new(list_of(ints.clone()).slice(0, 4)))), &large(large(DataType::Int64)));

    let three = Arc::new(Field::new("item", DataType::Int64, true));
    let values = Int64Array::from(vec![1, 2, 3, 4, 5, 6, 7, 8]);
    let pairs = FixedSizeListArray::new(three, 2, Arc::new(values), Some(vec![true, false, true, true].into()));
    same(pairs);

    let fields = Fields::from(vec![Field::new("n", DataType::Int64, true), Field::new("t", DataType::Utf8, true)]);
    let pair = StructArray::new(fields, vec![ints.clone(), texts.clone()], None);
    let viewed = vec![Field::new("n", DataType::Int64, true), Field::new("t", DataType::Utf8View, true)];
    check(Arc::new(pair.clone()), &DataType::Struct(viewed.clone().into()));
    check(Arc::new(list_of(Arc::new(pair))), &large(DataType::Struct(viewed.into())));
}

#[test]
fn a_map_becomes_a_list_of_pairs() {
    let keys = StringArray::from(vec!["a", "b", "c"]);
    let values = Int64Array::from(vec![Some(1), None, Some(3)]);
    let entries = StructArray::from(vec![
        (Arc::new(Field::new("keys", DataType::Utf8, false)), Arc::new(keys) as ArrayRef),
        (Arc::new(Field::new("values", DataType::Int64, true)), Arc::new(values)),
    ]);
    let field = Arc::new(Field::new("entries", entries.data_type().clone(), false));
    let map = MapArray::new(field, OffsetBuffer::from_lengths([2, 0, 1]), entries, None, false);
    let batch = RecordBatch::try_from_iter([("x", Arc::new(map) as ArrayRef)]).unwrap();
    let back = Dataset::from_polars(held(batch).to_polars().unwrap()).unwrap().to_batch().unwrap();
    let list = back.column(0).as_list::<i64>();
    assert_eq!((list.value_length(0), list.value_length(1), list.value_length(2)), (2, 0, 1));
    assert_eq!(list.value(0).as_struct().column(1).as_ref(), &Int64Array::from(vec![Some(1), None]));
}

#[track_caller]
fn refused(array: ArrayRef, shown: &str) {
    let batch = RecordBatch::try_from_iter([("weird", array)]).unwrap();
    let error = held(batch).lazy().map(|_| ()).unwrap_err();
    assert!(matches!(&error, Error::Schema { column, .. } if column == "weird"), "{error:?}");
    assert!(error.to_string().contains(shown), "{error}");
}

#[test]
fn a_type_that_polars_lacks_is_refused_by_the_name_of_its_column() {
    refused(new_null_array(IntervalDayTimeArray::from(vec![None]).data_type(), 2), "Interval");
    let wide = Decimal256Array::from(vec![i256::from_i128(7)]).with_precision_and_scale(60, 3).unwrap();
    refused(Arc::new(wide), "Decimal256(60, 3)");
    let negative = Decimal128Array::from(vec![7]).with_precision_and_scale(10, -2).unwrap();
    refused(Arc::new(negative.clone()), "Decimal128(10, -2)");
    let list = ListArray::new(
        Arc::new(Field::new("item", negative.data_type().clone(), true)),
        OffsetBuffer::from_lengths([1]),
        Arc::new(negative),
        None,
    );
    refused(Arc::new(list), "Decimal128(10, -2)");
    let runs = RunArray::<Int32Type>::try_new(&Int32Array::from(vec![2]), &Int32Array::from(vec![7])).unwrap();
    refused(Arc::new(runs), "RunEndEncoded");
    refused(Arc::new(StructArray::new_empty_fields(2, None)), "Struct");
    refused(Arc::new(TimestampMicrosecondArray::from(vec![1]).with_timezone("Mars/Olympus")), "Mars/Olympus");
}

#[test]
fn a_value_that_polars_cannot_hold_is_an_error_and_never_another_value() {
    let seconds = TimestampSecondArray::from(vec![i64::MAX]);
    let batch = RecordBatch::try_from_iter([("at", Arc::new(seconds) as ArrayRef)]).unwrap();
    let error = held(batch).to_polars().unwrap_err();
    assert!(matches!(&error, Error::InvalidData { what, .. } if what.contains("`at`")), "{error:?}");
}

#[test]
fn buffers_of_numbers_and_views_are_shared_both_ways() {
    let ints = Int64Array::from((0..1_000).collect::<Vec<i64>>());
    let reals = Float64Array::from((0..1_000).map(f64::from).collect::<Vec<f64>>());
    let texts = StringViewArray::from_iter_values((0..1_000).map(|i| format!("more than twelve bytes {i}")));
    let addresses = |batch: &RecordBatch| -> Vec<usize> {
        let columns = batch.columns().iter().map(Array::to_data);
        columns.flat_map(|data| data.buffers().iter().map(|b| b.as_ptr() as usize).collect::<Vec<_>>()).collect()
    };
    let batch =
        RecordBatch::try_from_iter([("i", Arc::new(ints) as ArrayRef), ("r", Arc::new(reals)), ("t", Arc::new(texts))])
            .unwrap();
    let frame = held(batch.clone()).to_polars().unwrap();
    let inside = |name: &str| frame.column(name).unwrap().as_materialized_series().clone();
    let before = addresses(&batch);
    assert!(before.len() >= 4, "two buffers of numbers, one of views, at least one of bytes");
    assert_eq!(inside("i").i64().unwrap().cont_slice().unwrap().as_ptr() as usize, before[0]);
    assert_eq!(inside("r").f64().unwrap().cont_slice().unwrap().as_ptr() as usize, before[1]);
    let texts_inside = inside("t");
    let views = texts_inside.str().unwrap().downcast_iter().next().unwrap().views().as_ptr() as usize;
    assert_eq!(views, before[2]);
    let back = Dataset::from_polars(frame).unwrap().batches().unwrap();
    let first = Dataset::collect(back).unwrap().to_batch().unwrap();
    assert_eq!(addresses(&first), before);
}

#[test]
fn a_shared_buffer_outlives_the_side_that_made_it() {
    let batch = table();
    let frame = held(batch.clone()).to_polars().unwrap();
    drop(batch);
    let back = Dataset::from_polars(frame).unwrap().to_batch().unwrap();
    let read = std::thread::spawn(move || Dataset::from_batches([back]).unwrap().to_polars().unwrap());
    let expected = held(table()).to_polars().unwrap();
    assert!(read.join().unwrap().equals_missing(&expected));
}

#[test]
fn rows_without_columns_keep_their_number() {
    let options = RecordBatchOptions::new().with_row_count(Some(5));
    let bare = RecordBatch::try_new_with_options(Arc::new(ArrowSchema::empty()), vec![], &options).unwrap();
    let frame = held(bare).to_polars().unwrap();
    assert_eq!((frame.height(), frame.width()), (5, 0));
    assert_eq!(Dataset::from_polars(frame).unwrap().num_rows().unwrap(), 5);
}

proptest! {
    #[test]
    fn any_rows_in_any_cut_come_back_whole(
        rows in proptest::collection::vec(
            (any::<Option<i64>>(), any::<Option<f64>>(), proptest::option::of(".{0,20}"), any::<Option<bool>>()),
            0..60,
        ),
        step in 1_usize..20,
    ) {
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("i", Arc::new(rows.iter().map(|r| r.0).collect::<Int64Array>()) as ArrayRef, true),
            ("r", Arc::new(rows.iter().map(|r| r.1).collect::<Float64Array>()), true),
            ("t", Arc::new(rows.iter().map(|r| r.2.as_deref()).collect::<StringArray>()), true),
            ("b", Arc::new(rows.iter().map(|r| r.3).collect::<BooleanArray>()), true),
        ]).unwrap();
        let cuts = (0..rows.len()).step_by(step).map(|at| batch.slice(at, step.min(rows.len() - at)));
        let data = Dataset::held(Schema::new(batch.schema()).unwrap(), cuts).unwrap();
        let back = Dataset::from_polars(data.to_polars().unwrap()).unwrap();
        prop_assert_eq!(back.digest().unwrap(), data.digest().unwrap());
    }
}

#[test]
fn half_floats_are_read_by_value() {
    let half = Float16Array::from(cast(&Float32Array::from(vec![0.5]), &DataType::Float16).unwrap().to_data());
    let batch = RecordBatch::try_from_iter([("x", Arc::new(half) as ArrayRef)]).unwrap();
    let frame = held(batch).to_polars().unwrap();
    assert_eq!(frame.column("x").unwrap().f32().unwrap().get(0), Some(0.5));
}
