//! The store in PostgreSQL: its kit, several writers, damage, servers that fail, TLS.

mod failing;
mod tls;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use mlops_core::Error as Core;
use mlops_core::arrow::array::AsArray;
use mlops_core::arrow::datatypes::Float64Type;
use mlops_features::online::{OnlineRead, OnlineStore, PostgresStore, PostgresStoreBuilder};
use mlops_features::testkit::{block_on, online_store, state_store};
use mlops_features::{Error, FeatureView, Keys};

use crate::{builder, ints, rows};

/// The server of the tests, or a loud word that there is none.
fn url() -> Option<String> {
    let url = std::env::var("MLOPS_TEST_POSTGRES_URL").ok();
    if url.is_none() {
        eprintln!("SKIPPED: set MLOPS_TEST_POSTGRES_URL to a server where schemas may be made, to run this test");
    }
    url
}

/// Schemas that nobody else has, which are dropped at the end.
struct Schemas {
    url: String,
    head: String,
    next: AtomicU64,
}

impl Schemas {
    fn new(url: &str) -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let head = format!("online_{}_{now}", std::process::id());
        Self { url: url.to_owned(), head, next: AtomicU64::new(0) }
    }

    fn fresh(&self) -> String {
        format!("{}_{}", self.head, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// The URL with a name by which the server lists the connections of one test.
    fn named(&self) -> String {
        let joint = if self.url.contains('?') { '&' } else { '?' };
        format!("{}{joint}application_name={}", self.url, self.head)
    }

    fn client(&self) -> postgres::Client {
        postgres::Client::connect(&self.url, postgres::NoTls).expect("the server of the tests answers")
    }
}

impl Drop for Schemas {
    fn drop(&mut self) {
        let mut client = self.client();
        for at in 0..self.next.load(Ordering::Relaxed) {
            let _ = client.batch_execute(&format!("DROP SCHEMA IF EXISTS {}_{at} CASCADE", self.head));
        }
    }
}

fn ctr() -> FeatureView {
    builder("ctr", "user_id").build().unwrap()
}

fn write(store: &PostgresStore, content: &[(i64, i64, Option<f64>)]) -> Result<u64, Error> {
    block_on(store.write(&ctr(), &rows(&ctr(), content), None)).map(|summary| summary.written)
}

fn read(store: &PostgresStore, ids: &[i64]) -> Result<Vec<Option<f64>>, Error> {
    let view = ctr();
    let keys = Keys::new(view.entity(), &[ints(ids)]).unwrap();
    let rows = block_on(store.read(&[OnlineRead { view: &view, features: &[0], keys: &keys }]))?;
    Ok(rows[0].columns[0].as_primitive::<Float64Type>().iter().collect())
}

#[test]
fn settings_outside_of_their_domain_are_refused() {
    let refused: [fn(PostgresStoreBuilder) -> PostgresStoreBuilder; 5] = [
        |b| b.read_within(Duration::ZERO),
        |b| b.write_within(Duration::from_hours(25)),
        |b| b.connections(0),
        |b| b.connections(257),
        |b| b.schema("Upper"),
    ];
    for change in refused {
        let error = change(PostgresStore::builder("postgresql://ann@localhost/shop")).open().unwrap_err();
        assert!(matches!(error, Error::Core(Core::Invalid { .. })), "{error:?}");
    }
    for connection in
        ["", "secret-word", "user=ann password=secret-word", "postgresql://a:secret-word@b/c?sslmode=must"]
    {
        let error = PostgresStore::open(connection).unwrap_err();
        assert!(matches!(error, Error::Core(Core::Invalid { setting: "connection", .. })), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("secret-word"), "{error:?}");
    }
}

#[test]
fn postgresql_is_an_online_store() {
    let Some(url) = url() else { return };
    let schemas = Schemas::new(&url);
    block_on(online_store(|| PostgresStore::builder(&url).schema(schemas.fresh()).open().unwrap()));
}

#[test]
fn postgresql_keeps_states() {
    let Some(url) = url() else { return };
    let schemas = Schemas::new(&url);
    state_store(|| PostgresStore::builder(&url).schema(schemas.fresh()).open().unwrap());
}

#[test]
fn of_many_writers_of_the_same_keys_the_latest_row_wins() {
    let Some(url) = url() else { return };
    let schemas = Schemas::new(&url);
    let schema = schemas.fresh();
    let time = |writer: i64, round: i64, key: i64| (round * 7 + writer * 13 + key) % 101;
    // They make the schema and the view at the same time, too.
    thread::scope(|scope| {
        for writer in 0..4 {
            let (url, schema) = (&url, &schema);
            scope.spawn(move || {
                let store = PostgresStore::builder(url).schema(schema).open().unwrap();
                for round in 0..10 {
                    let row = |key| (key, time(writer, round, key), Some(time(writer, round, key) as f64));
                    write(&store, &(0..50).map(row).collect::<Vec<_>>()).unwrap();
                }
            });
        }
    });
    let store = PostgresStore::builder(&url).schema(&schema).open().unwrap();
    let latest = |key| (0..10).flat_map(|round| (0..4).map(move |writer| time(writer, round, key))).max();
    let expected: Vec<_> = (0..50).map(|key| latest(key).map(|time| time as f64)).collect();
    assert_eq!(read(&store, &(0..50).collect::<Vec<_>>()).unwrap(), expected);
}

#[test]
fn a_flipped_bit_in_a_stored_row_is_corrupt() {
    let Some(url) = url() else { return };
    let schemas = Schemas::new(&url);
    let schema = schemas.fresh();
    let store = PostgresStore::builder(&url).schema(&schema).open().unwrap();
    write(&store, &[(1, 5, Some(0.5))]).unwrap();
    let mut client = schemas.client();
    let stored: Vec<u8> = client.query_one(&format!("SELECT body FROM {schema}.rows"), &[]).unwrap().get(0);
    for byte in 0..stored.len() {
        let mut damaged = stored.clone();
        damaged[byte] ^= 1 << (byte % 8);
        client.execute(&format!("UPDATE {schema}.rows SET body = $1"), &[&damaged]).unwrap();
        let error = read(&store, &[1]).unwrap_err();
        assert!(
            matches!(&error, Error::Core(Core::Corrupt { what, .. }) if what.contains("ctr")),
            "byte {byte}: {error:?}"
        );
    }
    write(&store, &[(1, 5, Some(0.75))]).unwrap();
    assert_eq!(read(&store, &[1]).unwrap(), [Some(0.75)]);
}

#[test]
fn a_schema_of_somebody_else_is_refused_and_stays_as_it_is() {
    let Some(url) = url() else { return };
    let schemas = Schemas::new(&url);
    let schema = schemas.fresh();
    schemas.client().batch_execute(&format!("CREATE SCHEMA {schema}; CREATE TABLE {schema}.rows (x int)")).unwrap();
    let store = PostgresStore::builder(&url).schema(&schema).open().unwrap();
    let error = read(&store, &[1]).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::InvalidData { what, .. }) if what.contains(&schema)), "{error:?}");
    for schema in ["", "Upper", "1st", "pg_mine", "a\"b", "x; DROP TABLE y", &"x".repeat(64)] {
        assert!(PostgresStore::builder(&url).schema(schema).open().is_err(), "{schema:?}");
    }
}

#[test]
fn a_schema_that_was_dropped_is_made_anew_with_the_definitions_of_its_views() {
    let Some(url) = url() else { return };
    let schemas = Schemas::new(&url);
    let schema = schemas.fresh();
    let open = || PostgresStore::builder(&url).schema(&schema).open().unwrap();
    let store = open();
    let first = builder("first", "user_id").build().unwrap();
    block_on(store.write(&first, &rows(&first, &[(1, 5, Some(0.25))]), None)).unwrap();
    write(&store, &[(1, 5, Some(0.5))]).unwrap();
    schemas.client().batch_execute(&format!("DROP SCHEMA {schema} CASCADE")).unwrap();
    // The session at hand still believes in its tables and is told off.
    let _ = write(&store, &[(1, 5, Some(0.75))]);
    write(&store, &[(1, 5, Some(0.75))]).unwrap();
    assert_eq!(read(&store, &[1]).unwrap(), [Some(0.75)]);
    assert_eq!(read(&open(), &[1]).unwrap(), [Some(0.75)], "others find it, too");
}
