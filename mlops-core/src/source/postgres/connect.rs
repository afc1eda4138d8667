//! Reaching a server, and what its failures mean.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::thread;
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::{DbError, SqlState};
use tokio_postgres::{Client, Config};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::session::{Idle, Session};
use super::tls::Security;
use crate::{Error, Result};

/// How failures of the server are told.
const SYSTEM: &str = "postgresql";

const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Silence of a connection after which the operating system asks whether the other side is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

const PAUSE_MAX: Duration = Duration::from_secs(5);

/// One database of one server. Neither user nor password show in anything that is printed.
#[derive(Clone)]
pub(super) struct Server {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    /// Whether a server whose TLS is not understood may be reached without.
    plain_will_do: bool,
    place: String,
    /// The connection for the next scan, unless each is to have a new one.
    idle: Option<Arc<Idle>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl Server {
    pub(super) fn parse(connection: &str, password: Option<&str>) -> Result<Self> {
        // The parser quotes what it does not understand, which may be a piece of a password.
        let refuse = |domain| Err(Error::invalid("connection", "a text that is not shown", domain));
        let Some((security, rest)) = Security::split(connection) else {
            return refuse("one with an `sslmode` of disable, prefer, require, verify-ca or verify-full");
        };
        let Ok(mut config) = rest.parse::<Config>() else {
            return refuse("a URL `postgresql://user@host:port/database` or settings `host=… dbname=…`");
        };
        if config.get_hosts().is_empty() {
            // The client wants a name for TLS.
            for address in config.get_hostaddrs().to_vec() {
                config.host(address.to_string());
            }
        }
        if config.get_hosts().is_empty() {
            return refuse("a connection that names a host");
        }
        if let Some(password) = password {
            config.password(password);
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_TIMEOUT_DEFAULT);
        }
        if config.get_application_name().is_none() {
            config.application_name("mlops");
        }
        // There is no TLS on a socket of this machine, whatever is asked for.
        let remote = config.get_hosts().iter().any(|host| matches!(host, Host::Tcp(_)));
        config.ssl_mode(if remote { security.mode() } else { SslMode::Disable });
        config.keepalives_idle(KEEPALIVE_IDLE).tcp_user_timeout(KEEPALIVE_IDLE);
        let (tls, place) = (security.connector()?, place(&config));
        let plain_will_do = security.plain_will_do();
        Ok(Self { config, tls, plain_will_do, place, idle: Some(Arc::default()) })
    }

    /// The same server, with a new connection for each scan.
    pub(super) fn without_idle(self) -> Self {
        Self { idle: None, ..self }
    }

    /// The server and the database, as a URL without credentials.
    pub(super) fn place(&self) -> &str {
        &self.place
    }

    /// A connection that works: the one that was kept, or a new one.
    pub(super) fn session(&self) -> Result<Session, Failure> {
        if let Some(kept) = self.idle.as_ref().and_then(|idle| idle.take()) {
            return Ok(kept);
        }
        match self.open(self.tls.as_ref())? {
            Err(error) if self.plain_will_do && is_of_tls(&error) => self.open(None)?,
            other => other,
        }
        .map_err(|e| self.judge(&e))
    }

    fn open(&self, tls: Option<&MakeRustlsConnect>) -> Result<Result<Session, tokio_postgres::Error>> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Ok(Session::open(runtime.map_err(|e| Error::external(SYSTEM, e))?, &self.config, tls))
    }

    /// Keeps a connection, whose transaction has ended, for the next scan.
    pub(super) fn keep(&self, session: Session) {
        if let Some(idle) = &self.idle {
            idle.put(session);
        }
    }

    /// What an error of the client library means.
    pub(super) fn judge(&self, error: &tokio_postgres::Error) -> Failure {
        let (passing, text) = match error.as_db_error() {
            Some(told) if *told.code() == SqlState::UNDEFINED_DATABASE => {
                let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
                return Failure::from(Error::not_found("database", database));
            }
            Some(told) => (is_passing(told.code()), words(told)),
            None => {
                let io = std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<io::Error>);
                let text = std::error::Error::source(error).map_or_else(String::new, |cause| format!(": {cause}"));
                ((io && !is_of_tls(error)) || error.is_closed(), format!("{error}{text}"))
            }
        };
        Failure { passing, closed: error.is_closed(), error: self.failed(&text) }
    }

    /// The server did what it should not.
    pub(super) fn failed(&self, what: &str) -> Error {
        Error::external(SYSTEM, format!("{}: {what}", self.place))
    }

    /// Why a connection ended, for a failure that says no more than that it did.
    pub(super) fn explained(&self, failure: Failure, session: &mut Session) -> Failure {
        match session.broken() {
            Some(error) if failure.closed => self.judge(&error),
            _ => failure,
        }
    }

    /// Runs `work` on a connection, on a thread of its own, and waits for its answer: the connection blocks on a runtime, which
    /// must not be done on a thread that runs one already, and may wait for ever on a server that says nothing.
    pub(super) fn apart<T: Send + 'static>(
        &self,
        patience: Patience,
        work: impl AsyncFn(&Self, &Client) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let (send, receive) = sync_channel(1);
        let server = self.clone();
        spawn(move || {
            let mut failures = 0;
            let answer = loop {
                match server.once(&work) {
                    Err(failure) if failure.passing && failures < patience.retries => {
                        thread::sleep(patience.pause(failures));
                        failures += 1;
                    }
                    other => break other.map_err(|failure| failure.error),
                }
            };
            // Nobody may be waiting any more.
            let _ = send.send(answer);
        })?;
        receive.recv_timeout(patience.wait).unwrap_or_else(|e| Err(self.silent(patience, e)))
    }

    fn once<T>(&self, work: impl AsyncFn(&Self, &Client) -> Result<T, Failure>) -> Result<T, Failure> {
        let mut session = self.session()?;
        let answer = session.run(async |client| work(self, client).await);
        match answer {
            Ok(answer) => {
                self.keep(session);
                Ok(answer)
            }
            Err(failure) => Err(self.explained(failure, &mut session)),
        }
    }

    /// Nothing came from the thread that talks with the server.
    pub(super) fn silent(&self, patience: Patience, why: RecvTimeoutError) -> Error {
        let text = match why {
            RecvTimeoutError::Timeout => format!("no answer within {:?}", patience.wait),
            RecvTimeoutError::Disconnected => "its reader stopped".to_owned(),
        };
        self.failed(&text)
    }
}

/// Whether the two sides did not agree on TLS, or this one does not trust the other.
fn is_of_tls(error: &tokio_postgres::Error) -> bool {
    let io = std::error::Error::source(error).and_then(|cause| cause.downcast_ref::<io::Error>());
    io.and_then(io::Error::get_ref).is_some_and(<dyn std::error::Error + Send + Sync>::is::<rustls::Error>)
}

pub(super) fn spawn(work: impl FnOnce() + Send + 'static) -> Result<()> {
    let thread = thread::Builder::new().name("mlops-postgres".to_owned());
    thread.spawn(work).map(|_| ()).map_err(|e| Error::external(SYSTEM, e))
}

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

/// How long and how often a server is asked.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Failures in a row after which no new try is made.
    pub(super) retries: u32,
    /// Before the first new try; doubles with each.
    pub(super) first_pause: Duration,
    /// For the next answer, tries included.
    pub(super) wait: Duration,
}

impl Patience {
    /// The pause after `failures` failed tries before.
    pub(super) fn pause(&self, failures: u32) -> Duration {
        self.first_pause.saturating_mul(1 << failures.min(16)).min(PAUSE_MAX)
    }
}

/// Why something did not work.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) error: Error,
    /// Whether a new connection may well do better.
    pub(super) passing: bool,
    /// Whether all that is known is that the connection ended.
    pub(super) closed: bool,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { error, passing: false, closed: false }
    }
}

/// Whether a server that says `code` may say something else in a moment.
fn is_passing(code: &SqlState) -> bool {
    [
        SqlState::CONNECTION_EXCEPTION,
        SqlState::CONNECTION_DOES_NOT_EXIST,
        SqlState::CONNECTION_FAILURE,
        SqlState::SQLCLIENT_UNABLE_TO_ESTABLISH_SQLCONNECTION,
        SqlState::ADMIN_SHUTDOWN,
        SqlState::CRASH_SHUTDOWN,
        SqlState::CANNOT_CONNECT_NOW,
        SqlState::TOO_MANY_CONNECTIONS,
        // A replica had to choose between this query and the changes that it replays.
        SqlState::T_R_SERIALIZATION_FAILURE,
    ]
    .contains(code)
}

/// What the server said, without what may quote a value of a row.
fn words(told: &DbError) -> String {
    let code = told.code().code();
    let about_the_query = ["08", "0A", "25", "28", "3D", "3F", "42", "53", "54", "55", "57", "58"];
    if about_the_query.iter().any(|class| code.starts_with(class)) {
        format!("{} ({code})", told.message())
    } else {
        format!("error {code}; its message may quote a row and is not shown")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_printed_of_a_server_holds_no_credentials() {
        for connection in [
            "postgresql://ann:secret-word@db.example:5433/shop?connect_timeout=1",
            "host=db.example port=5433 user=ann password=secret-word dbname=shop",
        ] {
            let server = Server::parse(connection, None).unwrap();
            assert_eq!(format!("{server:?}"), "postgresql://db.example:5433/shop");
        }
        let given = Server::parse("postgresql://ann@a,b:6432/shop", Some("secret-word")).unwrap();
        assert_eq!(format!("{given:?}"), "postgresql://a:5432,b:6432/shop");
    }

    #[test]
    fn connections_that_cannot_be_understood_are_refused_without_being_quoted() {
        for connection in [
            "",
            "secret-word",
            "host=a secret-word=1",
            "host=a password='secret-word",
            "postgresql://ann:secret-word@a:port/x",
            "postgresql://ann:secret-word@a/x?sslmode=must",
            "user=ann password=secret-word",
            "host=a\0b password=secret-word port=99999999",
        ] {
            let error = Server::parse(connection, None).unwrap_err();
            assert!(matches!(error, Error::Invalid { setting: "connection", .. }), "{error}");
            assert!(!format!("{error} {error:?}").contains("secret-word"), "{error:?}");
        }
    }

    #[test]
    fn pauses_double_up_to_a_limit() {
        let patience = Patience { retries: 3, first_pause: Duration::from_millis(100), wait: Duration::from_secs(1) };
        let pauses = [0, 1, 2, 10, 1_000].map(|failures| patience.pause(failures).as_millis());
        assert_eq!(pauses, [100, 200, 400, 5_000, 5_000]);
    }
}
