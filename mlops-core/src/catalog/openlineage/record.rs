//! A run of a pipeline that tells of itself.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::facet::{ErrorMessage, NominalTime, OutputStatistics, Parent, ParentJob, ParentRun, Version};
use super::{Dataset, EventSink, EventType, Job, Origin, OutputDataset, OutputFacets, Run, RunEvent, RunFacets, RunId};
use crate::pipeline::{Outcome, Pipeline, RunEvent as StepEvent, RunReport, Skip};
use crate::time::{Clock, EventTime};
use crate::{Digest, Error, Name, Result};

type NewRun = Arc<dyn Fn(EventTime) -> RunId + Send + Sync>;

/// Tells of one run of a pipeline while it goes on: `START` of the run, `START` and one of `COMPLETE`, `FAIL` and `ABORT` of
/// each step that runs, and one of these of the run itself, whatever happens: a recorder that is dropped unfinished tells
/// `ABORT`.
///
/// Steps are jobs called `pipeline.step`, their outputs data sets of that name unless they were given another; steps whose
/// output was there already did not run, and nothing is told of them. An event that a sink cannot take does not disturb
/// the run: [`finish`](Self::finish) says so.
#[derive(Debug)]
pub struct Recorder(Arc<Shared>);

/// Settings of a [`Recorder`].
pub struct RecorderBuilder {
    origin: Origin,
    sink: Arc<dyn EventSink>,
    clock: Arc<dyn Clock>,
    new_run: NewRun,
    nominal: Option<NominalTime>,
    reads: BTreeMap<String, Vec<Dataset>>,
    writes: BTreeMap<String, Dataset>,
}

impl Recorder {
    /// Tells `sink` in the name of `origin`, with times of `clock`.
    pub fn builder(origin: Origin, sink: Arc<dyn EventSink>, clock: Arc<dyn Clock>) -> RecorderBuilder {
        RecorderBuilder {
            origin,
            sink,
            clock,
            new_run: Arc::new(RunId::fresh),
            nominal: None,
            reads: BTreeMap::new(),
            writes: BTreeMap::new(),
        }
    }

    /// Id of the run.
    pub fn run_id(&self) -> RunId {
        self.0.run.run_id
    }

    /// What the run is to call: pass it to [`RunOptions::on_event`](crate::pipeline::RunOptions::on_event).
    pub fn listener(&self) -> impl Fn(&StepEvent) + Send + Sync + 'static {
        let shared = self.0.clone();
        move |event| shared.hear(event)
    }

    /// Tells how the run came out: `FAIL` when a step failed, `ABORT` when the host stopped it, else `COMPLETE`, with what
    /// every step left behind.
    ///
    /// # Errors
    /// The first failure of the sink since the start; the run itself is not disturbed by it.
    pub fn finish(self, report: &RunReport) -> Result<()> {
        let failed = report.steps.iter().find_map(|step| match &step.outcome {
            Outcome::Failed { error } if !is_cancelled(&step.step, error) => Some((&step.step, error)),
            _ => None,
        });
        let cancelled = |step: &crate::pipeline::StepReport| match &step.outcome {
            Outcome::Skipped { because } => *because == Skip::Cancelled,
            Outcome::Failed { .. } => true,
            _ => false,
        };
        let event_type = match failed {
            Some(_) => EventType::Fail,
            None if report.steps.iter().any(cancelled) => EventType::Abort,
            None => EventType::Complete,
        };
        let message = failed.map(|(step, error)| format!("{step}: {error}"));
        self.0.end(event_type, message, self.0.outputs(report));
        self.0.trouble()
    }

    /// Tells `FAIL` of a run that [`Pipeline::run`] gave no report of.
    ///
    /// # Errors
    /// As [`finish`](Self::finish).
    pub fn fail(self, error: &Error) -> Result<()> {
        self.0.end(EventType::Fail, Some(error.to_string()), Vec::new());
        self.0.trouble()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.0.end(EventType::Abort, None, Vec::new());
    }
}

impl RecorderBuilder {
    /// Where run ids come from, by the time of their begin. Default [`RunId::fresh`].
    pub fn run_ids(mut self, new_run: impl Fn(EventTime) -> RunId + Send + Sync + 'static) -> Self {
        self.new_run = Arc::new(new_run);
        self
    }

    /// The time that the run is about. Default: not told.
    pub fn nominal_time(mut self, start: EventTime, end: Option<EventTime>) -> Self {
        self.nominal = Some(NominalTime { nominal_start_time: start, nominal_end_time: end });
        self
    }

    /// `step` reads `dataset`, besides the outputs of steps before it.
    pub fn reads(mut self, step: impl Into<String>, dataset: Dataset) -> Self {
        self.reads.entry(step.into()).or_default().push(dataset);
        self
    }

    /// The output of `step` is `dataset`, such as [`Dataset::of`] an entry. The end of the run tells the digest of its
    /// content, by which a catalog knows it; others are told by the digest of the artifact.
    pub fn writes(mut self, step: impl Into<String>, dataset: Dataset) -> Self {
        self.writes.insert(step.into(), dataset);
        self
    }

    /// Tells `START` of a run of `pipeline`.
    ///
    /// # Errors
    /// [`Error::NotFound`] when `reads` or `writes` name a step that is not there, and what [`Pipeline::plan`] says.
    pub fn start(self, pipeline: &Pipeline) -> Result<Recorder> {
        let plan = pipeline.plan()?;
        let after: BTreeMap<Name, Vec<Name>> =
            plan.steps().iter().map(|step| (step.name.clone(), step.after.clone())).collect();
        if let Some(unknown) =
            self.reads.keys().chain(self.writes.keys()).find(|step| !after.contains_key(step.as_str()))
        {
            return Err(Error::not_found("step", unknown));
        }
        let facets = RunFacets {
            nominal_time: self.nominal.map(|nominal| self.origin.facet(nominal)),
            processing_engine: Some(self.origin.engine()),
            ..RunFacets::default()
        };
        let run = Run { run_id: (self.new_run)(self.clock.now()), facets };
        let job = Job {
            namespace: self.origin.namespace().to_owned(),
            name: pipeline.name().to_string(),
            facets: self.origin.job_facets("DAG"),
        };
        let shared = Shared {
            origin: self.origin,
            sink: self.sink,
            clock: self.clock,
            new_run: self.new_run,
            reads: self.reads,
            writes: self.writes,
            after,
            run,
            job,
            state: Mutex::default(),
        };
        shared.tell(&mut shared.lock(), EventType::Start, shared.run.clone(), shared.job.clone(), |_| {});
        Ok(Recorder(Arc::new(shared)))
    }
}

impl fmt::Debug for RecorderBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RecorderBuilder")
            .field("origin", &self.origin)
            .field("sink", &self.sink)
            .finish_non_exhaustive()
    }
}

/// What recorder and listener know together.
struct Shared {
    origin: Origin,
    sink: Arc<dyn EventSink>,
    clock: Arc<dyn Clock>,
    new_run: NewRun,
    reads: BTreeMap<String, Vec<Dataset>>,
    writes: BTreeMap<String, Dataset>,
    after: BTreeMap<Name, Vec<Name>>,
    run: Run,
    job: Job,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Steps that began and did not end.
    open: BTreeMap<Name, Run>,
    /// Digests of outputs so far.
    outputs: BTreeMap<Name, Digest>,
    /// Time of the last event: clocks may go back, the times of a run do not.
    last: Option<EventTime>,
    ended: bool,
    trouble: Option<Error>,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Each event changes the state by one whole fact.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hear(&self, event: &StepEvent) {
        let mut state = self.lock();
        if state.ended {
            return;
        }
        let step = event.step();
        match event {
            StepEvent::Started { .. } => self.begin(&mut state, step),
            StepEvent::Finished { digest, .. } => {
                state.outputs.insert(step.clone(), *digest);
                let output = self.output(step, digest).into();
                self.end_step(&mut state, step, EventType::Complete, |event| event.outputs = vec![output]);
            }
            StepEvent::Cached { digest, .. } => {
                state.outputs.insert(step.clone(), *digest);
            }
            StepEvent::Failed { error, .. } => {
                self.begin(&mut state, step); // it may have failed before its first try
                let event_type = if is_cancelled(step, error) { EventType::Abort } else { EventType::Fail };
                let message = self.message(error.clone());
                self.end_step(&mut state, step, event_type, |event| event.run.facets.error_message = Some(message));
            }
            StepEvent::Retrying { error, .. } => {
                if let Some(run) = state.open.get(step).cloned() {
                    let message = self.message(error.clone());
                    self.tell(&mut state, EventType::Running, run, self.job_of(step), |event| {
                        event.run.facets.error_message = Some(message);
                    });
                }
            }
            _ => {}
        }
    }

    fn begin(&self, state: &mut State, step: &Name) {
        if state.open.contains_key(step) {
            return; // another try
        }
        let (job, id) = (&self.job, self.run.run_id);
        let parent = Parent {
            run: ParentRun { run_id: id },
            job: ParentJob { namespace: job.namespace.clone(), name: job.name.clone() },
        };
        let facets = RunFacets {
            parent: Some(self.origin.facet(parent)),
            processing_engine: Some(self.origin.engine()),
            ..self.run.facets.clone()
        };
        let run = Run { run_id: (self.new_run)(self.clock.now()), facets };
        state.open.insert(step.clone(), run.clone());
        self.tell(state, EventType::Start, run, self.job_of(step), |_| {});
    }

    fn end_step(&self, state: &mut State, step: &Name, event_type: EventType, more: impl FnOnce(&mut RunEvent)) {
        if let Some(run) = state.open.remove(step) {
            self.tell(state, event_type, run, self.job_of(step), more);
        }
    }

    fn end(&self, event_type: EventType, message: Option<String>, outputs: Vec<OutputDataset>) {
        let mut state = self.lock();
        if state.ended {
            return;
        }
        let open: Vec<Name> = state.open.keys().cloned().collect();
        for step in open {
            self.end_step(&mut state, &step, EventType::Abort, |_| {});
        }
        state.ended = true;
        let message = message.map(|message| self.message(message));
        self.tell(&mut state, event_type, self.run.clone(), self.job.clone(), |event| {
            event.run.facets.error_message = message;
            event.outputs = outputs;
        });
    }

    /// Tells of `run`, with what its step reads; a run of the whole pipeline reads what its steps do from elsewhere.
    fn tell(&self, state: &mut State, event_type: EventType, run: Run, job: Job, more: impl FnOnce(&mut RunEvent)) {
        let now = self.clock.now();
        let at = state.last.map_or(now, |last| last.max(now));
        state.last = Some(at);
        let mut event = RunEvent::new(&self.origin, event_type, at, run, job);
        let step = event.job.name.strip_prefix(self.job.name.as_str()).and_then(|rest| rest.strip_prefix('.'));
        match step.and_then(|step| self.after.get_key_value(step)) {
            Some((step, after)) => {
                let before = |step: &Name| state.outputs.get(step).map(|digest| self.output(step, digest));
                event.inputs.extend(after.iter().filter_map(before).map(Into::into));
                let reads = self.reads.get(step.as_str()).into_iter().flatten();
                event.inputs.extend(reads.cloned().map(Into::into));
            }
            None => event.inputs.extend(self.reads.values().flatten().cloned().map(Into::into)),
        }
        more(&mut event);
        if let Err(error) = self.sink.emit(&event.into()) {
            state.trouble.get_or_insert(error);
        }
    }

    fn job_of(&self, step: &Name) -> Job {
        let name = format!("{}.{step}", self.job.name);
        Job { namespace: self.job.namespace.clone(), name, facets: self.origin.job_facets("TASK") }
    }

    /// What a step wrote, with the digest of the artifact as its version; what the host named keeps the facets that the host
    /// gave it.
    fn output(&self, step: &Name, artifact: &Digest) -> Dataset {
        let unnamed = || {
            let dataset = Dataset::named(&self.origin, format!("{}.{step}", self.job.name));
            self.versioned(dataset, artifact)
        };
        self.writes.get(step.as_str()).cloned().unwrap_or_else(unnamed)
    }

    fn versioned(&self, mut dataset: Dataset, digest: &Digest) -> Dataset {
        dataset.facets.version = Some(self.origin.facet(Version { dataset_version: digest.to_string() }));
        dataset
    }

    fn outputs(&self, report: &RunReport) -> Vec<OutputDataset> {
        let made = report.steps.iter().filter_map(|step| Some((&step.step, step.output.as_ref()?)));
        made.map(|(step, output)| {
            let written = OutputStatistics { row_count: output.rows, size: Some(output.bytes) };
            let output_facets = OutputFacets { output_statistics: Some(self.origin.facet(written)) };
            let dataset = match self.writes.get(step.as_str()) {
                Some(named) => self.versioned(named.clone(), &output.content),
                None => self.output(step, &output.digest),
            };
            OutputDataset { dataset, output_facets }
        })
        .collect()
    }

    fn message(&self, message: String) -> super::Facet<ErrorMessage> {
        self.origin.facet(ErrorMessage { message, programming_language: "Rust".to_owned() })
    }

    fn trouble(&self) -> Result<()> {
        self.lock().trouble.take().map_or(Ok(()), Err)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("run", &self.run.run_id).field("sink", &self.sink).finish_non_exhaustive()
    }
}

/// Whether a step failed because the host wanted to stop: events carry the text of the error alone.
fn is_cancelled(step: &Name, error: &str) -> bool {
    error == Error::Cancelled { stage: step.to_string() }.to_string()
}
