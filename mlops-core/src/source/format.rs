//! The format of a file by the ending of its name: one door in, one door out.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::local::shown;
use super::{
    CsvSink, CsvSource, DataSink, DataSource, FilesSource, IpcLayout, IpcSink, IpcSource, JsonSink, JsonSource,
    ParquetSink, ParquetSource,
};
use crate::{Error, Result};

/// Endings of a second name after that of a text format: packed text.
const PACKED: [&str; 4] = ["gz", "gzip", "zst", "zstd"];

/// What [`FileFormat::of`] wants of a name.
const ENDINGS: &str = "a file name that ends in .csv, .tsv, .jsonl, .ndjson (each also with .gz or .zst), .parquet, .arrow, \
                       .arrows, .ipc or .feather";

/// A format of data files that the ending of a name tells.
///
/// | format | endings |
/// |---|---|
/// | [`Csv`](Self::Csv) | `.csv`, with `.gz` or `.zst` behind it when packed |
/// | [`Tsv`](Self::Tsv) | `.tsv`, `.tab`, likewise |
/// | [`JsonLines`](Self::JsonLines) | `.jsonl`, `.ndjson`, likewise |
/// | [`Parquet`](Self::Parquet) | `.parquet`, `.pq` |
/// | [`ArrowIpc`](Self::ArrowIpc) | `.arrow`, `.ipc`, `.feather`; `.arrows` for the stream layout |
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FileFormat {
    /// Comma-separated values.
    Csv,
    /// Values separated by tabs.
    Tsv,
    /// One JSON object a line.
    JsonLines,
    /// Apache Parquet.
    Parquet,
    /// Arrow IPC, Feather 2.
    ArrowIpc,
}

impl FileFormat {
    /// The format that the name of `path` says, in letters of any case.
    ///
    /// # Errors
    /// [`Error::Invalid`] for any other ending.
    pub fn of(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let name = path.file_name().and_then(|name| name.to_str()).map(str::to_ascii_lowercase).unwrap_or_default();
        let unpacked = name.rsplit_once('.').filter(|(_, ending)| PACKED.contains(ending)).map(|(rest, _)| rest);
        let ending = unpacked.unwrap_or(&name).rsplit_once('.').map(|(_, ending)| ending);
        match ending {
            Some("csv") => Ok(Self::Csv),
            Some("tsv" | "tab") => Ok(Self::Tsv),
            Some("jsonl" | "ndjson") => Ok(Self::JsonLines),
            Some("parquet" | "pq") if unpacked.is_none() => Ok(Self::Parquet),
            Some("arrow" | "arrows" | "ipc" | "feather") if unpacked.is_none() => Ok(Self::ArrowIpc),
            _ => Err(Error::invalid("path", shown(path), ENDINGS)),
        }
    }

    /// The ending of names of this format, without a dot.
    pub fn ending(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::JsonLines => "jsonl",
            Self::Parquet => "parquet",
            Self::ArrowIpc => "arrow",
        }
    }

    /// The file at `path` as a source of this format, whatever its name.
    ///
    /// # Errors
    /// What the source's own `open` says.
    pub fn source(self, path: impl AsRef<Path>) -> Result<Arc<dyn DataSource>> {
        let path = path.as_ref();
        Ok(match self {
            Self::Csv => Arc::new(CsvSource::builder(path).sniff().build()?),
            Self::Tsv => Arc::new(CsvSource::builder(path).delimiter(b'\t').build()?),
            Self::JsonLines => Arc::new(JsonSource::open(path)?),
            Self::Parquet => Arc::new(ParquetSource::open(path)?),
            Self::ArrowIpc => Arc::new(IpcSource::open(path)?),
        })
    }

    /// The file at `path` as a sink of this format, whatever its name; packed text by the ending.
    ///
    /// # Errors
    /// None at present; reserved for formats that can only be read.
    pub fn sink(self, path: impl AsRef<Path>) -> Result<Box<dyn DataSink>> {
        let path = path.as_ref();
        let is_stream = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("arrows"));
        Ok(match self {
            Self::Csv => Box::new(CsvSink::new(path)),
            Self::Tsv => Box::new(CsvSink::builder(path).delimiter(b'\t').build()?),
            Self::JsonLines => Box::new(JsonSink::new(path)),
            Self::Parquet => Box::new(ParquetSink::new(path)),
            Self::ArrowIpc if is_stream => Box::new(IpcSink::builder(path).layout(IpcLayout::Stream).build()?),
            Self::ArrowIpc => Box::new(IpcSink::new(path)),
        })
    }
}

impl fmt::Display for FileFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Csv => "csv",
            Self::Tsv => "tsv",
            Self::JsonLines => "json_lines",
            Self::Parquet => "parquet",
            Self::ArrowIpc => "arrow_ipc",
        })
    }
}

/// Whatever data there is at `path`: a file by the ending of its name, a folder or a pattern with `*`, `?` or `[…]` as
/// [`FilesSource`]. The dialect of a `.csv` file is found by looking at it; where more must be said, use the source of the
/// format.
///
/// # Errors
/// [`Error::Invalid`] for an ending that says no format, [`Error::NotFound`] when there is nothing, and what the source's own
/// `open` says.
///
/// # Examples
/// ```
/// use mlops_core::source::{self, ScanRequest};
///
/// let folder = tempfile::tempdir()?;
/// std::fs::write(folder.path().join("a.csv"), "offer;price\n1;9.5\n")?;
/// let offers = source::open(folder.path().join("a.csv"))?;
/// assert!(offers.schema()?.names().eq(["offer", "price"]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn open(path: impl AsRef<Path>) -> Result<Arc<dyn DataSource>> {
    let path = path.as_ref();
    if path.is_dir() || (!path.exists() && path.to_str().is_some_and(super::files::is_pattern)) {
        return Ok(Arc::new(FilesSource::open(path)?));
    }
    FileFormat::of(path)?.source(path)
}

/// The file at `path` as a sink, in the format that the ending of its name says. Folders are written by
/// [`FilesSink`](super::FilesSink).
///
/// # Errors
/// [`Error::Invalid`] for an ending that says no format.
pub fn create(path: impl AsRef<Path>) -> Result<Box<dyn DataSink>> {
    FileFormat::of(path.as_ref())?.sink(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endings_say_the_format_and_others_are_refused() {
        let cases = [
            ("a.csv", FileFormat::Csv),
            ("a.b.CSV.GZ", FileFormat::Csv),
            ("a.tsv.zst", FileFormat::Tsv),
            ("a.ndjson", FileFormat::JsonLines),
            ("x/a.parquet", FileFormat::Parquet),
            ("a.feather", FileFormat::ArrowIpc),
            (".jsonl", FileFormat::JsonLines),
        ];
        for (path, format) in cases {
            assert_eq!(FileFormat::of(path).unwrap(), format, "{path}");
            assert_eq!(FileFormat::of(format!("a.{}", format.ending())).unwrap(), format);
        }
        for path in ["", "/", "a", "csv", "a.json", "a.xlsx", "a.parquet.gz", "a.gz", "a.csv.gz.gz", "a.csv/.."] {
            assert!(matches!(FileFormat::of(path), Err(Error::Invalid { setting: "path", .. })), "{path}");
        }
    }
}
