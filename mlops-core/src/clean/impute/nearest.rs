//! Missing numbers from the rows that are most alike.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Float64Array, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::cast;
use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use super::super::learn::Sample;
use super::super::pick::is_number;
use super::super::rows::{Fieldset, Named, RowKernel, RowPass, booleans, may_be_learned, pack, settings};
use super::super::study::{self, Study};
use super::super::{Change, FittedTransform, Pass, Pick, Scope, StepChanges, Transform, TransformState};
use super::{Nan, SUFFIX, missing};
use crate::interop::floats;
use crate::{Dataset, Error, Result, Schema};

pub(in crate::clean) const KIND: &str = "nearest";

/// Donors where nothing was said.
const DONORS_DEFAULT: u32 = 1000;

/// Most donors of one state.
const DONORS_MAX: u32 = 100_000;

const SEED: u64 = 0x6b6e_6e00;

/// How the rows nearest count.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Neighbours {
    /// All alike.
    #[default]
    Uniform,
    /// By the inverse of their distance; those at distance 0 alone, where there are any.
    Distance,
}

/// Fills missing numbers with the mean of those in the `k` nearest rows of the fit (`KNNImputer`; Troyanskaya et al., *Missing
/// value estimation methods for DNA microarrays*, Bioinformatics 17, 2001).
///
/// * The distance of two rows is `√(p / q · Σ (xᵢ − yᵢ)²)` over the `q` of the `p` columns that both have. For a column, those
///   rows count that have it and share another with the row; where there is none, its mean over the donors is taken. Bring
///   the columns to one scale first.
/// * Missing are nulls and NaN. Infinities stay, and count as missing where distances and means are taken.
/// * Columns of integers become `Float64`, `Float32` stays; filled columns have no nulls. Roles, sensitivities and units stay.
/// * The state holds the rows themselves, at most [`donors_max`](NearestBuilder::donors_max) of them; of more, a sample that is
///   the same in every run. So columns that tell about a person are refused.
/// * Cost: each row with a gap is compared with all donors.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::Dataset;
/// use mlops_core::arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
/// use mlops_core::arrow::datatypes::Float64Type;
/// use mlops_core::clean::{FittedTransformExt, Nearest, Transform};
///
/// let rows = RecordBatch::try_from_iter([
///     ("a", Arc::new(Float64Array::from(vec![1.0, 2.0, 9.0])) as ArrayRef),
///     ("b", Arc::new(Float64Array::from(vec![Some(10.0), None, Some(90.0)]))),
/// ])?;
/// let nearest = Nearest::builder(["a", "b"]).neighbours(1).build()?;
/// let clean = nearest.fit(&Dataset::from_batches([rows.clone()])?)?.apply_batch(&rows)?;
/// assert_eq!(clean["b"].as_primitive::<Float64Type>().values(), &[10.0, 10.0, 90.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "NearestBuilder", into = "NearestBuilder")]
pub struct Nearest {
    settings: NearestBuilder,
}

/// Builder of [`Nearest`], and its form in files (every field but the columns may be left out).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NearestBuilder {
    columns: Pick,
    #[serde(default = "five")]
    neighbours: u32,
    #[serde(default)]
    weights: Neighbours,
    #[serde(default = "donors")]
    donors_max: u32,
    #[serde(default)]
    indicator: bool,
}

fn five() -> u32 {
    5
}

fn donors() -> u32 {
    DONORS_DEFAULT
}

impl NearestBuilder {
    /// How many rows nearest are averaged, at least 1. Default 5.
    pub fn neighbours(mut self, neighbours: u32) -> Self {
        self.neighbours = neighbours;
        self
    }

    /// How they count. Default [`Neighbours::Uniform`].
    pub fn weights(mut self, weights: Neighbours) -> Self {
        self.weights = weights;
        self
    }

    /// Most rows that the state holds, 1..=100,000. Default 1000.
    pub fn donors_max(mut self, donors: u32) -> Self {
        self.donors_max = donors;
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
    /// [`Error::Invalid`] when there is no neighbour, or the donors are outside `1..=100000`.
    pub fn build(self) -> Result<Nearest> {
        if self.neighbours == 0 {
            return Err(Error::invalid("neighbours", 0, "at least 1"));
        }
        if !(1..=DONORS_MAX).contains(&self.donors_max) {
            return Err(Error::invalid("donors_max", self.donors_max, "within 1..=100000"));
        }
        Ok(Nearest { settings: self })
    }
}

impl TryFrom<NearestBuilder> for Nearest {
    type Error = Error;

    fn try_from(builder: NearestBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<Nearest> for NearestBuilder {
    fn from(nearest: Nearest) -> Self {
        nearest.settings
    }
}

impl Nearest {
    /// Starts with the numbers of `columns`: they are compared, and they are filled.
    pub fn builder(columns: impl Into<Pick>) -> NearestBuilder {
        NearestBuilder {
            columns: columns.into(),
            neighbours: five(),
            weights: Neighbours::Uniform,
            donors_max: DONORS_DEFAULT,
            indicator: false,
        }
    }
}

impl Nearest {
    /// What a fit needs of rows of `schema`.
    fn begin(&self, schema: &Schema) -> Result<Study> {
        let names = self.settings.columns.names(schema)?;
        let mut columns = Vec::with_capacity(names.len());
        for name in &names {
            let data_type = schema.field(name)?.data_type();
            if !is_number(data_type) {
                return Err(Error::schema(name, "integers or floats", data_type));
            }
            may_be_learned(schema, name)?;
            columns.push(Named::of(schema, name)?);
        }
        let Self { settings: NearestBuilder { neighbours, weights, indicator, .. } } = *self;
        let schema = schema.clone();
        let conclude = move |sample: Sample| {
            let donors: Vec<Vec<Option<f64>>> =
                sample.finish().into_iter().map(|column| column.into_iter().map(finite).collect()).collect();
            lacks_nothing(&columns, &donors)?;
            let fitted = FittedNearest { columns, donors, neighbours, weights, indicator };
            fitted.output_schema(&schema)?;
            Ok(Box::new(fitted) as Box<dyn FittedTransform>)
        };
        let sample = Sample::new(names.len(), self.settings.donors_max as usize, SEED);
        let study = Study::new(study::learner(sample, Sample::update, conclude)).reads(names.clone()).changes(names);
        Ok(study.picks(study::any_picks([&self.settings.columns])).reshapes(indicator))
    }
}

impl Transform for Nearest {
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

/// That each column has a donor.
fn lacks_nothing(columns: &[Named], donors: &[Vec<Option<f64>>]) -> Result<()> {
    for (named, column) in columns.iter().zip(donors) {
        if column.iter().all(Option::is_none) {
            let found = format!("{} rows without", column.len());
            return Err(Error::schema(&named.name, "a finite value to learn from", found));
        }
    }
    Ok(())
}

fn finite(value: f64) -> Option<f64> {
    Some(value).filter(|value| value.is_finite())
}

/// A [`Nearest`] that knows its donors.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedNearest {
    columns: Vec<Named>,
    /// Per column, a value of each donor.
    donors: Vec<Vec<Option<f64>>>,
    neighbours: u32,
    weights: Neighbours,
    indicator: bool,
}

impl FittedNearest {
    /// How many rows it holds.
    pub fn donors(&self) -> usize {
        self.donors.first().map_or(0, Vec::len)
    }

    fn kernel(&self, input: &Schema) -> Result<Kernel> {
        let width = self.columns.len();
        if self.neighbours == 0 {
            return Err(Error::invalid_data(format!("state of `{KIND}`"), "no neighbour to take values from"));
        }
        if self.donors.len() != width || self.donors.iter().any(|column| column.len() != self.donors()) {
            return Err(Error::invalid_data(format!("state of `{KIND}`"), "donors do not have a value per column"));
        }
        let mut rows = vec![f64::NAN; width * self.donors()];
        let mut means = Vec::with_capacity(width);
        for (place, column) in self.donors.iter().enumerate() {
            for (donor, value) in column.iter().enumerate() {
                rows[donor * width + place] = value.unwrap_or(f64::NAN);
            }
            let (sum, count) = column.iter().flatten().fold((0.0, 0.0), |(sum, n), value| (sum + value, n + 1.0));
            means.push(sum / count);
        }
        let positions = self.columns.iter().map(|column| column.find(input)).collect::<Result<_>>()?;
        let names = self.columns.iter().map(|column| column.name.clone()).collect();
        let (neighbours, weights) = (self.neighbours as usize, self.weights);
        Ok(Kernel { positions, names, donors: Donors { rows, means, neighbours, weights }, indicator: self.indicator })
    }
}

fn output_type(data_type: &DataType) -> DataType {
    if data_type == &DataType::Float32 { DataType::Float32 } else { DataType::Float64 }
}

impl FittedTransform for FittedNearest {
    fn scope(&self) -> Scope {
        Scope::Row
    }

    fn output_schema(&self, input: &Schema) -> Result<Schema> {
        let mut fields = Fieldset::of(input);
        for column in &self.columns {
            let position = column.find(input)?;
            fields.replace(position, output_type(input.arrow().field(position).data_type()), false);
        }
        for column in self.columns.iter().filter(|_| self.indicator) {
            fields.flag(&column.name, SUFFIX)?;
        }
        fields.finish()
    }

    fn begin(&self, input: &Schema) -> Result<Box<dyn Pass>> {
        let output = self.output_schema(input)?;
        Ok(RowPass::begin(KIND, input, output, self.kernel(input)?))
    }

    fn state(&self) -> Result<TransformState> {
        pack(KIND, self)
    }
}

struct Kernel {
    positions: Vec<usize>,
    names: Vec<String>,
    donors: Donors,
    indicator: bool,
}

impl RowKernel for Kernel {
    fn treat(&mut self, batch: &RecordBatch, changes: &mut StepChanges) -> Result<(Vec<ArrayRef>, usize)> {
        let mut columns = batch.columns().to_vec();
        let (mut values, mut gaps) = (Vec::new(), Vec::new());
        for (&position, name) in self.positions.iter().zip(&self.names) {
            let array = batch.column(position);
            let gap = missing(array, Nan::Missing);
            changes.count(name, Change::Imputed, gap.count_set_bits() as u64);
            values.push(floats(name, array)?.to_vec());
            gaps.push(gap);
        }
        self.donors.fill(&mut values, &gaps, batch.num_rows());
        for ((&position, values), gap) in self.positions.iter().zip(values).zip(gaps) {
            let filled: ArrayRef = Arc::new(Float64Array::from(values));
            columns[position] = cast(&filled, &output_type(batch.column(position).data_type()))?;
            if self.indicator {
                columns.push(booleans(gap));
            }
        }
        Ok((columns, batch.num_rows()))
    }
}

struct Donors {
    /// Row after row, NaN where missing.
    rows: Vec<f64>,
    means: Vec<f64>,
    neighbours: usize,
    weights: Neighbours,
}

impl Donors {
    fn fill(&self, values: &mut [Vec<f64>], gaps: &[BooleanBuffer], rows: usize) {
        let width = values.len();
        let mut own = vec![0.0; width];
        let mut distances = Vec::new();
        for row in 0..rows {
            if gaps.iter().all(|gap| !gap.value(row)) {
                continue;
            }
            for (own, column) in own.iter_mut().zip(values.iter()) {
                *own = finite(column[row]).unwrap_or(f64::NAN);
            }
            distances.clear();
            distances.extend(self.rows.chunks_exact(width).map(|donor| distance(&own, donor)));
            for place in (0..width).filter(|place| gaps[*place].value(row)) {
                values[place][row] = self.mean(place, &distances);
            }
        }
    }

    /// Mean of the column at `place` over the nearest of those that have it.
    fn mean(&self, place: usize, distances: &[f64]) -> f64 {
        let width = self.means.len();
        let value = |donor: usize| self.rows[donor * width + place];
        let mut near: Vec<(f64, usize)> = distances.iter().copied().zip(0..).collect();
        near.retain(|(distance, donor)| !distance.is_nan() && !value(*donor).is_nan());
        let order = |a: &(f64, usize), b: &(f64, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        if near.len() > self.neighbours {
            near.select_nth_unstable_by(self.neighbours - 1, order);
            near.truncate(self.neighbours);
        }
        near.sort_unstable_by(order);
        let Some((nearest, _)) = near.first() else { return self.means[place] };
        let weight = |distance: f64| match self.weights {
            Neighbours::Uniform => 1.0,
            Neighbours::Distance if *nearest == 0.0 => f64::from(u8::from(distance == 0.0)),
            Neighbours::Distance => 1.0 / distance,
        };
        let sum = near.iter().fold((0.0, 0.0), |(sum, total), (distance, donor)| {
            let weight = weight(*distance);
            (sum + weight * value(*donor), total + weight)
        });
        // Rows that are infinitely far away weigh nothing.
        if sum.1 > 0.0 { sum.0 / sum.1 } else { self.means[place] }
    }
}

/// Over the columns that both rows have; NaN where there is none.
fn distance(a: &[f64], b: &[f64]) -> f64 {
    let (mut sum, mut shared) = (0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let square = (a - b) * (a - b);
        if !square.is_nan() {
            sum += square;
            shared += 1.0;
        }
    }
    (a.len() as f64 / shared * sum).sqrt()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray};

    use super::super::super::fixture::{clean, column, data, floats, near, pass};
    use super::*;
    use crate::schema::Sensitivity;

    fn table() -> Dataset {
        let a = vec![Some(1.0), Some(3.0), None, Some(8.0), Some(2.0), None];
        let b = vec![Some(2.0), Some(4.0), Some(6.0), Some(8.0), None, Some(f64::NAN)];
        let c = vec![None, Some(3.0), Some(5.0), Some(7.0), Some(2.5), None];
        data([
            ("a", column(Float64Array::from(a))),
            ("b", column(Float64Array::from(b))),
            ("c", column(Float64Array::from(c))),
        ])
    }

    fn two(weights: Neighbours) -> Nearest {
        Nearest::builder(Pick::Numbers).neighbours(2).weights(weights).indicator(true).build().unwrap()
    }

    #[track_caller]
    fn filled(weights: Neighbours, expected: [[f64; 6]; 3], new: [[f64; 2]; 3]) {
        let fitted = two(weights).fit(&table()).unwrap();
        let (treated, changes) = pass(fitted.as_ref(), &table());
        for (name, expected) in ["a", "b", "c"].into_iter().zip(expected) {
            near(&floats(&treated, name), &expected.map(Some));
            assert_eq!(changes.cells(name, Change::Imputed), 2);
        }
        assert_eq!(treated.num_columns(), 6);
        let rows = data([
            ("a", column(Float64Array::from(vec![Some(3.0), None]))),
            ("b", column(Float64Array::from(vec![Some(4.0), None]))),
            ("c", column(Float64Array::from(vec![None, Some(9.0)]))),
        ]);
        let (treated, _) = pass(fitted.as_ref(), &rows);
        for (name, expected) in ["a", "b", "c"].into_iter().zip(new) {
            near(&floats(&treated, name), &expected.map(Some));
        }
    }

    #[test]
    fn values_are_those_of_scikit_learn() {
        // scikit-learn 1.9.1: KNNImputer(n_neighbors=2, weights=…).
        filled(
            Neighbours::Uniform,
            [[1.0, 3.0, 5.5, 8.0, 2.0, 3.5], [2.0, 4.0, 6.0, 8.0, 3.0, 5.0], [2.75, 3.0, 5.0, 7.0, 2.5, 4.375]],
            [[3.0, 5.5], [4.0, 7.0], [2.75, 9.0]],
        );
        filled(
            Neighbours::Distance,
            [
                [1.0, 3.0, 5.5, 8.0, 2.0, 3.5],
                [2.0, 4.0, 6.0, 8.0, 3.116963119775494, 5.0],
                [2.6666666666666665, 3.0, 5.0, 7.0, 2.5, 4.375],
            ],
            [[3.0, 6.75], [4.0, 7.333333333333333], [3.0, 9.0]],
        );
    }

    #[test]
    fn donors_are_bounded_and_what_cannot_be_compared_is_refused() {
        let many = data([("a", column(Int64Array::from_iter_values(0..5000)))]);
        let nearest = Nearest::builder("a").donors_max(100).build().unwrap();
        let state = nearest.fit(&many).unwrap().state().unwrap();
        let fitted: FittedNearest = serde_json::from_value(state.body).unwrap();
        assert!((30..=100).contains(&fitted.donors()), "{}", fitted.donors());
        let text = data([("a", column(StringArray::from(vec!["x"])))]);
        let empty = data([("a", column(Float64Array::from(vec![None, Some(f64::INFINITY)])))]);
        let own = many.with_schema(many.schema().with_sensitivity("a", Sensitivity::Personal).unwrap()).unwrap();
        for table in [text, empty, own] {
            assert!(matches!(nearest.fit(&table), Err(Error::Schema { column, .. }) if column == "a"));
        }
        let mut hostile = nearest.fit(&many).unwrap().state().unwrap();
        hostile.body["neighbours"] = serde_json::json!(0);
        assert!(super::super::super::restore(&hostile).unwrap().begin(many.schema()).is_err());
        assert!(Nearest::builder("a").neighbours(0).build().is_err());
        assert!(Nearest::builder("a").donors_max(0).build().is_err());
        let integers = data([("a", column(Int64Array::from(vec![Some(1), None])))]);
        near(&floats(&clean(&nearest, &integers).0, "a"), &[Some(1.0), Some(1.0)]);
    }
}
