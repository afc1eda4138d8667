//! Rows on a Redis server, written and read by many machines.
//!
//! Keys are `PREFIX:view:NAME` (key and features of a view, as JSON), `PREFIX:row:NAME:KEY` (a row) and `PREFIX:mark:NAME`
//! (a position), with values as stores on disk keep them, checksums included.
//!
//! The client is our own: it speaks the five forms of RESP 2 over plain sockets. So a row is decoded where it was received,
//! without a box per value; a deadline holds against a server that sends a byte a second; what a confused server says is
//! bounded before it is believed; and no runtime comes along, so a host on any executor, or on none, may use it. TLS is that of
//! rustls.

mod address;
mod cells;
mod client;
mod connection;
mod feast;
mod question;
mod replace;
mod rounds;
mod script;
mod settings;
mod tls;
mod wire;

pub use self::feast::FeastRedisStore;
pub use self::settings::RedisStoreBuilder;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use mlops_core::Name;

use self::cells::{Cells, SWAPS_MAX};
use self::client::{Call, Via};
use self::question::Question;
use self::rounds::Rounds;
use self::script::Script;
use self::wire::{Malformed, Request};
use super::batch::Batch;
use super::known::{KnownViews, knows};
use super::registered::{Reader, Registered};
use super::{OnlineRead, OnlineRows, OnlineStore, WriteSummary, sealed};
use crate::error::{Core, Error, Result};
use crate::key::Keys;
use crate::offline::Watermark;
use crate::view::FeatureView;
use crate::wait::block_on;

/// Online store on a Redis server (6.2 or newer; Valkey too), shared by any number of machines.
///
/// Rows are compared and written by a script on the server, so the latest one stays whoever writes at the same time. A read of
/// several views and keys is one round trip. A connection that breaks is replaced and the call tried again, within its
/// time: calls may be repeated without harm. Needs the feature `redis`.
///
/// * The server must not evict keys on its own account (`maxmemory-policy noeviction`): an evicted row is not known any
///   more. How much of what was acknowledged survives a crash of the server is what its persistence says.
/// * Not for servers in cluster mode. TLS (`rediss://`) trusts what the system trusts, or a file of certificates, and always looks
///   at the name.
/// * Async calls run on threads of the store, which start when they are needed; plain ones on the thread that calls.
///
/// # Examples
/// ```no_run
/// use std::time::Duration;
/// use mlops_features::online::RedisStore;
/// let store = RedisStore::builder("redis://:secret@127.0.0.1:6379/2")
///     .prefix("shop")
///     .read_within(Duration::from_millis(50))
///     .expire_after_ttl(Duration::from_secs(86_400))
///     .open()?;
/// # Ok::<(), mlops_features::Error>(())
/// ```
pub struct RedisStore {
    cells: Cells,
    prefix: String,
    grace: Option<Duration>,
    known: KnownViews<Definition>,
    write_rows: Script,
    replace_rows: Script,
}

/// What the server says of a view.
#[derive(Clone, Debug)]
struct Definition {
    registered: Arc<Registered>,
    /// The end of the stored value, by which writers tell whether it is still this one.
    checksum: [u8; 4],
}

impl RedisStore {
    /// A store on the server at `redis://[[user][:password]@]host[:port][/database]` (`rediss://` for TLS), with default settings.
    ///
    /// # Errors
    /// As [`RedisStoreBuilder::open`].
    pub fn open(url: impl Into<String>) -> Result<Self> {
        Self::builder(url).open()
    }

    /// Settings for the store on the server at `url`.
    pub fn builder(url: impl Into<String>) -> RedisStoreBuilder {
        RedisStoreBuilder::new(url.into())
    }

    fn key(&self, kind: &str, view: &Name) -> Vec<u8> {
        format!("{}:{kind}:{view}", self.prefix).into_bytes()
    }

    /// What the key of every row of `view` begins with.
    fn row_key(&self, view: &Name) -> Vec<u8> {
        format!("{}:row:{view}:", self.prefix).into_bytes()
    }

    /// How much of it is not under the row's checksum, so that a copy under another prefix still reads.
    fn unchecked(&self) -> usize {
        self.prefix.len() + ":row:".len()
    }

    fn corrupt(&self, reason: impl fmt::Display) -> Error {
        Core::corrupt(self.cells.client.address().to_string(), reason).into()
    }

    fn malformed(&self, malformed: Malformed) -> Error {
        self.cells.client.malformed(malformed)
    }

    /// The definition in a stored value.
    fn parse(&self, view: &Name, stored: &[u8]) -> Result<Definition> {
        let registered = sealed::view(view.as_str().as_bytes(), stored).map_err(|reason| self.corrupt(reason))?;
        let checksum = stored.last_chunk().copied().unwrap_or_default();
        let definition = Definition { registered: Arc::new(registered), checksum };
        self.known.learn(view, &definition);
        Ok(definition)
    }

    /// The definition under which rows of `view` are written, which is stored once this returns.
    async fn admit(&self, call: Call, view: &FeatureView) -> Result<Definition> {
        if let Some(known) = self.known.get(view.name())
            && known.registered.admit(view)?.is_none()
        {
            return Ok(known);
        }
        let (key, name) = (self.key("view", view.name()), view.name().as_str().as_bytes());
        for _ in 0..SWAPS_MAX {
            let stored = self.cells.get(call, &key).await?;
            let definition = stored.as_deref().map(|stored| self.parse(view.name(), stored)).transpose()?;
            let next = match definition {
                None => Registered::new(0, view),
                Some(definition) => match definition.registered.admit(view)? {
                    None => return Ok(definition),
                    Some(next) => next,
                },
            };
            let next = sealed::view_bytes(name, &next)?;
            if self.cells.swap(call, &key, stored.as_deref(), &next).await? {
                return self.parse(view.name(), &next);
            }
        }
        Err(self.cells.outrun(view.name()))
    }

    async fn write_via(
        &self,
        via: Via,
        view: &FeatureView,
        rows: &RecordBatch,
        checkpoint: Option<Watermark>,
    ) -> Result<WriteSummary> {
        let batch = Batch::new(view, rows)?;
        if batch.rows() == 0 && checkpoint.is_none() {
            return Ok(WriteSummary::default());
        }
        let call = self.cells.client.writing(via);
        let mut written = None;
        for _ in 0..SWAPS_MAX {
            let definition = self.admit(call, view).await?;
            written = self.upsert(call, view, &definition, &batch).await?;
            if written.is_some() {
                break;
            }
            // It was widened by another writer, or the server lost it.
            self.known.forget(view.name());
        }
        let written = written.ok_or_else(|| self.cells.outrun(view.name()))?;
        if let Some(reached) = checkpoint {
            let key = self.key("mark", view.name());
            self.cells.mark(call, &key, view.name(), reached).await?;
        }
        Ok(WriteSummary { written, superseded: batch.rows() - written })
    }

    /// Writes the rows of `batch`; `None` when the definition is not the one that is stored.
    async fn upsert(
        &self,
        call: Call,
        view: &FeatureView,
        definition: &Definition,
        batch: &Batch,
    ) -> Result<Option<u64>> {
        let mut rounds = Rounds::new(self, view, definition, batch);
        let mut written = 0;
        while let Some(round) = rounds.next()? {
            let answer = self.write_rows.run(&self.cells.client, call, &round).await?;
            for rows in answer.integers() {
                match u64::try_from(rows.map_err(|m| self.malformed(m))?) {
                    Ok(rows) => written += rows,
                    Err(_) => return Ok(None),
                }
            }
        }
        Ok(Some(written))
    }

    async fn read_via(&self, via: Via, reads: &[OnlineRead<'_>]) -> Result<Vec<OnlineRows>> {
        let call = self.cells.client.reading(via);
        let mut known: Vec<_> = reads.iter().map(|read| self.known.get(read.view.name())).collect();
        let question = Question::new(self, reads, &known);
        let answer = match question.request.commands() {
            0 => None,
            _ => Some(self.cells.client.ask(call, &question.request).await?),
        };
        let mut values = answer.iter().flat_map(wire::Answer::values);
        let mut next = || values.next().unwrap_or(Err(Malformed("less than it was asked")));
        let mut rows = Vec::with_capacity(reads.len());
        for ((read, known), asked) in reads.iter().zip(&mut known).zip(&question.asked) {
            if asked.definition {
                let stored = next().map_err(|m| self.malformed(m))?;
                *known = stored.map(|stored| self.parse(read.view.name(), stored)).transpose()?;
            }
            let found = asked.keys.iter().map(|key| if key.is_some() { next() } else { Ok(None) });
            rows.push(found.collect::<Result<Vec<_>, _>>().map_err(|m| self.malformed(m))?);
        }
        for ((read, known), rows) in reads.iter().zip(&mut known).zip(&rows) {
            let registered = known.as_ref().map(|known| &*known.registered);
            if !rows.iter().flatten().all(|row| knows(registered, read.view, row)) {
                // Somebody widened the view since it was looked at.
                let stored = self.cells.get(call, &self.key("view", read.view.name())).await?;
                *known = stored.map(|stored| self.parse(read.view.name(), &stored)).transpose()?;
            }
        }
        let mut reader = Reader::new(reads)?;
        for (at, ((known, asked), rows)) in known.iter().zip(&question.asked).zip(&rows).enumerate() {
            let mut view = reader.view(at, known.as_ref().map(|known| &*known.registered))?;
            question.fill(&mut view, asked, rows)?;
        }
        reader.finish()
    }

    async fn delete_via(&self, via: Via, view: &FeatureView, keys: &Keys) -> Result<u64> {
        let call = self.cells.client.writing(via);
        let known = if let Some(known) = self.known.get(view.name()) {
            Some(known)
        } else {
            let stored = self.cells.get(call, &self.key("view", view.name())).await?;
            stored.map(|stored| self.parse(view.name(), &stored)).transpose()?
        };
        let Some(known) = known else { return Ok(0) };
        known.registered.ensure_keys(view)?;
        let read = OnlineRead { view, features: &[], keys };
        let question = Question::ask(self, b"DEL", &[read], &[Some(known)]);
        if question.request.commands() == 0 {
            return Ok(0);
        }
        let answer = self.cells.client.ask(call, &question.request).await?;
        answer.integers().try_fold(0, |sum, deleted| {
            let deleted = deleted.map_err(|m| self.malformed(m))?;
            Ok(sum + u64::try_from(deleted).unwrap_or_default())
        })
    }

    async fn watermark_via(&self, via: Via, view: &FeatureView) -> Result<Option<Watermark>> {
        self.cells.watermark(self.cells.client.reading(via), &self.key("mark", view.name()), view.name()).await
    }

    /// [`OnlineStore::write`] as a plain call.
    ///
    /// # Errors
    /// As there; `Core(Deadline)`, `Core(Busy)`, `Core(Forbidden)` or `Core(External)` when the server does not answer as it
    /// should. Rows written before stay.
    pub fn write_sync(
        &self,
        view: &FeatureView,
        rows: &RecordBatch,
        checkpoint: Option<Watermark>,
    ) -> Result<WriteSummary> {
        block_on(self.write_via(Via::Here, view, rows, checkpoint))
    }

    /// [`OnlineStore::read`] as a plain call, the quickest where a thread may wait.
    ///
    /// # Errors
    /// As [`write_sync`](Self::write_sync), and `Core(Corrupt)`.
    pub fn read_sync(&self, reads: &[OnlineRead<'_>]) -> Result<Vec<OnlineRows>> {
        block_on(self.read_via(Via::Here, reads))
    }

    /// [`OnlineStore::delete`] as a plain call. A call that was tried again may count too few.
    ///
    /// # Errors
    /// As [`write_sync`](Self::write_sync).
    pub fn delete_sync(&self, view: &FeatureView, keys: &Keys) -> Result<u64> {
        block_on(self.delete_via(Via::Here, view, keys))
    }

    /// [`OnlineStore::watermark`] as a plain call.
    ///
    /// # Errors
    /// As [`write_sync`](Self::write_sync), and `Core(Corrupt)`.
    pub fn watermark_sync(&self, view: &FeatureView) -> Result<Option<Watermark>> {
        block_on(self.watermark_via(Via::Here, view))
    }

    /// Asks the server whether it is there.
    ///
    /// # Errors
    /// As [`write_sync`](Self::write_sync).
    pub async fn ping(&self) -> Result<()> {
        let mut request = Request::default();
        request.push(&[b"PING"]);
        self.cells.client.ask(self.cells.client.reading(Via::Crew), &Arc::new(request)).await.map(drop)
    }
}

#[async_trait]
impl OnlineStore for RedisStore {
    async fn write(
        &self,
        view: &FeatureView,
        rows: &RecordBatch,
        checkpoint: Option<Watermark>,
    ) -> Result<WriteSummary> {
        self.write_via(Via::Crew, view, rows, checkpoint).await
    }

    async fn read(&self, reads: &[OnlineRead<'_>]) -> Result<Vec<OnlineRows>> {
        self.read_via(Via::Crew, reads).await
    }

    async fn delete(&self, view: &FeatureView, keys: &Keys) -> Result<u64> {
        self.delete_via(Via::Crew, view, keys).await
    }

    async fn watermark(&self, view: &FeatureView) -> Result<Option<Watermark>> {
        self.watermark_via(Via::Crew, view).await
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("address", self.cells.client.address())
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}
