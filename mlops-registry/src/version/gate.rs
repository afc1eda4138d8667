//! Gates: what a version must show before an alias moves to it.

use std::collections::BTreeMap;

use mlops_core::Name;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// One demand on the metrics of a candidate.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Rule {
    /// The metric is at least `bound`.
    AtLeast {
        /// Which metric.
        metric: String,
        /// The least that passes.
        bound: f64,
    },
    /// The metric is at most `bound`.
    AtMost {
        /// Which metric.
        metric: String,
        /// The most that passes.
        bound: f64,
    },
    /// The metric, of which more is better, is at least that of the champion less `tolerance`. Passes without a champion.
    NotLower {
        /// Which metric.
        metric: String,
        /// How much worse still passes, in the metric's unit.
        tolerance: f64,
    },
    /// The metric, of which less is better, is at most that of the champion plus `tolerance`. Passes without a champion.
    NotHigher {
        /// Which metric.
        metric: String,
        /// How much worse still passes, in the metric's unit.
        tolerance: f64,
    },
}

impl Rule {
    fn metric(&self) -> &str {
        match self {
            Self::AtLeast { metric, .. }
            | Self::AtMost { metric, .. }
            | Self::NotLower { metric, .. }
            | Self::NotHigher { metric, .. } => metric,
        }
    }

    fn number(&self) -> f64 {
        match self {
            Self::AtLeast { bound, .. } | Self::AtMost { bound, .. } => *bound,
            Self::NotLower { tolerance, .. } | Self::NotHigher { tolerance, .. } => *tolerance,
        }
    }
}

/// A named demand of one stakeholder.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Demand {
    name: Name,
    rule: Rule,
}

/// Demands that must all hold before an alias moves.
///
/// A metric that is missing or NaN on the candidate fails its demand; one that is missing on the champion is as if
/// there were no champion.
///
/// # Examples
/// ```
/// use mlops_registry::version::{Gate, Rule};
///
/// let gate = Gate::new()
///     .demand("quality", Rule::NotLower { metric: "ndcg_at_10".into(), tolerance: 0.002 })?
///     .demand("latency", Rule::AtMost { metric: "p99_us".into(), bound: 5_000.0 })?;
/// let candidate = [("ndcg_at_10".to_owned(), 0.61), ("p99_us".to_owned(), 900.0)].into();
/// assert!(gate.judge(&candidate, None).passed());
/// # Ok::<(), mlops_registry::Error>(())
/// ```
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gate {
    demands: Vec<Demand>,
}

/// How one demand came out.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateFinding {
    /// The demand.
    pub demand: Name,
    /// What it asks.
    pub rule: Rule,
    /// The candidate's value; `None` when it has none.
    pub candidate: Option<f64>,
    /// The champion's value; `None` without a champion or when it has none.
    pub champion: Option<f64>,
    /// Whether it holds.
    pub passed: bool,
}

/// How all demands came out.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judgement {
    /// One finding per demand, in order.
    pub findings: Vec<GateFinding>,
}

impl Judgement {
    /// Whether every demand holds.
    pub fn passed(&self) -> bool {
        self.findings.iter().all(|f| f.passed)
    }
}

impl Gate {
    /// A gate without demands: everything passes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a demand.
    ///
    /// # Errors
    /// [`Invalid`](mlops_core::Error::Invalid) for a bad name or a bound that is not finite,
    /// [`AlreadyExists`](mlops_core::Error::AlreadyExists) when the name is taken.
    pub fn demand(mut self, name: &str, rule: Rule) -> Result<Self> {
        let name = Name::new(name)?;
        if !rule.number().is_finite() {
            return Err(Error::invalid("bound", rule.number(), "a finite number"));
        }
        if self.demands.iter().any(|d| d.name == name) {
            return Err(mlops_core::Error::AlreadyExists { kind: "demand", name: name.to_string() }.into());
        }
        self.demands.push(Demand { name, rule });
        Ok(self)
    }

    /// Judges a candidate's metrics, beside those of the champion where there is one.
    pub fn judge(&self, candidate: &BTreeMap<String, f64>, champion: Option<&BTreeMap<String, f64>>) -> Judgement {
        let known = |metrics: &BTreeMap<String, f64>, key: &str| metrics.get(key).copied().filter(|v| !v.is_nan());
        let finding = |demand: &Demand| {
            let ours = known(candidate, demand.rule.metric());
            let theirs = champion.and_then(|m| known(m, demand.rule.metric()));
            let passed = ours.is_some_and(|ours| match &demand.rule {
                Rule::AtLeast { bound, .. } => ours >= *bound,
                Rule::AtMost { bound, .. } => ours <= *bound,
                Rule::NotLower { tolerance, .. } => theirs.is_none_or(|theirs| ours >= theirs - tolerance),
                Rule::NotHigher { tolerance, .. } => theirs.is_none_or(|theirs| ours <= theirs + tolerance),
            });
            GateFinding {
                demand: demand.name.clone(),
                rule: demand.rule.clone(),
                candidate: ours,
                champion: theirs,
                passed,
            }
        };
        Judgement { findings: self.demands.iter().map(finding).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(pairs: &[(&str, f64)]) -> BTreeMap<String, f64> {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), *v)).collect()
    }

    #[test]
    fn a_missing_or_nan_metric_fails_its_demand() {
        let gate = Gate::new().demand("auc", Rule::AtLeast { metric: "auc".into(), bound: 0.5 }).unwrap();
        assert!(gate.judge(&metrics(&[("auc", 0.5)]), None).passed());
        assert!(!gate.judge(&metrics(&[]), None).passed());
        assert!(!gate.judge(&metrics(&[("auc", f64::NAN)]), None).passed());
    }

    #[test]
    fn a_candidate_is_held_against_the_champion_within_the_tolerance() {
        let gate = Gate::new()
            .demand("ndcg", Rule::NotLower { metric: "ndcg".into(), tolerance: 0.01 })
            .and_then(|g| g.demand("complaints", Rule::NotHigher { metric: "complaints".into(), tolerance: 0.0 }))
            .unwrap();
        let champion = metrics(&[("ndcg", 0.6), ("complaints", 0.02)]);
        assert!(gate.judge(&metrics(&[("ndcg", 0.595), ("complaints", 0.02)]), Some(&champion)).passed());
        let worse = gate.judge(&metrics(&[("ndcg", 0.58), ("complaints", 0.01)]), Some(&champion));
        assert_eq!(worse.findings.iter().map(|f| f.passed).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn demands_are_checked_when_they_are_made() {
        let nan = Rule::AtLeast { metric: "auc".into(), bound: f64::NAN };
        assert!(Gate::new().demand("a", nan).is_err());
        let rule = Rule::AtMost { metric: "p99".into(), bound: 1.0 };
        assert!(Gate::new().demand("a", rule.clone()).and_then(|g| g.demand("a", rule)).is_err());
    }
}
