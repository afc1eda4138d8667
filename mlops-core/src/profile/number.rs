//! The state of a column of numbers or times.

use serde::{Deserialize, Serialize};

use super::calendar::WeekHours;
use super::few::{Few, ValueCount};
use super::sequence::Sequence;
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
    /// `None` in what format 1 held.
    #[serde(default)]
    pub(crate) traits: Option<Traits>,
}

/// Signs, order and, of times, hours: exact.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Traits {
    pub(crate) zeros: u64,
    pub(crate) negatives: u64,
    pub(crate) sequence: Sequence,
    pub(crate) hours: Option<WeekHours>,
}

impl Traits {
    fn update(&mut self, values: &[f64], is_finite: bool) {
        self.zeros += values.iter().map(|&value| u64::from(value == 0.0)).sum::<u64>();
        self.negatives += values.iter().map(|&value| u64::from(value < 0.0)).sum::<u64>();
        if is_finite {
            self.sequence.update(values);
        } else {
            values.split(|value| !value.is_finite()).for_each(|run| self.sequence.update(run));
        }
        if let Some(hours) = &mut self.hours {
            hours.update(values);
        }
    }

    fn merge(&mut self, other: &Self) {
        self.zeros += other.zeros;
        self.negatives += other.negatives;
        self.sequence.merge(&other.sequence);
        if let (Some(mine), Some(theirs)) = (&mut self.hours, &other.hours) {
            mine.merge(theirs);
        }
    }

    fn write(&self, out: &mut Writer) {
        out.u64(self.zeros);
        out.u64(self.negatives);
        self.sequence.write(out);
        out.u8(u8::from(self.hours.is_some()));
        if let Some(hours) = &self.hours {
            hours.write(out);
        }
    }

    fn read(from: &mut Reader<'_>) -> Result<Self> {
        let (zeros, negatives, sequence) = (from.u64()?, from.u64()?, Sequence::read(from)?);
        let hours = if from.u8()? == 1 { Some(WeekHours::read(from)?) } else { None };
        Ok(Self { zeros, negatives, sequence, hours })
    }

    fn check(&self, moments: &Moments) -> Result<()> {
        self.sequence.check(moments.count())?;
        let signs = self.zeros.checked_add(self.negatives).is_some_and(|signs| signs <= moments.rows());
        let is_sane = signs && self.hours.as_ref().is_none_or(|hours| hours.total() == moments.count());
        if is_sane { Ok(()) } else { Err(Error::corrupt("column of numbers", "signs or hours contradict the counts")) }
    }
}

impl Numbers {
    pub(crate) fn new(keys: KeyKind, is_time: bool, quantile_size: u16) -> Result<Self> {
        let quantiles = Quantiles::new(quantile_size)?;
        let traits = Traits { hours: is_time.then(WeekHours::default), ..Traits::default() };
        Ok(Self { keys, moments: Moments::default(), quantiles, values: Few::default(), traits: Some(traits) })
    }

    pub(crate) fn update(&mut self, values: &[f64], keys: &[u64]) {
        let not_finite = self.moments.rows() - self.moments.count();
        self.moments.update_slice(values);
        let is_finite = self.moments.rows() - self.moments.count() == not_finite;
        self.quantiles.update_slice(values);
        if is_finite {
            self.values.extend(keys.iter().copied());
        } else {
            let present = values.iter().zip(keys).filter(|(value, _)| !value.is_nan());
            self.values.extend(present.map(|(_, &key)| key));
        }
        if let Some(traits) = &mut self.traits {
            traits.update(values, is_finite);
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) -> Result<()> {
        self.moments.merge(&other.moments)?;
        self.quantiles.merge(&other.quantiles)?;
        match (&mut self.traits, &other.traits) {
            (Some(mine), Some(theirs)) => mine.merge(theirs),
            // Rows of which format 1 did not count the signs were among them.
            _ => self.traits = None,
        }
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
        out.u8(u8::from(self.traits.is_some()));
        if let Some(traits) = &self.traits {
            traits.write(out);
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>, format: u32) -> Result<Self> {
        let keys = match from.u8()? {
            0 => KeyKind::Signed,
            1 => KeyKind::Unsigned,
            2 => KeyKind::Float,
            other => return Err(from.corrupt(format_args!("unknown kind of key {other}"))),
        };
        let moments = Moments::read(from)?;
        let quantiles = Quantiles::from_bytes(from.bytes()?)?;
        let values = Few::read(from)?;
        let traits = if format > 1 && from.u8()? == 1 { Some(Traits::read(from)?) } else { None };
        Ok(Self { keys, moments, quantiles, values, traits })
    }

    /// What every state has that came from `present` values.
    pub(crate) fn check(&self, present: u64) -> Result<()> {
        let counted = self.values.counts().map(|counts| counts.iter().map(|&(_, count)| count).sum::<u64>());
        if let Some(traits) = &self.traits {
            traits.check(&self.moments)?;
        }
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
