//! From served requests to the request to train again, through every part of the crate.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use mlops_core::arrow::array::{
    ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use mlops_core::arrow::datatypes::{DataType, Field};
use mlops_core::profile::Profile;
use mlops_core::rank::{
    Budget, ContextColumns, FixedCandidates, Query, RankPipeline, RequestId, Scored, Scorer, Served, Slate,
};
use mlops_core::{EventTime, Name, Result, Schema};
use mlops_monitor::alert::{AlertRule, AlertRules, Bound, MemoryAlerts, Outbox, Signal};
use mlops_monitor::export::openmetrics::{Exposition, Labels};
use mlops_monitor::log::{EVENT_TIME, LabelJoin, LabelRule, PredictionLog, REQUEST_ID};
use mlops_monitor::performance::{Gain, Level, Metric};
use mlops_monitor::report::MonitorReport;
use mlops_monitor::retrain::RetrainReason;
use mlops_monitor::testkit::FlakyAlerts;
use mlops_monitor::{
    DriftMonitor, DriftReport, PerformanceMonitor, PerformanceReport, RetrainPolicy, RetrainRequest, RetrainSignals,
    WindowRule, WindowStats, Windows,
};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
/// When tastes and balances change.
const SHIFT: i64 = 2 * HOUR;
const OFFERS: [i64; 4] = [1, 2, 3, 4];

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn at(seconds: i64) -> EventTime {
    EventTime::from_secs(seconds)
}

/// Likes offers with small ids.
#[derive(Debug)]
struct SmallFirst(Name);

#[async_trait]
impl Scorer for SmallFirst {
    fn name(&self) -> &Name {
        &self.0
    }

    fn check(&self, _: &Schema) -> Result<()> {
        Ok(())
    }

    async fn score(&self, _: &Query, slate: &Slate, _: Budget) -> Result<Scored> {
        let scores = OFFERS.iter().map(|id| 1.0 / *id as f64).take(slate.len()).collect();
        Ok(Scored { scores, version: "1".into() })
    }
}

fn service(log: Arc<PredictionLog>) -> RankPipeline {
    let ids: ArrayRef = Arc::new(Int64Array::from(OFFERS.to_vec()));
    let offers = RecordBatch::try_from_iter([("offer_id", ids)]).unwrap();
    let balance = [Field::new("balance", DataType::Float64, true)];
    RankPipeline::builder("offers")
        .source(Arc::new(FixedCandidates::new("all", offers).unwrap()), 10)
        .hydrator(Arc::new(ContextColumns::new("context", balance).unwrap()))
        .scorer(Arc::new(SmallFirst(name("click"))), 1.0)
        .observer(log)
        .build()
        .unwrap()
}

/// Request number `n` at `second`: the same balances each hour, from 0 on at first and from 500 on after the shift.
fn ask(service: &RankPipeline, n: i64, second: i64) -> Arc<Served> {
    let balance = (n % 60) as f64 * 1.5 + if second >= SHIFT { 500.0 } else { 0.0 };
    let balance: ArrayRef = Arc::new(Float64Array::from(vec![balance]));
    let context = RecordBatch::try_from_iter([("balance", balance)]).unwrap();
    service.rank_now(Query::new(RequestId(n as u128), at(second), context, 10).unwrap()).unwrap()
}

/// A click five seconds after the answer: on the first offer at first, on the last one after the shift.
fn clicks(requests: &[(i64, i64)]) -> RecordBatch {
    let offer = |second: i64| if second >= SHIFT { OFFERS[3] } else { OFFERS[0] };
    let times: Vec<i64> = requests.iter().map(|(_, second)| (second + 5) * 1_000_000).collect();
    let columns: [(&str, ArrayRef); 3] = [
        (REQUEST_ID, Arc::new(StringArray::from_iter_values(requests.iter().map(|(n, _)| format!("{n:032x}"))))),
        ("offer_id", Arc::new(Int64Array::from_iter_values(requests.iter().map(|(_, second)| offer(*second))))),
        (EVENT_TIME, Arc::new(TimestampMicrosecondArray::from(times).with_timezone("UTC"))),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// Everything that a host would hold beside its service.
struct Monitor {
    log: Arc<PredictionLog>,
    windows: Windows,
    join: LabelJoin,
    performance: PerformanceMonitor,
    drift: Option<DriftMonitor>,
    rules: AlertRules,
    outbox: Outbox,
    sink: FlakyAlerts<MemoryAlerts>,
    policy: RetrainPolicy,
    given: Vec<WindowStats>,
    drifts: Vec<DriftReport>,
    measured: Vec<PerformanceReport>,
    request: Option<RetrainRequest>,
}

impl Monitor {
    fn new() -> Self {
        let log = PredictionLog::builder(name("impressions"), Field::new("offer_id", DataType::Int64, false))
            .objective(name("click"))
            .feature(Field::new("balance", DataType::Float64, true))
            .build()
            .unwrap();
        let hourly = WindowRule::builder(Duration::from_hours(1));
        let join = LabelJoin::builder(log.schema(), "offer_id")
            .label(LabelRule::new(name("clicked"), Duration::from_mins(30)))
            .lateness(Duration::from_mins(15));
        let level = Level { task: name("clicks"), metric: Metric::Mrr, reference: 1.0, tolerance: 0.1 };
        let performance = PerformanceMonitor::builder(hourly.lateness(Duration::from_mins(50)).build().unwrap())
            .ranking(name("clicks"), "clicked", 4, Gain::Binary)
            .level(level)
            .samples_min(50);
        let worse = AlertRule::builder(name("clicks_sink"), name("mrr"), Bound::AtMost, 0.5);
        let moved = AlertRule::builder(name("inputs_move"), name("drifted"), Bound::AtLeast, 1.0);
        Self {
            windows: Windows::builder(log.schema(), hourly.build().unwrap()).build().unwrap(),
            join: join.build().unwrap(),
            performance: performance.build().unwrap(),
            drift: None,
            rules: AlertRules::new(vec![worse.build().unwrap(), moved.build().unwrap()]).unwrap(),
            outbox: Outbox::new(100).unwrap(),
            sink: FlakyAlerts::new(MemoryAlerts::new(name("pager"), 100).unwrap()).fail_every(2).taken_first(1),
            policy: RetrainPolicy::builder().drifted_columns(1).performance_drop().labels_min(500).build().unwrap(),
            log: Arc::new(log),
            given: Vec::new(),
            drifts: Vec::new(),
            measured: Vec::new(),
            request: None,
        }
    }

    /// What a host does every ten minutes. The first window becomes the reference.
    fn tick(&mut self, now: EventTime, clicked: &[(i64, i64)]) {
        for batch in self.log.drain(usize::MAX).unwrap() {
            self.windows.update(&batch, now).unwrap();
            self.join.impressions(&batch, now).unwrap();
        }
        self.join.labels("clicked", &clicks(clicked), now).unwrap();
        for batch in self.join.advance(now).unwrap() {
            self.performance.update(&batch, now).unwrap();
        }
        let mut signals = Vec::new();
        for stats in self.windows.due(now) {
            let reference: &Profile = &stats.profile;
            let drift = self.drift.get_or_insert_with(|| DriftMonitor::builder(reference.clone()).build().unwrap());
            let report = drift.judge(stats.window, &stats.profile).unwrap();
            signals.push(Signal::new(name("drifted"), report.drifted().len() as f64));
            self.drifts.push(report);
            self.given.push(stats);
        }
        for report in self.performance.due(now) {
            let mrr = report.metric("clicks", Metric::Mrr).unwrap_or(f64::NAN);
            signals.push(Signal::new(name("mrr"), mrr));
            self.measured.push(report);
        }
        self.outbox.push(self.rules.evaluate(&signals, now));
        // The sink fails now and then: what waits is sent again at the next tick.
        let _ = self.outbox.deliver(&self.sink);
        let signals = RetrainSignals {
            trained_at: at(0),
            requested_at: self.request.as_ref().map(|request| request.at),
            drift: self.drifts.last(),
            performance: self.measured.last(),
            new_labels: self.join.counters().matured,
        };
        if self.request.is_none() {
            self.request = self.policy.decide(&signals, now);
        }
    }
}

/// Ten requests a tick for four hours, then ticks until everything has matured.
fn run() -> (Monitor, RankPipeline) {
    let mut monitor = Monitor::new();
    let service = service(monitor.log.clone());
    let mut clicked: Vec<(i64, i64)> = Vec::new();
    for tick in 0..36 {
        // Clicks of the tick before come with this one.
        let late = std::mem::take(&mut clicked);
        if tick < 24 {
            for place in 0..10 {
                let (n, second) = (tick * 10 + place, tick * 10 * MINUTE + place * MINUTE);
                let served = ask(&service, n, second);
                assert_eq!(served.slate.len(), 4);
                clicked.push((n, second));
            }
        }
        monitor.tick(at((tick + 1) * 10 * MINUTE), &late);
    }
    (monitor, service)
}

#[test]
fn a_shift_of_inputs_and_tastes_becomes_a_request_to_train() {
    let (monitor, _) = run();
    let counts: Vec<_> = monitor.given.iter().map(|w| (w.traffic.requests, w.traffic.candidates)).collect();
    assert_eq!(counts, [(60, 240); 4]);
    assert_eq!(monitor.windows.totals().requests, 240);
    let drifted: Vec<bool> = monitor.drifts.iter().map(|report| !report.drifted().is_empty()).collect();
    assert_eq!(drifted, [false, false, false, true], "two of three windows have to drift");
    assert_eq!(monitor.drifts[3].drifted(), ["balance"]);
    let mrr: Vec<_> = monitor.measured.iter().map(|report| report.metric("clicks", Metric::Mrr).unwrap()).collect();
    assert_eq!(mrr, [1.0, 1.0, 0.25, 0.25], "the click went from the first to the fourth place");
    let joined = monitor.join.counters();
    assert_eq!((joined.impressions, joined.matured, joined.credited, joined.held), (960, 960, 240, 0));
    let logged = monitor.log.counters();
    assert_eq!((logged.observed, logged.drained, logged.rows, logged.dropped), (240, 240, 960, 0));
    let request = monitor.request.as_ref().unwrap();
    // The third hour was judged fifty minutes after its end; the fourth had not ended then.
    assert_eq!(request.at, at(3 * HOUR + 50 * MINUTE));
    assert!(
        matches!(&request.reasons[..], [RetrainReason::Performance { metric: Metric::Mrr, value, .. }] if *value == 0.25),
        "{:?}",
        request.reasons
    );
    assert_eq!((request.window.start, request.window.end), (at(2 * HOUR), at(3 * HOUR)));
}

#[test]
fn alerts_reach_a_sink_that_fails_now_and_then() {
    let (mut monitor, _) = run();
    while monitor.outbox.deliver(&monitor.sink).is_err() {}
    let told = monitor.sink.inner().alerts();
    let mut ids: Vec<_> = told.iter().map(mlops_monitor::alert::Alert::id).collect();
    ids.dedup();
    let rules: std::collections::BTreeSet<&str> = told.iter().map(|alert| alert.name.as_str()).collect();
    assert_eq!(rules.into_iter().collect::<Vec<_>>(), ["clicks_sink", "inputs_move"]);
    assert_eq!((ids.len(), monitor.outbox.len(), monitor.outbox.dropped()), (2, 0, 0));
    assert_eq!(monitor.rules.firing().len(), 2);
}

/// The page of metrics of a whole run.
fn metrics(monitor: &Monitor, service: &RankPipeline) -> String {
    let labels = Labels::new([("model", "offers")]).unwrap();
    let mut page = Exposition::new();
    page.traffic(&labels, monitor.windows.totals()).unwrap();
    page.log(&labels, &monitor.log.counters()).unwrap();
    page.join(&labels, &monitor.join.counters()).unwrap();
    page.windows(&labels, "traffic", &monitor.windows.counters()).unwrap();
    page.windows(&labels, "performance", &monitor.performance.counters()).unwrap();
    page.stages(&labels, &service.counters()).unwrap();
    page.profile(&labels, &monitor.given[3].profile).unwrap();
    page.drift(&labels, &monitor.drifts[3]).unwrap();
    page.performance(&labels, &monitor.measured[3]).unwrap();
    page.alerts(&labels, &monitor.rules, &monitor.outbox).unwrap();
    page.retrain(&labels, monitor.request.as_ref()).unwrap();
    page.to_text()
}

#[test]
fn everything_is_exported_and_reported() {
    let (monitor, service) = run();
    let text = metrics(&monitor, &service);
    for line in [
        "mlops_requests_total{model=\"offers\",outcome=\"answered\"} 240",
        "mlops_stage_calls_total{kind=\"request\",model=\"offers\",stage=\"offers\"} 240",
        "mlops_stage_calls_total{kind=\"observer\",model=\"offers\",stage=\"impressions\"} 240",
        "mlops_drift_drifted{column=\"balance\",model=\"offers\"} 1",
        "mlops_performance{metric=\"mrr\",model=\"offers\",task=\"clicks\"} 0.25",
        "mlops_alerts_firing{alert=\"clicks_sink\",model=\"offers\"} 1",
        "mlops_retrain_requested{model=\"offers\"} 1",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));
    let alerts = monitor.sink.inner().alerts();
    let page = MonitorReport::new("Offers", at(6 * HOUR))
        .windows(&monitor.given)
        .drift(&monitor.drifts, monitor.drift.as_ref().unwrap().reference())
        .performance(&monitor.measured)
        .alerts(&alerts)
        .retrain(monitor.request.as_ref())
        .to_html();
    for told in ["balance", "clicks_sink", "Training was requested", "mrr of clicks is 0.25, not 1"] {
        assert!(page.contains(told), "{told}");
    }
}
