//! PostgreSQL tables and queries: rows in one order, from one snapshot, that can be taken up again behind any of them.

mod columns;
mod connect;
mod copy;
mod cursor;
mod digits;
mod kind;
mod scan;
mod session;
mod sql;
mod table;

pub use cursor::Cursor;

use std::fmt;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::{Field, Schema as ArrowSchema};

use self::connect::{Connections, Patience};
use self::scan::{Rows, Scan};
use self::sql::{Conditions, Relation};
use self::table::{Column, describe, locate, size_bytes};
use super::adopt::adopt;
use super::quarantine::Gate;
use super::{BatchStream, DataSource, Quarantine, ScanRequest, SourceInfo};
use crate::postgres::Server;
use crate::{Error, Result, Schema};

/// Rows of a PostgreSQL table or query.
///
/// * **Snapshot**: a scan reads in one read-only transaction (`REPEATABLE READ`), so it sees one state of the database. The
///   next scan sees the next state: a table is not a fixed content, and a [`Dataset`](crate::Dataset) of it has the
///   digest of the scan that computed it. Whoever trains on rows that must stay the same writes them to Parquet first
///   ([`Dataset::write_to`](crate::Dataset::write_to)) and names that.
/// * **Order**: by the key, which is the primary key of a table unless another is given. Without a key, rows come in the
///   order in which the server has them stored, and the scan keeps the server from anything that would mix them.
/// * **Pushed down**: projection, limit, and the predicates that the server judges as Arrow does; the values are bound,
///   the names quoted. Where no value is bound, rows come in bulk (binary COPY). The text of a query is sent as it is: it
///   must come from the host, never from a request.
/// * **Lost connections**: a keyed scan goes on behind its last row, on a new connection and in a new snapshot; a scan
///   without a key does so only before its first row. No row comes twice, none that is in both snapshots is left out.
///   [`scan_after`](Self::scan_after) does the same across processes.
/// * **Types**: `bool`, `int2/4/8`, `oid`, `float4/8`, `numeric(p, s)` of up to 38 digits as decimal, any other `numeric` as
///   its digits, texts, enumerations, `uuid`, `json`, `jsonb` and `xml` as text, `bytea`, `date`, `time`, `timestamp`,
///   `timestamptz` (µs, UTC), and lists of these from arrays of one dimension. Infinite dates and times and a NaN in a
///   decimal do not fit: an error, or [`Quarantine`]. A column of another type is [`Error::Schema`]; cast it in a query.
/// * **Secrets**: neither user nor password show in errors, `Debug` or [`SourceInfo`]; messages of the server that may quote
///   values of rows are reduced to their code.
/// * **TLS**: `sslmode` and `sslrootcert` of the connection mean what they do for PostgreSQL's own clients, as
///   [`postgres::Server`](crate::postgres::Server) says; beyond a network that is trusted, `verify-full` is the one to use.
/// * **Connections**: one is kept open for the next scan, shared by clones, closed with the last of them. What a query set or
///   locked for its session is undone before; the server must answer on it when it is used again, and one that was lost, or
///   idle for more than a minute, is replaced. A scan that is dropped half-way closes its own. Scans at the same time have one
///   each ([`keep_connection`](PostgresSourceBuilder::keep_connection)).
/// * **Threads**: each scan runs on a thread of its own, one batch ahead, so that it may be used within an async runtime.
///
/// # Examples
/// ```no_run
/// use mlops_core::source::{Comparison, DataSource, PostgresSource, Predicate, ScanRequest};
/// use mlops_core::Dataset;
///
/// let password = std::env::var("SHOP_PASSWORD")?;
/// let orders = PostgresSource::table("postgresql://reader@127.0.0.1/shop", "orders").password(password).build()?;
/// let dear = ScanRequest::all().columns(["id", "price"]).filter(Predicate::new("id", Comparison::Gt, 1000));
/// let rows = Dataset::collect(orders.scan(&dear)?)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct PostgresSource {
    connections: Connections,
    relation: Relation,
    patience: Patience,
    quarantine: Option<Quarantine>,
    /// All columns that can be read.
    columns: Vec<Column>,
    keys: Vec<Column>,
    stored_order: bool,
    /// The types in which the columns come.
    stored: Schema,
    schema: Schema,
}

/// Settings of a [`PostgresSource`].
#[derive(Clone)]
pub struct PostgresSourceBuilder {
    connection: String,
    password: Option<String>,
    relation: Relation,
    schema: Option<Schema>,
    key: Option<Vec<String>>,
    patience: Patience,
    keep_connection: bool,
    quarantine: Option<Quarantine>,
}

impl fmt::Debug for PostgresSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSource").field("location", &self.location()).finish_non_exhaustive()
    }
}

impl fmt::Debug for PostgresSourceBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresSourceBuilder").field("relation", &self.relation.shown()).finish_non_exhaustive()
    }
}

impl PostgresSourceBuilder {
    /// The password, apart from the connection. Default: that of the connection, if it has one.
    pub fn password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// The schema of the database that the table is in. Default: the server's search path. A query ignores it.
    pub fn in_schema(mut self, schema: impl Into<String>) -> Self {
        if let Relation::Table { schema: of_table, .. } = &mut self.relation {
            *of_table = Some(schema.into());
        }
        self
    }

    /// The columns that are read, with their annotations; each must be there with the same logical type. Default: all
    /// columns.
    pub fn schema(mut self, schema: Schema) -> Self {
        self.schema = Some(schema);
        self
    }

    /// Columns that no two rows have alike and that are never null: what a scan is ordered by and taken up behind. Both are
    /// checked while rows are read. Default: the primary key of a table, nothing for a query. None for no key.
    pub fn key(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.key = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// Failures in a row, without a row in between, after which a scan gives up; at most 100. Default 3.
    pub fn retries(mut self, retries: u32) -> Self {
        self.patience.retries = retries;
        self
    }

    /// The pause before the first new try, which doubles with each, up to 5 s. Default 100 ms.
    pub fn first_pause(mut self, pause: Duration) -> Self {
        self.patience.first_pause = pause;
        self
    }

    /// How long the server may take for each answer (the columns, the first batch, the next one), tries included.
    /// Default 5 minutes.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.patience.wait = timeout;
        self
    }

    /// Whether a connection stays open between scans. Default true; a host with more sources than the server has room for
    /// connections wants false, which costs a connection, some milliseconds, for each scan.
    pub fn keep_connection(mut self, keep: bool) -> Self {
        self.keep_connection = keep;
        self
    }

    /// Where rows go that do not fit, with their number in place of a line. Default: nowhere, they are errors.
    pub fn quarantine(mut self, quarantine: Quarantine) -> Self {
        self.quarantine = Some(quarantine);
        self
    }

    /// Asks the server for the columns.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a connection that cannot be understood (its text is not shown), a name that no table can have, a
    /// key that cannot be ordered, more than 100 retries, or a timeout of 0; [`Error::NotFound`] for a database, table or
    /// key column that is not there; [`Error::Io`] and [`Error::InvalidData`] for a file of roots that cannot be read or holds
    /// none; [`Error::Schema`] for a column of a type that cannot be read or that differs from the given schema;
    /// [`Error::Forbidden`] when the server does not let the user in, or may not show the table; [`Error::External`] when the
    /// server cannot be reached, is not to be trusted, or has no TLS where it must.
    pub fn build(self) -> Result<PostgresSource> {
        if self.patience.retries > 100 {
            return Err(Error::invalid("retries", self.patience.retries, "at most 100"));
        }
        if self.patience.wait.is_zero() {
            return Err(Error::invalid("timeout", "0", "above 0"));
        }
        self.relation.check()?;
        let server = Server::parse(&self.connection, self.password.as_deref())?;
        let connections = Connections::new(server, self.keep_connection);
        let mut wanted: Option<Vec<String>> = self.schema.as_ref().map(|s| s.names().map(str::to_owned).collect());
        if let (Some(wanted), Some(key)) = (&mut wanted, &self.key) {
            wanted.extend(key.iter().cloned());
        }
        let relation = self.relation.clone();
        let described = connections.apart(self.patience, async move |server, client| {
            describe(server, client, &relation, wanted.as_deref()).await
        })?;
        let fields = described.columns.iter().map(|c| Field::new(&c.name, c.kind.arrow(), !c.not_null));
        let stored = Schema::new(ArrowSchema::new(fields.collect::<Vec<_>>()))?;
        let schema = match self.schema {
            Some(schema) => {
                stored.ensure_provides(&schema)?;
                schema
            }
            None => stored.clone(),
        };
        let keys = keys(&described.columns, self.key, &described.primary_key)?;
        Ok(PostgresSource {
            connections,
            relation: self.relation,
            patience: self.patience,
            quarantine: self.quarantine,
            columns: described.columns,
            keys,
            stored_order: described.stored,
            stored,
            schema,
        })
    }
}

/// The columns of the key that was given, or of the primary key where it can be used.
fn keys(columns: &[Column], given: Option<Vec<String>>, primary: &[String]) -> Result<Vec<Column>> {
    let find = |name: &String| columns.iter().find(|column| column.name == *name).cloned();
    match given {
        None => {
            let found: Option<Vec<Column>> = primary.iter().map(find).collect();
            Ok(found.filter(|keys| keys.iter().all(|key| key.kind.is_key())).unwrap_or_default())
        }
        Some(names) => names
            .iter()
            .map(|name| match find(name) {
                None => Err(Error::not_found("column", name)),
                Some(column) if !column.kind.is_key() => Err(Error::invalid(
                    "key",
                    format!("`{name}` of {}", column.type_.name()),
                    "a column that orders rows as its values are",
                )),
                Some(column) => Ok(column),
            })
            .collect(),
    }
}

impl PostgresSource {
    /// Settings for the table or view `table`, whose name is taken as it is: no dots, no folding of case.
    ///
    /// `connection` is a URL `postgresql://user@host:port/database` or `host=… dbname=…`.
    pub fn table(connection: impl Into<String>, table: impl Into<String>) -> PostgresSourceBuilder {
        Self::builder(connection.into(), Relation::Table { schema: None, name: table.into() })
    }

    /// Settings for the rows of a SELECT, which must be the host's own text. Give it a [key](PostgresSourceBuilder::key) to
    /// have its rows in a sure order.
    pub fn query(connection: impl Into<String>, select: impl Into<String>) -> PostgresSourceBuilder {
        Self::builder(connection.into(), Relation::Query(select.into()))
    }

    fn builder(connection: String, relation: Relation) -> PostgresSourceBuilder {
        let (retries, first_pause, wait) = (3, Duration::from_millis(100), Duration::from_mins(5));
        PostgresSourceBuilder {
            connection,
            password: None,
            relation,
            schema: None,
            key: None,
            patience: Patience { retries, first_pause, wait },
            keep_connection: true,
            quarantine: None,
        }
    }

    /// The columns that order a scan; none where there is no key.
    pub fn key(&self) -> Vec<&str> {
        self.keys.iter().map(|key| key.name.as_str()).collect()
    }

    /// Reads the rows that `request` asks for and that lie behind `after`, each batch with the cursor behind it.
    ///
    /// The caller keeps the last cursor together with what was made of the rows, and begins there next time: after a crash, or
    /// to get what has been added since. Rows that were changed or added in front of it are not seen again.
    ///
    /// # Errors
    /// What [`scan`](DataSource::scan) says; [`Error::Invalid`] without a key, for a cursor of another table, query or key,
    /// and for a limit together with a quarantine or a predicate that is not judged by the server (a float, a decimal or
    /// a text with an order of its own).
    ///
    /// # Examples
    /// ```no_run
    /// use mlops_core::source::{Cursor, PostgresSource, ScanRequest};
    ///
    /// let events = PostgresSource::table("postgresql://reader@127.0.0.1/shop", "events").build()?;
    /// let kept: Option<Cursor> = match std::fs::read("cursor.json") {
    ///     Ok(text) => Some(serde_json::from_slice(&text)?),
    ///     Err(_) => None,
    /// };
    /// for step in events.scan_after(&ScanRequest::all(), kept.as_ref())? {
    ///     let (rows, cursor) = step?;
    ///     println!("{} new events", rows.num_rows());
    ///     mlops_core::file::write_bytes("cursor.json", &serde_json::to_vec(&cursor)?)?;
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn scan_after(&self, request: &ScanRequest, after: Option<&Cursor>) -> Result<KeyedRows> {
        if self.keys.is_empty() {
            return Err(Error::invalid("key", "none", "at least one column that rows are ordered by"));
        }
        let after = after.map(|cursor| cursor.values(&self.relation.shown(), &self.keys)).transpose()?;
        let plan = self.plan(request, after)?;
        if request.limit_rows().is_some() && plan.scan.limit.is_none() {
            return Err(Error::invalid("limit", "set", "used with what only the server judges"));
        }
        let columns = match request.projection() {
            Some(columns) => plan.schema.project(columns)?,
            None => plan.schema.clone(),
        };
        Ok(KeyedRows { request: request.clone(), read: plan.schema, schema: columns, rows: plan.scan.start()? })
    }

    fn location(&self) -> String {
        format!("{}/{}", self.connections.server.place(), self.relation.shown())
    }

    fn plan(&self, request: &ScanRequest, after: Option<Vec<Vec<u8>>>) -> Result<Plan> {
        let schema = request.schema_to_read(&self.schema)?;
        let mut conditions = Conditions::none();
        let read: Vec<Column> =
            schema.names().filter_map(|name| self.columns.iter().find(|c| c.name == name)).cloned().collect();
        for predicate in request.predicates() {
            if let Some(column) = read.iter().find(|column| column.name == predicate.column()) {
                conditions.push(predicate, &column.kind);
            }
        }
        let limit = request.limit_rows().filter(|_| conditions.exact && self.quarantine.is_none());
        let gate = Gate::new(self.location(), &self.schema, self.quarantine.as_ref(), String::new());
        let scan = Scan {
            connections: self.connections.clone(),
            patience: self.patience,
            relation: self.relation.clone(),
            read,
            schema: self.stored.project(&schema.names().collect::<Vec<_>>())?,
            keys: self.keys.clone(),
            stored_order: self.stored_order,
            conditions,
            limit,
            batch_rows: request.rows_per_batch(),
            after,
            gate,
        };
        Ok(Plan { scan, schema })
    }
}

struct Plan {
    scan: Scan,
    /// The columns of the scan, with the types and annotations that were asked for.
    schema: Schema,
}

impl DataSource for PostgresSource {
    fn info(&self) -> Result<SourceInfo> {
        let relation = self.relation.clone();
        let size_bytes = self.connections.apart(self.patience, async move |server, client| {
            let place = locate(server, client, &relation).await?;
            size_bytes(server, client, &place).await
        })?;
        Ok(SourceInfo { size_bytes, ..SourceInfo::new("postgresql", self.location()) })
    }

    fn schema(&self) -> Result<Schema> {
        self.info()?;
        Ok(self.schema.clone())
    }

    fn scan(&self, request: &ScanRequest) -> Result<BatchStream> {
        let Plan { scan, schema } = self.plan(request, None)?;
        let rows = scan.start()?;
        let adopted = schema.clone();
        let batches = rows.map(move |piece| adopt(&adopted, piece?.batch));
        request.finish(BatchStream::new(schema, batches))
    }
}

/// Batches of a [keyed scan](PostgresSource::scan_after), each with the cursor behind its last row; ends at the first error.
///
/// A batch may be empty, where no row of a piece was asked for: the cursor has moved all the same.
pub struct KeyedRows {
    request: ScanRequest,
    read: Schema,
    schema: Schema,
    rows: Rows,
}

impl fmt::Debug for KeyedRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRows").field("schema", &self.schema).finish_non_exhaustive()
    }
}

impl KeyedRows {
    /// Schema of every batch.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    fn shape(&self, batch: RecordBatch) -> Result<RecordBatch> {
        let whole = adopt(&self.read, batch)?;
        let kept = self.request.predicates().iter().try_fold(whole, |batch, predicate| predicate.apply(&batch))?;
        adopt(&self.schema, kept)
    }
}

impl Iterator for KeyedRows {
    type Item = Result<(RecordBatch, Cursor)>;

    fn next(&mut self) -> Option<Self::Item> {
        let piece = match self.rows.next()? {
            Ok(piece) => piece,
            Err(error) => return Some(Err(error)),
        };
        let cursor = piece.cursor?;
        Some(self.shape(piece.batch).map(|batch| (batch, cursor)))
    }
}

#[cfg(test)]
mod tests;
