//! One scan over many files.

use std::sync::Arc;
use std::vec::IntoIter;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::compute::take;

use super::{FilesProgress, FilesSource, Part, in_part};
use crate::schema::{Finder, SchemaReader};
use crate::source::{BatchStream, Predicate, ScanRequest};
use crate::{Error, Result, Schema};

/// The rows of a file with the columns `stored`, under `wanted`.
pub(super) fn reader(stored: &Schema, wanted: &Schema) -> Result<SchemaReader> {
    SchemaReader::new(stored, wanted)
}

/// Places of the parts whose folders do not rule out all of their rows.
pub(super) fn may_hold(parts: &[Part], predicates: &[Predicate]) -> Result<Vec<usize>> {
    let mut kept = Vec::with_capacity(parts.len());
    for (place, part) in parts.iter().enumerate() {
        let known = predicates.iter().filter(|p| part.values.schema_ref().index_of(p.column()).is_ok());
        let mut holds = true;
        for predicate in known {
            holds &= predicate.apply(&part.values)?.num_rows() > 0;
        }
        if holds {
            kept.push(place);
        }
    }
    Ok(kept)
}

pub(super) struct Scan {
    source: FilesSource,
    parts: IntoIter<usize>,
    request: ScanRequest,
    /// What comes out: columns of files and of folders, in the order of the source.
    schema: Schema,
    /// The columns of it that are in the files.
    stored: Schema,
    open: Option<Open>,
    progress: FilesProgress,
}

/// The file that is being read.
struct Open {
    place: usize,
    bytes: u64,
    stream: BatchStream,
    reader: SchemaReader,
}

impl Scan {
    pub(super) fn new(source: FilesSource, parts: Vec<usize>, request: &ScanRequest, schema: Schema) -> Result<Self> {
        let stored = super::partition::without(&schema, &source.partitions)?;
        let mut progress = FilesProgress { files: parts.len(), ..FilesProgress::default() };
        for place in &parts {
            progress.bytes += size(&source.parts[*place])?;
        }
        let parts = parts.into_iter();
        Ok(Self { source, parts, request: request.clone(), schema, stored, open: None, progress })
    }

    fn report(&self) {
        if let Some(watch) = &self.source.settings.watch {
            watch(self.progress);
        }
    }

    /// Opens the next file; false when there is none.
    fn advance(&mut self) -> Result<bool> {
        let Some(place) = self.parts.next() else { return Ok(false) };
        self.report();
        let part = &self.source.parts[place];
        let reader = reader(&part.stored, &self.stored).map_err(|e| in_part(&part.path, e))?;
        let request = self.part_request(part, &reader);
        let told = |e| self.source.settings.shelf.told(e);
        let stream = self.source.part_source(part).and_then(|source| source.scan(&request)).map_err(told)?;
        self.open = Some(Open { place, bytes: size(part)?, stream, reader });
        Ok(true)
    }

    /// What is asked of one file: its columns, and the predicates that mean the same there as on the rows that come out.
    fn part_request(&self, part: &Part, reader: &SchemaReader) -> ScanRequest {
        let request = ScanRequest::all().columns(reader.columns()).batch_rows(self.request.rows_per_batch());
        let same = |predicate: &&Predicate| {
            let (stored, wanted) = (part.stored.field(predicate.column()), self.stored.field(predicate.column()));
            matches!((stored, wanted), (Ok(stored), Ok(wanted)) if stored.data_type() == wanted.data_type())
        };
        self.request.predicates().iter().filter(same).fold(request, |request, p| request.filter(p.clone()))
    }

    fn next_batch(&mut self) -> Result<Option<RecordBatch>> {
        loop {
            let Some(open) = &mut self.open else {
                if self.advance()? {
                    continue;
                }
                return Ok(None);
            };
            if let Some(batch) = open.stream.next() {
                let batch = batch.map_err(|e| self.source.settings.shelf.told(e))?;
                let rows = open.reader.read(&batch)?;
                let values = &self.source.parts[open.place].values;
                return widened(&self.schema, &rows, values).map(Some);
            }
            self.progress.files_done += 1;
            self.progress.bytes_done += open.bytes;
            self.open = None;
            if self.progress.files_done == self.progress.files {
                self.report();
            }
        }
    }
}

fn size(part: &Part) -> Result<u64> {
    Ok(part.info()?.size_bytes.unwrap_or(0))
}

/// `rows` of a file with the columns that its folders say, in the order of `schema`.
fn widened(schema: &Schema, rows: &RecordBatch, values: &RecordBatch) -> Result<RecordBatch> {
    let (mut in_rows, mut in_values) =
        (Finder::of(rows.schema_ref().fields()), Finder::of(values.schema_ref().fields()));
    let repeat = UInt32Array::from(vec![0; rows.num_rows()]);
    let columns = schema.arrow().fields().iter().map(|field| -> Result<ArrayRef> {
        if let Some(place) = in_rows.find(field.name()) {
            return Ok(rows.column(place).clone());
        }
        let place = in_values.find(field.name()).ok_or_else(|| Error::not_found("column", field.name()))?;
        Ok(take(values.column(place), &repeat, None)?)
    });
    let options = RecordBatchOptions::new().with_row_count(Some(rows.num_rows()));
    let columns: Vec<Arc<_>> = columns.collect::<Result<_>>()?;
    Ok(RecordBatch::try_new_with_options(schema.arrow().clone(), columns, &options)?)
}

impl Iterator for Scan {
    type Item = Result<RecordBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_batch().transpose()
    }
}
