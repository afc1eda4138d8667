//! The kits on servers that speak the protocols of the providers, where there are any.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{SystemTime, UNIX_EPOCH};

use object_store::azure::{AzureAccessKey, AzureAuthorizer, AzureCredential};
use object_store::client::{HttpRequest, HttpRequestBody};
use object_store::gcp::{GcpCredential, GoogleCloudStorageBuilder};
use object_store::{ClientOptions, RetryConfig, StaticCredentialProvider};

use super::*;
use crate::source::FileFormat;

/// The server of S3 answers 500 to who reads an object while it is replaced, and the truth to who asks again.
const RETRIES: usize = 2;

/// The URL in `variable`, of a server for tests; `None`, said loudly, where there is none.
fn server(variable: &str, what: &str) -> Option<String> {
    let url = std::env::var(variable).ok().map(|url| url.trim_end_matches('/').to_owned());
    if url.is_none() {
        eprintln!("SKIPPED: set {variable} to the URL of {what}, to run this test");
    }
    url
}

/// Sends a request of a few lines to the server at `url`. What it says goes to the end of the test: a bucket that is there
/// already is fine.
fn ask(url: &str, line: &str, more: &str) {
    let host = url.trim_start_matches("http://").split('/').next().unwrap();
    let mut stream = TcpStream::connect(host).expect("the variable is http://host:port of a server that answers");
    let head = format!("{line} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\ncontent-length: 0\r\n{more}");
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    let mut told = String::new();
    let _ = stream.read_to_string(&mut told);
    eprintln!("{line}: {}", told.lines().next().unwrap_or_default());
}

/// The place of one run: a server may have been used before.
fn prefix() -> String {
    format!("run{}", SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos())
}

/// Everything that is asked of a provider; `make` gives the same place at a server of any URL.
fn takes_and_gives(url: &str, make: impl Fn(&str) -> ObjectStore) {
    let store = make(url);
    // What is read by its footer, and what is read from front to back.
    for key in ["a/t.parquet", "a/t.jsonl.zst"] {
        data_sink(&store.sink(key).unwrap(), || read(&store, key), &table());
        table().write_to(&store.sink(key).unwrap()).unwrap();
        data_source(&source(&store, key).unwrap(), &table());
    }
    for key in KEYS {
        table().write_to(&store.sink(key).unwrap()).unwrap();
        let found = source(&store, key).unwrap();
        assert_eq!(rows(&found, &ScanRequest::all()).unwrap(), table().to_batch().unwrap(), "{key}");
    }
    let mut keys = KEYS;
    keys.sort_unstable();
    assert_eq!(store.list("a/*").unwrap(), keys);
    long_text().write_to(&store.sink("long/month=1/t.csv").unwrap()).unwrap();
    let long = store.source("long/month=1/t.csv").unwrap();
    let found = Dataset::from_source(Arc::new(long.clone())).unwrap();
    assert_eq!(found.digest().unwrap(), long_text().digest().unwrap());
    let folder = store.files("long").unwrap().build().unwrap();
    assert_eq!(folder.partition_columns().collect::<Vec<_>>(), ["month"]);
    assert_eq!(rows(&folder, &ScanRequest::all().columns(["month"])).unwrap().num_rows(), 27_000);
    let mut stream = long.scan(&ScanRequest::all().batch_rows(100)).unwrap();
    assert!(stream.next().unwrap().is_ok());
    table().write_to(&store.sink_by("long/month=1/t.csv", |path| FileFormat::Csv.sink(path)).unwrap()).unwrap();
    let error = stream.find_map(Result::err).unwrap();
    assert!(matches!(&error, Error::InvalidData { reason, .. } if reason.contains("replaced")), "{error}");
    assert!(matches!(store.source("none.csv"), Err(Error::NotFound { kind: "object", .. })));
    let none = make("http://127.0.0.1:9").source("none.csv").unwrap_err();
    assert!(matches!(none, Error::External { system: "object store", .. }), "{none}");
}

#[test]
fn a_server_of_s3_takes_and_gives_objects() {
    let what = "a test server of S3 without authentication";
    let Some(url) = server("MLOPS_TEST_S3_URL", what) else { return };
    ask(&url, "PUT /mlops-test", "");
    let place = format!("s3://mlops-test/{}", prefix());
    takes_and_gives(&url, |endpoint| {
        let store = ObjectStore::builder(&place).endpoint(endpoint).region("us-east-1").retries(RETRIES);
        store.credentials("some-id", "secret-word").build().unwrap()
    });
}

#[test]
fn a_server_of_google_cloud_storage_takes_and_gives_objects() {
    // Its XML interface, the one that the client speaks, is that of S3: a test server of S3 will do, if it takes any token.
    let what = "a test server of Google Cloud Storage (XML) that takes any token";
    let Some(url) = server("MLOPS_TEST_GCS_URL", what) else { return };
    let bucket = prefix();
    ask(&url, &format!("PUT /{bucket}"), "");
    takes_and_gives(&url, |endpoint| {
        let client = GoogleCloudStorageBuilder::new().with_bucket_name(&bucket).with_base_url(endpoint);
        let token = StaticCredentialProvider::new(GcpCredential { bearer: "some-token".to_owned() });
        let client = client.with_credentials(Arc::new(token));
        let client = client.with_client_options(ClientOptions::new().with_allow_http(true));
        let client = client.with_retry(RetryConfig { max_retries: RETRIES, ..RetryConfig::default() });
        ObjectStore::over(Arc::new(client.build().unwrap()), format!("gs://{bucket}"))
    });
}

/// The account of every test server of Azure, and its key, which are public.
const AZURE_ACCOUNT: &str = "devstoreaccount1";
const AZURE_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

#[test]
fn a_server_of_azure_takes_and_gives_objects() {
    let what = "a test server of Azure Blob Storage with the public account";
    let Some(url) = server("MLOPS_TEST_AZURE_URL", what) else { return };
    let endpoint = format!("{url}/{AZURE_ACCOUNT}");
    let mut request = HttpRequest::new(HttpRequestBody::empty());
    *request.method_mut() = "PUT".parse().unwrap();
    *request.uri_mut() = format!("{endpoint}/mlops-test?restype=container").parse().unwrap();
    let key = AzureCredential::AccessKey(AzureAccessKey::try_new(AZURE_KEY).unwrap());
    AzureAuthorizer::new(&key, AZURE_ACCOUNT).authorize(&mut request);
    let headers = request.headers().iter().map(|(name, value)| format!("{name}: {}\r\n", value.to_str().unwrap()));
    let line = format!("PUT /{AZURE_ACCOUNT}/mlops-test?restype=container");
    ask(&url, &line, &headers.collect::<String>());
    let place = format!("az://mlops-test/{}", prefix());
    takes_and_gives(&url, |url| {
        let store = ObjectStore::builder(&place).endpoint(format!("{url}/{AZURE_ACCOUNT}")).retries(0);
        store.credentials(AZURE_ACCOUNT, AZURE_KEY).build().unwrap()
    });
}
