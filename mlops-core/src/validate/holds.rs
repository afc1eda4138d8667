//! Rows of which an expression holds.

use std::sync::Arc;

use arrow::buffer::BooleanBuffer;
use serde::{Deserialize, Serialize};

use super::Scope;
use super::given::{Given, Shared};
use super::kernel::{Kernel, KernelRun, Tally, Verdict, quoted, shorten};
use crate::expr::{Expr, Function, Program, Type, as_text};
use crate::source::Comparison;
use crate::time::EventTime;
use crate::{Error, Result, Schema};

/// A boolean expression is not false for any row.
///
/// As with a `CHECK` in SQL, a row for which it is null passes; see [`crate::expr`] for the language. `now()` is what
/// [`Suite::at`](super::Suite::at) says. `observed` is the share of rows for which it is false.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holds {
    #[serde(serialize_with = "as_text::serialize")]
    expr: Expr,
}

impl Holds {
    /// `expr` holds.
    pub fn of(expr: Expr) -> Self {
        Self { expr }
    }

    /// The expression that `text` stands for holds.
    ///
    /// # Errors
    /// As [`Expr::parse`].
    pub fn parse(text: &str) -> Result<Self> {
        Expr::parse(text).map(Self::of)
    }

    pub(super) fn compile(&self) -> Result<Arc<dyn Kernel>> {
        self.expr.check_size()?;
        Ok(Arc::new(Compiled {
            demand: format!("{} holds", shorten(&self.expr.to_string(), 200)),
            expr: self.expr.clone(),
        }))
    }
}

/// Two columns of one row compare in a stated way, such as `end >= start`.
///
/// Columns of types that an expression can compare; a row with a null on either side passes, NaN does not (save for `!=`).
/// `observed` is the share of rows for which it is false.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compare {
    left: String,
    comparison: Comparison,
    right: String,
}

impl Compare {
    /// `left` `comparison` `right`.
    pub fn columns(left: impl Into<String>, comparison: Comparison, right: impl Into<String>) -> Self {
        Self { left: left.into(), comparison, right: right.into() }
    }

    pub(super) fn compile(&self) -> Result<Arc<dyn Kernel>> {
        if self.left == self.right {
            return Err(Error::invalid("right", shorten(&self.right, 80), "another column than the left one"));
        }
        let (function, sign) = match self.comparison {
            Comparison::Eq => (Function::Eq, "="),
            Comparison::NotEq => (Function::NotEq, "!="),
            Comparison::Lt => (Function::Lt, "<"),
            Comparison::LtEq => (Function::LtEq, "<="),
            Comparison::Gt => (Function::Gt, ">"),
            Comparison::GtEq => (Function::GtEq, ">="),
        };
        let expr = Expr::call(function, [Expr::column(&self.left), Expr::column(&self.right)]);
        let demand = format!("{} {sign} {}", quoted(&self.left), quoted(&self.right));
        Ok(Arc::new(Compiled { demand, expr }))
    }
}

#[derive(Debug)]
struct Compiled {
    demand: String,
    expr: Expr,
}

/// A condition ready to run: its program, and the time where it asks for it.
pub(super) fn condition(expr: &Expr, schema: &Schema, given: &Given) -> Result<(Program, EventTime)> {
    let program = expr.compile_with(schema, given.common())?;
    if program.output() != Type::Bool {
        let column = expr.columns().into_iter().next().unwrap_or("*").to_owned();
        return Err(Error::schema(
            column,
            "an expression that is true or false",
            format!("`{}`, which is {}", shorten(&expr.to_string(), 80), program.output()),
        ));
    }
    let now = if expr.uses_now() { given.now()? } else { EventTime::EPOCH };
    Ok((program, now))
}

impl Kernel for Compiled {
    fn demand(&self) -> String {
        self.demand.clone()
    }

    fn scope(&self) -> Scope {
        Scope::Row
    }

    fn columns(&self) -> Vec<&str> {
        self.expr.columns().into_iter().collect()
    }

    fn expressions(&self) -> Vec<&Expr> {
        vec![&self.expr]
    }

    fn begin(&self, schema: &Schema, given: &Given) -> Result<Box<dyn KernelRun>> {
        let (program, now) = condition(&self.expr, schema, given)?;
        Ok(Box::new(Run { program, now, tally: Tally::default() }))
    }
}

struct Run {
    program: Program,
    now: EventTime,
    tally: Tally,
}

impl KernelRun for Run {
    fn update(&mut self, batch: &Shared<'_>) -> Result<Option<BooleanBuffer>> {
        let failing = self.program.false_rows(batch, self.now, batch.memo())?;
        Ok(Some(self.tally.take(failing, None)))
    }

    fn finish(self: Box<Self>) -> Result<Verdict> {
        Ok(self.tally.verdict())
    }
}
