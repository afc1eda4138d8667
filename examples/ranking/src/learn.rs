//! From rows to a promoted model: split, train, measure, register, pass the gate, or be refused.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use mlops_core::arrow::array::{Array, ArrayRef, AsArray, Float64Array, RecordBatch};
use mlops_core::arrow::compute::cast;
use mlops_core::arrow::datatypes::{DataType, Float64Type, Int64Type, TimestampMicrosecondType};
use mlops_core::metrics::{BinaryTotals, GroupRates, auc};
use mlops_core::model::Model;
use mlops_core::pipeline::{Artifact, FnStep, Given, Pipeline, RunOptions};
use mlops_core::source::ScanRequest;
use mlops_core::time::ManualClock;
use mlops_core::{Dataset, Digest, EventTime, Name};
use mlops_registry::SqliteStore;
use mlops_registry::artifact::FileArtifacts;
use mlops_registry::flavor::Flavors;
use mlops_registry::gbdt::{GbdtParams, Objective};
use mlops_registry::run::{Metric, NewRun, RunInput, RunLog, RunStatus, RunStore};
use mlops_registry::steps::{Columns, Promote, Register, Train, trained_model};
use mlops_registry::train::{GbdtTrainer, Trainer, split_at};
use mlops_registry::version::{Evidence, Gate, Promotion, Registry, Rule};

use crate::Result;
use crate::derive::numbers;
use crate::features::{GROUP, LABEL, SHOWN_AT, texts};

/// The registered model.
pub const MODEL: &str = "click_ranker";

/// The alias of the version in service.
pub const ALIAS: &str = "production";

/// Share of the rows, the latest ones, that a candidate is judged by and that nothing learns from.
const JUDGED: f64 = 0.15;

/// Share of the rows, those before, that say when training stops.
const VALID: f64 = 0.05;

/// Repetitions of the latency measurement.
const LATENCY_RUNS: usize = 200;

/// Rows that importance is averaged over.
const EXPLAINED_ROWS: u64 = 500;

/// Clicks (and other rows) that a group needs before it is compared with others.
const GROUP_CLICKS_MIN: u64 = 30;

/// Places that count as selected in the fairness demand.
const SELECTED: usize = 3;

/// Most that one look can count for, so that a click far down does not decide alone.
const LOOK_WEIGHT_MAX: f64 = 5.0;

/// What the ranker learns with, and who has a say in what is promoted.
#[derive(Clone, Debug)]
pub struct LearnSettings {
    /// Inputs of the model, in order.
    pub inputs: Vec<String>,
    /// Trees at most.
    pub rounds: u32,
    /// Seed of training.
    pub seed: u64,
    /// How probable a look at a place is; index from 0.
    pub looks: Vec<f64>,
    /// Learns the order within each request (LambdaMART) from grades, instead of the probability of a click.
    pub order: bool,
    /// The column with the price, where things are sold.
    pub price: Option<&'static str>,
    /// The column that fairness is judged by, and its upper bounds of groups.
    pub groups: Option<(&'static str, &'static [f64])>,
}

/// What one attempt came to.
#[derive(Clone, Debug)]
pub struct Lesson {
    /// The registered version.
    pub version: u32,
    /// Whether it was promoted, and why not.
    pub promotion: Promotion,
    /// What it was measured at.
    pub metrics: BTreeMap<String, f64>,
    /// What the champion was measured at, on the same rows.
    pub champion: Option<BTreeMap<String, f64>>,
    /// The rows that it learned from.
    pub rows: u64,
    /// Their digest.
    pub trained_on: Digest,
    /// Inputs by how much they matter, in shares of the whole.
    pub importance: Vec<(String, f64)>,
}

/// Trains, registers and promotes.
#[derive(Debug)]
pub struct Learner {
    dir: PathBuf,
    settings: Arc<LearnSettings>,
    registry: Registry,
    runs: Arc<SqliteStore>,
    attempts: u32,
}

impl Learner {
    /// A learner that keeps its models in the folder `dir`.
    ///
    /// # Errors
    /// When the registry cannot be opened.
    pub fn open(dir: PathBuf, settings: LearnSettings) -> Result<Self> {
        std::fs::create_dir_all(&dir).map_err(|e| mlops_core::Error::io(&dir, e))?;
        let store = Arc::new(SqliteStore::open(dir.join("registry.db"))?);
        let artifacts = Arc::new(FileArtifacts::open(dir.join("artifacts"))?);
        let registry = Registry::new(store.clone(), artifacts, Flavors::all());
        Ok(Self { dir, settings: Arc::new(settings), registry, runs: store, attempts: 0 })
    }

    /// The models.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// Learns from `rows`, in the order of time, and promotes what passes the gate.
    ///
    /// The work is a pipeline: `rows → train, valid, judged → model → metrics, evidence → version → promotion`. Each step's output
    /// is kept by content, so that an attempt that was cut off goes on where it was.
    ///
    /// # Errors
    /// When a step fails. A refusal is no failure.
    pub fn learn(&mut self, rows: &Dataset, why: &str, at: EventTime) -> Result<Lesson> {
        self.attempts += 1;
        let parts = [time_of(rows, 1.0 - JUDGED - VALID)?, time_of(rows, 1.0 - JUDGED)?];
        let trainer: Arc<dyn Trainer> = Arc::new(GbdtTrainer::new(self.params()?));
        let pipeline = self.pipeline(rows, parts, trainer.clone())?;
        let run_dir = self.dir.join(format!("attempt-{}", self.attempts));
        let options = RunOptions::default().clock(Arc::new(ManualClock::at(at)));
        let run = pipeline.run(&run_dir, &options)?.ok()?;

        let train = run.artifact("train")?;
        let metrics: BTreeMap<String, f64> = serde_json::from_value(run.artifact("metrics")?.as_json()?.clone())?;
        let evidence: Evidence = serde_json::from_value(run.artifact("evidence")?.as_json()?.clone())?;
        let promotion: Promotion = serde_json::from_value(run.artifact("promotion")?.as_json()?.clone())?;
        let version = run.artifact("version")?.as_json()?["version"].as_u64().unwrap_or_default() as u32;
        let model = trained_model(&run.artifact("model")?, self.registry.flavors())?;
        let lesson = Lesson {
            version,
            promotion,
            metrics,
            champion: evidence.champion,
            rows: train.as_dataset()?.num_rows()?,
            trained_on: train.as_dataset()?.digest()?,
            importance: importance(model.as_ref(), run.artifact("judged")?.as_dataset()?)?,
        };
        self.log(&lesson, trainer.as_ref(), why, at)?;
        Ok(lesson)
    }

    fn params(&self) -> Result<GbdtParams> {
        let objective = if self.settings.order { Objective::LambdaRank } else { Objective::Binary };
        let params = GbdtParams::builder(objective).rounds(self.settings.rounds).learning_rate(0.08);
        let params = params.leaves_max(31).rows_leaf_min(40).lambda_l2(1.0).feature_fraction(0.6);
        Ok(params.early_stopping_rounds(20).seed(self.settings.seed).build()?)
    }

    fn pipeline(&self, rows: &Dataset, parts: [EventTime; 2], trainer: Arc<dyn Trainer>) -> Result<Pipeline> {
        let name = |name: &str| Name::new(name);
        let part = |step: &'static str, from: Option<EventTime>, until: Option<EventTime>| {
            FnStep::new(step, format!("1 {from:?} {until:?}"), move |inputs, _| {
                let mut rows = inputs.get("rows")?.as_dataset()?.clone();
                if let Some(from) = from {
                    rows = split_at(&rows, "event_time", from)?.1;
                }
                if let Some(until) = until {
                    rows = split_at(&rows, "event_time", until)?.0;
                }
                Ok(rows.into())
            })
        };
        let [valid_from, judged_from] = parts;
        let columns = Columns {
            features: Some(self.settings.inputs.clone()),
            label: Some(LABEL.to_owned()),
            group: self.settings.order.then(|| GROUP.to_owned()),
            ..Columns::default()
        };
        let train = Train::new(name("model")?, trainer, name("train")?, columns).valid(name("valid")?);
        let (settings, flavors) = (self.settings.clone(), self.registry.flavors().clone());
        let metrics = FnStep::new("metrics", "1", move |inputs, _| {
            let model = trained_model(inputs.get("model")?, &flavors)?;
            let measured = measure(model.as_ref(), inputs.get("judged")?.as_dataset()?, &settings);
            Ok(serde_json::json!(measured.map_err(|e| mlops_core::Error::external("measurement", e))?).into())
        })?;
        let (settings, registry) = (self.settings.clone(), self.registry.clone());
        // The champion may be another one the next time, so the alias is part of the version.
        let champion = registry.versions().alias(&name(MODEL)?, &name(ALIAS)?)?;
        let evidence = FnStep::new("evidence", format!("1 {champion:?}"), move |inputs, _| {
            let candidate = serde_json::from_value(inputs.get("metrics")?.as_json()?.clone());
            let candidate = candidate.map_err(|e| mlops_core::Error::invalid_data("metrics", e))?;
            let champion = champion.map(|number| {
                let loaded = registry.load(&Name::new(MODEL)?, number)?;
                let measured = measure(loaded.model.as_ref(), inputs.get("judged")?.as_dataset()?, &settings);
                measured.map_err(|e| mlops_core::Error::external("measurement", e))
            });
            Ok(serde_json::json!(Evidence { candidate, champion: champion.transpose()? }).into())
        })?;
        let register = Register::new(
            name("version")?,
            self.registry.clone(),
            name(MODEL)?,
            name("model")?,
            name("metrics")?,
            "ranking",
        );
        let promote = Promote::new(
            name("promotion")?,
            self.registry.clone(),
            name(MODEL)?,
            name(ALIAS)?,
            name("version")?,
            self.gate()?,
            "ranking",
        );
        Ok(Pipeline::builder("learn")
            .step(Given::new("rows", Artifact::Dataset(rows.clone()))?, &[])
            .step(part("train", None, Some(valid_from))?, &["rows"])
            .step(part("valid", Some(valid_from), Some(judged_from))?, &["rows"])
            .step(part("judged", Some(judged_from), None)?, &["rows"])
            .step(train, &["train", "valid"])
            .step(metrics, &["model", "judged"])
            .step(evidence, &["metrics", "judged"])
            .step(register, &["model", "metrics", "train"])
            .step(promote.evidence(name("evidence")?), &["version", "evidence"])
            .build()?)
    }

    /// One demand for everybody who has a say.
    fn gate(&self) -> Result<Gate> {
        let metric = |name: &str| name.to_owned();
        let mut gate = Gate::new()
            .demand("data_science", Rule::NotLower { metric: metric("click_gain"), tolerance: 0.005 })?
            .demand("better_than_chance", Rule::AtLeast { metric: metric("auc"), bound: 0.55 })?
            .demand("product_latency", Rule::AtMost { metric: metric("score_p99_us"), bound: 50_000.0 })?;
        if !self.settings.order {
            gate = gate.demand("honest_probabilities", Rule::AtMost { metric: metric("ece"), bound: 0.05 })?;
        }
        if self.settings.price.is_some() {
            gate = gate.demand("sales", Rule::NotLower { metric: metric("value_gain"), tolerance: 0.02 })?;
        }
        if self.settings.groups.is_some() {
            gate = gate.demand("fairness", Rule::AtMost { metric: metric("opportunity_gap"), bound: 0.3 })?;
        }
        Ok(gate)
    }

    fn log(&self, lesson: &Lesson, trainer: &dyn Trainer, why: &str, at: EventTime) -> Result<()> {
        let inputs = vec![RunInput { role: Name::new("train")?, digest: lesson.trained_on }];
        let run = self.runs.begin(&NewRun {
            experiment: Name::new("ranking")?,
            name: why.to_owned(),
            parent: None,
            inputs,
            code_version: env!("CARGO_PKG_VERSION").to_owned(),
            started: at,
        })?;
        let metric = |(key, value): (&String, &f64)| Metric { key: key.clone(), value: *value, step: 0, at };
        self.runs.log(
            &run,
            &RunLog {
                metrics: lesson.metrics.iter().map(metric).collect(),
                params: BTreeMap::from([("settings".to_owned(), trainer.settings()?.to_string())]),
                tags: BTreeMap::from([("version".to_owned(), lesson.version.to_string())]),
            },
        )?;
        Ok(self.runs.end(&run, RunStatus::Finished, at)?)
    }
}

/// The instant from which on a candidate is judged.
fn judged_from(rows: &Dataset) -> Result<EventTime> {
    time_of(rows, 1.0 - JUDGED)
}

/// The instant before which `share` of the rows lie.
fn time_of(rows: &Dataset, share: f64) -> Result<EventTime> {
    let mut times: Vec<i64> = Vec::new();
    for batch in rows.scan(&ScanRequest::all().columns(["event_time"]))? {
        let column = cast(batch?.column(0), &DataType::Int64)?;
        times.extend(column.as_primitive::<Int64Type>().values());
    }
    let place = (times.len() as f64 * share) as usize;
    if place >= times.len() {
        return Err("no rows to learn from".into());
    }
    Ok(EventTime::from_micros(*times.select_nth_unstable(place).1))
}

/// The same rows, where those that are learned from have the label of the row after them, and those that a candidate is judged by are as
/// they were.
///
/// # Errors
/// When a column is missing.
pub fn slipped(rows: &Dataset) -> Result<Dataset> {
    let whole = rows.to_batch()?;
    let middle = judged_from(rows)?.as_micros();
    let times = whole.column_by_name("event_time").ok_or("rows without event_time")?;
    let times = times.as_primitive::<TimestampMicrosecondType>().values();
    let place = whole.schema().index_of(LABEL)?;
    let labels = whole.column(place).as_primitive::<Float64Type>().values();
    let after = |row: usize| labels[(row + 1).min(labels.len() - 1)];
    let slipped = (0..labels.len()).map(|row| if times[row] < middle { after(row) } else { labels[row] });
    let mut columns = whole.columns().to_vec();
    columns[place] = Arc::new(slipped.collect::<Float64Array>()) as ArrayRef;
    Ok(Dataset::held(rows.schema().clone(), [RecordBatch::try_new(whole.schema(), columns)?])?)
}

/// How much each input moves the score, on average over some rows and as a share of the whole, greatest first; empty for models that
/// cannot tell.
fn importance(model: &dyn Model, rows: &Dataset) -> Result<Vec<(String, f64)>> {
    let some = Dataset::collect(rows.scan(&ScanRequest::all().limit(EXPLAINED_ROWS))?)?.to_batch()?;
    let Some(moved) = model.explain(&some)? else { return Ok(Vec::new()) };
    let mut shares = Vec::new();
    for field in moved.schema().fields().iter().filter(|field| field.name() != "bias") {
        let column = numbers(&moved, field.name())?;
        shares.push((field.name().clone(), column.values().iter().map(|moved| moved.abs()).sum::<f64>()));
    }
    let total: f64 = shares.iter().map(|(_, moved)| moved).sum();
    shares.iter_mut().for_each(|(_, moved)| *moved /= total.max(f64::MIN_POSITIVE));
    shares.sort_by(|a, b| b.1.total_cmp(&a.1));
    Ok(shares)
}

/// Measures `model` on labelled rows of whole pages.
///
/// * `auc`: of the clicks as they were, at the places where they were; `log_loss` and `ece` where scores are probabilities.
/// * `click_gain`, `value_gain`: how far up the model puts what was clicked, of pages ordered as if everything stood first; a click
///   counts one over the probability of a look at its place, and for `value_gain` times its price.
/// * `opportunity_gap`: greatest difference between groups of customers in the share of clicked offers that the model puts into the
///   first three places (equal opportunity).
/// * `score_p99_us`: time to score a hundred candidates.
///
/// # Errors
/// When a column is missing or the model refuses the rows.
pub fn measure(model: &dyn Model, rows: &Dataset, settings: &LearnSettings) -> Result<BTreeMap<String, f64>> {
    let rows = rows.to_batch()?;
    let labels = numbers(&rows, LABEL)?;
    let as_shown = predict(model, &rows)?;
    let first = predict(model, &standing_first(&rows)?)?;
    let positive: Vec<f64> = labels.values().iter().map(|label| f64::from(u8::from(*label > 0.0))).collect();
    let mut measured = BTreeMap::new();
    let mut put = |name: &str, value: Option<f64>| {
        value.filter(|value| value.is_finite()).map(|value| measured.insert(name.to_owned(), value))
    };
    put("auc", Some(auc(&positive, &as_shown, None)?));
    if !settings.order {
        let mut totals = BinaryTotals::new(0.5)?;
        totals.update(&positive, &as_shown)?;
        put("log_loss", totals.log_loss());
        put("ece", totals.ece());
    }
    let places = numbers(&rows, "position")?;
    let weight = |row: usize| {
        let looks = settings.looks.get(places.value(row) as usize).copied().unwrap_or(1.0);
        (1.0 / looks).min(LOOK_WEIGHT_MAX)
    };
    let clicks: Vec<f64> = (0..rows.num_rows()).map(|row| labels.value(row) * weight(row)).collect();
    let pages = pages(&rows)?;
    put("click_gain", click_gain(&pages, &clicks, &first));
    if let Some(price) = settings.price {
        let prices = numbers(&rows, price)?;
        let price = |row: usize| if prices.is_valid(row) { prices.value(row) / 100_000.0 } else { 0.0 };
        let values: Vec<f64> = clicks.iter().enumerate().map(|(row, click)| click * price(row)).collect();
        put("value_gain", click_gain(&pages, &values, &first));
    }
    if let Some((column, bounds)) = settings.groups {
        put("opportunity_gap", opportunity_gap(&pages, &numbers(&rows, column)?, bounds, &labels, &first)?);
    }
    put("score_p99_us", Some(latency(model, &rows)?));
    Ok(measured)
}

fn predict(model: &dyn Model, rows: &RecordBatch) -> Result<Vec<f64>> {
    let output = cast(&model.predict(rows)?, &DataType::Float64)?;
    Ok(output.as_primitive::<Float64Type>().values().to_vec())
}

/// The rows as if each stood in the first place.
fn standing_first(rows: &RecordBatch) -> Result<RecordBatch> {
    let place = rows.schema().index_of(SHOWN_AT)?;
    let mut columns = rows.columns().to_vec();
    columns[place] = Arc::new(Float64Array::from(vec![0.0; rows.num_rows()])) as ArrayRef;
    Ok(RecordBatch::try_new(rows.schema(), columns)?)
}

/// Rows of each page, which stand together.
fn pages(rows: &RecordBatch) -> Result<Vec<std::ops::Range<usize>>> {
    let ids = texts(rows, GROUP)?;
    let mut pages: Vec<std::ops::Range<usize>> = Vec::new();
    for row in 0..ids.len() {
        match pages.last_mut() {
            Some(page) if ids[page.start] == ids[row] => page.end = row + 1,
            _ => pages.push(row..row + 1),
        }
    }
    Ok(pages)
}

/// Where the model puts what was clicked: the mean of `1 / log2(1 + place)` over clicks, places from 1, each click weighted by its
/// gain; `None` without clicks.
///
/// Gains are inverse to the probability of a look, which corrects for where the page of the day had put each offer. A mean over pages of
/// NDCG would not: on a page with one click the weight cancels out.
///
/// # Source
/// The estimator of Joachims, Swaminathan, Schnabel, *Unbiased learning-to-rank with biased feedback*, WSDM 2017, with the discount of
/// DCG, normalised by the weights.
fn click_gain(pages: &[std::ops::Range<usize>], gains: &[f64], scores: &[f64]) -> Option<f64> {
    let (mut sum, mut weights) = (0.0, 0.0);
    for page in pages {
        for row in page.clone().filter(|row| gains[*row] > 0.0) {
            let before = |other: usize| scores[other] > scores[row] || (scores[other] == scores[row] && other < row);
            let place = page.clone().filter(|other| before(*other)).count();
            sum += gains[row] / (place as f64 + 2.0).log2();
            weights += gains[row];
        }
    }
    (weights > 0.0).then(|| sum / weights)
}

fn opportunity_gap(
    pages: &[std::ops::Range<usize>],
    values: &Float64Array,
    bounds: &[f64],
    labels: &Float64Array,
    scores: &[f64],
) -> Result<Option<f64>> {
    let mut rates = GroupRates::new(GROUP_CLICKS_MIN)?;
    for page in pages {
        let mut order: Vec<usize> = page.clone().collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        for (place, row) in order.into_iter().enumerate().filter(|(_, row)| values.is_valid(*row)) {
            let group = bounds.iter().take_while(|bound| values.value(row) >= **bound).count();
            rates.update(&format!("group {group}"), place < SELECTED, Some(labels.value(row) > 0.0))?;
        }
    }
    Ok(rates.equal_opportunity_difference())
}

/// Microseconds that 99 of 100 scorings of a hundred candidates do not exceed.
fn latency(model: &dyn Model, rows: &RecordBatch) -> Result<f64> {
    let slate = rows.slice(0, rows.num_rows().min(100));
    let mut times = Vec::with_capacity(LATENCY_RUNS);
    for _ in 0..LATENCY_RUNS {
        let started = Instant::now();
        model.predict(&slate)?;
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Ok(times[(LATENCY_RUNS * 99).div_ceil(100) - 1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_click_counts_by_where_the_model_puts_it_and_by_how_seldom_it_is_seen() {
        // Page 0..2: the clicked row stands second by score; page 2..4: first. Weights 3 and 1.
        let (gains, scores) = ([3.0, 0.0, 1.0, 0.0], [0.1, 0.2, 0.9, 0.3]);
        let expected = (3.0 / 3_f64.log2() + 1.0) / 4.0;
        assert!((click_gain(&[0..2, 2..4], &gains, &scores).unwrap() - expected).abs() < 1e-12);
        assert_eq!(click_gain(&[0..1, 1..2], &[0.0, 0.0], &[0.1, 0.2]), None);
    }

    #[test]
    fn a_page_of_chance_shows_no_favour_to_the_order_it_was_shown_in() {
        // Two offers, one always wanted. It stood second on half of the pages, where a third of the looks go.
        // Clicks: 30 at place 1, 10 at place 2. By weights the wanted one stood first as often as second.
        let (mut pages, mut gains, mut scores) = (Vec::new(), Vec::new(), Vec::new());
        for page in 0..40 {
            let first = page < 30;
            pages.push(2 * page..2 * page + 2);
            gains.extend(if first { [1.0, 0.0] } else { [0.0, 3.0] });
            // A model that only repeats the order in which offers were shown.
            scores.extend([1.0, 0.0]);
        }
        let found = click_gain(&pages, &gains, &scores).unwrap();
        assert!((found - f64::midpoint(1.0, 1.0 / 3_f64.log2())).abs() < 1e-12, "{found}");
    }
}
