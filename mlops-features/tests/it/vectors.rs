//! Nearest neighbours, as a host uses them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mlops_core::arrow::array::{Array, ArrayRef, AsArray, FixedSizeListArray, Int64Array, RecordBatch, StringArray};
use mlops_core::arrow::datatypes::{DataType, Field, Float32Type, Int64Type, Schema};
use mlops_core::rank::{Budget, CandidateSource, Query, RequestId};
use mlops_core::schema::Sensitivity;
use mlops_core::{Dataset, EventTime, Window};
use mlops_features::ingest::{Push, Target};
use mlops_features::offline::{HistoryRequest, OfflineStore, ParquetStore, Watermark};
use mlops_features::online::{MemoryStore, OnlineRead, OnlineStore};
use mlops_features::testkit::{Faults, FlakyOnlineStore, block_on, online_store, vector_index};
use mlops_features::vector::{
    Ask, ExactIndex, GraphIndex, IndexedStore, Metric, NearestCandidates, Search, Unusable, VectorIndex, VectorStore,
};
use mlops_features::{
    Entity, FeatureServer, FeatureService, FeatureView, KeyType, Keys, MaterializeOptions, Reader, ServingPlan, Status,
    ValueType, materialize,
};
use proptest::prelude::*;

use crate::{ints, times};

type Vector = Option<[f32; 2]>;

fn item() -> Entity {
    Entity::builder("item").key("item_id", KeyType::Int64).build().unwrap()
}

/// Items with a vector of two numbers, valid for ten seconds, and a price.
fn view() -> FeatureView {
    let items = FeatureView::builder("items", item()).ttl(Duration::from_secs(10)).created("created");
    items.feature("price", ValueType::Int64).feature("embedding", ValueType::Vector(2)).build().unwrap()
}

fn lists<const N: usize>(all: &[Option<[f32; N]>]) -> ArrayRef {
    let rows = all.iter().map(|one| one.map(|numbers| numbers.map(Some)));
    Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(rows, N as i32))
}

/// Rows of [`view`]: key, event time in seconds, created, vector; the price is the event time.
fn rows(all: &[(i64, i64, Option<i64>, Vector)]) -> RecordBatch {
    let seconds: Vec<i64> = all.iter().map(|row| row.1 * 1_000_000).collect();
    let created = all.iter().map(|row| row.2).collect::<Int64Array>();
    let created = mlops_core::arrow::compute::cast(&created, &EventTime::data_type()).unwrap();
    RecordBatch::try_from_iter_with_nullable([
        ("item_id", ints(&all.iter().map(|row| row.0).collect::<Vec<_>>()), true),
        ("event_timestamp", times(&seconds), true),
        ("created", created, true),
        ("price", ints(&all.iter().map(|row| row.1).collect::<Vec<_>>()), true),
        ("embedding", lists(&all.iter().map(|row| row.3).collect::<Vec<_>>()), true),
    ])
    .unwrap()
}

fn keys(ids: &[i64]) -> Keys {
    Keys::new(&item(), &[ints(ids)]).unwrap()
}

fn exact(metric: Metric) -> VectorStore {
    VectorStore::new(view(), "embedding", Arc::new(ExactIndex::new(metric, 2).unwrap())).unwrap()
}

fn graph(metric: Metric) -> VectorStore {
    let index = GraphIndex::builder(metric, 2).capacity(8).build().unwrap();
    VectorStore::new(view(), "embedding", Arc::new(index)).unwrap()
}

fn at(seconds: i64) -> EventTime {
    EventTime::from_secs(seconds)
}

fn ids(entities: &RecordBatch) -> Vec<i64> {
    entities.column(0).as_primitive::<Int64Type>().values().to_vec()
}

/// Keys near `query`, nearest first.
fn near(store: &VectorStore, query: [f32; 2], search: &Search<'_>) -> Vec<i64> {
    ids(store.nearest(&lists(&[Some(query)]), search).unwrap().entities())
}

#[test]
fn the_exact_index_keeps_the_contract() {
    vector_index(1.0, |metric, dimensions| ExactIndex::new(metric, dimensions).unwrap());
}

#[test]
fn the_graph_keeps_the_contract_also_while_it_grows() {
    vector_index(0.95, |metric, dimensions| GraphIndex::builder(metric, dimensions).capacity(64).build().unwrap());
}

#[test]
fn an_indexed_store_is_an_online_store() {
    let vectors = Arc::new(exact(Metric::L2));
    block_on(online_store(|| IndexedStore::new(Arc::new(MemoryStore::new()), [vectors.clone()])));
}

/// Numbers that look random and are the same each time.
fn numbers(seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let mixed = (state ^ (state >> 33)).wrapping_mul(0xFF51_AFD7_ED55_8CCD);
        ((mixed ^ (mixed >> 33)) >> 40) as f32 / (1 << 23) as f32 - 1.0
    })
}

/// Vectors of 64 independent numbers: no structure that a graph could lean on, so the hardest there are.
#[test]
fn the_graph_finds_nineteen_of_twenty_of_the_nearest() {
    let width = 64;
    for (metric, count) in [(Metric::L2, 10_000), (Metric::Cosine, 2000), (Metric::Dot, 2000)] {
        let vectors: Vec<f32> = numbers(7).take(count * width).collect();
        let queries: Vec<f32> = numbers(8).take(100 * width).collect();
        let ids: Vec<u32> = (0..count as u32).collect();
        let exact = ExactIndex::new(metric, width as u16).unwrap();
        let graph = GraphIndex::builder(metric, width as u16).capacity(count).build().unwrap();
        exact.put(&ids, &vectors).unwrap();
        graph.put(&ids, &vectors).unwrap();
        let truth = exact.nearest(&queries, &Ask::new(10)).unwrap();
        let found = |ask: &Ask<'_>| -> usize {
            let told = graph.nearest(&queries, ask).unwrap();
            truth.iter().zip(&told).map(|(t, g)| g.iter().filter(|hit| t.contains(hit)).count()).sum()
        };
        let (usual, more) = (found(&Ask::new(10)), found(&Ask::new(10).effort(Some(400))));
        assert!(usual >= 950, "{metric}: {usual} of 1000");
        assert!(more >= 990, "{metric}: more effort finds more, {more} of 1000");
    }
}

#[test]
fn searches_answer_column_by_column() {
    for store in [exact(Metric::L2), graph(Metric::L2)] {
        let summary = store
            .write(&rows(&[(1, 1, None, Some([0.0, 0.0])), (2, 2, None, Some([3.0, 4.0])), (3, 3, None, None)]))
            .unwrap();
        assert_eq!((summary.written, summary.superseded, store.len()), (3, 0, 2));
        let asked = lists(&[Some([0.0, 1.0]), None, Some([3.0, 3.0])]);
        let near = store.nearest(&asked, &Search::new(5, at(4))).unwrap();
        assert_eq!((near.queries(), near.of(0), near.of(1), near.of(2), near.of(3)), (3, 0..2, 2..2, 2..4, 0..0));
        assert_eq!(ids(near.entities()), [1, 2, 2, 1]);
        assert_eq!(near.distances().values()[..3], [1.0, 18_f32.sqrt(), 1.0]);
        assert_eq!(near.event_times().values(), &[1_000_000, 2_000_000, 2_000_000, 1_000_000]);
        let batch = near.to_batch().unwrap();
        let names: Vec<_> = batch.schema().fields().iter().map(|field| field.name().clone()).collect();
        assert_eq!(names, ["query", "item_id", "distance", "event_timestamp"]);
        assert_eq!(batch.num_rows(), 4);
        assert_eq!(store.nearest(&lists::<2>(&[]), &Search::new(5, at(4))).unwrap().queries(), 0);
    }
}

#[test]
fn a_row_is_found_until_its_age_is_more_than_the_ttl() {
    for store in [exact(Metric::L2), graph(Metric::L2)] {
        store.write(&rows(&[(1, 5, None, Some([0.0, 0.0])), (2, 7, None, Some([9.0, 9.0]))])).unwrap();
        assert_eq!(near(&store, [0.0, 0.0], &Search::new(1, at(15))), [1]);
        let later = EventTime::from_micros(15_000_001);
        assert_eq!(near(&store, [0.0, 0.0], &Search::new(1, later)), [2], "who is too old makes room for others");
        assert_eq!(near(&store, [0.0, 0.0], &Search::new(1, at(100))), [0; 0]);
        assert_eq!(near(&store, [0.0, 0.0], &Search::new(9, EventTime::MIN)), [1, 2], "what lies ahead is served");
        assert_eq!(near(&store, [0.0, 0.0], &Search::new(9, EventTime::MAX)), [0; 0]);
    }
}

#[test]
fn only_and_except_say_who_may_be_found() {
    for store in [exact(Metric::L2), graph(Metric::L2)] {
        let all: Vec<_> = (0..50).map(|id| (id, 1, None, Some([id as f32, 0.0]))).collect();
        store.write(&rows(&all)).unwrap();
        let (some, own) = (keys(&[40, 7, 99, 7, 20]), keys(&[7, 8]));
        let ask = Search::new(3, at(2));
        assert_eq!(near(&store, [7.2, 0.0], &ask), [7, 8, 6]);
        assert_eq!(near(&store, [7.2, 0.0], &ask.clone().except(&own)), [6, 9, 5]);
        assert_eq!(near(&store, [7.2, 0.0], &ask.clone().only(&some)), [7, 20, 40]);
        assert_eq!(near(&store, [7.2, 0.0], &ask.clone().only(&some).except(&own)), [20, 40]);
        assert_eq!(near(&store, [7.2, 0.0], &ask.only(&keys(&[]))), [0; 0]);
    }
}

#[test]
fn equal_distances_come_by_key_however_they_were_written() {
    let all: Vec<_> = [300, -5, 2, 256, 1, 77].map(|id| (id, 1, None, Some([1.0, 1.0]))).to_vec();
    for store in [exact(Metric::Cosine), graph(Metric::Cosine)] {
        for row in &all {
            store.write(&rows(&[*row])).unwrap();
        }
        let other: Vec<_> = (1000..1400).map(|id| (id, 1, None, Some([1.0, 1.0]))).collect();
        store.write(&rows(&other)).unwrap();
        assert_eq!(near(&store, [2.0, 2.0], &Search::new(4, at(2))), [-5, 1, 2, 77]);
    }
}

#[test]
fn wrong_questions_and_rows_are_told_apart_and_change_nothing() {
    let store = exact(Metric::Cosine);
    store.write(&rows(&[(1, 1, None, Some([1.0, 0.0]))])).unwrap();
    let ask = |queries: ArrayRef, k: usize| store.nearest(&queries, &Search::new(k, at(2))).unwrap_err().to_string();
    assert_eq!(ask(lists(&[Some([1.0, 0.0])]), 0), "k = 0 is not 1 to 16384");
    assert_eq!(ask(lists(&[Some([1.0, 0.0])]), usize::MAX), format!("k = {} is not 1 to 16384", usize::MAX));
    assert!(ask(lists(&vec![None::<[f32; 2]>; 5000]), 16_384).starts_with("queries times k = 81920000"));
    assert!(ask(lists(&[Some([1.0, 0.0, 0.0])]), 1).contains("embedding"));
    assert!(ask(ints(&[1]), 1).contains("column `embedding`"));
    assert!(ask(lists(&[Some([1.0, 0.0]), Some([0.0, 0.0])]), 1).contains("no direction"));
    assert!(ask(lists(&[Some([f32::NAN, 0.0])]), 1).contains("NaN or infinite"));
    let write = |rows: &RecordBatch| store.write(rows).unwrap_err().to_string();
    let refused = write(&rows(&[(2, 1, None, Some([1.0, 0.0])), (3, 1, None, Some([f32::INFINITY, 0.0]))]));
    assert_eq!(refused, "`items:embedding` in row 1: a number that is NaN or infinite");
    assert!(write(&rows(&[(2, 1, None, Some([0.0, 0.0]))])).contains("zero everywhere"));
    let good = rows(&[(2, 1, None, Some([1.0, 0.0]))]);
    assert!(write(&good.project(&[0, 1, 2, 3]).unwrap()).contains("embedding"));
    assert!(write(&good.project(&[0, 2, 4]).unwrap()).contains("event_timestamp"));
    let null: ArrayRef = Arc::new(Int64Array::from(vec![None]));
    let mut columns = good.columns().to_vec();
    columns[0] = null;
    let null_key = RecordBatch::try_new(good.schema(), columns).unwrap();
    assert!(write(&null_key).contains("null in row 0"));
    let user = Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
    let others = Keys::new(&user, &[ints(&[1])]).unwrap();
    assert!(store.delete(&others).is_err());
    assert!(store.nearest(&lists(&[Some([1.0, 0.0])]), &Search::new(1, at(2)).only(&others)).is_err());
    assert_eq!((store.len(), near(&store, [0.0, 1.0], &Search::new(9, at(2)))), (1, vec![1]));
    let small = ExactIndex::new(Metric::L2, 3).unwrap();
    assert!(VectorStore::new(view(), "embedding", Arc::new(small)).unwrap_err().to_string().contains("vector"));
    assert!(VectorStore::new(view(), "price", Arc::new(ExactIndex::new(Metric::L2, 2).unwrap())).is_err());
    assert!(VectorStore::new(view(), "nothing", Arc::new(ExactIndex::new(Metric::L2, 2).unwrap())).is_err());
    assert!(ExactIndex::new(Metric::L2, 0).is_err());
    for builder in [
        GraphIndex::builder(Metric::L2, 0),
        GraphIndex::builder(Metric::L2, 2).degree(3),
        GraphIndex::builder(Metric::L2, 2).effort(0),
        GraphIndex::builder(Metric::L2, 2).build_effort(70_000),
        GraphIndex::builder(Metric::L2, 2).capacity(0),
    ] {
        assert!(builder.build().is_err());
    }
}

#[test]
fn vectors_that_cannot_be_compared_can_be_left_out() {
    let store = exact(Metric::Cosine).unusable(Unusable::LeaveOut);
    store.write(&rows(&[(1, 1, None, Some([1.0, 0.0])), (2, 1, None, Some([1.0, 0.0]))])).unwrap();
    store.write(&rows(&[(1, 2, None, Some([0.0, 0.0])), (3, 2, None, Some([f32::NAN, 1.0]))])).unwrap();
    assert_eq!(near(&store, [1.0, 0.0], &Search::new(9, at(2))), [2], "the latest vector of 1 has no direction");
}

#[test]
fn who_is_not_cleared_for_the_vectors_may_not_search() {
    let person = FeatureView::builder("people", item())
        .sensitive("embedding", ValueType::Vector(2), Sensitivity::Personal)
        .build()
        .unwrap();
    let store = VectorStore::new(person, "embedding", Arc::new(ExactIndex::new(Metric::L2, 2).unwrap())).unwrap();
    let query = lists(&[Some([0.0, 0.0])]);
    assert!(store.nearest(&query, &Search::new(1, at(1))).is_ok(), "the host may");
    let reader = Reader::new("reporting", Sensitivity::Internal);
    let refused = store.nearest(&query, &Search::new(1, at(1)).reader(&reader)).unwrap_err();
    assert_eq!(refused.to_string(), "`reporting` may not search `people:embedding`");
}

#[test]
fn an_index_is_filled_from_history_from_a_data_set_and_from_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let offline = ParquetStore::open(folder.path()).unwrap();
    let first = rows(&[(1, 3, None, Some([1.0, 0.0])), (2, 1, None, Some([2.0, 0.0]))]);
    let second = rows(&[(1, 2, None, Some([9.0, 0.0])), (3, 4, None, Some([3.0, 0.0])), (2, 5, None, None)]);
    for rows in [&first, &second] {
        offline.append(&view(), &Dataset::from_batches([rows.clone()]).unwrap()).unwrap();
    }
    let online = MemoryStore::new();
    materialize(&offline, &online, &view(), &MaterializeOptions::default(), &mut |_| true).unwrap();
    let entities = RecordBatch::try_from_iter([("item_id", ints(&[3, 1, 2, 77]))]).unwrap();
    let data = Dataset::from_batches([first, second]).unwrap();
    for fill in 0..3 {
        for store in [exact(Metric::L2), graph(Metric::L2)] {
            let mut go_on = |_: &_| true;
            let report = match fill {
                0 => store.fill_from_history(&offline, &HistoryRequest::all(), &mut go_on),
                1 => store.fill_from_dataset(&data, &mut go_on),
                _ => store.fill_from_online(&online, &entities, &mut go_on),
            };
            let report = report.unwrap();
            assert_eq!(report.rows, if fill == 2 { 3 } else { 5 });
            assert_eq!(near(&store, [0.0, 0.0], &Search::new(9, at(5))), [1, 3]);
            let stopped = store.fill_from_history(&offline, &HistoryRequest::all(), &mut |_| false).unwrap_err();
            assert!(stopped.to_string().contains("filling of `items:embedding`"), "{stopped}");
        }
    }
    // What comes later is taken from where the first filling ended.
    let after = |position: Option<Watermark>| HistoryRequest::all().after(position.unwrap());
    let store = exact(Metric::L2);
    let first = store.fill_from_history(&offline, &HistoryRequest::all(), &mut |_| true).unwrap();
    offline.append(&view(), &Dataset::from_batches([rows(&[(9, 5, None, Some([0.0, 0.0]))])]).unwrap()).unwrap();
    let next = store.fill_from_history(&offline, &after(first.to), &mut |_| true).unwrap();
    assert_eq!((next.rows, near(&store, [0.0, 0.0], &Search::new(9, at(5)))), (1, vec![9, 1, 3]));
    let last = store.fill_from_history(&offline, &after(next.to), &mut |_| true).unwrap();
    assert_eq!((last.rows, last.to), (0, next.to));
    // As of second 3: key 3 is not known yet, and key 2 still has its vector.
    let store = exact(Metric::L2);
    let window = Window { start: EventTime::MIN, end: EventTime::from_micros(3_000_001) };
    store.fill_from_history(&offline, &HistoryRequest::all().window(window), &mut |_| true).unwrap();
    assert_eq!(near(&store, [0.0, 0.0], &Search::new(9, at(3))), [1, 2]);
}

#[test]
fn pushes_and_materializations_reach_the_index() {
    let folder = tempfile::tempdir().unwrap();
    let offline = Arc::new(ParquetStore::open(folder.path()).unwrap());
    let vectors = Arc::new(graph(Metric::L2));
    let online = Arc::new(IndexedStore::new(Arc::new(MemoryStore::new()), [vectors.clone()]));
    let history = rows(&[(1, 1, None, Some([1.0, 0.0])), (2, 1, None, Some([2.0, 0.0]))]);
    offline.append(&view(), &Dataset::from_batches([history]).unwrap()).unwrap();
    let report = materialize(&*offline, &*online, &view(), &MaterializeOptions::default(), &mut |_| true).unwrap();
    assert_eq!(report.online.written, 2);
    assert_eq!(near(&vectors, [0.0, 0.0], &Search::new(9, at(2))), [1, 2]);
    let push = Push::builder(view()).online(online.clone()).build().unwrap();
    push.push(&rows(&[(1, 2, None, Some([5.0, 0.0]))]), Target::Online).unwrap();
    assert_eq!(near(&vectors, [0.0, 0.0], &Search::new(9, at(2))), [2, 1]);
    let refused = push.push(&rows(&[(2, 3, None, Some([f32::NAN, 0.0]))]), Target::Online);
    assert!(refused.is_err());
    let known = keys(&[2]);
    let read = block_on(online.read(&[OnlineRead { view: &view(), features: &[0], keys: &known }])).unwrap();
    assert_eq!(read[0].event_time(0), Some(at(1)), "what the index refuses is not written");
    block_on(online.delete(&view(), &known)).unwrap();
    assert_eq!(near(&vectors, [0.0, 0.0], &Search::new(9, at(2))), [1]);
}

#[test]
fn neighbours_come_with_their_features() {
    let vectors = Arc::new(exact(Metric::L2));
    let online: Arc<dyn OnlineStore> = Arc::new(IndexedStore::new(Arc::new(MemoryStore::new()), [vectors.clone()]));
    let all = rows(&[(1, 1, None, Some([1.0, 0.0])), (2, 2, None, Some([2.0, 0.0]))]);
    block_on(online.write(&view(), &all, None)).unwrap();
    let service = FeatureService::builder("shop").feature("items:price").build().unwrap();
    let server = FeatureServer::new(ServingPlan::compile(&service, &[view()]).unwrap(), online);
    let (query, ask) = (lists(&[Some([9.0, 0.0])]), Search::new(5, at(3)));
    let (near, features) = block_on(vectors.nearest_with_features(&query, &ask, &server, None)).unwrap();
    assert_eq!(ids(near.entities()), [2, 1]);
    assert_eq!(features.columns()[0].as_primitive::<Int64Type>().values(), &[2, 1]);
    assert_eq!(features.statuses(0), [Status::Present; 2]);
}

fn request(context: RecordBatch) -> Query {
    Query::new(RequestId(1), at(3), context, 10).unwrap()
}

fn candidates(stage: &NearestCandidates, context: RecordBatch, limit: usize) -> Vec<i64> {
    let budget = Budget { left: None };
    ids(&block_on(stage.retrieve(&request(context), limit, budget)).unwrap())
}

#[test]
fn neighbours_are_candidates_of_a_ranking() {
    let vectors = Arc::new(exact(Metric::Cosine));
    vectors.write(&rows(&[(1, 1, None, Some([1.0, 0.0])), (2, 2, None, Some([0.0, 2.0]))])).unwrap();
    let stage = NearestCandidates::new("two_towers", vectors.clone(), "taste").unwrap();
    let context = |vector: Option<[f32; 2]>| {
        RecordBatch::try_from_iter_with_nullable([("taste", lists(&[vector]), true)]).unwrap()
    };
    let fresh = || NearestCandidates::new("two_towers", vectors.clone(), "taste").unwrap();
    block_on(mlops_core::testkit::candidate_source(fresh, &request(context(Some([1.0, 0.1])))));
    assert_eq!(candidates(&stage, context(Some([1.0, 0.1])), 9), [1, 2]);
    assert_eq!(candidates(&stage, context(Some([1.0, 0.1])), 1), [1]);
    assert_eq!(candidates(&stage, context(Some([1.0, 0.1])), 0), [0; 0]);
    assert_eq!(candidates(&stage, context(None), 9), [0; 0], "who has no vector has no candidates from here");
    assert_eq!(candidates(&stage, context(Some([0.0, 0.0])), 9), [0; 0]);
    let nothing = RecordBatch::try_from_iter([("other", ints(&[1]))]).unwrap();
    assert!(block_on(stage.retrieve(&request(nothing), 9, Budget { left: None })).is_err());

    // The vector of a user, which is a feature.
    let user = Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
    let users = FeatureView::builder("users", user).feature("taste", ValueType::Vector(2)).ttl(Duration::from_secs(1));
    let users = users.build().unwrap();
    let online = Arc::new(MemoryStore::new());
    let known = RecordBatch::try_from_iter([
        ("user_id", ints(&[7, 8])),
        ("event_timestamp", times(&[2_500_000, 1_000_000])),
        ("taste", lists(&[Some([0.1, 1.0]), Some([0.1, 1.0])])),
    ]);
    online.write_sync(&users, &known.unwrap(), None).unwrap();
    let stage = NearestCandidates::of_feature("two_towers", vectors.clone(), online.clone(), users.clone(), "taste");
    let stage = stage.unwrap();
    let asker = |id| RecordBatch::try_from_iter([("user_id", ints(&[id]))]).unwrap();
    assert_eq!(candidates(&stage, asker(7), 9), [2, 1]);
    assert_eq!(candidates(&stage, asker(8), 9), [0; 0], "a vector that is too old is none");
    assert_eq!(candidates(&stage, asker(9), 9), [0; 0]);
    let narrow = FeatureView::builder("users", users.entity().clone()).feature("taste", ValueType::Vector(3));
    let narrow = narrow.build().unwrap();
    assert!(NearestCandidates::of_feature("two_towers", vectors, online, narrow, "taste").is_err());
}

#[test]
fn keys_of_several_columns_are_found_and_come_back() {
    let pair = Entity::builder("pair").key("shop", KeyType::Utf8).key("item", KeyType::Int64).build().unwrap();
    let view = FeatureView::builder("pairs", pair).feature("v", ValueType::Vector(2)).build().unwrap();
    let store = VectorStore::new(view.clone(), "v", Arc::new(ExactIndex::new(Metric::L2, 2).unwrap())).unwrap();
    let shops: ArrayRef = Arc::new(StringArray::from(vec!["b", "a", "a"]));
    let rows = RecordBatch::try_from_iter([
        ("shop", shops),
        ("item", ints(&[1, 2, 1])),
        ("event_timestamp", times(&[1, 1, 1])),
        ("v", lists(&[Some([0.0, 0.0]); 3])),
    ]);
    store.write(&rows.unwrap()).unwrap();
    let near = store.nearest(&lists(&[Some([0.0, 0.0])]), &Search::new(9, at(1))).unwrap();
    assert_eq!(near.entities().column(0).as_ref(), &StringArray::from(vec!["a", "a", "b"]));
    assert_eq!(near.entities().column(1).as_ref(), &Int64Array::from(vec![1, 2, 1]));
    assert!(NearestCandidates::new("pairs", Arc::new(store), "taste").is_err(), "a candidate has one key");
}

#[test]
fn a_store_that_fails_leaves_the_index_as_it_was() {
    let vectors = Arc::new(exact(Metric::L2));
    let broken = FlakyOnlineStore::new(MemoryStore::new(), Faults::every(1));
    let online = IndexedStore::new(Arc::new(broken), [vectors.clone()]);
    assert!(block_on(online.write(&view(), &rows(&[(1, 1, None, Some([1.0, 0.0]))]), None)).is_err());
    assert_eq!(vectors.len(), 0);
}

#[derive(Clone, Debug)]
enum Action {
    Write(Vec<(i64, i64, Option<i64>, Vector)>),
    Delete(Vec<i64>),
}

fn action() -> impl Strategy<Value = Action> {
    let vector = proptest::option::weighted(0.8, [1_i32..4, 1..4].prop_map(|[x, y]| [x as f32, y as f32]));
    let row = (0_i64..6, 0_i64..5, proptest::option::of(0_i64..3), vector);
    prop_oneof![
        4 => proptest::collection::vec(row, 1..6).prop_map(Action::Write),
        1 => proptest::collection::vec(0_i64..6, 1..3).prop_map(Action::Delete),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The online store is the oracle: it has a kit of its own.
    #[test]
    fn store_and_index_agree_after_any_writes_and_deletions(actions in proptest::collection::vec(action(), 1..24)) {
        for vectors in [exact(Metric::L2), graph(Metric::L2)] {
            let vectors = Arc::new(vectors);
            let online = IndexedStore::new(Arc::new(MemoryStore::new()), [vectors.clone()]);
            for action in &actions {
                match action {
                    Action::Write(all) => { block_on(online.write(&view(), &rows(all), None)).unwrap(); }
                    Action::Delete(ids) => { block_on(online.delete(&view(), &keys(ids))).unwrap(); }
                }
            }
            let all = keys(&[0, 1, 2, 3, 4, 5]);
            let kept = block_on(online.read(&[OnlineRead { view: &view(), features: &[1], keys: &all }])).unwrap();
            let kept_vectors = kept[0].columns[0].as_fixed_size_list();
            let expected: BTreeMap<i64, (f32, i64)> = (0..6)
                .filter(|id| kept_vectors.is_valid(*id))
                .map(|id| {
                    let vector = kept_vectors.value(id);
                    let distance = Metric::L2.distance(vector.as_primitive::<Float32Type>().values(), &[0.0, 0.0]);
                    (id as i64, (distance, kept[0].event_time.value(id)))
                })
                .collect();
            let near = vectors.nearest(&lists(&[Some([0.0, 0.0])]), &Search::new(9, at(5))).unwrap();
            let told = ids(near.entities()).into_iter().enumerate();
            let told: BTreeMap<i64, (f32, i64)> =
                told.map(|(row, id)| (id, (near.distances().value(row), near.event_times().value(row)))).collect();
            prop_assert_eq!(told, expected);
            prop_assert!(near.distances().values().is_sorted());
        }
    }

    #[test]
    fn the_exact_index_finds_what_comparing_one_by_one_finds(
        (width, vectors, query) in (1_usize..40).prop_flat_map(|width| {
            let number = -3_i32..3;
            let vectors = proptest::collection::vec(number.clone(), width * 60);
            (Just(width), vectors, proptest::collection::vec(number, width))
        }),
        k in 1_usize..80,
    ) {
        let floats = |all: &[i32]| all.iter().map(|one| *one as f32 + 0.5).collect::<Vec<_>>();
        let (vectors, query) = (floats(&vectors), floats(&query));
        let ids: Vec<u32> = (0..60).map(|at| at * 3).collect();
        for metric in [Metric::Cosine, Metric::Dot, Metric::L2] {
            let index = ExactIndex::new(metric, width as u16).unwrap();
            index.put(&ids, &vectors).unwrap();
            let told = index.nearest(&query, &Ask::new(k)).unwrap().remove(0);
            let of = |(row, id): (usize, &u32)| (metric.distance(&vectors[row * width..(row + 1) * width], &query), *id);
            let mut expected: Vec<(f32, u32)> = ids.iter().enumerate().map(of).collect();
            expected.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            expected.truncate(k);
            prop_assert_eq!(told.iter().map(|hit| (hit.distance, hit.id)).collect::<Vec<_>>(), expected);
        }
    }
}

#[test]
fn searches_beside_writes_find_every_key_once_with_its_own_time() {
    // The vector of a row says its event time, so that a hit which mixes two rows gives itself away.
    for store in [exact(Metric::L2), graph(Metric::L2)] {
        let at_time =
            |time: i64| (0..40).map(|id| (id, time, None, Some([time as f32, id as f32]))).collect::<Vec<_>>();
        store.write(&rows(&at_time(1))).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for time in 2..8 {
                    at_time(time).chunks(8).for_each(|some| {
                        store.write(&rows(some)).unwrap();
                    });
                }
            });
            while !writer.is_finished() {
                let near = store.nearest(&lists(&[Some([0.0, 0.0])]), &Search::new(100, at(8))).unwrap();
                let told = ids(near.entities());
                let distinct: std::collections::BTreeSet<i64> = told.iter().copied().collect();
                assert_eq!((told.len(), distinct.len()), (40, 40));
                for (row, id) in told.iter().enumerate() {
                    let time = (near.event_times().value(row) / 1_000_000) as f32;
                    let expected = Metric::L2.distance(&[time, *id as f32], &[0.0, 0.0]);
                    assert_eq!(near.distances().value(row), expected);
                }
            }
        });
    }
}

#[test]
fn candidates_have_the_columns_that_were_announced() {
    let stage = NearestCandidates::new("near", Arc::new(exact(Metric::L2)), "taste").unwrap();
    let fields = vec![Field::new("item_id", DataType::Int64, false), Field::new("distance", DataType::Float32, false)];
    assert_eq!(Schema::new(stage.fields()), Schema::new(fields));
}
