//! One window is an accident, several are a change.

use serde::{Deserialize, Serialize};

use super::Verdict;
use crate::{Error, Result};

/// A column has drifted when it had in at least `hits_min` of its last `windows` windows.
///
/// # Examples
/// ```
/// use mlops_core::stats::drift::{Persistence, Verdict::{Drifted, Inconclusive, Stable}};
///
/// let two_of_three = Persistence::new(2, 3)?;
/// assert_eq!(two_of_three.judge([Stable, Stable, Drifted]).verdict, Stable);
/// assert_eq!(two_of_three.judge([Drifted, Stable, Inconclusive, Drifted]).verdict, Drifted);
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct Persistence {
    hits_min: usize,
    windows: usize,
}

/// What [`Persistence::judge`] concludes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Persisted {
    /// The conclusion over the last windows; [`Verdict::Inconclusive`] when the newest window is.
    pub verdict: Verdict,
    /// Windows in which the column had drifted, among those looked at.
    pub hits: usize,
    /// Windows looked at: the last that were not inconclusive.
    pub windows: usize,
}

const WINDOWS_MAX: usize = 1_000;

impl Default for Persistence {
    /// 2 of 3.
    fn default() -> Self {
        Self { hits_min: 2, windows: 3 }
    }
}

impl Persistence {
    /// At least `hits_min` of the last `windows`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when not `1 ≤ hits_min ≤ windows ≤ 1000`.
    pub fn new(hits_min: usize, windows: usize) -> Result<Self> {
        if !(1..=WINDOWS_MAX).contains(&windows) {
            return Err(Error::invalid("windows of persistence", windows, "in 1..=1000"));
        }
        if !(1..=windows).contains(&hits_min) {
            return Err(Error::invalid("hits of persistence", hits_min, "at least 1 and at most the windows"));
        }
        Ok(Self { hits_min, windows })
    }

    /// Windows that must have drifted.
    pub fn hits_min(&self) -> usize {
        self.hits_min
    }

    /// Windows that are looked at.
    pub fn windows(&self) -> usize {
        self.windows
    }

    /// The conclusion from the verdicts on single windows, oldest first and the newest last.
    ///
    /// Windows without a verdict are passed over, so that a quiet night neither raises an alarm nor calls one off. While there are
    /// fewer windows than asked for, the missing ones count as not drifted; without any, the answer is [`Verdict::Inconclusive`].
    pub fn judge(&self, verdicts: impl IntoIterator<Item = Verdict, IntoIter: DoubleEndedIterator>) -> Persisted {
        let mut newest_first = verdicts.into_iter().rev().peekable();
        let is_known = newest_first.peek().is_some_and(|verdict| *verdict != Verdict::Inconclusive);
        let looked_at = newest_first.filter(|verdict| *verdict != Verdict::Inconclusive).take(self.windows);
        let (hits, windows) = looked_at
            .fold((0, 0), |(hits, windows), verdict| (hits + usize::from(verdict == Verdict::Drifted), windows + 1));
        let verdict = if !is_known {
            Verdict::Inconclusive
        } else if hits >= self.hits_min {
            Verdict::Drifted
        } else {
            Verdict::Stable
        };
        Persisted { verdict, hits, windows }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    hits_min: usize,
    windows: usize,
}

impl From<Persistence> for Wire {
    fn from(persistence: Persistence) -> Self {
        Self { hits_min: persistence.hits_min, windows: persistence.windows }
    }
}

impl TryFrom<Wire> for Persistence {
    type Error = Error;

    fn try_from(wire: Wire) -> Result<Self> {
        Self::new(wire.hits_min, wire.windows)
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Drifted, Inconclusive, Stable};
    use super::*;

    #[track_caller]
    fn check(verdicts: &[Verdict], verdict: Verdict, hits: usize, windows: usize) {
        let found = Persistence::default().judge(verdicts.iter().copied());
        assert_eq!(found, Persisted { verdict, hits, windows });
    }

    #[test]
    fn one_window_alone_is_not_a_change() {
        check(&[Drifted], Stable, 1, 1);
        check(&[Stable, Drifted, Stable], Stable, 1, 3);
        check(&[Drifted, Stable, Stable, Drifted], Stable, 1, 3);
    }

    #[test]
    fn two_of_the_last_three_are_one_also_while_the_newest_is_calm() {
        check(&[Drifted, Drifted], Drifted, 2, 2);
        check(&[Drifted, Drifted, Stable], Drifted, 2, 3);
    }

    #[test]
    fn windows_without_a_verdict_are_passed_over() {
        check(&[Drifted, Inconclusive, Inconclusive, Drifted], Drifted, 2, 2);
        check(&[Drifted, Drifted, Inconclusive], Inconclusive, 2, 2);
        check(&[], Inconclusive, 0, 0);
    }

    #[test]
    fn impossible_settings_are_refused_also_when_read() {
        for (hits, windows) in [(0, 3), (4, 3), (1, 0), (1, 1_001)] {
            assert!(Persistence::new(hits, windows).is_err(), "{hits} of {windows}");
        }
        assert!(serde_json::from_str::<Persistence>("{\"hits_min\":4,\"windows\":3}").is_err());
        let json = serde_json::to_string(&Persistence::default()).unwrap();
        assert_eq!(serde_json::from_str::<Persistence>(&json).unwrap(), Persistence::default());
    }
}
