//! Keeps the service honest: the log becomes windows, windows show drift, clicks become labels, labels show performance, and together
//! they say when to learn anew.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use mlops_core::profile::Profile;
use mlops_core::source::ParquetSink;
use mlops_core::stats::DriftRule;
use mlops_core::validate::Severity;
use mlops_core::{Dataset, EventTime, Name, Window};
use mlops_monitor::alert::{Alert, AlertRule, AlertRules, AlertSink, Bound, JsonLinesAlerts, Outbox, Signal};
use mlops_monitor::log::{LabelJoin, LabelRule, PredictionLog};
use mlops_monitor::performance::{Gain, Metric};
use mlops_monitor::{
    DriftMonitor, DriftReport, FairnessMonitor, FairnessReport, PerformanceMonitor, PerformanceReport, RetrainPolicy,
    RetrainRequest, RetrainSignals, WindowRule, WindowStats, Windows,
};

use crate::Result;
use crate::judge::CUT;
use crate::replay::Answered;
use crate::world::{Ask, Plan, Reaction};

/// How late an event may arrive and still count.
const LATENESS: Duration = Duration::from_mins(5);

/// The label of what was served: whether it was clicked (in a world of ratings: liked).
pub const CLICKED: &str = "clicked";

/// Answers that one drain takes.
const DRAIN: usize = 1 << 20;

/// What was seen over one stretch of service.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Traffic and profiles of windows that closed.
    pub windows: Vec<WindowStats>,
    /// Their comparison with the reference, where there is one.
    pub drift: Vec<DriftReport>,
    /// Performance of windows whose labels are there.
    pub performance: Vec<PerformanceReport>,
    /// Exposure of makers in windows that closed.
    pub fairness: Vec<FairnessReport>,
    /// Alerts that began or ended.
    pub alerts: Vec<Alert>,
    /// That a new model is wanted.
    pub retrain: Option<RetrainRequest>,
}

/// Everything that watches the service.
#[derive(Debug)]
pub struct Watch {
    log: Arc<PredictionLog>,
    windows: Windows,
    drift: Option<DriftMonitor>,
    join: LabelJoin,
    performance: PerformanceMonitor,
    fairness: FairnessMonitor,
    policy: RetrainPolicy,
    rules: AlertRules,
    outbox: Outbox,
    sink: JsonLinesAlerts,
    watched: Vec<String>,
    plan: Plan,
    dir: PathBuf,
    /// Clicks that have not come yet.
    coming: Vec<Click>,
    labelled: Vec<RecordBatch>,
    last_drift: Option<DriftReport>,
    last_performance: Option<PerformanceReport>,
    drifting_since: Option<EventTime>,
    trained_at: EventTime,
    requested_at: Option<EventTime>,
    labels_since: u64,
}

#[derive(Clone, Copy, Debug)]
struct Click {
    request: u64,
    offer_id: i64,
    at: EventTime,
}

impl Watch {
    /// Watches what `log` is shown, of a model that was trained at `trained_at`. `labels_min` are the labelled rows that a new model
    /// needs at least.
    ///
    /// # Errors
    /// When the log lacks a watched column, or the folder `dir` cannot be written to.
    pub fn new(
        log: Arc<PredictionLog>,
        plan: &Plan,
        watched: &[&str],
        labels_min: u64,
        trained_at: EventTime,
        dir: &Path,
    ) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(|e| mlops_core::Error::io(dir, e))?;
        let rule = WindowRule::builder(plan.window).lateness(LATENESS).retention(plan.window * 4).build()?;
        let columns: Vec<String> = watched.iter().map(|name| (*name).to_owned()).chain(["score".to_owned()]).collect();
        let windows = Windows::builder(log.schema(), rule).columns(columns.clone()).build()?;
        let join = LabelJoin::builder(log.schema(), "offer_id")
            .label(LabelRule::new(Name::new(CLICKED)?, plan.click_window))
            .lateness(LATENESS)
            .build()?;
        let performance = PerformanceMonitor::builder(rule)
            .ranking(Name::new("page")?, CLICKED, CUT, Gain::Binary)
            .classification(Name::new("click")?, CLICKED, "score", 0.5)
            .build()?;
        let fairness = FairnessMonitor::builder(log.schema(), "maker", rule).first(3).build()?;
        let policy = RetrainPolicy::builder().labels_min(labels_min).interval_min(plan.window * 2);
        let policy = match plan.age_max {
            Some(age) => policy.age_max(age),
            None => policy.drifted_columns(2),
        };
        let alert = AlertRule::builder(Name::new("inputs_drift")?, Name::new("drifted_columns")?, Bound::AtLeast, 2.0);
        let alert = alert.severity(Severity::Warning).text("inputs are not what the model was trained on").build()?;
        Ok(Self {
            log,
            windows,
            drift: None,
            join,
            performance,
            fairness,
            policy: policy.build()?,
            rules: AlertRules::new(vec![alert])?,
            outbox: Outbox::new(1_000)?,
            sink: JsonLinesAlerts::open(Name::new("alerts_file")?, dir.join("alerts.jsonl"))?,
            watched: columns,
            plan: plan.clone(),
            dir: dir.to_owned(),
            coming: Vec::new(),
            labelled: Vec::new(),
            last_drift: None,
            last_performance: None,
            drifting_since: None,
            trained_at,
            requested_at: None,
            labels_since: 0,
        })
    }

    /// Takes note of what will come of a page: clicks are told when their time has come.
    pub fn expect(&mut self, ask: &Ask, reactions: &[Reaction]) {
        let click = |reaction: &Reaction| {
            let at = reaction.clicked_at?;
            reaction.position.map(|_| Click { request: ask.id, offer_id: reaction.offer_id, at })
        };
        self.coming.extend(reactions.iter().filter_map(click));
    }

    /// Everything until `now`: drains the log, joins the clicks, closes windows, compares, judges and decides.
    ///
    /// # Errors
    /// When a column is of another type than it was, or the disk fails.
    pub fn look(&mut self, now: EventTime) -> Result<Seen> {
        for batch in self.log.drain(DRAIN)? {
            self.windows.update(&batch, now)?;
            self.fairness.update(&batch, now)?;
            self.join.impressions(&batch, now)?;
        }
        let clicks = self.clicks_until(now)?;
        self.join.labels(CLICKED, &clicks, now)?;
        for batch in self.join.advance(now)? {
            self.performance.update(&batch, now)?;
            self.labels_since += batch.num_rows() as u64;
            self.labelled.push(batch);
        }
        let windows = self.windows.due(now);
        let drift = self.compare(&windows)?;
        let performance = self.performance.due(now);
        self.last_performance = performance.last().cloned().or(self.last_performance.take());
        let fairness = self.fairness.due(now);
        let alerts = self.alert(&drift)?;
        let retrain = self.decide(now);
        Ok(Seen { windows, drift, performance, fairness, alerts, retrain })
    }

    fn clicks_until(&mut self, now: EventTime) -> Result<RecordBatch> {
        let (come, coming) = self.coming.iter().copied().partition::<Vec<Click>, _>(|click| click.at <= now);
        self.coming = coming;
        let times = TimestampMicrosecondArray::from_iter_values(come.iter().map(|click| click.at.as_micros()));
        let requests: StringArray = come.iter().map(|click| Some(format!("{:032x}", click.request))).collect();
        Ok(RecordBatch::try_from_iter([
            ("request_id", Arc::new(requests) as ArrayRef),
            ("event_time", Arc::new(times.with_timezone("UTC"))),
            ("offer_id", Arc::new(Int64Array::from_iter_values(come.iter().map(|click| click.offer_id)))),
        ])?)
    }

    /// The first window is the reference of those after it.
    fn compare(&mut self, windows: &[WindowStats]) -> Result<Vec<DriftReport>> {
        let mut reports = Vec::new();
        for window in windows {
            let Some(drift) = &mut self.drift else {
                self.drift = Some(monitor(window.profile.clone(), &self.watched)?);
                continue;
            };
            let report = drift.judge(window.window, &window.profile)?;
            // Drift began with the first window of those that the conclusion rests on.
            if report.columns.iter().any(|column| column.hits > 0) {
                self.drifting_since.get_or_insert(window.window.start);
            } else {
                self.drifting_since = None;
            }
            self.last_drift = Some(report.clone());
            reports.push(report);
        }
        Ok(reports)
    }

    fn alert(&mut self, drift: &[DriftReport]) -> Result<Vec<Alert>> {
        let mut alerts = Vec::new();
        for report in drift {
            let signal = Signal::new(Name::new("drifted_columns")?, report.drifted().len() as f64);
            alerts.extend(self.rules.evaluate(&[signal], report.window.end));
        }
        self.outbox.push(alerts.iter().cloned());
        self.outbox.deliver(&self.sink as &dyn AlertSink)?;
        Ok(alerts)
    }

    fn decide(&mut self, now: EventTime) -> Option<RetrainRequest> {
        let signals = RetrainSignals {
            trained_at: self.trained_at,
            requested_at: self.requested_at,
            drift: self.last_drift.as_ref(),
            performance: self.last_performance.as_ref(),
            new_labels: self.labels_since,
        };
        let request = self.policy.decide(&signals, now);
        if request.is_some() {
            self.requested_at = Some(now);
        }
        request
    }

    /// A new model serves since `at`, and was trained on what the last windows looked like: they are the new reference.
    ///
    /// # Errors
    /// None in practice: the columns are the same.
    pub fn promoted(&mut self, at: EventTime, reference: Window) -> Result<()> {
        self.trained_at = at;
        self.labels_since = 0;
        (self.last_drift, self.drifting_since) = (None, None);
        if let (Some(drift), Some(window)) = (&mut self.drift, self.windows.span(reference)?) {
            drift.set_reference(window.profile)?;
        }
        Ok(())
    }

    /// What windows are compared with, once there was one.
    pub fn reference(&self) -> Option<&Profile> {
        self.drift.as_ref().map(DriftMonitor::reference)
    }

    /// Since when inputs have been drifting.
    pub fn drifting_since(&self) -> Option<EventTime> {
        self.drifting_since
    }

    /// Labelled rows of pages that were served since `since`, in the order of time.
    ///
    /// # Errors
    /// When there is none.
    pub fn labelled_since(&self, since: EventTime) -> Result<Dataset> {
        let recent = mlops_core::source::Predicate::new("event_time", mlops_core::source::Comparison::GtEq, since);
        let rows = self.labelled.iter().map(|batch| recent.apply(batch));
        let rows = rows.filter(|batch| batch.as_ref().is_ok_and(|batch| batch.num_rows() > 0) || batch.is_err());
        Ok(Dataset::held(self.join.schema().clone(), rows.collect::<Result<Vec<_>, _>>()?)?)
    }

    /// Writes down what was served and labelled so far, for whoever learns from it elsewhere.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn keep(&self) -> Result<PathBuf> {
        let path = self.dir.join("served.parquet");
        Dataset::held(self.join.schema().clone(), self.labelled.clone())?.write_to(&ParquetSink::new(&path))?;
        Ok(path)
    }

    /// NDCG of the last window with labels, by what was clicked.
    pub fn click_ndcg(&self) -> Option<f64> {
        self.last_performance.as_ref().and_then(|report| report.metric("page", Metric::Ndcg))
    }

    /// What became of everything that was logged.
    pub fn log(&self) -> &Arc<PredictionLog> {
        &self.log
    }

    /// Traffic and profiles.
    pub fn windows(&self) -> &Windows {
        &self.windows
    }

    /// When the parts of the story happen.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }
}

fn monitor(reference: Profile, watched: &[String]) -> Result<DriftMonitor> {
    let rule = DriftRule::builder().threshold(0.1).build()?;
    let inputs = watched.iter().filter(|column| *column != "score").cloned();
    Ok(DriftMonitor::builder(reference).rule(rule).columns(inputs).persistence(2, 3).build()?)
}

/// Pages of a day with what came of them, for whoever feeds history.
pub fn looks(ask: &Ask, reactions: &[Reaction]) -> Vec<crate::history::Seen> {
    let seen = |reaction: &Reaction| crate::history::Seen {
        at: ask.at,
        customer_id: ask.customer_id,
        offer_id: reaction.offer_id,
        looks: reaction.looks,
        value: reaction.value,
    };
    reactions.iter().filter(|reaction| reaction.looks > 0.0).map(seen).collect()
}

/// Times of all answers in microseconds, sorted.
pub fn times(answers: &[Option<Answered>]) -> Vec<u64> {
    let mut times: Vec<u64> = answers.iter().flatten().map(|answer| answer.took_us).collect();
    times.sort_unstable();
    times
}
