//! Pseudonyms: the same value gives the same token wherever the same key is.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use super::Kind;
use crate::{Error, Result};

/// Least length of a key in bytes.
pub const KEY_BYTES_MIN: usize = 32;
/// Length of a token in hexadecimal digits.
pub const TOKEN_CHARS: usize = 32;

/// Part the uses of one key from each other.
const TOKENS: &[u8] = b"mlops.privacy.token.1\0";
const SHIFTS: &[u8] = b"mlops.privacy.shift.1\0";
#[cfg(feature = "fpe")]
const SHAPES: &[u8] = b"mlops.privacy.shape.1\0";

/// The host's secret that turns values into tokens.
///
/// The bytes given are overwritten when the key is made; what is kept is overwritten when it is dropped. It is never shown
/// by `Debug`, is not serialisable and cannot be cloned. Who has the key can test guesses against tokens: keep it apart
/// from the data.
pub struct PseudonymKey {
    mac: Hmac<Sha256>,
    #[cfg(feature = "fpe")]
    pub(super) shape: super::shape::Shape,
}

impl PseudonymKey {
    /// Takes over at least 32 random bytes.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there are fewer, or all are the same. The message tells the length only.
    pub fn new(bytes: Vec<u8>) -> Result<Self> {
        let bytes = Zeroizing::new(bytes);
        let refuse = || {
            let shown = format!("a key of {} bytes", bytes.len());
            Error::invalid("pseudonym key", shown, "at least 32 random bytes")
        };
        if bytes.len() < KEY_BYTES_MIN || bytes.iter().all(|b| Some(b) == bytes.first()) {
            return Err(refuse());
        }
        let mac = Hmac::<Sha256>::new_from_slice(&bytes).map_err(|_| refuse())?;
        #[cfg(feature = "fpe")]
        let shape = {
            let mut derived = mac.clone();
            derived.update(SHAPES);
            super::shape::Shape::new(&Zeroizing::new(derived.finalize().into_bytes().into()))?
        };
        Ok(Self {
            mac,
            #[cfg(feature = "fpe")]
            shape,
        })
    }

    /// Token of `value`: the first 128 bits of HMAC-SHA-256, as 32 lower-case hexadecimal digits.
    ///
    /// The value is [normalised](Kind::normalise) first, and tokens of different kinds never meet; `None` stands for
    /// values of no kind, which are taken as they are.
    ///
    /// # Source
    /// RFC 2104; truncation to half of the output as its section 5 allows.
    pub fn token(&self, kind: Option<Kind>, value: &str) -> String {
        let bytes = self.digest(TOKENS, kind, value);
        let mut token = String::with_capacity(TOKEN_CHARS);
        for byte in bytes.iter().take(TOKEN_CHARS / 2) {
            for nibble in [byte >> 4, byte & 15] {
                token.push(char::from_digit(u32::from(nibble), 16).unwrap_or('0'));
            }
        }
        token
    }

    /// Days by which the dates of `subject` move: the same in every table, in `-days_max..=days_max`, never 0.
    pub(super) fn shift_days(&self, kind: Option<Kind>, subject: &str, days_max: u16) -> i64 {
        let bytes = self.digest(SHIFTS, kind, subject);
        let number = bytes.iter().take(8).fold(0_u64, |n, b| (n << 8) | u64::from(*b));
        let days = (number % (2 * u64::from(days_max.max(1)))) as i64 - i64::from(days_max.max(1));
        if days >= 0 { days + 1 } else { days }
    }

    fn digest(&self, domain: &[u8], kind: Option<Kind>, value: &str) -> [u8; 32] {
        let canonical = kind.map_or(value.into(), |kind| kind.normalise(value));
        let mut mac = self.mac.clone();
        mac.update(domain);
        mac.update(kind.map_or("value", Kind::as_str).as_bytes());
        mac.update(&[0]);
        mac.update(canonical.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl fmt::Debug for PseudonymKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PseudonymKey(hidden)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(first: u8) -> PseudonymKey {
        PseudonymKey::new((first..first + 32).collect()).unwrap()
    }

    #[test]
    fn the_hash_states_that_a_key_is_kept_as_are_overwritten_on_drop() {
        fn overwritten<T: zeroize::ZeroizeOnDrop>(_: T) {}
        overwritten(<Sha256 as sha2::Digest>::new());
    }

    #[test]
    fn tokens_are_those_of_another_implementation() {
        // Python 3.11: hmac.new(bytes(range(32)), b"mlops.privacy.token.1\0phone\0" + b"0912345678", "sha256").hexdigest()[:32]
        assert_eq!(key(0).token(Some(Kind::Phone), "+84 912 345 678"), "a73128fb3a614fcfdd6868b58a0c596a");
        // … b"value\0An"
        assert_eq!(key(0).token(None, "An"), "d6a54b463c351eb70a52224b358dcfcf");
    }

    #[test]
    fn dates_of_one_subject_move_alike_and_never_stay() {
        let key = key(0);
        let days: Vec<_> = (0..2_000).map(|i| key.shift_days(None, &i.to_string(), 3)).collect();
        assert!(days.iter().all(|d| (-3..=3).contains(d) && *d != 0));
        assert!([-3, -2, -1, 1, 2, 3].iter().all(|d| days.iter().filter(|n| *n == d).count() > 250));
        assert_eq!(
            key.shift_days(Some(Kind::Phone), "0912345678", 30),
            key.shift_days(Some(Kind::Phone), "+84 912 345 678", 30)
        );
    }

    #[test]
    fn kinds_and_keys_part_tokens_and_spellings_do_not() {
        let key_a = key(0);
        let phone = |text| key_a.token(Some(Kind::Phone), text);
        assert_eq!(phone("0912345678"), phone("84912345678"));
        assert_eq!(key_a.token(Some(Kind::Email), "An@X.vn "), key_a.token(Some(Kind::Email), "an@x.vn"));
        assert_ne!(phone("0912345678"), key_a.token(None, "0912345678"));
        assert_ne!(phone("0912345678"), key(1).token(Some(Kind::Phone), "0912345678"));
        assert_eq!(phone("0912345678").len(), TOKEN_CHARS);
    }

    #[test]
    fn short_and_constant_keys_are_refused_and_none_is_ever_shown() {
        assert!(PseudonymKey::new(vec![7; 64]).is_err());
        let message = PseudonymKey::new(b"tiger-tiger-tiger".to_vec()).unwrap_err().to_string();
        assert!(!message.contains("tiger"), "{message}");
        assert_eq!(format!("{:?}", key(0)), "PseudonymKey(hidden)");
    }
}
