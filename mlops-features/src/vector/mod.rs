//! The nearest neighbours of vectors: what is like this, whom does this suit.
//!
//! A feature of type [`ValueType::Vector`](crate::ValueType::Vector) is kept, joined and served like any other.

mod exact;
#[cfg(feature = "vector")]
mod graph;
mod index;
mod metric;
mod top;

pub use exact::ExactIndex;
#[cfg(feature = "vector")]
pub use graph::{GraphIndex, GraphIndexBuilder};
pub use index::{Among, Ask, Hit, VectorIndex};
pub use metric::Metric;
