//! From what is kept to what can be searched.

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use mlops_core::Dataset;
use mlops_core::source::ScanRequest;
use serde::{Deserialize, Serialize};

use super::store::VectorStore;
use crate::error::{Core, Result};
use crate::key::{Keys, pick};
use crate::offline::{HistoryRequest, OfflineStore, Watermark};
use crate::online::{OnlineRead, OnlineStore, WriteSummary};
use crate::wait::block_on;

/// Rows that are taken at a time.
const ROWS_AT_ONCE: usize = 4096;

/// What a filling did so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FillReport {
    /// Rows that were read.
    pub rows: u64,
    /// Rows with a null in their key, which were left out.
    pub null_keys: u64,
    /// Vectors that cannot be compared and were [left out](super::Unusable::LeaveOut).
    pub unusable: u64,
    /// What became of the other rows.
    pub taken: WriteSummary,
    /// Position in history up to which it came; `None` where rows came from elsewhere.
    pub to: Option<Watermark>,
}

impl VectorStore {
    /// Takes the view's history as far as `request` asks for it, in the order in which it came in: all of it when a service
    /// starts; what came [after](HistoryRequest::after) the position of the last report from time to time, where other
    /// processes write; what was true up to an instant by a [window](HistoryRequest::window). Features and rows at a time
    /// are for the store to say.
    ///
    /// What is in already stays where it is later, so filling again changes nothing but what is new. History knows of no
    /// deletions: a key that was deleted online comes back until it is deleted here. Calls `progress` after some thousand rows,
    /// which may answer false to stop there; memory is that of the index and one batch.
    ///
    /// # Errors
    /// Whatever keeps the store from reading, and as [`write`](Self::write); rows before stay. `Core(Cancelled)` when `progress`
    /// said so.
    pub fn fill_from_history(
        &self,
        offline: &dyn OfflineStore,
        request: &HistoryRequest,
        progress: &mut dyn FnMut(&FillReport) -> bool,
    ) -> Result<FillReport> {
        let feature = self.view.feature_index(self.feature().name.as_str())?;
        let start = request.start();
        let request = request.clone().features([feature]).batch_rows(ROWS_AT_ONCE);
        let batches = offline.scan(&self.view, &request)?.map(|batch| batch.map(|batch| (batch.rows, Some(batch.end))));
        let report = self.fill(batches, progress)?;
        Ok(FillReport { to: report.to.or(start), ..report })
    }

    /// Takes the rows of a data set, which has the key columns, the times and the vector of the view.
    ///
    /// # Errors
    /// As [`fill_from_history`](Self::fill_from_history).
    pub fn fill_from_dataset(
        &self,
        data: &Dataset,
        progress: &mut dyn FnMut(&FillReport) -> bool,
    ) -> Result<FillReport> {
        let known = data.schema().arrow();
        let fields = self.narrow.schema().arrow().fields();
        // A column that is missing is told by the check of the rows.
        let columns = fields.iter().map(|field| field.name().clone()).filter(|name| known.index_of(name).is_ok());
        let request = ScanRequest::all().columns(columns.collect::<Vec<_>>()).batch_rows(ROWS_AT_ONCE);
        self.fill(data.scan(&request)?.map(|batch| Ok((batch?, None))), progress)
    }

    /// Takes what an online store has of the keys in `entities`, which has the key columns of the view: all that a store
    /// that nobody can list gives away.
    ///
    /// This is a plain call that waits for the store: on an async runtime, run it on a thread for blocking work.
    ///
    /// # Errors
    /// As [`fill_from_history`](Self::fill_from_history).
    pub fn fill_from_online(
        &self,
        online: &dyn OnlineStore,
        entities: &RecordBatch,
        progress: &mut dyn FnMut(&FillReport) -> bool,
    ) -> Result<FillReport> {
        let starts = (0..entities.num_rows()).step_by(ROWS_AT_ONCE);
        let read = |start: usize| {
            let rows = ROWS_AT_ONCE.min(entities.num_rows() - start);
            Ok((self.read(online, &entities.slice(start, rows))?, None))
        };
        self.fill(starts.map(read), progress)
    }

    fn read(&self, online: &dyn OnlineStore, entities: &RecordBatch) -> Result<RecordBatch> {
        let names: Vec<_> = self.view.entity().keys().iter().map(|key| key.name.clone()).collect();
        let mut columns: Vec<ArrayRef> = pick(entities, &names)?;
        let keys = Keys::new(self.view.entity(), &columns)?;
        let features = [self.view.feature_index(self.feature().name.as_str())?];
        let read = OnlineRead { view: &self.view, features: &features, keys: &keys };
        let missing = || Core::schema("online store", "one answer per read", "none");
        let rows = block_on(online.read(&[read]))?.pop().ok_or_else(missing)?;
        let found: BooleanArray = (0..keys.len()).map(|row| Some(rows.found(row))).collect();
        let fields = self.narrow.schema().arrow().fields().iter().map(|field| field.name().clone());
        columns.push(std::sync::Arc::new(rows.event_time));
        if self.view.created().is_some() {
            columns.push(std::sync::Arc::new(rows.created));
        }
        columns.extend(rows.columns);
        let all =
            RecordBatch::try_from_iter_with_nullable(fields.zip(columns).map(|(name, column)| (name, column, true)))?;
        Ok(filter_record_batch(&all, &found)?)
    }

    fn fill(
        &self,
        batches: impl Iterator<Item = Result<(RecordBatch, Option<Watermark>)>>,
        progress: &mut dyn FnMut(&FillReport) -> bool,
    ) -> Result<FillReport> {
        let mut report = FillReport::default();
        for batch in batches {
            let (batch, end) = batch?;
            let rows = crate::materialize::with_keys(&self.view, batch.clone())?;
            report.rows += batch.num_rows() as u64;
            report.null_keys += (batch.num_rows() - rows.num_rows()) as u64;
            let rows = self.check(&rows)?;
            report.unusable += rows.unusable;
            report.taken += self.apply(&rows)?;
            report.to = end;
            if !progress(&report) {
                let stage = format!("filling of `{}:{}`", self.view.name(), self.feature().name);
                return Err(Core::Cancelled { stage }.into());
            }
        }
        self.set_behind(false);
        Ok(report)
    }
}
