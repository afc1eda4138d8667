//! What failures of a store mean, without what must not be seen.

use std::fmt;
use std::sync::Arc;

use super::SYSTEM;
use crate::Error;

/// Characters of a provider's message that are kept.
const WORDS_MAX: usize = 400;

/// Shorter values are flags and names of regions.
const SECRET_BYTES_MIN: usize = 8;

/// Values that must not stand in messages.
#[derive(Clone, Default)]
pub(super) struct Secrets(Arc<[String]>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secrets")
    }
}

impl Secrets {
    pub(super) fn new(values: impl Iterator<Item = String>) -> Self {
        Self(values.filter(|value| value.len() >= SECRET_BYTES_MIN).collect())
    }

    /// `text` on one line and cut to length, without the values and without what stands behind a `?`: signatures of URLs.
    pub(super) fn scrub(&self, text: &str) -> String {
        let mut clean = String::new();
        for word in text.split_whitespace() {
            if !clean.is_empty() {
                clean.push(' ');
            }
            match word.split_once('?') {
                Some((before, _)) if word.contains("://") => {
                    clean.push_str(before);
                    clean.push_str("?…");
                }
                _ => clean.push_str(word),
            }
        }
        for secret in self.0.iter() {
            clean = clean.replace(secret.as_str(), "…");
        }
        clean.chars().take(WORDS_MAX).collect()
    }
}

/// What an error of the client on the object at `url` means.
pub(super) fn failed(url: &str, secrets: &Secrets, error: &object_store::Error) -> Error {
    use object_store::Error as Said;
    match error {
        Said::NotFound { .. } => Error::not_found("object", url),
        Said::Precondition { .. } | Said::NotModified { .. } => {
            Error::invalid_data(url, "it was replaced while it was read; scan again")
        }
        Said::PermissionDenied { .. } => Error::external(SYSTEM, format!("{url}: permission denied")),
        Said::Unauthenticated { .. } => Error::external(SYSTEM, format!("{url}: the credentials are not accepted")),
        other => Error::external(SYSTEM, format!("{url}: {}", secrets.scrub(&other.to_string()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_and_signatures_are_cut_out_of_messages() {
        let secrets = Secrets::new(["wJalrXUtnFEMI".to_owned(), "true".to_owned()].into_iter());
        let told = secrets.scrub("error for\n url (https://a.b/c?sig=abc&se=1) with wJalrXUtnFEMI, true?");
        assert_eq!(told, "error for url (https://a.b/c?… with …, true?");
        assert_eq!(secrets.scrub(&"x".repeat(1_000)).len(), 400);
        assert_eq!(format!("{secrets:?}"), "Secrets");
    }
}
