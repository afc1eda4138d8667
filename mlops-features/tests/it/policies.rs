//! What is served where nothing valid is, to whom, and what is counted.

use std::sync::Arc;
use std::time::Duration;

use mlops_core::arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use mlops_core::arrow::datatypes::Float64Type;
use mlops_core::rank::{Budget, Hydrator, Query, RequestId, Slate};
use mlops_core::schema::Sensitivity;
use mlops_core::{Error as Core, EventTime, Name};
use mlops_features::online::MemoryStore;
use mlops_features::testkit::block_on;
use mlops_features::{
    Error, Feature, FeatureServer, FeatureService, FeatureServiceHydrator, FeatureView, Reader, Request, ServingPlan,
    Status, StatusPolicy, ValueType, ViewUse,
};

use crate::{builder, ints, rows};

const NOW: EventTime = EventTime::from_micros(100);

/// Key 1 is fresh, 2 is older than promised, 3 is too old, 4 is null, 9 is not there.
fn filled(view: &FeatureView) -> Arc<MemoryStore> {
    let store = MemoryStore::new();
    let content = [(1, 99, Some(0.1)), (2, 92, Some(0.2)), (3, 80, Some(0.3)), (4, 99, None)];
    store.write_sync(view, &rows(view, &content), None).unwrap();
    Arc::new(store)
}

fn view(policy: StatusPolicy) -> FeatureView {
    let view = builder("other", "user_id").build().unwrap();
    let feature = Feature::new("ctr", ValueType::Float64).unwrap();
    let feature = if policy == StatusPolicy::Default { feature.default_value(-1.0) } else { feature };
    FeatureView::builder("ctr", view.entity().clone())
        .with(feature)
        .ttl(Duration::from_micros(10))
        .freshness(Duration::from_micros(5))
        .policy(policy)
        .build()
        .unwrap()
}

fn server(policy: StatusPolicy) -> FeatureServer {
    let view = view(policy);
    let service = FeatureService::builder("ranker").feature("ctr:ctr").build().unwrap();
    FeatureServer::new(ServingPlan::compile(&service, &[view.clone()]).unwrap(), filled(&view))
}

fn asked(users: &[i64]) -> RecordBatch {
    RecordBatch::try_from_iter([("user_id", ints(users))]).unwrap()
}

fn floats(array: &ArrayRef) -> Vec<Option<f64>> {
    array.as_primitive::<Float64Type>().iter().collect()
}

#[track_caller]
fn serves(policy: StatusPolicy, expected: [Option<f64>; 5]) {
    use Status::{NotFound, NullValue, OutsideMaxAge, Present};
    let server = server(policy);
    let vectors = block_on(server.get(&asked(&[1, 2, 3, 4, 9]), NOW)).unwrap();
    assert_eq!(floats(&vectors.columns()[0]), expected, "{policy}");
    assert_eq!(vectors.statuses(0), [Present, Present, OutsideMaxAge, NullValue, NotFound], "{policy}");
    let ages: Vec<_> = (0..5).map(|row| vectors.age_us(0, row)).collect();
    assert_eq!(ages, [Some(1), Some(8), Some(20), Some(1), None]);
    let counts = server.counts().swap_remove(0);
    assert_eq!((counts.present, counts.outside_max_age, counts.null_value, counts.not_found), (2, 1, 1, 1));
    assert_eq!(counts.overdue, 2, "two rows are older than promised, one of them valid");
}

#[test]
fn a_policy_changes_what_is_served_and_never_what_is_said_of_it() {
    serves(StatusPolicy::Null, [Some(0.1), Some(0.2), None, None, None]);
    serves(StatusPolicy::Default, [Some(0.1), Some(0.2), Some(-1.0), None, Some(-1.0)]);
    serves(StatusPolicy::Stale, [Some(0.1), Some(0.2), Some(0.3), None, None]);
}

#[test]
fn a_view_may_fail_the_request_and_says_how_much_is_missing() {
    let server = server(StatusPolicy::Fail);
    let vectors = block_on(server.get(&asked(&[1, 4]), NOW)).unwrap();
    assert_eq!(vectors.statuses(0), [Status::Present, Status::NullValue], "a known null is a valid row");
    let error = block_on(server.get(&asked(&[1, 3, 9, 8]), NOW)).unwrap_err();
    let Error::NoValidRow { view, keys, not_found, outside_max_age } = &error else { panic!("{error}") };
    assert_eq!((view.as_str(), *keys, *not_found, *outside_max_age), ("ctr", 4, 2, 1));
    let metrics = server.metrics().unwrap().swap_remove(0);
    assert_eq!((metrics.answered, metrics.failed, metrics.entities), (1, 1, 2));
}

#[test]
fn who_is_not_cleared_is_refused_and_nothing_is_read() {
    let entity = view(StatusPolicy::Null).entity().clone();
    let person = FeatureView::builder("person", entity)
        .sensitive("income", ValueType::Float64, Sensitivity::Secret)
        .sensitive("ctr", ValueType::Float64, Sensitivity::Personal)
        .build()
        .unwrap();
    let store = Arc::new(MemoryStore::new());
    let part = |name: &str, features: &[&str]| {
        let used = ViewUse::of("person", features.iter().copied()).unwrap();
        let service = FeatureService::builder(name).using(used).build().unwrap();
        ServingPlan::compile(&service, &[person.clone()]).unwrap()
    };
    let server = FeatureServer::of([part("open", &["ctr"]), part("vault", &["ctr", "income"])], store).unwrap();
    let entities = asked(&[1]);
    let refused = |request: Request<'_>| {
        let error = block_on(server.answer(&[request])).unwrap_err();
        assert!(matches!(error, Error::Core(Core::Forbidden { .. })), "{error}");
        error.to_string()
    };
    let clerk = Reader::new("clerk", Sensitivity::Internal);
    assert_eq!(refused(Request::new(&entities, NOW).reader(&clerk)), "`clerk` may not read `ctr` of service `open`");
    let text = refused(Request::new(&entities, NOW).service("vault"));
    assert_eq!(text, "`the host` may not read `income` of service `vault`");
    let keeper = Reader::new("keeper", Sensitivity::Secret);
    assert!(block_on(server.answer(&[Request::new(&entities, NOW).service("vault").reader(&keeper)])).is_ok());
    let metrics = server.metrics().unwrap();
    let told: Vec<_> = metrics.iter().map(|m| (m.service.as_str(), m.answered, m.failed, m.forbidden)).collect();
    assert_eq!(told, [("open", 0, 0, 1), ("vault", 1, 0, 1)]);
}

#[test]
fn no_value_is_shown_by_accident() {
    let store = filled(&view(StatusPolicy::Null));
    let service = FeatureService::builder("ranker").feature("ctr:ctr").build().unwrap();
    let server = FeatureServer::new(ServingPlan::compile(&service, &[view(StatusPolicy::Null)]).unwrap(), store);
    let vectors = block_on(server.get(&asked(&[1, 2]), NOW)).unwrap();
    for shown in [format!("{vectors:?}"), format!("{server:?}"), format!("{:?}", vectors.plan())] {
        assert!(!shown.contains("0.1") && !shown.contains("0.2"), "{shown}");
    }
}

#[test]
fn several_services_are_answered_in_one_round_trip() {
    use mlops_features::testkit::{Faults, FlakyOnlineStore};

    let view = view(StatusPolicy::Null);
    let store = MemoryStore::new();
    store.write_sync(&view, &rows(&view, &[(1, 99, Some(0.1)), (2, 99, Some(0.2))]), None).unwrap();
    let store = Arc::new(FlakyOnlineStore::new(store, Faults::default()));
    let named = |name: &str| {
        let service = FeatureService::builder(name).feature("ctr:ctr").build().unwrap();
        ServingPlan::compile(&service, &[view.clone()]).unwrap()
    };
    let server = FeatureServer::of([named("a"), named("b")], store.clone()).unwrap();
    let (one, two) = (asked(&[1]), asked(&[2, 1]));
    let requests =
        [Request::new(&one, NOW).service("b"), Request::new(&two, NOW), Request::new(&one, NOW).service("a")];
    let answers = block_on(server.answer(&requests)).unwrap();
    let told: Vec<_> = answers.iter().map(|a| (a.plan().service().to_string(), floats(&a.columns()[0]))).collect();
    let expected = [("b", vec![Some(0.1)]), ("a", vec![Some(0.2), Some(0.1)]), ("a", vec![Some(0.1)])];
    assert_eq!(told, expected.map(|(name, values)| (name.to_owned(), values)));
    assert_eq!(store.calls(), 1);
    assert!(block_on(server.answer(&[])).unwrap().is_empty());
    let error = block_on(server.answer(&[Request::new(&one, NOW).service("c/../d")])).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::NotFound { kind: "service", .. })), "{error}");
    let twice = FeatureServer::of([named("a"), named("a")], Arc::new(MemoryStore::new()));
    assert!(matches!(twice, Err(Error::Core(Core::AlreadyExists { .. }))));
    assert!(FeatureServer::of([], Arc::new(MemoryStore::new())).is_err());
}

#[test]
fn plans_are_exchanged_in_one_step_and_counters_of_the_same_go_on() {
    let (one, two) = (view(StatusPolicy::Null), builder("late", "user_id").build().unwrap());
    let plan = |name: &str, reference: &str| {
        let service = FeatureService::builder(name).feature(reference).build().unwrap();
        ServingPlan::compile(&service, &[one.clone(), two.clone()]).unwrap()
    };
    let server = Arc::new(FeatureServer::of([plan("a", "ctr:ctr"), plan("b", "ctr:ctr")], filled(&one)).unwrap());
    let hydrator = FeatureServiceHydrator::of(Name::new("features").unwrap(), server.clone(), "b").unwrap();
    let entities = asked(&[1]);
    block_on(server.get(&entities, NOW)).unwrap();
    server.swap([plan("a", "ctr:ctr"), plan("b", "late:late")]).unwrap();
    let answered: Vec<_> = server.metrics().unwrap().iter().map(|metrics| metrics.answered).collect();
    assert_eq!(answered, [1, 0]);
    assert_eq!(server.plan_of("b").unwrap().schema().field(0).name(), "late");
    assert!(server.swap([]).is_err());
    assert_eq!(server.plans().len(), 2, "a swap that fails changes nothing");
    let context = Query::new(RequestId(1), NOW, entities, 1).unwrap();
    let slate = Slate::new(RecordBatch::try_from_iter([("offer_id", ints(&[1]))]).unwrap()).unwrap();
    let error = block_on(hydrator.hydrate(&context, &slate, Budget { left: None })).unwrap_err().to_string();
    assert!(error.contains("`b`") && error.contains("ctr") && error.contains("late"), "{error}");
}

#[test]
fn requests_are_answered_while_plans_are_exchanged() {
    let view = view(StatusPolicy::Null);
    let plan = |full: bool| {
        let service = FeatureService::builder("a").feature("ctr:ctr").full_names(full).build().unwrap();
        ServingPlan::compile(&service, &[view.clone()]).unwrap()
    };
    let server = FeatureServer::new(plan(false), filled(&view));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for turn in 0..200 {
                server.swap([plan(turn % 2 == 0)]).unwrap();
            }
            done.store(true, std::sync::atomic::Ordering::Release);
        });
        while !done.load(std::sync::atomic::Ordering::Acquire) {
            let vectors = block_on(server.get(&asked(&[1]), NOW)).unwrap();
            assert_eq!(floats(&vectors.columns()[0]), [Some(0.1)]);
            assert!(["ctr", "ctr__ctr"].contains(&vectors.schema().field(0).name().as_str()));
        }
    });
}

#[test]
fn latencies_are_counted_per_request() {
    let server = server(StatusPolicy::Null);
    assert_eq!(server.metrics().unwrap()[0].latency_quantile(0.5), None);
    for _ in 0..10 {
        block_on(server.get(&asked(&[1]), NOW)).unwrap();
    }
    let metrics = server.metrics().unwrap().swap_remove(0);
    assert_eq!((metrics.answered, metrics.latency.total()), (10, 10));
    let (median, most) = (metrics.latency_quantile(0.5).unwrap(), metrics.latency_quantile(1.0).unwrap());
    assert!(median <= most && most > Duration::ZERO);
    let text = serde_json::to_string(&metrics).unwrap();
    assert_eq!(serde_json::from_str::<mlops_features::ServiceMetrics>(&text).unwrap(), metrics);
}

#[test]
fn a_request_too_large_is_refused_before_anything_is_read() {
    let entity = view(StatusPolicy::Null).entity().clone();
    let wide = (0..10_000)
        .fold(FeatureView::builder("wide", entity), |view, i| view.feature(format!("f{i}"), ValueType::Float64));
    let wide = wide.build().unwrap();
    let service = FeatureService::builder("all").using(ViewUse::all("wide").unwrap()).build().unwrap();
    let plan = ServingPlan::compile(&service, &[wide.clone()]).unwrap();
    let many: Vec<i64> = (0..5_000).collect();
    let server = FeatureServer::new(plan.clone(), Arc::new(MemoryStore::new()));
    let error = block_on(server.get(&asked(&many), NOW)).unwrap_err().to_string();
    assert!(error.contains("5000 entities by 10000 columns"), "{error}");
    let vectors = block_on(server.get(&asked(&many[..10]), NOW)).unwrap();
    assert_eq!((vectors.columns().len(), vectors.statuses(9_999)), (10_000, &[Status::NotFound; 10][..]));
    let small = FeatureServer::new(plan, Arc::new(MemoryStore::new())).values_max(9_999);
    assert!(block_on(small.get(&asked(&[1]), NOW)).is_err());
}

#[test]
fn odd_keys_and_instants_are_answered() {
    let view = view(StatusPolicy::Null);
    let store = MemoryStore::new();
    let extremes = [(i64::MIN, i64::MIN, Some(1.0)), (i64::MAX, i64::MAX, Some(2.0)), (0, 0, Some(f64::NAN))];
    store.write_sync(&view, &rows(&view, &extremes), None).unwrap();
    let service = FeatureService::builder("ranker").feature("ctr:ctr").build().unwrap();
    let server = FeatureServer::new(ServingPlan::compile(&service, &[view]).unwrap(), Arc::new(store));
    let keys = Arc::new(Int64Array::from(vec![Some(i64::MIN), Some(i64::MAX), None, Some(0)])) as ArrayRef;
    let entities = RecordBatch::try_from_iter_with_nullable([("user_id", keys, true)]).unwrap();
    for now in [EventTime::MIN, EventTime::EPOCH, EventTime::MAX] {
        let vectors = block_on(server.get(&entities, now)).unwrap();
        assert_eq!(vectors.statuses(0)[2], Status::NotFound);
        assert!((0..4).all(|row| vectors.age_us(0, row).is_some() == (row != 2)), "{now}");
    }
    let vectors = block_on(server.get(&entities, EventTime::MAX)).unwrap();
    assert_eq!(
        vectors.statuses(0)[..2],
        [Status::OutsideMaxAge, Status::Present],
        "an age that overflows is the oldest"
    );
    let none = block_on(server.get(&entities.slice(0, 0), NOW)).unwrap();
    assert_eq!((none.rows(), none.columns()[0].len(), none.to_batch().unwrap().num_rows()), (0, 0, 0));
    let ages = server.counts().swap_remove(0);
    assert!(ages.ahead > 0);
}
