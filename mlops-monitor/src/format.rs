//! Pieces of the stored forms.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The format number of a stored form: written as 1, and nothing else is read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct FormatOne;

impl Serialize for FormatOne {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u32(1)
    }
}

impl<'de> Deserialize<'de> for FormatOne {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match u32::deserialize(deserializer)? {
            1 => Ok(Self),
            other => Err(serde::de::Error::custom(format_args!(
                "format {other} is not known to this program, which reads 1"
            ))),
        }
    }
}

/// Floats in JSON that may be infinite or not a number: those are written as text.
pub(crate) mod number {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Wire {
        Finite(f64),
        Other(Word),
    }

    #[derive(Serialize, Deserialize)]
    enum Word {
        #[serde(rename = "NaN")]
        Nan,
        #[serde(rename = "inf")]
        Positive,
        #[serde(rename = "-inf")]
        Negative,
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it with a reference")]
    pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        let wire = match *value {
            v if v.is_nan() => Wire::Other(Word::Nan),
            f64::INFINITY => Wire::Other(Word::Positive),
            f64::NEG_INFINITY => Wire::Other(Word::Negative),
            v => Wire::Finite(v),
        };
        wire.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Ok(match Wire::deserialize(deserializer)? {
            Wire::Finite(value) => value,
            Wire::Other(Word::Nan) => f64::NAN,
            Wire::Other(Word::Positive) => f64::INFINITY,
            Wire::Other(Word::Negative) => f64::NEG_INFINITY,
        })
    }
}
