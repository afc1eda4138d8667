//! Addresses of machines: IPv4, IPv6, MAC.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most characters of an IPv6 address.
const V6_MAX: usize = 45;
const MAC_BYTES: usize = 6;

/// An address in a text.
pub(super) struct Found {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Could as well be something else, such as a version; or names no machine of a person.
    pub(super) doubtful: bool,
}

/// The IPv4 address that starts at byte `start`.
pub(super) fn v4_at(text: &str, start: usize) -> Option<Found> {
    let bytes = text.as_bytes();
    let before = start.checked_sub(1).map(|i| bytes[i]);
    if before.is_some_and(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')) {
        return None;
    }
    let (mut at, mut parts) = (start, [0_u8; 4]);
    for (index, part) in parts.iter_mut().enumerate() {
        if index > 0 {
            if bytes.get(at) != Some(&b'.') {
                return None;
            }
            at += 1;
        }
        let digits = bytes[at..].iter().take(4).take_while(|b| b.is_ascii_digit()).count();
        *part = text[at..at + digits].parse().ok().filter(|_| digits == 1 || bytes[at] != b'0')?;
        at += digits;
    }
    let more = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_alphanumeric);
    if more(at) || (matches!(bytes.get(at), Some(b'.' | b'-' | b'_')) && more(at + 1)) {
        return None;
    }
    let address = Ipv4Addr::from(parts);
    let nobody = address.is_loopback() || address.is_unspecified() || address.is_broadcast();
    let doubtful = nobody || parts.iter().all(|part| *part < 10);
    Some(Found { start, end: at, doubtful })
}

/// The IPv6 or MAC address around the colon at byte `at`: its first colon.
pub(super) fn at_colon(text: &str, at: usize) -> Option<(Found, bool)> {
    let bytes = text.as_bytes();
    let head = bytes[..at].iter().rev().take(5).take_while(|b| b.is_ascii_hexdigit()).count();
    if head > 4 || (head == 0 && bytes.get(at + 1) != Some(&b':')) {
        return None;
    }
    let start = at - head;
    if start > 0 && (is_word(bytes[start - 1]) || bytes[start - 1] == b':') {
        return None;
    }
    let length = bytes[start..].iter().take(V6_MAX + 1).take_while(|b| is_v6(**b)).count();
    let text = text[start..start + length].trim_end_matches([':', '.']);
    let end = start + text.len();
    if bytes.get(end).is_some_and(|b| is_word(*b)) {
        return None;
    }
    if let Some(colons) = mac_of(text, b':') {
        return Some((Found { start, end, doubtful: colons }, true));
    }
    let address: Ipv6Addr = text.parse().ok()?;
    let groups = text.split(':').filter(|group| !group.is_empty()).count();
    let telling = groups >= 3 && text.bytes().any(|b| b.is_ascii_digit());
    let nobody = address.is_loopback() || address.is_unspecified();
    (telling || address.segments()[0] >= 0x2000)
        .then_some((Found { start, end, doubtful: nobody || groups < 2 }, false))
}

/// The MAC address around the hyphen at byte `at`: its first hyphen.
pub(super) fn mac_at_hyphen(text: &str, at: usize) -> Option<Found> {
    let bytes = text.as_bytes();
    let start = at.checked_sub(2)?;
    let end = start + MAC_BYTES * 3 - 1;
    let found = text.get(start..end)?;
    let free = |i: Option<usize>| i.and_then(|i| bytes.get(i)).is_none_or(|b| !is_word(*b) && *b != b'-');
    let doubtful = mac_of(found, b'-').filter(|_| free(start.checked_sub(1)) && free(Some(end)))?;
    Some(Found { start, end, doubtful })
}

/// Whether `text` is six pairs parted by `separator`, and if so, whether they name no machine or are all decimal.
fn mac_of(text: &str, separator: u8) -> Option<bool> {
    let bytes = text.as_bytes();
    if bytes.len() != MAC_BYTES * 3 - 1 {
        return None;
    }
    let shape = bytes.iter().enumerate().all(|(i, b)| if i % 3 == 2 { *b == separator } else { b.is_ascii_hexdigit() });
    let hex = || bytes.iter().filter(|b| **b != separator);
    let same = hex().all(|b| *b == bytes[0]);
    shape.then(|| same || hex().all(u8::is_ascii_digit))
}

fn is_v6(b: u8) -> bool {
    b.is_ascii_hexdigit() || matches!(b, b':' | b'.')
}

fn is_word(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80
}

pub(super) fn canonical_ip(text: &str) -> Option<String> {
    text.parse::<IpAddr>().ok().map(|address| address.to_string())
}

pub(super) fn canonical_mac(text: &str) -> Option<String> {
    [b':', b'-'].into_iter().find_map(|s| mac_of(text, s)).map(|_| text.to_ascii_lowercase().replace('-', ":"))
}

/// What an address can be reached from.
pub(super) fn network(text: &str) -> Option<&'static str> {
    Some(match text.parse().ok()? {
        IpAddr::V4(v4) if v4.is_private() => "private",
        IpAddr::V4(v4) if v4.is_loopback() => "loopback",
        IpAddr::V4(v4) if v4.is_link_local() => "link-local",
        IpAddr::V4(v4) if v4.is_documentation() => "documentation",
        IpAddr::V6(v6) if v6.is_loopback() => "loopback",
        IpAddr::V6(v6) if v6.is_unique_local() => "private",
        IpAddr::V6(v6) if v6.is_unicast_link_local() => "link-local",
        IpAddr::V6(v6) if v6.segments()[..2] == [0x2001, 0xdb8] => "documentation",
        _ => "public",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_and_times_are_no_addresses() {
        let v4 = |text: &str| text.find(|c: char| c.is_ascii_digit()).and_then(|at| v4_at(text, at));
        assert_eq!(v4("từ 203.0.113.77.").map(|f| (f.end, f.doubtful)), Some((17, false)));
        assert!(v4("8.8.8.8").is_some_and(|f| f.doubtful) && v4("127.0.0.1").is_some_and(|f| f.doubtful));
        for text in ["1.2.3.4.5", "v1.2.3.4", "300.1.1.1", "10.0.0", "10.00.0.1", "10.0.0.1-rc1", "1.2.3.4a"] {
            assert!(v4(text).is_none(), "{text}");
        }
        let colon = |text: &'static str| {
            let (found, mac) = text.find(':').and_then(|at| at_colon(text, at))?;
            Some((text[found.start..found.end].to_owned(), mac))
        };
        assert_eq!(colon("ip 2001:db8::8a2e:370:7334."), Some(("2001:db8::8a2e:370:7334".to_owned(), false)));
        assert_eq!(colon("fe80::1ff:fe23:4567:890a"), Some(("fe80::1ff:fe23:4567:890a".to_owned(), false)));
        assert_eq!(colon("mac 00:1A:2b:3c:4D:5e"), Some(("00:1A:2b:3c:4D:5e".to_owned(), true)));
        for text in ["12:30:45", "std::vec", "de::fe", "a:b", "::", "x 10:20", "abc::def", "cafe:1"] {
            assert_eq!(colon(text), None, "{text}");
        }
        assert!(mac_at_hyphen("00-1A-2B-3C-4D-5E", 2).is_some());
        assert!(mac_at_hyphen("00-1A-2B-3C-4D-5E-6F", 2).is_none());
    }

    #[test]
    fn networks_are_told_apart() {
        for (text, expected) in [
            ("192.168.1.7", "private"),
            ("203.0.113.9", "documentation"),
            ("14.161.2.3", "public"),
            ("fe80::1", "link-local"),
        ] {
            assert_eq!(network(text), Some(expected), "{text}");
        }
    }
}
