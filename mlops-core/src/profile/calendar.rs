//! When in the week times lie.

use serde::{Deserialize, Serialize};

use crate::stats::bytes::{Reader, Writer};
use crate::{Error, Result};

const HOURS: usize = 7 * 24;
const HOUR_US: i64 = 3_600_000_000;
/// The epoch was a Thursday, three days into the week.
const EPOCH_HOUR: i64 = 3 * 24;

/// How many times lie in each hour of the week, in UTC; merging is exact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u64>", into = "Vec<u64>")]
pub struct WeekHours {
    counts: Box<[u64; HOURS]>,
}

impl Default for WeekHours {
    fn default() -> Self {
        Self { counts: Box::new([0; HOURS]) }
    }
}

impl WeekHours {
    /// Adds times in µs since the epoch.
    pub(crate) fn update(&mut self, micros: &[f64]) {
        for &micros in micros {
            let hour = ((micros as i64).div_euclid(HOUR_US) + EPOCH_HOUR).rem_euclid(HOURS as i64);
            self.counts[hour as usize] += 1;
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.counts.iter_mut().zip(&*other.counts) {
            *mine += theirs;
        }
    }

    /// Counts by hour of the week, from Monday 00:00 UTC on: 168 of them.
    pub fn hours_of_week(&self) -> &[u64] {
        &*self.counts
    }

    /// Counts by day, Monday first.
    pub fn weekdays(&self) -> [u64; 7] {
        std::array::from_fn(|day| self.counts[day * 24..(day + 1) * 24].iter().sum())
    }

    /// Counts by hour of the day, in UTC.
    pub fn hours(&self) -> [u64; 24] {
        std::array::from_fn(|hour| self.counts.iter().skip(hour).step_by(24).sum())
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        self.counts.iter().for_each(|&count| out.u64(count));
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self> {
        (0..HOURS).map(|_| from.u64()).collect::<Result<Vec<u64>>>()?.try_into()
    }

    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().fold(0, |sum, &count| sum.saturating_add(count))
    }
}

impl From<WeekHours> for Vec<u64> {
    fn from(hours: WeekHours) -> Self {
        hours.counts.to_vec()
    }
}

impl TryFrom<Vec<u64>> for WeekHours {
    type Error = Error;

    fn try_from(counts: Vec<u64>) -> Result<Self> {
        let counts = counts.into_boxed_slice().try_into();
        counts.map(|counts| Self { counts }).map_err(|_| Error::corrupt("hours of the week", "168 counts expected"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_and_hours_are_those_of_the_calendar() {
        let mut hours = WeekHours::default();
        // 2024-02-29T13:30Z was a Thursday; the epoch was one, too; a second before it was Wednesday 23:59:59.
        hours.update(&[1_709_213_400e6, 0.0, -1e6]);
        assert_eq!(hours.weekdays(), [0, 0, 1, 2, 0, 0, 0]);
        let by_hour = hours.hours();
        assert_eq!((by_hour[13], by_hour[0], by_hour[23], hours.total()), (1, 1, 1, 3));
        hours.merge(&hours.clone());
        assert_eq!(hours.weekdays()[3], 4);
        assert!(serde_json::from_str::<WeekHours>("[1,2]").is_err());
    }
}
