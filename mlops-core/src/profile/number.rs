//! The state of a column of numbers or times.

use serde::{Deserialize, Serialize};

use super::few::{Few, ValueCount};
use crate::stats::bytes::{Reader, Writer};
use crate::stats::values::KeyKind;
use crate::stats::{Distinct, Estimate, Moments, Quantiles};
use crate::{Error, Result};

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Numbers {
    pub(crate) keys: KeyKind,
    pub(crate) moments: Moments,
    pub(crate) quantiles: Quantiles,
    pub(crate) values: Few,
}

impl Numbers {
    pub(crate) fn new(keys: KeyKind, quantile_size: u16) -> Result<Self> {
        let quantiles = Quantiles::new(quantile_size)?;
        Ok(Self { keys, moments: Moments::default(), quantiles, values: Few::default() })
    }

    pub(crate) fn update(&mut self, values: &[f64], keys: &[u64]) {
        let not_finite = self.moments.rows() - self.moments.count();
        self.moments.update_slice(values);
        if self.moments.rows() - self.moments.count() == not_finite {
            self.quantiles.update_slice(values);
            self.values.extend(keys.iter().copied());
        } else {
            self.quantiles.update_slice(values);
            let present = values.iter().zip(keys).filter(|(value, _)| !value.is_nan());
            self.values.extend(present.map(|(_, &key)| key));
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        self.moments.merge(&other.moments)?;
        self.quantiles.merge(&other.quantiles)?;
        self.values.merge(&other.values)
    }

    pub(crate) fn distinct(&self) -> Estimate {
        match &self.values {
            Few::Counts(counts) => Estimate::exact(counts.len() as u64),
            Few::Many(distinct) => distinct.estimate(),
        }
    }

    /// All values with their counts, in order of value, while there are at most 64.
    pub(crate) fn value_counts(&self) -> Option<Vec<ValueCount>> {
        let counts = self.values.counts()?;
        let mut values: Vec<ValueCount> =
            counts.into_iter().map(|(key, count)| ValueCount { value: self.keys.number(key), count }).collect();
        values.sort_by(|a, b| a.value.total_cmp(&b.value));
        Some(values)
    }

    /// The most frequent values as text: exact while few, from the quantile sketch beyond.
    pub(crate) fn top(&self, most: usize) -> Vec<(String, Estimate)> {
        let mut top: Vec<(String, f64, Estimate)> = match self.values.counts() {
            Some(counts) => {
                let item = |(key, count)| (self.keys.text(key), self.keys.number(key), Estimate::exact(count));
                counts.into_iter().map(item).collect()
            }
            None => self.heavy(),
        };
        top.sort_by(|a, b| b.2.value.cmp(&a.2.value).then(a.1.total_cmp(&b.1)));
        top.into_iter().take(most).map(|(text, _, count)| (text, count)).collect()
    }

    /// Values whose share in the sketch is too large to be its error.
    fn heavy(&self) -> Vec<(String, f64, Estimate)> {
        let ranks = self.quantiles.ranks();
        let (error, n) = (self.quantiles.share_error(), self.quantiles.count() as f64);
        let item = |value: f64| {
            let share = ranks.at_or_below(value) - ranks.below(value);
            let rows = |share: f64| (share.clamp(0.0, 1.0) * n).round() as u64;
            let count = Estimate { value: rows(share), low: rows(share - error), high: rows(share + error) };
            (share > 2.0 * error && count.value > 1).then(|| (value.to_string(), value, count))
        };
        ranks.distinct().filter_map(item).collect()
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.u8(match self.keys {
            KeyKind::Signed => 0,
            KeyKind::Unsigned => 1,
            KeyKind::Float => 2,
        });
        self.moments.write(out);
        out.bytes(&self.quantiles.to_bytes());
        self.values.write(out);
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Result<Self> {
        let keys = match from.u8()? {
            0 => KeyKind::Signed,
            1 => KeyKind::Unsigned,
            2 => KeyKind::Float,
            other => return Err(from.corrupt(format_args!("unknown kind of key {other}"))),
        };
        let moments = Moments::read(from)?;
        let quantiles = Quantiles::from_bytes(from.bytes()?)?;
        Ok(Self { keys, moments, quantiles, values: Few::read(from)? })
    }

    /// What every state has that came from `present` values.
    pub(crate) fn check(&self, present: u64) -> Result<()> {
        let counted = self.values.counts().map(|counts| counts.iter().map(|&(_, count)| count).sum::<u64>());
        let sane = self.moments.rows() == present
            && self.moments.nulls() == 0
            && self.quantiles.count() == self.moments.count()
            && counted.is_none_or(|counted| counted == present - self.moments.nan());
        if sane { Ok(()) } else { Err(Error::corrupt("column of numbers", "counts contradict each other")) }
    }
}

/// An estimate of the number of texts, numbers or times of a hidden column.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Hidden {
    pub(crate) nan: u64,
    pub(crate) distinct: Distinct,
}

impl Hidden {
    pub(crate) fn update(&mut self, values: &[f64], keys: &[u64]) {
        for (value, &key) in values.iter().zip(keys) {
            if value.is_nan() {
                self.nan += 1;
            } else {
                self.distinct.update_key(key);
            }
        }
    }
}
