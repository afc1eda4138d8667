//! Words of a text one by one, folded, for what has to look a few words ahead or back.

use super::fold::{Folded, fold};

/// Letters of the longest word that a list can hold; longer words are in no list.
pub(super) const LETTERS_MAX: usize = 12;
/// Bytes that one word may take; longer runs are no words.
const BYTES_MAX: usize = 48;

/// A run of letters and digits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) start: usize,
    pub(super) end: usize,
    folded: [u8; LETTERS_MAX],
    length: u8,
    /// Its first character is an upper-case letter.
    pub(super) capital: bool,
    /// Its first character is a decimal digit.
    pub(super) number: bool,
}

impl Word {
    /// Letters without case and diacritics, and digits; empty when there are too many.
    pub(super) fn folded(&self) -> &[u8] {
        &self.folded[..usize::from(self.length)]
    }

    pub(super) fn is(&self, folded: &[u8]) -> bool {
        self.folded() == folded
    }
}

/// The word whose first character stands at byte `start`.
pub(super) fn at(text: &str, start: usize) -> Option<Word> {
    let rest = text.get(start..)?;
    let first = rest.chars().next()?;
    let mut word = Word {
        start,
        end: start,
        folded: [0; LETTERS_MAX],
        length: 0,
        capital: first.is_uppercase(),
        number: first.is_ascii_digit(),
    };
    let mut count = 0;
    for c in rest.chars() {
        let letter = match fold(c) {
            Folded::Letter(letter) => Some(letter),
            Folded::Gap if c.is_ascii_digit() => Some(c as u8),
            Folded::Mark if word.end > start => None,
            _ => break,
        };
        if let Some(letter) = letter {
            if let Some(slot) = word.folded.get_mut(count) {
                *slot = letter;
            }
            count += 1;
        }
        word.end += c.len_utf8();
        if word.end - start > BYTES_MAX {
            return None;
        }
    }
    word.length = if count <= LETTERS_MAX { count as u8 } else { 0 };
    (count > 0).then_some(word)
}

/// The word after byte `end`, with nothing or one blank between.
pub(super) fn next(text: &str, end: usize) -> Option<Word> {
    let rest = text.get(end..)?;
    let blank = [" ", "\u{a0}"].into_iter().find(|blank| rest.starts_with(blank)).map_or(0, str::len);
    at(text, end + blank)
}

/// The word that ends at byte `end`, with at most one blank, dot or colon with a blank between.
pub(super) fn before(text: &str, end: usize) -> Option<Word> {
    let head = text.get(..end)?;
    let cut = head.strip_suffix([' ', '\u{a0}']).unwrap_or(head);
    let cut = cut.strip_suffix(['.', ':']).unwrap_or(cut);
    let is_part = |c: &char| !matches!(fold(*c), Folded::Gap) || c.is_ascii_digit();
    let mut start = cut.len();
    for c in cut.chars().rev().take_while(is_part) {
        start -= c.len_utf8();
        if cut.len() - start > BYTES_MAX {
            return None;
        }
    }
    at(text, start).filter(|word| word.end == cut.len())
}

/// Up to `N` folded words before byte `start`, the nearest first.
pub(super) fn behind<const N: usize>(text: &str, start: usize) -> [Option<Word>; N] {
    let mut at = start;
    std::array::from_fn(|_| {
        let word = before(text, at)?;
        at = word.start;
        Some(word)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_forward_and_back_in_any_composition() {
        let text = "số nha\u{300} 12A, Ph\u{1b0}\u{1edd}ng";
        let first = at(text, 0).unwrap();
        assert_eq!((first.folded(), first.capital), (&b"so"[..], false));
        let second = next(text, first.end).unwrap();
        assert!(second.is(b"nha"));
        assert!(next(text, second.end).is_some_and(|w| w.is(b"12a") && w.number));
        assert!(before(text, second.start).is_some_and(|w| w.is(b"so")));
        let [near, far, none] = behind::<3>(text, second.end + 1);
        assert!(near.is_some_and(|w| w.is(b"nha")) && far.is_some_and(|w| w.is(b"so")) && none.is_none());
        assert!(at(text, text.find("Ph").unwrap()).is_some_and(|w| w.capital && w.is(b"phuong")));
        assert!(at(&"x".repeat(100), 0).is_none() && at("", 0).is_none() && at("-", 0).is_none());
        assert!(at("abcdefghijklmnop", 0).is_some_and(|w| w.folded().is_empty()));
    }
}
