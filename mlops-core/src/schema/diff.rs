//! What changed between two schemas, and who can still read whose rows.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use arrow::datatypes::DataType;

use super::widen::{same, widens};
use super::{Role, Schema, Sensitivity};
use crate::{Error, Result};

/// One difference between an old schema and a new one.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum SchemaChange {
    /// A column that the old schema does not have.
    Added {
        /// The column.
        column: String,
        /// Its type.
        data_type: DataType,
        /// Whether it may be null.
        nullable: bool,
    },
    /// A column that the new schema does not have.
    Removed {
        /// The column.
        column: String,
        /// Its type.
        data_type: DataType,
        /// Whether it could be null.
        nullable: bool,
    },
    /// A column under another name. Only where that was told: a guess from types would mix up columns.
    Renamed {
        /// Its old name.
        from: String,
        /// Its new name.
        to: String,
    },
    /// The new type holds every value of the old one.
    Widened {
        /// The column, by its new name.
        column: String,
        /// The old type.
        from: DataType,
        /// The new type.
        to: DataType,
    },
    /// The old type holds every value of the new one.
    Narrowed {
        /// The column, by its new name.
        column: String,
        /// The old type.
        from: DataType,
        /// The new type.
        to: DataType,
    },
    /// Neither type holds every value of the other.
    Retyped {
        /// The column, by its new name.
        column: String,
        /// The old type.
        from: DataType,
        /// The new type.
        to: DataType,
    },
    /// Nulls are allowed that were not, or the other way round.
    Nullability {
        /// The column, by its new name.
        column: String,
        /// Whether the column may now be null.
        nullable: bool,
    },
    /// What the column is for.
    Role {
        /// The column, by its new name.
        column: String,
        /// Before.
        from: Role,
        /// Now.
        to: Role,
    },
    /// Who may see the values.
    Sensitivity {
        /// The column, by its new name.
        column: String,
        /// Before.
        from: Sensitivity,
        /// Now.
        to: Sensitivity,
    },
    /// What one of it is: the same number means something else now.
    Unit {
        /// The column, by its new name.
        column: String,
        /// Before.
        from: Option<String>,
        /// Now.
        to: Option<String>,
    },
    /// The columns that both have stand in another order.
    Reordered,
}

/// Who can read whose rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Compatibility {
    /// Whoever expects the new schema can read rows of the old one.
    pub backward: bool,
    /// Whoever expects the old schema can read rows of the new one.
    pub forward: bool,
}

impl Compatibility {
    /// Both ways.
    pub fn is_full(self) -> bool {
        self.backward && self.forward
    }
}

impl SchemaChange {
    /// The column, by its new name; by its old one where it is gone, and `None` where it is about all of them.
    pub fn column(&self) -> Option<&str> {
        match self {
            Self::Added { column, .. }
            | Self::Removed { column, .. }
            | Self::Renamed { to: column, .. }
            | Self::Widened { column, .. }
            | Self::Narrowed { column, .. }
            | Self::Retyped { column, .. }
            | Self::Nullability { column, .. }
            | Self::Role { column, .. }
            | Self::Sensitivity { column, .. }
            | Self::Unit { column, .. } => Some(column),
            Self::Reordered => None,
        }
    }

    /// What this change alone does to readers.
    ///
    /// A column that a reader expects and the rows do not have is filled with nulls, if it may be null; one that it does not
    /// expect is not read. A reader may not see values that their writer holds to be more sensitive than it knows, nor read
    /// numbers in another unit. Roles, order and names that are told change nothing for readers of our own, which know the change.
    pub fn compatibility(&self) -> Compatibility {
        let (backward, forward) = match self {
            Self::Added { nullable, .. } => (*nullable, true),
            Self::Removed { nullable, .. } => (true, *nullable),
            Self::Widened { .. } => (true, false),
            Self::Narrowed { .. } => (false, true),
            Self::Nullability { nullable, .. } => (*nullable, !*nullable),
            Self::Sensitivity { from, to, .. } => (to > from, from > to),
            Self::Retyped { .. } | Self::Unit { .. } => (false, false),
            Self::Renamed { .. } | Self::Role { .. } | Self::Reordered => (true, true),
        };
        Compatibility { backward, forward }
    }
}

impl fmt::Display for SchemaChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = |unit: &Option<String>| unit.clone().unwrap_or_else(|| "none".to_owned());
        match self {
            Self::Added { column, data_type, nullable } => {
                write!(f, "`{column}` added: {data_type}{}", if *nullable { "" } else { ", required" })
            }
            Self::Removed { column, data_type, .. } => write!(f, "`{column}` removed: {data_type}"),
            Self::Renamed { from, to } => write!(f, "`{from}` renamed to `{to}`"),
            Self::Widened { column, from, to } => write!(f, "`{column}` widened: {from} to {to}"),
            Self::Narrowed { column, from, to } => write!(f, "`{column}` narrowed: {from} to {to}"),
            Self::Retyped { column, from, to } => write!(f, "`{column}` retyped: {from} to {to}"),
            Self::Nullability { column, nullable: true } => write!(f, "`{column}` may now be null"),
            Self::Nullability { column, nullable: false } => write!(f, "`{column}` may no longer be null"),
            Self::Role { column, from, to } => write!(f, "role of `{column}`: {from:?} to {to:?}"),
            Self::Sensitivity { column, from, to } => write!(f, "sensitivity of `{column}`: {from:?} to {to:?}"),
            Self::Unit { column, from, to } => write!(f, "unit of `{column}`: {} to {}", unit(from), unit(to)),
            Self::Reordered => f.write_str("columns stand in another order"),
        }
    }
}

/// All differences between an old schema and a new one.
///
/// # Examples
/// ```
/// use mlops_core::arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
/// use mlops_core::schema::{Schema, SchemaDiff};
///
/// let schema = |fields: Vec<Field>| Schema::new(ArrowSchema::new(fields));
/// let old = schema(vec![Field::new("id", DataType::Int32, false)])?;
/// let new = schema(vec![Field::new("id", DataType::Int64, false), Field::new("price", DataType::Float64, true)])?;
/// let diff = SchemaDiff::between(&old, &new);
/// assert_eq!(diff.to_string(), "`id` widened: Int32 to Int64\n`price` added: Float64\n");
/// assert!(diff.compatibility().backward && !diff.compatibility().forward);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Debug, Default)]
pub struct SchemaDiff {
    changes: Vec<SchemaChange>,
}

impl SchemaDiff {
    /// What makes `new` of `old`; columns are the same when their names are.
    pub fn between(old: &Schema, new: &Schema) -> Self {
        Self::compare(old, new, &BTreeMap::new())
    }

    /// As [`between`](Self::between), with columns that have another name now: pairs of the old name and the new.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an old name that `old` does not have or a new one that `new` does not have,
    /// [`Error::AlreadyExists`] when two columns would become one.
    pub fn with_renames(old: &Schema, new: &Schema, renames: &[(&str, &str)]) -> Result<Self> {
        Ok(Self::compare(old, new, &checked_renames(old, new, renames)?))
    }

    fn compare(old: &Schema, new: &Schema, renames: &BTreeMap<&str, &str>) -> Self {
        let new_name = |name| renames.get(name).copied().unwrap_or(name);
        let places: BTreeMap<&str, usize> = old.names().map(new_name).zip(0..).collect();
        let mut changes = Vec::new();
        let mut order = Vec::new();
        for (index, field) in new.arrow().fields().iter().enumerate() {
            let column = field.name().clone();
            let Some(place) = places.get(field.name().as_str()).copied() else {
                let (data_type, nullable) = (field.data_type().clone(), field.is_nullable());
                changes.push(SchemaChange::Added { column, data_type, nullable });
                continue;
            };
            order.push(place);
            column_changes(old, place, new, index, &mut changes);
        }
        let mut kept = vec![false; old.len()];
        order.iter().for_each(|place: &usize| kept[*place] = true);
        for (place, field) in old.arrow().fields().iter().enumerate() {
            if !kept[place] {
                let (column, data_type) = (field.name().clone(), field.data_type().clone());
                changes.push(SchemaChange::Removed { column, data_type, nullable: field.is_nullable() });
            }
        }
        if !order.is_sorted() {
            changes.push(SchemaChange::Reordered);
        }
        Self { changes }
    }

    /// The differences, by column of the new schema, then what was removed, then the order.
    pub fn changes(&self) -> &[SchemaChange] {
        &self.changes
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// What all changes together do to readers.
    pub fn compatibility(&self) -> Compatibility {
        let all = |way: fn(Compatibility) -> bool| self.changes.iter().all(|change| way(change.compatibility()));
        Compatibility { backward: all(|c| c.backward), forward: all(|c| c.forward) }
    }
}

/// One change a line.
impl fmt::Display for SchemaDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.changes.iter().try_for_each(|change| writeln!(f, "{change}"))
    }
}

/// New names by old ones, if each is there and none is taken twice.
pub(super) fn checked_renames<'a>(
    old: &Schema,
    new: &Schema,
    renames: &[(&'a str, &'a str)],
) -> Result<BTreeMap<&'a str, &'a str>> {
    let (mut by_old, mut taken) = (BTreeMap::new(), BTreeSet::new());
    for (from, to) in renames {
        old.index_of(from)?;
        new.index_of(to)?;
        if by_old.insert(*from, *to).is_some() || !taken.insert(*to) {
            return Err(Error::AlreadyExists { kind: "column", name: (*to).to_owned() });
        }
    }
    match old.names().find(|name| !by_old.contains_key(name) && taken.contains(name)) {
        Some(name) => Err(Error::AlreadyExists { kind: "column", name: name.to_owned() }),
        None => Ok(by_old),
    }
}

fn column_changes(old: &Schema, place: usize, new: &Schema, index: usize, changes: &mut Vec<SchemaChange>) {
    let (before, now) = (old.arrow().field(place), new.arrow().field(index));
    let column = || now.name().clone();
    if before.name() != now.name() {
        changes.push(SchemaChange::Renamed { from: before.name().clone(), to: column() });
    }
    let (from, to) = (before.data_type(), now.data_type());
    if !same(from, to) {
        let (column, from, to) = (column(), from.clone(), to.clone());
        changes.push(match (widens(&from, &to), widens(&to, &from)) {
            (true, _) => SchemaChange::Widened { column, from, to },
            (_, true) => SchemaChange::Narrowed { column, from, to },
            _ => SchemaChange::Retyped { column, from, to },
        });
    }
    if before.is_nullable() != now.is_nullable() {
        changes.push(SchemaChange::Nullability { column: column(), nullable: now.is_nullable() });
    }
    let (from, to) = (old.roles[place], new.roles[index]);
    if from != to {
        changes.push(SchemaChange::Role { column: column(), from, to });
    }
    let (from, to) = (old.sensitivities[place], new.sensitivities[index]);
    if from != to {
        changes.push(SchemaChange::Sensitivity { column: column(), from, to });
    }
    let unit = |field: &arrow::datatypes::Field| field.metadata().get(super::UNIT).cloned();
    let (from, to) = (unit(before), unit(now));
    if from != to {
        changes.push(SchemaChange::Unit { column: column(), from, to });
    }
}
