//! A server that is asked again on a new connection when one breaks.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::address::Address;
use super::connection::{Broken, Connection, left};
use super::wire::{Answer, Item, Malformed, Request};
use crate::error::{Core, Error, Result};
use crate::online::crew::Crew;

/// How failures of the server are told.
const SYSTEM: &str = "redis";

/// A connection that rested longer is not used again: something between may have dropped it without a word.
const REST_MAX: Duration = Duration::from_secs(60);

/// Threads that write at the same time for async callers.
const WRITERS: usize = 4;

/// Pause before a second try; doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// What the server says about itself, not about the data: to be shown.
const ABOUT_ITSELF: [&str; 16] = [
    "LOADING",
    "BUSY",
    "TRYAGAIN",
    "MASTERDOWN",
    "CLUSTERDOWN",
    "READONLY",
    "OOM",
    "MISCONF",
    "NOREPLICAS",
    "NOAUTH",
    "WRONGPASS",
    "NOPERM",
    "MOVED",
    "CROSSSLOT",
    "WRONGTYPE",
    "NOSCRIPT",
];

/// What may be over in a moment.
const PASSING: [&str; 5] = ["LOADING", "BUSY", "TRYAGAIN", "MASTERDOWN", "CLUSTERDOWN"];

/// Settings of a [`Client`].
#[derive(Clone, Debug)]
pub(super) struct Limits {
    pub(super) connect_within: Duration,
    pub(super) read_within: Duration,
    pub(super) write_within: Duration,
    pub(super) retries: u32,
    pub(super) connections: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_within: Duration::from_secs(1),
            read_within: Duration::from_secs(1),
            write_within: Duration::from_secs(30),
            retries: 2,
            connections: 8,
        }
    }
}

/// Where a question is asked from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Via {
    /// The calling thread waits.
    Here,
    /// A thread of the client does, and the caller's task sleeps.
    Crew,
}

/// One call of a store: by when it is over, and what it does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    pub(super) via: Via,
    pub(super) writes: bool,
    pub(super) until: Instant,
}

/// How a server is asked. Clones share connections and threads.
pub(super) struct Client {
    address: Address,
    limits: Limits,
    resting: Mutex<Vec<Connection>>,
    readers: Crew,
    writers: Crew,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("address", &self.address).finish_non_exhaustive()
    }
}

/// How a try ended, when not well.
enum Failed {
    /// A new connection may well do better.
    Passing(Error),
    Final(Error),
    Late,
}

impl Client {
    pub(super) fn new(address: Address, limits: Limits) -> Arc<Self> {
        let readers = Crew::new(SYSTEM, limits.connections);
        let (resting, writers) = (Mutex::default(), Crew::new(SYSTEM, WRITERS));
        Arc::new(Self { address, limits, resting, readers, writers })
    }

    pub(super) fn address(&self) -> &Address {
        &self.address
    }

    pub(super) fn reading(&self, via: Via) -> Call {
        Call { via, writes: false, until: Instant::now() + self.limits.read_within }
    }

    pub(super) fn writing(&self, via: Via) -> Call {
        Call { via, writes: true, until: Instant::now() + self.limits.write_within }
    }

    /// Sends `request` and gives what came back, in which no element is an error but for `NOSCRIPT`.
    ///
    /// # Errors
    /// `Core(Deadline)` when time is up, `Core(Busy)` when the server asks for patience, `Core(Forbidden)` when it does not
    /// let us do this, `Core(External)` when it cannot be reached, is none, or says anything else.
    pub(super) async fn ask(self: &Arc<Self>, call: Call, request: &Arc<Request>) -> Result<Answer> {
        if call.via == Via::Here {
            return self.try_often(call, request);
        }
        let (client, request) = (self.clone(), request.clone());
        let crew = if call.writes { &self.writers } else { &self.readers };
        crew.run(move || client.try_often(call, &request)).await?
    }

    fn try_often(&self, call: Call, request: &Request) -> Result<Answer> {
        let mut failures = 0;
        loop {
            let failure = match self.try_once(call, request) {
                Ok(answer) => return Ok(answer),
                Err(Failed::Final(error)) => return Err(error),
                Err(Failed::Late) => return Err(self.late(call)),
                Err(Failed::Passing(error)) => error,
            };
            let pause = FIRST_PAUSE * (1 << failures.min(10));
            if failures >= self.limits.retries || left(call.until).map_or(true, |left| left <= pause) {
                return Err(failure);
            }
            failures += 1;
            thread::sleep(pause);
        }
    }

    fn try_once(&self, call: Call, request: &Request) -> Result<Answer, Failed> {
        let rested = self.take();
        let fresh = rested.is_none();
        let asked = rested.map_or_else(|| self.connect(call), Ok).and_then(|mut connection| {
            let answer = connection.ask(request, call.until)?;
            self.give_back(connection);
            Ok(answer)
        });
        match asked {
            Ok(answer) => self.judge(answer),
            Err(broken) => {
                if !fresh {
                    // What broke this one broke the others that rested beside it.
                    self.resting().clear();
                }
                Err(self.failed(broken))
            }
        }
    }

    fn connect(&self, call: Call) -> Result<Connection, Broken> {
        Connection::open(&self.address, self.limits.connect_within, call.until)
    }

    fn resting(&self) -> MutexGuard<'_, Vec<Connection>> {
        self.resting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Connection> {
        self.resting().pop().filter(|connection| connection.used.elapsed() < REST_MAX)
    }

    fn give_back(&self, connection: Connection) {
        let mut resting = self.resting();
        if resting.len() < self.limits.connections {
            resting.push(connection);
        }
    }

    fn late(&self, call: Call) -> Error {
        let verb = if call.writes { "write to" } else { "read from" };
        Core::Deadline { stage: format!("{verb} {}", self.address) }.into()
    }

    fn external(&self, reason: impl fmt::Display) -> Error {
        Core::external(SYSTEM, format!("{}: {reason}", self.address)).into()
    }

    pub(super) fn malformed(&self, malformed: Malformed) -> Error {
        self.external(malformed.0)
    }

    fn failed(&self, broken: Broken) -> Failed {
        match broken {
            Broken::Late => Failed::Late,
            Broken::Io(error) => Failed::Passing(self.external(error)),
            Broken::Malformed(malformed) => Failed::Passing(self.malformed(malformed)),
            Broken::Refused(message) => self.refused(&message),
        }
    }

    /// An answer without errors, or what its first error means.
    fn judge(&self, answer: Answer) -> Result<Answer, Failed> {
        let messages = answer.items().iter().filter_map(|item| match item {
            Item::Error(range) => Some(answer.at(range)),
            _ => None,
        });
        let first = messages.filter(|message| !is_no_script(message)).map(String::from_utf8_lossy).next();
        match first {
            Some(message) => Err(self.refused(&message)),
            None => Ok(answer),
        }
    }

    /// What an error of the server means. Only what it says about itself is shown: other messages quote arguments.
    fn refused(&self, message: &str) -> Failed {
        let code = message.split_ascii_whitespace().next().unwrap_or_default();
        let shown = if ABOUT_ITSELF.contains(&code) {
            message.to_owned()
        } else {
            let code: String = code.chars().filter(char::is_ascii_uppercase).take(32).collect();
            format!("error {code}; its message may quote a value and is not shown")
        };
        match code {
            code if PASSING.contains(&code) => {
                Failed::Passing(Core::Busy { what: format!("{}: {shown}", self.address) }.into())
            }
            "NOAUTH" | "WRONGPASS" | "NOPERM" => {
                let who = if self.address.user.is_some() { "the named user" } else { "the default user" };
                let what = format!("{}: {code}", self.address);
                Failed::Final(Core::Forbidden { who: who.to_owned(), action: "use", what }.into())
            }
            // After a failover the same name leads to another server.
            "READONLY" => Failed::Passing(self.external(shown)),
            "MOVED" => Failed::Final(self.external("it is a node of a cluster, which this store does not speak with")),
            _ => Failed::Final(self.external(shown)),
        }
    }
}

/// Whether a server lacks the script that it was asked to run.
pub(super) fn is_no_script(message: &[u8]) -> bool {
    message.starts_with(b"NOSCRIPT")
}
