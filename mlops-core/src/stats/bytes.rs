//! Bytes of stored statistics: a bounded reader, a writer, and base64 for their JSON form.

use crate::{Error, Result};

/// Appends fixed-width little-endian fields.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    out: Vec<u8>,
}

impl Writer {
    pub(crate) fn u8(&mut self, value: u8) {
        self.out.push(value);
    }

    pub(crate) fn u32(&mut self, value: u32) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn u64(&mut self, value: u64) {
        self.out.extend_from_slice(&value.to_le_bytes());
    }

    pub(crate) fn f64(&mut self, value: f64) {
        self.u64(value.to_bits());
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// A length and the bytes.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.u64(bytes.len() as u64);
        self.raw(bytes);
    }

    pub(crate) fn finish(self) -> Vec<u8> {
        self.out
    }
}

/// Reads what [`Writer`] wrote; never past the end, never more than is there.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    what: &'static str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(rest: &'a [u8], what: &'static str) -> Self {
        Self { rest, what }
    }

    pub(crate) fn corrupt(&self, reason: impl std::fmt::Display) -> Error {
        Error::corrupt(self.what, reason)
    }

    pub(crate) fn raw(&mut self, len: usize) -> Result<&'a [u8]> {
        let Some((head, rest)) = self.rest.split_at_checked(len) else {
            return Err(self.corrupt(format_args!("{len} bytes expected, {} left", self.rest.len())));
        };
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.raw(N)?);
        Ok(out)
    }

    pub(crate) fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_le_bytes(self.array()?))
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn f64(&mut self) -> Result<f64> {
        Ok(f64::from_bits(self.u64()?))
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = self.u64()?;
        let len = usize::try_from(len).map_err(|_| self.corrupt("a length beyond memory"))?;
        self.raw(len)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|error| self.corrupt(error))
    }

    /// A count of entries that take at least `size` bytes each.
    pub(crate) fn count(&mut self, size: usize) -> Result<usize> {
        let count = self.u64()?;
        let most = (self.rest.len() / size.max(1)) as u64;
        if count > most {
            return Err(self.corrupt(format_args!("{count} entries in {} bytes", self.rest.len())));
        }
        Ok(count as usize)
    }

    pub(crate) fn end(&self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.corrupt(format_args!("{} bytes too many", self.rest.len())))
        }
    }
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Standard base64 with padding (RFC 4648 §4).
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let group = chunk.iter().fold(0_u32, |group, &byte| group << 8 | u32::from(byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            if place <= chunk.len() {
                out.push(char::from(ALPHABET[(group >> (18 - 6 * place) & 63) as usize]));
            } else {
                out.push('=');
            }
        }
    }
    out
}

/// The bytes of standard base64; `None` where the text is not of that form.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(4) {
        return None;
    }
    let body = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    let mut out = Vec::with_capacity(body.len() / 4 * 3 + 2);
    for chunk in body.as_bytes().chunks(4) {
        let mut group = 0_u32;
        for &byte in chunk {
            group = group << 6 | sextet(byte)?;
        }
        group <<= 6 * (4 - chunk.len());
        match chunk.len() {
            4 => out.extend_from_slice(&group.to_be_bytes()[1..4]),
            3 if group.trailing_zeros() >= 8 => out.extend_from_slice(&group.to_be_bytes()[1..3]),
            2 if group.trailing_zeros() >= 16 => out.push(group.to_be_bytes()[1]),
            _ => return None,
        }
    }
    Some(out)
}

fn sextet(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(u32::from(value))
}

/// A sketch in JSON: a format number and its bytes.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wire {
    format: u32,
    bytes: String,
}

impl Wire {
    /// The format that is written; others are refused.
    const FORMAT: u32 = 1;

    pub(crate) fn new(bytes: &[u8]) -> Self {
        Self { format: Self::FORMAT, bytes: to_base64(bytes) }
    }

    pub(crate) fn open(&self) -> Result<Vec<u8>> {
        check_format("statistics", self.format, Self::FORMAT)?;
        from_base64(&self.bytes).ok_or_else(|| Error::corrupt("statistics", "not base64"))
    }
}

/// Refuses what a newer version wrote.
pub(crate) fn check_format(what: &'static str, found: u32, known: u32) -> Result<()> {
    if found == known {
        Ok(())
    } else {
        Err(Error::invalid_data(what, format_args!("format {found} is not the known format {known}")))
    }
}

/// Serde through `to_bytes` and `from_bytes`, wrapped in [`Wire`].
macro_rules! serde_by_bytes {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
                serde::Serialize::serialize(&$crate::stats::bytes::Wire::new(&self.to_bytes()), serializer)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
                use serde::de::Error as _;
                let wire: $crate::stats::bytes::Wire = serde::Deserialize::deserialize(deserializer)?;
                wire.open().and_then(|bytes| Self::from_bytes(&bytes)).map_err(D::Error::custom)
            }
        }
    };
}
pub(crate) use serde_by_bytes;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_rfc_4648_section_10() {
        for (bytes, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(to_base64(bytes.as_bytes()), text);
            assert_eq!(from_base64(text).as_deref(), Some(bytes.as_bytes()));
        }
    }

    #[test]
    fn text_that_is_not_base64_is_refused() {
        for text in ["Z", "Zg=", "Zh==", "Zm9=", "Z===", "Zm9v\n", "Zg==Zg==", "Zm 9"] {
            assert_eq!(from_base64(text), None, "{text:?}");
        }
    }

    #[test]
    fn reading_past_the_end_is_an_error() {
        let mut reader = Reader::new(&[255; 8], "test");
        assert!(matches!(reader.bytes(), Err(Error::Corrupt { .. })));
        let mut reader = Reader::new(&[1, 0, 0, 0, 0, 0, 0, 0], "test");
        assert!(matches!(reader.count(8), Err(Error::Corrupt { .. })));
    }
}
