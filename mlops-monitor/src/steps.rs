//! Monitoring as steps of a pipeline.
//!
//! [`ReferenceProfile`] → [`DriftGate`] → [`RetrainDecision`]. A gate gives its finding as JSON, so that later steps and
//! reports can read it; one that [refuses](DriftGateBuilder::refuse) stops what depends on it, with
//! [`Error::Rejected`], which pipelines do not try again. All three depend on nothing but inputs and settings: what is to
//! be decided "now" comes in as data, and is decided anew when that changes.

use std::sync::Arc;

use mlops_core::pipeline::{Artifact, Inputs, Step, StepContext};
use mlops_core::profile::{ColumnKind, ColumnProfile, Profile, ProfileOptions, Profiler};
use mlops_core::schema::Role;
use mlops_core::source::ScanRequest;
use mlops_core::stats::DriftRule;
use mlops_core::stats::drift::DriftRuleBuilder;
use mlops_core::{Dataset, Digest, Error, EventTime, Name, Result, Schema, Window};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::drift::{DriftMonitor, DriftReport};
use crate::format::FormatOne;
use crate::performance::PerformanceReport;
use crate::retrain::{RetrainPolicy, RetrainRequest, RetrainSignals};

/// What a gate's rows are compared with.
#[derive(Clone, Debug)]
pub enum Reference {
    /// This profile.
    Profile(Arc<Profile>),
    /// The output of a step: a profile as bytes ([`ReferenceProfile`]) or JSON, or a data set that is profiled.
    Step(Name),
}

impl From<Profile> for Reference {
    fn from(profile: Profile) -> Self {
        Self::Profile(Arc::new(profile))
    }
}

impl From<Arc<Profile>> for Reference {
    fn from(profile: Arc<Profile>) -> Self {
        Self::Profile(profile)
    }
}

impl From<Name> for Reference {
    fn from(step: Name) -> Self {
        Self::Step(step)
    }
}

/// Profiles the data set of a step, for a [`DriftGate`] and for [`DriftMonitor`]. Gives [`Profile::to_bytes`].
///
/// By default the features and labels are profiled; where no column has such a role, all but keys and event times. Of
/// sensitive columns no value is held.
#[derive(Clone, Debug)]
pub struct ReferenceProfile {
    name: Name,
    rows: Name,
    columns: Option<Vec<String>>,
}

impl ReferenceProfile {
    /// Profiles the output of step `rows`.
    pub fn new(name: Name, rows: Name) -> Self {
        Self { name, rows, columns: None }
    }

    /// Profiles these columns.
    pub fn columns(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }
}

impl Step for ReferenceProfile {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fingerprint(&self) -> Result<Digest> {
        Digest::of_json(&("reference profile", env!("CARGO_PKG_VERSION"), &self.rows, &self.columns))
    }

    fn run(&self, inputs: &Inputs, context: &StepContext) -> Result<Artifact> {
        let data = inputs.get(self.rows.as_str())?.as_dataset()?;
        let columns = self.columns.clone().unwrap_or_else(|| by_role(data.schema()));
        let profile = profile(data, &columns, &self.name, context)?;
        (context.progress)(1.0);
        Ok(Artifact::Bytes(profile.to_bytes().into()))
    }
}

/// What a [`DriftGate`] found, as its output holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GateFinding {
    format: FormatOne,
    /// Whether no more columns have drifted than may.
    pub passed: bool,
    /// How many may.
    pub drifted_max: usize,
    /// Every column that was compared. The window is that of the rows' event times, or all of time where they have none.
    pub report: DriftReport,
}

impl GateFinding {
    /// Reads the output of a [`DriftGate`].
    ///
    /// # Errors
    /// [`Error::Schema`] when it is not JSON, [`Error::InvalidData`] when it is something else.
    pub fn of(artifact: &Artifact) -> Result<Self> {
        read(artifact, "finding of a drift gate")
    }
}

/// Compares the data set of a step with a reference profile. Gives a [`GateFinding`] as JSON.
///
/// Columns are compared as core's statistics do it ([`Profile::compare`]): an effect that matters, beyond chance, on enough
/// rows. All columns of the reference but times and those that the rule excepts must be there. A column with too few rows
/// for a verdict has not drifted.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use mlops_core::arrow::array::{Float64Array, RecordBatch};
/// use mlops_core::pipeline::{Given, Pipeline, RunOptions};
/// use mlops_core::{Dataset, Name};
/// use mlops_monitor::steps::{DriftGate, GateFinding, ReferenceProfile};
///
/// let prices = |shift: f64| -> mlops_core::Result<Dataset> {
///     let prices = Float64Array::from_iter_values((0..1000).map(|i| f64::from(i) + shift));
///     Dataset::from_batches([RecordBatch::try_from_iter([("price", Arc::new(prices) as _)])?])
/// };
/// let gate = DriftGate::builder(Name::new("gate")?, Name::new("today")?, Name::new("profile")?).build()?;
/// let pipeline = Pipeline::builder("watch")
///     .step(Given::new("training", prices(0.0)?)?, &[])
///     .step(Given::new("today", prices(400.0)?)?, &[])
///     .step(ReferenceProfile::new(Name::new("profile")?, Name::new("training")?), &["training"])
///     .step(gate, &["today", "profile"])
///     .build()?;
/// let dir = tempfile::tempdir()?;
/// let finding = GateFinding::of(&pipeline.run(dir.path(), &RunOptions::default())?.ok()?.artifact("gate")?)?;
/// assert!(!finding.passed);
/// assert_eq!(finding.report.drifted(), ["price"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct DriftGate {
    settings: DriftGateBuilder,
}

/// Builder of [`DriftGate`].
#[derive(Clone, Debug)]
pub struct DriftGateBuilder {
    name: Name,
    rows: Name,
    reference: Reference,
    rule: DriftRule,
    columns: Option<Vec<String>>,
    drifted_max: usize,
    refuses: bool,
}

impl DriftGateBuilder {
    /// When a column has drifted. Default: [`DriftRule::default`].
    pub fn rule(mut self, rule: DriftRule) -> Self {
        self.rule = rule;
        self
    }

    /// Compares these columns. Default: all of the reference.
    pub fn columns(mut self, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }

    /// How many columns may have drifted. Default 0.
    pub fn drifted_max(mut self, columns: usize) -> Self {
        self.drifted_max = columns;
        self
    }

    /// Fails with [`Error::Rejected`], naming the drifted columns, where the gate does not pass: what depends on it does not
    /// run. Default: what was found is an output, and what depends on it looks at it.
    pub fn refuse(mut self) -> Self {
        self.refuses = true;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`Error::Invalid`] when no column is to be compared, [`Error::NotFound`] when one is not in a reference that is known here.
    pub fn build(self) -> Result<DriftGate> {
        if self.columns.as_ref().is_some_and(Vec::is_empty) {
            return Err(Error::invalid("columns of a gate", "none", "at least one"));
        }
        if let Reference::Profile(profile) = &self.reference {
            self.compared(profile)?;
        }
        Ok(DriftGate { settings: self })
    }

    /// Names of the columns of `reference` that are compared.
    fn compared(&self, reference: &Profile) -> Result<Vec<String>> {
        if let Some(columns) = &self.columns {
            if let Some(missing) = columns.iter().find(|column| reference.column(column).is_none()) {
                return Err(Error::not_found("reference column", missing));
            }
            return Ok(columns.clone());
        }
        let is_compared =
            |column: &&ColumnProfile| column.kind() != ColumnKind::Time && !self.rule.is_excepted(column.name());
        let columns = reference.columns().iter().filter(is_compared).map(|column| column.name().to_owned());
        let columns: Vec<String> = columns.collect();
        if columns.is_empty() {
            return Err(Error::invalid("reference", "no column", "a profile with a column that can be compared"));
        }
        Ok(columns)
    }
}

impl DriftGate {
    /// Compares the output of step `rows` with `reference`: a profile, or the name of a step.
    pub fn builder(name: Name, rows: Name, reference: impl Into<Reference>) -> DriftGateBuilder {
        DriftGateBuilder {
            name,
            rows,
            reference: reference.into(),
            rule: DriftRule::default(),
            columns: None,
            drifted_max: 0,
            refuses: false,
        }
    }

    fn reference(&self, inputs: &Inputs, context: &StepContext) -> Result<Arc<Profile>> {
        let step = match &self.settings.reference {
            Reference::Profile(profile) => return Ok(profile.clone()),
            Reference::Step(step) => step,
        };
        let profile = match inputs.get(step.as_str())? {
            Artifact::Bytes(bytes) => Profile::from_bytes(bytes)?,
            Artifact::Dataset(data) => {
                let columns = self.settings.columns.clone().unwrap_or_else(|| by_role(data.schema()));
                profile(data, &columns, &self.settings.name, context)?
            }
            json => read(json, "reference profile")?,
        };
        Ok(Arc::new(profile))
    }
}

impl Step for DriftGate {
    fn name(&self) -> &Name {
        &self.settings.name
    }

    fn fingerprint(&self) -> Result<Digest> {
        let DriftGateBuilder { name: _, rows, reference, rule, columns, drifted_max, refuses } = &self.settings;
        let reference = match reference {
            Reference::Profile(profile) => Digest::of(profile.to_bytes()).to_string(),
            Reference::Step(step) => format!("step {step}"),
        };
        let settings = (rows, reference, DriftRuleBuilder::from(rule.clone()), columns, drifted_max, refuses);
        Digest::of_json(&("drift gate", env!("CARGO_PKG_VERSION"), settings))
    }

    fn run(&self, inputs: &Inputs, context: &StepContext) -> Result<Artifact> {
        let DriftGateBuilder { name, rows, rule, drifted_max, refuses, .. } = &self.settings;
        let reference = self.reference(inputs, context)?;
        let columns = self.settings.compared(&reference)?;
        let data = inputs.get(rows.as_str())?.as_dataset()?;
        let event_time = data.schema().single(Role::EventTime).ok().filter(|time| !columns.iter().any(|c| c == time));
        let read: Vec<String> = columns.iter().cloned().chain(event_time.map(str::to_owned)).collect();
        let current = profile(data, &read, name, context)?;
        let window = event_time.and_then(|time| span(current.column(time)?)).unwrap_or(Window::all());
        let judge = DriftMonitor::builder(Profile::clone(&reference)).rule(rule.clone()).columns(columns);
        let report = judge.persistence(1, 1).build()?.judge(window, &current)?;
        (context.progress)(1.0);
        let drifted: Vec<String> = report.drifted().into_iter().map(str::to_owned).collect();
        let passed = drifted.len() <= *drifted_max;
        if *refuses && !passed {
            return Err(Error::Rejected { what: format!("`{rows}` at the gate `{name}`"), failed: drifted });
        }
        write(&GateFinding { format: FormatOne, passed, drifted_max: *drifted_max, report }, "finding of a drift gate")
    }
}

/// What a [`RetrainDecision`] is decided from besides reports: the output of a step, as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrainState {
    /// When it is decided.
    pub now: EventTime,
    /// When the model in service was trained.
    pub trained_at: EventTime,
    /// When training was last requested, if ever.
    #[serde(default)]
    pub requested_at: Option<EventTime>,
    /// Labelled rows since the model was trained.
    #[serde(default)]
    pub new_labels: u64,
}

impl RetrainState {
    /// As an input of a pipeline ([`Given`](mlops_core::pipeline::Given)).
    ///
    /// # Errors
    /// [`Error::InvalidData`] when it has no JSON form, which all have.
    pub fn to_artifact(&self) -> Result<Artifact> {
        write(self, "state of a retrain decision")
    }
}

/// What a [`RetrainDecision`] came to, as its output holds it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetrainFinding {
    format: FormatOne,
    /// What to train again for; `None` where nothing is to be done.
    pub request: Option<RetrainRequest>,
}

impl RetrainFinding {
    /// Reads the output of a [`RetrainDecision`].
    ///
    /// # Errors
    /// [`Error::Schema`] when it is not JSON, [`Error::InvalidData`] when it is something else.
    pub fn of(artifact: &Artifact) -> Result<Self> {
        read(artifact, "finding of a retrain decision")
    }
}

/// Applies a [`RetrainPolicy`] to the reports of other steps. Gives a [`RetrainFinding`] as JSON.
#[derive(Clone, Debug)]
pub struct RetrainDecision {
    name: Name,
    policy: RetrainPolicy,
    state: Name,
    drift: Option<Name>,
    performance: Option<Name>,
}

impl RetrainDecision {
    /// Decides by `policy`; step `state` gives a [`RetrainState`].
    pub fn new(name: Name, policy: RetrainPolicy, state: Name) -> Self {
        Self { name, policy, state, drift: None, performance: None }
    }

    /// Looks at the output of step `drift`: that of a [`DriftGate`], or a [`DriftReport`].
    pub fn drift(mut self, drift: Name) -> Self {
        self.drift = Some(drift);
        self
    }

    /// Looks at the output of step `performance`, a [`PerformanceReport`].
    pub fn performance(mut self, performance: Name) -> Self {
        self.performance = Some(performance);
        self
    }
}

impl Step for RetrainDecision {
    fn name(&self) -> &Name {
        &self.name
    }

    fn fingerprint(&self) -> Result<Digest> {
        let settings = (&self.policy, &self.state, &self.drift, &self.performance);
        Digest::of_json(&("retrain decision", env!("CARGO_PKG_VERSION"), settings))
    }

    fn run(&self, inputs: &Inputs, _context: &StepContext) -> Result<Artifact> {
        let state: RetrainState = read(inputs.get(self.state.as_str())?, "state of a retrain decision")?;
        let of = |step: &Option<Name>| step.as_ref().map(|step| inputs.get(step.as_str())).transpose();
        let drift = of(&self.drift)?.map(drift_report).transpose()?;
        let performance: Option<PerformanceReport> =
            of(&self.performance)?.map(|artifact| read(artifact, "performance report")).transpose()?;
        let signals = RetrainSignals {
            trained_at: state.trained_at,
            requested_at: state.requested_at,
            drift: drift.as_ref(),
            performance: performance.as_ref(),
            new_labels: state.new_labels,
        };
        let request = self.policy.decide(&signals, state.now);
        write(&RetrainFinding { format: FormatOne, request }, "finding of a retrain decision")
    }
}

fn drift_report(artifact: &Artifact) -> Result<DriftReport> {
    match artifact.as_json()?.get("report") {
        Some(_) => GateFinding::of(artifact).map(|finding| finding.report),
        None => read(artifact, "drift report"),
    }
}

/// Features and labels, or all but keys and times where no column has such a role.
fn by_role(schema: &Schema) -> Vec<String> {
    let known = [schema.with(Role::Feature), schema.with(Role::Label)].concat();
    if !known.is_empty() {
        return known.into_iter().map(str::to_owned).collect();
    }
    let left_out = [Role::Key, Role::EventTime, Role::CreatedTime].map(|role| schema.with(role)).concat();
    schema.names().filter(|name| !left_out.contains(name)).map(str::to_owned).collect()
}

/// One pass over `columns` of `data`; no value of a sensitive column is held.
fn profile(data: &Dataset, columns: &[String], step: &Name, context: &StepContext) -> Result<Profile> {
    let schema = data.schema().project(columns)?;
    let hide = |options: mlops_core::profile::ProfileOptionsBuilder, column| options.hide(column);
    let options = schema.hidden().into_iter().fold(ProfileOptions::builder(), hide).build()?;
    let mut profiler = Profiler::new(schema.arrow(), &options)?;
    for batch in data.scan(&ScanRequest::all().columns(columns))? {
        if (context.cancelled)() {
            return Err(Error::Cancelled { stage: step.to_string() });
        }
        profiler.update(&batch?)?;
    }
    Ok(profiler.finish())
}

/// From the first time of the column to just behind the last.
fn span(times: &ColumnProfile) -> Option<Window> {
    let moments = times.moments().filter(|_| times.kind() == ColumnKind::Time)?;
    let (first, last) = (moments.min()? as i64, moments.max()? as i64);
    Some(Window { start: EventTime::from_micros(first), end: EventTime::from_micros(last.saturating_add(1)) })
}

fn read<T: DeserializeOwned>(artifact: &Artifact, what: &str) -> Result<T> {
    serde_json::from_value(artifact.as_json()?.clone()).map_err(|error| Error::invalid_data(what, error))
}

fn write(value: &impl Serialize, what: &str) -> Result<Artifact> {
    serde_json::to_value(value).map(Artifact::Json).map_err(|error| Error::invalid_data(what, error))
}

#[cfg(test)]
mod tests;
