//! What the server says of a table or a query before rows are read.

use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};

use super::kind::Kind;
use super::sql::Relation;
use crate::postgres::{Failure, Server};
use crate::{Error, Result};

/// A column as the server describes it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) type_: Type,
    pub(super) modifier: i32,
    pub(super) not_null: bool,
}

/// A table or a query.
#[derive(Clone, Debug)]
pub(super) struct Described {
    pub(super) columns: Vec<Column>,
    /// The columns of the primary key, in its order.
    pub(super) primary_key: Vec<String>,
    /// Whether it is a table with rows of its own, and no view or query.
    pub(super) stored: bool,
}

/// Where a table is.
pub(super) struct Place {
    oid: Option<u32>,
}

/// # Errors
/// [`Error::NotFound`] when there is no such table.
pub(super) async fn locate(server: &Server, client: &Client, relation: &Relation) -> Result<Place, Failure> {
    let Some(name) = relation.quoted_table() else { return Ok(Place { oid: None }) };
    let row = client
        .query_one("SELECT pg_catalog.to_regclass($1::text)::pg_catalog.oid", &[&name])
        .await
        .map_err(|e| server.judge(&e))?;
    match row.try_get::<_, Option<u32>>(0).map_err(|e| server.judge(&e))? {
        None => Err(not_found(server, relation).into()),
        oid => Ok(Place { oid }),
    }
}

pub(super) fn not_found(server: &Server, relation: &Relation) -> Error {
    Error::not_found("table", format!("{}/{}", server.place(), relation.shown()))
}

/// Bytes of the rows of a table, as far as they are its own.
pub(super) async fn size_bytes(server: &Server, client: &Client, place: &Place) -> Result<Option<u64>, Failure> {
    let Some(oid) = place.oid else { return Ok(None) };
    let row = client.query_one("SELECT pg_catalog.pg_relation_size($1::pg_catalog.oid)", &[&oid]).await;
    let size = row.and_then(|row| row.try_get::<_, Option<i64>>(0)).map_err(|e| server.judge(&e))?;
    Ok(size.and_then(|size| u64::try_from(size).ok()))
}

/// Asks for the columns, those named `wanted` or all.
pub(super) async fn describe(
    server: &Server,
    client: &Client,
    relation: &Relation,
    wanted: Option<&[String]>,
) -> Result<Described, Failure> {
    let judge = |e: tokio_postgres::Error| server.judge(&e);
    let place = locate(server, client, relation).await?;
    let statement = client.prepare(&format!("SELECT * FROM {}", relation.from())).await.map_err(judge)?;
    let mut not_null: Vec<String> = Vec::new();
    let mut primary_key: Vec<String> = Vec::new();
    let mut stored = false;
    if let Some(oid) = place.oid {
        let text = "SELECT attname::text FROM pg_catalog.pg_attribute \
                    WHERE attrelid = $1 AND attnum > 0 AND attnotnull AND NOT attisdropped";
        not_null = texts(client.query(text, &[&oid]).await.map_err(judge)?);
        let text = "SELECT a.attname::text FROM pg_catalog.pg_index i \
                    CROSS JOIN LATERAL pg_catalog.unnest(i.indkey) WITH ORDINALITY AS k (number, place) \
                    JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number \
                    WHERE i.indrelid = $1 AND i.indisprimary AND k.place <= i.indnkeyatts ORDER BY k.place";
        primary_key = texts(client.query(text, &[&oid]).await.map_err(judge)?);
        let text = "SELECT relkind::text FROM pg_catalog.pg_class WHERE oid = $1 AND relkind IN ('r', 'p', 'm')";
        stored = !client.query(text, &[&oid]).await.map_err(judge)?.is_empty();
    }
    let mut columns = Vec::with_capacity(statement.columns().len());
    for found in statement.columns() {
        let name = found.name().to_owned();
        let not_null = not_null.contains(&name);
        match Kind::of(found.type_(), found.type_modifier()) {
            Some(kind) => columns.push(Column {
                name,
                kind,
                type_: found.type_().clone(),
                modifier: found.type_modifier(),
                not_null,
            }),
            None if wanted.is_some_and(|wanted| !wanted.contains(&name)) => {}
            None => {
                let advice = "a type that can be read (a query can cast others, as `column::text`)";
                return Err(Error::schema(name, advice, found.type_().name()).into());
            }
        }
    }
    Ok(Described { columns, primary_key, stored })
}

fn texts(rows: Vec<Row>) -> Vec<String> {
    rows.iter().filter_map(|row| row.try_get::<_, String>(0).ok()).collect()
}
