//! Which columns stay, in which order, under which names.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::Schema as ArrowSchema;
use arrow::row::RowConverter;
use serde::{Deserialize, Serialize};

use super::impute::missing;
use super::rows::{RowKernel, RowPass, fitted_column, pack, scan, settings, type_name};
use super::told::told;
use super::{FittedTransform, Nan, Pass, Pick, Scope, StepChanges, Transform, TransformState};
use crate::rowkey::{canonical, converter};
use crate::schema::Role;
use crate::{Dataset, Error, Result, Schema};

pub(super) const KIND: &str = "select";

/// Keeps, drops, renames and reorders columns.
///
/// In this order:
/// 1. Columns of [`keep`](SelectBuilder::keep) stay, all where nothing was said; then those of
///    [`drop`](SelectBuilder::drop) go.
/// 2. Learned from the data: columns that are constant, or missing too often, go. Keys, times, labels and weights always
///    stay. Constant means that all rows are equal, null being a value of its own; missing are nulls, and NaN in columns of
///    floats. An empty table teaches nothing.
/// 3. The columns of [`first`](SelectBuilder::first) come first, the others after in their order.
/// 4. Columns get their new names; roles, sensitivities and units go with them.
///
/// What was fitted gives exactly these columns, in this order, whatever the order of the input: columns that were not
/// there at the fit are left out, and counted as dropped. One scan where something is learned, none otherwise.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::Dataset;
/// use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// use mlops_core::clean::{FittedTransformExt, Select, Transform};
///
/// let column = |values: [i64; 2]| Arc::new(Int64Array::from(values.to_vec())) as ArrayRef;
/// let rows = RecordBatch::try_from_iter([("a", column([1, 2])), ("b", column([7, 7])), ("c", column([3, 4]))])?;
/// let select = Select::builder().drop_constant(true).first(["c"]).rename("a", "age").build()?;
/// let clean = select.fit(&Dataset::from_batches([rows.clone()])?)?.apply_batch(&rows)?;
/// let names: Vec<_> = clean.schema().fields().iter().map(|field| field.name().clone()).collect();
/// assert_eq!(names, ["c", "age"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "SelectBuilder", into = "SelectBuilder")]
pub struct Select {
    settings: SelectBuilder,
}

/// Builder of [`Select`], and its form in files (every field may be left out).
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SelectBuilder {
    keep: Vec<Pick>,
    drop: Vec<Pick>,
    drop_constant: bool,
    missing_max: Option<f64>,
    first: Vec<String>,
    rename: BTreeMap<String, String>,
}

impl SelectBuilder {
    /// These columns stay, with those of other calls. Default: all.
    pub fn keep(mut self, columns: impl Into<Pick>) -> Self {
        self.keep.push(columns.into());
        self
    }

    /// These columns go, also where they are kept.
    pub fn drop(mut self, columns: impl Into<Pick>) -> Self {
        self.drop.push(columns.into());
        self
    }

    /// Whether columns go in which all rows are equal. Default no.
    pub fn drop_constant(mut self, drop: bool) -> Self {
        self.drop_constant = drop;
        self
    }

    /// Greatest share of missing values, within 0..=1, with which a column stays. Default: any.
    pub fn missing_max(mut self, share: f64) -> Self {
        self.missing_max = Some(share);
        self
    }

    /// These columns come first, in this order; each must be there, and one that does not stay is passed over.
    pub fn first(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.first = columns.into_iter().map(Into::into).collect();
        self
    }

    /// Exactly the columns of `schema`, by name and in its order: what another table or a model was made for. Each must be
    /// there.
    pub fn like(self, schema: &Schema) -> Self {
        let names: Vec<String> = schema.names().map(str::to_owned).collect();
        self.keep(names.clone()).first(names)
    }

    /// Gives `column` the name `to`; one that does not stay is passed over.
    pub fn rename(mut self, column: impl Into<String>, to: impl Into<String>) -> Self {
        self.rename.insert(column.into(), to.into());
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `missing_max` is not a share.
    pub fn build(self) -> Result<Select> {
        if let Some(share) = self.missing_max
            && !(0.0..=1.0).contains(&share)
        {
            return Err(Error::invalid("missing_max", share, "a share within 0..=1"));
        }
        Ok(Select { settings: self })
    }
}

impl TryFrom<SelectBuilder> for Select {
    type Error = Error;

    fn try_from(builder: SelectBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<Select> for SelectBuilder {
    fn from(select: Select) -> Self {
        select.settings
    }
}

impl Select {
    /// Starts with every column.
    pub fn builder() -> SelectBuilder {
        SelectBuilder::default()
    }

    /// Names after steps 1 and 2.
    fn staying(&self, data: &Dataset) -> Result<Vec<String>> {
        let settings = &self.settings;
        let schema = data.schema();
        let union = |picks: &[Pick]| {
            let names = picks.iter().map(|pick| pick.names(schema)).collect::<Result<Vec<_>>>()?;
            Ok::<BTreeSet<String>, Error>(names.into_iter().flatten().collect())
        };
        let kept = union(&settings.keep)?;
        let dropped = union(&settings.drop)?;
        let stays = |name: &&str| (settings.keep.is_empty() || kept.contains(*name)) && !dropped.contains(*name);
        let mut names: Vec<String> = schema.names().filter(stays).map(str::to_owned).collect();
        let poor = self.poor(data, &names)?;
        names.retain(|name| !poor.contains(name));
        Ok(names)
    }

    /// Columns that the data condemn.
    fn poor(&self, data: &Dataset, names: &[String]) -> Result<BTreeSet<String>> {
        let settings = &self.settings;
        if !settings.drop_constant && settings.missing_max.is_none() {
            return Ok(BTreeSet::new());
        }
        let schema = data.schema();
        let (mut judged, mut watches) = (Vec::new(), Vec::new());
        for name in names {
            if matches!(schema.role(name)?, Role::Feature | Role::Other) {
                judged.push(name.clone());
                watches.push(Watch::new(schema, name, settings.drop_constant)?);
            }
        }
        let rows = scan(data, &judged, |place, array| watches[place].update(array))?;
        let condemned = |watch: &Watch| {
            let share = watch.missing as f64 / rows as f64;
            rows > 0 && (watch.is_constant() || settings.missing_max.is_some_and(|max| share > max))
        };
        let poor = judged.into_iter().zip(&watches).filter(|(_, watch)| condemned(watch));
        Ok(poor.map(|(name, _)| name).collect())
    }
}

/// Looks whether the values of a column differ, and how many are missing.
struct Watch {
    /// `None` once two values differ, or when nobody asks.
    converter: Option<RowConverter>,
    first: Option<Box<[u8]>>,
    missing: u64,
}

impl Watch {
    fn new(schema: &Schema, name: &str, compare: bool) -> Result<Self> {
        let converter = if compare { converter(schema.field(name)?.data_type())? } else { None };
        Ok(Self { converter, first: None, missing: 0 })
    }

    fn update(&mut self, array: &ArrayRef) -> Result<()> {
        self.missing += missing(array, Nan::Missing).count_set_bits() as u64;
        let Some(converter) = self.converter.as_ref().filter(|_| !array.is_empty()) else { return Ok(()) };
        let rows = converter.convert_columns(&[canonical(array)])?;
        let first = self.first.get_or_insert_with(|| rows.row(0).as_ref().into());
        if rows.iter().any(|row| row.as_ref() != &**first) {
            self.converter = None;
        }
        Ok(())
    }

    fn is_constant(&self) -> bool {
        self.converter.is_some() && self.first.is_some()
    }
}

impl Transform for Select {
    fn fit(&self, data: &Dataset) -> Result<Box<dyn FittedTransform>> {
        let settings = &self.settings;
        let schema = data.schema();
        for name in settings.first.iter().chain(settings.rename.keys()) {
            schema.index_of(name)?;
        }
        let mut names = self.staying(data)?;
        let place = |name: &String| settings.first.iter().position(|first| first == name).unwrap_or(usize::MAX);
        names.sort_by_key(place);
        let mut columns = Vec::with_capacity(names.len());
        for name in names {
            let data_type = type_name(schema.field(&name)?.data_type());
            let renamed = settings.rename.get(&name).unwrap_or(&name).clone();
            columns.push(Selected { name, data_type, output: renamed });
        }
        let fitted = FittedSelect { columns };
        fitted.output_schema(schema)?;
        Ok(told(self.settings()?, Box::new(fitted)))
    }

    fn settings(&self) -> Result<serde_json::Value> {
        settings(KIND, self)
    }
}

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Selected {
    name: String,
    data_type: String,
    output: String,
}

/// A [`Select`] that knows its columns.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedSelect {
    columns: Vec<Selected>,
}

impl FittedSelect {
    /// Columns that stay: name before and name after, in the order of the output.
    pub fn columns(&self) -> impl Iterator<Item = (&str, &str)> {
        self.columns.iter().map(|column| (column.name.as_str(), column.output.as_str()))
    }

    fn positions(&self, input: &Schema) -> Result<Vec<usize>> {
        self.columns.iter().map(|column| fitted_column(input, &column.name, &column.data_type)).collect()
    }

    fn changes(&self, input: &Schema) -> StepChanges {
        let mut changes = StepChanges::new(KIND);
        let stays = |name: &str| self.columns.iter().any(|column| column.name == name);
        changes.columns_dropped = input.names().filter(|name| !stays(name)).map(str::to_owned).collect();
        let renamed = self.columns().filter(|(old, new)| old != new);
        changes.columns_renamed = renamed.map(|(old, new)| (old.to_owned(), new.to_owned())).collect();
        changes
    }
}

impl FittedTransform for FittedSelect {
    fn scope(&self) -> Scope {
        Scope::Row
    }

    fn output_schema(&self, input: &Schema) -> Result<Schema> {
        let positions = self.positions(input)?;
        let renamed = |(&position, column): (&usize, &Selected)| {
            input.arrow().field(position).clone().with_name(column.output.as_str())
        };
        let fields: Vec<_> = positions.iter().zip(&self.columns).map(renamed).collect();
        Schema::new(ArrowSchema::new_with_metadata(fields, input.arrow().metadata().clone()))
    }

    fn begin(&self, input: &Schema) -> Result<Box<dyn Pass>> {
        let output = self.output_schema(input)?;
        let kernel = Kernel { positions: self.positions(input)? };
        Ok(RowPass::with_changes(self.changes(input), input, output, kernel))
    }

    fn state(&self) -> Result<TransformState> {
        pack(KIND, self)
    }
}

struct Kernel {
    positions: Vec<usize>,
}

impl RowKernel for Kernel {
    fn treat(&mut self, batch: &RecordBatch, _changes: &mut StepChanges) -> Result<(Vec<ArrayRef>, usize)> {
        Ok((self.positions.iter().map(|&at| batch.column(at).clone()).collect(), batch.num_rows()))
    }
}

#[cfg(test)]
mod tests;
