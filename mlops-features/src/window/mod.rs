//! Features that are aggregates of events over windows of time.
//!
//! A [`WindowView`] says what is computed of whose events over which stretches of time.

mod bytes;
mod measure;
mod op;
mod plan;
mod span;
mod sum;
mod value;
mod view;

pub use op::{LIST_MAX, Op};
pub use span::{Mode, TimeWindow};
pub use view::{Aggregate, EventColumn, WindowView, WindowViewBuilder};
