//! Events of a stream that is delivered again after a kill: each counts exactly once in the windows of its key.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mlops_core::EventTime;
use mlops_core::arrow::array::{ArrayRef, AsArray, Int64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
use mlops_core::arrow::datatypes::Int64Type;
use mlops_features::online::{MemoryStore, OnlineStore, RedbStore};
use mlops_features::stream::{StreamIngest, WindowStates, channel};
use mlops_features::testkit::block_on;
use mlops_features::window::{Op, TimeWindow, WindowView};
use mlops_features::{Entity, KeyType, Keys, ValueType};

use super::{Asked, Store, Surface};
use crate::Result;
use crate::rows::{self, Row, SHARED_KEYS};
use crate::token::Token;

/// After every event.
const NOW: EventTime = EventTime::from_micros(1 << 50);

/// `mlops_features::stream::StreamIngest`, into states in redb.
#[derive(Debug)]
pub struct Streams;

impl Surface for Streams {
    fn name(&self) -> &'static str {
        "stream"
    }

    /// One: the undisturbed run that is compared with takes the events in their order.
    fn writers(&self) -> u32 {
        1
    }

    fn open(&self, dir: &Path) -> Result<Box<dyn Store>> {
        let store = Arc::new(RedbStore::open(dir.join("online.redb"))?);
        let entity = Entity::builder("thing").key("key", KeyType::Int64).build()?;
        let view = WindowView::builder("torture", entity)
            .column("position", ValueType::Int64)
            .event_id("event")
            .lateness(Duration::from_secs(1 << 20))
            .events_max(1 << 20)
            .count(TimeWindow::lifetime())
            .aggregate("position", Op::Sum, TimeWindow::sawtooth(Duration::from_secs(1 << 31)))
            .aggregate("position", Op::LastN { n: 3 }, TimeWindow::exact(Duration::from_secs(200)))
            .aggregate("position", Op::Mean, TimeWindow::tumbling(Duration::from_secs(50)))
            .build()?;
        let ingest = StreamIngest::builder("torture")?.windows(&view, store.clone())?.build()?;
        Ok(Box::new(Open { store, ingest, states: WindowStates::new(&view)? }))
    }
}

struct Open {
    store: Arc<RedbStore>,
    ingest: StreamIngest,
    states: WindowStates,
}

/// The rows of a write as events.
fn events(token: Token) -> Result<RecordBatch> {
    let all = Row::all(token);
    let ints = |of: fn(&Row) -> i64| Arc::new(all.iter().map(of).collect::<Int64Array>()) as ArrayRef;
    let times = TimestampMicrosecondArray::from_iter_values(all.iter().map(|row| row.event_time)).with_timezone("UTC");
    let ids = all.iter().map(|row| Some(format!("{token}/{}", row.position))).collect::<StringArray>();
    Ok(RecordBatch::try_from_iter([
        ("key", ints(|row| row.key)),
        ("event_timestamp", Arc::new(times) as ArrayRef),
        ("event", Arc::new(ids)),
        ("position", ints(|row| row.position as i64)),
    ])?)
}

impl Open {
    /// Number of events and sum of their positions, per key.
    fn counts(&self, wanted: &[i64]) -> Result<BTreeMap<i64, (i64, i64)>> {
        let entity = self.states.windows().entity();
        let keys = Keys::new(entity, &[Arc::new(Int64Array::from(wanted.to_vec())) as ArrayRef])?;
        let rows = block_on(self.states.get(&*self.store, &keys, &[0, 1], NOW))?;
        let value = |column: usize, row: usize| rows.columns[column].as_primitive::<Int64Type>().value(row);
        Ok(wanted.iter().enumerate().map(|(row, key)| (*key, (value(0, row), value(1, row)))).collect())
    }
}

impl Open {
    /// All features of the keys at some moments, in `store`.
    fn features(&self, store: &dyn OnlineStore, wanted: &[i64]) -> Result<Vec<Vec<ArrayRef>>> {
        let keys =
            Keys::new(self.states.windows().entity(), &[Arc::new(Int64Array::from(wanted.to_vec())) as ArrayRef])?;
        let moments =
            [NOW, EventTime::from_secs(rows::INSTANTS as i64), EventTime::from_secs(rows::INSTANTS as i64 + 90)];
        let at = |now| Ok(block_on(self.states.get(store, &keys, &[0, 1, 2, 3], now))?.columns);
        moments.into_iter().map(at).collect()
    }

    /// Checks that the windows are those of a stream that brought all of `tokens` once and was never cut off.
    fn undisturbed(&self, tokens: &[Token], keys: &[i64]) -> Result<()> {
        let store = Arc::new(MemoryStore::new());
        let ingest = StreamIngest::builder("undisturbed")?.windows(self.states.windows(), store.clone())?.build()?;
        deliver(&ingest, tokens)?;
        if self.features(&*self.store, keys)? == self.features(&*store, keys)? {
            return Ok(());
        }
        Err("windows differ from those of a stream that was never cut off".into())
    }
}

/// The events of all `tokens`, in order.
fn deliver(ingest: &StreamIngest, tokens: &[Token]) -> Result<()> {
    let all = tokens.iter().map(|token| events(*token)).collect::<Result<Vec<_>>>()?;
    let (sender, mut source) = channel(all.iter().map(RecordBatch::num_rows).sum::<usize>().max(1));
    all.into_iter().try_for_each(|events| sender.send(events))?;
    drop(sender);
    ingest.run(&mut source, &mut |_| true)?;
    Ok(())
}

impl Store for Open {
    /// Delivers the events twice, as a stream does that lost an acknowledgement.
    fn write(&self, token: Token) -> Result<()> {
        deliver(&self.ingest, &[token, token])
    }

    fn present(&self, asked: &Asked) -> Result<BTreeSet<Token>> {
        let all: Vec<Token> = asked.all().into_iter().collect();
        let own: Vec<i64> = all.iter().map(|token| rows::own_key(*token)).collect();
        let counted = self.counts(&own)?;
        let present: BTreeSet<Token> =
            all.iter().filter(|token| counted[&rows::own_key(**token)].0 > 0).copied().collect();
        let mut expected: BTreeMap<i64, (i64, i64)> = BTreeMap::new();
        for row in present.iter().flat_map(|token| Row::all(*token)) {
            let (count, sum) = expected.entry(row.key).or_default();
            *count += 1;
            *sum += row.position as i64;
        }
        let mut found = counted;
        found.extend(self.counts(&(0..SHARED_KEYS).collect::<Vec<_>>())?);
        match found.iter().find(|(key, found)| **found != expected.get(key).copied().unwrap_or_default()) {
            None => {}
            Some((key, (count, sum))) => {
                let expected = expected.get(key);
                return Err(format!("key {key} counts {count} events and {sum}, expected {expected:?}").into());
            }
        }
        // What may not have come is delivered once more, and all is as if the stream had never been cut off.
        let again: Vec<Token> = asked.in_flight.iter().copied().collect();
        deliver(&self.ingest, &again)?;
        self.undisturbed(&all, &found.keys().copied().collect::<Vec<_>>())?;
        Ok(present)
    }
}
