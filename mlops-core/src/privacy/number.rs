//! Numbers in text: digit groups, the ways they make one number, and what that number could be.

use super::Kind;
use super::cccd::{Birthplace, Cccd};
use super::context::Strength;
use super::kind::{digit, is_blank, is_dash};
use super::phone::{self, Form, Line};
use super::{card, tax};

/// Most digit groups that one number is written in.
pub(super) const GROUPS_MAX: usize = 7;

/// What parts a digit group from the one before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gap {
    /// Nothing is before it, or nothing that could stand inside a number.
    Start,
    Blank,
    Dot,
    Dash,
    Paren,
}

impl Gap {
    /// Reads the characters between two groups; [`Gap::Start`] when they part two numbers.
    pub(super) fn of(between: &str) -> Self {
        let (mut blanks, mut marks, mut gap) = (0, 0, Self::Start);
        if between.len() > 8 {
            return Self::Start;
        }
        let parens = between.contains(['(', ')']);
        for c in between.chars() {
            let this = match c {
                '.' => Self::Dot,
                '(' | ')' => Self::Paren,
                c if is_blank(c) => Self::Blank,
                c if is_dash(c) => Self::Dash,
                _ => return Self::Start,
            };
            blanks += u8::from(this == Self::Blank);
            marks += u8::from(matches!(this, Self::Dot | Self::Dash));
            gap = if parens { Self::Paren } else { this };
        }
        let one_number = blanks <= 2 && marks <= 1 && (parens || blanks == 0 || marks == 0);
        if one_number { gap } else { Self::Start }
    }
}

/// A run of digits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Number of digits, saturating.
    pub(super) digits: u8,
    pub(super) gap: Gap,
    /// End of the group before it, in bytes.
    pub(super) before_end: usize,
    /// A `+` stands before it.
    pub(super) plus: bool,
}

/// One thing that a number could be, with its confidence by what the words around it say.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Reading {
    pub(super) kind: Kind,
    pub(super) bare: f64,
    pub(super) weak: f64,
    pub(super) strong: f64,
    /// Confidence when a word speaks against it.
    pub(super) against: f64,
}

impl Reading {
    pub(super) const fn new(kind: Kind, bare: f64, weak: f64, strong: f64) -> Self {
        Self { kind, bare, weak, strong, against: bare * 0.4 }
    }

    /// Certain by its form alone.
    pub(super) const fn address(in_url: bool) -> Self {
        let bare = if in_url { 0.4 } else { 0.95 };
        Self { kind: Kind::Email, bare, weak: 0.99, strong: 0.99, against: bare }
    }

    pub(super) const fn confidence(&self, strength: Strength) -> f64 {
        match strength {
            Strength::None => self.bare,
            Strength::Weak => self.weak,
            Strength::Strong => self.strong,
        }
    }
}

/// Most kinds that one number can be of.
pub(super) const READINGS_MAX: usize = 3;

/// Everything that a number could be.
pub(super) type Readings = [Option<Reading>; READINGS_MAX];

/// The groups of one number.
pub(super) struct Written<'a> {
    pub(super) groups: &'a [Group],
    /// All digits, ASCII.
    pub(super) digits: &'a [u8],
}

impl Written<'_> {
    /// Kinds that the digits and their grouping allow.
    pub(super) fn readings(&self, year: i32) -> Readings {
        let plus = self.groups.first().is_some_and(|g| g.plus);
        match self.digits.len() {
            9 if !plus => [self.cmnd(), self.phone(plus), None],
            10 if !plus => [self.phone(plus), self.tax_code(), self.insurance()],
            12 if !plus => [self.cccd(year), self.phone(plus), None],
            13 if !plus => [self.tax_code(), self.phone(plus), None],
            14 if !plus => [self.phone(plus), self.card(), None],
            15.. if !plus => [self.card(), None, None],
            _ => [self.phone(plus), None, None],
        }
    }

    /// One of eleven numbers has the check digit: only the form with a branch tells by itself.
    fn tax_code(&self) -> Option<Reading> {
        let branch = self.digits.len() == 13;
        let whole = match self.groups {
            [_] => true,
            [head, tail] => head.digits == 10 && tail.digits == 3 && tail.gap == Gap::Dash,
            _ => false,
        };
        if !whole || !tax::is_valid(self.digits) {
            return None;
        }
        Some(if branch && self.grouped() {
            Reading { against: 0.55, ..Reading::new(Kind::TaxCode, 0.8, 0.8, 0.98) }
        } else {
            Reading::new(Kind::TaxCode, 0.15, 0.5, 0.98)
        })
    }

    /// Any ten digits: nothing but a word tells.
    fn insurance(&self) -> Option<Reading> {
        let same = self.digits.iter().all(|d| *d == self.digits[0]);
        (!same && !self.grouped()).then(|| Reading::new(Kind::SocialInsurance, 0.02, 0.1, 0.9))
    }

    /// As one run, or in groups as cards show them: of four, or 4-6-5 and 4-6-4.
    fn card(&self) -> Option<Reading> {
        let groups = self.groups.iter().map(|g| g.digits);
        let fours = groups.clone().rev().skip(1).all(|n| n == 4);
        let shown = fours || groups.eq([4, 6, self.digits.len() as u8 - 10]);
        if (self.grouped() && !shown) || !self.is_even() {
            return None;
        }
        card::scheme(self.digits)?;
        let bare = if self.grouped() { 0.9 } else { 0.75 };
        Some(Reading::new(Kind::BankCard, bare, 0.9, 0.99))
    }

    fn grouped(&self) -> bool {
        self.groups.len() > 1
    }

    /// Gaps are alike but for brackets and what stands before a country code's end.
    fn is_even(&self) -> bool {
        let country = usize::from(self.groups.first().is_some_and(|g| g.plus || g.digits == 2));
        let mut inner = self.groups.iter().skip(1 + country).map(|g| g.gap).filter(|g| *g != Gap::Paren);
        let Some(first) = inner.next() else { return true };
        inner.all(|gap| gap == first)
    }

    fn cccd(&self, year: i32) -> Option<Reading> {
        if !self.is_even() || self.groups.iter().any(|g| self.grouped() && g.digits < 3) {
            return None;
        }
        let read = Cccd::of_digits(self.digits, year)?;
        Some(match (read.birthplace(), self.grouped()) {
            (Birthplace::Province(_), false) => Reading::new(Kind::Cccd, 0.35, 0.8, 0.97),
            (Birthplace::Province(_), true) => Reading::new(Kind::Cccd, 0.2, 0.6, 0.95),
            (Birthplace::Abroad(_), _) => Reading::new(Kind::Cccd, 0.05, 0.2, 0.75),
        })
    }

    fn cmnd(&self) -> Option<Reading> {
        let [first, second, ..] = *self.digits else { return None };
        let in_threes = self.groups.iter().all(|g| g.digits == 3);
        if self.digits.iter().all(|d| *d == first) || (self.grouped() && !(in_threes && self.is_even())) {
            return None;
        }
        // Two digits of the issuing police, 01 to 38, some split further by a third.
        let issuer = (first - b'0') * 10 + (second - b'0');
        let known = (1..=38).contains(&issuer);
        let bare = if self.grouped() { 0.02 } else { 0.1 };
        Some(if known {
            Reading::new(Kind::Cmnd, bare, 0.55, 0.9)
        } else {
            Reading::new(Kind::Cmnd, bare / 2.0, 0.3, 0.6)
        })
    }

    fn phone(&self, plus: bool) -> Option<Reading> {
        let (form, line, _) = phone::parse(self.digits, plus)?;
        if !self.is_even() || (self.grouped() && !self.looks_like_a_phone()) {
            return None;
        }
        let reading = |bare, strong| Some(Reading::new(Kind::Phone, bare, bare, strong));
        match (form, line) {
            (Form::Bare, Line::Retired) => None,
            (_, Line::Retired) => reading(0.2, 0.65),
            (Form::International, _) => Some(Reading { against: 0.6, ..Reading::new(Kind::Phone, 0.95, 0.95, 0.99) }),
            (Form::Trunk, Line::Mobile) => reading(if self.grouped() { 0.85 } else { 0.75 }, 0.97),
            (Form::Trunk, Line::Fixed) => reading(if self.grouped() { 0.8 } else { 0.55 }, 0.95),
            (Form::Prefix, Line::Mobile) => reading(0.55, 0.9),
            (Form::Prefix, Line::Fixed) => reading(0.3, 0.9),
            (Form::Bare, Line::Mobile) => reading(0.05, 0.7),
            (Form::Bare, Line::Fixed) => reading(0.02, 0.55),
        }
    }

    /// Groups as people write them; dates (`02-01-2024 …`) have a first group of two digits.
    fn looks_like_a_phone(&self) -> bool {
        let [first, rest @ ..] = self.groups else { return false };
        let zero_in_brackets = |g: &Group| g.digits == 1 && g.gap == Gap::Paren;
        let dotted = rest.iter().any(|g| matches!(g.gap, Gap::Dot | Gap::Dash));
        let country = first.plus || (first.digits == 2 && self.digits.starts_with(b"84"));
        let opens = country || first.digits >= if dotted { 3 } else { 2 };
        opens && self.groups.len() <= 6 && rest.iter().all(|g| g.digits >= 2 || zero_in_brackets(g))
    }
}

/// Whether the text after a number makes it an amount: `123.456.789 đ`, `50 %`.
pub(super) fn is_amount(before: &str, after: &str) -> bool {
    if before.ends_with(['$', '₫', '€', '£']) {
        return true;
    }
    let after = after.strip_prefix([' ', '\u{a0}']).unwrap_or(after);
    if after.starts_with(['$', '₫', '€', '£', '%']) {
        return true;
    }
    let mut word = [0_u8; 6];
    let mut length = 0;
    for c in after.chars().take(12) {
        match super::fold::fold(c) {
            super::fold::Folded::Letter(letter) if length < word.len() => {
                word[length] = letter;
                length += 1;
            }
            super::fold::Folded::Mark => {}
            _ => break,
        }
    }
    matches!(&word[..length], b"d" | b"vnd" | b"usd" | b"eur" | b"dong" | b"trieu" | b"nghin" | b"ngan")
}

/// Whether the number that stands between `before` and `after` is part of a longer code: `ORD-09…`, `img_09….jpg`.
pub(super) fn is_part_of_code(before: &str, after: &str) -> bool {
    let mut back = before.chars().rev();
    let joined = match back.next() {
        Some('#') => true,
        Some('_') => back.next().is_some_and(char::is_alphanumeric),
        Some('-') => back.next().is_some_and(|c| c.is_ascii_uppercase() || c.is_ascii_digit()),
        Some('/') => {
            let digits = before[..before.len() - 1].chars().rev().take(13).take_while(|c| digit(*c).is_some()).count();
            digits < 9 && back.next().is_some_and(char::is_alphanumeric)
        }
        _ => false,
    };
    let mut ahead = after.chars();
    let runs_on = match ahead.next() {
        Some('_') => true,
        Some('.') => ahead.next().is_some_and(|c| c.is_ascii_lowercase()),
        Some(',' | ':') => ahead.next().is_some_and(|c| digit(c).is_some()) && !starts_a_number(&after[1..]),
        _ => false,
    };
    joined || runs_on
}

/// Whether `text` starts with nine digits or more: a list of numbers, not a decimal.
fn starts_a_number(text: &str) -> bool {
    text.chars().take_while(|c| digit(*c).is_some()).take(9).count() == 9
}
