//! What is kept of one key's events so that its features can be read at any moment from now on.

mod encode;

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use mlops_core::EventTime;
use mlops_core::time::DAY_US;

use super::events::Events;
use super::measure::Partial;
use super::plan::{HOPS, Plan, Slot};
use super::span::{Mode, TimeWindow, round_down};
use super::value::{Cell, Value};
use super::view::WindowView;
use crate::error::{Core, Result};

/// The events of one key as its windows need them: partial aggregates per day, hour and five minutes, and raw events where a
/// window begins or ends between those.
///
/// Reading at `t` gives what [`window_join`](super::window_join) gives at `t` over the same events, in whatever order they
/// came. (Quantile and frequent-item sketches that are no longer exact differ within their stated errors.)
///
/// Time only moves forward, by [`advance`](Self::advance); what no window can need any more is let go of then. An event that is
/// older than the view's lateness before that moment is late and does not count. So: feed events as they come, advance with
/// the clock of the stream, read at the moment that was advanced to or later. To build a state from history, feed it in the
/// order of event times and advance to each.
///
/// # Memory
/// Sawtooth, lifetime and tumbling windows take a bounded number of tiles, whatever the number of events. Exact windows take
/// every event that lies in them; [`events_max`](WindowView::events_max) bounds how many those may be, together with the head
/// of all others (the last five minutes), and how many ids are remembered (those within the lateness).
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use mlops_core::EventTime;
/// use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampSecondArray};
/// use mlops_features::window::{Events, Op, TimeWindow, Update, WindowState, WindowView};
/// use mlops_features::{Entity, KeyType, ValueType};
///
/// let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
/// let view = WindowView::builder("orders", customer)
///     .column("amount", ValueType::Float64)
///     .aggregate("amount", Op::Sum, TimeWindow::exact(Duration::from_secs(3_600)))
///     .build()?;
/// let rows = RecordBatch::try_from_iter([
///     ("customer_id", Arc::new(Int64Array::from(vec![7, 7])) as ArrayRef),
///     ("event_timestamp", Arc::new(TimestampSecondArray::from(vec![10, 20]))),
///     ("amount", Arc::new(Float64Array::from(vec![1.5, 2.0]))),
/// ])?;
/// let events = Events::read(&view, &rows)?;
/// let mut state = WindowState::new(&view);
/// assert_eq!(state.update(&events, 0)?, Update::Counted);
/// state.update(&events, 1)?;
/// let keys = [rows.column(0).slice(0, 1)];
/// let row = view.rows(&keys, &[&state], EventTime::from_secs(20))?;
/// let sum = row.column_by_name("amount_sum_1h").unwrap();
/// assert_eq!(sum.as_ref(), &Float64Array::from(vec![1.5])); // the event at the instant itself is not in the window yet
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct WindowState {
    view: WindowView,
    latest: i64,
    /// From when on raw events are kept.
    raw_from: i64,
    /// By time.
    raw: Vec<(i64, Arc<[Option<Value>]>)>,
    /// Times and ids of events that may be delivered again.
    ids: BTreeSet<(i64, u128)>,
    /// One per partial aggregate of the view.
    slots: Vec<SlotState>,
}

/// One partial aggregate over time.
#[derive(Clone, Debug, Default)]
struct SlotState {
    /// By their beginnings, per length.
    tiles: [BTreeMap<i64, Partial>; 3],
    /// From when on tiles are kept, per length; the end of time where none are.
    from: [i64; 3],
    /// Everything before [`base`](Self::base), where a lifetime is read.
    before: Option<Partial>,
    base: i64,
}

/// What became of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Update {
    /// It counts.
    Counted,
    /// One with the same time and id counts already.
    Duplicate,
    /// It came later than the view's lateness allows.
    Late,
}

impl WindowState {
    /// No events, at the beginning of time.
    pub fn new(view: &WindowView) -> Self {
        let mut state = Self {
            view: view.clone(),
            latest: i64::MIN,
            raw_from: i64::MIN,
            raw: Vec::new(),
            ids: BTreeSet::new(),
            slots: vec![SlotState::default(); view.plan().slots.len()],
        };
        state.retain();
        state
    }

    /// The view that it is about.
    pub fn view(&self) -> &WindowView {
        &self.view
    }

    /// The moment that it was advanced to; it can be read then and later.
    pub fn latest(&self) -> EventTime {
        EventTime::from_micros(self.latest)
    }

    /// Raw events held.
    pub fn raw_events(&self) -> usize {
        self.raw.len()
    }

    /// Whether it holds nothing that could change a value.
    pub fn is_empty(&self) -> bool {
        let nothing = |slot: &SlotState| slot.before.is_none() && slot.tiles.iter().all(BTreeMap::is_empty);
        self.raw.is_empty() && self.ids.is_empty() && self.slots.iter().all(nothing)
    }

    /// Takes the event `row` of `events`, whose key it does not look at.
    ///
    /// # Errors
    /// `Core(Invalid)` when the view's [`events_max`](WindowView::events_max) raw events or ids are held already: nothing is changed
    /// then. A sawtooth window holds fewer of them, and so does a shorter lateness.
    ///
    /// # Panics
    /// When there is no such row.
    pub fn update(&mut self, events: &Events, row: usize) -> Result<Update> {
        let (time, id) = (events.time(row).as_micros(), events.id(row));
        if time < self.ids_from() {
            return Ok(Update::Late);
        }
        if id.is_some_and(|id| self.ids.contains(&(time, id))) {
            return Ok(Update::Duplicate);
        }
        let keep_raw = time >= self.raw_from;
        self.ensure_room(self.raw.len() + usize::from(keep_raw), self.ids.len() + usize::from(id.is_some()))?;
        let values = events.values(row);
        for (state, slot) in self.slots.iter_mut().zip(&self.view.plan().slots) {
            let whole = Some(Value::Int(0));
            if let Some(value) = slot.column.map_or(&whole, |column| &values[column]) {
                state.add(slot, time, value)?;
            }
        }
        self.ids.extend(id.map(|id| (time, id)));
        if keep_raw {
            let at = self.raw.partition_point(|event| event.0 <= time);
            self.raw.insert(at, (time, values));
        }
        Ok(Update::Counted)
    }

    /// Moves to `now`, unless it is there or further already.
    ///
    /// # Errors
    /// `Core(Invalid)` beyond 2^55 values in one sketch.
    pub fn advance(&mut self, now: EventTime) -> Result<()> {
        let now = now.as_micros();
        if now <= self.latest {
            return Ok(());
        }
        self.latest = now;
        let plan = self.view.plan();
        for (state, slot) in self.slots.iter_mut().zip(&plan.slots) {
            state.close_days(slot, base(slot, &plan.windows, now))?;
        }
        self.retain();
        Ok(())
    }

    /// Adds the events of `other`, which must be others: say those of history up to a moment, and those of a stream from
    /// there on. Both are advanced to the later of their moments.
    ///
    /// # Errors
    /// [`Error::Changed`](crate::Error::Changed) when it is of another definition; `Core(Invalid)` when one event is known to be
    /// in both, or they hold more raw events or ids together than the view allows. Nothing but time is changed then.
    pub fn merge(&mut self, mut other: Self) -> Result<()> {
        encode::ensure_same(&self.view, other.view.fingerprint())?;
        self.advance(other.latest())?;
        other.advance(self.latest())?;
        if let Some((time, _)) = self.ids.intersection(&other.ids).next() {
            let value = format!("an event at {} in both", EventTime::from_micros(*time));
            return Err(Core::invalid("merged states", value, "of different events").into());
        }
        self.ensure_room(self.raw.len() + other.raw.len(), self.ids.len() + other.ids.len())?;
        for ((mine, theirs), slot) in self.slots.iter_mut().zip(other.slots).zip(&self.view.plan().slots) {
            mine.merge(slot, theirs)?;
        }
        self.ids.append(&mut other.ids);
        self.raw.append(&mut other.raw);
        self.raw.sort_by_key(|event| event.0);
        Ok(())
    }

    /// One value per feature of the view, at `t`.
    pub(crate) fn read(&self, t: i64) -> Result<Vec<Cell>> {
        if t < self.latest {
            let (t, latest) = (EventTime::from_micros(t), self.latest());
            return Err(Core::invalid("now", format!("{t}, before {latest}"), "at or after what the state saw").into());
        }
        let plan = self.view.plan();
        let mut cells = vec![Cell::Null; plan.ops.len()];
        for (state, slot) in self.slots.iter().zip(&plan.slots) {
            for reading in &slot.readings {
                let window = &plan.windows[reading.window];
                let partial = self.fold(state, slot, window, t)?;
                for feature in &reading.features {
                    cells[*feature] = plan.ops[*feature].read(&partial)?;
                }
            }
        }
        Ok(cells)
    }

    fn fold(&self, state: &SlotState, slot: &Slot, window: &TimeWindow, t: i64) -> Result<Partial> {
        let (start, end) = window.bounds(t);
        let mut partial = slot.measure.empty()?;
        if window.mode() != Mode::Lifetime {
            self.cover(&mut partial, state, slot, window, 0, start, end)?;
            return Ok(partial);
        }
        if let Some(before) = &state.before {
            slot.measure.merge(&mut partial, before)?;
        }
        self.cover(&mut partial, state, slot, window, 0, state.base, end)?;
        Ok(partial)
    }

    /// Adds what lies in `[start, end)`: whole tiles in the middle, finer ones on both sides, raw events at the ends.
    #[expect(clippy::too_many_arguments, reason = "it calls itself with most of them unchanged")]
    fn cover(
        &self,
        into: &mut Partial,
        state: &SlotState,
        slot: &Slot,
        window: &TimeWindow,
        level: usize,
        start: i64,
        end: i64,
    ) -> Result<()> {
        if start >= end {
            return Ok(());
        }
        let Some(level) = (level..HOPS.len()).find(|level| window.uses(*level)) else {
            self.add_raw(into, slot, start, end);
            return Ok(());
        };
        let (first, last) = (round_up(start, HOPS[level]), round_down(end, HOPS[level]));
        if first >= last {
            return self.cover(into, state, slot, window, level + 1, start, end);
        }
        self.cover(into, state, slot, window, level + 1, start, first)?;
        for tile in state.tiles[level].range(first..last) {
            slot.measure.merge(into, tile.1)?;
        }
        self.cover(into, state, slot, window, level + 1, last, end)
    }

    fn add_raw(&self, into: &mut Partial, slot: &Slot, start: i64, end: i64) {
        let from = self.raw.partition_point(|event| event.0 < start);
        let whole = Some(Value::Int(0));
        for (time, values) in self.raw[from..].iter().take_while(|event| event.0 < end) {
            if let Some(value) = slot.column.map_or(&whole, |column| &values[column]) {
                slot.measure.add(into, *time, value);
            }
        }
    }

    fn ids_from(&self) -> i64 {
        self.latest.saturating_sub(self.view.lateness_us())
    }

    fn ensure_room(&self, raw: usize, ids: usize) -> Result<()> {
        let most = self.view.events_max();
        if raw <= most && ids <= most {
            return Ok(());
        }
        let value = format!("{raw} raw events and {ids} ids of one key of `{}`", self.view.name());
        Err(Core::invalid("state", value, "within the view's `events_max`; sawtooth windows hold fewer").into())
    }

    /// Lets go of what no window can need at the latest moment or later.
    fn retain(&mut self) {
        let Plan { windows, slots, .. } = self.view.plan();
        for (state, slot) in self.slots.iter_mut().zip(slots) {
            let read = || slot.readings.iter().map(|reading| &windows[reading.window]);
            for level in 0..HOPS.len() {
                let from = read().filter(|window| window.uses(level)).map(|w| w.tiles_from(level, self.latest)).min();
                state.from[level] = from.unwrap_or(i64::MAX);
                state.tiles[level] = state.tiles[level].split_off(&state.from[level]);
            }
            state.base = base(slot, windows, self.latest);
        }
        self.raw_from = windows.iter().map(|window| window.raw_from(self.latest)).min().unwrap_or(i64::MAX);
        let gone = self.raw.partition_point(|event| event.0 < self.raw_from);
        self.raw.drain(..gone);
        self.ids = self.ids.split_off(&(self.ids_from(), 0));
    }
}

/// The least multiple of `step` that is not below `time`; the beginning of time counts as one.
fn round_up(time: i64, step: i64) -> i64 {
    match time.rem_euclid(step) {
        _ if time == i64::MIN => time,
        0 => time,
        over => time.saturating_add(step - over),
    }
}

/// Up to when the events of a lifetime are one partial aggregate at `now`; the beginning of time where no lifetime is read.
fn base(slot: &Slot, windows: &[TimeWindow], now: i64) -> i64 {
    let lifetimes = slot.readings.iter().map(|reading| &windows[reading.window]);
    let ends = lifetimes.filter(|window| window.mode() == Mode::Lifetime).map(|window| window.bounds(now).1);
    ends.min().map_or(i64::MIN, |end| round_down(end, DAY_US))
}

impl SlotState {
    fn add(&mut self, slot: &Slot, time: i64, value: &Value) -> Result<()> {
        if time < self.base {
            let before = match &mut self.before {
                Some(before) => before,
                none => none.insert(slot.measure.empty()?),
            };
            slot.measure.add(before, time, value);
        }
        for level in 0..HOPS.len() {
            let start = round_down(time, HOPS[level]);
            if start < self.from[level] {
                continue;
            }
            let tile = match self.tiles[level].entry(start) {
                Entry::Occupied(held) => held.into_mut(),
                Entry::Vacant(room) => room.insert(slot.measure.empty()?),
            };
            slot.measure.add(tile, time, value);
        }
        Ok(())
    }

    /// Adds the days before `base` to what was before them.
    fn close_days(&mut self, slot: &Slot, base: i64) -> Result<()> {
        if base <= self.base {
            return Ok(());
        }
        for tile in self.tiles[0].range(self.base..base) {
            let before = match &mut self.before {
                Some(before) => before,
                none => none.insert(slot.measure.empty()?),
            };
            slot.measure.merge(before, tile.1)?;
        }
        self.base = base;
        Ok(())
    }

    /// Adds what `other` holds, which was advanced to the same moment.
    fn merge(&mut self, slot: &Slot, other: Self) -> Result<()> {
        for (mine, theirs) in self.tiles.iter_mut().zip(other.tiles) {
            for (start, partial) in theirs {
                match mine.entry(start) {
                    Entry::Occupied(mut held) => {
                        slot.measure.merge(held.get_mut(), &partial)?;
                    }
                    Entry::Vacant(room) => {
                        room.insert(partial);
                    }
                }
            }
        }
        match (&mut self.before, other.before) {
            (Some(mine), Some(theirs)) => slot.measure.merge(mine, &theirs)?,
            (mine @ None, theirs) => *mine = theirs,
            (Some(_), None) => {}
        }
        Ok(())
    }
}

impl fmt::Debug for WindowState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tiles: usize = self.slots.iter().flat_map(|slot| &slot.tiles).map(BTreeMap::len).sum();
        let mut shown = f.debug_struct("WindowState");
        shown.field("view", self.view.name()).field("latest", &self.latest()).field("tiles", &tiles);
        shown.field("raw_events", &self.raw.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
