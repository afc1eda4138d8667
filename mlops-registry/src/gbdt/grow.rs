//! One tree: leaf-wise growth on gradient histograms.

use std::ops::Range;

use crate::forest::{DEPTH_MAX, LEAF_VALUE_MAX, Tree};

use super::bins::{Binned, MISSING};
use super::params::GbdtParamsBuilder;

/// First and second derivative of the loss at a row.
pub(super) type Gradient = [f64; 2];

/// Memory that histograms may take; what does not fit is counted again when it is needed.
const HISTOGRAM_BYTES_MAX: usize = 512 << 20;
/// Share of a leaf's own score below which a gain is rounding noise.
const GAIN_NOISE: f64 = 1e-12;
/// What a hessian is raised to where it divides.
const HESSIAN_FLOOR: f64 = 1e-15;

/// Sums over some rows: a leaf, or one bin of a histogram.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Sum {
    gradient: f64,
    hessian: f64,
    rows: u64,
}

impl Sum {
    fn add(&mut self, other: Self) {
        self.gradient += other.gradient;
        self.hessian += other.hessian;
        self.rows += other.rows;
    }

    fn minus(self, other: Self) -> Self {
        Self {
            gradient: self.gradient - other.gradient,
            hessian: self.hessian - other.hessian,
            rows: self.rows - other.rows,
        }
    }
}

/// The best way to cut a leaf in two.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Split {
    /// Index in `Binned::features`.
    feature: usize,
    /// Last bin that goes left.
    bin: usize,
    missing_left: bool,
    gain: f64,
    left: Sum,
}

/// A leaf while the tree grows.
struct Leaf {
    /// Its rows, as a range of `Grower::rows`.
    rows: Range<usize>,
    sum: Sum,
    depth: usize,
    /// The split above it and whether it is that one's left child.
    parent: Option<(usize, bool)>,
    /// Kept for subtraction, as long as memory allows.
    histogram: Option<Vec<Sum>>,
    best: Option<Split>,
}

/// A tree in terms of bins as well as of values.
pub(super) struct Grown {
    pub(super) tree: Tree,
    /// Per split: feature index in `Binned::features` and last bin that goes left.
    cuts: Vec<(usize, u8)>,
    /// The rows that it was grown on, leaf by leaf.
    rows: Vec<u32>,
    leaf_rows: Vec<Range<usize>>,
}

impl Grown {
    /// The leaves and the rows that it was grown on.
    pub(super) fn leaves(&self) -> impl Iterator<Item = (f64, &[u32])> {
        self.leaf_rows.iter().zip(&self.tree.leaf_value).map(|(rows, &value)| (value, &self.rows[rows.clone()]))
    }

    /// What the tree adds to a row, given the bin of each feature.
    pub(super) fn value(&self, bin: impl Fn(usize) -> u8) -> f64 {
        let mut child = 0_i32;
        while child >= 0 {
            let split = child as usize;
            let (feature, last_left) = self.cuts[split];
            let bin = bin(feature);
            let goes_left = if bin == MISSING { self.tree.default_left[split] } else { bin <= last_left };
            child = if goes_left { self.tree.left[split] } else { self.tree.right[split] };
        }
        self.tree.leaf_value[!child as usize]
    }
}

/// Grows trees on one binned matrix; buffers are used again from tree to tree.
pub(super) struct Grower<'a> {
    data: &'a Binned,
    settings: &'a GbdtParamsBuilder,
    /// Where the cells of each feature start in a histogram, and their number in all.
    offsets: Vec<usize>,
    cells: usize,
    depth_max: usize,
    /// Histograms that nobody uses at the moment.
    free: Vec<Vec<Sum>>,
    /// Histograms that leaves hold on to, and how many those may be.
    live: usize,
    live_max: usize,
    gathered: Vec<Gradient>,
    right: Vec<u32>,
}

impl<'a> Grower<'a> {
    pub(super) fn new(data: &'a Binned, settings: &'a GbdtParamsBuilder) -> Self {
        let mut cells = 0;
        let mut offsets = Vec::with_capacity(data.features.len());
        for feature in &data.features {
            offsets.push(cells);
            cells += feature.cells();
        }
        let live_max = HISTOGRAM_BYTES_MAX / (cells.max(1) * size_of::<Sum>());
        let depth_max = settings.depth_max.map_or(DEPTH_MAX, |depth| (depth as usize).min(DEPTH_MAX));
        let (free, gathered, right) = (Vec::new(), Vec::new(), Vec::new());
        Self { data, settings, offsets, cells, depth_max, free, live: 0, live_max, gathered, right }
    }

    /// A tree on `rows`, looking at `features` only; `None` when no split is worth it.
    pub(super) fn grow(&mut self, gradients: &[Gradient], mut rows: Vec<u32>, features: &[u32]) -> Option<Grown> {
        let mut tree = Tree::default();
        let mut cuts = Vec::new();
        let sum = total(gradients, &rows);
        let mut leaves = vec![Leaf { rows: 0..rows.len(), sum, depth: 0, parent: None, histogram: None, best: None }];
        if self.may_split(&leaves[0]) {
            let histogram = self.count(gradients, &rows, features);
            self.judge(&mut leaves[0], histogram, features);
        }
        while leaves.len() < self.settings.leaves_max as usize {
            let Some((at, split)) = next_leaf(&leaves) else { break };
            let number = tree.splits();
            self.record(&mut tree, &mut cuts, &split);
            let new = self.divide(&mut rows, &mut leaves[at], &split, number);
            link(&mut tree, at, leaves.len(), number, leaves[at].parent.replace((number, true)));
            leaves.push(new);
            if leaves.len() < self.settings.leaves_max as usize {
                self.judge_children(gradients, &rows, features, &mut leaves, at);
            }
        }
        self.free.extend(leaves.iter_mut().filter_map(|leaf| leaf.histogram.take()));
        self.live = 0;
        if tree.splits() == 0 {
            return None;
        }
        // Sums that went through subtractions are good enough to choose splits; values are made from the rows.
        for leaf in &leaves {
            let sum = total(gradients, &rows[leaf.rows.clone()]);
            let step = -self.settings.learning_rate * sum.gradient / self.damped(sum.hessian);
            tree.leaf_value.push(step.clamp(-LEAF_VALUE_MAX, LEAF_VALUE_MAX));
            tree.leaf_cover.push(sum.rows as f64);
        }
        Some(Grown { tree, cuts, rows, leaf_rows: leaves.into_iter().map(|leaf| leaf.rows).collect() })
    }

    fn may_split(&self, leaf: &Leaf) -> bool {
        leaf.depth < self.depth_max && leaf.sum.rows >= 2 * u64::from(self.settings.rows_leaf_min)
    }

    /// Writes the split itself; its children are linked by [`link`].
    fn record(&self, tree: &mut Tree, cuts: &mut Vec<(usize, u8)>, split: &Split) {
        let feature = &self.data.features[split.feature];
        // After the last value only missing ones are left to go right.
        let threshold = feature.edges.get(split.bin).copied().unwrap_or(f64::INFINITY);
        tree.feature.push(feature.column as u32);
        tree.threshold.push(threshold);
        tree.default_left.push(split.missing_left);
        tree.gain.push(split.gain.min(LEAF_VALUE_MAX));
        cuts.push((split.feature, split.bin as u8));
    }

    /// Sorts the rows of `leaf` by side, shrinks it to its left part and returns the right one.
    fn divide(&mut self, rows: &mut [u32], leaf: &mut Leaf, split: &Split, number: usize) -> Leaf {
        let bins = &self.data.features[split.feature].bins;
        let own = &mut rows[leaf.rows.clone()];
        self.right.clear();
        let mut kept = 0;
        for at in 0..own.len() {
            let row = own[at];
            let bin = bins[row as usize];
            let goes_left = if bin == MISSING { split.missing_left } else { usize::from(bin) <= split.bin };
            if goes_left {
                own[kept] = row;
                kept += 1;
            } else {
                self.right.push(row);
            }
        }
        own[kept..].copy_from_slice(&self.right);
        debug_assert_eq!(kept as u64, split.left.rows);
        let middle = leaf.rows.start + kept;
        let right = Leaf {
            rows: middle..leaf.rows.end,
            sum: leaf.sum.minus(split.left),
            depth: leaf.depth + 1,
            parent: Some((number, false)),
            histogram: None,
            best: None,
        };
        leaf.rows.end = middle;
        leaf.sum = split.left;
        leaf.depth += 1;
        leaf.best = None;
        right
    }

    /// Finds the best splits of leaf `left` and of the last leaf, which were one until now.
    ///
    /// Only the smaller one is counted; the other is what it leaves of the histogram they shared.
    fn judge_children(
        &mut self,
        gradients: &[Gradient],
        rows: &[u32],
        features: &[u32],
        leaves: &mut [Leaf],
        left: usize,
    ) {
        let shared = leaves[left].histogram.take();
        self.live -= usize::from(shared.is_some());
        let right = leaves.len() - 1;
        let (small, large) =
            if leaves[left].sum.rows <= leaves[right].sum.rows { (left, right) } else { (right, left) };
        if !self.may_split(&leaves[small]) && !self.may_split(&leaves[large]) {
            self.free.extend(shared);
            return;
        }
        let counted = self.count(gradients, &rows[leaves[small].rows.clone()], features);
        let rest = match shared {
            Some(mut shared) => {
                self.subtract(&mut shared, &counted, features);
                shared
            }
            None => self.count(gradients, &rows[leaves[large].rows.clone()], features),
        };
        self.judge(&mut leaves[small], counted, features);
        self.judge(&mut leaves[large], rest, features);
    }

    /// Finds the best split of `leaf` and keeps its histogram where it will be of use and memory allows.
    fn judge(&mut self, leaf: &mut Leaf, histogram: Vec<Sum>, features: &[u32]) {
        if self.may_split(leaf) {
            leaf.best = self.best_split(&histogram, leaf.sum, features);
        }
        if leaf.best.is_some() && self.live < self.live_max {
            self.live += 1;
            leaf.histogram = Some(histogram);
        } else {
            self.free.push(histogram);
        }
    }

    /// The histogram of `rows`; cells of other features than `features` hold anything.
    fn count(&mut self, gradients: &[Gradient], rows: &[u32], features: &[u32]) -> Vec<Sum> {
        let mut histogram = self.free.pop().unwrap_or_else(|| vec![Sum::default(); self.cells]);
        self.gathered.clear();
        self.gathered.extend(rows.iter().map(|&row| gradients[row as usize]));
        for &at in features {
            let feature = &self.data.features[at as usize];
            // One cell per value of a byte, so that no row needs a bounds check.
            let mut cells = [Sum::default(); 256];
            for (&row, &[gradient, hessian]) in rows.iter().zip(&self.gathered) {
                cells[usize::from(feature.bins[row as usize])].add(Sum { gradient, hessian, rows: 1 });
            }
            let own = &mut histogram[self.offsets[at as usize]..][..feature.cells()];
            own[..feature.value_bins()].copy_from_slice(&cells[..feature.value_bins()]);
            if feature.has_missing {
                own[feature.value_bins()] = cells[usize::from(MISSING)];
            }
        }
        histogram
    }

    fn subtract(&self, histogram: &mut [Sum], counted: &[Sum], features: &[u32]) {
        for &at in features {
            let range = self.offsets[at as usize]..self.offsets[at as usize] + self.data.features[at as usize].cells();
            for (cell, &counted) in histogram[range.clone()].iter_mut().zip(&counted[range]) {
                *cell = cell.minus(counted);
            }
        }
    }

    /// The split with the greatest gain; of equal ones the first feature, then the lowest bin.
    fn best_split(&self, histogram: &[Sum], sum: Sum, features: &[u32]) -> Option<Split> {
        let noise = GAIN_NOISE * self.score(sum);
        let mut best = Split { gain: self.settings.gain_min.max(noise), feature: usize::MAX, ..Split::default() };
        for &at in features {
            let feature = &self.data.features[at as usize];
            let cells = &histogram[self.offsets[at as usize]..][..feature.cells()];
            let (values, missing) = cells.split_at(feature.value_bins());
            let missing = missing.first().copied().unwrap_or_default();
            self.scan(at as usize, values, missing, sum, false, &mut best);
            if missing.rows > 0 {
                self.scan(at as usize, values, missing, sum, true, &mut best);
            }
        }
        (best.feature != usize::MAX).then_some(best)
    }

    /// Tries every cut of one feature from the lowest value up, with missing values on one side.
    fn scan(&self, feature: usize, values: &[Sum], missing: Sum, sum: Sum, missing_left: bool, best: &mut Split) {
        let rows_min = u64::from(self.settings.rows_leaf_min);
        let hessian_min = self.settings.hessian_leaf_min;
        let before = self.score(sum);
        let mut left = if missing_left { missing } else { Sum::default() };
        for (bin, &cell) in values.iter().enumerate() {
            if cell.rows == 0 {
                continue;
            }
            left.add(cell);
            if left.rows < rows_min || left.hessian < hessian_min {
                continue;
            }
            let right = sum.minus(left);
            if right.rows < rows_min || right.hessian < hessian_min {
                break;
            }
            let gain = self.score(left) + self.score(right) - before;
            if gain > best.gain {
                // Where the leaf holds no missing value, one that comes later goes with the majority.
                let missing_left = if missing.rows == 0 { left.rows >= right.rows } else { missing_left };
                *best = Split { feature, bin, missing_left, gain, left };
            }
        }
    }

    /// What the loss falls by, twice over, when `sum` becomes a leaf of its own: `G² / (H + λ)`.
    fn score(&self, sum: Sum) -> f64 {
        sum.gradient * sum.gradient / self.damped(sum.hessian)
    }

    fn damped(&self, hessian: f64) -> f64 {
        (hessian + self.settings.lambda_l2).max(HESSIAN_FLOOR)
    }
}

/// Links split `number`, which takes the place of leaf `left`, and its two leaves.
fn link(tree: &mut Tree, left: usize, right: usize, number: usize, parent: Option<(usize, bool)>) {
    match parent {
        Some((parent, true)) => tree.left[parent] = number as i32,
        Some((parent, false)) => tree.right[parent] = number as i32,
        None => {}
    }
    tree.left.push(!(left as i32));
    tree.right.push(!(right as i32));
}

/// The leaf whose split gains most; of equal ones the oldest.
fn next_leaf(leaves: &[Leaf]) -> Option<(usize, Split)> {
    let mut next: Option<(usize, Split)> = None;
    for (at, leaf) in leaves.iter().enumerate() {
        if let Some(split) = leaf.best
            && next.is_none_or(|(_, found)| split.gain > found.gain)
        {
            next = Some((at, split));
        }
    }
    next
}

fn total(gradients: &[Gradient], rows: &[u32]) -> Sum {
    let mut sum = Sum::default();
    for &row in rows {
        let [gradient, hessian] = gradients[row as usize];
        sum.add(Sum { gradient, hessian, rows: 1 });
    }
    sum
}
