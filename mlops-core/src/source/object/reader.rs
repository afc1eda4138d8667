//! The bytes of an object, block by block.

use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path as Key;

use super::remote::{Found, Pending, Remote};
use crate::source::SourceInfo;
use crate::source::medium::{Medium, ReadSeek};
use crate::time::EventTime;
use crate::{Error, Result};

/// Bytes that are asked for at once. Two such blocks are in memory: one that is read and the next one.
const BLOCK_BYTES: u64 = 8 << 20;

/// One object of a store.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) remote: Arc<Remote>,
    pub(super) key: Key,
}

impl Object {
    /// The URL, as it stands in messages.
    pub(super) fn path(&self) -> PathBuf {
        self.remote.url_of(&self.key).into()
    }

    pub(super) fn find(&self) -> Result<Found> {
        self.remote.head(&self.key)
    }
}

impl Medium for Object {
    fn open(&self) -> Result<Box<dyn ReadSeek>> {
        Ok(Box::new(Blocks::new(self.clone(), self.find()?)))
    }

    fn info(&self, format: &str) -> Result<SourceInfo> {
        let meta = self.find()?.meta;
        let modified = EventTime::from_micros(meta.last_modified.timestamp_micros());
        let known = SourceInfo::new(format, self.remote.url_of(&self.key));
        Ok(SourceInfo { size_bytes: Some(meta.size), modified: Some(modified), ..known })
    }
}

/// Reads an object from any place on, one block ahead.
#[derive(Debug)]
struct Blocks {
    object: Object,
    found: Found,
    position: u64,
    /// Where the block at hand starts, and its bytes.
    start: u64,
    block: Bytes,
    /// Where the block that is under way starts.
    pending: Option<(u64, Pending)>,
}

impl Blocks {
    fn new(object: Object, found: Found) -> Self {
        Self { object, found, position: 0, start: 0, block: Bytes::new(), pending: None }
    }

    fn ask(&self, start: u64) -> Result<Pending> {
        let end = start.saturating_add(BLOCK_BYTES).min(self.found.meta.size);
        self.object.remote.start_range(&self.object.key, &self.found, start..end)
    }

    /// Makes the block that holds the position the one at hand. The position must lie within the object.
    fn advance(&mut self) -> Result<()> {
        let pending = match self.pending.take() {
            Some((start, pending)) if start == self.position => pending,
            _ => self.ask(self.position)?,
        };
        // Only who reads on wants more: whoever jumps would wait for what is thrown away.
        let reads_on = self.position == self.start + self.block.len() as u64;
        self.block = pending.get()?;
        self.start = self.position;
        let next = self.start + self.block.len() as u64;
        if reads_on && next < self.found.meta.size {
            self.pending = Some((next, self.ask(next)?));
        }
        Ok(())
    }

    fn rest(&self) -> &[u8] {
        let within = self.position.checked_sub(self.start).and_then(|at| usize::try_from(at).ok());
        within.and_then(|at| self.block.get(at..)).unwrap_or_default()
    }
}

impl Read for Blocks {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if self.position >= self.found.meta.size || out.is_empty() {
            return Ok(0);
        }
        if self.rest().is_empty() {
            self.advance().map_err(io::Error::other)?;
        }
        let rest = self.rest();
        let read = rest.len().min(out.len());
        out[..read].copy_from_slice(&rest[..read]);
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Blocks {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let target = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.found.meta.size.checked_add_signed(by),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
        };
        self.position = target.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}

/// The error of the store that a reader of its bytes has wrapped, or `error` itself.
pub(super) fn unwrapped(error: Error) -> Error {
    match error {
        Error::Io { path, source } => match source.downcast::<Error>() {
            Ok(inner) => inner,
            Err(source) => Error::Io { path, source },
        },
        other => other,
    }
}
