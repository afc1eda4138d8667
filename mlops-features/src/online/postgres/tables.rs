//! What is asked of the tables.

use std::collections::BTreeMap;

use super::server::{Failure, Server, Session};
use crate::error::{Core, Error, Result};
use crate::offline::Watermark;
use crate::online::batch::Batch;
use crate::online::registered::{Registered, ViewReader};
use crate::online::row::Stamp;
use crate::online::sealed;
use crate::view::FeatureView;

/// Most rows of one statement.
const STATEMENT_ROWS_MAX: usize = 8_192;

/// Rows of one statement are sent once they have so many bytes.
const STATEMENT_BYTES: usize = 8 << 20;

/// Definitions as they are stored, by name.
pub(super) type Stored = BTreeMap<String, Vec<u8>>;

impl Session {
    pub(super) async fn definitions(&self, server: &Server, names: &[String]) -> Result<Stored, Failure> {
        if names.is_empty() {
            return Ok(Stored::new());
        }
        let query = format!("SELECT name, body FROM \"{}\".views WHERE name = ANY ($1)", server.schema());
        let rows = self.client.query(&query, &[&names]).await.map_err(|e| server.judge(&e))?;
        let read = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|e| server.judge(&e))
    }

    pub(super) async fn batch(&self, server: &Server, sql: &str) -> Result<(), Failure> {
        self.client.batch_execute(sql).await.map_err(|e| server.judge(&e))
    }
}

/// The definition in a stored value.
pub(super) fn parse(server: &Server, view: &str, stored: &[u8]) -> Result<Registered> {
    let corrupt = |reason| Core::corrupt(format!("{}: schema `{}`", server.place(), server.schema()), reason).into();
    sealed::view(view.as_bytes(), stored).map_err(corrupt)
}

/// Stores the definition of `view` if it is new; gives the one that is stored then.
pub(super) async fn admit(server: &Server, session: &Session, view: &FeatureView) -> Result<Registered, Failure> {
    let (schema, name) = (server.schema(), view.name().to_string());
    session.batch(server, &format!("BEGIN; LOCK TABLE \"{schema}\".views IN SHARE ROW EXCLUSIVE MODE")).await?;
    let stored = session.definitions(server, std::slice::from_ref(&name)).await?;
    let known = stored.get(&name).map(|stored| parse(server, &name, stored)).transpose()?;
    let next = if let Some(known) = &known {
        known.admit(view)?
    } else {
        let free = format!("SELECT coalesce(max(id) + 1, 0) FROM \"{schema}\".views");
        let free = session.client.query_one(&free, &[]).await.and_then(|row| row.try_get::<_, i32>(0));
        let free = free.map_err(|e| server.judge(&e))?;
        Some(Registered::new(u32::try_from(free).unwrap_or_default(), view))
    };
    if let Some(next) = &next {
        let body = sealed::view_bytes(name.as_bytes(), next)?;
        let upsert = format!(
            "INSERT INTO \"{schema}\".views (name, id, body) VALUES ($1, $2, $3)
            ON CONFLICT (name) DO UPDATE SET body = excluded.body"
        );
        let done = session.client.execute(&upsert, &[&name, &next.id.cast_signed(), &body]).await;
        done.map_err(|e| server.judge(&e))?;
    }
    session.batch(server, "COMMIT").await?;
    next.or(known).ok_or_else(|| Error::from(Core::not_found("view", name)).into())
}

/// Rows of one statement, column by column.
#[derive(Default)]
pub(super) struct Columns {
    /// How many rows of the call stand in statements before.
    pub(super) first: usize,
    pub(super) keys: Vec<Vec<u8>>,
    pub(super) event_times: Vec<i64>,
    pub(super) created: Vec<Option<i64>>,
    pub(super) rows: Vec<Vec<u8>>,
}

/// The rows of one call by statement, in the making.
pub(super) struct Statements {
    full_key: Vec<u8>,
    all: Vec<Columns>,
    /// Of the last one.
    bytes: usize,
}

impl Statements {
    /// For rows of the view with this number.
    pub(super) fn new(id: u32) -> Self {
        Self { full_key: id.to_be_bytes().to_vec(), all: Vec::new(), bytes: 0 }
    }

    /// Takes `row`, sealed under its key.
    pub(super) fn push(&mut self, key: &[u8], stamp: Stamp, row: &mut Vec<u8>) {
        self.full_key.truncate(4);
        self.full_key.extend_from_slice(key);
        sealed::seal(&self.full_key, row);
        let is_whole = |last: &Columns| last.keys.len() >= STATEMENT_ROWS_MAX || self.bytes >= STATEMENT_BYTES;
        let mut columns = match self.all.pop() {
            Some(last) if is_whole(&last) => {
                let first = last.first + last.keys.len();
                self.all.push(last);
                self.bytes = 0;
                Columns { first, ..Columns::default() }
            }
            last => last.unwrap_or_default(),
        };
        self.bytes += key.len() + row.len();
        columns.keys.push(key.to_vec());
        columns.event_times.push(stamp.event_time);
        columns.created.push(stamp.created);
        columns.rows.push(row.clone());
        self.all.push(columns);
    }

    pub(super) fn finish(self) -> Vec<Columns> {
        self.all
    }
}

/// The rows of a batch by statement.
pub(super) fn statements(id: u32, view: &FeatureView, batch: &Batch) -> Result<Vec<Columns>> {
    let mut statements = Statements::new(id);
    batch.for_each(view, |key, stamp, row| {
        statements.push(key, stamp, row);
        Ok::<_, Error>(())
    })?;
    Ok(statements.finish())
}

/// Begins a transaction on rows of `view`; false, and none is begun, when the view does not have this number any more: its
/// schema was dropped and made anew.
pub(super) async fn begin(server: &Server, session: &Session, view: &str, id: i32) -> Result<bool, Failure> {
    session.batch(server, "BEGIN").await?;
    let query = format!("SELECT id FROM \"{}\".views WHERE name = $1", server.schema());
    let stored = session.client.query_opt(&query, &[&view]).await.map_err(|e| server.judge(&e))?;
    let stored = stored.map(|row| row.try_get::<_, i32>(0)).transpose().map_err(|e| server.judge(&e))?;
    if stored != Some(id) {
        session.batch(server, "ROLLBACK").await?;
        return Ok(false);
    }
    Ok(true)
}

/// Writes all of it in one transaction; says how many rows are now the latest, or nothing when it could not [`begin`].
pub(super) async fn upsert(
    server: &Server,
    session: &Session,
    view: &FeatureView,
    id: u32,
    statements: &[Columns],
    checkpoint: Option<Watermark>,
) -> Result<Option<u64>, Failure> {
    let (id, name) = (id.cast_signed(), view.name().as_str());
    if !begin(server, session, name, id).await? {
        return Ok(None);
    }
    let mut written = 0;
    for columns in statements {
        let Columns { keys, event_times, created, rows, .. } = columns;
        let done = session.client.execute(&session.upsert, &[&id, keys, event_times, created, rows]).await;
        written += done.map_err(|e| server.judge(&e))?;
    }
    if let Some(reached) = checkpoint {
        // Signed numbers in the order of the unsigned ones, which PostgreSQL has not.
        let ordered = |number: u64| (number ^ 1 << 63).cast_signed();
        let body = sealed::watermark_bytes(name.as_bytes(), reached);
        let upsert = format!(
            "INSERT INTO \"{}\".watermarks AS w (name, sequence, rows, body) VALUES ($1, $2, $3, $4)
            ON CONFLICT (name) DO UPDATE
            SET sequence = excluded.sequence, rows = excluded.rows, body = excluded.body
            WHERE (excluded.sequence, excluded.rows) > (w.sequence, w.rows)",
            server.schema()
        );
        let numbers = (ordered(reached.sequence), ordered(reached.rows));
        let done = session.client.execute(&upsert, &[&name, &numbers.0, &numbers.1, &body]).await;
        done.map_err(|e| server.judge(&e))?;
    }
    session.batch(server, "COMMIT").await?;
    Ok(Some(written))
}

/// What is asked of one view.
pub(super) struct Asked {
    pub(super) name: String,
    /// Its number, where that is known.
    pub(super) id: Option<u32>,
    /// `None` for a key that is null.
    pub(super) keys: Vec<Option<Vec<u8>>>,
}

/// What came back: definitions that were not known, and rows by position among all keys that were asked for.
pub(super) struct Found {
    pub(super) definitions: Stored,
    pub(super) rows: Vec<Vec<Option<Vec<u8>>>>,
}

pub(super) async fn find(server: &Server, session: &Session, asked: &[Asked]) -> Result<Found, Failure> {
    let unknown: Vec<String> = asked.iter().filter(|view| view.id.is_none()).map(|view| view.name.clone()).collect();
    let definitions = session.definitions(server, &unknown).await?;
    let (mut ids, mut keys, mut places) = (Vec::<i32>::new(), Vec::<&[u8]>::new(), Vec::new());
    let mut rows = Vec::with_capacity(asked.len());
    for (at, view) in asked.iter().enumerate() {
        rows.push(vec![None; view.keys.len()]);
        let id = match (view.id, definitions.get(&view.name)) {
            (Some(id), _) => id,
            (None, Some(stored)) => parse(server, &view.name, stored)?.id,
            (None, None) => continue,
        };
        for (position, key) in view.keys.iter().enumerate() {
            if let Some(key) = key {
                ids.push(id.cast_signed());
                keys.push(key);
                places.push((at, position));
            }
        }
    }
    if !ids.is_empty() {
        let found = session.client.query(&session.read, &[&ids, &keys]).await.map_err(|e| server.judge(&e))?;
        for row in found {
            let (position, body): (i64, Vec<u8>) =
                row.try_get(0).and_then(|n| Ok((n, row.try_get(1)?))).map_err(|e| server.judge(&e))?;
            // Positions count from one.
            let place = usize::try_from(position - 1).ok().and_then(|position| places.get(position));
            if let Some((at, position)) = place {
                rows[*at][*position] = Some(body);
            }
        }
    }
    Ok(Found { definitions, rows })
}

/// Puts the rows of one view, as they were received, into the columns of its read.
pub(super) fn fill(
    view: &mut ViewReader<'_>,
    known: Option<&Registered>,
    asked: &Asked,
    rows: &[Option<Vec<u8>>],
) -> Result<()> {
    let mut full_key = known.map_or(0, |known| known.id).to_be_bytes().to_vec();
    for (position, (key, row)) in asked.keys.iter().zip(rows).enumerate() {
        let (Some(key), Some(row)) = (key, row) else {
            view.skip(position);
            continue;
        };
        full_key.truncate(4);
        full_key.extend_from_slice(key);
        let row = sealed::open(&full_key, row).ok_or_else(|| view.corrupt("the checksum does not fit"))?;
        view.push(position, row)?;
    }
    Ok(())
}
