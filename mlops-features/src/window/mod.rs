//! Features that are aggregates of events over windows of time.
//!
//! A [`WindowView`] says what is computed of whose events over which stretches of time.

mod bytes;
mod events;
mod measure;
mod op;
#[cfg(test)]
mod oracle;
mod output;
mod plan;
mod sliding;
mod span;
mod state;
mod sum;
mod value;
mod view;

pub use events::Events;
pub use op::{LIST_MAX, Op};
pub(crate) use output::column;
pub use span::{Mode, TimeWindow};
pub use state::{Update, WindowState};
pub(crate) use value::Cell;
pub use view::{Aggregate, EventColumn, WindowView, WindowViewBuilder};
