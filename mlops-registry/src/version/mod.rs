//! Model versions and the aliases that point at them.
//!
//! A [`ModelRegistry`] keeps the rows; [`Registry`] puts it together with artifacts and gates, and is what hosts use.

mod gate;
mod registry;

pub use gate::{Gate, GateFinding, Judgement, Rule};
pub use registry::{Evidence, Loaded, NewModel, Promotion, PromotionRequest, Registry};

use std::collections::BTreeMap;
use std::fmt::Debug;

use mlops_core::model::Signature;
use mlops_core::{Digest, EventTime, Name};
use serde::{Deserialize, Serialize};

use crate::artifact::Sha256;
use crate::run::{KEY_BYTES_MAX, LINE_BYTES_MAX, LOG_ITEMS_MAX, RunId, check_key, check_line, check_value};
use crate::{Error, Result};

/// Longest reason of an alias move in bytes of JSON.
const WHY_BYTES_MAX: usize = 1 << 20;

/// What a version is made of.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewVersion {
    /// The registered model; made when it is new.
    pub model: Name,
    /// Digest of the manifest of its artifacts.
    pub manifest: Sha256,
    /// Format of the model's bytes.
    pub flavor: String,
    /// What it takes and gives.
    pub signature: Signature,
    /// The run that made it.
    pub run: Option<RunId>,
    /// Digests of the data sets that it was trained on.
    pub trained_on: Vec<Digest>,
    /// Measured on held-out data, by name; NaN and infinities are kept.
    #[serde(with = "crate::numbers")]
    pub metrics: BTreeMap<String, f64>,
    /// Free labels.
    pub tags: BTreeMap<String, String>,
    /// Who registered it.
    pub by: String,
    /// When.
    pub at: EventTime,
}

impl NewVersion {
    /// Checks counts and lengths.
    ///
    /// # Errors
    /// [`Invalid`](mlops_core::Error::Invalid) naming the limit that is broken.
    pub fn check(&self) -> Result<()> {
        let items = self.metrics.len() + self.tags.len() + self.trained_on.len();
        if items > LOG_ITEMS_MAX {
            return Err(Error::invalid("metrics, tags and data sets of one version", items, "at most 1000"));
        }
        check_line("flavor", &self.flavor, KEY_BYTES_MAX)?;
        check_line("registered by", &self.by, LINE_BYTES_MAX)?;
        self.metrics.keys().chain(self.tags.keys()).try_for_each(|key| check_key(key))?;
        self.tags.iter().try_for_each(|(key, value)| check_value(key, value))
    }
}

/// A registered version; never changes.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelVersion {
    /// 1 for the first of its model, then one more each.
    pub number: u32,
    /// What it is made of.
    pub made: NewVersion,
}

/// One move of an alias, or one refusal to move it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AliasMove {
    /// The registered model.
    pub model: Name,
    /// The alias, such as `production`.
    pub alias: Name,
    /// Where the mover saw it point; `None`: nowhere yet.
    pub expected: Option<u32>,
    /// Where it is to point.
    pub to: u32,
    /// Who moved it.
    pub by: String,
    /// Why: gate results, approvals, the alert that asked for it.
    pub why: serde_json::Value,
    /// When.
    pub at: EventTime,
}

impl AliasMove {
    /// Checks lengths.
    ///
    /// # Errors
    /// [`Invalid`](mlops_core::Error::Invalid) naming the limit that is broken.
    pub fn check(&self) -> Result<()> {
        check_line("moved by", &self.by, LINE_BYTES_MAX)?;
        let bytes = self.why.to_string().len();
        if bytes > WHY_BYTES_MAX {
            return Err(Error::invalid("bytes of the reason of an alias move", bytes, "at most 1 MiB as JSON"));
        }
        Ok(())
    }
}

/// Versions and aliases.
///
/// # Contract
/// * Numbers of a model are 1, 2, 3 … without gaps; of two writers each gets its own.
/// * `move_alias` is a compare-and-set: with an outdated `expected` it is
///   [`Conflict`](mlops_core::Error::Conflict) and nothing changes. The move and its entry in the history are one.
/// * An alias only ever points to a version that exists; versions are never changed.
/// * What returned survives a crash.
///
/// `testkit::model_registry` checks these; run it on your own registry.
pub trait ModelRegistry: Debug + Send + Sync + 'static {
    /// Registers a version; registering the same manifest of the same run again gives the known number.
    ///
    /// # Errors
    /// What [`NewVersion::check`] says; nothing is registered then.
    /// [`External`](mlops_core::Error::External) when the storage fails.
    fn add(&self, new: &NewVersion) -> Result<ModelVersion>;

    /// A version by number.
    ///
    /// # Errors
    /// [`NotFound`](mlops_core::Error::NotFound).
    fn version(&self, model: &Name, number: u32) -> Result<ModelVersion>;

    /// All versions of a model, oldest first; none for an unknown model.
    ///
    /// # Errors
    /// [`External`](mlops_core::Error::External) when the storage fails.
    fn versions(&self, model: &Name) -> Result<Vec<ModelVersion>>;

    /// All registered models, sorted.
    ///
    /// # Errors
    /// [`External`](mlops_core::Error::External) when the storage fails.
    fn models(&self) -> Result<Vec<Name>>;

    /// Where an alias points; `None` when it was never set.
    ///
    /// # Errors
    /// [`External`](mlops_core::Error::External) when the storage fails.
    fn alias(&self, model: &Name, alias: &Name) -> Result<Option<u32>>;

    /// Moves an alias.
    ///
    /// # Errors
    /// What [`AliasMove::check`] says, [`Conflict`](mlops_core::Error::Conflict) when it does not point where the mover thinks,
    /// [`NotFound`](mlops_core::Error::NotFound) when there is no version `to`.
    fn move_alias(&self, change: &AliasMove) -> Result<()>;

    /// Every move of an alias, oldest first.
    ///
    /// # Errors
    /// [`External`](mlops_core::Error::External) when the storage fails.
    fn history(&self, model: &Name, alias: &Name) -> Result<Vec<AliasMove>>;
}
