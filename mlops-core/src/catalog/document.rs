//! The documents of a catalog.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::catalog::{Entry, Revision};
use crate::document::{self, DOCUMENT_BYTES_MAX};
use crate::{Error, Result};

/// Bytes of one entry's document at the most.
pub const ENTRY_BYTES_MAX: u64 = DOCUMENT_BYTES_MAX;

/// Format of documents as they are written. Format 1 knew neither statistics nor refresh periods nor licences.
const FORMAT: u64 = 2;
const FORMATS: std::ops::RangeInclusive<u64> = 1..=FORMAT;

#[derive(Serialize)]
struct Written<'a> {
    revision: Revision,
    entry: &'a Entry,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    revision: Revision,
    entry: Entry,
}

/// The document of `entry` as `revision`.
///
/// # Errors
/// [`Error::Invalid`] when it is longer than [`ENTRY_BYTES_MAX`], [`Error::InvalidData`] when the entry has no JSON form.
pub(super) fn write(entry: &Entry, revision: Revision) -> Result<String> {
    let what = format!("entry `{}`", entry.name);
    document::seal(&what, FORMAT, &Written { revision, entry }, ENTRY_BYTES_MAX).map_err(|error| match error {
        Error::Invalid { .. } => Error::invalid("entry", &entry.name, "at most 16 MiB as JSON"),
        other => other,
    })
}

/// Revision and entry of the document in the file at `path`.
///
/// # Errors
/// As [`read`], and [`Error::Io`] when the file cannot be read.
pub(super) fn read_file(path: &Path) -> Result<(u64, Entry)> {
    read(&path.display().to_string(), &document::read_file(path, ENTRY_BYTES_MAX)?)
}

/// Revision and entry of a document whose bytes are called `what` in errors.
///
/// # Errors
/// [`Error::InvalidData`] for a later format, [`Error::Corrupt`] when the bytes are not those that were written.
pub(super) fn read(what: &str, bytes: &[u8]) -> Result<(u64, Entry)> {
    let (_, stored): (u64, Stored) = document::open(what, bytes, FORMATS, ENTRY_BYTES_MAX)?;
    Ok((stored.revision.0, stored.entry))
}
