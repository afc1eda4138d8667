//! Ten thousand features in one view go all the way, and nothing on it takes the square of that.

use std::sync::Arc;

use mlops_core::arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
use mlops_core::arrow::datatypes::Float64Type;
use mlops_core::{Dataset, EventTime};
use mlops_features::definitions::{DefinitionStoreExt, Definitions, FileDefinitions};
use mlops_features::offline::{AsOfOptions, OfflineStore, ParquetStore};
use mlops_features::online::{MemoryStore, OnlineStore, RedbStore};
use mlops_features::testkit::block_on;
use mlops_features::window::{Op, TimeWindow, WindowView};
use mlops_features::{
    Entity, FeatureServer, FeatureService, FeatureView, KeyType, MaterializeOptions, OnDemandView, ValueType, ViewUse,
    materialize,
};

use crate::{ints, times};

const FEATURES: usize = 10_000;

fn names() -> impl Iterator<Item = String> {
    // Not in the order of their names.
    (0..FEATURES).map(|at| format!("f{}", at * 7 % FEATURES))
}

/// A value for each customer and feature.
fn value(customer: i64, at: usize) -> f64 {
    customer as f64 * 100_000.0 + at as f64
}

/// Stored features, all of them selected one by one in the opposite order, and one on top of each.
fn definitions() -> Definitions {
    let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build().unwrap();
    let stored = names()
        .fold(FeatureView::builder("wide", customer.clone()), |view, name| view.feature(name, ValueType::Float64));
    let stored = stored.build().unwrap();
    let computed = names().fold(OnDemandView::builder("twice").inputs_of(&stored), |view, name| {
        view.feature(format!("twice_{name}"), format!("{name} * 2.0"))
    });
    let day = TimeWindow::exact(std::time::Duration::from_hours(24));
    let windows = names().fold(WindowView::builder("sums", customer), |view, name| {
        view.column(name.clone(), ValueType::Float64).aggregate(name, Op::Sum, day)
    });
    let backwards: Vec<String> = names().collect::<Vec<_>>().into_iter().rev().collect();
    let service = FeatureService::builder("ranker")
        .using(ViewUse::of("wide", backwards.iter().map(String::as_str)).unwrap())
        .using(ViewUse::all("twice").unwrap());
    let sums = FeatureService::builder("summer").using(ViewUse::all("sums").unwrap());
    Definitions::builder()
        .with(stored)
        .with(computed.build().unwrap())
        .with(windows.build().unwrap())
        .with(service.build().unwrap())
        .with(sums.build().unwrap())
        .build()
        .unwrap()
}

/// Columns of history in no order.
fn history(customers: &[i64]) -> RecordBatch {
    let features = names().enumerate().map(|(at, name)| {
        let column = customers.iter().map(|customer| value(*customer, at)).collect::<Vec<_>>();
        (name, Arc::new(Float64Array::from(column)) as ArrayRef)
    });
    let mut columns: Vec<(String, ArrayRef)> = features.collect();
    columns.reverse();
    columns.push(("event_timestamp".to_owned(), times(&vec![1; customers.len()])));
    columns.push(("customer_id".to_owned(), ints(customers)));
    RecordBatch::try_from_iter(columns).unwrap()
}

#[track_caller]
fn ensure_right(rows: &RecordBatch, first: usize, customers: &[i64]) {
    assert_eq!(rows.num_columns(), first + 2 * FEATURES);
    let column = |at: usize| rows.column(first + at).as_primitive::<Float64Type>();
    for at in 0..FEATURES {
        for (row, customer) in customers.iter().enumerate() {
            assert_eq!(column(FEATURES - 1 - at).value(row), value(*customer, at), "feature {at}");
            assert_eq!(column(FEATURES + at).value(row), 2.0 * value(*customer, at), "twice feature {at}");
        }
    }
}

#[test]
fn ten_thousand_features_are_defined_kept_joined_brought_online_and_served() {
    let start = std::time::Instant::now();
    let told = |what: &str| println!("{what}: {} ms", start.elapsed().as_millis());
    let folder = tempfile::tempdir().unwrap();
    let store = FileDefinitions::open(folder.path().join("definitions")).unwrap();
    let wanted = definitions();
    told("built");
    store.apply_now(&wanted).unwrap();
    told("applied");
    let known = store.definitions().unwrap();
    told("read");
    assert_eq!(known, wanted);
    let plan = known.serving_plan("ranker").unwrap();
    let view = known.view("wide").unwrap();
    let customers = [7, 8];

    let offline = ParquetStore::open(folder.path().join("history")).unwrap();
    offline.append(view, &Dataset::from_batches([history(&customers)]).unwrap()).unwrap();
    told("appended");
    let spine = RecordBatch::try_from_iter([("customer_id", ints(&customers)), ("at", times(&[5, 5]))]).unwrap();
    let spine = Dataset::from_batches([spine]).unwrap();
    let set = plan.training_set(&offline, &spine, &AsOfOptions::new()).unwrap();
    told("joined");
    ensure_right(&set.dataset.to_batch().unwrap(), 2, &customers);
    told("computed");

    let asked = RecordBatch::try_from_iter([("customer_id", ints(&customers))]).unwrap();
    let redb = RedbStore::open(folder.path().join("online.redb")).unwrap();
    let stores: [Arc<dyn OnlineStore>; 2] = [Arc::new(MemoryStore::new()), Arc::new(redb)];
    for online in stores {
        let report = materialize(&offline, &*online, view, &MaterializeOptions::default(), &mut |_| true).unwrap();
        assert_eq!(report.online.written, 2);
        told("materialized");
        let server = FeatureServer::new(plan.clone(), online);
        let served = block_on(server.get(&asked, EventTime::from_micros(9))).unwrap();
        told("served");
        ensure_right(&served.to_batch().unwrap(), 0, &customers);
    }
    assert_eq!(known.serving_plan("summer").unwrap().schema().fields().len(), FEATURES);
}
