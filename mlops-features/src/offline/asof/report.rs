//! What became of the entity rows of a join.

use std::fmt;
use std::time::Duration;

use mlops_core::Name;
use serde::{Deserialize, Serialize};

use super::ages::Ages;
use super::options::Room;
use crate::error::Result;

/// What became of the entity rows at one view. `matched`, `expired`, `future_only`, `unknown_key` and `null_key` sum to
/// `rows`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JoinReport {
    /// The view, or its alias.
    pub view: Name,
    /// Entity rows.
    pub rows: u64,
    /// Those that got a feature row.
    pub matched: u64,
    /// Those whose latest feature row was older than the ttl.
    pub expired: u64,
    /// Those whose key has feature rows, but none at or before their instant (or, with `as_known`, none known by then).
    pub future_only: u64,
    /// Those whose key has no feature row at all.
    pub unknown_key: u64,
    /// Those with a null in their key.
    pub null_key: u64,
    /// Those whose latest valid feature row, by event time, was created only after their instant: a model trained on it
    /// would know what nobody knew. Without `as_known` they got it all the same; with it they got an older one or none.
    pub leaked: u64,
    /// Age of the feature rows that were chosen; `None` when none was.
    pub age: Option<AgeQuantiles>,
    /// Rows of the view's history.
    pub history_rows: u64,
    /// Those of them with a null in their key, which never match.
    pub history_null_keys: u64,
}

impl fmt::Display for JoinReport {
    /// One line for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = if self.rows == 0 { 0.0 } else { self.matched as f64 / self.rows as f64 * 100.0 };
        write!(f, "{}: {} of {} rows matched ({share:.1} %)", self.view, self.matched, self.rows)?;
        let others = [
            (self.expired, "expired"),
            (self.future_only, "only later rows"),
            (self.unknown_key, "unknown key"),
            (self.null_key, "null key"),
            (self.leaked, "would have leaked"),
        ];
        for (count, what) in others.iter().filter(|(count, _)| *count > 0) {
            write!(f, ", {count} {what}")?;
        }
        if let Some(age) = &self.age {
            let times = [age.min_us, age.p50_us, age.p90_us, age.p99_us, age.max_us].map(Duration::from_micros);
            let [min, p50, p90, p99, max] = times;
            write!(f, "; age {min:?} to {max:?}, median {p50:?}, 90 % {p90:?}, 99 % {p99:?}")?;
        }
        write!(f, "; {} rows of history", self.history_rows)?;
        if self.history_null_keys > 0 {
            write!(f, ", {} with a null key", self.history_null_keys)?;
        }
        Ok(())
    }
}

/// Time from event to entity row, in microseconds: exact order statistics (nearest rank).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgeQuantiles {
    /// Least.
    pub min_us: u64,
    /// Median.
    pub p50_us: u64,
    /// 90th percentile.
    pub p90_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// Greatest.
    pub max_us: u64,
}

/// A report in the making.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) expired: u64,
    pub(crate) future_only: u64,
    pub(crate) unknown_key: u64,
    pub(crate) null_key: u64,
    pub(crate) leaked: u64,
    /// One per match.
    pub(crate) ages: Ages,
    pub(crate) history_rows: u64,
    pub(crate) history_null_keys: u64,
}

impl Tally {
    pub(crate) fn new(room: &Room) -> Self {
        Self {
            expired: 0,
            future_only: 0,
            unknown_key: 0,
            null_key: 0,
            leaked: 0,
            ages: Ages::new(room),
            history_rows: 0,
            history_null_keys: 0,
        }
    }

    pub(crate) fn finish(self, view: &Name) -> Result<JoinReport> {
        let matched = self.ages.count();
        Ok(JoinReport {
            view: view.clone(),
            rows: matched + self.expired + self.future_only + self.unknown_key + self.null_key,
            matched,
            expired: self.expired,
            future_only: self.future_only,
            unknown_key: self.unknown_key,
            null_key: self.null_key,
            leaked: self.leaked,
            age: self.ages.quantiles()?,
            history_rows: self.history_rows,
            history_null_keys: self.history_null_keys,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_a_line_for_people_and_json_for_machines() {
        let age =
            AgeQuantiles { min_us: 0, p50_us: 1_500_000, p90_us: 2_000_000, p99_us: 60_000_000, max_us: 3_600_000_000 };
        let report = JoinReport {
            view: Name::new("clicks").unwrap(),
            rows: 8,
            matched: 5,
            expired: 1,
            future_only: 0,
            unknown_key: 2,
            null_key: 0,
            leaked: 3,
            age: Some(age),
            history_rows: 9,
            history_null_keys: 1,
        };
        assert_eq!(
            report.to_string(),
            "clicks: 5 of 8 rows matched (62.5 %), 1 expired, 2 unknown key, 3 would have leaked; age 0ns to 3600s, \
             median 1.5s, 90 % 2s, 99 % 60s; 9 rows of history, 1 with a null key"
        );
        let text = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<JoinReport>(&text).unwrap(), report);
    }
}
