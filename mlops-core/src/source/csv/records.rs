//! Cuts CSV into records and fields (RFC 4180, line ends LF or CRLF).

use std::io::Read;
use std::path::PathBuf;

use crate::source::compression::read_failed;
use crate::source::local::shown;
use crate::{Error, Result};

/// Bytes of one record at the most: a quote that is never closed must not pull a whole file into memory.
pub const RECORD_BYTES_MAX: usize = 16 << 20;

/// Columns that a text file may have: the fields of one record, or the keys that are inferred, at the most.
pub const COLUMNS_MAX: usize = 1 << 16;

const CHUNK_BYTES: usize = 1 << 18;

/// How fields are set apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    pub(super) quote: Option<u8>,
}

/// Where a field lies in its record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Span {
    start: usize,
    end: usize,
    pub(super) quoted: bool,
    /// Quotes inside are doubled.
    pub(super) doubled: bool,
}

impl Span {
    /// The field in the text of its record. Borders lie beside ASCII, so they are borders of characters.
    pub(super) fn of<'a>(&self, record: &'a str) -> &'a str {
        record.get(self.start..self.end).unwrap_or_default()
    }

    /// The quote around this field, if it is quoted.
    pub(super) fn quote(&self, record: &str) -> Option<char> {
        let before = self.start.checked_sub(1).filter(|_| self.quoted)?;
        record.as_bytes().get(before).map(|byte| char::from(*byte))
    }

    pub(super) fn contains(&self, byte: usize) -> bool {
        (self.start..=self.end).contains(&byte)
    }
}

/// One record, as it lies in the buffer.
#[derive(Debug)]
pub(super) struct Record<'a> {
    /// Without the line end.
    pub(super) raw: &'a [u8],
    pub(super) fields: &'a [Span],
    /// Line where it starts, from 1.
    pub(super) line: u64,
    /// Text follows a closing quote, the file ends before one, or there are more fields than [`COLUMNS_MAX`].
    pub(super) malformed: Option<&'static str>,
}

impl Record<'_> {
    /// Whether there is nothing on the line at all.
    pub(super) fn is_blank(&self) -> bool {
        self.raw.is_empty()
    }
}

/// Reads records one after the other, in memory bounded by [`RECORD_BYTES_MAX`].
#[derive(Debug)]
pub(super) struct Records<R> {
    reader: R,
    path: PathBuf,
    dialect: Dialect,
    buffer: Vec<u8>,
    /// What is not used yet: `start..end`.
    start: usize,
    end: usize,
    at_end: bool,
    line: u64,
    fields: Vec<Span>,
}

struct Scanned {
    /// Bytes of the record without its line end.
    record: usize,
    /// Bytes with it.
    taken: usize,
    lines: u64,
    malformed: Option<&'static str>,
}

impl<R: Read> Records<R> {
    /// Reads from `reader`, skipping a byte-order mark.
    pub(super) fn new(reader: R, path: PathBuf, dialect: Dialect) -> Result<Self> {
        let (buffer, fields) = (vec![0; CHUNK_BYTES], Vec::new());
        let mut records = Self { reader, path, dialect, buffer, start: 0, end: 0, at_end: false, line: 1, fields };
        records.refill()?;
        match &records.buffer[..records.end] {
            [0xEF, 0xBB, 0xBF, ..] => records.start = 3,
            [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => {
                return Err(Error::invalid_data(shown(&records.path), "UTF-16 text; convert it to UTF-8"));
            }
            _ => {}
        }
        Ok(records)
    }

    /// Whether nothing is left.
    pub(super) fn is_exhausted(&self) -> bool {
        self.at_end && self.start == self.end
    }

    /// The next record, `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Record<'_>>> {
        let scanned = loop {
            if self.is_exhausted() {
                return Ok(None);
            }
            let bytes = &self.buffer[self.start..self.end];
            if let Some(scanned) = scan(bytes, self.at_end, &self.dialect, &mut self.fields) {
                break scanned;
            }
            if bytes.len() > RECORD_BYTES_MAX {
                return Err(self.too_long());
            }
            self.refill()?;
        };
        if scanned.record > RECORD_BYTES_MAX {
            return Err(self.too_long());
        }
        let (raw_start, line) = (self.start, self.line);
        self.start += scanned.taken;
        self.line += scanned.lines;
        let raw = &self.buffer[raw_start..raw_start + scanned.record];
        Ok(Some(Record { raw, fields: &self.fields, line, malformed: scanned.malformed }))
    }

    fn too_long(&self) -> Error {
        let place = format!("{}, line {}", shown(&self.path), self.line);
        Error::invalid_data(place, format!("a record of more than {RECORD_BYTES_MAX} bytes: is a quote left open?"))
    }

    /// Moves what is left to the front and reads more behind it.
    fn refill(&mut self) -> Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end * 2 > self.buffer.len() {
            self.buffer.resize(self.buffer.len() * 2, 0);
        }
        while self.end < self.buffer.len() {
            match self.reader.read(&mut self.buffer[self.end..]) {
                Ok(0) => {
                    self.at_end = true;
                    break;
                }
                Ok(bytes) => self.end += bytes,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) => return Err(read_failed(&self.path, e)),
            }
        }
        Ok(())
    }
}

/// Cuts the record at the front of `bytes`; `None` when it does not end there and more is to come.
fn scan(bytes: &[u8], at_end: bool, dialect: &Dialect, fields: &mut Vec<Span>) -> Option<Scanned> {
    fields.clear();
    let (mut at, mut lines, mut malformed) = (0, 1, None);
    loop {
        let mut span = Span { start: at, end: at, quoted: false, doubled: false };
        if dialect.quote.is_some() && bytes.get(at).copied() == dialect.quote {
            at = quoted(bytes, at, &mut span, &mut lines);
            if at >= bytes.len() {
                if !at_end {
                    return None;
                }
                if span.end == bytes.len() {
                    malformed = Some("a quote is left open at the end of the file");
                }
            }
        }
        let rest = &bytes[at..];
        let stop = rest.iter().position(|b| *b == dialect.delimiter || *b == b'\n');
        let stop = stop.map(|stop| at + stop).or(at_end.then_some(bytes.len()))?;
        let is_last = bytes.get(stop) != Some(&dialect.delimiter);
        let mut end = stop;
        if is_last && end > at && bytes[end - 1] == b'\r' {
            end -= 1;
        }
        if span.quoted {
            if end > at {
                malformed = Some("text follows a closing quote");
                span = Span { start: span.start - 1, end, quoted: false, doubled: false };
            }
        } else {
            span.end = end;
        }
        if fields.len() < COLUMNS_MAX {
            fields.push(span);
        } else {
            malformed = Some("more than 65536 fields");
        }
        if is_last {
            let taken = (stop + 1).min(bytes.len());
            return Some(Scanned { record: end, taken, lines, malformed });
        }
        at = stop + 1;
    }
}

/// Passes over the quoted field that starts at `at`; gives the position after its closing quote. Where there is none,
/// the span ends with the bytes.
fn quoted(bytes: &[u8], at: usize, span: &mut Span, lines: &mut u64) -> usize {
    let quote = bytes[at];
    let mut position = at + 1;
    *span = Span { start: position, end: bytes.len(), quoted: true, doubled: false };
    loop {
        let rest = &bytes[position..];
        let Some(found) = rest.iter().position(|b| *b == quote || *b == b'\n') else { return bytes.len() };
        position += found + 1;
        if bytes[position - 1] == b'\n' {
            *lines += 1;
        } else if bytes.get(position) == Some(&quote) {
            span.doubled = true;
            position += 1;
        } else {
            span.end = position - 1;
            return position;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a few bytes at a time, so that every border falls everywhere.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
            let n = self.0.len().min(out.len()).min(3);
            out[..n].copy_from_slice(&self.0[..n]);
            self.0 = &self.0[n..];
            Ok(n)
        }
    }

    fn all(text: &str) -> Vec<(u64, Vec<String>, bool)> {
        let dialect = Dialect { delimiter: b',', quote: Some(b'"') };
        let mut records = Records::new(Drip(text.as_bytes()), PathBuf::from("t"), dialect).unwrap();
        let mut found = Vec::new();
        while let Some(record) = records.next().unwrap() {
            let text = std::str::from_utf8(record.raw).unwrap();
            let fields = record.fields.iter().map(|s| {
                let field = s.of(text);
                if s.doubled { field.replace("\"\"", "\"") } else { field.to_owned() }
            });
            found.push((record.line, fields.collect(), record.malformed.is_some()));
        }
        found
    }

    #[track_caller]
    fn check(text: &str, expected: &[(u64, &[&str], bool)]) {
        let expected: Vec<_> = expected
            .iter()
            .map(|(line, fields, bad)| (*line, fields.iter().map(|f| (*f).to_owned()).collect(), *bad))
            .collect();
        assert_eq!(all(text), expected, "{text:?}");
    }

    #[test]
    fn line_ends_of_both_kinds_and_none_at_the_end() {
        check("a,b\r\n1,2\n3,4", &[(1, &["a", "b"], false), (2, &["1", "2"], false), (3, &["3", "4"], false)]);
        check("\u{feff}a,\n", &[(1, &["a", ""], false)]);
        check("\r\n\n", &[(1, &[""], false), (2, &[""], false)]);
        check("a\rb\r\n", &[(1, &["a\rb"], false)]);
    }

    #[test]
    fn quotes_hold_delimiters_line_ends_and_doubled_quotes() {
        check("\"a,\"\"b\",\"x\r\ny\"\r\nz\n", &[(1, &["a,\"b", "x\r\ny"], false), (3, &["z"], false)]);
        check("\"\",\"\"\"\"", &[(1, &["", "\""], false)]);
        check("a\"b,c", &[(1, &["a\"b", "c"], false)]);
    }

    #[test]
    fn broken_quotes_are_marked_and_the_next_record_is_whole() {
        check("\"a\"b,c\nd,e", &[(1, &["\"a\"b", "c"], true), (2, &["d", "e"], false)]);
        check("a,\"open\n1", &[(1, &["a", "open\n1"], true)]);
    }

    #[test]
    fn a_record_that_never_ends_is_refused_in_bounded_memory() {
        let dialect = Dialect { delimiter: b',', quote: Some(b'"') };
        let endless = Read::chain(&b"a\n\""[..], std::io::repeat(b'x'));
        let mut records = Records::new(endless, PathBuf::from("t"), dialect).unwrap();
        assert!(records.next().unwrap().is_some());
        let error = records.next().unwrap_err().to_string();
        assert!(error.contains("line 2"), "{error}");
        assert!(records.buffer.len() <= RECORD_BYTES_MAX * 4);
    }
}
