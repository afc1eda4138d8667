//! Events beside the entity rows of their keys, in the order of time.

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
use crate::offline::asof::group::{NONE, SpineKeys, sort_by_time, starts};
use crate::offline::asof::{ensure_countable, scan};

/// Events whose keys occur among the entity rows, by group, each group in the order of time; every event once.
pub(super) struct History {
    starts: Vec<u32>,
    times: Vec<i64>,
    /// Per row of the source its place, or [`NONE`].
    places: Vec<u32>,
    null_keys: u64,
    block_rows: usize,
}

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
        let (mut groups, mut times, mut positions, mut known) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut found, mut rows, mut null_keys, mut kept) = (Vec::new(), 0, 0, 0);
        for batch in scan(events, &columns, block_rows)? {
            let batch: RecordBatch = batch?;
            let time = batch.column(names.len());
            ensure_no_nulls(time, view.event_time())?;
            let instants = micros(time, view.event_time())?;
            ensure_countable("events", rows + batch.num_rows())?;
            found.clear();
            null_keys += keys.find(&Keys::new(view.entity(), &pick(&batch, &names)?)?, &mut found);
            kept += found.iter().filter(|group| **group != NONE).count();
            if kept > most {
                (groups, times, positions, known) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
                continue;
            }
            if let Some(name) = view.event_id() {
                known.extend(ids(batch.column(names.len() + 1), name)?);
            }
            let here = found.iter().zip(instants.values()).enumerate().filter(|(_, (group, _))| **group != NONE);
            for (at, (group, time)) in here {
                groups.push(*group);
                times.push(*time);
                positions.push((rows + at) as u32);
            }
            rows += batch.num_rows();
        }
        if kept > most {
            return Ok(Read::TooMany(kept));
        }
        let mut starts = starts(&groups, keys.groups());
        let mut sorted = Sorted::by_group(&groups, &times, &positions, &starts);
        drop((groups, times, positions));
        sort_by_time(&starts, &mut sorted.times, &mut sorted.rows);
        if view.event_id().is_some() {
            sorted.keep_first(&mut starts, &known);
        }
        let mut places = vec![NONE; rows];
        sorted.rows.iter().enumerate().for_each(|(at, row)| places[*row as usize] = at as u32);
        let times = sorted.times;
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

/// Times and positions in the source, by group.
struct Sorted {
    times: Vec<i64>,
    rows: Vec<u32>,
}

impl Sorted {
    fn by_group(groups: &[u32], times: &[i64], rows: &[u32], starts: &[u32]) -> Self {
        let mut next = starts.to_vec();
        let mut sorted = Self { times: vec![0; times.len()], rows: vec![0; rows.len()] };
        for (group, (time, row)) in groups.iter().zip(times.iter().zip(rows)) {
            let at = &mut next[*group as usize];
            (sorted.times[*at as usize], sorted.rows[*at as usize]) = (*time, *row);
            *at += 1;
        }
        sorted
    }

    /// Keeps of events of one group, time and id the first of the source.
    fn keep_first(&mut self, starts: &mut [u32], ids: &[u128]) {
        let mut kept = 0;
        let mut run: Vec<(u128, u32)> = Vec::new();
        for group in 0..starts.len() - 1 {
            let (mut at, end) = (starts[group] as usize, starts[group + 1] as usize);
            starts[group] = kept as u32;
            while at < end {
                let time = self.times[at];
                let same = self.times[at..end].iter().take_while(|other| **other == time).count();
                run.clear();
                run.extend(self.rows[at..at + same].iter().map(|row| (ids[*row as usize], *row)));
                run.sort_unstable();
                run.dedup_by_key(|(id, _)| *id);
                for (_, row) in &run {
                    (self.times[kept], self.rows[kept]) = (time, *row);
                    kept += 1;
                }
                at += same;
            }
        }
        if let Some(end) = starts.last_mut() {
            *end = kept as u32;
        }
        self.times.truncate(kept);
        self.rows.truncate(kept);
    }
}
