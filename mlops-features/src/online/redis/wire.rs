//! What goes over the wire: requests as arrays of bulk strings, replies as a server sends them (RESP 2).

use std::ops::Range;

/// Longest line of a reply: a status, an error or a length.
const LINE_MAX: usize = 1 << 16;

/// Longest value, which is Redis's own limit.
const BULK_MAX: usize = 512 << 20;

/// Most elements of one answer.
const ITEMS_MAX: usize = 1 << 24;

/// Most elements that room is made for before they come.
const ITEMS_ROOM: usize = 1 << 14;

/// Commands that are sent at once.
#[derive(Debug, Default)]
pub(super) struct Request {
    bytes: Vec<u8>,
    commands: usize,
}

impl Request {
    /// Makes room for so many bytes.
    pub(super) fn reserve(&mut self, bytes: usize) {
        self.bytes.reserve(bytes);
    }

    /// Begins a command of `parts` arguments, its name among them.
    pub(super) fn command(&mut self, parts: usize) {
        self.commands += 1;
        self.bytes.push(b'*');
        number(&mut self.bytes, parts);
    }

    /// Adds an argument; says where it is.
    pub(super) fn argument(&mut self, bytes: &[u8]) -> Range<usize> {
        argument(&mut self.bytes, bytes)
    }

    /// Adds arguments that [`argument`] wrote elsewhere.
    pub(super) fn arguments(&mut self, written: &[u8]) {
        self.bytes.extend_from_slice(written);
    }

    /// A whole command.
    pub(super) fn push(&mut self, arguments: &[&[u8]]) {
        self.command(arguments.len());
        for bytes in arguments {
            self.argument(bytes);
        }
    }

    /// What was sent at `range`.
    pub(super) fn at(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn commands(&self) -> usize {
        self.commands
    }
}

/// Appends one argument of a command; says where its bytes are.
pub(super) fn argument(out: &mut Vec<u8>, bytes: &[u8]) -> Range<usize> {
    out.push(b'$');
    number(out, bytes.len());
    let start = out.len();
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
    start..start + bytes.len()
}

fn number(out: &mut Vec<u8>, mut number: usize) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// One element of an answer. The elements of an array follow it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Item {
    Nil,
    Integer(i64),
    Status(Range<usize>),
    Error(Range<usize>),
    Bulk(Range<usize>),
    Array(usize),
}

/// What a server that is none sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Malformed(pub(super) &'static str);

/// Reads an answer as it comes in.
#[derive(Debug)]
pub(super) struct Scanner {
    items: Vec<Item>,
    /// Elements that are still to come.
    pending: usize,
    /// Where the next one begins.
    at: usize,
    /// Bytes that the answer has at least, as far as is known.
    needed: usize,
}

impl Scanner {
    /// For the answers to `commands` commands.
    pub(super) fn new(commands: usize) -> Self {
        Self { items: Vec::new(), pending: commands, at: 0, needed: 0 }
    }

    /// Goes on with `bytes`, which begin with all that was seen before; says whether the answer is complete.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<bool, Malformed> {
        while self.pending > 0 {
            if bytes.len() < self.needed || !self.step(bytes)? {
                return Ok(false);
            }
        }
        if self.at < bytes.len() {
            return Err(Malformed("it said more than it was asked"));
        }
        Ok(true)
    }

    /// Takes one element, if it is there.
    fn step(&mut self, bytes: &[u8]) -> Result<bool, Malformed> {
        let rest = &bytes[self.at..];
        let Some(length) = line(rest)? else { return Ok(false) };
        let start = self.at + 1;
        let end = self.at + length;
        let mut next = end + 2;
        let item = match rest[0] {
            b'+' => Item::Status(start..end),
            b'-' => Item::Error(start..end),
            b':' => Item::Integer(integer(&bytes[start..end])?),
            b'$' => match size(&bytes[start..end], BULK_MAX)? {
                None => Item::Nil,
                Some(size) => {
                    let content = next..next + size;
                    self.needed = content.end + 2;
                    if bytes.len() < self.needed {
                        return Ok(false);
                    }
                    if bytes[content.end..self.needed] != *b"\r\n" {
                        return Err(Malformed("a value does not end where it should"));
                    }
                    next = self.needed;
                    Item::Bulk(content)
                }
            },
            b'*' => match size(&bytes[start..end], ITEMS_MAX)? {
                None => Item::Nil,
                Some(size) => {
                    self.pending += size;
                    self.items.reserve(size.min(ITEMS_ROOM));
                    Item::Array(size)
                }
            },
            _ => return Err(Malformed("it does not speak Redis's protocol")),
        };
        if self.items.len() + self.pending > ITEMS_MAX {
            return Err(Malformed("more elements than any answer has"));
        }
        self.items.push(item);
        self.pending -= 1;
        self.at = next;
        Ok(true)
    }

    /// How many bytes are known to be missing after `have`.
    pub(super) fn missing(&self, have: usize) -> usize {
        self.needed.saturating_sub(have)
    }

    pub(super) fn finish(self, bytes: Vec<u8>) -> Answer {
        Answer { bytes, items: self.items }
    }
}

/// Length of the line at the start of `bytes` without its end; `None` when it is not all there.
fn line(bytes: &[u8]) -> Result<Option<usize>, Malformed> {
    let end = bytes.iter().take(LINE_MAX).position(|byte| *byte == b'\r');
    match end {
        Some(0) => Err(Malformed("an empty line")),
        Some(end) => match bytes.get(end + 1) {
            None => Ok(None),
            Some(b'\n') => Ok(Some(end)),
            Some(_) => Err(Malformed("a line that does not end as it should")),
        },
        None if bytes.len() >= LINE_MAX => Err(Malformed("a line without an end")),
        // Whoever does not speak the protocol is told so at once, not after the deadline.
        None if bytes.first().is_some_and(|kind| !b"+-:$*".contains(kind)) => {
            Err(Malformed("it does not speak Redis's protocol"))
        }
        None => Ok(None),
    }
}

fn integer(text: &[u8]) -> Result<i64, Malformed> {
    let text = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
    text.ok_or(Malformed("a number that is none"))
}

/// A length up to `most`; `None` where a null is meant.
fn size(text: &[u8], most: usize) -> Result<Option<usize>, Malformed> {
    match integer(text)? {
        -1 => Ok(None),
        size => match usize::try_from(size) {
            Ok(size) if size <= most => Ok(Some(size)),
            _ => Err(Malformed("a length beyond all limits")),
        },
    }
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    bytes: Vec<u8>,
    items: Vec<Item>,
}

impl Answer {
    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    pub(super) fn at(&self, range: &Range<usize>) -> &[u8] {
        &self.bytes[range.clone()]
    }

    /// Values and nulls, in order, arrays opened.
    pub(super) fn values(&self) -> impl Iterator<Item = Result<Option<&[u8]>, Malformed>> {
        let open = |item: &Item| !matches!(item, Item::Array(_));
        self.items.iter().filter(move |item| open(item)).map(|item| match item {
            Item::Nil => Ok(None),
            Item::Bulk(range) => Ok(Some(self.at(range))),
            _ => Err(Malformed("something else than a value")),
        })
    }

    /// Numbers, in order.
    pub(super) fn integers(&self) -> impl Iterator<Item = Result<i64, Malformed>> {
        self.items.iter().map(|item| match item {
            Item::Integer(number) => Ok(*number),
            _ => Err(Malformed("something else than a number")),
        })
    }

    /// The only value.
    pub(super) fn value(&self) -> Result<Option<&[u8]>, Malformed> {
        self.values().next().unwrap_or(Err(Malformed("nothing")))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scan(commands: usize, bytes: &[u8]) -> Result<Option<Vec<Item>>, Malformed> {
        let mut scanner = Scanner::new(commands);
        Ok(scanner.advance(bytes)?.then(|| scanner.finish(bytes.to_vec()).items))
    }

    #[test]
    fn a_request_is_what_the_protocol_says() {
        let mut request = Request::default();
        request.push(&[b"GET", b"a\r\nb"]);
        request.command(1);
        let range = request.argument(b"PING");
        assert_eq!(request.bytes(), b"*2\r\n$3\r\nGET\r\n$4\r\na\r\nb\r\n*1\r\n$4\r\nPING\r\n");
        assert_eq!((request.at(&range), request.commands()), (&b"PING"[..], 2));
    }

    #[test]
    fn answers_are_read_whatever_pieces_they_come_in() {
        let bytes = b"+OK\r\n*3\r\n$2\r\nab\r\n$-1\r\n$0\r\n\r\n:-7\r\n-ERR no\r\n*-1\r\n";
        let expected = [
            Item::Status(1..3),
            Item::Array(3),
            Item::Bulk(13..15),
            Item::Nil,
            Item::Bulk(26..26),
            Item::Integer(-7),
            Item::Error(34..40),
            Item::Nil,
        ];
        let mut scanner = Scanner::new(5);
        for end in 0..bytes.len() {
            assert_eq!(scanner.advance(&bytes[..end]), Ok(false), "{end} bytes");
        }
        assert_eq!(scanner.advance(bytes), Ok(true));
        let answer = scanner.finish(bytes.to_vec());
        assert_eq!(answer.items(), expected);
        assert_eq!(answer.at(&(13..15)), b"ab");
    }

    #[test]
    fn what_is_no_answer_is_refused_at_once() {
        for bytes in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"\x16\x03\x01",
            b"$600000000\r\n",
            b"$99999999999999999999\r\n",
            b"$-2\r\n",
            b"*99999999\r\n",
            b":seven\r\n",
            b"$1\r\nabc",
            b"\r\n",
            b"+a\rb",
            b"+OK\r\n+OK\r\n",
        ] {
            assert!(scan(1, bytes).is_err(), "{bytes:?}");
        }
        assert!(scan(1, &vec![b'+'; LINE_MAX]).is_err(), "a line without an end");
        assert!(scan(1, b"*16777216\r\n*16777216\r\n").is_err(), "arrays in arrays count together");
    }

    proptest! {
        #[test]
        fn noise_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100), commands in 1_usize..4) {
            let _ = scan(commands, &bytes);
        }

        #[test]
        fn shaped_noise_never_panics(text in "[*$+:\\-0-9a\r\n]{0,60}", commands in 1_usize..4) {
            let _ = scan(commands, text.as_bytes());
        }
    }
}
