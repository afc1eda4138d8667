//! Requests, pages under the logging policy, and the tables of what came of them.
//!
//! * **Arrivals.** The customer of a request has rank `⌊customers·u^2.5⌋` in a fixed order of activity: the busiest tenth
//!   makes two fifths of the requests. From the shift on an arrival is refused (and drawn anew, at most 16 times) with
//!   probability `s·σ(2.5·age)`, so that the young come more often.
//! * **Candidates.** One offer of each of `candidates` strata of the catalogue, which start at a random offer: each offer with
//!   probability `candidates / offers`.
//! * **Logging policy.** Plackett and Luce with weights `w = e^{popularity / noise}`: the smallest of `E/w`, `E ~ Exp(1)`, come
//!   first. `propensity` of an offer is `w / (sum of w over the candidates that are not above it)`.
//! * **Delays.** Log-normal: a click after about 6 seconds, a purchase 12 minutes after the click, a complaint 15 hours after
//!   the purchase; never more than [`CLICK_DELAY_MAX`], [`PURCHASE_DELAY_MAX`], [`COMPLAINT_DELAY_MAX`].
//! * **Behaviour.** An offer at position `k` is seen with probability `(1 + k)^-η`; see [`taste`](crate::taste) for the rest. Every
//!   draw is a function of (seed, request, offer), so two rankings of the same request meet the same luck.

use std::time::Duration;

use mlops_core::EventTime;
use mlops_core::time::DAY_US;
use rand::rngs::SmallRng;

use crate::World;
use crate::customer::Person;
use crate::live::Outcome;
use crate::offer::Offer;
use crate::random::{Stream, bits, mix, normal, rng, sigmoid, stream_key, unit};
use crate::taste::Tastes;

/// Longest time from the page to a click.
pub const CLICK_DELAY_MAX: Duration = Duration::from_mins(10);
/// Longest time from a click to the purchase.
pub const PURCHASE_DELAY_MAX: Duration = Duration::from_hours(12);
/// Longest time from a purchase to the complaint.
pub const COMPLAINT_DELAY_MAX: Duration = Duration::from_hours(96);

const CLICK_MEDIAN_S: f64 = 6.0;
const PURCHASE_MEDIAN_S: f64 = 12.0 * 60.0;
const COMPLAINT_MEDIAN_S: f64 = 15.0 * 3_600.0;

/// Requests by hour of the day in UTC (seven hours behind Vietnam), per mille and running total.
const HOURS: [u16; 25] = [
    0, 32, 69, 109, 152, 199, 251, 299, 345, 391, 440, 492, 551, 620, 698, 778, 850, 906, 942, 957, 965, 970, 974, 982,
    1000,
];

/// A request before anything is shown.
#[derive(Debug, Clone)]
pub(crate) struct Visit {
    pub(crate) request_id: i64,
    pub(crate) customer: u64,
    pub(crate) day: u32,
    pub(crate) event_time: EventTime,
}

impl Visit {
    pub(crate) fn customer_id(&self) -> i64 {
        self.customer as i64 + 1
    }
}

/// Buffers of one page, kept from page to page.
#[derive(Debug, Clone, Default)]
pub(crate) struct Scratch {
    pub(crate) candidates: Vec<u32>,
    race: Vec<(f64, u32)>,
    /// Chosen offers, best first, with their propensity.
    pub(crate) page: Vec<(u32, f64)>,
}

impl Scratch {
    pub(crate) fn of(candidates: Vec<u32>) -> Self {
        Self { candidates, ..Self::default() }
    }
}

impl World {
    /// Request number `number` of `day`, below the requests of a day, and who makes it.
    pub(crate) fn visit(&self, day: u32, number: u32) -> (Visit, Person) {
        let s = &self.settings;
        let request_id = i64::from(day) * i64::from(s.requests_per_day()) + i64::from(number) + 1;
        let word = bits(stream_key(s.seed(), Stream::Arrival), request_id as u64);
        let share = (f64::from(number) + unit(mix(!word))) / f64::from(s.requests_per_day());
        let event_time = EventTime::from_micros(s.day_start(day).as_micros().saturating_add(time_of_day(share)));
        let (customer, person) = self.arrival(word, s.shift_on(day));
        (Visit { request_id, customer, day, event_time }, person)
    }

    fn arrival(&self, word: u64, shift: f64) -> (u64, Person) {
        let mut attempt = 0;
        loop {
            let u = unit(bits(word, attempt));
            let rank = (f64::from(self.settings.customers()) * u * u * u.sqrt()) as u64;
            let customer = self.activity.at(rank);
            let person = Person::at(self.settings.seed(), customer);
            attempt += 1;
            if shift <= 0.0 || attempt > 16 || unit(mix(bits(word, attempt))) >= shift * sigmoid(2.5 * person.age()) {
                return (customer, person);
            }
        }
    }

    /// Likings of customer number `customer` on `day`.
    pub(crate) fn tastes(&self, customer: u64, person: &Person, day: u32) -> Tastes {
        let s = &self.settings;
        Tastes::new(s.seed(), customer, person, s.shift_on(day), self.shifted(day))
    }

    /// Fills `out` with the catalogue places of the request's candidates, all different.
    pub(crate) fn candidates(&self, request_id: i64, out: &mut Vec<u32>) {
        let (offers, strata) = (u64::from(self.settings.offers()), u64::from(self.settings.candidates()));
        let word = bits(stream_key(self.settings.seed(), Stream::Candidates), request_id as u64);
        let start = word % offers;
        out.clear();
        out.extend((0..strata).map(|i| {
            let (low, high) = (i * offers / strata, (i + 1) * offers / strata);
            let place = start + low + (((bits(word, i) >> 32) * (high - low)) >> 32);
            (if place >= offers { place - offers } else { place }) as u32
        }));
    }

    /// Orders `scratch.candidates` as the logging policy would, the best `slots` of them, into `scratch.page`.
    pub(crate) fn log_page(&self, request_id: i64, day: u32, slots: usize, scratch: &mut Scratch) {
        let weights = &self.weights[usize::from(self.shifted(day))];
        let key = bits(stream_key(self.settings.seed(), Stream::Logging), request_id as u64);
        scratch.race.clear();
        scratch
            .race
            .extend(scratch.candidates.iter().map(|&p| (-unit(bits(key, u64::from(p))).ln() / weights[p as usize], p)));
        let order = |a: &(f64, u32), b: &(f64, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        let slots = slots.min(scratch.race.len());
        if slots < scratch.race.len() {
            scratch.race.select_nth_unstable_by(slots, order);
        }
        scratch.race[..slots].sort_unstable_by(order);
        let mut left: f64 = scratch.race[slots..].iter().map(|&(_, p)| weights[p as usize]).sum();
        scratch.page.clear();
        // From the last place upwards, so that the sum only grows and no share exceeds 1.
        scratch.page.extend(scratch.race[..slots].iter().rev().map(|&(_, p)| {
            left += weights[p as usize];
            (p, weights[p as usize] / left)
        }));
        scratch.page.reverse();
    }

    /// What comes of `offer` at `position` of the request.
    pub(crate) fn outcome(
        &self,
        request_id: i64,
        shown: EventTime,
        tastes: &Tastes,
        offer: &Offer,
        position: u32,
    ) -> Outcome {
        let word = bits(bits(self.outcome_key, request_id as u64), offer.id as u64);
        let mut outcome = Outcome { offer_id: offer.id, position, ..Outcome::default() };
        let sight = self.examination.get(position as usize).copied().unwrap_or(0.0);
        if unit(word) >= sight {
            return outcome;
        }
        outcome.examined = true;
        let utility = tastes.utility(offer);
        if unit(bits(word, 1)) >= Tastes::click(utility) {
            return outcome;
        }
        let delay = &mut rng(self.settings.seed(), Stream::Delay, word);
        let clicked = shown.plus(lapse(delay, CLICK_MEDIAN_S, 0.9, CLICK_DELAY_MAX));
        outcome.click_time = Some(clicked);
        if unit(bits(word, 2)) >= tastes.purchase(offer, utility) {
            return outcome;
        }
        let purchased = clicked.plus(lapse(delay, PURCHASE_MEDIAN_S, 1.0, PURCHASE_DELAY_MAX));
        outcome.purchase_time = Some(purchased);
        outcome.revenue = tastes.price(offer);
        if unit(bits(word, 3)) < Tastes::complaint(offer, utility) {
            outcome.complaint_time = Some(purchased.plus(lapse(delay, COMPLAINT_MEDIAN_S, 0.8, COMPLAINT_DELAY_MAX)));
        }
        outcome
    }
}

/// Microseconds into the day by which `share` of the day's requests have come.
fn time_of_day(share: f64) -> i64 {
    let target = share * 1_000.0;
    let hour = HOURS.partition_point(|&total| f64::from(total) <= target).clamp(1, 24) - 1;
    let (low, high) = (f64::from(HOURS[hour]), f64::from(HOURS[hour + 1]));
    let hours = hour as f64 + ((target - low) / (high - low)).clamp(0.0, 1.0);
    ((hours * (DAY_US as f64 / 24.0)) as i64).min(DAY_US - 1)
}

/// A log-normal delay, at least half a second.
fn lapse(rng: &mut SmallRng, median_s: f64, spread: f64, most: Duration) -> Duration {
    let seconds = (median_s * (spread * normal(rng)).exp()).max(0.5);
    Duration::from_micros((seconds * 1e6) as u64).min(most)
}
