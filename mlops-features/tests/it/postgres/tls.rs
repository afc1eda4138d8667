//! How secure the way to the server is.

use std::path::Path;

use super::*;

/// Settings of the server without a host and without those of TLS, and the file of its CA; `None`, said loudly, where there is
/// none with TLS.
fn settings(url: &str) -> Option<(String, String)> {
    let Ok(ca) = std::env::var("MLOPS_TEST_POSTGRES_CA") else {
        eprintln!(
            "SKIPPED: set MLOPS_TEST_POSTGRES_CA to the PEM file of the CA of a server with a certificate for `localhost` \
             alone, to run this test"
        );
        return None;
    };
    let config: postgres::Config = url.parse().unwrap();
    let (user, database) = (config.get_user().unwrap(), config.get_dbname().unwrap());
    Some((format!("port={} user={user} dbname={database}", config.get_ports()[0]), ca))
}

/// Whether a store that reaches its server through `connection` is encrypted.
fn encrypted(schemas: &Schemas, connection: &str) -> Result<bool, Error> {
    let (schema, name) = (schemas.fresh(), format!("{}-tls", schemas.head));
    let store = PostgresStore::builder(format!("{connection} application_name={name}")).schema(schema).open()?;
    write(&store, &[(1, 5, Some(0.5))])?;
    let query = "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = $1";
    let encrypted: Vec<bool> = schemas.client().query(query, &[&name]).unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(read(&store, &[1])?, [Some(0.5)]);
    drop(store);
    let left = (0..500).all(|_| {
        thread::sleep(Duration::from_millis(10));
        !schemas.client().query(query, &[&name]).unwrap().is_empty()
    });
    assert!(!left, "the connection ends with the store");
    assert_eq!(encrypted.len(), 1, "one call after the other needs one connection");
    Ok(encrypted[0])
}

#[test]
fn the_way_to_a_server_is_as_secure_as_was_asked_for() {
    let Some(url) = url() else { return };
    let Some((server, ca)) = settings(&url) else { return };
    let schemas = Schemas::new(&url);
    let reach = |connection: String| encrypted(&schemas, &connection).unwrap();
    for host in ["host=localhost", "hostaddr=127.0.0.1"] {
        assert!(!reach(format!("{host} {server} sslmode=disable")));
        assert!(reach(format!("{host} {server}")), "preferred");
        assert!(reach(format!("{host} {server} sslmode=require")));
        assert!(reach(format!("{host} {server} sslmode=verify-ca sslrootcert='{ca}'")));
    }
    assert!(reach(format!("host=localhost {server} sslmode=verify-full sslrootcert='{ca}'")));
}

#[test]
fn a_server_that_nobody_vouches_for_is_refused_at_once() {
    let Some(url) = url() else { return };
    let Some((server, ca)) = settings(&url) else { return };
    let schemas = Schemas::new(&url);
    let other = Path::new(env!("CARGO_MANIFEST_DIR")).join("../mlops-core/tests/fixtures/another-ca.pem");
    let refused = |settings: String, word: &str| {
        let error = encrypted(&schemas, &format!("{server} {settings}")).unwrap_err();
        assert!(matches!(&error, Error::Core(Core::External { system: "postgresql", .. })), "{error:?}");
        assert!(error.to_string().contains("certificate") && error.to_string().contains(word), "{error}");
    };
    for mode in ["prefer", "require", "verify-ca", "verify-full"] {
        refused(format!("host=localhost sslmode={mode} sslrootcert='{}'", other.display()), "UnknownIssuer");
    }
    refused(format!("host=127.0.0.1 sslmode=verify-full sslrootcert='{ca}'"), "not valid for name");
    let missing = PostgresStore::open(format!("host=localhost {server} sslmode=verify-ca sslrootcert=/no/ca.pem"));
    assert!(matches!(missing, Err(Error::Core(Core::Io { path, .. })) if path == Path::new("/no/ca.pem")));
}
