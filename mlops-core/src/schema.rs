//! Schemas: Arrow's, plus what each column is for and how sensitive it is.
//!
//! The annotations live in Arrow field metadata (`mlops.role`, `mlops.sensitivity`, `mlops.unit`), so they travel
//! through Parquet, IPC and the C interface without a side file.

mod diff;
mod finder;
mod reader;
#[cfg(test)]
mod tests;
mod widen;

pub use diff::{Compatibility, SchemaChange, SchemaDiff};
pub use finder::Finder;
pub use reader::SchemaReader;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema, SchemaRef};
use serde::{Deserialize, Serialize};

use crate::{Digest, Error, Result};

const ROLE: &str = "mlops.role";
const SENSITIVITY: &str = "mlops.sensitivity";
const UNIT: &str = "mlops.unit";

/// What a column is for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Role {
    /// Identifies the entity that the row is about.
    Key,
    /// When the row became true.
    EventTime,
    /// When the row became known.
    CreatedTime,
    /// Input of a model.
    Feature,
    /// What a model is to predict.
    Label,
    /// How much the row counts in training.
    Weight,
    /// Anything else.
    #[default]
    Other,
}

/// Who may see the values of a column. Ordered: a later one is more sensitive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Sensitivity {
    /// Anyone.
    Public,
    /// Whoever works with the data; values may stand in reports.
    #[default]
    Internal,
    /// Tells about a person: values never reach logs, errors or reports.
    Personal,
    /// Must not leave its store at all, except through an action of a privacy policy.
    Secret,
}

fn text_of<T: Serialize>(value: T) -> String {
    serde_json::to_value(value).ok().and_then(|v| v.as_str().map(str::to_owned)).unwrap_or_default()
}

fn read<T: serde::de::DeserializeOwned + Default>(field: &Field, key: &str) -> Result<T> {
    let Some(text) = field.metadata().get(key) else { return Ok(T::default()) };
    serde_json::from_value(serde_json::Value::String(text.clone()))
        .map_err(|e| Error::invalid_data(format!("metadata {key} of column `{}`", field.name()), e))
}

/// Arrow schema with a role, a sensitivity and a unit per column; column names are unique.
///
/// # Examples
/// ```
/// use mlops_core::arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
/// use mlops_core::schema::{Role, Schema, Sensitivity};
///
/// let schema = Schema::new(ArrowSchema::new(vec![
///     Field::new("customer_id", DataType::Int64, false),
///     Field::new("phone", DataType::Utf8, true),
/// ]))?
/// .with_role("customer_id", Role::Key)?
/// .with_sensitivity("phone", Sensitivity::Personal)?;
/// assert_eq!(schema.with(Role::Key), ["customer_id"]);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Schema {
    arrow: SchemaRef,
    /// Positions of the columns, by name.
    by_name: Arc<[u32]>,
    roles: Vec<Role>,
    sensitivities: Vec<Sensitivity>,
}

impl Schema {
    /// Takes over an Arrow schema and the annotations in its metadata.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when two columns have one name, [`Error::InvalidData`] for an unknown annotation.
    pub fn new(arrow: impl Into<SchemaRef>) -> Result<Self> {
        let arrow: SchemaRef = arrow.into();
        let by_name = finder::by_name(arrow.fields());
        let name = |position: u32| arrow.field(position as usize).name();
        let again = by_name.windows(2).filter(|pair| name(pair[0]) == name(pair[1])).map(|pair| pair[1]).min();
        if let Some(again) = again {
            return Err(Error::AlreadyExists { kind: "column", name: name(again).clone() });
        }
        let roles = arrow.fields().iter().map(|f| read(f, ROLE)).collect::<Result<_>>()?;
        let sensitivities = arrow.fields().iter().map(|f| read(f, SENSITIVITY)).collect::<Result<_>>()?;
        Ok(Self { arrow, by_name: by_name.into(), roles, sensitivities })
    }

    /// The Arrow schema, annotations included.
    pub fn arrow(&self) -> &SchemaRef {
        &self.arrow
    }

    /// Number of columns.
    pub fn len(&self) -> usize {
        self.arrow.fields().len()
    }

    /// Whether there is no column.
    pub fn is_empty(&self) -> bool {
        self.arrow.fields().is_empty()
    }

    /// Column names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.arrow.fields().iter().map(|f| f.name().as_str())
    }

    /// Position of `column`, by about `log₂ n` comparisons of names.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none of that name.
    pub fn index_of(&self, column: &str) -> Result<usize> {
        finder::place(self.arrow.fields(), &self.by_name, column).ok_or_else(|| Error::not_found("column", column))
    }

    /// Arrow field of `column`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none of that name.
    pub fn field(&self, column: &str) -> Result<&Field> {
        Ok(self.arrow.field(self.index_of(column)?))
    }

    /// Role of `column`; [`Role::Other`] where nothing was said.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none of that name.
    pub fn role(&self, column: &str) -> Result<Role> {
        Ok(self.roles[self.index_of(column)?])
    }

    /// Sensitivity of `column`; [`Sensitivity::Internal`] where nothing was said.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none of that name.
    pub fn sensitivity(&self, column: &str) -> Result<Sensitivity> {
        Ok(self.sensitivities[self.index_of(column)?])
    }

    /// Unit of `column`, such as `VND` or `s`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is none of that name.
    pub fn unit(&self, column: &str) -> Result<Option<&str>> {
        Ok(self.field(column)?.metadata().get(UNIT).map(String::as_str))
    }

    /// Names of the columns that have `role`, in order.
    pub fn with(&self, role: Role) -> Vec<&str> {
        self.names().zip(&self.roles).filter(|(_, r)| **r == role).map(|(name, _)| name).collect()
    }

    /// Names of the columns whose values must not be shown.
    pub fn hidden(&self) -> Vec<&str> {
        let hidden = |(_, s): &(&str, &Sensitivity)| **s >= Sensitivity::Personal;
        self.names().zip(&self.sensitivities).filter(hidden).map(|(name, _)| name).collect()
    }

    /// The one column that has `role`.
    ///
    /// # Errors
    /// [`Error::Schema`] when there is none, or more than one.
    pub fn single(&self, role: Role) -> Result<&str> {
        match self.with(role).as_slice() {
            [one] => Ok(one),
            found => Err(Error::schema(text_of(role), "exactly one column of this role", format!("{found:?}"))),
        }
    }

    fn annotated(&self, column: &str, key: &str, value: String) -> Result<Self> {
        let index = self.index_of(column)?;
        let mut fields: Vec<Field> = self.arrow.fields().iter().map(|f| f.as_ref().clone()).collect();
        let mut metadata = fields[index].metadata().clone();
        metadata.insert(key.to_owned(), value);
        fields[index].set_metadata(metadata);
        Self::new(ArrowSchema::new_with_metadata(fields, self.arrow.metadata().clone()))
    }

    /// The same schema with `column` in `role`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such column.
    pub fn with_role(&self, column: &str, role: Role) -> Result<Self> {
        self.annotated(column, ROLE, text_of(role))
    }

    /// The same schema with `column` at `sensitivity`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such column.
    pub fn with_sensitivity(&self, column: &str, sensitivity: Sensitivity) -> Result<Self> {
        self.annotated(column, SENSITIVITY, text_of(sensitivity))
    }

    /// The same schema with `unit` on `column`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such column.
    pub fn with_unit(&self, column: &str, unit: &str) -> Result<Self> {
        self.annotated(column, UNIT, unit.to_owned())
    }

    /// The columns named, in the order named.
    ///
    /// # Errors
    /// [`Error::NotFound`] for the first name that is not there.
    pub fn project(&self, columns: &[impl AsRef<str>]) -> Result<Self> {
        let indices = columns.iter().map(|c| self.index_of(c.as_ref())).collect::<Result<Vec<_>>>()?;
        Self::new(self.arrow.project(&indices)?)
    }

    /// This schema with the annotations that `other` has for columns of the same name.
    ///
    /// # Errors
    /// [`Error::InvalidData`] when an annotation of `other` is unknown.
    pub fn annotated_like(&self, other: &Self) -> Result<Self> {
        let known: BTreeMap<&str, &Field> =
            other.arrow.fields().iter().map(|f| (f.name().as_str(), f.as_ref())).collect();
        let fields = self.arrow.fields().iter().map(|field| {
            let mut field = field.as_ref().clone();
            if let Some(model) = known.get(field.name().as_str()) {
                let mut metadata = field.metadata().clone();
                let annotations = model.metadata().iter().filter(|(key, _)| key.starts_with("mlops."));
                metadata.extend(annotations.map(|(k, v)| (k.clone(), v.clone())));
                field.set_metadata(metadata);
            }
            field
        });
        Self::new(ArrowSchema::new_with_metadata(fields.collect::<Vec<_>>(), self.arrow.metadata().clone()))
    }

    /// Digest of names, logical types, nullability, roles, sensitivities and units, in order.
    ///
    /// The three string layouts of Arrow and dictionary encoding count as one type: they hold the same content.
    pub fn fingerprint(&self) -> Digest {
        let mut parts: Vec<String> = Vec::with_capacity(self.len() * 5);
        for ((field, role), sensitivity) in self.arrow.fields().iter().zip(&self.roles).zip(&self.sensitivities) {
            parts.push(field.name().clone());
            parts.push(logical_type(field.data_type()));
            parts.push(field.is_nullable().to_string());
            parts.push(format!("{}/{}", text_of(role), text_of(sensitivity)));
            parts.push(field.metadata().get(UNIT).cloned().unwrap_or_default());
        }
        Digest::of_parts(parts.iter().map(String::as_bytes))
    }

    /// Checks that every column of `required` is here with the same logical type; order and extra columns are free.
    ///
    /// # Errors
    /// [`Error::Schema`] naming the first column that is missing or of another type.
    pub fn ensure_provides(&self, required: &Self) -> Result<()> {
        for field in required.arrow.fields() {
            let expected = logical_type(field.data_type());
            let found = self.field(field.name()).map(|f| logical_type(f.data_type()));
            match found {
                Ok(found) if found == expected => {}
                Ok(found) => return Err(Error::schema(field.name(), expected, found)),
                Err(_) => return Err(Error::schema(field.name(), expected, "no such column")),
            }
        }
        Ok(())
    }

    /// `batch` with exactly this schema attached (same names and types; annotations are taken from here).
    ///
    /// # Errors
    /// [`Error::Schema`] when the batch has other columns.
    pub fn attach(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let found = batch.schema();
        for (want, have) in self.arrow.fields().iter().zip(found.fields()) {
            if want.name() != have.name() || want.data_type() != have.data_type() {
                let shown = format!("`{}` of {}", have.name(), have.data_type());
                return Err(Error::schema(want.name(), want.data_type(), shown));
            }
        }
        if self.len() != batch.num_columns() {
            return Err(Error::schema(
                "*",
                format!("{} columns", self.len()),
                format!("{} columns", batch.num_columns()),
            ));
        }
        let options = arrow::array::RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.arrow.clone(), batch.columns().to_vec(), &options)
            .map_err(|e| Error::schema("*", "values that fit the declared nullability", e))
    }
}

/// Arrow type as text, with encodings of the same content folded together.
pub(crate) fn logical_type(data_type: &DataType) -> String {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => "Utf8".to_owned(),
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => "Binary".to_owned(),
        DataType::Dictionary(_, values) => logical_type(values),
        other => other.to_string(),
    }
}

impl fmt::Debug for Schema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for ((field, role), sensitivity) in self.arrow.fields().iter().zip(&self.roles).zip(&self.sensitivities) {
            list.entry(&format_args!("{}: {} {role:?} {sensitivity:?}", field.name(), field.data_type()));
        }
        list.finish()
    }
}
