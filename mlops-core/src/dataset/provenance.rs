//! What a data set was made from, and by what.

mod secrets;

pub use secrets::{REDACTED, without_secrets};

use serde::{Deserialize, Serialize};

use crate::time::EventTime;
use crate::{Dataset, Digest, Error, Name, Result};

/// Bytes of parameters as JSON at the most that a provenance holds: 64 KiB.
pub const PARAMETERS_BYTES_MAX: usize = 64 << 10;

/// One edge bundle of the lineage graph: these parents went through this operation.
///
/// # Examples
/// ```
/// use mlops_core::arrow::array::{ArrayRef, Int64Array, RecordBatch};
/// use mlops_core::dataset::Provenance;
/// use mlops_core::{Dataset, EventTime, Name};
///
/// let ids = std::sync::Arc::new(Int64Array::from(vec![1, 2, 2])) as ArrayRef;
/// let raw = Dataset::from_batches([RecordBatch::try_from_iter([("id", ids)])?])?;
/// let made = Provenance::of(&[&raw], Name::new("fetch")?, EventTime::EPOCH)?
///     .with_code_version("1.4.0")
///     .with_parameters(&serde_json::json!({"table": "calls", "password": "hunter2"}))?;
/// let data = raw.clone().with_provenance(made);
/// let told = data.provenance().unwrap();
/// assert_eq!(told.parents, [raw.digest()?]);
/// assert_eq!(told.parameters, serde_json::json!({"table": "calls", "password": "[redacted]"}));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provenance {
    /// Digests of what was read.
    pub parents: Vec<Digest>,
    /// The step or transform.
    pub operation: Name,
    /// Its settings. Secrets are left out by [`redacted`](Self::redacted) on the way into a data set or a catalog.
    pub parameters: serde_json::Value,
    /// Version of the code that ran it.
    pub code_version: String,
    /// When it ran.
    pub at: EventTime,
}

impl Provenance {
    /// `operation` read `parents` at `at`; no parameters and no code version yet. Costs one scan per parent whose digest
    /// is not known already.
    ///
    /// # Errors
    /// What [`Dataset::digest`] says.
    pub fn of(parents: &[&Dataset], operation: Name, at: EventTime) -> Result<Self> {
        let parents = parents.iter().map(|parent| parent.digest()).collect::<Result<_>>()?;
        Ok(Self { parents, operation, parameters: serde_json::Value::Null, code_version: String::new(), at })
    }

    /// `operation` of this crate, with its settings, read `parents` at `at`: how everything that this crate makes tells of itself.
    pub(crate) fn of_crate(
        parents: &[&Dataset],
        operation: Name,
        parameters: &impl Serialize,
        at: EventTime,
    ) -> Result<Self> {
        Self::of(parents, operation, at)?.with_code_version(env!("CARGO_PKG_VERSION")).with_parameters(parameters)
    }

    /// With the settings of the operation, less what [`redacted`](Self::redacted) leaves out.
    ///
    /// # Errors
    /// [`Error::InvalidData`] when they have no JSON form.
    pub fn with_parameters(mut self, parameters: &impl Serialize) -> Result<Self> {
        let no_json = |e| Error::invalid_data(format!("parameters of `{}`", self.operation), e);
        self.parameters = serde_json::to_value(parameters).map_err(no_json)?;
        Ok(self.redacted())
    }

    /// With the version of the code that ran it.
    pub fn with_code_version(mut self, code_version: impl Into<String>) -> Self {
        self.code_version = code_version.into();
        self
    }

    /// The same, with [`REDACTED`] for what must not be told: texts, lists and objects under a name that ends like that of
    /// a secret (`password`, `api_key`, `sasToken` …), passwords in addresses, and the values of secret parameters in
    /// them. Numbers, flags and other texts stay. Parameters of more than [`PARAMETERS_BYTES_MAX`] are told by their digest
    /// alone: `{"bytes": …, "digest": …}`. Twice is the same as once.
    ///
    /// [`Dataset::with_provenance`], [`CatalogExt::register`](crate::catalog::CatalogExt::register) and
    /// [`update`](crate::catalog::CatalogExt::update) do this; a secret under a harmless name is for the caller to leave out.
    pub fn redacted(mut self) -> Self {
        secrets::redact(&mut self.parameters);
        let text = self.parameters.to_string();
        if text.len() > PARAMETERS_BYTES_MAX {
            self.parameters = serde_json::json!({ "bytes": text.len(), "digest": Digest::of(&text) });
        }
        self
    }
}
