//! Data sets that are made one from another, as one pipeline: what was made of the same data before is not made again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use mlops_core::arrow::array::RecordBatch;
use mlops_core::clean::{Chain, Clean, Transform};
use mlops_core::dataset::Provenance;
use mlops_core::pipeline::{Artifact, FnStep, Inputs, Pipeline, RunOptions, Step};
use mlops_core::privacy::{Detector, Guard, Plan, Policy};
use mlops_core::source::{BatchStream, DataSource, ParquetSink, ScanRequest, SourceInfo};
use mlops_core::time::ManualClock;
use mlops_core::validate::{Report, RunOptions as Checking, Severity, Suite};
use mlops_core::{Dataset, Digest, Error, Name, Schema};
use serde_json::{Value, json};

use crate::Result;
use crate::intake::{Intake, Named};

/// Greatest share of rows that may be set aside before the data is refused as a whole.
const REJECTED_SHARE_MAX: f64 = 0.02;

/// Year in which identity numbers and birth years are judged.
const THIS_YEAR: i32 = 2_025;

/// Rows that a masking plan is decided by.
const SAMPLE_ROWS: u64 = 10_000;

type Outcome<T> = mlops_core::Result<T>;

/// Makes rows of rows, each on its own.
pub type Make = dyn Fn(&RecordBatch) -> Outcome<RecordBatch> + Send + Sync;

/// What is to be made of what.
///
/// Raw data is read where it is and never copied into the folder of the pipeline: only its digest is. Every data set that is
/// made is kept there, with what was found on the way: plans and counts of masking, states and changes of cleaning, reports of
/// checks.
#[derive(Debug)]
pub struct Flow<'a> {
    intake: &'a Intake<'a>,
    name: String,
    raw: BTreeMap<String, Dataset>,
    steps: Vec<(Arc<dyn Step>, Vec<String>)>,
    made: Vec<Made>,
}

/// A data set that a step will make.
#[derive(Debug)]
struct Made {
    name: String,
    operation: &'static str,
    settings: Value,
    parents: Vec<String>,
    /// The step that tells what was found on the way, and what it tells of.
    told: Option<(String, Told)>,
}

#[derive(Clone, Copy, Debug)]
enum Told {
    Masked,
    Cleaned,
    Checked,
}

/// Where a step finds rows: raw ones are held by it, others come in.
#[derive(Clone, Debug)]
enum Rows {
    Raw(Dataset),
    Made(String),
}

impl Rows {
    fn of(&self, inputs: &Inputs) -> Outcome<Dataset> {
        match self {
            Self::Raw(data) => Ok(data.clone()),
            Self::Made(name) => inputs.get(name)?.as_dataset().cloned(),
        }
    }
}

impl<'a> Flow<'a> {
    /// Nothing as yet; `name` is that of the pipeline and of its folder.
    pub fn new(intake: &'a Intake<'a>, name: &str) -> Self {
        Self { intake, name: name.to_owned(), raw: BTreeMap::new(), steps: Vec::new(), made: Vec::new() }
    }

    /// Takes in data from outside and registers it.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn raw(&mut self, data: &Named, description: &str) -> Result<()> {
        self.intake.register(data, description)?;
        let (name, data) = data.clone();
        let content = data.digest()?;
        self.function(&name, &content.to_string(), &[], move |_| Ok(json!({ "content": content }).into()))?;
        self.raw.insert(name, data);
        Ok(())
    }

    /// Treats personal data of `from` as `policy` says.
    ///
    /// # Errors
    /// When a name is no name. What the policy says of the data comes out of [`run`](Self::run).
    pub fn mask(&mut self, name: &str, from: &str, policy: Policy) -> Result<()> {
        let (rows, key) = (self.rows(from), self.intake.key());
        let settings = json!({"policy": policy, "year": THIS_YEAR});
        let (plan, audit) = (format!("{name}.plan"), format!("{name}.audit"));
        let sampled = rows.clone();
        self.function(&plan, &settings.to_string(), &[from], move |inputs| {
            let sample = sampled.of(inputs)?.scan(&ScanRequest::all().limit(SAMPLE_ROWS))?;
            json_of(&policy.plan(&detector()?, &Dataset::collect(sample)?.to_batch()?)?)
        })?;
        // Another key gives other tokens.
        let version = key.token(None, name);
        let guard = {
            let plan = plan.clone();
            move |inputs: &Inputs| {
                let plan: Plan = read(inputs, &plan)?;
                Guard::new(Arc::new(rows.of(inputs)?), plan, Arc::new(detector()?), Some(key.clone()))
            }
        };
        let masked = guard.clone();
        self.function(name, &version, &[from, &plan], move |inputs| {
            Ok(Dataset::from_source(Arc::new(masked(inputs)?))?.into())
        })?;
        self.function(&audit, &version, &[from, &plan], move |inputs| {
            let guard = guard(inputs)?;
            guard.scan(&ScanRequest::all())?.try_for_each(|batch| batch.map(drop))?;
            json_of(&guard.audit())
        })?;
        self.makes(name, "mask", settings, &[from], Some((audit, Told::Masked)));
        Ok(())
    }

    /// Fits `chain` on the data set that the step `from` makes, and applies it.
    ///
    /// # Errors
    /// When a name is no name. What the chain says of the data comes out of [`run`](Self::run).
    pub fn clean(&mut self, name: &str, from: &str, chain: Chain) -> Result<()> {
        let (fit, changes) = (format!("{name}.fit"), format!("{name}.changes"));
        let settings = json!({"settings": chain.settings()?});
        let (own, fitted, rows) = (Name::new(name)?, Name::new(&fit)?, Name::new(from)?);
        let report = Clean::report(Name::new(&changes)?, fitted.clone(), rows.clone());
        for step in [Clean::fit(fitted.clone(), chain, rows.clone())?, Clean::apply(own, fitted, rows), report] {
            let after = step.inputs().into_iter().map(str::to_owned).collect();
            self.steps.push((Arc::new(step), after));
        }
        self.makes(name, "clean", settings, &[from], Some((changes, Told::Cleaned)));
        Ok(())
    }

    /// Runs `suite` on `from`: rows that do not fit are set aside, and the data is refused when there are many or a check of the
    /// whole table fails.
    ///
    /// # Errors
    /// When a name is no name. A refusal comes out of [`run`](Self::run).
    pub fn check(&mut self, name: &str, from: &str, suite: Suite) -> Result<()> {
        let rows = self.rows(from);
        let report = format!("{name}.report");
        let settings: Value = serde_json::from_str(&suite.to_json()?)?;
        let aside = self.intake.folder("data")?.join(format!("{name}.rejected.parquet"));
        let version = format!("1 {REJECTED_SHARE_MAX} {settings}");
        let (checked, checks) = (rows.clone(), suite.clone());
        self.function(&report, &version, &[from], move |inputs| {
            let aside = ParquetSink::new(&aside);
            let report = checks.run_with(&checked.of(inputs)?, &Checking::new().quarantine(&aside))?.report;
            accept(&report)?;
            json_of(&report)
        })?;
        // What was refused has no rows that passed.
        self.function(name, &version, &[from, &report], move |inputs| Ok(suite.passing(&rows.of(inputs)?)?.into()))?;
        self.makes(name, "validate", settings, &[from], Some((report, Told::Checked)));
        Ok(())
    }

    /// Makes rows of the rows of `from`, batch by batch, each on its own, by what `prepare` says of the data sets `with`, which come
    /// in this order. `version` changes whenever `prepare` or what it captured does.
    ///
    /// # Errors
    /// When a name is no name. What `prepare` says comes out of [`run`](Self::run).
    pub fn derive(
        &mut self,
        name: &str,
        from: &str,
        with: &[&str],
        version: &str,
        prepare: impl Fn(&[Dataset]) -> Outcome<Arc<Make>> + Send + Sync + 'static,
    ) -> Result<()> {
        let (rows, beside) = (self.rows(from), with.iter().map(|name| self.rows(name)).collect::<Vec<_>>());
        let parents: Vec<&str> = std::iter::once(from).chain(with.iter().copied()).collect();
        self.function(name, version, &parents, move |inputs| {
            let with = beside.iter().map(|rows| rows.of(inputs)).collect::<Outcome<Vec<_>>>()?;
            let derived = Derived::new(rows.of(inputs)?, prepare(&with)?)?;
            Ok(Dataset::from_source(Arc::new(derived))?.into())
        })?;
        self.makes(name, "derive", json!({"version": version}), &parents, None);
        Ok(())
    }

    /// Makes what was not made before, registers everything with what it was made of, and gives it by name.
    ///
    /// # Errors
    /// Whatever keeps a step from its data set, such as [`mlops_core::Error::Rejected`] naming the checks.
    pub fn run(self) -> Result<BTreeMap<String, Named>> {
        let steps = self.steps.iter().fold(Pipeline::builder(&self.name), |pipeline, (step, after)| {
            pipeline.step(step.clone(), &after.iter().map(String::as_str).collect::<Vec<_>>())
        });
        let options = RunOptions::default().clock(Arc::new(ManualClock::at(self.intake.at())));
        let run = steps.build()?.run(self.intake.folder("intake")?.join(&self.name), &options)?.ok()?;
        self.intake.note(|report| report.ran += run.report().ran() as u64);
        let mut known: BTreeMap<String, Named> =
            self.raw.iter().map(|(name, data)| (name.clone(), (name.clone(), data.clone()))).collect();
        for made in &self.made {
            if let Some((step, told)) = &made.told {
                let found = run.artifact(step)?.as_json()?.clone();
                self.tell(&made.name, *told, found)?;
            }
            let parent =
                |name: &String| known.get(name).ok_or_else(|| Error::not_found("data set", name.as_str()))?.1.digest();
            let parents: Vec<Digest> = made.parents.iter().map(parent).collect::<Outcome<_>>()?;
            let data = run.artifact(&made.name)?.as_dataset()?.clone().with_provenance(Provenance {
                parents,
                operation: Name::new(made.operation)?,
                parameters: made.settings.clone(),
                code_version: env!("CARGO_PKG_VERSION").to_owned(),
                at: self.intake.at(),
            });
            let named = (made.name.clone(), data);
            self.intake.register(&named, made.operation)?;
            self.intake.step();
            known.insert(made.name.clone(), named);
        }
        Ok(known)
    }

    fn tell(&self, name: &str, told: Told, found: Value) -> Result<()> {
        let name = name.to_owned();
        match told {
            Told::Masked => {
                let audit = serde_json::from_value(found)?;
                self.intake.note(|report| report.masked.push((name, audit)));
            }
            Told::Cleaned => {
                let changes = serde_json::from_value(found)?;
                self.intake.note(|report| report.cleaned.push((name, changes)));
            }
            Told::Checked => {
                let checked = serde_json::from_value(found)?;
                self.intake.note(|report| report.checked.push((name, checked)));
            }
        }
        Ok(())
    }

    fn rows(&self, name: &str) -> Rows {
        self.raw.get(name).map_or_else(|| Rows::Made(name.to_owned()), |data| Rows::Raw(data.clone()))
    }

    fn function(
        &mut self,
        name: &str,
        version: &str,
        after: &[&str],
        body: impl Fn(&Inputs) -> Outcome<Artifact> + Send + Sync + 'static,
    ) -> Result<()> {
        let version = format!("{} {version}", env!("CARGO_PKG_VERSION"));
        let step = FnStep::new(name, version, move |inputs, _| body(inputs))?;
        self.steps.push((Arc::new(step), after.iter().map(|&name| name.to_owned()).collect()));
        Ok(())
    }

    fn makes(
        &mut self,
        name: &str,
        operation: &'static str,
        settings: Value,
        parents: &[&str],
        told: Option<(String, Told)>,
    ) {
        let parents = parents.iter().map(|&name| name.to_owned()).collect();
        self.made.push(Made { name: name.to_owned(), operation, settings, parents, told });
    }
}

fn detector() -> Outcome<Detector> {
    Detector::builder().today(THIS_YEAR).build()
}

fn json_of(value: &impl serde::Serialize) -> Outcome<Artifact> {
    serde_json::to_value(value).map(Artifact::Json).map_err(|e| Error::invalid_data("output of intake", e))
}

fn read<T: serde::de::DeserializeOwned>(inputs: &Inputs, step: &str) -> Outcome<T> {
    let found = inputs.get(step)?.as_json()?.clone();
    serde_json::from_value(found).map_err(|e| Error::invalid_data(format!("output of step `{step}`"), e))
}

/// Lets few bad rows pass by, which are set aside, and nothing that is wrong with the whole.
fn accept(report: &Report) -> Outcome<()> {
    let share = report.rejected_rows as f64 / report.rows.max(1) as f64;
    // A check that marks no rows is about the table: nothing can be set aside to mend it.
    let whole = report.failures(Severity::Error).any(|finding| finding.failed_rows == 0);
    if whole || share > REJECTED_SHARE_MAX { report.gate(Severity::Error) } else { Ok(()) }
}

/// Rows that are made of others whenever they are read.
struct Derived {
    rows: Dataset,
    make: Arc<Make>,
    schema: Schema,
}

impl Derived {
    fn new(rows: Dataset, make: Arc<Make>) -> Outcome<Self> {
        let none = RecordBatch::new_empty(rows.schema().arrow().clone());
        let schema = Schema::new(make(&none)?.schema())?;
        Ok(Self { rows, make, schema })
    }
}

impl fmt::Debug for Derived {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Derived").field("rows", &self.rows).finish_non_exhaustive()
    }
}

impl DataSource for Derived {
    fn info(&self) -> Outcome<SourceInfo> {
        Ok(SourceInfo::new("derived", self.rows.info()?.location))
    }

    fn schema(&self) -> Outcome<Schema> {
        Ok(self.schema.clone())
    }

    fn scan(&self, request: &ScanRequest) -> Outcome<BatchStream> {
        let make = self.make.clone();
        let made = self.rows.batches()?.map(move |batch| make(&batch?));
        request.finish(BatchStream::new(self.schema.clone(), made))
    }
}
