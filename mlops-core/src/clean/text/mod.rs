//! Texts as numbers: their length, their words.

mod terms;
mod words;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field};
use serde::{Deserialize, Serialize};

use self::terms::{Term, Terms};
use self::words::Words;
use super::derive::{Make, Maker, fitted_by_column};
use super::encode::place;
use super::learn::present;
use super::rows::{Named, may_be_learned, settings};
use super::study::{self, Study};
use super::{Change, ENCODED_COLUMNS_MAX, FittedTransform, Pick, StepChanges, Transform};
use crate::source::is_text;
use crate::{Dataset, Error, Result, Schema};

pub(super) const KIND: &str = "text";

/// What is read off a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum TextPart {
    /// `<name>_chars`: how many characters (Unicode scalar values) it has.
    Chars,
    /// `<name>_words`: how many pieces between white space.
    Words,
    /// `<name>_bag_<i>`: its words, each in the column that its hash picks, with the sign that its hash has; then divided by
    /// the root of their squares (scikit-learn's `HashingVectorizer`). Nothing is learned.
    Bag {
        /// How many columns, 1..=4096.
        columns: u32,
    },
    /// `<name>_tfidf_<word>`: how often the word stands in the text times `ln((1 + n) / (1 + d)) + 1`, where `d` of the `n`
    /// texts of the fit have it; then divided by the root of their squares (`TfidfVectorizer`; Salton and Buckley,
    /// *Term-weighting approaches in automatic text retrieval*, IPM 24, 1988).
    TfIdf {
        /// Most words, 1..=4096: those that stand in all texts most often, of equals the first by bytes.
        words_max: u32,
    },
}

impl TextPart {
    fn check(self) -> Result<()> {
        match self {
            Self::Bag { columns: n } | Self::TfIdf { words_max: n } if n == 0 || n as usize > ENCODED_COLUMNS_MAX => {
                Err(Error::invalid("columns", n, "within 1..=4096"))
            }
            _ => Ok(()),
        }
    }
}

/// Makes columns of texts.
///
/// * Columns come after all others, per column in the order of [`parts`](TextBuilder::part); each is as sensitive as its
///   column, and a feature where that is one. The column itself goes unless [`keep_source`](TextBuilder::keep_source).
/// * Words are the runs of at least two letters, digits, underscores and combining accents, in lower case: Vietnamese text in
///   NFC and in NFD has as many of them, under different spellings.
/// * A missing text has a missing length, and 0 in all columns of its words.
/// * `TfIdf` refuses columns that tell about a person, as their words would stand in the state.
/// * Memory of a fit: the different words of `TfIdf`, at most [`MODE_VALUES_MAX`](super::MODE_VALUES_MAX) of
///   [`MODE_BYTES_MAX`](super::MODE_BYTES_MAX); one scan. Nothing otherwise.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::arrow::array::{ArrayRef, AsArray, RecordBatch, StringArray};
/// use mlops_core::arrow::datatypes::Int64Type;
/// use mlops_core::clean::{FittedTransformExt, Text, TextPart, Transform};
/// use mlops_core::Dataset;
///
/// let notes = StringArray::from(vec!["xin chào bạn"]);
/// let rows = RecordBatch::try_from_iter([("note", Arc::new(notes) as ArrayRef)])?;
/// let text = Text::builder("note").part(TextPart::Words).part(TextPart::Bag { columns: 16 }).build()?;
/// let clean = text.fit(&Dataset::from_batches([rows.clone()])?)?.apply_batch(&rows)?;
/// assert_eq!(clean["note_words"].as_primitive::<Int64Type>().value(0), 3);
/// assert_eq!(clean.num_columns(), 17);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "TextBuilder", into = "TextBuilder")]
pub struct Text {
    settings: TextBuilder,
}

/// Builder of [`Text`], and its form in files.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TextBuilder {
    columns: Pick,
    parts: Vec<TextPart>,
    #[serde(default)]
    keep_source: bool,
}

impl TextBuilder {
    /// Reads `part` off each text, too.
    pub fn part(mut self, part: TextPart) -> Self {
        self.parts.push(part);
        self
    }

    /// Whether the column itself stays. Default no.
    pub fn keep_source(mut self, keep: bool) -> Self {
        self.keep_source = keep;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no part, or one of them has no column or more than 4096.
    pub fn build(self) -> Result<Text> {
        if self.parts.is_empty() {
            return Err(Error::invalid("parts", "none", "at least one part"));
        }
        self.parts.iter().try_for_each(|part| part.check())?;
        Ok(Text { settings: self })
    }
}

impl TryFrom<TextBuilder> for Text {
    type Error = Error;

    fn try_from(builder: TextBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<Text> for TextBuilder {
    fn from(text: Text) -> Self {
        text.settings
    }
}

impl Text {
    /// Starts with the texts of `columns`, and no part.
    pub fn builder(columns: impl Into<Pick>) -> TextBuilder {
        TextBuilder { columns: columns.into(), parts: Vec::new(), keep_source: false }
    }
}

impl Text {
    /// What a fit needs of rows of `schema`.
    fn begin(&self, schema: &Schema) -> Result<Study> {
        let names = self.settings.columns.names(schema)?;
        let learns = self.settings.parts.iter().any(|part| matches!(part, TextPart::TfIdf { .. }));
        let mut sources = Vec::with_capacity(names.len());
        for name in &names {
            let data_type = schema.field(name)?.data_type();
            if !is_text(data_type) {
                return Err(Error::schema(name, "text", data_type));
            }
            if learns {
                may_be_learned(schema, name)?;
            }
            sources.push(Named::of(schema, name)?);
        }
        let terms: Vec<Terms> = names.iter().map(|_| Terms::default()).collect();
        let columns = names.clone();
        let update = move |terms: &mut Vec<Terms>, batch: &RecordBatch| {
            let columns = terms.iter_mut().zip(&columns).zip(batch.columns());
            columns.into_iter().try_for_each(|((terms, name), array)| terms.update(name, &plain(array)?))
        };
        let (settings, schema) = (self.settings.clone(), schema.clone());
        let conclude = move |terms: Vec<Terms>| {
            let read = |(source, terms): (Named, &Terms)| settings.read(source, terms);
            let fitted = FittedText { columns: sources.into_iter().zip(&terms).map(read).collect() };
            fitted.output_schema(&schema)?;
            Ok(Box::new(fitted) as Box<dyn FittedTransform>)
        };
        let study = Study::new(study::learner(terms, update, conclude)).concerns(names.clone());
        let gone = if self.settings.keep_source { Vec::new() } else { names.clone() };
        let study = study.changes(gone).picks(study::any_picks([&self.settings.columns])).reshapes(true);
        Ok(if learns { study.reads(names) } else { study })
    }
}

impl Transform for Text {
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

impl TextBuilder {
    /// What is made of `source`, whose words are `terms`.
    fn read(&self, source: Named, terms: &Terms) -> Read {
        let fitted = |part: &TextPart| match *part {
            TextPart::Chars => Fitted::Chars,
            TextPart::Words => Fitted::Words,
            TextPart::Bag { columns } => Fitted::Bag { columns },
            TextPart::TfIdf { words_max } => Fitted::TfIdf { terms: terms.most_frequent(words_max as usize) },
        };
        Read { source, parts: self.parts.iter().map(fitted).collect(), keep_source: self.keep_source }
    }
}

fn plain(array: &ArrayRef) -> Result<StringArray> {
    Ok(cast(array, &DataType::Utf8)?.as_string().clone())
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Fitted {
    Chars,
    Words,
    Bag { columns: u32 },
    TfIdf { terms: Vec<Term> },
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Read {
    source: Named,
    parts: Vec<Fitted>,
    keep_source: bool,
}

/// A [`Text`] that knows its words.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedText {
    columns: Vec<Read>,
}

impl FittedText {
    /// The words of `column` that have a column, in order, each with the weight of its rarity; empty without `TfIdf`.
    pub fn words(&self, column: &str) -> Vec<(&str, f64)> {
        let parts = self.columns.iter().filter(|read| read.source.name == column).flat_map(|read| &read.parts);
        let terms = parts.filter_map(|part| if let Fitted::TfIdf { terms } = part { Some(terms) } else { None });
        terms.flatten().map(|term| (term.word.as_str(), term.idf)).collect()
    }
}

fitted_by_column!(FittedText, KIND);

impl Maker for Read {
    fn source(&self) -> &Named {
        &self.source
    }

    fn keeps_source(&self) -> bool {
        self.keep_source
    }

    fn fields(&self, source: &Field) -> Vec<Field> {
        let name = source.name();
        let whole = |suffix: &str| vec![Field::new(format!("{name}_{suffix}"), DataType::Int64, source.is_nullable())];
        let float = |suffix: String| Field::new(format!("{name}_{suffix}"), DataType::Float64, false);
        let fields = |part: &Fitted| match part {
            Fitted::Chars => whole("chars"),
            Fitted::Words => whole("words"),
            Fitted::Bag { columns } => (0..*columns).map(|i| float(format!("bag_{i}"))).collect(),
            Fitted::TfIdf { terms } => terms.iter().map(|term| float(format!("tfidf_{}", term.word))).collect(),
        };
        self.parts.iter().flat_map(fields).collect()
    }

    fn prepare(&self) -> Result<Box<dyn Make>> {
        for part in &self.parts {
            if let Fitted::Bag { columns } = *part {
                TextPart::Bag { columns }.check()?;
            }
        }
        let parts = self.parts.iter().map(|part| match part {
            Fitted::Chars => Part::Count(|text| text.chars().count()),
            Fitted::Words => Part::Count(|text| text.split_whitespace().count()),
            Fitted::Bag { columns } => Part::Bag(*columns as usize),
            Fitted::TfIdf { terms } => Part::TfIdf(terms::Index::of(terms)),
        });
        Ok(Box::new(Reader { name: self.source.name.clone(), parts: parts.collect(), words: Words::default() }))
    }
}

enum Part {
    Count(fn(&str) -> usize),
    Bag(usize),
    TfIdf(terms::Index),
}

struct Reader {
    name: String,
    parts: Vec<Part>,
    words: Words,
}

impl Make for Reader {
    fn make(&mut self, array: &ArrayRef, changes: &mut StepChanges) -> Result<Vec<ArrayRef>> {
        let texts = plain(array)?;
        changes.count(&self.name, Change::Derived, present(&texts));
        let mut arrays: Vec<ArrayRef> = Vec::new();
        for part in &self.parts {
            match part {
                Part::Count(of) => {
                    let counts = texts.iter().map(|text| text.map(|text| of(text) as i64));
                    arrays.push(Arc::new(counts.collect::<Int64Array>()));
                }
                Part::Bag(columns) => {
                    arrays.extend(weighed(&texts, *columns, &mut self.words, |word| Some(place(word, *columns))));
                }
                Part::TfIdf(index) => {
                    arrays.extend(weighed(&texts, index.len(), &mut self.words, |word| index.get(word)));
                }
            }
        }
        Ok(arrays)
    }
}

/// The words of each text in `columns` columns: `weigh` says where a word counts and how much. Rows have length 1 or 0.
fn weighed(
    texts: &StringArray,
    columns: usize,
    words: &mut Words,
    weigh: impl Fn(&str) -> Option<(usize, f64)>,
) -> Vec<ArrayRef> {
    let mut values = vec![vec![0.0; texts.len()]; columns];
    let mut touched = Vec::new();
    for (row, text) in texts.iter().enumerate() {
        touched.clear();
        words.each(text.unwrap_or_default(), &mut |word| {
            if let Some((column, weight)) = weigh(word) {
                values[column][row] += weight;
                touched.push(column);
            }
        });
        touched.sort_unstable();
        touched.dedup();
        let length = touched.iter().map(|column| values[*column][row].powi(2)).sum::<f64>().sqrt();
        for column in touched.iter().filter(|_| length > 0.0) {
            values[*column][row] /= length;
        }
    }
    values.into_iter().map(|column| Arc::new(Float64Array::from(column)) as ArrayRef).collect()
}

#[cfg(test)]
mod tests;
