//! Feature vectors as JSON, written column by column without a value in between.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Float32Type, Float64Type, Int32Type, Int64Type, SchemaRef, TimestampMicrosecondType,
};
use arrow::temporal_conversions::as_datetime;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mlops_core::EventTime;
use mlops_core::time::DAY_US;
use serde::Serialize;

use crate::error::{Core, Result};
use crate::serve::{FeatureVectors, ServingPlan, Status};

/// The event time of what has none.
const NEVER: &[u8] = b"\"1970-01-01T00:00:00Z\"";

/// Bytes of one value with its status and event time, as a rule.
const VALUE_BYTES: usize = 60;

/// `entities` and `vectors` as Feast answers them: metadata, then one result per column, keys first. Features have names with
/// their views where `full_names` says by which plan.
pub(super) fn json(
    entities: &RecordBatch,
    vectors: &FeatureVectors,
    full_names: Option<&ServingPlan>,
    now: EventTime,
) -> Result<Vec<u8>> {
    let rows = vectors.rows();
    let columns = vectors.columns().len() + entities.num_columns();
    let mut out = Vec::with_capacity(128 + columns * (64 + rows * VALUE_BYTES));
    out.extend_from_slice(b"{\"metadata\":{\"feature_names\":");
    put(&mut out, &names(entities, vectors, full_names))?;
    out.extend_from_slice(b"},\"results\":[");
    let mut lists = Lists { rows, now, present: None, never: None, times: BTreeMap::new() };
    for (at, column) in entities.columns().iter().enumerate() {
        begin(&mut out, at, column)?;
        lists.key_statuses(&mut out, column);
        out.extend_from_slice(b",\"event_timestamps\":");
        lists.never(&mut out);
        out.push(b'}');
    }
    for (at, column) in vectors.columns().iter().enumerate() {
        begin(&mut out, entities.num_columns() + at, column)?;
        lists.statuses(&mut out, vectors.statuses(at));
        out.extend_from_slice(b",\"event_timestamps\":");
        lists.times(&mut out, vectors, at);
        out.push(b'}');
    }
    out.extend_from_slice(b"]}");
    Ok(out)
}

/// Lists that many columns have alike, and where each was written first: it is copied from there.
struct Lists {
    rows: usize,
    now: EventTime,
    /// `PRESENT` for every entity.
    present: Option<Range<usize>>,
    /// No event time for any entity.
    never: Option<Range<usize>>,
    /// Event times, by the number of the ages that they are told from.
    times: BTreeMap<usize, Option<Range<usize>>>,
}

impl Lists {
    fn present(&mut self, out: &mut Vec<u8>) {
        again(out, &mut self.present, |out| {
            list(out, self.rows, |out, _| out.extend_from_slice(word(Status::Present)));
        });
    }

    fn key_statuses(&mut self, out: &mut Vec<u8>, keys: &ArrayRef) {
        match keys.logical_nulls().filter(|nulls| nulls.null_count() > 0) {
            None => self.present(out),
            Some(nulls) => list(out, self.rows, |out, row| {
                let status = if nulls.is_null(row) { Status::NullValue } else { Status::Present };
                out.extend_from_slice(word(status));
            }),
        }
    }

    fn statuses(&mut self, out: &mut Vec<u8>, statuses: &[Status]) {
        if statuses.iter().all(|status| *status == Status::Present) {
            self.present(out);
        } else {
            list(out, self.rows, |out, row| out.extend_from_slice(word(statuses[row])));
        }
    }

    fn never(&mut self, out: &mut Vec<u8>) {
        again(out, &mut self.never, |out| list(out, self.rows, |out, _| out.extend_from_slice(NEVER)));
    }

    fn times(&mut self, out: &mut Vec<u8>, vectors: &FeatureVectors, column: usize) {
        let Some(ages) = vectors.ages_of(column) else { return self.never(out) };
        again(out, self.times.entry(ages).or_default(), |out| {
            let mut day = Day::default();
            list(out, self.rows, |out, row| match vectors.age_us(column, row) {
                Some(age) => day.instant(out, self.now.as_micros().saturating_sub(age)),
                None => out.extend_from_slice(NEVER),
            });
        });
    }
}

/// Appends what `write` writes, or a copy of it when it is `known` where that stands already.
fn again(out: &mut Vec<u8>, known: &mut Option<Range<usize>>, write: impl FnOnce(&mut Vec<u8>)) {
    if let Some(known) = known {
        out.extend_from_within(known.clone());
        return;
    }
    let start = out.len();
    write(out);
    *known = Some(start..out.len());
}

/// Names of the keys and of the columns of `vectors`.
fn names<'a>(
    entities: &'a RecordBatch,
    vectors: &'a FeatureVectors,
    full_names: Option<&ServingPlan>,
) -> Vec<Cow<'a, str>> {
    let own = |schema: &'a SchemaRef| schema.fields().iter().map(|field| Cow::Borrowed(field.name().as_str()));
    let mut names: Vec<_> = own(entities.schema_ref()).collect();
    match full_names.and_then(ServingPlan::full_names) {
        None => names.extend(own(vectors.schema())),
        Some(full) => names.extend(full.into_iter().map(Cow::Owned)),
    }
    names
}

fn begin(out: &mut Vec<u8>, at: usize, column: &ArrayRef) -> Result<()> {
    if at > 0 {
        out.push(b',');
    }
    out.extend_from_slice(b"{\"values\":");
    values(out, column)?;
    out.extend_from_slice(b",\"statuses\":");
    Ok(())
}

fn word(status: Status) -> &'static [u8] {
    match status {
        Status::Present => b"\"PRESENT\"",
        Status::NullValue => b"\"NULL_VALUE\"",
        Status::NotFound => b"\"NOT_FOUND\"",
        Status::OutsideMaxAge => b"\"OUTSIDE_MAX_AGE\"",
    }
}

/// `[…]` with what `one` writes for each of `count`.
fn list(out: &mut Vec<u8>, count: usize, mut one: impl FnMut(&mut Vec<u8>, usize)) {
    out.push(b'[');
    for at in 0..count {
        if at > 0 {
            out.push(b',');
        }
        one(out, at);
    }
    out.push(b']');
}

fn put(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) -> Result<()> {
    Ok(serde_json::to_writer(out, value).map_err(|e| Core::invalid_data("answer", e))?)
}

/// All values of `column`, null where they are.
fn values(out: &mut Vec<u8>, column: &ArrayRef) -> Result<()> {
    match column.data_type() {
        DataType::Boolean => each(out, column, |out, row| put(out, &column.as_boolean().value(row))),
        DataType::Int32 => numbers::<Int32Type>(out, column, |out, value| put(out, &value)),
        DataType::Int64 => numbers::<Int64Type>(out, column, |out, value| put(out, &value)),
        DataType::Float32 => numbers::<Float32Type>(out, column, real32),
        DataType::Float64 => numbers::<Float64Type>(out, column, real),
        DataType::Utf8 => each(out, column, |out, row| put(out, column.as_string::<i32>().value(row))),
        DataType::Binary => {
            each(out, column, |out, row| put(out, &STANDARD.encode(column.as_binary::<i32>().value(row))))
        }
        DataType::Timestamp(..) => {
            let mut day = Day::default();
            numbers::<TimestampMicrosecondType>(out, column, |out, micros| {
                day.instant(out, micros);
                Ok(())
            })
        }
        DataType::List(_) => each(out, column, |out, row| values(out, &column.as_list::<i32>().value(row))),
        DataType::FixedSizeList(..) => {
            each(out, column, |out, row| values(out, &column.as_fixed_size_list().value(row)))
        }
        other => Err(Core::schema("answer", "a type that features have", other).into()),
    }
}

fn numbers<T: ArrowPrimitiveType>(
    out: &mut Vec<u8>,
    column: &ArrayRef,
    mut one: impl FnMut(&mut Vec<u8>, T::Native) -> Result<()>,
) -> Result<()> {
    let numbers = column.as_primitive::<T>().values();
    each(out, column, |out, row| one(out, numbers[row]))
}

/// A list of what `one` writes for each value of `column` that is not null.
fn each(out: &mut Vec<u8>, column: &ArrayRef, mut one: impl FnMut(&mut Vec<u8>, usize) -> Result<()>) -> Result<()> {
    let nulls = column.logical_nulls();
    let mut done = Ok(());
    list(out, column.len(), |out, row| {
        if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) {
            out.extend_from_slice(b"null");
        } else if done.is_ok() {
            done = one(out, row);
        }
    });
    done
}

fn real(out: &mut Vec<u8>, value: f64) -> Result<()> {
    if value.is_finite() { put(out, &value) } else { put(out, not_finite(value)) }
}

/// As [`real`], in as many digits as single precision needs.
fn real32(out: &mut Vec<u8>, value: f32) -> Result<()> {
    if value.is_finite() { put(out, &value) } else { put(out, not_finite(f64::from(value))) }
}

fn not_finite(value: f64) -> &'static str {
    match value {
        value if value.is_nan() => "NaN",
        value if value > 0.0 => "Infinity",
        _ => "-Infinity",
    }
}

/// Writes instants, of which neighbours are often of one day.
#[derive(Default)]
struct Day {
    number: i64,
    date: String,
}

impl Day {
    /// RFC 3339 in seconds, with microseconds where there are some, in quotes.
    fn instant(&mut self, out: &mut Vec<u8>, micros: i64) {
        let (number, within) = (micros.div_euclid(DAY_US), micros.rem_euclid(DAY_US));
        if number != self.number || self.date.is_empty() {
            let Some(time) = as_datetime::<TimestampMicrosecondType>(micros) else {
                // Beyond the ends of the calendar.
                out.extend_from_slice(format!("\"{}\"", EventTime::from_micros(micros)).as_bytes());
                return;
            };
            (self.number, self.date) = (number, format!("\"{:?}T", time.date()));
        }
        out.extend_from_slice(self.date.as_bytes());
        let (seconds, micros) = (within / 1_000_000, within % 1_000_000);
        let two = |number: i64| [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
        let ([h, i], [m, n], [s, t]) = (two(seconds / 3_600), two(seconds / 60 % 60), two(seconds % 60));
        out.extend_from_slice(&[h, i, b':', m, n, b':', s, t]);
        if micros > 0 {
            let ([a, b], [c, d], [e, f]) = (two(micros / 10_000), two(micros / 100 % 100), two(micros % 100));
            out.extend_from_slice(&[b'.', a, b, c, d, e, f]);
        }
        out.extend_from_slice(b"Z\"");
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use arrow::array::{Float64Array, Int64Array, TimestampMicrosecondArray};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::online::MemoryStore;
    use crate::wait::block_on;
    use crate::{Entity, FeatureServer, FeatureService, FeatureView, KeyType, ValueType, ViewUse};

    /// Rows of two features for these users at these seconds; the second feature is null for user 2.
    fn rows(view: &str, users: &[i64], seconds: &[i64]) -> RecordBatch {
        let times = seconds.iter().map(|second| second * 1_000_000).collect::<Vec<_>>();
        let value = |user: i64| user as f64 / 4.0;
        RecordBatch::try_from_iter_with_nullable([
            ("user".to_owned(), Arc::new(Int64Array::from(users.to_vec())) as ArrayRef, true),
            ("event_timestamp".to_owned(), Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC")), true),
            (
                format!("{view}_a"),
                Arc::new(users.iter().map(|user| Some(value(*user))).collect::<Float64Array>()),
                true,
            ),
            (
                format!("{view}_b"),
                Arc::new(users.iter().map(|user| (*user != 2).then_some(value(*user))).collect::<Float64Array>()),
                true,
            ),
        ])
        .unwrap()
    }

    /// Two views with event times of their own, one of which keeps values for ten seconds.
    #[test]
    fn columns_that_have_lists_alike_tell_each_its_own() {
        let user = Entity::builder("user").key("user", KeyType::Int64).build().unwrap();
        let view = |name: &str| {
            let view = FeatureView::builder(name, user.clone()).ttl(Duration::from_secs(10));
            let view = view.feature(format!("{name}_a"), ValueType::Float64);
            view.feature(format!("{name}_b"), ValueType::Float64).build().unwrap()
        };
        let views = [view("x"), view("y")];
        let store = Arc::new(MemoryStore::new());
        store.write_sync(&views[0], &rows("x", &[1, 2, 3], &[100, 101, 80]), None).unwrap();
        store.write_sync(&views[1], &rows("y", &[1, 3], &[99, 99]), None).unwrap();
        let service = FeatureService::builder("all").using(ViewUse::all("x").unwrap());
        let service = service.using(ViewUse::all("y").unwrap()).build().unwrap();
        let plan = ServingPlan::compile(&service, &views).unwrap();
        let server = FeatureServer::new(plan.clone(), store);
        let users = Int64Array::from(vec![Some(1), Some(2), Some(3), None, Some(9)]);
        let entities = RecordBatch::try_from_iter([("user", Arc::new(users) as ArrayRef)]).unwrap();
        let now = EventTime::from_secs(102);
        let vectors = block_on(server.get(&entities, now)).unwrap();
        let told: Value = serde_json::from_slice(&json(&entities, &vectors, None, now).unwrap()).unwrap();

        let (ok, empty, none, old) = ("PRESENT", "NULL_VALUE", "NOT_FOUND", "OUTSIDE_MAX_AGE");
        let time = |second: &str| format!("1970-01-01T00:0{second}Z");
        let never = time("0:00");
        let x = [time("1:40"), time("1:41"), time("1:20"), never.clone(), never.clone()];
        let y = [time("1:39"), never.clone(), time("1:39"), never.clone(), never.clone()];
        let expected = json!({
            "metadata": { "feature_names": ["user", "x_a", "x_b", "y_a", "y_b"] },
            "results": [
                { "values": [1, 2, 3, null, 9], "statuses": [ok, ok, ok, empty, ok], "event_timestamps": vec![never; 5] },
                { "values": [0.25, 0.5, null, null, null], "statuses": [ok, ok, old, none, none], "event_timestamps": x },
                { "values": [0.25, null, null, null, null], "statuses": [ok, empty, old, none, none], "event_timestamps": x },
                { "values": [0.25, null, 0.75, null, null], "statuses": [ok, none, ok, none, none], "event_timestamps": y },
                { "values": [0.25, null, 0.75, null, null], "statuses": [ok, none, ok, none, none], "event_timestamps": y },
            ],
        });
        assert_eq!(told, expected);

        let one = entities.slice(0, 1);
        let vectors = block_on(server.get(&one, now)).unwrap();
        let told: Value = serde_json::from_slice(&json(&one, &vectors, Some(&plan), now).unwrap()).unwrap();
        assert_eq!(told["metadata"]["feature_names"], json!(["user", "x__x_a", "x__x_b", "y__y_a", "y__y_b"]));
        for (at, time) in [(0, &time("0:00")), (1, &x[0]), (2, &x[0]), (3, &y[0]), (4, &y[0])] {
            let of = &told["results"][at];
            assert_eq!((&of["statuses"], &of["event_timestamps"]), (&json!([ok]), &json!([time])), "column {at}");
        }
    }

    fn written(day: &mut Day, micros: i64) -> String {
        let mut out = Vec::new();
        day.instant(&mut out, micros);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn instants_are_told_in_seconds_and_in_microseconds_where_there_are_some() {
        let mut day = Day::default();
        for (micros, text) in [
            (0, "\"1970-01-01T00:00:00Z\""),
            (-1, "\"1969-12-31T23:59:59.999999Z\""),
            (86_399_000_000, "\"1970-01-01T23:59:59Z\""),
            (951_782_400_000_010, "\"2000-02-29T00:00:00.000010Z\""),
        ] {
            assert_eq!(written(&mut day, micros), text);
            assert_eq!(written(&mut day, micros), text, "again, of the same day");
        }
    }

    proptest! {
        #[test]
        fn instants_are_those_that_event_times_show(first in any::<i64>(), second in -DAY_US..DAY_US) {
            let mut day = Day::default();
            for micros in [first, first.saturating_add(second), i64::MIN, i64::MAX] {
                let shown = EventTime::from_micros(micros).to_string().replace(".000000Z", "Z");
                prop_assert_eq!(written(&mut day, micros), format!("\"{shown}\""));
            }
        }
    }
}
