//! What texts are made of: words and classes of characters.

use serde::{Deserialize, Serialize};

use crate::stats::bytes::{Reader, Writer};
use crate::{Error, Result};

/// Counts over all texts of a column, exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CharacterStats {
    /// Texts without a character.
    pub empty: u64,
    /// Texts of blanks only, the empty ones included.
    pub blank: u64,
    /// Runs of characters between blanks (space, tab, line end); other Unicode spaces do not part words.
    pub words: u64,
    /// `A` to `Z` and `a` to `z`.
    pub letters: u64,
    /// `0` to `9`.
    pub digits: u64,
    /// Space, tab and line ends.
    pub blanks: u64,
    /// The other characters of ASCII, control characters included.
    pub punctuation: u64,
    /// Characters beyond ASCII, letters with marks among them.
    pub beyond_ascii: u64,
}

/// Bits of a running count that one class has; a text is counted in pieces that cannot overflow them.
const BITS: u32 = 12;
const PIECE: usize = (1 << BITS) - 1;
const LETTER: u64 = 1;
const DIGIT: u64 = 1 << BITS;
const BLANK: u64 = 1 << (2 * BITS);
const PUNCTUATION: u64 = 1 << (3 * BITS);
const BEYOND: u64 = 1 << (4 * BITS);

/// What each byte adds: a character counts at its first byte, so that those which continue one add nothing.
const CLASS: [u64; 256] = {
    let mut table = [PUNCTUATION; 256];
    let mut byte = 0;
    while byte < 256 {
        let value = byte as u8;
        if value.is_ascii_alphabetic() {
            table[byte] = LETTER;
        } else if value.is_ascii_digit() {
            table[byte] = DIGIT;
        } else if value.is_ascii_whitespace() {
            table[byte] = BLANK;
        } else if value >= 0xC0 {
            table[byte] = BEYOND;
        } else if value >= 0x80 {
            table[byte] = 0;
        }
        byte += 1;
    }
    table
};

impl CharacterStats {
    /// Adds `text` seen `count` times; the answer is its length in characters.
    pub(crate) fn update(&mut self, text: &str, count: u64) -> u64 {
        let (mut classes, mut words, mut was_blank) = ([0_u64; 5], 0_u64, true);
        for piece in text.as_bytes().chunks(PIECE) {
            let mut sum = 0;
            for &byte in piece {
                let class = CLASS[usize::from(byte)];
                let is_blank = class == BLANK;
                words += u64::from(was_blank && !is_blank);
                was_blank = is_blank;
                sum += class;
            }
            for (place, class) in classes.iter_mut().enumerate() {
                *class += sum >> (BITS * place as u32) & PIECE as u64;
            }
        }
        let [letters, digits, blanks, punctuation, beyond] = classes;
        self.empty += u64::from(text.is_empty()) * count;
        self.blank += u64::from(words == 0) * count;
        let add = |sum: &mut u64, part: u64| *sum = sum.saturating_add(part.saturating_mul(count));
        add(&mut self.words, words);
        add(&mut self.letters, letters);
        add(&mut self.digits, digits);
        add(&mut self.blanks, blanks);
        add(&mut self.punctuation, punctuation);
        add(&mut self.beyond_ascii, beyond);
        letters + digits + blanks + punctuation + beyond
    }

    fn fields(&mut self) -> [&mut u64; 8] {
        let Self { empty, blank, words, letters, digits, blanks, punctuation, beyond_ascii } = self;
        [empty, blank, words, letters, digits, blanks, punctuation, beyond_ascii]
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        let mut other = *other;
        for (mine, theirs) in self.fields().into_iter().zip(other.fields()) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        let mut copy = *self;
        copy.fields().into_iter().for_each(|field| out.u64(*field));
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self> {
        let mut stats = Self::default();
        for field in stats.fields() {
            *field = from.u64()?;
        }
        Ok(stats)
    }

    /// What every state has that came from `count` texts.
    pub(crate) fn check(&self, count: u64) -> Result<()> {
        let sane = self.empty <= self.blank && self.blank <= count;
        if sane { Ok(()) } else { Err(Error::corrupt("characters of texts", "counts contradict each other")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(texts: &[&str]) -> CharacterStats {
        let mut stats = CharacterStats::default();
        texts.iter().for_each(|text| {
            assert_eq!(stats.update(text, 1), text.chars().count() as u64, "{text:?}");
        });
        stats
    }

    #[test]
    fn characters_and_words_are_counted_by_class() {
        let stats = of(&["", " \t\n", "Hà Nội 2024, ok", "🙂🙂"]);
        let expected = CharacterStats {
            empty: 1,
            blank: 2,
            words: 5,
            letters: 5,
            digits: 4,
            blanks: 6,
            punctuation: 1,
            beyond_ascii: 4,
        };
        assert_eq!(stats, expected);
    }

    #[test]
    fn long_texts_do_not_spill_from_class_to_class() {
        let long = "a".repeat(10_000) + &"é ".repeat(6_000);
        let stats = of(&[&long]);
        assert_eq!((stats.letters, stats.beyond_ascii, stats.blanks, stats.words), (10_000, 6_000, 6_000, 6_000));
    }

    #[test]
    fn parts_add_up() {
        let mut left = of(&["a b", ""]);
        left.merge(&of(&["x9!"]));
        assert_eq!(left, of(&["x9!", "", "a b"]));
    }
}
