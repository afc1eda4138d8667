//! Puts a ranking pipeline together and checks that its stages fit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{Field, Schema as ArrowSchema, SchemaRef};

use super::counters::Meta;
use super::engine::{Middle, RankPipeline, Staged};
use super::merge::Layout;
use super::{
    Blend, CandidateSource, Filter, Hydrator, Observer, OnError, Scorer, Selector, StageKind, StdTimer, Timer, TopK,
    Weights,
};
use crate::{Error, Name, Result, Schema};

/// Most sources of one pipeline: each has a bit in [`SOURCE_MASK`](super::SOURCE_MASK).
pub const SOURCES_MAX: usize = 64;

/// What the version of the weights is reported under.
pub(super) const BLEND: &str = "blend";

/// Stages on their way to a [`RankPipeline`].
#[derive(Debug)]
pub struct RankPipelineBuilder {
    name: String,
    sources: Vec<(Arc<dyn CandidateSource>, usize)>,
    middle: Vec<Added>,
    scorers: Vec<(Arc<dyn Scorer>, f64)>,
    weights_version: String,
    selector: Option<Arc<dyn Selector>>,
    observers: Vec<Arc<dyn Observer>>,
    deadline: Option<Duration>,
    timer: Arc<dyn Timer>,
    on_error: BTreeMap<String, OnError>,
    time_limits: BTreeMap<String, Duration>,
}

#[derive(Debug)]
enum Added {
    Hydrators(Vec<Arc<dyn Hydrator>>),
    Filter(Arc<dyn Filter>),
}

impl RankPipelineBuilder {
    pub(super) fn new(name: String) -> Self {
        Self {
            name,
            sources: Vec::new(),
            middle: Vec::new(),
            scorers: Vec::new(),
            weights_version: "initial".to_owned(),
            selector: None,
            observers: Vec::new(),
            deadline: None,
            timer: Arc::new(StdTimer::default()),
            on_error: BTreeMap::new(),
            time_limits: BTreeMap::new(),
        }
    }

    /// Adds a source that may give up to `quota` candidates. Sources run side by side; where two find one candidate, that
    /// of the source added first stays.
    pub fn source(mut self, source: Arc<dyn CandidateSource>, quota: usize) -> Self {
        self.sources.push((source, quota));
        self
    }

    /// Adds a hydrator, which sees what hydrators and filters added before it leave.
    pub fn hydrator(self, hydrator: Arc<dyn Hydrator>) -> Self {
        self.hydrators([hydrator])
    }

    /// Adds hydrators that run side by side and do not see each other's columns.
    pub fn hydrators(mut self, hydrators: impl IntoIterator<Item = Arc<dyn Hydrator>>) -> Self {
        self.middle.push(Added::Hydrators(hydrators.into_iter().collect()));
        self
    }

    /// Adds a filter, which sees what hydrators and filters added before it leave.
    pub fn filter(mut self, filter: Arc<dyn Filter>) -> Self {
        self.middle.push(Added::Filter(filter));
        self
    }

    /// Adds an objective with its first weight. Scorers run side by side after all hydrators and filters. With weight 0
    /// an objective is scored and reported but does not count.
    pub fn scorer(mut self, scorer: Arc<dyn Scorer>, weight: f64) -> Self {
        self.scorers.push((scorer, weight));
        self
    }

    /// What the first weights are called in [`Served::versions`](super::Served::versions). Default: `initial`.
    pub fn weights_version(mut self, version: impl Into<String>) -> Self {
        self.weights_version = version.into();
        self
    }

    /// Who picks from the blended scores. Default: [`TopK`] under the name `top_k`.
    pub fn selector(mut self, selector: Arc<dyn Selector>) -> Self {
        self.selector = Some(selector);
        self
    }

    /// Adds somebody who sees what was served.
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observers.push(observer);
        self
    }

    /// How long a request may wait for its stages. Default: no deadline.
    ///
    /// When it is over no stage is waited for: each that has not answered yet is polled once, so that what only computes
    /// still counts, and what waits is late. Computing is not cut off: stages read their [`Budget`](super::Budget).
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = Some(deadline);
        self
    }

    /// How long one stage may be waited for; never longer than the deadline. Default: as long as the deadline.
    pub fn time_limit(mut self, stage: impl Into<String>, limit: Duration) -> Self {
        self.time_limits.insert(stage.into(), limit);
        self
    }

    /// What follows when `stage` fails or is late. Defaults: see [`OnError`].
    pub fn on_error(mut self, stage: impl Into<String>, policy: OnError) -> Self {
        self.on_error.insert(stage.into(), policy);
        self
    }

    /// Where time comes from, and what ends waits. Default: [`StdTimer`].
    pub fn timer(mut self, timer: Arc<dyn Timer>) -> Self {
        self.timer = timer;
        self
    }

    /// Checks that the stages fit together.
    ///
    /// # Errors
    /// * [`Error::Invalid`] when the name is not a [`Name`], there is no source or more than 64, or a quota, weight,
    ///   deadline or limit makes no sense.
    /// * [`Error::AlreadyExists`] for two stages of one name.
    /// * [`Error::NotFound`] for a policy or limit of a stage that is not there.
    /// * [`Error::Stage`] naming the stage whose columns collide with those before it, that needs a column which nothing
    ///   makes or which is of another type, or whose policy is for other stages.
    pub fn build(mut self) -> Result<RankPipeline> {
        let name = Name::new(&self.name)?;
        self.check_settings()?;
        let selector = match self.selector.take() {
            Some(selector) => selector,
            None => Arc::new(TopK::new("top_k")?),
        };
        let mut stages = Stages { builder: &mut self, taken: BTreeSet::from([Name::new(BLEND)?]) };
        let sources = stages.sources()?;
        let layout = Layout::new(&sources.iter().map(|s| (s.meta.name.clone(), s.stage.fields())).collect::<Vec<_>>())?;
        let (middle, schema) = stages.middle(&layout)?;
        let scorers = stages.scorers(&schema)?;
        let selector = stages.stage(selector.name().clone(), StageKind::Selector, selector)?;
        let observers = std::mem::take(&mut stages.builder.observers);
        let observers = observers.into_iter().map(|o| stages.stage(o.name().clone(), StageKind::Observer, o));
        let observers = observers.collect::<Result<_>>()?;
        let weights = self.scorers.iter().map(|(scorer, weight)| (scorer.name().as_str(), *weight));
        let weights = Weights::new(self.weights_version.as_str(), weights)?;
        let objectives = scorers.iter().map(|scorer| scorer.meta.name.clone()).collect();
        if let Some(unknown) = self.on_error.keys().chain(self.time_limits.keys()).next() {
            return Err(Error::not_found("stage", unknown));
        }
        Ok(RankPipeline {
            request: Meta::new(name.clone(), StageKind::Request),
            blend_name: Name::new(BLEND)?,
            blend: Arc::new(Blend::new(objectives, weights)?),
            quotas: self.sources.iter().map(|(_, quota)| *quota).collect(),
            name,
            sources,
            layout,
            middle,
            schema,
            scorers,
            selector,
            observers,
            deadline: self.deadline,
            timer: self.timer,
        })
    }

    fn check_settings(&self) -> Result<()> {
        if !(1..=SOURCES_MAX).contains(&self.sources.len()) {
            return Err(Error::invalid("sources", self.sources.len(), "in 1..=64"));
        }
        if self.sources.iter().any(|(_, quota)| *quota == 0) {
            return Err(Error::invalid("quota", 0, "at least 1"));
        }
        let limits = self.time_limits.values().chain(&self.deadline);
        match limits.into_iter().find(|limit| limit.is_zero()) {
            Some(_) => Err(Error::invalid("deadline", "0 s", "longer than nothing")),
            None => Ok(()),
        }
    }
}

/// The stages of a builder as they are taken out of it, under names that are not taken twice.
struct Stages<'a> {
    builder: &'a mut RankPipelineBuilder,
    taken: BTreeSet<Name>,
}

impl Stages<'_> {
    fn stage<T: ?Sized>(&mut self, name: Name, kind: StageKind, stage: Arc<T>) -> Result<Staged<T>> {
        if !self.taken.insert(name.clone()) {
            return Err(Error::AlreadyExists { kind: "stage", name: name.to_string() });
        }
        let mut meta = Meta::new(name, kind);
        if let Some(policy) = self.builder.on_error.remove(meta.name.as_str()) {
            policy.check(&meta.name, kind)?;
            meta.on_error = policy;
        }
        meta.time_limit = self.builder.time_limits.remove(meta.name.as_str());
        Ok(Staged { meta, stage })
    }

    fn sources(&mut self) -> Result<Vec<Staged<dyn CandidateSource>>> {
        let sources: Vec<_> = self.builder.sources.iter().map(|(source, _)| source.clone()).collect();
        sources.into_iter().map(|s| self.stage(s.name().clone(), StageKind::Source, s)).collect()
    }

    /// Hydrators and filters, and the columns that there are after them.
    fn middle(&mut self, layout: &Layout) -> Result<(Vec<Middle>, SchemaRef)> {
        let mut schema = layout.schema.clone();
        let mut middle = Vec::new();
        for added in std::mem::take(&mut self.builder.middle) {
            match added {
                Added::Filter(filter) => {
                    let filter = self.stage(filter.name().clone(), StageKind::Filter, filter)?;
                    check(&filter.meta, &schema, |columns| filter.stage.check(columns))?;
                    middle.push(Middle::Filter(filter));
                }
                Added::Hydrators(hydrators) => {
                    let round = hydrators.into_iter().map(|h| self.stage(h.name().clone(), StageKind::Hydrator, h));
                    let round = round.collect::<Result<Vec<_>>>()?;
                    let mut fields = Vec::with_capacity(round.len());
                    for hydrator in &round {
                        let made = hydrator.stage.fields();
                        schema = join(&schema, hydrator, &made)?;
                        fields.push(made);
                    }
                    middle.push(Middle::Hydrators { round, fields, schema: schema.clone() });
                }
            }
        }
        Ok((middle, schema))
    }

    fn scorers(&mut self, schema: &SchemaRef) -> Result<Vec<Staged<dyn Scorer>>> {
        let scorers: Vec<_> = self.builder.scorers.iter().map(|(scorer, _)| scorer.clone()).collect();
        let staged = |scorer: Arc<dyn Scorer>| {
            let scorer = self.stage(scorer.name().clone(), StageKind::Scorer, scorer)?;
            check(&scorer.meta, schema, |columns| scorer.stage.check(columns))?;
            Ok(scorer)
        };
        scorers.into_iter().map(staged).collect()
    }
}

fn check(meta: &Meta, columns: &SchemaRef, check: impl Fn(&Schema) -> Result<()>) -> Result<()> {
    check(&Schema::new(columns.clone())?).map_err(|e| Error::stage(meta.name.as_str(), e))
}

/// The columns of `schema` and those that `hydrator` makes.
fn join(schema: &SchemaRef, hydrator: &Staged<dyn Hydrator>, made: &[Field]) -> Result<SchemaRef> {
    let fail = |error| Err(Error::stage(hydrator.meta.name.as_str(), error));
    let mut fields = schema.fields().to_vec();
    for field in made {
        if fields.iter().any(|known| known.name() == field.name()) {
            return fail(Error::AlreadyExists { kind: "slate column", name: field.name().clone() });
        }
        // Nulls stand in for a hydrator that fails, unless its policy says otherwise.
        let nullable = field.is_nullable() || hydrator.meta.on_error != OnError::Fail;
        fields.push(Arc::new(field.clone().with_nullable(nullable)));
    }
    if let OnError::Values(row) = &hydrator.meta.on_error {
        for field in made {
            match row.column_by_name(field.name()) {
                Some(value) if value.data_type() == field.data_type() => {}
                Some(value) => return fail(Error::schema(field.name(), field.data_type(), value.data_type())),
                None => return fail(Error::schema(field.name(), field.data_type(), "no such column in the values")),
            }
        }
    }
    Ok(Arc::new(ArrowSchema::new(fields)))
}
