//! Files that are either whole and durable or not there.
//!
//! Everything that stores files goes through here: a temporary file in the same folder → write → fsync → rename → fsync of
//! the folder. A reader sees the old content or the new, and what was acknowledged survives a power cut. Whoever
//! stops half-way leaves nothing; a killed process leaves at most a hidden file (see [`is_temporary`]) that no reader
//! takes for content, and that the next sink in that folder removes once it is ten minutes old (on Unix, where the owner of
//! a temporary file holds an advisory lock on it for as long as it lives).
//!
//! Entry points: [`write_atomic`] for content at hand, [`AtomicFile`] for content that comes bit by bit, [`RevisionFiles`] for
//! a document whose changes are kept.

mod revisions;

pub use revisions::{RevisionFiles, visible};

mod staging;

use std::fs::{self, File, TryLockError};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

pub(crate) use self::staging::Staging;
use crate::{Error, Result};

const TEMPORARY_PREFIX: &str = ".mlops-";
const TEMPORARY_SUFFIX: &str = ".tmp";

/// Longest pause between two tries to take a lock.
const LOCK_PAUSE_MAX: Duration = Duration::from_millis(20);

/// A file in `folder` that nobody can name: it vanishes with the process, whatever becomes of that.
///
/// # Errors
/// [`Error::Io`] when none can be made there.
pub fn nameless(folder: &Path) -> Result<File> {
    tempfile::tempfile_in(folder).map_err(|e| Error::io(folder, e))
}

/// A file in the making, which takes the place of `path` when it is committed and vanishes when it is dropped.
///
/// The folder must exist. A symbolic link at `path` is replaced, not followed.
///
/// # Examples
/// ```
/// use std::io::Write;
/// use mlops_core::file::AtomicFile;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("greeting");
/// let mut file = AtomicFile::create(&path)?;
/// file.write_all(b"hello")?;
/// assert!(!path.exists());
/// file.commit()?;
/// assert_eq!(std::fs::read(&path)?, b"hello");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    file: BufWriter<NamedTempFile>,
}

impl AtomicFile {
    /// Opens a temporary file beside `path`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when `path` names no file, [`Error::Io`] when the folder is missing or cannot be written to.
    pub fn create(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        if path.file_name().is_none() || path.is_dir() {
            return Err(Error::invalid("path", path.display(), "the path of a file"));
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY_PREFIX).suffix(TEMPORARY_SUFFIX);
        #[cfg(unix)]
        {
            // The default of `tempfile` is for secrets (0600); the umask narrows this one as it does for any file.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        let file = builder.tempfile_in(folder_of(&path)).map_err(|e| Error::io(&path, e))?;
        staging::hold(file.as_file());
        Ok(Self { path, file: BufWriter::with_capacity(1 << 16, file) })
    }

    /// As [`create`](Self::create), and removes from the folder what killed processes left.
    pub(crate) fn create_and_sweep(path: impl Into<PathBuf>) -> Result<Self> {
        let file = Self::create(path)?;
        staging::sweep(folder_of(&file.path), file.file.get_ref().as_file());
        Ok(file)
    }

    /// Where the content will be.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the content is until then, for libraries that write files by their path and not into a [`Write`]. What they
    /// wrote must be complete, and their handles closed, before the commit.
    pub fn temporary_path(&self) -> &Path {
        // Such a library may lock the file itself.
        let _ = self.file.get_ref().as_file().unlock();
        self.file.get_ref().path()
    }

    /// Makes the content visible at the path, and durable; returns its size in bytes.
    ///
    /// # Errors
    /// [`Error::Io`] when the storage fails; the path is then as it was before.
    pub fn commit(self) -> Result<u64> {
        self.finish(true)
    }

    /// Like [`commit`](Self::commit), for a path that must not exist yet: of several writers one wins.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] when the path is taken, [`Error::Io`] when the storage fails.
    pub fn commit_new(self) -> Result<u64> {
        self.finish(false)
    }

    fn finish(self, replace: bool) -> Result<u64> {
        let Self { path, file } = self;
        let failed = |e: io::Error| Error::io(&path, e);
        let file = file.into_inner().map_err(|e| failed(e.into_error()))?;
        file.as_file().sync_all().map_err(failed)?;
        let bytes = file.as_file().metadata().map_err(failed)?.len();
        let moved = if replace { file.persist(&path) } else { file.persist_noclobber(&path) };
        if let Err(error) = moved {
            if !replace && error.error.kind() == io::ErrorKind::AlreadyExists {
                return Err(Error::AlreadyExists { kind: "file", name: path.display().to_string() });
            }
            return Err(failed(error.error));
        }
        sync_dir(folder_of(&path))?;
        Ok(bytes)
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

/// Whether a file name is that of a write that was never committed: what a killed process leaves behind.
pub fn is_temporary(file_name: &str) -> bool {
    file_name.starts_with(TEMPORARY_PREFIX) && file_name.ends_with(TEMPORARY_SUFFIX)
}

/// Puts what `fill` writes at `path`, whole and durable, or leaves `path` as it was; returns the size in bytes.
///
/// # Errors
/// What [`AtomicFile::create`] and [`AtomicFile::commit`] say, and whatever `fill` fails with.
pub fn write_atomic(path: impl Into<PathBuf>, fill: impl FnOnce(&mut AtomicFile) -> Result<()>) -> Result<u64> {
    let mut file = AtomicFile::create(path)?;
    fill(&mut file)?;
    file.commit()
}

/// Puts `bytes` at `path`, whole and durable, or leaves `path` as it was.
///
/// # Errors
/// What [`write_atomic`] says.
pub fn write_bytes(path: impl Into<PathBuf>, bytes: &[u8]) -> Result<()> {
    let path = path.into();
    write_atomic(path.clone(), |file| file.write_all(bytes).map_err(|e| Error::io(path, e))).map(|_| ())
}

/// Makes the names in `folder` durable: what was created, renamed or removed there survives a power cut.
///
/// # Errors
/// [`Error::Io`] when the folder is missing or the storage fails.
pub fn sync_dir(folder: &Path) -> Result<()> {
    // Folders cannot be opened as files on Windows, where the rename itself is journalled.
    if cfg!(windows) {
        return Ok(());
    }
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| Error::io(folder, e))
}

/// Creates `folder` and whatever is missing above it, all of it durable. Fine when it is there already.
///
/// # Errors
/// [`Error::Io`] when a part of the path is a file or cannot be created.
pub fn create_dir_all_synced(folder: &Path) -> Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    let above = folder_of(folder);
    create_dir_all_synced(above)?;
    match fs::create_dir(folder) {
        Ok(()) => sync_dir(above),
        Err(_) if folder.is_dir() => Ok(()), // another process was faster
        Err(e) => Err(Error::io(folder, e)),
    }
}

/// Holds the advisory lock on a file until it is dropped.
///
/// Works between threads and between processes; the operating system frees it when a process dies.
#[derive(Debug)]
pub struct FileLock {
    _file: File,
}

impl FileLock {
    /// Takes the lock on the file at `path`, which is created when it is missing, waiting for `wait` at the most.
    ///
    /// # Errors
    /// [`Error::Busy`] when somebody else holds it all the time, [`Error::Io`] when the file cannot be opened.
    pub fn acquire(path: &Path, wait: Duration) -> Result<Self> {
        let file = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(path)
            .map_err(|e| Error::io(path, e))?;
        let started = Instant::now();
        let mut pause = Duration::from_micros(200);
        loop {
            match file.try_lock() {
                Ok(()) => return Ok(Self { _file: file }),
                Err(TryLockError::Error(e)) => return Err(Error::io(path, e)),
                Err(TryLockError::WouldBlock) if started.elapsed() >= wait => {
                    return Err(Error::Busy { what: path.display().to_string() });
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(pause.min(wait)),
            }
            pause = (pause * 2).min(LOCK_PAUSE_MAX);
        }
    }
}

/// The folder that `path` is in.
fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_dropped_file_leaves_the_folder_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_bytes(&path, b"old").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(&vec![7; 100_000]).unwrap();
        let beside = names(folder.path());
        assert_eq!(beside.iter().filter(|n| is_temporary(n)).count(), 1, "{beside:?}");
        drop(file);
        assert_eq!(names(folder.path()), ["a"]);
        assert_eq!(fs::read(&path).unwrap(), b"old");
    }

    #[test]
    fn a_failed_fill_leaves_the_old_content() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write_bytes(&path, b"old").unwrap();
        let failed = write_atomic(&path, |_| Err(Error::invalid_data("x", "y")));
        assert!(matches!(failed, Err(Error::InvalidData { .. })));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(write_atomic(&path, |f| f.write_all(b"newer").map_err(|e| Error::io("a", e))).unwrap(), 5);
        assert_eq!(fs::read(&path).unwrap(), b"newer");
    }

    #[test]
    fn commit_new_has_one_winner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let first = AtomicFile::create(&path).unwrap();
        let second = AtomicFile::create(&path).unwrap();
        first.commit_new().unwrap();
        assert!(matches!(second.commit_new(), Err(Error::AlreadyExists { .. })));
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn content_that_was_written_by_path_is_committed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let file = AtomicFile::create(&path).unwrap();
        fs::write(file.temporary_path(), b"by path").unwrap();
        assert_eq!(file.commit_new().unwrap(), 7);
        assert_eq!(fs::read(&path).unwrap(), b"by path");
        assert_eq!(names(folder.path()), ["a"]);
    }

    #[test]
    fn places_that_cannot_be_written_are_named() {
        let folder = tempfile::tempdir().unwrap();
        for bad in [PathBuf::new(), PathBuf::from("/"), PathBuf::from("a/.."), folder.path().into()] {
            assert!(matches!(AtomicFile::create(&bad), Err(Error::Invalid { .. })), "{bad:?}");
        }
        let long = folder.path().join("n".repeat(10_000));
        assert!(matches!(write_bytes(long, b""), Err(Error::Io { .. })));
        assert!(matches!(write_bytes(folder.path().join("a\0b"), b""), Err(Error::Io { .. })));
        let missing = AtomicFile::create(folder.path().join("no/such/file")).unwrap_err().to_string();
        assert!(missing.contains("no/such/file"), "{missing}");
        assert!(names(folder.path()).is_empty());
    }

    #[test]
    fn folders_are_made_down_to_the_last() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        create_dir_all_synced(&deep).unwrap();
        create_dir_all_synced(&deep).unwrap();
        assert!(deep.is_dir());
        write_bytes(folder.path().join("file"), b"").unwrap();
        assert!(matches!(create_dir_all_synced(&folder.path().join("file/x")), Err(Error::Io { .. })));
    }

    #[test]
    fn a_lock_that_is_held_is_busy_and_a_dropped_one_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let held = FileLock::acquire(&path, Duration::ZERO).unwrap();
        assert!(matches!(FileLock::acquire(&path, Duration::from_millis(5)), Err(Error::Busy { .. })));
        drop(held);
        FileLock::acquire(&path, Duration::ZERO).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn files_can_be_read_by_others_as_the_umask_allows() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("a"), folder.path().join("b"));
        write_bytes(&ours, b"").unwrap();
        fs::write(&plain, b"").unwrap();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}
