use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BinaryArray, BooleanArray, FixedSizeListArray, Float64Array, Int32Array, Int64Array,
    ListArray, ListBuilder, RecordBatch, StringArray, StringBuilder, TimestampMicrosecondArray,
};
use arrow::datatypes::{Float32Type, Float64Type, Int64Type};
use proptest::prelude::*;

use super::*;
use crate::{Entity, FeatureView, Item, KeyType};

fn view() -> FeatureView {
    let user = Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
    FeatureView::builder("stats", user)
        .feature("flag", ValueType::Bool)
        .feature("name", ValueType::Utf8)
        .feature("small", ValueType::Int32)
        .feature("big", ValueType::Int64)
        .feature("raw", ValueType::Binary)
        .feature("ratio", ValueType::Float64)
        .feature("seen", ValueType::Timestamp)
        .created("created")
        .build()
        .unwrap()
}

fn batch(rows: usize, present: bool) -> RecordBatch {
    fn of<T: Clone>(value: T, rows: usize, present: bool) -> Vec<Option<T>> {
        vec![present.then_some(value); rows]
    }
    let time = |v: Vec<Option<i64>>| Arc::new(TimestampMicrosecondArray::from(v).with_timezone("UTC")) as ArrayRef;
    RecordBatch::try_from_iter_with_nullable([
        ("user_id", Arc::new(Int64Array::from_iter_values(0..rows as i64)) as ArrayRef, true),
        ("event_timestamp", time(vec![Some(-7); rows]), true),
        ("created", time(of(11, rows, present)), true),
        ("flag", Arc::new(BooleanArray::from(of(true, rows, present))), true),
        ("name", Arc::new(StringArray::from(of("é", rows, present))), true),
        ("small", Arc::new(Int32Array::from(of(-2, rows, present))), true),
        ("big", Arc::new(Int64Array::from(of(i64::MIN, rows, present))), true),
        ("raw", Arc::new(BinaryArray::from(of(&[0_u8, 255][..], rows, present))), true),
        ("ratio", Arc::new(Float64Array::from(of(f64::NEG_INFINITY, rows, present))), true),
        ("seen", time(of(i64::MAX, rows, present)), true),
    ])
    .unwrap()
}

fn encode(view: &FeatureView, rows: &RecordBatch, row: usize) -> Vec<u8> {
    let rows = view.conform(rows).unwrap();
    one(&RowWriter::new(view.layout(), &rows, 1, true), row)
}

fn one(writer: &RowWriter<'_>, row: usize) -> Vec<u8> {
    let mut block = RowBlock::default();
    assert_eq!(writer.encode(&[row], &mut block).unwrap(), 1);
    block.rows().next().unwrap().to_vec()
}

fn builder(view: &FeatureView, features: &[usize], rows: usize) -> ColumnsBuilder {
    ColumnsBuilder::new(std::iter::once((&**view.layout(), features, rows)))
}

fn decode(view: &FeatureView, bytes: &[u8]) -> std::result::Result<Vec<ArrayRef>, Torn> {
    let features: Vec<usize> = (0..view.features().len()).collect();
    let mut builder = builder(view, &features, 1);
    builder.fill(0).push(0, &RowBytes::parse(bytes).ok_or(Torn)?, view.layout(), None)?;
    Ok(builder.finish().unwrap().swap_remove(0).columns)
}

#[test]
fn every_type_comes_back_as_it_was_and_null_stays_null() {
    let view = view();
    for present in [true, false] {
        let rows = batch(2, present);
        let decoded = decode(&view, &encode(&view, &rows, 1)).unwrap();
        for (array, original) in decoded.iter().zip(&rows.columns()[3..]) {
            assert_eq!(array.as_ref(), original.slice(1, 1).as_ref());
        }
    }
}

/// Format 1, kept for good: a row written by the first release must always read.
#[test]
fn bytes_of_format_one_do_not_change() {
    let view = view();
    let mut expected = vec![1];
    expected.extend_from_slice(&view.schema_id().to_le_bytes());
    expected.extend_from_slice(&(-7_i64).to_le_bytes());
    expected.extend_from_slice(&11_i64.to_le_bytes());
    expected.push(0b1111_1111); // created and seven features
    expected.push(1); // flag
    expected.extend_from_slice(&2_u32.to_le_bytes()); // end of name
    expected.extend_from_slice(&(-2_i32).to_le_bytes());
    expected.extend_from_slice(&i64::MIN.to_le_bytes());
    expected.extend_from_slice(&4_u32.to_le_bytes()); // end of raw
    expected.extend_from_slice(&f64::NEG_INFINITY.to_le_bytes());
    expected.extend_from_slice(&i64::MAX.to_le_bytes());
    expected.extend_from_slice("é".as_bytes());
    expected.extend_from_slice(&[0, 255]);
    assert_eq!(encode(&view, &batch(1, true), 0), expected);
    assert_eq!(view.schema_id(), 0x92F1_2F59, "the id is part of the format");
}

/// Lists and vectors: the same format, values of new kinds.
#[test]
fn lists_and_vectors_come_back_as_they_were() {
    let user = Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
    let view = FeatureView::builder("lists", user)
        .feature("last", ValueType::List(Item::Int64))
        .feature("point", ValueType::Vector(3))
        .feature("shares", ValueType::List(Item::Float64))
        .feature("names", ValueType::List(Item::Utf8))
        .build()
        .unwrap();
    let bits = f64::from_bits(0x7FF8_0000_0000_0001);
    let mut names = ListBuilder::new(StringBuilder::new());
    names.append_value([Some("é"), Some("")]);
    names.append_null();
    names.append_value([None::<&str>; 0]);
    let numbers = |rows| Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(rows)) as ArrayRef;
    let reals = |rows| Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(rows)) as ArrayRef;
    let points = |rows| Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows, 3)) as ArrayRef;
    let rows = RecordBatch::try_from_iter_with_nullable([
        ("user_id", Arc::new(Int64Array::from(vec![1, 2, 3])) as ArrayRef, true),
        (
            "event_timestamp",
            Arc::new(TimestampMicrosecondArray::from(vec![1, 2, 3]).with_timezone("UTC")) as ArrayRef,
            true,
        ),
        ("last", numbers(vec![Some(vec![Some(i64::MIN), Some(7)]), None, Some(vec![])]), true),
        (
            "point",
            points(vec![Some(vec![Some(1.5), Some(-0.0), Some(f32::NAN)]), None, Some(vec![Some(0.0); 3])]),
            true,
        ),
        ("shares", reals(vec![Some(vec![Some(bits)]), None, Some(vec![Some(f64::INFINITY); 2])]), true),
        ("names", Arc::new(names.finish()) as ArrayRef, true),
    ])
    .unwrap();
    let conformed = view.conform(&rows).unwrap();
    let writer = RowWriter::new(view.layout(), &conformed, 1, false);
    let mut many = builder(&view, &[0, 1, 2, 3], 3);
    for row in 0..3 {
        let bytes = one(&writer, row);
        many.fill(0).push(row, &RowBytes::parse(&bytes).unwrap(), view.layout(), None).unwrap();
        let has_values = row != 1;
        for length in (0..bytes.len()).filter(|_| has_values) {
            let cut = RowBytes::parse(&bytes[..length]);
            let mut one = builder(&view, &[0, 1, 2, 3], 1);
            let torn = cut.is_none_or(|cut| one.fill(0).push(0, &cut, view.layout(), None).is_err());
            assert!(torn, "row {row} cut to {length} of {} bytes", bytes.len());
        }
    }
    let columns = many.finish().unwrap().swap_remove(0).columns;
    for (decoded, original) in columns.iter().zip(&rows.columns()[2..]) {
        assert_eq!(format!("{decoded:?}"), format!("{original:?}"), "NaN compares by what is shown");
    }
    let share = columns[2].as_list::<i32>().value(0);
    assert_eq!(share.as_primitive::<Float64Type>().value(0).to_bits(), bits.to_bits());
}

#[test]
fn a_row_that_is_cut_off_is_torn_and_never_panics() {
    let view = view();
    let whole = encode(&view, &batch(1, true), 0);
    for length in 0..whole.len() {
        assert!(decode(&view, &whole[..length]).is_err(), "{length} bytes of {}", whole.len());
    }
}

proptest! {
    /// Per read: features in any order, and per row whether it is there, with values or nulls.
    #[test]
    fn reads_that_share_an_allocation_are_what_they_are_alone(
        reads in proptest::collection::vec(
            (
                proptest::collection::vec(0_usize..7, 0..9),
                proptest::collection::vec(proptest::option::of(any::<bool>()), 0..70),
            ),
            0..4,
        ),
    ) {
        let view = view();
        let rows = [false, true].map(|present| encode(&view, &batch(1, present), 0));
        let fill = |builder: &mut ColumnsBuilder, at: usize, states: &[Option<bool>]| {
            let mut filling = builder.fill(at);
            for (row, state) in states.iter().enumerate() {
                match state {
                    None => filling.skip(row),
                    Some(present) => {
                        let stored = RowBytes::parse(&rows[usize::from(*present)]).unwrap();
                        filling.push(row, &stored, view.layout(), None).unwrap();
                    }
                }
            }
        };
        let each = reads.iter().map(|(features, states)| (&**view.layout(), &**features, states.len()));
        let mut together = ColumnsBuilder::new(each);
        // Whichever is filled first.
        reads.iter().enumerate().rev().for_each(|(at, (_, states))| fill(&mut together, at, states));
        let together = together.finish().unwrap();
        prop_assert_eq!(together.len(), reads.len());
        for ((features, states), together) in reads.iter().zip(together) {
            let mut alone = builder(&view, features, states.len());
            fill(&mut alone, 0, states);
            let alone = alone.finish().unwrap().swap_remove(0);
            prop_assert_eq!(&together.columns, &alone.columns);
            prop_assert_eq!(&together.event_time, &alone.event_time);
            prop_assert_eq!(&together.created, &alone.created);
            let there: Vec<bool> = (0..states.len()).map(|row| together.found(row)).collect();
            prop_assert_eq!(there, states.iter().map(Option::is_some).collect::<Vec<_>>());
            let values = states.iter().map(|state| *state == Some(true)).collect::<Vec<_>>();
            for column in &together.columns {
                prop_assert_eq!((0..column.len()).map(|row| column.is_valid(row)).collect::<Vec<_>>(), values.clone());
            }
        }
    }

    #[test]
    fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200), header in any::<bool>()) {
        let mut bytes = bytes;
        if header && !bytes.is_empty() {
            bytes[0] = FORMAT;
        }
        let _ = decode(&view(), &bytes);
    }
}
