mod reuse;
mod tls;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use arrow::array::{
    ArrayRef, AsArray, BooleanArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int16Array, Int64Array,
    StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::{Int64Type, TimeUnit};
use arrow::util::display::array_value_to_string;
use postgres::{Client, NoTls};

use super::*;
use crate::Dataset;
use crate::schema::Role;
use crate::source::{Comparison, Predicate};
use crate::testkit::{data_source, missing_source, unreadable_source};
use crate::time::EventTime;

/// A schema of its own on the server that tests may use; gone when it is dropped.
struct Place {
    url: String,
    schema: &'static str,
    client: Client,
}

impl Place {
    /// `None`, said loudly, where there is no server.
    fn new(schema: &'static str) -> Option<Self> {
        let Ok(url) = std::env::var("MLOPS_TEST_POSTGRES_URL") else {
            eprintln!("SKIPPED: set MLOPS_TEST_POSTGRES_URL to a server where schemas may be made, to run this test");
            return None;
        };
        let client = Client::connect(&url, NoTls).expect("MLOPS_TEST_POSTGRES_URL names a server that answers");
        let mut place = Self { url, schema, client };
        place.run(&format!("DROP SCHEMA IF EXISTS {schema} CASCADE; CREATE SCHEMA {schema}"));
        place.run(&format!("SET search_path = {schema}"));
        Some(place)
    }

    fn run(&mut self, sql: &str) {
        self.client.batch_execute(sql).unwrap_or_else(|e| panic!("{e}: {sql}"));
    }

    fn table(&self, name: &str) -> PostgresSourceBuilder {
        PostgresSource::table(&self.url, name).in_schema(self.schema)
    }

    fn query(&self, select: &str) -> PostgresSourceBuilder {
        PostgresSource::query(&self.url, select)
    }

    /// Where the server listens.
    fn address(&self) -> String {
        let place = Server::parse(&self.url, None).unwrap().place().to_owned();
        place.trim_start_matches("postgresql://").split('/').next().unwrap().to_owned()
    }

    /// A table `counted` with rows `0..rows`.
    fn counted(&mut self, rows: i64) {
        self.run("CREATE TABLE counted (id bigint PRIMARY KEY, note text NOT NULL)");
        self.run(&format!("INSERT INTO counted SELECT i, repeat('x', 50) FROM generate_series(0, {}) i", rows - 1));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.client.batch_execute(&format!("DROP SCHEMA IF EXISTS {} CASCADE", self.schema));
    }
}

fn rows(source: &PostgresSource, request: &ScanRequest) -> Result<RecordBatch> {
    Dataset::collect(source.scan(request)?)?.to_batch()
}

fn ids(batch: &RecordBatch) -> Vec<i64> {
    batch.column_by_name("id").unwrap().as_primitive::<Int64Type>().values().to_vec()
}

/// What the kits look at: two rows of every kind that predicates compare, one of them hard to order.
const MIXED: &str = "CREATE TABLE mixed (id bigint PRIMARY KEY, small smallint, amount numeric(10,2), price float8, \
     share real, flag boolean, name text, day date, at timestamptz, local timestamp);
     INSERT INTO mixed VALUES
     (3, 7, 12.50, 1.5, 0.25, true, 'Ấn', '2024-02-29', '2024-02-29 08:00:00.000001+07', '1969-12-31 23:59:59.999999'),
     (1, NULL, NULL, 'NaN', 'Infinity', NULL, NULL, NULL, NULL, NULL),
     (2, -32768, -99999999.99, '-0', '-0', false, '', '0001-01-01', '1999-12-31 23:59:59Z', '2000-01-01'),
     (4, 0, 0, '-Infinity', 0, true, 'a''b \" ; --', '2000-01-01', '2262-04-11 23:47:16Z', '9999-12-31'),
     (5, 1, 0.01, 0, 3e38, false, 'B', '1969-12-31', '1970-01-01Z', '1970-01-01')";

fn mixed() -> Dataset {
    let micros = |text: &str| Some(EventTime::parse(text).unwrap().as_micros());
    let at = [None, micros("1999-12-31T23:59:59Z"), micros("2024-02-29T01:00:00.000001Z")];
    let at: TimestampMicrosecondArray = at.into_iter().chain([micros("2262-04-11T23:47:16Z"), Some(0)]).collect();
    let local = [None, micros("2000-01-01T00:00:00Z"), Some(-1), micros("9999-12-31T00:00:00Z"), Some(0)];
    let amounts: Decimal128Array = [None, Some(-9_999_999_999), Some(1_250), Some(0), Some(1)].into_iter().collect();
    let names = StringArray::from(vec![None, Some(""), Some("Ấn"), Some("a'b \" ; --"), Some("B")]);
    // `date -u -d 0001-01-01 +%s` is -62135596800, that of 2024-02-29 is 1709164800; divided by 86,400.
    let days = Date32Array::from(vec![None, Some(-719_162), Some(19_782), Some(10_957), Some(-1)]);
    let prices = vec![f64::NAN, -0.0, 1.5, f64::NEG_INFINITY, 0.0];
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("id", Arc::new(Int64Array::from(vec![1, 2, 3, 4, 5])) as ArrayRef, false),
        ("small", Arc::new(Int16Array::from(vec![None, Some(-32_768), Some(7), Some(0), Some(1)])), true),
        ("amount", Arc::new(amounts.with_precision_and_scale(10, 2).unwrap()), true),
        ("price", Arc::new(Float64Array::from(prices)), true),
        ("share", Arc::new(Float32Array::from(vec![f32::INFINITY, -0.0, 0.25, 0.0, 3e38])), true),
        ("flag", Arc::new(BooleanArray::from(vec![None, Some(false), Some(true), Some(true), Some(false)])), true),
        ("name", Arc::new(names), true),
        ("day", Arc::new(days), true),
        ("at", Arc::new(at.with_timezone("UTC")), true),
        ("local", Arc::new(local.into_iter().collect::<TimestampMicrosecondArray>()), true),
    ]);
    Dataset::from_batches([batch.unwrap()]).unwrap()
}

#[test]
fn a_table_keeps_the_contract_of_sources() {
    let Some(mut place) = Place::new("mlops_test_table") else { return };
    place.run(MIXED);
    let source = place.table("mixed").build().unwrap();
    assert_eq!(source.key(), ["id"]);
    data_source(&source, &mixed());
    let schema = mixed().schema().with_role("id", Role::Key).unwrap().with_unit("price", "VND").unwrap();
    let annotated = place.table("mixed").schema(schema.clone()).build().unwrap();
    assert_eq!(annotated.schema().unwrap().fingerprint(), schema.fingerprint());
    let expected = mixed().with_schema(schema).unwrap().to_batch().unwrap();
    assert_eq!(rows(&annotated, &ScanRequest::all()).unwrap(), expected);
    place.run("DROP TABLE mixed");
    missing_source(&source);
}

#[test]
fn tables_without_a_key_and_queries_keep_the_contract_too() {
    let Some(mut place) = Place::new("mlops_test_keyless") else { return };
    place.run(MIXED);
    let sorted = "SELECT * FROM mlops_test_keyless.mixed ORDER BY id -- a comment at the end";
    let mixed = mixed();
    let nullable = mixed.schema().arrow().fields().iter().map(|f| f.as_ref().clone().with_nullable(true));
    let schema = Schema::new(ArrowSchema::new(nullable.collect::<Vec<_>>())).unwrap();
    let batch = mixed.to_batch().unwrap();
    let batch = RecordBatch::try_new(schema.arrow().clone(), batch.columns().to_vec()).unwrap();
    let expected = Dataset::from_batches([batch]).unwrap();
    let query = place.query(sorted).build().unwrap();
    assert!(query.key().is_empty());
    data_source(&query, &expected);
    place.run("CREATE TABLE heap AS SELECT * FROM mixed ORDER BY id; CREATE INDEX ON heap (name)");
    data_source(&place.table("heap").build().unwrap(), &expected);
}

#[test]
fn every_type_is_read_as_the_server_spells_it() {
    let Some(mut place) = Place::new("mlops_test_types") else { return };
    place.run(
        "CREATE TYPE mood AS ENUM ('sad', 'glad'); CREATE DOMAIN cents AS numeric(6,2);
         CREATE TABLE types (n38 numeric(38,10), free numeric, tiny numeric(3,5), code char(5), vc varchar(9), mood mood,
           id uuid, doc json, docb jsonb, raw bytea, clock time, cents cents, number oid, tags text[], counts int[],
           sums numeric(4,1)[], empty int8[]);
         INSERT INTO types VALUES (1234567890123456789012345678.0123456789, 12345678901234567890123456789012345678901.5,
           0.00123, 'ab', 'c', 'glad', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{\"a\": 1}', '{\"b\":2}', '\\x00ff',
           '23:59:59.5', 12.3, 4294967295, '{x,NULL,\"y z\"}', '{1,2}', '{1.5,NULL}', '{}'),
           (NULL, 'NaN', 0, '', '', 'sad', NULL, NULL, NULL, '', '00:00', -0.05, 0, NULL, '{NULL}', '{}', NULL),
           (-0.0000000001, '-Infinity', -0.00999, 'abcde', NULL, NULL, NULL, 'null', '[]', NULL, '24:00:00', NULL, NULL,
           '{}', NULL, NULL, '{9223372036854775807}')",
    );
    let source = place.table("types").build().unwrap();
    let batch = rows(&source, &ScanRequest::all()).unwrap();
    let shown = |column: &str| {
        let array = batch.column_by_name(column).unwrap();
        (0..3).map(|row| array_value_to_string(array, row).unwrap()).collect::<Vec<_>>()
    };
    let spelt = ["n38", "free", "tiny", "code", "vc", "mood", "id", "doc", "docb", "cents", "number"];
    for column in spelt {
        let text = format!("SELECT coalesce({column}::text, '') FROM types");
        let text = if column == "code" { text.replace("code::text", "rpad(code::text, 5)") } else { text };
        let told: Vec<String> = place.client.query(&text, &[]).unwrap().iter().map(|row| row.get(0)).collect();
        assert_eq!(shown(column), told, "{column}");
    }
    assert_eq!(shown("raw"), ["00ff", "", ""]);
    assert_eq!(shown("clock")[..2], ["23:59:59.500", "00:00:00"]);
    assert_eq!(shown("tags"), ["[x, , y z]", "", "[]"]);
    assert_eq!(shown("counts"), ["[1, 2]", "[]", ""]);
    assert_eq!(shown("sums"), ["[1.5, ]", "[]", ""]);
    assert_eq!(shown("empty"), ["[]", "", "[9223372036854775807]"]);
    let types = batch.schema();
    assert_eq!(*types.field_with_name("n38").unwrap().data_type(), arrow::datatypes::DataType::Decimal128(38, 10));
    let micros = arrow::datatypes::DataType::Time64(TimeUnit::Microsecond);
    assert_eq!(*types.field_with_name("clock").unwrap().data_type(), micros);
}

#[test]
fn columns_of_other_types_are_named_with_advice() {
    let Some(mut place) = Place::new("mlops_test_others") else { return };
    place.run("CREATE TABLE others (id int PRIMARY KEY, span interval); INSERT INTO others VALUES (1, '1 day')");
    let error = place.table("others").build().unwrap_err();
    assert!(matches!(&error, Error::Schema { column, .. } if column == "span"), "{error}");
    assert!(error.to_string().contains("interval"), "{error}");
    let cast = place.query("SELECT id, span::text FROM mlops_test_others.others").build().unwrap();
    assert_eq!(rows(&cast, &ScanRequest::all()).unwrap().column(1).as_string::<i32>().value(0), "1 day");
    let id = Schema::new(ArrowSchema::new(vec![Field::new("id", arrow::datatypes::DataType::Int32, false)])).unwrap();
    let narrow = place.table("others").schema(id).build().unwrap();
    assert_eq!(rows(&narrow, &ScanRequest::all()).unwrap().num_rows(), 1);
    place.run("CREATE TABLE deep (a int[]); INSERT INTO deep VALUES ('{{1,2},{3,4}}')");
    unreadable_source(&place.table("deep").build().unwrap());
}

#[test]
fn names_and_values_of_any_kind_stay_names_and_values() {
    let Some(mut place) = Place::new("mlops_test_names") else { return };
    place.run("CREATE TABLE \"we\"\"ird; --\" (\"a\"\"b; DROP\" text, \"ID\" bigint PRIMARY KEY)");
    place.run("INSERT INTO \"we\"\"ird; --\" VALUES ('''; DROP TABLE x; --', 1), ('other', 2)");
    let source = place.table("we\"ird; --").build().unwrap();
    let request = ScanRequest::all().filter(Predicate::new("a\"b; DROP", Comparison::Eq, "'; DROP TABLE x; --"));
    assert_eq!(rows(&source, &request).unwrap().num_rows(), 1);
    for missing in ["WE\"IRD; --", "mlops_test_names.x", "pg_class\"; --"] {
        assert!(matches!(place.table(missing).build(), Err(Error::NotFound { kind: "table", .. })), "{missing}");
    }
    assert!(matches!(place.table("x").in_schema("none").build(), Err(Error::NotFound { .. })));
    assert!(matches!(place.query("SELECT 1; SELECT 2").build(), Err(Error::External { .. })));
    assert!(matches!(place.query("DROP TABLE x").build(), Err(Error::External { .. })));
    assert!(matches!(place.table("we\"ird; --").key(["no"]).build(), Err(Error::NotFound { kind: "column", .. })));
    let twice = place.query("SELECT 1 AS a, 2 AS a").build();
    assert!(matches!(twice, Err(Error::AlreadyExists { .. })), "{twice:?}");
}

#[test]
fn values_that_arrow_cannot_hold_are_refused_or_set_aside() {
    let Some(mut place) = Place::new("mlops_test_aside") else { return };
    place.run(
        "CREATE TABLE times (id int PRIMARY KEY, at timestamptz, day date, amount numeric(5,2));
         INSERT INTO times VALUES (1, '2024-01-01Z', '2024-01-01', 1), (2, 'infinity', '2024-01-01', 2),
         (3, '2024-01-01Z', '-infinity', 3), (4, '2024-01-01Z', '2024-01-01', 'NaN'), (5, NULL, NULL, NULL)",
    );
    let strict = place.table("times").build().unwrap();
    unreadable_source(&strict);
    let error = rows(&strict, &ScanRequest::all()).unwrap_err().to_string();
    assert!(error.contains("/mlops_test_aside.times, line 2, column `at`: an infinite time"), "{error}");
    let aside = Quarantine::keeping(2);
    let source = place.table("times").quarantine(aside.clone()).build().unwrap();
    let ids = |batch: &RecordBatch| batch.column(0).as_primitive::<arrow::datatypes::Int32Type>().values().to_vec();
    assert_eq!(ids(&rows(&source, &ScanRequest::all()).unwrap()), [1, 5]);
    assert_eq!((aside.count(), aside.rows().len(), aside.rows()[1].line), (3, 2, 3));
    // 2024-01-01 is day 8,766 = 0x223e of the server; 2.00 is one group, weight 0, positive, scale 2, then the group.
    assert_eq!(aside.rows()[0].raw, "\\x00000002\t\\x7fffffffffffffff\t\\x0000223e\t\\x00010000000000020002");
    assert_eq!(ids(&rows(&source, &ScanRequest::all().limit(2)).unwrap()), [1, 5], "rows set aside do not count");
    let capped = place.table("times").quarantine(Quarantine::keeping(9).fail_above(2)).build().unwrap();
    assert!(matches!(rows(&capped, &ScanRequest::all()), Err(Error::InvalidData { .. })));
}

#[test]
fn a_scan_sees_one_snapshot() {
    let Some(mut place) = Place::new("mlops_test_snapshot") else { return };
    place.counted(50_000);
    let source = place.table("counted").build().unwrap();
    let mut stream = source.scan(&ScanRequest::all().columns(["id"]).batch_rows(100)).unwrap();
    let mut found = ids(&stream.next().unwrap().unwrap());
    place.run("DELETE FROM counted WHERE id % 2 = 0; INSERT INTO counted VALUES (1000000, '')");
    stream.for_each(|batch| found.extend(ids(&batch.unwrap())));
    assert_eq!(found, (0..50_000).collect::<Vec<_>>());
    let after = rows(&source, &ScanRequest::all()).unwrap();
    assert_eq!(after.num_rows(), 25_001, "the next scan sees the next state");
}

#[test]
fn a_cursor_takes_a_scan_up_where_it_was_left() {
    let Some(mut place) = Place::new("mlops_test_cursor") else { return };
    place.run("CREATE TABLE pairs (day date, id bigint, note text, PRIMARY KEY (day, id))");
    let insert = "INSERT INTO pairs SELECT date '2024-01-01' + i % 7, i, 'n' || i FROM generate_series";
    place.run(&format!("{insert}(0, 99) i"));
    let source = place.table("pairs").build().unwrap();
    assert_eq!(source.key(), ["day", "id"]);
    let whole = ids(&rows(&source, &ScanRequest::all()).unwrap());
    let request = ScanRequest::all().columns(["id"]).batch_rows(7);
    for taken in [0, 1, 5] {
        let (mut found, mut kept) = (Vec::new(), None);
        for step in source.scan_after(&request, None).unwrap().take(taken) {
            let (batch, cursor) = step.unwrap();
            found.extend(ids(&batch));
            kept = Some(serde_json::from_str::<Cursor>(&serde_json::to_string(&cursor).unwrap()).unwrap());
        }
        source.scan_after(&request, kept.as_ref()).unwrap().for_each(|step| found.extend(ids(&step.unwrap().0)));
        assert_eq!(found, whole, "{taken}");
    }
    let (_, end) = source.scan_after(&request, None).unwrap().last().unwrap().unwrap();
    assert_eq!(source.scan_after(&request, Some(&end)).unwrap().count(), 0);
    place.run("INSERT INTO pairs SELECT date '2025-01-01', i, '' FROM generate_series(200, 202) i");
    let odd = request.clone().filter(Predicate::new("id", Comparison::NotEq, 201)).limit(2);
    let new: Vec<_> = source.scan_after(&odd, Some(&end)).unwrap().flat_map(|step| ids(&step.unwrap().0)).collect();
    assert_eq!(new, [200, 202]);
    place.counted(3);
    let other = place.table("counted").build().unwrap();
    assert!(matches!(other.scan_after(&request, Some(&end)), Err(Error::Invalid { setting: "cursor", .. })));
    let keyless = place.table("pairs").key(Vec::<String>::new()).build().unwrap();
    assert!(matches!(keyless.scan_after(&request, None), Err(Error::Invalid { setting: "key", .. })));
}

#[test]
fn keys_that_repeat_or_are_null_are_refused() {
    let Some(mut place) = Place::new("mlops_test_keys") else { return };
    place.run("CREATE TABLE loose (id bigint, tags text[]); INSERT INTO loose VALUES (1), (2), (2), (3)");
    let source = place.table("loose").key(["id"]).build().unwrap();
    let error = rows(&source, &ScanRequest::all()).unwrap_err();
    assert!(matches!(&error, Error::InvalidData { .. }) && error.to_string().contains("twice"), "{error}");
    place.run("DELETE FROM loose WHERE id = 2; INSERT INTO loose VALUES (NULL)");
    let error = rows(&source, &ScanRequest::all()).unwrap_err().to_string();
    assert!(error.contains("the key \"id\" is null"), "{error}");
    assert!(matches!(place.table("loose").key(["tags"]).build(), Err(Error::Invalid { setting: "key", .. })));
}

/// Passes bytes on between a client and the server, and cuts every connection after `bytes` from the server; from the
/// `whole`th connection on it cuts no more.
struct Cutter {
    address: String,
    connections: Arc<AtomicUsize>,
}

impl Cutter {
    fn new(server: String, bytes: usize, whole: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let number = counted.fetch_add(1, Ordering::SeqCst);
                let allowed = if number >= whole { usize::MAX } else { bytes };
                let server = TcpStream::connect(&server).unwrap();
                let (mut up, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || std::io::copy(&mut up, &mut to));
                thread::spawn(move || pass(server, client, allowed));
            }
        });
        Self { address, connections }
    }

    /// The connection through this, with the credentials of `url`.
    fn url(&self, url: &str, server: &str) -> String {
        let changed = url.replace(server, &self.address);
        assert_ne!(changed, url, "MLOPS_TEST_POSTGRES_URL is a URL with host and port");
        changed
    }
}

fn pass(mut from: TcpStream, mut to: TcpStream, mut allowed: usize) {
    let mut buffer = [0; 4096];
    while let Ok(read) = from.read(&mut buffer) {
        let passed = read.min(allowed);
        allowed -= passed;
        if to.write_all(&buffer[..passed]).is_err() || passed == 0 || allowed == 0 {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

#[test]
fn a_keyed_scan_survives_lost_connections_without_losing_or_doubling_a_row() {
    let Some(mut place) = Place::new("mlops_test_cut") else { return };
    place.counted(20_000);
    let whole = rows(&place.table("counted").build().unwrap(), &ScanRequest::all()).unwrap();
    // Each connection brings some 500 to 1,200 rows of 70 bytes.
    for bytes in [40_000, 61_111, 80_003] {
        let cutter = Cutter::new(place.address(), bytes, usize::MAX);
        let url = cutter.url(&place.url, &place.address());
        let builder = PostgresSource::table(url, "counted").in_schema("mlops_test_cut");
        let source = builder.first_pause(Duration::from_millis(1)).build().unwrap();
        let found = rows(&source, &ScanRequest::all().batch_rows(333)).unwrap();
        assert_eq!(found, whole);
        assert!(cutter.connections.load(Ordering::SeqCst) > 10, "it was cut many times");
        let some = rows(&source, &ScanRequest::all().limit(2_345)).unwrap();
        assert_eq!(some, whole.slice(0, 2_345));
    }
}

#[test]
fn what_cannot_be_taken_up_ends_with_an_error_that_names_the_server() {
    let Some(mut place) = Place::new("mlops_test_lost") else { return };
    place.counted(20_000);
    let build = |cutter: &Cutter, key: &[&str]| {
        let url = cutter.url(&place.url, &place.address());
        let builder = PostgresSource::table(url, "counted").in_schema("mlops_test_lost").key(key.to_vec());
        builder.first_pause(Duration::from_millis(1)).retries(2).build()
    };
    let cutter = Cutter::new(place.address(), 60_000, usize::MAX);
    let keyless = build(&cutter, &[]).unwrap();
    let error = rows(&keyless, &ScanRequest::all()).unwrap_err();
    assert!(matches!(error, Error::External { system: "postgresql", .. }), "{error}");
    assert!(error.to_string().contains(&cutter.address), "{error}");
    // Cut before the first row: tried anew, three times in all.
    let cutter = Cutter::new(place.address(), 10, usize::MAX);
    assert!(matches!(build(&cutter, &["id"]), Err(Error::External { .. })));
    assert_eq!(cutter.connections.load(Ordering::SeqCst), 3);
    let healed = Cutter::new(place.address(), 10, 2);
    assert!(build(&healed, &["id"]).is_ok(), "the third try is answered");
}

#[test]
fn a_server_that_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgresql://ann:secret-word@{}/shop", listener.local_addr().unwrap());
    let error = PostgresSource::table(&url, "t").timeout(Duration::from_millis(100)).build().unwrap_err();
    assert!(matches!(error, Error::External { .. }), "{error}");
    assert!(error.to_string().contains("no answer within 100ms") && !error.to_string().contains("secret"), "{error}");
    drop(listener);
    let gone = PostgresSource::table(&url, "t").retries(1).first_pause(Duration::ZERO).build().unwrap_err();
    assert!(matches!(gone, Error::External { .. }), "{gone}");
}

#[test]
fn secrets_do_not_show() {
    let Some(mut place) = Place::new("mlops_test_secrets") else { return };
    place.counted(1);
    let at_the_server = place.url.split_once('@').expect("a URL with a user").1.to_owned();
    let wrong = format!("postgresql://nobody:secret-wrong@{at_the_server}");
    for builder in [PostgresSource::table(&wrong, "t"), PostgresSource::table(&wrong, "t").password("secret-other")] {
        assert!(!format!("{builder:?}").contains("secret-"), "{builder:?}");
        let error = builder.build().unwrap_err();
        assert!(matches!(error, Error::Forbidden { .. }), "{error}");
        assert!(!["secret-", "nobody"].iter().any(|word| format!("{error} {error:?}").contains(word)), "{error:?}");
    }
    let source = place.table("counted").build().unwrap();
    let told = format!("{source:?} {:?}", source.info().unwrap());
    assert!(!told.contains('@') && told.contains("/mlops_test_secrets.counted"), "{told}");
    place.run("CREATE TABLE people (id bigint PRIMARY KEY, name text); INSERT INTO people VALUES (1, 'Nguyễn Văn An')");
    let casting = place.query("SELECT id, name::int FROM mlops_test_secrets.people").build().unwrap();
    let error = rows(&casting, &ScanRequest::all()).unwrap_err();
    assert!(error.to_string().contains("22P02") && !format!("{error:?}").contains("Nguyễn"), "{error:?}");
}

#[test]
fn changed_columns_are_noticed() {
    let Some(mut place) = Place::new("mlops_test_changed") else { return };
    place.counted(3);
    let source = place.table("counted").build().unwrap();
    place.run("ALTER TABLE counted ALTER COLUMN note TYPE varchar(99)");
    assert!(matches!(source.scan(&ScanRequest::all()), Err(Error::InvalidData { .. })));
    place.run("ALTER TABLE counted DROP COLUMN note");
    assert!(matches!(source.scan(&ScanRequest::all()), Err(Error::InvalidData { .. })));
    assert_eq!(rows(&source, &ScanRequest::all().columns(["id"])).unwrap().num_rows(), 3);
}

#[test]
fn a_scan_that_is_dropped_leaves_no_transaction_behind() {
    let Some(mut place) = Place::new("mlops_test_dropped") else { return };
    place.counted(100_000);
    let joint = if place.url.contains('?') { '&' } else { '?' };
    let named = format!("{}{joint}application_name=mlops-dropped", place.url);
    let source = PostgresSource::table(named, "counted").in_schema("mlops_test_dropped").build().unwrap();
    let mut stream = source.scan(&ScanRequest::all().batch_rows(10)).unwrap();
    assert_eq!(stream.next().unwrap().unwrap().num_rows(), 10);
    drop(stream);
    let count = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'mlops-dropped'";
    let left = (0..500).find(|_| {
        thread::sleep(Duration::from_millis(10));
        place.client.query_one(count, &[]).unwrap().get::<_, i64>(0) == 0
    });
    assert!(left.is_some(), "the connection is closed");
}

#[cfg(feature = "object-store")]
#[test]
fn a_scan_may_be_made_within_an_async_runtime() {
    let Some(mut place) = Place::new("mlops_test_async") else { return };
    place.counted(10);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let source = place.table("counted").build().unwrap();
        assert_eq!(rows(&source, &ScanRequest::all()).unwrap().num_rows(), 10);
    });
}
