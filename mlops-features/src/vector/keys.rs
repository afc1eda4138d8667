//! Keys back from their bytes.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, RecordBatchOptions, StringArray};
use arrow::datatypes::{Field, Schema as ArrowSchema};

use crate::define::KeyType;
use crate::entity::Entity;
use crate::error::{Core, Result};

/// One value of a key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Part<'a> {
    Integer(i64),
    Text(&'a str),
}

/// The values of an encoded key of `entity`, in the order of its columns; `None` when the bytes are none.
fn parts<'a>(entity: &Entity, bytes: &'a [u8]) -> Option<Vec<Part<'a>>> {
    let keys = entity.keys();
    let mut order: Vec<usize> = (0..keys.len()).collect();
    order.sort_by(|a, b| keys[*a].name.cmp(&keys[*b].name));
    // In front of the values: their number, and kind, length and bytes of each name.
    let head: usize = 4 + keys.iter().map(|key| 8 + key.name.as_str().len()).sum::<usize>();
    let mut rest = bytes.get(head..)?;
    let mut parts = vec![Part::Integer(0); keys.len()];
    for at in order {
        let length = u32::from_le_bytes(rest.get(4..8)?.try_into().ok()?) as usize;
        let value = rest.get(8..)?.get(..length)?;
        parts[at] = match keys[at].key_type {
            KeyType::Int64 => Part::Integer(i64::from_le_bytes(value.try_into().ok()?)),
            KeyType::Utf8 => Part::Text(std::str::from_utf8(value).ok()?),
        };
        rest = &rest[8 + length..];
    }
    Some(parts)
}

/// The order of two encoded keys of `entity`: by their columns, numbers as numbers and text by its bytes.
pub(super) fn compare(entity: &Entity, a: &[u8], b: &[u8]) -> Ordering {
    parts(entity, a).cmp(&parts(entity, b))
}

/// The key columns of encoded keys.
pub(super) fn columns(entity: &Entity, keys: &[Arc<[u8]>]) -> Result<RecordBatch> {
    let torn = || Core::corrupt(format!("key of `{}`", entity.name()), "bytes that are none");
    let all = keys.iter().map(|key| parts(entity, key)).collect::<Option<Vec<_>>>().ok_or_else(torn)?;
    let fields = entity.keys().iter().map(|key| Field::new(key.name.as_str(), key.key_type.data_type(), false));
    let column = |at: usize, key_type: KeyType| -> ArrayRef {
        match key_type {
            KeyType::Int64 => Arc::new(Int64Array::from_iter_values(all.iter().map(|parts| match parts[at] {
                Part::Integer(value) => value,
                Part::Text(_) => 0,
            }))),
            KeyType::Utf8 => Arc::new(StringArray::from_iter_values(all.iter().map(|parts| match parts[at] {
                Part::Text(value) => value,
                Part::Integer(_) => "",
            }))),
        }
    };
    let columns = entity.keys().iter().enumerate().map(|(at, key)| column(at, key.key_type)).collect();
    let options = RecordBatchOptions::new().with_row_count(Some(keys.len()));
    let schema = Arc::new(ArrowSchema::new(fields.collect::<Vec<_>>()));
    Ok(RecordBatch::try_new_with_options(schema, columns, &options)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Keys;

    #[test]
    fn keys_come_back_as_they_were_and_in_their_order() {
        let pair = Entity::builder("pair").key("b", KeyType::Utf8).key("a", KeyType::Int64).build().unwrap();
        let arrays: [ArrayRef; 2] =
            [Arc::new(StringArray::from(vec!["é", "", "é"])), Arc::new(Int64Array::from(vec![i64::MIN, i64::MAX, -1]))];
        let keys = Keys::new(&pair, &arrays).unwrap();
        let bytes = |row| {
            let mut out = Vec::new();
            assert!(keys.encode(row, &mut out));
            Arc::<[u8]>::from(out)
        };
        let encoded = [bytes(0), bytes(1), bytes(2)];
        let back = columns(&pair, &encoded).unwrap();
        assert_eq!(back.columns(), arrays);
        assert_eq!(compare(&pair, &encoded[1], &encoded[0]), Ordering::Less);
        assert_eq!(compare(&pair, &encoded[0], &encoded[2]), Ordering::Less);
        for cut in 0..encoded[0].len() {
            assert_eq!(parts(&pair, &encoded[0][..cut]), None);
        }
    }
}
