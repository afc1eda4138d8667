//! What a run tells while it runs.

use serde::{Deserialize, Serialize};

use crate::{Digest, Name};

/// Something that happened to a step.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
#[non_exhaustive]
pub enum RunEvent {
    /// A try begins.
    Started {
        /// The step.
        step: Name,
        /// Number of the try, from 1.
        attempt: u32,
    },
    /// A step said how far it is.
    Progress {
        /// The step.
        step: Name,
        /// From 0 to 1.
        fraction: f64,
    },
    /// A try failed, and another follows after a wait.
    Retrying {
        /// The step.
        step: Name,
        /// Number of the try that failed.
        attempt: u32,
        /// The wait in microseconds.
        wait_us: u64,
        /// Why it failed.
        error: String,
    },
    /// The output is stored and will be there after a crash.
    Finished {
        /// The step.
        step: Name,
        /// Digest of the output.
        digest: Digest,
        /// Time from the first try to the stored output, in microseconds.
        took_us: u64,
    },
    /// The output was there already.
    Cached {
        /// The step.
        step: Name,
        /// Digest of the output.
        digest: Digest,
    },
    /// What was stored of a step cannot be used; the step runs again.
    Damaged {
        /// The step.
        step: Name,
        /// What is wrong with it.
        reason: String,
    },
    /// Every try failed.
    Failed {
        /// The step.
        step: Name,
        /// Why the last one did.
        error: String,
    },
    /// The step was not tried.
    Skipped {
        /// The step.
        step: Name,
        /// Why.
        because: Skip,
    },
}

impl RunEvent {
    /// The step that it is about.
    pub fn step(&self) -> &Name {
        match self {
            Self::Started { step, .. }
            | Self::Progress { step, .. }
            | Self::Retrying { step, .. }
            | Self::Finished { step, .. }
            | Self::Cached { step, .. }
            | Self::Damaged { step, .. }
            | Self::Failed { step, .. }
            | Self::Skipped { step, .. } => step,
        }
    }
}

/// Why a step was not tried.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Skip {
    /// This step, which it depends on, has no output.
    Needs(Name),
    /// The host wanted to stop.
    Cancelled,
}
