//! Impressions that wait to mature, and labels that wait for their impression.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::{filter_record_batch, interleave_record_batch};
use mlops_core::rank::RequestId;
use mlops_core::{EventTime, Result};

use crate::log::read::Key;

/// The event that counts for one label of one impression.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Hit {
    pub(super) at: EventTime,
    pub(super) value: f64,
}

impl Hit {
    fn is_before(&self, other: &Self) -> bool {
        self.at.cmp(&other.at).then(self.value.total_cmp(&other.value)).is_lt()
    }
}

/// A row that is about to be held.
#[derive(Debug)]
pub(super) struct Impression {
    pub(super) request: RequestId,
    pub(super) at: EventTime,
    pub(super) position: i64,
    pub(super) key: Key,
    pub(super) row: usize,
}

/// What became of offered rows.
#[derive(Debug, Default)]
pub(super) struct Taken {
    pub(super) rows: Vec<(RequestId, Key)>,
    pub(super) duplicates: u64,
    pub(super) overflow: u64,
}

/// What became of a label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Credit {
    First,
    Duplicate,
    OutsideWindow,
    Unknown,
}

/// Requests with their rows; batches are kept until none of their rows is needed.
#[derive(Debug)]
pub(super) struct Held {
    labels: usize,
    rows_max: usize,
    rows: usize,
    requests: HashMap<RequestId, Request>,
    order: BTreeSet<(EventTime, RequestId)>,
    batches: BTreeMap<u64, Batch>,
    next_batch: u64,
}

#[derive(Debug)]
struct Request {
    at: EventTime,
    rows: BTreeMap<Key, Row>,
}

#[derive(Debug)]
struct Row {
    position: i64,
    batch: u64,
    place: usize,
    labels: Box<[Option<Hit>]>,
}

#[derive(Debug)]
struct Batch {
    rows: RecordBatch,
    live: usize,
}

/// Rows that matured, and the labels of each.
type Matured = (RecordBatch, Vec<Box<[Option<Hit>]>>);

impl Held {
    pub(super) fn new(labels: usize, rows_max: usize) -> Self {
        Self {
            labels,
            rows_max,
            rows: 0,
            requests: HashMap::new(),
            order: BTreeSet::new(),
            batches: BTreeMap::new(),
            next_batch: 0,
        }
    }

    /// Rows of all batches that are kept.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Keeps those of `offered` rows of `batch` that are new and fit, requests as a whole.
    pub(super) fn take(&mut self, batch: &RecordBatch, offered: Vec<Impression>) -> Result<Taken> {
        let is_known = |impression: &Impression| {
            let request = self.requests.get(&impression.request);
            request.is_some_and(|known| known.at != impression.at || known.rows.contains_key(&impression.key))
        };
        // Repeats first: they need no room, and are repeats also where there is none.
        let (known, offered): (Vec<Impression>, Vec<Impression>) = offered.into_iter().partition(is_known);
        let mut outcome = Taken { duplicates: known.len() as u64, ..Taken::default() };
        let mut of_request: HashMap<RequestId, u64> = HashMap::new();
        for impression in &offered {
            *of_request.entry(impression.request).or_default() += 1;
        }
        let mut refused: BTreeSet<RequestId> = BTreeSet::new();
        let mut room = self.rows_max.saturating_sub(self.rows);
        let mut chosen = Vec::with_capacity(offered.len());
        let mut seen: BTreeSet<(RequestId, Key)> = BTreeSet::new();
        for impression in offered {
            if refused.contains(&impression.request) {
                outcome.overflow += 1;
                continue;
            }
            if let Some(count) = of_request.remove(&impression.request) {
                if count as usize > room {
                    refused.insert(impression.request);
                    outcome.overflow += 1;
                    continue;
                }
                room -= count as usize;
                let first = Request { at: impression.at, rows: BTreeMap::new() };
                self.requests.entry(impression.request).or_insert(first);
            }
            // A request that begins in this batch may come with two times.
            let is_new = self.requests.get(&impression.request).is_some_and(|request| request.at == impression.at);
            if is_new && seen.insert((impression.request, impression.key.clone())) {
                chosen.push(impression);
            } else {
                outcome.duplicates += 1;
            }
        }
        self.keep(batch, chosen, &mut outcome)?;
        Ok(outcome)
    }

    fn keep(&mut self, batch: &RecordBatch, chosen: Vec<Impression>, outcome: &mut Taken) -> Result<()> {
        if chosen.is_empty() {
            return Ok(());
        }
        let kept = if chosen.len() == batch.num_rows() {
            batch.clone()
        } else {
            // A copy, so that refused rows do not stay in memory.
            let mut mask = vec![false; batch.num_rows()];
            chosen.iter().for_each(|impression| mask[impression.row] = true);
            filter_record_batch(batch, &BooleanArray::from(mask))?
        };
        let id = self.next_batch;
        self.next_batch += 1;
        self.rows += kept.num_rows();
        self.batches.insert(id, Batch { live: kept.num_rows(), rows: kept });
        for (row, impression) in chosen.into_iter().enumerate() {
            let Impression { request, at, position, key, .. } = impression;
            outcome.rows.push((request, key.clone()));
            self.order.insert((at, request));
            let labels = vec![None; self.labels].into_boxed_slice();
            let rows = &mut self.requests.entry(request).or_insert(Request { at, rows: BTreeMap::new() }).rows;
            rows.insert(key, Row { position, batch: id, place: row, labels });
        }
        Ok(())
    }

    pub(super) fn credit(&mut self, label: &WaitingLabel, window: Duration) -> Credit {
        let Some(request) = self.requests.get_mut(&label.request) else { return Credit::Unknown };
        let Some(row) = request.rows.get_mut(&label.key) else { return Credit::Unknown };
        let hit = label.hit;
        if hit.at < request.at || hit.at >= request.at.plus(window) {
            return Credit::OutsideWindow;
        }
        let slot = &mut row.labels[label.rule];
        match slot {
            None => {
                *slot = Some(hit);
                Credit::First
            }
            Some(known) => {
                if hit.is_before(known) {
                    *known = hit;
                }
                Credit::Duplicate
            }
        }
    }

    /// Takes out requests that have matured, at most about `rows_max` rows of them; `None` when there is none.
    pub(super) fn mature(
        &mut self,
        watermark: EventTime,
        longest: Duration,
        rows_max: usize,
    ) -> Result<Option<Matured>> {
        let mut rows = Vec::new();
        while rows.len() < rows_max {
            let Some(&(at, id)) = self.order.first().filter(|(at, _)| at.plus(longest) <= watermark) else { break };
            self.order.remove(&(at, id));
            let Some(request) = self.requests.remove(&id) else { continue };
            let mut of_request: Vec<Row> = request.rows.into_values().collect();
            // A stable sort: equal positions stay in the order of their keys.
            of_request.sort_by_key(|row| row.position);
            rows.extend(of_request);
        }
        if rows.is_empty() {
            return Ok(None);
        }
        let mut used: BTreeMap<u64, usize> = rows.iter().map(|row| (row.batch, 0)).collect();
        let mut sources = Vec::with_capacity(used.len());
        for (id, place) in &mut used {
            *place = sources.len();
            sources.extend(self.batches.get(id).map(|batch| &batch.rows));
        }
        let places: Vec<(usize, usize)> = rows.iter().map(|row| (used[&row.batch], row.place)).collect();
        let gathered = interleave_record_batch(&sources, &places)?;
        for row in &rows {
            self.release(row.batch);
        }
        Ok(Some((gathered, rows.into_iter().map(|row| row.labels).collect())))
    }

    fn release(&mut self, id: u64) {
        if let Some(batch) = self.batches.get_mut(&id) {
            batch.live -= 1;
            if batch.live == 0 {
                self.rows -= batch.rows.num_rows();
                self.batches.remove(&id);
            }
        }
    }
}

/// A label whose impression is not there yet.
#[derive(Debug, Clone)]
pub(super) struct WaitingLabel {
    pub(super) request: RequestId,
    pub(super) key: Key,
    pub(super) rule: usize,
    pub(super) hit: Hit,
}

/// Labels by impression, and by time.
#[derive(Debug)]
pub(super) struct Waiting {
    labels_max: usize,
    labels: BTreeMap<(RequestId, Key, EventTime, usize), f64>,
    order: BTreeSet<(EventTime, RequestId, Key, usize)>,
}

impl Waiting {
    pub(super) fn new(labels_max: usize) -> Self {
        Self { labels_max, labels: BTreeMap::new(), order: BTreeSet::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Keeps `label`: true where it is new, false where it was known, `None` where there is no room.
    pub(super) fn put(&mut self, label: &WaitingLabel) -> Option<bool> {
        let WaitingLabel { request, key, rule, hit } = label;
        let place = (*request, key.clone(), hit.at, *rule);
        if let Some(known) = self.labels.get_mut(&place) {
            if hit.value.total_cmp(known).is_lt() {
                *known = hit.value;
            }
            return Some(false);
        }
        if self.labels.len() >= self.labels_max {
            return None;
        }
        self.labels.insert(place, hit.value);
        self.order.insert((hit.at, *request, key.clone(), *rule));
        Some(true)
    }

    /// Takes out all labels of one impression.
    pub(super) fn take(&mut self, request: RequestId, key: &Key) -> Vec<WaitingLabel> {
        if self.labels.is_empty() {
            return Vec::new();
        }
        let from = (request, key.clone(), EventTime::MIN, 0);
        let to = (request, key.clone(), EventTime::MAX, usize::MAX);
        let found: Vec<WaitingLabel> = self
            .labels
            .range(from..=to)
            .map(|((_, _, at, rule), value)| WaitingLabel {
                request,
                key: key.clone(),
                rule: *rule,
                hit: Hit { at: *at, value: *value },
            })
            .collect();
        for label in &found {
            self.labels.remove(&(request, key.clone(), label.hit.at, label.rule));
            self.order.remove(&(label.hit.at, request, key.clone(), label.rule));
        }
        found
    }

    /// Forgets labels older than `watermark` and says how many.
    pub(super) fn expire(&mut self, watermark: EventTime) -> u64 {
        let mut expired = 0;
        while self.order.first().is_some_and(|(at, ..)| *at < watermark) {
            if let Some((at, request, key, rule)) = self.order.pop_first() {
                self.labels.remove(&(request, key, at, rule));
                expired += 1;
            }
        }
        expired
    }
}
