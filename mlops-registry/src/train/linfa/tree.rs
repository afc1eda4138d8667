//! A single decision tree.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use linfa::prelude::Fit;
use linfa_trees::{DecisionTree, TreeNode};
use ndarray::{Array1, ArrayView1};
use serde::{Deserialize, Serialize};

use super::matrix::Rows;
use crate::flavor::ForestModel;
use crate::forest::{Forest, Link, Tree};
use crate::train::{Round, TrainData, Trained, Trainer};
use crate::{Error, Result};

/// A binary classification tree by Gini impurity; gives the share of label 1 among the training rows of a leaf.
///
/// linfa keeps only the majority class of a leaf, so the shares are counted here; the tree is kept as a one-tree forest.
/// A missing value at prediction goes to the side of the greater part of the training rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "DecisionTreeBuilder", into = "DecisionTreeBuilder")]
pub struct DecisionTreeTrainer {
    settings: DecisionTreeBuilder,
}

/// Settings of a [`DecisionTreeTrainer`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DecisionTreeBuilder {
    depth_max: usize,
    rows_leaf_min: f32,
}

impl Default for DecisionTreeBuilder {
    fn default() -> Self {
        Self { depth_max: 6, rows_leaf_min: 20.0 }
    }
}

impl DecisionTreeBuilder {
    /// Most splits between the root and a leaf, 1 to 64. Default 6.
    pub fn depth_max(mut self, depth: usize) -> Self {
        self.depth_max = depth;
        self
    }

    /// Least weight of training rows in a leaf. Default 20.
    pub fn rows_leaf_min(mut self, rows: f32) -> Self {
        self.rows_leaf_min = rows;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Invalid`](mlops_core::Error::Invalid) when a setting is outside of what is stated above.
    pub fn build(self) -> Result<DecisionTreeTrainer> {
        if !(1..=64).contains(&self.depth_max) {
            return Err(Error::invalid("depth_max", self.depth_max, "between 1 and 64"));
        }
        if !(self.rows_leaf_min > 0.0 && self.rows_leaf_min.is_finite()) {
            return Err(Error::invalid("rows_leaf_min", self.rows_leaf_min, "finite and above 0"));
        }
        Ok(DecisionTreeTrainer { settings: self })
    }
}

impl TryFrom<DecisionTreeBuilder> for DecisionTreeTrainer {
    type Error = Error;

    fn try_from(settings: DecisionTreeBuilder) -> Result<Self> {
        settings.build()
    }
}

impl From<DecisionTreeTrainer> for DecisionTreeBuilder {
    fn from(trainer: DecisionTreeTrainer) -> Self {
        trainer.settings
    }
}

impl DecisionTreeTrainer {
    /// Starts from the defaults.
    pub fn builder() -> DecisionTreeBuilder {
        DecisionTreeBuilder::default()
    }
}

/// A linfa tree being rewritten: children are split indices, or leaf indices with all bits turned.
struct Rewrite {
    tree: Tree,
    /// Weight of rows, and weight of rows of label 1, per leaf.
    leaves: Vec<[f64; 2]>,
}

impl Rewrite {
    fn of(root: &TreeNode<f64, bool>) -> Self {
        let mut rewrite = Self { tree: Tree::constant(0.0, 0.0), leaves: Vec::new() };
        rewrite.tree.leaf_value.clear();
        rewrite.tree.leaf_cover.clear();
        rewrite.add(root);
        rewrite
    }

    /// Adds a node and what is below it; gives its place as a child. The depth is bounded by the settings.
    fn add(&mut self, node: &TreeNode<f64, bool>) -> i32 {
        let children = node.children();
        let (Some(Some(left)), Some(Some(right))) = (children.first().copied(), children.get(1).copied()) else {
            self.leaves.push([0.0; 2]);
            return !(self.leaves.len() as i32 - 1);
        };
        let (feature, threshold, gain) = node.split();
        let place = self.tree.feature.len();
        self.tree.feature.push(feature as u32);
        // linfa grows its trees by `x <= threshold` though its own predictions use `<`; this keeps to what was grown.
        self.tree.threshold.push(threshold);
        self.tree.gain.push(gain);
        self.tree.default_left.push(false);
        self.tree.left.push(0);
        self.tree.right.push(0);
        let left = self.add(left);
        let right = self.add(right);
        self.tree.left[place] = left;
        self.tree.right[place] = right;
        place as i32
    }

    fn leaf(&self, row: ArrayView1<'_, f64>) -> usize {
        if self.tree.feature.is_empty() {
            return 0;
        }
        let mut node = 0;
        loop {
            let goes_left = row[self.tree.feature[node] as usize] <= self.tree.threshold[node];
            let child = if goes_left { self.tree.left[node] } else { self.tree.right[node] };
            match usize::try_from(child) {
                Ok(split) => node = split,
                Err(_) => return !child as usize,
            }
        }
    }

    fn count(&mut self, rows: &Rows, classes: &Array1<bool>) {
        for (index, row) in rows.x.rows().into_iter().enumerate() {
            let weight = rows.weights.as_ref().map_or(1.0, |w| w[index]);
            let leaf = self.leaf(row);
            self.leaves[leaf][0] += weight;
            self.leaves[leaf][1] += if classes[index] { weight } else { 0.0 };
        }
    }

    fn cover(&self, child: i32) -> f64 {
        match usize::try_from(child) {
            Ok(split) => self.cover(self.tree.left[split]) + self.cover(self.tree.right[split]),
            Err(_) => self.leaves[!child as usize][0],
        }
    }

    fn finish(mut self) -> Tree {
        for split in 0..self.tree.feature.len() {
            self.tree.default_left[split] = self.cover(self.tree.left[split]) >= self.cover(self.tree.right[split]);
        }
        self.tree.leaf_cover = self.leaves.iter().map(|leaf| leaf[0]).collect();
        self.tree.leaf_value =
            self.leaves.iter().map(|leaf| if leaf[0] > 0.0 { leaf[1] / leaf[0] } else { 0.0 }).collect();
        self.tree
    }
}

impl Trainer for DecisionTreeTrainer {
    fn algorithm(&self) -> &'static str {
        "decision_tree"
    }

    fn settings(&self) -> Result<serde_json::Value> {
        serde_json::to_value(self).map_err(|e| Error::invalid_data("decision tree settings", e))
    }

    fn train(&self, data: &TrainData, _: &mut dyn FnMut(Round) -> ControlFlow<()>) -> Result<Trained> {
        let rows = Rows::read(data)?;
        let classes = rows.classes(data.label())?;
        let mut dataset = linfa::Dataset::new(rows.x.clone(), classes.clone());
        if let Some(weights) = &rows.weights {
            dataset = dataset.with_weights(weights.iter().map(|w| *w as f32).collect());
        }
        let settings = DecisionTree::params()
            .max_depth(Some(self.settings.depth_max))
            .min_weight_leaf(self.settings.rows_leaf_min)
            .min_weight_split(2.0 * self.settings.rows_leaf_min);
        let fitted = settings.fit(&dataset).map_err(|e| Error::external("linfa", e))?;
        let mut rewrite = Rewrite::of(fitted.root_node());
        rewrite.count(&rows, &classes);
        let forest = Forest::new(data.features().to_vec(), vec![rewrite.finish()], Link::Identity, 0.0)?;
        let importance = super::super::by_weight(forest.importance().into_iter().map(|i| (i.feature, i.gain)));
        let model = ForestModel::new(forest, data.signature("probability")?)?;
        Ok(Trained { model: Box::new(model), metrics: BTreeMap::new(), importance })
    }
}
