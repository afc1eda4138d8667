//! Settings of a store on Redis.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::RedisStore;
use super::address::Address;
use super::cells::Cells;
use super::client::{Client, Limits};
use super::feast::FeastRedisStore;
use super::script::{REPLACE_ROWS, Script, WRITE_ROWS};
use super::tls;
use crate::error::{Core, Result};
use crate::online::known::KnownViews;

/// Longest wait that may be set.
const WITHIN_MAX: Duration = Duration::from_hours(24);

/// Collects the settings of a [`RedisStore`]. Neither user nor password show in anything that is printed.
#[derive(Clone)]
pub struct RedisStoreBuilder {
    url: String,
    user: Option<String>,
    password: Option<String>,
    roots: Option<PathBuf>,
    prefix: String,
    grace: Option<Duration>,
    limits: Limits,
}

impl RedisStoreBuilder {
    pub(super) fn new(url: String) -> Self {
        Self {
            url,
            user: None,
            password: None,
            roots: None,
            prefix: "mlops".to_owned(),
            grace: None,
            limits: Limits::default(),
        }
    }

    /// Who asks, instead of the user of the URL.
    pub fn user(mut self, user: impl Into<String>) -> Self {
        self.user = Some(user.into());
        self
    }

    /// The password, instead of that of the URL.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// A file of certificates in PEM form, one of which must vouch for a server that is reached over TLS (`rediss://`). Default: those
    /// of the system.
    pub fn roots(mut self, file: impl Into<PathBuf>) -> Self {
        self.roots = Some(file.into());
        self
    }

    /// What all keys begin with, by which several stores share a database. Default `mlops`.
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Lets the server forget rows of a view with a ttl `grace` after their ttl is over, by the server's clock. Until then
    /// they read as outside of their maximum age, from then on as not found; a row that comes later still is forgotten at once.
    /// Default: rows stay.
    pub fn expire_after_ttl(mut self, grace: Duration) -> Self {
        self.grace = Some(grace);
        self
    }

    /// How long a connection may take. Default 1 s.
    pub fn connect_within(mut self, time: Duration) -> Self {
        self.limits.connect_within = time;
        self
    }

    /// How long a read may take, tries included. Default 1 s.
    pub fn read_within(mut self, time: Duration) -> Self {
        self.limits.read_within = time;
        self
    }

    /// How long a write may take, tries included. Default 30 s.
    pub fn write_within(mut self, time: Duration) -> Self {
        self.limits.write_within = time;
        self
    }

    /// How often a call is tried again when its connection breaks or the server asks for patience. Default 2.
    pub fn retries(mut self, retries: u32) -> Self {
        self.limits.retries = retries;
        self
    }

    /// How many reads of async callers are under way at once, and how many connections are kept. Default 8.
    pub fn connections(mut self, connections: usize) -> Self {
        self.limits.connections = connections;
        self
    }

    /// Checks the settings. No connection is made yet: the first call makes it.
    ///
    /// # Errors
    /// `Core(Invalid)` for a URL that is none, a prefix that is empty, longer than 200 bytes or has control characters or braces, a wait that is zero or
    /// longer than a day, or connections that are not in 1..=256; with TLS `Core(Io)` or `Core(InvalidData)` for a file
    /// of certificates that cannot be read or holds none, `Core(NotFound)` when the system has none.
    pub fn open(self) -> Result<RedisStore> {
        let (prefix, grace) = (self.prefix.clone(), self.grace);
        Ok(RedisStore {
            cells: Cells::new(self.client()?),
            prefix,
            grace,
            known: KnownViews::default(),
            write_rows: Script::new(WRITE_ROWS),
            replace_rows: Script::new(REPLACE_ROWS),
        })
    }

    /// A store over the hashes that a Feast project keeps on the server, instead of our own layout. The time after ttl does not apply.
    ///
    /// # Errors
    /// As [`open`](Self::open), and `Core(Invalid)` for a project that is empty or longer than 200 bytes.
    pub fn open_feast(self, project: impl Into<String>) -> Result<FeastRedisStore> {
        let prefix = self.prefix.clone();
        FeastRedisStore::new(Cells::new(self.client()?), &prefix, project.into())
    }

    /// Checks the settings.
    fn client(self) -> Result<Arc<Client>> {
        let mut address = Address::parse(&self.url)?;
        address.user = self.user.or(address.user);
        address.password = self.password.or(address.password);
        check_prefix(&self.prefix)?;
        for (setting, time) in [
            ("connect within", self.limits.connect_within),
            ("read within", self.limits.read_within),
            ("write within", self.limits.write_within),
        ] {
            if time.is_zero() || time > WITHIN_MAX {
                return Err(Core::invalid(setting, format!("{time:?}"), "above zero and at most a day").into());
            }
        }
        if !(1..=256).contains(&self.limits.connections) {
            return Err(Core::invalid("connections", self.limits.connections, "in 1..=256").into());
        }
        let tls = address.tls.then(|| tls::config(self.roots.as_deref())).transpose()?;
        Ok(Client::new(address, tls, self.limits))
    }
}

fn check_prefix(prefix: &str) -> Result<()> {
    let odd = |c: char| c.is_control() || c == '{' || c == '}';
    if prefix.is_empty() || prefix.len() > 200 || prefix.contains(odd) {
        let domain = "1 to 200 bytes without control characters and braces";
        return Err(Core::invalid("prefix", prefix.escape_debug(), domain).into());
    }
    Ok(())
}

impl fmt::Debug for RedisStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStoreBuilder")
            .field("prefix", &self.prefix)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
