//! What the row-wise transforms have in common: their pass, their state's wrapping, their checks of columns.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Fields, Schema as ArrowSchema};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Changes, Pass, StepChanges, TransformState};
use crate::schema::{Role, Sensitivity, logical_type};
use crate::source::ScanRequest;
use crate::{Dataset, Error, Result, Schema};

/// Layout of the states of all transforms built in.
const FORMAT: u32 = 1;

/// Treats rows one at a time, without a memory of those before.
pub(super) trait RowKernel: Send + 'static {
    /// Columns after the step, and how many rows are left; counts what it did.
    fn treat(&mut self, batch: &RecordBatch, changes: &mut StepChanges) -> Result<(Vec<ArrayRef>, usize)>;
}

/// A pass of a row kernel.
pub(super) struct RowPass<K> {
    input: Schema,
    output: Schema,
    kernel: K,
    changes: StepChanges,
}

impl<K: RowKernel> RowPass<K> {
    pub(super) fn begin(kind: &str, input: &Schema, output: Schema, kernel: K) -> Box<dyn Pass> {
        Box::new(Self { input: input.clone(), output, kernel, changes: StepChanges::new(kind) })
    }

    pub(super) fn with_changes(changes: StepChanges, input: &Schema, output: Schema, kernel: K) -> Box<dyn Pass> {
        Box::new(Self { input: input.clone(), output, kernel, changes })
    }
}

impl<K: RowKernel> Pass for RowPass<K> {
    fn apply(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let batch = admit(&self.input, batch)?;
        let (columns, rows) = self.kernel.treat(&batch, &mut self.changes)?;
        self.changes.rows_in += batch.num_rows() as u64;
        self.changes.rows_out += rows as u64;
        assemble(&self.output, columns, rows)
    }

    fn drain(&mut self) -> Result<Option<RecordBatch>> {
        Ok(None)
    }

    fn changes(&self) -> Changes {
        self.changes.clone().into()
    }
}

/// `batch`, if it has the columns of `input`.
pub(super) fn admit(input: &Schema, batch: &RecordBatch) -> Result<RecordBatch> {
    if batch.schema_ref() == input.arrow() { Ok(batch.clone()) } else { input.attach(batch) }
}

/// A batch of `schema`.
pub(super) fn assemble(schema: &Schema, columns: Vec<ArrayRef>, rows: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    Ok(RecordBatch::try_new_with_options(schema.arrow().clone(), columns, &options)?)
}

/// The rows of `columns` for which `keep` is true.
pub(super) fn filtered(columns: &[ArrayRef], keep: &BooleanArray) -> Result<Vec<ArrayRef>> {
    Ok(columns.iter().map(|column| arrow::compute::filter(column, keep)).collect::<std::result::Result<_, _>>()?)
}

/// Wraps what a transform knows.
pub(super) fn pack(kind: &str, body: &impl Serialize) -> Result<TransformState> {
    let body = serde_json::to_value(body).map_err(|e| Error::invalid_data(format!("state of `{kind}`"), e))?;
    Ok(TransformState { kind: kind.to_owned(), format: FORMAT, settings: serde_json::Value::Null, body })
}

/// What [`pack`] wrapped.
pub(super) fn unpack<T: DeserializeOwned>(kind: &str, state: &TransformState) -> Result<T> {
    let what = || format!("state of `{kind}`");
    if state.kind != kind {
        return Err(Error::invalid_data(what(), format_args!("it is of `{}`", state.kind)));
    }
    if state.format != FORMAT {
        let reason = format_args!("layout {} is not the known layout {FORMAT}", state.format);
        return Err(Error::invalid_data(what(), reason));
    }
    serde_json::from_value(state.body.clone()).map_err(|e| Error::invalid_data(what(), e))
}

/// Settings with the name of their transform.
pub(super) fn settings(kind: &str, settings: &impl Serialize) -> Result<serde_json::Value> {
    let value = serde_json::to_value(settings).map_err(|e| Error::invalid_data(format!("settings of `{kind}`"), e))?;
    Ok(serde_json::json!({ kind: value }))
}

/// Hands each array of `columns` on, batch by batch, with the column's place in `columns`. Returns the number of rows.
pub(super) fn scan(
    data: &Dataset,
    columns: &[String],
    mut each: impl FnMut(usize, &ArrayRef) -> Result<()>,
) -> Result<u64> {
    let mut rows = 0;
    if columns.is_empty() {
        return Ok(rows);
    }
    for batch in data.scan(&ScanRequest::all().columns(columns))? {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        batch.columns().iter().enumerate().try_for_each(|(place, array)| each(place, array))?;
    }
    Ok(rows)
}

/// Refuses to write values of a column that tells about a person into a state, and so into the rows of others.
pub(super) fn may_be_learned(schema: &Schema, column: &str) -> Result<()> {
    let sensitivity = schema.sensitivity(column)?;
    if sensitivity < Sensitivity::Personal || schema.field(column)?.data_type() == &DataType::Boolean {
        return Ok(());
    }
    Err(Error::schema(column, "values that may stand in a state", format!("{sensitivity:?} ones")))
}

/// How a state writes the type of a column that it was fitted on.
pub(super) fn type_name(data_type: &DataType) -> String {
    logical_type(data_type)
}

/// The position of a column that must be of the type that the transform was fitted on.
pub(super) fn fitted_column(schema: &Schema, name: &str, expected: &str) -> Result<usize> {
    let position = schema.index_of(name)?;
    let found = type_name(schema.arrow().field(position).data_type());
    if found == expected { Ok(position) } else { Err(Error::schema(name, expected, found)) }
}

/// A column that was there at the fit.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) data_type: String,
}

impl Named {
    pub(super) fn of(schema: &Schema, name: &str) -> Result<Self> {
        let data_type = type_name(schema.field(name)?.data_type());
        Ok(Self { name: name.to_owned(), data_type })
    }

    pub(super) fn find(&self, schema: &Schema) -> Result<usize> {
        fitted_column(schema, &self.name, &self.data_type)
    }
}

/// A schema in the making: the input's fields, some of them replaced or left out, others added.
pub(super) struct Fieldset {
    fields: Vec<Field>,
    gone: BTreeSet<usize>,
    input: Schema,
}

impl Fieldset {
    pub(super) fn of(input: &Schema) -> Self {
        let fields = input.arrow().fields().iter().map(|field| field.as_ref().clone()).collect();
        Self { fields, gone: BTreeSet::new(), input: input.clone() }
    }

    /// Changes the field at `position`; the annotations stay.
    pub(super) fn replace(&mut self, position: usize, data_type: DataType, nullable: bool) {
        let field = &mut self.fields[position];
        field.set_data_type(data_type);
        field.set_nullable(nullable);
    }

    /// Leaves the field at `position` of the input out.
    pub(super) fn remove(&mut self, position: usize) {
        self.gone.insert(position);
    }

    /// Adds a column of booleans about `column`, as sensitive as that one; a feature's flag is a feature.
    pub(super) fn flag(&mut self, column: &str, suffix: &str) -> Result<()> {
        self.derive(&[column], Field::new(format!("{column}{suffix}"), DataType::Boolean, false))
    }

    /// Adds `field`, made of the columns `from`: as sensitive as the most sensitive of them, a feature where one of them is.
    pub(super) fn derive(&mut self, from: &[&str], field: Field) -> Result<()> {
        let name = field.name().clone();
        let mut alone = Schema::new(ArrowSchema::new(vec![field]))?;
        let mut sensitivity = None;
        for column in from {
            sensitivity = sensitivity.max(Some(self.input.sensitivity(column)?));
            if self.input.role(column)? == Role::Feature {
                alone = alone.with_role(&name, Role::Feature)?;
            }
        }
        alone = alone.with_sensitivity(&name, sensitivity.unwrap_or_default())?;
        self.fields.push(alone.arrow().field(0).clone());
        Ok(())
    }

    pub(super) fn finish(self) -> Result<Schema> {
        let metadata = self.input.arrow().metadata().clone();
        let staying = self.fields.into_iter().enumerate().filter(|(position, _)| !self.gone.contains(position));
        let fields: Fields = staying.map(|(_, field)| field).collect();
        Schema::new(ArrowSchema::new_with_metadata(fields, metadata))
    }
}

/// A column of booleans.
pub(super) fn booleans(values: arrow::buffer::BooleanBuffer) -> ArrayRef {
    Arc::new(BooleanArray::new(values, None))
}
