//! Counts and times as families.

use mlops_core::profile::Profile;
use mlops_core::rank::{StageKind, StageStats};

use super::{Buckets, Exposition, Family, Labels};
use crate::alert::{AlertRules, Outbox};
use crate::log::{JoinCounters, LogCounters};
use crate::window::Traffic;
use crate::{LATENCY_BOUNDS_US, Latency, Result, WindowCounters};

/// What each of these adds stands beside the series of other calls, told apart by `labels`, such as the model. On an error
/// ([`Error::Exposition`](crate::Error::Exposition): the same series was added before) what came before it stays.
impl Exposition {
    /// Requests since the start, such as [`Windows::totals`](crate::Windows::totals): `mlops_requests_total{outcome}`,
    /// `mlops_requests_degraded_total`, `mlops_candidates_total`, `mlops_request_duration_seconds`.
    ///
    /// # Errors
    /// See above.
    pub fn traffic(&mut self, labels: &Labels, totals: &Traffic) -> Result<()> {
        let Traffic { requests, failures, degraded, candidates, latency } = totals;
        let outcomes = [("answered", *requests), ("failed", *failures)];
        self.counts("mlops_requests", "Requests by what became of them.", labels, "outcome", &outcomes)?;
        self.count("mlops_requests_degraded", "Answered requests with a late or skipped stage.", labels, *degraded)?;
        self.count("mlops_candidates", "Candidates that were served.", labels, *candidates)?;
        self.latency("mlops_request_duration_seconds", "Time from query to answer.", labels, latency)
    }

    /// Durations as a histogram in seconds; `name` ends in `_seconds`.
    ///
    /// # Errors
    /// See above, and when the name does not end in `_seconds`.
    pub fn latency(&mut self, name: &str, help: &str, labels: &Labels, latency: &Latency) -> Result<()> {
        let bounds = LATENCY_BOUNDS_US.iter().map(|us| seconds(*us)).collect();
        let mut family = Family::histogram(name, help)?.unit("seconds")?;
        family.set_buckets(labels, Buckets::new(bounds, latency.buckets().to_vec(), latency.sum_seconds())?)?;
        self.add(family)
    }

    /// What became of the answers that a prediction log was shown: `mlops_log_answers_total{outcome}`,
    /// `mlops_log_rows_total`, `mlops_log_unfit_columns_total`, `mlops_log_waiting`. The answers shown are the sum of all
    /// outcomes and of those that wait.
    ///
    /// # Errors
    /// See above.
    pub fn log(&mut self, labels: &Labels, counters: &LogCounters) -> Result<()> {
        let outcomes = [("drained", counters.drained), ("dropped", counters.dropped), ("refused", counters.refused)];
        self.counts("mlops_log_answers", "Answers by what became of them in the log.", labels, "outcome", &outcomes)?;
        self.count("mlops_log_rows", "Rows that answers became.", labels, counters.rows)?;
        let help = "Declared columns that an answer lacked or had in another type.";
        self.count("mlops_log_unfit_columns", help, labels, counters.unfit_columns)?;
        self.level("mlops_log_waiting", "Answers that wait to be drained.", labels, counters.waiting)
    }

    /// What became of impressions and labels: `mlops_join_impressions_total{outcome}`, `mlops_join_labels_total{outcome}`,
    /// `mlops_join_rows_left_out_total{reason}` (of both), `mlops_join_matured_total`, `mlops_join_held`, `mlops_join_waiting`.
    ///
    /// # Errors
    /// See above.
    pub fn join(&mut self, labels: &Labels, counters: &JoinCounters) -> Result<()> {
        let impressions = [
            ("taken", counters.impressions),
            ("late", counters.late_impressions),
            ("duplicate", counters.duplicate_impressions),
            ("overflow", counters.overflow_impressions),
        ];
        let help = "Impression rows by what became of them.";
        self.counts("mlops_join_impressions", help, labels, "outcome", &impressions)?;
        let events = [
            ("credited", counters.credited),
            ("duplicate", counters.duplicate_labels),
            ("late", counters.late_labels),
            ("orphan", counters.orphans),
            ("outside_window", counters.outside_window),
            ("overflow", counters.overflow_labels),
        ];
        self.counts("mlops_join_labels", "Label events by what became of them.", labels, "outcome", &events)?;
        let others = [("future", counters.future), ("malformed", counters.malformed)];
        let help = "Impression rows and label events that are ahead of now or cannot be read.";
        self.counts("mlops_join_rows_left_out", help, labels, "reason", &others)?;
        self.count("mlops_join_matured", "Labelled rows that were given out.", labels, counters.matured)?;
        self.level("mlops_join_held", "Impression rows that wait for labels.", labels, counters.held)?;
        self.level("mlops_join_waiting", "Label events that wait for their impression.", labels, counters.waiting)
    }

    /// Rows that no window of the monitor called `monitor` took: `mlops_window_rows_left_out_total{monitor,reason}`.
    ///
    /// # Errors
    /// See above.
    pub fn windows(&mut self, labels: &Labels, monitor: &str, counters: &WindowCounters) -> Result<()> {
        let WindowCounters { late, future, malformed } = *counters;
        let reasons = [("future", future), ("late", late), ("malformed", malformed)];
        let labels = labels.with("monitor", monitor)?;
        self.counts("mlops_window_rows_left_out", "Rows that no window took.", &labels, "reason", &reasons)
    }

    /// Rows of a window's profile, and the share of nulls of each column: `mlops_window_rows`,
    /// `mlops_column_null_ratio{column}`. Columns of a profile without rows have none.
    ///
    /// # Errors
    /// See above.
    pub fn profile(&mut self, labels: &Labels, profile: &Profile) -> Result<()> {
        let mut nulls = Family::gauge("mlops_column_null_ratio", "Share of nulls in the window.")?.unit("ratio")?;
        for column in profile.columns() {
            if let Some(ratio) = column.null_ratio() {
                nulls.set(&labels.with("column", column.name())?, ratio)?;
            }
        }
        self.add(nulls)?;
        self.level("mlops_window_rows", "Rows of the window.", labels, profile.rows())
    }

    /// What every stage of a ranking pipeline did: `mlops_stage_calls_total{stage,kind}`, `…_errors_total`, `…_late_total`,
    /// `…_degraded_total`, and `mlops_stage_duration_seconds`. Whole requests are the stage of kind `request`.
    ///
    /// # Errors
    /// See above, and when the buckets of a stage are not those of a pipeline's counters.
    pub fn stages(&mut self, labels: &Labels, stages: &[StageStats]) -> Result<()> {
        for stage in stages {
            let labels = labels.with("kind", kind(stage.kind))?.with("stage", stage.stage.as_str())?;
            self.count("mlops_stage_calls", "Calls of the stage.", &labels, stage.calls)?;
            self.count("mlops_stage_errors", "Calls that failed.", &labels, stage.errors)?;
            self.count("mlops_stage_late", "Calls that were cut off.", &labels, stage.late)?;
            self.count("mlops_stage_degraded", "Calls that were stood in for.", &labels, stage.degraded)?;
            let bounds = stage.buckets.iter().filter_map(|(bound, _)| bound.map(seconds)).collect();
            let counts = stage.buckets.iter().map(|(_, count)| *count).collect();
            let help = "Time of the calls of the stage.";
            let mut times = Family::histogram("mlops_stage_duration_seconds", help)?.unit("seconds")?;
            times.set_buckets(&labels, Buckets::new(bounds, counts, stage.nanos as f64 / 1e9)?)?;
            self.add(times)?;
        }
        Ok(())
    }

    /// What fires, and what waits to be delivered: `mlops_alerts_firing{alert,…}` with the labels of the series,
    /// `mlops_alerts_refused_total`, `mlops_alerts_waiting`, `mlops_alerts_dropped_total`.
    ///
    /// # Errors
    /// See above, and when a label of a series is called `alert`, as one of `labels`, or as another once its characters are those
    /// of labels ([`metric_name`](super::metric_name)).
    pub fn alerts(&mut self, labels: &Labels, rules: &AlertRules, outbox: &Outbox) -> Result<()> {
        let mut firing = Family::gauge("mlops_alerts_firing", "1 for each alert that fires now.")?;
        for (rule, series) in rules.firing() {
            let own = series.iter().map(|(name, value)| (super::metric_name(name), value));
            let all = own.into_iter().try_fold(labels.with("alert", rule.as_str())?, |all, (n, v)| all.with(n, v))?;
            firing.set(&all, true)?;
        }
        self.add(firing)?;
        let help = "Signals that were wrong but not followed because too many series are.";
        self.count("mlops_alerts_refused", help, labels, rules.refused())?;
        self.level("mlops_alerts_waiting", "Alerts that no sink has taken yet.", labels, outbox.len() as u64)?;
        let help = "Alerts that were given up because too many waited.";
        self.count("mlops_alerts_dropped", help, labels, outbox.dropped())
    }

    fn count(&mut self, name: &str, help: &str, labels: &Labels, value: u64) -> Result<()> {
        let mut family = Family::counter(name, help)?;
        family.set(labels, value)?;
        self.add(family)
    }

    fn counts(&mut self, name: &str, help: &str, labels: &Labels, by: &str, values: &[(&str, u64)]) -> Result<()> {
        let mut family = Family::counter(name, help)?;
        for (what, value) in values {
            family.set(&labels.with(by, what)?, *value)?;
        }
        self.add(family)
    }

    pub(super) fn level(&mut self, name: &str, help: &str, labels: &Labels, value: u64) -> Result<()> {
        let mut family = Family::gauge(name, help)?;
        family.set(labels, value)?;
        self.add(family)
    }
}

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn kind(kind: StageKind) -> &'static str {
    match kind {
        StageKind::Request => "request",
        StageKind::Source => "source",
        StageKind::Hydrator => "hydrator",
        StageKind::Filter => "filter",
        StageKind::Scorer => "scorer",
        StageKind::Selector => "selector",
        StageKind::Observer => "observer",
        _ => "other",
    }
}
