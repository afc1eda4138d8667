//! Many files as one source, and one table as many files.

mod listing;
mod partition;
mod scan;
mod shelf;
mod sink;

pub use listing::FILES_MAX;
pub(super) use listing::is_pattern;
#[cfg(feature = "object-store")]
pub(super) use listing::{Listing, hides};
pub(super) use shelf::Shelf;
pub use sink::{FilesSink, FilesSinkBuilder, PARTITIONS_MAX};

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};

use self::listing::Found;
use self::shelf::Disk;
use super::local::{info, shown};
use super::{
    BatchStream, CsvSource, CsvSourceBuilder, DataSource, FileFormat, IpcSource, IpcSourceBuilder, JsonSource,
    JsonSourceBuilder, Quarantine, ScanRequest, SourceInfo,
};
use crate::{Error, Result, Schema};

/// Schema of a folder that a [`FilesSink`] wrote: an Arrow file without rows.
const SCHEMA_FILE: &str = "_schema.arrow";

/// How far a scan of many files has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct FilesProgress {
    /// Files that have been read to their end.
    pub files_done: usize,
    /// Files that the scan reads; those that a predicate rules out are not among them.
    pub files: usize,
    /// Bytes on disk of the files that have been read.
    pub bytes_done: u64,
    /// Bytes on disk of all files that the scan reads.
    pub bytes: u64,
}

type Watch = Arc<dyn Fn(FilesProgress) + Send + Sync>;

/// All data files of a folder or a pattern as one source: one schema, one order, one digest.
///
/// * The place is a folder with everything below it, a pattern (`*`, `**`, `?`, `[…]`) or a single file. Names that begin with `.` or `_` are
///   not data. All files are of one [`FileFormat`]. They are listed when the source is opened: files that come later are seen by
///   opening it again.
/// * Files are read in the order of their paths, compared name by name.
/// * Folders named `column=value` are columns (percent-encoded, `__HIVE_DEFAULT_PARTITION__` for null), behind the columns of the
///   files: whole numbers where all values are, text otherwise, or what a given schema says. Predicates on them rule out whole files.
/// * Without a schema, files may differ: [`Schema::reconcile`] says in what, and [`SchemaReader`](crate::schema::SchemaReader) how each
///   is read. Text files are read straight into the types that came out; columns without any value take the type that others give them.
/// * A folder that a [`FilesSink`] wrote brings its schema along, annotations included.
///
/// # Examples
/// ```
/// use mlops_core::source::{Comparison, FilesSource, Predicate, ScanRequest};
/// use mlops_core::Dataset;
///
/// let folder = tempfile::tempdir()?;
/// for (month, rows) in [("01", "offer,price\n1,9.5\n"), ("02", "offer,price\n2,8\n3,7\n")] {
///     let below = folder.path().join(format!("month={month}"));
///     std::fs::create_dir(&below)?;
///     std::fs::write(below.join("part.csv"), rows)?;
/// }
/// let offers = Dataset::from_source(std::sync::Arc::new(FilesSource::open(folder.path())?))?;
/// assert!(offers.schema().names().eq(["offer", "price", "month"]));
/// let february = ScanRequest::all().filter(Predicate::new("month", Comparison::Eq, 2));
/// assert_eq!(Dataset::collect(offers.scan(&february)?)?.num_rows()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FilesSource {
    settings: FilesSourceBuilder,
    root: PathBuf,
    format: Option<FileFormat>,
    schema: Schema,
    partitions: Schema,
    parts: Arc<[Part]>,
    /// Whether the dialect of each CSV file is looked for; not where the columns are known.
    sniffs: bool,
}

/// Settings of a [`FilesSource`].
#[derive(Clone)]
pub struct FilesSourceBuilder {
    shelf: Arc<dyn Shelf>,
    place: PathBuf,
    format: Option<FileFormat>,
    schema: Option<Schema>,
    quarantine: Option<Quarantine>,
    watch: Option<Watch>,
}

impl fmt::Debug for FilesSourceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FilesSourceBuilder").field("place", &self.place).finish_non_exhaustive()
    }
}

/// One file of the source.
#[derive(Clone, Debug)]
struct Part {
    path: PathBuf,
    /// Its own columns, as they are read from it.
    stored: Schema,
    /// One row with what its folders say.
    values: RecordBatch,
    /// Size and last change, where the listing has told them.
    listed: Option<SourceInfo>,
}

impl Part {
    fn info(&self) -> Result<SourceInfo> {
        self.listed.clone().map_or_else(|| info(&self.path, "file"), Ok)
    }
}

impl FilesSourceBuilder {
    /// The format of all files. Default: what their names say.
    pub fn format(mut self, format: FileFormat) -> Self {
        self.format = Some(format);
        self
    }

    /// The columns that are read, those of folders among them; CSV has a header and commas then. Each file must have them in a type that these hold, or lack them
    /// where they may be null. Default: the columns of all files.
    pub fn schema(mut self, schema: Schema) -> Self {
        self.schema = Some(schema);
        self
    }

    /// Where rows of text files go that do not fit. Default: nowhere, they are errors.
    pub fn quarantine(mut self, quarantine: Quarantine) -> Self {
        self.quarantine = Some(quarantine);
        self
    }

    /// Called by each scan when it begins a file and when it has read the last one.
    pub fn on_progress(mut self, watch: impl Fn(FilesProgress) + Send + Sync + 'static) -> Self {
        self.watch = Some(Arc::new(watch));
        self
    }

    /// Lists the files and reads their schemas.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is nothing at the place, [`Error::InvalidData`] when there is no data file in it, files are of
    /// several formats, one cannot be read, or folders do not name the same columns everywhere; [`Error::Schema`] when files have types
    /// for one column that no type holds; [`Error::Invalid`] for a pattern that is none.
    pub fn build(self) -> Result<FilesSource> {
        let shelf = self.shelf.as_ref();
        let listing = shelf.list(&self.place)?;
        let format = match self.format {
            Some(format) => Some(format),
            None => listing.format()?,
        };
        let given = match &self.schema {
            None => shelf.kept_schema(&self.place)?,
            schema => schema.clone(),
        };
        if listing.files.is_empty() && given.is_none() {
            return Err(Error::invalid_data(shown(&self.place), "there is no data file in it"));
        }
        let sniffs = given.is_none();
        let values = listing.files.iter().map(|file| (file.path.as_path(), file.values.as_slice()));
        let partitions = partition::columns(values, given.as_ref())?;
        let (schema, stored) = match format {
            Some(format) => columns(shelf, format, &listing.files, given, &partitions)?,
            None => (given.unwrap_or(partitions.clone()), Vec::new()),
        };
        let parts = listing.files.iter().zip(stored).map(|(file, stored)| {
            let values = partition::row(&file.path, &partitions, &file.values)?;
            Ok(Part { path: file.path.clone(), stored, values, listed: file.listed.clone() })
        });
        let parts = parts.collect::<Result<Arc<[Part]>>>()?;
        Ok(FilesSource { settings: self, root: listing.root, format, schema, partitions, parts, sniffs })
    }
}

/// The schema of the source, and the columns that each file is read with.
fn columns(
    shelf: &dyn Shelf,
    format: FileFormat,
    files: &[Found],
    given: Option<Schema>,
    partitions: &Schema,
) -> Result<(Schema, Vec<Schema>)> {
    let wanted = given.as_ref().map(|schema| partition::without(schema, partitions)).transpose()?;
    let mut stored = Vec::with_capacity(files.len());
    for file in files {
        let schema = stored_columns(shelf, format, &file.path, wanted.as_ref()).map_err(|e| shelf.told(e))?;
        if let Some(twice) = schema.names().find(|name| partitions.index_of(name).is_ok()) {
            let reason = format!("column `{twice}` is in the file and in the name of its folder");
            return Err(Error::invalid_data(shown(&file.path), reason));
        }
        // Thousands of files mostly share one schema.
        let known = stored.last().filter(|last| **last == schema).cloned();
        stored.push(known.unwrap_or(schema));
    }
    let all = match wanted {
        Some(wanted) => wanted,
        None if is_text(format) => {
            let stored = with_floats(&stored)?;
            without_nothing(&Schema::reconcile(distinct(&stored))?)?
        }
        None => Schema::reconcile(distinct(&stored))?,
    };
    for (file, stored) in files.iter().zip(&mut stored) {
        if is_text(format) {
            *stored = typed_like(stored, &all, format)?;
        }
        scan::reader(stored, &all).map_err(|e| in_part(&file.path, e))?;
    }
    let schema = match given {
        Some(given) => given,
        None => joined(&all, partitions)?,
    };
    Ok((schema, stored))
}

/// The columns of one file by itself; of type `Null` where it has no value to tell the type by.
fn stored_columns(shelf: &dyn Shelf, format: FileFormat, path: &Path, wanted: Option<&Schema>) -> Result<Schema> {
    match (format, wanted) {
        // Lines may lack any key, so nothing is gained by looking at them.
        (FileFormat::JsonLines, Some(wanted)) => Ok(wanted.clone()),
        (FileFormat::JsonLines, None) => {
            let source = json(shelf, path).build()?;
            guessed(&source.schema()?, source.inference().map(super::InferenceReport::undetermined))
        }
        (FileFormat::Csv | FileFormat::Tsv, _) => {
            let source = csv(shelf, format, path, wanted.is_none()).build()?;
            guessed(&source.schema()?, source.inference().map(super::InferenceReport::undetermined))
        }
        (FileFormat::Parquet, _) => shelf.parquet(path, None)?.schema(),
        (FileFormat::ArrowIpc, _) => ipc(shelf, path).build()?.schema(),
    }
}

fn csv(shelf: &dyn Shelf, format: FileFormat, path: &Path, sniff: bool) -> CsvSourceBuilder {
    let builder = match shelf.stand_in(path) {
        Some((name, medium)) => CsvSource::builder(name).stand_in(medium),
        None => CsvSource::builder(path),
    };
    match format {
        FileFormat::Tsv => builder.delimiter(b'\t'),
        _ if sniff => builder.sniff(),
        _ => builder,
    }
}

fn json(shelf: &dyn Shelf, path: &Path) -> JsonSourceBuilder {
    match shelf.stand_in(path) {
        Some((name, medium)) => JsonSource::builder(name).stand_in(medium),
        None => JsonSource::builder(path),
    }
}

fn ipc(shelf: &dyn Shelf, path: &Path) -> IpcSourceBuilder {
    match shelf.stand_in(path) {
        Some((name, medium)) => IpcSource::builder(name).stand_in(medium),
        None => IpcSource::builder(path),
    }
}

fn is_text(format: FileFormat) -> bool {
    matches!(format, FileFormat::Csv | FileFormat::Tsv | FileFormat::JsonLines)
}

fn in_part(path: &Path, error: Error) -> Error {
    match error {
        Error::Schema { column, expected, found } => {
            Error::Schema { column, expected, found: format!("{found} in {}", shown(path)) }
        }
        other => other,
    }
}

/// The schemas that differ from the one before.
fn distinct(schemas: &[Schema]) -> impl Iterator<Item = &Schema> {
    let before = std::iter::once(None).chain(schemas.iter().map(Some));
    schemas.iter().zip(before).filter(|(schema, before)| *before != Some(*schema)).map(|(schema, _)| schema)
}

/// `schema` with another type for some columns.
fn retyped(schema: &Schema, data_type: impl Fn(&Field) -> Option<DataType>) -> Result<Schema> {
    let fields = schema.arrow().fields().iter().map(|field| match data_type(field) {
        Some(data_type) => field.as_ref().clone().with_data_type(data_type),
        None => field.as_ref().clone(),
    });
    Schema::new(ArrowSchema::new_with_metadata(fields.collect::<Vec<_>>(), schema.arrow().metadata().clone()))
}

/// `schema` with the type `Null` for columns that are only guessed.
fn guessed(schema: &Schema, undetermined: Option<Vec<&str>>) -> Result<Schema> {
    let undetermined = undetermined.unwrap_or_default();
    retyped(schema, |field| undetermined.contains(&field.name().as_str()).then_some(DataType::Null))
}

/// The schemas of text files, whole numbers as floats where another file has floats: text is read as either.
fn with_floats(schemas: &[Schema]) -> Result<Vec<Schema>> {
    let all = distinct(schemas).flat_map(|schema| schema.arrow().fields());
    let floats: BTreeSet<&str> =
        all.filter(|field| *field.data_type() == DataType::Float64).map(|field| field.name().as_str()).collect();
    let is_float = |field: &Field| *field.data_type() == DataType::Int64 && floats.contains(field.name().as_str());
    schemas.iter().map(|schema| retyped(schema, |field| is_float(field).then_some(DataType::Float64))).collect()
}

/// `schema` with text for columns that have a value nowhere.
fn without_nothing(schema: &Schema) -> Result<Schema> {
    retyped(schema, |field| (*field.data_type() == DataType::Null).then_some(DataType::Utf8))
}

/// The columns of a text file as `all` has them; further ones are left out here and refused when the file is read.
fn typed_like(stored: &Schema, all: &Schema, format: FileFormat) -> Result<Schema> {
    if format == FileFormat::JsonLines {
        return Ok(all.clone());
    }
    let fields = stored.arrow().fields().iter();
    let fields = fields.filter_map(|field| all.field(field.name()).ok()).cloned();
    Schema::new(ArrowSchema::new_with_metadata(fields.collect::<Vec<_>>(), all.arrow().metadata().clone()))
}

/// The columns of files, then those of folders.
fn joined(files: &Schema, folders: &Schema) -> Result<Schema> {
    let fields = files.arrow().fields().iter().chain(folders.arrow().fields()).cloned().collect::<Vec<_>>();
    Schema::new(ArrowSchema::new_with_metadata(fields, files.arrow().metadata().clone()))
}

impl FilesSource {
    /// The files of `place`, a folder, a pattern or a file.
    ///
    /// # Errors
    /// What [`FilesSourceBuilder::build`] says.
    pub fn open(place: impl Into<PathBuf>) -> Result<Self> {
        Self::builder(place).build()
    }

    /// Settings for the files of `place`, a folder, a pattern or a file.
    pub fn builder(place: impl Into<PathBuf>) -> FilesSourceBuilder {
        Self::on(Arc::new(Disk), place)
    }

    /// Settings for the files of `place` on `shelf`.
    pub(super) fn on(shelf: Arc<dyn Shelf>, place: impl Into<PathBuf>) -> FilesSourceBuilder {
        FilesSourceBuilder { shelf, place: place.into(), format: None, schema: None, quarantine: None, watch: None }
    }

    /// The files, in the order in which they are read.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.parts.iter().map(|part| part.path.as_path())
    }

    /// The columns that the names of folders say.
    pub fn partition_columns(&self) -> impl Iterator<Item = &str> {
        self.partitions.names()
    }

    /// The file of `part` as a source of its stored columns.
    fn part_source(&self, part: &Part) -> Result<Arc<dyn DataSource>> {
        let (path, schema) = (&part.path, part.stored.clone());
        let (shelf, quarantine) = (self.settings.shelf.as_ref(), self.settings.quarantine.clone());
        let Some(format) = self.format else { return Err(Error::not_found("file", shown(path))) };
        Ok(match format {
            FileFormat::Csv | FileFormat::Tsv => {
                let builder = csv(shelf, format, path, self.sniffs).schema(schema);
                let builder = if let Some(aside) = quarantine { builder.quarantine(aside) } else { builder };
                Arc::new(builder.build()?)
            }
            FileFormat::JsonLines => {
                let builder = json(shelf, path).schema(schema);
                let builder = if let Some(aside) = quarantine { builder.quarantine(aside) } else { builder };
                Arc::new(builder.build()?)
            }
            FileFormat::Parquet => shelf.parquet(path, Some(schema))?,
            FileFormat::ArrowIpc => Arc::new(ipc(shelf, path).schema(schema).build()?),
        })
    }
}

impl DataSource for FilesSource {
    fn info(&self) -> Result<SourceInfo> {
        let format = self.format.map_or("files".to_owned(), |format| format.to_string());
        let shelf = self.settings.shelf.as_ref();
        let mut all = SourceInfo::new(format, shelf.location(&self.settings.place));
        shelf.ensure(&self.root)?;
        for part in self.parts.iter() {
            let one = part.info()?;
            all.size_bytes = Some(all.size_bytes.unwrap_or(0) + one.size_bytes.unwrap_or(0));
            all.modified = all.modified.max(one.modified);
        }
        Ok(all)
    }

    fn schema(&self) -> Result<Schema> {
        self.info()?;
        Ok(self.schema.clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        self.info()?;
        let schema = request.schema_to_read(&self.schema)?;
        let parts = scan::may_hold(&self.parts, request.predicates())?;
        let scan = scan::Scan::new(self.clone(), parts, request, schema.clone())?;
        request.finish(BatchStream::new(schema, scan))
    }
}

#[cfg(test)]
mod tests;
