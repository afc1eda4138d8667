//! What the footer of a file says of its appends.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use mlops_core::Digest;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::file::metadata::KeyValue;
use serde::{Deserialize, Serialize};

use super::checksum::check_footer;
use super::listing::Span;
use crate::error::{Core, Result};
use crate::offline::Watermark;

/// Under which the file of a single append has its id.
pub(super) const ID_KEY: &str = "mlops.append";

/// Under which a file of several appends says which, as JSON.
const PARTS_KEY: &str = "mlops.appends";

/// One append within a file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    pub(super) sequence: u64,
    pub(super) rows: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) id: Option<Digest>,
}

/// The appends of a file, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Parts(Vec<Part>);

/// Reads the footer of the file at `path`.
///
/// # Errors
/// `Core(Corrupt)` when it is no footer, or not the one that was written.
pub(super) fn load(file: &File, path: &Path) -> Result<ArrowReaderMetadata> {
    check_footer(file, path)?;
    // The decoder checks most of what a damaged footer can do to it, but not all.
    let load = || ArrowReaderMetadata::load(file, ArrowReaderOptions::default());
    match catch_unwind(AssertUnwindSafe(load)) {
        Ok(Ok(footer)) => Ok(footer),
        Ok(Err(error)) => Err(Core::corrupt(path.display().to_string(), error).into()),
        Err(_) => Err(Core::corrupt(path.display().to_string(), "its footer contradicts itself").into()),
    }
}

impl Parts {
    pub(super) fn new(parts: Vec<Part>) -> Self {
        Self(parts)
    }

    /// Those of the file of `span`.
    ///
    /// # Errors
    /// `Core(Corrupt)` when the footer does not fit the file's name or its rows.
    pub(super) fn read(footer: &ArrowReaderMetadata, span: Span, path: &Path) -> Result<Self> {
        let damaged = |reason: String| Core::corrupt(path.display().to_string(), reason);
        let metadata = footer.metadata().file_metadata();
        let rows = u64::try_from(metadata.num_rows()).map_err(|e| damaged(e.to_string()))?;
        let told = |key: &str| {
            let mut pairs = metadata.key_value_metadata().into_iter().flatten();
            pairs.find(|pair| pair.key == key).and_then(|pair| pair.value.as_deref())
        };
        if span.first == span.last {
            let id = told(ID_KEY).map(str::parse).transpose().map_err(|e: mlops_core::Error| damaged(e.to_string()))?;
            return Ok(Self(vec![Part { sequence: span.first, rows, id }]));
        }
        let text = told(PARTS_KEY).ok_or_else(|| damaged("it does not say which appends it holds".to_owned()))?;
        let parts: Vec<Part> = serde_json::from_str(text).map_err(|e| damaged(e.to_string()))?;
        let sum = parts.iter().try_fold(0_u64, |sum, part| sum.checked_add(part.rows));
        let ascending = parts.is_sorted_by(|a, b| a.sequence < b.sequence);
        let ends = (parts.first().map(|part| part.sequence), parts.last().map(|part| part.sequence));
        if sum != Some(rows) || !ascending || ends != (Some(span.first), Some(span.last)) {
            return Err(damaged("the appends that it names are not those that it holds".to_owned()).into());
        }
        Ok(Self(parts))
    }

    pub(super) fn told(&self) -> Result<KeyValue> {
        let text = serde_json::to_string(&self.0).map_err(|e| Core::invalid_data("appends of a file", e))?;
        Ok(KeyValue::new(PARTS_KEY.to_owned(), text))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Part> {
        self.0.iter()
    }

    /// The position that is reached after `rows` rows of the file.
    pub(super) fn position(&self, rows: u64) -> Watermark {
        let mut before = 0;
        for (at, part) in self.0.iter().enumerate() {
            if rows <= before + part.rows || at + 1 == self.0.len() {
                return Watermark { sequence: part.sequence, rows: rows - before };
            }
            before += part.rows;
        }
        Watermark::default()
    }

    /// How many rows of the file lie up to a position.
    pub(super) fn rows_until(&self, position: Watermark) -> u64 {
        let part = |part: &Part| match part.sequence.cmp(&position.sequence) {
            std::cmp::Ordering::Less => part.rows,
            std::cmp::Ordering::Equal => part.rows.min(position.rows),
            std::cmp::Ordering::Greater => 0,
        };
        self.0.iter().map(part).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_rows_of_a_file_are_two_words_for_one_place() {
        let part = |sequence, rows| Part { sequence, rows, id: None };
        let parts = Parts::new(vec![part(3, 2), part(4, 1), part(7, 5)]);
        let at = |sequence, rows| Watermark { sequence, rows };
        for (rows, position) in [(1, at(3, 1)), (2, at(3, 2)), (3, at(4, 1)), (4, at(7, 1)), (8, at(7, 5))] {
            assert_eq!(parts.position(rows), position);
            assert_eq!(parts.rows_until(position), rows);
        }
        for (position, rows) in
            [(at(0, 9), 0), (at(3, 0), 0), (at(4, 0), 2), (at(5, 1), 3), (at(7, 99), 8), (at(9, 0), 8)]
        {
            assert_eq!(parts.rows_until(position), rows);
        }
    }
}
