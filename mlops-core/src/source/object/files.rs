//! Many objects as one source.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::parquet::ParquetObject;
use super::reader::{Object, unwrapped};
use super::store::{ObjectStore, key_of};
use crate::source::files::{Listing, Shelf, hides, is_pattern};
use crate::source::medium::Medium;
use crate::source::{DataSource, FilesSource, FilesSourceBuilder};
use crate::{Error, Result, Schema};

impl ObjectStore {
    /// The objects of `place` as one source: a folder of keys with everything below it, a pattern, or a single key. What
    /// [`FilesSource`] says of files holds for objects: one format, Hive partitions, files that differ in their columns. They are
    /// listed once, sizes included; an object that is gone by the time of a scan ends it with [`Error::NotFound`].
    ///
    /// # Errors
    /// [`Error::Invalid`] for a key with tricks.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    ///
    /// use mlops_core::Dataset;
    /// use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
    /// use mlops_core::source::ObjectStore;
    ///
    /// let store = ObjectStore::memory("lake");
    /// for month in 1..=2_i64 {
    ///     let ids = Arc::new(Int64Array::from(vec![month, 10 * month])) as ArrayRef;
    ///     let rows = Dataset::from_batches([RecordBatch::try_from_iter([("id", ids)])?])?;
    ///     rows.write_to(&store.sink(&format!("events/month={month}/part.parquet"))?)?;
    /// }
    /// let events = Dataset::from_source(Arc::new(store.files("events")?.build()?))?;
    /// assert!(events.schema().names().eq(["id", "month"]));
    /// assert_eq!(events.num_rows()?, 4);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn files(&self, place: &str) -> Result<FilesSourceBuilder> {
        let special = place.find(['*', '?', '[']).unwrap_or(place.len());
        let fixed =
            if special < place.len() { place[..special].rfind('/').map_or("", |end| &place[..end]) } else { place };
        key_of(fixed)?;
        Ok(match &self.root {
            Some(root) => FilesSource::builder(root.join(place)),
            None => FilesSource::on(Arc::new(Objects(self.clone())), place),
        })
    }
}

/// A store as a place of files, whose paths are keys.
#[derive(Debug)]
struct Objects(ObjectStore);

impl Objects {
    fn object(&self, path: &Path) -> Result<Object> {
        let key = path.to_str().ok_or_else(|| Error::invalid("key", "bytes", "UTF-8"))?;
        Ok(Object { remote: self.0.remote.clone(), key: key_of(key)? })
    }
}

impl Shelf for Objects {
    fn list(&self, place: &Path) -> Result<Listing> {
        let text = place.to_str().unwrap_or_default();
        let pattern = match text {
            "" => "**/*".to_owned(),
            pattern if is_pattern(pattern) => pattern.to_owned(),
            folder => format!("{folder}/**/*"),
        };
        let root: PathBuf =
            place.components().take_while(|part| !is_pattern(&part.as_os_str().to_string_lossy())).collect();
        let mut found = self.0.listed(&pattern)?;
        found.retain(|(path, _)| {
            let below = path.strip_prefix(&root).unwrap_or(path);
            let names: Vec<_> = below.iter().map(|name| name.to_string_lossy()).collect();
            let last = names.len().saturating_sub(1);
            !names.iter().enumerate().any(|(at, name)| hides(name, at < last && name.contains('=')))
        });
        if found.is_empty() && !text.is_empty() && !is_pattern(text) {
            found.push((place.to_owned(), self.object(place)?.info("file").map_err(unwrapped)?));
        }
        if found.is_empty() {
            return Err(Error::not_found("object", self.location(place)));
        }
        Listing::of(root, found)
    }

    fn kept_schema(&self, _: &Path) -> Result<Option<Schema>> {
        Ok(None)
    }

    fn ensure(&self, _: &Path) -> Result<()> {
        Ok(())
    }

    fn location(&self, place: &Path) -> String {
        format!("{}/{}", self.0.url(), place.display())
    }

    fn stand_in(&self, path: &Path) -> Option<(PathBuf, Arc<dyn Medium>)> {
        let object = self.object(path).ok()?;
        Some((object.path(), Arc::new(object)))
    }

    fn parquet(&self, path: &Path, schema: Option<Schema>) -> Result<Arc<dyn DataSource>> {
        Ok(Arc::new(ParquetObject::open(self.object(path)?, schema)?))
    }

    fn told(&self, error: Error) -> Error {
        unwrapped(error)
    }
}
