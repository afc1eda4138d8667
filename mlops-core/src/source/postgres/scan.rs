//! Reads rows on a thread of its own, in one snapshot, and goes on behind the last row when the server was lost.

use std::fmt::Write;
use std::pin::pin;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use arrow::array::{BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter;
use bytes::BytesMut;
use futures_util::TryStreamExt;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};
use tokio_postgres::{Client, Row, Statement};

use super::columns::{self, push_hex};
use super::connect::{Connections, Patience, spawn};
use super::copy::Tuples;
use super::cursor::{Cursor, bound};
use super::sql::{Bound, Conditions, Relation, listed};
use super::table::{Column, not_found};
use crate::error::Cause;
use crate::postgres::Failure;
use crate::source::cells::Misfit;
use crate::source::quarantine::{Fault, Gate};
use crate::{Error, Result, Schema};

/// Bytes of rows at which a batch is cut.
const BATCH_BYTES_MAX: usize = 32 << 20;

/// One state of the database, until the end.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

/// The end, and of whatever a query may have set or locked for as long as its connection lives.
const END: &str = "COMMIT; RESET ALL; SELECT pg_catalog.pg_advisory_unlock_all()";

/// Keeps a scan in one order: parallel workers and scans that join each other would mix it. The second keeps a table
/// without a key from being read through an index, whose order would depend on what is asked.
const SETTINGS: &str = "SET LOCAL synchronize_seqscans = off; SET LOCAL max_parallel_workers_per_gather = 0";
const SETTINGS_UNORDERED: &str =
    "; SET LOCAL enable_indexscan = off; SET LOCAL enable_indexonlyscan = off; SET LOCAL enable_bitmapscan = off";

/// Everything that one scan needs.
pub(super) struct Scan {
    pub(super) connections: Connections,
    pub(super) patience: Patience,
    pub(super) relation: Relation,
    /// The columns of every batch.
    pub(super) read: Vec<Column>,
    pub(super) schema: Schema,
    pub(super) keys: Vec<Column>,
    /// Whether rows without a key come in the order in which they are stored.
    pub(super) stored_order: bool,
    pub(super) conditions: Conditions,
    pub(super) limit: Option<u64>,
    pub(super) batch_rows: usize,
    pub(super) after: Option<Vec<Vec<u8>>>,
    pub(super) gate: Gate,
}

/// What comes from the thread.
pub(super) struct Rows {
    receive: Receiver<Result<Option<Piece>>>,
    connections: Connections,
    patience: Patience,
    ended: bool,
}

/// Some rows, and where they end.
pub(super) struct Piece {
    pub(super) batch: RecordBatch,
    pub(super) cursor: Option<Cursor>,
}

impl Scan {
    /// Starts the thread and waits until the server has accepted the query.
    pub(super) fn start(self) -> Result<Rows> {
        let (send, receive) = sync_channel(1);
        let (connections, patience) = (self.connections.clone(), self.patience);
        let worker = Worker {
            cells: self.read.iter().map(|column| columns::Column::new(&column.kind)).collect(),
            last: self.after.clone(),
            scan: self,
            send,
            opened: false,
            keep: Vec::new(),
            bytes: 0,
            seen: 0,
        };
        spawn(move || worker.run())?;
        let mut rows = Rows { receive, connections, patience, ended: false };
        match rows.receive() {
            Ok(_opened) => Ok(rows),
            Err(error) => Err(error),
        }
    }
}

impl Rows {
    fn receive(&mut self) -> Result<Option<Piece>> {
        self.receive.recv_timeout(self.patience.wait).unwrap_or_else(|e| Err(self.connections.silent(self.patience, e)))
    }
}

impl Iterator for Rows {
    type Item = Result<Piece>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.receive().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Why an attempt stopped before the end.
enum Stop {
    Failed(Failure),
    /// Nobody listens any more.
    Dropped,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error.into())
    }
}

struct Worker {
    scan: Scan,
    send: SyncSender<Result<Option<Piece>>>,
    opened: bool,
    cells: Vec<columns::Column>,
    /// For each row since the last batch, whether it fits.
    keep: Vec<bool>,
    bytes: usize,
    /// Rows that came from the server, in all attempts.
    seen: u64,
    /// The key of the last of them.
    last: Option<Vec<Vec<u8>>>,
}

impl Worker {
    fn run(mut self) {
        let (mut failures, mut seen_before) = (0, 0);
        let ending = loop {
            match self.attempt() {
                Ok(()) => break Ok(None),
                Err(Stop::Dropped) => return,
                Err(Stop::Failed(failure)) => {
                    let resumable = !self.scan.keys.is_empty() || self.seen == 0;
                    failures = if self.seen > seen_before { 1 } else { failures + 1 };
                    seen_before = self.seen;
                    if !failure.passing || !resumable || failures > self.scan.patience.retries {
                        break Err(failure.error);
                    }
                    thread::sleep(self.scan.patience.pause(failures - 1));
                }
            }
        };
        // Nobody may be listening any more.
        let _ = self.send.send(ending);
    }

    /// One connection, one snapshot: from behind the last row to the end.
    fn attempt(&mut self) -> Result<(), Stop> {
        let left = self.scan.limit.map(|limit| limit.saturating_sub(self.seen));
        if self.opened && left == Some(0) {
            return self.deliver();
        }
        let connections = self.scan.connections.clone();
        let mut session = connections.session()?;
        match session.run(async |client| self.read(client, left).await) {
            Ok(reusable) => {
                if reusable {
                    connections.keep(session);
                }
                self.deliver()
            }
            Err(Stop::Failed(failure)) => Err(connections.explained(failure, &mut session).into()),
            Err(Stop::Dropped) => Err(Stop::Dropped),
        }
    }

    /// Reads to the end of the query, and says whether the connection can be used again.
    async fn read(&mut self, client: &Client, left: Option<u64>) -> Result<bool, Stop> {
        let server = self.scan.connections.server.clone();
        let judge = |e: tokio_postgres::Error| server.judge(&e);
        let unordered = if self.scan.keys.is_empty() && self.scan.stored_order { SETTINGS_UNORDERED } else { "" };
        client.batch_execute(&format!("{BEGIN}; {SETTINGS}{unordered}")).await.map_err(judge)?;
        let (text, values) = self.query(left);
        let statement = self.prepare(client, &text, &values).await?;
        if !self.opened {
            self.send.send(Ok(None)).map_err(|_| Stop::Dropped)?;
            self.opened = true;
        }
        if values.is_empty() {
            self.copy(client, &text).await?;
        } else {
            self.rows(client, &statement, &values).await?;
        }
        // All rows are here: an end that fails costs the connection and nothing else.
        Ok(client.batch_execute(END).await.is_ok())
    }

    /// Reads the rows of `text` in bulk, which takes half of the work of rows one by one; no value can be bound there.
    async fn copy(&mut self, client: &Client, text: &str) -> Result<(), Stop> {
        let server = self.scan.connections.server.clone();
        let judge = |e: tokio_postgres::Error| server.judge(&e);
        let torn =
            |reason: Misfit| Stop::from(server.failed(&format!("an answer that cannot be understood: {reason}")));
        let pieces = client.copy_out(&format!("COPY ({text}) TO STDOUT (FORMAT binary)")).await.map_err(judge)?;
        let mut pieces = pin!(pieces);
        let mut tuples = Tuples::of(self.scan.read.len() + self.scan.keys.len());
        while let Some(piece) = pieces.try_next().await.map_err(judge)? {
            tuples.push(piece);
            while let Some(tuple) = tuples.next().map_err(torn)? {
                self.take(tuple.size(), |index| tuple.cell(index))?;
            }
        }
        if tuples.ended() { Ok(()) } else { Err(torn("it is cut off".into())) }
    }

    /// Reads the rows of `statement` with `values` bound to it.
    async fn rows(&mut self, client: &Client, statement: &Statement, values: &[Bound]) -> Result<(), Stop> {
        let server = self.scan.connections.server.clone();
        let judge = |e: tokio_postgres::Error| server.judge(&e);
        let bound = values.iter().map(|value| Value(&value.bytes));
        let mut rows = pin!(client.query_raw(statement, bound).await.map_err(judge)?);
        while let Some(row) = rows.try_next().await.map_err(judge)? {
            self.take(row.raw_size_bytes(), |index| raw(&row, index))?;
        }
        Ok(())
    }

    fn query(&self, left: Option<u64>) -> (String, Vec<Bound>) {
        let scan = &self.scan;
        let names = |columns: &[Column]| listed(columns.iter().map(|column| column.name.as_str()));
        let selected: Vec<Column> = scan.read.iter().chain(&scan.keys).cloned().collect();
        let mut conditions = scan.conditions.clone();
        if let Some(last) = &self.last {
            conditions.behind(scan.keys.iter().map(|key| key.name.as_str()), bound(&scan.keys, last));
        }
        let mut text = format!("SELECT {} FROM {}{}", names(&selected), scan.relation.from(), conditions.text());
        if !scan.keys.is_empty() {
            text.push_str(" ORDER BY ");
            text.push_str(&names(&scan.keys));
        }
        if let Some(left) = left {
            let _ = write!(text, " LIMIT {}", i64::try_from(left).unwrap_or(i64::MAX));
        }
        (text, conditions.values)
    }

    /// Has the server plan the query, and sees to it that the columns are those that were described.
    async fn prepare(&self, client: &Client, text: &str, values: &[Bound]) -> Result<Statement, Stop> {
        let Scan { connections: Connections { server, .. }, relation, read, keys, .. } = &self.scan;
        let changed = || {
            let what = format!("{}/{}", server.place(), relation.shown());
            Stop::from(Error::invalid_data(what, "its columns have changed since the source was opened"))
        };
        let types: Vec<Type> = values.iter().map(|value| value.type_.clone()).collect();
        let statement = match client.prepare_typed(text, &types).await {
            Ok(statement) => statement,
            Err(error) => {
                return Err(match (error.code(), relation) {
                    (Some(code), Relation::Table { .. }) if *code == SqlState::UNDEFINED_TABLE => {
                        not_found(server, relation).into()
                    }
                    (Some(code), _) if *code == SqlState::UNDEFINED_COLUMN => changed(),
                    _ => server.judge(&error).into(),
                });
            }
        };
        let same =
            statement.columns().iter().zip(read.iter().chain(keys)).all(|(found, expected)| {
                *found.type_() == expected.type_ && found.type_modifier() == expected.modifier
            });
        if same { Ok(statement) } else { Err(changed()) }
    }

    /// Adds a row of `size` bytes, and sends a batch when it is full.
    fn take<'a>(&mut self, size: usize, cell: impl Fn(usize) -> Option<&'a [u8]>) -> Result<(), Stop> {
        self.seen += 1;
        self.take_key(&cell)?;
        let mut misfit = None;
        for (index, (cells, column)) in self.cells.iter_mut().zip(&self.scan.read).enumerate() {
            let pushed = match cell(index) {
                None if column.not_null => cells.push(None).and(Err("null where none may be".into())),
                value => cells.push(value),
            };
            if let Err(reason) = pushed {
                misfit.get_or_insert((index, reason));
            }
        }
        self.keep.push(misfit.is_none());
        self.bytes += size;
        if let Some((index, reason)) = misfit {
            let text = spelt(&self.scan.read, &cell);
            self.scan.gate.refuse(&Fault {
                line: self.seen,
                column: Some(&self.scan.read[index].name),
                reason: &reason,
                value: None,
                raw: text.as_bytes(),
            })?;
        }
        if self.keep.len() >= self.scan.batch_rows || self.bytes >= BATCH_BYTES_MAX {
            self.deliver()?;
        }
        Ok(())
    }

    /// Remembers the key of a row. Keys that are null or come twice would have rows lost when the scan is taken up again.
    fn take_key<'a>(&mut self, cell: &impl Fn(usize) -> Option<&'a [u8]>) -> Result<(), Stop> {
        let keys = &self.scan.keys;
        if keys.is_empty() {
            return Ok(());
        }
        let first = self.scan.read.len();
        let refuse = |reason: &str| {
            let place = format!("{}/{}", self.scan.connections.server.place(), self.scan.relation.shown());
            let names = listed(keys.iter().map(|key| key.name.as_str()));
            Stop::from(Error::invalid_data(format!("{place}, row {}", self.seen), format!("the key {names} {reason}")))
        };
        let mut last = self.last.take().unwrap_or_default();
        let same = last.len() == keys.len() && last.iter().enumerate().all(|(i, v)| cell(first + i) == Some(v));
        if same {
            return Err(refuse("is there twice"));
        }
        last.resize(keys.len(), Vec::new());
        for (index, value) in last.iter_mut().enumerate() {
            let Some(bytes) = cell(first + index) else { return Err(refuse("is null")) };
            value.clear();
            value.extend_from_slice(bytes);
        }
        self.last = Some(last);
        Ok(())
    }

    /// Sends the rows since the last batch, if there are any.
    fn deliver(&mut self) -> Result<(), Stop> {
        if self.keep.is_empty() {
            return Ok(());
        }
        let batch = self.batch()?;
        let cursor = self.last.as_ref().map(|last| Cursor::new(self.scan.relation.shown(), &self.scan.keys, last));
        let piece = Piece { batch, cursor };
        self.send.send(Ok(Some(piece))).map_err(|_| Stop::Dropped)
    }

    fn batch(&mut self) -> Result<RecordBatch> {
        let mask: BooleanArray = std::mem::take(&mut self.keep).into();
        self.bytes = 0;
        let kept = mask.true_count();
        let columns = self.cells.iter_mut().map(|cells| {
            let array = cells.finish()?;
            if kept == mask.len() { Ok(array) } else { Ok(filter(&array, &mask)?) }
        });
        let options = RecordBatchOptions::new().with_row_count(Some(kept));
        let columns = columns.collect::<Result<_>>()?;
        Ok(RecordBatch::try_new_with_options(Arc::clone(self.scan.schema.arrow()), columns, &options)?)
    }
}

/// The bytes of a value, whatever its type.
struct Raw<'a>(Option<&'a [u8]>);

impl<'a> FromSql<'a> for Raw<'a> {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Cause> {
        Ok(Self(Some(raw)))
    }

    fn from_sql_null(_: &Type) -> Result<Self, Cause> {
        Ok(Self(None))
    }

    fn accepts(_: &Type) -> bool {
        true
    }
}

fn raw(row: &Row, index: usize) -> Option<&[u8]> {
    row.try_get::<_, Raw<'_>>(index).ok().and_then(|raw| raw.0)
}

/// A row as it is set aside: values between tabs, text as it is, others as hex behind `\x`, null as `\N`.
fn spelt<'a>(columns: &[Column], cell: &impl Fn(usize) -> Option<&'a [u8]>) -> String {
    let mut text = String::new();
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            text.push('\t');
        }
        let is_text = matches!(column.type_, Type::TEXT | Type::VARCHAR | Type::BPCHAR);
        match cell(index) {
            None => text.push_str("\\N"),
            Some(bytes) if is_text => text.push_str(&String::from_utf8_lossy(bytes)),
            Some(bytes) => {
                text.push_str("\\x");
                push_hex(bytes, &mut text);
            }
        }
    }
    text
}

/// Bytes that are bound as they are.
#[derive(Debug)]
struct Value<'a>(&'a [u8]);

impl ToSql for Value<'_> {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Cause> {
        out.extend_from_slice(self.0);
        Ok(IsNull::No)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}
