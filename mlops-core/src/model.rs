//! Trained models as the rest of the house sees them.

use std::fmt;
use std::fmt::Debug;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use crate::schema::Finder;
use crate::source::is_text;
use crate::{Error, Result, Schema};

/// The few types that models take and give.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ValueType {
    /// True or false.
    Bool,
    /// Any integer of up to 64 bits.
    Int,
    /// A 32- or 64-bit float.
    Float,
    /// Text.
    Text,
    /// A date or timestamp.
    Time,
}

impl ValueType {
    /// The value type of an Arrow type; `None` for types that no model takes.
    pub fn of(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Boolean => Some(Self::Bool),
            t if t.is_integer() => Some(Self::Int),
            DataType::Float32 | DataType::Float64 => Some(Self::Float),
            DataType::Timestamp(..) | DataType::Date32 | DataType::Date64 => Some(Self::Time),
            t if is_text(t) => Some(Self::Text),
            _ => None,
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Float => "float",
            Self::Text => "text",
            Self::Time => "time",
        })
    }
}

/// One input column of a model.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Column name.
    pub name: String,
    /// Its type.
    pub value_type: ValueType,
    /// Whether nulls are accepted.
    pub nullable: bool,
}

/// What a model takes, by name and in order, and what it gives.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// Input columns, in the order of training.
    pub inputs: Vec<Input>,
    /// What the one output column means, such as `probability`, `score` or `class`.
    pub output: String,
    /// Type of the output column.
    pub output_type: ValueType,
}

impl Signature {
    /// A signature with the columns `names` of `schema` as inputs and a float output.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a missing column, [`Error::Schema`] for one that no model takes.
    pub fn new(schema: &Schema, names: &[impl AsRef<str>], output: impl Into<String>) -> Result<Self> {
        let input = |name: &str| {
            let field = schema.field(name)?;
            let value_type = ValueType::of(field.data_type())
                .ok_or_else(|| Error::schema(name, "bool, int, float, text or time", field.data_type()))?;
            Ok(Input { name: name.to_owned(), value_type, nullable: field.is_nullable() })
        };
        let inputs = names.iter().map(|name| input(name.as_ref())).collect::<Result<_>>()?;
        Ok(Self { inputs, output: output.into(), output_type: ValueType::Float })
    }

    /// Names of the inputs in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().map(|input| input.name.as_str())
    }

    /// Checks that `schema` has every input with its type; an int column fits a float input.
    ///
    /// # Errors
    /// [`Error::Schema`] naming the first input that is missing, of another type, or nullable where it must not be.
    pub fn check(&self, schema: &Schema) -> Result<()> {
        for input in &self.inputs {
            let Ok(field) = schema.field(&input.name) else {
                return Err(Error::schema(&input.name, input.value_type, "no such column"));
            };
            let found = ValueType::of(field.data_type());
            let fits = match (input.value_type, found) {
                (ValueType::Float, Some(ValueType::Int)) => true,
                (expected, found) => found == Some(expected),
            };
            if !fits {
                let exact = field.data_type();
                let found = found.map_or_else(|| exact.to_string(), |found| format!("{found} ({exact})"));
                return Err(Error::schema(&input.name, input.value_type, found));
            }
        }
        Ok(())
    }

    /// The input columns of `batch`, in the order of the signature.
    ///
    /// # Errors
    /// As [`check`](Self::check), and [`Error::Schema`] when a null stands in an input that takes none.
    pub fn select(&self, batch: &RecordBatch) -> Result<Vec<ArrayRef>> {
        self.check(&Schema::new(batch.schema())?)?;
        let mut finder = Finder::of(batch.schema_ref().fields());
        let column = |input: &Input| {
            let place = finder.find(&input.name).ok_or_else(|| Error::not_found("column", &input.name))?;
            let array = batch.column(place);
            if !input.nullable && array.null_count() > 0 {
                return Err(Error::schema(&input.name, "no nulls", format!("{} nulls", array.null_count())));
            }
            Ok(array.clone())
        };
        self.inputs.iter().map(column).collect()
    }
}

/// Something trained that turns feature columns into one output column.
///
/// # Contract
/// * `predict` gives one value per row, in order, of the type that the signature states; it looks at columns by name and
///   ignores those that it does not know.
/// * A row alone and the same row in a table get the same output, bit for bit.
/// * `predict` takes `&self`, holds no lock and may run on any number of threads at once.
/// * `to_bytes` is data only: the flavor's reader rebuilds an equal model from it, and refuses anything else.
///
/// `testkit::model` checks these; run it on your own model.
pub trait Model: Debug + Send + Sync + 'static {
    /// What goes in and comes out.
    fn signature(&self) -> &Signature;

    /// Name of the format that [`to_bytes`](Self::to_bytes) writes, such as `forest`.
    fn flavor(&self) -> &'static str;

    /// One output per row of `features`.
    ///
    /// # Errors
    /// [`Error::Schema`] when a column of the signature is missing or of another type.
    fn predict(&self, features: &RecordBatch) -> Result<ArrayRef>;

    /// How much each input moved the output of each row: one float column per input, in order, then `bias`; a row sums
    /// to its raw output. `None` when the model cannot tell.
    ///
    /// # Errors
    /// As [`predict`](Self::predict).
    fn explain(&self, features: &RecordBatch) -> Result<Option<RecordBatch>>;

    /// The model as bytes of its flavor.
    ///
    /// # Errors
    /// [`Error::InvalidData`] when the model holds something that the format cannot express.
    fn to_bytes(&self) -> Result<Vec<u8>>;
}
