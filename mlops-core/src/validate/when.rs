//! Rules for some rows only.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::{BooleanArray, BooleanBufferBuilder, RecordBatch, RecordBatchOptions};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use serde::{Deserialize, Serialize};

use super::given::{Given, Shared};
use super::holds::condition;
use super::kernel::{Kernel, KernelRun, Verdict, shorten};
use super::{Rule, Scope};
use crate::expr::{Expr, Program, as_text};
use crate::rowkey::RowSet;
use crate::time::EventTime;
use crate::{Error, Result, Schema};

/// Another rule, over the rows of which a condition is true.
///
/// Rows of which it is false or null are not looked at: neither for marks nor for shares, counts or distributions. Numbers
/// of rows in what is found are those of the other rule.
///
/// # Examples
/// ```
/// use mlops_core::expr::Expr;
/// use mlops_core::validate::{NullRatio, Suite, When};
/// let refunds = Expr::parse("status = 'REFUND'")?;
/// let suite = Suite::new().rule("refund_reason", When::holds(refunds, NullRatio::of("refund_reason")))?;
/// assert_eq!(suite.len(), 1);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct When {
    #[serde(serialize_with = "as_text::serialize")]
    condition: Expr,
    rule: Box<Rule>,
}

impl When {
    /// `rule` over the rows of which `condition` is true.
    pub fn holds(condition: Expr, rule: impl Into<Rule>) -> Self {
        Self { condition, rule: Box::new(rule.into()) }
    }

    pub(super) fn compile(&self) -> Result<Arc<dyn Kernel>> {
        self.condition.check_size()?;
        Ok(Arc::new(Compiled { condition: self.condition.clone(), inner: self.rule.compile()? }))
    }

    pub(super) fn inner(&self) -> &Rule {
        &self.rule
    }
}

#[derive(Debug)]
struct Compiled {
    condition: Expr,
    inner: Arc<dyn Kernel>,
}

impl Kernel for Compiled {
    fn demand(&self) -> String {
        format!("where {}: {}", shorten(&self.condition.to_string(), 200), self.inner.demand())
    }

    fn scope(&self) -> Scope {
        self.inner.scope()
    }

    fn columns(&self) -> Vec<&str> {
        let all: BTreeSet<&str> = self.condition.columns().into_iter().chain(self.inner.columns()).collect();
        all.into_iter().collect()
    }

    fn expressions(&self) -> Vec<&Expr> {
        vec![&self.condition]
    }

    fn begin(&self, schema: &Schema, given: &Given) -> Result<Box<dyn KernelRun>> {
        let (program, now) = condition(&self.condition, schema, given)?;
        let read = self.inner.columns().into_iter().map(str::to_owned).collect();
        Ok(Box::new(Run { program, now, read, inner: self.inner.begin(schema, given)? }))
    }
}

struct Run {
    program: Program,
    now: EventTime,
    read: Vec<String>,
    inner: Box<dyn KernelRun>,
}

impl KernelRun for Run {
    fn update(&mut self, batch: &Shared<'_>) -> Result<Option<BooleanBuffer>> {
        let chosen = self.program.true_rows(batch, self.now, batch.memo())?;
        if chosen.count_set_bits() == batch.num_rows() {
            return self.inner.update(batch);
        }
        let place =
            |name: &String| batch.schema_ref().index_of(name).map_err(|_| Error::schema(name, "a column", "none"));
        let places = self.read.iter().map(place).collect::<Result<Vec<_>>>()?;
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        let schema = Arc::new(batch.schema_ref().project(&places)?);
        let columns = places.iter().map(|place| batch.column(*place).clone()).collect();
        let read = RecordBatch::try_new_with_options(schema, columns, &options)?;
        let some = filter_record_batch(&read, &BooleanArray::new(chosen.clone(), None))?;
        let Some(marks) = self.inner.update(&batch.part(&some, &chosen))? else { return Ok(None) };
        let mut all = BooleanBufferBuilder::new(batch.num_rows());
        all.append_n(batch.num_rows(), false);
        chosen.set_indices().zip(marks.iter()).filter(|(_, mark)| *mark).for_each(|(row, _)| all.set_bit(row, true));
        Ok(Some(all.finish()))
    }

    fn waits(&self) -> bool {
        self.inner.waits()
    }

    fn settle(&mut self) -> Result<RowSet> {
        self.inner.settle()
    }

    fn finish(self: Box<Self>) -> Result<Verdict> {
        self.inner.finish()
    }
}
