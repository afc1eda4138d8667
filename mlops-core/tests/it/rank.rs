//! The ranking engine: deadlines, policies, blending, and the kits on our stages.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use mlops_core::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch};
use mlops_core::arrow::datatypes::{DataType, Field, Int64Type, UInt64Type};
use mlops_core::model::ValueType;
use mlops_core::rank::{
    Budget, CandidateSource, ContextColumns, Filter, FixedCandidates, Hydrator, Mmr, ModelScorer, OnError,
    PredicateFilter, RankOptions, RankPipeline, RankPipelineBuilder, SOURCE_MASK, Scorer, Selector, Served, Slate,
    Sleep, StageKind, StageStats, Timer, TopK, Weights,
};
use mlops_core::source::{Comparison, Predicate};
use mlops_core::testkit::{self, FlakyStage, VirtualTimer, block_on};
use mlops_core::{Error, Result};
use proptest::prelude::*;

use crate::stages::{Linear, Seen, Stage, by_price, fixed, ids, keep_all, name, names, query, slate, stock, table};

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn timer() -> Arc<VirtualTimer> {
    Arc::new(VirtualTimer::default())
}

fn slow<S>(inner: S, by: Duration, timer: &Arc<VirtualTimer>) -> Arc<FlakyStage<S>> {
    Arc::new(FlakyStage::new(inner).delay(by, timer.clone()))
}

fn broken<S>(inner: S) -> Arc<FlakyStage<S>> {
    Arc::new(FlakyStage::new(inner).fail_every(1))
}

fn candidates(stage: &str, ids: &[i64]) -> FixedCandidates {
    FixedCandidates::new(stage, table(ids)).unwrap()
}

/// One source of the ids 1, 2 and 3.
fn three() -> RankPipelineBuilder {
    RankPipeline::builder("p").source(fixed("all", &[1, 2, 3]), 10)
}

fn stats(pipeline: &RankPipeline, stage: &str) -> StageStats {
    pipeline.counters().into_iter().find(|s| s.stage.as_str() == stage).unwrap()
}

#[test]
fn our_stages_pass_the_kits() {
    let (query, slate) = (query(5), slate(30));
    block_on(async {
        testkit::candidate_source(|| candidates("all", &[1, 2, 3]), &query).await;
        testkit::candidate_source(|| FlakyStage::new(candidates("all", &[1, 2, 3])), &query).await;
        let fields = || [Field::new("user", DataType::Int64, true), Field::new("absent", DataType::Utf8, true)];
        testkit::hydrator(|| ContextColumns::new("context", fields()).unwrap(), &query, &slate).await;
        let cheap = || Predicate::new("price", Comparison::Lt, 55.0);
        testkit::filter(|| PredicateFilter::new("cheap", cheap()).unwrap(), &query, &slate).await;
        let fields = stock("stock").fields;
        let made = stock("stock").hydrate(&query, &slate, Budget { left: None }).await.unwrap();
        let with_stock = slate.clone().with_columns(&fields, made).unwrap();
        let model = || ModelScorer::new("linear", Arc::new(Linear::new(ValueType::Float)), "3").unwrap();
        testkit::scorer(model, &query, &with_stock).await;
    });
    testkit::selector(|| TopK::new("top").unwrap(), &query, &slate);
    testkit::selector(|| Mmr::new("mmr", "kind", 0.5).unwrap(), &query, &slate);
    testkit::observer(|| Seen(name("seen"), std::sync::Mutex::default()), &query, &slate);
}

#[test]
fn a_request_goes_through_every_stage() {
    let seen = Seen::new();
    let user = ContextColumns::new("context", [Field::new("user", DataType::Int64, true)]).unwrap();
    let pipeline = RankPipeline::builder("offers")
        .source(fixed("popular", &[1, 2, 3]), 10)
        .source(fixed("similar", &[3, 4, 9]), 2)
        .hydrators([Arc::new(stock("stock")) as Arc<dyn Hydrator>, Arc::new(user)])
        .filter(Arc::new(PredicateFilter::new("not_two", Predicate::new("id", Comparison::NotEq, 2)).unwrap()))
        .scorer(Arc::new(ModelScorer::new("value", Arc::new(Linear::new(ValueType::Float)), "3").unwrap()), 1.0)
        .scorer(Arc::new(by_price("risk")), -3.0)
        .observer(seen.clone())
        .build()
        .unwrap();
    let served = pipeline.rank_now(query(2)).unwrap();
    // By hand: value = 2 · price + 1, blended = value − 3 · price = 1 − price; 9 is over the quota, 2 is filtered.
    assert_eq!(ids(&served), [1, 3]);
    assert_eq!(served.scores, [-9.0, -29.0]);
    assert_eq!(served.slate.objective("value"), Some([21.0, 61.0].as_slice()));
    assert_eq!(served.slate.objective("risk"), Some([10.0, 30.0].as_slice()));
    assert_eq!(served.slate.column("user").unwrap().as_primitive::<Int64Type>().values(), &[7, 7]);
    assert_eq!(served.slate.column(SOURCE_MASK).unwrap().as_primitive::<UInt64Type>().values(), &[1, 3]);
    assert_eq!(served.slate.rows().schema_ref(), pipeline.columns());
    assert_eq!(served.filtered, [(name("not_two"), 1)]);
    let versions: Vec<_> = served.versions.iter().map(|(n, v)| (n.as_str(), &**v)).collect();
    assert_eq!(versions, [("blend", "initial"), ("value", "3"), ("risk", "risk/1")]);
    assert!(served.degraded.is_empty());
    let seen = seen.1.lock().unwrap();
    assert!(seen.len() == 1 && Arc::ptr_eq(&seen[0], &served));
    let stages: Vec<_> = pipeline.counters().iter().map(|s| (s.stage.to_string(), s.kind, s.calls)).collect();
    let expected = [
        ("offers", StageKind::Request),
        ("popular", StageKind::Source),
        ("similar", StageKind::Source),
        ("stock", StageKind::Hydrator),
        ("context", StageKind::Hydrator),
        ("not_two", StageKind::Filter),
        ("value", StageKind::Scorer),
        ("risk", StageKind::Scorer),
        ("top_k", StageKind::Selector),
        ("seen", StageKind::Observer),
    ];
    assert_eq!(stages, expected.map(|(stage, kind)| (stage.to_owned(), kind, 1)));
}

#[test]
fn a_late_source_is_dropped_and_the_others_are_kept() {
    let timer = timer();
    let pipeline = RankPipeline::builder("p")
        .source(slow(candidates("slow", &[1, 2]), ms(50), &timer), 10)
        .source(slow(candidates("fast", &[2, 3]), ms(4), &timer), 10)
        .scorer(Arc::new(by_price("price")), 1.0)
        .deadline(ms(10))
        .timer(timer.clone())
        .build()
        .unwrap();
    let served = timer.run(pipeline.rank(query(5))).unwrap();
    assert_eq!(ids(&served), [3, 2]);
    assert_eq!(names(&served.degraded), ["slow"]);
    assert_eq!((served.took, timer.now()), (ms(10), ms(10)));
    let slow = stats(&pipeline, "slow");
    assert_eq!((slow.calls, slow.late, slow.errors, slow.degraded, slow.nanos), (1, 1, 0, 1, 10_000_000));
    assert_eq!(slow.buckets.iter().find(|b| b.1 == 1).unwrap().0, Some(16_384));
    assert_eq!(stats(&pipeline, "fast").nanos, 4_000_000);
    assert_eq!(stats(&pipeline, "p").degraded, 1);
}

#[test]
fn sources_run_side_by_side() {
    let timer = timer();
    let source = |stage, id| slow(candidates(stage, &[id]), ms(5), &timer);
    let pipeline = RankPipeline::builder("p")
        .source(source("a", 1), 1)
        .source(source("b", 2), 1)
        .source(source("c", 3), 1)
        .timer(timer.clone())
        .build()
        .unwrap();
    assert_eq!(timer.run(pipeline.rank(query(5))).unwrap().took, ms(5));
}

#[test]
fn without_any_source_in_time_the_request_fails() {
    let timer = timer();
    let pipeline = RankPipeline::builder("p")
        .source(slow(candidates("slow", &[1]), ms(50), &timer), 10)
        .source(broken(candidates("broken", &[1])), 10)
        .deadline(ms(10))
        .timer(timer.clone())
        .build()
        .unwrap();
    let error = timer.run(pipeline.rank(query(5))).unwrap_err();
    assert!(matches!(&error, Error::Deadline { stage } if stage == "slow"), "{error}");
    assert_eq!(stats(&pipeline, "p").errors, 1);
}

#[test]
fn stages_that_compute_still_run_after_the_deadline() {
    let timer = timer();
    let (late, look) = (timer.clone(), Arc::new(AtomicU64::new(u64::MAX)));
    let left = look.clone();
    let slow_sum = Stage::new("sum", move |slate: &Slate, _| {
        late.advance(ms(30));
        Ok(vec![1.0; slate.len()])
    });
    let dutiful = Stage::new("dutiful", move |slate: &Slate, budget: Budget| {
        left.store(budget.left.unwrap().as_millis() as u64, Ordering::Relaxed);
        Ok(BooleanArray::from(vec![true; slate.len()]))
    });
    let waits = slow(candidates("waits", &[9]), ms(50), &timer);
    let pipeline = three()
        .source(waits, 10)
        .filter(Arc::new(dutiful))
        .scorer(Arc::new(slow_sum), 1.0)
        .deadline(ms(10))
        .timer(timer.clone())
        .build()
        .unwrap();
    let served = timer.run(pipeline.rank(query(5))).unwrap();
    assert_eq!(ids(&served), [1, 2, 3]);
    assert_eq!(look.load(Ordering::Relaxed), 0, "a stage knows that no time is left");
    assert_eq!(served.took, ms(40), "computing is not cut off");
    assert_eq!(stats(&pipeline, "p").late, 1);
}

#[test]
fn one_stage_can_have_less_time_than_the_request() {
    let timer = timer();
    let pipeline = three()
        .hydrator(slow(stock("stock"), ms(20), &timer))
        .scorer(Arc::new(by_price("price")), 1.0)
        .deadline(ms(100))
        .time_limit("stock", ms(2))
        .timer(timer.clone())
        .build()
        .unwrap();
    let served = timer.run(pipeline.rank(query(5))).unwrap();
    assert_eq!((served.took, names(&served.degraded)), (ms(2), vec!["stock"]));
    assert_eq!(served.slate.column("stock").unwrap().null_count(), 3);
    let unhurried = RankOptions { deadline: Some(Duration::ZERO), ..RankOptions::default() };
    assert_eq!(timer.run(pipeline.rank_with(query(5), &unhurried)).unwrap().took, Duration::ZERO);
}

#[test]
fn a_timer_that_cannot_sleep_still_cuts_off_whoever_wakes_the_request() {
    #[derive(Debug)]
    struct Sleepless(Arc<VirtualTimer>);
    impl Timer for Sleepless {
        fn now(&self) -> Duration {
            self.0.now()
        }
        fn sleep(&self, _: Duration) -> Option<Sleep> {
            None
        }
    }
    let timer = timer();
    let pipeline = RankPipeline::builder("p")
        .source(fixed("all", &[1]), 10)
        .source(slow(candidates("a", &[2]), ms(3), &timer), 10)
        .source(slow(candidates("b", &[3]), ms(12), &timer), 10)
        .source(slow(candidates("c", &[4]), ms(99), &timer), 10)
        .deadline(ms(10))
        .timer(Arc::new(Sleepless(timer.clone())))
        .build()
        .unwrap();
    let served = timer.run(pipeline.rank(query(5))).unwrap();
    // `b` wakes the request at 12 ms and is done; `c` is cut off then.
    assert_eq!((ids(&served), served.took), (vec![1, 2, 3], ms(12)));
}

#[test]
fn hydrators_that_fail_are_stood_in_for() {
    let run = |policy: Option<OnError>| {
        let builder = three().hydrator(broken(stock("stock")));
        let builder = match policy {
            Some(policy) => builder.on_error("stock", policy),
            None => builder,
        };
        builder.build().unwrap().rank_now(query(5))
    };
    let stocked = |served: Arc<Served>| {
        let column = served.slate.column("stock").unwrap().as_primitive::<Int64Type>().clone();
        (column.iter().collect::<Vec<_>>(), served.degraded.len())
    };
    assert_eq!(stocked(run(None).unwrap()), (vec![None; 3], 1));
    let values = RecordBatch::try_from_iter([("stock", Arc::new(Int64Array::from(vec![5])) as ArrayRef)]).unwrap();
    assert_eq!(stocked(run(Some(OnError::Values(values))).unwrap()), (vec![Some(5); 3], 1));
    match run(Some(OnError::Fail)) {
        Err(Error::Stage { stage, source }) => {
            assert_eq!(stage, "stock");
            assert!(matches!(source.downcast_ref(), Some(Error::External { .. })));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn filters_fail_closed_unless_they_are_told_to_fail_open() {
    let build = |policy| three().filter(broken(keep_all("consent"))).on_error("consent", policy).build().unwrap();
    let closed = three().filter(broken(keep_all("consent"))).build().unwrap().rank_now(query(5)).unwrap();
    assert_eq!((ids(&closed), names(&closed.degraded)), (vec![], vec!["consent"]));
    assert_eq!(closed.filtered, [(name("consent"), 3)]);
    let open = build(OnError::Skip).rank_now(query(5)).unwrap();
    assert_eq!((ids(&open), names(&open.degraded)), (vec![1, 2, 3], vec!["consent"]));
    assert!(build(OnError::Fail).rank_now(query(5)).is_err());
}

#[test]
fn scorers_that_fail_fail_the_request_or_are_stood_in_for() {
    let build = |policy| {
        let builder = three().scorer(Arc::new(by_price("price")), 1.0).scorer(broken(by_price("extra")), 10.0);
        builder.on_error("extra", policy).build().unwrap().rank_now(query(1))
    };
    assert_eq!(build(OnError::Skip).unwrap().scores, [30.0]);
    let prior = build(OnError::Prior(0.5)).unwrap();
    assert_eq!((prior.scores.clone(), names(&prior.degraded)), (vec![35.0], vec!["extra"]));
    assert_eq!(prior.slate.objective("extra"), Some([0.5].as_slice()));
    assert!(matches!(build(OnError::Fail), Err(Error::Stage { stage, .. }) if stage == "extra"));
    let only = three().scorer(broken(by_price("extra")), 1.0).on_error("extra", OnError::Skip).build().unwrap();
    assert!(only.rank_now(query(5)).unwrap().scores.iter().all(|score| score.is_nan()));
}

#[test]
fn stages_that_break_their_promise_count_as_failed() {
    let too_long: ArrayRef = Arc::new(Int64Array::from(vec![1; 9]));
    let floats: ArrayRef = Arc::new(Float64Array::from(vec![1.0; 3]));
    let nulls: ArrayRef = Arc::new(Int64Array::from(vec![None; 3]));
    for made in [vec![too_long], vec![floats], vec![nulls], vec![]] {
        let liar = Stage::new("liar", move |_: &Slate, _| Ok(made.clone())).field("x", DataType::Int64);
        let served = three().hydrator(Arc::new(liar)).build().unwrap().rank_now(query(5)).unwrap();
        assert_eq!(names(&served.degraded), ["liar"]);
        assert_eq!(served.slate.column("x").unwrap().null_count(), 3);
    }
    let short = Stage::new("short", |_: &Slate, _| Ok(vec![1.0]));
    let error = three().scorer(Arc::new(short), 1.0).build().unwrap().rank_now(query(5)).unwrap_err().to_string();
    assert!(error.contains("short") && error.contains("3 scores"), "{error}");
    for keep in [vec![true; 5], vec![true; 2]] {
        let filter = Stage::new("filter", move |_: &Slate, _| Ok(BooleanArray::from(keep.clone())));
        let served = three().filter(Arc::new(filter)).build().unwrap().rank_now(query(5)).unwrap();
        assert_eq!((served.slate.len(), names(&served.degraded)), (0, vec!["filter"]));
    }
    for chosen in [vec![0, 0], vec![3], vec![2, 1, 0]] {
        let picker = Stage::new("picker", move |_: &Slate, _| Ok(chosen.clone()));
        let pipeline = three().scorer(Arc::new(by_price("price")), 1.0).selector(Arc::new(picker)).build().unwrap();
        let served = pipeline.rank_now(query(2)).unwrap();
        assert_eq!((ids(&served), names(&served.degraded)), (vec![3, 2], vec!["picker"]));
    }
    let swollen = Stage::new("swollen", |_: &Slate, _| Ok(table(&[5, 6, 7]).project(&[0]).unwrap()));
    let pipeline = three().source(Arc::new(swollen.field("id", DataType::Int64)), 2).build().unwrap();
    assert_eq!(names(&pipeline.rank_now(query(5)).unwrap().degraded), ["swollen"]);
}

#[test]
fn at_once_means_at_once() {
    let timer = timer();
    let pipeline = three().hydrator(slow(stock("stock"), ms(1), &timer)).timer(timer).build().unwrap();
    let error = pipeline.rank_now(query(5)).unwrap_err();
    assert!(matches!(&error, Error::Stage { stage, .. } if stage == "stock"), "{error}");
}

#[test]
fn weights_change_between_requests_and_for_one_request() {
    let cheap_first = |builder: RankPipelineBuilder| builder.scorer(Arc::new(by_price("price")), -1.0);
    let pipeline = cheap_first(three()).weights_version("w1").build().unwrap();
    let version = |served: &Served| served.versions[0].1.to_string();
    let first = pipeline.rank_now(query(5)).unwrap();
    assert_eq!((ids(&first), version(&first)), (vec![1, 2, 3], "w1".to_owned()));
    let own = RankOptions { weights: Some(Weights::new("arm", [("price", 2.0)]).unwrap()), ..RankOptions::default() };
    let arm = pipeline.rank_now_with(query(5), &own).unwrap();
    assert_eq!((ids(&arm), version(&arm), arm.scores[0]), (vec![3, 2, 1], "arm".to_owned(), 60.0));
    let before = pipeline.blend().swap(Weights::new("w2", [("price", 1.0)]).unwrap()).unwrap();
    assert_eq!(&**before.version(), "w1");
    let second = pipeline.rank_now(query(5)).unwrap();
    assert_eq!((ids(&second), version(&second)), (vec![3, 2, 1], "w2".to_owned()));
    let odd = RankOptions { weights: Some(Weights::new("odd", [("x", 2.0)]).unwrap()), ..RankOptions::default() };
    assert!(matches!(pipeline.rank_now_with(query(5), &odd), Err(Error::NotFound { kind: "objective", .. })));
}

#[test]
fn a_request_sees_one_set_of_weights_however_they_change() {
    let pipeline = three().scorer(Arc::new(by_price("a")), 1.0).scorer(Arc::new(by_price("b")), -1.0).build().unwrap();
    std::thread::scope(|scope| {
        let swapping = scope.spawn(|| {
            for turn in 1..500 {
                let both = [("a", f64::from(turn)), ("b", -f64::from(turn))];
                pipeline.blend().swap(Weights::new(turn.to_string(), both).unwrap()).unwrap();
            }
        });
        while !swapping.is_finished() {
            assert_eq!(pipeline.rank_now(query(3)).unwrap().scores, [0.0; 3]);
        }
    });
}

#[test]
fn a_table_of_candidates_can_be_swapped_for_one_of_the_same_columns() {
    let source = fixed("all", &[1, 2]);
    let pipeline = RankPipeline::builder("p").source(source.clone(), 10).build().unwrap();
    source.swap(table(&[8])).unwrap();
    assert_eq!(ids(&pipeline.rank_now(query(5)).unwrap()), [8]);
    assert!(source.swap(table(&[4, 4])).is_err());
    assert!(source.swap(table(&[4]).project(&[0]).unwrap()).is_err());
    assert_eq!(ids(&pipeline.rank_now(query(5)).unwrap()), [8]);
}

#[track_caller]
fn refused(builder: RankPipelineBuilder, words: &[&str]) {
    let error = builder.build().unwrap_err().to_string();
    assert!(words.iter().all(|word| error.contains(word)), "{words:?} in {error}");
}

#[test]
fn pipelines_that_do_not_fit_together_are_refused_by_name() {
    refused(RankPipeline::builder("p"), &["sources"]);
    refused(RankPipeline::builder("a/b").source(fixed("s", &[1]), 1), &["a/b"]);
    refused(RankPipeline::builder("p").source(fixed("s", &[1]), 0), &["quota"]);
    refused(three().source(fixed("all", &[1]), 1), &["stage `all` already exists"]);
    refused(three().source(fixed("blend", &[1]), 1), &["stage `blend` already exists"]);
    refused(three().hydrator(Arc::new(stock("a"))).hydrator(Arc::new(stock("b"))), &["b", "`stock`", "exists"]);
    let rebranding = stock("again").field("price", DataType::Float64);
    refused(three().hydrator(Arc::new(rebranding)), &["again", "`price`"]);
    refused(three().scorer(Arc::new(by_price("score").needs("rain")), 1.0), &["score", "`rain` not found"]);
    refused(three().filter(Arc::new(keep_all("filter").needs("stock"))).hydrator(Arc::new(stock("s"))), &["filter"]);
    let texts = PredicateFilter::new("texts", Predicate::new("price", Comparison::Eq, "x")).unwrap();
    refused(three().filter(Arc::new(texts)), &["texts", "`price`", "Float64"]);
    let text_stock = Stage::new("s", |_: &Slate, _| Ok(Vec::<ArrayRef>::new())).field("stock", DataType::Utf8);
    let model = ModelScorer::new("value", Arc::new(Linear::new(ValueType::Float)), "3").unwrap();
    let mistyped = three().hydrator(Arc::new(text_stock)).scorer(Arc::new(model), 1.0);
    refused(mistyped, &["value", "`stock`", "float", "Utf8"]);
    refused(three().scorer(Arc::new(by_price("score")), f64::NAN), &["weight", "`score`"]);
    refused(three().on_error("ghost", OnError::Skip), &["stage `ghost` not found"]);
    refused(three().time_limit("ghost", ms(1)), &["stage `ghost` not found"]);
    refused(three().deadline(Duration::ZERO), &["deadline"]);
    refused(three().on_error("all", OnError::Close), &["all", "Close"]);
    refused(three().scorer(Arc::new(by_price("s")), 1.0).on_error("s", OnError::Prior(f64::NAN)), &["s", "Prior"]);
    let values = OnError::Values(table(&[1]));
    refused(three().hydrator(Arc::new(stock("s"))).on_error("s", values), &["s", "`stock`", "values"]);
    let many = (0..65).fold(RankPipeline::builder("p"), |b, i| b.source(fixed(&format!("s{i}"), &[1]), 1));
    refused(many, &["sources = 65"]);
    assert!(ModelScorer::new("text", Arc::new(Linear::new(ValueType::Text)), "1").is_err());
}

#[test]
fn the_answer_can_be_sent_to_another_thread_and_dropped_half_way() {
    fn sendable<T: Send>(future: T) -> T {
        future
    }
    let timer = timer();
    let pipeline = three().hydrator(slow(stock("stock"), ms(9), &timer)).timer(timer.clone()).build().unwrap();
    let mut half_way = Box::pin(sendable(pipeline.rank(query(5))));
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(half_way.as_mut().poll(&mut context).is_pending());
    drop(half_way);
    assert!(timer.run(pipeline.rank(query(5))).is_ok());
}

#[test]
fn every_third_call_fails_and_is_counted() {
    let source = FlakyStage::new(candidates("all", &[1])).fail_every(3);
    let pipeline = RankPipeline::builder("p").source(Arc::new(source), 10).build().unwrap();
    let failed = (0..9).filter(|_| pipeline.rank_now(query(1)).is_err()).count();
    assert_eq!((failed, stats(&pipeline, "all").errors, stats(&pipeline, "p").errors), (3, 3, 3));
}

#[test]
fn an_empty_slate_and_a_huge_limit_are_answered() {
    let pipeline = RankPipeline::builder("p")
        .source(fixed("all", &[]), usize::MAX)
        .scorer(Arc::new(by_price("price")), 1.0)
        .selector(Arc::new(Mmr::new("mmr", "kind", 0.5).unwrap()))
        .build()
        .unwrap();
    assert!(pipeline.rank_now(query(usize::MAX)).unwrap().slate.is_empty());
}

/// The contract of a stage holds for the object, too.
#[test]
fn stage_traits_are_objects() {
    let _: [Option<Arc<dyn CandidateSource>>; 0] = [];
    let _: [Option<Arc<dyn Filter>>; 0] = [];
    let _: [Option<Arc<dyn Scorer>>; 0] = [];
    let _: [Option<Arc<dyn Selector>>; 0] = [];
}

proptest! {
    /// Merge, filter, blend and selection against the obvious code.
    #[test]
    fn the_engine_ranks_as_plain_code_does(
        sources in proptest::collection::vec(proptest::collection::btree_set(0_i64..60, 0..30), 1..4),
        quota in 1_usize..30,
        limit in 1_usize..40,
        weights in (-2_i32..3, -2_i32..3),
        bar in 0_i64..60,
    ) {
        let score = |stage: &str, f: fn(i64) -> f64| {
            let f = move |slate: &Slate, _| -> Result<Vec<f64>> {
                Ok(slate.keys().as_primitive::<Int64Type>().values().iter().map(|id| f(*id)).collect())
            };
            Arc::new(Stage::new(stage, f))
        };
        let objectives: [fn(i64) -> f64; 2] = [|id| (id % 7) as f64, |id| if id % 5 == 0 { f64::NAN } else { (id % 3) as f64 }];
        let mut builder = RankPipeline::builder("p")
            .filter(Arc::new(PredicateFilter::new("bar", Predicate::new("id", Comparison::Lt, bar)).unwrap()))
            .scorer(score("a", objectives[0]), f64::from(weights.0))
            .scorer(score("b", objectives[1]), f64::from(weights.1));
        let mut expected: BTreeMap<i64, (usize, u64)> = BTreeMap::new();
        for (i, source) in sources.iter().enumerate() {
            let found: Vec<i64> = source.iter().rev().copied().collect();
            builder = builder.source(fixed(&format!("s{i}"), &found), quota);
            for id in found.into_iter().take(quota) {
                let place = expected.len();
                expected.entry(id).or_insert((place, 0)).1 |= 1 << i;
            }
        }
        let blend = |id: i64| {
            let part = |w: i32, f: fn(i64) -> f64| if w == 0 { 0.0 } else { f64::from(w) * f(id) };
            part(weights.0, objectives[0]) + part(weights.1, objectives[1])
        };
        let mut order: Vec<(i64, usize, u64)> = expected.iter().map(|(id, (p, m))| (*id, *p, *m)).filter(|c| c.0 < bar).collect();
        order.sort_by(|a, b| {
            let (x, y) = (blend(a.0), blend(b.0));
            y.partial_cmp(&x).unwrap_or_else(|| x.is_nan().cmp(&y.is_nan())).then(a.1.cmp(&b.1))
        });
        order.truncate(limit);
        let served = builder.build().unwrap().rank_now(query(limit)).unwrap();
        prop_assert_eq!(ids(&served), order.iter().map(|c| c.0).collect::<Vec<_>>());
        let mask = served.slate.column(SOURCE_MASK).unwrap().as_primitive::<UInt64Type>().values().to_vec();
        prop_assert_eq!(mask, order.iter().map(|c| c.2).collect::<Vec<_>>());
    }
}
