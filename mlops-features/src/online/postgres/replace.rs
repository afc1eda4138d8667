//! Rows in the table, replaced by comparing.

use std::sync::Arc;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use tokio::time::Instant;

use super::server::{Failure, Server, Session};
use super::tables::{Columns, Statements, begin};
use super::{ADMISSIONS_MAX, PostgresStore};
use crate::error::{Core, Error, Result};
use crate::online::state::Swaps;
use crate::online::{RowTimes, StateStore};
use crate::view::FeatureView;

/// Rows of one call by ascending key, each with what was seen.
struct Asked {
    statements: Vec<Columns>,
    /// Per row, its position in the call.
    positions: Vec<usize>,
    /// Per row, `None` where there was no row.
    event_times: Vec<Option<i64>>,
    created: Vec<Option<i64>>,
}

impl Asked {
    fn new(id: u32, view: &FeatureView, swaps: &Swaps) -> Result<Self> {
        let mut statements = Statements::new(id);
        let (mut positions, mut event_times, mut created) = (Vec::new(), Vec::new(), Vec::new());
        swaps.for_each(view, |swap| {
            statements.push(swap.key, swap.stamp, swap.bytes);
            positions.push(swap.position);
            event_times.push(swap.seen.map(|seen| seen.event_time));
            created.push(swap.seen.and_then(|seen| seen.created));
            Ok::<_, Error>(())
        })?;
        Ok(Self { statements: statements.finish(), positions, event_times, created })
    }
}

/// Puts all rows in one transaction; gives the positions of those that were put, or nothing when it could not [`begin`].
async fn swap(
    server: &Server,
    session: &Session,
    view: &str,
    id: u32,
    asked: &Asked,
) -> Result<Option<Vec<usize>>, Failure> {
    let (schema, id) = (server.schema(), id.cast_signed());
    if !begin(server, session, view, id).await? {
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
    for Columns { first, keys, event_times, created, rows } in &asked.statements {
        let these = *first..*first + keys.len();
        let (seen_event_times, seen_created) = (&asked.event_times[these.clone()], &asked.created[these.clone()]);
        session.client.execute(&lock, &[&id, keys]).await.map_err(|e| server.judge(&e))?;
        let values: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
            [&id, keys, event_times, created, rows, &seen_event_times, &seen_created];
        for row in session.client.query(&put, &values).await.map_err(|e| server.judge(&e))? {
            let key: Vec<u8> = row.try_get(0).map_err(|e| server.judge(&e))?;
            done.extend(keys.binary_search(&key).ok().map(|at| asked.positions[these.start + at]));
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
            let (name, asked) = (view.name().to_string(), Arc::new(Asked::new(id, view, &swaps)?));
            let work = async move |server: &Server, session: &Session| swap(server, session, &name, id, &asked).await;
            if let Some(put) = self.call(deadline, work).await? {
                put.into_iter().for_each(|position| done[position] = true);
                return Ok(done);
            }
            self.known.forget(view.name());
        }
        Err(Core::Busy { what: format!("{}: view `{}`", self.sessions.server.place(), view.name()) }.into())
    }
}
