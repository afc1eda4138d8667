//! The part of a lineage graph that can be reached from one content.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;

use serde::{Deserialize, Serialize};

use super::{Direction, Lineage, LineageEdge, LineageNode, cycles};
use crate::Digest;

/// Letters of a label's free text in a drawing.
const LABEL_CHARS: usize = 40;

/// A content, and how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reached {
    /// The content.
    pub node: LineageNode,
    /// Operations between it and where the walk began, on the shortest way.
    pub distance: usize,
}

/// What was found on a walk from one content.
///
/// Every content and every edge is there once, whatever the number of ways to it; cycles are named and not walked twice.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// What was reached, the start first, then by distance and digest.
    pub nodes: Vec<Reached>,
    /// The edges between them that were walked.
    pub edges: Vec<LineageEdge>,
    /// Registered contents at which the walk ended: raw sources, or what nothing was made from.
    pub ends: Vec<Digest>,
    /// Contents that were read by something but never registered: the walk to ancestors is not whole.
    pub missing: Vec<Digest>,
    /// Contents that went into themselves, by cycle; one alone where an operation gave back what it was given.
    pub cycles: Vec<Vec<Digest>>,
}

impl Trace {
    pub(super) fn walk(graph: &Lineage, start: Digest, direction: Direction) -> Self {
        let mut distances = BTreeMap::from([(start, 0)]);
        let mut queue = VecDeque::from([(start, 0)]);
        let (mut edges, mut ends, mut missing) = (Vec::new(), Vec::new(), Vec::new());
        while let Some((digest, distance)) = queue.pop_front() {
            let before = edges.len();
            for edge in graph.onward(&digest, direction) {
                edges.push(edge.clone());
                let end = direction.end(edge);
                distances.entry(end).or_insert_with(|| {
                    queue.push_back((end, distance + 1));
                    distance + 1
                });
            }
            if graph.nodes[&digest].is_missing() {
                missing.push(digest);
            } else if edges.len() == before {
                ends.push(digest);
            }
        }
        let reached = |(digest, distance)| Reached { node: graph.nodes[&digest].clone(), distance };
        let mut nodes: Vec<_> = distances.into_iter().map(reached).collect();
        nodes.sort_by_key(|reached| (reached.distance, reached.node.digest));
        edges.sort_unstable();
        ends.sort_unstable();
        missing.sort_unstable();
        let cycles = cycles::find(&edges);
        Self { nodes, edges, ends, missing, cycles }
    }

    /// Whether nothing is missing and nothing went into itself.
    pub fn is_sound(&self) -> bool {
        self.missing.is_empty() && self.cycles.is_empty()
    }

    /// A Mermaid flow chart, from parents to children. The start has a thick border, what is missing a dashed one.
    ///
    /// Viewers draw some hundred edges (Mermaid's own default is 500).
    pub fn to_mermaid(&self) -> String {
        let mut text = "flowchart LR\n".to_owned();
        let mut places = BTreeMap::new();
        for (place, Reached { node, .. }) in self.nodes.iter().enumerate() {
            places.insert(node.digest, place);
            let _ = writeln!(text, "    n{place}[\"{}\"]", label(node));
        }
        for edge in &self.edges {
            let (from, to) = (places[&edge.parent], places[&edge.child]);
            let words = escaped(&format!("{} {}", edge.operation, edge.code_version));
            let _ = writeln!(text, "    n{from} -->|\"{}\"| n{to}", words.trim_end());
        }
        text.push_str("    style n0 stroke-width:3px\n");
        for digest in &self.missing {
            let _ = writeln!(text, "    style n{} stroke-dasharray:4 3", places[digest]);
        }
        text
    }
}

fn label(node: &LineageNode) -> String {
    let digest = node.digest.short();
    match node.names.as_slice() {
        [] => format!("not registered<br/>{digest}"),
        [first, rest @ ..] => {
            let others = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
            let rows = node.rows.unwrap_or_default();
            format!("{first}{others}<br/>{rows} rows<br/>{digest}")
        }
    }
}

/// Free text between quotes of Mermaid, which takes entities with `#` for `&`.
fn escaped(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars().take(LABEL_CHARS) {
        match c {
            'A'..='Z' | 'a'..='z' | '0'..='9' | ' ' | '.' | '-' | '_' | '+' | ':' | '/' => shown.push(c),
            other => {
                let _ = write!(shown, "#{};", u32::from(other));
            }
        }
    }
    shown
}
