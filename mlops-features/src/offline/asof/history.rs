//! Chooses one history row per entity row, from keys and times alone.

use arrow::array::Array;
use mlops_core::Dataset;

use super::report::Tally;
use super::spine::{NONE, SpineKeys, starts};
use super::{JoinReport, ensure_countable, scan};
use crate::columns;
use crate::error::Result;
use crate::key::{Keys, pick};
use crate::service::ViewJoin;

/// What was chosen for one view.
pub(super) struct Chosen {
    /// Per entity row the history row, or [`NONE`].
    pub(super) rows: Vec<u32>,
    /// All rows of the history.
    pub(super) history_rows: usize,
    pub(super) report: JoinReport,
}

/// Times of one history row. Ordered as rows win over each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Moment {
    event_time: i64,
    /// 1 when there is a created time: a row without one loses.
    has_created: u32,
    created: i64,
    /// Position in source order.
    row: u32,
}

impl Moment {
    fn created_after(&self, t: i64) -> bool {
        self.has_created == 1 && self.created > t
    }
}

/// Rows of the history whose keys occur among the entity rows.
struct History {
    moments: Vec<Moment>,
    starts: Vec<u32>,
    rows: usize,
    null_keys: u64,
}

/// Chooses for each entity row.
pub(super) fn choose(join: &ViewJoin, history: &Dataset, keys: &SpineKeys, as_known: bool) -> Result<Chosen> {
    let mut history = History::read(join, history, keys)?;
    let view = join.view();
    let ttl = view.ttl_us().unwrap_or(u64::MAX);
    let mut rows = vec![NONE; keys.total()];
    let mut tally = Tally::default();
    // A view without a created column is known as soon as it is true.
    let mut known = (as_known && view.created().is_some()).then(Known::default);
    for group in 0..keys.groups() {
        let moments = history.group(group);
        moments.sort_unstable();
        if let Some(known) = &mut known {
            known.fill(moments);
        }
        let (positions, times) = keys.group_rows(group);
        if moments.is_empty() {
            tally.unknown_key += positions.len() as u64;
            continue;
        }
        for (position, t) in positions.iter().zip(times) {
            let latest = moments.partition_point(|moment| moment.event_time <= *t).checked_sub(1);
            let winner = known.as_ref().map_or(latest, |known| known.at(*t));
            let valid = |at: &usize| (t.wrapping_sub(moments[*at].event_time) as u64) <= ttl;
            if latest.filter(valid).is_some_and(|at| moments[at].created_after(*t)) {
                tally.leaked += 1;
            }
            match winner {
                None => tally.future_only += 1,
                Some(at) if !valid(&at) => tally.expired += 1,
                Some(at) => {
                    tally.ages.push(t.wrapping_sub(moments[at].event_time) as u64);
                    rows[*position as usize] = moments[at].row;
                }
            }
        }
    }
    tally.null_key = keys.null_keys();
    let report = tally.finish(join.label(), history.rows as u64, history.null_keys);
    Ok(Chosen { rows, history_rows: history.rows, report })
}

impl History {
    fn read(join: &ViewJoin, history: &Dataset, keys: &SpineKeys) -> Result<Self> {
        let view = join.view();
        let names: Vec<_> = view.entity().keys().iter().map(|key| key.name.clone()).collect();
        let mut columns: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        columns.push(view.event_time());
        columns.extend(view.created());
        let (mut groups, mut moments) = (Vec::new(), Vec::new());
        let (mut rows, mut null_keys) = (0, 0);
        let mut found = Vec::new();
        for batch in scan(history, &columns)? {
            let batch = batch?;
            let time = batch.column(names.len());
            columns::ensure_no_nulls(time, view.event_time())?;
            let event_times = columns::micros(time, view.event_time())?;
            let created =
                view.created().map(|column| columns::micros(batch.column(names.len() + 1), column)).transpose()?;
            found.clear();
            null_keys += keys.find(&Keys::new(view.entity(), &pick(&batch, &names)?)?, &mut found);
            ensure_countable("history rows", rows + batch.num_rows())?;
            for (at, group) in found.iter().enumerate().filter(|(_, group)| **group != NONE) {
                let created = created.as_ref().filter(|created| created.is_valid(at)).map(|created| created.value(at));
                groups.push(*group);
                moments.push(Moment {
                    event_time: event_times.value(at),
                    has_created: u32::from(created.is_some()),
                    created: created.unwrap_or(0),
                    row: (rows + at) as u32,
                });
            }
            rows += batch.num_rows();
        }
        let starts = starts(&groups, keys.groups());
        arrange(&mut groups, &mut moments, &starts);
        Ok(Self { moments, starts, rows, null_keys })
    }

    fn group(&mut self, group: usize) -> &mut [Moment] {
        &mut self.moments[self.starts[group] as usize..self.starts[group + 1] as usize]
    }
}

/// Puts `moments` in the order of their groups, in place: each swap brings one to where it belongs.
fn arrange(groups: &mut [u32], moments: &mut [Moment], starts: &[u32]) {
    let mut next = starts.to_vec();
    for group in 0..starts.len().saturating_sub(1) {
        while next[group] < starts[group + 1] {
            let here = next[group] as usize;
            let belongs = groups[here] as usize;
            let there = next[belongs] as usize;
            next[belongs] += 1;
            if belongs != group {
                groups.swap(here, there);
                moments.swap(here, there);
            }
        }
    }
}

/// The rows of one group by when they were both true and known.
#[derive(Default)]
struct Known {
    /// When, ascending, and the best of the rows up to there.
    best: Vec<(i64, usize)>,
}

impl Known {
    /// For `moments`, in winning order.
    ///
    /// A row is a candidate from the later of its two times on, and never ceases to be one but by the ttl, which takes the rows
    /// that lose first. So the winner at any instant is the best of a prefix.
    fn fill(&mut self, moments: &[Moment]) {
        self.best.clear();
        let known = moments.iter().enumerate().filter(|(_, moment)| moment.has_created == 1);
        self.best.extend(known.map(|(at, moment)| (moment.event_time.max(moment.created), at)));
        self.best.sort_unstable();
        let mut best = 0;
        for (_, at) in &mut self.best {
            best = best.max(*at);
            *at = best;
        }
    }

    fn at(&self, t: i64) -> Option<usize> {
        let count = self.best.partition_point(|(from, _)| *from <= t);
        count.checked_sub(1).map(|last| self.best[last].1)
    }
}
