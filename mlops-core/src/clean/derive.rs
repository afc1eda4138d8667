//! Columns that are made of one column each.

use std::fmt::Debug;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::Field;

use super::rows::{Fieldset, Named, RowKernel, RowPass};
use super::{Pass, StepChanges};
use crate::{Result, Schema};

/// What was fitted for one column.
pub(super) trait Maker: Debug + Send + Sync {
    /// The column that it was fitted on.
    fn source(&self) -> &Named;

    /// Whether the source stays beside what is made of it.
    fn keeps_source(&self) -> bool;

    /// The columns made of `source`; one of the same name takes its place, the others come after all columns.
    fn fields(&self, source: &Field) -> Vec<Field>;

    /// What makes the arrays of `fields`.
    fn prepare(&self) -> Result<Box<dyn Make>>;
}

/// What is fitted, column by column, in its field `columns`: treats single rows.
macro_rules! fitted_by_column {
    ($fitted:ty, $kind:expr) => {
        impl crate::clean::FittedTransform for $fitted {
            fn scope(&self) -> crate::clean::Scope {
                crate::clean::Scope::Row
            }

            fn output_schema(&self, input: &crate::Schema) -> crate::Result<crate::Schema> {
                crate::clean::derive::output_schema(&self.columns, input)
            }

            fn begin(&self, input: &crate::Schema) -> crate::Result<Box<dyn crate::clean::Pass>> {
                crate::clean::derive::begin($kind, &self.columns, input)
            }

            fn state(&self) -> crate::Result<crate::clean::TransformState> {
                crate::clean::rows::pack($kind, self)
            }
        }
    };
}

pub(super) use fitted_by_column;

/// Makes the arrays of [`Maker::fields`].
pub(super) trait Make: Send {
    fn make(&mut self, array: &ArrayRef, changes: &mut StepChanges) -> Result<Vec<ArrayRef>>;
}

/// Which of `fields` takes the place of `source`.
fn successor(fields: &[Field], source: &Field) -> Option<usize> {
    fields.iter().position(|field| field.name() == source.name())
}

/// Columns after the step.
pub(super) fn output_schema<M: Maker>(makers: &[M], input: &Schema) -> Result<Schema> {
    let mut fieldset = Fieldset::of(input);
    for maker in makers {
        let position = maker.source().find(input)?;
        let source = input.arrow().field(position);
        let fields = maker.fields(source);
        let heir = successor(&fields, source);
        for (place, field) in fields.into_iter().enumerate() {
            if heir == Some(place) {
                fieldset.replace(position, field.data_type().clone(), field.is_nullable());
            } else {
                fieldset.derive(&[source.name()], field)?;
            }
        }
        if heir.is_none() && !maker.keeps_source() {
            fieldset.remove(position);
        }
    }
    fieldset.finish()
}

/// One pass of the step.
pub(super) fn begin<M: Maker>(kind: &str, makers: &[M], input: &Schema) -> Result<Box<dyn Pass>> {
    let output = output_schema(makers, input)?;
    let mut changes = StepChanges::new(kind);
    let mut columns = Vec::with_capacity(makers.len());
    for maker in makers {
        let position = maker.source().find(input)?;
        let source = input.arrow().field(position);
        let heir = successor(&maker.fields(source), source);
        let goes = heir.is_none() && !maker.keeps_source();
        if goes {
            changes.columns_dropped.insert(source.name().clone());
        }
        columns.push(Column { position, heir, goes, make: maker.prepare()? });
    }
    Ok(RowPass::with_changes(changes, input, output, Kernel { columns }))
}

struct Column {
    position: usize,
    heir: Option<usize>,
    goes: bool,
    make: Box<dyn Make>,
}

struct Kernel {
    columns: Vec<Column>,
}

impl RowKernel for Kernel {
    fn treat(&mut self, batch: &RecordBatch, changes: &mut StepChanges) -> Result<(Vec<ArrayRef>, usize)> {
        let mut columns: Vec<Option<ArrayRef>> = batch.columns().iter().cloned().map(Some).collect();
        for column in &mut self.columns {
            let made = column.make.make(batch.column(column.position), changes)?;
            for (place, array) in made.into_iter().enumerate() {
                if column.heir == Some(place) {
                    columns[column.position] = Some(array);
                } else {
                    columns.push(Some(array));
                }
            }
            if column.goes {
                columns[column.position] = None;
            }
        }
        Ok((columns.into_iter().flatten().collect(), batch.num_rows()))
    }
}
