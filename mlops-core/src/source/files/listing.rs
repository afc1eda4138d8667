//! The data files of a folder or a pattern, in one order.

use std::fs;
use std::path::{Component, Path, PathBuf};

use super::partition;
use crate::source::local::shown;
use crate::source::{FileFormat, SourceInfo};
use crate::{Error, Result};

/// Files of one source at the most: each of them is remembered.
pub const FILES_MAX: usize = 1 << 17;

/// Folders within each other at the most.
const DEPTH_MAX: usize = 32;

/// One data file.
#[derive(Clone, Debug)]
pub(in crate::source) struct Found {
    pub(super) path: PathBuf,
    /// Its path from the root, name by name: what files are ordered by.
    names: Vec<String>,
    /// What the folders say, from the outermost in.
    pub(super) values: Vec<(String, Option<String>)>,
    /// Size and last change, where they were listed with it.
    pub(super) listed: Option<SourceInfo>,
}

/// All data files of one place.
#[derive(Clone, Debug)]
pub(in crate::source) struct Listing {
    /// The folder that all files are in.
    pub(super) root: PathBuf,
    pub(super) files: Vec<Found>,
}

/// Whether `text` holds what makes a pattern of a path.
pub(in crate::source) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

/// Lists `place`: a folder with all that is below it, a pattern, or a single file.
///
/// # Errors
/// [`Error::NotFound`] when there is nothing, [`Error::Invalid`] for a pattern that is none, [`Error::InvalidData`] for what may not be
/// among data files, [`Error::Io`] when a folder cannot be read.
pub(super) fn list(place: &Path) -> Result<Listing> {
    let mut listing = Listing { root: place.to_owned(), files: Vec::new() };
    match fs::metadata(place) {
        Ok(metadata) if metadata.is_dir() => listing.folder(place, 0)?,
        Ok(_) => {
            place.parent().unwrap_or(Path::new("")).clone_into(&mut listing.root);
            listing.add(place)?;
        }
        Err(_) if place.to_str().is_some_and(is_pattern) => listing.pattern(place)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(Error::not_found("folder", shown(place))),
        Err(e) => return Err(Error::io(place, e)),
    }
    Ok(listing.sorted())
}

impl Listing {
    /// Files that somebody else has found below `root`, with what is known of them.
    ///
    /// # Errors
    /// [`Error::InvalidData`] for names that cannot be read, and for more than [`FILES_MAX`] files.
    #[cfg(feature = "object-store")]
    pub(in crate::source) fn of(root: PathBuf, files: impl IntoIterator<Item = (PathBuf, SourceInfo)>) -> Result<Self> {
        let mut listing = Self { root, files: Vec::new() };
        for (path, info) in files {
            listing.push(&path, Some(info))?;
        }
        Ok(listing.sorted())
    }

    fn sorted(mut self) -> Self {
        self.files.sort_unstable_by(|a, b| a.names.cmp(&b.names));
        self.files.dedup_by(|a, b| a.names == b.names);
        self
    }

    fn pattern(&mut self, place: &Path) -> Result<()> {
        self.root = place.components().take_while(|part| !is_pattern(&part.as_os_str().to_string_lossy())).collect();
        let options = glob::MatchOptions {
            case_sensitive: true,
            require_literal_separator: true,
            require_literal_leading_dot: true,
        };
        let found = glob::glob_with(place.to_str().unwrap_or_default(), options)
            .map_err(|_| Error::invalid("path", shown(place), "a pattern of `*`, `**`, `?` and `[…]`"))?;
        for path in found {
            let path = path.map_err(|e| Error::io(e.path().to_owned(), e.into()))?;
            if path.is_dir() {
                self.folder(&path, 0)?;
            } else if !is_hidden(&path) {
                self.add(&path)?;
            }
        }
        if self.files.is_empty() {
            return Err(Error::not_found("file", shown(place)));
        }
        Ok(())
    }

    fn folder(&mut self, folder: &Path, depth: usize) -> Result<()> {
        if depth > DEPTH_MAX {
            return Err(Error::invalid_data(shown(folder), format!("folders more than {DEPTH_MAX} deep")));
        }
        for entry in fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
            let entry = entry.map_err(|e| Error::io(folder, e))?;
            let (path, kind) = (entry.path(), entry.file_type().map_err(|e| Error::io(entry.path(), e))?);
            if is_hidden(&path) {
                continue;
            }
            if kind.is_dir() {
                self.folder(&path, depth + 1)?;
            } else if kind.is_symlink() && path.is_dir() {
                // It may lead out of the folder, or back into it without end.
                return Err(Error::invalid_data(shown(&path), "a link to a folder, which is not followed"));
            } else {
                self.add(&path)?;
            }
        }
        Ok(())
    }

    fn add(&mut self, path: &Path) -> Result<()> {
        let metadata = fs::metadata(path).map_err(|e| Error::io(path, e))?;
        if !metadata.is_file() {
            return Err(Error::invalid_data(shown(path), "neither a file nor a folder"));
        }
        self.push(path, None)
    }

    fn push(&mut self, path: &Path, listed: Option<SourceInfo>) -> Result<()> {
        let refuse = |reason: &str| Error::invalid_data(shown(path), reason);
        if self.files.len() == FILES_MAX {
            return Err(Error::invalid_data(shown(&self.root), format!("more than {FILES_MAX} files")));
        }
        let below = path.strip_prefix(&self.root).unwrap_or(path);
        let mut names = Vec::new();
        for part in below.components() {
            match part {
                Component::Normal(name) => {
                    names.push(name.to_str().ok_or_else(|| refuse("a name that is not UTF-8"))?.to_owned());
                }
                Component::CurDir => {}
                _ => return Err(refuse("a path that leads out of its folder")),
            }
        }
        let mut values: Vec<(String, Option<String>)> = Vec::new();
        for name in names.iter().take(names.len().saturating_sub(1)) {
            let Some(value) = partition::read_name(name) else { continue };
            let value = value.map_err(refuse)?;
            if values.iter().any(|(column, _)| *column == value.0) {
                return Err(refuse("two folders that name one column"));
            }
            values.push(value);
        }
        self.files.push(Found { path: path.to_owned(), names, values, listed });
        Ok(())
    }

    /// The one format of all files.
    ///
    /// # Errors
    /// [`Error::InvalidData`] naming a file that is of another one or of none.
    pub(super) fn format(&self) -> Result<Option<FileFormat>> {
        let mut first: Option<(FileFormat, &Path)> = None;
        for Found { path, .. } in &self.files {
            let format = FileFormat::of(path).map_err(|_| {
                Error::invalid_data(
                    shown(path),
                    "its name says no format; leave it out by a pattern, or say the format",
                )
            })?;
            match first {
                None => first = Some((format, path)),
                Some((known, beside)) if known != format => {
                    let reason = format!("{format} beside {known} in {}: one source is of one format", shown(beside));
                    return Err(Error::invalid_data(shown(path), reason));
                }
                Some(_) => {}
            }
        }
        Ok(first.map(|(format, _)| format))
    }
}

/// What is not data by its name: temporary files, marks such as `_SUCCESS`, side files. `_year=2026` is a partition.
fn is_hidden(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    hides(&name, name.contains('=') && path.is_dir())
}

/// Whether `name` says that what is there or below it is no data.
pub(in crate::source) fn hides(name: &str, is_partition: bool) -> bool {
    name.starts_with('.') || (name.starts_with('_') && !is_partition)
}
