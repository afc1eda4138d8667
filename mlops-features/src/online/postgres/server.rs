//! Reaching a server, and what its failures mean.

use std::fmt;
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::{Client, Config, NoTls, Statement};

use super::SYSTEM;
use crate::error::{Core, Error, Result};

/// Silence of a connection after which the operating system asks whether the other side is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// Why something did not work.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// Whether a new connection may well do better.
    pub(super) passing: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, passing: false }
    }
}

/// One database of one server. Neither user nor password show in anything that is printed.
#[derive(Clone)]
pub(super) struct Server {
    config: Config,
    place: String,
    schema: String,
    statement_ms: u128,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

/// An open connection that knows the store's tables.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) read: Statement,
    pub(super) upsert: Statement,
    pub(super) delete: Statement,
}

impl Server {
    pub(super) fn parse(connection: &str, password: Option<&str>, schema: &str, within: Duration) -> Result<Self> {
        // The parser quotes what it does not understand, which may be a piece of a password.
        let refuse = |domain| Err(Core::invalid("connection", "a text that is not shown", domain).into());
        let Ok(mut config) = connection.parse::<Config>() else {
            return refuse("a URL `postgresql://user@host:port/database` or settings `host=… dbname=…`");
        };
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return refuse("a connection that names a host");
        }
        if !matches!(config.get_ssl_mode(), SslMode::Disable | SslMode::Prefer) {
            return refuse("a connection without TLS: reach the server through a TLS tunnel or a Unix socket");
        }
        if let Some(password) = password {
            config.password(password);
        }
        config.ssl_mode(SslMode::Disable).keepalives_idle(KEEPALIVE_IDLE).tcp_user_timeout(KEEPALIVE_IDLE);
        if config.get_application_name().is_none() {
            config.application_name("mlops");
        }
        let place = place(&config);
        Ok(Self { config, place, schema: schema.to_owned(), statement_ms: within.as_millis().max(1) })
    }

    /// The server and the database, as a URL without credentials.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    pub(super) fn schema(&self) -> &str {
        &self.schema
    }

    /// Connects, and makes the tables where there are none.
    pub(super) async fn connect(&self) -> Result<Session, Failure> {
        let (client, connection) = self.config.connect(NoTls).await.map_err(|e| self.judge(&e))?;
        // It ends with the client.
        tokio::task::spawn_local(async move { drop(connection.await) });
        let settings = format!("SET statement_timeout = {}; SET client_min_messages = warning", self.statement_ms);
        client.batch_execute(&settings).await.map_err(|e| self.judge(&e))?;
        self.prepare_tables(&client).await?;
        let [read, upsert, delete] = self.statements();
        let prepare = async |sql: String| client.prepare(&sql).await.map_err(|e| self.judge(&e));
        let (read, upsert, delete) = (prepare(read).await?, prepare(upsert).await?, prepare(delete).await?);
        Ok(Session { read, upsert, delete, client })
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

    /// What an error of the client library means.
    pub(super) fn judge(&self, error: &tokio_postgres::Error) -> Failure {
        let (passing, text) = match error.as_db_error() {
            Some(told) if is_refusal(told.code()) => {
                let what = format!("{} ({})", self.place, told.code().code());
                let error = Core::Forbidden { who: "the user of the connection".to_owned(), action: "use", what };
                return Error::from(error).into();
            }
            Some(told) if *told.code() == SqlState::QUERY_CANCELED => {
                return Error::from(Core::Deadline { stage: format!("a statement at {}", self.place) }).into();
            }
            Some(told) => (is_passing(told.code()), words(told)),
            None => {
                let io = std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
                (io || error.is_closed(), error.to_string())
            }
        };
        Failure { passing, error: Core::external(SYSTEM, format!("{}: {text}", self.place)).into() }
    }
}

/// What the comment of a schema says of the tables in it.
const FORMAT: &str = "mlops online feature store, format 1";

const FORMAT_HEAD: &str = "mlops online feature store, format ";

fn place(config: &Config) -> String {
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    });
    let mut hosts: Vec<String> = hosts.collect();
    if hosts.is_empty() {
        hosts.extend(config.get_hostaddrs().iter().map(ToString::to_string));
    }
    let ports = config.get_ports();
    let with_ports = hosts.iter().enumerate().map(|(index, host)| {
        let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        format!("{host}:{port}")
    });
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("postgresql://{}/{database}", with_ports.collect::<Vec<_>>().join(","))
}

fn is_refusal(code: &SqlState) -> bool {
    [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::INVALID_PASSWORD, SqlState::INVALID_AUTHORIZATION_SPECIFICATION]
        .contains(code)
}

/// Whether a server that says `code` may say something else in a moment.
fn is_passing(code: &SqlState) -> bool {
    let class = &code.code()[..2];
    class == "08"
        || [
            SqlState::ADMIN_SHUTDOWN,
            SqlState::CRASH_SHUTDOWN,
            SqlState::CANNOT_CONNECT_NOW,
            SqlState::TOO_MANY_CONNECTIONS,
            SqlState::T_R_SERIALIZATION_FAILURE,
            SqlState::T_R_DEADLOCK_DETECTED,
        ]
        .contains(code)
}

/// What the server said, without what may quote a value of a row.
fn words(told: &DbError) -> String {
    let code = told.code().code();
    let about_itself = ["08", "0A", "25", "28", "3D", "3F", "40", "42", "53", "54", "55", "57", "58"];
    if about_itself.iter().any(|class| code.starts_with(class)) {
        format!("{} ({code})", told.message())
    } else {
        format!("error {code}; its message may quote a row and is not shown")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(connection: &str, password: Option<&str>) -> Result<Server> {
        Server::parse(connection, password, "online", Duration::from_secs(1))
    }

    #[test]
    fn what_is_printed_of_a_server_holds_no_credentials() {
        let server = parse("postgresql://ann:secret-word@db.example:5433/shop", None).unwrap();
        assert_eq!(format!("{server:?}"), "postgresql://db.example:5433/shop");
        let server = parse("host=a,b user=ann dbname=shop", Some("secret-word")).unwrap();
        assert_eq!(format!("{server:?}"), "postgresql://a:5432,b:5432/shop");
    }

    #[test]
    fn connections_that_cannot_be_understood_are_refused_without_being_quoted() {
        for connection in [
            "",
            "secret-word",
            "host=a password='secret-word",
            "postgresql://ann:secret-word@a:port/x",
            "postgresql://ann:secret-word@a/x?sslmode=require",
            "user=ann password=secret-word",
        ] {
            let error = parse(connection, None).unwrap_err();
            assert!(matches!(error, Error::Core(Core::Invalid { setting: "connection", .. })), "{error}");
            assert!(!format!("{error} {error:?}").contains("secret-word"), "{error:?}");
        }
    }
}
