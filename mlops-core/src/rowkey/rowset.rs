//! Sets of rows.

use std::collections::BTreeMap;

use arrow::array::BooleanBufferBuilder;
use arrow::buffer::BooleanBuffer;

const PAGE_WORDS: usize = 32;
const PAGE_ROWS: u64 = 64 * PAGE_WORDS as u64;

/// Rows by number, a bit each, in pages of 2048 rows which are there where a row is.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowSet {
    pages: BTreeMap<u64, Box<[u64; PAGE_WORDS]>>,
    len: u64,
}

impl RowSet {
    pub(crate) fn insert(&mut self, row: u64) {
        let page = self.pages.entry(row / PAGE_ROWS).or_insert_with(|| Box::new([0; PAGE_WORDS]));
        let (word, bit) = ((row % PAGE_ROWS / 64) as usize, 1 << (row % 64));
        self.len += u64::from(page[word] & bit == 0);
        page[word] |= bit;
    }

    pub(crate) fn extend(&mut self, other: &Self) {
        for (page, words) in &other.pages {
            let mine = self.pages.entry(*page).or_insert_with(|| Box::new([0; PAGE_WORDS]));
            for (mine, theirs) in mine.iter_mut().zip(words.iter()) {
                self.len += u64::from((theirs & !*mine).count_ones());
                *mine |= theirs;
            }
        }
    }

    /// Adds the rows from `first` on that `marks` holds.
    pub(crate) fn extend_marked(&mut self, first: u64, marks: &BooleanBuffer) {
        marks.set_indices().for_each(|row| self.insert(first + row as u64));
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// The rows in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = u64> {
        self.within(0, u64::MAX)
    }

    /// Which of `rows` rows from `first` on are in the set.
    pub(crate) fn marks(&self, first: u64, rows: usize) -> BooleanBuffer {
        let mut marks = BooleanBufferBuilder::new(rows);
        marks.append_n(rows, false);
        self.within(first, first + rows as u64).for_each(|row| marks.set_bit((row - first) as usize, true));
        marks.finish()
    }

    fn within(&self, first: u64, end: u64) -> impl Iterator<Item = u64> {
        let pages = self.pages.range(first / PAGE_ROWS..=end / PAGE_ROWS);
        let rows = pages.flat_map(|(page, words)| {
            let marked = |word: &u64, bit: &u64| word >> bit & 1 == 1;
            words.iter().enumerate().filter(|(_, word)| **word != 0).flat_map(move |(place, word)| {
                let start = page * PAGE_ROWS + place as u64 * 64;
                (0..64).filter(move |bit| marked(word, bit)).map(move |bit| start + bit)
            })
        });
        rows.filter(move |row| (first..end).contains(row))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn of(rows: &BTreeSet<u64>) -> RowSet {
        let mut set = RowSet::default();
        rows.iter().rev().for_each(|row| set.insert(*row));
        set
    }

    proptest! {
        #[test]
        fn rows_are_those_of_an_ordered_set(
            a in proptest::collection::btree_set(0_u64..10_000, 0..50),
            b in proptest::collection::btree_set(0_u64..10_000, 0..50),
            first in 0_u64..9_000, rows in 0_usize..3_000,
        ) {
            let mut set = of(&a);
            prop_assert!(set.iter().eq(a.iter().copied()));
            set.extend(&of(&b));
            let both: BTreeSet<u64> = a.union(&b).copied().collect();
            prop_assert!(set.iter().eq(both.iter().copied()) && set.len() == both.len() as u64);
            let marks = set.marks(first, rows);
            let end = first + rows as u64;
            prop_assert!(marks.len() == rows && marks.set_indices().eq(both.range(first..end).map(|row| (row - first) as usize)));
            let mut marked = of(&BTreeSet::new());
            marked.extend_marked(first, &marks);
            prop_assert_eq!(marked.len(), both.range(first..end).count() as u64);
        }
    }
}
