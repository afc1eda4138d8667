//! The public API, as a host uses it.

mod backfilling;
#[cfg(feature = "yaml")]
mod bad_definitions;
mod bad_files;
mod bad_input;
mod bad_stores;
mod bad_windows;
mod compacting;
mod definitions;
mod derived;
mod feast;
#[cfg(feature = "server")]
mod http;
mod incoming;
mod kits;
mod living;
mod materializing;
#[cfg(feature = "nats")]
mod nats;
mod on_demand;
mod policies;
mod postgres;
mod redis;
mod retrieving;
#[cfg(feature = "server")]
mod searching;
mod serving;
mod skew;
mod sqlite;
mod streaming;
#[cfg(feature = "vector")]
mod vectors;
mod wide;

use std::sync::Arc;

use mlops_core::Dataset;
use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, TimestampMicrosecondArray};
use mlops_features::{Entity, FeatureView, FeatureViewBuilder, KeyType, ValueType};

fn times(micros: &[i64]) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from(micros.to_vec()).with_timezone("UTC"))
}

fn ints(values: &[i64]) -> ArrayRef {
    Arc::new(Int64Array::from(values.to_vec()))
}

/// A view of entities with the key `key`, with one feature of its own name.
fn builder(name: &str, key: &str) -> FeatureViewBuilder {
    let entity = Entity::builder(key.trim_end_matches("_id")).key(key, KeyType::Int64).build().unwrap();
    FeatureView::builder(name, entity).feature(name, ValueType::Float64)
}

/// Rows of such a view: key, event time, value.
fn rows(view: &FeatureView, rows: &[(i64, i64, Option<f64>)]) -> RecordBatch {
    let key = view.entity().keys()[0].name.to_string();
    RecordBatch::try_from_iter_with_nullable([
        (key, ints(&rows.iter().map(|r| r.0).collect::<Vec<_>>()), true),
        ("event_timestamp".to_owned(), times(&rows.iter().map(|r| r.1).collect::<Vec<_>>()), true),
        (view.name().to_string(), Arc::new(rows.iter().map(|r| r.2).collect::<Float64Array>()) as ArrayRef, true),
    ])
    .unwrap()
}

fn data(view: &FeatureView, content: &[(i64, i64, Option<f64>)]) -> Dataset {
    Dataset::from_batches([rows(view, content)]).unwrap()
}
