//! What a forest may hold, and the checks at the door.

use std::collections::BTreeSet;

use crate::{Error, Result};

use super::{Link, Tree};

/// Most trees of a forest.
pub const TREES_MAX: usize = 100_000;
/// Most leaves of a forest, all trees together.
pub const LEAVES_MAX: usize = 1 << 24;
/// Longest path from a root to a leaf, in splits.
pub const DEPTH_MAX: usize = 1_024;
/// Most input columns.
pub const FEATURES_MAX: usize = 65_536;
/// Longest name of an input column, in bytes.
pub const FEATURE_NAME_BYTES_MAX: usize = 1_024;
/// Greatest magnitude of a leaf value, a cover, a gain or the base score: sums of them stay finite.
pub const LEAF_VALUE_MAX: f64 = 1e100;
/// What [`LEAF_VALUE_MAX`] means, in words, for error messages.
const VALUE_MAX_DOMAIN: &str = "finite and at most 1e100 in magnitude";

/// What the check learns about a tree.
pub(super) struct Shape {
    /// Splits in the order of a walk that visits a parent before its children and the left subtree before the right.
    pub(super) splits_in_order: Vec<u32>,
    /// Leaves from left to right.
    pub(super) leaves_in_order: Vec<u32>,
    /// For split `s`: its leaves are `leaves_in_order[first[s]..end[s]]`, those of its left child end at `middle[s]`.
    pub(super) first: Vec<u32>,
    pub(super) middle: Vec<u32>,
    pub(super) end: Vec<u32>,
    pub(super) leaves: usize,
    /// Longest path in splits.
    pub(super) depth: usize,
}

pub(super) fn check(features: &[String], trees: &[Tree], link: Link, base_score: f64) -> Result<Vec<Shape>> {
    let refuse = |reason: String| Err(Error::invalid_data("forest", reason));
    check_features(features)?;
    check_link(link).map_err(|reason| Error::invalid_data("forest", reason))?;
    if !within(base_score) {
        return refuse(format!("base score {base_score} is not {VALUE_MAX_DOMAIN}"));
    }
    if trees.len() > TREES_MAX {
        return refuse(format!("{} trees are more than {TREES_MAX}", trees.len()));
    }
    let leaves: usize = trees.iter().map(Tree::leaves).sum();
    if leaves > LEAVES_MAX {
        return refuse(format!("{leaves} leaves are more than {LEAVES_MAX}"));
    }
    let checked = trees.iter().enumerate().map(|(at, tree)| {
        check_tree(tree, features.len())
            .map_err(|reason| Error::invalid_data(format!("tree {at} of the forest"), reason))
    });
    checked.collect()
}

/// What is wrong with a link.
pub(crate) fn check_link(link: Link) -> Result<(), String> {
    match link {
        Link::Logistic { slope } if !(slope.is_finite() && slope > 0.0) => {
            Err(format!("slope {slope} of the logistic link is not finite and above 0"))
        }
        _ => Ok(()),
    }
}

pub(crate) fn check_features(features: &[String]) -> Result<()> {
    if features.len() > FEATURES_MAX {
        let reason = format!("{} features are more than {FEATURES_MAX}", features.len());
        return Err(Error::invalid_data("forest", reason));
    }
    let mut seen = BTreeSet::new();
    for (at, name) in features.iter().enumerate() {
        let fault = if name.is_empty() {
            "is empty"
        } else if name.len() > FEATURE_NAME_BYTES_MAX {
            "is too long"
        } else if !seen.insert(name.as_str()) {
            "is there twice"
        } else {
            continue;
        };
        return Err(Error::invalid_data("forest", format!("the name of feature {at} {fault}")));
    }
    Ok(())
}

fn within(value: f64) -> bool {
    value.abs() <= LEAF_VALUE_MAX
}

/// The shape of a sound tree, or what is wrong with it.
fn check_tree(tree: &Tree, features: usize) -> Result<Shape, String> {
    check_arrays(tree, features)?;
    let splits = tree.splits();
    let mut parents = vec![0_u8; splits + tree.leaves()];
    for &child in tree.left.iter().chain(&tree.right) {
        let slot = if child >= 0 { child as usize } else { splits + !child as usize };
        let known = if child >= 0 { (1..splits).contains(&slot) } else { slot < parents.len() };
        if !known {
            return Err(format!("child {child} does not exist or is the root"));
        }
        if parents[slot] > 0 {
            return Err(format!("child {child} has two parents"));
        }
        parents[slot] = 1;
    }
    // n splits have 2n child slots for n - 1 splits and n + 1 leaves, so by now everything has exactly one parent;
    // what is left are rings that the root does not reach.
    walk(tree)
}

fn check_arrays(tree: &Tree, features: usize) -> Result<(), String> {
    let splits = tree.splits();
    let lengths = [tree.threshold.len(), tree.default_left.len(), tree.left.len(), tree.right.len(), tree.gain.len()];
    if lengths.iter().any(|&length| length != splits) {
        return Err(format!("arrays of {splits} splits have lengths {lengths:?}"));
    }
    if tree.leaves() != splits + 1 || tree.leaf_cover.len() != splits + 1 {
        let (leaves, covers) = (tree.leaves(), tree.leaf_cover.len());
        return Err(format!("{splits} splits with {leaves} leaf values and {covers} leaf covers"));
    }
    if let Some(feature) = tree.feature.iter().find(|&&feature| feature as usize >= features) {
        return Err(format!("feature {feature} of {features} does not exist"));
    }
    if tree.threshold.iter().any(|&threshold| threshold.is_nan() || threshold == f64::NEG_INFINITY) {
        return Err("a threshold is NaN or -inf".to_owned());
    }
    if !tree.leaf_value.iter().chain(&tree.gain).all(|&value| within(value)) {
        return Err(format!("a leaf value or a gain is not {VALUE_MAX_DOMAIN}"));
    }
    if !tree.leaf_cover.iter().all(|&cover| (0.0..=LEAF_VALUE_MAX).contains(&cover)) {
        return Err("a leaf cover is negative, not finite or above 1e100".to_owned());
    }
    Ok(())
}

/// Visits every node once, left before right, without recursion.
fn walk(tree: &Tree) -> Result<Shape, String> {
    let splits = tree.splits();
    let mut shape = Shape {
        splits_in_order: Vec::with_capacity(splits),
        leaves_in_order: Vec::with_capacity(splits + 1),
        first: vec![0; splits],
        middle: vec![0; splits],
        end: vec![0; splits],
        leaves: splits + 1,
        depth: 0,
    };
    if splits == 0 {
        shape.leaves_in_order.push(0);
        return Ok(shape);
    }
    // The path from the root, with what is still to be done at each split: 0 left, 1 right, 2 leave.
    let mut path: Vec<(u32, u8)> = vec![(0, 0)];
    while let Some((split, todo)) = path.last_mut() {
        let (at, reached) = (*split as usize, shape.leaves_in_order.len() as u32);
        let child = match *todo {
            0 => {
                shape.splits_in_order.push(*split);
                shape.first[at] = reached;
                tree.left[at]
            }
            1 => {
                shape.middle[at] = reached;
                tree.right[at]
            }
            _ => {
                shape.end[at] = reached;
                path.pop();
                continue;
            }
        };
        *todo += 1;
        if child < 0 {
            shape.leaves_in_order.push(!child as u32);
        } else {
            path.push((child as u32, 0));
        }
        shape.depth = shape.depth.max(path.len());
        if shape.depth > DEPTH_MAX {
            return Err(format!("deeper than {DEPTH_MAX} splits"));
        }
    }
    if shape.splits_in_order.len() == splits && shape.leaves_in_order.len() == splits + 1 {
        Ok(shape)
    } else {
        Err(format!("only {} of {splits} splits are reached from the root", shape.splits_in_order.len()))
    }
}
