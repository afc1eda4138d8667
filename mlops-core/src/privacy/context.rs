//! Words around a value that say what it is: `CCCD`, `số điện thoại`, `order id`.
//!
//! One automaton over folded letters, fed character by character in the same pass that finds the values. Positions are
//! counted in *steps* — folded letters, with every gap (spaces, digits, punctuation) as one — so that distance does not
//! depend on the form of the diacritics or the length of numbers.

use aho_corasick::automaton::Automaton;
use aho_corasick::{Anchored, MatchKind, dfa::DFA};

use std::collections::BTreeMap;

use super::Kind;
use super::address::Places;
use super::fold::{Folded, OTHER_LETTER, fold};
use super::name::{Names, RARE_SURNAMES, SURNAMES};
use super::vocabulary::{Bearing, Label, WORDS};
use super::words;
use crate::{Error, Result};

/// Steps before a value in which a word speaks for it.
const BEFORE_STEPS: usize = 40;
/// Steps before a value in which a word speaks against it.
const AGAINST_STEPS: usize = 14;
/// Steps after a value in which a word speaks for it: `001… (CCCD)`.
pub(super) const AFTER_STEPS: usize = 14;
/// Steps that a line break counts for.
const LINE_STEPS: usize = 8;

/// How surely a word names a kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(super) enum Strength {
    #[default]
    None,
    /// Could mean it, such as `id`.
    Weak,
    /// Means it.
    Strong,
}

/// Strength per kind, by [`Kind::index`].
pub(super) type Strengths = [Strength; Kind::ALL.len()];

/// Symbols that a state has a next one for: the gap, 26 letters, and [`OTHER_LETTER`], each by its last five bits.
const SYMBOLS: usize = 32;
/// The state in which no word can end before the next gap.
const ROOT: u16 = 0;
/// Marks states in which no word ends.
const NO_WORD: u16 = u16::MAX;

/// The word list as an automaton, with the lists that candidates are read with.
pub(super) struct Lexicon {
    /// Next state by state and symbol. Small, so that it stays in the cache.
    table: Vec<u16>,
    /// The longest word that ends in a state.
    ends: Vec<u16>,
    /// What each word says, of how many words it is, and of how many letters with a gap on both sides.
    labels: Vec<(Label, usize, usize)>,
    pub(super) names: Names,
    pub(super) places: Places,
}

impl Lexicon {
    pub(super) fn new() -> Result<Self> {
        let mut all: BTreeMap<String, Label> = BTreeMap::new();
        let mut add = |word: &str, label: Label| {
            let known = all.entry(word.to_owned()).or_default();
            *known = known.and(label);
        };
        for (label, words) in WORDS {
            words.split(", ").for_each(|word| add(word, label));
        }
        for surname in SURNAMES.split_whitespace().chain(RARE_SURNAMES.split_whitespace()) {
            if let Some(folded) = words::at(surname, 0) {
                add(&String::from_utf8_lossy(folded.folded()), Label::SURNAME);
            }
        }
        let patterns: Vec<_> = all.keys().map(|word| format!(" {word} ")).collect();
        let labels = all.iter().map(|(word, label)| (*label, word.split(' ').count(), word.len() + 2)).collect();
        let (table, ends) = tabulate(&patterns)?;
        Ok(Self { table, ends, labels, names: Names::new(), places: Places::new(super::cccd::provinces()) })
    }

    fn next(&self, state: u16, symbol: u8) -> u16 {
        self.table[usize::from(state) * SYMBOLS + usize::from(symbol) % SYMBOLS]
    }

    /// What a column's name says: `so_dien_thoai`, `customerPhone`, `Số CMND`.
    pub(super) fn of_column(&self, name: &str) -> Strengths {
        let mut tracker = Tracker::new(self);
        let mut strengths = Strengths::default();
        let mut lower = false;
        for c in name.chars() {
            if c.is_uppercase() && lower {
                tracker.gap(self).into_iter().for_each(|hit| hit.raise(&mut strengths));
            }
            lower = c.is_lowercase();
            match fold(c) {
                Folded::Letter(letter) => tracker.letter(self, letter),
                Folded::Gap => tracker.gap(self).into_iter().for_each(|hit| hit.raise(&mut strengths)),
                Folded::Mark => {}
            }
        }
        tracker.gap(self).into_iter().for_each(|hit| hit.raise(&mut strengths));
        if tracker.against.is_some() {
            // `customer_id` is no identity number: only words that mean a kind outright still speak.
            strengths.iter_mut().filter(|s| **s == Strength::Weak).for_each(|s| *s = Strength::None);
        }
        strengths
    }
}

/// The automaton over `patterns` as a table of states by the last five bits of a symbol, and the longest pattern per state.
fn tabulate(patterns: &[String]) -> Result<(Vec<u16>, Vec<u16>)> {
    let outside = |e| Error::external("aho-corasick", e);
    let dfa = DFA::builder().match_kind(MatchKind::Standard).build(patterns).map_err(outside)?;
    let start = dfa.start_state(Anchored::No).map_err(|e| Error::external("aho-corasick", e))?;
    let symbols: Vec<u8> = (b'a'..=b'z').chain([b' ', OTHER_LETTER]).collect();
    let (mut numbers, mut order) = (BTreeMap::from([(start.as_usize(), ROOT)]), vec![start]);
    let (mut table, mut ends) = (Vec::new(), Vec::new());
    let mut at = 0;
    while let Some(&state) = order.get(at) {
        table.resize((at + 1) * SYMBOLS, ROOT);
        for symbol in &symbols {
            let next = dfa.next_state(Anchored::No, state, *symbol);
            let new = u16::try_from(order.len()).ok().filter(|new| *new < NO_WORD);
            let new = new.ok_or_else(|| Error::invalid("words", order.len(), "a list of fewer than 65535 states"))?;
            let number = *numbers.entry(next.as_usize()).or_insert_with(|| {
                order.push(next);
                new
            });
            table[at * SYMBOLS + usize::from(*symbol) % SYMBOLS] = number;
        }
        let matches = if dfa.is_match(state) { dfa.match_len(state) } else { 0 };
        let longest = (0..matches).map(|i| dfa.match_pattern(state, i)).max_by_key(|pattern| dfa.pattern_len(*pattern));
        ends.push(longest.map_or(NO_WORD, |pattern| pattern.as_usize() as u16));
        at += 1;
    }
    Ok((table, ends))
}

/// A word of the list that is not against, and where.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hit {
    pub(super) label: Label,
    /// How many words it is of.
    pub(super) words: usize,
    /// Step at which the word starts.
    pub(super) start: usize,
    /// Step after the word.
    pub(super) end: usize,
}

impl Hit {
    pub(super) fn strength(&self, kind: Kind) -> Strength {
        if self.label.strong & kind.bit() != 0 {
            Strength::Strong
        } else if self.label.weak & kind.bit() != 0 {
            Strength::Weak
        } else {
            Strength::None
        }
    }

    /// Whether it names any kind.
    pub(super) const fn speaks(&self) -> bool {
        self.label.strong | self.label.weak != 0
    }

    fn raise(&self, strengths: &mut Strengths) {
        for kind in Kind::ALL {
            let slot = &mut strengths[kind.index()];
            *slot = (*slot).max(self.strength(kind));
        }
    }
}

/// The state of one pass: which words were last seen.
#[derive(Debug)]
pub(super) struct Tracker {
    state: u16,
    step: usize,
    in_gap: bool,
    last: [Option<(usize, Strength)>; Kind::ALL.len()],
    against: Option<usize>,
    /// The last word after which a number is of its kinds or of none.
    alone: Option<(usize, u32)>,
}

impl Tracker {
    pub(super) fn new(lexicon: &Lexicon) -> Self {
        let state = lexicon.next(ROOT, b' ');
        Self { state, step: 0, in_gap: true, last: [None; Kind::ALL.len()], against: None, alone: None }
    }

    /// Whether the last character parted two words.
    pub(super) const fn in_gap(&self) -> bool {
        self.in_gap
    }

    /// Steps so far.
    pub(super) const fn step(&self) -> usize {
        self.step
    }

    /// Takes one folded letter. Words end at gaps, so none is found here.
    #[inline]
    pub(super) fn letter(&mut self, lexicon: &Lexicon, letter: u8) {
        self.state = lexicon.next(self.state, letter);
        self.step += 1;
        self.in_gap = false;
    }

    /// Takes the ASCII letters of `bytes` from `at` on, of either case; returns where they end.
    #[inline]
    pub(super) fn letters(&mut self, lexicon: &Lexicon, bytes: &[u8], at: usize) -> usize {
        let (mut state, mut end) = (self.state, at);
        while state != ROOT
            && let Some(letter) = bytes.get(end).filter(|b| b.is_ascii_alphabetic())
        {
            state = lexicon.next(state, *letter);
            end += 1;
        }
        // Every word of the list starts behind a gap: in the root state the rest of this one cannot matter.
        end += bytes[end..].iter().take_while(|b| b.is_ascii_alphabetic()).count();
        self.state = if end > at { state } else { self.state };
        self.step += end - at;
        self.in_gap = false;
        end
    }

    /// Takes a gap and returns the word of the list that ended at it.
    #[inline]
    pub(super) fn gap(&mut self, lexicon: &Lexicon) -> Option<Hit> {
        if self.in_gap {
            return None;
        }
        self.in_gap = true;
        self.step += 1;
        self.state = lexicon.next(self.state, b' ');
        match lexicon.ends[usize::from(self.state)] {
            NO_WORD => None,
            word => self.word(lexicon, word),
        }
    }

    fn word(&mut self, lexicon: &Lexicon, word: u16) -> Option<Hit> {
        let (label, words, length) = *lexicon.labels.get(usize::from(word))?;
        if label.bearing == Bearing::Against {
            self.against = Some(self.step);
            return None;
        }
        let start = (self.step + 1).saturating_sub(length);
        let hit = Hit { label, words, start, end: self.step };
        if hit.speaks() {
            for kind in Kind::ALL.into_iter().filter(|kind| (label.strong | label.weak) & kind.bit() != 0) {
                self.last[kind.index()] = Some((self.step, hit.strength(kind)));
            }
            if label.bearing == Bearing::Alone {
                self.alone = Some((self.step, label.strong));
            }
        }
        Some(hit)
    }

    /// Takes a line break: what follows is further away.
    pub(super) fn line(&mut self) {
        self.step += LINE_STEPS;
    }

    /// What the words before a value say for `kind`, and how many steps ago.
    pub(super) fn speaks_for(&self, kind: Kind) -> Option<(Strength, usize)> {
        let (at, strength) = self.last[kind.index()]?;
        let distance = self.step - at;
        (distance <= BEFORE_STEPS && self.against.is_none_or(|against| against < at)).then_some((strength, distance))
    }

    /// Whether a word such as `order`, or one that names other numbers only, stands closely before the next value.
    pub(super) fn speaks_against(&self, kind: Kind) -> bool {
        let near = |at: usize| self.step - at <= AGAINST_STEPS;
        self.against.is_some_and(near) || self.alone.is_some_and(|(at, kinds)| near(at) && kinds & kind.bit() == 0)
    }

    /// A number was read. A word against is used up by it, and so are the words before that one.
    ///
    /// A number counts as a step, so that only so many numbers can stand between a word and the one it speaks about.
    pub(super) fn number_read(&mut self) {
        self.step += 1;
        self.alone = None;
        if let Some(against) = self.against.take() {
            self.last.iter_mut().filter(|l| l.is_some_and(|(at, _)| at < against)).for_each(|l| *l = None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, kind: Kind, expected: Strength) {
        assert_eq!(Lexicon::new().unwrap().of_column(name)[kind.index()], expected, "{name}");
    }

    #[test]
    fn column_names_speak_in_both_languages_and_all_spellings() {
        for name in [
            "so_dien_thoai",
            "Số điện thoại",
            "So\u{302}\u{301} d\u{111}t",
            "customerPhone",
            "SDT",
            "PHONE_2",
            "dienthoai",
        ] {
            let expected = if name.contains("d\u{111}t") { Strength::None } else { Strength::Strong };
            check(name, Kind::Phone, expected);
        }
        check("cccd", Kind::Cccd, Strength::Strong);
        check("Số CMND", Kind::Cmnd, Strength::Strong);
        check("id", Kind::Cccd, Strength::Weak);
        check("customer_id", Kind::Cccd, Strength::None);
        check("email_address", Kind::Email, Strength::Strong);
        check("telemetry", Kind::Phone, Strength::None);
    }

    #[test]
    fn no_pattern_is_written_in_letters_that_cannot_occur() {
        for (_, words) in WORDS {
            for word in words.split(", ") {
                let plain = word.bytes().all(|b| b.is_ascii_lowercase() || b == b' ');
                assert!(plain && word.trim() == word && !word.contains("  ") && !word.is_empty(), "{word:?}");
            }
        }
    }
}
