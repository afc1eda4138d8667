//! The rows of one write, in portions that are sent at once.

use std::time::Duration;

use super::script::Run;
use super::{Definition, RedisStore};
use crate::error::{Error, Result};
use crate::online::batch::{Batch, Blocks};
use crate::online::row::Stamp;
use crate::online::sealed;
use crate::view::FeatureView;

/// Most rows of one script, which keeps the server from everything else while it runs.
const SCRIPT_ROWS_MAX: usize = 512;

/// Rows of one script are sent once they have so many bytes.
const SCRIPT_BYTES: usize = 1 << 20;

/// Bytes that are sent before an answer is waited for.
const ROUND_BYTES: usize = 8 << 20;

/// Rows of a view as keys and arguments of a script.
pub(super) struct RowRuns {
    definition_key: Vec<u8>,
    checksum: [u8; 4],
    /// After which time rows are forgotten.
    ttl: Option<Duration>,
    key: Vec<u8>,
    /// How much of a row's key all have, and how much of it is not under the checksum.
    head: usize,
    unchecked: usize,
}

impl RowRuns {
    pub(super) fn new(store: &RedisStore, view: &FeatureView, definition: &Definition) -> Self {
        let key = store.row_key(view.name());
        Self {
            definition_key: store.key("view", view.name()),
            checksum: definition.checksum,
            ttl: view.ttl().zip(store.grace).map(|(ttl, grace)| ttl.saturating_add(grace)),
            head: key.len(),
            key,
            unchecked: store.unchecked(),
        }
    }

    /// A run without rows.
    pub(super) fn begin(&self) -> Run {
        let mut run = Run::default();
        run.key(&self.definition_key);
        run.argument(&self.checksum);
        run.argument(if self.ttl.is_some() { b"1" } else { b"0" });
        run
    }

    /// Adds the row `bytes` of `entity`, sealed, to `run`; behind what was `seen`, where that is compared.
    pub(super) fn push(
        &mut self,
        run: &mut Run,
        entity: &[u8],
        seen: Option<&[u8]>,
        stamp: Stamp,
        bytes: &mut Vec<u8>,
    ) {
        self.key.truncate(self.head);
        self.key.extend_from_slice(entity);
        sealed::seal(&self.key[self.unchecked..], bytes);
        run.key(&self.key);
        if let Some(seen) = seen {
            run.argument(seen);
        }
        run.argument(bytes);
        if let Some(ttl) = self.ttl {
            run.argument(expires_ms(stamp, ttl).to_string().as_bytes());
        }
    }
}

/// Runs of the script that writes, made as they are sent.
pub(super) struct Rounds<'a> {
    blocks: Blocks<'a>,
    rows: RowRuns,
}

impl<'a> Rounds<'a> {
    pub(super) fn new(store: &RedisStore, view: &'a FeatureView, definition: &Definition, batch: &'a Batch) -> Self {
        Self { blocks: batch.blocks(view, 0..batch.winners()), rows: RowRuns::new(store, view, definition) }
    }

    /// The next runs, as many as are sent before an answer is waited for; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Vec<Run>>> {
        let (mut round, mut round_bytes, mut run) = (Vec::new(), 0, self.rows.begin());
        while round_bytes + run.bytes() < ROUND_BYTES && self.blocks.next()? {
            let Self { blocks, rows } = self;
            blocks.for_each(|entity, stamp, bytes| {
                rows.push(&mut run, entity, None, stamp, bytes);
                if is_whole(&run) {
                    round_bytes += run.bytes();
                    round.push(std::mem::replace(&mut run, rows.begin()));
                }
                Ok::<_, Error>(())
            })?;
        }
        if run.keys() > 1 {
            round.push(run);
        }
        Ok((!round.is_empty()).then_some(round))
    }
}

/// Whether nothing more is put into `run`.
pub(super) fn is_whole(run: &Run) -> bool {
    run.keys() > SCRIPT_ROWS_MAX || run.bytes() >= SCRIPT_BYTES
}

/// The millisecond at which the server may forget a row, on its own clock.
fn expires_ms(stamp: Stamp, after: Duration) -> i64 {
    let after_us = i64::try_from(after.as_micros()).unwrap_or(i64::MAX);
    // Redis takes none before the epoch; the first millisecond is as long ago as any.
    (stamp.event_time.saturating_add(after_us) / 1_000).max(1)
}
