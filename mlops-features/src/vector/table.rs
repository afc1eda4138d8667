//! Which vector is the latest of which key.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::index::NO_ID;
use super::rows::Rows;
use crate::error::{Core, Result};
use crate::online::row::Stamp;

/// The latest row of every key, and the key of every vector. A vector's number belongs to one row for as long as it is in the
/// index, so that a hit is never told with the time of another row.
#[derive(Default)]
pub(super) struct Table {
    rows: HashMap<Arc<[u8]>, Known, RandomState>,
    vectors: Vec<Option<Vector>>,
    /// Numbers that no index holds.
    free: Vec<u32>,
    live: usize,
}

/// The latest row of a key.
struct Known {
    stamp: Stamp,
    /// None when the row has no vector.
    id: Option<u32>,
}

/// A vector that may be found.
#[derive(Clone)]
pub(super) struct Vector {
    pub(super) key: Arc<[u8]>,
    pub(super) event_time: i64,
}

impl Table {
    /// How many vectors may be found.
    pub(super) fn live(&self) -> usize {
        self.live
    }

    pub(super) fn vector(&self, id: u32) -> Option<&Vector> {
        self.vectors.get(id as usize)?.as_ref()
    }

    pub(super) fn id_of(&self, key: &[u8]) -> Option<u32> {
        self.rows.get(key)?.id
    }

    /// One past the greatest number that was ever given.
    pub(super) fn end(&self) -> usize {
        self.vectors.len()
    }

    /// Those of `rows` that are the latest of their key, in ascending order.
    pub(super) fn winners(&self, rows: &Rows) -> Vec<usize> {
        let mut winners: HashMap<&[u8], usize, RandomState> = HashMap::default();
        for row in 0..rows.len() {
            let (key, stamp) = (rows.key(row), rows.stamps[row]);
            let before = winners.get(key).map(|row| rows.stamps[*row]);
            let before = before.or_else(|| self.rows.get(key).map(|known| known.stamp));
            if before.is_none_or(|before| stamp >= before) {
                winners.insert(key, row);
            }
        }
        let mut winners: Vec<usize> = winners.into_values().collect();
        winners.sort_unstable();
        winners
    }

    /// `count` numbers that nothing has.
    pub(super) fn reserve(&mut self, count: usize) -> Result<Vec<u32>> {
        let again = self.free.len().min(count);
        let fresh = count - again;
        if self.vectors.len() + fresh > NO_ID as usize {
            return Err(Core::invalid("vectors of one store", self.vectors.len() + fresh, "below 4294967295").into());
        }
        let mut ids = self.free.split_off(self.free.len() - again);
        let first = self.vectors.len() as u32;
        self.vectors.resize(self.vectors.len() + fresh, None);
        ids.extend((0..fresh as u32).map(|at| first + at));
        Ok(ids)
    }

    /// Gives numbers back.
    pub(super) fn release(&mut self, ids: impl IntoIterator<Item = u32>) {
        self.free.extend(ids);
    }

    /// Makes `winners` the latest of their keys, their vectors under `ids` in order; says which numbers are now nobody's.
    pub(super) fn change_over(&mut self, rows: &Rows, winners: &[usize], ids: &[u32]) -> Vec<u32> {
        let mut ids = ids.iter().copied();
        let mut gone = Vec::new();
        for row in winners {
            let stamp = rows.stamps[*row];
            let id = rows.vector(*row).and_then(|_| ids.next());
            let key = match self.rows.get_key_value(rows.key(*row)) {
                Some((key, _)) => key.clone(),
                None => Arc::from(rows.key(*row)),
            };
            if let Some(id) = id {
                self.vectors[id as usize] = Some(Vector { key: key.clone(), event_time: stamp.event_time });
                self.live += 1;
            }
            let before = self.rows.insert(key, Known { stamp, id });
            gone.extend(before.and_then(|known| self.hide(known.id)));
        }
        gone
    }

    /// Forgets a key; says whether it knew it, and the number that is now nobody's.
    pub(super) fn forget(&mut self, key: &[u8]) -> (bool, Option<u32>) {
        match self.rows.remove(key) {
            Some(known) => (true, self.hide(known.id)),
            None => (false, None),
        }
    }

    fn hide(&mut self, id: Option<u32>) -> Option<u32> {
        let id = id?;
        self.vectors[id as usize] = None;
        self.live -= 1;
        Some(id)
    }
}
