//! Rows in the hashes that Feast keeps on a Redis server.
//!
//! One hash per entity and project, at the bytes of the entity's key (version 3) and the project's name. A field per feature, the
//! MurmurHash3 of `view:feature`, holds a `feast.types.Value`; `_ts:view` holds the event time as a `Timestamp`. Beside them we put
//! `_mlops:view` with the created time of our row, which Feast does not read.

mod hash;
mod value;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use mlops_core::Name;

use self::value::Unfit;
use super::cells::{Cells, SWAPS_MAX};
use super::client::{Call, Via};
use super::script::{Run, Script, WRITE_HASHES};
use super::wire::{Item, Malformed, Request};
use crate::define::ValueType;
use crate::error::{Core, Error, Result};
use crate::key::Keys;
use crate::offline::Watermark;
use crate::online::batch::Batch;
use crate::online::row::{ColumnsBuilder, RowBytes, RowLayout, Stamp};
use crate::online::{OnlineRead, OnlineRows, OnlineStore, WriteSummary};
use crate::view::FeatureView;
use crate::wait::block_on;

/// Rows that are looked at and written at once.
const CHUNK_ROWS: usize = 512;

/// Online store over the hashes of a Feast project, for teams that move from it or keep clients of it: what Feast wrote is read here,
/// and what is written here Feast reads. Made by [`RedisStoreBuilder::open_feast`](super::RedisStoreBuilder::open_feast);
/// needs the feature `redis`.
///
/// The contract of [`OnlineStore`] holds with these limits of the layout:
/// * There are no checksums, and no definitions: a feature that is stored with another type is
///   [`Error::Changed`](crate::Error::Changed) when it is read, and a view with another key simply has no rows.
/// * Event times lie in the years 1 to 9999; features that are instants have whole seconds. Anything else is
///   `Core(InvalidData)`, and nothing is written.
/// * A null is not told from a feature that was never written.
/// * Of two rows with the same event time Feast keeps the first and this store the later created, then the last.
/// * A read asks for each entity and view apart, in one round trip; our own layout reads faster.
pub struct FeastRedisStore {
    cells: Cells,
    prefix: String,
    project: String,
    expire: Option<Duration>,
    write_hashes: Script,
}

/// A row that is to be written, in Feast's form.
struct Pending {
    key: Vec<u8>,
    stamp: Stamp,
    event_time: Vec<u8>,
    created: Vec<u8>,
    values: Vec<Vec<u8>>,
}

/// What is stored of one view in one hash.
#[derive(Default)]
struct Stored {
    event_time: Option<Vec<u8>>,
    created: Option<Vec<u8>>,
}

impl Stored {
    /// When the stored row became true and known; `None` where there is none, or nobody can tell.
    fn stamp(&self) -> Option<Stamp> {
        let event_time = value::read_time(self.event_time.as_deref()?).ok()?;
        Some(Stamp { event_time, created: created(self.created.as_deref(), event_time) })
    }
}

/// Our own field: the event time that it belongs to, whether there is a created time, and that.
fn created_bytes(stamp: Stamp) -> Vec<u8> {
    let mut bytes = stamp.event_time.to_le_bytes().to_vec();
    bytes.push(u8::from(stamp.created.is_some()));
    bytes.extend_from_slice(&stamp.created.unwrap_or_default().to_le_bytes());
    bytes
}

/// The created time in our own field, where that belongs to `event_time`: Feast may have written a later row since.
fn created(bytes: Option<&[u8]>, event_time: i64) -> Option<i64> {
    let (time, rest) = bytes?.split_first_chunk::<8>()?;
    let (known, created) = rest.split_first()?;
    let created = i64::from_le_bytes(created.try_into().ok()?);
    (i64::from_le_bytes(*time) == event_time && *known == 1).then_some(created)
}

impl FeastRedisStore {
    pub(super) fn new(cells: Cells, prefix: &str, project: String) -> Result<Self> {
        if project.is_empty() || project.len() > 200 {
            return Err(Core::invalid("project", project.escape_debug(), "a name of 1 to 200 bytes").into());
        }
        let prefix = format!("{prefix}:feast:{project}");
        Ok(Self { cells, prefix, project, expire: None, write_hashes: Script::new(WRITE_HASHES) })
    }

    /// Lets the server forget all that it knows of an entity so long after the last write to it, as `key_ttl_seconds` of
    /// Feast does, in whole seconds. Default: never.
    pub fn expiring_after(mut self, time: Duration) -> Self {
        self.expire = Some(time);
        self
    }

    fn malformed(&self, malformed: Malformed) -> Error {
        self.cells.client.malformed(malformed)
    }

    fn mark_key(&self, view: &Name) -> Vec<u8> {
        format!("{}:mark:{view}", self.prefix).into_bytes()
    }

    /// The rows of `batch` that win among themselves, in Feast's form.
    fn pending(&self, view: &FeatureView, batch: &Batch) -> Result<Vec<Pending>> {
        let layout = view.layout();
        let mut all = Vec::new();
        batch.for_each(view, |key, stamp, bytes| {
            let unfit = |feature: &Name, unfit: Unfit| {
                Error::from(Core::invalid_data(format!("`{}:{feature}`", view.name()), unfit))
            };
            let row = RowBytes::parse(bytes);
            let field = |(index, (feature, of)): (usize, &(Name, ValueType))| {
                let mut message = Vec::new();
                let value = row.and_then(|row| row.value(layout, index).ok().flatten());
                if let Some(value) = value {
                    value::put(*of, value, &mut message).map_err(|e| unfit(feature, e))?;
                }
                Ok(message)
            };
            let values = layout.fields().iter().enumerate().map(field).collect::<Result<_>>()?;
            let mut event_time = Vec::new();
            let named = || format!("event time of `{}`", view.name());
            value::put_time(stamp.event_time, &mut event_time).map_err(|e| Core::invalid_data(named(), e))?;
            let key = [key, self.project.as_bytes()].concat();
            all.push(Pending { key, stamp, event_time, created: created_bytes(stamp), values });
            Ok::<_, Error>(())
        })?;
        Ok(all)
    }

    async fn write_via(
        &self,
        via: Via,
        view: &FeatureView,
        rows: &RecordBatch,
        checkpoint: Option<Watermark>,
    ) -> Result<WriteSummary> {
        let batch = Batch::new(view, rows)?;
        let call = self.cells.client.writing(via);
        let mut written = 0;
        for chunk in self.pending(view, &batch)?.chunks(CHUNK_ROWS) {
            written += self.write_chunk(call, view, chunk).await?;
        }
        if let Some(reached) = checkpoint {
            self.cells.mark(call, &self.mark_key(view.name()), view.name(), reached).await?;
        }
        Ok(WriteSummary { written, superseded: batch.rows() - written })
    }

    /// Writes what is not older than what is there, and looks again where another writer was faster.
    async fn write_chunk(&self, call: Call, view: &FeatureView, chunk: &[Pending]) -> Result<u64> {
        let mut left: Vec<&Pending> = chunk.iter().collect();
        let mut written = 0;
        for _ in 0..SWAPS_MAX {
            let stored = self.stored(call, view, &left).await?;
            let newer = |(row, stored): (&&Pending, &Stored)| stored.stamp().is_none_or(|stamp| stamp <= row.stamp);
            let next: Vec<(&Pending, &Stored)> = left
                .iter()
                .zip(&stored)
                .filter(|(row, stored)| newer((row, stored)))
                .map(|(row, stored)| (*row, stored))
                .collect();
            if next.is_empty() {
                return Ok(written);
            }
            let run = self.run(view, &next);
            let answer = self.write_hashes.run(&self.cells.client, call, &[run]).await?;
            let mut outrun = Vec::new();
            let mut rows = next.iter();
            for item in answer.items() {
                match (item, rows.as_slice().first()) {
                    (Item::Integer(done), Some((row, _))) => {
                        rows.next();
                        if *done == 1 {
                            written += 1;
                        } else {
                            outrun.push(*row);
                        }
                    }
                    (Item::Array(_), _) => {}
                    _ => return Err(self.malformed(Malformed("something else than a number per row"))),
                }
            }
            if outrun.is_empty() {
                return Ok(written);
            }
            left = outrun;
        }
        Err(self.cells.outrun(view.name()))
    }

    /// What is stored for each of `rows`.
    async fn stored(&self, call: Call, view: &FeatureView, rows: &[&Pending]) -> Result<Vec<Stored>> {
        let (event_time, created) = time_fields(view);
        let mut request = Request::default();
        for row in rows {
            request.push(&[b"HMGET", &row.key, &event_time, &created]);
        }
        let answer = self.cells.client.ask(call, &Arc::new(request)).await?;
        let mut values = answer.values();
        let mut next = || match values.next() {
            Some(value) => Ok(value.map_err(|m| self.malformed(m))?.map(<[u8]>::to_vec)),
            None => Err(self.malformed(Malformed("less than it was asked"))),
        };
        rows.iter().map(|_| Ok(Stored { event_time: next()?, created: next()? })).collect()
    }

    /// The script's arguments for rows and what was there before them.
    fn run(&self, view: &FeatureView, rows: &[(&Pending, &Stored)]) -> Run {
        let (event_time, created) = time_fields(view);
        let mut run = Run::default();
        run.argument(&event_time);
        run.argument(&created);
        let expire = self.expire.map(|time| time.as_secs().max(1).to_string());
        run.argument(expire.unwrap_or_default().as_bytes());
        run.argument(view.features().len().to_string().as_bytes());
        for feature in view.features() {
            run.argument(&hash::field(view.name().as_str(), feature.name.as_str()));
        }
        // Nothing is told from an instant of no bytes, which the epoch is.
        let before = |stored: &Option<Vec<u8>>| match stored {
            Some(bytes) => [b"1", bytes.as_slice()].concat(),
            None => b"0".to_vec(),
        };
        for (row, stored) in rows {
            run.key(&row.key);
            run.argument(&before(&stored.event_time));
            run.argument(&before(&stored.created));
            run.argument(&row.event_time);
            run.argument(&row.created);
            row.values.iter().for_each(|value| run.argument(value));
        }
        run
    }

    async fn read_via(&self, via: Via, reads: &[OnlineRead<'_>]) -> Result<Vec<OnlineRows>> {
        let call = self.cells.client.reading(via);
        let mut request = Request::default();
        for read in reads {
            ensure_features(read)?;
            let (event_time, created) = time_fields(read.view);
            let name = |feature: &usize| read.view.features()[*feature].name.as_str();
            let fields: Vec<_> =
                read.features.iter().map(|at| hash::field(read.view.name().as_str(), name(at))).collect();
            let mut key = Vec::new();
            for row in 0..read.keys.len() {
                key.clear();
                if !read.keys.encode(row, &mut key) {
                    continue;
                }
                key.extend_from_slice(self.project.as_bytes());
                request.command(4 + fields.len());
                request.argument(b"HMGET");
                request.argument(&key);
                request.argument(&event_time);
                request.argument(&created);
                for field in &fields {
                    request.argument(field);
                }
            }
        }
        let answer = match request.commands() {
            0 => None,
            _ => Some(self.cells.client.ask(call, &Arc::new(request)).await?),
        };
        let mut values = answer.iter().flat_map(super::wire::Answer::values);
        let mut next =
            || values.next().unwrap_or(Err(Malformed("less than it was asked"))).map_err(|m| self.malformed(m));
        reads.iter().map(|read| columns(read, &mut next)).collect()
    }

    async fn delete_via(&self, via: Via, view: &FeatureView, keys: &Keys) -> Result<u64> {
        let (event_time, created) = time_fields(view);
        let mut fields = vec![event_time, created];
        let name = view.name().as_str();
        fields.extend(view.features().iter().map(|feature| hash::field(name, feature.name.as_str()).to_vec()));
        let mut request = Request::default();
        let mut key = Vec::new();
        for row in 0..keys.len() {
            key.clear();
            if keys.encode(row, &mut key) {
                key.extend_from_slice(self.project.as_bytes());
                request.command(2 + fields.len());
                request.argument(b"HDEL");
                request.argument(&key);
                for field in &fields {
                    request.argument(field);
                }
            }
        }
        if request.commands() == 0 {
            return Ok(0);
        }
        let answer = self.cells.client.ask(self.cells.client.writing(via), &Arc::new(request)).await?;
        answer.integers().try_fold(0, |sum, removed| {
            let removed = removed.map_err(|m| self.malformed(m))?;
            Ok(sum + u64::from(removed > 0))
        })
    }

    async fn watermark_via(&self, via: Via, view: &FeatureView) -> Result<Option<Watermark>> {
        self.cells.watermark(self.cells.client.reading(via), &self.mark_key(view.name()), view.name()).await
    }

    /// [`OnlineStore::write`] as a plain call.
    ///
    /// # Errors
    /// As [`RedisStore::write_sync`](super::RedisStore::write_sync), and `Core(InvalidData)` for what the layout cannot hold.
    pub fn write_sync(
        &self,
        view: &FeatureView,
        rows: &RecordBatch,
        checkpoint: Option<Watermark>,
    ) -> Result<WriteSummary> {
        block_on(self.write_via(Via::Here, view, rows, checkpoint))
    }

    /// [`OnlineStore::read`] as a plain call.
    ///
    /// # Errors
    /// As [`RedisStore::read_sync`](super::RedisStore::read_sync); [`Error::Changed`](crate::Error::Changed) for a feature that
    /// is stored with another type.
    pub fn read_sync(&self, reads: &[OnlineRead<'_>]) -> Result<Vec<OnlineRows>> {
        block_on(self.read_via(Via::Here, reads))
    }
}

fn ensure_features(read: &OnlineRead<'_>) -> Result<()> {
    match read.features.iter().find(|index| **index >= read.view.features().len()) {
        Some(beyond) => Err(Core::invalid("feature index", beyond, "below the number of features of the view").into()),
        None => Ok(()),
    }
}

/// The fields with the event time and with our created time.
fn time_fields(view: &FeatureView) -> (Vec<u8>, Vec<u8>) {
    (format!("_ts:{}", view.name()).into_bytes(), format!("_mlops:{}", view.name()).into_bytes())
}

/// The columns of one view, whose fields `next` gives in the order in which they were asked for.
fn columns<'a>(read: &OnlineRead<'_>, next: &mut impl FnMut() -> Result<Option<&'a [u8]>>) -> Result<OnlineRows> {
    let view = read.view;
    let corrupt =
        |reason: &dyn fmt::Display| Error::from(Core::corrupt(format!("row of view `{}`", view.name()), reason));
    let fields = read.features.iter().map(|at| view.layout().fields()[*at].clone()).collect();
    let layout = RowLayout::new(fields);
    let positions: Vec<usize> = (0..read.features.len()).collect();
    let mut builder = ColumnsBuilder::new(std::iter::once((&layout, &*positions, read.keys.len())));
    let mut filling = builder.fill(0);
    let (mut messages, mut row, mut values, mut spans) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for position in 0..read.keys.len() {
        if read.keys.is_null(position) {
            filling.skip(position);
            continue;
        }
        let (event_time, ours) = (next()?, next()?);
        messages.clear();
        for _ in &positions {
            messages.push(next()?);
        }
        let Some(event_time) = event_time else {
            filling.skip(position);
            continue;
        };
        let event_time = value::read_time(event_time).map_err(|unfit| corrupt(&unfit))?;
        let stamp = Stamp { event_time, created: created(ours, event_time) };
        values.clear();
        spans.clear();
        for ((feature, of), message) in layout.fields().iter().zip(&messages) {
            let start = values.len();
            let there = message.map_or(Ok(false), |message| value::read(*of, message, &mut values));
            let there = there.map_err(|unfit| match unfit {
                Unfit::Type(_) => Error::Changed {
                    view: view.name().to_string(),
                    what: feature.to_string(),
                    stored: unfit.to_string(),
                    declared: of.to_string(),
                },
                other => corrupt(&other),
            })?;
            spans.push(there.then_some(start..values.len()));
        }
        row.clear();
        let parts = spans.iter().map(|span| span.as_ref().map(|span| &values[span.clone()]));
        layout.assemble(stamp, parts, &mut row)?;
        let stored = RowBytes::parse(&row).ok_or_else(|| corrupt(&"it cannot be read"))?;
        filling.push(position, &stored, &layout, None).map_err(|_| corrupt(&"it does not fit its types"))?;
    }
    Ok(builder.finish()?.swap_remove(0))
}

#[async_trait]
impl OnlineStore for FeastRedisStore {
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

impl fmt::Debug for FeastRedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FeastRedisStore")
            .field("address", self.cells.client.address())
            .field("project", &self.project)
            .finish_non_exhaustive()
    }
}
