//! Reads the files of one view, one after the other.

use std::fs::File;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, TimestampMicrosecondType};
use mlops_core::schema::Finder;
use mlops_core::source::{BatchStream, DataSource, ScanRequest, SourceInfo};
use mlops_core::{Digest, EventTime, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::statistics::Statistics;

use super::checksum::{Checksums, TAIL_BYTES, footer_bytes};
use super::footer::{Parts, load};
use super::listing::{Span, list};
use crate::error::{Core, Error, Result};
use crate::key::Keys;
use crate::offline::{HistoryBatch, HistoryRequest, HistoryStream, Watermark};
use crate::view::FeatureView;

/// History of one view as of one instant, as a source of rows in source order.
#[derive(Clone, Debug)]
pub struct ViewHistory {
    view: FeatureView,
    folder: PathBuf,
    appends: Arc<[Span]>,
}

impl ViewHistory {
    pub(super) fn new(view: FeatureView, folder: PathBuf, appends: Vec<Span>) -> Self {
        Self { view, folder, appends: appends.into() }
    }

    /// Digest of what is there: of the number and the footer of each append, which says where all its values are and how they
    /// are spread. Far cheaper than one of the rows, and equal only for the same appends; a compaction changes it.
    ///
    /// # Errors
    /// `Core(Io)` when an append cannot be read, `Core(Corrupt)` when it is no Parquet file.
    pub fn version(&self) -> Result<Digest> {
        let mut parts = vec![self.view.fingerprint()];
        for span in &*self.appends {
            let name = span.file_name();
            parts.push(Digest::of(&name));
            parts.push(digest_of_footer(&self.folder.join(name))?);
        }
        Ok(Digest::of_parts(parts.iter().map(|part| part.as_bytes().as_slice())))
    }

    /// The rows that `request` asks for.
    ///
    /// # Errors
    /// `Core(Invalid)` for a feature index beyond those of the view.
    pub fn read(&self, request: &HistoryRequest) -> Result<HistoryStream> {
        let schema = self.view.schema();
        let features = self.view.features();
        let first = schema.len() - features.len();
        let mut columns: Vec<usize> = (0..first).collect();
        match request.projection() {
            None => columns.extend(first..schema.len()),
            Some(wanted) => {
                if let Some(beyond) = wanted.iter().find(|index| **index >= features.len()) {
                    return Err(
                        Core::invalid("feature index", beyond, "below the number of features of the view").into()
                    );
                }
                columns.extend(wanted.iter().map(|index| first + index));
            }
        }
        let reader = self.files(columns, request)?;
        let schema = reader.schema.clone();
        Ok(HistoryStream::new(schema, reader))
    }

    /// Columns by position in the view's schema.
    fn files(&self, columns: Vec<usize>, request: &HistoryRequest) -> Result<Files> {
        let names: Vec<&str> = columns.iter().map(|at| self.view.schema().arrow().field(*at).name().as_str()).collect();
        let schema = self.view.schema().project(&names)?;
        let after = request.start();
        let from = self.appends.partition_point(|span| after.is_some_and(|after| span.last < after.sequence));
        Ok(Files { history: self.clone(), schema, columns, request: request.clone(), next: from, open: None })
    }
}

/// Digest of the footer of a file.
fn digest_of_footer(path: &Path) -> Result<Digest> {
    let file = File::open(path).map_err(|e| Core::io(path, e))?;
    let (_, footer) = footer_bytes(&file, path)?;
    Ok(Digest::of(&footer[..footer.len() - TAIL_BYTES]))
}

impl DataSource for ViewHistory {
    fn info(&self) -> mlops_core::Result<SourceInfo> {
        let mut info = SourceInfo::new("parquet", self.folder.display().to_string());
        let sizes = self.appends.iter().map(|span| {
            let path = self.folder.join(span.file_name());
            std::fs::metadata(&path).map(|file| file.len()).map_err(|e| Core::io(&path, e))
        });
        info.size_bytes = Some(sizes.sum::<mlops_core::Result<u64>>()?);
        Ok(info)
    }

    fn schema(&self) -> mlops_core::Result<Schema> {
        Ok(self.view.schema().clone())
    }

    fn scan(&self, request: &ScanRequest) -> mlops_core::Result<BatchStream> {
        let names = request.columns_to_read(self.view.schema())?;
        let columns = names.iter().map(|name| self.view.schema().index_of(name)).collect::<mlops_core::Result<_>>()?;
        let files = self.files(columns, &HistoryRequest::all().batch_rows(request.rows_per_batch()))?;
        let schema = files.schema.clone();
        request.finish(BatchStream::new(schema, files.map(|batch| Ok(batch?.rows))))
    }
}

/// Batches of some columns of the appends that are asked for.
struct Files {
    history: ViewHistory,
    schema: Schema,
    /// Positions in the view's schema.
    columns: Vec<usize>,
    request: HistoryRequest,
    /// Position in the list of appends of the file to open next.
    next: usize,
    open: Option<OpenFile>,
}

/// A file that is being read, row group by row group.
struct OpenFile {
    file: File,
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    checksums: Checksums,
    parts: Parts,
    /// Where each wanted column is among those that are read; `None` where the file does not have it.
    positions: Vec<Option<usize>>,
    mask: ProjectionMask,
    group: usize,
    /// Rows of the file up to here, read or left out.
    rows: u64,
    /// Rows of the file that are asked for.
    rows_max: u64,
    reader: Option<ParquetRecordBatchReader>,
    /// Rows at the end of the current row group.
    group_end: u64,
}

impl Iterator for Files {
    type Item = Result<HistoryBatch>;

    fn next(&mut self) -> Option<Self::Item> {
        let step = catch_unwind(AssertUnwindSafe(|| self.step()));
        step.unwrap_or_else(|_| {
            let path = self.open.take().map(|open| open.path).unwrap_or_default();
            Err(Core::corrupt(path.display().to_string(), "its pages contradict each other").into())
        })
        .transpose()
    }
}

impl Files {
    fn step(&mut self) -> Result<Option<HistoryBatch>> {
        loop {
            let Some(open) = &mut self.open else {
                let Some(span) = self.history.appends.get(self.next).copied() else { return Ok(None) };
                if self.request.end().is_some_and(|end| span.first > end.sequence) {
                    return Ok(None);
                }
                self.next += 1;
                self.open = Some(self.open(span)?);
                continue;
            };
            if let Some(read) = open.batch()? {
                let end = open.parts.position(open.rows);
                let rows = shape(&read, open, &self.schema)?;
                return Ok(Some(HistoryBatch { rows: self.cut(rows)?, end }));
            }
            if !open.next_group(&self.history.view, &self.request)? {
                self.open = None;
            }
        }
    }

    /// Opens the file of `span`, or the part of one that has taken its place since the list was made.
    fn open(&self, span: Span) -> Result<OpenFile> {
        let Self { history, columns, request, .. } = self;
        let opened = OpenFile::new(history, span, columns, request);
        let gone = matches!(&opened, Err(Error::Core(Core::Io { source, .. })) if source.kind() == ErrorKind::NotFound);
        if !gone {
            return opened;
        }
        let Some(merged) = list(&history.folder)?.into_iter().find(|merged| merged.covers(span)) else { return opened };
        let (first, last) =
            (Watermark { sequence: span.first, rows: 0 }, Watermark { sequence: span.last, rows: u64::MAX });
        let after = request.start().map_or(first, |after| after.max(first));
        let until = request.end().map_or(last, |until| until.min(last));
        OpenFile::new(history, merged, columns, &request.clone().after(after).until(until))
    }

    /// The rows inside of the window, with a key that is asked for.
    fn cut(&self, mut rows: RecordBatch) -> Result<RecordBatch> {
        let view = &self.history.view;
        if let Some(window) = self.request.event_window() {
            let times =
                rows.column(self.schema.index_of(view.event_time())?).as_primitive::<TimestampMicrosecondType>();
            let inside = times.values().iter().map(|time| Some(window.contains(EventTime::from_micros(*time))));
            rows = filter_record_batch(&rows, &inside.collect::<BooleanArray>())?;
        }
        if let Some(keys) = self.request.key_filter() {
            rows = filter_record_batch(&rows, &keys.mask(&Keys::of(view.entity(), &rows)?))?;
        }
        Ok(rows)
    }
}

/// The columns of `schema` from what was read of `open`, null where the file does not have them.
fn shape(read: &RecordBatch, open: &OpenFile, schema: &Schema) -> Result<RecordBatch> {
    let fields = schema.arrow().fields();
    let columns = open.positions.iter().zip(fields).map(|(at, field)| match at {
        Some(at) => read.column(*at).clone(),
        None => new_null_array(field.data_type(), read.num_rows()),
    });
    let columns: Vec<ArrayRef> = columns.collect();
    let options = RecordBatchOptions::new().with_row_count(Some(read.num_rows()));
    let shaped = RecordBatch::try_new_with_options(schema.arrow().clone(), columns, &options);
    Ok(shaped.map_err(|e| Core::corrupt(open.path.display().to_string(), e))?)
}

impl OpenFile {
    fn new(history: &ViewHistory, span: Span, columns: &[usize], request: &HistoryRequest) -> Result<Self> {
        let path = history.folder.join(span.file_name());
        let file = File::open(&path).map_err(|e| Core::io(&path, e))?;
        let metadata = load(&file, &path)?;
        let parts = Parts::read(&metadata, span, &path)?;
        let checksums = Checksums::read(&metadata, &path)?;
        let skip = request.start().map_or(0, |after| parts.rows_until(after));
        let rows_max = request.end().map_or(u64::MAX, |until| parts.rows_until(until));
        let (positions, mask) = locate(&history.view, &metadata, columns)?;
        let mut open = Self {
            file,
            path,
            metadata,
            checksums,
            parts,
            positions,
            mask,
            group: 0,
            rows: 0,
            rows_max,
            reader: None,
            group_end: 0,
        };
        open.skip_groups(skip);
        Ok(open)
    }

    /// Leaves out whole row groups before row `skip`, and notes what to leave out of the next.
    fn skip_groups(&mut self, skip: u64) {
        let groups = self.metadata.metadata().row_groups();
        while let Some(group) = groups.get(self.group) {
            let rows = u64::try_from(group.num_rows()).unwrap_or(0);
            if self.group_end + rows > skip {
                break;
            }
            self.group_end += rows;
            self.group += 1;
        }
        self.rows = skip.max(self.group_end);
    }

    fn batch(&mut self) -> Result<Option<RecordBatch>> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        match reader.next() {
            None => {
                self.reader = None;
                self.rows = self.group_end.min(self.rows_max);
                Ok(None)
            }
            Some(Ok(batch)) => {
                let wanted = self.rows_max.saturating_sub(self.rows).min(batch.num_rows() as u64);
                self.rows += wanted;
                // What came after the position that was asked for.
                Ok((wanted > 0).then(|| batch.slice(0, wanted as usize)))
            }
            Some(Err(error)) => Err(damaged(&self.path, error)),
        }
    }

    /// Starts to read the next row group that may hold rows that are asked for; false at the end of them.
    fn next_group(&mut self, view: &FeatureView, request: &HistoryRequest) -> Result<bool> {
        loop {
            let at = self.group;
            let metadata = self.metadata.metadata().clone();
            let Some(group) = metadata.row_groups().get(at) else { return Ok(false) };
            let start = self.group_end;
            if start >= self.rows_max {
                return Ok(false);
            }
            self.group += 1;
            self.group_end += u64::try_from(group.num_rows()).unwrap_or(0);
            let offset = self.rows.saturating_sub(start);
            if !may_hold(group, view, request) {
                self.rows = self.group_end.min(self.rows_max);
                continue;
            }
            self.checksums.check(&self.file, &self.path, &self.metadata, at, &self.mask)?;
            let file = self.file.try_clone().map_err(|e| Core::io(&self.path, e))?;
            let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                .with_row_groups(vec![at])
                .with_projection(self.mask.clone())
                .with_batch_size(request.rows_per_batch())
                .with_offset(offset as usize)
                .build();
            self.reader = Some(reader.map_err(|e| damaged(&self.path, e))?);
            return Ok(true);
        }
    }
}

/// Whether the statistics of `group` leave room for rows that are asked for.
fn may_hold(group: &RowGroupMetaData, view: &FeatureView, request: &HistoryRequest) -> bool {
    let range = |name: &str| {
        let column = group.columns().iter().find(|column| column.column_path().string() == name);
        let Some(Statistics::Int64(range)) = column.and_then(|column| column.statistics()) else { return None };
        Some((*range.min_opt()?, *range.max_opt()?))
    };
    let in_window = request.event_window().is_none_or(|window| {
        let times = range(view.event_time());
        times.is_none_or(|(min, max)| min < window.end.as_micros() && max >= window.start.as_micros())
    });
    let has_key = request.key_filter().is_none_or(|keys| {
        let [key] = view.entity().keys() else { return true };
        range(key.name.as_str()).is_none_or(|(min, max)| keys.meets(min..=max))
    });
    in_window && has_key
}

/// Where the columns of the view are in a file.
fn locate(
    view: &FeatureView,
    metadata: &ArrowReaderMetadata,
    columns: &[usize],
) -> Result<(Vec<Option<usize>>, ProjectionMask)> {
    let stored = metadata.schema();
    let declared = view.schema().arrow();
    let required = view.entity().keys().len() + 1;
    let mut finder = Finder::of(stored.fields());
    let mut wanted = Vec::with_capacity(columns.len());
    for at in columns {
        let field = declared.field(*at);
        let found = finder.find(field.name());
        let same = |found: &usize| stored.field(*found).data_type() == field.data_type();
        if !found.as_ref().map_or(*at >= required, same) {
            return Err(changed(view, field, found.map(|found| stored.field(found).data_type())));
        }
        wanted.push(found);
    }
    let mut read: Vec<usize> = wanted.iter().flatten().copied().collect();
    read.sort_unstable();
    read.dedup();
    let mask = ProjectionMask::roots(metadata.parquet_schema(), read.iter().copied());
    let positions = wanted.iter().map(|found| found.and_then(|found| read.binary_search(&found).ok()));
    Ok((positions.collect(), mask))
}

fn changed(view: &FeatureView, field: &Field, stored: Option<&DataType>) -> Error {
    Error::Changed {
        view: view.name().to_string(),
        what: field.name().clone(),
        stored: stored.map_or("no column".to_owned(), ToString::to_string),
        declared: field.data_type().to_string(),
    }
}

fn damaged(path: &Path, error: impl std::fmt::Display) -> Error {
    Core::corrupt(path.display().to_string(), error).into()
}
