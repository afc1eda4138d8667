//! Types of the server, and the Arrow types that hold their values.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use tokio_postgres::types::{Kind as TypeKind, Type};

use crate::time::EventTime;

/// Digits that a 128-bit decimal holds.
const DECIMAL_PRECISION_MAX: u8 = 38;

/// Types nested into each other at the most: the server knows arrays of domains of arrays.
const DEPTH_MAX: usize = 8;

/// How the bytes of a value are read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Bool,
    Int2,
    Int4,
    Int8,
    Oid,
    Float4,
    Float8,
    Decimal {
        precision: u8,
        scale: i8,
    },
    /// `numeric` without a precision that a 128-bit decimal has: its digits.
    Digits,
    /// Text that compares as its bytes do, or can be made to.
    Text,
    /// Text with an order or an equality of its own: padded, without case, an enumeration, JSON.
    OddText,
    Jsonb,
    Uuid,
    Bytes,
    Date,
    Time,
    Timestamp,
    TimestampTz,
    List(Box<Kind>),
}

impl Kind {
    /// The kind of a column of `type_`, `None` where there is none; `modifier` is -1 or holds precision and scale.
    pub(super) fn of(type_: &Type, modifier: i32) -> Option<Self> {
        Self::nested(type_, modifier, 0)
    }

    fn nested(type_: &Type, modifier: i32, depth: usize) -> Option<Self> {
        match type_.kind() {
            _ if depth > DEPTH_MAX => None,
            TypeKind::Simple => Self::simple(type_, modifier),
            TypeKind::Enum(_) => Some(Self::OddText),
            TypeKind::Domain(inner) => Self::nested(inner, modifier, depth + 1),
            TypeKind::Array(item) => match Self::nested(item, modifier, depth + 1)? {
                Self::List(_) => None,
                item => Some(Self::List(Box::new(item))),
            },
            _ => None,
        }
    }

    fn simple(type_: &Type, modifier: i32) -> Option<Self> {
        Some(match *type_ {
            Type::BOOL => Self::Bool,
            Type::INT2 => Self::Int2,
            Type::INT4 => Self::Int4,
            Type::INT8 => Self::Int8,
            Type::OID => Self::Oid,
            Type::FLOAT4 => Self::Float4,
            Type::FLOAT8 => Self::Float8,
            Type::NUMERIC => numeric(modifier),
            Type::TEXT | Type::VARCHAR => Self::Text,
            Type::BPCHAR | Type::NAME | Type::JSON | Type::XML | Type::UNKNOWN => Self::OddText,
            Type::JSONB => Self::Jsonb,
            Type::UUID => Self::Uuid,
            Type::BYTEA => Self::Bytes,
            Type::DATE => Self::Date,
            Type::TIME => Self::Time,
            Type::TIMESTAMP => Self::Timestamp,
            Type::TIMESTAMPTZ => Self::TimestampTz,
            _ if type_.name() == "citext" => Self::OddText,
            _ => return None,
        })
    }

    /// The Arrow type of a column.
    pub(super) fn arrow(&self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int2 => DataType::Int16,
            Self::Int4 => DataType::Int32,
            Self::Int8 => DataType::Int64,
            Self::Oid => DataType::UInt32,
            Self::Float4 => DataType::Float32,
            Self::Float8 => DataType::Float64,
            Self::Decimal { precision, scale } => DataType::Decimal128(*precision, *scale),
            Self::Digits | Self::Text | Self::OddText | Self::Jsonb | Self::Uuid => DataType::Utf8,
            Self::Bytes => DataType::Binary,
            Self::Date => DataType::Date32,
            Self::Time => DataType::Time64(TimeUnit::Microsecond),
            Self::Timestamp => DataType::Timestamp(TimeUnit::Microsecond, None),
            Self::TimestampTz => EventTime::data_type(),
            Self::List(item) => DataType::List(Arc::new(item.item_field())),
        }
    }

    /// The field of the items of a list of this kind.
    pub(super) fn item_field(&self) -> Field {
        Field::new_list_field(self.arrow(), true)
    }

    /// Whether rows can be ordered by it in a way that a cursor can take up again.
    pub(super) fn is_key(&self) -> bool {
        !matches!(self, Self::List(_) | Self::OddText | Self::Jsonb)
    }
}

/// `numeric(precision, scale)` as the server packs it: precision in the upper half, scale in the lower 11 bits, 4 above.
fn numeric(modifier: i32) -> Kind {
    let packed = modifier - 4;
    let precision = u8::try_from((packed >> 16) & 0xffff).ok().filter(|p| *p <= DECIMAL_PRECISION_MAX);
    let scale = packed & 0x7ff;
    match precision {
        Some(precision) if modifier >= 4 && precision > 0 && scale <= i32::from(precision) => {
            Kind::Decimal { precision, scale: scale as i8 }
        }
        _ => Kind::Digits,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_up_to_38_digits_are_decimals_and_others_are_spelt() {
        // `SELECT atttypmod` of PostgreSQL 15.18: numeric(10,2) 655366, numeric(38,0) 2490372, numeric(39,1) 2555909,
        // numeric(3,5) 196617, numeric(2,-3) 133121, numeric -1.
        assert_eq!(numeric(655_366), Kind::Decimal { precision: 10, scale: 2 });
        assert_eq!(numeric(2_490_372), Kind::Decimal { precision: 38, scale: 0 });
        for spelt in [2_555_909, 196_617, 133_121, -1] {
            assert_eq!(numeric(spelt), Kind::Digits, "{spelt}");
        }
    }
}
