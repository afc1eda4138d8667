//! Appends to the Parquet history that happen once however often they are tried, while small files become large ones.

use std::collections::BTreeSet;
use std::path::Path;

use mlops_core::{Clock, Digest, Error as Core, SystemClock};
use mlops_features::offline::{AppendOnce, CompactOptions, HistoryRequest, OfflineStore, Once, ParquetStore};
use mlops_features::{Error, FeatureView};

use super::{Asked, Store, Surface};
use crate::Result;
use crate::rows::{self, Row};
use crate::token::Token;

/// Writes of a thread between two compactions.
const COMPACTED_EVERY: u64 = 8;

/// `mlops_features::offline::{AppendOnce, ParquetStore::compact}`.
#[derive(Debug)]
pub struct Compaction;

impl Surface for Compaction {
    fn name(&self) -> &'static str {
        "compaction"
    }

    fn writers(&self) -> u32 {
        2
    }

    fn open(&self, dir: &Path) -> Result<Box<dyn Store>> {
        let store = ParquetStore::open(dir.join("history"))?;
        let open = Open { store, view: rows::view()? };
        open.compact()?;
        Ok(Box::new(open))
    }
}

struct Open {
    store: ParquetStore,
    view: FeatureView,
}

impl Open {
    /// With a short grace: a write here reads footers for far less than a second.
    fn compact(&self) -> Result<()> {
        let options = CompactOptions { files_min: 3, grace_us: 1_000_000, ..CompactOptions::default() };
        match self.store.compact(&self.view, &options, SystemClock.now()) {
            Ok(_) | Err(Error::Core(Core::Busy { .. })) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}

impl Store for Open {
    fn write(&self, token: Token) -> Result<()> {
        let (id, rows) = (Digest::of(token.to_string()), rows::dataset(token)?);
        self.store.append_once(&self.view, &id, &rows)?;
        if !matches!(self.store.append_once(&self.view, &id, &rows)?, Once::Before(_)) {
            return Err(format!("{token} was appended twice").into());
        }
        if token.number.is_multiple_of(COMPACTED_EVERY) { self.compact() } else { Ok(()) }
    }

    fn present(&self, asked: &Asked) -> Result<BTreeSet<Token>> {
        let mut all: Vec<Row> = Vec::new();
        for batch in self.store.scan(&self.view, &HistoryRequest::all())? {
            all.extend(rows::read(&batch?.rows)?);
        }
        rows::whole_writes(&all, asked)
    }
}
