//! Rows on the server, replaced by comparing.

use arrow::array::RecordBatch;
use async_trait::async_trait;

use super::cells::SWAPS_MAX;
use super::client::{Call, Via};
use super::rounds::{RowRuns, is_whole};
use super::script::Run;
use super::wire::{Item, Malformed};
use super::{Definition, RedisStore};
use crate::error::{Error, Result};
use crate::online::row::Stamp;
use crate::online::state::Swaps;
use crate::online::{RowTimes, StateStore};
use crate::view::FeatureView;
use crate::wait::block_on;

/// The times of a row as the script cuts them out of a stored one; empty for none.
fn told(seen: Option<Stamp>) -> Vec<u8> {
    let Some(Stamp { event_time, created }) = seen else { return Vec::new() };
    let mut bytes = event_time.to_le_bytes().to_vec();
    bytes.push(if created.is_some() { b'1' } else { b'0' });
    bytes.extend(created.into_iter().flat_map(i64::to_le_bytes));
    bytes
}

impl RedisStore {
    async fn replace_via(
        &self,
        via: Via,
        view: &FeatureView,
        rows: &RecordBatch,
        seen: &[Option<RowTimes>],
    ) -> Result<Vec<bool>> {
        let swaps = Swaps::new(view, rows, seen)?;
        let mut done = vec![false; swaps.len()];
        if done.is_empty() {
            return Ok(done);
        }
        let call = self.cells.client.writing(via);
        for _ in 0..SWAPS_MAX {
            let definition = self.admit(call, view).await?;
            if self.swap(call, view, &definition, &swaps, &mut done).await? {
                return Ok(done);
            }
            // It was widened by another writer, or the server lost it.
            self.known.forget(view.name());
        }
        Err(self.cells.outrun(view.name()))
    }

    /// Puts the rows and notes which; false when the definition is not the one that is stored.
    async fn swap(
        &self,
        call: Call,
        view: &FeatureView,
        definition: &Definition,
        swaps: &Swaps,
        done: &mut [bool],
    ) -> Result<bool> {
        for (run, positions) in self.swap_runs(view, definition, swaps)? {
            let answer = self.replace_rows.run(&self.cells.client, call, &[run]).await?;
            let mut positions = positions.into_iter();
            for item in answer.items() {
                if let Item::Array(_) = item {
                    continue;
                }
                match (item, positions.next()) {
                    (Item::Integer(put @ (0 | 1)), Some(position)) => done[position] |= *put == 1,
                    (Item::Integer(-1), _) => return Ok(false),
                    _ => return Err(self.malformed(Malformed("something else than whether a row was put"))),
                }
            }
            if positions.next().is_some() {
                return Err(self.malformed(Malformed("less than it was asked")));
            }
        }
        Ok(true)
    }

    /// Runs of the script, each with the positions of its rows.
    fn swap_runs(&self, view: &FeatureView, definition: &Definition, swaps: &Swaps) -> Result<Vec<(Run, Vec<usize>)>> {
        let mut rows = RowRuns::new(self, view, definition);
        let mut runs = vec![(rows.begin(), Vec::new())];
        swaps.for_each(view, |swap| {
            if runs.last().is_none_or(|(run, _)| is_whole(run)) {
                runs.push((rows.begin(), Vec::new()));
            }
            let Some((run, positions)) = runs.last_mut() else { return Ok(()) };
            rows.push(run, swap.key, Some(&told(swap.seen)), swap.stamp, swap.bytes);
            positions.push(swap.position);
            Ok::<_, Error>(())
        })?;
        Ok(runs)
    }

    /// [`StateStore::replace`] as a plain call. A call that was tried again may say of a row that it put that it did not.
    ///
    /// # Errors
    /// As [`write_sync`](Self::write_sync).
    pub fn replace_sync(&self, view: &FeatureView, rows: &RecordBatch, seen: &[Option<RowTimes>]) -> Result<Vec<bool>> {
        block_on(self.replace_via(Via::Here, view, rows, seen))
    }
}

#[async_trait]
impl StateStore for RedisStore {
    async fn replace(&self, view: &FeatureView, rows: &RecordBatch, seen: &[Option<RowTimes>]) -> Result<Vec<bool>> {
        self.replace_via(Via::Crew, view, rows, seen).await
    }
}
