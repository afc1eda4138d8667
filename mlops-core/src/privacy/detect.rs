//! The detector: its settings, and what it finds in texts.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use super::Kind;
use super::context::{Lexicon, Strengths};
use super::detail::{self, Detail};
use super::scan::{Candidate, Scanner, Scratch};
use crate::{Error, Result};

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
    /// What the value says besides: province, carrier, scheme …, where it does.
    pub detail: Option<Detail>,
}

/// Finds personal data in texts and columns.
///
/// One pass, linear in the text whatever the number of kinds, with memory for at most one finding per four bytes. What
/// overlaps is resolved so: addresses (postal, e-mail, IP, MAC), accounts, plates, dates and coordinates are read whole and
/// win over the numbers inside of them; of two readings of the same place the more confident one wins; else what starts first.
///
/// Numbers without check digits need a word that names them, before (`CCCD: 001…`) or after (`001… (CCCD)`), in Vietnamese with
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
    kinds: u32,
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
        self.detect_with(text, &mut Scratch::default())
    }

    fn detect_with(&self, text: &str, scratch: &mut Scratch) -> Vec<Finding> {
        let mut findings = Vec::new();
        let (mut byte, mut char) = (0, 0);
        for span in self.spans(text, Strengths::default(), scratch) {
            let start = char + text[byte..span.bytes.start].chars().count();
            let end = start + text[span.bytes.clone()].chars().count();
            (byte, char) = (span.bytes.end, end);
            let detail = detail::of(self, span.kind, &text[span.bytes.clone()]);
            findings.push(Finding {
                kind: span.kind,
                bytes: span.bytes,
                chars: start..end,
                confidence: span.confidence,
                detail,
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
        self.candidates(text, prior, scratch);
        let threshold = self.threshold;
        let span = move |c: &Candidate| c.verdict(prior).filter(|(_, confidence)| *confidence >= threshold);
        scratch
            .candidates
            .iter()
            .filter_map(move |c| span(c).map(|(kind, confidence)| Span { kind, bytes: c.start..c.end, confidence }))
    }

    /// `text` with every finding as `[cccd]`, `[phone]` …: for log lines, messages and reports, whatever wrote them.
    ///
    /// The one hook for texts that leave the data path. Borrowed where nothing was found.
    ///
    /// # Examples
    /// ```
    /// use mlops_core::privacy::Detector;
    ///
    /// let detector = Detector::builder().today(2026).build()?;
    /// assert_eq!(detector.scrub("row 7: cannot parse `an@x.vn`"), "row 7: cannot parse `[email]`");
    /// assert_eq!(detector.scrub("row 7: cannot parse"), "row 7: cannot parse");
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    pub fn scrub<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut scratch = Scratch::default();
        let (mut clean, mut from) = (String::new(), 0);
        for span in self.spans(text, Strengths::default(), &mut scratch) {
            clean.push_str(&text[from..span.bytes.start]);
            clean.push('[');
            clean.push_str(span.kind.as_str());
            clean.push(']');
            from = span.bytes.end;
        }
        if from == 0 {
            return Cow::Borrowed(text);
        }
        clean.push_str(&text[from..]);
        Cow::Owned(clean)
    }

    /// Everything in `text` that has the form of some kind, whatever its confidence; `prior` speaks for the whole of it.
    pub(super) fn candidates<'s>(&self, text: &str, prior: Strengths, scratch: &'s mut Scratch) -> &'s [Candidate] {
        scratch.clear();
        let words = self.looks_for(Kind::PersonName) || self.looks_for(Kind::PostalAddress);
        let could_be =
            |b: &u8| matches!(*b, b'0'..=b'9' | b'@' | b':' | b'-' | 0xef) || (words && !b.is_ascii_lowercase());
        if text.as_bytes().iter().any(could_be) {
            Scanner::run(self, text, prior, scratch);
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
