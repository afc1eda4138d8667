//! Missing values from the rows before, group by group.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray,
    TimestampMicrosecondArray, new_empty_array,
};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{cast, interleave};
use arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use super::super::dedup::KeyReader;
use super::super::pick::is_number;
use super::super::rows::{Fieldset, Named, admit, assemble, booleans, may_be_learned, pack, settings};
use super::super::{Change, Changes, FittedTransform, Pass, Pick, Scope, StepChanges, Transform, TransformState};
use super::{Nan, SUFFIX, missing};
use crate::schema::Role;
use crate::source::{Scalar, ScanRequest, is_text};
use crate::stats::values::is_time;
use crate::time::EventTime;
use crate::{Dataset, Error, Result, Schema};

pub(in crate::clean) const KIND: &str = "fill_forward";

/// Most groups where nothing was said.
pub const GROUPS_DEFAULT: u64 = 1_000_000;

/// Fills missing values with the last one before them in their group, in order of the event time.
///
/// * [`Scope::Table`]: a row is filled from the rows before it. What was fitted also knows the last value of each group and
///   column, and from when it is: it fills gaps of later rows (strictly), so that a table goes on where that of the fit ended,
///   and nothing flows back in time. [`FittedTransform::for_rows`] does only that, for single requests.
/// * Rows must come in order of their event time within a group: one that is older than another before it is an error, and so
///   is one without a time. Sort first.
/// * A gap with nothing before it stays. A row with a null in its group's columns is a group of its own: nothing is filled.
/// * Missing are nulls, and NaN in columns of floats. Types, roles, sensitivities and units stay.
/// * The state names groups by digest and holds a value per group and column, so columns that tell about a person are refused.
///   At most [`groups_max`](FillForwardBuilder::groups_max) groups. One scan.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::arrow::array::{ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, TimestampSecondArray};
/// use mlops_core::arrow::datatypes::Float64Type;
/// use mlops_core::clean::{FillForward, FittedTransformExt, Transform};
/// use mlops_core::Dataset;
///
/// let table = |ids, at, price: Vec<Option<f64>>| {
///     RecordBatch::try_from_iter_with_nullable([
///         ("id", Arc::new(Int64Array::from_iter_values::<Vec<i64>>(ids)) as ArrayRef, false),
///         ("at", Arc::new(TimestampSecondArray::from_iter_values::<Vec<i64>>(at)), false),
///         ("price", Arc::new(Float64Array::from(price)), true),
///     ])
/// };
/// let history = table(vec![1, 2, 1], vec![10, 10, 20], vec![Some(5.0), Some(7.0), None])?;
/// let fill = FillForward::builder("price").by("id").time("at").build()?;
/// let fitted = fill.fit(&Dataset::from_batches([history])?)?;
/// let request = table(vec![1], vec![30], vec![None])?;
/// let rows = fitted.for_rows().ok_or("it treats single rows")?;
/// assert_eq!(rows.apply_batch(&request)?["price"].as_primitive::<Float64Type>().value(0), 5.0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "FillForwardBuilder", into = "FillForwardBuilder")]
pub struct FillForward {
    settings: FillForwardBuilder,
}

/// Builder of [`FillForward`], and its form in files (every field but the columns may be left out).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FillForwardBuilder {
    columns: Pick,
    #[serde(default)]
    by: Option<Pick>,
    #[serde(default)]
    time: Option<String>,
    #[serde(default = "groups")]
    groups_max: u64,
    #[serde(default)]
    indicator: bool,
}

fn groups() -> u64 {
    GROUPS_DEFAULT
}

impl FillForwardBuilder {
    /// Columns that make a group. Default: those of role [`Role::Key`].
    pub fn by(mut self, columns: impl Into<Pick>) -> Self {
        self.by = Some(columns.into());
        self
    }

    /// Column of the event time. Default: the one column of role [`Role::EventTime`].
    pub fn time(mut self, column: impl Into<String>) -> Self {
        self.time = Some(column.into());
        self
    }

    /// Most groups of a fit and of a pass. Default [`GROUPS_DEFAULT`].
    pub fn groups_max(mut self, groups: u64) -> Self {
        self.groups_max = groups;
        self
    }

    /// Whether a column `<name>_missing` of booleans per column is added, after all others. Default no.
    pub fn indicator(mut self, indicator: bool) -> Self {
        self.indicator = indicator;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there may be no group.
    pub fn build(self) -> Result<FillForward> {
        if self.groups_max == 0 {
            return Err(Error::invalid("groups_max", 0, "at least 1"));
        }
        Ok(FillForward { settings: self })
    }
}

impl TryFrom<FillForwardBuilder> for FillForward {
    type Error = Error;

    fn try_from(builder: FillForwardBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<FillForward> for FillForwardBuilder {
    fn from(fill: FillForward) -> Self {
        fill.settings
    }
}

impl FillForward {
    /// Starts with the numbers, booleans, texts and times of `columns`.
    pub fn builder(columns: impl Into<Pick>) -> FillForwardBuilder {
        FillForwardBuilder {
            columns: columns.into(),
            by: None,
            time: None,
            groups_max: GROUPS_DEFAULT,
            indicator: false,
        }
    }

    /// What is fitted, before it knows any group.
    fn unlearned(&self, schema: &Schema) -> Result<FittedFillForward> {
        let named = |names: Vec<String>| names.iter().map(|name| Named::of(schema, name)).collect::<Result<Vec<_>>>();
        let columns = named(self.settings.columns.names(schema)?)?;
        for column in &columns {
            may_be_learned(schema, &column.name)?;
            let data_type = schema.field(&column.name)?.data_type();
            if !(is_number(data_type) || is_text(data_type) || is_time(data_type) || data_type == &DataType::Boolean) {
                return Err(Error::schema(&column.name, "numbers, booleans, text or times", data_type));
            }
        }
        let by = named(self.settings.by.clone().unwrap_or(Pick::Role(Role::Key)).names(schema)?)?;
        let time = match &self.settings.time {
            Some(time) => time.as_str(),
            None => schema.single(Role::EventTime)?,
        };
        if !is_time(schema.field(time)?.data_type()) {
            return Err(Error::schema(time, "a time", schema.field(time)?.data_type()));
        }
        if let Some(column) = columns.iter().find(|column| column.name == time || by.contains(column)) {
            return Err(Error::schema(&column.name, "a column beside those of group and time", "one of them"));
        }
        let (groups_max, indicator) = (self.settings.groups_max, self.settings.indicator);
        let time = Named::of(schema, time)?;
        Ok(FittedFillForward { columns, by, time, groups_max, indicator, rows_only: false, groups: BTreeMap::new() })
    }
}

impl Transform for FillForward {
    fn fit(&self, data: &Dataset) -> Result<Box<dyn FittedTransform>> {
        let mut fitted = self.unlearned(data.schema())?;
        fitted.output_schema(data.schema())?;
        let names: Vec<&str> = fitted.names().collect();
        let stream = data.scan(&ScanRequest::all().columns(names))?;
        let mut walk = Walk::begin(&fitted, stream.schema())?;
        for batch in stream {
            walk.learn(&batch?)?;
        }
        let last = |(digest, group): (u128, Group)| (format!("{digest:032x}"), group);
        fitted.groups = walk.groups.into_iter().map(last).collect();
        Ok(Box::new(fitted))
    }

    fn settings(&self) -> Result<serde_json::Value> {
        settings(KIND, self)
    }
}

/// The last value of each column, and when it was.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Group {
    at: i64,
    last: Vec<Option<(i64, Scalar)>>,
}

/// A [`FillForward`] that knows the last values.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedFillForward {
    columns: Vec<Named>,
    by: Vec<Named>,
    time: Named,
    groups_max: u64,
    indicator: bool,
    rows_only: bool,
    /// By the digest of their key.
    groups: BTreeMap<String, Group>,
}

impl FittedFillForward {
    /// How many groups it knows.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        let columns = self.columns.iter().chain(&self.by);
        columns.chain([&self.time]).map(|named| named.name.as_str())
    }
}

impl FittedTransform for FittedFillForward {
    fn scope(&self) -> Scope {
        if self.rows_only { Scope::Row } else { Scope::Table }
    }

    fn output_schema(&self, input: &Schema) -> Result<Schema> {
        self.by.iter().chain([&self.time]).try_for_each(|named| named.find(input).map(drop))?;
        let mut fields = Fieldset::of(input);
        for column in &self.columns {
            column.find(input)?;
            if self.indicator {
                fields.flag(&column.name, SUFFIX)?;
            }
        }
        fields.finish()
    }

    fn begin(&self, input: &Schema) -> Result<Box<dyn Pass>> {
        let output = self.output_schema(input)?;
        let walk = Walk::begin(self, input)?;
        let known = self.groups.iter().map(|(digest, group)| {
            let digest = u128::from_str_radix(digest, 16).map_err(|e| Error::invalid_data("digest of a group", e))?;
            if group.last.len() == self.columns.len() {
                Ok((digest, group.clone()))
            } else {
                Err(Error::invalid_data(format!("state of `{KIND}`"), "a group without a place per column"))
            }
        });
        let known = known.collect::<Result<_>>()?;
        let changes = StepChanges::new(KIND);
        Ok(Box::new(ForwardPass {
            input: input.clone(),
            output,
            walk,
            known,
            indicator: self.indicator,
            rows_only: self.rows_only,
            changes,
        }))
    }

    fn for_rows(&self) -> Option<Arc<dyn FittedTransform>> {
        Some(Arc::new(Self { rows_only: true, ..self.clone() }))
    }

    fn state(&self) -> Result<TransformState> {
        pack(KIND, self)
    }
}

type Groups = HashMap<u128, Group, FixedState>;

/// Goes through rows and remembers the last values of each group.
struct Walk {
    columns: Vec<(usize, String)>,
    time: (usize, String),
    reader: KeyReader,
    groups_max: u64,
    groups: Groups,
}

/// A gap of one column: its row, and the value that fills it.
type Fillings = Vec<(usize, Scalar)>;

impl Walk {
    fn begin(fitted: &FittedFillForward, input: &Schema) -> Result<Self> {
        let find = |named: &Named| named.find(input).map(|position| (position, named.name.clone()));
        let by = fitted.by.iter().map(|named| named.find(input)).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            columns: fitted.columns.iter().map(find).collect::<Result<_>>()?,
            time: find(&fitted.time)?,
            reader: KeyReader::new(input, by, false)?,
            groups_max: fitted.groups_max,
            groups: HashMap::default(),
        })
    }

    /// Group and time of each row.
    fn places(&self, batch: &RecordBatch) -> Result<(Vec<Option<u128>>, TimestampMicrosecondArray)> {
        let times = cast(batch.column(self.time.0), &EventTime::data_type())?;
        let lacking = times.logical_null_count();
        if lacking > 0 {
            return Err(Error::schema(&self.time.1, "a time in every row", format!("{lacking} rows without")));
        }
        Ok((self.reader.digests(batch)?, times.as_primitive::<TimestampMicrosecondType>().clone()))
    }

    /// The group of a row at `time`, which must not be older than those before.
    fn visit(&mut self, digest: u128, time: i64) -> Result<&mut Group> {
        if self.groups.len() as u64 >= self.groups_max && !self.groups.contains_key(&digest) {
            return Err(Error::invalid("groups_max", self.groups_max, "as many as there are different groups"));
        }
        let fresh = || Group { at: time, last: vec![None; self.columns.len()] };
        let group = self.groups.entry(digest).or_insert_with(fresh);
        if time < group.at {
            return Err(Error::schema(
                &self.time.1,
                "rows of a group in order of time: sort them",
                "an older row later",
            ));
        }
        group.at = time;
        Ok(group)
    }

    fn learn(&mut self, batch: &RecordBatch) -> Result<()> {
        let (digests, times) = self.places(batch)?;
        let readers = self.readers(batch)?;
        for (row, digest) in digests.into_iter().enumerate() {
            let time = times.value(row);
            let Some(digest) = digest else { continue };
            let group = self.visit(digest, time)?;
            for (last, reader) in group.last.iter_mut().zip(&readers) {
                if let Some(value) = reader.value(row)? {
                    *last = Some((time, value));
                }
            }
        }
        Ok(())
    }

    fn readers(&self, batch: &RecordBatch) -> Result<Vec<Cells>> {
        self.columns.iter().map(|(position, name)| Cells::of(name, batch.column(*position))).collect()
    }

    /// What fills the gaps of `batch`, column by column; remembers its values.
    fn fill(&mut self, batch: &RecordBatch, known: &Groups) -> Result<(Vec<Fillings>, Vec<BooleanBuffer>)> {
        let (digests, times) = self.places(batch)?;
        let readers = self.readers(batch)?;
        let mut fillings = vec![Vec::new(); readers.len()];
        for (row, digest) in digests.into_iter().enumerate() {
            let time = times.value(row);
            let Some(digest) = digest else { continue };
            let group = self.visit(digest, time)?;
            for (place, reader) in readers.iter().enumerate() {
                if let Some(value) = reader.value(row)? {
                    group.last[place] = Some((time, value));
                } else if let Some((_, value)) =
                    group.last[place].as_ref().or_else(|| before(known, digest, place, time))
                {
                    fillings[place].push((row, value.clone()));
                }
            }
        }
        Ok((fillings, readers.into_iter().map(|reader| reader.gaps).collect()))
    }

    /// As [`fill`](Self::fill), from what is known alone.
    fn fill_alone(&self, batch: &RecordBatch, known: &Groups) -> Result<(Vec<Fillings>, Vec<BooleanBuffer>)> {
        let (digests, times) = self.places(batch)?;
        let gaps: Vec<_> = self.columns.iter().map(|(at, _)| missing(batch.column(*at), Nan::Missing)).collect();
        let mut fillings = vec![Vec::new(); gaps.len()];
        for (row, digest) in digests.into_iter().enumerate() {
            let Some(digest) = digest else { continue };
            for place in (0..gaps.len()).filter(|place| gaps[*place].value(row)) {
                if let Some((_, value)) = before(known, digest, place, times.value(row)) {
                    fillings[place].push((row, value.clone()));
                }
            }
        }
        Ok((fillings, gaps))
    }
}

/// The last value known of a group, where it is from before `time`.
fn before(known: &Groups, digest: u128, place: usize, time: i64) -> Option<&(i64, Scalar)> {
    known.get(&digest)?.last.get(place)?.as_ref().filter(|(at, _)| *at < time)
}

struct ForwardPass {
    input: Schema,
    output: Schema,
    walk: Walk,
    known: Groups,
    indicator: bool,
    rows_only: bool,
    changes: StepChanges,
}

impl Pass for ForwardPass {
    fn apply(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let batch = admit(&self.input, batch)?;
        let (fillings, gaps) = if self.rows_only {
            self.walk.fill_alone(&batch, &self.known)?
        } else {
            self.walk.fill(&batch, &self.known)?
        };
        let mut columns = batch.columns().to_vec();
        for (((position, name), fillings), gaps) in self.walk.columns.iter().zip(fillings).zip(gaps) {
            self.changes.count(name, Change::Imputed, fillings.len() as u64);
            columns[*position] = filled(batch.column(*position), &fillings)?;
            if self.indicator {
                columns.push(booleans(gaps));
            }
        }
        self.changes.rows_in += batch.num_rows() as u64;
        self.changes.rows_out += batch.num_rows() as u64;
        assemble(&self.output, columns, batch.num_rows())
    }

    fn drain(&mut self) -> Result<Option<RecordBatch>> {
        Ok(None)
    }

    fn changes(&self) -> Changes {
        self.changes.clone().into()
    }
}

/// `array` with `fillings` put in.
fn filled(array: &ArrayRef, fillings: &Fillings) -> Result<ArrayRef> {
    if fillings.is_empty() {
        return Ok(array.clone());
    }
    let values = values_of(fillings, array.data_type())?;
    let mut sources: Vec<(usize, usize)> = (0..array.len()).map(|row| (0, row)).collect();
    for (place, (row, _)) in fillings.iter().enumerate() {
        sources[*row] = (1, place);
    }
    Ok(interleave(&[array, &values], &sources)?)
}

/// The values of `fillings` in one array of `data_type`.
fn values_of(fillings: &Fillings, data_type: &DataType) -> Result<ArrayRef> {
    let values = || fillings.iter().map(|(_, value)| value);
    let array: ArrayRef = match fillings.first() {
        None => new_empty_array(data_type),
        Some((_, Scalar::Bool(_))) => {
            Arc::new(values().map(|v| if let Scalar::Bool(v) = v { Some(*v) } else { None }).collect::<BooleanArray>())
        }
        Some((_, Scalar::Int(_))) => {
            Arc::new(values().map(|v| if let Scalar::Int(v) = v { Some(*v) } else { None }).collect::<Int64Array>())
        }
        Some((_, Scalar::Float(_))) => {
            Arc::new(values().map(|v| if let Scalar::Float(v) = v { Some(*v) } else { None }).collect::<Float64Array>())
        }
        Some((_, Scalar::Text(_))) => {
            Arc::new(values().map(|v| if let Scalar::Text(v) = v { Some(v) } else { None }).collect::<StringArray>())
        }
        Some((_, Scalar::Time(_))) => {
            let micros = values().map(|v| if let Scalar::Time(v) = v { Some(v.as_micros()) } else { None });
            Arc::new(micros.collect::<TimestampMicrosecondArray>().with_timezone("UTC"))
        }
    };
    let array = cast(&array, data_type)?;
    if array.null_count() > 0 {
        return Err(Error::invalid_data(format!("state of `{KIND}`"), "a value of another type than its column"));
    }
    Ok(array)
}

/// Reads the cells of one column.
struct Cells {
    name: String,
    plain: ArrayRef,
    gaps: BooleanBuffer,
}

impl Cells {
    fn of(name: &str, array: &ArrayRef) -> Result<Self> {
        let data_type = array.data_type();
        let plain = match data_type {
            DataType::Boolean => array.clone(),
            DataType::Float32 | DataType::Float64 => cast(array, &DataType::Float64)?,
            DataType::UInt64 => cast(array, &DataType::Int64)?,
            number if number.is_integer() => cast(array, &DataType::Int64)?,
            text if is_text(text) => cast(array, &DataType::Utf8)?,
            _ => cast(array, &EventTime::data_type())?,
        };
        if plain.logical_null_count() > array.logical_null_count() {
            return Err(Error::schema(name, "values within 64 signed bits or the range of µs", "others"));
        }
        Ok(Self { name: name.to_owned(), gaps: missing(array, Nan::Missing), plain })
    }

    fn value(&self, row: usize) -> Result<Option<Scalar>> {
        if self.gaps.value(row) {
            return Ok(None);
        }
        Ok(Some(match self.plain.data_type() {
            DataType::Boolean => Scalar::Bool(self.plain.as_boolean().value(row)),
            DataType::Int64 => Scalar::Int(self.plain.as_primitive::<Int64Type>().value(row)),
            DataType::Float64 => {
                let value = self.plain.as_primitive::<Float64Type>().value(row);
                if value.is_infinite() {
                    return Err(Error::schema(&self.name, "finite numbers, which a state can hold", value));
                }
                Scalar::Float(value)
            }
            DataType::Utf8 => Scalar::Text(self.plain.as_string::<i32>().value(row).to_owned()),
            _ => {
                let micros = self.plain.as_primitive::<TimestampMicrosecondType>().value(row);
                Scalar::Time(EventTime::from_micros(micros))
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::TimestampSecondArray;

    use super::super::super::fixture::{column, data, floats, near, pass, recut};
    use super::super::super::{FittedTransformExt, restore, restore_rows};
    use super::*;
    use crate::schema::Sensitivity;

    fn table(ids: Vec<Option<i64>>, at: Vec<i64>, x: Vec<Option<f64>>) -> Dataset {
        let notes = x.iter().map(|x| x.filter(|x| !x.is_nan()).map(|x| format!("note {x}")));
        let rows = data([
            ("id", column(Int64Array::from(ids))),
            ("at", column(TimestampSecondArray::from(at))),
            ("note", column(notes.collect::<StringArray>())),
            ("x", column(Float64Array::from(x))),
        ]);
        let schema = rows.schema().with_role("id", Role::Key).and_then(|s| s.with_role("at", Role::EventTime)).unwrap();
        rows.with_schema(schema).unwrap()
    }

    fn history() -> Dataset {
        let ids = vec![Some(1), Some(2), Some(1), Some(1), Some(2), None, None];
        let x = vec![Some(1.0), None, Some(f64::NAN), Some(3.0), None, Some(9.0), None];
        table(ids, vec![10, 10, 20, 30, 40, 50, 60], x)
    }

    fn fill() -> FillForward {
        FillForward::builder(["x", "note"]).indicator(true).build().unwrap()
    }

    #[test]
    fn gaps_are_filled_from_the_rows_before_whatever_the_cut() {
        for data in [history(), recut(&history(), 1), recut(&history(), 3)] {
            let fitted = fill().fit(&data).unwrap();
            let (treated, changes) = pass(fitted.as_ref(), &data);
            // Group 2 has no value, and rows without a key have no group.
            near(&floats(&treated, "x"), &[Some(1.0), None, Some(1.0), Some(3.0), None, Some(9.0), None]);
            assert_eq!(treated["note"].as_string::<i32>().value(2), "note 1");
            assert_eq!(treated["x_missing"].as_boolean().true_count(), 4);
            assert_eq!(changes.cells("x", Change::Imputed), 1);
        }
    }

    #[test]
    fn a_later_table_goes_on_where_the_first_ended_and_nothing_flows_back() {
        let fitted = fill().fit(&history()).unwrap();
        let later = table(vec![Some(1), Some(1), Some(1), Some(2)], vec![20, 30, 31, 50], vec![None; 4]);
        let (treated, _) = pass(fitted.as_ref(), &later);
        // The last value of group 1 is from second 30: it fills what comes after that.
        near(&floats(&treated, "x"), &[None, None, Some(3.0), None]);
        let state = fitted.state().unwrap();
        assert!(!state.body.to_string().contains("\"1\""), "groups are named by digest");
        for rows in [fitted.for_rows().unwrap(), restore_rows(&state).unwrap().into()] {
            assert_eq!(rows.scope(), Scope::Row);
            let alone = rows.apply_batch(&later.to_batch().unwrap().slice(2, 1)).unwrap();
            near(&floats(&alone, "x"), &[Some(3.0)]);
            assert_eq!(alone["note"].as_string::<i32>().value(0), "note 3");
        }
        assert_eq!(restore(&state).unwrap().scope(), Scope::Table);
    }

    #[test]
    fn rows_out_of_order_and_too_many_groups_are_refused() {
        let turned = table(vec![Some(1), Some(1)], vec![20, 10], vec![Some(1.0), None]);
        let error = fill().fit(&turned).unwrap_err();
        assert!(matches!(&error, Error::Schema { column, .. } if column == "at"), "{error}");
        let few = FillForward::builder("x").groups_max(1).build().unwrap();
        assert!(matches!(few.fit(&history()), Err(Error::Invalid { setting: "groups_max", .. })));
        assert!(FillForward::builder("id").build().unwrap().fit(&history()).is_err());
        assert!(FillForward::builder("x").time("x").build().unwrap().fit(&history()).is_err());
        let own = history().schema().with_sensitivity("note", Sensitivity::Personal).unwrap();
        assert!(fill().fit(&history().with_schema(own).unwrap()).is_err());
        assert!(FillForward::builder("x").groups_max(0).build().is_err());
    }
}
