//! Calendar dates as people write them.

use std::ops::Range;

use super::words;
use crate::time::Date;

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
        let mut parts = [(&self.day, date.day), (&self.month, date.month), (&self.year, date.year)];
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
    let number = |place: &Range<usize>| text[place.clone()].parse::<i64>().ok();
    if day.len() > 2 || month.len() > 2 || year.len() != 4 {
        return None;
    }
    let date = Date::new(number(&year)?, number(&month)?, number(&day)?)?;
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
}
