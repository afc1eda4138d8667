//! Entity rows and events side by side: by key, each in the order of time.

use std::ops::Range;

use arrow::array::RecordBatch;
use mlops_core::{Dataset, Name};

use super::column::Column;
use super::events::ids;
use super::sliding::Timed;
use super::view::WindowView;
use crate::columns::{ensure_no_nulls, micros};
use crate::error::{Core, Result};
use crate::key::{Keys, pick};
use crate::offline::asof::group::{NONE, SpineKeys, starts};
use crate::offline::asof::{ensure_countable, scan};

/// Entity rows with a key, by group, each group in the order of its instants.
pub(super) struct Asked {
    starts: Vec<u32>,
    rows: Vec<u32>,
    times: Vec<i64>,
}

impl Asked {
    pub(super) fn new(keys: &SpineKeys) -> Self {
        let mut asked = Self { starts: vec![0], rows: Vec::new(), times: Vec::new() };
        let mut order: Vec<(i64, u32)> = Vec::new();
        for group in 0..keys.groups() {
            let range = keys.range(group);
            order.clear();
            order.extend(keys.times()[range.clone()].iter().copied().zip(keys.rows()[range].iter().copied()));
            order.sort_unstable();
            asked.times.extend(order.iter().map(|(time, _)| *time));
            asked.rows.extend(order.iter().map(|(_, row)| *row));
            asked.starts.push(asked.rows.len() as u32);
        }
        asked
    }

    pub(super) fn groups(&self) -> usize {
        self.starts.len() - 1
    }

    /// Positions and instants of the entity rows of `group`.
    pub(super) fn group(&self, group: usize) -> (&[u32], &[i64]) {
        let range = self.starts[group] as usize..self.starts[group + 1] as usize;
        (&self.rows[range.clone()], &self.times[range])
    }

    /// Positions of all of them.
    pub(super) fn rows(&self) -> impl Iterator<Item = usize> {
        self.rows.iter().map(|row| *row as usize)
    }
}

/// Events whose keys occur among the entity rows, by group, each group in the order of time; every event once.
pub(super) struct History {
    starts: Vec<u32>,
    times: Vec<i64>,
    /// Per row of the source its place, or [`NONE`].
    places: Vec<u32>,
    null_keys: u64,
    block_rows: usize,
}

/// When an event happened, and its position in the source.
type Moment = (i64, u32);

/// What reading events came to.
pub(super) enum Read {
    All(History),
    /// So many are of keys that are asked for.
    TooMany(usize),
}

impl History {
    /// Reads keys and times of `events`, holding at most `most` of them.
    pub(super) fn read(
        view: &WindowView,
        events: &Dataset,
        keys: &SpineKeys,
        block_rows: usize,
        most: usize,
    ) -> Result<Read> {
        let names: Vec<Name> = view.entity().keys().iter().map(|key| key.name.clone()).collect();
        let mut columns: Vec<&str> = names.iter().map(Name::as_str).collect();
        columns.push(view.event_time());
        columns.extend(view.event_id());
        let (mut groups, mut moments, mut known) = (Vec::new(), Vec::new(), Vec::new());
        let (mut found, mut rows, mut null_keys, mut kept) = (Vec::new(), 0, 0, 0);
        for batch in scan(events, &columns, block_rows)? {
            let batch: RecordBatch = batch?;
            let time = batch.column(names.len());
            ensure_no_nulls(time, view.event_time())?;
            let times = micros(time, view.event_time())?;
            ensure_countable("events", rows + batch.num_rows())?;
            found.clear();
            null_keys += keys.find(&Keys::new(view.entity(), &pick(&batch, &names)?)?, &mut found);
            kept += found.iter().filter(|group| **group != NONE).count();
            if kept > most {
                (groups, moments, known) = (Vec::new(), Vec::new(), Vec::new());
                continue;
            }
            if let Some(name) = view.event_id() {
                known.extend(ids(batch.column(names.len() + 1), name)?);
            }
            let here = found.iter().zip(times.values()).enumerate().filter(|(_, (group, _))| **group != NONE);
            for (at, (group, time)) in here {
                groups.push(*group);
                moments.push((*time, (rows + at) as u32));
            }
            rows += batch.num_rows();
        }
        if kept > most {
            return Ok(Read::TooMany(kept));
        }
        let mut starts = starts(&groups, keys.groups());
        let mut moments = by_group(&groups, &moments, &starts);
        drop(groups);
        for group in 0..keys.groups() {
            moments[starts[group] as usize..starts[group + 1] as usize].sort_unstable();
        }
        if view.event_id().is_some() {
            keep_first(&mut moments, &mut starts, &known);
        }
        let mut places = vec![NONE; rows];
        moments.iter().enumerate().for_each(|(at, (_, row))| places[*row as usize] = at as u32);
        let times = moments.into_iter().map(|(time, _)| time).collect();
        Ok(Read::All(Self { starts, times, places, null_keys, block_rows }))
    }

    /// Rows of the source.
    pub(super) fn rows(&self) -> usize {
        self.places.len()
    }

    /// Rows of the source that are read at once.
    pub(super) fn block_rows(&self) -> usize {
        self.block_rows
    }

    /// Rows of the source with a null in their key.
    pub(super) fn null_keys(&self) -> u64 {
        self.null_keys
    }

    /// Events that are kept.
    pub(super) fn kept(&self) -> usize {
        self.times.len()
    }

    /// Per row of the source its place among those that are kept, or [`NONE`].
    pub(super) fn places(&self) -> &[u32] {
        &self.places
    }

    /// Places of the events of `group`.
    pub(super) fn range(&self, group: usize) -> Range<usize> {
        self.starts[group] as usize..self.starts[group + 1] as usize
    }

    /// Times of the events of `group`.
    pub(super) fn times(&self, group: usize) -> &[i64] {
        &self.times[self.range(group)]
    }

    /// The present values of `column` of the events of `group`, in the order of time, then value.
    pub(super) fn timed(&self, group: usize, column: &Column) -> Vec<Timed> {
        let present = self.range(group).filter_map(|at| column.get(at).map(|value| (self.times[at], value)));
        let mut timed: Vec<Timed> = present.collect();
        if !timed.is_sorted() {
            timed.sort();
        }
        timed
    }

    /// The error for events that were others the second time.
    pub(super) fn changed(&self, view: &WindowView, found: usize) -> crate::Error {
        let (expected, found) = (format!("{} rows", self.rows()), format!("{found} rows"));
        Core::Conflict { kind: "events of view", name: view.name().to_string(), expected, found }.into()
    }
}

fn by_group(groups: &[u32], moments: &[Moment], starts: &[u32]) -> Vec<Moment> {
    let mut next = starts.to_vec();
    let mut sorted = vec![(0, 0); moments.len()];
    for (group, moment) in groups.iter().zip(moments) {
        let at = &mut next[*group as usize];
        sorted[*at as usize] = *moment;
        *at += 1;
    }
    sorted
}

/// Keeps of events of one group, time and id the first of the source; all are in the order of group, time and row.
fn keep_first(moments: &mut Vec<Moment>, starts: &mut [u32], ids: &[u128]) {
    let mut kept = Vec::with_capacity(moments.len());
    let mut run: Vec<(u128, u32)> = Vec::new();
    for group in 0..starts.len() - 1 {
        let range = starts[group] as usize..starts[group + 1] as usize;
        starts[group] = kept.len() as u32;
        for same in moments[range].chunk_by(|a, b| a.0 == b.0) {
            run.clear();
            run.extend(same.iter().map(|(_, row)| (ids[*row as usize], *row)));
            run.sort_unstable();
            run.dedup_by_key(|(id, _)| *id);
            run.sort_unstable_by_key(|(_, row)| *row);
            kept.extend(run.iter().map(|(_, row)| (same[0].0, *row)));
        }
    }
    if let Some(end) = starts.last_mut() {
        *end = kept.len() as u32;
    }
    *moments = kept;
}
