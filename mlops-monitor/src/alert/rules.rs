//! From measured values to transitions.

use std::collections::BTreeMap;
use std::time::Duration;

use mlops_core::validate::Severity;
use mlops_core::{Error as CoreError, EventTime, Name};
use serde::{Deserialize, Serialize};

use super::{Alert, AlertState};
use crate::{Error, Result};

/// On which side of the threshold something is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// Wrong at or above the threshold.
    AtLeast,
    /// Wrong at or below the threshold.
    AtMost,
}

/// One measured value.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// What was measured, such as `drift_share` or `ndcg`.
    pub name: Name,
    /// What it is about, such as the model and the column. Names only, no values of rows.
    pub labels: BTreeMap<Name, String>,
    /// The value; NaN says nothing: it neither fires nor resolves.
    pub value: f64,
}

impl Signal {
    /// A value without labels.
    pub fn new(name: Name, value: f64) -> Self {
        Self { name, labels: BTreeMap::new(), value }
    }

    /// The same signal with one more label.
    pub fn with(mut self, label: Name, value: impl Into<String>) -> Self {
        self.labels.insert(label, value.into());
        self
    }
}

/// When a signal is worth an alert; made by [`AlertRule::builder`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "AlertRuleBuilder", into = "AlertRuleBuilder")]
pub struct AlertRule {
    settings: AlertRuleBuilder,
}

/// Builder of [`AlertRule`], and its form in files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AlertRuleBuilder {
    name: Name,
    signal: Name,
    bound: Bound,
    threshold: f64,
    #[serde(default)]
    severity: Severity,
    #[serde(default)]
    wait: Duration,
    #[serde(default)]
    cooldown: Duration,
    #[serde(default)]
    text: String,
}

impl AlertRule {
    /// A rule `name` on every signal called `signal`.
    pub fn builder(name: Name, signal: Name, bound: Bound, threshold: f64) -> AlertRuleBuilder {
        AlertRuleBuilder {
            name,
            signal,
            bound,
            threshold,
            severity: Severity::default(),
            wait: Duration::ZERO,
            cooldown: Duration::ZERO,
            text: String::new(),
        }
    }
}

impl AlertRuleBuilder {
    /// How bad it is. Default [`Severity::Error`].
    pub fn severity(mut self, severity: Severity) -> Self {
        self.severity = severity;
        self
    }

    /// How long the value must stay wrong before the alert fires. Default: fires at once.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// How long after an alert resolved it cannot fire again. Default: none.
    pub fn cooldown(mut self, cooldown: Duration) -> Self {
        self.cooldown = cooldown;
        self
    }

    /// What to tell people. Default: the comparison in words.
    pub fn text(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`mlops_core::Error::Invalid`] when the threshold is not finite.
    pub fn build(self) -> Result<AlertRule> {
        if !self.threshold.is_finite() {
            return Err(CoreError::invalid("threshold", self.threshold, "finite").into());
        }
        Ok(AlertRule { settings: self })
    }
}

impl TryFrom<AlertRuleBuilder> for AlertRule {
    type Error = Error;

    fn try_from(builder: AlertRuleBuilder) -> Result<Self> {
        builder.build()
    }
}

impl From<AlertRule> for AlertRuleBuilder {
    fn from(rule: AlertRule) -> Self {
        rule.settings
    }
}

/// Rules with their state per series; a series is one rule and one set of labels.
///
/// `Quiet → Pending → Firing → Quiet`: an alert is given out when a series begins to fire and when it resolves, never in
/// between. A series that is not measured keeps its state.
#[derive(Debug)]
pub struct AlertRules {
    rules: Vec<AlertRule>,
    series_max: usize,
    series: BTreeMap<(usize, BTreeMap<Name, String>), State>,
    refused: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Quiet { resolved: Option<EventTime> },
    Pending { since: EventTime, resolved: Option<EventTime> },
    Firing,
}

impl AlertRules {
    /// Series whose state is held by default.
    pub const SERIES_MAX: usize = 10_000;

    /// Rules over at most [`AlertRules::SERIES_MAX`] series.
    ///
    /// # Errors
    /// [`mlops_core::Error::AlreadyExists`] when two rules have one name.
    pub fn new(rules: Vec<AlertRule>) -> Result<Self> {
        let mut names: Vec<&Name> = rules.iter().map(|rule| &rule.settings.name).collect();
        names.sort_unstable();
        if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(CoreError::AlreadyExists { kind: "alert rule", name: pair[0].to_string() }.into());
        }
        Ok(Self { rules, series_max: Self::SERIES_MAX, series: BTreeMap::new(), refused: 0 })
    }

    /// Judges `signals` at `now` and says what began and what ended, in the order of the signals.
    pub fn evaluate(&mut self, signals: &[Signal], now: EventTime) -> Vec<Alert> {
        let mut alerts = Vec::new();
        for signal in signals.iter().filter(|signal| !signal.value.is_nan()) {
            for (place, rule) in self.rules.iter().enumerate().filter(|(_, r)| r.settings.signal == signal.name) {
                let key = (place, signal.labels.clone());
                let known = self.series.get(&key).copied();
                let wrong = rule.is_wrong(signal.value);
                if known.is_none() && !wrong {
                    continue;
                }
                if known.is_none() && self.series.len() >= self.series_max {
                    self.refused += 1;
                    continue;
                }
                let (next, transition) = rule.next(known.unwrap_or(State::Quiet { resolved: None }), wrong, now);
                alerts.extend(transition.map(|state| rule.alert(signal, state, now)));
                if rule.is_forgettable(next, now) {
                    self.series.remove(&key);
                } else {
                    self.series.insert(key, next);
                }
            }
        }
        alerts
    }

    /// Rules and labels that fire now.
    pub fn firing(&self) -> Vec<(&Name, &BTreeMap<Name, String>)> {
        let fires = self.series.iter().filter(|(_, state)| **state == State::Firing);
        fires.filter_map(|((place, labels), _)| Some((&self.rules.get(*place)?.settings.name, labels))).collect()
    }

    /// Signals that were wrong but not followed because too many series are.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

impl AlertRule {
    fn is_wrong(&self, value: f64) -> bool {
        match self.settings.bound {
            Bound::AtLeast => value >= self.settings.threshold,
            Bound::AtMost => value <= self.settings.threshold,
        }
    }

    fn next(&self, state: State, wrong: bool, now: EventTime) -> (State, Option<AlertState>) {
        match (state, wrong) {
            (State::Firing, true) => (State::Firing, None),
            (State::Firing, false) => (State::Quiet { resolved: Some(now) }, Some(AlertState::Resolved)),
            (State::Pending { resolved, .. }, false) => (State::Quiet { resolved }, None),
            (State::Quiet { .. }, false) => (state, None),
            (State::Quiet { resolved }, true) => self.pending(now, resolved, now),
            (State::Pending { since, resolved }, true) => self.pending(since, resolved, now),
        }
    }

    fn pending(&self, since: EventTime, resolved: Option<EventTime>, now: EventTime) -> (State, Option<AlertState>) {
        let cooled = resolved.is_none_or(|resolved| now >= resolved.plus(self.settings.cooldown));
        if cooled && now >= since.plus(self.settings.wait) {
            (State::Firing, Some(AlertState::Firing))
        } else {
            (State::Pending { since, resolved }, None)
        }
    }

    /// Quiet series whose cooldown is over need no state.
    fn is_forgettable(&self, state: State, now: EventTime) -> bool {
        matches!(state, State::Quiet { resolved } if resolved.is_none_or(|at| now >= at.plus(self.settings.cooldown)))
    }

    fn alert(&self, signal: &Signal, state: AlertState, now: EventTime) -> Alert {
        let AlertRuleBuilder { name, severity, threshold, bound, text, .. } = &self.settings;
        let words = match (text.is_empty(), bound) {
            (false, _) => text.clone(),
            (true, Bound::AtLeast) => format!("{} is {} (alert at {threshold} or more)", signal.name, signal.value),
            (true, Bound::AtMost) => format!("{} is {} (alert at {threshold} or less)", signal.name, signal.value),
        };
        Alert {
            name: name.clone(),
            severity: *severity,
            state,
            at: now,
            value: signal.value,
            threshold: *threshold,
            labels: signal.labels.clone(),
            text: words,
        }
    }
}

#[cfg(test)]
mod tests;
