//! Keys of many rows as bytes, one behind the other.

use super::Keys;

/// The bytes of one key per row.
#[derive(Debug, Default)]
pub(crate) struct KeyBytes {
    bytes: Vec<u8>,
    /// End of each key.
    ends: Vec<usize>,
}

impl KeyBytes {
    /// With room for `rows` keys of a common length.
    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self { bytes: Vec::with_capacity(rows * 48), ends: Vec::with_capacity(rows) }
    }

    /// Appends the key of `row`; says whether there is one, and appends nothing when it is null.
    pub(crate) fn push(&mut self, keys: &Keys, row: usize) -> bool {
        let found = keys.encode(row, &mut self.bytes);
        if found {
            self.ends.push(self.bytes.len());
        }
        found
    }

    pub(crate) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(crate) fn get(&self, row: usize) -> &[u8] {
        let start = if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[start..self.ends[row]]
    }

    /// Positions by key, equal keys as they came.
    pub(crate) fn order(&self) -> Vec<usize> {
        let common = self.common_head();
        // Eight bytes behind what all keys begin with tell most keys apart, without a look at the keys themselves.
        let mut order: Vec<(u64, usize)> = (0..self.len())
            .map(|row| {
                let rest = &self.get(row)[common..];
                let mut first = [0; 8];
                let length = rest.len().min(8);
                first[..length].copy_from_slice(&rest[..length]);
                (u64::from_be_bytes(first), row)
            })
            .collect();
        order.sort_unstable_by(|(first_a, a), (first_b, b)| {
            first_a.cmp(first_b).then_with(|| self.get(*a).cmp(self.get(*b))).then(a.cmp(b))
        });
        order.into_iter().map(|(_, row)| row).collect()
    }

    /// How many bytes all keys begin with.
    fn common_head(&self) -> usize {
        if self.ends.is_empty() {
            return 0;
        }
        let first = self.get(0);
        (1..self.len()).fold(first.len(), |common, row| {
            let key = self.get(row);
            if key.get(..common) == Some(&first[..common]) {
                return common;
            }
            first.iter().zip(key).take_while(|(a, b)| a == b).count()
        })
    }
}
