//! Drives a surface: writers that acknowledge, and the proof afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::surface::{Asked, Surface};
use crate::token::Token;
use crate::{Result, ack, random};

/// Longest pause between two writes of a thread, so that kills also fall between them.
const PAUSE_US_MAX: u64 = 1_000;
/// Most tokens that one message names.
const NAMED_MAX: usize = 5;

/// What a verification found; nothing is lost.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// Writes that were acknowledged, all of which are there.
    pub acked: usize,
    /// Writes that were not, and are there all the same, whole.
    pub unacked: usize,
    /// Runs of the program on this folder so far.
    pub runs: u32,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acked, unacked, runs } = self;
        write!(f, "{acked} acknowledged and {unacked} other writes of {runs} runs are whole")
    }
}

fn folder(surface: &dyn Surface, dir: &Path) -> PathBuf {
    dir.join(surface.name())
}

/// How many runs there were on a folder.
fn runs(dir: &Path) -> Result<u32> {
    let entries = match fs::read_dir(dir.join("runs")) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(0),
        Err(e) => return Err(e.into()),
    };
    let mut last = 0;
    for entry in entries {
        let name = entry?.file_name();
        last = last.max(name.to_str().and_then(|name| name.parse().ok()).unwrap_or(0));
    }
    Ok(last)
}

/// Takes a number that no run had before: no token is ever used twice.
fn begin_run(dir: &Path) -> Result<u32> {
    fs::create_dir_all(dir.join("runs"))?;
    loop {
        let number = runs(dir)? + 1;
        match File::create_new(dir.join("runs").join(number.to_string())) {
            Ok(_) => return Ok(number),
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// Writes to `surface` in `dir` with all of its threads, until the process is killed or each thread did `limit` writes;
/// says to `out` which are kept. Gives the number of writes.
///
/// # Errors
/// The first failure of the library or of `out`; the other threads end after the write that they are at.
pub fn write(
    surface: &dyn Surface,
    dir: &Path,
    limit: Option<u64>,
    seed: u64,
    out: &mut (dyn Write + Send),
) -> Result<u64> {
    let folder = folder(surface, dir);
    fs::create_dir_all(&folder)?;
    let run = begin_run(&folder)?;
    let store = surface.open(&folder)?;
    let done = AtomicU64::new(0);
    let out = Mutex::new(out);
    let work = |writer: u32| -> Result<()> {
        let mut token = Token { run, writer, number: 1 };
        while limit.is_none_or(|limit| token.number <= limit) {
            store.write(token).map_err(|e| format!("write {token}: {e}"))?;
            ack::say(&mut **out.lock().unwrap_or_else(PoisonError::into_inner), token)?;
            done.fetch_add(1, Ordering::Relaxed);
            std::thread::sleep(Duration::from_micros(random::mix(seed ^ token.random(0)) % PAUSE_US_MAX));
            token = token.next();
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..surface.writers()).map(|writer| scope.spawn(move || work(writer))).collect();
        writers.into_iter().try_for_each(|writer| writer.join().map_err(|_| "a writer panicked")?)
    })?;
    Ok(done.into_inner())
}

/// Proves that everything in `acked` is in `dir`, whole and right, that of everything else at most what was in flight is
/// there, whole too, and that the surface can be opened and written again. What the proof itself writes counts as in
/// flight for the next.
///
/// # Errors
/// A sentence that says what is lost, torn, wrong or unusable.
pub fn verify(surface: &dyn Surface, dir: &Path, acked: &BTreeSet<Token>) -> Result<Report> {
    let folder = folder(surface, dir);
    fs::create_dir_all(&folder)?;
    let asked = asked(surface, runs(&folder)?, acked)?;
    let present = {
        let store = surface.open(&folder).map_err(|e| format!("open: {e}"))?;
        store.present(&asked)?
    };
    lost(acked, &present)?;

    let probe = Token { run: begin_run(&folder)?, writer: 0, number: 1 };
    let mut wider = asked;
    wider.in_flight.insert(probe);
    surface.open(&folder)?.write(probe).map_err(|e| format!("a write after the crash: {e}"))?;
    let again = surface.open(&folder).map_err(|e| format!("the opening after it: {e}"))?.present(&wider)?;
    let expected: BTreeSet<Token> = present.iter().copied().chain([probe]).collect();
    lost(&expected, &again).map_err(|e| format!("after another write: {e}"))?;
    Ok(Report { acked: acked.len(), unacked: present.len() - acked.len(), runs: probe.run - 1 })
}

/// What may be there after `runs` runs: of each thread the write after the last that was acknowledged, and those before
/// it, should `acked` leave some out.
fn asked(surface: &dyn Surface, runs: u32, acked: &BTreeSet<Token>) -> Result<Asked> {
    let mut last: BTreeMap<(u32, u32), u64> = BTreeMap::new();
    for token in acked {
        let known = (1..=runs).contains(&token.run) && token.writer < surface.writers() && token.number > 0;
        if !known {
            return Err(format!("{token} was acknowledged, but this folder knows of {runs} runs only").into());
        }
        // In order, so that the greatest number of a thread comes last.
        last.insert((token.run, token.writer), token.number);
    }
    let threads = (1..=runs).flat_map(|run| (0..surface.writers()).map(move |writer| (run, writer)));
    let up_to_next = |(run, writer)| {
        let last = last.get(&(run, writer)).copied().unwrap_or(0);
        (1..=last.saturating_add(1)).map(move |number| Token { run, writer, number })
    };
    let in_flight = threads.flat_map(up_to_next).filter(|token| !acked.contains(token));
    Ok(Asked { acked: acked.clone(), in_flight: in_flight.collect() })
}

fn lost(expected: &BTreeSet<Token>, present: &BTreeSet<Token>) -> Result<()> {
    let lost: Vec<&Token> = expected.difference(present).collect();
    if lost.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = lost.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let more = if lost.len() > NAMED_MAX { " …" } else { "" };
    Err(format!("{} of {} writes are lost: {}{more}", lost.len(), expected.len(), named.join(", ")).into())
}

#[cfg(test)]
mod tests;
