use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::thread::JoinHandle;

use super::*;
use crate::EventTime;
use crate::catalog::openlineage::{Dataset, DatasetEvent, Origin};

fn event() -> Event {
    let origin = Origin::builder("shop").build().unwrap();
    DatasetEvent::new(&origin, EventTime::EPOCH, Dataset::named(&origin, "customers")).into()
}

/// Answers as many connections as there are answers, and gives the requests.
fn server(answers: Vec<&'static str>) -> (String, JoinHandle<Vec<(String, String)>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/api/v1/lineage", listener.local_addr().unwrap());
    let serve = move || answers.into_iter().map(|answer| answered(listener.accept().unwrap().0, answer)).collect();
    (url, std::thread::spawn(serve))
}

fn answered(mut stream: TcpStream, answer: &str) -> (String, String) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let (mut head, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.trim().is_empty() {
            break;
        }
        head.push_str(&line);
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    stream.write_all(answer.as_bytes()).unwrap();
    (head, String::from_utf8(body).unwrap())
}

const OK: &str = "HTTP/1.1 201 Created\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const BUSY: &str = "HTTP/1.1 503 Busy\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const NO: &str = "HTTP/1.1 401 No\r\ncontent-length: 6\r\nconnection: close\r\n\r\ns3cret";
const ELSEWHERE: &str =
    "HTTP/1.1 307 Go\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";

#[test]
fn an_event_is_posted_with_its_token_and_tried_again_while_the_server_is_busy() {
    let (url, server) = server(vec![BUSY, "", OK]);
    let pauses: Arc<Mutex<Vec<Duration>>> = Arc::default();
    let slept = pauses.clone();
    let sleeper = move |pause| slept.lock().unwrap().push(pause);
    let sink = HttpSink::builder(url).token("s3cret").sleeper(sleeper).build().unwrap();
    sink.emit(&event()).unwrap();
    let requests = server.join().unwrap();
    assert_eq!(requests.len(), 3);
    for (head, body) in &requests {
        assert!(head.starts_with("POST /api/v1/lineage HTTP/1.1"), "{head}");
        assert!(head.to_lowercase().contains("authorization: bearer s3cret"), "{head}");
        assert!(head.to_lowercase().contains("content-type: application/json"), "{head}");
        assert_eq!(serde_json::from_str::<Event>(body).unwrap(), event());
    }
    assert_eq!(*pauses.lock().unwrap(), [Duration::from_millis(200), Duration::from_millis(400)]);
}

#[track_caller]
fn check(answers: Vec<&'static str>, word: &str) {
    let asked = answers.len();
    let (url, server) = server(answers);
    let sink = HttpSink::builder(&url).token("s3cret").attempts(2).sleeper(|_| {}).build().unwrap();
    let error = sink.emit(&event()).unwrap_err();
    let text = format!("{error} {error:?} {sink:?}");
    assert!(matches!(error, Error::External { system: "lineage server", .. }), "{text}");
    assert!(text.contains(word) && text.contains(&url) && !text.contains("s3cret"), "{text}");
    assert_eq!(server.join().unwrap().len(), asked);
}

#[test]
fn refusals_are_told_without_the_token_and_redirects_are_not_followed() {
    check(vec![NO], "status 401");
    check(vec![ELSEWHERE], "redirects are not followed");
    check(vec![BUSY, BUSY], "status 503");
}

#[test]
fn a_server_that_does_not_answer_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let timeout = Duration::from_millis(50);
    let sink = HttpSink::builder(url).timeout(timeout).attempts(2).sleeper(|_| {}).build().unwrap();
    let error = sink.emit(&event()).unwrap_err().to_string();
    assert!(error.contains("timeout"), "{error}");
}

#[test]
fn addresses_and_tokens_that_would_leak_are_refused() {
    for bad in ["", "ftp://a/", "http://", "https://a b/", "https://u:p@a/", "https://a/?key=1", "https://a/#x", "a/b"]
    {
        let error = HttpSink::builder(bad).build().unwrap_err();
        assert!(matches!(error, Error::Invalid { setting: "url", .. }), "{bad}: {error}");
    }
    let with_token = |url: &str, token: &str| HttpSink::builder(url).token(token).build();
    assert!(with_token("http://lineage.example/", "t").is_err(), "in the open");
    assert!(with_token("http://127.0.0.1.evil.example/", "t").is_err());
    for local in ["http://localhost:5000/", "http://127.0.0.1/", "http://[::1]:80/"] {
        with_token(local, "t").unwrap();
    }
    for token in ["", "a b", "a\r\nHost: evil", "ä"] {
        let error = with_token("https://a/", token).unwrap_err().to_string();
        assert!(!error.contains("evil"), "{error}");
    }
    assert!(HttpSink::builder("https://a/").attempts(0).build().is_err());
    assert!(HttpSink::builder("https://a/").timeout(Duration::ZERO).build().is_err());
}
