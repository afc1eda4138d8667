//! Served vectors are logged, and an audit tells skew from what time explains.

use std::sync::Arc;
use std::time::Duration;

use mlops_core::arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray};
use mlops_core::schema::Sensitivity;
use mlops_core::{Dataset, EventTime, Window};
use mlops_features::offline::{OfflineStore, ParquetStore};
use mlops_features::online::MemoryStore;
use mlops_features::skew::{AuditOptions, FeatureSkew, ParquetVectorLog, SkewReport, VectorLog, VectorLogger, audit};
use mlops_features::testkit::block_on;
use mlops_features::{
    Entity, Error, Feature, FeatureServer, FeatureService, FeatureView, KeyType, OnDemandView, ServingPlan,
    StatusPolicy, ValueType, ViewUse,
};
use proptest::prelude::*;

use crate::{ints, times};

pub(crate) fn view() -> FeatureView {
    let user = Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
    FeatureView::builder("ctr", user)
        .with(Feature::new("ctr", ValueType::Float64).unwrap().default_value(0.5))
        .policy(StatusPolicy::Default)
        .created("created")
        .ttl(Duration::from_micros(50))
        .build()
        .unwrap()
}

/// Key, event time, created, value.
pub(crate) type Row = (i64, i64, i64, Option<f64>);

fn rows(content: &[Row]) -> RecordBatch {
    let pick = |of: fn(&Row) -> i64| content.iter().map(of).collect::<Vec<_>>();
    RecordBatch::try_from_iter_with_nullable([
        ("user_id", ints(&pick(|r| r.0)), true),
        ("event_timestamp", times(&pick(|r| r.1)), true),
        ("created", times(&pick(|r| r.2)), true),
        ("ctr", Arc::new(content.iter().map(|r| r.3).collect::<Float64Array>()) as ArrayRef, true),
    ])
    .unwrap()
}

fn plan() -> ServingPlan {
    let twice = OnDemandView::builder("twice")
        .input("ctr", ValueType::Float64, "ctr:ctr")
        .column("boost", ValueType::Float64)
        .feature("twice", "ctr * 2 + coalesce(boost, 0)")
        .feature("hour", "hour(now())")
        .build()
        .unwrap();
    let uses = [ViewUse::all("ctr").unwrap(), ViewUse::all("twice").unwrap()];
    let service = uses.into_iter().fold(FeatureService::builder("ranker"), |all, used| all.using(used));
    ServingPlan::compile_with(&service.build().unwrap(), &[view()], &[twice]).unwrap()
}

/// A place to serve from, to log to and to look things up.
pub(crate) struct World {
    folder: tempfile::TempDir,
    online: Arc<MemoryStore>,
    pub(crate) offline: ParquetStore,
    log: Arc<ParquetVectorLog>,
    plan: ServingPlan,
}

impl World {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let offline = ParquetStore::open(folder.path().join("offline")).unwrap();
        let log = Arc::new(ParquetVectorLog::open(folder.path().join("log")).unwrap());
        Self { folder, online: Arc::default(), offline, log, plan: plan() }
    }

    pub(crate) fn stored(&self, content: &[Row]) {
        self.offline.append(&view(), &Dataset::from_batches([rows(content)]).unwrap()).unwrap();
    }

    fn materialized(&self, content: &[Row]) {
        self.online.write_sync(&view(), &rows(content), None).unwrap();
    }

    /// Serves and logs `users`.
    fn serve(&self, users: &[i64], now: i64) {
        let logger = Arc::new(VectorLogger::builder(&self.plan, self.log.clone()).share(1.0).build().unwrap());
        let server = FeatureServer::new(self.plan.clone(), self.online.clone()).log_to(logger.clone());
        block_on(server.get(&asked(users), EventTime::from_micros(now))).unwrap();
        assert_eq!(logger.flush().unwrap(), users.len() as u64);
        assert_eq!(logger.flush().unwrap(), 0);
        assert_eq!((logger.logged(), logger.dropped()), (users.len() as u64, 0));
    }

    fn audit(&self, options: &AuditOptions) -> SkewReport {
        audit(&*self.log, &self.offline, &self.plan, options).unwrap()
    }
}

fn asked(users: &[i64]) -> RecordBatch {
    let boost: Float64Array = users.iter().map(|user| (user % 2 == 0).then_some(0.25)).collect();
    RecordBatch::try_from_iter_with_nullable([
        ("user_id", ints(users), true),
        ("boost", Arc::new(boost) as ArrayRef, true),
    ])
    .unwrap()
}

fn told(skew: &FeatureSkew) -> [u64; 6] {
    [skew.compared, skew.equal, skew.late, skew.behind, skew.ahead, skew.differing]
}

#[test]
fn logs_in_parquet_keep_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let number = std::sync::atomic::AtomicUsize::new(0);
    let next = || number.fetch_add(1, std::sync::atomic::Ordering::Relaxed).to_string();
    mlops_features::testkit::vector_log(|| ParquetVectorLog::open(folder.path().join(next())).unwrap());
}

#[test]
fn what_was_served_right_is_equal_whatever_a_policy_put_in_its_place() {
    let world = World::new();
    // Key 2 is too old at 100 and key 9 is unknown: both are served the default, and both are null in training.
    let content = [(1, 90, 90, Some(0.25)), (2, 10, 10, Some(0.75)), (3, 99, 99, None), (4, 60, 60, Some(f64::NAN))];
    world.stored(&content);
    world.materialized(&content);
    world.serve(&[1, 2, 3, 4, 9], 100);
    world.serve(&[1], 86_400_000_000 + 5);
    let report = world.audit(&AuditOptions::new());
    assert_eq!(report.rows, 6);
    assert_eq!(report.span, Some((EventTime::from_micros(100), EventTime::from_micros(86_400_000_005))));
    assert_eq!(report.features.iter().map(told).collect::<Vec<_>>(), [[6, 6, 0, 0, 0, 0]; 3]);
    assert_eq!(report.differing(), 0);
    let files = std::fs::read_dir(world.log.folder()).unwrap().count();
    assert_eq!(files, 2, "one per day and append");
    let day = AuditOptions::new().window(Window::new(EventTime::from_micros(101), EventTime::MAX).unwrap());
    assert_eq!(world.audit(&day).rows, 1);
    assert_eq!(world.audit(&AuditOptions::new().chunk_rows(1)), report, "chunks change nothing");
}

#[test]
fn late_rows_corrections_lag_and_rows_from_the_future_are_explained() {
    let world = World::new();
    let known = [(1, 50, 50, Some(1.0)), (2, 50, 50, Some(2.0)), (3, 50, 50, Some(3.0)), (4, 200, 90, Some(4.0))];
    world.materialized(&known);
    world.stored(&known);
    world.serve(&[1, 2, 3, 4], 100);
    // 1: a row of before that arrived after; 2: a correction of the same row; 3: known in time, but not materialized.
    world.stored(&[(1, 80, 150, Some(1.5)), (2, 50, 150, Some(2.5)), (3, 80, 80, Some(3.5))]);
    let report = world.audit(&AuditOptions::new());
    assert_eq!(told(&report.features[0]), [4, 0, 2, 1, 1, 0]);
    assert_eq!(told(&report.features[1]), [4, 0, 2, 1, 1, 0], "what is computed follows");
    assert_eq!(told(&report.features[2]), [4, 4, 0, 0, 0, 0], "the hour depends on no row");
    let as_known = world.audit(&AuditOptions::new().as_known(true));
    assert_eq!(told(&as_known.features[0]), [4, 2, 0, 1, 1, 0]);
}

#[test]
fn two_paths_that_compute_different_things_are_found_and_shown_without_values() {
    let world = World::new();
    let content: Vec<Row> = (0..10).map(|key| (key, 90, 90, Some(key as f64 + 0.125))).collect();
    world.stored(&content);
    // A path of its own that rounds, and one that loses the sign of zero.
    let wrong: Vec<Row> =
        content.iter().map(|r| (r.0, r.1, r.2, r.3.map(|v| if r.0 < 7 { v.floor() } else { v }))).collect();
    world.materialized(&wrong);
    world.serve(&(0..10).collect::<Vec<_>>(), 100);
    let report = world.audit(&AuditOptions::new().examples(3));
    assert_eq!(told(&report.features[0]), [10, 3, 0, 0, 0, 7]);
    assert_eq!((report.features[0].examples.len(), report.features[0].rate()), (3, 0.7));
    let text = report.to_string();
    assert!(text.contains("14 values differ without a reason") && text.contains("ctr"), "{text}");
    assert!(!text.contains("0.125"), "{text}");
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<SkewReport>(&json).unwrap(), report);
    let outcomes: Vec<_> = report.outcomes().filter(|(feature, ..)| *feature == "ctr").collect();
    let expected = [("equal", 3), ("late", 0), ("behind", 0), ("ahead", 0), ("differing", 7)];
    assert_eq!(outcomes, expected.map(|(outcome, count)| ("ctr", outcome, count)));
}

#[test]
fn the_sign_of_zero_is_skew() {
    let world = World::new();
    world.stored(&[(1, 90, 90, Some(0.0))]);
    world.materialized(&[(1, 90, 90, Some(-0.0))]);
    world.serve(&[1], 100);
    let report = world.audit(&AuditOptions::new());
    assert_eq!(told(&report.features[0]), [1, 0, 0, 0, 0, 1]);
    assert_eq!(told(&report.features[1]), [1, 1, 0, 0, 0, 0], "-0.0 * 2 + 0 is 0.0");
}

#[test]
fn what_is_too_sensitive_is_never_logged() {
    let user = view().entity().clone();
    let person = FeatureView::builder("person", user)
        .feature("visits", ValueType::Int64)
        .sensitive("city", ValueType::Utf8, Sensitivity::Personal)
        .build()
        .unwrap();
    let service = FeatureService::builder("people").using(ViewUse::all("person").unwrap()).build().unwrap();
    let plan = ServingPlan::compile(&service, &[person.clone()]).unwrap();
    let online = Arc::new(MemoryStore::new());
    let row = RecordBatch::try_from_iter([
        ("user_id", ints(&[1])),
        ("event_timestamp", times(&[1])),
        ("visits", ints(&[3])),
        ("city", Arc::new(StringArray::from(vec!["Cà Mau"])) as ArrayRef),
    ]);
    online.write_sync(&person, &row.unwrap(), None).unwrap();
    let world = World::new();
    let logger = Arc::new(VectorLogger::builder(&plan, world.log.clone()).share(1.0).build().unwrap());
    let server = FeatureServer::new(plan.clone(), online).log_to(logger.clone());
    block_on(server.get(&asked(&[1]), EventTime::from_micros(5))).unwrap();
    logger.flush().unwrap();
    for batch in world.log.read(Window::all()).unwrap() {
        let batch = batch.unwrap();
        assert!(batch.column_by_name("city").is_none() && batch.column_by_name("visits").is_some());
    }
    let report = audit(&*world.log, &world.offline, &plan, &AuditOptions::new()).unwrap();
    assert_eq!(report.masked, ["city"]);
    assert_eq!(report.features.len(), 1);
    assert!(report.to_string().contains("too sensitive: city"));
}

#[test]
fn a_sample_is_the_same_whoever_takes_it_and_no_more_waits_than_may() {
    let world = World::new();
    let users: Vec<i64> = (0..1_000).collect();
    let server = FeatureServer::new(world.plan.clone(), world.online.clone());
    let now = EventTime::from_micros(100);
    let vectors = block_on(server.get(&asked(&users), now)).unwrap();
    let logger = |share: f64| VectorLogger::builder(&world.plan, world.log.clone()).share(share);
    let (one, two) = (logger(0.1).build().unwrap(), logger(0.1).build().unwrap());
    one.observe(&asked(&users), &vectors, now).unwrap();
    for user in &users {
        let vectors = block_on(server.get(&asked(&[*user]), now)).unwrap();
        two.observe(&asked(&[*user]), &vectors, now).unwrap();
    }
    let (first, second) = (one.flush().unwrap(), two.flush().unwrap());
    assert_eq!(first, second);
    // Binomial(1000, 0.1): five standard deviations are 47.
    assert!((53..=147).contains(&first), "{first}");
    let full = logger(1.0).rows_max(999).build().unwrap();
    full.observe(&asked(&users), &vectors, now).unwrap();
    assert_eq!((full.flush().unwrap(), full.dropped()), (0, 1_000));
    for share in [0.0, -1.0, 1.5, f64::NAN] {
        assert!(logger(share).build().is_err(), "{share}");
    }
}

#[test]
fn logs_of_other_plans_and_broken_files_are_errors_that_name_the_thing() {
    let world = World::new();
    let other = FeatureService::builder("other").feature("ctr:ctr").build().unwrap();
    let other = ServingPlan::compile(&other, &[view()]).unwrap();
    let logger = VectorLogger::builder(&world.plan, world.log.clone()).build().unwrap();
    let server = FeatureServer::new(other.clone(), world.online.clone());
    let vectors = block_on(server.get(&asked(&[1]), EventTime::EPOCH)).unwrap();
    assert!(logger.observe(&asked(&[1]), &vectors, EventTime::EPOCH).unwrap_err().to_string().contains("other"));
    let logger = VectorLogger::builder(&other, world.log.clone()).share(1.0).build().unwrap();
    logger.observe(&asked(&[1]), &vectors, EventTime::EPOCH).unwrap();
    assert!(logger.observe(&asked(&[1, 2]), &vectors, EventTime::EPOCH).is_err());
    logger.flush().unwrap();
    let error = audit(&*world.log, &world.offline, &world.plan, &AuditOptions::new()).unwrap_err();
    assert!(error.to_string().contains("boost"), "{error}");
    std::fs::write(world.log.folder().join("1970-01-01_cut.parquet"), b"PAR1").unwrap();
    let error = audit(&*world.log, &world.offline, &other, &AuditOptions::new()).unwrap_err();
    assert!(error.to_string().contains("1970-01-01_cut"), "{error}");
    assert!(world.folder.path().exists());
}

#[test]
fn a_column_of_the_caller_that_has_the_name_of_a_feature_is_refused() {
    let same = OnDemandView::builder("same").column("x", ValueType::Float64).feature("x", "x + 1").build().unwrap();
    let service = FeatureService::builder("s").using(ViewUse::all("same").unwrap()).build().unwrap();
    let plan = ServingPlan::compile_with(&service, &[], &[same]).unwrap();
    let world = World::new();
    let error = VectorLogger::builder(&plan, world.log.clone()).build().unwrap_err();
    assert!(matches!(error, Error::Collision { .. }), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever is stored and materialized in step is served without skew.
    #[test]
    fn stores_in_step_have_no_skew(
        content in prop::collection::vec((0_i64..5, 0_i64..100, 0_i64..100, prop::option::of(-4.0..4.0_f64)), 0..24),
        instants in prop::collection::vec(100_i64..160, 1..4),
    ) {
        // Created no later than the requests, so that all was known.
        let world = World::new();
        world.stored(&content);
        world.materialized(&content);
        for now in instants {
            world.serve(&[0, 1, 2, 3, 4, 5], now);
        }
        let report = world.audit(&AuditOptions::new());
        for feature in &report.features {
            prop_assert_eq!(feature.equal, feature.compared, "{}", report);
        }
    }
}
