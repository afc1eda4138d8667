//! Calendar dates as people write them.

use std::fmt;
use std::ops::Range;

use super::words;

/// A day of the proleptic Gregorian calendar.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Date {
    pub(super) year: i32,
    pub(super) month: u32,
    pub(super) day: u32,
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl Date {
    fn new(year: i32, month: u32, day: u32) -> Option<Self> {
        let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let days = match month {
            2 => 28 + u32::from(leap),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        (1..=days).contains(&day).then_some(Self { year, month, day })
    }

    /// Days since 1970-01-01.
    ///
    /// # Source
    /// Hinnant, *chrono-Compatible Low-Level Date Algorithms*, `days_from_civil`.
    pub(super) fn days(self) -> i64 {
        let year = i64::from(self.year) - i64::from(self.month <= 2);
        let era = year.div_euclid(400);
        let of_era = year.rem_euclid(400);
        let of_year = (153 * ((i64::from(self.month) + 9) % 12) + 2) / 5 + i64::from(self.day) - 1;
        era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468
    }

    /// The day that is `days` after 1970-01-01; the inverse of [`days`](Self::days).
    pub(super) fn of_days(days: i64) -> Self {
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let of_era = shifted.rem_euclid(146_097);
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_index = (5 * of_year + 2) / 153;
        let day = (of_year - (153 * month_index + 2) / 5 + 1) as u32;
        let month = if month_index < 10 { month_index + 3 } else { month_index - 9 } as u32;
        let year = (year_of_era + era * 400 + i64::from(month <= 2)) as i32;
        Self { year, month, day }
    }
}

/// A date in a text, with the place of its parts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub(super) date: Date,
    pub(super) end: usize,
    day: Range<usize>,
    month: Range<usize>,
    year: Range<usize>,
}

impl Found {
    /// `text`, which is this date, as `date` in the same layout.
    pub(super) fn rewritten(&self, text: &str, date: Date) -> String {
        let mut parts = [(&self.day, date.day as i32), (&self.month, date.month as i32), (&self.year, date.year)];
        parts.sort_by_key(|(place, _)| place.start);
        let (mut out, mut from) = (String::with_capacity(text.len()), 0);
        for (place, value) in parts {
            out.push_str(&text[from..place.start]);
            let padded = text[place.clone()].starts_with('0') || place.len() >= 2;
            let width = if padded { place.len() } else { 1 };
            out.push_str(format!("{value:0width$}").as_str());
            from = place.end;
        }
        out.push_str(&text[from..]);
        out
    }
}

/// The date that starts at byte `start`: `24/12/1990`, `24-12-1990`, `24.12.1990`, `1990-12-24`, `24 tháng 12 năm 1990`.
pub(super) fn at(text: &str, start: usize) -> Option<Found> {
    let first = digits_at(text, start)?;
    let mark = *text.as_bytes().get(first.end)?;
    if matches!(mark, b'/' | b'-' | b'.') {
        let second = digits_at(text, first.end + 1)?;
        if text.as_bytes().get(second.end) != Some(&mark) {
            return None;
        }
        let third = digits_at(text, second.end + 1)?;
        let goes_on = text[third.end..].starts_with(['/', '-'])
            && text[third.end + 1..].starts_with(|c: char| c.is_ascii_digit());
        if goes_on || text[third.end..].starts_with(|c: char| c.is_ascii_digit()) {
            return None;
        }
        return if first.len() == 4 { found(text, third, second, first) } else { found(text, first, second, third) };
    }
    let month_word = words::next(text, first.end).filter(|w| w.is(b"thang"))?;
    let month = digits_at(text, words::next(text, month_word.end)?.start)?;
    let comma = usize::from(text[month.end..].starts_with(','));
    let year_word = words::next(text, month.end + comma).filter(|w| w.is(b"nam"))?;
    let year = digits_at(text, words::next(text, year_word.end)?.start)?;
    found(text, first, month, year)
}

fn found(text: &str, day: Range<usize>, month: Range<usize>, year: Range<usize>) -> Option<Found> {
    let number = |place: &Range<usize>| text[place.clone()].parse::<u32>().ok();
    if day.len() > 2 || month.len() > 2 || year.len() != 4 {
        return None;
    }
    let date = Date::new(number(&year)? as i32, number(&month)?, number(&day)?)?;
    let end = day.end.max(month.end).max(year.end);
    Some(Found { date, end, day, month, year })
}

fn digits_at(text: &str, start: usize) -> Option<Range<usize>> {
    let count = text.as_bytes().get(start..)?.iter().take(5).take_while(|b| b.is_ascii_digit()).count();
    (1..=4).contains(&count).then(|| start..start + count)
}

/// The date that `text` is, and nothing else.
pub(super) fn whole(text: &str) -> Option<Found> {
    at(text, 0).filter(|found| found.end == text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layout_gives_the_day_and_takes_another_one() {
        for (text, moved) in [
            ("24/12/1990", "01/02/1991"),
            ("24-12-1990", "01-02-1991"),
            ("24.12.1990", "01.02.1991"),
            ("1990-12-24", "1991-02-01"),
            ("24 tháng 12 năm 1990", "01 tháng 02 năm 1991"),
        ] {
            let found = whole(text).unwrap();
            assert_eq!(found.date, Date { year: 1990, month: 12, day: 24 }, "{text}");
            assert_eq!(found.rewritten(text, Date { year: 1991, month: 2, day: 1 }), moved);
        }
        assert_eq!(
            whole("4/2/2001").unwrap().rewritten("4/2/2001", Date { year: 2001, month: 11, day: 3 }),
            "3/11/2001"
        );
        for text in [
            "31/02/1990",
            "29/02/1900",
            "0/1/1990",
            "1/13/1990",
            "1/1/90",
            "1/1-1990",
            "1990-1",
            "12/12/12/12",
            "1.2.3.4",
        ] {
            assert_eq!(whole(text), None, "{text}");
        }
    }

    #[test]
    fn days_and_dates_are_inverse() {
        assert_eq!(Date { year: 2000, month: 3, day: 1 }.days(), 11_017); // Python 3.11: (date(2000,3,1) - date(1970,1,1)).days
        for days in (-800_000..800_000).step_by(97) {
            assert_eq!(Date::of_days(days).days(), days);
        }
    }
}
