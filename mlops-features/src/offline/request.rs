//! What is read of a view's history.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;

use arrow::array::BooleanArray;
use mlops_core::Window;

use super::Watermark;
use crate::key::{KeyColumn, Keys};

/// What is read of a view's history.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct HistoryRequest {
    window: Option<Window>,
    after: Option<Watermark>,
    until: Option<Watermark>,
    keys: Option<KeyFilter>,
    features: Option<Vec<usize>>,
    batch_rows: Option<usize>,
}

/// Rows per batch where nothing was said.
const BATCH_ROWS_DEFAULT: usize = 16_384;

/// Most rows that a caller may ask for per batch.
const BATCH_ROWS_MAX: usize = 1 << 24;

impl HistoryRequest {
    /// All rows with all features.
    pub fn all() -> Self {
        Self::default()
    }

    /// Only rows whose event time lies in `window`.
    pub fn window(mut self, window: Window) -> Self {
        self.window = Some(window);
        self
    }

    /// Only rows that came in after `watermark`.
    pub fn after(mut self, watermark: Watermark) -> Self {
        self.after = Some(watermark);
        self
    }

    /// Only rows that came in up to `watermark`.
    pub fn until(mut self, watermark: Watermark) -> Self {
        self.until = Some(watermark);
        self
    }

    /// Only rows with one of these keys. A null key is none.
    pub fn keys(mut self, keys: &Keys) -> Self {
        self.keys = Some(KeyFilter::new(keys));
        self
    }

    /// Only these features (positions in the view), in this order. Keys and times always come along.
    pub fn features(mut self, features: impl IntoIterator<Item = usize>) -> Self {
        self.features = Some(features.into_iter().collect());
        self
    }

    /// At most `rows` rows in one batch; clamped to 1..=2^24. Default 16384.
    pub fn batch_rows(mut self, rows: usize) -> Self {
        self.batch_rows = Some(rows);
        self
    }

    /// The window asked for.
    pub fn event_window(&self) -> Option<Window> {
        self.window
    }

    /// The position after which to read.
    pub fn start(&self) -> Option<Watermark> {
        self.after
    }

    /// The position up to which to read.
    pub fn end(&self) -> Option<Watermark> {
        self.until
    }

    /// The keys asked for; `None` for all.
    pub fn key_filter(&self) -> Option<&KeyFilter> {
        self.keys.as_ref()
    }

    /// The features asked for; `None` for all.
    pub fn projection(&self) -> Option<&[usize]> {
        self.features.as_deref()
    }

    /// The most rows in one batch.
    pub fn rows_per_batch(&self) -> usize {
        self.batch_rows.unwrap_or(BATCH_ROWS_DEFAULT).clamp(1, BATCH_ROWS_MAX)
    }
}

/// A set of keys. Cloning is cheap.
#[derive(Clone, PartialEq, Debug)]
pub struct KeyFilter(Arc<Set>);

#[derive(PartialEq, Debug)]
enum Set {
    /// One integer column.
    Integers(BTreeSet<i64>),
    /// Anything else, by the bytes of the key.
    Bytes(BTreeSet<Box<[u8]>>),
}

impl KeyFilter {
    /// All of `keys` that are not null.
    pub fn new(keys: &Keys) -> Self {
        if let [KeyColumn::Integer(values)] = keys.columns() {
            return Self(Arc::new(Set::Integers(values.iter().flatten().collect())));
        }
        let mut set = BTreeSet::new();
        for row in 0..keys.len() {
            let mut bytes = Vec::new();
            if keys.encode(row, &mut bytes) {
                set.insert(bytes.into());
            }
        }
        Self(Arc::new(Set::Bytes(set)))
    }

    /// Per row whether its key is one of these.
    pub fn mask(&self, keys: &Keys) -> BooleanArray {
        match (&*self.0, keys.columns()) {
            (Set::Integers(set), [KeyColumn::Integer(values)]) => {
                values.iter().map(|value| Some(value.is_some_and(|value| set.contains(&value)))).collect()
            }
            (Set::Bytes(set), _) => {
                let mut bytes = Vec::new();
                let mut contains = |row| {
                    bytes.clear();
                    keys.encode(row, &mut bytes) && set.contains(bytes.as_slice())
                };
                (0..keys.len()).map(|row| Some(contains(row))).collect()
            }
            _ => (0..keys.len()).map(|_| Some(false)).collect(),
        }
    }

    /// Whether one of these lies in `range`, as far as that can be told: keys of one integer column.
    pub fn meets(&self, range: RangeInclusive<i64>) -> bool {
        match &*self.0 {
            Set::Integers(set) => range.start() <= range.end() && set.range(range).next().is_some(),
            Set::Bytes(_) => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, StringArray};

    use super::*;
    use crate::{Entity, KeyType};

    #[test]
    fn a_filter_holds_exactly_the_keys_it_was_made_of() {
        let user = Entity::builder("user").key("user_id", KeyType::Int64).build().unwrap();
        let ids = |ids: Vec<Option<i64>>| Keys::new(&user, &[Arc::new(Int64Array::from(ids)) as ArrayRef]).unwrap();
        let filter = KeyFilter::new(&ids(vec![Some(3), None, Some(i64::MIN)]));
        let mask = filter.mask(&ids(vec![Some(i64::MIN), None, Some(4), Some(3)]));
        assert_eq!(mask, BooleanArray::from(vec![true, false, false, true]));
        assert!(filter.meets(i64::MIN..=-9) && filter.meets(3..=3) && !filter.meets(4..=i64::MAX));
        let pair = Entity::builder("pair").key("a", KeyType::Utf8).key("b", KeyType::Int64).build().unwrap();
        let pairs = |a: Vec<Option<&str>>, b: Vec<i64>| {
            let arrays: [ArrayRef; 2] = [Arc::new(StringArray::from(a)), Arc::new(Int64Array::from(b))];
            Keys::new(&pair, &arrays).unwrap()
        };
        let filter = KeyFilter::new(&pairs(vec![Some("x"), None], vec![1, 2]));
        let mask = filter.mask(&pairs(vec![Some("x"), Some("x"), None], vec![1, 2, 2]));
        assert_eq!(mask, BooleanArray::from(vec![true, false, false]));
        assert!(filter.meets(0..=0), "nothing is known of ranges of other keys");
    }
}
