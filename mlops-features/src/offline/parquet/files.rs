//! Reads the files of one view, one after the other.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, BooleanArray, RecordBatch, RecordBatchOptions, new_null_array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, TimestampMicrosecondType};
use mlops_core::source::{BatchStream, DataSource, ScanRequest, SourceInfo};
use mlops_core::{EventTime, Schema, Window};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::file::statistics::Statistics;

use super::file_name;
use crate::error::{Core, Error, Result};
use crate::offline::{HistoryBatch, HistoryRequest, HistoryStream, Watermark};
use crate::view::FeatureView;

/// History of one view as of one instant, as a source of rows in source order.
#[derive(Clone, Debug)]
pub struct ViewHistory {
    view: FeatureView,
    folder: PathBuf,
    appends: Arc<[u64]>,
}

impl ViewHistory {
    pub(super) fn new(view: FeatureView, folder: PathBuf, appends: Vec<u64>) -> Self {
        Self { view, folder, appends: appends.into() }
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
        let reader = self.files(columns, request.rows_per_batch(), request.start(), request.event_window())?;
        let schema = reader.schema.clone();
        Ok(HistoryStream::new(schema, reader))
    }

    /// Columns by position in the view's schema.
    fn files(
        &self,
        columns: Vec<usize>,
        batch_rows: usize,
        after: Option<Watermark>,
        window: Option<Window>,
    ) -> Result<Files> {
        let names: Vec<&str> = columns.iter().map(|at| self.view.schema().arrow().field(*at).name().as_str()).collect();
        let schema = self.view.schema().project(&names)?;
        let from = self.appends.partition_point(|number| after.is_some_and(|after| *number < after.sequence));
        Ok(Files { history: self.clone(), schema, columns, batch_rows, after, window, next: from, open: None })
    }
}

impl DataSource for ViewHistory {
    fn info(&self) -> mlops_core::Result<SourceInfo> {
        let mut info = SourceInfo::new("parquet", self.folder.display().to_string());
        let sizes = self.appends.iter().map(|number| {
            let path = self.folder.join(file_name(*number));
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
        let files = self.files(columns, request.rows_per_batch(), None, None)?;
        let schema = files.schema.clone();
        request.finish(BatchStream::new(schema, files.map(|batch| Ok(batch?.rows))))
    }
}

/// Batches of some columns of all appends after a position.
struct Files {
    history: ViewHistory,
    schema: Schema,
    /// Positions in the view's schema.
    columns: Vec<usize>,
    batch_rows: usize,
    after: Option<Watermark>,
    window: Option<Window>,
    /// Position in the list of appends of the file to open next.
    next: usize,
    open: Option<OpenFile>,
}

/// A file that is being read, row group by row group.
struct OpenFile {
    file: File,
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    sequence: u64,
    /// Where each wanted column is among those that are read; `None` where the file does not have it.
    positions: Vec<Option<usize>>,
    mask: ProjectionMask,
    group: usize,
    /// Rows of the file up to here, read or left out.
    rows: u64,
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
                let Some(sequence) = self.history.appends.get(self.next) else { return Ok(None) };
                self.next += 1;
                let skip = self.after.filter(|after| after.sequence == *sequence).map_or(0, |after| after.rows);
                self.open = Some(OpenFile::new(&self.history, *sequence, &self.columns, skip)?);
                continue;
            };
            if let Some(read) = open.batch()? {
                let end = Watermark { sequence: open.sequence, rows: open.rows };
                let rows = shape(&read, open, &self.schema)?;
                return Ok(Some(HistoryBatch { rows: self.cut(rows)?, end }));
            }
            if !open.next_group(self.batch_rows, self.window, self.history.view.event_time())? {
                self.open = None;
            }
        }
    }

    /// The rows inside of the window.
    fn cut(&self, rows: RecordBatch) -> Result<RecordBatch> {
        let Some(window) = self.window else { return Ok(rows) };
        let at = self.schema.index_of(self.history.view.event_time())?;
        let times = rows.column(at).as_primitive::<TimestampMicrosecondType>();
        let inside = times.values().iter().map(|time| Some(window.contains(EventTime::from_micros(*time))));
        Ok(filter_record_batch(&rows, &inside.collect::<BooleanArray>())?)
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
    fn new(history: &ViewHistory, sequence: u64, columns: &[usize], skip: u64) -> Result<Self> {
        let path = history.folder.join(file_name(sequence));
        let file = File::open(&path).map_err(|e| Core::io(&path, e))?;
        let metadata =
            ArrowReaderMetadata::load(&file, ArrowReaderOptions::default()).map_err(|e| damaged(&path, e))?;
        let (positions, mask) = locate(&history.view, &metadata, columns)?;
        let mut open =
            Self { file, path, metadata, sequence, positions, mask, group: 0, rows: 0, reader: None, group_end: 0 };
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
                self.rows = self.group_end;
                Ok(None)
            }
            Some(Ok(batch)) => {
                self.rows += batch.num_rows() as u64;
                Ok(Some(batch))
            }
            Some(Err(error)) => Err(damaged(&self.path, error)),
        }
    }

    /// Starts to read the next row group with rows of `window`; false at the end of the file.
    fn next_group(&mut self, batch_rows: usize, window: Option<Window>, time: &str) -> Result<bool> {
        loop {
            let at = self.group;
            let metadata = self.metadata.metadata().clone();
            let Some(group) = metadata.row_groups().get(at) else { return Ok(false) };
            let start = self.group_end;
            self.group += 1;
            self.group_end += u64::try_from(group.num_rows()).unwrap_or(0);
            let offset = self.rows.saturating_sub(start);
            if window.is_some_and(|window| !may_hold(group, window, time)) {
                self.rows = self.group_end;
                continue;
            }
            let file = self.file.try_clone().map_err(|e| Core::io(&self.path, e))?;
            let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
                .with_row_groups(vec![at])
                .with_projection(self.mask.clone())
                .with_batch_size(batch_rows)
                .with_offset(offset as usize)
                .build();
            self.reader = Some(reader.map_err(|e| damaged(&self.path, e))?);
            return Ok(true);
        }
    }
}

/// Whether the statistics of `group` leave room for rows of `window`.
fn may_hold(group: &parquet::file::metadata::RowGroupMetaData, window: Window, time: &str) -> bool {
    let column = group.columns().iter().find(|column| column.column_path().string() == time);
    let Some(Statistics::Int64(range)) = column.and_then(|column| column.statistics()) else { return true };
    let after = range.min_opt().is_some_and(|min| *min >= window.end.as_micros());
    let before = range.max_opt().is_some_and(|max| *max < window.start.as_micros());
    !after && !before
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
    let mut wanted = Vec::with_capacity(columns.len());
    for at in columns {
        let field = declared.field(*at);
        let found = stored.fields().iter().position(|stored| stored.name() == field.name());
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
