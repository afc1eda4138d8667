//! Requests are answered with a truthful status per value, and agree with the as-of join.

use std::sync::Arc;
use std::time::Duration;

use mlops_core::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
use mlops_core::arrow::datatypes::Float64Type;
use mlops_core::rank::{Budget, Hydrator, Query, RequestId, Slate};
use mlops_core::schema::Sensitivity;
use mlops_core::{Dataset, EventTime, Name};
use mlops_features::offline::{AsOfOptions, as_of_join};
use mlops_features::online::{MemoryStore, OnlineStore};
use mlops_features::testkit::{Faults, FlakyOnlineStore, block_on};
use mlops_features::{
    Entity, FeatureServer, FeatureService, FeatureServiceHydrator, FeatureView, KeyType, ServingPlan, Status,
    ValueType, ViewUse,
};
use proptest::prelude::*;

use crate::{builder, data, ints, rows, times};

const TTL_US: u64 = 10;

fn views() -> [FeatureView; 2] {
    let user = builder("ctr", "user_id").ttl(Duration::from_micros(TTL_US)).build().unwrap();
    [user, builder("price", "offer_id").build().unwrap()]
}

fn service() -> FeatureService {
    FeatureService::builder("ranker").feature("price:price").feature("ctr:ctr").build().unwrap()
}

fn server(store: impl OnlineStore) -> FeatureServer {
    FeatureServer::new(ServingPlan::compile(&service(), &views()).unwrap(), Arc::new(store))
}

fn floats(array: &ArrayRef) -> Vec<Option<f64>> {
    array.as_primitive::<Float64Type>().iter().collect()
}

fn filled() -> MemoryStore {
    let (store, [user, offer]) = (MemoryStore::new(), views());
    store
        .write_sync(
            &user,
            &rows(&user, &[(1, 100, Some(0.1)), (2, 89, Some(0.2)), (3, 95, None), (4, 105, Some(0.4))]),
            None,
        )
        .unwrap();
    store.write_sync(&offer, &rows(&offer, &[(7, 0, Some(7.0)), (8, 0, None)]), None).unwrap();
    store
}

#[test]
fn every_value_says_what_is_behind_it_and_how_old_it_is() {
    use Status::{NotFound, NullValue, OutsideMaxAge, Present};

    let server = server(filled());
    assert_eq!(server.plan().key_columns().iter().map(|n| n.as_str()).collect::<Vec<_>>(), ["offer_id", "user_id"]);
    let users = Arc::new(Int64Array::from(vec![Some(1), Some(2), Some(3), Some(9), None, Some(4)])) as ArrayRef;
    let asked = RecordBatch::try_from_iter_with_nullable([("user_id", users, true), ("offer_id", ints(&[7; 6]), true)]);
    let vectors = block_on(server.get(&asked.unwrap(), EventTime::from_micros(100))).unwrap();
    assert_eq!(vectors.schema().field(1).name(), "ctr");
    assert_eq!(floats(&vectors.columns()[1]), [Some(0.1), None, None, None, None, Some(0.4)]);
    assert_eq!(vectors.statuses(1), [Present, OutsideMaxAge, NullValue, NotFound, NotFound, Present]);
    assert_eq!(vectors.statuses(0), [Present; 6]);
    let ages: Vec<_> = (0..6).map(|row| vectors.age_us(1, row)).collect();
    assert_eq!(ages, [Some(0), Some(11), Some(5), None, None, Some(-5)]);
    assert_eq!(vectors.age(1, 5), Some(Duration::ZERO));
    assert!(vectors.statuses(2).is_empty() && vectors.age_us(2, 0).is_none());
    let counts = &server.counts()[1];
    assert_eq!((counts.present, counts.outside_max_age, counts.null_value, counts.not_found), (2, 1, 1, 2));
    assert_eq!(counts.ahead, 1);
    assert_eq!(vectors.to_batch().unwrap().num_rows(), 6);
}

#[test]
fn an_age_of_exactly_the_ttl_is_not_too_old() {
    let server = server(filled());
    let asked = RecordBatch::try_from_iter([("user_id", ints(&[1])), ("offer_id", ints(&[7]))]).unwrap();
    for (now, status) in [(110, Status::Present), (111, Status::OutsideMaxAge), (i64::MAX, Status::OutsideMaxAge)] {
        let vectors = block_on(server.get(&asked, EventTime::from_micros(now))).unwrap();
        assert_eq!(vectors.statuses(1), [status], "now {now}");
    }
}

#[test]
fn a_swap_takes_the_new_plan_whole_and_its_counters_go_on() {
    let plan = |sensitivity| {
        let user = Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
        let view = FeatureView::builder("ctr", user).sensitive("ctr", ValueType::Float64, sensitivity).build().unwrap();
        let service = FeatureService::builder("ranker").feature("ctr:ctr").build().unwrap();
        ServingPlan::compile(&service, &[view]).unwrap()
    };
    let (open, secret) = (plan(Sensitivity::Internal), plan(Sensitivity::Secret));
    assert_eq!(open.fingerprint(), secret.fingerprint(), "the values are the same");
    let server = FeatureServer::new(open, Arc::new(filled()));
    let asked = RecordBatch::try_from_iter([("user_id", ints(&[1]))]).unwrap();
    block_on(server.get(&asked, EventTime::from_micros(100))).unwrap();
    server.swap([secret]).unwrap();
    let error = block_on(server.get(&asked, EventTime::from_micros(100))).unwrap_err().to_string();
    assert!(error.contains("may not read"), "{error}");
    let metrics = server.metrics().unwrap();
    assert_eq!((metrics[0].answered, metrics[0].forbidden), (1, 1));
}

fn hydrate(
    hydrator: &FeatureServiceHydrator,
    context: RecordBatch,
    slate: RecordBatch,
) -> mlops_core::Result<Vec<ArrayRef>> {
    let query = Query::new(RequestId(1), EventTime::from_micros(100), context, 10).unwrap();
    block_on(hydrator.hydrate(&query, &Slate::new(slate).unwrap(), Budget { left: None }))
}

#[test]
fn context_features_are_read_once_and_repeated_for_each_candidate() {
    let store = Arc::new(FlakyOnlineStore::new(filled(), Faults::default()));
    let server = FeatureServer::new(ServingPlan::compile(&service(), &views()).unwrap(), store.clone());
    let hydrator = FeatureServiceHydrator::new(Name::new("features").unwrap(), Arc::new(server));
    let context = RecordBatch::try_from_iter([("user_id", ints(&[1]))]).unwrap();
    let slate = RecordBatch::try_from_iter([("offer_id", ints(&[8, 7, 9]))]).unwrap();
    let columns = hydrate(&hydrator, context.clone(), slate.clone()).unwrap();
    assert_eq!(hydrator.fields().iter().map(|f| f.name().as_str()).collect::<Vec<_>>(), ["price", "ctr"]);
    assert_eq!(floats(&columns[0]), [None, Some(7.0), None]);
    assert_eq!(floats(&columns[1]), [Some(0.1); 3]);
    assert_eq!(store.calls(), 1, "one round trip for both views");
    assert_eq!(hydrator.server().counts()[1].present, 1, "the context was read for one key");
    let empty = hydrate(&hydrator, context, slate.slice(0, 0)).unwrap();
    assert!(empty.iter().all(mlops_core::arrow::array::Array::is_empty));
    let stranger = RecordBatch::try_from_iter([("session", ints(&[1]))]).unwrap();
    let error = hydrate(&hydrator, stranger, slate).unwrap_err().to_string();
    assert!(error.contains("user_id"), "{error}");
}

#[test]
fn a_key_of_context_and_candidate_together_is_put_together() {
    let pair = Entity::builder("pair").key("user_id", KeyType::Int64).key("offer_id", KeyType::Int64).build().unwrap();
    let view = FeatureView::builder("affinity", pair).feature("affinity", ValueType::Float64).build().unwrap();
    let store = MemoryStore::new();
    let value: ArrayRef = Arc::new(mlops_core::arrow::array::Float64Array::from(vec![0.5, 0.7]));
    let batch = [
        ("user_id", ints(&[1, 1])),
        ("offer_id", ints(&[7, 8])),
        ("event_timestamp", times(&[1, 1])),
        ("affinity", value),
    ];
    store.write_sync(&view, &RecordBatch::try_from_iter(batch).unwrap(), None).unwrap();
    let used = ViewUse::all("affinity").and_then(|used| used.key("offer_id", "candidate")).unwrap();
    let service = FeatureService::builder("s").using(used).full_names(true).build().unwrap();
    let server = FeatureServer::new(ServingPlan::compile(&service, &[view]).unwrap(), Arc::new(store));
    let hydrator = FeatureServiceHydrator::new(Name::new("features").unwrap(), Arc::new(server));
    let context = RecordBatch::try_from_iter([("user_id", ints(&[1]))]).unwrap();
    let columns = hydrate(&hydrator, context, RecordBatch::try_from_iter([("candidate", ints(&[8, 9, 7]))]).unwrap());
    assert_eq!(floats(&columns.unwrap()[0]), [Some(0.7), None, Some(0.5)]);
    assert_eq!(hydrator.fields()[0].name(), "affinity__affinity");
}

#[test]
fn a_store_that_fails_is_an_error_of_the_stage() {
    let faults = Faults { fail_every: 1, ..Faults::default() };
    let server = server(FlakyOnlineStore::new(filled(), faults));
    let asked = RecordBatch::try_from_iter([("user_id", ints(&[1])), ("offer_id", ints(&[7]))]).unwrap();
    assert!(block_on(server.get(&asked, EventTime::EPOCH)).is_err());
    let hydrator = FeatureServiceHydrator::new(Name::new("features").unwrap(), Arc::new(server));
    let slate = RecordBatch::try_from_iter([("offer_id", ints(&[7]))]).unwrap();
    let context = RecordBatch::try_from_iter([("user_id", ints(&[1]))]).unwrap();
    assert!(hydrate(&hydrator, context, slate).is_err());
}

proptest! {
    /// One definition, two paths: what is served now is what a join as of now returns.
    #[test]
    fn serving_agrees_with_the_as_of_join(
        content in proptest::collection::vec((0_i64..4, -20_i64..=50, proptest::option::of(0.0..1.0_f64)), 0..30),
        order in any::<u64>(),
    ) {
        let (store, [user, offer]) = (MemoryStore::new(), views());
        let now = EventTime::from_micros(50);
        let history = [data(&user, &content), data(&offer, &content)];
        for (view, history) in [&user, &offer].into_iter().zip(&history) {
            // Arrival in two calls, cut anywhere; rows of one time keep their order, as the law of writing wants it.
            let batch = history.to_batch().unwrap();
            let cut = (order as usize) % (batch.num_rows() + 1);
            store.write_sync(view, &batch.slice(0, cut), None).unwrap();
            store.write_sync(view, &batch.slice(cut, batch.num_rows() - cut), None).unwrap();
        }
        let spine = RecordBatch::try_from_iter([
            ("user_id", ints(&[0, 1, 2, 3, 4])),
            ("offer_id", ints(&[4, 3, 2, 1, 0])),
            ("event_timestamp", times(&[50; 5])),
        ]).unwrap();
        let served = block_on(server(store).get(&spine, now)).unwrap();
        let joins = service().joins(&views()).unwrap();
        let [user_history, offer_history] = history;
        let histories = [offer_history, user_history];
        let views: Vec<_> = joins.into_iter().zip(histories).collect();
        let joined = as_of_join(&Dataset::from_batches([spine]).unwrap(), &views, &AsOfOptions::new()).unwrap();
        let joined = joined.dataset.to_batch().unwrap();
        for name in ["price", "ctr"] {
            let at = served.schema().index_of(name).unwrap();
            prop_assert_eq!(floats(&served.columns()[at]), floats(&joined[name].clone()), "{}", name);
        }
    }
}
