//! The part of a lineage graph that can be reached from one content.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::{Direction, Lineage, LineageEdge, LineageNode, cycles};
use crate::Digest;

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
}
