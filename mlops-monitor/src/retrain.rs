//! When to train again.

use std::time::Duration;

use mlops_core::{Error, EventTime, Name, Result, Window};
use serde::{Deserialize, Serialize};

use crate::drift::DriftReport;
use crate::format::FormatOne;
use crate::performance::{Metric, PerformanceReport};

/// Why a model should be trained again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum RetrainReason {
    /// Inputs are not what they were.
    Drift {
        /// The drifted columns.
        columns: Vec<String>,
        /// Their share of the columns with a verdict.
        share: f64,
    },
    /// Results are worse than they were.
    Performance {
        /// The task.
        task: Name,
        /// What is worse.
        metric: Metric,
        /// Its value in the window.
        value: f64,
        /// The value to hold.
        reference: f64,
    },
    /// The model is old.
    Age {
        /// When it was trained.
        trained_at: EventTime,
    },
    /// There is much to learn from.
    NewLabels {
        /// Labelled rows since the model was trained.
        count: u64,
    },
}

/// That a model should be trained again: a value that a host hands to its training pipeline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrainRequest {
    format: FormatOne,
    /// Why, at least one reason.
    pub reasons: Vec<RetrainReason>,
    /// The stretch of event time that gave the reasons; from training until now where it was none in particular.
    pub window: Window,
    /// When it was decided.
    pub at: EventTime,
    /// When the model was trained: newer data is new to it.
    pub since: EventTime,
}

/// What a policy looks at.
#[derive(Debug, Clone, Copy)]
pub struct RetrainSignals<'a> {
    /// When the model in service was trained.
    pub trained_at: EventTime,
    /// When training was last requested, if ever.
    pub requested_at: Option<EventTime>,
    /// The latest drift report.
    pub drift: Option<&'a DriftReport>,
    /// The latest performance report.
    pub performance: Option<&'a PerformanceReport>,
    /// Labelled rows since the model was trained.
    pub new_labels: u64,
}

/// Which findings lead to training; made by [`RetrainPolicy::builder`].
///
/// Each trigger that is set stands for itself; no training is requested within `interval_min` of the last request or of the
/// last training, nor with fewer than `labels_min` new labels.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use mlops_core::EventTime;
/// use mlops_monitor::{RetrainPolicy, RetrainSignals};
///
/// let policy = RetrainPolicy::builder().age_max(Duration::from_hours(24)).build()?;
/// let signals = RetrainSignals {
///     trained_at: EventTime::from_secs(0), requested_at: None, drift: None, performance: None, new_labels: 0,
/// };
/// assert!(policy.decide(&signals, EventTime::from_secs(3_600)).is_none());
/// assert!(policy.decide(&signals, EventTime::from_secs(86_400)).is_some());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RetrainPolicyBuilder", into = "RetrainPolicyBuilder")]
pub struct RetrainPolicy {
    settings: RetrainPolicyBuilder,
}

/// Builder of [`RetrainPolicy`], and its form in files.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RetrainPolicyBuilder {
    drifted_columns: Option<usize>,
    drifted_share: Option<f64>,
    performance: bool,
    age_max: Option<Duration>,
    new_labels: Option<u64>,
    labels_min: u64,
    interval_min: Option<Duration>,
}

impl RetrainPolicyBuilder {
    /// Trains when so many columns have drifted. Default: not a trigger.
    pub fn drifted_columns(mut self, columns: usize) -> Self {
        self.drifted_columns = Some(columns);
        self
    }

    /// Trains when this share of the columns has drifted, in `(0, 1]`. Default: not a trigger.
    pub fn drifted_share(mut self, share: f64) -> Self {
        self.drifted_share = Some(share);
        self
    }

    /// Trains when a level of performance does not hold. Default: not a trigger.
    pub fn performance_drop(mut self) -> Self {
        self.performance = true;
        self
    }

    /// Trains when the model is so old. Default: not a trigger.
    pub fn age_max(mut self, age: Duration) -> Self {
        self.age_max = Some(age);
        self
    }

    /// Trains when there are so many new labelled rows. Default: not a trigger.
    pub fn new_labels(mut self, labels: u64) -> Self {
        self.new_labels = Some(labels);
        self
    }

    /// Never trains with fewer new labelled rows. Default 0.
    pub fn labels_min(mut self, labels: u64) -> Self {
        self.labels_min = labels;
        self
    }

    /// Shortest time between two requests, and between training and a request. Default 1 hour.
    pub fn interval_min(mut self, interval: Duration) -> Self {
        self.interval_min = Some(interval);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no trigger, a count is 0 or the share is not in `(0, 1]`.
    pub fn build(self) -> Result<RetrainPolicy> {
        let has_trigger = self.drifted_columns.is_some()
            || self.drifted_share.is_some()
            || self.performance
            || self.age_max.is_some()
            || self.new_labels.is_some();
        if !has_trigger {
            return Err(Error::invalid("triggers", "none", "at least one"));
        }
        if self.drifted_columns == Some(0) || self.new_labels == Some(0) {
            return Err(Error::invalid("trigger", 0, "at least 1"));
        }
        if let Some(share) = self.drifted_share.filter(|share| !(*share > 0.0 && *share <= 1.0)) {
            return Err(Error::invalid("drifted share", share, "in (0, 1]"));
        }
        Ok(RetrainPolicy { settings: self })
    }
}

impl TryFrom<RetrainPolicyBuilder> for RetrainPolicy {
    type Error = Error;

    fn try_from(builder: RetrainPolicyBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<RetrainPolicy> for RetrainPolicyBuilder {
    fn from(policy: RetrainPolicy) -> Self {
        policy.settings
    }
}

impl RetrainPolicy {
    /// Starts without triggers.
    pub fn builder() -> RetrainPolicyBuilder {
        RetrainPolicyBuilder::default()
    }

    /// Whether to train at `now`, and why. Depends on nothing but its arguments.
    pub fn decide(&self, signals: &RetrainSignals<'_>, now: EventTime) -> Option<RetrainRequest> {
        let settings = &self.settings;
        let interval = settings.interval_min.unwrap_or(Duration::from_hours(1));
        let last = signals.requested_at.map_or(signals.trained_at, |at| at.max(signals.trained_at));
        // A model that was trained "after now" (a clock went back) is not old.
        if now < last.plus(interval) || signals.new_labels < settings.labels_min {
            return None;
        }
        let mut reasons = Vec::new();
        let mut windows = Vec::new();
        if let Some((reason, window)) = signals.drift.and_then(|report| self.drift(report)) {
            reasons.push(reason);
            windows.push(window);
        }
        if let Some(report) = signals.performance.filter(|_| settings.performance) {
            let dropped = report.degraded().into_iter().filter_map(|finding| {
                let (level, value) = (&finding.level, finding.value?);
                let (task, metric) = (level.task.clone(), level.metric);
                Some(RetrainReason::Performance { task, metric, value, reference: level.reference })
            });
            let before = reasons.len();
            reasons.extend(dropped);
            windows.extend((reasons.len() > before).then_some(report.window));
        }
        if settings.age_max.is_some_and(|age| now >= signals.trained_at.plus(age)) {
            reasons.push(RetrainReason::Age { trained_at: signals.trained_at });
        }
        if settings.new_labels.is_some_and(|labels| signals.new_labels >= labels) {
            reasons.push(RetrainReason::NewLabels { count: signals.new_labels });
        }
        let ever = Window { start: signals.trained_at, end: now };
        let window = windows.into_iter().reduce(|a, b| Window { start: a.start.min(b.start), end: a.end.max(b.end) });
        (!reasons.is_empty()).then(|| RetrainRequest {
            format: FormatOne,
            reasons,
            window: window.unwrap_or(ever),
            at: now,
            since: signals.trained_at,
        })
    }

    fn drift(&self, report: &DriftReport) -> Option<(RetrainReason, Window)> {
        let drifted = report.drifted();
        let by_count = self.settings.drifted_columns.is_some_and(|least| drifted.len() >= least);
        let by_share = self.settings.drifted_share.is_some_and(|least| !drifted.is_empty() && report.share >= least);
        let columns = || drifted.iter().map(|column| (*column).to_owned()).collect();
        (by_count || by_share)
            .then(|| (RetrainReason::Drift { columns: columns(), share: report.share }, report.window))
    }
}

#[cfg(test)]
mod tests;
