//! Encryption of the way to a server.

use std::io;
use std::path::Path;
use std::sync::Arc;

use mlops_core::tls;
use rustls::crypto::ring;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

use crate::error::{Core, Result};

/// Trusts those that `roots`, a file of certificates in PEM form, vouches for; without it those of the system.
///
/// # Errors
/// `Core(Io)` and `Core(InvalidData)` for a file that cannot be read or holds none, `Core(NotFound)` when the system has none.
pub(super) fn config(roots: Option<&Path>) -> Result<Arc<ClientConfig>> {
    let roots = tls::roots(roots)?;
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|e| Core::external("tls", e))?;
    Ok(Arc::new(builder.with_root_certificates(roots).with_no_client_auth()))
}

/// The client's side of a connection to `host`, whose certificate must be for that name.
pub(super) fn begin(config: &Arc<ClientConfig>, host: &str) -> io::Result<ClientConnection> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    ClientConnection::new(config.clone(), name).map_err(io::Error::other)
}
