//! Tumbling windows of event time: which are open, which are due, which are gone.

use std::collections::BTreeMap;
use std::time::Duration;

use mlops_core::{Error, EventTime, Result, Window};
use serde::{Deserialize, Serialize};

/// Windows that may be held at once.
const WINDOWS_MAX: u128 = 10_000;

/// How event time is cut, and how long windows stay open.
///
/// Windows are half-open and aligned to the epoch: `[k · width, (k + 1) · width)`. With "now" the greatest time that was
/// ever passed in:
/// * a window is **due** when `end + lateness ≤ now`; it is given out then, once;
/// * a row that still comes for it **re-opens** it: it is given out again, with a higher revision;
/// * it is **gone** when `end + retention ≤ now`: rows for it are late, counted and left out. What it holds and nobody was
///   given waits for the host to ask, until the windows held are as many as the rule allows: the oldest is dropped and
///   counted then;
/// * a row later than `now + ahead` is counted and left out, so that one wrong clock does not fill the memory.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use mlops_monitor::WindowRule;
///
/// let hourly = WindowRule::builder(Duration::from_hours(1)).retention(Duration::from_hours(48)).build()?;
/// assert!(WindowRule::builder(Duration::ZERO).build().is_err());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "WindowRuleBuilder", into = "WindowRuleBuilder")]
pub struct WindowRule {
    width: Duration,
    lateness: Duration,
    retention: Duration,
    ahead: Duration,
}

/// Builder of [`WindowRule`], and its form in files.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowRuleBuilder {
    width: Duration,
    #[serde(default)]
    lateness: Option<Duration>,
    #[serde(default)]
    retention: Option<Duration>,
    #[serde(default)]
    ahead: Option<Duration>,
}

impl WindowRuleBuilder {
    /// How long after its end a window is due. Default: nothing.
    pub fn lateness(mut self, lateness: Duration) -> Self {
        self.lateness = Some(lateness);
        self
    }

    /// How long after its end a window can still be re-opened. Default: 24 widths.
    pub fn retention(mut self, retention: Duration) -> Self {
        self.retention = Some(retention);
        self
    }

    /// How far ahead of now a row may lie. Default 1 minute.
    pub fn ahead(mut self, ahead: Duration) -> Self {
        self.ahead = Some(ahead);
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the width is below 1 ms, the retention below the lateness, or more than 10 000 windows would be held.
    pub fn build(self) -> Result<WindowRule> {
        let rule = WindowRule {
            width: self.width,
            lateness: self.lateness.unwrap_or_default(),
            retention: self.retention.unwrap_or(self.width.saturating_mul(24)),
            ahead: self.ahead.unwrap_or(Duration::from_mins(1)),
        };
        let width = rule.width.as_micros();
        if width < 1_000 || i64::try_from(width).is_err() {
            return Err(Error::invalid("window width", format!("{:?}", rule.width), "at least 1 ms"));
        }
        if rule.retention < rule.lateness {
            return Err(Error::invalid("retention", format!("{:?}", rule.retention), "at least the lateness"));
        }
        let windows = rule.windows_max();
        if windows > WINDOWS_MAX {
            return Err(Error::invalid("retention in widths", windows, "at most 10000 windows"));
        }
        Ok(rule)
    }
}

impl TryFrom<WindowRuleBuilder> for WindowRule {
    type Error = Error;

    fn try_from(builder: WindowRuleBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<WindowRule> for WindowRuleBuilder {
    fn from(rule: WindowRule) -> Self {
        let WindowRule { width, lateness, retention, ahead } = rule;
        Self { width, lateness: Some(lateness), retention: Some(retention), ahead: Some(ahead) }
    }
}

impl WindowRule {
    /// Windows of `width`.
    pub fn builder(width: Duration) -> WindowRuleBuilder {
        WindowRuleBuilder { width, lateness: None, retention: None, ahead: None }
    }

    /// Length of a window.
    pub fn width(&self) -> Duration {
        self.width
    }

    /// Windows that are held at most.
    fn windows_max(&self) -> u128 {
        let width = self.width.as_micros();
        self.retention.as_micros() / width + self.ahead.as_micros() / width + 2
    }

    /// The window that holds `at`.
    pub fn window_of(&self, at: EventTime) -> Window {
        let width = i64::try_from(self.width.as_micros()).unwrap_or(i64::MAX);
        // Saturates in the first and the last window of all time.
        let start = at.as_micros().div_euclid(width).saturating_mul(width);
        let start = EventTime::from_micros(start);
        Window { start, end: start.plus(self.width) }
    }
}

/// Rows that no window took, and windows that nobody was given.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowCounters {
    /// Rows whose window is gone.
    pub late: u64,
    /// Rows too far ahead of now.
    pub future: u64,
    /// Rows without a readable event time, or whatever else the window needs.
    pub malformed: u64,
    /// Windows that were gone, and dropped before the host asked for them.
    pub lost_windows: u64,
}

/// State per window.
#[derive(Debug, Clone)]
pub(crate) struct Tumbling<T> {
    rule: WindowRule,
    now: EventTime,
    slots: BTreeMap<EventTime, Slot<T>>,
    pub(crate) counters: WindowCounters,
}

#[derive(Debug, Clone)]
struct Slot<T> {
    window: Window,
    state: T,
    /// Times it was given out.
    revision: u32,
    changed: bool,
}

impl<T> Tumbling<T> {
    pub(crate) fn new(rule: WindowRule) -> Self {
        Self { rule, now: EventTime::MIN, slots: BTreeMap::new(), counters: WindowCounters::default() }
    }

    /// Notes the present; windows that are gone are dropped, those last that still have something to give out.
    pub(crate) fn observe_now(&mut self, now: EventTime) {
        self.now = self.now.max(now);
        self.slots.retain(|_, slot| slot.changed || slot.window.end.plus(self.rule.retention) > self.now);
        self.make_room();
    }

    /// Keeps the memory bounded where the host never asks.
    fn make_room(&mut self) {
        while self.slots.len() as u128 > self.rule.windows_max() {
            self.slots.pop_first();
            self.counters.lost_windows += 1;
        }
    }

    /// The window of a row at `at`, unless `count` rows at that time are late or too far ahead.
    pub(crate) fn admit(&mut self, at: EventTime, count: u64) -> Option<Window> {
        let window = self.rule.window_of(at);
        if at > self.now.plus(self.rule.ahead) {
            self.counters.future += count;
            None
        } else if window.end.plus(self.rule.retention) <= self.now {
            self.counters.late += count;
            None
        } else {
            Some(window)
        }
    }

    /// State of `window`, which was admitted, to be changed.
    pub(crate) fn change(&mut self, window: Window, make: impl FnOnce() -> T) -> &mut T {
        let fresh = || Slot { window, state: make(), revision: 0, changed: true };
        let slot = self.slots.entry(window.start).or_insert_with(fresh);
        slot.changed = true;
        &mut slot.state
    }

    /// Takes note that all due windows that changed are given out now.
    pub(crate) fn due<R>(&mut self, mut give: impl FnMut(Window, u32, &T) -> R) -> Vec<R> {
        let (now, lateness, retention) = (self.now, self.rule.lateness, self.rule.retention);
        let mut given = Vec::new();
        for slot in self.slots.values_mut() {
            if slot.changed && slot.window.end.plus(lateness) <= now {
                slot.changed = false;
                given.push(give(slot.window, slot.revision, &slot.state));
                slot.revision = slot.revision.saturating_add(1);
            }
        }
        self.slots.retain(|_, slot| slot.changed || slot.window.end.plus(retention) > now);
        given
    }

    /// All windows, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Window, u32, &T)> {
        self.slots.values().map(|slot| (slot.window, slot.revision, &slot.state))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(s: i64) -> EventTime {
        EventTime::from_secs(s)
    }

    fn windows() -> Tumbling<u32> {
        let rule = WindowRule::builder(Duration::from_secs(10))
            .lateness(Duration::from_secs(5))
            .retention(Duration::from_secs(20))
            .build()
            .unwrap();
        Tumbling::new(rule)
    }

    fn put(windows: &mut Tumbling<u32>, at: i64) -> bool {
        let window = windows.admit(seconds(at), 1);
        window.map(|window| *windows.change(window, || 0) += 1).is_some()
    }

    fn due(windows: &mut Tumbling<u32>) -> Vec<(i64, u32, u32)> {
        windows.due(|window, revision, count| (window.start.as_micros() / 1_000_000, revision, *count))
    }

    #[test]
    fn a_window_is_given_out_once_and_again_when_a_late_row_comes() {
        let mut windows = windows();
        windows.observe_now(seconds(14));
        assert!(put(&mut windows, 9) && put(&mut windows, 10));
        assert_eq!(due(&mut windows), []);
        windows.observe_now(seconds(15));
        assert_eq!(due(&mut windows), [(0, 0, 1)]);
        assert_eq!(due(&mut windows), []);
        assert!(put(&mut windows, 3));
        assert_eq!(due(&mut windows), [(0, 1, 2)]);
    }

    #[test]
    fn rows_of_windows_that_are_gone_are_late() {
        let mut windows = windows();
        windows.observe_now(seconds(29));
        assert!(put(&mut windows, 0));
        windows.observe_now(seconds(30));
        assert!(!put(&mut windows, 0));
        assert_eq!((windows.counters.late, windows.iter().count()), (1, 1));
        assert_eq!(due(&mut windows), [(0, 0, 1)], "what nobody was given is still given out");
        assert_eq!((windows.counters.lost_windows, windows.iter().count()), (0, 0));
    }

    #[test]
    fn a_host_that_never_asks_loses_the_oldest_windows_and_is_told() {
        let mut windows = windows();
        // Retention 2 widths, ahead 6 widths: 10 windows at most.
        for at in 0..25 {
            windows.observe_now(seconds(10 * at));
            assert!(put(&mut windows, 10 * at));
        }
        windows.observe_now(seconds(240));
        assert_eq!((windows.counters.lost_windows, windows.iter().count()), (15, 10));
        windows.observe_now(seconds(1_000_000));
        assert_eq!(due(&mut windows).len(), 10, "a jump of the clock loses nothing");
        assert_eq!(windows.counters.lost_windows, 15);
    }

    #[test]
    fn a_wrong_clock_fills_nothing() {
        let mut windows = windows();
        windows.observe_now(seconds(0));
        for at in [61, 1_000_000, i64::MAX] {
            assert!(!put(&mut windows, at), "{at}");
        }
        assert!(put(&mut windows, 60));
        assert_eq!(windows.counters.future, 3);
        windows.observe_now(EventTime::MIN);
        assert_eq!(windows.now, seconds(0), "the present does not go back");
    }

    #[test]
    fn the_ends_of_time_have_windows() {
        let rule = WindowRule::builder(Duration::from_hours(1)).build().unwrap();
        for at in [EventTime::MIN, EventTime::MAX, EventTime::EPOCH, EventTime::from_micros(-1)] {
            let window = rule.window_of(at);
            assert!(window.start <= at && at <= window.end, "{at} in {window:?}");
        }
    }
}
