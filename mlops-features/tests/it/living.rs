//! From a file of definitions to served windows and the training set that agrees with them, by the definitions alone.

use std::sync::Arc;

use mlops_core::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use mlops_core::arrow::datatypes::Int64Type;
use mlops_core::source::MemorySink;
use mlops_core::{Dataset, EventTime, Name};
use mlops_features::definitions::{
    DefinitionLineage, DefinitionStoreExt, Definitions, FileDefinitions, ModelLink, Node, ServiceVersion,
};
use mlops_features::offline::{AppendOnce, AsOfOptions, OfflineStore, ParquetStore, SaveOptions, TrainingLineage};
use mlops_features::online::{MemoryStore, StateStore};
use mlops_features::skew::{AuditOptions, ParquetVectorLog, VectorLogger, audit_with};
use mlops_features::stream::channel;
use mlops_features::testkit::block_on;
use mlops_features::{FeatureServer, ServingPlan, Status};

use crate::{ints, times};

const HOUR: i64 = 3_600_000_000;

const FILE: &str = "
format: 1
entities:
- name: customer
  keys: [{name: customer_id, type: int64}]
views:
- name: order_events
  entity: customer
  event_time: at
  features: [{name: order_id, type: int64}, {name: amount, type: int64}]
  stream: {kind: stream, name: orders}
- name: last_order
  entity: customer
  event_time: at
  features: [{name: amount, type: int64}]
  stream: {kind: stream, name: orders}
window_views:
- name: orders
  entity: customer
  event_time: at
  event_id: order_id
  lateness_us: 3600000000
  columns: [{name: amount, type: int64}]
  aggregates:
  - {column: amount, op: sum, window: {mode: exact, length_us: 3600000000}}
  - {op: count, window: {mode: lifetime}}
  batch: {kind: history, view: order_events}
  stream: {kind: stream, name: orders}
on_demand_views:
- name: basket
  inputs:
  - {name: sum, type: int64, from: {feature: 'orders:amount_sum_1h'}}
  - {name: budget, type: int64, from: {column: budget}}
  features: [{name: left, expr: 'budget - coalesce(sum, 0)'}]
services:
- name: ranker
  views:
  - {view: orders}
  - {view: basket, features: [left]}
  - {view: last_order}
";

/// Orders: customer, time, order, amount.
fn orders(events: &[(i64, i64, i64, i64)]) -> RecordBatch {
    let ints =
        |of: fn(&(i64, i64, i64, i64)) -> i64| Arc::new(events.iter().map(of).collect::<Int64Array>()) as ArrayRef;
    RecordBatch::try_from_iter([
        ("customer_id", ints(|e| e.0)),
        ("at", times(&events.iter().map(|e| e.1).collect::<Vec<_>>())),
        ("order_id", ints(|e| e.2)),
        ("amount", ints(|e| e.3)),
    ])
    .unwrap()
}

fn column(batch: &RecordBatch, name: &str) -> Vec<Option<i64>> {
    batch[name].as_primitive::<Int64Type>().iter().collect()
}

#[test]
fn a_file_of_definitions_is_all_that_live_windows_and_their_training_set_need() {
    let folder = tempfile::tempdir().unwrap();
    let store = FileDefinitions::open(folder.path().join("definitions")).unwrap();
    store.apply_now(&Definitions::from_yaml(FILE).unwrap()).unwrap();
    let definitions = store.definitions().unwrap();

    let history = Arc::new(ParquetStore::open(folder.path().join("history")).unwrap());
    let online: Arc<dyn StateStore> = Arc::new(MemoryStore::new());
    let plan = definitions.serving_plan("ranker").unwrap();
    let log = Arc::new(ParquetVectorLog::open(folder.path().join("log")).unwrap());
    let logger = Arc::new(VectorLogger::builder(&plan, log.clone()).share(1.0).build().unwrap());
    let server = FeatureServer::new(plan.clone(), online.clone()).log_to(logger.clone());
    let kept: Arc<dyn AppendOnce> = history.clone();
    let ingest = definitions.stream_ingest("orders", &online, &kept).unwrap().build().unwrap();

    let (sender, mut source) = channel(100);
    for step in 0..4_i64 {
        let now = step * HOUR / 2;
        sender.send(orders(&[(1, now, 2 * step, 10 + step), (2, now + 1, 2 * step + 1, 5)])).unwrap();
        sender.send(orders(&[(1, now, 2 * step, 10 + step)])).unwrap(); // delivered again
        ingest.run(&mut source, &mut |report| report.events < 3).unwrap();
        let asked = [("customer_id", ints(&[1, 2, 3])), ("budget", ints(&[100, 100, 100]))];
        let asked = RecordBatch::try_from_iter(asked).unwrap();
        let served = block_on(server.get(&asked, EventTime::from_micros(now + 10))).unwrap();
        let rows = served.to_batch().unwrap();
        // The last hour holds this step's order and the one before.
        let sum = if step == 0 { 10 } else { 19 + 2 * step };
        assert_eq!(column(&rows, "amount_sum_1h"), [Some(sum), Some(if step == 0 { 5 } else { 10 }), None]);
        assert_eq!(column(&rows, "count"), [Some(step + 1), Some(step + 1), Some(0)]);
        assert_eq!(column(&rows, "left")[0], Some(100 - sum));
        assert_eq!(column(&rows, "amount"), [Some(10 + step), Some(5), None]);
        assert_eq!(served.statuses(0), [Status::Present, Status::Present, Status::NotFound]);
    }
    logger.flush().unwrap();

    let offline: Arc<dyn OfflineStore> = history;
    let events = definitions.window_events("ranker", &offline).unwrap();
    let report = audit_with(&*log, &*offline, &plan, &events, &AuditOptions::new()).unwrap();
    assert_eq!((report.rows, report.differing()), (12, 0), "{report}");
    assert!(report.features.iter().all(|feature| feature.equal == 12), "{report}");

    let spine = [("customer_id", ints(&[1, 2])), ("at", times(&[2 * HOUR, HOUR])), ("budget", ints(&[50, 50]))];
    let spine = Dataset::from_batches([RecordBatch::try_from_iter(spine).unwrap()]).unwrap();
    let set = plan.training_set_with(&*offline, &spine, &events, &AsOfOptions::new()).unwrap();
    let rows = set.dataset.to_batch().unwrap();
    assert_eq!(column(&rows, "amount_sum_1h"), [Some(12 + 13), Some(10)]);
    assert_eq!(column(&rows, "left"), [Some(25), Some(40)]);
    let of: Vec<_> = set.reports.iter().map(|report| report.view.as_str()).collect();
    assert_eq!(of, ["orders", "last_order"]);

    // What was saved says for which features it was made, and of what.
    let saved = set.save(&MemorySink::new("training"), &SaveOptions::new(EventTime::EPOCH)).unwrap();
    let lineage = TrainingLineage::of(saved.dataset.provenance().unwrap()).unwrap().unwrap();
    assert_eq!(lineage.service, Some(store.service_version("ranker").unwrap()));
    assert_eq!((lineage.spine, lineage.full_names), (spine.digest().unwrap(), false));
    let views: Vec<_> = lineage.views.iter().map(|view| (view.view.as_str(), view.fingerprint)).collect();
    let [windows, rows] =
        [definitions.window_view("orders").unwrap().fingerprint(), plan.joins()[1].view().fingerprint()];
    assert_eq!(views, [("orders", windows), ("last_order", rows)]);
    let model = Name::new("ctr_model").unwrap();
    store.link(&ModelLink::trained_on(&lineage, model.clone(), "1").unwrap()).unwrap();
    assert_eq!(store.features_of(&model, "1").unwrap(), [plan.version()]);
    assert!(store.features_of(&model, "2").unwrap_err().to_string().contains("model `ctr_model 2` not found"));
    let other = SaveOptions::new(EventTime::EPOCH)
        .service(definitions.service("ranker").unwrap(), std::slice::from_ref(definitions.view("last_order").unwrap()));
    assert!(other.is_err(), "its other views are not stored ones");
    let alone = TrainingLineage { service: None, ..lineage };
    assert!(ModelLink::trained_on(&alone, model, "1").unwrap_err().to_string().contains("service of a training set"));
}

#[test]
fn a_plan_of_definitions_is_live_and_the_same_as_one_by_hand() {
    let definitions = Definitions::from_yaml(FILE).unwrap();
    let plan = definitions.serving_plan("ranker").unwrap();
    let version = definitions.service_version("ranker").unwrap();
    assert_eq!(plan.version(), version);
    let windows = definitions.window_view("orders").unwrap().clone();
    let by_hand = ServingPlan::compile_with(
        definitions.service("ranker").unwrap(),
        &definitions.stored_views(),
        std::slice::from_ref(definitions.on_demand_view("basket").unwrap()),
    );
    let by_hand = by_hand.unwrap();
    assert_ne!(by_hand.version(), version, "rows tell less than a definition");
    let live: ServiceVersion = by_hand.live(&[windows]).unwrap().version();
    assert_eq!(live, version);
    // Without a stream, rows are read.
    let still =
        FILE.replacen("  batch: {kind: history, view: order_events}\n  stream: {kind: stream, name: orders}\n", "", 1);
    let still = Definitions::from_yaml(&still).unwrap();
    assert_eq!(still.service_version("ranker").unwrap(), version, "where events come from changes no value");
    let folder = tempfile::tempdir().unwrap();
    let offline: Arc<dyn OfflineStore> = Arc::new(ParquetStore::open(folder.path()).unwrap());
    assert!(still.window_events("ranker", &offline).unwrap().is_empty());
    assert_eq!(definitions.window_events("ranker", &offline).unwrap()[0].0, "orders");
}

#[test]
fn what_a_stream_feeds_is_said_by_name() {
    let definitions = Definitions::from_yaml(FILE).unwrap();
    assert_eq!(definitions.streams().into_iter().map(Name::as_str).collect::<Vec<_>>(), ["orders"]);
    let folder = tempfile::tempdir().unwrap();
    let history: Arc<dyn AppendOnce> = Arc::new(ParquetStore::open(folder.path()).unwrap());
    let memory = Arc::new(MemoryStore::new());
    let online: Arc<dyn StateStore> = memory.clone();
    let error = definitions.stream_ingest("clicks", &online, &history).unwrap_err().to_string();
    assert!(error.contains("stream `clicks`"), "{error}");
    // Events are kept for training; the latest one of each customer is nobody's feature.
    let ingest = definitions.stream_ingest("orders", &online, &history).unwrap().build().unwrap();
    let (sender, mut source) = channel(10);
    sender.send(orders(&[(1, 1, 1, 1)])).unwrap();
    drop(sender);
    ingest.run(&mut source, &mut |_| true).unwrap();
    let rows = |view: &str| memory.len(definitions.view(view).unwrap());
    assert_eq!((rows("order_events"), rows("last_order")), (0, 1));
}

#[test]
fn events_of_a_view_are_checked_and_traced() {
    #[track_caller]
    fn refuses(from: &str, to: &str, words: &[&str]) {
        assert!(FILE.contains(from), "{from}");
        let error = Definitions::from_yaml(&FILE.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{from} → {to}: {error}");
    }
    refuses("view: order_events}", "view: gone}", &["window view `orders`", "view `gone` not found"]);
    refuses("view: order_events}", "view: basket}", &["chain of views", "basket → orders → basket"]);
    refuses("view: order_events}", "view: orders}", &["chain of views", "orders → orders"]);
    refuses("{name: order_id, type: int64}", "{name: order, type: int64}", &["window view `orders`", "order_id"]);
    refuses("{name: amount, type: int64}", "{name: amount, type: float64}", &["window view `orders`", "amount"]);
    refuses(
        "name: orders}\n- name: last",
        "name: orders}\n  batch: {kind: history, view: last_order}\n- name: last",
        &["view `order_events`", "batch origin"],
    );
    let definitions = Definitions::from_yaml(FILE).unwrap();
    let lineage = DefinitionLineage::of(&definitions, &[]).unwrap();
    let users = lineage.users_of(&"order_events:amount".parse().unwrap()).unwrap();
    let name = |text: &str| Name::new(text).unwrap();
    assert_eq!(users, [Node::View(name("basket")), Node::View(name("orders")), Node::Service(name("ranker"))]);
}
