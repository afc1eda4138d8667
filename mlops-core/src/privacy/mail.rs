//! E-mail addresses, found from their `@`.
//!
//! The usual written form of RFC 5321: a dot-atom of at most 64 characters, a host name of at most 253 with two labels
//! or more. Letters of any script may stand in both. Quoted local parts and IP literals are not read.

use std::ops::Range;

use super::fold::is_letter;

const LOCAL_CHARS_MAX: usize = 64;
const DOMAIN_BYTES_MAX: usize = 253;
const LABEL_BYTES_MAX: usize = 63;

/// Endings that are files, not top-level domains: `icon@2x.png`.
const FILE_ENDINGS: [&str; 20] = [
    "png", "jpg", "jpeg", "gif", "svg", "webp", "bmp", "ico", "css", "scss", "js", "ts", "json", "html", "xml", "pdf",
    "txt", "csv", "yaml", "yml",
];

/// An address around an `@`.
pub(super) struct Address {
    /// Its bytes in the text.
    pub(super) bytes: Range<usize>,
    /// It stands where URLs and remotes have user names: `https://user@host`, `git@host:path`.
    pub(super) in_url: bool,
}

/// The address whose `@` stands at byte `at` of `text`.
pub(super) fn around(text: &str, at: usize) -> Option<Address> {
    let start = local_start(text, at)?;
    let end = domain_end(text, at + 1)?;
    let remote = text[end..].strip_prefix(':').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphabetic()));
    let in_url = text[..start].ends_with("//") || (remote && &text[start..at] == "git");
    Some(Address { bytes: start..end, in_url })
}

fn is_local(c: char) -> bool {
    c.is_ascii_alphanumeric()
        || matches!(c, '.' | '_' | '%' | '+' | '-' | '\'' | '&')
        || (!c.is_ascii() && is_letter(c))
}

fn local_start(text: &str, at: usize) -> Option<usize> {
    let mut start = at;
    for (count, c) in text[..at].chars().rev().enumerate() {
        let dots = c == '.' && text[start..at].starts_with('.');
        if !is_local(c) || dots {
            break;
        }
        if count >= LOCAL_CHARS_MAX {
            return None;
        }
        start -= c.len_utf8();
    }
    let local = &text[start..at];
    let inside = local.trim_start_matches(['.', '-', '\'', '&', '+', '%']);
    let ends_well = inside.chars().next_back().is_some_and(|c| c != '.');
    ends_well.then(|| at - inside.len())
}

/// End of the longest host name at `from` that could be a mail domain.
fn domain_end(text: &str, from: usize) -> Option<usize> {
    let (mut best, mut labels, mut label_start) = (None, 0, from);
    let mut seen = from;
    let is_host = |c: char| c.is_ascii_alphanumeric() || c == '-' || (!c.is_ascii() && is_letter(c));
    loop {
        let label = text[label_start..].chars().take_while(|c| is_host(*c)).map(char::len_utf8);
        let length = label.take(LABEL_BYTES_MAX + 1).sum::<usize>();
        let label = text[label_start..label_start + length].trim_end_matches('-');
        seen += length;
        if label.is_empty() || label.starts_with('-') || label.len() > LABEL_BYTES_MAX || seen - from > DOMAIN_BYTES_MAX
        {
            break;
        }
        labels += 1;
        if labels >= 2 && is_top_level(label) {
            best = Some(label_start + label.len());
        }
        if label.len() < length || !text[seen..].starts_with('.') {
            break;
        }
        seen += 1;
        label_start = seen;
    }
    best
}

fn is_top_level(label: &str) -> bool {
    let letters = label.chars().all(is_letter) && (2..=LABEL_BYTES_MAX).contains(&label.len());
    let punycode = label.len() > 4 && label.get(..4).is_some_and(|p| p.eq_ignore_ascii_case("xn--"));
    (letters || punycode) && !FILE_ENDINGS.iter().any(|ending| label.eq_ignore_ascii_case(ending))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<&str>) {
        let found = text.find('@').and_then(|at| around(text, at)).map(|address| &text[address.bytes]);
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn addresses_end_where_the_sentence_goes_on() {
        check("viết cho an.nguyen@mail.vn.", Some("an.nguyen@mail.vn"));
        check("<an+tag@sub.mail.com.vn>,", Some("an+tag@sub.mail.com.vn"));
        check("'o'brien@x.ie'", Some("o'brien@x.ie"));
        check("...an@x.vn-", Some("an@x.vn"));
        check("an@x.vn.123", Some("an@x.vn"));
        check("nguyễn@công-ty.vn", Some("nguyễn@công-ty.vn"));
        check("a@x.xn--p1ai", Some("a@x.xn--p1ai"));
    }

    #[test]
    fn what_only_looks_like_an_address_is_not_one() {
        for text in
            ["@an", "an@", "an@localhost", "pkg@1.2.3", "icon@2x.png", "an@-x.vn", "an.@x.vn", "a @ b.vn", "an@x..vn"]
        {
            check(text, None);
        }
        check(&format!("{}@x.vn", "a".repeat(65)), None);
        check(&format!("a@{}.vn", "b".repeat(64)), None);
        assert!(check_len(&"b.".repeat(400)));
    }

    /// A host name of 800 bytes is cut at the last label that still fits.
    fn check_len(host: &str) -> bool {
        let text = format!("a@{host}vn");
        around(&text, 1).is_none_or(|address| address.bytes.len() <= 2 + DOMAIN_BYTES_MAX)
    }
}
