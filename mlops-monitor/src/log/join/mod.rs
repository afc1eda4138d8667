//! Joins what was served with the labels that come later.

mod held;

use std::time::Duration;

use arrow::array::{ArrayRef, Float64Array, RecordBatch, TimestampMicrosecondArray};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use mlops_core::schema::Role;
use mlops_core::{Error, EventTime, Name, Result, Schema};
use serde::{Deserialize, Serialize};

use super::read::{integers, keys, numbers, request_ids, times};
use super::{BATCH_ROWS, EVENT_TIME, POSITION, REQUEST_ID};
use held::{Credit, Held, Hit, Impression, Waiting, WaitingLabel};

/// One kind of label, such as a click within half an hour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelRule {
    name: Name,
    window: Duration,
    value: Option<String>,
}

impl LabelRule {
    /// A label that is 1 where an event came at `t` with `served ≤ t < served + window`, and 0 where none did.
    pub fn new(name: Name, window: Duration) -> Self {
        Self { name, window, value: None }
    }

    /// Takes the label from a number column of the events, such as the price paid, instead of 1.
    pub fn value(mut self, column: impl Into<String>) -> Self {
        self.value = Some(column.into());
        self
    }
}

/// What became of everything that a join was given. Nothing is lost without being counted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinCounters {
    /// Impression rows taken.
    pub impressions: u64,
    /// Label events credited to an impression.
    pub credited: u64,
    /// Labelled rows given out.
    pub matured: u64,
    /// Impression rows older than the watermark.
    pub late_impressions: u64,
    /// Label events older than the watermark.
    pub late_labels: u64,
    /// Impressions and label events that lie too far ahead of now.
    pub future: u64,
    /// Impression rows of a request and candidate that are held already, or of a request with another time.
    pub duplicate_impressions: u64,
    /// Label events beyond the one that counts: of a request, candidate and label, the earliest does.
    pub duplicate_labels: u64,
    /// Label events before their impression or after its window.
    pub outside_window: u64,
    /// Label events whose impression did not come until the watermark.
    pub orphans: u64,
    /// Rows without a readable request id, key, time or value.
    pub malformed: u64,
    /// Impression rows refused because as many as allowed are held; requests are refused whole.
    pub overflow_impressions: u64,
    /// Label events refused because as many as allowed wait for their impression.
    pub overflow_labels: u64,
    /// Impression rows held now, those of partly matured batches included.
    pub held: u64,
    /// Label events that wait for their impression now.
    pub waiting: u64,
}

/// Joins impressions with late labels, by request id and candidate key, in bounded memory.
///
/// # Time
/// * The **watermark** is the greatest `now − lateness` that [`advance`](Self::advance) was called with; it never goes back.
/// * An impression or label event with time `t` is **in time** when `t ≥ watermark` at its arrival, in whatever order it comes,
///   and `t ≤ now + ahead`. What is not is counted and left out.
/// * An event at `t` counts for an impression at `i` when `i ≤ t < i + window` of its label. Of several the earliest
///   counts, of simultaneous ones the smallest value: the rows do not depend on the order of arrival.
/// * An impression **matures** when `i + longest window ≤ watermark`: no event that could still change it can be in time. It is
///   given out exactly once, then, whole requests together.
/// * A label that comes before its impression waits until its own time is behind the watermark.
///
/// # Rows
/// The columns of the impressions, then for each label `name` (`Float64`, 0 where there was no event) and `name_time`
/// (null where there was none). Ordered by time, request id, position.
///
/// # Memory
/// At most `rows_max` impression rows are held (a batch counts until its last row has matured) and `labels_max` labels
/// wait. Beyond, new ones are refused, not old ones evicted, so that under any load what was taken still matures.
/// State is in memory: after a crash, replay both logs from `longest window + lateness` ago.
#[derive(Debug)]
pub struct LabelJoin {
    impressions: Schema,
    output: Schema,
    key: String,
    rules: Vec<LabelRule>,
    longest: Duration,
    lateness: Duration,
    ahead: Duration,
    watermark: EventTime,
    held: Held,
    waiting: Waiting,
    counters: JoinCounters,
}

/// Builder of [`LabelJoin`].
#[derive(Debug, Clone)]
pub struct LabelJoinBuilder {
    impressions: Schema,
    key: String,
    rules: Vec<LabelRule>,
    lateness: Duration,
    ahead: Duration,
    rows_max: usize,
    labels_max: usize,
}

impl LabelJoinBuilder {
    /// Adds a label. At least one is needed, at most 64 are taken.
    pub fn label(mut self, rule: LabelRule) -> Self {
        self.rules.push(rule);
        self
    }

    /// How late an impression or label may arrive and still count. Default 5 minutes.
    pub fn lateness(mut self, lateness: Duration) -> Self {
        self.lateness = lateness;
        self
    }

    /// How far ahead of now a time may lie, for clocks that differ. Default 1 minute.
    pub fn ahead(mut self, ahead: Duration) -> Self {
        self.ahead = ahead;
        self
    }

    /// Impression rows that may be held. Default 4 194 304.
    pub fn rows_max(mut self, rows: usize) -> Self {
        self.rows_max = rows;
        self
    }

    /// Label events that may wait for their impression. Default 1 048 576.
    pub fn labels_max(mut self, labels: usize) -> Self {
        self.labels_max = labels;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no label, more than 64, a window or a bound of 0; [`Error::NotFound`] when the
    /// impressions lack a column of the join; [`Error::AlreadyExists`] when a label has the name of a column.
    pub fn build(self) -> Result<LabelJoin> {
        if !(1..=64).contains(&self.rules.len()) {
            return Err(Error::invalid("labels", self.rules.len(), "in 1..=64"));
        }
        if let Some(rule) = self.rules.iter().find(|rule| rule.window.is_zero()) {
            return Err(Error::invalid("label window", format!("0 for `{}`", rule.name), "above 0"));
        }
        if self.rows_max == 0 || self.labels_max == 0 {
            return Err(Error::invalid("bound of the join", 0, "at least 1"));
        }
        for column in [REQUEST_ID, EVENT_TIME, POSITION, &self.key] {
            self.impressions.index_of(column)?;
        }
        let mut fields: Vec<Field> = self.impressions.arrow().fields().iter().map(|f| f.as_ref().clone()).collect();
        for rule in &self.rules {
            fields.push(Field::new(rule.name.as_str(), DataType::Float64, false));
            fields.push(Field::new(time_column(rule), EventTime::data_type(), true));
        }
        let mut output = Schema::new(ArrowSchema::new(fields))?;
        for rule in &self.rules {
            output = output.with_role(rule.name.as_str(), Role::Label)?;
        }
        Ok(LabelJoin {
            impressions: self.impressions,
            output,
            key: self.key,
            longest: self.rules.iter().map(|rule| rule.window).max().unwrap_or_default(),
            held: Held::new(self.rules.len(), self.rows_max),
            waiting: Waiting::new(self.labels_max),
            rules: self.rules,
            lateness: self.lateness,
            ahead: self.ahead,
            watermark: EventTime::MIN,
            counters: JoinCounters::default(),
        })
    }
}

fn time_column(rule: &LabelRule) -> String {
    format!("{}_time", rule.name)
}

impl LabelJoin {
    /// A join of impressions of `schema`, such as [`PredictionLog::schema`](super::PredictionLog::schema), by its request
    /// id and the candidate key `key`.
    pub fn builder(schema: &Schema, key: impl Into<String>) -> LabelJoinBuilder {
        LabelJoinBuilder {
            impressions: schema.clone(),
            key: key.into(),
            rules: Vec::new(),
            lateness: Duration::from_mins(5),
            ahead: Duration::from_mins(1),
            rows_max: 1 << 22,
            labels_max: 1 << 20,
        }
    }

    /// Columns of the labelled rows.
    pub fn schema(&self) -> &Schema {
        &self.output
    }

    /// The time before which nothing is taken any more.
    pub fn watermark(&self) -> EventTime {
        self.watermark
    }

    /// What became of everything so far.
    pub fn counters(&self) -> JoinCounters {
        JoinCounters { held: self.held.rows() as u64, waiting: self.waiting.len() as u64, ..self.counters }
    }

    /// Takes impressions; what cannot be taken is counted.
    ///
    /// # Errors
    /// [`Error::Schema`] when the batch has other columns than the impressions the join was made for.
    pub fn impressions(&mut self, rows: &RecordBatch, now: EventTime) -> Result<()> {
        let rows = self.impressions.attach(rows)?;
        let ids = request_ids(&rows, REQUEST_ID)?;
        let (at, position, key) = (times(&rows, EVENT_TIME)?, integers(&rows, POSITION)?, keys(&rows, &self.key)?);
        let mut taken = Vec::with_capacity(rows.num_rows());
        for (row, (((id, at), position), key)) in ids.into_iter().zip(at).zip(position).zip(key).enumerate() {
            let (Some(request), Some(at), Some(position), Some(key)) = (id, at, position, key) else {
                self.counters.malformed += 1;
                continue;
            };
            if at > now.plus(self.ahead) {
                self.counters.future += 1;
            } else if at < self.watermark {
                self.counters.late_impressions += 1;
            } else {
                taken.push(Impression { request, at, position, key, row });
            }
        }
        let outcome = self.held.take(&rows, taken)?;
        self.counters.impressions += outcome.rows.len() as u64;
        self.counters.duplicate_impressions += outcome.duplicates;
        self.counters.overflow_impressions += outcome.overflow;
        for (request, key) in outcome.rows {
            for label in self.waiting.take(request, &key) {
                self.credit(&label);
            }
        }
        Ok(())
    }

    /// Takes events of the label `name`: a batch with [`REQUEST_ID`], the candidate key, [`EVENT_TIME`] and, where the
    /// label has one, its value column. What cannot be taken is counted; NaN and infinities are no values.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such label or a column is missing, [`Error::Schema`] when one has another type.
    pub fn labels(&mut self, name: &str, events: &RecordBatch, now: EventTime) -> Result<()> {
        let found = self.rules.iter().position(|rule| rule.name.as_str() == name);
        let rule = found.ok_or_else(|| Error::not_found("label", name))?;
        let (ids, at, key) = (request_ids(events, REQUEST_ID)?, times(events, EVENT_TIME)?, keys(events, &self.key)?);
        let values = match &self.rules[rule].value {
            Some(column) => numbers(events, column)?,
            None => vec![Some(1.0); events.num_rows()],
        };
        for (((id, at), key), value) in ids.into_iter().zip(at).zip(key).zip(values) {
            let (Some(request), Some(at), Some(key), Some(value)) = (id, at, key, value.filter(|v| v.is_finite()))
            else {
                self.counters.malformed += 1;
                continue;
            };
            if at > now.plus(self.ahead) {
                self.counters.future += 1;
            } else if at < self.watermark {
                self.counters.late_labels += 1;
            } else {
                self.credit(&WaitingLabel { request, key, rule, hit: Hit { at, value } });
            }
        }
        Ok(())
    }

    fn credit(&mut self, label: &WaitingLabel) {
        match self.held.credit(label, self.rules[label.rule].window) {
            Credit::First => self.counters.credited += 1,
            Credit::Duplicate => self.counters.duplicate_labels += 1,
            Credit::OutsideWindow => self.counters.outside_window += 1,
            Credit::Unknown => match self.waiting.put(label) {
                Some(true) => {}
                Some(false) => self.counters.duplicate_labels += 1,
                None => self.counters.overflow_labels += 1,
            },
        }
    }

    /// Moves the watermark to `now − lateness`, if that is later, and gives out what has matured, oldest first.
    ///
    /// # Errors
    /// [`Error::External`] when Arrow cannot gather the rows.
    pub fn advance(&mut self, now: EventTime) -> Result<Vec<RecordBatch>> {
        self.watermark = self.watermark.max(now.minus(self.lateness));
        self.counters.orphans += self.waiting.expire(self.watermark);
        let mut batches = Vec::new();
        loop {
            let Some((rows, hits)) = self.held.mature(self.watermark, self.longest, BATCH_ROWS)? else { break };
            self.counters.matured += rows.num_rows() as u64;
            batches.push(self.labelled(&rows, &hits)?);
        }
        Ok(batches)
    }

    fn labelled(&self, rows: &RecordBatch, hits: &[Box<[Option<Hit>]>]) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = rows.columns().to_vec();
        for rule in 0..self.rules.len() {
            let of_rule = || hits.iter().map(|labels| labels[rule]);
            let values: Float64Array = of_rule().map(|hit| Some(hit.map_or(0.0, |hit| hit.value))).collect();
            let times: TimestampMicrosecondArray = of_rule().map(|hit| hit.map(|hit| hit.at.as_micros())).collect();
            debug_assert_eq!(values.len(), rows.num_rows(), "one set of labels per row");
            columns.push(std::sync::Arc::new(values));
            columns.push(std::sync::Arc::new(times.with_timezone("UTC")));
        }
        Ok(RecordBatch::try_new(self.output.arrow().clone(), columns)?)
    }
}

#[cfg(test)]
mod tests;
