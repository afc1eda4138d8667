//! Scoring of deep trees: several independent walks in lock-step hide the latency of each.

use super::limits::Shape;
use super::tree::Tree;

/// Walks that run side by side.
const LANES: usize = 8;
/// Highest bit of [`Node::feature`]: a missing value goes right.
const MISSING_RIGHT_BIT: u32 = 31;
const MISSING_RIGHT: u32 = 1 << MISSING_RIGHT_BIT;

/// Sixteen bytes: a split, or a leaf that is its own left child.
#[derive(Clone, Copy)]
struct Node {
    /// Greatest value that goes left; `+∞` in a leaf.
    threshold: f64,
    feature: u32,
    /// Left child; the right one is next to it. A leaf names itself.
    next: u32,
}

/// All trees in one array, children side by side.
#[derive(Clone)]
pub(super) struct WalkKernel {
    nodes: Vec<Node>,
    /// Leaf value of each node; 0 for splits.
    values: Vec<f64>,
    /// Root and depth of each tree.
    roots: Vec<(u32, u32)>,
}

impl WalkKernel {
    pub(super) fn compile(trees: &[Tree], shapes: &[Shape]) -> Self {
        let size: usize = shapes.iter().map(|shape| 2 * shape.leaves - 1).sum();
        let mut kernel = Self {
            nodes: Vec::with_capacity(size),
            values: Vec::with_capacity(size),
            roots: Vec::with_capacity(trees.len()),
        };
        for (tree, shape) in trees.iter().zip(shapes) {
            kernel.roots.push((kernel.nodes.len() as u32, shape.depth as u32));
            kernel.push(tree);
        }
        kernel
    }

    /// Appends `tree` breadth first, so that the hot upper levels share cache lines.
    fn push(&mut self, tree: &Tree) {
        let root = self.nodes.len();
        let mut order = vec![if tree.splits() == 0 { !0 } else { 0_i32 }];
        let mut at = 0;
        while let Some(&child) = order.get(at) {
            let here = (root + at) as u32;
            if child < 0 {
                self.nodes.push(Node { threshold: f64::INFINITY, feature: 0, next: here });
                self.values.push(tree.leaf_value[!child as usize]);
            } else {
                let split = child as usize;
                let missing = if tree.default_left[split] { 0 } else { MISSING_RIGHT };
                let next = (root + order.len()) as u32;
                self.nodes.push(Node {
                    threshold: tree.threshold[split],
                    feature: tree.feature[split] | missing,
                    next,
                });
                self.values.push(0.0);
                order.extend([tree.left[split], tree.right[split]]);
            }
            at += 1;
        }
    }

    /// Where the walks from `nodes` end, after `depth` steps.
    fn descend(&self, mut nodes: [u32; LANES], depth: u32, value: impl Fn(usize, usize) -> f64) -> [u32; LANES] {
        for _ in 0..depth {
            let before = nodes;
            for (lane, at) in nodes.iter_mut().enumerate() {
                let node = self.nodes[*at as usize];
                let x = value(lane, (node.feature & !MISSING_RIGHT) as usize);
                // Sums of bits: a branch here would be mispredicted at every other step.
                let missing_right = u32::from(x.is_nan()) & (node.feature >> MISSING_RIGHT_BIT);
                *at = node.next + (u32::from(x > node.threshold) | missing_right);
            }
            if nodes == before {
                break;
            }
        }
        nodes
    }

    /// Adds the trees' values to `out`, tree by tree.
    pub(super) fn add_scores(&self, columns: &[&[f64]], out: &mut [f64]) {
        // A forest without features has constant trees only; nobody looks at the value then.
        let value = |row: usize, feature: usize| columns.get(feature).map_or(0.0, |column| column[row]);
        for &(root, depth) in &self.roots {
            for (block, scores) in out.chunks_mut(LANES).enumerate() {
                let first = block * LANES;
                let last = first + scores.len() - 1;
                let ends = self.descend([root; LANES], depth, |lane, feature| value((first + lane).min(last), feature));
                for (score, end) in scores.iter_mut().zip(ends) {
                    *score += self.values[end as usize];
                }
            }
        }
    }

    /// `base` plus the values of all trees for one row.
    pub(super) fn score(&self, row: &[f64], base: f64) -> f64 {
        let mut score = base;
        for trees in self.roots.chunks(LANES) {
            let mut nodes = [trees[0].0; LANES];
            let mut deepest = 0;
            for (node, &(root, depth)) in nodes.iter_mut().zip(trees) {
                *node = root;
                deepest = deepest.max(depth);
            }
            let ends = self.descend(nodes, deepest, |_, feature| row.get(feature).copied().unwrap_or(0.0));
            for &end in &ends[..trees.len()] {
                score += self.values[end as usize];
            }
        }
        score
    }
}
