//! One revision as a sealed document.

use mlops_core::catalog::Revision;
use mlops_core::document::{open, seal};
use serde::{Deserialize, Serialize};

use crate::definitions::Deployment;
use crate::error::{Core, Result};

/// Bytes of one revision at the most.
pub(super) const REVISION_BYTES_MAX: u64 = 128 << 20;

/// Format of documents as they are written.
const FORMAT: u64 = 1;

#[derive(Serialize)]
struct Written<'a> {
    revision: Revision,
    deployment: &'a Deployment,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    revision: Revision,
    deployment: Deployment,
}

/// # Errors
/// `Core(Invalid)` when it is longer than [`REVISION_BYTES_MAX`].
pub(super) fn write(deployment: &Deployment, revision: Revision) -> Result<String> {
    Ok(seal("definitions", FORMAT, &Written { revision, deployment }, REVISION_BYTES_MAX)?)
}

/// The deployment in `bytes`, which are called `what` in errors.
///
/// # Errors
/// `Core(InvalidData)` for a later format, `Core(Corrupt)` when it is not what was written as `revision`.
pub(super) fn read(what: &str, bytes: &[u8], revision: Revision) -> Result<Deployment> {
    let (_, stored): (u64, Stored) = open(what, bytes, 1..=FORMAT, REVISION_BYTES_MAX)?;
    if stored.revision != revision {
        return Err(Core::corrupt(what, format!("it holds revision {}", stored.revision)).into());
    }
    Ok(stored.deployment)
}
