//! Conformance kits: one public function per trait that checks its `# Contract` on fresh instances.
//!
//! Kits panic with the sentence that does not hold, so that they can be called from any test. Every `Flaky…` wrapper
//! injects failures and delays around an implementation, for tests of compositions.

mod as_of;
mod definitions;
mod flaky;
mod offline;
mod online;
mod state;
mod stream;
mod vector_index;
mod vector_log;

pub use as_of::{NestedLoopEngine, as_of_engine};
pub use definitions::definition_store;
pub use flaky::{FlakyOfflineStore, FlakyOnlineStore};
pub use mlops_core::testkit::Faults;
pub use offline::{append_once, offline_store};
pub use online::online_store;
pub use state::state_store;
pub use stream::stream_source;
pub use vector_index::vector_index;
pub use vector_log::vector_log;

/// Runs a future to its end on this thread, for tests of stores that need no runtime.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    crate::wait::block_on(future)
}

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};

use crate::{Entity, FeatureView, KeyType, ValueType};

/// A view `name` of customers with a number and a text.
fn view(name: &str) -> FeatureView {
    let customer = entity();
    let builder = FeatureView::builder(name, customer).created("created");
    builder.feature("score", ValueType::Float64).feature("label", ValueType::Utf8).build().expect("a valid view")
}

fn entity() -> Entity {
    Entity::builder("customer").key("customer_id", KeyType::Int64).build().expect("a valid entity")
}

/// One row of [`view`].
#[derive(Clone, Copy, Debug, PartialEq)]
struct Row {
    key: Option<i64>,
    event_time: i64,
    created: Option<i64>,
    score: Option<f64>,
}

/// A row whose label is its score as text.
const fn row(key: i64, event_time: i64, created: Option<i64>, score: f64) -> Row {
    Row { key: Some(key), event_time, created, score: Some(score) }
}

fn times(values: impl Iterator<Item = Option<i64>>) -> ArrayRef {
    Arc::new(values.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
}

fn batch(rows: &[Row]) -> RecordBatch {
    let label = |row: &Row| row.score.map(|score| score.to_string());
    let columns: [(&str, ArrayRef, bool); 5] = [
        ("customer_id", Arc::new(rows.iter().map(|row| row.key).collect::<Int64Array>()), true),
        ("event_timestamp", times(rows.iter().map(|row| Some(row.event_time))), true),
        ("created", times(rows.iter().map(|row| row.created)), true),
        ("score", Arc::new(rows.iter().map(|row| row.score).collect::<Float64Array>()), true),
        ("label", Arc::new(rows.iter().map(label).collect::<StringArray>()), true),
    ];
    RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length")
}
