//! The kinds of personal data that are known, and their one written form.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{cccd, phone};

/// A kind of personal data.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Kind {
    /// Citizen identity number, 12 digits (căn cước công dân, số định danh cá nhân). No check digit.
    Cccd,
    /// Identity card number of before 2021, 9 digits (chứng minh nhân dân). No check digit.
    Cmnd,
    /// Vietnamese telephone number of a person: mobile or fixed line, never 1800/1900 service numbers.
    Phone,
    /// E-mail address.
    Email,
}

impl Kind {
    /// All kinds, in order.
    pub const ALL: [Self; 4] = [Self::Cccd, Self::Cmnd, Self::Phone, Self::Email];

    /// The name that policies and audits use: `cccd`, `cmnd`, `phone`, `email`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cccd => "cccd",
            Self::Cmnd => "cmnd",
            Self::Phone => "phone",
            Self::Email => "email",
        }
    }

    /// The one written form of `value`: what two spellings of one value have in common.
    ///
    /// Identity numbers keep their digits, phone numbers become `0…` (`+84 912 345 678` → `0912345678`), addresses
    /// become lower case. A value that is not well-formed is only trimmed.
    pub fn normalise(self, value: &str) -> Cow<'_, str> {
        let trimmed = value.trim();
        let canonical = match self {
            Self::Cccd => number::<12>(trimmed).filter(|digits| cccd::plausible_shape(digits)),
            Self::Cmnd => number::<9>(trimmed),
            Self::Phone => phone::canonical(trimmed),
            Self::Email => {
                let lower = trimmed.chars().any(char::is_uppercase);
                return if lower { Cow::Owned(trimmed.to_lowercase()) } else { Cow::Borrowed(trimmed) };
            }
        };
        canonical.map_or(Cow::Borrowed(trimmed), Cow::Owned)
    }

    pub(super) const fn bit(self) -> u8 {
        1 << self as u8
    }

    pub(super) const fn index(self) -> usize {
        self as usize
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Value of a decimal digit, ASCII or full-width.
pub(super) fn digit(c: char) -> Option<u8> {
    match c {
        '0'..='9' => Some(c as u8),
        '０'..='９' => Some(b'0' + (c as u32 - '０' as u32) as u8),
        _ => None,
    }
}

/// The `N` digits of `text` when it holds exactly so many and else only separators.
fn number<const N: usize>(text: &str) -> Option<String> {
    let mut digits = String::with_capacity(N);
    for c in text.chars() {
        match digit(c) {
            Some(d) if digits.len() < N => digits.push(d as char),
            None if is_separator(c) => {}
            _ => return None,
        }
    }
    (digits.len() == N).then_some(digits)
}

/// Whether `c` may stand between the groups of one number.
pub(super) fn is_separator(c: char) -> bool {
    matches!(c, '.' | '-' | '(' | ')') || is_blank(c) || is_dash(c)
}

/// Spaces that people and programs put into numbers, visible or not.
pub(super) fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\u{a0}' | '\u{2009}' | '\u{202f}' | '\u{200b}'..='\u{200d}' | '\u{feff}' | '\u{ad}')
}

/// Dashes that stand for a hyphen.
pub(super) fn is_dash(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2013}')
}
