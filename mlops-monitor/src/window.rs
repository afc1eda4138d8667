//! What was served in each stretch of time: a profile of the logged columns, and counters.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::SchemaRef;
use mlops_core::profile::{Profile, ProfileOptions, Profiler};
use mlops_core::schema::Role;
use mlops_core::{Error, EventTime, Result, Schema, Window};
use serde::{Deserialize, Serialize};

use crate::format::FormatOne;
use crate::log::{self, DEGRADED, EVENT_TIME, POSITION, SCORE, TOOK_US};
use crate::tumbling::Tumbling;
use crate::{Latency, WindowCounters, WindowRule};

/// Counts of requests, and how long they took.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// Requests that were answered.
    pub requests: u64,
    /// Requests that were not.
    pub failures: u64,
    /// Answered requests with a late or skipped stage.
    pub degraded: u64,
    /// Candidates served.
    pub candidates: u64,
    /// Time from query to answer.
    pub latency: Latency,
}

impl Traffic {
    /// Adds the counts of `other`; exact.
    pub fn merge(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failures += other.failures;
        self.degraded += other.degraded;
        self.candidates += other.candidates;
        self.latency.merge(&other.latency);
    }

    fn answered(&mut self, took: Duration, is_degraded: bool) {
        self.requests += 1;
        self.degraded += u64::from(is_degraded);
        self.latency.update(took);
    }
}

/// One window, or several that were merged.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowStats {
    format: FormatOne,
    /// The stretch of event time.
    pub window: Window,
    /// How often it was given out before.
    pub revision: u32,
    /// Columns as they were served; of hidden ones no value is held.
    pub profile: Profile,
    /// Requests.
    pub traffic: Traffic,
}

impl WindowStats {
    /// Adds `other`, of the same or of another stretch of time; the window becomes the smallest that holds both.
    ///
    /// # Errors
    /// [`Error::Schema`] when the profiles have other columns; nothing is added then.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.profile.merge(&other.profile)?;
        self.traffic.merge(&other.traffic);
        self.window =
            Window { start: self.window.start.min(other.window.start), end: self.window.end.max(other.window.end) };
        self.revision = self.revision.max(other.revision);
        Ok(())
    }
}

/// Tumbling windows over a prediction log.
///
/// Each window holds a mergeable [`Profile`] of the chosen columns and the [`Traffic`]. Coarser spans are merges of
/// windows ([`span`](Self::span)), and so are the windows of several replicas ([`WindowStats::merge`]): both equal one
/// pass over all rows, to the errors that profiles state. Memory is that of one profile per window held.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use mlops_core::arrow::datatypes::{DataType, Field};
/// use mlops_core::{EventTime, Name};
/// use mlops_monitor::{WindowRule, Windows, log::PredictionLog};
///
/// let log = PredictionLog::builder(Name::new("impressions")?, Field::new("offer_id", DataType::Int64, false))
///     .feature(Field::new("price", DataType::Float64, true))
///     .build()?;
/// let hourly = WindowRule::builder(Duration::from_hours(1)).build()?;
/// let mut windows = Windows::builder(log.schema(), hourly).build()?;
/// let now = EventTime::from_secs(7_200);
/// for batch in log.drain(10_000)? {
///     windows.update(&batch, now)?;
/// }
/// for hour in windows.due(now) {
///     println!("{:?}: {} requests", hour.window, hour.traffic.requests);
/// }
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Windows {
    schema: SchemaRef,
    columns: Vec<String>,
    options: ProfileOptions,
    open: Tumbling<Open>,
    totals: Traffic,
}

#[derive(Debug, Clone)]
struct Open {
    profiler: Profiler,
    traffic: Traffic,
}

/// Builder of [`Windows`].
#[derive(Debug, Clone)]
pub struct WindowsBuilder {
    schema: Schema,
    rule: WindowRule,
    columns: Option<Vec<String>>,
    quantile_size: u16,
    top_values: usize,
}

impl WindowsBuilder {
    /// Columns that are profiled. Default: features, the blended score and the scores of all objectives.
    pub fn columns(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Size of the quantile sketch of each column; see [`ProfileOptions`]. Default 256.
    pub fn quantile_size(mut self, k: u16) -> Self {
        self.quantile_size = k;
        self
    }

    /// Size of the table of frequent texts of each column; see [`ProfileOptions`]. Default 256.
    pub fn top_values(mut self, size: usize) -> Self {
        self.top_values = size;
        self
    }

    /// Checks the settings. Columns whose values must not be shown are hidden in the profiles.
    ///
    /// # Errors
    /// [`Error::NotFound`] when a column is missing, [`Error::Invalid`] for sizes that profiles do not have.
    pub fn build(self) -> Result<Windows> {
        let is_score = |name: &str| name == SCORE || name.starts_with("score_");
        let by_default = || {
            let features = self.schema.with(Role::Feature);
            let chosen = |name: &&str| is_score(name) || features.contains(name);
            self.schema.names().filter(chosen).map(str::to_owned).collect()
        };
        let columns: Vec<String> = self.columns.clone().unwrap_or_else(by_default);
        let projected = self.schema.project(&columns)?;
        let mut options = ProfileOptions::builder().quantile_size(self.quantile_size).top_values(self.top_values);
        for hidden in projected.hidden() {
            options = options.hide(hidden);
        }
        Ok(Windows {
            schema: projected.arrow().clone(),
            columns,
            options: options.build()?,
            open: Tumbling::new(self.rule),
            totals: Traffic::default(),
        })
    }
}

impl Windows {
    /// Windows over rows of `schema`, such as [`PredictionLog::schema`](log::PredictionLog::schema).
    pub fn builder(schema: &Schema, rule: WindowRule) -> WindowsBuilder {
        WindowsBuilder { schema: schema.clone(), rule, columns: None, quantile_size: 256, top_values: 256 }
    }

    /// Adds rows of the log. A row at position 0 counts its request; rows without a readable time are counted as malformed.
    ///
    /// # Errors
    /// [`Error::NotFound`] when a column is missing, [`Error::Schema`] when one has another type; nothing is added then.
    pub fn update(&mut self, rows: &RecordBatch, now: EventTime) -> Result<()> {
        self.open.observe_now(now);
        let times = log::times(rows, EVENT_TIME)?;
        let (positions, took) = (log::integers(rows, POSITION)?, log::integers(rows, TOOK_US)?);
        let degraded = log::texts(rows, DEGRADED)?;
        let profiled = self.projected(rows)?;
        for (window, rows_inside) in by_window(&mut self.open, &times) {
            let open = open_in(&mut self.open, window, &self.schema, &self.options)?;
            let mut traffic = Traffic { candidates: rows_inside.len() as u64, ..Traffic::default() };
            for &row in &rows_inside {
                let row = row as usize;
                if positions[row] == Some(0) {
                    let us = took[row].and_then(|us| u64::try_from(us).ok()).unwrap_or(0);
                    traffic.answered(Duration::from_micros(us), degraded[row].is_some());
                }
            }
            if rows_inside.len() == rows.num_rows() {
                open.profiler.update(&profiled)?;
            } else {
                open.profiler.update(&take_record_batch(&profiled, &UInt32Array::from(rows_inside))?)?;
            }
            open.traffic.merge(&traffic);
            self.totals.merge(&traffic);
        }
        Ok(())
    }

    fn projected(&self, rows: &RecordBatch) -> Result<RecordBatch> {
        let place =
            |column: &String| rows.schema_ref().index_of(column).map_err(|_| Error::not_found("column", column));
        let indices = self.columns.iter().map(place).collect::<Result<Vec<_>>>()?;
        let projected = rows.project(&indices)?;
        for (have, want) in projected.schema_ref().fields().iter().zip(self.schema.fields()) {
            if have.data_type() != want.data_type() {
                return Err(Error::schema(want.name(), want.data_type(), have.data_type()));
            }
        }
        Ok(projected)
    }

    /// Counts an answered request without its rows, for hosts that log none, or an answer without candidates.
    ///
    /// # Errors
    /// None in practice: what an empty profile says.
    pub fn request(&mut self, at: EventTime, took: Duration, is_degraded: bool, now: EventTime) -> Result<()> {
        self.note(at, now, |traffic| traffic.answered(took, is_degraded))
    }

    /// Counts a request that failed.
    ///
    /// # Errors
    /// None in practice: what an empty profile says.
    pub fn failure(&mut self, at: EventTime, now: EventTime) -> Result<()> {
        self.note(at, now, |traffic| traffic.failures += 1)
    }

    fn note(&mut self, at: EventTime, now: EventTime, change: impl Fn(&mut Traffic)) -> Result<()> {
        self.open.observe_now(now);
        if let Some(window) = self.open.admit(at, 1) {
            change(&mut open_in(&mut self.open, window, &self.schema, &self.options)?.traffic);
            change(&mut self.totals);
        }
        Ok(())
    }

    /// Windows that are due at `now` and changed since they were given out, oldest first.
    pub fn due(&mut self, now: EventTime) -> Vec<WindowStats> {
        self.open.observe_now(now);
        self.open.due(stats)
    }

    /// All windows that are held, due or not, oldest first.
    pub fn all(&self) -> Vec<WindowStats> {
        self.open.iter().map(|(window, revision, open)| stats(window, revision, open)).collect()
    }

    /// Everything in the windows that lie wholly inside of `span`; `None` when there is none.
    ///
    /// # Errors
    /// None in practice: what merging profiles of one schema says.
    pub fn span(&self, span: Window) -> Result<Option<WindowStats>> {
        let inside = |window: &Window| span.start <= window.start && window.end <= span.end;
        let mut merged: Option<WindowStats> = None;
        for (window, revision, open) in self.open.iter().filter(|(window, ..)| inside(window)) {
            let next = stats(window, revision, open);
            match &mut merged {
                Some(merged) => merged.merge(&next)?,
                None => merged = Some(next),
            }
        }
        Ok(merged)
    }

    /// Everything counted since the start; never goes down.
    pub fn totals(&self) -> &Traffic {
        &self.totals
    }

    /// Rows that no window took.
    pub fn counters(&self) -> WindowCounters {
        self.open.counters
    }
}

fn stats(window: Window, revision: u32, open: &Open) -> WindowStats {
    let (profile, traffic) = (open.profiler.profile().clone(), open.traffic.clone());
    WindowStats { format: FormatOne, window, revision, profile, traffic }
}

fn open_in<'a>(
    open: &'a mut Tumbling<Open>,
    window: Window,
    schema: &SchemaRef,
    options: &ProfileOptions,
) -> Result<&'a mut Open> {
    let fresh = Profiler::new(schema, options)?;
    Ok(open.change(window, || Open { profiler: fresh, traffic: Traffic::default() }))
}

/// Row numbers by the window that takes them; the others are counted.
pub(crate) fn by_window<T>(open: &mut Tumbling<T>, times: &[Option<EventTime>]) -> Vec<(Window, Vec<u32>)> {
    let mut found: BTreeMap<EventTime, (Window, Vec<u32>)> = BTreeMap::new();
    for (row, at) in times.iter().enumerate() {
        let Some(at) = at else {
            open.counters.malformed += 1;
            continue;
        };
        if let Some(window) = open.admit(*at, 1) {
            found.entry(window.start).or_insert_with(|| (window, Vec::new())).1.push(row as u32);
        }
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests;
