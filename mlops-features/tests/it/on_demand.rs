//! Computed features: what they read, what they give, and that requests and training rows cannot differ.

use std::sync::Arc;
use std::time::Duration;

use mlops_core::arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch, StringArray};
use mlops_core::arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use mlops_core::rank::{Budget, Hydrator, Query, RequestId, Slate};
use mlops_core::schema::Sensitivity;
use mlops_core::{Dataset, EventTime, Name, Schema};
use mlops_features::offline::{AsOfOptions, OfflineStore, ParquetStore};
use mlops_features::online::MemoryStore;
use mlops_features::testkit::block_on;
use mlops_features::{
    FeatureServer, FeatureService, FeatureServiceHydrator, FeatureView, OnDemandView, OnDemandViewBuilder, Reader,
    ServingPlan, Status, ValueType, ViewUse,
};
use proptest::prelude::*;

use crate::{builder, data, ints, rows, times};

const TTL_US: u64 = 10;

fn views() -> [FeatureView; 2] {
    let user = builder("ctr", "user_id").ttl(Duration::from_micros(TTL_US)).build().unwrap();
    [user, builder("price", "offer_id").build().unwrap()]
}

fn bargain() -> OnDemandViewBuilder {
    OnDemandView::builder("bargain")
        .input("price", ValueType::Float64, "price:price")
        .input("ctr", ValueType::Float64, "ctr:ctr")
        .column("discount", ValueType::Float64)
}

fn plan(service: FeatureService, on_demand: &[OnDemandView]) -> mlops_features::Result<ServingPlan> {
    ServingPlan::compile_with(&service, &views(), on_demand)
}

fn service(uses: impl IntoIterator<Item = ViewUse>) -> FeatureService {
    uses.into_iter().fold(FeatureService::builder("ranker"), |all, used| all.using(used)).build().unwrap()
}

fn floats(array: &ArrayRef) -> Vec<Option<f64>> {
    array.as_primitive::<Float64Type>().iter().collect()
}

fn filled() -> Arc<MemoryStore> {
    let (store, [user, offer]) = (MemoryStore::new(), views());
    let users = [(1, 100, Some(0.5)), (2, 89, Some(0.2)), (3, 95, None)];
    store.write_sync(&user, &rows(&user, &users), None).unwrap();
    store.write_sync(&offer, &rows(&offer, &[(7, 50, Some(8.0)), (8, 0, Some(f64::NAN))]), None).unwrap();
    Arc::new(store)
}

fn asked(users: &[i64], offers: &[i64], discounts: &[Option<f64>]) -> RecordBatch {
    let discounts = Arc::new(Float64Array::from(discounts.to_vec())) as ArrayRef;
    RecordBatch::try_from_iter_with_nullable([
        ("user_id", ints(users), true),
        ("offer_id", ints(offers), true),
        ("discount", discounts, true),
    ])
    .unwrap()
}

#[test]
fn values_are_made_of_what_is_read_along_and_only_they_are_returned() {
    use Status::{NullValue, Present};

    let view = bargain().feature("score", "ctr * price * (1 - coalesce(discount, 0))").build().unwrap();
    let plan = plan(service([ViewUse::all("bargain").unwrap()]), &[view]).unwrap();
    assert_eq!(plan.key_columns().iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["user_id", "offer_id"]);
    let columns: Vec<_> = plan.request_columns().map(|(name, of)| (name.as_str(), of)).collect();
    assert_eq!(columns, [("discount", ValueType::Float64)]);
    let server = FeatureServer::new(plan, filled());
    let asked = asked(&[1, 1, 2, 3, 9, 1], &[7, 7, 7, 7, 7, 8], &[None, Some(0.5), None, None, None, None]);
    let vectors = block_on(server.get(&asked, EventTime::from_micros(100))).unwrap();
    assert_eq!(vectors.schema().fields().len(), 1, "what is only read is not returned");
    let values = floats(&vectors.columns()[0]);
    assert_eq!(values[..5], [Some(4.0), Some(2.0), None, None, None]);
    assert!(values[5].unwrap().is_nan(), "a NaN is a value like any other");
    assert_eq!(vectors.statuses(0), [Present, Present, NullValue, NullValue, NullValue, Present]);
    let ages: Vec<_> = (0..6).map(|row| vectors.age_us(0, row)).collect();
    assert_eq!(ages, [Some(50), Some(50), Some(50), Some(50), Some(50), Some(100)], "that of the oldest row behind it");
    let counts = server.counts();
    let labels: Vec<_> = counts.iter().map(|count| count.view.as_str()).collect();
    assert_eq!(labels, ["ctr", "price", "bargain"]);
    assert_eq!((counts[0].present, counts[0].outside_max_age, counts[0].not_found, counts[0].null_value), (3, 1, 1, 1));
    assert_eq!((counts[2].present, counts[2].null_value), (3, 3));
}

#[test]
fn a_request_without_a_column_that_is_computed_on_is_refused_by_name() {
    let view = bargain().feature("score", "ctr * discount").build().unwrap();
    let server = FeatureServer::new(plan(service([ViewUse::all("bargain").unwrap()]), &[view]).unwrap(), filled());
    let short = RecordBatch::try_from_iter([("user_id", ints(&[1]))]).unwrap();
    let error = block_on(server.get(&short, EventTime::EPOCH)).unwrap_err().to_string();
    assert!(error.contains("discount"), "{error}");
    let text = RecordBatch::try_from_iter([
        ("user_id", ints(&[1])),
        ("discount", Arc::new(StringArray::from(vec!["much"])) as ArrayRef),
    ]);
    let error = block_on(server.get(&text.unwrap(), EventTime::EPOCH)).unwrap_err().to_string();
    assert!(error.contains("discount") && !error.contains("much"), "{error}");
}

#[test]
fn one_view_is_read_for_two_things_and_chains_go_through() {
    let pair = OnDemandView::builder("pair")
        .input("first", ValueType::Float64, "price:price")
        .input_by("second", ValueType::Float64, "price:price", [("offer_id", "rival_id")])
        .feature("gap", "first - second")
        .build()
        .unwrap();
    let judged = OnDemandView::builder("judged")
        .input("gap", ValueType::Float64, "pair:gap")
        .input_by("back", ValueType::Float64, "pair:gap", [("offer_id", "rival_id"), ("rival_id", "offer_id")])
        .feature("wide", "abs(gap) > 5")
        .feature("sum", "gap + back")
        .build()
        .unwrap();
    let views = views();
    let uses = [ViewUse::all("judged").unwrap().key("offer_id", "shown_id").unwrap()];
    let plan = ServingPlan::compile_with(&service(uses), &views, &[pair, judged]).unwrap();
    assert_eq!(plan.key_columns().iter().map(|name| name.as_str()).collect::<Vec<_>>(), ["shown_id", "rival_id"]);
    let labels: Vec<_> = plan.joins().iter().map(|join| join.label().to_string()).collect();
    assert_eq!(labels, ["price", "price.2"], "each key is read once, however often it is computed on");
    let store = MemoryStore::new();
    store.write_sync(&views[1], &rows(&views[1], &[(7, 0, Some(8.0)), (9, 0, Some(2.0))]), None).unwrap();
    let server = FeatureServer::new(plan, Arc::new(store));
    let asked = RecordBatch::try_from_iter([("shown_id", ints(&[7, 9])), ("rival_id", ints(&[9, 9]))]).unwrap();
    let vectors = block_on(server.get(&asked, EventTime::EPOCH)).unwrap();
    assert_eq!(vectors.columns()[0].as_boolean().iter().collect::<Vec<_>>(), [Some(true), Some(false)]);
    assert_eq!(floats(&vectors.columns()[1]), [Some(0.0), Some(0.0)]);
}

#[test]
fn what_cannot_be_put_together_is_refused_by_name() {
    let named = |name: &str, reference: &str| {
        OnDemandView::builder(name).input("x", ValueType::Float64, reference).feature("y", "x + 1").build().unwrap()
    };
    let all = |name: &str| service([ViewUse::all(name).unwrap()]);
    let error = |service: FeatureService, views: &[OnDemandView]| plan(service, views).unwrap_err().to_string();
    let circle = [named("a", "b:y"), named("b", "c:y"), named("c", "a:y")];
    assert!(error(all("a"), &circle).contains("a → b → c → a"), "{}", error(all("a"), &circle));
    assert!(error(all("a"), &[named("a", "a:y")]).contains("a → a"));
    let text = error(all("a"), &[named("a", "nowhere:y")]);
    assert!(text.contains("nowhere") && text.contains("a:x"), "{text}");
    assert!(error(all("a"), &[named("a", "price:cost")]).contains("price:cost"));
    assert!(error(all("ctr"), &[named("ctr", "price:price")]).contains("`ctr`"), "a name that a stored view has");
    let typed = OnDemandView::builder("a").input("x", ValueType::Int64, "price:price").feature("y", "x").build();
    let text = error(all("a"), &[typed.unwrap()]);
    assert!(text.contains("a:x") && text.contains("int64") && text.contains("float64"), "{text}");
    let keyed = service([ViewUse::all("a").unwrap().key("offer", "shown_id").unwrap()]);
    assert!(error(keyed, &[named("a", "price:price")]).contains("a:offer"));
    let wrong = OnDemandView::builder("a").input_by("x", ValueType::Float64, "price:price", [("offer", "o")]);
    assert!(error(all("a"), &[wrong.feature("y", "x").build().unwrap()]).contains("a:x:offer"));
    let both = service([ViewUse::all("price").unwrap(), ViewUse::all("a").unwrap()]);
    let twice = OnDemandView::builder("a").input("x", ValueType::Float64, "price:price").feature("price", "x").build();
    assert!(error(both, &[twice.unwrap()]).contains("`a:price`"));
    let chain: Vec<_> = (1..=64).map(|i| named(&format!("v{i}"), &format!("v{}:y", i - 1))).collect();
    let long: Vec<_> = [named("v0", "price:price")].into_iter().chain(chain).collect();
    assert!(plan(all("v63"), &long[..64]).is_ok());
    assert!(error(all("v64"), &long).contains("at most 64"));
}

#[test]
fn a_web_of_views_is_looked_through_once_each() {
    // Each view reads the one below twice, under exchanged names: 2^40 ways to the bottom.
    let view = |name: &str, below: &str| {
        OnDemandView::builder(name)
            .input("x", ValueType::Float64, format!("{below}:y"))
            .input_by(
                "z",
                ValueType::Float64,
                format!("{below}:y"),
                [("offer_id", "rival_id"), ("rival_id", "offer_id")],
            )
            .feature("y", "x - z")
            .build()
            .unwrap()
    };
    let bottom = OnDemandView::builder("v0")
        .input("x", ValueType::Float64, "price:price")
        .input_by("z", ValueType::Float64, "price:price", [("offer_id", "rival_id")])
        .feature("y", "x - z");
    let mut all = vec![bottom.build().unwrap()];
    all.extend((1..=40).map(|i| view(&format!("v{i}"), &format!("v{}", i - 1))));
    let plan = plan(service([ViewUse::all("v40").unwrap()]), &all).unwrap();
    assert_eq!(plan.joins().len(), 2);
}

#[test]
fn a_feature_is_as_sensitive_as_the_strictest_of_what_it_reads() {
    let entity = views()[0].entity().clone();
    let person = FeatureView::builder("person", entity)
        .sensitive("age", ValueType::Int64, Sensitivity::Personal)
        .sensitive("income", ValueType::Float64, Sensitivity::Secret)
        .build()
        .unwrap();
    let derived = OnDemandView::builder("derived")
        .input("age", ValueType::Int64, "person:age")
        .input("income", ValueType::Float64, "person:income")
        .column("asked", ValueType::Int64)
        .feature("plain", "asked + 1")
        .feature("adult", "age >= 18")
        .sensitive("kept", "asked", Sensitivity::Personal)
        .feature("rich", "income > 1e6")
        .build()
        .unwrap();
    let again = OnDemandView::builder("again")
        .input("rich", ValueType::Bool, "derived:rich")
        .feature("flag", "not rich")
        .build()
        .unwrap();
    let compile = |used: ViewUse| {
        ServingPlan::compile_with(&service([used]), &[person.clone()], &[derived.clone(), again.clone()]).unwrap()
    };
    let plan = compile(ViewUse::of("derived", ["plain", "adult", "kept"]).unwrap());
    let schema = Schema::new(plan.schema().clone()).unwrap();
    let told: Vec<_> = schema.names().map(|name| schema.sensitivity(name).unwrap()).collect();
    assert_eq!(told, [Sensitivity::Internal, Sensitivity::Personal, Sensitivity::Personal]);
    let clerk = Reader::new("clerk", Sensitivity::Internal);
    assert_eq!(
        plan.ensure_readable_by(&clerk).unwrap_err().to_string(),
        "`clerk` may not read `adult`, `kept` of service `ranker`"
    );
    let hidden = compile(ViewUse::all("again").unwrap());
    assert!(hidden.ensure_readable_by(&Reader::host()).is_err(), "a secret stays one through a chain");
    assert!(hidden.ensure_readable_by(&Reader::new("vault", Sensitivity::Secret)).is_ok());
}

#[test]
fn in_a_ranking_the_context_is_computed_once_and_candidates_each() {
    let view = bargain()
        .feature("eager", "ctr * 10")
        .feature("score", "ctr * price")
        .feature("since_s", "seconds_between(now(), time('1970-01-01T00:00:00Z'))")
        .build()
        .unwrap();
    let only = OnDemandView::builder("mood").input("ctr", ValueType::Float64, "ctr:ctr").feature("mood", "ctr + 1");
    let uses = [ViewUse::all("bargain").unwrap(), ViewUse::all("mood").unwrap()];
    let plan = plan(service(uses), &[view, only.build().unwrap()]).unwrap();
    let server = Arc::new(FeatureServer::new(plan, filled()));
    let hydrator = FeatureServiceHydrator::new(Name::new("features").unwrap(), server);
    let context = RecordBatch::try_from_iter([("user_id", ints(&[1]))]).unwrap();
    let query = Query::new(RequestId(1), EventTime::from_micros(100), context, 10).unwrap();
    let slate = Slate::new(RecordBatch::try_from_iter([("offer_id", ints(&[7, 9, 7]))]).unwrap()).unwrap();
    let columns = block_on(hydrator.hydrate(&query, &slate, Budget { left: None })).unwrap();
    assert_eq!(floats(&columns[0]), [Some(5.0); 3]);
    assert_eq!(floats(&columns[1]), [Some(4.0), None, Some(4.0)]);
    assert_eq!(floats(&columns[2]), [Some(1e-4); 3]);
    assert_eq!(floats(&columns[3]), [Some(1.5); 3]);
    let counts = hydrator.server().counts();
    let mood = counts.iter().find(|count| count.view.as_str() == "mood").unwrap();
    assert_eq!(mood.present, 1, "what only the context decides is computed once");
    let none = Slate::new(slate.rows().slice(0, 0)).unwrap();
    let columns = block_on(hydrator.hydrate(&query, &none, Budget { left: None })).unwrap();
    assert!(columns.iter().all(|column| column.is_empty()));
}

#[test]
fn training_rows_refuse_names_that_features_have() {
    let view = bargain().feature("discount", "coalesce(discount, 0)").build().unwrap();
    let plan = plan(service([ViewUse::all("bargain").unwrap()]), &[view]).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let offline = ParquetStore::open(folder.path()).unwrap();
    let spine = Dataset::from_batches([asked(&[1], &[7], &[None])]).unwrap();
    let error = plan.training_set(&offline, &spine, &AsOfOptions::new()).unwrap_err().to_string();
    assert!(error.contains("`discount`"), "{error}");
}

/// Bits, so that every NaN and both zeros are told apart.
fn bits(column: &ArrayRef) -> Vec<Option<u64>> {
    match column.data_type() {
        mlops_core::arrow::datatypes::DataType::Float64 => {
            floats(column).into_iter().map(|v| v.map(f64::to_bits)).collect()
        }
        mlops_core::arrow::datatypes::DataType::Int64 => {
            column.as_primitive::<Int64Type>().iter().map(|v| v.map(i64::cast_unsigned)).collect()
        }
        mlops_core::arrow::datatypes::DataType::Boolean => {
            column.as_boolean().iter().map(|v| v.map(u64::from)).collect()
        }
        mlops_core::arrow::datatypes::DataType::Utf8 => {
            let hash =
                |text: &str| text.bytes().fold(7_u64, |all, byte| all.wrapping_mul(31).wrapping_add(u64::from(byte)));
            column.as_string::<i32>().iter().map(|v| v.map(hash)).collect()
        }
        _ => column.as_primitive::<TimestampMicrosecondType>().iter().map(|v| v.map(i64::cast_unsigned)).collect(),
    }
}

fn number() -> impl Strategy<Value = Option<f64>> {
    let odd = [f64::NAN, -f64::NAN, 0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, f64::MIN_POSITIVE / 2.0];
    prop_oneof![Just(None), prop::sample::select(odd.to_vec()).prop_map(Some), (-9.0..9.0_f64).prop_map(Some)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// The law of this module: what a request is answered with is what a training row of that instant holds, bit for bit.
    #[test]
    fn a_training_row_holds_what_the_request_was_answered(
        users in prop::collection::vec((0_i64..4, 0_i64..=50, number()), 0..16),
        offers in prop::collection::vec((0_i64..4, 0_i64..=50, number()), 0..16),
        discounts in prop::collection::vec(number(), 5),
    ) {
        let score = bargain()
            .feature("score", "ctr * price * (1 - coalesce(discount, 0))")
            .feature("ratio", "price / ctr")
            .feature("level", "bucket(price, -1, 0, 1)")
            .feature("whole", "int(price * 3)")
            .feature("told", "concat(text(ctr), '/', coalesce(text(discount), 'none'))")
            .feature("later", "add_seconds(now(), coalesce(price, 1))")
            .build()
            .unwrap();
        let chained = OnDemandView::builder("chained")
            .input("ratio", ValueType::Float64, "bargain:ratio")
            .input("later", ValueType::Timestamp, "bargain:later")
            .feature("good", "ratio > 1 or later is null")
            .feature("in_s", "seconds_between(later, now())")
            .build()
            .unwrap();
        let uses = ["ctr", "bargain", "chained"].map(|name| ViewUse::all(name).unwrap());
        let plan = plan(service(uses), &[score, chained]).unwrap();
        let ([user, offer], store) = (views(), MemoryStore::new());
        let folder = tempfile::tempdir().unwrap();
        let offline = ParquetStore::open(folder.path()).unwrap();
        for (view, content) in [(&user, &users), (&offer, &offers)] {
            offline.append(view, &data(view, content)).unwrap();
            store.write_sync(view, &rows(view, content), None).unwrap();
        }
        let asked = asked(&[0, 1, 2, 3, 4], &[4, 3, 2, 1, 0], &discounts);
        let vectors = block_on(FeatureServer::new(plan.clone(), Arc::new(store)).get(&asked, EventTime::from_micros(50)));
        let vectors = vectors.unwrap();
        let mut columns: Vec<(String, ArrayRef, bool)> = Vec::new();
        for (field, column) in asked.schema().fields().iter().zip(asked.columns()) {
            columns.push((field.name().clone(), column.clone(), true));
        }
        columns.push(("event_timestamp".to_owned(), times(&[50; 5]), false));
        let spine = Dataset::from_batches([RecordBatch::try_from_iter_with_nullable(columns).unwrap()]).unwrap();
        let training = plan.training_set(&offline, &spine, &AsOfOptions::new()).unwrap();
        let training = training.dataset.to_batch().unwrap();
        for (field, served) in vectors.schema().fields().iter().zip(vectors.columns()) {
            prop_assert_eq!(bits(served), bits(&training[field.name().as_str()].clone()), "{}", field.name());
        }
    }
}
