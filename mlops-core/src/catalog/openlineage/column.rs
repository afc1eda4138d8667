//! Which column came from which.

use std::collections::{BTreeMap, BTreeSet};

use arrow::datatypes::Field;
use serde::{Deserialize, Serialize};

use super::Dataset;
use crate::Schema;
use crate::clean::{Change, Changes};
use crate::privacy::{Action, Plan, Treatment};

/// Which column of a data set came from which columns of those that it was made from.
///
/// # Examples
/// ```
/// use mlops_core::arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
/// use mlops_core::Schema;
/// use mlops_core::catalog::openlineage::{ColumnLineage, Dataset, Origin};
///
/// let columns = |names: &[&str]| {
///     let field = |name: &&str| Field::new(*name, DataType::Utf8, true);
///     Schema::new(ArrowSchema::new(names.iter().map(field).collect::<Vec<_>>()))
/// };
/// let raw = Dataset::named(&Origin::builder("shop").build()?, "raw");
/// let lineage = ColumnLineage::by_name(&raw, &columns(&["id", "phone"])?, &columns(&["id", "new"])?);
/// assert_eq!(lineage.fields["id"].input_fields[0].field, "id");
/// assert!(lineage.fields["new"].input_fields.is_empty());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct ColumnLineage {
    /// By column of the data set. One that came from nowhere that is known has no input fields.
    pub fields: BTreeMap<String, FieldLineage>,
    /// Columns that decided which rows there are, or how they are ordered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dataset: Vec<InputField>,
}

/// Where a column came from.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct FieldLineage {
    /// The columns that it was made from.
    pub input_fields: Vec<InputField>,
}

/// A column that was read.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct InputField {
    /// Namespace of its data set.
    pub namespace: String,
    /// Name of its data set.
    pub name: String,
    /// The column.
    pub field: String,
    /// What was done to it, in order.
    #[serde(default)]
    pub transformations: Vec<Transformation>,
}

/// What was done to a column.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct Transformation {
    /// Whether its values went in.
    #[serde(rename = "type")]
    pub kind: TransformationType,
    /// Such as `IDENTITY`, `TRANSFORMATION`, `FILTER`.
    pub subtype: String,
    /// In words.
    pub description: String,
    /// Whether values can no longer be read off the result.
    pub masking: bool,
}

/// Whether values of a column went into another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum TransformationType {
    /// They did.
    Direct,
    /// They only decided what went in.
    Indirect,
}

impl Transformation {
    fn identity() -> Self {
        Self::direct("IDENTITY", "", false)
    }

    fn direct(subtype: &str, description: impl Into<String>, masking: bool) -> Self {
        let (kind, description) = (TransformationType::Direct, description.into());
        Self { kind, subtype: subtype.to_owned(), description, masking }
    }

    fn filter(description: impl Into<String>) -> Self {
        let (kind, subtype) = (TransformationType::Indirect, "FILTER".to_owned());
        Self { kind, subtype, description: description.into(), masking: false }
    }
}

impl InputField {
    /// `field` of `input`, with what was done to it.
    pub fn of(input: &Dataset, field: impl Into<String>, transformations: Vec<Transformation>) -> Self {
        let (namespace, name) = (input.namespace.clone(), input.name.clone());
        Self { namespace, name, field: field.into(), transformations }
    }
}

impl ColumnLineage {
    /// Columns of one name are one column: the same where the types are equal, a cast where they are not.
    pub fn by_name(input: &Dataset, from: &Schema, to: &Schema) -> Self {
        Self::of(to, |column| {
            let done = step(from.field(column).ok()?, to.field(column).ok()?);
            Some(InputField::of(input, column, vec![done]))
        })
    }

    /// What cleaning did: `changes` tells what became of which column of `from` on the way to `to`.
    ///
    /// A column that a step put beside another under a longer name (`age_missing` beside `age`) came from that one. Columns
    /// that had rows dropped are those that decided which rows there are.
    pub fn cleaned(input: &Dataset, from: &Schema, to: &Schema, changes: &Changes) -> Self {
        let history = History::of(from, changes);
        let mut lineage = Self::of(to, |column| {
            let (origin, mut done) = history.origin(column)?;
            if done.is_empty() {
                done.push(step(from.field(origin).ok()?, to.field(column).ok()?));
            }
            Some(InputField::of(input, origin, done))
        });
        let filter = |column: &String| InputField::of(input, column, vec![Transformation::filter("rows were dropped")]);
        lineage.dataset = history.filters.iter().map(filter).collect();
        lineage
    }

    /// What a privacy policy did: `plan` tells how each column of `from` is treated on the way to `to`.
    pub fn masked(input: &Dataset, from: &Schema, to: &Schema, plan: &Plan) -> Self {
        Self::of(to, |column| {
            from.field(column).ok()?;
            let done = match plan.treatment(column) {
                Some(Treatment::Keep | Treatment::Unscanned | Treatment::Whole { action: Action::Keep, .. }) => {
                    Transformation::identity()
                }
                Some(Treatment::Whole { action, .. }) => {
                    Transformation::direct("TRANSFORMATION", word_of(action), true)
                }
                Some(_) => Transformation::direct("TRANSFORMATION", "personal data in texts", true),
                None => return None,
            };
            Some(InputField::of(input, column, vec![done]))
        })
    }

    /// With the columns of `other` beside them: for a data set that was made from several.
    pub fn and(mut self, other: Self) -> Self {
        for (column, lineage) in other.fields {
            self.fields.entry(column).or_default().input_fields.extend(lineage.input_fields);
        }
        self.dataset.extend(other.dataset);
        self
    }

    fn of(to: &Schema, origin: impl Fn(&str) -> Option<InputField>) -> Self {
        let field = |column: &str| {
            let input_fields = origin(column).into_iter().collect();
            (column.to_owned(), FieldLineage { input_fields })
        };
        Self { fields: to.names().map(field).collect(), dataset: Vec::new() }
    }
}

/// What became of a column of which nothing else is known.
fn step(before: &Field, after: &Field) -> Transformation {
    if before.data_type() == after.data_type() {
        return Transformation::identity();
    }
    Transformation::direct("TRANSFORMATION", format!("cast to {}", after.data_type()), false)
}

/// The name of a serde value without its settings, such as `mask`.
fn word_of(value: impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(serde_json::Value::Object(members)) => members.keys().next().cloned().unwrap_or_default(),
        _ => String::new(),
    }
}

/// Where the columns after some steps came from.
struct History {
    /// By present name: first name, and what was done.
    columns: BTreeMap<String, (String, Vec<Transformation>)>,
    /// First names by every name that a column ever had.
    names: BTreeMap<String, String>,
    /// First names of columns that had rows dropped.
    filters: BTreeSet<String>,
}

impl History {
    fn of(from: &Schema, changes: &Changes) -> Self {
        let first = from.names().map(|name| (name.to_owned(), (name.to_owned(), Vec::new()))).collect();
        let names = from.names().map(|name| (name.to_owned(), name.to_owned())).collect();
        let mut history = Self { columns: first, names, filters: BTreeSet::new() };
        for step in &changes.steps {
            for (column, cells) in &step.cells {
                let Some((origin, done)) = history.columns.get_mut(column) else { continue };
                if cells.contains_key(&Change::RowDropped) {
                    history.filters.insert(origin.clone());
                }
                let words = cells.keys().filter(|change| !matches!(change, Change::RowDropped | Change::Flagged));
                let words: Vec<String> = words.map(word_of).collect();
                if !words.is_empty() {
                    let description = format!("{}: {}", step.step, words.join(", "));
                    done.push(Transformation::direct("TRANSFORMATION", description, false));
                }
            }
            // Names may be swapped, so all are taken out before any is put in.
            let renamed = step.columns_renamed.iter();
            let moved: Vec<_> =
                renamed.filter_map(|(old, new)| Some((new.clone(), history.columns.remove(old)?))).collect();
            history.names.extend(moved.iter().map(|(name, (origin, _))| (name.clone(), origin.clone())));
            history.columns.extend(moved);
        }
        history
    }

    fn origin(&self, column: &str) -> Option<(&str, Vec<Transformation>)> {
        if let Some((origin, done)) = self.columns.get(column) {
            return Some((origin, done.clone()));
        }
        let beside = |name: &&String| column.strip_prefix(name.as_str()).is_some_and(|rest| rest.starts_with('_'));
        let (_, origin) = self.names.iter().filter(|(name, _)| beside(name)).max_by_key(|(name, _)| name.len())?;
        Some((origin, vec![Transformation::direct("TRANSFORMATION", "a mark beside the column", false)]))
    }
}
