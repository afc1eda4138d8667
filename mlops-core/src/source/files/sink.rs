//! Writes one table as many files, in folders named after values.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::DataType;

use super::SCHEMA_FILE;
use super::partition::{without, write_name};
use crate::file::{Staging, create_dir_all_synced, sync_dir};
use crate::source::local::shown;
use crate::source::print::Printer;
use crate::source::spoilt::Spoilt;
use crate::source::{DataSink, FileFormat, IpcSink, SinkWriter, Written, is_text};
use crate::{Error, Result, Schema};

/// Folders of one write at the most: more are a sign of a column that identifies rows.
pub const PARTITIONS_MAX: usize = 1 << 16;

/// Files that are open at once, where nothing was said.
const OPEN_FILES_DEFAULT: usize = 64;

/// Files that may be open at once at the most.
const OPEN_FILES_MAX: usize = 4_096;

/// A folder of files, one or more for each combination of values of some columns, which become the names of folders:
/// `year=2026/month=1/part-00000.parquet`. [`FilesSource`](super::FilesSource) and engines that know Hive's layout read it; those that take
/// every file below a folder for data, as polars does, want a pattern (`**/*.parquet`).
///
/// Rows of one combination keep their order. A number of files is open at once; where rows go back and forth between more
/// combinations than that, some get several files. The schema lies beside the files as `_schema.arrow`.
///
/// A commit puts the whole folder in the place of what was there in one step (on Linux, on file systems that can exchange; elsewhere in
/// two renames, between which the folder is missing for an instant). It replaces only what a sink of this kind wrote, or an
/// empty folder.
///
/// # Examples
/// ```
/// use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// use mlops_core::source::{FilesSink, FilesSource};
/// use mlops_core::Dataset;
///
/// let folder = tempfile::tempdir()?;
/// let column = |values: Vec<i64>| std::sync::Arc::new(Int64Array::from(values)) as ArrayRef;
/// let batch = RecordBatch::try_from_iter([("year", column(vec![2025, 2026])), ("sales", column(vec![7, 9]))])?;
/// let rows = Dataset::from_batches([batch])?;
/// let place = folder.path().join("sales");
/// rows.write_to(&FilesSink::builder(&place).partition_by(["year"]).build()?)?;
/// assert!(place.join("year=2026/part-00000.parquet").is_file());
///
/// let read = Dataset::from_source(std::sync::Arc::new(FilesSource::open(&place)?))?;
/// assert_eq!(read.digest()?, rows.digest()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FilesSink {
    folder: PathBuf,
    partition_by: Vec<String>,
    format: FileFormat,
    open_files: usize,
}

/// Settings of a [`FilesSink`].
#[derive(Clone, Debug)]
pub struct FilesSinkBuilder(FilesSink);

impl FilesSinkBuilder {
    /// The columns that folders are named after, from the outermost in. Default: none, one file.
    pub fn partition_by(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.0.partition_by = columns.into_iter().map(Into::into).collect();
        self
    }

    /// The format of all files. Default [`FileFormat::Parquet`].
    pub fn format(mut self, format: FileFormat) -> Self {
        self.0.format = format;
        self
    }

    /// Files that are open at once at the most: each holds the rows of a row group. Default 64.
    pub fn open_files(mut self, files: usize) -> Self {
        self.0.open_files = files;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `open_files` is outside of 1..=4096 or a column is named twice.
    pub fn build(self) -> Result<FilesSink> {
        let sink = self.0;
        if !(1..=OPEN_FILES_MAX).contains(&sink.open_files) {
            return Err(Error::invalid("open_files", sink.open_files, "1..=4096"));
        }
        let mut seen = BTreeSet::new();
        if let Some(twice) = sink.partition_by.iter().find(|name| !seen.insert(*name)) {
            return Err(Error::invalid("partition_by", twice, "a list of different columns"));
        }
        Ok(sink)
    }
}

impl FilesSink {
    /// Files in `folder`, whose parent must exist; one file of Parquet unless more is said.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        let format = FileFormat::Parquet;
        Self { folder: folder.into(), partition_by: Vec::new(), format, open_files: OPEN_FILES_DEFAULT }
    }

    /// Settings for files in `folder`.
    pub fn builder(folder: impl Into<PathBuf>) -> FilesSinkBuilder {
        FilesSinkBuilder(Self::new(folder))
    }
}

impl DataSink for FilesSink {
    fn begin(&self, schema: &Schema) -> Result<Box<dyn SinkWriter>> {
        let partitions = schema.project(&self.partition_by)?;
        for field in partitions.arrow().fields() {
            let found = field.data_type();
            let named = found.is_integer() || is_text(found) || matches!(found, DataType::Boolean | DataType::Date32);
            if !named {
                return Err(Error::schema(
                    field.name(),
                    "whole numbers, text, booleans or dates to name folders",
                    found,
                ));
            }
        }
        let stored = without(schema, &partitions)?;
        if stored.is_empty() {
            return Err(Error::schema("*", "a column beside those of folders", "none"));
        }
        ensure_replaceable(&self.folder)?;
        let staging = staging(&self.folder)?;
        // Whether the format holds the columns shows here, and not only with the first row.
        drop(self.format.sink(staging.path().join("probe"))?.begin(&stored)?);
        Ok(Box::new(Writer {
            sink: self.clone(),
            schema: schema.clone(),
            stored,
            staging,
            groups: BTreeMap::new(),
            clock: 0,
            open: 0,
            written: Written { rows: 0, size_bytes: 0 },
            spoilt: Spoilt::default(),
        }))
    }
}

/// A folder beside `folder` that vanishes unless it takes its place.
fn staging(folder: &Path) -> Result<Staging> {
    if folder.file_name().is_none() {
        return Err(Error::invalid("path", shown(folder), "the path of a folder"));
    }
    Staging::within(above(folder), false).map_err(|error| match error {
        Error::Io { source, .. } => Error::io(folder, source),
        other => other,
    })
}

fn above(folder: &Path) -> &Path {
    folder.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Other people's folders are not replaced.
fn ensure_replaceable(folder: &Path) -> Result<()> {
    match fs::symlink_metadata(folder) {
        Err(_) => Ok(()),
        Ok(metadata) if !metadata.is_dir() => Err(Error::invalid("path", shown(folder), "the path of a folder")),
        Ok(_) => {
            let mut entries = fs::read_dir(folder).map_err(|e| Error::io(folder, e))?;
            if entries.next().is_none() || folder.join(SCHEMA_FILE).is_file() {
                return Ok(());
            }
            Err(Error::AlreadyExists { kind: "folder", name: shown(folder) })
        }
    }
}

/// What is written to one folder.
#[derive(Default)]
struct Group {
    files: usize,
    open: Option<Box<dyn SinkWriter>>,
    used: u64,
}

struct Writer {
    sink: FilesSink,
    schema: Schema,
    stored: Schema,
    staging: Staging,
    /// By the path of the folder below the root.
    groups: BTreeMap<String, Group>,
    /// Counts uses, to tell the file that was not used for longest.
    clock: u64,
    open: usize,
    written: Written,
    spoilt: Spoilt,
}

impl SinkWriter for Writer {
    fn write(&mut self, batch: &RecordBatch) -> Result<()> {
        self.spoilt.writing()?;
        let batch = self.schema.attach(batch)?;
        let names: Vec<&str> = self.stored.names().collect();
        let places = names.iter().map(|name| self.schema.index_of(name)).collect::<Result<Vec<_>>>()?;
        let rows = self.stored.attach(&batch.project(&places)?)?;
        for (folder, indices) in folders(&self.sink.partition_by, &batch)? {
            let group = if indices.len() == rows.num_rows() {
                rows.clone()
            } else {
                take_record_batch(&rows, &UInt32Array::from(indices))?
            };
            self.open(&folder)?.write(&group)?;
        }
        self.written.rows += batch.num_rows() as u64;
        self.spoilt.done();
        Ok(())
    }

    fn commit(mut self: Box<Self>) -> Result<Written> {
        self.spoilt.ensure_whole()?;
        let open: Vec<String> =
            self.groups.iter().filter(|(_, group)| group.open.is_some()).map(|(f, _)| f.clone()).collect();
        open.iter().try_for_each(|folder| self.close(folder))?;
        let schema = IpcSink::new(self.staging.path().join(SCHEMA_FILE)).begin(&self.schema)?;
        self.written.size_bytes += schema.commit()?.size_bytes;
        let Self { sink, staging, written, .. } = *self;
        put(staging, &sink.folder)?;
        Ok(written)
    }
}

impl Writer {
    /// The open file of `folder`.
    fn open(&mut self, folder: &str) -> Result<&mut dyn SinkWriter> {
        self.clock += 1;
        if !self.groups.contains_key(folder) && self.groups.len() == PARTITIONS_MAX {
            let reason = format!("more than {PARTITIONS_MAX} combinations of {:?}", self.sink.partition_by);
            return Err(Error::invalid_data(shown(&self.sink.folder), reason));
        }
        if self.groups.get(folder).is_none_or(|group| group.open.is_none()) {
            if self.open == self.sink.open_files {
                let oldest = self.groups.iter().filter(|(_, g)| g.open.is_some()).min_by_key(|(_, g)| g.used);
                let oldest = oldest.map(|(folder, _)| folder.clone());
                oldest.iter().try_for_each(|folder| self.close(folder))?;
            }
            let below = self.staging.path().join(folder);
            create_dir_all_synced(&below)?;
            let file = self.groups.get(folder).map_or(0, |group| group.files);
            let name = format!("part-{file:05}.{}", self.sink.format.ending());
            let writer = self.sink.format.sink(below.join(name))?.begin(&self.stored)?;
            let group = self.groups.entry(folder.to_owned()).or_default();
            (group.files, group.open) = (group.files + 1, Some(writer));
            self.open += 1;
        }
        let unknown = || Error::not_found("folder", folder);
        let group = self.groups.get_mut(folder).ok_or_else(unknown)?;
        group.used = self.clock;
        match &mut group.open {
            Some(writer) => Ok(writer.as_mut()),
            None => Err(unknown()),
        }
    }

    fn close(&mut self, folder: &str) -> Result<()> {
        let Some(writer) = self.groups.get_mut(folder).and_then(|group| group.open.take()) else { return Ok(()) };
        self.open -= 1;
        self.written.size_bytes += writer.commit()?.size_bytes;
        Ok(())
    }
}

/// The rows of each folder, by its path below the root.
fn folders(partition_by: &[String], batch: &RecordBatch) -> Result<BTreeMap<String, Vec<u32>>> {
    let mut columns = Vec::with_capacity(partition_by.len());
    for name in partition_by {
        let array = batch.column_by_name(name).ok_or_else(|| Error::not_found("column", name))?;
        columns.push((name, Printer::new(array)?));
    }
    let mut groups: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let (mut path, mut cell) = (String::new(), String::new());
    for row in 0..batch.num_rows() {
        path.clear();
        for (index, (name, column)) in columns.iter().enumerate() {
            if index > 0 {
                path.push('/');
            }
            cell.clear();
            if !column.is_null(row) {
                let written = column.write(row, &mut cell);
                written.map_err(|reason| Error::invalid_data(format!("column `{name}`"), reason))?;
            }
            write_name(name, (!column.is_null(row)).then_some(cell.as_str()), &mut path)?;
        }
        match groups.get_mut(&path) {
            Some(rows) => rows.push(row as u32),
            None => drop(groups.insert(path.clone(), vec![row as u32])),
        }
    }
    Ok(groups)
}

/// Puts `staging` in the place of `folder`.
fn put(staging: Staging, folder: &Path) -> Result<()> {
    let failed = |e: std::io::Error| Error::io(folder, e);
    sync_dir(staging.path())?;
    ensure_replaceable(folder)?;
    if fs::symlink_metadata(folder).is_err() {
        match fs::rename(staging.path(), folder) {
            Ok(()) => {
                staging.keep();
                return sync_dir(above(folder));
            }
            Err(_) if folder.is_dir() => {} // another write was faster
            Err(error) => return Err(failed(error)),
        }
    }
    if exchange(staging.path(), folder) {
        // What was there lies in the staging folder now, and goes with it.
        drop(staging);
        return sync_dir(above(folder));
    }
    rename_over(staging, folder)
}

/// Puts `staging` in the place of `folder`, which is moved aside first.
fn rename_over(staging: Staging, folder: &Path) -> Result<()> {
    let failed = |e: std::io::Error| Error::io(folder, e);
    let aside = self::staging(folder)?;
    let old = aside.path().join("old");
    fs::rename(folder, &old).map_err(failed)?;
    if let Err(error) = fs::rename(staging.path(), folder) {
        fs::rename(&old, folder).map_err(failed)?;
        return Err(failed(error));
    }
    staging.keep();
    sync_dir(above(folder))
}

/// Exchanges two folders in one step, where the system can.
#[cfg(target_os = "linux")]
fn exchange(one: &Path, other: &Path) -> bool {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn exchange(_: &Path, _: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_an_exchange_the_old_folder_moves_aside_and_vanishes() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("t");
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("old"), "").unwrap();
        let new = staging(&folder).unwrap();
        fs::write(new.path().join("new"), "").unwrap();
        rename_over(new, &folder).unwrap();
        let names = |folder: &Path| fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name()).collect::<Vec<_>>();
        assert_eq!((names(root.path()), names(&folder)), (vec!["t".into()], vec!["new".into()]));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn folders_are_exchanged_in_one_step() {
        let root = tempfile::tempdir().unwrap();
        let (one, other) = (root.path().join("one"), root.path().join("other"));
        fs::create_dir(&one).unwrap();
        fs::create_dir_all(other.join("below")).unwrap();
        assert!(exchange(&one, &other));
        assert!(one.join("below").is_dir() && !other.join("below").exists());
        assert!(!exchange(&one, &root.path().join("no")));
    }
}
