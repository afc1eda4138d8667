//! Names for the blobs of one thing.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Blob, Sha256};
use crate::{Error, Result};

const FORMAT: u32 = 1;
/// Largest manifest that is read.
pub(super) const MANIFEST_BYTES_MAX: u64 = 16 << 20;
/// Longest name of an entry in bytes.
const NAME_BYTES_MAX: usize = 1_000;

/// One named blob.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManifestEntry {
    /// Relative name with `/` between its parts. Data only: no store makes a path of it.
    pub name: String,
    /// Length in bytes.
    pub size: u64,
    /// SHA-256 of the content.
    pub digest: Sha256,
}

/// Sorted list of named blobs; its own digest stands for all of them.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct Manifest {
    entries: Vec<ManifestEntry>,
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    format: u32,
    entries: Vec<ManifestEntry>,
}

impl Manifest {
    /// A manifest of these blobs.
    ///
    /// # Errors
    /// [`Invalid`](mlops_core::Error::Invalid) for a name that is empty, longer than 1000 bytes, absolute, or has a part
    /// that is empty, `.` or `..`, a backslash or a control character.
    pub fn new(blobs: impl IntoIterator<Item = (String, Blob)>) -> Result<Self> {
        let sorted: BTreeMap<String, Blob> = blobs.into_iter().collect();
        let entries =
            sorted.into_iter().map(|(name, blob)| ManifestEntry { name, size: blob.size, digest: blob.digest });
        Unchecked { format: FORMAT, entries: entries.collect() }.try_into()
    }

    /// The entries, sorted by name.
    pub fn entries(&self) -> &[ManifestEntry] {
        &self.entries
    }

    /// The entry of `name`.
    ///
    /// # Errors
    /// [`NotFound`](mlops_core::Error::NotFound) when there is none.
    pub fn entry(&self, name: &str) -> Result<&ManifestEntry> {
        self.entries.iter().find(|e| e.name == name).ok_or_else(|| Error::not_found("manifest entry", name))
    }

    /// Canonical JSON.
    ///
    /// # Errors
    /// None at present.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(|e| Error::invalid_data("manifest", e))
    }

    /// Reads what [`to_bytes`](Self::to_bytes) wrote.
    ///
    /// # Errors
    /// [`InvalidData`](mlops_core::Error::InvalidData) for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        serde_json::from_slice(bytes).map_err(|e| Error::invalid_data("manifest", e))
    }
}

fn check(name: &str) -> Result<()> {
    let part =
        |p: &str| !p.is_empty() && p != "." && p != ".." && !p.contains('\\') && !p.chars().any(char::is_control);
    if name.len() <= NAME_BYTES_MAX && name.split('/').all(part) {
        return Ok(());
    }
    let shown: String = name.chars().take(80).flat_map(char::escape_default).collect();
    Err(Error::invalid("artifact name", format!("`{shown}`"), "a relative name of plain parts, at most 1000 bytes"))
}

impl TryFrom<Unchecked> for Manifest {
    type Error = Error;

    fn try_from(unchecked: Unchecked) -> Result<Self> {
        if unchecked.format != FORMAT {
            return Err(Error::Format { what: "manifest", found: unchecked.format, known: FORMAT });
        }
        unchecked.entries.iter().try_for_each(|e| check(&e.name))?;
        if !unchecked.entries.is_sorted_by(|a, b| a.name < b.name) {
            return Err(Error::invalid_data("manifest", "names are not sorted and unique"));
        }
        Ok(Self { entries: unchecked.entries })
    }
}

impl From<Manifest> for Unchecked {
    fn from(manifest: Manifest) -> Self {
        Self { format: FORMAT, entries: manifest.entries }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_leave_a_folder_are_refused() {
        let blob = Blob { digest: Sha256::of(b"x"), size: 1 };
        let long = "a".repeat(10_000);
        for bad in ["", "/etc/passwd", "..", "a/../b", "a//b", "a/", "./a", "a\\b", "a\0b", "a\nb", &long] {
            assert!(Manifest::new([(bad.to_owned(), blob)]).is_err(), "{bad:?}");
        }
        let good = Manifest::new([("b/c.json".to_owned(), blob), ("a".to_owned(), blob)]).unwrap();
        assert_eq!(Manifest::from_bytes(&good.to_bytes().unwrap()).unwrap(), good);
        assert_eq!(good.entries()[0].name, "a");
    }

    #[test]
    fn unsorted_unknown_or_newer_manifests_are_refused() {
        for bad in [
            r#"{"format":2,"entries":[]}"#,
            r#"{"format":1,"entries":[],"loader":"os.system"}"#,
            r#"{"format":1,"entries":[{"name":"a","size":1,"digest":"zz"}]}"#,
            "",
            "[]",
        ] {
            assert!(Manifest::from_bytes(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
