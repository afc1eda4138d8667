//! What differs between two forms of one definition, and what that does to those who use it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use mlops_core::schema::Sensitivity;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Kind;

/// Letters of a value that messages show.
const SHOWN_CHARS: usize = 60;

/// What a change does to those who use a definition, from the least to the worst.
///
/// | change | entity | view | window view | on-demand view | service |
/// |---|---|---|---|---|---|
/// | description, owner, tags | described | described | described | described | described |
/// | description of a feature | | described | | | |
/// | a feature (aggregate) more, another order | | compatible | compatible | compatible | |
/// | sensitivity raised | | compatible | compatible | compatible | |
/// | freshness, lateness, bounds | | compatible | compatible | | |
/// | a source where none was told, an input or event column more | | compatible | compatible | compatible | |
/// | an input that nothing reads any more | | | | compatible | |
/// | everything else: keys, types, ttl, times, policy, defaults, expressions, another source, lowered sensitivity, a feature less … | breaking | breaking | breaking | breaking | breaking |
///
/// Besides, a service breaks when what it gives changes through its views: one that takes all features of a view breaks when
/// that view gets another one. So whatever is not breaking leaves the [fingerprint](super::ServiceVersion) of every service
/// as it was.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Effect {
    /// Other words for people; nothing that is computed or served.
    Described,
    /// More than before, and all that was there is as it was.
    Compatible,
    /// What somebody may rely on is not what it was.
    Breaking,
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Described => "described",
            Self::Compatible => "compatible",
            Self::Breaking => "BREAKING",
        })
    }
}

/// One setting that differs.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldChange {
    /// Where it stands, such as `features[ctr].type`.
    pub path: String,
    /// What it was; null where there was nothing. Defaults of personal features are not told.
    pub before: Value,
    /// What it is to be; null for nothing.
    pub after: Value,
    /// What that does.
    pub effect: Effect,
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} → {}", self.path, shown(&self.before), shown(&self.after))
    }
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::Null => return "nothing".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let escaped: String = text.chars().take(SHOWN_CHARS).flat_map(char::escape_debug).collect();
    if text.chars().nth(SHOWN_CHARS).is_some() { format!("{escaped}…") } else { escaped }
}

/// One step of a path into a document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Step<'a> {
    Member(&'a str),
    /// An element of a list of named things.
    Named(&'a str),
    /// The order of a list of named things.
    Order,
}

fn path_of(steps: &[Step<'_>]) -> String {
    let mut path = String::new();
    for step in steps {
        match step {
            Step::Member(name) if path.is_empty() => path.push_str(name),
            Step::Member(name) => path.extend([".", name]),
            Step::Named(name) => path.extend(["[", name, "]"]),
            Step::Order => path.push_str(" (order)"),
        }
    }
    path
}

/// What differs between two documents of one `kind`, in the order of their members.
pub(super) fn fields(kind: Kind, before: &Value, after: &Value) -> Vec<FieldChange> {
    let mut walk = Walk { kind, hidden: hidden(before).union(&hidden(after)).cloned().collect(), found: Vec::new() };
    walk.values(&mut Vec::new(), before, after);
    walk.found
}

/// Features whose values must not be told.
fn hidden(document: &Value) -> BTreeSet<String> {
    let features = document.get("features").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let is_hidden = |feature: &&Value| sensitivity(feature.get("sensitivity")) >= Sensitivity::Personal;
    features.iter().filter(is_hidden).filter_map(|f| f.get("name")?.as_str().map(str::to_owned)).collect()
}

fn sensitivity(value: Option<&Value>) -> Sensitivity {
    value.and_then(|value| serde_json::from_value(value.clone()).ok()).unwrap_or_default()
}

struct Walk {
    kind: Kind,
    hidden: BTreeSet<String>,
    found: Vec<FieldChange>,
}

impl Walk {
    fn values<'a>(&mut self, steps: &mut Vec<Step<'a>>, before: &'a Value, after: &'a Value) {
        if before == after {
            return;
        }
        match (before, after) {
            (Value::Object(before), Value::Object(after)) => {
                let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
                for name in names {
                    let of = |members: &'a serde_json::Map<String, Value>| members.get(name).unwrap_or(&Value::Null);
                    steps.push(Step::Member(name));
                    self.values(steps, of(before), of(after));
                    steps.pop();
                }
            }
            (Value::Array(old), Value::Array(new)) => match (named(old), named(new)) {
                (Some(old), Some(new)) => self.lists(steps, &old, &new),
                _ => self.tell(steps, before, after),
            },
            _ => self.tell(steps, before, after),
        }
    }

    fn lists<'a>(
        &mut self,
        steps: &mut Vec<Step<'a>>,
        before: &[(&'a str, &'a Value)],
        after: &[(&'a str, &'a Value)],
    ) {
        let (old, new): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (before.iter().copied().collect(), after.iter().copied().collect());
        let gone = before.iter().filter(|(name, _)| !new.contains_key(name));
        for (name, value) in gone.map(|(name, value)| (*name, *value)) {
            steps.push(Step::Named(name));
            self.tell(steps, value, &Value::Null);
            steps.pop();
        }
        for (name, value) in after {
            steps.push(Step::Named(name));
            match old.get(name) {
                Some(old) => self.values(steps, old, value),
                None => self.tell(steps, &Value::Null, value),
            }
            steps.pop();
        }
        let kept = |all: &[(&'a str, &'a Value)], other: &BTreeMap<&str, &Value>| -> Vec<Value> {
            all.iter().filter(|(name, _)| other.contains_key(name)).map(|(name, _)| (*name).into()).collect()
        };
        let (old_order, new_order) = (kept(before, &new), kept(after, &old));
        if old_order != new_order {
            steps.push(Step::Order);
            self.tell(steps, &Value::Array(old_order), &Value::Array(new_order));
            steps.pop();
        }
    }

    fn tell(&mut self, steps: &[Step<'_>], before: &Value, after: &Value) {
        let effect = effect(self.kind, steps, before, after);
        let (mut before, mut after) = (before.clone(), after.clone());
        if let [Step::Member("features"), Step::Named(feature), rest @ ..] = steps
            && self.hidden.contains(*feature)
        {
            for value in [&mut before, &mut after] {
                match (rest, value) {
                    ([Step::Member("default"), ..], value) if !value.is_null() => *value = "not told".into(),
                    ([], Value::Object(members)) if members.contains_key("default") => {
                        members.insert("default".to_owned(), "not told".into());
                    }
                    _ => {}
                }
            }
        }
        self.found.push(FieldChange { path: path_of(steps), before, after, effect });
    }
}

/// The elements of a list by their names, where all have one and no two the same.
fn named(list: &[Value]) -> Option<Vec<(&str, &Value)>> {
    let named = list.iter().map(|value| Some((value.get("name")?.as_str()?, value))).collect::<Option<Vec<_>>>()?;
    let different: BTreeSet<&str> = named.iter().map(|(name, _)| *name).collect();
    (different.len() == named.len()).then_some(named)
}

/// The table of [`Effect`], on a path into a document.
fn effect(kind: Kind, steps: &[Step<'_>], before: &Value, after: &Value) -> Effect {
    use Step::{Member, Named, Order};
    let added = || if before.is_null() { Effect::Compatible } else { Effect::Breaking };
    match (kind, steps) {
        (_, [Member("description" | "owner" | "tags"), ..])
        | (Kind::View, [Member("features"), Named(_), Member("description")]) => Effect::Described,
        (Kind::View | Kind::OnDemandView, [Member("features"), Named(_), Member("sensitivity")])
        | (Kind::WindowView, [Member("columns"), Named(_), Member("sensitivity")]) => {
            let raised = sensitivity(Some(after)) > sensitivity(Some(before));
            if raised { Effect::Compatible } else { Effect::Breaking }
        }
        (Kind::View, [Member("features"), Named(_)] | [Member("batch" | "stream")])
        | (Kind::OnDemandView, [Member("features"), Named(_)])
        | (Kind::WindowView, [Member("aggregates" | "columns"), Named(_)] | [Member("batch" | "stream")]) => added(),
        // Where an input is gone that was read, an expression has changed, too, and that is told.
        (Kind::View, [Member("features"), Order] | [Member("freshness_us")])
        | (Kind::OnDemandView, [Member("features"), Order] | [Member("inputs"), Order | Named(_)])
        | (Kind::WindowView, [Member("aggregates" | "columns"), Order] | [Member("lateness_us" | "events_max")]) => {
            Effect::Compatible
        }
        _ => Effect::Breaking,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(kind: Kind, before: &Value, after: &Value, expected: &[(&str, Effect)]) {
        let found = fields(kind, before, after);
        let found: Vec<(&str, Effect)> = found.iter().map(|change| (change.path.as_str(), change.effect)).collect();
        assert_eq!(found, expected);
    }

    fn view(change: impl Fn(&mut Value)) -> Value {
        let mut view = json!({
            "name": "clicks", "entity": "customer", "event_time": "at", "ttl_us": 9, "freshness_us": 5,
            "features": [
                {"name": "ctr", "type": "float64", "sensitivity": "internal"},
                {"name": "age", "type": "int64", "sensitivity": "personal", "default": 30}
            ],
            "policy": "default", "owner": "growth", "description": "clicks"
        });
        change(&mut view);
        view
    }

    #[test]
    fn every_setting_of_a_view_has_its_effect() {
        use Effect::{Breaking, Compatible, Described};
        let cases: [(&str, Value, &str, Effect); 15] = [
            ("/owner", json!("web"), "owner", Described),
            ("/description", json!(""), "description", Described),
            ("/tags", json!({"a": "b"}), "tags", Described),
            ("/features/0/description", json!("rate"), "features[ctr].description", Described),
            ("/freshness_us", json!(9), "freshness_us", Compatible),
            ("/batch", json!({"kind": "catalog", "name": "x"}), "batch", Compatible),
            ("/features/0/sensitivity", json!("personal"), "features[ctr].sensitivity", Compatible),
            ("/features/1/sensitivity", json!("public"), "features[age].sensitivity", Breaking),
            ("/features/0/type", json!("float32"), "features[ctr].type", Breaking),
            ("/features/1/default", json!(31), "features[age].default", Breaking),
            ("/ttl_us", json!(10), "ttl_us", Breaking),
            ("/ttl_us", json!(null), "ttl_us", Breaking),
            ("/entity", json!("user"), "entity", Breaking),
            ("/event_time", json!("seen"), "event_time", Breaking),
            ("/policy", json!("stale"), "policy", Breaking),
        ];
        for (pointer, value, path, effect) in cases {
            let (above, member) = pointer.rsplit_once('/').unwrap();
            let after = view(|view| {
                view.pointer_mut(above).unwrap()[member] = value.clone();
            });
            check(Kind::View, &view(|_| {}), &after, &[(path, effect)]);
        }
    }

    #[test]
    fn lists_of_named_things_are_compared_by_name() {
        let more = view(|view| {
            let features = view["features"].as_array_mut().unwrap();
            features.insert(0, json!({"name": "new", "type": "bool"}));
        });
        check(Kind::View, &view(|_| {}), &more, &[("features[new]", Effect::Compatible)]);
        check(Kind::View, &more, &view(|_| {}), &[("features[new]", Effect::Breaking)]);
        let turned = view(|view| view["features"].as_array_mut().unwrap().reverse());
        check(Kind::View, &view(|_| {}), &turned, &[("features (order)", Effect::Compatible)]);
    }

    #[test]
    fn a_source_may_be_told_later_but_not_changed() {
        let at = |path: &str| view(|view| view["batch"] = json!({"kind": "file", "format": "csv", "path": path}));
        check(Kind::View, &at("a.csv"), &at("b.csv"), &[("batch.path", Effect::Breaking)]);
        check(Kind::View, &at("a.csv"), &view(|_| {}), &[("batch", Effect::Breaking)]);
    }

    #[test]
    fn windows_and_expressions_have_their_own_settings() {
        let window = json!({"columns": [{"name": "x", "type": "int64"}], "aggregates": [{"name": "x_sum", "op": "sum"}],
            "lateness_us": 1, "events_max": 10, "event_id": "id"});
        let mut after = window.clone();
        after["lateness_us"] = json!(2);
        after["events_max"] = json!(20);
        after["aggregates"].as_array_mut().unwrap().push(json!({"name": "n", "op": "count"}));
        after["columns"].as_array_mut().unwrap().push(json!({"name": "y", "type": "int64"}));
        after["stream"] = json!({"kind": "stream", "name": "orders"});
        let expected = ["aggregates[n]", "columns[y]", "events_max", "lateness_us", "stream"];
        check(Kind::WindowView, &window, &after, &expected.map(|path| (path, Effect::Compatible)));
        let mut other = window.clone();
        other["aggregates"][0]["op"] = json!("mean");
        check(Kind::WindowView, &window, &other, &[("aggregates[x_sum].op", Effect::Breaking)]);

        let computed =
            json!({"inputs": [{"name": "a", "type": "int64"}], "features": [{"name": "f", "expr": "a + 1"}]});
        let mut after = computed.clone();
        after["inputs"] = json!([]);
        check(Kind::OnDemandView, &computed, &after, &[("inputs[a]", Effect::Compatible)]);
        after = computed.clone();
        after["features"][0]["expr"] = json!("a + 2");
        check(Kind::OnDemandView, &computed, &after, &[("features[f].expr", Effect::Breaking)]);
    }

    #[test]
    fn personal_defaults_are_not_told() {
        let other = view(|view| view["features"][1]["default"] = json!(4711));
        let gone = view(|view| {
            view["features"].as_array_mut().unwrap().pop();
        });
        for (before, after) in [(view(|_| {}), other.clone()), (other, gone)] {
            let told = format!("{:?}", fields(Kind::View, &before, &after));
            assert!(!told.contains("4711") && told.contains("not told"), "{told}");
        }
    }

    #[test]
    fn long_values_are_cut_when_they_are_shown() {
        let change = FieldChange {
            path: "owner".to_owned(),
            before: Value::Null,
            after: Value::String("\n".repeat(1_000)),
            effect: Effect::Described,
        };
        let text = change.to_string();
        assert!(text.starts_with("owner: nothing → \\n\\n") && text.ends_with('…') && text.len() < 200, "{text}");
    }
}
