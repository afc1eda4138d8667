//! Which appends carry an id: it stands in the file itself, so that both are there or neither.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use mlops_core::Digest;

use super::footer::{Parts, load};
use super::listing::Span;
use crate::error::{Core, Result};
use crate::offline::{Appended, Watermark};

/// What was read of the footers so far; appends never change, so each is read once.
#[derive(Debug, Default)]
pub(super) struct Ids(Mutex<HashMap<PathBuf, Folder>>);

#[derive(Debug, Default)]
struct Folder {
    /// Number after the last append whose footer was read.
    next: u64,
    appends: HashMap<Digest, Appended>,
}

impl Ids {
    /// The append with this id among those of `folder`, whose files are `spans`, ascending.
    pub(super) fn find(&self, folder: &Path, spans: &[Span], id: &Digest) -> Result<Option<Appended>> {
        let mut folders = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = folders.entry(folder.to_owned()).or_default();
        for span in &spans[spans.partition_point(|span| span.last < known.next)..] {
            let path = folder.join(span.file_name());
            let file = File::open(&path).map_err(|e| Core::io(&path, e))?;
            for part in Parts::read(&load(&file, &path)?, *span, &path)?.iter() {
                let end = Some(Watermark { sequence: part.sequence, rows: part.rows });
                known.appends.extend(part.id.map(|id| (id, Appended { rows: part.rows, end })));
            }
            known.next = span.last.saturating_add(1);
        }
        Ok(known.appends.get(id).copied())
    }
}
