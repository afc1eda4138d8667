use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::define::{KeyType, ValueType};

/// A view as the first version of this crate wrote it.
const FIRST_FORM: &str = r#"{
    "name": "clicks",
    "entity": {"name": "customer", "keys": [{"name": "customer_id", "type": "int64"}]},
    "features": [{"name": "ctr", "type": "float64", "sensitivity": "internal"}],
    "ttl_us": 9000000,
    "event_time": "event_timestamp"
}"#;

fn builder() -> FeatureViewBuilder {
    let customer = Entity::builder("customer").key("customer_id", KeyType::Int64).build().unwrap();
    FeatureView::builder("clicks", customer).ttl(Duration::from_secs(9))
}

fn plain() -> FeatureViewBuilder {
    builder().feature("ctr", ValueType::Float64)
}

fn with_default(value: impl Into<Value>) -> FeatureViewBuilder {
    builder().with(Feature::new("ctr", ValueType::Float64).unwrap().default_value(value))
}

#[test]
fn forms_of_the_first_version_are_read_and_written_alike() {
    let view: FeatureView = serde_json::from_str(FIRST_FORM).unwrap();
    assert_eq!(view, plain().build().unwrap());
    assert_eq!((view.policy(), view.freshness(), view.batch(), view.stream()), (StatusPolicy::Null, None, None, None));
    let first: Value = serde_json::from_str(FIRST_FORM).unwrap();
    assert_eq!(serde_json::to_value(&view).unwrap(), first);
}

#[test]
fn everything_survives_json() {
    let full = with_default(0.5)
        .policy(StatusPolicy::Default)
        .freshness(Duration::from_secs(60))
        .batch(BatchOrigin::catalog("clicks.daily").unwrap())
        .stream(StreamOrigin::push("clicks").unwrap())
        .owner("growth")
        .tag("tier", "gold")
        .description("clicks by day")
        .build()
        .unwrap();
    let text = serde_json::to_string(&full).unwrap();
    let read: FeatureView = serde_json::from_str(&text).unwrap();
    assert_eq!((&read, read.fingerprint()), (&full, full.fingerprint()));
    assert_eq!(read.freshness(), Some(Duration::from_secs(60)));
    assert_eq!(read.features()[0].default, Some(json!(0.5)));
    for (good, bad) in [("\"policy\":\"default\"", "\"policy\":\"guess\""), ("60000000", "0"), ("0.5", "\"half\"")] {
        assert!(serde_json::from_str::<FeatureView>(&text.replace(good, bad)).is_err(), "{bad}");
    }
}

#[test]
fn a_default_needs_the_policy_that_serves_it() {
    for bad in [with_default(0.5), with_default(0.5).policy(StatusPolicy::Stale), plain().policy(StatusPolicy::Default)]
    {
        let error = bad.build().unwrap_err().to_string();
        assert!(error.contains("status policy"), "{error}");
    }
    let wrong = with_default("half").policy(StatusPolicy::Default).build().unwrap_err().to_string();
    assert!(wrong.contains("`ctr`") && wrong.contains("float64"), "{wrong}");
}

#[test]
fn words_leave_the_fingerprint_alone_and_what_is_served_does_not() {
    let told = plain().build().unwrap().fingerprint();
    let described = Entity::builder("customer").key("customer_id", KeyType::Int64).description("who pays");
    let words = FeatureView::builder("clicks", described.build().unwrap())
        .ttl(Duration::from_secs(9))
        .with(Feature::new("ctr", ValueType::Float64).unwrap().describe("rate"))
        .freshness(Duration::from_secs(1))
        .batch(BatchOrigin::catalog("clicks").unwrap())
        .owner("growth");
    assert_eq!(words.build().unwrap().fingerprint(), told);
    let stale = plain().policy(StatusPolicy::Stale).build().unwrap().fingerprint();
    let zero = with_default(0).policy(StatusPolicy::Default).build().unwrap().fingerprint();
    let one = with_default(1).policy(StatusPolicy::Default).build().unwrap().fingerprint();
    let all = [told, stale, zero, one];
    assert!((0..4).all(|i| (0..i).all(|j| all[i] != all[j])), "{all:?}");
}
