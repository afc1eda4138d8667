//! Parquet in a store: the footer first, then the pages of the columns and row groups that are asked for.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::push_decoder::ParquetPushDecoderBuilder;
use parquet::errors::ParquetError;
use parquet::file::metadata::{PageIndexPolicy, ParquetMetaData, ParquetMetaDataPushDecoder};

use super::reader::Object;
use super::remote::Found;
use crate::schema::Finder;
use crate::source::guard::guard;
use crate::source::local::{in_file, shown};
use crate::source::medium::Medium;
use crate::source::parquet::{Scan, ensure_adds_up, row_groups};
use crate::source::{BatchStream, DataSource, ScanRequest, SourceInfo};
use crate::{Error, Result, Schema};

/// Bytes at the end of an object that are read first: most footers lie within.
const TAIL_BYTES: u64 = 64 << 10;

/// Bytes of a footer at the most.
const FOOTER_BYTES_MAX: u64 = 256 << 20;

/// Rows of a Parquet object. Holds the columns asked for of one row group in memory.
#[derive(Debug)]
pub(super) struct ParquetObject {
    object: Object,
    schema: Schema,
    stored: Schema,
}

impl ParquetObject {
    pub(super) fn open(object: Object, schema: Option<Schema>) -> Result<Self> {
        let stored = Footer::read(&object)?.schema;
        let schema = match schema {
            Some(schema) => {
                stored.ensure_provides(&schema)?;
                schema
            }
            None => stored.clone(),
        };
        Ok(Self { object, schema, stored })
    }
}

struct Footer {
    found: Found,
    builder: ParquetPushDecoderBuilder,
    schema: Schema,
}

impl Footer {
    fn read(object: &Object) -> Result<Self> {
        let (found, path) = (object.find()?, object.path());
        let metadata = metadata(object, &found)?;
        ensure_adds_up(&path, &metadata)?;
        let builder = guard(&path, || ParquetPushDecoderBuilder::try_new_decoder(Arc::new(metadata)))?;
        let schema = Schema::new(builder.schema().clone()).map_err(|e| in_file(&path, e))?;
        Ok(Self { found, builder, schema })
    }
}

fn metadata(object: &Object, found: &Found) -> Result<ParquetMetaData> {
    let (path, size) = (object.path(), found.meta.size);
    let mut decoder = guard(&path, || {
        ParquetMetaDataPushDecoder::try_new(size).map(|d| d.with_page_index_policy(PageIndexPolicy::Skip))
    })?;
    let mut wanted: Vec<Range<u64>> = std::iter::once(size.saturating_sub(TAIL_BYTES)..size).collect();
    loop {
        let total: u64 = wanted.iter().map(|range| range.end.saturating_sub(range.start)).sum();
        if total > FOOTER_BYTES_MAX {
            return Err(Error::invalid_data(shown(&path), format!("a footer of more than {FOOTER_BYTES_MAX} bytes")));
        }
        let pieces = fetch(object, found, &wanted)?;
        match guard(&path, || decoder.push_ranges(wanted, pieces).and_then(|()| decoder.try_decode()))? {
            DecodeResult::NeedsData(more) => wanted = more,
            DecodeResult::Data(metadata) => return Ok(metadata),
            DecodeResult::Finished => return Err(Error::invalid_data(shown(&path), "it has no footer")),
        }
    }
}

/// Ranges come from the object itself, which may lie.
fn fetch(object: &Object, found: &Found, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
    if ranges.iter().any(|range| range.start >= range.end || range.end > found.meta.size) {
        return Err(Error::invalid_data(shown(&object.path()), "damaged: it points outside of itself"));
    }
    object.remote.ranges(&object.key, found, ranges.to_vec())
}

impl DataSource for ParquetObject {
    fn info(&self) -> Result<SourceInfo> {
        self.object.info("parquet")
    }

    fn schema(&self) -> Result<Schema> {
        self.info()?;
        Ok(self.schema.clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        let schema = request.schema_to_read(&self.schema)?;
        let path = self.object.path();
        let Footer { found, builder, schema: stored } = Footer::read(&self.object)?;
        if stored != self.stored {
            return Err(Error::invalid_data(shown(&path), "its columns have changed since the source was opened"));
        }
        let groups = guard(&path, || Ok::<_, ParquetError>(row_groups(&builder, request.predicates())))?;
        let rows = groups.iter().map(|group| builder.metadata().row_group(*group).num_rows() as u64).sum();
        let mut decoder = guard(&path, || {
            let mut finder = Finder::of(builder.schema().fields());
            let roots = schema.names().filter_map(|name| finder.find(name));
            let mask = ProjectionMask::roots(builder.parquet_schema(), roots);
            let builder = builder.with_row_groups(groups).with_projection(mask);
            builder.with_batch_size(request.rows_per_batch()).build()
        })?;
        let (object, place) = (self.object.clone(), path.clone());
        let next = move || loop {
            match guard(&place, || decoder.try_decode())? {
                DecodeResult::Data(batch) => return Ok(Some(batch)),
                DecodeResult::Finished => return Ok(None),
                DecodeResult::NeedsData(ranges) => {
                    let pieces = fetch(&object, &found, &ranges)?;
                    guard(&place, || decoder.push_ranges(ranges, pieces))?;
                }
            }
        };
        let scan = Scan { path, reader: Some(Box::new(next)), schema: schema.clone(), rows };
        request.finish(BatchStream::new(schema, scan))
    }
}
