//! Encryption of the way to a server.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore};

use crate::error::{Core, Result};

/// Most bytes of a file of certificates: a whole system's are a quarter of a megabyte.
const ROOTS_BYTES_MAX: u64 = 16 << 20;

/// Trusts those that `roots`, a file of certificates in PEM form, vouches for; without it those of the system.
///
/// # Errors
/// `Core(Io)` and `Core(InvalidData)` for a file that cannot be read or holds none, `Core(NotFound)` when the system has none.
pub(super) fn config(roots: Option<&Path>) -> Result<Arc<ClientConfig>> {
    let roots = roots.map_or_else(of_system, of_file)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| Core::external("tls", e))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

fn of_file(path: &Path) -> Result<RootCertStore> {
    let failed = |e| Core::io(path, e);
    let mut text = Vec::new();
    File::open(path).map_err(failed)?.take(ROOTS_BYTES_MAX).read_to_end(&mut text).map_err(failed)?;
    let refuse = |reason: String| Core::invalid_data(path.display().to_string(), reason);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|e| refuse(format!("not a certificate in PEM form: {e:?}")))?;
        roots.add(certificate).map_err(|e| refuse(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refuse("no certificate in PEM form".to_owned()).into());
    }
    Ok(roots)
}

fn of_system() -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(Core::not_found("certificates", "of the system; name a file of them").into());
    }
    Ok(roots)
}

/// The client's side of a connection to `host`, whose certificate must be for that name.
pub(super) fn begin(config: &Arc<ClientConfig>, host: &str) -> io::Result<ClientConnection> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    ClientConnection::new(config.clone(), name).map_err(io::Error::other)
}
