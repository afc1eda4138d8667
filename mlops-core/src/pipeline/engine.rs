//! Runs a pipeline against its directory.
//!
//! Steps are visited in order. A step whose record is there is not run; its output is read, and verified, only when a
//! step that does run needs it. Where that output turns out to be damaged the visit goes back to the step that made it:
//! steps in between keep their outcome unless their inputs changed.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::graph::{Node, Pipeline, cache_key};
use super::options::Retry;
use super::report::{Outcome, Rerun, Run, RunReport, StepReport};
use super::store::{Found, LastRun, Record, RunDir, Stored};
use super::{Artifact, ArtifactKind, Inputs, RunEvent, RunOptions, Skip, StepContext};
use crate::dataset::Provenance;
use crate::{Digest, Error, EventTime, Name, Result};

impl Pipeline {
    /// Runs what is not finished, with outputs and records in `dir`, which is made where it is missing and belongs to
    /// this pipeline's runs.
    ///
    /// A failing step stops those that depend on it and no others: how each step came out is in the report, and
    /// [`Run::ok`] makes an error of a failure. The same call after a crash goes on where the last run was cut off.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the options name a step that is not there, [`Error::Busy`] when another run holds the
    /// directory, [`Error::InvalidData`] when another version wrote it, [`Error::Io`] when it cannot be written to.
    pub fn run(&self, dir: impl AsRef<Path>, options: &RunOptions) -> Result<Run> {
        let wanted = self.wanted(options)?;
        for step in &options.refresh {
            self.position(step)?;
        }
        let (dir, _lock) = RunDir::lock(dir.as_ref(), options)?;
        let (started, clock) = (Instant::now(), options.clock.now());
        let mut engine = Engine {
            pipeline: self,
            options,
            previous: dir.last_run().ok().flatten().map(|last| last.report),
            dir,
            states: self.nodes.iter().map(|_| None).collect(),
            damaged: BTreeMap::new(),
        };
        let mut at = 0;
        while at < self.nodes.len() {
            at = if wanted[at] { engine.visit(at)? } else { at + 1 };
        }
        let run = engine.finish(started, clock);
        run.dir.save_last(&LastRun { report: run.report.clone(), stored: run.stored.clone() })?;
        Ok(run)
    }
}

struct Engine<'a> {
    pipeline: &'a Pipeline,
    options: &'a RunOptions,
    dir: RunDir,
    previous: Option<RunReport>,
    states: Vec<Option<State>>,
    /// Steps whose output was found damaged in this run, and what was wrong.
    damaged: BTreeMap<usize, String>,
}

/// How a step came out so far.
struct State {
    /// `None` when it was skipped before its key was known.
    key: Option<Digest>,
    report: StepReport,
    stored: Option<Stored>,
    failure: Option<Error>,
}

/// What a step is run with.
struct Work {
    key: Digest,
    fingerprint: Digest,
    inputs: BTreeMap<Name, Digest>,
}

impl Engine<'_> {
    /// Brings step `i` to an outcome; answers with the step to visit next.
    fn visit(&mut self, i: usize) -> Result<usize> {
        let node = &self.pipeline.nodes[i];
        if let Some(missing) = node.after.iter().find(|d| self.stored(**d).is_none()) {
            let missing = self.pipeline.nodes[*missing].name.clone();
            self.skip(i, Skip::Needs(missing));
            return Ok(i + 1);
        }
        let work = match self.work(node) {
            Ok(work) => work,
            Err(error) => {
                self.fail(i, None, error, StepReport::new(node));
                return Ok(i + 1);
            }
        };
        if self.states[i].as_ref().is_some_and(|state| state.key == Some(work.key)) {
            return Ok(i + 1); // visited before the engine went back, with the same inputs
        }
        if (self.options.cancelled)() {
            self.skip(i, Skip::Cancelled);
            return Ok(i + 1);
        }
        let because = match self.look_up(i, &work)? {
            Ok(record) => {
                self.reuse(i, &work, *record);
                return Ok(i + 1);
            }
            Err(because) => because,
        };
        match self.load_inputs(i)? {
            Ok(inputs) => {
                self.execute(i, work, inputs, because);
                Ok(i + 1)
            }
            Err((damaged, error)) if self.damaged.contains_key(&damaged) => {
                // It was made again in this run and is damaged again: the storage is at fault.
                self.fail(i, Some(work.key), error, StepReport::of(node, &work));
                Ok(i + 1)
            }
            Err((damaged, error)) => {
                self.report_damage(damaged, error.to_string());
                self.states[damaged] = None;
                Ok(damaged)
            }
        }
    }

    fn stored(&self, i: usize) -> Option<&Stored> {
        self.states[i].as_ref()?.stored.as_ref()
    }

    fn work(&self, node: &Node) -> Result<Work> {
        let fingerprint = node.step.fingerprint()?;
        let input = |d: &usize| Some((self.pipeline.nodes[*d].name.clone(), self.stored(*d)?.output.digest));
        let inputs: BTreeMap<Name, Digest> = node.after.iter().filter_map(input).collect();
        let key = cache_key(&self.pipeline.name, &node.name, fingerprint, &inputs);
        Ok(Work { key, fingerprint, inputs })
    }

    /// The record to reuse, or why the step has to run.
    fn look_up(&mut self, i: usize, work: &Work) -> Result<Result<Box<Record>, Rerun>> {
        let name = &self.pipeline.nodes[i].name;
        if let Some(reason) = self.damaged.get(&i) {
            return Ok(Err(Rerun::Damaged(reason.clone())));
        }
        if self.options.refresh.contains(name.as_str()) {
            return Ok(Err(Rerun::Asked));
        }
        Ok(match self.dir.find(work.key)? {
            Found::Whole(record) => Ok(record),
            Found::Nothing => Err(self.why_unknown(name, work)),
            Found::Damaged(reason) => {
                self.report_damage(i, reason.clone());
                Err(Rerun::Damaged(reason))
            }
        })
    }

    fn why_unknown(&self, step: &Name, work: &Work) -> Rerun {
        let before = self.previous.as_ref().and_then(|report| report.step(step.as_str()).ok());
        let Some((before, fingerprint)) = before.and_then(|b| Some((b, b.fingerprint?))) else { return Rerun::New };
        if fingerprint != work.fingerprint {
            return Rerun::Fingerprint;
        }
        let names: BTreeSet<&Name> = before.inputs.keys().chain(work.inputs.keys()).collect();
        let changed = names.into_iter().filter(|n| before.inputs.get(*n) != work.inputs.get(*n));
        let changed: Vec<Name> = changed.cloned().collect();
        if changed.is_empty() { Rerun::Unfinished } else { Rerun::Inputs(changed) }
    }

    fn report_damage(&mut self, i: usize, reason: String) {
        self.tell(RunEvent::Damaged { step: self.pipeline.nodes[i].name.clone(), reason: reason.clone() });
        self.damaged.insert(i, reason);
    }

    fn reuse(&mut self, i: usize, work: &Work, record: Record) {
        let node = &self.pipeline.nodes[i];
        self.tell(RunEvent::Cached { step: node.name.clone(), digest: record.stored.output.digest });
        let report = StepReport {
            outcome: Outcome::Cached,
            output: Some(record.stored.output.clone()),
            started: Some(record.started),
            finished: Some(record.finished),
            ..StepReport::of(node, work)
        };
        self.states[i] = Some(State { key: Some(work.key), report, stored: Some(record.stored), failure: None });
    }

    /// The inputs of step `i`, or the step whose output is damaged.
    fn load_inputs(&self, i: usize) -> Result<Result<Inputs, (usize, Error)>> {
        let mut inputs = Vec::new();
        for d in &self.pipeline.nodes[i].after {
            let Some(stored) = self.stored(*d) else { continue };
            match self.dir.load(stored) {
                Ok(artifact) => inputs.push((self.pipeline.nodes[*d].name.clone(), artifact)),
                Err(error @ Error::Corrupt { .. }) => return Ok(Err((*d, error))),
                Err(error) => return Err(error),
            }
        }
        Ok(Ok(Inputs::new(inputs)))
    }

    fn execute(&mut self, i: usize, work: Work, inputs: Inputs, because: Rerun) {
        let node = &self.pipeline.nodes[i];
        let begun = (Instant::now(), self.options.clock.now());
        let mut report = StepReport { started: Some(begun.1), ..StepReport::of(node, &work) };
        let record = self.attempt(node, &work, &inputs, begun, &mut report.attempts);
        report.took_us = micros(begun.0.elapsed());
        match record {
            Ok(record) => {
                let digest = record.stored.output.digest;
                self.tell(RunEvent::Finished { step: node.name.clone(), digest, took_us: report.took_us });
                report.outcome = Outcome::Ran { because };
                report.output = Some(record.stored.output.clone());
                report.finished = Some(record.finished);
                self.states[i] =
                    Some(State { key: Some(work.key), report, stored: Some(record.stored), failure: None });
            }
            Err(error) => self.fail(i, Some(work.key), error, report),
        }
    }

    /// Runs the step and stores its output, until that succeeds or the tries are used up. Storing is part of a try: the
    /// rows of a data set may still have to come from somewhere else.
    fn attempt(
        &self,
        node: &Node,
        work: &Work,
        inputs: &Inputs,
        begun: (Instant, EventTime),
        attempts: &mut u32,
    ) -> Result<Record> {
        let retry = node.retry.unwrap_or(self.options.retry);
        let context = self.context(&node.name);
        loop {
            *attempts += 1;
            self.tell(RunEvent::Started { step: node.name.clone(), attempt: *attempts });
            let made = node.step.run(inputs, &context);
            let error = match made.and_then(|artifact| self.commit(node, work, &artifact, begun)) {
                Ok(record) => return Ok(record),
                Err(error) if *attempts >= retry.attempts() || !Retry::is_worth_it(&error) => return Err(error),
                Err(error) => error,
            };
            let wait = retry.wait_after(*attempts);
            let (step, text) = (node.name.clone(), error.to_string());
            self.tell(RunEvent::Retrying { step, attempt: *attempts, wait_us: micros(wait), error: text });
            if !self.options.sleep(wait) {
                return Err(Error::Cancelled { stage: node.name.to_string() });
            }
        }
    }

    fn context(&self, step: &Name) -> StepContext {
        let (listener, step) = (self.options.listener.clone(), step.clone());
        StepContext {
            clock: self.options.clock.clone(),
            cancelled: self.options.cancelled.clone(),
            progress: Arc::new(move |fraction: f64| {
                let fraction = if fraction.is_nan() { 0.0 } else { fraction.clamp(0.0, 1.0) };
                listener(&RunEvent::Progress { step: step.clone(), fraction });
            }),
        }
    }

    /// Stores the output, then the record that makes the step finished.
    fn commit(&self, node: &Node, work: &Work, artifact: &Artifact, begun: (Instant, EventTime)) -> Result<Record> {
        let parents = node.after.iter().filter_map(|d| self.stored(*d)).map(|stored| match stored.output.kind {
            ArtifactKind::Dataset => stored.output.content,
            _ => stored.output.digest,
        });
        let parents: Vec<Digest> = parents.collect();
        let mut parameters = serde_json::json!({ "pipeline": self.pipeline.name.as_str() });
        if let Some(told) = told(artifact, &parents) {
            parameters["made"] = told;
        }
        let stored = self.dir.put(artifact, || Provenance {
            parents,
            operation: node.name.clone(),
            parameters,
            code_version: work.fingerprint.to_string(),
            at: self.options.clock.now(),
        })?;
        let record = Record {
            pipeline: self.pipeline.name.clone(),
            step: node.name.clone(),
            key: work.key,
            stored,
            started: begun.1,
            finished: self.options.clock.now(),
            took_us: micros(begun.0.elapsed()),
        };
        self.dir.commit(&record)?;
        Ok(record)
    }

    fn fail(&mut self, i: usize, key: Option<Digest>, error: Error, report: StepReport) {
        let text = error.to_string();
        self.tell(RunEvent::Failed { step: report.step.clone(), error: text.clone() });
        let report = StepReport { outcome: Outcome::Failed { error: text }, ..report };
        self.states[i] = Some(State { key, report, stored: None, failure: Some(error) });
    }

    fn skip(&mut self, i: usize, because: Skip) {
        let outcome = Outcome::Skipped { because: because.clone() };
        if self.states[i].as_ref().is_some_and(|state| state.report.outcome == outcome) {
            return; // visited before the engine went back
        }
        let node = &self.pipeline.nodes[i];
        self.tell(RunEvent::Skipped { step: node.name.clone(), because });
        let report = StepReport { outcome, ..StepReport::new(node) };
        self.states[i] = Some(State { key: None, report, stored: None, failure: None });
    }

    fn tell(&self, event: RunEvent) {
        (self.options.listener)(&event);
    }

    fn finish(self, begun: Instant, started: EventTime) -> Run {
        let (mut steps, mut stored, mut failures) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
        for state in self.states.into_iter().flatten() {
            stored.extend(state.stored.map(|stored| (state.report.step.clone(), stored)));
            failures.extend(state.failure.map(|failure| (state.report.step.clone(), failure)));
            steps.push(state.report);
        }
        let pipeline = self.pipeline.name.clone();
        let report = RunReport { pipeline, started, took_us: micros(begun.elapsed()), steps };
        Run { report, stored, failures, dir: self.dir }
    }
}

impl StepReport {
    fn new(node: &Node) -> Self {
        Self {
            step: node.name.clone(),
            outcome: Outcome::Cached,
            fingerprint: None,
            inputs: BTreeMap::new(),
            output: None,
            attempts: 0,
            started: None,
            finished: None,
            took_us: 0,
        }
    }

    fn of(node: &Node, work: &Work) -> Self {
        Self { fingerprint: Some(work.fingerprint), inputs: work.inputs.clone(), ..Self::new(node) }
    }
}

/// What a data set tells of how this step made it, beside its parents: what was handed on as it came tells of another step.
fn told(artifact: &Artifact, parents: &[Digest]) -> Option<serde_json::Value> {
    let Artifact::Dataset(data) = artifact else { return None };
    let made = data.provenance()?;
    let here = !made.parents.is_empty() && made.parents.iter().all(|parent| parents.contains(parent));
    here.then(|| {
        serde_json::json!({
            "operation": made.operation,
            "parameters": made.parameters,
            "code_version": made.code_version,
        })
    })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
