//! The driver against a surface that is broken in a known way.

use super::*;
use crate::surface::Store;

/// What a fake surface does wrong.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    None,
    /// Forgets every third write.
    Forgets,
    /// Shows a write that nobody began.
    Invents,
    /// Takes no write after a reopening.
    ReadOnly,
}

struct Fake(Fault);

struct FakeStore {
    fault: Fault,
    dir: PathBuf,
    reopened: bool,
}

impl Surface for Fake {
    fn name(&self) -> &'static str {
        "fake"
    }

    fn writers(&self) -> u32 {
        2
    }

    fn open(&self, dir: &Path) -> Result<Box<dyn Store>> {
        let reopened = File::create_new(dir.join("opened")).is_err();
        Ok(Box::new(FakeStore { fault: self.0, dir: dir.to_owned(), reopened }))
    }
}

impl Store for FakeStore {
    fn write(&self, token: Token) -> Result<()> {
        if self.fault == Fault::ReadOnly && self.reopened {
            return Err("read only".into());
        }
        if self.fault == Fault::Forgets && token.number.is_multiple_of(3) {
            return Ok(());
        }
        Ok(fs::write(self.dir.join(format!("{token}.token")), b"")?)
    }

    fn present(&self, asked: &Asked) -> Result<BTreeSet<Token>> {
        if self.fault == Fault::Invents {
            asked.ensure(Token { run: 1, writer: 0, number: 1_000 })?;
        }
        Ok(asked.all().into_iter().filter(|token| self.dir.join(format!("{token}.token")).exists()).collect())
    }
}

fn outcome(fault: Fault) -> Result<Report> {
    let folder = tempfile::tempdir().unwrap();
    let mut out = Vec::new();
    let surface = Fake(fault);
    assert_eq!(write(&surface, folder.path(), Some(5), 1, &mut out).unwrap(), 10);
    let acked = ack::parse(std::str::from_utf8(&out).unwrap()).unwrap();
    assert_eq!(acked.len(), 10);
    verify(&surface, folder.path(), &acked)
}

#[test]
fn a_sound_surface_passes() {
    assert_eq!(outcome(Fault::None).unwrap(), Report { acked: 10, unacked: 0, runs: 1 });
}

#[test]
fn a_surface_that_loses_invents_or_refuses_fails_in_words() {
    let says = |fault, words: &str| {
        let error = outcome(fault).unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    };
    says(Fault::Forgets, "are lost: ");
    says(Fault::Invents, "1.0.1000 is there");
    says(Fault::ReadOnly, "a write after the crash: read only");
}

#[test]
fn tokens_of_runs_that_never_were_are_lost() {
    let folder = tempfile::tempdir().unwrap();
    let acked = BTreeSet::from([Token { run: 1, writer: 0, number: 1 }]);
    assert!(verify(&Fake(Fault::None), folder.path(), &acked).unwrap_err().to_string().contains("0 runs"));
}

#[test]
fn only_the_write_after_the_last_acknowledged_one_of_a_thread_may_be_there() {
    let acked = BTreeSet::from([Token { run: 1, writer: 0, number: 1 }, Token { run: 1, writer: 0, number: 2 }]);
    let asked = asked(&Fake(Fault::None), 2, &acked).unwrap();
    let shown: Vec<String> = asked.in_flight.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["1.0.3", "1.1.1", "2.0.1", "2.1.1"]);
    let gap = BTreeSet::from([Token { run: 1, writer: 0, number: 3 }]);
    let shown: Vec<String> =
        super::asked(&Fake(Fault::None), 1, &gap).unwrap().in_flight.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["1.0.1", "1.0.2", "1.0.4", "1.1.1"]);
}

#[test]
fn runs_never_share_a_number() {
    let folder = tempfile::tempdir().unwrap();
    let numbers: BTreeSet<u32> = std::thread::scope(|scope| {
        let begin = || (0..5).map(|_| begin_run(folder.path()).unwrap()).collect::<Vec<_>>();
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(begin)).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(numbers, (1..=20).collect());
}
