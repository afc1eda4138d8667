//! How good what was served turned out to be, window by window, once labels are there.

use std::collections::BTreeMap;

use arrow::array::RecordBatch;
use mlops_core::metrics::{BinaryTotals, RankingTotals};
use mlops_core::{Error, EventTime, Name, Result, Window};
use serde::{Deserialize, Serialize};

use crate::format::FormatOne;
use crate::log::{self, EVENT_TIME, POSITION, REQUEST_ID};
use crate::tumbling::Tumbling;
use crate::window::by_window;
use crate::{WindowCounters, WindowRule};

/// What is measured.
///
/// Ranking metrics judge the order as served. NDCG, MRR, MAP, precision and recall are means over the requests with at least
/// one positive label; the hit rate is over all requests. See [`mlops_core::metrics`] for the formulas.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Metric {
    /// Normalised discounted cumulative gain at `k`.
    Ndcg,
    /// Mean reciprocal rank.
    Mrr,
    /// Mean average precision at `k`.
    Map,
    /// Precision at `k`.
    Precision,
    /// Recall at `k`.
    Recall,
    /// Share of requests with a positive label among the first `k`.
    Hit,
    /// Area under the ROC curve.
    Auc,
    /// Mean log loss in nats.
    LogLoss,
    /// Share of right decisions at the threshold.
    Accuracy,
    /// Brier score.
    Brier,
    /// Expected calibration error, 10 bins.
    Ece,
}

impl Metric {
    /// Whether a greater value is the better one.
    pub fn is_better_greater(self) -> bool {
        !matches!(self, Self::LogLoss | Self::Brier | Self::Ece)
    }

    /// Name in reports and metric labels, such as `log_loss`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ndcg => "ndcg",
            Self::Mrr => "mrr",
            Self::Map => "map",
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::Hit => "hit",
            Self::Auc => "auc",
            Self::LogLoss => "log_loss",
            Self::Accuracy => "accuracy",
            Self::Brier => "brier",
            Self::Ece => "ece",
        }
    }

    fn is_of_ranking(self) -> bool {
        matches!(self, Self::Ndcg | Self::Mrr | Self::Map | Self::Precision | Self::Recall | Self::Hit)
    }
}

/// How a label becomes a gain of NDCG.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Gain {
    /// Every label above 0 is worth the same, such as clicks.
    #[default]
    Binary,
    /// The label is the grade, such as 1 for a click and 2 for a purchase.
    Graded,
}

/// Whether a metric holds its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// No worse than the reference by more than the tolerance.
    Held,
    /// Worse than the reference by more than the tolerance.
    Degraded,
    /// Too few labelled requests or rows, or the metric does not exist for them.
    Inconclusive,
}

/// A metric beside its reference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// The task.
    pub task: Name,
    /// What is measured.
    pub metric: Metric,
    /// The value to hold, such as that of the test set.
    pub reference: f64,
    /// How much worse it may be, in units of the metric, at least 0.
    pub tolerance: f64,
}

/// How one level stands in one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LevelFinding {
    /// What was to hold.
    pub level: Level,
    /// The value of the window, where it exists.
    pub value: Option<f64>,
    /// The conclusion.
    pub standing: Standing,
}

/// One task in one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskReport {
    /// The task.
    pub task: Name,
    /// What the values are means of: requests with a positive label for ranking, rows for classification.
    pub samples: u64,
    /// All metrics that exist.
    pub metrics: BTreeMap<Metric, f64>,
}

/// All tasks of one window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PerformanceReport {
    format: FormatOne,
    /// The stretch of event time: that of serving, not of the labels.
    pub window: Window,
    /// How often it was given out before; it is given out again when late labels come.
    pub revision: u32,
    /// One entry per task, in the order of definition.
    pub tasks: Vec<TaskReport>,
    /// One entry per level, in the order of definition.
    pub levels: Vec<LevelFinding>,
}

impl PerformanceReport {
    /// Levels that do not hold.
    pub fn degraded(&self) -> Vec<&LevelFinding> {
        self.levels.iter().filter(|finding| finding.standing == Standing::Degraded).collect()
    }

    /// A metric of a task.
    pub fn metric(&self, task: &str, metric: Metric) -> Option<f64> {
        self.tasks.iter().find(|t| t.task.as_str() == task).and_then(|t| t.metrics.get(&metric).copied())
    }
}

#[derive(Debug, Clone)]
enum Task {
    Ranking { label: String, k: usize, gain: Gain },
    Binary { label: String, score: String, threshold: f64 },
}

#[derive(Debug, Clone)]
enum Totals {
    Ranking(RankingTotals),
    Binary(Box<BinaryTotals>),
}

/// Ranking and classification metrics per window of serving time, from labelled rows as [`LabelJoin`](log::LabelJoin) gives them.
///
/// Labels come late: rows of a window that was given out re-open it, and it is given out again with a higher revision, until
/// its retention is over ([`WindowRule`]). A request must not be cut over two batches.
#[derive(Debug)]
pub struct PerformanceMonitor {
    tasks: Vec<(Name, Task)>,
    levels: Vec<Level>,
    samples_min: u64,
    open: Tumbling<Vec<Totals>>,
}

/// Builder of [`PerformanceMonitor`].
#[derive(Debug, Clone)]
pub struct PerformanceMonitorBuilder {
    rule: WindowRule,
    tasks: Vec<(Name, Task)>,
    levels: Vec<Level>,
    samples_min: u64,
}

impl PerformanceMonitorBuilder {
    /// Judges the order as served by the column `label` at a cut of `k`.
    pub fn ranking(mut self, task: Name, label: impl Into<String>, k: usize, gain: Gain) -> Self {
        self.tasks.push((task, Task::Ranking { label: label.into(), k, gain }));
        self
    }

    /// Judges the probabilities in the column `score` by the column `label`, positive where it is above 0; decisions are
    /// made at `threshold`.
    pub fn classification(
        mut self,
        task: Name,
        label: impl Into<String>,
        score: impl Into<String>,
        threshold: f64,
    ) -> Self {
        self.tasks.push((task, Task::Binary { label: label.into(), score: score.into(), threshold }));
        self
    }

    /// A level to hold. Default: none, everything is only measured.
    pub fn level(mut self, level: Level) -> Self {
        self.levels.push(level);
        self
    }

    /// Samples below which a level is [`Standing::Inconclusive`]. Default 100.
    pub fn samples_min(mut self, samples: u64) -> Self {
        self.samples_min = samples;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no task, a cut is 0, a threshold is not in `[0, 1]`, or a level is not finite or of a metric
    /// that its task does not have; [`Error::NotFound`] for a level of no task; [`Error::AlreadyExists`] when two tasks have one name.
    pub fn build(self) -> Result<PerformanceMonitor> {
        if self.tasks.is_empty() {
            return Err(Error::invalid("tasks", 0, "at least 1"));
        }
        for (place, (name, task)) in self.tasks.iter().enumerate() {
            task.totals()?;
            if self.tasks[..place].iter().any(|(other, _)| other == name) {
                return Err(Error::AlreadyExists { kind: "task", name: name.to_string() });
            }
        }
        for level in &self.levels {
            let found = self.tasks.iter().find(|(name, _)| *name == level.task);
            let (_, task) = found.ok_or_else(|| Error::not_found("task", level.task.as_str()))?;
            if matches!(task, Task::Ranking { .. }) != level.metric.is_of_ranking() {
                return Err(Error::invalid("metric of a level", level.metric.name(), "a metric of its task"));
            }
            if !level.reference.is_finite() || !level.tolerance.is_finite() || level.tolerance < 0.0 {
                let shown = format!("{} - {}", level.reference, level.tolerance);
                return Err(Error::invalid("level", shown, "finite with a tolerance of at least 0"));
            }
        }
        let Self { rule, tasks, levels, samples_min } = self;
        Ok(PerformanceMonitor { tasks, levels, samples_min, open: Tumbling::new(rule) })
    }
}

impl Task {
    fn totals(&self) -> Result<Totals> {
        Ok(match self {
            Self::Ranking { k, .. } => Totals::Ranking(RankingTotals::new(*k)?),
            Self::Binary { threshold, .. } => Totals::Binary(Box::new(BinaryTotals::new(*threshold)?)),
        })
    }
}

/// The columns that one task reads.
struct Columns {
    labels: Vec<Option<f64>>,
    scores: Vec<Option<f64>>,
}

impl PerformanceMonitor {
    /// Windows of serving time as `rule` says.
    pub fn builder(rule: WindowRule) -> PerformanceMonitorBuilder {
        PerformanceMonitorBuilder { rule, tasks: Vec::new(), levels: Vec::new(), samples_min: 100 }
    }

    /// Adds labelled rows. Rows with a null, NaN or otherwise unusable label or score are counted as malformed, and left
    /// out of that task.
    ///
    /// # Errors
    /// [`Error::NotFound`] when a column is missing, [`Error::Schema`] when one has another type; nothing is added then.
    pub fn update(&mut self, rows: &RecordBatch, now: EventTime) -> Result<()> {
        self.open.observe_now(now);
        let times = log::times(rows, EVENT_TIME)?;
        let ids = log::texts(rows, REQUEST_ID)?;
        let columns = self.tasks.iter().map(|(_, task)| columns(rows, task)).collect::<Result<Vec<_>>>()?;
        let fresh = self.tasks.iter().map(|(_, task)| task.totals()).collect::<Result<Vec<_>>>()?;
        for (window, inside) in by_window(&mut self.open, &times) {
            let totals = self.open.change(window, || fresh.clone());
            let mut malformed = 0;
            for (totals, columns) in totals.iter_mut().zip(&columns) {
                malformed += match totals {
                    Totals::Ranking(totals) => rank(totals, &inside, &ids, columns)?,
                    Totals::Binary(totals) => classify(totals, &inside, columns)?,
                };
            }
            self.open.counters.malformed += malformed;
        }
        Ok(())
    }

    /// Reports of windows that are due at `now` and changed since they were given out, oldest first.
    pub fn due(&mut self, now: EventTime) -> Vec<PerformanceReport> {
        self.open.observe_now(now);
        let (tasks, levels, samples_min) = (&self.tasks, &self.levels, self.samples_min);
        self.open.due(|window, revision, totals| report(window, revision, tasks, totals, levels, samples_min))
    }

    /// One report over the windows that lie wholly inside of `span`, merged; `None` when there is none.
    ///
    /// # Errors
    /// None in practice: what merging totals of one task says.
    pub fn span(&self, span: Window) -> Result<Option<PerformanceReport>> {
        let inside = |window: &Window| span.start <= window.start && window.end <= span.end;
        let mut merged: Option<(Window, Vec<Totals>)> = None;
        for (window, _, totals) in self.open.iter().filter(|(window, ..)| inside(window)) {
            let Some((whole, sums)) = &mut merged else {
                merged = Some((window, totals.clone()));
                continue;
            };
            whole.end = window.end;
            for (sum, totals) in sums.iter_mut().zip(totals) {
                match (sum, totals) {
                    (Totals::Ranking(sum), Totals::Ranking(totals)) => sum.merge(totals)?,
                    (Totals::Binary(sum), Totals::Binary(totals)) => sum.merge(totals)?,
                    _ => {}
                }
            }
        }
        Ok(merged.map(|(window, totals)| report(window, 0, &self.tasks, &totals, &self.levels, self.samples_min)))
    }

    /// Rows that no window took.
    pub fn counters(&self) -> WindowCounters {
        self.open.counters
    }
}

fn columns(rows: &RecordBatch, task: &Task) -> Result<Columns> {
    match task {
        Task::Ranking { label, gain, .. } => {
            let positions = log::integers(rows, POSITION)?;
            let binary = |label: f64| if label > 0.0 { 1.0 } else { label };
            let gain = |label: f64| if *gain == Gain::Binary { binary(label) } else { label };
            let usable = |label: &f64| label.is_finite() && *label >= 0.0;
            Ok(Columns {
                labels: log::numbers(rows, label)?.into_iter().map(|l| l.filter(usable).map(gain)).collect(),
                // The order as served is that of the positions, whatever the scores were.
                scores: positions.into_iter().map(|position| position.map(|p| -(p as f64))).collect(),
            })
        }
        Task::Binary { label, score, .. } => {
            let label_of = |label: f64| label.is_finite().then_some(f64::from(u8::from(label > 0.0)));
            let probability = |score: &f64| (0.0..=1.0).contains(score);
            Ok(Columns {
                labels: log::numbers(rows, label)?.into_iter().map(|l| l.and_then(label_of)).collect(),
                scores: log::numbers(rows, score)?.into_iter().map(|s| s.filter(probability)).collect(),
            })
        }
    }
}

/// Adds the lists of requests; a list with an unusable row is left out whole. Returns unusable rows.
fn rank(totals: &mut RankingTotals, rows: &[u32], ids: &[Option<String>], columns: &Columns) -> Result<u64> {
    let mut lists: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    let mut malformed = 0;
    for &row in rows {
        match &ids[row as usize] {
            Some(id) => lists.entry(id).or_default().push(row),
            None => malformed += 1,
        }
    }
    for list in lists.into_values() {
        let cells = list.iter().map(|&row| columns.labels[row as usize].zip(columns.scores[row as usize]));
        match cells.collect::<Option<(Vec<f64>, Vec<f64>)>>() {
            Some((labels, scores)) => totals.update(&labels, &scores)?,
            None => malformed += list.len() as u64,
        }
    }
    Ok(malformed)
}

/// Adds rows; returns unusable ones.
fn classify(totals: &mut BinaryTotals, rows: &[u32], columns: &Columns) -> Result<u64> {
    let cells = rows.iter().filter_map(|&row| columns.labels[row as usize].zip(columns.scores[row as usize]));
    let (labels, scores): (Vec<f64>, Vec<f64>) = cells.unzip();
    if !labels.is_empty() {
        totals.update(&labels, &scores)?;
    }
    Ok((rows.len() - labels.len()) as u64)
}

fn measure(task: &Name, totals: &Totals) -> TaskReport {
    let mut metrics = BTreeMap::new();
    let samples = match totals {
        Totals::Ranking(totals) => {
            if let Some(means) = totals.means_of_answerable() {
                metrics.extend([
                    (Metric::Ndcg, means.ndcg),
                    (Metric::Mrr, means.mrr),
                    (Metric::Map, means.map),
                    (Metric::Precision, means.precision),
                    (Metric::Recall, means.recall),
                ]);
            }
            metrics.extend(totals.means().map(|means| (Metric::Hit, means.hit)));
            totals.queries() - totals.without_relevant()
        }
        Totals::Binary(totals) => {
            let values = [
                (Metric::Auc, totals.auc()),
                (Metric::LogLoss, totals.log_loss()),
                (Metric::Accuracy, totals.confusion().accuracy()),
                (Metric::Brier, totals.brier()),
                (Metric::Ece, totals.ece()),
            ];
            metrics.extend(values.into_iter().filter_map(|(metric, value)| Some((metric, value?))));
            totals.rows()
        }
    };
    TaskReport { task: task.clone(), samples, metrics }
}

fn report(
    window: Window,
    revision: u32,
    tasks: &[(Name, Task)],
    totals: &[Totals],
    levels: &[Level],
    samples_min: u64,
) -> PerformanceReport {
    let tasks: Vec<TaskReport> = tasks.iter().zip(totals).map(|((name, _), totals)| measure(name, totals)).collect();
    let judge = |level: &Level| {
        let task = tasks.iter().find(|task| task.task == level.task);
        let value = task.and_then(|task| task.metrics.get(&level.metric).copied());
        let enough = task.is_some_and(|task| task.samples >= samples_min);
        let worse = |value: f64| {
            if level.metric.is_better_greater() { level.reference - value } else { value - level.reference }
        };
        let standing = match value.filter(|_| enough) {
            None => Standing::Inconclusive,
            Some(value) if worse(value) > level.tolerance => Standing::Degraded,
            Some(_) => Standing::Held,
        };
        LevelFinding { level: level.clone(), value, standing }
    };
    let levels = levels.iter().map(judge).collect();
    PerformanceReport { format: FormatOne, window, revision, tasks, levels }
}

#[cfg(test)]
mod tests;
