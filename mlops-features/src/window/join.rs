//! Windows over history: for each entity row, what the events before its instant give.
//!
//! Entity rows are grouped by key and put in the order of their instants; so are the events, by their keys and times alone.
//! Then each column of events is read by itself and put in that order, and all of its partial aggregates slide over the
//! events of each key, all windows in step. That takes some 60 bytes per event whose key is asked for; where there is no room
//! for that or for the result, both sides are cut into partitions by the hash of the key, as in the as-of join.

use std::collections::BTreeMap;

use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::buffer::NullBuffer;
use mlops_core::Dataset;

use super::aligned::{History, Read};
use super::column::Column;
use super::output::Output;
use super::plan::{Plan, Slot};
use super::prefix::Prefix;
use super::sliding::{Timed, slide};
use super::value::Cell;
use super::view::WindowView;
use crate::error::{Core, Result};
use crate::offline::asof::group::SpineKeys;
use crate::offline::asof::joined::{Part, dataset};
use crate::offline::asof::native::{Joiner, KeySet, Side, feature_schema, key_set, partitions_of};
use crate::offline::asof::options::Room;
use crate::offline::asof::partition::Partitioner;
use crate::offline::asof::report::Tally;
use crate::offline::asof::spine::{Spine, cut};
use crate::offline::asof::{Origin, output_schema, time_column};
use crate::offline::{AsOfOptions, JoinReport, TrainingSet};
use crate::service::{ViewJoin, ViewUse};
use mlops_core::spill::{Spool, Spooled};

/// Bytes per event while it is put in order, and of its value.
const EVENT_BYTES: u64 = 64;

/// Bytes per value of a feature while it is computed.
const VALUE_BYTES: u64 = 9;

/// Some features of one window view, under one mapping of its keys: what [`window_join`] runs on.
#[derive(Clone, Debug)]
pub struct WindowJoin {
    view: WindowView,
    join: ViewJoin,
}

impl WindowJoin {
    /// All features of `view`, keys under their own names.
    pub fn new(view: &WindowView) -> Self {
        Self { view: view.clone(), join: ViewJoin::new(view.feature_view()) }
    }

    /// What `used` selects of `view`.
    ///
    /// # Errors
    /// As [`ViewJoin::of`].
    pub fn of(view: &WindowView, used: &ViewUse) -> Result<Self> {
        Ok(Self { view: view.clone(), join: ViewJoin::of(view.feature_view(), used)? })
    }

    /// What `join` selects of the features of `view`, which is about the same features.
    pub(crate) fn selecting(view: &WindowView, join: &ViewJoin) -> Self {
        Self { view: view.clone(), join: join.clone() }
    }

    /// The view.
    pub fn view(&self) -> &WindowView {
        &self.view
    }

    /// The same selection of the view of its values.
    pub fn join(&self) -> &ViewJoin {
        &self.join
    }
}

/// Joins to each row of `spine` the aggregates of each view over its windows at the instant `t` of the row.
///
/// Windows are half-open: an event at `t` itself does not count. No entity row is dropped, duplicated or reordered; one
/// without events has counts of 0 and nulls, one with a null in its key has nulls only. The order of events does not matter;
/// of events that are the same (see [`WindowView`]) the first counts. Of features that are not selected nothing is computed.
///
/// * `spine`: entity rows: key columns, an instant, and whatever else is to be kept.
/// * `views`: what to join, each with its events: rows with the key columns of its entity, event time, id if it has one, and the
///   columns that it aggregates.
///
/// In the reports, `matched` counts rows with an event in at least one window, and `age` is that of the latest such event;
/// `expired` rows have earlier events only, `future_only` rows later ones only. Time is linear in rows times windows, and
/// in events times windows, however many events of one key there are. Memory stays within what
/// [`AsOfOptions::memory_bytes`] says, but for the events of the densest key, some 60 bytes each.
///
/// # Errors
/// `Core(Schema)` for a missing column or one of another type, `Core(InvalidData)` for an instant, event time or id that is null
/// or a value that its type cannot hold, [`Error::Collision`](crate::Error::Collision) when two columns would have one name,
/// `Core(Conflict)` when events were others the second time they were read, `Core(Invalid)` above 4294967294 rows on either
/// side, or with [`as_known`](AsOfOptions::as_known): events are known when they happen.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use std::time::Duration;
/// use mlops_core::Dataset;
/// use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampSecondArray};
/// use mlops_features::offline::AsOfOptions;
/// use mlops_features::window::{Op, TimeWindow, WindowJoin, WindowView, window_join};
/// use mlops_features::{Entity, KeyType, ValueType};
///
/// let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build()?;
/// let orders = WindowView::builder("orders", customer)
///     .column("amount", ValueType::Float64)
///     .aggregates("amount", [Op::Sum, Op::Count], [TimeWindow::exact(Duration::from_secs(60))])
///     .build()?;
/// let table = |keys: Vec<i64>, times: Vec<i64>| [
///     ("customer_id", Arc::new(Int64Array::from(keys)) as ArrayRef),
///     ("event_timestamp", Arc::new(TimestampSecondArray::from(times))),
/// ];
/// let amounts: ArrayRef = Arc::new(Float64Array::from(vec![1.0, 2.0, 4.0]));
/// let events = table(vec![7, 7, 7], vec![0, 30, 60]).into_iter().chain([("amount", amounts)]);
/// let events = Dataset::from_batches([RecordBatch::try_from_iter(events)?])?;
/// let spine = Dataset::from_batches([RecordBatch::try_from_iter(table(vec![7, 8], vec![60, 60]))?])?;
///
/// let set = window_join(&spine, &[(WindowJoin::new(&orders), events)], &AsOfOptions::new())?;
/// let rows = set.dataset.to_batch()?;
/// assert_eq!(rows.column_by_name("amount_sum_1m").unwrap().as_ref(), &Float64Array::from(vec![Some(3.0), None]));
/// assert_eq!(rows.column_by_name("amount_count_1m").unwrap().as_ref(), &Int64Array::from(vec![2, 0]));
/// assert_eq!((set.reports[0].matched, set.reports[0].unknown_key), (1, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn window_join(spine: &Dataset, views: &[(WindowJoin, Dataset)], options: &AsOfOptions) -> Result<TrainingSet> {
    if options.is_as_known() {
        return Err(
            Core::invalid("as_known", true, "false for windows, whose events are known when they happen").into()
        );
    }
    let joins = || views.iter().map(|(join, _)| &join.join);
    let schema = output_schema(spine.schema(), joins(), options)?;
    let (room, time) = (options.room(), time_column(spine.schema(), options)?);
    let rows = Spine::read(spine, &time, &room)?;
    let mut joiner = Joiner::new(rows, joins(), room);
    let mut sides: BTreeMap<KeySet, Side> = BTreeMap::new();
    let (mut parts, mut reports) = (Vec::new(), Vec::new());
    for (join, events) in views {
        let by = key_set(&join.join);
        if !sides.contains_key(&by) {
            let mut side = joiner.side(&join.join)?;
            if let Side::Whole(keys) = &mut side {
                keys.sort_by_time();
            }
            sides.insert(by.clone(), side);
        }
        let (columns, report) = view(&mut joiner, &sides[&by], join, events)?;
        parts.extend(columns);
        reports.push(report);
    }
    drop(sides);
    let origins = views.iter().map(|(join, events)| Origin::windows(&join.join, join.view.fingerprint(), events));
    let set = TrainingSet::new(dataset(schema, joiner.spine, parts)?, reports);
    Ok(set.with_origins(spine, origins.collect(), options))
}

/// The selected features of one view, whole where there is room for it, else by partition of the keys.
fn view(joiner: &mut Joiner, side: &Side, join: &WindowJoin, events: &Dataset) -> Result<(Vec<Part>, JoinReport)> {
    let mut tally = Tally::new(&joiner.room);
    let bytes = joiner.room.bytes.saturating_sub(joiner.held) / 2;
    let width = VALUE_BYTES * join.join.feature_indices().len() as u64;
    let partitions = match side {
        Side::Parts { partitioner, narrow, numbers } => {
            let rows = by_partition(joiner, join, events, partitioner, narrow, &mut tally)?;
            return Ok((vec![Part::Scattered { rows, numbers: numbers.clone() }], tally.finish(join.join.label())?));
        }
        Side::Whole(keys) if keys.total() as u64 * width <= bytes => {
            let most = Room::count(bytes, EVENT_BYTES);
            match History::read(&join.view, events, keys, joiner.room.block_rows(), most)? {
                Read::All(history) => {
                    (tally.history_rows, tally.history_null_keys) = (history.rows() as u64, history.null_keys());
                    let columns = aggregate(join, events, keys, &history, &mut tally)?;
                    return Ok((vec![part(joiner, join, columns)?], tally.finish(join.join.label())?));
                }
                Read::TooMany(found) => partitions_of(found as u64 * EVENT_BYTES, &joiner.room),
            }
        }
        Side::Whole(keys) => partitions_of(keys.total() as u64 * width, &joiner.room),
    };
    let side = joiner.scattered(&join.join, partitions)?;
    view(joiner, &side, join, events)
}

/// Columns in memory while there is room, else in a file.
fn part(joiner: &mut Joiner, join: &WindowJoin, columns: Vec<ArrayRef>) -> Result<Part> {
    let bytes = columns.iter().map(|column| column.get_array_memory_size() as u64).sum::<u64>();
    if joiner.held + bytes <= joiner.room.bytes / 4 * 3 {
        joiner.held += bytes;
        return Ok(Part::Held(columns));
    }
    let schema = feature_schema(&join.join.features().collect::<Vec<_>>());
    let mut spool = Spool::create(joiner.room.folder(), schema.clone(), 1)?;
    cut(&RecordBatch::try_new(schema, columns)?, joiner.room.block_rows())
        .iter()
        .try_for_each(|block| spool.write(0, block))?;
    Ok(Part::Filed(spool.close()))
}

fn by_partition(
    joiner: &Joiner,
    join: &WindowJoin,
    events: &Dataset,
    partitioner: &Partitioner,
    narrow: &Spooled,
    tally: &mut Tally,
) -> Result<Spooled> {
    let view = &join.view;
    let mut others: Vec<&str> = view.event_id().into_iter().collect();
    others.extend(view.columns().iter().map(|column| column.name.as_str()));
    let times = [view.event_time()];
    let scattered = joiner.scatter_history(view.entity(), (&times, &others), events, partitioner, tally)?;
    let block_rows = joiner.room.block_rows();
    joiner.by_partition(narrow, &scattered, &join.join, &mut |mut keys, events, emit| {
        keys.sort_by_time();
        match History::read(view, events, &keys, block_rows, usize::MAX)? {
            Read::All(history) => emit(aggregate(join, events, &keys, &history, tally)?),
            Read::TooMany(found) => {
                Err(Core::invalid("events of one key", found, "fewer than memory has room for").into())
            }
        }
    })
}

/// The columns of the selected features of one view.
fn aggregate(
    join: &WindowJoin,
    events: &Dataset,
    keys: &SpineKeys,
    history: &History,
    tally: &mut Tally,
) -> Result<Vec<ArrayRef>> {
    let view = &join.view;
    let plan = view.plan();
    let mut blanks = vec![Cell::Null; plan.ops.len()];
    for slot in &plan.slots {
        let empty = slot.measure.empty()?;
        for feature in slot.readings.iter().flat_map(|reading| &reading.features) {
            blanks[*feature] = plan.ops[*feature].read(&empty)?;
        }
    }
    let features = view.feature_view().features();
    let mut outputs: Vec<Option<Output>> = features.iter().map(|_| None).collect();
    for at in join.join.feature_indices() {
        outputs[*at] = Some(Output::new(features[*at].value_type, &blanks[*at], keys.total()));
    }
    let slots = selected(plan, &outputs);
    let mut sweep = Sweep { plan, keys, history, outputs, ranges: Vec::new() };
    tally.null_key += keys.null_keys();
    sweep.whole(&slots, tally)?;
    for at in 0..view.columns().len() {
        let of_column: Vec<&Slot> = slots.iter().filter(|slot| slot.column == Some(at)).collect();
        if !of_column.is_empty() {
            let column = Column::read(view, at, events, history)?;
            sweep.column(&of_column, &column)?;
        }
    }
    let (mut outputs, nobody) = (sweep.outputs, nobody(keys));
    let columns = join.join.feature_indices().iter().filter_map(|at| Some((outputs[*at].take()?, &features[*at].name)));
    columns.map(|(output, name)| output.finish(name.as_str(), nobody.as_ref())).collect()
}

/// Which rows have a key; `None` when all have.
fn nobody(keys: &SpineKeys) -> Option<NullBuffer> {
    if keys.null_keys() == 0 {
        return None;
    }
    let mut known = vec![false; keys.total()];
    keys.rows().iter().for_each(|row| known[*row as usize] = true);
    Some(known.into())
}

/// The partial aggregates that the features with an output are read from.
fn selected(plan: &Plan, outputs: &[Option<Output>]) -> Vec<Slot> {
    let mut slots = plan.slots.clone();
    for slot in &mut slots {
        for reading in &mut slot.readings {
            reading.features.retain(|feature| outputs[*feature].is_some());
        }
        slot.readings.retain(|reading| !reading.features.is_empty());
    }
    slots.retain(|slot| !slot.readings.is_empty());
    slots
}

/// Positions of the windows of `slots`, each once.
fn windows<'a>(slots: impl Iterator<Item = &'a Slot>) -> Vec<usize> {
    let mut windows: Vec<usize> = slots.flat_map(|slot| slot.readings.iter().map(|reading| reading.window)).collect();
    windows.sort_unstable();
    windows.dedup();
    windows
}

/// One view being computed.
struct Sweep<'a> {
    plan: &'a Plan,
    keys: &'a SpineKeys,
    history: &'a History,
    /// Per feature of the view; `None` where it is not selected.
    outputs: Vec<Option<Output>>,
    /// Per window, the stretch of events of each entity row of one group.
    ranges: Vec<Vec<(u32, u32)>>,
}

impl Sweep<'_> {
    /// What depends on times alone: the report, and the numbers of whole events.
    fn whole(&mut self, slots: &[Slot], tally: &mut Tally) -> Result<()> {
        let used = windows(slots.iter());
        let counted: Vec<&Slot> = slots.iter().filter(|slot| slot.column.is_none()).collect();
        let (keys, history) = (self.keys, self.history);
        for group in 0..keys.groups() {
            let (rows, times) = (&keys.rows()[keys.range(group)], &keys.times()[keys.range(group)]);
            let events = history.times(group);
            if events.is_empty() {
                tally.unknown_key += rows.len() as u64;
                continue;
            }
            self.place(&used, times, events);
            for (at, t) in times.iter().enumerate() {
                let ends = used.iter().map(|window| self.ranges[*window][at]).filter(|(start, end)| start < end);
                match ends.map(|(_, end)| end).max() {
                    Some(end) => tally.ages.push(t.wrapping_sub(events[end as usize - 1]) as u64)?,
                    None if events[0] < *t => tally.expired += 1,
                    None => tally.future_only += 1,
                }
            }
            for reading in counted.iter().flat_map(|slot| &slot.readings) {
                for (row, (start, end)) in rows.iter().zip(&self.ranges[reading.window]) {
                    for feature in &reading.features {
                        if let Some(Output::Counts(counts)) = &mut self.outputs[*feature] {
                            counts[*row as usize] = i64::from(end - start);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The partial aggregates of one column.
    fn column(&mut self, slots: &[&Slot], column: &Column) -> Result<()> {
        let used = windows(slots.iter().copied());
        let (keys, history) = (self.keys, self.history);
        let mut prefix = Prefix::default();
        for group in 0..keys.groups() {
            let (rows, times) = (&keys.rows()[keys.range(group)], &keys.times()[keys.range(group)]);
            let events = history.range(group);
            if events.is_empty() {
                continue;
            }
            self.place(&used, times, history.times(group));
            prefix.count(column, events.clone());
            let mut timed: Option<Vec<Timed>> = None;
            for slot in slots {
                if prefix.sum(&slot.measure, column, events.clone()) {
                    self.read_prefix(slot, &prefix, rows);
                    continue;
                }
                let timed = timed.get_or_insert_with(|| history.timed(group, column));
                self.read_slide(slot, &prefix, timed, rows)?;
            }
        }
        Ok(())
    }

    fn read_prefix(&mut self, slot: &Slot, prefix: &Prefix, rows: &[u32]) {
        for reading in &slot.readings {
            let ranges = self.ranges[reading.window].iter();
            let found = rows.iter().zip(ranges).map(|(row, range)| (*row as usize, *range));
            prefix.read(&self.plan.ops, &reading.features, found, &mut self.outputs);
        }
    }

    fn read_slide(&mut self, slot: &Slot, prefix: &Prefix, events: &[Timed], rows: &[u32]) -> Result<()> {
        for reading in &slot.readings {
            let ranges = self.ranges[reading.window].iter();
            let present: Vec<_> = ranges.map(|(start, end)| prefix.before(*start)..prefix.before(*end)).collect();
            let ops: Vec<_> = reading.features.iter().map(|feature| &self.plan.ops[*feature]).collect();
            let outputs = &mut self.outputs;
            slide(&slot.measure, &ops, events, &present, |at, op, cell| {
                if let Some(output) = &mut outputs[reading.features[op]] {
                    output.set(rows[at] as usize, cell);
                }
            })?;
        }
        Ok(())
    }

    /// Finds the stretches of `windows` at `times` among `events`, all ascending, in one walk per window.
    fn place(&mut self, windows: &[usize], times: &[i64], events: &[i64]) {
        debug_assert!(times.is_sorted() && events.is_sorted());
        self.ranges.resize_with(self.plan.windows.len(), Vec::new);
        for window in windows {
            let (window, ranges) = (&self.plan.windows[*window], &mut self.ranges[*window]);
            ranges.clear();
            let (mut start, mut end) = (0, 0);
            for t in times {
                let (from, until) = window.bounds(*t);
                start += events[start..].iter().take_while(|time| **time < from).count();
                end += events[end..].iter().take_while(|time| **time < until).count();
                ranges.push((start as u32, end as u32));
            }
        }
    }
}

#[cfg(test)]
mod tests;
