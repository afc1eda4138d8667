//! How often new content is expected of a data set, and whether it came.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::time::{EventTime, micros};
use crate::{Error, Result};

/// A promise: new content comes at least this often.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use mlops_core::EventTime;
/// use mlops_core::catalog::{Freshness, Refresh};
///
/// let hour = Duration::from_hours(1);
/// let daily = Refresh::every(24 * hour)?.with_grace(2 * hour);
/// let updated = EventTime::EPOCH;
/// assert!(matches!(daily.judge(updated, updated.plus(26 * hour)), Freshness::Fresh { .. }));
/// let late = daily.judge(updated, updated.plus(30 * hour));
/// assert_eq!(late, Freshness::Late { age_us: 108_000_000_000, overdue_us: 14_400_000_000 });
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Refresh {
    every_us: u64,
    grace_us: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    every_us: u64,
    grace_us: u64,
}

impl TryFrom<Unchecked> for Refresh {
    type Error = Error;

    fn try_from(unchecked: Unchecked) -> Result<Self> {
        let every = Self::every(Duration::from_micros(unchecked.every_us))?;
        Ok(every.with_grace(Duration::from_micros(unchecked.grace_us)))
    }
}

/// Whether content came in time.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Freshness {
    /// Nothing was promised.
    Unknown,
    /// It came in time: the next is not due yet, or due just now.
    Fresh {
        /// Age of the content in microseconds.
        age_us: u64,
    },
    /// It did not.
    Late {
        /// Age of the content in microseconds.
        age_us: u64,
        /// Microseconds since it was due, grace included.
        overdue_us: u64,
    },
    /// The content says that it comes from the future: a clock is wrong, so nobody can tell.
    Ahead {
        /// By so many microseconds.
        by_us: u64,
    },
}

impl Refresh {
    /// New content at least once in `period`, counted in whole microseconds, without grace.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the period is shorter than a microsecond, or longer than event time reaches.
    pub fn every(period: Duration) -> Result<Self> {
        match u64::try_from(period.as_micros()) {
            Ok(every_us) if (1..=i64::MAX as u64).contains(&every_us) => Ok(Self { every_us, grace_us: 0 }),
            _ => Err(Error::invalid("period", format_args!("{period:?}"), "from 1 µs to the span of event time")),
        }
    }

    /// With so much more time before content counts as late. Default none; more than event time reaches is cut.
    pub fn with_grace(mut self, grace: Duration) -> Self {
        self.grace_us = u64::try_from(micros(grace)).unwrap_or(0);
        self
    }

    /// The promised period.
    pub fn period(&self) -> Duration {
        Duration::from_micros(self.every_us)
    }

    /// The time that content may be late.
    pub fn grace(&self) -> Duration {
        Duration::from_micros(self.grace_us)
    }

    /// Whether content of `updated` is in time at `now`; both ends of the period belong to it.
    pub fn judge(&self, updated: EventTime, now: EventTime) -> Freshness {
        let span = |later: EventTime, earlier| u64::try_from(later.since(earlier).as_micros()).unwrap_or(u64::MAX);
        if updated > now {
            return Freshness::Ahead { by_us: span(updated, now) };
        }
        let age_us = span(now, updated);
        match age_us.saturating_sub(self.every_us.saturating_add(self.grace_us)) {
            0 => Freshness::Fresh { age_us },
            overdue_us => Freshness::Late { age_us, overdue_us },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_microsecond_of_the_period_is_in_time() {
        let refresh = Refresh::every(Duration::from_micros(10)).unwrap().with_grace(Duration::from_micros(2));
        let judge = |now| refresh.judge(EventTime::from_micros(100), EventTime::from_micros(now));
        assert_eq!(judge(100), Freshness::Fresh { age_us: 0 });
        assert_eq!(judge(112), Freshness::Fresh { age_us: 12 });
        assert_eq!(judge(113), Freshness::Late { age_us: 13, overdue_us: 1 });
        assert_eq!(judge(99), Freshness::Ahead { by_us: 1 });
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let longest = Refresh::every(Duration::from_micros(i64::MAX as u64)).unwrap().with_grace(Duration::MAX);
        assert_eq!(longest.grace(), Duration::from_micros(i64::MAX as u64));
        assert!(matches!(longest.judge(EventTime::MIN, EventTime::MAX), Freshness::Late { overdue_us: 1, .. }));
        for period in [Duration::ZERO, Duration::from_nanos(999), Duration::MAX] {
            assert!(matches!(Refresh::every(period), Err(Error::Invalid { .. })), "{period:?}");
        }
        assert!(serde_json::from_str::<Refresh>(r#"{"every_us":0,"grace_us":0}"#).is_err());
        let text = serde_json::to_string(&longest).unwrap();
        assert_eq!(serde_json::from_str::<Refresh>(&text).unwrap(), longest);
    }
}
