//! Rows pushed to history and online: both have what was acknowledged, and neither half of a push.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use mlops_features::FeatureView;
use mlops_features::ingest::statistics::{FileStatistics, read_days};
use mlops_features::ingest::{Gate, Push, Target};
use mlops_features::offline::{HistoryRequest, OfflineStore, ParquetStore};
use mlops_features::online::RedbStore;

use super::{Asked, Store, Surface, online};
use crate::Result;
use crate::rows::{self, Row};
use crate::token::Token;

/// `mlops_features::ingest::Push`, into Parquet and redb, with statistics.
#[derive(Debug)]
pub struct Pushes;

impl Surface for Pushes {
    fn name(&self) -> &'static str {
        "push"
    }

    /// One: statistics of a view have one writer.
    fn writers(&self) -> u32 {
        1
    }

    fn open(&self, dir: &Path) -> Result<Box<dyn Store>> {
        let offline = Arc::new(ParquetStore::open(dir.join("history"))?);
        let online = Arc::new(RedbStore::open(dir.join("online.redb"))?);
        let statistics = Arc::new(FileStatistics::open(dir.join("statistics"))?);
        let view = rows::view()?;
        let push = Push::builder(view.clone()).offline(offline.clone()).online(online.clone());
        let push = push.gate(Gate::new().statistics(statistics.clone())).build()?;
        Ok(Box::new(Open { offline, online, statistics, push, view }))
    }
}

struct Open {
    offline: Arc<ParquetStore>,
    online: Arc<RedbStore>,
    statistics: Arc<FileStatistics>,
    push: Push,
    view: FeatureView,
}

impl Open {
    fn history(&self) -> Result<Vec<Row>> {
        let mut history = Vec::new();
        for batch in self.offline.scan(&self.view, &HistoryRequest::all())? {
            history.extend(rows::read(&batch?.rows)?);
        }
        Ok(history)
    }

    fn online(&self, keys: impl IntoIterator<Item = i64>) -> Result<BTreeMap<i64, Row>> {
        online::read(|reads| self.online.read_sync(reads), &self.view, keys.into_iter().collect())
    }

    /// Rows that were counted.
    fn counted(&self) -> Result<u64> {
        Ok(read_days(&*self.statistics, self.view.name(), i64::MIN..i64::MAX)?.map_or(0, |all| all.rows()))
    }

    /// Checks that all three places are those of pushes of `history` that nobody disturbed.
    fn undisturbed(&self, history: &[Row]) -> Result<()> {
        let mut latest: BTreeMap<i64, &Row> = BTreeMap::new();
        for row in history {
            if latest.get(&row.key).is_none_or(|before| before.stamp() <= row.stamp()) {
                latest.insert(row.key, row);
            }
        }
        let online = self.online(latest.keys().copied().chain(0..rows::SHARED_KEYS))?;
        // Of rows with equal times the one that came last stays: what is pushed again comes later than it did.
        let differs = |(key, row): &(&i64, &&Row)| online.get(key).map(Row::stamp) != Some(row.stamp());
        if let Some((key, row)) = latest.iter().find(differs) {
            return Err(format!("key {key} is not online as late as {} wrote it", row.token).into());
        }
        if online.len() != latest.len() {
            return Err(format!("{} keys are online and {} in history", online.len(), latest.len()).into());
        }
        match self.counted()? {
            counted if counted == history.len() as u64 => Ok(()),
            counted => Err(format!("statistics count {counted} of {} rows", history.len()).into()),
        }
    }
}

impl Store for Open {
    fn write(&self, token: Token) -> Result<()> {
        self.push.push(&rows::batch(&Row::all(token))?, Target::OnlineAndOffline)?;
        Ok(())
    }

    fn present(&self, asked: &Asked) -> Result<BTreeSet<Token>> {
        let history = self.history()?;
        let present = rows::whole_writes(&history, asked)?;
        // Online is what was acknowledged, and what a kill left between the two stores may be there or not; what did not
        // reach history is nowhere.
        let stored = self.online(asked.all().into_iter().map(rows::own_key))?;
        let online: BTreeSet<Token> = stored.values().map(|row| row.token).collect();
        if let Some(lost) = asked.acked.iter().find(|token| !online.contains(token)) {
            return Err(format!("{lost} was acknowledged and is not online").into());
        }
        if let Some(early) = online.difference(&present).next() {
            return Err(format!("{early} is online and not in history").into());
        }
        let shared = self.online(0..rows::SHARED_KEYS)?;
        for row in online.iter().flat_map(|token| Row::all(*token)).filter(|row| row.position > 0) {
            if shared.get(&row.key).is_none_or(|stored| stored.stamp() < row.stamp()) {
                return Err(format!("{} lost its row of key {} to an older one", row.token, row.key).into());
            }
        }
        // Each row is counted at most once, and every acknowledged one is.
        let counted = self.counted()?;
        let of = |tokens: &BTreeSet<Token>| tokens.iter().map(|token| rows::count(*token)).sum::<u64>();
        if !(of(&asked.acked)..=of(&present)).contains(&counted) {
            return Err(format!("statistics count {counted} rows, not those that came in").into());
        }
        // What was cut off is pushed again, and all is as if it had not been.
        for token in asked.in_flight.intersection(&present) {
            self.write(*token)?;
        }
        if self.history()? != history {
            return Err("what was pushed again stands in history twice".into());
        }
        self.undisturbed(&history).map_err(|e| format!("after another push: {e}"))?;
        Ok(present)
    }
}
