//! The JSON of an answer, straight from what the pipeline served.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray};
use arrow::datatypes::{
    DataType, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use mlops_core::rank::{RequestId, Served};
use mlops_core::{Error, Name, Result};
use serde::ser::SerializeSeq;
use serde::{Serialize, Serializer};

use crate::http::wire::write_id;

/// How many bytes an item mostly takes: its words, a key of ten digits and a score of seventeen.
const ITEM_BYTES: usize = 52;

/// Checks that candidate keys of this type can be written.
///
/// # Errors
/// [`Error::Schema`] when they are neither integers nor text.
pub(super) fn check_key(column: &str, data_type: &DataType) -> Result<()> {
    if data_type.is_integer() || matches!(data_type, DataType::Utf8 | DataType::LargeUtf8) {
        return Ok(());
    }
    Err(Error::schema(column, "a candidate key of integers or text", data_type))
}

/// Writes the answer's body.
///
/// # Errors
/// [`Error::Schema`] when the keys are not what [`check_key`] lets pass.
pub(super) fn write(served: &Served) -> Result<Vec<u8>> {
    check_key(served.slate.key_name(), served.slate.keys().data_type())?;
    let mut body = Vec::with_capacity(256 + served.scores.len() * ITEM_BYTES);
    let answer = Answer {
        request_id: served.query.id(),
        items: Items { keys: served.slate.keys(), scores: &served.scores },
        versions: &served.versions,
        filtered: &served.filtered,
        degraded: &served.degraded,
        took_us: u64::try_from(served.took.as_micros()).unwrap_or(u64::MAX),
    };
    serde_json::to_writer(&mut body, &answer).map_err(|e| Error::invalid_data("answer", e))?;
    Ok(body)
}

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(serialize_with = "write_id")]
    request_id: RequestId,
    items: Items<'a>,
    #[serde(serialize_with = "write_versions")]
    versions: &'a [(Name, Arc<str>)],
    #[serde(serialize_with = "write_counts")]
    filtered: &'a [(Name, usize)],
    #[serde(serialize_with = "write_names")]
    degraded: &'a [Name],
    took_us: u64,
}

struct Items<'a> {
    keys: &'a ArrayRef,
    scores: &'a [f64],
}

#[derive(Serialize)]
struct Item<K> {
    key: K,
    score: f64,
}

impl Items<'_> {
    fn seq<S: Serializer, K: Serialize>(
        &self,
        serializer: S,
        keys: impl Iterator<Item = K>,
    ) -> std::result::Result<S::Ok, S::Error> {
        let mut seq = serializer.serialize_seq(Some(self.scores.len()))?;
        for (key, score) in keys.zip(self.scores) {
            seq.serialize_element(&Item { key, score: *score })?;
        }
        seq.end()
    }
}

impl Serialize for Items<'_> {
    fn serialize<S: Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        macro_rules! numbers {
            ($type:ty) => {
                self.seq(s, self.keys.as_primitive::<$type>().values().iter())
            };
        }
        match self.keys.data_type() {
            DataType::Int8 => numbers!(Int8Type),
            DataType::Int16 => numbers!(Int16Type),
            DataType::Int32 => numbers!(Int32Type),
            DataType::Int64 => numbers!(Int64Type),
            DataType::UInt8 => numbers!(UInt8Type),
            DataType::UInt16 => numbers!(UInt16Type),
            DataType::UInt32 => numbers!(UInt32Type),
            DataType::UInt64 => numbers!(UInt64Type),
            DataType::Utf8 => self.seq(s, self.keys.as_string::<i32>().iter()),
            DataType::LargeUtf8 => self.seq(s, self.keys.as_string::<i64>().iter()),
            other => Err(serde::ser::Error::custom(format!("a key of {other}"))),
        }
    }
}

fn write_versions<S: Serializer>(versions: &[(Name, Arc<str>)], s: S) -> std::result::Result<S::Ok, S::Error> {
    s.collect_map(versions.iter().map(|(name, version)| (name.as_str(), &**version)))
}

fn write_counts<S: Serializer>(counts: &[(Name, usize)], s: S) -> std::result::Result<S::Ok, S::Error> {
    s.collect_map(counts.iter().map(|(name, count)| (name.as_str(), count)))
}

fn write_names<S: Serializer>(names: &[Name], s: S) -> std::result::Result<S::Ok, S::Error> {
    s.collect_seq(names.iter().map(Name::as_str))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use arrow::array::{Int64Array, RecordBatch, StringArray};
    use mlops_core::EventTime;
    use mlops_core::rank::{Query, Slate};

    use super::*;
    use crate::http::{Key, RankAnswer};

    fn served(keys: ArrayRef, scores: Vec<f64>) -> Served {
        let user: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let context = RecordBatch::try_from_iter([("user", user)]).unwrap();
        let name = |name: &str| Name::new(name).unwrap();
        Served {
            query: Query::new(RequestId(7), EventTime::EPOCH, context, 10).unwrap(),
            slate: Slate::new(RecordBatch::try_from_iter([("offer", keys)]).unwrap()).unwrap(),
            scores,
            versions: vec![(name("blend"), "initial".into()), (name("click"), "3\"".into())],
            filtered: vec![(name("owned"), 2)],
            degraded: vec![name("ads")],
            took: Duration::from_nanos(12_900),
        }
    }

    #[test]
    fn the_client_reads_what_was_written() {
        let keys: ArrayRef = Arc::new(StringArray::from(vec!["a\"\u{1}", "ê"]));
        let body = write(&served(keys, vec![0.1, f64::NAN])).unwrap();
        let answer: RankAnswer = serde_json::from_slice(&body).unwrap();
        let items: Vec<_> = answer.items.into_iter().map(|item| (item.key, item.score)).collect();
        let text = |text: &str| Key::Text(text.to_owned());
        assert_eq!(items, [(text("a\"\u{1}"), Some(0.1)), (text("ê"), None)]);
        assert_eq!((answer.request_id, answer.took_us), (RequestId(7), 12));
        assert_eq!(answer.versions["click"], "3\"");
        assert_eq!((answer.filtered["owned"], answer.degraded.as_slice()), (2, ["ads".to_owned()].as_slice()));
    }

    #[test]
    fn the_form_of_an_answer_is_fixed() {
        let body = write(&served(Arc::new(Int64Array::from(vec![-5])), vec![1.0])).unwrap();
        let expected = concat!(
            r#"{"request_id":"00000000000000000000000000000007","items":[{"key":-5,"score":1.0}],"#,
            r#""versions":{"blend":"initial","click":"3\""},"filtered":{"owned":2},"degraded":["ads"],"took_us":12}"#,
        );
        assert_eq!(String::from_utf8(body).unwrap(), expected);
    }

    #[test]
    fn keys_that_json_cannot_hold_are_refused() {
        assert!(check_key("offer", &DataType::Float64).unwrap_err().to_string().contains("offer"));
        assert!(check_key("offer", &DataType::UInt8).is_ok());
    }
}
