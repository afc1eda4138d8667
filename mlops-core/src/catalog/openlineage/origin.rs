//! Who tells.

use super::facet::{Facet, FacetBody, JobFacets, JobType, ProcessingEngine, SourceCodeLocation};
use crate::{Error, Result};

/// Who tells: the namespace of jobs and data sets, and what made the events.
///
/// # Examples
/// ```
/// use mlops_core::catalog::openlineage::Origin;
/// let origin = Origin::builder("shop")
///     .producer("https://git.example/shop/tree/v1.4.0")
///     .source_code("git", "https://git.example/shop", "v1.4.0")
///     .build()?;
/// assert_eq!(origin.namespace(), "shop");
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Origin {
    namespace: String,
    producer: String,
    code: Option<SourceCodeLocation>,
}

/// Settings of an [`Origin`].
#[derive(Clone, Debug)]
pub struct OriginBuilder(Origin);

impl Origin {
    /// Jobs and data sets are told in `namespace`, such as the name of the host application.
    pub fn builder(namespace: impl Into<String>) -> OriginBuilder {
        let producer = concat!("urn:mlops:core:", env!("CARGO_PKG_VERSION")).to_owned();
        OriginBuilder(Self { namespace: namespace.into(), producer, code: None })
    }

    /// The namespace of jobs and data sets.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// What made the events, as a URI.
    pub fn producer(&self) -> &str {
        &self.producer
    }

    /// A facet that says who made it.
    pub fn facet<T: FacetBody>(&self, body: T) -> Facet<T> {
        Facet::new(&self.producer, body)
    }

    /// Facets of a job of this `kind`, such as `DAG` or `TASK`.
    pub(super) fn job_facets(&self, kind: &str) -> JobFacets {
        let job_type = JobType {
            processing_type: "BATCH".to_owned(),
            integration: "MLOPS".to_owned(),
            job_type: Some(kind.to_owned()),
        };
        JobFacets {
            job_type: Some(self.facet(job_type)),
            source_code_location: self.code.clone().map(|code| self.facet(code)),
        }
    }

    pub(super) fn engine(&self) -> Facet<ProcessingEngine> {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        self.facet(ProcessingEngine { name: Some("mlops".to_owned()), version })
    }
}

impl OriginBuilder {
    /// The URI of the program that tells, best with its version. Default `urn:mlops:core:` and the version of this crate.
    pub fn producer(mut self, uri: impl Into<String>) -> Self {
        self.0.producer = uri.into();
        self
    }

    /// Where the code of jobs is: `kind` such as `git`, the URL of it, its version. Default: not told.
    pub fn source_code(mut self, kind: impl Into<String>, url: impl Into<String>, version: impl Into<String>) -> Self {
        self.0.code = Some(SourceCodeLocation { kind: kind.into(), url: url.into(), version: Some(version.into()) });
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the namespace is empty, or a URI has no scheme or characters that must be escaped.
    pub fn build(self) -> Result<Origin> {
        if self.0.namespace.trim().is_empty() {
            return Err(Error::invalid("namespace", "``", "a name that is not empty"));
        }
        let urls = [Some(&self.0.producer), self.0.code.as_ref().map(|code| &code.url)];
        if let Some(uri) = urls.into_iter().flatten().find(|uri| !is_uri(uri)) {
            return Err(Error::invalid("URI", format_args!("`{}`", uri.escape_debug()), "a URI with a scheme"));
        }
        Ok(self.0)
    }
}

fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let first = scheme.starts_with(|c: char| c.is_ascii_alphabetic());
    let is_scheme = scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    first && is_scheme && !rest.is_empty() && rest.bytes().all(is_uri_byte)
}

/// What may stand in a URI as it is: RFC 3986, unreserved, reserved but for brackets, and `%`.
pub(super) fn is_uri_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~:/?#@!$&'()*+,;=%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_without_letters_and_addresses_without_scheme_are_refused() {
        assert!(matches!(Origin::builder(" ").build(), Err(Error::Invalid { setting: "namespace", .. })));
        for bad in ["", "x", ":x", "1a:b", "https://a b", "https://a\nb", "https:", "https://ä"] {
            assert!(Origin::builder("a").producer(bad).build().is_err(), "{bad}");
            assert!(Origin::builder("a").source_code("git", bad, "1").build().is_err(), "{bad}");
        }
    }
}
