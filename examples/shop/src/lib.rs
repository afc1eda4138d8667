//! A deterministic telecom offers shop: the data behind the example programs.
//!
//! Everything comes from one seed. Customers with Vietnamese names, citizen numbers and phones look at pages of offers that
//! a logging policy chose; they click, buy and complain, each in its own time. A better ranker sells measurably more, and
//! a switch in the settings turns tastes, prices, devices and the mix of customers from a given day on.
//!
//! ```
//! use shop::{Settings, Shop};
//!
//! let shop = Shop::new(Settings::small());
//! let mut rows = 0;
//! for batch in shop.impressions(shop.all_days()) {
//!     rows += batch?.num_rows() as u64;
//! }
//! assert_eq!(rows, shop.settings().expected_impressions());
//!
//! for request in shop.requests(3..4).take(10) {
//!     let outcomes = shop.respond(&request, &request.candidates)?;
//!     assert_eq!(outcomes.len(), 8); // the page has eight slots
//! }
//! # Ok::<(), mlops_core::Error>(())
//! ```
//!
//! # Model
//! The formulas are in the docs of the modules: [`customer`] and [`usage`] (features), [`offer`], [`taste`] (likings,
//! clicks, purchases, complaints), [`impression`] (arrivals, candidates, logging policy, position bias, delays).
//!
//! # Tables
//! [`schema`] describes them. Iterators are lazy and own what they need; they hold one batch and nothing per customer, so a hundred
//! million events take the memory of a thousand. Any day can be generated alone, and the rows do not depend on the batch size.
//!
//! # Repeatability
//! The same settings give the same bytes on the same 64-bit platform and mathematics library (`exp`, `ln` and `sin` may
//! differ in the last bit between libraries).

use std::ops::Range;
use std::sync::Arc;

use mlops_core::{Error, Result};

pub mod churn;
pub mod customer;
pub mod impression;
pub mod live;
pub mod offer;
mod random;
pub mod schema;
pub mod settings;
pub mod tables;
pub mod taste;
pub mod usage;
mod vietnam;

pub use churn::write_churn_csv;
pub use customer::Customers;
pub use live::{Outcome, Request, Requests, Truth, grade};
pub use offer::{Category, Offers};
pub use settings::{START, Settings, SettingsBuilder};
pub use tables::{Events, Impressions};
pub use usage::Usage;

use customer::Person;
use offer::Offer;
use random::{Permutation, Stream, stream_key};
use tables::Kind;

/// The shop of some [`Settings`]. Cheap to clone; holds the offers and nothing per customer.
#[derive(Debug, Clone)]
pub struct Shop {
    world: Arc<World>,
}

/// What every draw needs at hand.
#[derive(Debug)]
struct World {
    settings: Settings,
    catalogue: Vec<Offer>,
    /// Weights of the logging policy before and after the shift, by place in the catalogue.
    weights: [Vec<f64>; 2],
    /// Probability that a position is seen.
    examination: Vec<f64>,
    /// Customers by activity.
    activity: Permutation,
    phones: Permutation,
    serials: Permutation,
    outcome_key: u64,
}

impl World {
    fn new(settings: Settings) -> Self {
        let seed = settings.seed();
        let catalogue = offer::catalogue(&settings);
        let weights = [false, true].map(|shifted| {
            catalogue.iter().map(|o| (taste::popularity(o, shifted) / settings.policy_noise()).exp()).collect()
        });
        Self {
            catalogue,
            weights,
            examination: (0..settings.slots()).map(|position| settings.examination(position)).collect(),
            activity: Permutation::new(u64::from(settings.customers()), stream_key(seed, Stream::Arrival)),
            phones: Permutation::new(vietnam::MOBILE_NUMBERS, stream_key(seed, Stream::Identity)),
            serials: Permutation::new(vietnam::SERIALS, stream_key(seed, Stream::Flaws)),
            outcome_key: stream_key(seed, Stream::Outcome),
            settings,
        }
    }

    /// Whether the shift has come by `day`.
    fn shifted(&self, day: u32) -> bool {
        self.settings.shift_day().is_some_and(|shift| day >= shift)
    }

    fn person(&self, customer_id: i64) -> Result<(u64, Person)> {
        let index = customer_id.checked_sub(1).and_then(|index| u64::try_from(index).ok());
        let index = index.filter(|&index| index < u64::from(self.settings.customers()));
        let index = index.ok_or_else(|| Error::not_found("customer", customer_id.to_string()))?;
        Ok((index, Person::at(self.settings.seed(), index)))
    }
}

impl Shop {
    /// The shop of these settings. Draws the offers; takes milliseconds even for a hundred thousand.
    pub fn new(settings: Settings) -> Self {
        Self { world: Arc::new(World::new(settings)) }
    }

    /// Its settings.
    pub fn settings(&self) -> &Settings {
        &self.world.settings
    }

    /// The days of the world, `0..days`. All methods that take days also answer for later ones.
    pub fn all_days(&self) -> Range<u32> {
        0..self.settings().days()
    }

    /// The customers table: see [`schema::customers`].
    pub fn customers(&self) -> Customers {
        Customers::new(Arc::clone(&self.world))
    }

    /// Usage of the customers as measured in `days`, each customer once a week: see [`schema::usage`].
    pub fn usage(&self, days: Range<u32>) -> Usage {
        Usage::new(Arc::clone(&self.world), days)
    }

    /// The offers table as of day 0: see [`schema::offers`].
    pub fn offers(&self) -> Offers {
        self.offers_on(0)
    }

    /// The offers table as it stands on `day`: from the shift on with new prices and a later `event_time`.
    pub fn offers_on(&self, day: u32) -> Offers {
        Offers::new(Arc::clone(&self.world), day)
    }

    /// Impressions of `days` under the logging policy, with their final labels: see [`schema::impressions`].
    pub fn impressions(&self, days: Range<u32>) -> Impressions {
        Impressions::new(Arc::clone(&self.world), days)
    }

    /// Clicks on the impressions of `days`, which may fall on the day after: see [`schema::clicks`].
    pub fn clicks(&self, days: Range<u32>) -> Events {
        Events::new(Arc::clone(&self.world), days, Kind::Click)
    }

    /// Purchases from the impressions of `days`, which may fall on the day after: see [`schema::purchases`].
    pub fn purchases(&self, days: Range<u32>) -> Events {
        Events::new(Arc::clone(&self.world), days, Kind::Purchase)
    }

    /// Complaints about the impressions of `days`, which may fall up to five days later: see [`schema::complaints`].
    pub fn complaints(&self, days: Range<u32>) -> Events {
        Events::new(Arc::clone(&self.world), days, Kind::Complaint)
    }
}

#[cfg(test)]
mod tests;
