//! Words that definitions are made of: types of keys and values, references to features.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, TimeUnit};
use mlops_core::{EventTime, Name};
use serde::{Deserialize, Serialize};

use crate::error::{Core, Error, Result};

/// Type of a key column.
///
/// Floats are no keys: two roundings of one number would be two entities.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum KeyType {
    /// Whole numbers; every integer type of Arrow is read as one.
    Int64,
    /// Text; every string layout of Arrow, dictionaries too, is read as one.
    Utf8,
}

impl KeyType {
    /// The Arrow type that stores keep.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Int64 => DataType::Int64,
            Self::Utf8 => DataType::Utf8,
        }
    }
}

impl fmt::Display for KeyType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Int64 => "int64",
            Self::Utf8 => "utf8",
        })
    }
}

/// Type of what a list holds. Lists hold no nulls.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Item {
    /// 64-bit whole numbers.
    Int64,
    /// 64-bit real numbers; NaN and infinities are values like any other.
    Float64,
    /// Texts.
    Utf8,
}

impl Item {
    /// The Arrow type of one element.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Int64 => DataType::Int64,
            Self::Float64 => DataType::Float64,
            Self::Utf8 => DataType::Utf8,
        }
    }
}

impl fmt::Display for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Int64 => "int64",
            Self::Float64 => "float64",
            Self::Utf8 => "utf8",
        })
    }
}

/// Most numbers that one vector may have.
pub const DIMENSIONS_MAX: u16 = 16_384;

/// Type of a feature's values. Every feature may be null.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ValueType {
    /// True or false.
    Bool,
    /// 32-bit whole number.
    Int32,
    /// 64-bit whole number.
    Int64,
    /// 32-bit real number; NaN and infinities are values like any other.
    Float32,
    /// 64-bit real number; NaN and infinities are values like any other.
    Float64,
    /// Text.
    Utf8,
    /// Raw bytes.
    Binary,
    /// An instant: microseconds, UTC.
    Timestamp,
    /// Any number of values of one type, in order.
    List(Item),
    /// This many 32-bit real numbers, 1 to [`DIMENSIONS_MAX`]: a point among which neighbours are sought.
    Vector(u16),
}

impl ValueType {
    /// The Arrow type of columns that this crate returns.
    pub fn data_type(self) -> DataType {
        match self {
            Self::Bool => DataType::Boolean,
            Self::Int32 => DataType::Int32,
            Self::Int64 => DataType::Int64,
            Self::Float32 => DataType::Float32,
            Self::Float64 => DataType::Float64,
            Self::Utf8 => DataType::Utf8,
            Self::Binary => DataType::Binary,
            Self::Timestamp => EventTime::data_type(),
            Self::List(item) => DataType::List(Arc::new(Field::new_list_field(item.data_type(), true))),
            Self::Vector(dimensions) => {
                let field = Arc::new(Field::new_list_field(DataType::Float32, true));
                DataType::FixedSizeList(field, i32::from(dimensions))
            }
        }
    }

    /// Refuses vectors of no or too many dimensions.
    pub(crate) fn ensure_bounded(self) -> Result<()> {
        match self {
            Self::Vector(0) => Err(Core::invalid("dimensions of a vector", 0, "in 1..=16384").into()),
            Self::Vector(dimensions) if dimensions > DIMENSIONS_MAX => {
                Err(Core::invalid("dimensions of a vector", dimensions, "in 1..=16384").into())
            }
            _ => Ok(()),
        }
    }

    /// The type that holds every value of the Arrow type `data_type`.
    ///
    /// # Errors
    /// `Core(Schema)` when there is none, naming `column`.
    pub fn of(column: &str, data_type: &DataType) -> Result<Self> {
        Ok(match data_type {
            DataType::Boolean => Self::Bool,
            DataType::Int8 | DataType::Int16 | DataType::Int32 | DataType::UInt8 | DataType::UInt16 => Self::Int32,
            DataType::Int64 | DataType::UInt32 => Self::Int64,
            DataType::Float16 | DataType::Float32 => Self::Float32,
            DataType::Float64 => Self::Float64,
            DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => Self::Utf8,
            DataType::Binary | DataType::LargeBinary | DataType::BinaryView => Self::Binary,
            DataType::Timestamp(TimeUnit::Second | TimeUnit::Millisecond | TimeUnit::Microsecond, _)
            | DataType::Date32
            | DataType::Date64 => Self::Timestamp,
            DataType::Dictionary(_, values) => return Self::of(column, values),
            DataType::FixedSizeList(item, dimensions)
                if *item.data_type() == DataType::Float32 && (1..=i32::from(DIMENSIONS_MAX)).contains(dimensions) =>
            {
                Self::Vector(*dimensions as u16)
            }
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::ListView(item)
            | DataType::LargeListView(item)
            | DataType::FixedSizeList(item, _) => Self::List(match Self::of(column, item.data_type())? {
                Self::Int32 | Self::Int64 => Item::Int64,
                Self::Float32 | Self::Float64 => Item::Float64,
                Self::Utf8 => Item::Utf8,
                _ => return Err(Core::schema(column, "a type that a feature can have", data_type).into()),
            }),
            other => return Err(Core::schema(column, "a type that a feature can have", other).into()),
        })
    }

    /// Bytes of one value in a packed row; `None` where they differ from value to value.
    pub(crate) fn width(self) -> Option<usize> {
        match self {
            Self::Bool => Some(1),
            Self::Int32 | Self::Float32 => Some(4),
            Self::Int64 | Self::Float64 | Self::Timestamp => Some(8),
            Self::Vector(dimensions) => Some(4 * usize::from(dimensions)),
            Self::Utf8 | Self::Binary | Self::List(_) => None,
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Utf8 => "utf8",
            Self::Binary => "binary",
            Self::Timestamp => "timestamp",
            Self::List(item) => return write!(f, "list<{item}>"),
            Self::Vector(dimensions) => return write!(f, "vector<{dimensions}>"),
        })
    }
}

/// One feature of one view, written `view:feature`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FeatureRef {
    /// The view, or its alias.
    pub view: Name,
    /// The feature.
    pub feature: Name,
}

impl FromStr for FeatureRef {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((view, feature)) = text.split_once(':') else {
            let shown: String = text.chars().take(80).flat_map(char::escape_default).collect();
            return Err(Core::invalid("feature reference", format!("`{shown}`"), "of the form `view:feature`").into());
        };
        Ok(Self { view: Name::new(view)?, feature: Name::new(feature)? })
    }
}

impl fmt::Display for FeatureRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.view, self.feature)
    }
}

impl TryFrom<String> for FeatureRef {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<FeatureRef> for String {
    fn from(reference: FeatureRef) -> Self {
        reference.to_string()
    }
}
