use std::time::Duration;

use mlops_core::schema::Sensitivity;

use super::*;
use crate::define::Item;
use crate::{KeyType, ValueType};

fn user() -> Entity {
    Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap()
}

fn day() -> TimeWindow {
    TimeWindow::exact(Duration::from_secs(86_400))
}

#[track_caller]
fn refused(builder: WindowViewBuilder, part: &str) {
    let error = builder.build().unwrap_err().to_string();
    assert!(error.contains(part), "{error}");
}

fn orders() -> WindowViewBuilder {
    WindowView::builder("orders", user()).column("amount", ValueType::Float64).column("shop", ValueType::Utf8)
}

#[test]
fn features_have_the_types_and_the_sensitivity_of_what_they_are_made_of() {
    let view = WindowView::builder("visits", user())
        .sensitive("place", ValueType::Utf8, Sensitivity::Personal)
        .column("paid", ValueType::Bool)
        .aggregate("place", Op::TopK { k: 3 }, day())
        .aggregate("place", Op::Distinct, day())
        .aggregate("paid", Op::Mean, day())
        .named("paid_ever", "paid", Op::Max, TimeWindow::lifetime())
        .count(TimeWindow::tumbling(Duration::from_secs(60)))
        .build()
        .unwrap();
    let features = view.feature_view().features();
    let told: Vec<_> = features.iter().map(|f| (f.name.as_str(), f.value_type, f.sensitivity)).collect();
    let plain = Sensitivity::default();
    let expected = [
        ("place_top3_1d", ValueType::List(Item::Utf8), Sensitivity::Personal),
        ("place_distinct_1d", ValueType::Int64, Sensitivity::Personal),
        ("paid_mean_1d", ValueType::Float64, plain),
        ("paid_ever", ValueType::Int64, plain),
        ("count_1m_tumbling", ValueType::Int64, plain),
    ];
    assert_eq!(told, expected);
}

#[test]
fn a_definition_comes_back_from_json_and_unknown_words_do_not() {
    let view = orders()
        .event_id("order_id")
        .lateness(Duration::from_secs(60))
        .events_max(99)
        .tag("team", "growth")
        .owner("me")
        .description("orders")
        .aggregate("amount", Op::Quantiles { shares: vec![0.5], k: 200 }, day().earlier(Duration::from_secs(3_600)))
        .aggregate("shop", Op::LastN { n: 5 }, TimeWindow::lifetime())
        .build()
        .unwrap();
    let text = serde_json::to_string(&view).unwrap();
    let back: WindowView = serde_json::from_str(&text).unwrap();
    assert_eq!((&back, back.fingerprint()), (&view, view.fingerprint()));
    let strange = text.replacen("\"name\"", "\"colour\":1,\"name\"", 1);
    assert!(serde_json::from_str::<WindowView>(&strange).is_err());
    let strange = text.replacen("\"mode\"", "\"colour\":1,\"mode\"", 1);
    assert!(serde_json::from_str::<WindowView>(&strange).is_err());
    let bad = text.replacen("\"k\":200", "\"k\":7", 1);
    assert!(serde_json::from_str::<WindowView>(&bad).unwrap_err().to_string().contains('k'));
}

#[test]
fn a_definition_can_be_written_by_hand() {
    let text = r#"{
        "name": "orders",
        "entity": {"name": "user", "keys": [{"name": "user_id", "type": "int64"}]},
        "columns": [{"name": "amount", "type": "float64"}],
        "event_time": "at",
        "aggregates": [
            {"column": "amount", "op": "sum", "window": {"mode": "sawtooth", "length_us": 604800000000}},
            {"column": "amount", "op": {"last_n": {"n": 3}}, "window": {"mode": "lifetime"}},
            {"op": "count", "window": {"mode": "exact", "length_us": 3600000000, "offset_us": -60000000}}
        ]
    }"#;
    let view: WindowView = serde_json::from_str(text).unwrap();
    let names: Vec<_> = view.feature_view().features().iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["amount_sum_7d", "amount_last3", "count_1h_ago_1m"]);
    assert_eq!((view.event_time(), view.events_max(), view.lateness()), ("at", 10_000, Duration::ZERO));
}

#[test]
fn what_makes_no_feature_is_refused_by_name() {
    refused(orders(), "aggregates");
    refused(orders().aggregate("colour", Op::Sum, day()), "orders:colour");
    refused(orders().aggregate("shop", Op::Sum, day()), "shop_sum_1d");
    refused(orders().aggregate("amount", Op::TopKSketch { k: 1, capacity: 8 }, day()), "amount_top1_sketch_1d");
    refused(orders().aggregate("amount", Op::Sum, day()).aggregate("amount", Op::Sum, day()), "orders:amount_sum_1d");
    refused(orders().column("user_id", ValueType::Int64).count(day()), "user_id");
    refused(orders().column("when", ValueType::Timestamp).count(day()), "`when`");
    refused(orders().aggregate("amount", Op::Variance { ddof: 2 }, day()), "ddof");
    for n in [0, 1_001] {
        refused(orders().aggregate("amount", Op::LastN { n }, day()), "n =");
        refused(orders().aggregate("amount", Op::TopK { k: n }, day()), "k =");
    }
    refused(orders().aggregate("amount", Op::DistinctSketch { precision: 20 }, day()), "precision");
    refused(orders().aggregate("amount", Op::Quantiles { shares: vec![1.5], k: 200 }, day()), "share");
    refused(orders().aggregate("amount", Op::Quantiles { shares: vec![], k: 200 }, day()), "shares");
    refused(orders().aggregate("amount", Op::Histogram { edges: vec![1.0, 1.0] }, day()), "edge");
    refused(orders().aggregate("amount", Op::Histogram { edges: vec![f64::NAN, 1.0] }, day()), "edge");
    refused(orders().count(TimeWindow::exact(Duration::ZERO)), "window length");
    refused(orders().count(TimeWindow::sawtooth(Duration::from_secs(60))), "sawtooth");
    refused(orders().count(TimeWindow::exact(Duration::MAX)), "window length");
    refused(orders().count(day().earlier(Duration::MAX)), "window offset");
    refused(orders().count(day()).events_max(0), "events_max");
    refused(WindowView::builder("../x", user()).count(day()), "name");
}

#[test]
fn what_does_not_shape_values_does_not_change_the_fingerprint() {
    let plain = orders().count(day()).build().unwrap();
    let told = orders().count(day()).owner("me").lateness(Duration::from_secs(9)).build().unwrap();
    let other = orders().count(day().earlier(Duration::from_secs(1))).build().unwrap();
    assert_eq!(plain.fingerprint(), told.fingerprint());
    assert_ne!(plain.fingerprint(), other.fingerprint());
}
