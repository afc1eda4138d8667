//! Rows of one schema, seen through another.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::Schema as ArrowSchema;

use super::diff::checked_renames;
use super::widen::{holds, meet};
use super::{Finder, Schema};
use crate::{Error, Result};

/// Shows rows that were written under one schema to whoever expects another.
///
/// Narrower columns are cast, missing ones that may be null are filled with nulls, further ones are left out. A cast never
/// changes a value: one that would is refused when this is made.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use mlops_core::arrow::array::{Array, Int32Array, RecordBatch};
/// use mlops_core::arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
/// use mlops_core::schema::{Schema, SchemaReader};
///
/// let old = RecordBatch::try_from_iter([("id", Arc::new(Int32Array::from(vec![1, 2])) as _)])?;
/// let new = ArrowSchema::new(vec![Field::new("price", DataType::Float64, true), Field::new("id", DataType::Int64, false)]);
/// let reader = SchemaReader::new(&Schema::new(old.schema())?, &Schema::new(new)?)?;
/// let read = reader.read(&old)?;
/// assert_eq!((read.column(0).null_count(), read.column(1).data_type()), (2, &DataType::Int64));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct SchemaReader {
    wanted: Schema,
    stored: Schema,
    /// For each column that is wanted, where it is stored.
    places: Vec<Option<usize>>,
}

impl SchemaReader {
    /// Rows of `stored`, read as rows of `wanted`.
    ///
    /// # Errors
    /// [`Error::Schema`] for a column whose stored type the wanted one does not hold, and for one that is missing and may not be
    /// null.
    pub fn new(stored: &Schema, wanted: &Schema) -> Result<Self> {
        Self::plan(stored, wanted, &BTreeMap::new())
    }

    /// As [`new`](Self::new), with columns that have another name now: pairs of the stored name and the wanted one.
    ///
    /// # Errors
    /// As [`new`](Self::new), and what [`SchemaDiff::with_renames`](super::SchemaDiff::with_renames) says.
    pub fn with_renames(stored: &Schema, wanted: &Schema, renames: &[(&str, &str)]) -> Result<Self> {
        Self::plan(stored, wanted, &checked_renames(stored, wanted, renames)?)
    }

    fn plan(stored: &Schema, wanted: &Schema, renames: &BTreeMap<&str, &str>) -> Result<Self> {
        let new_name = |name| renames.get(name).copied().unwrap_or(name);
        let by_name: BTreeMap<&str, usize> = stored.names().map(new_name).zip(0..).collect();
        let mut places = Vec::with_capacity(wanted.len());
        for field in wanted.arrow().fields() {
            let place = by_name.get(field.name().as_str()).copied();
            match place.map(|place| stored.arrow().field(place).data_type()) {
                Some(found) if !holds(found, field.data_type()) => {
                    let expected = format!("a type that {} holds", field.data_type());
                    return Err(Error::schema(field.name(), expected, found));
                }
                None if !field.is_nullable() => {
                    return Err(Error::schema(
                        field.name(),
                        field.data_type(),
                        "no such column, and it may not be null",
                    ));
                }
                _ => places.push(place),
            }
        }
        Ok(Self { wanted: wanted.clone(), stored: stored.clone(), places })
    }

    /// Names of the stored columns that are needed, in stored order.
    pub fn columns(&self) -> Vec<&str> {
        let mut places: Vec<usize> = self.places.iter().flatten().copied().collect();
        places.sort_unstable();
        places.iter().map(|place| self.stored.arrow().field(*place).name().as_str()).collect()
    }

    /// Schema of what comes out.
    pub fn schema(&self) -> &Schema {
        &self.wanted
    }

    /// The rows of `batch`, which must have the [`columns`](Self::columns) that are needed, under the wanted schema.
    ///
    /// # Errors
    /// [`Error::Schema`] when the batch lacks a column or has nulls where none may be, [`Error::External`] for a date or time that
    /// the wanted type does not reach.
    pub fn read(&self, batch: &RecordBatch) -> Result<RecordBatch> {
        let strict = CastOptions { safe: false, ..CastOptions::default() };
        let mut finder = Finder::of(batch.schema_ref().fields());
        let columns = self.wanted.arrow().fields().iter().zip(&self.places).map(|(field, place)| -> Result<ArrayRef> {
            let Some(place) = place else { return Ok(new_null_array(field.data_type(), batch.num_rows())) };
            let name = self.stored.arrow().field(*place).name();
            let missing = || Error::schema(name, field.data_type(), "no such column");
            let array = batch.column(finder.find(name).ok_or_else(missing)?);
            if array.data_type() == field.data_type() {
                return Ok(array.clone());
            }
            Ok(cast_with_options(array, field.data_type(), &strict)?)
        });
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        RecordBatch::try_new_with_options(self.wanted.arrow().clone(), columns.collect::<Result<_>>()?, &options)
            .map_err(|e| Error::schema("*", "values that fit the declared nullability", e))
    }
}

impl Schema {
    /// The schema through which rows of all of `schemas` can be read: every column of any of them, in the order of first
    /// appearance, in the narrowest type that holds the values of all, nullable where one lacks it or may be null, at the highest
    /// sensitivity of all.
    ///
    /// # Errors
    /// [`Error::Invalid`] for no schema, [`Error::Schema`] for a column whose types no type holds, or that has two roles or units.
    pub fn reconcile<'a>(schemas: impl IntoIterator<Item = &'a Schema>) -> Result<Self> {
        let mut all = Columns::default();
        for schema in schemas {
            all.add(schema)?;
        }
        if all.schemas == 0 {
            return Err(Error::invalid("schemas", "none", "at least one schema"));
        }
        all.finish()
    }
}

/// The columns of several schemas.
#[derive(Default)]
struct Columns {
    schemas: usize,
    places: BTreeMap<String, usize>,
    /// Field, and how many schemas have it.
    fields: Vec<(arrow::datatypes::Field, usize)>,
    annotations: Vec<(super::Role, super::Sensitivity)>,
    metadata: std::collections::HashMap<String, String>,
}

impl Columns {
    fn add(&mut self, schema: &Schema) -> Result<()> {
        self.schemas += 1;
        for (key, value) in schema.arrow().metadata() {
            self.metadata.entry(key.clone()).or_insert_with(|| value.clone());
        }
        for (index, field) in schema.arrow().fields().iter().enumerate() {
            let annotations = (schema.roles[index], schema.sensitivities[index]);
            let Some(place) = self.places.get(field.name()).copied() else {
                self.places.insert(field.name().clone(), self.fields.len());
                self.fields.push((field.as_ref().clone(), 1));
                self.annotations.push(annotations);
                continue;
            };
            self.join(place, field, annotations)?;
        }
        Ok(())
    }

    fn join(
        &mut self,
        place: usize,
        field: &arrow::datatypes::Field,
        (role, sensitivity): (super::Role, super::Sensitivity),
    ) -> Result<()> {
        let ((known, count), annotations) = (&mut self.fields[place], &mut self.annotations[place]);
        *count += 1;
        let differs = |what: &str, a: String, b: String| Error::schema(field.name(), format!("one {what}: {a}"), b);
        let Some(data_type) = meet(known.data_type(), field.data_type()) else {
            return Err(differs("type", known.data_type().to_string(), field.data_type().to_string()));
        };
        if annotations.0 != role {
            return Err(differs("role", format!("{:?}", annotations.0), format!("{role:?}")));
        }
        let unit = |field: &arrow::datatypes::Field| field.metadata().get(super::UNIT).cloned();
        if unit(known) != unit(field) {
            return Err(differs("unit", format!("{:?}", unit(known)), format!("{:?}", unit(field))));
        }
        annotations.1 = annotations.1.max(sensitivity);
        known.set_data_type(data_type);
        known.set_nullable(known.is_nullable() || field.is_nullable());
        Ok(())
    }

    fn finish(self) -> Result<Schema> {
        let fields = self.fields.into_iter().map(|(field, count)| {
            let nullable = field.is_nullable() || count < self.schemas;
            field.with_nullable(nullable)
        });
        let mut schema = Schema::new(ArrowSchema::new_with_metadata(fields.collect::<Vec<_>>(), self.metadata))?;
        let names: Vec<String> = schema.names().map(str::to_owned).collect();
        for (name, (_, sensitivity)) in names.iter().zip(&self.annotations) {
            if schema.sensitivity(name)? != *sensitivity {
                schema = schema.with_sensitivity(name, *sensitivity)?;
            }
        }
        Ok(schema)
    }
}
