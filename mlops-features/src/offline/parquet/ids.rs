//! Which appends carry an id: it stands in the file itself, so that both are there or neither.

use std::collections::HashMap;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use mlops_core::Digest;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};

use super::file_name;
use crate::error::{Core, Result};
use crate::offline::{Appended, Watermark};

/// Under which the footer of a file has its id.
pub(super) const ID_KEY: &str = "mlops.append";

/// What was read of the footers so far; files never change, so each is read once.
#[derive(Debug, Default)]
pub(super) struct Ids(Mutex<HashMap<PathBuf, Folder>>);

#[derive(Debug, Default)]
struct Folder {
    /// Number after the last append whose footer was read.
    next: u64,
    appends: HashMap<Digest, Appended>,
}

impl Ids {
    /// The append with this id among those of `folder`, whose numbers ascend.
    pub(super) fn find(&self, folder: &Path, numbers: &[u64], id: &Digest) -> Result<Option<Appended>> {
        let mut folders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = folders.entry(folder.to_owned()).or_default();
        for number in &numbers[numbers.partition_point(|number| *number < known.next)..] {
            if let Some((id, appended)) = read(&folder.join(file_name(*number)), *number)? {
                known.appends.insert(id, appended);
            }
            known.next = number.saturating_add(1);
        }
        Ok(known.appends.get(id).copied())
    }
}

fn read(path: &Path, sequence: u64) -> Result<Option<(Digest, Appended)>> {
    let file = File::open(path).map_err(|e| Core::io(path, e))?;
    let damaged = |reason: String| Core::corrupt(path.display().to_string(), reason);
    // The decoder of footers checks most of what a damaged one can do to it, but not all.
    let load = || ArrowReaderMetadata::load(&file, ArrowReaderOptions::default());
    let footer =
        catch_unwind(AssertUnwindSafe(load)).map_err(|_| damaged("its footer contradicts itself".to_owned()))?;
    let footer = footer.map_err(|e| damaged(e.to_string()))?;
    let metadata = footer.metadata().file_metadata();
    let mut pairs = metadata.key_value_metadata().into_iter().flatten();
    let Some(text) = pairs.find(|pair| pair.key == ID_KEY).and_then(|pair| pair.value.as_ref()) else {
        return Ok(None);
    };
    let id = text.parse::<Digest>().map_err(|e| damaged(e.to_string()))?;
    let rows = u64::try_from(metadata.num_rows()).map_err(|e| damaged(e.to_string()))?;
    Ok(Some((id, Appended { rows, end: Some(Watermark { sequence, rows }) })))
}
