//! Rows in this process: for services that load their features at start, and for tests.

mod replace;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use arrow::array::RecordBatch;
use async_trait::async_trait;
use foldhash::fast::RandomState;
use mlops_core::Name;
use papaya::{Compute, HashMap, Operation, ResizeMode};

use super::batch::Batch;
use super::registered::{Reader, Registered};
use super::row::{RowBytes, Stamp};
use super::{OnlineRead, OnlineRows, OnlineStore, WriteSummary};
use crate::error::{Error, Result};
use crate::key::Keys;
use crate::offline::Watermark;
use crate::view::FeatureView;

/// Room for one key before it is known how long it is.
const KEY_BYTES: usize = 64;

/// Online store in memory; nothing survives the process.
///
/// Readers take no lock and never wait: a row is written aside and then put in the place of the one before, which is freed
/// once no reader looks at it. Rows of several views with the same key lie side by side, so a read of all of them looks the
/// key up once and sees them as of one moment.
pub struct MemoryStore {
    tables: ArcSwap<BTreeMap<Name, Arc<Table>>>,
    rows: HashMap<Box<[u8]>, Box<[Slot]>, RandomState>,
    /// Held while a view is added or changed.
    registering: Mutex<()>,
}

struct Table {
    registered: ArcSwap<Registered>,
    /// May be behind what is there while others write, below zero, too.
    keys: AtomicIsize,
    watermark: Mutex<Option<Watermark>>,
}

/// The row of one view for a key.
#[derive(Clone)]
struct Slot {
    view: u32,
    row: Arc<[u8]>,
}

impl Slot {
    fn find(slots: &[Self], view: u32) -> Option<&[u8]> {
        slots.iter().find(|slot| slot.view == view).map(|slot| &*slot.row)
    }

    /// `slots` with `next` in the place of the row of its view.
    fn with(slots: &[Self], next: &Self) -> Box<[Self]> {
        match slots.iter().position(|slot| slot.view == next.view) {
            Some(at) => {
                let mut slots: Box<[Self]> = slots.into();
                slots[at] = next.clone();
                slots
            }
            None => slots.iter().chain([next]).cloned().collect(),
        }
    }

    /// `slots` without the row of `view`.
    fn without(slots: &[Self], view: u32) -> Box<[Self]> {
        slots.iter().filter(|slot| slot.view != view).cloned().collect()
    }
}

impl Table {
    fn new(registered: Registered) -> Self {
        Self {
            registered: ArcSwap::from_pointee(registered),
            keys: AtomicIsize::default(),
            watermark: Mutex::default(),
        }
    }

    /// Whether a row of `view` was put by `put`; a key that had none is counted.
    fn placed(&self, put: &Compute<'_, Box<[u8]>, Box<[Slot]>, ()>, view: u32) -> bool {
        let fresh = match put {
            Compute::Aborted(()) => return false,
            Compute::Updated { old: (_, slots), .. } => Slot::find(slots, view).is_none(),
            Compute::Inserted(..) | Compute::Removed(..) => true,
        };
        self.keys.fetch_add(isize::from(fresh), Ordering::Relaxed);
        true
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        // A map that grows bit by bit keeps all of its smaller tables while nobody writes, and each lookup goes through them:
        // after a load of 10 000 keys, seven tables and 260 steps instead of one and two.
        let rows = HashMap::builder().hasher(RandomState::default()).resize_mode(ResizeMode::Blocking).build();
        Self { tables: ArcSwap::default(), rows, registering: Mutex::default() }
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
        usize::try_from(table.keys.load(Ordering::Relaxed)).unwrap_or(0)
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

    /// Puts `bytes` in the place of an older row, in one step; says whether it did.
    fn put(&self, table: &Table, view: u32, key: &[u8], stamp: Stamp, bytes: &[u8]) -> bool {
        let newer = |slots: &[Slot]| {
            Slot::find(slots, view).and_then(RowBytes::parse).is_some_and(|stored| stored.stamp > stamp)
        };
        let rows = self.rows.pin();
        if rows.get(key).is_some_and(|slots| newer(slots)) {
            return false;
        }
        let next = Slot { view, row: bytes.into() };
        let put = rows.compute(key.into(), |stored| match stored {
            Some((_, slots)) if newer(slots) => Operation::Abort(()),
            Some((_, slots)) => Operation::Insert(Slot::with(slots, &next)),
            None => Operation::Insert(Slot::with(&[], &next)),
        });
        table.placed(&put, view)
    }

    /// Takes the row of `view` away; says whether there was one.
    fn take(&self, table: &Table, view: u32, key: &[u8]) -> bool {
        let rows = self.rows.pin();
        if rows.get(key).and_then(|slots| Slot::find(slots, view)).is_none() {
            return false;
        }
        let taken = rows.compute(key.into(), |stored| match stored {
            Some((_, slots)) if Slot::find(slots, view).is_none() => Operation::Abort(()),
            Some((_, slots)) if slots.len() > 1 => Operation::Insert(Slot::without(slots, view)),
            Some(_) => Operation::Remove,
            None => Operation::Abort(()),
        });
        let taken = !matches!(taken, Compute::Aborted(()));
        table.keys.fetch_sub(isize::from(taken), Ordering::Relaxed);
        taken
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
        let id = table.registered.load().id;
        let mut written = 0;
        batch.for_each(view, |key, stamp, bytes| {
            written += u64::from(self.put(&table, id, key, stamp, bytes));
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
        let rows = self.rows.pin();
        let mut reader = Reader::new(reads)?;
        let mut key = Vec::with_capacity(KEY_BYTES);
        let mut found: Vec<Option<&[Slot]>> = Vec::new();
        let mut of: Option<&Keys> = None;
        for (at, read) in reads.iter().enumerate() {
            if !of.is_some_and(|keys| std::ptr::eq(keys, read.keys)) {
                of = Some(read.keys);
                found.clear();
                // All keys are looked up before the first row is decoded: lookups wait for memory, and so they wait together.
                found.extend((0..read.keys.len()).map(|position| {
                    key.clear();
                    if read.keys.encode(position, &mut key) {
                        rows.get(key.as_slice()).map(|slots| &**slots)
                    } else {
                        None
                    }
                }));
            }
            let Some(table) = tables.get(read.view.name()) else {
                let mut view = reader.view(at, None)?;
                (0..read.keys.len()).for_each(|position| view.skip(position));
                continue;
            };
            let registered = table.registered.load();
            let mut view = reader.view(at, Some(&registered))?;
            for (position, slots) in found.iter().enumerate() {
                match slots.and_then(|slots| Slot::find(slots, registered.id)) {
                    Some(row) => view.push(position, row)?,
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
        let registered = table.registered.load();
        registered.ensure_keys(view)?;
        let mut key = Vec::new();
        let mut forgotten = 0;
        for position in 0..keys.len() {
            key.clear();
            if keys.encode(position, &mut key) {
                forgotten += u64::from(self.take(table, registered.id, &key));
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
    use std::sync::atomic::AtomicBool;

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

    fn view(name: &str) -> FeatureView {
        let entity = Entity::builder("thing").key("id", KeyType::Int64).build().unwrap();
        let features = ["a", "b", "c", "d"].into_iter();
        features
            .fold(FeatureView::builder(name, entity), |view, name| view.feature(name, ValueType::Int64))
            .build()
            .unwrap()
    }

    /// Two views with the same keys, each written and forgotten by threads of its own.
    #[test]
    fn views_that_share_keys_change_one_by_one() {
        let (store, views) = (MemoryStore::new(), [view("v"), view("w")]);
        let keys = Keys::of(views[0].entity(), &rows(0)).unwrap();
        let start = std::sync::Barrier::new(4);
        std::thread::scope(|scope| {
            for at in 0..4 {
                let (store, view, keys, start) = (&store, &views[at % 2], &keys, &start);
                scope.spawn(move || {
                    start.wait();
                    for turn in 0..200 {
                        store.write_sync(view, &rows(turn), None).unwrap();
                        if turn % 8 == at as i64 {
                            store.delete_sync(view, keys).unwrap();
                        }
                    }
                    store.write_sync(view, &rows(200), None).unwrap();
                });
            }
        });
        assert_eq!(views.each_ref().map(|view| store.len(view)), [16, 16]);
        assert_eq!(store.delete_sync(&views[0], &keys).unwrap(), 16);
        assert_eq!(views.each_ref().map(|view| store.len(view)), [0, 16]);
        let read = |view| OnlineRead { view, features: &[0], keys: &keys };
        let answers = store.read_sync(&[read(&views[0]), read(&views[1]), read(&view("x"))]).unwrap();
        let found = answers.iter().map(|answer| (0..16).filter(|row| answer.found(*row)).count());
        assert_eq!(found.collect::<Vec<_>>(), [0, 16, 0]);
        assert_eq!(answers[1].columns[0].as_primitive::<Int64Type>().values(), &[200; 16]);
        assert_eq!(store.delete_sync(&views[1], &keys).unwrap(), 16);
        assert!(store.rows.is_empty(), "a key without rows is gone");
    }

    #[test]
    fn readers_beside_writers_see_whole_rows_that_never_go_back() {
        let view = view("v");
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
