//! The live environment: requests as a client sends them, and customers who answer rankings.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use mlops_core::{Error, EventTime, Result};

use crate::impression::Scratch;
use crate::offer::{Category, Offer};
use crate::taste::Tastes;
use crate::{Shop, World};

/// A customer opens the shop: rank these candidates for them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Unique, rising with time, from 1.
    pub request_id: i64,
    /// Who asks.
    pub customer_id: i64,
    /// Day of the world.
    pub day: u32,
    /// When, on that day.
    pub event_time: EventTime,
    /// Offers to be ranked, all different, in no meaningful order.
    pub candidates: Vec<i64>,
}

/// What came of one offer on one page. Each time is there only if the one before is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The offer.
    pub offer_id: i64,
    /// Its position, from 0.
    pub position: u32,
    /// Whether the customer looked at it; a real shop would not know.
    pub examined: bool,
    /// When it was clicked.
    pub click_time: Option<EventTime>,
    /// When it was bought.
    pub purchase_time: Option<EventTime>,
    /// When the customer complained.
    pub complaint_time: Option<EventTime>,
    /// Price paid in VND, 0 if not bought.
    pub revenue: i64,
}

impl Outcome {
    /// Whether it was clicked in the end.
    pub fn clicked(&self) -> bool {
        self.click_time.is_some()
    }

    /// Whether it was bought in the end.
    pub fn purchased(&self) -> bool {
        self.purchase_time.is_some()
    }

    /// Whether the customer complained in the end.
    pub fn complained(&self) -> bool {
        self.complaint_time.is_some()
    }
}

/// Requests of a range of days, in the order of time.
#[derive(Debug, Clone)]
pub struct Requests {
    shop: Shop,
    days: Range<u32>,
    number: u32,
}

impl Iterator for Requests {
    type Item = Request;

    fn next(&mut self) -> Option<Request> {
        while !self.days.is_empty() {
            if let Some(request) = self.shop.request(self.days.start, self.number) {
                self.number += 1;
                return Some(request);
            }
            (self.days.start, self.number) = (self.days.start + 1, 0);
        }
        None
    }
}

/// What a customer truly wants on one day. Nothing in the tables says it.
#[derive(Debug, Clone)]
pub struct Truth {
    world: Arc<World>,
    tastes: Tastes,
}

impl Truth {
    /// Liking of each category, in the order of [`Category::ALL`].
    pub fn tastes(&self) -> [f64; Category::COUNT] {
        self.tastes.category
    }

    /// Probability of a click once the offer is seen.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such offer.
    pub fn relevance(&self, offer_id: i64) -> Result<f64> {
        Ok(Tastes::click(self.tastes.utility(self.world.offer(offer_id)?)))
    }

    /// Revenue in VND that is expected once the offer is seen: `P(click)·P(purchase | click)·price`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such offer.
    pub fn expected_revenue(&self, offer_id: i64) -> Result<f64> {
        let offer = self.world.offer(offer_id)?;
        let utility = self.tastes.utility(offer);
        Ok(Tastes::click(utility) * self.tastes.purchase(offer, utility) * self.tastes.price(offer) as f64)
    }
}

/// Graded relevance for true NDCG: 0 below 0.05, 1 from there, 2 from 0.12, 3 from 0.25, 4 from 0.45.
pub fn grade(relevance: f64) -> u8 {
    [0.05, 0.12, 0.25, 0.45].iter().map(|&from| u8::from(relevance >= from)).sum()
}

impl Shop {
    /// Request number `number` (from 0) of `day`; `None` when that day has not so many.
    pub fn request(&self, day: u32, number: u32) -> Option<Request> {
        let number = (number < self.settings().requests_per_day()).then_some(number)?;
        let (visit, _) = self.world.visit(day, number);
        let mut places = Vec::with_capacity(self.settings().candidates() as usize);
        self.world.candidates(visit.request_id, &mut places);
        Some(Request {
            request_id: visit.request_id,
            customer_id: visit.customer_id(),
            day,
            event_time: visit.event_time,
            candidates: places.into_iter().map(|place| i64::from(place) + 1).collect(),
        })
    }

    /// All requests of `days`. They are those that [`Shop::impressions`] shows under the logging policy.
    pub fn requests(&self, days: Range<u32>) -> Requests {
        Requests { shop: self.clone(), days, number: 0 }
    }

    /// Shows `ranked` to the customer of `request`, best first, and tells what came of it: an outcome per offer shown.
    ///
    /// Only the first [`slots`](crate::Settings::slots) are shown. An outcome depends on the request, the offer and its position, so
    /// rankers that are asked the same requests can be compared offer by offer.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an offer or a customer that does not exist, [`Error::Invalid`] for an offer that stands twice.
    pub fn respond(&self, request: &Request, ranked: &[i64]) -> Result<Vec<Outcome>> {
        let truth = self.truth(request.customer_id, request.day)?;
        let shown = &ranked[..ranked.len().min(self.settings().slots() as usize)];
        let mut seen = BTreeSet::new();
        shown.iter().zip(0..).try_fold(Vec::with_capacity(shown.len()), |mut outcomes, (&id, position)| {
            if !seen.insert(id) {
                return Err(Error::invalid("ranked", id, "a list in which each offer stands once"));
            }
            let offer = self.world.offer(id)?;
            outcomes.push(self.world.outcome(request.request_id, request.event_time, &truth.tastes, offer, position));
            Ok(outcomes)
        })
    }

    /// The page that the logging policy shows for `request`, best first: what [`Shop::impressions`] holds for it.
    ///
    /// # Errors
    /// [`Error::NotFound`] when a candidate does not exist.
    pub fn logged_page(&self, request: &Request) -> Result<Vec<i64>> {
        let places = request.candidates.iter().map(|&id| Ok((self.world.offer(id)?.id - 1) as u32));
        let mut scratch = Scratch::of(places.collect::<Result<_>>()?);
        self.world.log_page(request.request_id, request.day, self.settings().slots() as usize, &mut scratch);
        Ok(scratch.page.iter().map(|&(place, _)| i64::from(place) + 1).collect())
    }

    /// What a customer wants on `day`; ask it about many offers.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such customer.
    pub fn truth(&self, customer_id: i64, day: u32) -> Result<Truth> {
        let (customer, person) = self.world.person(customer_id)?;
        Ok(Truth { world: Arc::clone(&self.world), tastes: self.world.tastes(customer, &person, day) })
    }

    /// Probability that a customer who sees an offer on `day` clicks it.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such customer or offer.
    pub fn relevance(&self, customer_id: i64, offer_id: i64, day: u32) -> Result<f64> {
        self.truth(customer_id, day)?.relevance(offer_id)
    }

    /// [`Shop::relevance`] of every candidate of `request`, in their order.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the customer or a candidate does not exist.
    pub fn relevances(&self, request: &Request) -> Result<Vec<f64>> {
        let truth = self.truth(request.customer_id, request.day)?;
        request.candidates.iter().map(|&offer| truth.relevance(offer)).collect()
    }
}

impl World {
    pub(crate) fn offer(&self, id: i64) -> Result<&Offer> {
        let place = id.checked_sub(1).and_then(|place| usize::try_from(place).ok());
        place.and_then(|place| self.catalogue.get(place)).ok_or_else(|| Error::not_found("offer", id.to_string()))
    }
}
