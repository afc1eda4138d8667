//! What the rows of a view looked like, day by day.
//!
//! Profiles of core, which merge: a monitor asks for any range of days and compares it with any other. Rows count on the day
//! of their event time, in UTC, however late they came in.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::fs;
use std::io::ErrorKind;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use arrow::array::{AsArray, RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;
use arrow::datatypes::TimestampMicrosecondType;
use mlops_core::file::{create_dir_all_synced, is_temporary, sync_dir, write_bytes};
use mlops_core::profile::{Profile, ProfileOptions, ProfileOptionsBuilder, Profiler};
use mlops_core::time::DAY_US;
use mlops_core::{Dataset, Digest, EventTime, Name};

use crate::error::{Core, Result};
use crate::view::FeatureView;

/// Days since 1970-01-01, UTC; negative before.
pub type Day = i64;

/// The day of `time`.
pub fn day_of(time: EventTime) -> Day {
    time.as_micros().div_euclid(DAY_US)
}

/// Profiles per view and day.
///
/// # Contract
/// * `put` keeps the profile of one part of a day's rows; the same part again changes nothing, so that whoever was cut off
///   can say it again.
/// * `read` merges all parts. What `put` returned survives whatever the store promises to survive.
pub trait StatisticsStore: Debug + Send + Sync + 'static {
    /// Adds the profile of the rows `part` to `day`.
    ///
    /// # Errors
    /// Whatever keeps the store from writing.
    fn put(&self, view: &Name, day: Day, part: Digest, profile: &Profile) -> Result<()>;

    /// Days of which there is anything, ascending.
    ///
    /// # Errors
    /// Whatever keeps the store from reading.
    fn days(&self, view: &Name) -> Result<Vec<Day>>;

    /// The profile of `day`; `None` when nothing came in.
    ///
    /// # Errors
    /// `Core(Corrupt)` when what is stored is no profile, `Core(Schema)` when the view's columns changed within the day.
    fn read(&self, view: &Name, day: Day) -> Result<Option<Profile>>;
}

/// The profile of all rows of the days in `days`; `None` when nothing came in.
///
/// # Errors
/// As [`StatisticsStore::read`].
pub fn read_days(store: &dyn StatisticsStore, view: &Name, days: Range<Day>) -> Result<Option<Profile>> {
    let mut all: Option<Profile> = None;
    for day in store.days(view)?.into_iter().filter(|day| days.contains(day)) {
        let Some(profile) = store.read(view, day)? else { continue };
        match &mut all {
            Some(all) => all.merge(&profile)?,
            None => all = Some(profile),
        }
    }
    Ok(all)
}

/// Adds the rows of a batch in the columns of `view`, day by day. Columns that not everyone may see are hidden.
pub(super) fn record(store: &dyn StatisticsStore, view: &FeatureView, rows: &RecordBatch) -> Result<()> {
    let times = rows.column(view.entity().keys().len()).as_primitive::<TimestampMicrosecondType>();
    let days: Vec<Day> = times.values().iter().map(|time| time.div_euclid(DAY_US)).collect();
    let options = view.schema().hidden().into_iter().fold(ProfileOptions::builder(), ProfileOptionsBuilder::hide);
    let options = options.build()?;
    let part = Dataset::held(view.schema().clone(), [rows.clone()])?.digest()?;
    for day in days.iter().copied().collect::<BTreeSet<_>>() {
        let of_day = (0..times.len() as u32).filter(|row| days[*row as usize] == day);
        let of_day = take_record_batch(rows, &UInt32Array::from_iter_values(of_day))?;
        let mut profiler = Profiler::new(rows.schema_ref(), &options)?;
        profiler.update(&of_day)?;
        store.put(view.name(), day, part, &profiler.finish())?;
    }
    Ok(())
}

/// Parts of a day beyond which they are merged into one file.
const PARTS_MAX: usize = 64;

const SUFFIX: &str = ".profile";

/// Format of a file of several parts: number of parts, their digests, the profile.
const FORMAT: u8 = 1;

/// Statistics in a folder: a file per part, merged into one when there are many.
///
/// Several processes may write at the same time; one at a time should [`put`](StatisticsStore::put) to one view.
///
/// # Examples
/// ```
/// use mlops_core::Name;
/// use mlops_features::ingest::statistics::{FileStatistics, StatisticsStore};
/// # let folder = tempfile::tempdir()?;
/// let statistics = FileStatistics::open(folder.path())?;
/// assert!(statistics.days(&Name::new("clicks")?)?.is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct FileStatistics {
    root: PathBuf,
    merging: Mutex<()>,
}

/// Parts of a day in one file.
struct Parts {
    digests: BTreeSet<Digest>,
    profile: Profile,
}

impl FileStatistics {
    /// Opens the folder `root`, which is made if need be.
    ///
    /// # Errors
    /// `Core(Io)` when it cannot be made.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        create_dir_all_synced(&root)?;
        Ok(Self { root, merging: Mutex::default() })
    }

    fn view(&self, view: &Name) -> PathBuf {
        self.root.join(Digest::of(view.as_str()).to_string())
    }

    fn day(&self, view: &Name, day: Day) -> PathBuf {
        self.view(view).join(day.to_string())
    }

    /// All parts of a day, each once, and the files that they stand in.
    fn parts(folder: &Path) -> Result<(Option<Parts>, Vec<PathBuf>)> {
        let files = names(folder)?.into_iter().filter(|name| name.ends_with(SUFFIX) && !is_temporary(name));
        let files: Vec<PathBuf> = files.map(|name| folder.join(name)).collect();
        let mut read = Vec::with_capacity(files.len());
        for file in &files {
            match fs::read(file) {
                Ok(bytes) => read.push(Parts::from_bytes(file, &bytes)?),
                // Another process merged it just now; what it merged it into is read by the next call.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                Err(e) => return Err(Core::io(file, e).into()),
            }
        }
        // A merge that was cut off left its parts beside the file that holds them: the largest first.
        read.sort_by_key(|parts| std::cmp::Reverse(parts.digests.len()));
        let mut all: Option<Parts> = None;
        for parts in read {
            match &mut all {
                None => all = Some(parts),
                Some(all) if parts.digests.is_subset(&all.digests) => {}
                Some(all) => {
                    all.profile.merge(&parts.profile)?;
                    all.digests.extend(parts.digests);
                }
            }
        }
        Ok((all, files))
    }

    /// Puts the parts of a day into one file.
    fn merge(&self, folder: &Path) -> Result<()> {
        let _guard = self.merging.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(all), files) = Self::parts(folder)? else { return Ok(()) };
        if files.len() <= PARTS_MAX {
            return Ok(());
        }
        let digests = all.digests.iter().map(|digest| digest.as_bytes().as_slice());
        let merged = folder.join(format!("{}{SUFFIX}", Digest::of_parts(digests)));
        write_bytes(&merged, &all.to_bytes())?;
        for file in files.iter().filter(|file| **file != merged) {
            match fs::remove_file(file) {
                Err(e) if e.kind() != ErrorKind::NotFound => return Err(Core::io(file, e).into()),
                _ => {}
            }
        }
        Ok(sync_dir(folder)?)
    }
}

impl Parts {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = vec![FORMAT];
        bytes.extend_from_slice(&(self.digests.len() as u32).to_le_bytes());
        self.digests.iter().for_each(|digest| bytes.extend_from_slice(digest.as_bytes()));
        bytes.extend_from_slice(&self.profile.to_bytes());
        bytes
    }

    fn from_bytes(file: &Path, bytes: &[u8]) -> Result<Self> {
        let cut_off = || Core::corrupt(file.display().to_string(), "it is no file of statistics");
        let (format, rest) = bytes.split_first().ok_or_else(cut_off)?;
        let (count, rest) = rest.split_at_checked(4).filter(|_| *format == FORMAT).ok_or_else(cut_off)?;
        let count = u32::from_le_bytes(count.try_into().map_err(|_| cut_off())?) as usize;
        let (digests, profile) =
            rest.split_at_checked(count.saturating_mul(size_of::<Digest>())).ok_or_else(cut_off)?;
        let digests = digests.chunks_exact(size_of::<Digest>()).map(|bytes| {
            let bytes: [u8; size_of::<Digest>()] = bytes.try_into().map_err(|_| cut_off())?;
            Ok(Digest::from_bytes(bytes))
        });
        let profile = Profile::from_bytes(profile).map_err(|e| Core::corrupt(file.display().to_string(), e))?;
        Ok(Self { digests: digests.collect::<Result<_>>()?, profile })
    }
}

impl StatisticsStore for FileStatistics {
    fn put(&self, view: &Name, day: Day, part: Digest, profile: &Profile) -> Result<()> {
        let folder = self.day(view, day);
        create_dir_all_synced(&folder)?;
        let (known, files) = Self::parts(&folder)?;
        if known.is_some_and(|known| known.digests.contains(&part)) {
            return Ok(());
        }
        let parts = Parts { digests: [part].into(), profile: profile.clone() };
        write_bytes(folder.join(format!("{part}{SUFFIX}")), &parts.to_bytes())?;
        if files.len() >= PARTS_MAX { self.merge(&folder) } else { Ok(()) }
    }

    fn days(&self, view: &Name) -> Result<Vec<Day>> {
        let mut days: Vec<Day> = names(&self.view(view))?.iter().filter_map(|name| name.parse().ok()).collect();
        days.sort_unstable();
        Ok(days)
    }

    fn read(&self, view: &Name, day: Day) -> Result<Option<Profile>> {
        Ok(Self::parts(&self.day(view, day))?.0.map(|parts| parts.profile))
    }
}

/// Names in `folder`; none when there is no such folder.
fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Core::io(folder, e).into()),
    };
    let name = |entry: std::io::Result<fs::DirEntry>| {
        Ok(entry.map_err(|e| Core::io(folder, e))?.file_name().to_string_lossy().into_owned())
    };
    entries.map(name).collect()
}
