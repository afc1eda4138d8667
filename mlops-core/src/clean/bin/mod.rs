//! Numbers as the bins that they lie in.

mod tree;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Float64Type};
use serde::{Deserialize, Serialize};

use super::derive::{Make, Maker, fitted_by_column};
use super::learn::{Learned, Numbers, Sample};
use super::pick::{assign, is_number};
use super::rows::{Named, scan, settings};
use super::{Change, FittedTransform, Pick, StepChanges, Transform};
use crate::schema::Role;
use crate::source::ScanRequest;
use crate::{Dataset, Error, Result};

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
        let mut edges: Vec<f64> = match self {
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
        edges.dedup();
        Some(edges)
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

    /// Cuts of a column between its least and its greatest value, learned from a sample of rows with their label.
    fn cuts(&self, data: &Dataset, column: &str, bins: u32) -> Result<Vec<f64>> {
        let schema = data.schema();
        let label = match &self.settings.label {
            Some(label) => label.clone(),
            None => schema.single(Role::Label)?.to_owned(),
        };
        if label == column {
            return Err(Error::schema(column, "another column than the label", "the label itself"));
        }
        let mut sample = Sample::new(2, ROWS_MAX, SEED);
        let mut rows = 0;
        for batch in data.scan(&ScanRequest::all().columns([column, label.as_str()]))? {
            let batch = batch?;
            rows += batch.num_rows();
            sample.update(&batch)?;
        }
        let columns = sample.finish();
        let pairs = columns[0].iter().copied().zip(columns[1].iter().copied());
        let mut pairs: Vec<(f64, f64)> = pairs.filter(|(x, y)| x.is_finite() && y.is_finite()).collect();
        if pairs.is_empty() {
            return Err(Error::schema(column, "rows with a value and a label", format!("{rows} rows without both")));
        }
        pairs.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        Ok(tree::cuts(&pairs, bins as usize))
    }
}

impl Transform for Bin {
    fn fit(&self, data: &Dataset) -> Result<Box<dyn FittedTransform>> {
        let schema = data.schema();
        let assigned = assign(schema, self.settings.rules.iter().map(|rule| (&rule.columns, rule)))?;
        let (mut names, mut learners) = (Vec::new(), Vec::new());
        for (name, rule) in &assigned {
            let data_type = schema.field(name)?.data_type();
            if !is_number(data_type) {
                return Err(Error::schema(name, "integers or floats", data_type));
            }
            if !matches!(rule.bins, Bins::Edges(_)) {
                names.push(name.clone());
                learners.push(Numbers::new(matches!(rule.bins, Bins::Quantile(_))));
            }
        }
        let rows = scan(data, &names, |place, array| learners[place].update(array))?;
        let mut learners = learners.into_iter();
        let mut columns = Vec::with_capacity(assigned.len());
        for (name, rule) in assigned {
            let edges = if let Bins::Edges(edges) = &rule.bins {
                edges.clone()
            } else {
                let learned = learners.next().map(Numbers::finish).transpose()?;
                let lacking = || Error::schema(&name, "a finite value to learn from", format!("{rows} rows without"));
                let edges = learned.and_then(|learned| rule.bins.edges(&learned)).ok_or_else(lacking)?;
                match (&rule.bins, edges.as_slice()) {
                    (Bins::Supervised(bins), &[min, max]) => {
                        [vec![min], self.cuts(data, &name, *bins)?, vec![max]].concat()
                    }
                    _ => edges,
                }
            };
            columns.push(Binned { source: Named::of(schema, &name)?, edges });
        }
        Ok(Box::new(FittedBin { columns }))
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
