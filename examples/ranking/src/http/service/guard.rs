//! Which hosts and pages a request may come for and from.

use std::net::{IpAddr, SocketAddr};

use axum::http::{HeaderMap, HeaderValue, Uri, header};

use crate::http::problem::{Problem, ProblemCode};

/// Host names that are served; ports do not matter.
///
/// A page that makes a browser resolve its own name to this machine (DNS rebinding) still sends that name.
#[derive(Debug)]
pub(super) struct Hosts(Vec<String>);

impl Hosts {
    /// `localhost`, the loopback addresses, the address that is listened on, and `more`.
    pub(super) fn new(bound: SocketAddr, more: &[String]) -> Self {
        let mut names: Vec<String> = ["localhost", "127.0.0.1", "[::1]"].map(str::to_owned).into();
        names.push(match bound.ip() {
            IpAddr::V4(ip) => ip.to_string(),
            IpAddr::V6(ip) => format!("[{ip}]"),
        });
        names.extend(more.iter().cloned());
        Self(names)
    }

    /// # Errors
    /// 400 when the `Host` header is missing or comes twice, 421 when it or the target names another host, 403 when a
    /// browser says that a page of another site is behind the request.
    pub(super) fn check(&self, uri: &Uri, headers: &HeaderMap) -> Result<(), Problem> {
        let mut hosts = headers.get_all(header::HOST).iter();
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return Err(Problem::named(ProblemCode::BadField, "host", "expected one such header"));
        };
        let target = uri.authority().is_none_or(|authority| self.has(authority.as_str()));
        if !target || !host.to_str().is_ok_and(|host| self.has(host)) {
            return Err(Problem::named(ProblemCode::ForeignHost, "host", "not a host of this service"));
        }
        let ours = |origin: &HeaderValue| {
            let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            origin.is_some_and(|(_, host)| self.has(host))
        };
        if headers.get(header::ORIGIN).is_some_and(|origin| !ours(origin)) {
            return Err(Problem::named(ProblemCode::ForeignOrigin, "origin", "not a page of this service"));
        }
        if headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site") {
            return Err(Problem::named(ProblemCode::ForeignOrigin, "sec-fetch-site", "not a page of this service"));
        }
        Ok(())
    }

    fn has(&self, authority: &str) -> bool {
        let name = match authority.strip_prefix('[').and_then(|rest| rest.find(']')) {
            Some(end) => authority.split_at(end + 2),
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let (name, port) = name;
        let port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
        port && self.0.iter().any(|known| known.eq_ignore_ascii_case(name))
    }
}

/// A host name or address as it is put in the allow list; `None` when it could never match.
pub(super) fn host_name(text: &str) -> Option<String> {
    let inner = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    match inner.parse::<IpAddr>() {
        Ok(IpAddr::V6(ip)) => Some(format!("[{ip}]")),
        Ok(IpAddr::V4(ip)) => Some(ip.to_string()),
        Err(_) if (1..=253).contains(&text.len()) && text.chars().all(allowed) => Some(text.to_owned()),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(target: &str, headers: &[(&'static str, &'static str)]) -> Option<ProblemCode> {
        let hosts = Hosts::new("127.0.0.7:80".parse().unwrap(), &["rank.example".to_owned()]);
        let map = headers.iter().map(|(name, value)| ((*name).parse().unwrap(), HeaderValue::from_static(value)));
        hosts.check(&target.parse().unwrap(), &map.collect()).err().map(|problem| problem.code)
    }

    #[test]
    fn only_known_hosts_are_served() {
        for host in ["localhost", "LOCALHOST:9", "127.0.0.1:80", "[::1]", "[::1]:8080", "127.0.0.7", "rank.example:1"] {
            assert_eq!(check("/", &[("host", host)]), None, "{host}");
        }
        for host in
            ["evil.example", "localhost.evil.example", "localhost:x", "u@localhost", "[::2]", "", "[::1]x", ":80"]
        {
            assert_eq!(check("/", &[("host", host)]), Some(ProblemCode::ForeignHost), "{host}");
        }
        assert_eq!(check("/", &[]), Some(ProblemCode::BadField));
        assert_eq!(check("http://evil.example/", &[("host", "localhost")]), Some(ProblemCode::ForeignHost));
        assert_eq!(check("http://localhost:1/", &[("host", "localhost")]), None);
    }

    #[test]
    fn pages_of_other_sites_are_refused() {
        let from = |origin| check("/", &[("host", "localhost"), ("origin", origin)]);
        assert_eq!(from("http://localhost:3000"), None);
        assert_eq!(from("https://evil.example"), Some(ProblemCode::ForeignOrigin));
        assert_eq!(from("null"), Some(ProblemCode::ForeignOrigin));
        let site = |site| check("/", &[("host", "localhost"), ("sec-fetch-site", site)]);
        assert_eq!(site("cross-site"), Some(ProblemCode::ForeignOrigin));
        assert_eq!(site("same-origin"), None);
    }

    #[test]
    fn the_allow_list_takes_names_and_addresses() {
        assert_eq!(host_name("::1").as_deref(), Some("[::1]"));
        assert_eq!(host_name("10.0.0.1").as_deref(), Some("10.0.0.1"));
        assert_eq!(host_name("rank.example").as_deref(), Some("rank.example"));
        for bad in ["", "a b", "a:80", "http://a", "a\0"] {
            assert_eq!(host_name(bad), None, "{bad:?}");
        }
    }
}
