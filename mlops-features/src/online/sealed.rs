//! Bytes of stores outside of this process: what was written comes back, or an error.
//!
//! Every value ends with the CRC-32C of its key and all that stands before. Definitions of views and watermarks begin with
//! a format number, as rows do.

use super::registered::Registered;
use crate::error::Result;
use crate::offline::Watermark;

/// Format of stored views and watermarks.
const FORMAT: u8 = 1;

/// Why a value was refused.
type Reason = String;

/// Appends the checksum of `key` and `bytes`.
pub(super) fn seal(key: &[u8], bytes: &mut Vec<u8>) {
    let checksum = crc32c::crc32c_append(crc32c::crc32c(key), bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
}

/// What was sealed, when the checksum fits.
pub(super) fn open<'a>(key: &[u8], sealed: &'a [u8]) -> Option<&'a [u8]> {
    let (bytes, checksum) = sealed.split_at_checked(sealed.len().checked_sub(4)?)?;
    let expected = crc32c::crc32c_append(crc32c::crc32c(key), bytes);
    (checksum == expected.to_le_bytes()).then_some(bytes)
}

/// What stands after the format number.
fn body<'a>(key: &[u8], sealed: &'a [u8], what: &str) -> Result<&'a [u8], Reason> {
    let bytes = open(key, sealed).ok_or_else(|| format!("the checksum of {what} does not fit"))?;
    let body = bytes.split_first().filter(|(format, _)| **format == FORMAT);
    body.map(|(_, body)| body).ok_or_else(|| format!("{what} is of an unknown format"))
}

pub(super) fn view_bytes(key: &[u8], view: &Registered) -> Result<Vec<u8>> {
    let mut bytes = vec![FORMAT];
    bytes.extend(view.to_bytes()?);
    seal(key, &mut bytes);
    Ok(bytes)
}

pub(super) fn view(key: &[u8], sealed: &[u8]) -> Result<Registered, Reason> {
    Registered::from_bytes(body(key, sealed, "a view")?).map_err(|error| error.to_string())
}

pub(super) fn watermark_bytes(key: &[u8], watermark: Watermark) -> Vec<u8> {
    let mut bytes = vec![FORMAT];
    bytes.extend_from_slice(&watermark.sequence.to_le_bytes());
    bytes.extend_from_slice(&watermark.rows.to_le_bytes());
    seal(key, &mut bytes);
    bytes
}

pub(super) fn watermark(key: &[u8], sealed: &[u8]) -> Result<Watermark, Reason> {
    let body = body(key, sealed, "a watermark")?;
    let parts = body.split_at_checked(8).and_then(|(sequence, rows)| {
        let number = |bytes: &[u8]| Some(u64::from_le_bytes(bytes.try_into().ok()?));
        Some(Watermark { sequence: number(sequence)?, rows: number(rows)? })
    });
    parts.ok_or_else(|| "a watermark is cut off".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_opens_with_its_own_key_only_and_only_unchanged() {
        let mut bytes = b"row".to_vec();
        seal(b"key", &mut bytes);
        assert_eq!(open(b"key", &bytes), Some(&b"row"[..]));
        assert_eq!(open(b"kez", &bytes), None);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(b"key", &damaged), None, "bit {bit}");
        }
        assert_eq!(open(b"key", b"abc"), None, "shorter than any checksum");
    }

    /// Format 1, kept for good.
    #[test]
    fn bytes_of_a_watermark_do_not_change() {
        let watermark = Watermark { sequence: 3, rows: u64::MAX };
        let bytes = watermark_bytes(b"v", watermark);
        let mut expected = vec![1, 3, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([0xFF; 8]);
        assert_eq!(bytes[..17], expected);
        assert_eq!(super::watermark(b"v", &bytes).unwrap(), watermark);
        assert!(super::watermark(b"w", &bytes).unwrap_err().contains("checksum"));
    }
}
