//! The program as CI calls it: killed, restarted, and held against damage that it must see.

mod damage;
mod rounds;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

const TORTURE: &str = env!("CARGO_BIN_EXE_torture");

fn torture(arguments: &[&str]) -> Output {
    Command::new(TORTURE).args(arguments).output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder with what one surface wrote, and the acknowledgements.
struct Written {
    surface: &'static str,
    folder: TempDir,
}

impl Written {
    /// Nothing yet.
    fn empty(surface: &'static str) -> Self {
        Self { surface, folder: tempfile::tempdir().unwrap() }
    }

    /// A run that came to its end after `limit` writes of each thread.
    fn new(surface: &'static str, limit: u64) -> Self {
        let written = Self::empty(surface);
        let done = torture(&["write", surface, "--dir", text(&written.dir()), "--limit", &limit.to_string()]);
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        fs::write(written.acked(), done.stdout).unwrap();
        written
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Path of a file below the folder of the surface.
    fn path(&self, below: &str) -> PathBuf {
        self.dir().join(self.surface).join(below)
    }

    fn acked(&self) -> PathBuf {
        self.folder.path().join("acked")
    }

    /// Exit code and words of a verification.
    fn verify(&self) -> (Option<i32>, String) {
        let done = torture(&["verify", self.surface, "--dir", text(&self.dir()), "--acked", text(&self.acked())]);
        let said = [done.stdout, done.stderr].concat();
        (done.status.code(), String::from_utf8(said).unwrap())
    }

    #[track_caller]
    fn is_whole(&self) -> String {
        let (code, said) = self.verify();
        assert_eq!(code, Some(0), "{}: {said}", self.surface);
        said
    }

    #[track_caller]
    fn is_refused(&self, damage: &str, words: &str) {
        let (code, said) = self.verify();
        assert_eq!(code, Some(1), "{}, {damage}: {said}", self.surface);
        assert!(said.contains(words), "{}, {damage}: {said}", self.surface);
    }
}

#[test]
fn a_wrong_call_is_told_from_a_loss() {
    let written = Written::new("artifact", 1);
    let (dir, acked) = (written.dir(), written.acked());
    let code = |arguments: &[&str]| torture(arguments).status.code();
    assert_eq!(code(&[]), Some(2));
    assert_eq!(code(&["write", "artifact"]), Some(2));
    assert_eq!(code(&["write", "nothing", "--dir", text(&dir)]), Some(2));
    assert_eq!(code(&["verify", "artifact", "--dir", text(&dir)]), Some(2));
    assert_eq!(code(&["verify", "artifact", "--dir", text(&dir), "--acked", "no/such/file"]), Some(2));
    fs::write(&acked, "ACK 1.0.1\nACK what?\n").unwrap();
    assert_eq!(written.verify().0, Some(2));
    // A half line is what a kill leaves, and no fault of the call.
    fs::write(&acked, "ACK 1.0.1\nACK 1.0.9").unwrap();
    assert!(written.is_whole().starts_with("1 acknowledged and 2 other writes"));
}

#[test]
fn a_place_that_cannot_be_written_ends_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let done = torture(&["write", "sink", "--dir", text(&file), "--limit", "1"]);
    assert_eq!(done.status.code(), Some(1));
    assert!(done.stdout.is_empty() && !done.stderr.is_empty());
}
