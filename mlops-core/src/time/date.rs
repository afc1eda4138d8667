//! Days of the calendar.

use std::fmt;

/// Days from 0000-03-01, where years are counted from, to 1970-01-01.
const EPOCH_DAYS: i64 = 719_468;

/// Days of 400 years.
const ERA_DAYS: i64 = 146_097;

/// A day of the proleptic Gregorian calendar, of any year that 64 bits of microseconds reach and far beyond.
///
/// # Source
/// H. Hinnant, *chrono-compatible low-level date algorithms*: years begin in March, so that the leap day is their last.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Date {
    pub(crate) year: i64,
    /// From 1.
    pub(crate) month: i64,
    /// From 1.
    pub(crate) day: i64,
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl Date {
    /// The day, if there is one.
    pub(crate) fn new(year: i64, month: i64, day: i64) -> Option<Self> {
        let days = match month {
            2 => 28 + i64::from(is_leap(year)),
            4 | 6 | 9 | 11 => 30,
            1..=12 => 31,
            _ => return None,
        };
        (1..=days).contains(&day).then_some(Self { year, month, day })
    }

    /// The day that is `days` after 1970-01-01.
    pub(crate) fn of_days(days: i64) -> Self {
        let shifted = days + EPOCH_DAYS;
        let (era, of_era) = (shifted.div_euclid(ERA_DAYS), shifted.rem_euclid(ERA_DAYS));
        let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let since_march = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march = (5 * since_march + 2) / 153;
        let day = since_march - (153 * march + 2) / 5 + 1;
        let month = if march < 10 { march + 3 } else { march - 9 };
        Self { year: year_of_era + era * 400 + i64::from(month <= 2), month, day }
    }

    /// Days since 1970-01-01; the inverse of [`of_days`](Self::of_days).
    pub(crate) fn days(self) -> i64 {
        let year = self.year - i64::from(self.month <= 2);
        let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let since_march = (153 * ((self.month + 9) % 12) + 2) / 5 + self.day - 1;
        era * ERA_DAYS + of_era * 365 + of_era / 4 - of_era / 100 + since_march - EPOCH_DAYS
    }

    /// Day of the year, from 1.
    pub(crate) fn day_of_year(self) -> i64 {
        self.days() - Self { month: 1, day: 1, ..self }.days() + 1
    }
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// Day of the week of the day that is `days` after 1970-01-01, a Thursday; Monday is 0.
pub(crate) fn weekday(days: i64) -> i64 {
    (days + 3).rem_euclid(7)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_dates_are_inverse() {
        // Python 3.11: (date(2000, 3, 1) - date(1970, 1, 1)).days
        assert_eq!(Date { year: 2000, month: 3, day: 1 }.days(), 11_017);
        for days in (-800_000..800_000).step_by(97) {
            assert_eq!(Date::of_days(days).days(), days);
        }
    }

    #[test]
    fn days_that_are_none_are_refused_and_days_of_a_year_are_counted() {
        assert!(
            Date::new(1900, 2, 29).is_none() && Date::new(2023, 13, 1).is_none() && Date::new(2023, 4, 31).is_none()
        );
        // Python 3.11: date(2024, 12, 31).timetuple().tm_yday and date(2023, 3, 1).timetuple().tm_yday
        assert_eq!(Date::new(2024, 12, 31).map(Date::day_of_year), Some(366));
        assert_eq!(Date::new(2023, 3, 1).map(Date::day_of_year), Some(60));
        // Python 3.11: date(2000, 3, 1).weekday()
        assert_eq!(weekday(11_017), 2);
    }
}
