//! The store on Redis: its kit, a server that dies, dawdles and babbles, damage, and several writers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use mlops_core::Error as Core;
use mlops_core::arrow::array::AsArray;
use mlops_core::arrow::datatypes::Float64Type;
use mlops_features::online::{OnlineRead, OnlineStore, RedisStore, RedisStoreBuilder};
use mlops_features::testkit::{block_on, online_store, state_store};
use mlops_features::{Error, FeatureView, Keys, ValueType};

use crate::{builder, ints, rows};

/// The server of the tests, or a loud word that there is none.
pub(crate) fn url() -> Option<String> {
    let url = std::env::var("MLOPS_TEST_REDIS_URL").ok();
    if url.is_none() {
        eprintln!("SKIPPED: set MLOPS_TEST_REDIS_URL to a Redis whose keys may be written, to run this test");
    }
    url
}

/// A prefix that nobody else has.
pub(crate) fn prefix() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
    format!("test-{}-{now}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

fn ctr() -> FeatureView {
    builder("ctr", "user_id").build().unwrap()
}

fn read(store: &RedisStore, view: &FeatureView, ids: &[i64]) -> Result<Vec<Option<f64>>, Error> {
    let keys = Keys::new(view.entity(), &[ints(ids)]).unwrap();
    let rows = store.read_sync(&[OnlineRead { view, features: &[0], keys: &keys }])?;
    Ok(rows[0].columns[0].as_primitive::<Float64Type>().iter().collect())
}

/// Sends one command as it is and gives the raw answer.
fn raw(url: &str, command: &[&[u8]]) -> Vec<u8> {
    let place = url.trim_start_matches("redis://").split('/').next().unwrap();
    let mut stream = TcpStream::connect(place).unwrap();
    let mut request = format!("*{}\r\n", command.len()).into_bytes();
    for part in command {
        request.extend(format!("${}\r\n", part.len()).into_bytes());
        request.extend_from_slice(part);
        request.extend_from_slice(b"\r\n");
    }
    stream.write_all(&request).unwrap();
    let mut answer = vec![0; 1 << 16];
    let read = stream.read(&mut answer).unwrap();
    answer.truncate(read);
    answer
}

#[test]
fn redis_is_an_online_store() {
    let Some(url) = url() else { return };
    block_on(online_store(|| RedisStore::builder(&url).prefix(prefix()).open().unwrap()));
}

#[test]
fn redis_keeps_states() {
    let Some(url) = url() else { return };
    state_store(|| RedisStore::builder(&url).prefix(prefix()).open().unwrap());
}

#[test]
fn rows_of_a_view_expire_beyond_their_ttl_and_grace_only() {
    let Some(url) = url() else { return };
    let prefix = prefix();
    let hour = Duration::from_hours(1);
    let store = RedisStore::builder(&url).prefix(&prefix).expire_after_ttl(hour).open().unwrap();
    let view = builder("ctr", "user_id").ttl(hour).build().unwrap();
    let now =
        i64::try_from(std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_micros()).unwrap();
    let at = |minutes: i64| now - minutes * 60_000_000;
    let content = [
        (1, at(10), Some(1.0)),
        (2, at(90), Some(2.0)),
        (3, at(150), Some(3.0)),
        (4, i64::MIN, Some(4.0)),
        (5, i64::MAX, Some(5.0)),
    ];
    store.write_sync(&view, &rows(&view, &content), None).unwrap();
    // Outside of its maximum age, the second row is still there to be told so.
    assert_eq!(read(&store, &view, &[1, 2, 3, 4, 5]).unwrap(), [Some(1.0), Some(2.0), None, None, Some(5.0)]);
    let lasting = builder("lasting", "user_id").build().unwrap();
    store.write_sync(&lasting, &rows(&lasting, &[(1, i64::MIN, Some(1.0))]), None).unwrap();
    assert_eq!(read(&store, &lasting, &[1]).unwrap(), [Some(1.0)], "rows of a view without a ttl stay");
}

#[test]
fn a_flipped_bit_in_a_stored_row_is_corrupt_and_the_next_row_puts_it_right() {
    let Some(url) = url() else { return };
    let prefix = prefix();
    let store = RedisStore::builder(&url).prefix(&prefix).open().unwrap();
    let view = ctr();
    store.write_sync(&view, &rows(&view, &[(1, 5, Some(0.5))]), None).unwrap();
    let mut key = format!("{prefix}:row:ctr:").into_bytes();
    Keys::new(view.entity(), &[ints(&[1])]).unwrap().encode(0, &mut key);
    let stored = raw(&url, &[b"GET", &key]);
    let start = stored.iter().position(|byte| *byte == b'\n').unwrap() + 1;
    let stored = &stored[start..stored.len() - 2];
    for byte in 0..stored.len() {
        let mut damaged = stored.to_vec();
        damaged[byte] ^= 1 << (byte % 8);
        raw(&url, &[b"SET", &key, &damaged]);
        let error = read(&store, &view, &[1]).unwrap_err();
        assert!(
            matches!(&error, Error::Core(Core::Corrupt { what, .. }) if what.contains("ctr")),
            "byte {byte}: {error:?}"
        );
    }
    for torn in [&b""[..], b"x", &stored[..stored.len() - 1], &stored[..22]] {
        raw(&url, &[b"SET", &key, torn]);
        assert!(matches!(read(&store, &view, &[1]), Err(Error::Core(Core::Corrupt { .. }))), "{torn:?}");
    }
    raw(&url, &[b"SET", &key, b"garbage"]);
    store.write_sync(&view, &rows(&view, &[(1, 6, Some(0.75))]), None).unwrap();
    assert_eq!(read(&store, &view, &[1]).unwrap(), [Some(0.75)]);
    raw(&url, &[b"DEL", &key]);
    raw(&url, &[b"LPUSH", &key, b"a list"]);
    assert!(matches!(
        store.write_sync(&view, &rows(&view, &[(1, 6, Some(0.75))]), None),
        Err(Error::Core(Core::External { .. }))
    ));
}

#[test]
fn a_view_that_another_process_widened_is_read_and_written_on() {
    let Some(url) = url() else { return };
    let prefix = prefix();
    let open = || RedisStore::builder(&url).prefix(&prefix).open().unwrap();
    let (one, other) = (open(), open());
    let (narrow, wide) = (ctr(), builder("ctr", "user_id").feature("more", ValueType::Float64).build().unwrap());
    one.write_sync(&narrow, &rows(&narrow, &[(1, 5, Some(1.0))]), None).unwrap();
    let batch = rows(&narrow, &[(2, 5, Some(2.0))]);
    let mut columns: Vec<_> =
        batch.schema().fields().iter().map(|f| f.name().clone()).zip(batch.columns().to_vec()).collect();
    columns.push(("more".to_owned(), batch.column(2).clone()));
    let batch = mlops_core::arrow::array::RecordBatch::try_from_iter(columns).unwrap();
    other.write_sync(&wide, &batch, None).unwrap();
    assert_eq!(
        read(&one, &narrow, &[1, 2]).unwrap(),
        [Some(1.0), Some(2.0)],
        "a schema that came meanwhile is looked up"
    );
    one.write_sync(&narrow, &rows(&narrow, &[(3, 5, Some(3.0))]), None).unwrap();
    assert_eq!(read(&other, &wide, &[1, 2, 3]).unwrap(), [Some(1.0), Some(2.0), Some(3.0)]);
}

#[test]
fn of_many_writers_of_the_same_keys_the_latest_row_wins() {
    let Some(url) = url() else { return };
    let prefix = prefix();
    let view = ctr();
    thread::scope(|scope| {
        for writer in 0..4_i64 {
            let (url, prefix, view) = (&url, &prefix, &view);
            scope.spawn(move || {
                let store = RedisStore::builder(url).prefix(prefix).open().unwrap();
                for round in 0..20_i64 {
                    // Every writer writes every key with times that interleave with those of the others.
                    let content: Vec<_> = (0..50)
                        .map(|key| {
                            let time = (round * 7 + writer * 13 + key) % 101;
                            (key, time, Some(time as f64))
                        })
                        .collect();
                    store.write_sync(view, &rows(view, &content), None).unwrap();
                }
            });
        }
    });
    let store = RedisStore::builder(&url).prefix(&prefix).open().unwrap();
    let latest =
        |key| (0..20_i32).flat_map(|round| (0..4).map(move |writer| (round * 7 + writer * 13 + key) % 101)).max();
    let expected: Vec<_> = (0..50).map(|key| latest(key).map(f64::from)).collect();
    assert_eq!(read(&store, &view, &(0..50).collect::<Vec<_>>()).unwrap(), expected);
}

#[test]
fn settings_outside_of_their_domain_are_refused() {
    let builder = || RedisStore::builder("redis://localhost");
    let refused: [fn(RedisStoreBuilder) -> RedisStoreBuilder; 6] = [
        |b| b.prefix(""),
        |b| b.prefix("a{b}"),
        |b| b.read_within(Duration::ZERO),
        |b| b.write_within(Duration::from_hours(25)),
        |b| b.connections(0),
        |b| b.connections(257),
    ];
    for change in refused {
        let error = change(builder()).open().unwrap_err();
        assert!(matches!(error, Error::Core(Core::Invalid { .. })), "{error:?}");
    }
    assert!(RedisStore::open("localhost:6379").is_err());
    let shown = format!("{:?}", builder().user("ann").password("secret-word"));
    assert!(!shown.contains("secret-word") && !shown.contains("ann"), "{shown}");
}

/// A server that does to every connection what it is told.
fn fake(behave: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let behave = Arc::new(behave);
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let behave = behave.clone();
            thread::spawn(move || behave(stream));
        }
    });
    url
}

fn quick(url: &str) -> RedisStore {
    RedisStore::builder(url)
        .read_within(Duration::from_millis(300))
        .write_within(Duration::from_millis(300))
        .open()
        .unwrap()
}

#[test]
fn a_server_that_is_silent_slow_or_confused_is_a_typed_error_in_time() {
    type Behaviour = fn(TcpStream);
    let behaviours: [(&str, bool, Behaviour); 8] = [
        ("says nothing", true, |_stream| thread::sleep(Duration::from_secs(5))),
        ("sends a byte at a time", true, |mut stream| {
            let _ = stream.write_all(b"*2\r\n$1000000\r\n");
            while stream.write_all(b"x").is_ok() {
                thread::sleep(Duration::from_millis(20));
            }
        }),
        ("hangs up", false, drop),
        ("hangs up in mid-answer", false, |mut stream| {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"*2\r\n$100\r\nabc");
        }),
        ("speaks HTTP", false, |mut stream| {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }),
        ("claims to have terabytes", false, |mut stream| {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"*2\r\n$9999999999999\r\n");
        }),
        ("claims to have billions of elements", false, |mut stream| {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"*2000000000\r\n");
        }),
        ("answers something else", false, |mut stream| {
            while stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                let _ = stream.write_all(b"*2\r\n:7\r\n+what\r\n");
            }
        }),
    ];
    let view = ctr();
    for (name, late, behave) in behaviours {
        let store = quick(&fake(behave));
        let started = Instant::now();
        let errors = [
            read(&store, &view, &[1]).unwrap_err(),
            store.write_sync(&view, &rows(&view, &[(1, 1, None)]), None).unwrap_err(),
            block_on(store.ping())
                .err()
                .unwrap_or_else(|| Core::Deadline { stage: "none: it said something".to_owned() }.into()),
        ];
        for error in &errors[..2] {
            let good = match error {
                Error::Core(Core::Deadline { stage }) => late && stage.contains("redis://127.0.0.1"),
                Error::Core(Core::External { system: "redis", source }) => {
                    !late && source.to_string().contains("redis://")
                }
                _ => false,
            };
            assert!(good, "a server that {name}: {error:?}");
        }
        assert!(started.elapsed() < Duration::from_secs(4), "a server that {name} keeps nobody waiting");
    }
}

#[test]
fn errors_of_the_server_are_sorted_and_never_quote_values() {
    type Case = (&'static [u8], fn(&Core) -> bool);
    let cases: [Case; 6] = [
        (b"-NOAUTH Authentication required.\r\n", |e| matches!(e, Core::Forbidden { .. })),
        (b"-LOADING Redis is loading the dataset in memory\r\n", |e| matches!(e, Core::Busy { .. })),
        (b"-OOM command not allowed\r\n", |e| matches!(e, Core::External { .. })),
        (b"-MOVED 3999 127.0.0.1:6381\r\n", |e| matches!(e, Core::External { .. })),
        (b"-READONLY You can't write against a read only replica.\r\n", |e| matches!(e, Core::External { .. })),
        (b"-ERR unknown command, with args beginning with: `secret-word`\r\n", |e| matches!(e, Core::External { .. })),
    ];
    for (answer, fits) in cases {
        let store = quick(&fake(move |mut stream| {
            while stream.read(&mut [0; 4096]).is_ok_and(|read| read > 0) {
                let _ = stream.write_all(answer);
            }
        }));
        let error = read(&store, &ctr(), &[1]).unwrap_err();
        assert!(matches!(&error, Error::Core(core) if fits(core)), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("secret-word"), "{error:?}");
    }
}

#[test]
fn nobody_listening_is_told_after_the_tries() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    drop(listener);
    let error = read(&quick(&url), &ctr(), &[1]).unwrap_err();
    assert!(matches!(&error, Error::Core(Core::External { system: "redis", .. })), "{error:?}");
    assert!(!format!("{:?}", quick(&url.replace("://", "://ann:secret-word@"))).contains("secret-word"));
}

/// A server of this test's own, which can be killed.
struct Server {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
    arguments: Vec<&'static str>,
}

impl Server {
    fn start(arguments: &[&'static str]) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Self::spawn(port, folder.path(), arguments)?;
        Some(Self { child, port, folder, arguments: arguments.to_vec() })
    }

    fn spawn(port: u16, folder: &std::path::Path, arguments: &[&str]) -> Option<Child> {
        let spawned = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(arguments)
            .current_dir(folder)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = spawned else {
            eprintln!("SKIPPED: install redis-server to run this test");
            return None;
        };
        let until = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(Instant::now() < until, "redis-server does not start");
            thread::sleep(Duration::from_millis(20));
        }
        Some(child)
    }

    fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn restart(&mut self) {
        self.child = Self::spawn(self.port, self.folder.path(), &self.arguments).unwrap();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_server_that_is_killed_and_comes_back_is_used_again_and_keeps_what_it_acknowledged() {
    let Some(mut server) = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]) else { return };
    let store = RedisStore::builder(server.url()).read_within(Duration::from_secs(5)).open().unwrap();
    let view = ctr();
    for round in 1..4 {
        let content = [(1, round, Some(round as f64))];
        assert_eq!(store.write_sync(&view, &rows(&view, &content), None).unwrap().written, 1);
        server.kill();
        let error = read(&store, &view, &[1]).unwrap_err();
        assert!(matches!(error, Error::Core(Core::External { .. } | Core::Deadline { .. })), "{error:?}");
        server.restart();
        let kept = loop {
            match read(&store, &view, &[1]) {
                // Its journal is read first.
                Err(Error::Core(Core::Busy { .. })) => thread::sleep(Duration::from_millis(20)),
                other => break other.unwrap(),
            }
        };
        assert_eq!(kept, [Some(round as f64)]);
    }
}

#[test]
fn a_server_that_forgot_everything_is_taught_anew() {
    let Some(mut server) = Server::start(&["--appendonly", "no"]) else { return };
    let store = RedisStore::open(server.url()).unwrap();
    let view = ctr();
    store.write_sync(&view, &rows(&view, &[(1, 1, Some(1.0))]), None).unwrap();
    server.kill();
    server.restart();
    assert_eq!(read(&store, &view, &[1]).unwrap(), [None]);
    // Its scripts and the definition of the view are gone, too.
    store.write_sync(&view, &rows(&view, &[(1, 1, Some(2.0))]), None).unwrap();
    let another = RedisStore::open(server.url()).unwrap();
    assert_eq!(read(&another, &view, &[1]).unwrap(), [Some(2.0)]);
    let text = mlops_features::Entity::builder("user").key("user_id", mlops_features::KeyType::Utf8).build().unwrap();
    let rekeyed = FeatureView::builder("ctr", text.clone()).feature("ctr", ValueType::Float64).build().unwrap();
    let keys: mlops_core::arrow::array::ArrayRef = Arc::new(mlops_core::arrow::array::StringArray::from(vec!["1"]));
    let keys = Keys::new(&text, &[keys]).unwrap();
    let read = another.read_sync(&[OnlineRead { view: &rekeyed, features: &[0], keys: &keys }]);
    assert!(matches!(read, Err(Error::Changed { .. })), "the definition was stored again: {read:?}");
}

#[test]
fn a_password_and_a_number_of_a_database_are_used() {
    let Some(server) = Server::start(&["--requirepass", "secret-word"]) else { return };
    let view = ctr();
    let error = read(&RedisStore::open(server.url()).unwrap(), &view, &[1]).unwrap_err();
    assert!(matches!(error, Error::Core(Core::Forbidden { .. })), "{error:?}");
    let wrong = RedisStore::builder(server.url()).password("another-word").open().unwrap();
    let error = read(&wrong, &view, &[1]).unwrap_err();
    assert!(matches!(error, Error::Core(Core::Forbidden { .. })), "{error:?}");
    assert!(!error.to_string().contains("another-word"));
    let open = |database: &str| {
        RedisStore::builder(format!("{}/{database}", server.url())).password("secret-word").open().unwrap()
    };
    open("3").write_sync(&view, &rows(&view, &[(1, 1, Some(1.0))]), None).unwrap();
    assert_eq!(read(&open("3"), &view, &[1]).unwrap(), [Some(1.0)]);
    assert_eq!(read(&open("0"), &view, &[1]).unwrap(), [None]);
    let beyond = read(&open("9999"), &view, &[1]).unwrap_err();
    assert!(matches!(beyond, Error::Core(Core::External { .. })), "{beyond:?}");
}

#[test]
fn a_server_that_is_paused_answers_late_and_then_again_in_time() {
    let Some(server) = Server::start(&[]) else { return };
    let store = RedisStore::builder(server.url()).read_within(Duration::from_millis(200)).open().unwrap();
    let view = ctr();
    store.write_sync(&view, &rows(&view, &[(1, 1, Some(1.0))]), None).unwrap();
    raw(&server.url(), &[b"CLIENT", b"PAUSE", b"600", b"ALL"]);
    let keys = Keys::new(view.entity(), &[ints(&[1])]).unwrap();
    let reads = [OnlineRead { view: &view, features: &[0], keys: &keys }];
    let error = block_on(store.read(&reads)).unwrap_err();
    assert!(matches!(error, Error::Core(Core::Deadline { .. })), "{error:?}");
    thread::sleep(Duration::from_millis(700));
    assert_eq!(read(&store, &view, &[1]).unwrap(), [Some(1.0)]);
}

/// Makes a certificate that vouches for itself, for `name`; says whether it could.
fn certificate(folder: &std::path::Path, name: &str) -> bool {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", &format!("/CN={name}"), "-addext", &format!("subjectAltName=DNS:{name}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(folder)
        .stderr(Stdio::null())
        .status();
    made.is_ok_and(|status| status.success())
}

#[test]
fn over_tls_a_server_is_believed_only_when_its_certificate_vouches_for_its_name() {
    let folder = tempfile::tempdir().unwrap();
    if !certificate(folder.path(), "localhost") {
        eprintln!("SKIPPED: install openssl to run this test");
        return;
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let spawned = Command::new("redis-server")
        .args(["--port", "0", "--tls-port", &port.to_string(), "--bind", "127.0.0.1", "--save", ""])
        .args(["--tls-cert-file", "cert.pem", "--tls-key-file", "key.pem", "--tls-ca-cert-file", "cert.pem"])
        .args(["--tls-auth-clients", "no"])
        .current_dir(folder.path())
        .stdout(Stdio::null())
        .spawn();
    let Ok(mut child) = spawned else {
        eprintln!("SKIPPED: install redis-server to run this test");
        return;
    };
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        if child.try_wait().unwrap().is_some() || Instant::now() > until {
            eprintln!("SKIPPED: install a redis-server with TLS to run this test");
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
    let view = ctr();
    let open = |host: &str| {
        RedisStore::builder(format!("rediss://{host}:{port}")).roots(folder.path().join("cert.pem")).open().unwrap()
    };
    let store = open("localhost");
    let many: Vec<_> = (0..3_000).map(|key| (key, key, Some(key as f64))).collect();
    let written = store.write_sync(&view, &rows(&view, &many), None);
    let ids: Vec<i64> = (0..3_000).collect();
    let found = read(&store, &view, &ids);
    let other_name = read(&open("127.0.0.1"), &view, &[1]);
    let other_roots = tempfile::tempdir().unwrap();
    assert!(certificate(other_roots.path(), "localhost"));
    let url = format!("rediss://localhost:{port}");
    let distrusted = RedisStore::builder(&url).roots(other_roots.path().join("cert.pem")).open().unwrap();
    let distrusted = read(&distrusted, &view, &[1]);
    let plain = read(&quick(&format!("redis://127.0.0.1:{port}")), &view, &[1]);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(written.unwrap().written, 3_000);
    assert_eq!(found.unwrap(), many.iter().map(|row| row.2).collect::<Vec<_>>());
    for refused in [other_name, distrusted, plain] {
        assert!(matches!(&refused, Err(Error::Core(Core::External { system: "redis", .. }))), "{refused:?}");
    }
    let missing = RedisStore::builder(&url).roots(folder.path().join("none.pem")).open().unwrap_err();
    assert!(matches!(missing, Error::Core(Core::Io { .. })), "{missing:?}");
    let empty = RedisStore::builder(&url).roots(folder.path().join("key.pem")).open().unwrap_err();
    assert!(matches!(empty, Error::Core(Core::InvalidData { .. })), "{empty:?}");
}
