//! A trace as a picture.

mod layers;
mod mermaid;
mod svg;

pub use mermaid::mermaid_text;

use std::collections::BTreeMap;

use super::{LineageEdge, LineageNode, Trace};
use crate::Digest;

/// Contents of one drawing at the most: those that are nearest to where the walk began.
pub const DRAWN_NODES_MAX: usize = 300;
/// Edges of one drawing at the most.
pub const DRAWN_EDGES_MAX: usize = 500;

/// What of a trace is drawn. The start comes first.
struct Drawn<'a> {
    nodes: Vec<&'a LineageNode>,
    edges: Vec<DrawnEdge<'a>>,
    missing: Vec<usize>,
    /// Contents and edges that there was no room for.
    left_out: (usize, usize),
}

struct DrawnEdge<'a> {
    from: usize,
    to: usize,
    edge: &'a LineageEdge,
}

impl<'a> Drawn<'a> {
    fn of(trace: &'a Trace) -> Self {
        let nodes: Vec<_> = trace.nodes.iter().take(DRAWN_NODES_MAX).map(|reached| &reached.node).collect();
        let places: BTreeMap<Digest, usize> = nodes.iter().enumerate().map(|(at, node)| (node.digest, at)).collect();
        let drawn = |edge: &'a LineageEdge| {
            Some(DrawnEdge { from: *places.get(&edge.parent)?, to: *places.get(&edge.child)?, edge })
        };
        let edges: Vec<_> = trace.edges.iter().filter_map(drawn).take(DRAWN_EDGES_MAX).collect();
        let missing = trace.missing.iter().filter_map(|digest| places.get(digest).copied()).collect();
        let left_out = (trace.nodes.len() - nodes.len(), trace.edges.len() - edges.len());
        Self { nodes, edges, missing, left_out }
    }

    /// Says what is not drawn, where that is so.
    fn note(&self) -> Option<String> {
        let (nodes, edges) = self.left_out;
        (nodes + edges > 0).then(|| format!("{nodes} contents and {edges} edges more are not drawn"))
    }
}

/// The lines of a content's label.
fn lines(node: &LineageNode) -> Vec<String> {
    let digest = node.digest.short();
    let [first, rest @ ..] = node.names.as_slice() else { return vec!["not registered".to_owned(), digest] };
    let others = if rest.is_empty() { String::new() } else { format!(" and {} more", rest.len()) };
    let mut lines = vec![format!("{first}{others}")];
    lines.extend(node.rows.map(|rows| format!("{rows} rows")));
    lines.push(digest);
    lines
}

/// What an edge says.
fn words(edge: &LineageEdge) -> String {
    format!("{} {}", edge.operation, edge.code_version)
}

#[cfg(test)]
mod tests;
