//! Programs that run on the server, so that nobody writes between a look and a change.

use std::sync::{Arc, OnceLock};

use super::client::{Call, Client, is_no_script};
use super::wire::{Answer, Item, Malformed, Request, argument};
use crate::error::{Core, Result};

/// Writes rows that are not older than those that are there.
///
/// `KEYS`: definition of the view, then a key per row. `ARGV`: checksum of the definition that the writer knows, "1" when
/// rows expire, then per row its bytes and, when they expire, the millisecond of it. Answers how many rows it wrote, or -1
/// when the definition is another one. Times are compared in halves: numbers of Lua are doubles.
pub(super) const WRITE_ROWS: &str = r"
if redis.call('GETRANGE', KEYS[1], -4, -1) ~= ARGV[1] then return -1 end
local expires = ARGV[2] == '1'
local width = expires and 2 or 1
local form = '<I4i4I4i4B'
local written = 0
for i = 2, #KEYS do
  local at = 3 + (i - 2) * width
  local row = ARGV[at]
  local old = redis.call('GETRANGE', KEYS[i], 0, 21)
  local newer = true
  if #old == 22 and string.byte(old) == 1 then
    local a, b, c, d, e = struct.unpack(form, old, 6)
    local v, w, x, y, z = struct.unpack(form, row, 6)
    if b ~= w then newer = w > b
    elseif a ~= v then newer = v > a
    elseif e % 2 ~= z % 2 then newer = z % 2 > e % 2
    elseif e % 2 == 1 then
      if d ~= y then newer = y > d else newer = x >= c end
    end
  end
  if newer then
    if expires then redis.call('SET', KEYS[i], row, 'PXAT', ARGV[at + 1])
    else redis.call('SET', KEYS[i], row) end
    written = written + 1
  end
end
return written
";

/// Puts rows in the place of those whose times are what was seen.
///
/// `KEYS`: definition of the view, then a key per row. `ARGV`: checksum of the definition that the writer knows, "1" when
/// rows expire, then per row the times that were seen (empty for no row; else the event time, "0" or "1" and the created time),
/// its bytes and, when they expire, the millisecond of it. Answers 1 or 0 per row, or -1 when the definition is another one.
pub(super) const REPLACE_ROWS: &str = r"
if redis.call('GETRANGE', KEYS[1], -4, -1) ~= ARGV[1] then return {-1} end
local expires = ARGV[2] == '1'
local width = expires and 3 or 2
local done = {}
for i = 2, #KEYS do
  local at = 3 + (i - 2) * width
  local old = redis.call('GETRANGE', KEYS[i], 0, 21)
  local is = ''
  if #old == 22 then
    if string.byte(old, 22) % 2 == 1 then is = string.sub(old, 6, 13) .. '1' .. string.sub(old, 14, 21)
    else is = string.sub(old, 6, 13) .. '0' end
  elseif #old > 0 then is = 'damaged' end
  done[i - 1] = 0
  if is == ARGV[at] then
    if expires then redis.call('SET', KEYS[i], ARGV[at + 1], 'PXAT', ARGV[at + 2])
    else redis.call('SET', KEYS[i], ARGV[at + 1]) end
    done[i - 1] = 1
  end
end
return done
";

/// Puts `ARGV[2]` in the place of `ARGV[1]` (of nothing, when that is empty), if that is still there.
pub(super) const SWAP: &str = r"
local now = redis.call('GET', KEYS[1]) or ''
if now ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
";

/// Writes fields of hashes in which event time and created time are still what they were when they were looked at.
///
/// `KEYS`: a hash per row. `ARGV`: names of the two fields, seconds after which a hash is forgotten (none when empty), number and
/// names of the features' fields; then per row what the two fields were ("0" for nothing, else "1" and the bytes), what they are
/// to be, and the values. Answers 1 or 0 per row.
pub(super) const WRITE_HASHES: &str = r"
local count = tonumber(ARGV[4])
local done = {}
for i = 1, #KEYS do
  local at = 4 + count + (i - 1) * (4 + count)
  local now = redis.call('HMGET', KEYS[i], ARGV[1], ARGV[2])
  local same = true
  for j = 1, 2 do
    local is = now[j] and ('1' .. now[j]) or '0'
    same = same and is == ARGV[at + j]
  end
  done[i] = 0
  if same then
    redis.call('HSET', KEYS[i], ARGV[1], ARGV[at + 3], ARGV[2], ARGV[at + 4])
    for j = 1, count do redis.call('HSET', KEYS[i], ARGV[4 + j], ARGV[at + 4 + j]) end
    if ARGV[3] ~= '' then redis.call('EXPIRE', KEYS[i], ARGV[3]) end
    done[i] = 1
  end
end
return done
";

/// A program and the name that the server gave it.
#[derive(Debug)]
pub(super) struct Script {
    source: &'static str,
    digest: OnceLock<String>,
}

impl Script {
    pub(super) const fn new(source: &'static str) -> Self {
        Self { source, digest: OnceLock::new() }
    }

    /// Sees to it that the server knows the program.
    async fn load(&self, client: &Arc<Client>, call: Call) -> Result<&str> {
        let mut request = Request::default();
        request.push(&[b"SCRIPT", b"LOAD", self.source.as_bytes()]);
        let answer = client.ask(call, &Arc::new(request)).await?;
        let digest = match answer.value() {
            Ok(Some(digest)) if digest.len() == 40 && digest.iter().all(u8::is_ascii_hexdigit) => digest,
            _ => return Err(client.malformed(Malformed("no digest of a script"))),
        };
        let digest = String::from_utf8_lossy(digest).into_owned();
        Ok(self.digest.get_or_init(|| digest))
    }

    /// Runs the program once per set of arguments, in one round trip.
    ///
    /// A server that forgot it, as one does at a restart, is taught it again; what ran meanwhile runs once more.
    pub(super) async fn run(&self, client: &Arc<Client>, call: Call, runs: &[Run]) -> Result<Answer> {
        let mut digest = match self.digest.get() {
            Some(digest) => digest,
            None => self.load(client, call).await?,
        };
        for _ in 0..2 {
            let mut request = Request::default();
            for run in runs {
                run.append(digest, &mut request);
            }
            let answer = client.ask(call, &Arc::new(request)).await?;
            let unknown = |item: &Item| matches!(item, Item::Error(range) if is_no_script(answer.at(range)));
            if !answer.items().iter().any(unknown) {
                return Ok(answer);
            }
            digest = self.load(client, call).await?;
        }
        Err(Core::Busy { what: format!("{}: it forgets its scripts", client.address()) }.into())
    }
}

/// Arguments of one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Run {
    keys: Vec<u8>,
    arguments: Vec<u8>,
    key_count: usize,
    argument_count: usize,
}

impl Run {
    pub(super) fn key(&mut self, bytes: &[u8]) {
        argument(&mut self.keys, bytes);
        self.key_count += 1;
    }

    pub(super) fn argument(&mut self, bytes: &[u8]) {
        argument(&mut self.arguments, bytes);
        self.argument_count += 1;
    }

    /// Number of keys.
    pub(super) fn keys(&self) -> usize {
        self.key_count
    }

    /// Bytes on the wire, but for a few.
    pub(super) fn bytes(&self) -> usize {
        self.keys.len() + self.arguments.len()
    }

    fn append(&self, digest: &str, request: &mut Request) {
        request.command(3 + self.key_count + self.argument_count);
        request.argument(b"EVALSHA");
        request.argument(digest.as_bytes());
        request.argument(self.key_count.to_string().as_bytes());
        request.arguments(&self.keys);
        request.arguments(&self.arguments);
    }
}
