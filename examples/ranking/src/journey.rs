//! The loop from end to end: raw events in, a ranked list out of a live service, drift seen, the model retrained, promoted and swapped
//! without a dropped request.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mlops_core::catalog::{Catalog, CatalogExt, Entry};
use mlops_core::dataset::Provenance;
use mlops_core::profile::Profile;
use mlops_core::{Dataset, EventTime, Name, Window};
use mlops_features::offline::JoinReport;
use mlops_monitor::retrain::RetrainReason;
use mlops_registry::serve::ServedModel;
use serde_json::json;

use crate::Result;
use crate::features::{Features, LABEL, known};
use crate::http::{Client, Load, LoadReport, Service};
use crate::intake::{Intake, IntakeReport, Named};
use crate::judge::Verdicts;
use crate::learn::{ALIAS, LearnSettings, Learner, Lesson, MODEL, slipped};
use crate::lineage;
use crate::options::{Options, Source};
use crate::progress::Progress;
use crate::replay::{self, Answered, Day, Pace};
use crate::report::Figures;
use crate::service::{self, PageSettings};
use crate::watch::{self, CLICKED, Seen, Watch};
use crate::world::movies::Movies;
use crate::world::offers::OfferShop;
use crate::world::{Ask, Plan, Reaction, World};

/// Connections of the replay, where requests need not wait for each other.
const CONNECTIONS: usize = 4;

/// How freely requests explore, and when an answer must be out.
const TEMPERATURE: f64 = 0.03;
const DEADLINE: Duration = Duration::from_millis(500);

/// What names of logs of service begin with.
const SERVED: &str = "served_";

/// In a world where each request waits for the one before: how many pass between two looks of the watch.
const LOOK_EVERY: usize = 100;

/// One day as it went.
#[derive(Clone, Debug)]
pub struct DayStory {
    /// The day.
    pub day: u32,
    /// How good its pages were.
    pub verdicts: Verdicts,
    /// Requests that were sent.
    pub requests: u64,
    /// Those that were not answered.
    pub failed: u64,
    /// Times of the answers in microseconds, sorted.
    pub times_us: Vec<u64>,
    /// Model versions that answered.
    pub versions: BTreeSet<String>,
    /// What the watch saw.
    pub seen: Vec<Seen>,
}

/// Everything that happened.
#[derive(Debug)]
pub struct Story {
    /// The world.
    pub title: String,
    /// When its parts happened.
    pub plan: Plan,
    /// How data came in.
    pub intake: IntakeReport,
    /// How the first training table was joined.
    pub joins: Vec<JoinReport>,
    /// All attempts to learn, with the reason for each.
    pub lessons: Vec<(String, Lesson)>,
    /// The days of service.
    pub days: Vec<DayStory>,
    /// Measurements of the service alone.
    pub load: Vec<LoadReport>,
    /// What windows were compared with at the end.
    pub reference: Option<Profile>,
    /// The instant after the last day.
    pub ended: EventTime,
    /// What went into the version that serves at the end, as a Mermaid flow chart.
    pub lineage: String,
    /// The figures.
    pub figures: Figures,
}

/// Runs the loop.
///
/// # Errors
/// Whatever stops it, to be shown to a person.
pub fn run(options: &Options, progress: &Progress) -> Result<Story> {
    let world: Box<dyn World> = match options.source()? {
        Source::Shop => Box::new(OfferShop::new(options.small, options.seed)?),
        Source::MovieLens(dir) => Box::new(Movies::open(&dir, options.small, options.seed)?),
    };
    let temporary = tempfile::tempdir()?;
    let dir = options.dir.clone().unwrap_or_else(|| temporary.path().to_owned());
    std::fs::create_dir_all(&dir).map_err(|e| mlops_core::Error::io(&dir, e))?;
    claim(&dir, options)?;
    Journey::begin(world.as_ref(), options, &dir, progress)?.travel()
}

/// What in a folder of a story is made anew whenever the story begins: all but raw files, what intake made of them, and the
/// catalogue.
const ANEW: [&str; 3] = ["features", "models", "watch"];

/// Makes `dir` the folder of the story that `options` tell: an empty one, or one in which the same story was begun before. Intake
/// goes on there where it was.
fn claim(dir: &Path, options: &Options) -> Result<()> {
    let story = json!({"format": 1, "data": options.data, "small": options.small, "seed": options.seed}).to_string();
    let marker = dir.join("story.json");
    match std::fs::read_to_string(&marker) {
        Ok(found) if found == story => {
            for stale in ANEW.map(|name| dir.join(name)).iter().filter(|stale| stale.exists()) {
                std::fs::remove_dir_all(stale).map_err(|e| mlops_core::Error::io(stale, e))?;
            }
            Ok(())
        }
        // A second story on top of the first would mix two worlds' histories.
        Ok(_) => Err(format!("{} holds another story: name a new folder", dir.display()).into()),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let mut inside = std::fs::read_dir(dir).map_err(|e| mlops_core::Error::io(dir, e))?;
            if inside.next().is_some() {
                return Err(format!("{} is not empty: name a new folder", dir.display()).into());
            }
            Ok(mlops_core::file::write_bytes(&marker, story.as_bytes())?)
        }
        Err(e) => Err(mlops_core::Error::io(&marker, e).into()),
    }
}

/// A model that the registry calls the one for production, and the service does not serve yet.
#[derive(Clone, Debug)]
struct Promoted {
    version: u32,
    reference: Window,
}

struct Journey<'a> {
    world: &'a dyn World,
    options: &'a Options,
    progress: &'a Progress,
    dir: PathBuf,
    plan: Plan,
    intake: Intake<'a>,
    raw: Vec<Named>,
    impressions: Named,
    features: Features,
    learner: Learner,
    examples: Dataset,
    joins: Vec<JoinReport>,
    lessons: Vec<(String, Lesson)>,
}

impl<'a> Journey<'a> {
    /// Intake, features, the first model: everything before the service.
    fn begin(world: &'a dyn World, options: &'a Options, dir: &Path, progress: &'a Progress) -> Result<Self> {
        let plan = world.plan().clone();
        let intake = Intake::open(dir, EventTime::EPOCH, progress)?;
        let trusted = world.intake(&intake)?;
        let rows = trusted.impressions.num_rows()?;
        progress.done(&format!(
            "intake: {} data sets, {rows} impressions that can be trusted, {} steps ran",
            intake.catalog().list()?.len(),
            intake.report().ran
        ));

        progress.stage("features", 3);
        let mut features = Features::open(world, trusted.catalogue, &dir.join("features"))?;
        features.remember(world, &intake, &trusted.impressions)?;
        progress.step();
        features.publish()?;
        progress.step();
        let (joined, joins) = features.join(&trusted.impressions)?;
        let examples = features.examples(&joined, LABEL)?;
        let matched: u64 = joins.iter().map(|join| join.matched).sum();
        progress.done(&format!("features: {} views joined to {rows} rows, {matched} matches", features.views().len()));

        let settings = LearnSettings {
            inputs: features.inputs(),
            rounds: if options.small { 60 } else { 150 },
            seed: options.seed,
            looks: (0..plan.page as u32).map(|place| world.looks(place)).collect(),
            order: !plan.sells,
            price: plan.sells.then_some("price"),
            groups: plan.sells.then_some(("age", &[35.0, 55.0])),
        };
        let learner = Learner::open(dir.join("models"), settings)?;
        let impressions = ("impressions".to_owned(), trusted.impressions);
        let mut journey = Self {
            world,
            options,
            progress,
            dir: dir.to_owned(),
            plan,
            intake,
            raw: trusted.raw,
            impressions,
            features,
            learner,
            examples,
            joins,
            lessons: Vec::new(),
        };
        journey.first_model()?;
        Ok(journey)
    }

    fn first_model(&mut self) -> Result<()> {
        let at = self.world.day_start(self.plan.live.start);
        let parents = [&self.impressions].into_iter().chain(&self.raw).cloned().collect::<Vec<_>>();
        let rows = self.examples.clone();
        let first = self.learn("first model", &rows, &parents, at)?;
        if !first.promotion.promoted() {
            return Err(format!("the first model did not pass its gate: {:?}", first.promotion.judgement()).into());
        }
        // What a broken join would teach must not get through: each label has slipped to the row before.
        let slipped = slipped(&rows)?;
        let broken = self.learn("labels slipped by one row", &slipped, &parents, at)?;
        if broken.promotion.promoted() {
            return Err("a model that was taught nonsense passed the gate".into());
        }
        Ok(())
    }

    /// Learns from `rows`, which were made of `parents`, and writes down that they were.
    fn learn(&mut self, why: &str, rows: &Dataset, parents: &[Named], at: EventTime) -> Result<Lesson> {
        self.progress.stage("learning", 1);
        let number = self.lessons.len() + 1;
        let settings = json!({"features": self.features.fingerprint()?, "why": why});
        let parents: Vec<&Named> = parents.iter().collect();
        let kept = self.intake.keep(&format!("examples_{number}"), "join", settings, &parents, rows)?;
        let lesson = self.learner.learn(&kept.1, why, at)?;
        self.remember_training(number, &kept, &lesson)?;
        let verdict = if lesson.promotion.promoted() { "promoted" } else { "refused" };
        let measured = |name: &str| lesson.metrics.get(name).copied().unwrap_or(f64::NAN);
        self.progress.done(&format!(
            "learning: {why}: version {} from {} rows, AUC {:.3}, click gain {:.3}: {verdict}",
            lesson.version,
            lesson.rows,
            measured("auc"),
            measured("click_gain"),
        ));
        self.lessons.push((why.to_owned(), lesson.clone()));
        Ok(lesson)
    }

    /// The rows that a model was trained on are part of the examples: without this entry its lineage would end at once.
    fn remember_training(&self, number: usize, examples: &Named, lesson: &Lesson) -> Result<()> {
        let name = Name::new(format!("train_{number}"))?;
        let known = Entry::of(Name::new(&examples.0)?, "ranking", &examples.1, EventTime::EPOCH)?;
        let provenance = Provenance {
            parents: vec![examples.1.digest()?],
            operation: Name::new("split")?,
            parameters: json!({"part": "train"}),
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            at: EventTime::EPOCH,
        };
        let entry = Entry { name, digest: lesson.trained_on, rows: lesson.rows, provenance: Some(provenance), ..known };
        self.intake.catalog().register(&entry)?;
        Ok(())
    }

    /// Serves the live days.
    fn travel(mut self) -> Result<Story> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        let (model, alias) = (Name::new(MODEL)?, Name::new(ALIAS)?);
        let loaded = self.learner.registry().load_alias(&model, &alias)?;
        let served = Arc::new(ServedModel::new(Name::new(service::OBJECTIVE)?, loaded));
        let log = Arc::new(service::log(&self.features)?);
        let page = PageSettings { explore: self.plan.explore, temperature: TEMPERATURE, deadline: DEADLINE };
        let pipeline = Arc::new(service::pipeline(&self.features, served.clone(), log.clone(), page)?);
        let metrics = crate::report::metrics(pipeline.clone(), log.clone());
        let host = runtime.block_on(
            Service::builder(pipeline)
                .context(service::context())
                .text_bytes_max(32 << 10)
                .body_bytes_max(64 << 10)
                .metrics(metrics)
                .build()?
                .serve(),
        )?;
        let client = Arc::new(Client::builder(host.addr()).build()?);
        let labels_min = if self.options.small { 2_000 } else { 10_000 };
        let trained_at = self.world.day_start(self.plan.live.start);
        let watched = self.world.watched();
        let mut watch = Watch::new(log, &self.plan, &watched, labels_min, trained_at, &self.dir.join("watch"))?;

        let (mut days, mut waiting, mut swap_ms) = (Vec::new(), None::<Promoted>, Vec::new());
        let mut skew = 0;
        for day in self.plan.live.clone() {
            let asks = Arc::new(self.world.asks(day)?);
            self.progress.stage(&format!("day {day}"), asks.len() as u64);
            if day > self.plan.live.start {
                self.features.backfill(self.world, &self.intake, [day])?;
                self.features.publish()?;
            }
            let swap = waiting.take();
            let road = Road { runtime: &runtime, client: &client, served: &served };
            let (story, took) = self.serve(day, &asks, &road, &mut watch, swap.as_ref())?;
            swap_ms.extend(took);
            if let Some(promoted) = &swap {
                watch.promoted(self.world.day_start(day), promoted.reference)?;
            }
            let wanted = story.seen.iter().filter_map(|seen| seen.retrain.clone()).next_back();
            self.tell(&story);
            if day == self.plan.live.start {
                skew = self.features.skew(&watch.labelled_since(EventTime::MIN)?)?;
            }
            days.push(story);
            if let Some(request) = wanted.filter(|_| day + 1 < self.plan.live.end) {
                waiting = self.relearn(&request.reasons, &watch, day)?;
            }
        }
        watch.keep()?;
        let load = if self.options.load { self.load(&runtime, &host.addr())? } else { Vec::new() };
        let metrics = runtime.block_on(client.metrics()).map_err(|e| e.to_string())?;
        let closed = runtime.block_on(host.shutdown());
        let (lineage_ok, lineage) = lineage::of(self.intake.catalog(), &self.raw, SERVED, &served)?;
        let facts = crate::report::Facts { swap_ms, skew, lineage_ok, cut_off: closed.cut_off, metrics };
        let figures = Figures::of(&self.plan, &days, &self.lessons, &load, facts);
        Ok(Story {
            title: self.world.title().to_owned(),
            plan: self.plan.clone(),
            intake: self.intake.report(),
            joins: self.joins,
            lessons: self.lessons,
            days,
            load,
            reference: watch.reference().cloned(),
            ended: self.world.day_start(self.plan.live.end),
            lineage,
            figures,
        })
    }

    /// One day of requests; a model that waits is swapped in when a third of them is answered.
    fn serve(
        &mut self,
        day: u32,
        asks: &Arc<Vec<Ask>>,
        road: &Road<'_>,
        watch: &mut Watch,
        swap: Option<&Promoted>,
    ) -> Result<(DayStory, Option<f64>)> {
        let mut verdicts = Verdicts::default();
        let mut seen = Vec::new();
        let (replayed, took) = if self.plan.by_request {
            self.one_by_one(asks, road, watch, swap, &mut verdicts, &mut seen)?
        } else {
            let (replayed, took) = self.side_by_side(asks, road, swap)?;
            for (ask, answer) in asks.iter().zip(&replayed.answers) {
                let Some(answer) = answer else { continue };
                let came = self.judge(ask, answer, watch, &mut verdicts)?;
                self.features.learn(watch::looks(ask, &came));
            }
            (replayed, took)
        };
        seen.push(watch.look(self.world.day_start(day + 1))?);
        let story = DayStory {
            day,
            verdicts,
            requests: asks.len() as u64,
            failed: replayed.failed(),
            times_us: watch::times(&replayed.answers),
            versions: replayed.answers.iter().flatten().map(|answer| answer.version.clone()).collect(),
            seen,
        };
        if let Some(failure) = replayed.failures.first() {
            self.progress.done(&format!("day {day}: {} requests failed, such as: {failure}", story.failed));
        }
        Ok((story, took))
    }

    fn judge(&self, ask: &Ask, answer: &Answered, watch: &mut Watch, verdicts: &mut Verdicts) -> Result<Vec<Reaction>> {
        let came = self.world.react(ask, &answer.page)?;
        verdicts.add(self.world, self.features.history(), ask, &answer.page, &came)?;
        watch.expect(ask, &came);
        Ok(came)
    }

    fn side_by_side(
        &self,
        asks: &Arc<Vec<Ask>>,
        road: &Road<'_>,
        swap: Option<&Promoted>,
    ) -> Result<(Day, Option<f64>)> {
        let pace = Arc::new(Pace::default());
        let sending = replay::replay(
            road.client.clone(),
            asks.clone(),
            self.plan.page,
            CONNECTIONS,
            pace.clone(),
            self.progress.bar(),
        );
        let sending = road.runtime.spawn(sending);
        let mut took = None;
        if let Some(promoted) = swap {
            while pace.answered() < asks.len() as u64 / 3 && !sending.is_finished() {
                std::thread::sleep(Duration::from_millis(1));
            }
            took = Some(self.swap(promoted, road, &asks[0])?);
        }
        Ok((road.runtime.block_on(sending)??, took))
    }

    fn one_by_one(
        &mut self,
        asks: &[Ask],
        road: &Road<'_>,
        watch: &mut Watch,
        swap: Option<&Promoted>,
        verdicts: &mut Verdicts,
        seen: &mut Vec<Seen>,
    ) -> Result<(Day, Option<f64>)> {
        let (mut day, mut took) = (Day::default(), None);
        for (place, ask) in asks.iter().enumerate() {
            if let Some(promoted) = swap.filter(|_| place == asks.len() / 3) {
                took = Some(self.swap(promoted, road, ask)?);
            }
            match road.runtime.block_on(replay::send(road.client, ask, self.plan.page)) {
                Ok(answer) => {
                    let came = self.judge(ask, &answer, watch, verdicts)?;
                    self.features.learn(watch::looks(ask, &came));
                    self.features.stream(known(ask))?;
                    day.answers.push(Some(answer));
                }
                Err(failure) => {
                    day.failures.push(failure);
                    day.answers.push(None);
                }
            }
            self.progress.step();
            if place % LOOK_EVERY == LOOK_EVERY - 1 {
                seen.push(watch.look(ask.at)?);
            }
        }
        self.features.settle()?;
        Ok((day, took))
    }

    /// Puts the promoted version into service; gives the milliseconds until an answer named it.
    fn swap(&self, promoted: &Promoted, road: &Road<'_>, probe: &Ask) -> Result<f64> {
        let started = Instant::now();
        let next = self.learner.registry().load_alias(&Name::new(MODEL)?, &Name::new(ALIAS)?)?;
        road.served.swap(next)?;
        let wanted = format!("{MODEL}/{}", promoted.version);
        // The probe is a request like any other, but for its id: what it is answered must not be joined with a real one's clicks.
        let probe = Ask { id: u64::MAX, ..probe.clone() };
        let answer = road.runtime.block_on(replay::send(road.client, &probe, 1))?;
        if answer.version != wanted {
            return Err(format!("after the swap to {wanted} an answer came from {}", answer.version).into());
        }
        Ok(started.elapsed().as_secs_f64() * 1e3)
    }

    /// Learns anew for `reasons`: from everything that was told, where the world tells it, else from what was served since inputs began
    /// to drift.
    fn relearn(&mut self, reasons: &[RetrainReason], watch: &Watch, day: u32) -> Result<Option<Promoted>> {
        let now = self.world.day_start(day + 1);
        let since = watch.drifting_since();
        let number = self.lessons.len() + 1;
        let (rows, parents) = if let Some(told) = self.world.told(day + 1)? {
            let rows = self.features.examples(&self.features.join(&told)?.0, LABEL)?;
            (rows, self.raw.clone())
        } else {
            let served = watch.labelled_since(since.unwrap_or(EventTime::MIN))?;
            let log = self.intake.keep(&format!("{SERVED}{number}"), "serve", json!({"until": now}), &[], &served)?;
            (self.features.examples(&served, CLICKED)?, vec![log])
        };
        let why = reasons.iter().map(reason).collect::<Vec<_>>().join("; ");
        let lesson = self.learn(&why, &rows, &parents, now)?;
        let reference = Window::new(since.unwrap_or_else(|| now.minus(self.plan.window * 2)), now)?;
        Ok(lesson.promotion.promoted().then_some(Promoted { version: lesson.version, reference }))
    }

    fn tell(&self, story: &DayStory) {
        let drifted: BTreeSet<&str> =
            story.seen.iter().flat_map(|seen| &seen.drift).flat_map(mlops_monitor::DriftReport::drifted).collect();
        let drifted = if drifted.is_empty() { String::new() } else { format!(", drifted: {}", join(&drifted)) };
        let sold = if self.plan.sells {
            format!(", {:.0} VND a request", story.verdicts.served.revenue())
        } else {
            String::new()
        };
        self.progress.done(&format!(
            "day {}: {} requests by {}, {} failed, NDCG {:.3}{sold}{drifted}",
            story.day,
            story.requests,
            join(&story.versions.iter().map(String::as_str).collect()),
            story.failed,
            story.verdicts.served.ndcg(),
        ));
    }

    fn load(&self, runtime: &tokio::runtime::Runtime, addr: &std::net::SocketAddr) -> Result<Vec<LoadReport>> {
        let asks = self.world.asks(self.plan.live.end - 1)?;
        let requests: Vec<_> = asks.iter().map(|ask| replay::request(ask, self.plan.page)).collect();
        let seconds = if self.options.small { 1 } else { 5 };
        let measure = |connections| {
            self.progress.stage(&format!("load at {connections}"), 1);
            let load = Load::builder().connections(connections).duration(Duration::from_secs(seconds)).build()?;
            Ok(runtime.block_on(load.run(*addr, &requests))?)
        };
        [1, 16].into_iter().map(measure).collect()
    }
}

/// How the service is reached.
struct Road<'a> {
    runtime: &'a tokio::runtime::Runtime,
    client: &'a Arc<Client>,
    served: &'a Arc<ServedModel>,
}

fn reason(reason: &RetrainReason) -> String {
    match reason {
        RetrainReason::Drift { columns, .. } => format!("drift of {}", columns.join(", ")),
        RetrainReason::Performance { metric, .. } => format!("{} fell", metric.name()),
        RetrainReason::Age { .. } => "age".to_owned(),
        RetrainReason::NewLabels { count } => format!("{count} new labels"),
        other => format!("{other:?}"),
    }
}

fn join(names: &BTreeSet<&str>) -> String {
    names.iter().copied().collect::<Vec<_>>().join(", ")
}
