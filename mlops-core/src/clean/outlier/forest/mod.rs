//! Rows that are easily told apart from all others.

mod tree;

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Field};
use serde::{Deserialize, Serialize};

use self::tree::{Tree, mean_depth};
use super::super::learn::{Numbers, Random, Sample};
use super::super::pick::is_number;
use super::super::rows::{Fieldset, Named, RowKernel, RowPass, booleans, filtered, pack, settings};
use super::super::study::{self, Study};
use super::super::told::told;
use super::super::{Change, FittedTransform, Pass, Pick, Scope, StepChanges, Transform, TransformState};
use super::Action;
use crate::interop::floats;
use crate::source::ScanRequest;
use crate::{Dataset, Error, Result, Schema};

pub(in crate::clean) const KIND: &str = "isolation_forest";

/// Name of the column of scores.
const SCORE: &str = "isolation_score";

/// Name of the column of flags.
const FLAG: &str = "isolation_outlier";

/// Rows that the trees draw theirs from; of more, a sample is taken.
const POOL_MAX: usize = 1 << 16;

const TREES_MAX: u32 = 1000;
const ROWS_MAX: u32 = 4096;

/// Finds rows that few random cuts isolate: outliers in several columns together (Liu, Ting and Zhou, *Isolation forest*, ICDM
/// 2008; `IsolationForest`).
///
/// * The score of a row is `2^(−d / c)`: `d` is its mean depth over the trees and `c` the mean depth in a tree of all rows. Near 1
///   is an outlier, below 0.5 is not; scikit-learn's `score_samples` has the sign turned.
/// * A row is an outlier when its score is above 0.5, or above the quantile of the scores of the fit that
///   [`contamination`](IsolationForestBuilder::contamination) asks for.
/// * [`Action::Flag`] adds a column `isolation_outlier` of booleans, [`Action::DropRow`] drops the row; with
///   [`score`](IsolationForestBuilder::score) a column `isolation_score` comes before the flag. They come after all others, are as
///   sensitive as the most sensitive column that was looked at, and features where one of them is.
/// * Missing values (null, NaN) go where most rows went; infinities are compared as what they are, and not learned from.
/// * Memory of a fit: 65,536 rows of the columns; more are sampled. One scan, a second one with `contamination`. The same data
///   and seed give the same trees.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::Dataset;
/// use mlops_core::arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
/// use mlops_core::clean::{FittedTransformExt, IsolationForest, Transform};
///
/// let x = Float64Array::from_iter_values((0..100).map(|i| f64::from(i % 10)).chain([500.0]));
/// let rows = RecordBatch::try_from_iter([("x", Arc::new(x) as ArrayRef)])?;
/// let forest = IsolationForest::builder("x").contamination(0.01).build()?;
/// let clean = forest.fit(&Dataset::from_batches([rows.clone()])?)?.apply_batch(&rows)?;
/// assert!(clean["isolation_outlier"].as_boolean().value(100));
/// assert_eq!(clean["isolation_outlier"].as_boolean().true_count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "IsolationForestBuilder", into = "IsolationForestBuilder")]
pub struct IsolationForest {
    settings: IsolationForestBuilder,
}

/// Builder of [`IsolationForest`], and its form in files (every field but the columns may be left out).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IsolationForestBuilder {
    columns: Pick,
    #[serde(default = "hundred")]
    trees: u32,
    #[serde(default = "two_hundred_fifty_six")]
    rows: u32,
    #[serde(default)]
    contamination: Option<f64>,
    #[serde(default = "flag")]
    action: Action,
    #[serde(default)]
    score: bool,
    #[serde(default)]
    seed: u64,
}

fn hundred() -> u32 {
    100
}

fn two_hundred_fifty_six() -> u32 {
    256
}

fn flag() -> Action {
    Action::Flag
}

impl IsolationForestBuilder {
    /// How many trees, 1..=1000. Default 100.
    pub fn trees(mut self, trees: u32) -> Self {
        self.trees = trees;
        self
    }

    /// Rows that each tree is grown on, 2..=4096. Default 256.
    pub fn rows(mut self, rows: u32) -> Self {
        self.rows = rows;
        self
    }

    /// Share of the rows of the fit that are to be outliers, above 0 and at most 0.5. Default: those whose score is above 0.5.
    pub fn contamination(mut self, share: f64) -> Self {
        self.contamination = Some(share);
        self
    }

    /// What becomes of an outlier: [`Action::Flag`], the default, or [`Action::DropRow`].
    pub fn action(mut self, action: Action) -> Self {
        self.action = action;
        self
    }

    /// Whether scores get a column. Default no.
    pub fn score(mut self, score: bool) -> Self {
        self.score = score;
        self
    }

    /// What the random cuts start from. Default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a number is out of its domain, or the action is for single values.
    pub fn build(self) -> Result<IsolationForest> {
        if !(1..=TREES_MAX).contains(&self.trees) {
            return Err(Error::invalid("trees", self.trees, "within 1..=1000"));
        }
        if !(2..=ROWS_MAX).contains(&self.rows) {
            return Err(Error::invalid("rows", self.rows, "within 2..=4096"));
        }
        if let Some(share) = self.contamination
            && !(share > 0.0 && share <= 0.5)
        {
            return Err(Error::invalid("contamination", share, "above 0 and at most 0.5"));
        }
        if !matches!(self.action, Action::Flag | Action::DropRow) {
            return Err(Error::invalid("action", format!("{:?}", self.action), "`flag` or `drop_row`, for whole rows"));
        }
        Ok(IsolationForest { settings: self })
    }
}

impl TryFrom<IsolationForestBuilder> for IsolationForest {
    type Error = Error;

    fn try_from(builder: IsolationForestBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<IsolationForest> for IsolationForestBuilder {
    fn from(forest: IsolationForest) -> Self {
        forest.settings
    }
}

impl IsolationForest {
    /// Starts with the numbers of `columns`, which are looked at together.
    pub fn builder(columns: impl Into<Pick>) -> IsolationForestBuilder {
        IsolationForestBuilder {
            columns: columns.into(),
            trees: hundred(),
            rows: two_hundred_fifty_six(),
            contamination: None,
            action: Action::Flag,
            score: false,
            seed: 0,
        }
    }

    fn grow(&self, pool: &[Vec<f64>], rows: usize) -> Vec<Tree> {
        let mut random = Random::new(self.settings.seed);
        // Cuts down to where trees of so many rows end on average.
        let depth_max = usize::BITS - (rows.max(2) - 1).leading_zeros();
        let mut order: Vec<u32> = (0..pool[0].len() as u32).collect();
        let mut trees = Vec::with_capacity(self.settings.trees as usize);
        for _ in 0..self.settings.trees {
            for place in 0..rows {
                let other = place + random.below(order.len() - place);
                order.swap(place, other);
            }
            trees.push(Tree::grow(pool, order[..rows].to_vec(), depth_max, &mut random));
        }
        trees
    }
}

impl IsolationForest {
    /// The columns that are looked at.
    fn columns(&self, schema: &Schema) -> Result<Vec<Named>> {
        let names = self.settings.columns.names(schema)?;
        if names.is_empty() {
            return Err(Error::schema("*", "at least one column to look at", "none that the setting picks"));
        }
        for name in &names {
            let data_type = schema.field(name)?.data_type();
            if !is_number(data_type) {
                return Err(Error::schema(name, "integers or floats", data_type));
            }
        }
        names.iter().map(|name| Named::of(schema, name)).collect()
    }

    /// The forest of a sample of rows of `schema`, with the threshold of one that expects no share of outliers.
    fn grown(&self, columns: Vec<Named>, sample: Sample, schema: &Schema) -> Result<FittedIsolationForest> {
        let mut pool = sample.finish();
        pool.iter_mut().flatten().filter(|value| value.is_infinite()).for_each(|value| *value = f64::NAN);
        let rows = pool[0].len().min(self.settings.rows as usize);
        if rows < 2 {
            return Err(Error::schema(&columns[0].name, "at least two rows to learn from", rows));
        }
        let (action, score) = (self.settings.action, self.settings.score);
        let trees = self.grow(&pool, rows);
        let fitted = FittedIsolationForest { columns, trees, rows: rows as u64, threshold: 0.5, action, score };
        fitted.output_schema(schema)?;
        Ok(fitted)
    }

    /// What a fit needs of rows of `schema`, but for a threshold that is learned from the scores of all of them.
    fn begin(&self, schema: &Schema) -> Result<Study> {
        let columns = self.columns(schema)?;
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        let sample = Sample::new(columns.len(), POOL_MAX, self.settings.seed);
        let (this, schema) = (self.clone(), schema.clone());
        let conclude =
            move |sample: Sample| Ok(Box::new(this.grown(columns, sample, &schema)?) as Box<dyn FittedTransform>);
        let IsolationForestBuilder { columns: picked, action, score, .. } = &self.settings;
        let study = Study::new(study::learner(sample, Sample::update, conclude)).reads(names);
        let study = study.picks(study::any_picks([picked])).reshapes(*score || *action == Action::Flag);
        Ok(study.drops_rows(*action == Action::DropRow))
    }
}

impl Transform for IsolationForest {
    fn fit(&self, data: &Dataset) -> Result<Box<dyn FittedTransform>> {
        let schema = data.schema();
        let Some(share) = self.settings.contamination else { return self.begin(schema)?.fit(self, data) };
        let columns = self.columns(schema)?;
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        let mut sample = Sample::new(columns.len(), POOL_MAX, self.settings.seed);
        for batch in data.scan(&ScanRequest::all().columns(&names))? {
            sample.update(&batch?)?;
        }
        let mut fitted = self.grown(columns, sample, schema)?;
        fitted.threshold = fitted.quantile(data, &names, 1.0 - share)?;
        Ok(told(self.settings()?, Box::new(fitted)))
    }

    fn study(&self, schema: &Schema) -> Result<Option<Study>> {
        if self.settings.contamination.is_some() { Ok(None) } else { self.begin(schema).map(Some) }
    }

    fn settings(&self) -> Result<serde_json::Value> {
        settings(KIND, self)
    }
}

/// An [`IsolationForest`] that is grown.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedIsolationForest {
    columns: Vec<Named>,
    trees: Vec<Tree>,
    /// Rows that each tree was grown on.
    rows: u64,
    threshold: f64,
    action: Action,
    score: bool,
}

impl FittedIsolationForest {
    /// The score above which a row is an outlier.
    pub fn threshold(&self) -> f64 {
        self.threshold
    }

    /// The scores of `rows` rows, whose columns are `columns`.
    fn scores(&self, columns: &[ArrayRef], rows: usize) -> Result<Vec<f64>> {
        let values = self.columns.iter().zip(columns).map(|(named, array)| floats(&named.name, array));
        let values = values.collect::<Result<Vec<_>>>()?;
        let mean = self.trees.len() as f64 * mean_depth(self.rows as usize);
        let mut row = vec![0.0; values.len()];
        let mut scores = Vec::with_capacity(rows);
        for at in 0..rows {
            for (cell, column) in row.iter_mut().zip(&values) {
                *cell = column[at];
            }
            let depth: f64 = self.trees.iter().map(|tree| tree.depth(&row)).sum();
            scores.push((-depth / mean).exp2());
        }
        Ok(scores)
    }

    fn quantile(&self, data: &Dataset, names: &[String], share: f64) -> Result<f64> {
        let mut numbers = Numbers::new(true);
        for batch in data.scan(&ScanRequest::all().columns(names))? {
            let batch = batch?;
            numbers.update(&Float64Array::from(self.scores(batch.columns(), batch.num_rows())?))?;
        }
        Ok(numbers.finish()?.quantile(share).unwrap_or(0.5))
    }
}

impl FittedTransform for FittedIsolationForest {
    fn scope(&self) -> Scope {
        Scope::Row
    }

    fn output_schema(&self, input: &Schema) -> Result<Schema> {
        self.columns.iter().try_for_each(|column| column.find(input).map(drop))?;
        let from: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let mut fields = Fieldset::of(input);
        if self.score {
            fields.derive(&from, Field::new(SCORE, DataType::Float64, false))?;
        }
        if self.action == Action::Flag {
            fields.derive(&from, Field::new(FLAG, DataType::Boolean, false))?;
        }
        fields.finish()
    }

    fn begin(&self, input: &Schema) -> Result<Box<dyn Pass>> {
        let output = self.output_schema(input)?;
        if self.trees.is_empty() || self.rows < 2 || !self.trees.iter().all(|tree| tree.is_sound(self.columns.len())) {
            return Err(Error::invalid_data(format!("state of `{KIND}`"), "trees that cannot be walked"));
        }
        let positions = self.columns.iter().map(|column| column.find(input)).collect::<Result<_>>()?;
        Ok(RowPass::begin(KIND, input, output, Kernel { positions, forest: Arc::new(self.clone()) }))
    }

    fn state(&self) -> Result<TransformState> {
        pack(KIND, self)
    }
}

struct Kernel {
    positions: Vec<usize>,
    forest: Arc<FittedIsolationForest>,
}

impl RowKernel for Kernel {
    fn treat(&mut self, batch: &RecordBatch, changes: &mut StepChanges) -> Result<(Vec<ArrayRef>, usize)> {
        let own: Vec<ArrayRef> = self.positions.iter().map(|at| batch.column(*at).clone()).collect();
        let mut rows = batch.num_rows();
        let scores = self.forest.scores(&own, rows)?;
        let outlier = BooleanBuffer::collect_bool(rows, |row| scores[row] > self.forest.threshold);
        let mut columns = batch.columns().to_vec();
        if self.forest.score {
            columns.push(Arc::new(Float64Array::from(scores)));
        }
        let count = outlier.count_set_bits();
        if self.forest.action == Action::Flag {
            changes.count(FLAG, Change::Flagged, count as u64);
            columns.push(booleans(outlier));
        } else if count > 0 {
            changes.count(FLAG, Change::RowDropped, count as u64);
            columns = filtered(&columns, &BooleanArray::new(!&outlier, None))?;
            rows -= count;
        }
        Ok((columns, rows))
    }
}

#[cfg(test)]
mod tests;
