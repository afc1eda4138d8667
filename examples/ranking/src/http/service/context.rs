//! One row of typed columns out of a JSON object.

use std::borrow::Cow;
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, LargeStringArray, PrimitiveArray, RecordBatch, RecordBatchOptions, StringArray,
    new_null_array,
};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, SchemaRef,
    TimeUnit, TimestampMicrosecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use mlops_core::{Error, Result};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::http::problem::{Problem, ProblemCode};

/// Most columns of a context.
const COLUMNS_MAX: usize = 1_024;

/// Reads contexts of one schema.
#[derive(Debug)]
pub(super) struct ContextReader {
    schema: SchemaRef,
    /// Per column what stands for an absent value, where one may be absent.
    nulls: Vec<Option<ArrayRef>>,
    text_bytes_max: usize,
}

impl ContextReader {
    pub(super) fn new(schema: SchemaRef, text_bytes_max: usize) -> Result<Self> {
        let fields = schema.fields();
        if fields.len() > COLUMNS_MAX {
            return Err(Error::invalid("context columns", fields.len(), "at most 1024"));
        }
        for (i, field) in fields.iter().enumerate() {
            if !takes(field.data_type()) {
                let expected = "a boolean, integer, float, text or timestamp in microseconds";
                return Err(Error::schema(field.name(), expected, field.data_type()));
            }
            if fields[..i].iter().any(|known| known.name() == field.name()) {
                return Err(Error::AlreadyExists { kind: "context column", name: field.name().clone() });
            }
        }
        let null = |nullable: bool, data_type| nullable.then(|| new_null_array(data_type, 1));
        let nulls = fields.iter().map(|field| null(field.is_nullable(), field.data_type())).collect();
        Ok(Self { schema, nulls, text_bytes_max })
    }

    /// The row of a request that says nothing of its context.
    pub(super) fn empty(&self) -> Result<RecordBatch, Problem> {
        self.finish(vec![None; self.nulls.len()])
    }

    /// Columns are mostly sent in the order of the schema: the one after the last is looked at first.
    fn place(&self, name: &str, expected: usize) -> Option<usize> {
        let fields = self.schema.fields();
        match fields.get(expected) {
            Some(field) if field.name() == name => Some(expected),
            _ => fields.iter().position(|field| field.name() == name),
        }
    }

    fn value(&self, place: usize, scalar: &Scalar<'_>) -> Result<Option<ArrayRef>, Problem> {
        let data_type = self.schema.field(place).data_type();
        if *scalar == Scalar::Null {
            return Ok(None);
        }
        match convert(data_type, scalar) {
            Fit::Whole(array) => {
                if let Scalar::Text(text) = scalar {
                    self.check_text(place, text)?;
                }
                Ok(Some(array))
            }
            Fit::Outside => {
                Err(self.problem(ProblemCode::BadValue, place, format!("outside of what {data_type} holds")))
            }
            Fit::Other => Err(self.problem(ProblemCode::BadField, place, scalar.unexpected(wanted(data_type)))),
        }
    }

    fn check_text(&self, place: usize, text: &str) -> Result<(), Problem> {
        let refuse = |reason: String| Err(self.problem(ProblemCode::BadValue, place, reason));
        if text.len() > self.text_bytes_max {
            return refuse(format!("{} bytes of text, at most {} are taken", text.len(), self.text_bytes_max));
        }
        if text.chars().any(char::is_control) {
            return refuse("text with a control character".to_owned());
        }
        Ok(())
    }

    fn finish(&self, values: Vec<Option<ArrayRef>>) -> Result<RecordBatch, Problem> {
        let mut columns = Vec::with_capacity(values.len());
        for (place, value) in values.into_iter().enumerate() {
            match value.or_else(|| self.nulls[place].clone()) {
                Some(array) => columns.push(array),
                None => return Err(self.problem(ProblemCode::MissingField, place, "needed and not given")),
            }
        }
        let options = RecordBatchOptions::new().with_row_count(Some(1));
        RecordBatch::try_new_with_options(self.schema.clone(), columns, &options)
            .map_err(|_| Problem::new(ProblemCode::Internal, "the context does not fit its schema"))
    }

    fn problem(&self, code: ProblemCode, place: usize, reason: impl fmt::Display) -> Problem {
        Problem::named(code, &format!("context.{}", self.schema.field(place).name()), reason)
    }
}

fn takes(data_type: &DataType) -> bool {
    let timestamp = matches!(data_type, DataType::Timestamp(TimeUnit::Microsecond, _));
    let plain = matches!(data_type, DataType::Boolean | DataType::Float32 | DataType::Float64);
    timestamp || plain || data_type.is_integer() || matches!(data_type, DataType::Utf8 | DataType::LargeUtf8)
}

fn wanted(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Boolean => "a boolean",
        DataType::Float32 | DataType::Float64 => "a number",
        DataType::Utf8 | DataType::LargeUtf8 => "a text",
        DataType::Timestamp(..) => "an integer of microseconds since the epoch",
        _ => "an integer",
    }
}

/// How a value fits into a column.
enum Fit {
    Whole(ArrayRef),
    /// Of the right type, and too great or too small.
    Outside,
    /// Of another type.
    Other,
}

fn convert(data_type: &DataType, scalar: &Scalar<'_>) -> Fit {
    match (data_type, scalar) {
        (DataType::Boolean, Scalar::Bool(value)) => Fit::Whole(Arc::new(BooleanArray::from(vec![*value]))),
        (DataType::Utf8, Scalar::Text(text)) => Fit::Whole(Arc::new(StringArray::from_iter_values([text]))),
        (DataType::LargeUtf8, Scalar::Text(text)) => Fit::Whole(Arc::new(LargeStringArray::from_iter_values([text]))),
        (DataType::Float64, Scalar::Int(value)) => one::<Float64Type>(data_type, Some(*value as f64)),
        (DataType::Float64, Scalar::Float(value)) => one::<Float64Type>(data_type, Some(*value)),
        (DataType::Float32, Scalar::Int(value)) => one::<Float32Type>(data_type, Some(*value as f32)),
        (DataType::Float32, Scalar::Float(value)) => {
            one::<Float32Type>(data_type, Some(*value as f32).filter(|short| short.is_finite()))
        }
        (_, Scalar::Int(value)) => integer(data_type, *value),
        _ => Fit::Other,
    }
}

fn integer(data_type: &DataType, value: i128) -> Fit {
    match data_type {
        DataType::Int8 => one::<Int8Type>(data_type, value.try_into().ok()),
        DataType::Int16 => one::<Int16Type>(data_type, value.try_into().ok()),
        DataType::Int32 => one::<Int32Type>(data_type, value.try_into().ok()),
        DataType::Int64 => one::<Int64Type>(data_type, value.try_into().ok()),
        DataType::UInt8 => one::<UInt8Type>(data_type, value.try_into().ok()),
        DataType::UInt16 => one::<UInt16Type>(data_type, value.try_into().ok()),
        DataType::UInt32 => one::<UInt32Type>(data_type, value.try_into().ok()),
        DataType::UInt64 => one::<UInt64Type>(data_type, value.try_into().ok()),
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            one::<TimestampMicrosecondType>(data_type, value.try_into().ok())
        }
        _ => Fit::Other,
    }
}

fn one<T: ArrowPrimitiveType>(data_type: &DataType, value: Option<T::Native>) -> Fit {
    let array = |value| PrimitiveArray::<T>::from_value(value, 1).with_data_type(data_type.clone());
    value.map_or(Fit::Outside, |value| Fit::Whole(Arc::new(array(value))))
}

/// The problem behind a failed deserialization, kept aside so that it stays typed.
#[derive(Debug, Default)]
pub(super) struct Fault(RefCell<Option<Problem>>);

impl Fault {
    pub(super) fn raise<E: de::Error>(&self, problem: Problem) -> E {
        *self.0.borrow_mut() = Some(problem);
        E::custom("refused")
    }

    pub(super) fn into_problem(self) -> Option<Problem> {
        self.0.into_inner()
    }
}

/// The value of a plain JSON field, borrowed from the body where it can be.
#[derive(Debug, PartialEq)]
pub(super) enum Scalar<'de> {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Cow<'de, str>),
}

impl Scalar<'_> {
    pub(super) fn unexpected(&self, wanted: &str) -> String {
        let found = match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a number that is no integer of 64 bits",
            Self::Text(_) => "a text",
        };
        format!("expected {wanted}, found {found}")
    }
}

/// Reads a [`Scalar`]; lists and objects are refused at their first byte, however deep they are.
pub(super) struct ScalarSeed<'a> {
    pub(super) prefix: &'static str,
    pub(super) field: &'a str,
    pub(super) fault: &'a Fault,
}

impl ScalarSeed<'_> {
    fn nested<E: de::Error>(&self, found: &str) -> E {
        let name = format!("{}{}", self.prefix, self.field);
        self.fault.raise(Problem::named(ProblemCode::BadField, &name, format!("expected a plain value, found {found}")))
    }
}

impl<'de> DeserializeSeed<'de> for ScalarSeed<'_> {
    type Value = Scalar<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Scalar<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for ScalarSeed<'_> {
    type Value = Scalar<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Int(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Int(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Float(value))
    }

    fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Scalar<'de>, E> {
        Ok(Scalar::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _list: A) -> Result<Scalar<'de>, A::Error> {
        Err(self.nested("a list"))
    }

    fn visit_map<A: MapAccess<'de>>(self, _object: A) -> Result<Scalar<'de>, A::Error> {
        Err(self.nested("an object"))
    }
}

/// Looks up the name of a field without copying it.
pub(super) struct NameSeed<'a, F> {
    pub(super) find: F,
    pub(super) fault: &'a Fault,
}

impl<'de, T, F: FnOnce(&str) -> Result<T, Problem>> DeserializeSeed<'de> for NameSeed<'_, F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T, F: FnOnce(&str) -> Result<T, Problem>> Visitor<'_> for NameSeed<'_, F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: de::Error>(self, name: &str) -> Result<T, E> {
        (self.find)(name).map_err(|problem| self.fault.raise(problem))
    }
}

/// Reads the object of a context.
pub(super) struct ContextSeed<'a> {
    pub(super) reader: &'a ContextReader,
    pub(super) fault: &'a Fault,
}

impl<'de> DeserializeSeed<'de> for ContextSeed<'_> {
    type Value = RecordBatch;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<RecordBatch, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl ContextSeed<'_> {
    fn no_object<E: de::Error>(&self, found: &Scalar<'_>) -> E {
        self.fault.raise(Problem::named(ProblemCode::BadField, "context", found.unexpected("an object")))
    }
}

impl<'de> Visitor<'de> for ContextSeed<'_> {
    type Value = RecordBatch;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<RecordBatch, A::Error> {
        let Self { reader, fault } = self;
        let mut given = vec![false; reader.nulls.len()];
        let mut values: Vec<Option<ArrayRef>> = vec![None; reader.nulls.len()];
        let mut expected = 0;
        loop {
            let find = |name: &str| {
                let named = |reason| Problem::named(ProblemCode::BadField, &format!("context.{name}"), reason);
                let place = reader.place(name, expected).ok_or_else(|| named("no such column"))?;
                if given[place] { Err(named("given twice")) } else { Ok(place) }
            };
            let Some(place) = object.next_key_seed(NameSeed { find, fault })? else { break };
            let field = reader.schema.field(place).name();
            let scalar = object.next_value_seed(ScalarSeed { prefix: "context.", field, fault })?;
            given[place] = true;
            values[place] = reader.value(place, &scalar).map_err(|problem| fault.raise::<A::Error>(problem))?;
            expected = place + 1;
        }
        reader.finish(values).map_err(|problem| fault.raise(problem))
    }

    fn visit_unit<E: de::Error>(self) -> Result<RecordBatch, E> {
        Err(self.no_object(&Scalar::Null))
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<RecordBatch, E> {
        Err(self.no_object(&Scalar::Bool(value)))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<RecordBatch, E> {
        Err(self.no_object(&Scalar::Int(value.into())))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<RecordBatch, E> {
        Err(self.no_object(&Scalar::Int(value.into())))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<RecordBatch, E> {
        Err(self.no_object(&Scalar::Float(value)))
    }

    fn visit_str<E: de::Error>(self, _value: &str) -> Result<RecordBatch, E> {
        Err(self.no_object(&Scalar::Text(Cow::Borrowed(""))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _list: A) -> Result<RecordBatch, A::Error> {
        Err(self.fault.raise(Problem::named(ProblemCode::BadField, "context", "expected an object, found a list")))
    }
}
