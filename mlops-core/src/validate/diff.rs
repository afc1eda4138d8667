//! What differs between two suites.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Bound, Rule, RuleSpec, Severity, SuiteSettings};
use crate::source::Scalar;
use crate::{Name, Result};

/// What became of one rule, by its id.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleChange {
    /// The rule.
    pub id: Name,
    /// Its settings before; none where it is new.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<RuleSpec>,
    /// Its settings after; none where it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<RuleSpec>,
    /// Settings that differ, as paths such as `severity` or `rule.max.included.int`, with their values.
    pub settings: Vec<SettingChange>,
    /// Whether more or fewer tables pass.
    pub effect: Effect,
}

/// One setting that differs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingChange {
    /// Where it stands.
    pub path: String,
    /// What it was; null where there was none.
    pub before: Value,
    /// What it is; null where there is none.
    pub after: Value,
}

/// What a change of a suite does to what passes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Whatever passed still passes, and more does.
    Loosened,
    /// Whatever passes did so before, and less does.
    Tightened,
    /// Neither is certain.
    Other,
}

/// What differs between two suites, in the order of the ids. `Display` is a line per rule.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SuiteDiff {
    /// The rules that differ.
    pub changes: Vec<RuleChange>,
}

impl SuiteSettings {
    /// What differs between these rules and those of `after`. The order of rules does not count.
    ///
    /// A rule that is new or of a higher severity tightens, one that is gone or of a lower severity loosens. Of a changed rule of
    /// one kind on the same columns, bounds, shares and lists of values are compared; whatever else changes is
    /// [`Effect::Other`].
    ///
    /// # Errors
    /// [`Error::InvalidData`](crate::Error::InvalidData) when a rule has no JSON form, which those of this crate always have.
    ///
    /// # Examples
    /// ```
    /// use mlops_core::validate::{Effect, Range, Suite};
    /// let before = Suite::new().rule("age", Range::of("age").at_least(0).at_most(120))?.settings()?;
    /// let after = Suite::new().rule("age", Range::of("age").at_least(0).at_most(150))?.settings()?;
    /// let diff = before.diff(&after)?;
    /// assert_eq!(diff.changes[0].effect, Effect::Loosened);
    /// assert_eq!(diff.changes[0].settings[0].path, "rule.max.included.int");
    /// # Ok::<(), mlops_core::Error>(())
    /// ```
    pub fn diff(&self, after: &Self) -> Result<SuiteDiff> {
        let mut ids: Vec<&Name> = self.rules.iter().chain(&after.rules).map(|spec| &spec.id).collect();
        ids.sort();
        ids.dedup();
        let find = |settings: &'_ Self, id: &Name| settings.rules.iter().find(|spec| spec.id == *id).cloned();
        let mut changes = Vec::new();
        for id in ids {
            let (before, after) = (find(self, id), find(after, id));
            if before != after {
                changes.push(change(id, before, after)?);
            }
        }
        Ok(SuiteDiff { changes })
    }
}

fn change(id: &Name, before: Option<RuleSpec>, after: Option<RuleSpec>) -> Result<RuleChange> {
    let mut settings = Vec::new();
    let effect = match (&before, &after) {
        (None, _) => Effect::Tightened,
        (_, None) => Effect::Loosened,
        (Some(before), Some(after)) => {
            differences(&json(before)?, &json(after)?, &mut String::new(), &mut settings);
            together(of_severity(before.severity, after.severity), of_rule(&before.rule, &after.rule)?)
        }
    };
    Ok(RuleChange { id: id.clone(), before, after, settings, effect })
}

fn json(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| crate::Error::invalid_data("suite", e))
}

/// Lists leaf by leaf what differs.
fn differences(before: &Value, after: &Value, path: &mut String, found: &mut Vec<SettingChange>) {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        if before != after {
            found.push(SettingChange { path: path.clone(), before: before.clone(), after: after.clone() });
        }
        return;
    };
    let added = new.keys().filter(|key| !old.contains_key(*key));
    for key in old.keys().chain(added) {
        let length = path.len();
        if length > 0 {
            path.push('.');
        }
        path.push_str(key);
        let null = &Value::Null;
        differences(old.get(key).unwrap_or(null), new.get(key).unwrap_or(null), path, found);
        path.truncate(length);
    }
}

/// The direction of a change; none where nothing changes.
type Direction = Option<Effect>;

fn together(a: Direction, b: Direction) -> Effect {
    match (a, b) {
        (None, Some(one)) | (Some(one), None) => one,
        (Some(a), Some(b)) if a == b => a,
        _ => Effect::Other,
    }
}

fn join(a: Direction, b: Direction) -> Direction {
    if a.is_none() && b.is_none() { None } else { Some(together(a, b)) }
}

fn of_severity(before: Severity, after: Severity) -> Direction {
    by_order(before.cmp(&after))
}

/// Greater is tighter.
fn by_order(order: std::cmp::Ordering) -> Direction {
    match order {
        std::cmp::Ordering::Less => Some(Effect::Tightened),
        std::cmp::Ordering::Equal => None,
        std::cmp::Ordering::Greater => Some(Effect::Loosened),
    }
}

/// Of an upper bound: a smaller one is tighter, none at all the loosest.
fn of_max(before: Option<f64>, after: Option<f64>) -> Direction {
    let value = |bound: Option<f64>| bound.unwrap_or(f64::INFINITY);
    by_order(value(after).total_cmp(&value(before)))
}

fn of_min(before: Option<f64>, after: Option<f64>) -> Direction {
    let value = |bound: Option<f64>| bound.unwrap_or(f64::NEG_INFINITY);
    by_order(value(before).total_cmp(&value(after)))
}

fn of_bounds(before: (Option<f64>, Option<f64>), after: (Option<f64>, Option<f64>)) -> Direction {
    join(of_min(before.0, after.0), of_max(before.1, after.1))
}

/// Of two rules, once it is known that they are alike in all but their bounds.
fn of_rule(before: &Rule, after: &Rule) -> Result<Direction> {
    if before == after {
        return Ok(None);
    }
    let alike = |ignored: &[&str]| -> Result<bool> {
        let without = |rule: &Rule| -> Result<Value> {
            let mut value = json(rule)?;
            if let Value::Object(fields) = &mut value {
                fields.retain(|key, _| !ignored.contains(&key.as_str()));
            }
            Ok(value)
        };
        Ok(without(before)? == without(after)?)
    };
    let (ignored, direction): (&[&str], Direction) = match (before, after) {
        (Rule::NullRatio(a), Rule::NullRatio(b)) => (&["max"], of_max(Some(a.share()), Some(b.share()))),
        (Rule::Range(a), Rule::Range(b)) => (&["min", "max"], of_range(a.ends_set(), b.ends_set())),
        (Rule::TextLength(a), Rule::TextLength(b)) => (&["min", "max"], of_bounds(a.bounds(), b.bounds())),
        (Rule::Statistic(a), Rule::Statistic(b)) => (&["min", "max"], of_bounds(a.bounds(), b.bounds())),
        (Rule::Groups(a), Rule::Groups(b)) => (&["min", "max"], of_bounds(a.bounds(), b.bounds())),
        (Rule::RowCount(a), Rule::RowCount(b)) => (&["min", "max"], of_bounds(a.bounds(), b.bounds())),
        (Rule::OneOf(a), Rule::OneOf(b)) => (&["values"], of_values(a.values(), b.values())),
        (Rule::Freshness(a), Rule::Freshness(b)) => {
            (&["age_seconds"], of_max(Some(a.age_seconds() as f64), Some(b.age_seconds() as f64)))
        }
        (Rule::Mostly(a), Rule::Mostly(b)) => {
            let inner = of_rule(a.inner(), b.inner())?;
            (&["at_least", "rule"], join(of_min(Some(a.share()), Some(b.share())), inner))
        }
        (Rule::When(a), Rule::When(b)) => (&["rule"], of_rule(a.inner(), b.inner())?),
        _ => return Ok(Some(Effect::Other)),
    };
    Ok(if alike(ignored)? { direction } else { Some(Effect::Other) })
}

/// A value, and whether it still fits.
fn parts(bound: Option<&Bound>) -> Option<(&Scalar, bool)> {
    bound.map(|bound| match bound {
        Bound::Included(value) => (value, true),
        Bound::Excluded(value) => (value, false),
    })
}

fn of_range(before: (Option<&Bound>, Option<&Bound>), after: (Option<&Bound>, Option<&Bound>)) -> Direction {
    use std::cmp::Ordering::{Equal, Greater, Less};
    // In the direction of more values: no bound beats any, and an included one an excluded one of the same value.
    let room = |a: Option<&Bound>, b: Option<&Bound>, upper: bool| match (parts(a), parts(b)) {
        (None, None) => Equal,
        (None, Some(_)) => Greater,
        (Some(_), None) => Less,
        (Some((a, a_in)), Some((b, b_in))) => {
            let order = super::range::compare(a, b);
            (if upper { order } else { order.reverse() }).then(a_in.cmp(&b_in))
        }
    };
    let low = by_order(room(after.0, before.0, false));
    join(low, by_order(room(after.1, before.1, true)))
}

fn of_values(before: &[Scalar], after: &[Scalar]) -> Direction {
    let within = |a: &[Scalar], b: &[Scalar]| {
        let texts: std::collections::BTreeSet<String> = b.iter().map(|value| format!("{value:?}")).collect();
        a.iter().all(|value| texts.contains(&format!("{value:?}")))
    };
    match (within(before, after), within(after, before)) {
        (true, true) => None,
        (true, false) => Some(Effect::Loosened),
        (false, true) => Some(Effect::Tightened),
        (false, false) => Some(Effect::Other),
    }
}

impl fmt::Display for SuiteDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in &self.changes {
            let (sign, what) = match (&change.before, &change.after) {
                (None, _) => ('+', "added"),
                (_, None) => ('-', "removed"),
                _ => ('~', "changed"),
            };
            let effect = match change.effect {
                Effect::Loosened => "loosened",
                Effect::Tightened => "tightened",
                Effect::Other => "other",
            };
            write!(f, "{sign} {} {what} ({effect})", change.id)?;
            for setting in &change.settings {
                write!(f, "; {} {} → {}", setting.path, short(&setting.before), short(&setting.after))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn short(value: &Value) -> String {
    super::kernel::shorten(&value.to_string(), 60)
}
