//! The entity rows.

use arrow::array::{RecordBatch, TimestampMicrosecondArray};
use mlops_core::source::{BATCH_ROWS_DEFAULT, ScanRequest};
use mlops_core::{Dataset, Schema};

use super::options::Room;
use crate::columns;
use crate::error::Result;
use mlops_core::spill::{Spool, Spooled};

/// Part of the room that entity rows may take.
const SHARE: u64 = 4;

/// All entity rows, each with an instant.
#[derive(Clone, Debug)]
pub(crate) struct Spine {
    schema: Schema,
    /// Position of the instants.
    time: usize,
    rows: u64,
    block_rows: usize,
    content: Content,
    /// Bytes that nobody would hold without the join.
    own_bytes: u64,
}

#[derive(Clone, Debug)]
enum Content {
    Held(Vec<RecordBatch>),
    Filed(Spooled),
}

impl Spine {
    /// Reads `data` once: into memory, and when there is no more room into a file.
    pub(crate) fn read(data: &Dataset, time: &str, room: &Room) -> Result<Self> {
        let schema = data.schema().clone();
        let block_rows = room.block_rows();
        let at = schema.index_of(time)?;
        let mut held: Vec<RecordBatch> = Vec::new();
        let mut spool: Option<Spool> = None;
        let (mut rows, mut own_bytes) = (0, 0);
        let at_once = if data.is_held() { usize::MAX } else { block_rows.max(BATCH_ROWS_DEFAULT) };
        let request = ScanRequest::all().batch_rows(at_once);
        for batch in data.scan(&request)? {
            let batch = batch?;
            let column = batch.column(at);
            columns::ensure_no_nulls(column, time)?;
            columns::micros(column, time)?;
            rows += batch.num_rows() as u64;
            if let Some(spool) = &mut spool {
                write(spool, &batch, block_rows)?;
                continue;
            }
            own_bytes += if data.is_held() { 0 } else { batch.get_array_memory_size() as u64 };
            held.push(batch);
            if own_bytes > room.bytes / SHARE {
                let spool = spool.insert(Spool::create(room.folder(), schema.arrow().clone(), 1)?);
                held.drain(..).try_for_each(|batch| write(spool, &batch, block_rows))?;
                own_bytes = 0;
            }
        }
        let content = spool.map_or(Content::Held(held), |spool| Content::Filed(spool.close()));
        Ok(Self { schema, time: at, rows, block_rows, content, own_bytes })
    }

    pub(super) fn schema(&self) -> &Schema {
        &self.schema
    }

    pub(crate) fn rows(&self) -> u64 {
        self.rows
    }

    pub(crate) fn own_bytes(&self) -> u64 {
        self.own_bytes
    }

    /// All rows in pieces that are handled at once, the same each time.
    pub(crate) fn blocks(&self) -> Box<dyn Iterator<Item = mlops_core::Result<RecordBatch>> + Send> {
        let rows = self.block_rows;
        match &self.content {
            Content::Held(batches) => Box::new(batches.clone().into_iter().flat_map(move |b| cut(&b, rows)).map(Ok)),
            Content::Filed(spooled) => Box::new(spooled.read(0)),
        }
    }

    /// The rows in memory, where they are.
    pub(crate) fn held(&self) -> Option<&[RecordBatch]> {
        match &self.content {
            Content::Held(batches) => Some(batches),
            Content::Filed(_) => None,
        }
    }

    /// The instants of some of the rows.
    pub(crate) fn times(&self, rows: &RecordBatch) -> Result<TimestampMicrosecondArray> {
        columns::micros(rows.column(self.time), self.schema.arrow().field(self.time).name())
    }
}

/// Slices of at most `rows` rows.
pub(crate) fn cut(batch: &RecordBatch, rows: usize) -> Vec<RecordBatch> {
    let starts = (0..batch.num_rows()).step_by(rows);
    starts.map(|start| batch.slice(start, rows.min(batch.num_rows() - start))).collect()
}

fn write(spool: &mut Spool, batch: &RecordBatch, block_rows: usize) -> Result<()> {
    Ok(cut(batch, block_rows).iter().try_for_each(|block| spool.write(0, block))?)
}
