//! Trainers from the linfa family.
//!
//! What they learn is kept in this crate's own data-only flavors, so a service that only scores needs no linfa.

mod elastic_net;
mod logistic;
mod matrix;
mod tree;

pub use elastic_net::{ElasticNetBuilder, ElasticNetTrainer};
pub use logistic::{LogisticBuilder, LogisticTrainer};
pub use tree::{DecisionTreeBuilder, DecisionTreeTrainer};
