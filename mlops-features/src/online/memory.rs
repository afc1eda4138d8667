//! Rows in this process: for services that load their features at start, and for tests.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use arrow::array::RecordBatch;
use async_trait::async_trait;
use foldhash::fast::RandomState;
use mlops_core::Name;
use papaya::{HashMap, Operation};

use super::batch::Batch;
use super::registered::{Reader, Registered};
use super::row::{RowBytes, Stamp};
use super::{OnlineRead, OnlineRows, OnlineStore, WriteSummary};
use crate::error::{Error, Result};
use crate::key::Keys;
use crate::offline::Watermark;
use crate::view::FeatureView;

/// Online store in memory; nothing survives the process.
///
/// Readers take no lock and never wait: a row is written aside and then put in the place of the one before, which is freed
/// once no reader looks at it.
#[derive(Default)]
pub struct MemoryStore {
    tables: ArcSwap<BTreeMap<Name, Arc<Table>>>,
    /// Held while a view is added or changed.
    registering: Mutex<()>,
}

struct Table {
    registered: ArcSwap<Registered>,
    rows: HashMap<Box<[u8]>, Box<[u8]>, RandomState>,
    watermark: Mutex<Option<Watermark>>,
}

impl Table {
    fn new(registered: Registered) -> Self {
        Self {
            registered: ArcSwap::from_pointee(registered),
            rows: HashMap::with_hasher(RandomState::default()),
            watermark: Mutex::default(),
        }
    }

    /// Puts `bytes` in the place of an older row, in one step; says whether it did.
    fn put(&self, key: &[u8], stamp: Stamp, bytes: &[u8]) -> bool {
        let newer = |stored: &[u8]| RowBytes::parse(stored).is_some_and(|row| row.stamp > stamp);
        let rows = self.rows.pin();
        if rows.get(key).is_some_and(|stored| newer(stored)) {
            return false;
        }
        let put = rows.compute(key.into(), |stored| match stored {
            Some((_, stored)) if newer(stored) => Operation::Abort(()),
            _ => Operation::Insert(bytes.into()),
        });
        !matches!(put, papaya::Compute::Aborted(()))
    }
}

/// Room for one key before it is known how long it is.
const KEY_BYTES: usize = 64;

/// Keys as bytes; those of one entity are encoded once for all of its views.
#[derive(Default)]
struct Encoded<'a> {
    keys: Option<&'a Keys>,
    bytes: Vec<u8>,
    /// Start and end of each key; none for a null one.
    places: Vec<Option<(usize, usize)>>,
}

impl<'a> Encoded<'a> {
    fn read(&mut self, keys: &'a Keys) {
        if self.keys.is_some_and(|known| std::ptr::eq(known, keys)) {
            return;
        }
        self.keys = Some(keys);
        self.bytes.clear();
        self.bytes.reserve(keys.len() * KEY_BYTES);
        self.places.clear();
        self.places.extend((0..keys.len()).map(|position| {
            let start = self.bytes.len();
            keys.encode(position, &mut self.bytes).then_some((start, self.bytes.len()))
        }));
    }

    fn get(&self, position: usize) -> Option<&[u8]> {
        self.places[position].map(|(start, end)| &self.bytes[start..end])
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
        table.rows.len()
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
            written += u64::from(table.put(key, stamp, bytes));
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
        let mut encoded = Encoded::default();
        let mut pinned = Vec::with_capacity(reads.len());
        pinned.extend(reads.iter().map(|read| tables.get(read.view.name()).map(|table| (table, table.rows.pin()))));
        // All rows are looked up before the first is decoded: lookups wait for memory, and those side by side wait together.
        let mut found = Vec::with_capacity(reads.iter().map(|read| read.keys.len()).sum());
        for (read, pinned) in reads.iter().zip(&pinned) {
            encoded.read(read.keys);
            let row = |key| pinned.as_ref().and_then(|(_, rows)| rows.get(key)).map(|row| RowBytes::parse(row));
            found.extend((0..read.keys.len()).map(|position| encoded.get(position).and_then(row)));
        }
        let mut found = found.into_iter();
        let mut reader = Reader::new(reads)?;
        for (at, (read, pinned)) in reads.iter().zip(&pinned).enumerate() {
            let registered = pinned.as_ref().map(|(table, _)| table.registered.load());
            let mut view = reader.view(at, registered.as_deref().map(AsRef::as_ref))?;
            for (position, row) in found.by_ref().take(read.keys.len()).enumerate() {
                match row {
                    Some(row) => view.take(position, row)?,
                    None => view.skip(position),
                }
            }
        }
        reader.finish()
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
            if keys.encode(position, &mut key) && table.rows.pin().remove(key.as_slice()).is_some() {
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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use arrow::array::{Array, ArrayRef, AsArray, Int64Array, TimestampMicrosecondArray};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::{Entity, KeyType, ValueType};

    /// 16 keys, each with the value `turn` in four features, true from `turn` on.
    fn rows(turn: i64) -> RecordBatch {
        let all = |value: i64| Arc::new(Int64Array::from(vec![value; 16])) as ArrayRef;
        let keys = Arc::new(Int64Array::from_iter_values(0..16)) as ArrayRef;
        let times = Arc::new(TimestampMicrosecondArray::from(vec![turn; 16]).with_timezone("UTC")) as ArrayRef;
        let values = ["a", "b", "c", "d"].map(|name| (name, all(turn)));
        RecordBatch::try_from_iter([("id", keys), ("event_timestamp", times)].into_iter().chain(values)).unwrap()
    }

    #[test]
    fn readers_beside_writers_see_whole_rows_that_never_go_back() {
        let entity = Entity::builder("thing").key("id", KeyType::Int64).build().unwrap();
        let view = ["a", "b", "c", "d"]
            .into_iter()
            .fold(FeatureView::builder("v", entity), |view, name| view.feature(name, ValueType::Int64))
            .build()
            .unwrap();
        let store = MemoryStore::new();
        store.write_sync(&view, &rows(0), None).unwrap();
        let keys = Keys::of(view.entity(), &rows(0)).unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for writer in 0..2 {
                let (store, view, done) = (&store, &view, &done);
                scope.spawn(move || {
                    // The two come in each other's way: every row is written in an order of its own.
                    for turn in 1..400 {
                        store.write_sync(view, &rows(turn * 2 - writer), None).unwrap();
                    }
                    done.store(true, Ordering::Release);
                });
            }
            let mut before = [0; 16];
            while !done.load(Ordering::Acquire) {
                let read = OnlineRead { view: &view, features: &[0, 1, 2, 3], keys: &keys };
                let answer = store.read_sync(&[read]).unwrap().swap_remove(0);
                for (row, before) in before.iter_mut().enumerate() {
                    let values: Vec<i64> =
                        answer.columns.iter().map(|column| column.as_primitive::<Int64Type>().value(row)).collect();
                    assert!(values.iter().all(|value| *value == values[0] && answer.event_time.value(row) == *value));
                    assert!(values[0] >= *before, "{} after {before}", values[0]);
                    *before = values[0];
                }
            }
        });
        let last = store.read_sync(&[OnlineRead { view: &view, features: &[0], keys: &keys }]).unwrap();
        assert_eq!(last[0].columns[0].as_primitive::<Int64Type>().values(), &[798; 16]);
        assert_eq!((last[0].columns[0].null_count(), store.len(&view)), (0, 16));
    }
}
