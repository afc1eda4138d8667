//! Columns that tell nothing that others do not, or more than they may.

mod measure;
mod twins;

use arrow::array::{ArrayRef, AsArray, Float64Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use self::measure::{Shared, groups, order, pearson, spearman};
use super::encode::murmur3;
use super::learn::Sample;
use super::pick::is_number;
use super::rows::{Fieldset, RowKernel, RowPass, pack, settings};
use super::told::told;
use super::{FittedTransform, Pass, Scope, StepChanges, Transform, TransformState};
use crate::schema::Role;
use crate::source::{ScanRequest, is_text};
use crate::stats::values::is_time;
use crate::{Dataset, Error, Result, Schema};

pub(super) const KIND: &str = "prune";

/// Rows that coefficients and information are taken from; of more, a sample.
const ROWS_MAX: usize = 1 << 16;

const SEED: u64 = 0x7072_756e;

/// Which coefficient columns are compared by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Correlation {
    /// Of values: Pearson's.
    #[default]
    Pearson,
    /// Of ranks: Spearman's.
    Spearman,
}

/// Which of two columns that tell the same stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stays {
    /// The first.
    #[default]
    First,
    /// That which tells more about the label; the first of equals.
    Relevant,
}

/// What was found about a column.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Finding {
    /// It has the values of another in every row; dropped.
    Duplicate {
        /// The other.
        of: String,
    },
    /// It goes with another; dropped.
    Correlated {
        /// The other.
        with: String,
        /// The coefficient, −1..=1.
        coefficient: f64,
    },
    /// It tells too little about the label; dropped.
    Irrelevant {
        /// Share of the label's entropy that it explains beyond chance, 0..=1.
        share: f64,
    },
    /// It alone tells the label nearly perfectly, as a column does that is made from it; dropped where that was asked for.
    Leaking {
        /// How well: the greater of the share of the label's entropy and, for a label of 0 and 1, `|2 AUC − 1|`.
        strength: f64,
    },
}

/// Drops columns that are duplicates, go with others, or tell nothing about the label; warns of those that tell too much.
///
/// * Looked at are columns of numbers, booleans, text and times whose role is feature or other; keys, times, labels and weights
///   stay. In this order: leaking, duplicate, irrelevant, correlated; what is gone is not compared with.
/// * Duplicates have one type and the same value, null or not, in every row. The others are judged by 65,536 rows at most; of more,
///   a sample that is the same in every run.
/// * Coefficients are of numbers, booleans and times, over the rows that have both.
/// * What a column tells is the mutual information with the label, less the `(r − 1)(c − 1) / 2n` that chance brings, as a share of
///   the label's entropy. Columns with more than 32 values are cut into 32 groups first: numbers at quantiles, categories into the
///   31 most frequent and all others. Missing values are a group.
/// * [`FittedPrune::findings`] tells what was found, and is part of the state: names and figures, no values.
/// * Memory of a fit: 8 bytes per row of the sample and column. One scan, and another where columns look like duplicates.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::Dataset;
/// use mlops_core::arrow::array::{ArrayRef, Float64Array, RecordBatch};
/// use mlops_core::clean::{Correlation, FittedTransformExt, Prune, Transform};
///
/// let column = |values: [f64; 4]| Arc::new(Float64Array::from(values.to_vec())) as ArrayRef;
/// let rows = RecordBatch::try_from_iter([
///     ("celsius", column([0.0, 10.0, 20.0, 15.0])),
///     ("fahrenheit", column([32.0, 50.0, 68.0, 59.0])),
///     ("rain", column([3.0, 0.0, 1.0, 9.0])),
/// ])?;
/// let prune = Prune::builder().correlated(Correlation::Pearson, 0.95).build()?;
/// let clean = prune.fit(&Dataset::from_batches([rows.clone()])?)?.apply_batch(&rows)?;
/// assert!(clean.column_by_name("fahrenheit").is_none() && clean.num_columns() == 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "PruneBuilder", into = "PruneBuilder")]
pub struct Prune {
    settings: PruneBuilder,
}

/// Builder of [`Prune`], and its form in files (every field may be left out).
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PruneBuilder {
    duplicates: bool,
    correlated: Option<(Correlation, f64)>,
    stays: Stays,
    relevance_min: Option<f64>,
    leakage_min: Option<f64>,
    drop_leaking: bool,
    label: Option<String>,
}

impl PruneBuilder {
    /// Whether the later one of two equal columns goes. Default no.
    pub fn duplicates(mut self, drop: bool) -> Self {
        self.duplicates = drop;
        self
    }

    /// One of two columns goes when the absolute value of their coefficient is above `most`, within 0..=1. Default: none.
    pub fn correlated(mut self, by: Correlation, most: f64) -> Self {
        self.correlated = Some((by, most));
        self
    }

    /// Which of them stays. Default [`Stays::First`].
    pub fn stays(mut self, stays: Stays) -> Self {
        self.stays = stays;
        self
    }

    /// Least share, within 0..=1, of the label's entropy that a column explains beyond chance. Default: any.
    pub fn relevance_min(mut self, share: f64) -> Self {
        self.relevance_min = Some(share);
        self
    }

    /// Strength, within 0..=1, from which a column is [leaking](Finding::Leaking), such as 0.99. Default: none is looked for.
    pub fn leakage_min(mut self, strength: f64) -> Self {
        self.leakage_min = Some(strength);
        self
    }

    /// Whether leaking columns go. Default no: they are told only.
    pub fn drop_leaking(mut self, drop: bool) -> Self {
        self.drop_leaking = drop;
        self
    }

    /// Column of the label. Default: the one column of role [`Role::Label`].
    pub fn label(mut self, column: impl Into<String>) -> Self {
        self.label = Some(column.into());
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when a limit is not within 0..=1.
    pub fn build(self) -> Result<Prune> {
        let limits = [
            ("correlated", self.correlated.map(|(_, most)| most)),
            ("relevance_min", self.relevance_min),
            ("leakage_min", self.leakage_min),
        ];
        for (setting, limit) in limits {
            if let Some(limit) = limit.filter(|limit| !(0.0..=1.0).contains(limit)) {
                return Err(Error::invalid(setting, limit, "within 0..=1"));
            }
        }
        Ok(Prune { settings: self })
    }

    fn needs_label(&self) -> bool {
        let by_relevance = self.correlated.is_some() && self.stays == Stays::Relevant;
        self.relevance_min.is_some() || self.leakage_min.is_some() || by_relevance
    }
}

impl TryFrom<PruneBuilder> for Prune {
    type Error = Error;

    fn try_from(builder: PruneBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<Prune> for PruneBuilder {
    fn from(prune: Prune) -> Self {
        prune.settings
    }
}

/// A column in the sample.
struct Judged {
    name: String,
    is_number: bool,
    values: Vec<f64>,
    finding: Option<Finding>,
    /// Share of the label's entropy that it explains.
    share: f64,
}

impl Judged {
    fn is_gone(&self, drop_leaking: bool) -> bool {
        match self.finding {
            None => false,
            Some(Finding::Leaking { .. }) => drop_leaking,
            Some(_) => true,
        }
    }
}

/// Whether what such columns hold can be judged; texts by their hash.
fn is_judged(data_type: &DataType) -> bool {
    is_number(data_type) || is_text(data_type) || is_time(data_type) || data_type == &DataType::Boolean
}

impl Prune {
    /// Starts with nothing to drop.
    pub fn builder() -> PruneBuilder {
        PruneBuilder::default()
    }

    fn label(&self, schema: &Schema) -> Result<Option<String>> {
        if !self.settings.needs_label() {
            return Ok(None);
        }
        match &self.settings.label {
            Some(label) => schema.index_of(label).map(|_| Some(label.clone())),
            None => schema.single(Role::Label).map(|label| Some(label.to_owned())),
        }
    }

    fn sample(data: &Dataset, names: &[String]) -> Result<Vec<Vec<f64>>> {
        let mut sample = Sample::new(names.len(), ROWS_MAX, SEED);
        if !names.is_empty() {
            for batch in data.scan(&ScanRequest::all().columns(names))? {
                sample.update(&numbered(&batch?)?)?;
            }
        }
        Ok(sample.finish())
    }

    fn judge(&self, judged: &mut [Judged], label: Option<&Judged>, data: &Dataset) -> Result<()> {
        let settings = &self.settings;
        if let Some(label) = label {
            relate(judged, label)?;
            if let Some(least) = settings.leakage_min {
                for column in judged.iter_mut() {
                    let by_order = if column.is_number { order(&column.values, &label.values) } else { 0.0 };
                    let strength = column.share.max(by_order);
                    column.finding = (strength >= least).then_some(Finding::Leaking { strength });
                }
            }
        }
        if settings.duplicates {
            twins::mark(judged, data, settings.drop_leaking)?;
        }
        if let Some(least) = settings.relevance_min {
            for column in judged.iter_mut().filter(|column| column.finding.is_none() && column.share < least) {
                column.finding = Some(Finding::Irrelevant { share: column.share });
            }
        }
        if let Some((by, most)) = settings.correlated {
            self.correlate(judged, by, most)?;
        }
        Ok(())
    }

    fn correlate(&self, judged: &mut [Judged], by: Correlation, most: f64) -> Result<()> {
        for second in 1..judged.len() {
            for first in 0..second {
                let compared = |column: &Judged| column.is_number && !column.is_gone(self.settings.drop_leaking);
                if !compared(&judged[first]) || !compared(&judged[second]) {
                    continue;
                }
                let (a, b) = (&judged[first].values, &judged[second].values);
                let r = match by {
                    Correlation::Pearson => pearson(a, b),
                    Correlation::Spearman => spearman(a, b)?,
                };
                let Some(coefficient) = r.filter(|r| r.abs() > most) else { continue };
                let second_stays = self.settings.stays == Stays::Relevant && judged[second].share > judged[first].share;
                let (stays, goes) = if second_stays { (second, first) } else { (first, second) };
                let with = judged[stays].name.clone();
                judged[goes].finding = Some(Finding::Correlated { with, coefficient });
            }
        }
        Ok(())
    }
}

/// How much each column tells about the label.
fn relate(judged: &mut [Judged], label: &Judged) -> Result<()> {
    // A row without a label tells nothing.
    let labelled: Vec<usize> = (0..label.values.len()).filter(|row| !label.values[*row].is_nan()).collect();
    let rows = |column: &Judged| {
        let values: Vec<f64> = labelled.iter().map(|row| column.values[*row]).collect();
        groups(&values, column.is_number)
    };
    let of_label = rows(label);
    for column in judged {
        column.share = if labelled.is_empty() { 0.0 } else { Shared::of(&rows(column), &of_label)?.share() };
    }
    Ok(())
}

/// Texts as numbers that are equal where the texts are, all else as it is.
fn numbered(batch: &RecordBatch) -> Result<RecordBatch> {
    let mut columns: Vec<(&str, ArrayRef)> = Vec::with_capacity(batch.num_columns());
    for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
        let array = if is_text(array.data_type()) { hashes(array)? } else { array.clone() };
        columns.push((field.name(), array));
    }
    Ok(RecordBatch::try_from_iter(columns)?)
}

/// 53 bits of hash per text, which an `f64` holds exactly.
fn hashes(array: &ArrayRef) -> Result<ArrayRef> {
    let texts = cast(array, &DataType::Utf8)?;
    let hash = |text: &str| {
        let half = |seed| u64::from(murmur3(text.as_bytes(), seed).cast_unsigned());
        ((half(0) << 21) | (half(1) & 0x1f_ffff)) as f64
    };
    let hashes = texts.as_string::<i32>().iter().map(|text| text.map(hash));
    Ok(std::sync::Arc::new(hashes.collect::<Float64Array>()))
}

impl Transform for Prune {
    fn fit(&self, data: &Dataset) -> Result<Box<dyn FittedTransform>> {
        let schema = data.schema();
        let label = self.label(schema)?;
        let mut names = Vec::new();
        for name in schema.names().filter(|name| label.as_deref() != Some(*name)) {
            let is_free = matches!(schema.role(name)?, Role::Feature | Role::Other);
            if is_free && is_judged(schema.field(name)?.data_type()) {
                names.push(name.to_owned());
            }
        }
        names.extend(label.clone());
        let mut judged = Vec::with_capacity(names.len());
        for (name, values) in names.iter().zip(Self::sample(data, &names)?) {
            let data_type = schema.field(name)?.data_type();
            if !is_judged(data_type) {
                return Err(Error::schema(name, "a label of numbers, booleans, text or times", data_type));
            }
            let is_number = !is_text(data_type);
            judged.push(Judged { name: name.clone(), is_number, values, finding: None, share: 0.0 });
        }
        let label = if label.is_some() { judged.pop() } else { None };
        self.judge(&mut judged, label.as_ref(), data)?;
        let drop_leaking = self.settings.drop_leaking;
        let found = judged.into_iter().filter_map(|column| {
            let dropped = column.is_gone(drop_leaking);
            column.finding.map(|finding| Found { column: column.name, finding, dropped })
        });
        Ok(told(self.settings()?, Box::new(FittedPrune { found: found.collect() })))
    }

    fn settings(&self) -> Result<serde_json::Value> {
        settings(KIND, self)
    }
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Found {
    column: String,
    finding: Finding,
    dropped: bool,
}

/// A [`Prune`] that knows its columns. A table that lacks one of those that go is taken, too.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedPrune {
    found: Vec<Found>,
}

impl FittedPrune {
    /// What was found: column, finding, and whether it goes.
    pub fn findings(&self) -> impl Iterator<Item = (&str, &Finding, bool)> {
        self.found.iter().map(|found| (found.column.as_str(), &found.finding, found.dropped))
    }

    fn goes(&self, name: &str) -> bool {
        self.found.iter().any(|found| found.dropped && found.column == name)
    }
}

impl FittedTransform for FittedPrune {
    fn scope(&self) -> Scope {
        Scope::Row
    }

    fn output_schema(&self, input: &Schema) -> Result<Schema> {
        let mut fields = Fieldset::of(input);
        let gone = input.names().enumerate().filter(|(_, name)| self.goes(name));
        gone.for_each(|(position, _)| fields.remove(position));
        fields.finish()
    }

    fn begin(&self, input: &Schema) -> Result<Box<dyn Pass>> {
        let output = self.output_schema(input)?;
        let mut changes = StepChanges::new(KIND);
        changes.columns_dropped = input.names().filter(|name| self.goes(name)).map(str::to_owned).collect();
        let stays = (0..input.len()).filter(|at| !self.goes(input.arrow().field(*at).name())).collect();
        Ok(RowPass::with_changes(changes, input, output, Kernel { stays }))
    }

    fn state(&self) -> Result<TransformState> {
        pack(KIND, self)
    }
}

struct Kernel {
    stays: Vec<usize>,
}

impl RowKernel for Kernel {
    fn treat(&mut self, batch: &RecordBatch, _changes: &mut StepChanges) -> Result<(Vec<ArrayRef>, usize)> {
        Ok((self.stays.iter().map(|at| batch.column(*at).clone()).collect(), batch.num_rows()))
    }
}

#[cfg(test)]
mod tests;
