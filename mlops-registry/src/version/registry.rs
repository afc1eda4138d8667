//! Versions, artifacts and gates put together.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use mlops_core::model::Model;
use mlops_core::{Digest, EventTime, Name};
use serde::{Deserialize, Serialize};

use super::{AliasMove, Gate, Judgement, ModelRegistry, ModelVersion, NewVersion};
use crate::artifact::{ArtifactStore, ArtifactStoreExt, Manifest};
use crate::flavor::Flavors;
use crate::run::RunId;
use crate::{Error, Result};

/// Name of the model's bytes in a version's manifest.
const MODEL_ENTRY: &str = "model";
/// Largest model that is read into memory.
const MODEL_BYTES_MAX: u64 = 1 << 30;

/// A model that is to become a version.
#[derive(Debug)]
pub struct NewModel<'a> {
    /// The registered model; made when it is new.
    pub name: Name,
    /// The trained model.
    pub model: &'a dyn Model,
    /// The run that made it.
    pub run: Option<RunId>,
    /// Digests of the data sets that it was trained on.
    pub trained_on: Vec<Digest>,
    /// Measured on held-out data, by name.
    pub metrics: BTreeMap<String, f64>,
    /// Further files, such as a report, by relative name; `model` is taken.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Free labels.
    pub tags: BTreeMap<String, String>,
    /// Who registers it.
    pub by: String,
    /// When.
    pub at: EventTime,
}

/// A version whose every byte was verified, ready to predict.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The version.
    pub version: ModelVersion,
    /// The model.
    pub model: Arc<dyn Model>,
}

/// Metrics of the candidate and of the champion, measured on the same data.
///
/// What a champion was registered with was measured on the data of its time. When the world has moved, only both
/// measured on today's data can be compared.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// The candidate's, by name.
    #[serde(with = "crate::numbers")]
    pub candidate: BTreeMap<String, f64>,
    /// The champion's, by name; `None` when there is none.
    #[serde(with = "crate::numbers::optional", default)]
    pub champion: Option<BTreeMap<String, f64>>,
}

/// Which alias is to move where, and what it takes.
#[derive(Clone, PartialEq, Debug)]
pub struct PromotionRequest {
    /// The registered model.
    pub model: Name,
    /// The alias, such as `production`.
    pub alias: Name,
    /// The version that is to get it.
    pub candidate: u32,
    /// What the candidate must show.
    pub gate: Gate,
    /// Fresh measurements of both; `None` judges by what the versions were registered with.
    pub evidence: Option<Evidence>,
    /// Who asks.
    pub by: String,
    /// When.
    pub at: EventTime,
}

/// How a promotion came out.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Promotion {
    /// The alias points at the candidate now.
    Promoted {
        /// Where it pointed before.
        from: Option<u32>,
        /// Where it points.
        to: u32,
        /// What the gate found.
        judgement: Judgement,
    },
    /// A demand does not hold; the alias stays.
    Refused {
        /// Where it points.
        stays: Option<u32>,
        /// The version that was refused.
        refused: u32,
        /// What the gate found.
        judgement: Judgement,
    },
}

impl Promotion {
    /// Whether the alias moved.
    pub fn promoted(&self) -> bool {
        matches!(self, Self::Promoted { .. })
    }

    /// What the gate found.
    pub fn judgement(&self) -> &Judgement {
        match self {
            Self::Promoted { judgement, .. } | Self::Refused { judgement, .. } => judgement,
        }
    }
}

/// Models from registration over promotion to loading.
#[derive(Clone)]
pub struct Registry {
    versions: Arc<dyn ModelRegistry>,
    artifacts: Arc<dyn ArtifactStore>,
    flavors: Arc<Flavors>,
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("versions", &self.versions)
            .field("artifacts", &self.artifacts)
            .finish_non_exhaustive()
    }
}

impl Registry {
    /// A registry over these stores that reads models of `flavors`.
    pub fn new(versions: Arc<dyn ModelRegistry>, artifacts: Arc<dyn ArtifactStore>, flavors: Flavors) -> Self {
        Self { versions, artifacts, flavors: Arc::new(flavors) }
    }

    /// The rows behind it.
    pub fn versions(&self) -> &Arc<dyn ModelRegistry> {
        &self.versions
    }

    /// The blobs behind it.
    pub fn artifacts(&self) -> &Arc<dyn ArtifactStore> {
        &self.artifacts
    }

    /// The formats that it reads.
    pub fn flavors(&self) -> &Flavors {
        &self.flavors
    }

    /// Stores the model's bytes and registers a version of them. The bytes are complete before the version exists.
    ///
    /// # Errors
    /// [`NotFound`](mlops_core::Error::NotFound) when no flavor here can read the model back,
    /// [`Invalid`](mlops_core::Error::Invalid) for a bad file name, or what the stores say.
    pub fn register(&self, new: NewModel<'_>) -> Result<ModelVersion> {
        let bytes = new.model.to_bytes()?;
        self.flavors.read(new.model.flavor(), &bytes)?;
        let mut blobs = vec![(MODEL_ENTRY.to_owned(), self.artifacts.put_bytes(&bytes)?)];
        for (name, content) in &new.files {
            if name == MODEL_ENTRY {
                return Err(Error::invalid("file name", format!("`{name}`"), "another name than `model`"));
            }
            blobs.push((name.clone(), self.artifacts.put_bytes(content)?));
        }
        let manifest = self.artifacts.put_manifest(&Manifest::new(blobs)?)?;
        self.versions.add(&NewVersion {
            model: new.name,
            manifest: manifest.digest,
            flavor: new.model.flavor().to_owned(),
            signature: new.model.signature().clone(),
            run: new.run,
            trained_on: new.trained_on,
            metrics: new.metrics,
            tags: new.tags,
            by: new.by,
            at: new.at,
        })
    }

    /// Loads a version; its manifest and the model's bytes are verified before they are parsed.
    ///
    /// # Errors
    /// [`NotFound`](mlops_core::Error::NotFound), [`Corrupt`](mlops_core::Error::Corrupt),
    /// [`InvalidData`](mlops_core::Error::InvalidData) when the bytes are not a model of the stated flavor, or
    /// [`Schema`](mlops_core::Error::Schema) when its signature is not the registered one.
    pub fn load(&self, model: &Name, number: u32) -> Result<Loaded> {
        let version = self.versions.version(model, number)?;
        let manifest = self.artifacts.manifest(&version.made.manifest)?;
        let bytes = self.artifacts.get(&manifest.entry(MODEL_ENTRY)?.digest, MODEL_BYTES_MAX)?;
        let read = self.flavors.read(&version.made.flavor, &bytes)?;
        if *read.signature() != version.made.signature {
            let found = format!("{:?}", read.signature());
            return Err(mlops_core::Error::schema("signature", format!("{:?}", version.made.signature), found).into());
        }
        Ok(Loaded { version, model: read.into() })
    }

    /// Loads the version that `alias` points to.
    ///
    /// # Errors
    /// [`NotFound`](mlops_core::Error::NotFound) when it points nowhere, and as [`load`](Self::load).
    pub fn load_alias(&self, model: &Name, alias: &Name) -> Result<Loaded> {
        let number = self.versions.alias(model, alias)?;
        let number = number.ok_or_else(|| Error::not_found("alias", format!("{model}@{alias}")))?;
        self.load(model, number)
    }

    /// Moves an alias to a version when the gate lets it pass: every byte of the candidate is read and verified, it is
    /// judged beside the present champion, and the alias moves only if it still points at that champion. Where it points
    /// at the candidate already, nothing is judged or moved.
    ///
    /// # Errors
    /// [`Corrupt`](mlops_core::Error::Corrupt) when an artifact is damaged, [`NotFound`](mlops_core::Error::NotFound)
    /// when one is missing, [`Conflict`](mlops_core::Error::Conflict) when somebody else moved the alias meanwhile. A
    /// demand that does not hold is a [`Promotion::Refused`], not an error.
    pub fn promote(&self, request: &PromotionRequest) -> Result<Promotion> {
        let PromotionRequest { model, alias, candidate, gate, evidence, by, at } = request.clone();
        let version = self.versions.version(&model, candidate)?;
        self.artifacts.verify_manifest(&version.made.manifest)?;
        self.load(&model, candidate)?;
        let from = self.versions.alias(&model, &alias)?;
        if from == Some(candidate) {
            return Ok(Promotion::Promoted { from, to: candidate, judgement: Judgement::default() });
        }
        let champion = from.map(|number| self.versions.version(&model, number)).transpose()?;
        let registered = || Evidence { candidate: version.made.metrics, champion: champion.map(|c| c.made.metrics) };
        let evidence = evidence.unwrap_or_else(registered);
        let judgement = gate.judge(&evidence.candidate, evidence.champion.as_ref());
        if !judgement.passed() {
            return Ok(Promotion::Refused { stays: from, refused: candidate, judgement });
        }
        let why = serde_json::to_value(&judgement).map_err(|e| Error::invalid_data("judgement", e))?;
        self.versions.move_alias(&AliasMove { model, alias, expected: from, to: candidate, by, why, at })?;
        Ok(Promotion::Promoted { from, to: candidate, judgement })
    }
}
