//! From rows of a store to the columns of a plan: statuses and ages, then computed features over what was known.

use arrow::array::{Array, ArrayRef, UInt32Array};
use arrow::compute::take;
use mlops_core::EventTime;

use super::ServingPlan;
use super::plan::{CallerColumn, Origin, Plan, Step};
use super::status::{Ages, Part, Status, Tally};
use super::vectors::FeatureVectors;
use crate::columns::cast_exactly;
use crate::error::Result;
use crate::transform::instants_of;

/// What a request brings for one column of [`Plan::columns`].
pub(super) struct Brought {
    pub(super) array: ArrayRef,
    /// It has one value, which stands for every entity.
    pub(super) shared: bool,
}

impl Brought {
    /// `array` as what `column` is declared to be.
    pub(super) fn new(column: &CallerColumn, array: &ArrayRef, shared: bool) -> Result<Self> {
        let array = cast_exactly(array, &column.value_type.data_type(), column.name.as_str())?;
        Ok(Self { array, shared })
    }
}

/// What was read and computed for one request.
pub(super) struct Answer {
    pub(super) parts: Vec<Part>,
    pub(super) computed: Vec<Computed>,
}

/// The wanted features of one step.
pub(super) struct Computed {
    columns: Vec<ArrayRef>,
    /// Per column.
    ages: Vec<Ages>,
    pub(super) tally: Tally,
    /// The values are one per column, which stands for every entity.
    shared: bool,
}

impl Answer {
    /// Computes the steps of `plan` over what was read.
    ///
    /// Computed features see what was known, never what a policy put in its place: what they give for a request is what
    /// they give for the row that an as-of join makes of it.
    pub(super) fn compute(
        plan: &Plan,
        parts: Vec<Part>,
        brought: &[Brought],
        now: EventTime,
        rows: usize,
    ) -> Result<Self> {
        let mut answer = Self { parts, computed: Vec::with_capacity(plan.steps.len()) };
        for step in &plan.steps {
            let computed = answer.step(step, brought, now, rows)?;
            answer.computed.push(computed);
        }
        Ok(answer)
    }

    fn step(&self, step: &Step, brought: &[Brought], now: EventTime, rows: usize) -> Result<Computed> {
        let shared = step.inputs.iter().flatten().all(|origin| self.known(*origin, brought).1);
        let len = if shared { 1 } else { rows };
        let columns = step.run(|origin| self.known(origin, brought), &instants_of(&[now], len)?)?;
        let ages = step.wanted.iter().map(|feature| {
            let reads = step.view.reads(*feature).iter().filter_map(|input| step.inputs[*input]);
            Ages::Computed(self.oldest(reads, len))
        });
        let ages = ages.collect();
        Ok(Computed { tally: Tally::of_computed(&columns), columns, ages, shared })
    }

    /// The column behind `origin`, and whether it is one value for all.
    fn known<'a>(&'a self, origin: Origin, brought: &'a [Brought]) -> (&'a ArrayRef, bool) {
        match origin {
            Origin::Read(read, column) => (self.parts[read].known(column), self.parts[read].shared),
            Origin::Step(step, column) => (&self.computed[step].columns[column], self.computed[step].shared),
            Origin::Caller(column) => (&brought[column].array, brought[column].shared),
        }
    }

    fn ages(&self, origin: Origin) -> Option<&Ages> {
        match origin {
            Origin::Read(read, _) => Some(&self.parts[read].ages),
            Origin::Step(step, column) => Some(&self.computed[step].ages[column]),
            Origin::Caller(_) => None,
        }
    }

    /// Per row the greatest age of the rows behind `origins`.
    fn oldest(&self, origins: impl Iterator<Item = Origin>, len: usize) -> Vec<Option<i64>> {
        let mut oldest = vec![None; len];
        for ages in origins.filter_map(|origin| self.ages(origin)) {
            for (row, oldest) in oldest.iter_mut().enumerate() {
                *oldest = (*oldest).max(ages.at(if ages.len() == 1 { 0 } else { row }));
            }
        }
        oldest
    }

    /// What is served of `origin`, one value per row.
    pub(super) fn served(&self, origin: Origin, rows: usize) -> Result<ArrayRef> {
        let (array, shared) = match origin {
            Origin::Read(read, column) => (&self.parts[read].served[column], self.parts[read].shared),
            Origin::Step(step, column) => (&self.computed[step].columns[column], self.computed[step].shared),
            Origin::Caller(_) => unreachable!("columns of the caller are no outputs"),
        };
        if shared { repeat(array, rows) } else { Ok(array.clone()) }
    }

    /// What is served of an output, one value per status; these are `Present` so far.
    fn output(&self, origin: Origin, statuses: &mut [Status]) -> Result<ArrayRef> {
        let values = self.served(origin, statuses.len())?;
        if let Origin::Read(read, column) = origin {
            self.parts[read].statuses(column, statuses);
        } else {
            let nulls = statuses.iter_mut().enumerate().filter(|(row, _)| values.is_null(*row));
            nulls.for_each(|(_, status)| *status = Status::NullValue);
        }
        Ok(values)
    }

    /// The vectors of a request whose keys are its own for every entity.
    pub(super) fn into_vectors(mut self, plan: &ServingPlan, rows: usize) -> Result<FeatureVectors> {
        let outputs = &plan.plan().outputs;
        let mut statuses = vec![Status::Present; outputs.len() * rows];
        let mut columns = Vec::with_capacity(outputs.len());
        if plan.plan().outputs_are_reads {
            let mut rest = &mut *statuses;
            for part in &mut self.parts {
                let (own, others) = rest.split_at_mut(part.served.len() * rows);
                part.all_statuses(own);
                columns.append(&mut part.served);
                rest = others;
            }
        } else {
            for (at, origin) in outputs.iter().enumerate() {
                columns.push(self.output(*origin, &mut statuses[at * rows..][..rows])?);
            }
        }
        let mut ages = Vec::with_capacity(self.parts.len());
        ages.extend(self.parts.into_iter().map(|part| part.ages));
        for computed in self.computed {
            let spread = |ages: Ages| if computed.shared { Ages::Computed(vec![ages.at(0); rows]) } else { ages };
            ages.extend(computed.ages.into_iter().map(spread));
        }
        Ok(FeatureVectors { plan: plan.clone(), columns, rows, statuses, ages })
    }
}

/// The first value of `array`, `rows` times.
pub(super) fn repeat(array: &ArrayRef, rows: usize) -> Result<ArrayRef> {
    if rows == 1 {
        return Ok(array.clone());
    }
    Ok(take(array, &UInt32Array::from_value(0, rows), None)?)
}
