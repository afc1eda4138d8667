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
    file: Mutex<File>,
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
        Ok(Self { name, path, file: Mutex::new(file) })
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
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let fail = |error| Error::delivery(&self.name, CoreError::io(&self.path, error));
        let before = file.stream_position().map_err(fail)?;
        let written = file.write_all(&text).and_then(|()| file.sync_data());
        written.map_err(|error| {
            // Half a line must not stay before the next one; if this fails too, the next opening cuts it off.
            let _ = file.set_len(before).and_then(|()| file.seek(SeekFrom::Start(before)));
            fail(error)
        })
    }
}
