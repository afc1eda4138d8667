//! Names of writes, from which everything that they wrote follows.

use std::fmt;
use std::str::FromStr;

use crate::random;

/// One write: of which run of the program, by which of its threads, as which of that thread's. Numbers begin at 1.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct Token {
    /// Run of the program on one folder, from 1.
    pub run: u32,
    /// Thread, from 0.
    pub writer: u32,
    /// Write of the thread, from 1; a thread begins the next one when the last is acknowledged.
    pub number: u64,
}

impl Token {
    /// A number that only depends on the token and `salt`.
    pub fn random(self, salt: u64) -> u64 {
        let parts = [u64::from(self.run), u64::from(self.writer), self.number, salt];
        parts.into_iter().fold(0, |state, part| random::mix(state ^ part))
    }

    /// The next write of the same thread.
    pub fn next(self) -> Self {
        Self { number: self.number + 1, ..self }
    }

    /// Between 24 and `bytes_max` bytes that only depend on the token and `salt`, and begin with its name.
    pub fn bytes(self, salt: u64, bytes_max: usize) -> Vec<u8> {
        let mut bytes = format!("{:<24}", self.to_string()).into_bytes();
        let length = bytes.len() + (self.random(salt) as usize) % bytes_max.saturating_sub(bytes.len()).max(1);
        let mut state = self.random(salt + 1);
        while bytes.len() < length {
            state = random::mix(state);
            bytes.extend_from_slice(&state.to_le_bytes());
        }
        bytes.truncate(length);
        bytes
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.run, self.writer, self.number)
    }
}

impl FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refuse = || format!("`{}` is no token", text.escape_default());
        let mut parts = text.split('.');
        let mut part = || parts.next().and_then(|part| part.parse::<u64>().ok());
        let (run, writer, number) = (part(), part(), part());
        let narrow = |number: Option<u64>| number.and_then(|number| u32::try_from(number).ok());
        let token = Self {
            run: narrow(run).ok_or_else(refuse)?,
            writer: narrow(writer).ok_or_else(refuse)?,
            number: number.ok_or_else(refuse)?,
        };
        if token.to_string() == text { Ok(token) } else { Err(refuse()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_as_it_is_written_and_nothing_else_is() {
        let token = Token { run: 3, writer: 1, number: 17 };
        assert_eq!(token.to_string(), "3.1.17");
        assert_eq!("3.1.17".parse(), Ok(token));
        for bad in ["", "3.1", "3.1.17.2", "3.1.x", "+3.1.17", "03.1.17", "3.1.17 ", "-1.0.1"] {
            assert!(bad.parse::<Token>().is_err(), "{bad}");
        }
    }

    #[test]
    fn content_follows_from_the_token_alone() {
        let token = Token { run: 1, writer: 0, number: 1 };
        assert_eq!(token.bytes(7, 1_000), token.bytes(7, 1_000));
        assert_ne!(token.bytes(7, 1_000), token.next().bytes(7, 1_000));
        assert!((24..1_000).contains(&token.bytes(7, 1_000).len()));
    }
}
