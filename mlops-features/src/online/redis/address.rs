//! Where a server is, and who asks it.

use std::fmt;

use crate::error::{Core, Result};

const PORT_DEFAULT: u16 = 6379;

/// One database of one server. Neither user nor password show in anything that is printed.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) database: u32,
    pub(super) user: Option<String>,
    pub(super) password: Option<String>,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        write!(f, "redis://{host}:{}/{}", self.port, self.database)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Address {
    /// Reads `redis://[[user][:password]@]host[:port][/database]`.
    ///
    /// # Errors
    /// `Core(Invalid)`, which never quotes the text: it may hold a password.
    pub(super) fn parse(url: &str) -> Result<Self> {
        let refuse = |domain| Err(Core::invalid("Redis URL", "a text that is not shown", domain).into());
        let shape = "`redis://user:password@host:port/database`";
        if url.starts_with("rediss:") {
            return refuse("a URL without TLS: reach the server through a TLS tunnel");
        }
        let Some(rest) = url.strip_prefix("redis://") else { return refuse(shape) };
        if rest.contains(['?', '#']) || rest.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return refuse(shape);
        }
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let database = if database.is_empty() { "0" } else { database };
        let Some(database) = digits(database) else { return refuse("a URL with a number of a database") };
        let (credentials, place) = authority.rsplit_once('@').map_or((None, authority), |(c, place)| (Some(c), place));
        let Some((host, port)) = host_and_port(place) else { return refuse(shape) };
        let (user, password) = credentials.map_or((None, None), |text| match text.split_once(':') {
            Some((user, password)) => (Some(user), Some(password)),
            None => (Some(text), None),
        });
        let decode = |part: Option<&str>| part.filter(|part| !part.is_empty()).map(decoded);
        let (user, password) = (decode(user), decode(password));
        if user == Some(None) || password == Some(None) {
            return refuse("a URL whose user and password are percent-encoded UTF-8");
        }
        Ok(Self { host: host.to_owned(), port, database, user: user.flatten(), password: password.flatten() })
    }
}

/// A number of digits only.
fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

fn host_and_port(place: &str) -> Option<(&str, u16)> {
    let (host, port) = if let Some(rest) = place.strip_prefix('[') {
        let (host, after) = rest.split_once(']')?;
        (host, if after.is_empty() { None } else { Some(after.strip_prefix(':')?) })
    } else {
        place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port)))
    };
    let port = match port {
        None => PORT_DEFAULT,
        Some(port) => digits(port).filter(|port| *port > 0)?,
    };
    (!host.is_empty()).then_some((host, port))
}

/// `text` with `%41` as `A`; `None` when it is not of that form.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (code, after) = rest.split_at_checked(2)?;
        let nibble = |byte: u8| (byte as char).to_digit(16);
        bytes.push((nibble(code[0])? * 16 + nibble(code[1])?) as u8);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_is_read() {
        let address = Address::parse("redis://ann:p%40ss%3a@db.example:7000/3").unwrap();
        assert_eq!((address.host.as_str(), address.port, address.database), ("db.example", 7000, 3));
        assert_eq!((address.user.as_deref(), address.password.as_deref()), (Some("ann"), Some("p@ss:")));
        let plain = Address::parse("redis://localhost").unwrap();
        assert_eq!(plain.to_string(), "redis://localhost:6379/0");
        assert_eq!((plain.user, plain.password), (None, None));
        assert_eq!(Address::parse("redis://:secret@[::1]:7/").unwrap().to_string(), "redis://[::1]:7/0");
    }

    #[test]
    fn what_is_printed_holds_no_credentials() {
        let address = Address::parse("redis://ann:secret-word@a").unwrap();
        assert!(!format!("{address} {address:?}").contains("ann"));
    }

    #[test]
    fn texts_that_cannot_be_understood_are_refused_without_being_quoted() {
        for url in [
            "",
            "secret-word",
            "redis://",
            "redis://a:secret-word",
            "redis://a:0",
            "redis://a:70000",
            "redis://a/secret-word",
            "redis://a/-1",
            "redis://a/1/secret-word",
            "redis://a?password=secret-word",
            "redis://%zz:secret-word@a",
            "redis://x:%ffsecret-word@a",
            "redis://secret-word@",
            "rediss://:secret-word@a",
            "http://:secret-word@a",
            "redis://[::1:secret-word",
            "redis://a b:secret-word@c",
        ] {
            let error = Address::parse(url).unwrap_err();
            assert!(matches!(error, crate::Error::Core(Core::Invalid { setting: "Redis URL", .. })), "{url}: {error}");
            assert!(!format!("{error} {error:?}").contains("secret-word"), "{error:?}");
        }
    }
}
