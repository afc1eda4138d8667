//! Named numbers in JSON, which has no spelling for NaN and infinities: they are written as text and read back.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Number {
    Finite(f64),
    Other(String),
}

impl From<f64> for Number {
    fn from(value: f64) -> Self {
        if value.is_finite() { Self::Finite(value) } else { Self::Other(value.to_string()) }
    }
}

impl TryFrom<Number> for f64 {
    type Error = String;

    fn try_from(number: Number) -> Result<Self, String> {
        match number {
            Number::Finite(value) => Ok(value),
            Number::Other(text) => match text.as_str() {
                "NaN" => Ok(Self::NAN),
                "inf" => Ok(Self::INFINITY),
                "-inf" => Ok(Self::NEG_INFINITY),
                other => Err(format!("`{}` is no number", other.escape_default())),
            },
        }
    }
}

pub(crate) fn serialize<S: Serializer>(numbers: &BTreeMap<String, f64>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(numbers.iter().map(|(name, value)| (name, Number::from(*value))))
}

pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, f64>, D::Error> {
    read(BTreeMap::deserialize(deserializer)?)
}

fn read<E: serde::de::Error>(numbers: BTreeMap<String, Number>) -> Result<BTreeMap<String, f64>, E> {
    numbers.into_iter().map(|(name, number)| Ok((name, number.try_into().map_err(E::custom)?))).collect()
}

/// The same for numbers that may not be there.
pub(crate) mod optional {
    use super::{BTreeMap, Deserialize, Deserializer, Number, Serializer, read};

    #[expect(clippy::ref_option, reason = "serde hands the field over as it is")]
    pub(crate) fn serialize<S: Serializer>(
        numbers: &Option<BTreeMap<String, f64>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match numbers {
            Some(numbers) => super::serialize(numbers, serializer),
            None => serializer.serialize_none(),
        }
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<BTreeMap<String, f64>>, D::Error> {
        Option::<BTreeMap<String, Number>>::deserialize(deserializer)?.map(read).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Both {
        #[serde(with = "crate::numbers")]
        all: BTreeMap<String, f64>,
        #[serde(with = "crate::numbers::optional", default)]
        some: Option<BTreeMap<String, f64>>,
    }

    #[test]
    fn every_number_comes_back_bit_for_bit() {
        let values = [0.1, -0.0, f64::MAX, f64::MIN_POSITIVE, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let all: BTreeMap<String, f64> = values.iter().enumerate().map(|(at, v)| (at.to_string(), *v)).collect();
        let text = serde_json::to_string(&Both { all: all.clone(), some: Some(all.clone()) }).unwrap();
        let read: Both = serde_json::from_str(&text).unwrap();
        let bits = |numbers: &BTreeMap<String, f64>| numbers.values().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&read.all), bits(&all));
        assert_eq!(bits(&read.some.unwrap()), bits(&all));
    }

    #[test]
    fn plain_json_is_read_as_ever_and_other_text_is_refused() {
        let read: Both = serde_json::from_str(r#"{"all": {"auc": 0.5, "rows": 3}}"#).unwrap();
        assert_eq!((read.all["auc"], read.all["rows"], read.some), (0.5, 3.0, None));
        for bad in [r#"{"all": {"auc": "high"}}"#, r#"{"all": {"auc": null}}"#, r#"{"all": {"auc": "Infinity"}}"#] {
            assert!(serde_json::from_str::<Both>(bad).is_err(), "{bad}");
        }
    }
}
