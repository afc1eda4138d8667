//! One connection: a question, its answer, a deadline.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use super::address::Address;
use super::wire::{Answer, Item, Malformed, Request, Scanner};

/// First room for an answer.
const BUFFER: usize = 16 << 10;

/// Most bytes of one answer.
const ANSWER_MAX: usize = 1 << 30;

/// Why a connection is of no use any more.
#[derive(Debug)]
pub(super) enum Broken {
    /// Time was up.
    Late,
    /// The network or the other side gave up.
    Io(io::Error),
    /// The other side is no Redis, or a confused one.
    Malformed(Malformed),
    /// It does not let us in.
    Refused(String),
}

impl From<Malformed> for Broken {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Late,
            _ => Self::Io(error),
        }
    }
}

/// Time that is left, which sockets want above zero.
pub(super) fn left(until: Instant) -> Result<Duration, Broken> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(Broken::Late) } else { Ok(left.max(Duration::from_millis(1))) }
}

#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    /// When it was used last.
    pub(super) used: Instant,
}

impl Connection {
    /// Connects, says who asks and chooses the database.
    pub(super) fn open(address: &Address, within: Duration, until: Instant) -> Result<Self, Broken> {
        let until = until.min(Instant::now() + within);
        let stream = connect(address, until)?;
        stream.set_nodelay(true)?;
        let mut connection = Self { stream, used: Instant::now() };
        let mut greeting = Request::default();
        if let Some(password) = &address.password {
            match &address.user {
                Some(user) => greeting.push(&[b"AUTH", user.as_bytes(), password.as_bytes()]),
                None => greeting.push(&[b"AUTH", password.as_bytes()]),
            }
        }
        if address.database != 0 {
            greeting.push(&[b"SELECT", address.database.to_string().as_bytes()]);
        }
        if greeting.commands() > 0 {
            let answer = connection.ask(&greeting, until)?;
            let refusal = answer.items().iter().find_map(|item| match item {
                Item::Error(range) => Some(String::from_utf8_lossy(answer.at(range)).into_owned()),
                _ => None,
            });
            if let Some(refusal) = refusal {
                return Err(Broken::Refused(refusal));
            }
        }
        Ok(connection)
    }

    /// Sends `request` and waits for the answers to all of its commands.
    pub(super) fn ask(&mut self, request: &Request, until: Instant) -> Result<Answer, Broken> {
        self.send(request.bytes(), until)?;
        let mut scanner = Scanner::new(request.commands());
        let mut bytes = vec![0; BUFFER];
        let mut filled = 0;
        loop {
            if filled == bytes.len() {
                let room = bytes.len().max(scanner.missing(filled)).min(bytes.len() * 4);
                if filled + room > ANSWER_MAX {
                    return Err(Malformed("an answer beyond all limits").into());
                }
                bytes.resize(filled + room, 0);
            }
            self.stream.set_read_timeout(Some(left(until)?))?;
            match self.stream.read(&mut bytes[filled..]) {
                Ok(0) => return Err(Broken::Io(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            if scanner.advance(&bytes[..filled])? {
                self.used = Instant::now();
                return Ok(scanner.finish(bytes));
            }
        }
    }

    fn send(&mut self, mut bytes: &[u8], until: Instant) -> Result<(), Broken> {
        while !bytes.is_empty() {
            self.stream.set_write_timeout(Some(left(until)?))?;
            match self.stream.write(bytes) {
                Ok(0) => return Err(Broken::Io(io::ErrorKind::WriteZero.into())),
                Ok(written) => bytes = &bytes[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn connect(address: &Address, until: Instant) -> Result<TcpStream, Broken> {
    let mut last = Broken::Io(io::Error::new(io::ErrorKind::NotFound, "its name has no address"));
    for place in resolve(address, until)? {
        match TcpStream::connect_timeout(&place, left(until)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error.into(),
        }
    }
    Err(last)
}

/// The addresses of a host. Name servers may keep silent for longer than the caller waits, and nothing ends such a
/// question: it is asked on a thread of its own, which is left alone then.
fn resolve(address: &Address, until: Instant) -> Result<Vec<SocketAddr>, Broken> {
    if let Ok(ip) = address.host.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, address.port)]);
    }
    let (send, receive) = sync_channel(1);
    let place = (address.host.clone(), address.port);
    thread::Builder::new().name("mlops-redis-name".to_owned()).spawn(move || {
        let _ = send.send(place.to_socket_addrs().map(Iterator::collect));
    })?;
    receive.recv_timeout(left(until)?).map_err(|_| Broken::Late)?.map_err(Broken::from)
}
