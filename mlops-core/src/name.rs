//! Checked names of things that people create: data sets, views, models, steps.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// A name that is safe in a file, a label, a log line and a URL.
///
/// 1 to 128 of `A-Z a-z 0-9 _ - .`, starting with a letter, digit or `_`, without `..`.
/// A name is data: no store of this family ever uses one as a path. Clones share one allocation.
///
/// # Examples
/// ```
/// use mlops_core::Name;
/// assert_eq!(Name::new("offer_clicks")?.as_str(), "offer_clicks");
/// assert!(Name::new("../etc/passwd").is_err());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(Arc<str>);

/// Longest name in bytes.
pub const NAME_BYTES_MAX: usize = 128;

impl Name {
    /// Checks `name`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is empty, too long, or holds anything outside the allowed set.
    pub fn new(name: impl AsRef<str>) -> Result<Self> {
        let name = name.as_ref();
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
        let first = name.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
        if first && name.len() <= NAME_BYTES_MAX && name.chars().all(allowed) && !name.contains("..") {
            return Ok(Self(name.into()));
        }
        let shown: String = name.chars().take(NAME_BYTES_MAX).flat_map(char::escape_default).collect();
        Err(Error::invalid(
            "name",
            format!("`{shown}`"),
            "1 to 128 of A-Z a-z 0-9 _ - . that starts with a letter, a digit or _ and has no `..`",
        ))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl AsRef<str> for Name {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl std::borrow::Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Name {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::new(name)
    }
}

impl TryFrom<String> for Name {
    type Error = Error;

    fn try_from(name: String) -> Result<Self> {
        Self::new(name)
    }
}

impl TryFrom<&str> for Name {
    type Error = Error;

    fn try_from(name: &str) -> Result<Self> {
        Self::new(name)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> Self {
        name.0.as_ref().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_be_paths_or_hide_are_refused() {
        let long = "a".repeat(10_000);
        for bad in ["", "..", "a..b", "a/b", "a\\b", "a\0b", ".hidden", "-flag", "a b", "tên", &long] {
            assert!(Name::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn refusal_does_not_echo_ten_kilobytes() {
        let message = Name::new("é".repeat(10_000)).unwrap_err().to_string();
        assert!(message.len() < 2_000, "{}", message.len());
    }

    #[test]
    fn serde_checks_too() {
        assert!(serde_json::from_str::<Name>("\"ok.v1-2_3\"").is_ok());
        assert!(serde_json::from_str::<Name>("\"a/b\"").is_err());
    }
}
