//! A server that holds a store's schema, and connections to it that know its tables.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use mlops_core::postgres;
use tokio::task::{AbortHandle, spawn_local};
use tokio::time::Instant;
use tokio_postgres::{Client, Statement};

use crate::error::{Core, Error, Result};

/// Why something did not work.
pub(super) type Failure = postgres::Failure<Error>;

/// A schema in one database of one server. Neither user nor password show in anything that is printed.
#[derive(Clone)]
pub(super) struct Server {
    database: postgres::Server,
    schema: String,
    statement_ms: u128,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.database.fmt(f)
    }
}

/// An open connection that knows the store's tables.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) read: Statement,
    pub(super) upsert: Statement,
    pub(super) delete: Statement,
    /// When the server answered on it last.
    pub(super) answered: Instant,
    carrier: Carrier,
}

impl Session {
    /// Why the connection ended, where it is known.
    pub(super) fn broken(&self) -> Option<&tokio_postgres::Error> {
        self.carrier.broken.get()
    }
}

/// The task that moves the bytes of a connection. Ends with this: the task itself would wait for the answer to what was asked
/// last, and a server that never answers would hold a socket for each call that was given up.
struct Carrier {
    task: AbortHandle,
    broken: Arc<OnceLock<tokio_postgres::Error>>,
}

impl Carrier {
    fn of(mut link: postgres::Link) -> Self {
        let broken = Arc::new(OnceLock::new());
        let told = broken.clone();
        let task = spawn_local(async move {
            // Before the link is dropped, by which the client learns that the connection ended.
            if let Err(error) = link.as_mut().await {
                let _ = told.set(error);
            }
        });
        Self { task: task.abort_handle(), broken }
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    pub(super) fn parse(connection: &str, password: Option<&str>, schema: &str, within: Duration) -> Result<Self> {
        let database = postgres::Server::parse(connection, password)?;
        Ok(Self { database, schema: schema.to_owned(), statement_ms: within.as_millis().max(1) })
    }

    /// The server and the database, as a URL without credentials.
    pub(super) fn place(&self) -> &str {
        self.database.place()
    }

    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    /// What an error of the client library means.
    pub(super) fn judge(&self, error: &tokio_postgres::Error) -> Failure {
        self.database.judge(error).map(Error::from)
    }

    /// Connects, and makes the tables where there are none.
    pub(super) async fn connect(&self) -> Result<Session, Failure> {
        let (client, link) = self.database.connect().await.map_err(|failure| failure.map(Error::from))?;
        let carrier = Carrier::of(link);
        let settings = format!("SET statement_timeout = {}; SET client_min_messages = warning", self.statement_ms);
        client.batch_execute(&settings).await.map_err(|e| self.judge(&e))?;
        self.watch_client(&client).await?;
        self.prepare_tables(&client).await?;
        let [read, upsert, delete] = self.statements();
        let prepare = async |sql: String| client.prepare(&sql).await.map_err(|e| self.judge(&e));
        let (read, upsert, delete) = (prepare(read).await?, prepare(upsert).await?, prepare(delete).await?);
        Ok(Session { client, read, upsert, delete, answered: Instant::now(), carrier })
    }

    /// Asks the server to stop what nobody waits for any more. Before version 14, and on systems that cannot tell, it goes on until
    /// its time is up.
    async fn watch_client(&self, client: &Client) -> Result<(), Failure> {
        let set = format!(
            "SELECT set_config('{WATCH}', '{}', false) WHERE current_setting('{WATCH}', true) IS NOT NULL",
            WATCH_EVERY.as_millis()
        );
        match client.batch_execute(&set).await {
            Err(error) if error.as_db_error().is_none() => Err(self.judge(&error)),
            _ => Ok(()),
        }
    }

    /// Looks at what is there before it changes anything, then makes what is missing.
    async fn prepare_tables(&self, client: &Client) -> Result<(), Failure> {
        if self.is_made(client).await? {
            return Ok(());
        }
        let schema = &self.schema;
        // Two that make the same schema at once would fail on each other.
        let make = format!(
            "BEGIN;
            SELECT pg_advisory_xact_lock(hashtextextended('mlops online store {schema}', 0));
            CREATE SCHEMA IF NOT EXISTS \"{schema}\";
            CREATE TABLE IF NOT EXISTS \"{schema}\".views (
                name text COLLATE \"C\" PRIMARY KEY, id int4 NOT NULL UNIQUE, body bytea NOT NULL);
            CREATE TABLE IF NOT EXISTS \"{schema}\".rows (
                view int4 NOT NULL, key bytea NOT NULL, event_time int8 NOT NULL, created int8, body bytea NOT NULL,
                PRIMARY KEY (view, key)) WITH (fillfactor = 80);
            CREATE TABLE IF NOT EXISTS \"{schema}\".watermarks (
                name text COLLATE \"C\" PRIMARY KEY, sequence int8 NOT NULL, rows int8 NOT NULL, body bytea NOT NULL);
            COMMENT ON SCHEMA \"{schema}\" IS '{FORMAT}';
            COMMIT"
        );
        client.batch_execute(&make).await.map_err(|e| self.judge(&e))
    }

    /// Whether the schema is there; an error when it is not ours.
    async fn is_made(&self, client: &Client) -> Result<bool, Failure> {
        let look = "SELECT obj_description(n.oid, 'pg_namespace') FROM pg_namespace n WHERE n.nspname = $1";
        let found = client.query_opt(look, &[&self.schema]).await.map_err(|e| self.judge(&e))?;
        let Some(found) = found else { return Ok(false) };
        let comment: Option<String> = found.try_get(0).map_err(|e| self.judge(&e))?;
        match comment.as_deref() {
            Some(FORMAT) => Ok(true),
            Some(other) if other.starts_with(FORMAT_HEAD) => {
                let reason = format!("written as `{other}`, and this version reads `{FORMAT}`");
                Err(Error::from(Core::invalid_data(format!("schema `{}`", self.schema), reason)).into())
            }
            _ => {
                let reason = "it is not the schema of an online feature store: name another one";
                Err(Error::from(Core::invalid_data(format!("schema `{}`", self.schema), reason)).into())
            }
        }
    }

    /// Reading, writing and deleting of rows.
    fn statements(&self) -> [String; 3] {
        let schema = &self.schema;
        [
            format!(
                "SELECT u.position, r.body
                FROM unnest($1::int4[], $2::bytea[]) WITH ORDINALITY AS u (view, key, position)
                JOIN \"{schema}\".rows r ON r.view = u.view AND r.key = u.key"
            ),
            // False comes before true: no created time is lowest.
            format!(
                "INSERT INTO \"{schema}\".rows AS r (view, key, event_time, created, body)
                SELECT $1::int4, * FROM unnest($2::bytea[], $3::int8[], $4::int8[], $5::bytea[])
                ON CONFLICT (view, key) DO UPDATE
                SET event_time = excluded.event_time, created = excluded.created, body = excluded.body
                WHERE (excluded.event_time, excluded.created IS NOT NULL, coalesce(excluded.created, 0))
                    >= (r.event_time, r.created IS NOT NULL, coalesce(r.created, 0))"
            ),
            format!("DELETE FROM \"{schema}\".rows WHERE view = $1 AND key = ANY ($2)"),
        ]
    }
}

/// What the comment of a schema says of the tables in it.
const FORMAT: &str = "mlops online feature store, format 1";

const FORMAT_HEAD: &str = "mlops online feature store, format ";

/// The setting of a server by which it notices that a client is gone while it works for it.
const WATCH: &str = "client_connection_check_interval";

const WATCH_EVERY: Duration = Duration::from_secs(1);
