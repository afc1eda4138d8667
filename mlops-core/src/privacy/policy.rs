//! What is done with personal data: a policy as a file, what it comes to for one table, and what was done.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, RecordBatch, RecordBatchOptions, StringArray, StringBuilder};
use arrow::datatypes::{DataType, Field, FieldRef, Schema as ArrowSchema};
use serde::{Deserialize, Serialize};

use super::column::{Texts, as_text, form_of, is_text};
use super::scan::Scratch;
use super::{Detector, Kind, PseudonymKey};
use crate::{Error, Result};

/// Most characters that a mask may keep.
pub const KEEP_LAST_MAX: usize = 8;

/// What is done with a value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Action {
    /// Nothing.
    Keep,
    /// The column is left out; a value found inside a text makes the cell null.
    Drop,
    /// Letters and digits become `*`, but for the last `keep_last` (never more than half of them); separators stay.
    Mask {
        /// Characters that stay readable, `0..=8`.
        keep_last: usize,
    },
    /// The value becomes `[cccd]`, `[phone]` …, or `[redacted]` where the kind is not known.
    Redact,
    /// The value becomes its [token](PseudonymKey::token).
    Token,
}

impl Action {
    fn check(self) -> Result<Self> {
        match self {
            Self::Mask { keep_last } if keep_last > KEEP_LAST_MAX => {
                Err(Error::invalid("keep_last", keep_last, "in 0..=8"))
            }
            action => Ok(action),
        }
    }

    /// What stands for `value`; none when the cell becomes null.
    fn treat<'v>(self, value: &'v str, kind: Option<Kind>, key: Option<&PseudonymKey>) -> Result<Option<Cow<'v, str>>> {
        Ok(Some(match self {
            Self::Keep => Cow::Borrowed(value),
            Self::Drop => return Ok(None),
            Self::Mask { keep_last } => Cow::Owned(mask(value, keep_last)),
            Self::Redact => Cow::Owned(kind.map_or_else(|| "[redacted]".to_owned(), |kind| format!("[{kind}]"))),
            Self::Token => Cow::Owned(key.ok_or_else(no_key)?.token(kind, value)),
        }))
    }
}

fn no_key() -> Error {
    Error::invalid("key", "nothing", "a pseudonym key, which the action `token` needs")
}

fn mask(value: &str, keep_last: usize) -> String {
    let stays = |c: &char| c.is_ascii_punctuation() || c.is_whitespace();
    let is_mark = |c: &char| ('\u{300}'..='\u{36f}').contains(c);
    let readable = value.chars().filter(|c| !stays(c) && !is_mark(c)).count();
    let mut hidden = readable - keep_last.min(readable / 2);
    let mut masked = String::with_capacity(value.len());
    for c in value.chars() {
        if stays(&c) {
            masked.push(c);
        } else if hidden > 0 {
            hidden -= usize::from(!is_mark(&c));
            if !is_mark(&c) {
                masked.push('*');
            }
        } else if !(is_mark(&c) && masked.ends_with('*')) {
            masked.push(c);
        }
    }
    masked
}

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
}

const fn redact() -> Action {
    Action::Redact
}

impl TryFrom<Unchecked> for Policy {
    type Error = Error;

    fn try_from(text: Unchecked) -> Result<Self> {
        let builder = PolicyBuilder { columns: text.columns, kinds: text.kinds, other_kinds: text.other_kinds };
        builder.build()
    }
}

impl From<Policy> for Unchecked {
    fn from(policy: Policy) -> Self {
        Self { columns: policy.columns, kinds: policy.kinds, other_kinds: policy.other_kinds }
    }
}

/// Settings of a [`Policy`].
#[derive(Clone, Debug)]
pub struct PolicyBuilder {
    columns: BTreeMap<String, Action>,
    kinds: BTreeMap<Kind, Action>,
    other_kinds: Action,
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

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a mask keeps more than eight characters.
    pub fn build(self) -> Result<Policy> {
        let actions = self.columns.values().chain(self.kinds.values()).chain([&self.other_kinds]);
        actions.map(|action| action.check()).collect::<Result<Vec<_>>>()?;
        Ok(Policy { columns: self.columns, kinds: self.kinds, other_kinds: self.other_kinds })
    }
}

impl Policy {
    /// Starts with nothing named: all kinds are redacted.
    pub fn builder() -> PolicyBuilder {
        PolicyBuilder { columns: BTreeMap::new(), kinds: BTreeMap::new(), other_kinds: redact() }
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
    /// * [`Error::NotFound`] when the policy names a column that is not there.
    /// * [`Error::AlreadyExists`] when two columns have one name.
    /// * [`Error::Invalid`] when it names a kind that `detector` does not look for, with any action but keep.
    /// * [`Error::Schema`] when a named column has no text form that could be treated.
    pub fn plan(&self, detector: &Detector, sample: &RecordBatch) -> Result<Plan> {
        let schema = sample.schema();
        if let Some(missing) = self.columns.keys().find(|name| schema.index_of(name).is_err()) {
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
        Ok(Plan { columns, kinds })
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
}

/// What was done, in numbers; holds no value.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audit {
    /// Rows read.
    pub rows: u64,
    /// Per column with findings: how many of each kind were treated; values of no known kind count as `other`.
    pub treated: BTreeMap<String, Treated>,
    /// Columns left out.
    pub dropped: BTreeSet<String>,
    /// Columns that could not be looked into: nested or binary.
    pub unscanned: BTreeSet<String>,
}

/// Numbers of one column.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Treated {
    /// Cells that changed or were removed.
    pub cells: u64,
    /// Values treated, per kind.
    pub kinds: BTreeMap<Kind, u64>,
    /// Values treated whose kind is not known.
    pub other: u64,
}

impl Audit {
    /// Adds the numbers of `other`, such as of the next batch.
    pub fn merge(&mut self, other: &Self) {
        self.rows += other.rows;
        for (column, numbers) in &other.treated {
            let own = self.treated.entry(column.clone()).or_default();
            own.cells += numbers.cells;
            own.other += numbers.other;
            for (kind, count) in &numbers.kinds {
                *own.kinds.entry(*kind).or_default() += count;
            }
        }
        self.dropped.extend(other.dropped.iter().cloned());
        self.unscanned.extend(other.unscanned.iter().cloned());
    }
}

impl Treated {
    fn count(&mut self, kind: Option<Kind>) {
        match kind {
            Some(kind) => *self.kinds.entry(kind).or_default() += 1,
            None => self.other += 1,
        }
    }
}

/// What the columns of one batch are treated with.
struct Desk<'a> {
    detector: &'a Detector,
    kinds: &'a BTreeMap<Kind, Action>,
    key: Option<&'a PseudonymKey>,
    scratch: Scratch,
}

impl Plan {
    /// What is done with `column`; none when the plan does not know it.
    pub fn treatment(&self, column: &str) -> Option<Treatment> {
        self.columns.get(column).copied()
    }

    /// Treats `batch`.
    ///
    /// Treated columns become `Utf8` and nullable, whatever they were; nulls stay null, order and row count stay. Metadata
    /// of schema and fields is kept.
    ///
    /// # Errors
    /// * [`Error::Schema`] when the batch has a column that the plan does not know: it would leave untreated.
    /// * [`Error::Invalid`] when a token is to be made and there is no key.
    pub fn apply(
        &self,
        detector: &Detector,
        batch: &RecordBatch,
        key: Option<&PseudonymKey>,
    ) -> Result<(RecordBatch, Audit)> {
        self.ensure_key(key)?;
        let mut desk = Desk { detector, kinds: &self.kinds, key, scratch: Scratch::default() };
        let mut audit = Audit { rows: batch.num_rows() as u64, ..Audit::default() };
        let (mut fields, mut columns): (Vec<FieldRef>, Vec<ArrayRef>) = (Vec::new(), Vec::new());
        let schema = batch.schema();
        for (field, values) in schema.fields().iter().zip(batch.columns()) {
            let name = field.name();
            let unplanned = || Error::schema(name, "a column that the privacy plan knows", "an unplanned column");
            let mut numbers = Treated::default();
            let treated = match self.treatment(name).ok_or_else(unplanned)? {
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
            let (field, values) = treated.map_or_else(
                || (field.clone(), values.clone()),
                |strings| (Arc::new(text_field(field)), Arc::new(strings) as ArrayRef),
            );
            fields.push(field);
            columns.push(values);
        }
        let schema = Arc::new(ArrowSchema::new_with_metadata(fields, schema.metadata().clone()));
        let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
        Ok((RecordBatch::try_new_with_options(schema, columns, &options)?, audit))
    }

    fn ensure_key(&self, key: Option<&PseudonymKey>) -> Result<()> {
        let whole = |t: &Treatment| matches!(t, Treatment::Whole { action: Action::Token, .. });
        let text = self.columns.values().any(|t| *t == Treatment::Text);
        let needed = self.columns.values().any(whole) || (text && self.kinds.values().any(|a| *a == Action::Token));
        if needed && key.is_none() { Err(no_key()) } else { Ok(()) }
    }
}

fn text_field(field: &Field) -> Field {
    Field::new(field.name(), DataType::Utf8, true).with_metadata(field.metadata().clone())
}

impl Desk<'_> {
    /// Treats every value that is neither null nor blank.
    fn whole(
        &mut self,
        name: &str,
        values: &ArrayRef,
        action: Action,
        kind: Option<Kind>,
        numbers: &mut Treated,
    ) -> Result<StringArray> {
        let prior = self.detector.lexicon.of_column(name)?;
        let column = match Texts::of(name, values, prior)? {
            Some(column) => column,
            None => Texts::plain(as_text(name, values)?),
        };
        let mut out = StringBuilder::with_capacity(values.len(), 0);
        for value in column.iter() {
            let Some(value) = value else {
                out.append_null();
                continue;
            };
            if value.trim().is_empty() {
                out.append_value(&value);
                continue;
            }
            let form = form_of(self.detector, &value, kind).or(kind);
            out.append_option(action.treat(&value, form, self.key)?);
            numbers.count(form);
            numbers.cells += 1;
        }
        Ok(out.finish())
    }

    /// Treats what is found inside the values.
    fn text(&mut self, name: &str, values: &ArrayRef, numbers: &mut Treated) -> Result<StringArray> {
        let prior = self.detector.lexicon.of_column(name)?;
        let column = as_text(name, values)?;
        let mut out = StringBuilder::with_capacity(column.len(), column.value_data().len());
        let mut treated = String::new();
        for value in &column {
            let Some(value) = value else {
                out.append_null();
                continue;
            };
            treated.clear();
            let (mut from, mut dropped, mut found) = (0, false, false);
            for span in self.detector.spans(value, prior, &mut self.scratch) {
                let action = self.kinds.get(&span.kind).copied().unwrap_or(Action::Redact);
                if action == Action::Keep {
                    continue;
                }
                treated.push_str(&value[from..span.bytes.start]);
                match action.treat(&value[span.bytes.clone()], Some(span.kind), self.key)? {
                    Some(text) => treated.push_str(&text),
                    None => dropped = true,
                }
                from = span.bytes.end;
                found = true;
                numbers.count(Some(span.kind));
            }
            treated.push_str(&value[from..]);
            numbers.cells += u64::from(found);
            out.append_option((!dropped).then_some(&treated));
        }
        Ok(out.finish())
    }
}
