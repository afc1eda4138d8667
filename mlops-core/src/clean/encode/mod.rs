//! Categories as numbers.

mod code;
pub(super) mod folds;
mod hash;
mod tally;

pub(super) use hash::{murmur3, place};

use arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use serde::{Deserialize, Serialize};

use self::code::{Code, Encoded};
use self::tally::{Labels, Tally};
use super::derive::fitted_by_column;
use super::pick::assign;
use super::rows::{Named, may_be_learned, settings};
use super::study::{self, Study};
use super::{FittedTransform, Pick, Transform};
use crate::interop::floats;
use crate::schema::Role;
use crate::source::{ScanRequest, is_text};
use crate::{Dataset, Error, Result, Schema};

pub(super) const KIND: &str = "encode";

/// Most columns that one column is turned into.
pub const ENCODED_COLUMNS_MAX: usize = 4096;

/// How a column of categories is encoded.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Encoding {
    /// A column `<name>_<category>` of booleans per category, after all others (`OneHotEncoder`).
    OneHot {
        /// Whether the first category has no column, which linear models want.
        drop_first: bool,
    },
    /// The place of the category in the order of categories, from 0 (`OrdinalEncoder`).
    Ordinal,
    /// The category's share of the rows of the fit.
    Frequency,
    /// The mean label of the category, drawn towards that of all rows (`TargetEncoder`; Micci-Barreca, *A preprocessing
    /// scheme for high-cardinality categorical attributes*, SIGKDD Explorations 3, 2001). The label is a number or a boolean.
    Target {
        /// How strongly.
        smooth: Smooth,
    },
    /// `ln((positives + r) / (all positives + 2r)) − ln((negatives + r) / (all negatives + 2r))` for a label of 0 and 1
    /// (Siddiqi, *Credit Risk Scorecards*, Wiley 2006; `category_encoders.WOEEncoder`).
    WeightOfEvidence {
        /// `r` above 0: rows of each class that every category is given besides its own. 1 is usual.
        regularization: f64,
    },
    /// Columns `<name>_hash_<i>`, 1 or −1 in that which the hash of the category picks, 0 in the others (`FeatureHasher`).
    /// Nothing is learned: there are no unknown categories, and two categories may share a column.
    Hash {
        /// How many columns, 1..=4096.
        columns: u32,
    },
}

impl Encoding {
    fn check(self) -> Result<()> {
        match self {
            Self::Hash { columns } if columns == 0 || columns as usize > ENCODED_COLUMNS_MAX => {
                Err(Error::invalid("columns", columns, "within 1..=4096"))
            }
            Self::WeightOfEvidence { regularization: r } if !(r > 0.0 && r.is_finite()) => {
                Err(Error::invalid("regularization", r, "a finite number above 0"))
            }
            Self::Target { smooth: Smooth::Rows(rows) } if !(rows >= 0.0 && rows.is_finite()) => {
                Err(Error::invalid("smooth", rows, "a finite number of at least 0"))
            }
            _ => Ok(()),
        }
    }

    fn needs_label(self) -> bool {
        matches!(self, Self::Target { .. } | Self::WeightOfEvidence { .. })
    }

    fn learns(self) -> bool {
        !matches!(self, Self::Hash { .. })
    }
}

/// How strongly the mean of a category is drawn towards that of all rows.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Smooth {
    /// `λ · mean + (1 − λ) · mean of all` with `λ = n V / (n V + v)`: `n` rows and variance `v` of the category, variance `V`
    /// of all (empirical Bayes, scikit-learn's `smooth="auto"`).
    #[default]
    Auto,
    /// As if the category had so many rows more, with the mean of all.
    Rows(f64),
}

/// What becomes of a category that was not there at the fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Unknown {
    /// It is an error that names the column and counts the rows; the categories themselves are not told.
    #[default]
    Refuse,
    /// It is as if it were missing.
    Missing,
    /// It is counted among the rare ones, in a category of their own.
    Other,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rule {
    columns: Pick,
    encoding: Encoding,
}

/// Encodes columns of text, integers or booleans as numbers.
///
/// * Ordinal, frequency, target and weight of evidence take the place of their column; one-hot and hash leave it out, and
///   their columns come after all others. All are as sensitive as the column, and features where it is one.
/// * Categories are in order: text by bytes, integers by value. A category that has fewer rows than
///   [`rows_min`](EncodeBuilder::rows_min), or is not among the [`categories_max`](EncodeBuilder::categories_max) with the
///   most rows, is counted as "other", and so is then every unknown one.
/// * A missing value has no category: null in ordinal, false or 0 in all columns of one-hot and hash, the mean of all labels
///   in target, 0 in frequency and weight of evidence. With [`null_category`](EncodeBuilder::null_category) it has its own.
/// * Rows whose label is missing or not finite teach target and weight of evidence nothing.
/// * A target encoding knows the label of the rows that it was fitted on. For training, take the rows of
///   [`Encode::out_of_fold`]; for everything else, what was fitted.
/// * Values that tell about a person are refused, as they would stand in the state; `Hash` takes them.
/// * Memory of a fit: the different categories with 40 bytes each, at most
///   [`MODE_VALUES_MAX`](super::MODE_VALUES_MAX) of [`MODE_BYTES_MAX`](super::MODE_BYTES_MAX). One scan.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::Dataset;
/// use mlops_core::arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
/// use mlops_core::clean::{Encode, Encoding, FittedTransformExt, Transform};
///
/// let plans = StringArray::from(vec!["basic", "gold", "basic"]);
/// let rows = RecordBatch::try_from_iter([("plan", Arc::new(plans) as ArrayRef)])?;
/// let encode = Encode::builder().column("plan", Encoding::OneHot { drop_first: false }).build()?;
/// let clean = encode.fit(&Dataset::from_batches([rows.clone()])?)?.apply_batch(&rows)?;
/// assert_eq!(clean["plan_basic"].as_boolean().true_count(), 2);
/// assert_eq!(clean["plan_gold"].as_boolean().true_count(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "EncodeBuilder", into = "EncodeBuilder")]
pub struct Encode {
    settings: EncodeBuilder,
}

/// Builder of [`Encode`], and its form in files (every field but the rules may be left out).
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncodeBuilder {
    rules: Vec<Rule>,
    #[serde(default)]
    label: Option<String>,
    #[serde(default)]
    unknown: Unknown,
    #[serde(default)]
    null_category: bool,
    #[serde(default)]
    rows_min: u64,
    #[serde(default)]
    categories_max: Option<u32>,
}

impl EncodeBuilder {
    /// Encodes `columns`. Where two rules pick a column, the later one holds.
    pub fn column(mut self, columns: impl Into<Pick>, encoding: Encoding) -> Self {
        self.rules.push(Rule { columns: columns.into(), encoding });
        self
    }

    /// Column of the label. Default: the one column of role [`Role::Label`].
    pub fn label(mut self, column: impl Into<String>) -> Self {
        self.label = Some(column.into());
        self
    }

    /// What becomes of a category that was not there at the fit. Default [`Unknown::Refuse`].
    pub fn unknown(mut self, unknown: Unknown) -> Self {
        self.unknown = unknown;
        self
    }

    /// Whether missing values are a category of their own. Default no.
    pub fn null_category(mut self, own: bool) -> Self {
        self.null_category = own;
        self
    }

    /// Least number of rows of a category that is not "other"; needs [`Unknown::Other`]. Default 0.
    pub fn rows_min(mut self, rows: u64) -> Self {
        self.rows_min = rows;
        self
    }

    /// Most categories that are not "other"; needs [`Unknown::Other`]. Default: all.
    pub fn categories_max(mut self, categories: u32) -> Self {
        self.categories_max = Some(categories);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no rule, a number of an encoding is out of its domain, or rare categories are grouped
    /// while unknown ones are not.
    pub fn build(self) -> Result<Encode> {
        if self.rules.is_empty() {
            return Err(Error::invalid("rules", "none", "at least one rule"));
        }
        self.rules.iter().try_for_each(|rule| rule.encoding.check())?;
        if (self.rows_min > 0 || self.categories_max.is_some()) && self.unknown != Unknown::Other {
            return Err(Error::invalid(
                "unknown",
                format!("{:?}", self.unknown),
                "`other`, where rare ones are grouped",
            ));
        }
        Ok(Encode { settings: self })
    }
}

impl TryFrom<EncodeBuilder> for Encode {
    type Error = Error;

    fn try_from(builder: EncodeBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<Encode> for EncodeBuilder {
    fn from(encode: Encode) -> Self {
        encode.settings
    }
}

/// The categories of `array` as texts.
fn texts(column: &str, array: &ArrayRef) -> Result<StringArray> {
    let data_type = array.data_type();
    if is_text(data_type) || data_type.is_integer() || data_type == &DataType::Boolean {
        Ok(cast(array, &DataType::Utf8)?.as_string().clone())
    } else {
        Err(Error::schema(column, "text, integers or booleans", data_type))
    }
}

/// What was counted of the columns that are learned from.
struct Counted {
    columns: Vec<(Named, Encoding, Option<Tally>)>,
    /// The columns that are read: those that are learned from, then the label.
    read: Vec<String>,
    label: Option<String>,
    /// Labels of all rows that have one, by fold.
    all: Tally,
    is_binary: bool,
}

impl Encode {
    /// Starts without a rule.
    pub fn builder() -> EncodeBuilder {
        EncodeBuilder::default()
    }

    fn label(&self, schema: &Schema) -> Result<String> {
        match &self.settings.label {
            Some(label) => schema.index_of(label).map(|_| label.clone()),
            None => schema.single(Role::Label).map(str::to_owned),
        }
    }

    /// What is counted of rows of `schema`, before the first of them.
    fn uncounted(&self, schema: &Schema, folds: usize) -> Result<Counted> {
        let assigned = assign(schema, self.settings.rules.iter().map(|rule| (&rule.columns, rule)))?;
        let (mut columns, mut read) = (Vec::new(), Vec::new());
        for (name, rule) in &assigned {
            let data_type = schema.field(name)?.data_type();
            if !is_text(data_type) && !data_type.is_integer() && data_type != &DataType::Boolean {
                return Err(Error::schema(name, "text, integers or booleans", data_type));
            }
            if rule.encoding.learns() {
                may_be_learned(schema, name)?;
                read.push(name.clone());
            }
            let tally = rule.encoding.learns().then(|| Tally::new(folds));
            columns.push((Named::of(schema, name)?, rule.encoding, tally));
        }
        let needs_label = assigned.iter().any(|(_, rule)| rule.encoding.needs_label());
        let label = if needs_label { Some(self.label(schema)?) } else { None };
        if let Some(label) = &label {
            if read.contains(label) {
                return Err(Error::schema(label, "a label that is not encoded by itself", "one that is"));
            }
            read.push(label.clone());
        }
        Ok(Counted { columns, read, label, all: Tally::new(folds), is_binary: true })
    }

    fn count(&self, data: &Dataset, folds: usize) -> Result<Counted> {
        let mut counted = self.uncounted(data.schema(), folds)?;
        if !counted.read.is_empty() {
            for batch in data.scan(&ScanRequest::all().columns(&counted.read))? {
                counted.add(&batch?)?;
            }
        }
        Ok(counted)
    }

    /// What a fit needs of rows of `schema`.
    fn begin(&self, schema: &Schema) -> Result<Study> {
        let counted = self.uncounted(schema, 1)?;
        let read = counted.read.clone();
        let names: Vec<String> = counted.columns.iter().map(|(source, ..)| source.name.clone()).collect();
        let finds_label = counted.label.is_some() && self.settings.label.is_none();
        let (this, schema) = (self.clone(), schema.clone());
        let conclude = move |counted: Counted| {
            let fitted = this.conclude(&counted, None)?;
            fitted.output_schema(&schema)?;
            Ok(Box::new(fitted) as Box<dyn FittedTransform>)
        };
        let study = Study::new(study::learner(counted, Counted::add, conclude)).reads(read).concerns(names.clone());
        let picks = study::any_picks(self.settings.rules.iter().map(|rule| &rule.columns));
        Ok(study.changes(names).picks(picks || finds_label).reshapes(true))
    }

    fn conclude(&self, counted: &Counted, without: Option<usize>) -> Result<FittedEncode> {
        let all = counted.all.finish(false, without).1;
        let mut columns = Vec::with_capacity(counted.columns.len());
        for (source, encoding, tally) in &counted.columns {
            if encoding.needs_label() && all.labelled == 0 {
                return Err(Error::schema(&source.name, "rows with a label to learn from", "none"));
            }
            if matches!(encoding, Encoding::WeightOfEvidence { .. }) && !counted.is_binary {
                return Err(Error::schema(&source.name, "a label of 0 and 1", "other labels"));
            }
            let whole = source.data_type.starts_with("Int") || source.data_type.starts_with("UInt");
            let learned = tally.as_ref().map(|tally| tally.finish(whole, without)).unwrap_or_default();
            columns.push(self.encoded(source.clone(), *encoding, learned, &all)?);
        }
        Ok(FittedEncode { columns })
    }

    fn encoded(
        &self,
        source: Named,
        encoding: Encoding,
        learned: (Vec<(String, Labels)>, Labels),
        all: &Labels,
    ) -> Result<Encoded> {
        let (mut categories, nulls) = learned;
        let other = self.group(&mut categories);
        let has_other = encoding.learns() && self.settings.unknown == Unknown::Other;
        let has_null = encoding.learns() && self.settings.null_category;
        let (names, mut groups): (Vec<String>, Vec<Labels>) = categories.into_iter().unzip();
        groups.extend(has_other.then_some(other));
        groups.extend(has_null.then_some(nulls));
        let code = Code::learn(encoding, &groups, all);
        if code.columns(groups.len()) > ENCODED_COLUMNS_MAX {
            let most = format!("at most {ENCODED_COLUMNS_MAX} categories");
            return Err(Error::schema(&source.name, most, format!("{} of them: group the rare ones", groups.len())));
        }
        Ok(Encoded { source, categories: names, has_other, has_null, unknown: self.settings.unknown, code })
    }

    /// Takes the rare ones out of `categories` and gives what they are together.
    fn group(&self, categories: &mut Vec<(String, Labels)>) -> Labels {
        let mut ranks: Vec<usize> = (0..categories.len()).collect();
        ranks.sort_by(|a, b| categories[*b].1.rows.cmp(&categories[*a].1.rows).then(a.cmp(b)));
        let most = self.settings.categories_max.map_or(usize::MAX, |most| most as usize);
        let mut stays = vec![false; categories.len()];
        for place in ranks.into_iter().take(most) {
            stays[place] = categories[place].1.rows >= self.settings.rows_min;
        }
        let mut other = Labels::default();
        let mut marks = stays.into_iter();
        categories.retain(|(_, labels)| {
            let stays = marks.next().unwrap_or(false);
            if !stays {
                other.merge(labels);
            }
            stays
        });
        other
    }
}

impl Counted {
    fn add(&mut self, batch: &RecordBatch) -> Result<()> {
        let labels = self.label.as_deref().map(|label| floats(label, &batch[label])).transpose()?;
        let labels = labels.as_deref();
        for label in labels.into_iter().flatten().filter(|label| label.is_finite()) {
            self.is_binary &= *label == 0.0 || *label == 1.0;
        }
        for (source, _, tally) in &mut self.columns {
            if let Some(tally) = tally {
                tally.update(&source.name, &texts(&source.name, &batch[source.name.as_str()])?, labels)?;
            }
        }
        if labels.is_some() {
            self.all.update("", &StringArray::new_null(batch.num_rows()), labels)?;
        }
        Ok(())
    }
}

impl Transform for Encode {
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

/// An [`Encode`] that knows its categories.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedEncode {
    columns: Vec<Encoded>,
}

impl FittedEncode {
    /// Categories of `column` in order, without "other" and the missing ones; `None` when it is not encoded.
    pub fn categories(&self, column: &str) -> Option<&[String]> {
        self.columns.iter().find(|encoded| encoded.source.name == column).map(|encoded| encoded.categories.as_slice())
    }

    /// The numbers that the categories of `column` are encoded as, "other" and the missing ones last where they have their
    /// own; `None` when it is not encoded by one number each.
    pub fn numbers(&self, column: &str) -> Option<&[f64]> {
        self.columns.iter().find(|encoded| encoded.source.name == column).and_then(|encoded| encoded.code.numbers())
    }
}

fitted_by_column!(FittedEncode, KIND);

#[cfg(test)]
mod tests;
