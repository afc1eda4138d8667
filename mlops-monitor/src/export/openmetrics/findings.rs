//! Reports as families.

use mlops_core::EventTime;
use mlops_core::stats::{DriftMethod, Verdict};

use super::{Exposition, Family, Labels};
use crate::drift::ColumnVerdict;
use crate::fairness::{Balance, FairnessReport};
use crate::performance::{PerformanceReport, Standing};
use crate::retrain::RetrainReason;
use crate::{DriftReport, Result, RetrainRequest};

/// Columns of a drift report that have series of their own.
pub const DRIFT_COLUMNS_MAX: usize = 200;

/// Reports are of one window: its end stands beside the values, for they are not of the moment of the scrape.
impl Exposition {
    /// `mlops_drift_columns{verdict}`, `mlops_drifted_ratio`, `mlops_drift_rows`, `mlops_drift_window_end_timestamp_seconds`, and
    /// of the columns with a verdict `mlops_drift_effect{column,method}`, `mlops_drift_by_chance{column,method}` and
    /// `mlops_drift_drifted{column}` (1 or 0, over the last windows).
    ///
    /// # Errors
    /// As for counts.
    pub fn drift(&mut self, labels: &Labels, report: &DriftReport) -> Result<()> {
        let mut columns = Family::gauge("mlops_drift_columns", "Columns by verdict.")?;
        for (verdict, name) in
            [(Verdict::Drifted, "drifted"), (Verdict::Inconclusive, "inconclusive"), (Verdict::Stable, "stable")]
        {
            columns.set(&labels.with("verdict", name)?, report.count(verdict) as u64)?;
        }
        self.add(columns)?;
        self.ratio("mlops_drifted_ratio", "Drifted columns over columns with a verdict.", labels, report.share)?;
        self.level("mlops_drift_rows", "Rows of the window that was judged.", labels, report.rows)?;
        self.window_end("mlops_drift_window_end_timestamp_seconds", labels, report.window.end)?;
        let mut effects = Family::gauge("mlops_drift_effect", "Measured difference from the reference.")?;
        let mut chances = Family::gauge("mlops_drift_by_chance", "Mean difference when nothing has changed.")?;
        let mut drifted = Family::gauge("mlops_drift_drifted", "Whether the column has drifted.")?;
        for column in farthest(report) {
            let labels = labels.with("column", &column.now.column)?;
            drifted.set(&labels, column.verdict == Verdict::Drifted)?;
            let labels = labels.with("method", method(column.now.method))?;
            effects.set(&labels, column.now.effect)?;
            chances.set(&labels, column.now.expected_by_chance)?;
        }
        [effects, chances, drifted].into_iter().try_for_each(|family| self.add(family))
    }

    /// `mlops_performance{task,metric}`, `mlops_performance_samples{task}`, `mlops_performance_window_end_timestamp_seconds`, and of
    /// levels `mlops_performance_reference{task,metric}` and, where there is a verdict, `mlops_performance_degraded{task,metric}`
    /// (1 or 0).
    ///
    /// # Errors
    /// As for counts.
    pub fn performance(&mut self, labels: &Labels, report: &PerformanceReport) -> Result<()> {
        let mut values = Family::gauge("mlops_performance", "Metrics of the window, from labels that came.")?;
        let mut samples = Family::gauge("mlops_performance_samples", "What the metrics are means of.")?;
        for task in &report.tasks {
            let labels = labels.with("task", task.task.as_str())?;
            samples.set(&labels, task.samples)?;
            for (metric, value) in &task.metrics {
                values.set(&labels.with("metric", metric.name())?, *value)?;
            }
        }
        let mut references = Family::gauge("mlops_performance_reference", "The value to hold.")?;
        let mut degraded = Family::gauge("mlops_performance_degraded", "Whether the metric is worse than allowed.")?;
        for finding in &report.levels {
            let level = &finding.level;
            let labels = labels.with("task", level.task.as_str())?.with("metric", level.metric.name())?;
            references.set(&labels, level.reference)?;
            if finding.standing != Standing::Inconclusive {
                degraded.set(&labels, finding.standing == Standing::Degraded)?;
            }
        }
        [values, samples, references, degraded].into_iter().try_for_each(|family| self.add(family))?;
        self.window_end("mlops_performance_window_end_timestamp_seconds", labels, report.window.end)
    }

    /// `mlops_fairness_ratio{attribute,measure}` (of selection and of exposure), `mlops_fairness_uneven{attribute}` where there is
    /// a verdict, `mlops_fairness_group_exposure{attribute,group}`, `mlops_fairness_group_selection_ratio{attribute,group}`. Groups
    /// of a hidden column have numbers, as in the report.
    ///
    /// # Errors
    /// As for counts.
    pub fn fairness(&mut self, labels: &Labels, report: &FairnessReport) -> Result<()> {
        let labels = labels.with("attribute", &report.column)?;
        let mut ratios =
            Family::gauge("mlops_fairness_ratio", "Smallest over greatest value of groups.")?.unit("ratio")?;
        for (measure, ratio) in [("exposure", report.exposure_ratio), ("selection", report.selection_ratio)] {
            if let Some(ratio) = ratio {
                ratios.set(&labels.with("measure", measure)?, ratio)?;
            }
        }
        let help = "Share of the group's candidates in the first places.";
        let mut selected = Family::gauge("mlops_fairness_group_selection_ratio", help)?.unit("ratio")?;
        let mut exposures = Family::gauge("mlops_fairness_group_exposure", "Mean exposure of the group's candidates.")?;
        for group in &report.groups {
            let labels = labels.with("group", &group.group)?;
            if let Some(rate) = group.selection_rate {
                selected.set(&labels, rate)?;
            }
            if let Some(exposure) = group.exposure {
                exposures.set(&labels, exposure)?;
            }
        }
        let mut uneven = Family::gauge("mlops_fairness_uneven", "Whether a ratio is below what is allowed.")?;
        if report.balance != Balance::Inconclusive {
            uneven.set(&labels, report.balance == Balance::Uneven)?;
        }
        [ratios, selected, exposures, uneven].into_iter().try_for_each(|family| self.add(family))
    }

    /// Whether the last decision was to train again: `mlops_retrain_requested` (1 or 0), and of a request
    /// `mlops_retrain_reasons{reason}` and `mlops_retrain_decided_timestamp_seconds`.
    ///
    /// # Errors
    /// As for counts.
    pub fn retrain(&mut self, labels: &Labels, request: Option<&RetrainRequest>) -> Result<()> {
        let help = "Whether the last decision was to train again.";
        self.level("mlops_retrain_requested", help, labels, u64::from(request.is_some()))?;
        let Some(request) = request else { return Ok(()) };
        let mut reasons = Family::gauge("mlops_retrain_reasons", "Reasons of the request, by kind.")?;
        for kind in ["age", "drift", "new_labels", "performance"] {
            let count = request.reasons.iter().filter(|reason| reason_name(reason) == kind).count();
            reasons.set(&labels.with("reason", kind)?, count as u64)?;
        }
        self.add(reasons)?;
        self.window_end("mlops_retrain_decided_timestamp_seconds", labels, request.at)
    }

    fn ratio(&mut self, name: &str, help: &str, labels: &Labels, value: f64) -> Result<()> {
        let mut family = Family::gauge(name, help)?.unit("ratio")?;
        family.set(labels, value)?;
        self.add(family)
    }

    fn window_end(&mut self, name: &str, labels: &Labels, at: EventTime) -> Result<()> {
        let mut family = Family::gauge(name, "Time that the values are of.")?.unit("seconds")?;
        family.set(labels, at.as_micros() as f64 / 1e6)?;
        self.add(family)
    }
}

/// Columns with a verdict, the farthest first.
fn farthest(report: &DriftReport) -> Vec<&ColumnVerdict> {
    let judged = report.columns.iter().filter(|column| column.verdict != Verdict::Inconclusive);
    let mut columns: Vec<&ColumnVerdict> = judged.collect();
    columns.sort_by(|a, b| b.now.effect.total_cmp(&a.now.effect));
    columns.truncate(DRIFT_COLUMNS_MAX);
    columns
}

fn method(method: DriftMethod) -> &'static str {
    match method {
        DriftMethod::Psi => "psi",
        DriftMethod::Ks => "ks",
        DriftMethod::Robust => "robust",
    }
}

fn reason_name(reason: &RetrainReason) -> &'static str {
    match reason {
        RetrainReason::Drift { .. } => "drift",
        RetrainReason::Performance { .. } => "performance",
        RetrainReason::Age { .. } => "age",
        RetrainReason::NewLabels { .. } => "new_labels",
    }
}
