//! What is done with personal data, as a file.

use std::collections::BTreeMap;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::datatypes::{DataType, Field};
use serde::{Deserialize, Serialize};

use super::column::is_text;
use super::{Action, Audit, Detector, Kind, Plan, PseudonymKey, Treatment};
use crate::{Error, Result};

/// Which columns and kinds get which action. Read from and written to files by serde.
///
/// A column that is named gets its action whatever it holds. In every other column of strings or integers the detector
/// looks: a column that is of one kind gets that kind's action as a whole, badly formed values included; in any other, what is found
/// inside the texts gets it.
///
/// # Examples
/// ```
/// use mlops_core::privacy::{Action, Kind, Policy};
///
/// let policy: Policy = serde_json::from_str(
///     r#"{"columns": {"note": "drop", "code": {"mask": {"keep_last": 4}}}, "kinds": {"phone": "token"}}"#,
/// )?;
/// assert_eq!(policy.action_of(Kind::Phone), Action::Token);
/// assert_eq!(policy.action_of(Kind::Email), Action::Redact); // what is not named is redacted
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct Policy {
    columns: BTreeMap<String, Action>,
    kinds: BTreeMap<Kind, Action>,
    other_kinds: Action,
    subject: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    #[serde(default)]
    columns: BTreeMap<String, Action>,
    #[serde(default)]
    kinds: BTreeMap<Kind, Action>,
    #[serde(default = "redact")]
    other_kinds: Action,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
}

const fn redact() -> Action {
    Action::Redact
}

impl TryFrom<Unchecked> for Policy {
    type Error = Error;

    fn try_from(text: Unchecked) -> Result<Self> {
        let Unchecked { columns, kinds, other_kinds, subject } = text;
        PolicyBuilder { columns, kinds, other_kinds, subject }.build()
    }
}

impl From<Policy> for Unchecked {
    fn from(policy: Policy) -> Self {
        let Policy { columns, kinds, other_kinds, subject } = policy;
        Self { columns, kinds, other_kinds, subject }
    }
}

/// Settings of a [`Policy`].
#[derive(Clone, Debug)]
pub struct PolicyBuilder {
    columns: BTreeMap<String, Action>,
    kinds: BTreeMap<Kind, Action>,
    other_kinds: Action,
    subject: Option<String>,
}

impl PolicyBuilder {
    /// Action for the column `name`, whatever it holds.
    pub fn column(mut self, name: impl Into<String>, action: Action) -> Self {
        self.columns.insert(name.into(), action);
        self
    }

    /// Action for `kind` wherever it is found.
    pub fn kind(mut self, kind: Kind, action: Action) -> Self {
        self.kinds.insert(kind, action);
        self
    }

    /// Action for kinds that have none of their own. Default: [`Action::Redact`].
    pub fn other_kinds(mut self, action: Action) -> Self {
        self.other_kinds = action;
        self
    }

    /// Column that says whose row it is: dates that are shifted move alike for one subject, in every table.
    pub fn subject(mut self, column: impl Into<String>) -> Self {
        self.subject = Some(column.into());
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a number is outside of its bounds, an action means nothing for its kind (the province of an
    /// e-mail address; any but keep, drop, mask, redact and token for the other kinds), or dates are to be shifted and
    /// there is no subject.
    pub fn build(self) -> Result<Policy> {
        let actions = || self.columns.values().chain(self.kinds.values()).chain([&self.other_kinds]);
        actions().map(|action| action.check()).collect::<Result<Vec<_>>>()?;
        if let Some((kind, _)) = self.kinds.iter().find(|(kind, action)| !action.fits(**kind)) {
            return Err(Error::invalid("policy.kinds", kind, "a kind that its action can be done on"));
        }
        if !self.other_kinds.fits_all() {
            return Err(Error::invalid("other_kinds", "its action", "keep, drop, mask, redact or token"));
        }
        if self.subject.is_none() && actions().any(|action| matches!(action, Action::ShiftDate { .. })) {
            return Err(Error::invalid("subject", "nothing", "the column that says whose dates are shifted"));
        }
        let Self { columns, kinds, other_kinds, subject } = self;
        Ok(Policy { columns, kinds, other_kinds, subject })
    }
}

impl Policy {
    /// Starts with nothing named: all kinds are redacted.
    pub fn builder() -> PolicyBuilder {
        PolicyBuilder { columns: BTreeMap::new(), kinds: BTreeMap::new(), other_kinds: redact(), subject: None }
    }

    /// Action for `kind` wherever it is found.
    pub fn action_of(&self, kind: Kind) -> Action {
        self.kinds.get(&kind).copied().unwrap_or(self.other_kinds)
    }

    /// Decides what is done with each column, by the values of `sample`.
    ///
    /// One plan for all batches of a table gives all of them one schema and one treatment, which batches judged one by one
    /// would not.
    ///
    /// # Errors
    /// * [`Error::NotFound`] when the policy names a column, or a subject, that is not there.
    /// * [`Error::AlreadyExists`] when two columns have one name.
    /// * [`Error::Invalid`] when it names a kind that `detector` does not look for, with any action but keep.
    /// * [`Error::Schema`] when a named column has no text form that could be treated.
    pub fn plan(&self, detector: &Detector, sample: &RecordBatch) -> Result<Plan> {
        let schema = sample.schema();
        if let Some(missing) = self.columns.keys().chain(&self.subject).find(|name| schema.index_of(name).is_err()) {
            return Err(Error::not_found("column", missing));
        }
        let blind = |(kind, action): &(&Kind, &Action)| **action != Action::Keep && !detector.looks_for(**kind);
        if let Some((kind, _)) = self.kinds.iter().find(blind) {
            return Err(Error::invalid("policy.kinds", kind, "a kind that the detector looks for"));
        }
        let kinds = detector.kinds().map(|kind| (kind, self.action_of(kind))).collect();
        let mut columns = BTreeMap::new();
        for (field, values) in schema.fields().iter().zip(sample.columns()) {
            let treatment = match self.columns.get(field.name()) {
                Some(action) => explicit(field, *action, detector.scan_column(field.name(), values)?.kind)?,
                None => self.by_content(detector, field, values)?,
            };
            if columns.insert(field.name().clone(), treatment).is_some() {
                return Err(Error::AlreadyExists { kind: "column", name: field.name().clone() });
            }
        }
        Ok(Plan::new(columns, kinds, self.subject.clone()))
    }

    fn by_content(&self, detector: &Detector, field: &Field, values: &ArrayRef) -> Result<Treatment> {
        let verdict = detector.scan_column(field.name(), values)?;
        Ok(match verdict.kind.map(|kind| (kind, self.action_of(kind))) {
            Some((_, Action::Keep)) => Treatment::Keep,
            Some((_, Action::Drop)) => Treatment::Drop,
            Some((kind, action)) => Treatment::Whole { action, kind: Some(kind) },
            None if is_text(field.data_type()) => {
                let idle = detector.kinds().all(|kind| self.action_of(kind) == Action::Keep);
                if idle { Treatment::Keep } else { Treatment::Text }
            }
            None if field.data_type().is_nested() || is_binary(field.data_type()) => Treatment::Unscanned,
            None => Treatment::Keep,
        })
    }

    /// Treats one table that is wholly in `batch`: [`plan`](Self::plan), then [`Plan::apply`].
    ///
    /// # Errors
    /// Those of the two.
    pub fn apply(
        &self,
        detector: &Detector,
        batch: &RecordBatch,
        key: Option<&PseudonymKey>,
    ) -> Result<(RecordBatch, Audit)> {
        self.plan(detector, batch)?.apply(detector, batch, key)
    }
}

fn is_binary(data_type: &DataType) -> bool {
    use DataType::{Binary, BinaryView, Dictionary, FixedSizeBinary, LargeBinary};
    match data_type {
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => true,
        Dictionary(_, values) => is_binary(values),
        _ => false,
    }
}

fn explicit(field: &Field, action: Action, kind: Option<Kind>) -> Result<Treatment> {
    match action {
        Action::Keep => Ok(Treatment::Keep),
        Action::Drop => Ok(Treatment::Drop),
        _ if field.data_type().is_nested() || is_binary(field.data_type()) => {
            Err(Error::schema(field.name(), "values with a text form, or the action keep or drop", field.data_type()))
        }
        action => Ok(Treatment::Whole { action, kind }),
    }
}
