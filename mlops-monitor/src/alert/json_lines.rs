//! Alerts in a file, one JSON object a line.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use mlops_core::{Error as CoreError, Name};

use super::{Alert, AlertSink};
use crate::{Error, Result};

/// Appends alerts to a file and syncs it before it says that they are taken.
///
/// A group that a crash cut off is removed when the file is opened again: it was never taken. The file grows until the
/// host moves it away and opens a new one. One process may write to it.
#[derive(Debug)]
pub struct JsonLinesAlerts {
    name: Name,
    path: PathBuf,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    file: File,
    /// Bytes of whole groups.
    end: u64,
    /// Whether there may be something behind them, which must not stay before the next group.
    is_torn: bool,
}

impl JsonLinesAlerts {
    /// Opens the file at `path`, or makes it; a torn last line is cut off.
    ///
    /// # Errors
    /// [`mlops_core::Error::Io`] when the file cannot be opened, read or cut.
    pub fn open(name: Name, path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref().to_owned();
        let io = |error| CoreError::io(&path, error);
        let mut options = OpenOptions::new();
        let mut file = options.read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        let whole = whole_lines(&mut file).map_err(io)?;
        file.set_len(whole).map_err(io)?;
        file.seek(SeekFrom::End(0)).map_err(io)?;
        file.sync_all().map_err(io)?;
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            // The entry of a new file is part of what must survive.
            File::open(parent).and_then(|dir| dir.sync_all()).map_err(|error| CoreError::io(parent, error))?;
        }
        Ok(Self { name, path, held: Mutex::new(Held { file, end: whole, is_torn: false }) })
    }

    /// Reads back the alerts of a file, oldest first.
    ///
    /// # Errors
    /// [`mlops_core::Error::Io`] when it cannot be read, [`mlops_core::Error::Corrupt`] naming the first line that is no alert.
    pub fn read(path: impl AsRef<Path>) -> Result<Vec<Alert>> {
        let path = path.as_ref();
        let file = File::open(path).map_err(|error| CoreError::io(path, error))?;
        let mut alerts = Vec::new();
        for (number, line) in BufReader::new(file).lines().enumerate() {
            let line = line.map_err(|error| CoreError::io(path, error))?;
            let alert = serde_json::from_str(&line)
                .map_err(|error| CoreError::corrupt(format!("line {} of {}", number + 1, path.display()), error))?;
            alerts.push(alert);
        }
        Ok(alerts)
    }
}

/// Bytes up to and with the last line end, read from the back in small pieces.
fn whole_lines(file: &mut File) -> std::io::Result<u64> {
    const PIECE: u64 = 4_096;
    let mut end = file.seek(SeekFrom::End(0))?;
    let mut piece = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(PIECE);
        file.seek(SeekFrom::Start(start))?;
        piece.clear();
        Read::by_ref(file).take(end - start).read_to_end(&mut piece)?;
        if let Some(last) = piece.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + last as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

impl AlertSink for JsonLinesAlerts {
    fn name(&self) -> &Name {
        &self.name
    }

    fn send(&self, alerts: &[Alert]) -> Result<()> {
        if alerts.is_empty() {
            return Ok(());
        }
        let mut text = Vec::new();
        for alert in alerts {
            serde_json::to_writer(&mut text, alert).map_err(|error| Error::delivery(&self.name, error))?;
            text.push(b'\n');
        }
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.append(&text).map_err(|error| Error::delivery(&self.name, CoreError::io(&self.path, error)))
    }
}

impl Held {
    /// Adds a group and syncs it. What a failure leaves behind is cut off, here or before the next group.
    fn append(&mut self, text: &[u8]) -> std::io::Result<()> {
        if self.is_torn {
            self.cut()?;
        }
        self.is_torn = true;
        let written = self.file.write_all(text).and_then(|()| self.file.sync_data());
        match written {
            Ok(()) => {
                self.end += text.len() as u64;
                self.is_torn = false;
                Ok(())
            }
            Err(error) => {
                // Where this fails too, the next group cannot be written before it is done.
                let _ = self.cut();
                Err(error)
            }
        }
    }

    fn cut(&mut self) -> std::io::Result<()> {
        self.file.set_len(self.end)?;
        self.file.seek(SeekFrom::Start(self.end))?;
        self.is_torn = false;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::AlertState;
    use mlops_core::EventTime;
    use mlops_core::validate::Severity;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    fn alert(at: i64) -> Alert {
        Alert {
            name: name("drift"),
            severity: Severity::Error,
            state: AlertState::Firing,
            at: EventTime::from_secs(at),
            value: 0.5,
            threshold: 0.25,
            labels: [(name("model"), "offers".to_owned())].into(),
            text: "drifted".to_owned(),
        }
    }

    #[test]
    fn a_group_that_a_crash_cut_off_is_gone_and_the_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        let open = || JsonLinesAlerts::open(name("lines"), &path).unwrap();
        open().send(&[alert(1), alert(2)]).unwrap();
        let whole = std::fs::read(&path).unwrap();
        for cut in 0..=whole.len() {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let sink = open();
            sink.send(&[alert(3)]).unwrap();
            let lines = String::from_utf8_lossy(&whole[..cut]).matches('\n').count();
            let expected: Vec<Alert> = [alert(1), alert(2)].into_iter().take(lines).chain([alert(3)]).collect();
            assert_eq!(JsonLinesAlerts::read(&path).unwrap(), expected, "cut at {cut}");
        }
    }

    #[test]
    fn a_torn_line_longer_than_a_piece_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        std::fs::write(&path, "x".repeat(20_000)).unwrap();
        JsonLinesAlerts::open(name("lines"), &path).unwrap().send(&[alert(1)]).unwrap();
        assert_eq!(JsonLinesAlerts::read(&path).unwrap(), [alert(1)]);
    }

    #[test]
    fn what_a_failed_write_leaves_never_stays_before_the_next_group() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        let sink = JsonLinesAlerts::open(name("lines"), &path).unwrap();
        sink.send(&[alert(1)]).unwrap();
        // A handle that can neither be written to nor cut, as on a disk that fails.
        let good = {
            let mut held = sink.held.lock().unwrap();
            std::mem::replace(&mut held.file, File::open(&path).unwrap())
        };
        let error = sink.send(&[alert(2)]).unwrap_err();
        assert!(matches!(&error, Error::Delivery { sink, .. } if sink.as_str() == "lines"), "{error}");
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{\"half").unwrap();
        assert!(sink.send(&[alert(2)]).is_err(), "nothing is written behind half a line");
        sink.held.lock().unwrap().file = good;
        sink.send(&[alert(2)]).unwrap();
        assert_eq!(JsonLinesAlerts::read(&path).unwrap(), [alert(1), alert(2)]);
    }

    #[test]
    fn bad_files_are_named() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(JsonLinesAlerts::open(name("lines"), dir.path()), Err(Error::Core(CoreError::Io { .. }))));
        let ghost = dir.path().join("no/such/folder");
        assert!(matches!(JsonLinesAlerts::open(name("lines"), ghost), Err(Error::Core(CoreError::Io { .. }))));
        let path = dir.path().join("alerts.jsonl");
        JsonLinesAlerts::open(name("lines"), &path).unwrap().send(&[alert(1)]).unwrap();
        OpenOptions::new().append(true).open(&path).unwrap().write_all(b"{}\n").unwrap();
        let error = JsonLinesAlerts::read(&path).unwrap_err().to_string();
        assert!(error.contains("line 2") && error.contains("alerts.jsonl"), "{error}");
    }
}
