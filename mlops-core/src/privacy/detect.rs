//! The one pass over a text that finds every kind.

use std::fmt;
use std::ops::Range;

use super::Kind;
use super::context::{AFTER_STEPS, Hit, Lexicon, Strength, Strengths, Tracker};
use super::fold::{Folded, fold_wide, is_letter};
use super::kind::digit;
use super::mail;
use super::number::{GROUPS_MAX, Gap, Group, Reading, Readings, Written, is_amount, is_part_of_code};
use super::phone::DIGITS_MAX;
use crate::{Error, Result};

/// Groups that are held before the oldest ones are settled.
const CHAIN_MAX: usize = 64;
/// Confidence above which several groups are taken as one number.
const GROUPED_FLOOR: f64 = 0.15;
/// Steps after a word within which a number makes it a word *before* a value.
const COLON_STEPS: usize = 4;

/// One piece of personal data in a text. Holds positions only, never the value.
#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    /// What it is.
    pub kind: Kind,
    /// Where it is, in bytes of the text; always on character borders.
    pub bytes: Range<usize>,
    /// Where it is, in characters (Unicode scalar values) of the text.
    pub chars: Range<usize>,
    /// How sure that is, in `0..=1`; at least the detector's threshold.
    pub confidence: f64,
}

/// Finds personal data in texts and columns.
///
/// One pass, linear in the text whatever the number of kinds, with memory for at most one finding per six bytes. Numbers
/// without check digits need a word that names them, before (`CCCD: 001…`) or after (`001… (CCCD)`), in Vietnamese with
/// or without diacritics, composed or not, or in English; or a column where most values agree
/// ([`scan_column`](Self::scan_column)). Nothing of the text is ever stored, logged or put into errors.
///
/// # Examples
/// ```
/// use mlops_core::privacy::{Detector, Kind};
///
/// let detector = Detector::builder().today(2026).build()?;
/// let text = "Khách: số CCCD 001099012345, gọi +84 912 345 678. Mã đơn 001099012345.";
/// let found = detector.detect(text);
/// assert_eq!(found.iter().map(|f| f.kind).collect::<Vec<_>>(), [Kind::Cccd, Kind::Phone]);
/// assert_eq!(&text[found[1].bytes.clone()], "+84 912 345 678");
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub struct Detector {
    pub(super) lexicon: Lexicon,
    kinds: u8,
    threshold: f64,
    pub(super) year: i32,
}

impl fmt::Debug for Detector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Detector")
            .field("kinds", &self.kinds().collect::<Vec<_>>())
            .field("threshold", &self.threshold)
            .field("year", &self.year)
            .finish_non_exhaustive()
    }
}

/// Settings of a [`Detector`].
#[derive(Clone, Debug)]
pub struct DetectorBuilder {
    kinds: Vec<Kind>,
    threshold: f64,
    year: Option<i32>,
}

impl DetectorBuilder {
    /// Kinds to look for. Default: all.
    pub fn kinds(mut self, kinds: impl IntoIterator<Item = Kind>) -> Self {
        self.kinds = kinds.into_iter().collect();
        self
    }

    /// Least confidence of a finding, in `0..=1`. Default 0.5: numbers that could be anything need a word or a column.
    pub fn threshold(mut self, threshold: f64) -> Self {
        self.threshold = threshold;
        self
    }

    /// The present year, against which birth years are judged. No default: now is an argument.
    pub fn today(mut self, year: i32) -> Self {
        self.year = Some(year);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is no kind, the threshold is outside `0..=1` or not a number, or the year is missing
    /// or outside `1950..=2399`.
    pub fn build(self) -> Result<Detector> {
        if self.kinds.is_empty() {
            return Err(Error::invalid("kinds", "[]", "at least one kind"));
        }
        if !(0.0..=1.0).contains(&self.threshold) {
            return Err(Error::invalid("threshold", self.threshold, "in 0..=1"));
        }
        let year = self.year.ok_or_else(|| Error::invalid("today", "nothing", "the present year"))?;
        if !(1950..=2399).contains(&year) {
            return Err(Error::invalid("today", year, "a year in 1950..=2399"));
        }
        let kinds = self.kinds.iter().fold(0, |bits, kind| bits | kind.bit());
        Ok(Detector { lexicon: Lexicon::new()?, kinds, threshold: self.threshold, year })
    }
}

impl Detector {
    /// Starts with the defaults.
    pub fn builder() -> DetectorBuilder {
        DetectorBuilder { kinds: Kind::ALL.to_vec(), threshold: 0.5, year: None }
    }

    /// Kinds that are looked for, in order.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> {
        Kind::ALL.into_iter().filter(|kind| self.looks_for(*kind))
    }

    /// Least confidence of a finding.
    pub const fn threshold(&self) -> f64 {
        self.threshold
    }

    pub(super) const fn looks_for(&self, kind: Kind) -> bool {
        self.kinds & kind.bit() != 0
    }

    /// All findings in `text`, in order, not overlapping.
    pub fn detect(&self, text: &str) -> Vec<Finding> {
        let mut scratch = Scratch::default();
        let mut findings = Vec::new();
        let (mut byte, mut char) = (0, 0);
        for span in self.spans(text, Strengths::default(), &mut scratch) {
            let start = char + text[byte..span.bytes.start].chars().count();
            let end = start + text[span.bytes.clone()].chars().count();
            (byte, char) = (span.bytes.end, end);
            findings.push(Finding {
                kind: span.kind,
                bytes: span.bytes,
                chars: start..end,
                confidence: span.confidence,
            });
        }
        findings
    }

    /// Findings in `text`, where `prior` speaks for the whole of it.
    pub(super) fn spans<'s>(
        &self,
        text: &str,
        prior: Strengths,
        scratch: &'s mut Scratch,
    ) -> impl Iterator<Item = Span> + use<'s> {
        self.candidates(text, scratch);
        let threshold = self.threshold;
        let span = move |c: &Candidate| c.verdict(prior).filter(|(_, confidence)| *confidence >= threshold);
        scratch
            .candidates
            .iter()
            .filter_map(move |c| span(c).map(|(kind, confidence)| Span { kind, bytes: c.start..c.end, confidence }))
    }

    /// Everything in `text` that has the form of some kind, whatever its confidence.
    pub(super) fn candidates<'s>(&self, text: &str, scratch: &'s mut Scratch) -> &'s [Candidate] {
        scratch.candidates.clear();
        scratch.chain.clear();
        let could_be = |b: &u8| b.is_ascii_digit() || *b == b'@' || *b == 0xef;
        if text.as_bytes().iter().any(could_be)
            && let Ok(tracker) = Tracker::new(&self.lexicon)
        {
            Scanner { text, detector: self, tracker, scratch, settled_end: None }.run();
        }
        debug_assert!(scratch.candidates.windows(2).all(|pair| pair[0].end <= pair[1].start));
        &scratch.candidates
    }
}

/// A finding without its character positions.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) kind: Kind,
    pub(super) bytes: Range<usize>,
    pub(super) confidence: f64,
}

/// Memory that passes over many texts share.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    chain: Vec<Group>,
    candidates: Vec<Candidate>,
}

/// Something that has the form of a kind.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) readings: Readings,
    /// What words before say, per reading.
    before: [Strength; 2],
    /// What a word after says, per reading, and at which step that word starts.
    after: [(Strength, usize); 2],
    against: bool,
    /// Part of something longer, such as a code: needs a strong word.
    damped: bool,
    /// Steps before the text after it.
    step: usize,
}

impl Candidate {
    fn confidence(&self, slot: usize, reading: &Reading, prior: Strengths) -> f64 {
        let near = self.before[slot].max(self.after[slot].0);
        if self.against && near == Strength::None {
            return reading.against;
        }
        let strength = near.max(prior[reading.kind.index()]);
        let confidence = reading.confidence(strength);
        match (self.damped, strength) {
            (true, Strength::Strong) => confidence.min(0.6),
            (true, _) => confidence.min(0.4),
            (false, _) => confidence,
        }
    }

    /// The likeliest kind and its confidence.
    pub(super) fn verdict(&self, prior: Strengths) -> Option<(Kind, f64)> {
        let readings = self.readings.iter().enumerate().filter_map(|(slot, r)| r.as_ref().map(|r| (slot, r)));
        let weighed = readings.map(|(slot, r)| (r.kind, self.confidence(slot, r, prior)));
        weighed.reduce(|best, next| if next.1 > best.1 { next } else { best })
    }
}

struct Scanner<'t, 's> {
    text: &'t str,
    detector: &'t Detector,
    tracker: Tracker,
    scratch: &'s mut Scratch,
    /// End of the last number that was read as something.
    settled_end: Option<usize>,
}

impl Scanner<'_, '_> {
    fn run(mut self) {
        let bytes = self.text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at = match byte {
                b'a'..=b'z' | b'A'..=b'Z' => self.letters(at),
                b'0'..=b'9' => self.digits(at),
                b'@' => self.address(at),
                b'\n' => {
                    self.gap();
                    self.tracker.line();
                    at + 1
                }
                0..=0x7f => {
                    self.gap();
                    at + 1
                }
                _ => self.wide(at),
            };
        }
        self.settle(0);
        self.gap();
    }

    fn gap(&mut self) {
        if let Some(hit) = self.tracker.gap(&self.detector.lexicon) {
            self.word_after(&hit);
        }
    }

    fn letters(&mut self, mut at: usize) -> usize {
        self.settle(0);
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(at).filter(|b| b.is_ascii_alphabetic()) {
            self.tracker.letter(&self.detector.lexicon, byte.to_ascii_lowercase());
            at += 1;
        }
        at
    }

    fn wide(&mut self, at: usize) -> usize {
        let Some(c) = self.text[at..].chars().next() else { return self.text.len() };
        if digit(c).is_some() {
            return self.digits(at);
        }
        match fold_wide(c) {
            Folded::Letter(letter) => {
                self.settle(0);
                self.tracker.letter(&self.detector.lexicon, letter);
            }
            Folded::Gap => self.gap(),
            Folded::Mark => {}
        }
        at + c.len_utf8()
    }

    fn digits(&mut self, start: usize) -> usize {
        self.gap();
        let bytes = self.text.as_bytes();
        let (mut end, mut count) = (start, 0_u8);
        loop {
            match bytes.get(end) {
                Some(b'0'..=b'9') => end += 1,
                Some(0xef) if self.text[end..].starts_with(|c| digit(c).is_some()) => end += 3,
                _ => break,
            }
            count = count.saturating_add(1);
        }
        let before = self.scratch.chain.last().map(|g| g.end);
        let gap = before.map_or(Gap::Start, |from| Gap::of(&self.text[from..start]));
        if gap == Gap::Start {
            self.settle(0);
        } else if self.scratch.chain.len() >= CHAIN_MAX {
            self.settle(GROUPS_MAX);
        }
        let plus = self.text[..start].ends_with(['+', '＋']);
        self.scratch.chain.push(Group { start, end, digits: count, gap, before_end: before.unwrap_or(start), plus });
        end
    }

    fn address(&mut self, at: usize) -> usize {
        let floor = self.scratch.candidates.last().filter(|c| c.is_address()).map_or(0, |c| c.end);
        let found = mail::around(self.text, at).filter(|a| a.bytes.start >= floor);
        let Some(found) = found.filter(|_| self.detector.looks_for(Kind::Email)) else {
            self.settle(0);
            self.gap();
            return at + 1;
        };
        let keep = self.scratch.chain.partition_point(|g| g.end <= found.bytes.start);
        self.scratch.chain.truncate(keep);
        self.settle(0);
        while self.scratch.candidates.last().is_some_and(|c| c.end > found.bytes.start) {
            self.scratch.candidates.pop();
        }
        self.gap();
        let readings = [Some(Reading::address(found.in_url)), None];
        self.push(found.bytes.clone(), readings, false);
        found.bytes.end
    }

    /// Reads the numbers of the chain, but for its last `reach` groups.
    fn settle(&mut self, reach: usize) {
        if self.scratch.chain.is_empty() {
            return;
        }
        let mut chain = std::mem::take(&mut self.scratch.chain);
        let mut at = 0;
        while at + reach < chain.len() {
            let used = self.number(&chain[at..]).unwrap_or(1);
            if chain[at..at + used].iter().map(|g| u32::from(g.digits)).sum::<u32>() >= 4 {
                self.tracker.number_read();
            }
            at += used;
        }
        chain.drain(..at);
        self.scratch.chain = chain;
    }

    /// Takes the likeliest number at the head of `chain`; returns how many groups it has.
    fn number(&mut self, chain: &[Group]) -> Option<usize> {
        let mut digits = [0_u8; DIGITS_MAX];
        let (mut filled, mut best): (usize, Option<(usize, Readings, f64)>) = (0, None);
        for (index, group) in chain.iter().take(GROUPS_MAX).enumerate() {
            if filled + usize::from(group.digits) > DIGITS_MAX || (index > 0 && group.plus) {
                break;
            }
            for d in self.text[group.start..group.end].chars().filter_map(digit) {
                digits[filled] = d;
                filled += 1;
            }
            if filled < 9 {
                continue;
            }
            let groups = &chain[..=index];
            let readings = Written { groups, digits: &digits[..filled] }.readings(self.detector.year);
            let readings = readings.map(|r| r.filter(|r| self.detector.looks_for(r.kind)));
            let weight = readings.iter().flatten().map(|r| r.confidence(self.said_before(r.kind))).fold(0.0, f64::max);
            // Groups that fit together by chance must not swallow a number that starts within them.
            let floor = if index > 0 { GROUPED_FLOOR } else { 0.0 };
            if weight > best.as_ref().map_or(floor, |b| b.2.max(floor)) {
                best = Some((index + 1, readings, weight));
            }
        }
        let (used, readings, _) = best?;
        self.take(&chain[..used], chain.get(used), readings).then_some(used)
    }

    fn said_before(&self, kind: Kind) -> Strength {
        self.tracker.speaks_for(kind).map_or(Strength::None, |said| said.0)
    }

    /// Judges what stands around a number and keeps it as a candidate.
    fn take(&mut self, groups: &[Group], next: Option<&Group>, readings: Readings) -> bool {
        let [first, ..] = groups else { return false };
        let end = groups.last().map_or(first.end, |last| last.end);
        let start = self.opening(first, end);
        let (before, after) = (&self.text[..start], &self.text[end..]);
        if !first.plus && is_amount(before, after) {
            return false;
        }
        let glued = before.ends_with(is_letter) || after.starts_with(is_letter);
        let named = |kind| self.tracker.speaks_for(kind).is_some_and(|(s, steps)| s == Strength::Strong && steps <= 1);
        if glued && !readings.iter().flatten().any(|r| named(r.kind)) {
            return false;
        }
        let tied = |gap: Gap| matches!(gap, Gap::Dot | Gap::Dash);
        let tied_before = tied(first.gap) && self.settled_end != Some(first.before_end);
        let tied_after = next.is_some_and(|g| tied(g.gap) && g.digits < 9);
        let damped = tied_before || tied_after || is_part_of_code(before, after);
        self.settled_end = Some(end);
        self.push(start..end, readings, damped);
        true
    }

    /// Start of a number with the `+` and the bracket that belong to it.
    fn opening(&self, first: &Group, end: usize) -> usize {
        let mut start = first.start;
        if first.plus {
            start -= self.text[..start].chars().next_back().map_or(0, char::len_utf8);
        }
        let closes = self.text[start..end].contains(')');
        if closes && self.text[..start].ends_with('(') && !self.text[start..end].contains('(') {
            start - 1
        } else {
            start
        }
    }

    fn push(&mut self, bytes: Range<usize>, readings: Readings, damped: bool) {
        let before = readings.map(|r| r.map_or(Strength::None, |r| self.said_before(r.kind)));
        for reading in readings.iter().flatten() {
            self.claim(reading.kind);
        }
        let against = self.tracker.speaks_against();
        let after = [(Strength::None, 0); 2];
        let step = self.tracker.step();
        let (start, end) = (bytes.start, bytes.end);
        self.scratch.candidates.push(Candidate { start, end, readings, before, after, against, damped, step });
    }

    /// A word that stands closely before a value of `kind` belongs to it and not to the value before the word.
    fn claim(&mut self, kind: Kind) {
        let Some((_, distance)) = self.tracker.speaks_for(kind) else { return };
        if distance > COLON_STEPS {
            return;
        }
        let word_end = self.tracker.step() - distance;
        for candidate in self.scratch.candidates.iter_mut().rev() {
            if candidate.step + 2 * AFTER_STEPS < word_end {
                break;
            }
            candidate.after.iter_mut().filter(|(_, end)| *end == word_end).for_each(|a| *a = (Strength::None, 0));
        }
    }

    /// Lets a word speak for the values closely before it that no word before speaks about.
    fn word_after(&mut self, hit: &Hit) {
        for candidate in self.scratch.candidates.iter_mut().rev() {
            if candidate.step + AFTER_STEPS < hit.start {
                break;
            }
            for (slot, reading) in candidate.readings.iter().enumerate() {
                let Some(reading) = reading else { continue };
                let strength = hit.strength(reading.kind);
                let free = !candidate.against && candidate.before[slot] == Strength::None;
                if free && strength > candidate.after[slot].0 {
                    candidate.after[slot] = (strength, hit.end);
                }
            }
        }
    }
}

impl Candidate {
    fn is_address(&self) -> bool {
        self.readings.iter().flatten().any(|r| r.kind == Kind::Email)
    }
}
