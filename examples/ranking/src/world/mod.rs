//! What differs between data sets: where the data comes from, who asks for what, and what comes of an answer.

pub mod movies;
pub mod offers;

use std::fmt::Debug;
use std::ops::Range;
use std::time::Duration;

use mlops_core::arrow::array::RecordBatch;
use mlops_core::{Dataset, EventTime};
use mlops_features::FeatureView;

use crate::Result;
use crate::derive::Derived;
use crate::history::{Catalogue, History, HistorySettings};
use crate::intake::Intake;

/// Somebody opens the page: rank these candidates for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// Unique, rising with time, from 1.
    pub id: u64,
    /// Who asks.
    pub customer_id: i64,
    /// When.
    pub at: EventTime,
    /// What may be shown, all different, in no meaningful order.
    pub candidates: Vec<i64>,
}

/// What came of one candidate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Reaction {
    /// The candidate.
    pub offer_id: i64,
    /// Its place on the page, from 0; `None` for what was not shown.
    pub position: Option<u32>,
    /// When it was clicked (in a world of ratings: when it was liked).
    pub clicked_at: Option<EventTime>,
    /// Paid in the end, in VND.
    pub revenue: f64,
    /// How probable it is that it was looked at, 0 to 1; 0 where history learns nothing of it.
    pub looks: f64,
    /// What came of it for history, 0 to 1.
    pub value: f64,
}

/// When the parts of the story happen.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Days that the first model learns from.
    pub history: Range<u32>,
    /// Days that are served.
    pub live: Range<u32>,
    /// Day from which the world is another one; for a world that is not shifted, the day from which the last fifth begins.
    pub turn: u32,
    /// Length of a monitoring window.
    pub window: Duration,
    /// Places on the page.
    pub page: usize,
    /// Whether things are sold, so that there is revenue to judge by.
    pub sells: bool,
    /// How long after a request its clicks are all there.
    pub click_window: Duration,
    /// History is brought up to date after each request, instead of every morning.
    pub by_request: bool,
    /// A model of this age is trained again, in a world that changes by the year; `None` where drift asks for it.
    pub age_max: Option<Duration>,
    /// Share of the requests that explore.
    pub explore: f64,
}

/// What intake hands on.
#[derive(Clone, Debug)]
pub struct Trusted {
    /// What can be shown.
    pub catalogue: Catalogue,
    /// What was shown in the days of history, with what came of it; see [`crate::features::SPINE`].
    pub impressions: Dataset,
    /// The raw data sets, by the name that the catalogue has for them.
    pub raw: Vec<(String, Dataset)>,
}

/// A data set with a service around it.
pub trait World: Debug + Send + Sync {
    /// For people.
    fn title(&self) -> &str;

    /// When the parts of the story happen.
    fn plan(&self) -> &Plan;

    /// The first instant of `day`.
    fn day_start(&self, day: u32) -> EventTime;

    /// Brings raw data in: mask, clean, validate, register.
    ///
    /// # Errors
    /// Whatever is wrong with the data.
    fn intake(&self, intake: &Intake) -> Result<Trusted>;

    /// Views whose rows come from outside, in the order of [`World::facts`].
    ///
    /// # Errors
    /// None in practice: definitions are fixed.
    fn views(&self) -> Result<Vec<FeatureView>>;

    /// Rows of these views that become known at the first instant of `day`, through `intake` where they come from outside then.
    ///
    /// # Errors
    /// Whatever is wrong with the data.
    fn facts(&self, day: u32, intake: &Intake) -> Result<Vec<Vec<RecordBatch>>>;

    /// Features that are computed from others, the same way for training and for a request.
    fn derived(&self) -> Vec<Derived>;

    /// How history is kept.
    fn history(&self) -> HistorySettings;

    /// How probable it is that somebody looks at a place of the page, from 0; the first place is 1.
    fn looks(&self, position: u32) -> f64;

    /// How popular an offer is by what is known: the ranker to beat.
    fn popularity(&self, history: &History, offer_id: i64) -> f64;

    /// Inputs whose drift asks for a new model.
    fn watched(&self) -> Vec<&'static str>;

    /// Who asks on `day`, in the order of time.
    ///
    /// # Errors
    /// Whatever is wrong with the data.
    fn asks(&self, day: u32) -> Result<Vec<Ask>>;

    /// Shows `page` to who asked, best first, and tells what came of it.
    ///
    /// # Errors
    /// For a candidate that does not exist, or stands twice.
    fn react(&self, ask: &Ask, page: &[i64]) -> Result<Vec<Reaction>>;

    /// Everything there is to learn from until the first instant of `day`, with the columns of [`crate::features::SPINE`]; `None` in
    /// a world that tells only what came of what was shown.
    ///
    /// # Errors
    /// When films are asked for before intake.
    fn told(&self, day: u32) -> Result<Option<Dataset>>;

    /// How relevant each candidate truly is, graded from 0. Nothing that learns ever sees it.
    ///
    /// # Errors
    /// For somebody or something that does not exist.
    fn grades(&self, ask: &Ask) -> Result<Vec<u8>>;
}
