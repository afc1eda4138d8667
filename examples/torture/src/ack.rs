//! Acknowledgements: lines `ACK <token>` on the way out, a set of tokens on the way back.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::Path;

use crate::token::Token;

const PREFIX: &str = "ACK ";

/// Says that `token` is kept, for good, before it returns.
///
/// # Errors
/// When nobody reads any more.
pub fn say(out: &mut dyn Write, token: Token) -> io::Result<()> {
    // One call, so that a kill leaves a line, a half line at the end, or nothing.
    out.write_all(format!("{PREFIX}{token}\n").as_bytes())?;
    out.flush()
}

/// The tokens of `text`. What stands after the last line end was cut off by a kill and does not count.
///
/// # Errors
/// A whole line that is no acknowledgement.
pub fn parse(text: &str) -> Result<BTreeSet<Token>, String> {
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let lines = whole.lines().filter(|line| !line.is_empty());
    let token = |line: &str| {
        let token = line.strip_prefix(PREFIX).ok_or_else(|| format!("`{}` is no ACK", line.escape_default()))?;
        token.parse()
    };
    lines.map(token).collect()
}

/// The tokens of a file.
///
/// # Errors
/// A file that cannot be read, or a whole line in it that is no acknowledgement.
pub fn read(path: &Path) -> Result<BTreeSet<Token>, String> {
    let text = std::fs::read_to_string(path).map_err(|e| format!("{}: {e}", path.display()))?;
    parse(&text).map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_half_line_at_the_end_does_not_count() {
        let token = |number| Token { run: 1, writer: 0, number };
        assert_eq!(parse("ACK 1.0.1\nACK 1.0.2\nACK 1.0.34"), Ok([token(1), token(2)].into()));
        assert_eq!(parse("ACK 1.0.3"), Ok(BTreeSet::new()));
        assert_eq!(parse(""), Ok(BTreeSet::new()));
        assert!(parse("ACK 1.0.\nACK 1.0.2\n").is_err());
        assert!(parse("hello\n").is_err());
    }

    #[test]
    fn what_is_said_is_read() {
        let mut out = Vec::new();
        let token = Token { run: 2, writer: 3, number: 9 };
        say(&mut out, token).unwrap();
        assert_eq!(parse(std::str::from_utf8(&out).unwrap()), Ok([token].into()));
    }
}
