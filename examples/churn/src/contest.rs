//! Three trainers, one alias: each model is trained, measured, registered, and held against the gate and the champion.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use mlops_core::metrics::calibration_bins;
use mlops_core::model::Model;
use mlops_core::{Clock, Dataset, Error, Name, Result, SystemClock};
use mlops_registry::SqliteStore;
use mlops_registry::artifact::FileArtifacts;
use mlops_registry::flavor::Flavors;
use mlops_registry::gbdt::{GbdtParams, Objective};
use mlops_registry::run::{Metric, NewRun, RunId, RunInput, RunLog, RunStatus, RunStore};
use mlops_registry::train::linfa::{DecisionTreeTrainer, LogisticTrainer};
use mlops_registry::train::{GbdtTrainer, TrainData, Trained, Trainer};
use mlops_registry::version::{Gate, GateFinding, NewModel, Promotion, PromotionRequest, Registry, Rule};

use crate::figures::Reloaded;
use crate::measure::{Measured, measure, scores};

/// Who writes in the registry's history.
const BY: &str = "churn program";
/// Bins of the reliability diagram that goes along with a model.
const CALIBRATION_BINS: usize = 10;

/// One model's way through the contest.
#[derive(Debug)]
pub(crate) struct Entry {
    /// Name of the algorithm.
    pub(crate) algorithm: &'static str,
    /// Number of the version.
    pub(crate) version: u32,
    /// The run that made it.
    pub(crate) run: RunId,
    /// What was measured.
    pub(crate) measured: Measured,
    /// Why the gate refused it; empty when the alias moved.
    pub(crate) refusals: Vec<String>,
    /// The features that matter most to it.
    pub(crate) top_features: Vec<String>,
}

impl Entry {
    pub(crate) fn is_promoted(&self) -> bool {
        self.refusals.is_empty()
    }
}

/// The stores and the rules.
#[derive(Debug)]
pub(crate) struct Contest {
    runs: Arc<SqliteStore>,
    registry: Registry,
    model: Name,
    alias: Name,
    gate: Gate,
    validation: Vec<u8>,
    clock: SystemClock,
}

impl Contest {
    /// Opens the stores in `folder`; `validation` is the report that goes along with every model.
    pub(crate) fn open(folder: &Path, validation: Vec<u8>) -> Result<Self> {
        let store = Arc::new(SqliteStore::open(folder.join("registry.db"))?);
        let artifacts = Arc::new(FileArtifacts::open(folder.join("artifacts"))?);
        Ok(Self {
            runs: store.clone(),
            registry: Registry::new(store, artifacts, Flavors::all()),
            model: Name::new("churn")?,
            alias: Name::new("production")?,
            gate: gate()?,
            validation,
            clock: SystemClock,
        })
    }

    /// Lets every trainer take part, in order; a later one must not be worse than the champion before it.
    pub(crate) fn hold(
        &self,
        learn: &Dataset,
        judge: &Dataset,
        say: &mut dyn FnMut(String) -> Result<()>,
    ) -> Result<Vec<Entry>> {
        let data = TrainData::builder(learn.clone()).build()?;
        let labels = crate::labels(learn)?;
        // Whoever is more likely to leave than the average customer gets a call.
        let threshold = labels.iter().sum::<f64>() / labels.len().max(1) as f64;
        let mut entries = Vec::new();
        for trainer in trainers()? {
            let entry = self.enter(trainer.as_ref(), &data, judge, threshold)?;
            say(told(&entry))?;
            entries.push(entry);
        }
        Ok(entries)
    }

    fn enter(&self, trainer: &dyn Trainer, data: &TrainData, judge: &Dataset, threshold: f64) -> Result<Entry> {
        let run = self.runs.begin(&self.new_run(trainer, data, judge)?)?;
        let outcome = self.train(&run, trainer, data, judge, threshold);
        let status = if outcome.is_ok() { RunStatus::Finished } else { RunStatus::Failed };
        self.runs.end(&run, status, self.clock.now())?;
        let (trained, measured) = outcome?;
        let version = self.register(&run, &trained, data, judge, &measured)?;
        let promotion = self.registry.promote(&PromotionRequest {
            model: self.model.clone(),
            alias: self.alias.clone(),
            candidate: version,
            gate: self.gate.clone(),
            evidence: None,
            by: BY.to_owned(),
            at: self.clock.now(),
        })?;
        let refusals = match &promotion {
            Promotion::Promoted { .. } => Vec::new(),
            Promotion::Refused { judgement, .. } => {
                judgement.findings.iter().filter(|finding| !finding.passed).map(reason).collect()
            }
        };
        let top_features = trained.importance.iter().take(5).map(|(name, _)| name.clone()).collect();
        Ok(Entry { algorithm: trainer.algorithm(), version, run, measured, refusals, top_features })
    }

    fn new_run(&self, trainer: &dyn Trainer, data: &TrainData, judge: &Dataset) -> Result<NewRun> {
        let input = |role, data: &Dataset| Ok::<_, Error>(RunInput { role: Name::new(role)?, digest: data.digest()? });
        Ok(NewRun {
            experiment: Name::new("churn")?,
            name: trainer.algorithm().to_owned(),
            parent: None,
            inputs: vec![input("train", data.rows())?, input("judge", judge)?],
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            started: self.clock.now(),
        })
    }

    /// Trains and measures, and logs both.
    fn train(
        &self,
        run: &RunId,
        trainer: &dyn Trainer,
        data: &TrainData,
        judge: &Dataset,
        threshold: f64,
    ) -> Result<(Trained, Measured)> {
        let settings = trainer.settings()?;
        let params = settings.as_object().into_iter().flatten().map(|(key, value)| (key.clone(), value.to_string()));
        self.runs.log(run, &RunLog { params: params.collect(), ..RunLog::default() })?;
        let trained = trainer.train(data, &mut |_| ControlFlow::Continue(()))?;
        let measured = measure(trained.model.as_ref(), judge, threshold)?;
        let at = self.clock.now();
        let metric = |(key, value): (&String, &f64)| Metric { key: key.clone(), value: *value, step: 0, at };
        let metrics = measured.metrics.iter().map(metric).collect();
        self.runs.log(run, &RunLog { metrics, ..RunLog::default() })?;
        Ok((trained, measured))
    }

    fn register(
        &self,
        run: &RunId,
        trained: &Trained,
        data: &TrainData,
        judge: &Dataset,
        measured: &Measured,
    ) -> Result<u32> {
        let bins = calibration_bins(&crate::labels(judge)?, &measured.scores, CALIBRATION_BINS)?;
        let bins = serde_json::to_vec(&bins).map_err(|e| Error::invalid_data("calibration", e))?;
        let version = self.registry.register(NewModel {
            name: self.model.clone(),
            model: trained.model.as_ref(),
            run: Some(run.clone()),
            trained_on: vec![data.rows().digest()?],
            metrics: measured.metrics.clone(),
            files: BTreeMap::from([
                ("validation.html".to_owned(), self.validation.clone()),
                ("calibration.json".to_owned(), bins),
            ]),
            tags: BTreeMap::new(),
            by: BY.to_owned(),
            at: self.clock.now(),
        })?;
        Ok(version.number)
    }

    /// Loads what the alias points to, as a service would, and compares what it predicts with what was measured.
    ///
    /// # Errors
    /// [`Error::Corrupt`] when a model of this contest predicts something else once it is loaded.
    pub(crate) fn reload(&self, entries: &[Entry], judge: &Dataset) -> Result<Reloaded> {
        if self.registry.versions().alias(&self.model, &self.alias)?.is_none() {
            return Ok(Reloaded::default());
        }
        let loaded = self.registry.load_alias(&self.model, &self.alias)?;
        let version = loaded.version.number;
        let again = scores(loaded.model.as_ref() as &dyn Model, &judge.to_batch()?)?;
        let entry = entries.iter().find(|entry| entry.version == version);
        let is_equal = entry.map(|entry| {
            entry.measured.scores.iter().map(|s| s.to_bits()).eq(again.iter().map(|score| score.to_bits()))
        });
        if is_equal == Some(false) {
            let reason = "once loaded, it predicts something else than it did when it was trained";
            return Err(Error::corrupt(format!("model {}/{version}", self.model), reason));
        }
        Ok(Reloaded { version: Some(version), is_equal })
    }
}

/// What a model must show. A metric that is missing, such as a rate of a group that is too small, fails its demand.
fn gate() -> Result<Gate> {
    let at_least = |metric: &str, bound| Rule::AtLeast { metric: metric.to_owned(), bound };
    let at_most = |metric: &str, bound| Rule::AtMost { metric: metric.to_owned(), bound };
    Ok(Gate::new()
        .demand("quality", at_least("auc", 0.78))?
        .demand("calibration", at_most("calibration_error", 0.06))?
        .demand("no_worse_than_champion", Rule::NotLower { metric: "auc".to_owned(), tolerance: 0.0 })?
        .demand("fair_to_both_genders", at_most("gender_recall_gap", 0.1))?
        .demand("fair_to_seniors", at_most("senior_recall_gap", 0.25))?)
}

fn trainers() -> Result<[Box<dyn Trainer>; 3]> {
    let boosted = GbdtParams::builder(Objective::Binary).rounds(150).learning_rate(0.05).leaves_max(15);
    Ok([
        Box::new(DecisionTreeTrainer::builder().depth_max(5).rows_leaf_min(50.0).build()?),
        Box::new(LogisticTrainer::builder().build()?),
        Box::new(GbdtTrainer::new(boosted.rows_leaf_min(30).build()?)),
    ])
}

fn reason(finding: &GateFinding) -> String {
    let of = |value: Option<f64>| value.map_or_else(|| "missing".to_owned(), |value| format!("{value:.4}"));
    let (candidate, champion) = (of(finding.candidate), of(finding.champion));
    let why = match &finding.rule {
        Rule::AtLeast { metric, bound } => format!("{metric} is {candidate}, at least {bound} is demanded"),
        Rule::AtMost { metric, bound } => format!("{metric} is {candidate}, at most {bound} is demanded"),
        Rule::NotLower { metric, .. } | Rule::NotHigher { metric, .. } => {
            format!("{metric} is {candidate}, the champion has {champion}")
        }
        other => format!("{other:?} does not hold for {candidate}"),
    };
    format!("{}: {why}", finding.demand)
}

fn told(entry: &Entry) -> String {
    let metric = |key: &str| entry.measured.metrics.get(key).copied().unwrap_or(f64::NAN);
    let verdict = match entry.refusals.as_slice() {
        [] => "promoted".to_owned(),
        reasons => format!("refused ({})", reasons.join("; ")),
    };
    format!(
        "{:<14} version {:>2}  AUC {:.4}  log loss {:.4}  calibration error {:.4}  {verdict}",
        entry.algorithm,
        entry.version,
        metric("auc"),
        metric("log_loss"),
        metric("calibration_error"),
    )
}
