//! Names of runs: UUIDs of version 7, which sort by time.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::time::EventTime;
use crate::{Digest, Error, Result};

/// A UUID, written as 36 characters in lower case.
///
/// # Source
/// RFC 9562, section 5.7 (version 7).
///
/// # Examples
/// ```
/// use mlops_core::EventTime;
/// use mlops_core::catalog::openlineage::RunId;
/// let id = RunId::v7(EventTime::from_micros(1_645_557_742_000_000), [0xff; 10]);
/// assert_eq!(id.to_string(), "017f22e2-79b0-7fff-bfff-ffffffffffff");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RunId([u8; 16]);

impl RunId {
    /// The id of a run that began at `at`, told from others of the same millisecond by 74 of the random bits.
    ///
    /// Times before the epoch count as the epoch.
    pub fn v7(at: EventTime, random: [u8; 10]) -> Self {
        let millis = u64::try_from(at.as_micros() / 1_000).unwrap_or(0).min((1 << 48) - 1);
        let mut bytes = [0; 16];
        bytes[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        bytes[6..].copy_from_slice(&random);
        bytes[6] = 0x70 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        Self(bytes)
    }

    /// An id for a new run that begins at `at`.
    ///
    /// The bits come from the hash keys of the standard library, which the operating system seeds once per thread: enough to
    /// tell runs apart, and not meant to be secret. For ids that can be repeated, use [`v7`](Self::v7).
    pub fn fresh(at: EventTime) -> Self {
        let mut random = [0; 10];
        for (part, piece) in random.chunks_mut(8).enumerate() {
            let bits = RandomState::new().hash_one((std::process::id(), part, at));
            piece.copy_from_slice(&bits.to_le_bytes()[..piece.len()]);
        }
        Self::v7(at, random)
    }

    /// The one id of a run that is known by its `content` and began at `at`: telling it twice is telling it once.
    pub fn of(at: EventTime, content: &Digest) -> Self {
        let mut random = [0; 10];
        random.copy_from_slice(&content.as_bytes()[..10]);
        Self::v7(at, random)
    }
}

impl fmt::Display for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, byte) in self.0.iter().enumerate() {
            if matches!(place, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for RunId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for RunId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = || {
            let shown: String = text.chars().take(40).flat_map(char::escape_default).collect();
            Error::invalid("run id", format!("`{shown}`"), "a UUID such as 017f22e2-79b0-7cc3-98c4-dc0c0c07398f")
        };
        let hyphens: Vec<usize> =
            text.bytes().enumerate().filter(|(_, b)| *b == b'-').map(|(place, _)| place).collect();
        if text.len() != 36 || hyphens != [8, 13, 18, 23] {
            return Err(refuse());
        }
        let digits: Vec<u8> = text.bytes().filter(|b| *b != b'-').collect();
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let digit = |b: u8| char::from(b).to_digit(16).ok_or_else(refuse);
            *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for RunId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<RunId> for String {
    fn from(id: RunId) -> Self {
        id.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_standard_comes_out() {
        // RFC 9562, appendix A.6: unix_ts_ms 0x017F22E279B0, rand_a 0xCC3, rand_b 0x18C4DC0C0C07398F.
        let random = [0x0c, 0xc3, 0x18, 0xc4, 0xdc, 0x0c, 0x0c, 0x07, 0x39, 0x8f];
        let id = RunId::v7(EventTime::from_micros(0x017f_22e2_79b0 * 1_000 + 999), random);
        assert_eq!(id.to_string(), "017f22e2-79b0-7cc3-98c4-dc0c0c07398f");
        assert_eq!("017F22E2-79B0-7CC3-98C4-DC0C0C07398F".parse::<RunId>().unwrap(), id);
    }

    #[test]
    fn ids_sort_by_time_and_do_not_repeat() {
        let ids: Vec<RunId> = (0..1_000).map(|n| RunId::fresh(EventTime::from_micros(n / 10 * 1_000))).collect();
        assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), 1_000);
        assert!(ids[..10].iter().max() < ids[990..].iter().min());
        let content = Digest::of("a");
        assert_eq!(RunId::of(EventTime::MIN, &content), RunId::of(EventTime::EPOCH, &content));
        assert!(RunId::of(EventTime::MAX, &content).to_string().parse::<RunId>().is_ok());
    }

    #[test]
    fn text_that_is_no_uuid_is_refused() {
        let good = "017f22e2-79b0-7cc3-98c4-dc0c0c07398f";
        for bad in ["", "x", &good[1..], &good.replace('-', "0"), &good.replace("98c4", "98cg"), &"é".repeat(18)] {
            assert!(bad.parse::<RunId>().is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<RunId>("\"not-a-run\"").is_err());
    }
}
