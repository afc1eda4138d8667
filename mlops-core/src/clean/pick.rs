//! Which columns a setting is about.

use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use crate::schema::{Role, Sensitivity};
use crate::source::is_text;
use crate::{Result, Schema};

/// Columns by name, or by what the schema says of them. Resolved when a transform is fitted: what was fitted knows names.
///
/// # Examples
/// ```
/// use mlops_core::clean::Pick;
/// use mlops_core::schema::Role;
///
/// assert_eq!(Pick::from(["age", "spend"]), Pick::columns(["age", "spend"]));
/// assert_eq!(Pick::from(Role::Feature), Pick::Role(Role::Feature));
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Pick {
    /// These columns; each must be there.
    Columns(Vec<String>),
    /// Columns of this role.
    Role(Role),
    /// Columns of this sensitivity or a greater one.
    Sensitivity(Sensitivity),
    /// Columns of integers or floats whose role is feature or other: no keys, times, labels or weights.
    Numbers,
    /// Columns of text whose role is feature or other.
    Texts,
    /// Every column.
    All,
}

impl Pick {
    /// These columns.
    pub fn columns(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self::Columns(names.into_iter().map(Into::into).collect())
    }

    /// Positions of the columns picked, in the order of the schema, each once.
    fn positions(&self, schema: &Schema) -> Result<Vec<usize>> {
        if let Self::Columns(names) = self {
            let mut found = names.iter().map(|name| schema.index_of(name)).collect::<Result<Vec<_>>>()?;
            found.sort_unstable();
            found.dedup();
            return Ok(found);
        }
        let mut found = Vec::new();
        for (position, name) in schema.names().enumerate() {
            if self.takes(schema, name)? {
                found.push(position);
            }
        }
        Ok(found)
    }

    fn takes(&self, schema: &Schema, name: &str) -> Result<bool> {
        let data_type = schema.field(name)?.data_type();
        let role = schema.role(name)?;
        let is_free = matches!(role, Role::Feature | Role::Other);
        Ok(match self {
            Self::Columns(names) => names.iter().any(|n| n == name),
            Self::Role(wanted) => role == *wanted,
            Self::Sensitivity(least) => schema.sensitivity(name)? >= *least,
            Self::Numbers => is_free && is_number(data_type),
            Self::Texts => is_free && is_text(data_type),
            Self::All => true,
        })
    }

    /// Names of the columns picked, in the order of the schema.
    pub(super) fn names(&self, schema: &Schema) -> Result<Vec<String>> {
        let at = |position: usize| schema.arrow().field(position).name().clone();
        Ok(self.positions(schema)?.into_iter().map(at).collect())
    }
}

/// The columns that rules pick, in the order of the schema; where two rules pick a column, the later one holds.
pub(super) fn assign<'r, R>(
    schema: &Schema,
    rules: impl IntoIterator<Item = (&'r Pick, &'r R)>,
) -> Result<Vec<(String, &'r R)>> {
    let mut chosen = std::collections::BTreeMap::new();
    for (pick, rule) in rules {
        for position in pick.positions(schema)? {
            chosen.insert(position, rule);
        }
    }
    Ok(chosen.into_iter().map(|(position, rule)| (schema.arrow().field(position).name().clone(), rule)).collect())
}

/// Types that are learned from and calculated with: integers of 8 to 64 bits, floats of 32 and 64.
pub(super) fn is_number(data_type: &DataType) -> bool {
    data_type.is_integer() || matches!(data_type, DataType::Float32 | DataType::Float64)
}

impl From<&str> for Pick {
    fn from(name: &str) -> Self {
        Self::columns([name])
    }
}

impl From<String> for Pick {
    fn from(name: String) -> Self {
        Self::columns([name])
    }
}

impl<const N: usize> From<[&str; N]> for Pick {
    fn from(names: [&str; N]) -> Self {
        Self::columns(names)
    }
}

impl From<Vec<String>> for Pick {
    fn from(names: Vec<String>) -> Self {
        Self::Columns(names)
    }
}

impl From<Role> for Pick {
    fn from(role: Role) -> Self {
        Self::Role(role)
    }
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{Field, Schema as ArrowSchema};

    use super::*;

    fn schema() -> Schema {
        let field = |name: &str, data_type| Field::new(name, data_type, true);
        let fields = vec![
            field("id", DataType::Int64),
            field("age", DataType::Int32),
            field("plan", DataType::Utf8),
            field("phone", DataType::Utf8),
            field("churned", DataType::Int8),
        ];
        Schema::new(ArrowSchema::new(fields))
            .and_then(|s| s.with_role("id", Role::Key))
            .and_then(|s| s.with_role("churned", Role::Label))
            .and_then(|s| s.with_sensitivity("phone", Sensitivity::Personal))
            .unwrap()
    }

    #[track_caller]
    fn check(pick: impl Into<Pick>, expected: &[&str]) {
        assert_eq!(pick.into().names(&schema()).unwrap(), expected);
    }

    #[test]
    fn columns_are_picked_by_name_and_by_what_they_are() {
        check(["plan", "id", "plan"], &["id", "plan"]);
        check(Role::Label, &["churned"]);
        check(Pick::Sensitivity(Sensitivity::Personal), &["phone"]);
        check(Pick::Numbers, &["age"]);
        check(Pick::Texts, &["plan", "phone"]);
        check(Pick::All, &["id", "age", "plan", "phone", "churned"]);
        assert!(Pick::from("nope").names(&schema()).is_err());
    }

    #[test]
    fn the_later_rule_holds() {
        let rules = [(Pick::All, 1), (Pick::from("age"), 2)];
        let assigned = assign(&schema(), rules.iter().map(|(pick, rule)| (pick, rule))).unwrap();
        assert_eq!(assigned.iter().map(|(_, rule)| **rule).collect::<Vec<_>>(), [1, 2, 1, 1, 1]);
    }
}
