//! Values of events, and of features that are made of them.

use std::cmp::Ordering;
use std::sync::Arc;

use crate::define::{Item, ValueType};

/// What kind of values an event column has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Int,
    Real,
    Text,
}

impl Kind {
    /// The kind that columns of `value_type` are read as; `None` where they are not aggregated.
    pub(crate) fn of(value_type: ValueType) -> Option<Self> {
        match value_type {
            ValueType::Bool | ValueType::Int64 => Some(Self::Int),
            ValueType::Float64 => Some(Self::Real),
            ValueType::Utf8 => Some(Self::Text),
            _ => None,
        }
    }

    pub(crate) fn value_type(self) -> ValueType {
        match self {
            Self::Int => ValueType::Int64,
            Self::Real => ValueType::Float64,
            Self::Text => ValueType::Utf8,
        }
    }

    pub(crate) fn item(self) -> Item {
        match self {
            Self::Int => Item::Int64,
            Self::Real => Item::Float64,
            Self::Text => Item::Utf8,
        }
    }
}

/// A present value of one column: never NaN, infinite or the negative zero.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    Int(i64),
    Real(f64),
    Text(Arc<str>),
}

impl Value {
    /// A float, where it is present.
    pub(crate) fn real(value: f64) -> Option<Self> {
        // Adding zero makes the negative zero positive.
        value.is_finite().then_some(Self::Real(value + 0.0))
    }

    /// The number it is, or the nearest double; texts are none.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Int(value) => Some(*value as f64),
            Self::Real(value) => Some(*value),
            Self::Text(_) => None,
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Int(_) => 0,
            Self::Real(_) => 1,
            Self::Text(_) => 2,
        }
    }
}

impl Ord for Value {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => a.cmp(b),
            (Self::Real(a), Self::Real(b)) => a.total_cmp(b),
            (Self::Text(a), Self::Text(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Value {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Value {}

/// One value of one feature.
#[derive(Clone, PartialEq, Debug)]
pub(crate) enum Cell {
    Null,
    One(Value),
    Many(Vec<Value>),
}

impl Cell {
    pub(crate) fn real(value: Option<f64>) -> Self {
        value.map_or(Self::Null, |value| Self::One(Value::Real(value)))
    }

    /// A list; one without values is null, for no list of this module ever has none.
    pub(crate) fn list(values: impl IntoIterator<Item = Value>) -> Self {
        let values: Vec<Value> = values.into_iter().collect();
        if values.is_empty() { Self::Null } else { Self::Many(values) }
    }

    pub(crate) fn count(value: u64) -> Self {
        Self::One(Value::Int(value as i64))
    }
}
