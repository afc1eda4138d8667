//! A server on loopback that speaks as much of S3, and so of Google's XML interface, as the clients need, and fails when it is
//! told to.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::source::ObjectStore;

/// What becomes of a request, by its line and how many there were before: `None` for a proper answer, else a status.
pub(super) type Fault = fn(&str, usize) -> Option<u16>;

#[derive(Default)]
pub(super) struct State {
    pub(super) objects: BTreeMap<String, Vec<u8>>,
    parts: BTreeMap<usize, Vec<u8>>,
    pub(super) requests: Vec<String>,
    pub(super) sent_bytes: usize,
    fault: Option<Fault>,
}

pub(super) struct FakeS3 {
    address: String,
    pub(super) state: Arc<Mutex<State>>,
}

impl FakeS3 {
    pub(super) fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let state = shared.clone();
                thread::spawn(move || answer(stream, &state));
            }
        });
        Self { address, state }
    }

    pub(super) fn fail(&self, fault: Fault) {
        let mut state = self.state.lock().unwrap();
        state.fault = Some(fault);
        state.requests.clear();
    }

    pub(super) fn put(&self, key: &str, bytes: &[u8]) {
        self.state.lock().unwrap().objects.insert(format!("/bucket/{key}"), bytes.to_vec());
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.state.lock().unwrap().objects.contains_key(&format!("/bucket/{key}"))
    }

    pub(super) fn count(&self, method: &str) -> usize {
        self.state.lock().unwrap().requests.iter().filter(|line| line.starts_with(method)).count()
    }

    pub(super) fn store(&self, retries: usize) -> ObjectStore {
        let store = ObjectStore::builder("s3://bucket").endpoint(format!("http://{}", self.address)).region("r");
        store.credentials("some-id", "secret-word").retries(retries).timeout(Duration::from_secs(20)).build().unwrap()
    }

    /// The same bucket, by the protocol of Google.
    pub(super) fn google(&self) -> ObjectStore {
        let key = r#"{"private_key":"","private_key_id":"","client_email":"","disable_oauth":true}"#;
        let store = ObjectStore::builder("gs://bucket").endpoint(format!("http://{}", self.address)).retries(0);
        store.option("google_service_account_key", key).build().unwrap()
    }
}

/// A path without escapes.
fn plain(path: &str) -> String {
    let mut pieces = path.split('%');
    let mut plain = pieces.next().unwrap().to_owned();
    for piece in pieces {
        plain.push(char::from(u8::from_str_radix(&piece[..2], 16).unwrap()));
        plain.push_str(&piece[2..]);
    }
    plain
}

fn answer(stream: TcpStream, state: &Mutex<State>) {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    if reader.read_line(&mut line).unwrap_or(0) == 0 {
        return;
    }
    let mut headers = BTreeMap::new();
    loop {
        let mut header = String::new();
        if reader.read_line(&mut header).is_err() || header.trim().is_empty() {
            break;
        }
        let (name, value) = header.split_once(':').unwrap();
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length: usize = headers.get("content-length").map_or(0, |text| text.parse().unwrap());
    let mut body = vec![0; length];
    if reader.read_exact(&mut body).is_err() {
        return;
    }
    let (status, more, content) = respond(&mut state.lock().unwrap(), line.trim(), &headers, body);
    let length =
        if more.contains("content-length") { String::new() } else { format!("content-length: {}\r\n", content.len()) };
    let head = format!("HTTP/1.1 {status} x\r\nconnection: close\r\n{length}{more}\r\n");
    let mut stream = reader.into_inner();
    let _ = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&content));
}

type Response = (u16, String, Vec<u8>);

fn respond(state: &mut State, line: &str, headers: &BTreeMap<String, String>, body: Vec<u8>) -> Response {
    let before = state.requests.len();
    state.requests.push(line.to_owned());
    if let Some(status) = state.fault.and_then(|fault| fault(line, before)) {
        let text = "<Error><Code>Trouble</Code><Message>secret-word was not accepted</Message></Error>";
        return (status, String::new(), text.into());
    }
    let mut words = line.split(' ');
    let (method, target) = (words.next().unwrap(), words.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let path = &plain(path);
    match method {
        "PUT" if query.contains("partNumber") => {
            let number = query.split('&').find_map(|pair| pair.strip_prefix("partNumber="));
            state.parts.insert(number.unwrap().parse().unwrap(), body);
            (200, "etag: \"part\"\r\n".to_owned(), Vec::new())
        }
        "PUT" => {
            state.objects.insert(path.to_owned(), body);
            (200, "etag: \"whole\"\r\n".to_owned(), Vec::new())
        }
        "POST" if query.starts_with("uploads") => {
            let text = "<InitiateMultipartUploadResult><UploadId>u1</UploadId></InitiateMultipartUploadResult>";
            (200, String::new(), text.into())
        }
        "POST" => {
            let whole = std::mem::take(&mut state.parts).into_values().flatten().collect();
            state.objects.insert(path.to_owned(), whole);
            let text = "<CompleteMultipartUploadResult><ETag>\"x\"</ETag></CompleteMultipartUploadResult>";
            (200, String::new(), text.into())
        }
        "DELETE" => (204, String::new(), Vec::new()),
        _ => read(state, method, path, headers),
    }
}

fn read(state: &mut State, method: &str, path: &str, headers: &BTreeMap<String, String>) -> Response {
    let Some(object) = state.objects.get(path) else {
        return (404, String::new(), "<Error><Code>NoSuchKey</Code></Error>".into());
    };
    let etag = format!("\"{}\"", &blake3::hash(object).to_hex()[..16]);
    if headers.get("if-match").is_some_and(|wanted| *wanted != etag) {
        return (412, String::new(), Vec::new());
    }
    let mut more = format!("etag: {etag}\r\nlast-modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n");
    if method == "HEAD" {
        let _ = write!(more, "content-length: {}\r\n", object.len());
        return (200, more, Vec::new());
    }
    let range = headers.get("range").and_then(|text| text.strip_prefix("bytes=")?.split_once('-'));
    let Some((start, end)) = range else { return (200, more, object.clone()) };
    let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse::<usize>().unwrap().min(object.len() - 1));
    let _ = write!(more, "content-range: bytes {start}-{end}/{}\r\n", object.len());
    state.sent_bytes += end + 1 - start;
    (206, more, object[start..=end].to_vec())
}
