//! A policy decided for the columns of one table, and its application.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, RecordBatchOptions, StringArray, StringBuilder};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, Int64Type, Schema as ArrowSchema, TimeUnit};
use serde::{Deserialize, Serialize};

use super::action::{Made, Tools, no_key, redacted};
use super::audit::{Audit, Treated};
use super::column::{Texts, as_text, form_of};
use super::scan::Scratch;
use super::{Action, Detector, Kind, PseudonymKey};
use crate::dataset::Provenance;
use crate::schema::Sensitivity;
use crate::time::EventTime;
use crate::{Dataset, Error, Name, Result, Schema};

/// What is done with one column.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Treatment {
    /// It stays as it is.
    Keep,
    /// It is left out.
    Drop,
    /// Every value is treated.
    Whole {
        /// How.
        action: Action,
        /// The kind that the column is of, where that is known.
        kind: Option<Kind>,
    },
    /// What is found inside its texts is treated, each kind by its own action.
    Text,
    /// It stays as it is, for it is of a type that cannot be looked into (nested or binary).
    Unscanned,
}

/// A policy decided for the columns of one table; serde, so that every later batch is treated alike.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    columns: BTreeMap<String, Treatment>,
    kinds: BTreeMap<Kind, Action>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
}

impl Plan {
    pub(super) const fn new(
        columns: BTreeMap<String, Treatment>,
        kinds: BTreeMap<Kind, Action>,
        subject: Option<String>,
    ) -> Self {
        Self { columns, kinds, subject }
    }

    /// What is done with `column`; none when the plan does not know it.
    pub fn treatment(&self, column: &str) -> Option<Treatment> {
        self.columns.get(column).copied()
    }

    /// The column that a batch must have besides those that are wanted: the subject, when dates are shifted by it.
    pub fn subject(&self) -> Option<&str> {
        let shifts = |action: &Action| matches!(action, Action::ShiftDate { .. });
        self.actions().any(|a| shifts(&a)).then_some(self.subject.as_deref()).flatten()
    }

    /// `schema` with every column that the plan treats or drops marked as personal, and those that it cannot look into as
    /// secret: profiles, samples of failing rows and reports then hide its values.
    ///
    /// # Errors
    /// [`Error::Schema`] for a column that the plan does not know.
    pub fn annotate(&self, schema: &Schema) -> Result<Schema> {
        schema.names().try_fold(schema.clone(), |marked, name| {
            let least = match self.treatment(name).ok_or_else(|| unplanned(name))? {
                Treatment::Keep => return Ok(marked),
                Treatment::Unscanned => Sensitivity::Secret,
                Treatment::Drop | Treatment::Whole { .. } | Treatment::Text => Sensitivity::Personal,
            };
            let sensitivity = marked.sensitivity(name)?.max(least);
            marked.with_sensitivity(name, sensitivity)
        })
    }

    /// What `raw`, treated by this plan at `at`, was made from and by what: the operation is `mask`, its parameters are the
    /// plan, without any key. Costs a scan of `raw` unless its digest is known.
    ///
    /// # Errors
    /// What [`Dataset::digest`] says; behind a [`Guard`](super::Guard), [`Guard::provenance`](super::Guard::provenance) scrubs
    /// it.
    pub fn provenance(&self, raw: &Dataset, at: EventTime) -> Result<Provenance> {
        Provenance::of_crate(&[raw], Name::new("mask")?, &serde_json::json!({ "plan": self }), at)
    }

    /// Treats `batch`.
    ///
    /// Treated columns become `Utf8` and nullable, whatever they were, but for columns of dates and instants that are
    /// shifted, which keep their type; nulls stay null, order and row count stay. A value that its action cannot be done on
    /// (no province in an address, no date in a column of dates) is redacted, or null where the column keeps another type.
    /// Metadata of schema and fields is kept.
    ///
    /// # Errors
    /// * [`Error::Schema`] when the batch has a column that the plan does not know: it would leave untreated.
    /// * [`Error::Invalid`] when a key is needed and there is none.
    /// * [`Error::NotFound`] when dates are to be shifted and the subject's column is not there.
    pub fn apply(
        &self,
        detector: &Detector,
        batch: &RecordBatch,
        key: Option<&PseudonymKey>,
    ) -> Result<(RecordBatch, Audit)> {
        self.ensure_key(key)?;
        let subjects = match self.subject() {
            Some(subject) => Some(subjects(batch, subject)?),
            None => None,
        };
        let tools = Tools { detector, key };
        let mut desk = Desk { tools, kinds: &self.kinds, subjects, scratch: Scratch::default() };
        let mut audit = Audit { rows: batch.num_rows() as u64, ..Audit::default() };
        let (mut fields, mut columns): (Vec<FieldRef>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
        let schema = batch.schema();
        for (field, values) in schema.fields().iter().zip(batch.columns()) {
            let name = field.name();
            let mut numbers = Treated::default();
            let treated = match self.treatment(name).ok_or_else(|| unplanned(name))? {
                Treatment::Drop => {
                    audit.dropped.insert(name.clone());
                    continue;
                }
                Treatment::Unscanned => {
                    audit.unscanned.insert(name.clone());
                    None
                }
                Treatment::Keep => None,
                Treatment::Whole { action, kind } => Some(desk.whole(name, values, action, kind, &mut numbers)?),
                Treatment::Text => Some(desk.text(name, values, &mut numbers)?),
            };
            if numbers != Treated::default() {
                audit.treated.insert(name.clone(), numbers);
            }
            let (field, values) = treated
                .map_or_else(|| (field.clone(), values.clone()), |values| (Arc::new(retyped(field, &values)), values));
            fields.push(field);
            columns.push(values);
        }
        let schema = Arc::new(ArrowSchema::new_with_metadata(fields, schema.metadata().clone()));
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok((RecordBatch::try_new_with_options(schema, columns, &options)?, audit))
    }

    /// Refuses to go on without a key where an action needs one.
    pub(super) fn ensure_key(&self, key: Option<&PseudonymKey>) -> Result<()> {
        if key.is_none() && self.actions().any(Action::needs_key) { Err(no_key()) } else { Ok(()) }
    }

    /// Actions that some column may get.
    fn actions(&self) -> impl Iterator<Item = Action> {
        let whole = self.columns.values().filter_map(|treatment| match treatment {
            Treatment::Whole { action, .. } => Some(*action),
            _ => None,
        });
        let text = self.columns.values().any(|treatment| *treatment == Treatment::Text);
        whole.chain(self.kinds.values().copied().filter(move |_| text))
    }
}

fn unplanned(name: &str) -> Error {
    Error::schema(name, "a column that the privacy plan knows", "an unplanned column")
}

fn retyped(field: &Field, values: &ArrayRef) -> Field {
    Field::new(field.name(), values.data_type().clone(), true).with_metadata(field.metadata().clone())
}

fn subjects(batch: &RecordBatch, subject: &str) -> Result<StringArray> {
    let values = batch.column_by_name(subject).ok_or_else(|| Error::not_found("column", subject))?;
    as_text(subject, values)
}

/// What the columns of one batch are treated with.
struct Desk<'a> {
    tools: Tools<'a>,
    kinds: &'a BTreeMap<Kind, Action>,
    /// Whose each row is, when dates are shifted.
    subjects: Option<StringArray>,
    scratch: Scratch,
}

impl Desk<'_> {
    /// Days by which the dates of `row` move, none when nobody knows whose they are.
    fn shift(&self, row: usize, action: Action) -> Option<i64> {
        let (Action::ShiftDate { days_max }, Some(subjects), Some(key)) = (action, &self.subjects, self.tools.key)
        else {
            return None;
        };
        let subject = subjects.is_valid(row).then(|| subjects.value(row)).filter(|s| !s.trim().is_empty())?;
        let form = form_of(self.tools.detector, subject, None);
        Some(key.shift_days(form, subject, days_max))
    }

    /// Treats every value that is neither null nor blank.
    fn whole(
        &mut self,
        name: &str,
        values: &ArrayRef,
        action: Action,
        kind: Option<Kind>,
        numbers: &mut Treated,
    ) -> Result<ArrayRef> {
        if matches!(action, Action::ShiftDate { .. }) && values.data_type().is_temporal() {
            return self.moved(name, values, action, numbers);
        }
        let prior = self.tools.detector.lexicon.of_column(name);
        let column = match Texts::of(name, values, prior)? {
            Some(column) => column,
            None => Texts::plain(as_text(name, values)?),
        };
        let mut out = StringBuilder::with_capacity(values.len(), 0);
        for (row, value) in column.iter().enumerate() {
            let Some(value) = value else {
                out.append_null();
                continue;
            };
            if value.trim().is_empty() {
                out.append_value(&value);
                continue;
            }
            let form = form_of(self.tools.detector, &value, kind).or(kind);
            match action.treat(&value, form, &self.tools, self.shift(row, action))? {
                Made::Text(text) => out.append_value(text),
                Made::Null => out.append_null(),
                Made::Unfit => {
                    out.append_value(redacted(form));
                    numbers.unfit += 1;
                }
            }
            numbers.count(form);
            numbers.cells += 1;
        }
        Ok(Arc::new(out.finish()))
    }

    /// Shifts a column of dates or instants, which keeps its type.
    fn moved(&self, name: &str, values: &ArrayRef, action: Action, numbers: &mut Treated) -> Result<ArrayRef> {
        let per_day: i64 = match values.data_type() {
            DataType::Date32 => 1,
            DataType::Date64 | DataType::Timestamp(TimeUnit::Millisecond, _) => 86_400_000,
            DataType::Timestamp(TimeUnit::Second, _) => 86_400,
            DataType::Timestamp(TimeUnit::Microsecond, _) => 86_400_000_000,
            DataType::Timestamp(TimeUnit::Nanosecond, _) => 86_400_000_000_000,
            other => return Err(Error::schema(name, "dates or instants", other)),
        };
        let refuse = |_| Error::schema(name, "dates or instants", values.data_type());
        let raw = if per_day == 1 { DataType::Int32 } else { DataType::Int64 };
        let ticks = cast(&cast(values, &raw).map_err(refuse)?, &DataType::Int64).map_err(refuse)?;
        let ticks = ticks.as_primitive::<Int64Type>();
        let moved: Int64Array = (0..ticks.len())
            .map(|row| {
                let tick = ticks.is_valid(row).then(|| ticks.value(row))?;
                let moved = self.shift(row, action).and_then(|days| tick.checked_add(days.checked_mul(per_day)?));
                numbers.cells += 1;
                numbers.unfit += u64::from(moved.is_none());
                numbers.count(Some(Kind::BirthDate));
                moved
            })
            .collect();
        let moved = cast(&moved, &raw).map_err(refuse)?;
        cast(&moved, values.data_type()).map_err(refuse)
    }

    /// Treats what is found inside the values.
    fn text(&mut self, name: &str, values: &ArrayRef, numbers: &mut Treated) -> Result<ArrayRef> {
        let detector = self.tools.detector;
        let prior = detector.lexicon.of_column(name);
        let column = as_text(name, values)?;
        let mut out = StringBuilder::with_capacity(column.len(), column.value_data().len());
        let mut treated = String::new();
        let mut scratch = std::mem::take(&mut self.scratch);
        for (row, value) in column.iter().enumerate() {
            let Some(value) = value else {
                out.append_null();
                continue;
            };
            treated.clear();
            let (mut from, mut dropped, mut found) = (0, false, false);
            for span in detector.spans(value, prior, &mut scratch) {
                let action = self.kinds.get(&span.kind).copied().unwrap_or(Action::Redact);
                if action == Action::Keep {
                    continue;
                }
                treated.push_str(&value[from..span.bytes.start]);
                let shift = self.shift(row, action);
                match action.treat(&value[span.bytes.clone()], Some(span.kind), &self.tools, shift)? {
                    Made::Text(text) => treated.push_str(&text),
                    Made::Null => dropped = true,
                    Made::Unfit => {
                        treated.push_str(&redacted(Some(span.kind)));
                        numbers.unfit += 1;
                    }
                }
                from = span.bytes.end;
                found = true;
                numbers.count(Some(span.kind));
            }
            treated.push_str(&value[from..]);
            numbers.cells += u64::from(found);
            out.append_option((!dropped).then_some(&treated));
        }
        self.scratch = scratch;
        Ok(Arc::new(out.finish()))
    }
}
