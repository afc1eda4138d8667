//! Numbers as the bins that they lie in.

mod tree;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type};
use serde::{Deserialize, Serialize};

use super::derive::{Make, Maker, fitted_by_column};
use super::learn::{Learned, Numbers, Sample};
use super::pick::{assign, is_number};
use super::rows::{Named, settings};
use super::study::{self, Study};
use super::{Change, FittedTransform, Pick, StepChanges, Transform};
use crate::schema::Role;
use crate::{Dataset, Error, Result, Schema};

pub(super) const KIND: &str = "bin";

/// Most bins of one column.
pub const BINS_MAX: u32 = 10_000;

/// Most rows that supervised bins are learned from; more are sampled.
const ROWS_MAX: usize = 1 << 17;

const SEED: u64 = 0x0062_696e;

/// Where the edges of bins lie.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Bins {
    /// So many bins of one width from the least value to the greatest (`KBinsDiscretizer(strategy="uniform")`).
    Width(u32),
    /// So many bins of as many values each, at quantiles of type 7; fewer where several of them are equal.
    Quantile(u32),
    /// At most so many bins, cut so that the squared distances of the label from its mean in each bin become least, one best
    /// cut after the other: a regression tree of so many leaves (Breiman et al., *Classification and Regression Trees*, 1984;
    /// `DecisionTreeRegressor(max_leaf_nodes=…)`). Learned from at most 131,072 rows.
    Supervised(u32),
    /// These edges, at least two, rising; nothing is learned.
    Edges(Vec<f64>),
}

impl Bins {
    fn check(&self) -> Result<()> {
        match self {
            Self::Width(bins) | Self::Quantile(bins) | Self::Supervised(bins) if !(2..=BINS_MAX).contains(bins) => {
                Err(Error::invalid("bins", bins, "within 2..=10000"))
            }
            Self::Edges(edges) if edges.len() < 2 || edges.len() > BINS_MAX as usize => {
                Err(Error::invalid("edges", edges.len(), "2 to 10000 of them"))
            }
            Self::Edges(edges) if edges.iter().any(|edge| !edge.is_finite()) || !edges.is_sorted_by(|a, b| a < b) => {
                Err(Error::invalid("edges", format!("{edges:?}"), "finite numbers, each above the one before"))
            }
            _ => Ok(()),
        }
    }

    /// Rising edges, the least and the greatest value among them; `None` without a finite value.
    fn edges(&self, learned: &Learned) -> Option<Vec<f64>> {
        let (min, max) = (learned.moments.min()?, learned.moments.max()?);
        let edges: Vec<f64> = match self {
            Self::Width(bins) => {
                // The difference of two huge ends may overflow where their parts do not.
                let at = |i: u32| {
                    let part = f64::from(i) / f64::from(*bins);
                    min * (1.0 - part) + max * part
                };
                let mut edges: Vec<f64> = (0..*bins).map(at).collect();
                edges.push(max);
                edges
            }
            Self::Quantile(bins) => {
                (0..=*bins).map(|i| learned.quantile(f64::from(i) / f64::from(*bins))).collect::<Option<_>>()?
            }
            Self::Supervised(_) | Self::Edges(_) => vec![min, max],
        };
        // Between ends that are equal, or nearly so, rounding may put an edge outside of them or before another.
        let mut rising: Vec<f64> = Vec::with_capacity(edges.len());
        for edge in edges.into_iter().map(|edge| edge.clamp(min, max)) {
            if rising.last().is_none_or(|last| edge > *last) {
                rising.push(edge);
            }
        }
        Some(rising)
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct BinRule {
    columns: Pick,
    bins: Bins,
}

/// Puts columns of integers and floats into bins.
///
/// * A column becomes the number of its bin from 0, `Int64`. Bin `i` holds `edge i ≤ x < edge i+1`; the first also all below,
///   the last also the greatest value and all above, infinities included.
/// * Nulls stay null, NaN becomes null; neither they nor infinities are learned from. A constant column has one bin; one
///   without a single finite value is an error.
/// * Roles, sensitivities and units stay.
/// * Memory of a fit: 8 bytes per value and column up to 2 MiB, or a sketch, for quantiles; 2 MiB per column for supervised
///   bins, and a second scan.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::Dataset;
/// use mlops_core::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch};
/// use mlops_core::arrow::datatypes::Int64Type;
/// use mlops_core::clean::{Bin, Bins, FittedTransformExt, Transform};
///
/// let ages = Int64Array::from(vec![20, 30, 40, 60]);
/// let rows = RecordBatch::try_from_iter([("age", Arc::new(ages) as ArrayRef)])?;
/// let bin = Bin::builder().column("age", Bins::Width(2)).build()?;
/// let clean = bin.fit(&Dataset::from_batches([rows.clone()])?)?.apply_batch(&rows)?;
/// assert_eq!(clean["age"].as_primitive::<Int64Type>().values(), &[0, 0, 1, 1]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "BinBuilder", into = "BinBuilder")]
pub struct Bin {
    settings: BinBuilder,
}

/// Builder of [`Bin`], and its form in files.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BinBuilder {
    rules: Vec<BinRule>,
    #[serde(default)]
    label: Option<String>,
}

impl BinBuilder {
    /// Puts `columns` into `bins`. Where two rules pick a column, the later one holds.
    pub fn column(mut self, columns: impl Into<Pick>, bins: Bins) -> Self {
        self.rules.push(BinRule { columns: columns.into(), bins });
        self
    }

    /// Column of the label of supervised bins. Default: the one column of role [`Role::Label`].
    pub fn label(mut self, column: impl Into<String>) -> Self {
        self.label = Some(column.into());
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no rule, a number of bins is outside `2..=10000`, or edges do not rise.
    pub fn build(self) -> Result<Bin> {
        if self.rules.is_empty() {
            return Err(Error::invalid("rules", "none", "at least one rule"));
        }
        self.rules.iter().try_for_each(|rule| rule.bins.check())?;
        Ok(Bin { settings: self })
    }
}

impl TryFrom<BinBuilder> for Bin {
    type Error = Error;

    fn try_from(builder: BinBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<Bin> for BinBuilder {
    fn from(bin: Bin) -> Self {
        bin.settings
    }
}

impl Bin {
    /// Starts without a rule.
    pub fn builder() -> BinBuilder {
        BinBuilder::default()
    }

    /// What a fit needs of rows of `schema`.
    fn begin(&self, schema: &Schema) -> Result<Study> {
        let assigned = assign(schema, self.settings.rules.iter().map(|rule| (&rule.columns, rule)))?;
        let (mut reads, mut columns) = (Vec::new(), Vec::new());
        for (name, rule) in assigned {
            let data_type = schema.field(&name)?.data_type();
            if !is_number(data_type) {
                return Err(Error::schema(name, "integers or floats", data_type));
            }
            let learns = !matches!(rule.bins, Bins::Edges(_));
            let numbers = learns.then(|| Numbers::new(matches!(rule.bins, Bins::Quantile(_))));
            let pairs = matches!(rule.bins, Bins::Supervised(_)).then(|| Sample::new(2, ROWS_MAX, SEED));
            reads.extend(learns.then(|| name.clone()));
            columns.push(Edged { source: Named::of(schema, &name)?, bins: rule.bins.clone(), numbers, pairs, rows: 0 });
        }
        let label = if columns.iter().any(|column| column.pairs.is_some()) { Some(self.label(schema)?) } else { None };
        let names: Vec<String> = columns.iter().map(|column| column.source.name.clone()).collect();
        if let Some(label) = label
            .as_ref()
            .filter(|label| columns.iter().any(|column| column.pairs.is_some() && column.source.name == **label))
        {
            return Err(Error::schema(label, "another column than the label", "the label itself"));
        }
        let finds_label = label.is_some() && self.settings.label.is_none();
        reads.extend(label.clone());
        let update = move |columns: &mut Vec<Edged>, batch: &RecordBatch| {
            columns.iter_mut().try_for_each(|column| column.update(batch, label.as_deref()))
        };
        let conclude = |columns: Vec<Edged>| {
            let columns = columns.into_iter().map(Edged::finish).collect::<Result<_>>()?;
            Ok(Box::new(FittedBin { columns }) as Box<dyn FittedTransform>)
        };
        let study = Study::new(study::learner(columns, update, conclude)).reads(reads).concerns(names.clone());
        let picks = study::any_picks(self.settings.rules.iter().map(|rule| &rule.columns));
        Ok(study.changes(names).picks(picks || finds_label).reshapes(true))
    }

    fn label(&self, schema: &Schema) -> Result<String> {
        match &self.settings.label {
            Some(label) => schema.index_of(label).map(|_| label.clone()),
            None => schema.single(Role::Label).map(str::to_owned),
        }
    }
}

/// A column whose edges are being learned.
struct Edged {
    source: Named,
    bins: Bins,
    /// Unless the edges are given.
    numbers: Option<Numbers>,
    /// Values with their labels, where these say where to cut.
    pairs: Option<Sample>,
    rows: u64,
}

impl Edged {
    fn update(&mut self, batch: &RecordBatch, label: Option<&str>) -> Result<()> {
        let Some(numbers) = &mut self.numbers else { return Ok(()) };
        self.rows += batch.num_rows() as u64;
        let values = batch.schema_ref().index_of(&self.source.name)?;
        numbers.update(batch.column(values))?;
        match (&mut self.pairs, label) {
            (Some(pairs), Some(label)) => pairs.update(&batch.project(&[values, batch.schema_ref().index_of(label)?])?),
            _ => Ok(()),
        }
    }

    fn finish(self) -> Result<Binned> {
        let Self { source, bins, numbers, pairs, rows } = self;
        let Some(numbers) = numbers else {
            let edges = if let Bins::Edges(edges) = bins { edges } else { Vec::new() };
            return Ok(Binned { source, edges });
        };
        let lacking = || Error::schema(&source.name, "a finite value to learn from", format!("{rows} rows without"));
        let edges = bins.edges(&numbers.finish()?).ok_or_else(lacking)?;
        let edges = match (&bins, pairs, edges.as_slice()) {
            (Bins::Supervised(bins), Some(pairs), &[min, max]) => {
                [vec![min], cuts(&source.name, pairs, rows, *bins)?, vec![max]].concat()
            }
            _ => edges,
        };
        Ok(Binned { source, edges })
    }
}

/// Cuts of a column between its least and its greatest value, learned from a sample of rows with their label.
fn cuts(column: &str, sample: Sample, rows: u64, bins: u32) -> Result<Vec<f64>> {
    let columns = sample.finish();
    let pairs = columns[0].iter().copied().zip(columns[1].iter().copied());
    let mut pairs: Vec<(f64, f64)> = pairs.filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
    if pairs.is_empty() {
        return Err(Error::schema(column, "rows with a value and a label", format!("{rows} rows without both")));
    }
    pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
    Ok(tree::cuts(&pairs, bins as usize))
}

impl Transform for Bin {
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

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Binned {
    source: Named,
    /// Rising; a constant column has one.
    edges: Vec<f64>,
}

impl Binned {
    /// The edges between bins.
    fn inner(&self) -> &[f64] {
        self.edges.get(1..self.edges.len().saturating_sub(1)).unwrap_or_default()
    }
}

/// A [`Bin`] that knows its edges.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedBin {
    columns: Vec<Binned>,
}

impl FittedBin {
    /// The edges of `column`, rising, its least and greatest value among them; `None` when it is not binned.
    pub fn edges(&self, column: &str) -> Option<&[f64]> {
        self.columns.iter().find(|binned| binned.source.name == column).map(|binned| binned.edges.as_slice())
    }
}

fitted_by_column!(FittedBin, KIND);

impl Maker for Binned {
    fn source(&self) -> &Named {
        &self.source
    }

    fn keeps_source(&self) -> bool {
        false
    }

    fn fields(&self, source: &Field) -> Vec<Field> {
        // NaN has no bin.
        let nullable = source.is_nullable() || source.data_type().is_floating();
        vec![Field::new(source.name(), DataType::Int64, nullable)]
    }

    fn prepare(&self) -> Result<Box<dyn Make>> {
        Ok(Box::new(Sorter { name: self.source.name.clone(), inner: self.inner().to_vec() }))
    }
}

struct Sorter {
    name: String,
    inner: Vec<f64>,
}

impl Make for Sorter {
    fn make(&mut self, array: &ArrayRef, changes: &mut StepChanges) -> Result<Vec<ArrayRef>> {
        let wide = cast(array, &DataType::Float64)?;
        let bin = |x: f64| (!x.is_nan()).then(|| self.inner.partition_point(|edge| *edge <= x) as i64);
        let bins: Int64Array = wide.as_primitive::<Float64Type>().unary_opt(bin);
        changes.count(&self.name, Change::Binned, (bins.len() - bins.null_count()) as u64);
        Ok(vec![Arc::new(bins)])
    }
}

#[cfg(test)]
mod tests;
