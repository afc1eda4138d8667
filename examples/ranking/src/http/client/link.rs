//! One keep-alive connection, driven by whoever waits for its answer.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::client::conn::http1::{Connection, SendRequest, handshake};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::ClientError;

type Body = Full<Bytes>;
type Wire = Pin<Box<Connection<TokioIo<TcpStream>, Body>>>;

/// Bounds of one exchange.
#[derive(Debug, Clone, Copy)]
pub(in crate::http) struct Bounds {
    pub(in crate::http) connect_timeout: Duration,
    pub(in crate::http) answer_timeout: Duration,
    pub(in crate::http) answer_bytes_max: usize,
}

/// A connection on which one request at a time is asked. Nothing runs in the background: between requests it rests, and
/// dropping it closes it.
#[derive(Debug)]
pub(in crate::http) struct Link {
    addr: SocketAddr,
    host: HeaderValue,
    sender: SendRequest<Body>,
    /// `None` once it is over.
    connection: Option<Wire>,
    bounds: Bounds,
}

/// Why there is no answer.
#[derive(Debug)]
pub(in crate::http) enum Trouble {
    /// Not a byte was sent: the same request may be asked again.
    Unsent(ClientError),
    /// The request may have been answered to nobody.
    Lost(ClientError),
}

impl Trouble {
    pub(in crate::http) fn into_error(self) -> ClientError {
        match self {
            Self::Unsent(error) | Self::Lost(error) => error,
        }
    }
}

impl Link {
    pub(in crate::http) async fn open(addr: SocketAddr, bounds: Bounds) -> Result<Self, ClientError> {
        let failed = |source| ClientError::Connect { addr, source };
        let stream = tokio::time::timeout(bounds.connect_timeout, TcpStream::connect(addr)).await;
        let stream = stream.map_err(|_| ClientError::Timeout { what: "connection", after: bounds.connect_timeout })?;
        let stream = stream.map_err(failed)?;
        stream.set_nodelay(true).map_err(failed)?;
        let lost = |source: hyper::Error| ClientError::Lost { addr, source: source.into() };
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(lost)?;
        let host = HeaderValue::try_from(addr.to_string()).expect("an address is a header");
        Ok(Self { addr, host, sender, connection: Some(Box::pin(connection)), bounds })
    }

    /// Whether more can be asked.
    pub(in crate::http) fn is_open(&self) -> bool {
        self.connection.is_some() && !self.sender.is_closed()
    }

    /// A request to `POST` a body of JSON.
    pub(in crate::http) fn post(&self, path: &'static str, body: Bytes) -> Request<Body> {
        let mut request = Request::post(path).body(Full::new(body)).expect("a constant path");
        request.headers_mut().insert(header::HOST, self.host.clone());
        request.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        request
    }

    /// A request to `GET` a path.
    pub(in crate::http) fn get(&self, path: &'static str) -> Request<Body> {
        let mut request = Request::get(path).body(Full::default()).expect("a constant path");
        request.headers_mut().insert(header::HOST, self.host.clone());
        request
    }

    /// Asks, and waits for the whole answer. After a failure the link is closed.
    pub(in crate::http) async fn exchange(&mut self, request: Request<Body>) -> Result<(StatusCode, Bytes), Trouble> {
        let after = self.bounds.answer_timeout;
        let answer = match tokio::time::timeout(after, self.drive(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(Trouble::Lost(ClientError::Timeout { what: "answer", after })),
        };
        if answer.is_err() {
            self.connection = None;
        }
        answer
    }

    async fn drive(&mut self, request: Request<Body>) -> Result<(StatusCode, Bytes), Trouble> {
        let Self { addr, sender, connection, bounds, .. } = self;
        let mut answer = pin!(ask(*addr, sender, request, bounds.answer_bytes_max));
        poll_fn(|context| {
            // The request goes from the first to the second, the answer from the second to the first.
            if let Poll::Ready(answer) = answer.as_mut().poll(context) {
                return Poll::Ready(answer);
            }
            if !turn(connection, context) {
                return answer.as_mut().poll(context);
            }
            let closed = || Trouble::Lost(ClientError::Lost { addr: *addr, source: "the connection is closed".into() });
            match answer.as_mut().poll(context) {
                Poll::Pending => Poll::Ready(Err(closed())),
                Poll::Ready(answer) => Poll::Ready(answer),
            }
        })
        .await
    }
}

/// Lets the connection read and write; answers whether it is over.
fn turn(connection: &mut Option<Wire>, context: &mut Context<'_>) -> bool {
    let Some(live) = connection else { return true };
    // What ended it is told to whoever waits for the answer.
    let over = live.as_mut().poll(context).is_ready();
    if over {
        *connection = None;
    }
    over
}

async fn ask(
    addr: SocketAddr,
    sender: &mut SendRequest<Body>,
    request: Request<Body>,
    bytes_max: usize,
) -> Result<(StatusCode, Bytes), Trouble> {
    let lost = |source: hyper::Error| ClientError::Lost { addr, source: source.into() };
    sender.ready().await.map_err(|e| Trouble::Unsent(lost(e)))?;
    let response = sender.try_send_request(request).await.map_err(|mut e| match e.take_message() {
        Some(_) => Trouble::Unsent(lost(e.into_error())),
        None => Trouble::Lost(lost(e.into_error())),
    })?;
    let status = response.status();
    let body = Limited::new(response.into_body(), bytes_max).collect().await;
    let body = body.map_err(|source| {
        Trouble::Lost(if source.is::<LengthLimitError>() {
            ClientError::BadAnswer { status: status.as_u16(), reason: format!("longer than {bytes_max} bytes") }
        } else {
            ClientError::Lost { addr, source }
        })
    })?;
    Ok((status, body.to_bytes()))
}
