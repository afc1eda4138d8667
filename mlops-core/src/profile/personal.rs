//! Finds columns of personal data by a bounded sample of their values.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, Int64Array, StringArray};
use serde::{Deserialize, Serialize};

use super::{ColumnKind, ColumnProfile};
use crate::Result;
use crate::privacy::{Detector, Kind};
use crate::stats::{cut, hash, values};

/// What a detector said of a column.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Personal {
    /// The kind that most values are of.
    pub kind: Kind,
    /// How sure that is, in `0..=1`.
    pub confidence: f64,
    /// Different values that were looked at.
    pub examined: u64,
    /// Share of them that are of the kind, or hold it somewhere in a longer text.
    pub share: f64,
}

/// Different values of a column that are looked at.
const SIZE: usize = 512;
/// Bytes of a text that are looked at.
const TEXT_MAX: usize = 256;
/// Texts with something personal in them that make a column of sentences personal.
const WITHIN_MIN: u64 = 3;

/// Samples of the values of all columns that could hold personal data. They are never stored and never printed.
#[derive(Clone)]
pub(crate) struct Guard {
    detector: Arc<Detector>,
    samples: Vec<Option<Sample>>,
}

impl std::fmt::Debug for Guard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Guard").field("columns", &self.samples.len()).finish_non_exhaustive()
    }
}

/// The different values with the smallest hashes: a random sample, whatever their order.
#[derive(Clone)]
enum Sample {
    Texts(Smallest<Box<str>>),
    Integers(Smallest<i64>),
}

#[derive(Clone)]
struct Smallest<T>(BTreeMap<u64, T>);

impl<T> Smallest<T> {
    fn offer(&mut self, hash: u64, value: impl FnOnce() -> T) {
        let is_full = self.0.len() >= SIZE;
        if is_full && self.0.last_key_value().is_some_and(|(&last, _)| hash >= last) {
            return;
        }
        self.0.entry(hash).or_insert_with(value);
        if self.0.len() > SIZE {
            self.0.pop_last();
        }
    }
}

impl Guard {
    pub(crate) fn new(detector: Arc<Detector>, columns: &[ColumnProfile]) -> Self {
        let sample = |column: &ColumnProfile| match column.kind() {
            _ if column.is_hidden() => None,
            ColumnKind::Text => Some(Sample::Texts(Smallest(BTreeMap::new()))),
            ColumnKind::Number if column.data_type().contains("Int") => {
                Some(Sample::Integers(Smallest(BTreeMap::new())))
            }
            _ => None,
        };
        Self { detector, samples: columns.iter().map(sample).collect() }
    }

    /// Looks at the column at `place`.
    pub(crate) fn update(&mut self, place: usize, array: &dyn Array) -> Result<()> {
        match self.samples.get_mut(place) {
            Some(Some(Sample::Texts(sample))) => values::texts(array, &mut |text, _| {
                sample.offer(hash::of_text(text), || cut(text, TEXT_MAX).into());
            }),
            Some(Some(Sample::Integers(sample))) => values::numbers(array, &mut |_, keys| {
                for &key in keys {
                    sample.offer(hash::of_key(key), || key.cast_signed());
                }
            }),
            _ => Ok(()),
        }
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for pair in self.samples.iter_mut().zip(&other.samples) {
            match pair {
                (Some(Sample::Texts(mine)), Some(Sample::Texts(theirs))) => {
                    theirs.0.iter().for_each(|(&hash, text)| mine.offer(hash, || text.clone()));
                }
                (Some(Sample::Integers(mine)), Some(Sample::Integers(theirs))) => {
                    theirs.0.iter().for_each(|(&hash, &value)| mine.offer(hash, || value));
                }
                _ => {}
            }
        }
    }

    /// The verdict on the column at `place`, called `name`.
    pub(crate) fn judge(&self, place: usize, name: &str) -> Option<Personal> {
        let sample = self.samples.get(place)?.as_ref()?;
        let verdict = match sample {
            Sample::Texts(sample) => {
                let texts: StringArray = sample.0.values().map(|text| Some(&**text)).collect();
                self.detector.scan_column(name, &texts)
            }
            Sample::Integers(sample) => {
                self.detector.scan_column(name, &Int64Array::from_iter_values(sample.0.values().copied()))
            }
        };
        // A sample is far too small for the one error that there is.
        let verdict = verdict.ok()?;
        if let Some(kind) = verdict.kind {
            let (examined, confidence) = (verdict.examined, verdict.confidence);
            return Some(Personal { kind, confidence, examined, share: verdict.matched as f64 / examined as f64 });
        }
        match sample {
            Sample::Texts(sample) => self.within(sample.0.values().map(|text| &**text)),
            Sample::Integers(_) => None,
        }
    }

    /// The kind that most of `texts` hold somewhere.
    fn within<'a>(&self, texts: impl Iterator<Item = &'a str>) -> Option<Personal> {
        let (mut examined, mut found) = (0_u64, BTreeMap::<Kind, (u64, f64)>::new());
        for text in texts {
            examined += 1;
            if let Some(finding) = self.detector.detect(text).into_iter().next() {
                let (count, surest) = found.entry(finding.kind).or_default();
                *count += 1;
                *surest = surest.max(finding.confidence);
            }
        }
        let (kind, (count, confidence)) = found.into_iter().max_by_key(|(_, (count, _))| *count)?;
        (count >= WITHIN_MIN).then(|| Personal { kind, confidence, examined, share: count as f64 / examined as f64 })
    }
}
