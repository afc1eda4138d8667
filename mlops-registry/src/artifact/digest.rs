//! SHA-256 names.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::Digest as _;

use crate::{Error, Result};

/// SHA-256 of some bytes, written as 64 lower-case hex digits.
///
/// Model signatures, OCI and MLflow-side tools need SHA-256; inside the family content is named by the faster
/// [`mlops_core::Digest`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sha256([u8; 32]);

impl Sha256 {
    /// Digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The raw bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

impl std::str::FromStr for Sha256 {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        // Both digests are written the same way: 32 bytes in lower-case hex.
        Ok(Self(*text.parse::<mlops_core::Digest>()?.as_bytes()))
    }
}

impl TryFrom<String> for Sha256 {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Sha256> for String {
    fn from(digest: Sha256) -> Self {
        digest.to_string()
    }
}

/// Digest of bytes that come in pieces.
#[derive(Clone, Default)]
pub(crate) struct Hasher(sha2::Sha256);

impl Hasher {
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(self) -> Sha256 {
        Sha256(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_abc_is_the_one_of_fips_180() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // FIPS 180-2, appendix B.1
        assert_eq!(Sha256::of(b"abc").to_string(), abc);
        assert_eq!(abc.parse::<Sha256>().unwrap(), Sha256::of(b"abc"));
        assert!("../../etc/passwd".parse::<Sha256>().is_err());
    }
}
