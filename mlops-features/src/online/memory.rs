//! Rows in this process: for services that load their features at start, and for tests.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use arc_swap::ArcSwap;
use arrow::array::RecordBatch;
use async_trait::async_trait;
use foldhash::fast::RandomState;
use mlops_core::Name;

use super::batch::Batch;
use super::registered::{Reader, Registered};
use super::row::RowBytes;
use super::{OnlineRead, OnlineRows, OnlineStore, WriteSummary};
use crate::error::{Error, Result};
use crate::key::Keys;
use crate::offline::Watermark;
use crate::view::FeatureView;

/// Shards per view: writers of different keys rarely meet.
const SHARDS: usize = 64;

/// Online store in memory; nothing survives the process.
///
/// Readers hold a shared lock on one of 64 shards while they decode one row, so they only ever wait for the writer of a row of
/// the same shard.
#[derive(Default)]
pub struct MemoryStore {
    tables: ArcSwap<BTreeMap<Name, Arc<Table>>>,
    /// Held while a view is added or changed.
    registering: Mutex<()>,
}

#[derive(Debug)]
struct Table {
    registered: ArcSwap<Registered>,
    hasher: RandomState,
    shards: Vec<RwLock<Shard>>,
    watermark: Mutex<Option<Watermark>>,
}

type Shard = HashMap<Box<[u8]>, Box<[u8]>, RandomState>;

impl Table {
    fn new(registered: Registered) -> Self {
        Self {
            registered: ArcSwap::from_pointee(registered),
            hasher: RandomState::default(),
            shards: (0..SHARDS).map(|_| RwLock::default()).collect(),
            watermark: Mutex::default(),
        }
    }

    fn shard(&self, key: &[u8]) -> &RwLock<Shard> {
        &self.shards[(self.hasher.hash_one(key) >> 58) as usize % SHARDS]
    }

    fn read(&self, key: &[u8]) -> RwLockReadGuard<'_, Shard> {
        self.shard(key).read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, key: &[u8]) -> RwLockWriteGuard<'_, Shard> {
        self.shard(key).write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Number of keys of `view`.
    pub fn len(&self, view: &FeatureView) -> usize {
        let tables = self.tables.load();
        let Some(table) = tables.get(view.name()) else { return 0 };
        table.shards.iter().map(|shard| shard.read().unwrap_or_else(PoisonError::into_inner).len()).sum()
    }

    /// Whether there is no key of `view`.
    pub fn is_empty(&self, view: &FeatureView) -> bool {
        self.len(view) == 0
    }

    /// The table of `view`, made or widened if need be.
    fn admit(&self, view: &FeatureView) -> Result<Arc<Table>> {
        let _guard = self.registering.lock().unwrap_or_else(PoisonError::into_inner);
        let tables = self.tables.load();
        if let Some(table) = tables.get(view.name()) {
            if let Some(next) = table.registered.load().admit(view)? {
                table.registered.store(Arc::new(next));
            }
            return Ok(table.clone());
        }
        let table = Arc::new(Table::new(Registered::new(tables.len() as u32, view)));
        let mut next = BTreeMap::clone(&tables);
        next.insert(view.name().clone(), table.clone());
        self.tables.store(Arc::new(next));
        Ok(table)
    }

    /// [`OnlineStore::write`] as a plain call.
    ///
    /// # Errors
    /// As there.
    pub fn write_sync(
        &self,
        view: &FeatureView,
        rows: &RecordBatch,
        checkpoint: Option<Watermark>,
    ) -> Result<WriteSummary> {
        let batch = Batch::new(view, rows)?;
        let table = self.admit(view)?;
        let mut written = 0;
        batch.for_each(view, |key, stamp, bytes| {
            let mut shard = table.write(key);
            match shard.get_mut(key) {
                Some(stored) if RowBytes::parse(stored).is_some_and(|row| row.stamp > stamp) => return Ok(()),
                Some(stored) => *stored = bytes.as_slice().into(),
                None => drop(shard.insert(key.into(), bytes.as_slice().into())),
            }
            written += 1;
            Ok::<_, Error>(())
        })?;
        if checkpoint.is_some() {
            let mut watermark = table.watermark.lock().unwrap_or_else(PoisonError::into_inner);
            *watermark = (*watermark).max(checkpoint);
        }
        Ok(WriteSummary { written, superseded: batch.rows() - written })
    }

    /// [`OnlineStore::read`] as a plain call.
    ///
    /// # Errors
    /// As there.
    pub fn read_sync(&self, reads: &[OnlineRead<'_>]) -> Result<Vec<OnlineRows>> {
        let tables = self.tables.load();
        let mut key = Vec::with_capacity(64);
        let read_one = |read: &OnlineRead<'_>| {
            let table = tables.get(read.view.name());
            let registered = table.map(|table| table.registered.load());
            let mut reader = Reader::new(read, registered.as_deref().map(AsRef::as_ref))?;
            for position in 0..read.keys.len() {
                key.clear();
                let shard = table.filter(|_| read.keys.encode(position, &mut key)).map(|table| table.read(&key));
                match shard.as_ref().and_then(|shard| shard.get(key.as_slice())) {
                    Some(row) => reader.push(position, row)?,
                    None => reader.skip(position),
                }
            }
            reader.finish()
        };
        reads.iter().map(read_one).collect()
    }

    /// [`OnlineStore::delete`] as a plain call.
    ///
    /// # Errors
    /// As there.
    pub fn delete_sync(&self, view: &FeatureView, keys: &Keys) -> Result<u64> {
        let tables = self.tables.load();
        let Some(table) = tables.get(view.name()) else { return Ok(0) };
        table.registered.load().ensure_keys(view)?;
        let mut key = Vec::new();
        let mut forgotten = 0;
        for position in 0..keys.len() {
            key.clear();
            if keys.encode(position, &mut key) && table.write(&key).remove(key.as_slice()).is_some() {
                forgotten += 1;
            }
        }
        Ok(forgotten)
    }

    /// [`OnlineStore::watermark`] as a plain call.
    ///
    /// # Errors
    /// None at present.
    pub fn watermark_sync(&self, view: &FeatureView) -> Result<Option<Watermark>> {
        let tables = self.tables.load();
        let stored =
            tables.get(view.name()).map(|table| table.watermark.lock().unwrap_or_else(PoisonError::into_inner));
        Ok(stored.and_then(|watermark| *watermark))
    }
}

#[async_trait]
impl OnlineStore for MemoryStore {
    async fn write(
        &self,
        view: &FeatureView,
        rows: &RecordBatch,
        checkpoint: Option<Watermark>,
    ) -> Result<WriteSummary> {
        self.write_sync(view, rows, checkpoint)
    }

    async fn read(&self, reads: &[OnlineRead<'_>]) -> Result<Vec<OnlineRows>> {
        self.read_sync(reads)
    }

    async fn delete(&self, view: &FeatureView, keys: &Keys) -> Result<u64> {
        self.delete_sync(view, keys)
    }

    async fn watermark(&self, view: &FeatureView) -> Result<Option<Watermark>> {
        self.watermark_sync(view)
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("views", &self.tables.load().keys().collect::<Vec<_>>())
            .finish_non_exhaustive()
    }
}
