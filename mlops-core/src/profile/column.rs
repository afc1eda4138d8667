//! The profile of one column.

use arrow::array::Array;
use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use super::number::{Hidden, Numbers};
use super::options::ProfileOptions;
use super::personal::Personal;
use super::text::Texts;
use crate::stats::values::{self, KeyKind};
use crate::stats::{Distinct, FrequentItems};
use crate::{Error, Result};

/// What a column's values are, whatever their physical type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Integers, floats and `Decimal128` (as doubles).
    Number,
    /// Dates and timestamps, as µs since the epoch in UTC.
    Time,
    /// Booleans.
    Boolean,
    /// Strings and dictionaries of strings.
    Text,
    /// Everything else: only rows and nulls are counted.
    Other,
}

impl ColumnKind {
    /// The kind of a physical type.
    pub fn of(data_type: &DataType) -> Self {
        if values::is_text(data_type) {
            Self::Text
        } else if values::is_number(data_type) {
            Self::Number
        } else if values::is_time(data_type) {
            Self::Time
        } else if data_type == &DataType::Boolean {
            Self::Boolean
        } else {
            Self::Other
        }
    }
}

/// Statistics of one column.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ColumnProfile {
    name: String,
    data_type: String,
    kind: ColumnKind,
    rows: u64,
    nulls: u64,
    detail: Detail,
    /// What a detector said of the values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    personal: Option<Personal>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Detail {
    /// Numbers and times.
    Numbers(Box<Numbers>),
    /// Numbers and times that must not be shown.
    Hidden(Box<Hidden>),
    /// How many are true.
    Booleans(u64),
    Texts(Box<Texts>),
    /// Other types, and booleans that must not be shown.
    Nothing,
}

impl ColumnProfile {
    pub(crate) fn new(name: &str, data_type: &DataType, options: &ProfileOptions) -> Result<Self> {
        let kind = ColumnKind::of(data_type);
        let is_hidden = options.is_hidden(name);
        let detail = match kind {
            ColumnKind::Number | ColumnKind::Time if is_hidden => Detail::Hidden(Box::default()),
            ColumnKind::Number | ColumnKind::Time => Detail::Numbers(Box::new(Numbers::new(
                KeyKind::of(data_type),
                kind == ColumnKind::Time,
                options.quantile_size(),
            )?)),
            ColumnKind::Boolean if !is_hidden => Detail::Booleans(0),
            ColumnKind::Text => {
                let frequent = if is_hidden { None } else { Some(FrequentItems::new(options.top_values())?) };
                Detail::Texts(Box::new(Texts::new(frequent)))
            }
            ColumnKind::Boolean | ColumnKind::Other => Detail::Nothing,
        };
        Ok(Self {
            name: name.to_owned(),
            data_type: data_type.to_string(),
            kind,
            rows: 0,
            nulls: 0,
            detail,
            personal: None,
        })
    }

    pub(crate) fn from_parts(
        (name, data_type, kind): (String, String, ColumnKind),
        (rows, nulls): (u64, u64),
        detail: Detail,
        personal: Option<Personal>,
    ) -> Self {
        Self { name, data_type, kind, rows, nulls, detail, personal }
    }

    /// Adds `array`, which has the type that the column was made for.
    pub(crate) fn update(&mut self, array: &dyn Array) -> Result<()> {
        match &mut self.detail {
            Detail::Numbers(numbers) => values::numbers(array, &mut |values, keys| numbers.update(values, keys))?,
            Detail::Hidden(hidden) => values::numbers(array, &mut |values, keys| hidden.update(values, keys))?,
            Detail::Booleans(count) => *count += values::count_true(array),
            Detail::Texts(texts) => texts.update(array)?,
            Detail::Nothing => {}
        }
        self.rows += array.len() as u64;
        self.nulls += values::null_count(array);
        Ok(())
    }

    pub(crate) fn check_mergeable(&self, other: &Self) -> Result<()> {
        if self.name != other.name {
            return Err(Error::schema(
                &self.name,
                "the same columns in the same order",
                format_args!("`{}`", other.name),
            ));
        }
        let keys = |column: &Self| match &column.detail {
            Detail::Numbers(numbers) => Some(numbers.keys),
            _ => None,
        };
        let is_same = self.kind == other.kind
            && (keys(self) == keys(other) || keys(self).is_none() || keys(other).is_none())
            && self.rows.checked_add(other.rows).is_some_and(|rows| rows <= 1 << 55);
        if is_same { Ok(()) } else { Err(Error::schema(&self.name, &self.data_type, &other.data_type)) }
    }

    /// Adds a column for which [`Self::check_mergeable`] was fine.
    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        self.rows += other.rows;
        self.nulls += other.nulls;
        let surer = |a: &Personal, b: &Personal| a.confidence.total_cmp(&b.confidence);
        self.personal = self.personal.into_iter().chain(other.personal).max_by(surer);
        match (&mut self.detail, &other.detail) {
            (Detail::Numbers(mine), Detail::Numbers(theirs)) => mine.merge(theirs),
            (Detail::Texts(mine), Detail::Texts(theirs)) => mine.merge(theirs),
            (Detail::Booleans(mine), Detail::Booleans(theirs)) => {
                *mine += theirs;
                Ok(())
            }
            (Detail::Hidden(mine), Detail::Hidden(theirs)) => {
                mine.nan += theirs.nan;
                mine.distinct.merge(&theirs.distinct)
            }
            (Detail::Numbers(_), Detail::Hidden(_)) | (Detail::Hidden(_), Detail::Numbers(_)) => {
                let (mut mine, theirs) = (self.hidden(), other.hidden());
                mine.nan += theirs.nan;
                mine.distinct.merge(&theirs.distinct)?;
                self.detail = Detail::Hidden(Box::new(mine));
                Ok(())
            }
            _ => {
                self.detail = Detail::Nothing;
                Ok(())
            }
        }
    }

    /// Notes what a detector found, and lets go of all values.
    pub(crate) fn hide(&mut self, personal: Personal) {
        self.personal = Some(personal);
        match &mut self.detail {
            Detail::Numbers(_) => self.detail = Detail::Hidden(Box::new(self.hidden())),
            Detail::Texts(texts) => texts.shown = None,
            Detail::Booleans(_) => self.detail = Detail::Nothing,
            Detail::Hidden(_) | Detail::Nothing => {}
        }
    }

    /// What a hidden column would hold.
    fn hidden(&self) -> Hidden {
        match &self.detail {
            Detail::Hidden(hidden) => (**hidden).clone(),
            Detail::Numbers(numbers) => {
                let mut distinct = Distinct::default();
                match (&numbers.values, numbers.values.counts()) {
                    (super::few::Few::Many(many), _) => distinct = many.clone(),
                    (_, counts) => counts.into_iter().flatten().for_each(|(key, _)| distinct.update_key(key)),
                }
                Hidden { nan: numbers.moments.nan(), distinct }
            }
            _ => Hidden::default(),
        }
    }

    /// What every state has that came from data.
    pub(crate) fn check(&self) -> Result<()> {
        let corrupt = |reason: &str| Err(Error::corrupt(format!("profile of column `{}`", self.name), reason));
        let Some(present) = self.rows.checked_sub(self.nulls).filter(|_| self.rows <= 1 << 55) else {
            return corrupt("counts out of range");
        };
        if self.personal.is_some_and(|personal| !(0.0..=1.0).contains(&personal.confidence)) {
            return corrupt("a confidence out of range");
        }
        match (&self.detail, self.kind) {
            (Detail::Numbers(numbers), ColumnKind::Number | ColumnKind::Time) => numbers.check(present),
            (Detail::Hidden(hidden), ColumnKind::Number | ColumnKind::Time) if hidden.nan <= present => Ok(()),
            (Detail::Booleans(yes), ColumnKind::Boolean) if *yes <= present => Ok(()),
            (Detail::Texts(texts), ColumnKind::Text) => texts.check(present),
            (Detail::Nothing, ColumnKind::Boolean | ColumnKind::Other) => Ok(()),
            _ => corrupt("the state is not that of its kind"),
        }
    }

    pub(crate) fn detail(&self) -> &Detail {
        &self.detail
    }

    /// Name of the column.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The Arrow type, as Arrow prints it.
    pub fn data_type(&self) -> &str {
        &self.data_type
    }

    /// What the values are.
    pub fn kind(&self) -> ColumnKind {
        self.kind
    }

    /// Rows seen, nulls included.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Nulls, those inside of dictionaries included.
    pub fn nulls(&self) -> u64 {
        self.nulls
    }

    /// What a detector found in the values: see [`Profiler::detect`](super::Profiler::detect).
    pub fn personal(&self) -> Option<Personal> {
        self.personal
    }
}
