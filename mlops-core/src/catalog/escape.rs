//! Text in addresses.

use std::fmt::Write;

/// Bytes that `keep` does not want, and all that are not ASCII, as `%` and two digits.
pub(super) fn percent(text: &str, keep: impl Fn(u8) -> bool) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii() && keep(byte) {
            escaped.push(char::from(byte));
        } else {
            let _ = write!(escaped, "%{byte:02X}"); // writing to a string cannot fail
        }
    }
    escaped
}
