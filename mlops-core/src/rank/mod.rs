//! Requests: candidates are found, given features, filtered, scored and selected before a deadline.
//!
//! Candidates travel as a [`Slate`], columns not objects. Stages are async, so that stores behind a network fit; a stage
//! that only computes never yields. Stage traits: [`CandidateSource`], [`Hydrator`], [`Filter`], [`Scorer`],
//! [`Selector`], [`Observer`].

mod query;
mod slate;

pub use query::{Query, RequestId};
pub use slate::Slate;

use std::fmt::Debug;
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::Field;
use async_trait::async_trait;

use crate::{Name, Result};

/// How much time a stage has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Time left until the request's deadline when the stage began; `None` without a deadline.
    pub left: Option<Duration>,
}

/// Finds candidates.
///
/// # Contract
/// * At most `limit` rows, all of one schema ([`CandidateSource::fields`]) with the key column first, keys unique and non-null.
/// * Safe to drop at any await point: a late source is dropped.
#[async_trait]
pub trait CandidateSource: Debug + Send + Sync + 'static {
    /// Name in reports and counters.
    fn name(&self) -> &Name;

    /// Columns of what it retrieves, the candidate key first.
    fn fields(&self) -> Vec<Field>;

    /// Candidates for `query`.
    ///
    /// # Errors
    /// Whatever keeps it from answering; the pipeline's policy decides what follows.
    async fn retrieve(&self, query: &Query, limit: usize, budget: Budget) -> Result<RecordBatch>;
}

/// Adds feature columns to candidates.
///
/// # Contract
/// * Answers with one array per field of [`Hydrator::fields`], in that order, each as long as the slate, in its order.
/// * A feature that is not known is null, never a made-up value.
#[async_trait]
pub trait Hydrator: Debug + Send + Sync + 'static {
    /// Name in reports and counters.
    fn name(&self) -> &Name;

    /// Columns that it adds.
    fn fields(&self) -> Vec<Field>;

    /// The columns for `slate`.
    ///
    /// # Errors
    /// Whatever keeps it from answering; the pipeline's policy decides what follows.
    async fn hydrate(&self, query: &Query, slate: &Slate, budget: Budget) -> Result<Vec<ArrayRef>>;
}

/// Takes candidates out.
///
/// # Contract
/// * One non-null value per candidate, in order: true keeps it.
/// * The name is the reason that is reported for what was taken out.
#[async_trait]
pub trait Filter: Debug + Send + Sync + 'static {
    /// Name in reports and counters, and the reason given.
    fn name(&self) -> &Name;

    /// Which candidates stay.
    ///
    /// # Errors
    /// Whatever keeps it from answering; the pipeline's policy decides what follows.
    async fn keep(&self, query: &Query, slate: &Slate, budget: Budget) -> Result<BooleanArray>;
}

/// Judges candidates by one objective.
///
/// # Contract
/// * One score per candidate, in order; greater is better. NaN is allowed and sinks below every number.
/// * A candidate's score does not depend on the others.
#[async_trait]
pub trait Scorer: Debug + Send + Sync + 'static {
    /// The objective, such as `click` or `revenue`.
    fn name(&self) -> &Name;

    /// Columns that it needs. The pipeline checks at build time that something makes them.
    fn inputs(&self) -> Vec<String>;

    /// The scores.
    ///
    /// # Errors
    /// Whatever keeps it from answering; the pipeline's policy decides what follows.
    async fn score(&self, query: &Query, slate: &Slate, budget: Budget) -> Result<Scored>;
}

/// Scores of one objective, and what made them.
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// One score per candidate, in order.
    pub scores: Vec<f64>,
    /// Version of the model behind them; empty where there is none. Read together with the scores, so that a swap in
    /// the middle of a request is reported truthfully.
    pub version: std::sync::Arc<str>,
}

/// Picks and orders the answer.
///
/// # Contract
/// * At most `limit` distinct positions of the slate, best first.
/// * Deterministic: equal slates give equal answers.
pub trait Selector: Debug + Send + Sync + 'static {
    /// Name in reports and counters.
    fn name(&self) -> &Name;

    /// Positions of the chosen candidates. `scores` is the blended score per candidate, NaN where there is none.
    ///
    /// # Errors
    /// Whatever keeps it from choosing.
    fn select(&self, query: &Query, slate: &Slate, scores: &[f64], limit: usize) -> Result<Vec<usize>>;
}

/// Sees what was served, off the answer's path.
///
/// # Contract
/// * Returns at once: it hands over to a bounded queue and counts what it drops.
/// * Never fails a request.
pub trait Observer: Debug + Send + Sync + 'static {
    /// Name in counters.
    fn name(&self) -> &Name;

    /// Takes note of one answered request.
    fn observe(&self, served: &std::sync::Arc<Served>);
}

/// One answered request, as observers and explanations see it.
#[derive(Debug, Clone)]
pub struct Served {
    /// What was asked.
    pub query: Query,
    /// The chosen candidates, best first, with every column as it was used for scoring.
    pub slate: Slate,
    /// Blended score of each chosen candidate.
    pub scores: Vec<f64>,
    /// Versions of whatever scored, by scorer name.
    pub versions: Vec<(Name, std::sync::Arc<str>)>,
    /// Names of stages that were skipped or late.
    pub degraded: Vec<Name>,
    /// Time from query to answer.
    pub took: Duration,
}
