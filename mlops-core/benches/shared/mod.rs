//! What the benches of tables have in common: a million rows that look random and are always the same.

use mlops_core::Dataset;
use mlops_core::arrow::array::RecordBatch;

/// Rows of the table.
pub(crate) const ROWS: usize = 1_000_000;

const BATCH_ROWS: usize = 65_536;

/// A fixed sequence that looks random (SplitMix64).
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The table whose rows `batch` makes, given the first one's place and how many they are.
pub(crate) fn table(batch: impl Fn(usize, usize) -> RecordBatch) -> Dataset {
    let batches = (0..ROWS).step_by(BATCH_ROWS).map(|first| batch(first, BATCH_ROWS.min(ROWS - first)));
    Dataset::from_batches(batches).expect("batches of one schema")
}
