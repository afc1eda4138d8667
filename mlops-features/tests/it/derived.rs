//! Stored views that are computed from the history of others.

use mlops_core::arrow::array::AsArray;
use mlops_core::arrow::datatypes::{Float64Type, Int64Type, TimestampMicrosecondType};
use mlops_features::offline::{HistoryRequest, OfflineStore};
use mlops_features::{DerivedView, FeatureView, OnDemandView, ValueType};

use crate::skew::{World, view};

#[test]
fn a_stored_view_is_computed_from_the_history_of_others() {
    let world = World::new();
    world.stored(&[(1, 10, 12, Some(1.0)), (2, 20, 21, None), (1, 30, 33, Some(3.0))]);
    let half = OnDemandView::builder("half")
        .input("ctr", ValueType::Float64, "ctr:ctr")
        .column("user_id", ValueType::Int64)
        .feature("half", "ctr / 2")
        .feature("late_by", "seconds_between(now(), time(user_id))")
        .build()
        .unwrap();
    let target = |of: ValueType| {
        FeatureView::builder("halves", view().entity().clone())
            .feature("half", of)
            .feature("late_by", ValueType::Float64)
            .event_time("at")
            .created("computed")
            .build()
            .unwrap()
    };
    let derived = DerivedView::new(target(ValueType::Float64), "ctr", &[view()], &[half.clone()]).unwrap();
    let done = derived.extend(&world.offline, None, 2).unwrap();
    assert_eq!(done.rows, 3);
    world.stored(&[(2, 5, 40, Some(8.0))]);
    let more = derived.extend(&world.offline, done.end, 1_000).unwrap();
    assert_eq!(more.rows, 1, "only what came in since");
    assert_eq!(derived.extend(&world.offline, more.end, 1_000).unwrap().rows, 0);
    let request = HistoryRequest::all();
    let history = world.offline.scan(derived.target(), &request).unwrap();
    let mut seen: Vec<(i64, i64, Option<u64>)> = Vec::new();
    for batch in history {
        let batch = batch.unwrap().rows;
        let keys = batch["user_id"].as_primitive::<Int64Type>().clone();
        let at = batch["at"].as_primitive::<TimestampMicrosecondType>().clone();
        let half = batch["half"].as_primitive::<Float64Type>().clone();
        let rows = half.iter().enumerate().map(|(row, v)| (keys.value(row), at.value(row), v.map(f64::to_bits)));
        seen.extend(rows);
    }
    let bits = |value: f64| Some(value.to_bits());
    assert_eq!(seen, [(1, 10, bits(0.5)), (2, 20, None), (1, 30, bits(1.5)), (2, 5, bits(4.0))]);
    let error = |target, on_demand: &[OnDemandView]| {
        DerivedView::new(target, "ctr", &[view()], on_demand).unwrap_err().to_string()
    };
    assert!(error(target(ValueType::Int64), &[half.clone()]).contains("halves:half"));
    assert!(error(target(ValueType::Float64), &[]).contains("halves:half"));
    let asks = OnDemandView::builder("half")
        .column("boost", ValueType::Float64)
        .feature("half", "boost / 2")
        .feature("late_by", "boost")
        .build();
    assert!(error(target(ValueType::Float64), &[asks.unwrap()]).contains("boost"));
}
