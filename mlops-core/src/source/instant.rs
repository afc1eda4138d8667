//! Dates and times in the spelling that nearly all files have, without a general parser.

use crate::time::{DAY_US, Date};

/// Days since the epoch of `YYYY-MM-DD`; `None` where the text is of another shape or there is no such day.
pub(super) fn plain_date(text: &[u8]) -> Option<i32> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let date = Date::new(number(&[y1, y2, y3, y4])?, number(&[m1, m2])?, number(&[d1, d2])?)?;
    i32::try_from(date.days()).ok()
}

/// Microseconds since the epoch of `YYYY-MM-DDThh:mm:ss`, with a space for the `T`, up to six digits behind a point and a `Z`, if
/// any; `None` for every other shape and what is no such time.
pub(super) fn plain_time(text: &[u8]) -> Option<i64> {
    let (day, rest) = text.split_at_checked(10)?;
    let text = rest.strip_suffix(b"Z").unwrap_or(rest);
    let (&[b'T' | b' ', h1, h2, b':', m1, m2, b':', s1, s2], fraction) = text.split_first_chunk::<9>()? else {
        return None;
    };
    let (hour, minute, second) = (number(&[h1, h2])?, number(&[m1, m2])?, number(&[s1, s2])?);
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let micros = match fraction {
        [] => 0,
        [b'.', digits @ ..] if (1..=6).contains(&digits.len()) => number(digits)? * 10_i64.pow(6 - digits.len() as u32),
        _ => return None,
    };
    let seconds = (hour * 60 + minute) * 60 + second;
    Some(i64::from(plain_date(day)?) * DAY_US + seconds * 1_000_000 + micros)
}

/// The number that a few digits spell.
fn number(digits: &[u8]) -> Option<i64> {
    digits.iter().try_fold(0, |number, byte| {
        let digit = byte.wrapping_sub(b'0');
        (digit <= 9).then(|| number * 10 + i64::from(digit))
    })
}

#[cfg(test)]
mod tests {
    use arrow::compute::kernels::cast_utils::Parser;
    use arrow::datatypes::Date32Type;
    use proptest::prelude::*;

    use super::*;
    use crate::time::EventTime;

    #[test]
    fn days_of_ten_thousand_years_are_themselves() {
        // `date -ud 0000-01-01 +%s` and `date -ud 9999-12-31 +%s`, divided by 86,400.
        let first_era = -719_528..-719_528 + 146_097;
        for days in first_era.chain((-719_528..2_932_896).step_by(37)).chain([2_932_896]) {
            let text = EventTime::from_micros(days * DAY_US).to_string();
            assert_eq!(plain_date(&text.as_bytes()[..10]).map(i64::from), Some(days), "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_read_is_what_the_general_parser_reads(
            text in "[0-9]{4}-[01][0-9]-[0-3][0-9]([T ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\\.[0-9]{0,8})?Z?)?|[0-9T:. Z-]{0,30}",
        ) {
            if let Some(days) = plain_date(text.as_bytes()) {
                prop_assert_eq!(Date32Type::parse(&text), Some(days));
            }
            if let Some(micros) = plain_time(text.as_bytes()) {
                prop_assert_eq!(EventTime::parse(&text).unwrap().as_micros(), micros);
            }
        }
    }
}
