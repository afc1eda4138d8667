//! The kinds of personal data that are known, and their one written form.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::{card, cccd, date, fold, geo, net, phone, tax};

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
    /// Vietnamese tax code, 10 digits or 10-3 (mã số thuế). One check digit.
    TaxCode,
    /// Vietnamese social insurance number, 10 digits (mã số BHXH). No check digit: always needs a word.
    SocialInsurance,
    /// Vietnamese passport: one letter and seven or eight digits. Always needs a word.
    Passport,
    /// Vietnamese number plate of a car or motorbike.
    Plate,
    /// Number of a payment card, 14 to 19 digits of a known issuer, Luhn's check digit.
    BankCard,
    /// International bank account number: country's length and remainder 97 hold.
    Iban,
    /// IPv4 or IPv6 address.
    IpAddress,
    /// Hardware address of six bytes.
    MacAddress,
    /// Latitude and longitude in decimal degrees.
    Coordinates,
    /// Date of birth: a date with a word that says so.
    BirthDate,
    /// Vietnamese name of a person: surname first.
    PersonName,
    /// Vietnamese postal address: house, street, ward, district, province.
    PostalAddress,
}

impl Kind {
    /// All kinds, in order.
    pub const ALL: [Self; 16] = [
        Self::Cccd,
        Self::Cmnd,
        Self::Phone,
        Self::Email,
        Self::TaxCode,
        Self::SocialInsurance,
        Self::Passport,
        Self::Plate,
        Self::BankCard,
        Self::Iban,
        Self::IpAddress,
        Self::MacAddress,
        Self::Coordinates,
        Self::BirthDate,
        Self::PersonName,
        Self::PostalAddress,
    ];

    /// The name that policies and audits use: `cccd`, `phone`, `tax_code` …
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cccd => "cccd",
            Self::Cmnd => "cmnd",
            Self::Phone => "phone",
            Self::Email => "email",
            Self::TaxCode => "tax_code",
            Self::SocialInsurance => "social_insurance",
            Self::Passport => "passport",
            Self::Plate => "plate",
            Self::BankCard => "bank_card",
            Self::Iban => "iban",
            Self::IpAddress => "ip_address",
            Self::MacAddress => "mac_address",
            Self::Coordinates => "coordinates",
            Self::BirthDate => "birth_date",
            Self::PersonName => "person_name",
            Self::PostalAddress => "postal_address",
        }
    }

    /// The one written form of `value`: what two spellings of one value have in common.
    ///
    /// Numbers keep their digits, phone numbers become `0…` (`+84 912 345 678` → `0912345678`), plates, passports and IBANs
    /// lose separators and become upper case, dates become `yyyy-mm-dd`, IP and MAC addresses take their canonical form;
    /// e-mail addresses become lower case, names and postal addresses besides composed (NFC) with single spaces. A value
    /// that is not well-formed is only trimmed.
    pub fn normalise(self, value: &str) -> Cow<'_, str> {
        let trimmed = value.trim();
        let canonical = match self {
            Self::Cccd => number::<12>(trimmed).filter(|digits| cccd::plausible_shape(digits)),
            Self::Cmnd => number::<9>(trimmed),
            Self::SocialInsurance => number::<10>(trimmed),
            Self::Phone => phone::canonical(trimmed),
            Self::TaxCode => tax::canonical(trimmed),
            Self::BankCard => card::canonical(trimmed),
            Self::Passport | Self::Plate | Self::Iban => Some(upper_alphanumeric(trimmed)),
            Self::IpAddress => net::canonical_ip(trimmed),
            Self::MacAddress => net::canonical_mac(trimmed),
            Self::Coordinates => geo::canonical(trimmed),
            Self::BirthDate => date::whole(trimmed).map(|found| found.date.to_string()),
            Self::PersonName | Self::PostalAddress => Some(fold::composed_lower(trimmed)),
            Self::Email => {
                let lower = trimmed.chars().any(char::is_uppercase);
                return if lower { Cow::Owned(trimmed.to_lowercase()) } else { Cow::Borrowed(trimmed) };
            }
        };
        canonical.map_or(Cow::Borrowed(trimmed), Cow::Owned)
    }

    pub(super) const fn bit(self) -> u32 {
        1 << self as u32
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

fn upper_alphanumeric(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_uppercase).collect()
}

/// Value of a decimal digit, ASCII or full-width.
pub(super) fn digit(c: char) -> Option<u8> {
    match c {
        '0'..='9' => Some(c as u8),
        '０'..='９' => Some(b'0' + (c as u32 - '０' as u32) as u8),
        _ => None,
    }
}

/// The ASCII digits of `text` when it holds at most `most` and else only separators.
pub(super) fn digits_of(text: &str, most: usize) -> Option<String> {
    let mut digits = String::with_capacity(most);
    for c in text.chars() {
        match digit(c) {
            Some(d) if digits.len() < most => digits.push(d as char),
            None if is_separator(c) => {}
            _ => return None,
        }
    }
    Some(digits)
}

/// The `N` digits of `text` when it holds exactly so many and else only separators.
fn number<const N: usize>(text: &str) -> Option<String> {
    digits_of(text, N).filter(|digits| digits.len() == N)
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
