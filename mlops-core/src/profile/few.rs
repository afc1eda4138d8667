//! Exact counts of a column with few different numbers, until there are too many.

use std::collections::HashMap;

use foldhash::fast::FixedState;
use serde::{Deserialize, Serialize};

use crate::stats::Distinct;
use crate::stats::bytes::{Reader, Writer};
use crate::{Error, Result};

/// Different numbers that are counted one by one; with one more, only their number is estimated.
pub(crate) const LIMIT: usize = 64;

/// A number and how often it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ValueCount {
    /// The number.
    pub value: f64,
    /// How often it was seen, exactly.
    pub count: u64,
}

/// Either all keys with their counts, or a sketch of the set of keys: which one depends on the set only, so
/// that neither order nor merging matters.
#[derive(Debug, Clone)]
pub(crate) enum Few {
    Counts(HashMap<u64, u64, FixedState>),
    Many(Distinct),
}

impl Default for Few {
    fn default() -> Self {
        Self::Counts(HashMap::default())
    }
}

impl Few {
    /// Adds keys; those of NaN are left out by the caller.
    pub(crate) fn extend(&mut self, keys: impl Iterator<Item = u64>) {
        let mut keys = keys;
        if let Self::Counts(counts) = self {
            let mut crowded = false;
            for key in keys.by_ref() {
                *counts.entry(key).or_insert(0) += 1;
                if counts.len() > LIMIT {
                    crowded = true;
                    break;
                }
            }
            if !crowded {
                return;
            }
            self.give_up();
        }
        if let Self::Many(distinct) = self {
            let mut last = None;
            for key in keys {
                if last != Some(key) {
                    distinct.update_key(key);
                    last = Some(key);
                }
            }
        }
    }

    fn give_up(&mut self) {
        if let Self::Counts(counts) = self {
            let mut distinct = Distinct::default();
            for &key in counts.keys() {
                distinct.update_key(key);
            }
            *self = Self::Many(distinct);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        match (&mut *self, other) {
            (Self::Counts(mine), Self::Counts(theirs)) => {
                for (&key, &count) in theirs {
                    *mine.entry(key).or_insert(0) += count;
                }
                if mine.len() > LIMIT {
                    self.give_up();
                }
                Ok(())
            }
            (Self::Many(mine), Self::Counts(theirs)) => {
                for &key in theirs.keys() {
                    mine.update_key(key);
                }
                Ok(())
            }
            (Self::Many(mine), Self::Many(theirs)) => mine.merge(theirs),
            (Self::Counts(_), Self::Many(_)) => {
                self.give_up();
                self.merge(other)
            }
        }
    }

    /// Keys and counts in order of key, while there are few.
    pub(crate) fn counts(&self) -> Option<Vec<(u64, u64)>> {
        match self {
            Self::Counts(counts) => {
                let mut sorted: Vec<_> = counts.iter().map(|(&key, &count)| (key, count)).collect();
                sorted.sort_unstable();
                Some(sorted)
            }
            Self::Many(_) => None,
        }
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        match (self, self.counts()) {
            (Self::Many(distinct), _) => {
                out.u8(1);
                out.bytes(&distinct.to_bytes());
            }
            (Self::Counts(_), counts) => {
                out.u8(0);
                let counts = counts.unwrap_or_default();
                out.u64(counts.len() as u64);
                for (key, count) in counts {
                    out.u64(key);
                    out.u64(count);
                }
            }
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self> {
        match from.u8()? {
            0 => {
                let entries = from.count(16)?;
                (0..entries)
                    .map(|_| Ok((from.u64()?, from.u64()?)))
                    .collect::<Result<Vec<_>>>()
                    .and_then(Self::of_counts)
            }
            1 => Ok(Self::Many(Distinct::from_bytes(from.bytes()?)?)),
            other => Err(from.corrupt(format_args!("unknown tag {other}"))),
        }
    }

    fn of_counts(counts: Vec<(u64, u64)>) -> Result<Self> {
        let few: HashMap<u64, u64, FixedState> = counts.iter().copied().collect();
        if counts.len() > LIMIT || few.len() < counts.len() || few.values().any(|&count| count == 0 || count > 1 << 56)
        {
            return Err(Error::corrupt("value counts", "too many, repeated or out of range"));
        }
        Ok(Self::Counts(few))
    }
}

/// The stored form.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Wire {
    /// Pairs of key and count; a key is the integer in two's complement, or the bits of the double.
    Counts(Vec<(u64, u64)>),
    Distinct(Distinct),
}

impl Serialize for Few {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::Counts(_) => Wire::Counts(self.counts().unwrap_or_default()),
            Self::Many(distinct) => Wire::Distinct(distinct.clone()),
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Few {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        use serde::de::Error as _;
        match Wire::deserialize(deserializer)? {
            Wire::Counts(counts) => Self::of_counts(counts).map_err(D::Error::custom),
            Wire::Distinct(distinct) => Ok(Self::Many(distinct)),
        }
    }
}
