//! Requests: candidates are found, given features, filtered, scored and selected before a deadline.
//!
//! Candidates travel as a [`Slate`], columns not objects. Stages are async, so that stores behind a network fit; a stage
//! that only computes never yields. Stage traits: [`CandidateSource`], [`Hydrator`], [`Filter`], [`Scorer`],
//! [`Selector`], [`Observer`]. A [`RankPipeline`] runs them; entry points: [`RankPipeline::builder`],
//! [`RankPipeline::rank`], and [`RankPipeline::rank_now`] where no stage waits. No runtime is needed: where a deadline
//! is to cut off a stage that waits, the host lends a [`Timer`].

mod blend;
mod builder;
mod counters;
mod engine;
mod merge;
mod policy;
mod query;
mod select;
mod slate;
mod stages;
mod timer;
mod wait;

pub use blend::{Blend, Weights};
pub use builder::{RankPipelineBuilder, SOURCES_MAX};
pub use counters::{StageKind, StageStats};
pub use engine::{RankOptions, RankPipeline};
pub use merge::SOURCE_MASK;
pub use policy::OnError;
pub use query::{Query, RequestId};
pub use select::{Mmr, TopK};
pub use slate::Slate;
pub use stages::{ContextColumns, FixedCandidates, ModelScorer, PredicateFilter};
pub use timer::{Sleep, StdTimer, Timer};

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch};
use arrow::datatypes::Field;
use async_trait::async_trait;

use crate::{Name, Result, Schema};

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
///
/// `testkit::candidate_source` checks these; run it on your own source.
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
/// * A candidate's features do not depend on the others, and an empty slate is answered.
/// * Safe to drop at any await point: a late hydrator is dropped.
///
/// `testkit::hydrator` checks these; run it on your own hydrator.
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
/// * A candidate stays or goes whatever the others are, and an empty slate is answered.
/// * Safe to drop at any await point: a late filter is dropped.
///
/// `testkit::filter` checks these; run it on your own filter.
#[async_trait]
pub trait Filter: Debug + Send + Sync + 'static {
    /// Name in reports and counters, and the reason given.
    fn name(&self) -> &Name;

    /// Whether `columns`, which is what the stages before it make, is all that it reads of a slate. The pipeline asks
    /// once, when it is built.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) or [`Error::Schema`](crate::Error::Schema) naming a column that is
    /// missing or of another type.
    fn check(&self, columns: &Schema) -> Result<()>;

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
/// * A candidate's score does not depend on the others, and an empty slate is answered.
/// * Safe to drop at any await point: a late scorer is dropped.
///
/// `testkit::scorer` checks these; run it on your own scorer.
#[async_trait]
pub trait Scorer: Debug + Send + Sync + 'static {
    /// The objective, such as `click` or `revenue`.
    fn name(&self) -> &Name;

    /// Whether `columns`, which is what the stages before it make, is all that it reads of a slate. The pipeline asks
    /// once, when it is built.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::Error::NotFound) or [`Error::Schema`](crate::Error::Schema) naming a column that is
    /// missing or of another type.
    fn check(&self, columns: &Schema) -> Result<()>;

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
    pub version: Arc<str>,
}

/// Picks and orders the answer.
///
/// # Contract
/// * At most `limit` distinct positions of the slate, best first.
/// * Deterministic: equal slates give equal answers. A NaN score is below every number.
///
/// `testkit::selector` checks these; run it on your own selector.
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
///
/// `testkit::observer` checks these; run it on your own observer.
pub trait Observer: Debug + Send + Sync + 'static {
    /// Name in counters.
    fn name(&self) -> &Name;

    /// Takes note of one answered request.
    fn observe(&self, served: &Arc<Served>);
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
    /// Versions of whatever scored, by scorer name; that of the weights stands first, under `blend`.
    pub versions: Vec<(Name, Arc<str>)>,
    /// How many candidates each filter took out, for those that took out any, in the order of filtering.
    pub filtered: Vec<(Name, usize)>,
    /// Names of stages that failed or were late and were stood in for.
    pub degraded: Vec<Name>,
    /// Time from query to answer.
    pub took: Duration,
}
