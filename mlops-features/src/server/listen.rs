//! Serves a router, with the bounds that nobody should be without.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

use crate::error::{Core, Result};

/// Bounds of [`serve`].
#[derive(Clone, Debug)]
pub struct ListenOptions {
    connections_max: usize,
    header_timeout: Duration,
    grace: Duration,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { connections_max: 1_024, header_timeout: Duration::from_secs(10), grace: Duration::from_secs(10) }
    }
}

impl ListenOptions {
    /// The defaults, stated at each setting.
    pub fn new() -> Self {
        Self::default()
    }

    /// Most connections at one time; those beyond wait to be accepted. At least 1. Default 1024.
    pub fn connections_max(mut self, connections: usize) -> Self {
        self.connections_max = connections.max(1);
        self
    }

    /// How long the headers of a request, and the pause before it, may take. Default 10 s.
    pub fn header_timeout(mut self, timeout: Duration) -> Self {
        self.header_timeout = timeout;
        self
    }

    /// How long requests may take to end after the stop. Default 10 s.
    pub fn grace(mut self, grace: Duration) -> Self {
        self.grace = grace;
        self
    }
}

/// Serves `router` on `listener` until `stop` is done, then lets requests that run come to their end.
///
/// Runs on the tokio runtime of the caller.
///
/// # Errors
/// `Core(Io)` when the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    options: ListenOptions,
    stop: impl Future<Output = ()> + Send,
) -> Result<()> {
    let room = Arc::new(Semaphore::new(options.connections_max));
    let (ending, ended) = watch::channel(());
    let mut stop = std::pin::pin!(stop);
    loop {
        let permit = tokio::select! {
            () = &mut stop => break,
            permit = room.clone().acquire_owned() => permit.map_err(|e| Core::external("connections", e))?,
        };
        let stream = tokio::select! {
            () = &mut stop => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(e) if is_passing(&e) => continue,
                Err(e) => {
                    // No socket to give at the moment: it comes back when a connection ends.
                    if e.raw_os_error().is_none() {
                        return Err(Core::io("listener", e).into());
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
        };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        let mut http = http1::Builder::new();
        http.timer(TokioTimer::new()).header_read_timeout(options.header_timeout);
        let mut ended = ended.clone();
        tokio::spawn(async move {
            let mut connection = std::pin::pin!(http.serve_connection(TokioIo::new(stream), service));
            tokio::select! {
                _ = &mut connection => {}
                _ = ended.changed() => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
            drop((permit, ended));
        });
    }
    drop((listener, ended));
    let _ = ending.send(());
    let _ = tokio::time::timeout(options.grace, ending.closed()).await;
    Ok(())
}

/// Whether an accept failed because of the one who connected.
fn is_passing(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}
