//! Rows in a PostgreSQL database, written and read by many machines.
//!
//! A schema of the database holds the tables `views` (name → number, key and features as JSON), `rows` (number of the view and key
//! → times and row) and `watermarks` (name → position). Values are those of stores on disk, checksums included; the times
//! beside a row are what the server compares.

mod runner;
mod server;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use mlops_core::Name;
use tokio::time::Instant;

use self::runner::Runner;
use self::server::{Failure, Server, Session};
use super::batch::Batch;
use super::registered::{KnownViews, Reader, Registered, knows};
use super::{OnlineRead, OnlineRows, OnlineStore, WriteSummary, sealed};
use crate::error::{Core, Error, Result};
use crate::key::Keys;
use crate::offline::Watermark;
use crate::view::FeatureView;

/// How failures of the server are told.
const SYSTEM: &str = "postgresql";

/// Most rows of one statement.
const STATEMENT_ROWS_MAX: usize = 8_192;

/// Rows of one statement are sent once they have so many bytes.
const STATEMENT_BYTES: usize = 8 << 20;

/// Connections that are kept for the next call.
const RESTING_MAX: usize = 8;

/// Pause before a second try; doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// Longest wait that may be set.
const WITHIN_MAX: Duration = Duration::from_hours(24);

/// Online store in a PostgreSQL database (13 or newer), shared by any number of machines.
///
/// Every write is one transaction, its checkpoint included; the latest row stays whoever writes at the same time. A read of
/// several views and keys is one statement. A connection that breaks is replaced and the call tried again, within its time:
/// calls may be repeated without harm. Needs the feature `postgres`.
///
/// * Without TLS: reach a server elsewhere through a TLS tunnel.
/// * The tables are made at the first call, in a schema of their own, by a user who may create one; after that, reading and writing
///   of its tables are enough.
/// * The client runs on a thread of the store, which the first call starts: callers may be on any executor.
///
/// # Examples
/// ```no_run
/// use std::time::Duration;
/// use mlops_features::online::PostgresStore;
/// let store = PostgresStore::builder("postgresql://shop@127.0.0.1/shop").read_within(Duration::from_millis(100)).open()?;
/// # Ok::<(), mlops_features::Error>(())
/// ```
pub struct PostgresStore {
    runner: Runner,
    shared: Arc<Shared>,
    known: KnownViews<Arc<Registered>>,
    read_within: Duration,
    write_within: Duration,
}

/// What jobs on the store's thread share.
struct Shared {
    server: Server,
    retries: u32,
    resting: Mutex<Vec<Session>>,
}

/// Collects the settings of a [`PostgresStore`]. Neither user nor password show in anything that is printed.
#[derive(Clone)]
pub struct PostgresStoreBuilder {
    connection: String,
    password: Option<String>,
    schema: String,
    read_within: Duration,
    write_within: Duration,
    retries: u32,
}

impl PostgresStoreBuilder {
    /// The password, instead of that of the connection.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// The schema of the database that holds the tables; several stores may share a database. Default `mlops_online`.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// How long a read may take, tries included. Default 5 s.
    pub fn read_within(mut self, time: Duration) -> Self {
        self.read_within = time;
        self
    }

    /// How long a write may take, tries included. Default 60 s.
    pub fn write_within(mut self, time: Duration) -> Self {
        self.write_within = time;
        self
    }

    /// How often a call is tried again when its connection breaks or the server asks for patience. Default 2.
    pub fn retries(mut self, retries: u32) -> Self {
        self.retries = retries;
        self
    }

    /// Checks the settings. No connection is made yet: the first call makes it.
    ///
    /// # Errors
    /// `Core(Invalid)` for a connection that is none or asks for TLS, a schema that is not of small letters, digits and underscores, or
    /// a wait that is zero or longer than a day.
    pub fn open(self) -> Result<PostgresStore> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let starts = self.schema.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
        if !starts || self.schema.len() > 63 || !self.schema.chars().all(plain) || self.schema.starts_with("pg_") {
            let domain = "1 to 63 small letters, digits and underscores, not beginning with a digit or `pg_`";
            return Err(Core::invalid("schema", self.schema.escape_debug(), domain).into());
        }
        for (setting, time) in [("read within", self.read_within), ("write within", self.write_within)] {
            if time.is_zero() || time > WITHIN_MAX {
                return Err(Core::invalid(setting, format!("{time:?}"), "above zero and at most a day").into());
            }
        }
        let server = Server::parse(
            &self.connection,
            self.password.as_deref(),
            &self.schema,
            self.write_within.max(self.read_within),
        )?;
        Ok(PostgresStore {
            runner: Runner::default(),
            shared: Arc::new(Shared { server, retries: self.retries, resting: Mutex::default() }),
            known: KnownViews::default(),
            read_within: self.read_within,
            write_within: self.write_within,
        })
    }
}

impl fmt::Debug for PostgresStoreBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStoreBuilder").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl Shared {
    fn resting(&self) -> MutexGuard<'_, Vec<Session>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Does `work` in a session, in a new one if that breaks, until `deadline`.
    async fn run<T>(
        &self,
        deadline: Instant,
        work: impl AsyncFn(&Server, &Session) -> Result<T, Failure>,
    ) -> Result<T> {
        let mut failures = 0;
        loop {
            let attempt = async {
                let rested = self.resting().pop().filter(|session| !session.client.is_closed());
                let session = match rested {
                    Some(session) => session,
                    None => self.server.connect().await?,
                };
                // One that failed in the middle is closed, which undoes what it had begun.
                let done = work(&self.server, &session).await?;
                let mut resting = self.resting();
                if resting.len() < RESTING_MAX {
                    resting.push(session);
                }
                Ok(done)
            };
            let late = || Core::Deadline { stage: format!("a call to {}", self.server.place()) }.into();
            let failure: Failure = match tokio::time::timeout_at(deadline, attempt).await {
                Err(_) => return Err(late()),
                Ok(Ok(done)) => return Ok(done),
                Ok(Err(failure)) => failure,
            };
            let pause = FIRST_PAUSE * (1 << failures.min(10));
            if !failure.passing || failures >= self.retries || Instant::now() + pause >= deadline {
                return Err(failure.error);
            }
            // What broke this one broke the others that rested beside it.
            self.resting().clear();
            failures += 1;
            tokio::time::sleep(pause).await;
        }
    }
}

/// Definitions as they are stored, by name.
type Stored = BTreeMap<String, Vec<u8>>;

impl Session {
    async fn definitions(&self, server: &Server, names: &[String]) -> Result<Stored, Failure> {
        if names.is_empty() {
            return Ok(Stored::new());
        }
        let query = format!("SELECT name, body FROM \"{}\".views WHERE name = ANY ($1)", server.schema());
        let rows = self.client.query(&query, &[&names]).await.map_err(|e| server.judge(&e))?;
        let read = |row: &tokio_postgres::Row| Ok((row.try_get(0)?, row.try_get(1)?));
        rows.iter().map(read).collect::<Result<_, _>>().map_err(|e| server.judge(&e))
    }

    async fn batch(&self, server: &Server, sql: &str) -> Result<(), Failure> {
        self.client.batch_execute(sql).await.map_err(|e| server.judge(&e))
    }
}

/// The definition in a stored value.
fn parse(server: &Server, view: &str, stored: &[u8]) -> Result<Registered> {
    let corrupt = |reason| Core::corrupt(format!("{}: schema `{}`", server.place(), server.schema()), reason).into();
    sealed::view(view.as_bytes(), stored).map_err(corrupt)
}

/// Stores the definition of `view` if it is new; gives the one that is stored then.
async fn admit(server: &Server, session: &Session, view: &FeatureView) -> Result<Registered, Failure> {
    let (schema, name) = (server.schema(), view.name().to_string());
    session.batch(server, &format!("BEGIN; LOCK TABLE \"{schema}\".views IN SHARE ROW EXCLUSIVE MODE")).await?;
    let stored = session.definitions(server, std::slice::from_ref(&name)).await?;
    let known = stored.get(&name).map(|stored| parse(server, &name, stored)).transpose()?;
    let next = match &known {
        Some(known) => known.admit(view)?,
        None => {
            let free = format!("SELECT coalesce(max(id) + 1, 0) FROM \"{schema}\".views");
            let free = session.client.query_one(&free, &[]).await.and_then(|row| row.try_get::<_, i32>(0));
            let free = free.map_err(|e| server.judge(&e))?;
            Some(Registered::new(u32::try_from(free).unwrap_or_default(), view))
        }
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
struct Columns {
    keys: Vec<Vec<u8>>,
    event_times: Vec<i64>,
    created: Vec<Option<i64>>,
    rows: Vec<Vec<u8>>,
}

/// The rows of a batch, sealed, by statement.
fn statements(id: u32, view: &FeatureView, batch: &Batch) -> Result<Vec<Columns>> {
    let mut all = Vec::new();
    let (mut columns, mut bytes) = (Columns::default(), 0);
    let mut full_key = id.to_be_bytes().to_vec();
    batch.for_each(view, |key, stamp, row| {
        full_key.truncate(4);
        full_key.extend_from_slice(key);
        sealed::seal(&full_key, row);
        bytes += key.len() + row.len();
        columns.keys.push(key.to_vec());
        columns.event_times.push(stamp.event_time);
        columns.created.push(stamp.created);
        columns.rows.push(row.clone());
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

/// Writes all of it in one transaction; says how many rows are now the latest.
async fn upsert(
    server: &Server,
    session: &Session,
    view: &FeatureView,
    id: u32,
    statements: &[Columns],
    checkpoint: Option<Watermark>,
) -> Result<u64, Failure> {
    session.batch(server, "BEGIN").await?;
    let mut written = 0;
    let id = id.cast_signed();
    for columns in statements {
        let Columns { keys, event_times, created, rows } = columns;
        let done = session.client.execute(&session.upsert, &[&id, keys, event_times, created, rows]).await;
        written += done.map_err(|e| server.judge(&e))?;
    }
    if let Some(reached) = checkpoint {
        // Signed numbers in the order of the unsigned ones, which PostgreSQL has not.
        let ordered = |number: u64| (number ^ 1 << 63).cast_signed();
        let name = view.name().as_str();
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
    Ok(written)
}

/// What is asked of one view.
struct Asked {
    name: String,
    /// Its number, where that is known.
    id: Option<u32>,
    /// `None` for a key that is null.
    keys: Vec<Option<Vec<u8>>>,
}

/// What came back: definitions that were not known, and rows by position among all keys that were asked for.
struct Found {
    definitions: Stored,
    rows: Vec<Vec<Option<Vec<u8>>>>,
}

async fn find(server: &Server, session: &Session, asked: &[Asked]) -> Result<Found, Failure> {
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

impl PostgresStore {
    /// A store in the database of `connection`: `postgresql://user@host:port/database`, or settings `host=… dbname=…`.
    ///
    /// # Errors
    /// As [`PostgresStoreBuilder::open`].
    pub fn open(connection: impl Into<String>) -> Result<Self> {
        Self::builder(connection).open()
    }

    /// Settings for the store in the database of `connection`.
    pub fn builder(connection: impl Into<String>) -> PostgresStoreBuilder {
        PostgresStoreBuilder {
            connection: connection.into(),
            password: None,
            schema: "mlops_online".to_owned(),
            read_within: Duration::from_secs(5),
            write_within: Duration::from_secs(60),
            retries: 2,
        }
    }

    /// Does `work` on the store's thread, by `deadline`.
    async fn call<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl AsyncFn(&Server, &Session) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let shared = self.shared.clone();
        self.runner.run(move || async move { shared.run(deadline, work).await }).await?
    }

    /// Takes note of what is stored for `view`.
    fn learn(&self, view: &Name, stored: &Stored) -> Result<Option<Arc<Registered>>> {
        let Some(stored) = stored.get(view.as_str()) else { return Ok(None) };
        let registered = Arc::new(parse(&self.shared.server, view.as_str(), stored)?);
        self.known.learn(view, &registered);
        Ok(Some(registered))
    }

    /// What is stored for `view` now.
    async fn look_up(&self, deadline: Instant, view: &Name) -> Result<Option<Arc<Registered>>> {
        let names = vec![view.to_string()];
        let stored = self.call(deadline, async move |server, session| session.definitions(server, &names).await);
        self.learn(view, &stored.await?)
    }

    async fn admit(&self, deadline: Instant, view: &FeatureView) -> Result<Arc<Registered>> {
        if let Some(known) = self.known.get(view.name())
            && known.admit(view)?.is_none()
        {
            return Ok(known);
        }
        let asked = view.clone();
        let stored = self.call(deadline, async move |server, session| admit(server, session, &asked).await);
        let registered = Arc::new(stored.await?);
        self.known.learn(view.name(), &registered);
        Ok(registered)
    }
}

#[async_trait]
impl OnlineStore for PostgresStore {
    async fn write(
        &self,
        view: &FeatureView,
        rows: &RecordBatch,
        checkpoint: Option<Watermark>,
    ) -> Result<WriteSummary> {
        let batch = Batch::new(view, rows)?;
        if batch.rows() == 0 && checkpoint.is_none() {
            return Ok(WriteSummary::default());
        }
        let deadline = Instant::now() + self.write_within;
        let id = self.admit(deadline, view).await?.id;
        let (view, statements) = (view.clone(), statements(id, view, &batch)?);
        let work = async move |server: &Server, session: &Session| {
            upsert(server, session, &view, id, &statements, checkpoint).await
        };
        let written = self.call(deadline, work).await?;
        Ok(WriteSummary { written, superseded: batch.rows() - written })
    }

    async fn read(&self, reads: &[OnlineRead<'_>]) -> Result<Vec<OnlineRows>> {
        let deadline = Instant::now() + self.read_within;
        let mut known: Vec<_> = reads.iter().map(|read| self.known.get(read.view.name())).collect();
        let ask = |(read, known): (&OnlineRead<'_>, &Option<Arc<Registered>>)| {
            let key = |row| {
                let mut key = Vec::with_capacity(64);
                read.keys.encode(row, &mut key).then_some(key)
            };
            let id = known.as_ref().map(|known| known.id);
            Asked { name: read.view.name().to_string(), id, keys: (0..read.keys.len()).map(key).collect() }
        };
        let asked: Arc<Vec<Asked>> = Arc::new(reads.iter().zip(&known).map(ask).collect());
        let shared = asked.clone();
        let found = self.call(deadline, async move |server, session| find(server, session, &shared).await).await?;
        for ((read, known), rows) in reads.iter().zip(&mut known).zip(&found.rows) {
            if known.is_none() {
                *known = self.learn(read.view.name(), &found.definitions)?;
            }
            if !rows.iter().flatten().all(|row| knows(known.as_deref(), read.view, row)) {
                // Somebody widened the view since it was looked at.
                *known = self.look_up(deadline, read.view.name()).await?;
            }
        }
        let each = reads.iter().zip(&known).zip(asked.iter()).zip(&found.rows);
        each.map(|(((read, known), asked), rows)| columns(read, known.as_deref(), asked, rows)).collect()
    }

    async fn delete(&self, view: &FeatureView, keys: &Keys) -> Result<u64> {
        let deadline = Instant::now() + self.write_within;
        let known = match self.known.get(view.name()) {
            Some(known) => Some(known),
            None => self.look_up(deadline, view.name()).await?,
        };
        let Some(known) = known else { return Ok(0) };
        known.ensure_keys(view)?;
        let id = known.id.cast_signed();
        let mut encoded: Vec<Vec<u8>> = Vec::with_capacity(keys.len());
        for row in 0..keys.len() {
            let mut key = Vec::new();
            if keys.encode(row, &mut key) {
                encoded.push(key);
            }
        }
        self.call(deadline, async move |server, session| {
            let done = session.client.execute(&session.delete, &[&id, &encoded]).await;
            done.map_err(|e| server.judge(&e))
        })
        .await
    }

    async fn watermark(&self, view: &FeatureView) -> Result<Option<Watermark>> {
        let name = view.name().to_string();
        let work = async move |server: &Server, session: &Session| {
            let query = format!("SELECT body FROM \"{}\".watermarks WHERE name = $1", server.schema());
            let found = session
                .client
                .query_opt(&query, &[&name])
                .await
                .and_then(|row| row.map(|row| row.try_get::<_, Vec<u8>>(0)).transpose());
            found.map_err(|e| server.judge(&e))
        };
        let stored = self.call(Instant::now() + self.read_within, work).await?;
        let read = |stored: Vec<u8>| sealed::watermark(view.name().as_str().as_bytes(), &stored);
        let corrupt = |reason| Core::corrupt(self.shared.server.place(), reason).into();
        stored.map(read).transpose().map_err(corrupt)
    }
}

/// The columns of one view from its rows as they were received.
fn columns(
    read: &OnlineRead<'_>,
    known: Option<&Registered>,
    asked: &Asked,
    rows: &[Option<Vec<u8>>],
) -> Result<OnlineRows> {
    let mut reader = Reader::new(read, known)?;
    let mut full_key = known.map_or(0, |known| known.id).to_be_bytes().to_vec();
    for (position, (key, row)) in asked.keys.iter().zip(rows).enumerate() {
        let (Some(key), Some(row)) = (key, row) else {
            reader.skip(position);
            continue;
        };
        full_key.truncate(4);
        full_key.extend_from_slice(key);
        let row = sealed::open(&full_key, row).ok_or_else(|| reader.corrupt("the checksum does not fit"))?;
        reader.push(position, row)?;
    }
    reader.finish()
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("server", &self.shared.server)
            .field("schema", &self.shared.server.schema())
            .finish_non_exhaustive()
    }
}
