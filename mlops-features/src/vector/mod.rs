//! The nearest neighbours of vectors: what is like this, whom does this suit.
//!
//! A feature of type [`ValueType::Vector`](crate::ValueType::Vector) is kept, joined and served like any other. A
//! [`VectorStore`] besides finds the keys whose vectors are nearest to others, by an index that compares everything
//! ([`ExactIndex`]) or, behind the feature `vector`, one that walks through a graph (`GraphIndex`). An [`IndexedStore`] keeps
//! it in step with the online store; [`NearestCandidates`] makes a stage of a ranking of it.
//!
//! The index is derived: nothing of it is kept on disk, so nothing of it can be lost, damaged or trusted wrongly. A service
//! fills it from history when it starts.

mod candidates;
mod exact;
mod fill;
#[cfg(feature = "vector")]
mod graph;
mod index;
mod indexed;
mod keys;
mod metric;
mod nearest;
mod rows;
mod store;
mod table;
mod top;
mod turn;

pub use candidates::NearestCandidates;
pub use exact::ExactIndex;
pub use fill::FillReport;
#[cfg(feature = "vector")]
pub use graph::{GraphIndex, GraphIndexBuilder};
pub use index::{Among, Ask, Hit, VectorIndex};
pub use indexed::IndexedStore;
pub use metric::Metric;
pub use nearest::{NEIGHBOURS_MAX, Neighbours, Search};
pub use rows::Unusable;
pub use store::VectorStore;
