//! Rows that come more than once.

mod best;
mod key;
pub(super) mod near;

pub use near::{FittedNearDedup, NEAR_BYTES_DEFAULT, NearDedup, NearDedupBuilder, Shingles};

use self::key::KeyReader;
use std::collections::HashSet;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use self::best::Best;
use super::rows::{Named, admit, pack, settings};
use super::study::{self, Study};
use super::{Changes, FittedTransform, Pass, Pick, Scope, StepChanges, Transform, TransformState};
use crate::{Dataset, Error, Result, Schema};

pub(super) const KIND: &str = "dedup";

/// Most different keys where nothing was said.
pub const KEYS_DEFAULT: u64 = 10_000_000;

/// Bytes of rows held back in memory before they go to disk, where nothing was said: 64 MiB.
pub const HELD_BYTES_DEFAULT: u64 = 1 << 26;

const KEYS_MAX: u64 = 1 << 32;

/// Which of several rows with one key is kept.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Keep {
    /// The first: rows go out as they come.
    #[default]
    First,
    /// The last.
    Last,
    /// That with the greatest value in this column of numbers, times or booleans, the first of them where several have it;
    /// null and NaN are below every value.
    Greatest(String),
}

/// Drops rows whose key was there already; order is kept. [`Scope::Table`]: left out on the request path.
///
/// * The key is the whole row, where null equals null; or some columns, where a row with a null in any of them has no key
///   and stays, unless [`nulls_are_equal`](DedupBuilder::nulls_are_equal).
/// * Text is compared by its bytes, whatever the layout; `-0.0` equals `0.0` and every NaN equals every other (inside of
///   nested values their bits count).
/// * Keys are compared by keyed hashes of 128 bits: among n keys, two different ones are taken for one with a probability of
///   less than `n² / 2^64` (one part in 180 000 for ten million), and much less where the first column of the key is text or
///   tells rows apart.
/// * Memory: [`Keep::First`] holds 20 to 40 bytes per different key. The others can let go of no row before they have seen
///   all: they hold 55 to 110 bytes per different key and one bit per row, and set the rows themselves aside, in memory up to
///   [`held_bytes_max`](DedupBuilder::held_bytes_max) and in a temporary file of the table's size beyond; they go out when the
///   pass is drained. A pass ends with [`Error::Invalid`] when there are more than [`keys_max`](DedupBuilder::keys_max) keys.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
/// use mlops_core::arrow::datatypes::Int64Type;
/// use mlops_core::clean::{Dedup, FittedTransform, FittedTransformExt, Keep, Transform};
/// use mlops_core::{Dataset, EventTime};
///
/// let column = |values: Vec<i64>| Arc::new(Int64Array::from(values)) as ArrayRef;
/// let rows = RecordBatch::try_from_iter([("id", column(vec![1, 2, 1])), ("version", column(vec![3, 1, 4]))])?;
/// let data = Dataset::from_batches([rows])?;
/// let dedup = Dedup::builder().keys("id").keep(Keep::Greatest("version".to_owned())).build()?;
/// let fitted: Arc<dyn FittedTransform> = dedup.fit(&data)?.into();
/// let clean = fitted.apply(&data, EventTime::EPOCH)?.to_batch()?;
/// assert_eq!(clean["version"].as_primitive::<Int64Type>().values(), &[1, 4]);
/// assert_eq!(fitted.changes_of(&data)?.rows_dropped(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "DedupBuilder", into = "DedupBuilder")]
pub struct Dedup {
    keys: Option<Pick>,
    keep: Keep,
    limits: Limits,
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Limits {
    nulls_are_equal: bool,
    keys_max: u64,
    held_bytes_max: u64,
}

/// Builder of [`Dedup`], and its form in files (every field may be left out).
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DedupBuilder {
    keys: Option<Pick>,
    keep: Keep,
    nulls_are_equal: bool,
    keys_max: Option<u64>,
    held_bytes_max: Option<u64>,
}

impl DedupBuilder {
    /// Columns that make the key. Default: the whole row.
    pub fn keys(mut self, keys: impl Into<Pick>) -> Self {
        self.keys = Some(keys.into());
        self
    }

    /// Which row of a key is kept. Default [`Keep::First`].
    pub fn keep(mut self, keep: Keep) -> Self {
        self.keep = keep;
        self
    }

    /// Whether a null in a key column is a value like any other. Default no: such rows have no key and stay.
    pub fn nulls_are_equal(mut self, equal: bool) -> Self {
        self.nulls_are_equal = equal;
        self
    }

    /// Most different keys of a pass, 1..=2^32. Default [`KEYS_DEFAULT`].
    pub fn keys_max(mut self, keys: u64) -> Self {
        self.keys_max = Some(keys);
        self
    }

    /// Bytes of rows held back in memory before they go to disk. Default [`HELD_BYTES_DEFAULT`].
    pub fn held_bytes_max(mut self, bytes: u64) -> Self {
        self.held_bytes_max = Some(bytes);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `keys_max` is outside `1..=2^32`.
    pub fn build(self) -> Result<Dedup> {
        let keys_max = self.keys_max.unwrap_or(KEYS_DEFAULT);
        if !(1..=KEYS_MAX).contains(&keys_max) {
            return Err(Error::invalid("keys_max", keys_max, "within 1..=2^32"));
        }
        let limits = Limits {
            nulls_are_equal: self.nulls_are_equal,
            keys_max,
            held_bytes_max: self.held_bytes_max.unwrap_or(HELD_BYTES_DEFAULT),
        };
        Ok(Dedup { keys: self.keys, keep: self.keep, limits })
    }
}

impl TryFrom<DedupBuilder> for Dedup {
    type Error = Error;

    fn try_from(builder: DedupBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<Dedup> for DedupBuilder {
    fn from(dedup: Dedup) -> Self {
        Self {
            keys: dedup.keys,
            keep: dedup.keep,
            nulls_are_equal: dedup.limits.nulls_are_equal,
            keys_max: Some(dedup.limits.keys_max),
            held_bytes_max: Some(dedup.limits.held_bytes_max),
        }
    }
}

impl Dedup {
    /// Starts from the defaults: the first of all rows that are wholly equal is kept.
    pub fn builder() -> DedupBuilder {
        DedupBuilder::default()
    }
}

impl Dedup {
    /// What a fit needs of rows of `schema`.
    fn begin(&self, schema: &Schema) -> Result<Study> {
        let named = |name: &String| Named::of(schema, name);
        let keys = match &self.keys {
            None => None,
            Some(pick) => Some(pick.names(schema)?.iter().map(named).collect::<Result<Vec<_>>>()?),
        };
        if keys.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::schema("*", "at least one column of the key", "none that the setting picks"));
        }
        let greatest = if let Keep::Greatest(column) = &self.keep { Some(named(column)?) } else { None };
        let fitted = FittedDedup { keys, keep: self.keep.clone(), greatest, limits: self.limits };
        fitted.begin(schema)?;
        let key = fitted.keys.iter().flatten().chain(&fitted.greatest).map(|column| column.name.clone());
        // Without keys, all columns are the key.
        let concerns: Vec<String> =
            if fitted.keys.is_some() { key.collect() } else { schema.names().map(str::to_owned).collect() };
        let picks = self.keys.as_ref().is_none_or(|keys| study::any_picks([keys]));
        Ok(Study::new(study::known(fitted)).concerns(concerns).picks(picks).drops_rows(true))
    }
}

impl Transform for Dedup {
    fn fit(&self, data: &Dataset) -> Result<Box<dyn FittedTransform>> {
        self.begin(data.schema())?.fit(self, data)
    }

    fn study(&self, schema: &Schema) -> Result<Option<Study>> {
        self.begin(schema).map(Some)
    }

    fn settings(&self) -> Result<serde_json::Value> {
        settings(KIND, self)
    }
}

/// A [`Dedup`] that knows its columns.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedDedup {
    keys: Option<Vec<Named>>,
    keep: Keep,
    greatest: Option<Named>,
    limits: Limits,
}

impl FittedDedup {
    fn reader(&self, input: &Schema) -> Result<KeyReader> {
        let whole = self.keys.is_none();
        let positions = match &self.keys {
            None => (0..input.len()).collect(),
            Some(keys) => keys.iter().map(|key| key.find(input)).collect::<Result<Vec<_>>>()?,
        };
        KeyReader::new(input, positions, whole || self.limits.nulls_are_equal)
    }

    /// Position of the column whose greatest value is kept.
    fn ranked(&self, input: &Schema) -> Result<Option<usize>> {
        match (&self.keep, &self.greatest) {
            (Keep::Greatest(_), Some(column)) => column.find(input).map(Some),
            (Keep::Greatest(column), None) => Err(Error::not_found("column", column)),
            (Keep::First | Keep::Last, _) => Ok(None),
        }
    }
}

impl FittedTransform for FittedDedup {
    fn scope(&self) -> Scope {
        Scope::Table
    }

    fn output_schema(&self, input: &Schema) -> Result<Schema> {
        self.reader(input)?;
        self.ranked(input)?;
        Ok(input.clone())
    }

    fn begin(&self, input: &Schema) -> Result<Box<dyn Pass>> {
        let reader = self.reader(input)?;
        let ranked = self.ranked(input)?;
        if self.keep == Keep::First {
            let seen = HashSet::default();
            let changes = StepChanges::new(KIND);
            return Ok(Box::new(First { input: input.clone(), reader, keys_max: self.limits.keys_max, seen, changes }));
        }
        Ok(Box::new(Best::begin(input, reader, ranked, self.limits)?))
    }

    fn state(&self) -> Result<TransformState> {
        pack(KIND, self)
    }
}

fn too_many(keys_max: u64) -> Error {
    Error::invalid("keys_max", keys_max, "as many as there are different keys")
}

/// Lets the first row of each key through.
struct First {
    input: Schema,
    reader: KeyReader,
    keys_max: u64,
    seen: HashSet<u128, FixedState>,
    changes: StepChanges,
}

impl Pass for First {
    fn apply(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let batch = admit(&self.input, batch)?;
        let mut keep = Vec::with_capacity(batch.num_rows());
        for key in self.reader.keys(&batch)? {
            keep.push(key.is_none_or(|key| self.seen.insert(key)));
        }
        if self.seen.len() as u64 > self.keys_max {
            return Err(too_many(self.keys_max));
        }
        let kept = filter_record_batch(&batch, &BooleanArray::from(keep))?;
        self.changes.rows_in += batch.num_rows() as u64;
        self.changes.rows_out += kept.num_rows() as u64;
        Ok(kept)
    }

    fn drain(&mut self) -> Result<Option<RecordBatch>> {
        Ok(None)
    }

    fn changes(&self) -> Changes {
        self.changes.clone().into()
    }
}

#[cfg(test)]
mod tests;
