//! Values out of a closed list.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::{Array, AsArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::{DataType, Float64Type, Int64Type, UInt64Type};
use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use super::Scope;
use super::given::Given;
use super::kernel::{Column, Kernel, KernelRun, ValueRun, ValueTest, failing_text, quoted};
use crate::source::{Scalar, is_text};
use crate::{Error, Result, Schema};

/// Most values that a list may hold.
pub const SET_VALUES_MAX: usize = 100_000;

/// Longest text in a list, in bytes.
const TEXT_BYTES_MAX: usize = 4096;

/// Every value of `column` is one of those allowed.
///
/// * Text for text columns, integers for integer and float columns, floats for float columns, booleans for boolean
///   ones. All values of one list are of one kind; at most [`SET_VALUES_MAX`] of them.
/// * Nulls pass. NaN is never in a list; `-0.0` equals `0.0`. Text is compared byte by byte.
/// * `observed` is the share of rows outside of the list. Reports state how long the list is, never what is in it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneOf {
    column: String,
    values: Vec<Scalar>,
}

impl OneOf {
    /// `column` holds only `values`.
    pub fn of(column: impl Into<String>, values: impl IntoIterator<Item = impl Into<Scalar>>) -> Self {
        Self { column: column.into(), values: values.into_iter().map(Into::into).collect() }
    }

    pub(super) fn values(&self) -> &[Scalar] {
        &self.values
    }

    pub(super) fn compile(&self) -> Result<Arc<dyn Kernel>> {
        if self.values.is_empty() || self.values.len() > SET_VALUES_MAX {
            return Err(Error::invalid("values", format!("{} values", self.values.len()), "1 to 100000 values"));
        }
        let allowed = Allowed::new(&self.values).ok_or_else(|| {
            Error::invalid("values", "a mixture", "all text, all integers, all finite floats or all booleans")
        })?;
        if let Allowed::Text(texts) = &allowed
            && texts.iter().any(|text| text.len() > TEXT_BYTES_MAX)
        {
            return Err(Error::invalid("values", "a long text", "texts of at most 4096 bytes"));
        }
        Ok(Arc::new(Compiled { column: self.column.clone(), count: self.values.len(), allowed }))
    }
}

type Set<T> = Arc<HashSet<T, FixedState>>;

/// The list by kind. The hash is fixed: the keys are settings, and nothing is ever iterated.
#[derive(Clone, Debug)]
enum Allowed {
    Text(Set<Box<str>>),
    Int(Set<i64>),
    Float(Set<u64>),
    Bool(Arc<BTreeSet<bool>>),
}

impl Allowed {
    fn new(values: &[Scalar]) -> Option<Self> {
        fn all<T, C: FromIterator<T>>(values: &[Scalar], pick: impl Fn(&Scalar) -> Option<T>) -> Option<Arc<C>> {
            values.iter().map(pick).collect::<Option<C>>().map(Arc::new)
        }
        match values.first()? {
            Scalar::Text(_) => {
                all(values, |v| if let Scalar::Text(v) = v { Some(v.as_str().into()) } else { None }).map(Self::Text)
            }
            Scalar::Int(_) => all(values, |v| if let Scalar::Int(v) = v { Some(*v) } else { None }).map(Self::Int),
            Scalar::Float(_) => {
                let pick = |v: &Scalar| if let Scalar::Float(v) = v { v.is_finite().then(|| bits(*v)) } else { None };
                all(values, pick).map(Self::Float)
            }
            Scalar::Bool(_) => all(values, |v| if let Scalar::Bool(v) = v { Some(*v) } else { None }).map(Self::Bool),
            Scalar::Time(_) => None,
        }
    }

    fn takes(&self, found: &DataType) -> bool {
        match self {
            Self::Text(_) => is_text(found),
            Self::Int(_) => found.is_integer() || found.is_floating(),
            Self::Float(_) => found.is_floating(),
            Self::Bool(_) => *found == DataType::Boolean,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Text(_) => "text",
            Self::Int(_) => "an integer or a float",
            Self::Float(_) => "a float",
            Self::Bool(_) => "a boolean",
        }
    }
}

/// Bits of a float with one zero.
fn bits(value: f64) -> u64 {
    (value + 0.0).to_bits()
}

#[derive(Debug)]
struct Compiled {
    column: String,
    count: usize,
    allowed: Allowed,
}

impl Kernel for Compiled {
    fn demand(&self) -> String {
        format!("{} is one of {} allowed values", quoted(&self.column), self.count)
    }

    fn scope(&self) -> Scope {
        Scope::Row
    }

    fn columns(&self) -> Vec<&str> {
        vec![&self.column]
    }

    fn begin(&self, schema: &Schema, _given: &Given) -> Result<Box<dyn KernelRun>> {
        let column = Column::find(schema, &self.column)?;
        if !self.allowed.takes(column.value_type()) {
            return Err(column.unfit(self.allowed.name()));
        }
        Ok(Box::new(ValueRun::new(column, self.allowed.clone())))
    }
}

impl ValueTest for Allowed {
    fn failing(&self, values: &dyn Array) -> Result<BooleanBuffer> {
        let found = values.data_type();
        let mismatch = || Error::schema("*", self.name(), found);
        match self {
            Self::Text(allowed) => failing_text(values, |text| allowed.contains(text)).ok_or_else(mismatch),
            Self::Bool(allowed) => {
                let (yes, no) = (allowed.contains(&true), allowed.contains(&false));
                let values = values.as_boolean_opt().ok_or_else(mismatch)?;
                Ok(BooleanBuffer::collect_bool(values.len(), |row| if values.value(row) { !yes } else { !no }))
            }
            Self::Int(allowed) if *found == DataType::UInt64 => {
                let inside = |value: u64| i64::try_from(value).is_ok_and(|value| allowed.contains(&value));
                let values = values.as_primitive::<UInt64Type>().values();
                Ok(BooleanBuffer::collect_bool(values.len(), |row| !inside(values[row])))
            }
            Self::Int(allowed) if found.is_integer() => {
                let wide = cast(values, &DataType::Int64)?;
                let values = wide.as_primitive::<Int64Type>().values();
                Ok(BooleanBuffer::collect_bool(values.len(), |row| !allowed.contains(&values[row])))
            }
            Self::Int(allowed) => {
                // Above 2^63 the cast saturates, and the way back no longer gives the same value.
                let inside = |value: f64| (value as i64) as f64 == value && allowed.contains(&(value as i64));
                failing_real(values, inside)
            }
            Self::Float(allowed) => failing_real(values, |value| allowed.contains(&bits(value))),
        }
    }
}

fn failing_real(values: &dyn Array, fits: impl Fn(f64) -> bool) -> Result<BooleanBuffer> {
    let wide = cast(values, &DataType::Float64)?;
    let values = wide.as_primitive::<Float64Type>().values();
    Ok(BooleanBuffer::collect_bool(values.len(), |row| !fits(values[row])))
}
