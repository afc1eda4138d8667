//! Rows whose every value follows from a token, and the view that they belong to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mlops_core::Dataset;
use mlops_core::arrow::array::{
    Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use mlops_core::arrow::datatypes::{Int64Type, TimestampMicrosecondType};
use mlops_features::{Entity, FeatureView, KeyType, ValueType};

use crate::Result;
use crate::surface::Asked;
use crate::token::Token;

/// Keys that all writers write again and again.
pub const SHARED_KEYS: i64 = 48;
/// Most rows of one write.
const ROWS_MAX: u64 = 40;
/// Event times are drawn from so few instants that corrections of the same instant happen.
pub const INSTANTS: u64 = 500;

/// One row. The first of a write has a key of its own, the others correct shared keys with event times before and after
/// what is there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The write.
    pub token: Token,
    /// Position in it, from 0.
    pub position: u64,
    /// Whose row.
    pub key: i64,
    /// When it became true, in microseconds.
    pub event_time: i64,
    /// When it became known, in microseconds.
    pub created: Option<i64>,
    /// A value of a length that differs from row to row.
    pub text: String,
}

/// The key of the first row of a write.
pub fn own_key(token: Token) -> i64 {
    ((i64::from(token.run) << 40) | (i64::from(token.writer) << 32) | token.number as i64) + SHARED_KEYS
}

/// How many rows a write has.
pub fn count(token: Token) -> u64 {
    2 + token.random(1) % (ROWS_MAX - 1)
}

impl Row {
    /// The row at `position` of a write.
    pub fn of(token: Token, position: u64) -> Self {
        let random = |salt| token.random(position * 8 + salt);
        let key = if position == 0 { own_key(token) } else { (random(2) % SHARED_KEYS as u64) as i64 };
        let event_time = 1_000_000 * (random(3) % INSTANTS) as i64;
        let created = (!random(4).is_multiple_of(5)).then(|| event_time + (random(5) % 3) as i64);
        let text = format!("{token}/{position} ").repeat((random(6) % 12) as usize);
        Self { token, position, key, event_time, created, text }
    }

    /// All rows of a write, in order.
    pub fn all(token: Token) -> Vec<Self> {
        (0..count(token)).map(|position| Self::of(token, position)).collect()
    }

    /// What decides which of two rows of a key stays.
    pub fn stamp(&self) -> (i64, Option<i64>) {
        (self.event_time, self.created)
    }
}

/// The view of these rows.
///
/// # Errors
/// None: its definition is fixed.
pub fn view() -> Result<FeatureView> {
    let entity = Entity::builder("thing").key("key", KeyType::Int64).build()?;
    Ok(FeatureView::builder("torture", entity)
        .created("created")
        .feature("run", ValueType::Int64)
        .feature("writer", ValueType::Int64)
        .feature("number", ValueType::Int64)
        .feature("position", ValueType::Int64)
        .feature("text", ValueType::Utf8)
        .build()?)
}

/// Rows in the columns of the view.
///
/// # Errors
/// None: the columns are of one length.
pub fn batch(rows: &[Row]) -> Result<RecordBatch> {
    let ints = |value: fn(&Row) -> i64| Arc::new(rows.iter().map(value).collect::<Int64Array>()) as ArrayRef;
    let times = |values: TimestampMicrosecondArray| Arc::new(values.with_timezone("UTC")) as ArrayRef;
    let event_time = rows.iter().map(|row| Some(row.event_time)).collect();
    Ok(RecordBatch::try_from_iter_with_nullable([
        ("key", ints(|row| row.key), true),
        ("event_timestamp", times(event_time), false),
        ("created", times(rows.iter().map(|row| row.created).collect()), true),
        ("run", ints(|row| i64::from(row.token.run)), true),
        ("writer", ints(|row| i64::from(row.token.writer)), true),
        ("number", ints(|row| row.token.number as i64), true),
        ("position", ints(|row| row.position as i64), true),
        ("text", Arc::new(rows.iter().map(|row| Some(row.text.as_str())).collect::<StringArray>()), true),
    ])?)
}

/// The rows of a write as a data set.
///
/// # Errors
/// As [`batch`].
pub fn dataset(token: Token) -> Result<Dataset> {
    Ok(Dataset::from_batches([batch(&Row::all(token))?])?)
}

/// Columns as they are stored: `key`, two times, then the features.
pub struct Columns<'a> {
    /// Times of events; null where there is no row.
    pub event_time: &'a TimestampMicrosecondArray,
    /// Times of knowledge.
    pub created: &'a TimestampMicrosecondArray,
    /// The features, in the order of the view.
    pub features: &'a [ArrayRef],
}

impl<'a> Columns<'a> {
    /// Of a batch in the columns of the view.
    pub fn of(batch: &'a RecordBatch) -> Self {
        Self {
            event_time: batch.column(1).as_primitive::<TimestampMicrosecondType>(),
            created: batch.column(2).as_primitive::<TimestampMicrosecondType>(),
            features: &batch.columns()[3..],
        }
    }

    /// The row at `at` as its token says that it must be; `None` where there is no row.
    ///
    /// # Errors
    /// When it differs from what its token says.
    pub fn row(&self, at: usize, key: i64) -> Result<Option<Row>> {
        if self.event_time.is_null(at) {
            return Ok(None);
        }
        let [run, writer, number, position, text] = self.features else { return Err("columns are missing".into()) };
        let number_of = |array: &ArrayRef| {
            let array = array.as_primitive::<Int64Type>();
            array.is_valid(at).then(|| array.value(at))
        };
        let damaged = || format!("the row of key {key} is not one that anybody wrote");
        let parts = (number_of(run), number_of(writer), number_of(number), number_of(position));
        let (Some(run), Some(writer), Some(number), Some(position)) = parts else { return Err(damaged().into()) };
        let narrow = |value: i64| u32::try_from(value).map_err(|_| damaged());
        let token = Token { run: narrow(run)?, writer: narrow(writer)?, number: number.cast_unsigned() };
        let expected = Row::of(token, position.cast_unsigned());
        let text = text.as_string::<i32>();
        let found = Row {
            key,
            event_time: self.event_time.value(at),
            created: self.created.is_valid(at).then(|| self.created.value(at)),
            text: if text.is_valid(at) { text.value(at).to_owned() } else { "(null)".to_owned() },
            ..expected.clone()
        };
        if found == expected { Ok(Some(found)) } else { Err(damaged().into()) }
    }
}

/// The rows of a batch in the columns of the view.
///
/// # Errors
/// When one differs from what its token says.
pub fn read(batch: &RecordBatch) -> Result<Vec<Row>> {
    let keys = batch.column(0).as_primitive::<Int64Type>();
    let columns = Columns::of(batch);
    let row = |at: usize| Ok(columns.row(at, keys.value(at))?.ok_or("a row without an event time")?);
    (0..batch.num_rows()).map(row).collect()
}

/// Checks that `rows`, in the order in which they are stored, are whole writes of `asked`, each thread's in the order of
/// its numbers; gives their tokens.
///
/// # Errors
/// When they are not.
pub fn whole_writes(rows: &[Row], asked: &Asked) -> Result<BTreeSet<Token>> {
    let mut tokens = BTreeSet::new();
    let mut last: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    for write in rows.chunk_by(|a, b| a.token == b.token) {
        let token = write[0].token;
        asked.ensure(token)?;
        let in_order = write.iter().enumerate().all(|(at, row)| row.position == at as u64);
        if !in_order || write.len() as u64 != count(token) {
            return Err(format!("{token} is torn: {} of {} rows in order", write.len(), count(token)).into());
        }
        let before = last.insert((token.run, token.writer), token.number);
        if before.is_some_and(|before| before >= token.number) {
            return Err(format!("{token} stands after a later write of its thread, or twice").into());
        }
        tokens.insert(token);
    }
    Ok(tokens)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: Token = Token { run: 1, writer: 0, number: 1 };

    #[test]
    fn rows_come_back_from_their_columns() {
        let rows = Row::all(TOKEN);
        assert_eq!(read(&batch(&rows).unwrap()).unwrap(), rows);
    }

    #[test]
    fn a_changed_value_is_no_row_of_anybody() {
        for change in [
            |row: &mut Row| row.text.push('x'),
            |row: &mut Row| row.event_time += 1,
            |row: &mut Row| row.created = Some(-7),
            |row: &mut Row| row.key += 1,
            |row: &mut Row| row.token.number += 1,
        ] {
            let mut rows = Row::all(TOKEN);
            change(&mut rows[1]);
            assert!(read(&batch(&rows).unwrap()).is_err());
        }
    }

    #[test]
    fn torn_repeated_and_unknown_writes_are_refused() {
        let rows = Row::all(TOKEN);
        let asked = Asked { acked: [TOKEN].into(), ..Asked::default() };
        assert_eq!(whole_writes(&rows, &asked).unwrap(), [TOKEN].into());
        assert!(whole_writes(&rows[1..], &asked).is_err());
        assert!(whole_writes(&rows[..rows.len() - 1], &asked).is_err());
        assert!(whole_writes(&[rows.clone(), rows.clone()].concat(), &asked).is_err());
        assert!(whole_writes(&rows, &Asked::default()).is_err());
    }
}
