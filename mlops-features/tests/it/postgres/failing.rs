//! Servers that break off, dawdle, babble, go away and come back.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize};
use std::time::Instant;

use super::*;

const SHORT: Duration = Duration::from_millis(300);

/// What the way to a server does with the server's bytes.
const PASS: u8 = 0;
const SWALLOW: u8 = 1;
const DRIP: u8 = 2;
const GARBLE: u8 = 3;
const CUT: u8 = 4;
/// Nobody is let through any more.
const REFUSE: u8 = 5;

/// A way to the server of the tests that can be made bad.
struct Way {
    place: String,
    mode: Arc<AtomicU8>,
    /// Connections that the client has not closed.
    open: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
}

impl Way {
    fn to(url: &str) -> Self {
        let config: postgres::Config = url.parse().unwrap();
        let port = config.get_ports()[0];
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let place = listener.local_addr().unwrap().to_string();
        let (mode, open, most) = (Arc::<AtomicU8>::default(), Arc::default(), Arc::default());
        let way = Self { place, mode, open, most };
        let (mode, open, most) = (way.mode.clone(), way.open.clone(), way.most.clone());
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if mode.load(Ordering::SeqCst) == REFUSE {
                    continue;
                }
                let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
                most.fetch_max(1 + open.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
                let (mode, open) = (mode.clone(), open.clone());
                let (to_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || pass(server, to_client, &mode));
                thread::spawn(move || {
                    pass(client, to_server, &AtomicU8::new(PASS));
                    open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        way
    }

    fn store(&self, schemas: &Schemas) -> PostgresStoreBuilder {
        let config: postgres::Config = schemas.url.parse().unwrap();
        let (user, database) = (config.get_user().unwrap(), config.get_dbname().unwrap());
        let name = &schemas.head;
        // In the clear, so that what is cut off is a message and not a record of TLS.
        let url = format!("postgresql://{user}@{}/{database}?sslmode=disable&application_name={name}", self.place);
        PostgresStore::builder(url).schema(schemas.fresh()).read_within(SHORT).write_within(SHORT)
    }

    fn set(&self, mode: u8) {
        self.mode.store(mode, Ordering::SeqCst);
    }

    fn settles_at(&self, connections: usize) -> bool {
        settles(|| self.open.load(Ordering::SeqCst) == connections)
    }
}

fn settles(mut holds: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + Duration::from_secs(20);
    while !holds() {
        if Instant::now() > until {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
    }
    true
}

fn pass(mut from: TcpStream, mut to: TcpStream, mode: &AtomicU8) {
    let mut bytes = [0; 4096];
    while let Ok(read @ 1..) = from.read(&mut bytes) {
        let done = match mode.load(Ordering::SeqCst) {
            SWALLOW => Ok(()),
            DRIP => bytes[..read].iter().try_for_each(|byte| {
                thread::sleep(Duration::from_millis(50));
                to.write_all(&[*byte])
            }),
            // A row of minus five bytes.
            GARBLE => to.write_all(b"D\xff\xff\xff\xfb"),
            CUT => to.write_all(&bytes[..read.min(7)]).and_then(|()| to.shutdown(Shutdown::Both)),
            _ => to.write_all(&bytes[..read]),
        };
        if done.is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

fn is_late(error: &Error) -> bool {
    matches!(error, Error::Core(Core::Deadline { stage }) if stage.contains("postgresql://127.0.0.1"))
}

fn is_of_the_server(error: &Error) -> bool {
    matches!(error, Error::Core(Core::External { system: "postgresql", source }) if source.to_string().contains("postgresql://"))
}

#[test]
fn connections_that_the_server_breaks_off_are_replaced() {
    let Some(url) = url() else { return };
    let schemas = Schemas::new(&url);
    let store = PostgresStore::builder(schemas.named()).schema(schemas.fresh()).open().unwrap();
    write(&store, &[(1, 5, Some(0.5))]).unwrap();
    let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1";
    for _ in 0..3 {
        let ended: i64 = schemas.client().query_one(end, &[&schemas.head]).unwrap().get(0);
        assert!(ended >= 1, "there was a connection to break off");
        assert_eq!(read(&store, &[1]).unwrap(), [Some(0.5)]);
    }
}

/// Holds a lock that every read of `schema` waits for while it does `meanwhile`.
fn while_locked<T>(schemas: &Schemas, schema: &str, meanwhile: impl FnOnce() -> T) -> T {
    let mut client = schemas.client();
    let mut transaction = client.transaction().unwrap();
    transaction.batch_execute(&format!("LOCK TABLE {schema}.rows IN ACCESS EXCLUSIVE MODE")).unwrap();
    let done = meanwhile();
    transaction.rollback().unwrap();
    done
}

/// Numbers of the server's processes that wait for a lock on behalf of a test.
fn waiting(client: &mut postgres::Client, schemas: &Schemas) -> Vec<i32> {
    let query = "SELECT pid FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'";
    client.query(query, &[&schemas.head]).unwrap().iter().map(|row| row.get(0)).collect()
}

#[test]
fn a_call_whose_connection_is_broken_off_in_the_middle_is_done_on_another() {
    let Some(url) = url() else { return };
    let schemas = Schemas::new(&url);
    let schema = schemas.fresh();
    let store =
        PostgresStore::builder(schemas.named()).schema(&schema).read_within(Duration::from_secs(30)).open().unwrap();
    write(&store, &[(1, 5, Some(0.5))]).unwrap();
    thread::scope(|scope| {
        let (reading, first) = while_locked(&schemas, &schema, || {
            let reading = scope.spawn(|| read(&store, &[1]));
            let mut client = schemas.client();
            assert!(settles(|| waiting(&mut client, &schemas).len() == 1), "the read waits");
            let first = waiting(&mut client, &schemas);
            client.execute("SELECT pg_terminate_backend($1)", &[&first[0]]).unwrap();
            assert!(settles(|| waiting(&mut client, &schemas).iter().any(|pid| *pid != first[0])), "it is tried again");
            (reading, first)
        });
        assert_eq!(reading.join().unwrap().unwrap(), [Some(0.5)]);
        assert_eq!(first.len(), 1);
    });
}

#[test]
fn a_call_that_was_given_up_leaves_nothing_running_at_the_server() {
    let Some(url) = url() else { return };
    let schemas = Schemas::new(&url);
    let version: i32 =
        schemas.client().query_one("SELECT current_setting('server_version_num')::int4", &[]).unwrap().get(0);
    let schema = schemas.fresh();
    let store = PostgresStore::builder(schemas.named()).schema(&schema).read_within(SHORT).open().unwrap();
    write(&store, &[(1, 5, Some(0.5))]).unwrap();
    while_locked(&schemas, &schema, || {
        for _ in 0..3 {
            let error = read(&store, &[1]).unwrap_err();
            assert!(is_late(&error), "{error:?}");
        }
        let mut client = schemas.client();
        // Else it would go on for a minute, which is how long a write may take.
        assert!(version < 140_000 || settles(|| waiting(&mut client, &schemas).is_empty()), "somebody still waits");
    });
    assert_eq!(read(&store, &[1]).unwrap(), [Some(0.5)]);
}

#[test]
fn a_way_that_goes_bad_in_mid_call_is_a_typed_error_in_time_and_used_again_when_it_is_good() {
    let Some(url) = url() else { return };
    let schemas = Schemas::new(&url);
    let way = Way::to(&url);
    let store = way.store(&schemas).open().unwrap();
    // Making the tables may take longer than a call that is to be quick.
    assert!(settles(|| write(&store, &[(1, 5, Some(0.0))]).is_ok()));
    for (round, mode) in [(1, SWALLOW), (2, DRIP), (3, GARBLE), (4, CUT), (5, REFUSE)] {
        way.set(mode);
        let started = Instant::now();
        let failed = [read(&store, &[1]).map(drop), write(&store, &[(1, 9, Some(9.0))]).map(drop)];
        assert!(started.elapsed() < Duration::from_secs(5), "way {mode} keeps nobody waiting");
        for result in failed {
            match result {
                // A way that refuses new connections leaves the one that is open alone.
                Ok(()) => assert_eq!(mode, REFUSE),
                Err(error) => {
                    assert!(if mode <= DRIP { is_late(&error) } else { is_of_the_server(&error) }, "{mode}: {error:?}");
                }
            }
        }
        way.set(PASS);
        let value = f64::from(round);
        assert!(settles(|| write(&store, &[(1, 9 + i64::from(round), Some(value))]).is_ok()), "way {mode}");
        assert_eq!(read(&store, &[1]).unwrap(), [Some(value)]);
    }
}

#[test]
fn calls_that_were_given_up_hold_no_connections() {
    let Some(url) = url() else { return };
    let schemas = Schemas::new(&url);
    let way = Way::to(&url);
    let store = way.store(&schemas).connections(4).open().unwrap();
    assert!(settles(|| write(&store, &[(1, 5, Some(0.5))]).is_ok()));
    way.set(SWALLOW);
    for _ in 0..6 {
        let error = read(&store, &[1]).unwrap_err();
        assert!(is_late(&error), "{error:?}");
    }
    assert!(way.settles_at(0), "{} are open", way.open.load(Ordering::SeqCst));
    way.set(PASS);
    assert!(settles(|| read(&store, &[1]).is_ok_and(|found| found == [Some(0.5)])));
}

#[test]
fn a_crowd_of_callers_waits_for_its_turn_on_few_connections() {
    let Some(url) = url() else { return };
    let schemas = Schemas::new(&url);
    let way = Way::to(&url);
    let long = Duration::from_mins(1);
    let store = way.store(&schemas).connections(2).read_within(long).write_within(long).open().unwrap();
    write(&store, &(0..40).map(|key| (key, 5, Some(key as f64))).collect::<Vec<_>>()).unwrap();
    thread::scope(|scope| {
        let read = |key| {
            scope.spawn({
                let store = &store;
                move || read(store, &[key]).unwrap()
            })
        };
        let readers: Vec<_> = (0..40).map(read).collect();
        for (key, reader) in readers.into_iter().enumerate() {
            assert_eq!(reader.join().unwrap(), [Some(key as f64)]);
        }
    });
    assert!(way.most.load(Ordering::SeqCst) <= 2);
    drop(store);
    assert!(way.settles_at(0), "connections end with the store");
}

/// A server that does to every connection what it is told, after the greeting.
fn fake(behave: impl Fn(TcpStream) + Send + Sync + 'static) -> (PostgresStoreBuilder, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = listener.local_addr().unwrap();
    let (behave, connections) = (Arc::new(behave), Arc::new(AtomicUsize::new(0)));
    let count = connections.clone();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::SeqCst);
            let behave = behave.clone();
            thread::spawn(move || {
                let _ = stream.read(&mut [0; 1024]);
                behave(stream);
            });
        }
    });
    let url = format!("postgresql://ann:secret-word@{place}/shop?sslmode=disable");
    (PostgresStore::builder(url).read_within(SHORT).write_within(SHORT), connections)
}

#[test]
fn a_server_that_is_silent_slow_or_confused_is_a_typed_error_in_time() {
    type Behaviour = fn(TcpStream);
    let behaviours: [(&str, bool, Behaviour); 7] = [
        ("says nothing", true, |_stream| thread::sleep(Duration::from_secs(5))),
        ("hangs up", false, drop),
        ("sends a byte at a time", true, |mut stream| {
            while stream.write_all(b"S").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        }),
        ("hangs up in mid-answer", false, |mut stream| drop(stream.write_all(b"R\0\0\0\x08\0"))),
        ("speaks HTTP", true, |mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            thread::sleep(Duration::from_secs(5));
        }),
        ("sends lengths that cannot be", false, |mut stream| drop(stream.write_all(b"R\xff\xff\xff\xff"))),
        ("answers something else", false, |mut stream| {
            let _ = stream.write_all(b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I");
            while stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                // The end of a COPY that nobody asked for.
                let _ = stream.write_all(b"c\0\0\0\x04");
            }
        }),
    ];
    for (name, late, behave) in behaviours {
        let store = fake(behave).0.open().unwrap();
        let started = Instant::now();
        for error in [read(&store, &[1]).unwrap_err(), write(&store, &[(1, 1, None)]).unwrap_err()] {
            assert!(if late { is_late(&error) } else { is_of_the_server(&error) }, "a server that {name}: {error:?}");
            assert!(!format!("{error} {error:?} {store:?}").contains("secret-word"), "{error:?}");
        }
        assert!(started.elapsed() < Duration::from_secs(4), "a server that {name} keeps nobody waiting");
    }
}

/// The server's message of an error.
fn told(code: &str, message: &str) -> Vec<u8> {
    let body = format!("SFATAL\0VFATAL\0C{code}\0M{message}\0\0");
    let length = u32::try_from(body.len() + 4).unwrap();
    [b"E".as_slice(), &length.to_be_bytes(), body.as_bytes()].concat()
}

#[test]
fn errors_of_the_server_are_sorted_and_never_quote_who_asks() {
    type Case = (&'static str, &'static str, usize, fn(&Core) -> bool);
    let cases: [Case; 6] = [
        ("28P01", "password authentication failed for user \"ann\"", 1, |e| matches!(e, Core::Forbidden { .. })),
        ("28000", "role \"ann\" does not exist", 1, |e| matches!(e, Core::Forbidden { .. })),
        ("3D000", "database \"shop\" does not exist", 1, |e| matches!(e, Core::NotFound { kind: "database", .. })),
        ("53300", "sorry, too many clients already", 3, |e| e.to_string().contains("too many clients")),
        ("57P03", "the database system is starting up", 3, |e| e.to_string().contains("starting up")),
        ("22P02", "invalid input: \"ann\"", 1, |e| matches!(e, Core::External { .. })),
    ];
    for (code, message, tries, fits) in cases {
        let (builder, connections) = fake(move |mut stream| drop(stream.write_all(&told(code, message))));
        let error = read(&builder.open().unwrap(), &[1]).unwrap_err();
        assert!(matches!(&error, Error::Core(core) if fits(core)), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("ann"), "{error:?}");
        assert_eq!(connections.load(Ordering::SeqCst), tries, "{code}");
    }
}

#[test]
fn nobody_listening_is_told_after_the_tries() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("postgresql://ann:secret-word@{}/shop", listener.local_addr().unwrap());
    drop(listener);
    let error = read(&PostgresStore::open(&url).unwrap(), &[1]).unwrap_err();
    assert!(is_of_the_server(&error), "{error:?}");
    assert!(error.to_string().contains("refused") && !format!("{error:?}").contains("secret-word"), "{error:?}");
}
