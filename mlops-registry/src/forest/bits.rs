//! Scoring without walks: every split that sends a row right crosses out the leaves on its left.
//!
//! Leaves are bits, numbered from left to right, all set at first. A split whose test fails clears the bits of its left
//! subtree; the lowest bit that is left over is the leaf of the row. Splits are visited by feature and threshold instead
//! of tree by tree, so there is no dependent load, no mispredicted branch, and a row only meets the splits that fail.
//!
//! Thresholds of one feature are sorted and a value is replaced by its rank among them, once per row. `value <=
//! threshold` is then an exact comparison of small integers, which lets sixteen rows share one register. One *slot*
//! holds up to 255 thresholds of a feature for one side of missing values, so that a missing value is a rank as well:
//! the lowest where it goes left, the highest where it goes right.
//!
//! After Lucchese et al., *QuickScorer: a fast algorithm to rank documents with additive ensembles of regression
//! trees*, SIGIR 2015, and Ye et al., *RapidScorer*, KDD 2018, which introduces masks by byte.

use super::limits::Shape;
use super::tree::Tree;

/// Most leaves of a tree for which clearing bits beats walking.
pub(super) const TREE_LEAVES_MAX: usize = 256;
/// Leaves of one mask word.
const WORD: usize = 32;
/// Mask words that are worked on at once: their masks for sixteen rows stay in the first-level cache.
const BLOCK_WORDS: usize = 64;
/// Rows that share a register.
const TILE: usize = 16;
/// Rows whose ranks are held at once.
const CHUNK: usize = 16 * TILE;
/// Fewer rows than this are scored one by one.
const TILE_ROWS_MIN: usize = 5;
/// Thresholds of a slot: ranks from 0 to 255 fit a byte.
const SLOT_THRESHOLDS_MAX: usize = 255;

/// Byte `b` of mask word `w` for sixteen rows.
type Plane = [u32; TILE / 4];
/// Ranks of sixteen rows in one slot.
type Ranks = [u8; TILE];

/// Thresholds of one feature, or 255 of them, for one side of missing values.
#[derive(Clone)]
struct Slot {
    feature: u32,
    missing_left: bool,
    /// Range in `thresholds`.
    first: u32,
    end: u32,
}

/// What a failed split does to one mask word of one row.
#[derive(Clone, Copy)]
struct RowEntry {
    word: u32,
    mask: u32,
}

/// What a failed split does to one byte of the masks of sixteen rows.
#[derive(Clone, Copy)]
struct TileEntry {
    /// Index in the planes of the block.
    plane: u32,
    /// The byte, four times.
    mask: u32,
}

/// The splits of a block with one threshold.
#[derive(Clone)]
struct Group {
    rank: u8,
    /// Range in `Block::entries`.
    first: u32,
    end: u32,
}

/// The groups of one slot in a block, by rank.
#[derive(Clone)]
struct Run {
    slot: u32,
    /// Range in `Block::groups`.
    first: u32,
    end: u32,
}

/// Consecutive trees.
#[derive(Clone)]
struct Block {
    /// Range in `BitKernel::tree_ends`.
    trees: std::ops::Range<usize>,
    /// Range of mask words.
    words: std::ops::Range<usize>,
    runs: Vec<Run>,
    groups: Vec<Group>,
    entries: Vec<TileEntry>,
}

/// A forest of trees with at most [`TREE_LEAVES_MAX`] leaves.
#[derive(Clone)]
pub(super) struct BitKernel {
    slots: Vec<Slot>,
    /// Ascending within each slot.
    thresholds: Vec<f64>,
    /// Entries of threshold `t` are `row_entries[row_starts[t]..row_starts[t + 1]]`.
    row_starts: Vec<u32>,
    row_entries: Vec<RowEntry>,
    blocks: Vec<Block>,
    /// One past the last mask word of each tree.
    tree_ends: Vec<u32>,
    /// Leaf values from left to right, padded to whole words: bit `b` of word `w` is `leaves[w][b]`.
    leaves: Vec<[f64; WORD]>,
}

/// A split on its way into the kernel.
struct Failing {
    /// Index in `thresholds`.
    threshold: u32,
    tree: u32,
    /// First mask word of the tree.
    word: u32,
    /// The leaves that it crosses out.
    first: u32,
    end: u32,
}

impl BitKernel {
    pub(super) fn compile(trees: &[Tree], shapes: &[Shape]) -> Self {
        let (slots, keys) = slots(trees);
        let mut kernel = Self {
            thresholds: keys.iter().map(|key| key.2).collect(),
            slots,
            row_starts: Vec::new(),
            row_entries: Vec::new(),
            blocks: Vec::new(),
            tree_ends: Vec::with_capacity(trees.len()),
            leaves: Vec::new(),
        };
        let mut splits = Vec::new();
        for (at, (tree, shape)) in trees.iter().zip(shapes).enumerate() {
            let word = kernel.leaves.len() as u32;
            for leaves in shape.leaves_in_order.chunks(WORD) {
                let mut values = [0.0; WORD];
                for (value, &leaf) in values.iter_mut().zip(leaves) {
                    *value = tree.leaf_value[leaf as usize];
                }
                kernel.leaves.push(values);
            }
            kernel.tree_ends.push(kernel.leaves.len() as u32);
            for split in 0..tree.splits() {
                let key = key(tree, split);
                let threshold = keys.partition_point(|known| order(known, &key).is_lt()) as u32;
                let (first, end) = (shape.first[split], shape.middle[split]);
                splits.push(Failing { threshold, tree: at as u32, word, first, end });
            }
        }
        kernel.fill_blocks(&splits);
        splits.sort_unstable_by_key(|split| (split.threshold, split.tree, split.first));
        kernel.fill_rows(&splits);
        kernel
    }

    fn fill_rows(&mut self, splits: &[Failing]) {
        let mut splits = splits.iter().peekable();
        for threshold in 0..self.thresholds.len() as u32 {
            self.row_starts.push(self.row_entries.len() as u32);
            while let Some(split) = splits.next_if(|split| split.threshold == threshold) {
                for (at, cleared) in pieces(split.first, split.end, WORD as u32) {
                    self.row_entries.push(RowEntry { word: split.word + at, mask: !cleared });
                }
            }
        }
        self.row_starts.push(self.row_entries.len() as u32);
    }

    /// Cuts the trees, whose splits come in tree order, into blocks of about [`BLOCK_WORDS`].
    fn fill_blocks(&mut self, mut splits: &[Failing]) {
        let mut tree = 0;
        while tree < self.tree_ends.len() {
            let word = if tree == 0 { 0 } else { self.tree_ends[tree - 1] as usize };
            let fits = self.tree_ends[tree..].partition_point(|&end| end as usize <= word + BLOCK_WORDS);
            let end = tree + fits.max(1);
            let own = splits.partition_point(|split| (split.tree as usize) < end);
            let words = word..self.tree_ends[end - 1] as usize;
            let block = Block::compile(tree..end, words, &splits[..own], &self.slots);
            self.blocks.push(block);
            splits = &splits[own..];
            tree = end;
        }
    }

    /// `base` plus the values of all trees for one row.
    pub(super) fn score(&self, row: &[f64], base: f64) -> f64 {
        let mut words = vec![u32::MAX; self.leaves.len()];
        for slot in &self.slots {
            let (first, end) = (slot.first as usize, slot.end as usize);
            let failing = first + slot.rank(row[slot.feature as usize], &self.thresholds[first..end]);
            let entries = self.row_starts[first] as usize..self.row_starts[failing] as usize;
            for entry in &self.row_entries[entries] {
                words[entry.word as usize] &= entry.mask;
            }
        }
        let mut score = base;
        let mut word = 0;
        for &end in &self.tree_ends {
            let end = end as usize;
            while words[word] == 0 && word + 1 < end {
                word += 1;
            }
            score += self.leaves[word][lowest(words[word])];
            word = end;
        }
        score
    }

    /// Adds the trees' values to `out`, tree by tree.
    pub(super) fn add_scores(&self, columns: &[&[f64]], out: &mut [f64]) {
        let tiled = if out.len() % TILE < TILE_ROWS_MIN { out.len() / TILE * TILE } else { out.len() };
        let (in_tiles, alone) = out.split_at_mut(tiled);
        let mut ranks = vec![[0; TILE]; self.slots.len() * in_tiles.len().min(CHUNK).div_ceil(TILE)];
        let mut planes = [[0; TILE / 4]; 4 * (BLOCK_WORDS + TREE_LEAVES_MAX / WORD)];
        for (at, scores) in in_tiles.chunks_mut(CHUNK).enumerate() {
            self.rank_rows(columns, at * CHUNK, scores.len(), &mut ranks);
            for block in &self.blocks {
                for (tile, scores) in scores.chunks_mut(TILE).enumerate() {
                    let ranks = &ranks[tile * self.slots.len()..(tile + 1) * self.slots.len()];
                    let planes = &mut planes[..4 * block.words.len()];
                    block.clear(ranks, planes);
                    self.add_leaves(block, planes, scores);
                }
            }
        }
        let mut row = vec![0.0; if alone.is_empty() { 0 } else { columns.len() }];
        for (at, score) in alone.iter_mut().enumerate() {
            for (value, column) in row.iter_mut().zip(columns) {
                *value = column[tiled + at];
            }
            *score = self.score(&row, *score);
        }
    }

    /// Ranks of `rows` rows from `first` on, tile by tile and slot by slot. Rows that are not there fail no test.
    fn rank_rows(&self, columns: &[&[f64]], first: usize, rows: usize, ranks: &mut [Ranks]) {
        for (at, slot) in self.slots.iter().enumerate() {
            let column = &columns[slot.feature as usize][first..first + rows];
            let thresholds = &self.thresholds[slot.first as usize..slot.end as usize];
            for (tile, values) in column.chunks(TILE).enumerate() {
                let mut tile_ranks = [0; TILE];
                for (rank, &value) in tile_ranks.iter_mut().zip(values) {
                    *rank = slot.rank(value, thresholds) as u8;
                }
                ranks[tile * self.slots.len() + at] = tile_ranks;
            }
        }
    }

    /// Adds the leaf of every tree of `block` to the scores of one tile.
    fn add_leaves(&self, block: &Block, planes: &[Plane], scores: &mut [f64]) {
        let (planes, _) = planes.as_chunks::<4>();
        let leaves = &self.leaves[block.words.clone()];
        let mut sums = [0.0; TILE];
        sums[..scores.len()].copy_from_slice(scores);
        let mut word = 0;
        for &end in &self.tree_ends[block.trees.clone()] {
            let end = end as usize - block.words.start;
            if end == word + 1 {
                let masks = masks(&planes[word]);
                for (sum, mask) in sums.iter_mut().zip(masks) {
                    *sum += leaves[word][lowest(mask)];
                }
            } else {
                let mut values = [0.0; TILE];
                for at in (word..end).rev() {
                    for (value, mask) in values.iter_mut().zip(masks(&planes[at])) {
                        let here = leaves[at][lowest(mask)];
                        *value = if mask == 0 { *value } else { here };
                    }
                }
                for (sum, value) in sums.iter_mut().zip(values) {
                    *sum += value;
                }
            }
            word = end;
        }
        scores.copy_from_slice(&sums[..scores.len()]);
    }
}

impl Block {
    fn compile(
        trees: std::ops::Range<usize>,
        words: std::ops::Range<usize>,
        splits: &[Failing],
        slots: &[Slot],
    ) -> Self {
        let mut order: Vec<&Failing> = splits.iter().collect();
        order.sort_unstable_by_key(|split| (split.threshold, split.tree, split.first));
        let (mut runs, mut groups, mut entries) = (Vec::<Run>::new(), Vec::<Group>::new(), Vec::new());
        for same in order.chunk_by(|a, b| a.threshold == b.threshold) {
            let threshold = same[0].threshold;
            let slot = slots.partition_point(|slot| slot.end <= threshold);
            let first = entries.len() as u32;
            for split in same {
                let plane = (split.word - words.start as u32) * 4;
                for (at, cleared) in pieces(split.first, split.end, 8) {
                    entries.push(TileEntry { plane: plane + at, mask: u32::from(!(cleared as u8)) * 0x0101_0101 });
                }
            }
            groups.push(Group { rank: (threshold - slots[slot].first) as u8, first, end: entries.len() as u32 });
            let end = groups.len() as u32;
            match runs.last_mut() {
                Some(run) if run.slot == slot as u32 => run.end = end,
                _ => runs.push(Run { slot: slot as u32, first: end - 1, end }),
            }
        }
        Self { trees, words, runs, groups, entries }
    }

    /// Leaves in `planes` the leaves that no failed split crossed out.
    fn clear(&self, ranks: &[Ranks], planes: &mut [Plane]) {
        planes.fill([u32::MAX; TILE / 4]);
        for run in &self.runs {
            let ranks = &ranks[run.slot as usize];
            let highest = ranks.iter().fold(0, |highest, &rank| highest.max(rank));
            for group in &self.groups[run.first as usize..run.end as usize] {
                if group.rank >= highest {
                    break;
                }
                let passed = passed(ranks, group.rank);
                for entry in &self.entries[group.first as usize..group.end as usize] {
                    let plane = &mut planes[entry.plane as usize];
                    for (lanes, passed) in plane.iter_mut().zip(passed) {
                        *lanes &= entry.mask | passed;
                    }
                }
            }
        }
    }
}

impl Slot {
    /// How many thresholds `value` fails.
    fn rank(&self, value: f64, thresholds: &[f64]) -> usize {
        if value.is_nan() {
            // A missing value fails all tests or none.
            return if self.missing_left { 0 } else { thresholds.len() };
        }
        thresholds.partition_point(|&threshold| threshold < value)
    }
}

/// All bits set in the lanes of rows that pass the test of `rank`.
fn passed(ranks: &Ranks, rank: u8) -> Plane {
    let mut bytes = [0_u8; TILE];
    for (byte, &own) in bytes.iter_mut().zip(ranks) {
        *byte = if own > rank { 0 } else { u8::MAX };
    }
    let (quads, _) = bytes.as_chunks::<4>();
    std::array::from_fn(|at| u32::from_ne_bytes(quads[at]))
}

/// The mask words of sixteen rows, from their four bytes.
fn masks(planes: &[Plane; 4]) -> [u32; TILE] {
    let bytes = planes.map(|plane| {
        let mut bytes = [0_u8; TILE];
        let (quads, _) = bytes.as_chunks_mut::<4>();
        for (quad, lanes) in quads.iter_mut().zip(plane) {
            *quad = lanes.to_ne_bytes();
        }
        bytes
    });
    std::array::from_fn(|row| u32::from_le_bytes([bytes[0][row], bytes[1][row], bytes[2][row], bytes[3][row]]))
}

/// Number of the lowest bit that is set, 31 when none is.
fn lowest(mask: u32) -> usize {
    (mask | 1 << (WORD - 1)).trailing_zeros() as usize
}

/// The bits `first..end` in pieces of `size` bits: index of the piece and its bits.
fn pieces(first: u32, end: u32, size: u32) -> impl Iterator<Item = (u32, u32)> {
    (first / size..end.div_ceil(size)).map(move |at| {
        let (from, to) = (first.max(at * size) - at * size, end.min((at + 1) * size) - at * size);
        (at, ((1_u64 << to) - (1_u64 << from)) as u32)
    })
}

/// What makes two splits fail for the same values: feature, side of missing values, threshold.
type Key = (u32, bool, f64);

fn key(tree: &Tree, split: usize) -> Key {
    // Adding 0 makes one zero of both.
    (tree.feature[split], tree.default_left[split], tree.threshold[split] + 0.0)
}

fn order(a: &Key, b: &Key) -> std::cmp::Ordering {
    (a.0, a.1).cmp(&(b.0, b.1)).then(a.2.total_cmp(&b.2))
}

/// All distinct keys in order, cut into slots.
fn slots(trees: &[Tree]) -> (Vec<Slot>, Vec<Key>) {
    let mut keys: Vec<Key> = trees.iter().flat_map(|tree| (0..tree.splits()).map(|split| key(tree, split))).collect();
    keys.sort_unstable_by(order);
    keys.dedup();
    let mut slots = Vec::new();
    let mut first = 0;
    for same in keys.chunk_by(|a, b| (a.0, a.1) == (b.0, b.1)) {
        for part in same.chunks(SLOT_THRESHOLDS_MAX) {
            let end = first + part.len() as u32;
            slots.push(Slot { feature: part[0].0, missing_left: part[0].1, first, end });
            first = end;
        }
    }
    (slots, keys)
}
