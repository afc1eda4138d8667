//! One tree that isolates rows by random cuts.

use serde::{Deserialize, Serialize};

use super::super::super::learn::Random;

/// Euler's constant.
const EULER: f64 = 0.577_215_664_901_532_9;

/// Mean depth at which a random tree of `rows` rows isolates one of them: `2 H(n − 1) − 2 (n − 1) / n`.
pub(super) fn mean_depth(rows: usize) -> f64 {
    match rows {
        0 | 1 => 0.0,
        2 => 1.0,
        _ => {
            let n = rows as f64;
            2.0 * ((n - 1.0).ln() + EULER) - 2.0 * (n - 1.0) / n
        }
    }
}

#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Node {
    /// Rows whose `column` is at most `at` go to node `low`, all others to the one after it; those without a value go where
    /// most went.
    Cut { column: u32, at: f64, low: u32, missing_low: bool },
    /// The depth of rows that end here.
    Leaf { depth: f64 },
}

/// A tree; node 0 is its root, and children come after their parents.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tree {
    nodes: Vec<Node>,
}

/// Rows that are still to be cut.
struct Open {
    node: usize,
    depth: u32,
    rows: Vec<u32>,
}

impl Tree {
    /// Grows a tree on `rows` of `columns`, NaN where a value is missing, no deeper than `depth_max`.
    pub(super) fn grow(columns: &[Vec<f64>], rows: Vec<u32>, depth_max: u32, random: &mut Random) -> Self {
        let mut nodes = vec![Node::Leaf { depth: 0.0 }];
        let mut open = vec![Open { node: 0, depth: 0, rows }];
        while let Some(Open { node, depth, rows }) = open.pop() {
            let cut = if depth < depth_max && rows.len() > 1 { cut(columns, &rows, random) } else { None };
            let Some((column, at)) = cut else {
                nodes[node] = Node::Leaf { depth: f64::from(depth) + mean_depth(rows.len()) };
                continue;
            };
            let (missing, present): (Vec<u32>, Vec<u32>) =
                rows.into_iter().partition(|row| columns[column][*row as usize].is_nan());
            let (mut low, mut high): (Vec<u32>, Vec<u32>) =
                present.into_iter().partition(|row| columns[column][*row as usize] <= at);
            let missing_low = low.len() >= high.len();
            if missing_low {
                low.extend(missing);
            } else {
                high.extend(missing);
            }
            let first = nodes.len();
            nodes[node] = Node::Cut { column: column as u32, at, low: first as u32, missing_low };
            nodes.extend([Node::Leaf { depth: 0.0 }; 2]);
            open.push(Open { node: first + 1, depth: depth + 1, rows: high });
            open.push(Open { node: first, depth: depth + 1, rows: low });
        }
        Self { nodes }
    }

    /// Whether a walk stays inside, looks at `columns` only and ends.
    pub(super) fn is_sound(&self, columns: usize) -> bool {
        let sound = |(place, node): (usize, &Node)| match *node {
            Node::Leaf { depth } => depth >= 0.0,
            Node::Cut { column, low, .. } => {
                (column as usize) < columns && low as usize > place && (low as usize) < self.nodes.len() - 1
            }
        };
        !self.nodes.is_empty() && self.nodes.iter().enumerate().all(sound)
    }

    /// The depth of `row`.
    pub(super) fn depth(&self, row: &[f64]) -> f64 {
        let mut node = 0;
        loop {
            match self.nodes[node] {
                Node::Leaf { depth } => return depth,
                Node::Cut { column, at, low, missing_low } => {
                    let value = row[column as usize];
                    let goes_low = if value.is_nan() { missing_low } else { value <= at };
                    node = low as usize + usize::from(!goes_low);
                }
            }
        }
    }
}

/// A random column that varies among `rows`, and a random point between its ends.
fn cut(columns: &[Vec<f64>], rows: &[u32], random: &mut Random) -> Option<(usize, f64)> {
    let mut untried: Vec<usize> = (0..columns.len()).collect();
    while !untried.is_empty() {
        let column = untried.swap_remove(random.below(untried.len()));
        let values = rows.iter().map(|row| columns[column][*row as usize]).filter(|value| !value.is_nan());
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), v| (l.min(v), h.max(v)));
        if low < high {
            // Huge ends: their difference may overflow where halves do not.
            let part = random.unit();
            let at = low * (1.0 - part) + high * part;
            return Some((column, if at < high { at } else { low }));
        }
    }
    None
}
