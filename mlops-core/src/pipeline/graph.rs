//! Steps and what they depend on.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::options::Retry;
use super::plan::{Plan, PlanStep};
use super::{RunOptions, Step};
use crate::{Digest, Error, Name, Result};

/// A directed acyclic graph of steps, ready to run.
///
/// Steps run one after the other, in an order that is fixed: each after what it depends on, otherwise as they were added.
///
/// # Examples
/// ```
/// use mlops_core::pipeline::{FnStep, Pipeline, RunOptions};
/// use serde_json::json;
///
/// let pipeline = Pipeline::builder("daily")
///     .step(FnStep::new("load", "v1", |_, _| Ok(json!([1, 2, 3]).into()))?, &[])
///     .step(
///         FnStep::new("count", "v1", |inputs, _| {
///             let rows = inputs.get("load")?.as_json()?;
///             Ok(json!(rows.as_array().map_or(0, Vec::len)).into())
///         })?,
///         &["load"],
///     )
///     .build()?;
///
/// let dir = tempfile::tempdir()?;
/// let run = pipeline.run(dir.path(), &RunOptions::default())?;
/// assert_eq!(run.artifact("count")?.as_json()?, 3);
///
/// // Nothing changed, so nothing runs.
/// let again = pipeline.run(dir.path(), &RunOptions::default())?;
/// assert_eq!(again.report().ran(), 0);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Pipeline {
    pub(super) name: Name,
    /// In the order in which they run.
    pub(super) nodes: Vec<Node>,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) step: Arc<dyn Step>,
    pub(super) name: Name,
    /// Positions of what it depends on, all before its own.
    pub(super) after: Vec<usize>,
    pub(super) retry: Option<Retry>,
}

/// Steps on their way to a [`Pipeline`].
#[derive(Debug)]
pub struct PipelineBuilder {
    name: String,
    steps: Vec<(Arc<dyn Step>, Vec<String>)>,
    retries: Vec<(String, Retry)>,
}

impl Pipeline {
    /// Starts a pipeline without steps.
    pub fn builder(name: impl Into<String>) -> PipelineBuilder {
        PipelineBuilder { name: name.into(), steps: Vec::new(), retries: Vec::new() }
    }

    /// Name of the pipeline.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Names of the steps in the order in which they run.
    pub fn steps(&self) -> impl Iterator<Item = &Name> {
        self.nodes.iter().map(|node| &node.name)
    }

    /// The graph as data.
    ///
    /// # Errors
    /// [`Error::Stage`] when a step has no fingerprint.
    pub fn plan(&self) -> Result<Plan> {
        let step = |node: &Node| {
            Ok(PlanStep {
                name: node.name.clone(),
                after: node.after.iter().map(|i| self.nodes[*i].name.clone()).collect(),
                fingerprint: node.step.fingerprint().map_err(|e| Error::stage(node.name.as_str(), e))?,
            })
        };
        Plan::new(self.name.clone(), self.nodes.iter().map(step).collect::<Result<_>>()?)
    }

    /// Which steps a run to the steps of `options.only_to` needs; all of them when it names none.
    pub(super) fn wanted(&self, options: &RunOptions) -> Result<Vec<bool>> {
        let mut wanted = vec![options.only_to.is_empty(); self.nodes.len()];
        for target in &options.only_to {
            wanted[self.position(target)?] = true;
        }
        for i in (0..self.nodes.len()).rev().filter(|_| !options.only_to.is_empty()) {
            if wanted[i] {
                self.nodes[i].after.iter().for_each(|dependency| wanted[*dependency] = true);
            }
        }
        Ok(wanted)
    }

    pub(super) fn position(&self, step: &str) -> Result<usize> {
        self.nodes.iter().position(|node| node.name.as_str() == step).ok_or_else(|| Error::not_found("step", step))
    }
}

/// Key under which the output of a step is remembered: which step of which pipeline, its settings, its inputs.
pub(super) fn cache_key(pipeline: &Name, step: &Name, fingerprint: Digest, inputs: &BTreeMap<Name, Digest>) -> Digest {
    let mut parts: Vec<&[u8]> =
        vec![b"step 1", pipeline.as_str().as_bytes(), step.as_str().as_bytes(), fingerprint.as_bytes()];
    for (name, digest) in inputs {
        parts.extend([name.as_str().as_bytes(), digest.as_bytes().as_slice()]);
    }
    Digest::of_parts(parts)
}

impl PipelineBuilder {
    /// Adds `step`, which gets the outputs of the steps named in `after`. Those may be added later.
    pub fn step(mut self, step: impl Step, after: &[&str]) -> Self {
        self.steps.push((Arc::new(step), after.iter().map(|name| (*name).to_owned()).collect()));
        self
    }

    /// How often `step` is tried, instead of what [`RunOptions`] say.
    pub fn retry(mut self, step: impl Into<String>, retry: Retry) -> Self {
        self.retries.push((step.into(), retry));
        self
    }

    /// Checks names and dependencies, and fixes the order.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the name is not a [`Name`], there is no step, or steps depend on each other in a cycle
    /// (which is named); [`Error::AlreadyExists`] for two steps of one name and for a dependency stated twice;
    /// [`Error::NotFound`] for a dependency or a retried step that is not there.
    pub fn build(self) -> Result<Pipeline> {
        let name = Name::new(&self.name)?;
        if self.steps.is_empty() {
            return Err(Error::invalid("steps", "none", "at least one step"));
        }
        let mut positions: BTreeMap<Name, usize> = BTreeMap::new();
        for (i, (step, _)) in self.steps.iter().enumerate() {
            if positions.insert(step.name().clone(), i).is_some() {
                return Err(Error::AlreadyExists { kind: "step", name: step.name().to_string() });
            }
        }
        let after = self.steps.iter().map(|(step, after)| resolve(step.name(), after, &positions));
        let after = after.collect::<Result<Vec<_>>>()?;
        let names: Vec<&Name> = self.steps.iter().map(|(step, _)| step.name()).collect();
        let order = topological(&after).map_err(|cycle| {
            let shown: Vec<&str> = cycle.iter().map(|i| names[*i].as_str()).collect();
            Error::invalid("dependencies", shown.join(" → "), "free of cycles")
        })?;
        let mut retries = BTreeMap::new();
        for (step, retry) in self.retries {
            let position = positions.get(step.as_str()).ok_or_else(|| Error::not_found("step", &step))?;
            retries.insert(*position, retry);
        }
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(new, old)| place[*old] = new);
        let node = |old: &usize| Node {
            step: self.steps[*old].0.clone(),
            name: names[*old].clone(),
            after: after[*old].iter().map(|dependency| place[*dependency]).collect(),
            retry: retries.get(old).copied(),
        };
        Ok(Pipeline { nodes: order.iter().map(node).collect(), name })
    }
}

fn resolve(step: &Name, after: &[String], positions: &BTreeMap<Name, usize>) -> Result<Vec<usize>> {
    let mut found = Vec::with_capacity(after.len());
    for dependency in after {
        let position = positions.get(dependency.as_str());
        let position = *position.ok_or_else(|| Error::not_found("step", format!("{dependency}` wanted by `{step}")))?;
        if found.contains(&position) {
            return Err(Error::AlreadyExists { kind: "dependency", name: format!("{dependency}` of `{step}") });
        }
        found.push(position);
    }
    Ok(found)
}

/// Positions such that each comes after those that it depends on, the lowest first where there is a choice; or a cycle,
/// its first node repeated at the end.
pub(super) fn topological(after: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut waiting: Vec<usize> = after.iter().map(Vec::len).collect();
    let mut dependants: Vec<Vec<usize>> = vec![Vec::new(); after.len()];
    for (i, dependencies) in after.iter().enumerate() {
        dependencies.iter().for_each(|dependency| dependants[*dependency].push(i));
    }
    let mut ready: BTreeSet<usize> = (0..after.len()).filter(|i| waiting[*i] == 0).collect();
    let mut order = Vec::with_capacity(after.len());
    while let Some(next) = ready.pop_first() {
        order.push(next);
        for dependant in &dependants[next] {
            waiting[*dependant] -= 1;
            if waiting[*dependant] == 0 {
                ready.insert(*dependant);
            }
        }
    }
    if order.len() == after.len() { Ok(order) } else { Err(cycle(after, &waiting)) }
}

/// Walks from a node that never became ready to one that it waits for, until a node comes twice.
fn cycle(after: &[Vec<usize>], waiting: &[usize]) -> Vec<usize> {
    let mut path: Vec<usize> = waiting.iter().position(|count| *count > 0).into_iter().collect();
    let mut seen_at = vec![None; after.len()];
    while let Some(here) = path.last().copied() {
        if let Some(start) = seen_at[here] {
            let mut found = path[start..].to_vec();
            found.reverse();
            return found;
        }
        seen_at[here] = Some(path.len() - 1);
        path.extend(after[here].iter().find(|dependency| waiting[**dependency] > 0));
    }
    path
}

#[cfg(test)]
mod tests {
    use super::super::{FnStep, Pipeline};
    use super::*;
    use proptest::prelude::*;

    fn step(name: &str) -> FnStep {
        FnStep::new(name, "v1", |_, _| Ok(serde_json::Value::Null.into())).unwrap()
    }

    fn order(edges: &[(&str, &[&str])]) -> Result<Vec<String>> {
        let builder = edges.iter().fold(Pipeline::builder("p"), |b, (name, after)| b.step(step(name), after));
        Ok(builder.build()?.steps().map(ToString::to_string).collect())
    }

    #[test]
    fn steps_run_after_what_they_need_and_otherwise_as_they_were_added() {
        let found = order(&[("d", &["b", "c"]), ("c", &["a"]), ("b", &["a"]), ("z", &[]), ("a", &[])]).unwrap();
        assert_eq!(found, ["z", "a", "c", "b", "d"]);
    }

    #[test]
    fn a_cycle_is_named() {
        let error = order(&[("x", &["b"]), ("a", &["c"]), ("b", &["a"]), ("c", &["b"])]).unwrap_err().to_string();
        assert!(error.contains("b → c → a → b"), "{error}");
        let own = order(&[("a", &["a"])]).unwrap_err().to_string();
        assert!(own.contains("a → a"), "{own}");
    }

    #[test]
    fn unknown_doubled_and_missing_things_are_named() {
        let unknown = order(&[("a", &["ghost"])]).unwrap_err();
        assert_eq!(unknown.to_string(), "step `ghost` wanted by `a` not found");
        assert!(matches!(order(&[("a", &[]), ("a", &[])]), Err(Error::AlreadyExists { kind: "step", .. })));
        assert!(matches!(order(&[("a", &[]), ("b", &["a", "a"])]), Err(Error::AlreadyExists { .. })));
        assert!(matches!(order(&[]), Err(Error::Invalid { .. })));
        assert!(Pipeline::builder("../p").step(step("a"), &[]).build().is_err());
        let retried = Pipeline::builder("p").step(step("a"), &[]).retry("ghost", Retry::none()).build();
        assert!(matches!(retried, Err(Error::NotFound { kind: "step", .. })));
    }

    #[test]
    fn part_borders_of_the_cache_key_count() {
        let [a, b] = ["a", "b"].map(|n| Name::new(n).unwrap());
        let (x, y) = (Digest::of("x"), Digest::of("y"));
        let key = |inputs: &[(&Name, Digest)]| {
            cache_key(&a, &b, x, &inputs.iter().map(|(n, d)| ((*n).clone(), *d)).collect())
        };
        assert_ne!(key(&[(&a, x), (&b, y)]), key(&[(&a, y), (&b, x)]));
        assert_ne!(key(&[(&a, x)]), key(&[(&a, x), (&b, x)]));
    }

    proptest! {
        #[test]
        fn the_order_is_topological_or_a_cycle_is_shown(
            edges in proptest::collection::vec((0_usize..12, 0_usize..12), 0..30),
        ) {
            let mut after = vec![Vec::new(); 12];
            for (from, to) in edges {
                if !after[to].contains(&from) {
                    after[to].push(from);
                }
            }
            match topological(&after) {
                Ok(order) => {
                    let mut place = [0; 12];
                    order.iter().enumerate().for_each(|(new, old)| place[*old] = new);
                    for (i, dependencies) in after.iter().enumerate() {
                        prop_assert!(dependencies.iter().all(|d| place[*d] < place[i]));
                    }
                }
                Err(cycle) => {
                    prop_assert!(cycle.len() >= 2 && cycle.first() == cycle.last());
                    prop_assert!(cycle.windows(2).all(|w| after[w[1]].contains(&w[0])));
                }
            }
        }
    }
}
