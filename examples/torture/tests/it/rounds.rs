//! Two kills of a writer on each surface, on one folder.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::{TORTURE, Written, text};

/// Kills a writer whatever becomes of the test.
struct Writer(Child);

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts a writer, kills it some time after its first acknowledgement, and keeps all that it said.
fn write_and_kill(written: &Written, round: u64) -> usize {
    let said = File::create(written.folder.path().join("stderr")).unwrap();
    let dir = written.dir();
    let child = Command::new(TORTURE)
        .args(["write", written.surface, "--dir", text(&dir), "--seed", &round.to_string()])
        .stdout(Stdio::piped())
        .stderr(said)
        .spawn()
        .unwrap();
    let mut writer = Writer(child);
    let mut out = BufReader::new(writer.0.stdout.take().unwrap());
    let mut all = String::new();
    assert!(out.read_line(&mut all).unwrap() > 0, "{}: the writer ended", written.surface);
    std::thread::sleep(Duration::from_millis(60 + 37 * round));
    assert!(writer.0.try_wait().unwrap().is_none(), "{}: the writer ended", written.surface);
    drop(writer);
    out.read_to_string(&mut all).unwrap();
    // A half line of one round must not run into the first of the next.
    let whole = &all[..all.rfind('\n').map_or(0, |end| end + 1)];
    File::options().create(true).append(true).open(written.acked()).unwrap().write_all(whole.as_bytes()).unwrap();
    whole.lines().count()
}

fn round_trip(surface: &'static str) {
    let written = Written::empty(surface);
    let mut acked = 0;
    for round in 0..2 {
        acked += write_and_kill(&written, round);
        let said = written.is_whole();
        assert!(said.starts_with(&format!("{acked} acknowledged")), "{said}");
    }
    // The proof can tell: a write that never was is missed.
    let first_run = fs::read_to_string(written.acked()).unwrap();
    let last = first_run.lines().filter_map(|line| line.strip_prefix("ACK 1.0.")?.parse::<u64>().ok()).max();
    let never = format!("1.0.{}", last.unwrap_or(0) + 3);
    let mut file = File::options().append(true).open(written.acked()).unwrap();
    writeln!(file, "ACK {never}").unwrap();
    written.is_refused("a write that never was", &never);
}

#[test]
fn online_rows_survive_kills() {
    round_trip("online");
}

#[test]
fn online_rows_in_sqlite_survive_kills() {
    round_trip("online-sqlite");
}

#[test]
fn materializations_survive_kills() {
    round_trip("materialize");
}

#[test]
fn appends_survive_kills() {
    round_trip("offline");
}

#[test]
fn appends_stay_single_and_whole_while_files_are_compacted() {
    round_trip("compaction");
}

#[test]
fn versions_and_aliases_survive_kills() {
    round_trip("registry");
}

#[test]
fn artifacts_survive_kills() {
    round_trip("artifact");
}

#[test]
fn finished_steps_survive_kills() {
    round_trip("pipeline");
}

#[test]
fn files_of_sinks_survive_kills() {
    round_trip("sink");
}
