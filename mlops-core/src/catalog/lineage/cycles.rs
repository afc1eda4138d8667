//! Cycles of a graph: its strongly connected components that hold an edge.

use std::collections::{BTreeMap, BTreeSet};

use super::LineageEdge;
use crate::Digest;

type Ways = BTreeMap<Digest, Vec<Digest>>;

/// The cycles among `edges`, each with its members sorted, themselves sorted.
///
/// # Source
/// Two depth-first walks, the second against the edges (S. Rao Kosaraju; published by M. Sharir, *A strong-connectivity
/// algorithm and its applications in data flow analysis*, 1981). Stacks are on the heap: lineage may be long.
pub(super) fn find(edges: &[LineageEdge]) -> Vec<Vec<Digest>> {
    let (mut forth, mut back) = (Ways::new(), Ways::new());
    for edge in edges {
        forth.entry(edge.parent).or_default().push(edge.child);
        back.entry(edge.child).or_default().push(edge.parent);
    }
    let mut seen = BTreeSet::new();
    let mut finished = Vec::new();
    for start in forth.keys() {
        finished.extend(walk(*start, &forth, &mut seen));
    }
    let mut seen = BTreeSet::new();
    let mut cycles = Vec::new();
    for start in finished.into_iter().rev() {
        let mut members = walk(start, &back, &mut seen);
        members.sort_unstable();
        let returns = |one: &Digest| forth.get(one).is_some_and(|ends| ends.contains(one));
        if members.len() > 1 || members.first().is_some_and(returns) {
            cycles.push(members);
        }
    }
    cycles.sort_unstable();
    cycles
}

/// What can be reached from `start` and was not seen before, in the order in which walks through it end.
fn walk(start: Digest, ways: &Ways, seen: &mut BTreeSet<Digest>) -> Vec<Digest> {
    let ends = |of: &Digest| ways.get(of).map_or(&[][..], Vec::as_slice);
    let mut finished = Vec::new();
    if !seen.insert(start) {
        return finished;
    }
    let mut stack = vec![(start, 0)];
    while let Some((digest, next)) = stack.last_mut() {
        if let Some(end) = ends(digest).get(*next) {
            *next += 1;
            if seen.insert(*end) {
                stack.push((*end, 0));
            }
        } else {
            finished.push(*digest);
            stack.pop();
        }
    }
    finished
}
