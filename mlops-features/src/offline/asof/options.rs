//! Settings of an as-of join.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Bytes that a join may hold where nothing was said.
const MEMORY_BYTES_DEFAULT: u64 = 1 << 30;

/// Settings of an as-of join.
///
/// The first three say what the answer is; the last two only how it is made, and leave every value as it is.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AsOfOptions {
    event_time: Option<String>,
    as_known: bool,
    full_names: bool,
    #[serde(skip_serializing_if = "is_default_memory")]
    memory_bytes: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    spill_folder: Option<PathBuf>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn is_default_memory(bytes: &u64) -> bool {
    *bytes == MEMORY_BYTES_DEFAULT
}

impl Default for AsOfOptions {
    fn default() -> Self {
        Self {
            event_time: None,
            as_known: false,
            full_names: false,
            memory_bytes: MEMORY_BYTES_DEFAULT,
            spill_folder: None,
        }
    }
}

impl AsOfOptions {
    /// The defaults, stated at each setting.
    pub fn new() -> Self {
        Self::default()
    }

    /// Column of the entity rows with the instant of each. Default: the one with role
    /// [`EventTime`](mlops_core::schema::Role::EventTime), else `event_timestamp`, else the only timestamp.
    pub fn event_time(mut self, column: impl Into<String>) -> Self {
        self.event_time = Some(column.into());
        self
    }

    /// Whether a feature row must also have been known: created at or before the instant. A row without a created time is
    /// then never chosen; a view without such a column counts as known when true. Events of window views have none: a training
    /// set of a service with live windows counts them from when they happened, and a
    /// [`window_join`](crate::window::window_join) by itself refuses the setting. Default false.
    pub fn as_known(mut self, as_known: bool) -> Self {
        self.as_known = as_known;
        self
    }

    /// Whether feature columns are called `view__feature` instead of `feature`. Default false.
    pub fn full_names(mut self, full_names: bool) -> Self {
        self.full_names = full_names;
        self
    }

    /// Bytes that the join may hold, its result included; what is beyond waits in files without a name. Default 1 GiB.
    ///
    /// Rows that the caller holds in memory anyway do not count, nor do the few batches that sources decode at a time.
    /// Any number works, however small: it only costs time.
    pub fn memory_bytes(mut self, bytes: u64) -> Self {
        self.memory_bytes = bytes;
        self
    }

    /// Folder for files without a name. Default: the system's folder for temporary files; where that is kept in memory, as
    /// some systems do, name another one.
    pub fn spill_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.spill_folder = Some(folder.into());
        self
    }

    pub(crate) fn time_column(&self) -> Option<&str> {
        self.event_time.as_deref()
    }

    /// Whether feature rows must have been known.
    pub fn is_as_known(&self) -> bool {
        self.as_known
    }

    /// Whether columns are called `view__feature`.
    pub fn has_full_names(&self) -> bool {
        self.full_names
    }

    pub(crate) fn room(&self) -> Room {
        let folder = self.spill_folder.clone().unwrap_or_else(std::env::temp_dir);
        Room { bytes: self.memory_bytes, folder }
    }
}

/// How much memory there is, and where to go when it is used up.
#[derive(Clone, Debug)]
pub(crate) struct Room {
    pub(crate) bytes: u64,
    folder: PathBuf,
}

/// Most rows that are handled at once: large enough to keep the cost per batch away, small enough to stay in the cache.
const BLOCK_ROWS_MAX: u64 = 65_536;

impl Room {
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Rows that are handled at once.
    pub(crate) fn block_rows(&self) -> usize {
        (self.bytes / 4096).clamp(1, BLOCK_ROWS_MAX) as usize
    }

    /// How many things of `bytes` each fit into `share` of the room, at least one.
    pub(crate) fn count(share: u64, bytes: u64) -> usize {
        usize::try_from(share / bytes.max(1)).unwrap_or(usize::MAX).max(1)
    }
}
