//! `cargo bench -p mlops-features --bench online`: 20 features in 3 views, 10 000 keys; reads of 1 and 100 keys, writes.

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mlops_core::EventTime;
use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use mlops_features::online::{MemoryStore, OnlineStore, RedbStore};
use mlops_features::testkit::block_on;
use mlops_features::{Entity, FeatureServer, FeatureService, FeatureView, KeyType, ServingPlan, ValueType, ViewUse};

const KEYS: i64 = 10_000;

fn view(name: &str, features: usize) -> FeatureView {
    let user = Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
    let builder = FeatureView::builder(name, user);
    (0..features).fold(builder, |b, i| b.feature(format!("{name}_f{i}"), ValueType::Float64)).build().unwrap()
}

fn rows(view: &FeatureView) -> RecordBatch {
    let times = TimestampMicrosecondArray::from_iter_values(0..KEYS).with_timezone("UTC");
    let keys: ArrayRef = Arc::new(Int64Array::from_iter_values(0..KEYS));
    let mut columns = vec![("user_id".to_owned(), keys), ("event_timestamp".to_owned(), Arc::new(times) as ArrayRef)];
    for feature in view.features() {
        let values: Float64Array = (0..KEYS).map(|key| (key % 20 != 0).then_some(key as f64)).collect();
        columns.push((feature.name.to_string(), Arc::new(values)));
    }
    RecordBatch::try_from_iter(columns).unwrap()
}

fn benches(c: &mut Criterion) {
    let views = [view("a", 8), view("b", 8), view("c", 4)];
    let folder = tempfile::tempdir().unwrap();
    let memory = Arc::new(MemoryStore::new());
    let redb = Arc::new(RedbStore::open(folder.path().join("online.redb")).unwrap());
    for view in &views {
        memory.write_sync(view, &rows(view), None).unwrap();
        redb.write_sync(view, &rows(view), None).unwrap();
    }
    let service = ["a", "b", "c"].iter().fold(FeatureService::builder("s"), |s, v| s.using(ViewUse::all(v).unwrap()));
    let plan = ServingPlan::compile(&service.build().unwrap(), &views).unwrap();
    let stores: [(&str, Arc<dyn OnlineStore>); 2] = [("memory", memory.clone()), ("redb", redb.clone())];
    let mut group = c.benchmark_group("read");
    for (name, store) in stores {
        let server = FeatureServer::new(plan.clone(), store);
        for count in [1_i64, 100] {
            let asked: Vec<RecordBatch> = (0..64)
                .map(|i| {
                    let keys = (0..count).map(|k| (i * 7_919 + k * 104_729) % KEYS);
                    RecordBatch::try_from_iter([("user_id", Arc::new(Int64Array::from_iter_values(keys)) as ArrayRef)])
                        .unwrap()
                })
                .collect();
            let mut next = asked.iter().cycle();
            group.bench_function(BenchmarkId::new(name, format!("{count}x20")), |b| {
                b.iter(|| block_on(server.get(black_box(next.next().unwrap()), EventTime::EPOCH)).unwrap());
            });
        }
    }
    group.finish();
    let mut group = c.benchmark_group("write");
    group.throughput(Throughput::Elements(KEYS as u64)).sample_size(10);
    let batch = rows(&views[0]);
    group.bench_function("memory", |b| b.iter(|| memory.write_sync(&views[0], black_box(&batch), None).unwrap()));
    group.bench_function("redb", |b| b.iter(|| redb.write_sync(&views[0], black_box(&batch), None).unwrap()));
    group.finish();
}

criterion_group!(online, benches);
criterion_main!(online);
