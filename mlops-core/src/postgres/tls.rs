//! Encryption of the way to a server: what `sslmode` asks for, and whom it trusts.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::crypto::{WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{Error, Result, tls};

/// What `sslmode` says, in the meaning of PostgreSQL's own clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    Disable,
    #[default]
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// How the way to a server is to be secured.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Security {
    mode: Mode,
    /// Whom to trust, where it was said.
    roots: Option<Roots>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Roots {
    System,
    File(PathBuf),
}

impl Security {
    /// Takes a setting of a connection for its own; `None` for a value that it cannot have.
    fn take(&mut self, name: &str, value: &str) -> Option<()> {
        match (name, value) {
            ("sslmode", "disable") => self.mode = Mode::Disable,
            ("sslmode", "prefer") => self.mode = Mode::Prefer,
            ("sslmode", "require") => self.mode = Mode::Require,
            ("sslmode", "verify-ca") => self.mode = Mode::VerifyCa,
            ("sslmode", "verify-full") => self.mode = Mode::VerifyFull,
            ("sslrootcert", "system") => self.roots = Some(Roots::System),
            ("sslrootcert", path) if !path.is_empty() => self.roots = Some(Roots::File(path.into())),
            _ => return None,
        }
        Some(())
    }

    /// What `connection` says of security, and the rest of it; `None` when it cannot be understood.
    pub(super) fn split(connection: &str) -> Option<(Self, String)> {
        let mut security = Self::default();
        let scheme = ["postgresql://", "postgres://"].into_iter().find(|scheme| connection.starts_with(scheme));
        let rest = match scheme {
            Some(scheme) => security.split_url(connection, scheme.len())?,
            None => security.split_settings(connection)?,
        };
        Some((security, rest))
    }

    fn split_url(&mut self, url: &str, scheme: usize) -> Option<String> {
        // A password may hold a `?`.
        let behind_credentials = url[scheme..].find('@').map_or(scheme, |at| scheme + at);
        let Some(question) = url[behind_credentials..].find('?').map(|at| behind_credentials + at) else {
            return Some(url.to_owned());
        };
        let mut others = Vec::new();
        for pair in url[question + 1..].split('&') {
            match pair.split_once('=') {
                Some((name, value)) if is_own(name) => self.take(name, &unescaped(value)?)?,
                _ => others.push(pair),
            }
        }
        let joint = if others.is_empty() { "" } else { "?" };
        Some(format!("{}{joint}{}", &url[..question], others.join("&")))
    }

    fn split_settings(&mut self, text: &str) -> Option<String> {
        let (mut rest, mut others) = (text.trim_start(), Vec::new());
        while !rest.is_empty() {
            let end = rest.find(|c: char| c == '=' || c.is_whitespace())?;
            let name = &rest[..end];
            let behind = rest[end..].trim_start().strip_prefix('=')?.trim_start();
            let (value, tail) = value(behind)?;
            if is_own(name) {
                self.take(name, &value)?;
            } else {
                others.push(rest[..rest.len() - tail.len()].trim_end());
            }
            rest = tail.trim_start();
        }
        Some(others.join(" "))
    }

    /// The mode as the client knows it: whether there must be, may be or must not be TLS.
    pub(super) fn mode(&self) -> SslMode {
        match self.mode {
            Mode::Disable => SslMode::Disable,
            Mode::Prefer => SslMode::Prefer,
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => SslMode::Require,
        }
    }

    /// Whether the way may be left open where TLS does not come about, as for PostgreSQL's own clients.
    pub(super) fn plain_will_do(&self) -> bool {
        self.mode == Mode::Prefer && self.roots.is_none()
    }

    /// What makes TLS connections, unless there are to be none.
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::InvalidData`] for a file of certificates that cannot be read or holds none,
    /// [`Error::NotFound`] when the system has none that can be read.
    pub(super) fn connector(&self) -> Result<Option<MakeRustlsConnect>> {
        if self.mode == Mode::Disable {
            return Ok(None);
        }
        let provider = Arc::new(ring::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let builder = builder.map_err(|e| Error::external("tls", e))?;
        let mut config = if self.mode == Mode::VerifyFull {
            builder.with_root_certificates(self.roots()?).with_no_client_auth()
        } else {
            let checked = self.mode == Mode::VerifyCa || self.roots.is_some();
            let roots = if checked { Some(self.roots()?) } else { None };
            let verifier = Arc::new(AnyName { roots, algorithms });
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        };
        config.alpn_protocols = vec![b"postgresql".to_vec()];
        Ok(Some(MakeRustlsConnect::new(config)))
    }

    fn roots(&self) -> Result<RootCertStore> {
        match &self.roots {
            Some(Roots::File(path)) => tls::roots(Some(path)),
            Some(Roots::System) | None => tls::roots(None),
        }
    }
}

fn is_own(name: &str) -> bool {
    matches!(name, "sslmode" | "sslrootcert")
}

/// The text behind `%41`; `None` for an escape that is none.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        if *first == b'%' {
            let (digits, tail) = tail.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = tail;
        } else {
            bytes.push(*first);
            rest = tail;
        }
    }
    String::from_utf8(bytes).ok()
}

/// The value that `text` begins with, between quotes or up to a space, and what follows it.
fn value(text: &str) -> Option<(String, &str)> {
    let (mut value, quoted) = (String::new(), text.starts_with('\''));
    let mut letters = text.char_indices().skip(usize::from(quoted));
    while let Some((at, letter)) = letters.next() {
        match letter {
            '\'' if quoted => return Some((value, &text[at + 1..])),
            letter if !quoted && letter.is_whitespace() => return Some((value, &text[at..])),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    (!quoted).then_some((value, ""))
}

/// Takes a server for what it says it is when one of `roots` vouches for it, whatever its name; without roots, always.
#[derive(Debug)]
struct AnyName {
    roots: Option<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for AnyName {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if let Some(roots) = &self.roots {
            let parsed = ParsedCertificate::try_from(certificate)?;
            verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, self.algorithms.all)?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(connection: &str, mode: Mode, roots: Option<&str>, rest: &str) {
        let roots = roots.map(|path| if path == "system" { Roots::System } else { Roots::File(path.into()) });
        assert_eq!(Security::split(connection), Some((Security { mode, roots }, rest.to_owned())), "{connection}");
    }

    #[test]
    fn what_a_connection_says_of_security_is_taken_out_of_it() {
        check("postgresql://a@h/d", Mode::Prefer, None, "postgresql://a@h/d");
        check("postgresql://a@h/d?sslmode=require", Mode::Require, None, "postgresql://a@h/d");
        check(
            "postgres://a:p?sslmode=x@h/d?connect_timeout=1&sslmode=verify-full&sslrootcert=%2Fca%20x.pem&options=y",
            Mode::VerifyFull,
            Some("/ca x.pem"),
            "postgres://a:p?sslmode=x@h/d?connect_timeout=1&options=y",
        );
        check("host=h sslmode = 'verify-ca' user=a", Mode::VerifyCa, None, "host=h user=a");
        check(
            r"sslrootcert='/c\'a' password='sslmode=disable ' host = h",
            Mode::Prefer,
            Some("/c'a"),
            "password='sslmode=disable ' host = h",
        );
        check("host=h sslmode=disable sslrootcert=system", Mode::Disable, Some("system"), "host=h");
        check(r"password=a\ sslmode=b host=h", Mode::Prefer, None, r"password=a\ sslmode=b host=h");
    }

    #[test]
    fn modes_that_there_are_not_are_refused() {
        for connection in [
            "postgresql://h/d?sslmode=verify",
            "postgresql://h/d?sslmode=",
            "postgresql://h/d?sslrootcert=%zz",
            "postgresql://h/d?sslrootcert=%2",
            "host=h sslmode=REQUIRE",
            "host=h sslrootcert=''",
            "host=h sslmode",
            "host=h password='open",
        ] {
            assert_eq!(Security::split(connection), None, "{connection}");
        }
    }

    #[test]
    fn files_without_certificates_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ca.pem");
        let security = Security { mode: Mode::VerifyCa, roots: Some(Roots::File(path.clone())) };
        assert!(matches!(security.connector(), Err(Error::Io { path: named, .. }) if named == path));
        let torn = "-----BEGIN CERTIFICATE-----\nAAAA\n";
        for text in ["", "no PEM", torn, &format!("{torn}-----END CERTIFICATE-----\n")] {
            std::fs::write(&path, text).unwrap();
            let error = security.connector().err();
            assert!(matches!(&error, Some(Error::InvalidData { what, .. }) if what.contains("ca.pem")), "{error:?}");
        }
        // Without encryption nobody is trusted, and no file is read.
        assert!(Security { mode: Mode::Disable, ..security }.connector().unwrap().is_none());
    }
}
