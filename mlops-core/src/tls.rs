//! Whom connections to outside systems trust.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::{Error, Result};

/// Bytes of a file of certificates at the most: a whole system's are a quarter of a megabyte.
const ROOTS_BYTES_MAX: u64 = 16 << 20;

/// The certificates in the file `path`, in PEM form; without it those of the system.
///
/// # Errors
/// [`Error::Io`] and [`Error::InvalidData`] for a file that cannot be read or holds none, [`Error::NotFound`] when the system has
/// none.
///
/// # Examples
/// ```
/// let file = tempfile::NamedTempFile::new()?;
/// let refused = mlops_core::tls::roots(Some(file.path())).unwrap_err();
/// assert!(refused.to_string().contains("no certificate in PEM form"));
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn roots(path: Option<&Path>) -> Result<RootCertStore> {
    path.map_or_else(of_system, of_file)
}

fn of_file(path: &Path) -> Result<RootCertStore> {
    let failed = |e| Error::io(path, e);
    let mut text = Vec::new();
    File::open(path).map_err(failed)?.take(ROOTS_BYTES_MAX).read_to_end(&mut text).map_err(failed)?;
    let refuse = |reason: String| Error::invalid_data(path.display().to_string(), reason);
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&text) {
        let certificate = certificate.map_err(|e| refuse(format!("not a certificate in PEM form: {e:?}")))?;
        roots.add(certificate).map_err(|e| refuse(e.to_string()))?;
    }
    if roots.is_empty() {
        return Err(refuse("no certificate in PEM form".to_owned()));
    }
    Ok(roots)
}

fn of_system() -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        return Err(Error::not_found("certificates", "of the system; name a file of them"));
    }
    Ok(roots)
}
