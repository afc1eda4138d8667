//! Regular expressions that match from end to end, within bounds.

use regex::{Regex, RegexBuilder};

use crate::{Error, Result};

/// Longest regular expression in bytes.
pub(crate) const PATTERN_BYTES_MAX: usize = 4096;

/// Largest compiled expression, and largest cache of its automaton, in bytes.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// `pattern` anchored at both ends.
pub(crate) fn whole(pattern: &str) -> Result<Regex> {
    let refuse = |domain| Error::invalid("pattern", shown(pattern), domain);
    if pattern.len() > PATTERN_BYTES_MAX {
        return Err(refuse("at most 4096 bytes long"));
    }
    // On its own first: `a)|(b` would only become an expression inside of the group below.
    limited(pattern).map_err(|_| refuse("a regular expression within the size limit"))?;
    limited(&format!(r"\A(?:{pattern})\z"))
        .map_err(|_| refuse("a regular expression that can be anchored at both ends"))
}

fn limited(pattern: &str) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).size_limit(COMPILED_BYTES_MAX).dfa_size_limit(COMPILED_BYTES_MAX).build()
}

fn shown(pattern: &str) -> String {
    pattern.chars().take(80).flat_map(char::escape_debug).collect()
}
