//! What is asked of the server about the keys of several views.

use std::ops::Range;
use std::sync::Arc;

use super::wire::Request;
use super::{Definition, RedisStore};
use crate::error::Result;
use crate::online::registered::ViewReader;
use crate::online::{OnlineRead, sealed};

/// Most keys of one command, which keeps the server from everything else while it runs.
const COMMAND_KEYS_MAX: usize = 10_000;

/// Room for one key in a question before it is known how long it is.
const KEY_BYTES: usize = 80;

/// One question about the keys of several views, and where each of them stands in it.
pub(super) struct Question {
    pub(super) request: Arc<Request>,
    pub(super) asked: Vec<Asked>,
    /// Bytes at the start of every key that are not under its checksum.
    unchecked: usize,
}

/// What is asked of one view.
pub(super) struct Asked {
    /// Whether its definition is asked for, before the keys.
    pub(super) definition: bool,
    /// Where each key is sent; `None` for one that is null.
    pub(super) keys: Vec<Option<Range<usize>>>,
}

impl Question {
    /// Asks for rows, and for the definitions that are not known.
    pub(super) fn new(store: &RedisStore, reads: &[OnlineRead<'_>], known: &[Option<Definition>]) -> Self {
        Self::ask(store, b"MGET", reads, known)
    }

    pub(super) fn ask(store: &RedisStore, verb: &[u8], reads: &[OnlineRead<'_>], known: &[Option<Definition>]) -> Self {
        let whole = |read: &OnlineRead<'_>| (0..read.keys.len()).filter(|row| !read.keys.is_null(*row)).count();
        let mut left = reads.iter().map(whole).sum::<usize>() + known.iter().filter(|known| known.is_none()).count();
        let mut room = 0;
        let mut request = Request::default();
        request.reserve(left * KEY_BYTES);
        let mut put = |key: &[u8]| {
            if room == 0 {
                room = left.min(COMMAND_KEYS_MAX);
                left -= room;
                request.command(room + 1);
                request.argument(verb);
            }
            room -= 1;
            request.argument(key)
        };
        let mut asked = Vec::with_capacity(reads.len());
        for (read, known) in reads.iter().zip(known) {
            if known.is_none() {
                put(&store.key("view", read.view.name()));
            }
            let mut key = store.row_key(read.view.name());
            let head = key.len();
            let mut place = |row| {
                key.truncate(head);
                read.keys.encode(row, &mut key).then(|| put(&key))
            };
            let keys = (0..read.keys.len()).map(&mut place).collect();
            asked.push(Asked { definition: known.is_none(), keys });
        }
        Self { request: Arc::new(request), asked, unchecked: store.unchecked() }
    }

    /// Puts the rows of one view, as they were received, into the columns of its read.
    pub(super) fn fill(&self, view: &mut ViewReader<'_>, asked: &Asked, rows: &[Option<&[u8]>]) -> Result<()> {
        for (position, (key, row)) in asked.keys.iter().zip(rows).enumerate() {
            let (Some(key), Some(row)) = (key, row) else {
                view.skip(position);
                continue;
            };
            let key = &self.request.at(key)[self.unchecked..];
            let row = sealed::open(key, row).ok_or_else(|| view.corrupt("the checksum does not fit"))?;
            view.push(position, row)?;
        }
        Ok(())
    }
}
