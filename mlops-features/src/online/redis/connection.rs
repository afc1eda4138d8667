//! One connection: a question, its answer, a deadline.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::{Duration, Instant};

use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::address::Address;
use super::tls;
use super::wire::{Answer, Item, Malformed, Request, Scanner};

/// Least and most room that is made for an answer before it comes.
const ROOM: std::ops::RangeInclusive<usize> = 16 << 10..=1 << 20;

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

/// How much later than it should a socket may give up: telling it the time for each use of it costs as much as the use.
const SLACK: Duration = Duration::from_millis(1);

/// A socket on which nothing lasts longer than until an instant, however often it is used for one answer.
#[derive(Debug)]
struct Timed {
    socket: TcpStream,
    until: Instant,
    /// For how long the socket waits, as it was told last.
    read_within: Duration,
    write_within: Duration,
}

impl Timed {
    fn new(socket: TcpStream, until: Instant) -> Self {
        Self { socket, until, read_within: Duration::ZERO, write_within: Duration::ZERO }
    }

    fn left(&self) -> io::Result<Duration> {
        left(self.until).map_err(|_| io::ErrorKind::TimedOut.into())
    }
}

/// Whether a socket that waits for `told` must be told anew where so much is left. One that gives up too early is asked again.
fn is_off(told: Duration, left: Duration) -> bool {
    told > left + SLACK || told < left / 2
}

fn gave_up(done: &io::Result<usize>) -> bool {
    let kind = done.as_ref().map_err(io::Error::kind);
    matches!(kind, Err(io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut))
}

impl Read for Timed {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        loop {
            let left = self.left()?;
            if is_off(self.read_within, left) {
                self.socket.set_read_timeout(Some(left))?;
                self.read_within = left;
            }
            let done = self.socket.read(bytes);
            if !gave_up(&done) {
                return done;
            }
        }
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            let left = self.left()?;
            if is_off(self.write_within, left) {
                self.socket.set_write_timeout(Some(left))?;
                self.write_within = left;
            }
            let done = self.socket.write(bytes);
            if !gave_up(&done) {
                return done;
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

/// The way to a server.
#[derive(Debug)]
enum Way {
    Plain(Timed),
    Tls(Box<StreamOwned<ClientConnection, Timed>>),
}

impl Way {
    fn until(&mut self, until: Instant) {
        match self {
            Self::Plain(timed) => timed.until = until,
            Self::Tls(stream) => stream.sock.until = until,
        }
    }

    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(timed) => timed.read(bytes),
            Self::Tls(stream) => stream.read(bytes),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(timed) => timed.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
        }
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    way: Way,
    /// Room for the next answer: answers to the same question are of one size.
    room: usize,
    /// When it was used last.
    pub(super) used: Instant,
}

impl Connection {
    /// Connects, says who asks and chooses the database.
    pub(super) fn open(
        address: &Address,
        tls: Option<&Arc<ClientConfig>>,
        within: Duration,
        until: Instant,
    ) -> Result<Self, Broken> {
        let until = until.min(Instant::now() + within);
        let socket = connect(address, until)?;
        socket.set_nodelay(true)?;
        let timed = Timed::new(socket, until);
        let way = match tls {
            None => Way::Plain(timed),
            Some(config) => Way::Tls(Box::new(StreamOwned::new(tls::begin(config, &address.host)?, timed))),
        };
        let mut connection = Self { way, room: *ROOM.start(), used: Instant::now() };
        connection.greet(address, until)?;
        Ok(connection)
    }

    fn greet(&mut self, address: &Address, until: Instant) -> Result<(), Broken> {
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
        if greeting.commands() == 0 {
            return Ok(());
        }
        let answer = self.ask(&greeting, until)?;
        let refusal = answer.items().iter().find_map(|item| match item {
            Item::Error(range) => Some(String::from_utf8_lossy(answer.at(range)).into_owned()),
            _ => None,
        });
        refusal.map_or(Ok(()), |refusal| Err(Broken::Refused(refusal)))
    }

    /// Sends `request` and waits for the answers to all of its commands.
    pub(super) fn ask(&mut self, request: &Request, until: Instant) -> Result<Answer, Broken> {
        self.way.until(until);
        self.way.send(request.bytes())?;
        let mut scanner = Scanner::new(request.commands());
        let mut bytes = vec![0; self.room];
        let mut filled = 0;
        loop {
            if filled == bytes.len() {
                let room = bytes.len().max(scanner.missing(filled)).min(bytes.len() * 4);
                if filled + room > ANSWER_MAX {
                    return Err(Malformed("an answer beyond all limits").into());
                }
                bytes.resize(filled + room, 0);
            }
            match self.way.read(&mut bytes[filled..]) {
                Ok(0) => return Err(Broken::Io(io::ErrorKind::UnexpectedEof.into())),
                Ok(read) => filled += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error.into()),
            }
            if scanner.advance(&bytes[..filled])? {
                self.used = Instant::now();
                self.room = (filled + 1).next_power_of_two().clamp(*ROOM.start(), *ROOM.end());
                return Ok(scanner.finish(bytes));
            }
        }
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

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (listener.accept().unwrap().0, there)
    }

    #[test]
    fn a_socket_is_told_the_time_anew_only_where_it_would_be_off() {
        let left = Duration::from_secs(1);
        assert!(is_off(Duration::ZERO, left), "it was never told");
        assert!(!is_off(left, left) && !is_off(left + SLACK, left) && !is_off(left / 2, left));
        assert!(is_off(left + 2 * SLACK, left) && is_off(left / 3, left));
    }

    #[test]
    fn a_socket_that_gives_up_too_early_is_asked_again() {
        let (socket, mut there) = pair();
        let told = Duration::from_millis(20);
        socket.set_read_timeout(Some(told)).unwrap();
        let until = Instant::now() + 2 * told;
        let mut timed = Timed { read_within: told, ..Timed::new(socket, until) };
        let late = timed.read(&mut [0; 1]).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        assert!(Instant::now() >= until, "not before its time");
        timed.until = Instant::now() + Duration::from_mins(1);
        there.write_all(b"x").unwrap();
        assert_eq!(timed.read(&mut [0; 1]).unwrap(), 1);
    }
}
