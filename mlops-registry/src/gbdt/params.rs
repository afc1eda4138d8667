//! What a training run is asked for.

use serde::{Deserialize, Serialize};

use crate::forest::{LEAVES_MAX, TREES_MAX};
use crate::{Error, Result};

/// Most value bins of a feature; missing values have one of their own.
pub const BINS_MAX: u32 = 255;
/// Most leaves of one tree that the trainer grows.
pub const TREE_LEAVES_MAX: u32 = 65_536;
/// Greatest relevance grade: its gain `2^31 - 1` is still far from the limits of arithmetic.
pub const GRADE_MAX: u32 = 31;

/// The loss that training lowers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Objective {
    /// Squared error; labels are any finite numbers. Watched by the root of the mean squared error.
    Regression,
    /// Logistic loss; labels are 0 and 1. Watched by the mean logistic loss.
    Binary,
    /// LambdaMART; labels are relevance grades, rows come in queries. Watched by NDCG.
    LambdaRank,
}

/// Checked settings of a training run. See [`GbdtParamsBuilder`] for each of them and its default.
///
/// As JSON or TOML it is one flat table of the builder's settings, all of them optional.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "GbdtParamsBuilder", into = "GbdtParamsBuilder")]
pub struct GbdtParams {
    pub(super) settings: GbdtParamsBuilder,
}

impl GbdtParams {
    /// Starts from the defaults for `objective`.
    pub fn builder(objective: Objective) -> GbdtParamsBuilder {
        GbdtParamsBuilder { objective, ..GbdtParamsBuilder::default() }
    }

    /// Most rounds that training takes.
    pub fn rounds(&self) -> u32 {
        self.settings.rounds
    }

    /// The loss that training lowers.
    pub fn objective(&self) -> Objective {
        self.settings.objective
    }
}

/// Settings of a training run; [`GbdtParamsBuilder::build`] checks them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct GbdtParamsBuilder {
    pub(super) objective: Objective,
    pub(super) rounds: u32,
    pub(super) learning_rate: f64,
    pub(super) leaves_max: u32,
    pub(super) depth_max: Option<u32>,
    pub(super) rows_leaf_min: u32,
    pub(super) hessian_leaf_min: f64,
    pub(super) lambda_l2: f64,
    pub(super) gain_min: f64,
    pub(super) feature_fraction: f64,
    pub(super) row_fraction: f64,
    pub(super) bins_max: u32,
    pub(super) bin_sample_rows: u32,
    pub(super) seed: u64,
    pub(super) early_stopping_rounds: Option<u32>,
    pub(super) train_metric: bool,
    pub(super) sigmoid: f64,
    pub(super) rank_truncation: u32,
    pub(super) rank_normalise: bool,
    pub(super) ndcg_at: u32,
    pub(super) grade_max: u32,
}

impl Default for GbdtParamsBuilder {
    fn default() -> Self {
        Self {
            objective: Objective::Regression,
            rounds: 100,
            learning_rate: 0.1,
            leaves_max: 31,
            depth_max: None,
            rows_leaf_min: 20,
            hessian_leaf_min: 1e-3,
            lambda_l2: 0.0,
            gain_min: 0.0,
            feature_fraction: 1.0,
            row_fraction: 1.0,
            bins_max: BINS_MAX,
            bin_sample_rows: 200_000,
            seed: 0,
            early_stopping_rounds: None,
            train_metric: false,
            sigmoid: 1.0,
            rank_truncation: 30,
            rank_normalise: true,
            ndcg_at: 10,
            grade_max: GRADE_MAX,
        }
    }
}

impl GbdtParamsBuilder {
    /// Trees that are added one after the other. Default 100.
    pub fn rounds(mut self, rounds: u32) -> Self {
        self.rounds = rounds;
        self
    }

    /// Share of each tree's step that is taken, in `(0, 1]`. Default 0.1.
    pub fn learning_rate(mut self, learning_rate: f64) -> Self {
        self.learning_rate = learning_rate;
        self
    }

    /// Most leaves of a tree, which grows where the loss falls most. Default 31.
    pub fn leaves_max(mut self, leaves_max: u32) -> Self {
        self.leaves_max = leaves_max;
        self
    }

    /// Most splits between a root and a leaf. Default: as many as the leaves allow.
    pub fn depth_max(mut self, depth_max: u32) -> Self {
        self.depth_max = Some(depth_max);
        self
    }

    /// Fewest training rows of a leaf. Default 20.
    pub fn rows_leaf_min(mut self, rows_leaf_min: u32) -> Self {
        self.rows_leaf_min = rows_leaf_min;
        self
    }

    /// Least sum of second derivatives in a leaf. Default 0.001.
    pub fn hessian_leaf_min(mut self, hessian_leaf_min: f64) -> Self {
        self.hessian_leaf_min = hessian_leaf_min;
        self
    }

    /// Penalty on squared leaf values, in units of the hessian. Default 0.
    pub fn lambda_l2(mut self, lambda_l2: f64) -> Self {
        self.lambda_l2 = lambda_l2;
        self
    }

    /// Gain that a split must exceed. Default 0.
    pub fn gain_min(mut self, gain_min: f64) -> Self {
        self.gain_min = gain_min;
        self
    }

    /// Share of the features that each tree may look at, drawn anew per tree, in `(0, 1]`. Default 1.
    pub fn feature_fraction(mut self, feature_fraction: f64) -> Self {
        self.feature_fraction = feature_fraction;
        self
    }

    /// Share of the rows that each tree is grown on, drawn anew per tree without replacement, in `(0, 1]`. Default 1.
    pub fn row_fraction(mut self, row_fraction: f64) -> Self {
        self.row_fraction = row_fraction;
        self
    }

    /// Most bins for the values of a feature, in `2..=255`. Default 255.
    pub fn bins_max(mut self, bins_max: u32) -> Self {
        self.bins_max = bins_max;
        self
    }

    /// Rows that bin edges are computed on, drawn by the seed where there are more. Default 200,000.
    pub fn bin_sample_rows(mut self, bin_sample_rows: u32) -> Self {
        self.bin_sample_rows = bin_sample_rows;
        self
    }

    /// Where all draws start: the same seed, settings and data give the same forest, byte for byte. Default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Stops after this many rounds without a better validation metric, and keeps the trees up to the best round.
    /// Training then needs a validation set. Default: never.
    pub fn early_stopping_rounds(mut self, rounds: u32) -> Self {
        self.early_stopping_rounds = Some(rounds);
        self
    }

    /// Whether the metric is also computed on the training rows in each round. Default no.
    pub fn train_metric(mut self, train_metric: bool) -> Self {
        self.train_metric = train_metric;
        self
    }

    /// Steepness of the logistic curve in the binary and the ranking objective, above 0. Default 1.
    pub fn sigmoid(mut self, sigmoid: f64) -> Self {
        self.sigmoid = sigmoid;
        self
    }

    /// Ranks that count in the ranking objective: a pair is looked at when at least one of the two rows is this high up.
    /// Default 30.
    pub fn rank_truncation(mut self, rank_truncation: u32) -> Self {
        self.rank_truncation = rank_truncation;
        self
    }

    /// Whether the ranking objective evens out the weight of queries. Default yes.
    pub fn rank_normalise(mut self, rank_normalise: bool) -> Self {
        self.rank_normalise = rank_normalise;
        self
    }

    /// Rank at which the ranking metric NDCG is cut. Default 10.
    pub fn ndcg_at(mut self, ndcg_at: u32) -> Self {
        self.ndcg_at = ndcg_at;
        self
    }

    /// Greatest relevance grade that labels may have, at most 31; a grade `l` gains `2^l - 1`. Default 31.
    pub fn grade_max(mut self, grade_max: u32) -> Self {
        self.grade_max = grade_max;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`mlops_core::Error::Invalid`] naming the first setting that is outside its domain.
    pub fn build(self) -> Result<GbdtParams> {
        let whole = |setting, value: u32, from: u32, to: u32, domain| {
            if (from..=to).contains(&value) { Ok(()) } else { Err(Error::invalid(setting, value, domain)) }
        };
        let share = |setting, value: f64| {
            let fine = value > 0.0 && value <= 1.0;
            if fine { Ok(()) } else { Err(Error::invalid(setting, value, "above 0 and at most 1")) }
        };
        let amount = |setting, value: f64| {
            let fine = (0.0..=1e30).contains(&value);
            if fine { Ok(()) } else { Err(Error::invalid(setting, value, "between 0 and 1e30")) }
        };
        whole("rounds", self.rounds, 1, TREES_MAX as u32, "between 1 and 100000")?;
        whole("leaves_max", self.leaves_max, 2, TREE_LEAVES_MAX, "between 2 and 65536")?;
        if self.rounds as usize * self.leaves_max as usize > LEAVES_MAX {
            let asked = format!("{} with {} rounds", self.leaves_max, self.rounds);
            return Err(Error::invalid("leaves_max", asked, "at most 16777216 leaves in all rounds together"));
        }
        whole("depth_max", self.depth_max.unwrap_or(1), 1, u32::MAX, "at least 1")?;
        whole("rows_leaf_min", self.rows_leaf_min, 1, u32::MAX, "at least 1")?;
        whole("bins_max", self.bins_max, 2, BINS_MAX, "between 2 and 255")?;
        whole("bin_sample_rows", self.bin_sample_rows, 1, u32::MAX, "at least 1")?;
        whole("early_stopping_rounds", self.early_stopping_rounds.unwrap_or(1), 1, u32::MAX, "at least 1")?;
        whole("rank_truncation", self.rank_truncation, 1, u32::MAX, "at least 1")?;
        whole("ndcg_at", self.ndcg_at, 1, u32::MAX, "at least 1")?;
        whole("grade_max", self.grade_max, 1, GRADE_MAX, "between 1 and 31")?;
        share("learning_rate", self.learning_rate)?;
        share("feature_fraction", self.feature_fraction)?;
        share("row_fraction", self.row_fraction)?;
        amount("hessian_leaf_min", self.hessian_leaf_min)?;
        amount("lambda_l2", self.lambda_l2)?;
        amount("gain_min", self.gain_min)?;
        if !(self.sigmoid >= 1e-3 && self.sigmoid <= 1e3) {
            return Err(Error::invalid("sigmoid", self.sigmoid, "between 0.001 and 1000"));
        }
        Ok(GbdtParams { settings: self })
    }
}

impl TryFrom<GbdtParamsBuilder> for GbdtParams {
    type Error = Error;

    fn try_from(settings: GbdtParamsBuilder) -> Result<Self> {
        settings.build()
    }
}

impl From<GbdtParams> for GbdtParamsBuilder {
    fn from(params: GbdtParams) -> Self {
        params.settings
    }
}
