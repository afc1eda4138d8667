//! Dates and times in the spelling that nearly all files have, without a general parser.

use crate::time::DAY_US;

/// Days from 0000-03-01, where the civil year is counted from, to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// Days of 400 years.
const ERA_DAYS: i64 = 146_097;

/// Days since the epoch of `YYYY-MM-DD`; `None` where the text is of another shape or there is no such day.
///
/// # Source
/// H. Hinnant, *chrono-compatible low-level date algorithms*, `days_from_civil`.
pub(super) fn plain_date(text: &[u8]) -> Option<i32> {
    let &[y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2] = text else { return None };
    let year = number(&[y1, y2, y3, y4])?;
    let (month, day) = (number(&[m1, m2])?, number(&[d1, d2])?);
    if !(1..=12).contains(&month) || day == 0 || day > days_of_month(year, month) {
        return None;
    }
    // Years that begin in March have the leap day at their end.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    i32::try_from(era * ERA_DAYS + day_of_era - EPOCH_DAYS).ok()
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

fn days_of_month(year: i64, month: i64) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
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
        let first_era = -719_528..-719_528 + ERA_DAYS;
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
