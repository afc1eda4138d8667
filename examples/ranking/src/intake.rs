//! From raw files to data that can be trusted: mask, clean, validate, and a catalogue that remembers what was made of what.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mlops_core::arrow::array::RecordBatch;
use mlops_core::catalog::{CatalogExt, Entry, FileCatalog};
use mlops_core::clean::{Chain, Changes, FittedTransformExt, TransformExt};
use mlops_core::dataset::Provenance;
use mlops_core::privacy::{Audit, Detector, Policy, PseudonymKey};
use mlops_core::source::{DataSink, ParquetSink, ParquetSource};
use mlops_core::validate::{Report, RunOptions, Severity, Suite};
use mlops_core::{Dataset, Digest, EventTime, Name, Schema};
use serde_json::{Value, json};

use crate::Result;
use crate::progress::Progress;

/// Greatest share of rows that may be set aside before the data is refused as a whole.
const REJECTED_SHARE_MAX: f64 = 0.02;

/// Year in which identity numbers and birth years are judged.
const THIS_YEAR: i32 = 2_025;

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
}

/// Where data comes in.
#[derive(Debug)]
pub struct Intake<'a> {
    dir: PathBuf,
    catalog: FileCatalog,
    key: PseudonymKey,
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
            key: PseudonymKey::new(key(dir)?)?,
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

    /// Treats personal data as `policy` says.
    ///
    /// # Errors
    /// When the policy does not fit the data, or the disk fails.
    pub fn mask(&self, name: &str, from: &Named, policy: Policy) -> Result<Named> {
        self.register(from, "raw, with personal data")?;
        let detector = Detector::builder().today(THIS_YEAR).build()?;
        let sample = from.1.scan(&mlops_core::source::ScanRequest::all().limit(10_000))?;
        let plan = policy.plan(&detector, &Dataset::collect(sample)?.to_batch()?)?;
        let mut audit = Audit::default();
        let settings = json!({"policy": policy});
        let made = self.make(name, "mask", settings, &[from], |batch| {
            let (masked, found) = plan.apply(&detector, batch, Some(&self.key))?;
            audit.merge(&found);
            Ok(masked)
        })?;
        self.note(|report| report.masked.push((name.to_owned(), audit)));
        Ok(made)
    }

    /// Fits `chain` on the data and applies it.
    ///
    /// # Errors
    /// When the chain does not fit the data, or the disk fails.
    pub fn clean(&self, name: &str, from: &Named, chain: &Chain) -> Result<Named> {
        let fitted = chain.fit_shared(&from.1)?;
        let path = self.dir.join("data").join(format!("{name}.parquet"));
        let (_, changes) = fitted.write_to(&from.1, &ParquetSink::new(&path))?;
        self.note(|report| report.cleaned.push((name.to_owned(), changes)));
        let cleaned = Dataset::from_source(Arc::new(ParquetSource::open(&path)?))?;
        self.named(name, "clean", json!({"state": fitted.digest()?}), &[from], cleaned)
    }

    /// Runs `suite`: rows that do not fit are set aside, and the data is refused when there are many or a check of the whole
    /// table fails.
    ///
    /// # Errors
    /// [`mlops_core::Error::Rejected`] naming the checks.
    pub fn check(&self, name: &str, from: &Named, suite: Suite) -> Result<Named> {
        if from.1.provenance().is_none() {
            self.register(from, "raw")?;
        }
        let aside = ParquetSink::new(self.dir.join("data").join(format!("{name}.rejected.parquet")));
        let path = self.dir.join("data").join(format!("{name}.parquet"));
        let sink = ParquetSink::new(&path);
        let outcome = suite.run_with(&from.1, &RunOptions::new().quarantine(&aside as &dyn DataSink).passed(&sink))?;
        let report = outcome.report;
        let share = report.rejected_rows as f64 / report.rows.max(1) as f64;
        self.note(|all| all.checked.push((name.to_owned(), report.clone())));
        // A check that marks no rows is about the table: nothing can be set aside to mend it.
        let whole = report.failures(Severity::Error).any(|finding| finding.failed_rows == 0);
        if whole || share > REJECTED_SHARE_MAX {
            report.gate(Severity::Error)?;
        }
        let passed = Dataset::from_source(Arc::new(ParquetSource::open(&path)?))?;
        let settings = serde_json::from_str(&suite.to_json()?)?;
        self.named(name, "validate", settings, &[from], passed)
    }

    /// Makes a data set of the rows of `from`, batch by batch; `with` is what else it is made of.
    ///
    /// # Errors
    /// Whatever `make` says, or when the disk fails.
    pub fn derive(
        &self,
        name: &str,
        from: &Named,
        with: &[&Named],
        make: impl FnMut(&RecordBatch) -> mlops_core::Result<RecordBatch>,
    ) -> Result<Named> {
        let parents: Vec<&Named> = std::iter::once(from).chain(with.iter().copied()).collect();
        self.make(name, "derive", json!({}), &parents, make)
    }

    fn make(
        &self,
        name: &str,
        operation: &str,
        settings: Value,
        parents: &[&Named],
        mut make: impl FnMut(&RecordBatch) -> mlops_core::Result<RecordBatch>,
    ) -> Result<Named> {
        let path = self.dir.join("data").join(format!("{name}.parquet"));
        let mut writer = None;
        for batch in parents[0].1.batches()? {
            let batch = make(&batch?)?;
            if writer.is_none() {
                writer = Some(ParquetSink::new(&path).begin(&Schema::new(batch.schema())?)?);
            }
            if let Some(writer) = &mut writer {
                writer.write(&batch)?;
            }
        }
        writer.ok_or_else(|| format!("`{}` has no rows to make `{name}` of", parents[0].0))?.commit()?;
        let made = Dataset::from_source(Arc::new(ParquetSource::open(&path)?))?;
        self.named(name, operation, settings, parents, made)
    }

    /// Writes `data` down under `name`, and registers it with what it was made of.
    ///
    /// # Errors
    /// When the disk fails.
    pub fn keep(&self, name: &str, operation: &str, settings: Value, parents: &[&Named], data: &Dataset) -> Result<Named> {
        let path = self.dir.join("data").join(format!("{name}.parquet"));
        data.write_to(&ParquetSink::new(&path))?;
        let made = Dataset::from_source(Arc::new(ParquetSource::open(&path)?))?;
        self.named(name, operation, settings, parents, made)
    }

    fn named(&self, name: &str, operation: &str, settings: Value, parents: &[&Named], data: Dataset) -> Result<Named> {
        let data = data.with_provenance(Provenance {
            parents: parents.iter().map(|(_, data)| data.digest()).collect::<Result<Vec<Digest>, _>>()?,
            operation: Name::new(operation)?,
            parameters: settings,
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            at: self.at,
        });
        let named = (name.to_owned(), data);
        self.register(&named, operation)?;
        self.step();
        Ok(named)
    }

    fn note(&self, change: impl FnOnce(&mut IntakeReport)) {
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
