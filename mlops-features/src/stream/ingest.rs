//! Takes events from a stream and lets them have their effect, each once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::take;
use mlops_core::{Name, Schema};
use serde::{Deserialize, Serialize};

use super::{Events as Delivered, Polled, StreamSource, WindowStates};
use crate::error::{Core, Result};
use crate::ingest::{Checks, Passed, Push, Target};
use crate::key::{Keys, pick};
use crate::online::StateStore;
use crate::wait::block_on;
use crate::window::{Events, Update, WindowState, WindowView};

/// Reasons why events could not be read that a report quotes.
const REASONS_MAX: usize = 16;

/// How often events of one delivery are brought into the state of their key anew because another ingest was faster.
const CONFLICT_TRIES_MAX: usize = 16;

/// What became of the events of a stream. `counted`, `duplicates`, `late` and `null_keys` are about window views, each event
/// once per view.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamReport {
    /// Events that were delivered and could be read.
    pub events: u64,
    /// Deliveries that could not be read.
    pub unreadable: u64,
    /// Why, for the first sixteen.
    pub reasons: Vec<String>,
    /// Events that failed a check and were set aside.
    pub set_aside: u64,
    /// Events that are in the windows of their key now.
    pub counted: u64,
    /// Events that were there already.
    pub duplicates: u64,
    /// Events that came later than the view's lateness.
    pub late: u64,
    /// Events with a null in their key, which are nobody's.
    pub null_keys: u64,
    /// Deliveries.
    pub batches: u64,
    /// Position up to which everything was acknowledged.
    pub position: Option<u64>,
}

/// Lets events of a stream have their effect: on history and online rows of views, and on the windows of their key.
///
/// Events are acknowledged when all stores have acknowledged what they did, and not before. What was cut off in between is
/// delivered and done again: rows because the greatest times win whatever is repeated, windows because the state of a key
/// knows the ids of the events in it. So an event counts exactly once, as long as it is not delivered again later than the
/// view's lateness allows; then it is `late`, and does not count twice either.
///
/// Several ingests may feed one window view, in one process or many, say while one takes over from another: the state of a
/// key is read, changed, and put back only where it still is the one that was read; where another was faster, that is done
/// anew. They are in each other's way then: let each have keys of its own where there is much to do. What an ingest finds late
/// depends on how far others have brought the key.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampSecondArray};
/// use mlops_features::online::MemoryStore;
/// use mlops_features::stream::{StreamIngest, channel};
/// use mlops_features::window::{Op, TimeWindow, WindowView};
/// use mlops_features::{Entity, KeyType, ValueType};
///
/// let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
/// let orders = WindowView::builder("orders", customer)
///     .column("amount", ValueType::Float64)
///     .event_id("order_id")
///     .aggregate("amount", Op::Sum, TimeWindow::exact(Duration::from_secs(3_600)))
///     .lateness(Duration::from_secs(600))
///     .build()?;
/// let ingest = StreamIngest::builder("orders")?.windows(&orders, Arc::new(MemoryStore::new()))?.build()?;
///
/// let (sender, mut source) = channel(1_000);
/// let event = RecordBatch::try_from_iter([
///     ("customer_id", Arc::new(Int64Array::from(vec![7])) as ArrayRef),
///     ("event_timestamp", Arc::new(TimestampSecondArray::from(vec![10]))),
///     ("order_id", Arc::new(Int64Array::from(vec![1]))),
///     ("amount", Arc::new(Float64Array::from(vec![1.5]))),
/// ])?;
/// sender.send(event.clone())?;
/// sender.send(event)?; // delivered twice
/// drop(sender);
/// let report = ingest.run(&mut source, &mut |_| true)?;
/// assert_eq!((report.counted, report.duplicates), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct StreamIngest {
    name: Name,
    checks: Option<Checks>,
    pushes: Vec<(Push, Target)>,
    windows: Vec<(WindowStates, Arc<dyn StateStore>)>,
    batch_events: usize,
    wait: Duration,
}

impl StreamIngest {
    /// Starts an ingest of this name.
    ///
    /// # Errors
    /// `Core(Invalid)` for a bad name.
    pub fn builder(name: impl AsRef<str>) -> Result<StreamIngestBuilder> {
        Ok(StreamIngestBuilder(Self {
            name: Name::new(name)?,
            checks: None,
            pushes: Vec::new(),
            windows: Vec::new(),
            batch_events: 4_096,
            wait: Duration::from_millis(200),
        }))
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Takes events from `source`, from the first that was not acknowledged, until it ends. Calls `progress` after each
    /// delivery, and when there is none for a while; it may answer false to stop there.
    ///
    /// This is a plain call that waits for source and stores: on an async runtime, run it on a thread of its own.
    ///
    /// # Errors
    /// Whatever keeps the source from delivering or a store from writing; `Core(Schema)` or `Core(InvalidData)` for events that are
    /// not those of the views, `Core(Rejected)` for those that fail checks and are not set aside, `Core(Conflict)` when other
    /// ingests changed the state of a key each of 16 times. Events whose effect is not certain were not acknowledged: run again.
    pub fn run(
        &self,
        source: &mut dyn StreamSource,
        progress: &mut dyn FnMut(&StreamReport) -> bool,
    ) -> Result<StreamReport> {
        let mut report = StreamReport::default();
        source.resume()?;
        loop {
            match source.poll(self.batch_events, self.wait)? {
                Polled::Ended => return Ok(report),
                Polled::Idle => {}
                Polled::Events(delivered) => {
                    let position = delivered.position;
                    self.take(delivered, &mut report)?;
                    source.acknowledge(position)?;
                    report.position = Some(position);
                }
            }
            if !progress(&report) {
                return Ok(report);
            }
        }
    }

    /// All effects of one delivery.
    fn take(&self, delivered: Delivered, report: &mut StreamReport) -> Result<()> {
        let Delivered { rows, unreadable, .. } = delivered;
        report.batches += 1;
        report.events += rows.num_rows() as u64;
        report.unreadable += unreadable.len() as u64;
        let room = REASONS_MAX - report.reasons.len().min(REASONS_MAX);
        report.reasons.extend(unreadable.into_iter().take(room));
        if rows.num_rows() == 0 {
            return Ok(());
        }
        let rows = match &self.checks {
            None => rows,
            Some(checks) => {
                let Passed { rows, set_aside } = checks.pass(&self.name, &Schema::new(rows.schema())?, rows)?;
                report.set_aside += set_aside;
                rows
            }
        };
        for (push, target) in &self.pushes {
            push.push(&rows, *target)?;
        }
        self.windows.iter().try_for_each(|(states, store)| update(states, store.as_ref(), &rows, report))
    }
}

/// Events of one delivery for one window view.
struct Arrivals<'a> {
    states: &'a WindowStates,
    store: &'a dyn StateStore,
    events: Events,
    /// Rows of each key, by its bytes.
    groups: Vec<Vec<u32>>,
    /// One row per group.
    keys: Vec<ArrayRef>,
}

/// What became of the events of one key.
#[derive(Default)]
struct Outcome {
    counted: u64,
    duplicates: u64,
    late: u64,
}

/// Brings `rows` into the windows of their keys.
fn update(states: &WindowStates, store: &dyn StateStore, rows: &RecordBatch, report: &mut StreamReport) -> Result<()> {
    let events = Events::read(states.windows(), rows)?;
    let groups: Vec<Vec<u32>> = by_key(events.keys()).into_values().collect();
    report.null_keys += (events.len() - groups.iter().map(Vec::len).sum::<usize>()) as u64;
    let firsts = UInt32Array::from_iter_values(groups.iter().map(|rows| rows[0]));
    let names: Vec<Name> = states.windows().entity().keys().iter().map(|key| key.name.clone()).collect();
    let keys = pick(rows, &names)?;
    let keys = keys.iter().map(|column| Ok(take(column, &firsts, None)?)).collect::<Result<Vec<ArrayRef>>>()?;
    let arrivals = Arrivals { states, store, events, groups, keys };
    let mut open: Vec<u32> = (0..arrivals.groups.len() as u32).collect();
    for _ in 0..CONFLICT_TRIES_MAX {
        if open.is_empty() {
            return Ok(());
        }
        open = arrivals.bring(&open, report)?;
    }
    let (kind, name) = ("states of window view", states.windows().name().to_string());
    let (expected, found) = ("as they were read".to_owned(), format!("{} others are faster at", open.len()));
    Err(Core::Conflict { kind, name, expected, found }.into())
}

impl Arrivals<'_> {
    /// Brings the events of the groups `open` into their states; gives the groups whose states others have changed meanwhile.
    fn bring(&self, open: &[u32], report: &mut StreamReport) -> Result<Vec<u32>> {
        let columns = self.keys_of(open)?;
        let keys = Keys::new(self.states.windows().entity(), &columns)?;
        let stored = block_on(self.store.read(&[self.states.read(&keys)]))?;
        let stored = stored.first().ok_or_else(|| Core::schema("online store", "one answer per read", "none"))?;
        let (mut changed, mut states, mut seen, mut outcomes) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for (position, state) in self.states.parse(stored)?.into_iter().enumerate() {
            let mut state = state.unwrap_or_else(|| WindowState::new(self.states.windows()));
            let outcome = self.bring_one(&mut state, &self.groups[open[position] as usize])?;
            if outcome.counted == 0 {
                report.add(&outcome);
                continue;
            }
            changed.push(open[position]);
            states.push(state);
            seen.push(stored.times(position));
            outcomes.push(outcome);
        }
        if changed.is_empty() {
            return Ok(Vec::new());
        }
        let rows = self.states.rows(&self.keys_of(&changed)?, &states, &seen)?;
        let put = block_on(self.store.replace(self.states.stored(), &rows, &seen))?;
        if put.len() != changed.len() {
            let found = format!("{} answers for {} rows", put.len(), changed.len());
            return Err(Core::schema("online store", "one answer per row", found).into());
        }
        outcomes.iter().zip(&put).filter(|(_, put)| **put).for_each(|(outcome, _)| report.add(outcome));
        Ok(changed.into_iter().zip(put).filter_map(|(group, put)| (!put).then_some(group)).collect())
    }

    fn keys_of(&self, groups: &[u32]) -> Result<Vec<ArrayRef>> {
        let groups = UInt32Array::from(groups.to_vec());
        self.keys.iter().map(|column| Ok(take(column, &groups, None)?)).collect()
    }

    /// Brings events of one key into its state.
    fn bring_one(&self, state: &mut WindowState, rows: &[u32]) -> Result<Outcome> {
        let mut outcome = Outcome::default();
        for row in rows {
            *match state.update(&self.events, *row as usize)? {
                Update::Counted => &mut outcome.counted,
                Update::Duplicate => &mut outcome.duplicates,
                Update::Late => &mut outcome.late,
            } += 1;
        }
        // Only after all of them: within one delivery no event is late because of another.
        if let Some(latest) = rows.iter().map(|row| self.events.time(*row as usize)).max() {
            state.advance(latest)?;
        }
        Ok(outcome)
    }
}

impl StreamReport {
    fn add(&mut self, outcome: &Outcome) {
        self.counted += outcome.counted;
        self.duplicates += outcome.duplicates;
        self.late += outcome.late;
    }
}

/// Rows of each key that is not null, in the order of its bytes.
fn by_key(keys: &Keys) -> BTreeMap<Vec<u8>, Vec<u32>> {
    let mut groups: BTreeMap<Vec<u8>, Vec<u32>> = BTreeMap::new();
    for row in 0..keys.len() {
        let mut key = Vec::new();
        if keys.encode(row, &mut key) {
            groups.entry(key).or_default().push(row as u32);
        }
    }
    groups
}

impl fmt::Debug for StreamIngest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let windows: Vec<_> = self.windows.iter().map(|(states, _)| states.windows().name()).collect();
        let pushes: Vec<_> = self.pushes.iter().map(|(push, _)| push.view().name()).collect();
        let mut shown = f.debug_struct("StreamIngest");
        shown.field("name", &self.name).field("pushes", &pushes).field("windows", &windows).finish_non_exhaustive()
    }
}

/// Collects the settings of a [`StreamIngest`].
#[derive(Clone, Debug)]
pub struct StreamIngestBuilder(StreamIngest);

impl StreamIngestBuilder {
    /// What events must be, before they have any effect. Default: what their views say. A clock that runs ahead moves the
    /// windows of its key ahead, for good: a bound on event times keeps such events out.
    pub fn checks(mut self, checks: Checks) -> Self {
        self.0.checks = Some(checks);
        self
    }

    /// Brings events as rows of a view to history, online or both. Give the events of a window view to history this way:
    /// training sets are made of it.
    pub fn push(mut self, push: Push, target: Target) -> Self {
        self.0.pushes.push((push, target));
        self
    }

    /// Brings events into the windows of their keys, whose states are kept in `store`.
    ///
    /// # Errors
    /// `Core(Invalid)` when the view has no event id, without which an event that is delivered twice counts twice, or its
    /// name is too long for its states.
    pub fn windows(mut self, view: &WindowView, store: Arc<dyn StateStore>) -> Result<Self> {
        if view.event_id().is_none() {
            let value = format!("none in `{}`", view.name());
            return Err(Core::invalid("event id", value, "a column that tells repeated deliveries").into());
        }
        self.0.windows.push((WindowStates::new(view)?, store));
        Ok(self)
    }

    /// Most events of one delivery, which bounds memory. Default 4096.
    pub fn batch_events(mut self, most: usize) -> Self {
        self.0.batch_events = most;
        self
    }

    /// How long to wait for events before progress is reported. Default 200 ms.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.0.wait = wait;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// `Core(Invalid)` when events would have no effect, or a delivery no event.
    pub fn build(self) -> Result<StreamIngest> {
        if self.0.pushes.is_empty() && self.0.windows.is_empty() {
            return Err(Core::invalid("effects of a stream", "none", "a push or a window view").into());
        }
        if self.0.batch_events == 0 {
            return Err(Core::invalid("batch_events", 0, "at least 1").into());
        }
        Ok(self.0)
    }
}
