//! Rows in a PostgreSQL database, written and read by many machines.
//!
//! A schema of the database holds the tables `views` (name → number, key and features as JSON), `rows` (number of the view and key
//! → times and row) and `watermarks` (name → position). Values are those of stores on disk, checksums included; the times
//! beside a row are what the server compares.

mod replace;
mod runner;
mod server;
mod sessions;
mod settings;
mod tables;

pub use self::settings::PostgresStoreBuilder;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use async_trait::async_trait;
use mlops_core::Name;
use tokio::time::Instant;

use self::runner::Runner;
use self::server::{Failure, Server, Session};
use self::sessions::Sessions;
use self::tables::{Asked, Stored, fill, find, statements};
use super::batch::Batch;
use super::known::{KnownViews, knows};
use super::registered::{Reader, Registered};
use super::{OnlineRead, OnlineRows, OnlineStore, WriteSummary, sealed};
use crate::error::{Core, Result};
use crate::key::Keys;
use crate::offline::Watermark;
use crate::view::FeatureView;

/// How often a view is put down anew because its schema was dropped meanwhile.
const ADMISSIONS_MAX: usize = 4;

/// Online store in a PostgreSQL database (13 or newer), shared by any number of machines.
///
/// Every write is one transaction, its checkpoint included; the latest row stays whoever writes at the same time. A read of
/// several views and keys is one statement. A connection that breaks is replaced and the call tried again, within its time:
/// calls may be repeated without harm. Needs the feature `postgres`.
///
/// * `sslmode` and `sslrootcert` of the connection mean what they do for PostgreSQL's own clients, as
///   [`postgres::Server`](mlops_core::postgres::Server) says; beyond a network that is trusted, `verify-full` is the one to use.
/// * A call whose time is over closes its connection; a server of version 14 or newer then stops working for it.
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
    sessions: Arc<Sessions>,
    known: KnownViews<Arc<Registered>>,
    read_within: Duration,
    write_within: Duration,
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
        PostgresStoreBuilder::new(connection.into())
    }

    /// Does `work` on the store's thread, by `deadline`.
    async fn call<T: Send + 'static>(
        &self,
        deadline: Instant,
        work: impl AsyncFn(&Server, &Session) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T> {
        let sessions = self.sessions.clone();
        self.runner.run(move || async move { sessions.run(deadline, work).await }).await?
    }

    /// Takes note of what is stored for `view`.
    fn learn(&self, view: &Name, stored: &Stored) -> Result<Option<Arc<Registered>>> {
        let Some(stored) = stored.get(view.as_str()) else { return Ok(None) };
        let registered = Arc::new(tables::parse(&self.sessions.server, view.as_str(), stored)?);
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
        let stored = self.call(deadline, async move |server, session| tables::admit(server, session, &asked).await);
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
        for _ in 0..ADMISSIONS_MAX {
            let id = self.admit(deadline, view).await?.id;
            let (asked, statements) = (view.clone(), statements(id, view, &batch)?);
            let work = async move |server: &Server, session: &Session| {
                tables::upsert(server, session, &asked, id, &statements, checkpoint).await
            };
            if let Some(written) = self.call(deadline, work).await? {
                return Ok(WriteSummary { written, superseded: batch.rows() - written });
            }
            self.known.forget(view.name());
        }
        Err(Core::Busy { what: format!("{}: view `{}`", self.sessions.server.place(), view.name()) }.into())
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
        let mut reader = Reader::new(reads)?;
        for (at, ((known, asked), rows)) in known.iter().zip(asked.iter()).zip(&found.rows).enumerate() {
            fill(&mut reader.view(at, known.as_deref())?, known.as_deref(), asked, rows)?;
        }
        reader.finish()
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
        let corrupt = |reason| Core::corrupt(self.sessions.server.place(), reason).into();
        stored.map(read).transpose().map_err(corrupt)
    }
}

impl fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStore")
            .field("server", &self.sessions.server)
            .field("schema", &self.sessions.server.schema())
            .finish_non_exhaustive()
    }
}
