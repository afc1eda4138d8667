//! The most frequent texts of a stream, from a frequent-items sketch.

mod held;

use std::borrow::Cow;

use arrow::array::Array;
use datasketches::frequencies::{ErrorType, FrequentItemsSketch};
use serde::{Deserialize, Serialize};

use self::held::Held;
use super::bytes::{Writer, serde_by_bytes};
use super::{hash, values};
use crate::{Error, Result};

/// The heavy hitters of a stream of texts, in bounded memory, with bounds on every count.
///
/// Exact while at most three quarters of `capacity` different texts were seen. Beyond, each count is off by at
/// most [`FrequentItems::error_max`], which is at most `3.5 / capacity` of all rows: a text that is more frequent
/// than that is never lost, and of the others some are. Order and merging change which of the rare ones stay, never the bounds.
///
/// Texts longer than 128 bytes are held as their beginning and a hash of the whole.
///
/// # Source
/// Anderson et al., *A high-performance algorithm for identifying frequent items in data streams*, IMC 2017
/// (Apache DataSketches).
///
/// # Examples
/// ```
/// let mut items = mlops_core::stats::FrequentItems::new(64)?;
/// ["vn", "vn", "la"].iter().for_each(|text| items.update(text));
/// let top = items.top(1);
/// assert_eq!((top[0].value.as_str(), top[0].count.value), ("vn", 2));
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct FrequentItems {
    capacity: usize,
    held: Held,
    total: u64,
    /// What was taken from every count so far.
    taken: u64,
}

serde_by_bytes!(FrequentItems);

/// A value and how often it was seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrequentItem {
    /// The text, or the beginning of a long one.
    pub value: String,
    /// How often it was seen; the bounds are certain, not probable.
    pub count: super::Estimate,
}

/// Bytes of a text that are held before a hash stands for the rest.
const TEXT_MAX: usize = 128;
/// Rows that one sketch may stand for: far below an overflow of its sums.
const ROWS_MAX: u64 = 1 << 56;
const CAPACITY_MAX: usize = 1 << 16;
/// Bytes of a text that a stored sketch may hold.
const HELD_BYTES_MAX: usize = 1 << 12;

/// Header of the format: layout, kind of sketch, the flags of an empty one, the least size of a table.
const LAYOUT: u8 = 1;
const FAMILY: u8 = 10;
const EMPTY_FLAGS: u8 = 5;
const SIZE_LOG_MIN: u8 = 3;

impl FrequentItems {
    /// An empty sketch that holds up to three quarters of `capacity` texts.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `capacity` is not a power of two in `8..=65536`.
    pub fn new(capacity: usize) -> Result<Self> {
        if !capacity.is_power_of_two() || !(8..=CAPACITY_MAX).contains(&capacity) {
            return Err(Error::invalid("capacity", capacity, "a power of two in 8..=65536"));
        }
        Ok(Self { capacity, held: Held::default(), total: 0, taken: 0 })
    }

    /// Adds one text.
    pub fn update(&mut self, text: &str) {
        self.update_count(text, 1);
    }

    /// Adds `text` seen `count` times.
    pub fn update_count(&mut self, text: &str, count: u64) {
        self.update_hashed(hash::of_text(text), text, count);
    }

    /// Adds `text`, whose [`hash::of_text`] is given, seen `count` times; says whether it is among those held, and so surely not
    /// seen for the first time.
    pub(crate) fn update_hashed(&mut self, hash: u64, text: &str, count: u64) -> bool {
        debug_assert!(self.total < ROWS_MAX);
        if count == 0 {
            return false;
        }
        self.total += count;
        let was_held = match held_form(text) {
            Cow::Borrowed(text) => self.held.add(hash, text, count),
            Cow::Owned(short) => self.held.add(hash::of_text(&short), &short, count),
        };
        self.trim();
        was_held
    }

    /// Lets go of rare texts where there are too many.
    fn trim(&mut self) {
        if self.held.len() > self.capacity / 4 * 3 {
            self.taken += self.held.purge();
        }
    }

    /// Adds the present texts of a string array or a dictionary of strings.
    ///
    /// # Errors
    /// [`Error::Invalid`] for other types; nothing is added then.
    pub fn update_array(&mut self, array: &dyn Array) -> Result<()> {
        values::texts(array, &mut |text, count| self.update_count(text, count))
    }

    /// Adds what `other` has seen; the errors add up.
    ///
    /// # Errors
    /// [`Error::Invalid`] when both together have seen more than 2^56 rows.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        let total = self.total().saturating_add(other.total());
        if total > ROWS_MAX {
            return Err(Error::invalid("rows in a merged sketch", total, "at most 2^56"));
        }
        for (text, count) in other.held.iter() {
            self.held.add(hash::of_text(text), text, count);
            self.trim();
        }
        self.taken += other.taken;
        self.total = total;
        Ok(())
    }

    /// Texts seen, repetitions counted.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Upper bound on the error of every count; 0 while exact.
    pub fn error_max(&self) -> u64 {
        self.taken
    }

    /// Whether every text is held with its exact count.
    pub fn is_exact(&self) -> bool {
        self.error_max() == 0
    }

    /// Texts held now.
    pub fn held(&self) -> usize {
        self.held.len()
    }

    /// How often `text` was seen.
    pub fn count(&self, text: &str) -> super::Estimate {
        // A text that is not held was seen at most `high` times, most likely never.
        self.estimate(self.held.count(&held_form(text)))
    }

    /// The `most` most frequent texts: by lower bound, then in order of text.
    pub fn top(&self, most: usize) -> Vec<FrequentItem> {
        let item = |(text, count): (&str, u64)| FrequentItem { value: text.to_owned(), count: self.estimate(count) };
        let mut items: Vec<FrequentItem> = self.held.iter().map(item).collect();
        items.sort_unstable_by(|a, b| b.count.low.cmp(&a.count.low).then_with(|| a.value.cmp(&b.value)));
        items.truncate(most);
        items
    }

    fn estimate(&self, count: u64) -> super::Estimate {
        super::Estimate { value: count, low: count, high: count + self.taken }
    }

    /// The sketch in the format of Apache DataSketches (frequent items of UTF-8 strings), texts in order.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Writer::default();
        let mut size = 1 << SIZE_LOG_MIN;
        while self.held.len() > size / 4 * 3 {
            size *= 2;
        }
        let is_empty = self.total == 0;
        let (words, flags) = if is_empty { (1, EMPTY_FLAGS) } else { (4, 0) };
        out.raw(&[words, LAYOUT, FAMILY, self.capacity.ilog2() as u8, size.ilog2() as u8, flags, 0, 0]);
        if is_empty {
            return out.finish();
        }
        out.u32(self.held.len() as u32);
        out.u32(0);
        out.u64(self.total);
        out.u64(self.taken);
        let mut pairs: Vec<(&str, u64)> = self.held.iter().collect();
        pairs.sort_unstable();
        pairs.iter().for_each(|(_, count)| out.u64(*count));
        for (text, _) in pairs {
            out.u32(text.len() as u32);
            out.raw(text.as_bytes());
        }
        out.finish()
    }

    /// Reads [`FrequentItems::to_bytes`].
    ///
    /// # Errors
    /// [`Error::Corrupt`] when the bytes are not such a sketch.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let corrupt = |reason: &dyn std::fmt::Display| Error::corrupt("frequent-items sketch", reason);
        // The sizes of the table stand in the header and are allocated before the content is read.
        if bytes.iter().skip(3).take(2).any(|&log| usize::from(log) > CAPACITY_MAX.ilog2() as usize) {
            return Err(corrupt(&"the table is too large"));
        }
        let sketch = FrequentItemsSketch::<String>::deserialize(bytes).map_err(|error| corrupt(&error))?;
        let (total, taken) = (sketch.total_weight(), sketch.maximum_error());
        let items = sketch.frequent_items_with_threshold(ErrorType::NoFalseNegatives, 0);
        if total > ROWS_MAX || taken > total || items.iter().any(|row| row.item().len() > HELD_BYTES_MAX) {
            return Err(corrupt(&"counts or lengths out of range"));
        }
        let mut held = Held::default();
        for row in items {
            held.add(hash::of_text(row.item()), row.item(), row.lower_bound());
        }
        let capacity = bytes.get(3).map_or(CAPACITY_MAX, |log| 1_usize << log);
        Ok(Self { capacity, held, total, taken })
    }
}

/// The text itself, or the beginning of a long one and a hash of the whole.
fn held_form(text: &str) -> Cow<'_, str> {
    if text.len() <= TEXT_MAX {
        return Cow::Borrowed(text);
    }
    let hash = blake3::hash(text.as_bytes());
    Cow::Owned(format!("{}… #{}", cut(text, TEXT_MAX - 24), &hash.to_hex()[..16]))
}

/// The longest beginning of `text` with at most `bytes` bytes.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> FrequentItems {
        let mut items = FrequentItems::new(64).unwrap();
        texts.iter().for_each(|text| items.update(text));
        items
    }

    #[test]
    fn few_texts_are_counted_exactly_and_sorted() {
        let items = of(&["b", "a", "b", "c", "a", "b"]);
        let top: Vec<_> = items.top(2).into_iter().map(|item| (item.value, item.count)).collect();
        let exact = super::super::Estimate::exact;
        assert_eq!(top, [("b".to_owned(), exact(3)), ("a".to_owned(), exact(2))]);
        assert!(items.is_exact());
        assert_eq!(items.count("zzz"), exact(0));
    }

    #[test]
    fn a_heavy_text_survives_many_rare_ones_within_the_bound() {
        let mut items = FrequentItems::new(64).unwrap();
        for i in 0..20_000 {
            items.update(&format!("rare {i}"));
            if i % 4 == 0 {
                items.update("heavy");
            }
        }
        let bound = 3.5 / 64.0 * items.total() as f64;
        assert!(items.error_max() as f64 <= bound);
        let top = &items.top(1)[0];
        assert_eq!(top.value, "heavy");
        assert!(top.count.low <= 5000 && 5000 <= top.count.high, "{top:?}");
        assert!(items.held() <= 48);
    }

    #[test]
    fn merging_equals_one_pass_while_exact() {
        let mut left = of(&["a", "b", "a"]);
        left.merge(&of(&["c", "a"])).unwrap();
        assert_eq!(left.top(9), of(&["a", "a", "a", "b", "c"]).top(9));
    }

    #[test]
    fn long_texts_with_one_beginning_stay_apart() {
        let (a, b) = ("x".repeat(10_000), "x".repeat(10_001));
        let items = of(&[&a, &b, &b]);
        let top = items.top(9);
        assert_eq!(top.len(), 2);
        assert!(top.iter().all(|item| item.value.len() <= TEXT_MAX));
        assert_eq!(items.count(&b).value, 2);
    }

    #[test]
    fn bytes_and_json_come_back() {
        let items = of(&["a", "b", "a", "é"]);
        let back = FrequentItems::from_bytes(&items.to_bytes()).unwrap();
        assert_eq!((back.top(9), back.to_bytes()), (items.top(9), items.to_bytes()));
        assert_eq!(of(&["é", "a", "a", "b"]).to_bytes(), items.to_bytes());
        assert_eq!(FrequentItems::from_bytes(&of(&[]).to_bytes()).unwrap().total(), 0);
        let back: FrequentItems = serde_json::from_str(&serde_json::to_string(&items).unwrap()).unwrap();
        assert_eq!(back.top(9), items.top(9));
    }

    #[test]
    fn bytes_are_those_of_the_sketches_of_apache() {
        let mut sketch = FrequentItemsSketch::<String>::new(64).unwrap();
        assert_eq!(FrequentItems::from_bytes(&sketch.serialize()).unwrap().to_bytes(), sketch.serialize());
        let mut items = of(&[]);
        for i in 0..5_000_u64 {
            let text = format!("text {}", i * i % 97);
            sketch.update_with_count(text.clone(), i);
            items.update_count(&text, i);
        }
        assert!(items.error_max() > 0);
        let ours = FrequentItemsSketch::<String>::deserialize(&items.to_bytes()).unwrap();
        assert_eq!((ours.total_weight(), ours.maximum_error()), (items.total(), items.error_max()));
        assert_eq!(ours.num_active_items(), items.held());
        let theirs = FrequentItems::from_bytes(&sketch.serialize()).unwrap();
        assert_eq!((theirs.total(), theirs.error_max()), (sketch.total_weight(), sketch.maximum_error()));
        for row in sketch.frequent_items_with_threshold(ErrorType::NoFalseNegatives, 0) {
            assert_eq!(theirs.count(row.item()).low, row.lower_bound());
        }
        assert_eq!(FrequentItems::from_bytes(&theirs.to_bytes()).unwrap().top(99), theirs.top(99));
    }

    #[test]
    fn every_count_is_within_its_bounds_whatever_the_order_and_the_cut() {
        let stream: Vec<String> =
            (0..30_000_u64).map(|i| (hash::mix(i) % (1 + hash::mix(i + 7) % 400)).to_string()).collect();
        let mut exact = std::collections::HashMap::new();
        stream.iter().for_each(|text| *exact.entry(text.as_str()).or_insert(0_u64) += 1);
        for parts in [1, 3, 16] {
            let mut items = of(&[]);
            for part in stream.chunks(stream.len().div_ceil(parts)) {
                let mut one = of(&[]);
                part.iter().for_each(|text| one.update(text));
                items.merge(&one).unwrap();
            }
            assert_eq!(items.total(), 30_000);
            assert!(items.error_max() as f64 <= 3.5 / 64.0 * 30_000.0);
            for (text, count) in &exact {
                let found = items.count(text);
                assert!(found.low <= *count && *count <= found.high, "{text}: {count} is not in {found:?}");
            }
        }
    }

    #[test]
    fn hostile_bytes_are_refused_before_they_cost_memory() {
        let mut bytes = of(&["a"]).to_bytes();
        (bytes[3], bytes[4]) = (30, 30);
        assert!(matches!(FrequentItems::from_bytes(&bytes), Err(Error::Corrupt { .. })));
        let good = of(&["a", "b"]).to_bytes();
        for len in 0..good.len() {
            assert!(FrequentItems::from_bytes(&good[..len]).is_err(), "{len}");
        }
    }
}
