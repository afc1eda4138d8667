//! Vietnamese telephone numbers.
//!
//! Ranges as in Google's libphonenumber metadata for VN (python `phonenumbers` 9.0.43), less the 1800 and 1900 service
//! numbers, which belong to no person.

use super::kind::{digit, is_separator};

/// Most digits that a number can be written with: `0084` and ten of a fixed line, less its zero.
pub(super) const DIGITS_MAX: usize = 14;

/// How a number was written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// `+84…` or `0084…`.
    International,
    /// `84…` without a plus.
    Prefix,
    /// `0…`.
    Trunk,
    /// Neither: as left by programs that take numbers for integers.
    Bare,
}

/// What the number reaches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Line {
    Mobile,
    Fixed,
    /// Eleven-digit mobile numbers of before September 2018.
    Retired,
}

/// Splits ASCII `digits` into form, line and national number (without its zero).
pub(super) fn parse(digits: &[u8], plus: bool) -> Option<(Form, Line, &[u8])> {
    let without_zero = |rest: &'_ [u8]| rest.first() == Some(&b'0');
    let (form, national) = match digits {
        [b'8', b'4', rest @ ..] if plus => (Form::International, if without_zero(rest) { &rest[1..] } else { rest }),
        _ if plus => return None,
        [b'0', b'0', b'8', b'4', rest @ ..] => (Form::International, rest),
        [b'0', rest @ ..] => (Form::Trunk, rest),
        [b'8', b'4', rest @ ..] if rest.len() >= 9 => (Form::Prefix, rest),
        rest => (Form::Bare, rest),
    };
    line(national).map(|line| (form, line, national))
}

fn line(national: &[u8]) -> Option<Line> {
    match (national.len(), national) {
        (9, digits) if mobile(digits) => Some(Line::Mobile),
        (10, [b'2', b, c, ..]) if area(*b, *c) => Some(Line::Fixed),
        (10, [b'1', b, c, ..]) if retired(*b, *c) => Some(Line::Retired),
        _ => None,
    }
}

fn mobile(national: &[u8]) -> bool {
    let [a, b, c, ..] = *national else { return false };
    match (a, b) {
        (b'3', _)
        | (b'7', b'0' | b'6'..=b'9')
        | (b'5', b'1' | b'6' | b'8' | b'9')
        | (b'8', b'1'..=b'8')
        | (b'9', b'0'..=b'8') => true,
        (b'5', b'2') => matches!(c, b'2' | b'3' | b'8'),
        (b'5', b'5') => c == b'9',
        (b'8', b'9') => matches!(c, b'6'..=b'9'),
        (b'9', b'9') => matches!(c, b'0' | b'1' | b'3'..=b'9'),
        _ => false,
    }
}

/// Area codes `2bc`.
fn area(b: u8, c: u8) -> bool {
    match b {
        b'0' => matches!(c, b'3'..=b'9'),
        b'1' => matches!(c, b'0'..=b'6' | b'8' | b'9'),
        b'2' => matches!(c, b'0'..=b'2' | b'5'..=b'9'),
        b'3' | b'8' => matches!(c, b'2'..=b'9'),
        b'4' => matches!(c, b'2'..=b'8'),
        b'5' => matches!(c, b'1' | b'2' | b'4'..=b'9'),
        b'6' => matches!(c, b'0'..=b'3' | b'9'),
        b'7' => matches!(c, b'0'..=b'7'),
        b'9' => matches!(c, b'0'..=b'4' | b'6' | b'7' | b'9'),
        _ => false,
    }
}

/// Retired mobile prefixes `1bc`.
fn retired(b: u8, c: u8) -> bool {
    matches!((b, c), (b'2', _) | (b'6', b'2'..=b'9') | (b'8', b'6' | b'8') | (b'9', b'9'))
}

/// Who gave the number out: the carrier of a mobile prefix, which keeps its name when the number moves to another carrier.
///
/// Blocks as in libphonenumber's carrier data for VN (python `phonenumbers` 9.0.43); `099`, which several carriers share,
/// is not told.
pub(super) fn carrier(number: &str) -> Option<&'static str> {
    let digits = canonical(number)?;
    Some(match digits.as_bytes().get(1..3)? {
        [b'3', b'2'..=b'9'] | [b'8', b'6'] | [b'9', b'6'..=b'8'] => "Viettel",
        [b'7', b'0' | b'6'..=b'9'] | [b'8', b'9'] | [b'9', b'0' | b'3'] => "MobiFone",
        [b'8', b'1'..=b'5' | b'7' | b'8'] | [b'9', b'1' | b'4'] => "VinaPhone",
        [b'5', b'2' | b'6' | b'8'] | [b'9', b'2'] => "Vietnamobile",
        [b'5', b'9'] => "Gmobile",
        [b'5', b'5'] => "Reddi",
        _ => return None,
    })
}

/// `0` and the national number, when `text` is a telephone number and nothing else.
pub(super) fn canonical(text: &str) -> Option<String> {
    let text = text.strip_prefix('(').unwrap_or(text);
    let (plus, rest) = match text.strip_prefix(['+', '＋']) {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut digits = Vec::with_capacity(DIGITS_MAX);
    for c in rest.chars() {
        match digit(c) {
            Some(d) if digits.len() < DIGITS_MAX => digits.push(d),
            None if is_separator(c) => {}
            _ => return None,
        }
    }
    let (_, _, national) = parse(&digits, plus)?;
    let national = std::str::from_utf8(national).ok()?;
    Some(format!("0{national}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_number_has_one_form() {
        let same = [
            "0912345678",
            "0912 345 678",
            "091.234.5678",
            "+84912345678",
            "+84 912 345 678",
            "(+84) 912-345-678",
            "+84 (0) 912 345 678",
            "0084912345678",
            "84912345678",
            "912345678",
            "０９１２３４５６７８",
        ];
        for text in same {
            assert_eq!(canonical(text).as_deref(), Some("0912345678"), "{text}");
        }
        assert_eq!(canonical("(024) 3825 1234").as_deref(), Some("02438251234"));
    }

    #[test]
    fn prefixes_that_no_carrier_has_are_refused() {
        for text in ["0412345678", "0112345678", "0521345678", "0992345678", "02001234567", "18001234", "+1 912345678"]
        {
            assert_eq!(canonical(text), None, "{text}");
        }
    }

    #[test]
    fn carriers_are_those_of_libphonenumber() {
        // Python phonenumbers 9.0.43, `carrier.name_for_number`, for the national numbers …1234567.
        for (prefixes, name) in [
            ("032 033 034 035 036 037 038 039 086 096 097 098", "Viettel"),
            ("070 076 077 078 079 0898 090 093", "MobiFone"),
            ("081 082 083 084 085 087 088 091 094", "VinaPhone"),
            ("0522 056 058 092", "Vietnamobile"),
            ("059", "Gmobile"),
            ("0559", "Reddi"),
        ] {
            for prefix in prefixes.split(' ') {
                assert_eq!(carrier(&format!("{prefix:1<10}")), Some(name), "{prefix}");
            }
        }
        assert_eq!(carrier("0993123456"), None);
        assert_eq!(carrier("02438251234"), None);
    }
}
