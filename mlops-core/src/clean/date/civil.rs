//! Days and hours of an instant.

use crate::time::{DAY_US, Date, weekday};

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
    pub(super) fn of(micros: i64, offset: i64) -> Self {
        let local = i128::from(micros) + i128::from(offset);
        let days = local.div_euclid(i128::from(DAY_US)) as i64;
        let second_of_day = (local.rem_euclid(i128::from(DAY_US)) / 1_000_000) as i64;
        let date = Date::of_days(days);
        let Date { year, month, day } = date;
        Self { year, month, day, day_of_year: date.day_of_year(), weekday: weekday(days), second_of_day }
    }
}
