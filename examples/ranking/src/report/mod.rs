//! Tells the story: figures for programs, a summary for the terminal, a page with pictures.

mod html;
mod monitoring;
mod summary;

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;

use mlops_core::rank::RankPipeline;
use mlops_monitor::export::openmetrics::{Exposition, Labels};
use mlops_monitor::log::PredictionLog;
use serde::{Deserialize, Serialize};

use crate::http::{LoadReport, MetricsText};
use crate::journey::DayStory;
use crate::judge::Verdicts;
use crate::learn::Lesson;
use crate::world::Plan;

pub use html::page;
pub use monitoring::monitoring;
pub use summary::summary;

/// The figures of one run. `None` where there is nothing to measure, such as revenue where nothing is sold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Figures {
    /// Mean true NDCG@10 of the most popular first, on the requests before the turn.
    pub ndcg_popularity: f64,
    /// The same by the mean of who asks, which puts no candidate before another.
    pub ndcg_user_mean: f64,
    /// Mean true NDCG@10 of what was served before the turn.
    pub ndcg_before_shift: f64,
    /// The same from the turn until a new model served.
    pub ndcg_after_shift: Option<f64>,
    /// The same on the days after.
    pub ndcg_after_retrain: Option<f64>,
    /// That of the most popular first, on the days after.
    pub ndcg_popularity_after_retrain: Option<f64>,
    /// What was served in the last fifth of time: the turn and everything after it.
    pub ndcg_last_fifth: f64,
    /// The most popular first, on the same requests.
    pub ndcg_popularity_last_fifth: f64,
    /// By the mean of who asks, on the same requests.
    pub ndcg_user_mean_last_fifth: f64,
    /// Mean revenue per request before the turn, in VND.
    pub revenue_before_shift: Option<f64>,
    /// The same from the turn until a new model served.
    pub revenue_after_shift: Option<f64>,
    /// The same on the days after.
    pub revenue_after_retrain: Option<f64>,
    /// Requests that were sent.
    pub requests: u64,
    /// Requests that were not answered.
    pub failed_requests: u64,
    /// Milliseconds from the decision to swap until an answer named the new version; the longest of all swaps.
    pub swap_ms: Option<f64>,
    /// Columns that were found to have drifted.
    pub drifted_columns: Vec<String>,
    /// The version in service at the end.
    pub promoted_version: u32,
    /// Versions that the gate refused.
    pub refused_versions: Vec<u32>,
    /// Median time of an answer in microseconds, as the client saw it.
    pub p50_us: u64,
    /// Time that 99 of 100 answers did not exceed.
    pub p99_us: u64,
    /// Whether the version in service leads back to raw data that is still what it was.
    pub lineage_ok: bool,
    /// Served feature values that differ from those of the as-of join, on the first day of service.
    pub skewed_values: u64,
    /// The service alone.
    pub load: Vec<LoadReport>,
}

/// What is known at the end of a run beside its days.
#[derive(Clone, Debug)]
pub struct Facts {
    /// How long each swap took, in milliseconds.
    pub swap_ms: Vec<f64>,
    /// Served values that differ from the as-of join.
    pub skew: u64,
    /// Whether lineage holds.
    pub lineage_ok: bool,
    /// Requests that the end of the service cut off.
    pub cut_off: usize,
    /// What a scraper read at the end.
    pub metrics: String,
}

impl Figures {
    /// The figures of a run.
    pub fn of(plan: &Plan, days: &[DayStory], lessons: &[(String, Lesson)], load: &[LoadReport], facts: Facts) -> Self {
        let phases = Phases::of(plan, days);
        let (before, after) = (sum(days, &phases.before), sum(days, &phases.after));
        let (relearnt, last) = (sum(days, &phases.relearnt), sum(days, &(plan.turn..u32::MAX)));
        let known = |verdicts: &Verdicts, value: f64| (verdicts.served.requests > 0).then_some(value);
        let revenue = |verdicts: &Verdicts| known(verdicts, verdicts.served.revenue()).filter(|_| plan.sells);
        let drifted: BTreeSet<String> = days
            .iter()
            .flat_map(|day| &day.seen)
            .flat_map(|seen| &seen.drift)
            .flat_map(|report| report.drifted().into_iter().map(str::to_owned).collect::<Vec<_>>())
            .collect();
        let mut times: Vec<u64> = days.iter().flat_map(|day| day.times_us.iter().copied()).collect();
        times.sort_unstable();
        let rank =
            |share: usize| times.get((times.len() * share).div_ceil(100).saturating_sub(1)).copied().unwrap_or(0);
        let mut promoted = lessons.iter().filter(|(_, lesson)| lesson.promotion.promoted());
        let refused = lessons.iter().filter(|(_, lesson)| !lesson.promotion.promoted());
        Self {
            ndcg_popularity: before.popularity.ndcg(),
            ndcg_user_mean: before.user_mean.ndcg(),
            ndcg_before_shift: before.served.ndcg(),
            ndcg_after_shift: known(&after, after.served.ndcg()),
            ndcg_after_retrain: known(&relearnt, relearnt.served.ndcg()),
            ndcg_popularity_after_retrain: known(&relearnt, relearnt.popularity.ndcg()),
            ndcg_last_fifth: last.served.ndcg(),
            ndcg_popularity_last_fifth: last.popularity.ndcg(),
            ndcg_user_mean_last_fifth: last.user_mean.ndcg(),
            revenue_before_shift: revenue(&before),
            revenue_after_shift: revenue(&after),
            revenue_after_retrain: revenue(&relearnt),
            requests: days.iter().map(|day| day.requests).sum(),
            failed_requests: days.iter().map(|day| day.failed).sum::<u64>() + facts.cut_off as u64,
            swap_ms: facts.swap_ms.into_iter().reduce(f64::max),
            drifted_columns: drifted.into_iter().collect(),
            promoted_version: promoted.next_back().map_or(0, |(_, lesson)| lesson.version),
            refused_versions: refused.map(|(_, lesson)| lesson.version).collect(),
            p50_us: rank(50),
            p99_us: rank(99),
            lineage_ok: facts.lineage_ok,
            skewed_values: facts.skew,
            load: load.to_vec(),
        }
    }
}

/// The days of each part of the story. A day on which models were swapped belongs to none.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Phases {
    pub(crate) before: Range<u32>,
    pub(crate) after: Range<u32>,
    pub(crate) relearnt: Range<u32>,
}

impl Phases {
    pub(crate) fn of(plan: &Plan, days: &[DayStory]) -> Self {
        let swapped = days.iter().find(|day| day.day >= plan.turn && day.versions.len() > 1).map(|day| day.day);
        let end = plan.live.end;
        Self {
            before: plan.live.start..plan.turn,
            after: plan.turn..swapped.unwrap_or(end),
            relearnt: swapped.map_or(end..end, |day| day + 1..end),
        }
    }
}

fn sum(days: &[DayStory], range: &Range<u32>) -> Verdicts {
    let mut sum = Verdicts::default();
    days.iter().filter(|day| range.contains(&day.day)).for_each(|day| sum.merge(&day.verdicts));
    sum
}

/// What the service answers a scraper: every stage of the pipeline, and the log.
pub fn metrics(pipeline: Arc<RankPipeline>, log: Arc<PredictionLog>) -> MetricsText {
    Arc::new(move || {
        let page = || -> crate::Result<String> {
            let mut page = Exposition::new();
            let labels = Labels::new([("service", "ranking")])?;
            page.stages(&labels, &pipeline.counters())?;
            page.log(&labels, &log.counters())?;
            Ok(page.to_text())
        };
        // A page that cannot be made is empty rather than wrong: a scraper then reports the target as broken.
        page().unwrap_or_default()
    })
}
