//! The most frequent value of a column, counted exactly.

use std::collections::HashMap;

use arrow::array::Array;
use arrow::datatypes::DataType;
use foldhash::fast::FixedState;

use crate::source::Scalar;
use crate::stats::values::{self, KeyKind};
use crate::{Error, Result};

/// Most different values of a column whose most frequent one is looked for.
pub const MODE_VALUES_MAX: usize = 1 << 20;

/// Most bytes that the different texts of such a column may have together.
pub const MODE_BYTES_MAX: usize = 1 << 26;

/// How often each value of a column was seen; nulls, NaN and infinities left out.
#[derive(Debug)]
pub(in crate::clean) enum Modes {
    Numbers(KeyKind, HashMap<u64, u64, FixedState>),
    Booleans([u64; 2]),
    Texts(HashMap<Box<str>, u64, FixedState>, usize),
}

impl Modes {
    /// For a column of `data_type`; `None` where its values cannot be counted.
    pub(in crate::clean) fn new(data_type: &DataType) -> Option<Self> {
        match data_type {
            DataType::Boolean => Some(Self::Booleans([0; 2])),
            text if values::is_text(text) => Some(Self::Texts(HashMap::default(), 0)),
            number if super::super::pick::is_number(number) => {
                Some(Self::Numbers(KeyKind::of(number), HashMap::default()))
            }
            _ => None,
        }
    }

    /// Adds the values of `array`, a part of `column`.
    pub(in crate::clean) fn update(&mut self, column: &str, array: &dyn Array) -> Result<()> {
        match self {
            Self::Booleans(counts) => {
                let yes = values::count_true(array);
                counts[1] += yes;
                counts[0] += (array.len() - array.null_count()) as u64 - yes;
            }
            Self::Numbers(_, counts) => {
                let mut crowded = false;
                values::numbers(array, &mut |values, keys| {
                    for (_, &key) in values.iter().zip(keys).filter(|(value, _)| value.is_finite()) {
                        crowded = crowded || !add(counts, key);
                    }
                })?;
                refuse(crowded, column)?;
            }
            Self::Texts(counts, bytes) => {
                let mut crowded = false;
                values::texts(array, &mut |text, times| {
                    if let Some(count) = counts.get_mut(text) {
                        *count += times;
                    } else if counts.len() < MODE_VALUES_MAX && *bytes + text.len() <= MODE_BYTES_MAX {
                        *bytes += text.len();
                        counts.insert(text.into(), times);
                    } else {
                        crowded = true;
                    }
                })?;
                refuse(crowded, column)?;
            }
        }
        Ok(())
    }

    /// The value seen most often, the smallest of them where several were; `None` where none was seen.
    pub(in crate::clean) fn finish(self, column: &str) -> Result<Option<Scalar>> {
        Ok(match self {
            Self::Booleans([0, 0]) => None,
            Self::Booleans([no, yes]) => Some(Scalar::Bool(yes > no)),
            Self::Texts(counts, _) => {
                let best = counts.into_iter().max_by(|a, b| a.1.cmp(&b.1).then_with(|| b.0.cmp(&a.0)));
                best.map(|(text, _)| Scalar::Text(text.into()))
            }
            Self::Numbers(kind, counts) => {
                let smaller = |a: u64, b: u64| match kind {
                    KeyKind::Signed => a.cast_signed().cmp(&b.cast_signed()),
                    KeyKind::Unsigned => a.cmp(&b),
                    KeyKind::Float => f64::from_bits(a).total_cmp(&f64::from_bits(b)),
                };
                let best = counts.into_iter().max_by(|a, b| a.1.cmp(&b.1).then_with(|| smaller(b.0, a.0)));
                best.map(|(key, _)| number(kind, key, column)).transpose()?
            }
        })
    }
}

fn number(kind: KeyKind, key: u64, column: &str) -> Result<Scalar> {
    match kind {
        KeyKind::Signed => Ok(Scalar::Int(key.cast_signed())),
        KeyKind::Float => Ok(Scalar::Float(f64::from_bits(key))),
        KeyKind::Unsigned => {
            let large = |_| Error::schema(column, "a most frequent value below 2^63", key);
            i64::try_from(key).map(Scalar::Int).map_err(large)
        }
    }
}

/// Whether there was room for `key`.
fn add(counts: &mut HashMap<u64, u64, FixedState>, key: u64) -> bool {
    if let Some(count) = counts.get_mut(&key) {
        *count += 1;
        return true;
    }
    let room = counts.len() < MODE_VALUES_MAX;
    if room {
        counts.insert(key, 1);
    }
    room
}

fn refuse(crowded: bool, column: &str) -> Result<()> {
    if crowded {
        let expected = format!("at most {MODE_VALUES_MAX} different values of at most {MODE_BYTES_MAX} bytes together");
        return Err(Error::schema(column, expected, "more: too many to find the most frequent one"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, BooleanArray, DictionaryArray, Float64Array, Int64Array, StringArray, UInt64Array};
    use arrow::datatypes::Int8Type;

    use super::*;

    fn mode(array: impl Array + 'static) -> Result<Option<Scalar>> {
        let array: ArrayRef = Arc::new(array);
        let mut modes = Modes::new(array.data_type()).expect("a type that is counted");
        for row in 0..array.len() {
            modes.update("x", &array.slice(row, 1))?;
        }
        modes.finish("x")
    }

    #[test]
    fn the_smallest_of_the_most_frequent_wins_as_in_scikit_learn() {
        // scikit-learn 1.9.1: SimpleImputer(strategy="most_frequent") takes the smallest of several modes.
        assert_eq!(mode(Int64Array::from(vec![3, -2, 3, -2, 9])).unwrap(), Some(Scalar::Int(-2)));
        assert_eq!(mode(Float64Array::from(vec![0.5, f64::NAN, f64::NAN])).unwrap(), Some(Scalar::Float(0.5)));
        assert_eq!(mode(BooleanArray::from(vec![true, false])).unwrap(), Some(Scalar::Bool(false)));
        let texts = StringArray::from(vec![Some("b"), None, None, Some("a")]);
        assert_eq!(mode(texts).unwrap(), Some(Scalar::Text("a".to_owned())));
        let coded: DictionaryArray<Int8Type> = ["x", "y", "y"].into_iter().collect();
        assert_eq!(mode(coded).unwrap(), Some(Scalar::Text("y".to_owned())));
    }

    #[test]
    fn nothing_seen_is_no_value_and_what_has_no_form_is_an_error() {
        assert_eq!(mode(BooleanArray::from(vec![None, None])).unwrap(), None);
        assert_eq!(mode(Float64Array::from(vec![f64::NAN])).unwrap(), None);
        assert!(matches!(mode(UInt64Array::from(vec![u64::MAX])), Err(Error::Schema { .. })));
    }

    #[test]
    fn too_many_different_values_are_refused_by_name() {
        let many = Int64Array::from_iter_values(0..=MODE_VALUES_MAX as i64);
        let mut modes = Modes::new(&DataType::Int64).unwrap();
        let error = modes.update("id", &many).unwrap_err().to_string();
        assert!(error.contains("`id`"), "{error}");
    }
}
