//! polars as a workbench: a [`Dataset`] becomes a [`LazyFrame`], and any `LazyFrame` is a [`DataSource`].
//!
//! | wanted | call |
//! |---|---|
//! | one piece of feature work, annotations kept | [`Dataset::map_lazy`] |
//! | a frame to play with | [`Dataset::lazy`], [`Dataset::to_polars`] |
//! | a frame that is done, as a data set | [`Dataset::from_polars`] |
//! | a plan that is run anew at each scan | [`LazyFrameSource`] |
//!
//! polars breaks its interface several times a year, so it is in no public trait of this family. Use the version that is
//! exported here, [`polars`](mod@self::polars), so that frames are of the type that these calls take.
//!
//! # What crosses, and what it costs
//! | Arrow | polars | back in Arrow | buffers |
//! |---|---|---|---|
//! | integers of 8 to 64 bits, `Float32`, `Float64`, `Boolean`, `Date32`, `Null` | the same | the same | shared both ways |
//! | `Timestamp` in ms, µs or ns; `Duration` in the same; `Time64(ns)`; `Decimal128` up to 38 digits | `Datetime`, `Duration`, `Time`, `Decimal` | the same | shared both ways |
//! | `Utf8View`, `BinaryView` | `String`, `Binary` | the same | shared both ways |
//! | `Utf8`, `LargeUtf8`, `Binary`, `LargeBinary`, `FixedSizeBinary` | `String`, `Binary` | `Utf8View`, `BinaryView` | views are built on the way in, 16 bytes a row |
//! | `List`, `LargeList`, `FixedSizeList`, `Struct` | `List`, `Array`, `Struct` | `LargeList`, `FixedSizeList`, `Struct` | values shared, offsets of `List` widened; nulls of a struct are written into its members |
//! | `Map` | `List` of `Struct` | `LargeList` of `Struct` | as lists |
//! | dictionary of text | `Categorical`; `Enum` if it was one in polars | dictionary of `Utf8` | copied row by row both ways: keep keys of entities as text or integers |
//! | dictionary of something else | that something | that something | copied on the way in |
//! | `Timestamp(s)`, `Duration(s)`, `Time32`, `Time64(µs)`, `Date64`, `Float16`, other decimals up to 38 digits | in ms, ns, `Float32`, `Decimal` | as polars has it | copied on the way in, checked for overflow |
//! | `Interval`, `Union`, run-end encoding, list views, structs without members, decimals beyond 38 digits or with a negative scale, unknown time zones | — | — | [`Error::Schema`] naming the column |
//!
//! Inside of lists and structs, polars' `Enum` comes back as `Categorical` and its `Null` as `Boolean`.
//!
//! Nulls stay nulls, NaN stays NaN with its bits, and so does `-0.0`. Every column comes back as nullable. A fixed offset
//! as time zone comes back under the name that polars has for it (`+07:00` as `Etc/GMT-7`), zero offset as `UTC`. A frame
//! whose columns are cut into different chunks is copied once, to align them.
//!
//! # Roles, sensitivity, units
//! A polars frame has no place for them. [`Dataset::map_lazy`] lays the annotations of what went in over every column
//! that comes out under the same name, whatever its type by then; a new name has none, so annotate it, above all when it
//! holds personal data. [`Dataset::from_polars`] cannot know them: lay them over with [`Schema::annotated_like`] and
//! [`Dataset::with_schema`].
//!
//! # Failures
//! What polars refuses, and every panic inside of it, becomes an [`Error`]. Where columns are personal, its message
//! is withheld, because polars puts values into messages.

mod crossing;
mod pushdown;
mod source;

pub use ::polars;
pub use source::LazyFrameSource;

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow::array::{ArrayRef, NullArray, RecordBatch, RecordBatchOptions, new_empty_array};
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};
use polars::prelude::{self as pl, Column, CompatLevel, DataFrame, IdxSize, IntoLazy, LazyFrame, Series};

use super::ffi;
use crate::dataset::Provenance;
use crate::error::Cause;
#[expect(unused_imports, reason = "named in the module's documentation")]
use crate::source::DataSource;
use crate::source::ScanRequest;
use crate::time::EventTime;
use crate::{Dataset, Error, Name, Result, Schema};

impl Dataset {
    /// All rows as a polars frame, in one chunk per batch; rows of a source are read now and held.
    ///
    /// Buffers are shared where the table in [`interop::polars`](crate::interop::polars) says so. Annotations stay behind.
    ///
    /// # Errors
    /// The first error of the scan, [`Error::Schema`] naming a column of a type that polars does not have,
    /// [`Error::InvalidData`] naming a column with a value that does not fit polars' type, [`Error::Invalid`] beyond the
    /// 2³² − 2 rows that polars counts.
    pub fn to_polars(&self) -> Result<DataFrame> {
        let request = if self.is_held() { ScanRequest::all().batch_rows(usize::MAX) } else { ScanRequest::all() };
        let batches = self.scan(&request)?.collect::<Result<Vec<_>>>()?;
        frame(self.schema(), &batches)
    }

    /// All rows at the head of a polars plan; rows of a source are read now and held.
    ///
    /// To read less, scan less: `Dataset::collect(data.scan(&request)?)?.lazy()`.
    ///
    /// # Errors
    /// As [`to_polars`](Self::to_polars).
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    ///
    /// use mlops_core::Dataset;
    /// use mlops_core::arrow::array::{ArrayRef, Float64Array, RecordBatch};
    /// use mlops_core::interop::polars::polars::prelude::{col, lit};
    ///
    /// let prices = Arc::new(Float64Array::from(vec![1.0, 2.5])) as ArrayRef;
    /// let offers = Dataset::from_batches([RecordBatch::try_from_iter([("price", prices)])?])?;
    /// let dear = offers.lazy()?.filter(col("price").gt(lit(2.0))).collect()?;
    /// assert_eq!(Dataset::from_polars(dear)?.num_rows()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn lazy(&self) -> Result<LazyFrame> {
        Ok(self.to_polars()?.lazy())
    }

    /// The rows of `frame`, held, one batch per chunk; no annotations.
    ///
    /// # Errors
    /// [`Error::Schema`] naming a column of a type that Arrow does not have, [`Error::AlreadyExists`] when two columns have
    /// one name.
    pub fn from_polars(frame: DataFrame) -> Result<Self> {
        let (schema, batches) = batches(frame, Privacy::Open)?;
        Self::held(schema, batches)
    }

    /// What the plan of `work` makes of these rows, run anew at each scan; columns that keep their name keep their
    /// annotations.
    ///
    /// The rows that go in are read now, as in [`lazy`](Self::lazy). A plan that does not give the same rows in the same
    /// order each time (a group-by that does not maintain order) has no stable digest: [`hold`](Self::hold) the result.
    ///
    /// # Errors
    /// As [`lazy`](Self::lazy), and what [`LazyFrameSource::new`] says of a plan that does not resolve.
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    ///
    /// use mlops_core::Dataset;
    /// use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
    /// use mlops_core::interop::polars::polars::prelude::{DataType, col};
    /// use mlops_core::schema::{Role, Schema};
    ///
    /// let ids = Arc::new(Int64Array::from(vec![7, 8])) as ArrayRef;
    /// let batch = RecordBatch::try_from_iter([("id", ids.clone()), ("months", ids)])?;
    /// let schema = Schema::new(batch.schema())?.with_role("id", Role::Key)?;
    /// let customers = Dataset::held(schema, [batch])?;
    ///
    /// let years = (col("months").cast(DataType::Float64) / 12.0.into()).alias("years");
    /// let made = customers.map_lazy(|frame| frame.select([col("id"), years]))?;
    /// assert_eq!(made.schema().with(Role::Key), ["id"]);
    /// assert_eq!(made.num_rows()?, 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn map_lazy(&self, work: impl FnOnce(LazyFrame) -> LazyFrame) -> Result<Self> {
        let privacy = Privacy::of(self.schema());
        let source = LazyFrameSource::guarded("polars plan", work(self.lazy()?), privacy)?;
        let mapped = Self::from_source(Arc::new(source.annotated_like(self.schema())?))?;
        Ok(match self.provenance() {
            Some(provenance) => mapped.with_provenance(provenance.clone()),
            None => mapped,
        })
    }
}

impl Dataset {
    /// As [`map_lazy`](Self::map_lazy), with what was done in the provenance: code has no digest, so `operation` names it and
    /// `version` changes whenever it does. Costs a scan unless the digest of these rows is known.
    ///
    /// # Errors
    /// As [`map_lazy`](Self::map_lazy), and what [`digest`](Self::digest) says.
    pub fn map_lazy_as(
        &self,
        operation: Name,
        version: impl Into<String>,
        at: EventTime,
        work: impl FnOnce(LazyFrame) -> LazyFrame,
    ) -> Result<Self> {
        let made = Provenance::of(&[self], operation, at)?.with_code_version(version);
        Ok(self.map_lazy(work)?.with_provenance(made))
    }
}

/// Whether messages of polars, which may hold values, may be shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Privacy {
    Open,
    Withheld,
}

impl Privacy {
    fn of(schema: &Schema) -> Self {
        if schema.hidden().is_empty() { Self::Open } else { Self::Withheld }
    }

    fn of_column(schema: &Schema, name: &str) -> Self {
        if schema.hidden().contains(&name) { Self::Withheld } else { Self::Open }
    }

    fn or(self, other: Self) -> Self {
        if self == Self::Withheld { self } else { other }
    }

    /// `cause`, or only its kind.
    fn screen(self, cause: Cause) -> Cause {
        match self {
            Self::Open => cause,
            Self::Withheld => {
                let shown = format!("{cause:?}");
                let kind: String = shown.chars().take_while(char::is_ascii_alphanumeric).collect();
                format!("{kind} (its message is withheld: it may hold personal data)").into()
            }
        }
    }
}

/// Runs `work`, with a panic inside of it as an error.
fn caught<T>(work: impl FnOnce() -> Result<T, Cause>) -> Result<T, Cause> {
    // Nothing that `work` touched is looked at after a panic, so broken invariants stay with it.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(Cause::from(Panicked(text.unwrap_or("no message").to_owned())))
    })
}

/// A panic inside of polars.
#[derive(Debug, thiserror::Error)]
#[error("it panicked: {0}")]
struct Panicked(String);

fn in_column(name: &str, privacy: Privacy) -> impl Fn(Cause) -> Error {
    move |cause| Error::invalid_data(format!("column `{name}`"), privacy.screen(cause))
}

/// `batches`, all of `schema`, as a frame.
fn frame(schema: &Schema, batches: &[RecordBatch]) -> Result<DataFrame> {
    let rows: usize = batches.iter().map(RecordBatch::num_rows).sum();
    if rows >= IdxSize::MAX as usize {
        return Err(Error::invalid("rows of a polars frame", rows, "fewer than 2^32 - 1"));
    }
    let fields = schema.arrow().fields().iter().enumerate();
    let columns = fields.map(|(index, field)| {
        let arrays = batches.iter().map(|batch| batch.column(index).clone()).collect();
        column(field, arrays, Privacy::of_column(schema, field.name()))
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    caught(|| Ok(DataFrame::new(rows, columns)?)).map_err(|cause| Error::external("polars", cause))
}

fn column(field: &Field, arrays: Vec<ArrayRef>, privacy: Privacy) -> Result<Column> {
    let name = field.name();
    let crossing = crossing::outward(field)
        .map_err(|found| Error::schema(name.escape_debug().to_string(), "a type that polars has", found))?;
    let cast = |array: &ArrayRef| crossing::cast(array, crossing.data_type());
    let mut arrays: Vec<ArrayRef> =
        arrays.iter().map(cast).collect::<Result<_, _>>().map_err(in_column(name, privacy))?;
    if arrays.is_empty() {
        arrays.push(new_empty_array(crossing.data_type()));
    }
    let series = || -> Result<Series, Cause> {
        let (field, imported) = ffi::to_polars(&crossing, &arrays)?;
        let series = Series::try_from((&field, imported))?;
        let nulls: usize = arrays.iter().map(|array| array.logical_null_count()).sum();
        if series.null_count() != nulls {
            return Err(format!("{} became null as {}", series.null_count().abs_diff(nulls), series.dtype()).into());
        }
        Ok(series)
    };
    caught(series).map(Column::from).map_err(in_column(name, privacy))
}

/// `frame` as batches, one per chunk, and their schema.
fn batches(mut frame: DataFrame, privacy: Privacy) -> Result<(Schema, Vec<RecordBatch>)> {
    caught(|| {
        frame.align_chunks();
        Ok(())
    })
    .map_err(|cause| Error::external("polars", privacy.screen(cause)))?;
    let (mut fields, mut columns) = (Vec::with_capacity(frame.width()), Vec::with_capacity(frame.width()));
    for column in frame.columns() {
        let (field, arrays) = arrays(column, privacy)?;
        fields.push(field);
        columns.push(arrays);
    }
    let schema = Schema::new(ArrowSchema::new(fields))?;
    let chunks = columns.first().map_or(1, Vec::len);
    let batch = |chunk: usize| {
        let rows = columns.first().map_or(frame.height(), |arrays| arrays[chunk].len());
        let arrays = columns.iter().map(|arrays| arrays[chunk].clone()).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        Ok(RecordBatch::try_new_with_options(schema.arrow().clone(), arrays, &options)?)
    };
    let batches = (0..chunks).map(batch).collect::<Result<_>>()?;
    Ok((schema, batches))
}

/// One column as arrays, one per chunk.
fn arrays(column: &Column, privacy: Privacy) -> Result<(Field, Vec<ArrayRef>)> {
    let name = column.name();
    let export = || -> Result<(Field, Vec<ArrayRef>), Cause> {
        let series = column.as_materialized_series();
        if series.dtype().is_null() {
            let nulls = series.chunk_lengths().map(|rows| Arc::new(NullArray::new(rows)) as ArrayRef).collect();
            return Ok((Field::new(name.as_str(), DataType::Null, true), nulls));
        }
        let leaving = crossing::leaving(series.dtype());
        let series =
            if leaving == *series.dtype() { Cow::Borrowed(series) } else { Cow::Owned(series.cast(&leaving)?) };
        let polars_field = polars_field(name, &leaving)?;
        let chunk = |index| series.to_arrow_with_field(index, Cow::Borrowed(&polars_field), true);
        let arrays = (0..series.n_chunks()).map(chunk).collect::<Result<Vec<_>, _>>()?;
        let (field, arrays) = ffi::from_polars(&polars_field, arrays)?;
        let field = crossing::inward(&field);
        let arrays = arrays.iter().map(|array| crossing::cast(array, field.data_type())).collect::<Result<_, _>>()?;
        Ok((field, arrays))
    };
    caught(export).map_err(in_column(name, privacy))
}

/// The field as which a polars column leaves, in polars' Arrow.
fn polars_field(name: &str, leaving: &pl::DataType) -> Result<pl::ArrowField, Cause> {
    leaving.try_to_arrow(CompatLevel::newest())?;
    Ok(leaving.to_arrow_field(name.into(), CompatLevel::newest()))
}

/// Columns of a plan that was resolved.
fn schema_of(schema: &pl::Schema, privacy: Privacy) -> Result<Schema> {
    let field = |(name, data_type): (&pl::PlSmallStr, &pl::DataType)| {
        // An array of no rows says what the field of one with rows would be.
        let empty = Column::new_empty(name.clone(), data_type);
        Ok(arrays(&empty, privacy)?.0)
    };
    Schema::new(ArrowSchema::new(schema.iter().map(field).collect::<Result<Vec<_>>>()?))
}

#[cfg(test)]
mod tests;
