//! One database of one PostgreSQL server: reached as securely as was asked for, and what its failures mean.
//!
//! For the sources and stores of this family, which bring their own statements and their own way to wait: see [`Server`].

mod failure;
mod tls;

pub use self::failure::Failure;

use std::fmt;
use std::pin::Pin;
use std::time::Duration;

use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::error::SqlState;
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect};
use tokio_postgres::{Client, Config, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use self::failure::{is_of_tls, is_passing, is_refusal, words};
use self::tls::Security;
use crate::{Error, Result};

/// How failures of a server are told.
pub const SYSTEM: &str = "postgresql";

const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);

/// Silence of a connection after which the operating system asks whether the other side is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);

/// Moves the bytes of a connection for as long as it is polled; ends with the connection, and says why where that broke.
pub type Link = Pin<Box<dyn Future<Output = Result<(), tokio_postgres::Error>> + Send>>;

/// One database of one server. Neither user nor password show in anything that is printed.
///
/// `sslmode` and `sslrootcert` of the connection mean what they do for PostgreSQL's own clients. `require` encrypts and trusts
/// whoever answers; `verify-ca` wants a certificate that one of the roots vouches for, `verify-full` one for the host's name, too:
/// the one to use beyond a network that is trusted. The default, `prefer`, encrypts when the server can and goes without when
/// not; `disable` never does. Roots are those in the PEM file `sslrootcert`, with which any TLS is verified, else those of the
/// system. `channel_binding=require` ties a password (SCRAM) to the very connection. Client certificates are not supported.
#[derive(Clone)]
pub struct Server {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    /// Whether a server whose TLS is not understood may be reached without.
    plain_will_do: bool,
    place: String,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.place)
    }
}

impl Server {
    /// The server of `connection`, a URL `postgresql://user@host:port/database` or settings `host=… dbname=…`; `password` goes
    /// before one that it may hold. Nobody is asked yet.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a connection that cannot be understood, whose text is not shown; [`Error::Io`] and
    /// [`Error::InvalidData`] for a file of roots that cannot be read or holds none, [`Error::NotFound`] when the system's are
    /// wanted and it has none.
    pub fn parse(connection: &str, password: Option<&str>) -> Result<Self> {
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
        Ok(Self { config, tls, plain_will_do: security.plain_will_do(), place })
    }

    /// The server and the database, as a URL without credentials.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// A new connection. Nothing moves on it unless its [`Link`] is polled; it is closed when the link is dropped.
    ///
    /// # Errors
    /// What [`judge`](Self::judge) makes of a server that cannot be reached, refuses, is not to be trusted, or has no TLS where
    /// it must.
    pub async fn connect(&self) -> Result<(Client, Link), Failure> {
        let opened = match &self.tls {
            Some(tls) => open(&self.config, tls.clone()).await,
            None => open(&self.config, NoTls).await,
        };
        let opened = match opened {
            Err(error) if self.plain_will_do && is_of_tls(&error) => open(&self.config, NoTls).await,
            other => other,
        };
        opened.map_err(|e| self.judge(&e))
    }

    /// What an error of the client library means: [`Error::NotFound`] for a database that is not there, [`Error::Forbidden`] for
    /// what the user may not do, [`Error::Deadline`] for a statement that the server cut off, else [`Error::External`].
    ///
    /// Messages that may quote a value of a row or the user's name are reduced to their code.
    pub fn judge(&self, error: &tokio_postgres::Error) -> Failure {
        let Some(told) = error.as_db_error() else {
            let cause = std::error::Error::source(error);
            let io = cause.is_some_and(<dyn std::error::Error>::is::<std::io::Error>);
            let text = cause.map_or_else(String::new, |cause| format!(": {cause}"));
            let passing = (io && !is_of_tls(error)) || error.is_closed();
            return Failure { passing, closed: error.is_closed(), error: self.failed(&format!("{error}{text}")) };
        };
        let (code, words) = (told.code(), words(told));
        let error = if *code == SqlState::UNDEFINED_DATABASE {
            let database = self.config.get_dbname().or(self.config.get_user()).unwrap_or_default();
            Error::not_found("database", database)
        } else if is_refusal(code) {
            let what = format!("{}: {words}", self.place);
            Error::Forbidden { who: "the user of the connection".to_owned(), action: "use", what }
        } else if *code == SqlState::QUERY_CANCELED {
            Error::Deadline { stage: format!("a statement at {}", self.place) }
        } else {
            self.failed(&words)
        };
        Failure { error, passing: is_passing(code), closed: false }
    }

    /// The server did what it should not.
    pub fn failed(&self, what: &str) -> Error {
        Error::external(SYSTEM, format!("{}: {what}", self.place))
    }
}

async fn open<T>(config: &Config, tls: T) -> Result<(Client, Link), tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket, TlsConnect: TlsConnect<Socket>, Stream: Send + 'static>,
{
    let (client, connection) = config.connect(tls).await?;
    Ok((client, Box::pin(connection)))
}

fn place(config: &Config) -> String {
    let hosts = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    });
    let ports = config.get_ports();
    let with_ports = hosts.enumerate().map(|(index, host)| {
        let port = ports.get(index).or(ports.first()).copied().unwrap_or(5432);
        format!("{host}:{port}")
    });
    let database = config.get_dbname().or(config.get_user()).unwrap_or_default();
    format!("postgresql://{}/{database}", with_ports.collect::<Vec<_>>().join(","))
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
        let by_address = Server::parse("hostaddr=127.0.0.1 user=ann password=secret-word dbname=shop", None).unwrap();
        assert_eq!(format!("{by_address:?}"), "postgresql://127.0.0.1:5432/shop");
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
}
