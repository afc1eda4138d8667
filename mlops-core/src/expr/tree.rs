//! Expressions as trees.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::{Common, Function, Program, parse};
use crate::source::Scalar;
use crate::{Error, Result, Schema};

/// Deepest nesting of an expression.
pub const DEPTH_MAX: usize = 40;

/// Most columns, constants and calls in one expression.
pub const NODES_MAX: usize = 10_000;

/// Longest expression as text, in bytes.
pub const TEXT_BYTES_MAX: usize = 1 << 16;

/// An expression over the columns of one row.
///
/// * JSON: `{"column": "a"}`, `{"literal": {"int": 1}}`, `{"literal": null}`,
///   `{"call": {"function": "add", "args": […]}}`. Wherever a tree can stand, its text form can stand as a string instead.
/// * Text: [`parse`](Self::parse) and `Display` are inverse to each other.
/// * At most [`DEPTH_MAX`] deep and [`NODES_MAX`] large; larger ones are refused by [`compile`](Self::compile).
///
/// # Examples
/// ```
/// use mlops_core::expr::{Expr, Function};
/// let tree = Expr::call(Function::GtEq, [Expr::column("end"), Expr::column("start")]);
/// assert_eq!(tree.to_string(), "end >= start");
/// assert_eq!(Expr::parse("end >= start")?, tree);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Expr {
    /// The value of a column.
    Column(String),
    /// A constant, or null.
    Literal(Option<Scalar>),
    /// A function of other expressions.
    Call {
        /// Which.
        function: Function,
        /// Of what, in the order that [`Function`] states.
        args: Vec<Self>,
    },
}

impl Expr {
    /// The value of `column`.
    pub fn column(column: impl Into<String>) -> Self {
        Self::Column(column.into())
    }

    /// A constant.
    pub fn literal(value: impl Into<Scalar>) -> Self {
        Self::Literal(Some(value.into()))
    }

    /// `function` of `args`.
    pub fn call(function: Function, args: impl IntoIterator<Item = Self>) -> Self {
        Self::Call { function, args: args.into_iter().collect() }
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// [`Error::InvalidData`] with the place of the mistake (in characters, from 1) and advice.
    pub fn parse(text: &str) -> Result<Self> {
        parse::parse(text)
    }

    /// Checks the expression against `schema` and prepares it to run.
    ///
    /// # Errors
    /// [`Error::NotFound`] for a missing column, [`Error::Schema`] where types do not go together, [`Error::Invalid`] for a
    /// wrong number of arguments, a constant that is not finite, a bad regular expression and an expression that is too large.
    pub fn compile(&self, schema: &Schema) -> Result<Program> {
        self.compile_with(schema, &Common::default())
    }

    /// [`compile`](Self::compile) for a program that shares what it has in common with others over the same schema.
    pub(crate) fn compile_with(&self, schema: &Schema, common: &Common) -> Result<Program> {
        Program::new(self, schema, common)
    }

    /// Columns that it reads.
    pub fn columns(&self) -> BTreeSet<&str> {
        let mut columns = BTreeSet::new();
        self.visit(&mut |expr| {
            if let Self::Column(name) = expr {
                columns.insert(name.as_str());
            }
        });
        columns
    }

    /// Whether it asks for the time of the run.
    pub fn uses_now(&self) -> bool {
        let mut found = false;
        self.visit(&mut |expr| found |= matches!(expr, Self::Call { function: Function::Now, .. }));
        found
    }

    /// Without recursion, since nothing bounds a tree that was put together by hand.
    fn visit<'a>(&'a self, see: &mut impl FnMut(&'a Self)) {
        let mut open = vec![self];
        while let Some(expr) = open.pop() {
            see(expr);
            if let Self::Call { args, .. } = expr {
                open.extend(args);
            }
        }
    }

    /// Refuses what is too large.
    pub(crate) fn check_size(&self) -> Result<()> {
        let mut open = vec![(self, 1)];
        let mut nodes = 0;
        while let Some((expr, depth)) = open.pop() {
            nodes += 1;
            if depth > DEPTH_MAX {
                return Err(Error::invalid("expression", format!("more than {DEPTH_MAX} levels"), "at most 40 deep"));
            }
            if nodes > NODES_MAX {
                return Err(Error::invalid(
                    "expression",
                    format!("more than {NODES_MAX} parts"),
                    "at most 10000 large",
                ));
            }
            if let Self::Call { args, .. } = expr {
                open.extend(args.iter().map(|arg| (arg, depth + 1)));
            }
        }
        Ok(())
    }
}

impl FromStr for Expr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

/// The tree as it is stored.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Stored {
    Column(String),
    Literal(Option<Scalar>),
    Call { function: Function, args: Vec<Expr> },
}

impl<'de> Deserialize<'de> for Expr {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Expr;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an expression, as text or as a tree")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Expr, E> {
                Expr::parse(text).map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Expr, A::Error> {
                Ok(match Stored::deserialize(MapAccessDeserializer::new(map))? {
                    Stored::Column(name) => Expr::Column(name),
                    Stored::Literal(value) => Expr::Literal(value),
                    Stored::Call { function, args } => Expr::Call { function, args },
                })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Writes expressions of settings in their text form, which people read and edit.
pub(crate) mod as_text {
    use serde::Serializer;

    use super::Expr;

    pub(crate) fn serialize<S: Serializer>(expr: &Expr, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(expr)
    }
}
