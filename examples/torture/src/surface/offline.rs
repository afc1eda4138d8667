//! Appends to the Parquet history, from two threads at once.

use std::collections::BTreeSet;
use std::path::Path;

use mlops_features::FeatureView;
use mlops_features::offline::{HistoryRequest, OfflineStore, ParquetStore};

use super::{Asked, Store, Surface};
use crate::Result;
use crate::rows::{self, Row};
use crate::token::Token;

/// `mlops_features::offline::ParquetStore`.
#[derive(Debug)]
pub struct Offline;

impl Surface for Offline {
    fn name(&self) -> &'static str {
        "offline"
    }

    fn writers(&self) -> u32 {
        2
    }

    fn open(&self, dir: &Path) -> Result<Box<dyn Store>> {
        Ok(Box::new(Open { store: ParquetStore::open(dir.join("history"))?, view: rows::view()? }))
    }
}

struct Open {
    store: ParquetStore,
    view: FeatureView,
}

impl Store for Open {
    fn write(&self, token: Token) -> Result<()> {
        self.store.append(&self.view, &rows::dataset(token)?)?;
        Ok(())
    }

    fn present(&self, asked: &Asked) -> Result<BTreeSet<Token>> {
        let mut all: Vec<Row> = Vec::new();
        for batch in self.store.scan(&self.view, &HistoryRequest::all())? {
            all.extend(rows::read(&batch?.rows)?);
        }
        rows::whole_writes(&all, asked)
    }
}
