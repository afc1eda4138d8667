//! Runs, versions and aliases in SQLite over artifacts in files, from two threads that move one alias.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use mlops_core::model::{Input, Model, Signature, ValueType};
use mlops_core::{EventTime, Name};
use mlops_registry::artifact::{ArtifactStoreExt, FileArtifacts};
use mlops_registry::flavor::{Flavors, LinearModel};
use mlops_registry::forest::Link;
use mlops_registry::run::{Metric, NewRun, PAGE_MAX, Run, RunId, RunLog, RunQuery, RunStatus, RunStore};
use mlops_registry::version::{Gate, ModelVersion, NewModel, PromotionRequest, Registry};
use mlops_registry::{Error, SqliteStore};

use super::{Asked, Store, Surface};
use crate::Result;
use crate::token::Token;

/// Largest file beside a model.
const REPORT_BYTES_MAX: usize = 60_000;
/// Points that each run logs, in one go.
const POINTS: i64 = 7;
/// How often a promotion is tried again that another thread was faster at.
const PROMOTE_TRIES: usize = 1_000;

/// `mlops_registry::{SqliteStore, version::Registry}`.
#[derive(Debug)]
pub struct Versions;

impl Surface for Versions {
    fn name(&self) -> &'static str {
        "registry"
    }

    fn writers(&self) -> u32 {
        2
    }

    fn open(&self, dir: &Path) -> Result<Box<dyn Store>> {
        let rows = Arc::new(SqliteStore::open(dir.join("registry.db"))?);
        let artifacts = Arc::new(FileArtifacts::open(dir.join("artifacts"))?);
        let registry = Registry::new(rows.clone(), artifacts, Flavors::all());
        Ok(Box::new(Open { runs: rows, registry, model: Name::new("torture")?, shared: Name::new("production")? }))
    }
}

struct Open {
    runs: Arc<dyn RunStore>,
    registry: Registry,
    model: Name,
    /// The alias that all threads move.
    shared: Name,
}

/// A model that says which token it is of.
fn model(token: Token) -> Result<LinearModel> {
    let input = |name: &str| Input { name: name.to_owned(), value_type: ValueType::Float, nullable: false };
    let signature = Signature {
        inputs: vec![input("run"), input("writer")],
        output: "score".to_owned(),
        output_type: ValueType::Float,
    };
    let coefficients = vec![f64::from(token.run), f64::from(token.writer)];
    Ok(LinearModel::new(signature, coefficients, token.number as f64, Link::Identity)?)
}

fn own_alias(token: Token) -> Result<Name> {
    Ok(Name::new(format!("writer{}", token.writer))?)
}

fn log(token: Token) -> RunLog {
    let point = |step| Metric {
        key: "loss".to_owned(),
        value: token.random(step as u64) as f64,
        step,
        at: EventTime::from_secs(step),
    };
    RunLog {
        metrics: (0..POINTS).map(point).collect(),
        params: [("token".to_owned(), token.to_string())].into(),
        tags: BTreeMap::new(),
    }
}

impl Open {
    fn promote(&self, alias: &Name, candidate: u32) -> Result<()> {
        let request = PromotionRequest {
            model: self.model.clone(),
            alias: alias.clone(),
            candidate,
            gate: Gate::new(),
            evidence: None,
            by: "torture".to_owned(),
            at: EventTime::EPOCH,
        };
        for _ in 0..PROMOTE_TRIES {
            match self.registry.promote(&request) {
                Ok(promotion) if promotion.promoted() => return Ok(()),
                Ok(_) => return Err("an open gate refused".into()),
                Err(Error::Core(mlops_core::Error::Conflict { .. })) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(format!("alias {alias} was moved by others {PROMOTE_TRIES} times").into())
    }

    fn begin(&self, token: Token) -> Result<RunId> {
        Ok(self.runs.begin(&NewRun {
            experiment: self.model.clone(),
            name: token.to_string(),
            parent: None,
            inputs: vec![],
            code_version: "1".to_owned(),
            started: EventTime::from_secs(token.number as i64),
        })?)
    }

    /// All runs, by token; a run that was ended or logged to must hold all that its log said.
    fn runs(&self, asked: &Asked) -> Result<BTreeMap<Token, Run>> {
        let mut runs = BTreeMap::new();
        let mut query = RunQuery { limit: PAGE_MAX, ..RunQuery::default() };
        loop {
            let page = self.runs.search(&query)?;
            let Some(last) = page.last() else { return Ok(runs) };
            query.after = Some((last.begun.started, last.id.clone()));
            for run in page {
                let token: Token = run.begun.name.parse()?;
                asked.ensure(token)?;
                let said = log(token);
                let points = self.runs.history(&run.id, "loss")?;
                let logged = points == said.metrics && run.params == said.params;
                let untouched = points.is_empty() && run.params.is_empty() && run.status == RunStatus::Running;
                if !logged && !untouched {
                    return Err(format!("the run of {token} is torn").into());
                }
                if runs.insert(token, run).is_some() {
                    return Err(format!("{token} has two runs").into());
                }
            }
        }
    }

    /// Reads every byte of a version and gives the token that it is of.
    fn check_version(&self, version: &ModelVersion, asked: &Asked) -> Result<Token> {
        let number = version.number;
        let token: Token = version.made.tags.get("token").ok_or("a version without a token")?.parse()?;
        asked.ensure(token)?;
        let failed = |e: Error| format!("version {number} of {token}: {e}");
        let manifest = self.registry.artifacts().verify_manifest(&version.made.manifest).map_err(failed)?;
        let loaded = self.registry.load(&self.model, number).map_err(failed)?;
        let report = self.registry.artifacts().get(&manifest.entry("report")?.digest, 1 << 20).map_err(failed)?;
        let right =
            loaded.model.to_bytes()? == model(token)?.to_bytes()? && report == token.bytes(30, REPORT_BYTES_MAX);
        if right { Ok(token) } else { Err(format!("version {number} has not the bytes of {token}").into()) }
    }

    /// Checks that the moves of an alias are one chain of versions that exist, and gives their tokens.
    fn moves(&self, alias: &Name, versions: &BTreeMap<u32, Token>) -> Result<BTreeSet<Token>> {
        let mut at = None;
        let mut tokens = BTreeSet::new();
        for step in self.registry.versions().history(&self.model, alias)? {
            if step.expected != at {
                return Err(format!("alias {alias} moved from {:?} while it was at {at:?}", step.expected).into());
            }
            tokens.insert(*versions.get(&step.to).ok_or_else(|| format!("alias {alias} moved to no version"))?);
            at = Some(step.to);
        }
        if self.registry.versions().alias(&self.model, alias)? != at {
            return Err(format!("alias {alias} is not where its last move went").into());
        }
        if at.is_some() {
            self.registry.load_alias(&self.model, alias)?;
        }
        Ok(tokens)
    }
}

impl Store for Open {
    fn write(&self, token: Token) -> Result<()> {
        let run = self.begin(token)?;
        self.runs.log(&run, &log(token))?;
        let version = self.registry.register(NewModel {
            name: self.model.clone(),
            model: &model(token)?,
            run: Some(run.clone()),
            trained_on: vec![],
            metrics: BTreeMap::new(),
            files: [("report".to_owned(), token.bytes(30, REPORT_BYTES_MAX))].into(),
            tags: [("token".to_owned(), token.to_string())].into(),
            by: "torture".to_owned(),
            at: EventTime::EPOCH,
        })?;
        for alias in [self.shared.clone(), own_alias(token)?] {
            self.promote(&alias, version.number)?;
            // Whatever others did meanwhile: an alias always points to a version that can be served.
            self.registry.load_alias(&self.model, &alias)?;
        }
        self.runs.end(&run, RunStatus::Finished, EventTime::from_secs(POINTS))?;
        Ok(())
    }

    fn present(&self, asked: &Asked) -> Result<BTreeSet<Token>> {
        let runs = self.runs(asked)?;
        let mut versions = BTreeMap::new();
        for (at, version) in self.registry.versions().versions(&self.model)?.iter().enumerate() {
            if version.number as usize != at + 1 {
                return Err(format!("version {} stands where {} should", version.number, at + 1).into());
            }
            versions.insert(version.number, self.check_version(version, asked)?);
        }
        let shared = self.moves(&self.shared, &versions)?;
        let mut own = BTreeSet::new();
        for writer in 0..Versions.writers() {
            own.extend(self.moves(&own_alias(Token { run: 1, writer, number: 1 })?, &versions)?);
        }
        let ended = |token: &Token| runs.get(token).is_some_and(|run| run.status == RunStatus::Finished);
        Ok(asked.all().into_iter().filter(|t| shared.contains(t) && own.contains(t) && ended(t)).collect())
    }
}
