//! Days and hours of an instant.

const MICROS_PER_DAY: i128 = 86_400_000_000;

/// What calendar and clock show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Civil {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
    /// From 1.
    pub(super) day_of_year: i64,
    /// From Monday, 0.
    pub(super) weekday: i64,
    pub(super) second_of_day: i64,
}

impl Civil {
    /// At `micros` since the epoch, UTC, on a clock that is `offset` µs ahead.
    ///
    /// Hinnant, *chrono-compatible low-level date algorithms*: years start in March, so that leap days come last.
    pub(super) fn of(micros: i64, offset: i64) -> Self {
        let local = i128::from(micros) + i128::from(offset);
        let days = local.div_euclid(MICROS_PER_DAY) as i64;
        let second_of_day = (local.rem_euclid(MICROS_PER_DAY) / 1_000_000) as i64;
        let shifted = days + 719_468;
        let era = shifted.div_euclid(146_097);
        let day_of_era = shifted.rem_euclid(146_097);
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let since_march = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march = (5 * since_march + 2) / 153;
        let day = since_march - (153 * march + 2) / 5 + 1;
        let month = if march < 10 { march + 3 } else { march - 9 };
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let day_of_year = if month <= 2 { since_march - 305 } else { since_march + 60 + i64::from(is_leap) };
        Self { year, month, day, day_of_year, weekday: (days + 3).rem_euclid(7), second_of_day }
    }
}
