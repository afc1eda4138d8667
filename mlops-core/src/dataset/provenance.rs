//! What a data set was made from, and by what.

use serde::{Deserialize, Serialize};

use crate::time::EventTime;
use crate::{Digest, Name};

/// One edge bundle of the lineage graph: these parents went through this operation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Digests of what was read.
    pub parents: Vec<Digest>,
    /// The step or transform.
    pub operation: Name,
    /// Its settings.
    pub parameters: serde_json::Value,
    /// Version of the code that ran it.
    pub code_version: String,
    /// When it ran.
    pub at: EventTime,
}
