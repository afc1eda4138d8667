//! Folders in the making, and the removal of what killed processes left.

use std::fs::{self, DirEntry, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;

use super::{TEMPORARY_PREFIX, TEMPORARY_SUFFIX, is_temporary};
use crate::{Error, Result};

/// Random letters of a temporary name.
const RANDOM_LETTERS: usize = 6;

/// Entries of a folder that are looked at, so that a write into a huge one begins in no time.
const ENTRIES_MAX: usize = 10_000;

/// How long a temporary file must have been left alone: its owner may hold no lock for the moments in which another library
/// opens it, or on a file system without locks.
const AGE_MIN: Duration = Duration::from_mins(10);

/// A folder in the making, which vanishes with what is in it unless it is kept. As long as this lives, it is not swept.
#[derive(Debug)]
pub(crate) struct Staging {
    folder: TempDir,
    _held: Option<File>,
}

impl Staging {
    /// A folder in `above`, which others may read as the umask allows, or for this user alone. Removes from `above` what
    /// killed processes left.
    ///
    /// # Errors
    /// [`Error::Io`] when `above` is missing or cannot be written to.
    pub(crate) fn within(above: &Path, private: bool) -> Result<Self> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(TEMPORARY_PREFIX).suffix(TEMPORARY_SUFFIX).rand_bytes(RANDOM_LETTERS);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(if private { 0o700 } else { 0o777 }));
        }
        let folder = builder.tempdir_in(above).map_err(|e| Error::io(above, e))?;
        let held = File::open(folder.path()).ok().inspect(hold);
        if let Some(held) = &held {
            sweep(above, held);
        }
        Ok(Self { folder, _held: held })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Leaves the folder where it is, or was: it may have been moved.
    pub(crate) fn keep(self) {
        let _kept = self.folder.keep();
    }
}

/// Marks a temporary file or folder as one whose owner lives, until the handle is closed. Where that cannot be done, its age
/// has to do.
pub(super) fn hold(file: &File) {
    // A lock keeps others from the content on Windows, where nothing is swept.
    if cfg!(unix) {
        let _ = file.try_lock();
    }
}

/// Removes from `folder` the temporary files and folders of owners that are dead: their names are ours, nobody holds them and
/// nobody has changed them for ten minutes, by the clock that the file `new` was made by. Failures are left to the next.
pub(super) fn sweep(folder: &Path, new: &File) {
    if !cfg!(unix) {
        return;
    }
    let (Ok(entries), Ok(now)) = (fs::read_dir(folder), new.metadata().and_then(|of| of.modified())) else { return };
    for entry in entries.take(ENTRIES_MAX).flatten() {
        if entry.file_name().to_str().is_some_and(is_ours) {
            let _ = remove_dead(&entry, now);
        }
    }
}

fn is_ours(name: &str) -> bool {
    let random = name.len() == TEMPORARY_PREFIX.len() + RANDOM_LETTERS + TEMPORARY_SUFFIX.len();
    random && is_temporary(name)
}

fn remove_dead(entry: &DirEntry, now: SystemTime) -> std::io::Result<()> {
    // Of the entry itself: a link is neither.
    let (metadata, path) = (entry.metadata()?, entry.path());
    let age = now.duration_since(metadata.modified()?).unwrap_or_default();
    if age < AGE_MIN || !(metadata.is_file() || metadata.is_dir()) {
        return Ok(());
    }
    // Network file systems lock only what is open for writing, which a folder cannot be.
    let file =
        if metadata.is_dir() { File::open(&path)? } else { File::options().read(true).write(true).open(&path)? };
    file.try_lock()?;
    if metadata.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) }
}

#[cfg(all(test, unix))]
mod tests {
    use std::io::Write;

    use super::super::AtomicFile;
    use super::*;

    /// Makes `path` look as if it had not been changed for a day.
    fn age(path: &Path) {
        File::open(path).unwrap().set_modified(SystemTime::now() - Duration::from_hours(24)).unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_a_dead_owner_left_goes_and_everything_else_stays() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let kept =
            ["t.csv", ".mlops-abc.tmp", ".mlops-abcdefg.tmp", ".mlops-abcdef.tmp2", "x.mlops-abcdef.tmp", ".tmpabcdef"];
        for name in [".mlops-abcdef.tmp", ".mlops-lately.tmp"].into_iter().chain(kept) {
            fs::write(at(name), "x").unwrap();
        }
        fs::create_dir_all(at(".mlops-Folder.tmp/year=2026")).unwrap();
        fs::write(at(".mlops-Folder.tmp/year=2026/part.csv"), "x").unwrap();
        std::os::unix::fs::symlink(at("t.csv"), at(".mlops-linked.tmp")).unwrap();
        for name in [".mlops-abcdef.tmp", ".mlops-Folder.tmp", ".mlops-linked.tmp"].into_iter().chain(kept) {
            age(&at(name));
        }
        let file = AtomicFile::create_and_sweep(at("new")).unwrap();
        let mut left: Vec<_> = kept.iter().map(ToString::to_string).collect();
        left.extend([".mlops-lately.tmp".to_owned(), ".mlops-linked.tmp".to_owned()]);
        left.push(file.temporary_path().file_name().unwrap().to_str().unwrap().to_owned());
        left.sort();
        assert_eq!(names(folder.path()), left);
        assert_eq!(fs::read(at("t.csv")).unwrap(), b"x", "a link is not followed");
    }

    #[test]
    fn the_files_and_folders_of_living_owners_stay_however_old_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let mut slow = AtomicFile::create_and_sweep(folder.path().join("slow")).unwrap();
        slow.write_all(b"whole").unwrap();
        let staging = Staging::within(folder.path(), false).unwrap();
        for name in names(folder.path()) {
            age(&folder.path().join(name));
        }
        let dropped = Staging::within(folder.path(), true).unwrap();
        assert_eq!(names(folder.path()).len(), 3);
        drop(dropped);
        assert!(staging.path().is_dir());
        assert_eq!(slow.commit().unwrap(), 5);
        drop(staging);
        assert_eq!(names(folder.path()), ["slow"]);
    }
}
