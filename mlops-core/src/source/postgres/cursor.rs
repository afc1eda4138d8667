//! Where a scan has come to.

use std::fmt;

use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;

use super::columns::{ensure_value, push_hex};
use super::sql::Bound;
use super::table::Column;
use crate::{Error, Result};

/// Number of the form below.
const FORMAT: u32 = 1;

/// Bytes of one key value in a cursor at the most.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// The place in a keyed scan behind the last row of a batch, to be kept with whatever was made of the rows.
///
/// Holds the key's values in the server's binary form; they show when it is serialized, not in `Debug`.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    format: u32,
    relation: String,
    key: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Part {
    column: String,
    /// The server's name of the type.
    r#type: String,
    /// Hex digits.
    value: String,
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let columns: Vec<_> = self.key.iter().map(|part| &part.column).collect();
        f.debug_struct("Cursor").field("relation", &self.relation).field("key", &columns).finish_non_exhaustive()
    }
}

impl Cursor {
    pub(super) fn new(relation: String, keys: &[Column], values: &[Vec<u8>]) -> Self {
        let part = |(column, value): (&Column, &Vec<u8>)| Part {
            column: column.name.clone(),
            r#type: column.type_.name().to_owned(),
            value: hex(value),
        };
        Self { format: FORMAT, relation, key: keys.iter().zip(values).map(part).collect() }
    }

    /// The values, which are those of `keys` of `relation`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the cursor is of another table, query or key, [`Error::InvalidData`] when it is damaged.
    pub(super) fn values(&self, relation: &str, keys: &[Column]) -> Result<Vec<Vec<u8>>> {
        if self.format != FORMAT {
            return Err(Error::invalid("cursor", format!("format {}", self.format), "of format 1"));
        }
        let same = |(part, column): (&Part, &Column)| part.column == column.name && part.r#type == column.type_.name();
        if self.relation != relation || self.key.len() != keys.len() || !self.key.iter().zip(keys).all(same) {
            return Err(Error::invalid("cursor", format!("{self:?}"), "one of this table or query and its key"));
        }
        let damaged = || Error::invalid_data("cursor", "its values are damaged");
        self.key
            .iter()
            .zip(keys)
            .map(|(part, column)| {
                let value = unhex(&part.value).ok_or_else(damaged)?;
                ensure_value(&column.kind, &value).map_err(|_| damaged())?;
                Ok(value)
            })
            .collect()
    }
}

/// `values` as they are bound, each of the type of its column.
pub(super) fn bound(keys: &[Column], values: &[Vec<u8>]) -> Vec<Bound> {
    let types = keys.iter().map(|column| base(&column.type_));
    types.zip(values).map(|(type_, bytes)| Bound { type_, bytes: bytes.clone() }).collect()
}

/// The type under a domain: what the server takes values as.
fn base(type_: &Type) -> Type {
    match type_.kind() {
        tokio_postgres::types::Kind::Domain(inner) => base(inner),
        _ => type_.clone(),
    }
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    push_hex(bytes, &mut text);
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || digits.len() > VALUE_BYTES_MAX * 2 {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    digits.chunks_exact(2).map(|pair| Some((digit(pair[0])? * 16 + digit(pair[1])?) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::kind::Kind;
    use super::*;

    fn key() -> Vec<Column> {
        vec![Column { name: "id".into(), kind: Kind::Int8, type_: Type::INT8, modifier: -1, not_null: true }]
    }

    #[test]
    fn a_cursor_survives_json_and_hides_its_values() {
        let cursor = Cursor::new("orders".into(), &key(), &[7_i64.to_be_bytes().to_vec()]);
        let text = serde_json::to_string(&cursor).unwrap();
        let part = r#"{"column":"id","type":"int8","value":"0000000000000007"}"#;
        assert_eq!(text, format!(r#"{{"format":1,"relation":"orders","key":[{part}]}}"#));
        let back: Cursor = serde_json::from_str(&text).unwrap();
        assert_eq!(back.values("orders", &key()).unwrap(), [7_i64.to_be_bytes().to_vec()]);
        assert_eq!(format!("{cursor:?}"), r#"Cursor { relation: "orders", key: ["id"], .. }"#);
    }

    #[test]
    fn cursors_of_other_tables_and_damaged_ones_are_refused() {
        let good = Cursor::new("orders".into(), &key(), &[7_i64.to_be_bytes().to_vec()]);
        assert!(matches!(good.values("clicks", &key()), Err(Error::Invalid { .. })));
        assert!(matches!(good.values("orders", &[]), Err(Error::Invalid { .. })));
        assert!(matches!(Cursor { format: 2, ..good.clone() }.values("orders", &key()), Err(Error::Invalid { .. })));
        for value in ["", "0", "zz", "00", "0000000000000007é"] {
            let mut damaged = good.clone();
            value.clone_into(&mut damaged.key[0].value);
            assert!(matches!(damaged.values("orders", &key()), Err(Error::InvalidData { .. })), "{value}");
        }
    }
}
