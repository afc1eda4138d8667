//! What a catalog knows of one data set.

use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use serde::{Deserialize, Serialize};

use super::{Freshness, KIND, Readers, Refresh, Statistics};
use crate::dataset::{Provenance, without_secrets};
use crate::profile::Profile;
use crate::schema::{Role, Sensitivity};
use crate::source::SourceInfo;
use crate::time::EventTime;
use crate::{Dataset, Digest, Error, Name, Result, Schema};

/// One column, as a catalog keeps it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Column name.
    pub name: String,
    /// Arrow type as text.
    pub data_type: String,
    /// Whether nulls may occur.
    pub nullable: bool,
    /// What it is for.
    pub role: Role,
    /// Who may see its values.
    pub sensitivity: Sensitivity,
    /// Unit, where one was stated.
    pub unit: Option<String>,
}

impl Column {
    /// The columns of `schema`, in order.
    pub fn all(schema: &Schema) -> Vec<Self> {
        let column = |field: &std::sync::Arc<Field>| {
            let name = field.name();
            Self {
                name: name.clone(),
                data_type: field.data_type().to_string(),
                nullable: field.is_nullable(),
                role: schema.role(name).unwrap_or_default(),
                sensitivity: schema.sensitivity(name).unwrap_or_default(),
                unit: schema.unit(name).ok().flatten().map(str::to_owned),
            }
        };
        schema.arrow().fields().iter().map(column).collect()
    }
}

/// What a catalog knows of one data set.
///
/// # Examples
/// ```
/// use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// use mlops_core::catalog::{Entry, Readers};
/// use mlops_core::{Dataset, EventTime, Name};
///
/// let ids = std::sync::Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
/// let data = Dataset::from_batches([RecordBatch::try_from_iter([("id", ids)])?])?;
/// let entry = Entry::of(Name::new("customers")?, "crm", &data, EventTime::EPOCH)?
///     .with_description("one row per customer")
///     .with_readers(Readers::only(["billing"]));
/// assert_eq!((entry.rows, entry.columns[0].data_type.as_str()), (2, "Int64"));
/// assert!(entry.ensure_readable_by("marketing").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Name of the data set.
    pub name: Name,
    /// Who answers for it.
    pub owner: String,
    /// What it is, in words.
    pub description: String,
    /// Who may read it.
    pub readers: Readers,
    /// Where it is, in what format, how large.
    pub source: SourceInfo,
    /// Columns in order.
    pub columns: Vec<Column>,
    /// Rows.
    pub rows: u64,
    /// Content digest.
    pub digest: Digest,
    /// What it was made from.
    pub provenance: Option<Provenance>,
    /// First registration.
    pub created: EventTime,
    /// Last change.
    pub modified: EventTime,
    /// Free labels.
    pub tags: Vec<String>,
    /// Numbers of its columns, where it was profiled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub statistics: Option<Statistics>,
    /// How often new content is expected, where that was promised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh: Option<Refresh>,
    /// The terms of use, by SPDX id or address, where they were stated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
}

impl Entry {
    /// An entry of what `data` is now: place, columns, rows, content digest and provenance. Everyone may read it until
    /// [`with_readers`](Self::with_readers) says otherwise.
    ///
    /// Costs one scan, unless digest and rows of `data` are known already. Passwords in the address of the place are left
    /// out.
    ///
    /// # Errors
    /// What [`Dataset::info`] and [`Dataset::digest`] say.
    pub fn of(name: Name, owner: impl Into<String>, data: &Dataset, now: EventTime) -> Result<Self> {
        let mut source = data.info()?;
        source.location = without_secrets(&source.location).into_owned();
        Ok(Self {
            name,
            owner: owner.into(),
            description: String::new(),
            readers: Readers::default(),
            source,
            columns: Column::all(data.schema()),
            rows: data.num_rows()?,
            digest: data.digest()?,
            provenance: data.provenance().cloned(),
            created: now,
            modified: now,
            tags: Vec::new(),
            statistics: None,
            refresh: None,
            license: None,
        })
    }

    /// With words that say what it is.
    pub fn with_description(mut self, description: impl Into<String>) -> Self {
        self.description = description.into();
        self
    }

    /// With these readers. Default: everyone.
    pub fn with_readers(mut self, readers: Readers) -> Self {
        self.readers = readers;
        self
    }

    /// With another place: where the rows were written to after they were made in memory.
    pub fn with_source(mut self, source: SourceInfo) -> Self {
        self.source = source;
        self
    }

    /// With a further label.
    pub fn with_tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.push(tag.into());
        self
    }

    /// With the numbers of `profile`, which was taken of these rows at `taken`. Values of columns that tell about a person
    /// or are secret are left out, whatever the profile shows.
    ///
    /// # Errors
    /// [`Error::Schema`] when the profile is of other columns, [`Error::Invalid`] when it saw another number of rows.
    pub fn with_profile(mut self, profile: &Profile, taken: EventTime) -> Result<Self> {
        if profile.rows() != self.rows {
            return Err(Error::invalid("rows of the profile", profile.rows(), "the rows of the entry"));
        }
        self.statistics = Some(Statistics::of(profile, &self.columns, taken)?);
        Ok(self)
    }

    /// With a promise of how often new content comes.
    pub fn with_refresh(mut self, refresh: Refresh) -> Self {
        self.refresh = Some(refresh);
        self
    }

    /// With terms of use, by SPDX id or address.
    pub fn with_license(mut self, license: impl Into<String>) -> Self {
        self.license = Some(license.into());
        self
    }

    /// When its content last changed: as its place says, or else when it was made, or else when the entry was changed.
    pub fn updated(&self) -> EventTime {
        let made = || self.provenance.as_ref().map(|provenance| provenance.at);
        self.source.modified.or_else(made).unwrap_or(self.modified)
    }

    /// Whether its content came in time, as of `now`: counted from [`updated`](Self::updated).
    pub fn freshness(&self, now: EventTime) -> Freshness {
        self.refresh.map_or(Freshness::Unknown, |refresh| refresh.judge(self.updated(), now))
    }

    /// The same without secrets among the parameters of its provenance.
    pub(super) fn redacted(mut self) -> Self {
        self.provenance = self.provenance.map(Provenance::redacted);
        self
    }

    /// The columns as a schema, annotations included.
    ///
    /// # Errors
    /// [`Error::Schema`] for a type whose text cannot be read (one that this version does not know, or an object whose members
    /// have quotes in their names), [`Error::AlreadyExists`] for a column that is there twice.
    pub fn schema(&self) -> Result<Schema> {
        let field = |column: &Column| {
            let unknown = || Error::schema(&column.name, "an Arrow type", format!("`{}`", column.data_type));
            let data_type: DataType = column.data_type.parse().map_err(|_| unknown())?;
            // Arrow writes what it does not read in one case: members of structs with quotes in their names.
            if data_type.to_string() != column.data_type {
                return Err(unknown());
            }
            Ok(Field::new(&column.name, data_type, column.nullable))
        };
        let fields = self.columns.iter().map(field).collect::<Result<Vec<_>>>()?;
        let plain = Schema::new(ArrowSchema::new(fields))?;
        self.columns.iter().try_fold(plain, |schema, column| {
            // What is the default is left out, as it is in schemas that were never annotated.
            let mut schema = schema;
            if column.role != Role::default() {
                schema = schema.with_role(&column.name, column.role)?;
            }
            if column.sensitivity != Sensitivity::default() {
                schema = schema.with_sensitivity(&column.name, column.sensitivity)?;
            }
            match &column.unit {
                Some(unit) => schema.with_unit(&column.name, unit),
                None => Ok(schema),
            }
        })
    }

    /// Checks that `data` is the content that this entry is about. Costs one scan, unless its digest is known already.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when it is other content, and what [`Dataset::digest`] says.
    pub fn verify(&self, data: &Dataset) -> Result<()> {
        let found = data.digest()?;
        if found == self.digest {
            return Ok(());
        }
        let (found, known) = (found.short(), self.digest.short());
        let reason = format!("its content has digest {found}…, but {known}… is what was registered");
        Err(Error::corrupt(format!("{KIND} `{}` at {}", self.name, self.source.location), reason))
    }
}
