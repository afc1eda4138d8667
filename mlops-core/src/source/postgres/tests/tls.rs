use std::path::Path;

use super::*;

/// A query that tells whether its connection is encrypted.
const ENCRYPTED: &str = "SELECT ssl FROM pg_catalog.pg_stat_ssl WHERE pid = pg_catalog.pg_backend_pid()";

/// The server that tests may use, as `host=…` settings without those of TLS, and the file of its CA; `None`, said loudly,
/// where there is none with TLS.
fn server() -> Option<(String, String)> {
    let (url, ca) = (std::env::var("MLOPS_TEST_POSTGRES_URL"), std::env::var("MLOPS_TEST_POSTGRES_CA"));
    let (Ok(url), Ok(ca)) = (url, ca) else {
        eprintln!(
            "SKIPPED: set MLOPS_TEST_POSTGRES_URL to a server with TLS and a certificate for `localhost` alone, and \
             MLOPS_TEST_POSTGRES_CA to the PEM file of its CA, to run this test"
        );
        return None;
    };
    let config: tokio_postgres::Config = url.parse().unwrap();
    let (user, database) = (config.get_user().unwrap(), config.get_dbname().unwrap());
    Some((format!("port={} user={user} dbname={database}", config.get_ports()[0]), ca))
}

/// Whether a scan through `connection` is encrypted.
fn encrypted(connection: &str) -> Result<bool> {
    let source = PostgresSource::query(connection, ENCRYPTED).retries(5).first_pause(Duration::from_mins(1)).build()?;
    Ok(rows(&source, &ScanRequest::all())?.column(0).as_boolean().value(0))
}

#[track_caller]
fn distrusted(connection: &str, word: &str) {
    let error = encrypted(connection).unwrap_err();
    assert!(matches!(error, Error::External { system: "postgresql", .. }), "{error}");
    assert!(error.to_string().contains("certificate") && error.to_string().contains(word), "{error}");
}

#[test]
fn the_way_to_a_server_is_as_secure_as_was_asked_for() {
    let Some((server, ca)) = server() else { return };
    for host in ["host=localhost", "host=127.0.0.1", "hostaddr=127.0.0.1"] {
        assert!(!encrypted(&format!("{host} {server} sslmode=disable")).unwrap());
        assert!(encrypted(&format!("{host} {server}")).unwrap(), "preferred");
        assert!(encrypted(&format!("{host} {server} sslmode=require")).unwrap());
        assert!(encrypted(&format!("{host} {server} sslmode=require sslrootcert='{ca}'")).unwrap());
        assert!(encrypted(&format!("{host} {server} sslmode=verify-ca sslrootcert='{ca}'")).unwrap());
    }
    assert!(encrypted(&format!("host=localhost {server} sslmode=verify-full sslrootcert='{ca}'")).unwrap());
    let url = std::env::var("MLOPS_TEST_POSTGRES_URL").unwrap().replace("127.0.0.1", "localhost");
    let joint = if url.contains('?') { '&' } else { '?' };
    assert!(encrypted(&format!("{url}{joint}sslmode=verify-full&sslrootcert={ca}")).unwrap());
}

#[test]
fn a_server_that_nobody_vouches_for_is_refused_at_once() {
    let Some((server, ca)) = server() else { return };
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/another-ca.pem").display().to_string();
    for mode in ["prefer", "require", "verify-ca", "verify-full"] {
        distrusted(&format!("host=localhost {server} sslmode={mode} sslrootcert='{other}'"), "UnknownIssuer");
    }
    distrusted(&format!("host=localhost {server} sslmode=verify-ca"), "UnknownIssuer");
    distrusted(&format!("host=127.0.0.1 {server} sslmode=verify-full sslrootcert='{ca}'"), "not valid for name");
    let missing = encrypted(&format!("host=localhost {server} sslmode=verify-ca sslrootcert=/no/such/ca.pem"));
    assert!(matches!(missing, Err(Error::Io { path, .. }) if path == Path::new("/no/such/ca.pem")));
}

#[test]
fn a_server_without_tls_is_refused_where_it_must_have_it() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 8];
        stream.read_exact(&mut request).unwrap();
        // "I have none."
        stream.write_all(b"N").unwrap();
        let mut more = Vec::new();
        stream.read_to_end(&mut more).unwrap();
        (request, more)
    });
    let url = format!("postgresql://ann:secret-word@{address}/shop?sslmode=require");
    let error = PostgresSource::table(url, "t").build().unwrap_err();
    assert!(matches!(error, Error::External { system: "postgresql", .. }), "{error}");
    assert!(error.to_string().contains("server does not support TLS"), "{error}");
    // The request for TLS is its length, 8, and 1234, 5679; no name and no password follow it in the clear.
    assert_eq!(heard.join().unwrap(), ([0, 0, 0, 8, 4, 210, 22, 47], vec![]));
}

/// What a server whose TLS nobody understands hears first on each of its connections.
fn greetings(settings: &str) -> Vec<[u8; 8]> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let heard = Arc::new(std::sync::Mutex::new(Vec::new()));
    let shared = heard.clone();
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let mut greeting = [0; 8];
            stream.read_exact(&mut greeting).unwrap();
            shared.lock().unwrap().push(greeting);
            let _ = stream.write_all(b"S and then no word of TLS");
            let _ = stream.shutdown(Shutdown::Write);
        }
    });
    let url = format!("postgresql://ann@{address}/shop{settings}");
    let error = PostgresSource::table(url, "t").retries(0).build().unwrap_err();
    assert!(matches!(error, Error::External { system: "postgresql", .. }), "{error}");
    heard.lock().unwrap().clone()
}

#[test]
fn a_server_whose_tls_is_not_understood_is_reached_without_only_where_that_will_do() {
    let request_for_tls = [0, 0, 0, 8, 4, 210, 22, 47];
    let preferred = greetings("");
    assert_eq!((preferred.len(), preferred[0]), (2, request_for_tls));
    assert_eq!(preferred[1][4..], [0, 3, 0, 0], "the greeting of version 3.0, in the clear");
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/another-ca.pem").display().to_string();
    for settings in ["?sslmode=require".to_owned(), format!("?sslmode=prefer&sslrootcert={other}")] {
        assert_eq!(greetings(&settings), [request_for_tls], "{settings}");
    }
}
