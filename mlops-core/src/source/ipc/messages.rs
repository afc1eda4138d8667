//! The messages of an IPC file, one after the other, with every length checked before memory is taken for it.
//!
//! File format: `ARROW1`, padding, messages, footer, its length, `ARROW1`; the footer lists where messages are. Stream
//! format: the messages, then an end mark (length 0) or the end of the file. A message is `FFFFFFFF` (missing in files from before
//! 2019), the length of the header, the header, the body. Source: Arrow columnar format 1.5, "Serialization and IPC".

use std::io::{ErrorKind, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::buffer::Buffer;
use arrow::datatypes::SchemaRef;
use arrow::ipc::convert::fb_to_schema;
use arrow::ipc::{Block, Message, MessageHeader, MetadataVersion, root_as_footer, root_as_message};

use crate::source::guard::guard;
use crate::source::local::shown;
use crate::source::medium::{ReadSeek, StandIn, open};
use crate::{Error, Result};

const MAGIC: &[u8; 6] = b"ARROW1";
const CONTINUATION: [u8; 4] = [0xFF; 4];

/// Length and magic behind the footer.
const TRAILER_BYTES: u64 = 10;

/// Bytes of one header or footer at the most: 65,536 columns take a tenth of it.
const HEADER_BYTES_MAX: u64 = 64 << 20;

/// Bytes that the packed buffers of one message may unpack to.
const UNPACKED_BYTES_MAX: u64 = 2 << 30;

/// Rows of one record batch: what the format recommends to stay below.
const BATCH_ROWS_MAX: i64 = i32::MAX as i64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Dictionary,
    Batch,
}

/// One message, whole.
pub(super) struct Whole {
    pub(super) kind: Kind,
    pub(super) block: Block,
    pub(super) bytes: Buffer,
    pub(super) rows: u64,
}

/// An open IPC file.
pub(super) struct Messages {
    path: PathBuf,
    file: Box<dyn ReadSeek>,
    /// Bytes of the file.
    size: u64,
    schema: SchemaRef,
    version: MetadataVersion,
    rest: Rest,
}

enum Rest {
    /// What the footer lists, turned around.
    Listed(Vec<(Kind, Block)>),
    /// Where the next message of a stream starts; `None` behind its end.
    Stream(Option<u64>),
}

impl Messages {
    /// Opens `path` and reads its schema.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Io`] and [`Error::InvalidData`].
    pub(super) fn open(path: &Path, stand_in: &StandIn) -> Result<Self> {
        let mut file = open(path, stand_in)?;
        let size = file.seek(SeekFrom::End(0)).map_err(|e| Error::io(path, e))?;
        let mut reader = Reader { path, file: &mut *file, size };
        let head = reader.bytes(0, size.min(MAGIC.len() as u64), "its first bytes")?;
        let (schema, version, rest) = if head == MAGIC { reader.footer()? } else { reader.stream_schema()? };
        Ok(Self { path: path.to_owned(), file, size, schema, version, rest })
    }

    pub(super) fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    pub(super) fn version(&self) -> MetadataVersion {
        self.version
    }

    /// The next message with rows or a dictionary, `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Whole>> {
        let mut reader = Reader { path: &self.path, file: &mut *self.file, size: self.size };
        match &mut self.rest {
            Rest::Listed(blocks) => match blocks.pop() {
                None => Ok(None),
                Some((kind, block)) => reader.listed(kind, block).map(Some),
            },
            Rest::Stream(at) => {
                let Some(start) = at.take() else { return Ok(None) };
                let Some(header) = reader.header(start)? else { return Ok(None) };
                let (whole, end) = reader.whole(start, header)?;
                *at = Some(end);
                Ok(Some(whole))
            }
        }
    }
}

/// Reads pieces of a file that must lie inside of it.
struct Reader<'a> {
    path: &'a Path,
    file: &'a mut dyn ReadSeek,
    size: u64,
}

/// Bytes of a header, with the prefix before it.
struct Header {
    bytes: Vec<u8>,
    prefix: usize,
}

impl Reader<'_> {
    fn damaged(&self, reason: impl std::fmt::Display) -> Error {
        Error::invalid_data(shown(self.path), reason)
    }

    fn bytes(&mut self, start: u64, length: u64, what: &str) -> Result<Vec<u8>> {
        if start.checked_add(length).is_none_or(|end| end > self.size) {
            return Err(self.damaged(format!("cut off: {what} would end behind the file")));
        }
        let mut bytes = vec![0; usize::try_from(length).map_err(|e| self.damaged(e))?];
        let read = self.file.seek(SeekFrom::Start(start)).and_then(|_| self.file.read_exact(&mut bytes));
        match read {
            Err(e) if e.kind() == ErrorKind::UnexpectedEof => Err(self.damaged("it became shorter while it was read")),
            Err(e) => Err(Error::io(self.path, e)),
            Ok(()) => Ok(bytes),
        }
    }

    fn footer(&mut self) -> Result<(SchemaRef, MetadataVersion, Rest)> {
        let trailer_at = self.size.saturating_sub(TRAILER_BYTES).max(MAGIC.len() as u64);
        let trailer = self.bytes(trailer_at, TRAILER_BYTES, "its trailer")?;
        let (length, magic) = trailer.split_at(4);
        if magic != MAGIC {
            return Err(self.damaged("cut off: it begins as an Arrow file and does not end as one"));
        }
        let length = u64::from(u32::from_le_bytes(length.try_into().unwrap_or_default()));
        let room = trailer_at - MAGIC.len() as u64;
        if length > room || length > HEADER_BYTES_MAX {
            return Err(self.damaged(format!("a footer of {length} bytes in a file of {}", self.size)));
        }
        let bytes = self.bytes(trailer_at - length, length, "its footer")?;
        let footer = root_as_footer(&bytes).map_err(|e| self.damaged(format!("its footer is none: {e}")))?;
        let Some(stored) = footer.schema() else { return Err(self.damaged("its footer has no schema")) };
        let schema = self.schema(stored)?;
        let mut blocks = Vec::new();
        for (kind, list) in [(Kind::Dictionary, footer.dictionaries()), (Kind::Batch, footer.recordBatches())] {
            blocks.extend(list.iter().flatten().map(|block| (kind, *block)));
        }
        blocks.reverse();
        Ok((schema, footer.version(), Rest::Listed(blocks)))
    }

    fn stream_schema(&mut self) -> Result<(SchemaRef, MetadataVersion, Rest)> {
        let not_ipc = "neither an Arrow file nor an Arrow stream";
        let header = self.header(0).map_err(|_| self.damaged(not_ipc))?;
        let Some(header) = header else { return Err(self.damaged(not_ipc)) };
        let message = root_as_message(&header.bytes[header.prefix..]).map_err(|_| self.damaged(not_ipc))?;
        let stored =
            message.header_as_schema().ok_or_else(|| self.damaged("a stream that does not begin with a schema"))?;
        let end = (header.bytes.len() as u64).checked_add_signed(message.bodyLength());
        let end = end.filter(|end| *end <= self.size && message.bodyLength() >= 0);
        let end = end.ok_or_else(|| self.damaged("cut off in its schema"))?;
        Ok((self.schema(stored)?, message.version(), Rest::Stream(Some(end))))
    }

    fn schema(&self, stored: arrow::ipc::Schema<'_>) -> Result<SchemaRef> {
        if !stored.endianness().equals_to_target_endianness() {
            return Err(self.damaged("its numbers have the other byte order"));
        }
        guard(self.path, || Ok::<_, Error>(Arc::new(fb_to_schema(stored))))
    }

    /// The header that starts at `start`; `None` at the end of a stream.
    fn header(&mut self, start: u64) -> Result<Option<Header>> {
        if start == self.size {
            return Ok(None);
        }
        let mut prefix = self.bytes(start, 4, "the length of a header")?;
        if prefix == CONTINUATION {
            prefix.extend(self.bytes(start + 4, 4, "the length of a header")?);
        }
        let length = prefix.last_chunk().map_or(0, |length| u32::from_le_bytes(*length));
        if length == 0 {
            return Ok(None);
        }
        let (at, length) = (start + prefix.len() as u64, u64::from(length));
        if length > HEADER_BYTES_MAX {
            return Err(self.damaged(format!("a header of {length} bytes")));
        }
        let (prefix_bytes, mut bytes) = (prefix.len(), prefix);
        bytes.extend(self.bytes(at, length, "a header")?);
        Ok(Some(Header { bytes, prefix: prefix_bytes }))
    }

    /// A message that the footer lists.
    fn listed(&mut self, kind: Kind, block: Block) -> Result<Whole> {
        let start = u64::try_from(block.offset()).map_err(|_| self.damaged("a message before its start"))?;
        let Some(header) = self.header(start)? else { return Err(self.damaged("an end mark in place of a message")) };
        if i64::from(block.metaDataLength()) != header.bytes.len() as i64 {
            return Err(self.damaged("a header is not as long as the footer says"));
        }
        let (whole, end) = self.whole(start, header)?;
        if whole.kind != kind || start.checked_add(whole.bytes.len() as u64) != Some(end) {
            return Err(self.damaged("a message is not what the footer says"));
        }
        if block.bodyLength() != whole.block.bodyLength() {
            return Err(self.damaged("a body is not as long as the footer says"));
        }
        Ok(whole)
    }

    /// Header and body of the message that starts at `start`, and where it ends.
    fn whole(&mut self, start: u64, header: Header) -> Result<(Whole, u64)> {
        let Header { mut bytes, prefix } = header;
        let header_bytes = bytes.len();
        let (body, facts) = {
            let message =
                root_as_message(&bytes[prefix..]).map_err(|e| self.damaged(format!("a header is none: {e}")))?;
            let body = u64::try_from(message.bodyLength()).map_err(|_| self.damaged("a body of negative length"))?;
            let facts = facts(&message, body).map_err(|reason| self.damaged(reason))?;
            (body, facts)
        };
        let length = bytes.len() as u64;
        bytes.extend(self.bytes(start + length, body, "the body of a message")?);
        facts.check_packed(&bytes[header_bytes..]).map_err(|reason| self.damaged(reason))?;
        let block_header = i32::try_from(header_bytes).map_err(|e| self.damaged(e))?;
        let block = Block::new(0, block_header, body as i64);
        let whole = Whole { kind: facts.kind, block, bytes: Buffer::from_vec(bytes), rows: facts.rows };
        Ok((whole, start + length + body))
    }
}

/// What a header says of the body.
pub(super) struct Facts {
    pub(super) kind: Kind,
    pub(super) rows: u64,
    /// Start and length of each buffer, if they are packed.
    pub(super) packed: Vec<(usize, usize)>,
}

/// What the header says, if it can be true of a body of `body` bytes.
fn facts(message: &Message<'_>, body: u64) -> Result<Facts, String> {
    let (kind, batch) = match message.header_type() {
        MessageHeader::RecordBatch => (Kind::Batch, message.header_as_record_batch()),
        MessageHeader::DictionaryBatch => {
            (Kind::Dictionary, message.header_as_dictionary_batch().and_then(|dictionary| dictionary.data()))
        }
        other => return Err(format!("a message of the kind {other:?} where rows should be")),
    };
    let batch = batch.ok_or("a message without its content")?;
    let rows = u64::try_from(batch.length()).ok().filter(|_| batch.length() <= BATCH_ROWS_MAX);
    let rows = rows.ok_or_else(|| format!("a record batch of {} rows", batch.length()))?;
    let mut packed = Vec::new();
    for buffer in batch.buffers().iter().flatten() {
        let (start, length) = (u64::try_from(buffer.offset()), u64::try_from(buffer.length()));
        let (Ok(start), Ok(length)) = (start, length) else {
            return Err("a buffer of negative place or length".into());
        };
        if start.checked_add(length).is_none_or(|end| end > body) {
            return Err("a buffer would end behind its message".into());
        }
        if batch.compression().is_some() {
            packed.push((start as usize, length as usize));
        }
    }
    Ok(Facts { kind, rows, packed })
}

impl Facts {
    /// Checks what the packed buffers of `body` say they unpack to: eight bytes before each, -1 where it is not packed.
    pub(super) fn check_packed(&self, body: &[u8]) -> Result<(), String> {
        let mut total = 0_u64;
        for (start, length) in self.packed.iter().filter(|(_, length)| *length > 0) {
            let said = body.get(*start..start + length).and_then(|buffer| buffer.first_chunk::<8>());
            let said = said.map(|said| i64::from_le_bytes(*said)).ok_or("a packed buffer without its length")?;
            total = total.saturating_add(u64::try_from(said).unwrap_or(0));
        }
        if total > UNPACKED_BYTES_MAX {
            return Err(format!("a record batch that would unpack to {total} bytes"));
        }
        Ok(())
    }
}
