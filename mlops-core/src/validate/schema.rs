//! Which columns a table has.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use super::Scope;
use super::given::{Given, Shared};
use super::kernel::{Kernel, KernelRun, Verdict, measures, quoted, shorten};
use crate::schema::logical_type;
use crate::{Error, Result, Schema};

/// Most problems that are told one by one.
const PROBLEMS_MAX: usize = 10;

/// Most columns that a rule may name.
const COLUMNS_MAX: usize = 100_000;

/// What is demanded of one column.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnRule {
    /// Its name.
    pub name: String,
    /// Its type in Arrow's notation, such as `Int64` or `Timestamp(µs, "UTC")`; absent means any type. Layouts of the
    /// same content (string views, dictionaries) count as one type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_type: Option<String>,
}

/// The table has the columns named, of the types stated.
///
/// * Nullability is not compared: sources rarely know it; demand it of the values with
///   [`NullRatio`](super::NullRatio).
/// * Measures: `missing`, `retyped`, `extra`, `moved` columns; `observed` is how many of these count as failures.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "it is what the setting is called in a stored suite")]
pub struct Columns {
    columns: Vec<ColumnRule>,
    #[serde(default)]
    ordered: bool,
    #[serde(default)]
    exact: bool,
}

impl Columns {
    /// Columns that must be there, whatever their type.
    pub fn of(names: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let column = |name: String| ColumnRule { name, data_type: None };
        Self { columns: names.into_iter().map(Into::into).map(column).collect(), ordered: false, exact: false }
    }

    /// The columns of `schema`, with its types.
    pub fn like(schema: &Schema) -> Self {
        let column = |field: &Arc<arrow::datatypes::Field>| ColumnRule {
            name: field.name().clone(),
            data_type: Some(plain(field.data_type()).to_string()),
        };
        Self { columns: schema.arrow().fields().iter().map(column).collect(), ordered: false, exact: false }
    }

    /// Adds a column that must be there with `data_type`.
    pub fn typed(mut self, name: impl Into<String>, data_type: &DataType) -> Self {
        self.columns.push(ColumnRule { name: name.into(), data_type: Some(plain(data_type).to_string()) });
        self
    }

    /// The columns named come in the order named; extra ones may stand between them. Default: any order.
    pub fn ordered(mut self) -> Self {
        self.ordered = true;
        self
    }

    /// No other columns. Default: extra columns are fine.
    pub fn exact(mut self) -> Self {
        self.exact = true;
        self
    }

    pub(super) fn compile(&self) -> Result<Arc<dyn Kernel>> {
        if self.columns.is_empty() || self.columns.len() > COLUMNS_MAX {
            return Err(Error::invalid("columns", format!("{} columns", self.columns.len()), "1 to 100000 columns"));
        }
        let mut expected: Vec<(String, Option<String>)> = Vec::with_capacity(self.columns.len());
        let mut seen = BTreeSet::new();
        for column in &self.columns {
            if !seen.insert(column.name.as_str()) {
                return Err(Error::AlreadyExists { kind: "column", name: shorten(&column.name, 80) });
            }
            expected.push((column.name.clone(), column.data_type.as_deref().map(parse).transpose()?));
        }
        Ok(Arc::new(Compiled { rule: self.clone(), expected }))
    }
}

/// The type without the dictionary around it, whose notation would only say how the content is stored.
fn plain(data_type: &DataType) -> &DataType {
    if let DataType::Dictionary(_, values) = data_type { plain(values) } else { data_type }
}

fn parse(text: &str) -> Result<String> {
    let refuse = || Error::invalid("data_type", shorten(text, 80), "an Arrow type such as `Int64` or `Utf8`");
    let parsed: DataType = if text.len() <= 4096 { text.parse().map_err(|_| refuse())? } else { return Err(refuse()) };
    Ok(logical_type(&parsed))
}

#[derive(Debug)]
struct Compiled {
    rule: Columns,
    expected: Vec<(String, Option<String>)>,
}

#[derive(Default)]
struct Problems {
    missing: u64,
    retyped: u64,
    extra: u64,
    moved: u64,
    told: Vec<String>,
}

impl Problems {
    fn tell(&mut self, problem: impl FnOnce() -> String) {
        if self.told.len() < PROBLEMS_MAX {
            self.told.push(problem());
        }
    }
}

impl Compiled {
    fn judge(&self, schema: &Schema) -> Problems {
        let mut problems = Problems::default();
        let mut last = None;
        let positions: BTreeMap<&str, usize> =
            schema.names().enumerate().map(|(position, name)| (name, position)).collect();
        for (name, expected) in &self.expected {
            let Some(position) = positions.get(name.as_str()).copied() else {
                problems.missing += 1;
                problems.tell(|| format!("{} is missing", quoted(name)));
                continue;
            };
            let found = logical_type(schema.arrow().field(position).data_type());
            if let Some(expected) = expected.as_ref().filter(|expected| **expected != found) {
                problems.retyped += 1;
                problems.tell(|| format!("{} is {found}, not {expected}", quoted(name)));
            }
            if last.is_some_and(|last| position < last) {
                problems.moved += 1;
                if self.rule.ordered {
                    problems.tell(|| format!("{} is out of order", quoted(name)));
                }
            }
            last = last.max(Some(position));
        }
        let expected: BTreeSet<&str> = self.expected.iter().map(|(name, _)| name.as_str()).collect();
        for name in schema.names().filter(|name| !expected.contains(name)) {
            problems.extra += 1;
            if self.rule.exact {
                problems.tell(|| format!("{} is extra", quoted(name)));
            }
        }
        problems
    }
}

impl Kernel for Compiled {
    fn demand(&self) -> String {
        let order = if self.rule.ordered { " in order" } else { "" };
        let extra = if self.rule.exact { " and no other" } else { "" };
        format!("{} named columns with their types{order}{extra}", self.expected.len())
    }

    fn scope(&self) -> Scope {
        Scope::Table
    }

    fn columns(&self) -> Vec<&str> {
        Vec::new()
    }

    fn begin(&self, schema: &Schema, _given: &Given) -> Result<Box<dyn KernelRun>> {
        let problems = self.judge(schema);
        let mut failures = problems.missing + problems.retyped;
        failures += if self.rule.exact { problems.extra } else { 0 };
        failures += if self.rule.ordered { problems.moved } else { 0 };
        let more = failures.saturating_sub(problems.told.len() as u64);
        let mut told = problems.told;
        if more > 0 {
            told.push(format!("and {more} more"));
        }
        Ok(Box::new(Run(Verdict {
            passed: failures == 0,
            observed: Some(failures as f64),
            measures: measures([
                ("missing", problems.missing as f64),
                ("retyped", problems.retyped as f64),
                ("extra", problems.extra as f64),
                ("moved", problems.moved as f64),
            ]),
            detail: told.join("; "),
            ..Verdict::default()
        })))
    }
}

/// The verdict is known from the schema alone.
struct Run(Verdict);

impl KernelRun for Run {
    fn update(&mut self, _batch: &Shared<'_>) -> Result<Option<BooleanBuffer>> {
        Ok(None)
    }

    fn finish(self: Box<Self>) -> Result<Verdict> {
        Ok(self.0)
    }
}
