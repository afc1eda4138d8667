//! Rows whose texts are nearly those of a row before.

mod sketch;

use std::collections::HashMap;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, StringArray};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{DataType, Field};
use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use self::sketch::{Bands, jaccard, shingles};
use super::super::rows::{Fieldset, Named, admit, assemble, booleans, pack, settings};
use super::super::study::{self, Study};
use super::super::{Change, Changes, FittedTransform, Pass, Pick, Scope, StepChanges, Transform, TransformState};
use crate::source::is_text;
use crate::{Dataset, Error, Result, Schema};

pub(in crate::clean) const KIND: &str = "near_dedup";

/// Name of the column of flags.
const FLAG: &str = "near_duplicate";

/// Bytes that a pass holds where nothing was said: 1 GiB.
pub const NEAR_BYTES_DEFAULT: u64 = 1 << 30;

const SEED: u64 = 0x6e65_6172;

/// What texts are cut into before they are compared; in lower case, white space as one space.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Shingles {
    /// Every so many words in a row, 1..=16.
    Words(u32),
    /// Every so many characters in a row, 1..=16.
    Chars(u32),
}

/// Drops or flags rows whose texts are nearly those of a row that stays before them. [`Scope::Table`]: left out on the request
/// path.
///
/// * Two texts are near when the Jaccard index of their sets of shingles, shared by all, is at least the
///   [`threshold`](NearDedupBuilder::threshold). Pairs are found by MinHash and bands (Broder, *On the resemblance and containment
///   of documents*, 1997; Indyk and Motwani 1998): one at the threshold with a probability of 0.99, a nearer one with a greater;
///   and each is then compared shingle by shingle, so that none is dropped wrongly (but for two shingles of one 64-bit hash).
/// * With several columns, their texts are compared as one, a space between. A row without any word stays.
/// * Order is kept, and the first of several stays. A row that is near to a dropped one only stays, too.
/// * Memory: 8 bytes per shingle of the rows that stay, and 16 to 40 per band (of which there are 128 at most); a pass ends with
///   [`Error::Invalid`] where that is more than [`bytes_max`](NearDedupBuilder::bytes_max). Nothing is learned.
///
/// # Examples
/// ```
/// use std::sync::Arc;
///
/// use mlops_core::arrow::array::{ArrayRef, RecordBatch, StringArray};
/// use mlops_core::clean::{FittedTransform, FittedTransformExt, NearDedup, Shingles, Transform};
/// use mlops_core::{Dataset, EventTime};
///
/// let titles = StringArray::from(vec!["Bán nhà mặt tiền quận 3", "bán  nhà mặt tiền quận 3!", "Cho thuê căn hộ"]);
/// let data = Dataset::from_batches([RecordBatch::try_from_iter([("title", Arc::new(titles) as ArrayRef)])?])?;
/// let near = NearDedup::builder("title").shingles(Shingles::Chars(3)).threshold(0.7).build()?;
/// let fitted: Arc<dyn FittedTransform> = near.fit(&data)?.into();
/// assert_eq!(fitted.apply(&data, EventTime::EPOCH)?.num_rows()?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(try_from = "NearDedupBuilder", into = "NearDedupBuilder")]
pub struct NearDedup {
    settings: NearDedupBuilder,
}

/// Builder of [`NearDedup`], and its form in files (every field but the columns may be left out).
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NearDedupBuilder {
    columns: Pick,
    #[serde(default = "three_words")]
    shingles: Shingles,
    #[serde(default = "eight_tenths")]
    threshold: f64,
    #[serde(default)]
    flag: bool,
    #[serde(default = "gibibyte")]
    bytes_max: u64,
}

fn three_words() -> Shingles {
    Shingles::Words(3)
}

fn eight_tenths() -> f64 {
    0.8
}

fn gibibyte() -> u64 {
    NEAR_BYTES_DEFAULT
}

impl NearDedupBuilder {
    /// What texts are cut into. Default: three words in a row.
    pub fn shingles(mut self, shingles: Shingles) -> Self {
        self.shingles = shingles;
        self
    }

    /// Least Jaccard index of near texts, above 0 and at most 1. Default 0.8.
    pub fn threshold(mut self, threshold: f64) -> Self {
        self.threshold = threshold;
        self
    }

    /// Whether such rows stay, and a column `near_duplicate` of booleans after all others is true for them. Default no.
    pub fn flag(mut self, flag: bool) -> Self {
        self.flag = flag;
        self
    }

    /// Most bytes that a pass holds. Default [`NEAR_BYTES_DEFAULT`].
    pub fn bytes_max(mut self, bytes: u64) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when shingles are not of 1 to 16 pieces, or the threshold is out of its domain.
    pub fn build(self) -> Result<NearDedup> {
        check(self.shingles, self.threshold)?;
        Ok(NearDedup { settings: self })
    }
}

fn check(shingles: Shingles, threshold: f64) -> Result<()> {
    let (Shingles::Words(pieces) | Shingles::Chars(pieces)) = shingles;
    if !(1..=16).contains(&pieces) {
        return Err(Error::invalid("shingles", pieces, "within 1..=16"));
    }
    if !(threshold > 0.0 && threshold <= 1.0) {
        return Err(Error::invalid("threshold", threshold, "above 0 and at most 1"));
    }
    Ok(())
}

impl TryFrom<NearDedupBuilder> for NearDedup {
    type Error = Error;

    fn try_from(builder: NearDedupBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<NearDedup> for NearDedupBuilder {
    fn from(near: NearDedup) -> Self {
        near.settings
    }
}

impl NearDedup {
    /// Starts with the texts of `columns`.
    pub fn builder(columns: impl Into<Pick>) -> NearDedupBuilder {
        NearDedupBuilder {
            columns: columns.into(),
            shingles: three_words(),
            threshold: eight_tenths(),
            flag: false,
            bytes_max: NEAR_BYTES_DEFAULT,
        }
    }
}

impl NearDedup {
    /// What a fit needs of rows of `schema`.
    fn begin(&self, schema: &Schema) -> Result<Study> {
        let mut columns = Vec::new();
        for name in self.settings.columns.names(schema)? {
            let data_type = schema.field(&name)?.data_type();
            if !is_text(data_type) {
                return Err(Error::schema(name, "text", data_type));
            }
            columns.push(Named::of(schema, &name)?);
        }
        if columns.is_empty() {
            return Err(Error::schema("*", "at least one column of text", "none that the setting picks"));
        }
        let NearDedupBuilder { shingles, threshold, flag, bytes_max, .. } = self.settings;
        let fitted = FittedNearDedup { columns, shingles, threshold, flag, bytes_max };
        fitted.output_schema(schema)?;
        let names: Vec<String> = fitted.columns.iter().map(|column| column.name.clone()).collect();
        let study = Study::new(study::known(fitted)).concerns(names);
        Ok(study.picks(study::any_picks([&self.settings.columns])).reshapes(flag).drops_rows(!flag))
    }
}

impl Transform for NearDedup {
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

/// A [`NearDedup`] that knows its columns.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FittedNearDedup {
    columns: Vec<Named>,
    shingles: Shingles,
    threshold: f64,
    flag: bool,
    bytes_max: u64,
}

impl FittedTransform for FittedNearDedup {
    fn scope(&self) -> Scope {
        Scope::Table
    }

    fn output_schema(&self, input: &Schema) -> Result<Schema> {
        // A state comes from outside.
        check(self.shingles, self.threshold)?;
        self.columns.iter().try_for_each(|column| column.find(input).map(drop))?;
        let mut fields = Fieldset::of(input);
        if self.flag {
            let from: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
            fields.derive(&from, Field::new(FLAG, DataType::Boolean, false))?;
        }
        fields.finish()
    }

    fn begin(&self, input: &Schema) -> Result<Box<dyn Pass>> {
        Ok(Box::new(NearPass {
            input: input.clone(),
            output: self.output_schema(input)?,
            positions: self.columns.iter().map(|column| column.find(input)).collect::<Result<_>>()?,
            known: Known {
                shingles: self.shingles,
                threshold: self.threshold,
                bands: Bands::new(self.threshold, SEED),
                sets: Vec::new(),
                buckets: HashMap::default(),
                bytes: 0,
                bytes_max: self.bytes_max,
            },
            flag: self.flag,
            changes: StepChanges::new(KIND),
        }))
    }

    fn state(&self) -> Result<TransformState> {
        pack(KIND, self)
    }
}

/// The sets of all rows that stay.
struct Known {
    shingles: Shingles,
    threshold: f64,
    bands: Bands,
    sets: Vec<Box<[u64]>>,
    /// Key of a band to the sets that have it.
    buckets: HashMap<u64, Vec<u32>, FixedState>,
    bytes: u64,
    bytes_max: u64,
}

/// Bytes of one entry of a bucket, its share of the table included.
const ENTRY_BYTES: u64 = 40;

impl Known {
    /// Whether `text` is near to one that is known; it is known from then on otherwise.
    fn is_near(&mut self, text: &str) -> Result<bool> {
        let set = shingles(text, self.shingles);
        if set.is_empty() {
            return Ok(false);
        }
        let keys = self.bands.keys(&set);
        let mut candidates: Vec<u32> = keys.iter().filter_map(|key| self.buckets.get(key)).flatten().copied().collect();
        candidates.sort_unstable();
        candidates.dedup();
        if candidates.iter().any(|other| jaccard(&self.sets[*other as usize], &set) >= self.threshold) {
            return Ok(true);
        }
        self.bytes += 8 * set.len() as u64 + ENTRY_BYTES * keys.len() as u64;
        if self.bytes > self.bytes_max {
            return Err(Error::invalid("bytes_max", self.bytes_max, "as many as the texts that stay need"));
        }
        let place = self.sets.len() as u32;
        self.sets.push(set.into_boxed_slice());
        keys.into_iter().for_each(|key| self.buckets.entry(key).or_default().push(place));
        Ok(false)
    }
}

struct NearPass {
    input: Schema,
    output: Schema,
    positions: Vec<usize>,
    known: Known,
    flag: bool,
    changes: StepChanges,
}

impl NearPass {
    fn near(&mut self, batch: &RecordBatch) -> Result<BooleanBuffer> {
        let plain = |at: &usize| Ok(cast(batch.column(*at), &DataType::Utf8)?);
        let arrays = self.positions.iter().map(plain).collect::<Result<Vec<ArrayRef>>>()?;
        let texts: Vec<&StringArray> = arrays.iter().map(AsArray::as_string).collect();
        let mut near = Vec::with_capacity(batch.num_rows());
        let mut whole = String::new();
        for row in 0..batch.num_rows() {
            whole.clear();
            for texts in texts.iter().filter(|texts| texts.is_valid(row)) {
                whole.push_str(texts.value(row));
                whole.push(' ');
            }
            near.push(self.known.is_near(&whole)?);
        }
        Ok(BooleanBuffer::from(near))
    }
}

impl Pass for NearPass {
    fn apply(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let batch = admit(&self.input, batch)?;
        let near = self.near(&batch)?;
        let count = near.count_set_bits() as u64;
        self.changes.rows_in += batch.num_rows() as u64;
        let treated = if self.flag {
            self.changes.count(FLAG, Change::Flagged, count);
            let columns = [batch.columns(), &[booleans(near)]].concat();
            assemble(&self.output, columns, batch.num_rows())?
        } else {
            filter_record_batch(&batch, &BooleanArray::new(!&near, None))?
        };
        self.changes.rows_out += treated.num_rows() as u64;
        Ok(treated)
    }

    fn drain(&mut self) -> Result<Option<RecordBatch>> {
        Ok(None)
    }

    fn changes(&self) -> Changes {
        self.changes.clone().into()
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::Int64Array;

    use super::super::super::fixture::{clean, column, data, recut};
    use super::*;

    /// 60 texts of 40 words, each followed by one with two of them changed and one with half of them changed.
    fn table() -> Dataset {
        let mut texts = Vec::new();
        for text in 0..60 {
            let word = |i: usize, changed: bool| format!("{}{}", if changed { "new" } else { "word" }, text * 100 + i);
            let with =
                |changed: &dyn Fn(usize) -> bool| (0..40).map(|i| word(i, changed(i))).collect::<Vec<_>>().join(" ");
            texts.push(with(&|_| false));
            texts.push(with(&|i| i == 5 || i == 6));
            texts.push(with(&|i| i % 2 == 0));
        }
        data([("t", column(StringArray::from(texts))), ("id", column(Int64Array::from_iter_values(0..180)))])
    }

    fn near() -> NearDedupBuilder {
        // Changing two of 40 words leaves 38 of 42 different ones: a Jaccard index of 0.905; half of them, 20 of 60.
        NearDedup::builder("t").shingles(Shingles::Words(1))
    }

    #[test]
    fn near_texts_go_and_others_stay_whatever_the_cut() {
        for data in [table(), recut(&table(), 7)] {
            let (treated, changes) = clean(&near().build().unwrap(), &data);
            let ids = treated["id"].as_primitive::<arrow::datatypes::Int64Type>();
            assert!(ids.values().iter().all(|id| id % 3 != 1), "the near one of each three goes");
            assert_eq!((treated.num_rows(), changes.rows_dropped()), (120, 60));
        }
    }

    #[test]
    fn a_candidate_below_the_threshold_stays() {
        // 38 / 42 = 0.9048: above one threshold, below the other, for pairs that all meet in some band.
        for (threshold, dropped) in [(0.904, 60), (0.906, 0)] {
            let (_, changes) = clean(&near().threshold(threshold).build().unwrap(), &table());
            assert_eq!(changes.rows_dropped(), dropped);
        }
    }

    #[test]
    fn near_rows_can_be_flagged_and_rows_without_words_stay() {
        let rows = data([("t", column(StringArray::from(vec![Some("a b c"), Some("A  b c"), None, Some(" "), None])))]);
        let (treated, changes) = clean(&near().flag(true).build().unwrap(), &rows);
        let flags: Vec<_> = treated[FLAG].as_boolean().iter().flatten().collect();
        assert_eq!(flags, [false, true, false, false, false]);
        assert_eq!((changes.cells(FLAG, Change::Flagged), changes.rows_dropped()), (1, 0));
    }

    #[test]
    fn memory_is_bounded_and_settings_are_checked() {
        let fitted = near().bytes_max(10_000).build().unwrap().fit(&table()).unwrap();
        let mut pass = fitted.begin(table().schema()).unwrap();
        let error = pass.apply(&table().to_batch().unwrap()).unwrap_err();
        assert!(matches!(error, Error::Invalid { setting: "bytes_max", .. }), "{error}");
        let mut hostile = fitted.state().unwrap();
        hostile.body["shingles"] = serde_json::json!({ "words": 0 });
        assert!(super::super::super::restore(&hostile).unwrap().begin(table().schema()).is_err());
        assert!(near().threshold(0.0).build().is_err() && near().shingles(Shingles::Chars(0)).build().is_err());
        let numbers = near().build().unwrap().fit(&data([("t", column(Int64Array::from(vec![1])))]));
        assert!(matches!(numbers, Err(Error::Schema { column, .. }) if column == "t"));
    }
}
