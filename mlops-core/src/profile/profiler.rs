//! The running state of a profile over batches of one schema.

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};

use super::personal::Guard;
use super::relations::RowReader;
use super::{COLUMNS_MAX, ColumnProfile, Profile, ProfileOptions, Relations};
use crate::privacy::Detector;
use crate::{Error, Result};

/// Takes the batches of one table and keeps their [`Profile`], which can be read at any time.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use mlops_core::arrow::array::{Float64Array, RecordBatch, StringArray};
/// use mlops_core::profile::{ProfileOptions, Profiler};
///
/// let batch = RecordBatch::try_from_iter([
///     ("price", Arc::new(Float64Array::from(vec![Some(1.5), None, Some(2.5)])) as _),
///     ("city", Arc::new(StringArray::from(vec!["Huế", "Vinh", "Huế"])) as _),
/// ])?;
/// let mut profiler = Profiler::new(&batch.schema(), &ProfileOptions::default())?;
/// profiler.update(&batch)?;
/// let profile = profiler.finish();
/// let price = profile.column("price").unwrap();
/// assert_eq!((price.nulls(), price.moments().unwrap().mean()), (1, Some(2.0)));
/// assert_eq!(profile.column("city").unwrap().top_values(1)[0].value, "Huế");
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Profiler {
    schema: SchemaRef,
    profile: Profile,
    reader: Option<RowReader>,
    guard: Option<Guard>,
}

impl Profiler {
    /// An empty profile of tables with `schema`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the schema has more than 100 000 columns, [`Error::AlreadyExists`] when two have one name.
    pub fn new(schema: &Schema, options: &ProfileOptions) -> Result<Self> {
        if schema.fields().len() > COLUMNS_MAX {
            return Err(Error::invalid("number of columns", schema.fields().len(), "at most 100000"));
        }
        let mut names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::AlreadyExists { kind: "column", name: pair[0].to_owned() });
        }
        let columns = schema
            .fields()
            .iter()
            .map(|field| ColumnProfile::new(field.name(), field.data_type(), options))
            .collect::<Result<Vec<_>>>()?;
        let (mut reader, mut relations) = (None, None);
        if options.related() > 0 {
            let (rows, related) = RowReader::new(&columns, options.related());
            (reader, relations) = (Some(rows), Some(Relations::new(related)?));
        }
        let profile = Profile { rows: 0, columns, relations };
        Ok(Self { schema: schema.clone().into(), profile, reader, guard: None })
    }

    /// Looks for personal data: a sample of 512 different values of each column of texts or integers is shown to
    /// `detector` by [`Profiler::finish`], and a column of which it says so is hidden in what that returns, as
    /// [`ProfileOptionsBuilder::hide`](super::ProfileOptionsBuilder::hide) hides it. Call it before the first batch:
    /// what came before is not looked at.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    /// use mlops_core::arrow::array::{RecordBatch, StringArray};
    /// use mlops_core::privacy::{Detector, Kind};
    /// use mlops_core::profile::{ProfileOptions, Profiler};
    ///
    /// let phones = StringArray::from_iter_values((0..100).map(|i| format!("09123456{i:02}")));
    /// let batch = RecordBatch::try_from_iter([("contact", Arc::new(phones) as _)])?;
    /// let detector = Arc::new(Detector::builder().today(2026).build()?);
    /// let mut profiler = Profiler::new(&batch.schema(), &ProfileOptions::default())?.detect(detector);
    /// profiler.update(&batch)?;
    /// let profile = profiler.finish();
    /// let contact = profile.column("contact").unwrap();
    /// assert_eq!(contact.personal().map(|personal| personal.kind), Some(Kind::Phone));
    /// assert!(contact.is_hidden() && contact.top_values(5).is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn detect(mut self, detector: Arc<Detector>) -> Self {
        self.guard = Some(Guard::new(detector, &self.profile.columns));
        self
    }

    /// Adds the rows of `batch`.
    ///
    /// # Errors
    /// [`Error::Schema`] when the names or types of its columns are not those of the schema; nothing is added then.
    pub fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        self.check(batch)?;
        for (place, (column, array)) in self.profile.columns.iter_mut().zip(batch.columns()).enumerate() {
            column.update(array.as_ref())?;
            if let Some(guard) = &mut self.guard {
                guard.update(place, array.as_ref())?;
            }
        }
        if let (Some(relations), Some(reader)) = (&mut self.profile.relations, &self.reader) {
            relations.update(reader, batch)?;
        }
        self.profile.rows += batch.num_rows() as u64;
        Ok(())
    }

    fn check(&mut self, batch: &RecordBatch) -> Result<()> {
        let found = batch.schema_ref();
        if Arc::ptr_eq(found, &self.schema) {
            return Ok(());
        }
        let (expected, given) = (self.schema.fields(), found.fields());
        if expected.len() != given.len() {
            let (expected, given) = (expected.len(), given.len());
            return Err(Error::schema("*", format_args!("{expected} columns"), format_args!("{given} columns")));
        }
        for (field, other) in expected.iter().zip(given) {
            if field.name() != other.name() {
                return Err(Error::schema(field.name(), "this column here", format_args!("`{}`", other.name())));
            }
            if field.data_type() != other.data_type() {
                return Err(Error::schema(field.name(), field.data_type(), other.data_type()));
            }
        }
        // Later batches of the same scan share this schema: comparing its address is enough for them.
        self.schema = found.clone();
        Ok(())
    }

    /// Adds what `other` has seen.
    ///
    /// # Errors
    /// [`Error::Schema`] when the columns or their kinds differ; nothing is added then.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.profile.merge(&other.profile)?;
        match (&mut self.guard, &other.guard) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            (mine, theirs) => *mine = mine.take().or_else(|| theirs.clone()),
        }
        Ok(())
    }

    /// The profile so far; what [`Profiler::detect`] may find is not hidden in it yet.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// The profile.
    pub fn finish(mut self) -> Profile {
        let guard = self.guard.take();
        for place in 0..self.profile.columns.len() {
            let name = self.profile.columns[place].name();
            if let Some(personal) = guard.as_ref().and_then(|guard| guard.judge(place, name)) {
                self.profile.hide(place, personal);
            }
        }
        self.profile
    }
}
