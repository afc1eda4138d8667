//! What is asked of a ranking pipeline.

use std::fmt;

use arrow::array::RecordBatch;

use crate::time::EventTime;
use crate::{Error, Result};

/// Identifies one request; written as 32 lower-case hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub u128);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// One request: who asks, when, and for how many.
#[derive(Clone, Debug)]
pub struct Query {
    id: RequestId,
    at: EventTime,
    context: RecordBatch,
    limit: usize,
}

impl Query {
    /// A request with one row of context: the keys of the asker and whatever else is known of the request.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `context` has not exactly one row, or `limit` is 0.
    pub fn new(id: RequestId, at: EventTime, context: RecordBatch, limit: usize) -> Result<Self> {
        if context.num_rows() != 1 {
            return Err(Error::invalid("context rows", context.num_rows(), "exactly one row"));
        }
        if limit == 0 {
            return Err(Error::invalid("limit", limit, "at least 1"));
        }
        Ok(Self { id, at, context, limit })
    }

    /// Identity of the request.
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// The instant as of which features are read.
    pub fn at(&self) -> EventTime {
        self.at
    }

    /// One row: keys and request-time columns.
    pub fn context(&self) -> &RecordBatch {
        &self.context
    }

    /// How many candidates are wanted.
    pub fn limit(&self) -> usize {
        self.limit
    }
}
