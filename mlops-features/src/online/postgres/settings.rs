//! Settings of a store in PostgreSQL.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::PostgresStore;
use super::runner::Runner;
use super::server::Server;
use super::sessions::Sessions;
use crate::error::{Core, Result};
use crate::online::known::KnownViews;

/// Longest wait that may be set.
const WITHIN_MAX: Duration = Duration::from_hours(24);

const CONNECTIONS_MAX: usize = 256;

/// Collects the settings of a [`PostgresStore`]. Neither user nor password show in anything that is printed.
#[derive(Clone)]
pub struct PostgresStoreBuilder {
    connection: String,
    password: Option<String>,
    schema: String,
    read_within: Duration,
    write_within: Duration,
    retries: u32,
    connections: usize,
}

impl PostgresStoreBuilder {
    pub(super) fn new(connection: String) -> Self {
        Self {
            connection,
            password: None,
            schema: "mlops_online".to_owned(),
            read_within: Duration::from_secs(5),
            write_within: Duration::from_mins(1),
            retries: 2,
            connections: 8,
        }
    }

    /// The password, instead of that of the connection.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// The schema of the database that holds the tables; several stores may share a database. Default `mlops_online`.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// How long a read may take, tries included. Default 5 s.
    pub fn read_within(mut self, time: Duration) -> Self {
        self.read_within = time;
        self
    }

    /// How long a write may take, tries included. Default 60 s.
    pub fn write_within(mut self, time: Duration) -> Self {
        self.write_within = time;
        self
    }

    /// How often a call is tried again when its connection breaks or the server asks for patience. Default 2.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// How many calls are under way at once, and how many connections are kept; the others wait their turn, within their time. The
    /// server must have room for as many of each process. Default 8.
    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    /// Checks the settings. No connection is made yet: the first call makes it.
    ///
    /// # Errors
    /// `Core(Invalid)` for a connection that is none, a schema that is not of small letters, digits and underscores, a wait that is
    /// zero or longer than a day, or connections that are not in 1..=256; `Core(Io)` or `Core(InvalidData)` for a file of roots
    /// (`sslrootcert`) that cannot be read or holds none, `Core(NotFound)` when the system's are wanted and it has none.
    pub fn open(self) -> Result<PostgresStore> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let starts = self.schema.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        if !starts || self.schema.len() > 63 || !self.schema.chars().all(plain) || self.schema.starts_with("pg_") {
            let domain = "1 to 63 small letters, digits and underscores, not beginning with a digit or `pg_`";
            return Err(Core::invalid("schema", self.schema.escape_debug(), domain).into());
        }
        for (setting, time) in [("read within", self.read_within), ("write within", self.write_within)] {
            if time.is_zero() || time > WITHIN_MAX {
                return Err(Core::invalid(setting, format!("{time:?}"), "above zero and at most a day").into());
            }
        }
        if !(1..=CONNECTIONS_MAX).contains(&self.connections) {
            return Err(Core::invalid("connections", self.connections, "in 1..=256").into());
        }
        let server = Server::parse(
            &self.connection,
            self.password.as_deref(),
            &self.schema,
            self.write_within.max(self.read_within),
        )?;
        Ok(PostgresStore {
            runner: Runner::default(),
            sessions: Arc::new(Sessions::new(server, self.retries, self.connections)),
            known: KnownViews::default(),
            read_within: self.read_within,
            write_within: self.write_within,
        })
    }
}

impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStoreBuilder").field("schema", &self.schema).finish_non_exhaustive()
    }
}
