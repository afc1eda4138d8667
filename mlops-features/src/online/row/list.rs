//! Lists in the tail of a row.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, ListArray, StringBuilder};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{Field, Float64Type, Int64Type};

use crate::define::Item;
use crate::error::Result;

/// Bytes of a number, and of the length before a text.
const NUMBER: usize = 8;
const LENGTH: usize = 4;

/// Appends `elements`, of which none is null.
pub(super) fn put(item: Item, elements: &ArrayRef, out: &mut Vec<u8>) {
    match item {
        Item::Int64 => {
            let numbers = elements.as_primitive::<Int64Type>().values();
            numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        }
        Item::Float64 => {
            let numbers = elements.as_primitive::<Float64Type>().values();
            numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
        }
        Item::Utf8 => {
            let texts = elements.as_string::<i32>();
            for text in (0..texts.len()).map(|at| texts.value(at)) {
                out.extend_from_slice(&(text.len() as u32).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
    }
}

/// How many bytes [`put`] appends.
pub(super) fn size(item: Item, elements: &ArrayRef) -> usize {
    match item {
        Item::Int64 | Item::Float64 => elements.len() * NUMBER,
        Item::Utf8 => {
            let texts = elements.as_string::<i32>();
            texts.len() * LENGTH + (0..texts.len()).map(|at| texts.value_length(at) as usize).sum::<usize>()
        }
    }
}

/// Whether `bytes` are a list.
pub(super) fn is_whole(item: Item, bytes: &[u8]) -> bool {
    match item {
        Item::Int64 | Item::Float64 => bytes.len().is_multiple_of(NUMBER),
        Item::Utf8 => Texts(bytes).all(|text| text.is_some()),
    }
}

/// The texts of one list; `None` where the bytes are none, and then the end.
struct Texts<'a>(&'a [u8]);

impl<'a> Iterator for Texts<'a> {
    type Item = Option<&'a str>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.0);
        let text = rest.split_at_checked(LENGTH).and_then(|(length, rest)| {
            let length = u32::from_le_bytes(length.try_into().ok()?);
            let (text, rest) = rest.split_at_checked(length as usize)?;
            self.0 = rest;
            std::str::from_utf8(text).ok()
        });
        Some(text)
    }
}

/// The lists whose bytes stand in `tail`, each up to its end; all of them are [whole](is_whole).
pub(super) fn column(item: Item, tail: &[u8], ends: &[i32], nulls: Option<NullBuffer>) -> Result<ListArray> {
    let numbers = || tail.chunks_exact(NUMBER).map(|bytes| bytes.iter().rev().fold(0, |n, b| n << 8 | u64::from(*b)));
    let by_number = || ends.iter().map(|end| end / NUMBER as i32).collect::<Vec<_>>();
    let (offsets, values): (Vec<i32>, ArrayRef) = match item {
        Item::Int64 => (by_number(), Arc::new(Int64Array::from_iter_values(numbers().map(|bits| bits as i64)))),
        Item::Float64 => (by_number(), Arc::new(Float64Array::from_iter_values(numbers().map(f64::from_bits)))),
        Item::Utf8 => {
            let mut texts = StringBuilder::new();
            let mut offsets = vec![0];
            for ends in ends.windows(2) {
                let list = tail.get(ends[0] as usize..ends[1] as usize).unwrap_or_default();
                Texts(list).flatten().for_each(|text| texts.append_value(text));
                offsets.push(offsets[offsets.len() - 1] + Texts(list).count() as i32);
            }
            (offsets, Arc::new(texts.finish()))
        }
    };
    let field = Arc::new(Field::new_list_field(item.data_type(), true));
    Ok(ListArray::try_new(field, OffsetBuffer::new(offsets.into()), values, nulls)?)
}
