//! Text that is packed by the ending of its name: `.gz` and `.zst`.

use std::io::{self, BufReader, Cursor, Read, Write};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;
use flate2::write::GzEncoder;

use super::local::shown;
use super::medium::{StandIn, open};
use crate::file::AtomicFile;
use crate::{Error, Result};

const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xB5, 0x2F, 0xFD];

/// How the bytes of a text file are packed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Codec {
    Plain,
    Gzip,
    Zstd,
}

impl Codec {
    /// By the ending of the name, in any case.
    pub(super) fn of(path: &Path) -> Self {
        let ending = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
        match ending.as_deref() {
            Some("gz" | "gzip") => Self::Gzip,
            Some("zst" | "zstd") => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// What a decoder says, as an error about content; what the system says stays what it is.
    fn explain(self, error: io::Error) -> io::Error {
        let ours = error.get_ref().is_some_and(<dyn std::error::Error + Send + Sync>::is::<Error>);
        if self == Self::Plain || ours || error.raw_os_error().is_some() || error.kind() == io::ErrorKind::Interrupted {
            return error;
        }
        let name = if self == Self::Gzip { "gzip" } else { "zstd" };
        let reason = match error.kind() {
            io::ErrorKind::UnexpectedEof => format!("the {name} stream is cut off"),
            _ => format!("not a whole {name} stream: {error}"),
        };
        io::Error::new(io::ErrorKind::InvalidData, reason)
    }
}

/// What a failed read of [`Input`] means.
pub(super) fn read_failed(path: &Path, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::InvalidData => Error::invalid_data(shown(path), error),
        _ => Error::io(path, error),
    }
}

/// Unpacked content of a text file, as a stream: however much comes out, the memory stays the same.
pub(super) struct Input {
    codec: Codec,
    reader: Box<dyn Read + Send>,
}

impl Input {
    /// Opens `path`, or what stands in for it, packed as its name says.
    ///
    /// # Errors
    /// What [`open`] says, and [`Error::InvalidData`] for a plain name on packed content.
    pub(super) fn open(path: &Path, stand_in: &StandIn) -> Result<Self> {
        let codec = Codec::of(path);
        let mut file = open(path, stand_in)?;
        let reader: Box<dyn Read + Send> = match codec {
            Codec::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(1 << 16, file))),
            Codec::Zstd => {
                let decoder = zstd::Decoder::with_buffer(BufReader::with_capacity(1 << 16, file));
                Box::new(decoder.map_err(|e| Error::io(path, e))?)
            }
            Codec::Plain => {
                let head = head_of(&mut file).map_err(|e| Error::io(path, e))?;
                let packed = [(&GZIP_MAGIC[..], "gzip", ".gz"), (&ZSTD_MAGIC, "zstd", ".zst")];
                if let Some((_, name, ending)) = packed.iter().find(|(magic, ..)| head.starts_with(magic)) {
                    let advice = format!("packed with {name}; give it a name that ends in {ending}");
                    return Err(Error::invalid_data(shown(path), advice));
                }
                Box::new(Cursor::new(head).chain(file))
            }
        };
        Ok(Self { codec, reader })
    }
}

/// The first four bytes, or all when there are fewer. Not by seeking back: pipes cannot.
fn head_of(file: &mut dyn Read) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(ZSTD_MAGIC.len());
    file.take(ZSTD_MAGIC.len() as u64).read_to_end(&mut head)?;
    Ok(head)
}

impl Read for Input {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.reader.read(out).map_err(|e| self.codec.explain(e))
    }
}

/// A text file in the making, packed as its name says.
pub(super) enum Output {
    Plain(AtomicFile),
    Gzip(GzEncoder<AtomicFile>),
    Zstd(zstd::Encoder<'static, AtomicFile>),
}

impl Output {
    /// Begins the file at `path`; gzip at level 6, zstd at level 3.
    ///
    /// # Errors
    /// What [`AtomicFile::create`] says.
    pub(super) fn create(path: &Path) -> Result<Self> {
        let file = AtomicFile::create_and_sweep(path)?;
        Ok(match Codec::of(path) {
            Codec::Plain => Self::Plain(file),
            Codec::Gzip => Self::Gzip(GzEncoder::new(file, flate2::Compression::default())),
            Codec::Zstd => {
                Self::Zstd(zstd::Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL).map_err(|e| Error::io(path, e))?)
            }
        })
    }

    pub(super) fn path(&self) -> PathBuf {
        let file = match self {
            Self::Plain(file) => file,
            Self::Gzip(encoder) => encoder.get_ref(),
            Self::Zstd(encoder) => encoder.get_ref(),
        };
        file.path().to_owned()
    }

    /// Makes the content visible and durable; its size on disk in bytes.
    ///
    /// # Errors
    /// [`Error::Io`] when the storage fails.
    pub(super) fn commit(self) -> Result<u64> {
        let path = self.path();
        let file = match self {
            Self::Plain(file) => Ok(file),
            Self::Gzip(encoder) => encoder.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        };
        file.map_err(|e| Error::io(path, e))?.commit()
    }
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Gzip(encoder) => encoder.write(bytes),
            Self::Zstd(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(file) => file.flush(),
            Self::Gzip(encoder) => encoder.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, RecordBatch};

    use super::*;
    use crate::Dataset;
    use crate::source::{
        CsvSink, CsvSource, DataSink, DataSource, JsonSink, JsonSource, RECORD_BYTES_MAX, ScanRequest,
    };

    fn numbers(rows: i64) -> Dataset {
        let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
        Dataset::from_batches([RecordBatch::try_from_iter_with_nullable([("id", ids, true)]).unwrap()]).unwrap()
    }

    fn read(path: &Path) -> Result<Dataset> {
        let source: Arc<dyn DataSource> = if path.to_str().is_some_and(|p| p.contains(".csv")) {
            Arc::new(CsvSource::open(path)?)
        } else {
            Arc::new(JsonSource::open(path)?)
        };
        Dataset::collect(source.scan(&ScanRequest::all())?)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn packed_text_comes_back_and_is_smaller() {
        let folder = tempfile::tempdir().unwrap();
        let data = numbers(5_000);
        for name in ["a.csv.gz", "a.csv.ZST", "a.jsonl.gz", "a.jsonl.zst"] {
            let path = folder.path().join(name);
            let sink: Box<dyn DataSink> =
                if name.contains("csv") { Box::new(CsvSink::new(&path)) } else { Box::new(JsonSink::new(&path)) };
            let written = data.write_to(sink.as_ref()).unwrap();
            assert_eq!(written.size_bytes, fs::metadata(&path).unwrap().len());
            assert!(written.size_bytes < 15_000, "{name}: {}", written.size_bytes);
            assert_eq!(read(&path).unwrap().digest().unwrap(), data.digest().unwrap(), "{name}");
        }
    }

    #[test]
    fn members_and_frames_one_after_the_other_are_one_text() {
        let folder = tempfile::tempdir().unwrap();
        let (gz, zst) = (folder.path().join("a.csv.gz"), folder.path().join("a.csv.zst"));
        fs::write(&gz, [gzip(b"id\n0\n1"), gzip(b""), gzip(b"2\n3\n")].concat()).unwrap();
        let frame = |bytes: &[u8]| zstd::encode_all(bytes, 1).unwrap();
        fs::write(&zst, [frame(b"id\n0\n1"), frame(b"2\n3\n")].concat()).unwrap();
        let ids = |path| read(path).unwrap().to_batch().unwrap().column(0).clone();
        let expected: ArrayRef = Arc::new(Int64Array::from(vec![0, 12, 3]));
        assert_eq!(&ids(&gz), &expected);
        assert_eq!(&ids(&zst), &expected);
    }

    #[test]
    fn a_packed_file_that_is_cut_anywhere_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let text: String =
            std::iter::once("id\n".to_owned()).chain((0..200).map(|i| format!("{}\n", i * 7919))).collect();
        let whole = [("a.csv.gz", gzip(text.as_bytes())), ("a.csv.zst", zstd::encode_all(text.as_bytes(), 3).unwrap())];
        for (name, bytes) in whole {
            let path = folder.path().join(name);
            for length in 0..bytes.len() {
                fs::write(&path, &bytes[..length]).unwrap();
                let error = read(&path).unwrap_err();
                let named = matches!(&error, Error::InvalidData { what, .. } if what.contains(name));
                assert!(named, "{length} of {}: {error:?}", bytes.len());
            }
            fs::write(&path, [bytes, b"no stream".to_vec()].concat()).unwrap();
            assert!(matches!(read(&path), Err(Error::InvalidData { .. })), "{name} with more behind it");
        }
    }

    #[test]
    fn a_name_that_says_otherwise_than_the_content_is_told_so() {
        let folder = tempfile::tempdir().unwrap();
        for (name, bytes, word) in [
            ("a.csv", gzip(b"id\n1\n"), ".gz"),
            ("b.jsonl", zstd::encode_all(&b"{}"[..], 1).unwrap(), ".zst"),
            ("c.csv.gz", b"id\n1\n".to_vec(), "gzip"),
            ("d.csv.zst", b"id\n1\n".to_vec(), "zstd"),
        ] {
            let path = folder.path().join(name);
            fs::write(&path, bytes).unwrap();
            let error = read(&path).unwrap_err();
            assert!(matches!(&error, Error::InvalidData { reason, .. } if reason.contains(word)), "{name}: {error:?}");
        }
    }

    #[test]
    fn a_bomb_is_refused_at_the_first_record_that_is_too_long() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bomb.csv.zst");
        let mut encoder = zstd::Encoder::new(fs::File::create(&path).unwrap(), 1).unwrap();
        encoder.write_all(b"id\n").unwrap();
        for _ in 0..(RECORD_BYTES_MAX >> 20) + 2 {
            encoder.write_all(&vec![b'1'; 1 << 20]).unwrap();
        }
        encoder.finish().unwrap();
        assert!(fs::metadata(&path).unwrap().len() < 10_000);
        assert!(matches!(read(&path), Err(Error::InvalidData { reason, .. }) if reason.contains("more than")));
    }
}
