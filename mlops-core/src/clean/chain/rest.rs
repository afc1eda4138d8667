//! Rows that wait between two stages.

use std::sync::{Mutex, PoisonError};

use super::super::Watch;
use crate::source::{BatchStream, DataSource, ScanRequest, SourceInfo};
use crate::spill::{Closed, Shelf};
use crate::{Dataset, Result, Schema};

/// The rows of `data`, read once at the first scan, unless the host wants to stop, and held for all others.
pub(super) fn rested(data: &Dataset, bytes_max: u64, watch: &Watch) -> Result<Dataset> {
    let (info, schema) = (data.info()?, data.schema().clone());
    let watch = watch.clone();
    let rest = Rest { info, schema, bytes_max, watch, rows: Mutex::new(Rows::Awaited(data.clone())) };
    Dataset::from_source(std::sync::Arc::new(rest))
}

#[derive(Debug)]
struct Rest {
    info: SourceInfo,
    schema: Schema,
    bytes_max: u64,
    watch: Watch,
    rows: Mutex<Rows>,
}

#[derive(Debug)]
enum Rows {
    Awaited(Dataset),
    Here(Closed),
}

impl Rest {
    fn rows(&self) -> Result<Closed> {
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = match &*rows {
            Rows::Here(closed) => return Ok(closed.clone()),
            Rows::Awaited(data) => {
                let mut shelf = Shelf::new(self.schema.arrow().clone(), self.bytes_max);
                for batch in data.batches()? {
                    self.watch.check()?;
                    shelf.push(&batch?)?;
                }
                shelf.close()
            }
        };
        // What came before is let go of.
        *rows = Rows::Here(closed.clone());
        Ok(closed)
    }
}

impl DataSource for Rest {
    fn info(&self) -> Result<SourceInfo> {
        Ok(self.info.clone())
    }

    fn schema(&self) -> Result<Schema> {
        Ok(self.schema.clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        request.finish(BatchStream::new(self.schema.clone(), self.rows()?.open()))
    }
}
