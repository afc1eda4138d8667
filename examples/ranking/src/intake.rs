//! From raw files to data that can be trusted: a catalogue that remembers what was made of what, and [`Flow`]s that mask, clean and
//! check.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mlops_core::catalog::{CatalogExt, Entry, FileCatalog};
use mlops_core::clean::Changes;
use mlops_core::dataset::Provenance;
use mlops_core::privacy::{Audit, PseudonymKey};
use mlops_core::source::{ParquetSink, ParquetSource};
use mlops_core::validate::Report;
use mlops_core::{Dataset, Digest, EventTime, Name};
use serde_json::Value;

use crate::Result;
use crate::flow::Flow;
use crate::progress::Progress;

/// A data set under the name that the catalogue has for it.
pub type Named = (String, Dataset);

/// What intake did, for the report.
#[derive(Clone, Debug, Default)]
pub struct IntakeReport {
    /// What masking did, by data set.
    pub masked: Vec<(String, Audit)>,
    /// What validation found, by data set.
    pub checked: Vec<(String, Report)>,
    /// What cleaning changed, by data set.
    pub cleaned: Vec<(String, Changes)>,
    /// Steps that ran; what was made of the same data before is not made again.
    pub ran: u64,
}

/// Where data comes in.
#[derive(Debug)]
pub struct Intake<'a> {
    dir: PathBuf,
    catalog: FileCatalog,
    key: Arc<PseudonymKey>,
    at: EventTime,
    progress: &'a Progress,
    report: std::sync::Mutex<IntakeReport>,
}

impl<'a> Intake<'a> {
    /// Data comes into the folder `dir` at the instant `at`.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn open(dir: &Path, at: EventTime, progress: &'a Progress) -> Result<Self> {
        fs::create_dir_all(dir.join("data")).map_err(|e| mlops_core::Error::io(dir, e))?;
        Ok(Self {
            dir: dir.to_owned(),
            catalog: FileCatalog::open(dir.join("catalog"))?,
            key: Arc::new(PseudonymKey::new(key(dir)?)?),
            at,
            progress,
            report: std::sync::Mutex::default(),
        })
    }

    /// What is known of all data sets.
    pub fn catalog(&self) -> &FileCatalog {
        &self.catalog
    }

    /// What was done so far.
    pub fn report(&self) -> IntakeReport {
        self.report.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone()
    }

    /// The key of tokens.
    pub(crate) fn key(&self) -> Arc<PseudonymKey> {
        self.key.clone()
    }

    /// When data comes in.
    pub(crate) fn at(&self) -> EventTime {
        self.at
    }

    /// A folder of its own, made if need be.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.dir.join(name);
        fs::create_dir_all(&folder).map_err(|e| mlops_core::Error::io(&folder, e))?;
        Ok(folder)
    }

    /// A stage of `steps` steps begins.
    pub fn stage(&self, name: &str, steps: u64) {
        self.progress.stage(name, steps);
    }

    /// One step is done.
    pub fn step(&self) {
        self.progress.step();
    }

    /// Registers data that came from outside.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn register(&self, data: &Named, description: &str) -> Result<()> {
        let entry = Entry::of(Name::new(&data.0)?, "ranking", &data.1, self.at)?.with_description(description);
        self.catalog.register(&entry)?;
        Ok(())
    }

    /// What is to be made of raw data, as the pipeline `name`.
    pub fn flow(&self, name: &str) -> Flow<'_> {
        Flow::new(self, name)
    }

    /// Writes `data` down under `name`, and registers it with what it was made of.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn keep(
        &self,
        name: &str,
        operation: &str,
        settings: Value,
        parents: &[&Named],
        data: &Dataset,
    ) -> Result<Named> {
        let path = self.dir.join("data").join(format!("{name}.parquet"));
        data.write_to(&ParquetSink::new(&path))?;
        let made = Dataset::from_source(Arc::new(ParquetSource::open(&path)?))?;
        let made = made.with_provenance(Provenance {
            parents: parents.iter().map(|(_, data)| data.digest()).collect::<Result<Vec<Digest>, _>>()?,
            operation: Name::new(operation)?,
            parameters: settings,
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            at: self.at,
        });
        let named = (name.to_owned(), made);
        self.register(&named, operation)?;
        self.step();
        Ok(named)
    }

    /// Adds to what was done.
    pub(crate) fn note(&self, change: impl FnOnce(&mut IntakeReport)) {
        change(&mut self.report.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
    }
}

/// The secret behind tokens: made once from the system's randomness, kept beside the data of this example. A host keeps it apart.
fn key(dir: &Path) -> Result<Vec<u8>> {
    let path = dir.join("pseudonym.key");
    if let Ok(bytes) = fs::read(&path) {
        return Ok(bytes);
    }
    let mut bytes = vec![0_u8; 32];
    let mut random = fs::File::open("/dev/urandom").map_err(|e| mlops_core::Error::io("/dev/urandom", e))?;
    std::io::Read::read_exact(&mut random, &mut bytes).map_err(|e| mlops_core::Error::io("/dev/urandom", e))?;
    mlops_core::file::write_bytes(&path, &bytes)?;
    Ok(bytes)
}
