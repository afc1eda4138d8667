//! Feast's HTTP interface over rows in memory: what a request costs the server, or a server for others to ask.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Instant;

use mlops_core::SystemClock;
use mlops_features::online::MemoryStore;
use mlops_features::server::{FeatureHttp, ListenOptions, serve};
use mlops_features::vector::{ExactIndex, IndexedStore, Metric, VectorStore};
use mlops_features::{Entity, FeatureView, KeyType, ValueType};
use serde_json::{Map, Value, json};
use tokio::sync::oneshot;

use crate::{Outcome, online_read};

type Failure = Box<dyn std::error::Error>;

/// Requests that are counted, of one and of many entities.
const COUNTED: [(usize, usize); 2] = [(1, 20_000), (100, 4_000)];

/// Clock ticks per second in `/proc`: fixed at 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A server on a thread of its own.
struct Running {
    address: SocketAddr,
    /// What the kernel counts of its thread.
    stat: PathBuf,
    stop: oneshot::Sender<()>,
    thread: std::thread::JoinHandle<Result<(), String>>,
}

fn start(port: u16) -> Result<Running, Failure> {
    let mut views = online_read::views()?;
    let memory = Arc::new(MemoryStore::new());
    for view in &views {
        memory.write_sync(view, &online_read::rows(view, 0)?, None)?;
    }
    let service = online_read::service(&views)?;
    let document = Entity::builder("document").key("document_id", KeyType::Int64).build()?;
    let documents = FeatureView::builder("documents", document);
    let documents = documents.feature("embedding", ValueType::Vector(4)).feature("title", ValueType::Utf8).build()?;
    let vectors =
        Arc::new(VectorStore::new(documents.clone(), "embedding", Arc::new(ExactIndex::new(Metric::L2, 4)?))?);
    let store = Arc::new(IndexedStore::new(memory, [vectors.clone()]));
    let mut http = FeatureHttp::builder(store, Arc::new(SystemClock)).services([service]).vectors([vectors]);
    for view in &views {
        http = http.push_source(format!("{}_push", view.name()), view.name().as_str());
    }
    views.push(documents);
    let router = http.views(views).build()?.router();
    let (stop, stopped) = oneshot::channel::<()>();
    let (told, tell) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.map_err(|e| e.to_string())?;
            let thread = std::fs::read_link("/proc/thread-self").map_err(|e| e.to_string())?;
            let address = listener.local_addr().map_err(|e| e.to_string())?;
            told.send((address, PathBuf::from("/proc").join(thread).join("stat"))).map_err(|e| e.to_string())?;
            let stop = async {
                let _ = stopped.await;
            };
            serve(listener, router, ListenOptions::new(), stop).await.map_err(|e| e.to_string())
        })
    });
    let Ok((address, stat)) = tell.recv() else {
        return Err(thread.join().map_err(|_| "the server panicked")?.err().unwrap_or_default().into());
    };
    Ok(Running { address, stat, stop, thread })
}

impl Running {
    /// Processor seconds of the server so far.
    fn cpu_s(&self) -> Result<f64, Failure> {
        let stat = std::fs::read_to_string(&self.stat)?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        Ok((ticks(11) + ticks(12)) / TICKS_PER_SECOND)
    }

    fn end(self) -> Result<(), Failure> {
        let _ = self.stop.send(());
        self.thread.join().map_err(|_| "the server panicked")??;
        Ok(())
    }
}

/// Bodies of requests for `entities` entities that differ.
fn bodies(entities: usize) -> Vec<Vec<u8>> {
    let one = |i: usize| {
        let keys: Vec<usize> = (0..entities).map(|k| (i * 7_919 + k * 104_729) % 10_000).collect();
        let body = json!({ "feature_service": "all", "entities": { "user_id": keys } }).to_string();
        let head = "POST /get-online-features HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
        format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
    };
    (0..256).map(one).collect()
}

/// Reads one answer; says how long its body was.
fn answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<usize, Failure> {
    buffer.clear();
    let mut chunk = [0; 16_384];
    loop {
        let read = stream.read(&mut chunk)?;
        if read == 0 {
            return Err("the server closed the connection".into());
        }
        buffer.extend_from_slice(&chunk[..read]);
        let Some(head) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let text = std::str::from_utf8(&buffer[..head])?.to_ascii_lowercase();
        if !text.starts_with("http/1.1 200") {
            return Err(text.into());
        }
        let length = text.lines().find_map(|line| line.strip_prefix("content-length: "));
        let length: usize = length.ok_or("no content-length")?.parse()?;
        if buffer.len() >= head + 4 + length {
            return Ok(length);
        }
    }
}

/// Asks a server in this process over one connection; tells its processor time per request and the quantiles of the time
/// that a request took, in microseconds. The checksum is the number of bytes that were answered.
pub(crate) fn run(port: Option<u16>) -> Result<Outcome, Failure> {
    let server = start(port.unwrap_or(0))?;
    if port.is_some() {
        eprintln!("serving on http://{} until the end of standard input", server.address);
        std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
        server.end()?;
        return Ok(Outcome { rows: 0, figures: Map::new() });
    }
    let mut stream = TcpStream::connect(server.address)?;
    stream.set_nodelay(true)?;
    let mut figures = Map::new();
    let (mut bytes, mut buffer) = (0, Vec::new());
    for (entities, requests) in COUNTED {
        let bodies = bodies(entities);
        let mut micros = Vec::with_capacity(requests);
        let mut before = 0.0;
        for (at, body) in bodies.iter().cycle().take(requests + requests / 10).enumerate() {
            // The first tenth warms up.
            if at == requests / 10 {
                before = server.cpu_s()?;
                micros.clear();
            }
            let start = Instant::now();
            stream.write_all(body)?;
            bytes += answer(&mut stream, &mut buffer)?;
            micros.push(start.elapsed().as_secs_f64() * 1e6);
        }
        let cpu_us = (server.cpu_s()? - before) / requests as f64 * 1e6;
        micros.sort_by(f64::total_cmp);
        let at = |share: f64| json!(micros[(micros.len() as f64 * share) as usize].round());
        let told = json!({ "server_cpu_us": cpu_us.round(), "p50_us": at(0.5), "p99_us": at(0.99) });
        figures.insert(format!("entities_{entities}"), told);
    }
    drop(stream);
    server.end()?;
    figures.insert("checksum".into(), Value::from(bytes));
    Ok(Outcome { rows: COUNTED.iter().map(|(_, requests)| *requests as u64).sum(), figures })
}
