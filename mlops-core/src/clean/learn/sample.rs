//! A bounded sample of rows, the same whatever the cut into batches.

use arrow::array::{Array, RecordBatch};

use crate::interop::floats;
use crate::stats::hash::spread;
use crate::{Error, Result};

/// Rows as numbers, NaN where a value is missing; at most `rows_max` of them.
///
/// A row is kept while the hash of its number and the seed lies below a threshold that is halved whenever there are too many:
/// every row has the same chance, and all of them stay while they are few.
#[derive(Debug)]
pub(in crate::clean) struct Sample {
    rows_max: usize,
    seed: u64,
    threshold: u64,
    seen: u64,
    hashes: Vec<u64>,
    columns: Vec<Vec<f64>>,
}

impl Sample {
    pub(in crate::clean) fn new(columns: usize, rows_max: usize, seed: u64) -> Self {
        let columns = vec![Vec::new(); columns];
        Self { rows_max, seed: spread(seed), threshold: u64::MAX, seen: 0, hashes: Vec::new(), columns }
    }

    /// Offers the rows of `batch`, whose columns are those of the sample.
    pub(in crate::clean) fn update(&mut self, batch: &RecordBatch) -> Result<()> {
        let mut values = Vec::with_capacity(batch.num_columns());
        for (field, array) in batch.schema_ref().fields().iter().zip(batch.columns()) {
            values.push(floats(field.name(), array)?);
        }
        for row in 0..batch.num_rows() {
            if self.admit()? {
                for (column, values) in self.columns.iter_mut().zip(&values) {
                    column.push(values[row]);
                }
                self.thin();
            }
        }
        Ok(())
    }

    fn admit(&mut self) -> Result<bool> {
        let hash = spread(self.seen ^ self.seed);
        self.seen += 1;
        if hash > self.threshold {
            return Ok(false);
        }
        self.hashes.try_reserve(1).map_err(|e| Error::external("memory", e))?;
        self.hashes.push(hash);
        Ok(true)
    }

    fn thin(&mut self) {
        while self.hashes.len() > self.rows_max {
            self.threshold /= 2;
            let threshold = self.threshold;
            let kept: Vec<bool> = self.hashes.iter().map(|hash| *hash <= threshold).collect();
            let mut marks = kept.iter();
            self.hashes.retain(|_| marks.next().copied().unwrap_or(false));
            for column in &mut self.columns {
                let mut marks = kept.iter();
                column.retain(|_| marks.next().copied().unwrap_or(false));
            }
        }
    }

    /// The columns, rows in order.
    pub(in crate::clean) fn finish(self) -> Vec<Vec<f64>> {
        self.columns
    }
}

/// Rows in which `array` has a value.
pub(in crate::clean) fn present(array: &dyn Array) -> u64 {
    (array.len() - array.logical_null_count()) as u64
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array};

    use super::*;

    fn sample(cut: usize, rows_max: usize) -> Vec<f64> {
        let mut sample = Sample::new(1, rows_max, 3);
        let values: Vec<i64> = (0..10_000).collect();
        for piece in values.chunks(cut) {
            let array = Arc::new(Int64Array::from(piece.to_vec())) as ArrayRef;
            sample.update(&RecordBatch::try_from_iter([("x", array)]).unwrap()).unwrap();
        }
        sample.finish().remove(0)
    }

    #[test]
    fn all_rows_stay_while_they_are_few_and_a_fair_part_beyond() {
        assert_eq!(sample(999, 10_000).len(), 10_000);
        let part = sample(999, 1000);
        assert!(part.len() <= 1000 && part.len() > 400, "{}", part.len());
        assert!(part.is_sorted(), "rows keep their order");
        let mean = part.iter().sum::<f64>() / part.len() as f64;
        assert!((mean - 5000.0).abs() < 500.0, "{mean}");
        assert_eq!(part, sample(7, 1000));
    }
}
