//! Training rows whose encoding does not know their own label.

use std::sync::Arc;

use arrow::array::{BooleanArray, RecordBatch, UInt32Array};
use arrow::compute::{concat_batches, filter_record_batch, take_record_batch};

use super::super::ext::treated;
use super::super::rows::admit;
use super::super::{Changes, FittedTransform, Pass, Scope, TransformState};
use super::{Encode, FittedEncode, KIND};
use crate::{Dataset, Error, Result, Schema};

/// Most folds.
const FOLDS_MAX: usize = 100;

/// Refuses numbers of folds that there cannot be.
pub(in crate::clean) fn check_folds(folds: usize) -> Result<()> {
    if (2..=FOLDS_MAX).contains(&folds) { Ok(()) } else { Err(Error::invalid("folds", folds, "within 2..=100")) }
}

impl Encode {
    /// The rows of `data`, those of each fold encoded by what was learned from the others: the row of number `i` is in fold
    /// `i mod folds`. Lazy; one scan to learn, and one whenever it is read.
    ///
    /// What [`fit`](super::super::Transform::fit) gives knows the labels of the rows it was fitted on, so a model that is
    /// trained on them trusts a rare category more than it should; scikit-learn's `TargetEncoder.fit_transform` does the same
    /// as this.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `folds` is outside `2..=100`, and what a fit says. A category all of whose rows are in one fold
    /// is unknown to the others: use [`Unknown::Missing`](super::Unknown::Missing) or
    /// [`Unknown::Other`](super::Unknown::Other).
    ///
    /// # Examples
    /// ```
    /// use std::sync::Arc;
    ///
    /// use mlops_core::Dataset;
    /// use mlops_core::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
    /// use mlops_core::arrow::datatypes::Float64Type;
    /// use mlops_core::clean::{Encode, Encoding, Smooth};
    ///
    /// let rows = RecordBatch::try_from_iter([
    ///     ("city", Arc::new(StringArray::from(vec!["hue", "hue", "hue", "hue"])) as ArrayRef),
    ///     ("churned", Arc::new(Int64Array::from(vec![1, 0, 1, 1]))),
    /// ])?;
    /// let encode = Encode::builder().column("city", Encoding::Target { smooth: Smooth::Rows(0.0) });
    /// let train = encode.label("churned").build()?.out_of_fold(&Dataset::from_batches([rows])?, 2)?.to_batch()?;
    /// // Rows 0 and 2 see the labels of rows 1 and 3, and the other way round.
    /// assert_eq!(train["city"].as_primitive::<Float64Type>().values(), &[0.5, 1.0, 0.5, 1.0]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn out_of_fold(&self, data: &Dataset, folds: usize) -> Result<Dataset> {
        check_folds(folds)?;
        let counted = self.count(data, folds)?;
        let whole = self.conclude(&counted, None)?;
        let without = |fold| self.part(&counted, &whole, fold);
        let folds = (0..folds).map(without).collect::<Result<Vec<_>>>()?;
        treated(data, Arc::new(OutOfFold { folds }))
    }

    /// What was learned without `fold`, with the columns that all rows together give.
    fn part(&self, counted: &super::Counted, whole: &FittedEncode, fold: usize) -> Result<FittedEncode> {
        let mut part = self.conclude(counted, Some(fold))?;
        for (own, all) in part.columns.iter_mut().zip(&whole.columns) {
            // Only numbers know labels.
            if own.code.numbers().is_none() {
                *own = all.clone();
            }
        }
        Ok(part)
    }
}

/// One fitted encoding per fold.
#[derive(Debug)]
struct OutOfFold {
    folds: Vec<FittedEncode>,
}

impl FittedTransform for OutOfFold {
    fn scope(&self) -> Scope {
        Scope::Table
    }

    fn output_schema(&self, input: &Schema) -> Result<Schema> {
        self.folds[0].output_schema(input)
    }

    fn begin(&self, input: &Schema) -> Result<Box<dyn Pass>> {
        let folds = self.folds.iter().map(|fold| fold.begin(input)).collect::<Result<Vec<_>>>()?;
        Ok(Box::new(FoldPass { input: input.clone(), output: self.output_schema(input)?, folds, rows: 0 }))
    }

    fn state(&self) -> Result<TransformState> {
        crate::clean::rows::pack(&format!("{KIND}_out_of_fold"), &self.folds)
    }
}

struct FoldPass {
    input: Schema,
    output: Schema,
    folds: Vec<Box<dyn Pass>>,
    /// Rows before the next batch.
    rows: u64,
}

impl Pass for FoldPass {
    fn apply(&mut self, batch: &RecordBatch) -> Result<RecordBatch> {
        let batch = admit(&self.input, batch)?;
        let folds = self.folds.len();
        let fold_of: Vec<usize> =
            (0..batch.num_rows() as u64).map(|row| ((self.rows + row) % folds as u64) as usize).collect();
        let mut parts = Vec::with_capacity(folds);
        let mut next = Vec::with_capacity(folds);
        let mut before = 0;
        for (fold, pass) in self.folds.iter_mut().enumerate() {
            let own: BooleanArray = fold_of.iter().map(|of| Some(*of == fold)).collect();
            let part = pass.apply(&filter_record_batch(&batch, &own)?)?;
            next.push(before);
            before += part.num_rows() as u32;
            parts.push(part);
        }
        let mut place = |fold: usize| {
            next[fold] += 1;
            next[fold] - 1
        };
        let places = UInt32Array::from_iter_values(fold_of.iter().map(|fold| place(*fold)));
        self.rows += batch.num_rows() as u64;
        Ok(take_record_batch(&concat_batches(self.output.arrow(), &parts)?, &places)?)
    }

    fn drain(&mut self) -> Result<Option<RecordBatch>> {
        Ok(None)
    }

    fn changes(&self) -> Changes {
        let mut all = Changes::default();
        self.folds.iter().for_each(|fold| all.merge(&fold.changes()));
        all
    }
}
