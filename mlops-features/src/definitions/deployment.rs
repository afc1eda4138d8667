//! What a store remembers.

use std::fmt;

use mlops_core::{Digest, Name};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Definitions, Kind, ServiceVersion};
use crate::error::{Core, Result};

/// Most models that are linked to the services of one store.
pub const MODELS_MAX: usize = 100_000;

/// A model, and the features that it was trained on.
///
/// Definitions know nothing of models: whoever registers one says what it was trained on.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelLink {
    /// The features.
    pub features: ServiceVersion,
    /// The model.
    pub model: Name,
    /// Its version, as its registry calls it.
    pub version: String,
}

impl fmt::Display for ModelLink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let version: String = self.version.chars().take(40).flat_map(char::escape_debug).collect();
        write!(f, "model `{}` {version}", self.model)
    }
}

/// A definition that was removed, so that its name never means another thing.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Retired {
    pub(super) key: (Kind, Name),
    /// Its document.
    pub(super) form: Value,
    /// What it gave, for a service.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) fingerprint: Option<Digest>,
}

/// All that is applied: definitions, the memory of those that were removed, and models that were trained on them.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deployment {
    pub(super) definitions: Definitions,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) retired: Vec<Retired>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) models: Vec<ModelLink>,
}

impl Deployment {
    /// What is defined.
    pub fn definitions(&self) -> &Definitions {
        &self.definitions
    }

    /// Models that were trained on features of these services, by service.
    pub fn models(&self) -> &[ModelLink] {
        &self.models
    }

    /// The document of a definition that was removed.
    pub(super) fn retired_form(&self, kind: Kind, name: &Name) -> Option<&Value> {
        self.retired(kind, name).map(|retired| &retired.form)
    }

    fn retired(&self, kind: Kind, name: &Name) -> Option<&Retired> {
        self.retired.iter().find(|retired| retired.key.0 == kind && retired.key.1 == *name)
    }

    /// What the service of this name gives, or gave before it was removed.
    pub(super) fn fingerprint(&self, service: &Name) -> Option<Digest> {
        match self.definitions.service_version(service.as_str()) {
            Ok(version) => Some(version.fingerprint),
            Err(_) => self.retired(Kind::Service, service)?.fingerprint,
        }
    }

    /// This, with `wanted` in the place of what is defined.
    pub(crate) fn with(&self, wanted: &Definitions) -> Self {
        let (before, after) = (self.definitions.documents(), wanted.documents());
        let mut retired = self.retired.clone();
        retired.retain(|retired| !after.contains_key(&retired.key));
        for (key, form) in before.iter().filter(|(key, _)| !after.contains_key(key)) {
            let fingerprint = if key.0 == Kind::Service { self.fingerprint(&key.1) } else { None };
            retired.push(Retired { key: key.clone(), form: form.clone(), fingerprint });
        }
        retired.sort_by(|a, b| a.key.cmp(&b.key));
        Self { definitions: wanted.clone(), retired, models: self.models.clone() }
    }

    /// This, with one more model.
    ///
    /// # Errors
    /// `Core(NotFound)` for an unknown service, `Core(InvalidData)` when it gives other features than the model was trained on or
    /// the version is empty or long, `Core(Invalid)` beyond [`MODELS_MAX`].
    pub(crate) fn with_model(&self, link: &ModelLink) -> Result<Self> {
        let served = self.definitions.service_version(link.features.service.as_str())?;
        if served != link.features {
            let reason = format!("it was trained on {}, but the service gives {served}", link.features);
            return Err(Core::invalid_data(link.to_string(), reason).into());
        }
        if link.version.is_empty() || link.version.len() > 256 {
            return Err(Core::invalid_data(link.to_string(), "its version is not 1 to 256 bytes long").into());
        }
        let mut with = self.clone();
        if let Err(place) = with.models.binary_search(link) {
            if with.models.len() >= MODELS_MAX {
                return Err(Core::invalid("models", with.models.len() + 1, "at most 100000").into());
            }
            with.models.insert(place, link.clone());
        }
        Ok(with)
    }
}
