//! Keys: columns in, one canonical byte string per row out.
//!
//! The bytes are version 3 of Feast's entity key, so that rows of a store can be found by its clients. All integers are
//! little endian: `u32` number of columns; per column, by name in ascending order, `u32` 2, `u32` length, name; then per
//! value in the same order `u32` type (2 text, 4 integer), `u32` length, bytes.

mod bytes;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringViewArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use mlops_core::Name;

pub(crate) use self::bytes::KeyBytes;
use crate::columns;
use crate::define::KeyType;
use crate::entity::{Entity, KeyField};
use crate::error::{Core, Result};

const TYPE_TEXT: u32 = 2;
const TYPE_INTEGER: u32 = 4;

/// The part of a key's bytes that no row changes, and the order of the rest.
#[derive(Debug)]
pub(crate) struct KeyLayout {
    head: Vec<u8>,
    order: Vec<usize>,
}

impl KeyLayout {
    pub(crate) fn new(keys: &[KeyField]) -> Self {
        let mut order: Vec<usize> = (0..keys.len()).collect();
        order.sort_by(|a, b| keys[*a].name.cmp(&keys[*b].name));
        let mut head = (keys.len() as u32).to_le_bytes().to_vec();
        for at in &order {
            put(&mut head, TYPE_TEXT, keys[*at].name.as_str().as_bytes());
        }
        Self { head, order }
    }
}

fn put(out: &mut Vec<u8>, kind: u32, bytes: &[u8]) {
    out.extend_from_slice(&kind.to_le_bytes());
    out.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes);
}

/// One key column in the layout that is computed on.
#[derive(Clone, Debug)]
pub(crate) enum KeyColumn {
    Integer(Int64Array),
    Text(StringViewArray),
}

impl KeyColumn {
    /// Reads `array` as `key_type`.
    pub(crate) fn read(array: &ArrayRef, key_type: KeyType, column: &str) -> Result<Self> {
        match key_type {
            KeyType::Int64 => Ok(Self::Integer(columns::integers(array, column)?)),
            KeyType::Utf8 => {
                let from =
                    if let DataType::Dictionary(_, values) = array.data_type() { values } else { array.data_type() };
                if !matches!(from, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null) {
                    return Err(Core::schema(column, "text", array.data_type()).into());
                }
                Ok(Self::Text(cast(array, &DataType::Utf8View)?.as_string_view().clone()))
            }
        }
    }

    pub(crate) fn is_null(&self, row: usize) -> bool {
        match self {
            Self::Integer(values) => values.is_null(row),
            Self::Text(values) => values.is_null(row),
        }
    }

    fn has_nulls(&self) -> bool {
        match self {
            Self::Integer(values) => values.null_count() > 0,
            Self::Text(values) => values.null_count() > 0,
        }
    }
}

/// Keys of one entity, one per row, checked and ready to be encoded.
///
/// A key is null when any of its columns is.
#[derive(Clone, Debug)]
pub struct Keys {
    entity: Entity,
    columns: Vec<KeyColumn>,
    rows: usize,
    nullable: bool,
}

impl Keys {
    /// Keys of `entity` from one array per key column, in the entity's order.
    ///
    /// # Errors
    /// `Core(Schema)` when a column is missing, too long or short, or of another type.
    pub fn new(entity: &Entity, arrays: &[ArrayRef]) -> Result<Self> {
        if arrays.len() != entity.keys().len() {
            let expected = format!("{} key columns", entity.keys().len());
            return Err(Core::schema(entity.name().as_str(), expected, format!("{} columns", arrays.len())).into());
        }
        Self::read(entity, arrays.iter().map(Ok))
    }

    /// Keys of `entity` from the columns of its key names.
    ///
    /// # Errors
    /// `Core(Schema)` when a column is missing or of another type.
    pub fn of(entity: &Entity, rows: &RecordBatch) -> Result<Self> {
        Self::read(entity, entity.keys().iter().map(|key| find(rows, &key.name)))
    }

    /// Keys of `entity` from the columns `names`, one per key column.
    pub(crate) fn named(entity: &Entity, names: &[Name], rows: &RecordBatch) -> Result<Self> {
        Self::read(entity, names.iter().map(|name| find(rows, name)))
    }

    /// Keys from arrays in the entity's order.
    fn read<'a>(entity: &Entity, arrays: impl Iterator<Item = Result<&'a ArrayRef>>) -> Result<Self> {
        let mut columns = Vec::with_capacity(entity.keys().len());
        let mut rows = None;
        for (key, array) in entity.keys().iter().zip(arrays) {
            let array = array?;
            let expected = *rows.get_or_insert(array.len());
            if array.len() != expected {
                let found = format!("{} rows", array.len());
                return Err(Core::schema(key.name.as_str(), format!("{expected} rows"), found).into());
            }
            columns.push(KeyColumn::read(array, key.key_type, key.name.as_str())?);
        }
        let nullable = columns.iter().any(KeyColumn::has_nulls);
        Ok(Self { entity: entity.clone(), columns, rows: rows.unwrap_or(0), nullable })
    }

    /// The entity.
    pub fn entity(&self) -> &Entity {
        &self.entity
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.rows
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Whether the key of `row` is null; rows beyond the last are.
    pub fn is_null(&self, row: usize) -> bool {
        row >= self.rows || (self.nullable && self.columns.iter().any(|column| column.is_null(row)))
    }

    /// Whether the key of any row is null.
    pub(crate) fn has_nulls(&self) -> bool {
        self.nullable
    }

    /// Appends the bytes of the key of `row` to `out`; says whether there is one, which is not so when it is null.
    pub fn encode(&self, row: usize, out: &mut Vec<u8>) -> bool {
        if self.is_null(row) {
            return false;
        }
        let layout = self.entity.layout();
        out.extend_from_slice(&layout.head);
        for at in &layout.order {
            match &self.columns[*at] {
                KeyColumn::Integer(values) => put(out, TYPE_INTEGER, &values.value(row).to_le_bytes()),
                KeyColumn::Text(values) => put(out, TYPE_TEXT, values.value(row).as_bytes()),
            }
        }
        true
    }

    pub(crate) fn columns(&self) -> &[KeyColumn] {
        &self.columns
    }
}

fn find<'a>(rows: &'a RecordBatch, name: &Name) -> Result<&'a ArrayRef> {
    let missing = || Core::schema(name.as_str(), "a key column", "no such column").into();
    rows.column_by_name(name.as_str()).ok_or_else(missing)
}

/// Columns of `rows` by name.
pub(crate) fn pick(rows: &RecordBatch, names: &[Name]) -> Result<Vec<ArrayRef>> {
    names.iter().map(|name| find(rows, name).cloned()).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{DictionaryArray, Int32Array, LargeStringArray, StringArray};
    use arrow::datatypes::Int8Type;

    use super::*;

    fn hex(bytes: &[u8]) -> String {
        use std::fmt::Write;
        bytes.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    fn encoded(entity: &Entity, arrays: &[ArrayRef]) -> String {
        let mut out = Vec::new();
        assert!(Keys::new(entity, arrays).unwrap().encode(0, &mut out));
        hex(&out)
    }

    /// Both strings were printed by feast 0.67.0, `serialize_entity_key(…, entity_key_serialization_version=3)`.
    #[test]
    fn bytes_are_those_of_feast() {
        let user = Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
        let expected = "010000000200000007000000757365725f696404000000080000000100000000000000";
        assert_eq!(encoded(&user, &[Arc::new(Int64Array::from(vec![1]))]), expected);
        let pair = Entity::builder("pair").key("b", KeyType::Utf8).key("a", KeyType::Int64).build().unwrap();
        let expected = "020000000200000001000000610200000001000000620400000008000000feffffffffffffff020000000100000078";
        let arrays: [ArrayRef; 2] = [Arc::new(StringArray::from(vec!["x"])), Arc::new(Int64Array::from(vec![-2]))];
        assert_eq!(encoded(&pair, &arrays), expected);
    }

    #[test]
    fn every_layout_of_a_value_is_the_same_key() {
        let code = Entity::builder("code").key("code", KeyType::Utf8).build().unwrap();
        let dictionary: DictionaryArray<Int8Type> = ["é"].into_iter().collect();
        let plain = encoded(&code, &[Arc::new(StringArray::from(vec!["é"]))]);
        assert_eq!(plain, encoded(&code, &[Arc::new(LargeStringArray::from(vec!["é"]))]));
        assert_eq!(plain, encoded(&code, &[Arc::new(dictionary)]));
        let user = Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
        let narrow = encoded(&user, &[Arc::new(Int32Array::from(vec![7]))]);
        assert_eq!(narrow, encoded(&user, &[Arc::new(Int64Array::from(vec![7]))]));
    }

    #[test]
    fn a_key_with_a_null_part_is_null() {
        let pair = Entity::builder("pair").key("b", KeyType::Utf8).key("a", KeyType::Int64).build().unwrap();
        let arrays: [ArrayRef; 2] =
            [Arc::new(StringArray::from(vec![Some("x"), None])), Arc::new(Int64Array::from(vec![None, Some(1)]))];
        let keys = Keys::new(&pair, &arrays).unwrap();
        assert!(keys.is_null(0) && keys.is_null(1) && keys.is_null(2));
        assert!(!keys.encode(0, &mut Vec::new()));
    }

    #[test]
    fn floats_are_no_keys() {
        let user = Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
        let floats: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![1.0]));
        let error = Keys::new(&user, &[floats]).unwrap_err().to_string();
        assert!(error.contains("user_id") && error.contains("Float64"), "{error}");
    }
}
