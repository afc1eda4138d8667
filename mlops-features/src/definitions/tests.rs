use std::time::Duration;

use mlops_core::Name;
use mlops_core::catalog::Revision;
use mlops_core::schema::Sensitivity;
use proptest::prelude::*;

use super::*;
use crate::define::{KeyType, ValueType};
use crate::entity::Entity;
use crate::error::{Core, Error};
use crate::feature::Feature;
use crate::origin::{BatchOrigin, StreamOrigin};
use crate::policy::StatusPolicy;
use crate::service::{FeatureService, ViewUse};
use crate::transform::OnDemandView;
use crate::view::{FeatureView, FeatureViewBuilder};
use crate::window::{Op, TimeWindow, WindowView};

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn entity(text: &str) -> Entity {
    Entity::builder(text).key(format!("{text}_id"), KeyType::Int64).build().unwrap()
}

fn builder(text: &str) -> FeatureViewBuilder {
    FeatureView::builder(text, entity("customer")).feature("ctr", ValueType::Float64)
}

fn view(text: &str) -> FeatureView {
    builder(text).build().unwrap()
}

fn service(text: &str, features: &[&str]) -> FeatureService {
    features.iter().fold(FeatureService::builder(text), |all, one| all.feature(*one)).build().unwrap()
}

fn orders() -> WindowView {
    let day = TimeWindow::exact(Duration::from_hours(24));
    let view = WindowView::builder("orders", entity("customer")).column("amount", ValueType::Float64);
    let view = view.stream(StreamOrigin::stream("orders").unwrap());
    view.aggregates("amount", [Op::Sum, Op::Mean], [day]).build().unwrap()
}

fn computed(text: &str, from: &str) -> OnDemandView {
    let view = OnDemandView::builder(text).input("x", ValueType::Float64, from).column("budget", ValueType::Float64);
    view.feature("share", "x / budget").feature("budget_left", "budget - 1").build().unwrap()
}

/// One of each kind, and a chain.
fn world() -> Definitions {
    let clicks = FeatureView::builder("clicks", entity("customer"))
        .with(Feature::new("ctr", ValueType::Float64).unwrap().describe("rate of clicks"))
        .sensitive("age", ValueType::Int64, Sensitivity::Personal)
        .batch(BatchOrigin::catalog("clicks.daily").unwrap())
        .stream(StreamOrigin::push("clicks").unwrap())
        .owner("growth")
        .tag("tier", "gold")
        .build()
        .unwrap();
    Definitions::builder()
        .with(clicks)
        .with(orders())
        .with(computed("first", "clicks:ctr"))
        .with(computed("second", "first:share"))
        .with(service("ranker", &["clicks:ctr", "orders:amount_sum_1d", "second:share"]))
        .build()
        .unwrap()
}

#[track_caller]
fn refuses(builder: DefinitionsBuilder, words: &[&str]) {
    let error = builder.build().unwrap_err();
    for word in words {
        assert!(error.to_string().contains(word), "`{word}` in: {error}");
    }
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let set = Definitions::builder;
    let base = || set().with(view("clicks"));
    refuses(base().with(view("clicks")), &["view `clicks` already exists"]);
    refuses(base().with(computed("clicks", "clicks:ctr")), &["view `clicks` already exists"]);
    refuses(set().with(entity("user")).with(entity("user")), &["entity `user` already exists"]);
    let s = service("s", &["clicks:ctr"]);
    refuses(base().with(s.clone()).with(s.clone()), &["service `s` already exists"]);
    refuses(base().with(view("clicks.v1")), &["view `clicks.v1`", "version 1 of clicks"]);
    refuses(base().with(s.clone()).with(service("s.v1", &["clicks:ctr"])), &["service `s.v1`", "version 1 of s"]);
    refuses(set().with(s), &["service `s`", "view `clicks` not found"]);
    refuses(base().with(service("s", &["clicks:age"])), &["service `s`", "feature `clicks:age` not found"]);
    let twice = service("s", &["clicks:ctr", "clicks:ctr"]);
    refuses(base().with(twice), &["service `s`", "feature `clicks:ctr` already exists"]);
    let keyed = ViewUse::all("clicks").unwrap().key("user_id", "customer_id").unwrap();
    let keyed = FeatureService::builder("s").using(keyed).build().unwrap();
    refuses(base().with(keyed), &["service `s`", "key", "user_id"]);
    let both = service("s", &["clicks:ctr", "views:ctr"]);
    refuses(base().with(view("views")).with(both), &["service `s`", "column `ctr`", "`views:ctr`"]);
    refuses(base().with(computed("d", "gone:ctr")), &["on-demand view `d`", "gone", "not found"]);
    refuses(base().with(computed("d", "clicks:gone")), &["on-demand view `d`", "clicks:gone", "not found"]);
    let whole = FeatureView::builder("clicks", entity("customer")).feature("ctr", ValueType::Int64).build().unwrap();
    refuses(set().with(whole).with(computed("d", "clicks:ctr")), &["on-demand view `d`", "float64", "int64"]);
    let around = set().with(computed("a", "b:share")).with(computed("b", "c:share")).with(computed("c", "a:share"));
    refuses(around, &["chain of views", "a → b → c → a"]);
    refuses(set().with(computed("a", "a:share")), &["a → a"]);
    let other = Entity::builder("customer").key("id", KeyType::Utf8).build().unwrap();
    let other = FeatureView::builder("other", other).feature("f", ValueType::Bool).build().unwrap();
    refuses(base().with(other), &["view `other`", "entity with other keys `customer`"]);
}

fn derived(text: &str, driver: &str, by: &str) -> FeatureView {
    let view = FeatureView::builder(text, entity("customer")).feature("twice", ValueType::Float64);
    view.batch(BatchOrigin::derived(driver, [by]).unwrap()).build().unwrap()
}

fn twice(text: &str, from: &str) -> OnDemandView {
    OnDemandView::builder(text).input("x", ValueType::Float64, from).feature("twice", "x * 2.0").build().unwrap()
}

#[test]
fn derived_views_are_checked_and_traced() {
    let base = || Definitions::builder().with(view("clicks")).with(twice("double", "clicks:ctr"));
    let good =
        base().with(derived("stored", "clicks", "double")).with(service("s", &["stored:twice"])).build().unwrap();
    assert_eq!(good.derived_view("stored").unwrap().driver().name().as_str(), "clicks");
    assert!(matches!(good.derived_view("clicks"), Err(Error::Core(Core::NotFound { .. }))));
    let lineage = DefinitionLineage::of(&good, &[]).unwrap();
    let users = lineage.users_of(&"clicks:ctr".parse().unwrap()).unwrap();
    assert_eq!(users, [Node::View(name("double")), Node::View(name("stored")), Node::Service(name("s"))]);
    let text = good.to_json().unwrap();
    assert_eq!(Definitions::from_json(&text).unwrap(), good);

    refuses(base().with(derived("stored", "gone", "double")), &["view `stored`", "view `gone` not found"]);
    refuses(base().with(derived("stored", "clicks", "gone")), &["view `stored`", "stored:twice"]);
    refuses(base().with(derived("stored", "stored", "double")), &["chain of views", "stored → stored"]);
    let around = Definitions::builder().with(view("clicks")).with(twice("double", "stored:twice"));
    refuses(around.with(derived("stored", "clicks", "double")), &["chain of views", "double → stored → double"]);
}

#[test]
fn documents_that_do_not_fit_are_refused_by_name() {
    let good = world().to_json().unwrap();
    assert_eq!(Definitions::from_json(&good).unwrap(), world());
    let cases: [(&str, &str, &[&str]); 9] = [
        ("\"format\": 1", "\"format\": 2", &["format 2"]),
        ("\"format\": 1", "\"form\": 1", &["form"]),
        ("\"services\"", "\"service\"", &["service"]),
        ("\"entity\": \"customer\"", "\"entity\": \"nobody\"", &["view `clicks`", "entity `nobody` not found"]),
        ("\"owner\": \"growth\"", "\"owned\": \"growth\"", &["view `clicks`", "owned"]),
        ("\"type\": \"int64\"", "\"type\": \"int6\"", &["int6"]),
        ("\"clicks:ctr\"", "\"clicks\"", &["on-demand view `first`", "view:feature"]),
        ("x / budget", "x / (budget", &["on-demand view `first`"]),
        ("\"view\": \"second\"", "\"view\": \"third\"", &["service `ranker`", "view `third` not found"]),
    ];
    for (from, to, words) in cases {
        assert!(good.contains(from), "{from} in {good}");
        let error = Definitions::from_json(&good.replacen(from, to, 1)).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{from} → {to}: {error}");
    }
    for bad in ["", "[]", "{\"format\": 1, \"views\": [1]}", "{\"format\": 1, \"views\": [{\"name\": \"\\u0000\"}]}"] {
        assert!(Definitions::from_json(bad).is_err(), "{bad}");
    }
    for cut in (0..good.len()).step_by(97).filter(|cut| good.is_char_boundary(*cut)) {
        assert!(Definitions::from_json(&good[..cut]).is_err(), "cut at {cut}");
    }
}

#[test]
fn the_order_of_a_document_does_not_matter() {
    let reversed = world().all().cloned().collect::<Vec<_>>().into_iter().rev();
    let set = reversed.fold(Definitions::builder(), DefinitionsBuilder::with).build().unwrap();
    assert_eq!(set, world());
    assert_eq!(set.to_json().unwrap(), world().to_json().unwrap());
    assert_eq!(set.service_version("ranker").unwrap(), world().service_version("ranker").unwrap());
}

#[test]
fn a_deep_chain_is_no_deep_recursion() {
    let link = |at: usize| if at == 0 { "clicks:ctr".to_owned() } else { format!("d{}:share", at - 1) };
    let chain = |length: usize| {
        let links = (0..length).map(|at| computed(&format!("d{at}"), &link(at)));
        links.fold(Definitions::builder().with(view("clicks")), DefinitionsBuilder::with).build()
    };
    assert_eq!(chain(60).unwrap().len(), 62);
    let error = chain(2_000).unwrap_err().to_string();
    assert!(error.contains("at most 64 long"), "{error}");
}

#[test]
fn definitions_are_found_by_kind_and_version() {
    let set =
        Definitions::builder().with(view("clicks.v10")).with(view("clicks.v2")).with(view("clicks")).build().unwrap();
    let versions = set.versions(Kind::View, "clicks").unwrap();
    assert_eq!(versions.iter().map(|found| found.version().1).collect::<Vec<_>>(), [1, 2, 10]);
    assert!(set.versions(Kind::Service, "clicks").is_err());
    assert_eq!(set.view("clicks.v2").unwrap(), &view("clicks.v2"));
    for missing in [set.view("customer").err(), set.window_view("clicks").err(), set.service("clicks").err()] {
        assert!(matches!(missing, Some(Error::Core(Core::NotFound { .. }))), "{missing:?}");
    }
    assert_eq!(world().stored_views().len(), 2);
    assert_eq!(world().serving_plan("ranker").unwrap().schema().fields().len(), 3);
}

#[test]
fn a_service_is_the_same_with_stored_views_alone_and_in_a_set() {
    let set = Definitions::builder().with(view("clicks")).with(service("s", &["clicks:ctr"])).build().unwrap();
    let alone = service("s", &["clicks:ctr"]).fingerprint(&[view("clicks")]).unwrap();
    assert_eq!(set.service_version("s").unwrap().fingerprint, alone);
    let other = ServiceVersion { service: name("s"), fingerprint: mlops_core::Digest::of("x") };
    let error = set.service_version("s").unwrap().ensure_same(&other).unwrap_err().to_string();
    assert!(error.contains("service s@") && error.contains(&other.fingerprint.short()), "{error}");
}

#[test]
fn a_serving_plan_proves_which_features_it_serves() {
    let version = world().service_version("ranker").unwrap();
    assert_eq!(world().serving_plan("ranker").unwrap().fingerprint(), version.fingerprint);
    let hours = changed(orders_with_hours());
    assert_eq!(
        hours.window_view("orders").unwrap().feature_view(),
        world().window_view("orders").unwrap().feature_view()
    );
    assert_ne!(hours.service_version("ranker").unwrap(), version, "rows of another aggregate are other features");
}

#[test]
fn ten_thousand_features_are_compared_by_name() {
    let wide = |count: usize| {
        let names = (0..count).map(|at| format!("f{at}"));
        let view = names.fold(builder("wide"), |view, name| view.feature(name, ValueType::Float64)).build().unwrap();
        let all = FeatureService::builder("all").using(ViewUse::all("wide").unwrap()).build().unwrap();
        Definitions::builder().with(view).with(all).build().unwrap()
    };
    let store = store_with(&wide(10_000));
    let plan = store.plan(&wide(9_999)).unwrap();
    let told: Vec<&str> = plan.changes[0].fields.iter().map(|field| field.path.as_str()).collect();
    assert_eq!(told, ["features[f9999]"]);
    assert_eq!(plan.broken().count(), 2, "the view has less, and so does the service");
}

fn store_with(definitions: &Definitions) -> MemoryDefinitions {
    let store = MemoryDefinitions::new();
    store.apply_now(definitions).unwrap();
    store
}

fn with(more: impl Into<Definition>) -> Definitions {
    world().all().cloned().fold(Definitions::builder().with(more), DefinitionsBuilder::with).build().unwrap()
}

/// `world` with `changed` in the place of the definition of its name.
fn changed(changed: impl Into<Definition>) -> Definitions {
    let changed = changed.into();
    let is_other = |one: &&Definition| (one.kind(), one.name()) != (changed.kind(), changed.name());
    let others: Vec<Definition> = world().all().filter(is_other).cloned().collect();
    others.into_iter().fold(Definitions::builder().with(changed.clone()), DefinitionsBuilder::with).build().unwrap()
}

#[test]
fn more_is_no_break_and_is_applied() {
    for wanted in [with(view("views")), with(computed("third", "clicks:ctr")), with(service("other", &["clicks:ctr"]))]
    {
        let store = store_with(&world());
        let plan = store.plan(&wanted).unwrap();
        assert_eq!((plan.changes.len(), plan.effect()), (1, Some(Effect::Compatible)), "{plan}");
        assert_eq!(plan.unchanged, world().len());
        let revision = store.apply(&wanted, plan.base, &ApplyOptions::new()).unwrap();
        assert_eq!(store.plan(&wanted).unwrap().changes, []);
        assert_eq!(
            store.apply(&wanted, Revision(0), &ApplyOptions::new()).unwrap(),
            revision,
            "applying twice is once"
        );
    }
}

#[test]
fn a_break_is_refused_and_told() {
    let store = store_with(&world());
    let wanted = changed(orders_with_hours());
    let plan = store.plan(&wanted).unwrap();
    let text = plan.to_string();
    assert!(text.contains("~ window view `orders`: BREAKING, define `orders.v2` instead"), "{text}");
    assert!(text.contains("~ service `ranker`: BREAKING, define `ranker.v2` instead"), "{text}");
    assert!(text.contains("columns of the same names and types have other values"), "{text}");
    let Err(Error::Breaking { changes }) = store.apply(&wanted, plan.base, &ApplyOptions::new()) else {
        panic!("a break is not applied");
    };
    assert_eq!(changes.len(), 2);
    assert!(changes[0].starts_with("window view `orders` (aggregates[amount_sum_1d].window"), "{changes:?}");
    assert_eq!(store.load().unwrap().1, Revision(1), "nothing was written");
}

fn orders_with_hours() -> WindowView {
    let hour = TimeWindow::exact(Duration::from_hours(1));
    let view = WindowView::builder("orders", entity("customer")).column("amount", ValueType::Float64);
    let view = view.stream(StreamOrigin::stream("orders").unwrap());
    let view = view.named("amount_sum_1d", "amount", Op::Sum, hour);
    view.named("amount_mean_1d", "amount", Op::Mean, hour).build().unwrap()
}

#[test]
fn a_service_that_takes_all_of_a_view_breaks_when_that_gets_more() {
    let all = FeatureService::builder("all").using(ViewUse::all("clicks").unwrap()).build().unwrap();
    let one = service("one", &["clicks:ctr"]);
    let define = |view: FeatureViewBuilder| {
        Definitions::builder().with(view.build().unwrap()).with(all.clone()).with(one.clone()).build().unwrap()
    };
    let store = store_with(&define(builder("clicks")));
    let plan = store.plan(&define(builder("clicks").feature("age", ValueType::Int64))).unwrap();
    let broken: Vec<&str> = plan.broken().map(|change| change.name.as_str()).collect();
    assert_eq!(broken, ["all"], "{plan}");
    assert!(plan.to_string().contains("columns +age"), "{plan}");
}

#[test]
fn removal_is_asked_for_and_remembered() {
    let store = store_with(&world());
    let less = Definitions::builder().with(entity("customer")).build().unwrap();
    let plan = store.plan(&less).unwrap();
    assert_eq!(plan.removed().count(), world().len() - 1);
    match store.apply(&less, plan.base, &ApplyOptions::new()) {
        Err(Error::Core(Core::Rejected { failed, .. })) => assert!(failed.contains(&"service `ranker`".to_owned())),
        other => panic!("nothing is removed unasked: {other:?}"),
    }
    store.apply(&less, plan.base, &ApplyOptions::new().remove(true)).unwrap();

    // What comes back as it was is welcome, another thing under the same name is not.
    let other =
        Definitions::builder().with(builder("clicks").ttl(Duration::from_secs(1)).build().unwrap()).build().unwrap();
    let plan = store.plan(&other).unwrap();
    assert!(
        plan.broken().any(|change| change.name == name("clicks") && change.next_version == Some(name("clicks.v2")))
    );
    assert!(matches!(store.apply_now(&other), Err(Error::Breaking { .. })));
    let kind = Definitions::builder().with(computed("clicks", "x:ctr")).with(view("x")).build().unwrap();
    let Err(Error::Breaking { changes }) = store.apply_now(&kind) else { panic!("a view stays of its kind") };
    assert!(changes[0].contains("kind: view → on-demand view"), "{changes:?}");
    store.apply_now(&world()).unwrap();
    assert_eq!(store.definitions().unwrap(), world());
    assert_eq!(store.load().unwrap().0.retired, []);
}

#[test]
fn a_view_does_not_become_one_of_another_kind() {
    let store = store_with(&Definitions::builder().with(view("clicks")).with(view("x")).build().unwrap());
    let wanted = Definitions::builder().with(computed("clicks", "x:ctr")).with(view("x")).build().unwrap();
    let plan = store.plan(&wanted).unwrap();
    assert_eq!(plan.changes.len(), 1, "{plan}");
    assert_eq!((plan.changes[0].action, plan.changes[0].effect), (Action::Change, Effect::Breaking));
}

#[test]
fn a_plan_that_is_old_is_a_conflict() {
    let store = store_with(&world());
    let wanted = with(view("views"));
    let plan = store.plan(&wanted).unwrap();
    store.apply_now(&with(view("faster"))).unwrap();
    let late = store.apply(&wanted, plan.base, &ApplyOptions::new().remove(true));
    assert!(matches!(late, Err(Error::Core(Core::Conflict { .. }))), "{late:?}");
    assert!(store.definitions().unwrap().view("faster").is_ok());
}

#[test]
fn models_hold_on_to_the_features_that_they_were_trained_on() {
    let store = store_with(&world());
    let features = store.service_version("ranker").unwrap();
    let link = ModelLink { features: features.clone(), model: name("ctr"), version: "7".to_owned() };
    let revision = store.link(&link).unwrap();
    assert_eq!(store.link(&link).unwrap(), revision, "linking twice is once");
    let wrong = ServiceVersion { fingerprint: mlops_core::Digest::of("x"), ..features };
    let error = store.link(&ModelLink { features: wrong, ..link.clone() }).unwrap_err().to_string();
    assert!(error.contains("model `ctr` 7") && error.contains("ranker@"), "{error}");
    assert!(store.link(&ModelLink { version: String::new(), ..link.clone() }).is_err());

    let gone = Definitions::default();
    let Err(Error::Core(Core::Rejected { failed, .. })) =
        store.apply(&gone, store.load().unwrap().1, &ApplyOptions::new().remove(true))
    else {
        panic!("a service that a model needs stays");
    };
    assert_eq!(failed, ["service `ranker`, which model `ctr` 7 needs"]);
    store.unlink(&name("ctr"), "7").unwrap();
    store.apply(&gone, store.load().unwrap().1, &ApplyOptions::new().remove(true)).unwrap();
    assert!(store.definitions().unwrap().is_empty());
}

#[test]
fn plans_are_data() {
    let store = store_with(&world());
    let plan = store.plan(&changed(orders_with_hours())).unwrap();
    let text = serde_json::to_string(&plan).unwrap();
    assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
}

#[test]
fn lineage_leads_both_ways() {
    let link = ModelLink {
        features: world().service_version("ranker").unwrap(),
        model: name("ctr"),
        version: "7\"]".to_owned(),
    };
    let lineage = DefinitionLineage::of(&world(), &[link]).unwrap();
    let model = Node::Model { model: name("ctr"), version: "7\"]".to_owned() };
    let from = lineage.upstream(&model).unwrap();
    assert_eq!(from.nodes(), lineage.nodes(), "everything leads to the model");
    let fed = lineage.downstream(&Node::View(name("orders"))).unwrap();
    let expected = [Node::View(name("orders")), Node::Service(name("ranker")), model.clone()];
    assert_eq!(fed.nodes().iter().cloned().collect::<Vec<_>>(), expected);
    let stream = Node::Stream(StreamOrigin::stream("orders").unwrap());
    assert_eq!(lineage.downstream(&stream).unwrap().nodes().len(), 4);
    let chart = from.to_mermaid();
    assert!(chart.starts_with("flowchart LR\n") && !chart.contains("7\"]"), "{chart}");
    assert_eq!(chart.matches("-->").count(), lineage.edges().count());
    assert!(lineage.upstream(&Node::Service(name("nobody"))).is_err());

    let users = lineage.users_of(&"clicks:ctr".parse().unwrap()).unwrap();
    let chain = [Node::View(name("first")), Node::View(name("second")), Node::Service(name("ranker")), model];
    assert_eq!(users, chain);
    assert_eq!(lineage.users_of(&"clicks:age".parse().unwrap()).unwrap(), []);
    let unread = lineage.users_of(&"first:budget_left".parse().unwrap()).unwrap();
    assert_eq!(unread, [], "`second` reads another feature of `first`");
    assert!(lineage.users_of(&"gone:ctr".parse().unwrap()).is_err());
}

#[test]
fn a_chart_is_bounded_and_says_what_is_left_out() {
    let views = (0..400).map(|at| view(&format!("v{at}")));
    let many = views.fold(Definitions::builder(), DefinitionsBuilder::with).build().unwrap();
    let chart = DefinitionLineage::of(&many, &[]).unwrap().to_mermaid();
    assert_eq!(chart.lines().count(), 302);
    assert!(chart.ends_with("note[\"100 places and 0 edges more are not drawn\"]\n"), "{chart}");
}

#[test]
fn data_sets_lead_on_into_the_catalog() {
    use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
    use mlops_core::catalog::{CatalogExt, Entry, MemoryCatalog};
    use mlops_core::{Dataset, EventTime};
    let ids = std::sync::Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
    let data = Dataset::from_batches([RecordBatch::try_from_iter([("id", ids)]).unwrap()]).unwrap();
    let catalog = MemoryCatalog::new();
    catalog.register(&Entry::of(name("clicks.daily"), "web", &data, EventTime::EPOCH).unwrap()).unwrap();
    let lineage = DefinitionLineage::of(&world(), &[]).unwrap();
    let traces = lineage.data_sets(&catalog).unwrap();
    assert_eq!(traces[&name("clicks.daily")].ends, [data.digest().unwrap()]);
    assert!(lineage.data_sets(&MemoryCatalog::new()).unwrap().is_empty());
}

#[track_caller]
fn finds(query: DefinitionQuery, expected: &[&str]) {
    let hits = world().search(&query);
    let found: Vec<&str> = hits.iter().map(|hit| hit.name.as_str()).collect();
    assert_eq!(found, expected, "{query:?}");
}

#[test]
fn definitions_are_found_by_words_and_by_what_they_are() {
    let all = || DefinitionQuery::new("").unwrap();
    finds(DefinitionQuery::new("CLICK").unwrap(), &["clicks"]);
    finds(DefinitionQuery::new("rate growth").unwrap(), &["clicks"]);
    finds(DefinitionQuery::new("share").unwrap(), &["first", "second"]);
    finds(DefinitionQuery::new("nothing").unwrap(), &[]);
    finds(all().owner("growth"), &["clicks"]);
    finds(all().tag("tier", "gold"), &["clicks"]);
    finds(all().tag("tier", "silver"), &[]);
    finds(all().feature("share"), &["first", "second"]);
    finds(all().kind(Kind::Service), &["ranker"]);
    finds(all().entity("customer"), &["customer", "clicks", "orders", "first", "second", "ranker"]);
    finds(all().entity("nobody"), &[]);
    finds(all().at_least(Sensitivity::Personal), &["clicks"]);
    finds(all().kind(Kind::OnDemandView).limit(1), &["first"]);
    assert!(DefinitionQuery::new(&"x".repeat(2_000)).is_err());
}

/// Settings from which a small set is made: views and services that may or may not be there, each in several forms.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own")]
struct Recipe {
    ttl: Option<u8>,
    second: bool,
    wide: bool,
    stale: bool,
    words: u8,
    computed: Option<bool>,
    all: bool,
    one: bool,
    window: Option<bool>,
}

fn recipe() -> impl Strategy<Value = Recipe> {
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>());
    let options =
        (proptest::option::of(1..3u8), proptest::option::of(any::<bool>()), proptest::option::of(any::<bool>()));
    (flags, options, 0..3u8).prop_map(|((second, wide, stale, all, one), (ttl, computed, window), words)| Recipe {
        ttl,
        second,
        wide,
        stale,
        words,
        computed,
        all,
        one,
        window,
    })
}

fn cook(recipe: &Recipe) -> Definitions {
    let mut clicks = builder("clicks").description("x".repeat(recipe.words.into()));
    if let Some(ttl) = recipe.ttl {
        clicks = clicks.ttl(Duration::from_secs(ttl.into()));
    }
    if recipe.second {
        clicks = clicks.feature("age", if recipe.wide { ValueType::Int64 } else { ValueType::Int32 });
    }
    if recipe.stale {
        clicks = clicks.policy(StatusPolicy::Stale);
    }
    let mut set = Definitions::builder().with(clicks.build().unwrap());
    let mut taken = vec!["clicks:ctr"];
    if let Some(other) = recipe.computed {
        let expr = if other { "x + 1.0" } else { "x + 2.0" };
        let view = OnDemandView::builder("d").input("x", ValueType::Float64, "clicks:ctr").feature("y", expr);
        set = set.with(view.build().unwrap());
        taken.push("d:y");
    }
    if let Some(other) = recipe.window {
        set = set.with(if other { orders_with_hours() } else { orders() });
        taken.push("orders:amount_mean_1d");
    }
    if recipe.one {
        set = set.with(service("one", &taken));
    }
    if recipe.all {
        let all = FeatureService::builder("all").using(ViewUse::all("clicks").unwrap());
        set = set.with(all.build().unwrap());
    }
    set.build().unwrap()
}

fn served(definitions: &Definitions) -> Vec<ServiceVersion> {
    ["one", "all"].iter().filter_map(|name| definitions.service_version(name).ok()).collect()
}

proptest! {
    #[test]
    fn documents_are_what_they_were_written_from(recipe in recipe()) {
        let set = cook(&recipe);
        let read = Definitions::from_json(&set.to_json().unwrap()).unwrap();
        prop_assert_eq!(&read, &set);
        prop_assert_eq!(served(&read), served(&set));
    }

    /// Whatever is applied in whatever order: a plan is empty after its apply, a break changes nothing, and a name of a
    /// service never means another thing.
    #[test]
    fn a_name_never_means_another_thing(recipes in proptest::collection::vec(recipe(), 1..8)) {
        let store = MemoryDefinitions::new();
        let mut meant: Vec<ServiceVersion> = Vec::new();
        for recipe in recipes {
            let wanted = cook(&recipe);
            let before = store.load().unwrap();
            let plan = store.plan(&wanted).unwrap();
            let applied = store.apply(&wanted, plan.base, &ApplyOptions::new().remove(true));
            if plan.broken().count() > 0 {
                let refused = matches!(applied, Err(Error::Breaking { .. }));
                prop_assert!(refused);
                prop_assert_eq!(store.load().unwrap(), before);
                continue;
            }
            applied.unwrap();
            prop_assert!(store.plan(&wanted).unwrap().is_empty());
            prop_assert_eq!(store.definitions().unwrap(), wanted.clone());
            for now in served(&wanted) {
                match meant.iter().find(|known| known.service == now.service) {
                    Some(known) => prop_assert_eq!(known, &now),
                    None => meant.push(now),
                }
            }
        }
    }

    /// A change that only describes leaves all of it as it was; two different features never have one digest.
    #[test]
    fn fingerprints_differ_exactly_where_services_do(a in recipe(), b in recipe()) {
        let of = |recipe: &Recipe| cook(recipe).service_version("one").ok().map(|version| version.fingerprint);
        let told = |r: &Recipe| (r.ttl, r.stale, r.computed, r.window);
        let (one, other) = (Recipe { one: true, ..a }, Recipe { one: true, ..b });
        prop_assert_eq!(of(&one) == of(&other), told(&one) == told(&other));
    }
}

#[test]
fn errors_keep_their_type() {
    let missing = Definitions::builder().with(service("s", &["gone:x"])).build().unwrap_err();
    let Error::Core(Core::Stage { stage, source }) = missing else { panic!("it is about the service") };
    assert_eq!(stage, "service `s`");
    let inner = source.downcast_ref::<Error>().unwrap();
    assert!(matches!(inner, Error::Core(Core::NotFound { kind: "view", .. })), "{inner}");
}
