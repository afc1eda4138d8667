//! The JSON form of a forest: one object with a format number.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{Error, Result};

use super::{Forest, Link, Tree};

/// Format number that this version writes and reads.
pub const FORMAT: u32 = 1;

/// The unchecked form, as it is read.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForestRead {
    format: u32,
    link: Link,
    base_score: f64,
    features: Vec<String>,
    trees: Vec<Tree>,
}

/// The same fields, borrowed, as they are written.
#[derive(Serialize)]
struct ForestWritten<'a> {
    format: u32,
    link: Link,
    base_score: f64,
    features: &'a [String],
    trees: &'a [Tree],
}

/// Only the number that says how to read the rest.
#[derive(Deserialize)]
struct Probe {
    format: u32,
}

impl TryFrom<ForestRead> for Forest {
    type Error = Error;

    fn try_from(read: ForestRead) -> Result<Self> {
        if read.format != FORMAT {
            return Err(Error::Format { what: "forest", found: read.format, known: FORMAT });
        }
        Self::new(read.features, read.trees, read.link, read.base_score)
    }
}

impl Serialize for Forest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { features, trees, link, base_score, .. } = self;
        ForestWritten { format: FORMAT, link: *link, base_score: *base_score, features, trees }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Forest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(ForestRead::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Forest {
    /// Reads and checks what [`Forest::to_json`] wrote. Memory is bounded by a small multiple of the input.
    ///
    /// # Errors
    /// [`Error::Format`] when the format number is not [`FORMAT`], [`mlops_core::Error::InvalidData`] when it is not a
    /// sound forest.
    pub fn from_json(json: &[u8]) -> Result<Self> {
        let unreadable = |error: serde_json::Error| Error::invalid_data("forest", error);
        let Probe { format } = serde_json::from_slice(json).map_err(unreadable)?;
        if format != FORMAT {
            return Err(Error::Format { what: "forest", found: format, known: FORMAT });
        }
        serde_json::from_slice::<ForestRead>(json).map_err(unreadable)?.try_into()
    }

    /// The forest as one JSON object. Numbers are exact: reading it again gives an equal forest and equal scores.
    ///
    /// # Errors
    /// [`mlops_core::Error::InvalidData`] when JSON cannot hold it, which a checked forest does not cause.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::invalid_data("forest", error))
    }
}
