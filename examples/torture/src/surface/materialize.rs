//! History brought to the online store: what was cut off is run again and ends complete.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use mlops_features::offline::{HistoryRequest, OfflineStore, ParquetStore, Watermark};
use mlops_features::online::{MemoryStore, OnlineStore, RedbStore};
use mlops_features::{FeatureView, MaterializeOptions, materialize};

use super::{Asked, Store, Surface, online};
use crate::Result;
use crate::rows::{self, Row};
use crate::token::Token;

/// Rows per chunk: so few that a kill falls between the chunks of one write.
const CHUNK_ROWS: usize = 4;

/// `mlops_features::materialize`, from Parquet to redb.
#[derive(Debug)]
pub struct Materialize;

impl Surface for Materialize {
    fn name(&self) -> &'static str {
        "materialize"
    }

    /// One: a position belongs to one materialization.
    fn writers(&self) -> u32 {
        1
    }

    fn open(&self, dir: &Path) -> Result<Box<dyn Store>> {
        Ok(Box::new(Open {
            offline: ParquetStore::open(dir.join("history"))?,
            online: RedbStore::open(dir.join("online.redb"))?,
            view: rows::view()?,
        }))
    }
}

struct Open {
    offline: ParquetStore,
    online: RedbStore,
    view: FeatureView,
}

impl Open {
    fn run(&self, online: &dyn OnlineStore) -> Result<()> {
        let options = MaterializeOptions::builder().chunk_rows(CHUNK_ROWS).build()?;
        materialize(&self.offline, online, &self.view, &options, &mut |_| true)?;
        Ok(())
    }

    /// All of history, each row with the position after it.
    fn history(&self) -> Result<Vec<(Row, Watermark)>> {
        let mut all = Vec::new();
        for batch in self.offline.scan(&self.view, &HistoryRequest::all())? {
            let batch = batch?;
            let first = batch.end.rows - batch.rows.num_rows() as u64;
            let position = |at: u64| Watermark { rows: first + at + 1, ..batch.end };
            all.extend(rows::read(&batch.rows)?.into_iter().zip((0..).map(position)));
        }
        Ok(all)
    }

    fn online(&self, keys: &BTreeSet<i64>) -> Result<BTreeMap<i64, Row>> {
        online::read(|reads| self.online.read_sync(reads), &self.view, keys.iter().copied().collect())
    }

    /// What one run that nobody disturbs brings online.
    fn undisturbed(&self, keys: &BTreeSet<i64>) -> Result<BTreeMap<i64, Row>> {
        let store = MemoryStore::new();
        self.run(&store)?;
        online::read(|reads| store.read_sync(reads), &self.view, keys.iter().copied().collect())
    }
}

/// The row of each key that stays when `history` is written in its order.
fn latest<'a>(history: impl Iterator<Item = &'a Row>) -> BTreeMap<i64, &'a Row> {
    let mut latest: BTreeMap<i64, &Row> = BTreeMap::new();
    for row in history {
        if latest.get(&row.key).is_none_or(|stored| stored.stamp() <= row.stamp()) {
            latest.insert(row.key, row);
        }
    }
    latest
}

impl Store for Open {
    fn write(&self, token: Token) -> Result<()> {
        self.offline.append(&self.view, &rows::dataset(token)?)?;
        self.run(&self.online)
    }

    fn present(&self, asked: &Asked) -> Result<BTreeSet<Token>> {
        let history = self.history()?;
        let stored: Vec<Row> = history.iter().map(|(row, _)| row.clone()).collect();
        let tokens = rows::whole_writes(&stored, asked)?;
        // Of every write, so that a row that came online before its position is seen, too.
        let all = asked.all().into_iter().flat_map(Row::all);
        let keys: BTreeSet<i64> = all.map(|row| row.key).chain(0..rows::SHARED_KEYS).collect();

        // As the crash left it: the online store is exactly the history up to the position that it states.
        let position = self.online.watermark_sync(&self.view)?;
        let reached = |end: Watermark| position.is_some_and(|position| end <= position);
        let expected = latest(history.iter().filter(|(_, end)| reached(*end)).map(|(row, _)| row));
        same(&expected, &self.online(&keys)?)?;
        let behind = history.iter().find(|(row, end)| asked.acked.contains(&row.token) && !reached(*end));
        if let Some((row, end)) = behind {
            return Err(
                format!("{} was brought online up to {end}, but the position is {position:?}", row.token).into()
            );
        }

        self.run(&self.online)?;
        let expected = latest(history.iter().map(|(row, _)| row));
        let found = self.online(&keys)?;
        same(&expected, &found).map_err(|e| format!("after another run: {e}"))?;
        if found != self.undisturbed(&keys)? {
            return Err("another run ended otherwise than one that nobody disturbed".into());
        }
        if self.online.watermark_sync(&self.view)? != history.last().map(|(_, end)| *end) {
            return Err("another run did not come to the end of history".into());
        }
        Ok(tokens)
    }
}

fn same(expected: &BTreeMap<i64, &Row>, found: &BTreeMap<i64, Row>) -> Result<()> {
    if let Some((key, row)) = expected.iter().find(|(key, row)| found.get(key) != Some(**row)) {
        return Err(format!("key {key} is not online as {} wrote it at {}", row.token, row.position).into());
    }
    match found.iter().find(|(key, _)| !expected.contains_key(key)) {
        None => Ok(()),
        Some((key, row)) => Err(format!("key {key} is online before its position, as {} wrote it", row.token).into()),
    }
}
