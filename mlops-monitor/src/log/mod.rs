//! What was served, as rows, and which labels came of it.
//!
//! [`PredictionLog`] is the [`Observer`](mlops_core::rank::Observer) that a ranking pipeline hands its answers to; the host
//! drains it into record batches or a sink. [`LabelJoin`] joins those rows with clicks, purchases and whatever else
//! comes later, and gives labelled rows as they mature.

mod join;
mod prediction;
mod read;
mod rows;

pub use join::{JoinCounters, LabelJoin, LabelJoinBuilder, LabelRule};
pub use prediction::{LogCounters, PredictionLog, PredictionLogBuilder};

pub(crate) use read::{integers, numbers, texts, times};

/// Column with the request's id: 32 lower-case hex digits.
pub const REQUEST_ID: &str = "request_id";
/// Column with the instant as of which the request was answered.
pub const EVENT_TIME: &str = "event_time";
/// Column with the place in the answer, from 0.
pub const POSITION: &str = "position";
/// Column with the blended score that the answer is ordered by.
pub const SCORE: &str = "score";
/// Column with the time from query to answer in µs.
pub const TOOK_US: &str = "took_us";
/// Column with the names of stages that were late or skipped, separated by commas; null where there were none.
pub const DEGRADED: &str = "degraded";

/// Column with the score of one objective.
pub fn score_column(objective: &str) -> String {
    format!("score_{objective}")
}

/// Column with the version of the model behind one objective.
pub fn version_column(objective: &str) -> String {
    format!("version_{objective}")
}

/// Rows after which a batch is closed; one request is never cut in two.
pub(crate) const BATCH_ROWS: usize = 8_192;

/// Longest name of a group in bytes; a longer one is no group.
pub(crate) const GROUP_BYTES_MAX: usize = read::KEY_BYTES_MAX;
