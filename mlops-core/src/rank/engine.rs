//! Takes one request through the stages.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use arrow::array::{ArrayRef, RecordBatch, new_null_array};
use arrow::datatypes::{Field, SchemaRef};

use super::blend::{Resolved, blend};
use super::builder::RankPipelineBuilder;
use super::counters::Meta;
use super::merge::Layout;
use super::select::top;
use super::stages::repeat;
use super::wait::{Call, Patience, Slot, settle};
use super::{
    Blend, Budget, CandidateSource, Filter, Hydrator, Observer, OnError, Query, Scored, Scorer, Selector, Served,
    Slate, StageStats, Timer, Weights,
};
use crate::{Error, Name, Result};

/// Stages from candidates to an ordered answer, checked and ready to serve any number of requests at once.
///
/// # Examples
/// ```
/// use std::sync::Arc;
/// use mlops_core::arrow::array::{ArrayRef, Float64Array, Int64Array, RecordBatch};
/// use mlops_core::rank::{
///     Budget, FixedCandidates, PredicateFilter, Query, RankPipeline, RequestId, Scored, Scorer, Slate,
/// };
/// use mlops_core::source::{Comparison, Predicate};
/// use mlops_core::{EventTime, Name, Result, Schema};
///
/// #[derive(Debug)]
/// struct Margin(Name);
///
/// #[async_trait::async_trait]
/// impl Scorer for Margin {
///     fn name(&self) -> &Name {
///         &self.0
///     }
///     fn check(&self, columns: &Schema) -> Result<()> {
///         columns.field("margin").map(|_| ())
///     }
///     async fn score(&self, _query: &Query, slate: &Slate, _budget: Budget) -> Result<Scored> {
///         use mlops_core::arrow::array::AsArray;
///         use mlops_core::arrow::datatypes::Float64Type;
///         let margin = slate.column("margin")?.as_primitive::<Float64Type>();
///         Ok(Scored { scores: margin.values().to_vec(), version: "1".into() })
///     }
/// }
///
/// let offers = RecordBatch::try_from_iter([
///     ("offer", Arc::new(Int64Array::from(vec![10, 20, 30])) as ArrayRef),
///     ("price", Arc::new(Float64Array::from(vec![5.0, 80.0, 7.0])) as ArrayRef),
///     ("margin", Arc::new(Float64Array::from(vec![1.0, 9.0, 2.0])) as ArrayRef),
/// ])?;
/// let pipeline = RankPipeline::builder("offers")
///     .source(Arc::new(FixedCandidates::new("all", offers)?), 100)
///     .filter(Arc::new(PredicateFilter::new("too_dear", Predicate::new("price", Comparison::Lt, 50.0))?))
///     .scorer(Arc::new(Margin(Name::new("margin")?)), 1.0)
///     .build()?;
///
/// let who = RecordBatch::try_from_iter([("customer", Arc::new(Int64Array::from(vec![7])) as ArrayRef)])?;
/// let answer = pipeline.rank_now(Query::new(RequestId(1), EventTime::EPOCH, who, 10)?)?;
/// assert_eq!(answer.scores, [2.0, 1.0]);
/// assert_eq!(answer.filtered, [(Name::new("too_dear")?, 1)]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct RankPipeline {
    pub(super) name: Name,
    pub(super) request: Meta,
    pub(super) sources: Vec<Staged<dyn CandidateSource>>,
    pub(super) quotas: Vec<usize>,
    pub(super) layout: Layout,
    pub(super) middle: Vec<Middle>,
    pub(super) schema: SchemaRef,
    pub(super) scorers: Vec<Staged<dyn Scorer>>,
    pub(super) blend: Arc<Blend>,
    pub(super) blend_name: Name,
    pub(super) selector: Staged<dyn Selector>,
    pub(super) observers: Vec<Staged<dyn Observer>>,
    pub(super) deadline: Option<Duration>,
    pub(super) timer: Arc<dyn Timer>,
}

/// A stage and what the pipeline keeps about it.
#[derive(Debug)]
pub(super) struct Staged<T: ?Sized> {
    pub(super) meta: Meta,
    pub(super) stage: Arc<T>,
}

#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "a pipeline holds a handful, and a filter is the common one")]
pub(super) enum Middle {
    Hydrators { round: Vec<Staged<dyn Hydrator>>, fields: Vec<Vec<Field>>, schema: SchemaRef },
    Filter(Staged<dyn Filter>),
}

/// What one request has of its own.
#[derive(Clone, Debug, Default)]
pub struct RankOptions {
    /// Weights instead of the pipeline's, such as those of an experiment's arm.
    pub weights: Option<Weights>,
    /// Deadline instead of the pipeline's. Zero: nothing is waited for.
    pub deadline: Option<Duration>,
}

impl RankPipeline {
    /// Starts a pipeline without stages.
    pub fn builder(name: impl Into<String>) -> RankPipelineBuilder {
        RankPipelineBuilder::new(name.into())
    }

    /// Name of the pipeline.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// Columns of the slate that scorers see and observers get.
    pub fn columns(&self) -> &SchemaRef {
        &self.schema
    }

    /// The weights of the objectives: a handle to read and swap them while requests run.
    pub fn blend(&self) -> &Arc<Blend> {
        &self.blend
    }

    /// What every stage did so far: first whole requests, then the stages in the order in which they run.
    pub fn counters(&self) -> Vec<StageStats> {
        let middle = self.middle.iter().flat_map(|middle| match middle {
            Middle::Hydrators { round, .. } => round.iter().map(|h| &h.meta).collect::<Vec<_>>(),
            Middle::Filter(filter) => vec![&filter.meta],
        });
        std::iter::once(&self.request)
            .chain(self.sources.iter().map(|s| &s.meta))
            .chain(middle)
            .chain(self.scorers.iter().map(|s| &s.meta))
            .chain([&self.selector.meta])
            .chain(self.observers.iter().map(|o| &o.meta))
            .map(Meta::stats)
            .collect()
    }

    /// Answers `query` under the pipeline's weights and deadline.
    ///
    /// The future may be dropped at any time; nobody observes the request then.
    ///
    /// # Errors
    /// [`Error::Stage`] around the failure of a stage whose policy is [`OnError::Fail`], or of the first source when all
    /// of them failed; [`Error::Deadline`] naming the stage when it was late instead.
    pub async fn rank(&self, query: Query) -> Result<Arc<Served>> {
        self.rank_with(query, &RankOptions::default()).await
    }

    /// Answers `query` with weights or a deadline of its own.
    ///
    /// # Errors
    /// As [`rank`](Self::rank), and [`Error::NotFound`] for weights that do not fit the objectives.
    pub async fn rank_with(&self, query: Query, options: &RankOptions) -> Result<Arc<Served>> {
        self.answer(query, options, Patience::Waits).await
    }

    /// Answers `query` at once, without a runtime, where no stage waits.
    ///
    /// # Errors
    /// As [`rank`](Self::rank), and [`Error::Stage`] around [`Error::Invalid`] naming a stage that waits.
    pub fn rank_now(&self, query: Query) -> Result<Arc<Served>> {
        self.rank_now_with(query, &RankOptions::default())
    }

    /// Answers `query` at once, with weights or a deadline of its own.
    ///
    /// # Errors
    /// As [`rank_with`](Self::rank_with) and [`rank_now`](Self::rank_now).
    pub fn rank_now_with(&self, query: Query, options: &RankOptions) -> Result<Arc<Served>> {
        let answer = pin!(self.answer(query, options, Patience::Never));
        match answer.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(served) => served,
            Poll::Pending => Err(waits(&self.name)),
        }
    }

    async fn answer(&self, query: Query, options: &RankOptions, patience: Patience) -> Result<Arc<Served>> {
        let started = self.timer.now();
        let ends = options.deadline.or(self.deadline).map(|deadline| started.saturating_add(deadline));
        let mut request = Request {
            pipeline: self,
            ends,
            patience,
            now: started,
            versions: Vec::with_capacity(self.scorers.len() + 1),
            degraded: Vec::new(),
            filtered: Vec::new(),
        };
        let ranked = request.rank(&query, options).await;
        let took = request.now.saturating_sub(started);
        self.request.called(took);
        if ends.is_some_and(|ends| ends < request.now) {
            self.request.was_late();
        }
        let (slate, scores) = ranked.inspect_err(|_| self.request.failed())?;
        let Request { versions, filtered, degraded, .. } = request;
        if !degraded.is_empty() {
            self.request.was_degraded();
        }
        let served = Arc::new(Served { query, slate, scores, versions, filtered, degraded, took });
        for observer in &self.observers {
            let before = self.timer.now();
            observer.stage.observe(&served);
            observer.meta.called(self.timer.now().saturating_sub(before));
        }
        Ok(served)
    }
}

fn waits(stage: &Name) -> Error {
    Error::stage(stage.as_str(), Error::invalid("rank_now", "a stage that waits", "for stages that only compute"))
}

/// One request under way.
struct Request<'a> {
    pipeline: &'a RankPipeline,
    ends: Option<Duration>,
    patience: Patience,
    /// The last time that was looked at.
    now: Duration,
    versions: Vec<(Name, Arc<str>)>,
    filtered: Vec<(Name, usize)>,
    degraded: Vec<Name>,
}

impl Request<'_> {
    async fn rank(&mut self, query: &Query, options: &RankOptions) -> Result<(Slate, Vec<f64>)> {
        let weights = match &options.weights {
            Some(weights) => Arc::new(self.pipeline.blend.resolve(weights.clone())?),
            None => self.pipeline.blend.current(),
        };
        self.versions.push((self.pipeline.blend_name.clone(), weights.weights.version().clone()));
        let mut slate = self.retrieve(query).await?;
        for middle in &self.pipeline.middle {
            slate = match middle {
                Middle::Hydrators { round, fields, schema } => {
                    self.hydrate(query, slate, round, fields, schema).await?
                }
                Middle::Filter(filter) => self.filter(query, slate, filter).await?,
            };
        }
        let (slate, scores) = self.score(query, slate, &weights).await?;
        let chosen = self.select(query, &slate, &scores)?;
        let scores = chosen.iter().map(|position| scores[*position]).collect();
        let slate = slate.take(&chosen)?;
        self.now = self.pipeline.timer.now();
        Ok((slate, scores))
    }

    async fn retrieve(&mut self, query: &Query) -> Result<Slate> {
        let pipeline = self.pipeline;
        let mut slots: Vec<Slot<'_, RecordBatch>> = Vec::with_capacity(pipeline.sources.len());
        for (source, quota) in pipeline.sources.iter().zip(&pipeline.quotas) {
            slots.push(self.begin(&source.meta, |budget| source.stage.retrieve(query, *quota, budget)));
        }
        let begun = self.settle(&mut slots).await;
        let mut found = Vec::with_capacity(slots.len());
        let mut failure = None;
        for (i, (source, slot)) in pipeline.sources.iter().zip(slots).enumerate() {
            let rows = outcome(&source.meta, slot, begun)?;
            match rows.and_then(|rows| pipeline.layout.check(i, rows, pipeline.quotas[i])) {
                Ok(rows) => found.push((i, rows)),
                Err(error) => {
                    let error = self.stand_in(&source.meta, error)?;
                    failure = failure.or(Some(error));
                }
            }
        }
        match failure {
            Some(error) if found.is_empty() => Err(error),
            _ => pipeline.layout.merge(&found),
        }
    }

    async fn hydrate(
        &mut self,
        query: &Query,
        slate: Slate,
        round: &[Staged<dyn Hydrator>],
        fields: &[Vec<Field>],
        schema: &SchemaRef,
    ) -> Result<Slate> {
        let mut slots: Vec<Slot<'_, Vec<ArrayRef>>> = Vec::with_capacity(round.len());
        for hydrator in round {
            slots.push(self.begin(&hydrator.meta, |budget| hydrator.stage.hydrate(query, &slate, budget)));
        }
        let begun = self.settle(&mut slots).await;
        let mut columns = Vec::with_capacity(schema.fields().len());
        for ((hydrator, fields), slot) in round.iter().zip(fields).zip(slots) {
            let made = outcome(&hydrator.meta, slot, begun)?;
            match made.and_then(|made| check_columns(fields, made, slate.len())) {
                Ok(made) => columns.extend(made),
                Err(error) => {
                    self.stand_in(&hydrator.meta, error)?;
                    for field in fields {
                        columns.push(stand_in_column(&hydrator.meta, field, slate.len())?);
                    }
                }
            }
        }
        slate.extended(schema, columns)
    }

    async fn filter(&mut self, query: &Query, slate: Slate, filter: &Staged<dyn Filter>) -> Result<Slate> {
        let kept = {
            let mut slot = [self.begin(&filter.meta, |budget| filter.stage.keep(query, &slate, budget))];
            let begun = self.settle(&mut slot).await;
            let [slot] = slot;
            outcome(&filter.meta, slot, begun)?
        };
        let kept = kept.and_then(|keep| {
            let all = keep.len() == slate.len() && keep.true_count() == slate.len();
            if all { Ok(None) } else { slate.filter(&keep).map(Some) }
        });
        let kept = match kept {
            Ok(kept) => kept,
            Err(error) => {
                self.stand_in(&filter.meta, error)?;
                (filter.meta.on_error == OnError::Close).then(|| slate.take(&[])).transpose()?
            }
        };
        let Some(kept) = kept else { return Ok(slate) };
        self.filtered.push((filter.meta.name.clone(), slate.len() - kept.len()));
        Ok(kept)
    }

    async fn score(&mut self, query: &Query, slate: Slate, weights: &Resolved) -> Result<(Slate, Vec<f64>)> {
        let pipeline = self.pipeline;
        let mut slots: Vec<Slot<'_, Scored>> = Vec::with_capacity(pipeline.scorers.len());
        for scorer in &pipeline.scorers {
            slots.push(self.begin(&scorer.meta, |budget| scorer.stage.score(query, &slate, budget)));
        }
        let begun = self.settle(&mut slots).await;
        let mut scored = Vec::with_capacity(slots.len());
        for (i, (scorer, slot)) in pipeline.scorers.iter().zip(slots).enumerate() {
            let made = outcome(&scorer.meta, slot, begun)?;
            match made.and_then(|made| check_scores(&scorer.meta, made, slate.len())) {
                Ok(made) => {
                    if !made.version.is_empty() {
                        self.versions.push((scorer.meta.name.clone(), made.version));
                    }
                    scored.push((i, made.scores));
                }
                Err(error) => {
                    self.stand_in(&scorer.meta, error)?;
                    if let OnError::Prior(prior) = scorer.meta.on_error {
                        scored.push((i, vec![prior; slate.len()]));
                    }
                }
            }
        }
        let parts = scored.iter().map(|(i, scores)| (weights.by_scorer[*i], scores.as_slice()));
        let blended = blend(slate.len(), parts);
        let slate = scored.into_iter().try_fold(slate, |slate, (i, scores)| {
            slate.with_objective(pipeline.scorers[i].meta.name.clone(), scores)
        })?;
        Ok((slate, blended))
    }

    fn select(&mut self, query: &Query, slate: &Slate, scores: &[f64]) -> Result<Vec<usize>> {
        let Staged { meta, stage } = &self.pipeline.selector;
        let chosen = stage.select(query, slate, scores, query.limit());
        let begun = std::mem::replace(&mut self.now, self.pipeline.timer.now());
        meta.called(self.now.saturating_sub(begun));
        match chosen.and_then(|chosen| check_positions(chosen, slate.len(), query.limit())) {
            Ok(chosen) => Ok(chosen),
            Err(error) => {
                self.stand_in(meta, error)?;
                Ok(top(scores, query.limit()))
            }
        }
    }

    fn begin<'c, T>(&self, meta: &Meta, call: impl FnOnce(Budget) -> Call<'c, T>) -> Slot<'c, T> {
        let limit = meta.time_limit.map(|limit| self.now.saturating_add(limit));
        let ends = [limit, self.ends].into_iter().flatten().min();
        let left = ends.map(|ends| ends.saturating_sub(self.now));
        Slot::Running(call(Budget { left }), ends)
    }

    /// Waits for stages that were begun, and answers when that was.
    async fn settle<T>(&mut self, slots: &mut [Slot<'_, T>]) -> Duration {
        let begun = self.now;
        settle(&*self.pipeline.timer, self.patience, slots).await;
        let ended = |slot: &Slot<'_, T>| match slot {
            Slot::Done(_, at) | Slot::Late(at) => Some(*at),
            _ => None,
        };
        self.now = slots.iter().filter_map(ended).max().unwrap_or(begun);
        begun
    }

    /// Counts a failed stage and goes on without it, or fails the request.
    fn stand_in(&mut self, meta: &Meta, error: Error) -> Result<Error> {
        let error = match error {
            Error::Deadline { stage } if stage == meta.name.as_str() => {
                meta.was_late();
                Error::Deadline { stage }
            }
            error => {
                meta.failed();
                Error::stage(meta.name.as_str(), error)
            }
        };
        if meta.on_error == OnError::Fail {
            return Err(error);
        }
        meta.was_degraded();
        self.degraded.push(meta.name.clone());
        Ok(error)
    }
}

/// What came of a call, counted; the outer error is for a stage that waits where nobody may.
fn outcome<T>(meta: &Meta, slot: Slot<'_, T>, begun: Duration) -> Result<Result<T>> {
    let (result, at) = match slot {
        Slot::Done(result, at) => (result, at),
        Slot::Late(at) => (Err(Error::Deadline { stage: meta.name.to_string() }), at),
        Slot::Waits | Slot::Running(..) => return Err(waits(&meta.name)),
    };
    meta.called(at.saturating_sub(begun));
    Ok(result)
}

fn check_columns(fields: &[Field], made: Vec<ArrayRef>, rows: usize) -> Result<Vec<ArrayRef>> {
    if fields.len() != made.len() {
        let columns = |n: usize| format!("{n} columns");
        return Err(Error::schema("*", columns(fields.len()), columns(made.len())));
    }
    for (field, array) in fields.iter().zip(&made) {
        if array.len() != rows || array.data_type() != field.data_type() {
            let expected = format!("{rows} of {}", field.data_type());
            return Err(Error::schema(field.name(), expected, format!("{} of {}", array.len(), array.data_type())));
        }
        if !field.is_nullable() && array.null_count() > 0 {
            return Err(Error::schema(field.name(), "no nulls", format!("{} nulls", array.null_count())));
        }
    }
    Ok(made)
}

fn stand_in_column(meta: &Meta, field: &Field, rows: usize) -> Result<ArrayRef> {
    match &meta.on_error {
        OnError::Values(row) => {
            let value = row.column_by_name(field.name()).ok_or_else(|| Error::not_found("column", field.name()))?;
            repeat(value, rows)
        }
        _ => Ok(new_null_array(field.data_type(), rows)),
    }
}

fn check_scores(meta: &Meta, made: Scored, rows: usize) -> Result<Scored> {
    if made.scores.len() == rows {
        return Ok(made);
    }
    let scores = |n: usize| format!("{n} scores");
    Err(Error::schema(meta.name.as_str(), scores(rows), scores(made.scores.len())))
}

fn check_positions(chosen: Vec<usize>, rows: usize, limit: usize) -> Result<Vec<usize>> {
    let mut taken = vec![false; rows];
    for position in &chosen {
        match taken.get_mut(*position) {
            Some(taken) if !*taken => *taken = true,
            _ => return Err(Error::invalid("position", position, "inside the slate and chosen once")),
        }
    }
    if chosen.len() > limit {
        return Err(Error::invalid("chosen", chosen.len(), "at most as many as were asked for"));
    }
    Ok(chosen)
}
