//! Rows in the table, replaced by comparing.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use tokio::time::Instant;

use super::server::{Failure, Server, Session};
use super::tables::{STATEMENT_BYTES, STATEMENT_ROWS_MAX};
use super::{ADMISSIONS_MAX, PostgresStore};
use crate::error::{Core, Error, Result};
use crate::online::state::Swaps;
use crate::online::{RowTimes, StateStore, sealed};
use crate::view::FeatureView;

/// Rows of one statement, column by column, by ascending key.
#[derive(Default)]
struct Columns {
    positions: Vec<usize>,
    keys: Vec<Vec<u8>>,
    event_times: Vec<i64>,
    created: Vec<Option<i64>>,
    rows: Vec<Vec<u8>>,
    /// `None` where there was no row.
    seen_event_times: Vec<Option<i64>>,
    seen_created: Vec<Option<i64>>,
}

fn statements(id: u32, view: &FeatureView, swaps: &Swaps) -> Result<Vec<Columns>> {
    let (mut all, mut columns, mut bytes) = (Vec::new(), Columns::default(), 0);
    let mut full_key = id.to_be_bytes().to_vec();
    swaps.for_each(view, |swap| {
        full_key.truncate(4);
        full_key.extend_from_slice(swap.key);
        sealed::seal(&full_key, swap.bytes);
        bytes += swap.key.len() + swap.bytes.len();
        columns.positions.push(swap.position);
        columns.keys.push(swap.key.to_vec());
        columns.event_times.push(swap.stamp.event_time);
        columns.created.push(swap.stamp.created);
        columns.rows.push(swap.bytes.clone());
        columns.seen_event_times.push(swap.seen.map(|seen| seen.event_time));
        columns.seen_created.push(swap.seen.and_then(|seen| seen.created));
        if columns.keys.len() >= STATEMENT_ROWS_MAX || bytes >= STATEMENT_BYTES {
            bytes = 0;
            all.push(std::mem::take(&mut columns));
        }
        Ok::<_, Error>(())
    })?;
    if !columns.keys.is_empty() {
        all.push(columns);
    }
    Ok(all)
}

/// Puts all rows in one transaction; gives the positions of those that were put, or nothing when the view does not have this
/// number any more: its schema was dropped and made anew.
async fn swap(
    server: &Server,
    session: &Session,
    view: &str,
    id: u32,
    statements: &[Columns],
) -> Result<Option<Vec<usize>>, Failure> {
    let (schema, id) = (server.schema(), id.cast_signed());
    session.batch(server, "BEGIN").await?;
    let query = format!("SELECT id FROM \"{schema}\".views WHERE name = $1");
    let stored = session.client.query_opt(&query, &[&view]).await.map_err(|e| server.judge(&e))?;
    let stored = stored.map(|row| row.try_get::<_, i32>(0)).transpose().map_err(|e| server.judge(&e))?;
    if stored != Some(id) {
        session.batch(server, "ROLLBACK").await?;
        return Ok(None);
    }
    // In the order of keys, so that two who replace the same rows wait for each other instead of for ever.
    let lock = format!("SELECT 1 FROM \"{schema}\".rows WHERE view = $1 AND key = ANY ($2) ORDER BY key FOR UPDATE");
    let rows = "unnest($2::bytea[], $3::int8[], $4::int8[], $5::bytea[], $6::int8[], $7::int8[])
        AS n (key, event_time, created, body, seen_event_time, seen_created)";
    let put = format!(
        "WITH put AS (
            UPDATE \"{schema}\".rows r SET event_time = n.event_time, created = n.created, body = n.body FROM {rows}
            WHERE r.view = $1 AND r.key = n.key
                AND r.event_time = n.seen_event_time AND r.created IS NOT DISTINCT FROM n.seen_created
            RETURNING r.key
        ), made AS (
            INSERT INTO \"{schema}\".rows (view, key, event_time, created, body)
            SELECT $1::int4, n.key, n.event_time, n.created, n.body FROM {rows} WHERE n.seen_event_time IS NULL
            ORDER BY n.key
            ON CONFLICT (view, key) DO NOTHING
            RETURNING key
        )
        SELECT key FROM put UNION ALL SELECT key FROM made"
    );
    let mut done = Vec::new();
    for columns in statements {
        let Columns { positions, keys, event_times, created, rows, seen_event_times, seen_created } = columns;
        session.client.execute(&lock, &[&id, keys]).await.map_err(|e| server.judge(&e))?;
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
            [&id, keys, event_times, created, rows, seen_event_times, seen_created];
        for row in session.client.query(&put, &values).await.map_err(|e| server.judge(&e))? {
            let key: Vec<u8> = row.try_get(0).map_err(|e| server.judge(&e))?;
            done.extend(keys.binary_search(&key).ok().map(|at| positions[at]));
        }
    }
    session.batch(server, "COMMIT").await?;
    Ok(Some(done))
}

#[async_trait]
impl StateStore for PostgresStore {
    async fn replace(&self, view: &FeatureView, rows: &RecordBatch, seen: &[Option<RowTimes>]) -> Result<Vec<bool>> {
        let swaps = Swaps::new(view, rows, seen)?;
        let mut done = vec![false; swaps.len()];
        if done.is_empty() {
            return Ok(done);
        }
        let deadline = Instant::now() + self.write_within;
        for _ in 0..ADMISSIONS_MAX {
            let id = self.admit(deadline, view).await?.id;
            let (name, statements) = (view.name().to_string(), Arc::new(statements(id, view, &swaps)?));
            let work =
                async move |server: &Server, session: &Session| swap(server, session, &name, id, &statements).await;
            if let Some(put) = self.call(deadline, work).await? {
                put.into_iter().for_each(|position| done[position] = true);
                return Ok(done);
            }
            self.known.forget(view.name());
        }
        Err(Core::Busy { what: format!("{}: view `{}`", self.sessions.server.place(), view.name()) }.into())
    }
}
