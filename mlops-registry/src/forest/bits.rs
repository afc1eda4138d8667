//! Scoring without walks: every split that sends a row right crosses out the leaves on its left.
//!
//! Leaves are bits, numbered from left to right, all set at first. A split whose test fails clears the bits of its left
//! subtree; the lowest bit that is left over is the leaf of the row. Splits are visited by feature and threshold instead
//! of tree by tree, so there is no dependent load, no mispredicted branch, and a row only meets the splits that fail.
//!
//! Thresholds of one feature are sorted and a value is replaced by its rank among them, once per row. `value <=
//! threshold` is then an exact comparison of small integers, which lets many rows share a register. One *slot*
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
/// Mask words that are worked on at once: their masks for a tile of rows stay in the first-level cache.
const BLOCK_WORDS: usize = 128;
/// Rows that are worked on side by side; more per tile spreads the cost of reading the splits over more rows.
const TILE: usize = 32;
/// The same for what is left at the end of a batch, where that is not more than this.
const TILE_LAST: usize = 16;
/// Fewer rows than this at the end of a batch are scored one by one.
const TILE_ROWS_MIN: usize = 5;
/// Tiles whose ranks are held at once.
const TILES: usize = 8;
/// Thresholds of a slot: ranks from 0 to 255 fit a byte.
const SLOT_THRESHOLDS_MAX: usize = 255;

/// Byte `b` of mask word `w` for the rows of a tile.
type Plane<const T: usize> = [u8; T];

/// Ranks of the rows of a tile in one slot, and the highest of them.
#[derive(Clone, Copy)]
struct Ranks<const T: usize> {
    rows: [u8; T],
    highest: u8,
}

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

/// What a failed split does to one byte of the masks of a tile: the plane in its block, above the byte that stays.
#[derive(Clone, Copy)]
struct TileEntry(u32);

impl TileEntry {
    fn new(plane: u32, mask: u8) -> Self {
        Self(plane << 8 | u32::from(mask))
    }

    fn plane(self) -> usize {
        (self.0 >> 8) as usize
    }

    fn mask(self) -> u8 {
        self.0 as u8
    }
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
        let rest = out.len() % TILE;
        let tiled = if rest > TILE_LAST { out.len() } else { out.len() - rest };
        self.add_tiles::<TILE>(columns, 0, &mut out[..tiled]);
        let alone = if rest >= TILE_ROWS_MIN { out.len() } else { tiled };
        self.add_tiles::<TILE_LAST>(columns, tiled, &mut out[tiled..alone]);
        let mut row = vec![0.0; if alone < out.len() { columns.len() } else { 0 }];
        for (at, score) in out.iter_mut().enumerate().skip(alone) {
            for (value, column) in row.iter_mut().zip(columns) {
                *value = column[at];
            }
            *score = self.score(&row, *score);
        }
    }

    /// Adds the trees' values to the scores of the rows from `first` on, in tiles of `T`.
    fn add_tiles<const T: usize>(&self, columns: &[&[f64]], first: usize, out: &mut [f64]) {
        let tiles = out.len().div_ceil(T).min(TILES);
        let mut ranks = vec![Ranks { rows: [0; T], highest: 0 }; self.slots.len() * tiles];
        let mut planes = [[0; T]; 4 * (BLOCK_WORDS + TREE_LEAVES_MAX / WORD)];
        for (at, scores) in out.chunks_mut(TILES * T).enumerate() {
            self.rank_rows(columns, first + at * TILES * T, scores.len(), &mut ranks);
            for block in &self.blocks {
                let planes = &mut planes[..4 * block.words.len()];
                for (tile, scores) in scores.chunks_mut(T).enumerate() {
                    block.clear(&ranks[tile * self.slots.len()..(tile + 1) * self.slots.len()], planes);
                    self.add_leaves(block, planes, scores);
                }
            }
        }
    }

    /// Ranks of `rows` rows from `first` on, tile by tile and slot by slot. Rows that are not there fail no test.
    fn rank_rows<const T: usize>(&self, columns: &[&[f64]], first: usize, rows: usize, ranks: &mut [Ranks<T>]) {
        for (at, slot) in self.slots.iter().enumerate() {
            let column = &columns[slot.feature as usize][first..first + rows];
            let thresholds = &self.thresholds[slot.first as usize..slot.end as usize];
            for (tile, values) in column.chunks(T).enumerate() {
                let own = &mut ranks[tile * self.slots.len() + at];
                *own = Ranks { rows: [0; T], highest: 0 };
                for (rank, &value) in own.rows.iter_mut().zip(values) {
                    *rank = slot.rank(value, thresholds) as u8;
                    own.highest = own.highest.max(*rank);
                }
            }
        }
    }

    /// Adds the leaf of every tree of `block` to the scores of one tile.
    fn add_leaves<const T: usize>(&self, block: &Block, planes: &[Plane<T>], scores: &mut [f64]) {
        let (planes, _) = planes.as_chunks::<4>();
        let leaves = &self.leaves[block.words.clone()];
        let mut sums = [0.0; T];
        sums[..scores.len()].copy_from_slice(scores);
        let mut word = 0;
        for &end in &self.tree_ends[block.trees.clone()] {
            let end = end as usize - block.words.start;
            if end == word + 1 {
                for (sum, mask) in sums.iter_mut().zip(masks(&planes[word])) {
                    *sum += leaves[word][lowest(mask)];
                }
            } else {
                let mut values = [0.0; T];
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
                    entries.push(TileEntry::new(plane + at, !(cleared as u8)));
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
    fn clear<const T: usize>(&self, ranks: &[Ranks<T>], planes: &mut [Plane<T>]) {
        planes.fill([u8::MAX; T]);
        for run in &self.runs {
            let ranks = &ranks[run.slot as usize];
            for group in &self.groups[run.first as usize..run.end as usize] {
                if group.rank >= ranks.highest {
                    break;
                }
                let passed = passed(&ranks.rows, group.rank);
                for entry in &self.entries[group.first as usize..group.end as usize] {
                    let (plane, mask) = (&mut planes[entry.plane()], entry.mask());
                    for (lane, &passed) in plane.iter_mut().zip(&passed) {
                        *lane &= mask | passed;
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
fn passed<const T: usize>(ranks: &[u8; T], rank: u8) -> Plane<T> {
    ranks.map(|own| if own <= rank { u8::MAX } else { 0 })
}

/// The mask words of a tile, from their four bytes.
fn masks<const T: usize>(planes: &[Plane<T>; 4]) -> [u32; T] {
    std::array::from_fn(|row| u32::from_le_bytes([planes[0][row], planes[1][row], planes[2][row], planes[3][row]]))
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
