//! Readers of model formats: data only, never code.

mod forest;
mod linear;

pub use forest::ForestModel;
pub use linear::LinearModel;

use std::collections::BTreeMap;
use std::fmt;

use mlops_core::model::Model;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::{Error, Result};

/// Reads the bytes of one flavor.
pub type Reader = fn(&[u8]) -> Result<Box<dyn Model>>;

/// The formats that a host reads models from.
///
/// Formats that can carry code (pickle, joblib, torch, Keras, Java archives) are recognised by their first bytes and
/// refused with the name of a safe format to export to.
#[derive(Clone)]
pub struct Flavors(BTreeMap<&'static str, Reader>);

impl fmt::Debug for Flavors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Flavors {
    /// No formats yet.
    pub fn none() -> Self {
        Self(BTreeMap::new())
    }

    /// Every format that this build reads.
    pub fn all() -> Self {
        Self::none().with(ForestModel::FLAVOR, ForestModel::read).with(LinearModel::FLAVOR, LinearModel::read)
    }

    /// The same formats and one more; a later reader of one name wins.
    pub fn with(mut self, flavor: &'static str, reader: Reader) -> Self {
        self.0.insert(flavor, reader);
        self
    }

    /// Reads a model.
    ///
    /// # Errors
    /// [`NotFound`](mlops_core::Error::NotFound) for an unknown flavor,
    /// [`InvalidData`](mlops_core::Error::InvalidData) for bytes that are not a model of it.
    pub fn read(&self, flavor: &str, bytes: &[u8]) -> Result<Box<dyn Model>> {
        if let Some(advice) = carries_code(bytes) {
            return Err(Error::invalid_data(format!("model of flavor `{flavor}`"), advice));
        }
        let shown: String = flavor.chars().take(64).flat_map(char::escape_default).collect();
        let reader = self.0.get(flavor).ok_or_else(|| Error::not_found("model flavor", shown))?;
        reader(bytes)
    }
}

/// The JSON object in `bytes`, when it says that it is of `format`. The number is read first, so that a newer format is
/// told from damage.
fn read_json<T: DeserializeOwned>(what: &'static str, bytes: &[u8], format: u32) -> Result<T> {
    let unreadable = |error: serde_json::Error| Error::invalid_data(what, error);
    let probe: Probe = serde_json::from_slice(bytes).map_err(unreadable)?;
    if probe.format != format {
        return Err(Error::Format { what, found: probe.format, known: format });
    }
    serde_json::from_slice(bytes).map_err(unreadable)
}

/// Only the number that says how to read the rest.
#[derive(Deserialize)]
struct Probe {
    format: u32,
}

/// Advice for formats that run code when they are loaded.
fn carries_code(bytes: &[u8]) -> Option<&'static str> {
    let starts = |magic: &[u8]| bytes.starts_with(magic);
    if starts(&[0x80]) && bytes.get(1).is_some_and(|protocol| (2..=5).contains(protocol)) {
        return Some(
            "it is a Python pickle, which can run code; export LightGBM text, XGBoost JSON or safetensors instead",
        );
    }
    if starts(b"PK\x03\x04") {
        return Some(
            "it is a zip archive (torch, Keras or Java), which can carry code; export safetensors or ONNX instead",
        );
    }
    if starts(b"\x89HDF\r\n") {
        return Some("it is an HDF5 file (Keras), whose settings name functions; export safetensors or ONNX instead");
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_that_carry_code_are_refused_with_advice() {
        for bytes in [b"\x80\x04\x95".as_slice(), b"PK\x03\x04rest", b"\x89HDF\r\n\x1a\n"] {
            let error = Flavors::none().read("sklearn", bytes).unwrap_err().to_string();
            assert!(error.contains("export"), "{error}");
        }
        assert!(Flavors::none().read("sklearn", b"{}").unwrap_err().to_string().contains("`sklearn` not found"));
    }
}
