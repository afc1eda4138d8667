//! Types of columns from a bounded sample.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};

use super::cells::{EXACT_INT_MAX, date, float, time};
use super::json::Json;
use crate::time::EventTime;
use crate::{Error, Result, Schema};

/// Rows that are looked at to infer types, where nothing was said.
pub const SAMPLE_ROWS_DEFAULT: usize = 10_000;

/// Bytes that are looked at, at the most.
pub(super) const SAMPLE_BYTES_MAX: usize = 32 << 20;

/// What the types of a text source were inferred from.
#[derive(Clone, Debug, PartialEq)]
pub struct InferenceReport {
    /// Rows looked at.
    pub rows: u64,
    /// Whether these were all rows of the source.
    pub complete: bool,
    /// One entry per column.
    pub columns: Vec<InferredColumn>,
}

/// How one column was inferred.
#[derive(Clone, Debug, PartialEq)]
pub struct InferredColumn {
    /// Column name.
    pub name: String,
    /// The type that holds everything in the sample; `Utf8` where there was no value.
    pub data_type: DataType,
    /// Values in the sample.
    pub values: u64,
    /// Nulls in the sample, columns that a row leaves out among them.
    pub nulls: u64,
    /// Whether values of several kinds forced the column to text.
    pub mixed: bool,
}

impl InferenceReport {
    /// Columns without any value in the sample: their type is a guess.
    pub fn undetermined(&self) -> Vec<&str> {
        self.columns.iter().filter(|c| c.values == 0).map(|c| c.name.as_str()).collect()
    }
}

/// What is known of a column so far. Joined in any order, the result is the same.
#[derive(Clone, Debug, PartialEq, Default)]
pub(super) enum Guess {
    #[default]
    Nothing,
    Bool,
    Int,
    /// Whole numbers that floats would round.
    BigInt,
    Float,
    Date,
    Time,
    Text,
    /// Scalars of several kinds.
    Mixed,
    List(Box<Guess>),
    Struct(Vec<(String, Guess)>),
    /// Scalars beside lists or objects, or lists beside objects: no type holds them.
    Clash,
}

impl Guess {
    /// Kind of a CSV cell. Whole numbers with a leading zero or plus are text: they are codes, not amounts.
    pub(super) fn of_text(text: &str) -> Self {
        let digits = text.strip_prefix('-').unwrap_or(text);
        let starts = digits.bytes().next();
        match starts {
            _ if matches!(text, "true" | "false" | "True" | "False" | "TRUE" | "FALSE") => Self::Bool,
            Some(b'0'..=b'9') if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) => {
                match text.parse::<i64>() {
                    _ if digits.len() > 1 && starts == Some(b'0') => Self::Text,
                    Ok(v) => Self::of_int(v),
                    Err(_) => Self::Text,
                }
            }
            Some(b'0'..=b'9') if date(text).is_some() => Self::Date,
            Some(b'0'..=b'9') if is_time(text) => Self::Time,
            Some(b'0'..=b'9' | b'.' | b'N' | b'n' | b'i' | b'I') if float(text).is_some() => Self::Float,
            _ => Self::Text,
        }
    }

    fn of_int(value: i64) -> Self {
        if (-EXACT_INT_MAX..=EXACT_INT_MAX).contains(&value) { Self::Int } else { Self::BigInt }
    }

    /// Kind of a JSON value. Text that spells a date or a time is one; text that spells a number stays text.
    pub(super) fn of_json(value: &Json) -> Self {
        match value {
            Json::Null => Self::Nothing,
            Json::Bool(_) => Self::Bool,
            Json::Int(v) => Self::of_int(*v),
            Json::UInt(_) => Self::Mixed, // beyond Int64; as text it keeps its digits
            Json::Float(_) => Self::Float,
            Json::Text(text) if date(text).is_some() => Self::Date,
            Json::Text(text) if is_time(text) => Self::Time,
            Json::Text(_) => Self::Text,
            Json::List(items) => Self::List(Box::new(items.iter().map(Self::of_json).fold(Self::Nothing, Self::join))),
            Json::Object(members) => Self::Struct(members.iter().map(|(k, v)| (k.clone(), Self::of_json(v))).collect()),
        }
    }

    /// The narrowest kind that holds both.
    pub(super) fn join(self, other: Self) -> Self {
        use Guess::{BigInt, Clash, Date, Float, Int, List, Mixed, Nothing, Struct, Text, Time};
        match (self, other) {
            (Clash, _) | (_, Clash) => Clash,
            (Nothing, one) | (one, Nothing) => one,
            (List(a), List(b)) => List(Box::new(a.join(*b))),
            (Struct(a), Struct(b)) => Struct(join_members(a, b)),
            (List(_) | Struct(_), _) | (_, List(_) | Struct(_)) => Clash,
            (a, b) if a == b => a,
            (Int, Float) | (Float, Int) => Float,
            (Int, BigInt) | (BigInt, Int) => BigInt,
            (Date, Time) | (Time, Date) => Time,
            (Date | Time, Text) | (Text, Date | Time) => Text,
            _ => Mixed,
        }
    }

    fn data_type(&self) -> Option<DataType> {
        Some(match self {
            Self::Bool => DataType::Boolean,
            Self::Int | Self::BigInt => DataType::Int64,
            Self::Float => DataType::Float64,
            Self::Date => DataType::Date32,
            Self::Time => EventTime::data_type(),
            Self::Nothing | Self::Text | Self::Mixed => DataType::Utf8,
            Self::List(item) => DataType::List(Arc::new(Field::new("item", item.data_type()?, true))),
            Self::Struct(members) => {
                let member = |(name, guess): &(String, Self)| Some(Field::new(name, guess.data_type()?, true));
                DataType::Struct(members.iter().map(member).collect::<Option<Vec<_>>>()?.into())
            }
            Self::Clash => return None,
        })
    }

    fn is_mixed(&self) -> bool {
        match self {
            Self::Mixed => true,
            Self::List(item) => item.is_mixed(),
            Self::Struct(members) => members.iter().any(|(_, member)| member.is_mixed()),
            _ => false,
        }
    }
}

fn is_time(text: &str) -> bool {
    let dated = text.get(..10).is_some_and(|day| date(day).is_some());
    dated && time(text, arrow::datatypes::TimeUnit::Microsecond).is_some()
}

fn join_members(mut all: Vec<(String, Guess)>, more: Vec<(String, Guess)>) -> Vec<(String, Guess)> {
    // Objects mostly have the same members in the same order; the others are looked up.
    let mut places: Option<BTreeMap<String, usize>> = None;
    for (index, (name, guess)) in more.into_iter().enumerate() {
        let here = all.get(index).is_some_and(|(known, _)| *known == name).then_some(index);
        let place = here.or_else(|| {
            let known = || all.iter().enumerate().map(|(place, (name, _))| (name.clone(), place)).collect();
            places.get_or_insert_with(known).get(&name).copied()
        });
        match place {
            Some(place) => all[place].1 = std::mem::take(&mut all[place].1).join(guess),
            // The names of one object are all different, so what is added here is not looked up again.
            None => all.push((name, guess)),
        }
    }
    all
}

/// What is known of all columns so far.
#[derive(Debug, Default)]
pub(super) struct Sample {
    pub(super) columns: Vec<(String, Guess, u64)>,
    pub(super) rows: u64,
}

impl Sample {
    /// Adds one value of column `index`.
    pub(super) fn add(&mut self, index: usize, guess: Guess) {
        if let Some((_, known, values)) = self.columns.get_mut(index) {
            *values += u64::from(guess != Guess::Nothing);
            *known = std::mem::take(known).join(guess);
        }
    }

    /// Schema and report.
    ///
    /// # Errors
    /// [`Error::InvalidData`] for a column that no type holds.
    pub(super) fn finish(self, location: &str, complete: bool) -> Result<(Schema, InferenceReport)> {
        let mut report = InferenceReport { rows: self.rows, complete, columns: Vec::new() };
        for (name, guess, values) in self.columns {
            let Some(data_type) = guess.data_type() else {
                let place = format!("{location}, column `{}`", super::cells::shorten(&name));
                return Err(Error::invalid_data(place, "lists or objects beside values of other kinds"));
            };
            let (nulls, mixed) = (report.rows.saturating_sub(values), guess.is_mixed());
            report.columns.push(InferredColumn { name, data_type, values, nulls, mixed });
        }
        let fields = report.columns.iter().map(|c| Field::new(&c.name, c.data_type.clone(), true));
        let schema = Schema::new(ArrowSchema::new(fields.collect::<Vec<_>>()))?;
        Ok((schema, report))
    }
}

/// What to say to somebody whose row does not fit what was inferred.
pub(super) fn advice(report: Option<&InferenceReport>) -> String {
    match report {
        Some(report) if !report.complete => {
            format!("; types were inferred from the first {} rows: give a schema or sample more", report.rows)
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(cells: &[&str], expected: &DataType) {
        let guess = cells.iter().map(|c| Guess::of_text(c)).fold(Guess::Nothing, Guess::join);
        assert_eq!(guess.data_type().as_ref(), Some(expected), "{cells:?}");
        let turned = cells.iter().rev().map(|c| Guess::of_text(c)).fold(Guess::Nothing, Guess::join);
        assert_eq!(turned.data_type().as_ref(), Some(expected), "{cells:?} backwards");
    }

    #[test]
    fn cells_get_the_narrowest_type_that_holds_them_all() {
        check(&["1", "-2"], &DataType::Int64);
        check(&["1", "2.5", "1e3", "NaN", "-inf"], &DataType::Float64);
        check(&["true", "False"], &DataType::Boolean);
        check(&["2024-02-29"], &DataType::Date32);
        check(&["2024-02-29", "2024-02-29T12:00:00Z", "2024-02-29 12:00:00"], &EventTime::data_type());
        check(&["2024-02-30"], &DataType::Utf8);
        check(&["true", "1"], &DataType::Utf8);
        check(&["1", "x"], &DataType::Utf8);
        check(&[], &DataType::Utf8);
    }

    #[test]
    fn codes_and_numbers_that_would_lose_digits_stay_text() {
        check(&["001203000123"], &DataType::Utf8);
        check(&["+84901234567"], &DataType::Utf8);
        check(&["0", "-0", "10"], &DataType::Int64);
        check(&["99999999999999999999"], &DataType::Utf8);
        check(&["9007199254740993"], &DataType::Int64);
        check(&["9007199254740993", "0.5"], &DataType::Utf8);
        check(&["1e999"], &DataType::Utf8);
    }
}
