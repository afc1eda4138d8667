//! JSON values with the order of their keys, and without keys that occur twice.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use crate::source::cells::EXACT_INT_MAX;

/// One JSON value.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::source) enum Json {
    Null,
    Bool(bool),
    Int(i64),
    /// Above the range of `Int`.
    UInt(u64),
    Float(f64),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// The whole number that this is. Floats count up to 2^53, where each of them is one number.
    pub(in crate::source) fn whole(&self) -> Option<i128> {
        match self {
            Self::Int(v) => Some((*v).into()),
            Self::UInt(v) => Some((*v).into()),
            Self::Float(v) if v.fract() == 0.0 && v.abs() <= EXACT_INT_MAX as f64 => Some(*v as i128),
            _ => None,
        }
    }

    /// The number nearest to this.
    pub(in crate::source) fn real(&self) -> Option<f64> {
        match self {
            Self::Int(v) => Some(*v as f64),
            Self::UInt(v) => Some(*v as f64),
            Self::Float(v) => Some(*v),
            _ => None,
        }
    }
}

/// The members of an object, to be found by key.
pub(in crate::source) struct Members<'a> {
    all: &'a [(String, Json)],
    by_key: OnceCell<BTreeMap<&'a str, &'a Json>>,
}

impl<'a> Members<'a> {
    pub(in crate::source) fn of(all: &'a [(String, Json)]) -> Self {
        Self { all, by_key: OnceCell::new() }
    }

    /// The value of `key`. Objects mostly have their keys in the order of the columns, so it is first looked for at `place`.
    pub(in crate::source) fn value(&self, place: usize, key: &str) -> Option<&'a Json> {
        if let Some((_, value)) = self.all.get(place).filter(|(found, _)| found == key) {
            return Some(value);
        }
        let by_key = || self.all.iter().map(|(key, value)| (key.as_str(), value)).collect();
        self.by_key.get_or_init(by_key).get(key).copied()
    }
}

/// Scalars as JSON spells them, but text without its quotes.
impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool(v) => write!(f, "{v}"),
            Self::Int(v) => write!(f, "{v}"),
            Self::UInt(v) => write!(f, "{v}"),
            Self::Float(v) => write!(f, "{v:?}"),
            Self::Text(v) => f.write_str(v),
            Self::List(items) => write!(f, "a list of {}", items.len()),
            Self::Object(members) => write!(f, "an object of {}", members.len()),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

/// Objects of up to this many keys are searched one by one for keys that occur twice.
const FEW_KEYS: usize = 16;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, v: bool) -> Result<Json, E> {
        Ok(Json::Bool(v))
    }

    fn visit_i64<E>(self, v: i64) -> Result<Json, E> {
        Ok(Json::Int(v))
    }

    fn visit_u64<E>(self, v: u64) -> Result<Json, E> {
        Ok(i64::try_from(v).map_or(Json::UInt(v), Json::Int))
    }

    fn visit_f64<E>(self, v: f64) -> Result<Json, E> {
        Ok(Json::Float(v))
    }

    fn visit_str<E>(self, v: &str) -> Result<Json, E> {
        Ok(Json::Text(v.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut many = BTreeSet::new();
        while let Some((key, value)) = entries.next_entry::<String, Json>()? {
            if members.len() == FEW_KEYS {
                many.extend(members.iter().map(|(key, _)| key.clone()));
            }
            let twice = if members.len() < FEW_KEYS {
                members.iter().any(|(known, _)| *known == key)
            } else {
                !many.insert(key.clone())
            };
            if twice {
                return Err(A::Error::custom("a key is there twice"));
            }
            members.push((key, value));
        }
        Ok(Json::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_and_a_key_that_is_there_twice_is_refused() {
        let Json::Object(members) = serde_json::from_str(r#"{"z":1,"a":18446744073709551615,"m":1.5}"#).unwrap() else {
            panic!("an object");
        };
        assert_eq!(members.iter().map(|(k, _)| k.as_str()).collect::<Vec<_>>(), ["z", "a", "m"]);
        assert_eq!(members[1].1, Json::UInt(u64::MAX));
        assert!(serde_json::from_str::<Json>(r#"{"a":1,"a":2}"#).is_err());
        let wide = |last: usize| {
            let keys: Vec<_> = (0..40).chain([last]).map(|k| format!("\"k{k}\":0")).collect();
            serde_json::from_str::<Json>(&format!("{{{}}}", keys.join(",")))
        };
        assert!(wide(40).is_ok());
        assert!(wide(3).is_err());
        assert!(wide(39).is_err());
    }

    #[test]
    fn nesting_is_bounded() {
        assert!(serde_json::from_str::<Json>(&"[".repeat(100_000)).is_err());
    }
}
