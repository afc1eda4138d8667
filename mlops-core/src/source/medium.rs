//! What may stand in for a local file.

use std::fmt::Debug;
use std::io::{Read, Seek};
use std::path::Path;
use std::sync::Arc;

use super::{SourceInfo, local};
use crate::Result;

/// Bytes that can be read from any place on.
pub(super) trait ReadSeek: Read + Seek + Send {}

impl<T: Read + Seek + Send> ReadSeek for T {}

/// A place of bytes that is no local file. Its readers fail with an [`Error`](crate::Error) inside of the `io::Error`.
pub(super) trait Medium: Debug + Send + Sync + 'static {
    /// Opens the bytes at their beginning.
    fn open(&self) -> Result<Box<dyn ReadSeek>>;

    /// Format, place, size and last change.
    fn info(&self, format: &str) -> Result<SourceInfo>;
}

/// What is read in place of the file that a path names; the path is for messages then.
pub(super) type StandIn = Option<Arc<dyn Medium>>;

/// Opens what stands in for `path`, or the file.
pub(super) fn open(path: &Path, stand_in: &StandIn) -> Result<Box<dyn ReadSeek>> {
    match stand_in {
        Some(medium) => medium.open(),
        None => Ok(Box::new(local::open(path)?)),
    }
}

/// Format, place, size and last change of what stands in for `path`, or of the file.
pub(super) fn info(path: &Path, format: &str, stand_in: &StandIn) -> Result<SourceInfo> {
    match stand_in {
        Some(medium) => medium.info(format),
        None => local::info(path, format),
    }
}
