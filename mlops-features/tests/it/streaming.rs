//! Events of a stream have their effect exactly once, and windows over a stream are windows over history.

use std::sync::Arc;
use std::time::Duration;

use mlops_core::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use mlops_core::arrow::compute::concat_batches;
use mlops_core::arrow::datatypes::Int64Type;
use mlops_core::validate::{Range, Suite};
use mlops_core::{Error as Core, EventTime};
use mlops_features::ingest::{Checks, Push, Target};
use mlops_features::offline::{HistoryRequest, OfflineStore, ParquetStore, Watermark};
use mlops_features::online::{
    MemoryStore, OnlineRead, OnlineRows, OnlineStore, RedbStore, RowTimes, SqliteStore, StateStore, WriteSummary,
};
use mlops_features::stream::{Events, Polled, StreamIngest, StreamReport, StreamSource, WindowStates, channel};
use mlops_features::testkit::{Faults, FlakyOnlineStore, block_on, stream_source};
use mlops_features::window::{Op, TimeWindow, WindowView};
use mlops_features::{Entity, Error, FeatureView, KeyType, Keys, Result, ValueType};
use proptest::prelude::*;

const HOUR: i64 = 3_600_000_000;

fn view() -> WindowView {
    let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build().unwrap();
    WindowView::builder("orders", customer)
        .column("amount", ValueType::Int64)
        .event_id("order_id")
        .lateness(Duration::from_hours(6))
        .aggregates("amount", [Op::Count, Op::Sum, Op::Max], [TimeWindow::exact(Duration::from_hours(1))])
        .aggregate("amount", Op::Sum, TimeWindow::sawtooth(Duration::from_hours(24)))
        .aggregate("amount", Op::Count, TimeWindow::lifetime())
        .build()
        .unwrap()
}

/// Events: customer, time, order, amount.
fn batch(events: &[(i64, i64, i64, i64)]) -> RecordBatch {
    let ints =
        |of: fn(&(i64, i64, i64, i64)) -> i64| Arc::new(events.iter().map(of).collect::<Int64Array>()) as ArrayRef;
    RecordBatch::try_from_iter([
        ("customer_id", ints(|e| e.0)),
        ("event_timestamp", crate::times(&events.iter().map(|e| e.1).collect::<Vec<_>>())),
        ("order_id", ints(|e| e.2)),
        ("amount", ints(|e| e.3)),
    ])
    .unwrap()
}

/// All features of `customer` at `now`.
fn values(store: &dyn OnlineStore, customer: i64, now: i64) -> Vec<Option<i64>> {
    let (view, states) = (view(), WindowStates::new(&view()).unwrap());
    let keys = Keys::new(view.entity(), &[crate::ints(&[customer])]).unwrap();
    let features: Vec<usize> = (0..view.feature_view().features().len()).collect();
    let rows = block_on(states.get(store, &keys, &features, EventTime::from_micros(now))).unwrap();
    rows.columns.iter().map(|column| column.as_primitive::<Int64Type>().iter().next().flatten()).collect()
}

#[test]
fn a_channel_is_a_stream_source() {
    stream_source(|| {
        let (sender, source) = channel(1_000);
        (source, Box::new(move |events: &RecordBatch| sender.send(events.clone()).unwrap()))
    });
}

#[test]
fn windows_move_with_now_and_an_unknown_key_has_empty_ones() {
    let store = Arc::new(MemoryStore::new());
    let ingest = StreamIngest::builder("orders").unwrap().windows(&view(), store.clone()).unwrap().build().unwrap();
    let (sender, mut source) = channel(100);
    sender.send(batch(&[(1, HOUR, 1, 5), (1, 2 * HOUR, 2, 7), (2, HOUR, 3, 1), (1, HOUR, 1, 5)])).unwrap();
    drop(sender);
    let report = ingest.run(&mut source, &mut |_| true).unwrap();
    assert_eq!((report.events, report.counted, report.duplicates, report.late), (4, 3, 1, 0));
    // Count, sum and max of the last hour, sum of a day, count of all: the hour excludes the instant itself.
    assert_eq!(values(&*store, 1, 2 * HOUR), [Some(1), Some(5), Some(5), Some(5), Some(1)]);
    assert_eq!(values(&*store, 1, 2 * HOUR + 1), [Some(1), Some(7), Some(7), Some(12), Some(2)]);
    assert_eq!(values(&*store, 1, 4 * HOUR), [Some(0), None, None, Some(12), Some(2)]);
    assert_eq!(values(&*store, 9, 4 * HOUR), [Some(0), None, None, None, Some(0)]);
    assert_eq!(values(&*store, 1, 0), values(&*store, 1, 2 * HOUR), "a clock behind reads the latest moment");
}

#[test]
fn late_events_and_null_keys_are_counted_and_have_no_effect() {
    let store = Arc::new(MemoryStore::new());
    let ingest = StreamIngest::builder("orders").unwrap().windows(&view(), store.clone()).unwrap().build().unwrap();
    let (sender, mut source) = channel(100);
    sender.send(batch(&[(1, 10 * HOUR, 1, 5)])).unwrap();
    sender.send(batch(&[(1, 3 * HOUR, 2, 7), (1, 5 * HOUR, 3, 9)])).unwrap();
    let orphan = RecordBatch::try_from_iter_with_nullable([
        ("customer_id", Arc::new(Int64Array::from(vec![None])) as ArrayRef, true),
        ("event_timestamp", crate::times(&[1]), true),
        ("order_id", crate::ints(&[4]), true),
        ("amount", crate::ints(&[4]), true),
    ]);
    sender.send(orphan.unwrap()).unwrap();
    drop(sender);
    let report = ingest.run(&mut source, &mut |_| true).unwrap();
    assert_eq!((report.counted, report.late, report.null_keys), (2, 1, 1));
    assert_eq!(values(&*store, 1, 10 * HOUR)[4], Some(1), "the one at five hours");
}

/// Gives every event again and again, and fails now and then.
#[derive(Debug)]
struct Shaky<S> {
    inner: S,
    calls: u64,
    again: Option<Events>,
}

impl<S: StreamSource> StreamSource for Shaky<S> {
    fn poll(&mut self, most: usize, wait: Duration) -> Result<Polled> {
        self.calls += 1;
        if let Some(events) = self.again.take() {
            return Ok(Polled::Events(events));
        }
        let polled = self.inner.poll(most, wait)?;
        if let Polled::Events(events) = &polled {
            self.again = (self.calls.is_multiple_of(3)).then(|| events.clone());
        }
        Ok(polled)
    }

    fn acknowledge(&mut self, position: u64) -> Result<()> {
        if self.calls.is_multiple_of(5) {
            self.calls += 1;
            return Err(mlops_core::Error::Busy { what: "a shaky stream".to_owned() }.into());
        }
        self.inner.acknowledge(position)
    }

    fn resume(&mut self) -> Result<()> {
        self.again = None;
        self.inner.resume()
    }
}

/// Counts in the last hour, sum of it, and count of all, by hand.
fn oracle(events: &[(i64, i64, i64, i64)], customer: i64, now: i64) -> (i64, Option<i64>, i64) {
    let mut once: Vec<_> = events.iter().filter(|e| e.0 == customer && e.1 < now).collect();
    once.sort_by_key(|e| (e.1, e.2));
    once.dedup_by_key(|e| (e.1, e.2));
    let hour: Vec<i64> = once.iter().filter(|e| e.1 >= now - HOUR).map(|e| e.3).collect();
    (hour.len() as i64, (!hour.is_empty()).then(|| hour.iter().sum()), once.len() as i64)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    /// Whatever comes twice, in another order, or is cut off between store and acknowledgement.
    #[test]
    fn events_count_exactly_once(
        events in proptest::collection::vec((0_i64..4, 0..4 * HOUR, 0_i64..6, -5_i64..5), 1..60),
        cut in 1_usize..9,
        fail_every in prop_oneof![Just(3_u64), Just(5), Just(7)],
        after_the_work in any::<bool>(),
    ) {
        // The amount follows from the order, as it does for the same event.
        let events: Vec<_> = events.into_iter().map(|(c, t, o, _)| (c, t - t % (HOUR / 8), o, o - 3)).collect();
        let faults = Faults { fail_every, after_the_work, delay: Duration::ZERO };
        let store = Arc::new(FlakyOnlineStore::new(MemoryStore::new(), faults));
        let ingest = StreamIngest::builder("orders").unwrap().windows(&view(), store.clone()).unwrap();
        let ingest = ingest.batch_events(7).build().unwrap();
        let (sender, source) = channel(1_000);
        let mut source = Shaky { inner: source, calls: 0, again: None };
        for part in events.chunks(cut) {
            sender.send(batch(part)).unwrap();
        }
        drop(sender);
        let failures = (0..1_000).take_while(|_| ingest.run(&mut source, &mut |_| true).is_err()).count();
        prop_assert!(failures < 1_000);
        let now = events.iter().map(|e| e.1).max().unwrap() + 1;
        for customer in 0..4 {
            let found = values(store.inner(), customer, now);
            let (count, sum, all) = oracle(&events, customer, now);
            prop_assert_eq!((found[0], found[1], found[4]), (Some(count), sum, Some(all)));
        }
    }
}

/// Ingests that share the keys of a view, each on its own store where there are several, which take turns in every order.
fn race<S: StateStore>(stores: &[Arc<S>]) {
    const ROUNDS: i64 = 12;
    let start = std::sync::Barrier::new(stores.len());
    let reports: Vec<_> = std::thread::scope(|scope| {
        let run = |(writer, store): (usize, &Arc<S>)| {
            let (store, start) = (store.clone(), &start);
            scope.spawn(move || {
                let ingest = StreamIngest::builder("orders").unwrap().windows(&view(), store).unwrap().build().unwrap();
                let (sender, mut source) = channel(10_000);
                for round in 0..ROUNDS {
                    // Every other order comes to all of them, as after a hand-over; the rest to one alone.
                    let order =
                        |key: i64| if round % 2 == 0 { round } else { 1_000 * (writer as i64 + 1) + round + key };
                    sender.send(batch(&[(1, HOUR + round, order(1), 1), (2, HOUR + round, order(2), 1)])).unwrap();
                }
                drop(sender);
                start.wait();
                run_to_the_end(&ingest, &mut source)
            })
        };
        let running: Vec<_> = stores.iter().enumerate().map(run).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (shared, own) = (ROUNDS / 2, ROUNDS / 2 * stores.len() as i64);
    for customer in [1, 2] {
        assert_eq!(values(&*stores[0], customer, 2 * HOUR)[4], Some(shared + own), "each event counts exactly once");
    }
    let counted: u64 = reports.iter().map(|report| report.counted).sum();
    let duplicates: u64 = reports.iter().map(|report| report.duplicates).sum();
    assert_eq!(counted as i64, 2 * (shared + own));
    assert_eq!(duplicates as i64, 2 * shared * (stores.len() as i64 - 1));
}

/// Runs again when others were faster all the time.
fn run_to_the_end(ingest: &StreamIngest, source: &mut dyn StreamSource) -> StreamReport {
    let mut all = StreamReport::default();
    for _ in 0..1_000 {
        let mut done = StreamReport::default();
        let run = ingest.run(source, &mut |report| {
            done = report.clone();
            true
        });
        all.counted += done.counted;
        all.duplicates += done.duplicates;
        match run {
            Ok(_) => return all,
            Err(error) => assert!(matches!(error, Error::Core(Core::Conflict { .. })), "{error}"),
        }
    }
    panic!("it never comes to an end");
}

#[test]
fn ingests_that_share_a_key_lose_no_event() {
    let memory = Arc::new(MemoryStore::new());
    race(&vec![memory; 4]);
    let folder = tempfile::tempdir().unwrap();
    let redb = Arc::new(RedbStore::open(folder.path().join("online.redb")).unwrap());
    race(&[redb.clone(), redb]);
    let sqlite = || Arc::new(SqliteStore::open(folder.path().join("online.db")).unwrap());
    race(&[sqlite(), sqlite(), sqlite()]);
}

/// Lets another writer change a state behind the back of whoever has read it, `left` times.
#[derive(Debug)]
struct Meddler {
    inner: Arc<MemoryStore>,
    left: std::sync::atomic::AtomicI64,
}

impl Meddler {
    fn meddle(&self) {
        let left = self.left.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
        if left <= 0 {
            return;
        }
        let ingest = StreamIngest::builder("other").unwrap().windows(&view(), self.inner.clone()).unwrap();
        let (sender, mut source) = channel(10);
        sender.send(batch(&[(1, HOUR, 1_000 + left, 1)])).unwrap();
        drop(sender);
        ingest.build().unwrap().run(&mut source, &mut |_| true).unwrap();
    }
}

#[async_trait::async_trait]
impl OnlineStore for Meddler {
    async fn write(&self, view: &FeatureView, rows: &RecordBatch, mark: Option<Watermark>) -> Result<WriteSummary> {
        self.inner.write_sync(view, rows, mark)
    }

    async fn read(&self, reads: &[OnlineRead<'_>]) -> Result<Vec<OnlineRows>> {
        let read = self.inner.read_sync(reads);
        self.meddle();
        read
    }

    async fn delete(&self, view: &FeatureView, keys: &Keys) -> Result<u64> {
        self.inner.delete_sync(view, keys)
    }

    async fn watermark(&self, view: &FeatureView) -> Result<Option<Watermark>> {
        self.inner.watermark_sync(view)
    }
}

#[async_trait::async_trait]
impl StateStore for Meddler {
    async fn replace(&self, view: &FeatureView, rows: &RecordBatch, seen: &[Option<RowTimes>]) -> Result<Vec<bool>> {
        self.inner.replace_sync(view, rows, seen)
    }
}

#[test]
fn an_ingest_that_is_always_outrun_says_so_and_acknowledges_nothing() {
    let inner = Arc::new(MemoryStore::new());
    let store = Arc::new(Meddler { inner: inner.clone(), left: 20.into() });
    let ingest = StreamIngest::builder("orders").unwrap().windows(&view(), store).unwrap().build().unwrap();
    let (sender, mut source) = channel(10);
    sender.send(batch(&[(1, HOUR, 1, 5), (2, HOUR, 2, 7)])).unwrap();
    drop(sender);
    let error = ingest.run(&mut source, &mut |_| true).unwrap_err();
    assert!(matches!(error, Error::Core(Core::Conflict { .. })), "{error}");
    assert!(error.to_string().contains("`orders`"), "{error}");
    // It comes again, and finds its time: what had its effect then is a duplicate now.
    let report = ingest.run(&mut source, &mut |_| true).unwrap();
    assert_eq!((report.counted, report.duplicates), (1, 1));
    assert_eq!((values(&*inner, 1, 2 * HOUR)[4], values(&*inner, 2, 2 * HOUR)[4]), (Some(21), Some(1)));
}

#[test]
fn events_reach_history_too_and_checks_come_first() {
    let folder = tempfile::tempdir().unwrap();
    let history = Arc::new(ParquetStore::open(folder.path().join("history")).unwrap());
    let customer = view().entity().clone();
    let raw = FeatureView::builder("order_events", customer)
        .feature("order_id", ValueType::Int64)
        .feature("amount", ValueType::Int64)
        .build()
        .unwrap();
    let store = Arc::new(MemoryStore::new());
    let suite = Suite::new().rule("positive", Range::of("amount").above(0)).unwrap();
    let ingest = StreamIngest::builder("orders")
        .unwrap()
        .checks(Checks::set_aside(suite, folder.path().join("aside")))
        .push(Push::builder(raw.clone()).offline(history.clone()).build().unwrap(), Target::Offline)
        .windows(&view(), store.clone())
        .unwrap()
        .build()
        .unwrap();
    let (sender, mut source) = channel(100);
    sender.send(batch(&[(1, 1, 1, 5), (1, 2, 2, -7)])).unwrap();
    drop(sender);
    let report = ingest.run(&mut source, &mut |_| true).unwrap();
    assert_eq!((report.events, report.set_aside, report.counted), (2, 1, 1));
    let rows: Vec<_> = history.scan(&raw, &HistoryRequest::all()).unwrap().map(|batch| batch.unwrap().rows).collect();
    assert_eq!(concat_batches(&rows[0].schema(), &rows).unwrap().num_rows(), 1);
    assert_eq!(values(&*store, 1, 10)[1], Some(5));
}

#[test]
fn progress_can_stop_a_stream_that_never_ends() {
    let store = Arc::new(MemoryStore::new());
    let ingest = StreamIngest::builder("orders").unwrap().windows(&view(), store).unwrap();
    let ingest = ingest.wait(Duration::from_millis(1)).build().unwrap();
    let (_sender, mut source) = channel(1);
    let mut calls = 0;
    let report = ingest.run(&mut source, &mut |_| {
        calls += 1;
        calls < 3
    });
    assert_eq!(report.unwrap().batches, 0);
}

#[test]
fn what_cannot_count_once_is_refused_when_it_is_built() {
    let store = Arc::new(MemoryStore::new());
    let customer = view().entity().clone();
    let without = WindowView::builder("orders", customer).count(TimeWindow::lifetime()).build().unwrap();
    let builder = || StreamIngest::builder("orders").unwrap();
    let error = builder().windows(&without, store.clone()).unwrap_err().to_string();
    assert!(error.contains("event id") && error.contains("orders"), "{error}");
    assert!(builder().build().is_err());
    assert!(builder().windows(&view(), store).unwrap().batch_events(0).build().is_err());
    assert!(StreamIngest::builder("../x").is_err());
}

#[test]
fn events_of_another_shape_are_refused_by_name_and_not_acknowledged() {
    let store = Arc::new(MemoryStore::new());
    let ingest = StreamIngest::builder("orders").unwrap().windows(&view(), store).unwrap().build().unwrap();
    let (sender, mut source) = channel(100);
    let text: ArrayRef = Arc::new(StringArray::from(vec!["0912345678"]));
    let columns = batch(&[(1, 1, 1, 1)]).columns().to_vec();
    let bad = RecordBatch::try_from_iter([
        ("customer_id", columns[0].clone()),
        ("event_timestamp", columns[1].clone()),
        ("order_id", columns[2].clone()),
        ("amount", text),
    ]);
    sender.send(bad.unwrap()).unwrap();
    for _ in 0..2 {
        let error = ingest.run(&mut source, &mut |_| true).unwrap_err().to_string();
        assert!(error.contains("amount") && !error.contains("0912345678"), "{error}");
    }
}

/// Rows of a service whose windows are live, at several moments, and training rows of the same keys and instants.
#[test]
fn a_service_serves_the_windows_of_a_stream_and_trains_on_those_of_history() {
    use mlops_core::Dataset;
    use mlops_features::offline::AsOfOptions;
    use mlops_features::skew::{AuditOptions, ParquetVectorLog, VectorLogger, audit_with};
    use mlops_features::{FeatureServer, FeatureService, ServingPlan, Status};

    let folder = tempfile::tempdir().unwrap();
    let history = ParquetStore::open(folder.path()).unwrap();
    let stored =
        FeatureView::builder("person", view().entity().clone()).feature("age", ValueType::Int64).build().unwrap();
    let person = |key: i64| {
        RecordBatch::try_from_iter([
            ("customer_id", crate::ints(&[key])),
            ("event_timestamp", crate::times(&[0])),
            ("age", crate::ints(&[key + 30])),
        ])
    };
    let people = Dataset::from_batches([person(1).unwrap(), person(2).unwrap()]).unwrap();
    history.append(&stored, &people).unwrap();
    let store = Arc::new(MemoryStore::new());
    store.write_sync(&stored, &people.to_batch().unwrap(), None).unwrap();
    let service = FeatureService::builder("ranker")
        .feature("orders:amount_sum_1h")
        .feature("orders:amount_count_1h")
        .feature("person:age")
        .build()
        .unwrap();
    let views = [view().feature_view().clone(), stored];
    let plan = ServingPlan::compile(&service, &views).unwrap().live(&[view()]).unwrap();
    let log = Arc::new(ParquetVectorLog::open(folder.path().join("log")).unwrap());
    let logger = Arc::new(VectorLogger::builder(&plan, log.clone()).share(1.0).build().unwrap());
    let server = FeatureServer::new(plan.clone(), store.clone()).log_to(logger.clone());

    let ingest = StreamIngest::builder("orders").unwrap().windows(&view(), store).unwrap().build().unwrap();
    let mut all = Vec::new();
    for step in 0..6_i64 {
        let events: Vec<_> = (0..5).map(|i| (i % 2 + 1, step * HOUR / 2 + i, step * 5 + i, 10 * step + i)).collect();
        let (sender, mut source) = channel(100);
        sender.send(batch(&events)).unwrap();
        drop(sender);
        ingest.run(&mut source, &mut |_| true).unwrap();
        all.push(batch(&events));
        let asked = RecordBatch::try_from_iter([("customer_id", crate::ints(&[1, 2, 3]))]).unwrap();
        let vectors = block_on(server.get(&asked, EventTime::from_micros(step * HOUR / 2 + 1_000))).unwrap();
        let count = vectors.columns()[1].as_primitive::<Int64Type>();
        assert_eq!(count.values(), &[if step == 0 { 3 } else { 6 }, if step == 0 { 2 } else { 4 }, 0], "step {step}");
        assert_eq!(vectors.statuses(1), [Status::Present, Status::Present, Status::NotFound]);
        assert_eq!(vectors.statuses(2)[2], Status::NotFound);
    }
    logger.flush().unwrap();
    let events = [("orders", Dataset::from_batches(all).unwrap())];
    let report = audit_with(&*log, &history, &plan, &events, &AuditOptions::new()).unwrap();
    assert_eq!(report.rows, 18);
    for feature in &report.features {
        assert_eq!((feature.compared, feature.equal), (18, 18), "{feature:?}");
    }
    // What training rows are made of must be said.
    let spine =
        RecordBatch::try_from_iter([("customer_id", crate::ints(&[1])), ("at", crate::times(&[HOUR]))]).unwrap();
    let spine = Dataset::from_batches([spine]).unwrap();
    let missing = plan.training_set(&history, &spine, &AsOfOptions::new()).unwrap_err().to_string();
    assert!(missing.contains("events of window view `orders`"), "{missing}");
    let set = plan.training_set_with(&history, &spine, &events, &AsOfOptions::new()).unwrap();
    assert_eq!(set.reports.iter().map(|report| report.view.to_string()).collect::<Vec<_>>(), ["orders", "person"]);
    let other = FeatureView::builder("orders", view().entity().clone()).feature("x", ValueType::Int64).build().unwrap();
    let service = FeatureService::builder("other").feature("orders:x").build().unwrap();
    assert!(ServingPlan::compile(&service, &[other]).unwrap().live(&[view()]).is_err());
}
