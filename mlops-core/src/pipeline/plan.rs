//! The graph of a pipeline as data and as text.

use std::collections::BTreeMap;
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::{Digest, Error, Name, Result};

/// Layout of the serialised form.
const FORMAT: u32 = 1;

/// Steps and dependencies of a pipeline, each step after those that it depends on.
///
/// # Examples
/// ```
/// use mlops_core::pipeline::{FnStep, Pipeline};
///
/// let step = |name| FnStep::new(name, "v1", |_, _| Ok(serde_json::Value::Null.into()));
/// let plan = Pipeline::builder("daily").step(step("load")?, &[]).step(step("train")?, &["load"]).build()?.plan()?;
/// assert_eq!(plan.to_mermaid(), "flowchart TD\n    s0[\"load\"]\n    s1[\"train\"]\n    s0 --> s1\n");
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Unchecked")]
pub struct Plan {
    format: u32,
    pipeline: Name,
    steps: Vec<PlanStep>,
}

/// One step of a [`Plan`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlanStep {
    /// Its name.
    pub name: Name,
    /// What it depends on.
    pub after: Vec<Name>,
    /// Digest of its settings and code version.
    pub fingerprint: Digest,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    format: u32,
    pipeline: Name,
    steps: Vec<PlanStep>,
}

impl TryFrom<Unchecked> for Plan {
    type Error = Error;

    fn try_from(unchecked: Unchecked) -> Result<Self> {
        if unchecked.format != FORMAT {
            return Err(Error::invalid("plan format", unchecked.format, "1"));
        }
        Self::new(unchecked.pipeline, unchecked.steps)
    }
}

impl Plan {
    /// A plan of `steps`, each of which stands after those that it depends on.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] for two steps of one name, [`Error::NotFound`] for a dependency that does not stand
    /// before its step.
    pub fn new(pipeline: Name, steps: Vec<PlanStep>) -> Result<Self> {
        let mut places = BTreeMap::new();
        for (place, step) in steps.iter().enumerate() {
            if let Some(missing) = step.after.iter().find(|name| !places.contains_key(*name)) {
                return Err(Error::not_found("step", format!("{missing}` before `{}", step.name)));
            }
            if places.insert(&step.name, place).is_some() {
                return Err(Error::AlreadyExists { kind: "step", name: step.name.to_string() });
            }
        }
        Ok(Self { format: FORMAT, pipeline, steps })
    }

    /// Name of the pipeline.
    pub fn pipeline(&self) -> &Name {
        &self.pipeline
    }

    /// The steps in the order in which they run.
    pub fn steps(&self) -> &[PlanStep] {
        &self.steps
    }

    /// Dependencies as pairs of positions in [`steps`](Self::steps): the first is needed by the second.
    pub fn edges(&self) -> Vec<(usize, usize)> {
        let places: BTreeMap<&Name, usize> = self.steps.iter().enumerate().map(|(i, step)| (&step.name, i)).collect();
        let of = |(i, step): (usize, &PlanStep)| step.after.iter().map(|name| (places[name], i)).collect::<Vec<_>>();
        self.steps.iter().enumerate().flat_map(of).collect()
    }

    /// A Mermaid flow chart.
    pub fn to_mermaid(&self) -> String {
        let mut text = "flowchart TD\n".to_owned();
        for (i, step) in self.steps.iter().enumerate() {
            let _ = writeln!(text, "    s{i}[\"{}\"]", step.name);
        }
        for (from, to) in self.edges() {
            let _ = writeln!(text, "    s{from} --> s{to}");
        }
        text
    }

    /// A graph in the DOT language of Graphviz.
    pub fn to_dot(&self) -> String {
        let mut text = format!("digraph \"{}\" {{\n    node [shape=box];\n", self.pipeline);
        for step in &self.steps {
            let _ = writeln!(text, "    \"{}\";", step.name);
        }
        for (from, to) in self.edges() {
            let _ = writeln!(text, "    \"{}\" -> \"{}\";", self.steps[from].name, self.steps[to].name);
        }
        text + "}\n"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(steps: &[(&str, &[&str])]) -> Result<Plan> {
        let step = |(name, after): &(&str, &[&str])| PlanStep {
            name: Name::new(name).unwrap(),
            after: after.iter().map(|n| Name::new(n).unwrap()).collect(),
            fingerprint: Digest::of(name),
        };
        Plan::new(Name::new("p").unwrap(), steps.iter().map(step).collect())
    }

    #[test]
    fn text_forms_show_every_step_and_dependency() {
        let plan = plan(&[("a", &[]), ("b", &["a"]), ("c", &["a", "b"])]).unwrap();
        assert_eq!(plan.edges(), [(0, 1), (0, 2), (1, 2)]);
        let dot = "digraph \"p\" {\n    node [shape=box];\n    \"a\";\n    \"b\";\n    \"c\";\n    \"a\" -> \"b\";\n    \
                   \"a\" -> \"c\";\n    \"b\" -> \"c\";\n}\n";
        assert_eq!(plan.to_dot(), dot);
        assert!(plan.to_mermaid().ends_with("    s0 --> s1\n    s0 --> s2\n    s1 --> s2\n"));
    }

    #[test]
    fn serde_checks_what_it_reads() {
        let good = serde_json::to_value(plan(&[("a", &[]), ("b", &["a"])]).unwrap()).unwrap();
        assert!(serde_json::from_value::<Plan>(good.clone()).is_ok());
        for (pointer, bad) in [
            ("/format", serde_json::json!(2)),
            ("/steps/0/after", serde_json::json!(["b"])),
            ("/steps/0/name", serde_json::json!("b")),
            ("/steps/0/name", serde_json::json!("../b")),
        ] {
            let mut broken = good.clone();
            *broken.pointer_mut(pointer).unwrap() = bad;
            assert!(serde_json::from_value::<Plan>(broken).is_err(), "{pointer}");
        }
    }
}
