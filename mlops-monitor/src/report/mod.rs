//! One page that shows how a service and its model are doing.
//!
//! [`MonitorReport::to_html`] puts windows, drift, performance, fairness, alerts and a retrain request beside each other:
//! tables and inline pictures in one file, no script, nothing loaded from elsewhere, every text escaped. Of hidden
//! columns no value is shown, for their profiles hold none.

mod drift;
mod findings;
mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use mlops_core::html::{self, Escaped, chart, short};
use mlops_core::profile::Profile;
use mlops_core::stats::Verdict;
use mlops_core::{EventTime, Window};

use crate::alert::{Alert, AlertState};
use crate::performance::Standing;
use crate::window::Traffic;
use crate::{DriftReport, FairnessReport, PerformanceReport, RetrainRequest, WindowStats};

/// Windows, reports and alerts that are shown of each kind: the latest.
pub const SHOWN_MAX: usize = 500;

/// Columns of the latest drift report that are shown: the drifted ones first, then by effect.
pub const COLUMNS_MAX: usize = 60;

const STYLE: &str = include_str!("style.css");

/// What a page shows; every part may be missing.
///
/// Windows and reports are expected oldest first, as the monitors give them; of a window that was given out twice the last is
/// shown.
///
/// # Examples
/// ```
/// use mlops_core::EventTime;
/// use mlops_monitor::report::MonitorReport;
///
/// let page = MonitorReport::new("Offers", EventTime::from_secs(1_700_000_000)).to_html();
/// assert!(page.starts_with("<!doctype html>") && page.contains("Offers"));
/// ```
#[derive(Debug, Clone)]
pub struct MonitorReport<'a> {
    title: String,
    at: EventTime,
    windows: Vec<&'a WindowStats>,
    reference: Option<&'a Profile>,
    drift: Vec<&'a DriftReport>,
    performance: Vec<&'a PerformanceReport>,
    fairness: Vec<&'a FairnessReport>,
    alerts: Vec<&'a Alert>,
    retrain: Option<&'a RetrainRequest>,
}

impl<'a> MonitorReport<'a> {
    /// A page called `title`, made at `at`.
    pub fn new(title: impl Into<String>, at: EventTime) -> Self {
        Self {
            title: title.into(),
            at,
            windows: Vec::new(),
            reference: None,
            drift: Vec::new(),
            performance: Vec::new(),
            fairness: Vec::new(),
            alerts: Vec::new(),
            retrain: None,
        }
    }

    /// Traffic and latency, and the profiles that drift is shown with.
    pub fn windows(mut self, windows: &'a [WindowStats]) -> Self {
        self.windows = latest(windows, |stats| stats.window);
        self
    }

    /// Drift of each window, and the profile that it is measured from.
    pub fn drift(mut self, reports: &'a [DriftReport], reference: &'a Profile) -> Self {
        self.drift = latest(reports, |report| report.window);
        self.reference = Some(reference);
        self
    }

    /// Metrics of each window.
    pub fn performance(mut self, reports: &'a [PerformanceReport]) -> Self {
        self.performance = latest(reports, |report| report.window);
        self
    }

    /// Shares of groups; of each column the latest report is shown.
    pub fn fairness(mut self, reports: &'a [FairnessReport]) -> Self {
        self.fairness = reports.iter().collect();
        self
    }

    /// Beginnings and ends, oldest first; one that was delivered twice is shown once.
    pub fn alerts(mut self, alerts: &'a [Alert]) -> Self {
        let mut known = BTreeSet::new();
        self.alerts = alerts.iter().filter(|alert| known.insert(alert.id())).collect();
        self
    }

    /// What to train again for.
    pub fn retrain(mut self, request: Option<&'a RetrainRequest>) -> Self {
        self.retrain = request;
        self
    }

    /// The page; equal reports give equal pages.
    pub fn to_html(&self) -> String {
        html::page(&self.title, &format!("{}{STYLE}", chart::STYLE), |out| {
            write!(out, "<header><h1>{}</h1><p>{}", Escaped(&self.title), stamp(self.at))?;
            if let Some(span) = self.span() {
                write!(out, " · windows from {} to {}", stamp(span.start), stamp(span.end))?;
            }
            out.write_str("</p></header>\n<main>\n")?;
            self.write_tiles(out)?;
            if let Some(request) = self.retrain {
                findings::retrain(request, out)?;
            }
            traffic::write(&self.windows, out)?;
            findings::performance(&self.performance, out)?;
            if let Some(reference) = self.reference {
                drift::write(&self.drift, reference, &self.windows, out)?;
            }
            findings::fairness(&self.fairness, out)?;
            findings::alerts(&self.alerts, out)?;
            out.write_str("</main>\n")
        })
    }

    /// From the first to the last window shown.
    fn span(&self) -> Option<Window> {
        let of_reports = self.performance.iter().map(|report| report.window);
        let all = self.windows.iter().map(|stats| stats.window).chain(self.drift.iter().map(|report| report.window));
        all.chain(of_reports).reduce(|a, b| Window { start: a.start.min(b.start), end: a.end.max(b.end) })
    }

    fn write_tiles(&self, out: &mut String) -> fmt::Result {
        out.write_str("<div class=\"tiles\">")?;
        if !self.windows.is_empty() {
            let mut sum = Traffic::default();
            self.windows.iter().for_each(|stats| sum.merge(&stats.traffic));
            let failed = sum.failures as f64 / (sum.requests + sum.failures).max(1) as f64;
            tile("requests", &sum.requests.to_string(), "", out)?;
            tile("failed", &percent(failed), if sum.failures > 0 { "warn" } else { "ok" }, out)?;
            for (label, share) in [("median", 0.5), ("p99", 0.99)] {
                if let Ok(Some(us)) = sum.latency.quantile_us(share) {
                    tile(label, &duration(us), "", out)?;
                }
            }
        }
        if let Some(report) = self.drift.last() {
            let drifted = report.count(Verdict::Drifted);
            let told = format!("{drifted} of {}", report.columns.len());
            tile("columns drifted", &told, if drifted > 0 { "bad" } else { "ok" }, out)?;
        }
        if let Some(report) = self.performance.last().filter(|report| !report.levels.is_empty()) {
            let worse = report.degraded().len();
            let held = report.levels.iter().filter(|finding| finding.standing == Standing::Held).count();
            let told = format!("{held} of {}", report.levels.len());
            tile("levels held", &told, if worse > 0 { "bad" } else { "ok" }, out)?;
        }
        if !self.alerts.is_empty() {
            let began = self.alerts.iter().filter(|alert| alert.state == AlertState::Firing).count();
            tile("alerts", &began.to_string(), if began > 0 { "warn" } else { "ok" }, out)?;
        }
        out.write_str("</div>\n")
    }
}

/// The last given of each window, in the order of time, at most [`SHOWN_MAX`].
fn latest<T>(all: &[T], window: impl Fn(&T) -> Window) -> Vec<&T> {
    let by_time: BTreeMap<(EventTime, EventTime), &T> =
        all.iter().map(|one| ((window(one).start, window(one).end), one)).collect();
    let mut kept: Vec<&T> = by_time.into_values().collect();
    kept.drain(..kept.len().saturating_sub(SHOWN_MAX));
    kept
}

fn tile(label: &str, value: &str, class: &str, out: &mut String) -> fmt::Result {
    write!(out, "<div class=\"tile {class}\"><b>{}</b><span>{}</span></div>", Escaped(value), Escaped(label))
}

/// Where a time stands in a picture.
fn place(at: EventTime) -> f64 {
    at.as_micros() as f64
}

/// The time at a place in a picture.
fn told(place: f64) -> String {
    stamp(EventTime::from_micros(place as i64))
}

/// A time to the minute, or to the second where it has some.
fn stamp(at: EventTime) -> String {
    let text = at.to_string();
    match text.split_once('T').map(|(day, time)| (day, time.split('.').next().unwrap_or(time))) {
        Some((day, time)) => format!("{day} {}", time.strip_suffix(":00").unwrap_or(time)),
        None => text,
    }
}

fn percent(share: f64) -> String {
    format!("{} %", short((share * 1e4).round() / 1e2))
}

/// Microseconds as people say them.
fn duration(us: f64) -> String {
    match us {
        us if us < 1e3 => format!("{} µs", us.round()),
        us if us < 1e6 => format!("{} ms", short((us / 10.0).round() / 100.0)),
        us => format!("{} s", short((us / 1e4).round() / 100.0)),
    }
}

#[cfg(test)]
mod tests;
