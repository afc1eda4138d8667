//! Features that are aggregates of events over windows of time: sums of the last hour, counts of the last week, the last ten
//! different items of a lifetime.
//!
//! A [`WindowView`] says what is computed ([`Op`]) of whose events over which stretches of time ([`TimeWindow`]). Two things
//! run on it, and give the same values bit for bit:
//!
//! * [`window_join`] over history, for training: each entity row with the aggregates at its instant;
//! * [`WindowState`] over a stream, for serving: per key, events in and features out; its [rows](WindowView::rows) go to any
//!   [online store](crate::online) under the view's [feature view](WindowView::feature_view).
//!
//! Both are made of the same partial aggregates. Sums are exact, so that a sum that slides over a million values ends as it
//! would have begun, and the order in which events come changes nothing. Where sketches are no longer exact (quantiles
//! beyond `k` values, frequent items beyond three quarters of their capacity) two ways of cutting the same events agree within
//! the error of the sketch only.

mod aligned;
mod bytes;
mod column;
mod events;
mod join;
mod measure;
mod op;
#[cfg(test)]
mod oracle;
mod output;
mod plan;
mod prefix;
mod sliding;
mod span;
mod state;
mod sum;
mod value;
mod view;

pub use events::Events;
pub use join::{WindowJoin, window_join};
pub use op::{LIST_MAX, Op};
pub(crate) use output::column;
pub use span::{Mode, TimeWindow};
pub use state::{Update, WindowState};
pub(crate) use value::Cell;
pub use view::{Aggregate, EventColumn, WindowView, WindowViewBuilder};
