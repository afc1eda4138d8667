//! Event time, windows and clocks.
//!
//! Event time is microseconds since 1970-01-01T00:00:00 UTC; naive input counts as UTC. "Now" is always an
//! argument or comes from a [`Clock`] that the host passes in, so that every run can be repeated.

mod date;

pub(crate) use date::{Date, weekday};

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arrow::array::timezone::Tz;
use arrow::datatypes::{DataType, TimeUnit, TimestampMicrosecondType};
use arrow::temporal_conversions::as_datetime;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// Microseconds since the Unix epoch, UTC. May be negative.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, Default)]
#[serde(transparent)]
pub struct EventTime(i64);

/// Microseconds in one day.
pub const DAY_US: i64 = 86_400_000_000;

impl EventTime {
    /// The epoch.
    pub const EPOCH: Self = Self(0);
    /// Before everything.
    pub const MIN: Self = Self(i64::MIN);
    /// After everything.
    pub const MAX: Self = Self(i64::MAX);

    /// From microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From whole seconds since the epoch, saturating.
    pub const fn from_secs(seconds: i64) -> Self {
        Self(seconds.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// This time moved by `duration`, saturating at the ends of time.
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(micros(duration)))
    }

    /// This time moved back by `duration`, saturating at the ends of time.
    pub fn minus(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(micros(duration)))
    }

    /// How long after `earlier` this is; zero when it is not after.
    pub fn since(self, earlier: Self) -> Duration {
        let span = i128::from(self.0) - i128::from(earlier.0);
        Duration::from_micros(u64::try_from(span.max(0)).unwrap_or(u64::MAX))
    }

    /// The Arrow type of event-time columns: microseconds, UTC.
    pub fn data_type() -> DataType {
        DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into()))
    }

    /// Reads RFC 3339 text, or text without an offset as UTC, or a plain date.
    ///
    /// # Errors
    /// [`Error::InvalidData`] when `text` is none of these.
    pub fn parse(text: &str) -> Result<Self> {
        let utc: Tz = "+00:00".parse()?;
        arrow::compute::kernels::cast_utils::string_to_datetime(&utc, text)
            .map(|time| Self(time.timestamp_micros()))
            .map_err(|e| Error::invalid_data(format!("time `{}`", text.chars().take(64).collect::<String>()), e))
    }
}

/// A duration as microseconds, saturating.
pub(crate) fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl fmt::Display for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match as_datetime::<TimestampMicrosecondType>(self.0) {
            Some(time) => write!(f, "{}Z", time.format("%Y-%m-%dT%H:%M:%S%.6f")),
            None => write!(f, "{}us", self.0),
        }
    }
}

impl fmt::Debug for EventTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Half-open stretch of event time: `[start, end)`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// First instant inside.
    pub start: EventTime,
    /// First instant after.
    pub end: EventTime,
}

impl Window {
    /// The window `[start, end)`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `end` is before `start`.
    pub fn new(start: EventTime, end: EventTime) -> Result<Self> {
        if end < start {
            return Err(Error::invalid(
                "window",
                format!("[{start}, {end})"),
                "a span whose end is not before its start",
            ));
        }
        Ok(Self { start, end })
    }

    /// The window of length `length` that ends (exclusively) at `end`.
    pub fn before(end: EventTime, length: Duration) -> Self {
        Self { start: end.minus(length), end }
    }

    /// All of time but its very last microsecond.
    pub const fn all() -> Self {
        Self { start: EventTime::MIN, end: EventTime::MAX }
    }

    /// Whether `time` lies inside.
    pub fn contains(&self, time: EventTime) -> bool {
        self.start <= time && time < self.end
    }
}

/// Where "now" comes from.
///
/// # Contract
/// * Answers without blocking.
/// * May jump backwards: nothing that must not repeat is derived from it.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// The present, as event time.
    fn now(&self) -> EventTime;
}

/// The operating system's wall clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> EventTime {
        match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => EventTime(micros(after)),
            Err(before) => EventTime(-micros(before.duration())),
        }
    }
}

/// A clock that stands still until it is moved: for tests, simulations and replays.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock that shows `time`.
    pub fn at(time: EventTime) -> Self {
        Self(AtomicI64::new(time.as_micros()))
    }

    /// Shows `time` from now on.
    pub fn set(&self, time: EventTime) {
        self.0.store(time.as_micros(), Ordering::Release);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> EventTime {
        EventTime(self.0.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_with_and_without_an_offset_is_the_same_instant_in_utc() {
        let instant = EventTime::from_secs(1_704_067_200); // 2024-01-01T00:00:00Z, `date -ud @1704067200`
        for text in ["2024-01-01T00:00:00Z", "2024-01-01 00:00:00", "2024-01-01T07:00:00+07:00", "2024-01-01"] {
            assert_eq!(EventTime::parse(text).unwrap(), instant, "{text}");
        }
        assert_eq!(instant.to_string(), "2024-01-01T00:00:00.000000Z");
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        assert_eq!(EventTime::MAX.plus(Duration::MAX), EventTime::MAX);
        assert_eq!(EventTime::MIN.minus(Duration::MAX), EventTime::MIN);
        assert!(EventTime::MAX.since(EventTime::MIN) > Duration::from_secs(1));
        assert!(!EventTime::MIN.to_string().is_empty());
    }

    #[test]
    fn windows_are_half_open() {
        let window = Window::before(EventTime::from_secs(10), Duration::from_secs(5));
        assert!(window.contains(EventTime::from_secs(5)));
        assert!(!window.contains(EventTime::from_secs(10)));
        assert!(Window::new(EventTime::from_secs(2), EventTime::from_secs(1)).is_err());
    }
}
