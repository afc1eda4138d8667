//! Stores and trainers that fail and dawdle on purpose.

use std::io::Read;
use std::ops::ControlFlow;
use std::sync::Arc;

use mlops_core::testkit::{Faults, Injector};
use mlops_core::{EventTime, Name};

use crate::Result;
use crate::artifact::{ArtifactStore, Blob, Sha256};
use crate::run::{Metric, NewRun, Run, RunId, RunLog, RunQuery, RunStatus, RunStore};
use crate::train::{Round, TrainData, Trained, Trainer};
use crate::version::{AliasMove, ModelRegistry, ModelVersion, NewVersion};

/// An artifact store that fails and dawdles as told, and otherwise does what the store inside does. Every read from a
/// blob counts as a call.
#[derive(Debug)]
pub struct FlakyArtifacts<S> {
    inner: S,
    injector: Arc<Injector>,
}

impl<S: ArtifactStore> FlakyArtifacts<S> {
    /// Wraps `inner`.
    pub fn new(inner: S, faults: Faults) -> Self {
        Self { inner, injector: Arc::new(Injector::new(faults)) }
    }

    /// The store inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.injector.calls()
    }
}

/// A blob whose reads fail as told.
struct FlakyReader {
    inner: Box<dyn Read + Send>,
    injector: Arc<Injector>,
}

impl Read for FlakyReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let inner = &mut self.inner;
        let read = self.injector.run(|| inner.read(buffer).map_err(Failure::Io));
        read.map_err(|failure| match failure {
            Failure::Io(error) => error,
            Failure::Injected(error) => std::io::Error::other(error),
        })
    }
}

enum Failure {
    Io(std::io::Error),
    Injected(mlops_core::Error),
}

impl From<mlops_core::Error> for Failure {
    fn from(error: mlops_core::Error) -> Self {
        Self::Injected(error)
    }
}

impl<S: ArtifactStore> ArtifactStore for FlakyArtifacts<S> {
    fn put(&self, content: &mut dyn Read) -> Result<Blob> {
        self.injector.run(|| self.inner.put(content))
    }

    fn open(&self, digest: &Sha256) -> Result<Box<dyn Read + Send>> {
        let inner = self.injector.run(|| self.inner.open(digest))?;
        Ok(Box::new(FlakyReader { inner, injector: self.injector.clone() }))
    }

    fn size(&self, digest: &Sha256) -> Result<Option<u64>> {
        self.injector.run(|| self.inner.size(digest))
    }

    fn list(&self) -> Result<Vec<Blob>> {
        self.injector.run(|| self.inner.list())
    }

    fn remove(&self, digest: &Sha256) -> Result<bool> {
        self.injector.run(|| self.inner.remove(digest))
    }
}

/// A run store that fails and dawdles as told, and otherwise does what the store inside does.
#[derive(Debug)]
pub struct FlakyRuns<S> {
    inner: S,
    injector: Injector,
}

impl<S: RunStore> FlakyRuns<S> {
    /// Wraps `inner`.
    pub fn new(inner: S, faults: Faults) -> Self {
        Self { inner, injector: Injector::new(faults) }
    }

    /// The store inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.injector.calls()
    }
}

impl<S: RunStore> RunStore for FlakyRuns<S> {
    fn begin(&self, new: &NewRun) -> Result<RunId> {
        self.injector.run(|| self.inner.begin(new))
    }

    fn log(&self, run: &RunId, log: &RunLog) -> Result<()> {
        self.injector.run(|| self.inner.log(run, log))
    }

    fn end(&self, run: &RunId, status: RunStatus, at: EventTime) -> Result<()> {
        self.injector.run(|| self.inner.end(run, status, at))
    }

    fn run(&self, id: &RunId) -> Result<Run> {
        self.injector.run(|| self.inner.run(id))
    }

    fn history(&self, run: &RunId, metric: &str) -> Result<Vec<Metric>> {
        self.injector.run(|| self.inner.history(run, metric))
    }

    fn search(&self, query: &RunQuery) -> Result<Vec<Run>> {
        self.injector.run(|| self.inner.search(query))
    }
}

/// A registry of versions that fails and dawdles as told, and otherwise does what the registry inside does.
#[derive(Debug)]
pub struct FlakyVersions<S> {
    inner: S,
    injector: Injector,
}

impl<S: ModelRegistry> FlakyVersions<S> {
    /// Wraps `inner`.
    pub fn new(inner: S, faults: Faults) -> Self {
        Self { inner, injector: Injector::new(faults) }
    }

    /// The registry inside.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// Calls so far.
    pub fn calls(&self) -> u64 {
        self.injector.calls()
    }
}

impl<S: ModelRegistry> ModelRegistry for FlakyVersions<S> {
    fn add(&self, new: &NewVersion) -> Result<ModelVersion> {
        self.injector.run(|| self.inner.add(new))
    }

    fn version(&self, model: &Name, number: u32) -> Result<ModelVersion> {
        self.injector.run(|| self.inner.version(model, number))
    }

    fn versions(&self, model: &Name) -> Result<Vec<ModelVersion>> {
        self.injector.run(|| self.inner.versions(model))
    }

    fn models(&self) -> Result<Vec<Name>> {
        self.injector.run(|| self.inner.models())
    }

    fn alias(&self, model: &Name, alias: &Name) -> Result<Option<u32>> {
        self.injector.run(|| self.inner.alias(model, alias))
    }

    fn move_alias(&self, change: &AliasMove) -> Result<()> {
        self.injector.run(|| self.inner.move_alias(change))
    }

    fn history(&self, model: &Name, alias: &Name) -> Result<Vec<AliasMove>> {
        self.injector.run(|| self.inner.history(model, alias))
    }
}

/// A trainer whose trainings fail and dawdle as told, and which otherwise is the trainer inside. Only trainings count as
/// calls.
#[derive(Debug)]
pub struct FlakyTrainer<T> {
    inner: T,
    injector: Injector,
}

impl<T: Trainer> FlakyTrainer<T> {
    /// Wraps `inner`.
    pub fn new(inner: T, faults: Faults) -> Self {
        Self { inner, injector: Injector::new(faults) }
    }

    /// Trainings so far.
    pub fn calls(&self) -> u64 {
        self.injector.calls()
    }
}

impl<T: Trainer> Trainer for FlakyTrainer<T> {
    fn algorithm(&self) -> &'static str {
        self.inner.algorithm()
    }

    fn settings(&self) -> Result<serde_json::Value> {
        self.inner.settings()
    }

    fn train(&self, data: &TrainData, on_round: &mut dyn FnMut(Round) -> ControlFlow<()>) -> Result<Trained> {
        self.injector.run(|| self.inner.train(data, on_round))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;
    use crate::artifact::{ArtifactStoreExt, MemoryArtifacts};

    #[test]
    fn the_same_calls_fail_and_say_so() {
        let flaky = FlakyArtifacts::new(MemoryArtifacts::new(), Faults::every(2));
        assert!(flaky.put_bytes(b"a").is_ok());
        let error = flaky.put_bytes(b"b").unwrap_err();
        assert!(error.to_string().contains("call 2 was made to fail"), "{error}");
        assert_eq!((flaky.inner().list().unwrap().len(), flaky.calls()), (1, 2), "the failed put did nothing");
    }

    #[test]
    fn an_answer_may_be_lost_after_the_deed() {
        let faults = Faults { fail_every: 1, after_the_work: true, ..Faults::default() };
        let flaky = FlakyArtifacts::new(MemoryArtifacts::new(), faults);
        assert!(flaky.put_bytes(b"a").is_err());
        assert_eq!(flaky.inner().list().unwrap().len(), 1);
    }

    #[test]
    fn a_read_that_breaks_off_is_the_injected_failure_and_no_damage() {
        let store = MemoryArtifacts::new();
        let blob = store.put_bytes(&[7; 100]).unwrap();
        // Size, open, and then the first read.
        let flaky = FlakyArtifacts::new(store, Faults::every(3));
        let error = flaky.get(&blob.digest, 1_000).unwrap_err();
        assert!(matches!(error, Error::Core(mlops_core::Error::External { system: "flaky", .. })), "{error:?}");
    }
}
