//! Requests and answers as they travel: JSON that both ends agree on.

use std::collections::BTreeMap;
use std::fmt;

use axum::body::Bytes;
use mlops_core::EventTime;
use mlops_core::rank::{RequestId, Weights};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::{Map, Value};

/// What a caller asks: `POST /rank`.
///
/// # Examples
/// ```
/// use mlops_core::rank::RequestId;
/// use ranking::http::RankRequest;
///
/// let request = RankRequest::new(10).id(RequestId(0xff)).context("customer", 7);
/// let body = r#"{"request_id":"000000000000000000000000000000ff","context":{"customer":7},"limit":10}"#;
/// assert_eq!(request.to_json(), body);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RankRequest {
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "write_optional_id")]
    request_id: Option<RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<EventTime>,
    context: Map<String, Value>,
    limit: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    weights: Option<Weights>,
}

impl RankRequest {
    /// Asks for up to `limit` candidates, now, under an id that the service makes up.
    pub fn new(limit: usize) -> Self {
        Self { request_id: None, at: None, context: Map::new(), limit, weights: None }
    }

    /// The id under which the request is answered, logged and later joined with what came of it.
    pub fn id(mut self, id: RequestId) -> Self {
        self.request_id = Some(id);
        self
    }

    /// The instant as of which features are read. Default: the service's clock.
    pub fn at(mut self, at: EventTime) -> Self {
        self.at = Some(at);
        self
    }

    /// A column of the request's context; its name and type are those of the service's context schema.
    pub fn context(mut self, column: impl Into<String>, value: impl Into<Value>) -> Self {
        self.context.insert(column.into(), value.into());
        self
    }

    /// Weights instead of the pipeline's, where the service takes them.
    pub fn weights(mut self, weights: Weights) -> Self {
        self.weights = Some(weights);
        self
    }

    /// The request's body.
    #[expect(clippy::missing_panics_doc, reason = "text, finite numbers and lists of them are always JSON")]
    pub fn to_json(&self) -> Bytes {
        serde_json::to_vec(self).map(Bytes::from).expect("a request is always JSON")
    }
}

/// What a caller gets.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct RankAnswer {
    /// The caller's id, or the one that the service made up.
    #[serde(deserialize_with = "read_id")]
    pub request_id: RequestId,
    /// The chosen candidates, best first.
    pub items: Vec<Item>,
    /// Version of everything that scored, by stage; that of the weights under `blend`.
    pub versions: BTreeMap<String, String>,
    /// How many candidates each filter took out, for those that took out any.
    pub filtered: BTreeMap<String, usize>,
    /// Stages that failed or were late and were stood in for.
    pub degraded: Vec<String>,
    /// Time in the pipeline, in microseconds.
    pub took_us: u64,
}

/// One chosen candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Item {
    /// Its key.
    pub key: Key,
    /// Its blended score; `None` where there is no number to give (NaN or an infinity).
    pub score: Option<f64>,
}

/// A candidate's key.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// Any integer that 64 signed bits hold.
    Int(i64),
    /// An integer above that.
    UInt(u64),
    /// Text.
    Text(String),
}

impl Serialize for Key {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Int(key) => serializer.serialize_i64(*key),
            Self::UInt(key) => serializer.serialize_u64(*key),
            Self::Text(key) => serializer.serialize_str(key),
        }
    }
}

impl<'de> Deserialize<'de> for Key {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeyVisitor;
        impl de::Visitor<'_> for KeyVisitor {
            type Value = Key;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an integer or text")
            }

            fn visit_i64<E: de::Error>(self, key: i64) -> Result<Key, E> {
                Ok(Key::Int(key))
            }

            fn visit_u64<E: de::Error>(self, key: u64) -> Result<Key, E> {
                Ok(i64::try_from(key).map_or(Key::UInt(key), Key::Int))
            }

            fn visit_str<E: de::Error>(self, key: &str) -> Result<Key, E> {
                Ok(Key::Text(key.to_owned()))
            }
        }
        deserializer.deserialize_any(KeyVisitor)
    }
}

/// The id that is written as `text`: 32 lower-case hex digits, nothing else.
pub(super) fn parse_id(text: &str) -> Option<RequestId> {
    let hex = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    hex.then(|| u128::from_str_radix(text, 16).ok()).flatten().map(RequestId)
}

pub(super) fn write_id<S: Serializer>(id: &RequestId, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(id)
}

#[expect(clippy::ref_option, reason = "serde hands over a reference to the field")]
fn write_optional_id<S: Serializer>(id: &Option<RequestId>, serializer: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => write_id(id, serializer),
        None => serializer.serialize_none(),
    }
}

fn read_id<'de, D: Deserializer<'de>>(deserializer: D) -> Result<RequestId, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_id(&text).ok_or_else(|| de::Error::custom("a request id is 32 lower-case hex digits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_come_back_as_they_went() {
        for key in [Key::Int(-3), Key::Int(i64::MAX), Key::UInt(u64::MAX), Key::Text("a\"b".to_owned())] {
            let text = serde_json::to_string(&key).unwrap();
            assert_eq!(serde_json::from_str::<Key>(&text).unwrap(), key, "{text}");
        }
        assert!(serde_json::from_str::<Key>("1.5").is_err());
    }

    #[test]
    fn an_id_is_32_lower_case_hex_digits() {
        let id = RequestId(0xab_cdef);
        assert_eq!(parse_id(&id.to_string()), Some(id));
        for bad in ["", "ff", "+0000000000000000000000000000000", &"F".repeat(32), &"0".repeat(33), &"é".repeat(16)] {
            assert_eq!(parse_id(bad), None, "{bad}");
        }
    }
}
