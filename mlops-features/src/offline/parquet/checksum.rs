//! Checksums of history files, for Parquet's writers keep none: a flipped bit would be another value.
//!
//! The footer carries, under [`KEY`], the CRC-32C of itself and of each column chunk, row group by row group:
//! `crc32c:<of the footer>:<of a chunk>…`, eight hexadecimal digits each. The CRC of the footer is that of all bytes from its
//! beginning to the end of the file, with zeros where it stands itself. A file without them is read as it is: it was written
//! before they were, or by others.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::Path;

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ArrowReaderMetadata;
use parquet::file::metadata::{KeyValue, RowGroupMetaData};

use crate::error::{Core, Result};

const KEY: &str = "mlops.checksums";

/// What a value begins with; no name holds a colon, so nothing else in a footer does.
const MARK: &[u8] = b"crc32c:";

/// Hexadecimal digits of a CRC.
const DIGITS: usize = 8;

/// What stands in the place of the footer's own CRC while it is computed.
const BLANK: &[u8; DIGITS] = b"00000000";

/// Bytes that are read at a time.
const BUFFER_BYTES: usize = 1 << 18;

/// What follows the footer: its length in four bytes, and a mark of four.
pub(super) const TAIL_BYTES: usize = 8;

/// The bytes of a file from the beginning of its footer to its end, and where they begin.
///
/// # Errors
/// `Core(Corrupt)` when the file is too short for the footer that it claims.
pub(super) fn footer_bytes(mut file: &File, path: &Path) -> Result<(u64, Vec<u8>)> {
    let io = |e| Core::io(path, e);
    let too_short = || Core::corrupt(path.display().to_string(), "it is too short for its footer");
    let end = file.metadata().map_err(io)?.len();
    let tail = end.checked_sub(TAIL_BYTES as u64).ok_or_else(too_short)?;
    file.seek(SeekFrom::Start(tail)).map_err(io)?;
    let mut length = [0; 4];
    file.read_exact(&mut length).map_err(io)?;
    let start = tail.checked_sub(u64::from(u32::from_le_bytes(length))).ok_or_else(too_short)?;
    file.seek(SeekFrom::Start(start)).map_err(io)?;
    let mut bytes = vec![0; usize::try_from(end - start).map_err(|_| too_short())?];
    file.read_exact(&mut bytes).map_err(io)?;
    Ok((start, bytes))
}

/// Where the CRC of the footer stands among its bytes.
fn place(footer: &[u8]) -> Option<usize> {
    // From the end, where it is: before it stand the footer's row groups, which may be long.
    let at = footer.windows(MARK.len()).rposition(|bytes| bytes == MARK)? + MARK.len();
    (footer.len() - at >= DIGITS).then_some(at)
}

fn of_footer(footer: &[u8], at: usize) -> u32 {
    let blanked = crc32c::crc32c_append(crc32c::crc32c(&footer[..at]), BLANK);
    crc32c::crc32c_append(blanked, &footer[at + DIGITS..])
}

/// Refuses a footer that is not the one that was written.
///
/// # Errors
/// `Core(Corrupt)` naming the file.
pub(super) fn check_footer(file: &File, path: &Path) -> Result<()> {
    let (_, footer) = footer_bytes(file, path)?;
    let Some(at) = place(&footer) else { return Ok(()) };
    if format!("{:08x}", of_footer(&footer, at)).as_bytes() == &footer[at..at + DIGITS] {
        return Ok(());
    }
    Err(Core::corrupt(path.display().to_string(), "the checksum of its footer does not fit").into())
}

/// The CRC of each column chunk of a file, row group by row group.
#[derive(Debug)]
pub(super) struct Checksums(Option<Vec<u32>>);

impl Checksums {
    /// Those that a footer tells.
    ///
    /// # Errors
    /// `Core(Corrupt)` when they are not one per column chunk.
    pub(super) fn read(footer: &ArrowReaderMetadata, path: &Path) -> Result<Self> {
        let metadata = footer.metadata();
        let mut pairs = metadata.file_metadata().key_value_metadata().into_iter().flatten();
        let Some(told) = pairs.find(|pair| pair.key == KEY) else { return Ok(Self(None)) };
        let chunks: usize = metadata.row_groups().iter().map(RowGroupMetaData::num_columns).sum();
        let all = told.value.as_deref().and_then(parse).filter(|all| all.len() == chunks);
        let damaged = || Core::corrupt(path.display().to_string(), "its checksums are not those of its column chunks");
        Ok(Self(Some(all.ok_or_else(damaged)?)))
    }

    /// Refuses row group `group` when a column of `mask` in it is not what was written.
    ///
    /// # Errors
    /// `Core(Corrupt)` naming the file and the column.
    pub(super) fn check(
        &self,
        file: &File,
        path: &Path,
        footer: &ArrowReaderMetadata,
        group: usize,
        mask: &ProjectionMask,
    ) -> Result<()> {
        let Some(all) = &self.0 else { return Ok(()) };
        let groups = footer.metadata().row_groups();
        let first: usize = groups[..group].iter().map(RowGroupMetaData::num_columns).sum();
        let mut buffer = Vec::new();
        for (at, column) in groups[group].columns().iter().enumerate().filter(|(at, _)| mask.leaf_included(*at)) {
            if of_chunk(file, path, column.byte_range(), &mut buffer)? != all[first + at] {
                let reason = format!("the checksum of column `{}` does not fit", column.column_path().string());
                return Err(Core::corrupt(path.display().to_string(), reason).into());
            }
        }
        Ok(())
    }
}

fn parse(text: &str) -> Option<Vec<u32>> {
    let digits = text.strip_prefix(std::str::from_utf8(MARK).ok()?)?.as_bytes().get(DIGITS + 1..)?;
    let crc = |digits: &[u8]| u32::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok();
    digits.len().is_multiple_of(DIGITS).then(|| digits.chunks(DIGITS).map(crc).collect())?
}

/// The CRC of a stretch of `file`; `buffer` grows to what it needs at most.
fn of_chunk(mut file: &File, path: &Path, (start, length): (u64, u64), buffer: &mut Vec<u8>) -> Result<u32> {
    let io = |e| Core::io(path, e);
    file.seek(SeekFrom::Start(start)).map_err(io)?;
    let (mut crc, mut left) = (0, length);
    while left > 0 {
        let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(BUFFER_BYTES);
        if buffer.len() < wanted {
            buffer.resize(wanted, 0);
        }
        let part = &mut buffer[..wanted];
        file.read_exact(part).map_err(|e| match e.kind() {
            ErrorKind::UnexpectedEof => Core::corrupt(path.display().to_string(), "it ends before its last column"),
            _ => io(e),
        })?;
        crc = crc32c::crc32c_append(crc, part);
        left -= part.len() as u64;
    }
    Ok(crc)
}

/// What the footer of `file` is to say of the row groups that were written to it. Leaves the file at its end.
///
/// # Errors
/// `Core(Io)` when it cannot be read back.
pub(super) fn told(mut file: &File, path: &Path, groups: &[RowGroupMetaData]) -> Result<KeyValue> {
    let mut buffer = Vec::new();
    let chunks = groups.iter().flat_map(RowGroupMetaData::columns);
    let crcs = chunks.map(|chunk| Ok(format!("{:08x}", of_chunk(file, path, chunk.byte_range(), &mut buffer)?)));
    let crcs = crcs.collect::<Result<String>>()?;
    let text = format!("{}{}:{crcs}", String::from_utf8_lossy(MARK), String::from_utf8_lossy(BLANK));
    file.seek(SeekFrom::End(0)).map_err(|e| Core::io(path, e))?;
    Ok(KeyValue::new(KEY.to_owned(), text))
}

/// Puts the CRC of the footer where the footer has room for it.
///
/// # Errors
/// `Core(Io)` when the file cannot be read or written.
pub(super) fn seal(mut file: &File, path: &Path) -> Result<()> {
    let (start, footer) = footer_bytes(file, path)?;
    let Some(at) = place(&footer) else { return Ok(()) };
    let io = |e| Core::io(path, e);
    file.seek(SeekFrom::Start(start + at as u64)).map_err(io)?;
    Ok(file.write_all(format!("{:08x}", of_footer(&footer, at)).as_bytes()).map_err(io)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_read_as_they_were_told_and_nothing_else_is() {
        assert_eq!(parse("crc32c:00000000:"), Some(vec![]));
        assert_eq!(parse("crc32c:89abcdef:0000000112345678"), Some(vec![1, 0x1234_5678]));
        for text in ["", "crc32c:", "crc32c:00000000", "crc32c:00000000:1", "crc32c:00000000:0000000g", "crc:00000000:"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_checksum_of_a_footer_leaves_itself_out() {
        let footer = |crc: &str| format!("before crc32c:{crc}:after").into_bytes();
        let at = place(&footer("00000000")).unwrap();
        assert_eq!(of_footer(&footer("00000000"), at), crc32c::crc32c(&footer("00000000")));
        assert_eq!(of_footer(&footer("deadbeef"), at), crc32c::crc32c(&footer("00000000")));
        assert_eq!(place(b"crc32c:0000000"), None, "cut off");
    }
}
