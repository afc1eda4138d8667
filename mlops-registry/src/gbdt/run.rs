//! The rounds of a training run.

use std::ops::ControlFlow;

use serde::{Deserialize, Serialize};

use crate::forest::{Forest, Link, Tree};
use crate::{Error, Result};

use super::bins::Binned;
use super::grow::{Gradient, Grower, Grown};
use super::loss::{Judge, Loss, Metric, metric_of};
use super::matrix::TrainingMatrix;
use super::params::{GbdtParams, GbdtParamsBuilder, Objective};
use super::random::SplitMix64;

/// How one round went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoundReport {
    /// Number of the round, from 1.
    pub round: u32,
    /// The metric on the training rows, where it was asked for.
    pub train_metric: Option<f64>,
    /// The metric on the validation rows, where there are any.
    pub valid_metric: Option<f64>,
}

/// Why a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Stopped {
    /// All rounds were run.
    Rounds,
    /// The validation metric no longer got better.
    Early,
    /// No split was worth its gain any more.
    Exhausted,
}

/// What a training run has to tell.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainingReport {
    /// What the metrics of `rounds` are.
    pub metric: Metric,
    /// One entry per round, in order.
    pub rounds: Vec<RoundReport>,
    /// The round with the best validation metric, the first of equals; without validation rows the last round. 0 when
    /// there was none.
    pub best_round: u32,
    /// Why the run ended.
    pub stopped: Stopped,
}

/// A trained forest and how it came to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    /// The model. Its link is [`Link::Logistic`] for the binary objective, [`Link::Identity`] otherwise.
    pub forest: Forest,
    /// Its history.
    pub report: TrainingReport,
}

/// Trains a forest.
///
/// * `matrix`: the rows to learn from. Labels must suit the objective: finite numbers, 0 and 1, or whole grades.
/// * `valid`: rows to judge each round on, with the same columns; needed for early stopping.
/// * `progress`: called after each round; `Break` ends the run with [`mlops_core::Error::Cancelled`].
///
/// Where nothing can be learned (one row, constant columns, constant labels) the forest is a constant. Leaf covers are
/// training rows. Takes about 9 bytes per value of `matrix` beside it, and up to 512 MiB for histograms.
///
/// # Errors
/// [`mlops_core::Error::InvalidData`] when labels or groups do not suit the objective or the columns of `valid` differ,
/// [`mlops_core::Error::Invalid`] when early stopping is set and `valid` is not given.
///
/// # Examples
/// ```
/// use std::ops::ControlFlow;
/// use mlops_registry::gbdt::{GbdtParams, Objective, TrainingMatrix, train};
///
/// let tenure: Vec<f64> = (0..200).map(f64::from).collect();
/// let churned = tenure.iter().map(|&days| f64::from(days < 90.0)).collect();
/// let matrix = TrainingMatrix::new(vec!["tenure_days".into()], vec![tenure], churned)?;
/// let params = GbdtParams::builder(Objective::Binary).rounds(50).build()?;
///
/// let trained = train(&params, &matrix, None, &mut |_| ControlFlow::Continue(()))?;
/// assert!(trained.forest.predict(&[30.0])? > 0.9);
/// assert!(trained.forest.predict(&[150.0])? < 0.1);
/// # Ok::<(), mlops_registry::Error>(())
/// ```
pub fn train(
    params: &GbdtParams,
    matrix: &TrainingMatrix,
    valid: Option<&TrainingMatrix>,
    progress: &mut dyn FnMut(&RoundReport) -> ControlFlow<()>,
) -> Result<Trained> {
    let settings = &params.settings;
    let mut loss = Loss::new(matrix, settings)?;
    let mut random = SplitMix64::new(settings.seed);
    let base_score = loss.start(matrix);
    let binned = Binned::fit(matrix, settings, &mut random);
    let mut train_watch = if settings.train_metric { Some(Judge::new(matrix, settings)?) } else { None };
    let mut valid_watch = Watch::new(matrix, valid, settings, &binned, base_score)?;
    let mut grower = Grower::new(&binned, settings);
    let mut scores = vec![base_score; matrix.rows()];
    let mut gradients: Vec<Gradient> = vec![[0.0; 2]; matrix.rows()];
    let mut course = Course::new(settings);

    for round in 1..=settings.rounds {
        loss.gradients(matrix, &scores, &mut gradients);
        let grown = sample_and_grow(&mut grower, &binned, &gradients, &mut scores, settings, &mut random);
        if grown.is_none() && settings.row_fraction >= 1.0 && settings.feature_fraction >= 1.0 {
            // Another round would see the same rows, features and gradients.
            course.stopped = Stopped::Exhausted;
            break;
        }
        if let (Some(watch), Some(grown)) = (&mut valid_watch, &grown) {
            watch.add(grown);
        }
        let report = RoundReport {
            round,
            train_metric: train_watch.as_mut().map(|judge| judge.metric(matrix, &scores)),
            valid_metric: valid_watch.as_mut().map(Watch::metric),
        };
        course.end_round(report, grown.map(|grown| grown.tree));
        if progress(&report).is_break() {
            return Err(mlops_core::Error::Cancelled { stage: format!("round {round} of training") }.into());
        }
        if course.stopped == Stopped::Early {
            break;
        }
    }
    course.finish(matrix, settings, base_score)
}

/// Grows one tree on this round's rows and features and adds it to the scores of all rows.
fn sample_and_grow(
    grower: &mut Grower<'_>,
    binned: &Binned,
    gradients: &[Gradient],
    scores: &mut [f64],
    settings: &GbdtParamsBuilder,
    random: &mut SplitMix64,
) -> Option<Grown> {
    let rows = random.choose_share(settings.row_fraction, binned.rows);
    let features = random.choose_share(settings.feature_fraction, binned.features.len());
    let all = rows.len() == binned.rows;
    let grown = grower.grow(gradients, rows, &features)?;
    if all {
        for (value, rows) in grown.leaves() {
            for &row in rows {
                scores[row as usize] += value;
            }
        }
    } else {
        for (row, score) in scores.iter_mut().enumerate() {
            *score += grown.value(|feature| binned.features[feature].bins[row]);
        }
    }
    Some(grown)
}

/// The validation rows and their scores so far.
struct Watch<'a> {
    matrix: &'a TrainingMatrix,
    judge: Judge,
    bins: Vec<Vec<u8>>,
    scores: Vec<f64>,
}

impl<'a> Watch<'a> {
    fn new(
        train: &TrainingMatrix,
        valid: Option<&'a TrainingMatrix>,
        settings: &GbdtParamsBuilder,
        binned: &Binned,
        base_score: f64,
    ) -> Result<Option<Self>> {
        let Some(matrix) = valid else {
            return match settings.early_stopping_rounds {
                None => Ok(None),
                Some(rounds) => Err(Error::invalid("early_stopping_rounds", rounds, "used with validation rows only")),
            };
        };
        if matrix.names() != train.names() {
            let reason = "its columns are not those of the training matrix, in the same order";
            return Err(Error::invalid_data("validation matrix", reason));
        }
        let judge = Judge::new(matrix, settings)?;
        Ok(Some(Self { matrix, judge, bins: binned.apply(matrix), scores: vec![base_score; matrix.rows()] }))
    }

    fn add(&mut self, grown: &Grown) {
        for (row, score) in self.scores.iter_mut().enumerate() {
            *score += grown.value(|feature| self.bins[feature][row]);
        }
    }

    fn metric(&mut self) -> f64 {
        self.judge.metric(self.matrix, &self.scores)
    }
}

/// What has come out so far, and when it was best.
struct Course {
    metric: Metric,
    patience: Option<u32>,
    trees: Vec<Tree>,
    rounds: Vec<RoundReport>,
    /// Round, metric and number of trees.
    best: Option<(u32, f64, usize)>,
    stopped: Stopped,
}

impl Course {
    fn new(settings: &GbdtParamsBuilder) -> Self {
        let (metric, patience) = (metric_of(settings.objective), settings.early_stopping_rounds);
        Self { metric, patience, trees: Vec::new(), rounds: Vec::new(), best: None, stopped: Stopped::Rounds }
    }

    fn end_round(&mut self, report: RoundReport, tree: Option<Tree>) {
        self.trees.extend(tree);
        self.rounds.push(report);
        let Some(metric) = report.valid_metric else { return };
        match self.best {
            Some((_, best, _)) if !self.metric.is_better(metric, best) => {}
            _ => self.best = Some((report.round, metric, self.trees.len())),
        }
        let waited = self.best.map_or(0, |(round, ..)| report.round - round);
        if self.patience.is_some_and(|patience| waited >= patience) {
            self.stopped = Stopped::Early;
        }
    }

    fn finish(mut self, matrix: &TrainingMatrix, settings: &GbdtParamsBuilder, base_score: f64) -> Result<Trained> {
        let last = self.rounds.last().map_or(0, |report| report.round);
        let best_round = self.best.map_or(last, |(round, ..)| round);
        if let (Some(_), Some((_, _, trees))) = (self.patience, self.best) {
            self.trees.truncate(trees);
        }
        let link = match settings.objective {
            Objective::Binary => Link::Logistic { slope: settings.sigmoid },
            Objective::Regression | Objective::LambdaRank => Link::Identity,
        };
        let forest = Forest::new(matrix.names().to_vec(), self.trees, link, base_score)?;
        let report = TrainingReport { metric: self.metric, rounds: self.rounds, best_round, stopped: self.stopped };
        Ok(Trained { forest, report })
    }
}
