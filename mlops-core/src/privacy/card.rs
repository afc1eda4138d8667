//! Payment cards and international bank accounts.

use super::kind::digits_of;

/// Most digits of a card.
pub(super) const DIGITS_MAX: usize = 19;
/// Most characters of an IBAN, spaces apart.
const IBAN_MAX: usize = 34;

/// Who issued a card of these digits, by prefix and length (ISO/IEC 7812 ranges as the schemes publish them; NAPAS 9704).
pub(super) fn scheme(digits: &[u8]) -> Option<&'static str> {
    let prefix = |n: usize| digits.iter().take(n).fold(0_u32, |sum, d| sum * 10 + u32::from(d - b'0'));
    let name = match (digits.len(), prefix(4)) {
        (16 | 19, 9704) => "NAPAS",
        (16 | 19, 4000..=4999) => "Visa",
        (16, 5100..=5599 | 2221..=2720) => "Mastercard",
        (15, 3400..=3499 | 3700..=3799) => "American Express",
        (16, 3528..=3589) => "JCB",
        (14, 3000..=3059 | 3600..=3699 | 3800..=3999) => "Diners Club",
        (16, 6011 | 6440..=6599) => "Discover",
        (16..=19, 6200..=6299) => "UnionPay",
        _ => return None,
    };
    (luhn(digits) && digits[1..].iter().any(|d| *d != digits[0])).then_some(name)
}

/// ISO/IEC 7812-1, annex B.
fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits
        .iter()
        .rev()
        .enumerate()
        .map(|(i, d)| match (i % 2, u32::from(d - b'0')) {
            (0, v) => v,
            (_, v) => v * 2 - if v > 4 { 9 } else { 0 },
        })
        .sum();
    sum.is_multiple_of(10)
}

/// The digits, when `text` is a card number and nothing else.
pub(super) fn canonical(text: &str) -> Option<String> {
    digits_of(text, DIGITS_MAX).filter(|digits| scheme(digits.as_bytes()).is_some())
}

/// Length of an IBAN by country (SWIFT IBAN registry).
const IBAN_LENGTHS: [(&str, u8); 76] = [
    ("AD", 24),
    ("AE", 23),
    ("AL", 28),
    ("AT", 20),
    ("AZ", 28),
    ("BA", 20),
    ("BE", 16),
    ("BG", 22),
    ("BH", 22),
    ("BR", 29),
    ("BY", 28),
    ("CH", 21),
    ("CR", 22),
    ("CY", 28),
    ("CZ", 24),
    ("DE", 22),
    ("DK", 18),
    ("DO", 28),
    ("EE", 20),
    ("EG", 29),
    ("ES", 24),
    ("FI", 18),
    ("FO", 18),
    ("FR", 27),
    ("GB", 22),
    ("GE", 22),
    ("GI", 23),
    ("GL", 18),
    ("GR", 27),
    ("GT", 28),
    ("HR", 21),
    ("HU", 28),
    ("IE", 22),
    ("IL", 23),
    ("IQ", 23),
    ("IS", 26),
    ("IT", 27),
    ("JO", 30),
    ("KW", 30),
    ("KZ", 20),
    ("LB", 28),
    ("LC", 32),
    ("LI", 21),
    ("LT", 20),
    ("LU", 20),
    ("LV", 21),
    ("LY", 25),
    ("MC", 27),
    ("MD", 24),
    ("ME", 22),
    ("MK", 19),
    ("MR", 27),
    ("MT", 31),
    ("MU", 30),
    ("NL", 18),
    ("NO", 15),
    ("PK", 24),
    ("PL", 28),
    ("PS", 29),
    ("PT", 25),
    ("QA", 29),
    ("RO", 24),
    ("RS", 22),
    ("SA", 24),
    ("SC", 31),
    ("SD", 18),
    ("SE", 24),
    ("SI", 19),
    ("SK", 24),
    ("SM", 27),
    ("ST", 25),
    ("SV", 28),
    ("TL", 23),
    ("TN", 24),
    ("TR", 26),
    ("UA", 29),
];

/// End of the IBAN whose country letters stand at byte `start`; groups may be parted by single spaces.
pub(super) fn iban_at(text: &str, start: usize) -> Option<usize> {
    let bytes = text.as_bytes();
    let length = usize::from(country(bytes.get(start..start + 2)?)?.1);
    let (mut at, mut taken, mut remainder) = (start, 0_usize, 0_u32);
    let mut head = [0_u8; 4];
    while taken < length {
        match *bytes.get(at)? {
            b' ' if taken > 0 && taken.is_multiple_of(4) && bytes[at - 1] != b' ' => {}
            b if b.is_ascii_alphanumeric() => {
                let b = b.to_ascii_uppercase();
                if taken < 4 {
                    head[taken] = b;
                } else {
                    remainder = push_mod_97(remainder, b);
                }
                taken += 1;
            }
            _ => return None,
        }
        at += 1;
    }
    let whole = !bytes.get(at).is_some_and(u8::is_ascii_alphanumeric);
    let remainder = head.iter().fold(remainder, |r, b| push_mod_97(r, *b));
    (whole && length <= IBAN_MAX && remainder == 1).then_some(at)
}

fn push_mod_97(remainder: u32, byte: u8) -> u32 {
    match byte {
        b'0'..=b'9' => (remainder * 10 + u32::from(byte - b'0')) % 97,
        letter => (remainder * 100 + u32::from(letter - b'A') + 10) % 97,
    }
}

fn country(letters: &[u8]) -> Option<(&'static str, u8)> {
    let letters = [letters[0].to_ascii_uppercase(), letters[1].to_ascii_uppercase()];
    let found = IBAN_LENGTHS.binary_search_by(|(code, _)| code.as_bytes().cmp(&letters)).ok()?;
    Some(IBAN_LENGTHS[found])
}

/// ISO 3166 code of the country of an IBAN.
pub(super) fn iban_country(text: &str) -> Option<&'static str> {
    country(text.as_bytes().get(..2)?).map(|found| found.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cards_are_told_by_issuer_length_and_check_digit() {
        // Numbers that the schemes publish for tests.
        for (number, name) in [
            ("4111111111111111", "Visa"),
            ("5555555555554444", "Mastercard"),
            ("2223003122003222", "Mastercard"),
            ("378282246310005", "American Express"),
            ("3530111333300000", "JCB"),
            ("30569309025904", "Diners Club"),
            ("6011111111111117", "Discover"),
            ("6200000000000005", "UnionPay"),
        ] {
            assert_eq!(scheme(number.as_bytes()), Some(name), "{number}");
            let mut wrong = number.as_bytes().to_vec();
            let last = wrong.len() - 1;
            wrong[last] = b'0' + (wrong[last] - b'0' + 1) % 10;
            assert_eq!(scheme(&wrong), None, "{number}");
        }
        for number in ["1700000000000", "1732500000000", "0000000000000000", "4444444444444444", "411111111111"] {
            assert_eq!(scheme(number.as_bytes()), None, "{number}");
        }
    }

    #[test]
    fn accounts_need_the_length_of_their_country_and_the_remainder() {
        // Examples of the SWIFT registry.
        for text in
            ["GB29 NWBK 6016 1331 9268 19", "DE89370400440532013000", "NO9386011117947", "FR1420041010050500013M02606"]
        {
            assert_eq!(iban_at(text, 0), Some(text.len()), "{text}");
        }
        for text in [
            "GB29 NWBK 6016 1331 9268 18",
            "DE8937040044053201300",
            "VN89370400440532013000",
            "DE893704004405320130001",
            "G",
        ] {
            assert_eq!(iban_at(text, 0), None, "{text}");
        }
        assert!(IBAN_LENGTHS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }
}
