//! How often keys have come: in a table while they are few, by way of a file beyond.

use std::hash::{BuildHasher, RandomState};

use super::piles::{Piles, Place};
use crate::{Error, Result};

/// How often a key has come, this time included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Times {
    First,
    Second,
    Later,
    /// Not known before all rows were seen.
    Waiting,
}

/// How much of a set of keys is held, and how large it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyLimits {
    /// Bytes of the table of keys; when it is full, all go to a file. `u64::MAX` keeps all in memory.
    pub(crate) held_bytes_max: u64,
    /// Most different keys.
    pub(crate) distinct_max: u64,
    /// What the host calls that number.
    pub(crate) setting: &'static str,
}

/// Counts how often each key comes.
///
/// While the keys fit, each row is told at once. When they no longer do, all of them go to a file, parted by key, and so does
/// every key from then on, together with the row that it stands in: [`settle`](Self::settle) counts part by part, and parts
/// what is still too large once more. In each part, rows are in order: of equal keys, that of the least row is the first one,
/// as it would be in memory.
pub(crate) struct Seen {
    table: Table,
    limits: KeyLimits,
    distinct: u64,
    waiting: Option<Piles>,
}

impl Seen {
    pub(crate) fn new(limits: KeyLimits) -> Self {
        Self { table: Table::default(), limits, distinct: 0, waiting: None }
    }

    /// Counts the key `hash` in `row`; rows rise from call to call.
    pub(crate) fn see(&mut self, hash: u128, row: u64) -> Result<Times> {
        self.take((hash & !1).max(2), Place::Row(row))
    }

    fn take(&mut self, key: u128, place: Place) -> Result<Times> {
        if self.waiting.is_none() && self.table.is_full() && !self.table.grow(self.limits.held_bytes_max)? {
            self.let_go()?;
        }
        if let Some(piles) = &mut self.waiting {
            piles.push(key, place)?;
            return Ok(Times::Waiting);
        }
        let times = self.table.see(key)?;
        if times == Times::First {
            self.distinct += 1;
            if self.distinct > self.limits.distinct_max {
                let KeyLimits { setting, distinct_max, .. } = self.limits;
                return Err(Error::invalid(setting, distinct_max, "as many as there are distinct keys"));
            }
        }
        Ok(times)
    }

    /// Moves all keys to a file, to be counted anew.
    fn let_go(&mut self) -> Result<()> {
        let table = std::mem::take(&mut self.table);
        let mut piles = Piles::new()?;
        for entry in table.slots.iter().filter(|entry| **entry != 0) {
            piles.push(entry & !1, Place::Known)?;
            if entry & 1 == 1 {
                piles.push(entry & !1, Place::Known)?;
            }
        }
        self.distinct -= table.len as u64;
        self.waiting = Some(piles);
        Ok(())
    }

    /// Whether a row waits.
    pub(crate) fn waits(&self) -> bool {
        self.waiting.is_some()
    }

    /// Different keys, once nothing waits.
    pub(crate) fn distinct(&self) -> u64 {
        self.distinct
    }

    /// Tells of each row that waits how often its key has come. Rows of different keys are in no order. No row can be counted
    /// afterwards.
    pub(crate) fn settle(&mut self, tell: &mut dyn FnMut(u64, Times)) -> Result<()> {
        let Some(piles) = self.waiting.take() else { return Ok(()) };
        let mut piles = piles.close()?;
        for pile in piles.places() {
            let mut part = Self { distinct: self.distinct, ..Self::new(self.limits) };
            part.table.reserve(piles.len(pile), self.limits.held_bytes_max)?;
            piles.read(pile, &mut |key, place| {
                let times = part.take(key, place)?;
                if let Place::Row(row) = place
                    && times != Times::Waiting
                {
                    tell(row, times);
                }
                Ok(())
            })?;
            part.settle(tell)?;
            self.distinct = part.distinct;
        }
        Ok(())
    }
}

/// An open-addressed table of 128-bit slots. Zero is an empty slot; the lowest bit says that the key came more than once.
///
/// A key's place is its upper half, so that keys that count up fill memory in order, which is several times faster than in
/// all places at once. Where keys crowd, by chance or by malice, all move to random places once and for all.
#[derive(Default)]
struct Table {
    /// Odd, for random places.
    factor: Option<u128>,
    slots: Vec<u128>,
    len: usize,
}

const SLOTS_FIRST: usize = 1024;

/// Steps from the place of a key after which keys are taken to crowd.
const STEPS_MAX: usize = 64;

impl Table {
    fn is_full(&self) -> bool {
        self.len >= self.slots.len() / 4 * 3
    }

    /// Counts `key`, which has a place: the table is not full.
    fn see(&mut self, key: u128) -> Result<Times> {
        let slot = self.place(key)?;
        let times = match self.slots[slot] {
            0 => Times::First,
            once if once == key => Times::Second,
            _ => Times::Later,
        };
        self.len += usize::from(times == Times::First);
        self.slots[slot] = if times == Times::First { key } else { key | 1 };
        Ok(times)
    }

    fn place(&mut self, key: u128) -> Result<usize> {
        if let Some(slot) = self.slot(&self.slots, key) {
            return Ok(slot);
        }
        self.scatter()?;
        match self.slot(&self.slots, key) {
            Some(slot) => Ok(slot),
            None => unreachable!("random places have no end of steps"),
        }
    }

    /// The slot that holds `key`, or the empty one that it belongs to; none where keys crowd. The table is never full to the
    /// last slot.
    fn slot(&self, slots: &[u128], key: u128) -> Option<usize> {
        let mask = slots.len() - 1;
        let (mut slot, steps) = match self.factor {
            None => ((key >> 64) as usize & mask, STEPS_MAX),
            Some(factor) => ((key.wrapping_mul(factor) >> 64) as usize & mask, usize::MAX),
        };
        for _ in 0..steps {
            if slots[slot] == 0 || slots[slot] & !1 == key {
                return Some(slot);
            }
            slot = (slot + 1) & mask;
        }
        None
    }

    /// Moves all keys to random places.
    fn scatter(&mut self) -> Result<()> {
        self.factor = Some(random_factor());
        self.resize(self.slots.len())
    }

    /// Twice as many slots, unless these are more than `bytes_max`.
    fn grow(&mut self, bytes_max: u64) -> Result<bool> {
        let wanted = (self.slots.len() * 2).max(SLOTS_FIRST);
        let fits = wanted == SLOTS_FIRST || (wanted * size_of::<u128>()) as u64 <= bytes_max;
        if fits {
            self.resize(wanted)?;
        }
        Ok(fits)
    }

    /// Room for `keys` keys, as far as `bytes_max` allows.
    fn reserve(&mut self, keys: usize, bytes_max: u64) -> Result<()> {
        let slots = (bytes_max / size_of::<u128>() as u64).max(SLOTS_FIRST as u64);
        let most = 1 << slots.ilog2().min(usize::BITS - 1);
        self.resize((keys / 3 * 4 + 4).next_power_of_two().clamp(SLOTS_FIRST, most))
    }

    fn resize(&mut self, wanted: usize) -> Result<()> {
        let mut larger = Vec::new();
        larger.try_reserve_exact(wanted).map_err(|e| Error::external("memory", e))?;
        larger.resize(wanted, 0);
        for entry in self.slots.iter().filter(|entry| **entry != 0) {
            let Some(slot) = self.slot(&larger, entry & !1) else { return self.scatter() };
            larger[slot] = *entry;
        }
        self.slots = larger;
        Ok(())
    }
}

/// An odd number: products with it are spread over all places.
pub(super) fn random_factor() -> u128 {
    let state = RandomState::new();
    u128::from(state.hash_one(0)) << 64 | u128::from(state.hash_one(1)) | 1
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    const ALL: KeyLimits = KeyLimits { held_bytes_max: u64::MAX, distinct_max: 1 << 20, setting: "keys" };
    const NONE: KeyLimits = KeyLimits { held_bytes_max: 0, ..ALL };

    /// What each row is told in the end, in the order of rows.
    fn told(limits: KeyLimits, keys: impl Iterator<Item = u128>) -> (Vec<Times>, u64) {
        let mut seen = Seen::new(limits);
        let mut all: Vec<Times> = keys.enumerate().map(|(row, key)| seen.see(key, row as u64 * 3).unwrap()).collect();
        assert_eq!(seen.waits(), all.contains(&Times::Waiting));
        seen.settle(&mut |row, times| {
            let slot = &mut all[row as usize / 3];
            assert_eq!(*slot, Times::Waiting);
            *slot = times;
        })
        .unwrap();
        assert!(!seen.waits());
        (all, seen.distinct())
    }

    fn number(value: u64) -> u128 {
        u128::from(value) << 64 | 2
    }

    #[test]
    fn keys_that_crowd_are_scattered_and_still_counted() {
        let mut seen = Seen::new(ALL);
        let key = |i: u64| number(i << 40);
        for i in 0..3_000 {
            assert_eq!(seen.see(key(i), i).unwrap(), Times::First);
        }
        assert!(seen.table.factor.is_some());
        assert!((0..3_000).all(|i| seen.see(key(i), i).unwrap() == Times::Second));
        assert!((0..3_000).all(|i| seen.see(key(i), i).unwrap() == Times::Later));
        assert_eq!(seen.distinct(), 3_000);
    }

    #[test]
    fn keys_that_count_up_stay_in_order() {
        let mut seen = Seen::new(ALL);
        for i in 0..100_000_u64 {
            assert_eq!(seen.see(number(i), i).unwrap(), Times::First);
        }
        assert!(seen.table.factor.is_none());
        assert_eq!(seen.see(number(5), 100_000).unwrap(), Times::Second);
        let mut full = Seen::new(KeyLimits { distinct_max: 1, ..ALL });
        full.see(1 << 64, 0).unwrap();
        assert!(matches!(full.see(2 << 64, 1), Err(Error::Invalid { .. })));
    }

    #[test]
    fn what_waits_is_told_as_if_it_had_been_held() {
        // 768 keys are held, then all wait in 64 piles of about 780, and some of these part once more.
        let keys = || (0..50_000_u64).chain((0..50_000).step_by(7)).chain((0..50_000).step_by(70));
        let held = told(ALL, keys().map(number));
        assert_eq!(held.1, 50_000);
        assert_eq!(held.0.iter().filter(|times| **times == Times::Later).count(), 715);
        assert_eq!(told(NONE, keys().map(number)), held);
        let spread = |value: u64| {
            u128::from(crate::stats::hash::mix(value)) << 64 | u128::from(crate::stats::hash::mix(value + 1))
        };
        assert_eq!(told(NONE, keys().map(spread)), held);
    }

    #[test]
    fn one_key_of_all_rows_waits_without_end_of_parts() {
        let keys = (0..768).chain(std::iter::repeat_n(1 << 40, 10_000));
        let (times, distinct) = told(NONE, keys.map(number));
        assert_eq!(distinct, 769);
        assert_eq!(times.iter().filter(|times| **times == Times::Later).count(), 9_998);
    }

    #[test]
    fn too_many_keys_are_noticed_while_they_settle() {
        let mut seen = Seen::new(KeyLimits { distinct_max: 2_000, ..NONE });
        for i in 0..2_001 {
            seen.see(number(i), i).unwrap();
        }
        assert!(matches!(seen.settle(&mut |_, _| ()), Err(Error::Invalid { .. })));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn every_row_is_told_what_a_map_would_tell(
            keys in proptest::collection::vec(0_u64..3_000, 0..6_000), wide in any::<bool>(), held in any::<bool>(),
        ) {
            let key = |value: u64| if wide { u128::from(value) << 90 | u128::from(value) << 7 | 6 } else { number(value) };
            let mut counts = HashMap::new();
            let expected: Vec<Times> = keys.iter().map(|key| {
                let count = counts.entry(*key).or_insert(0);
                *count += 1;
                match *count { 1 => Times::First, 2 => Times::Second, _ => Times::Later }
            }).collect();
            let limits = if held { ALL } else { NONE };
            prop_assert_eq!(told(limits, keys.iter().map(|value| key(*value))), (expected, counts.len() as u64));
        }
    }
}
