//! The doors through which rows come in: checks, statistics, and pushes between materializations.
//!
//! A [`Gate`] says what rows must be and keeps statistics of those that came in; [`materialize`](crate::Materializer), a
//! [`Push`] and a [`StreamIngest`](crate::stream::StreamIngest) all let rows through one.

mod checks;
mod gate;
mod push;
pub mod statistics;

pub use checks::Checks;
pub(crate) use checks::Passed;
pub use gate::Gate;
pub use push::{Push, PushBuilder, PushReport, Target};
