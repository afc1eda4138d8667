//! What the row-wise transforms have in common: their pass, their state's wrapping, their checks of columns.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Fields, Schema as ArrowSchema};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Changes, Pass, StepChanges, TransformState};
use crate::schema::{Role, logical_type};
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
    Ok(TransformState { kind: kind.to_owned(), format: FORMAT, body })
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

/// A schema in the making: the input's fields, some of them replaced, others added.
pub(super) struct Fieldset {
    fields: Vec<Field>,
    flags: Vec<(String, String)>,
    input: Schema,
}

impl Fieldset {
    pub(super) fn of(input: &Schema) -> Self {
        let fields = input.arrow().fields().iter().map(|field| field.as_ref().clone()).collect();
        Self { fields, flags: Vec::new(), input: input.clone() }
    }

    /// Changes the field at `position`; the annotations stay.
    pub(super) fn replace(&mut self, position: usize, data_type: DataType, nullable: bool) {
        let field = &mut self.fields[position];
        field.set_data_type(data_type);
        field.set_nullable(nullable);
    }

    /// Adds a column of booleans about `column`, as sensitive as that one; a feature's flag is a feature.
    pub(super) fn flag(&mut self, column: &str, suffix: &str) {
        let name = format!("{column}{suffix}");
        self.fields.push(Field::new(&name, DataType::Boolean, false));
        self.flags.push((name, column.to_owned()));
    }

    pub(super) fn finish(self) -> Result<Schema> {
        let metadata = self.input.arrow().metadata().clone();
        let mut schema = Schema::new(ArrowSchema::new_with_metadata(Fields::from(self.fields), metadata))?;
        for (flag, column) in &self.flags {
            schema = schema.with_sensitivity(flag, self.input.sensitivity(column)?)?;
            if self.input.role(column)? == Role::Feature {
                schema = schema.with_role(flag, Role::Feature)?;
            }
        }
        Ok(schema)
    }
}

/// A column of booleans.
pub(super) fn booleans(values: arrow::buffer::BooleanBuffer) -> ArrayRef {
    Arc::new(BooleanArray::new(values, None))
}
