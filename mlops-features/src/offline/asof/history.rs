//! Chooses one history row per entity row, from keys and times alone.

use arrow::array::Array;
use mlops_core::Dataset;

use super::group::{NONE, SpineKeys, starts};
use super::options::Room;
use super::report::Tally;
use super::{ensure_countable, scan};
use crate::columns;
use crate::error::Result;
use crate::key::{Keys, pick};
use crate::service::ViewJoin;

/// What was chosen for some entity rows.
pub(super) struct Chosen {
    /// Per entity row the history row, or [`NONE`].
    pub(super) rows: Vec<u32>,
    /// All rows of the history.
    pub(super) history_rows: usize,
    /// Those of them with a null in their key.
    pub(super) null_keys: u64,
}

/// By what a row is chosen, and in how much memory.
pub(super) struct Rules {
    /// Microseconds.
    ttl: u64,
    /// Whether rows must have been known.
    known: bool,
    /// History rows that are held at once.
    moments_max: usize,
    block_rows: usize,
}

impl Rules {
    /// For `join`, with `bytes` of memory for rows of history.
    pub(super) fn new(join: &ViewJoin, as_known: bool, bytes: u64, block_rows: usize) -> Self {
        let view = join.view();
        Self {
            ttl: view.ttl_us().unwrap_or(u64::MAX),
            // A view without a created column is known as soon as it is true.
            known: as_known && view.created().is_some(),
            moments_max: Room::count(bytes, MOMENT_BYTES),
            block_rows,
        }
    }

    fn valid(&self, moment: &Moment, t: i64) -> bool {
        (t.wrapping_sub(moment.event_time) as u64) <= self.ttl
    }

    /// The row that an entity row of instant `t` gets, of those of its key that lie before: the `latest`, and the `winner`
    /// when not all count.
    fn judge(&self, latest: Option<Moment>, winner: Option<Moment>, t: i64, tally: &mut Tally) -> Result<u32> {
        if latest.is_some_and(|moment| self.valid(&moment, t) && moment.created_after(t)) {
            tally.leaked += 1;
        }
        match winner {
            None => tally.future_only += 1,
            Some(moment) if !self.valid(&moment, t) => tally.expired += 1,
            Some(moment) => {
                tally.ages.push(t.wrapping_sub(moment.event_time) as u64)?;
                return Ok(moment.row);
            }
        }
        Ok(NONE)
    }
}

/// Times of one history row. Ordered as rows win over each other.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Moment {
    event_time: i64,
    /// Whether there is a created time: a row without one loses.
    has_created: bool,
    created: i64,
    /// Position in source order.
    row: u32,
}

/// Bytes of a moment and its group.
const MOMENT_BYTES: u64 = (size_of::<Moment>() + size_of::<u32>()) as u64;

impl Moment {
    fn created_after(&self, t: i64) -> bool {
        self.has_created && self.created > t
    }
}

/// Chooses for each entity row of `keys`.
pub(super) fn choose(
    join: &ViewJoin,
    history: &Dataset,
    keys: &SpineKeys,
    rules: &Rules,
    tally: &mut Tally,
) -> Result<Chosen> {
    let mut chooser = Chooser {
        keys,
        rules,
        groups: Vec::new(),
        moments: Vec::new(),
        known: rules.known.then(Known::default),
        best: None,
    };
    let (history_rows, null_keys) = chooser.read(join, history)?;
    tally.null_key += keys.null_keys();
    let rows = chooser.finish(tally)?;
    Ok(Chosen { rows, history_rows, null_keys })
}

/// Rows of the history whose keys occur among the entity rows, as many as there is room for.
///
/// The winner over all rows is the winner over the winners of parts. So when the room is used up, each entity row keeps
/// the best that it has seen, and the rest goes.
struct Chooser<'a> {
    keys: &'a SpineKeys,
    rules: &'a Rules,
    groups: Vec<u32>,
    moments: Vec<Moment>,
    known: Option<Known>,
    best: Option<Best>,
}

/// The best of the history rows that were let go of.
struct Best {
    /// Per entity row, grouped: the latest, and the latest that was known.
    latest: Vec<Option<Moment>>,
    known: Vec<Option<Moment>>,
    /// Per group whether it has rows at all.
    met: Vec<bool>,
}

impl Chooser<'_> {
    /// Reads all rows; returns how many there were, and how many had a null key.
    fn read(&mut self, join: &ViewJoin, history: &Dataset) -> Result<(usize, u64)> {
        let view = join.view();
        let names: Vec<_> = view.entity().keys().iter().map(|key| key.name.clone()).collect();
        let mut columns: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
        columns.push(view.event_time());
        columns.extend(view.created());
        let (mut rows, mut null_keys) = (0, 0);
        let mut found = Vec::new();
        for batch in scan(history, &columns, self.rules.block_rows)? {
            let batch = batch?;
            let time = batch.column(names.len());
            columns::ensure_no_nulls(time, view.event_time())?;
            let event_times = columns::micros(time, view.event_time())?;
            let created =
                view.created().map(|column| columns::micros(batch.column(names.len() + 1), column)).transpose()?;
            found.clear();
            null_keys += self.keys.find(&Keys::new(view.entity(), &pick(&batch, &names)?)?, &mut found);
            ensure_countable("history rows", rows + batch.num_rows())?;
            for (at, group) in found.iter().enumerate().filter(|(_, group)| **group != NONE) {
                let created = created.as_ref().filter(|created| created.is_valid(at)).map(|created| created.value(at));
                self.groups.push(*group);
                self.moments.push(Moment {
                    event_time: event_times.value(at),
                    has_created: created.is_some(),
                    created: created.unwrap_or(0),
                    row: (rows + at) as u32,
                });
            }
            rows += batch.num_rows();
            if self.moments.len() >= self.rules.moments_max {
                self.fold();
            }
        }
        Ok((rows, null_keys))
    }

    /// Lets go of the rows that are held.
    fn fold(&mut self) {
        let starts = self.arrange();
        let keys = self.keys;
        let best = self.best.get_or_insert_with(|| Best {
            latest: vec![None; keys.matched()],
            known: if self.known.is_some() { vec![None; keys.matched()] } else { Vec::new() },
            met: vec![false; keys.groups()],
        });
        for group in 0..keys.groups() {
            let moments = &mut self.moments[starts[group] as usize..starts[group + 1] as usize];
            if moments.is_empty() {
                continue;
            }
            best.met[group] = true;
            order(moments, &mut self.known);
            for at in keys.range(group) {
                let t = keys.times()[at];
                best.latest[at] = best.latest[at].max(latest(moments, t));
                if let Some(known) = &self.known {
                    best.known[at] = best.known[at].max(known.at(moments, t));
                }
            }
        }
        self.groups.clear();
        self.moments.clear();
    }

    /// The history row of each entity row.
    fn finish(mut self, tally: &mut Tally) -> Result<Vec<u32>> {
        if self.best.is_some() {
            self.fold();
        }
        let starts = if self.best.is_none() { self.arrange() } else { Vec::new() };
        let keys = self.keys;
        let mut rows = vec![NONE; keys.total()];
        for group in 0..keys.groups() {
            let range = keys.range(group);
            let moments = match &self.best {
                Some(_) => &mut [],
                None => &mut self.moments[starts[group] as usize..starts[group + 1] as usize],
            };
            if self.best.as_ref().map_or(moments.is_empty(), |best| !best.met[group]) {
                tally.unknown_key += range.len() as u64;
                continue;
            }
            order(moments, &mut self.known);
            for at in range {
                let t = keys.times()[at];
                let (latest, known) = match &self.best {
                    Some(best) => (best.latest[at], self.known.is_some().then(|| best.known[at])),
                    None => (latest(moments, t), self.known.as_ref().map(|known| known.at(moments, t))),
                };
                rows[keys.rows()[at] as usize] = self.rules.judge(latest, known.unwrap_or(latest), t, tally)?;
            }
        }
        Ok(rows)
    }

    /// Puts the rows that are held in the order of their groups; returns where each begins.
    fn arrange(&mut self) -> Vec<u32> {
        let starts = starts(&self.groups, self.keys.groups());
        arrange(&mut self.groups, &mut self.moments, &starts);
        starts
    }
}

/// Puts the rows of one group in winning order.
fn order(moments: &mut [Moment], known: &mut Option<Known>) {
    moments.sort_unstable();
    if let Some(known) = known {
        known.fill(moments);
    }
}

/// The last of `moments`, which are in winning order, that is not after `t`.
fn latest(moments: &[Moment], t: i64) -> Option<Moment> {
    let count = moments.partition_point(|moment| moment.event_time <= t);
    count.checked_sub(1).map(|at| moments[at])
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
        let known = moments.iter().enumerate().filter(|(_, moment)| moment.has_created);
        self.best.extend(known.map(|(at, moment)| (moment.event_time.max(moment.created), at)));
        self.best.sort_unstable();
        let mut best = 0;
        for (_, at) in &mut self.best {
            best = best.max(*at);
            *at = best;
        }
    }

    /// The best of `moments` at `t`.
    fn at(&self, moments: &[Moment], t: i64) -> Option<Moment> {
        let count = self.best.partition_point(|(from, _)| *from <= t);
        count.checked_sub(1).map(|last| moments[self.best[last].1])
    }
}
