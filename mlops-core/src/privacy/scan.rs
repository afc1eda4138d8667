//! The one pass over a text that finds what has the form of some kind.

use std::ops::Range;

use super::context::{AFTER_STEPS, Hit, Strength, Strengths, Tracker};
use super::detect::Detector;
use super::fold::{Folded, fold_wide, is_letter};
use super::kind::digit;
use super::number::{GROUPS_MAX, Gap, Group, READINGS_MAX, Reading, Readings, Written, is_amount, is_part_of_code};
use super::{Kind, card, forms, mail, words};

/// Groups that are held before the oldest ones are settled.
const CHAIN_MAX: usize = 64;
/// Confidence above which several groups are taken as one number.
const GROUPED_FLOOR: f64 = 0.15;
/// Steps after a word within which a number makes it a word *before* a value.
const COLON_STEPS: usize = 4;
/// Least digits of a number that is read by its digits alone.
const DIGITS_MIN: usize = 9;

/// Memory that passes over many texts share.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    chain: Vec<Group>,
    pub(super) candidates: Vec<Candidate>,
}

impl Scratch {
    pub(super) fn clear(&mut self) {
        self.chain.clear();
        self.candidates.clear();
    }
}

/// Something that has the form of a kind.
#[derive(Clone, Debug)]
pub(super) struct Candidate {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) readings: Readings,
    /// What words before say, per reading.
    before: [Strength; READINGS_MAX],
    /// What a word after says, per reading, and at which step that word starts.
    after: [(Strength, usize); READINGS_MAX],
    /// Whether a word before speaks against it, per reading.
    against: [bool; READINGS_MAX],
    /// Part of something longer, such as a code: needs a strong word.
    damped: bool,
    /// Steps before the text after it.
    step: usize,
}

impl Candidate {
    fn confidence(&self, slot: usize, reading: &Reading, prior: Strengths) -> f64 {
        let near = self.before[slot].max(self.after[slot].0);
        if self.against[slot] && near == Strength::None {
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

/// The state of one pass.
pub(super) struct Scanner<'t, 's> {
    text: &'t str,
    detector: &'t Detector,
    tracker: Tracker,
    scratch: &'s mut Scratch,
    /// End of the last number that was read as something.
    settled_end: Option<usize>,
    /// Where the last word starts.
    word_start: usize,
    /// End of the last name or address: read ahead of the pass.
    covered: usize,
    /// Names without capitals count: the column's name says that these are names.
    names_expected: bool,
}

impl<'t, 's> Scanner<'t, 's> {
    /// Fills `scratch` with the candidates of `text`.
    pub(super) fn run(detector: &'t Detector, text: &'t str, prior: Strengths, scratch: &'s mut Scratch) {
        let tracker = Tracker::new(&detector.lexicon);
        let names_expected = prior[Kind::PersonName.index()] == Strength::Strong;
        let scanner =
            Scanner { text, detector, tracker, scratch, settled_end: None, word_start: 0, covered: 0, names_expected };
        scanner.pass();
    }

    fn pass(mut self) {
        let bytes = self.text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            at = match byte {
                b'a'..=b'z' | b'A'..=b'Z' => self.letters(at),
                b'0'..=b'9' => self.digits(at),
                b'@' => self.address(at),
                b':' | b'-' => self.colon_or_hyphen(at),
                b'\n' => {
                    self.gap(at);
                    self.tracker.line();
                    at + 1
                }
                0..=0x7f => {
                    self.gap(at);
                    at + 1
                }
                _ => self.wide(at),
            };
        }
        self.settle(0);
        self.gap(bytes.len());
    }

    /// A gap starts at byte `at`: the word before it may say something, or open a name or an address.
    fn gap(&mut self, at: usize) {
        let Some(hit) = self.tracker.gap(&self.detector.lexicon) else { return };
        if hit.speaks() {
            self.word_after(&hit);
        }
        if (hit.label.surname || hit.label.address) && self.word_start >= self.covered {
            self.opening_word(&hit, at);
        }
    }

    /// Looks ahead of a surname or of a word that opens a part of an address.
    fn opening_word(&mut self, hit: &Hit, at: usize) {
        let lexicon = &self.detector.lexicon;
        if hit.label.address && self.detector.looks_for(Kind::PostalAddress) {
            let start = self.start_of_words(hit.words);
            if let Some((end, reading)) =
                start.and_then(|start| lexicon.places.at(self.text, start)).filter(|f| f.0 > at)
            {
                let start = start.unwrap_or(at);
                self.cover(start..end, reading);
                return;
            }
        }
        if hit.label.surname && self.detector.looks_for(Kind::PersonName) {
            let small = self.names_expected || self.said_before(Kind::PersonName) == Strength::Strong;
            let named = lexicon.names.at(self.text, self.word_start, small);
            // `Hồ Chí Minh` and `Hà Nam` are provinces first.
            if let Some((end, reading)) =
                named.filter(|(end, _)| !lexicon.places.starts(self.text, self.word_start, *end))
            {
                self.cover(self.word_start..end, reading);
            }
        }
    }

    /// Start of the last `count` words.
    fn start_of_words(&self, count: usize) -> Option<usize> {
        (1..count).try_fold(self.word_start, |start, _| words::before(self.text, start).map(|w| w.start))
    }

    /// Keeps a name or an address, whose words the pass still goes through.
    fn cover(&mut self, bytes: Range<usize>, reading: Reading) {
        if self.scratch.candidates.last().is_some_and(|c| c.end > bytes.start) {
            return;
        }
        self.covered = bytes.end;
        self.push(bytes, [Some(reading), None, None], false);
    }

    fn letters(&mut self, at: usize) -> usize {
        self.settle(0);
        if self.tracker.in_gap() {
            self.word_start = at;
        }
        self.tracker.letters(&self.detector.lexicon, self.text.as_bytes(), at)
    }

    fn wide(&mut self, at: usize) -> usize {
        let Some(c) = self.text[at..].chars().next() else { return self.text.len() };
        if digit(c).is_some() {
            return self.digits(at);
        }
        match fold_wide(c) {
            Folded::Letter(letter) => {
                self.settle(0);
                if self.tracker.in_gap() {
                    self.word_start = at;
                }
                self.tracker.letter(&self.detector.lexicon, letter);
            }
            Folded::Gap => self.gap(at),
            Folded::Mark => {}
        }
        at + c.len_utf8()
    }

    fn digits(&mut self, start: usize) -> usize {
        self.gap(start);
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
        if start < self.covered {
            return end;
        }
        if let Some(found) = forms::at_digits(self.text, start..end, count)
            && let Some(end) = self.form(found)
        {
            return end;
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
            self.gap(at);
            return at + 1;
        };
        self.make_room(found.bytes.start);
        self.gap(at);
        self.make_room(found.bytes.start);
        self.push(found.bytes.clone(), [Some(Reading::address(found.in_url)), None, None], false);
        found.bytes.end
    }

    /// Settles the numbers before byte `start` and forgets what lies behind it.
    fn make_room(&mut self, start: usize) {
        let keep = self.scratch.chain.partition_point(|g| g.end <= start);
        self.scratch.chain.truncate(keep);
        self.settle(0);
        while self.scratch.candidates.last().is_some_and(|c| c.end > start) {
            self.scratch.candidates.pop();
        }
    }

    /// A hardware or IPv6 address may have its first separator here.
    fn colon_or_hyphen(&mut self, at: usize) -> usize {
        self.gap(at);
        if at >= self.covered
            && let Some(found) = forms::at_mark(self.text, at)
            && let Some(end) = self.form(found)
        {
            return end;
        }
        at + 1
    }

    /// Keeps what was read whole; returns its end.
    fn form(&mut self, found: forms::Found) -> Option<usize> {
        let kind = found.reading.kind;
        if kind == Kind::PostalAddress {
            return self.house(&found.bytes);
        }
        let floor = self.scratch.candidates.last().filter(|c| c.end > found.bytes.start);
        if !self.detector.looks_for(kind) || floor.is_some_and(|c| c.start < found.bytes.start) {
            return None;
        }
        self.make_room(found.bytes.start);
        let end = found.bytes.end;
        self.push(found.bytes, [Some(found.reading), None, None], false);
        self.tracker.number_read();
        Some(end)
    }

    /// A number that could be that of a house: keeps the address that starts with it, and goes on with the number.
    fn house(&mut self, number: &Range<usize>) -> Option<usize> {
        if !self.detector.looks_for(Kind::PostalAddress) {
            return None;
        }
        let word = |end| words::before(self.text, end).filter(|w| w.is(b"so") || w.is(b"nha") || w.is(b"sn"));
        let nearest = word(number.start);
        let start = nearest.map_or(number.start, |near| word(near.start).unwrap_or(near).start);
        let (end, reading) = self.detector.lexicon.places.at(self.text, start).filter(|found| found.0 > number.end)?;
        self.settle(0);
        self.cover(start..end, reading);
        (self.covered == end).then_some(number.end)
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
        let mut digits = [0_u8; card::DIGITS_MAX];
        let (mut filled, mut best): (usize, Option<(usize, Readings, f64)>) = (0, None);
        for (index, group) in chain.iter().take(GROUPS_MAX).enumerate() {
            if filled + usize::from(group.digits) > card::DIGITS_MAX || (index > 0 && group.plus) {
                break;
            }
            for d in self.text[group.start..group.end].chars().filter_map(digit) {
                digits[filled] = d;
                filled += 1;
            }
            if filled < DIGITS_MIN {
                continue;
            }
            let groups = &chain[..=index];
            let readings = Written { groups, digits: &digits[..filled] }.readings(self.detector.year);
            let readings = readings.map(|r| r.filter(|r| self.detector.looks_for(r.kind)));
            let weight = readings.iter().flatten().map(|r| r.confidence(self.said_before(r.kind))).fold(0.0, f64::max);
            // Groups that fit together by chance must not swallow a number that starts within them; of equally likely
            // numbers the longer one is meant: a tax code with its branch.
            let floor = if index > 0 { GROUPED_FLOOR } else { 0.0 };
            if weight > floor && best.as_ref().is_none_or(|b| weight >= b.2) {
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
        let against = readings.map(|r| r.is_some_and(|r| self.tracker.speaks_against(r.kind)));
        let after = [(Strength::None, 0); READINGS_MAX];
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
                let free = !candidate.against[slot] && candidate.before[slot] == Strength::None;
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
