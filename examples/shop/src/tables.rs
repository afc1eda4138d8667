//! The event tables, day by day: impressions with their final labels, and the clicks, purchases and complaints that tell of them.
//!
//! A batch never holds two days. Rows come in the order of the requests and, within one, of the positions: impressions
//! are sorted by `event_time`, the later events are not. Only one page is held besides the batch under construction.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{
    ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, RecordBatch, TimestampMicrosecondArray,
};
use mlops_core::{EventTime, Result};

use crate::impression::{Scratch, Visit};
use crate::live::Outcome;
use crate::{World, schema};

/// Pages of a range of days, one after the other.
#[derive(Debug, Clone)]
struct Pages {
    world: Arc<World>,
    days: Range<u32>,
    number: u32,
    scratch: Scratch,
}

impl Pages {
    fn new(world: Arc<World>, days: Range<u32>) -> Self {
        Self { world, days, number: 0, scratch: Scratch::default() }
    }

    /// Replaces `page` by the next one of the current day; `None` at the end of the day.
    fn turn(&mut self, page: &mut Vec<(Outcome, f64)>) -> Option<Visit> {
        let world = &*self.world;
        page.clear();
        if self.number >= world.settings.requests_per_day() {
            return None;
        }
        let (visit, person) = world.visit(self.days.start, self.number);
        self.number += 1;
        let tastes = world.tastes(visit.customer, &person, visit.day);
        world.candidates(visit.request_id, &mut self.scratch.candidates);
        world.log_page(visit.request_id, visit.day, world.settings.slots() as usize, &mut self.scratch);
        page.extend(self.scratch.page.iter().zip(0..).map(|(&(place, propensity), position)| {
            let offer = &world.catalogue[place as usize];
            (world.outcome(visit.request_id, visit.event_time, &tastes, offer, position), propensity)
        }));
        Some(visit)
    }

    fn next_day(&mut self) {
        self.days.start += 1;
        self.number = 0;
    }
}

/// A batch under construction.
trait Columns {
    fn push(&mut self, visit: &Visit, outcome: &Outcome, propensity: f64);
    fn rows(&self) -> usize;
    fn finish(self) -> Result<RecordBatch>;
}

/// Rows of pages, cut into batches.
#[derive(Debug, Clone)]
struct Rows {
    pages: Pages,
    visit: Option<Visit>,
    page: Vec<(Outcome, f64)>,
    cursor: usize,
}

impl Rows {
    fn new(world: Arc<World>, days: Range<u32>) -> Self {
        Self { pages: Pages::new(world, days), visit: None, page: Vec::new(), cursor: 0 }
    }

    /// The next batch: full, or the last of its day.
    fn batch<C: Columns>(&mut self, make: impl Fn(usize) -> C) -> Option<Result<RecordBatch>> {
        let rows = self.pages.world.settings.batch_rows();
        let mut columns = make(rows);
        while !self.pages.days.is_empty() {
            while let Some(visit) = &self.visit {
                for (outcome, propensity) in &self.page[self.cursor..] {
                    if columns.rows() == rows {
                        return Some(columns.finish());
                    }
                    columns.push(visit, outcome, *propensity);
                    self.cursor += 1;
                }
                (self.visit, self.cursor) = (self.pages.turn(&mut self.page), 0);
            }
            if self.pages.number == 0 {
                self.visit = self.pages.turn(&mut self.page);
                continue;
            }
            self.pages.next_day();
            if columns.rows() > 0 {
                return Some(columns.finish());
            }
        }
        None
    }
}

/// Impressions of a range of days: see [`schema::impressions`].
#[derive(Debug, Clone)]
pub struct Impressions(Rows);

impl Impressions {
    pub(crate) fn new(world: Arc<World>, days: Range<u32>) -> Self {
        Self(Rows::new(world, days))
    }
}

impl Iterator for Impressions {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let most = self.0.pages.world.settings.impressions_per_day() as usize;
        self.0.batch(|rows| ImpressionColumns::with_capacity(rows.min(most)))
    }
}

struct ImpressionColumns {
    request: Vec<i64>,
    customer: Vec<i64>,
    offer: Vec<i64>,
    position: Vec<i32>,
    time: Vec<i64>,
    clicked: Vec<bool>,
    purchased: Vec<bool>,
    complained: Vec<bool>,
    revenue: Vec<i64>,
    propensity: Vec<f64>,
}

impl ImpressionColumns {
    fn with_capacity(rows: usize) -> Self {
        Self {
            request: Vec::with_capacity(rows),
            customer: Vec::with_capacity(rows),
            offer: Vec::with_capacity(rows),
            position: Vec::with_capacity(rows),
            time: Vec::with_capacity(rows),
            clicked: Vec::with_capacity(rows),
            purchased: Vec::with_capacity(rows),
            complained: Vec::with_capacity(rows),
            revenue: Vec::with_capacity(rows),
            propensity: Vec::with_capacity(rows),
        }
    }
}

impl Columns for ImpressionColumns {
    fn push(&mut self, visit: &Visit, outcome: &Outcome, propensity: f64) {
        self.request.push(visit.request_id);
        self.customer.push(visit.customer_id());
        self.offer.push(outcome.offer_id);
        self.position.push(outcome.position as i32);
        self.time.push(visit.event_time.as_micros());
        self.clicked.push(outcome.clicked());
        self.purchased.push(outcome.purchased());
        self.complained.push(outcome.complained());
        self.revenue.push(outcome.revenue);
        self.propensity.push(propensity);
    }

    fn rows(&self) -> usize {
        self.request.len()
    }

    fn finish(self) -> Result<RecordBatch> {
        let columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(self.request)),
            Arc::new(Int64Array::from(self.customer)),
            Arc::new(Int64Array::from(self.offer)),
            Arc::new(Int32Array::from(self.position)),
            times(self.time),
            Arc::new(BooleanArray::from(self.clicked)),
            Arc::new(BooleanArray::from(self.purchased)),
            Arc::new(BooleanArray::from(self.complained)),
            Arc::new(Int64Array::from(self.revenue)),
            Arc::new(Float64Array::from(self.propensity)),
        ];
        Ok(RecordBatch::try_new(schema::impressions(), columns)?)
    }
}

/// What can come of an impression, each in a table of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Click,
    Purchase,
    Complaint,
}

/// Clicks, purchases or complaints that came of the impressions of a range of days.
///
/// `event_time` is when it happened, which may be days after the page: what was known at a moment are the rows whose
/// `event_time` is not after it.
#[derive(Debug, Clone)]
pub struct Events {
    rows: Rows,
    kind: Kind,
}

impl Events {
    pub(crate) fn new(world: Arc<World>, days: Range<u32>, kind: Kind) -> Self {
        Self { rows: Rows::new(world, days), kind }
    }
}

impl Iterator for Events {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let kind = self.kind;
        self.rows.batch(|_| EventColumns {
            kind,
            request: vec![],
            customer: vec![],
            offer: vec![],
            time: vec![],
            revenue: vec![],
        })
    }
}

struct EventColumns {
    kind: Kind,
    request: Vec<i64>,
    customer: Vec<i64>,
    offer: Vec<i64>,
    time: Vec<i64>,
    revenue: Vec<i64>,
}

impl Columns for EventColumns {
    fn push(&mut self, visit: &Visit, outcome: &Outcome, _: f64) {
        let time = match self.kind {
            Kind::Click => outcome.click_time,
            Kind::Purchase => outcome.purchase_time,
            Kind::Complaint => outcome.complaint_time,
        };
        if let Some(time) = time {
            self.request.push(visit.request_id);
            self.customer.push(visit.customer_id());
            self.offer.push(outcome.offer_id);
            self.time.push(EventTime::as_micros(time));
            self.revenue.push(outcome.revenue);
        }
    }

    fn rows(&self) -> usize {
        self.request.len()
    }

    fn finish(self) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(Int64Array::from(self.request)),
            Arc::new(Int64Array::from(self.customer)),
            Arc::new(Int64Array::from(self.offer)),
            times(self.time),
        ];
        let schema = match self.kind {
            Kind::Click => schema::clicks(),
            Kind::Purchase => {
                columns.push(Arc::new(Int64Array::from(self.revenue)));
                schema::purchases()
            }
            Kind::Complaint => schema::complaints(),
        };
        Ok(RecordBatch::try_new(schema, columns)?)
    }
}

fn times(micros: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(micros).with_timezone("UTC"))
}
