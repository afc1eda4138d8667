//! Where the stretch of time of an aggregate lies, seen from an instant.

use std::time::Duration;

use mlops_core::EventTime;
use mlops_core::time::DAY_US;
use serde::{Deserialize, Serialize};

use crate::error::{Core, Result};

pub(crate) const HOUR_US: i64 = 3_600_000_000;
pub(crate) const FIVE_MINUTES_US: i64 = 300_000_000;

/// Longest window and farthest offset: far beyond any data, far below an overflow.
const SPAN_US_MAX: i64 = 1 << 61;

/// How the beginning of a window moves with the instant that is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Mode {
    /// `[t − length, t)`, to the microsecond.
    Exact,
    /// Exact at its end; its beginning is rounded down to a whole hop, so that old events can be kept as sums.
    Sawtooth,
    /// The last stretch `[n · length, (n + 1) · length)` since the epoch that is over.
    Tumbling,
    /// Everything before `t`.
    Lifetime,
}

/// A stretch of time that ends at, or some time before, the instant that is asked for.
///
/// Stretches are half-open: an event at the instant itself is not in it, one at its beginning is. All of them are in UTC.
///
/// | mode | stretch at `t`, with an offset of `o` ≤ 0 |
/// |---|---|
/// | exact | `[t + o − length, t + o)` |
/// | sawtooth | `[⌊t + o − length⌋, t + o)`, rounded down to a whole hop |
/// | tumbling | `[e − length, e)` with `e = ⌊t + o⌋`, rounded down to a whole length since the epoch |
/// | lifetime | `(−∞, t + o)` |
///
/// The hop of a sawtooth is a day for lengths from 12 days on, an hour from 12 hours on, else five minutes; so it is too long by
/// less than one hop, which is at most a twelfth of its length.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use mlops_core::EventTime;
/// use mlops_features::window::TimeWindow;
///
/// let hours = |h: u64| Duration::from_secs(h * 3_600);
/// let day = TimeWindow::sawtooth(hours(24));
/// let stretch = day.at(EventTime::parse("2024-05-02T10:20:00Z")?);
/// assert_eq!(stretch.start, EventTime::parse("2024-05-01T10:00:00Z")?);
/// assert_eq!(stretch.end, EventTime::parse("2024-05-02T10:20:00Z")?);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TimeWindow {
    mode: Mode,
    /// Microseconds; 0 for a lifetime.
    #[serde(default, skip_serializing_if = "is_zero")]
    length_us: i64,
    /// Microseconds, not above 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    offset_us: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
fn is_zero(value: &i64) -> bool {
    *value == 0
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl TimeWindow {
    fn new(mode: Mode, length: Duration) -> Self {
        Self { mode, length_us: micros(length), offset_us: 0 }
    }

    /// The last `length` before an instant, to the microsecond. A [`WindowState`](super::WindowState) must hold every
    /// event of it.
    pub fn exact(length: Duration) -> Self {
        Self::new(Mode::Exact, length)
    }

    /// The last `length` before an instant, and up to a hop more. A state holds sums per hop, however many events there are.
    /// At least one hour.
    pub fn sawtooth(length: Duration) -> Self {
        Self::new(Mode::Sawtooth, length)
    }

    /// The last whole `length` that is over, counted from the epoch: of a day, yesterday.
    pub fn tumbling(length: Duration) -> Self {
        Self::new(Mode::Tumbling, length)
    }

    /// Everything before an instant.
    pub fn lifetime() -> Self {
        Self { mode: Mode::Lifetime, length_us: 0, offset_us: 0 }
    }

    /// The same stretch `by` earlier. Default 0.
    pub fn earlier(mut self, by: Duration) -> Self {
        self.offset_us = self.offset_us.saturating_sub(micros(by));
        self
    }

    /// How its beginning moves.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Its length; `None` for a lifetime.
    pub fn length(&self) -> Option<Duration> {
        (self.mode != Mode::Lifetime).then(|| Duration::from_micros(self.length_us.max(0) as u64))
    }

    /// How much before the instant it ends.
    pub fn offset(&self) -> Duration {
        Duration::from_micros(self.offset_us.unsigned_abs())
    }

    /// The hop of a sawtooth: it is too long by less than this.
    pub fn hop(&self) -> Option<Duration> {
        (self.mode == Mode::Sawtooth).then(|| Duration::from_micros(self.hop_us() as u64))
    }

    /// The stretch at `t`. At the ends of time it is cut off.
    pub fn at(&self, t: EventTime) -> mlops_core::Window {
        let (start, end) = self.bounds(t.as_micros());
        mlops_core::Window { start: EventTime::from_micros(start), end: EventTime::from_micros(end) }
    }

    pub(crate) fn length_us(&self) -> i64 {
        self.length_us
    }

    pub(crate) fn hop_us(&self) -> i64 {
        match self.length_us {
            length if length >= 12 * DAY_US => DAY_US,
            length if length >= 12 * HOUR_US => HOUR_US,
            _ => FIVE_MINUTES_US,
        }
    }

    /// Beginning and end at `t`; both grow with `t`, and the beginning is never after the end.
    pub(crate) fn bounds(&self, t: i64) -> (i64, i64) {
        let end = t.saturating_add(self.offset_us);
        match self.mode {
            Mode::Exact => (end.saturating_sub(self.length_us), end),
            Mode::Sawtooth => (round_down(end.saturating_sub(self.length_us), self.hop_us()), end),
            Mode::Tumbling => {
                let end = round_down(end, self.length_us);
                (end.saturating_sub(self.length_us), end)
            }
            Mode::Lifetime => (i64::MIN, end),
        }
    }

    /// Refuses lengths and offsets that make no window.
    pub(crate) fn check(&self) -> Result<()> {
        let lengths = match self.mode {
            Mode::Lifetime => 0..=0,
            Mode::Sawtooth => HOUR_US..=SPAN_US_MAX,
            Mode::Exact | Mode::Tumbling => 1..=SPAN_US_MAX,
        };
        if !lengths.contains(&self.length_us) {
            let domain = match self.mode {
                Mode::Lifetime => "0 for a lifetime",
                Mode::Sawtooth => "at least an hour and at most 2^61 µs for a sawtooth",
                Mode::Exact | Mode::Tumbling => "in 1 to 2^61 µs",
            };
            return Err(Core::invalid("window length", format!("{} µs", self.length_us), domain).into());
        }
        if !(-SPAN_US_MAX..=0).contains(&self.offset_us) {
            return Err(Core::invalid("window offset", format!("{} µs", self.offset_us), "in −2^61 to 0 µs").into());
        }
        Ok(())
    }

    /// What is appended to a name: `_7d`, `_1h_tumbling`, `_7d_ago_1d`; nothing for a plain lifetime.
    pub(crate) fn suffix(&self) -> String {
        let length = match self.mode {
            Mode::Lifetime => String::new(),
            Mode::Exact | Mode::Sawtooth => format!("_{}", span(self.length_us)),
            Mode::Tumbling => format!("_{}_tumbling", span(self.length_us)),
        };
        match self.offset_us {
            0 => length,
            offset => format!("{length}_ago_{}", span(offset.saturating_neg())),
        }
    }
}

/// `us` in the largest unit that divides it.
fn span(us: i64) -> String {
    const UNITS: [(i64, &str); 5] = [(DAY_US, "d"), (HOUR_US, "h"), (60_000_000, "m"), (1_000_000, "s"), (1_000, "ms")];
    match UNITS.iter().find(|(unit, _)| us % unit == 0) {
        Some((unit, word)) => format!("{}{word}", us / unit),
        None => format!("{us}us"),
    }
}

/// The greatest multiple of `step` that is not above `time`; the beginning of time where there is none.
pub(crate) fn round_down(time: i64, step: i64) -> i64 {
    time.saturating_sub(time.rem_euclid(step))
}

#[cfg(test)]
mod tests {
    use super::*;

    const H: i64 = HOUR_US;
    const D: i64 = DAY_US;

    fn hours(hours: i64) -> Duration {
        Duration::from_micros((hours * H) as u64)
    }

    #[test]
    fn stretches_are_those_of_the_table() {
        let t = 100 * D + 10 * H + 7;
        assert_eq!(TimeWindow::exact(hours(1)).bounds(t), (t - H, t));
        assert_eq!(TimeWindow::sawtooth(hours(1)).bounds(t), (100 * D + 9 * H, t));
        assert_eq!(TimeWindow::sawtooth(hours(7 * 24)).bounds(t), (93 * D + 10 * H, t));
        assert_eq!(TimeWindow::sawtooth(hours(30 * 24)).bounds(t), (70 * D, t));
        assert_eq!(TimeWindow::tumbling(hours(24)).bounds(t), (99 * D, 100 * D));
        assert_eq!(TimeWindow::lifetime().bounds(t), (i64::MIN, t));
        assert_eq!(TimeWindow::exact(hours(1)).earlier(hours(2)).bounds(t), (t - 3 * H, t - 2 * H));
    }

    #[test]
    fn before_the_epoch_hops_still_round_down() {
        assert_eq!(TimeWindow::sawtooth(hours(24)).bounds(-1), (-25 * H, -1));
        assert_eq!(TimeWindow::tumbling(hours(24)).bounds(-1), (-2 * D, -D));
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let windows = [
            TimeWindow::exact(hours(1)),
            TimeWindow::sawtooth(hours(13)),
            TimeWindow::tumbling(hours(24)),
            TimeWindow::lifetime(),
        ];
        for window in windows {
            for t in [i64::MIN, i64::MIN + 1, i64::MAX] {
                let (start, end) = window.earlier(hours(1)).bounds(t);
                assert!(start <= end, "{window:?} {t}");
            }
        }
    }

    #[test]
    fn a_sawtooth_is_too_long_by_less_than_its_hop_and_at_most_a_twelfth() {
        for length in [hours(1), hours(11), hours(12), hours(287), hours(288), hours(4000)] {
            let window = TimeWindow::sawtooth(length);
            let hop = window.hop().unwrap();
            assert!(hop * 12 <= length);
            for t in [0, 1, H - 1, 17 * D + 12_345] {
                let (start, end) = window.bounds(t);
                let over = (end - start) - micros(length);
                assert!((0..micros(hop)).contains(&over), "{length:?} {t} {over}");
            }
        }
    }

    #[test]
    fn names_say_length_kind_and_offset() {
        let name = |window: TimeWindow| window.suffix();
        assert_eq!(name(TimeWindow::exact(hours(24))), "_1d");
        assert_eq!(name(TimeWindow::sawtooth(hours(36))), "_36h");
        assert_eq!(name(TimeWindow::exact(Duration::from_micros(1_500))), "_1500us");
        assert_eq!(name(TimeWindow::tumbling(hours(1)).earlier(hours(24))), "_1h_tumbling_ago_1d");
        assert_eq!(name(TimeWindow::lifetime()), "");
    }
}
